/*
 * The scanner's short way through a container that is skipped.
 *
 * Nothing is told of what is in it, so that no token needs a beginning, a text
 * or a place in the state: where the code is says what may come next.  All that
 * is taken here is whole tokens; see mcp_json_private.h for what is not.  At
 * worst a token is looked at twice, so that the work stays linear.
 *
 * Always true: what was taken is what mcp_json_scan.c would have taken, byte by
 * byte, and the state that is left is the one that it would have.
 *
 * Called by mcp_json_next().  Owns nothing, frees nothing.
 */

#include "mcp_json_private.h"


#define json_inline  static inline __attribute__((__always_inline__))


typedef struct {
    const unsigned char  *p;
    const unsigned char  *last;
    unsigned              state;
    unsigned              depth;
    unsigned              object;       /* the innermost container is one */

    /* which of the 64 bytes from base on are not plain; NULL: not known */
    const unsigned char  *base;
    uint64_t              odd;
} json_skip_t;


json_inline int json_skip_value(mcp_json_scan_t *s, json_skip_t *k);
json_inline int json_skip_open(mcp_json_scan_t *s, json_skip_t *k);
json_inline int json_skip_small(json_skip_t *k);
json_inline int json_skip_key(mcp_json_scan_t *s, json_skip_t *k);
json_inline int json_skip_after(mcp_json_scan_t *s, json_skip_t *k);
json_inline int json_skip_close(mcp_json_scan_t *s, json_skip_t *k);
json_inline int json_skip_string(json_skip_t *k);
json_inline int json_skip_plain(json_skip_t *k);
json_inline int json_skip_space(json_skip_t *k);
json_inline unsigned json_in_object(mcp_json_scan_t *s, unsigned depth);


/* Each step gives 1, or 0 when it has to end here. */

const unsigned char *
mcp_json_skip_run(mcp_json_scan_t *s, const unsigned char *p,
    const unsigned char *last)
{
    unsigned     more;
    json_skip_t  k;

    k.p = p;
    k.last = last;
    k.state = s->state;
    k.depth = s->depth;
    k.object = json_in_object(s, s->depth);
    k.base = NULL;
    k.odd = 0;

    for ( ;; ) {

        switch (k.state) {

        case ST_KEY:
        case ST_KEY_OR_END:
        case ST_COLON:
            more = json_skip_key(s, &k);

            if (!more || k.state != ST_VALUE) {
                break;
            }

            /* fall through */

        case ST_VALUE:
        case ST_VALUE_OR_END:
            more = json_skip_value(s, &k);

            if (!more || k.state < ST_AFTER_MEMBER) {
                break;
            }

            /* fall through */

        default: /* ST_AFTER_MEMBER, ST_AFTER_ITEM */
            more = json_skip_after(s, &k);
        }

        if (!more) {
            break;
        }
    }

    s->state = k.state;
    s->depth = k.depth;

    return k.p;
}


json_inline int
json_skip_value(mcp_json_scan_t *s, json_skip_t *k)
{
    if (!json_skip_space(k)) {
        return 0;
    }

    if (*k->p == '"') {
        if (!json_skip_string(k)) {
            return 0;
        }

    } else if (*k->p == '{' || *k->p == '[') {
        return json_skip_open(s, k);

    } else if (*k->p == ']' && k->state == ST_VALUE_OR_END) {
        return json_skip_close(s, k);

    } else if (!json_skip_small(k)) {
        return 0;
    }

    k->state = k->object ? ST_AFTER_MEMBER : ST_AFTER_ITEM;

    return 1;
}


json_inline int
json_skip_open(mcp_json_scan_t *s, json_skip_t *k)
{
    uint64_t  bit;

    if (k->depth == s->max_depth) {
        return 0;
    }

    bit = (uint64_t) 1 << (k->depth & 63);

    if (*k->p == '{') {
        s->stack[k->depth >> 6] |= bit;
        k->object = 1;
        k->state = ST_KEY_OR_END;

    } else {
        s->stack[k->depth >> 6] &= ~bit;
        k->object = 0;
        k->state = ST_VALUE_OR_END;
    }

    k->depth++;
    k->p++;

    return 1;
}


/* A literal, or an integer. */

