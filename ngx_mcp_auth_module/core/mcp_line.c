/*
 * Lines of columns.  See mcp_line.h.
 *
 * Called when a file of tokens or watermarks is read, and for each line that
 * comes from Redis.  Decoded values belong to the caller's arena; everything
 * else points into the text.
 */

#include "mcp_line.h"


static int mcp_line_is_special(unsigned char c, const char *special);


int
mcp_line_column(mcp_str_t *rest, mcp_str_t *column)
{
    const unsigned char  *space;

    if (rest->data == NULL) {
        return MCP_DECLINED;
    }

    column->data = rest->data;
    space = rest->len ? memchr(rest->data, ' ', rest->len) : NULL;

    if (space == NULL) {
        column->len = rest->len;
        mcp_str_null(rest);

    } else {
        column->len = (size_t) (space - rest->data);
        rest->data += column->len + 1;
        rest->len -= column->len + 1;
    }

    return column->len ? MCP_OK : MCP_ERROR;
}


int
mcp_line_pair(const mcp_str_t *column, mcp_str_t *key, mcp_str_t *value)
{
    const unsigned char  *equals;

    equals = memchr(column->data, '=', column->len);

    if (equals == NULL || equals == column->data) {
        return MCP_ERROR;
    }

    key->data = column->data;
    key->len = (size_t) (equals - column->data);

    value->data = column->data + key->len + 1;
    value->len = column->len - key->len - 1;

    return MCP_OK;
}


int
mcp_line_decode(const mcp_mem_t *mem, const mcp_str_t *text,
    const char *special, mcp_str_t *value, const char **error)
{
    int             hi, lo;
    size_t          i;
    unsigned char   c, *p;

    p = mcp_alloc(mem, text->len ? text->len : 1);
    if (p == NULL) {
        *error = "out of memory";
        return MCP_ERROR;
    }

    value->data = p;

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (c < 0x21 || c > 0x7e || mcp_line_is_special(c, special)) {
            *error = "a character that has to be written as %XX";
            return MCP_ERROR;
        }

        if (c == '%') {
            if (text->len - i < 3
                || (hi = mcp_hex_digit(text->data[i + 1])) < 0
                || (lo = mcp_hex_digit(text->data[i + 2])) < 0)
            {
                *error = "\"%\" without two hex digits";
                return MCP_ERROR;
            }

            c = (unsigned char) (hi << 4 | lo);
            i += 2;
        }

        if (c < 0x20 || c == 0x7f) {
            *error = "a control character in a value";
            return MCP_ERROR;
        }

        *p++ = c;
    }

    value->len = (size_t) (p - value->data);

    if (!mcp_utf8_valid(value->data, value->len)) {
        *error = "a value is not valid UTF-8";
        return MCP_ERROR;
    }

    return MCP_OK;
}


void
mcp_line_encode(mcp_buf_t *b, const mcp_str_t *value, const char *special)
{
    size_t         i;
    unsigned char  c, xx[3];

    static const char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if (c < 0x21 || c > 0x7e || c == '%'
            || mcp_line_is_special(c, special))
        {
            xx[0] = '%';
            xx[1] = (unsigned char) hex[c >> 4];
            xx[2] = (unsigned char) hex[c & 15];
            mcp_buf_put(b, xx, 3);
            continue;
        }

        mcp_buf_put(b, &c, 1);
    }
}


int
mcp_line_next(mcp_str_t *rest, mcp_str_t *line, unsigned *n,
    const char **error)
{
    size_t                i;
    const unsigned char  *lf;

    while (rest->len) {
        (*n)++;

        line->data = rest->data;
        lf = memchr(rest->data, '\n', rest->len);

        line->len = lf ? (size_t) (lf - rest->data) : rest->len;
        i = line->len + (lf != NULL);
        rest->data += i;
        rest->len -= i;

        if (line->len == 0 || line->data[0] == '#') {
            continue;
        }

        if (!mcp_str_eq_lit(line, "end")) {
            return MCP_OK;
        }

        for (i = 0; i < rest->len; i++) {
            if (rest->data[i] != '\n') {
                *error = "something follows the line \"end\"";
                return MCP_ERROR;
            }
        }

        rest->len = 0;

        return MCP_DECLINED;
    }

    *error = "the file is not complete: its last line is not \"end\"";

    return MCP_ERROR;
}


static int
mcp_line_is_special(unsigned char c, const char *special)
{
    for ( /* void */ ; *special; special++) {
        if (c == (unsigned char) *special) {
            return 1;
        }
    }

    return 0;
}
