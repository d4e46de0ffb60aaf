/*
 * `revoke`, `unrevoke`, `revocations`: watermarks.
 *
 * A watermark is about a person, a client, a service account, one token, an
 * issuer, or everybody; what was issued until its moment is refused.  It is set
 * to now by the clock that is ahead, ours or that of Redis, and never moved
 * back.
 */

#include "mcpctl_args.h"
#include "mcpctl_out.h"
#include "mcpctl_store.h"


#define MCPCTL_LIFTED  (30 * 86400)     /* s that a lifted one is remembered */


typedef struct {
    const char          *issuer;
    const char          *user;
    const char          *client;
    const char          *service;
    const char          *token_id;
    const char          *reason;
    const char          *until;
    const char          *store;
    unsigned             issuer_all;
    unsigned             all;
    unsigned             force;
    unsigned             no_audit;
} mcpctl_revoke_t;


static int mcpctl_revoke_options(mcpctl_t *ctl, int argc, char **argv,
    unsigned set, mcpctl_revoke_t *o);
static int mcpctl_revoke_what(mcpctl_t *ctl, const mcpctl_revoke_t *o,
    mcp_revocation_t *r);
static int mcpctl_revoke_issuer(mcpctl_t *ctl, const mcpctl_revoke_t *o,
    mcp_revocation_t *r);
static int mcpctl_revoke_set(mcpctl_t *ctl, mcpctl_store_t *st,
    mcp_revocation_t *r, mcpctl_audit_t *audit);
static int mcpctl_revoke_lift(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const mcp_revocation_t *r, mcpctl_audit_t *audit);
static int mcpctl_revocations_in(mcpctl_t *ctl, const mcpctl_list_t *stores,
    unsigned all);
static void mcpctl_revocation_row(mcpctl_t *ctl, mcpctl_table_t *table,
    const mcpctl_watermark_t *w);
static json_t *mcpctl_revocation_json(mcpctl_t *ctl,
    const mcp_revocation_t *r, const mcpctl_store_t *st);
static char *mcpctl_revocation_whom(mcpctl_t *ctl,
    const mcp_revocation_t *r);


int
mcpctl_revoke(mcpctl_t *ctl, int argc, char **argv)
{
    int               rc;
    int64_t           now;
    mcpctl_list_t     stores;
    mcpctl_audit_t    audit;
    mcpctl_revoke_t   o;
    mcp_revocation_t  r;

    if (mcpctl_revoke_options(ctl, argc, argv, 1, &o) != 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    memset(&r, 0, sizeof(mcp_revocation_t));

    rc = mcpctl_revoke_what(ctl, &o, &r);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    now = mcpctl_now();
    r.at = now;

    if ((o.reason && mcpctl_arg_text(ctl, "reason", o.reason, &r.reason) != 0)
        || (o.until
            && mcpctl_arg_time(ctl, "for", o.until, now, &r.until) != 0))
    {
        return mcpctl_usage(ctl);
    }

    if (o.until && (r.until <= now || r.until > MCP_TIME_MAX)) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "it would be over at %s",
                            mcpctl_arg_moment(ctl, r.until));
    }

    r.by = mcpctl_operator(ctl);

    if (mcpctl_audit_open(ctl, &audit, o.no_audit) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, o.store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_revoke_set(ctl, stores.elts[0], &r, &audit);
    }

    mcpctl_stores_close(&stores);
    mcpctl_audit_close(&audit);

    return rc;
}


int
mcpctl_unrevoke(mcpctl_t *ctl, int argc, char **argv)
{
    int               rc;
    mcpctl_list_t     stores;
    mcpctl_audit_t    audit;
    mcpctl_revoke_t   o;
    mcp_revocation_t  r;

    if (mcpctl_revoke_options(ctl, argc, argv, 0, &o) != 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    memset(&r, 0, sizeof(mcp_revocation_t));

    rc = mcpctl_revoke_what(ctl, &o, &r);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    if (o.reason && mcpctl_arg_text(ctl, "reason", o.reason, &r.reason) != 0) {
        return mcpctl_usage(ctl);
    }

    r.until = mcpctl_now() + MCPCTL_LIFTED;
    r.by = mcpctl_operator(ctl);

    if (mcpctl_audit_open(ctl, &audit, o.no_audit) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, o.store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_revoke_lift(ctl, &stores, &r, &audit);
    }

    mcpctl_stores_close(&stores);
    mcpctl_audit_close(&audit);

    return rc;
}


/* set: of revoke, which has one more. */
static int
mcpctl_revoke_options(mcpctl_t *ctl, int argc, char **argv, unsigned set,
    mcpctl_revoke_t *o)
{
    unsigned  n;

    const mcpctl_option_t  options[] = {
        { "issuer", &o->issuer, NULL },
        { "user", &o->user, NULL },
        { "client", &o->client, NULL },
        { "service", &o->service, NULL },
        { "token-id", &o->token_id, NULL },
        { "issuer-all", NULL, &o->issuer_all },
        { "all", NULL, &o->all },
        { "reason", &o->reason, NULL },
        { "store", &o->store, NULL },
        { "force", NULL, &o->force },
        { "no-audit", NULL, &o->no_audit },
        { set ? "for" : NULL, &o->until, NULL },
        { NULL, NULL, NULL }
    };

    memset(o, 0, sizeof(mcpctl_revoke_t));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return -1;
    }

    n = (o->user != NULL) + (o->client != NULL) + (o->service != NULL)
        + (o->token_id != NULL) + o->issuer_all + o->all;

    if (n != 1) {
        return mcpctl_error(ctl, -1, "one of --user, --client, --service, "
                            "--token-id, --issuer-all and --all has to be "
                            "there");
    }

    if (o->issuer && (o->service || o->all)) {
        return mcpctl_error(ctl, -1, "--issuer does not go with --%s",
                            o->all ? "all" : "service");
    }

    return 0;
}


