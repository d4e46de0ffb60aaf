/*
 * Records of credentials: names, seals, what is in them.  See mcp_vault.h.
 *
 * Opening is strict: a value that nobody with a key of the ring sealed, or
 * that was changed or moved to another record, field or version, does not
 * open.  Of a whole record that is put back as it was no seal tells.  Keys are
 * cleansed here, and what did not open; outputs are the caller's to cleanse.
 * What jansson frees is as it was, but in mcpctl, which wipes it.
 */

#include "mcp_vault.h"
#include "mcp_digest.h"
#include "mcp_gcm.h"
#include "mcp_json_tree.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>


#define MCP_VAULT_FORMAT   1
#define MCP_VAULT_SALT     16
#define MCP_VAULT_PARTS    9            /* of the owner (7), field, version */
#define MCP_VAULT_LIFE     5            /* refreshed when this part is left */
#define MCP_VAULT_SOONEST  600          /* s before the end */
#define MCP_VAULT_LATEST   10           /* s before the end */
#define MCP_VAULT_MARGIN   5            /* s of a grace that are not used */


static int mcp_vault_key_line(const mcp_str_t *line, const mcp_mem_t *mem,
    mcp_vault_ring_t *ring, const char **error);
static const mcp_vault_key_t *mcp_vault_find(const mcp_vault_ring_t *ring,
    const mcp_str_t *id);
static int mcp_vault_derive(const mcp_vault_key_t *k, const unsigned char *salt,
    const char *field, unsigned char *key);
static unsigned mcp_vault_parts(const mcp_vault_owner_t *o, const char *field,
    const unsigned char *version, mcp_str_t *parts);
static void mcp_vault_time(mcp_buf_t *b, const char *key, int64_t value);
static int mcp_vault_text(const mcp_mem_t *mem, json_t *object,
    const char *key, mcp_str_t *out);
static void mcp_vault_member(mcp_buf_t *b, const char *key,
    const mcp_str_t *value);
static int mcp_vault_digits(mcp_str_t *text, uint64_t *out);
static int mcp_vault_number(json_t *object, const char *key, int64_t *out);


int
mcp_vault_keys(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_vault_ring_t *ring, const char **error, unsigned *line)
{
    mcp_str_t             s;
    const unsigned char  *p, *last, *end;

    p = text->data;
    last = p + text->len;

    for (*line = 1; p < last; (*line)++) {
        end = memchr(p, '\n', (size_t) (last - p));
        if (end == NULL) {
            end = last;
        }

        s.data = (unsigned char *) p;
        s.len = (size_t) (end - p);

        if (s.len && s.data[s.len - 1] == '\r') {
            s.len--;
        }

        if (s.len && s.data[0] != '#'
            && mcp_vault_key_line(&s, mem, ring, error) != MCP_OK)
        {
            return MCP_ERROR;
        }

        p = end + 1;
    }

    if (ring->nkeys == 0) {
        *error = "there is no key";
        *line = 0;
        return MCP_ERROR;
    }

    return MCP_OK;
}


/* ID BASE64 */
static int
mcp_vault_key_line(const mcp_str_t *line, const mcp_mem_t *mem,
    mcp_vault_ring_t *ring, const char **error)
{
    int               n;
    size_t            i;
    unsigned          twice;
    mcp_str_t         id;
    mcp_vault_key_t  *k;
    unsigned char     c, key[36];

    for (i = 0; i < line->len && line->data[i] != ' '; i++) {
        c = line->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
        {
            *error = "an id has letters, digits, \"-\", \"_\" and \".\" only";
            return MCP_ERROR;
        }
    }

    if (i == 0 || i > MCP_VAULT_KEY_ID) {
        *error = "an id has 1 to 32 characters";
        return MCP_ERROR;
    }

    id.data = line->data;
    id.len = i;

    /* 32 bytes are 44 characters, the last one "=" and no other, which OpenSSL
     * would take for a zero */

    if (line->len != i + 1 + 44
        || memchr(line->data + i + 1, '=', 44) != line->data + line->len - 1)
    {
        *error = "a key is 32 bytes in base64 (44 characters) after the id "
                 "and one space";
        return MCP_ERROR;
    }

    if (ring->nkeys == MCP_VAULT_KEYS) {
        *error = "there are more than 8 keys";
        return MCP_ERROR;
    }

    if (mcp_vault_find(ring, &id)) {
        *error = "the id is there twice";
        return MCP_ERROR;
    }

    n = EVP_DecodeBlock(key, line->data + i + 1, 44);

    if (n != 33 || key[32] != 0) {
        ERR_clear_error();
        OPENSSL_cleanse(key, sizeof(key));
        *error = "the key is not in base64";
        return MCP_ERROR;
    }

    twice = 0;

    for (i = 0; i < ring->nkeys; i++) {
        twice |= CRYPTO_memcmp(ring->keys[i].key, key,
                               sizeof(ring->keys[i].key)) == 0;
    }

    if (twice) {
        OPENSSL_cleanse(key, sizeof(key));
        *error = "the key is there twice: another id makes no new key of it";
        return MCP_ERROR;
    }

    k = &ring->keys[ring->nkeys];
    memcpy(k->key, key, sizeof(k->key));
    OPENSSL_cleanse(key, sizeof(key));

    if (mcp_str_dup(mem, &k->id, id.data, id.len) != MCP_OK) {
        *error = "out of memory";
        return MCP_ERROR;
    }

    ring->nkeys++;

    return MCP_OK;
}


