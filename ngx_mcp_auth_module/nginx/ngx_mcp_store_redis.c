/*
 * Records of credentials in Redis.
 *
 * A record is the hash PREFIX cred:NAME
 *     v       version
 *     st      active, reauth or revoked
 *     tok     sealed tokens
 *     meta    sealed: whose it is
 *     exp     end of the access token, s since the epoch; 0: never
 *     fl      the note of a refresh that began, and has not been written
 *     us      of a person's: when it was last used, s since the epoch
 * its lock is PREFIX lock:NAME, and PREFIX creds has the names of all.  What
 * reads and then writes is one script: Redis does nothing in between.
 *
 * An answer that is not as it should be is no answer: nobody knows.
 */

#include "ngx_mcp_store_redis.h"


#define NGX_MCP_STORE_ARGS    16
#define NGX_MCP_STORE_FIELDS  6         /* of scripts; a read has `us`, too */


static ngx_int_t ngx_mcp_store_redis_send(ngx_mcp_main_conf_t *mmcf,
    ngx_str_t *argv, ngx_uint_t argc, ngx_mcp_redis_pt handler,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call);
static ngx_uint_t ngx_mcp_store_redis_begin(ngx_mcp_main_conf_t *mmcf,
    ngx_str_t *argv, const char *script, u_char *name, u_char *keys);
static void ngx_mcp_store_redis_number(ngx_str_t *s, u_char *buf, int64_t n);
static void ngx_mcp_store_redis_got(void *data, redisReply *reply);
static void ngx_mcp_store_redis_locked(void *data, redisReply *reply);
static void ngx_mcp_store_redis_written(void *data, redisReply *reply);
static void ngx_mcp_store_redis_ignore(void *data, redisReply *reply);
static ngx_int_t ngx_mcp_store_redis_record(redisReply *reply,
    ngx_mcp_record_t *record);
static ngx_int_t ngx_mcp_store_redis_text(redisReply *reply, ngx_str_t *s);
static ngx_int_t ngx_mcp_store_redis_code(redisReply *reply, long long *code);


/* KEYS: cred, lock, creds.  ARGV: owner, ttl in ms, 1 to note, s, name. */
static const char  ngx_mcp_store_lock_script[] =
    "if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then "
        "if redis.call('GET', KEYS[2]) == 'hold' then "
            "return {0, redis.call('PTTL', KEYS[2])} "
        "end "
        "return {0, 0} "
    "end "
    "local r = redis.call('HMGET', KEYS[1], 'v', 'st', 'tok', 'meta', 'exp', "
                         "'fl') "
    "if r[1] and ARGV[3] == '1' then "
        "local first = ARGV[4] "
        "local v, t = string.match(r[6] or '', '^(%d+) (%d+) ') "
        "if v == r[1] then "
            "first = t "
        "end "
        "redis.call('HSET', KEYS[1], 'fl', r[1] .. ' ' .. first .. ' ' "
                   ".. ARGV[1] .. ' ' .. ARGV[4]) "
    "end "
    "return {1, r}";

/* ARGV: owner, hold in ms, the note (absent: as it is) */
static const char  ngx_mcp_store_unlock_script[] =
    "if redis.call('GET', KEYS[2]) ~= ARGV[1] then "
        "return 0 "
    "end "
    "if ARGV[3] == '' then "
        "redis.call('HDEL', KEYS[1], 'fl') "
    "elseif ARGV[3] and redis.call('EXISTS', KEYS[1]) == 1 then "
        "redis.call('HSET', KEYS[1], 'fl', ARGV[3]) "
    "end "
    "if ARGV[2] == '0' then "
        "redis.call('DEL', KEYS[2]) "
    "else "
        "redis.call('SET', KEYS[2], 'hold', 'PX', ARGV[2]) "
    "end "
    "return 1";


#define ngx_mcp_store_lit(s, text)                                            \
    (s)->data = (u_char *) (text); (s)->len = ngx_strlen(text)


