/*
 * Redis as a store.  Keys, with the prefix before them:
 *
 *     rev       hash: first columns of a watermark -> "STAMP LINE"
 *     events    channel: "rev STAMP LINE"
 *     tok:HASH  a token's record; goes a week after the token has expired
 *     tokens    hash: token id -> HASH
 *     used      hash: token id -> s since the epoch; the gateways write it
 *
 * A change is one script, so that it is whole or not made.  Watermarks are
 * written by core/'s script alone, which is a function in ours.
 */

#include "mcpctl_store.h"
#include "mcpctl_args.h"

#include <stdlib.h>


#define MCPCTL_SCAN       "200"         /* fields at a time */
#define MCPCTL_TOKENS_AT  100           /* records at a time */
#define MCPCTL_EVAL_ARGS  16            /* keys and arguments of a script */
#define MCPCTL_KEEP       (7 * 86400)   /* s, after it expired */


/* what a script says when a line is not as it was read */
#define MCPCTL_CHANGED    "'changed'"


static int mcpctl_redis_tokens(mcpctl_store_t *st, mcpctl_list_t *tokens);
static int mcpctl_redis_token(mcpctl_store_t *st, const mcp_str_t *id,
    mcpctl_token_t **token);
static int mcpctl_redis_create(mcpctl_store_t *st,
    const mcp_access_key_t *key, mcpctl_audit_t *audit);
static int mcpctl_redis_rotate(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_access_key_t *key,
    mcpctl_audit_t *audit);
static int mcpctl_redis_revoke(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_revocation_t *r,
    mcpctl_audit_t *audit);
static int mcpctl_redis_watermarks(mcpctl_store_t *st,
    mcpctl_list_t *watermarks);
static int mcpctl_redis_watermark(mcpctl_store_t *st,
    const mcp_revocation_t *r, mcpctl_watermark_t **watermark);
static int mcpctl_redis_set(mcpctl_store_t *st, const mcp_revocation_t *r,
    mcpctl_audit_t *audit);

static int mcpctl_redis_scan(mcpctl_store_t *st, const char *name,
    mcpctl_list_t *pairs);
static int mcpctl_redis_scan_page(mcpctl_store_t *st, redisReply *reply,
    mcpctl_list_t *pairs, mcp_str_t *cursor);
static int mcpctl_redis_pair_cmp(const void *a, const void *b);
static int mcpctl_redis_records(mcpctl_store_t *st, const mcpctl_list_t *ids,
    unsigned from, unsigned n, mcpctl_list_t *tokens);
static int mcpctl_redis_used(mcpctl_store_t *st, const mcpctl_list_t *tokens);
static mcpctl_token_t *mcpctl_redis_record(mcpctl_store_t *st,
    const mcp_str_t *id, const mcp_str_t *hash, const redisReply *reply);
static mcpctl_watermark_t *mcpctl_redis_line(mcpctl_store_t *st,
    const mcp_str_t *field, const mcp_str_t *value);
static int mcpctl_redis_eval(mcpctl_store_t *st, const char *script,
    unsigned nkeys, unsigned argc, mcp_str_t *argv, mcpctl_audit_t *audit);
static void mcpctl_redis_heard(mcpctl_store_t *st);
static void mcpctl_redis_forget(mcpctl_store_t *st, const char *name,
    const mcpctl_list_t *pairs);
static void mcpctl_redis_prune(mcpctl_store_t *st);
static mcp_str_t mcpctl_redis_hash(mcpctl_store_t *st,
    const mcp_access_key_t *key);
static mcp_str_t mcpctl_redis_token_key(mcpctl_store_t *st,
    const mcp_str_t *hash);
static mcp_str_t mcpctl_redis_until(mcpctl_store_t *st, int64_t expires);
static mcp_str_t mcpctl_redis_str(mcpctl_store_t *st,
    const redisReply *reply);
static int mcpctl_redis_nonsense(mcpctl_store_t *st);


/* A field of a hash with its value. */
typedef struct {
    mcp_str_t            field;
    mcp_str_t            value;
} mcpctl_pair_t;


/* KEYS: tok:HASH tokens; ARGV: record, ms when it goes, id, HASH */

