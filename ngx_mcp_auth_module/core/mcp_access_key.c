/*
 * The gateway's own tokens.  See mcp_access_key.h.
 *
 * Always true of a record that was parsed: it has all that its kind needs and
 * nothing of the other kind, lists are within their bounds and have no empty
 * item, no value has a control character.
 *
 * Called where a token file or Redis is read, by mcpctl, and for each token
 * that is in no cache.  A file of records is one heap object of blocks, freed
 * by mcp_access_keys_free(); all else belongs to the caller's arena.
 * lint: heap, a file of records lives until the next one takes its place
 */

#include "mcp_access_key.h"
#include "mcp_gcm.h"
#include "mcp_line.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>


#define MCP_ACCESS_KEY_PREFIX   5       /* "mcpp_" */
#define MCP_ACCESS_KEY_CRC      6       /* characters of the checksum */
#define MCP_ACCESS_KEY_HINT     4
#define MCP_ACCESS_KEY_BLOCK    65536
#define MCP_ACCESS_KEY_SPECIAL  ",= "


/* A pair of a record: where its value goes. */
typedef struct {
    mcp_str_t            name;
    enum {
        MCP_ACCESS_KEY_TEXT = 0,
        MCP_ACCESS_KEY_TIME,
        MCP_ACCESS_KEY_LIST
    }                    type;
    size_t               offset;
    size_t               count;         /* of a list: where its length goes */
    unsigned             max;
} mcp_access_key_pair_t;

typedef struct mcp_access_key_block_s  mcp_access_key_block_t;

struct mcp_access_key_block_s {
    mcp_access_key_block_t  *next;
    size_t                   used;
    size_t                   size;
    max_align_t              data[];
};

struct mcp_access_keys_s {
    unsigned                 n;
    mcp_access_key_t        *keys;      /* in the order of the file */
    mcp_access_key_t       **by_hash;   /* sorted */
    unsigned                *lines;
    mcp_access_key_block_t  *blocks;
    unsigned                 no_memory:1;
};


static uint32_t mcp_access_key_crc(const unsigned char *p, size_t len);
static void mcp_access_key_checksum(const unsigned char *token,
    unsigned char *out);
static int mcp_access_key_base62(const unsigned char *p, size_t len);
static int mcp_access_key_random(unsigned char *out, size_t len);
static int mcp_access_key_head(mcp_str_t *rest, mcp_access_key_t *key,
    const char **error);
static int mcp_access_key_id(const mcp_str_t *id, mcp_auth_e auth);
static int mcp_access_key_hex(const unsigned char *p, unsigned char *out,
    size_t len);
static int mcp_access_key_pair(const mcp_str_t *column, const mcp_mem_t *mem,
    mcp_access_key_t *key, unsigned *seen, const char **error);
static int mcp_access_key_list(const mcp_str_t *text, const mcp_mem_t *mem,
    unsigned max, mcp_str_t **list, unsigned *n, const char **error);
static int mcp_access_key_complete(const mcp_access_key_t *key,
    const char **error);
static int mcp_access_key_scope(const mcp_str_t *scope);
static void mcp_access_key_write_pair(mcp_buf_t *b,
    const mcp_access_key_pair_t *pair, const mcp_access_key_t *key);
static int mcp_access_key_scopes(const mcp_access_key_t *key,
    const mcp_mem_t *mem, mcp_str_t *scopes);

static int mcp_access_keys_fill(mcp_access_keys_t *keys,
    const mcp_str_t *text, const char **error, unsigned *line);
static int mcp_access_keys_room(mcp_access_keys_t *keys, unsigned n);
static int mcp_access_keys_sort(mcp_access_keys_t *keys, const char **error,
    unsigned *line);
static int mcp_access_keys_twice(const mcp_access_keys_t *keys,
    int (*cmp)(const void *a, const void *b), unsigned *line);
static int mcp_access_keys_cmp_hash(const void *a, const void *b);
static int mcp_access_keys_cmp_id(const void *a, const void *b);
static void *mcp_access_keys_alloc(void *ctx, size_t size);


