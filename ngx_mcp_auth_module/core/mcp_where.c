/*
 * Patterns, decimal numbers and conditions for the policy's files.
 *
 * Always true: numbers are compared as decimals, digit by digit, never as
 * doubles, so that no caller slips past a limit by rounding; a number is
 * looked at by its value, and by its text only when it is written in the one
 * plain way, because 5e1 and 50.0 must not escape a rule about 50; nothing
 * here allocates but mcp_patterns_init(), while the configuration is read.
 */

#include "mcp_where.h"


static size_t mcp_pattern_prefix(const mcp_str_t *text);
static size_t mcp_pattern_suffix(const mcp_str_t *text);
static int mcp_pattern_covers(const mcp_pattern_t *a, const mcp_pattern_t *b);
static int mcp_condition_range(const mcp_condition_t *a,
    const mcp_condition_t *b);
static mcp_truth_e mcp_condition_equal(const mcp_condition_t *c,
    const mcp_value_t *value);
static int mcp_condition_coerced(const mcp_condition_t *c,
    const mcp_value_t *value);
static int mcp_number_hidden(const mcp_number_t *num, const mcp_str_t *text);
static mcp_truth_e mcp_condition_number(const mcp_condition_t *c,
    const mcp_str_t *lexeme);
static mcp_truth_e mcp_condition_compare(const mcp_condition_t *c,
    const mcp_str_t *lexeme);
static int mcp_number_parse(mcp_number_t *num, const mcp_str_t *text);
static int mcp_number_exponent(const unsigned char *p,
    const unsigned char *last, int *exp);
static int mcp_number_cmp(const mcp_number_t *a, const mcp_number_t *b);
static int mcp_number_plain(const mcp_str_t *lexeme);


static const mcp_str_t  mcp_op_names[] = {
    mcp_string("="),
    mcp_string("!="),
    mcp_string("<"),
    mcp_string("<="),
    mcp_string(">"),
    mcp_string(">="),
    mcp_string("exists"),
    mcp_string("absent")
};


const char *
mcp_pattern_check(const mcp_str_t *word, unsigned may_be_empty)
{
    size_t  i;

    if (word->len == 0) {
        return may_be_empty ? NULL : "empty pattern";
    }

    if (!mcp_utf8_valid(word->data, word->len)) {
        return "invalid UTF-8, which no message can have, in";
    }

    for (i = 0; i < word->len; i++) {

        if (word->data[i] < 0x20 || word->data[i] == 0x7f) {
            return "control character in";
        }

        if (i && word->data[i] == '*' && word->data[i - 1] == '*') {
            return "\"**\" is not a glob; one star matches anything, in";
        }
    }

    return NULL;
}


int
mcp_patterns_init(mcp_patterns_t *patterns, const mcp_str_t *words, unsigned n,
    const mcp_mem_t *mem)
{
    unsigned        i, globs, glob;
    mcp_number_t    num, *copy;
    mcp_pattern_t  *e;

    e = mcp_calloc(mem, (n ? n : 1) * sizeof(mcp_pattern_t));
    if (e == NULL) {
        return MCP_ERROR;
    }

    patterns->elts = e;
    patterns->n = n;
    patterns->any = 0;

    for (globs = 0; globs < 2; globs++) {

        for (i = 0; i < n; i++) {

            glob = (mcp_pattern_prefix(&words[i]) < words[i].len);

            if (glob != globs) {
                continue;
            }

            if (mcp_str_dup(mem, &e->text, words[i].data, words[i].len)
                != MCP_OK)
            {
                return MCP_ERROR;
            }

            e->glob = glob;

            if (mcp_str_eq_lit(&e->text, "*")) {
                patterns->any = 1;
            }

            if (mcp_number_parse(&num, &e->text) == MCP_OK) {
                copy = mcp_alloc(mem, sizeof(mcp_number_t));
                if (copy == NULL) {
                    return MCP_ERROR;
                }

                *copy = num;
                e->number = copy;
            }

            e++;
        }
    }

    return MCP_OK;
}


int
mcp_patterns_match(const mcp_patterns_t *patterns, const mcp_str_t *text)
{
    const mcp_pattern_t  *e, *last;

    if (patterns->any) {
        return 1;
    }

    e = patterns->elts;
    last = e + patterns->n;

    for ( /* void */ ; e < last && !e->glob; e++) {
        if (e->text.len == text->len
            && (text->len == 0
                || memcmp(e->text.data, text->data, text->len) == 0))
        {
            return 1;
        }
    }

    for ( /* void */ ; e < last; e++) {
        if (mcp_glob(&e->text, text)) {
            return 1;
        }
    }

    return 0;
}


