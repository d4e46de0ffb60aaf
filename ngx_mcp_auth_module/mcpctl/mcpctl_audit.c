/*
 * Audit records of operators.  See mcpctl_audit.h.  One write() for each, to a
 * file opened with O_APPEND, as nginx does.
 */

#include "mcpctl_audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>


#define MCPCTL_NODE  256


mcp_str_t
mcpctl_operator(mcpctl_t *ctl)
{
    const char     *name;
    struct passwd  *pw;

    /* only root was made root by sudo */

    name = getuid() == 0 ? getenv("SUDO_USER") : NULL;

    if (name == NULL || *name == '\0') {
        pw = getpwuid(getuid());
        name = pw ? pw->pw_name : NULL;
    }

    if (name == NULL || *name == '\0') {
        name = mcpctl_format(ctl, "uid:%u", (unsigned) getuid());
    }

    return mcpctl_str(ctl, name, strlen(name));
}


int
mcpctl_audit_open(mcpctl_t *ctl, mcpctl_audit_t *a, unsigned off)
{
    char              *node;
    const mcp_str_t   *path;

    memset(a, 0, sizeof(mcpctl_audit_t));

    a->ctl = ctl;
    a->fd = -1;
    a->record.decision = "allow";
    a->record.by = mcpctl_operator(ctl);

    node = mcpctl_alloc(ctl, MCPCTL_NODE);

    if (gethostname(node, MCPCTL_NODE - 1) == 0) {
        a->record.node = mcpctl_cstr(node);
    }

    path = &ctl->conf->audit;

    if (off) {
        return MCP_OK;
    }

    if (path->len == 0 || mcp_str_eq_lit(path, "off")
        || (path->len > 7 && memcmp(path->data, "syslog:", 7) == 0))
    {
        if (ctl->verbose) {
            mcpctl_warn(ctl, "mcp_audit of http {} is %s: not recorded there",
                        path->len ? (char *) path->data : "not set");
        }

        return MCP_OK;
    }

    a->fd = open((char *) path->data, O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC
                                      |O_NOCTTY, 0644);

    if (a->fd == -1) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot open the audit log "
                            "\"%s\": %s; nothing was changed", path->data,
                            strerror(errno));
    }

    return MCP_OK;
}


void
mcpctl_audit_token(mcpctl_audit_t *a, const char *method,
    const mcp_access_key_t *key, const char *store)
{
    mcp_audit_operator_t  *r;

    r = &a->record;

    r->ev = "token";
    r->method = method;
    r->store = store;
    r->user = key->user;
    r->client = key->service;
    r->issuer = key->issuer;
    r->kind = key->auth == MCP_AUTH_PAT ? "user" : "service";
    r->auth = key->auth == MCP_AUTH_PAT ? "pat" : "vat";
    r->token_id = key->id;
    r->roles = key->roles;
    r->nroles = key->nroles;
    r->servers = key->servers;
    r->nservers = key->nservers;
    r->expires = key->expires;
    r->replaces = key->replaces;
    r->note = key->label;
}


void
mcpctl_audit_revocation(mcpctl_audit_t *a, const mcp_revocation_t *r,
    const char *store)
{
    a->record.ev = "revocation";
    a->record.method = mcp_revocation_method(r->type, r->at == 0);
    a->record.store = store;
    a->record.issuer = r->issuer;
    a->record.at = r->at;
    a->record.until = r->at ? r->until : 0;
    a->record.note = r->reason;

    switch (r->type) {

    case MCP_REVOKE_USER:
        a->record.user = r->value;
        break;

    case MCP_REVOKE_CLIENT:
        a->record.client = r->value;
        break;

    case MCP_REVOKE_TOKEN:
        a->record.token_id = r->value;
        break;

    default:
        break;
    }
}


void
mcpctl_audit_credential(mcpctl_audit_t *a, const char *method,
    const mcp_vault_owner_t *o, uint64_t version)
{
    a->record.ev = "credential";
    a->record.method = method;
    a->record.store = "redis";
    a->record.user = o->user;
    a->record.client = o->client;
    a->record.issuer = o->issuer;
    a->record.token_id = o->subject;
    a->record.credential = o->credential;
    a->record.credential_version = version;
}


int
mcpctl_audit_write(mcpctl_audit_t *a)
{
    size_t          len;
    ssize_t         n;
    struct timeval  tv;
    unsigned char   line[MCP_AUDIT_MAX];

    if (a->fd == -1 || a->written) {
        return MCP_OK;
    }

    (void) gettimeofday(&tv, NULL);

    a->record.sec = tv.tv_sec;
    a->record.usec = (unsigned) tv.tv_usec;

    len = mcp_audit_operator_line(&a->record, line);
    n = write(a->fd, line, len);

    if (n != (ssize_t) len) {
        return mcpctl_error(a->ctl, MCP_ERROR, "cannot write the audit log "
                            "\"%s\": %s; nothing was changed",
                            a->ctl->conf->audit.data,
                            strerror(n == -1 ? errno : ENOSPC));
    }

    a->written = 1;

    return MCP_OK;
}


void
mcpctl_audit_failed(mcpctl_audit_t *a)
{
    if (a->written) {
        a->written = 0;
        a->record.decision = "error";
        a->record.reason = "store";
        (void) mcpctl_audit_write(a);

        a->written = 0;
        a->record.decision = "allow";
        a->record.reason = NULL;
    }
}


void
mcpctl_audit_close(mcpctl_audit_t *a)
{
    if (a->fd != -1) {
        (void) close(a->fd);
        a->fd = -1;
    }
}
