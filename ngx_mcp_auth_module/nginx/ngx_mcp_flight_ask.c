/*
 * A flight asks the provider: what is sent, and what is made of the answer.
 * See ngx_mcp_flight.c, which has the lock by then.
 *
 * An answer has a class (mcp_oauth.h).  Only one that says so ends a grant, and
 * only if the record has not moved on; nothing but an answer of the provider
 * tells that a refresh did not happen.  Whatever fails closes the record's lock
 * for a while, so that nobody asks again at once, here or on another node.
 */

#include "ngx_mcp_flight.h"


#define NGX_MCP_FLIGHT_KEEP      (1000 * MCP_VAULT_WRITING)
#define NGX_MCP_FLIGHT_BACKOFF   30     /* s, at most between two failures */
#define NGX_MCP_FLIGHT_CLIENT    30     /* s, when the gateway is refused */
#define NGX_MCP_FLIGHT_AFTER     60     /* s that a record outlives its token */
#define NGX_MCP_FLIGHT_MOST      3600   /* s, of a Retry-After */
#define NGX_MCP_FLIGHT_CLOSED    60     /* s, at most, for all records */
#define NGX_MCP_FLIGHT_GRANT     (400 * 86400)  /* s that a grant is kept */


static ngx_int_t ngx_mcp_flight_request(ngx_mcp_flight_t *f,
    mcp_oauth_request_t *req);
