/*
 * Texts of sessions, states and tickets; the URL of an authorization request;
 * scopes, granted and wanted.
 */

#include "mcp_connect.h"
#include "mcp_form.h"
#include "mcp_json_tree.h"

#include <openssl/evp.h>


#define MCP_CONNECT_VERSION  1
#define MCP_CONNECT_SKEW     60         /* s */


typedef struct {
    const char          *name;
    size_t               offset;        /* of a mcp_str_t */
    size_t               max;           /* bytes */
} mcp_connect_field_t;


static void mcp_connect_write(mcp_buf_t *b, const void *of,
    const mcp_connect_field_t *fields, size_t n, int kind, int64_t begun);
static int mcp_connect_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    void *to, const mcp_connect_field_t *fields, size_t n, int *kind,
    int64_t *begun);
static int mcp_connect_integer(const json_t *root, const char *name,
    int64_t min, int64_t max, int64_t *value);
static void mcp_connect_extra(mcp_buf_t *b, const mcp_connect_away_t *a);
static mcp_str_t mcp_connect_field_name(const mcp_str_t *field);
static int mcp_connect_next(mcp_str_t *rest, unsigned char one,
    unsigned char other, mcp_str_t *word);
static int mcp_connect_among(const char *words, const mcp_str_t *word);
static int mcp_connect_challenge(mcp_buf_t *b, const mcp_str_t *verifier);
static int mcp_connect_has(const mcp_str_t *granted, const mcp_str_t *wanted,
    const char *provider);
static int mcp_connect_of_answer(const mcp_str_t *scope);
static int mcp_connect_implies(const mcp_str_t *granted,
    const mcp_str_t *wanted, const char *provider);


#define mcp_connect_of(type, name, member, max)                               \
    { name, offsetof(type, member), max }


static const mcp_connect_field_t  mcp_connect_session_fields[] = {
    mcp_connect_of(mcp_connect_session_t, "i", issuer, 2048),
    mcp_connect_of(mcp_connect_session_t, "u", user, 256),
    mcp_connect_of(mcp_connect_session_t, "n", name, 256),
    mcp_connect_of(mcp_connect_session_t, "b", nonce, 64)
};

static const mcp_connect_field_t  mcp_connect_state_fields[] = {
    mcp_connect_of(mcp_connect_state_t, "credential", credential, 64),
    mcp_connect_of(mcp_connect_state_t, "issuer", issuer, 2048),
    mcp_connect_of(mcp_connect_state_t, "redirect_uri", redirect_uri, 2048),
    mcp_connect_of(mcp_connect_state_t, "verifier", verifier, 128),
    mcp_connect_of(mcp_connect_state_t, "nonce", nonce, 128),
    mcp_connect_of(mcp_connect_state_t, "browser", browser, 64),
    mcp_connect_of(mcp_connect_state_t, "person_issuer", person_issuer, 2048),
    mcp_connect_of(mcp_connect_state_t, "person", person, 256),
    mcp_connect_of(mcp_connect_state_t, "to", to, 64),
    mcp_connect_of(mcp_connect_state_t, "ticket", ticket, 64),
    mcp_connect_of(mcp_connect_state_t, "scope", scope, 4096)
};

#define mcp_connect_n(fields)  (sizeof(fields) / sizeof(fields[0]))


void
mcp_connect_session_write(mcp_buf_t *b, const mcp_connect_session_t *s)
{
    mcp_connect_write(b, s, mcp_connect_session_fields,
                      mcp_connect_n(mcp_connect_session_fields), 0, s->begun);
}


int
mcp_connect_session_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_connect_session_t *s)
{
    int  kind;

    if (mcp_connect_parse(text, mem, s, mcp_connect_session_fields,
                          mcp_connect_n(mcp_connect_session_fields), &kind,
                          &s->begun)
        != MCP_OK)
    {
        return MCP_ERROR;
    }

    return kind == 0 && s->issuer.len && s->user.len
           && s->nonce.len == MCP_CONNECT_NONCE ? MCP_OK : MCP_ERROR;
}


int
mcp_connect_session_good(const mcp_connect_session_t *s,
    const mcp_str_t *issuer, int64_t now, int64_t age)
{
    return mcp_str_eq(&s->issuer, issuer)
           && s->begun <= now + MCP_CONNECT_SKEW
           && now - s->begun < age;
}


void
mcp_connect_state_write(mcp_buf_t *b, const mcp_connect_state_t *s)
{
    mcp_connect_write(b, s, mcp_connect_state_fields,
                      mcp_connect_n(mcp_connect_state_fields), s->kind,
                      s->begun);
}


