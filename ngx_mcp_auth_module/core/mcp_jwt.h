/*
 * Verification of a bearer JWT (RFC 7515, 7519, 8725, 9068) in three steps, so
 * that the caller can wait for keys between the first and the second:
 *
 *     mcp_jwt_parse()    length, characters, base64url, header, iss
 *     mcp_jwt_verify()   algorithm, key, signature
 *     mcp_jwt_claims()   claims -> principal
 *
 * The order of checks is that of facts/oauth-okta.md section 2.1.  Every
 * refusal has a static reason for the audit; the client is told only
 * "invalid_token".  OpenSSL's error queue is left empty.
 */

#ifndef MCP_JWT_H
#define MCP_JWT_H


#include "mcp_core.h"
#include "mcp_jwk.h"
#include "mcp_principal.h"


/* `role NAME VALUE...`: role is held by bearers of any of these values. */
typedef struct {
    unsigned             role;          /* interned number */
    mcp_str_t            value;
} mcp_role_map_t;


/* One mcp_issuer block. */
typedef struct {
    mcp_str_t            issuer;        /* byte-exact iss */
    unsigned             index;         /* goes into the principal */
    unsigned             algs;          /* allow-list */
    unsigned             at_jwt:1;      /* typ must be at+jwt (RFC 9068) */
    int                  leeway;        /* s */
    mcp_str_t           *user_claims;   /* first one present wins */
    unsigned             nuser_claims;
    mcp_str_t           *client_claims;
    unsigned             nclient_claims;
    mcp_str_t           *scope_claims;
    unsigned             nscope_claims;
    mcp_str_t            roles_claim;   /* "groups", nested "a/b" */
    mcp_role_map_t      *role_map;
    unsigned             nrole_map;
    unsigned             max_groups;    /* more: the token is refused */
    mcp_str_t           *claims;        /* names wanted in principal->claims */
    unsigned             nclaims;
} mcp_jwt_issuer_t;


typedef struct mcp_jwt_s  mcp_jwt_t;            /* private; malloc'ed trees */


/*
 * Steps 1 to 10.  token: max bytes at most max_token (refused beyond).  The
 * token must stay in place until mcp_jwt_free().  Returns the parsed token or
 * NULL with *reason.  Nothing of it is trusted yet.
 */
mcp_jwt_t *mcp_jwt_parse(const mcp_str_t *token, size_t max_token,
    const char **reason);
void mcp_jwt_free(mcp_jwt_t *jwt);

/* The iss claim, not verified: only to choose the issuer block. */
const mcp_str_t *mcp_jwt_iss(const mcp_jwt_t *jwt);

/* The kid, empty when there is none: for the negative cache. */
const mcp_str_t *mcp_jwt_kid(const mcp_jwt_t *jwt);

/*
 * Step 11: MCP_OK signature good; MCP_ERROR refused, *reason; MCP_DECLINED: no
 * key of the set fits this kid (or, without a kid, this algorithm): a newer
 * set may have one.  Without a kid exactly one key must fit.
 */
int mcp_jwt_verify(const mcp_jwt_t *jwt, const mcp_jwt_issuer_t *issuer,
    const mcp_jwk_set_t *set, const char **reason);

/*
 * Step 12: iss, exp, nbf, iat, sub, typ's remainder, cnf (refused: a
 * sender-constrained token cannot be checked yet), what tells an ID token from
 * an access token.  now: s since the epoch.  The audience is copied but not
 * compared: that is done at each request by mcp_principal_audience().
 * Returns a principal in mem, or NULL with *reason ("internal" when mem is
 * exhausted).
 */
mcp_principal_t *mcp_jwt_claims(const mcp_jwt_t *jwt,
    const mcp_jwt_issuer_t *issuer, int64_t now, const mcp_mem_t *mem,
    const char **reason);

/* Strict base64url without padding (RFC 4648 5; unused bits zero): decoded
 * length, or -1.  dst needs len * 3 / 4 bytes. */
long mcp_base64url_decode(unsigned char *dst, const unsigned char *src,
    size_t len);


#endif /* MCP_JWT_H */
