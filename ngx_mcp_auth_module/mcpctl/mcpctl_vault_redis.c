/*
 * Records of credentials in Redis.  Keys, with the prefix before them:
 *
 *     cred:NAME   hash: the record, as ngx_mcp_store_redis.c has it
 *     lock:NAME   who refreshes it; mcpctl takes no lock
 *     creds       set: the names
 *     events      channel: "cred NAME [VERSION]"
 *
 * Records are read by script, many at a time; a reply is bounded, and what is
 * in it is checked before anybody sees it.
 */

#include "mcpctl_vault.h"

#include <stdlib.h>


#define MCPCTL_VAULT_SCAN    "1000"     /* names at a time */
#define MCPCTL_VAULT_READ    50         /* records at a time: 16m is the limit
                                           of a reply */
#define MCPCTL_VAULT_FIELDS  7          /* of one, with its TTL */
#define MCPCTL_VAULT_OWNER   "mcpctl"   /* of no lock */


static int mcpctl_vault_page(mcpctl_vault_t *v, const redisReply *reply,
    mcpctl_list_t *names, mcp_str_t *cursor, unsigned *damaged);
static int mcpctl_vault_name_cmp(const void *a, const void *b);
static redisReply *mcpctl_vault_fetch(mcpctl_vault_t *v,
    const mcpctl_list_t *names, unsigned from, unsigned n);
static int mcpctl_vault_parse(mcpctl_vault_t *v, const redisReply *reply,
    const mcp_str_t *name, mcpctl_record_t *r);
static int mcpctl_vault_number(const mcp_str_t *s, int64_t *n);
static void mcpctl_vault_gone(mcpctl_vault_t *v, const mcp_str_t *name);
static int mcpctl_vault_eval(mcpctl_vault_t *v, const char *script,
    const mcp_str_t *name, unsigned argc, const mcp_str_t *argv,
    mcpctl_audit_t *audit);
static mcp_str_t mcpctl_vault_str(const redisReply *reply);


/* KEYS: records; their fields, and when they go */

static const char  mcpctl_vault_read_script[] =
"local all = {}\n"
"for i, key in ipairs(KEYS) do\n"
"  local r = redis.call('HMGET', key, 'v', 'st', 'tok', 'meta', 'exp', 'fl')\n"
"  r[7] = redis.call('TTL', key)\n"
"  all[i] = r\n"
"end\n"
"return all\n";

/* KEYS: cred:NAME, lock:NAME, creds, and so in the others; ARGV: version,
 * NAME, channel */

static const char  mcpctl_vault_delete_script[] =
"if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return {0} end\n"
"redis.call('DEL', KEYS[1])\n"
"redis.call('SREM', KEYS[3], ARGV[2])\n"
"redis.call('PUBLISH', ARGV[3], 'cred ' .. ARGV[2])\n"
"return {1}\n";

/* ARGV: version, tok and meta as they were read, as they become */

static const char  mcpctl_vault_reseal_script[] =
"local r = redis.call('HMGET', KEYS[1], 'v', 'tok', 'meta')\n"
"if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] or r[3] ~= ARGV[3] then\n"
"  return {0}\n"
"end\n"
"redis.call('HSET', KEYS[1], 'tok', ARGV[4], 'meta', ARGV[5])\n"
"return {1}\n";

/* ARGV: NAME */

static const char  mcpctl_vault_gone_script[] =
"if redis.call('EXISTS', KEYS[1]) == 0 then\n"
"  redis.call('SREM', KEYS[3], ARGV[1])\n"
"end\n"
"return {1}\n";


