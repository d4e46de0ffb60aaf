/*
 * Sessions of the legacy era.
 *
 * An upstream's Mcp-Session-Id is a bearer secret: whoever has it is in the
 * session.  So the client never gets it, but the same sealed (core/mcp_seal)
 * for server, issuer, user and client.  It is not bound to the token: a client
 * that refreshed its token keeps its session.  Nothing is stored: any worker,
 * and any gateway with the same mcp_session_key, opens it.
 *
 * Called by the access phase before the policy, by the swap (which puts
 * ctx->upstream_session upstream) and by the header filter.  The 2026-07-28 era
 * has no sessions: there the header is taken away, both ways.
 */

#include "ngx_mcp_session.h"
#include "ngx_mcp_conf.h"
#include "ngx_mcp_reply.h"


#define NGX_MCP_SESSION_MAX    1024     /* bytes of an upstream's id */
#define NGX_MCP_SESSION_PARTS  4

/* before the id: the client opens URLs (elicitation.url), or did not say so */
#define NGX_MCP_SESSION_ELICIT  'u'
#define NGX_MCP_SESSION_PLAIN   '-'


static void ngx_mcp_session_parts(ngx_mcp_ctx_t *ctx, mcp_str_t *parts);
static ngx_int_t ngx_mcp_session_open(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_uint_t ngx_mcp_session_needed(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_uint_t ngx_mcp_session_valid(ngx_str_t *id);
static ngx_int_t ngx_mcp_session_seal(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_str_t *id);


char *
ngx_mcp_session_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    int         rc;
    ngx_str_t  *value, secret;
    ngx_uint_t  i;

    if (mmcf->sessions.nkeys) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_mcp_conf_key_file(cf, &value[i], &secret) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        rc = mcp_seal_add(&mmcf->sessions, (mcp_str_t *) &secret, "session");

        if (rc == MCP_OK) {
            rc = mcp_seal_add(&mmcf->browsers, (mcp_str_t *) &secret,
                              "connect session");
        }

        if (rc == MCP_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the key in \"%V\" is there twice, or is one "
                               "of more than %d", &value[i], MCP_SEAL_KEYS);
            return NGX_CONF_ERROR;
        }

        if (rc != MCP_OK) {
            return "failed";
        }
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mcp_session_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    mcp_str_t  secret;

    if (mmcf->sessions.nkeys == 0) {
        secret.data = ngx_mcp_zone_secret(mmcf->zone);
        secret.len = MCP_SEAL_KEY;

        if (mcp_seal_add(&mmcf->sessions, &secret, "session") != MCP_OK) {
            return NGX_ERROR;
        }
    }

    /* lives as long as the worker */

    mmcf->seal = EVP_CIPHER_CTX_new();

    return mmcf->seal ? NGX_OK : NGX_ERROR;
}


void
ngx_mcp_session_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    EVP_CIPHER_CTX_free(mmcf->seal);
    mmcf->seal = NULL;
}


ngx_int_t
ngx_mcp_session_request(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->message && ctx->message->era == MCP_ERA_MODERN) {
        return NGX_OK;
    }

    if (ctx->session.data == NULL) {

        if (ngx_mcp_session_needed(r, ctx)) {
            return ngx_mcp_reply_error(r, ctx, NGX_HTTP_BAD_REQUEST, -32600,
                                       "Mcp-Session-Id required",
                                       "no_session");
        }

        return NGX_OK;
    }

    rc = ngx_mcp_session_open(r, ctx);

    if (rc == NGX_DECLINED) {

        /* what a server says of a session that is over: begin a new one */

        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_NOT_FOUND, 404,
                                   "Session not found", "session");
    }

    return rc == NGX_OK ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/*
 * An answer to the server, the end of a session, or the replay of a stream, are
 * about somebody's session; without one they would be about anybody's.
 */
static ngx_uint_t
ngx_mcp_session_needed(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    if (ctx->message) {
        return ctx->message->kind == MCP_RESPONSE;
    }

    return r->method == NGX_HTTP_DELETE || ctx->last_event_id.data != NULL;
}


