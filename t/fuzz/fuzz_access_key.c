/*
 * mcp_access_key: tokens and their records.
 *
 * - A record that is read and written is read again to the same line; its
 *   strings can go into headers and logs.
 * - Who is calling with it has the roles that the record names, no other, and
 *   "*", which everyone has.
 * - A file is taken only with "end" as its last line; each of its records is
 *   found by its hash.
 * - A token with a byte altered is none.
 *
 * Input: "l" and a line, "f" and a file, or "t" and a token.
 */

#include "fuzz.h"
#include "mcp_access_key.h"


static void
principal(const mcp_access_key_t *k, fz_arena_t *a)
{
    unsigned          i, n;
    mcp_str_t         names[3] = {
        mcp_string("*"), mcp_string("eng"), mcp_string("ops")
    };
    mcp_principal_t  *p;

    p = mcp_access_key_principal(k, 3, names, 3, &a->mem);
    CHECK(p != NULL);

    for (n = 0; n < 3; n++) {
        for (i = 0; i < k->nroles && !fz_eq(&k->roles[i], &names[n]); i++) {
            /* void */
        }

        CHECK(!mcp_role_held(&p->roles, n) == (n && i == k->nroles));
    }

    CHECK(p->naudiences == k->nservers && p->exp == k->expires);
    CHECK(k->auth == MCP_AUTH_PAT ? p->user.len > 0 && p->iss.len > 0
                                  : p->user.len == 0 && p->iss.len == 0
                                    && p->client.len > 0);
}


static void
record(const mcp_str_t *line, fz_arena_t *a)
{
    char               one[2 * MCP_ACCESS_KEY_LINE];
    char               two[2 * MCP_ACCESS_KEY_LINE];
    mcp_buf_t          b, c;
    mcp_str_t          again;
    const char        *error;
    mcp_access_key_t   k;

    error = NULL;

    if (mcp_access_key_parse(line, &a->mem, &k, &error) != MCP_OK) {
        CHECK(error != NULL);
        return;
    }

    CHECK(k.auth == MCP_AUTH_PAT || k.auth == MCP_AUTH_VAT);
    CHECK(k.nroles > 0 && k.nservers > 0);
    CHECK(k.nroles <= MCP_ACCESS_KEY_ITEMS && k.nservers <= MCP_MAX_AUDIENCES);
    CHECK(fz_clean(&k.user) && fz_clean(&k.service) && fz_clean(&k.label));
    CHECK(fz_clean(&k.issuer) && fz_clean(&k.by) && fz_clean(&k.id));

    mcp_buf_init(&b, one, sizeof(one));
    mcp_access_key_write(&b, &k);
    CHECK(!b.overflow);

    again = fz_copy(a, one, (size_t) (b.pos - b.start));
    CHECK(mcp_access_key_parse(&again, &a->mem, &k, &error) == MCP_OK
          || again.len > MCP_ACCESS_KEY_LINE);

    if (again.len <= MCP_ACCESS_KEY_LINE) {
        mcp_buf_init(&c, two, sizeof(two));
        mcp_access_key_write(&c, &k);
        CHECK(c.pos - c.start == b.pos - b.start);
        CHECK(memcmp(one, two, again.len) == 0);
    }

    principal(&k, a);
}


static void
file(const mcp_str_t *text, fz_arena_t *a)
{
    size_t                   len;
    unsigned                 i, line;
    const char              *error;
    mcp_access_keys_t       *keys;
    const mcp_access_key_t  *k, *found;

    (void) a;
    error = NULL;

    keys = mcp_access_keys_parse(text, &error, &line);

    if (keys == NULL) {
        CHECK(error != NULL && (line > 0 || text->len == 0));
        return;
    }

    for (len = text->len; len && text->data[len - 1] == '\n'; len--) {
        /* void */
    }

    CHECK(len >= 3 && memcmp(text->data + len - 3, "end", 3) == 0);

    for (i = 0; (k = mcp_access_keys_get(keys, i)) != NULL; i++) {
        found = mcp_access_keys_find(keys, k->hash);
        CHECK(found != NULL && fz_eq(&found->id, &k->id));
    }

    mcp_access_keys_free(keys);
}


static void
token(const mcp_str_t *t, fz_arena_t *a)
{
    size_t     i;
    mcp_str_t  other;

    if (mcp_access_key_check(t) != MCP_OK) {
        return;
    }

    CHECK(mcp_access_key_kind(t) != 0 && t->len == MCP_ACCESS_KEY_LEN);

    for (i = 0; i < t->len; i++) {
        other = fz_copy(a, t->data, t->len);
        other.data[i] ^= 1;
        CHECK(mcp_access_key_check(&other) != MCP_OK);
    }
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

    switch (what) {

    case 'f':
        file(&text, &a);
        break;

    case 't':
        token(&text, &a);
        break;

    default:
        record(&text, &a);
    }

    fz_arena_free(&a);

    return 0;
}
