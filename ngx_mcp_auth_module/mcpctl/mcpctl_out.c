/*
 * Tables and JSON.  Only mcpctl_shown() makes text from outside fit for a
 * terminal; what goes into a cell has been through it, or is ours.
 */

#include "mcpctl_out.h"

#include <stdlib.h>


#define MCPCTL_COLUMNS  300             /* of a table: roles and some more */


struct mcpctl_table_s {
    mcpctl_t            *ctl;
    const char *const   *headings;
    unsigned             n;
    mcpctl_list_t        rows;          /* const char ** */
};


static size_t mcpctl_width(const char *s);
static void mcpctl_print_row(const mcpctl_table_t *table,
    const char *const *cells, const size_t *widths);


char *
mcpctl_shown(mcpctl_t *ctl, const mcp_str_t *text, size_t max)
{
    char       *p;
    size_t      size, len;
    mcp_buf_t   b;

    len = text->len < max ? text->len : max;
    size = len * 6 + 16;

    p = mcpctl_alloc(ctl, size);

    mcp_buf_init(&b, p, size - 1);
    mcp_buf_json(&b, text->data, text->len, max);
    p[mcpctl_unquote(p, (size_t) (b.pos - b.start))] = '\0';

    return p;
}


char *
mcpctl_shown_c(mcpctl_t *ctl, const char *text)
{
    mcp_str_t  s;

    s = mcpctl_cstr(text);

    return mcpctl_shown(ctl, &s, MCPCTL_SHOWN);
}


char *
mcpctl_shown_raw(mcpctl_t *ctl, const mcp_str_t *text, size_t max)
{
    char    *p;
    size_t   i, len;

    len = text->len < max ? text->len : max;

    p = mcpctl_format(ctl, "%.*s%s", (int) len, (char *) text->data,
                      text->len > max ? "\xE2\x80\xA6" : "");

    for (i = 0; i < len; i++) {
        if ((unsigned char) p[i] < 0x20 || p[i] == 0x7f) {
            p[i] = '?';
        }
    }

    return p;
}


/* A JSON string in place -> its text without the quotes, in which only quotes
 * are not escaped any more; the length. */
size_t
mcpctl_unquote(char *p, size_t len)
{
    size_t  i, n;

    n = 0;

    for (i = 1; i + 1 < len; i++) {

        if (p[i] == '\\') {

            if (p[i + 1] != '"') {
                p[n++] = p[i];
            }

            i++;
        }

        p[n++] = p[i];
    }

    return n;
}


mcpctl_table_t *
mcpctl_table(mcpctl_t *ctl, const char *const *headings)
{
    mcpctl_table_t  *table;

    table = mcpctl_alloc(ctl, sizeof(mcpctl_table_t));

    table->ctl = ctl;
    table->headings = headings;

    while (table->n < MCPCTL_COLUMNS && headings[table->n]) {
        table->n++;
    }

    return table;
}


void
mcpctl_row(mcpctl_table_t *table, const char *const *cells)
{
    const char  **row;

    row = mcpctl_alloc(table->ctl, table->n * sizeof(char *));
    memcpy(row, cells, table->n * sizeof(char *));

    mcpctl_push(table->ctl, &table->rows, row);
}


void
mcpctl_table_print(mcpctl_table_t *table)
{
    size_t              widths[MCPCTL_COLUMNS], width;
    unsigned            i, k;
    const char *const  *row;

    if (table->rows.n == 0) {
        return;
    }

    for (i = 0; i < table->n; i++) {
        widths[i] = mcpctl_width(table->headings[i]);

        for (k = 0; k < table->rows.n; k++) {
            row = table->rows.elts[k];
            width = mcpctl_width(row[i]);

            if (width > widths[i]) {
                widths[i] = width;
            }
        }
    }

    mcpctl_print_row(table, table->headings, widths);

    for (k = 0; k < table->rows.n; k++) {
        mcpctl_print_row(table, table->rows.elts[k], widths);
    }
}


static void
mcpctl_print_row(const mcpctl_table_t *table, const char *const *cells,
    const size_t *widths)
{
    size_t      pad;
    unsigned    i, last;
    const char  *cell;

    last = 0;

    for (i = 0; i < table->n; i++) {
        if (cells[i] && *cells[i]) {
            last = i;
        }
    }

    for (i = 0; i <= last; i++) {
        cell = cells[i] ? cells[i] : "";
        fputs(cell, stdout);

        if (i < last) {
            for (pad = widths[i] + 2 - mcpctl_width(cell); pad; pad--) {
                putchar(' ');
            }
        }
    }

    putchar('\n');
}


/* Characters, as most terminals count them. */
static size_t
mcpctl_width(const char *s)
{
    size_t  n;

    for (n = 0; s && *s; s++) {
        n += ((*s & 0xc0) != 0x80);
    }

    return n;
}


json_t *
mcpctl_json_object(mcpctl_t *ctl)
{
    json_t  *object;

    object = json_object();

    if (object == NULL) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }

    return object;
}


json_t *
mcpctl_json_array(mcpctl_t *ctl)
{
    json_t  *array;

    array = json_array();

    if (array == NULL) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }

    return array;
}


void
mcpctl_json_set(mcpctl_t *ctl, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }
}


void
mcpctl_json_append(mcpctl_t *ctl, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }
}


json_t *
mcpctl_json_text(mcpctl_t *ctl, const mcp_str_t *text)
{
    char       *p;
    size_t      size;
    json_t     *value;
    mcp_buf_t   b;

    if (text->len == 0) {
        value = json_string("");

    } else if (mcp_utf8_valid(text->data, text->len)) {
        value = json_stringn((char *) text->data, text->len);

    } else {
        size = text->len * 6 + 16;
        p = mcpctl_alloc(ctl, size);

        mcp_buf_init(&b, p, size);
        mcp_buf_json(&b, text->data, text->len, text->len);

        value = json_loadb(p, (size_t) (b.pos - b.start), JSON_DECODE_ANY,
                           NULL);
    }

    if (value == NULL) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }

    return value;
}


void
mcpctl_json_set_text(mcpctl_t *ctl, json_t *object, const char *key,
    const mcp_str_t *text)
{
    if (text->len) {
        mcpctl_json_set(ctl, object, key, mcpctl_json_text(ctl, text));
    }
}


void
mcpctl_json_print(mcpctl_t *ctl, json_t *root)
{
    char  *text, *p;

    /* ASCII only: a terminal obeys no control of C1, no turn of direction */

    text = json_dumps(root, JSON_INDENT(2)|JSON_PRESERVE_ORDER
                            |JSON_ENSURE_ASCII|JSON_ENCODE_ANY);
    if (text == NULL) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }

    json_decref(root);

    for (p = text; *p; p++) {

        if (*p == 0x7f) {
            fputs("\\u007f", stdout);

        } else {
            putchar(*p);
        }
    }

    putchar('\n');
    mcpctl_json_free(text);
}
