/*
 * What every file of core/ shares: strings, the arena, the bounded writer,
 * return values.
 *
 * core/ decides and never acts: no nginx header, no socket, no clock (the time
 * is passed in), no global that changes.  A string is a length and bytes; it
 * is never NUL-terminated and may contain NUL.  mcp_str_t has the layout of
 * nginx's ngx_str_t, so that the adapter passes its strings by a cast.
 */

#ifndef MCP_CORE_H
#define MCP_CORE_H


#include <stddef.h>
#include <stdint.h>
#include <string.h>


/*
 * Return values, the same everywhere.
 * Parser: MCP_OK complete, MCP_AGAIN needs more, MCP_ERROR malformed.
 * Policy: MCP_OK allow, MCP_DECLINED deny, MCP_ERROR cannot decide (denies).
 */
#define MCP_OK         0
#define MCP_ERROR     -1
#define MCP_AGAIN     -2
#define MCP_DECLINED  -5


/* may_alias: the adapter's ngx_str_t and this are one layout, two types */

typedef struct {
    size_t          len;
    unsigned char  *data;
} __attribute__((__may_alias__)) mcp_str_t;

#define mcp_string(s)     { sizeof(s) - 1, (unsigned char *) (s) }
#define mcp_str_set(p, s)                                                     \
    (p)->len = sizeof(s) - 1; (p)->data = (unsigned char *) (s)
#define mcp_str_null(p)   (p)->len = 0; (p)->data = NULL
#define mcp_str_eq_lit(p, s)                                                  \
    ((p)->len == sizeof(s) - 1 && memcmp((p)->data, s, sizeof(s) - 1) == 0)


/*
 * An arena.  alloc() returns memory aligned for any type, not zeroed, or NULL.
 * What it gave is freed all at once by whoever owns the arena, never singly:
 * in nginx it is a pool.
 */
typedef struct {
    void         *(*alloc)(void *ctx, size_t size);
    void           *ctx;
} mcp_mem_t;


/*
 * A bounded writer.  Writing past the end sets overflow and writes nothing
 * further; pos never passes end.  Used for replies, audit lines, messages.
 */
typedef struct {
    unsigned char  *start;
    unsigned char  *pos;
    unsigned char  *end;
    unsigned        overflow:1;
} mcp_buf_t;


void *mcp_alloc(const mcp_mem_t *mem, size_t size);
void *mcp_calloc(const mcp_mem_t *mem, size_t size);

/* Copies len bytes into mem; MCP_ERROR when mem is exhausted. */
int mcp_str_dup(const mcp_mem_t *mem, mcp_str_t *dst, const void *data,
    size_t len);

/* 1 when equal byte for byte. */
int mcp_str_eq(const mcp_str_t *a, const mcp_str_t *b);

/* 1 when equal but for the case of ASCII letters. */
int mcp_str_caseeq(const void *a, size_t alen, const void *b, size_t blen);

void mcp_buf_init(mcp_buf_t *b, void *start, size_t size);
static inline void mcp_buf_put(mcp_buf_t *b, const void *data, size_t len);
void mcp_buf_str(mcp_buf_t *b, const mcp_str_t *s);
void mcp_buf_uint(mcp_buf_t *b, uint64_t n);
void mcp_buf_int(mcp_buf_t *b, int64_t n);
void mcp_buf_hex(mcp_buf_t *b, const void *data, size_t len);
#define mcp_buf_lit(b, s)  mcp_buf_put(b, s, sizeof(s) - 1)

/* The value of a hex digit, of either case; -1: it is none. */
int mcp_hex_digit(unsigned char ch);

/*
 * Writes data as a JSON string with its quotes.  C0 and C1 controls, DEL,
 * U+2028 to U+202E and U+2066 to U+2069 are escaped, each byte of invalid
 * UTF-8 becomes U+FFFD.  At most max bytes of data are taken (cut at a
 * character); what was cut is marked with U+2026.
 * Never leaves a half-written string: on overflow nothing of it is kept.
 */
void mcp_buf_json(mcp_buf_t *b, const void *data, size_t len, size_t max);

/*
 * 1 when all of data goes into a JSON string as it is: ASCII without controls,
 * quotes and backslashes.
 */
int mcp_json_is_plain(const void *data, size_t len);

/* 1 when data is valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
int mcp_utf8_valid(const void *data, size_t len);

/*
 * 1 when text matches pattern, in which '*' stands for any bytes, none
 * included, and every other byte for itself.  Anchored at both ends, case
 * counts.  At worst text->len * pattern->len steps; no recursion.
 */
int mcp_glob(const mcp_str_t *pattern, const mcp_str_t *text);


/* inline: most of what is put are a few bytes whose number is a constant */

static inline void
mcp_buf_put(mcp_buf_t *b, const void *data, size_t len)
{
    if (b->overflow || len > (size_t) (b->end - b->pos)) {
        b->overflow = 1;
        return;
    }

    if (len) {
        memcpy(b->pos, data, len);
        b->pos += len;
    }
}


#endif /* MCP_CORE_H */
