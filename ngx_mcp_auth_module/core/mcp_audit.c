/*
 * One audit record as one line of JSON (DESIGN.md section 8).
 *
 * Always true: a line is complete, valid JSON, ends in the only LF it has and
 * is at most MCP_AUDIT_MAX bytes, whatever a caller puts into names, ids and
 * arguments; a member is written whole or not at all; what a caller controls
 * cannot push out what the gateway knows, because each string has a bound on
 * what it is written as (twice its own bound), and the last members have room
 * set aside.  The sums are at MCP_AUDIT_TAIL.
 *
 * Called in the log phase, on the hot path: no allocation, no printf, no time
 * function of libc.
 */

#include "mcp_audit.h"
#include "mcp_redact.h"
#include "mcp_time.h"


/* Bytes taken of a string. */
#define MCP_AUDIT_NAME      64          /* node, server, agent, addresses */
#define MCP_AUDIT_METHOD    128
#define MCP_AUDIT_TARGET    256         /* the largest of these */
#define MCP_AUDIT_RULE      256
#define MCP_AUDIT_WHO       128         /* user, client, issuer, token id */
#define MCP_AUDIT_VERSION   32
#define MCP_AUDIT_ID        64
#define MCP_AUDIT_VALUE     256         /* one argument in the clear */

/* Bytes written. */
#define MCP_AUDIT_ROLES     1200
#define MCP_AUDIT_KEYS      1024
#define MCP_AUDIT_CLEAR     2048

/*
 * Set aside for what follows params: the preview, the rest of result 330,
 * credential 150, upstream 240, ms 120, client_ip 150, request_id 150,
 * trace_id 90, and the end.  What comes before needs at most 3.6k without
 * roles, so that at least 2k are left for params: nothing is ever dropped but
 * from params and roles.
 */
#define MCP_AUDIT_TAIL      (1344 + 2 * MCP_AUDIT_PREVIEW + 32)

#define MCP_AUDIT_DIGITS    15          /* of a number that all readers take */


static void mcp_audit_ts(mcp_buf_t *b, int64_t sec, unsigned usec);
static void mcp_audit_names(mcp_buf_t *b, const char *key, size_t len,
    const mcp_str_t *names, unsigned n);
static void mcp_audit_moment(mcp_buf_t *b, const char *key, size_t len,
    int64_t sec);
