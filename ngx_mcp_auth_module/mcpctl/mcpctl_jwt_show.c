/*
 * Shows what `jwt inspect` found: the steps, the servers, header and claims.
 * The signature is never shown, and what is shown is bounded and escaped: the
 * token may be anybody's.
 */

#include "mcpctl_jwt.h"

#include <stdlib.h>


#define MCPCTL_CLAIMS  64               /* members shown */
#define MCPCTL_CLAIM   256              /* bytes of one */


static void mcpctl_show_text(mcpctl_inspect_t *in);
static void mcpctl_show_checks(mcpctl_inspect_t *in);
static void mcpctl_show_servers(mcpctl_inspect_t *in);
static void mcpctl_show_members(mcpctl_inspect_t *in, const char *title,
    json_t *object);
static void mcpctl_show_member(mcpctl_inspect_t *in, const char *name,
    json_t *value);
static char *mcpctl_show_date(mcpctl_inspect_t *in, const char *name,
    const json_t *value);
static char *mcpctl_show_time(mcpctl_t *ctl, int64_t sec);
static void mcpctl_show_key(mcpctl_inspect_t *in);
static char *mcpctl_show_list(mcpctl_t *ctl, const mcp_str_t *list,
    unsigned n);
static void mcpctl_show_json(mcpctl_inspect_t *in);
static json_t *mcpctl_show_servers_json(mcpctl_inspect_t *in);
static json_t *mcpctl_show_key_json(mcpctl_inspect_t *in);
static json_t *mcpctl_show_list_json(mcpctl_t *ctl, const mcp_str_t *list,
    unsigned n);
static const char *mcpctl_show_kind(const mcpctl_inspect_t *in);
static const char *mcpctl_show_outcome(const mcpctl_inspect_t *in);


static const struct {
    const char  *reason;
    const char  *why;
} mcpctl_whys[] = {

    /* form */
    { "token_too_long", "longer than mcp_max_token" },
    { "token_characters", "characters that no token has" },
    { "token_segments", "not three parts with dots between them" },
    { "token_encoding", "a part is no base64url" },
    { "token_encrypted", "encrypted (JWE), which cannot be looked into" },
    { "header_too_large", "the header is too large" },
    { "header_json", "the header is no JSON object, or a member is twice" },
    { "header_extension", "the header has members that change how the token "
      "is read" },
    { "payload_json", "the payload is no JSON object, or a claim is twice" },
    { "crit", "the header has \"crit\": extensions are not understood" },
    { "alg", "the header's \"alg\" is missing, or none that can be verified" },
    { "typ", "the header's \"typ\" is not that of an access token" },
    { "nested", "a token inside of a token" },
    { "kid", "the header's \"kid\" is no string, or too long" },
    { "iss", "there is no \"iss\", or it is not the issuer's" },

    /* keys */
    { "unknown_issuer", "its \"iss\" is that of no mcp_issuer here, byte for "
      "byte" },
    { "unknown_kid", "no key of the issuer has this \"kid\" (or fits the "
      "\"alg\")" },
    { "kid_missing", "without \"kid\" more than one key would fit" },
    { "alg_not_allowed", "the \"alg\" is not among the issuer's "
      "\"algorithms\"" },
    { "alg_key_mismatch", "the key is for another \"alg\"" },
    { "signature", "the signature is not that of this key: changed, or signed "
      "by somebody else" },

    /* claims */
    { "expired", "its time is over; see exp" },
    { "not_yet_valid", "its time has not come; see nbf" },
    { "issued_in_future", "issued in the future; see iat, and the clocks" },
    { "not_an_access_token", "an ID, refresh or logout token: use the access "
      "token" },
    { "sender_constrained", "bound to a key of the client (cnf), which cannot "
      "be checked" },
    { "exp", "\"exp\" is missing or no time" },
    { "iat", "\"iat\" is missing or no time" },
    { "nbf", "\"nbf\" is no time" },
    { "sub", "\"sub\" is missing, empty, too long, or has control "
      "characters" },
    { "client", "the client's claim is no text" },
    { "user", "there is no claim of user_claim that names the user" },
    { "jti", "\"jti\" is no text" },
    { "aud", "\"aud\" is missing, empty, or has too many values" },
    { "roles", "the roles claim is no list of texts, or stands elsewhere" },
    { "too_many_groups", "more values in the roles claim than max_groups" },
    { "scope", "the scope claim is no list of scopes" },

    /* servers */
    { "audience", "\"aud\" has none of the audiences that this server wants" },

    /* revocation */
    { "revoked", "what was issued to this user or client, or as this token, "
      "was revoked" },

    /* own tokens */
    { "token_malformed", "its length, characters or checksum are wrong: it was "
      "not copied whole" },
    { "token_unknown", "there is no such token" },
    { "token_revoked", "it was revoked" },
    { "token_server", "it is not for this server" },
    { "own_tokens_off", "this server has \"tokens off\"" },

    { NULL, NULL }
};


