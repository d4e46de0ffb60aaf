/*
 * mcp_where, mcp_glob: patterns and comparisons, against other ways to do it.
 *
 * - mcp_glob() says what a table of all prefixes says.
 * - mcp_uri_glob() says what mcp_glob() says of what can be spelt in one way; a
 *   URI that is another one folded, is matched by it.
 * - A comparison of numbers says what one of big integers says; = and !=, < and
 *   >=, > and <= are opposites, unless the value is unclear.
 * - A pattern that covers another matches what that one matches; two that do
 *   not meet match nothing together; conditions in conflict are never both
 *   true.
 *
 * Input: a line of the first pattern or number, one of the second, the text.
 */

#include <openssl/bn.h>

#include "fuzz.h"
#include "mcp_uri.h"
#include "mcp_where.h"


/* By dynamic programming, a prefix of the pattern at a time. */

static int
glob(const mcp_str_t *p, const mcp_str_t *t)
{
    int      ok;
    char    *row;
    size_t   i, k;

    row = calloc(t->len + 1, 1);
    CHECK(row != NULL);
    row[0] = 1;

    for (i = 0; i < p->len; i++) {

        if (p->data[i] == '*') {
            for (k = 1; k <= t->len; k++) {
                row[k] = row[k] || row[k - 1];
            }

            continue;
        }

        for (k = t->len; k > 0; k--) {
            row[k] = row[k - 1] && t->data[k - 1] == p->data[i];
        }

        row[0] = 0;
    }

    ok = row[t->len];
    free(row);

    return ok;
}


/* A JSON number as digits * 10^(-shift); 0: it is none, or too large. */

static int
number(const mcp_str_t *s, BIGNUM *bn, int *shift)
{
    int      neg, eneg, exp, dot;
    char     digits[256];
    size_t   i, n;

    if (s->len == 0 || s->len > 60) {
        return 0;
    }

    i = neg = s->data[0] == '-';
    n = 0;
    *shift = 0;
    dot = 0;

    for (/* void */; i < s->len && (s->data[i] == '.'
                     || (s->data[i] >= '0' && s->data[i] <= '9')); i++)
    {
        if (s->data[i] == '.') {
            dot = 1;
            continue;
        }

        digits[n++] = (char) s->data[i];
        *shift += dot;
    }

    if (i < s->len) {
        i++;
        eneg = i < s->len && s->data[i] == '-';
        i += i < s->len && (s->data[i] == '-' || s->data[i] == '+');

        for (exp = 0; i < s->len && exp < 100000; i++) {
            exp = exp * 10 + s->data[i] - '0';
        }

        *shift -= eneg ? -exp : exp;
    }

    digits[n] = '\0';
    CHECK(BN_dec2bn(&bn, digits) != 0);
    BN_set_negative(bn, neg);

    return *shift > -300 && *shift < 300;
}


static int
compare(const mcp_str_t *a, const mcp_str_t *b, int *order)
{
    int      ok, sa, sb, n;
    BN_CTX  *ctx;
    BIGNUM  *x, *y, *ten, *e;

    x = BN_new();
    y = BN_new();
    ten = BN_new();
    e = BN_new();
    ctx = BN_CTX_new();
    ok = number(a, x, &sa) && number(b, y, &sb);

    if (ok) {
        n = sa > sb ? sa - sb : sb - sa;
        BN_set_word(ten, 10);
        BN_set_word(e, (BN_ULONG) n);
        BN_exp(e, ten, e, ctx);
        BN_mul(sa > sb ? y : x, sa > sb ? y : x, e, ctx);
        *order = BN_cmp(x, y);
    }

    BN_free(x);
    BN_free(y);
    BN_free(ten);
    BN_free(e);
    BN_CTX_free(ctx);

    return ok;
}


/* Is it a number by the grammar of JSON?  jansson says so. */

static int
is_number(const mcp_str_t *s)
{
    int            ok;
    json_t        *v;
    json_error_t   error;

    v = json_loadb((char *) s->data, s->len, JSON_DECODE_ANY, &error);
    ok = v ? json_is_number(v)
           : json_error_code(&error) == json_error_numeric_overflow;
    json_decref(v);

    return ok && s->len && (s->data[0] == '-' || (s->data[0] >= '0'
                                                  && s->data[0] <= '9'))
           && s->data[s->len - 1] >= '0' && s->data[s->len - 1] <= '9'
           && memchr(s->data, '\0', s->len) == NULL;
}


static int
condition(mcp_condition_t *c, mcp_op_e op, const mcp_str_t *word,
    fz_arena_t *a)
{
    memset(c, 0, sizeof(*c));
    c->op = op;

    return mcp_pattern_check(word, 1) == NULL
           && mcp_patterns_init(&c->values, word, 1, &a->mem) == MCP_OK
           && mcp_condition_check(c) == NULL;
}


