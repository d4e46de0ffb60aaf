/*
 * mcp_jwt, against OpenSSL and libjwt.
 *
 * - A token whose signature mcp_jwt_verify() takes is one that OpenSSL takes
 *   for the key that its header names, and libjwt too, where it knows the
 *   algorithm.
 * - A token that was signed by our key and altered by a byte is refused.
 * - A token that was signed by our key under the name of another algorithm is
 *   refused.
 * - Of claims that are taken, what decides is what jansson reads: iss, exp,
 *   nbf, a user or a client.
 * - OpenSSL's error queue is empty afterwards.
 *
 * Input: a byte: which algorithm signs, two bytes: what is altered (0: nothing;
 * 255: the rest is a token as it is), a line for the header, the claims.  "@"
 * as a header: the right one.
 */

#include <jwt.h>

#include "jose.h"


static int
libjwt_takes(const fz_alg_t *alg, const mcp_str_t *token)
{
    int      ok;
    BIO     *bio;
    char    *copy, *pem;
    long     n;
    jwt_t   *jwt;

    bio = BIO_new(BIO_s_mem());
    CHECK(PEM_write_bio_PUBKEY(bio, fz_pkeys[alg->key]) == 1);
    n = BIO_get_mem_data(bio, &pem);

    copy = malloc(token->len + 1);
    CHECK(copy != NULL);
    memcpy(copy, token->data, token->len);
    copy[token->len] = '\0';

    jwt = NULL;
    ok = jwt_decode(&jwt, copy, (unsigned char *) pem, (int) n) == 0;
    jwt_free(jwt);
    free(copy);
    BIO_free(bio);
    ERR_clear_error();

    return ok;
}


/* The signature was taken: by whom else? */

static void
others_agree(const mcp_str_t *token, const fz_alg_t *signer)
{
    long             n;
    size_t           i, len;
    json_t          *header, *v;
    const char      *dot, *dot2;
    unsigned char   *buf;
    const fz_alg_t  *alg;

    dot = memchr(token->data, '.', token->len);
    dot2 = memrchr(token->data, '.', token->len);
    CHECK(dot != NULL && dot2 != dot);

    buf = malloc(token->len + 3);
    CHECK(buf != NULL);

    n = mcp_base64url_decode(buf, token->data,
                             (size_t) (dot - (char *) token->data));
    CHECK(n > 0);
    header = json_loadb((char *) buf, (size_t) n, JSON_REJECT_DUPLICATES,
                        NULL);
    CHECK(json_is_object(header));
    CHECK(json_object_get(header, "crit") == NULL);

    v = json_object_get(header, "alg");
    CHECK(json_is_string(v));
    alg = NULL;

    for (i = 0; i < fz_count(fz_algs); i++) {
        if (fz_is(v, fz_algs[i].alg)
            || (fz_algs[i].key == 2 && fz_is(v, "Ed25519")))
        {
            alg = &fz_algs[i];
        }
    }

    /* nobody here can sign RS512, PS384 */

    CHECK(alg != NULL);
    CHECK(signer == NULL || alg == signer);

    len = token->len - (size_t) (dot2 + 1 - (char *) token->data);
    n = mcp_base64url_decode(buf, (unsigned char *) dot2 + 1, len);
    CHECK(n > 0);
    CHECK(fz_verify(alg, token->data, (size_t) (dot2 - (char *) token->data),
                    buf, (size_t) n));

    /* libjwt 1.10 has RS* and ES*, wants a string as kid and no other typ than
     * JWT, and numbers that are no larger than its own */

    v = json_object_get(header, "typ");

    if (alg->key != 2 && !alg->pss && (v == NULL || fz_is(v, "JWT"))) {
        CHECK(libjwt_takes(alg, token));
    }

    json_decref(header);
    free(buf);
}


