/*
 * `token create`, `token rotate`, `token revoke`.
 *
 * A new token exists in this process alone: it is shown once, and its memory
 * wiped.  The record is stored first; a token that could not be shown is told
 * by its id, so that it can be revoked.
 */

#include "mcpctl_token.h"


#define MCPCTL_PAT_DAYS       366       /* a person's token, at most */
#define MCPCTL_OVERLAP        "1h"
#define MCPCTL_TOKEN_TRIES    5         /* when it changes meanwhile */
#define MCPCTL_GRACE          86400     /* s */


/* The options of `token create`. */
typedef struct {
    const char          *user;
    const char          *issuer;
    const char          *service;
    const char          *roles;
    const char          *servers;
    const char          *scopes;
    const char          *expires;
    const char          *label;
    const char          *store;
    unsigned             force;
    unsigned             no_audit;
} mcpctl_create_t;


/* ... and of `token rotate`. */
typedef struct {
    const char          *id;
    const char          *expires;
    int64_t              overlap;       /* s */
    unsigned             force;
    unsigned             no_audit;
} mcpctl_rotate_t;


static int mcpctl_create_key(mcpctl_t *ctl, const mcpctl_create_t *o,
    int64_t now, mcp_access_key_t *key);
static int mcpctl_create_owner(mcpctl_t *ctl, const mcpctl_create_t *o,
    mcp_access_key_t *key);
static int mcpctl_create_known(mcpctl_t *ctl, const mcp_access_key_t *key,
    unsigned force);
static unsigned mcpctl_create_role(const mcpctl_conf_t *conf,
    const mcp_str_t *name);
static int mcpctl_create_in(mcpctl_t *ctl, mcpctl_store_t *st,
    mcp_access_key_t *key, mcpctl_audit_t *audit);

static int mcpctl_token_lifetime(mcpctl_t *ctl, const mcp_access_key_t *key,
    int64_t now, unsigned force);
static int mcpctl_token_make(mcpctl_t *ctl, const mcpctl_store_t *st,
    mcp_access_key_t *key, int64_t now, mcpctl_secret_token_t *token);
static int mcpctl_token_pepper(mcpctl_t *ctl, mcp_pepper_ring_t *ring);
static int mcpctl_token_find(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const char *id, mcpctl_token_t **token);

static int mcpctl_rotate_in(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const mcpctl_rotate_t *o, mcpctl_audit_t *audit);
static int mcpctl_rotate_allowed(mcpctl_t *ctl, const mcpctl_token_t *old,
    int64_t now, unsigned force);
static int mcpctl_rotate_one(mcpctl_t *ctl, const mcpctl_token_t *old,
    mcp_access_key_t *key, int64_t now, int64_t overlap,
    mcpctl_audit_t *audit);

static int mcpctl_revoke_in(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const char *id, const mcp_str_t *reason, mcpctl_audit_t *audit,
    mcpctl_token_t *token);
static int mcpctl_revoke_one(mcpctl_t *ctl, mcpctl_token_t *token,
    const mcp_str_t *reason, mcpctl_audit_t *audit);
static int mcpctl_revoke_mark(mcpctl_t *ctl, const mcp_revocation_t *r,
    mcpctl_audit_t *audit);