int
mcp_connect_state_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_connect_state_t *s)
{
    int  kind;

    if (mcp_connect_parse(text, mem, s, mcp_connect_state_fields,
                          mcp_connect_n(mcp_connect_state_fields), &kind,
                          &s->begun)
        != MCP_OK)
    {
        return MCP_ERROR;
    }

    s->kind = kind;

    return kind >= MCP_CONNECT_LOGIN && kind <= MCP_CONNECT_TICKET
           ? MCP_OK : MCP_ERROR;
}


static void
mcp_connect_write(mcp_buf_t *b, const void *of,
    const mcp_connect_field_t *fields, size_t n, int kind, int64_t begun)
{
    size_t            i;
    const mcp_str_t  *s;

    mcp_buf_lit(b, "{\"v\":");
    mcp_buf_uint(b, MCP_CONNECT_VERSION);
    mcp_buf_lit(b, ",\"k\":");
    mcp_buf_int(b, kind);
    mcp_buf_lit(b, ",\"t\":");
    mcp_buf_int(b, begun);

    for (i = 0; i < n; i++) {
        s = (const mcp_str_t *) ((const char *) of + fields[i].offset);

        mcp_buf_lit(b, ",\"");
        mcp_buf_put(b, fields[i].name, strlen(fields[i].name));
        mcp_buf_lit(b, "\":");
        mcp_buf_json(b, s->data, s->len, (size_t) -1);
    }

    mcp_buf_lit(b, "}");
}


static int
mcp_connect_parse(const mcp_str_t *text, const mcp_mem_t *mem, void *to,
    const mcp_connect_field_t *fields, size_t n, int *kind, int64_t *begun)
{
    int         rc, oom;
    size_t      i;
    json_t     *root, *json;
    int64_t     version, k;
    mcp_str_t  *s;

    if (text->len > MCP_CONNECT_TEXT) {
        return MCP_ERROR;
    }

    root = mcp_json_tree(text->data, text->len, MCP_JSON_TREE_DEPTH, &oom);
    if (root == NULL) {
        return MCP_ERROR;
    }

    rc = MCP_ERROR;

    if (json_object_size(root) != n + 3
        || mcp_connect_integer(root, "v", MCP_CONNECT_VERSION,
                               MCP_CONNECT_VERSION, &version)
           != MCP_OK
        || mcp_connect_integer(root, "k", 0, 99, &k) != MCP_OK
        || mcp_connect_integer(root, "t", 0, INT64_MAX, begun) != MCP_OK)
    {
        goto done;
    }

    *kind = (int) k;

    for (i = 0; i < n; i++) {
        json = json_object_get(root, fields[i].name);
        s = (mcp_str_t *) ((char *) to + fields[i].offset);

        if (!json_is_string(json)
            || json_string_length(json) > fields[i].max
            || mcp_str_dup(mem, s, json_string_value(json),
                           json_string_length(json))
               != MCP_OK)
        {
            goto done;
        }
    }

    rc = MCP_OK;

done:

    json_decref(root);

    return rc;
}


static int
mcp_connect_integer(const json_t *root, const char *name, int64_t min,
    int64_t max, int64_t *value)
{
    json_t  *json;

    json = json_object_get(root, name);

    if (!json_is_integer(json)) {
        return MCP_ERROR;
    }

    *value = (int64_t) json_integer_value(json);

    return *value >= min && *value <= max ? MCP_OK : MCP_ERROR;
}


int
mcp_connect_away(mcp_buf_t *b, const mcp_connect_away_t *a)
{
    mcp_str_t  code = mcp_string("code");

    if (mcp_connect_endpoint(&a->endpoint)) {
        return MCP_ERROR;
    }

    mcp_buf_str(b, &a->endpoint);

    mcp_form_put(b, memchr(a->endpoint.data, '?', a->endpoint.len) ? '&' : '?',
                 "response_type", &code);
    mcp_form_put(b, '&', "client_id", &a->client_id);
    mcp_form_put(b, '&', "redirect_uri", &a->redirect_uri);
    mcp_form_put(b, '&', a->scope_name ? a->scope_name : "scope", &a->scope);
    mcp_form_put(b, '&', "audience", &a->audience);
    mcp_form_put(b, '&', "resource", &a->resource);
    mcp_form_put(b, '&', "state", &a->state);
    mcp_form_put(b, '&', "nonce", &a->nonce);

    if (a->verifier.len && mcp_connect_challenge(b, &a->verifier) != MCP_OK) {
        return MCP_ERROR;
    }

    mcp_connect_extra(b, a);

    return b->overflow ? MCP_ERROR : MCP_OK;
}


