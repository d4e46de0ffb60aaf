/*
 * What the fuzz targets share: memory, the cutting of inputs, and CHECK.
 *
 * A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput().  It says at
 * its head what has to hold; a CHECK that does not is a finding, as a report of
 * a sanitizer is.  What comes in is copied to blocks of its very size, so that
 * ASan sees a byte read too far, and too late.
 *
 * The arena fails when the input asks for more than FZ_MEMORY: nothing that
 * is bounded comes near.
 */

#ifndef FUZZ_H
#define FUZZ_H


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/err.h>

#include "mcp_core.h"


#define FZ_MEMORY  (64 * 1024 * 1024)

#define fz_count(a)  (sizeof(a) / sizeof((a)[0]))

#define CHECK(what)                                                           \
    do {                                                                      \
        if (!(what)) {                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
                    #what);                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct fz_block_s  fz_block_t;

struct fz_block_s {
    fz_block_t    *next;
    max_align_t    data[];
};

typedef struct {
    fz_block_t    *blocks;
    size_t         used;
    mcp_mem_t      mem;
} fz_arena_t;

/* What is left of an input. */
typedef struct {
    const uint8_t  *pos;
    const uint8_t  *end;
} fz_in_t;


static inline void *
fz_alloc(void *ctx, size_t size)
{
    fz_block_t  *b;
    fz_arena_t  *a = ctx;

    if (size > FZ_MEMORY - a->used) {
        return NULL;
    }

    b = malloc(sizeof(fz_block_t) + size);
    CHECK(b != NULL);

    b->next = a->blocks;
    a->blocks = b;
    a->used += size;

    memset(b->data, 0xa5, size);

    return b->data;
}


static inline void
fz_arena_init(fz_arena_t *a)
{
    memset(a, 0, sizeof(*a));
    a->mem.alloc = fz_alloc;
    a->mem.ctx = a;
}


static inline void
fz_arena_free(fz_arena_t *a)
{
    fz_block_t  *b;

    while (a->blocks) {
        b = a->blocks;
        a->blocks = b->next;
        free(b);
    }
}


/* A copy of its own size. */

static inline mcp_str_t
fz_copy(fz_arena_t *a, const void *data, size_t len)
{
    mcp_str_t  s;

    s.data = fz_alloc(a, len);
    CHECK(s.data != NULL);
    s.len = len;

    if (len) {
        memcpy(s.data, data, len);
    }

    return s;
}


static inline fz_in_t
fz_in(const uint8_t *data, size_t size)
{
    fz_in_t  in = { data, data + size };

    return in;
}


static inline unsigned
fz_byte(fz_in_t *in)
{
    return in->pos < in->end ? *in->pos++ : 0;
}


/* Up to the next LF, or all; so that a corpus can be read. */

static inline mcp_str_t
fz_line(fz_arena_t *a, fz_in_t *in)
{
    mcp_str_t       s;
    const uint8_t  *lf;

    lf = in->pos < in->end
         ? memchr(in->pos, '\n', (size_t) (in->end - in->pos)) : NULL;

    s = fz_copy(a, in->pos, (size_t) ((lf ? lf : in->end) - in->pos));
    in->pos = lf ? lf + 1 : in->end;

    return s;
}


static inline mcp_str_t
fz_rest(fz_arena_t *a, fz_in_t *in)
{
    mcp_str_t  s;

    s = fz_copy(a, in->pos, (size_t) (in->end - in->pos));
    in->pos = in->end;

    return s;
}


/*
 * How many of left bytes the next piece has.  cut is a byte of the input: 0,
 * all at once; 1 to 15, so many each; above, a pattern that repeats itself.
 */

static inline size_t
fz_piece(unsigned cut, unsigned *n, size_t left)
{
    size_t  size;

    if (cut == 0) {
        return left;
    }

    size = cut < 16 ? cut : 1 + (cut * 2654435761u + (*n)++ * 40503u) / 97 % 23;

    return size < left ? size : left;
}


static inline mcp_str_t
fz_str(const char *text)
{
    mcp_str_t  s;

    s.data = (unsigned char *) text;
    s.len = strlen(text);

    return s;
}


static inline int
fz_has(const mcp_str_t *s, const void *what, size_t len)
{
    return s->len >= len && memmem(s->data, s->len, what, len) != NULL;
}


static inline int
fz_eq(const mcp_str_t *a, const mcp_str_t *b)
{
    return a->len == b->len && (a->len == 0
                                || memcmp(a->data, b->data, a->len) == 0);
}


/* No controls, and UTF-8: may go into a header or a log. */

static inline int
fz_clean(const mcp_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x20 || s->data[i] == 0x7f) {
            return 0;
        }
    }

    return mcp_utf8_valid(s->data, s->len);
}


#endif /* FUZZ_H */