int
mcpctl_vault_names(mcpctl_vault_t *v, mcpctl_list_t *names, unsigned *damaged)
{
    int          rc;
    unsigned     i, n;
    mcp_str_t    argv[5], *a, *b;
    redisReply  *reply;

    memset(names, 0, sizeof(mcpctl_list_t));

    argv[0] = mcpctl_cstr("SSCAN");
    argv[1] = mcpctl_redis_key(v->redis, "creds", "", 0);
    argv[2] = mcpctl_cstr("0");
    argv[3] = mcpctl_cstr("COUNT");
    argv[4] = mcpctl_cstr(MCPCTL_VAULT_SCAN);

    do {
        reply = mcpctl_redis_command(v->redis, REDIS_REPLY_ARRAY, 5, argv);
        if (reply == NULL) {
            return MCP_ERROR;
        }

        rc = mcpctl_vault_page(v, reply, names, &argv[2], damaged);
        freeReplyObject(reply);

        if (rc != MCP_OK) {
            return MCP_ERROR;
        }

    } while (!mcp_str_eq_lit(&argv[2], "0"));

    if (names->n == 0) {
        return MCP_OK;
    }

    /* a scan may give one twice */

    qsort(names->elts, names->n, sizeof(void *), mcpctl_vault_name_cmp);

    for (i = 1, n = 1; i < names->n; i++) {
        a = names->elts[n - 1];
        b = names->elts[i];

        if (!mcp_str_eq(a, b)) {
            names->elts[n++] = b;
        }
    }

    names->n = n;

    return MCP_OK;
}


static int
mcpctl_vault_page(mcpctl_vault_t *v, const redisReply *reply,
    mcpctl_list_t *names, mcp_str_t *cursor, unsigned *damaged)
{
    size_t       i;
    mcp_str_t    s, *name;
    redisReply  *page;

    if (reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return mcpctl_error(v->ctl, MCP_ERROR, "an answer of Redis makes no "
                            "sense");
    }

    *cursor = mcpctl_str(v->ctl, reply->element[0]->str,
                         (size_t) reply->element[0]->len);
    page = reply->element[1];

    for (i = 0; i < page->elements; i++) {
        s = mcpctl_vault_str(page->element[i]);

        if (!mcp_vault_is_name(&s)) {
            (void) mcpctl_error(v->ctl, 0, "\"%.*s\" in %screds of Redis is no "
                                "name of a record", (int) s.len,
                                s.data ? (char *) s.data : "",
                                (char *) v->ctl->conf->redis->prefix.data);
            (*damaged)++;
            continue;
        }

        name = mcpctl_alloc(v->ctl, sizeof(mcp_str_t));
        *name = mcpctl_str(v->ctl, s.data, s.len);
        mcpctl_push(v->ctl, names, name);
    }

    return MCP_OK;
}


static int
mcpctl_vault_name_cmp(const void *a, const void *b)
{
    return memcmp((*(mcp_str_t *const *) a)->data,
                  (*(mcp_str_t *const *) b)->data, MCP_VAULT_NAME);
}


