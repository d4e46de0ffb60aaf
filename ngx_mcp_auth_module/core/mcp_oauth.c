/*
 * Token requests and what their answers mean.  See mcp_oauth.h.
 *
 * Always true: a token is taken only from an answer that says so in every way
 * it could (status, type, ok member, no error); what cannot be understood after
 * a request that may have had an effect is MCP_OAUTH_UNKNOWN, never "nothing
 * happened"; no text of a provider leaves this file but tokens and scopes.
 */

#include "mcp_oauth.h"
#include "mcp_json_tree.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>


#define MCP_OAUTH_LIFETIME  (10LL * 366 * 86400)    /* s; longer ones are cut */
#define MCP_OAUTH_SHORT     300         /* s, when expires_in is strange */
#define MCP_OAUTH_SCOPE     4096


/* a field of a request, as form or JSON member */
typedef struct {
    mcp_buf_t           *b;
    unsigned             json:1;
    unsigned             more:1;
} mcp_oauth_form_t;

typedef struct {
    const char          *error;
    mcp_oauth_class_e    class;
} mcp_oauth_error_t;


static void mcp_oauth_field(mcp_oauth_form_t *f, const char *name,
    const mcp_str_t *value);
static void mcp_oauth_text(mcp_oauth_form_t *f, const char *name,
    const char *value);
static void mcp_oauth_urlencode(mcp_buf_t *b, const mcp_str_t *s);
static void mcp_oauth_grant(const mcp_oauth_request_t *req,
    mcp_oauth_form_t *f);
static void mcp_oauth_client(const mcp_oauth_request_t *req,
    mcp_oauth_form_t *f);
static int mcp_oauth_basic(const mcp_oauth_request_t *req, mcp_buf_t *headers);
static int mcp_oauth_own_revoke(const mcp_oauth_request_t *req,
    mcp_buf_t *headers, mcp_buf_t *body);
static unsigned mcp_oauth_at(const mcp_oauth_provider_t *p, const char *name);
static int mcp_oauth_over(json_t *error);
static void mcp_oauth_wipe(mcp_str_t *s);
static json_t *mcp_oauth_load(const mcp_str_t *body);
static void mcp_oauth_status(unsigned status, mcp_oauth_answer_t *a);
static int mcp_oauth_refused(const mcp_oauth_request_t *req, json_t *top,
    unsigned status, mcp_oauth_answer_t *a);
static const mcp_oauth_error_t *mcp_oauth_known(json_t *error);
static int mcp_oauth_is(json_t *value, const char *text);
static const char *mcp_oauth_tokens(const mcp_oauth_request_t *req,
    json_t *top, const mcp_mem_t *mem, mcp_oauth_answer_t *a);
static const char *mcp_oauth_rest(const mcp_oauth_request_t *req, json_t *at,
    const mcp_mem_t *mem, mcp_oauth_answer_t *a);
static int mcp_oauth_scope(json_t *object, const mcp_mem_t *mem,
    mcp_oauth_answer_t *a);
static int mcp_oauth_token(json_t *object, const char *key,
    const mcp_mem_t *mem, mcp_str_t *out);
static int mcp_oauth_seconds(json_t *object, const char *key, int64_t *out);


#define MCP_OAUTH_EXCHANGE_GRANT                                              \
    "urn:ietf:params:oauth:grant-type:token-exchange"
#define MCP_OAUTH_ACCESS_TOKEN_TYPE                                           \
    "urn:ietf:params:oauth:token-type:access_token"
#define MCP_OAUTH_ATLASSIAN_DEAD  "Unknown or invalid refresh token."
#define MCP_OAUTH_ASSERTION_TYPE                                              \
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


