/*
 * What mcp_connect says in a sentence: what happened, and what to do now.
 * Nothing of a request or of a provider is in these.
 */

#include "ngx_mcp_connect_pages.h"
#include "ngx_mcp_reply.h"


#define NGX_MCP_HTML  "text/html; charset=utf-8"


typedef struct {
    ngx_uint_t           status;
    const char          *title;
    const char          *text;
    const char          *link;
    const char          *path;
} ngx_mcp_sentence_t;


static ngx_int_t ngx_mcp_connect_say_headers(ngx_mcp_connect_ctx_t *cc,
    ngx_mcp_say_e what);


#define NGX_MCP_HOME  "My connections", ""

/* by ngx_mcp_say_e */
static const ngx_mcp_sentence_t  ngx_mcp_sentences[] = {
    { NGX_HTTP_NOT_FOUND, "No such page",
      "There is nothing at this address.", NGX_MCP_HOME },
    { NGX_HTTP_NOT_ALLOWED, "Not like this",
      "This address is for a button of a page.", NGX_MCP_HOME },
    { NGX_HTTP_BAD_REQUEST, "Not understood",
      "The address is not complete. Begin again.", NGX_MCP_HOME },
    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, "Not understood",
      "This was not sent by a page of ours. Begin again.", NGX_MCP_HOME },
    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "Not understood",
      "This was too long for a form of ours. Begin again.", NGX_MCP_HOME },
    { NGX_HTTP_TOO_MANY_REQUESTS, "Too many at once",
      "Too much was asked from your network in a short time. Wait a minute, "
      "and try again.", NGX_MCP_HOME },
    { NGX_HTTP_SERVICE_UNAVAILABLE, "Not now",
      "Something that is needed for this does not answer. Nothing was "
      "changed. Wait a minute, and try again.", NGX_MCP_HOME },
    { NGX_HTTP_BAD_REQUEST, "Too late",
      "This step was taken already, or took longer than ten minutes. Look at "
      "your connections: if what you wanted is not there, begin again.",
      NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Another browser",
      "This was begun in another browser, or the browser keeps no cookies of "
      "ours. Begin again, here.", NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Somebody else",
      "This was begun by somebody else than who is signed in here. Nothing was "
      "connected. If both are you, sign out, and begin again.", NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Not signed in",
      "The sign-in did not succeed, or was not finished. Try again; if it "
      "stays so, tell whoever runs this gateway.", "Sign in", "login" },
    { NGX_HTTP_OK, "Signed out",
      "You are signed out here. What you connected stays connected.",
      "Sign in", "login" },
    { NGX_HTTP_FORBIDDEN, "Too late",
      "This page was open for too long, or is of another session. Nothing was "
      "changed. Begin again.", NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Too late",
      "This address was used already, or is older than ten minutes. Make the "
      "call again, or connect the account from here.", NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Not for you",
      "This address was made for somebody else. Nothing was connected. If "
      "somebody gave it to you, tell whoever runs this gateway.",
      NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Not connected",
      "It was not agreed to, so nothing was connected. You can begin again at "
      "any time.", NGX_MCP_HOME },
    { NGX_HTTP_BAD_GATEWAY, "Not connected",
      "The other side did not answer as it should, and nothing was connected. "
      "Try again; if it stays so, tell whoever runs this gateway.",
      NGX_MCP_HOME },
    { NGX_HTTP_FORBIDDEN, "Not connected",
      "Less was granted than is needed, so nothing was connected. Try again, "
      "and leave all of it chosen.", NGX_MCP_HOME },
    { NGX_HTTP_SERVICE_UNAVAILABLE, "Not connected",
      "It was granted, but could not be kept, and is not connected. Try again "
      "in some minutes.", NGX_MCP_HOME },
    { NGX_HTTP_OK, "Connected",
      "The account is connected. You can close this page, and make your call "
      "again.", NGX_MCP_HOME }
};


void
ngx_mcp_connect_say(ngx_mcp_connect_ctx_t *cc, ngx_mcp_say_e what)
{
    u_char                    *p;
    mcp_buf_t                  b;
    const ngx_mcp_sentence_t  *s;
    ngx_str_t                  body;

    s = &ngx_mcp_sentences[what];

    p = ngx_pnalloc(cc->request->pool, MCP_PAGE_SIZE);

    if (p == NULL || ngx_mcp_connect_say_headers(cc, what) != NGX_OK) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    mcp_buf_init(&b, p, MCP_PAGE_SIZE);
    mcp_page_message(&b, (mcp_str_t *) &cc->conf->path, s->title, s->text,
                     cc->reason, s->link, s->path);

    body.data = b.start;
    body.len = b.pos - b.start;

    ngx_mcp_connect_send(cc, s->status, NGX_MCP_HTML, &body);
}


static ngx_int_t
ngx_mcp_connect_say_headers(ngx_mcp_connect_ctx_t *cc, ngx_mcp_say_e what)
{
    ngx_str_t  value;

    if (what == NGX_MCP_SAY_NOT_ALLOWED) {

        if (cc->allow & NGX_HTTP_HEAD) {
            ngx_str_set(&value, "GET, HEAD");

        } else if (cc->allow == NGX_HTTP_GET) {
            ngx_str_set(&value, "GET");

        } else if (cc->allow & NGX_HTTP_GET) {
            ngx_str_set(&value, "GET, POST");

        } else {
            ngx_str_set(&value, "POST");
        }

        return ngx_mcp_add_header(cc->request, "Allow", &value) ? NGX_OK
                                                                : NGX_ERROR;
    }

    if (what == NGX_MCP_SAY_TOO_MANY) {

        value.data = ngx_pnalloc(cc->request->pool, NGX_TIME_T_LEN);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        value.len = ngx_sprintf(value.data, "%T", cc->retry_after)
                    - value.data;

        return ngx_mcp_add_header(cc->request, "Retry-After", &value)
               ? NGX_OK : NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_mcp_connect_page(ngx_mcp_connect_ctx_t *cc, mcp_buf_t *b)
{
    ngx_str_t  body;

    if (b->overflow) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    body.data = b->start;
    body.len = b->pos - b->start;

    ngx_mcp_connect_send(cc, NGX_HTTP_OK, NGX_MCP_HTML, &body);
}


void
ngx_mcp_connect_style(ngx_mcp_connect_ctx_t *cc)
{
    ngx_str_t  body;

    body.data = (u_char *) mcp_page_style;
    body.len = ngx_strlen(mcp_page_style);

    ngx_mcp_connect_send(cc, NGX_HTTP_OK, "text/css; charset=utf-8", &body);
}


void
ngx_mcp_connect_not_found(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_NOT_FOUND);
}


void
ngx_mcp_connect_not_allowed(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_NOT_ALLOWED);
}


void
ngx_mcp_connect_bad_request(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_BAD_REQUEST);
}


void
ngx_mcp_connect_no_form(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_NO_FORM);
}


void
ngx_mcp_connect_too_large(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_TOO_LARGE);
}


void
ngx_mcp_connect_too_many(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_connect_audit(cc, "connect/refuse", "deny", "connect_rate");
    ngx_mcp_connect_say(cc, NGX_MCP_SAY_TOO_MANY);
}
