/*
 * Grants that end: entries of the queue, and what is done to it in one step.
 * See mcp_ending.h.
 */

#include "mcp_ending.h"
#include "mcp_json_tree.h"



#define MCP_ENDING_LEAST   5            /* s between two attempts */
#define MCP_ENDING_MOST    3600


static int mcp_ending_text(const mcp_mem_t *mem, json_t *object,
    const char *key, mcp_str_t *out);
static int mcp_ending_optional(const mcp_mem_t *mem, json_t *object,
    const char *key, mcp_str_t *out, size_t *n);
static int mcp_ending_time(json_t *object, const char *key, int64_t *out);


/* Over a version that was read, or not at all.  A flight that is under way
 * finds another version, and a tombstone: see mcp_vault_write_script.  The
 * tombstone goes after a day, the queue a day after the last of its entries was
 * given up. */
const char  mcp_ending_begin_script[] =
    "if (redis.call('HGET', KEYS[1], 'v') or '') ~= ARGV[1] then "
        "return 0 "
    "end "
    "local v = string.format('%d', tonumber(ARGV[1]) + 1) "
    "redis.call('HSET', KEYS[1], 'v', v, 'st', 'revoked', 'tok', '', "
               "'exp', '0') "
    "redis.call('HDEL', KEYS[1], 'fl', 'us') "
    "redis.call('EXPIRE', KEYS[1], 86400) "
    "if ARGV[2] ~= '' then "
        "redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) "
        "redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2]) "
        "redis.call('EXPIRE', KEYS[2], 691200) "
        "redis.call('EXPIRE', KEYS[3], 691200) "
    "end "
    "redis.call('PUBLISH', ARGV[6], 'cred ' .. ARGV[5] .. ' ' .. v) "
    "return 1";

const char  mcp_ending_add_script[] =
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) "
    "redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) "
    "redis.call('EXPIRE', KEYS[1], 691200) "
    "redis.call('EXPIRE', KEYS[2], 691200) "
    "return 1";

/* An ID without an entry, or an entry without an ID, is of no use. */
const char  mcp_ending_take_script[] =
    "local n = redis.call('ZCARD', KEYS[2]) "
    "local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], "
                           "'LIMIT', 0, 1) "
    "if not ids[1] then "
        "if n == 0 then "
            "redis.call('DEL', KEYS[1]) "
        "end "
        "return {n} "
    "end "
    "local e = redis.call('HGET', KEYS[1], ids[1]) "
    "if not e then "
        "redis.call('ZREM', KEYS[2], ids[1]) "
        "return {n, ids[1], ''} "
    "end "
    "redis.call('ZADD', KEYS[2], ARGV[2], ids[1]) "
    "return {n, ids[1], e}";

const char  mcp_ending_put_script[] =
    "if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then "
        "return 0 "
    "end "
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) "
    "redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) "
    "return 1";

const char  mcp_ending_later_script[] =
    "return redis.call('ZADD', KEYS[2], 'XX', ARGV[2], ARGV[1])";

const char  mcp_ending_done_script[] =
    "redis.call('ZREM', KEYS[2], ARGV[1]) "
    "return redis.call('HDEL', KEYS[1], ARGV[1])";


int
mcp_ending_make(const mcp_oauth_provider_t *p, const mcp_vault_owner_t *owner,
    const mcp_vault_tokens_t *t, int64_t now, mcp_ending_t *e)
{
    mcp_oauth_grant_e  by;

    memset(e, 0, sizeof(mcp_ending_t));

    by = mcp_oauth_revoke_by(p, t->refresh_token.len != 0);

    if (by == 0) {
        return MCP_DECLINED;
    }

    e->owner.credential = owner->credential;
    e->owner.issuer = owner->issuer;
    e->owner.user = owner->user;
    e->refresh_token = t->refresh_token;
    e->endpoint = t->endpoint;
    e->begun = now;

    if (by == MCP_OAUTH_REVOKE_ACCESS) {
        e->access_token = t->access_token;
        e->expires = t->expires;
    }

    return MCP_OK;
}