int
mcpctl_token_create(mcpctl_t *ctl, int argc, char **argv)
{
    int               rc;
    mcpctl_list_t     stores;
    mcpctl_audit_t    audit;
    mcpctl_create_t   o;
    mcp_access_key_t  key;

    const mcpctl_option_t  options[] = {
        { "user", &o.user, NULL },
        { "issuer", &o.issuer, NULL },
        { "service", &o.service, NULL },
        { "roles", &o.roles, NULL },
        { "servers", &o.servers, NULL },
        { "scopes", &o.scopes, NULL },
        { "expires", &o.expires, NULL },
        { "label", &o.label, NULL },
        { "store", &o.store, NULL },
        { "force", NULL, &o.force },
        { "no-audit", NULL, &o.no_audit },
        { NULL, NULL, NULL }
    };

    memset(&o, 0, sizeof(mcpctl_create_t));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if ((o.user == NULL) == (o.service == NULL) || o.roles == NULL
        || o.servers == NULL || o.expires == NULL)
    {
        (void) mcpctl_error(ctl, 0, "one of --user and --service, and --roles, "
                            "--servers and --expires have to be there");
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_create_key(ctl, &o, mcpctl_now(), &key);

    if (rc != MCPCTL_OK) {
        return rc;
    }

    if (mcpctl_audit_open(ctl, &audit, o.no_audit) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, o.store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_create_in(ctl, stores.elts[0], &key, &audit);
    }

    mcpctl_stores_close(&stores);
    mcpctl_audit_close(&audit);

    return rc;
}


/* All that the command line says, checked against the configuration. */
static int
mcpctl_create_key(mcpctl_t *ctl, const mcpctl_create_t *o, int64_t now,
    mcp_access_key_t *key)
{
    int  rc;

    memset(key, 0, sizeof(mcp_access_key_t));

    rc = mcpctl_create_owner(ctl, o, key);

    if (rc != MCPCTL_OK) {
        return rc;
    }

    if (mcpctl_arg_list(ctl, "roles", o->roles, MCP_ACCESS_KEY_ITEMS,
                        &key->roles, &key->nroles) != 0
        || mcpctl_arg_list(ctl, "servers", o->servers, MCP_MAX_AUDIENCES,
                           &key->servers, &key->nservers) != 0
        || (o->scopes
            && mcpctl_arg_list(ctl, "scopes", o->scopes, MCP_ACCESS_KEY_ITEMS,
                               &key->scopes, &key->nscopes) != 0)
        || (o->label
            && mcpctl_arg_text(ctl, "label", o->label, &key->label) != 0)
        || mcpctl_arg_time(ctl, "expires", o->expires, now, &key->expires)
           != 0)
    {
        return mcpctl_usage(ctl);
    }

    rc = mcpctl_token_lifetime(ctl, key, now, o->force);

    return rc == MCPCTL_OK ? mcpctl_create_known(ctl, key, o->force) : rc;
}


static int
mcpctl_create_owner(mcpctl_t *ctl, const mcpctl_create_t *o,
    mcp_access_key_t *key)
{
    if (o->service) {
        key->auth = MCP_AUTH_VAT;

        if (o->issuer) {
            (void) mcpctl_error(ctl, 0, "a service account has no --issuer");
            return mcpctl_usage(ctl);
        }

        return mcpctl_arg_text(ctl, "service", o->service, &key->service) == 0
               ? MCPCTL_OK : mcpctl_usage(ctl);
    }

    key->auth = MCP_AUTH_PAT;

    if (mcpctl_arg_text(ctl, "user", o->user, &key->user) != 0) {
        return mcpctl_usage(ctl);
    }

    return mcpctl_arg_issuer(ctl, o->issuer, o->force, &key->issuer);
}


/* Is it allowed to live that long?  MCPCTL_OK or MCPCTL_REFUSED: said. */
static int
mcpctl_token_lifetime(mcpctl_t *ctl, const mcp_access_key_t *key, int64_t now,
    unsigned force)
{
    if (key->expires > MCP_TIME_MAX) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "it would expire after the "
                            "year 9999");
    }

    if (key->expires <= now) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "it would have expired at %s",
                            mcpctl_arg_moment(ctl, key->expires));
    }

    if (key->auth == MCP_AUTH_PAT && !force
        && key->expires - now > MCPCTL_PAT_DAYS * 86400)
    {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "a person's token lives for "
                            "%d days at most (--force: longer)",
                            MCPCTL_PAT_DAYS);
    }

    return MCPCTL_OK;
}


