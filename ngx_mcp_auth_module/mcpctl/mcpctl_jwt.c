/*
 * `jwt inspect`: why would this token be refused.  The steps are the gateway's,
 * done by the same functions of core/, at the present time: form, issuer, key
 * and signature, claims, revocation; then for each server whether the issuer is
 * one of its own, the audience, the roles that it has rules for.
 *
 * The gateway fetches key sets; mcpctl does not.  Without keys (jwks_file of
 * the issuer, or --jwks) it says that the signature was not checked, and looks
 * at the claims all the same: nothing of them is to be trusted then.
 */

#include "mcpctl_jwt.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>


#define MCPCTL_TOKEN       (1024 * 1024)        /* bytes that are read */
#define MCPCTL_MAX_TOKEN   16384        /* of the gateway, by default */
#define MCPCTL_MAX_KEYS    64
#define MCPCTL_KEY_SET     (256 * 1024)


static int mcpctl_inspect_read(mcpctl_inspect_t *in, const char *arg);
static void mcpctl_inspect_argument(mcpctl_inspect_t *in, char *arg);
static void mcpctl_inspect_trim(mcp_str_t *token);
static size_t mcpctl_inspect_max(const mcpctl_inspect_t *in);
static int mcpctl_inspect_jwt(mcpctl_inspect_t *in);
static void mcpctl_inspect_decode(mcpctl_inspect_t *in);
static json_t *mcpctl_inspect_part(mcpctl_inspect_t *in,
    const unsigned char *p, size_t len);
static mcpctl_issuer_t *mcpctl_inspect_issuer(mcpctl_inspect_t *in,
    const mcpctl_server_t *sv, const mcp_str_t *iss);
static mcp_jwk_set_t *mcpctl_inspect_keys(mcpctl_inspect_t *in,
    const mcpctl_issuer_t *is, char **from);
static int mcpctl_inspect_signature(mcpctl_inspect_t *in, mcp_jwt_t *jwt,
    const mcpctl_issuer_t *is);
static void mcpctl_inspect_servers(mcpctl_inspect_t *in, mcp_jwt_t *jwt);
static const char *mcpctl_inspect_server(mcpctl_inspect_t *in,
    mcp_jwt_t *jwt, mcpctl_at_server_t *at);
static void mcpctl_inspect_outcome(mcpctl_inspect_t *in);


int
mcpctl_jwt_inspect(mcpctl_t *ctl, int argc, char **argv)
{
    int                    n, rc;
    const char            *server, *args[1];
    struct timespec        now;
    mcpctl_inspect_t       in;

    const mcpctl_option_t  options[] = {
        { "server", &server, NULL },
        { "jwks", &in.jwks, NULL },
        { NULL, NULL, NULL }
    };

    memset(&in, 0, sizeof(mcpctl_inspect_t));

    in.ctl = ctl;
    server = NULL;

    n = mcpctl_options(ctl, options, argc, argv, args, 1);

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_inspect_read(&in, n ? args[0] : "-") != MCP_OK) {
        return MCPCTL_USAGE;
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    if (server) {
        in.server = mcpctl_conf_the_server(ctl, server);

        if (in.server == NULL) {
            return MCPCTL_USAGE;
        }
    }

    (void) clock_gettime(CLOCK_REALTIME, &now);
    in.now = now.tv_sec;

    in.kind = mcp_access_key_kind(&in.token);
    rc = MCP_OK;

    if (in.token.len > mcpctl_inspect_max(&in)) {
        in.kind = in.kind ? in.kind : MCP_AUTH_JWT;
        mcpctl_inspect_check(&in, "form", MCPCTL_FAILED_IT, "token_too_long",
                             NULL);

    } else if (in.kind) {
        mcpctl_inspect_own(&in);

    } else {
        in.kind = MCP_AUTH_JWT;
        mcpctl_inspect_decode(&in);
        rc = mcpctl_inspect_jwt(&in);
    }

    if (rc == MCP_OK) {
        mcpctl_inspect_outcome(&in);
        mcpctl_inspect_show(&in);
    }

    json_decref(in.header);
    json_decref(in.claims);
    mcpctl_wipe(in.token.data, in.token.len);

    return rc != MCP_OK ? MCPCTL_FAILED
           : in.reason ? MCPCTL_REFUSED : MCPCTL_OK;
}


