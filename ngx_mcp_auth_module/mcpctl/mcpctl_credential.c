/*
 * `credential import` and `credential delete`: grants of people, entered and
 * taken away by an operator.
 *
 * Tokens come from stdin or a file, never from the command line, and are shown
 * nowhere.  A grant that was deleted leaves a record without tokens for a day:
 * what a gateway brings home from a refresh that had begun before has no place
 * there.
 */

#include "mcpctl_credential.h"


static int mcpctl_import_owner(mcpctl_t *ctl, const char *name,
    const char *user, const char *issuer, unsigned force,
    mcp_vault_owner_t *o, mcpctl_credential_t **cr);
static int mcpctl_import_in(mcpctl_vault_t *v, const mcp_vault_owner_t *o,
    const mcp_vault_tokens_t *t, mcpctl_audit_t *audit);
static int mcpctl_import_one(mcpctl_vault_t *v, const mcp_vault_owner_t *o,
    const mcp_vault_tokens_t *t, mcpctl_record_t *r, mcpctl_audit_t *audit);
static void mcpctl_import_show(mcpctl_vault_t *v, mcpctl_record_t *r,
    const mcp_vault_owner_t *o, uint64_t replaced);

static int mcpctl_delete_in(mcpctl_vault_t *v, const mcpctl_wanted_t *want,
    mcpctl_audit_t *audit);
static int mcpctl_delete_one(mcpctl_vault_t *v, mcpctl_record_t *r,
    mcpctl_audit_t *audit);
static int mcpctl_delete_try(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcpctl_audit_t *audit);
static unsigned mcpctl_delete_grant(const mcpctl_t *ctl,
    const mcpctl_record_t *r, const mcp_oauth_provider_t **p);
static void mcpctl_delete_show(mcpctl_vault_t *v,
    const mcpctl_list_t *records, unsigned n);


int
mcpctl_credential_import(mcpctl_t *ctl, int argc, char **argv)
{
    int                   n, rc;
    unsigned              force, no_audit;
    const char           *name, *user, *issuer, *file;
    mcpctl_vault_t        v;
    mcpctl_audit_t        audit;
    mcp_vault_owner_t     o;
    mcp_vault_tokens_t    t;
    mcpctl_credential_t  *cr;

    const mcpctl_option_t  options[] = {
        { "user", &user, NULL },
        { "issuer", &issuer, NULL },
        { "file", &file, NULL },
        { "force", NULL, &force },
        { "no-audit", NULL, &no_audit },
        { NULL, NULL, NULL }
    };

    user = NULL;
    issuer = NULL;
    file = NULL;
    force = 0;
    no_audit = 0;

    n = mcpctl_options(ctl, options, argc, argv, &name, 1);

    if (n >= 0 && (n == 0 || user == NULL)) {
        n = mcpctl_error(ctl, -1, "the credential's name and --user have to "
                         "be there; tokens are read from stdin or --file");
    }

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_import_owner(ctl, name, user, issuer, force, &o, &cr);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_credential_input(ctl, file, cr, mcpctl_now(), &t);
    }

    if (rc != MCPCTL_OK) {
        return rc;
    }

    rc = MCPCTL_FAILED;

    if (mcpctl_audit_open(ctl, &audit, no_audit) == MCP_OK) {

        if (mcpctl_vault_open(ctl, &v) == MCPCTL_OK) {
            rc = mcpctl_import_in(&v, &o, &t, &audit);
            mcpctl_vault_close(&v);
        }

        mcpctl_audit_close(&audit);
    }

    mcpctl_credential_wipe(&t);

    return rc;
}


static int
mcpctl_import_owner(mcpctl_t *ctl, const char *name, const char *user,
    const char *issuer, unsigned force, mcp_vault_owner_t *o,
    mcpctl_credential_t **cr)
{
    memset(o, 0, sizeof(mcp_vault_owner_t));

    o->credential = mcpctl_cstr(name);
    *cr = mcpctl_conf_find_credential(ctl->conf, &o->credential);

    if (*cr == NULL) {
        return mcpctl_error(ctl, MCPCTL_USAGE, "there is no mcp_credential "
                            "\"%s\" in \"%s\"", name, ctl->conf_file);
    }

    if ((*cr)->type != MCPCTL_CREDENTIAL_USER) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "mcp_credential \"%s\" is of "
                            "\"type %s\": only people's grants are imported",
                            name, mcpctl_credential_word((*cr)->type));
    }

    if (mcpctl_arg_text(ctl, "user", user, &o->user) != 0) {
        return mcpctl_usage(ctl);
    }

    return mcpctl_arg_issuer(ctl, issuer, force, &o->issuer);
}