/* Does the configuration have what the token is for? */
static int
mcpctl_create_known(mcpctl_t *ctl, const mcp_access_key_t *key,
    unsigned force)
{
    unsigned  i;

    for (i = 0; i < key->nroles; i++) {

        if (mcp_str_eq_lit(&key->roles[i], "*")) {
            return mcpctl_error(ctl, MCPCTL_REFUSED, "the role \"*\" is every "
                                "caller's, and cannot be given");
        }

        if (!force && mcpctl_create_role(ctl->conf, &key->roles[i]) == 0) {
            return mcpctl_error(ctl, MCPCTL_REFUSED, "\"%s\" has no role "
                                "\"%s\" (--force: it will)",
                                ctl->conf->file.data, key->roles[i].data);
        }
    }

    for (i = 0; i < key->nservers; i++) {

        if (!force && !mcp_str_eq_lit(&key->servers[i], "*")
            && mcpctl_conf_server(ctl->conf, &key->servers[i]) == NULL)
        {
            return mcpctl_error(ctl, MCPCTL_REFUSED, "\"%s\" has no mcp_server "
                                "\"%s\" (--force: it will)",
                                ctl->conf->file.data, key->servers[i].data);
        }
    }

    return MCPCTL_OK;
}


/* Its number; 0: there is none of this name. */
static unsigned
mcpctl_create_role(const mcpctl_conf_t *conf, const mcp_str_t *name)
{
    unsigned  i;

    for (i = 1; i < conf->nroles; i++) {
        if (mcp_str_eq(&conf->roles[i], name)) {
            return i;
        }
    }

    return 0;
}