/* "-": stdin; a file of that name; else what looks like a token. */
static int
mcpctl_inspect_read(mcpctl_inspect_t *in, const char *arg)
{
    int          err;
    mcp_str_t    text;
    const char  *why;

    text = mcpctl_cstr(arg);

    if (mcp_str_eq_lit(&text, "-")) {

        if (isatty(STDIN_FILENO)) {
            mcpctl_warn(in->ctl, "the token is read from the terminal, up to "
                        "the end of the file");
        }

        if (mcpctl_read_file(in->ctl, NULL, MCPCTL_TOKEN, &in->token, &why,
                             &err)
            != MCP_OK)
        {
            return mcpctl_error(in->ctl, MCP_ERROR, "cannot read the token "
                                "from stdin: %s", why);
        }

    } else if (mcpctl_read_file(in->ctl, arg, MCPCTL_TOKEN, &in->token, &why,
                                &err)
               != MCP_OK)
    {
        if ((err != ENOENT && err != ENAMETOOLONG)
            || (mcp_access_key_kind(&text) == 0
                && memchr(text.data, '.', text.len) == NULL))
        {
            return mcpctl_error(in->ctl, MCP_ERROR, "cannot read the token "
                                "from \"%s\": %s", arg, why);
        }

        mcpctl_inspect_argument(in, (char *) arg);
    }

    mcpctl_inspect_trim(&in->token);

    if (in->token.len == 0) {
        return mcpctl_error(in->ctl, MCP_ERROR, "there is no token");
    }

    return MCP_OK;
}


/* From here on `ps` does not show it any more; the shell's history does. */
static void
mcpctl_inspect_argument(mcpctl_inspect_t *in, char *arg)
{
    size_t  len;

    mcpctl_warn(in->ctl, "a token among the arguments is seen by others (ps) "
                "and kept by the shell; give a file, or - for stdin");

    len = strlen(arg);
    in->token = mcpctl_str(in->ctl, arg, len);

    mcpctl_wipe(arg, len);
}


/* Blanks around it, and "Bearer " as it is in a header. */
static void
mcpctl_inspect_trim(mcp_str_t *token)
{
    static const char  blanks[] = " \t\r\n";

    while (token->len && strchr(blanks, token->data[token->len - 1])) {
        token->len--;
    }

    while (token->len && strchr(blanks, token->data[0])) {
        token->data++;
        token->len--;
    }

    if (token->len > 7 && mcp_str_caseeq(token->data, 7, "bearer ", 7)) {
        token->data += 7;
        token->len -= 7;
        mcpctl_inspect_trim(token);
    }
}


void
mcpctl_inspect_check(mcpctl_inspect_t *in, const char *name,
    mcpctl_check_e result, const char *reason, char *detail)
{
    mcpctl_check_t  *check;

    check = mcpctl_alloc(in->ctl, sizeof(mcpctl_check_t));

    check->name = name;
    check->result = result;
    check->reason = reason;
    check->detail = detail;

    mcpctl_push(in->ctl, &in->checks, check);

    if (result == MCPCTL_FAILED_IT) {

        if (strcmp(reason, "revoked") == 0) {
            in->revoked = 1;

        } else if (in->reason == NULL) {
            in->reason = reason;
        }
    }

    if (result == MCPCTL_OPEN) {
        in->open = 1;
    }
}


static size_t
mcpctl_inspect_max(const mcpctl_inspect_t *in)
{
    return in->server ? in->server->max_token : MCPCTL_MAX_TOKEN;
}


