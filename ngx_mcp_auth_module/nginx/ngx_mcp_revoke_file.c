/*
 * mcp_revocation_file.
 *
 * The master reads it with the configuration, so that nginx -t refuses one that
 * is broken, and a zone that is made new has it before any worker runs.  From
 * then on each worker looks at it, several times a second; the first one that
 * finds it changed parses it and publishes the whole of it.
 *
 * What was read last, by whichever worker, is in the zone.  Compared with that:
 * who was slow and published what had just been replaced is put right by the
 * next look.  A content that cannot be taken is remembered by each worker, so
 * that it is not parsed four times a second.
 *
 * Called by ngx_mcp_revoke.c alone.
 */

#include "ngx_mcp_revoke_file.h"


#define NGX_MCP_REVOKE_MAX    (64 * 1024 * 1024)    /* bytes of a file */
#define NGX_MCP_REVOKE_RETRY  5000      /* ms, when there is no room */

#define NGX_MCP_REVOKE_NEVER  ((uint64_t) -1)


/* a block that is being made */
typedef struct {
    ngx_uint_t               n;
    size_t                   lines;     /* bytes */
    ngx_mcp_revoke_block_t  *block;     /* NULL: only counting */
} ngx_mcp_revoke_build_t;


static void ngx_mcp_revoke_file_cleanup(void *data);
static ngx_mcp_revoke_block_t *ngx_mcp_revoke_file_block(ngx_str_t *text,
    const char **error, ngx_uint_t *line, ngx_log_t *log);
static int ngx_mcp_revoke_file_line(void *ctx, const mcp_revocation_t *r);
static int ngx_libc_cdecl ngx_mcp_revoke_file_order(const void *one,
    const void *two);
static void ngx_mcp_revoke_file_take(ngx_mcp_revoke_file_t *f,
    ngx_mcp_revoke_zone_t *zone, ngx_mcp_revoke_block_t *block,
    ngx_mcp_revoke_change_pt change, void *data);
static void ngx_mcp_revoke_file_complain(ngx_mcp_revoke_file_t *f,
    ngx_mcp_revoke_zone_t *zone, const char *error, ngx_uint_t line,
    ngx_err_t err);
static void ngx_mcp_revoke_file_changes(ngx_mcp_revoke_content_t *old,
    ngx_mcp_revoke_block_t *block, ngx_mcp_revoke_change_pt change,
    void *data);
static ngx_mcp_revoke_item_t *ngx_mcp_revoke_file_newest(
    ngx_mcp_revoke_block_t *block, ngx_uint_t *i);
static void ngx_mcp_revoke_file_tell(ngx_mcp_revoke_block_t *block,
    ngx_mcp_revoke_item_t *item, ngx_uint_t lifted,
    ngx_mcp_revoke_change_pt change, void *data);
static void *ngx_mcp_revoke_line_alloc(void *ctx, size_t size);


ngx_mcp_revoke_file_t *
ngx_mcp_revoke_file_conf(ngx_conf_t *cf, ngx_str_t *path)
{
    ngx_err_t               err;
    ngx_str_t               text;
    ngx_uint_t              line;
    const char             *error;
    ngx_pool_cleanup_t     *cln;
    ngx_mcp_revoke_file_t  *f;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_mcp_revoke_file_t));
    if (cln == NULL) {
        return NULL;
    }

    f = cln->data;
    ngx_memzero(f, sizeof(ngx_mcp_revoke_file_t));

    cln->handler = ngx_mcp_revoke_file_cleanup;

    f->path = *path;

    if (ngx_conf_full_name(cf->cycle, &f->path, 1) != NGX_OK) {
        return NULL;
    }

    if (ngx_mcp_watch_read(&f->path, NGX_MCP_REVOKE_MAX, &f->watch, &f->watch,
                           &text, &error, &err, cf->log)
        == NGX_ERROR)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "mcp_revocation_file \"%V\" %s", &f->path, error);
        return NULL;
    }

    f->first = ngx_mcp_revoke_file_block(&text, &error, &line, cf->log);

    ngx_free(text.data);

    if (f->first == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_revocation_file \"%V\", line %ui: %s",
                           &f->path, line, error);
        return NULL;
    }

    return f;
}


static void
ngx_mcp_revoke_file_cleanup(void *data)
{
    ngx_mcp_revoke_file_t *f = data;

    if (f->first) {
        ngx_free(f->first);
        f->first = NULL;
    }
}


void
ngx_mcp_revoke_file_init(ngx_mcp_revoke_file_t *f)
{
    f->serial = NGX_MCP_REVOKE_NEVER;
    f->retry = 0;
    f->error = NULL;
}


/* NULL: *error (static) and *line; 0 when it is not about the text. */

