/*
 * A connection to Redis.  See mcpctl_redis.h.
 *
 * The socket does not block: each wait is a poll() with what is left of the
 * time.  The password goes into one command, which is wiped when it was sent.
 */

#include "mcpctl_redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>


#define MCPCTL_REDIS_WAIT      5000     /* ms, at least: people are patient */
#define MCPCTL_REDIS_REPLY     (16 * 1024 * 1024)
#define MCPCTL_REDIS_ELEMENTS  65536    /* of one array */
#define MCPCTL_REDIS_DEPTH     8        /* arrays in arrays */
#define MCPCTL_REDIS_ARGS      1024


#if (HIREDIS_MAJOR >= 1)
typedef size_t  mcpctl_redis_count_t;
#else
typedef int  mcpctl_redis_count_t;
#endif

typedef void *(*mcpctl_redis_array_pt)(const redisReadTask *task,
    mcpctl_redis_count_t elements);


struct mcpctl_conn_s {
    mcpctl_t                    *ctl;
    const mcpctl_redis_t        *conf;
    const char                  *name;  /* for messages */
    int                          fd;
    SSL_CTX                     *ssl_ctx;
    SSL                         *ssl;
    redisReader                 *reader;
    redisReplyObjectFunctions    objects;
    mcpctl_redis_array_pt        array;         /* hiredis's own */
    int64_t                      deadline;      /* ms, of what is going on */
    unsigned                     failed;
};


static int mcpctl_redis_open(mcpctl_conn_t *c);
static int mcpctl_redis_open_unix(mcpctl_conn_t *c);
static int mcpctl_redis_open_tcp(mcpctl_conn_t *c);
static int mcpctl_redis_socket(mcpctl_conn_t *c, int family,
    const struct sockaddr *sa, socklen_t len);
static int mcpctl_redis_tls(mcpctl_conn_t *c);
static int mcpctl_redis_tls_ctx(mcpctl_conn_t *c);
static int mcpctl_redis_tls_name(mcpctl_conn_t *c, const char *name);
static const char *mcpctl_redis_tls_error(mcpctl_conn_t *c);
static int mcpctl_redis_hello(mcpctl_conn_t *c);
static int mcpctl_redis_auth(mcpctl_conn_t *c);
static int mcpctl_redis_send(mcpctl_conn_t *c, const char *data, size_t len);
static int mcpctl_redis_receive(mcpctl_conn_t *c, redisReply **reply);
static ssize_t mcpctl_redis_io(mcpctl_conn_t *c, char *in, const char *out,
    size_t len);
static int mcpctl_redis_wait(mcpctl_conn_t *c, int events);
static void *mcpctl_redis_bounded(const redisReadTask *task,
    mcpctl_redis_count_t elements);
static int mcpctl_redis_fail(mcpctl_conn_t *c, const char *what,
    const char *why);
static int64_t mcpctl_redis_now(void);


mcpctl_conn_t *
mcpctl_redis_connect(mcpctl_t *ctl, const mcpctl_redis_t *redis)
{
    mcpctl_conn_t  *c;

    c = mcpctl_alloc(ctl, sizeof(mcpctl_conn_t));

    c->ctl = ctl;
    c->conf = redis;
    c->fd = -1;
    c->name = redis->path.len
              ? mcpctl_format(ctl, "unix:%s", redis->path.data)
              : mcpctl_format(ctl, "%s:%u", redis->host.data, redis->port);

    /* a peer that goes is an error of write(), not the end of us */

    (void) signal(SIGPIPE, SIG_IGN);

    c->reader = redisReaderCreate();
    if (c->reader == NULL) {
        (void) mcpctl_error(ctl, 0, "out of memory");
        return NULL;
    }

    /* hiredis makes room for an array of any announced size at once */

    c->array = c->reader->fn->createArray;
    c->objects = *c->reader->fn;
    c->objects.createArray = mcpctl_redis_bounded;
    c->reader->fn = &c->objects;
    c->reader->privdata = c;

    c->deadline = mcpctl_redis_now()
                  + (redis->connect_timeout > MCPCTL_REDIS_WAIT
                     ? redis->connect_timeout : MCPCTL_REDIS_WAIT);

    if (mcpctl_redis_open(c) != MCP_OK
        || (redis->tls && mcpctl_redis_tls(c) != MCP_OK)
        || mcpctl_redis_hello(c) != MCP_OK)
    {
        mcpctl_redis_close(c);
        return NULL;
    }

    return c;
}


