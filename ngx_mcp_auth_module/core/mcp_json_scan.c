/*
 * The strict, resumable JSON scanner.
 *
 * Between tokens a table of state by byte class says what may come next;
 * inside a token (string, number, literal) the state is in s->sub, so that the
 * scan can stop and go on at any byte.  A token that is not split runs without
 * a look at that state: strings at 16 bytes a step, and what is skipped in
 * mcp_json_skip.c.
 *
 * The text of a token is [run, p) of the current piece as long as that is
 * possible; an escape, or the end of the piece, moves it to the scratch buffer
 * ("spills" it).  What is not wanted is checked and never copied.
 *
 * Always true between two calls: s->offset counts the bytes consumed, no
 * pointer into a piece is kept, s->depth bits of s->stack are valid.
 *
 * Called by mcp_message.c and mcp_list_filter.c.  Owns nothing, frees nothing.
 */


#include "mcp_json_private.h"


enum {
    DO_FAIL = 0,
    DO_SPACE,
    DO_STRING,
    DO_KEY,
    DO_NUMBER,
    DO_LITERAL,
    DO_OBJECT,
    DO_ARRAY,
    DO_END,
    DO_COLON,
    DO_NEXT_KEY,
    DO_NEXT_ITEM
};

/* s->sub in ST_STRING */
enum {
    STR_PLAIN = 0,
    STR_ESCAPE,                         /* after '\' */
    STR_HEX,                            /* s->left digits to come */
    STR_LOW_BACKSLASH,                  /* after a high surrogate */
    STR_LOW_U,
    STR_UTF8                            /* s->left continuation bytes */
};

/* s->sub in ST_NUMBER; what the last byte was */
enum {
    NUM_MINUS = 0,
    NUM_ZERO,
    NUM_INT,
    NUM_DOT,
    NUM_FRAC,
    NUM_E,
    NUM_ESIGN,
    NUM_EXP,
    NUM_END,                            /* not a byte of the number */
    NUM_BAD
};

/* no event yet; not for the caller */
#define JSON_MORE  1


static inline int json_bracket(mcp_json_scan_t *s, unsigned char ch,
    mcp_json_event_t *ev);
static int json_next(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, unsigned eof, mcp_json_event_t *ev)
    __attribute__((__noinline__));
static inline int json_step(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char **run, uint64_t base, mcp_json_event_t *ev);
static inline int json_token(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, const unsigned char *run, uint64_t base,
    mcp_json_event_t *ev);
static int json_token_done(mcp_json_scan_t *s, mcp_json_type_e type,
    const unsigned char *run, const unsigned char *end, uint64_t offset,
    mcp_json_event_t *ev);
static inline void json_whole_string(mcp_json_scan_t *s,
    const unsigned char *start, const unsigned char *end,
    mcp_json_event_t *ev);
static inline const unsigned char *json_string_run(const unsigned char *p,
    const unsigned char *last);
static inline int json_string(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, const unsigned char **run);
static int json_string_odd(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, const unsigned char **run);
static int json_string_byte(mcp_json_scan_t *s, unsigned char ch);
static int json_escape(mcp_json_scan_t *s, unsigned char ch);
static int json_hex(mcp_json_scan_t *s, unsigned char ch);
static int json_utf8_lead(mcp_json_scan_t *s, unsigned char ch);
static inline int json_number(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last);
static inline int json_literal(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last);
static inline int json_push(mcp_json_scan_t *s, unsigned object);
static inline void json_after(mcp_json_scan_t *s);
static inline void json_begin(mcp_json_scan_t *s, unsigned state, unsigned sub,
    unsigned want);
static void json_spill(mcp_json_scan_t *s, const unsigned char *run,
    const unsigned char *end);
static void json_put_code(mcp_json_scan_t *s, uint32_t code);
static int json_eof(mcp_json_scan_t *s, mcp_json_event_t *ev);
static int json_fail(mcp_json_scan_t *s, const char *error);


