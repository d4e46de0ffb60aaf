/*
 * What of an upstream's words may be shown to people.  See mcp_untrusted.h.
 * Text is valid UTF-8 here: the JSON scanner refuses everything else.
 */

#include "mcp_untrusted.h"


/*
 * DEL, C1, line and paragraph separators, and what Unicode 15 says to show
 * nothing for (Default_Ignorable_Code_Point), in order.
 */

static const struct {
    unsigned  from;
    unsigned  to;
} mcp_unseen[] = {
    { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x34f, 0x34f }, { 0x61c, 0x61c },
    { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 }, { 0x180b, 0x180f },
    { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
    { 0x3164, 0x3164 }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
    { 0xffa0, 0xffa0 }, { 0xfff0, 0xfffb }, { 0x1bca0, 0x1bca3 },
    { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff }
};


static unsigned mcp_name_next(const unsigned char **p,
    const unsigned char *last);


int
mcp_url_https(const mcp_str_t *url)
{
    size_t  i;

    if (url->len <= 8 || !mcp_str_caseeq(url->data, 8, "https://", 8)) {
        return 0;
    }

    for (i = 0; i < url->len; i++) {
        if (url->data[i] <= 0x20 || url->data[i] == 0x7f
            || url->data[i] == '\\')
        {
            return 0;
        }
    }

    for (i = 8; i < url->len; i++) {
        if (url->data[i] == '/' || url->data[i] == '?' || url->data[i] == '#')
        {
            break;
        }

        if (url->data[i] == '@') {
            return 0;
        }
    }

    /* a port alone is no host */

    return i > 8 && url->data[8] != ':' && mcp_name_plain(url);
}


int
mcp_icon_src(const mcp_str_t *src)
{
    if (src->len > 11 && mcp_str_caseeq(src->data, 11, "data:image/", 11)) {
        return 1;
    }

    return mcp_url_https(src);
}


int
mcp_name_plain(const mcp_str_t *name)
{
    const unsigned char  *p, *last;

    if (mcp_json_is_plain(name->data, name->len)) {
        return 1;
    }

    p = name->data;
    last = p + name->len;

    while (p < last) {

        if (mcp_char_unseen(*p < 0x80 ? *p++ : mcp_name_next(&p, last))) {
            return 0;
        }
    }

    return 1;
}


int
mcp_char_unseen(uint32_t c)
{
    size_t  i;

    if (c < 0x7f) {
        return c < 0x20;
    }

    for (i = 0; i < sizeof(mcp_unseen) / sizeof(mcp_unseen[0]); i++) {
        if (c <= mcp_unseen[i].to) {
            return c >= mcp_unseen[i].from;
        }
    }

    return 0;
}


/* The character at *p; text that ends in the middle of one is U+FFFD. */

static unsigned
mcp_name_next(const unsigned char **p, const unsigned char *last)
{
    unsigned  c, n;

    c = *(*p)++;

    n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    c &= 0x3f >> n;

    if ((size_t) (last - *p) < n) {
        *p = last;
        return 0xfffd;
    }

    while (n--) {
        c = c << 6 | (*(*p)++ & 0x3f);
    }

    return c;
}
