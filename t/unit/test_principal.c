/*
 * mcp_principal: audiences, scopes, and the packed form, whose reader must
 * survive any damage to shared memory.
 */

#include "jose_fixture.h"

#include <time.h>

#include "mcp_principal.h"


static mcp_str_t    audiences[MCP_MAX_AUDIENCES + 1];
static mcp_claim_t  claims[MCP_MAX_CLAIMS + 1];


static mcp_principal_t
principal(unsigned naudiences, unsigned nclaims)
{
    unsigned         i;
    mcp_principal_t  p;

    memset(&p, 0, sizeof(p));

    p.kind = MCP_CALLER_USER;
    p.auth = MCP_AUTH_JWT;
    p.issuer = 3;
    mcp_str_set(&p.iss, "https://id.example.com");
    mcp_str_set(&p.user, "00u1");
    mcp_str_set(&p.client, "0oa1");
    mcp_str_set(&p.token_id, "AT.1");
    mcp_str_set(&p.scopes, "openid jira.use");
    mcp_role_set(&p.roles, 0);
    mcp_role_set(&p.roles, 255);
    p.exp = 1700000300;
    p.iat = 1699999900;

    for (i = 0; i < naudiences; i++) {
        audiences[i] = fx_str(fx_printf("https://mcp.example.com/%u", i));
    }

    for (i = 0; i < nclaims; i++) {
        claims[i].name = fx_str(fx_printf("claim%u", i));
        claims[i].value = fx_str(fx_printf("%.*s", (int) (i % 5), "value"));
    }

    p.audiences = audiences;
    p.naudiences = naudiences;
    p.claims = claims;
    p.nclaims = nclaims;

    return p;
}


static void
check_equal(const mcp_principal_t *a, const mcp_principal_t *b)
{
    unsigned  i;

    assert_non_null(b);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->auth, b->auth);
    assert_int_equal(a->issuer, b->issuer);
    assert_true(mcp_str_eq(&a->iss, &b->iss));
    assert_true(mcp_str_eq(&a->user, &b->user));
    assert_true(mcp_str_eq(&a->client, &b->client));
    assert_true(mcp_str_eq(&a->token_id, &b->token_id));
    assert_true(mcp_str_eq(&a->scopes, &b->scopes));
    assert_memory_equal(&a->roles, &b->roles, sizeof(mcp_roles_t));
    assert_int_equal(a->exp, b->exp);
    assert_int_equal(a->iat, b->iat);
    assert_int_equal(a->naudiences, b->naudiences);
    assert_int_equal(a->nclaims, b->nclaims);

    for (i = 0; i < a->naudiences; i++) {
        assert_true(mcp_str_eq(&a->audiences[i], &b->audiences[i]));
    }

    for (i = 0; i < a->nclaims; i++) {
        assert_true(mcp_str_eq(&a->claims[i].name, &b->claims[i].name));
        assert_true(mcp_str_eq(&a->claims[i].value, &b->claims[i].value));
    }
}


/* Every byte that p points to is read: a sanitizer sees what leads astray. */

static unsigned
touch(const mcp_principal_t *p)
{
    size_t           j;
    unsigned         i, sum;
    const mcp_str_t *s[5];

    sum = 0;
    s[0] = &p->iss;
    s[1] = &p->user;
    s[2] = &p->client;
    s[3] = &p->token_id;
    s[4] = &p->scopes;

#define touch_str(x)                                                          \
    for (j = 0; j < (x)->len; j++) {                                          \
        sum += (x)->data[j];                                                  \
    }

    for (i = 0; i < 5; i++) {
        touch_str(s[i]);
    }

    for (i = 0; i < p->naudiences; i++) {
        touch_str(&p->audiences[i]);
    }

    for (i = 0; i < p->nclaims; i++) {
        touch_str(&p->claims[i].name);
        touch_str(&p->claims[i].value);
    }

    return sum;
}


static void
test_pack(void **state)
{
    size_t            size;
    unsigned          i;
    unsigned char    *packed;
    mcp_principal_t   p, *q;

    static const unsigned  counts[][2] = {
        { 0, 0 }, { 1, 0 }, { 0, 1 }, { 3, 2 },
        { MCP_MAX_AUDIENCES, MCP_MAX_CLAIMS }
    };

    (void) state;

    for (i = 0; i < fx_count(counts); i++) {
        p = principal(counts[i][0], counts[i][1]);

        if (i == 1) {
            p.kind = MCP_CALLER_SERVICE;
            p.auth = MCP_AUTH_VAT;
            mcp_str_null(&p.user);
        }

        size = mcp_principal_packed_size(&p);
        packed = fx_alloc(size + 1);

        /* at an odd address, at the exact size */

        packed++;
        mcp_principal_pack(&p, packed);
        q = mcp_principal_unpack(packed, size, &fx_mem);
        check_equal(&p, q);

        /* nothing points back */

        memset(packed, 0, size);
        check_equal(&p, q);

        /* packing what was unpacked, and the copy */

        mcp_principal_pack(q, packed);
        check_equal(&p, mcp_principal_unpack(packed, size, &fx_mem));
        check_equal(&p, mcp_principal_dup(&p, &fx_mem));

        /* a longer place is as good, a shorter one is not */

        memset(packed, 0, size);
        mcp_principal_pack(&p, packed);
        assert_null(mcp_principal_unpack(packed, size - 1, &fx_mem));
        assert_null(mcp_principal_unpack(packed, 0, &fx_mem));
    }
}


