/*
 * The keys of mcp_vault_keys, and what is sealed with them.  See
 * mcpctl_vault.h.
 *
 * Tokens are in two buffers of the vault while somebody looks at them, and in
 * those of jansson, which are wiped when they are freed.
 */

#include "mcpctl_vault.h"


#define MCPCTL_VAULT_SCRATCH  (2 * MCP_VAULT_VALUE)


static void mcpctl_record_meta(mcpctl_vault_t *v, mcpctl_record_t *r);
static void mcpctl_record_tokens(mcpctl_vault_t *v, mcpctl_record_t *r);
static void mcpctl_record_closed(mcpctl_vault_t *v, mcpctl_record_t *r,
    const mcp_str_t *sealed);
static char *mcpctl_vault_key(mcpctl_t *ctl, const mcp_str_t *sealed);
static int mcpctl_record_field(mcpctl_vault_t *v,
    const mcp_vault_owner_t *owner, const char *field, uint64_t version,
    const mcp_buf_t *text, mcp_str_t *sealed);


int
mcpctl_vault_open(mcpctl_t *ctl, mcpctl_vault_t *v)
{
    memset(v, 0, sizeof(mcpctl_vault_t));
    v->ctl = ctl;

    if (ctl->conf->vault_keys.len == 0 || ctl->conf->redis == NULL) {
        return mcpctl_error(ctl, MCPCTL_FAILED, "\"%s\" has no %s: gateways "
                            "keep no credentials that mcpctl could reach",
                            ctl->conf->file.data, ctl->conf->redis
                            ? "mcp_vault_keys" : "mcp_redis");
    }

    if (mcpctl_vault_ring(ctl, &ctl->conf->vault_keys, &v->ring) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    v->plain = mcpctl_alloc(ctl, MCPCTL_VAULT_PLAIN);
    v->scratch = mcpctl_alloc(ctl, MCPCTL_VAULT_SCRATCH);

    v->redis = mcpctl_redis_connect(ctl, ctl->conf->redis);

    if (v->redis == NULL) {
        mcpctl_vault_close(v);
        return MCPCTL_FAILED;
    }

    return MCPCTL_OK;
}


void
mcpctl_vault_close(mcpctl_vault_t *v)
{
    mcpctl_vault_forget(v);
    mcpctl_wipe(&v->ring, sizeof(mcp_vault_ring_t));

    if (v->redis) {
        mcpctl_redis_close(v->redis);
        v->redis = NULL;
    }
}


int
mcpctl_vault_ring(mcpctl_t *ctl, const mcp_str_t *path,
    mcp_vault_ring_t *ring)
{
    int          rc;
    unsigned     line;
    mcp_str_t    text;
    const char  *error;

    memset(ring, 0, sizeof(mcp_vault_ring_t));

    if (mcpctl_key_file(ctl, path, &text) != MCPCTL_OK) {
        return MCP_ERROR;
    }

    rc = mcp_vault_keys(&text, &ctl->mem, ring, &error, &line);
    mcpctl_wipe(text.data, text.len);

    if (rc != MCP_OK) {
        mcpctl_wipe(ring, sizeof(mcp_vault_ring_t));
        return mcpctl_error(ctl, MCP_ERROR, "\"%s\", line %u: %s", path->data,
                            line, error);
    }

    return MCP_OK;
}


void
mcpctl_record_open(mcpctl_vault_t *v, mcpctl_record_t *r,
    const mcp_vault_owner_t *owner)
{
    r->open = MCPCTL_RECORD_OPEN;
    r->owned = 0;
    r->tokens = r->sealed.len != 0;
    r->key = mcpctl_vault_key(v->ctl, r->tokens ? &r->sealed : &r->meta);

    if (owner) {
        r->owner = *owner;
        r->owned = 1;

    } else {
        mcpctl_record_meta(v, r);
    }

    if (r->owned && r->tokens) {
        mcpctl_record_tokens(v, r);
    }
}


/* Whose it is, as it says itself, and as its name has to be then. */
static void
mcpctl_record_meta(mcpctl_vault_t *v, mcpctl_record_t *r)
{
    int                rc;
    mcp_str_t          plain;
    unsigned char      name[MCP_VAULT_NAME];
    mcp_vault_owner_t  by_name;

    mcp_vault_owner_by_name(&by_name, r->name.data);

    if (mcpctl_record_plain(v, &by_name, "meta", 0, &r->meta, &plain)
        != MCP_OK)
    {
        mcpctl_record_closed(v, r, &r->meta);
        return;
    }

    rc = mcp_vault_owner_parse(&plain, &v->ctl->mem, &r->owner);
    mcpctl_vault_forget(v);

    if (rc == MCP_OK) {
        mcp_vault_name(&r->owner, name);
    }

    if (rc != MCP_OK || memcmp(name, r->name.data, MCP_VAULT_NAME) != 0) {
        r->open = MCPCTL_RECORD_DAMAGED;
        return;
    }

    r->owned = 1;
}


/* What may be told of the tokens. */
static void
mcpctl_record_tokens(mcpctl_vault_t *v, mcpctl_record_t *r)
{
    mcp_mem_t           mem;
    mcp_str_t           plain;
    mcp_vault_tokens_t  t;

    if (mcpctl_record_plain(v, &r->owner, "tokens", r->version, &r->sealed,
                            &plain)
        != MCP_OK)
    {
        mcpctl_record_closed(v, r, &r->sealed);
        return;
    }

    mem.alloc = mcpctl_vault_alloc;
    mem.ctx = v;

    if (mcp_vault_tokens_parse(&plain, &mem, &t) == MCP_OK) {
        r->issued = t.issued;
        r->refresh = t.refresh_token.len != 0;
        r->refresh_expires = t.refresh_expires;
        r->scope = mcpctl_str(v->ctl, t.scope.data, t.scope.len);

    } else {
        r->open = MCPCTL_RECORD_DAMAGED;
    }

    mcpctl_vault_forget(v);
}


/* Why it did not open. */
static void
mcpctl_record_closed(mcpctl_vault_t *v, mcpctl_record_t *r,
    const mcp_str_t *sealed)
{
    unsigned   i;
    mcp_str_t  id;

    r->open = MCPCTL_RECORD_DAMAGED;
    id = mcp_vault_key_id(sealed);

    for (i = 0; i < v->ring.nkeys; i++) {
        if (mcp_str_eq(&v->ring.keys[i].id, &id)) {
            return;
        }
    }

    if (id.len) {
        r->open = MCPCTL_RECORD_NO_KEY;
        r->lacks = mcpctl_vault_key(v->ctl, sealed);
    }
}


int
mcpctl_record_plain(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const char *field, uint64_t version, const mcp_str_t *sealed,
    mcp_str_t *plain)
{
    if (sealed->len > MCPCTL_VAULT_PLAIN
        || mcp_vault_open(&v->ring, owner, field, version, sealed, v->plain,
                          &v->nplain)
           != MCP_OK)
    {
        v->nplain = 0;
        return MCP_DECLINED;
    }

    plain->data = v->plain;
    plain->len = v->nplain;

    return MCP_OK;
}


void
mcpctl_vault_forget(mcpctl_vault_t *v)
{
    mcpctl_wipe(v->plain, v->nplain);
    mcpctl_wipe(v->scratch, v->nscratch);

    v->nplain = 0;
    v->nscratch = 0;
}


void *
mcpctl_vault_alloc(void *ctx, size_t size)
{
    mcpctl_vault_t *v = ctx;

    void  *p;

    size = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);

    if (size > MCPCTL_VAULT_SCRATCH - v->nscratch) {
        return NULL;
    }

    p = v->scratch + v->nscratch;
    v->nscratch += size;

    return p;
}