/* Over whatever is there: that is what the operator wants. */
static int
mcpctl_import_in(mcpctl_vault_t *v, const mcp_vault_owner_t *o,
    const mcp_vault_tokens_t *t, mcpctl_audit_t *audit)
{
    int              rc;
    uint64_t         replaced;
    unsigned         tries;
    mcp_str_t        name;
    unsigned char    hex[MCP_VAULT_NAME];
    mcpctl_record_t  r;

    mcp_vault_name(o, hex);
    name = mcpctl_str(v->ctl, hex, MCP_VAULT_NAME);

    for (tries = 0; tries < MCPCTL_VAULT_TRIES; tries++) {

        if (mcpctl_vault_read(v, &name, &r) != MCP_OK) {
            return MCPCTL_FAILED;
        }

        replaced = mcp_str_eq_lit(&r.state, "revoked") ? 0 : r.version;

        rc = mcpctl_import_one(v, o, t, &r, audit);

        if (rc == MCP_OK) {
            mcpctl_import_show(v, &r, o, replaced);
            return MCPCTL_OK;
        }

        mcpctl_audit_failed(audit);

        if (rc == MCP_ERROR) {
            return MCPCTL_FAILED;
        }
    }

    return mcpctl_error(v->ctl, MCPCTL_FAILED, "the record is changed by "
                        "others all the time");
}


/* r: as it was read; on MCP_OK as it is now. */
static int
mcpctl_import_one(mcpctl_vault_t *v, const mcp_vault_owner_t *o,
    const mcp_vault_tokens_t *t, mcpctl_record_t *r, mcpctl_audit_t *audit)
{
    int      rc;
    int64_t  keep;

    if (mcpctl_record_seal(v, o, t, r) != MCP_OK) {
        return MCP_ERROR;
    }

    r->state = mcpctl_cstr("active");
    r->expires = t->expires;
    mcp_str_null(&r->flight);

    keep = t->refresh_expires ? t->refresh_expires - t->issued
                              : MCPCTL_VAULT_GRANT;
    r->ttl = keep;

    mcpctl_audit_credential(audit, "credential/import", o, r->version + 1);
    audit->record.expires = t->expires;

    rc = mcpctl_vault_write(v, r, keep, audit);

    if (rc == MCP_OK) {
        r->version++;
    }

    return rc;
}


static void
mcpctl_import_show(mcpctl_vault_t *v, mcpctl_record_t *r,
    const mcp_vault_owner_t *o, uint64_t replaced)
{
    json_t  *root;

    mcpctl_record_open(v, r, o);

    if (v->ctl->json) {
        root = mcpctl_record_json(v, r);

        if (replaced) {
            mcpctl_json_set(v->ctl, root, "replaces",
                            json_integer((json_int_t) replaced));
        }

        mcpctl_json_print(v->ctl, root);
        return;
    }

    printf("imported: %s, version %llu", mcpctl_record_whose(v->ctl, r),
           (unsigned long long) r->version);

    if (replaced) {
        printf(" in place of %llu", (unsigned long long) replaced);
    }

    printf(", until %s%s\n", r->expires
           ? mcpctl_arg_moment(v->ctl, r->expires) : "further notice",
           r->refresh ? ", refreshed before" : "");
}


int
mcpctl_credential_delete(mcpctl_t *ctl, int argc, char **argv)
{
    int              n, rc;
    unsigned         no_audit;
    mcpctl_vault_t   v;
    mcpctl_audit_t   audit;
    mcpctl_wanted_t  want;

    const mcpctl_option_t  options[] = {
        { "user", &want.user, NULL },
        { "issuer", &want.issuer, NULL },
        { "record", &want.record, NULL },
        { "all", NULL, &want.all },
        { "no-audit", NULL, &no_audit },
        { NULL, NULL, NULL }
    };

    memset(&want, 0, sizeof(mcpctl_wanted_t));
    no_audit = 0;

    n = mcpctl_options(ctl, options, argc, argv, &want.name, 1);

    if (n >= 0 && (n == 0) == (want.record == NULL)) {
        n = mcpctl_error(ctl, -1, "the credential's name or --record has to "
                         "be there");
    }

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK
        || mcpctl_audit_open(ctl, &audit, no_audit) != MCP_OK)
    {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_vault_open(ctl, &v);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_delete_in(&v, &want, &audit);
        mcpctl_vault_close(&v);
    }

    mcpctl_audit_close(&audit);

    return rc;
}


