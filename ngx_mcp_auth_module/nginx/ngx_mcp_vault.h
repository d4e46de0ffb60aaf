/*
 * Downstream credentials that are fetched: got, refreshed, exchanged, one at a
 * time over all workers and nodes, and kept sealed.
 *
 * The precontent phase asks for the credential of an authorised request; what
 * it is depends on configuration and principal alone.  A warm one is in this
 * worker's memory for at most 60 s and never past its end.  Else the record is
 * read from the store (Redis, or the zone when there is no mcp_redis), and when
 * that is not good enough, refreshed under the store's lock by one flight,
 * which belongs to no request: requests wait for it, and may go.
 */

#ifndef NGX_MCP_VAULT_H
#define NGX_MCP_VAULT_H


#include "ngx_mcp_module.h"
#include "mcp_oauth.h"
#include "mcp_vault.h"


/* mcp_vault_keys PATH */
char *ngx_mcp_vault_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* http {} is complete: endpoints, keys, what cannot work. */
ngx_int_t ngx_mcp_vault_conf_finish(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);

ngx_int_t ngx_mcp_vault_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_vault_exit_worker(ngx_mcp_main_conf_t *mmcf);


typedef struct {
    ngx_str_t            token;         /* of this worker's memory: it is there
                                           until the event loop turns */
    uint64_t             version;       /* of the record */
    ngx_uint_t           refreshed;     /* by this worker */
} ngx_mcp_vault_result_t;

/*
 * The credential's token for this request's caller.
 *   NGX_OK        *res
 *   NGX_AGAIN     w->wake is called exactly once, never before this returns;
 *                 then ask again; ngx_mcp_keys_cancel() when the request goes
 *   NGX_DECLINED  the person has to grant it first, or again: the connect
 *                 answer
 *   NGX_ERROR     cannot be had now: 503, *retry_after in s; *reason static
 * subject: the caller's token, for an exchange; used before this returns or
 * copied, never logged.
 */
ngx_int_t ngx_mcp_vault_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_str_t *subject, ngx_mcp_keys_waiter_t *w,
    ngx_mcp_vault_result_t *res, const char **reason, time_t *retry_after);

/* Whose the record of p's credential is, which depends on principal and
 * configuration alone.  p: NULL for client credentials. */
void ngx_mcp_vault_owner(const mcp_principal_t *p, ngx_mcp_credential_t *cr,
    mcp_vault_owner_t *o);

/* A record changed elsewhere: what this worker holds of it is dropped.  name:
 * MCP_VAULT_NAME hex digits; NULL: everything.  version: the one that was
 * written, and is kept if it is here; 0: unknown. */
void ngx_mcp_vault_drop(ngx_mcp_main_conf_t *mmcf, u_char *name,
    uint64_t version);

/* A person was revoked: what is warm of what she granted is dropped.  Her
 * records stay; whoever is somebody again finds them. */
void ngx_mcp_vault_revoked(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *issuer,
    const mcp_str_t *user);

/* What was published about a record, behind "cred ". */
void ngx_mcp_vault_event(ngx_mcp_main_conf_t *mmcf, ngx_str_t *text);


#endif /* NGX_MCP_VAULT_H */