int
mcp_patterns_cover(const mcp_patterns_t *a, const mcp_pattern_t *b)
{
    unsigned  i;

    for (i = 0; i < a->n; i++) {
        if (mcp_pattern_covers(&a->elts[i], b)) {
            return 1;
        }
    }

    return 0;
}


int
mcp_pattern_meets(const mcp_pattern_t *a, const mcp_pattern_t *b)
{
    size_t  n, m;

    if (!a->glob) {
        return mcp_glob(&b->text, &a->text);
    }

    if (!b->glob) {
        return mcp_glob(&a->text, &b->text);
    }

    /* two globs meet unless their literal ends contradict each other */

    n = mcp_pattern_prefix(&a->text);
    m = mcp_pattern_prefix(&b->text);
    n = (n < m) ? n : m;

    if (memcmp(a->text.data, b->text.data, n) != 0) {
        return 0;
    }

    n = mcp_pattern_suffix(&a->text);
    m = mcp_pattern_suffix(&b->text);
    n = (n < m) ? n : m;

    return memcmp(a->text.data + a->text.len - n,
                  b->text.data + b->text.len - n, n) == 0;
}


int
mcp_condition_op(const mcp_str_t *word, mcp_op_e *op)
{
    unsigned  i;

    for (i = 0; i < sizeof(mcp_op_names) / sizeof(mcp_op_names[0]); i++) {
        if (mcp_str_eq(word, &mcp_op_names[i])) {
            *op = (mcp_op_e) i;
            return MCP_OK;
        }
    }

    return MCP_DECLINED;
}


const char *
mcp_condition_check(const mcp_condition_t *c)
{
    switch (c->op) {

    case MCP_OP_EQ:
    case MCP_OP_NE:
        return c->values.n ? NULL : "no value after";

    case MCP_OP_EXISTS:
    case MCP_OP_ABSENT:
        return c->values.n ? "no value expected after" : NULL;

    default:
        if (c->values.n == 1 && c->values.elts[0].number) {
            return NULL;
        }

        return "one number of at most 100 digits expected after";
    }
}


int
mcp_condition_conflict(const mcp_condition_t *a, const mcp_condition_t *b)
{
    unsigned              i, k;
    const mcp_pattern_t  *p, *q;

    if (a->pointer != b->pointer) {
        return 0;
    }

    if (a == b) {
        return a->op == MCP_OP_NE && a->values.any;
    }

    if (a->op == MCP_OP_ABSENT || b->op == MCP_OP_ABSENT) {
        return a->op != b->op;
    }

    if (a->op == MCP_OP_NE && b->op == MCP_OP_EQ) {
        return mcp_condition_conflict(b, a);
    }

    if (a->op == MCP_OP_EQ && b->op == MCP_OP_NE) {

        for (i = 0; i < a->values.n; i++) {
            p = &a->values.elts[i];

            if (!mcp_patterns_cover(&b->values, p)) {
                return 0;
            }

            /* 1e0 is 1 as well, which "*0" does not match */

            for (k = 0; p->number && !b->values.any; k++) {
                if (k == b->values.n) {
                    return 0;
                }

                q = &b->values.elts[k];

                if (q->number && mcp_number_cmp(p->number, q->number) == 0) {
                    break;
                }
            }
        }

        return 1;
    }

    return mcp_condition_range(a, b) || mcp_condition_range(b, a);
}


mcp_truth_e
mcp_condition_eval(const mcp_condition_t *c, const mcp_value_t *value)
{
    mcp_truth_e  truth;

    /* null is nothing for one server and something for another */

    if (value->type == MCP_VALUE_UNCLEAR || value->type == MCP_VALUE_NULL) {
        return MCP_UNCLEAR;
    }

    switch (c->op) {

    case MCP_OP_EXISTS:
        return value->type != MCP_VALUE_ABSENT ? MCP_TRUE : MCP_FALSE;

    case MCP_OP_ABSENT:
        return value->type == MCP_VALUE_ABSENT ? MCP_TRUE : MCP_FALSE;

    case MCP_OP_EQ:
        return mcp_condition_equal(c, value);

    case MCP_OP_NE:
        truth = mcp_condition_equal(c, value);

        if (truth == MCP_UNCLEAR) {
            return truth;
        }

        return (truth == MCP_TRUE) ? MCP_FALSE : MCP_TRUE;

    default:
        if (value->type != MCP_VALUE_NUMBER) {
            return MCP_UNCLEAR;
        }

        return mcp_condition_compare(c, &value->text);
    }
}


/* Bytes before the first star; all of them when there is none. */

static size_t
mcp_pattern_prefix(const mcp_str_t *text)
{
    size_t  n;

    for (n = 0; n < text->len && text->data[n] != '*'; n++) { /* void */ }

    return n;
}


/* Bytes after the last star. */

