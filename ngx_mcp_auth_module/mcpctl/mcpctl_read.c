/*
 * Reads nginx's configuration language, as ngx_conf_file.c does; what the
 * words mean is mcpctl_conf.c's to say.
 *
 * A file is read whole into memory and kept: words are copies, places point at
 * its name.  The files that are open form a chain, the innermost first.
 */

#include "mcpctl_read.h"

#include <glob.h>
#include <stdarg.h>


#define MCPCTL_WORD       4095          /* bytes as written; nginx's buffer */
#define MCPCTL_FILE       (16 * 1024 * 1024)
#define MCPCTL_TOTAL      (64 * 1024 * 1024)
#define MCPCTL_FILES      4096
#define MCPCTL_DEPTH      128           /* nginx has no limit but its stack */

#define mcpctl_space(c)                                                       \
    ((c) == ' ' || (c) == '\t' || (c) == '\r' || (c) == '\n')


struct mcpctl_file_s {
    mcp_str_t            name;
    unsigned char       *pos;
    unsigned char       *last;
    unsigned             line;          /* of pos, from 1 */
    mcpctl_file_t       *prev;
};


static int mcpctl_read_blanks(mcpctl_file_t *file);
static int mcpctl_read_word(mcpctl_reader_t *rd);
static int mcpctl_read_add(mcpctl_reader_t *rd, const unsigned char *p,
    const unsigned char *last);
static int mcpctl_read_lua(mcpctl_reader_t *rd);
static int mcpctl_lua_bracket(mcpctl_file_t *file);
static void mcpctl_lua_string(mcpctl_file_t *file, unsigned char quote);
static unsigned char mcpctl_read_char(mcpctl_file_t *file);


int
mcpctl_read_open(mcpctl_reader_t *rd, const mcp_str_t *path)
{
    int             err;
    mcp_str_t       text;
    const char     *why;
    mcpctl_file_t  *file;

    if (rd->nfiles++ == MCPCTL_FILES || rd->depth == MCPCTL_DEPTH) {
        return mcpctl_read_error(rd, "too many files, or files included too "
                                 "deep, at \"%s\"", path->data);
    }

    if (memchr(path->data, '\0', path->len)) {
        return mcpctl_read_error(rd, "a file's name has a NUL");
    }

    if (mcpctl_read_file(rd->ctl, (char *) path->data, MCPCTL_FILE, &text,
                         &why, &err)
        != MCP_OK)
    {
        return mcpctl_read_error(rd, "cannot read \"%s\": %s", path->data,
                                 why);
    }

    rd->total += text.len;

    if (rd->total > MCPCTL_TOTAL) {
        return mcpctl_read_error(rd, "the configuration is larger than %d "
                                 "bytes", MCPCTL_TOTAL);
    }

    file = mcpctl_alloc(rd->ctl, sizeof(mcpctl_file_t));

    file->name = mcpctl_str(rd->ctl, path->data, path->len);
    file->pos = text.data;
    file->last = text.data + text.len;
    file->line = 1;
    file->prev = rd->file;

    rd->file = file;
    rd->depth++;

    return MCP_OK;
}


void
mcpctl_read_close(mcpctl_reader_t *rd)
{
    rd->file = rd->file->prev;
    rd->depth--;
}


/*
 * Words up to ";" or "{".  nginx wants a blank behind a quoted word, or what
 * ends the line, or ")", which begins a word of its own.
 */
mcpctl_read_e
mcpctl_read_next(mcpctl_reader_t *rd)
{
    int             quoted;
    unsigned char   ch;
    mcpctl_file_t  *file;

    file = rd->file;
    rd->nwords = 0;

    for ( ;; ) {

        if (mcpctl_read_blanks(file) != MCP_OK) {

            if (rd->nwords == 0) {
                return MCPCTL_READ_EOF;
            }

            (void) mcpctl_read_error(rd, "unexpected end of file, expecting "
                                     "\";\" or \"}\"");
            return MCPCTL_READ_ERROR;
        }

        ch = *file->pos;

        if (ch == ';' || ch == '{' || ch == '}') {

            if ((rd->nwords == 0) != (ch == '}')) {
                (void) mcpctl_read_error(rd, "unexpected \"%c\"", ch);
                return MCPCTL_READ_ERROR;
            }

            file->pos++;

            return ch == ';' ? MCPCTL_READ_LINE
                   : ch == '{' ? MCPCTL_READ_BLOCK : MCPCTL_READ_END;
        }

        quoted = (ch == '"' || ch == '\'');

        if (mcpctl_read_word(rd) != MCP_OK) {
            return MCPCTL_READ_ERROR;
        }

        if (!quoted || file->pos == file->last) {
            continue;
        }

        ch = *file->pos;

        if (!mcpctl_space(ch) && ch != ';' && ch != '{' && ch != ')') {
            (void) mcpctl_read_error(rd, "unexpected \"%c\"", ch);
            return MCPCTL_READ_ERROR;
        }
    }
}


