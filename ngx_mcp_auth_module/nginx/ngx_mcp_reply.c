/*
 * Sends what core/mcp_reply wrote: the gateway's own answers.
 *
 * Each sender finalizes the request and returns NGX_DONE; after that neither
 * the request nor its context may be touched.  What was answered and why is in
 * the context before, for the log phase.
 */

#include "ngx_mcp_reply.h"
#include "ngx_mcp_compat.h"


static ngx_int_t ngx_mcp_reply_send(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_uint_t status, ngx_str_t *body);
static ngx_int_t ngx_mcp_reply_retry(ngx_http_request_t *r,
    time_t retry_after);
static ngx_int_t ngx_mcp_reply_buf(ngx_http_request_t *r, mcp_buf_t *b,
    size_t extra);
static ngx_int_t ngx_mcp_reply_tool_error(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static void ngx_mcp_reply_note(ngx_mcp_ctx_t *ctx, const char *decision,
    const char *reason, ngx_int_t code);
static mcp_str_t *ngx_mcp_reply_id(ngx_mcp_ctx_t *ctx);


ngx_int_t
ngx_mcp_reply_error(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t status, ngx_int_t code, const char *message,
    const char *reason)
{
    ngx_str_t  body;

    ngx_mcp_reply_note(ctx, status == NGX_HTTP_FORBIDDEN ? "deny" : "error",
                       reason, code);

    if (ngx_mcp_reply_body(r, ctx, code, message, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mcp_reply_send(r, ctx, status, &body);
}


ngx_int_t
ngx_mcp_reply_unauthorized(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t invalid, const char *reason)
{
    ngx_str_t        *challenge, body;
    ngx_table_elt_t  *h;

    ngx_mcp_reply_note(ctx, "deny", reason, 401);
    ctx->ev = "auth";

    /* the token is refused: nothing of it shall stay in the context */
    ngx_str_null(&ctx->token);

    challenge = invalid ? &ctx->server->challenge_invalid
                        : &ctx->server->challenge;

    h = ngx_mcp_add_header(r, "WWW-Authenticate", challenge);

    if (h == NULL
        || ngx_mcp_reply_body(r, ctx, 401, "Unauthorized", &body) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.www_authenticate = h;

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_UNAUTHORIZED, &body);
}


ngx_int_t
ngx_mcp_reply_scope(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_str_t *scope)
{
    size_t            size;
    u_char           *p;
    mcp_buf_t         b;
    ngx_str_t         challenge, body;
    ngx_table_elt_t  *h;

    ngx_mcp_reply_note(ctx, "deny", "insufficient_scope", 403);

    size = 256 + scope->len + ctx->server->metadata_url.len;

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_reply_challenge(&b, "insufficient_scope",
                        (mcp_str_t *) &ctx->server->metadata_url, scope,
                        "A larger scope is needed");

    challenge.data = b.start;
    challenge.len = b.pos - b.start;

    h = ngx_mcp_add_header(r, "WWW-Authenticate", &challenge);

    if (h == NULL
        || ngx_mcp_reply_body(r, ctx, 403, "Insufficient scope", &body)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.www_authenticate = h;

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_FORBIDDEN, &body);
}


ngx_int_t
ngx_mcp_reply_unavailable(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    time_t retry_after, const char *reason)
{
    if (ngx_mcp_reply_retry(r, retry_after) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mcp_reply_error(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE, 503,
                               "Temporarily unavailable", reason);
}


ngx_int_t
ngx_mcp_reply_limited(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    time_t retry_after, const char *reason)
{
    ngx_str_t  body;

    ngx_mcp_reply_note(ctx, "deny", reason, 429);
    ctx->ev = "auth";

    ngx_str_null(&ctx->token);

    if (ngx_mcp_reply_retry(r, retry_after) != NGX_OK
        || ngx_mcp_reply_body(r, ctx, 429, "Too many failures", &body)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_TOO_MANY_REQUESTS, &body);
}


static ngx_int_t
ngx_mcp_reply_retry(ngx_http_request_t *r, time_t retry_after)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%T", ngx_max(retry_after, 1))
                - value.data;

    return ngx_mcp_add_header(r, "Retry-After", &value) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_mcp_reply_method(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_str_t  allow;

    ngx_str_set(&allow, "POST, GET, DELETE");

    if (ngx_mcp_add_header(r, "Allow", &allow) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mcp_reply_error(r, ctx, NGX_HTTP_NOT_ALLOWED, -32600,
                               "Method not allowed", "http_method");
}


ngx_int_t
ngx_mcp_reply_denied(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t by_rule)
{
    int             code;
    mcp_buf_t       b;
    ngx_str_t       body;
    ngx_uint_t      status;
    mcp_message_t  *m;

    static mcp_str_t  task = mcp_string("Unknown task");

    m = ctx->message;

    ctx->ev = "call";

    if (m->kind == MCP_NOTIFICATION) {

        /* nobody waits for an answer; it was taken and goes no further */

        ctx->decision = "deny";
        ngx_str_null(&body);

        return ngx_mcp_reply_send(r, ctx, NGX_HTTP_ACCEPTED, &body);
    }

    if (by_rule && ctx->server->deny_reply == NGX_MCP_DENY_FORBIDDEN) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_FORBIDDEN, 403,
                                   "Forbidden", ctx->reason);
    }

    if (by_rule && ctx->server->deny_reply == NGX_MCP_DENY_TOOL_ERROR
        && m->target_kind == MCP_TARGET_TOOL)
    {
        return ngx_mcp_reply_tool_error(r, ctx);
    }

    if (ngx_mcp_reply_buf(r, &b, m->id.len + 6 * m->target.len) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (m->method_class == MCP_METHOD_OWNER
        || (m->method_class == MCP_METHOD_LISTEN
            && m->target_kind != MCP_TARGET_RESOURCE))
    {
        code = -32602;
        mcp_reply_error(&b, &m->id, code, &task, NULL);

    } else {
        mcp_reply_unknown(&b, &m->id, m->target_kind, m->era, &m->target,
                          &code);
    }

    body.data = b.start;
    body.len = b.pos - b.start;

    ngx_mcp_reply_note(ctx, "deny", ctx->reason, code);

    /* an unknown method is 404 in the modern era (facts/mcp.md 2.1) */

    status = (code == -32601 && m->era == MCP_ERA_MODERN)
             ? NGX_HTTP_NOT_FOUND : NGX_HTTP_OK;

    return ngx_mcp_reply_send(r, ctx, status, &body);
}


/*
 * Only calls, prompts and reads may ask for input in the modern era; a legacy
 * client said in its initialize what it can do, which is in its session.
 *
 * Asked is once: a client answers as soon as the person has seen the address,
 * or declined, and calls again, long before she is done.  What it hears then is
 * what a model can read.
 */
ngx_int_t
ngx_mcp_reply_connect(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_str_t *url, const char *reason)
{
    int             code;
    u_char         *p;
    size_t          size;
    mcp_buf_t       b;
    mcp_str_t       text, id;
    ngx_str_t       body;
    ngx_uint_t      elicit;
    mcp_message_t  *m;
    u_char          digits[32];

    m = ctx->message;

    if (m == NULL || m->kind != MCP_REQUEST || url->len == 0) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_FORBIDDEN, 403,
                                   url->len
                                   ? "An account has to be connected first"
                                   : "An account has to be connected first; "
                                     "ask whoever runs this gateway",
                                   reason);
    }

    elicit = (m->era == MCP_ERA_MODERN)
             ? (m->elicit_url && !m->answers
                && m->method_class == MCP_METHOD_TARGET)
             : (m->elicit_url || ctx->session_elicit);

    size = cr->name.len + url->len + 256;

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL
        || ngx_mcp_reply_buf(r, &b, m->id.len + 12 * size) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.data = p;
    text.len = ngx_sprintf(p, "Your account for \"%V\" is not connected.  "
                           "Open %V in a browser, connect it, and try again.",
                           &cr->name, url)
               - p;

    id.data = digits;
    id.len = ngx_sprintf(digits, "%08xD%08xD", (uint32_t) ngx_random(),
                         (uint32_t) ngx_random())
             - digits;

    mcp_reply_connect(&b, &m->id, m->era, elicit,
                      m->target_kind == MCP_TARGET_TOOL,
                      (mcp_str_t *) url, &text, &id, &code);

    body.data = b.start;
    body.len = b.pos - b.start;

    ngx_mcp_reply_note(ctx, "deny", reason, code);

    if (code == 0) {
        ctx->has_rpc_code = 0;
    }

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_OK, &body);
}


ngx_int_t
ngx_mcp_reply_discover(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    const char *reason)
{
    mcp_buf_t       b;
    ngx_str_t       body;
    mcp_message_t  *m;

    m = ctx->message;

    if (ngx_mcp_reply_buf(r, &b, m->id.len + 256) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mcp_reply_discover(&b, &m->id);

    body.data = b.start;
    body.len = b.pos - b.start;

    ngx_mcp_reply_note(ctx, "deny", reason, 0);
    ctx->has_rpc_code = 0;

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_OK, &body);
}


/* A result, not an error: a model reads it where it reads what tools say. */
static ngx_int_t
ngx_mcp_reply_tool_error(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    mcp_buf_t       b;
    ngx_str_t       body;
    mcp_message_t  *m;

    static mcp_str_t  text = mcp_string("Denied by policy");

    m = ctx->message;

    if (ngx_mcp_reply_buf(r, &b, m->id.len) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mcp_reply_tool_error(&b, &m->id, m->era, &text);

    body.data = b.start;
    body.len = b.pos - b.start;

    ctx->decision = "deny";
    ctx->has_outcome = 1;
    ctx->is_error = 1;

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_OK, &body);
}


ngx_int_t
ngx_mcp_reply_fault(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_fault_t *fault)
{
    mcp_buf_t       b;
    ngx_str_t       body;
    mcp_message_t  *m;

    m = ctx->message;

    if (fault->code != -32022) {
        return ngx_mcp_reply_error(r, ctx, fault->http, fault->code,
                                   fault->message, fault->reason);
    }

    ngx_mcp_reply_note(ctx, "error", fault->reason, fault->code);

    if (ngx_mcp_reply_buf(r, &b, m->id.len + 6 * m->version.len
                                 + 6 * ctx->mirror.protocol_version.len)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mcp_reply_version(&b, &m->id, m->claim ? &m->version
                                           : &ctx->mirror.protocol_version);

    body.data = b.start;
    body.len = b.pos - b.start;

    return ngx_mcp_reply_send(r, ctx, fault->http, &body);
}


ngx_int_t
ngx_mcp_reply_document(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_str_t *body)
{
    ctx->decision = "allow";
    ctx->reason = "metadata";

    return ngx_mcp_reply_send(r, ctx, body->len ? NGX_HTTP_OK
                                                : NGX_HTTP_NO_CONTENT, body);
}


ngx_int_t
ngx_mcp_reply_preflight(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_str_t  body;

    ctx->ev = "session";
    ctx->decision = "allow";
    ctx->reason = "preflight";
    ctx->preflight = 1;

    ngx_str_null(&body);

    return ngx_mcp_reply_send(r, ctx, NGX_HTTP_NO_CONTENT, &body);
}


ngx_int_t
ngx_mcp_reply_body(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_int_t code, const char *message, ngx_str_t *body)
{
    mcp_buf_t   b;
    mcp_str_t  *id, text;

    id = ngx_mcp_reply_id(ctx);

    text.data = (u_char *) message;
    text.len = ngx_strlen(message);

    /* a byte of text may become six */

    if (ngx_mcp_reply_buf(r, &b, id->len + 6 * text.len) != NGX_OK) {
        return NGX_ERROR;
    }

    mcp_reply_error(&b, id, code, &text, NULL);

    body->data = b.start;
    body->len = b.pos - b.start;

    return b.overflow ? NGX_ERROR : NGX_OK;
}


ngx_table_elt_t *
ngx_mcp_add_header(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    h->lowcase_key = NULL;
    ngx_mcp_header_end(h);

    return h;
}


static ngx_int_t
ngx_mcp_reply_send(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_str_t     no_store;
    ngx_chain_t   out;

    ctx->local = 1;
    ngx_mcp_account(ctx);

    if (ctx->state != NGX_MCP_DONE) {
        ctx->state = NGX_MCP_REFUSED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_strcmp(ctx->ev, "metadata") != 0) {
        ngx_str_set(&no_store, "no-store");

        if (ngx_mcp_add_header(r, "Cache-Control", &no_store) == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    if (body->len) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return NGX_DONE;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_DONE;
    }

    if (body->len) {
        b->pos = body->data;
        b->last = body->data + body->len;
        b->memory = 1;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_http_finalize_request(r, ngx_http_output_filter(r, &out));

    return NGX_DONE;
}


/* Room for a reply with an echo of `extra` bytes. */
static ngx_int_t
ngx_mcp_reply_buf(ngx_http_request_t *r, mcp_buf_t *b, size_t extra)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, NGX_MCP_REPLY_SIZE + extra);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(b, p, NGX_MCP_REPLY_SIZE + extra);

    return NGX_OK;
}


static void
ngx_mcp_reply_note(ngx_mcp_ctx_t *ctx, const char *decision,
    const char *reason, ngx_int_t code)
{
    ctx->decision = decision;
    ctx->reason = reason;
    ctx->rpc_code = code;
    ctx->has_rpc_code = 1;

    if (ctx->ev == NULL) {
        ctx->ev = "call";
    }
}


static mcp_str_t *
ngx_mcp_reply_id(ngx_mcp_ctx_t *ctx)
{
    static mcp_str_t  none = { 0, NULL };

    return ctx->message ? &ctx->message->id : &none;
}