static ngx_mcp_revoke_block_t *
ngx_mcp_revoke_file_block(ngx_str_t *text, const char **error,
    ngx_uint_t *line, ngx_log_t *log)
{
    int                      rc;
    size_t                   size;
    unsigned                 at;
    ngx_mcp_revoke_build_t   b;

    ngx_memzero(&b, sizeof(ngx_mcp_revoke_build_t));
    at = 0;

    rc = mcp_revocation_file((mcp_str_t *) text, ngx_mcp_revoke_file_line, &b,
                             error, &at);
    if (rc != MCP_OK) {
        *line = ngx_max(at, 1);
        return NULL;
    }

    size = offsetof(ngx_mcp_revoke_block_t, items)
           + b.n * sizeof(ngx_mcp_revoke_item_t);

    b.block = ngx_alloc(ngx_max(size + b.lines,
                                sizeof(ngx_mcp_revoke_block_t)), log);

    if (b.block == NULL) {
        *error = "cannot be read: no memory";
        *line = 0;
        return NULL;
    }

    b.block->size = size;
    b.block->n = 0;

    (void) mcp_revocation_file((mcp_str_t *) text, ngx_mcp_revoke_file_line,
                               &b, error, &at);

    ngx_qsort(b.block->items, b.block->n, sizeof(ngx_mcp_revoke_item_t),
              ngx_mcp_revoke_file_order);

    return b.block;
}


/* Counts, or fills; a line that lifts has nothing to lift in a file. */

static int
ngx_mcp_revoke_file_line(void *ctx, const mcp_revocation_t *r)
{
    ngx_mcp_revoke_build_t *b = ctx;

    u_char                   line[NGX_MCP_REVOKE_LINE];
    size_t                   len;
    ngx_mcp_revoke_item_t   *item;
    ngx_mcp_revoke_block_t  *block;

    if (r->at == 0) {
        return MCP_OK;
    }

    len = ngx_mcp_revoke_zone_line(r, line);
    block = b->block;

    if (block == NULL) {
        b->n++;
        b->lines += len;

        return MCP_OK;
    }

    item = &block->items[block->n++];

    mcp_revocation_name(r, item->name);
    item->at = r->at;
    item->until = r->until;
    item->line = (uint32_t) block->size;
    item->len = (uint32_t) len;

    ngx_memcpy((u_char *) block + block->size, line, len);
    block->size += len;

    return MCP_OK;
}


static int ngx_libc_cdecl
ngx_mcp_revoke_file_order(const void *one, const void *two)
{
    const ngx_mcp_revoke_item_t  *a, *b;

    a = one;
    b = two;

    return ngx_memcmp(a->name, b->name, MCP_REVOCATION_NAME);
}


void
ngx_mcp_revoke_file_look(ngx_mcp_revoke_file_t *f, ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_revoke_change_pt change, void *data)
{
    uint64_t                 serial;
    ngx_err_t                err;
    ngx_int_t                rc;
    ngx_str_t                text;
    const char              *error;
    ngx_mcp_watch_t          watch;
    ngx_mcp_revoke_block_t  *block;

    if (f->retry && (ngx_msec_int_t) (f->retry - ngx_current_msec) > 0) {
        return;
    }

    f->retry = 0;

    if (ngx_mcp_revoke_zone_watch(zone, &watch, &serial) != NGX_OK) {
        return;
    }

    if (serial != f->serial) {

        /* another worker was there, or the table began anew */

        f->serial = serial;
        f->seen = watch;
        f->error = NULL;
    }

    rc = ngx_mcp_watch_read(&f->path, NGX_MCP_REVOKE_MAX, &f->seen, &f->seen,
                            &text, &error, &err, ngx_cycle->log);

    if (rc == NGX_ERROR) {
        ngx_mcp_revoke_file_complain(f, zone, error, 0, err);
        return;
    }

    if (rc == NGX_OK) {
        block = ngx_mcp_revoke_file_block(&text, &f->error, &f->line,
                                          ngx_cycle->log);
        ngx_free(text.data);

        if (block) {
            f->error = NULL;
            ngx_mcp_revoke_file_take(f, zone, block, change, data);
            ngx_free(block);

            return;
        }

        if (f->line == 0) {

            /* not about the text, which may be right: it is tried again */

            f->serial = NGX_MCP_REVOKE_NEVER;
        }
    }

    if (f->error) {
        ngx_mcp_revoke_file_complain(f, zone, f->error, f->line, 0);

    } else {
        ngx_mcp_revoke_zone_head(zone)->broken = 0;
    }
}


/* Whatever goes wrong, the next look compares with what the zone has. */

static void
ngx_mcp_revoke_file_take(ngx_mcp_revoke_file_t *f, ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_revoke_block_t *block, ngx_mcp_revoke_change_pt change, void *data)
{
    ngx_int_t                 rc;
    ngx_mcp_revoke_content_t  old;

    f->serial = NGX_MCP_REVOKE_NEVER;

    if (ngx_mcp_revoke_zone_content(zone, &old) != NGX_OK) {
        return;
    }

    rc = ngx_mcp_revoke_zone_publish(zone, old.serial, &f->seen, block);

    if (rc == NGX_ERROR) {
        f->retry = ngx_max(ngx_current_msec + NGX_MCP_REVOKE_RETRY, 1);

        ngx_mcp_revoke_file_complain(f, zone, "does not fit into "
                                     "mcp_revocation_zone, raise it", 0, 0);
    }

    if (rc == NGX_OK) {
        f->serial = old.serial + 1;
        ngx_mcp_revoke_zone_head(zone)->broken = 0;

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "mcp_revocation_file \"%V\" was read, %ui entries",
                      &f->path, block->n);

        ngx_mcp_revoke_file_changes(&old, block, change, data);
    }

    if (old.block) {
        ngx_free(old.block);
    }
}