const char *
mcpctl_inspect_why(const char *reason)
{
    unsigned  i;

    for (i = 0; reason && mcpctl_whys[i].reason; i++) {
        if (strcmp(mcpctl_whys[i].reason, reason) == 0) {
            return mcpctl_whys[i].why;
        }
    }

    return NULL;
}


void
mcpctl_inspect_show(mcpctl_inspect_t *in)
{
    if (in->ctl->json) {
        mcpctl_show_json(in);

    } else {
        mcpctl_show_text(in);
    }
}


static void
mcpctl_show_text(mcpctl_inspect_t *in)
{
    const char  *why;

    printf("%s", mcpctl_show_outcome(in));

    if (in->reason) {
        why = mcpctl_inspect_why(in->reason);
        printf(": %s%s%s", in->reason, why ? ", " : "", why ? why : "");
    }

    printf("\n\n");

    mcpctl_show_checks(in);
    mcpctl_show_servers(in);

    if (in->principal) {
        printf("\nuser    %s\nclient  %s\nscopes  %s\n",
               mcpctl_shown(in->ctl, &in->principal->user, MCPCTL_CLAIM),
               mcpctl_shown(in->ctl, &in->principal->client, MCPCTL_CLAIM),
               mcpctl_shown(in->ctl, &in->principal->scopes, MCPCTL_SHOWN));
    }

    mcpctl_show_members(in, "header", in->header);
    mcpctl_show_members(in, "claims", in->claims);

    if (in->key) {
        mcpctl_show_key(in);
    }
}


static void
mcpctl_show_checks(mcpctl_inspect_t *in)
{
    unsigned         i;
    const char      *cells[4];
    mcpctl_check_t  *check;
    mcpctl_table_t  *table;

    static const char *const  headings[] = {
        "STEP", "RESULT", "REASON", "", NULL
    };
    static const char *const  results[] = { "ok", "refused", "not checked" };

    table = mcpctl_table(in->ctl, headings);

    for (i = 0; i < in->checks.n; i++) {
        check = in->checks.elts[i];

        cells[0] = check->name;
        cells[1] = results[check->result];
        cells[2] = check->reason;
        cells[3] = check->detail;

        mcpctl_row(table, cells);
    }

    mcpctl_table_print(table);
}


static void
mcpctl_show_servers(mcpctl_inspect_t *in)
{
    unsigned             i;
    const char          *cells[4];
    mcpctl_table_t      *table;
    mcpctl_at_server_t  *at;

    static const char *const  headings[] = {
        "SERVER", "RESULT", "ROLES", "SCOPES", NULL
    };

    table = mcpctl_table(in->ctl, headings);

    for (i = 0; i < in->servers.n; i++) {
        at = in->servers.elts[i];

        cells[0] = (char *) at->server->name.data;
        cells[1] = at->reason ? mcpctl_format(in->ctl, "refused: %s",
                                              at->reason)
                              : "ok";
        cells[2] = at->roles;
        cells[3] = at->missing.len
                   ? mcpctl_format(in->ctl, "every call needs: %s",
                                   mcpctl_shown(in->ctl, &at->missing,
                                                MCPCTL_CLAIM))
                   : NULL;

        mcpctl_row(table, cells);
    }

    if (i) {
        putchar('\n');
        mcpctl_table_print(table);
    }
}


/* Those that decide come first: of many claims some are left out. */
static void
mcpctl_show_members(mcpctl_inspect_t *in, const char *title, json_t *object)
{
    json_t      *value;
    unsigned     i, n;
    const char  *name;

    static const char *const  first[] = {
        "alg", "kid", "typ", "iss", "aud", "sub", "exp", "iat", "nbf", "jti"
    };

    if (object == NULL) {
        return;
    }

    printf("\n%s\n", title);

    n = 0;

    for (i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
        value = json_object_get(object, first[i]);

        if (value) {
            mcpctl_show_member(in, first[i], value);
            n++;
        }
    }

    json_object_foreach(object, name, value) {

        for (i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
            if (strcmp(name, first[i]) == 0) {
                break;
            }
        }

        if (i < sizeof(first) / sizeof(first[0])) {
            continue;
        }

        if (n++ == MCPCTL_CLAIMS) {
            printf("  and %u more\n",
                   (unsigned) json_object_size(object) - MCPCTL_CLAIMS);
            break;
        }

        mcpctl_show_member(in, name, value);
    }
}


