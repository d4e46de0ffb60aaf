/*
 * token create, list, rotate, revoke: the gateway's own tokens (PAT, VAT).
 *
 * A token is shown once, on stdout, when it is made; everything else is about
 * its record.  What the configuration does not have (a role, a server, an
 * issuer) is refused, since such a token would open nothing, or something else
 * later: --force says that it is meant.
 */

#include "mcpctl_args.h"
#include "mcpctl_out.h"
#include "mcpctl_store.h"

#include <string.h>


#define MCPCTL_PAT_MAX   (366 * 86400ll)        /* s; longer with --force */
#define MCPCTL_OVERLAP   "1h"
#define MCPCTL_GRACE     86400          /* s */
#define MCPCTL_TRIES     3


typedef struct {
    const char          *user;
    const char          *service;
    const char          *issuer;
    const char          *roles;
    const char          *servers;
    const char          *scopes;
    const char          *expires;
    const char          *label;
    const char          *overlap;
    const char          *store;
    unsigned             force;
    unsigned             no_audit;
    unsigned             all;
} mcpctl_token_args_t;


static int mcpctl_token_args(mcpctl_t *ctl, mcpctl_token_args_t *a,
    mcp_access_key_t *key, int64_t now);
static int mcpctl_token_known(mcpctl_t *ctl, const mcp_access_key_t *key,
    unsigned force);
static int mcpctl_token_lifetime(mcpctl_t *ctl, const mcp_access_key_t *key,
    int64_t now, unsigned force);
static int mcpctl_token_make(mcpctl_t *ctl, mcp_access_key_t *key,
    mcp_str_t *token);
static int mcpctl_token_pepper(mcpctl_t *ctl, mcp_pepper_ring_t *ring);
static void mcpctl_token_fallen(mcpctl_t *ctl, const mcp_access_key_t *key,
    int64_t now);
static void mcpctl_token_print(mcpctl_t *ctl, const mcp_access_key_t *key,
    const mcp_str_t *token);
static int mcpctl_token_find(mcpctl_t *ctl, const char *id, const char *store,
    mcpctl_list_t *stores, mcpctl_token_t **token);
static int mcpctl_token_end(mcpctl_t *ctl, mcpctl_token_t *token, int64_t now,
    unsigned no_audit);
static int mcpctl_token_mark(mcpctl_t *ctl, const mcp_revocation_t *r,
    unsigned no_audit);
static json_t *mcpctl_token_json(mcpctl_t *ctl, const mcp_access_key_t *key);
static const char *mcpctl_token_state(const mcp_access_key_t *key,
    const mcpctl_list_t *marks, int64_t now);
static char *mcpctl_token_words(mcpctl_t *ctl, const mcp_str_t *words,
    unsigned n);


int
mcpctl_token_create(mcpctl_t *ctl, int argc, char **argv)
{
    int                   i, rc;
    int64_t               now;
    mcp_str_t             token;
    mcpctl_list_t         stores;
    mcpctl_store_t       *st;
    mcpctl_audit_t        audit;
    mcp_access_key_t      key;
    mcpctl_token_args_t   a;

    const mcpctl_option_t  options[] = {
        { "user", &a.user, NULL },
        { "service", &a.service, NULL },
        { "issuer", &a.issuer, NULL },
        { "roles", &a.roles, NULL },
        { "servers", &a.servers, NULL },
        { "scopes", &a.scopes, NULL },
        { "expires", &a.expires, NULL },
        { "label", &a.label, NULL },
        { "store", &a.store, NULL },
        { "force", NULL, &a.force },
        { "no-audit", NULL, &a.no_audit },
        { NULL, NULL, NULL }
    };

    memset(&a, 0, sizeof(a));
    memset(&key, 0, sizeof(key));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    now = mcpctl_now();

    rc = mcpctl_token_args(ctl, &a, &key, now);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, a.store, &stores);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    if (mcpctl_audit_open(ctl, &audit, a.no_audit) != MCP_OK) {
        mcpctl_stores_close(&stores);
        return MCPCTL_FAILED;
    }

    st = stores.elts[0];
    key.by = mcpctl_operator(ctl);
    key.created = now;
    rc = MCP_ERROR;

    for (i = 0; i < MCPCTL_TRIES; i++) {

        if (mcpctl_token_make(ctl, &key, &token) != MCP_OK) {
            rc = MCP_ERROR;
            break;
        }

        mcpctl_audit_token(&audit, "token/create", &key, st->name);
        rc = st->create(st, &key, &audit);

        if (rc != MCP_DECLINED) {
            break;
        }
    }

    if (rc == MCP_OK) {
        mcpctl_token_fallen(ctl, &key, now);
        mcpctl_token_print(ctl, &key, &token);
        mcpctl_wipe(token.data, token.len);

    } else {
        mcpctl_audit_failed(&audit);
    }

    mcpctl_audit_close(&audit);
    mcpctl_stores_close(&stores);

    return rc == MCP_OK ? MCPCTL_OK : MCPCTL_FAILED;
}


