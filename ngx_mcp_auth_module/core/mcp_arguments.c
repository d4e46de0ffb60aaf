/*
 * The arguments of a call: their names for the audit, and the values that the
 * compiled pointers lead to.
 *
 * The pointers walk along with the scan.  For each open container that at
 * least one of them enters there is a frame with the set of those pointers, a
 * bit each; a container that none enters is skipped by the scanner.
 *
 * A value is MCP_VALUE_UNCLEAR, whatever else was found, when a key on its way
 * came twice or differs from the pointer's token only in case, or a text stands
 * in place of a container: two readers of the same bytes could then see
 * different arguments.
 *
 * Called by mcp_message.c; what is kept is in the message's arena.
 */


#include "mcp_message_parse.h"


/* members of params.arguments have this depth */
#define ARG_DEPTH  3


static int arg_key(mcp_message_t *m, const mcp_json_event_t *ev);
static uint64_t arg_match_key(mcp_message_parse_t *p, unsigned level,
    const mcp_json_event_t *ev);
static uint64_t arg_match_index(mcp_message_parse_t *p, unsigned level);
static int arg_value(mcp_message_t *m, const mcp_json_event_t *ev,
    unsigned level);
static void arg_enter(mcp_message_parse_t *p, unsigned level, uint64_t mask,
    unsigned array);
static int pointer_token(mcp_str_t *token, unsigned char **out,
    const unsigned char **pos, const unsigned char *last);


void
mcp_arguments_begin(mcp_message_t *m, const mcp_json_event_t *ev)
{
    uint64_t              mask;
    mcp_message_parse_t  *p;

    p = m->parse;
    mask = p->conf->npointers == 64 ? UINT64_MAX
                                    : ((uint64_t) 1 << p->conf->npointers) - 1;
    m->args_start = ev->start;
    m->arg_keys = p->arg_keys;
    p->in_args = 1;

    arg_enter(p, 0, mask, 0);
}


int
mcp_arguments_event(mcp_message_t *m, const mcp_json_event_t *ev)
{
    unsigned              level;
    mcp_message_parse_t  *p;

    p = m->parse;

    if (ev->depth < ARG_DEPTH) {
        m->args_end = ev->end;
        p->in_args = 0;
        p->scan.capture = 0;
        return MCP_OK;
    }

    level = ev->depth - ARG_DEPTH;

    switch (ev->type) {

    case MCP_JSON_KEY:
        return arg_key(m, ev);

    case MCP_JSON_OBJECT_END:
    case MCP_JSON_ARRAY_END:

        /* back in the container around; an element of it may come next */

        p->hit = 0;
        p->scan.capture = (p->frames[level].array
                           && p->frames[level].mask);
        return MCP_OK;

    default:
        if (p->frames[level].array) {
            p->hit = arg_match_index(p, level);
        }

        return arg_value(m, ev, level);
    }
}


void
mcp_arguments_end(mcp_message_t *m)
{
    unsigned              i;
    mcp_message_parse_t  *p;

    p = m->parse;

    for (i = 0; i < p->conf->npointers; i++) {
        if (p->unclear >> i & 1) {
            m->values[i].type = MCP_VALUE_UNCLEAR;
            mcp_str_null(&m->values[i].text);
        }
    }
}


static int
arg_key(mcp_message_t *m, const mcp_json_event_t *ev)
{
    size_t                len;
    unsigned              level;
    mcp_message_parse_t  *p;

    p = m->parse;
    level = ev->depth - ARG_DEPTH;

    if (level == 0) {
        m->nargs++;

        if (m->narg_keys < MCP_MAX_ARG_KEYS) {
            len = mcp_cut(ev->text.data, ev->text.len, MCP_MAX_ARG_KEY);

            if (mcp_message_keep(p, &m->arg_keys[m->narg_keys], ev->text.data,
                                 len)
                != MCP_OK)
            {
                return MCP_ERROR;
            }

            m->narg_keys++;
        }
    }

    p->hit = p->frames[level].mask ? arg_match_key(p, level, ev) : 0;
    p->scan.capture = (p->hit != 0);

    return MCP_OK;
}


/*
 * A key that was truncated is longer than the scratch buffer, which has room
 * for every spelling of every token: it matches none.
 */
static uint64_t
arg_match_key(mcp_message_parse_t *p, unsigned level,
    const mcp_json_event_t *ev)
{
    size_t            n;
    uint64_t          mask, bit, hit;
    unsigned          i, odd;
    mcp_arg_frame_t  *f;
    const mcp_str_t  *token;

    f = &p->frames[level];
    hit = 0;

    if (ev->truncated) {
        return 0;
    }

    for (n = 0, odd = 0; n < ev->text.len; n++) {
        odd |= ev->text.data[n] & 0x80;
    }

    for (mask = f->mask, i = 0; mask; mask >>= 1, i++) {

        if (!(mask & 1)) {
            continue;
        }

        token = &p->conf->pointers[i].tokens[level];

        /* only bytes out of ASCII fold to fewer */

        if ((token->len < ev->text.len && !odd)
            || !mcp_fold_eq(token, &ev->text))
        {
            continue;
        }

        bit = (uint64_t) 1 << i;

        if ((f->seen & bit) || !mcp_str_eq(token, &ev->text)) {
            p->unclear |= bit;
            continue;
        }

        f->seen |= bit;
        hit |= bit;
    }

    return hit;
}


/*
 * Array elements: the token is the index in decimal, without leading zeros.
 */
