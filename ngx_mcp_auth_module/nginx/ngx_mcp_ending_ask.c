/*
 * The provider of a grant that ended is told: by the refresh token, or by the
 * access token where that ends the grant (mcp_oauth_revoke_by()).  When such an
 * access token is over it is made anew first: the provider would say that there
 * is no such token, while the refresh token lives on.
 *
 * Always true: a refresh token is sent when the queue knows that it is (the
 * answer may get lost, and with it tokens that nobody has), and new tokens are
 * in the queue before they are used.  Each way ends in ngx_mcp_ending_settle()
 * or in ngx_mcp_ending_failed().
 */

#include "ngx_mcp_conf.h"
#include "ngx_mcp_ending.h"


#define NGX_MCP_ENDING_CLOSED  30       /* s, after a failure */
#define NGX_MCP_ENDING_MARGIN  10       /* s, an access token has to live */


static time_t *ngx_mcp_ending_closed(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_renew(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_refresh(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_refreshed(void *data, ngx_mcp_fetch_result_t *res);
static void ngx_mcp_ending_class(ngx_mcp_endings_t *en,
    ngx_mcp_fetch_result_t *res, mcp_oauth_answer_t *a);
static void ngx_mcp_ending_new(ngx_mcp_endings_t *en, mcp_oauth_answer_t *a);
static void ngx_mcp_ending_lost(ngx_mcp_endings_t *en, int64_t us);
static void ngx_mcp_ending_tell(ngx_mcp_endings_t *en);
static ngx_int_t ngx_mcp_ending_send(ngx_mcp_endings_t *en,
    mcp_oauth_grant_e grant, const mcp_str_t *token, ngx_mcp_fetch_pt done);
static void ngx_mcp_ending_told(void *data, ngx_mcp_fetch_result_t *res);
static void ngx_mcp_ending_ended(ngx_mcp_endings_t *en, const char *error,
    int64_t us);
static const char *ngx_mcp_ending_reason(mcp_oauth_class_e class);


void
ngx_mcp_ending_ask(ngx_mcp_endings_t *en)
{
    time_t         *closed;
    mcp_ending_t   *e;

    e = &en->entry;
    closed = ngx_mcp_ending_closed(en);

    if (*closed > ngx_time()) {
        ngx_mcp_ending_settle(en, *closed + ngx_random() % 5);
        return;
    }

    en->before = e->renewing;

    if (e->refresh_token.len
        && mcp_oauth_revoke_by(&en->cr->provider, 1) == MCP_OAUTH_REVOKE_ACCESS
        && (e->access_token.len == 0
            || (e->expires && e->expires <= ngx_time()
                                            + NGX_MCP_ENDING_MARGIN)))
    {
        ngx_mcp_ending_renew(en);
        return;
    }

    ngx_mcp_ending_tell(en);
}


static time_t *
ngx_mcp_ending_closed(ngx_mcp_endings_t *en)
{
    ngx_uint_t              i;
    ngx_mcp_credential_t  **crp;

    crp = en->vault->mmcf->credentials.elts;

    for (i = 0; crp[i] != en->cr; i++) { /* void */ }

    return &en->closed[i];
}


static void
ngx_mcp_ending_renew(ngx_mcp_endings_t *en)
{
    if (en->before) {
        ngx_mcp_ending_refresh(en);
        return;
    }

    en->entry.renewing = 1;

    if (ngx_mcp_ending_change(en, ngx_time() + en->lease,
                              ngx_mcp_ending_refresh)
        != NGX_OK)
    {
        en->entry.renewing = 0;
        ngx_mcp_ending_failed(en, "credential_store", -1, -1);
    }
}


static void
ngx_mcp_ending_refresh(ngx_mcp_endings_t *en)
{
    en->asked_us = ngx_mcp_now_us();

    if (ngx_mcp_ending_send(en, MCP_OAUTH_REFRESH, &en->entry.refresh_token,
                            ngx_mcp_ending_refreshed)
        != NGX_OK)
    {
        en->entry.renewing = en->before;
        ngx_mcp_ending_failed(en, "credential_provider", -1, -1);
    }
}


static void
ngx_mcp_ending_refreshed(void *data, ngx_mcp_fetch_result_t *res)
{
    ngx_mcp_endings_t *en = data;

    int64_t             us;
    ngx_uint_t          level;
    mcp_oauth_answer_t  a;

    en->fetch = NULL;
    us = ngx_mcp_now_us() - en->asked_us;

    ngx_mcp_ending_class(en, res, &a);

    if (en->cr->stats) {
        (void) ngx_atomic_fetch_add(&en->cr->stats->asked[a.class - 1], 1);
    }

    level = (a.class == MCP_OAUTH_OK) ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, en->vault->log, 0,
                  "mcp_credential \"%V\": token endpoint, to end a grant: "
                  "%s%s%s (%ui)", &en->cr->name, mcp_oauth_class_name(a.class),
                  a.error ? ", " : "", a.error ? a.error : "", res->status);

    switch (a.class) {

    case MCP_OAUTH_OK:
        ngx_mcp_ending_event(en->vault->mmcf, "credential/refresh", "allow",
                             "credential", &en->entry.owner, us);
        ngx_mcp_ending_new(en, &a);
        return;

    case MCP_OAUTH_GRANT_DEAD:

        if (en->before) {
            ngx_mcp_ending_lost(en, us);
            return;
        }

        ngx_mcp_ending_ended(en, NULL, us);
        return;

    case MCP_OAUTH_UNKNOWN:
        break;

    default:

        /* it was not used, unless it was before */

        en->entry.renewing = en->before;
    }

    ngx_mcp_ending_failed(en, ngx_mcp_ending_reason(a.class), us,
                          res->retry_after);
}


static void
ngx_mcp_ending_class(ngx_mcp_endings_t *en, ngx_mcp_fetch_result_t *res,
    mcp_oauth_answer_t *a)
{
    mcp_mem_t  mem;

    if (res->error) {
        ngx_memzero(a, sizeof(mcp_oauth_answer_t));

        a->class = res->sent ? MCP_OAUTH_UNKNOWN : MCP_OAUTH_TRANSIENT;
        a->error = res->sent ? "no_answer" : "not_sent";

        return;
    }

    mem = ngx_mcp_mem(en->pool);

    mcp_oauth_answer(&en->request, res->status, (mcp_str_t *) &res->body, &mem,
                     a);
}


static void
ngx_mcp_ending_new(ngx_mcp_endings_t *en, mcp_oauth_answer_t *a)
{
    mcp_ending_t  *e;

    e = &en->entry;

    ngx_mcp_flight_forget(&e->access_token);
    e->access_token = a->access_token;

    if (a->refresh_token.len) {
        ngx_mcp_flight_forget(&e->refresh_token);
        e->refresh_token = a->refresh_token;
    }

    e->expires = a->expires_in ? ngx_time() + a->expires_in : 0;
    e->renewing = 0;

    en->before = 0;
    en->renewed = 1;

    /* when Redis is away they are used all the same: nobody else has them */

    if (ngx_mcp_ending_change(en, ngx_time() + en->lease, ngx_mcp_ending_tell)
        != NGX_OK)
    {
        ngx_mcp_ending_tell(en);
    }
}


/* The refresh token was used up by a request that nobody got an answer to. */
static void
ngx_mcp_ending_lost(ngx_mcp_endings_t *en, int64_t us)
{
    ngx_log_error(NGX_LOG_ALERT, en->vault->log, 0,
                  "mcp_credential \"%V\": a grant that ended may live on at "
                  "its provider: the answer with its last tokens was lost",
                  &en->cr->name);

    ngx_mcp_ending_event(en->vault->mmcf, "credential/revoke", "error",
                         "credential_given_up", &en->entry.owner, us);
    ngx_mcp_ending_settle(en, 0);
}


static void
ngx_mcp_ending_tell(ngx_mcp_endings_t *en)
{
    mcp_oauth_grant_e  by;

    by = mcp_oauth_revoke_by(&en->cr->provider,
                             en->entry.refresh_token.len != 0);

    en->asked_us = ngx_mcp_now_us();

    if (ngx_mcp_ending_send(en, by, by == MCP_OAUTH_REVOKE_REFRESH
                                    ? &en->entry.refresh_token
                                    : &en->entry.access_token,
                            ngx_mcp_ending_told)
        != NGX_OK)
    {
        ngx_mcp_ending_failed(en, "credential_provider", -1, -1);
    }
}


static ngx_int_t
ngx_mcp_ending_send(ngx_mcp_endings_t *en, mcp_oauth_grant_e grant,
    const mcp_str_t *token, ngx_mcp_fetch_pt done)
{
    u_char                   *p;
    size_t                    size;
    mcp_buf_t                 headers, body;
    mcp_mem_t                 mem;
    ngx_int_t                 rc;
    const char               *method;
    mcp_oauth_request_t      *req;
    ngx_mcp_credential_t     *cr;
    ngx_mcp_fetch_request_t   fr;

    cr = en->cr;
    req = &en->request;

    ngx_memzero(req, sizeof(mcp_oauth_request_t));

    req->provider = &cr->provider;
    req->auth = cr->provider.auth;
    req->client_id = *(mcp_str_t *) &cr->client_id;
    req->client_secret = *(mcp_str_t *) &cr->client_secret;
    req->resource = *(mcp_str_t *) &cr->resource;
    req->grant = grant;
    req->token = *token;

    mem = ngx_mcp_mem(en->pool);

    if (req->auth == MCP_OAUTH_PRIVATE_KEY_JWT
        && mcp_assertion_make(&cr->assertion, ngx_time(), &mem,
                              &req->assertion)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    /* three characters for one, at worst */

    size = 3 * (req->token.len + req->client_id.len + req->client_secret.len
                + req->assertion.len + req->resource.len) + 1024;

    p = ngx_pnalloc(en->pool, 2 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&headers, p, size);
    mcp_buf_init(&body, p + size, size);

    rc = NGX_ERROR;

    if (mcp_oauth_request(req, &headers, &body) == MCP_OK) {

        ngx_memzero(&fr, sizeof(ngx_mcp_fetch_request_t));

        method = mcp_oauth_method(req);

        fr.conf = (grant == MCP_OAUTH_REFRESH) ? &cr->fetch
                                               : &cr->revoke_fetch;
        fr.url = (grant == MCP_OAUTH_REFRESH) ? cr->url : cr->revoke_url;
        fr.method.data = (u_char *) method;
        fr.method.len = ngx_strlen(method);
        fr.headers.data = headers.start;
        fr.headers.len = headers.pos - headers.start;
        fr.body.data = body.start;
        fr.body.len = body.pos - body.start;
        fr.max_body = MCP_OAUTH_BODY;
        fr.done = done;
        fr.data = en;

        rc = ngx_mcp_fetch_start(&fr, en->vault->log, &en->fetch);
    }

    ngx_explicit_memzero(p, 2 * size);
    ngx_mcp_flight_forget(&req->assertion);

    return rc == NGX_AGAIN ? NGX_OK : NGX_ERROR;
}


static void
ngx_mcp_ending_told(void *data, ngx_mcp_fetch_result_t *res)
{
    ngx_mcp_endings_t *en = data;

    int64_t             us;
    ngx_uint_t          level;
    const char         *error;
    mcp_oauth_class_e   class;

    en->fetch = NULL;
    us = ngx_mcp_now_us() - en->asked_us;

    if (res->error) {
        class = res->sent ? MCP_OAUTH_UNKNOWN : MCP_OAUTH_TRANSIENT;
        error = res->sent ? "no_answer" : "not_sent";

    } else {
        class = mcp_oauth_revoked(&en->request, res->status,
                                  (mcp_str_t *) &res->body, &error);
    }

    if (en->cr->stats) {
        (void) ngx_atomic_fetch_add(&en->cr->stats->revoked[class - 1], 1);
    }

    level = (class == MCP_OAUTH_OK || class == MCP_OAUTH_GRANT_DEAD)
            ? NGX_LOG_INFO : NGX_LOG_ERR;

    if (error && ngx_strcmp(error, "not_found") == 0) {
        level = NGX_LOG_WARN;
    }

    ngx_log_error(level, en->vault->log, 0,
                  "mcp_credential \"%V\": revoke endpoint: %s%s%s (%ui)",
                  &en->cr->name, mcp_oauth_class_name(class),
                  error ? ", " : "", error ? error : "", res->status);

    if (class == MCP_OAUTH_OK) {
        ngx_mcp_ending_ended(en, NULL, us);
        return;
    }

    if (class != MCP_OAUTH_GRANT_DEAD) {
        ngx_mcp_ending_failed(en, ngx_mcp_ending_reason(class), us,
                              res->retry_after);
        return;
    }

    if (en->request.grant == MCP_OAUTH_REVOKE_ACCESS
        && en->entry.refresh_token.len)
    {
        if (!en->renewed) {
            ngx_mcp_ending_renew(en);
            return;
        }

        if (ngx_strcmp(error, "not_found") == 0) {

            /* it knows this token, so it is our client that it does not */

            ngx_mcp_ending_failed(en, "credential_client", us, -1);
            return;
        }
    }

    ngx_mcp_ending_ended(en, error, us);
}


/* error: of an answer that there is no such token, or NULL */
static void
ngx_mcp_ending_ended(ngx_mcp_endings_t *en, const char *error, int64_t us)
{
    const char  *reason;

    reason = (error && ngx_strcmp(error, "not_found") == 0)
             ? "credential_not_found" : "credential_ended";

    ngx_mcp_ending_event(en->vault->mmcf, "credential/revoke", "allow", reason,
                         &en->entry.owner, us);
    ngx_mcp_ending_settle(en, 0);
}


static const char *
ngx_mcp_ending_reason(mcp_oauth_class_e class)
{
    switch (class) {

    case MCP_OAUTH_CLIENT_BAD:
        return "credential_client";

    case MCP_OAUTH_UNKNOWN:
        return "credential_unknown";

    default:
        return "credential_provider";
    }
}


void
ngx_mcp_ending_failed(ngx_mcp_endings_t *en, const char *reason, int64_t us,
    time_t retry_after)
{
    time_t  now, again, *closed;

    now = ngx_time();

    ngx_mcp_ending_event(en->vault->mmcf, "credential/revoke", "error", reason,
                         &en->entry.owner, us);

    if (now - en->entry.begun >= MCP_ENDING_TIME) {

        ngx_log_error(NGX_LOG_ALERT, en->vault->log, 0,
                      "mcp_credential \"%V\": a grant that ended lives on at "
                      "its provider, which could not be told for a week",
                      (ngx_str_t *) &en->entry.owner.credential);

        ngx_mcp_ending_event(en->vault->mmcf, "credential/revoke", "error",
                             "credential_given_up", &en->entry.owner, -1);
        ngx_mcp_ending_settle(en, 0);
        return;
    }

    again = mcp_ending_again(en->entry.begun, now, retry_after);

    if (en->cr) {
        closed = ngx_mcp_ending_closed(en);
        *closed = ngx_min(again, now + NGX_MCP_ENDING_CLOSED);
    }

    ngx_mcp_ending_settle(en, again);
}
