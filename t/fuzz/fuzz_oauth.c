/*
 * mcp_oauth: answers of token endpoints.
 *
 * - An answer that is taken is JSON for jansson, of status 2xx, and has a token
 *   that jansson reads there, and that can be the value of a header.
 * - No word of the provider gets into `error`: it is one of a fixed set.
 * - An answer of status 2xx that is not understood is "unknown", never
 *   "transient": something may have happened.
 *
 * Input: a byte: provider, a byte: grant, a byte: status (201 and above as they
 * are, else twice), the body.
 */

#include "fuzz.h"
#include "mcp_oauth.h"


static const char *const  providers[] = {
    "github", "atlassian", "slack", "google", "entra", "okta", "generic"
};


static int
header_value(const mcp_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x20 || s->data[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}


static int
has_string(json_t *tree, const mcp_str_t *s, unsigned depth)
{
    json_t      *v;
    const char  *key;

    json_object_foreach(tree, key, v) {
        if (json_is_string(v) && json_string_length(v) == s->len
            && memcmp(json_string_value(v), s->data, s->len) == 0)
        {
            return 1;
        }

        if (depth && json_is_object(v) && has_string(v, s, depth - 1)) {
            return 1;
        }
    }

    return 0;
}


static void
word(const char *error)
{
    for (/* void */; error && *error; error++) {
        CHECK((*error >= 'a' && *error <= 'z') || *error == '_'
              || (*error >= '0' && *error <= '9'));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t               *tree;
    fz_in_t               in;
    unsigned              grant, status;
    mcp_str_t             name, body;
    fz_arena_t            a;
    const char           *error;
    mcp_oauth_class_e     class;
    mcp_oauth_answer_t    answer;
    mcp_oauth_request_t   req;

    fz_arena_init(&a);
    in = fz_in(data, size);

    memset(&req, 0, sizeof(req));
    name = fz_str(providers[fz_byte(&in) % fz_count(providers)]);
    req.provider = mcp_oauth_provider(&name);
    CHECK(req.provider != NULL);
    req.auth = req.provider->auth;
    req.client_id = fz_str("id");
    req.client_secret = fz_str("secret");
    req.token = fz_str("token");

    grant = fz_byte(&in);
    status = fz_byte(&in);
    status = status < 200 ? 200 + 2 * status : status;
    body = fz_rest(&a, &in);

    if (grant % 8 >= 5) {
        req.grant = grant & 1 ? MCP_OAUTH_REVOKE_REFRESH
                              : MCP_OAUTH_REVOKE_ACCESS;
        error = NULL;
        class = mcp_oauth_revoked(&req, status, &body, &error);
        CHECK(mcp_oauth_class_name(class) != NULL);
        word(error);
        fz_arena_free(&a);
        return 0;
    }

    req.grant = (mcp_oauth_grant_e) (1 + grant % 4);
    memset(&answer, 0xa5, sizeof(answer));
    mcp_oauth_answer(&req, status, &body, &a.mem, &answer);

    CHECK(mcp_oauth_class_name(answer.class) != NULL);
    CHECK((answer.class == MCP_OAUTH_OK) == (answer.error == NULL));
    word(answer.error);

    if (answer.class == MCP_OAUTH_OK) {
        CHECK(status >= 200 && status < 300);
        CHECK(answer.access_token.len > 0
              && answer.access_token.len <= MCP_OAUTH_TOKEN);
        CHECK(header_value(&answer.access_token));
        CHECK(header_value(&answer.refresh_token));
        CHECK(answer.expires_in >= 0 && answer.refresh_expires_in >= 0);

        tree = json_loadb((char *) body.data, body.len, JSON_ALLOW_NUL, NULL);
        CHECK(json_is_object(tree));
        CHECK(has_string(tree, &answer.access_token, 1));
        CHECK(answer.refresh_token.len == 0
              || has_string(tree, &answer.refresh_token, 1));
        json_decref(tree);

    } else if (status >= 200 && status < 300
               && answer.class == MCP_OAUTH_TRANSIENT)
    {
        /* only by an error of its own, as Slack's "ok": false */

        tree = json_loadb((char *) body.data, body.len, JSON_ALLOW_NUL, NULL);
        CHECK(json_object_get(tree, "error") != NULL
              || !json_is_true(json_object_get(tree, "ok")));
        CHECK(json_object_get(tree, "error") != NULL
              || json_object_get(tree, "ok") != NULL);
        json_decref(tree);
    }

    fz_arena_free(&a);

    return 0;
}