const unsigned char  mcp_json_class[256] = {
    ['\t'] = CL_SPACE, ['\n'] = CL_SPACE, ['\r'] = CL_SPACE, [' '] = CL_SPACE,
    ['"'] = CL_QUOTE,
    ['-'] = CL_NUMBER, ['0'] = CL_NUMBER, ['1'] = CL_NUMBER, ['2'] = CL_NUMBER,
    ['3'] = CL_NUMBER, ['4'] = CL_NUMBER, ['5'] = CL_NUMBER, ['6'] = CL_NUMBER,
    ['7'] = CL_NUMBER, ['8'] = CL_NUMBER, ['9'] = CL_NUMBER,
    ['t'] = CL_LITERAL, ['f'] = CL_LITERAL, ['n'] = CL_LITERAL,
    ['{'] = CL_LBRACE, ['}'] = CL_RBRACE,
    ['['] = CL_LBRACKET, [']'] = CL_RBRACKET,
    [':'] = CL_COLON, [','] = CL_COMMA
};


/* digits from 1, zero, dot, e, signs; all else is 0 */
static const unsigned char  json_number_class[256] = {
    ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1,
    ['7'] = 1, ['8'] = 1, ['9'] = 1, ['0'] = 2, ['.'] = 3, ['e'] = 4,
    ['E'] = 4, ['+'] = 5, ['-'] = 5
};

static const unsigned char  json_number_next[NUM_END][6] = {
    [NUM_MINUS] = { NUM_BAD, NUM_INT, NUM_ZERO, NUM_BAD, NUM_BAD, NUM_BAD },
    [NUM_ZERO] = { NUM_END, NUM_BAD, NUM_BAD, NUM_DOT, NUM_E, NUM_END },
    [NUM_INT] = { NUM_END, NUM_INT, NUM_INT, NUM_DOT, NUM_E, NUM_END },
    [NUM_DOT] = { NUM_BAD, NUM_FRAC, NUM_FRAC, NUM_BAD, NUM_BAD, NUM_BAD },
    [NUM_FRAC] = { NUM_END, NUM_FRAC, NUM_FRAC, NUM_END, NUM_E, NUM_END },
    [NUM_E] = { NUM_BAD, NUM_EXP, NUM_EXP, NUM_BAD, NUM_BAD, NUM_ESIGN },
    [NUM_ESIGN] = { NUM_BAD, NUM_EXP, NUM_EXP, NUM_BAD, NUM_BAD, NUM_BAD },
    [NUM_EXP] = { NUM_END, NUM_EXP, NUM_EXP, NUM_END, NUM_END, NUM_END }
};


static const unsigned char  json_escapes[256] = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f',
    ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'
};


#define JSON_VALUES                                                           \
    [CL_SPACE] = DO_SPACE, [CL_QUOTE] = DO_STRING, [CL_NUMBER] = DO_NUMBER,   \
    [CL_LITERAL] = DO_LITERAL, [CL_LBRACE] = DO_OBJECT,                       \
    [CL_LBRACKET] = DO_ARRAY

static const unsigned char  json_action[ST_STRING][CL_MAX] = {
    [ST_VALUE] = { JSON_VALUES },
    [ST_VALUE_OR_END] = { JSON_VALUES, [CL_RBRACKET] = DO_END },
    [ST_KEY] = { [CL_SPACE] = DO_SPACE, [CL_QUOTE] = DO_KEY },
    [ST_KEY_OR_END] = { [CL_SPACE] = DO_SPACE, [CL_QUOTE] = DO_KEY,
                        [CL_RBRACE] = DO_END },
    [ST_COLON] = { [CL_SPACE] = DO_SPACE, [CL_COLON] = DO_COLON },
    [ST_AFTER_MEMBER] = { [CL_SPACE] = DO_SPACE, [CL_COMMA] = DO_NEXT_KEY,
                          [CL_RBRACE] = DO_END },
    [ST_AFTER_ITEM] = { [CL_SPACE] = DO_SPACE, [CL_COMMA] = DO_NEXT_ITEM,
                        [CL_RBRACKET] = DO_END },
    [ST_FINISHED] = { [CL_SPACE] = DO_SPACE }
};


