/*
 * Secrets in text.  See mcp_redact.h.
 *
 * At each place where a word may begin, a form is tried that begins with that
 * character; it says how far the secret goes.  What it went over is not looked
 * at again.
 *
 * Text is often written inside of other text: a preview is JSON, whose strings
 * may be JSON again, and a URL may be a parameter of another one.  So what is
 * looked at is characters, however they are written (\\n, \\/, \\u0026, %3D);
 * what is copied is the bytes.
 */

#include "mcp_redact.h"


#define MCP_REDACT_MARK  24             /* "[redacted:KIND]", at most */
#define MCP_REDACT_SHORT 13             /* the digits of a card number; all else
                                           of these characters is longer */

/* classes of characters */
#define C_ALNUM   1
#define C_WORD    2                     /* and _ - */
#define C_TOKEN   4                     /* and . ~ + / = : token68, JWTs */

#define W  (C_ALNUM|C_WORD|C_TOKEN)

static const unsigned char  mcp_redact_class[256] = {
    ['0'] = W, ['1'] = W, ['2'] = W, ['3'] = W, ['4'] = W, ['5'] = W,
    ['6'] = W, ['7'] = W, ['8'] = W, ['9'] = W,
    ['A'] = W, ['B'] = W, ['C'] = W, ['D'] = W, ['E'] = W, ['F'] = W,
    ['G'] = W, ['H'] = W, ['I'] = W, ['J'] = W, ['K'] = W, ['L'] = W,
    ['M'] = W, ['N'] = W, ['O'] = W, ['P'] = W, ['Q'] = W, ['R'] = W,
    ['S'] = W, ['T'] = W, ['U'] = W, ['V'] = W, ['W'] = W, ['X'] = W,
    ['Y'] = W, ['Z'] = W,
    ['a'] = W, ['b'] = W, ['c'] = W, ['d'] = W, ['e'] = W, ['f'] = W,
    ['g'] = W, ['h'] = W, ['i'] = W, ['j'] = W, ['k'] = W, ['l'] = W,
    ['m'] = W, ['n'] = W, ['o'] = W, ['p'] = W, ['q'] = W, ['r'] = W,
    ['s'] = W, ['t'] = W, ['u'] = W, ['v'] = W, ['w'] = W, ['x'] = W,
    ['y'] = W, ['z'] = W,
    ['_'] = C_WORD|C_TOKEN, ['-'] = C_WORD|C_TOKEN,
    ['.'] = C_TOKEN, ['~'] = C_TOKEN, ['+'] = C_TOKEN, ['/'] = C_TOKEN,
    ['='] = C_TOKEN
};

#undef W


typedef struct {
    const char  *prefix;
    const char  *kind;
    unsigned     chars;                 /* of what follows */
    unsigned     least;                 /* so many at least */
} mcp_secret_t;


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

/* names of a URL's parameters */

static const mcp_str_t  mcp_secret_queries[] = {
    mcp_string("access_token"), mcp_string("api_key"), mcp_string("apikey"),
    mcp_string("api-key"), mcp_string("auth"), mcp_string("client_secret"),
    mcp_string("code"), mcp_string("id_token"), mcp_string("key"),
    mcp_string("password"), mcp_string("passwd"), mcp_string("pwd"),
    mcp_string("refresh_token"), mcp_string("secret"), mcp_string("sig"),
    mcp_string("signature"), mcp_string("token"), mcp_string("x-amz-signature")
};

/* names of JSON members, without '-' and '_', that tell it by themselves */

static const mcp_str_t  mcp_secret_members[] = {
    mcp_string("accesstoken"), mcp_string("apikey"),
    mcp_string("authorization"), mcp_string("clientsecret"),
    mcp_string("cookie"), mcp_string("idtoken"), mcp_string("passphrase"),
    mcp_string("passwd"), mcp_string("password"), mcp_string("privatekey"),
    mcp_string("pwd"), mcp_string("refreshtoken"), mcp_string("secret"),
    mcp_string("secretaccesskey"), mcp_string("secretkey"),
    mcp_string("sessiontoken"), mcp_string("setcookie"), mcp_string("token"),
    mcp_string("xapikey")
};

