/*
 * `jwt inspect` of a token of the gateway's own: form and checksum, and its
 * record, in mcp_token_file and in Redis, when those and the peppers can be
 * read here.  Nothing is changed; Redis hears the token's hash, not the token.
 */

#include "mcpctl_jwt.h"
#include "mcpctl_redis.h"


#define MCPCTL_TOKENS  (64 * 1024 * 1024)       /* bytes of mcp_token_file */


/* The token under each pepper that can be read, and why it may be that its
 * record is not found. */
typedef struct {
    unsigned             n;
    unsigned char        hashes[MCPCTL_TOKEN_KEYS][MCP_ACCESS_KEY_HASH];
    char                *unknown;       /* NULL: it would have been found */
} mcpctl_own_t;


static int mcpctl_own_record(mcpctl_inspect_t *in);
static int mcpctl_own_judge(mcpctl_inspect_t *in);
static void mcpctl_own_hashes(mcpctl_inspect_t *in, mcpctl_own_t *own);
static void mcpctl_own_in_file(mcpctl_inspect_t *in, mcpctl_own_t *own);
static void mcpctl_own_in_redis(mcpctl_inspect_t *in, mcpctl_own_t *own);
static void mcpctl_own_ask(mcpctl_inspect_t *in, mcpctl_own_t *own,
    mcpctl_conn_t *c);
static void mcpctl_own_take(mcpctl_inspect_t *in, mcpctl_own_t *own,
    const mcp_str_t *line);
static void mcpctl_own_servers(mcpctl_inspect_t *in);
static const char *mcpctl_own_server(mcpctl_inspect_t *in,
    mcpctl_at_server_t *at);
static unsigned mcpctl_own_listed(const mcp_str_t *list, unsigned n,
    const mcp_str_t *name, const char *any);


void
mcpctl_inspect_own(mcpctl_inspect_t *in)
{
    if (in->server && !in->server->tokens) {
        mcpctl_inspect_check(in, "server", MCPCTL_FAILED_IT, "own_tokens_off",
                             NULL);
    }

    if (mcp_access_key_check(&in->token) != MCP_OK) {
        mcpctl_inspect_check(in, "form", MCPCTL_FAILED_IT, "token_malformed",
                             NULL);
        return;
    }

    mcpctl_inspect_check(in, "form", MCPCTL_PASSED, NULL, NULL);

    if (mcpctl_own_record(in) == MCP_OK) {
        mcpctl_own_servers(in);
    }
}


/* The file first, as the gateway does.  MCP_DECLINED: there is none, or nobody
 * can tell; said as a step. */
static int
mcpctl_own_record(mcpctl_inspect_t *in)
{
    mcpctl_own_t    own;
    mcpctl_conf_t  *conf;

    conf = in->ctl->conf;

    if (conf->ntoken_keys == 0 || (conf->token_file.len == 0 && !conf->redis)) {
        mcpctl_inspect_check(in, "record", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "there is no store of "
                                           "tokens"));
        return MCP_DECLINED;
    }

    memset(&own, 0, sizeof(mcpctl_own_t));

    mcpctl_own_hashes(in, &own);

    if (conf->token_file.len) {
        mcpctl_own_in_file(in, &own);
    }

    if (in->key == NULL && conf->redis) {
        mcpctl_own_in_redis(in, &own);
    }

    if (in->key) {
        return mcpctl_own_judge(in);
    }

    mcpctl_inspect_check(in, "record",
                         own.unknown ? MCPCTL_OPEN : MCPCTL_FAILED_IT,
                         own.unknown ? NULL : "token_unknown", own.unknown);

    return MCP_DECLINED;
}


static int
mcpctl_own_judge(mcpctl_inspect_t *in)
{
    char                    *id;
    const mcp_access_key_t  *key;

    key = in->key;
    id = mcpctl_shown(in->ctl, &key->id, 64);

    if (key->auth != in->kind) {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "token_unknown",
                             mcpctl_format(in->ctl, "%s is of another kind",
                                           id));
        in->key = NULL;

        return MCP_DECLINED;
    }

    if (key->revoked) {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "token_revoked",
                             id);

    } else if (in->now >= key->expires) {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "expired", id);

    } else {
        mcpctl_inspect_check(in, "record", MCPCTL_PASSED, NULL, id);
    }

    return MCP_OK;
}


