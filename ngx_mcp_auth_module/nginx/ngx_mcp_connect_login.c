/*
 * mcp_connect: a person signs in at the login issuer (OpenID Connect Core 1.0,
 * section 3.1: authorization code, with PKCE S256, nonce and state).
 *
 * Before the browser leaves, a state is in Redis which has all that the answer
 * will be compared with; the browser's own cookie is a part of that: a callback
 * in another browser is nobody's.  The state is taken once, first of all.  The
 * code is exchanged once, with the client's secret; the ID token is verified
 * with the keys of access tokens, and by its own rules.
 *
 * Who she is is the issuer's user claim, as in access tokens.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_connect_pages.h"
#include "mcp_id_token.h"


#define NGX_MCP_LOGIN_KEYS  2           /* times that new keys are asked for */


static void ngx_mcp_login_begin(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static ngx_int_t ngx_mcp_login_state(ngx_mcp_connect_ctx_t *cc,
    ngx_mcp_login_t *login);
static void ngx_mcp_login_leave(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_login_taken(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_login_ask(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static ngx_int_t ngx_mcp_login_exchange(ngx_mcp_connect_ctx_t *cc,
    ngx_mcp_login_t *login);
static void ngx_mcp_login_answered(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_login_keys(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_login_verified(ngx_mcp_connect_ctx_t *cc);
static void ngx_mcp_login_refuse(ngx_mcp_connect_ctx_t *cc,
    const char *reason);


/* GET login[?to=CREDENTIAL[&ticket=TICKET]] */
void
ngx_mcp_connect_login(ngx_mcp_connect_ctx_t *cc)
{
    mcp_str_t               value;
    ngx_uint_t              i;
    ngx_mcp_credential_t  **crp;

    /* one of our own names, or nothing */

    if (ngx_mcp_connect_args(cc) != NGX_OK) {
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_BAD_REQUEST);
        return;
    }

    if (mcp_form_get(&cc->args, "to", &value) == MCP_OK) {
        crp = cc->conf->credentials.elts;

        for (i = 0; i < cc->conf->credentials.nelts; i++) {
            if (mcp_str_eq(&value, (mcp_str_t *) &crp[i]->name)) {
                cc->state.to = value;
            }
        }
    }

    if (cc->state.to.len
        && mcp_form_get(&cc->args, "ticket", &value) == MCP_OK
        && ngx_mcp_connect_is_random(&value))
    {
        cc->state.ticket = value;
    }

    ngx_mcp_login_begin(cc, NGX_OK);
}


static void
ngx_mcp_login_begin(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    ngx_mcp_login_t  login;

    cc->waiter.wake = ngx_mcp_connect_woken;
    cc->waiter.data = cc;

    rc = ngx_mcp_login_get(cc->conf->issuer, &cc->waiter, &login);

    if (rc == NGX_AGAIN) {
        cc->done = ngx_mcp_login_begin;
        ngx_mcp_connect_wait(cc);
        return;
    }

    if (rc != NGX_OK || ngx_mcp_login_state(cc, &login) != NGX_OK) {
        ngx_mcp_connect_audit(cc, "connect/sign_in", "error", "login_provider");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


/* The state goes to Redis before its name goes anywhere. */
static ngx_int_t
ngx_mcp_login_state(ngx_mcp_connect_ctx_t *cc, ngx_mcp_login_t *login)
{
    mcp_str_t             secret;
    ngx_mcp_issuer_t     *is;
    mcp_connect_state_t  *st;
    mcp_connect_away_t    away;

    st = &cc->state;
    is = cc->conf->issuer;

    if (ngx_mcp_connect_browser(cc) != NGX_OK
        || ngx_mcp_connect_random(cc, &secret) != NGX_OK
        || ngx_mcp_connect_random(cc, &st->verifier) != NGX_OK
        || ngx_mcp_connect_random(cc, &st->nonce) != NGX_OK
        || ngx_mcp_connect_own(cc, "callback", NULL,
                               (ngx_str_t *) &st->redirect_uri)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    st->kind = MCP_CONNECT_LOGIN;
    st->issuer = is->jwt.issuer;
    st->browser = cc->browser;
    st->begun = ngx_time();

    ngx_memzero(&away, sizeof(mcp_connect_away_t));

    away.endpoint = *(mcp_str_t *) &login->authorization.url;
    away.client_id = *(mcp_str_t *) &is->client_id;
    away.redirect_uri = st->redirect_uri;
    away.scope = *(mcp_str_t *) &is->login_scope;
    away.state = secret;
    away.nonce = st->nonce;
    away.verifier = st->verifier;

    if (ngx_mcp_connect_leave(cc, &away) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mcp_connect_put_state(cc, &secret, ngx_mcp_login_leave);
}


static void
ngx_mcp_login_leave(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    if (rc != NGX_OK) {
        ngx_mcp_connect_audit(cc, "connect/sign_in", "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
        return;
    }

    ngx_mcp_connect_see(cc, &cc->location);
}


/* GET callback?code=...&state=...: from the issuer, by way of the browser */
void
ngx_mcp_connect_callback(ngx_mcp_connect_ctx_t *cc)
{
    if (ngx_mcp_connect_args(cc) != NGX_OK
        || mcp_form_get(&cc->args, "state", &cc->secret) != MCP_OK
        || !ngx_mcp_connect_is_random(&cc->secret))
    {
        ngx_mcp_connect_audit(cc, "connect/sign_in", "deny", "connect_state");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_BAD_REQUEST);
        return;
    }

    cc->method = "connect/sign_in";

    if (ngx_mcp_connect_take(cc, "st", &cc->secret, ngx_mcp_login_taken)
        != NGX_OK)
    {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


static void
ngx_mcp_login_taken(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    if (ngx_mcp_connect_taken(cc, rc, MCP_CONNECT_LOGIN) != NGX_OK) {
        return;
    }

    if (ngx_mcp_connect_known_browser(cc) != NGX_OK
        || !ngx_mcp_connect_same(&cc->state.browser, &cc->browser))
    {
        ngx_mcp_connect_audit(cc, cc->method, "deny", "connect_browser");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_OTHER_BROWSER);
        return;
    }

    /* another page's login */

    if (!mcp_str_eq(&cc->state.issuer, &cc->conf->issuer->jwt.issuer)) {
        ngx_mcp_login_refuse(cc, "connect_issuer");
        return;
    }

    ngx_mcp_login_ask(cc, NGX_OK);
}


static void
ngx_mcp_login_ask(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    mcp_str_t        value;
    const char      *reason;
    ngx_mcp_login_t  login;

    cc->waiter.wake = ngx_mcp_connect_woken;
    cc->waiter.data = cc;

    rc = ngx_mcp_login_get(cc->conf->issuer, &cc->waiter, &login);

    if (rc == NGX_AGAIN) {
        cc->done = ngx_mcp_login_ask;
        ngx_mcp_connect_wait(cc);
        return;
    }

    if (rc != NGX_OK) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "login_provider");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
        return;
    }

    reason = ngx_mcp_connect_came_back(cc, login.iss, &value);

    if (reason) {
        ngx_mcp_login_refuse(cc, reason);
        return;
    }

    cc->code = value;
    cc->stays = 1;

    if (ngx_mcp_login_exchange(cc, &login) != NGX_OK) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "login_provider");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }
}


static ngx_int_t
ngx_mcp_login_exchange(ngx_mcp_connect_ctx_t *cc, ngx_mcp_login_t *login)
{
    ngx_mcp_issuer_t     *is;
    mcp_oauth_request_t   req;

    static mcp_str_t  generic = mcp_string("generic");

    is = cc->conf->issuer;

    ngx_memzero(&req, sizeof(mcp_oauth_request_t));

    req.provider = mcp_oauth_provider(&generic);
    req.auth = is->login_auth;
    req.client_id = *(mcp_str_t *) &is->client_id;
    req.client_secret = *(mcp_str_t *) &is->client_secret;
    req.grant = MCP_OAUTH_CODE;
    req.token = cc->code;
    req.redirect_uri = cc->state.redirect_uri;
    req.verifier = cc->state.verifier;

    return ngx_mcp_connect_fetch(cc, &req, &is->login_fetch, &login->token,
                                 ngx_mcp_login_answered);
}


static void
ngx_mcp_login_answered(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    const char          *reason;
    mcp_oauth_answer_t   a;

    static mcp_str_t  generic = mcp_string("generic");

    ngx_mcp_connect_answer(cc, mcp_oauth_provider(&generic), &a);

    if (a.class != MCP_OAUTH_OK || a.id_token.len == 0) {
        ngx_log_error(NGX_LOG_ERR, cc->request->connection->log, 0,
                      "mcp_issuer \"%V\": a sign-in failed at the token "
                      "endpoint: %s%s%s", &cc->conf->issuer->name,
                      mcp_oauth_class_name(a.class),
                      a.error ? ", " : "",
                      a.error ? a.error : ", no ID token");

        ngx_mcp_login_refuse(cc, "login_provider");
        return;
    }

    cc->id_token = a.id_token;
    cc->jwt = mcp_jwt_parse(&cc->id_token, MCP_OAUTH_TOKEN, &reason);

    if (cc->jwt == NULL) {
        ngx_mcp_login_refuse(cc, reason);
        return;
    }

    ngx_mcp_login_keys(cc, NGX_OK);
}


/* As the access phase does it: no key, or new keys, may be waited for. */
static void
ngx_mcp_login_keys(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    int                vrc;
    time_t             retry;
    uint64_t           generation;
    const char        *reason;
    mcp_jwk_set_t     *set;
    ngx_mcp_issuer_t  *is;

    is = cc->conf->issuer;

    cc->done = ngx_mcp_login_keys;
    cc->waiter.wake = ngx_mcp_connect_woken;
    cc->waiter.data = cc;

    for ( ;; ) {
        rc = ngx_mcp_keys_get(is, &cc->waiter, &set, &generation, &retry);

        if (rc != NGX_OK) {
            break;
        }

        reason = NULL;
        vrc = mcp_jwt_verify(cc->jwt, &is->jwt, set, &reason);

        if (vrc == MCP_OK) {
            ngx_mcp_login_verified(cc);
            return;
        }

        if (vrc == MCP_ERROR || cc->key_tries++ == NGX_MCP_LOGIN_KEYS) {
            ngx_mcp_login_refuse(cc, reason ? reason : "unknown_kid");
            return;
        }

        rc = ngx_mcp_keys_unknown_kid(is, generation, &cc->waiter);

        if (rc == NGX_DECLINED) {
            ngx_mcp_login_refuse(cc, "unknown_kid");
            return;
        }

        if (rc != NGX_OK) {
            break;
        }
    }

    if (rc == NGX_AGAIN) {
        ngx_mcp_connect_wait(cc);
        return;
    }

    ngx_mcp_connect_audit(cc, cc->method, "error", "no_keys");
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
}


static void
ngx_mcp_login_verified(ngx_mcp_connect_ctx_t *cc)
{
    mcp_mem_t        mem;
    ngx_int_t        rc;
    const char      *reason;
    mcp_id_token_t   id;

    mem = ngx_mcp_mem(cc->request->pool);

    if (mcp_id_token_claims(cc->jwt, &cc->conf->issuer->jwt,
                            (mcp_str_t *) &cc->conf->issuer->client_id,
                            &cc->state.nonce, ngx_time(), &mem, &id, &reason)
        != MCP_OK)
    {
        ngx_mcp_login_refuse(cc, reason);
        return;
    }

    rc = ngx_mcp_connect_person(cc, &id.user, ngx_time());

    if (rc == NGX_ERROR) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "revocation_unknown");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
        return;
    }

    if (rc != NGX_OK) {
        ngx_mcp_login_refuse(cc, "revoked");
        return;
    }

    cc->session.issuer = cc->conf->issuer->jwt.issuer;
    cc->session.user = id.user;
    cc->session.name = id.name;

    if (ngx_mcp_connect_session_begin(cc) != NGX_OK) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_mcp_connect_audit(cc, cc->method, "allow", "allow");

    if (cc->state.to.len) {
        ngx_mcp_connect_see_query(cc, "start/", &cc->state.to,
                                  &cc->state.ticket);
        return;
    }

    ngx_mcp_connect_see_own(cc, "", NULL);
}


static void
ngx_mcp_login_refuse(ngx_mcp_connect_ctx_t *cc, const char *reason)
{
    ngx_mcp_connect_audit(cc, cc->method, "deny", reason);
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_LOGIN_FAILED);
}


/* POST logout */
void
ngx_mcp_connect_logout(ngx_mcp_connect_ctx_t *cc)
{
    ngx_int_t  rc;

    /* to the end of the cookie: then there is nothing to forget.  A form of
     * another site comes without cookies, and does not take them either */

    rc = ngx_mcp_connect_session(cc, MCP_CONNECT_SESSION + MCP_CONNECT_STATE);

    if (rc == NGX_ERROR) {
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_SIGNED_OUT);
        return;
    }

    if (ngx_mcp_connect_args(cc) != NGX_OK
        || !ngx_mcp_connect_csrf_good(cc, "logout", NULL))
    {
        ngx_mcp_connect_audit(cc, "connect/refuse", "deny", "connect_form");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_FORM_OVER);
        return;
    }

    if (ngx_mcp_connect_session_end(cc) != NGX_OK) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_mcp_connect_say(cc, NGX_MCP_SAY_SIGNED_OUT);
}
