/*
 * The pages of mcp_connect.
 */

#include "mcp_page.h"
#include "mcp_form.h"
#include "mcp_time.h"
#include "mcp_untrusted.h"


static void mcp_page_begin(mcp_buf_t *b, const mcp_str_t *path,
    const char *title);
static void mcp_page_end(mcp_buf_t *b);
static void mcp_page_row(mcp_buf_t *b, const mcp_str_t *path,
    const mcp_page_row_t *row);
static void mcp_page_actions(mcp_buf_t *b, const mcp_str_t *path,
    const mcp_page_row_t *row);
static void mcp_page_form(mcp_buf_t *b, const mcp_str_t *path,
    const char *action, const mcp_str_t *name, const mcp_str_t *token);
static void mcp_page_text(mcp_buf_t *b, const char *what, const mcp_str_t *s);
static void mcp_page_date(mcp_buf_t *b, const char *what, int64_t date);
static void mcp_page_scopes(mcp_buf_t *b, const char *what,
    const mcp_str_t *scope);
static void mcp_page_path(mcp_buf_t *b, const mcp_str_t *path,
    const char *action, const mcp_str_t *name);
static size_t mcp_page_character(const unsigned char *p, size_t len,
    uint32_t *code);


#define mcp_page_put(b, s)  mcp_buf_put(b, s, strlen(s))


