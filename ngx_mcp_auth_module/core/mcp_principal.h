/*
 * Who is calling: what a verified token said, reduced to what decisions, the
 * audit and variables need.  No token, no signature.
 *
 * A principal is one block: this struct with its strings behind it, all
 * pointers into the block.  mcp_principal_pack() and _unpack() move it through
 * shared memory; a packed principal holds offsets and no pointer.
 */

#ifndef MCP_PRINCIPAL_H
#define MCP_PRINCIPAL_H


#include "mcp_core.h"
#include "mcp_policy.h"


typedef enum {
    MCP_CALLER_USER = 1,
    MCP_CALLER_SERVICE
} mcp_caller_e;

typedef enum {
    MCP_AUTH_JWT = 1,
    MCP_AUTH_PAT,
    MCP_AUTH_VAT
} mcp_auth_e;

#define MCP_MAX_AUDIENCES  32
#define MCP_MAX_CLAIMS     32


typedef struct {
    mcp_str_t            name;
    mcp_str_t            value;
} mcp_claim_t;


typedef struct {
    mcp_caller_e         kind;
    mcp_auth_e           auth;
    unsigned             issuer;        /* index of the mcp_issuer block */

    mcp_str_t            iss;
    mcp_str_t            user;          /* empty for a service */
    mcp_str_t            client;
    mcp_str_t            token_id;      /* jti; without one "sha256:" and 32
                                           hex digits of the signing input's */
    mcp_str_t            scopes;        /* space separated, single spaces */
    mcp_roles_t          roles;

    mcp_str_t           *audiences;
    unsigned             naudiences;
    mcp_claim_t         *claims;        /* those asked for, scalars as text */
    unsigned             nclaims;

    int64_t              exp;           /* s since the epoch, no leeway */
    int64_t              iat;
} mcp_principal_t;


/* 1 when one of the token's audiences is wanted, byte for byte. */
int mcp_principal_audience(const mcp_principal_t *p, const mcp_str_t *wanted,
    unsigned nwanted);

/* 1 when scopes (space separated) has scope. */
int mcp_scope_has(const mcp_str_t *scopes, const mcp_str_t *scope);

/* Bytes that mcp_principal_pack() writes. */
size_t mcp_principal_packed_size(const mcp_principal_t *p);
void mcp_principal_pack(const mcp_principal_t *p, unsigned char *out);

/* A copy in mem, or NULL: out of memory, or packed is damaged (every offset is
 * checked against len). */
mcp_principal_t *mcp_principal_unpack(const unsigned char *packed, size_t len,
    const mcp_mem_t *mem);


/* A copy in mem, one block; p may be put together from any strings.  NULL: out
 * of memory. */
mcp_principal_t *mcp_principal_dup(const mcp_principal_t *p,
    const mcp_mem_t *mem);


#endif /* MCP_PRINCIPAL_H */
