/*
 * What mcp_connect keeps in Redis for ten minutes: states, which are in the
 * browser's hands while a provider has it, and tickets, which an MCP client
 * shows to its person.
 *
 *     PREFIX st:HASH  PREFIX tk:HASH     HASH: hex SHA-256 of the secret
 *
 * The secret itself is not there, and what is there is sealed under the vault's
 * keys, for that key alone.  A state is taken with GETDEL: of two requests that
 * bring it one gets it, over all nodes.  Redis that does not answer has taken
 * it, perhaps: the person begins again.
 */

#include "ngx_mcp_connect.h"

#include <openssl/rand.h>
#include <openssl/sha.h>


#define NGX_MCP_CONNECT_KEY   256       /* bytes */


static ngx_int_t ngx_mcp_connect_key(ngx_mcp_main_conf_t *mmcf,
    const char *kind, mcp_str_t *secret, u_char *buf, ngx_str_t *key,
    mcp_vault_owner_t *owner);
static ngx_int_t ngx_mcp_connect_ask(ngx_mcp_connect_ctx_t *cc,
    const char *command, const char *kind, mcp_str_t *secret);
static void ngx_mcp_connect_was_put(void *data, redisReply *reply);
static void ngx_mcp_connect_was_got(void *data, redisReply *reply);
static void ngx_mcp_connect_complain(ngx_mcp_connect_ctx_t *cc,
    redisReply *reply);


/* Bytes that are enough for a secret of n random bytes in base64url. */
ngx_int_t
ngx_mcp_connect_random(ngx_mcp_connect_ctx_t *cc, mcp_str_t *text)
{
    u_char     raw[NGX_MCP_CONNECT_RANDOM];
    ngx_str_t  src, dst;

    text->data = ngx_mcp_connect_secret(cc, NGX_MCP_CONNECT_RANDOM_TEXT);

    if (text->data == NULL || RAND_bytes(raw, sizeof(raw)) != 1) {
        return NGX_ERROR;
    }

    src.data = raw;
    src.len = sizeof(raw);
    dst.data = text->data;

    ngx_encode_base64url(&dst, &src);

    text->len = dst.len;
    ngx_explicit_memzero(raw, sizeof(raw));

    return NGX_OK;
}


