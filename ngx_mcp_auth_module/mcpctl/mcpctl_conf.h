/*
 * What nginx's configuration says about us: issuers, servers with their
 * policies, stores.
 *
 * Read as nginx reads it (mcpctl_read.h); our blocks mean the same as in the
 * module and have the same defaults, and policies are built by the same code of
 * core/.  What nginx -t refuses in our blocks is refused here, with file and
 * line.  Other modules' directives and blocks are passed over.
 *
 * All strings have a NUL behind them that is not counted.  Paths are full:
 * relative ones were relative to the configuration's directory.
 */

#ifndef MCPCTL_CONF_H
#define MCPCTL_CONF_H


#include "mcpctl.h"
#include "mcp_jwt.h"
#include "mcp_message.h"
#include "mcp_oauth.h"
#include "mcp_policy.h"


#define MCPCTL_TOKEN_KEYS  8            /* as many as a ring has */


typedef struct {
    mcp_str_t            file;
    unsigned             line;
} mcpctl_place_t;


/* mcp_issuer NAME { ... } */
typedef struct {
    mcp_str_t            name;
    mcp_jwt_issuer_t     jwt;           /* what core/ needs; .issuer: its iss */
    mcp_str_t           *audiences;     /* none: the server's resource */
    unsigned             naudiences;

    mcp_str_t            jwks_uri;
    mcp_str_t            jwks_file;
    mcp_str_t            trusted_certificate;
    int64_t              jwks_stale;            /* s */
    int64_t              jwks_refresh;          /* s */
    int64_t              jwks_timeout;          /* ms */
    int64_t              max_key_set;           /* bytes */
    int64_t              max_keys;

    mcp_str_t            client_id;     /* as written, */
    mcp_str_t            client_secret; /* see mcpctl_secret() */
    unsigned             login_auth;    /* it was said */
    mcp_str_t            login_scope;
    mcp_str_t            authorization_endpoint;
    mcp_str_t            token_endpoint;

    mcpctl_place_t       place;
} mcpctl_issuer_t;


typedef enum {
    MCPCTL_CREDENTIAL_STATIC = 0,
    MCPCTL_CREDENTIAL_CLIENT,           /* client_credentials */
    MCPCTL_CREDENTIAL_EXCHANGE,         /* token_exchange */
    MCPCTL_CREDENTIAL_USER
} mcpctl_credential_e;

/* mcp_credential NAME { ... } */
typedef struct {
    mcp_str_t            name;
    mcpctl_credential_e  type;
    mcpctl_list_t        headers;       /* mcp_str_t: their names */
    unsigned             token;         /* one of them carries ${token} */

    mcp_oauth_provider_t provider;      /* with what overrides it */
    mcp_str_t            client_id;     /* as written, */
    mcp_str_t            client_secret; /* see mcpctl_secret() */
    mcp_str_t            key;           /* path */
    mcp_str_t            key_id;
    mcp_str_t            assertion_audience;
    mcp_str_t            scope;
    mcp_str_t            audience;
    mcp_str_t            resource;
    mcp_str_t            trusted_certificate;
    mcp_str_t            connect_url;
    mcp_str_t            fallback;      /* its name */
    int64_t              timeout;       /* ms; 0: not said */
    int64_t              keepalive;     /* s */
    int64_t              grace;         /* s */

    mcpctl_place_t       place;

    /* while the block is read */
    mcp_str_t            header;        /* of `value` */
    unsigned             value;         /* was there */
    unsigned             seen;          /* bits: which lines */
} mcpctl_credential_t;


/* mcp_connect login=ISSUER [url=URL] */
typedef struct {
    mcp_str_t            login;         /* name of the issuer */
    mcpctl_issuer_t     *issuer;
    mcp_str_t            url;
    mcp_str_t            path;          /* of the location */
    mcpctl_place_t       place;
} mcpctl_connect_t;


/* credential NAME [role=ROLE] of an mcp_server */
typedef struct {
    mcp_str_t            name;
    unsigned             role;          /* its number; 0: everybody else */
} mcpctl_shown_credential_t;


typedef enum {
    MCPCTL_DENY_UNSET = 0,              /* as unknown */
    MCPCTL_DENY_UNKNOWN,
    MCPCTL_DENY_FORBIDDEN,
    MCPCTL_DENY_TOOL_ERROR
} mcpctl_deny_e;


