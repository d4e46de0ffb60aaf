/*
 * Secrets in text.  See mcp_redact.h.
 *
 * At each place where a word may begin, a form is tried that begins with that
 * character; it says how far the secret goes.  What it went over is not looked
 * at again.
 */

#include "mcp_redact.h"


#define MCP_REDACT_MARK  24             /* "[redacted:KIND]", at most */

/* classes of characters */
#define C_ALNUM   1
#define C_WORD    2                     /* and _ - */
#define C_TOKEN   4                     /* and . ~ + / = : token68, JWTs */
#define C_FIRST   8                     /* a form begins with it */

#define W  (C_ALNUM|C_WORD|C_TOKEN)
#define F  (W|C_FIRST)


typedef struct {
    const char  *prefix;
    const char  *kind;
    unsigned     chars;                 /* of what follows */
    unsigned     least;                 /* so many at least */
} mcp_secret_t;


static const unsigned char  mcp_redact_class[256] = {
    ['0'] = F, ['1'] = F, ['2'] = F, ['3'] = F, ['4'] = F, ['5'] = F,
    ['6'] = F, ['7'] = F, ['8'] = F, ['9'] = F,

    ['A'] = F, ['B'] = F, ['C'] = W, ['D'] = W, ['E'] = W, ['F'] = W,
    ['G'] = W, ['H'] = W, ['I'] = W, ['J'] = W, ['K'] = W, ['L'] = W,
    ['M'] = W, ['N'] = W, ['O'] = W, ['P'] = W, ['Q'] = W, ['R'] = W,
    ['S'] = W, ['T'] = W, ['U'] = W, ['V'] = W, ['W'] = W, ['X'] = W,
    ['Y'] = W, ['Z'] = W,

    ['a'] = W, ['b'] = F, ['c'] = W, ['d'] = W, ['e'] = F, ['f'] = W,
    ['g'] = F, ['h'] = W, ['i'] = W, ['j'] = W, ['k'] = W, ['l'] = W,
    ['m'] = F, ['n'] = F, ['o'] = W, ['p'] = W, ['q'] = W, ['r'] = F,
    ['s'] = F, ['t'] = W, ['u'] = W, ['v'] = W, ['w'] = W, ['x'] = F,
    ['y'] = F, ['z'] = W,

    ['_'] = C_WORD|C_TOKEN, ['-'] = C_WORD|C_TOKEN|C_FIRST,
    ['.'] = C_TOKEN, ['~'] = C_TOKEN, ['+'] = C_TOKEN, ['/'] = C_TOKEN,
    ['='] = C_TOKEN,

    [':'] = C_FIRST, ['?'] = C_FIRST, ['&'] = C_FIRST, ['#'] = C_FIRST
};

#undef W
#undef F


/* C_FIRST has the first characters of all of these */

static const mcp_secret_t  mcp_secrets[] = {
    { "eyJ", "jwt", C_TOKEN, 16 },
    { "AKIA", "aws", C_ALNUM, 12 },
    { "ASIA", "aws", C_ALNUM, 12 },
    { "ghp_", "github", C_WORD, 16 },
    { "gho_", "github", C_WORD, 16 },
    { "ghu_", "github", C_WORD, 16 },
    { "ghs_", "github", C_WORD, 16 },
    { "ghr_", "github", C_WORD, 16 },
    { "github_pat_", "github", C_WORD, 16 },
    { "glpat-", "gitlab", C_WORD, 16 },
    { "xoxa-", "slack", C_WORD, 8 },
    { "xoxb-", "slack", C_WORD, 8 },
    { "xoxe-", "slack", C_TOKEN, 8 },
    { "xoxp-", "slack", C_WORD, 8 },
    { "xoxr-", "slack", C_WORD, 8 },
    { "xoxs-", "slack", C_WORD, 8 },
    { "xapp-", "slack", C_WORD, 8 },
    { "AIza", "google", C_WORD, 30 },
    { "ya29.", "google", C_TOKEN, 16 },
    { "npm_", "npm", C_WORD, 30 },
    { "sk-", "sk", C_WORD, 16 },
    { "sk_live_", "sk", C_WORD, 10 },
    { "rk_live_", "sk", C_WORD, 10 },
    { "mcpp_", "own", C_WORD, 20 },
    { "mcpv_", "own", C_WORD, 20 }
};

static const mcp_str_t  mcp_secret_queries[] = {
    mcp_string("access_token"), mcp_string("api_key"), mcp_string("apikey"),
    mcp_string("api-key"), mcp_string("auth"), mcp_string("client_secret"),
    mcp_string("code"), mcp_string("id_token"), mcp_string("key"),
    mcp_string("password"), mcp_string("passwd"), mcp_string("pwd"),
    mcp_string("refresh_token"), mcp_string("secret"), mcp_string("sig"),
    mcp_string("signature"), mcp_string("token"), mcp_string("x-amz-signature")
};


