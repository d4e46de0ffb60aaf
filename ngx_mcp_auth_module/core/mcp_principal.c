/*
 * Principals: audience and scope tests, and the packed form.
 *
 * The packed form is a fixed head (counts, times, roles) and then, one after
 * the other, each string as 4 bytes of length and its bytes: the five named
 * ones, the audiences, and name and value of each claim.  It holds no pointer
 * and needs no alignment; numbers are in the byte order of this machine, since
 * it never leaves it.
 *
 * A principal in memory is one block: the struct, the two arrays, and a packed
 * copy that all its strings point into.  Unpacking first copies into that
 * block and then checks every length against what was copied, so that memory
 * which another process damages meanwhile can do no harm.
 *
 * Called by mcp_jwt.c, by the gateway's own tokens and by the cache of verified
 * tokens.  Frees nothing: what it allocates belongs to the caller's arena.
 */

#include "mcp_principal.h"


#define MCP_PRINCIPAL_MAGIC  0x3150434du        /* "MCP1" */


typedef struct {
    uint32_t             magic;
    uint32_t             size;          /* of all, this head included */
    uint32_t             kind;
    uint32_t             auth;
    uint32_t             issuer;
    uint32_t             naudiences;
    uint32_t             nclaims;
    uint32_t             reserved;
    int64_t              exp;
    int64_t              iat;
    mcp_roles_t          roles;
} mcp_principal_head_t;


static unsigned mcp_principal_naudiences(const mcp_principal_t *p);
static unsigned mcp_principal_nclaims(const mcp_principal_t *p);
static void mcp_principal_head(const mcp_principal_t *p,
    mcp_principal_head_t *h);
static unsigned char *mcp_principal_put(unsigned char *out,
    const mcp_str_t *s);
static int mcp_principal_head_valid(const mcp_principal_head_t *h, size_t len);
static mcp_principal_t *mcp_principal_block(const mcp_principal_head_t *h,
    const mcp_mem_t *mem, unsigned char **packed);
static int mcp_principal_link(mcp_principal_t *p, unsigned char *packed,
    size_t size);
static int mcp_principal_get(unsigned char **pos, const unsigned char *end,
    mcp_str_t *s);


int
mcp_principal_audience(const mcp_principal_t *p, const mcp_str_t *wanted,
    unsigned nwanted)
{
    unsigned  i, j;

    for (i = 0; i < p->naudiences; i++) {

        for (j = 0; j < nwanted; j++) {
            if (mcp_str_eq(&p->audiences[i], &wanted[j])) {
                return 1;
            }
        }
    }

    return 0;
}


int
mcp_scope_has(const mcp_str_t *scopes, const mcp_str_t *scope)
{
    const unsigned char  *pos, *end, *start;

    if (scope->len == 0 || scopes->len == 0) {
        return 0;
    }

    pos = scopes->data;
    end = pos + scopes->len;

    while (pos < end) {
        start = pos;

        while (pos < end && *pos != ' ') {
            pos++;
        }

        if ((size_t) (pos - start) == scope->len
            && memcmp(start, scope->data, scope->len) == 0)
        {
            return 1;
        }

        pos++;
    }

    return 0;
}


size_t
mcp_principal_packed_size(const mcp_principal_t *p)
{
    size_t    size;
    unsigned  i, n;

    size = sizeof(mcp_principal_head_t) + 5 * sizeof(uint32_t)
           + p->iss.len + p->user.len + p->client.len + p->token_id.len
           + p->scopes.len;

    n = mcp_principal_naudiences(p);

    for (i = 0; i < n; i++) {
        size += sizeof(uint32_t) + p->audiences[i].len;
    }

    n = mcp_principal_nclaims(p);

    for (i = 0; i < n; i++) {
        size += 2 * sizeof(uint32_t) + p->claims[i].name.len
                + p->claims[i].value.len;
    }

    return size;
}


void
mcp_principal_pack(const mcp_principal_t *p, unsigned char *out)
{
    unsigned              i;
    mcp_principal_head_t  h;

    mcp_principal_head(p, &h);

    memcpy(out, &h, sizeof(mcp_principal_head_t));
    out += sizeof(mcp_principal_head_t);

    out = mcp_principal_put(out, &p->iss);
    out = mcp_principal_put(out, &p->user);
    out = mcp_principal_put(out, &p->client);
    out = mcp_principal_put(out, &p->token_id);
    out = mcp_principal_put(out, &p->scopes);

    for (i = 0; i < h.naudiences; i++) {
        out = mcp_principal_put(out, &p->audiences[i]);
    }

    for (i = 0; i < h.nclaims; i++) {
        out = mcp_principal_put(out, &p->claims[i].name);
        out = mcp_principal_put(out, &p->claims[i].value);
    }
}


mcp_principal_t *
mcp_principal_unpack(const unsigned char *packed, size_t len,
    const mcp_mem_t *mem)
{
    unsigned char         *copy;
    mcp_principal_t       *p;
    mcp_principal_head_t   h;

    if (len < sizeof(mcp_principal_head_t)) {
        return NULL;
    }

    memcpy(&h, packed, sizeof(mcp_principal_head_t));

    if (!mcp_principal_head_valid(&h, len)) {
        return NULL;
    }

    p = mcp_principal_block(&h, mem, &copy);
    if (p == NULL) {
        return NULL;
    }

    memcpy(copy, packed, h.size);

    if (mcp_principal_link(p, copy, h.size) != MCP_OK) {
        return NULL;
    }

    return p;
}