static void
mcpctl_show_member(mcpctl_inspect_t *in, const char *name, json_t *value)
{
    char       *text, *date;
    mcp_str_t   s;

    text = json_dumps(value, JSON_COMPACT|JSON_ENCODE_ANY|JSON_ENSURE_ASCII);

    if (text == NULL) {
        exit(mcpctl_error(in->ctl, MCPCTL_FAILED, "out of memory"));
    }

    s = mcpctl_cstr(text);
    date = mcpctl_show_date(in, name, value);

    printf("  %s: %s%s%s\n", mcpctl_shown_c(in->ctl, name),
           mcpctl_shown_raw(in->ctl, &s, MCPCTL_CLAIM), date ? "  " : "",
           date ? date : "");

    mcpctl_json_free(text);
}


/* What people read in place of seconds, or NULL. */
static char *
mcpctl_show_date(mcpctl_inspect_t *in, const char *name, const json_t *value)
{
    int64_t  sec, far;

    if (strcmp(name, "exp") != 0 && strcmp(name, "iat") != 0
        && strcmp(name, "nbf") != 0 && strcmp(name, "auth_time") != 0)
    {
        return NULL;
    }

    if (!json_is_number(value) || !(json_number_value(value) >= 0)
        || json_number_value(value) > (double) MCP_TIME_MAX)
    {
        return NULL;
    }

    sec = (int64_t) json_number_value(value);
    far = sec < in->now ? in->now - sec : sec - in->now;

    return mcpctl_format(in->ctl, "%s, %s%lldd %02lld:%02lld:%02lld%s",
                         mcpctl_show_time(in->ctl, sec),
                         sec < in->now ? "" : "in ",
                         (long long) far / 86400,
                         (long long) far / 3600 % 24,
                         (long long) far / 60 % 60, (long long) far % 60,
                         sec < in->now ? " ago" : "");
}


static char *
mcpctl_show_time(mcpctl_t *ctl, int64_t sec)
{
    mcp_buf_t  b;

    mcp_buf_init(&b, mcpctl_alloc(ctl, MCP_TIME_LEN + 1), MCP_TIME_LEN);
    mcp_time_write(&b, sec);

    return (char *) b.start;
}


static void
mcpctl_show_key(mcpctl_inspect_t *in)
{
    const mcp_access_key_t  *key;

    key = in->key;

    printf("\nrecord\n  id: %s\n", mcpctl_shown(in->ctl, &key->id, 64));

    if (key->auth == MCP_AUTH_PAT) {
        printf("  owner: %s at %s\n",
               mcpctl_shown(in->ctl, &key->user, MCPCTL_CLAIM),
               mcpctl_shown(in->ctl, &key->issuer, MCPCTL_CLAIM));

    } else {
        printf("  service: %s\n",
               mcpctl_shown(in->ctl, &key->service, MCPCTL_CLAIM));
    }

    printf("  roles: %s\n  servers: %s\n",
           mcpctl_show_list(in->ctl, key->roles, key->nroles),
           mcpctl_show_list(in->ctl, key->servers, key->nservers));

    if (key->nscopes) {
        printf("  scopes: %s\n",
               mcpctl_show_list(in->ctl, key->scopes, key->nscopes));
    }

    printf("  created: %s\n  expires: %s\n",
           mcpctl_show_time(in->ctl, key->created),
           mcpctl_show_time(in->ctl, key->expires));

    if (key->revoked) {
        printf("  revoked: %s\n", mcpctl_show_time(in->ctl, key->revoked));
    }

    if (key->label.len) {
        printf("  label: %s\n",
               mcpctl_shown(in->ctl, &key->label, MCPCTL_CLAIM));
    }
}


static char *
mcpctl_show_list(mcpctl_t *ctl, const mcp_str_t *list, unsigned n)
{
    char      *text;
    unsigned   i;

    text = mcpctl_format(ctl, "%s", "");

    for (i = 0; i < n; i++) {
        text = mcpctl_format(ctl, "%s%s%s", text, i ? ", " : "",
                             mcpctl_shown(ctl, &list[i], MCPCTL_CLAIM));
    }

    return text;
}