/* What was said of the new token -> key.  An exit code. */
static int
mcpctl_token_args(mcpctl_t *ctl, mcpctl_token_args_t *a, mcp_access_key_t *key,
    int64_t now)
{
    int  rc;

    if ((a->user == NULL) == (a->service == NULL)) {
        (void) mcpctl_error(ctl, 0, "either --user or --service has to say "
                            "whose it is");
        return mcpctl_usage(ctl);
    }

    if (a->roles == NULL || a->servers == NULL || a->expires == NULL) {
        (void) mcpctl_error(ctl, 0, "--roles, --servers and --expires are "
                            "needed");
        return mcpctl_usage(ctl);
    }

    if (a->user) {
        key->auth = MCP_AUTH_PAT;

        if (mcpctl_arg_text(ctl, "user", a->user, &key->user) != 0) {
            return mcpctl_usage(ctl);
        }

        rc = mcpctl_arg_issuer(ctl, a->issuer, a->force, &key->issuer);
        if (rc != MCPCTL_OK) {
            return rc;
        }

    } else {
        key->auth = MCP_AUTH_VAT;

        if (a->issuer) {
            (void) mcpctl_error(ctl, 0, "a service account has no --issuer");
            return mcpctl_usage(ctl);
        }

        if (mcpctl_arg_text(ctl, "service", a->service, &key->service) != 0) {
            return mcpctl_usage(ctl);
        }
    }

    if (mcpctl_arg_list(ctl, "roles", a->roles, MCP_ACCESS_KEY_ITEMS,
                        &key->roles, &key->nroles) != 0
        || mcpctl_arg_list(ctl, "servers", a->servers, MCP_ACCESS_KEY_ITEMS,
                           &key->servers, &key->nservers) != 0
        || (a->scopes
            && mcpctl_arg_list(ctl, "scopes", a->scopes, MCP_ACCESS_KEY_ITEMS,
                               &key->scopes, &key->nscopes) != 0)
        || (a->label
            && mcpctl_arg_text(ctl, "label", a->label, &key->label) != 0)
        || mcpctl_arg_time(ctl, "expires", a->expires, now, &key->expires)
           != 0)
    {
        return mcpctl_usage(ctl);
    }

    rc = mcpctl_token_lifetime(ctl, key, now, a->force);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    return mcpctl_token_known(ctl, key, a->force);
}


static int
mcpctl_token_lifetime(mcpctl_t *ctl, const mcp_access_key_t *key, int64_t now,
    unsigned force)
{
    if (key->expires <= now) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "--expires is in the past");
    }

    if (key->auth == MCP_AUTH_PAT && key->expires - now > MCPCTL_PAT_MAX
        && !force)
    {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "a person's token is for 366 "
                            "days at most (--force: it is meant)");
    }

    return MCPCTL_OK;
}


/* Roles and servers that the configuration has. */
static int
mcpctl_token_known(mcpctl_t *ctl, const mcp_access_key_t *key, unsigned force)
{
    unsigned          i, k;
    mcpctl_server_t  *sv;

    for (i = 0; i < key->nroles && !force; i++) {

        for (k = 1; k < ctl->conf->nroles; k++) {
            if (mcp_str_eq(&ctl->conf->roles[k], &key->roles[i])) {
                break;
            }
        }

        if (k >= ctl->conf->nroles) {
            return mcpctl_error(ctl, MCPCTL_REFUSED, "\"%s\" has no role "
                                "\"%s\" (--force: it is meant)",
                                ctl->conf->file.data, key->roles[i].data);
        }
    }

    for (i = 0; i < key->nservers; i++) {

        if (mcp_str_eq_lit(&key->servers[i], "*")) {
            continue;
        }

        sv = mcpctl_conf_server(ctl->conf, &key->servers[i]);

        if (sv == NULL && !force) {
            return mcpctl_error(ctl, MCPCTL_REFUSED, "\"%s\" has no mcp_server "
                                "\"%s\" (--force: it is meant)",
                                ctl->conf->file.data, key->servers[i].data);
        }

        if (sv && sv->tokens != 1) {
            mcpctl_warn(ctl, "mcp_server \"%s\" does not accept tokens of the "
                        "gateway: it has no \"tokens on\"", sv->name.data);
        }
    }

    return MCPCTL_OK;
}


