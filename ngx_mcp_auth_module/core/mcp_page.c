/*
 * The pages of mcp_connect.
 */

#include "mcp_page.h"
#include "mcp_time.h"


static void mcp_page_begin(mcp_buf_t *b, const mcp_str_t *path,
    const char *title);
static void mcp_page_end(mcp_buf_t *b);
static void mcp_page_row(mcp_buf_t *b, const mcp_str_t *path,
    const mcp_page_row_t *row);
static void mcp_page_form(mcp_buf_t *b, const mcp_str_t *path,
    const char *action, const mcp_str_t *name, const mcp_str_t *token);
static void mcp_page_date(mcp_buf_t *b, const char *what, int64_t date);
static size_t mcp_page_character(const unsigned char *p, size_t len,
    uint32_t *code);
static unsigned mcp_page_unsafe(uint32_t code);


#define mcp_page_put(b, s)  mcp_buf_put(b, s, strlen(s))


const char  mcp_page_style[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;"
        "--page:#f6f8fa;--card:#fff;--line:#d0d7de;--act:#0a58ca;"
        "--act-ink:#fff;--bad:#b42318}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;"
        "--page:#0d1117;--card:#161b22;--line:#30363d;--act:#6ea8fe;"
        "--act-ink:#0d1117;--bad:#ff8f85}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--ink);"
        "font:1rem/1.5 system-ui,sans-serif}"
    "main{max-width:44rem;margin:0 auto;padding:2rem 1rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}"
    "h2{font-size:1.125rem;margin:0}"
    "p{margin:.5rem 0;overflow-wrap:anywhere}"
    "ul{list-style:none;margin:0;padding:0}"
    ".card{background:var(--card);border:1px solid var(--line);"
        "border-radius:.5rem;padding:1rem;margin:0 0 1rem}"
    ".soft{color:var(--soft);font-size:.875rem}"
    ".bad{color:var(--bad)}"
    "form{margin:.75rem 0 0}"
    "button,.button{display:inline-block;font:inherit;padding:.5rem 1rem;"
        "min-height:2.75rem;border-radius:.375rem;border:1px solid var(--act);"
        "background:var(--act);color:var(--act-ink);text-decoration:none;"
        "cursor:pointer}"
    ".plain{background:transparent;color:var(--act)}"
    "a{color:var(--act)}"
    ":focus-visible{outline:3px solid var(--act);outline-offset:2px}"
    "@media(max-width:30rem){button,.button{width:100%;text-align:center}}";


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

    if (nrows == 0) {
        mcp_buf_lit(b, "<p>There is nothing to connect here.</p>\n");
    }

    mcp_buf_lit(b, "<ul>\n");

    for (i = 0; i < nrows; i++) {
        mcp_page_row(b, path, &rows[i]);
    }

    mcp_buf_lit(b, "</ul>\n");

    mcp_page_form(b, path, "logout", &none, logout_token);
    mcp_buf_lit(b, "<button class=\"plain\">Sign out</button></form>\n");
    mcp_page_end(b);
}