static const char *const  json_expected[ST_STRING] = {
    [ST_VALUE] = "value expected",
    [ST_VALUE_OR_END] = "value or ']' expected",
    [ST_KEY] = "member name expected",
    [ST_KEY_OR_END] = "member name or '}' expected",
    [ST_COLON] = "':' expected",
    [ST_AFTER_MEMBER] = "',' or '}' expected",
    [ST_AFTER_ITEM] = "',' or ']' expected",
    [ST_FINISHED] = "bytes after the document"
};


/* s->sub in ST_LITERAL: the literal's row * 8 + bytes seen */
static const struct {
    char             text[8];
    mcp_json_type_e  type;
} json_literals[] = {
    { "true", MCP_JSON_TRUE },
    { "false", MCP_JSON_FALSE },
    { "null", MCP_JSON_NULL }
};


void
mcp_json_init(mcp_json_scan_t *s, unsigned max_depth, unsigned char *scratch,
    size_t scratch_size)
{
    memset(s, 0, sizeof(mcp_json_scan_t));

    s->max_depth = max_depth < MCP_JSON_MAX_DEPTH ? max_depth
                                                  : MCP_JSON_MAX_DEPTH;
    s->scratch = scratch;
    s->scratch_size = scratch_size;
}


void
mcp_json_skip(mcp_json_scan_t *s)
{
    if (s->skip == 0) {
        s->skip = s->depth;
    }
}


/*
 * Strings, nearly always whole, and brackets, with the comma or the colon
 * before them, are most of what comes: that is done here.
 */
int
mcp_json_next(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, unsigned eof, mcp_json_event_t *ev)
{
    unsigned              state;
    const unsigned char  *p, *end;

    p = *pos;

    if (s->skip || p == last) {
        return json_next(s, pos, last, eof, ev);
    }

    state = s->state;

    if (*p == (state == ST_COLON ? ':' : ',')
        && state >= ST_COLON && state <= ST_AFTER_ITEM)
    {
        s->state = (state == ST_AFTER_MEMBER) ? ST_KEY : ST_VALUE;

        do {
            p++;
        } while (p < last && *p == ' ');

        s->offset += (uint64_t) (p - *pos);
        *pos = p;
    }

    if (p < last && *p == '"' && s->state < ST_COLON) {
        end = json_string_run(p + 1, last);

        if (end) {
            *pos = end + 1;
            json_whole_string(s, p, end, ev);
            return MCP_OK;
        }

    } else if (p < last && json_bracket(s, *p, ev)) {
        *pos = p + 1;
        return MCP_OK;
    }

    return json_next(s, pos, last, eof, ev);
}


/* 0 when the byte is no bracket that may stand here. */
static inline int
json_bracket(mcp_json_scan_t *s, unsigned char ch, mcp_json_event_t *ev)
{
    switch (ch) {

    case '{':
    case '[':
        if (s->state > ST_VALUE_OR_END || s->depth >= s->max_depth) {
            return 0;
        }

        ev->type = ch == '{' ? MCP_JSON_OBJECT : MCP_JSON_ARRAY;
        ev->depth = s->depth;
        (void) json_push(s, ch == '{');
        break;

    case '}':
        if (s->state != ST_AFTER_MEMBER && s->state != ST_KEY_OR_END) {
            return 0;
        }

        ev->type = MCP_JSON_OBJECT_END;
        ev->depth = --s->depth;
        json_after(s);
        break;

    case ']':
        if (s->state != ST_AFTER_ITEM && s->state != ST_VALUE_OR_END) {
            return 0;
        }

        ev->type = MCP_JSON_ARRAY_END;
        ev->depth = --s->depth;
        json_after(s);
        break;

    default:
        return 0;
    }

    ev->start = s->offset++;
    ev->end = s->offset;
    mcp_str_null(&ev->text);
    ev->captured = 0;
    ev->truncated = 0;
    ev->escaped = 0;

    return 1;
}


/* Any token. */
static int
json_next(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, unsigned eof, mcp_json_event_t *ev)
{
    int                   rc;
    uint64_t              base;
    const unsigned char  *p, *run;

    p = *pos;
    run = p;
    base = s->offset - (uint64_t) (uintptr_t) p;

    do {
        if (s->state >= ST_STRING) {
            rc = json_token(s, &p, last, run, base, ev);
            continue;
        }

        if (s->skip) {
            p = mcp_json_skip_run(s, p, last);
        }

        rc = (p == last) ? MCP_AGAIN : json_step(s, &p, &run, base, ev);

    } while (rc == JSON_MORE);

    s->offset = base + (uint64_t) (uintptr_t) p;
    *pos = p;

    if (rc == MCP_AGAIN && eof) {
        return json_eof(s, ev);
    }

    return rc;
}


