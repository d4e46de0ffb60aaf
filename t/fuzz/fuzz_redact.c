/*
 * mcp_redact: secrets do not get into a log, whatever stands around them.
 *
 * - Of each secret that is planted, between blanks or line ends, no part of
 *   CLUE bytes is in what is written, however little room there is.
 * - No more is written than there is room for; a word that mcp_redact_word()
 *   passes comes out as it is.
 *
 * Input: a byte: which secret, a byte: how much room, a line before it, and
 * what is behind.
 */

#include "fuzz.h"
#include "mcp_redact.h"


#define CLUE  12


static const char *const  secrets[] = {
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJqb2UifQ.c2lnbmF0dXJlLTEyMw",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "glpat-Zx81Yw72Vu63Ts54Rq45",
    "xoxb-417823904812-981273981273-QwErTyUiOpAsDfGhJkLz",
    "AKIAQ7Z3X9K2M5N8P1R4",
    "sk-ant-Qw3rTy5Ui7Op9As1Df3Gh5Jk7Lz9Xc2Vb4",
    "mcpp_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6g",
};

/* what may be left of it: what everybody knows */

static const size_t  known[] = { 3, 4, 6, 5, 4, 3, 5 };


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char          *text;
    size_t         i, n, len, room, got;
    fz_in_t        in;
    unsigned       which;
    mcp_str_t      before, after, out;
    fz_arena_t     a;
    const char    *secret;

    fz_arena_init(&a);
    in = fz_in(data, size);
    which = fz_byte(&in) % fz_count(secrets);
    room = fz_byte(&in);
    before = fz_line(&a, &in);
    after = fz_rest(&a, &in);

    secret = secrets[which];
    len = strlen(secret);

    text = fz_alloc(&a, before.len + after.len + len + 2);
    CHECK(text != NULL);
    memcpy(text, before.data, before.len);
    text[before.len] = '\n';
    memcpy(text + before.len + 1, secret, len);
    text[before.len + 1 + len] = ' ';
    memcpy(text + before.len + len + 2, after.data, after.len);
    n = before.len + after.len + len + 2;

    room = room == 255 ? 2 * n + 64 : room * n / 128;
    out.data = fz_alloc(&a, room);

    got = mcp_redact((unsigned char *) text, n, size & 1, out.data, room);
    CHECK(got <= room);
    out.len = got;

    /* unless the text around it has it as well */

    for (i = known[which]; i + CLUE <= len; i++) {
        CHECK(!fz_has(&out, secret + i, CLUE)
              || fz_has(&before, secret + i, CLUE)
              || fz_has(&after, secret + i, CLUE));
    }

    /* cut in the middle of it, with more to come */

    n = before.len + 1 + known[which] + (size % (len - known[which]));
    got = mcp_redact((unsigned char *) text, n, 1, out.data, room);
    CHECK(got <= room);
    out.len = got;

    for (i = known[which]; i + CLUE <= len; i++) {
        CHECK(!fz_has(&out, secret + i, CLUE)
              || fz_has(&before, secret + i, CLUE));
    }

    if (mcp_redact_word(after.data, after.len)) {
        out.data = fz_alloc(&a, after.len);
        got = mcp_redact(after.data, after.len, 0, out.data, after.len);
        CHECK(got == after.len && memcmp(out.data, after.data, got) == 0);
    }

    fz_arena_free(&a);

    return 0;
}
