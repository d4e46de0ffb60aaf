/*
 * `jwt inspect` of a token of the gateway's own: form and checksum, and its
 * record when mcp_token_file and the peppers can be read here.
 */

#include "mcpctl_jwt.h"


#define MCPCTL_TOKENS  (64 * 1024 * 1024)       /* bytes of mcp_token_file */


static const mcp_access_key_t *mcpctl_own_record(mcpctl_inspect_t *in,
    mcp_access_keys_t **keys);
static mcp_access_keys_t *mcpctl_own_keys(mcpctl_inspect_t *in);
static const mcp_access_key_t *mcpctl_own_find(mcpctl_inspect_t *in,
    const mcp_access_keys_t *keys, unsigned *unread);
static void mcpctl_own_none(mcpctl_inspect_t *in, unsigned unread);
static void mcpctl_own_copy(mcpctl_inspect_t *in,
    const mcp_access_key_t *key);
static void mcpctl_own_servers(mcpctl_inspect_t *in);
static const char *mcpctl_own_server(mcpctl_inspect_t *in,
    mcpctl_at_server_t *at);
static unsigned mcpctl_own_listed(const mcp_str_t *list, unsigned n,
    const mcp_str_t *name, const char *any);


void
mcpctl_inspect_own(mcpctl_inspect_t *in)
{
    mcp_access_keys_t       *keys;
    const mcp_access_key_t  *key;

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

    keys = NULL;
    key = mcpctl_own_record(in, &keys);

    if (key) {
        mcpctl_own_copy(in, key);
        mcpctl_own_servers(in);
    }

    mcp_access_keys_free(keys);
}


/* NULL: there is none, or nobody can tell; said as a step. */
static const mcp_access_key_t *
mcpctl_own_record(mcpctl_inspect_t *in, mcp_access_keys_t **keys)
{
    unsigned                 unread;
    mcpctl_conf_t           *conf;
    const mcp_access_key_t  *key;

    conf = in->ctl->conf;

    if (conf->token_file.len == 0 || conf->ntoken_keys == 0) {
        mcpctl_inspect_check(in, "record", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, conf->redis
                                           ? "it would be in Redis: see "
                                             "mcpctl token list"
                                           : "there is no store of tokens"));
        return NULL;
    }

    *keys = mcpctl_own_keys(in);

    if (*keys == NULL) {
        return NULL;
    }

    key = mcpctl_own_find(in, *keys, &unread);

    if (key == NULL) {
        mcpctl_own_none(in, unread);
        return NULL;
    }

    if (key->auth != in->kind) {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "token_unknown",
                             mcpctl_format(in->ctl, "%s is of another kind",
                                       mcpctl_shown(in->ctl, &key->id, 64)));
        return NULL;
    }

    if (key->revoked) {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "token_revoked",
                             mcpctl_shown(in->ctl, &key->id, 64));

    } else if (in->now >= key->expires) {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "expired",
                             mcpctl_shown(in->ctl, &key->id, 64));

    } else {
        mcpctl_inspect_check(in, "record", MCPCTL_PASSED, NULL,
                             mcpctl_shown(in->ctl, &key->id, 64));
    }

    return key;
}


/* It is in no file; whether it is nowhere else is another matter. */
static void
mcpctl_own_none(mcpctl_inspect_t *in, unsigned unread)
{
    char           *where;
    mcpctl_conf_t  *conf;

    conf = in->ctl->conf;
    where = mcpctl_shown(in->ctl, &conf->token_file, 256);

    if (unread) {
        mcpctl_inspect_check(in, "record", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "none in %s, by the keys "
                                           "that can be read", where));

    } else if (conf->redis) {
        mcpctl_inspect_check(in, "record", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "none in %s; it may be in "
                                           "Redis", where));

    } else {
        mcpctl_inspect_check(in, "record", MCPCTL_FAILED_IT, "token_unknown",
                             mcpctl_format(in->ctl, "none in %s", where));
    }
}


static mcp_access_keys_t *
mcpctl_own_keys(mcpctl_inspect_t *in)
{
    int                 err;
    unsigned            line;
    mcp_str_t           text, *path;
    const char         *why;
    mcp_access_keys_t  *keys;

    path = &in->ctl->conf->token_file;

    if (mcpctl_read_file(in->ctl, (char *) path->data, MCPCTL_TOKENS, &text,
                         &why, &err)
        != MCP_OK)
    {
        mcpctl_inspect_check(in, "record", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "cannot read %s: %s",
                                       mcpctl_shown(in->ctl, path, 256),
                                       why));
        return NULL;
    }

    keys = mcp_access_keys_parse(&text, &why, &line);

    if (keys == NULL) {
        mcpctl_inspect_check(in, "record", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "%s in %s:%u", why,
                                       mcpctl_shown(in->ctl, path, 256),
                                       line));
    }

    return keys;
}


/* Under each pepper that there is; *unread: how many cannot be read. */
static const mcp_access_key_t *
mcpctl_own_find(mcpctl_inspect_t *in, const mcp_access_keys_t *keys,
    unsigned *unread)
{
    unsigned                 i;
    mcp_str_t                secret;
    unsigned char            hash[MCP_ACCESS_KEY_HASH];
    mcp_pepper_ring_t        ring;
    const mcp_access_key_t  *key;

    memset(&ring, 0, sizeof(mcp_pepper_ring_t));
    key = NULL;
    *unread = 0;

    for (i = 0; i < in->ctl->conf->ntoken_keys && key == NULL; i++) {

        if (mcpctl_key_file(in->ctl, &in->ctl->conf->token_keys[i], &secret)
            != MCPCTL_OK)
        {
            (*unread)++;
            continue;
        }

        if (mcp_pepper_add(&ring, &secret) == MCP_OK) {
            mcp_access_key_hash(&ring.peppers[ring.n - 1], &in->token, hash);
            key = mcp_access_keys_find(keys, hash);
        }

        mcpctl_wipe(secret.data, secret.len);
    }

    mcpctl_wipe(&ring, sizeof(mcp_pepper_ring_t));

    return key;
}


/* The file's memory goes before it is shown. */
static void
mcpctl_own_copy(mcpctl_inspect_t *in, const mcp_access_key_t *key)
{
    size_t             size;
    mcp_buf_t          b;
    mcp_str_t          line;
    const char        *error;
    mcp_access_key_t  *copy;

    size = MCP_ACCESS_KEY_LINE + 1;
    copy = mcpctl_alloc(in->ctl, sizeof(mcp_access_key_t));

    mcp_buf_init(&b, mcpctl_alloc(in->ctl, size), size);
    mcp_access_key_write(&b, key);

    line.data = b.start;
    line.len = (size_t) (b.pos - b.start);

    if (!b.overflow
        && mcp_access_key_parse(&line, &in->ctl->mem, copy, &error) == MCP_OK)
    {
        in->key = copy;
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