/* mcp_server NAME { ... } */
typedef struct {
    mcp_str_t            name;
    mcp_str_t            resource;
    mcpctl_list_t        issuer_names;          /* mcp_str_t */
    mcpctl_list_t        issuers;               /* mcpctl_issuer_t */
    mcpctl_list_t        credentials;   /* mcpctl_shown_credential_t */
    mcp_policy_t        *policy;
    mcp_roles_t          roles;                 /* those it has rules for */
    mcpctl_deny_e        deny_reply;
    unsigned             shadow;                /* enforce shadow */
    int                  tokens;                /* tokens on; -1: not said */
    int64_t              stream_grace;          /* s; -1: not said */
    int64_t              preview;
    unsigned             enforce;               /* was said */

    unsigned             nlocations;            /* that name it in mcp_auth */
    size_t               max_token;             /* of the first of them */
    mcp_message_conf_t   message;               /* likewise */

    mcpctl_place_t       place;
} mcpctl_server_t;


/* mcp_redis { ... } */
typedef struct {
    mcp_str_t            host;          /* name or address; empty: a socket */
    unsigned             port;
    mcp_str_t            path;          /* of the unix socket */
    mcp_str_t            user;
    mcp_str_t            password;      /* "${...}": see mcpctl_secret() */
    unsigned             database;
    unsigned             tls;
    mcp_str_t            trusted_certificate;
    mcp_str_t            ssl_name;      /* empty: the host */
    mcp_str_t            prefix;
    int64_t              timeout;               /* ms */
    int64_t              connect_timeout;       /* ms */
    int64_t              revocation_stale;      /* ms */
    int64_t              max_reply;             /* bytes */
    mcpctl_place_t       place;
} mcpctl_redis_t;


struct mcpctl_conf_s {
    mcp_str_t            file;          /* as it was named */
    mcp_str_t            dir;           /* its directory, with a slash */

    mcp_str_t            user;          /* nginx's; empty: not said */
    mcp_str_t            group;         /* likewise */

    mcpctl_list_t        issuers;       /* mcpctl_issuer_t */
    mcpctl_list_t        credentials;   /* mcpctl_credential_t */
    mcpctl_list_t        servers;       /* mcpctl_server_t */
    mcpctl_list_t        connects;      /* mcpctl_connect_t */

    mcp_str_t            roles[MCP_MAX_ROLES];  /* by number; [0] is "*" */
    unsigned             nroles;

    mcp_str_t            token_file;            /* empty: none */
    mcp_str_t            token_keys[MCPCTL_TOKEN_KEYS];         /* paths */
    unsigned             ntoken_keys;
    int64_t              token_failures;
    mcp_str_t            revocation_file;       /* empty: none */
    int64_t              revocation_zone;       /* bytes */
    mcp_str_t            vault_keys;            /* path; empty: none */
    mcpctl_redis_t      *redis;                 /* NULL: none */

    /* mcp_audit of http {}: a path (full), "syslog:...", "off"; empty: it is
     * not said there */
    mcp_str_t            audit;
};


/*
 * Reads ctl->conf_file into ctl->conf.  MCPCTL_OK, or MCPCTL_FAILED: said what
 * is wrong.  files: what the configuration names (secrets, keys, key sets,
 * certificates) must be there and right, as for nginx itself; else none of
 * those is opened.
 */
int mcpctl_conf_read(mcpctl_t *ctl, unsigned files);

/* NULL: there is none of this name. */
mcpctl_server_t *mcpctl_conf_server(mcpctl_conf_t *conf,
    const mcp_str_t *name);

/*
 * The server of this name, or with name NULL the only one there is.  NULL: said
 * what is wrong.
 */
mcpctl_server_t *mcpctl_conf_the_server(mcpctl_t *ctl, const char *name);

/* NULL: there is none of this name. */
mcpctl_credential_t *mcpctl_conf_find_credential(const mcpctl_conf_t *conf,
    const mcp_str_t *name);

/* "static", "client_credentials", "token_exchange", "user". */
const char *mcpctl_credential_word(mcpctl_credential_e type);

/* The keys of its jwks_file: freed by mcp_jwk_set_free().  NULL: said what is
 * wrong. */
mcp_jwk_set_t *mcpctl_conf_keys(mcpctl_t *ctl, const mcpctl_issuer_t *is);

/*
 * Text with ${env:NAME} and ${file:PATH} -> what it stands for.  MCPCTL_OK, or
 * MCPCTL_FAILED: said what is wrong.  The caller wipes it.
 */
int mcpctl_secret(mcpctl_t *ctl, const mcp_str_t *text, mcp_str_t *secret);

/* What a key file has: 32 bytes or more, without one line end.  As above. */
int mcpctl_key_file(mcpctl_t *ctl, const mcp_str_t *path, mcp_str_t *secret);


#endif /* MCPCTL_CONF_H */
