/*
 * Cuts forbidden entries out of list results while the bytes stream by.
 *
 * Owns nothing but offsets into the document: `mark`, up to which bytes were
 * emitted or dropped, and `keep`, up to which it is decided that they are
 * emitted.  Always mark <= keep.  Kept entries only move keep, so that a run
 * of them leaves in one span of the input; a cut first emits [mark, keep) and
 * then moves both past what is cut.  Between two pieces everything from mark
 * on is in `hold`, which is the caller's memory.
 *
 * What goes with a cut entry: behind a kept one, everything from the end of
 * the entry before it (its comma and the space around that comma) to its own
 * end.  Before the first kept one, everything from its start to the start of
 * the next entry, or to its own end when no other comes: the space behind '['
 * and before ']' stays.  Where the pieces end changes nothing.
 *
 * Only containers in which something can be found are walked, all others are
 * skipped.  Keys are compared as the laxest clients do.  In doubt an entry is
 * cut, and the whole fails.  Called by the body filter.
 */

#include "mcp_list_private.h"
#include "mcp_untrusted.h"


#define MCP_LIST_MAX_DIGITS   18


static int mcp_list_event(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_open(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static unsigned mcp_list_enter(mcp_list_filter_t *f,
    const mcp_json_event_t *ev, unsigned key);
static unsigned mcp_list_enter_other(mcp_list_filter_t *f,
    const mcp_json_event_t *ev, unsigned key);
static unsigned mcp_list_enter_icons(mcp_list_filter_t *f,
    const mcp_json_event_t *ev, unsigned array);
static int mcp_list_close(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_skipped(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_scalar(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static void mcp_list_name(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static void mcp_list_id(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_cache_scope(mcp_list_filter_t *f,
    const mcp_json_event_t *ev);
static int mcp_list_is(const mcp_json_event_t *ev, const char *text);
static int mcp_list_long(const mcp_list_filter_t *f,
    const mcp_json_event_t *ev);
static void mcp_list_task(mcp_list_filter_t *f, const mcp_json_event_t *ev,
    unsigned key);
static int mcp_list_result_end(mcp_list_filter_t *f);
static int mcp_list_message_end(mcp_list_filter_t *f);
static int64_t mcp_list_integer(const mcp_str_t *s);


void
mcp_list_filter_init(mcp_list_filter_t *f, const mcp_list_filter_conf_t *conf,
    unsigned char *buf)
{
    size_t          size;
    unsigned char  *hold;

    hold = f->hold;
    size = f->hold_size;

    memset(f, 0, sizeof(mcp_list_filter_t));

    f->conf = conf;
    f->hold = hold;
    f->hold_size = size;

    /* larger than a name may be: a name cut short is always too long */
    mcp_json_init(&f->scan, conf->max_depth, buf, 2 * conf->max_name + 64);
}


int
mcp_list_filter_feed(mcp_list_filter_t *f, const unsigned char *data,
    size_t len, unsigned eof)
{
    int                   rc;
    mcp_json_event_t      ev;
    const unsigned char  *pos, *last;

    if (f->failed) {
        return MCP_ERROR;
    }

    if (f->done) {
        return mcp_list_fail(f, "bytes after the end");
    }

    if (data == NULL) {
        data = (const unsigned char *) "";
        len = 0;
    }

    f->data = data;
    pos = data;
    last = data + len;

    for ( ;; ) {
        rc = mcp_json_next(&f->scan, &pos, last, eof, &ev);

        if (rc == MCP_AGAIN) {
            break;
        }

        if (rc != MCP_OK) {
            return mcp_list_fail(f, f->scan.error);
        }

        if (ev.type == MCP_JSON_DONE) {
            f->done = 1;
            break;
        }

        if (mcp_list_event(f, &ev) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    if (mcp_list_piece_end(f, f->piece + len) != MCP_OK) {
        return MCP_ERROR;
    }

    return f->done ? MCP_OK : MCP_AGAIN;
}


static int
mcp_list_event(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    if (f->skipping) {
        return mcp_list_skipped(f, ev);
    }

    switch (ev->type) {

    case MCP_JSON_KEY:
        mcp_list_key(f, ev);
        return MCP_OK;

    case MCP_JSON_OBJECT:
    case MCP_JSON_ARRAY:
        return mcp_list_open(f, ev);

    case MCP_JSON_OBJECT_END:
    case MCP_JSON_ARRAY_END:
        return mcp_list_close(f, ev);

    default:
        return mcp_list_scalar(f, ev);
    }
}


static int
mcp_list_open(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    unsigned  key, where;

    key = f->key;
    f->key = key_other;
    f->scan.capture = 0;

    if (f->where == in_list
        && mcp_list_entry_start(f, ev->start) != MCP_OK)
    {
        return MCP_ERROR;
    }

    if (f->where == in_batch && ev->type == MCP_JSON_ARRAY) {

        /* nobody sends that; who flattens it would see what is in it */

        return mcp_list_fail(f, "batch in a batch");
    }

    where = mcp_list_enter(f, ev, key);

    if (where != f->where) {
        f->where = where;
        return MCP_OK;
    }

    /* nothing in it can matter; its end is the next event */

    f->skipping = 1;
    mcp_json_skip(&f->scan);

    if (key == key_cache_scope) {
        f->dropping = 1;
        return mcp_list_replace(f, ev->start, mcp_list_private,
                                sizeof(mcp_list_private) - 1);
    }

    if (key == key_list) {

        /* what some languages make of an array that lost its first entry */

        f->has_list = 1;
        f->removed++;
        f->keep = ev->start;
        f->dropping = 1;
        return mcp_list_replace(f, ev->start, "[]", 2);
    }

    return f->bad_url ? mcp_list_fail(f, "URL that is not https") : MCP_OK;
}


/* The new `where`, or the old one for a container that is skipped. */

static unsigned
mcp_list_enter(mcp_list_filter_t *f, const mcp_json_event_t *ev, unsigned key)
{
    unsigned  array;

    array = (ev->type == MCP_JSON_ARRAY);

    switch (f->where) {

    case in_root:
        if (array) {
            f->batch = 1;
            return in_batch;
        }

        /* fall through */

    case in_batch:
        f->outcome = MCP_OUTCOME_NONE;
        f->members = 0;
        f->is_error = 0;
        f->input_required = 0;
        f->rpc_code = 0;
        f->id_len = 0;
        f->elicits = 0;
        f->about_task = 0;
        f->asks_url = 0;
        f->task_made = 0;
        f->tasks = 0;
        f->task_len = 0;
        f->ttl_len = 0;

        return in_message;

    case in_list:
        if (array) {
            break;
        }

        return in_entry;

    default:
        if (key == key_list && array) {
            f->has_list = 1;
            f->any_entry = 0;
            f->any_kept = 0;
            f->outer = f->where;
            f->keep = ev->end;
            return in_list;
        }

        if (key == key_icons || f->where == in_icons) {
            return mcp_list_enter_icons(f, ev, array);
        }

        if (key == key_elicitations && array) {
            return in_elicitations;
        }

        if (key == key_url) {

            /* nobody can have meant that well */

            f->asks_url = 1;
            f->bad_url |= (f->where != in_params);
            break;
        }

        if (key == key_task_id) {
            f->tasks = 2;
            break;
        }

        if (array) {
            break;
        }

        if (f->where == in_elicitations) {
            return in_elicitation;
        }

        if (key == key_result) {
            return in_result;
        }

        return mcp_list_enter_other(f, ev, key);
    }

    return f->where;
}


static unsigned
mcp_list_enter_other(mcp_list_filter_t *f, const mcp_json_event_t *ev,
    unsigned key)
{
    switch (key) {

    case key_params:
        return f->where == in_request ? in_request_params : in_params;

    case key_task:
        f->task_made = 1;
        return in_task;

    case key_inner:
        f->around[around_inner] = f->where;
        return in_inner;

    case key_error:
        f->around[around_error] = f->where;
        return in_error;

    case key_meta:
        return in_meta;

    case key_requests:
        f->around[around_requests] = f->where;
        return in_requests;

    case key_request:
        return in_request;

    case key_data:
        return in_data;

    case key_info:
        f->around[around_info] = f->where;
        f->keep = ev->start;
        f->icons = 0;
        f->bad_icon = 0;
        return in_info;
    }

    return f->where;
}


/* An array of icons, or one of them; anything else in their place is bad. */

static unsigned
mcp_list_enter_icons(mcp_list_filter_t *f, const mcp_json_event_t *ev,
    unsigned array)
{
    if (f->where == in_icons) {
        if (array) {
            f->bad_icon = 1;
            return f->where;
        }

        return in_icon;
    }

    if (!array || f->icons++) {
        f->icons = 2;
        return f->where;
    }

    f->around[around_icons] = f->where;
    f->icons_start = ev->start;

    return in_icons;
}


static int
mcp_list_close(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    switch (f->where) {

    case in_entry:
        f->where = in_list;
        return mcp_list_entry_end(f, ev->end, f->shown && f->names == 1
                                              && f->icons < 2);

    case in_info:
        f->where = f->around[around_info];
        return mcp_list_info_end(f, ev->end);

    case in_icons:
        f->icons_end = ev->end;
        f->where = f->around[around_icons];
        return MCP_OK;

    case in_icon:
        f->where = in_icons;
        return MCP_OK;

    case in_task:
    case in_meta:
        f->where = in_result;
        return MCP_OK;

    case in_requests:
        f->where = f->around[around_requests];
        return MCP_OK;

    case in_request:
        f->where = in_requests;
        return MCP_OK;

    case in_request_params:
        f->where = in_request;
        return MCP_OK;

    case in_data:
        f->where = in_error;
        return MCP_OK;

    case in_elicitations:
        f->where = in_data;
        return MCP_OK;

    case in_elicitation:
        f->where = in_elicitations;
        return MCP_OK;

    case in_list:
        if (ev->end - f->keep > f->conf->max_entry) {
            return mcp_list_fail(f, "list entry too large");
        }

        f->where = f->outer;
        return MCP_OK;

    case in_inner:
        f->where = f->around[around_inner];
        return MCP_OK;

    case in_error:
        f->where = f->around[around_error];
        return MCP_OK;

    case in_result:
        f->where = in_message;
        return mcp_list_result_end(f);

    case in_params:
        f->where = in_message;
        return MCP_OK;

    case in_message:
        f->where = f->batch ? in_batch : in_root;
        return mcp_list_message_end(f);

    default: /* in_batch */
        f->where = in_root;
        return MCP_OK;
    }
}


static int
mcp_list_skipped(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    f->skipping = 0;

    if (f->where == in_list) {
        return mcp_list_entry_end(f, ev->end, 0);
    }

    if (f->dropping) {
        f->dropping = 0;
        f->mark = ev->end;
        f->keep = ev->end;
    }

    return MCP_OK;
}


static int
mcp_list_scalar(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    unsigned  key;

    if (f->where == in_list) {
        if (mcp_list_entry_start(f, ev->start) != MCP_OK) {
            return MCP_ERROR;
        }

        return mcp_list_entry_end(f, ev->end, 0);
    }

    key = f->key;
    f->key = key_other;
    f->scan.capture = 0;

    switch (key) {

    case key_name:
        mcp_list_name(f, ev);
        return MCP_OK;

    case key_cache_scope:
        return mcp_list_cache_scope(f, ev);

    case key_id:
        mcp_list_id(f, ev);
        return MCP_OK;

    case key_is_error:
        f->is_error = (ev->type == MCP_JSON_TRUE);
        return MCP_OK;

    case key_result_type:
        f->input_required = mcp_list_is(ev, "input_required");
        f->task_made |= mcp_list_is(ev, "task");
        return MCP_OK;

    case key_method:

        /* when it is there twice, a client may take either */

        f->elicits |= mcp_list_is(ev, "elicitation/create");
        f->about_task |= (ev->type == MCP_JSON_STRING && ev->text.len >= 19
                          && memcmp(ev->text.data, "notifications/tasks", 19)
                             == 0);
        return MCP_OK;

    case key_url:
        if (ev->type != MCP_JSON_STRING || mcp_list_long(f, ev)
            || !mcp_url_https(&ev->text))
        {
            f->asks_url = 1;
            f->bad_url |= (f->where != in_params);
        }

        return f->bad_url ? mcp_list_fail(f, "URL that is not https") : MCP_OK;

    case key_src:

        /* a long one, which is an image's data, is judged by its beginning */

        f->bad_icon |= (ev->type != MCP_JSON_STRING
                        || !mcp_icon_src(&ev->text)
                        || (mcp_list_long(f, ev)
                            && mcp_url_https(&ev->text)));
        return MCP_OK;

    case key_icons:
        f->icons = (ev->type == MCP_JSON_NULL) ? f->icons : 2;
        return MCP_OK;

    case key_task_id:
    case key_ttl:
        mcp_list_task(f, ev, key);
        return MCP_OK;

    case key_code:
        f->rpc_code = 0;

        if (ev->type == MCP_JSON_NUMBER && !ev->truncated) {
            f->rpc_code = mcp_list_integer(&ev->text);
        }

        return MCP_OK;

    default:
        return MCP_OK;
    }
}


static void
mcp_list_name(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    if (ev->type != MCP_JSON_STRING || ev->truncated
        || ev->text.len == 0 || ev->text.len > f->conf->max_name)
    {
        return;
    }

    if (!mcp_name_plain(&ev->text)) {
        return;
    }

    f->shown = (unsigned) f->conf->visible(f->conf->data,
                                           (mcp_list_e) f->list, &ev->text)
               & 3;
}


static void
mcp_list_id(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    if (ev->end - f->keep > MCP_LIST_MAX_ID_SPAN
        || ev->end - f->keep > f->conf->max_entry
        || ev->end - ev->start > sizeof(f->id))
    {
        return;
    }

    f->id_len = (size_t) (ev->end - ev->start);
    mcp_list_copy(f, f->id, ev->start, ev->end);
}


static int
mcp_list_cache_scope(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    unsigned char  lexeme[sizeof(mcp_list_private) - 1];

    if (ev->end - f->keep > f->conf->max_entry) {
        return mcp_list_fail(f, "cacheScope too large");
    }

    if (ev->end - ev->start == sizeof(lexeme)) {
        mcp_list_copy(f, lexeme, ev->start, ev->end);

        if (memcmp(lexeme, mcp_list_private, sizeof(lexeme)) == 0) {
            return MCP_OK;
        }
    }

    if (mcp_list_replace(f, ev->start, mcp_list_private,
                         sizeof(mcp_list_private) - 1)
        != MCP_OK)
    {
        return MCP_ERROR;
    }

    f->mark = ev->end;
    f->keep = ev->end;

    return MCP_OK;
}


static int
mcp_list_is(const mcp_json_event_t *ev, const char *text)
{
    return ev->type == MCP_JSON_STRING && !ev->truncated
           && ev->text.len == strlen(text)
           && memcmp(ev->text.data, text, ev->text.len) == 0;
}


/*
 * Of a text in one piece all is there, of one that is split what the buffer
 * holds, which is more than this: it is long in both, or in neither.
 */

static int
mcp_list_long(const mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    return ev->truncated || ev->text.len > 2 * f->conf->max_name;
}


/* The id of a task, and how long it is kept. */

static void
mcp_list_task(mcp_list_filter_t *f, const mcp_json_event_t *ev, unsigned key)
{
    if (mcp_list_long(f, ev)) {
        f->tasks = (key == key_task_id) ? 2 : f->tasks;
        return;
    }

    if (key == key_ttl) {
        if (ev->type == MCP_JSON_NUMBER && ev->text.len <= sizeof(f->ttl)) {
            memcpy(f->ttl, ev->text.data, ev->text.len);
            f->ttl_len = ev->text.len;
        }

        return;
    }

    if (ev->type != MCP_JSON_STRING || ev->text.len > sizeof(f->task_id)
        || f->tasks++)
    {
        f->tasks = 2;
        return;
    }

    memcpy(f->task_id, ev->text.data, ev->text.len);
    f->task_len = ev->text.len;
}


/* A task that was made is known before its maker can use it. */

static int
mcp_list_result_end(mcp_list_filter_t *f)
{
    mcp_str_t  id, ttl;

    if (!f->task_made || f->tasks == 0 || f->conf->task == NULL) {
        return MCP_OK;
    }

    id.data = f->task_id;
    id.len = f->task_len;
    ttl.data = f->ttl;
    ttl.len = f->ttl_len;

    if (f->tasks > 1 || id.len == 0
        || f->conf->task(f->conf->data, &id, &ttl) != MCP_OK)
    {
        return mcp_list_fail(f, "task cannot be bound to its owner");
    }

    return MCP_OK;
}


static int
mcp_list_message_end(mcp_list_filter_t *f)
{
    mcp_str_t  id;

    f->response = (f->members & (MEMBER_RESULT|MEMBER_ERROR)) != 0;

    if (f->elicits && f->asks_url) {
        f->bad_url = 1;
        return mcp_list_fail(f, "URL that is not https");
    }

    if (f->about_task && f->tasks) {
        id.data = f->task_id;
        id.len = f->task_len;

        f->foreign |= (f->tasks > 1
                       || f->conf->visible(f->conf->data, MCP_LIST_TASKS, &id)
                          == 0);
    }

    if (f->members & MEMBER_METHOD) {
        f->outcome = (f->members & MEMBER_ID) ? MCP_OUTCOME_REQUEST
                                              : MCP_OUTCOME_NOTIFICATION;

    } else if (f->members & MEMBER_RESULT) {
        f->outcome = MCP_OUTCOME_RESULT;

    } else if (f->members & MEMBER_ERROR) {
        f->outcome = MCP_OUTCOME_ERROR;
    }

    return MCP_OK;
}


/* The value of an integer's lexeme; 0 for any other number. */

static int64_t
mcp_list_integer(const mcp_str_t *s)
{
    int64_t  n;
    size_t   i, minus;

    minus = (s->len && s->data[0] == '-');

    if (s->len - minus > MCP_LIST_MAX_DIGITS) {
        return 0;
    }

    n = 0;

    for (i = minus; i < s->len; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return 0;
        }

        n = n * 10 + (s->data[i] - '0');
    }

    return minus ? -n : n;
}
