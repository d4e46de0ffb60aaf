/*
 * The claims of an ID token.  A claim that is there but is not what it must be
 * refuses the token, as with access tokens; and an access token is none,
 * whatever else is in it.
 */

#include "mcp_id_token.h"
#include "mcp_jose.h"

#include <openssl/crypto.h>


#define MCP_ID_TOKEN_USER  256          /* bytes */
#define MCP_ID_TOKEN_AGE   600          /* s since iat, but for the leeway */
#define MCP_ID_TOKEN_DATE  ((int64_t) 1 << 53)


static const char *mcp_id_token_audience(const json_t *payload,
    const mcp_str_t *client_id);
static const char *mcp_id_token_times(const json_t *payload, int leeway,
    int64_t now);
static int mcp_id_token_date(const json_t *payload, const char *name,
    int64_t *date);
static int mcp_id_token_nonce(const json_t *payload, const mcp_str_t *nonce);
static int mcp_id_token_user(const json_t *payload,
    const mcp_jwt_issuer_t *issuer, mcp_str_t *user);
static int mcp_id_token_unproven(const json_t *payload, const char *name);
static int mcp_id_token_clean(const mcp_str_t *s);
static void mcp_id_token_name(const json_t *payload, mcp_str_t *name);


int
mcp_id_token_claims(const mcp_jwt_t *jwt, const mcp_jwt_issuer_t *issuer,
    const mcp_str_t *client_id, const mcp_str_t *nonce, int64_t now,
    const mcp_mem_t *mem, mcp_id_token_t *id, const char **reason)
{
    mcp_str_t  user, name;

    *reason = NULL;

    if (!mcp_str_eq(&jwt->iss, &issuer->issuer)) {
        *reason = "iss";

    } else if (jwt->typ == MCP_TYP_AT_JWT) {
        *reason = "typ";

    } else if (!mcp_id_token_nonce(jwt->payload, nonce)) {
        *reason = "nonce";
    }

    if (*reason == NULL) {
        *reason = mcp_id_token_audience(jwt->payload, client_id);
    }

    if (*reason == NULL) {
        *reason = mcp_id_token_times(jwt->payload, issuer->leeway, now);
    }

    if (*reason == NULL && !mcp_id_token_user(jwt->payload, issuer, &user)) {
        *reason = "user";
    }

    if (*reason) {
        return MCP_ERROR;
    }

    name = user;
    mcp_id_token_name(jwt->payload, &name);

    if (mcp_str_dup(mem, &id->user, user.data, user.len) != MCP_OK
        || mcp_str_dup(mem, &id->name, name.data, name.len) != MCP_OK)
    {
        *reason = "internal";
        return MCP_ERROR;
    }

    return MCP_OK;
}


/* For us: one of several only when azp says that it was issued to us. */
static const char *
mcp_id_token_audience(const json_t *payload, const mcp_str_t *client_id)
{
    size_t     i, n;
    json_t    *aud, *azp;
    mcp_str_t  s;
    unsigned   found;

    aud = json_object_get(payload, "aud");
    azp = json_object_get(payload, "azp");

    if (azp) {
        s = mcp_jwt_text(azp);

        if (s.data == NULL || !mcp_str_eq(&s, client_id)) {
            return "aud";
        }
    }

    if (json_is_string(aud)) {
        s = mcp_jwt_text(aud);
        return mcp_str_eq(&s, client_id) ? NULL : "aud";
    }

    if (!json_is_array(aud)) {
        return "aud";
    }

    found = 0;
    n = json_array_size(aud);

    for (i = 0; i < n; i++) {
        s = mcp_jwt_text(json_array_get(aud, i));

        if (s.data == NULL) {
            return "aud";
        }

        found |= mcp_str_eq(&s, client_id);
    }

    return found && (n == 1 || azp) ? NULL : "aud";
}