static ngx_int_t ngx_mcp_flight_send(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_asked(void *data, ngx_mcp_fetch_result_t *res);
static void ngx_mcp_flight_class(ngx_mcp_flight_t *f,
    ngx_mcp_fetch_result_t *res, mcp_oauth_answer_t *a);
static void ngx_mcp_flight_good(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a);
static void ngx_mcp_flight_dead(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a);
static const char *ngx_mcp_flight_reason(ngx_mcp_flight_t *f,
    mcp_oauth_class_e class);
static void ngx_mcp_flight_failed(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a,
    time_t retry_after);


/* The provider is asked; the lock is ours. */
void
ngx_mcp_flight_ask(ngx_mcp_flight_t *f)
{
    time_t              closed;
    mcp_oauth_answer_t  a;

    f->asked = ngx_time();
    f->asked_us = ngx_mcp_now_us();

    if (f->cr->type == NGX_MCP_CREDENTIAL_EXCHANGE
        && f->subject_expires <= f->asked + 1)
    {
        /* within its leeway: what it is exchanged for would be over */

        ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
        ngx_mcp_flight_none(f, NGX_ERROR, "credential_refused", 1);
        return;
    }

    ngx_memzero(&a, sizeof(mcp_oauth_answer_t));
    a.class = MCP_OAUTH_TRANSIENT;
    a.error = "not_sent";

    closed = f->cr->stats ? (time_t) f->cr->stats->closed - f->asked : 0;

    if (closed > 0 && closed <= NGX_MCP_FLIGHT_CLOSED) {

        /* it told somebody to come later, and means everybody */

        ngx_mcp_flight_failed(f, &a, closed);
        return;
    }

    if (ngx_mcp_flight_send(f) == NGX_OK) {
        return;
    }

    ngx_mcp_flight_event(f, a.class, ngx_mcp_flight_reason(f, a.class));
    ngx_mcp_flight_failed(f, &a, -1);
}


static ngx_int_t
ngx_mcp_flight_request(ngx_mcp_flight_t *f, mcp_oauth_request_t *req)
{
    mcp_mem_t              mem;
    ngx_mcp_credential_t  *cr;

    cr = f->cr;
    ngx_memzero(req, sizeof(mcp_oauth_request_t));

    req->provider = &cr->provider;
    req->auth = cr->provider.auth;
    req->client_id = *(mcp_str_t *) &cr->client_id;
    req->client_secret = *(mcp_str_t *) &cr->client_secret;
    req->scope = *(mcp_str_t *) &cr->scope;
    req->audience = *(mcp_str_t *) &cr->audience;
    req->resource = *(mcp_str_t *) &cr->resource;

    switch (cr->type) {

    case NGX_MCP_CREDENTIAL_USER:
        req->grant = MCP_OAUTH_REFRESH;
        req->token = f->tokens.refresh_token;
        break;

    case NGX_MCP_CREDENTIAL_EXCHANGE:
        req->grant = MCP_OAUTH_EXCHANGE;
        req->token = *(mcp_str_t *) &f->subject;
        break;

    default: /* NGX_MCP_CREDENTIAL_CLIENT */
        req->grant = MCP_OAUTH_CLIENT_CREDENTIALS;
    }

    if (req->auth != MCP_OAUTH_PRIVATE_KEY_JWT) {
        return NGX_OK;
    }

    mem = ngx_mcp_mem(f->pool);

    return mcp_assertion_make(&cr->assertion, f->asked, &mem, &req->assertion)
           == MCP_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_mcp_flight_send(ngx_mcp_flight_t *f)
{
    u_char                   *p;
    size_t                    size;
    ngx_int_t                 rc;
    mcp_buf_t                 headers, body;
    mcp_oauth_request_t       req;
    ngx_mcp_fetch_request_t   fr;

    if (ngx_mcp_flight_request(f, &req) != NGX_OK) {
        return NGX_ERROR;
    }

    /* three characters for one, at worst */

    size = 3 * (req.token.len + req.client_id.len + req.client_secret.len
                + req.assertion.len + req.scope.len + req.audience.len
                + req.resource.len) + 1024;

    p = ngx_pnalloc(f->pool, 2 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&headers, p, size);
    mcp_buf_init(&body, p + size, size);

    rc = NGX_ERROR;

    if (mcp_oauth_request(&req, &headers, &body) == MCP_OK) {

        ngx_memzero(&fr, sizeof(ngx_mcp_fetch_request_t));

        fr.conf = &f->cr->fetch;
        ngx_str_set(&fr.method, "POST");
        fr.url = f->cr->url;
        fr.headers.data = headers.start;
        fr.headers.len = headers.pos - headers.start;
        fr.body.data = body.start;
        fr.body.len = body.pos - body.start;
        fr.max_body = MCP_OAUTH_BODY;
        fr.done = ngx_mcp_flight_asked;
        fr.data = f;

        rc = ngx_mcp_fetch_start(&fr, f->vault->log, &f->fetch);
    }

    ngx_explicit_memzero(p, 2 * size);

    if (req.assertion.len) {
        ngx_explicit_memzero((u_char *) req.assertion.data,
                             req.assertion.len);
    }

    return rc == NGX_AGAIN ? NGX_OK : NGX_ERROR;
}


static void
ngx_mcp_flight_asked(void *data, ngx_mcp_fetch_result_t *res)
{
    ngx_mcp_flight_t *f = data;

    ngx_uint_t          level;
    mcp_oauth_answer_t  a;

    f->fetch = NULL;

    ngx_mcp_flight_class(f, res, &a);

    level = (a.class == MCP_OAUTH_OK) ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, f->vault->log, 0,
                  "mcp_credential \"%V\": token endpoint: %s%s%s (%ui)",
                  &f->cr->name, mcp_oauth_class_name(a.class),
                  a.error ? ", " : "", a.error ? a.error : "", res->status);

    ngx_mcp_flight_event(f, a.class, ngx_mcp_flight_reason(f, a.class));

    switch (a.class) {

    case MCP_OAUTH_OK:
        ngx_mcp_flight_good(f, &a);
        return;

    case MCP_OAUTH_GRANT_DEAD:
    case MCP_OAUTH_INTERACT:

        if (ngx_mcp_flight_user(f)) {
            ngx_mcp_flight_dead(f, &a);
            return;
        }

        break;

    default:
        break;
    }

    ngx_mcp_flight_failed(f, &a, res->retry_after);
}


static void
ngx_mcp_flight_class(ngx_mcp_flight_t *f, ngx_mcp_fetch_result_t *res,
    mcp_oauth_answer_t *a)
{
    mcp_mem_t            mem;
    mcp_oauth_request_t  req;

    if (res->error) {
        ngx_memzero(a, sizeof(mcp_oauth_answer_t));

        a->class = res->sent ? MCP_OAUTH_UNKNOWN : MCP_OAUTH_TRANSIENT;
        a->error = res->sent ? "no_answer" : "not_sent";

        return;
    }

    ngx_memzero(&req, sizeof(mcp_oauth_request_t));

    req.provider = &f->cr->provider;
    req.grant = ngx_mcp_flight_user(f) ? MCP_OAUTH_REFRESH
                                       : MCP_OAUTH_CLIENT_CREDENTIALS;

    mem = ngx_mcp_mem(f->pool);

    mcp_oauth_answer(&req, res->status, (mcp_str_t *) &res->body, &mem, a);
}


static void
ngx_mcp_flight_good(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a)
{
    f->fresh = 1;

    ngx_mcp_flight_forget(&f->tokens.access_token);
    f->tokens.access_token = a->access_token;
    f->tokens.endpoint = f->cr->provider.token_endpoint;
    f->tokens.issued = f->asked;
    f->tokens.expires = a->expires_in ? f->asked + a->expires_in : 0;

    if (a->refresh_token.len) {
        ngx_mcp_flight_forget(&f->tokens.refresh_token);
        f->tokens.refresh_token = a->refresh_token;
        f->tokens.refresh_expires = a->refresh_expires_in
                                    ? f->asked + a->refresh_expires_in : 0;
    }

    if (a->scope.len) {
        f->tokens.scope = a->scope;
    }

    switch (f->cr->type) {

    case NGX_MCP_CREDENTIAL_USER:
        f->keep = f->tokens.refresh_expires
                  ? f->tokens.refresh_expires - f->asked
                  : NGX_MCP_FLIGHT_GRANT;
        break;

    case NGX_MCP_CREDENTIAL_EXCHANGE:

        /* never longer than what it was exchanged for */

        if (f->tokens.expires == 0
            || f->tokens.expires > f->subject_expires)
        {
            f->tokens.expires = f->subject_expires;
        }

        /* fall through */

    default:
        ngx_mcp_flight_forget(&f->tokens.refresh_token);
        f->keep = f->tokens.expires
                  ? f->tokens.expires - f->asked + NGX_MCP_FLIGHT_AFTER
                  : NGX_MCP_FLIGHT_GRANT;
    }

    if (f->cr->stats && f->cr->type == NGX_MCP_CREDENTIAL_CLIENT) {
        f->cr->stats->states[NGX_MCP_STATS_ACTIVE] = 1;
        f->cr->stats->expires = f->tokens.expires;
    }

    if (!f->moved) {
        (void) ngx_mcp_warm_put(f->vault, ngx_mcp_flight_name(f), &f->tokens,
                                f->version + 1, 1);
    }

    if (ngx_mcp_flight_seal(f, "active") != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, f->vault->log, 0,
                      "mcp_credential \"%V\": new tokens cannot be sealed, "
                      "they are lost with this worker", &f->cr->name);

        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    f->deadline = ngx_current_msec + NGX_MCP_FLIGHT_KEEP;
    f->pause = 0;

    ngx_mcp_flight_write(f);
}


/* The person has to grant it again; the access token serves to its end. */
static void
ngx_mcp_flight_dead(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a)
{
    ngx_log_error(NGX_LOG_WARN, f->vault->log, 0,
                  "mcp_credential \"%V\": a grant is over: %s%s",
                  &f->cr->name, a->error,
                  f->lost ? ", after a refresh whose outcome was lost" : "");

    f->keep = NGX_MCP_FLIGHT_GRANT;

    if (ngx_mcp_flight_seal(f, "reauth") != NGX_OK) {
        ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_LEAVE, NGX_MCP_FLIGHT_BACKOFF);
        ngx_mcp_flight_none(f, NGX_DECLINED, "grant_dead", 0);
        return;
    }

    f->deadline = ngx_current_msec + ngx_mcp_flight_time(f->cr);
    f->pause = 0;

    ngx_mcp_flight_write(f);
}