static int
mcpctl_create_in(mcpctl_t *ctl, mcpctl_store_t *st, mcp_access_key_t *key,
    mcpctl_audit_t *audit)
{
    int                    rc;
    int64_t                now;
    mcpctl_token_t         token;
    mcpctl_secret_token_t  secret;

    now = mcpctl_now();

    if (mcpctl_token_make(ctl, st, key, now, &secret) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    mcpctl_audit_token(audit, "token/create", key, st->name);

    rc = st->create(st, key, audit);

    if (rc == MCP_OK) {
        mcpctl_token_warn(ctl, key, now);

        memset(&token, 0, sizeof(mcpctl_token_t));
        token.key = *key;
        token.store = st;

        rc = mcpctl_token_show_new(ctl, &token, &secret);

    } else {
        mcpctl_audit_failed(audit);

        if (rc == MCP_DECLINED) {
            (void) mcpctl_error(ctl, 0, "a token of this id is there already");
        }

        rc = MCPCTL_FAILED;
    }

    mcpctl_wipe(&secret, sizeof(mcpctl_secret_token_t));

    return rc;
}


/*
 * A token for this store; id, hash, pepper and hint go into key, with the time
 * and the operator's name.  MCP_OK, or MCP_ERROR: said.
 */
static int
mcpctl_token_make(mcpctl_t *ctl, const mcpctl_store_t *st,
    mcp_access_key_t *key, int64_t now, mcpctl_secret_token_t *token)
{
    mcp_str_t          text;
    unsigned char      id[MCP_ACCESS_KEY_ID];
    mcp_pepper_ring_t  ring;

    if (mcpctl_token_pepper(ctl, &ring) != MCP_OK) {
        return MCP_ERROR;
    }

    memset(token, 0, sizeof(mcpctl_secret_token_t));

    if (mcp_access_key_make(key->auth, token->text, id) != MCP_OK) {
        return mcpctl_error(ctl, MCP_ERROR, "OpenSSL has no random bytes");
    }

    text.data = token->text;
    text.len = MCP_ACCESS_KEY_LEN;

    mcp_access_key_hash(&ring.peppers[0], &text, key->hash);
    memcpy(key->pepper, ring.peppers[0].id, sizeof(key->pepper));
    mcpctl_wipe(&ring, sizeof(mcp_pepper_ring_t));

    key->id = mcpctl_str(ctl, id, MCP_ACCESS_KEY_ID);
    key->hint = mcpctl_str(ctl, token->text + MCP_ACCESS_KEY_LEN - 4, 4);
    key->by = mcpctl_operator(ctl);

    /* by the clock that is behind, as revocations go by the one that is ahead:
     * none is missed */

    key->created = now + (st->ahead < 0 ? st->ahead : 0);

    return MCP_OK;
}


static int
mcpctl_token_pepper(mcpctl_t *ctl, mcp_pepper_ring_t *ring)
{
    int        rc;
    mcp_str_t  secret;

    if (ctl->conf->ntoken_keys == 0) {
        return mcpctl_error(ctl, MCP_ERROR, "\"%s\" has no mcp_token_key",
                            ctl->conf->file.data);
    }

    if (mcpctl_key_file(ctl, &ctl->conf->token_keys[0], &secret)
        != MCPCTL_OK)
    {
        return MCP_ERROR;
    }

    memset(ring, 0, sizeof(mcp_pepper_ring_t));

    rc = mcp_pepper_add(ring, &secret);
    mcpctl_wipe(secret.data, secret.len);

    if (rc != MCP_OK) {
        return mcpctl_error(ctl, MCP_ERROR, "the key in \"%s\" cannot be used",
                            ctl->conf->token_keys[0].data);
    }

    return MCP_OK;
}


int
mcpctl_token_rotate(mcpctl_t *ctl, int argc, char **argv)
{
    int              n, rc;
    const char      *overlap, *store;
    mcpctl_list_t    stores;
    mcpctl_audit_t   audit;
    mcpctl_rotate_t  o;

    const mcpctl_option_t  options[] = {
        { "overlap", &overlap, NULL },
        { "expires", &o.expires, NULL },
        { "store", &store, NULL },
        { "force", NULL, &o.force },
        { "no-audit", NULL, &o.no_audit },
        { NULL, NULL, NULL }
    };

    memset(&o, 0, sizeof(mcpctl_rotate_t));
    overlap = MCPCTL_OVERLAP;
    store = NULL;

    n = mcpctl_options(ctl, options, argc, argv, &o.id, 1);

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (n == 0) {
        (void) mcpctl_error(ctl, 0, "the token's id is missing");
        return mcpctl_usage(ctl);
    }

    if (mcpctl_arg_duration(ctl, "overlap", overlap, &o.overlap) != 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK
        || mcpctl_audit_open(ctl, &audit, o.no_audit) != MCP_OK)
    {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_rotate_in(ctl, &stores, &o, &audit);
    }

    mcpctl_stores_close(&stores);
    mcpctl_audit_close(&audit);

    return rc;
}


/* Again, when it is another record by the time that it is changed. */
static int
mcpctl_rotate_in(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const mcpctl_rotate_t *o, mcpctl_audit_t *audit)
{
    int                rc;
    int64_t            now;
    unsigned           tries;
    mcp_str_t          none;
    mcpctl_token_t    *old;
    mcp_access_key_t   key;

    for (tries = 0; tries < MCPCTL_TOKEN_TRIES; tries++) {

        rc = mcpctl_token_find(ctl, stores, o->id, &old);
        if (rc != MCPCTL_OK) {
            return rc;
        }

        now = mcpctl_now();

        rc = mcpctl_rotate_allowed(ctl, old, now, o->force);
        if (rc != MCPCTL_OK) {
            return rc;
        }

        key = old->key;
        key.replaces = old->key.id;
        key.expires = now + (old->key.expires - old->key.created);

        if (o->expires
            && mcpctl_arg_time(ctl, "expires", o->expires, now, &key.expires)
               != 0)
        {
            return mcpctl_usage(ctl);
        }

        rc = mcpctl_token_lifetime(ctl, &key, now, o->force);
        if (rc != MCPCTL_OK) {
            return rc;
        }

        rc = mcpctl_rotate_one(ctl, old, &key, now, o->overlap, audit);

        if (rc == MCPCTL_OK && o->overlap == 0) {
            mcp_str_null(&none);
            return mcpctl_revoke_in(ctl, stores, o->id, &none, audit, NULL);
        }

        if (rc != MCP_DECLINED) {
            return rc;
        }
    }

    return mcpctl_error(ctl, MCPCTL_FAILED, "%s is changed by others all the "
                        "time", o->id);
}


/* Who was revoked gets no new token by way of an old one. */
static int
mcpctl_rotate_allowed(mcpctl_t *ctl, const mcpctl_token_t *old, int64_t now,
    unsigned force)
{
    mcpctl_list_t              in_force;
    const mcpctl_watermark_t  *w;

    if (old->key.revoked) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "%s was revoked at %s",
                            old->key.id.data,
                            mcpctl_arg_moment(ctl, old->key.revoked));
    }

    if (old->key.expires <= now) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "%s expired at %s",
                            old->key.id.data,
                            mcpctl_arg_moment(ctl, old->key.expires));
    }

    if (force) {
        return MCPCTL_OK;
    }

    mcpctl_store_in_force(ctl, now, &in_force);
    w = mcpctl_store_covered(&in_force, &old->key, old->key.created, 1);

    if (w) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "%s falls under \"%s\" "
                            "(--force: a new one all the same)",
                            old->key.id.data, w->line.data);
    }

    return MCPCTL_OK;
}


