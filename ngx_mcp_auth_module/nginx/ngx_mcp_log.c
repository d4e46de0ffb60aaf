/*
 * The audit: exactly one record for each main request of a protected location.
 *
 * The log phase turns the context (or, for a request that nginx refused before
 * any of our phases ran, the location's configuration) into one line of
 * core/mcp_audit and appends it to the worker's buffer of that log.  The buffer
 * is written at the end of the event loop's turn, or by `buffer=` and `flush=`
 * when those are given: always whole lines, in one write() to a file opened
 * with O_APPEND.  USR1 makes nginx write and reopen it.
 *
 * The file belongs to nginx's cycle, the buffer to this worker.
 */

#include "ngx_mcp_module.h"
#include "ngx_mcp_filter.h"
#include "ngx_mcp_syslog.h"
#include "mcp_audit.h"

#include <openssl/rand.h>


#define NGX_MCP_AUDIT_BUFFER  65536
#define NGX_MCP_AUDIT_LEAST  8192
#define NGX_MCP_AUDIT_SILENCE  60               /* s between complaints */


struct ngx_mcp_audit_log_s {
    ngx_open_file_t         *file;              /* one of these, or off */
    ngx_mcp_syslog_t        *syslog;
    ngx_uint_t               strict;
    size_t                   size;              /* buffer=; 0: each turn */
    ngx_msec_t               flush;             /* flush= */

    /* this worker's */
    u_char                  *start;
    u_char                  *pos;
    u_char                  *end;
    ngx_uint_t               lines;             /* between start and pos */
    ngx_event_t              turn;              /* posted, or the timer */
    ngx_mcp_counters_t      *counters;
    time_t                   complained;
    ngx_uint_t               failing;           /* the last write failed */
    ngx_uint_t               torn;              /* the file ends in half a
                                                   line */
    ngx_atomic_uint_t        failed;            /* by all workers, when its
                                                   end was looked at */
};


static ngx_mcp_audit_log_t *ngx_mcp_log_add(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_str_t *path);
static void ngx_mcp_log_flush_file(ngx_open_file_t *file, ngx_log_t *log);
static void ngx_mcp_log_turn(ngx_event_t *ev);
static void ngx_mcp_log_write(ngx_mcp_audit_log_t *al, ngx_log_t *log);
static void ngx_mcp_log_close_line(ngx_mcp_audit_log_t *al);
static ngx_uint_t ngx_mcp_log_torn(ngx_mcp_audit_log_t *al);
static void ngx_mcp_log_failed(ngx_mcp_audit_log_t *al, ssize_t n,
    ngx_err_t err, ngx_log_t *log);
static void ngx_mcp_log_datagrams(ngx_mcp_audit_log_t *al, ngx_log_t *log);
static void ngx_mcp_log_lost(ngx_mcp_audit_log_t *al, ngx_uint_t written,
    ngx_err_t err, ngx_log_t *log);
static ngx_mcp_audit_log_t *ngx_mcp_log_sink(ngx_mcp_ctx_t *ctx,
    ngx_mcp_loc_conf_t *mlcf);