static size_t
mcp_pattern_suffix(const mcp_str_t *text)
{
    size_t  n;

    for (n = 0; n < text->len && text->data[text->len - n - 1] != '*'; n++) {
        /* void */
    }

    return n;
}


/*
 * 1 when a surely matches all that b matches.  Only the shapes that people
 * write are recognised; a missed one costs a warning, never a decision.
 */

static int
mcp_pattern_covers(const mcp_pattern_t *a, const mcp_pattern_t *b)
{
    size_t  prefix;

    if (mcp_str_eq(&a->text, &b->text) || mcp_str_eq_lit(&a->text, "*")) {
        return 1;
    }

    if (!b->glob) {
        return mcp_glob(&a->text, &b->text);
    }

    prefix = mcp_pattern_prefix(&a->text);

    return prefix + 1 == a->text.len
           && prefix <= mcp_pattern_prefix(&b->text)
           && memcmp(a->text.data, b->text.data, prefix) == 0;
}


/* 1 when a is a lower bound that lies beyond the upper bound b. */

static int
mcp_condition_range(const mcp_condition_t *a, const mcp_condition_t *b)
{
    int  cmp;

    if ((a->op != MCP_OP_GT && a->op != MCP_OP_GE)
        || (b->op != MCP_OP_LT && b->op != MCP_OP_LE))
    {
        return 0;
    }

    cmp = mcp_number_cmp(a->values.elts[0].number, b->values.elts[0].number);

    return cmp > 0
           || (cmp == 0 && (a->op == MCP_OP_GT || b->op == MCP_OP_LT));
}


static mcp_truth_e
mcp_condition_equal(const mcp_condition_t *c, const mcp_value_t *value)
{
    mcp_truth_e             truth;

    static const mcp_str_t  yes = mcp_string("true");
    static const mcp_str_t  no = mcp_string("false");

    switch (value->type) {

    case MCP_VALUE_STRING:
        truth = mcp_patterns_match(&c->values, &value->text);
        break;

    case MCP_VALUE_NUMBER:
        truth = mcp_condition_number(c, &value->text);
        break;

    case MCP_VALUE_TRUE:
        truth = mcp_patterns_match(&c->values, &yes);
        break;

    case MCP_VALUE_FALSE:
        truth = mcp_patterns_match(&c->values, &no);
        break;

    default:
        return MCP_UNCLEAR;
    }

    return truth == MCP_FALSE && mcp_condition_coerced(c, value)
           ? MCP_UNCLEAR : truth;
}


/*
 * Many servers take one type for another: 1 and "yes" for true, " 50" and
 * "5_0" for 50, true for 1.  1 when the value could so become one of the
 * condition's.
 */

static int
mcp_condition_coerced(const mcp_condition_t *c, const mcp_value_t *value)
{
    unsigned              i;
    const mcp_pattern_t  *e;

    for (i = 0; i < c->values.n; i++) {
        e = &c->values.elts[i];

        if (value->type == MCP_VALUE_STRING
            || value->type == MCP_VALUE_NUMBER)
        {
            if (mcp_str_eq_lit(&e->text, "true")
                || mcp_str_eq_lit(&e->text, "false"))
            {
                return 1;
            }

            if (value->type == MCP_VALUE_STRING && e->number
                && mcp_number_hidden(e->number, &value->text))
            {
                return 1;
            }

        } else if (e->number) {
            return 1;
        }
    }

    return 0;
}


/* Could a reader that is not as strict as JSON see this number in a text? */

static int
mcp_number_hidden(const mcp_number_t *num, const mcp_str_t *text)
{
    size_t         i;
    unsigned char  ch;
    mcp_number_t   other;

    if (mcp_number_parse(&other, text) == MCP_OK) {
        return mcp_number_cmp(num, &other) == 0;
    }

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ch != ' ' && (ch < '\t' || ch > '\r')) {
            return (ch >= '0' && ch <= '9') || ch == '+' || ch == '-'
                   || ch == '.' || ch >= 0x80;
        }
    }

    return 0;
}


/*
 * A number equals a value that is a number by value; a glob by its text, and
 * that only when it is the only text its value has.
 */

static mcp_truth_e
mcp_condition_number(const mcp_condition_t *c, const mcp_str_t *lexeme)
{
    unsigned              i;
    mcp_truth_e           truth;
    mcp_number_t          num;
    const mcp_pattern_t  *e;

    if (c->values.any) {
        return MCP_TRUE;
    }

    if (mcp_number_parse(&num, lexeme) != MCP_OK) {
        return MCP_UNCLEAR;
    }

    truth = MCP_FALSE;

    for (i = 0; i < c->values.n; i++) {
        e = &c->values.elts[i];

        if (e->number) {
            if (mcp_number_cmp(e->number, &num) == 0) {
                return MCP_TRUE;
            }

        } else if (e->glob) {
            if (!mcp_number_plain(lexeme)) {
                truth = MCP_UNCLEAR;

            } else if (mcp_glob(&e->text, lexeme)) {
                return MCP_TRUE;
            }
        }
    }

    return truth;
}