static mcp_truth_e
not(mcp_truth_e t)
{
    return t == MCP_TRUE ? MCP_FALSE : t == MCP_FALSE ? MCP_TRUE : MCP_UNCLEAR;
}


static void
compares(const mcp_str_t *limit, const mcp_str_t *text, fz_arena_t *a)
{
    int              order;
    mcp_truth_e      lt, gt, le, ge;
    mcp_value_t      v;
    mcp_condition_t  c;

    if (!is_number(text) || !condition(&c, MCP_OP_LT, limit, a)) {
        return;
    }

    v.type = MCP_VALUE_NUMBER;
    v.text = *text;

    lt = mcp_condition_eval(&c, &v);
    CHECK(condition(&c, MCP_OP_GT, limit, a));
    gt = mcp_condition_eval(&c, &v);
    CHECK(condition(&c, MCP_OP_LE, limit, a));
    le = mcp_condition_eval(&c, &v);
    CHECK(condition(&c, MCP_OP_GE, limit, a));
    ge = mcp_condition_eval(&c, &v);

    CHECK(ge == not(lt) && le == not(gt));

    if (lt != MCP_UNCLEAR && compare(text, limit, &order)) {
        CHECK(lt == (order < 0 ? MCP_TRUE : MCP_FALSE));
        CHECK(gt == (order > 0 ? MCP_TRUE : MCP_FALSE));
    }
}


static void
conflicts(const mcp_str_t *one, const mcp_str_t *two, const mcp_str_t *text,
    fz_arena_t *a)
{
    int              i, k;
    mcp_value_t      v;
    mcp_condition_t  c, d;

    v.text = *text;

    for (i = MCP_OP_EQ; i <= MCP_OP_GE; i++) {
        for (k = MCP_OP_EQ; k <= MCP_OP_GE; k++) {
            if (!condition(&c, (mcp_op_e) i, one, a)
                || !condition(&d, (mcp_op_e) k, two, a)
                || !mcp_condition_conflict(&c, &d))
            {
                continue;
            }

            v.type = MCP_VALUE_STRING;
            CHECK(mcp_condition_eval(&c, &v) != MCP_TRUE
                  || mcp_condition_eval(&d, &v) != MCP_TRUE);

            if (is_number(text)) {
                v.type = MCP_VALUE_NUMBER;
                CHECK(mcp_condition_eval(&c, &v) != MCP_TRUE
                      || mcp_condition_eval(&d, &v) != MCP_TRUE);
            }
        }
    }
}


/* Lower case, '%' and slashes alone: what mcp_uri_glob() may not tell apart. */

static int
spelt_once(const mcp_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (memchr("%/\\", s->data[i], 3)
            || (s->data[i] >= 'A' && s->data[i] <= 'Z'))
        {
            return 0;
        }
    }

    return 1;
}


static void
uris(const mcp_str_t *one, const mcp_str_t *two, fz_arena_t *a)
{
    size_t     i;
    mcp_str_t  all;

    (void) mcp_uri_plain(one);
    (void) mcp_uri_glob(one, two);

    if (spelt_once(one) && spelt_once(two)) {
        CHECK(!mcp_uri_glob(one, two) == !mcp_glob(one, two));
    }

    /* every byte escaped is the same URI */

    all.data = fz_alloc(a, 3 * two->len + 1);
    all.len = 3 * two->len;

    for (i = 0; i < two->len; i++) {
        sprintf((char *) all.data + 3 * i, "%%%02X", two->data[i]);
    }

    if (memchr(two->data, '%', two->len) == NULL) {
        CHECK(!mcp_uri_glob(one, two) == !mcp_uri_glob(one, &all));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int              m, n;
    fz_in_t          in;
    mcp_str_t        one, two, text;
    fz_arena_t       a;
    mcp_patterns_t   p, q;

    fz_arena_init(&a);
    in = fz_in(data, size);
    one = fz_line(&a, &in);
    two = fz_line(&a, &in);
    text = fz_rest(&a, &in);

    CHECK(!mcp_glob(&one, &text) == !glob(&one, &text));

    if (mcp_pattern_check(&one, 0) == NULL
        && mcp_pattern_check(&two, 0) == NULL)
    {
        CHECK(mcp_patterns_init(&p, &one, 1, &a.mem) == MCP_OK);
        CHECK(mcp_patterns_init(&q, &two, 1, &a.mem) == MCP_OK);

        m = mcp_patterns_match(&p, &text);
        n = mcp_patterns_match(&q, &text);
        CHECK(!m == !glob(&one, &text));

        CHECK(!mcp_patterns_cover(&p, &q.elts[0]) || !n || m);
        CHECK(mcp_pattern_meets(&p.elts[0], &q.elts[0]) || !m || !n);
    }

    uris(&one, &text, &a);
    uris(&one, &two, &a);
    compares(&one, &text, &a);
    compares(&one, &two, &a);
    conflicts(&one, &two, &text, &a);

    fz_arena_free(&a);

    return 0;
}
