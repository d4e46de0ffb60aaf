/*
 * What the two halves of the scanner share: mcp_json_scan.c reads token by
 * token and can stop at any byte, mcp_json_skip.c is the short way through
 * whole tokens that nobody looks at.  And the runs over the bytes of a string,
 * which both take.
 */

#ifndef MCP_JSON_PRIVATE_H
#define MCP_JSON_PRIVATE_H


#include "mcp_json_scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif


/* States: what is expected.  The token states are the last. */
enum {
    ST_VALUE = 0,
    ST_VALUE_OR_END,                    /* after '[' */
    ST_KEY,                             /* after ',' in an object */
    ST_KEY_OR_END,                      /* after '{' */
    ST_COLON,
    ST_AFTER_MEMBER,                    /* ',' or '}' */
    ST_AFTER_ITEM,                      /* ',' or ']' */
    ST_FINISHED,                        /* only whitespace */
    ST_STRING,
    ST_NUMBER,
    ST_LITERAL,
    ST_FAILED
};

/* Byte classes; with ST_* they index json_action. */
enum {
    CL_BAD = 0,
    CL_SPACE,
    CL_QUOTE,
    CL_NUMBER,
    CL_LITERAL,
    CL_LBRACE,
    CL_RBRACE,
    CL_LBRACKET,
    CL_RBRACKET,
    CL_COLON,
    CL_COMMA,
    CL_MAX
};


extern const unsigned char  mcp_json_class[256];


/*
 * With s->skip and no token under way: over whole tokens of [p, last).  It
 * takes only what is right and ends before what it does not know for sure (a
 * token that the piece ends in or that has a rare form, the end of what is
 * skipped, anything wrong); that is then for mcp_json_next(), as if this had
 * not been.
 */
const unsigned char *mcp_json_skip_run(mcp_json_scan_t *s,
    const unsigned char *p, const unsigned char *last);


#ifdef __SSE2__

/*
 * Of 16 bytes, those that are not plain: a quote, a backslash, a control, or
 * out of ASCII.  As signed bytes the last two are both below 0x20.
 */
static inline unsigned
json_odd16(const unsigned char *p)
{
    __m128i  v, odd;

    v = _mm_loadu_si128((const __m128i *) (const void *) p);
    odd = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)),
              _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                           _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));

    return (unsigned) _mm_movemask_epi8(odd);
}

#endif


/* To the first byte that is not plain. */
static inline const unsigned char *
json_plain(const unsigned char *p, const unsigned char *last)
{
#ifdef __SSE2__
    unsigned  mask;

    while (last - p >= 16) {
        mask = json_odd16(p);

        if (mask) {
            return p + __builtin_ctz(mask);
        }

        p += 16;
    }
#endif

    while (p < last && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }

    return p;
}


/*
 * Over whole characters of two and three bytes; what is split, longer or
 * suspect is left to the byte-wise states.
 */
static inline const unsigned char *
json_utf8_run(const unsigned char *p, const unsigned char *last)
{
    while (last - p >= 3 && *p >= 0xc2) {

        if ((p[1] & 0xc0) != 0x80) {
            break;
        }

        if (*p <= 0xdf) {
            p += 2;
            continue;
        }

        if (*p > 0xef || *p == 0xe0 || *p == 0xed || (p[2] & 0xc0) != 0x80) {
            break;
        }

        p += 3;
    }

    return p;
}


#endif /* MCP_JSON_PRIVATE_H */