static ngx_mcp_audit_log_t *ngx_mcp_log_syslog(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_log_line(ngx_mcp_audit_log_t *al, mcp_audit_t *a,
    ngx_log_t *log);
static void ngx_mcp_log_request(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_audit_t *a);
static void ngx_mcp_log_who(ngx_mcp_ctx_t *ctx, mcp_audit_t *a);
static void ngx_mcp_log_outcome(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_audit_t *a);
static void ngx_mcp_log_digest(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx,
    mcp_audit_t *a);
static void ngx_mcp_log_request_id(ngx_http_request_t *r,
    ngx_mcp_main_conf_t *mmcf, mcp_audit_t *a);
static void ngx_mcp_log_upstream(ngx_http_request_t *r, mcp_audit_t *a);
static void ngx_mcp_log_session(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx,
    mcp_audit_t *a, u_char *buf);


/* for locations whose audit is off */
static ngx_mcp_audit_log_t  ngx_mcp_audit_off;


/* mcp_audit off | PATH | syslog:... [buffer=SIZE] [flush=TIME] [strict] */
char *
ngx_mcp_log_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_loc_conf_t *mlcf = conf;

    ssize_t               size;
    ngx_str_t            *value, s;
    ngx_int_t             flush;
    ngx_uint_t            i;
    ngx_mcp_audit_log_t  *al;
    ngx_mcp_main_conf_t  *mmcf;

    if (mlcf->audit != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        if (cf->args->nelts > 2) {
            return "has parameters after \"off\"";
        }

        mlcf->audit = &ngx_mcp_audit_off;
        return NGX_CONF_OK;
    }

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);

    al = ngx_strncmp(value[1].data, "syslog:", 7) == 0
         ? ngx_mcp_log_syslog(cf, mmcf)
         : ngx_mcp_log_add(cf, mmcf, &value[1]);

    if (al == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "strict") == 0) {
            al->strict = 1;
            continue;
        }

        if (ngx_strncmp(value[i].data, "buffer=", 7) == 0) {
            s.data = value[i].data + 7;
            s.len = value[i].len - 7;
            size = ngx_parse_size(&s);

            if (size < NGX_MCP_AUDIT_LEAST || size > 16 * 1024 * 1024) {
                return "has a \"buffer\" outside 8k to 16m";
            }

            al->size = size;
            continue;
        }

        if (ngx_strncmp(value[i].data, "flush=", 6) == 0) {
            s.data = value[i].data + 6;
            s.len = value[i].len - 6;
            flush = ngx_parse_time(&s, 0);

            if (flush < 1 || flush > 60000) {
                return "has a \"flush\" outside 1ms to 60s";
            }

            al->flush = flush;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    if (al->flush && !al->size) {
        return "has \"flush\" without \"buffer\"";
    }

    if (al->size && al->strict) {
        return "cannot be \"strict\" with a \"buffer\": what waits in it may "
               "be lost unnoticed";
    }

    if (al->size && !al->flush) {
        al->flush = 1000;
    }

    mlcf->audit = al;

    return NGX_CONF_OK;
}


/* Where records go when nothing is said: beside nginx's access log. */
ngx_mcp_audit_log_t *
ngx_mcp_log_default(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    u_char     *p;
    ngx_str_t   path;

    static const char  name[] = "mcp_audit.log";

    path.data = ngx_pnalloc(cf->pool, sizeof(NGX_HTTP_LOG_PATH)
                                      + sizeof(name));
    if (path.data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(path.data, NGX_HTTP_LOG_PATH,
                   sizeof(NGX_HTTP_LOG_PATH) - 1);

    while (p > path.data && p[-1] != '/') {
        p--;
    }

    p = ngx_cpymem(p, name, sizeof(name));
    path.len = p - path.data - 1;

    return ngx_mcp_log_add(cf, mmcf, &path);
}


/* One log for each path, however many locations write to it. */
static ngx_mcp_audit_log_t *
ngx_mcp_log_add(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf, ngx_str_t *path)
{
    ngx_uint_t             i;
    ngx_open_file_t       *file;
    ngx_mcp_audit_log_t  **alp, *al;

    file = ngx_conf_open_file(cf->cycle, path);
    if (file == NULL) {
        return NULL;
    }

    alp = mmcf->logs.elts;

    for (i = 0; i < mmcf->logs.nelts; i++) {
        if (alp[i]->file == file) {
            return alp[i];
        }
    }

    if (file->flush) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_audit cannot share \"%V\" with a buffered "
                           "access_log", path);
        return NULL;
    }

    al = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_audit_log_t));
    alp = ngx_array_push(&mmcf->logs);

    if (al == NULL || alp == NULL) {
        return NULL;
    }

    *alp = al;

    al->file = file;

    file->flush = ngx_mcp_log_flush_file;
    file->data = al;

    return al;
}


