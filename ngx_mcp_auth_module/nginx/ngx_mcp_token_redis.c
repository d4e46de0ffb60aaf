/*
 * Own tokens in Redis; ngx_mcp_token_redis.h is the contract.
 *
 * A query is one token's: a GET for each pepper, sent together, and those who
 * wait for the answer.  It is found by its first hash.  It lives until the
 * first record, the last reply, or until nobody waits for it; its commands are
 * cancelled then and what Redis says to them is nobody's.
 *
 * When a token was last used is written once in a while: a list of the tokens
 * that were noted lately, in order, keeps it from being more often.
 */

#include "ngx_mcp_token_redis.h"
#include "ngx_mcp_tree.h"


#define NGX_MCP_TOKEN_USED_TIME  600        /* s between two notes */
#define NGX_MCP_TOKEN_USED       4096       /* tokens that are remembered */
#define NGX_MCP_TOKEN_QUIET      60000      /* ms between two complaints */

#define NGX_MCP_TOKEN_HEX        (2 * MCP_ACCESS_KEY_HASH)


struct ngx_mcp_token_query_s {
    ngx_mcp_tree_node_t            node;    /* by its first hash */
    ngx_mcp_token_redis_t         *redis;
    ngx_queue_t                    asks;
    ngx_mcp_redis_call_t          *calls[MCP_PEPPERS];
    ngx_uint_t                     n;       /* calls that were sent */
    ngx_uint_t                     due;     /* replies */
    unsigned                       unknown:1;
    unsigned                       ended:1;
};


typedef struct {
    ngx_mcp_tree_node_t            node;    /* by its id */
    ngx_queue_t                    queue;   /* last noted first */
    time_t                         noted;
} ngx_mcp_token_used_t;


struct ngx_mcp_token_redis_s {
    ngx_mcp_main_conf_t           *mmcf;
    ngx_mcp_redis_t               *redis;
    ngx_str_t                      prefix;  /* of records */
    u_char                        *key;     /* prefix, and room for a hash */
    ngx_str_t                      used;    /* key */

    ngx_rbtree_t                   queries;
    ngx_rbtree_node_t              queries_end;
    ngx_rbtree_t                   noted;
    ngx_rbtree_node_t              noted_end;
    ngx_queue_t                    order;
    ngx_uint_t                     nnoted;

    const char                    *complaint;   /* the last one's command, */
    ngx_msec_t                     said;        /* and when */
};


static ngx_int_t ngx_mcp_token_query_send(ngx_mcp_token_query_t *query,
    u_char (*hashes)[MCP_ACCESS_KEY_HASH], ngx_uint_t n);
static void ngx_mcp_token_query_reply(void *data, redisReply *reply);
static void ngx_mcp_token_query_end(ngx_mcp_token_query_t *query,
    ngx_mcp_token_answer_e answer, ngx_str_t *line);
static void ngx_mcp_token_query_close(ngx_mcp_token_query_t *query);
static void ngx_mcp_token_noted(void *data, redisReply *reply);
static ngx_mcp_token_used_t *ngx_mcp_token_used_get(ngx_mcp_token_redis_t *tr,
    const mcp_str_t *id);
static void ngx_mcp_token_redis_complain(ngx_mcp_token_redis_t *tr,
    const char *command, redisReply *reply);


ngx_int_t
ngx_mcp_token_redis_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_token_redis_t  *tr;

    tr = ngx_pcalloc(cycle->pool, sizeof(ngx_mcp_token_redis_t));
    if (tr == NULL) {
        return NGX_ERROR;
    }

    tr->mmcf = mmcf;
    tr->redis = mmcf->redis_client;

    if (ngx_mcp_redis_key(mmcf->redis, cycle->pool, "tok:", NULL, &tr->prefix)
           != NGX_OK
        || ngx_mcp_redis_key(mmcf->redis, cycle->pool, "used", NULL, &tr->used)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    tr->key = ngx_pnalloc(cycle->pool, tr->prefix.len + NGX_MCP_TOKEN_HEX);
    if (tr->key == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(tr->key, tr->prefix.data, tr->prefix.len);

    ngx_rbtree_init(&tr->queries, &tr->queries_end, ngx_mcp_tree_order);
    ngx_rbtree_init(&tr->noted, &tr->noted_end, ngx_mcp_tree_order);
    ngx_queue_init(&tr->order);

    mmcf->token_redis = tr;

    return NGX_OK;
}


void
ngx_mcp_token_redis_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_queue_t            *q;
    ngx_rbtree_node_t      *node;
    ngx_mcp_token_ask_t    *ask;
    ngx_mcp_token_query_t  *query;
    ngx_mcp_token_redis_t  *tr;

    tr = mmcf->token_redis;

    if (tr == NULL) {
        return;
    }

    while (tr->queries.root != tr->queries.sentinel) {
        node = tr->queries.root;
        query = (ngx_mcp_token_query_t *) node;

        while (!ngx_queue_empty(&query->asks)) {
            q = ngx_queue_head(&query->asks);
            ask = ngx_queue_data(q, ngx_mcp_token_ask_t, queue);

            ngx_queue_remove(q);
            ask->query = NULL;
        }

        ngx_mcp_token_query_close(query);
    }

    while (!ngx_queue_empty(&tr->order)) {
        q = ngx_queue_head(&tr->order);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_mcp_token_used_t, queue));
    }

    mmcf->token_redis = NULL;
}