/* The habits (facts/oauth-okta.md 4.1, 4.2). */
static const mcp_oauth_provider_t  mcp_oauth_providers[] = {

    { .name = "generic",
      .auth = MCP_OAUTH_BASIC,
      .rotates = 1,             /* until it is known better */
      .pkce = 1,
      .lifetime = 300,
      .keepalive = 3 * 86400 },

    /* single use, and the old access token ends with it */

    { .name = "github",
      .title = mcp_string("GitHub"),
      .token_endpoint =
          mcp_string("https://github.com/login/oauth/access_token"),
      .authorize_endpoint =
          mcp_string("https://github.com/login/oauth/authorize"),
      .auth = MCP_OAUTH_POST,
      .rotates = 1,
      .pkce = 1,
      .lifetime = 0,
      .keepalive = 30 * 86400 },

    { .name = "atlassian",
      .title = mcp_string("Atlassian"),
      .token_endpoint = mcp_string("https://auth.atlassian.com/oauth/token"),
      .authorize_endpoint = mcp_string("https://auth.atlassian.com/authorize"),
      .authorize_extra =
          mcp_string("audience=api.atlassian.com&prompt=consent"),
      .auth = MCP_OAUTH_POST,
      .json = 1,
      .rotates = 1,
      .grace = 600,
      .lifetime = 3600,
      .keepalive = 30 * 86400 },

    { .name = "slack",
      .title = mcp_string("Slack"),
      .token_endpoint = mcp_string("https://slack.com/api/oauth.v2.access"),
      .authorize_endpoint =
          mcp_string("https://slack.com/oauth/v2/authorize"),
      .revoke_endpoint = mcp_string("https://slack.com/api/auth.revoke"),
      .auth = MCP_OAUTH_POST,
      .rotates = 1,
      .lifetime = 0,
      .within = mcp_string("authed_user") },

    { .name = "google",
      .title = mcp_string("Google"),
      .token_endpoint = mcp_string("https://oauth2.googleapis.com/token"),
      .authorize_endpoint =
          mcp_string("https://accounts.google.com/o/oauth2/v2/auth"),
      .revoke_endpoint = mcp_string("https://oauth2.googleapis.com/revoke"),
      .authorize_extra = mcp_string("access_type=offline&prompt=consent"),
      .auth = MCP_OAUTH_POST,
      .pkce = 1,
      .grace = -1,
      .lifetime = 3600 },

    /* endpoints have the tenant in them: to be configured */

    { .name = "entra",
      .title = mcp_string("Microsoft Entra"),
      .auth = MCP_OAUTH_POST,
      .pkce = 1,
      .grace = -1,
      .lifetime = 3600,
      .keepalive = 30 * 86400 },

    { .name = "okta",
      .title = mcp_string("Okta"),
      .auth = MCP_OAUTH_BASIC,
      .rotates = 1,
      .pkce = 1,
      .grace = 30,
      .lifetime = 3600,
      .keepalive = 3 * 86400 }
};