/* A log for each line of the configuration. */
static ngx_mcp_audit_log_t *
ngx_mcp_log_syslog(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_audit_log_t  **alp, *al;

    al = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_audit_log_t));
    alp = ngx_array_push(&mmcf->logs);

    if (al == NULL || alp == NULL) {
        return NULL;
    }

    *alp = al;

    al->syslog = ngx_mcp_syslog_conf(cf);

    return al->syslog ? al : NULL;
}


/*
 * `strict`: 1 while the last record could not be written.  The record of the
 * request that is refused for it is the next try.
 */
ngx_uint_t
ngx_mcp_log_blocked(ngx_mcp_ctx_t *ctx)
{
    ngx_mcp_audit_log_t  *al;

    al = ctx->conf->audit;

    return al != NULL && al != NGX_CONF_UNSET_PTR && al->strict && al->failing;
}


ngx_int_t
ngx_mcp_log_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    size_t                 size;
    ngx_uint_t             i;
    ngx_mcp_audit_log_t  **alp, *al;

    alp = mmcf->logs.elts;

    for (i = 0; i < mmcf->logs.nelts; i++) {
        al = alp[i];

        /* a line more than what makes it be written */

        size = al->size ? al->size + MCP_AUDIT_MAX : NGX_MCP_AUDIT_BUFFER;

        al->failing = 0;
        al->failed = (ngx_atomic_uint_t) -1;    /* not looked at */

        al->start = ngx_pnalloc(cycle->pool, size);
        if (al->start == NULL) {
            return NGX_ERROR;
        }

        al->pos = al->start;
        al->end = al->start + size;
        al->counters = ngx_mcp_zone_counters(mmcf->zone);

        al->turn.handler = ngx_mcp_log_turn;
        al->turn.data = al;
        al->turn.log = cycle->log;
        al->turn.cancelable = 1;
    }

    return NGX_OK;
}


void
ngx_mcp_log_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t             i;
    ngx_mcp_audit_log_t  **alp;

    alp = mmcf->logs.elts;

    for (i = 0; i < mmcf->logs.nelts; i++) {
        if (alp[i]->start) {
            ngx_mcp_log_write(alp[i], ngx_cycle->log);
        }

        if (alp[i]->syslog) {
            ngx_mcp_syslog_close(alp[i]->syslog);
        }
    }
}


static void
ngx_mcp_log_flush_file(ngx_open_file_t *file, ngx_log_t *log)
{
    ngx_mcp_audit_log_t *al = file->data;

    if (al->start) {
        ngx_mcp_log_write(al, log);
    }
}


static void
ngx_mcp_log_turn(ngx_event_t *ev)
{
    ngx_mcp_log_write(ev->data, ev->log);
}


/* All lines that are waiting, in one write. */
static void
ngx_mcp_log_write(ngx_mcp_audit_log_t *al, ngx_log_t *log)
{
    size_t     len;
    ssize_t    n;
    ngx_err_t  err;

    if (al->turn.timer_set) {
        ngx_del_timer(&al->turn);
    }

    len = al->pos - al->start;

    if (len == 0) {
        return;
    }

    if (al->syslog) {
        ngx_mcp_log_datagrams(al, log);
        return;
    }

    if (al->failed != al->counters->audit_failed || al->torn) {
        ngx_mcp_log_close_line(al);
    }

    n = ngx_write_fd(al->file->fd, al->start, len);
    err = (n == -1) ? ngx_errno : 0;

    if (n == (ssize_t) len) {
        al->failing = 0;
        (void) ngx_atomic_fetch_add(&al->counters->audit_written, al->lines);

    } else {
        ngx_mcp_log_failed(al, n, err, log);
    }

    al->pos = al->start;
    al->lines = 0;
}


/*
 * A full disk may take a part of what is written.  The half line that the file
 * then ends in is closed before the next one, by whichever worker that is: all
 * see by the counter that they share that something was lost.
 */
static void
ngx_mcp_log_close_line(ngx_mcp_audit_log_t *al)
{
    ngx_atomic_uint_t  failed;

    failed = al->counters->audit_failed;

    al->torn = ngx_mcp_log_torn(al);

    if (al->torn && ngx_write_fd(al->file->fd, "\n", 1) == 1) {
        al->torn = 0;
    }

    if (!al->torn) {
        al->failed = failed;
    }
}