ngx_int_t
ngx_mcp_store_redis_read(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call)
{
    ngx_uint_t   i;
    ngx_str_t    argv[3 + NGX_MCP_STORE_FIELDS];
    u_char       key[128];

    static const char  *fields[] = {
        "v", "st", "tok", "meta", "exp", "fl", "us"
    };

    if (mmcf->redis->prefix.len > 64) {
        return NGX_ERROR;
    }

    ngx_mcp_store_lit(&argv[0], "HMGET");

    argv[1].data = key;
    argv[1].len = ngx_sprintf(key, "%Vcred:%*s", &mmcf->redis->prefix,
                              (size_t) MCP_VAULT_NAME, name) - key;

    for (i = 0; i <= NGX_MCP_STORE_FIELDS; i++) {
        ngx_mcp_store_lit(&argv[2 + i], fields[i]);
    }

    return ngx_mcp_store_redis_send(mmcf, argv, 3 + NGX_MCP_STORE_FIELDS,
                                    ngx_mcp_store_redis_got, done, data,
                                    call);
}


ngx_int_t
ngx_mcp_store_redis_lock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_msec_t ttl, ngx_uint_t note, ngx_mcp_store_pt done,
    void *data, ngx_mcp_store_call_t **call)
{
    u_char      keys[384], ms[NGX_INT64_LEN], now[NGX_INT64_LEN];
    ngx_str_t   argv[NGX_MCP_STORE_ARGS];
    ngx_uint_t  n;

    n = ngx_mcp_store_redis_begin(mmcf, argv, ngx_mcp_store_lock_script, name,
                                  keys);
    if (n == 0) {
        return NGX_ERROR;
    }

    argv[n++] = *owner;
    ngx_mcp_store_redis_number(&argv[n++], ms, ttl);
    ngx_mcp_store_lit(&argv[n], note ? "1" : "0");
    n++;
    ngx_mcp_store_redis_number(&argv[n++], now, ngx_time());

    return ngx_mcp_store_redis_send(mmcf, argv, n, ngx_mcp_store_redis_locked,
                                    done, data, call);
}


ngx_int_t
ngx_mcp_store_redis_write(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, uint64_t version, ngx_mcp_record_t *record, time_t keep,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call)
{
    u_char      keys[384], v[NGX_INT64_LEN], exp[NGX_INT64_LEN],
                k[NGX_INT64_LEN], channel[128];
    ngx_str_t   argv[NGX_MCP_STORE_ARGS];
    ngx_uint_t  n;

    n = ngx_mcp_store_redis_begin(mmcf, argv, mcp_vault_write_script, name,
                                  keys);
    if (n == 0) {
        return NGX_ERROR;
    }

    argv[n++] = *owner;
    ngx_mcp_store_redis_number(&argv[n++], v, version);
    argv[n++] = record->state;
    argv[n++] = record->tokens;
    argv[n++] = record->meta;
    ngx_mcp_store_redis_number(&argv[n++], exp, record->expires);
    ngx_mcp_store_redis_number(&argv[n++], k, ngx_max(keep, 1));

    argv[n].data = name;
    argv[n++].len = MCP_VAULT_NAME;

    argv[n].data = channel;
    argv[n++].len = ngx_sprintf(channel, "%Vevents",
                                &mmcf->redis->prefix) - channel;

    if (record->grant) {
        ngx_mcp_store_lit(&argv[n], "grant");
        n++;
    }

    return ngx_mcp_store_redis_send(mmcf, argv, n, ngx_mcp_store_redis_written,
                                    done, data, call);
}


void
ngx_mcp_store_redis_unlock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_str_t *note, ngx_msec_t hold)
{
    u_char      keys[384], ms[NGX_INT64_LEN];
    ngx_str_t   argv[NGX_MCP_STORE_ARGS];
    ngx_uint_t  n;

    n = ngx_mcp_store_redis_begin(mmcf, argv, ngx_mcp_store_unlock_script,
                                  name, keys);
    if (n == 0) {
        return;
    }

    argv[n++] = *owner;
    ngx_mcp_store_redis_number(&argv[n++], ms, hold);

    if (note) {
        argv[n++] = *note;
    }

    (void) ngx_mcp_redis_send(mmcf->redis_client, n, argv,
                              ngx_mcp_store_redis_ignore, NULL, NULL);
}