/* What providers say, in an error member of whatever status. */
static const mcp_oauth_error_t  mcp_oauth_errors[] = {
    { "invalid_grant", MCP_OAUTH_GRANT_DEAD },
    { "bad_refresh_token", MCP_OAUTH_GRANT_DEAD },
    { "invalid_refresh_token", MCP_OAUTH_GRANT_DEAD },
    { "token_revoked", MCP_OAUTH_GRANT_DEAD },
    { "token_expired", MCP_OAUTH_GRANT_DEAD },
    { "account_inactive", MCP_OAUTH_GRANT_DEAD },
    { "invalid_auth", MCP_OAUTH_GRANT_DEAD },
    { "bad_verification_code", MCP_OAUTH_GRANT_DEAD },
    { "invalid_code", MCP_OAUTH_GRANT_DEAD },
    { "access_denied", MCP_OAUTH_GRANT_DEAD },

    { "invalid_client", MCP_OAUTH_CLIENT_BAD },
    { "incorrect_client_credentials", MCP_OAUTH_CLIENT_BAD },
    { "unauthorized_client", MCP_OAUTH_CLIENT_BAD },
    { "bad_client_secret", MCP_OAUTH_CLIENT_BAD },
    { "invalid_client_id", MCP_OAUTH_CLIENT_BAD },
    { "unsupported_grant_type", MCP_OAUTH_CLIENT_BAD },
    { "invalid_request", MCP_OAUTH_CLIENT_BAD },
    { "invalid_scope", MCP_OAUTH_CLIENT_BAD },
    { "invalid_target", MCP_OAUTH_CLIENT_BAD },
    { "redirect_uri_mismatch", MCP_OAUTH_CLIENT_BAD },
    { "bad_redirect_uri", MCP_OAUTH_CLIENT_BAD },
    { "use_dpop_nonce", MCP_OAUTH_CLIENT_BAD },

    { "temporarily_unavailable", MCP_OAUTH_TRANSIENT },
    { "server_error", MCP_OAUTH_TRANSIENT },
    { "slow_down", MCP_OAUTH_TRANSIENT },
    { "ratelimited", MCP_OAUTH_TRANSIENT },
    { "rate_limited", MCP_OAUTH_TRANSIENT },
    { "internal_error", MCP_OAUTH_TRANSIENT },
    { "fatal_error", MCP_OAUTH_TRANSIENT },
    { "service_unavailable", MCP_OAUTH_TRANSIENT },

    { "interaction_required", MCP_OAUTH_INTERACT },
    { "login_required", MCP_OAUTH_INTERACT },
    { "consent_required", MCP_OAUTH_INTERACT },
    { "insufficient_user_authentication", MCP_OAUTH_INTERACT },
    { "unverified_user_email", MCP_OAUTH_INTERACT }
};

#define MCP_OAUTH_NPROVIDERS                                                  \
    (sizeof(mcp_oauth_providers) / sizeof(mcp_oauth_providers[0]))
#define MCP_OAUTH_NERRORS                                                     \
    (sizeof(mcp_oauth_errors) / sizeof(mcp_oauth_errors[0]))


const mcp_oauth_provider_t *
mcp_oauth_provider(const mcp_str_t *name)
{
    size_t  i;

    for (i = 0; i < MCP_OAUTH_NPROVIDERS; i++) {
        if (strlen(mcp_oauth_providers[i].name) == name->len
            && memcmp(mcp_oauth_providers[i].name, name->data, name->len)
               == 0)
        {
            return &mcp_oauth_providers[i];
        }
    }

    return NULL;
}


const char *
mcp_oauth_class_name(mcp_oauth_class_e class)
{
    static const char *const  names[] = {
        "none", "ok", "grant_dead", "client_bad", "transient", "unknown",
        "interact"
    };

    return names[class <= MCP_OAUTH_INTERACT ? class : 0];
}


int
mcp_oauth_request(const mcp_oauth_request_t *req, mcp_buf_t *headers,
    mcp_buf_t *body)
{
    unsigned          revoke;
    mcp_oauth_form_t  f;

    revoke = req->grant >= MCP_OAUTH_REVOKE_REFRESH;

    if (revoke && mcp_oauth_own_revoke(req, headers, body)) {
        return headers->overflow || body->overflow ? MCP_ERROR : MCP_OK;
    }

    f.b = body;
    f.json = req->provider->json && !revoke;    /* RFC 7009 2.1: a form */
    f.more = 0;

    mcp_oauth_grant(req, &f);
    mcp_oauth_client(req, &f);

    if (f.json) {
        mcp_buf_lit(body, "}");
        mcp_buf_lit(headers, "Content-Type: application/json\r\n");

    } else {
        mcp_buf_lit(headers,
                    "Content-Type: application/x-www-form-urlencoded\r\n");
    }

    if (req->auth == MCP_OAUTH_BASIC
        && mcp_oauth_basic(req, headers) != MCP_OK)
    {
        return MCP_ERROR;
    }

    return headers->overflow || body->overflow ? MCP_ERROR : MCP_OK;
}


mcp_oauth_grant_e
mcp_oauth_revoke_by(const mcp_oauth_provider_t *p, unsigned refresh)
{
    unsigned  github;

    /* whose endpoint has the client's name in it, and is always there */

    github = mcp_oauth_at(p, "github");

    if (p->revoke_endpoint.len == 0 && !github) {
        return 0;
    }

    return (!refresh || github || mcp_oauth_at(p, "slack"))
           ? MCP_OAUTH_REVOKE_ACCESS : MCP_OAUTH_REVOKE_REFRESH;
}


