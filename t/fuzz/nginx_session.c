/*
 * Session ids (nginx/ngx_mcp_session.c): what the client sends as
 * Mcp-Session-Id, and what the upstream does.
 *
 * - An id of the upstream that is visible ASCII goes to the client sealed, and
 *   comes back as it was for the same caller; with any other byte in it, or
 *   twice, the response is refused.
 * - Altered, of another user or at another server, it is answered with 404, and
 *   nothing is told to the upstream.
 * - What was not sealed here does not open.
 * - In the 2026-07-28 era the header is taken away.
 *
 * Input: a byte of options, where and how the sealed id is altered, a line: the
 * upstream's id, and the rest: what a client made up.
 */

#include "ngx_fuzz.h"
#include "ngx_mcp_session.c"


ngx_module_t  ngx_http_mcp_auth_module = { .ctx_index = 0 };

static ngx_mcp_main_conf_t   mmcf;
static void                 *confs[] = { &mmcf };
static ngx_uint_t            answered;


ngx_int_t
ngx_mcp_conf_key_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *secret)
{
    return NGX_ERROR;
}


u_char *
ngx_mcp_zone_secret(ngx_mcp_zone_t *zone)
{
    return (u_char *) "0123456789abcdef0123456789abcdef";
}


void
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
}


ngx_int_t
ngx_mcp_reply_error(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t status, ngx_int_t code, const char *message,
    const char *reason)
{
    answered = status;

    return NGX_DONE;
}


typedef struct {
    ngx_http_request_t   r;
    ngx_mcp_ctx_t        ctx;
    mcp_principal_t      principal;
    mcp_message_t        message;
    ngx_mcp_server_t     server;
} caller_t;


static void
caller(caller_t *c, ngx_pool_t *pool, const char *server, const char *user)
{
    ngx_memzero(c, sizeof(*c));

    c->r.pool = pool;
    c->r.main_conf = confs;
    c->r.method = NGX_HTTP_POST;
    c->server.name.data = (u_char *) server;
    c->server.name.len = ngx_strlen(server);
    mcp_str_set(&c->principal.iss, "https://id.example.com");
    c->principal.user = fz_str(user);
    mcp_str_set(&c->principal.client, "client");
    c->message.kind = MCP_REQUEST;
    c->ctx.server = &c->server;
    c->ctx.principal = &c->principal;
    c->ctx.message = &c->message;

    CHECK(ngx_list_init(&c->r.headers_out.headers, pool, 4,
                        sizeof(ngx_table_elt_t))
          == NGX_OK);
}


static ngx_table_elt_t *
header(caller_t *c, mcp_str_t *value)
{
    ngx_table_elt_t  *h;
    ngx_list_part_t  *part;

    part = &c->r.headers_out.headers.part;
    h = (ngx_table_elt_t *) part->elts + part->nelts++;
    ngx_memzero(h, sizeof(*h));
    h->hash = 1;
    ngx_str_set(&h->key, "mcp-session-ID");
    h->value = *(ngx_str_t *) value;

    return h;
}


/* What the client said is what the upstream will be told, or it was answered
 * with 404. */

static ngx_uint_t
opens(ngx_pool_t *pool, const char *server, const char *user,
    const ngx_str_t *id, caller_t *c)
{
    ngx_int_t  rc;

    caller(c, pool, server, user);
    answered = 0;
    c->ctx.session = *id;

    rc = ngx_mcp_session_request(&c->r, &c->ctx);
    CHECK(rc == NGX_OK || (rc == NGX_DONE && answered == 404));
    CHECK(rc == NGX_OK || c->ctx.upstream_session.len == 0);

    return rc == NGX_OK;
}


static void
session(ngx_pool_t *pool, fz_arena_t *a, fz_in_t *in)
{
    size_t            i;
    caller_t          c, d;
    unsigned          options, where, how;
    ngx_int_t         rc;
    ngx_str_t         sealed;
    mcp_str_t         id, made_up, copy;
    ngx_uint_t        visible;
    ngx_table_elt_t  *h;

    options = fz_byte(in);
    where = fz_byte(in);
    how = fz_byte(in);
    id = fz_line(a, in);
    made_up = fz_rest(a, in);

    caller(&c, pool, "srv", "joe");
    c.message.era = options & 1 ? MCP_ERA_MODERN : MCP_ERA_LEGACY;
    c.message.elicit_url = !!(options & 2);
    h = header(&c, &id);

    if (options & 4) {
        (void) header(&c, &id);
    }

    visible = id.len > 0 && id.len <= NGX_MCP_SESSION_MAX;

    for (i = 0; i < id.len; i++) {
        visible &= id.data[i] > 0x20 && id.data[i] < 0x7f;
    }

    rc = ngx_mcp_session_response(&c.r, &c.ctx);
    CHECK(rc == NGX_OK || rc == NGX_DECLINED);
    CHECK(!(options & 4) || rc == NGX_DECLINED);

    if (rc == NGX_OK && options & 1) {
        CHECK(h->hash == 0);

    } else if (rc == NGX_OK) {
        CHECK(visible);
        sealed = h->value;
        CHECK(id.len < 12 || !fz_has((mcp_str_t *) &sealed, id.data, id.len));

        CHECK(opens(pool, "srv", "joe", &sealed, &d));
        CHECK(fz_eq((mcp_str_t *) &d.ctx.upstream_session, &id));
        CHECK(!d.ctx.session_elicit == !(options & 2));

        CHECK(!opens(pool, "srv2", "joe", &sealed, &d));
        CHECK(!opens(pool, "srv", "jo", &sealed, &d));

        if (how) {
            copy = fz_copy(a, sealed.data, sealed.len);
            copy.data[(where * 257 + how) % copy.len] ^= (u_char) how;
            CHECK(!opens(pool, "srv", "joe", (ngx_str_t *) &copy, &d));
        }

    } else {
        CHECK(!visible || options & 4);
    }

    CHECK(!opens(pool, "srv", "joe", (ngx_str_t *) &made_up, &d));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fz_in_t             in;
    fz_arena_t          a;
    ngx_pool_t         *pool;
    static ngx_uint_t   ready;

    if (!ready) {
        ready = 1;
        fz_nginx_init();
        CHECK(ngx_mcp_session_init_worker(&fz_cycle, &mmcf) == NGX_OK);
    }

    fz_arena_init(&a);
    pool = ngx_create_pool(1024, &fz_log);
    CHECK(pool != NULL);

    in = fz_in(data, size);
    session(pool, &a, &in);

    ngx_destroy_pool(pool);
    fz_arena_free(&a);

    return 0;
}