#define MCP_REDACT_WORD  32             /* characters of such a name */


/* One character as it is written. */

typedef struct {
    unsigned char  c;                   /* what it stands for; 0: not ASCII */
    unsigned char  coded;               /* as %XX */
    size_t         len;                 /* bytes */
} mcp_written_t;


static size_t mcp_redact_at(const unsigned char *p, const unsigned char *last,
    const mcp_written_t *w, unsigned more, const char **kind, size_t *keep);
static size_t mcp_redact_scheme(const unsigned char *p,
    const unsigned char *last, unsigned more, const char **kind,
    size_t *keep);
static size_t mcp_redact_pem(const unsigned char *p,
    const unsigned char *last);
static size_t mcp_redact_pem_end(const unsigned char *p,
    const unsigned char *last);
static size_t mcp_redact_userinfo(const unsigned char *p,
    const unsigned char *last, unsigned more, size_t *keep);
static size_t mcp_redact_query(const unsigned char *p,
    const unsigned char *last, size_t *keep);
static size_t mcp_redact_member(const unsigned char *p,
    const unsigned char *last, size_t *keep);
static size_t mcp_redact_card(const unsigned char *p,
    const unsigned char *last, unsigned more);
static unsigned mcp_redact_listed(const unsigned char *name, size_t len,
    const mcp_str_t *list, size_t n);
static size_t mcp_redact_prefix(const unsigned char *p,
    const unsigned char *last, const char *text, unsigned fold);
static size_t mcp_redact_span(const unsigned char *p,
    const unsigned char *last, unsigned chars);
static void mcp_redact_read(const unsigned char *p, const unsigned char *last,
    mcp_written_t *w);
static void mcp_redact_escape(const unsigned char *p,
    const unsigned char *last, mcp_written_t *w);
static unsigned mcp_redact_hex(const unsigned char *p, unsigned n,
    unsigned *value);


size_t
mcp_redact(const unsigned char *text, size_t len, unsigned more,
    unsigned char *out, size_t size)
{
    size_t                n, keep;
    unsigned              word;
    mcp_buf_t             b;
    const char           *kind;
    mcp_written_t         w;
    const unsigned char  *p, *last;

    mcp_buf_init(&b, out, size);

    if (len <= size && !more && mcp_redact_word(text, len)) {
        mcp_buf_put(&b, text, len);
        return len;
    }

    last = text + len;
    word = 0;

    for (p = text; p < last && b.pos < b.end; p += n) {

        n = 0;
        keep = 0;

        mcp_redact_read(p, last, &w);

        if (!word || !(mcp_redact_class[w.c] & C_ALNUM)) {
            n = mcp_redact_at(p, last, &w, more, &kind, &keep);
        }

        if (n == 0) {
            n = w.len;

            if (n > (size_t) (b.end - b.pos)) {
                break;
            }

            word = mcp_redact_class[w.c] & C_ALNUM;

            if (word) {

                /* nothing begins in a word */

                while (p + n < last && n < (size_t) (b.end - b.pos)
                       && (mcp_redact_class[p[n]] & C_ALNUM))
                {
                    n++;
                }
            }

            mcp_buf_put(&b, p, n);
            continue;
        }

        /* what comes before it is no secret: "Bearer ", "?key=" */

        if (keep > (size_t) (b.end - b.pos)) {
            break;
        }

        mcp_buf_put(&b, p, keep);

        /* all of the mark, or nothing any more */

        if (b.end - b.pos < MCP_REDACT_MARK) {
            break;
        }

        mcp_buf_lit(&b, "[redacted:");
        mcp_buf_put(&b, kind, strlen(kind));
        mcp_buf_lit(&b, "]");

        word = 0;
    }

    return (size_t) (b.pos - b.start);
}