/* Stored: done is called once.  NGX_ERROR: it is not. */
ngx_int_t
ngx_mcp_connect_put(ngx_mcp_connect_ctx_t *cc, const char *kind,
    mcp_str_t *secret, mcp_str_t *text, ngx_mcp_connect_pt done)
{
    size_t             len;
    u_char             buf[NGX_MCP_CONNECT_KEY], ms[NGX_INT64_LEN];
    ngx_str_t          argv[6];
    mcp_vault_owner_t  owner;

    argv[2].data = ngx_pnalloc(cc->request->pool,
                               text->len + MCP_VAULT_OVERHEAD);

    if (argv[2].data == NULL
        || ngx_mcp_connect_key(cc->mmcf, kind, secret, buf, &argv[1], &owner)
           != NGX_OK
        || mcp_vault_seal(&cc->mmcf->vault_keys, &owner, NGX_MCP_CONNECT_SEAL,
                          0, text, argv[2].data, &len)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    argv[2].len = len;

    ngx_str_set(&argv[0], "SET");
    ngx_str_set(&argv[3], "PX");
    argv[4].data = ms;
    argv[4].len = ngx_sprintf(ms, "%ui", (ngx_uint_t)
                              NGX_MCP_CONNECT_STATE * 1000) - ms;
    ngx_str_set(&argv[5], "NX");

    cc->done = done;

    if (ngx_mcp_redis_send(cc->mmcf->redis_client, 6, argv,
                           ngx_mcp_connect_was_put, cc, &cc->redis)
        != NGX_AGAIN)
    {
        cc->redis = NULL;
        return NGX_ERROR;
    }

    ngx_mcp_connect_wait(cc);

    return NGX_OK;
}


static void
ngx_mcp_connect_was_put(void *data, redisReply *reply)
{
    ngx_mcp_connect_ctx_t *cc = data;

    ngx_int_t  rc;

    cc->redis = NULL;

    ngx_mcp_connect_complain(cc, reply);

    rc = (reply && reply->type == REDIS_REPLY_STATUS
          && ngx_strcmp(reply->str, "OK") == 0) ? NGX_OK : NGX_ERROR;

    ngx_mcp_connect_go(cc, rc);
}


/*
 * done is called with NGX_OK and cc->text, NGX_DECLINED: there is none (any
 * more), or NGX_ERROR: nobody knows.  look leaves it there, take does not.
 */
ngx_int_t
ngx_mcp_connect_take(ngx_mcp_connect_ctx_t *cc, const char *kind,
    mcp_str_t *secret, ngx_mcp_connect_pt done)
{
    cc->done = done;

    return ngx_mcp_connect_ask(cc, "GETDEL", kind, secret);
}


ngx_int_t
ngx_mcp_connect_look(ngx_mcp_connect_ctx_t *cc, const char *kind,
    mcp_str_t *secret, ngx_mcp_connect_pt done)
{
    cc->done = done;

    return ngx_mcp_connect_ask(cc, "GET", kind, secret);
}


static ngx_int_t
ngx_mcp_connect_ask(ngx_mcp_connect_ctx_t *cc, const char *command,
    const char *kind, mcp_str_t *secret)
{
    u_char     buf[NGX_MCP_CONNECT_KEY];
    ngx_str_t  argv[2];

    argv[0].data = (u_char *) command;
    argv[0].len = ngx_strlen(command);

    if (ngx_mcp_connect_key(cc->mmcf, kind, secret, buf, &argv[1],
                            &cc->sealed_for)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the name outlives this call: for whom it is sealed */

    cc->sealed_for.subject.len = argv[1].len - cc->mmcf->redis->prefix.len;
    cc->sealed_for.subject.data = ngx_pnalloc(cc->request->pool, argv[1].len);
    if (cc->sealed_for.subject.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(cc->sealed_for.subject.data,
               argv[1].data + cc->mmcf->redis->prefix.len,
               cc->sealed_for.subject.len);

    if (ngx_mcp_redis_send(cc->mmcf->redis_client, 2, argv,
                           ngx_mcp_connect_was_got, cc, &cc->redis)
        != NGX_AGAIN)
    {
        cc->redis = NULL;
        return NGX_ERROR;
    }

    ngx_mcp_connect_wait(cc);

    return NGX_OK;
}


static void
ngx_mcp_connect_was_got(void *data, redisReply *reply)
{
    ngx_mcp_connect_ctx_t *cc = data;

    size_t     len;
    mcp_str_t  sealed;

    cc->redis = NULL;

    ngx_mcp_connect_complain(cc, reply);

    if (reply && reply->type == REDIS_REPLY_NIL) {
        ngx_mcp_connect_go(cc, NGX_DECLINED);
        return;
    }

    if (reply == NULL || reply->type != REDIS_REPLY_STRING
        || (size_t) reply->len > MCP_VAULT_VALUE)
    {
        ngx_mcp_connect_go(cc, NGX_ERROR);
        return;
    }

    sealed.data = (u_char *) reply->str;
    sealed.len = reply->len;

    cc->text.data = ngx_mcp_connect_secret(cc, sealed.len + 1);
    if (cc->text.data == NULL) {
        ngx_mcp_connect_go(cc, NGX_ERROR);
        return;
    }

    if (mcp_vault_open(&cc->mmcf->vault_keys, &cc->sealed_for,
                       NGX_MCP_CONNECT_SEAL, 0, &sealed, cc->text.data, &len)
        != MCP_OK)
    {
        ngx_mcp_connect_go(cc, NGX_DECLINED);
        return;
    }

    cc->text.len = len;

    ngx_mcp_connect_go(cc, NGX_OK);
}


/* What the person sees as "not now" may be no passing thing.  Of the text only
 * the first word: the rest repeats what was asked. */
static void
ngx_mcp_connect_complain(ngx_mcp_connect_ctx_t *cc, redisReply *reply)
{
    size_t       n;
    const char  *why;

    static const char  unknown[] = "ERR unknown command";

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    why = (ngx_strncmp(reply->str, unknown, sizeof(unknown) - 1) == 0)
          ? ", an unknown command: Redis 6.2 is needed" : "";

    for (n = 0; n < 32 && n < reply->len; n++) {
        if (reply->str[n] <= ' ' || reply->str[n] > '~') {
            break;
        }
    }

    ngx_log_error(NGX_LOG_ERR, cc->request->connection->log, 0,
                  "mcp_redis \"%V\": mcp_connect was refused: %*s%s",
                  &cc->mmcf->redis->server, n, reply->str, why);
}


/* The key, in buf, and for whom its value is sealed: the key itself. */
static ngx_int_t
ngx_mcp_connect_key(ngx_mcp_main_conf_t *mmcf, const char *kind,
    mcp_str_t *secret, u_char *buf, ngx_str_t *key, mcp_vault_owner_t *owner)
{
    u_char      *p;
    ngx_str_t   *prefix;
    u_char       hash[SHA256_DIGEST_LENGTH];

    prefix = &mmcf->redis->prefix;

    if (prefix->len > 64) {
        return NGX_ERROR;
    }

    SHA256(secret->data, secret->len, hash);

    p = ngx_sprintf(buf, "%V%s:", prefix, kind);
    p = ngx_hex_dump(p, hash, sizeof(hash));

    key->data = buf;
    key->len = p - buf;

    ngx_memzero(owner, sizeof(mcp_vault_owner_t));

    owner->subject.data = buf + prefix->len;
    owner->subject.len = key->len - prefix->len;

    return NGX_OK;
}
