/*
 * Queries and forms.  A decoded text is never longer than what it was made of:
 * all of them go into one block of that length.
 */

#include "mcp_form.h"


static int mcp_form_decode(const unsigned char *p, size_t len,
    unsigned char **to, mcp_str_t *out);


int
mcp_form_parse(const mcp_str_t *text, const mcp_mem_t *mem, mcp_form_t *f)
{
    unsigned              i;
    unsigned char        *to;
    mcp_form_field_t     *field;
    const unsigned char  *p, *last, *end, *eq;

    f->n = 0;

    if (text->len == 0) {
        return MCP_OK;
    }

    to = mcp_alloc(mem, text->len);
    if (to == NULL) {
        return MCP_ERROR;
    }

    last = text->data + text->len;

    for (p = text->data; p < last; p = end + 1) {

        end = memchr(p, '&', (size_t) (last - p));
        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        if (f->n == MCP_FORM_FIELDS) {
            return MCP_ERROR;
        }

        field = &f->fields[f->n];

        eq = memchr(p, '=', (size_t) (end - p));

        if (mcp_form_decode(p, (size_t) ((eq ? eq : end) - p), &to,
                            &field->name)
               != MCP_OK
            || mcp_form_decode(eq ? eq + 1 : end,
                               eq ? (size_t) (end - eq - 1) : 0, &to,
                               &field->value)
               != MCP_OK)
        {
            return MCP_ERROR;
        }

        for (i = 0; i < f->n; i++) {
            if (mcp_str_eq(&f->fields[i].name, &field->name)) {
                return MCP_ERROR;
            }
        }

        f->n++;
    }

    return MCP_OK;
}


static int
mcp_form_decode(const unsigned char *p, size_t len, unsigned char **to,
    mcp_str_t *out)
{
    int             high, low;
    size_t          i;
    unsigned char   c, *d;

    d = *to;
    out->data = d;

    for (i = 0; i < len; i++) {
        c = p[i];

        if (c == '+') {
            c = ' ';

        } else if (c == '%') {

            if (len - i < 3) {
                return MCP_ERROR;
            }

            high = mcp_hex_digit(p[i + 1]);
            low = mcp_hex_digit(p[i + 2]);

            if (high < 0 || low < 0) {
                return MCP_ERROR;
            }

            c = (unsigned char) (high << 4 | low);
            i += 2;
        }

        if (c == '\0') {
            return MCP_ERROR;
        }

        *d++ = c;
    }

    out->len = (size_t) (d - out->data);
    *to = d;

    return MCP_OK;
}


int
mcp_form_get(const mcp_form_t *f, const char *name, mcp_str_t *value)
{
    size_t    len;
    unsigned  i;

    len = strlen(name);

    for (i = 0; i < f->n; i++) {
        if (f->fields[i].name.len == len
            && memcmp(f->fields[i].name.data, name, len) == 0
            && f->fields[i].value.len)
        {
            *value = f->fields[i].value;
            return MCP_OK;
        }
    }

    return MCP_DECLINED;
}


void
mcp_form_escape(mcp_buf_t *b, const mcp_str_t *value)
{
    size_t         i;
    unsigned char  c, out[3];

    static const char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'
            || c == '~')
        {
            mcp_buf_put(b, &c, 1);
            continue;
        }

        out[0] = '%';
        out[1] = (unsigned char) hex[c >> 4];
        out[2] = (unsigned char) hex[c & 15];

        mcp_buf_put(b, out, 3);
    }
}


void
mcp_form_put(mcp_buf_t *b, char sep, const char *name, const mcp_str_t *value)
{
    if (value->len == 0) {
        return;
    }

    mcp_buf_put(b, &sep, 1);
    mcp_buf_put(b, name, strlen(name));
    mcp_buf_lit(b, "=");
    mcp_form_escape(b, value);
}