static const char *
mcp_id_token_times(const json_t *payload, int leeway, int64_t now)
{
    int64_t  exp, iat, nbf;

    if (leeway < 0) {
        leeway = 0;
    }

    if (mcp_id_token_date(payload, "exp", &exp) != MCP_OK) {
        return "exp";
    }

    if (mcp_id_token_date(payload, "iat", &iat) != MCP_OK) {
        return "iat";
    }

    if (now >= exp + leeway || now - iat > MCP_ID_TOKEN_AGE + leeway) {
        return "expired";
    }

    if (iat > now + leeway) {
        return "issued_in_future";
    }

    /* not of OpenID Connect, but of every JWT (RFC 7519 4.1.5) */

    if (json_object_get(payload, "nbf") == NULL) {
        return NULL;
    }

    if (mcp_id_token_date(payload, "nbf", &nbf) != MCP_OK) {
        return "nbf";
    }

    return nbf > now + leeway ? "not_yet_valid" : NULL;
}


static int
mcp_id_token_date(const json_t *payload, const char *name, int64_t *date)
{
    double   d;
    json_t  *json;

    json = json_object_get(payload, name);

    if (json_is_integer(json)) {
        *date = (int64_t) json_integer_value(json);

    } else if (json_is_real(json)) {
        d = json_real_value(json);

        /* written so that a NaN fails */

        if (!(d >= 0.0 && d < (double) MCP_ID_TOKEN_DATE)) {
            return MCP_ERROR;
        }

        *date = (int64_t) d;

    } else {
        return MCP_ERROR;
    }

    return *date >= 0 && *date < MCP_ID_TOKEN_DATE ? MCP_OK : MCP_ERROR;
}


static int
mcp_id_token_nonce(const json_t *payload, const mcp_str_t *nonce)
{
    mcp_str_t  s;

    s = mcp_jwt_text(json_object_get(payload, "nonce"));

    return s.data && nonce->len && s.len == nonce->len
           && CRYPTO_memcmp(s.data, nonce->data, s.len) == 0;
}


/* As in access tokens: the first of the user claims that is there. */
static int
mcp_id_token_user(const json_t *payload, const mcp_jwt_issuer_t *issuer,
    mcp_str_t *user)
{
    char       name[256];
    unsigned   i;
    json_t    *json;

    /* who has no subject is nobody, whichever claim has the user */

    *user = mcp_jwt_text(json_object_get(payload, "sub"));

    if (user->data == NULL || user->len == 0 || user->len > MCP_ID_TOKEN_USER)
    {
        return 0;
    }

    for (i = 0; i < issuer->nuser_claims; i++) {

        if (issuer->user_claims[i].len >= sizeof(name)) {
            continue;
        }

        memcpy(name, issuer->user_claims[i].data, issuer->user_claims[i].len);
        name[issuer->user_claims[i].len] = '\0';

        json = json_object_get(payload, name);
        if (json == NULL) {
            continue;
        }

        if (mcp_id_token_unproven(payload, name)) {
            return 0;
        }

        *user = mcp_jwt_text(json);

        return user->data && user->len && user->len <= MCP_ID_TOKEN_USER
               && mcp_id_token_clean(user);
    }

    return 0;
}


/* An address that she only says is hers (OpenID Connect Core 5.1) is no name:
 * she would choose whose records she gets.  Some write the word as text. */
static int
mcp_id_token_unproven(const json_t *payload, const char *name)
{
    json_t     *json;
    mcp_str_t   s;

    if (strcmp(name, "email") != 0) {
        return 0;
    }

    json = json_object_get(payload, "email_verified");

    if (json == NULL || json_is_true(json)) {
        return 0;
    }

    s = mcp_jwt_text(json);

    return s.data == NULL || !mcp_str_eq_lit(&s, "true");
}


/* It goes into records and logs. */
static int
mcp_id_token_clean(const mcp_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x20 || s->data[i] == 0x7f) {
            return 0;
        }
    }

    return mcp_utf8_valid(s->data, s->len);
}


static void
mcp_id_token_name(const json_t *payload, mcp_str_t *name)
{
    size_t     i;
    mcp_str_t  s;

    static const char  *claims[] = { "name", "preferred_username", "email" };

    for (i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        s = mcp_jwt_text(json_object_get(payload, claims[i]));

        if (s.data && s.len && s.len <= MCP_ID_TOKEN_NAME
            && mcp_id_token_clean(&s))
        {
            *name = s;
            return;
        }
    }
}
