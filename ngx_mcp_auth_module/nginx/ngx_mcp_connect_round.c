/*
 * mcp_connect: to a provider and back, the same for a sign-in and for a grant.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_connect_pages.h"


#define NGX_MCP_CONNECT_CODE  4096      /* bytes */
#define NGX_MCP_CONNECT_URL   8192


static void ngx_mcp_connect_fetched(void *data, ngx_mcp_fetch_result_t *res);
static ngx_uint_t ngx_mcp_connect_issued(ngx_mcp_connect_ctx_t *cc,
    mcp_str_t *iss);
static ngx_uint_t ngx_mcp_connect_visible(mcp_str_t *text);


ngx_int_t
ngx_mcp_connect_leave(ngx_mcp_connect_ctx_t *cc, mcp_connect_away_t *away)
{
    u_char     *p;
    mcp_buf_t   b;

    p = ngx_mcp_connect_secret(cc, NGX_MCP_CONNECT_URL);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, NGX_MCP_CONNECT_URL);

    if (mcp_connect_away(&b, away) != MCP_OK) {
        return NGX_ERROR;
    }

    cc->location.data = b.start;
    cc->location.len = b.pos - b.start;

    return NGX_OK;
}


ngx_int_t
ngx_mcp_connect_put_state(ngx_mcp_connect_ctx_t *cc, mcp_str_t *secret,
    ngx_mcp_connect_pt done)
{
    u_char     *p;
    mcp_buf_t   b;
    mcp_str_t   text;

    p = ngx_mcp_connect_secret(cc, MCP_CONNECT_TEXT);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, MCP_CONNECT_TEXT);
    mcp_connect_state_write(&b, &cc->state);

    if (b.overflow) {
        return NGX_ERROR;
    }

    text.data = b.start;
    text.len = b.pos - b.start;

    return ngx_mcp_connect_put(cc, cc->state.kind == MCP_CONNECT_TICKET
                                   ? "tk" : "st", secret, &text, done);
}


ngx_int_t
ngx_mcp_connect_taken(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc,
    mcp_connect_kind_e kind)
{
    mcp_mem_t  mem;

    if (rc == NGX_ERROR) {
        ngx_mcp_connect_audit(cc, cc->method, "error", "connect_store");
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
        return NGX_ERROR;
    }

    mem = ngx_mcp_connect_mem(cc);

    if (rc == NGX_OK
        && mcp_connect_state_parse(&cc->text, &mem, &cc->state) == MCP_OK
        && cc->state.kind == kind
        && ngx_time() - cc->state.begun < MCP_CONNECT_STATE
        && cc->state.begun <= ngx_time() + 60)
    {
        return NGX_OK;
    }

    ngx_mcp_connect_audit(cc, cc->method, "deny",
                          kind == MCP_CONNECT_TICKET ? "connect_ticket"
                                                     : "connect_state");
    ngx_mcp_connect_say(cc, kind == MCP_CONNECT_TICKET
                            ? NGX_MCP_SAY_TICKET_OVER
                            : NGX_MCP_SAY_STATE_OVER);
    return NGX_ERROR;
}


/* RFC 9207: an answer that names another issuer than was asked is somebody
 * else's, with an error in it or without.  The error's own text is not read. */
const char *
ngx_mcp_connect_came_back(ngx_mcp_connect_ctx_t *cc, ngx_uint_t iss,
    mcp_str_t *code)
{
    mcp_str_t  value;

    if (mcp_form_get(&cc->args, "iss", &value) == MCP_OK) {

        if (!ngx_mcp_connect_issued(cc, &value)) {
            return "connect_issuer";
        }

    } else if (iss) {
        return "connect_issuer";
    }

    if (mcp_form_get(&cc->args, "error", &value) == MCP_OK) {
        return "connect_refused";
    }

    if (mcp_form_get(&cc->args, "code", code) != MCP_OK
        || code->len > NGX_MCP_CONNECT_CODE
        || !ngx_mcp_connect_visible(code))
    {
        return "connect_code";
    }

    return NULL;
}


/*
 * The login issuer is known byte for byte.  Of a provider only the endpoints
 * are, and each has a redirect URI of its own: an issuer with the origin of one
 * of them is that provider.
 */
