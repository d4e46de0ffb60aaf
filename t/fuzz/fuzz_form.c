/*
 * mcp_form, and of mcp_connect the URL with which a browser leaves.
 *
 * - What was read from a query, written and read again, is the same; no name
 *   is there twice, nor a NUL.
 * - An authorization request has each of our parameters once, with our value,
 *   whatever stands in the endpoint's query, and is a URL without spaces and
 *   controls.
 * - What is missing of the scopes that were wanted is one of them.
 *
 * Input: "f" and a query; "a" and lines: endpoint, extra, client_id,
 * redirect_uri, scope; "m" and lines: wanted, granted, provider.
 */

#include "fuzz.h"
#include "mcp_connect.h"
#include "mcp_form.h"


static void
query(const mcp_str_t *text, fz_arena_t *a)
{
    char        *name, buf[65536];
    unsigned     i, k;
    mcp_buf_t    b;
    mcp_str_t    again, v;
    mcp_form_t   f, g;

    if (mcp_form_parse(text, &a->mem, &f) != MCP_OK) {
        return;
    }

    CHECK(f.n <= MCP_FORM_FIELDS);
    mcp_buf_init(&b, buf, sizeof(buf));

    for (i = 0; i < f.n; i++) {
        CHECK(memchr(f.fields[i].name.data, '\0', f.fields[i].name.len)
              == NULL);
        CHECK(f.fields[i].value.len == 0
              || memchr(f.fields[i].value.data, '\0', f.fields[i].value.len)
                 == NULL);

        for (k = 0; k < i; k++) {
            CHECK(!fz_eq(&f.fields[i].name, &f.fields[k].name));
        }

        if (i) {
            mcp_buf_lit(&b, "&");
        }

        mcp_form_escape(&b, &f.fields[i].name);
        mcp_buf_lit(&b, "=");
        mcp_form_escape(&b, &f.fields[i].value);
    }

    if (b.overflow) {
        return;
    }

    again = fz_copy(a, buf, (size_t) (b.pos - b.start));
    CHECK(mcp_form_parse(&again, &a->mem, &g) == MCP_OK && g.n == f.n);

    for (i = 0; i < f.n; i++) {
        CHECK(fz_eq(&f.fields[i].name, &g.fields[i].name));
        CHECK(fz_eq(&f.fields[i].value, &g.fields[i].value));

        name = strndup((char *) f.fields[i].name.data, f.fields[i].name.len);
        k = (unsigned) mcp_form_get(&f, name, &v);
        CHECK(((int) k == MCP_OK) == (f.fields[i].value.len > 0));
        CHECK(f.fields[i].value.len == 0 || fz_eq(&v, &f.fields[i].value));
        free(name);
    }
}


/* How often is this parameter there, and is its value v?  As any server
 * reads: names are decoded, "&" parts fields. */

static unsigned
times(const mcp_str_t *url, const char *name, const mcp_str_t *v)
{
    char                  decoded[65536];
    size_t                n, i;
    unsigned              found;
    const unsigned char  *p, *end, *q;

    found = 0;
    end = url->data + url->len;
    p = memchr(url->data, '?', url->len);

    while (p && p < end) {
        p++;
        q = memchr(p, '&', (size_t) (end - p));
        q = q ? q : end;

        for (n = 0; p < q && n < sizeof(decoded); n++) {
            if (*p == '%' && q - p >= 3) {
                decoded[n] = (char) strtol((char[]) { (char) p[1],
                                           (char) p[2], 0 }, NULL, 16);
                p += 3;

            } else {
                decoded[n] = *p == '+' ? ' ' : (char) *p;
                p++;
            }
        }

        i = strlen(name);

        if (n > i && memcmp(decoded, name, i) == 0 && decoded[i] == '=') {
            found++;
            CHECK(v == NULL || (n - i - 1 == v->len
                                && memcmp(decoded + i + 1, v->data, v->len)
                                   == 0));
        }

        p = q;
    }

    return found;
}


static void
away(fz_in_t *in, fz_arena_t *a)
{
    int                 rc;
    char                buf[32768];
    size_t              i;
    mcp_buf_t           b;
    mcp_str_t           url, code = mcp_string("code");
    const char         *error;
    mcp_connect_away_t  w;

    memset(&w, 0, sizeof(w));
    w.endpoint = fz_line(a, in);
    w.extra = fz_line(a, in);
    w.client_id = fz_line(a, in);
    w.redirect_uri = fz_line(a, in);
    w.scope = fz_line(a, in);
    w.state = fz_str("state-1");
    w.nonce = fz_str("nonce-1");
    w.verifier = fz_str("verifier-0123456789-0123456789-0123456789-0");

    /* both are of the configuration, where they are URL and query already */

    for (i = 0; i < w.endpoint.len; i++) {
        if (w.endpoint.data[i] <= 0x20 || w.endpoint.data[i] >= 0x7f
            || w.endpoint.data[i] == '#')
        {
            return;
        }
    }

    for (i = 0; i < w.extra.len; i++) {
        if (w.extra.data[i] <= 0x20 || w.extra.data[i] >= 0x7f
            || w.extra.data[i] == '#')
        {
            return;
        }
    }

    /* nor is anything of ours in the extra, which is of the presets */

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_buf_lit(&b, "?");
    mcp_buf_str(&b, &w.extra);
    url.data = b.start;
    url.len = (size_t) (b.pos - b.start);

    if (b.overflow || mcp_connect_endpoint(&url)) {
        return;
    }

    error = mcp_connect_endpoint(&w.endpoint);
    mcp_buf_init(&b, buf, sizeof(buf));
    rc = mcp_connect_away(&b, &w);

    CHECK(rc == MCP_ERROR || error == NULL);

    if (rc != MCP_OK) {
        return;
    }

    url.data = b.start;
    url.len = (size_t) (b.pos - b.start);

    for (i = 0; i < url.len; i++) {
        CHECK(url.data[i] > 0x20 && url.data[i] < 0x7f);
    }

    if (getenv("FZ_SHOW")) fprintf(stderr, "%.*s\n", (int) url.len, url.data);
    CHECK(times(&url, "state", &w.state) == 1);
    CHECK(times(&url, "response_type", &code) == 1);
    CHECK(times(&url, "code_challenge", NULL) == 1);
    CHECK(times(&url, "nonce", &w.nonce) == 1);
    CHECK(w.redirect_uri.len == 0
          || times(&url, "redirect_uri", &w.redirect_uri) == 1);
    CHECK(w.client_id.len == 0
          || times(&url, "client_id", &w.client_id) == 1);
}


static void
missing(fz_in_t *in, fz_arena_t *a)
{
    char       *name;
    mcp_str_t   wanted, granted, provider, m;

    wanted = fz_line(a, in);
    granted = fz_line(a, in);
    provider = fz_line(a, in);
    name = strndup((char *) provider.data, provider.len);

    m = mcp_connect_missing(&wanted, &granted, name);

    if (m.len) {
        CHECK(fz_has(&wanted, m.data, m.len));
    }

    CHECK(mcp_connect_missing(&wanted, &wanted, name).len == 0);

    free(name);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fz_in_t     in;
    unsigned    what;
    mcp_str_t   text;
    fz_arena_t  a;

    fz_arena_init(&a);
    in = fz_in(data, size);
    what = fz_byte(&in);

    if (what == 'a') {
        away(&in, &a);

    } else if (what == 'm') {
        missing(&in, &a);

    } else {
        text = fz_rest(&a, &in);
        query(&text, &a);
    }

    fz_arena_free(&a);

    return 0;
}
