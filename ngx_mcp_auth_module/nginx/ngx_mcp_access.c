/*
 * The access phase: who is calling, what is asked for, may it be done.
 *
 * One state machine, ngx_mcp_access_step(), over ctx->state; every state either
 * goes on to the next, answers the request itself (NGX_DONE), or waits.  There
 * are two waits: for the body, which nginx's body reader ends, and for keys, a
 * token's record or the table of revocations, which ngx_mcp_access_wake() ends.
 * Nothing else resumes the request.
 *
 * The handler is entered again by the phase engine after each wait, by spurious
 * write events, and after internal redirects: an authorised request is not
 * authorised twice, and never for another server than the one it entered.
 *
 * What is authorised is read from the body that will be forwarded.  Headers are
 * only ever compared with it.
 */

#include "ngx_mcp_request.h"
#include "ngx_mcp_keys.h"
#include "ngx_mcp_memo.h"
#include "ngx_mcp_connect_ticket.h"
#include "ngx_mcp_reply.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_token.h"
#include "mcp_redact.h"


/* a refusal is remembered this long, in this worker only */
#define NGX_MCP_REFUSED_TIME   5
/* bytes of a claim in error.log, and how many audiences */
#define NGX_MCP_TOLD           256
#define NGX_MCP_TOLD_MOST      4


