/*
 * Strings, the arena, the bounded writer and the glob that all of core/ use.
 *
 * Always true: pos of a writer lies within [start, end]; once overflow is set
 * nothing more is written, so that a caller checks once, at the end; what
 * mcp_buf_json() wrote is ASCII or valid UTF-8 without a control character,
 * a line separator or a character that turns the direction of text.
 * Called from everywhere, also on the hot path: nothing here allocates but
 * the three arena functions, and nothing frees.
 */

#include "mcp_core.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define MCP_ONES   0x0101010101010101ull
#define MCP_HIGHS  0x8080808080808080ull

/* high bits of the bytes that are zero; exact enough to ask "any?" */
#define mcp_has_zero(w)  (((w) - MCP_ONES) & ~(w) & MCP_HIGHS)


static inline int mcp_plain8(uint64_t w);
#ifdef __SSE2__
static inline int mcp_plain16(const unsigned char *p);
#endif
static size_t mcp_utf8_char(const unsigned char *p, const unsigned char *last);
static size_t mcp_json_plain(const unsigned char *p,
    const unsigned char *last);
static int mcp_json_unsafe(const unsigned char *p, size_t n);
static void mcp_json_escape(mcp_buf_t *b, const unsigned char *p, size_t n);


static const char  mcp_hex[] = "0123456789abcdef";


void *
mcp_alloc(const mcp_mem_t *mem, size_t size)
{
    return mem->alloc(mem->ctx, size);
}


void *
mcp_calloc(const mcp_mem_t *mem, size_t size)
{
    void  *p;

    p = mem->alloc(mem->ctx, size);

    if (p != NULL) {
        memset(p, 0, size);
    }

    return p;
}


int
mcp_str_dup(const mcp_mem_t *mem, mcp_str_t *dst, const void *data, size_t len)
{
    unsigned char  *p;

    /* data is never NULL afterwards: "present and empty" stays so */

    p = mem->alloc(mem->ctx, len ? len : 1);
    if (p == NULL) {
        return MCP_ERROR;
    }

    if (len) {
        memcpy(p, data, len);
    }

    dst->data = p;
    dst->len = len;

    return MCP_OK;
}


int
mcp_str_eq(const mcp_str_t *a, const mcp_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}


int
mcp_str_caseeq(const void *a, size_t alen, const void *b, size_t blen)
{
    size_t                i;
    unsigned              c, d;
    const unsigned char  *p, *q;

    if (alen != blen) {
        return 0;
    }

    p = a;
    q = b;

    for (i = 0; i < alen; i++) {
        c = p[i];
        d = q[i];

        if (c == d) {
            continue;
        }

        c |= 0x20;
        d |= 0x20;

        if (c != d || c < 'a' || c > 'z') {
            return 0;
        }
    }

    return 1;
}


void
mcp_buf_init(mcp_buf_t *b, void *start, size_t size)
{
    b->start = start;
    b->pos = b->start;
    b->end = b->start + size;
    b->overflow = 0;
}


void
mcp_buf_str(mcp_buf_t *b, const mcp_str_t *s)
{
    mcp_buf_put(b, s->data, s->len);
}


void
mcp_buf_uint(mcp_buf_t *b, uint64_t n)
{
    unsigned char  *p, digits[20];

    p = digits + sizeof(digits);

    do {
        *--p = (unsigned char) ('0' + n % 10);
        n /= 10;
    } while (n);

    mcp_buf_put(b, p, (size_t) (digits + sizeof(digits) - p));
}


void
mcp_buf_int(mcp_buf_t *b, int64_t n)
{
    unsigned char  *p, digits[21];
    uint64_t        u;

    /* one put for sign and digits: never half a number */

    u = (n < 0) ? 0 - (uint64_t) n : (uint64_t) n;
    p = digits + sizeof(digits);

    do {
        *--p = (unsigned char) ('0' + u % 10);
        u /= 10;
    } while (u);

    if (n < 0) {
        *--p = '-';
    }

    mcp_buf_put(b, p, (size_t) (digits + sizeof(digits) - p));
}