#define mcp_access_key_text(name)                                             \
    { mcp_string(#name), MCP_ACCESS_KEY_TEXT,                                 \
      offsetof(mcp_access_key_t, name), 0, 0 }
#define mcp_access_key_time(name)                                             \
    { mcp_string(#name), MCP_ACCESS_KEY_TIME,                                 \
      offsetof(mcp_access_key_t, name), 0, 0 }
#define mcp_access_key_items(name, max)                                       \
    { mcp_string(#name), MCP_ACCESS_KEY_LIST,                                 \
      offsetof(mcp_access_key_t, name),                                       \
      offsetof(mcp_access_key_t, n ## name), max }


/* in the order in which they are written */

static const mcp_access_key_pair_t  mcp_access_key_pairs[] = {
    mcp_access_key_text(issuer),
    mcp_access_key_text(user),
    mcp_access_key_text(service),
    mcp_access_key_items(roles, MCP_ACCESS_KEY_ITEMS),
    mcp_access_key_items(servers, MCP_MAX_AUDIENCES),
    mcp_access_key_items(scopes, MCP_ACCESS_KEY_ITEMS),
    mcp_access_key_time(created),
    mcp_access_key_time(expires),
    mcp_access_key_time(revoked),
    mcp_access_key_text(label),
    mcp_access_key_text(by),
    mcp_access_key_text(replaces),
    mcp_access_key_text(hint)
};

#define MCP_ACCESS_KEY_PAIRS                                                  \
    (sizeof(mcp_access_key_pairs) / sizeof(mcp_access_key_pairs[0]))


static const char  mcp_access_key_digits[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";


int
mcp_pepper_add(mcp_pepper_ring_t *ring, const mcp_str_t *secret)
{
    unsigned       i;
    mcp_pepper_t  *p;
    unsigned char  key[MCP_DIGEST_KEY];

    if (secret->len < MCP_PEPPER_MIN || ring->n == MCP_PEPPERS) {
        return MCP_DECLINED;
    }

    p = &ring->peppers[ring->n];

    if (mcp_derive(secret, "token", "id", p->id, sizeof(p->id)) != MCP_OK
        || mcp_derive(secret, "token", "pepper", key, sizeof(key)) != MCP_OK)
    {
        return MCP_ERROR;
    }

    mcp_digest_key(&p->key, key);
    OPENSSL_cleanse(key, sizeof(key));

    for (i = 0; i < ring->n; i++) {
        if (memcmp(ring->peppers[i].id, p->id, sizeof(p->id)) == 0) {
            OPENSSL_cleanse(p, sizeof(mcp_pepper_t));
            return MCP_DECLINED;
        }
    }

    ring->n++;

    return MCP_OK;
}


unsigned
mcp_access_key_kind(const mcp_str_t *token)
{
    if (token->len < MCP_ACCESS_KEY_PREFIX) {
        return 0;
    }

    if (memcmp(token->data, "mcpp_", MCP_ACCESS_KEY_PREFIX) == 0) {
        return MCP_AUTH_PAT;
    }

    if (memcmp(token->data, "mcpv_", MCP_ACCESS_KEY_PREFIX) == 0) {
        return MCP_AUTH_VAT;
    }

    return 0;
}


int
mcp_access_key_check(const mcp_str_t *token)
{
    unsigned char  checksum[MCP_ACCESS_KEY_CRC];

    if (token->len != MCP_ACCESS_KEY_LEN
        || mcp_access_key_kind(token) == 0
        || !mcp_access_key_base62(token->data + MCP_ACCESS_KEY_PREFIX,
                                  MCP_ACCESS_KEY_LEN - MCP_ACCESS_KEY_PREFIX))
    {
        return MCP_ERROR;
    }

    mcp_access_key_checksum(token->data, checksum);

    return memcmp(token->data + MCP_ACCESS_KEY_LEN - MCP_ACCESS_KEY_CRC,
                  checksum, MCP_ACCESS_KEY_CRC) == 0 ? MCP_OK : MCP_ERROR;
}


int
mcp_access_key_make(mcp_auth_e auth, unsigned char *out, unsigned char *id)
{
    memcpy(out, auth == MCP_AUTH_PAT ? "mcpp_" : "mcpv_",
           MCP_ACCESS_KEY_PREFIX);
    memcpy(id, auth == MCP_AUTH_PAT ? "pat-" : "vat-", 4);

    if (mcp_access_key_random(out + MCP_ACCESS_KEY_PREFIX,
                              MCP_ACCESS_KEY_LEN - MCP_ACCESS_KEY_PREFIX
                              - MCP_ACCESS_KEY_CRC) != MCP_OK
        || mcp_access_key_random(id + 4, MCP_ACCESS_KEY_ID - 4) != MCP_OK)
    {
        return MCP_ERROR;
    }

    mcp_access_key_checksum(out,
                            out + MCP_ACCESS_KEY_LEN - MCP_ACCESS_KEY_CRC);

    return MCP_OK;
}


void
mcp_access_key_hash(const mcp_pepper_t *pepper, const mcp_str_t *token,
    unsigned char *hash)
{
    mcp_digest_t  d;

    mcp_digest_init(&d, &pepper->key);
    mcp_digest_update(&d, token->data, token->len);
    mcp_digest_raw(&d, &pepper->key, hash);
}


int
mcp_access_key_parse(const mcp_str_t *line, const mcp_mem_t *mem,
    mcp_access_key_t *key, const char **error)
{
    int        rc;
    unsigned   seen;
    mcp_str_t  rest, column;

    memset(key, 0, sizeof(mcp_access_key_t));

    if (line->len > MCP_ACCESS_KEY_LINE) {
        *error = "the line is longer than 4096 bytes";
        return MCP_ERROR;
    }

    rest = *line;
    seen = 0;

    if (mcp_access_key_head(&rest, key, error) != MCP_OK) {
        return MCP_ERROR;
    }

    if (mcp_str_dup(mem, &key->id, key->id.data, key->id.len) != MCP_OK) {
        *error = "out of memory";
        return MCP_ERROR;
    }

    for ( ;; ) {
        rc = mcp_line_column(&rest, &column);

        if (rc == MCP_DECLINED) {
            return mcp_access_key_complete(key, error);
        }

        if (rc != MCP_OK) {
            *error = "two spaces, or one at the end of the line";
            return MCP_ERROR;
        }

        if (mcp_access_key_pair(&column, mem, key, &seen, error) != MCP_OK) {
            return MCP_ERROR;
        }
    }
}


void
mcp_access_key_write(mcp_buf_t *b, const mcp_access_key_t *key)
{
    size_t  i;

    if (key->auth == MCP_AUTH_PAT) {
        mcp_buf_lit(b, "pat ");

    } else {
        mcp_buf_lit(b, "vat ");
    }

    mcp_buf_str(b, &key->id);
    mcp_buf_lit(b, " ");
    mcp_buf_hex(b, key->pepper, sizeof(key->pepper));
    mcp_buf_lit(b, ":");
    mcp_buf_hex(b, key->hash, sizeof(key->hash));

    for (i = 0; i < MCP_ACCESS_KEY_PAIRS; i++) {
        mcp_access_key_write_pair(b, &mcp_access_key_pairs[i], key);
    }
}


mcp_principal_t *
mcp_access_key_principal(const mcp_access_key_t *key, unsigned issuer,
    const mcp_str_t *names, unsigned nnames, const mcp_mem_t *mem)
{
    unsigned         i, k;
    mcp_principal_t  p;

    memset(&p, 0, sizeof(mcp_principal_t));

    p.auth = key->auth;
    p.issuer = issuer;
    p.token_id = key->id;
    p.iat = key->created;
    p.exp = key->expires;

    if (key->auth == MCP_AUTH_PAT) {
        p.kind = MCP_CALLER_USER;
        p.iss = key->issuer;
        p.user = key->user;

    } else {
        p.kind = MCP_CALLER_SERVICE;
        p.client = key->service;
    }

    if (mcp_access_key_scopes(key, mem, &p.scopes) != MCP_OK) {
        return NULL;
    }

    /* what every caller holds; a name is never this one */

    mcp_role_set(&p.roles, 0);

    for (i = 1; i < nnames && i < MCP_MAX_ROLES; i++) {
        for (k = 0; k < key->nroles; k++) {
            if (mcp_str_eq(&names[i], &key->roles[k])
                && !mcp_str_eq_lit(&names[i], "*"))
            {
                mcp_role_set(&p.roles, i);
            }
        }
    }

    p.audiences = key->servers;
    p.naudiences = key->nservers;

    return mcp_principal_dup(&p, mem);
}


mcp_access_keys_t *
mcp_access_keys_parse(const mcp_str_t *text, const char **error,
    unsigned *line)
{
    mcp_access_keys_t  *keys;

    *line = 0;
    *error = "out of memory";

    keys = calloc(1, sizeof(mcp_access_keys_t));
    if (keys == NULL) {
        return NULL;
    }

    if (mcp_access_keys_fill(keys, text, error, line) != MCP_OK
        || mcp_access_keys_sort(keys, error, line) != MCP_OK)
    {
        if (keys->no_memory) {
            *line = 0;
        }

        mcp_access_keys_free(keys);
        return NULL;
    }

    free(keys->lines);
    keys->lines = NULL;

    return keys;
}


void
mcp_access_keys_free(mcp_access_keys_t *keys)
{
    mcp_access_key_block_t  *b;

    if (keys == NULL) {
        return;
    }

    while (keys->blocks) {
        b = keys->blocks;
        keys->blocks = b->next;
        free(b);
    }

    free(keys->lines);
    free(keys->by_hash);
    free(keys->keys);
    free(keys);
}


const mcp_access_key_t *
mcp_access_keys_find(const mcp_access_keys_t *keys, const unsigned char *hash)
{
    int       rc;
    unsigned  from, to, middle;

    from = 0;
    to = keys->n;

    while (from < to) {
        middle = from + (to - from) / 2;
        rc = memcmp(keys->by_hash[middle]->hash, hash, MCP_ACCESS_KEY_HASH);

        if (rc < 0) {
            from = middle + 1;

        } else {
            to = middle;
        }
    }

    /*
     * The way here depends on the hash, which nobody knows who has not the
     * pepper; whether it is the one does not depend on where it differs.
     */

    if (from == keys->n
        || CRYPTO_memcmp(keys->by_hash[from]->hash, hash, MCP_ACCESS_KEY_HASH)
           != 0)
    {
        return NULL;
    }

    return keys->by_hash[from];
}


const mcp_access_key_t *
mcp_access_keys_get(const mcp_access_keys_t *keys, unsigned i)
{
    return i < keys->n ? &keys->keys[i] : NULL;
}


/* CRC-32 of zlib and Ethernet (reflected, 0xedb88320), by half bytes. */

static uint32_t
mcp_access_key_crc(const unsigned char *p, size_t len)
{
    uint32_t  crc;

    static const uint32_t  table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c
    };

    crc = 0xffffffff;

    while (len--) {
        crc ^= *p++;
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }

    return ~crc;
}


/* Of all that stands before it; base62, the highest digit first. */

static void
mcp_access_key_checksum(const unsigned char *token, unsigned char *out)
{
    unsigned  i;
    uint32_t  crc;

    crc = mcp_access_key_crc(token, MCP_ACCESS_KEY_LEN - MCP_ACCESS_KEY_CRC);

    for (i = MCP_ACCESS_KEY_CRC; i > 0; i--) {
        out[i - 1] = (unsigned char) mcp_access_key_digits[crc % 62];
        crc /= 62;
    }
}


static int
mcp_access_key_base62(const unsigned char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'A' || p[i] > 'Z')
            && (p[i] < 'a' || p[i] > 'z'))
        {
            return 0;
        }
    }

    return 1;
}


/* len digits, each of the 62 as likely as the others. */

static int
mcp_access_key_random(unsigned char *out, size_t len)
{
    size_t         i, n;
    unsigned char  bytes[64];

    n = 0;

    while (n < len) {
        if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1) {
            ERR_clear_error();
            return MCP_ERROR;
        }

        for (i = 0; i < sizeof(bytes) && n < len; i++) {
            if (bytes[i] < 62 * 4) {
                out[n++] = (unsigned char) mcp_access_key_digits[bytes[i] % 62];
            }
        }
    }

    OPENSSL_cleanse(bytes, sizeof(bytes));

    return MCP_OK;
}


/* Kind, id, and pepper and hash. */

static int
mcp_access_key_head(mcp_str_t *rest, mcp_access_key_t *key,
    const char **error)
{
    mcp_str_t  kind, hash;

    if (mcp_line_column(rest, &kind) != MCP_OK
        || mcp_line_column(rest, &key->id) != MCP_OK
        || mcp_line_column(rest, &hash) != MCP_OK)
    {
        *error = "not \"pat|vat ID KEYID:HASH ...\", with one space between";
        return MCP_ERROR;
    }

    if (mcp_str_eq_lit(&kind, "pat")) {
        key->auth = MCP_AUTH_PAT;

    } else if (mcp_str_eq_lit(&kind, "vat")) {
        key->auth = MCP_AUTH_VAT;

    } else {
        *error = "begins with neither pat nor vat";
        return MCP_ERROR;
    }

    if (!mcp_access_key_id(&key->id, key->auth)) {
        *error = "the id is not pat- or vat- with 12 letters and digits";
        return MCP_ERROR;
    }

    if (hash.len != 8 + 1 + 2 * MCP_ACCESS_KEY_HASH
        || hash.data[8] != ':'
        || mcp_access_key_hex(hash.data, key->pepper, 4) != MCP_OK
        || mcp_access_key_hex(hash.data + 9, key->hash, MCP_ACCESS_KEY_HASH)
           != MCP_OK)
    {
        *error = "the third column is not 8 and 64 hex digits (lower case) "
                 "with \":\" between";
        return MCP_ERROR;
    }

    return MCP_OK;
}


static int
mcp_access_key_id(const mcp_str_t *id, mcp_auth_e auth)
{
    return id->len == MCP_ACCESS_KEY_ID
           && memcmp(id->data, auth == MCP_AUTH_PAT ? "pat-" : "vat-", 4) == 0
           && mcp_access_key_base62(id->data + 4, MCP_ACCESS_KEY_ID - 4);
}


static int
mcp_access_key_hex(const unsigned char *p, unsigned char *out, size_t len)
{
    size_t    i;
    unsigned  d, v;

    for (i = 0; i < 2 * len; i++) {

        if (p[i] >= '0' && p[i] <= '9') {
            d = p[i] - '0';

        } else if (p[i] >= 'a' && p[i] <= 'f') {
            d = p[i] - 'a' + 10;

        } else {
            return MCP_ERROR;
        }

        v = (i & 1) ? (unsigned) out[i / 2] << 4 | d : d;
        out[i / 2] = (unsigned char) v;
    }

    return MCP_OK;
}


static int
mcp_access_key_pair(const mcp_str_t *column, const mcp_mem_t *mem,
    mcp_access_key_t *key, unsigned *seen, const char **error)
{
    size_t                        i;
    void                         *member;
    mcp_str_t                     name, text;
    const mcp_access_key_pair_t  *pair;

    if (mcp_line_pair(column, &name, &text) != MCP_OK || text.len == 0) {
        *error = "a column is not key=value";
        return MCP_ERROR;
    }

    for (i = 0; i < MCP_ACCESS_KEY_PAIRS; i++) {
        if (mcp_str_eq(&mcp_access_key_pairs[i].name, &name)) {
            break;
        }
    }

    if (i == MCP_ACCESS_KEY_PAIRS) {
        *error = "a key that is not known here";
        return MCP_ERROR;
    }

    if (*seen & (1u << i)) {
        *error = "a key is there twice";
        return MCP_ERROR;
    }

    *seen |= 1u << i;

    pair = &mcp_access_key_pairs[i];
    member = (char *) key + pair->offset;

    switch (pair->type) {

    case MCP_ACCESS_KEY_TIME:
        if (mcp_time_parse(&text, member) != MCP_OK
            || *(int64_t *) member == 0)
        {
            *error = "a time is not like 2026-11-25T15:10:40Z";
            return MCP_ERROR;
        }

        return MCP_OK;

    case MCP_ACCESS_KEY_LIST:
        return mcp_access_key_list(&text, mem, pair->max, member,
                                   (unsigned *) (void *)
                                       ((char *) key + pair->count),
                                   error);

    default:
        return mcp_line_decode(mem, &text, MCP_ACCESS_KEY_SPECIAL, member,
                               error);
    }
}


static int
mcp_access_key_list(const mcp_str_t *text, const mcp_mem_t *mem, unsigned max,
    mcp_str_t **list, unsigned *n, const char **error)
{
    size_t                i;
    unsigned              items;
    mcp_str_t             item;
    const unsigned char  *start, *comma, *end;

    items = 1;

    for (i = 0; i < text->len; i++) {
        items += (text->data[i] == ',');
    }

    if (items > max) {
        *error = "a list has more than 64 items, or more than 32 servers";
        return MCP_ERROR;
    }

    *list = mcp_alloc(mem, items * sizeof(mcp_str_t));
    if (*list == NULL) {
        *error = "out of memory";
        return MCP_ERROR;
    }

    start = text->data;
    end = start + text->len;

    for (i = 0; i < items; i++) {
        comma = memchr(start, ',', (size_t) (end - start));

        item.data = (unsigned char *) start;
        item.len = (size_t) ((comma ? comma : end) - start);

        if (item.len == 0) {
            *error = "an empty item in a list";
            return MCP_ERROR;
        }

        if (mcp_line_decode(mem, &item, MCP_ACCESS_KEY_SPECIAL, &(*list)[i],
                            error) != MCP_OK)
        {
            return MCP_ERROR;
        }

        start = comma ? comma + 1 : end;
    }

    *n = items;

    return MCP_OK;
}


static int
mcp_access_key_complete(const mcp_access_key_t *key, const char **error)
{
    unsigned  i;

    if (key->auth == MCP_AUTH_PAT
        && (key->issuer.len == 0 || key->user.len == 0 || key->service.len))
    {
        *error = "a pat needs issuer and user, and has no service";
        return MCP_ERROR;
    }

    if (key->auth == MCP_AUTH_VAT
        && (key->service.len == 0 || key->issuer.len || key->user.len))
    {
        *error = "a vat needs service, and has neither issuer nor user";
        return MCP_ERROR;
    }

    if (key->nroles == 0 || key->nservers == 0 || key->created == 0
        || key->expires == 0)
    {
        *error = "roles, servers, created or expires is missing";
        return MCP_ERROR;
    }

    for (i = 0; i < key->nscopes; i++) {
        if (!mcp_access_key_scope(&key->scopes[i])) {
            *error = "a scope with a space, a quote or a backslash";
            return MCP_ERROR;
        }
    }

    if (key->replaces.len && !mcp_access_key_id(&key->replaces, key->auth)) {
        *error = "\"replaces\" is no id of a token of this kind";
        return MCP_ERROR;
    }

    if (key->hint.len
        && (key->hint.len != MCP_ACCESS_KEY_HINT
            || !mcp_access_key_base62(key->hint.data, key->hint.len)))
    {
        *error = "\"hint\" is not the last four characters of a token";
        return MCP_ERROR;
    }

    return MCP_OK;
}


/* scope-token of RFC 6749: they are joined by spaces, and go into headers. */

static int
mcp_access_key_scope(const mcp_str_t *scope)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < scope->len; i++) {
        c = scope->data[i];

        if (c < 0x21 || c > 0x7e || c == '"' || c == '\\') {
            return 0;
        }
    }

    return 1;
}