/* What its last byte says; of what is no file, what our own write said. */
static ngx_uint_t
ngx_mcp_log_torn(ngx_mcp_audit_log_t *al)
{
    u_char           last;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi, same;

    if (ngx_fd_info(al->file->fd, &fi) == NGX_FILE_ERROR
        || !ngx_is_file(&fi))
    {
        return al->torn;
    }

    if (ngx_file_size(&fi) == 0) {
        return 0;
    }

    fd = ngx_open_file(al->file->name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return al->torn;
    }

    /* the name is another file's while logs are rotated */

    n = -1;

    if (ngx_fd_info(fd, &same) != NGX_FILE_ERROR
        && ngx_file_uniq(&same) == ngx_file_uniq(&fi))
    {
        n = pread(fd, &last, 1, ngx_file_size(&same) - 1);
    }

    (void) ngx_close_file(fd);

    return n == 1 ? last != LF : al->torn;
}


/* Which of the lines are there after all, and whether half of one is. */
static void
ngx_mcp_log_failed(ngx_mcp_audit_log_t *al, ssize_t n, ngx_err_t err,
    ngx_log_t *log)
{
    ssize_t     i;
    ngx_uint_t  written;

    written = 0;

    for (i = 0; i < n; i++) {
        written += (al->start[i] == LF);
    }

    al->failing = 1;

    if (n > 0) {
        al->torn = (al->start[n - 1] != LF);
    }

    ngx_mcp_log_lost(al, written, err, log);
}


/* Every line a datagram of its own. */
static void
ngx_mcp_log_datagrams(ngx_mcp_audit_log_t *al, ngx_log_t *log)
{
    u_char      *p, *end;
    ngx_err_t    err, e;
    ngx_uint_t   written;

    written = 0;
    err = 0;

    for (p = al->start; p < al->pos; p = end + 1) {
        end = ngx_strlchr(p, al->pos, LF);

        if (ngx_mcp_syslog_send(al->syslog, p, end - p, &e) == NGX_OK) {
            written++;
            al->failing = 0;

        } else {
            err = e;
            al->failing = 1;
        }
    }

    if (written == al->lines) {
        (void) ngx_atomic_fetch_add(&al->counters->audit_written, written);

    } else {
        ngx_mcp_log_lost(al, written, err, log);
    }

    al->pos = al->start;
    al->lines = 0;
}


/* Counted, and said once a minute. */
static void
ngx_mcp_log_lost(ngx_mcp_audit_log_t *al, ngx_uint_t written, ngx_err_t err,
    ngx_log_t *log)
{
    (void) ngx_atomic_fetch_add(&al->counters->audit_written, written);
    (void) ngx_atomic_fetch_add(&al->counters->audit_failed,
                                al->lines - written);

    if (ngx_time() - al->complained >= NGX_MCP_AUDIT_SILENCE) {
        al->complained = ngx_time();

        ngx_log_error(NGX_LOG_ERR, log, err,
                      "mcp_audit: %ui records for \"%V\" were not "
                      "written%s", al->lines - written,
                      al->syslog ? ngx_mcp_syslog_name(al->syslog)
                                 : &al->file->name,
                      al->strict ? ", calls are refused" : "");
    }
}


/* Where the record of a request goes; NULL: nowhere. */
static ngx_mcp_audit_log_t *
ngx_mcp_log_sink(ngx_mcp_ctx_t *ctx, ngx_mcp_loc_conf_t *mlcf)
{
    ngx_mcp_audit_log_t  *al;

    al = mlcf->audit;

    if (al == NGX_CONF_UNSET_PTR) {

        /* metadata is served above the locations */

        al = ctx ? ctx->server->audit : NULL;
    }

    return al && (al->file || al->syslog) ? al : NULL;
}


/* Digests are for the record alone: without one there are none. */
ngx_uint_t
ngx_mcp_log_wanted(ngx_mcp_ctx_t *ctx)
{
    return ngx_mcp_log_sink(ctx, ctx->conf) != NULL;
}


