/*
 * The claims of a verified JWT -> principal.
 *
 * What is always true: a claim that is present but not what it must be refuses
 * the token; it is never passed over for the next one.  Numbers are rounded to
 * the strict side.  No string with a control character leaves this file, since
 * they all may end up in logs and headers.
 *
 * A principal is drafted on the stack, with strings that point into the token's
 * trees, and then copied: one block of the caller's arena.  Besides it takes
 * from there at most the length of the scopes.  Frees nothing.
 *
 * Called by the access phase after mcp_jwt_verify(), on the cold path.
 */

#include "mcp_jwt.h"
#include "mcp_jose.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/evp.h>


#define MCP_JWT_NAME_MAX     256        /* sub, user, client, jti; bytes */
#define MCP_JWT_CLAIM_MAX    1024
#define MCP_JWT_NUMBER_TEXT  32
#define MCP_JWT_DATE_MAX     9007199254740992.0         /* 2^53 */

#define MCP_JWT_TOKEN_ID     (sizeof("sha256:") - 1 + 32)


/* A principal under construction: strings that point into the trees, and the
 * few that had to be written. */
typedef struct {
    mcp_principal_t      principal;
    mcp_str_t            audiences[MCP_MAX_AUDIENCES];
    mcp_claim_t          claims[MCP_MAX_CLAIMS];
    char                 numbers[MCP_MAX_CLAIMS][MCP_JWT_NUMBER_TEXT];
    char                 token_id[MCP_JWT_TOKEN_ID];
} mcp_jwt_draft_t;


static int mcp_jwt_is_access_token(const mcp_jwt_t *jwt);
static int mcp_jwt_times(const mcp_jwt_t *jwt, int leeway, int64_t now,
    mcp_principal_t *p, const char **reason);
static int mcp_jwt_date(const json_t *payload, const char *name, int up,
    int64_t *date);
static int mcp_jwt_caller(const mcp_jwt_t *jwt,
    const mcp_jwt_issuer_t *issuer, mcp_principal_t *p, const char **reason);
static int mcp_jwt_first(const json_t *payload, const mcp_str_t *names,
    unsigned n, mcp_str_t *value);
static int mcp_jwt_token_id(const mcp_jwt_t *jwt, mcp_jwt_draft_t *draft,
    const char **reason);
static int mcp_jwt_audiences(const json_t *payload, mcp_jwt_draft_t *draft);
static int mcp_jwt_scopes(const json_t *payload,
    const mcp_jwt_issuer_t *issuer, const mcp_mem_t *mem, mcp_str_t *scopes,
    const char **reason);
static size_t mcp_jwt_scopes_size(const json_t *claim);
static int mcp_jwt_scopes_add(mcp_str_t *scopes, const json_t *text,
    int list);
static int mcp_jwt_roles(const json_t *payload,
    const mcp_jwt_issuer_t *issuer, mcp_roles_t *roles, const char **reason);
static int mcp_jwt_roles_elsewhere(const json_t *payload,
    const mcp_str_t *path);
static void mcp_jwt_role_add(const mcp_jwt_issuer_t *issuer,
    const json_t *value, mcp_roles_t *roles);
static void mcp_jwt_extra(const json_t *payload,
    const mcp_jwt_issuer_t *issuer, mcp_jwt_draft_t *draft);
static int mcp_jwt_scalar(const json_t *value, char *number,
    mcp_str_t *text);
static json_t *mcp_jwt_claim(const json_t *payload, const mcp_str_t *name);
static json_t *mcp_jwt_path(const json_t *payload, const mcp_str_t *path);
static int mcp_jwt_printable(const mcp_str_t *s, size_t max);
static int mcp_jwt_name(const json_t *json, mcp_str_t *name);