/* MCP_ERROR: keys that were named cannot be read; said. */
static int
mcpctl_inspect_jwt(mcpctl_inspect_t *in)
{
    int               rc;
    mcp_jwt_t        *jwt;
    const char       *reason;
    mcpctl_issuer_t  *is;

    jwt = mcp_jwt_parse(&in->token, mcpctl_inspect_max(in), &reason);

    if (jwt == NULL) {
        mcpctl_inspect_check(in, "form", MCPCTL_FAILED_IT, reason, NULL);
        return MCP_OK;
    }

    mcpctl_inspect_check(in, "form", MCPCTL_PASSED, NULL, NULL);

    is = mcpctl_inspect_issuer(in, in->server, mcp_jwt_iss(jwt));

    if (is == NULL) {
        mcpctl_inspect_check(in, "issuer", MCPCTL_FAILED_IT, "unknown_issuer",
                             mcpctl_shown(in->ctl, mcp_jwt_iss(jwt), 256));
        mcp_jwt_free(jwt);
        return MCP_OK;
    }

    mcpctl_inspect_check(in, "issuer", MCPCTL_PASSED, NULL,
                         mcpctl_format(in->ctl, "mcp_issuer %s",
                                       (char *) is->name.data));

    rc = mcpctl_inspect_signature(in, jwt, is);

    if (rc == MCP_OK) {
        in->principal = mcp_jwt_claims(jwt, &is->jwt, in->now, &in->ctl->mem,
                                       &reason);

        if (in->principal) {
            mcpctl_inspect_check(in, "claims", MCPCTL_PASSED, NULL, NULL);
            mcpctl_inspect_servers(in, jwt);
            mcpctl_inspect_revoked(in, in->principal, is->jwt.leeway);

        } else {
            mcpctl_inspect_check(in, "claims", MCPCTL_FAILED_IT, reason, NULL);
        }
    }

    mcp_jwt_free(jwt);

    return rc;
}


/* Header and payload as they are, if they can be read at all. */
static void
mcpctl_inspect_decode(mcpctl_inspect_t *in)
{
    const unsigned char  *p, *dot, *last;

    p = in->token.data;
    last = p + in->token.len;

    dot = memchr(p, '.', (size_t) (last - p));

    if (dot == NULL) {
        return;
    }

    in->header = mcpctl_inspect_part(in, p, (size_t) (dot - p));

    p = dot + 1;
    dot = memchr(p, '.', (size_t) (last - p));

    /* what has no second dot may end in what is no payload */

    if (dot) {
        in->claims = mcpctl_inspect_part(in, p, (size_t) (dot - p));
    }
}


static json_t *
mcpctl_inspect_part(mcpctl_inspect_t *in, const unsigned char *p, size_t len)
{
    long             n;
    json_t          *json;
    unsigned char   *buf;

    buf = mcpctl_alloc(in->ctl, len + 1);
    n = mcp_base64url_decode(buf, p, len);

    if (n <= 0) {
        return NULL;
    }

    json = json_loadb((char *) buf, (size_t) n, 0, NULL);

    if (json && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }

    return json;
}


/* That of the server, or the first one of all. */
static mcpctl_issuer_t *
mcpctl_inspect_issuer(mcpctl_inspect_t *in, const mcpctl_server_t *sv,
    const mcp_str_t *iss)
{
    unsigned              i;
    mcpctl_issuer_t      *is;
    const mcpctl_list_t  *list;

    list = sv ? &sv->issuers : &in->ctl->conf->issuers;

    for (i = 0; i < list->n; i++) {
        is = list->elts[i];

        if (mcp_str_eq(&is->jwt.issuer, iss)) {
            return is;
        }
    }

    return NULL;
}


/* NULL with *from NULL: said what is wrong; else there are none here. */
static mcp_jwk_set_t *
mcpctl_inspect_keys(mcpctl_inspect_t *in, const mcpctl_issuer_t *is,
    char **from)
{
    int             err;
    mcp_str_t       text;
    const char     *why;
    mcp_jwk_set_t  *set;

    *from = NULL;

    if (in->jwks) {
        set = NULL;

        if (mcpctl_read_file(in->ctl, in->jwks, MCPCTL_KEY_SET, &text, &why,
                             &err)
            == MCP_OK)
        {
            set = mcp_jwk_set_parse(text.data, text.len, MCPCTL_MAX_KEYS,
                                    &why);
        }

        if (set == NULL) {
            (void) mcpctl_error(in->ctl, 0, "key set \"%s\" cannot be used: "
                                "%s", in->jwks, why);
            return NULL;
        }

        *from = mcpctl_shown_c(in->ctl, in->jwks);
        return set;
    }

    if (is->jwks_file.len) {
        set = mcpctl_conf_keys(in->ctl, is);
        *from = set ? mcpctl_shown(in->ctl, &is->jwks_file, 256) : NULL;
        return set;
    }

    *from = is->jwks_uri.len
            ? mcpctl_format(in->ctl, "the gateway fetches its keys from %s; "
                            "give them by --jwks",
                            mcpctl_shown(in->ctl, &is->jwks_uri, 256))
            : mcpctl_format(in->ctl, "the gateway discovers its keys; give "
                            "them by --jwks");
    return NULL;
}


