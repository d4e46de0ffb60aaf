/*
 * How a record of a credential is written in Redis, by gateways and by mcpctl
 * alike; mcp_vault.h says what is in one.
 *
 * The record is the hash cred:NAME, its lock is lock:NAME, and creds is the set
 * of all names.  A write is made over the version that was read or not at all;
 * it ends the lock of its owner, takes the note of a flight away, and tells
 * everybody.
 */

#include "mcp_vault.h"


/*
 * KEYS: cred:NAME, lock:NAME, creds.  ARGV: owner, version, st, tok, meta, exp,
 * keep in s, name, channel, and "grant": over one that was revoked, too.
 * {1}, or {0, fields} of the record as it is.
 */
const char  mcp_vault_write_script[] =
    "local r = redis.call('HMGET', KEYS[1], 'v', 'st', 'tok', 'meta', 'exp', "
                         "'fl') "
    "if (r[1] or '0') ~= ARGV[2] "
       "or (r[2] == 'revoked' and ARGV[10] ~= 'grant') then "
        "return {0, r} "
    "end "
    "redis.call('HSET', KEYS[1], "
               "'v', string.format('%d', tonumber(ARGV[2]) + 1), "
               "'st', ARGV[3], 'tok', ARGV[4], 'meta', ARGV[5], "
               "'exp', ARGV[6]) "
    "redis.call('HDEL', KEYS[1], 'fl') "
    "redis.call('EXPIRE', KEYS[1], ARGV[7]) "
    "redis.call('SADD', KEYS[3], ARGV[8]) "
    "if redis.call('GET', KEYS[2]) == ARGV[1] then "
        "redis.call('DEL', KEYS[2]) "
    "end "
    "redis.call('PUBLISH', ARGV[9], 'cred ' .. ARGV[8] .. ' ' "
               ".. redis.call('HGET', KEYS[1], 'v')) "
    "return {1}";