static void
mcp_access_key_write_pair(mcp_buf_t *b, const mcp_access_key_pair_t *pair,
    const mcp_access_key_t *key)
{
    unsigned          i, n;
    const void       *member;
    const mcp_str_t  *list;

    member = (const char *) key + pair->offset;

    switch (pair->type) {

    case MCP_ACCESS_KEY_TIME:
        n = (*(const int64_t *) member != 0);
        list = NULL;
        break;

    case MCP_ACCESS_KEY_LIST:
        n = *(const unsigned *) (const void *)
            ((const char *) key + pair->count);
        list = *(mcp_str_t *const *) member;
        break;

    default:
        n = (((const mcp_str_t *) member)->len != 0);
        list = member;
    }

    if (n == 0) {
        return;
    }

    mcp_buf_lit(b, " ");
    mcp_buf_str(b, &pair->name);
    mcp_buf_lit(b, "=");

    if (list == NULL) {
        mcp_time_write(b, *(const int64_t *) member);
        return;
    }

    for (i = 0; i < n; i++) {
        if (i) {
            mcp_buf_lit(b, ",");
        }

        mcp_line_encode(b, &list[i], MCP_ACCESS_KEY_SPECIAL);
    }
}


/* Joined by single spaces. */

static int
mcp_access_key_scopes(const mcp_access_key_t *key, const mcp_mem_t *mem,
    mcp_str_t *scopes)
{
    size_t     size;
    unsigned   i;
    mcp_buf_t  b;

    if (key->nscopes == 0) {
        return MCP_OK;
    }

    size = key->nscopes;

    for (i = 0; i < key->nscopes; i++) {
        size += key->scopes[i].len;
    }

    scopes->data = mcp_alloc(mem, size);
    if (scopes->data == NULL) {
        return MCP_ERROR;
    }

    mcp_buf_init(&b, scopes->data, size);

    for (i = 0; i < key->nscopes; i++) {
        if (i) {
            mcp_buf_lit(&b, " ");
        }

        mcp_buf_str(&b, &key->scopes[i]);
    }

    scopes->len = (size_t) (b.pos - b.start);

    return MCP_OK;
}


