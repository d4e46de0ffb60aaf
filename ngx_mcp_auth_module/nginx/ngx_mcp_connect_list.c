/*
 * mcp_connect: my connections.  The records of the person who is signed in, one
 * after the other; what cannot be read is said to be unknown, and never taken
 * for what is not there.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_connect_pages.h"


static void ngx_mcp_list_next(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
static void ngx_mcp_list_read(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_list_row(ngx_mcp_connect_ctx_t *cc, ngx_int_t unused);
static void ngx_mcp_list_tokens(ngx_mcp_connect_ctx_t *cc,
    ngx_mcp_credential_t *cr, ngx_mcp_record_t *record, mcp_page_row_t *row);
static void ngx_mcp_list_show(ngx_mcp_connect_ctx_t *cc);


/* GET the location itself */
void
ngx_mcp_connect_list(ngx_mcp_connect_ctx_t *cc)
{
    ngx_int_t  rc;

    rc = ngx_mcp_connect_session(cc, MCP_CONNECT_SESSION);

    if (rc == NGX_ERROR) {
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_mcp_connect_see_own(cc, "login", NULL);
        return;
    }

    cc->rows = ngx_pcalloc(cc->request->pool,
                           cc->conf->credentials.nelts
                           * sizeof(mcp_page_row_t) + 1);
    if (cc->rows == NULL) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_mcp_list_next(cc, NGX_OK);
}


static void
ngx_mcp_list_next(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    mcp_page_row_t         *row;
    ngx_mcp_credential_t  **crp;

    crp = cc->conf->credentials.elts;

    while (cc->row < cc->conf->credentials.nelts) {
        row = (mcp_page_row_t *) cc->rows + cc->row;

        row->name = *(mcp_str_t *) &crp[cc->row]->name;
        row->provider = crp[cc->row]->provider.title;
        row->state = MCP_PAGE_UNKNOWN;

        if (ngx_mcp_connect_csrf(cc, "disconnect", &crp[cc->row]->name,
                                 &row->token)
            != NGX_OK)
        {
            ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        ngx_mcp_connect_owner(&cc->record, crp[cc->row], &cc->session.issuer,
                              &cc->session.user);

        if (ngx_mcp_store_read(cc->mmcf, cc->record.name, ngx_mcp_list_read,
                               cc, &cc->store)
            == NGX_AGAIN)
        {
            ngx_mcp_connect_wait(cc);
            return;
        }

        cc->store = NULL;
        cc->row++;
    }

    ngx_mcp_list_show(cc);
}


static void
ngx_mcp_list_read(void *data, ngx_mcp_store_e rc, ngx_mcp_record_t *record)
{
    ngx_mcp_connect_ctx_t *cc = data;

    cc->store = NULL;
    cc->record.rc = rc;
    cc->record.found = record;
    cc->done = ngx_mcp_list_row;

    ngx_mcp_connect_go(cc, NGX_OK);
}


static void
ngx_mcp_list_row(ngx_mcp_connect_ctx_t *cc, ngx_int_t unused)
{
    mcp_page_row_t         *row;
    ngx_mcp_record_t       *record;
    ngx_mcp_credential_t  **crp;

    crp = (ngx_mcp_credential_t **) cc->conf->credentials.elts + cc->row;
    row = (mcp_page_row_t *) cc->rows + cc->row++;
    record = cc->record.found;

    if (cc->record.rc == NGX_MCP_STORE_NONE) {
        row->state = MCP_PAGE_NONE;

    } else if (cc->record.rc == NGX_MCP_STORE_OK) {
        ngx_mcp_list_tokens(cc, *crp, record, row);
    }

    ngx_mcp_list_next(cc, NGX_OK);
}


static void
ngx_mcp_list_tokens(ngx_mcp_connect_ctx_t *cc, ngx_mcp_credential_t *cr,
    ngx_mcp_record_t *record, mcp_page_row_t *row)
{
    u_char              *p;
    size_t               len;
    mcp_mem_t            mem;
    mcp_str_t            text;
    mcp_vault_tokens_t   t;

    if (mcp_str_eq_lit(&record->state, "revoked")) {
        row->state = MCP_PAGE_NONE;
        return;
    }

    mem = ngx_mcp_connect_mem(cc);
    p = ngx_mcp_connect_secret(cc, record->tokens.len + 1);

    if (p == NULL
        || mcp_vault_open(&cc->mmcf->vault_keys, &cc->record.owner, "tokens",
                          record->version, (mcp_str_t *) &record->tokens, p,
                          &len)
           != MCP_OK)
    {
        return;
    }

    text.data = p;
    text.len = len;

    if (mcp_vault_tokens_parse(&text, &mem, &t) != MCP_OK) {
        return;
    }

    row->scope = t.scope;
    row->since = t.granted;
    row->used = record->used;
    row->renewed = t.issued;
    row->expires = t.refresh_expires;

    if (mcp_str_eq_lit(&record->state, "reauth")
        || !mcp_vault_from(&t.endpoint, &cr->provider.token_endpoint))
    {
        row->state = MCP_PAGE_REAUTH;

    } else if (mcp_str_eq_lit(&record->state, "active")) {
        row->state = MCP_PAGE_ACTIVE;
    }
}


static void
ngx_mcp_list_show(ngx_mcp_connect_ctx_t *cc)
{
    u_char     *p;
    size_t      size;
    mcp_buf_t   b;
    mcp_str_t   token;

    size = MCP_PAGE_SIZE + cc->conf->credentials.nelts * MCP_PAGE_ROW;
    p = ngx_mcp_connect_secret(cc, size);

    if (p == NULL
        || ngx_mcp_connect_csrf(cc, "logout", NULL, &token) != NGX_OK)
    {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    mcp_buf_init(&b, p, size);
    mcp_page_list(&b, (mcp_str_t *) &cc->conf->path, &cc->session.name,
                  cc->rows, cc->conf->credentials.nelts, &token);

    ngx_mcp_connect_page(cc, &b);
}
