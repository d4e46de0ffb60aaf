/*
 * The last token of a connection and its key in the cache.  See ngx_mcp_memo.h.
 *
 * Always true: `key` is that of the first `len` bytes of `token`, or len is 0.
 */

#include "ngx_mcp_memo.h"


/* longer tokens are hashed each time */
#define NGX_MCP_MEMO_MAX   4096
#define NGX_MCP_MEMO_UNIT  256


typedef struct {
    u_char               key[NGX_MCP_DIGEST];
    size_t               len;
    size_t               size;          /* of token; 0: none */
    u_char              *token;
} ngx_mcp_memo_t;


static ngx_connection_t *ngx_mcp_memo_connection(ngx_http_request_t *r);
static ngx_mcp_memo_t *ngx_mcp_memo_find(ngx_connection_t *c);
static ngx_uint_t ngx_mcp_memo_is(ngx_mcp_memo_t *memo, ngx_str_t *token);
static void ngx_mcp_memo_set(ngx_connection_t *c, ngx_mcp_memo_t *memo,
    ngx_str_t *token, u_char *key);
static void ngx_mcp_memo_wipe(void *data);


void
ngx_mcp_memo_key(ngx_http_request_t *r, ngx_mcp_cache_t *cache,
    ngx_str_t *token, u_char *key)
{
    ngx_mcp_memo_t    *memo;
    ngx_connection_t  *c;

    c = ngx_mcp_memo_connection(r);

    if (c->requests < 2) {
        ngx_mcp_cache_key(cache, token, key);
        return;
    }

    memo = ngx_mcp_memo_find(c);

    if (memo && ngx_mcp_memo_is(memo, token)) {
        ngx_memcpy(key, memo->key, NGX_MCP_DIGEST);
        return;
    }

    ngx_mcp_cache_key(cache, token, key);

    if (token->len <= NGX_MCP_MEMO_MAX) {
        ngx_mcp_memo_set(c, memo, token, key);
    }
}


/* A stream of HTTP/2 has a connection of its own, for one request. */
static ngx_connection_t *
ngx_mcp_memo_connection(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)
    if (r->stream) {
        return r->stream->connection->connection;
    }
#endif

    return r->connection;
}


static ngx_mcp_memo_t *
ngx_mcp_memo_find(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mcp_memo_wipe) {
            return cln->data;
        }
    }

    return NULL;
}


/* A connection may have several users: how far they agree is not told by the
 * time this takes. */
static ngx_uint_t
ngx_mcp_memo_is(ngx_mcp_memo_t *memo, ngx_str_t *token)
{
    size_t    i;
    uint64_t  a, b, differ;

    if (token->len == 0 || memo->len != token->len) {
        return 0;
    }

    differ = 0;

    for (i = 0; i + sizeof(a) <= token->len; i += sizeof(a)) {
        ngx_memcpy(&a, memo->token + i, sizeof(a));
        ngx_memcpy(&b, token->data + i, sizeof(b));
        differ |= a ^ b;
    }

    for ( /* void */ ; i < token->len; i++) {
        differ |= (uint64_t) (memo->token[i] ^ token->data[i]);
    }

    return differ == 0;
}


/* Without memory there is no memo. */
static void
ngx_mcp_memo_set(ngx_connection_t *c, ngx_mcp_memo_t *memo, ngx_str_t *token,
    u_char *key)
{
    size_t               size;
    u_char              *p;
    ngx_pool_cleanup_t  *cln;

    if (memo == NULL) {
        cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_mcp_memo_t));
        if (cln == NULL) {
            return;
        }

        memo = cln->data;
        ngx_memzero(memo, sizeof(ngx_mcp_memo_t));

        cln->handler = ngx_mcp_memo_wipe;
    }

    ngx_mcp_memo_wipe(memo);

    if (memo->size < token->len) {

        /* twice as large each time: what is left behind is less than that */

        size = ngx_min(ngx_max(ngx_align(token->len, NGX_MCP_MEMO_UNIT),
                               2 * memo->size),
                       NGX_MCP_MEMO_MAX);

        p = ngx_pnalloc(c->pool, size);
        if (p == NULL) {
            return;
        }

        memo->token = p;
        memo->size = size;
    }

    ngx_memcpy(memo->token, token->data, token->len);
    ngx_memcpy(memo->key, key, NGX_MCP_DIGEST);
    memo->len = token->len;
}


static void
ngx_mcp_memo_wipe(void *data)
{
    ngx_mcp_memo_t *memo = data;

    if (memo->len) {
        ngx_explicit_memzero(memo->token, memo->len);
        memo->len = 0;
    }
}
