/*
 * `jwt inspect`: is this caller among the revoked.  mcp_revocation_file and
 * Redis are looked at, where they can be read; nothing is changed.
 */

#include "mcpctl_jwt.h"
#include "mcpctl_store.h"
#include "mcp_revocation.h"


#define MCPCTL_REVOKED  (64 * 1024 * 1024)      /* bytes of the file */


typedef struct {
    mcpctl_inspect_t        *in;
    const mcp_principal_t   *principal;
    int                      leeway;
    unsigned                 n;
    unsigned char            names[MCP_REVOCATION_NAMES]
                                  [MCP_REVOCATION_NAME];
    char                    *by;        /* the watermark; NULL: none */
    char                    *unknown;   /* why that may be wrong, or NULL */
} mcpctl_revoked_t;


static void mcpctl_revoked_file(mcpctl_revoked_t *rv);
static void mcpctl_revoked_redis(mcpctl_revoked_t *rv);
static int mcpctl_revoked_each(void *ctx, const mcp_revocation_t *r);


void
mcpctl_inspect_revoked(mcpctl_inspect_t *in, const mcp_principal_t *p,
    int leeway)
{
    mcpctl_conf_t     *conf;
    mcpctl_revoked_t   rv;

    conf = in->ctl->conf;

    if (conf->revocation_file.len == 0 && conf->redis == NULL) {
        return;
    }

    memset(&rv, 0, sizeof(mcpctl_revoked_t));

    rv.in = in;
    rv.principal = p;
    rv.leeway = leeway;
    rv.n = mcp_revocation_names(p, rv.names);

    if (conf->revocation_file.len) {
        mcpctl_revoked_file(&rv);
    }

    if (rv.by == NULL && conf->redis) {
        mcpctl_revoked_redis(&rv);
    }

    if (rv.by) {
        mcpctl_inspect_check(in, "revocation", MCPCTL_FAILED_IT, "revoked",
                             rv.by);

    } else {
        mcpctl_inspect_check(in, "revocation",
                             rv.unknown ? MCPCTL_OPEN : MCPCTL_PASSED, NULL,
                             rv.unknown);
    }
}


static void
mcpctl_revoked_file(mcpctl_revoked_t *rv)
{
    int          err;
    char        *name;
    unsigned     line;
    mcp_str_t    text, *path;
    mcpctl_t    *ctl;
    const char  *why;

    ctl = rv->in->ctl;
    path = &ctl->conf->revocation_file;
    name = mcpctl_shown(ctl, path, 256);

    if (mcpctl_read_file(ctl, (char *) path->data, MCPCTL_REVOKED, &text,
                         &why, &err)
        != MCP_OK)
    {
        rv->unknown = mcpctl_format(ctl, "cannot read %s: %s", name, why);
        return;
    }

    /* all of it has to be right before any of it counts */

    if (mcp_revocation_file(&text, NULL, NULL, &why, &line) != MCP_OK) {
        rv->unknown = mcpctl_format(ctl, "%s in %s:%u", why, name, line);
        return;
    }

    (void) mcp_revocation_file(&text, mcpctl_revoked_each, rv, &why, &line);
}


static void
mcpctl_revoked_redis(mcpctl_revoked_t *rv)
{
    unsigned             i;
    mcpctl_t            *ctl;
    mcpctl_list_t        stores, list;
    mcpctl_store_t      *st;
    mcpctl_watermark_t  *w;

    ctl = rv->in->ctl;
    memset(&list, 0, sizeof(mcpctl_list_t));

    if (mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, "redis", &stores)
        != MCPCTL_OK)
    {
        rv->unknown = mcpctl_format(ctl, "Redis cannot be asked");
        return;
    }

    st = stores.elts[0];

    if (st->watermarks(st, &list) != MCP_OK) {
        rv->unknown = mcpctl_format(ctl, "Redis cannot be asked");

    } else if (st->damaged) {
        rv->unknown = mcpctl_format(ctl, "Redis has lines that cannot be "
                                    "used");
    }

    mcpctl_stores_close(&stores);

    for (i = 0; i < list.n; i++) {
        w = list.elts[i];
        (void) mcpctl_revoked_each(rv, &w->r);
    }
}


/* The same question as the gateway's: in force, and issued before it. */
static int
mcpctl_revoked_each(void *ctx, const mcp_revocation_t *r)
{
    mcpctl_revoked_t *rv = ctx;

    size_t         size;
    unsigned       i;
    mcp_buf_t      b;
    mcp_str_t      text;
    unsigned char  name[MCP_REVOCATION_NAME];

    if (rv->by || r->at == 0
        || !mcp_revocation_covers(r->at, rv->principal->iat, rv->leeway)
        || (r->until && r->until + rv->leeway <= rv->in->now))
    {
        return MCP_OK;
    }

    mcp_revocation_name(r, name);

    for (i = 0; i < rv->n; i++) {
        if (memcmp(rv->names[i], name, MCP_REVOCATION_NAME) == 0) {
            break;
        }
    }

    if (i == rv->n) {
        return MCP_OK;
    }

    size = MCP_REVOCATION_LINE;
    mcp_buf_init(&b, mcpctl_alloc(rv->in->ctl, size), size);
    mcp_revocation_write(&b, r);

    text.data = b.start;
    text.len = (size_t) (b.pos - b.start);
    rv->by = mcpctl_shown(rv->in->ctl, &text, 256);

    return MCP_OK;
}