static int
mcpctl_revoke_what(mcpctl_t *ctl, const mcpctl_revoke_t *o,
    mcp_revocation_t *r)
{
    int          rc;
    const char  *option, *text;

    text = NULL;
    option = NULL;

    if (o->all) {
        r->type = MCP_REVOKE_ALL;

    } else if (o->issuer_all) {
        r->type = MCP_REVOKE_ISSUER;

    } else if (o->user) {
        r->type = MCP_REVOKE_USER;
        option = "user";
        text = o->user;

    } else if (o->token_id) {
        r->type = MCP_REVOKE_TOKEN;
        option = "token-id";
        text = o->token_id;

    } else {
        r->type = MCP_REVOKE_CLIENT;
        option = o->client ? "client" : "service";
        text = o->client ? o->client : o->service;
    }

    if (text && mcpctl_arg_text(ctl, option, text, &r->value) != 0) {
        return mcpctl_usage(ctl);
    }

    if (mcp_access_key_kind(&r->value)) {
        return mcpctl_error(ctl, MCPCTL_USAGE, "this is a token itself, and "
                            "now in your shell's history: see mcpctl token "
                            "revoke");
    }

    rc = mcpctl_revoke_issuer(ctl, o, r);

    return rc;
}


/* A service account and its tokens have none. */
static int
mcpctl_revoke_issuer(mcpctl_t *ctl, const mcpctl_revoke_t *o,
    mcp_revocation_t *r)
{
    if (o->all || o->service
        || (o->token_id && o->issuer == NULL && r->value.len > 4
            && memcmp(r->value.data, "vat-", 4) == 0))
    {
        return MCPCTL_OK;
    }

    return mcpctl_arg_issuer(ctl, o->issuer, o->force, &r->issuer);
}


static int
mcpctl_revoke_set(mcpctl_t *ctl, mcpctl_store_t *st, mcp_revocation_t *r,
    mcpctl_audit_t *audit)
{
    int                  rc;
    mcpctl_watermark_t  *was;

    if (st->ahead > 0) {
        r->at += st->ahead;
    }

    rc = st->watermark(st, r, &was);

    if (rc == MCP_ERROR) {
        return MCPCTL_FAILED;
    }

    /* never less than it was */

    if (rc == MCP_OK) {

        if (was->r.at > r->at) {
            r->at = was->r.at;
        }

        if (r->until && (was->r.until == 0 || was->r.until > r->until)) {
            r->until = was->r.until;
            mcpctl_warn(ctl, "it was revoked for longer: that stays");
        }
    }

    mcpctl_audit_revocation(audit, r, st->name);

    if (st->set(st, r, audit) != MCP_OK) {
        mcpctl_audit_failed(audit);
        return MCPCTL_FAILED;
    }

    if (ctl->json) {
        mcpctl_json_print(ctl, mcpctl_revocation_json(ctl, r, st));

    } else {
        printf("revoked: %s, all that was issued until %s%s%s\n",
               mcpctl_revocation_whom(ctl, r), mcpctl_arg_moment(ctl, r->at),
               r->until ? "; remembered until " : "",
               r->until ? mcpctl_arg_moment(ctl, r->until) : "");
    }

    return MCPCTL_OK;
}


/* Wherever it is; of one store alone with --store. */
static int
mcpctl_revoke_lift(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const mcp_revocation_t *r, mcpctl_audit_t *audit)
{
    int                  rc;
    unsigned             i, n;
    mcpctl_store_t      *st;
    mcpctl_watermark_t  *was;

    n = 0;

    for (i = 0; i < stores->n; i++) {
        st = stores->elts[i];

        rc = st->watermark(st, r, &was);

        if (rc == MCP_OK) {
            mcpctl_audit_revocation(audit, r, st->name);
            rc = st->set(st, r, audit);

            if (rc != MCP_OK) {
                mcpctl_audit_failed(audit);
            }

            audit->written = 0;
            n += (rc == MCP_OK);
        }

        if (rc == MCP_ERROR) {
            return MCPCTL_FAILED;
        }
    }

    if (n == 0) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "not revoked: %s",
                            mcpctl_revocation_whom(ctl, r));
    }

    if (ctl->json) {
        mcpctl_json_print(ctl, mcpctl_revocation_json(ctl, r, NULL));

    } else {
        printf("not revoked any more: %s\n", mcpctl_revocation_whom(ctl, r));
    }

    return MCPCTL_OK;
}


