/*
 * What the files that read our blocks share; private to mcpctl_conf*.c.
 */

#ifndef MCPCTL_PARSE_H
#define MCPCTL_PARSE_H


#include "mcpctl_read.h"


/* contexts */
#define MCPCTL_MAIN        0x0001
#define MCPCTL_HTTP        0x0002
#define MCPCTL_SERVER      0x0004       /* nginx's server {} */
#define MCPCTL_LOCATION    0x0008
#define MCPCTL_IF          0x0010       /* and limit_except */
#define MCPCTL_ISSUER      0x0020
#define MCPCTL_CREDENTIAL  0x0040
#define MCPCTL_MCP         0x0080       /* mcp_server {} */
#define MCPCTL_ROLE        0x0100
#define MCPCTL_REDIS       0x0200

#define MCPCTL_NGINX                                                          \
    (MCPCTL_MAIN|MCPCTL_HTTP|MCPCTL_SERVER|MCPCTL_LOCATION|MCPCTL_IF)
#define MCPCTL_OURS                                                           \
    (MCPCTL_ISSUER|MCPCTL_CREDENTIAL|MCPCTL_MCP|MCPCTL_ROLE|MCPCTL_REDIS)


/* limits that are inherited from place to place; -1: not said */
typedef struct {
    int64_t              max_token;
    int64_t              max_body;
    int64_t              max_depth;
    int64_t              max_id;
    int64_t              max_name;
    int64_t              max_list_entry;
    int64_t              max_event;
} mcpctl_limits_t;


/* listen of a server {} */
typedef struct {
    mcp_str_t            address;       /* "*:80" for "80" */
    int64_t              port;          /* 0: a unix socket */
    unsigned             ssl;
} mcpctl_listen_t;


/* http {}, server {} or location {} */
typedef struct mcpctl_level_s  mcpctl_level_t;

struct mcpctl_level_s {
    mcpctl_level_t      *up;
    mcp_str_t            auth;          /* data NULL: not said; empty: off */
    mcpctl_place_t       place;         /* of its mcp_auth */
    mcpctl_limits_t      limits;
    unsigned             audit;         /* was said */

    mcpctl_list_t        listens;       /* mcpctl_listen_t */
    mcp_str_t            server_name;   /* the first; empty: none */
    mcp_str_t            location;      /* a prefix; empty: it is none */
    mcpctl_connect_t    *connect;       /* NULL: none */
    unsigned             handler;       /* mcp_status or mcp_connect is here */
};


/* What is read, and the block that is being read. */
typedef struct {
    mcpctl_reader_t      rd;
    mcpctl_t            *ctl;
    mcpctl_conf_t       *conf;
    unsigned             files;         /* see mcpctl_conf_read() */

    unsigned             context;
    unsigned             in_block;      /* of this file; else it is the file */
    mcpctl_list_t        levels;        /* mcpctl_level_t */
    mcpctl_level_t      *level;
    int64_t              zone;          /* -1: not said */
    unsigned             http;          /* was there */
    mcpctl_place_t       end;           /* of http {} */
    unsigned             audit_key;     /* likewise */
    unsigned             session_key;

    mcpctl_issuer_t     *issuer;
    mcpctl_credential_t *credential;
    mcpctl_server_t     *server;
    unsigned             role;
    unsigned             role_enforce;  /* was said */
    mcpctl_redis_t      *redis;
    unsigned             redis_tls;     /* was said */
    int64_t              redis_database;        /* -1: not said */
} mcpctl_parser_t;


/* the words of the line being read; [0] is the directive */
#define mcpctl_word(ps, i)   (&(ps)->rd.words[i])
#define mcpctl_is(s, lit)    mcp_str_eq_lit(s, lit)


/* Reads the block that has just begun. */
int mcpctl_parse_block(mcpctl_parser_t *ps, unsigned context);

int mcpctl_parse_duplicate(mcpctl_parser_t *ps);

/* The words as an array of its own. */
mcp_str_t *mcpctl_parse_words(mcpctl_parser_t *ps, unsigned first,
    unsigned *n);

