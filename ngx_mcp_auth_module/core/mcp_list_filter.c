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

#include "mcp_list_filter.h"


/* between a key and the end of its value, for an id to be kept */
#define MCP_LIST_MAX_ID_SPAN  512

#define MCP_LIST_MIN_HOLD     1024
#define MCP_LIST_MAX_DIGITS   18

#define mcp_list_private      "\"private\""


/* where */
enum {
    in_root = 0,
    in_batch,
    in_message,
    in_result,
    in_inner,           /* result.result */
    in_error,
    in_list,
    in_entry
};


/* key: what the value to come is */
enum {
    key_other = 0,
    key_id,
    key_result,
    key_error,
    key_inner,
    key_list,
    key_cache_scope,
    key_is_error,
    key_result_type,
    key_code,
    key_name
};


/* members */
#define MEMBER_ID      0x01
#define MEMBER_METHOD  0x02
#define MEMBER_RESULT  0x04
#define MEMBER_ERROR   0x08


/* Indexed by mcp_list_e; folded is in lower case. */

static const struct {
    const char   *folded;
    const char   *name_folded;
    mcp_str_t     name;
} mcp_lists[] = {
    { "", "", { 0, NULL } },
    { "tools", "name", mcp_string("name") },
    { "prompts", "name", mcp_string("name") },
    { "resources", "uri", mcp_string("uri") },
    { "resourcetemplates", "uritemplate", mcp_string("uriTemplate") },
    { "tasks", "taskid", mcp_string("taskId") }
};

#define MCP_LIST_COUNT  (sizeof(mcp_lists) / sizeof(mcp_lists[0]))