/* A new token, its id, hash and hint. */
static int
mcpctl_token_make(mcpctl_t *ctl, mcp_access_key_t *key, mcp_str_t *token)
{
    mcp_pepper_ring_t  ring;

    if (mcpctl_token_pepper(ctl, &ring) != MCP_OK) {
        return MCP_ERROR;
    }

    token->len = MCP_ACCESS_KEY_LEN;
    token->data = mcpctl_alloc(ctl, MCP_ACCESS_KEY_LEN + 1);

    key->id.len = MCP_ACCESS_KEY_ID;
    key->id.data = mcpctl_alloc(ctl, MCP_ACCESS_KEY_ID + 1);

    if (mcp_access_key_make(key->auth, token->data, key->id.data) != MCP_OK) {
        return mcpctl_error(ctl, MCP_ERROR, "OpenSSL has no random bytes");
    }

    memcpy(key->pepper, ring.peppers[0].id, sizeof(key->pepper));
    mcp_access_key_hash(&ring.peppers[0], token, key->hash);
    mcpctl_wipe(&ring, sizeof(ring));

    key->hint = mcpctl_str(ctl, token->data + token->len - 4, 4);

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

    memset(ring, 0, sizeof(mcp_pepper_ring_t));

    if (mcpctl_key_file(ctl, &ctl->conf->token_keys[0], &secret)
        != MCPCTL_OK)
    {
        return MCP_ERROR;
    }

    rc = mcp_pepper_add(ring, &secret);
    mcpctl_wipe(secret.data, secret.len);

    if (rc != MCP_OK) {
        return mcpctl_error(ctl, MCP_ERROR, "the key in \"%s\" cannot be used",
                            ctl->conf->token_keys[0].data);
    }

    return MCP_OK;
}


/* Somebody who left gets a token: it would open nothing, and that is said. */
static void
mcpctl_token_fallen(mcpctl_t *ctl, const mcp_access_key_t *key, int64_t now)
{
    mcpctl_list_t              marks;
    const mcpctl_watermark_t  *w;

    mcpctl_store_in_force(ctl, now, &marks);
    w = mcpctl_store_covered(&marks, key, key->created, 0);

    if (w) {
        mcpctl_warn(ctl, "the token is of no use: what was issued before %s "
                    "is revoked (%s); see \"mcpctl unrevoke\"",
                    mcpctl_arg_moment(ctl, w->r.at), w->line.data);
    }
}


static void
mcpctl_token_print(mcpctl_t *ctl, const mcp_access_key_t *key,
    const mcp_str_t *token)
{
    json_t  *object;

    if (ctl->json) {
        object = mcpctl_token_json(ctl, key);
        mcpctl_json_set(ctl, object, "token", mcpctl_json_text(ctl, token));
        mcpctl_json_print(ctl, object);
        return;
    }

    printf("%.*s\n", (int) token->len, token->data);
    fprintf(stderr, "%s, until %s; it is not shown again\n", key->id.data,
            mcpctl_arg_moment(ctl, key->expires));
}