/*
 * One byte between tokens, or the first of a token.
 */
static inline int
json_step(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char **run, uint64_t base, mcp_json_event_t *ev)
{
    unsigned              action, want;
    const unsigned char  *p;

    p = *pos;
    want = s->capture && s->skip == 0;
    action = json_action[s->state][mcp_json_class[*p]];

    if (action == DO_FAIL) {
        return json_fail(s, json_expected[s->state]);
    }

    s->token = base + (uint64_t) (uintptr_t) p;
    *run = p;
    *pos = p + 1;

    switch (action) {

    case DO_SPACE:
        return JSON_MORE;

    case DO_NEXT_KEY:
        s->state = ST_KEY;
        return JSON_MORE;

    case DO_COLON:
    case DO_NEXT_ITEM:
        s->state = ST_VALUE;
        return JSON_MORE;

    case DO_KEY:
        json_begin(s, ST_STRING, STR_PLAIN, s->skip == 0);
        s->in_key = 1;
        *run = p + 1;
        return JSON_MORE;

    case DO_STRING:
        json_begin(s, ST_STRING, STR_PLAIN, want);
        *run = p + 1;
        return JSON_MORE;

    case DO_NUMBER:
        json_begin(s, ST_NUMBER, *p == '-' ? NUM_MINUS
                                 : *p == '0' ? NUM_ZERO : NUM_INT, want);
        return JSON_MORE;

    case DO_LITERAL:
        json_begin(s, ST_LITERAL, *p == 't' ? 1 : *p == 'f' ? 9 : 17, 0);
        return JSON_MORE;

    case DO_END:
        s->depth--;
        ev->type = *p == '}' ? MCP_JSON_OBJECT_END : MCP_JSON_ARRAY_END;
        ev->depth = s->depth;
        json_after(s);

        if (s->skip > s->depth) {
            s->skip = 0;
        }

        break;

    default: /* DO_OBJECT, DO_ARRAY */
        ev->type = action == DO_OBJECT ? MCP_JSON_OBJECT : MCP_JSON_ARRAY;
        ev->depth = s->depth;

        if (json_push(s, action == DO_OBJECT) != MCP_OK) {
            *pos = p;
            return MCP_ERROR;
        }
    }

    if (s->skip) {
        return JSON_MORE;
    }

    ev->start = s->token;
    ev->end = s->token + 1;
    mcp_str_null(&ev->text);
    ev->captured = 0;
    ev->truncated = 0;
    ev->escaped = 0;

    return MCP_OK;
}


/*
 * The rest of the token that s->state names.
 */
static inline int
json_token(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, const unsigned char *run, uint64_t base,
    mcp_json_event_t *ev)
{
    int                   rc;
    mcp_json_type_e       type;
    const unsigned char  *end;

    switch (s->state) {

    case ST_STRING:
        rc = json_string(s, pos, last, &run);
        type = s->in_key ? MCP_JSON_KEY : MCP_JSON_STRING;
        end = rc == MCP_OK ? *pos - 1 : *pos;
        break;

    case ST_NUMBER:
        rc = json_number(s, pos, last);
        type = MCP_JSON_NUMBER;
        end = *pos;
        break;

    case ST_LITERAL:
        rc = json_literal(s, pos, last);
        type = json_literals[s->sub >> 3].type;
        end = *pos;
        break;

    default:
        return MCP_ERROR;
    }

    if (rc == MCP_OK) {
        json_after(s);

        if (s->skip) {
            return JSON_MORE;
        }

        return json_token_done(s, type, run, end,
                               base + (uint64_t) (uintptr_t) *pos, ev);
    }

    if (rc == MCP_AGAIN && s->want && end > run) {
        json_spill(s, run, end);
    }

    return rc;
}


/*
 * The string from the quote at start, where s->offset is, to that at end.  The
 * state is left as if it had been read byte by byte.
 */
