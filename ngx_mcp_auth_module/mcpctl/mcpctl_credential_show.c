/*
 * `credential list` and `credential show`: which credentials gateways hold, for
 * whom, in which state.  A token is never part of it, nor any digest of one.
 */

#include "mcpctl_credential.h"
#include "mcp_time.h"


#define MCPCTL_LIST_ISSUER  60          /* bytes of it in a table */


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
    int               rc;
    json_t           *root;
    unsigned          i, damaged;
    mcpctl_list_t     records;
    mcpctl_record_t  *r;

    damaged = 0;
    rc = mcpctl_credential_find(v, want, &records, &damaged);

    if (rc != MCPCTL_OK && !(table && rc == MCPCTL_REFUSED)) {
        return rc;
    }

    root = v->ctl->json ? mcpctl_json_array(v->ctl) : NULL;

    for (i = 0; i < records.n; i++) {
        r = records.elts[i];

        if (r->open != MCPCTL_RECORD_OPEN) {
            damaged++;
            (void) mcpctl_error(v->ctl, 0, "record %s%s%s: %s", r->name.data,
                                r->owned ? ", " : "",
                                r->owned ? mcpctl_record_whose(v->ctl, r) : "",
                                mcpctl_record_why(v->ctl, r));
        }

        if (root) {
            mcpctl_json_append(v->ctl, root, mcpctl_record_json(v, r));

        } else if (!table) {

            if (i) {
                putchar('\n');
            }

            mcpctl_record_print(v, r);
        }
    }

    if (root) {
        mcpctl_json_print(v->ctl, root);

    } else if (table) {
        mcpctl_list_print(v, &records);
    }

    return damaged ? MCPCTL_FAILED : MCPCTL_OK;
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