static void
mcpctl_show_json(mcpctl_inspect_t *in)
{
    json_t              *root, *list, *one;
    unsigned             i;
    mcpctl_t            *ctl;
    mcp_str_t            text;
    mcpctl_check_t      *check;

    static const char *const  results[] = { "ok", "refused", "not_checked" };

    ctl = in->ctl;
    root = mcpctl_json_object(ctl);

    mcpctl_json_set(ctl, root, "kind", json_string(mcpctl_show_kind(in)));
    mcpctl_json_set(ctl, root, "accepted", json_boolean(in->reason == NULL));
    mcpctl_json_set(ctl, root, "complete", json_boolean(!in->open));

    if (in->reason) {
        mcpctl_json_set(ctl, root, "reason", json_string(in->reason));
    }

    list = mcpctl_json_array(ctl);

    for (i = 0; i < in->checks.n; i++) {
        check = in->checks.elts[i];
        one = mcpctl_json_object(ctl);

        mcpctl_json_set(ctl, one, "step", json_string(check->name));
        mcpctl_json_set(ctl, one, "result",
                        json_string(results[check->result]));

        if (check->reason) {
            mcpctl_json_set(ctl, one, "reason", json_string(check->reason));
        }

        if (check->detail) {
            text = mcpctl_cstr(check->detail);
            mcpctl_json_set_text(ctl, one, "detail", &text);
        }

        mcpctl_json_append(ctl, list, one);
    }

    mcpctl_json_set(ctl, root, "steps", list);

    mcpctl_json_set(ctl, root, "servers", mcpctl_show_servers_json(in));

    if (in->principal) {
        mcpctl_json_set_text(ctl, root, "user", &in->principal->user);
        mcpctl_json_set_text(ctl, root, "client", &in->principal->client);
        mcpctl_json_set_text(ctl, root, "scopes", &in->principal->scopes);
    }

    if (in->header) {
        mcpctl_json_set(ctl, root, "header", json_incref(in->header));
    }

    if (in->claims) {
        mcpctl_json_set(ctl, root, "claims", json_incref(in->claims));
    }

    if (in->key) {
        mcpctl_json_set(ctl, root, "record", mcpctl_show_key_json(in));
    }

    mcpctl_json_print(ctl, root);
}


static json_t *
mcpctl_show_servers_json(mcpctl_inspect_t *in)
{
    json_t              *list, *one;
    unsigned             i;
    mcpctl_t            *ctl;
    mcp_str_t            text;
    mcpctl_at_server_t  *at;

    ctl = in->ctl;
    list = mcpctl_json_array(ctl);

    for (i = 0; i < in->servers.n; i++) {
        at = in->servers.elts[i];
        one = mcpctl_json_object(ctl);

        mcpctl_json_set_text(ctl, one, "server", &at->server->name);
        mcpctl_json_set(ctl, one, "accepted",
                        json_boolean(at->reason == NULL));

        if (at->reason) {
            mcpctl_json_set(ctl, one, "reason", json_string(at->reason));

        } else {
            text = mcpctl_cstr(at->roles);
            mcpctl_json_set(ctl, one, "roles", mcpctl_json_text(ctl, &text));
            mcpctl_json_set_text(ctl, one, "missing_scopes", &at->missing);
        }

        mcpctl_json_append(ctl, list, one);
    }

    return list;
}


static json_t *
mcpctl_show_key_json(mcpctl_inspect_t *in)
{
    json_t                  *record;
    mcpctl_t                *ctl;
    mcp_str_t                text;
    const mcp_access_key_t  *key;

    ctl = in->ctl;
    key = in->key;
    record = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, record, "id", &key->id);
    mcpctl_json_set_text(ctl, record, "issuer", &key->issuer);
    mcpctl_json_set_text(ctl, record, "user", &key->user);
    mcpctl_json_set_text(ctl, record, "service", &key->service);
    mcpctl_json_set(ctl, record, "roles",
                    mcpctl_show_list_json(ctl, key->roles, key->nroles));
    mcpctl_json_set(ctl, record, "servers",
                    mcpctl_show_list_json(ctl, key->servers, key->nservers));
    mcpctl_json_set(ctl, record, "scopes",
                    mcpctl_show_list_json(ctl, key->scopes, key->nscopes));

    text = mcpctl_cstr(mcpctl_show_time(ctl, key->created));
    mcpctl_json_set_text(ctl, record, "created", &text);
    text = mcpctl_cstr(mcpctl_show_time(ctl, key->expires));
    mcpctl_json_set_text(ctl, record, "expires", &text);

    if (key->revoked) {
        text = mcpctl_cstr(mcpctl_show_time(ctl, key->revoked));
        mcpctl_json_set_text(ctl, record, "revoked", &text);
    }

    mcpctl_json_set_text(ctl, record, "label", &key->label);

    return record;
}


static json_t *
mcpctl_show_list_json(mcpctl_t *ctl, const mcp_str_t *list, unsigned n)
{
    json_t    *array;
    unsigned   i;

    array = mcpctl_json_array(ctl);

    for (i = 0; i < n; i++) {
        mcpctl_json_append(ctl, array, mcpctl_json_text(ctl, &list[i]));
    }

    return array;
}


static const char *
mcpctl_show_kind(const mcpctl_inspect_t *in)
{
    static const char *const  kinds[] = { "", "jwt", "pat", "vat" };

    return kinds[in->kind];
}


static const char *
mcpctl_show_outcome(const mcpctl_inspect_t *in)
{
    if (in->reason) {
        return "refused";
    }

    return in->open ? "not refused, as far as it was checked" : "accepted";
}