/* Of these characters every secret is MCP_REDACT_SHORT long at least. */
unsigned
mcp_redact_word(const unsigned char *text, size_t len)
{
    size_t  i;

    if (len >= MCP_REDACT_SHORT) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!(mcp_redact_class[text[i]] & C_ALNUM)
            && text[i] != '_' && text[i] != '.' && text[i] != '/')
        {
            return 0;
        }
    }

    return 1;
}


/* The length of the secret here with what is kept before it, or 0. */
static size_t
mcp_redact_at(const unsigned char *p, const unsigned char *last,
    const mcp_written_t *w, unsigned more, const char **kind, size_t *keep)
{
    size_t               n, len;
    unsigned             i;
    const mcp_secret_t  *s;

    switch (w->c) {

    case '-':
        *kind = "pem";
        return mcp_redact_pem(p, last);

    case ':':
        *kind = "userinfo";
        return mcp_redact_userinfo(p, last, more, keep);

    case '?':
    case '&':
    case '#':
        *kind = "query";
        return mcp_redact_query(p, last, keep);

    case '"':
        *kind = "member";
        return mcp_redact_member(p, last, keep);

    case 'B':
    case 'b':
        return mcp_redact_scheme(p, last, more, kind, keep);
    }

    if (w->c >= '0' && w->c <= '9') {
        *kind = "card";
        return mcp_redact_card(p, last, more);
    }

    for (i = 0; i < sizeof(mcp_secrets) / sizeof(mcp_secrets[0]); i++) {
        s = &mcp_secrets[i];

        if (w->c != (unsigned char) s->prefix[0]) {
            continue;
        }

        len = mcp_redact_prefix(p, last, s->prefix, 0);
        if (len == 0) {
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
    size_t         n, len, word;
    mcp_written_t  w;

    *kind = "bearer";
    word = mcp_redact_prefix(p, last, "bearer", 0x20);

    if (word == 0) {
        *kind = "basic";
        word = mcp_redact_prefix(p, last, "basic", 0x20);
    }

    if (word == 0) {
        return 0;
    }

    /* a form has '+' for the space */

    for (len = word; p + len < last; len += w.len) {
        mcp_redact_read(p + len, last, &w);

        if (w.c != ' ' && w.c != '\t' && (w.c != '+' || len != word)) {
            break;
        }
    }

    n = mcp_redact_span(p + len, last, C_TOKEN);

    if (len == word || (n < 8 && !(more && p + len + n == last))) {
        return 0;
    }

    *keep = len;

    return len + n;
}


/* -----BEGIN ... PRIVATE KEY----- to the end of it, or of the text. */
static size_t
mcp_redact_pem(const unsigned char *p, const unsigned char *last)
{
    size_t                end;
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

        end = mcp_redact_pem_end(q, last);

        if (end) {
            return (size_t) (q - p) + end;
        }
    }

    return (size_t) (q - p);
}


/* One that is not whole is none: what is behind it may be a secret whose
 * beginning would be swallowed, and so not be known as one. */
static size_t
mcp_redact_pem_end(const unsigned char *p, const unsigned char *last)
{
    const unsigned char  *q;

    if (*p != '-' || last - p < 9 || memcmp(p, "-----END ", 9) != 0) {
        return 0;
    }

    for (q = p + 9; q < last && q - p < 64; q++) {

        if (*q == '-') {
            return (last - q >= 5 && memcmp(q, "-----", 5) == 0)
                   ? (size_t) (q + 5 - p) : 0;
        }

        if (*q != ' ' && (*q < 'A' || *q > 'Z') && (*q < '0' || *q > '9')) {
            return 0;
        }
    }

    return 0;
}


/*
 * At "://": a name and password before an "@" of the authority.  In a URL that
 * is itself written as %XX the ends are so as well, in any other they are not.
 */
static size_t
mcp_redact_userinfo(const unsigned char *p, const unsigned char *last,
    unsigned more, size_t *keep)
{
    size_t                n;
    unsigned              coded, password;
    mcp_written_t         w;
    const unsigned char  *q, *at;

    n = mcp_redact_prefix(p, last, "://", 0);
    if (n == 0) {
        return 0;
    }

    at = NULL;
    password = 0;

    mcp_redact_read(p, last, &w);
    coded = w.coded;

    for (q = p + n; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (w.coded && !coded) {
            continue;
        }

        if (w.c == '@') {
            at = q;
        }

        password |= (w.c == ':');

        if (w.c == '/' || w.c == '?' || w.c == '#' || w.c == '"'
            || (w.c && w.c <= ' '))
        {
            break;
        }
    }

    if (at == NULL && more && password && q >= last) {

        /* the "@" may have been cut off */

        at = last;
    }

    *keep = n;

    return at ? (size_t) (at - p) : 0;
}


/* At "?", "&" or "#": a parameter whose value is a secret. */
static size_t
mcp_redact_query(const unsigned char *p, const unsigned char *last,
    size_t *keep)
{
    size_t                n;
    unsigned              coded;
    mcp_written_t         w;
    unsigned char         name[MCP_REDACT_WORD];
    const unsigned char  *q, *value;

    mcp_redact_read(p, last, &w);
    coded = w.coded;

    n = 0;
    w.c = 0;

    for (q = p + w.len; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (w.c == '=') {
            break;
        }

        if (n == sizeof(name) || !(mcp_redact_class[w.c] & C_WORD)) {
            return 0;
        }

        name[n++] = w.c;
    }

    if (w.c != '='
        || !mcp_redact_listed(name, n, mcp_secret_queries,
                              sizeof(mcp_secret_queries)
                              / sizeof(mcp_secret_queries[0])))
    {
        return 0;
    }

    value = q + w.len;

    for (q = value; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if ((coded || !w.coded)
            && (w.c == '&' || w.c == '#' || w.c == '"'
                || (w.c && w.c <= ' ')))
        {
            break;
        }
    }

    *keep = (size_t) (value - p);

    return q > value ? (size_t) (q - p) : 0;
}


/*
 * At a quote: a member "password":"...", whose value ends with a quote that is
 * written as its first one, or in fewer bytes: of the text around.
 */
static size_t
mcp_redact_member(const unsigned char *p, const unsigned char *last,
    size_t *keep)
{
    size_t                n, quote;
    mcp_written_t         w;
    unsigned char         name[MCP_REDACT_WORD];
    const unsigned char  *q, *value;

    mcp_redact_read(p, last, &w);
    q = p + w.len;

    for (n = 0; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (w.c == '"') {
            break;
        }

        if (n == sizeof(name) || !(mcp_redact_class[w.c] & C_WORD)) {
            return 0;
        }

        if (w.c != '-' && w.c != '_') {
            name[n++] = w.c;
        }
    }

    if (q >= last
        || !mcp_redact_listed(name, n, mcp_secret_members,
                              sizeof(mcp_secret_members)
                              / sizeof(mcp_secret_members[0])))
    {
        return 0;
    }

    /* ":" and spaces, then the value's quote */

    for (n = 0, q += w.len; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (w.c == ':' && n == 0) {
            n = 1;

        } else if (w.c == 0 || w.c > ' ') {
            break;
        }
    }

    if (q >= last || n == 0 || w.c != '"') {
        return 0;
    }

    quote = w.len;
    value = q + w.len;

    for (q = value; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (w.c == '"' && w.len <= quote) {
            break;
        }
    }

    *keep = (size_t) (value - p);

    return q > value ? (size_t) (q - p) : 0;
}


/*
 * 13 to 19 digits, in groups perhaps, with a right checksum (ISO/IEC 7812); of
 * text that was cut, those at its end that may become so many.
 */
static size_t
mcp_redact_card(const unsigned char *p, const unsigned char *last,
    unsigned more)
{
    unsigned              i, n, d, sum;
    mcp_written_t         w;
    unsigned char         digits[20];
    const unsigned char  *q, *end;

    n = 0;
    end = p;

    for (q = p; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (w.c >= '0' && w.c <= '9') {
            if (n == sizeof(digits)) {
                return 0;
            }

            digits[n++] = (unsigned char) (w.c - '0');
            end = q + w.len;
            continue;
        }

        if ((w.c != ' ' && w.c != '-') || q != end) {
            break;
        }
    }

    if (n == 0 || n > 19 || digits[0] == 0) {
        return 0;
    }

    if (more && q >= last) {
        return n < 4 ? 0 : (size_t) (end - p);
    }

    if (n < 13) {
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


static unsigned
mcp_redact_listed(const unsigned char *name, size_t len,
    const mcp_str_t *list, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (mcp_str_caseeq(name, len, list[i].data, list[i].len)) {
            return 1;
        }
    }

    return 0;
}


/* The bytes that text takes here, or 0; fold is 0x20 for any case. */
static size_t
mcp_redact_prefix(const unsigned char *p, const unsigned char *last,
    const char *text, unsigned fold)
{
    mcp_written_t         w;
    const unsigned char  *q;

    for (q = p; *text; text++, q += w.len) {

        if (q >= last) {
            return 0;
        }

        mcp_redact_read(q, last, &w);

        if ((w.c | fold) != (unsigned char) *text) {
            return 0;
        }
    }

    return (size_t) (q - p);
}


static size_t
mcp_redact_span(const unsigned char *p, const unsigned char *last,
    unsigned chars)
{
    mcp_written_t         w;
    const unsigned char  *q;

    for (q = p; q < last; q += w.len) {
        mcp_redact_read(q, last, &w);

        if (!(mcp_redact_class[w.c] & chars)) {
            break;
        }
    }

    return (size_t) (q - p);
}


static void
mcp_redact_read(const unsigned char *p, const unsigned char *last,
    mcp_written_t *w)
{
    w->c = *p;
    w->coded = 0;
    w->len = 1;

    if (*p == '\\' || *p == '%') {
        mcp_redact_escape(p, last, w);

    } else if (*p & 0x80) {
        w->c = 0;
    }
}


/*
 * A backslash, or several, as text in text in text has them; or %XX, or %25XX.
 * What is no escape is the character itself.
 */
static void
mcp_redact_escape(const unsigned char *p, const unsigned char *last,
    mcp_written_t *w)
{
    size_t                n;
    unsigned              value;
    const unsigned char  *q;

    if (*p == '%') {
        n = (last - p >= 5 && p[1] == '2' && p[2] == '5') ? 3 : 1;

        if ((size_t) (last - p) < n + 2 || !mcp_redact_hex(p + n, 2, &value)) {
            n = 1;

            if (last - p < 3 || !mcp_redact_hex(p + 1, 2, &value)) {
                return;
            }
        }

        w->c = (unsigned char) (value < 0x80 ? value : 0);
        w->coded = 1;
        w->len = n + 2;

        return;
    }

    for (q = p; q < last && *q == '\\'; q++) { /* void */ }

    w->len = (size_t) (q - p);

    if (q == last) {
        return;
    }

    switch (*q) {

    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        w->c = '\n';
        w->len++;
        return;

    case '"':
    case '/':
        w->c = *q;
        w->len++;
        return;

    case 'u':
        if (last - q >= 5 && mcp_redact_hex(q + 1, 4, &value)) {
            w->c = (unsigned char) (value < 0x80 ? value : 0);
            w->len += 5;
        }
    }
}


static unsigned
mcp_redact_hex(const unsigned char *p, unsigned n, unsigned *value)
{
    int       digit;
    unsigned  v;

    for (v = 0; n; n--, p++) {
        digit = mcp_hex_digit(*p);

        if (digit < 0) {
            return 0;
        }

        v = v << 4 | (unsigned) digit;
    }

    *value = v;

    return 1;
}