const char *
mcp_oauth_method(const mcp_oauth_request_t *req)
{
    return (req->grant >= MCP_OAUTH_REVOKE_REFRESH
            && mcp_oauth_at(req->provider, "github")) ? "DELETE" : "POST";
}


mcp_oauth_class_e
mcp_oauth_revoked(const mcp_oauth_request_t *req, unsigned status,
    const mcp_str_t *body, const char **error)
{
    json_t              *top;
    mcp_oauth_answer_t   a;

    memset(&a, 0, sizeof(mcp_oauth_answer_t));

    top = mcp_oauth_load(body);

    if (top && mcp_oauth_over(json_object_get(top, "error"))
        && status < 500 && status != 429)
    {
        a.class = MCP_OAUTH_GRANT_DEAD;
        a.error = "invalid_token";

    } else if (mcp_oauth_at(req->provider, "github")
               && (status == 404 || status == 422))
    {
        /* it does not know the token, or not the client of the address */

        a.class = MCP_OAUTH_GRANT_DEAD;
        a.error = "not_found";

    } else if (top == NULL && status >= 200 && status < 300) {

        /* an empty body, most of the time; Slack always says something */

        a.class = mcp_oauth_at(req->provider, "slack") ? MCP_OAUTH_UNKNOWN
                                                       : MCP_OAUTH_OK;
        a.error = (a.class == MCP_OAUTH_OK) ? NULL : "no_json";

    } else if (top == NULL) {
        mcp_oauth_status(status, &a);

    } else if (!mcp_oauth_refused(req, top, status, &a)) {
        a.class = MCP_OAUTH_OK;
    }

    json_decref(top);

    *error = a.error;

    return a.class;
}


/* What there is to revoke is not there: as good as done. */
static int
mcp_oauth_over(json_t *error)
{
    return mcp_oauth_is(error, "invalid_token")
           || mcp_oauth_is(error, "token_revoked")
           || mcp_oauth_is(error, "token_expired")
           || mcp_oauth_is(error, "invalid_auth")
           || mcp_oauth_is(error, "account_inactive");
}


/* 0: as in RFC 7009 */
static int
mcp_oauth_own_revoke(const mcp_oauth_request_t *req, mcp_buf_t *headers,
    mcp_buf_t *body)
{
    mcp_oauth_form_t  f;

    f.b = body;
    f.json = mcp_oauth_at(req->provider, "github");
    f.more = 0;

    if (f.json) {

        /* the whole authorization, as who owns the application */

        mcp_oauth_field(&f, "access_token", &req->token);
        mcp_buf_lit(body, "}");
        mcp_buf_lit(headers, "Content-Type: application/json\r\n");

        if (mcp_oauth_basic(req, headers) != MCP_OK) {
            headers->overflow = 1;
        }

        return 1;
    }

    if (!mcp_oauth_at(req->provider, "slack")
        && !mcp_oauth_at(req->provider, "google"))
    {
        return 0;
    }

    /* whoever has the token may end it: no secret of the gateway's */

    mcp_oauth_field(&f, "token", &req->token);
    mcp_buf_lit(headers,
                "Content-Type: application/x-www-form-urlencoded\r\n");

    return 1;
}


static unsigned
mcp_oauth_at(const mcp_oauth_provider_t *p, const char *name)
{
    return p->name && strcmp(p->name, name) == 0;
}


