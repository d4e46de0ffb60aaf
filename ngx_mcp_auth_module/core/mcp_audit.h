/*
 * The audit record: one struct -> one JSON line (DESIGN.md section 8).
 *
 * Keys come in the order of the design and are absent when empty.  All strings
 * are escaped and bounded here; the line ends in LF, contains no other, and is
 * never longer than MCP_AUDIT_MAX.  There is no member for a token, a secret
 * or a code.
 */

#ifndef MCP_AUDIT_H
#define MCP_AUDIT_H


#include "mcp_core.h"
#include "mcp_message.h"
#include "mcp_policy.h"
#include "mcp_principal.h"


#define MCP_AUDIT_PREVIEW  2048         /* bytes of a response, at most */
#define MCP_AUDIT_WHO_MAX  3072         /* bytes of mcp_audit_who() */
#define MCP_AUDIT_MAX      (8192 + 2 * MCP_AUDIT_PREVIEW + 32)


typedef struct {
    int64_t              sec;           /* s since the epoch */
    unsigned             usec;
    uint64_t             seq;
    mcp_str_t            node;
    unsigned             worker;
    const char          *ev;            /* call list auth session metadata
                                           stream revocation credential */
    mcp_str_t            server;

    const mcp_message_t *message;       /* may be NULL; gives method, target,
                                           agent, rpc_id, era, params */
    const char          *http_method;   /* when there is no message: GET ...,
                                           revoke/user credential/refresh */

    const char          *decision;      /* allow deny would_deny error */
    const char          *reason;
    mcp_str_t            rule;

    const mcp_principal_t  *principal;  /* may be NULL; user, client, kind,
                                           auth, issuer, token_id */
    const mcp_policy_t  *policy;        /* names the roles; may be NULL */
    mcp_str_t            who;           /* what mcp_audit_who() made of these
                                           two, or empty */

    /* ev revocation: of the watermark, as in mcp_audit_operator_t */
    int64_t              at;
    int64_t              until;
    mcp_str_t            note;
    const char          *store;         /* NULL: it is no revocation */
    mcp_str_t            by;
    int64_t              late_us;       /* since it was stored; -1: unknown */

    mcp_str_t            session;       /* digest of the session id, never the
                                           id itself */
    mcp_str_t            params_digest; /* hex; empty: none */
    const unsigned      *clear;         /* indices of pointers whose value is
                                           recorded in the clear */
    unsigned             nclear;

    unsigned             status;        /* HTTP status sent; 0: none */
    unsigned             has_rpc_code:1;
    unsigned             has_result:1;
    unsigned             is_error:1;
    unsigned             has_removed:1;
    int64_t              rpc_code;
    uint64_t             result_bytes;
    mcp_str_t            result_digest;
    mcp_str_t            preview;       /* how the response begins; secrets
                                           are taken out here */
    size_t               preview_max;   /* bytes of it that are shown; what is
                                           behind them only tells a secret */
    unsigned             preview_more;  /* the response goes on behind it */
    unsigned             removed;

    mcp_str_t            credential;
    uint64_t             credential_version;    /* 0: has none */
    unsigned             refreshed;     /* it was, for this request */
    mcp_str_t            upstream_addr;
    unsigned             upstream_status;
    int64_t              upstream_us;   /* -1: none */
    int64_t              total_us;
    int64_t              auth_us;       /* -1: none */
    int64_t              credential_us; /* -1: none */

    mcp_str_t            client_ip;
    mcp_str_t            request_id;
    mcp_str_t            trace_id;      /* 32 hex digits */
} mcp_audit_t;


/*
 * Writes the line into out (MCP_AUDIT_MAX bytes at least); returns its length.
 * Long parts are shortened so that the line always fits, and is always valid
 * JSON.
 */
size_t mcp_audit_line(const mcp_audit_t *a, unsigned char *out);

/*
 * What is in each record of one caller, to be kept and put into mcp_audit_t:
 * writes it into out (MCP_AUDIT_WHO_MAX bytes); returns its length.
 */
size_t mcp_audit_who(const mcp_principal_t *principal,
    const mcp_policy_t *policy, unsigned char *out);

/*
 * What an operator did with tokens, revocations or credentials.  Keys have the
 * names and the order that they have in other records; absent when empty.
 */
typedef struct {
    int64_t              sec;           /* s since the epoch */
    unsigned             usec;
    mcp_str_t            node;
    const char          *ev;            /* token revocation credential */
    const char          *method;        /* token/create revoke/user ... */
    const char          *decision;      /* allow error */
    const char          *reason;

    mcp_str_t            user;
    mcp_str_t            client;
    const char          *kind;          /* user service */
    const char          *auth;          /* pat vat */
    mcp_str_t            issuer;
    mcp_str_t            token_id;
    const mcp_str_t     *roles;
    unsigned             nroles;

    const mcp_str_t     *servers;       /* of the token */
    unsigned             nservers;
    int64_t              expires;       /* of it; s since the epoch, or 0 */
    mcp_str_t            replaces;      /* the id of the token before it */
    int64_t              at;            /* of the watermark, or 0 */
    int64_t              until;
    mcp_str_t            note;          /* label, or why it was revoked */
    mcp_str_t            credential;
    uint64_t             credential_version;    /* of its record, or 0 */
    const char          *store;         /* file redis */
    mcp_str_t            by;            /* who */
} mcp_audit_operator_t;

/* As mcp_audit_line(). */
size_t mcp_audit_operator_line(const mcp_audit_operator_t *a,
    unsigned char *out);

/* The trace id of a W3C traceparent, strictly parsed (00-32hex-16hex-2hex, not
 * zero; of a later version the same, and what may stand behind it), or an empty
 * string. */
mcp_str_t mcp_trace_id(const mcp_str_t *traceparent);


#endif /* MCP_AUDIT_H */