const char  mcp_page_style[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;"
        "--page:#f6f8fa;--card:#fff;--line:#d0d7de;--act:#0a58ca;"
        "--act-ink:#fff;--good:#1a7f37;--bad:#b42318}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;"
        "--page:#0d1117;--card:#161b22;--line:#30363d;--act:#6ea8fe;"
        "--act-ink:#0d1117;--good:#56d364;--bad:#ff8f85}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--ink);"
        "font:1rem/1.5 system-ui,sans-serif}"
    "main{max-width:44rem;margin:0 auto;padding:2rem 1rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}"
    "h2{font-size:1.125rem;line-height:1.25;margin:0;overflow-wrap:anywhere}"
    "p{margin:.5rem 0;overflow-wrap:anywhere}"

    /* what others wrote turns nothing that stands beside it */

    "h2,dd,strong,button,.scopes li{unicode-bidi:isolate}"

    "ul{list-style:none;margin:0;padding:0}"
    "dl{display:grid;grid-template-columns:minmax(8.5rem,max-content) 1fr;"
        "gap:.25rem 1rem;margin:.75rem 0}"
    "dt{color:var(--soft)}"
    "dd{margin:0;min-width:0;overflow-wrap:anywhere}"
    "code{font:.875rem/1.5 ui-monospace,monospace}"
    ".card{background:var(--card);border:1px solid var(--line);"
        "border-radius:.5rem;padding:1.25rem;margin:1rem 0}"
    ".card>:first-child{margin-top:0}"
    ".card>:last-child{margin-bottom:0}"
    ".state{font-weight:600}"
    ".good{color:var(--good)}"
    ".bad{color:var(--bad)}"
    ".soft{color:var(--soft);font-size:.875rem}"
    "form{margin:0}"
    ".acts{display:flex;flex-wrap:wrap;gap:.75rem;margin:1rem 0 0}"
    "button,.button{display:inline-flex;align-items:center;"
        "justify-content:center;font:inherit;padding:.5rem 1rem;"
        "min-height:2.75rem;max-width:100%;border-radius:.375rem;"
        "border:1px solid var(--act);background:var(--act);"
        "color:var(--act-ink);text-align:center;text-decoration:none;"
        "overflow-wrap:anywhere;cursor:pointer}"
    "button:hover,.button:hover{text-decoration:underline}"
    ".plain{background:transparent;color:var(--act)}"
    "a{color:var(--act)}"
    "a.button{color:var(--act-ink)}"
    "a.plain{color:var(--act)}"
    ":focus-visible{outline:3px solid var(--act);outline-offset:2px}"
    "@media(max-width:30rem){dl{grid-template-columns:1fr;gap:0}"
        "dd{margin:0 0 .5rem}.acts{flex-direction:column}"
        "button,.button{width:100%}}";


void
mcp_page_list(mcp_buf_t *b, const mcp_str_t *path, const mcp_str_t *person,
    const mcp_page_row_t *rows, unsigned nrows, const mcp_str_t *logout_token)
{
    unsigned   i;
    mcp_str_t  none;

    mcp_str_null(&none);

    mcp_page_begin(b, path, "My connections");
    mcp_buf_lit(b, "<p>Signed in as <strong>");
    mcp_page_escape(b, person, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</strong>.</p>\n");

    if (nrows) {
        mcp_buf_lit(b, "<ul role=\"list\">\n");

        for (i = 0; i < nrows; i++) {
            mcp_page_row(b, path, &rows[i]);
        }

        mcp_buf_lit(b, "</ul>\n");

    } else {
        mcp_buf_lit(b, "<p>There is nothing to connect here.</p>\n");
    }

    mcp_page_form(b, path, "logout", &none, logout_token);
    mcp_buf_lit(b, "<button class=\"plain\">Sign out</button></form>\n");
    mcp_page_end(b);
}


static void
mcp_page_row(mcp_buf_t *b, const mcp_str_t *path, const mcp_page_row_t *row)
{
    unsigned char  *before, *facts;

    static const struct {
        const char  *class;
        const char  *text;
    } states[] = {
        { "state", "Not connected." },
        { "state good", "Connected." },
        { "state bad", "Has to be connected again." },
        { "state", "Whether it is connected is not known now." }
    };

    mcp_buf_lit(b, "<li class=\"card\"><h2>");
    mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</h2>\n<p class=\"");
    mcp_page_put(b, states[row->state].class);
    mcp_buf_lit(b, "\">");
    mcp_page_put(b, states[row->state].text);
    mcp_buf_lit(b, "</p>\n");

    before = b->pos;
    mcp_buf_lit(b, "<dl>\n");
    facts = b->pos;

    mcp_page_text(b, "Provider", &row->provider);

    if (row->state != MCP_PAGE_NONE) {
        mcp_page_date(b, "Connected since", row->since);
        mcp_page_date(b, "Last used", row->used);
        mcp_page_date(b, "Last renewed", row->renewed);
        mcp_page_date(b, "Expires", row->expires);
        mcp_page_scopes(b, "Granted", &row->scope);
    }

    if (b->pos == facts) {
        b->pos = before;

    } else {
        mcp_buf_lit(b, "</dl>\n");
    }

    mcp_page_actions(b, path, row);
    mcp_buf_lit(b, "</li>\n");
}


static void
mcp_page_actions(mcp_buf_t *b, const mcp_str_t *path,
    const mcp_page_row_t *row)
{
    const char  *what;

    mcp_buf_lit(b, "<div class=\"acts\">");

    if (row->state != MCP_PAGE_ACTIVE) {
        what = (row->state == MCP_PAGE_NONE) ? "Connect" : "Connect again";

        mcp_buf_lit(b, "<a class=\"button\" aria-label=\"");
        mcp_page_put(b, what);
        mcp_buf_lit(b, ": ");
        mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "\" href=\"");
        mcp_page_path(b, path, "start/", &row->name);
        mcp_buf_lit(b, "\">");
        mcp_page_put(b, what);
        mcp_buf_lit(b, "</a>\n");
    }

    if (row->state != MCP_PAGE_NONE) {
        mcp_page_form(b, path, "disconnect/", &row->name, &row->token);
        mcp_buf_lit(b, "<button class=\"plain\" aria-label=\"Disconnect: ");
        mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "\">Disconnect</button></form>");
    }

    mcp_buf_lit(b, "</div>\n");
}