static int
mcpctl_inspect_signature(mcpctl_inspect_t *in, mcp_jwt_t *jwt,
    const mcpctl_issuer_t *is)
{
    int             rc;
    char           *from;
    const char     *reason;
    mcp_jwk_set_t  *set;

    set = mcpctl_inspect_keys(in, is, &from);

    if (set == NULL) {

        if (from == NULL) {
            return MCP_ERROR;
        }

        mcpctl_inspect_check(in, "signature", MCPCTL_OPEN, NULL, from);
        return MCP_OK;
    }

    reason = NULL;
    rc = mcp_jwt_verify(jwt, &is->jwt, set, &reason);

    if (rc == MCP_OK) {
        mcpctl_inspect_check(in, "signature", MCPCTL_PASSED, NULL,
                             mcpctl_format(in->ctl, "keys of %s", from));

    } else {
        mcpctl_inspect_check(in, "signature", MCPCTL_FAILED_IT,
                             rc == MCP_DECLINED ? "unknown_kid" : reason,
                             mcpctl_format(in->ctl, "%u keys of %s",
                                           set->nkeys, from));
    }

    mcp_jwk_set_free(set);

    return MCP_OK;
}


static void
mcpctl_inspect_servers(mcpctl_inspect_t *in, mcp_jwt_t *jwt)
{
    unsigned             i;
    mcpctl_server_t     *sv;
    mcpctl_at_server_t  *at;

    for (i = 0; i < in->ctl->conf->servers.n; i++) {
        sv = in->ctl->conf->servers.elts[i];

        if (in->server && in->server != sv) {
            continue;
        }

        at = mcpctl_alloc(in->ctl, sizeof(mcpctl_at_server_t));

        at->server = sv;
        at->reason = mcpctl_inspect_server(in, jwt, at);

        mcpctl_push(in->ctl, &in->servers, at);
    }
}


/* Two mcp_issuer may read one token differently: each server asks its own. */
static const char *
mcpctl_inspect_server(mcpctl_inspect_t *in, mcp_jwt_t *jwt,
    mcpctl_at_server_t *at)
{
    size_t            size;
    mcp_buf_t         b;
    const char       *reason;
    mcpctl_issuer_t  *is;
    mcpctl_server_t  *sv;
    mcp_principal_t  *p;
    mcp_decision_t    d;
    unsigned char    *buf;

    sv = at->server;
    p = in->principal;
    is = mcpctl_inspect_issuer(in, sv, mcp_jwt_iss(jwt));

    if (is == NULL) {
        return "unknown_issuer";
    }

    if (is->jwt.index != p->issuer) {
        p = mcp_jwt_claims(jwt, &is->jwt, in->now, &in->ctl->mem, &reason);
        if (p == NULL) {
            return reason;
        }
    }

    if (!mcp_principal_audience(p, is->naudiences ? is->audiences
                                                  : &sv->resource,
                                is->naudiences ? is->naudiences : 1))
    {
        return "audience";
    }

    size = MCP_MAX_ROLES * 66;
    mcp_buf_init(&b, mcpctl_alloc(in->ctl, size), size - 1);
    mcp_policy_roles_text(sv->policy, &p->roles, &b);
    at->roles = (char *) b.start;

    buf = mcpctl_alloc(in->ctl, MCPCTL_SHOWN);

    if (mcp_policy_scopes(sv->policy, &p->scopes, MCP_TARGET_NONE, NULL, &d,
                          buf, MCPCTL_SHOWN)
        != MCP_OK)
    {
        at->missing = d.scope;
    }

    return NULL;
}


/*
 * Refused by the server that was named, or by all there are; of several reasons
 * the one that went furthest tells most.  Who is revoked is asked last.
 */
static void
mcpctl_inspect_outcome(mcpctl_inspect_t *in)
{
    unsigned             i;
    const char          *reason;
    mcpctl_at_server_t  *at;

    reason = NULL;

    for (i = 0; i < in->servers.n; i++) {
        at = in->servers.elts[i];

        if (at->reason == NULL) {
            reason = NULL;
            break;
        }

        if (reason == NULL || strcmp(reason, "unknown_issuer") == 0) {
            reason = at->reason;
        }
    }

    if (reason == NULL && in->revoked) {
        reason = "revoked";
    }

    if (in->reason == NULL) {
        in->reason = reason;
    }
}
