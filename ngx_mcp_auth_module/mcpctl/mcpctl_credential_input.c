/*
 * What `credential import` reads: the answer of a token endpoint, by the same
 * code that reads it in the gateway, with its provider's habits.
 *
 * Nothing of it is ever part of a message, and no copy outlives the import: the
 * text, the tokens, and the memory of jansson are wiped.
 */

#include "mcpctl_credential.h"
#include "mcp_time.h"

#include <sys/stat.h>


static void mcpctl_input_mode(mcpctl_t *ctl, const char *path);
static int mcpctl_input_answer(mcpctl_t *ctl, const mcp_str_t *text,
    const mcpctl_credential_t *cr, int64_t now, mcp_vault_tokens_t *t);
static int mcpctl_input_times(mcpctl_t *ctl, const mcp_str_t *text,
    const mcpctl_credential_t *cr, mcp_vault_tokens_t *t);
static int mcpctl_input_moment(mcpctl_t *ctl, json_t *object,
    const char *key, int64_t *moment);
static int mcpctl_input_check(mcpctl_t *ctl, int64_t now,
    mcp_vault_tokens_t *t);


int
mcpctl_credential_input(mcpctl_t *ctl, const char *path,
    const mcpctl_credential_t *cr, int64_t now, mcp_vault_tokens_t *t)
{
    int          rc, err;
    mcp_str_t    text;
    const char  *why;

    memset(t, 0, sizeof(mcp_vault_tokens_t));
    mcp_str_null(&text);

    rc = mcpctl_read_file(ctl, path, MCP_OAUTH_BODY, &text, &why, &err);

    if (rc != MCP_OK) {
        rc = mcpctl_error(ctl, MCPCTL_FAILED, "cannot read the tokens from "
                          "%s: %s", path ? path : "stdin", why);
    } else {
        mcpctl_input_mode(ctl, path);
        rc = mcpctl_input_answer(ctl, &text, cr, now, t);
    }

    if (text.data) {
        mcpctl_wipe(text.data, text.len);
    }

    if (rc != MCPCTL_OK) {
        mcpctl_credential_wipe(t);
    }

    return rc;
}


/* The tokens were others' to read: that cannot be undone here. */
static void
mcpctl_input_mode(mcpctl_t *ctl, const char *path)
{
    struct stat  st;

    if (path && stat(path, &st) == 0 && (st.st_mode & 077)) {
        mcpctl_warn(ctl, "others may read \"%s\" (mode %04o): whoever did has "
                    "the tokens", path, (unsigned) (st.st_mode & 07777));
    }
}


void
mcpctl_credential_wipe(mcp_vault_tokens_t *t)
{
    mcpctl_wipe(t->access_token.data, t->access_token.len);
    mcpctl_wipe(t->refresh_token.data, t->refresh_token.len);

    memset(t, 0, sizeof(mcp_vault_tokens_t));
}


static int
mcpctl_input_answer(mcpctl_t *ctl, const mcp_str_t *text,
    const mcpctl_credential_t *cr, int64_t now, mcp_vault_tokens_t *t)
{
    mcp_oauth_answer_t    a;
    mcp_oauth_request_t   req;

    memset(&req, 0, sizeof(mcp_oauth_request_t));

    req.provider = &cr->provider;
    req.auth = cr->provider.auth;
    req.grant = MCP_OAUTH_CODE;

    mcp_oauth_answer(&req, 200, text, &ctl->mem, &a);
    mcpctl_wipe(a.id_token.data, a.id_token.len);

    t->access_token = a.access_token;
    t->refresh_token = a.refresh_token;
    t->scope = a.scope;
    t->endpoint = cr->provider.token_endpoint;
    t->issued = now;
    t->granted = now;
    t->expires = a.expires_in ? now + a.expires_in : 0;
    t->refresh_expires = a.refresh_expires_in ? now + a.refresh_expires_in : 0;

    if (a.class != MCP_OAUTH_OK) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "what was read is not what a "
                            "token endpoint gives with tokens (%s)",
                            a.error ? a.error
                                    : mcp_oauth_class_name(a.class));
    }

    if (mcpctl_input_times(ctl, text, cr, t) != MCP_OK) {
        return MCPCTL_REFUSED;
    }

    return mcpctl_input_check(ctl, now, t);
}


/* Moments, which an answer that is some time old has better than durations. */
static int
mcpctl_input_times(mcpctl_t *ctl, const mcp_str_t *text,
    const mcpctl_credential_t *cr, mcp_vault_tokens_t *t)
{
    int           rc;
    json_t       *root, *at;
    const char   *within;

    root = json_loadb((char *) text->data, text->len, JSON_REJECT_DUPLICATES,
                      NULL);
    at = root;

    within = (char *) cr->provider.within.data;

    if (cr->provider.within.len
        && json_is_object(json_object_get(root, within)))
    {
        at = json_object_get(root, within);
    }

    rc = (mcpctl_input_moment(ctl, at, "expires_at", &t->expires) == MCP_OK
          && mcpctl_input_moment(ctl, at, "refresh_token_expires_at",
                                 &t->refresh_expires) == MCP_OK)
         ? MCP_OK : MCP_ERROR;

    if (rc == MCP_OK && json_object_get(at, "expires_in") == NULL
        && json_object_get(at, "expires_at") == NULL)
    {
        mcpctl_warn(ctl, "there is neither expires_in nor expires_at: the "
                    "access token is taken to end at %s",
                    t->expires ? mcpctl_arg_moment(ctl, t->expires)
                               : "no time at all");
    }

    json_decref(root);

    return rc;
}


/* s since the epoch, or "2027-01-31T12:00:00Z"; absent: as it is. */
static int
mcpctl_input_moment(mcpctl_t *ctl, json_t *object, const char *key,
    int64_t *moment)
{
    double      n;
    json_t     *value;
    mcp_str_t   text;

    value = json_object_get(object, key);

    if (value == NULL || json_is_null(value)) {
        return MCP_OK;
    }

    if (json_is_number(value)) {
        n = json_number_value(value);

        if (n >= 1 && n <= (double) MCP_TIME_MAX) {
            *moment = (int64_t) n;
            return MCP_OK;
        }

    } else if (json_is_string(value)) {
        text.data = (unsigned char *) json_string_value(value);
        text.len = json_string_length(value);

        if (mcp_time_parse(&text, moment) == MCP_OK) {
            return MCP_OK;
        }
    }

    return mcpctl_error(ctl, MCP_ERROR, "\"%s\" is neither seconds since 1970 "
                        "nor a date like 2027-01-31T12:00:00Z", key);
}


static int
mcpctl_input_check(mcpctl_t *ctl, int64_t now, mcp_vault_tokens_t *t)
{
    if (t->refresh_token.len) {

        if (t->refresh_expires && t->refresh_expires <= now) {
            return mcpctl_error(ctl, MCPCTL_REFUSED, "the refresh token "
                                "expired at %s",
                                mcpctl_arg_moment(ctl, t->refresh_expires));
        }

        return MCPCTL_OK;
    }

    /* of nothing: the record is not kept by it */

    t->refresh_expires = 0;

    if (t->expires && t->expires <= now) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "the access token expired at "
                            "%s, and there is no refresh token",
                            mcpctl_arg_moment(ctl, t->expires));
    }

    if (t->expires) {
        mcpctl_warn(ctl, "there is no refresh token: it serves until %s, and "
                    "no longer", mcpctl_arg_moment(ctl, t->expires));
    }

    return MCPCTL_OK;
}
