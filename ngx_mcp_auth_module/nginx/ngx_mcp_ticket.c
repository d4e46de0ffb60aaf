/*
 * Tickets are made here, and taken by mcp_connect (ngx_mcp_connect_store.c):
 * PREFIX tk:HASH in Redis, HASH the SHA-256 of the ticket, sealed for that key,
 * for ten minutes.
 *
 * Who calls again and again fills nothing: a ticket that has five minutes left,
 * and was not used, is told again.  The zone remembers its text for all
 * workers, from before Redis has it, so that a hundred calls at once make one.
 */

#include "ngx_mcp_ticket.h"
#include "ngx_mcp_connect.h"
#include "ngx_mcp_vault.h"

#include <openssl/rand.h>
#include <openssl/sha.h>


#define NGX_MCP_TICKET_LEN   43         /* 32 random bytes in base64url */
#define NGX_MCP_TICKET_TIME  600        /* s */
#define NGX_MCP_TICKET_KEY   160        /* bytes of a key in Redis */
#define NGX_MCP_TICKET_SEAL  "connect"


struct ngx_mcp_ticket_s {
    ngx_mcp_redis_call_t    *redis;
    ngx_mcp_keys_waiter_t   *waiter;
    ngx_mcp_main_conf_t     *mmcf;
    ngx_int_t                rc;        /* NGX_AGAIN: Redis is asked */
    u_char                   zone_key[NGX_MCP_DIGEST];
    u_char                   text[NGX_MCP_TICKET_LEN];  /* that is told */
    u_char                   fresh[NGX_MCP_TICKET_LEN]; /* if the other one is
                                                           of no use */
};