static void
mcp_oauth_grant(const mcp_oauth_request_t *req, mcp_oauth_form_t *f)
{
    switch (req->grant) {

    case MCP_OAUTH_CLIENT_CREDENTIALS:
        mcp_oauth_text(f, "grant_type", "client_credentials");
        break;

    case MCP_OAUTH_REFRESH:
        mcp_oauth_text(f, "grant_type", "refresh_token");
        mcp_oauth_field(f, "refresh_token", &req->token);

        /* scope and audience are as granted; RFC 8707 2.2 wants this one again:
         * else it may be a token for something else */

        mcp_oauth_field(f, "resource", &req->resource);
        return;

    case MCP_OAUTH_EXCHANGE:
        mcp_oauth_text(f, "grant_type", MCP_OAUTH_EXCHANGE_GRANT);
        mcp_oauth_text(f, "subject_token_type", MCP_OAUTH_ACCESS_TOKEN_TYPE);
        mcp_oauth_field(f, "subject_token", &req->token);
        break;

    case MCP_OAUTH_REVOKE_REFRESH:
    case MCP_OAUTH_REVOKE_ACCESS:
        mcp_oauth_field(f, "token", &req->token);
        mcp_oauth_text(f, "token_type_hint",
                       req->grant == MCP_OAUTH_REVOKE_REFRESH
                       ? "refresh_token" : "access_token");
        return;

    default: /* MCP_OAUTH_CODE */
        mcp_oauth_text(f, "grant_type", "authorization_code");
        mcp_oauth_field(f, "code", &req->token);
        mcp_oauth_field(f, "redirect_uri", &req->redirect_uri);
        mcp_oauth_field(f, "code_verifier", &req->verifier);
        mcp_oauth_field(f, "resource", &req->resource);
        return;
    }

    mcp_oauth_field(f, "scope", &req->scope);
    mcp_oauth_field(f, "audience", &req->audience);
    mcp_oauth_field(f, "resource", &req->resource);
}


static void
mcp_oauth_client(const mcp_oauth_request_t *req, mcp_oauth_form_t *f)
{
    switch (req->auth) {

    case MCP_OAUTH_POST:
        mcp_oauth_field(f, "client_id", &req->client_id);
        mcp_oauth_field(f, "client_secret", &req->client_secret);
        break;

    case MCP_OAUTH_PRIVATE_KEY_JWT:
        mcp_oauth_field(f, "client_id", &req->client_id);
        mcp_oauth_text(f, "client_assertion_type", MCP_OAUTH_ASSERTION_TYPE);
        mcp_oauth_field(f, "client_assertion", &req->assertion);
        break;

    case MCP_OAUTH_NONE:
        mcp_oauth_field(f, "client_id", &req->client_id);
        break;

    default: /* MCP_OAUTH_BASIC */
        break;
    }
}


/* RFC 6749 2.3.1: both are form-encoded first. */
static int
mcp_oauth_basic(const mcp_oauth_request_t *req, mcp_buf_t *headers)
{
    int            n;
    mcp_buf_t      b;
    unsigned char  plain[2048], coded[2740];

    mcp_buf_init(&b, plain, sizeof(plain));
    mcp_oauth_urlencode(&b, &req->client_id);
    mcp_buf_lit(&b, ":");
    mcp_oauth_urlencode(&b, &req->client_secret);

    if (!b.overflow) {
        n = EVP_EncodeBlock(coded, plain, (int) (b.pos - b.start));

        mcp_buf_lit(headers, "Authorization: Basic ");
        mcp_buf_put(headers, coded, (size_t) n);
        mcp_buf_lit(headers, "\r\n");
    }

    OPENSSL_cleanse(plain, sizeof(plain));
    OPENSSL_cleanse(coded, sizeof(coded));

    return b.overflow ? MCP_ERROR : MCP_OK;
}


static void
mcp_oauth_text(mcp_oauth_form_t *f, const char *name, const char *value)
{
    mcp_str_t  s;

    s.data = (unsigned char *) value;
    s.len = strlen(value);

    mcp_oauth_field(f, name, &s);
}


