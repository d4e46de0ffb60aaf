/*
 * Which stores there are.  See mcpctl_store.h.
 */

#include "mcpctl_store.h"


#define MCPCTL_STORE_SKEW  5            /* s */


static int mcpctl_store_add(mcpctl_t *ctl, mcpctl_list_t *stores,
    int (*open)(mcpctl_t *ctl, mcpctl_store_t *st));


int
mcpctl_stores_open(mcpctl_t *ctl, mcpctl_store_e what, const char *only,
    mcpctl_list_t *stores)
{
    unsigned    file, redis;
    mcp_str_t   want;

    memset(stores, 0, sizeof(mcpctl_list_t));

    file = (what == MCPCTL_STORE_TOKENS) ? ctl->conf->token_file.len != 0
                                   : ctl->conf->revocation_file.len != 0;
    redis = (ctl->conf->redis != NULL);

    if (only) {
        want = mcpctl_cstr(only);

        if (mcp_str_eq_lit(&want, "file")) {
            redis = 0;

        } else if (mcp_str_eq_lit(&want, "redis")) {
            file = 0;

        } else {
            (void) mcpctl_error(ctl, 0, "--store \"%s\" is neither file nor "
                                "redis", only);
            return mcpctl_usage(ctl);
        }
    }

    if (!file && !redis) {
        return mcpctl_error(ctl, MCPCTL_FAILED, "\"%s\" has no %s%s%s",
                            ctl->conf->file.data,
                            only && *only == 'r' ? ""
                            : what == MCPCTL_STORE_TOKENS ? "mcp_token_file"
                                                    : "mcp_revocation_file",
                            only ? "" : " and no ",
                            only && *only == 'f' ? "" : "mcp_redis");
    }

    if ((redis && mcpctl_store_add(ctl, stores, mcpctl_store_redis) != MCP_OK)
        || (file && mcpctl_store_add(ctl, stores, mcpctl_store_file)
                    != MCP_OK))
    {
        mcpctl_stores_close(stores);

        if (file && redis) {
            mcpctl_warn(ctl, "the file alone: --store file");
        }

        return MCPCTL_FAILED;
    }

    return MCPCTL_OK;
}


void
mcpctl_stores_close(mcpctl_list_t *stores)
{
    unsigned         i;
    mcpctl_store_t  *st;

    for (i = 0; i < stores->n; i++) {
        st = stores->elts[i];

        if (st->redis) {
            mcpctl_redis_close(st->redis);
            st->redis = NULL;
        }
    }

    stores->n = 0;
}


static int
mcpctl_store_add(mcpctl_t *ctl, mcpctl_list_t *stores,
    int (*open)(mcpctl_t *ctl, mcpctl_store_t *st))
{
    mcpctl_store_t  *st;

    st = mcpctl_alloc(ctl, sizeof(mcpctl_store_t));
    st->ctl = ctl;

    if (open(ctl, st) != MCP_OK) {
        return MCP_ERROR;
    }

    if (st->ahead > MCPCTL_STORE_SKEW || st->ahead < -MCPCTL_STORE_SKEW) {
        mcpctl_warn(ctl, "the clock of Redis is %lld s %s ours",
                    (long long) (st->ahead > 0 ? st->ahead : -st->ahead),
                    st->ahead > 0 ? "ahead of" : "behind");
    }

    mcpctl_push(ctl, stores, st);

    return MCP_OK;
}


mcpctl_token_t *
mcpctl_store_token(mcpctl_store_t *st, const mcp_str_t *line, const char *what)
{
    const char      *error;
    mcpctl_token_t  *token;

    token = mcpctl_alloc(st->ctl, sizeof(mcpctl_token_t));

    if (mcp_access_key_parse(line, &st->ctl->mem, &token->key, &error)
        != MCP_OK)
    {
        (void) mcpctl_error(st->ctl, 0, "%s: %s", what, error);
        return NULL;
    }

    /* core's strings have no NUL behind them; these two go into messages */

    token->key.id = mcpctl_str(st->ctl, token->key.id.data,
                               token->key.id.len);
    token->key.issuer = mcpctl_str(st->ctl, token->key.issuer.data,
                                   token->key.issuer.len);

    token->line = mcpctl_str(st->ctl, line->data, line->len);
    token->store = st;

    return token;
}


mcpctl_watermark_t *
mcpctl_store_watermark(mcpctl_store_t *st, const mcp_str_t *line,
    const char *what)
{
    const char          *error;
    mcpctl_watermark_t  *w;

    w = mcpctl_alloc(st->ctl, sizeof(mcpctl_watermark_t));

    if (mcp_revocation_parse(line, &st->ctl->mem, &w->r, &error) != MCP_OK) {
        (void) mcpctl_error(st->ctl, 0, "%s: %s", what, error);
        return NULL;
    }

    w->line = mcpctl_str(st->ctl, line->data, line->len);
    w->store = st;

    return w;
}


