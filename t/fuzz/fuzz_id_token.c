/*
 * mcp_id_token: what is taken is of this issuer, for this client, an answer to
 * this request, and of now, as jansson reads it.
 *
 * Input: the claims.
 */

#include "jose.h"
#include "mcp_id_token.h"


static int
has(json_t *aud, const char *client)
{
    size_t   i;
    json_t  *v;

    if (json_is_string(aud)) {
        return fz_is(aud, client);
    }

    json_array_foreach(aud, i, v) {
        if (fz_is(v, client)) {
            return 1;
        }
    }

    return 0;
}


static void
agrees(const mcp_str_t *token, const mcp_id_token_t *id)
{
    json_t  *c, *v;

    c = fz_payload(token);
    CHECK(json_is_object(c));

    CHECK(fz_is(json_object_get(c, "iss"), FZ_ISS));
    CHECK(fz_is(json_object_get(c, "nonce"), "n-1"));
    CHECK(has(json_object_get(c, "aud"), "client"));

    v = json_object_get(c, "azp");
    CHECK(v == NULL || fz_is(v, "client"));

    v = json_object_get(c, "exp");
    CHECK(json_is_number(v) && json_number_value(v) + 30 > FZ_NOW);

    v = json_object_get(c, "iat");
    CHECK(json_is_number(v) && json_number_value(v) <= FZ_NOW + 30);

    CHECK(id->user.len > 0 && fz_clean(&id->user));
    CHECK(id->name.len > 0);
    CHECK(id->name.len <= MCP_ID_TOKEN_NAME || mcp_str_eq(&id->name,
                                                          &id->user));
    CHECK(mcp_utf8_valid(id->name.data, id->name.len));

    json_decref(c);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                rc;
    char              *h, *c, *text;
    size_t             len;
    mcp_jwt_t         *jwt;
    mcp_str_t          token, client, nonce;
    fz_arena_t         a;
    const char        *reason;
    mcp_id_token_t     id;
    mcp_jwt_issuer_t   is;

    fz_arena_init(&a);
    is = fz_issuer();

    h = fz_b64("{\"alg\":\"ES256\",\"kid\":\"ec\"}", 26);
    c = fz_b64(data, size);
    len = strlen(h) + strlen(c) + 8;
    text = malloc(len);
    CHECK(text != NULL);
    len = (size_t) snprintf(text, len, "%s.%s.AAAA", h, c);
    token = fz_copy(&a, text, len);
    free(h);
    free(c);
    free(text);

    reason = NULL;
    jwt = mcp_jwt_parse(&token, 16384, &reason);

    if (jwt) {
        client = fz_str("client");
        nonce = fz_str("n-1");
        reason = NULL;

        rc = mcp_id_token_claims(jwt, &is, &client, &nonce, FZ_NOW, &a.mem,
                                 &id, &reason);
        CHECK((rc == MCP_OK) == (reason == NULL));

        if (rc == MCP_OK) {
            agrees(&token, &id);
        }

        mcp_jwt_free(jwt);
    }

    fz_arena_free(&a);

    return 0;
}