/* Past blanks and comments; MCP_DECLINED: the file ends. */
static int
mcpctl_read_blanks(mcpctl_file_t *file)
{
    unsigned  comment;

    comment = 0;

    for ( /* void */ ; file->pos < file->last; (void) mcpctl_read_char(file)) {

        if (comment) {
            comment = (*file->pos != '\n');

        } else if (*file->pos == '#') {
            comment = 1;

        } else if (!mcpctl_space(*file->pos)) {
            return MCP_OK;
        }
    }

    return MCP_DECLINED;
}


/* A byte of the file, and on; lines are counted here. */
static unsigned char
mcpctl_read_char(mcpctl_file_t *file)
{
    if (*file->pos == '\n') {
        file->line++;
    }

    return *file->pos++;
}


/* The word that begins here, added to rd->words; what ends a word without
 * quotes is left. */
static int
mcpctl_read_word(mcpctl_reader_t *rd)
{
    unsigned        line, variable;
    unsigned char   ch, quote, *start;
    mcpctl_file_t  *file;

    file = rd->file;
    line = file->line;
    quote = 0;
    variable = 0;

    if (*file->pos == '"' || *file->pos == '\'') {
        quote = *file->pos++;
    }

    /* nginx has to have what ends the word in the same buffer, and behind a
     * quote one more */

    for (start = file->pos; file->pos < file->last; /* void */ ) {

        if (file->pos - start > MCPCTL_WORD - (quote != 0)) {
            file->line = line;
            return mcpctl_read_error(rd, "too long parameter%s", quote
                                     ? ", probably missing terminating quote"
                                     : "");
        }

        ch = *file->pos;

        if (ch == '\\') {
            file->pos++;
            variable = 0;

            if (file->pos < file->last) {
                (void) mcpctl_read_char(file);
            }

            continue;
        }

        if (ch == '{' && variable) {
            file->pos++;
            continue;
        }

        variable = (ch == '$');

        if (quote ? ch == quote
                  : mcpctl_space(ch) || ch == ';' || ch == '{')
        {
            if (mcpctl_read_add(rd, start, file->pos) != MCP_OK) {
                return MCP_ERROR;
            }

            file->pos += (quote != 0);
            return MCP_OK;
        }

        (void) mcpctl_read_char(file);
    }

    return mcpctl_read_error(rd, "unexpected end of file, expecting \";\" or "
                             "\"}\"");
}


/* A word as written -> what it says. */
static int
mcpctl_read_add(mcpctl_reader_t *rd, const unsigned char *p,
    const unsigned char *last)
{
    mcp_str_t      *words, *word;
    unsigned char  *dst;

    static const char  escapes[] = "\"\"''\\\\t\tr\rn\n";
    const char        *e;

    if (rd->nwords == rd->size) {

        if (rd->size == MCPCTL_WORDS) {
            return mcpctl_read_error(rd, "more than %d words in one line",
                                     MCPCTL_WORDS);
        }

        rd->size = rd->size ? rd->size * 2 : 16;
        words = mcpctl_alloc(rd->ctl, rd->size * sizeof(mcp_str_t));

        if (rd->nwords) {
            memcpy(words, rd->words, rd->nwords * sizeof(mcp_str_t));
        }

        rd->words = words;
    }

    word = &rd->words[rd->nwords++];
    word->data = mcpctl_alloc(rd->ctl, (size_t) (last - p) + 1);
    dst = word->data;

    while (p < last) {

        if (*p == '\\' && last - p > 1) {

            for (e = escapes; *e && (unsigned char) *e != p[1]; e += 2) {
                /* void */
            }

            if (*e) {
                *dst++ = (unsigned char) e[1];
                p += 2;
                continue;
            }
        }

        *dst++ = *p++;
    }

    word->len = (size_t) (dst - word->data);

    if (memchr(word->data, '\0', word->len)) {
        return mcpctl_read_error(rd, "a NUL in the configuration");
    }

    return MCP_OK;
}


int
mcpctl_read_skip(mcpctl_reader_t *rd)
{
    unsigned       depth;
    mcp_str_t     *name;
    mcpctl_read_e  what;

    static const char  lua[] = "_by_lua_block";

    depth = 0;
    what = MCPCTL_READ_BLOCK;

    for ( ;; ) {

        switch (what) {

        case MCPCTL_READ_ERROR:
            return MCP_ERROR;

        case MCPCTL_READ_EOF:
            return mcpctl_read_error(rd, "unexpected end of file, expecting "
                                     "\"}\"");

        case MCPCTL_READ_END:
            depth--;
            break;

        case MCPCTL_READ_BLOCK:
            name = &rd->words[0];

            if (name->len >= sizeof(lua) - 1
                && memcmp(name->data + name->len - (sizeof(lua) - 1), lua,
                          sizeof(lua) - 1)
                   == 0)
            {
                if (mcpctl_read_lua(rd) != MCP_OK) {
                    return MCP_ERROR;
                }

                break;
            }

            if (++depth == MCPCTL_DEPTH) {
                return mcpctl_read_error(rd, "blocks too deep");
            }

            break;

        default: /* MCPCTL_READ_LINE */
            break;
        }

        if (depth == 0) {
            return MCP_OK;
        }

        what = mcpctl_read_next(rd);
    }
}


