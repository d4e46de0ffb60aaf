/*
 * Types that the files of nginx/ share: the configuration as it is after
 * parsing (read-only at run time) and the context of one request.
 */

#ifndef NGX_MCP_MODULE_H
#define NGX_MCP_MODULE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "mcp_assertion.h"
#include "mcp_audit.h"
#include "mcp_core.h"
#include "mcp_digest.h"
#include "mcp_gmac.h"
#include "mcp_jwk.h"
#include "mcp_jwt.h"
#include "mcp_list_filter.h"
#include "mcp_message.h"
#include "mcp_oauth.h"
#include "mcp_policy.h"
#include "mcp_principal.h"
#include "mcp_seal.h"
#include "mcp_sse.h"
#include "mcp_vault.h"

#include "ngx_mcp_cache.h"
#include "ngx_mcp_fetch.h"
#include "ngx_mcp_redis.h"
#include "ngx_mcp_zone.h"


#define NGX_MCP_VERSION  "0.2.0"


/* contexts of the directives inside our blocks (bits nginx does not use) */
#define NGX_MCP_ISSUER_CONF      0x00020000
#define NGX_MCP_CREDENTIAL_CONF  0x00040000
#define NGX_MCP_SERVER_CONF      0x00080000
#define NGX_MCP_ROLE_CONF        0x00100000

#define NGX_MCP_CREDENTIAL_HEADERS  8   /* of one credential, at most */
#define NGX_MCP_REDIS_CONF       0x00200000


typedef struct ngx_mcp_block_s         ngx_mcp_block_t;
typedef struct ngx_mcp_connect_s       ngx_mcp_connect_t;
typedef struct ngx_mcp_login_worker_s  ngx_mcp_login_worker_t;
typedef struct ngx_mcp_ticket_s        ngx_mcp_ticket_t;
typedef struct ngx_mcp_keys_worker_s   ngx_mcp_keys_worker_t;
typedef struct ngx_mcp_revoke_s        ngx_mcp_revoke_t;
typedef struct ngx_mcp_tokens_s        ngx_mcp_tokens_t;
typedef struct ngx_mcp_token_look_s    ngx_mcp_token_look_t;
typedef struct ngx_mcp_token_redis_s   ngx_mcp_token_redis_t;
typedef struct ngx_mcp_vault_s         ngx_mcp_vault_t;
typedef struct ngx_mcp_revoke_redis_s  ngx_mcp_revoke_redis_t;


/* Lives in the waiting request's context; zeroed before first use. */
typedef struct {
    ngx_queue_t              queue;
    ngx_uint_t               waiting;
    void                   (*wake)(void *data);
    void                    *data;

    /* private: the end of all waiting of this request */
    ngx_uint_t               started;
    ngx_msec_t               deadline;
} ngx_mcp_keys_waiter_t;


/* A request that may wait for Redis by itself: at the end of the process it is
 * not called any more. */
typedef struct {
    ngx_queue_t              queue;
    void                   (*cancel)(void *data);
    void                    *data;
} ngx_mcp_asking_t;


