/*
 * revoke, unrevoke, revocations: watermarks.
 *
 * Somebody leaves: one command, and what was issued to them until now is
 * refused everywhere, their own tokens of the gateway with it.  Nothing is
 * remembered here: a gateway learns of it from the store.
 */

#include "mcpctl_args.h"
#include "mcpctl_out.h"
#include "mcpctl_store.h"

#include <string.h>


typedef struct {
    const char          *issuer;
    const char          *user;
    const char          *client;
    const char          *service;
    const char          *token;
    const char          *reason;
    const char          *until;
    const char          *store;
    unsigned             issuer_all;
    unsigned             all;
    unsigned             force;
    unsigned             no_audit;
} mcpctl_revoke_args_t;


static int mcpctl_revoke_run(mcpctl_t *ctl, int argc, char **argv,
    unsigned lift);
static int mcpctl_revoke_whose(mcpctl_t *ctl, const mcpctl_revoke_args_t *a,
    mcp_revocation_t *r);
static int mcpctl_revoke_issuer(mcpctl_t *ctl, const mcpctl_revoke_args_t *a,
    mcp_revocation_t *r);
static json_t *mcpctl_revoke_json(mcpctl_t *ctl, const mcp_revocation_t *r);
static const char *mcpctl_revoke_type(const mcp_revocation_t *r);


int
mcpctl_revoke(mcpctl_t *ctl, int argc, char **argv)
{
    return mcpctl_revoke_run(ctl, argc, argv, 0);
}


int
mcpctl_unrevoke(mcpctl_t *ctl, int argc, char **argv)
{
    return mcpctl_revoke_run(ctl, argc, argv, 1);
}


static int
mcpctl_revoke_run(mcpctl_t *ctl, int argc, char **argv, unsigned lift)
{
    int                    rc;
    int64_t                now;
    json_t                *object;
    mcpctl_list_t          stores;
    mcpctl_store_t        *st;
    mcpctl_audit_t         audit;
    mcp_revocation_t       r;
    mcpctl_watermark_t    *there;
    mcpctl_revoke_args_t   a;

    const mcpctl_option_t  options[] = {
        { "issuer", &a.issuer, NULL },
        { "user", &a.user, NULL },
        { "client", &a.client, NULL },
        { "service", &a.service, NULL },
        { "token-id", &a.token, NULL },
        { "issuer-all", NULL, &a.issuer_all },
        { "all", NULL, &a.all },
        { "reason", &a.reason, NULL },
        { "store", &a.store, NULL },
        { "force", NULL, &a.force },
        { "no-audit", NULL, &a.no_audit },
        { lift ? NULL : "for", &a.until, NULL },
        { NULL, NULL, NULL }
    };

    memset(&a, 0, sizeof(a));
    memset(&r, 0, sizeof(r));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    now = mcpctl_now();

    rc = mcpctl_revoke_whose(ctl, &a, &r);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    if ((a.reason && mcpctl_arg_text(ctl, "reason", a.reason, &r.reason) != 0)
        || (a.until
            && mcpctl_arg_time(ctl, "for", a.until, now, &r.until) != 0))
    {
        return mcpctl_usage(ctl);
    }

    r.at = lift ? 0 : now;
    r.by = mcpctl_operator(ctl);

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, a.store, &stores);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    if (mcpctl_audit_open(ctl, &audit, a.no_audit) != MCP_OK) {
        mcpctl_stores_close(&stores);
        return MCPCTL_FAILED;
    }

    st = stores.elts[0];

    mcpctl_audit_revocation(&audit, &r, st->name);

    rc = lift ? st->watermark(st, &r, &there) : MCP_OK;

    if (rc == MCP_OK) {
        rc = st->set(st, &r, &audit);
    }

    if (rc == MCP_ERROR) {
        mcpctl_audit_failed(&audit);
    }

    mcpctl_audit_close(&audit);
    mcpctl_stores_close(&stores);

    if (rc == MCP_DECLINED) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "there is no such "
                            "revocation");
    }

    if (rc != MCP_OK) {
        return MCPCTL_FAILED;
    }

    if (ctl->json) {
        object = mcpctl_revoke_json(ctl, &r);
        mcpctl_json_set(ctl, object, "store", json_string(st->name));
        mcpctl_json_print(ctl, object);

    } else if (ctl->verbose) {
        printf("%s: %s %s\n", st->name, lift ? "lifted" : "revoked",
               mcpctl_revoke_type(&r));
    }

    return MCPCTL_OK;
}


