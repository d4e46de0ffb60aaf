/*
 * mcp_revocation: a line that is read and written is read again to the same
 * one, its strings can go into logs, what it is found by is one of the names
 * that concern a caller of whom it speaks; a file is taken only with its "end".
 *
 * Input: "l" and a line, "f" and a file.
 */

#include "fuzz.h"
#include "mcp_revocation.h"


/* The caller of whom it speaks is concerned. */

static void
concerns(const mcp_revocation_t *r)
{
    unsigned         i, n;
    unsigned char    name[MCP_REVOCATION_NAME];
    unsigned char    names[MCP_REVOCATION_NAMES][MCP_REVOCATION_NAME];
    mcp_principal_t  p;

    memset(&p, 0, sizeof(p));
    p.kind = MCP_CALLER_USER;
    p.auth = MCP_AUTH_JWT;
    p.iss = r->issuer;
    p.user = r->value;
    p.client = r->value;
    p.token_id = r->value;

    if (r->type == MCP_REVOKE_CLIENT && r->issuer.len == 0) {
        p.kind = MCP_CALLER_SERVICE;
        p.auth = MCP_AUTH_VAT;
        mcp_str_null(&p.user);
    }

    mcp_revocation_name(r, name);
    n = mcp_revocation_names(&p, names);
    CHECK(n <= MCP_REVOCATION_NAMES);

    for (i = 0; i < n && memcmp(names[i], name, sizeof(name)) != 0; i++) {
        /* void */
    }

    CHECK(i < n || r->value.len == 0 || r->issuer.len == 0);
    CHECK(i < n || (r->type != MCP_REVOKE_ALL));
}


static void
line(const mcp_str_t *text, fz_arena_t *a)
{
    char              one[8192], two[8192];
    mcp_buf_t         b, c;
    mcp_str_t         again;
    const char       *error;
    mcp_revocation_t  r;

    error = NULL;

    if (mcp_revocation_parse(text, &a->mem, &r, &error) != MCP_OK) {
        CHECK(error != NULL);
        return;
    }

    CHECK(r.type >= MCP_REVOKE_ALL && r.type <= MCP_REVOKE_TOKEN);
    CHECK(fz_clean(&r.issuer) && fz_clean(&r.value));
    CHECK(fz_clean(&r.by) && fz_clean(&r.reason));

    mcp_buf_init(&b, one, sizeof(one));
    mcp_revocation_write(&b, &r);
    CHECK(!b.overflow);

    again = fz_copy(a, one, (size_t) (b.pos - b.start));

    if (again.len <= MCP_REVOCATION_LINE) {
        CHECK(mcp_revocation_parse(&again, &a->mem, &r, &error) == MCP_OK);

        mcp_buf_init(&c, two, sizeof(two));
        mcp_revocation_write(&c, &r);
        CHECK(c.pos - c.start == b.pos - b.start);
        CHECK(memcmp(one, two, again.len) == 0);
    }

    concerns(&r);
    CHECK(mcp_revocation_covers(r.at, r.at, 0) == (r.at > 0));
    CHECK(mcp_revocation_covers(r.at, r.at + 1, 0) == 0);
}


static int
each(void *ctx, const mcp_revocation_t *r)
{
    unsigned  *n = ctx;

    CHECK(r->at >= 0);
    ++*n;

    return MCP_OK;
}


static void
file(const mcp_str_t *text)
{
    int          rc;
    size_t       len;
    unsigned     n, where;
    const char  *error;

    n = 0;
    error = NULL;
    rc = mcp_revocation_file(text, NULL, NULL, &error, &where);

    if (rc != MCP_OK) {
        CHECK(error != NULL && (where > 0 || text->len == 0));
        return;
    }

    CHECK(mcp_revocation_file(text, each, &n, &error, &where) == MCP_OK);

    for (len = text->len; len && text->data[len - 1] == '\n'; len--) {
        /* void */
    }

    CHECK(len >= 3 && memcmp(text->data + len - 3, "end", 3) == 0);
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
    text = fz_rest(&a, &in);

    if (what == 'f') {
        file(&text);

    } else {
        line(&text, &a);
    }

    fz_arena_free(&a);

    return 0;
}
