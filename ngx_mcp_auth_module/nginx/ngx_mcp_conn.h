/*
 * A verified connection to a peer: resolve, connect, TLS handshake.
 *
 * The owner embeds ngx_mcp_conn_t, fills the first part and opens it.  From
 * then on the connection is in one of three states: being established (failed
 * or ready will be called once), established (the owner's), or closed.
 * ngx_mcp_conn_close() ends each of them.  With TLS, ready is called only when
 * the certificate chain and the host were verified; no byte is sent before.
 *
 * Nothing here logs a failure: the owner does, once, with its own prefix.
 * (nginx's own lines about a socket or a handshake go to conn->log.)
 */

#ifndef NGX_MCP_CONN_H
#define NGX_MCP_CONN_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>


#define NGX_MCP_CONN_MAX_ADDRS  16


/* How to reach one host, or those of one configuration block; read-only. */
typedef struct {
    ngx_ssl_t            *ssl;          /* verifying client context */
    ngx_resolver_t       *resolver;
    ngx_msec_t            resolver_timeout;
    ngx_str_t             static_host;  /* resolved at configuration time */
    ngx_addr_t           *static_addrs;
    ngx_uint_t            nstatic_addrs;
} ngx_mcp_conn_conf_t;


typedef struct ngx_mcp_conn_s  ngx_mcp_conn_t;

typedef void (*ngx_mcp_conn_pt)(ngx_mcp_conn_t *conn);


struct ngx_mcp_conn_s {
    /* set by the owner; everything else is zeroed */
    ngx_pool_t           *pool;         /* outlives the connection; becomes
                                           its c->pool, never destroyed here */
    ngx_log_t            *log;
    void                 *data;
    ngx_int_t             ident;        /* after three pointers, as in
                                           ngx_connection_t: for event logs */
    ngx_str_t             host;         /* NUL-terminated; without brackets */
    ngx_str_t             name;         /* that TLS verifies, NUL-terminated;
                                           empty: the host */
    in_port_t             port;
    ngx_addr_t           *addrs;        /* tried before asking the resolver; */
    ngx_uint_t            naddrs;       /* their ports are not used.  May be
                                           a unix socket, without a resolver */
    ngx_resolver_t       *resolver;     /* NULL: only addrs */
    ngx_msec_t            resolver_timeout;
    ngx_msec_t            timeout;      /* ms, until ready */
    ngx_ssl_t            *ssl;          /* NULL: plain TCP */
    ngx_mcp_conn_pt       ready;
    ngx_mcp_conn_pt       failed;       /* already closed then */
    unsigned              literal:1;    /* host is an IP address */
    unsigned              name_literal:1;   /* so is name */
    unsigned              cancelable:1; /* a worker that leaves does not wait */

    /* for the owner */
    ngx_connection_t     *connection;   /* established: the owner sets its data
                                           and handlers */
    const char           *error;        /* why it failed, a static sentence */
    const char           *detail;       /* more about it, or NULL */
    ngx_err_t             err;          /* errno, or 0 */
    const char           *late;         /* what a timeout now would be */
    unsigned              tls_closed:1; /* the peer sent close_notify */

    /* private */
    ngx_peer_connection_t  peer;
    ngx_resolver_ctx_t   *resolve;
    ngx_event_t           timer;
    ngx_msec_t            deadline;
    ngx_uint_t            current;      /* of addrs */
    ngx_uint_t            stage;        /* how far this attempt came, */
    ngx_uint_t            reached;      /* and the one that error is about */
    unsigned              resolved:1;
};


/*
 * Starts.  May call ready or failed before it returns: the owner returns at
 * once after it.  Not to be called twice without ngx_mcp_conn_close().
 */
void ngx_mcp_conn_open(ngx_mcp_conn_t *conn);

/* Frees socket, TLS, timer and resolver context; harmless when there are none.
 * Neither ready nor failed will be called. */
void ngx_mcp_conn_close(ngx_mcp_conn_t *conn);

/*
 * The addresses and the resolver for conn->host: those found at configuration
 * time, a literal, loopback for "localhost" (RFC 6761, section 6.3: no name
 * server has a say in it), else only the resolver.  NGX_OK; NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_mcp_conn_addrs(ngx_mcp_conn_t *conn,
    const ngx_mcp_conn_conf_t *cc);

/*
 * Configuration time: the TLS context.  trusted: a file, or empty for the
 * system's CAs; TLS 1.2 and 1.3; verification is always on.  NGX_OK, or
 * NGX_ERROR after logging at emerg with file and line.
 */
ngx_int_t ngx_mcp_conn_conf_ssl(ngx_conf_t *cf, ngx_mcp_conn_conf_t *cc,
    ngx_str_t *trusted);

/*
 * Configuration time, when http {} is complete (init_main_conf or
 * postconfiguration): with a `resolver` in http {} names are resolved at run
 * time.  Without one, host (NULL: none, or a literal) is resolved here; when
 * that fails, or no address found here works any more, or for other hosts, the
 * name servers of /etc/resolv.conf are asked at run time.  A name that does not
 * resolve now is not an error.
 */
ngx_int_t ngx_mcp_conn_conf_resolver(ngx_conf_t *cf, ngx_mcp_conn_conf_t *cc,
    ngx_str_t *host, in_port_t port);

/* A copy of the IP address with room for a port; NGX_DECLINED: not one. */
ngx_int_t ngx_mcp_conn_literal(ngx_pool_t *pool, ngx_str_t *host,
    ngx_addr_t *addr);


#endif /* NGX_MCP_CONN_H */