/* A name of ours; MCP_ERROR: said. */
int mcpctl_parse_name(mcpctl_parser_t *ps, const mcp_str_t *name);
int mcpctl_parse_role(mcpctl_parser_t *ps, const mcp_str_t *name,
    unsigned *number);

/* mcpctl_conf_issuer.c */
int mcpctl_conf_issuer(mcpctl_parser_t *ps);
int mcpctl_conf_issuer_line(mcpctl_parser_t *ps);
int mcpctl_finish_issuer(mcpctl_parser_t *ps, mcpctl_issuer_t *is);
int mcpctl_conf_trusted(const mcp_str_t *path);
const char *mcpctl_issuer_places(mcpctl_parser_t *ps,
    const mcpctl_issuer_t *is);

/* mcpctl_conf_server.c */
int mcpctl_conf_mcp(mcpctl_parser_t *ps);
int mcpctl_conf_mcp_line(mcpctl_parser_t *ps);
int mcpctl_conf_role(mcpctl_parser_t *ps);
int mcpctl_conf_rule(mcpctl_parser_t *ps);
int mcpctl_conf_enforce(mcpctl_parser_t *ps);
int mcpctl_finish_server(mcpctl_parser_t *ps, mcpctl_server_t *sv);

/* mcpctl_conf_audit.c */
int mcpctl_conf_audit(mcpctl_parser_t *ps);
int mcpctl_conf_audit_key(mcpctl_parser_t *ps);
int mcpctl_conf_session_key(mcpctl_parser_t *ps);

/* mcpctl_conf_credential.c */
int mcpctl_conf_credential(mcpctl_parser_t *ps);
int mcpctl_conf_credential_line(mcpctl_parser_t *ps);
int mcpctl_conf_vault_keys(mcpctl_parser_t *ps);

/* Text with ${env:NAME} and ${file:PATH}: whether it can be had; scopes,
 * joined by single spaces.  MCP_ERROR: said. */
int mcpctl_parse_secret(mcpctl_parser_t *ps, const unsigned char *p,
    size_t len);
int mcpctl_parse_scopes(mcpctl_parser_t *ps, void *to);
int mcpctl_finish_vault(mcpctl_parser_t *ps);

/* mcpctl_conf_connect.c */
int mcpctl_conf_issuer_login(mcpctl_parser_t *ps);
int mcpctl_conf_listen(mcpctl_parser_t *ps);
int mcpctl_conf_server_name(mcpctl_parser_t *ps);
int mcpctl_conf_connect(mcpctl_parser_t *ps);
void mcpctl_conf_location(mcpctl_parser_t *ps, mcpctl_level_t *level);
int mcpctl_finish_connect(mcpctl_parser_t *ps);

/* mcpctl_conf_store.c */
int mcpctl_conf_token_key(mcpctl_parser_t *ps);
int mcpctl_conf_path(mcpctl_parser_t *ps);
int mcpctl_conf_failures(mcpctl_parser_t *ps);
int mcpctl_conf_redis(mcpctl_parser_t *ps);
int mcpctl_conf_redis_line(mcpctl_parser_t *ps);
int mcpctl_finish_stores(mcpctl_parser_t *ps);

/* mcpctl_conf_value.c: nginx's numbers, sizes and times; -1: it is none */
int64_t mcpctl_number(const mcp_str_t *s);
int64_t mcpctl_size(const mcp_str_t *s);
int64_t mcpctl_time(const mcp_str_t *s, unsigned seconds);

/* NULL, or what is wrong with a URL.  *path (may be NULL): where its path or
 * query begins; its length when there is none. */
const char *mcpctl_url(const mcp_str_t *url, size_t *path);


/* A URL's host and port, alone. */
typedef struct {
    mcp_str_t            host;          /* without brackets */
    unsigned             port;          /* 0: not said */
    unsigned             loopback;
} mcpctl_authority_t;

const char *mcpctl_authority(const mcp_str_t *text, mcpctl_authority_t *a);


#endif /* MCPCTL_PARSE_H */