static const char  mcpctl_redis_create_script[] =
"if redis.call('EXISTS', KEYS[1]) == 1\n"
"   or redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then\n"
"  return " MCPCTL_CHANGED "\n"
"end\n"
"redis.call('SET', KEYS[1], ARGV[1])\n"
"redis.call('PEXPIREAT', KEYS[1], ARGV[2])\n"
"redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])\n"
"return 'done'\n";

/* KEYS: tok:HASH tokens, tok:HASH of the old one; ARGV: as above, the old
 * record as it was read, as it becomes, ms when that goes */

static const char  mcpctl_redis_rotate_script[] =
"if redis.call('GET', KEYS[3]) ~= ARGV[5]\n"
"   or redis.call('EXISTS', KEYS[1]) == 1\n"
"   or redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then\n"
"  return " MCPCTL_CHANGED "\n"
"end\n"
"redis.call('SET', KEYS[1], ARGV[1])\n"
"redis.call('PEXPIREAT', KEYS[1], ARGV[2])\n"
"redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])\n"
"redis.call('SET', KEYS[3], ARGV[6])\n"
"redis.call('PEXPIREAT', KEYS[3], ARGV[7])\n"
"return 'done'\n";

/* KEYS: rev events tok:HASH; ARGV: field and line of the watermark, "", the
 * record as it was read, as it becomes, ms when it goes.  It begins with
 * "local function revoke(KEYS, ARGV) ... end". */

static const char  mcpctl_redis_revoke_script[] =
"if redis.call('GET', KEYS[3]) ~= ARGV[4] then\n"
"  return " MCPCTL_CHANGED "\n"
"end\n"
"local stamp = revoke({ KEYS[1], KEYS[2] }, { ARGV[1], ARGV[2], ARGV[3] })\n"
"if type(stamp) ~= 'string' then return stamp end\n"
"redis.call('SET', KEYS[3], ARGV[5])\n"
"redis.call('PEXPIREAT', KEYS[3], ARGV[6])\n"
"return 'done'\n";

/* KEYS: a hash; ARGV: field, value: unless it changed, the field goes */

static const char  mcpctl_redis_forget_script[] =
"if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then\n"
"  redis.call('HDEL', KEYS[1], ARGV[1])\n"
"end\n"
"return 'done'\n";


int
mcpctl_store_redis(mcpctl_t *ctl, mcpctl_store_t *st)
{
    int64_t  sec;

    st->name = "redis";

    st->tokens = mcpctl_redis_tokens;
    st->token = mcpctl_redis_token;
    st->create = mcpctl_redis_create;
    st->rotate = mcpctl_redis_rotate;
    st->revoke = mcpctl_redis_revoke;
    st->watermarks = mcpctl_redis_watermarks;
    st->watermark = mcpctl_redis_watermark;
    st->set = mcpctl_redis_set;

    st->redis = mcpctl_redis_connect(ctl, ctl->conf->redis);
    if (st->redis == NULL) {
        return MCP_ERROR;
    }

    if (mcpctl_redis_time(st->redis, &sec) != MCP_OK) {
        mcpctl_redis_close(st->redis);
        return MCP_ERROR;
    }

    st->ahead = sec - mcpctl_now();

    return MCP_OK;
}