static const char *
ngx_mcp_flight_reason(ngx_mcp_flight_t *f, mcp_oauth_class_e class)
{
    switch (class) {

    case MCP_OAUTH_OK:
        return "credential";

    case MCP_OAUTH_CLIENT_BAD:
        return "credential_client";

    case MCP_OAUTH_GRANT_DEAD:
    case MCP_OAUTH_INTERACT:
        return ngx_mcp_flight_user(f) ? "grant_dead" : "credential_refused";

    case MCP_OAUTH_UNKNOWN:
        return "credential_unknown";

    default: /* MCP_OAUTH_TRANSIENT */
        return "credential_provider";
    }
}


void
ngx_mcp_flight_event(ngx_mcp_flight_t *f, mcp_oauth_class_e class,
    const char *reason)
{
    mcp_audit_t      a;
    mcp_principal_t  p;

    static const char  *methods[] = {
        NULL, "credential/get", "credential/exchange", "credential/refresh"
    };

    if (class && f->cr->stats) {
        (void) ngx_atomic_fetch_add(&f->cr->stats->asked[class - 1], 1);
    }

    ngx_memzero(&a, sizeof(mcp_audit_t));
    ngx_memzero(&p, sizeof(mcp_principal_t));

    p.iss = f->owner.issuer;
    p.user = f->owner.user;
    p.client = f->owner.client;

    a.ev = "credential";
    a.http_method = methods[f->cr->type];
    a.decision = (class == MCP_OAUTH_OK) ? "allow" : "error";
    a.reason = reason;
    a.principal = &p;
    a.credential = *(mcp_str_t *) &f->cr->name;
    a.credential_version = f->version + (class == MCP_OAUTH_OK);
    a.credential_us = class ? (int64_t) (ngx_mcp_now_us() - f->asked_us) : -1;

    ngx_mcp_log_event(f->vault->mmcf, &a);
}


