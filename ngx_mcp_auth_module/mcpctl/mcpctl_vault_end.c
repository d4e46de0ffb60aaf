/*
 * The end of a person's grant: its record becomes a tombstone, and what ends it
 * at the provider goes into the queue of the gateways, in one script, as when
 * the person disconnects it.  See mcp_ending.h and mcpctl_vault.h.
 */

#include "mcpctl_args.h"
#include "mcpctl_vault.h"
#include "mcp_ending.h"

#include <openssl/rand.h>


static int mcpctl_end_entry(mcpctl_vault_t *v, const mcpctl_record_t *r,
    const mcp_oauth_provider_t *p, mcp_str_t *id, mcp_str_t *sealed);
static int mcpctl_end_seal(mcpctl_vault_t *v, const mcp_ending_t *e,
    const mcp_str_t *id, mcp_str_t *sealed);


int
mcpctl_vault_end(mcpctl_vault_t *v, const mcpctl_record_t *r,
    const mcp_oauth_provider_t *p, mcpctl_audit_t *audit, unsigned *told)
{
    int               rc;
    mcp_str_t         argv[12], id, sealed;
    redisReply       *reply;
    mcpctl_record_t   now;

    mcp_str_null(&id);
    mcp_str_null(&sealed);

    rc = mcpctl_vault_read(v, &r->name, &now);

    if (rc != MCP_OK) {
        return MCP_ERROR;
    }

    if (now.version != r->version) {
        return MCP_DECLINED;
    }

    if (p && mcpctl_end_entry(v, &now, p, &id, &sealed) == MCP_ERROR) {
        return MCP_ERROR;
    }

    argv[0] = mcpctl_cstr("EVAL");
    argv[1] = mcpctl_cstr(mcp_ending_begin_script);
    argv[2] = mcpctl_cstr("3");
    argv[3] = mcpctl_redis_key(v->redis, "cred:", (char *) r->name.data,
                               r->name.len);
    argv[4] = mcpctl_redis_key(v->redis, "rv", "", 0);
    argv[5] = mcpctl_redis_key(v->redis, "rvq", "", 0);
    argv[6] = mcpctl_vault_text(v, (int64_t) r->version);
    argv[7] = id;
    argv[8] = sealed;
    argv[9] = mcpctl_vault_text(v, mcpctl_now());
    argv[10] = r->name;
    argv[11] = mcpctl_redis_key(v->redis, "events", "", 0);

    if (mcpctl_audit_write(audit) != MCP_OK) {
        return MCP_ERROR;
    }

    reply = mcpctl_redis_command(v->redis, REDIS_REPLY_INTEGER, 12, argv);

    if (reply == NULL) {
        if (mcpctl_redis_failed(v->redis)) {
            mcpctl_warn(v->ctl, "whether Redis did it is not known");
        }

        return MCP_ERROR;
    }

    rc = reply->integer == 1 ? MCP_OK : MCP_DECLINED;
    *told = (rc == MCP_OK && id.len);

    freeReplyObject(reply);

    return rc;
}


/* MCP_DECLINED: there is nothing that the provider could be told. */
static int
mcpctl_end_entry(mcpctl_vault_t *v, const mcpctl_record_t *r,
    const mcp_oauth_provider_t *p, mcp_str_t *id, mcp_str_t *sealed)
{
    int                  rc;
    mcp_buf_t            b;
    mcp_mem_t            mem;
    mcp_str_t            plain;
    mcp_ending_t         e;
    unsigned char        random[MCP_ENDING_ID / 2];
    mcpctl_record_t      opened;
    mcp_vault_tokens_t   t;

    opened = *r;
    mcpctl_record_open(v, &opened, NULL);

    if (opened.open != MCPCTL_RECORD_OPEN || !opened.owned
        || mcpctl_record_plain(v, &opened.owner, "tokens", r->version,
                               &r->sealed, &plain)
           != MCP_OK)
    {
        return MCP_DECLINED;
    }

    mem.alloc = mcpctl_vault_alloc;
    mem.ctx = v;

    if (mcp_vault_tokens_parse(&plain, &mem, &t) != MCP_OK
        || !mcp_vault_from(&t.endpoint, &p->token_endpoint)
        || mcp_ending_make(p, &opened.owner, &t, mcpctl_now(), &e) != MCP_OK)
    {
        mcpctl_vault_forget(v);
        return MCP_DECLINED;
    }

    if (RAND_bytes(random, sizeof(random)) != 1) {
        mcpctl_vault_forget(v);
        return mcpctl_error(v->ctl, MCP_ERROR, "OpenSSL has no random bytes");
    }

    id->data = mcpctl_alloc(v->ctl, MCP_ENDING_ID);
    id->len = MCP_ENDING_ID;

    mcp_buf_init(&b, id->data, id->len);
    mcp_buf_hex(&b, random, sizeof(random));

    rc = mcpctl_end_seal(v, &e, id, sealed);
    mcpctl_vault_forget(v);

    return rc;
}


static int
mcpctl_end_seal(mcpctl_vault_t *v, const mcp_ending_t *e, const mcp_str_t *id,
    mcp_str_t *sealed)
{
    int                 rc;
    mcp_buf_t           b;
    mcp_str_t           text;
    mcp_vault_owner_t   by_name;

    mcp_vault_owner_by_name(&by_name, id->data);

    sealed->data = mcpctl_alloc(v->ctl, MCPCTL_VAULT_PLAIN);

    text.len = mcp_ending_size(e);
    text.data = mcpctl_alloc(v->ctl, text.len);

    mcp_buf_init(&b, text.data, text.len);
    mcp_ending_write(&b, e);

    text.len = (size_t) (b.pos - b.start);

    rc = b.overflow ? MCP_ERROR
                    : mcp_vault_seal(&v->ring, &by_name, MCP_ENDING_FIELD, 0,
                                     &text, sealed->data, &sealed->len);

    mcpctl_wipe(text.data, text.len);

    return rc == MCP_OK ? MCP_OK
                        : mcpctl_error(v->ctl, MCP_ERROR, "cannot seal what "
                                       "its provider has to be told");
}