static ngx_int_t ngx_mcp_access_step(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_start(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_token(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_record(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_keys(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_verified(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_refuse(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, const char *reason);
static void ngx_mcp_access_tell(ngx_http_request_t *r, const char *reason,
    const char *claim, const mcp_str_t *value);
static ngx_uint_t ngx_mcp_access_audience(ngx_mcp_server_t *sv,
    ngx_mcp_issuer_t *is, mcp_principal_t *p);
static ngx_int_t ngx_mcp_access_caller(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_revoked(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_body(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_access_decide(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static void ngx_mcp_body_handler(ngx_http_request_t *r);


ngx_int_t
ngx_mcp_access_handler(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_mcp_ctx_t       *ctx;
    ngx_mcp_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);

    if (mlcf->server == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_mcp_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_mcp_create_ctx(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else if (ctx->state == NGX_MCP_START && ctx->ev == NULL) {

        /* came from elsewhere before anything was asked or decided */

        ctx->conf = mlcf;
        ctx->server = mlcf->server;
    }

    if (ctx->server != mlcf->server) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "mcp_auth: internal redirect from server \"%V\" to "
                      "\"%V\" refused", &ctx->server->name,
                      &mlcf->server->name);

        ctx->state = NGX_MCP_REFUSED;
        ctx->decision = "deny";
        ctx->reason = "redirect_between_servers";

        return NGX_HTTP_FORBIDDEN;
    }

    if (ctx->state == NGX_MCP_DONE) {
        return NGX_OK;
    }

    if (ctx->state == NGX_MCP_REFUSED) {
        return NGX_HTTP_FORBIDDEN;
    }

    if (ctx->state == NGX_MCP_BODY && ctx->reading && !ctx->body_read) {

        /* an error page for a body that never came */

        ctx->state = NGX_MCP_REFUSED;
        return NGX_HTTP_FORBIDDEN;
    }

    if (ctx->waiting) {
        return NGX_AGAIN;
    }

    /* a body that was there already is read without a wait */

    if (ctx->step == 0) {
        ctx->step = ngx_mcp_now_us();
    }

    rc = ngx_mcp_access_step(r, ctx);

    if (rc == NGX_OK || rc == NGX_AGAIN) {
        ngx_mcp_account(ctx);
    }

    /* after NGX_DONE neither r nor ctx may be touched */

    return rc;
}


/*
 * NGX_OK authorised; NGX_AGAIN waits to be woken; NGX_DONE answered, or the
 * body reader has the request; an error or a status for the phase engine
 * otherwise.
 */
static ngx_int_t
ngx_mcp_access_step(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t  rc;

    for ( ;; ) {

        switch (ctx->state) {

        case NGX_MCP_START:
            rc = ngx_mcp_access_start(r, ctx);
            break;

        case NGX_MCP_TOKEN:
            rc = ngx_mcp_access_token(r, ctx);
            break;

        case NGX_MCP_RECORD:
            rc = ngx_mcp_access_record(r, ctx);
            break;

        case NGX_MCP_KEYS:
            rc = ngx_mcp_access_keys(r, ctx);
            break;

        case NGX_MCP_CALLER:
            rc = ngx_mcp_access_caller(r, ctx);
            break;

        case NGX_MCP_BODY:
            rc = ngx_mcp_access_body(r, ctx);
            break;

        case NGX_MCP_DECIDE:
            rc = ngx_mcp_access_decide(r, ctx);
            break;

        case NGX_MCP_DONE:
            return NGX_OK;

        default: /* NGX_MCP_REFUSED */
            return NGX_HTTP_FORBIDDEN;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


/* Headers, origin, and what needs no token to be wrong. */
static ngx_int_t
ngx_mcp_access_start(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    if (ngx_mcp_log_blocked(ctx)) {
        return ngx_mcp_reply_unavailable(r, ctx, 5, "audit");
    }

    if (ngx_mcp_read_headers(r, ctx) != NGX_OK) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_BAD_REQUEST, -32600,
                                   "Duplicate header", "duplicate_header");
    }

    if (ngx_mcp_check_origin(ctx) != NGX_OK) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_FORBIDDEN, 403,
                                   "Origin not allowed", "origin");
    }

    if (ngx_mcp_is_preflight(r, ctx)) {
        return ngx_mcp_reply_preflight(r, ctx);
    }

    if (r->args.len && ngx_mcp_has_query_token(&r->args)) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_BAD_REQUEST, -32600,
                                   "Access token in the query",
                                   "query_token");
    }

    if (r->headers_in.authorization == NULL) {
        return ngx_mcp_reply_unauthorized(r, ctx, 0, "no_token");
    }

    if (ngx_mcp_bearer(r, &ctx->token) != NGX_OK) {
        return ngx_mcp_reply_unauthorized(r, ctx, ctx->token.len ? 1 : 0,
                                          "bad_authorization");
    }

    if (ctx->token.len > ctx->conf->max_token) {
        return ngx_mcp_reply_unauthorized(r, ctx, 1, "token_too_long");
    }

    ctx->state = NGX_MCP_TOKEN;

    return NGX_OK;
}


/*
 * The two levels of cache; else an own token has a record, and a JWT is parsed
 * and its issuer found.  Which of the two it is, its beginning says, and
 * nothing is ever tried as the other.
 */
static ngx_int_t
ngx_mcp_access_token(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_uint_t            i, own;
    const char           *reason;
    const mcp_str_t      *iss;
    ngx_mcp_server_t     *sv;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    sv = ctx->server;
    own = mcp_access_key_kind((mcp_str_t *) &ctx->token);

    if (own && !sv->tokens) {
        return ngx_mcp_reply_unauthorized(r, ctx, 1, "own_tokens_off");
    }

    ngx_mcp_token_key(r, mmcf, sv, &ctx->token, ctx->key);

    ctx->entry = ngx_mcp_cache_get(mmcf->cache, ctx->key, ngx_time());

    if (ctx->entry) {
        ctx->principal = ctx->entry->principal;

        if (ctx->entry->reason) {
            return ngx_mcp_reply_unauthorized(r, ctx, 1, ctx->entry->reason);
        }

        ngx_mcp_token_cached(mmcf, ctx);

        ctx->state = NGX_MCP_CALLER;

        return NGX_OK;
    }

    if (own) {
        ctx->state = NGX_MCP_RECORD;
        return NGX_OK;
    }

    ctx->jwt = mcp_jwt_parse((mcp_str_t *) &ctx->token, ctx->conf->max_token,
                             &reason);
    if (ctx->jwt == NULL) {
        return ngx_mcp_access_refuse(r, ctx, reason);
    }

    iss = mcp_jwt_iss(ctx->jwt);

    for (i = 0; i < sv->nissuers; i++) {
        if (mcp_str_eq(iss, &sv->issuers[i]->jwt.issuer)) {
            ctx->issuer = sv->issuers[i];
            ctx->state = NGX_MCP_KEYS;

            return NGX_OK;
        }
    }

    /* not cached: another server of this gateway may know the issuer */

    ngx_mcp_access_tell(r, "unknown_issuer", "iss", iss);

    mcp_jwt_free(ctx->jwt);
    ctx->jwt = NULL;

    return ngx_mcp_reply_unauthorized(r, ctx, 1, "unknown_issuer");
}


/*
 * For the operator who wonders why: what the token has, to be laid beside what
 * the configuration has.  It is a caller's text, nobody has vouched for it:
 * nothing that could be a secret, another line or a terminal's command.
 */
static void
ngx_mcp_access_tell(ngx_http_request_t *r, const char *reason,
    const char *claim, const mcp_str_t *value)
{
    size_t  i, len;
    u_char  text[NGX_MCP_TOLD];

    if (r->connection->log->log_level < NGX_LOG_INFO) {
        return;
    }

    len = ngx_min(value->len, NGX_MCP_TOLD);
    len = mcp_redact(value->data, len, value->len > len, text, NGX_MCP_TOLD);

    for (i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            text[i] = '?';
        }
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "mcp_auth: token refused: %s, its \"%s\" is \"%*s\"", reason,
                  claim, len, text);
}


/* The cache's key of a token, as this server takes it. */
void
ngx_mcp_token_key(ngx_http_request_t *r, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_server_t *sv, ngx_str_t *token, u_char *key)
{
    ngx_uint_t  i;

    ngx_mcp_memo_key(r, mmcf->cache, token, key);

    for (i = 0; i < NGX_MCP_DIGEST; i++) {
        key[i] ^= sv->fingerprint[i];
    }
}


/* Remembers that this token is bad, and says so. */
static ngx_int_t
ngx_mcp_access_refuse(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    const char *reason)
{
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    if (ngx_strcmp(reason, "internal") == 0) {

        /* out of memory: that says nothing about the token */

        return ngx_mcp_reply_unavailable(r, ctx, 1, reason);
    }

    ngx_mcp_cache_refuse(mmcf->cache, ctx->key, NULL, reason,
                         ngx_time() + NGX_MCP_REFUSED_TIME);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "mcp_auth: token refused: %s", reason);

    if (ctx->jwt) {
        mcp_jwt_free(ctx->jwt);
        ctx->jwt = NULL;
    }

    return ngx_mcp_reply_unauthorized(r, ctx, 1, reason);
}


/* An own token's record. */
static ngx_int_t
ngx_mcp_access_record(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    time_t       retry;
    const char  *reason;

    ctx->waiter.wake = ngx_mcp_access_wake;
    ctx->waiter.data = ctx;

    switch (ngx_mcp_token_get(r, ctx, &ctx->waiter, &reason, &retry)) {

    case NGX_OK:
        ctx->state = NGX_MCP_CALLER;
        return NGX_OK;

    case NGX_AGAIN:
        return ngx_mcp_access_wait(r, ctx);

    case NGX_DECLINED:
        return ngx_mcp_reply_unauthorized(r, ctx, 1, reason);

    case NGX_BUSY:
        return ngx_mcp_reply_limited(r, ctx, retry, "token_failures");

    default:
        return ngx_mcp_reply_unavailable(r, ctx, 1, "token_store");
    }
}


/* Signature; waits while there are no keys, or perhaps newer ones. */
static ngx_int_t
ngx_mcp_access_keys(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    int             rc;
    time_t          retry;
    ngx_int_t       krc;
    const char     *reason;
    mcp_jwk_set_t  *set;

    ctx->waiter.wake = ngx_mcp_access_wake;
    ctx->waiter.data = ctx;

    retry = 1;

    krc = ngx_mcp_keys_get(ctx->issuer, &ctx->waiter, &set, &ctx->generation,
                           &retry);

    if (krc == NGX_AGAIN) {
        return ngx_mcp_access_wait(r, ctx);
    }

    if (krc != NGX_OK) {
        return ngx_mcp_reply_unavailable(r, ctx, retry, "no_keys");
    }

    reason = NULL;

    rc = mcp_jwt_verify(ctx->jwt, &ctx->issuer->jwt, set, &reason);

    if (rc == MCP_OK) {
        return ngx_mcp_access_verified(r, ctx);
    }

    if (rc == MCP_ERROR) {
        return ngx_mcp_access_refuse(r, ctx, reason);
    }

    /* no key fits: a newer set may have it; twice is enough */

    if (ctx->key_tries++ < 2) {
        krc = ngx_mcp_keys_unknown_kid(ctx->issuer, ctx->generation,
                                       &ctx->waiter);

        if (krc == NGX_OK) {
            return NGX_OK;
        }

        if (krc == NGX_AGAIN) {
            return ngx_mcp_access_wait(r, ctx);
        }

        if (krc == NGX_ERROR) {

            /* nobody knows whether the issuer has such a key */

            return ngx_mcp_reply_unavailable(r, ctx, 1, "no_keys");
        }
    }

    /* not remembered: the next set may have the key */

    mcp_jwt_free(ctx->jwt);
    ctx->jwt = NULL;

    return ngx_mcp_reply_unauthorized(r, ctx, 1, "unknown_kid");
}


static ngx_int_t
ngx_mcp_access_verified(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    mcp_mem_t             mem;
    const char           *reason;
    mcp_principal_t      *principal;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    mem = ngx_mcp_mem(r->pool);

    principal = mcp_jwt_claims(ctx->jwt, &ctx->issuer->jwt, ngx_time(), &mem,
                               &reason);
    if (principal == NULL) {
        return ngx_mcp_access_refuse(r, ctx, reason);
    }

    mcp_jwt_free(ctx->jwt);
    ctx->jwt = NULL;

    ctx->entry = ngx_mcp_cache_put(mmcf->cache, ctx->key, principal,
                                   ctx->generation,
                                   (time_t) principal->exp
                                   + ctx->issuer->jwt.leeway);

    ctx->principal = ctx->entry ? ctx->entry->principal : principal;
    ctx->state = NGX_MCP_CALLER;

    return NGX_OK;
}


/*
 * Lets go of the request until whoever it waits for calls (the access phase for
 * keys, precontent for a credential).  Meanwhile a client that goes is
 * noticed, as in ngx_http_limit_req_module.
 */
ngx_int_t
ngx_mcp_access_wait(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_mcp_keys_cancel(&ctx->waiter);
        ngx_mcp_token_cancel(ctx);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->waiting = 1;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    return NGX_AGAIN;
}


void
ngx_mcp_access_wake(void *data)
{
    ngx_mcp_ctx_t *ctx = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ctx->waiting = 0;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}


/* The request goes or is done: nobody may call it, its token tree is freed. */
void
ngx_mcp_access_cancel(ngx_mcp_ctx_t *ctx)
{
    if (ctx->waiting) {
        ngx_mcp_keys_cancel(&ctx->waiter);
        ctx->waiting = 0;
    }

    ngx_mcp_token_cancel(ctx);
    ngx_mcp_ticket_cancel(ctx);

    if (ctx->jwt) {
        mcp_jwt_free(ctx->jwt);
        ctx->jwt = NULL;
    }
}


/*
 * Does this server take tokens of this kind and issuer?  *issuer: NULL for a
 * service account of our own, which has none.  A PAT's issuer is where its
 * owner is known.
 */
ngx_uint_t
ngx_mcp_caller_known(ngx_mcp_server_t *sv, const mcp_principal_t *p,
    ngx_mcp_issuer_t **issuer)
{
    ngx_uint_t  i;

    *issuer = NULL;

    if (p->auth != MCP_AUTH_JWT && !sv->tokens) {
        return 0;
    }

    if (p->auth == MCP_AUTH_VAT) {
        return 1;
    }

    for (i = 0; i < sv->nissuers; i++) {
        if (p->auth == MCP_AUTH_PAT
            ? mcp_str_eq(&sv->issuers[i]->jwt.issuer, &p->iss)
            : sv->issuers[i]->jwt.index == p->issuer)
        {
            *issuer = sv->issuers[i];
            return 1;
        }
    }

    return 0;
}


/* A JWT's audience, or the servers of a token of our own. */
static ngx_uint_t
ngx_mcp_access_audience(ngx_mcp_server_t *sv, ngx_mcp_issuer_t *is,
    mcp_principal_t *p)
{
    static mcp_str_t  any = mcp_string("*");

    if (p->auth != MCP_AUTH_JWT) {
        return mcp_principal_audience(p, (mcp_str_t *) &sv->name, 1)
               || mcp_principal_audience(p, &any, 1);
    }

    if (is->naudiences) {
        return mcp_principal_audience(p, (mcp_str_t *) is->audiences,
                                      is->naudiences);
    }

    return mcp_principal_audience(p, (mcp_str_t *) &sv->resource, 1);
}


/*
 * What a cached verification does not answer: is the issuer one of this
 * server's, the token for this server, still in time.  Revocation is checked
 * here, always after the cache.
 */
static ngx_int_t
ngx_mcp_access_caller(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t          rc;
    ngx_uint_t         i, own;
    const char        *reason;
    mcp_principal_t   *p;
    ngx_mcp_issuer_t  *is;
    ngx_mcp_server_t  *sv;

    p = ctx->principal;
    sv = ctx->server;
    own = (p->auth != MCP_AUTH_JWT);

    /* the token is not needed any more; nobody shall find it here */

    ngx_str_null(&ctx->token);

    if (!ngx_mcp_caller_known(sv, p, &is)) {
        ngx_mcp_access_tell(r, "unknown_issuer", "iss", &p->iss);
        return ngx_mcp_reply_unauthorized(r, ctx, 1, "unknown_issuer");
    }

    /* our own clock dates our own tokens */

    ctx->leeway = own ? 0 : is->jwt.leeway;
    ctx->expires = p->exp + ctx->leeway;

    if (ngx_time() >= ctx->expires) {
        return ngx_mcp_reply_unauthorized(r, ctx, 1, "expired");
    }

    if (!ngx_mcp_access_audience(sv, is, p)) {
        reason = own ? "token_server" : "audience";

        for (i = 0; i < p->naudiences && i < NGX_MCP_TOLD_MOST; i++) {
            ngx_mcp_access_tell(r, reason, own ? "servers" : "aud",
                                &p->audiences[i]);
        }

        return ngx_mcp_reply_unauthorized(r, ctx, 1, reason);
    }

    rc = ngx_mcp_access_revoked(r, ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    if (r->method == NGX_HTTP_POST) {
        ctx->state = NGX_MCP_BODY;
        return NGX_OK;
    }

    if (r->method != NGX_HTTP_GET && r->method != NGX_HTTP_DELETE) {
        return ngx_mcp_reply_method(r, ctx);
    }

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_BAD_REQUEST, -32600,
                                   "Body on GET or DELETE", "unwanted_body");
    }

    if (ctx->mirror.method.data || ctx->mirror.name.data) {

        /* of a message that is not there */

        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_BAD_REQUEST, -32020,
                                   "Header mismatch: no message",
                                   ctx->mirror.method.data ? "method_mismatch"
                                                           : "name_mismatch");
    }

    ctx->state = NGX_MCP_DECIDE;

    return NGX_OK;
}


/* May wait for the table.  Nothing is asked again when nothing changed. */
static ngx_int_t
ngx_mcp_access_revoked(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    ctx->waiter.wake = ngx_mcp_access_wake;
    ctx->waiter.data = ctx;

    switch (ngx_mcp_revoke_caller(mmcf, ctx, &ctx->waiter)) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        ngx_mcp_revoke_refused(mmcf);

        return ngx_mcp_reply_unauthorized(r, ctx, 1, "revoked");

    case NGX_AGAIN:
        ctx->unsure = 1;

        return ngx_mcp_access_wait(r, ctx);

    default:
        return ngx_mcp_reply_unavailable(r, ctx, NGX_MCP_UNKNOWN_TIME,
                                         "revocation_unknown");
    }
}


static ngx_int_t
ngx_mcp_access_body(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->body_read) {
        return ngx_mcp_read_message(r, ctx);
    }

    if (ctx->content_encoding.data
        && !mcp_str_caseeq(ctx->content_encoding.data,
                           ctx->content_encoding.len, "identity", 8))
    {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                   -32600, "Content-Encoding not supported",
                                   "content_encoding");
    }

    if (ctx->content_type.data == NULL
        || ngx_mcp_check_media_type(&ctx->content_type) != NGX_OK)
    {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                   -32600,
                                   "Content-Type must be application/json",
                                   "content_type");
    }

    if (r->headers_in.content_length_n > (off_t) ctx->conf->max_body) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                   -32600, "Request too large",
                                   "body_too_large");
    }

    ctx->reading = 1;

    rc = ngx_http_read_client_request_body(r, ngx_mcp_body_handler);

    if (!ctx->body_read) {
        ngx_mcp_account(ctx);
    }

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    /* the body reader has the request now, or has ended it already */

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_mcp_body_handler(ngx_http_request_t *r)
{
    ngx_mcp_ctx_t  *ctx;

    ctx = ngx_mcp_get_ctx(r);

    ctx->body_read = 1;

    /* it is wanted again after an internal redirect */

    r->preserve_body = 1;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


/* A client may take long to send its body, and be revoked meanwhile, or its
 * token be, or come to its end. */
static ngx_int_t
ngx_mcp_access_decide(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    if (ngx_time() >= ctx->expires) {
        return ngx_mcp_reply_unauthorized(r, ctx, 1, "expired");
    }

    rc = ngx_mcp_access_revoked(r, ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_mcp_token_over(mmcf, ctx)) {
        return ngx_mcp_reply_unauthorized(r, ctx, 1, "token_revoked");
    }

    return ngx_mcp_decide(r, ctx);
}