ngx_int_t
ngx_mcp_token_redis_find(ngx_mcp_main_conf_t *mmcf,
    u_char (*hashes)[MCP_ACCESS_KEY_HASH], ngx_uint_t n,
    ngx_mcp_token_ask_t *ask)
{
    ngx_mcp_token_query_t  *query;
    ngx_mcp_token_redis_t  *tr;

    tr = mmcf->token_redis;

    if (tr == NULL) {
        return NGX_ERROR;
    }

    query = (ngx_mcp_token_query_t *) ngx_mcp_tree_find(&tr->queries,
                                                        hashes[0]);

    if (query == NULL) {
        query = ngx_calloc(sizeof(ngx_mcp_token_query_t), ngx_cycle->log);
        if (query == NULL) {
            return NGX_ERROR;
        }

        query->redis = tr;
        ngx_queue_init(&query->asks);

        ngx_mcp_tree_insert(&tr->queries, &query->node, hashes[0]);

        if (ngx_mcp_token_query_send(query, hashes, n) != NGX_OK) {
            ngx_mcp_token_query_close(query);
            return NGX_ERROR;
        }
    }

    ask->query = query;
    ngx_queue_insert_tail(&query->asks, &ask->queue);

    return NGX_AGAIN;
}


void
ngx_mcp_token_redis_cancel(ngx_mcp_token_ask_t *ask)
{
    ngx_mcp_token_query_t  *query;

    query = ask->query;

    if (query == NULL) {
        return;
    }

    ask->query = NULL;
    ngx_queue_remove(&ask->queue);

    if (!query->ended && ngx_queue_empty(&query->asks)) {
        ngx_mcp_token_query_close(query);
    }
}


static ngx_int_t
ngx_mcp_token_query_send(ngx_mcp_token_query_t *query,
    u_char (*hashes)[MCP_ACCESS_KEY_HASH], ngx_uint_t n)
{
    ngx_str_t               args[2];
    ngx_uint_t              i;
    ngx_mcp_token_redis_t  *tr;

    tr = query->redis;

    ngx_str_set(&args[0], "GET");
    args[1].data = tr->key;
    args[1].len = tr->prefix.len + NGX_MCP_TOKEN_HEX;

    for (i = 0; i < n && i < MCP_PEPPERS; i++) {

        (void) ngx_hex_dump(tr->key + tr->prefix.len, hashes[i],
                            MCP_ACCESS_KEY_HASH);

        if (ngx_mcp_redis_send(tr->redis, 2, args, ngx_mcp_token_query_reply,
                               query, &query->calls[i])
            != NGX_AGAIN)
        {
            return NGX_ERROR;
        }

        query->n++;
        query->due++;
    }

    return query->n ? NGX_OK : NGX_ERROR;
}


/* Replies come in the order of the calls. */
static void
ngx_mcp_token_query_reply(void *data, redisReply *reply)
{
    ngx_mcp_token_query_t *query = data;

    ngx_str_t  line;

    query->calls[query->n - query->due] = NULL;
    query->due--;

    if (reply && reply->type == REDIS_REPLY_STRING) {
        line.data = (u_char *) reply->str;
        line.len = reply->len;

        ngx_mcp_token_query_end(query, NGX_MCP_TOKEN_FOUND, &line);
        return;
    }

    if (reply == NULL || reply->type != REDIS_REPLY_NIL) {
        query->unknown = 1;

        if (reply) {
            ngx_mcp_token_redis_complain(query->redis, "GET", reply);
        }
    }

    if (query->due == 0) {
        ngx_mcp_token_query_end(query, query->unknown ? NGX_MCP_TOKEN_UNKNOWN
                                                      : NGX_MCP_TOKEN_NONE,
                                NULL);
    }
}


/*
 * Who waits may go, ask again, or end others that wait: the query is out of the
 * tree before the first one hears of it, and is freed after the last.
 */
