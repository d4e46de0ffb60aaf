/*
 * `jwt inspect`: is this caller among the revoked.  mcp_revocation_file is
 * looked at where it can be read; Redis is not asked.
 */

#include "mcpctl_jwt.h"
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
} mcpctl_revoked_t;


static int mcpctl_revoked_each(void *ctx, const mcp_revocation_t *r);


void
mcpctl_inspect_revoked(mcpctl_inspect_t *in, const mcp_principal_t *p,
    int leeway)
{
    int                err;
    unsigned           line;
    mcp_str_t          text, *path;
    const char        *why;
    mcpctl_conf_t     *conf;
    mcpctl_revoked_t   rv;

    conf = in->ctl->conf;
    path = &conf->revocation_file;

    if (path->len == 0) {

        if (conf->redis) {
            mcpctl_inspect_check(in, "revocation", MCPCTL_OPEN, NULL,
                                 mcpctl_format(in->ctl, "Redis was not "
                                               "asked"));
        }

        return;
    }

    if (mcpctl_read_file(in->ctl, (char *) path->data, MCPCTL_REVOKED, &text,
                         &why, &err)
        != MCP_OK)
    {
        mcpctl_inspect_check(in, "revocation", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "cannot read %s: %s",
                                           mcpctl_shown(in->ctl, path, 256),
                                           why));
        return;
    }

    memset(&rv, 0, sizeof(mcpctl_revoked_t));

    rv.in = in;
    rv.principal = p;
    rv.leeway = leeway;
    rv.n = mcp_revocation_names(p, rv.names);

    if (mcp_revocation_file(&text, mcpctl_revoked_each, &rv, &why, &line)
        != MCP_OK)
    {
        mcpctl_inspect_check(in, "revocation", MCPCTL_OPEN, NULL,
                             mcpctl_format(in->ctl, "%s in %s:%u", why,
                                           mcpctl_shown(in->ctl, path, 256),
                                           line));
        return;
    }

    mcpctl_inspect_check(in, "revocation",
                         rv.by ? MCPCTL_FAILED_IT
                         : conf->redis ? MCPCTL_OPEN : MCPCTL_PASSED,
                         rv.by ? "revoked" : NULL,
                         rv.by ? rv.by
                         : conf->redis ? mcpctl_format(in->ctl, "Redis was "
                                                       "not asked") : NULL);
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

    if (rv->by
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
