/*
 * What `jwt inspect` finds out, for the files that find it and show it.
 */

#ifndef MCPCTL_JWT_H
#define MCPCTL_JWT_H


#include "mcpctl_conf.h"
#include "mcpctl_out.h"
#include "mcp_access_key.h"
#include "mcp_jwt.h"


typedef enum {
    MCPCTL_PASSED = 0,
    MCPCTL_FAILED_IT,                   /* the token is refused for it */
    MCPCTL_OPEN                         /* it could not be checked here */
} mcpctl_check_e;

/* One step of the gateway's. */
typedef struct {
    const char          *name;
    mcpctl_check_e       result;
    const char          *reason;        /* of the audit, or NULL */
    char                *detail;        /* as it is shown, or NULL */
} mcpctl_check_t;

/* What the token is at one mcp_server. */
typedef struct {
    mcpctl_server_t     *server;
    const char          *reason;        /* NULL: accepted */
    char                *roles;         /* with commas; of an accepted one */
    mcp_str_t            missing;       /* scopes of every call that it lacks */
} mcpctl_at_server_t;

typedef struct {
    mcpctl_t            *ctl;
    mcpctl_server_t     *server;        /* --server; NULL: all */
    const char          *jwks;          /* --jwks */
    int64_t              now;           /* s since the epoch */
    mcp_str_t            token;

    unsigned             kind;          /* MCP_AUTH_JWT, _PAT, _VAT */
    const char          *reason;        /* NULL: not refused */
    unsigned             open;          /* something could not be checked */
    unsigned             revoked;       /* by a watermark */
    mcpctl_list_t        checks;        /* mcpctl_check_t */
    mcpctl_list_t        servers;       /* mcpctl_at_server_t */
    mcp_principal_t     *principal;     /* NULL: there is none */

    json_t              *header;        /* of a JWT that could be decoded */
    json_t              *claims;
    const mcp_access_key_t  *key;       /* the record of an own token */
} mcpctl_inspect_t;


/* Adds a step; a refusal becomes the token's unless there is one, or, of
 * revocation, another. */
void mcpctl_inspect_check(mcpctl_inspect_t *in, const char *name,
    mcpctl_check_e result, const char *reason, char *detail);

/* mcpctl_jwt_own.c: a token of the gateway's own. */
void mcpctl_inspect_own(mcpctl_inspect_t *in);

/* mcpctl_jwt_revoked.c: is this caller revoked; leeway: of its issuer (s). */
void mcpctl_inspect_revoked(mcpctl_inspect_t *in, const mcp_principal_t *p,
    int leeway);

/* mcpctl_jwt_show.c */
void mcpctl_inspect_show(mcpctl_inspect_t *in);

/* What a reason means, in a sentence, or NULL. */
const char *mcpctl_inspect_why(const char *reason);


#endif /* MCPCTL_JWT_H */
