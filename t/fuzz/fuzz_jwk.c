/*
 * mcp_jwk: what is taken from a key set is JSON for jansson too, and each key
 * is public and strong enough, as OpenSSL sees it; no error is left behind.
 *
 * Input: the key set.
 */

#include "jose.h"


static void
strong(const mcp_jwk_t *k)
{
    BIGNUM  *private = NULL;

    CHECK(k->pkey != NULL && k->algs != 0 && (k->algs & ~0x3ffu) == 0);

    (void) EVP_PKEY_get_bn_param(k->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &private);
    CHECK(private == NULL);
    (void) EVP_PKEY_get_bn_param(k->pkey, OSSL_PKEY_PARAM_RSA_D, &private);
    CHECK(private == NULL);

    if (EVP_PKEY_is_a(k->pkey, "RSA")) {
        CHECK(EVP_PKEY_get_bits(k->pkey) >= 2048);
        CHECK((k->algs & (MCP_ALG_ES256 | MCP_ALG_ES384 | MCP_ALG_ES512
                          | MCP_ALG_EDDSA)) == 0);

    } else if (EVP_PKEY_is_a(k->pkey, "EC")) {
        CHECK((k->algs & ~(unsigned) (MCP_ALG_ES256 | MCP_ALG_ES384
                                      | MCP_ALG_ES512)) == 0);

    } else {
        CHECK(EVP_PKEY_is_a(k->pkey, "ED25519")
              || EVP_PKEY_is_a(k->pkey, "ED448"));
        CHECK(k->algs == MCP_ALG_EDDSA);
    }

    ERR_clear_error();
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t         *tree;
    unsigned        i;
    mcp_str_t       text;
    fz_arena_t      a;
    const char     *error;
    mcp_jwk_set_t  *set;

    fz_arena_init(&a);
    text = fz_copy(&a, data, size);

    error = NULL;
    set = mcp_jwk_set_parse(text.data, text.len, 4, &error);
    CHECK(ERR_peek_error() == 0);
    CHECK((set == NULL) == (error != NULL));

    if (set) {
        CHECK(set->nkeys >= 1 && set->nkeys <= 4);

        tree = json_loadb((const char *) data, size, 0, NULL);
        CHECK(json_is_object(tree));
        CHECK(json_array_size(json_object_get(tree, "keys"))
              == set->nkeys + set->skipped);
        json_decref(tree);

        for (i = 0; i < set->nkeys; i++) {
            strong(&set->keys[i]);
        }

        mcp_jwk_set_free(set);
    }

    fz_arena_free(&a);

    return 0;
}