/* EVAL with the three keys; how many words that is, 0: the prefix is too
 * long. */
void
ngx_mcp_store_redis_used(ngx_mcp_main_conf_t *mmcf, u_char *name, time_t now)
{
    u_char     key[128], at[NGX_TIME_T_LEN];
    ngx_str_t  argv[5];

    if (mmcf->redis->prefix.len > 64) {
        return;
    }

    ngx_mcp_store_lit(&argv[0], "EVAL");
    ngx_mcp_store_lit(&argv[1],
                      "if redis.call('EXISTS', KEYS[1]) == 1 then "
                          "redis.call('HSET', KEYS[1], 'us', ARGV[1]) "
                      "end "
                      "return 1");
    ngx_mcp_store_lit(&argv[2], "1");

    argv[3].data = key;
    argv[3].len = ngx_sprintf(key, "%Vcred:%*s", &mmcf->redis->prefix,
                              (size_t) MCP_VAULT_NAME, name) - key;

    argv[4].data = at;
    argv[4].len = ngx_sprintf(at, "%T", now) - at;

    (void) ngx_mcp_redis_send(mmcf->redis_client, 5, argv, NULL, NULL, NULL);
}


static ngx_uint_t
ngx_mcp_store_redis_begin(ngx_mcp_main_conf_t *mmcf, ngx_str_t *argv,
    const char *script, u_char *name, u_char *keys)
{
    u_char      *p;
    ngx_str_t   *prefix;
    ngx_uint_t   i;

    static const char  *kinds[] = { "cred:", "lock:", "creds" };

    prefix = &mmcf->redis->prefix;

    if (prefix->len > 64) {
        return 0;
    }

    ngx_mcp_store_lit(&argv[0], "EVAL");
    ngx_mcp_store_lit(&argv[1], script);
    ngx_mcp_store_lit(&argv[2], "3");

    p = keys;

    for (i = 0; i < 3; i++) {
        argv[3 + i].data = p;
        p = ngx_sprintf(p, "%V%s", prefix, kinds[i]);

        if (i < 2) {
            p = ngx_cpymem(p, name, MCP_VAULT_NAME);
        }

        argv[3 + i].len = p - argv[3 + i].data;
    }

    return 6;
}


static void
ngx_mcp_store_redis_number(ngx_str_t *s, u_char *buf, int64_t n)
{
    s->data = buf;
    s->len = ngx_sprintf(buf, "%L", n) - buf;
}