/* mcp_issuer NAME { ... } */
typedef struct {
    ngx_str_t                name;
    mcp_jwt_issuer_t         jwt;       /* what core/ needs */
    ngx_str_t               *audiences;
    ngx_uint_t               naudiences;

    ngx_str_t                jwks_uri;
    ngx_str_t                jwks_file;
    ngx_str_t                trusted_certificate;
    time_t                   jwks_stale;        /* s */
    time_t                   jwks_refresh;      /* s, upper bound */
    ngx_msec_t               jwks_timeout;      /* ms */
    size_t                   max_key_set;       /* bytes */
    ngx_uint_t               max_keys;

    /* the gateway as client of this issuer, for mcp_connect */
    ngx_str_t                client_id;
    ngx_str_t                client_secret;     /* never logged */
    mcp_oauth_auth_e         login_auth;
    ngx_str_t                login_scope;
    ngx_str_t                authorization_endpoint;    /* empty: discovered */
    ngx_str_t                token_endpoint;            /* likewise */
    ngx_mcp_url_t            authorization_url;
    ngx_mcp_url_t            token_url;
    ngx_mcp_url_t            login_url;         /* discovery, OpenID */
    ngx_mcp_fetch_conf_t     login_fetch;
    ngx_uint_t               login;             /* some mcp_connect names it */
    ngx_mcp_login_worker_t  *login_worker;      /* this worker's */

    ngx_str_t                conf_file;         /* where the block stands */
    ngx_uint_t               conf_line;

    /* owned by ngx_mcp_keys.c */
    ngx_mcp_url_t            url;               /* jwks_uri, or discovery */
    ngx_mcp_url_t            oauth_url;         /* discovery, RFC 8414 */
    ngx_mcp_fetch_conf_t     fetch;
    mcp_jwk_set_t           *file_set;          /* jwks_file */
    u_char                   zone_name[NGX_MCP_DIGEST];
    ngx_mcp_keys_worker_t   *keys;              /* this worker's */
} ngx_mcp_issuer_t;


typedef enum {
    NGX_MCP_CREDENTIAL_STATIC = 0,
    NGX_MCP_CREDENTIAL_CLIENT,          /* client_credentials */
    NGX_MCP_CREDENTIAL_EXCHANGE,        /* token_exchange */
    NGX_MCP_CREDENTIAL_USER             /* what that user granted */
} ngx_mcp_credential_e;


/* A header that carries it: before, the fetched token, after. */
typedef struct {
    ngx_str_t                name;
    ngx_str_t                lowcase;
    ngx_uint_t               hash;
    ngx_str_t                before;    /* secret; never logged */
    ngx_str_t                after;
    unsigned                 token:1;   /* 0: `before` is all of it */
} ngx_mcp_credential_header_t;


/* mcp_credential NAME { ... } */
typedef struct ngx_mcp_credential_s  ngx_mcp_credential_t;

struct ngx_mcp_credential_s {
    ngx_str_t                name;
    ngx_mcp_credential_e     type;
    ngx_array_t              headers;   /* ngx_mcp_credential_header_t */

    /* all but static: the token endpoint, and what is asked there */
    mcp_oauth_provider_t     provider;  /* with what overrides it */
    ngx_mcp_url_t            url;
    ngx_mcp_fetch_conf_t     fetch;
    ngx_mcp_url_t            revoke_url;        /* user */
    ngx_mcp_fetch_conf_t     revoke_fetch;
    ngx_msec_t               timeout;
    ngx_str_t                client_id;
    ngx_str_t                client_secret;     /* never logged */
    mcp_assertion_conf_t     assertion;         /* private_key_jwt */
    ngx_str_t                scope;
    ngx_str_t                audience;
    ngx_str_t                resource;
    time_t                   keepalive; /* s; refresh unused grants so often;
                                           0: never */
    ngx_str_t                trusted_certificate;
    ngx_str_t                connect_url;
    ngx_mcp_connect_t       *connect;   /* whose page it is; NULL: the
                                           operator's own, or none */
    ngx_str_t                fallback_name;
    ngx_mcp_credential_t    *fallback;  /* for callers who can have none */
    ngx_mcp_stats_credential_t  *stats; /* set in init_module; NULL: none */
    u_char                   record[MCP_VAULT_NAME];    /* client_credentials:
                                                           its name */

    ngx_str_t                conf_file;
    ngx_uint_t               conf_line;

    /* while the block is read */
    ngx_str_t                header;    /* of `value` */
    ngx_str_t                value;     /* secret; never logged */
    ngx_uint_t               seen;      /* bits: which lines */
};


/* credential NAME [role=ROLE] of an mcp_server */
typedef struct {
    ngx_str_t                name;
    ngx_mcp_credential_t    *credential;
    ngx_uint_t               role;      /* its number; 0: everybody else */
} ngx_mcp_server_credential_t;