int
mcpctl_token_list(mcpctl_t *ctl, int argc, char **argv)
{
    int                    rc;
    json_t                *array, *object;
    int64_t                now;
    unsigned               i;
    mcp_str_t              want;
    const char            *state;
    mcpctl_list_t          stores, tokens, marks;
    mcpctl_store_t        *st;
    mcpctl_token_t        *t;
    mcpctl_table_t        *table;
    mcp_access_key_t      *key;
    mcpctl_token_args_t    a;

    const mcpctl_option_t  options[] = {
        { "user", &a.user, NULL },
        { "service", &a.service, NULL },
        { "store", &a.store, NULL },
        { "all", NULL, &a.all },
        { NULL, NULL, NULL }
    };

    static const char *const  headings[] = {
        "ID", "OWNER", "ROLES", "SERVERS", "CREATED", "EXPIRES", "STATE",
        "USED", "ENDS IN", "LABEL", NULL
    };

    memset(&a, 0, sizeof(a));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, a.store, &stores);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    memset(&tokens, 0, sizeof(tokens));

    for (i = 0; i < stores.n; i++) {
        st = stores.elts[i];

        if (st->tokens(st, &tokens) != MCP_OK) {
            mcpctl_stores_close(&stores);
            return MCPCTL_FAILED;
        }

        if (st->damaged) {
            rc = MCPCTL_FAILED;
        }
    }

    mcpctl_stores_close(&stores);

    now = mcpctl_now();
    mcpctl_store_in_force(ctl, now, &marks);

    array = mcpctl_json_array(ctl);
    table = mcpctl_table(ctl, headings);

    for (i = 0; i < tokens.n; i++) {
        t = tokens.elts[i];
        key = &t->key;

        if (a.user) {
            want = mcpctl_cstr(a.user);
            if (!mcp_str_eq(&want, &key->user)) {
                continue;
            }
        }

        if (a.service) {
            want = mcpctl_cstr(a.service);
            if (!mcp_str_eq(&want, &key->service)) {
                continue;
            }
        }

        state = mcpctl_token_state(key, &marks, now);

        if (!a.all && strcmp(state, "good") != 0) {
            continue;
        }

        if (ctl->json) {
            object = mcpctl_token_json(ctl, key);
            mcpctl_json_set(ctl, object, "state", json_string(state));
            mcpctl_json_set(ctl, object, "store",
                            json_string(t->store->name));

            if (t->used) {
                mcpctl_json_set(ctl, object, "used",
                                json_string(mcpctl_arg_moment(ctl, t->used)));
            }

            mcpctl_json_append(ctl, array, object);

        } else {
            const char  *cells[] = {
                (char *) key->id.data,
                mcpctl_shown(ctl, key->auth == MCP_AUTH_PAT ? &key->user
                                                            : &key->service,
                             64),
                mcpctl_token_words(ctl, key->roles, key->nroles),
                mcpctl_token_words(ctl, key->servers, key->nservers),
                mcpctl_arg_moment(ctl, key->created),
                mcpctl_arg_moment(ctl, key->expires),
                state,
                mcpctl_arg_moment(ctl, t->used),
                mcpctl_shown(ctl, &key->hint, 8),
                mcpctl_shown(ctl, &key->label, 64)
            };

            mcpctl_row(table, cells);
        }
    }

    if (ctl->json) {
        mcpctl_json_print(ctl, array);

    } else {
        json_decref(array);
        mcpctl_table_print(table);
    }

    return rc;
}