static void mcp_audit_message(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_principal(mcp_buf_t *b, const mcp_principal_t *p,
    const mcp_policy_t *policy);
static void mcp_audit_watermark(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_caller(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_id(mcp_buf_t *b, const mcp_str_t *id);
static void mcp_audit_params(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_arg_keys(mcp_buf_t *b, const mcp_message_t *m);
static void mcp_audit_clear(mcp_buf_t *b, const mcp_audit_t *a);
static int mcp_audit_value(mcp_buf_t *b, const mcp_value_t *value);
static void mcp_audit_number(mcp_buf_t *b, const mcp_str_t *s);
static void mcp_audit_result(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_preview(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_credential(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_upstream(mcp_buf_t *b, const mcp_audit_t *a);
static void mcp_audit_times(mcp_buf_t *b, const mcp_audit_t *a);

static int mcp_audit_plain(const mcp_str_t *lexeme, unsigned fraction);
static void mcp_audit_json(mcp_buf_t *b, const mcp_str_t *s, size_t max);
static int mcp_audit_quoted(mcp_buf_t *b, const mcp_str_t *s);
static void mcp_audit_safe(mcp_buf_t *b, const mcp_str_t *s, size_t max);
static void mcp_audit_safe_member(mcp_buf_t *b, const char *key, size_t len,
    const mcp_str_t *s, size_t max);
static void mcp_audit_member(mcp_buf_t *b, const char *key, size_t len,
    const mcp_str_t *s, size_t max);
static void mcp_audit_text(mcp_buf_t *b, const char *key, size_t len,
    const char *s);
static void mcp_audit_ms(mcp_buf_t *b, int64_t us);
static void mcp_audit_limit(mcp_buf_t *b, size_t room);
static void mcp_audit_close(mcp_buf_t *b, unsigned char *start, size_t len);

/*
 * Every member begins with a comma.  That of the first member of an object
 * becomes the object's brace when it is closed.
 */
#define mcp_audit_put(b, key, s, max)                                         \
    mcp_audit_member(b, ",\"" key "\":", sizeof(key) + 3, s, max)
#define mcp_audit_put_safe(b, key, s, max)                                    \
    mcp_audit_safe_member(b, ",\"" key "\":", sizeof(key) + 3, s, max)
#define mcp_audit_put_text(b, key, s)                                         \
    mcp_audit_text(b, ",\"" key "\":", sizeof(key) + 3, s)
#define mcp_audit_put_names(b, key, names, n)                                 \
    mcp_audit_names(b, ",\"" key "\":", sizeof(key) + 3, names, n)
#define mcp_audit_put_moment(b, key, sec)                                     \
    mcp_audit_moment(b, ",\"" key "\":", sizeof(key) + 3, sec)
#define mcp_audit_open(b, key)                                                \
    mcp_buf_lit(b, ",\"" key "\":")
#define mcp_audit_end(b, key, start)                                          \
    mcp_audit_close(b, start, sizeof(key) + 3)


size_t
mcp_audit_line(const mcp_audit_t *a, unsigned char *out)
{
    mcp_buf_t  b;

    mcp_buf_init(&b, out, MCP_AUDIT_MAX - MCP_AUDIT_TAIL);

    mcp_buf_lit(&b, "{\"ts\":\"");
    mcp_audit_ts(&b, a->sec, a->usec);
    mcp_buf_lit(&b, "\",\"seq\":");
    mcp_buf_uint(&b, a->seq);
    mcp_audit_put(&b, "node", &a->node, MCP_AUDIT_NAME);
    mcp_buf_lit(&b, ",\"worker\":");
    mcp_buf_uint(&b, a->worker);
    mcp_audit_put_text(&b, "ev", a->ev);
    mcp_audit_put(&b, "server", &a->server, MCP_AUDIT_NAME);

    mcp_audit_message(&b, a);

    mcp_audit_put_text(&b, "decision", a->decision);
    mcp_audit_put_text(&b, "reason", a->reason);
    mcp_audit_put(&b, "rule", &a->rule, MCP_AUDIT_RULE);

    if (a->who.len) {
        mcp_buf_str(&b, &a->who);

    } else {
        mcp_audit_principal(&b, a->principal, a->policy);
    }

    if (a->store) {
        mcp_audit_watermark(&b, a);
    }

    mcp_audit_caller(&b, a);
    mcp_audit_params(&b, a);

    b.end = out + MCP_AUDIT_MAX - 2;

    mcp_audit_result(&b, a);
    mcp_audit_credential(&b, a);
    mcp_audit_upstream(&b, a);
    mcp_audit_times(&b, a);
    mcp_audit_put(&b, "client_ip", &a->client_ip, MCP_AUDIT_NAME);
    mcp_audit_put(&b, "request_id", &a->request_id, MCP_AUDIT_NAME);
    mcp_audit_put(&b, "trace_id", &a->trace_id, 32);

    b.end += 2;
    mcp_buf_lit(&b, "}\n");

    return (size_t) (b.pos - out);
}


/*
 * All strings and both lists at their longest take 6.5k: nothing is dropped but
 * from the lists.
 */

size_t
mcp_audit_operator_line(const mcp_audit_operator_t *a, unsigned char *out)
{
    mcp_buf_t  b;

    mcp_buf_init(&b, out, MCP_AUDIT_MAX - 2);

    mcp_buf_lit(&b, "{\"ts\":\"");
    mcp_audit_ts(&b, a->sec, a->usec);
    mcp_buf_lit(&b, "\"");
    mcp_audit_put(&b, "node", &a->node, MCP_AUDIT_NAME);
    mcp_audit_put_text(&b, "ev", a->ev);
    mcp_audit_put_text(&b, "method", a->method);
    mcp_audit_put_text(&b, "decision", a->decision);
    mcp_audit_put_text(&b, "reason", a->reason);
    mcp_audit_put(&b, "user", &a->user, MCP_AUDIT_WHO);
    mcp_audit_put(&b, "client", &a->client, MCP_AUDIT_WHO);
    mcp_audit_put_text(&b, "kind", a->kind);
    mcp_audit_put_text(&b, "auth", a->auth);
    mcp_audit_put(&b, "issuer", &a->issuer, MCP_AUDIT_WHO);
    mcp_audit_put(&b, "token_id", &a->token_id, MCP_AUDIT_WHO);
    mcp_audit_put_names(&b, "roles", a->roles, a->nroles);
    mcp_audit_put_names(&b, "servers", a->servers, a->nservers);
    mcp_audit_put_moment(&b, "expires", a->expires);
    mcp_audit_put(&b, "replaces", &a->replaces, MCP_AUDIT_NAME);
    mcp_audit_put_moment(&b, "at", a->at);
    mcp_audit_put_moment(&b, "until", a->until);
    mcp_audit_put_safe(&b, "note", &a->note, MCP_AUDIT_TARGET);
    mcp_audit_put(&b, "credential", &a->credential, MCP_AUDIT_NAME);

    if (a->credential_version) {
        mcp_buf_lit(&b, ",\"credential_version\":");
        mcp_buf_uint(&b, a->credential_version);
    }

    mcp_audit_put_text(&b, "store", a->store);
    mcp_audit_put(&b, "by", &a->by, MCP_AUDIT_NAME);

    b.end += 2;
    mcp_buf_lit(&b, "}\n");

    return (size_t) (b.pos - out);
}


mcp_str_t
mcp_trace_id(const mcp_str_t *traceparent)
{
    size_t                i;
    unsigned              trace, parent;
    mcp_str_t             id;
    const unsigned char  *p;

    mcp_str_null(&id);

    p = traceparent->data;

    /* a later version may have more behind another dash */

    if (traceparent->len < 55
        || (traceparent->len > 55
            && (p[55] != '-' || (p[0] == '0' && p[1] == '0')))
        || (p[0] == 'f' && p[1] == 'f'))
    {
        return id;
    }

    trace = 0;
    parent = 0;

    for (i = 0; i < 55; i++) {

        if (i == 2 || i == 35 || i == 52) {
            if (p[i] != '-') {
                return id;
            }

            continue;
        }

        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f')) {
            return id;
        }

        if (p[i] != '0') {
            trace |= (i > 2 && i < 35);
            parent |= (i > 35 && i < 52);
        }
    }

    if (trace && parent) {
        id.data = traceparent->data + 3;
        id.len = 32;
    }

    return id;
}


/* RFC 3339, UTC. */

static void
mcp_audit_ts(mcp_buf_t *b, int64_t sec, unsigned usec)
{
    unsigned       i;
    mcp_buf_t      ts;
    unsigned char  t[MCP_TIME_LEN + 7];

    mcp_buf_init(&ts, t, MCP_TIME_LEN);
    mcp_time_write(&ts, sec);

    /* the fraction takes the place of the "Z" */

    usec = (usec > 999999) ? 999999 : usec;
    t[MCP_TIME_LEN - 1] = '.';

    for (i = 0; i < 6; i++) {
        t[MCP_TIME_LEN + 5 - i] = (unsigned char) ('0' + usec % 10);
        usec /= 10;
    }

    t[MCP_TIME_LEN + 6] = 'Z';

    mcp_buf_put(b, t, sizeof(t));
}


/* As many as fit into MCP_AUDIT_ROLES; a last U+2026 stands for the rest. */

static void
mcp_audit_names(mcp_buf_t *b, const char *key, size_t len,
    const mcp_str_t *names, unsigned n)
{
    unsigned        i;
    unsigned char  *start;

    if (n == 0) {
        return;
    }

    mcp_buf_put(b, key, len);
    start = b->pos;

    for (i = 0; i < n; i++) {
        mcp_buf_put(b, i ? "," : "[", 1);

        if (b->pos - start > MCP_AUDIT_ROLES - 2 * MCP_AUDIT_NAME) {
            mcp_buf_lit(b, "\"\xE2\x80\xA6\"");
            break;
        }

        mcp_audit_json(b, &names[i], MCP_AUDIT_NAME);
    }

    mcp_buf_lit(b, "]");
}


static void
mcp_audit_moment(mcp_buf_t *b, const char *key, size_t len, int64_t sec)
{
    if (sec) {
        mcp_buf_put(b, key, len);
        mcp_buf_lit(b, "\"");
        mcp_time_write(b, sec);
        mcp_buf_lit(b, "\"");
    }
}


/* method, target */

static void
mcp_audit_message(mcp_buf_t *b, const mcp_audit_t *a)
{
    const mcp_message_t  *m;

    m = a->message;

    if (m == NULL) {
        mcp_audit_put_text(b, "method", a->http_method);
        return;
    }

    mcp_audit_put_safe(b, "method", &m->method, MCP_AUDIT_METHOD);

    if (m->target.len == 0 && m->nuris) {
        mcp_audit_put_safe(b, "target", &m->uris[0], MCP_AUDIT_TARGET);
        return;
    }

    mcp_audit_put_safe(b, "target", &m->target, MCP_AUDIT_TARGET);
}


/* Five strings at their longest take 1.4k, kind, auth and roles the same. */

size_t
mcp_audit_who(const mcp_principal_t *principal, const mcp_policy_t *policy,
    unsigned char *out)
{
    mcp_buf_t  b;

    mcp_buf_init(&b, out, MCP_AUDIT_WHO_MAX);
    mcp_audit_principal(&b, principal, policy);

    return (size_t) (b.pos - out);
}


/* user, client, kind, auth, issuer, token_id, roles */

static void
mcp_audit_principal(mcp_buf_t *b, const mcp_principal_t *p,
    const mcp_policy_t *policy)
{
    mcp_buf_t  names;

    if (p == NULL) {
        return;
    }

    mcp_audit_put(b, "user", &p->user, MCP_AUDIT_WHO);
    mcp_audit_put(b, "client", &p->client, MCP_AUDIT_WHO);
    mcp_audit_put_text(b, "kind", p->kind == MCP_CALLER_USER ? "user"
                                  : p->kind == MCP_CALLER_SERVICE ? "service"
                                  : NULL);
    mcp_audit_put_text(b, "auth", p->auth == MCP_AUTH_JWT ? "jwt"
                                  : p->auth == MCP_AUTH_PAT ? "pat"
                                  : p->auth == MCP_AUTH_VAT ? "vat" : NULL);
    mcp_audit_put(b, "issuer", &p->iss, MCP_AUDIT_WHO);
    mcp_audit_put(b, "token_id", &p->token_id, MCP_AUDIT_WHO);

    if (policy == NULL) {
        return;
    }

    names = *b;
    mcp_audit_limit(&names, MCP_AUDIT_ROLES);
    mcp_audit_open(&names, "roles");
    names.start = names.pos;
    mcp_policy_roles_json(policy, &p->roles, &names);

    if (!names.overflow && names.pos != names.start) {
        b->pos = names.pos;
    }
}


/* at, until, note, store, by; instead of a message, which takes more */

static void
mcp_audit_watermark(mcp_buf_t *b, const mcp_audit_t *a)
{
    mcp_audit_put_moment(b, "at", a->at);
    mcp_audit_put_moment(b, "until", a->until);
    mcp_audit_put_safe(b, "note", &a->note, MCP_AUDIT_TARGET);
    mcp_audit_put_text(b, "store", a->store);
    mcp_audit_put(b, "by", &a->by, MCP_AUDIT_NAME);
}


/* agent, rpc_id, era, session */

static void
mcp_audit_caller(mcp_buf_t *b, const mcp_audit_t *a)
{
    unsigned char        *start;
    const mcp_message_t  *m;

    m = a->message;

    if (m) {
        start = b->pos;

        mcp_audit_open(b, "agent");
        mcp_audit_put_safe(b, "name", &m->agent_name, MCP_AUDIT_NAME);
        mcp_audit_put_safe(b, "version", &m->agent_version,
                           MCP_AUDIT_VERSION);
        mcp_audit_end(b, "agent", start);

        if (m->id.len) {
            mcp_audit_id(b, &m->id);
        }

        /* a body that could not be read has no era */

        if (m->kind) {
            mcp_audit_put_text(b, "era", m->era == MCP_ERA_MODERN ? "modern"
                                                                  : "legacy");
        }
    }

    mcp_audit_put(b, "session", &a->session, MCP_AUDIT_NAME);
}


/*
 * The id as the caller wrote it: a small integer as such; of anything else the
 * text, of strings without their quotes and with their escapes still in them.
 */

static void
mcp_audit_id(mcp_buf_t *b, const mcp_str_t *id)
{
    mcp_str_t  text;

    mcp_audit_open(b, "rpc_id");

    if (mcp_audit_plain(id, 0)) {
        mcp_buf_str(b, id);
        return;
    }

    text = *id;

    if (text.data[0] == '"') {
        text.data++;
        text.len--;

        if (text.len && text.data[text.len - 1] == '"') {
            text.len--;
        }
    }

    mcp_audit_safe(b, &text, MCP_AUDIT_ID);
}


static void
mcp_audit_params(mcp_buf_t *b, const mcp_audit_t *a)
{
    unsigned char        *start;
    const mcp_message_t  *m;

    m = a->message;

    if (m == NULL || m->args_end <= m->args_start) {
        return;
    }

    start = b->pos;

    mcp_audit_open(b, "params");
    mcp_audit_arg_keys(b, m);
    mcp_audit_open(b, "bytes");
    mcp_buf_uint(b, m->args_end - m->args_start);
    mcp_audit_put(b, "digest", &a->params_digest, MCP_AUDIT_NAME);
    mcp_audit_clear(b, a);
    mcp_audit_end(b, "params", start);
}


static void
mcp_audit_arg_keys(mcp_buf_t *b, const mcp_message_t *m)
{
    unsigned        i;
    mcp_buf_t       names;
    unsigned char  *whole;

    if (m->narg_keys == 0) {
        return;
    }

    names = *b;
    mcp_audit_limit(&names, MCP_AUDIT_KEYS);

    mcp_buf_lit(&names, ",\"keys\":[");

    for (i = 0; i < m->narg_keys; i++) {
        whole = names.pos;

        if (i) {
            mcp_buf_lit(&names, ",");
        }

        mcp_audit_safe(&names, &m->arg_keys[i], MCP_AUDIT_NAME);

        if (names.overflow) {
            names.pos = whole;
            break;
        }
    }

    b->pos = names.pos;

    if (i < m->nargs) {
        mcp_buf_put(b, ",\"\xE2\x80\xA6\"", 6);
    }

    mcp_buf_lit(b, "]");
}


/* Scalars in the clear, by their pointer; what does not fit is left out. */

static void
mcp_audit_clear(mcp_buf_t *b, const mcp_audit_t *a)
{
    unsigned              i, k, n;
    mcp_buf_t             v;
    unsigned char        *start, *whole;
    const mcp_pointer_t  *pointers;

    if (a->nclear == 0 || a->policy == NULL || a->message->values == NULL) {
        return;
    }

    pointers = mcp_policy_pointers(a->policy, &n);

    v = *b;
    start = b->pos;
    mcp_audit_limit(&v, MCP_AUDIT_CLEAR);
    mcp_audit_open(&v, "clear");

    for (i = 0; i < a->nclear; i++) {
        k = a->clear[i];

        if (k >= n) {
            continue;
        }

        whole = v.pos;

        mcp_buf_lit(&v, ",");
        mcp_audit_json(&v, &pointers[k].text, MCP_AUDIT_TARGET);
        mcp_buf_lit(&v, ":");

        if (!mcp_audit_value(&v, &a->message->values[k]) || v.overflow) {
            v.pos = whole;
            v.overflow = 0;
        }
    }

    b->pos = v.pos;
    mcp_audit_end(b, "clear", start);
}


/*
 * 0 when there is nothing to show.  A number that readers would round or
 * refuse (1e999) is shown as a string, so that no caller can make its own
 * record unreadable.
 */

static int
mcp_audit_value(mcp_buf_t *b, const mcp_value_t *value)
{
    switch (value->type) {

    case MCP_VALUE_STRING:
        mcp_audit_safe(b, &value->text, MCP_AUDIT_VALUE);
        return 1;

    case MCP_VALUE_NUMBER:

        /* one of 13 digits may be a card's */

        if (value->text.len < 13 && mcp_audit_plain(&value->text, 1)) {
            mcp_buf_str(b, &value->text);

        } else {
            mcp_audit_number(b, &value->text);
        }

        return 1;

    case MCP_VALUE_TRUE:
        mcp_buf_lit(b, "true");
        return 1;

    case MCP_VALUE_FALSE:
        mcp_buf_lit(b, "false");
        return 1;

    case MCP_VALUE_NULL:
        mcp_buf_lit(b, "null");
        return 1;

    default:
        return 0;
    }
}


static void
mcp_audit_result(mcp_buf_t *b, const mcp_audit_t *a)
{
    unsigned char  *start;

    start = b->pos;

    mcp_audit_open(b, "result");

    if (a->status) {
        mcp_audit_open(b, "status");
        mcp_buf_uint(b, a->status);
    }

    if (a->has_rpc_code) {
        mcp_audit_open(b, "rpc_code");
        mcp_buf_int(b, a->rpc_code);
    }

    if (a->has_result) {
        if (a->is_error) {
            mcp_buf_lit(b, ",\"is_error\":true");

        } else {
            mcp_buf_lit(b, ",\"is_error\":false");
        }
    }

    if (a->has_result || a->result_bytes) {
        mcp_audit_open(b, "bytes");
        mcp_buf_uint(b, a->result_bytes);
    }

    mcp_audit_put(b, "digest", &a->result_digest, MCP_AUDIT_NAME);

    if (a->preview.len) {
        mcp_audit_preview(b, a);
    }

    if (a->has_removed) {
        mcp_audit_open(b, "removed");
        mcp_buf_uint(b, a->removed);
    }

    mcp_audit_end(b, "result", start);
}


/* How the response begins, as text: it may have been cut anywhere. */

static void
mcp_audit_preview(mcp_buf_t *b, const mcp_audit_t *a)
{
    size_t          i, len, max;
    unsigned char  *start, text[MCP_AUDIT_PREVIEW + 1];

    max = a->preview_max < MCP_AUDIT_PREVIEW ? a->preview_max
                                             : MCP_AUDIT_PREVIEW;

    /* a byte more than is shown, so that the cut is marked */

    len = mcp_redact(a->preview.data, a->preview.len, a->preview_more, text,
                     max + 1);

    for (i = 0; i < len; i++) {
        if (text[i] == '\0') {
            text[i] = 0xff;
        }
    }

    mcp_audit_open(b, "preview");
    start = b->pos;
    mcp_buf_json(b, text, len, max);

    if (b->overflow || (size_t) (b->pos - start) > 2 * max + 8) {
        b->overflow = 0;
        b->pos = start;
        mcp_buf_json(b, text, len, max / 3);
    }
}


static void
mcp_audit_credential(mcp_buf_t *b, const mcp_audit_t *a)
{
    mcp_audit_put(b, "credential", &a->credential, MCP_AUDIT_NAME);

    if (a->credential_version) {
        mcp_audit_open(b, "credential_version");
        mcp_buf_uint(b, a->credential_version);
    }

    if (a->refreshed) {
        mcp_audit_open(b, "refreshed");
        mcp_buf_lit(b, "true");
    }
}


static void
mcp_audit_upstream(mcp_buf_t *b, const mcp_audit_t *a)
{
    unsigned char  *start;

    start = b->pos;

    mcp_audit_open(b, "upstream");
    mcp_audit_put(b, "addr", &a->upstream_addr, MCP_AUDIT_NAME);

    if (a->upstream_status) {
        mcp_audit_open(b, "status");
        mcp_buf_uint(b, a->upstream_status);
    }

    if (a->upstream_us >= 0) {
        mcp_audit_open(b, "ms");
        mcp_audit_ms(b, a->upstream_us);
    }

    mcp_audit_end(b, "upstream", start);
}


static void
mcp_audit_times(mcp_buf_t *b, const mcp_audit_t *a)
{
    unsigned char  *start;

    start = b->pos;

    mcp_audit_open(b, "ms");

    if (a->total_us >= 0) {
        mcp_audit_open(b, "total");
        mcp_audit_ms(b, a->total_us);
    }

    if (a->auth_us >= 0) {
        mcp_audit_open(b, "auth");
        mcp_audit_ms(b, a->auth_us);
    }

    if (a->credential_us >= 0) {
        mcp_audit_open(b, "credential");
        mcp_audit_ms(b, a->credential_us);
    }

    if (a->store && a->late_us >= 0) {
        mcp_audit_open(b, "late");
        mcp_audit_ms(b, a->late_us);
    }

    mcp_audit_end(b, "ms", start);
}


/*
 * 1 when the lexeme is a number that every reader of JSON takes exactly: no
 * exponent, at most MCP_AUDIT_DIGITS digits, not -0.
 */

static int
mcp_audit_plain(const mcp_str_t *lexeme, unsigned fraction)
{
    unsigned              digits;
    const unsigned char  *p, *last, *first;

    if (lexeme->len == 0 || mcp_str_eq_lit(lexeme, "-0")) {
        return 0;
    }

    p = lexeme->data;
    last = p + lexeme->len;
    p += (*p == '-');
    digits = 0;

    for (first = p; p < last; p++) {

        if (*p >= '0' && *p <= '9') {
            if (++digits > MCP_AUDIT_DIGITS) {
                return 0;
            }

        } else if (*p == '.' && fraction && p > first && p + 1 < last) {
            fraction = 0;

        } else {
            return 0;
        }
    }

    return digits && (*first != '0' || last - first == 1 || first[1] == '.');
}


/*
 * A string of at most MCP_AUDIT_TARGET bytes that takes at most 2 * max + 5,
 * however much it escapes.  NUL becomes U+FFFD, because whole databases refuse
 * a record with \u0000 in it.
 */

static void
mcp_audit_json(mcp_buf_t *b, const mcp_str_t *s, size_t max)
{
    size_t          i, len;
    unsigned char  *start, *data, copy[MCP_AUDIT_TARGET + 4];

    if (b->overflow) {
        return;
    }

    if (s->len && s->len <= max && mcp_json_is_plain(s->data, s->len)
        && mcp_audit_quoted(b, s))
    {
        return;
    }

    start = b->pos;
    data = s->data;
    len = s->len;

    /* what is cut is judged by a byte too many and the rest of a character */

    if (len > max + 4) {
        len = max + 4;
    }

    if (len && memchr(data, '\0', len)) {
        for (i = 0; i < len; i++) {
            copy[i] = data[i] ? data[i] : 0xff;
        }

        data = copy;
    }

    mcp_buf_json(b, data, len, max);

    if (b->overflow || (size_t) (b->pos - start) > 2 * max + 2) {
        b->overflow = 0;
        b->pos = start;
        mcp_buf_json(b, data, len, max / 3);
    }
}


/* A string that needs no escape; 0 when there is no room for it. */

static int
mcp_audit_quoted(mcp_buf_t *b, const mcp_str_t *s)
{
    unsigned char  *p;

    p = b->pos;

    if (b->overflow || s->len + 2 > (size_t) (b->end - p)) {
        return 0;
    }

    *p++ = '"';
    memcpy(p, s->data, s->len);
    p += s->len;
    *p++ = '"';

    b->pos = p;

    return 1;
}


/* A number that may be a secret: as it is, or what is left of it. */

static void
mcp_audit_number(mcp_buf_t *b, const mcp_str_t *s)
{
    mcp_str_t      safe;
    unsigned char  text[MCP_AUDIT_VALUE + 64];

    safe.data = text;
    safe.len = mcp_redact(s->data, s->len, 0, text, sizeof(text));

    if (mcp_str_eq(&safe, s) && mcp_audit_plain(s, 1)) {
        mcp_buf_str(b, s);

    } else {
        mcp_audit_json(b, &safe, MCP_AUDIT_VALUE);
    }
}


/* A string that a caller or an upstream chose, without secrets.  One that is
 * longer than what is shown of it may have been cut before. */

static void
mcp_audit_safe(mcp_buf_t *b, const mcp_str_t *s, size_t max)
{
    mcp_str_t      safe;
    unsigned char  text[MCP_AUDIT_TARGET + 64];

    if (s->len <= max && mcp_redact_word(s->data, s->len)
        && mcp_audit_quoted(b, s))
    {
        return;
    }

    safe.data = text;
    safe.len = mcp_redact(s->data, s->len, s->len > max, text, max + 64);

    mcp_audit_json(b, &safe, max);
}


static void
mcp_audit_safe_member(mcp_buf_t *b, const char *key, size_t len,
    const mcp_str_t *s, size_t max)
{
    if (s->len) {
        mcp_buf_put(b, key, len);
        mcp_audit_safe(b, s, max);
    }
}


static void
mcp_audit_member(mcp_buf_t *b, const char *key, size_t len,
    const mcp_str_t *s, size_t max)
{
    if (s->len == 0) {
        return;
    }

    mcp_buf_put(b, key, len);
    mcp_audit_json(b, s, max);
}


static void
mcp_audit_text(mcp_buf_t *b, const char *key, size_t len, const char *s)
{
    mcp_str_t  text;

    if (s) {
        text.data = (unsigned char *) s;
        text.len = strlen(s);
        mcp_audit_member(b, key, len, &text, MCP_AUDIT_NAME);
    }
}


/* Microseconds as 1.204 */

static void
mcp_audit_ms(mcp_buf_t *b, int64_t us)
{
    unsigned       rest;
    unsigned char  f[4];

    mcp_buf_uint(b, (uint64_t) us / 1000);

    rest = (unsigned) ((uint64_t) us % 1000);

    f[0] = '.';
    f[1] = (unsigned char) ('0' + rest / 100);
    f[2] = (unsigned char) ('0' + rest / 10 % 10);
    f[3] = (unsigned char) ('0' + rest % 10);

    mcp_buf_put(b, f, 4);
}


/* At most room bytes, and so few that what must follow still fits. */

static void
mcp_audit_limit(mcp_buf_t *b, size_t room)
{
    size_t  left;

    left = (size_t) (b->end - b->pos);
    left -= (left > 8) ? 8 : left;

    b->end = b->pos + (room < left ? room : left);
}


/* Ends the object whose key of len bytes is at start; drops an empty one. */

static void
mcp_audit_close(mcp_buf_t *b, unsigned char *start, size_t len)
{
    if (b->pos == start + len) {
        b->pos = start;
        return;
    }

    if (!b->overflow) {
        start[len] = '{';
        mcp_buf_lit(b, "}");
    }
}
