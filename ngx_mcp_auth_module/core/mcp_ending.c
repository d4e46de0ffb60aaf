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

const char  mcp_ending_later_script[] =
    "return redis.call('ZADD', KEYS[2], 'XX', ARGV[2], ARGV[1])";

const char  mcp_ending_done_script[] =
    "redis.call('ZREM', KEYS[2], ARGV[1]) "
    "return redis.call('HDEL', KEYS[1], ARGV[1])";


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

    if (e->refresh) {
        mcp_buf_lit(b, ",\"refresh_token\":");

    } else {
        mcp_buf_lit(b, ",\"access_token\":");
    }

    mcp_buf_json(b, e->token.data, e->token.len, MCP_VAULT_VALUE);
    mcp_buf_lit(b, ",\"begun\":");
    mcp_buf_int(b, e->begun);
    mcp_buf_lit(b, "}");
}


int
mcp_ending_parse(const mcp_str_t *text, const mcp_mem_t *mem, mcp_ending_t *e)
{
    int      rc, oom;
    json_t  *object, *begun;

    memset(e, 0, sizeof(mcp_ending_t));

    if (text->len > MCP_VAULT_VALUE) {
        return MCP_ERROR;
    }

    object = mcp_json_tree(text->data, text->len, MCP_JSON_TREE_DEPTH, &oom);
    if (object == NULL) {
        return MCP_ERROR;
    }

    e->refresh = json_object_get(object, "refresh_token") != NULL;
    begun = json_object_get(object, "begun");

    rc = (json_object_size(object) == 5
          && mcp_ending_text(mem, object, "credential", &e->owner.credential)
             == MCP_OK
          && mcp_ending_text(mem, object, "issuer", &e->owner.issuer)
             == MCP_OK
          && mcp_ending_text(mem, object, "user", &e->owner.user) == MCP_OK
          && mcp_ending_text(mem, object, e->refresh ? "refresh_token"
                                                     : "access_token",
                             &e->token)
             == MCP_OK
          && e->token.len
          && json_is_integer(begun))
         ? MCP_OK : MCP_ERROR;

    if (rc == MCP_OK) {
        e->begun = json_integer_value(begun);
    }

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