int
mcpctl_revocations(mcpctl_t *ctl, int argc, char **argv)
{
    int             rc;
    unsigned        all;
    const char     *store;
    mcpctl_list_t   stores;

    const mcpctl_option_t  options[] = {
        { "store", &store, NULL },
        { "all", NULL, &all },
        { NULL, NULL, NULL }
    };

    store = NULL;
    all = 0;

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_revocations_in(ctl, &stores, all);
    }

    mcpctl_stores_close(&stores);

    return rc;
}


static int
mcpctl_revocations_in(mcpctl_t *ctl, const mcpctl_list_t *stores, unsigned all)
{
    int                  rc;
    json_t              *root;
    int64_t              now;
    unsigned             i;
    mcpctl_list_t        list;
    mcpctl_store_t      *st;
    mcpctl_table_t      *table;
    mcpctl_watermark_t  *w;

    static const char *const  headings[] = {
        "TYPE", "ISSUER", "VALUE", "ISSUED UNTIL", "REMEMBERED UNTIL", "BY",
        "REASON", "STORE", NULL
    };

    rc = MCPCTL_OK;
    now = mcpctl_now();
    memset(&list, 0, sizeof(mcpctl_list_t));

    for (i = 0; i < stores->n; i++) {
        st = stores->elts[i];

        if (st->watermarks(st, &list) != MCP_OK || st->damaged) {
            rc = MCPCTL_FAILED;
        }
    }

    root = ctl->json ? mcpctl_json_array(ctl) : NULL;
    table = mcpctl_table(ctl, headings);

    for (i = 0; i < list.n; i++) {
        w = list.elts[i];

        if (!all && (w->r.at == 0 || (w->r.until && w->r.until <= now))) {
            continue;
        }

        if (root) {
            mcpctl_json_append(ctl, root,
                               mcpctl_revocation_json(ctl, &w->r, w->store));
        } else {
            mcpctl_revocation_row(ctl, table, w);
        }
    }

    if (root) {
        mcpctl_json_print(ctl, root);

    } else {
        mcpctl_table_print(table);
    }

    return rc;
}


static void
mcpctl_revocation_row(mcpctl_t *ctl, mcpctl_table_t *table,
    const mcpctl_watermark_t *w)
{
    const char  *cells[8];

    cells[0] = mcp_revocation_word(w->r.type);
    cells[1] = w->r.issuer.len
               ? mcpctl_shown(ctl, &w->r.issuer, MCPCTL_SHOWN) : "-";
    cells[2] = w->r.value.len
               ? mcpctl_shown(ctl, &w->r.value, MCPCTL_SHOWN) : "-";
    cells[3] = w->r.at ? mcpctl_arg_moment(ctl, w->r.at) : "lifted";
    cells[4] = mcpctl_arg_moment(ctl, w->r.until);
    cells[5] = mcpctl_shown(ctl, &w->r.by, MCPCTL_SHOWN);
    cells[6] = mcpctl_shown(ctl, &w->r.reason, 60);
    cells[7] = w->store->name;

    mcpctl_row(table, cells);
}


static json_t *
mcpctl_revocation_json(mcpctl_t *ctl, const mcp_revocation_t *r,
    const mcpctl_store_t *st)
{
    json_t  *o;

    o = mcpctl_json_object(ctl);

    mcpctl_json_set(ctl, o, "type", json_string(mcp_revocation_word(r->type)));
    mcpctl_json_set_text(ctl, o, "issuer", &r->issuer);
    mcpctl_json_set_text(ctl, o, "value", &r->value);

    if (r->at) {
        mcpctl_json_set(ctl, o, "at",
                        json_string(mcpctl_arg_moment(ctl, r->at)));
    } else {
        mcpctl_json_set(ctl, o, "lifted", json_true());
    }

    if (r->until) {
        mcpctl_json_set(ctl, o, "until",
                        json_string(mcpctl_arg_moment(ctl, r->until)));
    }

    mcpctl_json_set_text(ctl, o, "by", &r->by);
    mcpctl_json_set_text(ctl, o, "reason", &r->reason);

    if (st) {
        mcpctl_json_set(ctl, o, "store", json_string(st->name));
    }

    return o;
}


/* To be shown. */
static char *
mcpctl_revocation_whom(mcpctl_t *ctl, const mcp_revocation_t *r)
{
    char  *issuer, *value;

    if (r->type == MCP_REVOKE_ALL) {
        return mcpctl_format(ctl, "everybody");
    }

    issuer = mcpctl_shown(ctl, &r->issuer, MCPCTL_SHOWN);
    value = mcpctl_shown(ctl, &r->value, MCPCTL_SHOWN);

    if (r->type == MCP_REVOKE_ISSUER) {
        return mcpctl_format(ctl, "everybody of %s", issuer);
    }

    if (r->issuer.len == 0) {
        return mcpctl_format(ctl, "%s %s", r->type == MCP_REVOKE_CLIENT
                                           ? "service" : "token", value);
    }

    return mcpctl_format(ctl, "%s %s of %s", mcp_revocation_word(r->type),
                         value, issuer);
}