typedef enum {
    NGX_MCP_DENY_UNSET = 0,         /* as unknown */
    NGX_MCP_DENY_UNKNOWN,
    NGX_MCP_DENY_FORBIDDEN,
    NGX_MCP_DENY_TOOL_ERROR
} ngx_mcp_deny_e;


/* mcp_server NAME { ... } */
typedef struct {
    ngx_str_t                name;
    ngx_str_t                resource;
    ngx_str_t                origin;            /* of the resource */
    ngx_str_t                metadata_path;     /* RFC 9728, by path */
    ngx_str_t                metadata_url;
    ngx_str_t                metadata;          /* the document */
    ngx_array_t              issuer_names;      /* ngx_str_t */
    ngx_mcp_issuer_t       **issuers;
    ngx_uint_t               nissuers;
    u_char                   fingerprint[NGX_MCP_DIGEST];  /* of issuers */
    ngx_uint_t               tokens;            /* 1: own ones too */
    ngx_uint_t               tokens_set;        /* was said */
    ngx_array_t              origins;           /* ngx_str_t */
    ngx_array_t              strip;             /* ngx_str_t: globs */
    ngx_array_t              credentials;       /* of these, those with a role
                                                   first:
                                                   ngx_mcp_server_credential_t
                                                   */
    ngx_array_t              carriers;          /* ngx_str_t: headers that
                                                   carry any of these */
    mcp_policy_t            *policy;
    mcp_roles_t              roles;             /* those it has rules for */
    struct ngx_mcp_audit_log_s  *audit;         /* of its first location */
    ngx_mcp_stats_t         *stats;             /* set in init_module */
    ngx_array_t              clear;             /* unsigned: pointer indices */
    ngx_mcp_deny_e           deny_reply;
    ngx_uint_t               enforce;           /* was said */
    ngx_uint_t               located;           /* some mcp_auth names it */
    time_t                   stream_grace;      /* s */
    size_t                   preview;           /* bytes; 0: none */
    ngx_str_t                challenge;         /* 401 without a token */
    ngx_str_t                challenge_invalid; /* 401 invalid_token */
    ngx_str_t                conf_file;
    ngx_uint_t               conf_line;
} ngx_mcp_server_t;


typedef struct ngx_mcp_audit_log_s  ngx_mcp_audit_log_t;


/* bytes of a $request_id */
#define NGX_MCP_REQUEST_ID  16

typedef struct {
    u_char                   bytes[32 * NGX_MCP_REQUEST_ID];
    ngx_uint_t               left;              /* ids not yet given */
} ngx_mcp_random_t;