void
mcpctl_redis_close(mcpctl_conn_t *c)
{
    if (c->ssl) {
        (void) SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }

    SSL_CTX_free(c->ssl_ctx);
    c->ssl_ctx = NULL;

    if (c->fd != -1) {
        (void) close(c->fd);
        c->fd = -1;
    }

    if (c->reader) {
        redisReaderFree(c->reader);
        c->reader = NULL;
    }
}


redisReply *
mcpctl_redis_command(mcpctl_conn_t *c, int type, unsigned argc,
    const mcp_str_t *argv)
{
    int          rc;
    char        *out;
    size_t       n, lens[MCPCTL_REDIS_ARGS];
    long long    len;
    unsigned     i;
    redisReply  *reply;
    const char  *args[MCPCTL_REDIS_ARGS];

    if (argc > MCPCTL_REDIS_ARGS || c->failed) {
        (void) mcpctl_redis_fail(c, "cannot ask", "the connection failed");
        return NULL;
    }

    for (i = 0; i < argc; i++) {
        args[i] = argv[i].len ? (char *) argv[i].data : "";
        lens[i] = argv[i].len;
    }

    len = redisFormatCommandArgv(&out, (int) argc, args, lens);
    if (len < 0) {
        (void) mcpctl_redis_fail(c, "cannot ask", "out of memory");
        return NULL;
    }

    c->deadline = mcpctl_redis_now()
                  + (c->conf->timeout > MCPCTL_REDIS_WAIT
                     ? c->conf->timeout : MCPCTL_REDIS_WAIT);

    rc = mcpctl_redis_send(c, out, (size_t) len);

    mcpctl_wipe(out, (size_t) len);
    redisFreeCommand(out);

    if (rc != MCP_OK || mcpctl_redis_receive(c, &reply) != MCP_OK) {
        return NULL;
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        /* whoever does not know AUTH repeats what came with it */

        n = strcmp(args[0], "AUTH") == 0 ? strcspn(reply->str, " ")
                                         : (size_t) reply->len;

        (void) mcpctl_error(c->ctl, 0, "Redis %s refused %s: %.*s", c->name,
                            args[0], (int) n, reply->str);
        freeReplyObject(reply);
        return NULL;
    }

    if (type && reply->type != type) {
        freeReplyObject(reply);
        (void) mcpctl_redis_fail(c, "cannot understand",
                                 "the reply has another type");
        return NULL;
    }

    return reply;
}


unsigned
mcpctl_redis_failed(const mcpctl_conn_t *c)
{
    return c->failed;
}


mcp_str_t
mcpctl_redis_key(mcpctl_conn_t *c, const char *name, const char *suffix,
    size_t len)
{
    return mcpctl_cstr(mcpctl_format(c->ctl, "%s%s%.*s", c->conf->prefix.data,
                                     name, (int) len, suffix));
}


int
mcpctl_redis_time(mcpctl_conn_t *c, int64_t *sec)
{
    mcp_str_t    argv;
    redisReply  *reply;

    argv = mcpctl_cstr("TIME");

    reply = mcpctl_redis_command(c, REDIS_REPLY_ARRAY, 1, &argv);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    *sec = 0;

    if (reply->elements == 2
        && reply->element[0]->type == REDIS_REPLY_STRING)
    {
        *sec = strtoll(reply->element[0]->str, NULL, 10);
    }

    freeReplyObject(reply);

    if (*sec <= 0) {
        return mcpctl_redis_fail(c, "cannot understand", "no time");
    }

    return MCP_OK;
}


static int
mcpctl_redis_open(mcpctl_conn_t *c)
{
    return c->conf->path.len ? mcpctl_redis_open_unix(c)
                             : mcpctl_redis_open_tcp(c);
}