static int
mcp_access_keys_fill(mcp_access_keys_t *keys, const mcp_str_t *text,
    const char **error, unsigned *line)
{
    int               rc;
    unsigned          size;
    mcp_mem_t         mem;
    mcp_str_t         rest, one;

    rest = *text;
    size = 0;

    mem.alloc = mcp_access_keys_alloc;
    mem.ctx = keys;

    for ( ;; ) {
        rc = mcp_line_next(&rest, &one, line, error);

        if (rc != MCP_OK) {
            return rc == MCP_DECLINED ? MCP_OK : MCP_ERROR;
        }

        if (keys->n == size) {
            size = size ? 2 * size : 64;

            if (mcp_access_keys_room(keys, size) != MCP_OK) {
                keys->no_memory = 1;
                *error = "out of memory";
                return MCP_ERROR;
            }
        }

        if (mcp_access_key_parse(&one, &mem, &keys->keys[keys->n], error)
            != MCP_OK)
        {
            return MCP_ERROR;
        }

        keys->lines[keys->n++] = *line;
    }
}


static int
mcp_access_keys_room(mcp_access_keys_t *keys, unsigned n)
{
    unsigned          *lines;
    mcp_access_key_t  *more;

    more = realloc(keys->keys, n * sizeof(mcp_access_key_t));
    if (more == NULL) {
        return MCP_ERROR;
    }

    keys->keys = more;

    lines = realloc(keys->lines, n * sizeof(unsigned));
    if (lines == NULL) {
        return MCP_ERROR;
    }

    keys->lines = lines;

    return MCP_OK;
}