void
mcp_ending_write(mcp_buf_t *b, const mcp_ending_t *e)
{
    mcp_buf_lit(b, "{\"credential\":");
    mcp_buf_json(b, e->owner.credential.data, e->owner.credential.len,
                 MCP_VAULT_VALUE);
    mcp_buf_lit(b, ",\"issuer\":");
    mcp_buf_json(b, e->owner.issuer.data, e->owner.issuer.len,
                 MCP_VAULT_VALUE);
    mcp_buf_lit(b, ",\"user\":");
    mcp_buf_json(b, e->owner.user.data, e->owner.user.len, MCP_VAULT_VALUE);

    if (e->access_token.len) {
        mcp_buf_lit(b, ",\"access_token\":");
        mcp_buf_json(b, e->access_token.data, e->access_token.len,
                     MCP_VAULT_VALUE);
    }

    if (e->refresh_token.len) {
        mcp_buf_lit(b, ",\"refresh_token\":");
        mcp_buf_json(b, e->refresh_token.data, e->refresh_token.len,
                     MCP_VAULT_VALUE);
    }

    if (e->endpoint.len) {
        mcp_buf_lit(b, ",\"endpoint\":");
        mcp_buf_json(b, e->endpoint.data, e->endpoint.len, MCP_VAULT_VALUE);
    }

    if (e->expires) {
        mcp_buf_lit(b, ",\"expires\":");
        mcp_buf_int(b, e->expires);
    }

    if (e->renewing) {
        mcp_buf_lit(b, ",\"renewing\":true");
    }

    mcp_buf_lit(b, ",\"begun\":");
    mcp_buf_int(b, e->begun);
    mcp_buf_lit(b, "}");
}


/* Tokens are ASCII that JSON escapes by one character at most. */
size_t
mcp_ending_size(const mcp_ending_t *e)
{
    return 6 * (e->owner.credential.len + e->owner.issuer.len
                + e->owner.user.len + e->endpoint.len)
           + 2 * (e->access_token.len + e->refresh_token.len) + 256;
}


int
mcp_ending_parse(const mcp_str_t *text, const mcp_mem_t *mem, mcp_ending_t *e)
{
    int       rc, oom;
    size_t    n;
    json_t   *object, *renewing;
    int64_t   begun;

    memset(e, 0, sizeof(mcp_ending_t));

    if (text->len > MCP_VAULT_VALUE) {
        return MCP_ERROR;
    }

    object = mcp_json_tree(text->data, text->len, MCP_JSON_TREE_DEPTH, &oom);
    if (object == NULL) {
        return MCP_ERROR;
    }

    n = 4;                              /* with what has to be there */
    begun = -1;
    renewing = json_object_get(object, "renewing");

    rc = (mcp_ending_text(mem, object, "credential", &e->owner.credential)
          == MCP_OK
          && mcp_ending_text(mem, object, "issuer", &e->owner.issuer)
             == MCP_OK
          && mcp_ending_text(mem, object, "user", &e->owner.user) == MCP_OK
          && mcp_ending_optional(mem, object, "access_token",
                                 &e->access_token, &n)
             == MCP_OK
          && mcp_ending_optional(mem, object, "refresh_token",
                                 &e->refresh_token, &n)
             == MCP_OK
          && (e->access_token.len || e->refresh_token.len)
          && mcp_ending_optional(mem, object, "endpoint", &e->endpoint, &n)
             == MCP_OK
          && mcp_ending_time(object, "begun", &begun) == MCP_OK
          && begun >= 0
          && mcp_ending_time(object, "expires", &e->expires) == MCP_OK
          && (renewing == NULL || json_is_true(renewing)))
         ? MCP_OK : MCP_ERROR;

    n += (json_object_get(object, "expires") != NULL) + (renewing != NULL);

    if (json_object_size(object) != n) {
        rc = MCP_ERROR;
    }

    e->begun = begun;
    e->renewing = (renewing != NULL);

    json_decref(object);

    return rc;
}


static int
mcp_ending_text(const mcp_mem_t *mem, json_t *object, const char *key,
    mcp_str_t *out)
{
    json_t  *value;

    value = json_object_get(object, key);

    if (!json_is_string(value)) {
        return MCP_ERROR;
    }

    return mcp_str_dup(mem, out, json_string_value(value),
                       json_string_length(value));
}


/* It may be missing, but is not empty then; n counts those that are there. */
static int
mcp_ending_optional(const mcp_mem_t *mem, json_t *object, const char *key,
    mcp_str_t *out, size_t *n)
{
    if (json_object_get(object, key) == NULL) {
        return MCP_OK;
    }

    (*n)++;

    return (mcp_ending_text(mem, object, key, out) == MCP_OK && out->len)
           ? MCP_OK : MCP_ERROR;
}


/* As it is, if it is not there. */
static int
mcp_ending_time(json_t *object, const char *key, int64_t *out)
{
    json_t  *value;

    value = json_object_get(object, key);

    if (value == NULL) {
        return MCP_OK;
    }

    *out = json_integer_value(value);

    return (json_is_integer(value) && *out >= 0) ? MCP_OK : MCP_ERROR;
}


int64_t
mcp_ending_again(int64_t begun, int64_t now, int64_t retry_after)
{
    int64_t  wait;

    wait = now - begun;

    if (wait < MCP_ENDING_LEAST) {
        wait = MCP_ENDING_LEAST;
    }

    if (wait < retry_after) {
        wait = retry_after;
    }

    if (wait > MCP_ENDING_MOST) {
        wait = MCP_ENDING_MOST;
    }

    return now + wait;
}