static int
mcpctl_redis_open_unix(mcpctl_conn_t *c)
{
    int                 err;
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;

    if (c->conf->path.len >= sizeof(sun.sun_path)) {
        return mcpctl_redis_fail(c, "cannot connect to", "path too long");
    }

    memcpy(sun.sun_path, c->conf->path.data, c->conf->path.len);

    err = mcpctl_redis_socket(c, AF_UNIX, (struct sockaddr *) &sun,
                              sizeof(sun));

    return err ? mcpctl_redis_fail(c, "cannot connect to", strerror(err))
               : MCP_OK;
}


/* Each address of the name, until one answers. */
static int
mcpctl_redis_open_tcp(mcpctl_conn_t *c)
{
    int               err, rc, one;
    char              port[16];
    struct addrinfo   hints, *list, *ai;

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    snprintf(port, sizeof(port), "%u", c->conf->port);

    /* without any address but loopback AI_ADDRCONFIG finds nothing */

    rc = getaddrinfo((char *) c->conf->host.data, port, &hints, &list);

    if (rc != 0) {
        hints.ai_flags = 0;
        rc = getaddrinfo((char *) c->conf->host.data, port, &hints, &list);
    }

    if (rc != 0) {
        return mcpctl_redis_fail(c, "cannot connect to", gai_strerror(rc));
    }

    err = ENOENT;

    for (ai = list; ai; ai = ai->ai_next) {
        err = mcpctl_redis_socket(c, ai->ai_family, ai->ai_addr,
                                  ai->ai_addrlen);
        if (err == 0) {
            break;
        }
    }

    freeaddrinfo(list);

    if (err) {
        return mcpctl_redis_fail(c, "cannot connect to", strerror(err));
    }

    one = 1;
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    return MCP_OK;
}


/* 0, or the error. */
static int
mcpctl_redis_socket(mcpctl_conn_t *c, int family, const struct sockaddr *sa,
    socklen_t len)
{
    int        err;
    socklen_t  size;

    c->fd = socket(family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (c->fd == -1) {
        return errno;
    }

    err = 0;

    if (connect(c->fd, sa, len) == -1) {
        err = errno;

        if (err == EINPROGRESS || err == EINTR) {
            err = ETIMEDOUT;
            size = sizeof(err);

            if (mcpctl_redis_wait(c, POLLOUT) == MCP_OK
                && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &size) == -1)
            {
                err = errno;
            }
        }
    }

    if (err) {
        (void) close(c->fd);
        c->fd = -1;
    }

    return err;
}


static int
mcpctl_redis_tls(mcpctl_conn_t *c)
{
    int          rc, err;
    const char  *name;

    name = c->conf->ssl_name.len ? (char *) c->conf->ssl_name.data
                                 : (char *) c->conf->host.data;

    if (name == NULL || *name == '\0') {
        return mcpctl_redis_fail(c, "cannot verify", "TLS over a unix socket "
                                 "needs ssl_name");
    }

    if (mcpctl_redis_tls_ctx(c) != MCP_OK
        || mcpctl_redis_tls_name(c, name) != MCP_OK)
    {
        return MCP_ERROR;
    }

    for ( ;; ) {
        ERR_clear_error();

        rc = SSL_connect(c->ssl);
        if (rc == 1) {
            break;
        }

        err = SSL_get_error(c->ssl, rc);

        if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE) {
            return mcpctl_redis_fail(c, "cannot connect to",
                                     mcpctl_redis_tls_error(c));
        }

        if (mcpctl_redis_wait(c, err == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)
            != MCP_OK)
        {
            return mcpctl_redis_fail(c, "cannot connect to",
                                     "TLS handshake: timed out");
        }
    }

    /* verified in the handshake; nothing is sent to whom it was not */

    if (SSL_get_verify_result(c->ssl) != X509_V_OK
        || SSL_get0_peer_certificate(c->ssl) == NULL)
    {
        return mcpctl_redis_fail(c, "cannot verify",
                                 mcpctl_redis_tls_error(c));
    }

    return MCP_OK;
}