static ngx_int_t ngx_mcp_ticket_start(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr, ngx_mcp_ticket_t *tk);
static ngx_int_t ngx_mcp_ticket_random(ngx_mcp_ticket_t *tk);
static ngx_int_t ngx_mcp_ticket_seal(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr, ngx_str_t *key,
    ngx_str_t *sealed, ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_ticket_key(ngx_mcp_main_conf_t *mmcf, u_char *text,
    u_char *buf, ngx_str_t *key);
static void ngx_mcp_ticket_asked(void *data, redisReply *reply);
static void ngx_mcp_ticket_cleanup(void *data);
static ngx_int_t ngx_mcp_ticket_url(ngx_http_request_t *r,
    ngx_mcp_credential_t *cr, ngx_mcp_ticket_t *tk, ngx_str_t *url);


/* KEYS: the ticket that was told before, a new one.  ARGV: the new one's value,
 * ms.  1: the old one is good for half of its time; 2: it is the new one. */
static const char  ngx_mcp_ticket_script[] =
    "if redis.call('PTTL', KEYS[1]) > ARGV[2] / 2 then "
        "return 1 "
    "end "
    "redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) "
    "return 2";


ngx_int_t
ngx_mcp_ticket_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_mcp_keys_waiter_t *w, ngx_str_t *url)
{
    ngx_mcp_ticket_t    *tk;
    ngx_http_cleanup_t  *cln;

    /* the operator's own page knows of no tickets, and what is not a request
     * is not answered with a URL */

    if (cr->connect == NULL || ctx->message == NULL
        || ctx->message->kind != MCP_REQUEST)
    {
        *url = cr->connect_url;
        return NGX_OK;
    }

    tk = ctx->ticket;

    if (tk && tk->rc != NGX_AGAIN) {
        return (tk->rc == NGX_OK) ? ngx_mcp_ticket_url(r, cr, tk, url)
                                  : NGX_ERROR;
    }

    if (tk == NULL) {
        tk = ngx_pcalloc(r->pool, sizeof(ngx_mcp_ticket_t));
        cln = ngx_http_cleanup_add(r, 0);

        if (tk == NULL || cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_mcp_ticket_cleanup;
        cln->data = tk;

        tk->mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
        tk->waiter = w;
        tk->rc = NGX_AGAIN;

        ctx->ticket = tk;
    }

    if (tk->redis) {
        return NGX_AGAIN;
    }

    return ngx_mcp_ticket_start(r, ctx, cr, tk);
}


static ngx_int_t
ngx_mcp_ticket_start(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_mcp_ticket_t *tk)
{
    time_t                expires;
    uint64_t              generation;
    u_char                name[MCP_VAULT_NAME], zone_key[NGX_MCP_DIGEST],
                          old[NGX_MCP_TICKET_KEY], fresh[NGX_MCP_TICKET_KEY];
    ngx_str_t             argv[7];
    mcp_vault_owner_t     owner;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = tk->mmcf;
    tk->rc = NGX_ERROR;

    if (mmcf->redis->prefix.len > 64
        || ngx_mcp_ticket_random(tk) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_mcp_ticket_key(mmcf, tk->fresh, fresh, &argv[4]);

    if (ngx_mcp_ticket_seal(r, ctx, cr, &argv[4], &argv[5], mmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the key of its text in the zone: no token's SHA-256 */

    ngx_mcp_vault_owner(ctx->principal, cr, &owner);
    mcp_vault_name(&owner, name);
    SHA256(name, MCP_VAULT_NAME, zone_key);

    if (ngx_mcp_zone_token_get(mmcf->zone, zone_key, ngx_time(), tk->text,
                               NGX_MCP_TICKET_LEN, &expires, &generation)
        != NGX_MCP_TICKET_LEN)
    {
        ngx_memcpy(tk->text, tk->fresh, NGX_MCP_TICKET_LEN);

        (void) ngx_mcp_zone_token_put(mmcf->zone, zone_key,
                                      ngx_time() + NGX_MCP_TICKET_TIME / 2, 1,
                                      tk->fresh, NGX_MCP_TICKET_LEN);
    }

    ngx_str_set(&argv[0], "EVAL");
    argv[1].data = (u_char *) ngx_mcp_ticket_script;
    argv[1].len = sizeof(ngx_mcp_ticket_script) - 1;
    ngx_str_set(&argv[2], "2");
    ngx_mcp_ticket_key(mmcf, tk->text, old, &argv[3]);
    ngx_str_set(&argv[6], "600000");

    if (ngx_mcp_redis_send(mmcf->redis_client, 7, argv, ngx_mcp_ticket_asked,
                           tk, &tk->redis)
        != NGX_AGAIN)
    {
        tk->redis = NULL;
        return NGX_ERROR;
    }

    ngx_memcpy(tk->zone_key, zone_key, NGX_MCP_DIGEST);
    tk->rc = NGX_AGAIN;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_mcp_ticket_random(ngx_mcp_ticket_t *tk)
{
    u_char     raw[32];
    ngx_str_t  src, dst;

    if (RAND_bytes(raw, sizeof(raw)) != 1) {
        return NGX_ERROR;
    }

    src.data = raw;
    src.len = sizeof(raw);
    dst.data = tk->fresh;

    ngx_encode_base64url(&dst, &src);
    ngx_explicit_memzero(raw, sizeof(raw));

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_ticket_seal(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_str_t *key, ngx_str_t *sealed,
    ngx_mcp_main_conf_t *mmcf)
{
    size_t                len;
    u_char               *p;
    mcp_buf_t             b;
    mcp_str_t             text;
    mcp_vault_owner_t     owner;
    mcp_connect_state_t   state;

    ngx_memzero(&state, sizeof(mcp_connect_state_t));

    state.kind = MCP_CONNECT_TICKET;
    state.credential = *(mcp_str_t *) &cr->name;
    state.person_issuer = ctx->principal->iss;
    state.person = ctx->principal->user;
    state.begun = ngx_time();

    p = ngx_pnalloc(r->pool, 2 * MCP_CONNECT_TEXT + MCP_VAULT_OVERHEAD);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, MCP_CONNECT_TEXT);
    mcp_connect_state_write(&b, &state);

    text.data = b.start;
    text.len = b.pos - b.start;

    /* as ngx_mcp_connect_store.c opens it: for the key without its prefix */

    ngx_memzero(&owner, sizeof(mcp_vault_owner_t));

    owner.subject.data = key->data + mmcf->redis->prefix.len;
    owner.subject.len = key->len - mmcf->redis->prefix.len;

    sealed->data = p + MCP_CONNECT_TEXT;

    if (b.overflow
        || mcp_vault_seal(&mmcf->vault_keys, &owner, NGX_MCP_TICKET_SEAL, 0,
                          &text, sealed->data, &len)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    sealed->len = len;

    return NGX_OK;
}


static void
ngx_mcp_ticket_key(ngx_mcp_main_conf_t *mmcf, u_char *text, u_char *buf,
    ngx_str_t *key)
{
    u_char  *p, hash[SHA256_DIGEST_LENGTH];

    SHA256(text, NGX_MCP_TICKET_LEN, hash);

    p = ngx_sprintf(buf, "%Vtk:", &mmcf->redis->prefix);
    p = ngx_hex_dump(p, hash, sizeof(hash));

    key->data = buf;
    key->len = p - buf;
}


static void
ngx_mcp_ticket_asked(void *data, redisReply *reply)
{
    ngx_mcp_ticket_t *tk = data;

    tk->redis = NULL;
    tk->rc = NGX_ERROR;

    if (reply && reply->type == REDIS_REPLY_INTEGER) {

        if (reply->integer == 2
            && ngx_memcmp(tk->text, tk->fresh, NGX_MCP_TICKET_LEN) != 0)
        {
            /* used, or too old */

            ngx_memcpy(tk->text, tk->fresh, NGX_MCP_TICKET_LEN);

            (void) ngx_mcp_zone_token_put(tk->mmcf->zone, tk->zone_key,
                                          ngx_time() + NGX_MCP_TICKET_TIME / 2,
                                          1, tk->text, NGX_MCP_TICKET_LEN);
        }

        tk->rc = NGX_OK;
    }

    tk->waiter->wake(tk->waiter->data);
}


static void
ngx_mcp_ticket_cleanup(void *data)
{
    ngx_mcp_ticket_t *tk = data;

    if (tk->redis) {
        ngx_mcp_redis_cancel(tk->redis);
        tk->redis = NULL;
    }

    ngx_explicit_memzero(tk->text, NGX_MCP_TICKET_LEN);
    ngx_explicit_memzero(tk->fresh, NGX_MCP_TICKET_LEN);
}


static ngx_int_t
ngx_mcp_ticket_url(ngx_http_request_t *r, ngx_mcp_credential_t *cr,
    ngx_mcp_ticket_t *tk, ngx_str_t *url)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, cr->connect->url.len + cr->name.len
                             + sizeof("start/?ticket=") - 1
                             + NGX_MCP_TICKET_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    url->data = p;

    p = ngx_cpymem(p, cr->connect->url.data, cr->connect->url.len);
    p = ngx_cpymem(p, "start/", sizeof("start/") - 1);
    p = ngx_cpymem(p, cr->name.data, cr->name.len);
    p = ngx_cpymem(p, "?ticket=", sizeof("?ticket=") - 1);
    p = ngx_cpymem(p, tk->text, NGX_MCP_TICKET_LEN);

    url->len = p - url->data;

    return NGX_OK;
}
