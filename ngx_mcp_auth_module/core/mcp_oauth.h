/*
 * The gateway as OAuth client of a token endpoint: what is asked, and what the
 * answer means.  Nothing is sent here.
 *
 * Grants: client credentials (RFC 6749 4.4), refresh (6), token exchange
 * (RFC 8693), authorization code (4.1.3, for the connect pages).  Each provider
 * has habits: where errors stand, whether a refresh token may be used twice,
 * what the client's secret goes into.  They are a table, and every value of it
 * can be overridden by the configuration.
 */

#ifndef MCP_OAUTH_H
#define MCP_OAUTH_H


#include "mcp_core.h"


#define MCP_OAUTH_BODY    65536         /* bytes of an answer, at most */
#define MCP_OAUTH_TOKEN   16384         /* bytes of a token in it, at most */


typedef enum {
    MCP_OAUTH_BASIC = 1,                /* client_secret_basic: id and secret
                                           are form-encoded before base64 */
    MCP_OAUTH_POST,                     /* client_secret_post */
    MCP_OAUTH_PRIVATE_KEY_JWT,          /* RFC 7523 */
    MCP_OAUTH_NONE                      /* client_id only */
} mcp_oauth_auth_e;

typedef enum {
    MCP_OAUTH_CLIENT_CREDENTIALS = 1,
    MCP_OAUTH_REFRESH,
    MCP_OAUTH_EXCHANGE,
    MCP_OAUTH_CODE,
    MCP_OAUTH_REVOKE_REFRESH,           /* no grant: the end of one, by its */
    MCP_OAUTH_REVOKE_ACCESS             /* refresh or access token */
} mcp_oauth_grant_e;

/* What an answer means (facts/oauth-okta.md 4.3). */
typedef enum {
    MCP_OAUTH_OK = 1,
    MCP_OAUTH_GRANT_DEAD,               /* the grant is over */
    MCP_OAUTH_CLIENT_BAD,               /* the gateway's own credentials are */
    MCP_OAUTH_TRANSIENT,                /* nothing happened; again, later */
    MCP_OAUTH_UNKNOWN,                  /* perhaps it happened */
    MCP_OAUTH_INTERACT                  /* the person has to do something */
} mcp_oauth_class_e;


typedef struct {
    const char          *name;
    mcp_str_t            title;                 /* for people; or empty */
    mcp_str_t            token_endpoint;        /* empty: to be configured */
    mcp_str_t            authorize_endpoint;
    mcp_str_t            revoke_endpoint;
    mcp_str_t            authorize_extra;       /* query parameters */
    mcp_oauth_auth_e     auth;
    unsigned             json:1;        /* the request's body is JSON */
    unsigned             rotates:1;     /* each use gives a new refresh token */
    unsigned             pkce:1;
    int                  grace;         /* s in which a used refresh token still
                                           works; 0: none; -1: for ever */
    int                  lifetime;      /* s, without expires_in; 0: such a
                                           token never expires */
    int                  keepalive;     /* s; a grant that nobody uses is
                                           refreshed so often; 0: never */
    mcp_str_t            within;        /* member that has the tokens: Slack's
                                           "authed_user"; empty: the top */
} mcp_oauth_provider_t;


typedef struct {
    const mcp_oauth_provider_t  *provider;
    mcp_oauth_auth_e     auth;
    mcp_str_t            client_id;
    mcp_str_t            client_secret;
    mcp_str_t            assertion;     /* private_key_jwt, made for this
                                           request */
    mcp_str_t            scope;         /* space separated, or empty */
    mcp_str_t            audience;
    mcp_str_t            resource;

    mcp_oauth_grant_e    grant;
    mcp_str_t            token;         /* refresh, subject, revoked token or
                                           code */
    mcp_str_t            redirect_uri;  /* code */
    mcp_str_t            verifier;      /* code: PKCE */
} mcp_oauth_request_t;


typedef struct {
    mcp_oauth_class_e    class;
    const char          *error;         /* static: for log and audit; NULL */
    mcp_str_t            access_token;
    mcp_str_t            refresh_token; /* empty: none, the old one stays */
    mcp_str_t            scope;         /* empty: as asked, */
    unsigned             scope_said;    /* or, 1: nothing at all */
    mcp_str_t            id_token;
    int64_t              expires_in;    /* s; 0: never */
    int64_t              refresh_expires_in;    /* s; 0: not said */
} mcp_oauth_answer_t;


/* "github", "atlassian", "slack", "google", "entra", "okta", "generic"; NULL:
 * there is none of this name. */
const mcp_oauth_provider_t *mcp_oauth_provider(const mcp_str_t *name);

/*
 * The request: its body into body, header lines with CRLF (Content-Type
 * and, with client_secret_basic, Authorization) into headers.  Secrets are in
 * both: the caller cleanses them.  MCP_OK, or MCP_ERROR: does not fit.
 */
int mcp_oauth_request(const mcp_oauth_request_t *req, mcp_buf_t *headers,
    mcp_buf_t *body);

/*
 * Which token ends the whole grant at the provider's revoke_endpoint:
 * MCP_OAUTH_REVOKE_REFRESH or _ACCESS, by RFC 7009 or in the provider's own
 * way; 0: it has no such endpoint.
 */
mcp_oauth_grant_e mcp_oauth_revoke_by(const mcp_oauth_provider_t *p,
    unsigned refresh);

/* The method of a request of req->grant: "POST", or GitHub's "DELETE". */
const char *mcp_oauth_method(const mcp_oauth_request_t *req);

/*
 * Whatever the provider says to a revocation.  MCP_OAUTH_OK: the grant is over;
 * _GRANT_DEAD: it was already, or the token is none any more: after an access
 * token, a refresh token of the same grant may be alive.  With the error
 * "not_found" (GitHub) it is possible, too, that the client is not who the
 * endpoint's address says.  Else as ever; to be asked again does no harm.
 */
mcp_oauth_class_e mcp_oauth_revoked(const mcp_oauth_request_t *req,
    unsigned status, const mcp_str_t *body, const char **error);

/*
 * The answer of status with this body.  Always sets a->class; strings are in
 * mem.  An answer that is no JSON, too large, truncated, has a token that
 * cannot be a header's value, or another token_type than Bearer, is never
 * MCP_OAUTH_OK; one of status 2xx that cannot be understood is
 * MCP_OAUTH_UNKNOWN.  What stands beside the tokens has to make sense as well,
 * but in the answer of a refresh: there scope and id_token are left out then,
 * and expires_in is taken for 300.  Error texts of the provider are never
 * copied: error is one of a fixed set of words ("invalid_grant", "http_5xx",
 * ...).
 */
void mcp_oauth_answer(const mcp_oauth_request_t *req, unsigned status,
    const mcp_str_t *body, const mcp_mem_t *mem, mcp_oauth_answer_t *a);

/* "ok", "grant_dead", "client_bad", "transient", "unknown", "interact". */
const char *mcp_oauth_class_name(mcp_oauth_class_e class);


#endif /* MCP_OAUTH_H */