ngx_int_t
ngx_mcp_log_handler(ngx_http_request_t *r)
{
    u_char                session[MCP_DIGEST_HEX];
    mcp_audit_t           a;
    ngx_mcp_ctx_t        *ctx;
    ngx_mcp_loc_conf_t   *mlcf;
    ngx_mcp_audit_log_t  *al;
    ngx_mcp_main_conf_t  *mmcf;

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = ngx_mcp_get_ctx(r);
    mlcf = ctx ? ctx->conf
               : ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);

    if ((ctx ? ctx->server : mlcf->server) == NULL) {
        return NGX_OK;
    }

    al = ngx_mcp_log_sink(ctx, mlcf);
    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    ngx_memzero(&a, sizeof(mcp_audit_t));

    a.node.data = ngx_cycle->hostname.data;
    a.node.len = ngx_cycle->hostname.len;
    a.worker = ngx_worker;
    a.upstream_us = -1;
    a.auth_us = -1;
    a.credential_us = -1;
    a.http_method = "";

    if (ctx) {
        ngx_mcp_log_request(r, ctx, &a);

    } else {
        a.server = *(mcp_str_t *) &mlcf->server->name;
        a.ev = "call";
        a.decision = "error";
        a.reason = "nginx";
    }

    ngx_mcp_log_outcome(r, ctx, &a);

    ngx_mcp_stats_count(ctx ? ctx->server->stats : mlcf->server->stats,
                        a.decision, a.reason, a.auth_us);

    if (al == NULL) {
        return NGX_OK;
    }

    if (ctx) {
        ngx_mcp_log_session(mmcf, ctx, &a, session);
        ngx_mcp_log_digest(mmcf, ctx, &a);
    }

    ngx_mcp_log_request_id(r, mmcf, &a);

    a.seq = ngx_atomic_fetch_add(&ngx_mcp_zone_counters(mmcf->zone)->audit_seq,
                                 1) + 1;

    ngx_mcp_log_upstream(r, &a);
    ngx_mcp_log_line(al, &a, r->connection->log);

    return NGX_OK;
}


/*
 * A record of no request: in each log, because it belongs to no server, with
 * one number, because it is one.
 */
void
ngx_mcp_log_event(ngx_mcp_main_conf_t *mmcf, mcp_audit_t *a)
{
    ngx_uint_t             i;
    ngx_mcp_audit_log_t  **alp;

    if (mmcf->logs.nelts == 0) {
        return;
    }

    a->node.data = ngx_cycle->hostname.data;
    a->node.len = ngx_cycle->hostname.len;
    a->worker = ngx_worker;
    a->upstream_us = -1;
    a->total_us = -1;
    a->auth_us = -1;

    if (a->credential.len == 0) {
        a->credential_us = -1;
    }

    a->seq = ngx_atomic_fetch_add(&ngx_mcp_zone_counters(mmcf->zone)->audit_seq,
                                  1) + 1;

    alp = mmcf->logs.elts;

    for (i = 0; i < mmcf->logs.nelts; i++) {
        ngx_mcp_log_line(alp[i], a, ngx_cycle->log);
    }
}


static void
ngx_mcp_log_line(ngx_mcp_audit_log_t *al, mcp_audit_t *a, ngx_log_t *log)
{
    struct timeval  tv;

    if (al->end - al->pos < MCP_AUDIT_MAX) {
        ngx_mcp_log_write(al, log);
    }

    ngx_gettimeofday(&tv);

    a->sec = tv.tv_sec;
    a->usec = tv.tv_usec;

    al->pos += mcp_audit_line(a, al->pos);
    al->lines++;

    if (al->size == 0) {
        ngx_post_event(&al->turn, &ngx_posted_events);

    } else if (!al->turn.timer_set) {
        ngx_add_timer(&al->turn, al->flush);
    }
}