void
mcp_buf_hex(mcp_buf_t *b, const void *data, size_t len)
{
    size_t                i;
    const unsigned char  *p;

    if (b->overflow || len > (size_t) (b->end - b->pos) / 2) {
        b->overflow = 1;
        return;
    }

    p = data;

    for (i = 0; i < len; i++) {
        *b->pos++ = (unsigned char) mcp_hex[p[i] >> 4];
        *b->pos++ = (unsigned char) mcp_hex[p[i] & 15];
    }
}


int
mcp_hex_digit(unsigned char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }

    ch |= 0x20;

    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}


void
mcp_buf_json(mcp_buf_t *b, const void *data, size_t len, size_t max)
{
    size_t                n;
    unsigned char        *start;
    const unsigned char  *p, *last, *cut;

    start = b->pos;
    p = data;
    last = len ? p + len : p;
    cut = (len > max) ? p + max : last;

    n = mcp_json_plain(p, cut);

    if (p + n == last && !b->overflow
        && n + 2 <= (size_t) (b->end - b->pos))
    {
        *b->pos++ = '"';

        if (n) {
            memcpy(b->pos, p, n);
            b->pos += n;
        }

        *b->pos++ = '"';
        return;
    }

    mcp_buf_lit(b, "\"");

    while (p < cut && !b->overflow) {

        n = mcp_json_plain(p, cut);
        if (n) {
            mcp_buf_put(b, p, n);
            p += n;
            continue;
        }

        n = mcp_utf8_char(p, last);

        if (n == 0) {
            mcp_buf_lit(b, "\xEF\xBF\xBD");
            p++;
            continue;
        }

        if (n > (size_t) (cut - p)) {
            break;
        }

        if (mcp_json_unsafe(p, n)) {
            mcp_json_escape(b, p, n);

        } else {
            mcp_buf_put(b, p, n);
        }

        p += n;
    }

    if (cut != last) {
        mcp_buf_lit(b, "\xE2\x80\xA6");
    }

    mcp_buf_lit(b, "\"");

    if (b->overflow) {
        b->pos = start;
    }
}


int
mcp_json_is_plain(const void *data, size_t len)
{
    size_t                i;
    uint64_t              w;
    uint32_t              head, tail;
    const unsigned char  *p;

    p = data;

    if (len < 4) {
        return mcp_json_plain(p, p + len) == len;
    }

    /* where the last step does not fit, some bytes are looked at twice */

    if (len < 8) {
        memcpy(&head, p, 4);
        memcpy(&tail, p + len - 4, 4);

        return mcp_plain8((uint64_t) head << 32 | tail);
    }

#ifdef __SSE2__
    if (len >= 16) {
        for (i = 0; i < len - 16; i += 16) {
            if (!mcp_plain16(p + i)) {
                return 0;
            }
        }

        return mcp_plain16(p + len - 16);
    }
#endif

    for (i = 0; i < len - 8; i += 8) {
        memcpy(&w, p + i, 8);

        if (!mcp_plain8(w)) {
            return 0;
        }
    }

    memcpy(&w, p + len - 8, 8);

    return mcp_plain8(w);
}


int
mcp_utf8_valid(const void *data, size_t len)
{
    size_t                n;
    uint64_t              w;
    const unsigned char  *p, *last;

    p = data;
    last = len ? p + len : p;

    while (p < last) {

        if (last - p >= 8) {
            memcpy(&w, p, 8);

            if ((w & MCP_HIGHS) == 0) {
                p += 8;
                continue;
            }
        }

        n = mcp_utf8_char(p, last);
        if (n == 0) {
            return 0;
        }

        p += n;
    }

    return 1;
}


int
mcp_glob(const mcp_str_t *pattern, const mcp_str_t *text)
{
    const unsigned char  *p, *t, *pend, *tend, *star, *retry;

    p = pattern->data;
    pend = pattern->len ? p + pattern->len : p;
    t = text->data;
    tend = text->len ? t + text->len : t;
    star = NULL;
    retry = NULL;

    /*
     * Only the last star seen is ever tried again: what stands before it has
     * matched as early as it can, which leaves the most for the rest.
     */

    while (t < tend) {

        if (p < pend && *p == '*') {
            star = ++p;
            retry = t;

            if (p == pend) {
                return 1;
            }

        } else if (p < pend && *p == *t) {
            p++;
            t++;

        } else if (star != NULL) {
            p = star;
            t = ++retry;

        } else {
            return 0;
        }
    }

    while (p < pend && *p == '*') {
        p++;
    }

    return p == pend;
}