int
mcpctl_record_seal(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const mcp_vault_tokens_t *tokens, mcpctl_record_t *r)
{
    int                rc;
    mcp_buf_t          b;
    mcp_vault_owner_t  by_name;

    r->sealed.data = mcpctl_alloc(v->ctl, MCPCTL_VAULT_PLAIN);
    r->meta.data = mcpctl_alloc(v->ctl, MCPCTL_VAULT_PLAIN);

    mcp_buf_init(&b, v->scratch, MCP_VAULT_VALUE);
    mcp_vault_tokens_write(&b, tokens);
    v->nscratch = (size_t) (b.pos - b.start);

    rc = mcpctl_record_field(v, owner, "tokens", r->version + 1, &b,
                             &r->sealed);
    mcpctl_vault_forget(v);

    if (rc != MCP_OK) {
        return MCP_ERROR;
    }

    mcp_vault_owner_by_name(&by_name, r->name.data);

    mcp_buf_init(&b, v->scratch, MCP_VAULT_VALUE);
    mcp_vault_owner_write(&b, owner);

    return mcpctl_record_field(v, &by_name, "meta", 0, &b, &r->meta);
}


int
mcpctl_record_reseal(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcp_str_t *sealed, mcp_str_t *meta)
{
    mcp_vault_owner_t  by_name;

    mcp_vault_owner_by_name(&by_name, r->name.data);

    if (r->tokens) {
        if (mcpctl_record_again(v, &r->owner, "tokens", r->version,
                                &r->sealed, sealed)
            != MCP_OK)
        {
            return MCP_ERROR;
        }

    } else {
        sealed->len = 0;
    }

    return mcpctl_record_again(v, &by_name, "meta", 0, &r->meta, meta);
}


