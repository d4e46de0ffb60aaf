/*
 * mcp_gmac: the same as the openssl command makes, however the text comes in
 * pieces, and whatever a context was used for before.
 *
 * The vectors: H=$(openssl kdf -keylen 32 -kdfopt digest:SHA256
 *     -kdfopt hexkey:6b..6b -kdfopt hexinfo:646967657374 00 68617368 HKDF)
 * ("digest", NUL, "hash"), E likewise ("encrypt"), and then
 *     openssl mac -cipher AES-256-GCM -macopt hexkey:$H
 *         -macopt hexiv:000000000000000000000000 -binary -in TEXT GMAC
 *     | openssl enc -aes-256-ecb -nopad -K $E
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
    mcp_str_t             secret;
    static mcp_gmac_t     g;
    static unsigned char  key[32];

    memset(key, 'k', sizeof(key));
    memset(text, 'x', sizeof(text));

    secret.data = key;
    secret.len = sizeof(key);
    *state = &g;

    return mcp_gmac_init(&g, &secret) == MCP_OK ? 0 : -1;
}


static int
tear_down(void **state)
{
    mcp_gmac_free(*state);

    return 0;
}


/* of len bytes in pieces of at most `piece` */

static void
digest(mcp_gmac_t *g, const void *data, size_t len, size_t piece, char *hex)
{
    size_t                n;
    EVP_CIPHER_CTX       *ctx;
    const unsigned char  *p;

    ctx = mcp_gmac_begin(g);
    assert_non_null(ctx);

    for (p = data; len; p += n, len -= n) {
        n = len < piece ? len : piece;
        assert_int_equal(mcp_gmac_update(ctx, p, n), MCP_OK);
    }

    assert_int_equal(mcp_gmac_final(g, ctx, (unsigned char *) hex), MCP_OK);
    hex[MCP_GMAC_HEX] = '\0';
}


static void
test_vectors(void **state)
{
    char  hex[MCP_GMAC_HEX + 1];

    digest(*state, "", 0, 1, hex);
    assert_string_equal(hex, "fbf55614ca88bea647c61424978e656b");

    digest(*state, "a", 1, 1, hex);
    assert_string_equal(hex, "e5632d0954a9a44320e7b9a4406aa1e7");

    digest(*state, "The quick brown fox", 19, 19, hex);
    assert_string_equal(hex, "157b9835bcb549b0278af438f1d3d1a9");

    digest(*state, text, sizeof(text), sizeof(text), hex);
    assert_string_equal(hex, "418c18ac4b029421ba076aa8285e5115");
}


static void
test_pieces(void **state)
{
    char    whole[MCP_GMAC_HEX + 1], hex[MCP_GMAC_HEX + 1];
    size_t  len, piece;

    for (len = 1; len < 70; len++) {
        digest(*state, text, len, len, whole);

        for (piece = 1; piece <= len; piece++) {
            digest(*state, text, len, piece, hex);
            assert_string_equal(hex, whole);
        }

        digest(*state, text, len + 1, len, hex);
        assert_string_not_equal(hex, whole);
    }
}


/* many at once, and one that is given up in the middle */

static void
test_contexts(void **state)
{
    char             hex[MCP_GMAC_HEX + 1];
    unsigned         i;
    mcp_gmac_t      *g = *state;
    EVP_CIPHER_CTX  *ctx[MCP_GMAC_IDLE + 3];

    for (i = 0; i < MCP_GMAC_IDLE + 3; i++) {
        ctx[i] = mcp_gmac_begin(g);
        assert_non_null(ctx[i]);
        assert_int_equal(mcp_gmac_update(ctx[i], text, i), MCP_OK);
    }

    for (i = 0; i < MCP_GMAC_IDLE + 3; i++) {
        mcp_gmac_drop(g, ctx[i]);
    }

    assert_int_equal(g->nidle, MCP_GMAC_IDLE);

    for (i = 0; i < MCP_GMAC_IDLE; i++) {
        digest(g, "a", 1, 1, hex);
        assert_string_equal(hex, "e5632d0954a9a44320e7b9a4406aa1e7");
    }

    assert_int_equal(g->nidle, MCP_GMAC_IDLE);

    mcp_gmac_drop(g, NULL);
}


static void
test_keys(void **state)
{
    char                  one[MCP_GMAC_HEX + 1], other[MCP_GMAC_HEX + 1];
    mcp_str_t             secret;
    mcp_gmac_t            g;
    static unsigned char  key[32] = "another";

    secret.data = key;
    secret.len = sizeof(key);

    assert_int_equal(mcp_gmac_init(&g, &secret), MCP_OK);

    digest(*state, text, 100, 100, one);
    digest(&g, text, 100, 100, other);
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
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_keys)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
