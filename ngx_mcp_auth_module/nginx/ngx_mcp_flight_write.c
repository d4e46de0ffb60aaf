/*
 * A flight writes what it got, sealed, over the version that it read.
 *
 * New tokens may be the only copy of a grant: the write is repeated while the
 * store does not answer, and a worker that leaves waits for it.
 */

#include "ngx_mcp_ending.h"


#define NGX_MCP_FLIGHT_WRITE     200    /* ms between two writes, at first */
#define NGX_MCP_FLIGHT_WRITE_MAX 5000
#define NGX_MCP_FLIGHT_GUARD     10000  /* ms, more than any store takes */
#define NGX_MCP_FLIGHT_LEAVING   20000  /* ms, in a worker that leaves */
#define NGX_MCP_FLIGHT_BACKOFF   30     /* s, of a grant that is over */


static void ngx_mcp_flight_written(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_rewrite(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_guard(ngx_event_t *ev);
static void ngx_mcp_flight_write_again(ngx_event_t *ev);


ngx_int_t
ngx_mcp_flight_seal(ngx_mcp_flight_t *f, const char *state)
{
    u_char             *p;
    size_t              size, len;
    mcp_buf_t           b;
    mcp_str_t           text;
    mcp_vault_owner_t   by_name;
    mcp_vault_ring_t   *ring;

    ring = &f->vault->mmcf->vault_keys;

    size = mcp_vault_tokens_size(&f->tokens);
    size = ngx_max(size, 6 * (f->owner.credential.len + f->owner.issuer.len
                              + f->owner.user.len + f->owner.client.len
                              + f->owner.audience.len + f->owner.scope.len
                              + f->owner.subject.len) + 256);

    p = ngx_pnalloc(f->pool, 3 * (size + MCP_VAULT_OVERHEAD));
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_vault_tokens_write(&b, &f->tokens);

    text.data = b.start;
    text.len = b.pos - b.start;

    f->record.tokens.data = p + size;

    if (b.overflow
        || mcp_vault_seal(ring, &f->owner, "tokens", f->version + 1, &text,
                          f->record.tokens.data, &len)
           != MCP_OK)
    {
        ngx_explicit_memzero(p, size);
        return NGX_ERROR;
    }

    f->record.tokens.len = len;

    /* whose it is, for mcpctl, which knows the name alone */

    mcp_buf_init(&b, p, size);
    mcp_vault_owner_write(&b, &f->owner);

    text.len = b.pos - b.start;

    mcp_vault_owner_by_name(&by_name, ngx_mcp_flight_name(f));

    f->record.meta.data = f->record.tokens.data + size + MCP_VAULT_OVERHEAD;

    if (b.overflow
        || mcp_vault_seal(ring, &by_name, "meta", 0, &text,
                          f->record.meta.data, &len)
           != MCP_OK)
    {
        ngx_explicit_memzero(p, size);
        return NGX_ERROR;
    }

    ngx_explicit_memzero(p, size);

    f->record.meta.len = len;
    f->record.state.data = (u_char *) state;
    f->record.state.len = ngx_strlen(state);
    f->record.expires = f->tokens.expires;

    return NGX_OK;
}


void
ngx_mcp_flight_write(ngx_mcp_flight_t *f)
{
    if (ngx_mcp_store_write(f->vault->mmcf, ngx_mcp_flight_name(f), &f->lock,
                            f->version, &f->record, f->keep,
                            ngx_mcp_flight_written, f, &f->call)
        != NGX_AGAIN)
    {
        f->call = NULL;
        ngx_mcp_flight_rewrite(f);
        return;
    }

    /* a worker that leaves waits for that */

    f->timer.handler = ngx_mcp_flight_guard;
    ngx_add_timer(&f->timer, NGX_MCP_FLIGHT_GUARD);

    if (f->fresh) {

        /* what the provider gave is good, whatever the store says */

        ngx_mcp_flight_wake(f);
    }
}


static void
ngx_mcp_flight_written(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    ngx_mcp_flight_t *f = data;

    ngx_uint_t  fresh;

    f->call = NULL;

    if (f->timer.timer_set) {
        ngx_del_timer(&f->timer);
    }

    if (rc == NGX_MCP_STORE_UNKNOWN) {
        ngx_mcp_flight_rewrite(f);
        return;
    }

    /* an earlier write of ours may have arrived after all */

    if (rc == NGX_MCP_STORE_CONFLICT
        && !(record->version == f->version + 1
             && record->tokens.len == f->record.tokens.len
             && ngx_memcmp(record->tokens.data, f->record.tokens.data,
                           record->tokens.len) == 0))
    {
        if (record->version == 0 && !ngx_mcp_flight_user(f) && f->version) {

            /* it came to its end meanwhile: ours is the first of a new one */

            f->version = 0;

            if (ngx_mcp_flight_seal(f, "active") == NGX_OK) {
                ngx_mcp_flight_write(f);
                return;
            }
        }

        ngx_log_error(NGX_LOG_ERR, f->vault->log, 0,
                      "mcp_credential \"%V\": version %uL was written by "
                      "somebody else meanwhile, ours is dropped",
                      &f->cr->name, f->version + 1);

        ngx_mcp_vault_drop(f->vault->mmcf, ngx_mcp_flight_name(f), 0);

        fresh = f->fresh;
        f->locked = 0;
        f->fresh = 0;

        if (ngx_mcp_flight_user(f) && fresh
            && (record->version == 0
                || (record->state.len == 7
                    && ngx_memcmp(record->state.data, "revoked", 7) == 0)))
        {
            /* disconnected, or revoked: these are nobody's */

            ngx_mcp_ending_tokens(f->vault->mmcf, f->cr, &f->owner,
                                  &f->tokens);
        }

        if (record->version == 0) {
            ngx_mcp_flight_none(f, NGX_DECLINED, "no_grant", 0);
            return;
        }

        ngx_mcp_flight_record(f, record);
        return;
    }

    f->locked = 0;

    if (f->fresh) {

        if (f->tokens.expires && f->tokens.expires <= ngx_time() + 1) {

            /* over as it came: who waits shall not ask for the next at once */

            ngx_mcp_flight_none(f, NGX_ERROR, "credential_provider", 1);
            return;
        }

        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    /* the grant is dead */

    if (ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f),
                          NGX_MCP_FLIGHT_BACKOFF)
        == NGX_OK)
    {
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    ngx_mcp_flight_none(f, NGX_DECLINED, "grant_dead", 0);
}


/* The store did not answer.  New tokens may be all that is left of a grant. */
static void
ngx_mcp_flight_rewrite(ngx_mcp_flight_t *f)
{
    if (f->fresh) {
        ngx_mcp_flight_wake(f);
    }

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        if (f->deadline - ngx_current_msec > NGX_MCP_FLIGHT_LEAVING) {
            f->deadline = ngx_current_msec + NGX_MCP_FLIGHT_LEAVING;
        }
    }

    if ((ngx_msec_int_t) (ngx_current_msec - f->deadline) >= 0) {

        ngx_log_error(NGX_LOG_ALERT, f->vault->log, 0,
                      "mcp_credential \"%V\": version %uL could not be "
                      "written, and is lost%s", &f->cr->name, f->version + 1,
                      ngx_mcp_flight_user(f) ? "; the grant may be, too" : "");

        ngx_mcp_flight_event(f, 0, "credential_store");

        if (f->fresh) {
            ngx_mcp_flight_end(f);
            return;
        }

        ngx_mcp_flight_none(f, NGX_DECLINED, "grant_dead", 0);
        return;
    }

    f->pause = f->pause ? ngx_min(f->pause * 2, NGX_MCP_FLIGHT_WRITE_MAX)
                        : NGX_MCP_FLIGHT_WRITE;

    f->timer.handler = ngx_mcp_flight_write_again;
    ngx_add_timer(&f->timer, f->pause);
}


/* The store has a timeout of its own: nothing to do here. */
static void
ngx_mcp_flight_guard(ngx_event_t *ev)
{
    /* void */
}


static void
ngx_mcp_flight_write_again(ngx_event_t *ev)
{
    ngx_mcp_flight_write(ev->data);
}