/* Empty ones are left out. */
static void
mcp_oauth_field(mcp_oauth_form_t *f, const char *name, const mcp_str_t *value)
{
    if (value->len == 0) {
        return;
    }

    if (f->json) {
        mcp_buf_put(f->b, f->more ? "," : "{", 1);
        mcp_buf_json(f->b, name, strlen(name), strlen(name));
        mcp_buf_lit(f->b, ":");
        mcp_buf_json(f->b, value->data, value->len, value->len);

    } else {
        if (f->more) {
            mcp_buf_lit(f->b, "&");
        }

        mcp_buf_put(f->b, name, strlen(name));
        mcp_buf_lit(f->b, "=");
        mcp_oauth_urlencode(f->b, value);
    }

    f->more = 1;
}


/* application/x-www-form-urlencoded, with %20 for a space: it is read the same
 * everywhere. */
static void
mcp_oauth_urlencode(mcp_buf_t *b, const mcp_str_t *s)
{
    size_t         i;
    unsigned char  c, esc[3];

    static const char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < s->len; i++) {
        c = s->data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9')
            || c == '-' || c == '.' || c == '_' || c == '~')
        {
            mcp_buf_put(b, &c, 1);
            continue;
        }

        esc[0] = '%';
        esc[1] = (unsigned char) hex[c >> 4];
        esc[2] = (unsigned char) hex[c & 0xf];
        mcp_buf_put(b, esc, 3);
    }
}


void
mcp_oauth_answer(const mcp_oauth_request_t *req, unsigned status,
    const mcp_str_t *body, const mcp_mem_t *mem, mcp_oauth_answer_t *a)
{
    json_t      *top;
    const char  *error;

    memset(a, 0, sizeof(mcp_oauth_answer_t));

    top = mcp_oauth_load(body);

    if (top == NULL) {
        mcp_oauth_status(status, a);
        return;
    }

    if (!mcp_oauth_refused(req, top, status, a)) {

        error = mcp_oauth_tokens(req, top, mem, a);

        if (error) {

            /* 2xx, and nothing that can be used: what it has done is open */

            mcp_oauth_wipe(&a->access_token);
            mcp_oauth_wipe(&a->refresh_token);
            mcp_oauth_wipe(&a->id_token);

            memset(a, 0, sizeof(mcp_oauth_answer_t));
            a->class = MCP_OAUTH_UNKNOWN;
            a->error = error;
        }
    }

    json_decref(top);
}


static void
mcp_oauth_wipe(mcp_str_t *s)
{
    if (s->len) {
        OPENSSL_cleanse(s->data, s->len);
    }
}


/* NULL: no JSON object, or too large. */
static json_t *
mcp_oauth_load(const mcp_str_t *body)
{
    int  oom;

    if (body->len > MCP_OAUTH_BODY) {
        return NULL;
    }

    return mcp_json_tree(body->data, body->len, MCP_JSON_TREE_DEPTH, &oom);
}


/* An answer that says nothing but its status. */
static void
mcp_oauth_status(unsigned status, mcp_oauth_answer_t *a)
{
    if (status == 429) {
        a->class = MCP_OAUTH_TRANSIENT;
        a->error = "http_429";

    } else if (status >= 500) {

        /* of 502 and 504 somebody in front of the provider knows as little */

        a->class = (status == 502 || status == 504) ? MCP_OAUTH_UNKNOWN
                                                    : MCP_OAUTH_TRANSIENT;
        a->error = "http_5xx";

    } else if (status == 408) {

        /* it waited for us, or somebody in front of it did */

        a->class = MCP_OAUTH_UNKNOWN;
        a->error = "http_408";

    } else if (status == 401) {
        a->class = MCP_OAUTH_CLIENT_BAD;
        a->error = "http_401";

    } else if (status >= 400) {
        a->class = MCP_OAUTH_CLIENT_BAD;
        a->error = "http_4xx";

    } else if (status >= 300) {
        a->class = MCP_OAUTH_CLIENT_BAD;
        a->error = "http_3xx";

    } else {
        a->class = MCP_OAUTH_UNKNOWN;
        a->error = "no_json";
    }
}


