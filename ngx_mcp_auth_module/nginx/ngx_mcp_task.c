/*
 * Tasks and their owners.
 *
 * The id of a task is the server's, and often a guess away from another's.  So
 * the gateway notes who was answered with it: in the zone, for as long as the
 * server keeps the task, under a keyed digest of server and id, a keyed digest
 * of issuer, user and client.  The first owner stays.  What is not noted (any
 * more: another node made it, the zone was full, nginx was restarted) is
 * nobody's.
 */

#include "ngx_mcp_task.h"

#include <openssl/crypto.h>


#define NGX_MCP_TASK_LEAST    60                /* s */
#define NGX_MCP_TASK_DEFAULT  86400
#define NGX_MCP_TASK_MOST     (7 * 86400)


static ngx_mcp_main_conf_t *ngx_mcp_task_conf(ngx_mcp_ctx_t *ctx);
static void ngx_mcp_task_digest(ngx_mcp_main_conf_t *mmcf, const char *what,
    const mcp_str_t *parts, ngx_uint_t n, u_char *out);
static void ngx_mcp_task_key(ngx_mcp_ctx_t *ctx, const mcp_str_t *id,
    u_char *key, u_char *owner);
static time_t ngx_mcp_task_time(const mcp_str_t *ttl);


ngx_int_t
ngx_mcp_task_made(ngx_mcp_ctx_t *ctx, const mcp_str_t *id,
    const mcp_str_t *ttl)
{
    time_t                expires;
    u_char                key[MCP_DIGEST_RAW], owner[MCP_DIGEST_RAW];
    u_char                noted[MCP_DIGEST_RAW];
    uint64_t              generation;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_mcp_task_conf(ctx);

    ngx_mcp_task_key(ctx, id, key, owner);

    if (ngx_mcp_zone_token_get(mmcf->zone, key, ngx_time(), noted,
                               sizeof(noted), &expires, &generation)
        == (ssize_t) sizeof(noted)
        && CRYPTO_memcmp(noted, owner, sizeof(owner)) != 0)
    {
        return NGX_DECLINED;
    }

    return ngx_mcp_zone_token_put(mmcf->zone, key,
                                  ngx_time() + ngx_mcp_task_time(ttl), 0,
                                  owner, sizeof(owner));
}


ngx_uint_t
ngx_mcp_task_owned(ngx_mcp_ctx_t *ctx, const mcp_str_t *id)
{
    time_t                expires;
    u_char                key[MCP_DIGEST_RAW], owner[MCP_DIGEST_RAW];
    u_char                noted[MCP_DIGEST_RAW];
    uint64_t              generation;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_mcp_task_conf(ctx);

    ngx_mcp_task_key(ctx, id, key, owner);

    return ngx_mcp_zone_token_get(mmcf->zone, key, ngx_time(), noted,
                                  sizeof(noted), &expires, &generation)
           == (ssize_t) sizeof(noted)
           && CRYPTO_memcmp(noted, owner, sizeof(owner)) == 0;
}


static ngx_mcp_main_conf_t *
ngx_mcp_task_conf(ngx_mcp_ctx_t *ctx)
{
    return ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_mcp_auth_module);
}


static void
ngx_mcp_task_key(ngx_mcp_ctx_t *ctx, const mcp_str_t *id, u_char *key,
    u_char *owner)
{
    mcp_str_t             parts[4];
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_mcp_task_conf(ctx);

    parts[0] = *(mcp_str_t *) &ctx->server->name;
    parts[1] = *id;

    ngx_mcp_task_digest(mmcf, "task", parts, 2, key);

    parts[1] = ctx->principal->iss;
    parts[2] = ctx->principal->user;
    parts[3] = ctx->principal->client;

    ngx_mcp_task_digest(mmcf, "owner", parts, 4, owner);
}


/* Each part with its length, so that no two lists are alike. */
static void
ngx_mcp_task_digest(ngx_mcp_main_conf_t *mmcf, const char *what,
    const mcp_str_t *parts, ngx_uint_t n, u_char *out)
{
    uint64_t      len;
    ngx_uint_t    i;
    mcp_digest_t  d;

    mcp_digest_init(&d, &mmcf->zone_digest);
    mcp_digest_update(&d, what, ngx_strlen(what) + 1);

    for (i = 0; i < n; i++) {
        len = parts[i].len;
        mcp_digest_update(&d, &len, sizeof(len));
        mcp_digest_update(&d, parts[i].data, parts[i].len);
    }

    mcp_digest_raw(&d, &mmcf->zone_digest, out);
}


/* In s; what is no number of digits is the default. */
static time_t
ngx_mcp_task_time(const mcp_str_t *ttl)
{
    time_t  ms;

    ms = ngx_atotm(ttl->data, ttl->len);

    if (ttl->len == 0 || ms == (time_t) NGX_ERROR) {
        return NGX_MCP_TASK_DEFAULT;
    }

    return ngx_min(ngx_max(ms / 1000, NGX_MCP_TASK_LEAST), NGX_MCP_TASK_MOST);
}
