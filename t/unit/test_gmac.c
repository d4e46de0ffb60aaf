/*
 * mcp_gmac: the same as the openssl command makes, however the text comes in
 * pieces, and whatever a context was used for before.
 *
 * The vectors: K is the key in hex, and H=$(openssl kdf -keylen 32
 *     -kdfopt digest:SHA256 -kdfopt hexkey:$K
 *     -kdfopt hexinfo:64696765737400676d6163 HKDF)   ("digest", NUL, "gmac");
 * up to 1024 bytes: openssl dgst -sha256 -mac HMAC -macopt hexkey:$K; of more,
 * what is hashed are the first 1024 bytes and behind them, of the rest,
 *     openssl mac -cipher AES-256-GCM -macopt hexkey:$H
 *         -macopt hexiv:000000000000000000000000 -binary GMAC
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_gmac.h"


static unsigned char  text[22000];


static int
set_up(void **state)
{
    static mcp_gmac_t     g;
    static unsigned char  key[MCP_DIGEST_KEY];

    memset(key, 'k', sizeof(key));
    memset(text, 'x', sizeof(text));

    *state = &g;

    return mcp_gmac_init(&g, key) == MCP_OK ? 0 : -1;
}


static int
tear_down(void **state)
{
    mcp_gmac_free(*state);

    return 0;
}


/* of len bytes, the first of them in pieces of at most `piece` */

static void
digest(mcp_gmac_t *g, size_t len, size_t first, size_t piece, char *hex)
{
    size_t      at, n;
    mcp_long_t  d;

    mcp_long_init(&d, g);

    for (at = 0; at < len; at += n) {
        n = at < first ? piece : len;
        n = len - at < n ? len - at : n;
        mcp_long_update(&d, g, text + at, n);
    }

    assert_int_equal(mcp_long_final(&d, g, (unsigned char *) hex), MCP_OK);
    hex[MCP_DIGEST_HEX] = '\0';
}


static void
test_vectors(void **state)
{
    char    hex[MCP_DIGEST_HEX + 1];
    size_t  i;

    static const struct {
        size_t       len;
        const char  *want;
    } vectors[] = {
        { 0, "a4ad8e340e32bf1d916005cb1dc92795" },
        { 1, "5011cc61ff53aa5af4fdf0d44b117900" },
        { 1024, "5d5f61a20c1748b0c2f9ec713ad85ec2" },
        { 1025, "edb3c5f78c90c0251aab6c04f2f2b70d" },
        { 1040, "4d8ea69f54e5d080be50a892210b1a01" },
        { 22000, "ef8a2e018d0cacaa0c6dadc9fbbceaa4" }
    };

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        digest(*state, vectors[i].len, 0, 0, hex);
        assert_string_equal(hex, vectors[i].want);
    }
}


static void
test_pieces(void **state)
{
    char      whole[MCP_DIGEST_HEX + 1], hex[MCP_DIGEST_HEX + 1];
    size_t    len, piece;
    unsigned  i;

    static const size_t  pieces[] = { 1, 15, 16, 17, 1000, 1023, 1024, 1025 };

    for (len = 1000; len < 1100; len++) {
        digest(*state, len, 0, 0, whole);

        for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            digest(*state, len, len, pieces[i], hex);
            assert_string_equal(hex, whole);
        }

        for (piece = 1020; piece < len; piece++) {
            digest(*state, len, 1, piece, hex);
            assert_string_equal(hex, whole);
        }

        digest(*state, len + 1, 0, 0, hex);
        assert_string_not_equal(hex, whole);
    }
}


/* each byte counts */

static void
test_bytes(void **state)
{
    char    whole[MCP_DIGEST_HEX + 1], hex[MCP_DIGEST_HEX + 1];
    size_t  at;

    digest(*state, 2000, 0, 0, whole);

    for (at = 0; at < 2000; at++) {
        text[at] ^= 1;
        digest(*state, 2000, 0, 0, hex);
        assert_string_not_equal(hex, whole);
        text[at] ^= 1;
    }
}


/* many at once, given up in the middle: nothing of them is left */

static void
test_contexts(void **state)
{
    char         hex[MCP_DIGEST_HEX + 1];
    unsigned     i;
    mcp_gmac_t  *g = *state;
    mcp_long_t   d[MCP_GMAC_IDLE + 3];

    for (i = 0; i < MCP_GMAC_IDLE + 3; i++) {
        mcp_long_init(&d[i], g);
        mcp_long_update(&d[i], g, text, MCP_LONG_HEAD);
        assert_null(d[i].rest);
        mcp_long_update(&d[i], g, text, i + 1);
        assert_non_null(d[i].rest);
    }

    for (i = 0; i < MCP_GMAC_IDLE + 3; i++) {
        mcp_long_drop(&d[i], g);
        mcp_long_drop(&d[i], g);
    }

    assert_int_equal(g->nidle, MCP_GMAC_IDLE);

    for (i = 0; i < MCP_GMAC_IDLE; i++) {
        digest(g, 1025, 0, 0, hex);
        assert_string_equal(hex, "edb3c5f78c90c0251aab6c04f2f2b70d");
    }

    assert_int_equal(g->nidle, MCP_GMAC_IDLE);
}


static void
test_keys(void **state)
{
    char                  one[MCP_DIGEST_HEX + 1], other[MCP_DIGEST_HEX + 1];
    mcp_gmac_t            g;
    static unsigned char  key[MCP_DIGEST_KEY] = "another";

    assert_int_equal(mcp_gmac_init(&g, key), MCP_OK);

    digest(*state, 2000, 0, 0, one);
    digest(&g, 2000, 0, 0, other);
    assert_string_not_equal(one, other);

    mcp_gmac_free(&g);
    assert_int_equal(g.nidle, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_keys)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