static const unsigned char *mcp_redact_find(const unsigned char *p,
    const unsigned char *stop, const unsigned char *last, unsigned more,
    size_t *n, const char **kind, size_t *keep);
static size_t mcp_redact_at(const unsigned char *p, const unsigned char *last,
    unsigned more, const char **kind, size_t *keep);
static size_t mcp_redact_scheme(const unsigned char *p,
    const unsigned char *last, unsigned more, const char **kind,
    size_t *keep);
static size_t mcp_redact_pem(const unsigned char *p,
    const unsigned char *last);
static size_t mcp_redact_userinfo(const unsigned char *p,
    const unsigned char *last);
static size_t mcp_redact_query(const unsigned char *p,
    const unsigned char *last, size_t *keep);
static size_t mcp_redact_card(const unsigned char *p,
    const unsigned char *last);
static size_t mcp_redact_span(const unsigned char *p,
    const unsigned char *last, unsigned chars);


size_t
mcp_redact(const unsigned char *text, size_t len, unsigned more,
    unsigned char *out, size_t size)
{
    size_t                n, keep;
    mcp_buf_t             b;
    const char           *kind;
    const unsigned char  *p, *stop, *last, *secret;

    mcp_buf_init(&b, out, size);

    last = text + len;
    n = 0;

    for (p = text; p < last && b.pos < b.end; p = secret + n) {

        stop = (last - p > b.end - b.pos) ? p + (b.end - b.pos) : last;
        secret = mcp_redact_find(p, stop, last, more, &n, &kind, &keep);

        mcp_buf_put(&b, p, (size_t) (secret - p));

        if (secret == stop) {
            break;
        }

        /* what comes before it is no secret: "Bearer ", "?key=" */

        if (keep > (size_t) (b.end - b.pos)) {
            break;
        }

        mcp_buf_put(&b, secret, keep);

        /* all of the mark, or nothing any more */

        if (b.end - b.pos < MCP_REDACT_MARK) {
            break;
        }

        mcp_buf_lit(&b, "[redacted:");
        mcp_buf_put(&b, kind, strlen(kind));
        mcp_buf_lit(&b, "]");
    }

    return (size_t) (b.pos - b.start);
}


int
mcp_redact_clean(const unsigned char *text, size_t len)
{
    size_t                n, keep;
    const char           *kind;
    const unsigned char  *last;

    last = text + len;

    return mcp_redact_find(text, last, last, 0, &n, &kind, &keep) == last;
}


/*
 * The first secret that begins in [p, stop), or stop.  p is where a word may
 * begin; n, kind and keep are as mcp_redact_at() says.
 */
static const unsigned char *
mcp_redact_find(const unsigned char *p, const unsigned char *stop,
    const unsigned char *last, unsigned more, size_t *n, const char **kind,
    size_t *keep)
{
    unsigned  class, before;

    before = 0;

    for ( /* void */ ; p < stop; p++) {
        class = mcp_redact_class[*p];

        if ((class & C_FIRST) && !(class & before & C_ALNUM)) {
            *keep = 0;
            *n = mcp_redact_at(p, last, more, kind, keep);

            if (*n) {
                return p;
            }
        }

        before = class;
    }

    return stop;
}


/* The length of the secret here with what is kept before it, or 0. */
static size_t
mcp_redact_at(const unsigned char *p, const unsigned char *last,
    unsigned more, const char **kind, size_t *keep)
{
    size_t               n, len;
    unsigned             i;
    const mcp_secret_t  *s;

    switch (*p) {

    case '-':
        *kind = "pem";
        return mcp_redact_pem(p, last);

    case ':':
        *kind = "userinfo";
        *keep = 3;
        return mcp_redact_userinfo(p, last);

    case '?':
    case '&':
    case '#':
        *kind = "query";
        return mcp_redact_query(p, last, keep);

    case 'B':
    case 'b':
        return mcp_redact_scheme(p, last, more, kind, keep);
    }

    if (*p >= '0' && *p <= '9') {
        *kind = "card";
        return mcp_redact_card(p, last);
    }

    for (i = 0; i < sizeof(mcp_secrets) / sizeof(mcp_secrets[0]); i++) {
        s = &mcp_secrets[i];

        if (*p != (unsigned char) s->prefix[0]) {
            continue;
        }

        len = strlen(s->prefix);

        if ((size_t) (last - p) < len || memcmp(p, s->prefix, len) != 0) {
            continue;
        }

        n = mcp_redact_span(p + len, last, s->chars);

        if (n >= s->least || (more && p + len + n == last)) {
            *kind = s->kind;
            return len + n;
        }
    }

    return 0;
}


