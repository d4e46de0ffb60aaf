/*
 * Framing of server-sent events (WHATWG HTML, 9.2).
 *
 * Owns nothing and frees nothing: the state of a stream is one small struct of
 * the caller, the bytes stay where the caller has them.  Called by the body
 * filter for each piece of a stream, then line by line for a whole event.
 *
 * Always true: an event ends only at a blank line, never at a line end, so
 * that a result spread over several data lines is seen as a whole; where the
 * pieces end changes nothing; each byte belongs to exactly one event; the work
 * is linear in the bytes.
 */

#include "mcp_sse.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define MCP_SSE_CR      '\r'
#define MCP_SSE_LF      '\n'

#define MCP_SSE_NO_BOM  4


enum {
    sw_start = 0,       /* at the beginning of a line */
    sw_line,            /* in a line that is not blank */
    sw_cr               /* after the CR of such a line; its LF may follow */
};


static const unsigned char  mcp_sse_bom[3] = { 0xef, 0xbb, 0xbf };


static const unsigned char *mcp_sse_skip_bom(mcp_sse_t *s,
    const unsigned char *p, const unsigned char *last);
static const unsigned char *mcp_sse_eol(const unsigned char *p,
    const unsigned char *last);
static mcp_sse_field_e mcp_sse_field(const unsigned char *name, size_t len);


void
mcp_sse_init(mcp_sse_t *s)
{
    s->state = sw_start;
    s->bom = 0;
}


int
mcp_sse_find_end(mcp_sse_t *s, const unsigned char **pos,
    const unsigned char *last)
{
    const unsigned char  *p;

    p = *pos;

    if (s->bom < sizeof(mcp_sse_bom)) {
        p = mcp_sse_skip_bom(s, p, last);
    }

    while (p < last) {

        switch (s->state) {

        case sw_start:

            if (*p == MCP_SSE_LF || *p == MCP_SSE_CR) {
                /*
                 * Still at the start of a line: the LF of a CRLF is a blank
                 * line of its own.  The event must not wait for it, it may
                 * be long in coming.
                 */
                *pos = p + 1;
                return MCP_OK;
            }

            s->state = sw_line;
            break;

        case sw_line:

            p = mcp_sse_eol(p, last);

            if (p < last) {
                s->state = (*p == MCP_SSE_CR) ? sw_cr : sw_start;
                p++;
            }

            break;

        default: /* sw_cr */

            if (*p == MCP_SSE_LF) {
                p++;
            }

            s->state = sw_start;
            break;
        }
    }

    *pos = last;

    return MCP_AGAIN;
}


/* A BOM leaves the line blank; half of one, at the start, does not. */

static const unsigned char *
mcp_sse_skip_bom(mcp_sse_t *s, const unsigned char *p,
    const unsigned char *last)
{
    while (p < last && s->bom < sizeof(mcp_sse_bom)) {

        if (*p != mcp_sse_bom[s->bom]) {

            if (s->bom) {
                s->state = sw_line;
            }

            s->bom = MCP_SSE_NO_BOM;
            break;
        }

        s->bom++;
        p++;
    }

    return p;
}


/* The first CR or LF in [p, last), or last. */

static const unsigned char *
mcp_sse_eol(const unsigned char *p, const unsigned char *last)
{
#ifdef __SSE2__
    unsigned  mask;
    __m128i   v, eol;

    while (last - p >= 16) {
        v = _mm_loadu_si128((const __m128i *) (const void *) p);
        eol = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(MCP_SSE_LF)),
                           _mm_cmpeq_epi8(v, _mm_set1_epi8(MCP_SSE_CR)));
        mask = (unsigned) _mm_movemask_epi8(eol);

        if (mask) {
            return p + __builtin_ctz(mask);
        }

        p += 16;
    }
#endif

    while (p < last && *p != MCP_SSE_LF && *p != MCP_SSE_CR) {
        p++;
    }

    return p;
}


int
mcp_sse_line(const unsigned char **pos, const unsigned char *last,
    unsigned first, mcp_sse_line_t *line)
{
    const unsigned char  *p, *end, *colon;

    p = *pos;

    if (p == last) {
        return MCP_DECLINED;
    }

    end = mcp_sse_eol(p, last);

    *pos = end;
    if (end < last) {
        *pos = end + 1;

        if (*end == MCP_SSE_CR && *pos < last && **pos == MCP_SSE_LF) {
            (*pos)++;
        }
    }

    line->line.data = (unsigned char *) p;
    line->line.len = (size_t) (*pos - p);

    if (first && (size_t) (end - p) >= sizeof(mcp_sse_bom)
        && memcmp(p, mcp_sse_bom, sizeof(mcp_sse_bom)) == 0)
    {
        p += sizeof(mcp_sse_bom);
    }

    colon = memchr(p, ':', (size_t) (end - p));

    if (colon == NULL) {
        line->field = (p == end) ? MCP_SSE_BLANK
                                 : mcp_sse_field(p, (size_t) (end - p));
        line->value.data = (unsigned char *) end;
        line->value.len = 0;

        return MCP_OK;
    }

    line->field = mcp_sse_field(p, (size_t) (colon - p));

    p = colon + 1;

    if (p < end && *p == ' ') {
        p++;
    }

    line->value.data = (unsigned char *) p;
    line->value.len = (size_t) (end - p);

    return MCP_OK;
}


static mcp_sse_field_e
mcp_sse_field(const unsigned char *name, size_t len)
{
    switch (len) {

    case 0:
        return MCP_SSE_COMMENT;

    case 2:
        return memcmp(name, "id", 2) == 0 ? MCP_SSE_ID : MCP_SSE_OTHER;

    case 4:
        return memcmp(name, "data", 4) == 0 ? MCP_SSE_DATA : MCP_SSE_OTHER;

    case 5:
        if (memcmp(name, "event", 5) == 0) {
            return MCP_SSE_EVENT;
        }

        return memcmp(name, "retry", 5) == 0 ? MCP_SSE_RETRY : MCP_SSE_OTHER;

    default:
        return MCP_SSE_OTHER;
    }
}
