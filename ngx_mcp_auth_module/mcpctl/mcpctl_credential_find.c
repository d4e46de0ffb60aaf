/*
 * Which records a command for credentials means.
 *
 * A grant of a person has a name that can be told from the command line, and is
 * read at once; the others are looked for among all, by what they say of
 * themselves.
 */

#include "mcpctl_credential.h"

#include <stdlib.h>


typedef struct {
    mcp_str_t            credential;
    mcp_str_t            user;
    mcp_str_t            issuer;
    unsigned             all;
    mcpctl_list_t       *records;
    unsigned             damaged;
} mcpctl_find_t;


static int mcpctl_find_options(mcpctl_t *ctl, const mcpctl_wanted_t *want,
    mcpctl_find_t *f);
static int mcpctl_find_grant(mcpctl_vault_t *v, mcpctl_find_t *f,
    unsigned *found);
static int mcpctl_find_one(mcpctl_vault_t *v, mcpctl_record_t *r, void *data);
static int mcpctl_find_push(mcpctl_vault_t *v, mcpctl_find_t *f,
    const mcpctl_record_t *r);
static int mcpctl_find_cmp(const void *a, const void *b);
static int mcpctl_find_cmp_str(const mcp_str_t *a, const mcp_str_t *b);


int
mcpctl_credential_find(mcpctl_vault_t *v, const mcpctl_wanted_t *want,
    mcpctl_list_t *records, unsigned *damaged)
{
    int              rc;
    unsigned         found;
    mcp_str_t        name;
    mcpctl_list_t    names;
    mcpctl_find_t    f;
    mcpctl_record_t  r;

    memset(records, 0, sizeof(mcpctl_list_t));
    memset(&f, 0, sizeof(mcpctl_find_t));

    f.records = records;

    rc = mcpctl_find_options(v->ctl, want, &f);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    found = 0;

    if (want->record) {
        name = mcpctl_cstr(want->record);
        found = 1;

        if (!mcp_vault_is_name(&name)) {
            return mcpctl_error(v->ctl, MCPCTL_USAGE, "--record \"%s\" is no "
                                "name of a record: %d hex digits",
                                want->record, MCP_VAULT_NAME);
        }

        f.all = 1;

        if (mcpctl_vault_read(v, &name, &r) != MCP_OK) {
            return MCPCTL_FAILED;
        }

        if (r.version) {
            mcpctl_record_open(v, &r, NULL);
            (void) mcpctl_find_push(v, &f, &r);
        }

    } else if (mcpctl_find_grant(v, &f, &found) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    if (!found
        && (mcpctl_vault_names(v, &names, &f.damaged) != MCP_OK
            || mcpctl_vault_each(v, &names, mcpctl_find_one, &f, &f.damaged)
               != MCP_OK))
    {
        return MCPCTL_FAILED;
    }

    *damaged += f.damaged;

    if (records->n) {
        qsort(records->elts, records->n, sizeof(void *), mcpctl_find_cmp);
        return MCPCTL_OK;
    }

    if (want->name == NULL && want->record == NULL) {
        return MCPCTL_REFUSED;
    }

    return f.damaged ? MCPCTL_FAILED
                     : mcpctl_error(v->ctl, MCPCTL_REFUSED, "there is no such "
                                    "credential");
}


static int
mcpctl_find_options(mcpctl_t *ctl, const mcpctl_wanted_t *want,
    mcpctl_find_t *f)
{
    f->all = want->all;

    if ((want->name
         && mcpctl_arg_text(ctl, "credential", want->name, &f->credential)
            != 0)
        || (want->user
            && mcpctl_arg_text(ctl, "user", want->user, &f->user) != 0))
    {
        return mcpctl_usage(ctl);
    }

    return want->issuer ? mcpctl_arg_issuer(ctl, want->issuer, 1, &f->issuer)
                        : MCPCTL_OK;
}


/*
 * A grant has a name that can be told from the command line: it is read at
 * once, though its seals may not open.  *found: it was such a one.
 */
static int
mcpctl_find_grant(mcpctl_vault_t *v, mcpctl_find_t *f, unsigned *found)
{
    mcp_str_t             name;
    unsigned char         hex[MCP_VAULT_NAME];
    mcpctl_record_t       r;
    mcpctl_issuer_t      *is;
    mcp_vault_owner_t     o;
    mcpctl_credential_t  *cr;

    cr = mcpctl_conf_find_credential(v->ctl->conf, &f->credential);

    if (cr == NULL || cr->type != MCPCTL_CREDENTIAL_USER || f->user.len == 0
        || (f->issuer.len == 0 && v->ctl->conf->issuers.n != 1))
    {
        return MCP_OK;
    }

    *found = 1;

    memset(&o, 0, sizeof(mcp_vault_owner_t));

    o.credential = f->credential;
    o.user = f->user;
    o.issuer = f->issuer;

    if (o.issuer.len == 0) {
        is = v->ctl->conf->issuers.elts[0];
        o.issuer = is->jwt.issuer;
    }

    mcp_vault_name(&o, hex);
    name = mcpctl_str(v->ctl, hex, MCP_VAULT_NAME);

    if (mcpctl_vault_read(v, &name, &r) != MCP_OK) {
        return MCP_ERROR;
    }

    if (r.version) {
        mcpctl_record_open(v, &r, &o);
        (void) mcpctl_find_push(v, f, &r);
    }

    return MCP_OK;
}


/* Of a scan: whose it is has to be said by the record. */
static int
mcpctl_find_one(mcpctl_vault_t *v, mcpctl_record_t *r, void *data)
{
    mcpctl_find_t *f = data;

    mcpctl_record_open(v, r, NULL);

    if (!r->owned) {
        f->damaged++;
        return mcpctl_error(v->ctl, MCP_OK, "record %.*s: %s",
                            (int) r->name.len, (char *) r->name.data,
                            mcpctl_record_why(v->ctl, r));
    }

    if (!mcpctl_record_of(r, &f->credential, &f->user, &f->issuer)) {
        return MCP_OK;
    }

    return mcpctl_find_push(v, f, r);
}


static int
mcpctl_find_push(mcpctl_vault_t *v, mcpctl_find_t *f,
    const mcpctl_record_t *r)
{
    mcpctl_record_t  *copy;

    if (!f->all && mcp_str_eq_lit(&r->state, "revoked")) {
        return MCP_OK;
    }

    copy = mcpctl_alloc(v->ctl, sizeof(mcpctl_record_t));
    *copy = *r;
    mcpctl_record_keep(v->ctl, copy, 0);
    mcpctl_push(v->ctl, f->records, copy);

    return MCP_OK;
}


/* By credential, then by person. */
static int
mcpctl_find_cmp(const void *a, const void *b)
{
    int                     rc;
    const mcpctl_record_t  *one, *two;

    one = *(mcpctl_record_t *const *) a;
    two = *(mcpctl_record_t *const *) b;

    rc = mcpctl_find_cmp_str(&one->owner.credential, &two->owner.credential);

    if (rc == 0) {
        rc = mcpctl_find_cmp_str(&one->owner.user, &two->owner.user);
    }

    if (rc == 0) {
        rc = mcpctl_find_cmp_str(&one->owner.issuer, &two->owner.issuer);
    }

    return rc ? rc : mcpctl_find_cmp_str(&one->name, &two->name);
}


static int
mcpctl_find_cmp_str(const mcp_str_t *a, const mcp_str_t *b)
{
    int     rc;
    size_t  len;

    len = a->len < b->len ? a->len : b->len;
    rc = len ? memcmp(a->data, b->data, len) : 0;

    return rc ? rc : (a->len > b->len) - (a->len < b->len);
}