/* Nobody asks the provider for a while, here or anywhere. */
static void
ngx_mcp_flight_failed(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a,
    time_t retry_after)
{
    time_t      hold;
    ngx_uint_t  n;

    n = ngx_mcp_warm_failed(f->vault, ngx_mcp_flight_name(f));

    hold = (time_t) 1 << ngx_min(n - 1, 5);
    retry_after = ngx_min(retry_after, NGX_MCP_FLIGHT_MOST);
    hold = ngx_max(hold, retry_after);

    if (a->class == MCP_OAUTH_CLIENT_BAD) {
        hold = ngx_max(hold, NGX_MCP_FLIGHT_CLIENT);
    }

    /* no other record of this credential fares better */

    if (f->cr->stats
        && (a->class == MCP_OAUTH_CLIENT_BAD || retry_after > 0)
        && (time_t) f->cr->stats->closed < f->asked)
    {
        f->cr->stats->closed = f->asked + ngx_min(hold, NGX_MCP_FLIGHT_CLOSED);
    }

    hold = ngx_min(hold, ngx_max(retry_after, NGX_MCP_FLIGHT_BACKOFF));

    ngx_mcp_flight_unlock(f, a->class == MCP_OAUTH_UNKNOWN
                             ? NGX_MCP_NOTE_UNKNOWN : NGX_MCP_NOTE_BACK,
                          hold);

    if (ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f), hold) == NGX_OK) {
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    ngx_mcp_flight_none(f, NGX_ERROR, ngx_mcp_flight_reason(f, a->class),
                        hold);
}