/* MCP_DECLINED: to be tried again; else an exit code. */
static int
mcpctl_rotate_one(mcpctl_t *ctl, const mcpctl_token_t *old,
    mcp_access_key_t *key, int64_t now, int64_t overlap,
    mcpctl_audit_t *audit)
{
    int                     rc;
    mcpctl_store_t         *st;
    mcpctl_token_t          token;
    mcp_access_key_t        changed;
    mcpctl_secret_token_t   secret;

    st = old->store;
    changed = old->key;

    if (changed.expires > now + overlap) {
        changed.expires = now + overlap;
    }

    if (mcpctl_token_make(ctl, st, key, now, &secret) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    mcpctl_audit_token(audit, "token/rotate", key, st->name);

    rc = st->rotate(st, old, &changed, key, audit);

    if (rc != MCP_OK) {
        mcpctl_audit_failed(audit);
        mcpctl_wipe(&secret, sizeof(secret));
        return rc == MCP_DECLINED ? MCP_DECLINED : MCPCTL_FAILED;
    }

    mcpctl_token_warn(ctl, key, now);

    if (ctl->verbose) {
        mcpctl_warn(ctl, "%s, which it replaces, is good until %s",
                    old->key.id.data,
                    mcpctl_arg_moment(ctl, changed.expires));
    }

    memset(&token, 0, sizeof(mcpctl_token_t));
    token.key = *key;
    token.store = st;

    rc = mcpctl_token_show_new(ctl, &token, &secret);
    mcpctl_wipe(&secret, sizeof(secret));

    return rc;
}


int
mcpctl_token_revoke(mcpctl_t *ctl, int argc, char **argv)
{
    int              n, rc;
    unsigned         no_audit;
    mcp_str_t        reason;
    const char      *id, *text, *store;
    mcpctl_list_t    stores;
    mcpctl_token_t   token;
    mcpctl_audit_t   audit;

    const mcpctl_option_t  options[] = {
        { "reason", &text, NULL },
        { "store", &store, NULL },
        { "no-audit", NULL, &no_audit },
        { NULL, NULL, NULL }
    };

    text = NULL;
    store = NULL;
    no_audit = 0;
    mcp_str_null(&reason);

    n = mcpctl_options(ctl, options, argc, argv, &id, 1);

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (n == 0) {
        (void) mcpctl_error(ctl, 0, "the token's id is missing");
        return mcpctl_usage(ctl);
    }

    if (text && mcpctl_arg_text(ctl, "reason", text, &reason) != 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK
        || mcpctl_audit_open(ctl, &audit, no_audit) != MCP_OK)
    {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_revoke_in(ctl, &stores, id, &reason, &audit, &token);
    }

    if (rc == MCPCTL_OK && ctl->json) {
        mcpctl_json_print(ctl, mcpctl_token_json(ctl, &token, "revoked"));

    } else if (rc == MCPCTL_OK) {
        printf("revoked: %s of %s\n", token.key.id.data,
               mcpctl_token_owner(ctl, &token.key));
    }

    mcpctl_stores_close(&stores);
    mcpctl_audit_close(&audit);

    return rc;
}


/*
 * An exit code.  One that was revoked is revoked again: who is in doubt may
 * repeat it.  token (may be NULL): what it is now.
 */
static int
mcpctl_revoke_in(mcpctl_t *ctl, const mcpctl_list_t *stores, const char *id,
    const mcp_str_t *reason, mcpctl_audit_t *audit, mcpctl_token_t *token)
{
    int              rc;
    unsigned         tries;
    mcpctl_token_t  *old;

    for (tries = 0; tries < MCPCTL_TOKEN_TRIES; tries++) {

        rc = mcpctl_token_find(ctl, stores, id, &old);
        if (rc != MCPCTL_OK) {
            return rc;
        }

        if (old->key.revoked && token) {
            mcpctl_warn(ctl, "%s was revoked at %s", id,
                        mcpctl_arg_moment(ctl, old->key.revoked));
        }

        audit->written = 0;

        rc = mcpctl_revoke_one(ctl, old, reason, audit);

        if (rc == MCP_OK && token) {
            *token = *old;
        }

        if (rc != MCP_DECLINED) {
            return rc == MCP_OK ? MCPCTL_OK : MCPCTL_FAILED;
        }
    }

    return mcpctl_error(ctl, MCPCTL_FAILED, "%s is changed by others all the "
                        "time", id);
}


/*
 * The record says that it is revoked, and a watermark of its id takes effect
 * where it is cached or has a stream open.  MCP_DECLINED: to be tried again.
 */
static int
mcpctl_revoke_one(mcpctl_t *ctl, mcpctl_token_t *token,
    const mcp_str_t *reason, mcpctl_audit_t *audit)
{
    int                rc;
    int64_t            now;
    mcpctl_store_t    *st;
    mcp_revocation_t   r;
    mcp_access_key_t   changed;

    st = token->store;
    now = mcpctl_now();
    changed = token->key;

    if (changed.revoked == 0) {
        changed.revoked = now;
    }

    memset(&r, 0, sizeof(mcp_revocation_t));

    r.type = MCP_REVOKE_TOKEN;
    r.issuer = changed.issuer;
    r.value = changed.id;
    r.at = now + (st->ahead > 0 ? st->ahead : 0);
    r.by = mcpctl_operator(ctl);
    r.reason = *reason;

    /* a stream may outlive its token by stream_grace, a day at most */

    r.until = (changed.expires > now ? changed.expires : now) + MCPCTL_GRACE;

    if (r.at < changed.created) {
        r.at = changed.created;
    }

    mcpctl_audit_token(audit, "token/revoke", &changed, st->name);
    audit->record.at = r.at;
    audit->record.note = *reason;

    /* in files these are two lines: what ends it at once comes first */

    rc = st->redis ? MCP_OK : mcpctl_revoke_mark(ctl, &r, audit);

    if (rc == MCP_OK) {
        rc = st->revoke(st, token, &changed, &r, audit);
    }

    if (rc != MCP_OK) {
        mcpctl_audit_failed(audit);
        return rc;
    }

    token->key = changed;

    return MCP_OK;
}


static int
mcpctl_revoke_mark(mcpctl_t *ctl, const mcp_revocation_t *r,
    mcpctl_audit_t *audit)
{
    int              rc;
    mcpctl_list_t    stores;
    mcpctl_store_t  *st;

    if (ctl->conf->revocation_file.len == 0 && ctl->conf->redis == NULL) {
        mcpctl_warn(ctl, "without mcp_revocation_file open streams of the "
                    "token go on until they end");
        return MCP_OK;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS,
                            ctl->conf->revocation_file.len ? "file" : "redis",
                            &stores);
    if (rc != MCPCTL_OK) {
        return MCP_ERROR;
    }

    st = stores.elts[0];
    rc = st->set(st, r, audit);

    mcpctl_stores_close(&stores);

    return rc == MCP_OK ? MCP_OK : MCP_ERROR;
}


/* In any of the stores.  MCPCTL_OK, or an exit code: said. */
static int
mcpctl_token_find(mcpctl_t *ctl, const mcpctl_list_t *stores, const char *id,
    mcpctl_token_t **token)
{
    int              rc;
    unsigned         i;
    mcp_str_t        want;
    mcpctl_store_t  *st;

    want = mcpctl_cstr(id);

    if (mcp_access_key_kind(&want)) {
        return mcpctl_error(ctl, MCPCTL_USAGE, "this is the token itself, and "
                            "now in your shell's history: its id is wanted");
    }

    for (i = 0; i < stores->n; i++) {
        st = stores->elts[i];
        rc = st->token(st, &want, token);

        if (rc != MCP_DECLINED) {
            return rc == MCP_OK ? MCPCTL_OK : MCPCTL_FAILED;
        }
    }

    return mcpctl_error(ctl, MCPCTL_REFUSED, "there is no token \"%s\"", id);
}
