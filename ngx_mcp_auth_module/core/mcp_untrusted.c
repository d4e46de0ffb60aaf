/*
 * What of an upstream's words may be shown to people.  See mcp_untrusted.h.
 * Text is valid UTF-8 here: the JSON scanner refuses everything else.
 */

#include "mcp_untrusted.h"


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

    return i > 8 && mcp_name_plain(url);
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
    size_t                i;
    unsigned              c;
    const unsigned char  *p;

    p = name->data;

    for (i = 0; i < name->len; i++) {

        if (p[i] < 0x20 || p[i] == 0x7f) {
            return 0;
        }

        if (p[i] == 0xc2 && i + 1 < name->len && p[i + 1] < 0xa0) {
            return 0;                               /* C1 */
        }

        if (p[i] == 0xe2 && i + 2 < name->len) {
            c = (unsigned) (p[i + 1] & 0x3f) << 6 | (p[i + 2] & 0x3f);

            /* U+200B..200F, 2028..202E, 2060..206F */

            if ((c >= 0x0b && c <= 0x0f) || (c >= 0x28 && c <= 0x2e)
                || (c >= 0x60 && c <= 0x6f))
            {
                return 0;
            }
        }

        if (p[i] == 0xd8 && i + 1 < name->len && p[i + 1] == 0x9c) {
            return 0;                               /* U+061C */
        }

        if (p[i] == 0xef && i + 2 < name->len
            && ((p[i + 1] == 0xbb && p[i + 2] == 0xbf)          /* U+FEFF */
                || (p[i + 1] == 0xbf && p[i + 2] >= 0xb9)))     /* U+FFF9.. */
        {
            return 0;
        }

        if (p[i] == 0xf3 && i + 2 < name->len && p[i + 1] == 0xa0
            && p[i + 2] < 0x82)
        {
            return 0;                               /* U+E0000..E007F */
        }
    }

    return 1;
}
