/*
 * mcp_seal, mcp_vault: what is sealed opens, and only as it is.
 *
 * - A value that was sealed opens to itself.
 * - Altered by a byte or cut, for other parts (or another owner, field or
 *   version), or by another ring, it does not open.
 * - The same value for the same parts is the same text, for mcp_seal.
 * - What was not sealed here does not open.
 *
 * Input: a byte of options (1: the vault), where and how it is altered, four
 * lines of parts, the value; with how 0 the value is also opened as a text.
 */

#include "fuzz.h"
#include "mcp_seal.h"
#include "mcp_vault.h"


#define PARTS  4


static mcp_seal_ring_t    ring, other;
static mcp_vault_ring_t   vault, other_vault;
static EVP_CIPHER_CTX    *ctx;


static void
init(void)
{
    mcp_str_t  one = mcp_string("0123456789abcdef0123456789abcdef");
    mcp_str_t  two = mcp_string("fedcba9876543210fedcba9876543210");

    if (ctx) {
        return;
    }

    ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx != NULL);
    CHECK(mcp_seal_add(&ring, &one, "fuzz") == MCP_OK);
    CHECK(mcp_seal_add(&ring, &two, "fuzz") == MCP_OK);
    CHECK(mcp_seal_add(&other, &one, "another purpose") == MCP_OK);

    vault.nkeys = 1;
    mcp_str_set(&vault.keys[0].id, "k1");
    memcpy(vault.keys[0].key, one.data, 32);

    other_vault.nkeys = 1;
    mcp_str_set(&other_vault.keys[0].id, "k1");
    memcpy(other_vault.keys[0].key, two.data, 32);
}


/* Altered: a byte becomes another one, or the end is gone.  0: it is not. */

static int
alter(mcp_str_t *text, unsigned where, unsigned how)
{
    if (text->len == 0 || how == 0) {
        return 0;
    }

    if (how == 255) {
        text->len -= 1 + where % text->len;

    } else {
        text->data[(where * 257 + how) % text->len] ^= (unsigned char) how;
    }

    return 1;
}


static void
seal(fz_arena_t *a, mcp_str_t *parts, const mcp_str_t *value, unsigned where,
    unsigned how)
{
    int        i;
    size_t     len, n;
    mcp_str_t  text, again, wrong[PARTS], out;

    text = fz_copy(a, NULL, 0);
    text.data = fz_alloc(a, mcp_seal_size(value->len));
    CHECK(mcp_seal(&ring, ctx, parts, PARTS, value, text.data, &text.len)
          == MCP_OK);
    CHECK(text.len <= mcp_seal_size(value->len));

    again.data = fz_alloc(a, mcp_seal_size(value->len));
    CHECK(mcp_seal(&ring, ctx, parts, PARTS, value, again.data, &again.len)
          == MCP_OK);
    CHECK(fz_eq(&text, &again));

    text = fz_copy(a, text.data, text.len);
    out = fz_copy(a, text.data, text.len);
    CHECK(mcp_seal_open(&ring, ctx, parts, PARTS, &text, out.data, &len)
          == MCP_OK);
    CHECK(len == value->len);
    CHECK(len == 0 || memcmp(out.data, value->data, len) == 0);

    CHECK(mcp_seal_open(&other, ctx, parts, PARTS, &text, out.data, &len)
          == MCP_DECLINED);
    CHECK(mcp_seal_open(&ring, ctx, parts, PARTS - 1, &text, out.data, &len)
          == MCP_DECLINED);

    /* a byte that moves from one part to the next makes them others */

    for (i = 0; i + 1 < PARTS; i++) {
        memcpy(wrong, parts, sizeof(wrong));

        if (parts[i].len == 0) {
            continue;
        }

        n = parts[i].len + parts[i + 1].len;
        wrong[i + 1].data = fz_alloc(a, n);
        wrong[i].len--;
        wrong[i + 1].data[0] = parts[i].data[parts[i].len - 1];
        memcpy(wrong[i + 1].data + 1, parts[i + 1].data, parts[i + 1].len);
        wrong[i + 1].len++;

        CHECK(mcp_seal_open(&ring, ctx, wrong, PARTS, &text, out.data, &len)
              == MCP_DECLINED);
    }

    if (alter(&text, where, how)) {
        CHECK(mcp_seal_open(&ring, ctx, parts, PARTS, &text, out.data, &len)
              == MCP_DECLINED);

    } else {
        out = fz_copy(a, value->data, value->len);
        CHECK(mcp_seal_open(&ring, ctx, parts, PARTS, value, out.data, &len)
              == MCP_DECLINED);
    }
}


static void
rest(fz_arena_t *a, mcp_str_t *parts, const mcp_str_t *value, unsigned where,
    unsigned how)
{
    size_t             len;
    mcp_str_t          sealed, out;
    mcp_vault_owner_t  o, wrong;

    memset(&o, 0, sizeof(o));
    o.credential = parts[0];
    o.issuer = parts[1];
    o.user = parts[2];
    o.client = parts[3];

    sealed.data = fz_alloc(a, value->len + MCP_VAULT_OVERHEAD);
    CHECK(mcp_vault_seal(&vault, &o, "tokens", 7, value, sealed.data,
                         &sealed.len)
          == MCP_OK);
    sealed = fz_copy(a, sealed.data, sealed.len);
    out = fz_copy(a, sealed.data, sealed.len);

    CHECK(mcp_vault_open(&vault, &o, "tokens", 7, &sealed, out.data, &len)
          == MCP_OK);
    CHECK(len == value->len);
    CHECK(len == 0 || memcmp(out.data, value->data, len) == 0);

    wrong = o;
    wrong.user.data = fz_alloc(a, o.user.len + 1);
    wrong.user.len = o.user.len + 1;

    if (o.user.len) {
        memcpy(wrong.user.data, o.user.data, o.user.len);
    }

    CHECK(mcp_vault_open(&vault, &wrong, "tokens", 7, &sealed, out.data, &len)
          == MCP_DECLINED);
    CHECK(mcp_vault_open(&vault, &o, "token", 7, &sealed, out.data, &len)
          == MCP_DECLINED);
    CHECK(mcp_vault_open(&vault, &o, "tokens", 8, &sealed, out.data, &len)
          == MCP_DECLINED);
    CHECK(mcp_vault_open(&other_vault, &o, "tokens", 7, &sealed, out.data,
                         &len)
          == MCP_DECLINED);

    if (alter(&sealed, where, how)) {
        CHECK(mcp_vault_open(&vault, &o, "tokens", 7, &sealed, out.data, &len)
              == MCP_DECLINED);

    } else {
        out = fz_copy(a, value->data, value->len);
        CHECK(mcp_vault_open(&vault, &o, "tokens", 7, value, out.data, &len)
              == MCP_DECLINED);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int         i;
    fz_in_t     in;
    unsigned    options, where, how;
    mcp_str_t   parts[PARTS], value;
    fz_arena_t  a;

    init();
    fz_arena_init(&a);

    in = fz_in(data, size);
    options = fz_byte(&in);
    where = fz_byte(&in);
    how = fz_byte(&in);

    for (i = 0; i < PARTS; i++) {
        parts[i] = fz_line(&a, &in);
    }

    value = fz_rest(&a, &in);

    if (value.len <= MCP_VAULT_VALUE) {
        (options & 1 ? rest : seal)(&a, parts, &value, where, how);
    }

    CHECK(ERR_peek_error() == 0);
    fz_arena_free(&a);

    return 0;
}