static const mcp_vault_key_t *
mcp_vault_find(const mcp_vault_ring_t *ring, const mcp_str_t *id)
{
    unsigned  i;

    for (i = 0; i < ring->nkeys; i++) {
        if (mcp_str_eq(&ring->keys[i].id, id)) {
            return &ring->keys[i];
        }
    }

    return NULL;
}


void
mcp_vault_name(const mcp_vault_owner_t *o, unsigned char *name)
{
    size_t         i;
    mcp_str_t      parts[MCP_VAULT_PARTS];
    unsigned       n, j;
    SHA256_CTX     sha;
    unsigned char  length[8], md[SHA256_DIGEST_LENGTH];

    static const char  hex[] = "0123456789abcdef";

    n = mcp_vault_parts(o, NULL, NULL, parts);

    SHA256_Init(&sha);
    SHA256_Update(&sha, "mcp-vault", sizeof("mcp-vault"));

    for (j = 0; j < n; j++) {
        mcp_gcm_length(parts[j].len, length);
        SHA256_Update(&sha, length, sizeof(length));
        SHA256_Update(&sha, parts[j].data, parts[j].len);
    }

    SHA256_Final(md, &sha);

    for (i = 0; i < MCP_VAULT_NAME / 2; i++) {
        *name++ = (unsigned char) hex[md[i] >> 4];
        *name++ = (unsigned char) hex[md[i] & 0xf];
    }
}


int
mcp_vault_is_name(const mcp_str_t *name)
{
    size_t  i;

    if (name->len != MCP_VAULT_NAME) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        if (!((name->data[i] >= '0' && name->data[i] <= '9')
              || (name->data[i] >= 'a' && name->data[i] <= 'f')))
        {
            return 0;
        }
    }

    return 1;
}


int
mcp_vault_seal(const mcp_vault_ring_t *ring, const mcp_vault_owner_t *o,
    const char *field, uint64_t version, const mcp_str_t *value,
    unsigned char *out, size_t *len)
{
    int                     rc;
    unsigned                n;
    mcp_str_t               head, parts[MCP_VAULT_PARTS];
    unsigned char          *p, *salt, *nonce;
    EVP_CIPHER_CTX         *ctx;
    const mcp_vault_key_t  *k;
    unsigned char           key[MCP_GCM_KEY], number[8];

    if (ring->nkeys == 0 || value->len > MCP_VAULT_VALUE) {
        return MCP_ERROR;
    }

    k = &ring->keys[0];
    p = out;

    *p++ = MCP_VAULT_FORMAT;
    *p++ = (unsigned char) k->id.len;
    memcpy(p, k->id.data, k->id.len);
    p += k->id.len;

    head.data = out;
    head.len = (size_t) (p - out);

    salt = p;
    nonce = salt + MCP_VAULT_SALT;
    p = nonce + MCP_GCM_NONCE;

    if (RAND_bytes(salt, MCP_VAULT_SALT + MCP_GCM_NONCE) != 1) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    mcp_gcm_length(version, number);
    n = mcp_vault_parts(o, field, number, parts);

    rc = mcp_vault_derive(k, salt, field, key);

    if (rc == MCP_OK) {
        rc = mcp_gcm_seal(ctx, key, nonce, &head, parts, n, value, p);
    }

    OPENSSL_cleanse(key, sizeof(key));
    EVP_CIPHER_CTX_free(ctx);

    *len = (size_t) (p - out) + value->len + MCP_GCM_TAG;

    return rc;
}