static inline void
json_whole_string(mcp_json_scan_t *s, const unsigned char *start,
    const unsigned char *end, mcp_json_event_t *ev)
{
    unsigned  want;

    ev->depth = s->depth;
    ev->start = s->offset;
    s->offset += (uint64_t) (end - start) + 1;
    ev->end = s->offset;

    if (s->state == ST_KEY || s->state == ST_KEY_OR_END) {
        s->state = ST_COLON;
        ev->type = MCP_JSON_KEY;
        want = 1;

    } else {
        json_after(s);
        ev->type = MCP_JSON_STRING;
        want = s->capture;
    }

    ev->text.data = want ? (unsigned char *) start + 1 : NULL;
    ev->text.len = want ? (size_t) (end - start) - 1 : 0;
    ev->captured = want;
    ev->truncated = 0;
    ev->escaped = 0;
}


static int
json_token_done(mcp_json_scan_t *s, mcp_json_type_e type,
    const unsigned char *run, const unsigned char *end, uint64_t offset,
    mcp_json_event_t *ev)
{
    ev->type = type;
    ev->depth = s->depth;
    ev->start = s->token;
    ev->end = offset;
    ev->captured = s->want;
    ev->escaped = s->escaped;
    mcp_str_null(&ev->text);

    if (s->want) {
        if (s->spilled) {
            json_spill(s, run, end);
            ev->text.data = s->scratch;
            ev->text.len = s->scratch_len;

        } else {
            ev->text.data = (unsigned char *) run;
            ev->text.len = (size_t) (end - run);
        }
    }

    ev->truncated = s->truncated;

    return MCP_OK;
}


/*
 * The closing quote of a string that is whole, right and without escapes, or
 * NULL: not seen here, for whatever reason.
 */
static inline const unsigned char *
json_string_run(const unsigned char *p, const unsigned char *last)
{
    const unsigned char  *next;

    for ( ;; ) {
        p = json_plain(p, last);

        if (p == last) {
            return NULL;
        }

        if (*p == '"') {
            return p;
        }

        next = json_utf8_run(p, last);

        if (next == p) {
            return NULL;
        }

        p = next;
    }
}


/*
 * A string's bytes up to and with its closing quote.  *run is moved past what
 * has spilled.
 */
static inline int
json_string(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, const unsigned char **run)
{
    if (s->sub == STR_PLAIN) {
        *pos = json_plain(*pos, last);

        if (*pos == last) {
            return MCP_AGAIN;
        }

        if (**pos == '"') {
            (*pos)++;
            return MCP_OK;
        }
    }

    return json_string_odd(s, pos, last, run);
}


/*
 * The same for a string with escapes or bytes out of ASCII, or that is being
 * continued in the middle of such.
 */
static int
json_string_odd(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, const unsigned char **run)
{
    int                   rc;
    unsigned              raw;
    const unsigned char  *p, *next;

    p = *pos;
    rc = MCP_AGAIN;

    while (p < last) {

        if (s->sub == STR_PLAIN) {
            p = json_plain(p, last);

            if (p == last) {
                break;
            }

            if (*p >= 0xc2) {
                next = json_utf8_run(p, last);

                if (next > p) {
                    p = next;
                    continue;
                }
            }

            if (*p == '"') {
                p++;
                rc = MCP_OK;
                break;
            }

            if (*p == '\\') {
                if (s->want && p > *run) {
                    json_spill(s, *run, p);
                }

                s->escaped = 1;
                s->sub = STR_ESCAPE;
                *run = ++p;
                continue;
            }
        }

        raw = (s->sub == STR_PLAIN || s->sub == STR_UTF8);

        if (json_string_byte(s, *p) != MCP_OK) {
            rc = MCP_ERROR;
            break;
        }

        p++;

        if (!raw) {
            *run = p;
        }
    }

    *pos = p;

    return rc;
}


/*
 * One byte that json_string_odd() cannot take in a run.
 */