static mcp_truth_e
mcp_condition_compare(const mcp_condition_t *c, const mcp_str_t *lexeme)
{
    int           cmp, holds;
    mcp_number_t  num;

    if (mcp_number_parse(&num, lexeme) != MCP_OK) {
        return MCP_UNCLEAR;
    }

    cmp = mcp_number_cmp(&num, c->values.elts[0].number);

    switch (c->op) {
    case MCP_OP_LT:
        holds = (cmp < 0);
        break;
    case MCP_OP_LE:
        holds = (cmp <= 0);
        break;
    case MCP_OP_GT:
        holds = (cmp > 0);
        break;
    default:
        holds = (cmp >= 0);
        break;
    }

    return holds ? MCP_TRUE : MCP_FALSE;
}


/*
 * A JSON number within the limits; MCP_DECLINED for any other text.  Zeros at
 * both ends are dropped, so that equal values have equal digits.
 */

static int
mcp_number_parse(mcp_number_t *num, const mcp_str_t *text)
{
    int                   exp;
    unsigned              written, fraction;
    const unsigned char  *p, *last, *first;

    p = text->data;
    last = text->len ? p + text->len : p;

    num->sign = 1;
    num->n = 0;
    num->exp = 0;

    if (p < last && *p == '-') {
        num->sign = -1;
        p++;
    }

    written = 0;
    fraction = 0;

    for (first = p; p < last; p++) {

        if (*p == '.' && !fraction && p > first) {
            fraction = 1;
            continue;
        }

        if (*p < '0' || *p > '9') {
            break;
        }

        if (written++ == MCP_NUMBER_MAX) {
            return MCP_DECLINED;
        }

        if (num->n == 0 && *p == '0') {
            num->exp -= (int) fraction;
            continue;
        }

        num->exp += !fraction;
        num->digits[num->n++] = *p;
    }

    if (p == first || p[-1] == '.'
        || (*first == '0' && p - first > 1 && first[1] != '.'))
    {
        return MCP_DECLINED;
    }

    if (mcp_number_exponent(p, last, &exp) != MCP_OK) {
        return MCP_DECLINED;
    }

    while (num->n && num->digits[num->n - 1] == '0') {
        num->n--;
    }

    if (num->n == 0) {
        num->sign = 0;
        num->exp = 0;
        return MCP_OK;
    }

    num->exp += exp;

    return MCP_OK;
}


static int
mcp_number_exponent(const unsigned char *p, const unsigned char *last,
    int *exp)
{
    int  minus;

    *exp = 0;

    if (p == last) {
        return MCP_OK;
    }

    if (*p != 'e' && *p != 'E') {
        return MCP_DECLINED;
    }

    p++;
    minus = (p < last && *p == '-');

    if (p < last && (*p == '-' || *p == '+')) {
        p++;
    }

    if (p == last) {
        return MCP_DECLINED;
    }

    for ( /* void */ ; p < last; p++) {

        if (*p < '0' || *p > '9') {
            return MCP_DECLINED;
        }

        *exp = *exp * 10 + (*p - '0');

        if (*exp > MCP_EXPONENT_MAX) {
            return MCP_DECLINED;
        }
    }

    if (minus) {
        *exp = -*exp;
    }

    return MCP_OK;
}


static int
mcp_number_cmp(const mcp_number_t *a, const mcp_number_t *b)
{
    int       cmp;
    unsigned  n;

    if (a->sign != b->sign) {
        return a->sign < b->sign ? -1 : 1;
    }

    if (a->sign == 0) {
        return 0;
    }

    if (a->exp != b->exp) {
        cmp = a->exp < b->exp ? -1 : 1;

    } else {
        n = (a->n < b->n) ? a->n : b->n;
        cmp = memcmp(a->digits, b->digits, n);

        if (cmp == 0 && a->n != b->n) {
            cmp = a->n < b->n ? -1 : 1;
        }
    }

    return a->sign < 0 ? -cmp : cmp;
}


/* 1 when the lexeme is the shortest without an exponent: -12, 0, 3.25. */

static int
mcp_number_plain(const mcp_str_t *lexeme)
{
    const unsigned char  *p;

    p = lexeme->data;

    if (memchr(p, 'e', lexeme->len) || memchr(p, 'E', lexeme->len)) {
        return 0;
    }

    if (memchr(p, '.', lexeme->len)) {
        return p[lexeme->len - 1] != '0';
    }

    return !mcp_str_eq_lit(lexeme, "-0");
}