static void
ngx_mcp_session_parts(ngx_mcp_ctx_t *ctx, mcp_str_t *parts)
{
    parts[0] = *(mcp_str_t *) &ctx->server->name;
    parts[1] = ctx->principal->iss;
    parts[2] = ctx->principal->user;
    parts[3] = ctx->principal->client;
}


static ngx_int_t
ngx_mcp_session_open(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    int                   rc;
    u_char               *p;
    size_t                len;
    mcp_str_t             parts[NGX_MCP_SESSION_PARTS];
    ngx_mcp_main_conf_t  *mmcf;

    if (ctx->session.len > mcp_seal_size(NGX_MCP_SESSION_MAX + 1)) {
        return NGX_DECLINED;
    }

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    p = ngx_pnalloc(r->pool, ctx->session.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_mcp_session_parts(ctx, parts);

    rc = mcp_seal_open(&mmcf->sessions, mmcf->seal, parts,
                       NGX_MCP_SESSION_PARTS, (mcp_str_t *) &ctx->session, p,
                       &len);
    if (rc != MCP_OK) {
        return rc == MCP_DECLINED ? NGX_DECLINED : NGX_ERROR;
    }

    /* one of before this version has no mark */

    if (len < 2
        || (p[0] != NGX_MCP_SESSION_ELICIT && p[0] != NGX_MCP_SESSION_PLAIN))
    {
        return NGX_DECLINED;
    }

    ctx->session_elicit = (p[0] == NGX_MCP_SESSION_ELICIT);

    /* the variables of a request's headers end in a NUL */

    p[len] = '\0';

    ctx->upstream_session.data = p + 1;
    ctx->upstream_session.len = len - 1;

    return NGX_OK;
}


ngx_int_t
ngx_mcp_session_response(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *found;

    static ngx_str_t  name = ngx_string("Mcp-Session-Id");

    if (ctx->session_sealed) {
        return NGX_OK;
    }

    ctx->session_sealed = 1;
    found = NULL;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash == 0
            || h[i].key.len != name.len
            || ngx_strncasecmp(h[i].key.data, name.data, name.len) != 0)
        {
            continue;
        }

        if (found) {
            return NGX_DECLINED;
        }

        found = &h[i];
    }

    if (found == NULL) {
        return NGX_OK;
    }

    if (ctx->message && ctx->message->era == MCP_ERA_MODERN) {
        found->hash = 0;
        return NGX_OK;
    }

    if (!ngx_mcp_session_valid(&found->value)) {
        return NGX_DECLINED;
    }

    /* for the record: who initializes has none until now */

    ctx->upstream_session = found->value;

    return ngx_mcp_session_seal(r, ctx, &found->value);
}


/* Visible ASCII, as the specification says. */
static ngx_uint_t
ngx_mcp_session_valid(ngx_str_t *id)
{
    size_t  i;

    if (id->len == 0 || id->len > NGX_MCP_SESSION_MAX) {
        return 0;
    }

    for (i = 0; i < id->len; i++) {
        if (id->data[i] < 0x21 || id->data[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}


/*
 * With the upstream's id is sealed what the client said it can do: it says so
 * once, when the session begins, and it matters later.
 */
static ngx_int_t
ngx_mcp_session_seal(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx, ngx_str_t *id)
{
    size_t                len;
    u_char               *p, *plain;
    mcp_str_t             parts[NGX_MCP_SESSION_PARTS], value;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    value.len = id->len + 1;

    plain = ngx_pnalloc(r->pool, value.len + mcp_seal_size(value.len));
    if (plain == NULL) {
        return NGX_ERROR;
    }

    p = plain + value.len;

    plain[0] = ((ctx->message && ctx->message->elicit_url)
                || ctx->session_elicit)
               ? NGX_MCP_SESSION_ELICIT : NGX_MCP_SESSION_PLAIN;
    ngx_memcpy(plain + 1, id->data, id->len);
    value.data = plain;

    ngx_mcp_session_parts(ctx, parts);

    if (mcp_seal(&mmcf->sessions, mmcf->seal, parts, NGX_MCP_SESSION_PARTS,
                 &value, p, &len)
        != MCP_OK)
    {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = len;

    return NGX_OK;
}