/* line is 0 when it is about the file as such. */

static void
ngx_mcp_revoke_file_complain(ngx_mcp_revoke_file_t *f,
    ngx_mcp_revoke_zone_t *zone, const char *error, ngx_uint_t line,
    ngx_err_t err)
{
    uint64_t                what;
    const char             *then;
    ngx_mcp_revoke_head_t  *head;

    head = ngx_mcp_revoke_zone_head(zone);
    head->broken = 1;

    what = (uint64_t) (uintptr_t) error ^ (uint64_t) line << 40
           ^ (uint64_t) err << 24;

    if (!ngx_mcp_revoke_zone_complain(zone, what, ngx_time())) {
        return;
    }

    then = (head->loaded & NGX_MCP_REVOKE_FILE)
           ? "what it had before stays in force"
           : "requests are refused until it can be taken (503)";

    if (line) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "mcp_revocation_file \"%V\", line %ui: %s; %s",
                      &f->path, line, error, then);

    } else {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "mcp_revocation_file \"%V\" %s; %s", &f->path, error,
                      then);
    }
}


/*
 * Both contents in the order of their names.  When nothing was there to compare
 * with, what is dated after the last change is new.
 */

static void
ngx_mcp_revoke_file_changes(ngx_mcp_revoke_content_t *old,
    ngx_mcp_revoke_block_t *block, ngx_mcp_revoke_change_pt change, void *data)
{
    int                     rc;
    ngx_uint_t              i, j, nold;
    ngx_mcp_revoke_item_t  *was, *is;

    nold = old->loaded && old->block ? old->block->n : 0;

    i = 0;
    j = 0;

    while (i < nold || j < block->n) {

        rc = (i == nold) ? 1
             : (j == block->n) ? -1
             : ngx_memcmp(old->block->items[i].name, block->items[j].name,
                          MCP_REVOCATION_NAME);

        was = (rc <= 0) ? ngx_mcp_revoke_file_newest(old->block, &i) : NULL;
        is = (rc >= 0) ? ngx_mcp_revoke_file_newest(block, &j) : NULL;

        if (is == NULL) {

            /* what ran out was not lifted */

            if (was->until == 0 || was->until > (int64_t) ngx_time()) {
                ngx_mcp_revoke_file_tell(old->block, was, 1, change, data);
            }

        } else if (was == NULL) {

            if (old->loaded || is->at >= (int64_t) old->since) {
                ngx_mcp_revoke_file_tell(block, is, 0, change, data);
            }

        } else if (was->at != is->at || was->until != is->until) {
            ngx_mcp_revoke_file_tell(block, is, 0, change, data);
        }
    }
}


/* Of the items with the name of items[*i]; *i goes behind them. */

static ngx_mcp_revoke_item_t *
ngx_mcp_revoke_file_newest(ngx_mcp_revoke_block_t *block, ngx_uint_t *i)
{
    ngx_mcp_revoke_item_t  *newest, *item;

    newest = &block->items[*i];

    for ((*i)++; *i < block->n; (*i)++) {
        item = &block->items[*i];

        if (ngx_memcmp(item->name, newest->name, MCP_REVOCATION_NAME) != 0) {
            break;
        }

        if (item->at > newest->at) {
            newest = item;
        }
    }

    return newest;
}


static void
ngx_mcp_revoke_file_tell(ngx_mcp_revoke_block_t *block,
    ngx_mcp_revoke_item_t *item, ngx_uint_t lifted,
    ngx_mcp_revoke_change_pt change, void *data)
{
    u_char            buf[NGX_MCP_REVOKE_LINE];
    mcp_revocation_t  r;

    if (ngx_mcp_revoke_line((u_char *) block + item->line, item->len, buf, &r)
        == NGX_OK)
    {
        change(data, &r, lifted);
    }
}


ngx_int_t
ngx_mcp_revoke_line(u_char *line, size_t len, u_char *buf, mcp_revocation_t *r)
{
    mcp_mem_t    mem;
    mcp_buf_t    b;
    mcp_str_t    text;
    const char  *error;

    mcp_buf_init(&b, buf, NGX_MCP_REVOKE_LINE);

    mem.alloc = ngx_mcp_revoke_line_alloc;
    mem.ctx = &b;

    text.data = line;
    text.len = len;

    return mcp_revocation_parse(&text, &mem, r, &error) == MCP_OK ? NGX_OK
                                                                  : NGX_ERROR;
}


/* Strings only, which need no alignment; what a line has fits. */

static void *
ngx_mcp_revoke_line_alloc(void *ctx, size_t size)
{
    mcp_buf_t *b = ctx;

    void  *p;

    if ((size_t) (b->end - b->pos) < size) {
        return NULL;
    }

    p = b->pos;
    b->pos += size;

    return p;
}
