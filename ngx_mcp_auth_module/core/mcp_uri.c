/*
 * Which URIs are what they look like.  See mcp_uri.h.
 *
 * Always true: the work is that of mcp_glob(); a byte is looked at in the one
 * way that mcp_uri_next() has, in patterns as in URIs.
 *
 * Called by the policy.  Owns nothing.
 */

#include "mcp_uri.h"


static int mcp_uri_rootless(const mcp_str_t *uri);
static unsigned char mcp_uri_next(const unsigned char **p,
    const unsigned char *last);
static unsigned char mcp_uri_byte(const unsigned char **p,
    const unsigned char *last);


int
mcp_uri_plain(const mcp_str_t *uri)
{
    size_t                i, n;
    unsigned              dots;
    unsigned char         ch;
    const unsigned char  *p, *last;

    if (uri->len == 0 || uri->data[0] == ' '
        || uri->data[uri->len - 1] == ' ' || mcp_uri_rootless(uri))
    {
        return 0;
    }

    for (i = 0; i < uri->len; i++) {
        if (uri->data[i] < 0x20 || uri->data[i] == 0x7f) {
            return 0;
        }
    }

    p = uri->data;
    last = p + uri->len;
    n = 0;
    dots = 1;

    while (p < last && *p != '?' && *p != '#') {

        ch = mcp_uri_next(&p, last);

        if (ch != '/') {
            dots &= (ch == '.');
            n++;
            continue;
        }

        if (dots && (n == 1 || n == 2)) {
            return 0;
        }

        n = 0;
        dots = 1;
    }

    return !dots || (n != 1 && n != 2);
}


int
mcp_uri_glob(const mcp_str_t *pattern, const mcp_str_t *uri)
{
    const unsigned char  *p, *t, *pend, *tend, *pnext, *tnext, *star, *retry;

    p = pattern->data;
    pend = p + pattern->len;
    t = uri->data;
    tend = uri->len ? t + uri->len : t;
    star = NULL;
    retry = NULL;

    while (t < tend) {

        if (p < pend && *p == '*') {
            star = ++p;
            retry = t;
            continue;
        }

        pnext = p;
        tnext = t;

        if (p < pend
            && mcp_uri_next(&pnext, pend) == mcp_uri_next(&tnext, tend))
        {
            p = pnext;
            t = tnext;
            continue;
        }

        if (star == NULL) {
            return 0;
        }

        p = star;
        (void) mcp_uri_next(&retry, tend);
        t = retry;
    }

    while (p < pend && *p == '*') {
        p++;
    }

    return p == pend;
}


/* "file:x": a URL parser makes "file:///x" of it. */

static int
mcp_uri_rootless(const mcp_str_t *uri)
{
    size_t    n;
    unsigned  i;

    static const char *const  schemes[] = {
        "file:", "http:", "https:", "ws:", "wss:", "ftp:"
    };

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        n = strlen(schemes[i]);

        if (uri->len >= n && mcp_str_caseeq(uri->data, n, schemes[i], n)) {
            return uri->len == n
                   || (uri->data[n] != '/' && uri->data[n] != '\\');
        }
    }

    return 0;
}


/* The next character, folded; *p (not at last) is moved past it. */

static unsigned char
mcp_uri_next(const unsigned char **p, const unsigned char *last)
{
    unsigned char         ch;
    const unsigned char  *next;

    ch = mcp_uri_byte(p, last);

    if (ch != '/') {
        return ch;
    }

    for (next = *p; next < last && mcp_uri_byte(&next, last) == '/'; ) {
        *p = next;
    }

    return ch;
}


static unsigned char
mcp_uri_byte(const unsigned char **p, const unsigned char *last)
{
    int            high, low;
    unsigned char  ch;

    ch = *(*p)++;

    if (ch == '%' && last - *p >= 2) {
        high = mcp_hex_digit((*p)[0]);
        low = mcp_hex_digit((*p)[1]);

        if (high >= 0 && low >= 0) {
            ch = (unsigned char) (high << 4 | low);
            *p += 2;
        }
    }

    if (ch >= 'A' && ch <= 'Z') {
        return ch | 0x20;
    }

    return ch == '\\' ? '/' : ch;
}