static int
mcpctl_redis_tokens(mcpctl_store_t *st, mcpctl_list_t *tokens)
{
    unsigned       i, n;
    mcpctl_list_t  ids;

    memset(&ids, 0, sizeof(mcpctl_list_t));

    if (mcpctl_redis_scan(st, "tokens", &ids) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < ids.n; i += n) {
        n = ids.n - i < MCPCTL_TOKENS_AT ? ids.n - i : MCPCTL_TOKENS_AT;

        if (mcpctl_redis_records(st, &ids, i, n, tokens) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    return mcpctl_redis_used(st, tokens);
}


static int
mcpctl_redis_token(mcpctl_store_t *st, const mcp_str_t *id,
    mcpctl_token_t **token)
{
    mcp_str_t    argv[3], hash;
    redisReply  *reply;

    argv[0] = mcpctl_cstr("HGET");
    argv[1] = mcpctl_redis_key(st->redis, "tokens", "", 0);
    argv[2] = *id;

    reply = mcpctl_redis_command(st->redis, 0, 3, argv);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    hash = mcpctl_redis_str(st, reply);
    freeReplyObject(reply);

    if (hash.len == 0) {
        return MCP_DECLINED;
    }

    argv[0] = mcpctl_cstr("GET");
    argv[1] = mcpctl_redis_token_key(st, &hash);

    reply = mcpctl_redis_command(st->redis, 0, 2, argv);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    if (reply->type == REDIS_REPLY_NIL) {
        freeReplyObject(reply);
        return MCP_DECLINED;
    }

    *token = mcpctl_redis_record(st, id, &hash, reply);
    freeReplyObject(reply);

    return *token ? MCP_OK : MCP_ERROR;
}


static int
mcpctl_redis_create(mcpctl_store_t *st, const mcp_access_key_t *key,
    mcpctl_audit_t *audit)
{
    mcp_str_t  argv[6], hash;

    hash = mcpctl_redis_hash(st, key);

    argv[0] = mcpctl_redis_token_key(st, &hash);
    argv[1] = mcpctl_redis_key(st->redis, "tokens", "", 0);
    argv[2] = mcpctl_store_token_line(st->ctl, key);
    argv[3] = mcpctl_redis_until(st, key->expires);
    argv[4] = key->id;
    argv[5] = hash;

    if (argv[2].len == 0) {
        return MCP_ERROR;
    }

    return mcpctl_redis_eval(st, mcpctl_redis_create_script, 2, 6, argv,
                             audit);
}


static int
mcpctl_redis_rotate(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_access_key_t *key,
    mcpctl_audit_t *audit)
{
    mcp_str_t  argv[10], hash, was;

    hash = mcpctl_redis_hash(st, key);
    was = mcpctl_redis_hash(st, changed);

    argv[0] = mcpctl_redis_token_key(st, &hash);
    argv[1] = mcpctl_redis_key(st->redis, "tokens", "", 0);
    argv[2] = mcpctl_redis_token_key(st, &was);
    argv[3] = mcpctl_store_token_line(st->ctl, key);
    argv[4] = mcpctl_redis_until(st, key->expires);
    argv[5] = key->id;
    argv[6] = hash;
    argv[7] = old->line;
    argv[8] = mcpctl_store_token_line(st->ctl, changed);
    argv[9] = mcpctl_redis_until(st, changed->expires);

    if (argv[3].len == 0 || argv[8].len == 0) {
        return MCP_ERROR;
    }

    return mcpctl_redis_eval(st, mcpctl_redis_rotate_script, 3, 10, argv,
                             audit);
}


static int
mcpctl_redis_revoke(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_revocation_t *r,
    mcpctl_audit_t *audit)
{
    int             rc;
    mcp_buf_t       b;
    mcp_str_t       argv[9], hash;
    unsigned char   field[MCP_REVOCATION_LINE];

    mcp_buf_init(&b, field, sizeof(field));
    mcp_revocation_field(&b, r);

    hash = mcpctl_redis_hash(st, changed);

    argv[0] = mcpctl_redis_key(st->redis, "rev", "", 0);
    argv[1] = mcpctl_redis_key(st->redis, "events", "", 0);
    argv[2] = mcpctl_redis_token_key(st, &hash);
    argv[3].data = b.start;
    argv[3].len = (size_t) (b.pos - b.start);
    argv[4] = mcpctl_store_revocation_line(st->ctl, r);
    mcp_str_null(&argv[5]);
    argv[6] = old->line;
    argv[7] = mcpctl_store_token_line(st->ctl, changed);
    argv[8] = mcpctl_redis_until(st, changed->expires);

    if (argv[4].len == 0 || argv[7].len == 0) {
        return MCP_ERROR;
    }

    rc = mcpctl_redis_eval(st, mcpctl_format(st->ctl, "local function revoke("
                               "KEYS, ARGV)\n%send\n%s",
                               mcp_revocation_script,
                               mcpctl_redis_revoke_script),
                           3, 9, argv, audit);

    if (rc == MCP_OK) {
        mcpctl_redis_heard(st);
    }

    return rc;
}


static int
mcpctl_redis_watermarks(mcpctl_store_t *st, mcpctl_list_t *watermarks)
{
    unsigned             i;
    mcpctl_list_t        pairs;
    mcpctl_pair_t       *pair;
    mcpctl_watermark_t  *w;

    memset(&pairs, 0, sizeof(mcpctl_list_t));

    if (mcpctl_redis_scan(st, "rev", &pairs) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < pairs.n; i++) {
        pair = pairs.elts[i];

        w = mcpctl_redis_line(st, &pair->field, &pair->value);

        if (w) {
            mcpctl_push(st->ctl, watermarks, w);

        } else {
            st->damaged++;
        }
    }

    return MCP_OK;
}


static int
mcpctl_redis_watermark(mcpctl_store_t *st, const mcp_revocation_t *r,
    mcpctl_watermark_t **watermark)
{
    mcp_buf_t       b;
    mcp_str_t       argv[3], value;
    redisReply     *reply;
    unsigned char   field[MCP_REVOCATION_LINE];

    mcp_buf_init(&b, field, sizeof(field));
    mcp_revocation_field(&b, r);

    argv[0] = mcpctl_cstr("HGET");
    argv[1] = mcpctl_redis_key(st->redis, "rev", "", 0);
    argv[2].data = b.start;
    argv[2].len = (size_t) (b.pos - b.start);

    reply = mcpctl_redis_command(st->redis, 0, 3, argv);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    value = mcpctl_redis_str(st, reply);
    freeReplyObject(reply);

    if (value.len == 0) {
        return MCP_DECLINED;
    }

    *watermark = mcpctl_redis_line(st, &argv[2], &value);

    if (*watermark == NULL) {
        return MCP_ERROR;
    }

    return (*watermark)->r.at ? MCP_OK : MCP_DECLINED;
}


static int
mcpctl_redis_set(mcpctl_store_t *st, const mcp_revocation_t *r,
    mcpctl_audit_t *audit)
{
    int             rc;
    mcp_buf_t       b;
    mcp_str_t       argv[5];
    unsigned char   field[MCP_REVOCATION_LINE];

    mcp_buf_init(&b, field, sizeof(field));
    mcp_revocation_field(&b, r);

    argv[0] = mcpctl_redis_key(st->redis, "rev", "", 0);
    argv[1] = mcpctl_redis_key(st->redis, "events", "", 0);
    argv[2].data = b.start;
    argv[2].len = (size_t) (b.pos - b.start);
    argv[3] = mcpctl_store_revocation_line(st->ctl, r);
    mcp_str_null(&argv[4]);

    if (argv[3].len == 0) {
        return MCP_ERROR;
    }

    rc = mcpctl_redis_eval(st, mcp_revocation_script, 2, 5, argv, audit);

    if (rc != MCP_OK) {
        return rc;
    }

    mcpctl_redis_heard(st);
    mcpctl_redis_prune(st);

    return MCP_OK;
}


/* All fields of a hash with their values, sorted, each once. */
static int
mcpctl_redis_scan(mcpctl_store_t *st, const char *name, mcpctl_list_t *pairs)
{
    int             rc;
    unsigned        i, n;
    mcp_str_t       argv[5];
    redisReply     *reply;
    mcpctl_pair_t  *a, *b;

    argv[0] = mcpctl_cstr("HSCAN");
    argv[1] = mcpctl_redis_key(st->redis, name, "", 0);
    argv[2] = mcpctl_cstr("0");
    argv[3] = mcpctl_cstr("COUNT");
    argv[4] = mcpctl_cstr(MCPCTL_SCAN);

    do {
        reply = mcpctl_redis_command(st->redis, REDIS_REPLY_ARRAY, 5, argv);
        if (reply == NULL) {
            return MCP_ERROR;
        }

        rc = mcpctl_redis_scan_page(st, reply, pairs, &argv[2]);
        freeReplyObject(reply);

        if (rc != MCP_OK) {
            return MCP_ERROR;
        }

    } while (!mcp_str_eq_lit(&argv[2], "0"));

    if (pairs->n == 0) {
        return MCP_OK;
    }

    qsort(pairs->elts, pairs->n, sizeof(void *), mcpctl_redis_pair_cmp);

    for (i = 1, n = 1; i < pairs->n; i++) {
        a = pairs->elts[n - 1];
        b = pairs->elts[i];

        if (!mcp_str_eq(&a->field, &b->field)) {
            pairs->elts[n++] = b;
        }
    }

    pairs->n = n;

    return MCP_OK;
}


static int
mcpctl_redis_scan_page(mcpctl_store_t *st, redisReply *reply,
    mcpctl_list_t *pairs, mcp_str_t *cursor)
{
    size_t          i;
    redisReply     *page;
    mcpctl_pair_t  *pair;

    if (reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY
        || reply->element[1]->elements % 2)
    {
        return mcpctl_redis_nonsense(st);
    }

    *cursor = mcpctl_redis_str(st, reply->element[0]);
    page = reply->element[1];

    for (i = 0; i < page->elements; i += 2) {

        if (page->element[i]->type != REDIS_REPLY_STRING
            || page->element[i + 1]->type != REDIS_REPLY_STRING)
        {
            return mcpctl_redis_nonsense(st);
        }

        pair = mcpctl_alloc(st->ctl, sizeof(mcpctl_pair_t));
        pair->field = mcpctl_redis_str(st, page->element[i]);
        pair->value = mcpctl_redis_str(st, page->element[i + 1]);
        mcpctl_push(st->ctl, pairs, pair);
    }

    return MCP_OK;
}


static int
mcpctl_redis_pair_cmp(const void *a, const void *b)
{
    int                    rc;
    size_t                 n;
    const mcpctl_pair_t   *p, *q;

    p = *(const mcpctl_pair_t *const *) a;
    q = *(const mcpctl_pair_t *const *) b;

    n = p->field.len < q->field.len ? p->field.len : q->field.len;
    rc = memcmp(p->field.data, q->field.data, n);

    return rc ? rc : (p->field.len > q->field.len)
                     - (p->field.len < q->field.len);
}


/* The records of n ids; an id whose record has gone goes too. */
static int
mcpctl_redis_records(mcpctl_store_t *st, const mcpctl_list_t *ids,
    unsigned from, unsigned n, mcpctl_list_t *tokens)
{
    unsigned         i;
    mcp_str_t        argv[MCPCTL_TOKENS_AT + 1];
    redisReply      *reply;
    mcpctl_list_t    gone;
    mcpctl_pair_t   *pair;
    mcpctl_token_t  *token;

    memset(&gone, 0, sizeof(mcpctl_list_t));

    argv[0] = mcpctl_cstr("MGET");

    for (i = 0; i < n; i++) {
        pair = ids->elts[from + i];
        argv[i + 1] = mcpctl_redis_token_key(st, &pair->value);
    }

    reply = mcpctl_redis_command(st->redis, REDIS_REPLY_ARRAY, n + 1, argv);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    if (reply->elements != n) {
        freeReplyObject(reply);
        return mcpctl_redis_nonsense(st);
    }

    for (i = 0; i < n; i++) {
        pair = ids->elts[from + i];

        if (reply->element[i]->type == REDIS_REPLY_NIL) {
            mcpctl_push(st->ctl, &gone, pair);
            continue;
        }

        token = mcpctl_redis_record(st, &pair->field, &pair->value,
                                    reply->element[i]);

        if (token) {
            mcpctl_push(st->ctl, tokens, token);

        } else {
            st->damaged++;
        }
    }

    freeReplyObject(reply);
    mcpctl_redis_forget(st, "tokens", &gone);

    return MCP_OK;
}


/* When the gateways saw these tokens last. */
static int
mcpctl_redis_used(mcpctl_store_t *st, const mcpctl_list_t *tokens)
{
    unsigned         i, k, n;
    mcp_str_t        argv[MCPCTL_TOKENS_AT + 2], text;
    redisReply      *reply;
    mcpctl_token_t  *token;

    argv[0] = mcpctl_cstr("HMGET");
    argv[1] = mcpctl_redis_key(st->redis, "used", "", 0);

    for (i = 0; i < tokens->n; i += n) {
        n = tokens->n - i < MCPCTL_TOKENS_AT ? tokens->n - i
                                             : MCPCTL_TOKENS_AT;

        for (k = 0; k < n; k++) {
            token = tokens->elts[i + k];
            argv[k + 2] = token->key.id;
        }

        reply = mcpctl_redis_command(st->redis, REDIS_REPLY_ARRAY, n + 2,
                                     argv);
        if (reply == NULL) {
            return MCP_ERROR;
        }

        if (reply->elements != n) {
            freeReplyObject(reply);
            return mcpctl_redis_nonsense(st);
        }

        for (k = 0; k < n; k++) {
            token = tokens->elts[i + k];
            text = mcpctl_redis_str(st, reply->element[k]);

            if (text.len) {
                token->used = strtoll((char *) text.data, NULL, 10);
            }
        }

        freeReplyObject(reply);
    }

    return MCP_OK;
}


/* What Redis has under this id and hash must be a record of both. */
static mcpctl_token_t *
mcpctl_redis_record(mcpctl_store_t *st, const mcp_str_t *id,
    const mcp_str_t *hash, const redisReply *reply)
{
    mcp_str_t        line, own;
    const char      *what;
    mcpctl_token_t  *token;

    what = mcpctl_format(st->ctl, "the record of %s in Redis", id->data);
    line = mcpctl_redis_str(st, reply);

    token = mcpctl_store_token(st, &line, what);
    if (token == NULL) {
        return NULL;
    }

    own = mcpctl_redis_hash(st, &token->key);

    if (!mcp_str_eq(&token->key.id, id) || !mcp_str_eq(&own, hash)) {
        (void) mcpctl_error(st->ctl, 0, "%s is that of another token", what);
        return NULL;
    }

    return token;
}


/* "STAMP LINE" under this field. */
static mcpctl_watermark_t *
mcpctl_redis_line(mcpctl_store_t *st, const mcp_str_t *field,
    const mcp_str_t *value)
{
    char                *end;
    uint64_t             stamp;
    mcp_buf_t            b;
    mcp_str_t            line, own;
    const char          *what;
    unsigned char        buf[MCP_REVOCATION_LINE];
    mcpctl_watermark_t  *w;

    what = mcpctl_format(st->ctl, "revocation \"%s\" in Redis", field->data);

    stamp = strtoull((char *) value->data, &end, 10);

    /* strtoull() takes blanks and a sign, a gateway does not */

    if (value->len == 0 || *value->data < '0' || *value->data > '9'
        || stamp == 0 || stamp > MCP_REVOCATION_STAMP || *end != ' ')
    {
        (void) mcpctl_error(st->ctl, 0, "%s has no stamp", what);
        return NULL;
    }

    line.data = (unsigned char *) end + 1;
    line.len = value->len - (size_t) (line.data - value->data);

    w = mcpctl_store_watermark(st, &line, what);
    if (w == NULL) {
        return NULL;
    }

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_revocation_field(&b, &w->r);

    own.data = b.start;
    own.len = (size_t) (b.pos - b.start);

    if (!mcp_str_eq(&own, field)) {
        (void) mcpctl_error(st->ctl, 0, "%s is about something else", what);
        return NULL;
    }

    w->r.stamp = stamp;

    return w;
}


/*
 * argv: keys and arguments.  The record goes first; what the script says is
 * then the end of it.
 */
static int
mcpctl_redis_eval(mcpctl_store_t *st, const char *script, unsigned nkeys,
    unsigned argc, mcp_str_t *argv, mcpctl_audit_t *audit)
{
    int          rc;
    unsigned     i;
    mcp_str_t    args[MCPCTL_EVAL_ARGS + 3];
    redisReply  *reply;

    args[0] = mcpctl_cstr("EVAL");
    args[1] = mcpctl_cstr(script);
    args[2] = mcpctl_cstr(mcpctl_format(st->ctl, "%u", nkeys));

    for (i = 0; i < argc; i++) {
        args[i + 3] = argv[i];
    }

    if (audit && mcpctl_audit_write(audit) != MCP_OK) {
        return MCP_ERROR;
    }

    reply = mcpctl_redis_command(st->redis, REDIS_REPLY_STRING, argc + 3,
                                 args);

    if (reply == NULL) {
        if (mcpctl_redis_failed(st->redis)) {
            mcpctl_warn(st->ctl, "whether Redis did it is not known");
        }

        return MCP_ERROR;
    }

    rc = strcmp(reply->str, "changed") == 0 ? MCP_DECLINED : MCP_OK;

    freeReplyObject(reply);

    return rc;
}


/* How many workers were told at once; others learn it when they come back. */
static void
mcpctl_redis_heard(mcpctl_store_t *st)
{
    mcp_str_t    argv[3];
    redisReply  *reply;

    if (!st->ctl->verbose) {
        return;
    }

    argv[0] = mcpctl_cstr("PUBSUB");
    argv[1] = mcpctl_cstr("NUMSUB");
    argv[2] = mcpctl_redis_key(st->redis, "events", "", 0);

    reply = mcpctl_redis_command(st->redis, REDIS_REPLY_ARRAY, 3, argv);
    if (reply == NULL) {
        return;
    }

    if (reply->elements == 2
        && reply->element[1]->type == REDIS_REPLY_INTEGER)
    {
        mcpctl_warn(st->ctl, "%lld workers of gateways are subscribed%s",
                    reply->element[1]->integer,
                    reply->element[1]->integer
                    ? "" : ": nobody was told at once");
    }

    freeReplyObject(reply);
}


/* What nobody needs any more, unless it has changed meanwhile. */
static void
mcpctl_redis_forget(mcpctl_store_t *st, const char *name,
    const mcpctl_list_t *pairs)
{
    unsigned        i;
    mcp_str_t       argv[3];
    mcpctl_pair_t  *pair;

    argv[0] = mcpctl_redis_key(st->redis, name, "", 0);

    for (i = 0; i < pairs->n; i++) {
        pair = pairs->elts[i];

        argv[1] = pair->field;
        argv[2] = pair->value;

        if (mcpctl_redis_eval(st, mcpctl_redis_forget_script, 1, 3, argv, NULL)
            == MCP_ERROR)
        {
            return;
        }
    }
}


/* Watermarks whose time was over a week ago. */
static void
mcpctl_redis_prune(mcpctl_store_t *st)
{
    int64_t              now;
    unsigned             i;
    mcpctl_list_t        pairs, old;
    mcpctl_pair_t       *pair;
    mcpctl_watermark_t  *w;

    memset(&pairs, 0, sizeof(mcpctl_list_t));
    memset(&old, 0, sizeof(mcpctl_list_t));

    if (mcpctl_redis_scan(st, "rev", &pairs) != MCP_OK) {
        return;
    }

    now = mcpctl_now() + st->ahead;

    for (i = 0; i < pairs.n; i++) {
        pair = pairs.elts[i];

        w = mcpctl_redis_line(st, &pair->field, &pair->value);

        if (w && w->r.until && w->r.until < now - MCPCTL_KEEP) {
            mcpctl_push(st->ctl, &old, pair);
        }
    }

    mcpctl_redis_forget(st, "rev", &old);
}


static mcp_str_t
mcpctl_redis_hash(mcpctl_store_t *st, const mcp_access_key_t *key)
{
    mcp_buf_t  b;
    mcp_str_t  hash;

    hash.len = 2 * MCP_ACCESS_KEY_HASH;
    hash.data = mcpctl_alloc(st->ctl, hash.len + 1);

    mcp_buf_init(&b, hash.data, hash.len);
    mcp_buf_hex(&b, key->hash, MCP_ACCESS_KEY_HASH);

    return hash;
}


static mcp_str_t
mcpctl_redis_token_key(mcpctl_store_t *st, const mcp_str_t *hash)
{
    return mcpctl_redis_key(st->redis, "tok:", (char *) hash->data, hash->len);
}


/* ms since the epoch, when the record goes. */
static mcp_str_t
mcpctl_redis_until(mcpctl_store_t *st, int64_t expires)
{
    return mcpctl_cstr(mcpctl_format(st->ctl, "%lld000",
                                     (long long) expires + MCPCTL_KEEP));
}


/* Empty unless it is a string. */
static mcp_str_t
mcpctl_redis_str(mcpctl_store_t *st, const redisReply *reply)
{
    mcp_str_t  none;

    mcp_str_null(&none);

    return reply->type == REDIS_REPLY_STRING
           ? mcpctl_str(st->ctl, reply->str, (size_t) reply->len) : none;
}


static int
mcpctl_redis_nonsense(mcpctl_store_t *st)
{
    return mcpctl_error(st->ctl, MCP_ERROR, "an answer of Redis makes no "
                        "sense");
}