/* 1: it says in some way that there is no token; *a is set. */
static int
mcp_oauth_refused(const mcp_oauth_request_t *req, json_t *top, unsigned status,
    mcp_oauth_answer_t *a)
{
    json_t                   *error, *ok;
    const mcp_oauth_error_t  *e;

    error = json_object_get(top, "error");
    ok = json_object_get(top, "ok");

    if ((error == NULL || json_is_null(error))
        && (ok == NULL || json_is_true(ok))
        && status >= 200 && status < 300)
    {
        return 0;
    }

    if (status >= 200 && status < 300
        && json_string_length(json_object_get(top, "access_token")))
    {
        /* tokens all the same: a refresh token may have been used up */

        a->class = MCP_OAUTH_UNKNOWN;
        a->error = "contradiction";

        return 1;
    }

    e = mcp_oauth_known(error);

    /* who is overloaded judges nobody: some say access_denied with a 429; of
     * 502 and 504 no word says what became of the request */

    if (e
        && (status == 502 || status == 504
            || (e->class != MCP_OAUTH_TRANSIENT
                && (status == 429 || status >= 500))))
    {
        e = NULL;
    }

    if (e == NULL) {

        if (status >= 200 && status < 300) {

            /* an error that nobody here knows: no reason to end a grant */

            a->class = MCP_OAUTH_TRANSIENT;
            a->error = "unknown_error";

        } else {
            mcp_oauth_status(status, a);
        }

        return 1;
    }

    a->class = e->class;
    a->error = e->error;

    /* a refused client and a refused grant look alike at Atlassian: of a
     * refresh it is the grant that is over, whose 403 may be a 400 or 401 */

    if (req->grant == MCP_OAUTH_REFRESH
        && req->provider->json
        && mcp_oauth_is(error, "unauthorized_client")
        && (status == 403
            || mcp_oauth_is(json_object_get(top, "error_description"),
                            MCP_OAUTH_ATLASSIAN_DEAD)))
    {
        a->class = MCP_OAUTH_GRANT_DEAD;
    }

    return 1;
}


static const mcp_oauth_error_t *
mcp_oauth_known(json_t *error)
{
    size_t  i;

    for (i = 0; i < MCP_OAUTH_NERRORS; i++) {
        if (mcp_oauth_is(error, mcp_oauth_errors[i].error)) {
            return &mcp_oauth_errors[i];
        }
    }

    return NULL;
}


static int
mcp_oauth_is(json_t *value, const char *text)
{
    return json_is_string(value)
           && json_string_length(value) == strlen(text)
           && memcmp(json_string_value(value), text, strlen(text)) == 0;
}


/* NULL: *a has the tokens; else what is wrong with the answer. */
static const char *
mcp_oauth_tokens(const mcp_oauth_request_t *req, json_t *top,
    const mcp_mem_t *mem, mcp_oauth_answer_t *a)
{
    json_t           *at, *type;
    const char       *key, *error;
    const mcp_str_t  *within;

    at = top;
    within = &req->provider->within;

    /* Slack's refresh of a person's token answers at the top */

    if (within->len && req->grant == MCP_OAUTH_CODE) {
        key = (const char *) within->data;
        at = json_object_get(top, key);

        if (!json_is_object(at)) {
            return "no_access_token";
        }
    }

    if (mcp_oauth_token(at, "access_token", mem, &a->access_token) != MCP_OK
        || a->access_token.len == 0)
    {
        return "no_access_token";
    }

    type = json_object_get(at, "token_type");

    if (type
        && !(json_is_string(type)
             && (mcp_str_caseeq(json_string_value(type),
                                json_string_length(type), "bearer", 6)
                 || (within->len
                     && mcp_str_caseeq(json_string_value(type),
                                       json_string_length(type), "user", 4)))))
    {
        return "token_type";
    }

    if (mcp_oauth_token(at, "refresh_token", mem, &a->refresh_token)
        != MCP_OK)
    {
        return "bad_token";
    }

    error = mcp_oauth_rest(req, at, mem, a);

    if (error) {
        return error;
    }

    /* nothing hangs on it: no grant is lost for a strange one, 0 or -1 */

    (void) mcp_oauth_seconds(at, "refresh_token_expires_in",
                             &a->refresh_expires_in);

    a->class = MCP_OAUTH_OK;

    return NULL;
}