static uint64_t
arg_match_index(mcp_message_parse_t *p, unsigned level)
{
    size_t            n;
    uint64_t          mask, bit, hit, index;
    unsigned          i;
    unsigned char     digits[20];
    mcp_arg_frame_t  *f;
    const mcp_str_t  *token;

    f = &p->frames[level];
    index = f->index++;
    hit = 0;

    if (f->mask == 0) {
        return 0;
    }

    n = sizeof(digits);

    do {
        digits[--n] = (unsigned char) ('0' + index % 10);
        index /= 10;
    } while (index);

    for (mask = f->mask, i = 0; mask; mask >>= 1, i++) {

        if (!(mask & 1)) {
            continue;
        }

        bit = (uint64_t) 1 << i;
        token = &p->conf->pointers[i].tokens[level];

        if (token->len < sizeof(digits) - n) {

            /* the indices have grown past it, or it is none */

            f->mask &= ~bit;
            continue;
        }

        if (token->len == sizeof(digits) - n
            && memcmp(token->data, digits + n, token->len) == 0)
        {
            f->mask &= ~bit;
            hit |= bit;
        }
    }

    return hit;
}


static int
arg_value(mcp_message_t *m, const mcp_json_event_t *ev, unsigned level)
{
    uint64_t              hit, deeper;
    unsigned              i, container;
    mcp_value_t           value;
    mcp_message_parse_t  *p;

    static const mcp_value_e  types[] = {
        [MCP_JSON_OBJECT] = MCP_VALUE_OBJECT,
        [MCP_JSON_ARRAY] = MCP_VALUE_ARRAY,
        [MCP_JSON_STRING] = MCP_VALUE_STRING,
        [MCP_JSON_NUMBER] = MCP_VALUE_NUMBER,
        [MCP_JSON_TRUE] = MCP_VALUE_TRUE,
        [MCP_JSON_FALSE] = MCP_VALUE_FALSE,
        [MCP_JSON_NULL] = MCP_VALUE_NULL
    };

    p = m->parse;
    container = (ev->type == MCP_JSON_OBJECT || ev->type == MCP_JSON_ARRAY);
    value.type = MCP_VALUE_ABSENT;
    deeper = 0;

    for (hit = p->hit, i = 0; hit; hit >>= 1, i++) {

        if (!(hit & 1)) {
            continue;
        }

        if (p->conf->pointers[i].ntokens > level + 1) {
            deeper |= (uint64_t) 1 << i;

            /* some servers read a container that is written into a text */

            if (ev->type == MCP_JSON_STRING) {
                p->unclear |= (uint64_t) 1 << i;
            }

            continue;
        }

        if (value.type == MCP_VALUE_ABSENT) {
            value.type = types[ev->type];
            mcp_str_null(&value.text);

            if (ev->truncated || ev->text.len > p->conf->max_value) {
                value.type = MCP_VALUE_UNCLEAR;

            } else if (ev->captured
                       && mcp_message_keep(p, &value.text, ev->text.data,
                                           ev->text.len)
                          != MCP_OK)
            {
                return MCP_ERROR;
            }
        }

        m->values[i] = value;
    }

    p->hit = 0;

    if (!container) {
        return MCP_OK;
    }

    if (deeper == 0) {
        mcp_json_skip(&p->scan);
        return MCP_OK;
    }

    arg_enter(p, level + 1, deeper, ev->type == MCP_JSON_ARRAY);

    return MCP_OK;
}


static void
arg_enter(mcp_message_parse_t *p, unsigned level, uint64_t mask,
    unsigned array)
{
    mcp_arg_frame_t  *f;

    f = &p->frames[level];
    f->mask = mask;
    f->seen = 0;
    f->index = 0;
    f->array = array;

    /* keys decide for objects; of arrays any element may be wanted */
    p->scan.capture = array;
}


int
mcp_pointer_compile(mcp_pointer_t *p, const mcp_str_t *text,
    const mcp_mem_t *mem, const char **error)
{
    size_t                i;
    unsigned              n;
    unsigned char        *out;
    const unsigned char  *pos, *last;

    if (text->len == 0 || text->data[0] != '/') {
        *error = "a pointer begins with \"/\"";
        return MCP_ERROR;
    }

    for (i = 0, n = 0; i < text->len; i++) {
        n += (text->data[i] == '/');
    }

    if (n > MCP_MAX_TOKENS) {
        *error = "the pointer has too many levels";
        return MCP_ERROR;
    }

    if (!mcp_utf8_valid(text->data, text->len)) {
        *error = "the pointer is not valid UTF-8";
        return MCP_ERROR;
    }

    p->ntokens = n;
    p->tokens = mcp_alloc(mem, n * sizeof(mcp_str_t) + text->len);

    if (p->tokens == NULL
        || mcp_str_dup(mem, &p->text, text->data, text->len) != MCP_OK)
    {
        *error = "no memory";
        return MCP_ERROR;
    }

    out = (unsigned char *) (p->tokens + n);
    pos = text->data;
    last = pos + text->len;

    for (i = 0; i < n; i++) {
        pos++;

        if (pointer_token(&p->tokens[i], &out, &pos, last) != MCP_OK) {
            *error = "\"~\" in a pointer is written \"~0\", \"/\" is \"~1\"";
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


static int
pointer_token(mcp_str_t *token, unsigned char **out,
    const unsigned char **pos, const unsigned char *last)
{
    const unsigned char  *p;

    token->data = *out;

    for (p = *pos; p < last && *p != '/'; p++) {

        if (*p != '~') {
            *(*out)++ = *p;
            continue;
        }

        if (++p == last || (*p != '0' && *p != '1')) {
            return MCP_ERROR;
        }

        *(*out)++ = *p == '0' ? '~' : '/';
    }

    token->len = (size_t) (*out - token->data);
    *pos = p;

    return MCP_OK;
}