static int
mcpctl_redis_tls_ctx(mcpctl_conn_t *c)
{
    int  ok;

    c->ssl_ctx = SSL_CTX_new(TLS_client_method());
    if (c->ssl_ctx == NULL) {
        return mcpctl_redis_fail(c, "cannot connect to", "out of memory");
    }

    SSL_CTX_set_min_proto_version(c->ssl_ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(c->ssl_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->ssl_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                                 |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    if (c->conf->trusted_certificate.len) {
        ok = SSL_CTX_load_verify_locations(c->ssl_ctx,
                             (char *) c->conf->trusted_certificate.data, NULL);
    } else {
        ok = SSL_CTX_set_default_verify_paths(c->ssl_ctx);
    }

    if (ok != 1) {
        ERR_clear_error();
        return mcpctl_error(c->ctl, MCP_ERROR, "cannot load "
                            "ssl_trusted_certificate \"%s\" of mcp_redis",
                            c->conf->trusted_certificate.data
                            ? (char *) c->conf->trusted_certificate.data : "");
    }

    c->ssl = SSL_new(c->ssl_ctx);

    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
        return mcpctl_redis_fail(c, "cannot connect to", "out of memory");
    }

    return MCP_OK;
}


/* Whom the certificate has to be for.  An address is never sent as SNI. */
static int
mcpctl_redis_tls_name(mcpctl_conn_t *c, const char *name)
{
    int            ok;
    unsigned char  addr[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, name, addr) == 1
        || inet_pton(AF_INET6, name, addr) == 1)
    {
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name);

    } else {
        ok = SSL_set1_host(c->ssl, name) == 1
             && SSL_set_tlsext_host_name(c->ssl, name) == 1;
    }

    return ok ? MCP_OK : mcpctl_redis_fail(c, "cannot verify",
                                           "the name cannot be checked");
}


static const char *
mcpctl_redis_tls_error(mcpctl_conn_t *c)
{
    long           verify;
    const char    *reason;
    unsigned long  err;

    verify = SSL_get_verify_result(c->ssl);

    if (verify != X509_V_OK) {
        ERR_clear_error();
        return mcpctl_format(c->ctl, "certificate verification: %s",
                             X509_verify_cert_error_string(verify));
    }

    err = ERR_peek_error();
    reason = err ? ERR_reason_error_string(err) : NULL;
    ERR_clear_error();

    return mcpctl_format(c->ctl, "TLS: %s", reason ? reason
                                            : "the connection was closed");
}


static int
mcpctl_redis_hello(mcpctl_conn_t *c)
{
    mcp_str_t    argv[2];
    redisReply  *reply;

    if ((c->conf->password.len || c->conf->user.len)
        && mcpctl_redis_auth(c) != MCP_OK)
    {
        return MCP_ERROR;
    }

    argv[0] = mcpctl_cstr("SELECT");
    argv[1] = mcpctl_cstr(mcpctl_format(c->ctl, "%u", c->conf->database));

    if (c->conf->database) {
        reply = mcpctl_redis_command(c, REDIS_REPLY_STATUS, 2, argv);
        if (reply == NULL) {
            return MCP_ERROR;
        }

        freeReplyObject(reply);
    }

    return MCP_OK;
}


static int
mcpctl_redis_auth(mcpctl_conn_t *c)
{
    unsigned     n;
    mcp_str_t    argv[3], secret;
    redisReply  *reply;

    if (mcpctl_secret(c->ctl, &c->conf->password, &secret) != MCPCTL_OK) {
        return mcpctl_error(c->ctl, MCP_ERROR, "mcp_redis in %s:%u has no "
                            "password", c->conf->place.file.data,
                            c->conf->place.line);
    }

    n = 0;
    argv[n++] = mcpctl_cstr("AUTH");

    if (c->conf->user.len) {
        argv[n++] = c->conf->user;
    }

    argv[n++] = secret;

    reply = mcpctl_redis_command(c, REDIS_REPLY_STATUS, n, argv);
    mcpctl_wipe(secret.data, secret.len);

    if (reply == NULL) {
        return MCP_ERROR;
    }

    freeReplyObject(reply);

    return MCP_OK;
}


static int
mcpctl_redis_send(mcpctl_conn_t *c, const char *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = mcpctl_redis_io(c, NULL, data, len);
        if (n <= 0) {
            return MCP_ERROR;
        }

        data += n;
        len -= (size_t) n;
    }

    return MCP_OK;
}