/* A line of the configuration is worth more than a provider's habit, and there
 * are not both. */
static void
mcp_connect_extra(mcp_buf_t *b, const mcp_connect_away_t *a)
{
    mcp_str_t  rest, field, name;

    rest = a->extra;

    while (mcp_connect_next(&rest, '&', '&', &field)) {
        name = mcp_connect_field_name(&field);

        if (a->audience.len && mcp_str_eq_lit(&name, "audience")) {
            continue;
        }

        mcp_buf_lit(b, "&");
        mcp_buf_str(b, &field);
    }
}


const char *
mcp_connect_endpoint(const mcp_str_t *endpoint)
{
    size_t                i;
    mcp_str_t             rest, field, name;
    const char           *error;
    const unsigned char  *p;

    /* "request" and "request_uri" (RFC 9101) would replace all of them */

    static const char  ours[] = " response_type response_mode client_id "
                                "redirect_uri scope user_scope audience "
                                "resource state nonce code_challenge "
                                "code_challenge_method request request_uri ";

    error = mcp_connect_handed(endpoint);

    if (error) {
        return error;
    }

    p = memchr(endpoint->data, '?', endpoint->len);
    if (p == NULL) {
        return NULL;
    }

    rest.data = (unsigned char *) p + 1;
    rest.len = endpoint->len - (size_t) (rest.data - endpoint->data);

    while (mcp_connect_next(&rest, '&', '&', &field)) {
        name = mcp_connect_field_name(&field);

        /* "st%61te" is "state": no name needs that */

        for (i = 0; i < name.len; i++) {
            if (name.data[i] == '%' || name.data[i] == '+') {
                return "a parameter's name in the query is encoded";
            }
        }

        if (mcp_connect_among(ours, &name)) {
            return "a parameter of the query is the gateway's to set";
        }
    }

    return NULL;
}


const char *
mcp_connect_handed(const mcp_str_t *url)
{
    size_t  i;

    static const char  shell[] = "#\"$'();<>\\^`{|}";

    for (i = 0; i < url->len; i++) {

        /* none of them needs to be there as it is: "%28" is "(" as well */

        if (url->data[i] <= 0x20 || url->data[i] >= 0x7f
            || memchr(shell, url->data[i], sizeof(shell) - 1))
        {
            return "a character that is not for a URL that others open";
        }
    }

    return NULL;
}


const char *
mcp_connect_own(const mcp_str_t *url)
{
    size_t       i, slashes;
    mcp_str_t    port;
    const char  *error;

    error = mcp_connect_handed(url);

    if (error) {
        return error;
    }

    slashes = 0;
    mcp_str_null(&port);

    for (i = 0; i < url->len; i++) {

        if (url->data[i] >= 'A' && url->data[i] <= 'Z') {
            return "scheme and host are not written in lower case";
        }

        if (url->data[i] == '/' && ++slashes == 3) {
            break;
        }

        /* the last one: an IPv6 address has some of its own */

        if (url->data[i] == ':') {
            port.data = url->data + i;
        }
    }

    if (port.data) {
        port.len = (size_t) (url->data + i - port.data);
    }

    if ((url->len > 4 && url->data[4] == 's')
        ? mcp_str_eq_lit(&port, ":443") : mcp_str_eq_lit(&port, ":80"))
    {
        return "the scheme's own port is written";
    }

    return NULL;
}


static mcp_str_t
mcp_connect_field_name(const mcp_str_t *field)
{
    mcp_str_t             name;
    const unsigned char  *p;

    p = memchr(field->data, '=', field->len);

    name.data = field->data;
    name.len = p ? (size_t) (p - field->data) : field->len;

    return name;
}


/* 1: the next word, never an empty one, which is then taken off rest.  Either
 * of two characters separates. */
static int
mcp_connect_next(mcp_str_t *rest, unsigned char one, unsigned char other,
    mcp_str_t *word)
{
    while (rest->len && (rest->data[0] == one || rest->data[0] == other)) {
        rest->data++;
        rest->len--;
    }

    word->data = rest->data;
    word->len = 0;

    while (rest->len && rest->data[0] != one && rest->data[0] != other) {
        word->len++;
        rest->data++;
        rest->len--;
    }

    return word->len != 0;
}


/* 1: words have this one, whatever the case of its letters. */
static int
mcp_connect_among(const char *words, const mcp_str_t *word)
{
    mcp_str_t  rest, one;

    rest.data = (unsigned char *) words;
    rest.len = strlen(words);

    while (mcp_connect_next(&rest, ' ', ' ', &one)) {
        if (mcp_str_caseeq(one.data, one.len, word->data, word->len)) {
            return 1;
        }
    }

    return 0;
}