static int
mcp_access_keys_sort(mcp_access_keys_t *keys, const char **error,
    unsigned *line)
{
    unsigned  i;

    if (keys->n == 0) {
        return MCP_OK;
    }

    keys->by_hash = malloc(keys->n * sizeof(mcp_access_key_t *));
    if (keys->by_hash == NULL) {
        keys->no_memory = 1;
        *error = "out of memory";
        return MCP_ERROR;
    }

    for (i = 0; i < keys->n; i++) {
        keys->by_hash[i] = &keys->keys[i];
    }

    if (mcp_access_keys_twice(keys, mcp_access_keys_cmp_id, line)) {
        *error = "an id that an earlier line has";
        return MCP_ERROR;
    }

    if (mcp_access_keys_twice(keys, mcp_access_keys_cmp_hash, line)) {
        *error = "a hash that an earlier line has";
        return MCP_ERROR;
    }

    return MCP_OK;
}


/* Sorts; 1 when two are alike, *line is that of the later one. */

static int
mcp_access_keys_twice(const mcp_access_keys_t *keys,
    int (*cmp)(const void *a, const void *b), unsigned *line)
{
    unsigned                 i;
    const mcp_access_key_t  *a, *b;

    qsort(keys->by_hash, keys->n, sizeof(mcp_access_key_t *), cmp);

    for (i = 1; i < keys->n; i++) {
        a = keys->by_hash[i - 1];
        b = keys->by_hash[i];

        if (cmp(&a, &b) == 0) {
            *line = keys->lines[(a > b ? a : b) - keys->keys];
            return 1;
        }
    }

    return 0;
}