json_inline int
json_skip_small(json_skip_t *k)
{
    unsigned              class;
    const unsigned char  *p;

    p = k->p;

    if (k->last - p < 6) {
        return 0;
    }

    if (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0) {
        k->p = p + 4;
        return 1;
    }

    if (memcmp(p, "false", 5) == 0) {
        k->p = p + 5;
        return 1;
    }

    p += (*p == '-');

    if (*p == '0') {
        p++;

    } else if (*p >= '1' && *p <= '9') {
        do {
            p++;
        } while (p < k->last && *p >= '0' && *p <= '9');

    } else {
        return 0;
    }

    if (p == k->last) {
        return 0;
    }

    class = mcp_json_class[*p];

    if (class != CL_COMMA && class != CL_RBRACE && class != CL_RBRACKET
        && class != CL_SPACE)
    {
        return 0;
    }

    k->p = p;

    return 1;
}


/* A key with its colon, or the end of an empty object. */

json_inline int
json_skip_key(mcp_json_scan_t *s, json_skip_t *k)
{
    if (k->state != ST_COLON) {

        if (!json_skip_space(k)) {
            return 0;
        }

        if (*k->p == '}' && k->state == ST_KEY_OR_END) {
            return json_skip_close(s, k);
        }

        if (*k->p != '"' || !json_skip_string(k)) {
            return 0;
        }

        k->state = ST_COLON;
    }

    if (!json_skip_space(k) || *k->p != ':') {
        return 0;
    }

    k->p++;
    k->state = ST_VALUE;

    return 1;
}


json_inline int
json_skip_after(mcp_json_scan_t *s, json_skip_t *k)
{
    if (!json_skip_space(k)) {
        return 0;
    }

    if (*k->p == ',') {
        k->p++;
        k->state = k->object ? ST_KEY : ST_VALUE;
        return 1;
    }

    return json_skip_close(s, k);
}


/* The end of what is skipped is for the caller to see. */

json_inline int
json_skip_close(mcp_json_scan_t *s, json_skip_t *k)
{
    if (*k->p != (k->object ? '}' : ']') || k->depth == s->skip) {
        return 0;
    }

    k->p++;
    k->depth--;
    k->object = json_in_object(s, k->depth);
    k->state = k->object ? ST_AFTER_MEMBER : ST_AFTER_ITEM;

    return 1;
}


/* From the quote to behind the other one; only with escapes of two bytes. */

json_inline int
json_skip_string(json_skip_t *k)
{
    const unsigned char  *start, *next;

    start = k->p++;

    while (json_skip_plain(k)) {

        if (*k->p == '"') {
            k->p++;
            return 1;
        }

        next = k->p;

        if (*next != '\\') {
            next = json_utf8_run(next, k->last);

        } else if (k->last - next >= 2
                   && memchr("\"\\/bfnrt", next[1], 8))
        {
            next += 2;
        }

        if (next == k->p) {
            break;
        }

        k->p = next;
    }

    k->p = start;

    return 0;
}


/*
 * To the next byte that is not plain.  Where a string begins depends on where
 * the one before it ended; that the bytes are looked at 64 at a time does not,
 * so that the processor need not wait for it.
 */

json_inline int
json_skip_plain(json_skip_t *k)
{
#ifdef __SSE2__
    size_t                at;
    uint64_t              odd;
    const unsigned char  *p;

    for ( ;; ) {
        p = k->p;
        at = (size_t) (p - k->base);

        if (k->base && at < 64) {
            odd = k->odd >> at;

            if (odd) {
                k->p = p + __builtin_ctzll(odd);
                return 1;
            }

            p = k->base + 64;
            k->p = p;
        }

        if (k->last - p < 64) {
            break;
        }

        k->base = p;
        k->odd = (uint64_t) json_odd16(p)
                 | (uint64_t) json_odd16(p + 16) << 16
                 | (uint64_t) json_odd16(p + 32) << 32
                 | (uint64_t) json_odd16(p + 48) << 48;
    }
#endif

    k->p = json_plain(k->p, k->last);

    return k->p < k->last;
}


/* 0: that was all. */

json_inline int
json_skip_space(json_skip_t *k)
{
    while (k->p < k->last) {

        if (*k->p > ' ' || mcp_json_class[*k->p] != CL_SPACE) {
            return 1;
        }

        k->p++;
    }

    return 0;
}


json_inline unsigned
json_in_object(mcp_json_scan_t *s, unsigned depth)
{
    return s->stack[(depth - 1) >> 6] >> ((depth - 1) & 63) & 1;
}
