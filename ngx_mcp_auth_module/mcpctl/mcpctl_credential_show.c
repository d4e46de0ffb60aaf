/*
 * `credential list` and `credential show`: which credentials gateways hold, for
 * whom, in which state.  A token is never part of it, nor any digest of one.
 */

#include "mcpctl_credential.h"
#include "mcp_time.h"


#define MCPCTL_LIST_ISSUER  60          /* bytes of it in a table */


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
static int mcpctl_show_in(mcpctl_vault_t *v, const mcpctl_wanted_t *want,
    unsigned table);
static void mcpctl_list_print(mcpctl_vault_t *v,
    const mcpctl_list_t *records);
static const char *mcpctl_record_state(const mcpctl_record_t *r);
static char *mcpctl_record_flight(mcpctl_t *ctl, const mcpctl_record_t *r);
static void mcpctl_line(const char *name, const char *value);


int
mcpctl_credential_list(mcpctl_t *ctl, int argc, char **argv)
{
    int              rc;
    mcpctl_vault_t   v;
    mcpctl_wanted_t  want;

    const mcpctl_option_t  options[] = {
        { "credential", &want.name, NULL },
        { "user", &want.user, NULL },
        { "issuer", &want.issuer, NULL },
        { "all", NULL, &want.all },
        { NULL, NULL, NULL }
    };

    memset(&want, 0, sizeof(mcpctl_wanted_t));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_vault_open(ctl, &v);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_show_in(&v, &want, 1);
        mcpctl_vault_close(&v);
    }

    return rc;
}


int
mcpctl_credential_show(mcpctl_t *ctl, int argc, char **argv)
{
    int              n, rc;
    mcpctl_vault_t   v;
    mcpctl_wanted_t  want;

    const mcpctl_option_t  options[] = {
        { "user", &want.user, NULL },
        { "issuer", &want.issuer, NULL },
        { "record", &want.record, NULL },
        { NULL, NULL, NULL }
    };

    memset(&want, 0, sizeof(mcpctl_wanted_t));
    want.all = 1;

    n = mcpctl_options(ctl, options, argc, argv, &want.name, 1);

    if (n >= 0 && (n == 0) == (want.record == NULL)) {
        n = mcpctl_error(ctl, -1, "the credential's name or --record has to "
                         "be there");
    }

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_vault_open(ctl, &v);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_show_in(&v, &want, 0);
        mcpctl_vault_close(&v);
    }

    return rc;
}


/* Who asks for one that is not there hears so; an empty list is a list. */
static int
mcpctl_show_in(mcpctl_vault_t *v, const mcpctl_wanted_t *want, unsigned table)
{
    int             rc;
    json_t         *root;
    unsigned        i, damaged;
    mcpctl_list_t   records;

    damaged = 0;
    rc = mcpctl_credential_find(v, want, &records, &damaged);

    if (rc != MCPCTL_OK && !(table && rc == MCPCTL_REFUSED)) {
        return rc;
    }

    root = v->ctl->json ? mcpctl_json_array(v->ctl) : NULL;

    for (i = 0; i < records.n && (root || !table); i++) {

        if (root) {
            mcpctl_json_append(v->ctl, root,
                               mcpctl_record_json(v, records.elts[i]));
            continue;
        }

        if (i) {
            putchar('\n');
        }

        mcpctl_record_print(v, records.elts[i]);
    }

    if (root) {
        mcpctl_json_print(v->ctl, root);

    } else if (table) {
        mcpctl_list_print(v, &records);
    }

    return damaged ? MCPCTL_FAILED : MCPCTL_OK;
}


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

    if (r->open != MCPCTL_RECORD_OPEN) {
        f->damaged++;
        (void) mcpctl_error(v->ctl, 0, "record %.*s, %s: %s",
                            (int) r->name.len, (char *) r->name.data,
                            mcpctl_record_whose(v->ctl, r),
                            mcpctl_record_why(v->ctl, r));
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


static void
mcpctl_list_print(mcpctl_vault_t *v, const mcpctl_list_t *records)
{
    unsigned          i;
    mcpctl_t         *ctl;
    const char       *cells[9];
    mcpctl_table_t   *table;
    mcpctl_record_t  *r;

    static const char *const  headings[] = {
        "CREDENTIAL", "USER", "ISSUER", "STATE", "VERSION", "EXPIRES",
        "REFRESH", "KEY", "RECORD", NULL
    };

    ctl = v->ctl;
    table = mcpctl_table(ctl, headings);

    for (i = 0; i < records->n; i++) {
        r = records->elts[i];

        cells[0] = mcpctl_shown(ctl, &r->owner.credential, MCPCTL_SHOWN);
        cells[1] = r->owner.user.len
                   ? mcpctl_shown(ctl, &r->owner.user, MCPCTL_SHOWN) : "-";
        cells[2] = r->owner.issuer.len
                   ? mcpctl_shown(ctl, &r->owner.issuer, MCPCTL_LIST_ISSUER)
                   : "-";
        cells[3] = mcpctl_record_state(r);
        cells[4] = mcpctl_format(ctl, "%llu", (unsigned long long) r->version);
        cells[5] = mcpctl_arg_moment(ctl, r->expires);
        cells[6] = r->refresh ? "yes" : "no";
        cells[7] = r->key;
        cells[8] = (char *) r->name.data;

        mcpctl_row(table, cells);
    }

    mcpctl_table_print(table);
}


/* As the record says, but for what nobody can use. */
static const char *
mcpctl_record_state(const mcpctl_record_t *r)
{
    if (r->open != MCPCTL_RECORD_OPEN) {
        return "unreadable";
    }

    if (mcp_str_eq_lit(&r->state, "revoked")) {
        return "deleted";
    }

    if (mcp_str_eq_lit(&r->state, "reauth")) {
        return "reauth";
    }

    if (!mcp_str_eq_lit(&r->state, "active")) {
        return "unknown";
    }

    return (r->expires && r->expires <= mcpctl_now() && !r->refresh)
           ? "expired" : "active";
}


json_t *
mcpctl_record_json(mcpctl_vault_t *v, const mcpctl_record_t *r)
{
    char                 *flight;
    json_t               *o;
    mcpctl_t             *ctl;
    mcpctl_credential_t  *cr;

    ctl = v->ctl;
    o = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, o, "record", &r->name);

    if (r->owned) {
        cr = mcpctl_conf_find_credential(ctl->conf, &r->owner.credential);

        mcpctl_json_set_text(ctl, o, "credential", &r->owner.credential);

        if (cr) {
            mcpctl_json_set(ctl, o, "type",
                            json_string(mcpctl_credential_word(cr->type)));
        }

        mcpctl_json_set_text(ctl, o, "user", &r->owner.user);
        mcpctl_json_set_text(ctl, o, "issuer", &r->owner.issuer);
        mcpctl_json_set_text(ctl, o, "client", &r->owner.client);
        mcpctl_json_set_text(ctl, o, "audience", &r->owner.audience);
        mcpctl_json_set_text(ctl, o, "token_id", &r->owner.subject);
    }

    mcpctl_json_set(ctl, o, "state", json_string(mcpctl_record_state(r)));
    mcpctl_json_set(ctl, o, "version", json_integer((json_int_t) r->version));

    if (r->issued) {
        mcpctl_json_set(ctl, o, "issued",
                        json_string(mcpctl_arg_moment(ctl, r->issued)));
    }

    if (r->expires) {
        mcpctl_json_set(ctl, o, "expires",
                        json_string(mcpctl_arg_moment(ctl, r->expires)));
    }

    if (r->open == MCPCTL_RECORD_OPEN && r->tokens) {
        mcpctl_json_set(ctl, o, "refresh", json_boolean(r->refresh));
        mcpctl_json_set_text(ctl, o, "scope", &r->scope);
    }

    if (r->refresh_expires) {
        mcpctl_json_set(ctl, o, "refresh_expires",
                        json_string(mcpctl_arg_moment(ctl,
                                                      r->refresh_expires)));
    }

    if (r->ttl > 0) {
        mcpctl_json_set(ctl, o, "kept_until",
                        json_string(mcpctl_arg_moment(ctl, mcpctl_now()
                                                           + r->ttl)));
    }

    flight = mcpctl_record_flight(ctl, r);

    if (flight) {
        mcpctl_json_set(ctl, o, "refresh_note", json_string(flight));
    }

    mcpctl_json_set(ctl, o, "key", json_string(r->key));

    return o;
}