static int
json_string_byte(mcp_json_scan_t *s, unsigned char ch)
{
    switch (s->sub) {

    case STR_PLAIN:
        return json_utf8_lead(s, ch);

    case STR_ESCAPE:
        return json_escape(s, ch);

    case STR_HEX:
        return json_hex(s, ch);

    case STR_LOW_BACKSLASH:
        if (ch != '\\') {
            return json_fail(s, "lone surrogate");
        }

        s->sub = STR_LOW_U;
        return MCP_OK;

    case STR_LOW_U:
        if (ch != 'u') {
            return json_fail(s, "lone surrogate");
        }

        return json_escape(s, ch);

    default: /* STR_UTF8: bounds of this byte are in s->code */
        if (ch < (s->code >> 8) || ch > (s->code & 0xff)) {
            return json_fail(s, "invalid UTF-8");
        }

        s->code = 0x80bf;

        if (--s->left == 0) {
            s->sub = STR_PLAIN;
        }

        return MCP_OK;
    }
}


static int
json_escape(mcp_json_scan_t *s, unsigned char ch)
{
    unsigned char  code;

    if (ch == 'u') {
        s->sub = STR_HEX;
        s->left = 4;
        s->code = 0;
        return MCP_OK;
    }

    code = json_escapes[ch];

    if (code == 0) {
        return json_fail(s, "invalid escape");
    }

    if (s->want) {
        json_spill(s, &code, &code + 1);
    }

    s->sub = STR_PLAIN;

    return MCP_OK;
}


static int
json_hex(mcp_json_scan_t *s, unsigned char ch)
{
    int  digit;

    digit = mcp_hex_digit(ch);

    if (digit < 0) {
        return json_fail(s, "invalid \\u escape");
    }

    s->code = s->code << 4 | (unsigned) digit;

    if (--s->left) {
        return MCP_OK;
    }

    if (s->high) {
        if (s->code < 0xdc00 || s->code > 0xdfff) {
            return json_fail(s, "lone surrogate");
        }

        s->code = 0x10000 + ((s->high - 0xd800) << 10) + (s->code - 0xdc00);
        s->high = 0;

    } else if (s->code >= 0xdc00 && s->code <= 0xdfff) {
        return json_fail(s, "lone surrogate");

    } else if (s->code >= 0xd800 && s->code <= 0xdbff) {
        s->high = s->code;
        s->sub = STR_LOW_BACKSLASH;
        return MCP_OK;
    }

    if (s->want) {
        json_put_code(s, s->code);
    }

    s->sub = STR_PLAIN;

    return MCP_OK;
}


/*
 * RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
static int
json_utf8_lead(mcp_json_scan_t *s, unsigned char ch)
{
    if (ch < 0x20) {
        return json_fail(s, "control character in a string");
    }

    s->code = 0x80bf;

    if (ch >= 0xc2 && ch <= 0xdf) {
        s->left = 1;

    } else if (ch >= 0xe0 && ch <= 0xef) {
        s->left = 2;

        if (ch == 0xe0) {
            s->code = 0xa0bf;

        } else if (ch == 0xed) {
            s->code = 0x809f;
        }

    } else if (ch >= 0xf0 && ch <= 0xf4) {
        s->left = 3;

        if (ch == 0xf0) {
            s->code = 0x90bf;

        } else if (ch == 0xf4) {
            s->code = 0x808f;
        }

    } else {
        return json_fail(s, "invalid UTF-8");
    }

    s->sub = STR_UTF8;

    return MCP_OK;
}


/*
 * Up to the first byte that does not belong to the number.
 */
static inline int
json_number(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last)
{
    unsigned              next;
    const unsigned char  *p;

    for (p = *pos; p < last; p++) {

        next = json_number_next[s->sub][json_number_class[*p]];

        if (next >= NUM_END) {
            *pos = p;
            return next == NUM_END ? MCP_OK : json_fail(s, "invalid number");
        }

        s->sub = next;
    }

    *pos = p;

    return MCP_AGAIN;
}


static inline int
json_literal(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last)
{
    const char           *text;
    const unsigned char  *p;

    text = json_literals[s->sub >> 3].text;

    for (p = *pos; p < last; p++) {

        if (*p != (unsigned char) text[s->sub & 7]) {
            *pos = p;
            return json_fail(s, "invalid literal");
        }

        s->sub++;

        if (text[s->sub & 7] == '\0') {
            *pos = p + 1;
            return MCP_OK;
        }
    }

    *pos = p;

    return MCP_AGAIN;
}