mcp_principal_t *
mcp_jwt_claims(const mcp_jwt_t *jwt, const mcp_jwt_issuer_t *issuer,
    int64_t now, const mcp_mem_t *mem, const char **reason)
{
    mcp_jwt_draft_t   draft;
    mcp_principal_t  *p;

    memset(&draft.principal, 0, sizeof(mcp_principal_t));

    p = &draft.principal;

    if (!mcp_str_eq(&jwt->iss, &issuer->issuer)) {
        *reason = "iss";
        return NULL;
    }

    if (issuer->at_jwt && jwt->typ != MCP_TYP_AT_JWT) {
        *reason = "typ";
        return NULL;
    }

    if (!mcp_jwt_is_access_token(jwt)) {
        *reason = "not_an_access_token";
        return NULL;
    }

    if (json_object_get(jwt->payload, "cnf") != NULL) {
        *reason = "sender_constrained";
        return NULL;
    }

    if (mcp_jwt_times(jwt, issuer->leeway, now, p, reason) != MCP_OK
        || mcp_jwt_caller(jwt, issuer, p, reason) != MCP_OK)
    {
        return NULL;
    }

    if (mcp_jwt_token_id(jwt, &draft, reason) != MCP_OK) {
        return NULL;
    }

    if (mcp_jwt_audiences(jwt->payload, &draft) != MCP_OK) {
        *reason = "aud";
        return NULL;
    }

    if (mcp_jwt_roles(jwt->payload, issuer, &p->roles, reason) != MCP_OK
        || mcp_jwt_scopes(jwt->payload, issuer, mem, &p->scopes, reason)
           != MCP_OK)
    {
        return NULL;
    }

    mcp_jwt_extra(jwt->payload, issuer, &draft);

    p->auth = MCP_AUTH_JWT;
    p->issuer = issuer->index;
    p->iss = jwt->iss;

    p = mcp_principal_dup(p, mem);
    if (p == NULL) {
        *reason = "internal";
    }

    return p;
}


/*
 * ID, refresh and logout tokens are signed with the same keys.  Those that say
 * so in the header's typ are refused at once; the others are known by claims
 * which only they have.  at+jwt settles it (RFC 9068 section 5).
 */