typedef struct {
    ngx_array_t              issuers;           /* ngx_mcp_issuer_t * */
    ngx_array_t              credentials;       /* ngx_mcp_credential_t * */
    ngx_array_t              servers;           /* ngx_mcp_server_t * */
    ngx_array_t              roles;             /* ngx_str_t; [0] is "*" */
    ngx_array_t              logs;              /* ngx_mcp_audit_log_t * */

    size_t                   zone_size;
    ngx_shm_zone_t          *shm_zone;
    ngx_mcp_zone_t          *zone;              /* set in init_process */
    ngx_mcp_cache_t         *cache;             /* this worker's */
    u_char                   fingerprint[NGX_MCP_DIGEST];
    ngx_uint_t               used;              /* an mcp_auth somewhere */
    ngx_array_t              header_variables;  /* ngx_uint_t: indices of
                                                   those made of a request
                                                   header; in init_process */
    ngx_int_t                request_id_index;
    ngx_mcp_random_t         random;            /* this worker's */
    ngx_int_t                audit_key_set;     /* mcp_audit_key */
    u_char                   audit_key[MCP_DIGEST_KEY];
    mcp_digest_key_t         digest;            /* set in init_process */
    mcp_gmac_t               results;           /* likewise */
    mcp_digest_key_t         zone_digest;       /* of the zone's secret */
    mcp_digest_key_t         connect_digest;    /* likewise */
    mcp_seal_ring_t          sessions;          /* mcp_session_key */
    mcp_seal_ring_t          browsers;          /* likewise, for mcp_connect */
    ngx_array_t              connects;          /* ngx_mcp_connect_t * */
    ngx_mcp_tokens_t        *tokens;            /* NULL: no mcp_token_* */
    mcp_vault_ring_t         vault_keys;        /* mcp_vault_keys */
    ngx_uint_t               fetched_credentials;
    ngx_mcp_vault_t         *vault;             /* this worker's; NULL: none */
    ngx_mcp_block_t         *blocks;            /* this worker's */
    ngx_uint_t               nblocks;
    EVP_CIPHER_CTX          *seal;              /* this worker's */
    ngx_queue_t              streams;           /* likewise */
    ngx_queue_t              asking;            /* likewise */
    ngx_mcp_worker_slot_t   *slot;              /* likewise; NULL: none */
    ngx_mcp_revoke_t        *revoke;            /* NULL: nothing revokes */
    size_t                   revocation_zone;   /* bytes */
    ngx_mcp_redis_conf_t    *redis;             /* mcp_redis; NULL: none */
    ngx_mcp_redis_t         *redis_client;      /* this worker's */
    ngx_mcp_token_redis_t   *token_redis;       /* likewise */
    ngx_mcp_revoke_redis_t  *revoke_redis;      /* likewise */
    ngx_array_t              locations;         /* void **: loc_conf of each
                                                   location with mcp_auth */
    ngx_array_t              claims;            /* ngx_str_t: names used by
                                                   $mcp_auth_claim_* */

    /* the block being parsed */
    ngx_mcp_issuer_t        *issuer;
    ngx_mcp_credential_t    *credential;
    ngx_mcp_server_t        *server;
    ngx_uint_t               role;
    ngx_uint_t               role_enforce;      /* was said */
} ngx_mcp_main_conf_t;


typedef struct {
    ngx_array_t              servers;           /* ngx_mcp_server_t *: those
                                                   of its mcp_auth */
} ngx_mcp_srv_conf_t;


/* mcp_auth NAME as it was read; resolved when http {} is complete */
typedef struct {
    ngx_str_t                name;
    ngx_str_t                file;
    ngx_uint_t               line;
} ngx_mcp_auth_ref_t;


typedef struct {
    ngx_mcp_auth_ref_t      *auth;              /* mcp_auth; unset, or name
                                                   empty: off */
    ngx_mcp_server_t        *server;            /* NULL: off */
    ngx_mcp_connect_t       *connect;           /* mcp_connect; NULL: none */
    ngx_mcp_audit_log_t     *audit;             /* NULL: off */

    size_t                   max_token;
    size_t                   max_body;
    size_t                   max_id;
    size_t                   max_name;
    size_t                   max_list_entry;
    size_t                   max_event;
    ngx_uint_t               max_depth;

    mcp_message_conf_t       message;           /* made from these */
} ngx_mcp_loc_conf_t;


/* where the access phase is; it only ever goes forward */
typedef enum {
    NGX_MCP_START = 0,
    NGX_MCP_TOKEN,                  /* cache, parse */
    NGX_MCP_RECORD,                 /* an own token: may wait for its record */
    NGX_MCP_KEYS,                   /* a JWT: may wait for a key set */
    NGX_MCP_CALLER,                 /* verified: issuer, audience, expiry */
    NGX_MCP_BODY,                   /* may wait for the client */
    NGX_MCP_DECIDE,
    NGX_MCP_DONE,                   /* authorised */
    NGX_MCP_REFUSED                 /* answered by us */
} ngx_mcp_state_e;


typedef struct ngx_mcp_filter_ctx_s  ngx_mcp_filter_ctx_t;