static void
claims_agree(const mcp_str_t *token, const mcp_principal_t *p)
{
    json_t  *c, *v;

    c = fz_payload(token);
    CHECK(json_is_object(c));
    CHECK(fz_is(json_object_get(c, "iss"), FZ_ISS));
    CHECK(json_object_get(c, "cnf") == NULL);

    v = json_object_get(c, "exp");
    CHECK(json_is_number(v) && json_number_value(v) + 30 > FZ_NOW);

    v = json_object_get(c, "nbf");
    CHECK(v == NULL || (json_is_number(v)
                        && json_number_value(v) <= FZ_NOW + 30));

    CHECK(p->kind == MCP_CALLER_SERVICE ? p->client.len > 0 : p->user.len > 0);
    CHECK(p->issuer == 7 && p->token_id.len > 0);
    CHECK(fz_clean(&p->user) && fz_clean(&p->client));
    CHECK(fz_clean(&p->scopes) && fz_clean(&p->token_id));
    CHECK(p->naudiences <= MCP_MAX_AUDIENCES && p->nclaims <= MCP_MAX_CLAIMS);

    json_decref(c);
}


static void
packs(const mcp_principal_t *p, fz_arena_t *a)
{
    size_t            len, again;
    mcp_principal_t  *copy;
    unsigned char    *one, *two;

    len = mcp_principal_packed_size(p);
    one = malloc(len);
    two = malloc(len);
    CHECK(one != NULL && two != NULL);

    mcp_principal_pack(p, one);
    copy = mcp_principal_unpack(one, len, &a->mem);
    CHECK(copy != NULL);

    again = mcp_principal_packed_size(copy);
    CHECK(again == len);
    mcp_principal_pack(copy, two);
    CHECK(memcmp(one, two, len) == 0);

    free(one);
    free(two);
}


static void
look(const mcp_str_t *token, const fz_alg_t *signer, unsigned altered,
    fz_arena_t *a)
{
    int                rc;
    mcp_jwt_t         *jwt;
    const char        *reason;
    mcp_principal_t   *p;
    mcp_jwt_issuer_t   is;

    is = fz_issuer();
    reason = NULL;

    jwt = mcp_jwt_parse(token, 16384, &reason);
    CHECK(ERR_peek_error() == 0);

    if (jwt == NULL) {
        CHECK(reason != NULL);
        return;
    }

    reason = NULL;
    rc = mcp_jwt_verify(jwt, &is, fz_set, &reason);
    CHECK(ERR_peek_error() == 0);
    CHECK((rc == MCP_OK) == (reason == NULL));

    if (rc == MCP_OK) {
        CHECK(!altered);
        others_agree(token, signer);
    }

    reason = NULL;
    p = mcp_jwt_claims(jwt, &is, FZ_NOW, &a->mem, &reason);
    CHECK(p != NULL || reason != NULL);

    if (p) {
        claims_agree(token, p);
        packs(p, a);
    }

    mcp_jwt_free(jwt);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char             right[64], *text;
    size_t           at;
    fz_in_t          in;
    unsigned         where, how;
    mcp_str_t        header, claims, token;
    fz_arena_t       a;
    const fz_alg_t  *alg;

    fz_jose_init();
    fz_arena_init(&a);

    in = fz_in(data, size);
    alg = &fz_algs[fz_byte(&in) % fz_count(fz_algs)];
    where = fz_byte(&in);
    how = fz_byte(&in);

    if (where == 255) {
        token = fz_rest(&a, &in);
        look(&token, NULL, 0, &a);
        fz_arena_free(&a);
        return 0;
    }

    header = fz_line(&a, &in);
    claims = fz_rest(&a, &in);

    if (mcp_str_eq_lit(&header, "@")) {
        header.data = (unsigned char *) right;
        header.len = (size_t) snprintf(right, sizeof(right),
                                       "{\"alg\":\"%s\",\"kid\":\"%s\"}",
                                       alg->alg, fz_kids[alg->key]);
    }

    text = fz_token(alg, &header, &claims);
    token = fz_copy(&a, text, strlen(text));
    free(text);

    /* a byte of the token that becomes another one */

    if (where && how) {
        at = where * token.len / 256;
        token.data[at] ^= (unsigned char) how;
    }

    look(&token, alg, where && how, &a);
    fz_arena_free(&a);

    return 0;
}