static int mcp_list_event(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static void mcp_list_key(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static unsigned mcp_list_message_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static unsigned mcp_list_result_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static unsigned mcp_list_entry_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static int mcp_list_open(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static unsigned mcp_list_enter(mcp_list_filter_t *f,
    const mcp_json_event_t *ev, unsigned key);
static int mcp_list_close(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_skipped(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_scalar(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static void mcp_list_name(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static void mcp_list_id(mcp_list_filter_t *f, const mcp_json_event_t *ev);
static int mcp_list_cache_scope(mcp_list_filter_t *f,
    const mcp_json_event_t *ev);
static void mcp_list_message_end(mcp_list_filter_t *f);
static int mcp_list_entry_start(mcp_list_filter_t *f, uint64_t start);
static int mcp_list_entry_end(mcp_list_filter_t *f, uint64_t end,
    unsigned visible);
static int mcp_list_cut(mcp_list_filter_t *f, uint64_t end);
static int mcp_list_replace(mcp_list_filter_t *f, uint64_t start);
static int mcp_list_flush(mcp_list_filter_t *f);
static int mcp_list_emit(mcp_list_filter_t *f, const unsigned char *p,
    size_t len);
static int mcp_list_piece_end(mcp_list_filter_t *f, uint64_t end);
static int mcp_list_hold(mcp_list_filter_t *f, uint64_t end);
static void mcp_list_copy(mcp_list_filter_t *f, unsigned char *dst,
    uint64_t start, uint64_t end);
static int mcp_list_fold_eq(const mcp_str_t *key, const char *folded);
static int64_t mcp_list_integer(const mcp_str_t *s);
static int mcp_list_fail(mcp_list_filter_t *f, const char *error);


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


static void
mcp_list_key(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    unsigned  key;

    switch (f->where) {

    case in_message:
        key = mcp_list_message_key(f, &ev->text);
        break;

    case in_result:
    case in_inner:
        key = mcp_list_result_key(f, &ev->text);
        break;

    case in_error:
        key = mcp_str_eq_lit(&ev->text, "code") ? key_code : key_other;
        break;

    case in_entry:
        key = mcp_list_entry_key(f, &ev->text);
        break;

    default:
        key = key_other;
        break;
    }

    f->key = key;
    f->scan.capture = (key == key_name || key == key_code
                       || key == key_result_type);

    if (key == key_id || key == key_cache_scope) {
        /* the value may be needed as it was written */
        f->keep = ev->end;
    }
}


static unsigned
mcp_list_message_key(mcp_list_filter_t *f, const mcp_str_t *text)
{
    if (mcp_str_eq_lit(text, "id")) {
        f->members |= MEMBER_ID;
        f->id_len = 0;
        return key_id;
    }

    if (mcp_str_eq_lit(text, "method")) {
        f->members |= MEMBER_METHOD;
        return key_other;
    }

    if (mcp_str_eq_lit(text, "error")) {
        f->members |= MEMBER_ERROR;
        return key_error;
    }

    if (mcp_list_fold_eq(text, "result")) {
        if (mcp_str_eq_lit(text, "result")) {
            f->members |= MEMBER_RESULT;
        }

        return key_result;
    }

    return key_other;
}


static unsigned
mcp_list_result_key(mcp_list_filter_t *f, const mcp_str_t *text)
{
    unsigned  i;

    for (i = 1; i < MCP_LIST_COUNT; i++) {
        if (mcp_list_fold_eq(text, mcp_lists[i].folded)) {
            f->list = i;
            return key_list;
        }
    }

    if (mcp_list_fold_eq(text, "cachescope")) {
        return key_cache_scope;
    }

    if (f->where == in_inner) {
        return key_other;
    }

    if (mcp_list_fold_eq(text, "result")) {
        return key_inner;
    }

    if (mcp_str_eq_lit(text, "isError")) {
        return key_is_error;
    }

    if (mcp_str_eq_lit(text, "resultType")) {
        return key_result_type;
    }

    return key_other;
}


/* A client may take any spelling of the name, so there must be just one. */

static unsigned
mcp_list_entry_key(mcp_list_filter_t *f, const mcp_str_t *text)
{
    if (!mcp_list_fold_eq(text, mcp_lists[f->list].name_folded)) {
        return key_other;
    }

    if (f->names++) {
        f->names = 2;
        return key_other;
    }

    return mcp_str_eq(text, &mcp_lists[f->list].name) ? key_name : key_other;
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
        return mcp_list_replace(f, ev->start);
    }

    return MCP_OK;
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
        if (array) {
            break;
        }

        f->outcome = MCP_OUTCOME_NONE;
        f->members = 0;
        f->is_error = 0;
        f->input_required = 0;
        f->rpc_code = 0;
        f->id_len = 0;

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

        if (array) {
            break;
        }

        if (key == key_result) {
            return in_result;
        }

        if (key == key_inner) {
            return in_inner;
        }

        if (key == key_error) {
            return in_error;
        }
    }

    return f->where;
}


static int
mcp_list_close(mcp_list_filter_t *f, const mcp_json_event_t *ev)
{
    switch (f->where) {

    case in_entry:
        f->where = in_list;
        return mcp_list_entry_end(f, ev->end, f->shown && f->names == 1);

    case in_list:
        if (ev->end - f->keep > f->conf->max_entry) {
            return mcp_list_fail(f, "list entry too large");
        }

        f->where = f->outer;
        return MCP_OK;

    case in_inner:
        f->where = in_result;
        return MCP_OK;

    case in_result:
    case in_error:
        f->where = in_message;
        return MCP_OK;

    case in_message:
        mcp_list_message_end(f);
        f->where = f->batch ? in_batch : in_root;
        return MCP_OK;

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
        f->input_required = (ev->type == MCP_JSON_STRING && !ev->truncated
                             && mcp_str_eq_lit(&ev->text, "input_required"));
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

    if (mcp_list_replace(f, ev->start) != MCP_OK) {
        return MCP_ERROR;
    }

    f->mark = ev->end;
    f->keep = ev->end;

    return MCP_OK;
}


static void
mcp_list_message_end(mcp_list_filter_t *f)
{
    if (f->members & MEMBER_METHOD) {
        f->outcome = (f->members & MEMBER_ID) ? MCP_OUTCOME_REQUEST
                                              : MCP_OUTCOME_NOTIFICATION;

    } else if (f->members & MEMBER_RESULT) {
        f->outcome = MCP_OUTCOME_RESULT;

    } else if (f->members & MEMBER_ERROR) {
        f->outcome = MCP_OUTCOME_ERROR;
    }
}


static int
mcp_list_entry_start(mcp_list_filter_t *f, uint64_t start)
{
    f->sep = f->keep;
    f->shown = 0;
    f->names = 0;

    if (!f->any_entry) {
        f->any_entry = 1;
        f->keep = start;
        return MCP_OK;
    }

    if (!f->any_kept) {
        /* the comma of those cut before it */
        return mcp_list_cut(f, start);
    }

    return MCP_OK;
}


static int
mcp_list_entry_end(mcp_list_filter_t *f, uint64_t end, unsigned visible)
{
    if (end - f->sep > f->conf->max_entry) {
        return mcp_list_fail(f, "list entry too large");
    }

    if (visible) {
        f->any_kept = 1;
        f->kept++;
        f->shadowed += (f->shown == 2);
        f->keep = end;
        return MCP_OK;
    }

    f->removed++;

    return mcp_list_cut(f, end);
}


/* Drops [keep, end). */

static int
mcp_list_cut(mcp_list_filter_t *f, uint64_t end)
{
    if (mcp_list_flush(f) != MCP_OK) {
        return MCP_ERROR;
    }

    f->mark = end;
    f->keep = end;
    f->changed = 1;

    return MCP_OK;
}


/* "private" in place of the value that begins at start. */

static int
mcp_list_replace(mcp_list_filter_t *f, uint64_t start)
{
    if (start - f->keep > f->conf->max_entry) {
        return mcp_list_fail(f, "cacheScope too large");
    }

    f->keep = start;
    f->changed = 1;

    if (mcp_list_flush(f) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcp_list_emit(f, (const unsigned char *) mcp_list_private,
                         sizeof(mcp_list_private) - 1);
}


/* Emits [mark, keep): the part in hold, then the part in the piece. */

static int
mcp_list_flush(mcp_list_filter_t *f)
{
    size_t    back;
    uint64_t  end;

    if (f->mark < f->piece) {
        end = f->keep < f->piece ? f->keep : f->piece;
        back = (size_t) (f->piece - f->mark);

        if (mcp_list_emit(f, f->hold + (f->hold_len - back),
                          (size_t) (end - f->mark))
            != MCP_OK)
        {
            return MCP_ERROR;
        }

        f->mark = end;
    }

    if (f->keep > f->mark) {
        if (mcp_list_emit(f, f->data + (f->mark - f->piece),
                          (size_t) (f->keep - f->mark))
            != MCP_OK)
        {
            return MCP_ERROR;
        }

        f->mark = f->keep;
    }

    return MCP_OK;
}


static int
mcp_list_emit(mcp_list_filter_t *f, const unsigned char *p, size_t len)
{
    if (len == 0) {
        return MCP_OK;
    }

    if (f->conf->emit(f->conf->data, p, len) != MCP_OK) {
        return mcp_list_fail(f, "output failed");
    }

    return MCP_OK;
}


/*
 * What is not decided is held.  What holds is bounded by max_entry in the same
 * way whether it is split or not, so that the pieces change nothing.
 */

static int
mcp_list_piece_end(mcp_list_filter_t *f, uint64_t end)
{
    unsigned  hold;

    hold = 0;

    if (f->dropping) {
        f->mark = end;
        f->keep = end;

    } else if (f->where == in_list || f->where == in_entry
               || f->key == key_cache_scope)
    {
        hold = 1;

    } else if (f->key == key_id) {
        hold = (end - f->keep <= MCP_LIST_MAX_ID_SPAN
                && end - f->keep <= f->conf->max_entry);

        if (!hold) {
            f->key = key_other;
        }
    }

    if (!hold) {
        f->keep = end;
    }

    if (mcp_list_flush(f) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcp_list_hold(f, end);
}


/* Moves [mark, end) to hold; the piece goes away. */

static int
mcp_list_hold(mcp_list_filter_t *f, uint64_t end)
{
    size_t          old, new, size;
    unsigned char  *p;

    old = 0;
    new = (size_t) (end - f->mark);

    if (new > f->conf->max_entry) {
        return mcp_list_fail(f, "list entry too large");
    }

    if (f->mark < f->piece) {
        old = (size_t) (f->piece - f->mark);

        if (old < f->hold_len) {
            memmove(f->hold, f->hold + (f->hold_len - old), old);
        }
    }

    if (new > f->hold_size) {
        size = f->hold_size > SIZE_MAX / 2 ? SIZE_MAX : f->hold_size * 2;
        size = size < MCP_LIST_MIN_HOLD ? MCP_LIST_MIN_HOLD : size;
        size = size > f->conf->max_entry ? f->conf->max_entry : size;
        size = size < new ? new : size;

        p = f->conf->grow(f->conf->data, f->hold, old, size);
        if (p == NULL) {
            return mcp_list_fail(f, "no memory");
        }

        f->hold = p;
        f->hold_size = size;
    }

    if (new > old) {
        memcpy(f->hold + old, f->data + (end - f->piece) - (new - old),
               new - old);
    }

    f->hold_len = new;
    f->piece = end;

    return MCP_OK;
}


/* Bytes of the document that were not emitted yet. */

static void
mcp_list_copy(mcp_list_filter_t *f, unsigned char *dst, uint64_t start,
    uint64_t end)
{
    size_t    n;
    uint64_t  cut;

    if (start < f->piece) {
        cut = end < f->piece ? end : f->piece;
        n = (size_t) (cut - start);

        memcpy(dst, f->hold + f->hold_len - (size_t) (f->piece - start), n);

        dst += n;
        start = cut;
    }

    if (start < end) {
        memcpy(dst, f->data + (start - f->piece), (size_t) (end - start));
    }
}


/*
 * Equal as Go's encoding/json compares member names, the laxest way in use:
 * besides the case of letters, U+017F stands for s and U+212A for k.
 */

static int
mcp_list_fold_eq(const mcp_str_t *key, const char *folded)
{
    unsigned char         c;
    const unsigned char  *p, *last;

    p = key->data;
    last = p + key->len;

    while (p < last) {
        c = *p++;

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;

        } else if (c == 0xc5 && last - p >= 1 && p[0] == 0xbf) {
            c = 's';
            p += 1;

        } else if (c == 0xe2 && last - p >= 2 && p[0] == 0x84 && p[1] == 0xaa)
        {
            c = 'k';
            p += 2;
        }

        if (*folded == '\0' || c != (unsigned char) *folded) {
            return 0;
        }

        folded++;
    }

    return *folded == '\0';
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


static int
mcp_list_fail(mcp_list_filter_t *f, const char *error)
{
    f->failed = 1;
    f->error = error;

    return MCP_ERROR;
}