static ngx_uint_t
ngx_mcp_connect_issued(ngx_mcp_connect_ctx_t *cc, mcp_str_t *iss)
{
    ngx_uint_t      i;
    const char     *error;
    mcp_str_t      *endpoints[2];
    ngx_mcp_url_t   url, other;

    if (cc->state.kind == MCP_CONNECT_LOGIN) {
        return mcp_str_eq(iss, &cc->state.issuer);
    }

    endpoints[0] = &cc->credential->provider.authorize_endpoint;
    endpoints[1] = &cc->credential->provider.token_endpoint;

    if (ngx_mcp_url_parse(cc->request->pool, (ngx_str_t *) iss, &url, &error)
        != NGX_OK)
    {
        return 0;
    }

    for (i = 0; i < 2; i++) {

        if (ngx_mcp_url_parse(cc->request->pool, (ngx_str_t *) endpoints[i],
                              &other, &error)
               == NGX_OK
            && url.tls == other.tls && url.port == other.port
            && url.host.len == other.host.len
            && ngx_memcmp(url.host.data, other.host.data, url.host.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_mcp_connect_visible(mcp_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < 0x20 || text->data[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_mcp_connect_fetch(ngx_mcp_connect_ctx_t *cc, mcp_oauth_request_t *req,
    const ngx_mcp_fetch_conf_t *conf, ngx_mcp_url_t *url,
    ngx_mcp_connect_pt done)
{
    u_char                   *p;
    size_t                    size;
    mcp_buf_t                 headers, body;
    ngx_mcp_fetch_request_t   fr;

    /* three characters for one, at worst */

    size = 3 * (req->token.len + req->client_id.len + req->client_secret.len
                + req->assertion.len + req->redirect_uri.len
                + req->verifier.len + req->resource.len) + 1024;

    p = ngx_mcp_connect_secret(cc, 2 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&headers, p, size);
    mcp_buf_init(&body, p + size, size);

    if (mcp_oauth_request(req, &headers, &body) != MCP_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&fr, sizeof(ngx_mcp_fetch_request_t));

    fr.conf = conf;
    ngx_str_set(&fr.method, "POST");
    fr.url = *url;
    fr.headers.data = headers.start;
    fr.headers.len = headers.pos - headers.start;
    fr.body.data = body.start;
    fr.body.len = body.pos - body.start;
    fr.max_body = MCP_OAUTH_BODY;
    fr.done = ngx_mcp_connect_fetched;
    fr.data = cc;

    cc->done = done;

    if (ngx_mcp_fetch_start(&fr, ngx_cycle->log, &cc->fetch) != NGX_AGAIN) {
        cc->fetch = NULL;
        return NGX_ERROR;
    }

    ngx_mcp_connect_wait(cc);

    return NGX_OK;
}


static void
ngx_mcp_connect_fetched(void *data, ngx_mcp_fetch_result_t *res)
{
    ngx_mcp_connect_ctx_t *cc = data;

    cc->fetch = NULL;
    cc->res = res;

    ngx_mcp_connect_go(cc, NGX_OK);
}


/* What the answer to a code means; its strings are secrets of the request. */
void
ngx_mcp_connect_answer(ngx_mcp_connect_ctx_t *cc,
    const mcp_oauth_provider_t *provider, mcp_oauth_answer_t *a)
{
    mcp_mem_t            mem;
    mcp_oauth_request_t  req;

    if (cc->res->error) {
        ngx_memzero(a, sizeof(mcp_oauth_answer_t));

        a->class = cc->res->sent ? MCP_OAUTH_UNKNOWN : MCP_OAUTH_TRANSIENT;
        a->error = cc->res->sent ? "no_answer" : "not_sent";

        return;
    }

    ngx_memzero(&req, sizeof(mcp_oauth_request_t));

    req.provider = provider;
    req.grant = MCP_OAUTH_CODE;

    mem = ngx_mcp_connect_mem(cc);

    mcp_oauth_answer(&req, cc->res->status, (mcp_str_t *) &cc->res->body, &mem,
                     a);
}