/* Who, what, decided how: from the context. */
static void
ngx_mcp_log_request(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx, mcp_audit_t *a)
{
    a->server = *(mcp_str_t *) &ctx->server->name;
    a->message = ctx->message;
    a->principal = ctx->principal;
    a->policy = ctx->server->policy;
    a->rule = ctx->rule;
    a->ev = ctx->ev ? ctx->ev : "call";

    if (ctx->message == NULL) {
        switch (r->method) {

        case NGX_HTTP_GET:
            a->http_method = "GET";
            break;

        case NGX_HTTP_HEAD:
            a->http_method = "HEAD";
            break;

        case NGX_HTTP_POST:
            a->http_method = "POST";
            break;

        case NGX_HTTP_DELETE:
            a->http_method = "DELETE";
            break;

        case NGX_HTTP_OPTIONS:
            a->http_method = "OPTIONS";
            break;

        case NGX_HTTP_PUT:
            a->http_method = "PUT";
            break;

        default:
            a->http_method = "OTHER";
        }
    }

    if (ctx->credential_waited && ctx->state == NGX_MCP_DONE && !ctx->swapped) {
        a->decision = "error";
        a->reason = "aborted_waiting_for_credential";

    } else if (ctx->decision) {
        a->decision = ctx->decision;
        a->reason = ctx->reason;

    } else {
        a->decision = "error";

        switch (ctx->state) {

        case NGX_MCP_KEYS:
            a->reason = "aborted_waiting_for_keys";
            break;

        case NGX_MCP_RECORD:
            a->reason = "aborted_waiting_for_token";
            break;

        case NGX_MCP_BODY:
            a->reason = "incomplete_body";
            break;

        case NGX_MCP_CALLER:
        case NGX_MCP_DECIDE:
            a->reason = ctx->unsure ? "revocation_unknown" : "nginx";
            break;

        default:
            a->reason = "nginx";
        }
    }

    if (ctx->has_params_digest) {
        a->params_digest.data = ctx->params_digest;
        a->params_digest.len = MCP_DIGEST_HEX;
    }

    ngx_mcp_log_who(ctx, a);

    a->clear = ctx->server->clear.elts;
    a->nclear = ctx->server->clear.nelts;

    if (ctx->swapped && ctx->credential) {
        a->credential = *(mcp_str_t *) &ctx->credential->name;
        a->credential_version = ctx->credential_version;
        a->refreshed = ctx->refreshed;
    }

    if (ctx->credential_waited) {
        a->credential_us = ctx->credential_us;
    }

    a->auth_us = ctx->auth;

    a->trace_id = ngx_mcp_ctx_trace_id(ctx);
}


/*
 * The caller's part of the record is the same each time: it is kept with the
 * verified token, as the first server that needs it names the roles.
 */
static void
ngx_mcp_log_who(ngx_mcp_ctx_t *ctx, mcp_audit_t *a)
{
    size_t                  len;
    u_char                  who[MCP_AUDIT_WHO_MAX];
    ngx_mcp_cache_entry_t  *e;

    e = ctx->entry;

    if (e == NULL || e->principal == NULL || e->principal != ctx->principal) {
        return;
    }

    if (e->who == NULL) {
        len = mcp_audit_who(e->principal, a->policy, who);

        e->who = ngx_alloc(len, ctx->request->connection->log);
        if (e->who == NULL) {
            return;
        }

        ngx_memcpy(e->who, who, len);
        e->who_len = len;
        e->who_policy = a->policy;
    }

    if (e->who_policy == a->policy) {
        a->who.data = e->who;
        a->who.len = e->who_len;
    }
}


/* What was answered. */
static void
ngx_mcp_log_outcome(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx, mcp_audit_t *a)
{
    a->status = r->err_status ? r->err_status : r->headers_out.status;

    a->client_ip = *(mcp_str_t *) &r->connection->addr_text;

    if (ctx == NULL) {
        a->total_us = (int64_t) 1000
                      * ((ngx_time() - r->start_sec) * 1000
                         + (ngx_int_t) (ngx_timeofday()->msec
                                        - r->start_msec));
        return;
    }

    if (ngx_strcmp(a->decision, "allow") == 0
        && (a->status == NGX_HTTP_CLIENT_CLOSED_REQUEST
            || r->connection->error || r->connection->timedout))
    {
        a->reason = "client_gone";
    }

    a->total_us = ngx_mcp_now_us() - ctx->start;

    a->has_rpc_code = ctx->has_rpc_code;
    a->rpc_code = ctx->rpc_code;
    a->has_result = ctx->has_outcome;
    a->is_error = ctx->is_error;
    a->has_removed = ctx->has_list;
    a->removed = ctx->removed;
    a->result_bytes = ctx->result_bytes;

    if (ctx->preview.len) {
        a->preview = *(mcp_str_t *) &ctx->preview;
        a->preview_max = ctx->server->preview;
        a->preview_more = (ctx->preview.len
                           == ctx->server->preview + NGX_MCP_PREVIEW_AHEAD);
    }
}


