/*
 * Whether a file changed is told by stat(): device, inode, size and both times.
 * One look costs one system call.
 *
 * A kernel dates changes by the tick of its clock, some ms long: what is
 * written in place, in the tick in which it was read, and has the same size,
 * looks the same.  So what was read less than NGX_MCP_WATCH_FRESH after it was
 * changed is read again at the next look, and its hash decides.
 *
 * Called by timers of workers and at configuration time; owns nothing.
 */

#include "ngx_mcp_watch.h"


#define NGX_MCP_WATCH_FRESH  2          /* s; some file systems know no less */
#define NGX_MCP_WATCH_TRIES  3


static ngx_int_t ngx_mcp_watch_file(ngx_fd_t fd, size_t max,
    ngx_mcp_watch_t *now, ngx_str_t *text, const char **error, ngx_err_t *err,
    ngx_log_t *log);
static ngx_int_t ngx_mcp_watch_text(ngx_fd_t fd, ngx_str_t *text,
    const char **error, ngx_err_t *err);
static void ngx_mcp_watch_stat(ngx_file_info_t *fi, ngx_mcp_watch_t *w);
static ngx_uint_t ngx_mcp_watch_same(const ngx_mcp_watch_t *a,
    const ngx_mcp_watch_t *b);
static uint64_t ngx_mcp_watch_fresh(const ngx_mcp_watch_t *w);
static uint64_t ngx_mcp_watch_hash(ngx_str_t *text);


ngx_int_t
ngx_mcp_watch_read(ngx_str_t *path, size_t max, const ngx_mcp_watch_t *seen,
    ngx_mcp_watch_t *now, ngx_str_t *text, const char **error, ngx_err_t *err,
    ngx_log_t *log)
{
    ngx_fd_t         fd;
    ngx_int_t        rc;
    ngx_file_info_t  fi;
    ngx_mcp_watch_t  w;

    ngx_str_null(text);
    *err = 0;

    if (ngx_file_info(path->data, &fi) == NGX_FILE_ERROR) {
        *error = "cannot be opened";
        *err = ngx_errno;
        return NGX_ERROR;
    }

    ngx_mcp_watch_stat(&fi, &w);

    if (!seen->fresh && ngx_mcp_watch_same(seen, &w)) {
        *now = *seen;
        return NGX_DECLINED;
    }

    /* without NONBLOCK a FIFO would stop the worker */

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        *error = "cannot be opened";
        *err = ngx_errno;
        return NGX_ERROR;
    }

    rc = ngx_mcp_watch_file(fd, max, &w, text, error, err, log);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", path);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    /* touched, or written anew as it was: nothing to do either */

    if (seen->hash == w.hash && seen->size == w.size) {
        ngx_free(text->data);
        ngx_str_null(text);
        rc = NGX_DECLINED;
    }

    *now = w;

    return rc;
}


/* Reads until nothing changed meanwhile. */

static ngx_int_t
ngx_mcp_watch_file(ngx_fd_t fd, size_t max, ngx_mcp_watch_t *now,
    ngx_str_t *text, const char **error, ngx_err_t *err, ngx_log_t *log)
{
    ngx_uint_t       i;
    ngx_file_info_t  fi;
    ngx_mcp_watch_t  after;

    for (i = 0; i < NGX_MCP_WATCH_TRIES; i++) {

        if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
            *error = "cannot be read";
            *err = ngx_errno;
            return NGX_ERROR;
        }

        if (!ngx_is_file(&fi)) {
            *error = "is not a regular file";
            return NGX_ERROR;
        }

        ngx_mcp_watch_stat(&fi, now);

        if (now->size > max) {
            *error = "is too large";
            return NGX_ERROR;
        }

        text->len = (size_t) now->size;
        text->data = ngx_alloc(text->len + 1, log);

        if (text->data == NULL) {
            *error = "cannot be read: no memory";
            return NGX_ERROR;
        }

        /* before it is read: what is written from now on is dated later */

        now->fresh = ngx_mcp_watch_fresh(now);

        if (ngx_mcp_watch_text(fd, text, error, err) != NGX_OK) {
            goto failed;
        }

        if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
            *error = "cannot be read";
            *err = ngx_errno;
            goto failed;
        }

        ngx_mcp_watch_stat(&fi, &after);

        if (ngx_mcp_watch_same(now, &after) && text->len == now->size) {
            now->hash = ngx_mcp_watch_hash(text);
            return NGX_OK;
        }

        ngx_free(text->data);
        ngx_str_null(text);
    }

    *error = "is being written";

    return NGX_ERROR;

failed:

    ngx_free(text->data);
    ngx_str_null(text);

    return NGX_ERROR;
}


/* text->len bytes from the beginning; fewer when it became shorter. */

static ngx_int_t
ngx_mcp_watch_text(ngx_fd_t fd, ngx_str_t *text, const char **error,
    ngx_err_t *err)
{
    size_t   len;
    ssize_t  n;

    for (len = 0; len < text->len; len += n) {

        n = pread(fd, text->data + len, text->len - len, (off_t) len);

        if (n == -1) {
            if (ngx_errno == NGX_EINTR) {
                n = 0;
                continue;
            }

            *error = "cannot be read";
            *err = ngx_errno;
            return NGX_ERROR;
        }

        if (n == 0) {
            break;
        }
    }

    text->len = len;

    return NGX_OK;
}


static void
ngx_mcp_watch_stat(ngx_file_info_t *fi, ngx_mcp_watch_t *w)
{
    ngx_memzero(w, sizeof(ngx_mcp_watch_t));

    w->dev = (uint64_t) fi->st_dev;
    w->ino = (uint64_t) fi->st_ino;
    w->size = (uint64_t) fi->st_size;
    w->mtime = (uint64_t) fi->st_mtim.tv_sec * 1000000000
               + (uint64_t) fi->st_mtim.tv_nsec;
    w->ctime = (uint64_t) fi->st_ctim.tv_sec * 1000000000
               + (uint64_t) fi->st_ctim.tv_nsec;
}


static ngx_uint_t
ngx_mcp_watch_same(const ngx_mcp_watch_t *a, const ngx_mcp_watch_t *b)
{
    return a->dev == b->dev
           && a->ino == b->ino
           && a->size == b->size
           && a->mtime == b->mtime
           && a->ctime == b->ctime;
}


/* By the clock as it is, not as it was when this turn of the loop began. */

static uint64_t
ngx_mcp_watch_fresh(const ngx_mcp_watch_t *w)
{
    int64_t         age;
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    age = (int64_t) tv.tv_sec - (int64_t) (w->ctime / 1000000000);

    return age >= -NGX_MCP_WATCH_FRESH && age <= NGX_MCP_WATCH_FRESH;
}


/* FNV-1a.  It tells versions of one file apart; whoever could aim at it can
 * write the file. */

static uint64_t
ngx_mcp_watch_hash(ngx_str_t *text)
{
    size_t    i;
    uint64_t  h;

    h = 0xcbf29ce484222325;

    for (i = 0; i < text->len; i++) {
        h = (h ^ text->data[i]) * 0x100000001b3;
    }

    return h;
}
