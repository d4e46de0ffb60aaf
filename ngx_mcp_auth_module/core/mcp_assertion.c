/*
 * Client assertions.  See mcp_assertion.h.  libjwt signs; it wants C strings
 * and a PEM, and gives memory of its own, which is copied and freed here.
 *
 * lint: heap, libjwt allocates
 */

#include "mcp_assertion.h"

#include <stdlib.h>

#include <jwt.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>


#define MCP_ASSERTION_LIFE  60          /* s */
#define MCP_ASSERTION_JTI   16          /* bytes */


static const char *mcp_assertion_text(const mcp_mem_t *mem,
    const mcp_str_t *s);
static int mcp_assertion_claims(jwt_t *jwt, const mcp_assertion_conf_t *conf,
    int64_t now, const mcp_mem_t *mem);
static int mcp_assertion_jti(jwt_t *jwt);


int
mcp_assertion_make(const mcp_assertion_conf_t *conf, int64_t now,
    const mcp_mem_t *mem, mcp_str_t *out)
{
    int     rc;
    char   *text;
    jwt_t  *jwt;

    jwt = NULL;
    text = NULL;
    rc = MCP_ERROR;

    if (jwt_new(&jwt) == 0
        && jwt_set_alg(jwt, conf->es256 ? JWT_ALG_ES256 : JWT_ALG_RS256,
                       conf->key.data, (int) conf->key.len) == 0
        && mcp_assertion_claims(jwt, conf, now, mem) == MCP_OK)
    {
        text = jwt_encode_str(jwt);
    }

    if (text) {
        rc = mcp_str_dup(mem, out, text, strlen(text));
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }

    jwt_free(jwt);
    ERR_clear_error();

    return rc;
}


static int
mcp_assertion_claims(jwt_t *jwt, const mcp_assertion_conf_t *conf, int64_t now,
    const mcp_mem_t *mem)
{
    const char  *client, *audience, *kid;

    client = mcp_assertion_text(mem, &conf->client_id);
    audience = mcp_assertion_text(mem, &conf->audience);
    kid = mcp_assertion_text(mem, &conf->key_id);

    if (client == NULL || audience == NULL || kid == NULL) {
        return MCP_ERROR;
    }

    if (jwt_add_grant(jwt, "iss", client) != 0
        || jwt_add_grant(jwt, "sub", client) != 0
        || jwt_add_grant(jwt, "aud", audience) != 0
        || jwt_add_grant_int(jwt, "iat", (long) now) != 0
        || jwt_add_grant_int(jwt, "exp", (long) now + MCP_ASSERTION_LIFE) != 0
        || (*kid && jwt_add_header(jwt, "kid", kid) != 0))
    {
        return MCP_ERROR;
    }

    return mcp_assertion_jti(jwt);
}


static int
mcp_assertion_jti(jwt_t *jwt)
{
    mcp_buf_t      b;
    unsigned char  random[MCP_ASSERTION_JTI], text[2 * MCP_ASSERTION_JTI + 1];

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return MCP_ERROR;
    }

    mcp_buf_init(&b, text, sizeof(text));
    mcp_buf_hex(&b, random, sizeof(random));
    mcp_buf_put(&b, "", 1);

    return jwt_add_grant(jwt, "jti", (char *) text) == 0 ? MCP_OK : MCP_ERROR;
}


/* A NUL inside would cut it short: refused. */
static const char *
mcp_assertion_text(const mcp_mem_t *mem, const mcp_str_t *s)
{
    char  *text;

    if (s->len && memchr(s->data, '\0', s->len)) {
        return NULL;
    }

    text = mcp_alloc(mem, s->len + 1);
    if (text == NULL) {
        return NULL;
    }

    if (s->len) {
        memcpy(text, s->data, s->len);
    }

    text[s->len] = '\0';

    return text;
}