static void
mcpctl_own_hashes(mcpctl_inspect_t *in, mcpctl_own_t *own)
{
    unsigned            i;
    mcp_str_t           secret;
    mcpctl_conf_t      *conf;
    mcp_pepper_ring_t   ring;

    conf = in->ctl->conf;
    memset(&ring, 0, sizeof(mcp_pepper_ring_t));

    for (i = 0; i < conf->ntoken_keys; i++) {

        if (mcpctl_key_file(in->ctl, &conf->token_keys[i], &secret)
            != MCPCTL_OK)
        {
            own->unknown = mcpctl_format(in->ctl, "not every mcp_token_key "
                                         "can be read");
            continue;
        }

        if (mcp_pepper_add(&ring, &secret) == MCP_OK) {
            mcp_access_key_hash(&ring.peppers[ring.n - 1], &in->token,
                                own->hashes[own->n++]);
        }

        mcpctl_wipe(secret.data, secret.len);
    }

    mcpctl_wipe(&ring, sizeof(mcp_pepper_ring_t));
}


static void
mcpctl_own_in_file(mcpctl_inspect_t *in, mcpctl_own_t *own)
{
    int                      err;
    char                    *name;
    size_t                   size;
    unsigned                 i, line;
    mcp_buf_t                b;
    mcp_str_t                text, copy;
    const char              *why;
    mcp_access_keys_t       *keys;
    const mcp_access_key_t  *key;

    name = mcpctl_shown(in->ctl, &in->ctl->conf->token_file, 256);

    if (mcpctl_read_file(in->ctl, (char *) in->ctl->conf->token_file.data,
                         MCPCTL_TOKENS, &text, &why, &err)
        != MCP_OK)
    {
        own->unknown = mcpctl_format(in->ctl, "cannot read %s: %s", name, why);
        return;
    }

    keys = mcp_access_keys_parse(&text, &why, &line);

    if (keys == NULL) {
        own->unknown = mcpctl_format(in->ctl, "%s in %s:%u", why, name, line);
        return;
    }

    key = NULL;

    for (i = 0; i < own->n && key == NULL; i++) {
        key = mcp_access_keys_find(keys, own->hashes[i]);
    }

    if (key) {

        /* its strings go with the file's memory */

        size = MCP_ACCESS_KEY_LINE + 1;
        mcp_buf_init(&b, mcpctl_alloc(in->ctl, size), size);
        mcp_access_key_write(&b, key);

        copy.data = b.start;
        copy.len = (size_t) (b.pos - b.start);

        mcpctl_own_take(in, own, &copy);
    }

    mcp_access_keys_free(keys);
}


static void
mcpctl_own_in_redis(mcpctl_inspect_t *in, mcpctl_own_t *own)
{
    mcpctl_conn_t  *c;

    c = mcpctl_redis_connect(in->ctl, in->ctl->conf->redis);

    if (c) {
        mcpctl_own_ask(in, own, c);
        mcpctl_redis_close(c);

    } else {
        own->unknown = mcpctl_format(in->ctl, "Redis cannot be asked");
    }
}


static void
mcpctl_own_ask(mcpctl_inspect_t *in, mcpctl_own_t *own, mcpctl_conn_t *c)
{
    char         hex[2 * MCP_ACCESS_KEY_HASH];
    unsigned     i;
    mcp_buf_t    b;
    mcp_str_t    argv[2], line;
    redisReply  *reply;

    argv[0] = mcpctl_cstr("GET");

    for (i = 0; i < own->n && in->key == NULL; i++) {
        mcp_buf_init(&b, hex, sizeof(hex));
        mcp_buf_hex(&b, own->hashes[i], MCP_ACCESS_KEY_HASH);

        argv[1] = mcpctl_redis_key(c, "tok:", hex, sizeof(hex));

        reply = mcpctl_redis_command(c, 0, 2, argv);

        if (reply == NULL) {
            own->unknown = mcpctl_format(in->ctl, "Redis cannot be asked");
            return;
        }

        if (reply->type == REDIS_REPLY_STRING) {
            line = mcpctl_str(in->ctl, reply->str, (size_t) reply->len);
            mcpctl_own_take(in, own, &line);

            if (in->key && memcmp(in->key->hash, own->hashes[i],
                                  MCP_ACCESS_KEY_HASH)
                           != 0)
            {
                in->key = NULL;
                own->unknown = mcpctl_format(in->ctl, "its record is that of "
                                             "another token");
            }
        }

        freeReplyObject(reply);
    }
}


