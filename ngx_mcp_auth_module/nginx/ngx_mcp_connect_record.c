/*
 * A person's record of a credential, as mcp_connect reads and writes it: what a
 * consent brought, sealed, over whatever version is there; or the mark that a
 * grant was ended.
 *
 * The person's own act is the last word: when somebody else moved the version
 * meanwhile (a refresh of the grant before), the record is read again and
 * written over that.  While Redis does not answer the write is repeated, for a
 * while: what a code brought cannot be had again.  A write whose answer was
 * lost is recognised by what it left.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_vault.h"


#define NGX_MCP_CONNECT_TRIES   8
#define NGX_MCP_CONNECT_PAUSE   250     /* ms, doubling */
#define NGX_MCP_CONNECT_KEEP    (400 * 86400)   /* s, as any grant */


static void ngx_mcp_connect_was_read(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_connect_rewrite(ngx_mcp_connect_ctx_t *cc,
    ngx_int_t unused);
static void ngx_mcp_connect_rewritten(ngx_mcp_connect_ctx_t *cc,
    ngx_int_t unused);
static void ngx_mcp_connect_written(ngx_mcp_connect_ctx_t *cc,
    ngx_int_t unused);
static void ngx_mcp_connect_was_written(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_connect_again(ngx_mcp_connect_ctx_t *cc);
static void ngx_mcp_connect_timer(ngx_event_t *ev);
static ngx_int_t ngx_mcp_connect_seal(ngx_mcp_connect_ctx_t *cc);
static ngx_int_t ngx_mcp_connect_seal_meta(ngx_mcp_connect_ctx_t *cc);


/* Whose record the following calls are about. */
void
ngx_mcp_connect_owner(ngx_mcp_connect_record_t *rec, ngx_mcp_credential_t *cr,
    mcp_str_t *issuer, mcp_str_t *user)
{
    ngx_memzero(rec, sizeof(ngx_mcp_connect_record_t));

    rec->owner.credential = *(mcp_str_t *) &cr->name;
    rec->owner.issuer = *issuer;
    rec->owner.user = *user;

    mcp_vault_name(&rec->owner, rec->name);
}


/* rec->tokens; done: NGX_OK, written; NGX_ERROR, they could not be. */
void
ngx_mcp_connect_write(ngx_mcp_connect_ctx_t *cc, ngx_mcp_connect_pt done)
{
    ngx_mcp_connect_record_t  *rec;

    rec = &cc->record;

    rec->done = done;
    rec->tries = 0;

    if (ngx_mcp_connect_seal_meta(cc) != NGX_OK) {
        done(cc, NGX_ERROR);
        return;
    }

    ngx_mcp_connect_rewrite(cc, NGX_OK);
}


static void
ngx_mcp_connect_rewrite(ngx_mcp_connect_ctx_t *cc, ngx_int_t unused)
{
    if (ngx_mcp_store_read(cc->mmcf, cc->record.name, ngx_mcp_connect_was_read,
                           cc, &cc->store)
        != NGX_AGAIN)
    {
        cc->store = NULL;
        ngx_mcp_connect_again(cc);
        return;
    }

    ngx_mcp_connect_wait(cc);
}


static void
ngx_mcp_connect_was_read(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    ngx_mcp_connect_ctx_t *cc = data;

    cc->store = NULL;
    cc->record.rc = rc;
    cc->record.found = record;
    cc->done = ngx_mcp_connect_rewritten;

    ngx_mcp_connect_go(cc, NGX_OK);
}


static void
ngx_mcp_connect_rewritten(ngx_mcp_connect_ctx_t *cc, ngx_int_t unused)
{
    time_t                     keep;
    ngx_mcp_record_t          *record;
    ngx_mcp_connect_record_t  *rec;

    rec = &cc->record;
    record = rec->found;

    if (rec->rc != NGX_MCP_STORE_OK && rec->rc != NGX_MCP_STORE_NONE) {
        ngx_mcp_connect_again(cc);
        return;
    }

    /* our own write, whose answer was lost */

    if (rec->sealed.tokens.len && rec->rc == NGX_MCP_STORE_OK
        && record->version == rec->version + 1
        && record->tokens.len == rec->sealed.tokens.len
        && ngx_memcmp(record->tokens.data, rec->sealed.tokens.data,
                      record->tokens.len)
           == 0)
    {
        rec->done(cc, NGX_OK);
        return;
    }

    rec->version = (rec->rc == NGX_MCP_STORE_OK) ? record->version : 0;

    if (ngx_mcp_connect_seal(cc) != NGX_OK) {
        rec->done(cc, NGX_ERROR);
        return;
    }

    keep = rec->tokens.refresh_expires
           ? rec->tokens.refresh_expires - ngx_time() : NGX_MCP_CONNECT_KEEP;

    if (ngx_mcp_store_write(cc->mmcf, rec->name, &rec->nobody, rec->version,
                            &rec->sealed, keep, ngx_mcp_connect_was_written,
                            cc, &cc->store)
        != NGX_AGAIN)
    {
        cc->store = NULL;
        ngx_mcp_connect_again(cc);
        return;
    }

    ngx_mcp_connect_wait(cc);
}


static void
ngx_mcp_connect_was_written(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    ngx_mcp_connect_ctx_t *cc = data;

    cc->store = NULL;
    cc->record.rc = rc;
    cc->done = ngx_mcp_connect_written;

    ngx_mcp_connect_go(cc, NGX_OK);
}


static void
ngx_mcp_connect_written(ngx_mcp_connect_ctx_t *cc, ngx_int_t unused)
{
    if (cc->record.rc != NGX_MCP_STORE_OK) {
        ngx_mcp_connect_again(cc);
        return;
    }

    /* this worker need not wait for what was published */

    ngx_mcp_vault_drop(cc->mmcf, cc->record.name, 0);

    cc->record.done(cc, NGX_OK);
}


/* Read it again, and write over what is there now. */
static void
ngx_mcp_connect_again(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_record_t  *rec;

    rec = &cc->record;

    if (++rec->tries > NGX_MCP_CONNECT_TRIES) {
        ngx_log_error(NGX_LOG_ALERT, cc->request->connection->log, 0,
                      "mcp_credential \"%V\": what a person granted could "
                      "not be written", &cc->credential->name);

        rec->done(cc, NGX_ERROR);
        return;
    }

    cc->timer.handler = ngx_mcp_connect_timer;
    cc->timer.data = cc;
    cc->timer.log = ngx_cycle->log;

    ngx_add_timer(&cc->timer, NGX_MCP_CONNECT_PAUSE
                              << ngx_min(rec->tries - 1, 3));

    ngx_mcp_connect_wait(cc);
}


static void
ngx_mcp_connect_timer(ngx_event_t *ev)
{
    ngx_mcp_connect_ctx_t  *cc;

    cc = ev->data;
    cc->done = ngx_mcp_connect_rewrite;

    ngx_mcp_connect_go(cc, NGX_OK);
}


/* Tokens for the next version. */
static ngx_int_t
ngx_mcp_connect_seal(ngx_mcp_connect_ctx_t *cc)
{
    u_char                    *p;
    size_t                     size, len;
    mcp_buf_t                  b;
    mcp_str_t                  text;
    ngx_mcp_connect_record_t  *rec;

    static const ngx_str_t  active = ngx_string("active");

    rec = &cc->record;

    rec->sealed.state = active;
    rec->sealed.expires = rec->tokens.expires;
    rec->sealed.grant = 1;

    size = mcp_vault_tokens_size(&rec->tokens);

    p = ngx_mcp_connect_secret(cc, size);

    rec->sealed.tokens.data = ngx_pnalloc(cc->request->pool,
                                          size + MCP_VAULT_OVERHEAD);

    if (p == NULL || rec->sealed.tokens.data == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_vault_tokens_write(&b, &rec->tokens);

    text.data = b.start;
    text.len = b.pos - b.start;

    if (b.overflow
        || mcp_vault_seal(&cc->mmcf->vault_keys, &rec->owner, "tokens",
                          rec->version + 1, &text, rec->sealed.tokens.data,
                          &len)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    rec->sealed.tokens.len = len;

    return NGX_OK;
}


/* Whose it is, for mcpctl, which knows the name alone. */
static ngx_int_t
ngx_mcp_connect_seal_meta(ngx_mcp_connect_ctx_t *cc)
{
    u_char                    *p;
    size_t                     size, len;
    mcp_buf_t                  b;
    mcp_str_t                  text;
    mcp_vault_owner_t          by_name;
    ngx_mcp_connect_record_t  *rec;

    rec = &cc->record;

    size = 6 * (rec->owner.credential.len + rec->owner.issuer.len
                + rec->owner.user.len) + 256;

    p = ngx_pnalloc(cc->request->pool, 2 * size + MCP_VAULT_OVERHEAD);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_vault_owner_write(&b, &rec->owner);

    text.data = b.start;
    text.len = b.pos - b.start;

    mcp_vault_owner_by_name(&by_name, rec->name);

    rec->sealed.meta.data = p + size;

    if (b.overflow
        || mcp_vault_seal(&cc->mmcf->vault_keys, &by_name, "meta", 0, &text,
                          rec->sealed.meta.data, &len)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    rec->sealed.meta.len = len;

    return NGX_OK;
}
