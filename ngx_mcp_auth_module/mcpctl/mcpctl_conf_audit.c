/*
 * mcp_audit, and the keys of what is digested in records and sealed in session
 * ids: mcp_audit_key, mcp_session_key.
 */

#include "mcpctl_parse.h"
#include "mcp_seal.h"


#define MCPCTL_AUDIT_LEAST  8192
#define MCPCTL_AUDIT_MOST   (16 * 1024 * 1024)


/* mcp_audit off | PATH | syslog:... [buffer=SIZE] [flush=TIME] [strict] */
int
mcpctl_conf_audit(mcpctl_parser_t *ps)
{
    int64_t     n, size, flush;
    unsigned    i, strict;
    mcp_str_t  *path, *word, value, prefix;

    path = mcpctl_word(ps, 1);
    size = 0;
    flush = 0;
    strict = 0;

    if (ps->level->audit) {
        return mcpctl_parse_duplicate(ps);
    }

    ps->level->audit = 1;

    if (mcpctl_is(path, "off") && ps->rd.nwords > 2) {
        return mcpctl_read_error(&ps->rd, "\"mcp_audit\" directive has "
                                 "parameters after \"off\"");
    }

    for (i = 2; i < ps->rd.nwords; i++) {
        word = mcpctl_word(ps, i);

        if (mcpctl_is(word, "strict")) {
            strict = 1;
            continue;
        }

        if (word->len > 7 && memcmp(word->data, "buffer=", 7) == 0) {
            value.data = word->data + 7;
            value.len = word->len - 7;
            n = size = mcpctl_size(&value);

            if (n >= MCPCTL_AUDIT_LEAST && n <= MCPCTL_AUDIT_MOST) {
                continue;
            }

        } else if (word->len > 6 && memcmp(word->data, "flush=", 6) == 0) {
            value.data = word->data + 6;
            value.len = word->len - 6;
            n = flush = mcpctl_time(&value, 0);

            if (n >= 1 && n <= 60000) {
                continue;
            }
        }

        return mcpctl_read_error(&ps->rd, "invalid parameter \"%s\"",
                                 word->data);
    }

    if (flush && !size) {
        return mcpctl_read_error(&ps->rd, "\"mcp_audit\" directive has "
                                 "\"flush\" without \"buffer\"");
    }

    if (size && strict) {
        return mcpctl_read_error(&ps->rd, "\"mcp_audit\" directive cannot be "
                                 "\"strict\" with a \"buffer\"");
    }

    if (ps->context != MCPCTL_HTTP) {
        return MCP_OK;
    }

    if (mcpctl_is(path, "off")
        || (path->len > 7 && memcmp(path->data, "syslog:", 7) == 0))
    {
        ps->conf->audit = *path;
        return MCP_OK;
    }

    /* logs are relative to nginx's prefix */

    prefix = mcpctl_cstr(mcpctl_format(ps->ctl, "%s/", ps->ctl->prefix));
    ps->conf->audit = mcpctl_full_name(ps->ctl, &prefix, path);

    return MCP_OK;
}


int
mcpctl_conf_audit_key(mcpctl_parser_t *ps)
{
    mcp_str_t  path, secret;

    if (ps->audit_key++) {
        return mcpctl_parse_duplicate(ps);
    }

    if (!ps->files) {
        return MCP_OK;
    }

    path = mcpctl_full_name(ps->ctl, &ps->conf->dir, mcpctl_word(ps, 1));

    if (mcpctl_key_file(ps->ctl, &path, &secret) != MCPCTL_OK) {
        return mcpctl_read_error(&ps->rd, "mcp_audit_key cannot be used");
    }

    mcpctl_wipe(secret.data, secret.len);

    return MCP_OK;
}


int
mcpctl_conf_session_key(mcpctl_parser_t *ps)
{
    int               rc;
    unsigned          i;
    mcp_str_t         path, secret;
    mcp_seal_ring_t   ring;

    if (ps->session_key++) {
        return mcpctl_parse_duplicate(ps);
    }

    memset(&ring, 0, sizeof(mcp_seal_ring_t));

    for (i = 1; ps->files && i < ps->rd.nwords; i++) {
        path = mcpctl_full_name(ps->ctl, &ps->conf->dir, mcpctl_word(ps, i));

        if (mcpctl_key_file(ps->ctl, &path, &secret) != MCPCTL_OK) {
            return mcpctl_read_error(&ps->rd, "mcp_session_key cannot be "
                                     "used");
        }

        rc = mcp_seal_add(&ring, &secret, "session");
        mcpctl_wipe(secret.data, secret.len);

        if (rc != MCP_OK) {
            mcpctl_wipe(&ring, sizeof(mcp_seal_ring_t));
            return mcpctl_read_error(&ps->rd, "the key in \"%s\" is there "
                                     "twice, or is one of more than %d",
                                     path.data, MCP_SEAL_KEYS);
        }
    }

    mcpctl_wipe(&ring, sizeof(mcp_seal_ring_t));

    return MCP_OK;
}