/* 1 when none of the 8 bytes needs a look for a JSON string. */

static inline int
mcp_plain8(uint64_t w)
{
    uint64_t  bad;

    bad = w & MCP_HIGHS;
    bad |= (w - MCP_ONES * 0x20) & ~w & MCP_HIGHS;
    bad |= mcp_has_zero(w ^ (MCP_ONES * '"'));
    bad |= mcp_has_zero(w ^ (MCP_ONES * '\\'));
    bad |= mcp_has_zero(w ^ (MCP_ONES * 0x7f));

    return bad == 0;
}


#ifdef __SSE2__

/* The same of 16 bytes at p; as signed ones, what is not ASCII is below 0. */

static inline int
mcp_plain16(const unsigned char *p)
{
    __m128i  v, odd;

    v = _mm_loadu_si128((const __m128i *) (const void *) p);
    odd = _mm_or_si128(
              _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)),
                           _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))),
              _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                           _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));

    return _mm_movemask_epi8(odd) == 0;
}

#endif


/* Bytes at p that go into a JSON string as they are; ASCII only. */

static size_t
mcp_json_plain(const unsigned char *p, const unsigned char *last)
{
    uint64_t              w;
    const unsigned char  *s;

    for (s = p; last - p >= 8; p += 8) {
        memcpy(&w, p, 8);

        if (!mcp_plain8(w)) {
            break;
        }
    }

    while (p < last && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\') {
        p++;
    }

    return (size_t) (p - s);
}


/* Length of the valid UTF-8 character at p (p < last), or 0. */

static size_t
mcp_utf8_char(const unsigned char *p, const unsigned char *last)
{
    size_t         n, i;
    unsigned char  c, lo, hi;

    c = p[0];

    if (c < 0x80) {
        return 1;
    }

    /* the second byte's range excludes overlong forms and surrogates */

    lo = 0x80;
    hi = 0xbf;

    if (c >= 0xc2 && c <= 0xdf) {
        n = 2;

    } else if (c >= 0xe0 && c <= 0xef) {
        n = 3;
        lo = (c == 0xe0) ? 0xa0 : 0x80;
        hi = (c == 0xed) ? 0x9f : 0xbf;

    } else if (c >= 0xf0 && c <= 0xf4) {
        n = 4;
        lo = (c == 0xf0) ? 0x90 : 0x80;
        hi = (c == 0xf4) ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < n || p[1] < lo || p[1] > hi) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


/*
 * 1 when the valid character of n bytes must not be seen raw in a log:
 * C0, DEL and C1 controls, the quote and the backslash, U+2028 to U+202E and
 * U+2066 to U+2069 (line separators, direction).
 */

static int
mcp_json_unsafe(const unsigned char *p, size_t n)
{
    if (n == 1) {
        return 1;
    }

    if (n == 2) {
        return p[0] == 0xc2 && p[1] < 0xa0;
    }

    if (n == 3 && p[0] == 0xe2) {
        return (p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae)
               || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
    }

    return 0;
}


static void
mcp_json_escape(mcp_buf_t *b, const unsigned char *p, size_t n)
{
    unsigned       code;
    unsigned char  esc[6];

    esc[0] = '\\';

    if (n == 1) {
        switch (p[0]) {
        case '"':  esc[1] = '"';  break;
        case '\\': esc[1] = '\\'; break;
        case '\n': esc[1] = 'n';  break;
        case '\r': esc[1] = 'r';  break;
        case '\t': esc[1] = 't';  break;
        case '\b': esc[1] = 'b';  break;
        case '\f': esc[1] = 'f';  break;
        default:   esc[1] = 'u';  break;
        }

        if (esc[1] != 'u') {
            mcp_buf_put(b, esc, 2);
            return;
        }

        code = p[0];

    } else if (n == 2) {
        code = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);

    } else {
        code = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    }

    esc[1] = 'u';
    esc[2] = (unsigned char) mcp_hex[code >> 12];
    esc[3] = (unsigned char) mcp_hex[code >> 8 & 15];
    esc[4] = (unsigned char) mcp_hex[code >> 4 & 15];
    esc[5] = (unsigned char) mcp_hex[code & 15];

    mcp_buf_put(b, esc, 6);
}
