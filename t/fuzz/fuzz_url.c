/*
 * mcp_untrusted: what a person may be shown or sent to.
 *
 * - A URL that passes is https, has a host, and no user information, controls,
 *   spaces or backslashes, as another reader of RFC 3986 sees it.
 * - A name that passes has no character that mcp_char_unseen() names, decoded
 *   by another hand.
 *
 * Input: the text.
 */

#include <strings.h>

#include "fuzz.h"
#include "mcp_untrusted.h"


static int
https(const mcp_str_t *u)
{
    size_t  i, end;

    if (u->len < 9 || strncasecmp((char *) u->data, "https://", 8) != 0) {
        return 0;
    }

    for (i = 0; i < u->len; i++) {
        if (u->data[i] <= 0x20 || u->data[i] == 0x7f || u->data[i] == '\\') {
            return 0;
        }
    }

    for (end = 8; end < u->len && u->data[end] != '/' && u->data[end] != '?'
                  && u->data[end] != '#'; end++)
    {
        if (u->data[end] == '@') {
            return 0;
        }
    }

    return end > 8 && u->data[8] != ':';
}


static int
plain(const mcp_str_t *s)
{
    size_t    i, n;
    uint32_t  c;

    for (i = 0; i < s->len; i += n) {
        c = s->data[i];
        n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        c = n == 1 ? c : n == 2 ? c & 0x1f : n == 3 ? c & 0xf : c & 7;
        c = n > 1 ? c << 6 | (s->data[i + 1] & 0x3f) : c;
        c = n > 2 ? c << 6 | (s->data[i + 2] & 0x3f) : c;
        c = n > 3 ? c << 6 | (s->data[i + 3] & 0x3f) : c;

        if (mcp_char_unseen(c)) {
            return 0;
        }
    }

    return 1;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int         ok;
    mcp_str_t   s;
    fz_arena_t  a;

    fz_arena_init(&a);
    s = fz_copy(&a, data, size);

    ok = mcp_url_https(&s);
    CHECK(!ok || https(&s));

    CHECK(!ok || mcp_icon_src(&s));
    CHECK(!mcp_icon_src(&s) || ok
          || (s.len >= 11
              && strncasecmp((char *) s.data, "data:image/", 11) == 0));

    if (mcp_utf8_valid(s.data, s.len)) {
        CHECK(!mcp_name_plain(&s) == !plain(&s));
    }

    fz_arena_free(&a);

    return 0;
}