static void
ngx_mcp_log_digest(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx,
    mcp_audit_t *a)
{
    if (!ctx->has_result_digest || ctx->result_bytes == 0) {
        return;
    }

    if (mcp_long_final(&ctx->result, &mmcf->results, ctx->result_digest)
        != MCP_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, ctx->request->connection->log, 0,
                      "mcp_auth: no digest of this result: OpenSSL failed");
        return;
    }

    a->result_digest.data = ctx->result_digest;
    a->result_digest.len = MCP_DIGEST_HEX;
}


/*
 * $request_id, which nginx makes of 16 random bytes when it is first asked for.
 * When that is here, it is made in the same way of bytes that were drawn for
 * many requests at once: OpenSSL's generator is most of the price.
 */
static void
ngx_mcp_log_request_id(ngx_http_request_t *r, ngx_mcp_main_conf_t *mmcf,
    mcp_audit_t *a)
{
    u_char                     *id;
    ngx_mcp_random_t           *random;
    ngx_http_variable_value_t  *v;

    random = &mmcf->random;
    v = &r->variables[mmcf->request_id_index];

    if (!v->valid && !v->not_found) {

        if (random->left == 0
            && RAND_bytes(random->bytes, sizeof(random->bytes)) == 1)
        {
            random->left = sizeof(random->bytes) / NGX_MCP_REQUEST_ID;
        }

        id = ngx_pnalloc(r->pool, 2 * NGX_MCP_REQUEST_ID);

        if (random->left && id) {
            random->left--;
            ngx_hex_dump(id, random->bytes + random->left * NGX_MCP_REQUEST_ID,
                         NGX_MCP_REQUEST_ID);

            v->data = id;
            v->len = 2 * NGX_MCP_REQUEST_ID;
            v->valid = 1;
            v->no_cacheable = 0;
            v->not_found = 0;
        }
    }

    v = ngx_http_get_indexed_variable(r, mmcf->request_id_index);

    if (v && !v->not_found) {
        a->request_id.data = v->data;
        a->request_id.len = v->len;
    }
}


static void
ngx_mcp_log_upstream(ngx_http_request_t *r, mcp_audit_t *a)
{
    ngx_http_upstream_state_t  *state;

    if (r->upstream_states == NULL || r->upstream_states->nelts == 0) {
        return;
    }

    /* the last one tried is the one that answered */

    state = r->upstream_states->elts;
    state += r->upstream_states->nelts - 1;

    if (state->peer) {
        a->upstream_addr = *(mcp_str_t *) state->peer;
    }

    a->upstream_status = state->status;

    if (state->response_time != (ngx_msec_t) -1) {
        a->upstream_us = (int64_t) state->response_time * 1000;
    }
}


/* A session id lets its holder into the session: only its digest is kept. */
static void
ngx_mcp_log_session(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx,
    mcp_audit_t *a, u_char *buf)
{
    ngx_str_t    *id;
    mcp_digest_t  d;

    /* what the client sent, only when it was no session of its own */

    id = ctx->upstream_session.len ? &ctx->upstream_session : &ctx->session;

    if (id->len == 0) {
        return;
    }

    mcp_digest_init(&d, &mmcf->digest);
    mcp_digest_update(&d, id->data, id->len);
    mcp_digest_final(&d, &mmcf->digest, buf);

    a->session.data = buf;
    a->session.len = 16;
}