static inline int
json_push(mcp_json_scan_t *s, unsigned object)
{
    uint64_t  bit;

    if (s->depth >= s->max_depth) {
        s->too_deep = 1;
        return json_fail(s, "nesting too deep");
    }

    bit = (uint64_t) 1 << (s->depth & 63);

    if (object) {
        s->stack[s->depth >> 6] |= bit;
        s->state = ST_KEY_OR_END;

    } else {
        s->stack[s->depth >> 6] &= ~bit;
        s->state = ST_VALUE_OR_END;
    }

    s->depth++;

    return MCP_OK;
}


/* What comes after a key; after a value that is for its container to say. */
static inline void
json_after(mcp_json_scan_t *s)
{
    unsigned  top;

    if (s->in_key) {
        s->in_key = 0;
        s->state = ST_COLON;
        return;
    }

    if (s->depth == 0) {
        s->state = ST_FINISHED;
        return;
    }

    top = s->depth - 1;
    s->state = (s->stack[top >> 6] >> (top & 63) & 1) ? ST_AFTER_MEMBER
                                                      : ST_AFTER_ITEM;
}


static inline void
json_begin(mcp_json_scan_t *s, unsigned state, unsigned sub, unsigned want)
{
    s->state = state;
    s->sub = sub;
    s->want = want;
    s->escaped = 0;
    s->spilled = 0;
    s->truncated = 0;
    s->scratch_len = 0;
}


static void
json_spill(mcp_json_scan_t *s, const unsigned char *run,
    const unsigned char *end)
{
    size_t  n, room;

    n = (size_t) (end - run);
    room = s->scratch_size - s->scratch_len;

    if (n > room) {
        n = room;
        s->truncated = 1;
    }

    if (n) {
        memcpy(s->scratch + s->scratch_len, run, n);
        s->scratch_len += n;
    }

    s->spilled = 1;
}


static void
json_put_code(mcp_json_scan_t *s, uint32_t code)
{
    size_t         n;
    unsigned char  buf[4];

    if (code < 0x80) {
        buf[0] = (unsigned char) code;
        n = 1;

    } else if (code < 0x800) {
        buf[0] = (unsigned char) (0xc0 | code >> 6);
        buf[1] = (unsigned char) (0x80 | (code & 0x3f));
        n = 2;

    } else if (code < 0x10000) {
        buf[0] = (unsigned char) (0xe0 | code >> 12);
        buf[1] = (unsigned char) (0x80 | (code >> 6 & 0x3f));
        buf[2] = (unsigned char) (0x80 | (code & 0x3f));
        n = 3;

    } else {
        buf[0] = (unsigned char) (0xf0 | code >> 18);
        buf[1] = (unsigned char) (0x80 | (code >> 12 & 0x3f));
        buf[2] = (unsigned char) (0x80 | (code >> 6 & 0x3f));
        buf[3] = (unsigned char) (0x80 | (code & 0x3f));
        n = 4;
    }

    json_spill(s, buf, buf + n);
}


/*
 * All input is consumed and no more will come.  Only a number can still end
 * here; its text, when wanted, is in the scratch buffer already.
 */
static int
json_eof(mcp_json_scan_t *s, mcp_json_event_t *ev)
{
    if (s->state == ST_NUMBER && s->depth == 0
        && (s->sub == NUM_ZERO || s->sub == NUM_INT || s->sub == NUM_FRAC
            || s->sub == NUM_EXP))
    {
        s->state = ST_FINISHED;
        return json_token_done(s, MCP_JSON_NUMBER, s->scratch, s->scratch,
                               s->offset, ev);
    }

    if (s->state != ST_FINISHED) {
        return json_fail(s, "unexpected end of the document");
    }

    memset(ev, 0, sizeof(mcp_json_event_t));
    ev->type = MCP_JSON_DONE;
    ev->start = s->offset;
    ev->end = s->offset;

    return MCP_OK;
}


static int
json_fail(mcp_json_scan_t *s, const char *error)
{
    s->state = ST_FAILED;
    s->error = error;

    return MCP_ERROR;
}