/* Bearer and Basic, with what stands behind them. */
static size_t
mcp_redact_scheme(const unsigned char *p, const unsigned char *last,
    unsigned more, const char **kind, size_t *keep)
{
    size_t  n, len;

    if (last - p > 7 && mcp_str_caseeq(p, 7, "bearer ", 7)) {
        *kind = "bearer";
        len = 7;

    } else if (last - p > 6 && mcp_str_caseeq(p, 6, "basic ", 6)) {
        *kind = "basic";
        len = 6;

    } else {
        return 0;
    }

    n = mcp_redact_span(p + len, last, C_TOKEN);

    if (n < 8 && !(more && p + len + n == last)) {
        return 0;
    }

    *keep = len;

    return len + n;
}


/* -----BEGIN ... PRIVATE KEY----- to the end of it, or of the text. */
static size_t
mcp_redact_pem(const unsigned char *p, const unsigned char *last)
{
    unsigned              key;
    const unsigned char  *q;

    if (last - p < 11 || memcmp(p, "-----BEGIN ", 11) != 0) {
        return 0;
    }

    key = 0;

    for (q = p + 11; q < last && *q != '-' && q - p < 64; q++) {
        if (last - q >= 11 && memcmp(q, "PRIVATE KEY", 11) == 0) {
            key = 1;
        }
    }

    if (!key && q < last) {
        return 0;
    }

    for ( /* void */ ; q < last; q++) {
        if (*q == '-' && last - q >= 9 && memcmp(q, "-----END ", 9) == 0) {
            q += 9;

            while (q < last && *q != '-') {
                q++;
            }

            while (q < last && *q == '-') {
                q++;
            }

            break;
        }
    }

    return (size_t) (q - p);
}


/* At "://": a name and password before an "@" of the authority. */
static size_t
mcp_redact_userinfo(const unsigned char *p, const unsigned char *last)
{
    const unsigned char  *q, *at;

    if (last - p < 4 || p[1] != '/' || p[2] != '/') {
        return 0;
    }

    at = NULL;

    for (q = p + 3; q < last; q++) {
        if (*q == '/' || *q == '?' || *q == '#' || *q <= ' ' || *q == '"') {
            break;
        }

        if (*q == '@') {
            at = q;
        }
    }

    return at ? (size_t) (at - p) : 0;
}


/* At "?", "&" or "#": a parameter whose value is a secret. */
static size_t
mcp_redact_query(const unsigned char *p, const unsigned char *last,
    size_t *keep)
{
    size_t                len;
    unsigned              i;
    const unsigned char  *q;

    for (q = p + 1; q < last && q - p < 32 && *q != '='; q++) {
        if (!(mcp_redact_class[*q] & C_WORD)) {
            return 0;
        }
    }

    if (q == last || *q != '=') {
        return 0;
    }

    len = (size_t) (q - p) - 1;

    for (i = 0;
         i < sizeof(mcp_secret_queries) / sizeof(mcp_secret_queries[0]);
         i++)
    {
        if (mcp_str_caseeq(p + 1, len, mcp_secret_queries[i].data,
                           mcp_secret_queries[i].len))
        {
            break;
        }
    }

    if (i == sizeof(mcp_secret_queries) / sizeof(mcp_secret_queries[0])) {
        return 0;
    }

    *keep = len + 2;

    for (q++; q < last; q++) {
        if (*q == '&' || *q == '#' || *q <= ' ' || *q == '"') {
            break;
        }
    }

    return (size_t) (q - p) > *keep ? (size_t) (q - p) : 0;
}


/* 13 to 19 digits, in groups perhaps, with a right checksum (ISO/IEC 7812). */
static size_t
mcp_redact_card(const unsigned char *p, const unsigned char *last)
{
    unsigned              i, n, d, sum;
    unsigned char         digits[20];
    const unsigned char  *q, *end;

    n = 0;
    end = p;

    for (q = p; q < last; q++) {

        if (*q >= '0' && *q <= '9') {
            if (n == sizeof(digits)) {
                return 0;
            }

            digits[n++] = (unsigned char) (*q - '0');
            end = q + 1;
            continue;
        }

        if ((*q != ' ' && *q != '-') || q != end) {
            break;
        }
    }

    if (n < 13 || n > 19 || digits[0] == 0) {
        return 0;
    }

    sum = 0;

    for (i = 0; i < n; i++) {
        d = digits[n - 1 - i];

        if (i & 1) {
            d = (d > 4) ? 2 * d - 9 : 2 * d;
        }

        sum += d;
    }

    return sum % 10 == 0 ? (size_t) (end - p) : 0;
}


static size_t
mcp_redact_span(const unsigned char *p, const unsigned char *last,
    unsigned chars)
{
    const unsigned char  *q;

    for (q = p; q < last && (mcp_redact_class[*q] & chars); q++) {
        /* void */
    }

    return (size_t) (q - p);
}