static void
mcp_page_row(mcp_buf_t *b, const mcp_str_t *path, const mcp_page_row_t *row)
{
    static const char  *states[] = {
        "Not connected.", "Connected.", "Has to be connected again.",
        "Whether it is connected is not known now."
    };

    mcp_buf_lit(b, "<li class=\"card\"><h2>");
    mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</h2>\n<p class=\"soft\">");
    mcp_page_escape(b, &row->provider, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</p>\n<p>");
    mcp_page_put(b, states[row->state]);

    if (row->state != MCP_PAGE_NONE) {
        mcp_page_date(b, "Connected since", row->since);
        mcp_page_date(b, "Last used", row->used);
        mcp_page_date(b, "Last renewed", row->renewed);
        mcp_page_date(b, "Ends", row->expires);
    }

    mcp_buf_lit(b, "</p>\n");

    if (row->scope.len && row->state != MCP_PAGE_NONE) {
        mcp_buf_lit(b, "<p class=\"soft\">May: ");
        mcp_page_escape(b, &row->scope, MCP_PAGE_SCOPES);
        mcp_buf_lit(b, "</p>\n");
    }

    if (row->state != MCP_PAGE_ACTIVE) {
        mcp_buf_lit(b, "<p><a class=\"button\" href=\"");
        mcp_page_escape(b, path, 1024);
        mcp_buf_lit(b, "start/");
        mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "\">Connect</a></p>\n");
    }

    if (row->state != MCP_PAGE_NONE) {
        mcp_page_form(b, path, "disconnect/", &row->name, &row->token);
        mcp_buf_lit(b, "<button class=\"plain\" aria-label=\"Disconnect ");
        mcp_page_escape(b, &row->name, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "\">Disconnect</button></form>\n");
    }

    mcp_buf_lit(b, "</li>\n");
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
    mcp_buf_lit(b, "</strong>.</p>\n<p>You will be asked by <strong>");
    mcp_page_escape(b, host, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "</strong>. What you grant there is used for calls that you "
                   "make through this gateway, and for nobody else's.</p>\n");

    if (row->scope.len) {
        mcp_buf_lit(b, "<p class=\"soft\">Asked for: ");
        mcp_page_escape(b, &row->scope, MCP_PAGE_SCOPES);
        mcp_buf_lit(b, "</p>\n");
    }

    mcp_buf_lit(b, "<p>If nobody but you sent you here, go on. If somebody "
                   "gave you this address, do not.</p>\n");

    mcp_page_form(b, path, "start/", &row->name, &row->token);

    if (ticket->len) {
        mcp_buf_lit(b, "<input type=\"hidden\" name=\"ticket\" value=\"");
        mcp_page_escape(b, ticket, MCP_PAGE_TEXT);
        mcp_buf_lit(b, "\">");
    }

    mcp_buf_lit(b, "<button>Connect</button></form></div>\n<p><a href=\"");
    mcp_page_escape(b, path, 1024);
    mcp_buf_lit(b, "\">My connections</a></p>\n");
    mcp_page_end(b);
}


void
mcp_page_message(mcp_buf_t *b, const mcp_str_t *path, const char *title,
    const char *text, const char *link, const char *link_path)
{
    mcp_page_begin(b, path, title);

    mcp_buf_lit(b, "<div class=\"card\"><p>");
    mcp_page_put(b, text);
    mcp_buf_lit(b, "</p>\n");

    if (link) {
        mcp_buf_lit(b, "<p><a class=\"button\" href=\"");
        mcp_page_escape(b, path, 1024);
        mcp_page_put(b, link_path);
        mcp_buf_lit(b, "\">");
        mcp_page_put(b, link);
        mcp_buf_lit(b, "</a></p>\n");
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
    mcp_page_escape(b, path, 1024);
    mcp_buf_lit(b, "style.css\"></head>\n<body><main><h1>");
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
    mcp_page_escape(b, path, 1024);
    mcp_page_put(b, action);
    mcp_page_escape(b, name, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "\"><input type=\"hidden\" name=\"csrf\" value=\"");
    mcp_page_escape(b, token, MCP_PAGE_TEXT);
    mcp_buf_lit(b, "\">");
}


static void
mcp_page_date(mcp_buf_t *b, const char *what, int64_t date)
{
    if (date <= 0) {
        return;
    }

    mcp_buf_lit(b, " ");
    mcp_page_put(b, what);
    mcp_buf_lit(b, " <time>");
    mcp_time_write(b, date);
    mcp_buf_lit(b, "</time>.");
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
            if (mcp_page_unsafe(code)) {
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


/* Controls, and what turns, hides or breaks the text around it. */
static unsigned
mcp_page_unsafe(uint32_t code)
{
    return code < 0x20
           || (code >= 0x7f && code < 0xa0)
           || code == 0xad || code == 0x61c || code == 0x180e
           || (code >= 0x200b && code <= 0x200f)
           || (code >= 0x2028 && code <= 0x202e)
           || (code >= 0x2060 && code <= 0x206f)
           || code == 0xfeff || code == 0xfffd
           || (code >= 0xfff9 && code <= 0xfffb)
           || code >= 0xe0000;
}
