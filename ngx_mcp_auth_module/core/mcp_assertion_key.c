/*
 * Is it a key that client assertions can be signed with?  Apart from
 * mcp_assertion.c, so that mcpctl, which signs nothing, needs no libjwt.
 */

#include "mcp_assertion.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>


int
mcp_assertion_check(mcp_assertion_conf_t *conf, const char **error)
{
    BIO       *bio;
    char       group[32];
    EVP_PKEY  *key;

    *error = NULL;

    bio = BIO_new_mem_buf(conf->key.data, (int) conf->key.len);
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "") : NULL;

    BIO_free(bio);
    ERR_clear_error();

    if (key == NULL) {
        *error = "the key is no private key in PEM without a passphrase";
        return MCP_ERROR;
    }

    if (EVP_PKEY_is_a(key, "EC")
        && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1
        && strcmp(group, "prime256v1") == 0) /* lint: strcmp, OpenSSL's */
    {
        conf->es256 = 1;

    } else if (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= 2048) {
        conf->es256 = 0;

    } else {
        *error = "the key is neither RSA of 2048 bits or more nor on P-256";
    }

    EVP_PKEY_free(key);
    ERR_clear_error();

    return *error ? MCP_ERROR : MCP_OK;
}