static int
mcpctl_redis_receive(mcpctl_conn_t *c, redisReply **reply)
{
    char     buf[16384];
    size_t   total;
    ssize_t  n;

    total = 0;

    for ( ;; ) {

        if (redisReaderGetReply(c->reader, (void **) reply) != REDIS_OK) {
            return mcpctl_redis_fail(c, "cannot understand",
                                     c->reader->errstr);
        }

        if (*reply) {

            /* nothing was asked that this could be the answer to */

            if (c->reader->len != c->reader->pos) {
                freeReplyObject(*reply);
                return mcpctl_redis_fail(c, "cannot understand",
                                         "more than one reply");
            }

            return MCP_OK;
        }

        n = mcpctl_redis_io(c, buf, NULL, sizeof(buf));
        if (n <= 0) {
            return MCP_ERROR;
        }

        total += (size_t) n;

        if (total > MCPCTL_REDIS_REPLY) {
            return mcpctl_redis_fail(c, "cannot understand",
                                     "the reply is too long");
        }

        if (redisReaderFeed(c->reader, buf, (size_t) n) != REDIS_OK) {
            return mcpctl_redis_fail(c, "cannot understand",
                                     c->reader->errstr);
        }
    }
}


/* Reads into in, or writes out; how many bytes.  -1: said what is wrong. */
static ssize_t
mcpctl_redis_io(mcpctl_conn_t *c, char *in, const char *out, size_t len)
{
    int      err, events;
    ssize_t  n;

    if (len > INT32_MAX) {
        len = INT32_MAX;
    }

    for ( ;; ) {
        events = in ? POLLIN : POLLOUT;

        if (c->ssl) {
            ERR_clear_error();

            n = in ? SSL_read(c->ssl, in, (int) len)
                   : SSL_write(c->ssl, out, (int) len);

            if (n > 0) {
                return n;
            }

            err = SSL_get_error(c->ssl, (int) n);

            if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE) {
                return mcpctl_redis_fail(c, "lost",
                                         mcpctl_redis_tls_error(c));
            }

            events = (err == SSL_ERROR_WANT_READ) ? POLLIN : POLLOUT;

        } else {
            n = in ? recv(c->fd, in, len, 0)
                   : send(c->fd, out, len, MSG_NOSIGNAL);

            if (n > 0) {
                return n;
            }

            if (n == 0) {
                return mcpctl_redis_fail(c, "lost",
                                         "the connection was closed");
            }

            if (errno != EAGAIN && errno != EINTR) {
                return mcpctl_redis_fail(c, "lost", strerror(errno));
            }
        }

        if (mcpctl_redis_wait(c, events) != MCP_OK) {
            return mcpctl_redis_fail(c, "no answer of", "timed out");
        }
    }
}


/* MCP_ERROR: the time is over. */
static int
mcpctl_redis_wait(mcpctl_conn_t *c, int events)
{
    int            n;
    int64_t        left;
    struct pollfd  pfd;

    pfd.fd = c->fd;
    pfd.events = (short) events;

    do {
        left = c->deadline - mcpctl_redis_now();

        if (left <= 0) {
            return MCP_ERROR;
        }

        n = poll(&pfd, 1, (int) left);

    } while (n == -1 && errno == EINTR);

    return n > 0 ? MCP_OK : MCP_ERROR;
}


static void *
mcpctl_redis_bounded(const redisReadTask *task, mcpctl_redis_count_t elements)
{
    unsigned              depth;
    mcpctl_conn_t        *c;
    const redisReadTask  *parent;

    depth = 0;

    for (parent = task->parent; parent; parent = parent->parent) {
        if (++depth == MCPCTL_REDIS_DEPTH) {
            return NULL;
        }
    }

    c = task->privdata;

    return elements > MCPCTL_REDIS_ELEMENTS ? NULL : c->array(task, elements);
}


static int
mcpctl_redis_fail(mcpctl_conn_t *c, const char *what, const char *why)
{
    c->failed = 1;

    return mcpctl_error(c->ctl, MCP_ERROR, "%s Redis %s: %s", what, c->name,
                        why);
}


/* ms of a clock that nobody sets */
static int64_t
mcpctl_redis_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