static int
mcp_connect_challenge(mcp_buf_t *b, const mcp_str_t *verifier)
{
    unsigned       i, n;
    unsigned char  hash[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
    mcp_str_t      challenge, method = mcp_string("S256");

    if (EVP_Digest(verifier->data, verifier->len, hash, &n, EVP_sha256(), NULL)
        != 1)
    {
        return MCP_ERROR;
    }

    challenge.data = text;
    challenge.len = (size_t) EVP_EncodeBlock(text, hash, (int) n);

    while (challenge.len && text[challenge.len - 1] == '=') {
        challenge.len--;
    }

    for (i = 0; i < challenge.len; i++) {
        if (text[i] == '+') {
            text[i] = '-';

        } else if (text[i] == '/') {
            text[i] = '_';
        }
    }

    mcp_form_put(b, '&', "code_challenge", &challenge);
    mcp_form_put(b, '&', "code_challenge_method", &method);

    return MCP_OK;
}


mcp_str_t
mcp_connect_missing(const mcp_str_t *wanted, const mcp_str_t *granted,
    const char *provider)
{
    mcp_str_t  rest, word;

    if (provider == NULL) {
        provider = "";
    }

    rest = *wanted;

    while (mcp_connect_next(&rest, ' ', ',', &word)) {

        if (!mcp_str_eq_lit(&word, "offline_access")
            && !mcp_str_eq_lit(&word, "openid")
            && !mcp_connect_has(granted, &word, provider))
        {
            return word;
        }
    }

    mcp_str_null(&word);

    return word;
}


static int
mcp_connect_has(const mcp_str_t *granted, const mcp_str_t *wanted,
    const char *provider)
{
    unsigned   entra;
    mcp_str_t  rest, word;

    entra = strcmp(provider, "entra") == 0;

    if (entra && mcp_connect_of_answer(wanted)) {
        return 1;
    }

    rest = *granted;

    while (mcp_connect_next(&rest, ' ', ',', &word)) {

        if (mcp_str_eq(&word, wanted)
            || (entra && mcp_str_caseeq(word.data, word.len, wanted->data,
                                        wanted->len))
            || mcp_connect_implies(&word, wanted, provider))
        {
            return 1;
        }
    }

    return 0;
}


/* "RESOURCE/.default" is whatever was agreed to before, by its own names. */
static int
mcp_connect_of_answer(const mcp_str_t *scope)
{
    static const char  def[] = "/.default";

    return mcp_connect_among(" profile email ", scope)
           || mcp_str_eq_lit(scope, ".default")
           || (scope->len > sizeof(def) - 1
               && memcmp(scope->data + scope->len - (sizeof(def) - 1), def,
                         sizeof(def) - 1)
                  == 0);
}


/* Who has granted has wanted. */
static int
mcp_connect_implies(const mcp_str_t *granted, const mcp_str_t *wanted,
    const char *provider)
{
    size_t  i;

    /* GitHub: "Scopes for OAuth apps", normalized scopes */

    static const struct {
        const char  *provider;
        const char  *granted;
        const char  *wanted;
    } more[] = {
        { "google", "https://www.googleapis.com/auth/userinfo.email",
          "email" },
        { "google", "https://www.googleapis.com/auth/userinfo.profile",
          "profile" },
        { "github", "repo", "repo:status repo_deployment public_repo "
          "repo:invite security_events" },
        { "github", "user", "read:user user:email user:follow" },
        { "github", "admin:org", "write:org read:org" },
        { "github", "write:org", "read:org" },
        { "github", "admin:repo_hook", "write:repo_hook read:repo_hook" },
        { "github", "write:repo_hook", "read:repo_hook" },
        { "github", "admin:public_key", "write:public_key read:public_key" },
        { "github", "write:public_key", "read:public_key" },
        { "github", "admin:gpg_key", "write:gpg_key read:gpg_key" },
        { "github", "write:gpg_key", "read:gpg_key" },
        { "github", "write:packages", "read:packages" },
        { "github", "write:discussion", "read:discussion" },
        { "github", "project", "read:project" }
    };

    for (i = 0; i < sizeof(more) / sizeof(more[0]); i++) {

        if (strcmp(more[i].provider, provider) == 0
            && granted->len == strlen(more[i].granted)
            && memcmp(granted->data, more[i].granted, granted->len) == 0
            && mcp_connect_among(more[i].wanted, wanted))
        {
            return 1;
        }
    }

    return 0;
}