int
mcp_vault_open(const mcp_vault_ring_t *ring, const mcp_vault_owner_t *o,
    const char *field, uint64_t version, const mcp_str_t *sealed,
    unsigned char *out, size_t *len)
{
    int                     rc;
    unsigned                n;
    mcp_str_t               id, head, value, parts[MCP_VAULT_PARTS];
    unsigned char          *salt, *nonce;
    EVP_CIPHER_CTX         *ctx;
    const mcp_vault_key_t  *k;
    unsigned char           key[MCP_GCM_KEY], number[8];

    id = mcp_vault_key_id(sealed);

    if (id.len == 0
        || sealed->len > MCP_VAULT_VALUE + MCP_VAULT_OVERHEAD)
    {
        return MCP_DECLINED;
    }

    k = mcp_vault_find(ring, &id);
    if (k == NULL) {
        return MCP_DECLINED;
    }

    head.data = sealed->data;
    head.len = 2 + id.len;

    salt = head.data + head.len;
    nonce = salt + MCP_VAULT_SALT;

    value.data = nonce + MCP_GCM_NONCE;
    value.len = sealed->len - (size_t) (value.data - sealed->data)
                - MCP_GCM_TAG;

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    mcp_gcm_length(version, number);
    n = mcp_vault_parts(o, field, number, parts);

    rc = mcp_vault_derive(k, salt, field, key);

    if (rc == MCP_OK) {
        rc = mcp_gcm_open(ctx, key, nonce, &head, parts, n, &value,
                          value.data + value.len, out);
    }

    OPENSSL_cleanse(key, sizeof(key));
    EVP_CIPHER_CTX_free(ctx);

    if (rc == MCP_OK) {
        *len = value.len;

    } else {
        OPENSSL_cleanse(out, value.len);
    }

    return rc;
}


/* Also says whether the rest is there at all. */
mcp_str_t
mcp_vault_key_id(const mcp_str_t *sealed)
{
    mcp_str_t  id;

    mcp_str_null(&id);

    if (sealed->len > 2
        && sealed->data[0] == MCP_VAULT_FORMAT
        && sealed->data[1] > 0
        && sealed->data[1] <= MCP_VAULT_KEY_ID
        && sealed->len >= (size_t) 2 + sealed->data[1] + MCP_VAULT_SALT
                          + MCP_GCM_NONCE + MCP_GCM_TAG)
    {
        id.len = sealed->data[1];
        id.data = sealed->data + 2;
    }

    return id;
}


/* The key of one field of one record. */
static int
mcp_vault_derive(const mcp_vault_key_t *k, const unsigned char *salt,
    const char *field, unsigned char *key)
{
    mcp_buf_t      b;
    mcp_str_t      secret, s, info;
    unsigned char  buf[64];

    secret.data = (unsigned char *) k->key;
    secret.len = sizeof(k->key);

    s.data = (unsigned char *) salt;
    s.len = MCP_VAULT_SALT;

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_buf_lit(&b, "mcp-vault/1");
    mcp_buf_put(&b, "\0", 1);
    mcp_buf_put(&b, field, strlen(field));

    if (b.overflow) {
        return MCP_ERROR;
    }

    info.data = b.start;
    info.len = (size_t) (b.pos - b.start);

    return mcp_hkdf(&secret, &s, &info, key, MCP_GCM_KEY);
}


static unsigned
mcp_vault_parts(const mcp_vault_owner_t *o, const char *field,
    const unsigned char *version, mcp_str_t *parts)
{
    parts[0] = o->credential;
    parts[1] = o->issuer;
    parts[2] = o->user;
    parts[3] = o->client;
    parts[4] = o->audience;
    parts[5] = o->scope;
    parts[6] = o->subject;

    if (field == NULL) {
        return 7;
    }

    parts[7].data = (unsigned char *) field;
    parts[7].len = strlen(field);

    parts[8].data = (unsigned char *) version;
    parts[8].len = 8;

    return 9;
}