/*
 * One request.  Allocated once, from the request's pool, and found again after
 * an internal redirect by its pool cleanup; freed with the pool.  The entry,
 * the parsed token and the wait are given back by that cleanup and by the
 * request's own, whichever comes first.
 */
typedef struct {
    ngx_http_request_t      *request;
    ngx_mcp_loc_conf_t      *conf;      /* of the location first entered */
    ngx_mcp_server_t        *server;
    ngx_mcp_state_e          state;

    /* who */
    ngx_str_t                token;     /* in the request's headers; empty
                                           once it was verified */
    u_char                   key[NGX_MCP_DIGEST];
    mcp_jwt_t               *jwt;       /* only while keys are awaited */
    ngx_mcp_issuer_t        *issuer;
    uint64_t                 generation;
    ngx_uint_t               key_tries;
    ngx_mcp_keys_waiter_t    waiter;
    ngx_mcp_token_look_t    *token_look;    /* in Redis; NULL: not asked */
    uint64_t                 token_version; /* of mcp_token_file, where the
                                               token is; 0: it is not */
    ngx_mcp_cache_entry_t   *entry;
    mcp_principal_t         *principal;
    time_t                   expires;   /* its token, with the leeway */
    int                      leeway;    /* s; of our own tokens 0 */
    uint64_t                 seen;      /* not revoked then; without entry */
    ngx_mcp_cache_entry_t   *early;     /* for variables, before access */

    /* what */
    mcp_mirror_t             mirror;
    ngx_str_t                session;   /* Mcp-Session-Id, sealed */
    ngx_str_t                upstream_session;  /* the same, opened */
    ngx_str_t                last_event_id;
    ngx_str_t                origin;
    ngx_str_t                traceparent;
    ngx_str_t                content_type;
    ngx_str_t                content_encoding;
    ngx_mcp_block_t         *block;     /* NULL: none yet */
    mcp_message_t           *message;
    mcp_digest_t             digest;    /* params */
    u_char                   params_digest[MCP_DIGEST_HEX];

    /* decided */
    const char              *decision;  /* allow deny would_deny error */
    const char              *reason;
    const char              *ev;
    mcp_str_t                rule;
    ngx_int_t                rpc_code;  /* of our own answer */

    ngx_mcp_credential_t    *credential;        /* shown; NULL: none */
    ngx_table_elt_t         *secrets[NGX_MCP_CREDENTIAL_HEADERS];
    ngx_uint_t               nsecrets;          /* in the request's headers */
    ngx_str_t                fetched;   /* its token, while headers are made */
    ngx_mcp_ticket_t        *ticket;    /* in the answer without one; NULL:
                                           not asked for */
    uint64_t                 credential_version;
    uint64_t                 credential_began;
    uint64_t                 credential_us;     /* until it was there */
    ngx_table_elt_t         *session_header;    /* likewise */

    /* the response */
    uint64_t                 result_bytes;
    ngx_str_t                preview;   /* how the response begins */
    ngx_uint_t               removed;
    mcp_long_t               result;    /* what the client was sent of it */
    u_char                   result_digest[MCP_DIGEST_HEX];

    /* us */
    uint64_t                 start;     /* monotonic, at our first step */
    uint64_t                 step;      /* when this stretch of work began */
    uint64_t                 auth;      /* own work in the access phase */

    unsigned                 reading:1;         /* the body */
    unsigned                 body_read:1;
    unsigned                 waiting:1;         /* keys, a record, the table
                                                   of revocations */
    unsigned                 unsure:1;          /* waited for the latter */
    unsigned                 swapped:1;
    unsigned                 credential_waited:1;
    unsigned                 refreshed:1;       /* the credential, meanwhile */
    unsigned                 session_elicit:1;  /* the client opens URLs */
    unsigned                 would_deny:1;      /* in shadow */
    unsigned                 local:1;           /* we answer ourselves */
    unsigned                 preflight:1;
    unsigned                 session_sealed:1;  /* in the response */
    unsigned                 has_rpc_code:1;
    unsigned                 has_outcome:1;
    unsigned                 is_error:1;
    unsigned                 has_list:1;
    unsigned                 has_params_digest:1;
    unsigned                 has_result_digest:1;
    unsigned                 looked_up:1;       /* early */
} ngx_mcp_ctx_t;