/*
 * What stands beside the tokens; NULL, or what is wrong with it.  The refresh
 * token of a refresh may be used up: what came in its place is not thrown away
 * for something that can be done without.
 */
static const char *
mcp_oauth_rest(const mcp_oauth_request_t *req, json_t *at,
    const mcp_mem_t *mem, mcp_oauth_answer_t *a)
{
    unsigned  refresh;

    refresh = (req->grant == MCP_OAUTH_REFRESH);

    if (mcp_oauth_token(at, "id_token", mem, &a->id_token) != MCP_OK
        && !refresh)
    {
        return "bad_token";
    }

    if (mcp_oauth_scope(at, mem, a) != MCP_OK && !refresh) {
        return "bad_scope";
    }

    a->expires_in = req->provider->lifetime;

    if (mcp_oauth_seconds(at, "expires_in", &a->expires_in) != MCP_OK) {

        if (!refresh) {
            return "bad_expires_in";
        }

        a->expires_in = MCP_OAUTH_SHORT;
    }

    return NULL;
}


/* GitHub has "" where a person granted none of those that were asked for. */
static int
mcp_oauth_scope(json_t *object, const mcp_mem_t *mem, mcp_oauth_answer_t *a)
{
    json_t  *scope;

    scope = json_object_get(object, "scope");

    if (scope == NULL || json_is_null(scope)) {
        return MCP_OK;
    }

    if (!json_is_string(scope)
        || json_string_length(scope) > MCP_OAUTH_SCOPE)
    {
        return MCP_ERROR;
    }

    a->scope_said = 1;

    return mcp_str_dup(mem, &a->scope, json_string_value(scope),
                       json_string_length(scope));
}


/* Absent or null: empty.  It will be a header's value: visible ASCII. */
static int
mcp_oauth_token(json_t *object, const char *key, const mcp_mem_t *mem,
    mcp_str_t *out)
{
    size_t       i, len;
    json_t      *value;
    const char  *text;

    value = json_object_get(object, key);

    if (value == NULL || json_is_null(value)) {
        mcp_str_null(out);
        return MCP_OK;
    }

    if (!json_is_string(value)) {
        return MCP_ERROR;
    }

    text = json_string_value(value);
    len = json_string_length(value);

    if (len > MCP_OAUTH_TOKEN) {
        return MCP_ERROR;
    }

    for (i = 0; i < len; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) {
            return MCP_ERROR;
        }
    }

    return mcp_str_dup(mem, out, text, len);
}


/* A number of seconds, also as text (some write it so); absent: as it is. */
static int
mcp_oauth_seconds(json_t *object, const char *key, int64_t *out)
{
    size_t       i, len;
    json_t      *value;
    int64_t      n;
    const char  *text;

    value = json_object_get(object, key);

    if (value == NULL || json_is_null(value)) {
        return MCP_OK;
    }

    if (json_is_integer(value)) {
        n = json_integer_value(value);

    } else if (json_is_real(value)) {
        if (!(json_real_value(value) >= 0
              && json_real_value(value) < (double) MCP_OAUTH_LIFETIME))
        {
            return MCP_ERROR;
        }

        n = (int64_t) json_real_value(value);

    } else if (json_is_string(value)) {
        text = json_string_value(value);
        len = json_string_length(value);

        if (len == 0 || len > 10) {
            return MCP_ERROR;
        }

        for (n = 0, i = 0; i < len; i++) {
            if (text[i] < '0' || text[i] > '9') {
                return MCP_ERROR;
            }

            n = n * 10 + (text[i] - '0');
        }

    } else {
        return MCP_ERROR;
    }

    if (n <= 0) {
        return MCP_ERROR;
    }

    *out = n < MCP_OAUTH_LIFETIME ? n : MCP_OAUTH_LIFETIME;

    return MCP_OK;
}
