/*
 * What mcp_connect remembers of a person in a browser, as text: the session
 * that a cookie carries, sealed; the state of a sign-in or a grant, and a
 * ticket, which rest in Redis, sealed.  Texts are JSON, read strictly: what is
 * missing, too much or of another kind is no text of ours.
 *
 * And the URL with which a browser leaves for a provider; what came back as
 * scopes, against what was wanted.
 */

#ifndef MCP_CONNECT_H
#define MCP_CONNECT_H


#include "mcp_core.h"


#define MCP_CONNECT_NONCE    22         /* characters: 16 random bytes */
#define MCP_CONNECT_SESSION  900        /* s */
#define MCP_CONNECT_STATE    600        /* s, and of tickets */
#define MCP_CONNECT_TEXT     8192       /* bytes of a text, at most */


typedef enum {
    MCP_CONNECT_LOGIN = 1,
    MCP_CONNECT_GRANT,
    MCP_CONNECT_TICKET
} mcp_connect_kind_e;


typedef struct {
    mcp_str_t            issuer;
    mcp_str_t            user;
    mcp_str_t            name;          /* to show; untrusted */
    mcp_str_t            nonce;         /* of this browser */
    int64_t              begun;         /* s since the epoch */
} mcp_connect_session_t;


/* Strings may be empty. */
typedef struct {
    mcp_connect_kind_e   kind;
    mcp_str_t            credential;    /* grant, ticket */
    mcp_str_t            issuer;        /* who was asked: the login issuer; of a
                                           grant the authorization endpoint */
    mcp_str_t            redirect_uri;
    mcp_str_t            verifier;      /* PKCE */
    mcp_str_t            nonce;         /* of the ID token */
    mcp_str_t            browser;       /* the nonce of its cookie */
    mcp_str_t            person_issuer; /* grant, ticket: for whom */
    mcp_str_t            person;
    mcp_str_t            to;            /* login: the credential that is
                                           connected next */
    mcp_str_t            ticket;        /* login: with this */
    mcp_str_t            scope;         /* grant: what was asked for */
    int64_t              begun;
} mcp_connect_state_t;


void mcp_connect_session_write(mcp_buf_t *b, const mcp_connect_session_t *s);
int mcp_connect_session_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_connect_session_t *s);

/* 1: of somebody who signed in at this issuer, less than age s before now.
 * Clocks of gateways may be a minute apart. */
int mcp_connect_session_good(const mcp_connect_session_t *s,
    const mcp_str_t *issuer, int64_t now, int64_t age);

void mcp_connect_state_write(mcp_buf_t *b, const mcp_connect_state_t *s);
int mcp_connect_state_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_connect_state_t *s);


typedef struct {
    mcp_str_t            endpoint;      /* may have a query */
    mcp_str_t            extra;         /* "a=b&c=d", encoded */
    mcp_str_t            client_id;
    mcp_str_t            redirect_uri;
    mcp_str_t            scope;
    const char          *scope_name;    /* NULL: "scope" */
    mcp_str_t            audience;
    mcp_str_t            resource;
    mcp_str_t            state;
    mcp_str_t            nonce;
    mcp_str_t            verifier;      /* empty: no PKCE */
} mcp_connect_away_t;

/*
 * The authorization request (RFC 6749 4.1.1): response_type code, PKCE S256
 * (RFC 7636), resource (RFC 8707).  extra is of a preset, and has nothing that
 * is set here but audience, which is left out of it then.  MCP_OK, or
 * MCP_ERROR: it does not fit, or mcp_connect_endpoint() refuses the endpoint.
 */
int mcp_connect_away(mcp_buf_t *b, const mcp_connect_away_t *a);

/*
 * NULL, or why a URL cannot be one that somebody else's program opens.  A URL
 * may have these characters; clients have handed them to a shell, where they
 * are something else (CVE-2025-6514).  A fragment would swallow what follows.
 */
const char *mcp_connect_handed(const mcp_str_t *url);

/*
 * NULL, or why a URL cannot be that of the pages: it is none to be handed out,
 * or browsers write it in another way, so that their Origin would be another.
 */
const char *mcp_connect_own(const mcp_str_t *url);

/*
 * NULL, or why an authorization endpoint, a URL already, cannot be used: it is
 * none to be handed out, or its query has what only the gateway may say.  Of a
 * parameter that is there twice (RFC 6749 3.1: it must not be) a provider would
 * take the one or the other: a redirect_uri, a state or a code_challenge that
 * is not ours.
 */
const char *mcp_connect_endpoint(const mcp_str_t *endpoint);

/*
 * What of wanted is not in granted, as it stands there; an empty string:
 * nothing.  Both are separated by spaces or commas.  Of "openid" and
 * "offline_access" the answer itself tells.  provider is the name in
 * mcp_oauth_provider_t, or NULL: GitHub does not repeat what another scope has
 * in it, Google has long names for two, Entra ignores case and says nothing of
 * scopes that are about the answer.
 */
mcp_str_t mcp_connect_missing(const mcp_str_t *wanted,
    const mcp_str_t *granted, const char *provider);


#endif /* MCP_CONNECT_H */