void
mcp_page_confirm(mcp_buf_t *b, const mcp_str_t *path, const mcp_str_t *person,
    const mcp_page_row_t *row, const mcp_str_t *host, const mcp_str_t *ticket)
{
    mcp_page_begin(b, path, "Connect an account");

    mcp_buf_lit(b, "<div class=\"card\"><p>You are signed in as <strong>");
    mcp_page_escape(b, person, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</strong>, and are about to connect <strong>");
    mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</strong>.</p>\n<dl>\n");

    mcp_page_text(b, "Provider", &row->provider);
    mcp_page_text(b, "You will be asked by", host);
    mcp_page_scopes(b, "Asked for", &row->scope);

    mcp_buf_lit(b, "</dl>\n<p>What you grant there is used for calls that you "
                   "make through this gateway, and for nobody else's. You can "
                   "end it at any time.</p>\n"
                   "<p>Go on only if you, or an agent that works for you, just "
                   "asked for this. If another person gave you this address, "
                   "do not.</p>\n<div class=\"acts\">");

    mcp_page_form(b, path, "start/", &row->name, &row->token);

    if (ticket->len) {
        mcp_buf_lit(b, "<input type=\"hidden\" name=\"ticket\" value=\"");
        mcp_page_escape(b, ticket, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "\">");
    }

    mcp_buf_lit(b, "<button>Go on to ");
    mcp_page_escape(b, host, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</button></form>\n<a class=\"button plain\" href=\"");
    mcp_page_path(b, path, "", NULL);
    mcp_buf_lit(b, "\">Do not connect</a></div></div>\n");
    mcp_page_end(b);
}


void
mcp_page_message(mcp_buf_t *b, const mcp_str_t *path, const char *title,
    const char *text, const char *reason, const char *link,
    const char *link_path)
{
    mcp_page_begin(b, path, title);

    mcp_buf_lit(b, "<div class=\"card\"><p>");
    mcp_page_put(b, text);
    mcp_buf_lit(b, "</p>\n");

    if (reason) {
        mcp_buf_lit(b, "<p class=\"soft\">If you ask for help, say the "
                       "reason: <code>");
        mcp_page_put(b, reason);
        mcp_buf_lit(b, "</code></p>\n");
    }

    if (link) {
        mcp_buf_lit(b, "<div class=\"acts\"><a class=\"button\" href=\"");
        mcp_page_path(b, path, link_path, NULL);
        mcp_buf_lit(b, "\">");
        mcp_page_put(b, link);
        mcp_buf_lit(b, "</a></div>\n");
    }

    mcp_buf_lit(b, "</div>\n");
    mcp_page_end(b);
}


static void
mcp_page_begin(mcp_buf_t *b, const mcp_str_t *path, const char *title)
{
    mcp_buf_lit(b, "<!doctype html>\n<html lang=\"en\"><head>"
                   "<meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width, "
                   "initial-scale=1\"><title>");
    mcp_page_put(b, title);
    mcp_buf_lit(b, "</title><link rel=\"stylesheet\" href=\"");
    mcp_page_path(b, path, "style.css", NULL);
    mcp_buf_lit(b, "\"></head>\n<body><main><h1>");
    mcp_page_put(b, title);
    mcp_buf_lit(b, "</h1>\n");
}


static void
mcp_page_end(mcp_buf_t *b)
{
    mcp_buf_lit(b, "</main></body></html>\n");
}


static void
mcp_page_form(mcp_buf_t *b, const mcp_str_t *path, const char *action,
    const mcp_str_t *name, const mcp_str_t *token)
{
    mcp_buf_lit(b, "<form method=\"post\" action=\"");
    mcp_page_path(b, path, action, name);
    mcp_buf_lit(b, "\"><input type=\"hidden\" name=\"csrf\" value=\"");
    mcp_page_escape(b, token, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "\">");
}


/* A fact of a <dl>; nothing when there is nothing to say. */
static void
mcp_page_text(mcp_buf_t *b, const char *what, const mcp_str_t *s)
{
    if (s->len == 0) {
        return;
    }

    mcp_buf_lit(b, "<dt>");
    mcp_page_put(b, what);
    mcp_buf_lit(b, "</dt><dd>");
    mcp_page_escape(b, s, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</dd>\n");
}


/* The same: "26 November 2026, 15:10 UTC" */
static void
mcp_page_date(mcp_buf_t *b, const char *what, int64_t date)
{
    unsigned        month;
    mcp_buf_t       t;
    unsigned char   text[MCP_TIME_LEN];

    static const char  *months[] = {
        "January", "February", "March", "April", "May", "June", "July",
        "August", "September", "October", "November", "December"
    };

    if (date <= 0) {
        return;
    }

    mcp_buf_init(&t, text, sizeof(text));
    mcp_time_write(&t, date);

    month = (unsigned) ((text[5] - '0') * 10 + text[6] - '0');

    mcp_buf_lit(b, "<dt>");
    mcp_page_put(b, what);
    mcp_buf_lit(b, "</dt><dd><time datetime=\"");
    mcp_buf_put(b, text, MCP_TIME_LEN);
    mcp_buf_lit(b, "\">");
    mcp_buf_put(b, text[8] == '0' ? text + 9 : text + 8,
                text[8] == '0' ? 1 : 2);
    mcp_buf_lit(b, " ");
    mcp_page_put(b, months[month - 1]);
    mcp_buf_lit(b, " ");
    mcp_buf_put(b, text, 4);
    mcp_buf_lit(b, ", ");
    mcp_buf_put(b, text + 11, 5);
    mcp_buf_lit(b, " UTC</time></dd>\n");
}


/* The same, as a list; what is too much is said to be there. */
static void
mcp_page_scopes(mcp_buf_t *b, const char *what, const mcp_str_t *scope)
{
    size_t     i, n, left;
    unsigned   count;
    mcp_str_t  one;

    count = 0;
    left = MCP_PAGE_SCOPES;

    for (i = 0; i < scope->len; i += n + 1) {

        for (n = 0; i + n < scope->len && scope->data[i + n] != ' '
                    && scope->data[i + n] != ','; n++)
        {
            /* void */
        }

        if (n == 0) {
            continue;
        }

        if (count == 0) {
            mcp_buf_lit(b, "<dt>");
            mcp_page_put(b, what);
            mcp_buf_lit(b, "</dt><dd>"
                           "<ul role=\"list\" class=\"scopes\">\n");
        }

        if (count++ == MCP_PAGE_NSCOPES || n > left) {
            mcp_buf_lit(b, "<li>and more</li>\n");
            break;
        }

        one.data = scope->data + i;
        one.len = n;
        left -= n;

        mcp_buf_lit(b, "<li><code>");
        mcp_page_escape(b, &one, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "</code></li>\n");
    }

    if (count) {
        mcp_buf_lit(b, "</ul></dd>\n");
    }
}


/* An address of ours, in an attribute.  name may be NULL. */
static void
mcp_page_path(mcp_buf_t *b, const mcp_str_t *path, const char *action,
    const mcp_str_t *name)
{
    mcp_str_t  s;

    mcp_page_escape(b, path, 1024);
    mcp_page_put(b, action);

    if (name) {
        s.data = name->data;
        s.len = (name->len < MCP_PAGE_TEXT) ? name->len : MCP_PAGE_TEXT;

        mcp_form_escape(b, &s);
    }
}


void
mcp_page_escape(mcp_buf_t *b, const mcp_str_t *s, size_t max)
{
    size_t    i, n;
    uint32_t  code;

    for (i = 0; i < s->len; i += n) {

        n = mcp_page_character(s->data + i, s->len - i, &code);

        if (i + n > max) {
            mcp_buf_lit(b, "\xe2\x80\xa6");
            return;
        }

        switch (code) {

        case '&':
            mcp_buf_lit(b, "&amp;");
            break;

        case '<':
            mcp_buf_lit(b, "&lt;");
            break;

        case '>':
            mcp_buf_lit(b, "&gt;");
            break;

        case '"':
            mcp_buf_lit(b, "&quot;");
            break;

        case '\'':
            mcp_buf_lit(b, "&#39;");
            break;

        default:
            if (mcp_char_unseen(code) || code == 0xfffd) {
                mcp_buf_lit(b, "\xef\xbf\xbd");

            } else {
                mcp_buf_put(b, s->data + i, n);
            }
        }
    }
}


/* How long the character is that begins here, and which; one byte and U+FFFD
 * when it is none. */
static size_t
mcp_page_character(const unsigned char *p, size_t len, uint32_t *code)
{
    size_t  n;

    *code = 0xfffd;

    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }

    n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

    if (n > len || !mcp_utf8_valid(p, n)) {
        return 1;
    }

    switch (n) {

    case 2:
        *code = (uint32_t) (p[0] & 0x1f) << 6 | (p[1] & 0x3f);
        break;

    case 3:
        *code = (uint32_t) (p[0] & 0x0f) << 12
                | (uint32_t) (p[1] & 0x3f) << 6 | (p[2] & 0x3f);
        break;

    default:
        *code = (uint32_t) (p[0] & 0x07) << 18
                | (uint32_t) (p[1] & 0x3f) << 12
                | (uint32_t) (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
    }

    return n;
}