static int
mcpctl_delete_in(mcpctl_vault_t *v, const mcpctl_wanted_t *want,
    mcpctl_audit_t *audit)
{
    int              rc;
    unsigned         i, damaged;
    mcpctl_list_t    records;
    mcpctl_wanted_t  good;

    /* --all is for several; what was deleted is not deleted again */

    good = *want;
    good.all = 0;
    damaged = 0;

    rc = mcpctl_credential_find(v, &good, &records, &damaged);

    if (rc != MCPCTL_OK) {
        return rc;
    }

    if (records.n > 1 && !want->all) {
        return mcpctl_error(v->ctl, MCPCTL_REFUSED, "there are %u of these "
                            "(--all: each of them; or say --user)",
                            records.n);
    }

    for (i = 0; i < records.n && rc == MCPCTL_OK; i++) {
        rc = mcpctl_delete_one(v, records.elts[i], audit);
    }

    mcpctl_delete_show(v, &records, rc == MCPCTL_OK ? i : i - 1);

    return (rc == MCPCTL_OK && damaged) ? MCPCTL_FAILED : rc;
}


static int
mcpctl_delete_one(mcpctl_vault_t *v, mcpctl_record_t *r,
    mcpctl_audit_t *audit)
{
    int              rc;
    unsigned         tries;
    mcpctl_record_t  again;

    for (tries = 0; tries < MCPCTL_VAULT_TRIES; tries++) {
        audit->written = 0;

        rc = mcpctl_delete_try(v, r, audit);

        if (rc == MCP_OK) {
            return MCPCTL_OK;
        }

        mcpctl_audit_failed(audit);

        if (rc == MCP_ERROR || mcpctl_vault_read(v, &r->name, &again) != MCP_OK)
        {
            return MCPCTL_FAILED;
        }

        if (again.version == 0) {
            return MCPCTL_OK;
        }

        /* the owner of a name is the same */

        r->version = again.version;
        r->meta = again.meta;
    }

    return mcpctl_error(v->ctl, MCPCTL_FAILED, "the record %s is changed by "
                        "others all the time", r->name.data);
}


static int
mcpctl_delete_try(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcpctl_audit_t *audit)
{
    int                          rc;
    unsigned                     told;
    mcp_vault_owner_t            none;
    const mcp_oauth_provider_t  *p;

    memset(&none, 0, sizeof(mcp_vault_owner_t));

    mcpctl_audit_credential(audit, "credential/delete",
                            r->owned ? &r->owner : &none, r->version);

    if (!r->owned) {
        audit->record.note = r->name;
    }

    if (!mcpctl_delete_grant(v->ctl, r, &p)) {
        return mcpctl_vault_delete(v, r, audit);
    }

    rc = mcpctl_vault_end(v, r, p, audit, &told);

    if (rc == MCP_OK && !told) {
        mcpctl_warn(v->ctl, "%s: its provider is not told: end it there, too",
                    mcpctl_record_whose(v->ctl, r));
    }

    return rc;
}


/* What a gateway fetches by itself it may fetch again at once.  p: where, or
 * NULL when the configuration has no such credential any more. */
static unsigned
mcpctl_delete_grant(const mcpctl_t *ctl, const mcpctl_record_t *r,
    const mcp_oauth_provider_t **p)
{
    mcpctl_credential_t  *cr;

    *p = NULL;

    if (!r->owned) {
        return 0;
    }

    cr = mcpctl_conf_find_credential(ctl->conf, &r->owner.credential);

    if (cr == NULL) {
        return r->owner.user.len != 0;
    }

    *p = &cr->provider;

    return cr->type == MCPCTL_CREDENTIAL_USER;
}


static void
mcpctl_delete_show(mcpctl_vault_t *v, const mcpctl_list_t *records,
    unsigned n)
{
    json_t    *root;
    unsigned   i;

    if (!v->ctl->json) {
        for (i = 0; i < n; i++) {
            printf("deleted: %s\n",
                   mcpctl_record_whose(v->ctl, records->elts[i]));
        }

        return;
    }

    root = mcpctl_json_array(v->ctl);

    for (i = 0; i < n; i++) {
        mcpctl_json_append(v->ctl, root,
                           mcpctl_record_json(v, records->elts[i]));
    }

    mcpctl_json_print(v->ctl, root);
}
