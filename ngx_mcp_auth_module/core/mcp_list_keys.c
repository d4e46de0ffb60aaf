/*
 * Member names, for the list filter: what the value to come is.
 *
 * A client may take any spelling of a name that its parser takes, so names are
 * compared as the laxest clients do.
 */

#include "mcp_list_private.h"


/* values whose text is looked at */

static const unsigned char  mcp_list_captured[key_name + 1] = {
    [key_result_type] = 1, [key_code] = 1, [key_method] = 1,
    [key_task_id] = 1, [key_ttl] = 1, [key_url] = 1, [key_src] = 1,
    [key_name] = 1
};


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


static unsigned mcp_list_other_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static unsigned mcp_list_params_key(const mcp_str_t *text);
static unsigned mcp_list_task_key(const mcp_str_t *text);
static unsigned mcp_list_message_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static unsigned mcp_list_result_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static unsigned mcp_list_entry_key(mcp_list_filter_t *f,
    const mcp_str_t *text);
static inline int mcp_list_fold_eq(const mcp_str_t *key, const char *folded);
static int mcp_list_fold_all(const mcp_str_t *key, const char *folded);


void
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

    case in_entry:
        key = mcp_list_entry_key(f, &ev->text);
        break;

    default:
        key = mcp_list_other_key(f, &ev->text);
        break;
    }

    f->key = key;
    f->scan.capture = mcp_list_captured[key];

    if (key == key_id || key == key_cache_scope) {
        /* the value may be needed as it was written */
        f->keep = ev->end;
    }
}


/* Where few members matter. */

static unsigned
mcp_list_other_key(mcp_list_filter_t *f, const mcp_str_t *text)
{
    switch (f->where) {

    case in_error:
        return mcp_str_eq_lit(text, "code") ? key_code
               : mcp_list_fold_eq(text, "data") ? key_data : key_other;

    case in_data:
        return mcp_list_fold_eq(text, "elicitations") ? key_elicitations
                                                      : key_other;

    case in_task:
        return mcp_list_task_key(text);

    case in_params:
        return mcp_list_params_key(text);

    case in_meta:
        return mcp_list_fold_eq(text, "io.modelcontextprotocol/serverinfo")
               ? key_info : key_other;

    case in_requests:
        return key_request;

    case in_request:
        return mcp_list_fold_eq(text, "params") ? key_params : key_other;

    case in_request_params:
    case in_elicitation:
        return mcp_list_fold_eq(text, "url") ? key_url : key_other;

    case in_info:
        return mcp_list_fold_eq(text, "icons") ? key_icons : key_other;

    case in_icon:
        return mcp_list_fold_eq(text, "src") ? key_src : key_other;

    default:
        return key_other;
    }
}


/* A question to a person; or a task, whole, as in a result. */

static unsigned
mcp_list_params_key(const mcp_str_t *text)
{
    return mcp_list_fold_eq(text, "url") ? key_url
           : mcp_list_fold_eq(text, "taskid") ? key_task_id
           : mcp_list_fold_eq(text, "inputrequests") ? key_requests
           : mcp_list_fold_eq(text, "result") ? key_inner
           : mcp_list_fold_eq(text, "error") ? key_error : key_other;
}


static unsigned
mcp_list_task_key(const mcp_str_t *text)
{
    return mcp_list_fold_eq(text, "taskid") ? key_task_id
           : mcp_str_eq_lit(text, "ttl") || mcp_str_eq_lit(text, "ttlMs")
             ? key_ttl : key_other;
}


static unsigned
mcp_list_message_key(mcp_list_filter_t *f, const mcp_str_t *text)
{
    if (mcp_str_eq_lit(text, "id")) {
        f->members |= MEMBER_ID;
        f->id_len = 0;
        return key_id;
    }

    if (mcp_list_fold_eq(text, "method")) {
        if (mcp_str_eq_lit(text, "method")) {
            f->members |= MEMBER_METHOD;
        }

        return key_method;
    }

    if (mcp_list_fold_eq(text, "params")) {
        return key_params;
    }

    if (mcp_list_fold_eq(text, "error")) {
        if (mcp_str_eq_lit(text, "error")) {
            f->members |= MEMBER_ERROR;
        }

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

    if (mcp_list_fold_eq(text, "inputrequests")) {
        return key_requests;
    }

    if (f->where == in_inner) {
        return key_other;
    }

    if (mcp_list_fold_eq(text, "result")) {
        return key_inner;
    }

    if (mcp_list_fold_eq(text, "error")) {

        /* of a task that failed */

        return key_error;
    }

    if (mcp_list_fold_eq(text, "_meta")) {
        return key_meta;
    }

    if (mcp_str_eq_lit(text, "isError")) {
        return key_is_error;
    }

    if (mcp_str_eq_lit(text, "resultType")) {
        return key_result_type;
    }

    if (mcp_list_fold_eq(text, "task")) {
        return key_task;
    }

    if (mcp_list_fold_eq(text, "serverinfo")) {
        return key_info;
    }

    return mcp_list_task_key(text);
}


/* A client may take any spelling of the name, so there must be just one. */

static unsigned
mcp_list_entry_key(mcp_list_filter_t *f, const mcp_str_t *text)
{
    if (!mcp_list_fold_eq(text, mcp_lists[f->list].name_folded)) {
        return mcp_list_fold_eq(text, "icons") ? key_icons : key_other;
    }

    if (f->names++) {
        f->names = 2;
        return key_other;
    }

    return mcp_str_eq(text, &mcp_lists[f->list].name) ? key_name : key_other;
}


/*
 * Equal as Go's encoding/json compares member names, the laxest way in use:
 * besides the case of letters, U+017F stands for s and U+212A for k.
 */

static inline int
mcp_list_fold_eq(const mcp_str_t *key, const char *folded)
{
    unsigned char  c;

    if (key->len == 0) {
        return 0;
    }

    /* nearly always the first letter is another one */

    c = key->data[0];

    if (c < 0x80 && c != (unsigned char) *folded
        && (c | 0x20) != (unsigned char) *folded)
    {
        return 0;
    }

    return mcp_list_fold_all(key, folded);
}


static int
mcp_list_fold_all(const mcp_str_t *key, const char *folded)
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
