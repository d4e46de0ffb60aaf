/*
 * mcp_connect: a person grants, or ends what was granted.
 *
 * GET start/CREDENTIAL shows what will happen; its form begins it.  The state
 * has the person, her session's nonce, the credential and the PKCE verifier:
 * who comes back is in the same browser, signed in as the same person, at the
 * redirect URI of the same provider.  The code is exchanged once and never
 * again; what it brings is compared with what was wanted, sealed and written.
 *
 * A ticket is how an MCP client's person comes here: made for whoever called,
 * it is of use to nobody else, and somebody else who opens it is on record.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_connect_pages.h"


/* the session that a callback may find: of before the provider's pages */
#define NGX_MCP_GRANT_SESSION  (MCP_CONNECT_SESSION + MCP_CONNECT_STATE)


static void ngx_mcp_grant_sign_in(ngx_mcp_connect_ctx_t *cc);
static void ngx_mcp_grant_ticket(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_grant_confirm(ngx_mcp_connect_ctx_t *cc);
static void ngx_mcp_grant_post(ngx_mcp_connect_ctx_t *cc);
static void ngx_mcp_grant_begin(ngx_mcp_connect_ctx_t *cc);
static ngx_int_t ngx_mcp_grant_state(ngx_mcp_connect_ctx_t *cc,
    mcp_str_t *secret);
static ngx_int_t ngx_mcp_grant_away(ngx_mcp_connect_ctx_t *cc,
    mcp_str_t *secret);
static void ngx_mcp_grant_leave(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_grant_taken(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static const char *ngx_mcp_grant_whose(ngx_mcp_connect_ctx_t *cc,
    ngx_mcp_say_e *say);
static ngx_int_t ngx_mcp_grant_exchange(ngx_mcp_connect_ctx_t *cc,
    mcp_str_t *code);
static void ngx_mcp_grant_answered(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static const char *ngx_mcp_grant_tokens(ngx_mcp_connect_ctx_t *cc,
    mcp_oauth_answer_t *a);
static void ngx_mcp_grant_written(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_grant_over(void *data, ngx_int_t rc);
static void ngx_mcp_grant_ended(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);


/* GET, POST start/CREDENTIAL */
void
ngx_mcp_connect_start(ngx_mcp_connect_ctx_t *cc)
{
    ngx_int_t  rc;
    mcp_str_t  value;

    cc->method = "connect/start";

    if (ngx_mcp_connect_args(cc) != NGX_OK) {
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_BAD_REQUEST);
        return;
    }

    if (mcp_form_get(&cc->args, "ticket", &value) == MCP_OK) {

        if (!ngx_mcp_connect_is_random(&value)) {
            ngx_mcp_connect_say(cc, NGX_MCP_SAY_BAD_REQUEST);
            return;
        }

        cc->secret = value;
    }

    rc = ngx_mcp_connect_session(cc, MCP_CONNECT_SESSION);

    if (rc == NGX_ERROR) {
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_mcp_grant_sign_in(cc);
        return;
    }

    if (cc->request->method == NGX_HTTP_POST) {
        ngx_mcp_grant_post(cc);
        return;
    }

    if (cc->secret.len == 0) {
        ngx_mcp_grant_confirm(cc);
        return;
    }

    if (ngx_mcp_connect_look(cc, "tk", &cc->secret, ngx_mcp_grant_ticket)
        != NGX_OK)
    {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


static void
ngx_mcp_grant_sign_in(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_see_query(cc, "login",
                              (mcp_str_t *) &cc->credential->name,
                              &cc->secret);
}


/* The ticket that was looked at, or taken. */
static void
ngx_mcp_grant_ticket(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    if (ngx_mcp_connect_taken(cc, rc, MCP_CONNECT_TICKET) != NGX_OK) {
        return;
    }

    if (!mcp_str_eq(&cc->state.person_issuer, &cc->session.issuer)
        || !mcp_str_eq(&cc->state.person, &cc->session.user)
        || !mcp_str_eq(&cc->state.credential,
                       (mcp_str_t *) &cc->credential->name))
    {
        ngx_mcp_connect_audit(cc, cc->method, "deny", "connect_ticket_other");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_TICKET_OTHER);
        return;
    }

    if (cc->request->method == NGX_HTTP_POST) {
        ngx_mcp_grant_begin(cc);
        return;
    }

    ngx_mcp_grant_confirm(cc);
}


static void
ngx_mcp_grant_confirm(ngx_mcp_connect_ctx_t *cc)
{
    u_char                *p;
    mcp_buf_t              b;
    ngx_mcp_url_t          url;
    const char            *error;
    mcp_page_row_t         row;
    ngx_mcp_credential_t  *cr;

    cr = cc->credential;
    p = ngx_mcp_connect_secret(cc, MCP_PAGE_SIZE + MCP_PAGE_ROW);

    ngx_memzero(&row, sizeof(mcp_page_row_t));

    row.name = *(mcp_str_t *) &cr->name;
    row.provider = cr->provider.title;
    row.scope = *(mcp_str_t *) &cr->scope;

    if (p == NULL
        || ngx_mcp_url_parse(cc->request->pool,
                             (ngx_str_t *) &cr->provider.authorize_endpoint,
                             &url, &error)
           != NGX_OK
        || ngx_mcp_connect_csrf(cc, "start", &cr->name, &row.token) != NGX_OK)
    {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    cc->leads_away = 1;
    cc->away.data = url.url.data;
    cc->away.len = (url.tls ? sizeof("https://") - 1 : sizeof("http://") - 1)
                   + url.host_header.len;

    mcp_buf_init(&b, p, MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_page_confirm(&b, (mcp_str_t *) &cc->conf->path, &cc->session.name,
                     &row, (mcp_str_t *) &url.host, &cc->secret);

    ngx_mcp_connect_page(cc, &b);
}


static void
ngx_mcp_grant_post(ngx_mcp_connect_ctx_t *cc)
{
    if (!ngx_mcp_connect_csrf_good(cc, "start", &cc->credential->name)) {
        ngx_mcp_connect_audit(cc, cc->method, "deny", "connect_form");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_FORM_OVER);
        return;
    }

    if (cc->secret.len == 0) {
        ngx_mcp_grant_begin(cc);
        return;
    }

    if (ngx_mcp_connect_take(cc, "tk", &cc->secret, ngx_mcp_grant_ticket)
        != NGX_OK)
    {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


static void
ngx_mcp_grant_begin(ngx_mcp_connect_ctx_t *cc)
{
    mcp_str_t  secret;

    if (ngx_mcp_grant_state(cc, &secret) != NGX_OK
        || ngx_mcp_grant_away(cc, &secret) != NGX_OK
        || ngx_mcp_connect_put_state(cc, &secret, ngx_mcp_grant_leave)
           != NGX_OK)
    {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


static ngx_int_t
ngx_mcp_grant_state(ngx_mcp_connect_ctx_t *cc, mcp_str_t *secret)
{
    mcp_connect_state_t  *st;

    st = &cc->state;
    ngx_memzero(st, sizeof(mcp_connect_state_t));

    st->kind = MCP_CONNECT_GRANT;
    st->credential = *(mcp_str_t *) &cc->credential->name;
    st->issuer = cc->credential->provider.authorize_endpoint;
    st->browser = cc->session.nonce;
    st->person_issuer = cc->session.issuer;
    st->person = cc->session.user;
    st->scope = *(mcp_str_t *) &cc->credential->scope;
    st->begun = ngx_time();

    if (ngx_mcp_connect_random(cc, secret) != NGX_OK
        || ngx_mcp_connect_random(cc, &st->verifier) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!cc->credential->provider.pkce) {
        mcp_str_null(&st->verifier);
    }

    return ngx_mcp_connect_own(cc, "grant/", &cc->credential->name,
                               (ngx_str_t *) &st->redirect_uri);
}


static ngx_int_t
ngx_mcp_grant_away(ngx_mcp_connect_ctx_t *cc, mcp_str_t *secret)
{
    mcp_connect_away_t     away;
    ngx_mcp_credential_t  *cr;

    cr = cc->credential;
    ngx_memzero(&away, sizeof(mcp_connect_away_t));

    away.endpoint = cr->provider.authorize_endpoint;
    away.extra = cr->provider.authorize_extra;
    away.client_id = *(mcp_str_t *) &cr->client_id;
    away.redirect_uri = cc->state.redirect_uri;
    away.scope = cc->state.scope;
    away.audience = *(mcp_str_t *) &cr->audience;
    away.resource = *(mcp_str_t *) &cr->resource;
    away.state = *secret;
    away.verifier = cc->state.verifier;

    /* a person's scopes; "scope" is what a bot gets (Slack) */

    if (cr->provider.within.len) {
        away.scope_name = "user_scope";
    }

    return ngx_mcp_connect_leave(cc, &away);
}


static void
ngx_mcp_grant_leave(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    if (rc != NGX_OK) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
        return;
    }

    ngx_mcp_connect_audit(cc, cc->method, "allow", "allow");
    ngx_mcp_connect_see(cc, &cc->location);
}


/* GET grant/CREDENTIAL?code=...&state=...: from the provider */
void
ngx_mcp_connect_grant(ngx_mcp_connect_ctx_t *cc)
{
    cc->method = "connect/grant";

    if (ngx_mcp_connect_args(cc) != NGX_OK
        || mcp_form_get(&cc->args, "state", &cc->secret) != MCP_OK
        || !ngx_mcp_connect_is_random(&cc->secret))
    {
        ngx_mcp_connect_audit(cc, cc->method, "deny", "connect_state");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_BAD_REQUEST);
        return;
    }

    if (ngx_mcp_connect_take(cc, "st", &cc->secret, ngx_mcp_grant_taken)
        != NGX_OK)
    {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


static void
ngx_mcp_grant_taken(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    mcp_str_t       code;
    const char     *reason;
    ngx_mcp_say_e   say;

    if (ngx_mcp_connect_taken(cc, rc, MCP_CONNECT_GRANT) != NGX_OK) {
        return;
    }

    rc = ngx_mcp_connect_session(cc, NGX_MCP_GRANT_SESSION);

    if (rc == NGX_ERROR) {
        return;
    }

    if (rc == NGX_DECLINED) {
        reason = "connect_browser";
        say = NGX_MCP_SAY_OTHER_BROWSER;

    } else {
        reason = ngx_mcp_grant_whose(cc, &say);
    }

    if (reason == NULL) {
        reason = ngx_mcp_connect_came_back(cc, 0, &code);

        say = reason && ngx_strcmp(reason, "connect_refused") == 0
              ? NGX_MCP_SAY_GRANT_REFUSED : NGX_MCP_SAY_GRANT_FAILED;
    }

    if (reason) {
        ngx_mcp_connect_audit(cc, cc->method, "deny", reason);
        ngx_mcp_connect_say(cc, say);
        return;
    }

    /* from here on to the end, whether the browser waits or not */

    cc->stays = 1;

    if (ngx_mcp_grant_exchange(cc, &code) != NGX_OK) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "credential_provider");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_GRANT_FAILED);
    }
}


/* NULL: of this person, this browser and this provider. */
static const char *
ngx_mcp_grant_whose(ngx_mcp_connect_ctx_t *cc, ngx_mcp_say_e *say)
{
    mcp_connect_state_t  *st;

    st = &cc->state;

    if (!mcp_str_eq(&st->person_issuer, &cc->session.issuer)
        || !mcp_str_eq(&st->person, &cc->session.user))
    {
        *say = NGX_MCP_SAY_OTHER_PERSON;
        return "connect_person";
    }

    if (!ngx_mcp_connect_same(&st->browser, &cc->session.nonce)) {
        *say = NGX_MCP_SAY_OTHER_BROWSER;
        return "connect_browser";
    }

    /* another credential's, or of before the configuration was changed: the
     * code would go to whom it is not from */

    if (!mcp_str_eq(&st->credential, (mcp_str_t *) &cc->credential->name)
        || !mcp_str_eq(&st->issuer,
                       &cc->credential->provider.authorize_endpoint))
    {
        *say = NGX_MCP_SAY_GRANT_FAILED;
        return "connect_issuer";
    }

    return NULL;
}


static ngx_int_t
ngx_mcp_grant_exchange(ngx_mcp_connect_ctx_t *cc, mcp_str_t *code)
{
    mcp_mem_t              mem;
    mcp_oauth_request_t    req;
    ngx_mcp_credential_t  *cr;

    cr = cc->credential;
    ngx_memzero(&req, sizeof(mcp_oauth_request_t));

    req.provider = &cr->provider;
    req.auth = cr->provider.auth;
    req.client_id = *(mcp_str_t *) &cr->client_id;
    req.client_secret = *(mcp_str_t *) &cr->client_secret;
    req.resource = *(mcp_str_t *) &cr->resource;
    req.grant = MCP_OAUTH_CODE;
    req.token = *code;
    req.redirect_uri = cc->state.redirect_uri;
    req.verifier = cc->state.verifier;

    mem = ngx_mcp_connect_mem(cc);

    if (req.auth == MCP_OAUTH_PRIVATE_KEY_JWT
        && mcp_assertion_make(&cr->assertion, ngx_time(), &mem,
                              &req.assertion)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_connect_fetch(cc, &req, &cr->fetch, &cr->url,
                                 ngx_mcp_grant_answered);
}


static void
ngx_mcp_grant_answered(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    const char          *reason;
    mcp_oauth_answer_t   a;

    ngx_mcp_connect_answer(cc, &cc->credential->provider, &a);

    if (a.class != MCP_OAUTH_OK) {
        ngx_log_error(NGX_LOG_ERR, cc->request->connection->log, 0,
                      "mcp_credential \"%V\": a code was not exchanged: %s%s%s",
                      &cc->credential->name, mcp_oauth_class_name(a.class),
                      a.error ? ", " : "", a.error ? a.error : "");

        ngx_mcp_connect_audit(cc, cc->method, "error",
                              a.class == MCP_OAUTH_CLIENT_BAD
                              ? "credential_client" : "credential_provider");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_GRANT_FAILED);
        return;
    }

    reason = ngx_mcp_grant_tokens(cc, &a);

    if (reason) {

        /* nobody keeps them: they are of no use, and are not left about */

        ngx_mcp_ending_tokens(cc->mmcf, cc->credential, &cc->record.owner,
                              &cc->record.tokens);

        ngx_mcp_connect_audit(cc, cc->method, "deny", reason);
        ngx_mcp_connect_say(cc, ngx_strcmp(reason, "revoked") == 0
                                ? NGX_MCP_SAY_LOGIN_FAILED
                                : NGX_MCP_SAY_GRANT_SCOPE);
        return;
    }

    ngx_mcp_connect_write(cc, ngx_mcp_grant_written);
}


/* What came is what was wanted, or more; some say nothing of scopes, or not of
 * those that are about the answer itself. */
static const char *
ngx_mcp_grant_tokens(ngx_mcp_connect_ctx_t *cc, mcp_oauth_answer_t *a)
{
    mcp_vault_tokens_t  *t;

    ngx_mcp_connect_owner(&cc->record, cc->credential, &cc->session.issuer,
                          &cc->session.user);

    t = &cc->record.tokens;

    t->access_token = a->access_token;
    t->refresh_token = a->refresh_token;
    t->scope = a->scope_said ? a->scope : cc->state.scope;
    t->endpoint = cc->credential->provider.token_endpoint;
    t->issued = ngx_time();

    /* what she does in a session is of when she signed in: of a revocation of
     * after that this worker may hear when the grant is kept already */

    t->granted = cc->session.begun;
    t->expires = a->expires_in ? t->issued + a->expires_in : 0;
    t->refresh_expires = a->refresh_expires_in
                         ? t->issued + a->refresh_expires_in : 0;

    if (a->scope_said
        && mcp_connect_missing(&cc->state.scope, &a->scope,
                               cc->credential->provider.name).len)
    {
        return "connect_scope";
    }

    /* whoever was revoked while the provider took its time: what ended her
     * grants was here before this one */

    if (ngx_mcp_connect_person(cc, &cc->session.user, cc->session.begun)
        == NGX_DECLINED)
    {
        return "revoked";
    }

    return NULL;
}


static void
ngx_mcp_grant_written(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    if (rc != NGX_OK) {

        /* if the store is there again; else this is said at alert */

        ngx_mcp_ending_tokens(cc->mmcf, cc->credential, &cc->record.owner,
                              &cc->record.tokens);

        ngx_mcp_connect_audit(cc, cc->method, "error", "credential_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_GRANT_LOST);
        return;
    }

    cc->version = cc->record.version + 1;
    cc->until = cc->record.tokens.refresh_expires;
    cc->scope = cc->record.tokens.scope;

    ngx_mcp_connect_audit(cc, cc->method, "allow", "credential");

    /* away from an address that has a code in it */

    ngx_mcp_connect_see_own(cc, "done", NULL);
}


/* POST disconnect/CREDENTIAL */
void
ngx_mcp_connect_disconnect(ngx_mcp_connect_ctx_t *cc)
{
    ngx_int_t  rc;

    cc->method = "connect/disconnect";

    rc = ngx_mcp_connect_session(cc, MCP_CONNECT_SESSION);

    if (rc == NGX_ERROR) {
        return;
    }

    if (rc == NGX_DECLINED
        || ngx_mcp_connect_args(cc) != NGX_OK
        || !ngx_mcp_connect_csrf_good(cc, "disconnect", &cc->credential->name))
    {
        ngx_mcp_connect_audit(cc, cc->method, "deny", "connect_form");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_FORM_OVER);
        return;
    }

    ngx_mcp_connect_owner(&cc->record, cc->credential, &cc->session.issuer,
                          &cc->session.user);

    /* it goes on, whether the browser stays or not */

    if (ngx_mcp_ending_grant(cc->mmcf, cc->credential, &cc->record.owner,
                             "disconnected", ngx_mcp_grant_over, cc,
                             &cc->ending)
        != NGX_AGAIN)
    {
        ngx_mcp_grant_ended(cc, NGX_ERROR);
        return;
    }

    cc->done = ngx_mcp_grant_ended;

    ngx_mcp_connect_wait(cc);
}


static void
ngx_mcp_grant_over(void *data, ngx_int_t rc)
{
    ngx_mcp_connect_ctx_t *cc = data;

    cc->ending = NULL;

    ngx_mcp_connect_go(cc, rc);
}


/* Who has none (any more) has what she wanted. */
static void
ngx_mcp_grant_ended(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    if (rc == NGX_ERROR) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "credential_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
        return;
    }

    ngx_mcp_connect_audit(cc, cc->method, "allow", "allow");
    ngx_mcp_connect_see_own(cc, "", NULL);
}


/* GET done */
void
ngx_mcp_connect_done(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_DONE);
}