extern ngx_module_t  ngx_http_mcp_auth_module;
extern ngx_module_t  ngx_http_mcp_filter_module;


/* ngx_mcp_module.c */
ngx_mcp_ctx_t *ngx_mcp_get_ctx(ngx_http_request_t *r);
ngx_mcp_ctx_t *ngx_mcp_create_ctx(ngx_http_request_t *r);
mcp_mem_t ngx_mcp_mem(ngx_pool_t *pool);
uint64_t ngx_mcp_now_us(void);
void ngx_mcp_account(ngx_mcp_ctx_t *ctx);
mcp_str_t ngx_mcp_ctx_trace_id(ngx_mcp_ctx_t *ctx);
void ngx_mcp_outcome(ngx_mcp_ctx_t *ctx, const char *decision,
    const char *reason);

/* ngx_mcp_conf.c, ngx_mcp_conf_finish.c */
ngx_int_t ngx_mcp_conf_finish(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf);
char *ngx_mcp_conf_location(ngx_conf_t *cf, ngx_mcp_loc_conf_t *prev,
    ngx_mcp_loc_conf_t *conf);
extern ngx_command_t  ngx_mcp_commands[];

/* ngx_mcp_block.c; data: the context, so that it can be core/'s memory */
void *ngx_mcp_block_alloc(void *data, size_t size);
void ngx_mcp_block_free(ngx_mcp_ctx_t *ctx);
void ngx_mcp_block_exit_worker(ngx_mcp_main_conf_t *mmcf);

/* ngx_mcp_access.c */

/* s, for who comes while nobody knows who is revoked */
#define NGX_MCP_UNKNOWN_TIME  2

ngx_int_t ngx_mcp_access_handler(ngx_http_request_t *r);
void ngx_mcp_access_cancel(ngx_mcp_ctx_t *ctx);
ngx_int_t ngx_mcp_access_wait(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);
void ngx_mcp_access_wake(void *data);
ngx_int_t ngx_mcp_bearer(ngx_http_request_t *r, ngx_str_t *token);
void ngx_mcp_token_key(ngx_http_request_t *r, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_server_t *sv, ngx_str_t *token, u_char *key);
ngx_uint_t ngx_mcp_caller_known(ngx_mcp_server_t *sv,
    const mcp_principal_t *p, ngx_mcp_issuer_t **issuer);

/* ngx_mcp_swap.c */
ngx_int_t ngx_mcp_swap_handler(ngx_http_request_t *r);
void ngx_mcp_swap_hide(ngx_mcp_ctx_t *ctx);

/* ngx_mcp_log.c */
ngx_int_t ngx_mcp_log_handler(ngx_http_request_t *r);
char *ngx_mcp_log_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_uint_t ngx_mcp_log_blocked(ngx_mcp_ctx_t *ctx);
ngx_uint_t ngx_mcp_log_wanted(ngx_mcp_ctx_t *ctx);
void ngx_mcp_log_event(ngx_mcp_main_conf_t *mmcf, mcp_audit_t *a);
ngx_mcp_audit_log_t *ngx_mcp_log_default(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);
ngx_int_t ngx_mcp_log_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_log_exit_worker(ngx_mcp_main_conf_t *mmcf);

/* ngx_mcp_metadata.c */
ngx_int_t ngx_mcp_metadata_handler(ngx_http_request_t *r);

/* ngx_mcp_status.c */
char *ngx_mcp_status_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_uint_t ngx_mcp_status_here(ngx_http_core_loc_conf_t *clcf);

/* ngx_mcp_variables.c */
ngx_int_t ngx_mcp_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_mcp_collect_claims(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf);


#endif /* NGX_MCP_MODULE_H */