mcp_str_t
mcpctl_store_token_line(mcpctl_t *ctl, const mcp_access_key_t *key)
{
    mcp_buf_t          b;
    mcp_str_t          line;
    const char        *error;
    unsigned char      text[MCP_ACCESS_KEY_LINE];
    mcp_access_key_t   again;

    mcp_buf_init(&b, text, sizeof(text));
    mcp_access_key_write(&b, key);

    line = mcpctl_str(ctl, text, (size_t) (b.pos - b.start));
    error = "it is longer than 4096 bytes";

    /* what a gateway could not read is not written */

    if (b.overflow
        || mcp_access_key_parse(&line, &ctl->mem, &again, &error) != MCP_OK)
    {
        (void) mcpctl_error(ctl, 0, "there is no record of this: %s", error);
        mcp_str_null(&line);
    }

    return line;
}


mcp_str_t
mcpctl_store_revocation_line(mcpctl_t *ctl, const mcp_revocation_t *r)
{
    mcp_buf_t          b;
    mcp_str_t          line;
    const char        *error;
    unsigned char      text[MCP_REVOCATION_LINE];
    mcp_revocation_t   again;

    mcp_buf_init(&b, text, sizeof(text));
    mcp_revocation_write(&b, r);

    line = mcpctl_str(ctl, text, (size_t) (b.pos - b.start));
    error = "it is longer than 2048 bytes";

    if (b.overflow
        || mcp_revocation_parse(&line, &ctl->mem, &again, &error) != MCP_OK)
    {
        (void) mcpctl_error(ctl, 0, "there is no line for this: %s", error);
        mcp_str_null(&line);
    }

    return line;
}


int
mcpctl_store_same(const mcp_revocation_t *a, const mcp_revocation_t *b)
{
    return a->type == b->type && mcp_str_eq(&a->issuer, &b->issuer)
           && mcp_str_eq(&a->value, &b->value);
}


void
mcpctl_store_in_force(mcpctl_t *ctl, int64_t now, mcpctl_list_t *list)
{
    unsigned             i, k;
    mcpctl_list_t        stores, all;
    mcpctl_store_t      *st;
    mcpctl_watermark_t  *w;

    memset(list, 0, sizeof(mcpctl_list_t));
    memset(&all, 0, sizeof(mcpctl_list_t));

    if (ctl->conf->revocation_file.len == 0 && ctl->conf->redis == NULL) {
        return;
    }

    if (mcpctl_stores_open(ctl, MCPCTL_STORE_REVOCATIONS, NULL, &stores)
        != MCPCTL_OK)
    {
        mcpctl_warn(ctl, "who is revoked is not known here");
        return;
    }

    for (i = 0; i < stores.n; i++) {
        st = stores.elts[i];

        if (st->watermarks(st, &all) != MCP_OK || st->damaged) {
            mcpctl_warn(ctl, "who is revoked is not known here");
        }
    }

    mcpctl_stores_close(&stores);

    for (k = 0; k < all.n; k++) {
        w = all.elts[k];

        if (w->r.at && (w->r.until == 0 || w->r.until > now)) {
            mcpctl_push(ctl, list, w);
        }
    }
}


const mcpctl_watermark_t *
mcpctl_store_covered(const mcpctl_list_t *list, const mcp_access_key_t *key,
    int64_t created, unsigned id)
{
    unsigned                   i, k, n;
    mcp_revocation_t           of[MCP_REVOCATION_NAMES];
    const mcpctl_watermark_t  *w;

    memset(of, 0, sizeof(of));
    n = 0;

    of[n++].type = MCP_REVOKE_ALL;

    if (key->auth == MCP_AUTH_PAT) {
        of[n].type = MCP_REVOKE_ISSUER;
        of[n++].issuer = key->issuer;

        of[n].type = MCP_REVOKE_USER;
        of[n].issuer = key->issuer;
        of[n++].value = key->user;

    } else {
        of[n].type = MCP_REVOKE_CLIENT;
        of[n++].value = key->service;
    }

    if (id) {
        of[n].type = MCP_REVOKE_TOKEN;
        of[n].issuer = key->issuer;
        of[n++].value = key->id;
    }

    for (i = 0; i < list->n; i++) {
        w = list->elts[i];

        for (k = 0; k < n; k++) {
            if (mcpctl_store_same(&w->r, &of[k])
                && mcp_revocation_covers(w->r.at, created, 0))
            {
                return w;
            }
        }
    }

    return NULL;
}