/* The same text, sealed with the first key. */
int
mcpctl_record_again(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const char *field, uint64_t version, const mcp_str_t *old,
    mcp_str_t *sealed)
{
    int        rc;
    mcp_buf_t  b;
    mcp_str_t  plain;

    if (mcpctl_record_plain(v, owner, field, version, old, &plain) != MCP_OK) {
        return mcpctl_error(v->ctl, MCP_ERROR, "\"%s\" does not open", field);
    }

    mcp_buf_init(&b, v->scratch, MCP_VAULT_VALUE);
    mcp_buf_str(&b, &plain);
    v->nscratch = plain.len;

    rc = mcpctl_record_field(v, owner, field, version, &b, sealed);
    mcpctl_vault_forget(v);

    return rc;
}


/* Into sealed->data, MCPCTL_VAULT_PLAIN bytes.  What a gateway could not open
 * is not written. */
static int
mcpctl_record_field(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const char *field, uint64_t version, const mcp_buf_t *text,
    mcp_str_t *sealed)
{
    int        same;
    size_t     len;
    mcp_str_t  plain, again;

    plain.data = text->start;
    plain.len = (size_t) (text->pos - text->start);

    if (text->overflow
        || mcp_vault_seal(&v->ring, owner, field, version, &plain,
                          sealed->data, &len)
           != MCP_OK)
    {
        return mcpctl_error(v->ctl, MCP_ERROR, "cannot seal the record: %s",
                            text->overflow ? "it is too long"
                                           : "OpenSSL failed");
    }

    sealed->len = len;

    same = mcpctl_record_plain(v, owner, field, version, sealed, &again)
           == MCP_OK && mcp_str_eq(&again, &plain);

    mcpctl_wipe(v->plain, v->nplain);
    v->nplain = 0;

    return same ? MCP_OK
                : mcpctl_error(v->ctl, MCP_ERROR, "cannot seal the record: it "
                               "does not open again");
}


void
mcpctl_record_keep(mcpctl_t *ctl, mcpctl_record_t *r, unsigned tokens)
{
    r->name = mcpctl_str(ctl, r->name.data, r->name.len);
    r->state = mcpctl_str(ctl, r->state.data, r->state.len);
    r->meta = mcpctl_str(ctl, r->meta.data, r->meta.len);
    r->flight = mcpctl_str(ctl, r->flight.data, r->flight.len);

    if (tokens) {
        r->sealed = mcpctl_str(ctl, r->sealed.data, r->sealed.len);

    } else {
        mcp_str_null(&r->sealed);
    }
}


/* The id of the key that it was sealed with, "-" when there is none. */
static char *
mcpctl_vault_key(mcpctl_t *ctl, const mcp_str_t *sealed)
{
    mcp_str_t  id;

    id = mcp_vault_key_id(sealed);

    return id.len ? mcpctl_shown(ctl, &id, MCPCTL_SHOWN)
                  : mcpctl_format(ctl, "-");
}


const char *
mcpctl_record_why(mcpctl_t *ctl, const mcpctl_record_t *r)
{
    if (r->open == MCPCTL_RECORD_NO_KEY) {
        return mcpctl_format(ctl, "it is sealed with the key \"%s\", which "
                             "\"%s\" does not have", r->lacks,
                             (char *) ctl->conf->vault_keys.data);
    }

    return "it does not open: it was changed, or this is not its place";
}


unsigned
mcpctl_record_of(const mcpctl_record_t *r, const mcp_str_t *credential,
    const mcp_str_t *user, const mcp_str_t *issuer)
{
    return r->owned
           && (credential->len == 0
               || mcp_str_eq(&r->owner.credential, credential))
           && (user->len == 0 || mcp_str_eq(&r->owner.user, user))
           && (issuer->len == 0 || mcp_str_eq(&r->owner.issuer, issuer));
}
