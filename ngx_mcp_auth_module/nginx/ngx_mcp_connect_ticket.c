/*
 * Tickets: what a call without a usable grant is answered with is an address
 * that is of use to its caller alone, once, for ten minutes.
 *
 *     PREFIX tp:RECORD   HASH of the ticket, and its secret, sealed; 5 min
 *     PREFIX tk:HASH     the ticket, sealed; 10 min
 *
 * A call that fails again is answered with the same ticket while it is neither
 * used nor older than five minutes: a client that tries without end fills
 * nothing.  One script does both, so that two gateways give out one.
 *
 * Called by the precontent phase when the credential was declined.  A ticket
 * that cannot be had is no reason to keep the address back: it goes without.
 */

#include "ngx_mcp_connect_ticket.h"
#include "ngx_mcp_vault.h"

#include <openssl/rand.h>
#include <openssl/sha.h>


#define NGX_MCP_TICKET_TEXT   43
#define NGX_MCP_TICKET_HASH   (2 * SHA256_DIGEST_LENGTH)
#define NGX_MCP_TICKET_ARGS   10


struct ngx_mcp_ticket_s {
    ngx_mcp_ctx_t           *ctx;
    ngx_mcp_asking_t         asking;
    ngx_mcp_redis_call_t    *call;      /* NULL: it was answered */
    const char              *reason;
    ngx_uint_t               good;
    mcp_vault_owner_t        sealed_for;
    u_char                   name[MCP_VAULT_NAME];
    u_char                   secret[64];
};


static ngx_int_t ngx_mcp_ticket_ask(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_mcp_ticket_t *tt);
static ngx_int_t ngx_mcp_ticket_text(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr, mcp_str_t *text);
static ngx_int_t ngx_mcp_ticket_seal(ngx_http_request_t *r,
    ngx_mcp_main_conf_t *mmcf, mcp_vault_owner_t *owner, mcp_str_t *value,
    size_t before, ngx_str_t *sealed);
static void ngx_mcp_ticket_owner(mcp_vault_owner_t *owner, u_char *key,
    size_t len);
static void ngx_mcp_ticket_got(void *data, redisReply *reply);
static ngx_int_t ngx_mcp_ticket_url(ngx_http_request_t *r,
    ngx_mcp_credential_t *cr, ngx_mcp_ticket_t *tt, ngx_str_t *url);
static void ngx_mcp_ticket_stop(void *data);
static void ngx_mcp_ticket_wipe(void *data);


/*
 * KEYS: tp:RECORD, tk:HASH.  ARGV: what stands before HASH, the new ticket, its
 * ms, what goes into tp, its ms.  The secret of the one that is there, sealed;
 * empty: the new one is.
 */
static const char  ngx_mcp_ticket_script[] =
    "local cur = redis.call('GET', KEYS[1]) "
    "if cur and redis.call('EXISTS', ARGV[1] .. string.sub(cur, 1, 64)) == 1 "
    "then "
        "return string.sub(cur, 65) "
    "end "
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) "
    "redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) "
    "return ''";


ngx_int_t
ngx_mcp_ticket_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, const char *reason, ngx_str_t *url)
{
    ngx_mcp_ticket_t     *tt;
    ngx_pool_cleanup_t   *cln;
    ngx_mcp_main_conf_t  *mmcf;

    tt = ctx->ticket;

    if (tt && tt->call) {
        return NGX_AGAIN;
    }

    /* who cannot sign in there has no use for one */

    if (tt == NULL
        && mcp_str_eq(&ctx->principal->iss, &cr->connect->issuer->jwt.issuer))
    {
        cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mcp_ticket_t));
        if (cln == NULL) {
            return NGX_ERROR;
        }

        tt = cln->data;
        ngx_memzero(tt, sizeof(ngx_mcp_ticket_t));

        cln->handler = ngx_mcp_ticket_wipe;

        tt->ctx = ctx;
        tt->reason = reason;
        ctx->ticket = tt;

        mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

        tt->asking.cancel = ngx_mcp_ticket_stop;
        tt->asking.data = tt;
        ngx_queue_insert_tail(&mmcf->asking, &tt->asking.queue);

        if (ngx_mcp_ticket_ask(r, ctx, cr, tt) == NGX_OK) {
            return NGX_AGAIN;
        }
    }

    return ngx_mcp_ticket_url(r, cr, tt, url);
}