void
mcpctl_record_print(mcpctl_vault_t *v, const mcpctl_record_t *r)
{
    json_t      *o, *value;
    char        *text;
    mcp_str_t    s;
    const char  *key;

    if (r->open != MCPCTL_RECORD_OPEN) {
        mcpctl_warn(v->ctl, "record %s: %s", r->name.data,
                    mcpctl_record_why(v->ctl, r));
    }

    o = mcpctl_record_json(v, r);

    json_object_foreach(o, key, value) {

        if (json_is_string(value)) {
            s.data = (unsigned char *) json_string_value(value);
            s.len = json_string_length(value);
            text = mcpctl_shown(v->ctl, &s, MCPCTL_SHOWN);

        } else if (json_is_integer(value)) {
            text = mcpctl_format(v->ctl, "%lld",
                                 (long long) json_integer_value(value));
        } else {
            text = mcpctl_format(v->ctl, "%s", json_is_true(value) ? "yes"
                                                                   : "no");
        }

        mcpctl_line(key, text);
    }

    json_decref(o);
}


static void
mcpctl_line(const char *name, const char *value)
{
    printf("%-15s  %s\n", name, value);
}


/* Since when, and by whom; one of another version is of no account. */
static char *
mcpctl_record_flight(mcpctl_t *ctl, const mcpctl_record_t *r)
{
    mcp_vault_note_t  n;

    if (mcp_vault_note_parse(&r->flight, &n) != MCP_OK
        || n.version != r->version
        || n.first > MCP_TIME_MAX || n.last > MCP_TIME_MAX)
    {
        return NULL;
    }

    if (mcp_str_eq_lit(&n.owner, "-")) {
        return mcpctl_format(ctl, "began at %s, without an answer",
                             mcpctl_arg_moment(ctl, n.last));
    }

    return mcpctl_format(ctl, "began at %s, by %s",
                         mcpctl_arg_moment(ctl, n.last),
                         mcpctl_shown(ctl, &n.owner, MCPCTL_SHOWN));
}


char *
mcpctl_record_whose(mcpctl_t *ctl, const mcpctl_record_t *r)
{
    char  *credential;

    if (!r->owned) {
        return mcpctl_format(ctl, "record %.*s", (int) r->name.len,
                             (char *) r->name.data);
    }

    credential = mcpctl_shown(ctl, &r->owner.credential, MCPCTL_SHOWN);

    if (r->owner.user.len == 0) {
        return credential;
    }

    return mcpctl_format(ctl, "%s of user %s of %s", credential,
                         mcpctl_shown(ctl, &r->owner.user, MCPCTL_SHOWN),
                         mcpctl_shown(ctl, &r->owner.issuer, MCPCTL_SHOWN));
}