int
mcpctl_token_rotate(mcpctl_t *ctl, int argc, char **argv)
{
    int                   n, rc;
    int64_t               now, overlap;
    mcp_str_t             token;
    const char           *id;
    mcpctl_list_t         stores;
    mcpctl_store_t       *st;
    mcpctl_token_t       *old;
    mcpctl_audit_t        audit;
    mcp_access_key_t      key, changed;
    mcpctl_token_args_t   a;

    const mcpctl_option_t  options[] = {
        { "overlap", &a.overlap, NULL },
        { "expires", &a.expires, NULL },
        { "store", &a.store, NULL },
        { "force", NULL, &a.force },
        { "no-audit", NULL, &a.no_audit },
        { NULL, NULL, NULL }
    };

    memset(&a, 0, sizeof(a));
    a.overlap = MCPCTL_OVERLAP;

    n = mcpctl_options(ctl, options, argc, argv, &id, 1);
    now = mcpctl_now();

    if (n != 1
        || mcpctl_arg_duration(ctl, "overlap", a.overlap, &overlap) != 0)
    {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_token_find(ctl, id, a.store, &stores, &old);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    st = old->store;
    key = old->key;
    changed = old->key;

    if (key.revoked || key.expires <= now) {
        mcpctl_stores_close(&stores);
        return mcpctl_error(ctl, MCPCTL_REFUSED, "%s is %s: create a new one",
                            id, key.revoked ? "revoked" : "expired");
    }

    key.created = now;
    key.replaces = old->key.id;
    key.by = mcpctl_operator(ctl);
    key.expires = now + (old->key.expires - old->key.created);

    if (a.expires
        && mcpctl_arg_time(ctl, "expires", a.expires, now, &key.expires) != 0)
    {
        mcpctl_stores_close(&stores);
        return mcpctl_usage(ctl);
    }

    rc = mcpctl_token_lifetime(ctl, &key, now, a.force);

    if (rc == MCPCTL_OK && mcpctl_token_make(ctl, &key, &token) != MCP_OK) {
        rc = MCPCTL_FAILED;
    }

    if (rc != MCPCTL_OK
        || mcpctl_audit_open(ctl, &audit, a.no_audit) != MCP_OK)
    {
        mcpctl_stores_close(&stores);
        return rc != MCPCTL_OK ? rc : MCPCTL_FAILED;
    }

    if (changed.expires > now + overlap) {
        changed.expires = now + overlap;
    }

    mcpctl_audit_token(&audit, "token/rotate", &key, st->name);
    rc = st->rotate(st, old, &changed, &key, &audit);

    if (rc == MCP_OK) {
        mcpctl_token_fallen(ctl, &key, now);
        mcpctl_token_print(ctl, &key, &token);

    } else {
        mcpctl_audit_failed(&audit);

        if (rc == MCP_DECLINED) {
            (void) mcpctl_error(ctl, 0, "%s was changed meanwhile", id);
        }
    }

    mcpctl_wipe(token.data, token.len);
    mcpctl_audit_close(&audit);

    if (rc == MCP_OK && overlap == 0) {

        /* at once, where it is cached too */

        rc = st->token(st, &old->key.id, &old);

        if (rc == MCP_OK) {
            rc = mcpctl_token_end(ctl, old, now, a.no_audit);
        }
    }

    mcpctl_stores_close(&stores);

    return rc == MCP_OK ? MCPCTL_OK
                        : rc == MCP_DECLINED ? MCPCTL_REFUSED : MCPCTL_FAILED;
}


int
mcpctl_token_revoke(mcpctl_t *ctl, int argc, char **argv)
{
    int                   rc;
    int64_t               now;
    const char           *id;
    mcpctl_list_t         stores;
    mcpctl_token_t       *token;
    mcpctl_token_args_t   a;

    const mcpctl_option_t  options[] = {
        { "store", &a.store, NULL },
        { "no-audit", NULL, &a.no_audit },
        { NULL, NULL, NULL }
    };

    memset(&a, 0, sizeof(a));

    if (mcpctl_options(ctl, options, argc, argv, &id, 1) != 1) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_token_find(ctl, id, a.store, &stores, &token);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    now = mcpctl_now();

    if (token->key.revoked) {
        mcpctl_warn(ctl, "%s was revoked at %s", id,
                    mcpctl_arg_moment(ctl, token->key.revoked));
    }

    rc = mcpctl_token_end(ctl, token, now, a.no_audit);

    mcpctl_stores_close(&stores);

    if (rc == MCP_DECLINED) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "%s was changed meanwhile",
                            id);
    }

    if (rc == MCP_OK && ctl->json) {
        mcpctl_json_print(ctl, mcpctl_token_json(ctl, &token->key));
    }

    return rc == MCP_OK ? MCPCTL_OK : MCPCTL_FAILED;
}


/*
 * The record says that it is revoked, and a watermark of its id takes effect
 * where the token is cached, or has a stream open.
 */
static int
mcpctl_token_end(mcpctl_t *ctl, mcpctl_token_t *token, int64_t now,
    unsigned no_audit)
{
    int                 rc;
    mcpctl_audit_t      audit;
    mcpctl_store_t     *st;
    mcp_access_key_t    changed;
    mcp_revocation_t    r;

    st = token->store;
    changed = token->key;

    if (changed.revoked == 0) {
        changed.revoked = now;
    }

    memset(&r, 0, sizeof(r));

    r.type = MCP_REVOKE_TOKEN;
    r.issuer = token->key.issuer;
    r.value = token->key.id;
    r.at = now;

    /* a stream may outlive its token by stream_grace, a day at most */

    r.until = (token->key.expires > now ? token->key.expires : now)
              + MCPCTL_GRACE;
    r.by = mcpctl_operator(ctl);

    if (mcpctl_audit_open(ctl, &audit, no_audit) != MCP_OK) {
        return MCP_ERROR;
    }

    mcpctl_audit_token(&audit, "token/revoke", &changed, st->name);

    rc = st->revoke(st, token, &changed, &r, &audit);

    if (rc != MCP_OK) {
        mcpctl_audit_failed(&audit);
    }

    mcpctl_audit_close(&audit);

    if (rc != MCP_OK || st->redis) {
        return rc;
    }

    return mcpctl_token_mark(ctl, &r, no_audit);
}