const char *
ngx_mcp_ticket_reason(ngx_mcp_ctx_t *ctx)
{
    return ctx->ticket ? ctx->ticket->reason : NULL;
}


void
ngx_mcp_ticket_cancel(ngx_mcp_ctx_t *ctx)
{
    if (ctx->ticket) {
        ngx_mcp_ticket_stop(ctx->ticket);
    }
}


static void
ngx_mcp_ticket_stop(void *data)
{
    ngx_mcp_ticket_t *tt = data;

    if (tt->call) {
        ngx_mcp_redis_cancel(tt->call);
        tt->call = NULL;
    }
}


static ngx_int_t
ngx_mcp_ticket_ask(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_mcp_ticket_t *tt)
{
    u_char                *p;
    mcp_str_t              text, secret;
    ngx_str_t              argv[NGX_MCP_TICKET_ARGS], raw, dst, *prefix;
    mcp_vault_owner_t      owner;
    ngx_mcp_main_conf_t   *mmcf;
    u_char                 bytes[32], hash[SHA256_DIGEST_LENGTH],
                           keys[512];

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    prefix = &mmcf->redis->prefix;

    if (prefix->len > 64 || RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return NGX_ERROR;
    }

    raw.data = bytes;
    raw.len = sizeof(bytes);
    dst.data = tt->secret;

    ngx_encode_base64url(&dst, &raw);
    ngx_explicit_memzero(bytes, sizeof(bytes));

    secret.data = dst.data;
    secret.len = dst.len;

    SHA256(secret.data, secret.len, hash);

    ngx_mcp_vault_owner(ctx->principal, cr, &owner);
    mcp_vault_name(&owner, tt->name);

    ngx_str_set(&argv[0], "EVAL");
    argv[1].data = (u_char *) ngx_mcp_ticket_script;
    argv[1].len = sizeof(ngx_mcp_ticket_script) - 1;
    ngx_str_set(&argv[2], "2");

    argv[3].data = keys;
    p = ngx_sprintf(keys, "%Vtp:%*s", prefix, (size_t) MCP_VAULT_NAME,
                    tt->name);
    argv[3].len = p - keys;

    argv[4].data = p;
    p = ngx_sprintf(p, "%Vtk:", prefix);

    argv[5].data = argv[4].data;
    argv[5].len = p - argv[4].data;

    p = ngx_hex_dump(p, hash, sizeof(hash));
    argv[4].len = p - argv[4].data;

    /* the secret is sealed for its record, the ticket for its key */

    ngx_mcp_ticket_owner(&tt->sealed_for, tt->name, MCP_VAULT_NAME);
    ngx_mcp_ticket_owner(&owner, argv[4].data + prefix->len,
                         argv[4].len - prefix->len);

    if (ngx_mcp_ticket_text(r, ctx, cr, &text) != NGX_OK
        || ngx_mcp_ticket_seal(r, mmcf, &owner, &text, 0, &argv[6]) != NGX_OK
        || ngx_mcp_ticket_seal(r, mmcf, &tt->sealed_for, &secret,
                               NGX_MCP_TICKET_HASH, &argv[8])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(argv[8].data, argv[5].data + argv[5].len, NGX_MCP_TICKET_HASH);

    ngx_str_set(&argv[7], "600000");
    ngx_str_set(&argv[9], "300000");

    if (ngx_mcp_redis_send(mmcf->redis_client, NGX_MCP_TICKET_ARGS, argv,
                           ngx_mcp_ticket_got, tt, &tt->call)
        != NGX_AGAIN)
    {
        tt->call = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_ticket_text(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, mcp_str_t *text)
{
    u_char               *p;
    mcp_buf_t             b;
    mcp_connect_state_t   st;

    p = ngx_pnalloc(r->pool, MCP_CONNECT_TEXT);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&st, sizeof(mcp_connect_state_t));

    st.kind = MCP_CONNECT_TICKET;
    st.credential = *(mcp_str_t *) &cr->name;
    st.person_issuer = ctx->principal->iss;
    st.person = ctx->principal->user;
    st.begun = ngx_time();

    mcp_buf_init(&b, p, MCP_CONNECT_TEXT);
    mcp_connect_state_write(&b, &st);

    text->data = b.start;
    text->len = b.pos - b.start;

    return b.overflow ? NGX_ERROR : NGX_OK;
}


/* before: bytes that are left free in front of it */
static ngx_int_t
ngx_mcp_ticket_seal(ngx_http_request_t *r, ngx_mcp_main_conf_t *mmcf,
    mcp_vault_owner_t *owner, mcp_str_t *value, size_t before,
    ngx_str_t *sealed)
{
    size_t  len;

    sealed->data = ngx_pnalloc(r->pool, before + value->len
                                        + MCP_VAULT_OVERHEAD);

    if (sealed->data == NULL
        || mcp_vault_seal(&mmcf->vault_keys, owner, NGX_MCP_CONNECT_SEAL, 0,
                          value, sealed->data + before, &len)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    sealed->len = before + len;

    return NGX_OK;
}


static void
ngx_mcp_ticket_owner(mcp_vault_owner_t *owner, u_char *key, size_t len)
{
    ngx_memzero(owner, sizeof(mcp_vault_owner_t));

    owner->subject.data = key;
    owner->subject.len = len;
}


static void
ngx_mcp_ticket_got(void *data, redisReply *reply)
{
    ngx_mcp_ticket_t *tt = data;

    size_t                len;
    u_char                out[64 + MCP_VAULT_OVERHEAD];
    mcp_str_t             sealed;
    ngx_mcp_main_conf_t  *mmcf;

    tt->call = NULL;

    mmcf = ngx_http_get_module_main_conf(tt->ctx->request,
                                         ngx_http_mcp_auth_module);

    if (reply && reply->type == REDIS_REPLY_STRING) {

        if (reply->len == 0) {
            tt->good = 1;

        } else if ((size_t) reply->len <= sizeof(out)) {

            sealed.data = (u_char *) reply->str;
            sealed.len = reply->len;

            if (mcp_vault_open(&mmcf->vault_keys, &tt->sealed_for,
                               NGX_MCP_CONNECT_SEAL, 0, &sealed, out, &len)
                == MCP_OK
                && len == NGX_MCP_TICKET_TEXT)
            {
                ngx_memcpy(tt->secret, out, len);
                tt->good = 1;
            }

            ngx_explicit_memzero(out, sizeof(out));
        }
    }

    ngx_mcp_access_wake(tt->ctx);
}


/* tt NULL, or not good: without a ticket */
static ngx_int_t
ngx_mcp_ticket_url(ngx_http_request_t *r, ngx_mcp_credential_t *cr,
    ngx_mcp_ticket_t *tt, ngx_str_t *url)
{
    u_char  *p;

    url->data = ngx_pnalloc(r->pool, cr->connect->url.len + cr->name.len + 128);
    if (url->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(url->data, "%Vstart/%V", &cr->connect->url, &cr->name);

    if (tt && tt->good) {
        p = ngx_sprintf(p, "?ticket=%*s", (size_t) NGX_MCP_TICKET_TEXT,
                        tt->secret);
    }

    url->len = p - url->data;

    return NGX_OK;
}


static void
ngx_mcp_ticket_wipe(void *data)
{
    ngx_mcp_ticket_t *tt = data;

    ngx_mcp_ticket_stop(tt);

    ngx_queue_remove(&tt->asking.queue);

    ngx_explicit_memzero(tt->secret, sizeof(tt->secret));
}