void
mcp_vault_tokens_write(mcp_buf_t *b, const mcp_vault_tokens_t *t)
{
    mcp_buf_lit(b, "{\"access_token\":");
    mcp_buf_json(b, t->access_token.data, t->access_token.len,
                 MCP_VAULT_VALUE);

    if (t->refresh_token.len) {
        mcp_buf_lit(b, ",\"refresh_token\":");
        mcp_buf_json(b, t->refresh_token.data, t->refresh_token.len,
                     MCP_VAULT_VALUE);
    }

    if (t->scope.len) {
        mcp_buf_lit(b, ",\"scope\":");
        mcp_buf_json(b, t->scope.data, t->scope.len, MCP_VAULT_VALUE);
    }

    mcp_vault_member(b, ",\"endpoint\":", &t->endpoint);

    if (t->granted) {
        mcp_vault_time(b, ",\"granted\":", t->granted);
    }

    mcp_vault_time(b, ",\"issued\":", t->issued);
    mcp_vault_time(b, ",\"expires\":", t->expires);
    mcp_vault_time(b, ",\"refresh_expires\":", t->refresh_expires);

    mcp_buf_lit(b, "}");
}


size_t
mcp_vault_tokens_size(const mcp_vault_tokens_t *t)
{
    /* a character may be escaped: two for one in tokens, else six */

    return 2 * (t->access_token.len + t->refresh_token.len)
           + 6 * (t->scope.len + t->endpoint.len) + 256;
}


static void
mcp_vault_time(mcp_buf_t *b, const char *key, int64_t value)
{
    mcp_buf_put(b, key, strlen(key));
    mcp_buf_int(b, value);
}


int
mcp_vault_tokens_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_vault_tokens_t *t)
{
    int      rc, oom;
    json_t  *object;

    memset(t, 0, sizeof(mcp_vault_tokens_t));

    if (text->len > MCP_VAULT_VALUE) {
        return MCP_ERROR;
    }

    object = mcp_json_tree(text->data, text->len, MCP_JSON_TREE_DEPTH, &oom);
    if (object == NULL) {
        return MCP_ERROR;
    }

    rc = (mcp_vault_text(mem, object, "access_token", &t->access_token)
              == MCP_OK
          && mcp_vault_text(mem, object, "refresh_token", &t->refresh_token)
             == MCP_OK
          && mcp_vault_text(mem, object, "scope", &t->scope) == MCP_OK
          && mcp_vault_text(mem, object, "endpoint", &t->endpoint) == MCP_OK
          && (json_object_get(object, "granted") == NULL
              || mcp_vault_number(object, "granted", &t->granted) == MCP_OK)
          && mcp_vault_number(object, "issued", &t->issued) == MCP_OK
          && mcp_vault_number(object, "expires", &t->expires) == MCP_OK
          && mcp_vault_number(object, "refresh_expires", &t->refresh_expires)
             == MCP_OK
          && t->access_token.len)
         ? MCP_OK : MCP_ERROR;

    json_decref(object);

    return rc;
}


int
mcp_vault_from(const mcp_str_t *from, const mcp_str_t *token_endpoint)
{
    return from->len == 0 || mcp_str_eq(from, token_endpoint);
}


static int
mcp_vault_text(const mcp_mem_t *mem, json_t *object, const char *key,
    mcp_str_t *out)
{
    json_t  *value;

    value = json_object_get(object, key);

    if (value == NULL) {
        return MCP_OK;
    }

    if (!json_is_string(value)) {
        return MCP_ERROR;
    }

    return mcp_str_dup(mem, out, json_string_value(value),
                       json_string_length(value));
}


static int
mcp_vault_number(json_t *object, const char *key, int64_t *out)
{
    json_t  *value;

    value = json_object_get(object, key);

    if (!json_is_integer(value)) {
        return MCP_ERROR;
    }

    *out = json_integer_value(value);

    return MCP_OK;
}


void
mcp_vault_owner_write(mcp_buf_t *b, const mcp_vault_owner_t *o)
{
    mcp_buf_lit(b, "{\"credential\":");
    mcp_buf_json(b, o->credential.data, o->credential.len, MCP_VAULT_VALUE);

    mcp_vault_member(b, ",\"issuer\":", &o->issuer);
    mcp_vault_member(b, ",\"user\":", &o->user);
    mcp_vault_member(b, ",\"client\":", &o->client);
    mcp_vault_member(b, ",\"audience\":", &o->audience);
    mcp_vault_member(b, ",\"scope\":", &o->scope);
    mcp_vault_member(b, ",\"subject\":", &o->subject);

    mcp_buf_lit(b, "}");
}