static void
ngx_mcp_token_query_end(ngx_mcp_token_query_t *query,
    ngx_mcp_token_answer_e answer, ngx_str_t *line)
{
    ngx_queue_t          *q;
    ngx_mcp_token_ask_t  *ask;

    query->ended = 1;

    ngx_rbtree_delete(&query->redis->queries, &query->node.node);

    while (!ngx_queue_empty(&query->asks)) {
        q = ngx_queue_head(&query->asks);
        ask = ngx_queue_data(q, ngx_mcp_token_ask_t, queue);

        ngx_queue_remove(q);
        ask->query = NULL;

        ask->done(ask->data, answer, line);
    }

    ngx_mcp_token_query_close(query);
}


static void
ngx_mcp_token_query_close(ngx_mcp_token_query_t *query)
{
    ngx_uint_t  i;

    for (i = 0; i < query->n; i++) {
        if (query->calls[i]) {
            ngx_mcp_redis_cancel(query->calls[i]);
        }
    }

    if (!query->ended) {
        ngx_rbtree_delete(&query->redis->queries, &query->node.node);
    }

    ngx_free(query);
}


void
ngx_mcp_token_redis_used(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *id)
{
    u_char                  now[NGX_TIME_T_LEN];
    ngx_str_t               args[4];
    ngx_mcp_token_used_t   *used;
    ngx_mcp_token_redis_t  *tr;

    tr = mmcf->token_redis;

    if (tr == NULL || id->len == 0 || id->len > NGX_MCP_DIGEST) {
        return;
    }

    used = ngx_mcp_token_used_get(tr, id);

    if (used == NULL
        || (used->noted && ngx_time() >= used->noted
            && ngx_time() - used->noted < NGX_MCP_TOKEN_USED_TIME))
    {
        return;
    }

    ngx_str_set(&args[0], "HSET");
    args[1] = tr->used;
    args[2].data = (u_char *) id->data;
    args[2].len = id->len;
    args[3].data = now;
    args[3].len = ngx_sprintf(now, "%T", ngx_time()) - now;

    if (ngx_mcp_redis_send(tr->redis, 4, args, ngx_mcp_token_noted, tr, NULL)
        == NGX_AGAIN)
    {
        used->noted = ngx_time();
    }
}


/* NULL may come when tr is gone: the client is destroyed after it. */
static void
ngx_mcp_token_noted(void *data, redisReply *reply)
{
    if (reply && reply->type == REDIS_REPLY_ERROR) {
        ngx_mcp_token_redis_complain(data, "HSET", reply);
    }
}


/* The least recently noted one makes room. */
static ngx_mcp_token_used_t *
ngx_mcp_token_used_get(ngx_mcp_token_redis_t *tr, const mcp_str_t *id)
{
    u_char                 name[NGX_MCP_DIGEST];
    ngx_queue_t           *q;
    ngx_mcp_token_used_t  *used;

    ngx_memzero(name, sizeof(name));
    ngx_memcpy(name, id->data, id->len);

    used = (ngx_mcp_token_used_t *) ngx_mcp_tree_find(&tr->noted, name);

    if (used) {
        ngx_queue_remove(&used->queue);
        ngx_queue_insert_head(&tr->order, &used->queue);

        return used;
    }

    if (tr->nnoted == NGX_MCP_TOKEN_USED) {
        q = ngx_queue_last(&tr->order);
        used = ngx_queue_data(q, ngx_mcp_token_used_t, queue);

        ngx_queue_remove(q);
        ngx_rbtree_delete(&tr->noted, &used->node.node);

    } else {
        used = ngx_alloc(sizeof(ngx_mcp_token_used_t), ngx_cycle->log);
        if (used == NULL) {
            return NULL;
        }

        tr->nnoted++;
    }

    used->noted = 0;

    ngx_mcp_tree_insert(&tr->noted, &used->node, name);
    ngx_queue_insert_head(&tr->order, &used->queue);

    return used;
}


/* The code of an error, never its text. */
static void
ngx_mcp_token_redis_complain(ngx_mcp_token_redis_t *tr,
    const char *command, redisReply *reply)
{
    size_t  n;

    if (tr->complaint == command
        && ngx_current_msec - tr->said < NGX_MCP_TOKEN_QUIET)
    {
        return;
    }

    tr->complaint = command;
    tr->said = ngx_current_msec;

    for (n = 0; n < reply->len && n < 32; n++) {
        if (reply->str[n] < 'A' || reply->str[n] > 'Z') {
            break;
        }
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "mcp_redis \"%V\": own tokens: %s was not answered as it "
                  "should be%s%*s", &tr->mmcf->redis->server, command,
                  n ? ": " : "", n, n ? reply->str : "");
}