static int
mcp_jwt_is_access_token(const mcp_jwt_t *jwt)
{
    size_t     i;
    mcp_str_t  value;

    static const struct {
        const char  *name;
        const char  *value;             /* NULL: any, even null */
    } others[] = {
        { "nonce", NULL },              /* OpenID Connect Core 2 */
        { "at_hash", NULL },
        { "c_hash", NULL },
        { "events", NULL },             /* logout and security events */
        { "typ", "ID" },                /* Keycloak */
        { "typ", "Refresh" },
        { "typ", "Offline" },
        { "typ", "Logout" },
        { "token_use", "id" }           /* Cognito */
    };

    if (jwt->typ == MCP_TYP_AT_JWT) {
        return 1;
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {

        if (others[i].value == NULL) {
            if (json_object_get(jwt->payload, others[i].name) != NULL) {
                return 0;
            }

            continue;
        }

        value = mcp_jwt_text(json_object_get(jwt->payload, others[i].name));

        if (mcp_str_caseeq(value.data, value.len, others[i].value,
                           strlen(others[i].value)))
        {
            return 0;
        }
    }

    value = mcp_jwt_text(json_object_get(jwt->payload, "jti"));

    return value.len < 3 || memcmp(value.data, "ID.", 3) != 0;
}


static int
mcp_jwt_times(const mcp_jwt_t *jwt, int leeway, int64_t now,
    mcp_principal_t *p, const char **reason)
{
    int      rc;
    int64_t  nbf;

    if (leeway < 0) {
        leeway = 0;
    }

    if (mcp_jwt_date(jwt->payload, "exp", 0, &p->exp) != MCP_OK) {
        *reason = "exp";
        return MCP_ERROR;
    }

    if (mcp_jwt_date(jwt->payload, "iat", 1, &p->iat) != MCP_OK) {
        *reason = "iat";
        return MCP_ERROR;
    }

    rc = mcp_jwt_date(jwt->payload, "nbf", 1, &nbf);

    if (rc == MCP_ERROR) {
        *reason = "nbf";
        return MCP_ERROR;
    }

    /* dates are below 2^53: nothing overflows */

    if (now >= p->exp + leeway) {
        *reason = "expired";
        return MCP_ERROR;
    }

    if (rc == MCP_OK && nbf > now + leeway) {
        *reason = "not_yet_valid";
        return MCP_ERROR;
    }

    if (p->iat > now + leeway) {
        *reason = "issued_in_future";
        return MCP_ERROR;
    }

    return MCP_OK;
}


/* A NumericDate (RFC 7519 section 2) rounded to the strict side: down, or up
 * when up is 1.  MCP_DECLINED: absent. */

static int
mcp_jwt_date(const json_t *payload, const char *name, int up, int64_t *date)
{
    double   d;
    json_t  *json;

    json = json_object_get(payload, name);
    if (json == NULL) {
        return MCP_DECLINED;
    }

    if (json_is_integer(json)) {
        *date = (int64_t) json_integer_value(json);

        return *date >= 0 && *date < (int64_t) MCP_JWT_DATE_MAX ? MCP_OK
                                                                : MCP_ERROR;
    }

    if (!json_is_real(json)) {
        return MCP_ERROR;
    }

    d = json_real_value(json);

    /* written so that a NaN fails */

    if (!(d >= 0.0 && d < MCP_JWT_DATE_MAX)) {
        return MCP_ERROR;
    }

    *date = (int64_t) d;

    if (up && (double) *date < d) {
        (*date)++;
    }

    return MCP_OK;
}


/*
 * A service is a client on its own behalf: it has no uid (Okta gives one to
 * users only) and its subject is the client.  The user of everybody else is
 * the first of user_claims.
 */

static int
mcp_jwt_caller(const mcp_jwt_t *jwt, const mcp_jwt_issuer_t *issuer,
    mcp_principal_t *p, const char **reason)
{
    int        rc;
    mcp_str_t  sub;

    if (mcp_jwt_name(json_object_get(jwt->payload, "sub"), &sub) != MCP_OK) {
        *reason = "sub";
        return MCP_ERROR;
    }

    if (mcp_jwt_first(jwt->payload, issuer->client_claims,
                      issuer->nclient_claims, &p->client)
        == MCP_ERROR)
    {
        *reason = "client";
        return MCP_ERROR;
    }

    rc = mcp_jwt_first(jwt->payload, issuer->user_claims,
                       issuer->nuser_claims, &p->user);

    if (rc == MCP_ERROR) {
        *reason = "user";
        return MCP_ERROR;
    }

    if (p->client.len
        && json_object_get(jwt->payload, "uid") == NULL
        && (mcp_str_eq(&sub, &p->client) || mcp_str_eq(&p->user, &p->client)))
    {
        p->kind = MCP_CALLER_SERVICE;
        mcp_str_null(&p->user);

        return MCP_OK;
    }

    if (rc == MCP_DECLINED) {
        *reason = "user";
        return MCP_ERROR;
    }

    p->kind = MCP_CALLER_USER;

    return MCP_OK;
}


/* The first of names that is present; MCP_DECLINED: none, value is empty. */

static int
mcp_jwt_first(const json_t *payload, const mcp_str_t *names, unsigned n,
    mcp_str_t *value)
{
    json_t    *json;
    unsigned   i;

    mcp_str_null(value);

    for (i = 0; i < n; i++) {
        json = mcp_jwt_claim(payload, &names[i]);

        if (json != NULL) {
            return mcp_jwt_name(json, value);
        }
    }

    return MCP_DECLINED;
}


/* Not the whole token is hashed: ECDSA signatures can be rewritten. */

static int
mcp_jwt_token_id(const mcp_jwt_t *jwt, mcp_jwt_draft_t *draft,
    const char **reason)
{
    int             rc;
    json_t         *jti;
    mcp_buf_t       b;
    unsigned char   md[EVP_MAX_MD_SIZE];

    jti = json_object_get(jwt->payload, "jti");
    if (jti != NULL) {
        *reason = "jti";
        return mcp_jwt_name(jti, &draft->principal.token_id);
    }

    *reason = "internal";

    rc = EVP_Digest(jwt->input.data, jwt->input.len, md, NULL, EVP_sha256(),
                    NULL);

    ERR_clear_error();

    if (rc != 1) {
        return MCP_ERROR;
    }

    mcp_buf_init(&b, draft->token_id, MCP_JWT_TOKEN_ID);
    mcp_buf_lit(&b, "sha256:");
    mcp_buf_hex(&b, md, 16);

    draft->principal.token_id.data = b.start;
    draft->principal.token_id.len = MCP_JWT_TOKEN_ID;

    return MCP_OK;
}


static int
mcp_jwt_audiences(const json_t *payload, mcp_jwt_draft_t *draft)
{
    size_t     i, n;
    json_t    *aud;
    mcp_str_t *audience;

    aud = json_object_get(payload, "aud");
    n = json_is_array(aud) ? json_array_size(aud) : 1;

    if (n == 0 || n > MCP_MAX_AUDIENCES) {
        return MCP_ERROR;
    }

    for (i = 0; i < n; i++) {
        audience = &draft->audiences[i];
        *audience = mcp_jwt_text(json_is_array(aud) ? json_array_get(aud, i)
                                                    : aud);
        if (audience->len == 0) {
            return MCP_ERROR;
        }
    }

    draft->principal.audiences = draft->audiences;
    draft->principal.naudiences = (unsigned) n;

    return MCP_OK;
}


static int
mcp_jwt_scopes(const json_t *payload, const mcp_jwt_issuer_t *issuer,
    const mcp_mem_t *mem, mcp_str_t *scopes, const char **reason)
{
    int        rc;
    size_t     i, size;
    json_t    *claim, *element;
    unsigned   n;

    claim = NULL;

    for (n = 0; n < issuer->nscope_claims && claim == NULL; n++) {
        claim = mcp_jwt_claim(payload, &issuer->scope_claims[n]);
    }

    if (claim == NULL) {
        return MCP_OK;
    }

    *reason = "scope";

    if (!json_is_string(claim) && !json_is_array(claim)) {
        return MCP_ERROR;
    }

    size = mcp_jwt_scopes_size(claim);
    if (size == 0) {
        return MCP_OK;
    }

    scopes->data = mcp_alloc(mem, size);
    if (scopes->data == NULL) {
        *reason = "internal";
        return MCP_ERROR;
    }

    if (json_is_string(claim)) {
        return mcp_jwt_scopes_add(scopes, claim, 1);
    }

    rc = MCP_OK;

    json_array_foreach(claim, i, element) {

        rc = mcp_jwt_scopes_add(scopes, element, 0);
        if (rc != MCP_OK) {
            break;
        }
    }

    return rc;
}


/* Room for the scopes of claim with a space before each. */

static size_t
mcp_jwt_scopes_size(const json_t *claim)
{
    size_t   i, size;
    json_t  *element;

    if (json_is_string(claim)) {
        size = json_string_length(claim);
        return size ? size + 1 : 0;
    }

    size = 0;

    json_array_foreach(claim, i, element) {
        size += json_string_length(element) + 1;
    }

    return size;
}


/* Appends one scope, or when list is 1 those between spaces.  Characters: RFC
 * 6749 section 3.3. */

static int
mcp_jwt_scopes_add(mcp_str_t *scopes, const json_t *text, int list)
{
    size_t     i;
    mcp_str_t  s;
    unsigned   c, within;

    s = mcp_jwt_text(text);

    if (s.data == NULL || (s.len == 0 && !list)) {
        return MCP_ERROR;
    }

    within = 0;

    for (i = 0; i < s.len; i++) {
        c = s.data[i];

        if (c == ' ' && list) {
            within = 0;
            continue;
        }

        if (c <= ' ' || c == '"' || c == '\\' || c > '~') {
            return MCP_ERROR;
        }

        if (!within && scopes->len) {
            scopes->data[scopes->len++] = ' ';
        }

        within = 1;
        scopes->data[scopes->len++] = (unsigned char) c;
    }

    return MCP_OK;
}


/* An absent claim means no roles but "*"; one that cannot be read refuses the
 * token, since a role may also forbid. */

static int
mcp_jwt_roles(const json_t *payload, const mcp_jwt_issuer_t *issuer,
    mcp_roles_t *roles, const char **reason)
{
    size_t   i;
    json_t  *claim, *group;

    mcp_role_set(roles, 0);

    *reason = "roles";

    claim = mcp_jwt_path(payload, &issuer->roles_claim);

    if (claim == NULL) {
        return mcp_jwt_roles_elsewhere(payload, &issuer->roles_claim)
               ? MCP_ERROR : MCP_OK;
    }

    if (json_is_string(claim)) {
        mcp_jwt_role_add(issuer, claim, roles);
        return MCP_OK;
    }

    if (!json_is_array(claim)) {
        return MCP_ERROR;
    }

    if (json_array_size(claim) > issuer->max_groups) {
        *reason = "too_many_groups";
        return MCP_ERROR;
    }

    json_array_foreach(claim, i, group) {

        if (!json_is_string(group)) {
            return MCP_ERROR;
        }

        mcp_jwt_role_add(issuer, group, roles);
    }

    return MCP_OK;
}


/* OpenID Connect Core 5.6.2: the groups are too many for the token and are to
 * be fetched elsewhere.  That is not "no groups". */

static int
mcp_jwt_roles_elsewhere(const json_t *payload, const mcp_str_t *path)
{
    return path->len
           && json_object_getn(json_object_get(payload, "_claim_names"),
                               (const char *) path->data, path->len)
              != NULL;
}


static void
mcp_jwt_role_add(const mcp_jwt_issuer_t *issuer, const json_t *value,
    mcp_roles_t *roles)
{
    unsigned               i;
    mcp_str_t              text;
    const mcp_role_map_t  *map;

    text = mcp_jwt_text(value);

    for (i = 0; i < issuer->nrole_map; i++) {
        map = &issuer->role_map[i];

        if (map->role < MCP_MAX_ROLES && mcp_str_eq(&map->value, &text)) {
            mcp_role_set(roles, map->role);
        }
    }
}


/* Claims for variables and logs; what is no scalar, too long or not printable
 * is as if it were absent: nothing is cut, since cut values compare equal. */

static void
mcp_jwt_extra(const json_t *payload, const mcp_jwt_issuer_t *issuer,
    mcp_jwt_draft_t *draft)
{
    json_t       *json;
    unsigned      i, n;
    mcp_claim_t  *claim;

    n = 0;

    for (i = 0; i < issuer->nclaims && n < MCP_MAX_CLAIMS; i++) {
        json = mcp_jwt_path(payload, &issuer->claims[i]);
        claim = &draft->claims[n];

        if (mcp_jwt_scalar(json, draft->numbers[n], &claim->value) == MCP_OK) {
            claim->name = issuer->claims[i];
            n++;
        }
    }

    draft->principal.claims = draft->claims;
    draft->principal.nclaims = n;
}


static int
mcp_jwt_scalar(const json_t *value, char *number, mcp_str_t *text)
{
    if (json_is_string(value)) {
        *text = mcp_jwt_text(value);
        return mcp_jwt_printable(text, MCP_JWT_CLAIM_MAX) ? MCP_OK
                                                          : MCP_ERROR;
    }

    if (json_is_true(value)) {
        mcp_str_set(text, "true");
        return MCP_OK;
    }

    if (json_is_false(value)) {
        mcp_str_set(text, "false");
        return MCP_OK;
    }

    if (json_is_integer(value)) {
        (void) snprintf(number, MCP_JWT_NUMBER_TEXT, "%lld",
                        (long long) json_integer_value(value));

    } else if (json_is_real(value)) {
        (void) snprintf(number, MCP_JWT_NUMBER_TEXT, "%.17g",
                        json_real_value(value));

    } else {
        return MCP_ERROR;
    }

    text->data = (unsigned char *) number;
    text->len = strlen(number);

    return MCP_OK;
}


static json_t *
mcp_jwt_claim(const json_t *payload, const mcp_str_t *name)
{
    if (name->len == 0) {
        return NULL;
    }

    return json_object_getn(payload, (const char *) name->data, name->len);
}


/* A claim by its literal name, which may be a URL, or else by the names between
 * slashes, from object to object. */

static json_t *
mcp_jwt_path(const json_t *payload, const mcp_str_t *path)
{
    json_t               *json;
    mcp_str_t             name;
    const unsigned char  *end;

    json = mcp_jwt_claim(payload, path);

    if (json != NULL || path->len == 0) {
        return json;
    }

    name.data = path->data;
    end = path->data + path->len;

    for ( ;; ) {
        name.len = 0;

        while (name.data + name.len < end && name.data[name.len] != '/') {
            name.len++;
        }

        payload = mcp_jwt_claim(payload, &name);

        if (payload == NULL || name.data + name.len == end) {
            return (json_t *) payload;
        }

        name.data += name.len + 1;
    }
}


/* UTF-8 is jansson's; controls would reach logs and headers. */

static int
mcp_jwt_printable(const mcp_str_t *s, size_t max)
{
    size_t  i;

    if (s->len > max) {
        return 0;
    }

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x20 || s->data[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


static int
mcp_jwt_name(const json_t *json, mcp_str_t *name)
{
    *name = mcp_jwt_text(json);

    return name->len && mcp_jwt_printable(name, MCP_JWT_NAME_MAX)
           ? MCP_OK : MCP_ERROR;
}