static void
test_pack_too_many(void **state)
{
    size_t            size;
    unsigned char    *packed;
    mcp_principal_t   p, *q;

    (void) state;

    p = principal(MCP_MAX_AUDIENCES + 1, MCP_MAX_CLAIMS + 1);
    size = mcp_principal_packed_size(&p);
    packed = fx_alloc(size);
    mcp_principal_pack(&p, packed);
    q = mcp_principal_unpack(packed, size, &fx_mem);

    assert_non_null(q);
    assert_int_equal(q->naudiences, MCP_MAX_AUDIENCES);
    assert_int_equal(q->nclaims, MCP_MAX_CLAIMS);
}


static void
test_out_of_memory(void **state)
{
    size_t            size;
    unsigned char    *packed;
    mcp_principal_t   p;

    (void) state;

    p = principal(2, 2);
    size = mcp_principal_packed_size(&p);
    packed = fx_alloc(size);
    mcp_principal_pack(&p, packed);

    fx_fail_at = 0;
    assert_null(mcp_principal_unpack(packed, size, &fx_mem));
    assert_null(mcp_principal_dup(&p, &fx_mem));
    fx_fail_at = -1;
}


/* Each byte of the head and of the lengths, each truncation, then chance. */

static void
test_damage(void **state)
{
    size_t            i, n, size, len, good;
    clock_t           end;
    unsigned          bit;
    fx_block_t       *keep;
    unsigned char    *packed, *bad;
    mcp_principal_t   p, *q;

    (void) state;

    p = principal(3, 3);
    size = mcp_principal_packed_size(&p);
    packed = fx_alloc(size);
    mcp_principal_pack(&p, packed);

    for (i = 0; i < size; i++) {
        bad = fx_alloc(i ? i : 1);
        memcpy(bad, packed, i);
        assert_null(mcp_principal_unpack(bad, i, &fx_mem));
    }

    for (i = 0; i < size; i++) {
        for (bit = 0; bit < 8; bit++) {
            bad = fx_alloc(size);
            memcpy(bad, packed, size);
            bad[i] ^= (unsigned char) (1u << bit);
            q = mcp_principal_unpack(bad, size, &fx_mem);

            if (q != NULL) {
                (void) touch(q);
            }

            /* magic, size, kind, auth and counts: never taken */

            if (i < 8) {
                assert_null(q);
            }
        }
    }

    keep = fx_blocks;
    good = 0;
    end = clock() + CLOCKS_PER_SEC;

    while (clock() < end) {
        len = fx_random() % 8 ? size : fx_random() % (2 * size);
        bad = fx_alloc(len ? len : 1);

        for (i = 0; i < len; i++) {
            bad[i] = i < size ? packed[i] : (unsigned char) fx_random();
        }

        n = 1 + fx_random() % 4;

        for (i = 0; i < n && len; i++) {
            bad[fx_random() % len] = (unsigned char) (fx_random() % 3
                                                      ? fx_random() % 8
                                                      : fx_random());
        }

        q = mcp_principal_unpack(bad, len, &fx_mem);

        if (q != NULL) {
            (void) touch(q);
            assert_true(q->naudiences <= MCP_MAX_AUDIENCES);
            assert_true(q->nclaims <= MCP_MAX_CLAIMS);
            assert_true(q->kind == MCP_CALLER_USER
                        || q->kind == MCP_CALLER_SERVICE);
            assert_true(q->auth >= MCP_AUTH_JWT && q->auth <= MCP_AUTH_VAT);
            good++;
        }

        fx_release_to(keep);
    }

    assert_true(good > 10);
}


static void
test_audience(void **state)
{
    size_t           i;
    mcp_str_t        wanted[2];
    mcp_principal_t  p;

    static const struct {
        const char  *wanted;
        int          yes;
    } rows[] = {
        { "https://mcp.example.com/0", 1 },
        { "https://mcp.example.com/2", 1 },
        { "https://mcp.example.com/3", 0 },
        { "https://mcp.example.com/", 0 },
        { "https://mcp.example.com/00", 0 },
        { "https://mcp.example.com/0/", 0 },
        { "https://MCP.example.com/0", 0 },
        { "", 0 }
    };

    (void) state;

    p = principal(3, 0);

    for (i = 0; i < fx_count(rows); i++) {
        wanted[0] = fx_str("other");
        wanted[1] = fx_str(rows[i].wanted);
        assert_int_equal(mcp_principal_audience(&p, wanted, 2), rows[i].yes);
        assert_int_equal(mcp_principal_audience(&p, wanted, 1), 0);
        assert_int_equal(mcp_principal_audience(&p, wanted, 0), 0);
    }

    p.naudiences = 0;
    wanted[0] = fx_str("https://mcp.example.com/0");
    assert_int_equal(mcp_principal_audience(&p, wanted, 1), 0);
}


static void
test_scope(void **state)
{
    size_t     i;
    mcp_str_t  scopes, scope;

    static const struct {
        const char  *scopes;
        const char  *scope;
        int          yes;
    } rows[] = {
        { "a", "a", 1 },
        { "a b", "a", 1 },
        { "a b", "b", 1 },
        { "a bb c", "bb", 1 },
        { "a bb c", "b", 0 },
        { "jira.use", "jira", 0 },
        { "jira", "jira.use", 0 },
        { "a b", "a b", 0 },
        { "a b", "", 0 },
        { "a b", " ", 0 },
        { "", "a", 0 },
        { "", "", 0 },
        { "A", "a", 0 },
        { "  a  ", "a", 1 },
        { "  a  ", "", 0 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        scopes = fx_str(rows[i].scopes);
        scope = fx_str(rows[i].scope);

        if (mcp_scope_has(&scopes, &scope) != rows[i].yes) {
            fail_msg("\"%s\" in \"%s\"", rows[i].scope, rows[i].scopes);
        }
    }

    mcp_str_null(&scopes);
    scope = fx_str("a");
    assert_int_equal(mcp_scope_has(&scopes, &scope), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_pack_too_many),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_audience),
        cmocka_unit_test(test_scope)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