static int
mcp_access_keys_cmp_hash(const void *a, const void *b)
{
    const mcp_access_key_t *const *p = a, *const *q = b;

    return memcmp((*p)->hash, (*q)->hash, MCP_ACCESS_KEY_HASH);
}


static int
mcp_access_keys_cmp_id(const void *a, const void *b)
{
    const mcp_access_key_t *const *p = a, *const *q = b;

    return memcmp((*p)->id.data, (*q)->id.data, MCP_ACCESS_KEY_ID);
}


static void *
mcp_access_keys_alloc(void *ctx, size_t size)
{
    void                    *p;
    mcp_access_keys_t       *keys;
    mcp_access_key_block_t  *b;

    keys = ctx;
    b = keys->blocks;

    size = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);

    if (b == NULL || size > b->size - b->used) {
        b = malloc(sizeof(mcp_access_key_block_t) + MCP_ACCESS_KEY_BLOCK);
        if (b == NULL) {
            keys->no_memory = 1;
            return NULL;
        }

        b->next = keys->blocks;
        b->used = 0;
        b->size = MCP_ACCESS_KEY_BLOCK;
        keys->blocks = b;
    }

    /* a line, and so each of its parts, is smaller than a block */

    p = (char *) b->data + b->used;
    b->used += size;

    return p;
}
