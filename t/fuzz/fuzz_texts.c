/*
 * Texts of our own that come back from elsewhere, so that anybody may have
 * written them: sessions and states of mcp_connect, tokens, owners, notes and
 * key files of mcp_vault, entries of mcp_ending, packed principals,
 * traceparent, base64url, times.
 *
 * What is read, written and read again is the same; what is read is JSON for
 * jansson too, where it is JSON.
 *
 * Input: a letter that says which, and the text.
 */

#include "fuzz.h"
#include "mcp_audit.h"
#include "mcp_connect.h"
#include "mcp_ending.h"
#include "mcp_jwt.h"
#include "mcp_time.h"

#include <openssl/evp.h>


static char  buf[65536], buf2[65536];


static mcp_str_t
written(const mcp_buf_t *b, fz_arena_t *a)
{
    CHECK(!b->overflow);

    return fz_copy(a, b->start, (size_t) (b->pos - b->start));
}


/* Reads, writes, reads and writes. */

#define ROUND(type, parse, write)                                             \
    do {                                                                      \
        type        v_;                                                       \
        mcp_buf_t   b_, c_;                                                   \
        mcp_str_t   one_, two_;                                               \
                                                                              \
        if (parse(t, &a->mem, &v_) == MCP_OK) {                               \
            is_json(t);                                                       \
            mcp_buf_init(&b_, buf, sizeof(buf));                              \
            write(&b_, &v_);                                                  \
            one_ = written(&b_, a);                                           \
            CHECK(parse(&one_, &a->mem, &v_) == MCP_OK);                      \
            mcp_buf_init(&c_, buf2, sizeof(buf2));                            \
            write(&c_, &v_);                                                  \
            two_ = written(&c_, a);                                           \
            CHECK(fz_eq(&one_, &two_));                                       \
        }                                                                     \
    } while (0)


static void
is_json(const mcp_str_t *t)
{
    json_t  *tree;

    tree = json_loadb((char *) t->data, t->len,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    CHECK(json_is_object(tree));
    json_decref(tree);
}


static void
keys(const mcp_str_t *t, fz_arena_t *a)
{
    unsigned           i, k, line;
    const char        *error;
    mcp_vault_ring_t   ring;

    error = NULL;
    memset(&ring, 0, sizeof(ring));

    if (mcp_vault_keys(t, &a->mem, &ring, &error, &line) != MCP_OK) {
        CHECK(error != NULL);
        return;
    }

    CHECK(ring.nkeys >= 1 && ring.nkeys <= MCP_VAULT_KEYS);

    for (i = 0; i < ring.nkeys; i++) {
        CHECK(ring.keys[i].id.len > 0
              && ring.keys[i].id.len <= MCP_VAULT_KEY_ID);

        for (k = 0; k < i; k++) {
            CHECK(!fz_eq(&ring.keys[i].id, &ring.keys[k].id));
        }
    }
}


static void
base64(const mcp_str_t *t, fz_arena_t *a)
{
    char       *text;
    long        n;
    size_t      i;
    mcp_str_t   out;

    out.data = fz_alloc(a, t->len * 3 / 4);
    n = mcp_base64url_decode(out.data, t->data, t->len);

    if (n < 0) {
        return;
    }

    CHECK((size_t) n <= t->len * 3 / 4);

    /* OpenSSL's way back gives the same */

    text = malloc((size_t) n * 2 + 8);
    CHECK(text != NULL);
    text[0] = '\0';

    if (n) {
        EVP_EncodeBlock((unsigned char *) text, out.data, (int) n);
    }

    for (i = 0; i < t->len; i++) {
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
        CHECK(text[i] == (char) t->data[i]);
    }

    free(text);
}


static void
principal(const mcp_str_t *t, fz_arena_t *a)
{
    unsigned          i;
    mcp_principal_t  *p;

    p = mcp_principal_unpack(t->data, t->len, &a->mem);

    if (p == NULL) {
        return;
    }

    /* all of it can be read */

    (void) fz_clean(&p->iss);
    (void) fz_clean(&p->user);
    (void) fz_clean(&p->client);
    (void) fz_clean(&p->token_id);
    (void) fz_clean(&p->scopes);

    for (i = 0; i < p->naudiences; i++) {
        (void) fz_clean(&p->audiences[i]);
    }

    for (i = 0; i < p->nclaims; i++) {
        (void) fz_clean(&p->claims[i].name);
        (void) fz_clean(&p->claims[i].value);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i;
    fz_in_t            in;
    int64_t            sec;
    unsigned           what;
    mcp_buf_t          b;
    mcp_str_t          text, id, *t = &text;
    fz_arena_t         arena, *a = &arena;
    mcp_vault_note_t   note;

    fz_arena_init(a);
    in = fz_in(data, size);
    what = fz_byte(&in);
    text = fz_rest(a, &in);

    if (text.len > 8192) {
        fz_arena_free(a);
        return 0;
    }

    switch (what) {

    case 's':
        ROUND(mcp_connect_session_t, mcp_connect_session_parse,
              mcp_connect_session_write);
        break;

    case 't':
        ROUND(mcp_connect_state_t, mcp_connect_state_parse,
              mcp_connect_state_write);
        break;

    case 'v':
        ROUND(mcp_vault_tokens_t, mcp_vault_tokens_parse,
              mcp_vault_tokens_write);
        break;

    case 'o':
        ROUND(mcp_vault_owner_t, mcp_vault_owner_parse,
              mcp_vault_owner_write);
        break;

    case 'e':
        ROUND(mcp_ending_t, mcp_ending_parse, mcp_ending_write);
        break;

    case 'n':
        if (mcp_vault_note_parse(t, &note) == MCP_OK) {
            CHECK(note.owner.len > 0 && note.owner.data >= t->data
                  && note.owner.data + note.owner.len <= t->data + t->len);
            (void) mcp_vault_note_retry(&note, 1, 30, 1700000000, 1700000100);
        }

        break;

    case 'k':
        keys(t, a);
        break;

    case 'b':
        base64(t, a);
        break;

    case 'x':
        principal(t, a);
        break;

    case 'd':
        if (mcp_time_parse(t, &sec) == MCP_OK) {
            mcp_buf_init(&b, buf, sizeof(buf));
            mcp_time_write(&b, sec);
            id = written(&b, a);
            CHECK(fz_eq(&id, t));
        }

        break;

    default:
        id = mcp_trace_id(t);
        CHECK(id.len == 0 || id.len == 32);

        for (i = 0; i < id.len; i++) {
            CHECK(strchr("0123456789abcdef", id.data[i]) && id.data[i]);
        }
    }

    fz_arena_free(a);

    return 0;
}