int
mcpctl_vault_each(mcpctl_vault_t *v, const mcpctl_list_t *names,
    mcpctl_record_pt each, void *data, unsigned *damaged)
{
    int              rc;
    unsigned         i, k, n;
    redisReply      *reply;
    mcpctl_record_t  r;

    for (i = 0; i < names->n; i += n) {
        n = names->n - i < MCPCTL_VAULT_READ ? names->n - i
                                             : MCPCTL_VAULT_READ;

        reply = mcpctl_vault_fetch(v, names, i, n);
        if (reply == NULL) {
            return MCP_ERROR;
        }

        rc = MCP_OK;

        for (k = 0; k < n && rc == MCP_OK; k++) {

            if (mcpctl_vault_parse(v, reply->element[k], names->elts[i + k],
                                   &r)
                != MCP_OK)
            {
                (*damaged)++;

            } else if (r.version) {
                rc = each(v, &r, data);

            } else {
                mcpctl_vault_gone(v, names->elts[i + k]);
            }
        }

        freeReplyObject(reply);

        if (rc != MCP_OK) {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


int
mcpctl_vault_read(mcpctl_vault_t *v, const mcp_str_t *name,
    mcpctl_record_t *r)
{
    int             rc;
    mcp_str_t       copy;
    redisReply     *reply;
    mcpctl_list_t   names;

    memset(r, 0, sizeof(mcpctl_record_t));
    memset(&names, 0, sizeof(mcpctl_list_t));

    copy = *name;
    mcpctl_push(v->ctl, &names, &copy);

    reply = mcpctl_vault_fetch(v, &names, 0, 1);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    rc = mcpctl_vault_parse(v, reply->element[0], name, r);

    if (rc == MCP_OK) {
        mcpctl_record_keep(v->ctl, r, 1);
    }

    freeReplyObject(reply);

    return rc;
}


/* An array of n; NULL: said. */
static redisReply *
mcpctl_vault_fetch(mcpctl_vault_t *v, const mcpctl_list_t *names,
    unsigned from, unsigned n)
{
    unsigned     k;
    mcp_str_t    argv[3 + MCPCTL_VAULT_READ], *name;
    redisReply  *reply;

    argv[0] = mcpctl_cstr("EVAL");
    argv[1] = mcpctl_cstr(mcpctl_vault_read_script);
    argv[2] = mcpctl_vault_text(v, n);

    for (k = 0; k < n; k++) {
        name = names->elts[from + k];
        argv[3 + k] = mcpctl_redis_key(v->redis, "cred:",
                                       (char *) name->data, name->len);
    }

    reply = mcpctl_redis_command(v->redis, REDIS_REPLY_ARRAY, 3 + n, argv);

    if (reply && reply->elements != n) {
        freeReplyObject(reply);
        (void) mcpctl_error(v->ctl, 0, "an answer of Redis makes no sense");
        return NULL;
    }

    return reply;
}


/* Version 0: there is none.  MCP_ERROR: said. */
static int
mcpctl_vault_parse(mcpctl_vault_t *v, const redisReply *reply,
    const mcp_str_t *name, mcpctl_record_t *r)
{
    int64_t    version;
    unsigned   i;
    mcp_str_t  field[MCPCTL_VAULT_FIELDS];

    memset(r, 0, sizeof(mcpctl_record_t));
    r->name = *name;

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements != MCPCTL_VAULT_FIELDS
        || reply->element[MCPCTL_VAULT_FIELDS - 1]->type
           != REDIS_REPLY_INTEGER)
    {
        goto damaged;
    }

    for (i = 0; i < MCPCTL_VAULT_FIELDS - 1; i++) {

        if (reply->element[i]->type != REDIS_REPLY_STRING
            && reply->element[i]->type != REDIS_REPLY_NIL)
        {
            goto damaged;
        }

        field[i] = mcpctl_vault_str(reply->element[i]);
    }

    if (field[0].data == NULL) {
        return MCP_OK;
    }

    /* a gateway takes none without these, nor a longer one */

    if (mcpctl_vault_number(&field[0], &version) != MCP_OK || version == 0
        || field[1].data == NULL || field[2].data == NULL
        || field[3].data == NULL
        || mcpctl_vault_number(&field[4], &r->expires) != MCP_OK
        || field[2].len > MCP_VAULT_VALUE + MCP_VAULT_OVERHEAD
        || field[3].len > MCP_VAULT_VALUE + MCP_VAULT_OVERHEAD)
    {
        goto damaged;
    }

    r->version = (uint64_t) version;
    r->state = field[1];
    r->sealed = field[2];
    r->meta = field[3];
    r->flight = field[5];
    r->ttl = reply->element[MCPCTL_VAULT_FIELDS - 1]->integer;

    return MCP_OK;

damaged:

    return mcpctl_error(v->ctl, MCP_ERROR, "the record %.*s in Redis is none",
                        (int) name->len, (char *) name->data);
}


/* Digits, of a version at most 2^53: a script counts in doubles. */
static int
mcpctl_vault_number(const mcp_str_t *s, int64_t *n)
{
    size_t  i;

    *n = 0;

    if (s->len == 0 || s->len > 15) {
        return MCP_ERROR;
    }

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return MCP_ERROR;
        }

        *n = *n * 10 + (s->data[i] - '0');
    }

    return MCP_OK;
}


/* It expired: its name goes, unless it is there again. */
static void
mcpctl_vault_gone(mcpctl_vault_t *v, const mcp_str_t *name)
{
    mcp_str_t  argv[1];

    argv[0] = *name;

    (void) mcpctl_vault_eval(v, mcpctl_vault_gone_script, name, 1, argv, NULL);
}