static ngx_int_t
ngx_mcp_store_redis_send(ngx_mcp_main_conf_t *mmcf, ngx_str_t *argv,
    ngx_uint_t argc, ngx_mcp_redis_pt handler, ngx_mcp_store_pt done,
    void *data, ngx_mcp_store_call_t **call)
{
    ngx_int_t              rc;
    ngx_mcp_store_call_t  *sc;

    sc = ngx_mcp_store_call(done, data);
    if (sc == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_mcp_redis_send(mmcf->redis_client, argc, argv, handler, sc,
                            ngx_mcp_store_redis_call(sc));

    if (rc != NGX_AGAIN) {
        ngx_free(sc);
        return NGX_ERROR;
    }

    *call = sc;

    return NGX_AGAIN;
}


static void
ngx_mcp_store_redis_got(void *data, redisReply *reply)
{
    ngx_int_t         rc;
    ngx_mcp_record_t  record;

    rc = ngx_mcp_store_redis_record(reply, &record);

    if (rc == NGX_OK) {
        ngx_mcp_store_answer(data, NGX_MCP_STORE_OK, &record);

    } else {
        ngx_mcp_store_answer(data, rc == NGX_DECLINED ? NGX_MCP_STORE_NONE
                                                      : NGX_MCP_STORE_UNKNOWN,
                             NULL);
    }
}


static void
ngx_mcp_store_redis_locked(void *data, redisReply *reply)
{
    long long         code;
    ngx_mcp_record_t  record;

    if (ngx_mcp_store_redis_code(reply, &code) == NGX_OK) {

        if (code == 0 && reply->elements == 2
            && reply->element[1]->type == REDIS_REPLY_INTEGER)
        {
            ngx_memzero(&record, sizeof(ngx_mcp_record_t));
            record.hold = ngx_max(reply->element[1]->integer, 0);

            ngx_mcp_store_answer(data, NGX_MCP_STORE_HELD, &record);
            return;
        }

        if (code == 1 && reply->elements == 2
            && ngx_mcp_store_redis_record(reply->element[1], &record)
               != NGX_ERROR)
        {
            ngx_mcp_store_answer(data, NGX_MCP_STORE_OK, &record);
            return;
        }
    }

    ngx_mcp_store_answer(data, NGX_MCP_STORE_UNKNOWN, NULL);
}


static void
ngx_mcp_store_redis_written(void *data, redisReply *reply)
{
    long long         code;
    ngx_mcp_record_t  record;

    if (ngx_mcp_store_redis_code(reply, &code) == NGX_OK) {

        if (code == 1) {
            ngx_mcp_store_answer(data, NGX_MCP_STORE_OK, NULL);
            return;
        }

        if (code == 0 && reply->elements == 2
            && ngx_mcp_store_redis_record(reply->element[1], &record)
               != NGX_ERROR)
        {
            ngx_mcp_store_answer(data, NGX_MCP_STORE_CONFLICT, &record);
            return;
        }
    }

    ngx_mcp_store_answer(data, NGX_MCP_STORE_UNKNOWN, NULL);
}


static void
ngx_mcp_store_redis_ignore(void *data, redisReply *reply)
{
    /* void */
}


/* {CODE, ...} */
static ngx_int_t
ngx_mcp_store_redis_code(redisReply *reply, long long *code)
{
    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements == 0
        || reply->element[0]->type != REDIS_REPLY_INTEGER)
    {
        return NGX_ERROR;
    }

    *code = reply->element[0]->integer;

    return NGX_OK;
}


/* NGX_DECLINED: there is none, *record is all zero; NGX_ERROR: no such answer
 * comes of these fields. */
static ngx_int_t
ngx_mcp_store_redis_record(redisReply *reply, ngx_mcp_record_t *record)
{
    ngx_int_t    n;
    ngx_uint_t   i;
    ngx_str_t    version, expires, used;

    ngx_memzero(record, sizeof(ngx_mcp_record_t));

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->elements < NGX_MCP_STORE_FIELDS
        || reply->elements > NGX_MCP_STORE_FIELDS + 1)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING
            && reply->element[i]->type != REDIS_REPLY_NIL)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_mcp_store_redis_text(reply->element[0], &version) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_mcp_store_redis_text(reply->element[1], &record->state) != NGX_OK
        || ngx_mcp_store_redis_text(reply->element[2], &record->tokens)
           != NGX_OK
        || ngx_mcp_store_redis_text(reply->element[3], &record->meta)
           != NGX_OK
        || ngx_mcp_store_redis_text(reply->element[4], &expires) != NGX_OK)
    {
        return NGX_ERROR;
    }

    (void) ngx_mcp_store_redis_text(reply->element[5], &record->flight);

    n = ngx_atoi(version.data, version.len);

    if (n == NGX_ERROR || n == 0) {
        return NGX_ERROR;
    }

    record->version = n;

    n = ngx_atoi(expires.data, expires.len);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    record->expires = n;

    if (reply->elements > NGX_MCP_STORE_FIELDS
        && ngx_mcp_store_redis_text(reply->element[NGX_MCP_STORE_FIELDS],
                                    &used)
           == NGX_OK)
    {
        /* nothing depends on it */

        n = ngx_atoi(used.data, used.len);
        record->used = (n == NGX_ERROR) ? 0 : n;
    }

    return NGX_OK;
}


/* NGX_DECLINED: nil */
static ngx_int_t
ngx_mcp_store_redis_text(redisReply *reply, ngx_str_t *s)
{
    if (reply->type == REDIS_REPLY_NIL) {
        ngx_str_null(s);
        return NGX_DECLINED;
    }

    s->data = (u_char *) reply->str;
    s->len = reply->len;

    return NGX_OK;
}