static void
mcp_vault_member(mcp_buf_t *b, const char *key, const mcp_str_t *value)
{
    if (value->len) {
        mcp_buf_put(b, key, strlen(key));
        mcp_buf_json(b, value->data, value->len, MCP_VAULT_VALUE);
    }
}


int
mcp_vault_owner_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_vault_owner_t *o)
{
    int      rc, oom;
    json_t  *object;

    memset(o, 0, sizeof(mcp_vault_owner_t));

    object = mcp_json_tree(text->data, text->len, MCP_JSON_TREE_DEPTH, &oom);
    if (object == NULL) {
        return MCP_ERROR;
    }

    rc = (mcp_vault_text(mem, object, "credential", &o->credential) == MCP_OK
          && mcp_vault_text(mem, object, "issuer", &o->issuer) == MCP_OK
          && mcp_vault_text(mem, object, "user", &o->user) == MCP_OK
          && mcp_vault_text(mem, object, "client", &o->client) == MCP_OK
          && mcp_vault_text(mem, object, "audience", &o->audience) == MCP_OK
          && mcp_vault_text(mem, object, "scope", &o->scope) == MCP_OK
          && mcp_vault_text(mem, object, "subject", &o->subject) == MCP_OK
          && o->credential.len)
         ? MCP_OK : MCP_ERROR;

    json_decref(object);

    return rc;
}


void
mcp_vault_owner_by_name(mcp_vault_owner_t *o, const unsigned char *name)
{
    memset(o, 0, sizeof(mcp_vault_owner_t));

    o->subject.data = (unsigned char *) name;
    o->subject.len = MCP_VAULT_NAME;
}


int64_t
mcp_vault_refresh_at(const mcp_vault_tokens_t *t, unsigned spread)
{
    int64_t  before;

    if (t->expires == 0) {
        return 0;
    }

    before = (t->expires - t->issued) / MCP_VAULT_LIFE;

    if (before > MCP_VAULT_SOONEST) {
        before = MCP_VAULT_SOONEST;
    }

    if (before < MCP_VAULT_LATEST) {
        before = MCP_VAULT_LATEST;
    }

    if (before > (t->expires - t->issued) / 2) {
        before = (t->expires - t->issued) / 2;
    }

    return t->expires - before - before * (int64_t) (spread % 1000) / 10000;
}


int
mcp_vault_note_parse(const mcp_str_t *text, mcp_vault_note_t *n)
{
    size_t     i;
    uint64_t   first, last;
    mcp_str_t  rest;

    rest = *text;

    if (mcp_vault_digits(&rest, &n->version) != MCP_OK
        || mcp_vault_digits(&rest, &first) != MCP_OK)
    {
        return MCP_ERROR;
    }

    /* visible ASCII: it goes into logs */

    for (i = 0; i < rest.len && rest.data[i] > 0x20 && rest.data[i] < 0x7f;
         i++)
    { /* void */ }

    if (i == 0 || i == rest.len || rest.data[i] != ' ') {
        return MCP_ERROR;
    }

    n->owner.data = rest.data;
    n->owner.len = i;

    rest.data += i + 1;
    rest.len -= i + 1;

    if (mcp_vault_digits(&rest, &last) != MCP_OK || rest.len) {
        return MCP_ERROR;
    }

    n->first = (int64_t) first;
    n->last = (int64_t) last;

    return MCP_OK;
}


/* A number, and the space behind it if there is more. */
static int
mcp_vault_digits(mcp_str_t *text, uint64_t *out)
{
    size_t  i;

    *out = 0;

    for (i = 0; i < text->len && i < 16; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            break;
        }

        *out = *out * 10 + (uint64_t) (text->data[i] - '0');
    }

    if (i == 0) {
        return MCP_ERROR;
    }

    if (i < text->len) {
        if (text->data[i] != ' ' || ++i == text->len) {
            return MCP_ERROR;
        }
    }

    text->data += i;
    text->len -= i;

    return MCP_OK;
}


int64_t
mcp_vault_note_retry(const mcp_vault_note_t *n, unsigned rotates, int grace,
    int64_t expires, int64_t now)
{
    int64_t  at;

    if (!rotates || grace < 0
        || (now >= n->first && now + MCP_VAULT_MARGIN < n->first + grace))
    {
        return 0;
    }

    at = mcp_str_eq_lit(&n->owner, "-") ? 0 : n->last + MCP_VAULT_WRITING;

    if (at < expires) {
        at = expires;
    }

    return at > now ? at : 0;
}