int
mcpctl_vault_write(mcpctl_vault_t *v, const mcpctl_record_t *r, int64_t keep,
    mcpctl_audit_t *audit)
{
    mcp_str_t  argv[10];

    argv[0] = mcpctl_cstr(MCPCTL_VAULT_OWNER);
    argv[1] = mcpctl_vault_text(v, (int64_t) r->version);
    argv[2] = r->state;
    argv[3] = r->sealed;
    argv[4] = r->meta;
    argv[5] = mcpctl_vault_text(v, r->expires);
    argv[6] = mcpctl_vault_text(v, keep > 0 ? keep : 1);
    argv[7] = r->name;
    argv[8] = mcpctl_redis_key(v->redis, "events", "", 0);
    argv[9] = mcpctl_cstr("grant");

    return mcpctl_vault_eval(v, mcp_vault_write_script, &r->name, 10, argv,
                             audit);
}


int
mcpctl_vault_delete(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcpctl_audit_t *audit)
{
    mcp_str_t  argv[3];

    argv[0] = mcpctl_vault_text(v, (int64_t) r->version);
    argv[1] = r->name;
    argv[2] = mcpctl_redis_key(v->redis, "events", "", 0);

    return mcpctl_vault_eval(v, mcpctl_vault_delete_script, &r->name, 3, argv,
                             audit);
}


int
mcpctl_vault_reseal(mcpctl_vault_t *v, const mcpctl_record_t *r,
    const mcp_str_t *sealed, const mcp_str_t *meta, mcpctl_audit_t *audit)
{
    mcp_str_t  argv[5];

    argv[0] = mcpctl_vault_text(v, (int64_t) r->version);
    argv[1] = r->sealed;
    argv[2] = r->meta;
    argv[3] = *sealed;
    argv[4] = *meta;

    return mcpctl_vault_eval(v, mcpctl_vault_reseal_script, &r->name, 5, argv,
                             audit);
}


/* The keys are of this record; a script answers {1}, or {0, ...}: declined. */
static int
mcpctl_vault_eval(mcpctl_vault_t *v, const char *script,
    const mcp_str_t *name, unsigned argc, const mcp_str_t *argv,
    mcpctl_audit_t *audit)
{
    int          rc;
    unsigned     i;
    mcp_str_t    args[6 + 10];
    redisReply  *reply;

    args[0] = mcpctl_cstr("EVAL");
    args[1] = mcpctl_cstr(script);
    args[2] = mcpctl_cstr("3");
    args[3] = mcpctl_redis_key(v->redis, "cred:", (char *) name->data,
                               name->len);
    args[4] = mcpctl_redis_key(v->redis, "lock:", (char *) name->data,
                               name->len);
    args[5] = mcpctl_redis_key(v->redis, "creds", "", 0);

    for (i = 0; i < argc; i++) {
        args[6 + i] = argv[i];
    }

    if (audit && mcpctl_audit_write(audit) != MCP_OK) {
        return MCP_ERROR;
    }

    reply = mcpctl_redis_command(v->redis, REDIS_REPLY_ARRAY, 6 + argc, args);

    if (reply == NULL) {
        if (mcpctl_redis_failed(v->redis)) {
            mcpctl_warn(v->ctl, "whether Redis did it is not known");
        }

        return MCP_ERROR;
    }

    rc = MCP_ERROR;

    if (reply->elements && reply->element[0]->type == REDIS_REPLY_INTEGER) {
        rc = reply->element[0]->integer == 1 ? MCP_OK : MCP_DECLINED;

    } else {
        (void) mcpctl_error(v->ctl, 0, "an answer of Redis makes no sense");
    }

    freeReplyObject(reply);

    return rc;
}


mcp_str_t
mcpctl_vault_text(mcpctl_vault_t *v, int64_t n)
{
    return mcpctl_cstr(mcpctl_format(v->ctl, "%lld", (long long) n));
}


/* data NULL unless it is a string. */
static mcp_str_t
mcpctl_vault_str(const redisReply *reply)
{
    mcp_str_t  s;

    mcp_str_null(&s);

    if (reply->type == REDIS_REPLY_STRING) {
        s.data = (unsigned char *) reply->str;
        s.len = (size_t) reply->len;
    }

    return s;
}