/* Beside a token file there may be one of revocations. */
static int
mcpctl_token_mark(mcpctl_t *ctl, const mcp_revocation_t *r, unsigned no_audit)
{
    int              rc;
    mcpctl_list_t    stores;
    mcpctl_store_t  *st;
    mcpctl_audit_t   audit;

    if (ctl->conf->revocation_file.len == 0 && ctl->conf->redis == NULL) {
        mcpctl_warn(ctl, "streams that are open go on to their end: there is "
                    "no mcp_revocation_file");
        return MCP_OK;
    }

    if (mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, NULL, &stores)
        != MCPCTL_OK)
    {
        return MCP_ERROR;
    }

    if (mcpctl_audit_open(ctl, &audit, no_audit) != MCP_OK) {
        mcpctl_stores_close(&stores);
        return MCP_ERROR;
    }

    st = stores.elts[0];

    mcpctl_audit_revocation(&audit, r, st->name);
    rc = st->set(st, r, &audit);

    if (rc != MCP_OK) {
        mcpctl_audit_failed(&audit);
    }

    mcpctl_audit_close(&audit);
    mcpctl_stores_close(&stores);

    return rc;
}


/* The token of this id in the stores, which stay open: an exit code. */
static int
mcpctl_token_find(mcpctl_t *ctl, const char *id, const char *store,
    mcpctl_list_t *stores, mcpctl_token_t **token)
{
    int              rc;
    unsigned         i;
    mcp_str_t        want;
    mcpctl_store_t  *st;

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, store, stores);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    want = mcpctl_cstr(id);

    for (i = 0; i < stores->n; i++) {
        st = stores->elts[i];
        rc = st->token(st, &want, token);

        if (rc == MCP_OK) {
            return MCPCTL_OK;
        }

        if (rc == MCP_ERROR) {
            mcpctl_stores_close(stores);
            return MCPCTL_FAILED;
        }
    }

    mcpctl_stores_close(stores);

    return mcpctl_error(ctl, MCPCTL_REFUSED, "there is no token \"%s\"", id);
}


static const char *
mcpctl_token_state(const mcp_access_key_t *key, const mcpctl_list_t *marks,
    int64_t now)
{
    if (key->revoked) {
        return "revoked";
    }

    if (key->expires <= now) {
        return "expired";
    }

    return mcpctl_store_covered(marks, key, key->created, 1) ? "fallen"
                                                             : "good";
}


static json_t *
mcpctl_token_json(mcpctl_t *ctl, const mcp_access_key_t *key)
{
    json_t    *object, *list;
    unsigned   i, k;

    const struct {
        const char       *name;
        const mcp_str_t  *words;
        unsigned          n;
    } lists[] = {
        { "roles", key->roles, key->nroles },
        { "servers", key->servers, key->nservers },
        { "scopes", key->scopes, key->nscopes }
    };

    object = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, object, "id", &key->id);
    mcpctl_json_set(ctl, object, "kind",
                    json_string(key->auth == MCP_AUTH_PAT ? "pat" : "vat"));
    mcpctl_json_set_text(ctl, object, "issuer", &key->issuer);
    mcpctl_json_set_text(ctl, object, "user", &key->user);
    mcpctl_json_set_text(ctl, object, "service", &key->service);

    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {

        if (lists[i].n == 0) {
            continue;
        }

        list = mcpctl_json_array(ctl);

        for (k = 0; k < lists[i].n; k++) {
            mcpctl_json_append(ctl, list,
                               mcpctl_json_text(ctl, &lists[i].words[k]));
        }

        mcpctl_json_set(ctl, object, lists[i].name, list);
    }

    mcpctl_json_set(ctl, object, "created",
                    json_string(mcpctl_arg_moment(ctl, key->created)));
    mcpctl_json_set(ctl, object, "expires",
                    json_string(mcpctl_arg_moment(ctl, key->expires)));

    if (key->revoked) {
        mcpctl_json_set(ctl, object, "revoked",
                        json_string(mcpctl_arg_moment(ctl, key->revoked)));
    }

    mcpctl_json_set_text(ctl, object, "label", &key->label);
    mcpctl_json_set_text(ctl, object, "by", &key->by);
    mcpctl_json_set_text(ctl, object, "replaces", &key->replaces);
    mcpctl_json_set_text(ctl, object, "hint", &key->hint);

    return object;
}


static char *
mcpctl_token_words(mcpctl_t *ctl, const mcp_str_t *words, unsigned n)
{
    char      *text;
    unsigned   i;

    text = mcpctl_format(ctl, "%s", "");

    for (i = 0; i < n; i++) {
        text = mcpctl_format(ctl, "%s%s%s", text, i ? "," : "",
                             mcpctl_shown(ctl, &words[i], 64));
    }

    return text;
}