/* A block of Lua up to its "}": braces count but in strings and comments. */
static int
mcpctl_read_lua(mcpctl_reader_t *rd)
{
    unsigned        depth;
    unsigned char   ch;
    mcpctl_file_t  *file;

    file = rd->file;
    depth = 1;

    while (file->pos < file->last) {
        ch = mcpctl_read_char(file);

        switch (ch) {

        case '{':
            depth++;
            break;

        case '}':
            if (--depth == 0) {
                return MCP_OK;
            }

            break;

        case '"':
        case '\'':
            mcpctl_lua_string(file, ch);
            break;

        case '[':
            (void) mcpctl_lua_bracket(file);
            break;

        case '-':
            if (file->pos == file->last || *file->pos != '-') {
                break;
            }

            file->pos++;

            if (file->pos < file->last && *file->pos == '[') {
                file->pos++;

                if (mcpctl_lua_bracket(file) == MCP_OK) {
                    break;
                }
            }

            while (file->pos < file->last && *file->pos != '\n') {
                file->pos++;
            }

            break;
        }
    }

    return mcpctl_read_error(rd, "unexpected end of file in a block of Lua");
}


/* Behind a "[": "[text]" with any number of "=" between the brackets, if it is
 * that; MCP_DECLINED: it is not, nothing was taken. */
static int
mcpctl_lua_bracket(mcpctl_file_t *file)
{
    size_t          n, i;
    unsigned char  *p;

    for (p = file->pos; p < file->last && *p == '='; p++) { /* void */ }

    if (p == file->last || *p != '[') {
        return MCP_DECLINED;
    }

    n = (size_t) (p - file->pos);
    file->pos = p + 1;

    while (file->pos < file->last) {

        if (mcpctl_read_char(file) != ']') {
            continue;
        }

        for (i = 0; i < n && file->pos + i < file->last
                    && file->pos[i] == '='; i++)
        {
            /* void */
        }

        if (i == n && file->pos + i < file->last && file->pos[i] == ']') {
            file->pos += n + 1;
            break;
        }
    }

    return MCP_OK;
}


static void
mcpctl_lua_string(mcpctl_file_t *file, unsigned char quote)
{
    unsigned char  ch;

    while (file->pos < file->last) {
        ch = mcpctl_read_char(file);

        if (ch == quote) {
            return;
        }

        if (ch == '\\' && file->pos < file->last) {
            (void) mcpctl_read_char(file);
        }
    }
}


int
mcpctl_read_include(mcpctl_reader_t *rd, const mcp_str_t *pattern,
    int (*each)(void *ctx), void *ctx)
{
    int        rc;
    size_t     i;
    glob_t     found;
    mcp_str_t  name, path;

    name = mcpctl_full_name(rd->ctl, &rd->conf->dir, pattern);

    if (strpbrk((char *) name.data, "*?[") == NULL) {

        if (mcpctl_read_open(rd, &name) != MCP_OK) {
            return MCP_ERROR;
        }

        rc = each(ctx);
        mcpctl_read_close(rd);

        return rc;
    }

    rc = glob((char *) name.data, 0, NULL, &found);

    if (rc == GLOB_NOMATCH) {
        return MCP_OK;
    }

    if (rc != 0) {
        return mcpctl_read_error(rd, "glob() \"%s\" failed", name.data);
    }

    rc = MCP_OK;

    for (i = 0; i < found.gl_pathc && rc == MCP_OK; i++) {
        path = mcpctl_cstr(found.gl_pathv[i]);
        rc = mcpctl_read_open(rd, &path);

        if (rc == MCP_OK) {
            rc = each(ctx);
            mcpctl_read_close(rd);
        }
    }

    globfree(&found);

    return rc;
}


mcpctl_place_t
mcpctl_read_place(const mcpctl_reader_t *rd)
{
    mcpctl_place_t  place;

    place.file = rd->file->name;
    place.line = rd->file->line;

    return place;
}


int
mcpctl_read_error(mcpctl_reader_t *rd, const char *fmt, ...)
{
    char            text[1024];
    va_list         args;
    mcpctl_place_t  place;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    if (rd->file == NULL) {
        return mcpctl_error(rd->ctl, MCP_ERROR, "%s", text);
    }

    place = mcpctl_read_place(rd);

    return mcpctl_place_error(rd->ctl, &place, "%s", text);
}


int
mcpctl_place_error(mcpctl_t *ctl, const mcpctl_place_t *place,
    const char *fmt, ...)
{
    char     text[1024];
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    return mcpctl_error(ctl, MCP_ERROR, "%s in %s:%u", text,
                        (char *) place->file.data, place->line);
}


mcp_str_t
mcpctl_full_name(mcpctl_t *ctl, const mcp_str_t *dir, const mcp_str_t *name)
{
    mcp_str_t  full;

    if (name->len && name->data[0] == '/') {
        return *name;
    }

    full.len = dir->len + name->len;
    full.data = mcpctl_alloc(ctl, full.len + 1);

    memcpy(full.data, dir->data, dir->len);
    memcpy(full.data + dir->len, name->data, name->len);

    return full;
}