/* Whom it is about: an exit code. */
static int
mcpctl_revoke_whose(mcpctl_t *ctl, const mcpctl_revoke_args_t *a,
    mcp_revocation_t *r)
{
    unsigned     n;
    const char  *text, *option;

    n = (a->user != NULL) + (a->client != NULL) + (a->service != NULL)
        + (a->token != NULL) + a->issuer_all + a->all;

    if (n != 1) {
        (void) mcpctl_error(ctl, 0, "one of --user, --client, --service, "
                            "--token-id, --issuer-all and --all has to say "
                            "whom it is about");
        return mcpctl_usage(ctl);
    }

    text = NULL;
    option = NULL;

    if (a->all) {
        r->type = MCP_REVOKE_ALL;

    } else if (a->issuer_all) {
        r->type = MCP_REVOKE_ISSUER;

    } else if (a->user) {
        r->type = MCP_REVOKE_USER;
        text = a->user;
        option = "user";

    } else if (a->token) {
        r->type = MCP_REVOKE_TOKEN;
        text = a->token;
        option = "token-id";

    } else {
        r->type = MCP_REVOKE_CLIENT;
        text = a->client ? a->client : a->service;
        option = a->client ? "client" : "service";
    }

    if (text && mcpctl_arg_text(ctl, option, text, &r->value) != 0) {
        return mcpctl_usage(ctl);
    }

    return mcpctl_revoke_issuer(ctl, a, r);
}


/* Service accounts, and their tokens, have no issuer; nor has --all. */
static int
mcpctl_revoke_issuer(mcpctl_t *ctl, const mcpctl_revoke_args_t *a,
    mcp_revocation_t *r)
{
    if (a->all || a->service
        || (a->token && strlen(a->token) == MCP_ACCESS_KEY_ID
            && memcmp(a->token, "vat-", 4) == 0))
    {
        if (a->issuer) {
            (void) mcpctl_error(ctl, 0, "--issuer does not belong there");
            return mcpctl_usage(ctl);
        }

        return MCPCTL_OK;
    }

    return mcpctl_arg_issuer(ctl, a->issuer, a->force, &r->issuer);
}


int
mcpctl_revocations(mcpctl_t *ctl, int argc, char **argv)
{
    int                    rc;
    json_t                *array, *object;
    int64_t                now;
    unsigned               i;
    mcpctl_list_t          stores, list;
    mcpctl_store_t        *st;
    mcpctl_table_t        *table;
    mcpctl_watermark_t    *w;
    mcpctl_revoke_args_t   a;

    const mcpctl_option_t  options[] = {
        { "store", &a.store, NULL },
        { "all", NULL, &a.all },
        { NULL, NULL, NULL }
    };

    static const char *const  headings[] = {
        "TYPE", "ISSUER", "VALUE", "AT", "UNTIL", "BY", "STORE", "REASON",
        NULL
    };

    memset(&a, 0, sizeof(a));

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, a.store, &stores);
    if (rc != MCPCTL_OK) {
        return rc;
    }

    memset(&list, 0, sizeof(list));

    for (i = 0; i < stores.n; i++) {
        st = stores.elts[i];

        if (st->watermarks(st, &list) != MCP_OK) {
            mcpctl_stores_close(&stores);
            return MCPCTL_FAILED;
        }

        if (st->damaged) {
            rc = MCPCTL_FAILED;
        }
    }

    mcpctl_stores_close(&stores);

    now = mcpctl_now();
    array = mcpctl_json_array(ctl);
    table = mcpctl_table(ctl, headings);

    for (i = 0; i < list.n; i++) {
        w = list.elts[i];

        if (!a.all
            && (w->r.at == 0 || (w->r.until && w->r.until <= now)))
        {
            continue;
        }

        if (ctl->json) {
            object = mcpctl_revoke_json(ctl, &w->r);
            mcpctl_json_set(ctl, object, "store",
                            json_string(w->store->name));
            mcpctl_json_append(ctl, array, object);

        } else {
            const char  *cells[] = {
                mcpctl_revoke_type(&w->r),
                mcpctl_shown(ctl, &w->r.issuer, 128),
                mcpctl_shown(ctl, &w->r.value, 128),
                mcpctl_arg_moment(ctl, w->r.at),
                mcpctl_arg_moment(ctl, w->r.until),
                mcpctl_shown(ctl, &w->r.by, 32),
                w->store->name,
                mcpctl_shown(ctl, &w->r.reason, 128)
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


static json_t *
mcpctl_revoke_json(mcpctl_t *ctl, const mcp_revocation_t *r)
{
    json_t  *object;

    object = mcpctl_json_object(ctl);

    mcpctl_json_set(ctl, object, "type", json_string(mcpctl_revoke_type(r)));
    mcpctl_json_set_text(ctl, object, "issuer", &r->issuer);
    mcpctl_json_set_text(ctl, object, "value", &r->value);

    if (r->at) {
        mcpctl_json_set(ctl, object, "at",
                        json_string(mcpctl_arg_moment(ctl, r->at)));
    }

    if (r->until) {
        mcpctl_json_set(ctl, object, "until",
                        json_string(mcpctl_arg_moment(ctl, r->until)));
    }

    mcpctl_json_set_text(ctl, object, "by", &r->by);
    mcpctl_json_set_text(ctl, object, "reason", &r->reason);

    return object;
}


static const char *
mcpctl_revoke_type(const mcp_revocation_t *r)
{
    static const char *const  types[] = {
        "all", "issuer", "user", "client", "token"
    };

    return types[r->type - MCP_REVOKE_ALL];
}