/* A record's line, into in->key. */
static void
mcpctl_own_take(mcpctl_inspect_t *in, mcpctl_own_t *own,
    const mcp_str_t *line)
{
    const char        *why;
    mcp_access_key_t  *key;

    key = mcpctl_alloc(in->ctl, sizeof(mcp_access_key_t));

    if (mcp_access_key_parse(line, &in->ctl->mem, key, &why) == MCP_OK) {
        in->key = key;

    } else {
        own->unknown = mcpctl_format(in->ctl, "its record cannot be used: %s",
                                     why);
    }
}


/* A token falls with its owner, too. */
static void
mcpctl_own_servers(mcpctl_inspect_t *in)
{
    unsigned             i;
    mcpctl_server_t     *sv;
    mcp_principal_t     *p;
    mcpctl_at_server_t  *at;

    for (i = 0; in->key && i < in->ctl->conf->servers.n; i++) {
        sv = in->ctl->conf->servers.elts[i];

        if (in->server && in->server != sv) {
            continue;
        }

        at = mcpctl_alloc(in->ctl, sizeof(mcpctl_at_server_t));

        at->server = sv;
        at->reason = mcpctl_own_server(in, at);

        mcpctl_push(in->ctl, &in->servers, at);
    }

    if (in->key) {
        p = mcp_access_key_principal(in->key, 0, NULL, 0, &in->ctl->mem);

        if (p) {
            mcpctl_inspect_revoked(in, p, 0);
        }
    }
}


static const char *
mcpctl_own_server(mcpctl_inspect_t *in, mcpctl_at_server_t *at)
{
    char                    *roles;
    unsigned                 i, found;
    mcp_buf_t                b;
    mcp_decision_t           d;
    mcpctl_issuer_t         *is;
    mcpctl_server_t         *sv;
    mcp_principal_t         *p;
    const mcp_access_key_t  *key;

    sv = at->server;
    key = in->key;

    if (!sv->tokens) {
        return "own_tokens_off";
    }

    found = (key->auth == MCP_AUTH_VAT);

    for (i = 0; i < sv->issuers.n && !found; i++) {
        is = sv->issuers.elts[i];
        found = (unsigned) mcp_str_eq(&is->jwt.issuer, &key->issuer);
    }

    if (!found) {
        return "unknown_issuer";
    }

    if (!mcpctl_own_listed(key->servers, key->nservers, &sv->name, "*")) {
        return "token_server";
    }

    p = mcp_access_key_principal(key, 0, in->ctl->conf->roles,
                                 in->ctl->conf->nroles, &in->ctl->mem);
    if (p == NULL) {
        return "internal";
    }

    roles = mcpctl_alloc(in->ctl, MCP_MAX_ROLES * 66);
    mcp_buf_init(&b, roles, MCP_MAX_ROLES * 66 - 1);
    mcp_policy_roles_text(sv->policy, &p->roles, &b);
    at->roles = roles;

    mcp_buf_init(&b, mcpctl_alloc(in->ctl, MCPCTL_SHOWN), MCPCTL_SHOWN);

    if (mcp_policy_scopes(sv->policy, &p->scopes, MCP_TARGET_NONE, NULL, &d,
                          b.start, MCPCTL_SHOWN)
        != MCP_OK)
    {
        at->missing = d.scope;
    }

    return NULL;
}


static unsigned
mcpctl_own_listed(const mcp_str_t *list, unsigned n, const mcp_str_t *name,
    const char *any)
{
    unsigned   i;
    mcp_str_t  all;

    all = mcpctl_cstr(any);

    for (i = 0; i < n; i++) {
        if (mcp_str_eq(&list[i], name) || mcp_str_eq(&list[i], &all)) {
            return 1;
        }
    }

    return 0;
}