mcp_principal_t *
mcp_principal_dup(const mcp_principal_t *p, const mcp_mem_t *mem)
{
    unsigned char         *copy;
    mcp_principal_t       *dup;
    mcp_principal_head_t   h;

    if (mcp_principal_packed_size(p) > UINT32_MAX) {
        return NULL;
    }

    mcp_principal_head(p, &h);

    dup = mcp_principal_block(&h, mem, &copy);
    if (dup == NULL) {
        return NULL;
    }

    mcp_principal_pack(p, copy);

    return mcp_principal_link(dup, copy, h.size) == MCP_OK ? dup : NULL;
}


static unsigned
mcp_principal_naudiences(const mcp_principal_t *p)
{
    return p->naudiences < MCP_MAX_AUDIENCES ? p->naudiences
                                             : MCP_MAX_AUDIENCES;
}


static unsigned
mcp_principal_nclaims(const mcp_principal_t *p)
{
    return p->nclaims < MCP_MAX_CLAIMS ? p->nclaims : MCP_MAX_CLAIMS;
}


static void
mcp_principal_head(const mcp_principal_t *p, mcp_principal_head_t *h)
{
    memset(h, 0, sizeof(mcp_principal_head_t));

    h->magic = MCP_PRINCIPAL_MAGIC;
    h->size = (uint32_t) mcp_principal_packed_size(p);
    h->kind = (uint32_t) p->kind;
    h->auth = (uint32_t) p->auth;
    h->issuer = p->issuer;
    h->naudiences = mcp_principal_naudiences(p);
    h->nclaims = mcp_principal_nclaims(p);
    h->exp = p->exp;
    h->iat = p->iat;
    h->roles = p->roles;
}


static unsigned char *
mcp_principal_put(unsigned char *out, const mcp_str_t *s)
{
    uint32_t  len;

    len = (uint32_t) s->len;

    memcpy(out, &len, sizeof(uint32_t));
    out += sizeof(uint32_t);

    if (len) {
        memcpy(out, s->data, len);
    }

    return out + len;
}


static int
mcp_principal_head_valid(const mcp_principal_head_t *h, size_t len)
{
    return h->magic == MCP_PRINCIPAL_MAGIC
           && h->size >= sizeof(mcp_principal_head_t)
           && h->size <= len
           && (h->kind == MCP_CALLER_USER || h->kind == MCP_CALLER_SERVICE)
           && (h->auth == MCP_AUTH_JWT || h->auth == MCP_AUTH_PAT
               || h->auth == MCP_AUTH_VAT)
           && h->naudiences <= MCP_MAX_AUDIENCES
           && h->nclaims <= MCP_MAX_CLAIMS;
}


/* The block for a valid head: struct and arrays filled from it, and room for
 * the packed copy, which the caller writes before mcp_principal_link(). */

static mcp_principal_t *
mcp_principal_block(const mcp_principal_head_t *h, const mcp_mem_t *mem,
    unsigned char **packed)
{
    size_t            size;
    unsigned char    *pos;
    mcp_principal_t  *p;

    size = sizeof(mcp_principal_t) + h->naudiences * sizeof(mcp_str_t)
           + h->nclaims * sizeof(mcp_claim_t);

    p = mcp_alloc(mem, size + h->size);
    if (p == NULL) {
        return NULL;
    }

    memset(p, 0, size);

    p->kind = (mcp_caller_e) h->kind;
    p->auth = (mcp_auth_e) h->auth;
    p->issuer = h->issuer;
    p->naudiences = h->naudiences;
    p->nclaims = h->nclaims;
    p->exp = h->exp;
    p->iat = h->iat;
    p->roles = h->roles;

    pos = (unsigned char *) p + sizeof(mcp_principal_t);

    p->audiences = (mcp_str_t *) (void *) pos;
    pos += h->naudiences * sizeof(mcp_str_t);

    p->claims = (mcp_claim_t *) (void *) pos;

    *packed = (unsigned char *) p + size;

    return p;
}


/* Points the strings of p into its packed copy; MCP_ERROR: a length leads out
 * of it, or something is left over. */

static int
mcp_principal_link(mcp_principal_t *p, unsigned char *packed, size_t size)
{
    unsigned              i;
    unsigned char        *pos;
    const unsigned char  *end;

    pos = packed + sizeof(mcp_principal_head_t);
    end = packed + size;

    if (mcp_principal_get(&pos, end, &p->iss) != MCP_OK
        || mcp_principal_get(&pos, end, &p->user) != MCP_OK
        || mcp_principal_get(&pos, end, &p->client) != MCP_OK
        || mcp_principal_get(&pos, end, &p->token_id) != MCP_OK
        || mcp_principal_get(&pos, end, &p->scopes) != MCP_OK)
    {
        return MCP_ERROR;
    }

    for (i = 0; i < p->naudiences; i++) {
        if (mcp_principal_get(&pos, end, &p->audiences[i]) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    for (i = 0; i < p->nclaims; i++) {
        if (mcp_principal_get(&pos, end, &p->claims[i].name) != MCP_OK
            || mcp_principal_get(&pos, end, &p->claims[i].value) != MCP_OK)
        {
            return MCP_ERROR;
        }
    }

    return pos == end ? MCP_OK : MCP_ERROR;
}


static int
mcp_principal_get(unsigned char **pos, const unsigned char *end, mcp_str_t *s)
{
    uint32_t  len;

    if ((size_t) (end - *pos) < sizeof(uint32_t)) {
        return MCP_ERROR;
    }

    memcpy(&len, *pos, sizeof(uint32_t));
    *pos += sizeof(uint32_t);

    if ((size_t) (end - *pos) < len) {
        return MCP_ERROR;
    }

    s->len = len;
    s->data = *pos;
    *pos += len;

    return MCP_OK;
}
