/*
 * HTTP/1.x responses; mcp_http_parse.h is the contract.
 *
 * One state says what the next byte belongs to.  States up to TRAILER collect
 * a line in h->line and act when its LF comes; the others pass body bytes on.
 * A line ends with CRLF or LF alone, as RFC 9112 section 2.2 allows a client;
 * every other control character in it is an error.  Nothing is allocated and
 * nothing is read twice.
 *
 * Always true: line_len <= max_header, header_len <= max_header, body_len <=
 * max_body.  Each chunk has a byte of body at least and a size of 16 digits at
 * most, and extensions count as headers, so that the total is bounded too.
 */

#include "mcp_http_parse.h"


enum {
    HTTP_STATUS = 0,
    HTTP_HEADER,
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_END,
    HTTP_TRAILER,
    HTTP_CHUNK_DATA,
    HTTP_LENGTH,
    HTTP_CLOSE,
    HTTP_DONE,
    HTTP_FAILED
};


static int http_fail(mcp_http_t *h, const char *error);
static int http_line_bytes(mcp_http_t *h, const unsigned char **pos,
    const unsigned char *last);
static int http_line(mcp_http_t *h);
static int http_status_line(mcp_http_t *h);
static int http_header_line(mcp_http_t *h);
static int http_header(mcp_http_t *h, mcp_str_t *name, mcp_str_t *value);
static int http_content_length(mcp_http_t *h, const mcp_str_t *value);
static int http_headers_done(mcp_http_t *h);
static int http_chunk_line(mcp_http_t *h);
static int http_body(mcp_http_t *h, const unsigned char **pos,
    const unsigned char *last);
static void http_cache_control(mcp_http_t *h, const mcp_str_t *value);
static void http_directive(mcp_http_t *h, mcp_str_t *d);
static void http_retry_after(mcp_http_t *h, const mcp_str_t *value);
static int http_is(const mcp_str_t *s, const char *lit, size_t len);
static int http_is_token(unsigned char ch);
static void http_trim(mcp_str_t *s);
static uint64_t http_seconds(const mcp_str_t *s);

#define http_is_lit(s, lit)  http_is(s, lit, sizeof(lit) - 1)


void
mcp_http_init(mcp_http_t *h)
{
    h->status = 0;
    mcp_str_null(&h->content_type);
    h->max_age = -1;
    h->retry_after = -1;
    h->error = NULL;
    h->state = HTTP_STATUS;
    h->line_len = 0;
    h->header_len = 0;
    h->headers = 0;
    h->body_len = 0;
    h->content_length = 0;
    h->left = 0;
    h->age = 0;
    h->minor = 0;
    h->chunked = 0;
    h->has_length = 0;
    h->has_type = 0;
    h->no_store = 0;
}


int
mcp_http_feed(mcp_http_t *h, const void *data, size_t len)
{
    int                   rc;
    const unsigned char  *pos, *last;

    pos = data;
    last = pos + len;

    while (h->state != HTTP_DONE && h->state != HTTP_FAILED) {

        if (pos == last) {
            return MCP_AGAIN;
        }

        if (h->state <= HTTP_TRAILER) {
            rc = http_line_bytes(h, &pos, last);

        } else {
            rc = http_body(h, &pos, last);
        }

        if (rc == MCP_ERROR) {
            return rc;
        }
    }

    return h->state == HTTP_DONE ? MCP_OK : MCP_ERROR;
}


int
mcp_http_eof(mcp_http_t *h, int clean)
{
    switch (h->state) {

    case HTTP_DONE:
        return MCP_OK;

    case HTTP_FAILED:
        return MCP_ERROR;

    case HTTP_CLOSE:
        if (clean) {
            h->state = HTTP_DONE;
            return MCP_OK;
        }

        break;

    case HTTP_STATUS:
        if (h->header_len == 0) {
            return http_fail(h, "connection closed without a response");
        }

        break;

    default:
        break;
    }

    return http_fail(h, "connection closed before the end of the response");
}


static int
http_fail(mcp_http_t *h, const char *error)
{
    h->state = HTTP_FAILED;
    h->error = error;

    return MCP_ERROR;
}


/* Takes bytes up to and including LF.  MCP_AGAIN: no LF among them. */
static int
http_line_bytes(mcp_http_t *h, const unsigned char **pos,
    const unsigned char *last)
{
    size_t                n, max;
    const unsigned char  *p, *lf;

    p = *pos;
    lf = memchr(p, '\n', (size_t) (last - p));
    n = (size_t) ((lf != NULL ? lf + 1 : last) - p);

    if (h->state == HTTP_CHUNK_SIZE || h->state == HTTP_CHUNK_END) {
        max = MCP_HTTP_MAX_CHUNK_LINE;

        if (max > h->max_header) {
            max = h->max_header;
        }

        if (n > max - h->line_len) {
            return http_fail(h, "invalid chunk in the response");
        }

    } else {
        if (n > h->max_header - h->header_len) {
            return http_fail(h, "response headers too large");
        }

        h->header_len += n;
    }

    memcpy(h->line + h->line_len, p, n);
    h->line_len += n;
    *pos = p + n;

    if (lf == NULL) {
        return MCP_AGAIN;
    }

    return http_line(h);
}


/* A whole line with its LF is in h->line. */
static int
http_line(mcp_http_t *h)
{
    int     rc;
    size_t  i;

    h->line_len--;

    if (h->line_len != 0 && h->line[h->line_len - 1] == '\r') {
        h->line_len--;
    }

    for (i = 0; i < h->line_len; i++) {
        if ((h->line[i] < 0x20 && h->line[i] != '\t') || h->line[i] == 0x7f) {
            return http_fail(h, "control character in the response headers");
        }
    }

    switch (h->state) {

    case HTTP_STATUS:
        rc = http_status_line(h);
        break;

    case HTTP_HEADER:
    case HTTP_TRAILER:
        rc = http_header_line(h);
        break;

    default:
        rc = http_chunk_line(h);
        break;
    }

    h->line_len = 0;

    return rc;
}


/* HTTP/1.x SP 3DIGIT [ SP reason ] */
static int
http_status_line(mcp_http_t *h)
{
    unsigned              i;
    const unsigned char  *p;

    p = h->line;

    if (h->line_len < 12 || memcmp(p, "HTTP/1.", 7) != 0
        || p[7] < '0' || p[7] > '9' || p[8] != ' '
        || (h->line_len > 12 && p[12] != ' '))
    {
        return http_fail(h, "the response is not HTTP/1.x");
    }

    h->minor = (unsigned) (p[7] - '0') & 0xf;
    h->status = 0;

    for (i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return http_fail(h, "invalid status in the response");
        }

        h->status = h->status * 10 + (unsigned) (p[i] - '0');
    }

    if (h->status < 100 || h->status > 599 || h->status == 101) {
        return http_fail(h, "invalid status in the response");
    }

    h->state = HTTP_HEADER;

    return MCP_OK;
}


static int
http_header_line(mcp_http_t *h)
{
    size_t     i;
    mcp_str_t  name, value;

    if (h->line_len == 0) {
        if (h->state == HTTP_TRAILER) {
            h->state = HTTP_DONE;
            return MCP_OK;
        }

        return http_headers_done(h);
    }

    if (++h->headers > MCP_HTTP_MAX_HEADERS) {
        return http_fail(h, "too many response headers");
    }

    for (i = 0; i < h->line_len && http_is_token(h->line[i]); i++) {
        /* void */
    }

    /* folded lines end here as well: they begin with a blank */

    if (i == 0 || i == h->line_len || h->line[i] != ':') {
        return http_fail(h, "invalid header in the response");
    }

    /* trailers and the headers of 1xx say nothing about this response */

    if (h->state == HTTP_TRAILER || h->status < 200) {
        return MCP_OK;
    }

    name.data = h->line;
    name.len = i;
    value.data = h->line + i + 1;
    value.len = h->line_len - i - 1;
    http_trim(&value);

    return http_header(h, &name, &value);
}


static int
http_header(mcp_http_t *h, mcp_str_t *name, mcp_str_t *value)
{
    if (http_is_lit(name, "content-length")) {
        return http_content_length(h, value);
    }

    if (http_is_lit(name, "transfer-encoding")) {
        if (h->chunked || h->minor == 0 || !http_is_lit(value, "chunked")) {
            return http_fail(h, "unsupported Transfer-Encoding");
        }

        h->chunked = 1;
        return MCP_OK;
    }

    if (http_is_lit(name, "content-encoding")) {
        if (value->len != 0 && !http_is_lit(value, "identity")) {
            return http_fail(h, "unsupported Content-Encoding");
        }

        return MCP_OK;
    }

    if (http_is_lit(name, "content-type")) {
        if (h->has_type) {
            return http_fail(h, "more than one Content-Type");
        }

        h->has_type = 1;

        if (value->len <= sizeof(h->type)) {
            memcpy(h->type, value->data, value->len);
            h->content_type.data = h->type;
            h->content_type.len = value->len;
        }

        return MCP_OK;
    }

    if (http_is_lit(name, "cache-control")) {
        http_cache_control(h, value);

    } else if (http_is_lit(name, "age")) {
        h->age = http_seconds(value);

    } else if (http_is_lit(name, "retry-after")) {
        http_retry_after(h, value);
    }

    return MCP_OK;
}


/* One or more equal values, each a plain number (RFC 9112, 6.3 item 5). */
static int
http_content_length(mcp_http_t *h, const mcp_str_t *value)
{
    size_t    i;
    uint64_t  n;

    if (value->len == 0 || value->len > 18) {
        return http_fail(h, "invalid Content-Length");
    }

    n = 0;

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < '0' || value->data[i] > '9') {
            return http_fail(h, "invalid Content-Length");
        }

        n = n * 10 + (uint64_t) (value->data[i] - '0');
    }

    if (h->has_length && h->content_length != n) {
        return http_fail(h, "invalid Content-Length");
    }

    h->has_length = 1;
    h->content_length = n;

    return MCP_OK;
}


static int
http_headers_done(mcp_http_t *h)
{
    if (h->status < 200) {
        h->state = HTTP_STATUS;
        return MCP_OK;
    }

    if (h->no_store) {
        h->max_age = 0;

    } else if (h->max_age > 0) {
        h->max_age = h->age < (uint64_t) h->max_age
                     ? h->max_age - (int64_t) h->age : 0;
    }

    if (h->chunked && h->has_length) {
        return http_fail(h, "both Content-Length and Transfer-Encoding");
    }

    if (h->status == 204 || h->status == 304) {
        h->state = HTTP_DONE;

    } else if (h->chunked) {
        h->state = HTTP_CHUNK_SIZE;

    } else if (!h->has_length) {
        h->state = HTTP_CLOSE;

    } else if (h->content_length > h->max_body) {
        return http_fail(h, "response body too large");

    } else {
        h->left = h->content_length;
        h->state = h->left != 0 ? HTTP_LENGTH : HTTP_DONE;
    }

    return MCP_OK;
}


/* The size before a chunk, or the empty line behind one. */
static int
http_chunk_line(mcp_http_t *h)
{
    int       digit;
    size_t    i;
    uint64_t  n;

    if (h->state == HTTP_CHUNK_END) {
        if (h->line_len != 0) {
            return http_fail(h, "invalid chunk in the response");
        }

        h->state = HTTP_CHUNK_SIZE;
        return MCP_OK;
    }

    n = 0;

    for (i = 0; i < h->line_len; i++) {
        digit = mcp_hex_digit(h->line[i]);

        if (digit < 0) {
            break;
        }

        n = n * 16 + (unsigned) digit;
    }

    /* 16 digits fit into n */

    if (i == 0 || i > 16
        || (i < h->line_len && h->line[i] != ';' && h->line[i] != ' '
            && h->line[i] != '\t'))
    {
        return http_fail(h, "invalid chunk in the response");
    }

    /* extensions say nothing to us, but they could be sent for ever */

    if (h->line_len - i > h->max_header - h->header_len) {
        return http_fail(h, "response headers too large");
    }

    h->header_len += h->line_len - i;

    if (n > h->max_body - h->body_len) {
        return http_fail(h, "response body too large");
    }

    h->left = n;
    h->state = n != 0 ? HTTP_CHUNK_DATA : HTTP_TRAILER;

    return MCP_OK;
}


static int
http_body(mcp_http_t *h, const unsigned char **pos, const unsigned char *last)
{
    size_t                n;
    const unsigned char  *p;

    p = *pos;
    n = (size_t) (last - p);

    if (h->state != HTTP_CLOSE && n > h->left) {
        n = (size_t) h->left;
    }

    if (n > h->max_body - h->body_len) {
        return http_fail(h, "response body too large");
    }

    if (h->body(h->ctx, p, n) != MCP_OK) {
        return http_fail(h, "out of memory");
    }

    h->body_len += n;
    *pos = p + n;

    if (h->state == HTTP_CLOSE) {
        return MCP_OK;
    }

    h->left -= n;

    if (h->left == 0) {
        h->state = h->state == HTTP_LENGTH ? HTTP_DONE : HTTP_CHUNK_END;
    }

    return MCP_OK;
}


/*
 * RFC 9111, 5.2.  A comma in a quoted argument cuts it: the pieces belong to
 * directives that do not matter here.
 */
static void
http_cache_control(mcp_http_t *h, const mcp_str_t *value)
{
    mcp_str_t       d;
    unsigned char  *p, *comma, *last;

    p = value->data;
    last = p + value->len;

    while (p < last) {
        comma = memchr(p, ',', (size_t) (last - p));

        if (comma == NULL) {
            comma = last;
        }

        d.data = p;
        d.len = (size_t) (comma - p);
        http_directive(h, &d);

        p = comma + 1;
    }
}


static void
http_directive(mcp_http_t *h, mcp_str_t *d)
{
    int64_t    age;
    mcp_str_t  arg;

    http_trim(d);

    if (http_is_lit(d, "no-store") || http_is_lit(d, "no-cache")) {
        h->no_store = 1;
        return;
    }

    arg = *d;

    if (arg.len <= sizeof("max-age=") - 1) {
        return;
    }

    arg.len = sizeof("max-age=") - 1;

    if (!http_is_lit(&arg, "max-age=")) {
        return;
    }

    arg.data = d->data + arg.len;
    arg.len = d->len - arg.len;

    if (arg.len > 2 && arg.data[0] == '"' && arg.data[arg.len - 1] == '"') {
        arg.data++;
        arg.len -= 2;
    }

    age = (int64_t) http_seconds(&arg);

    /* of two, the shorter */

    if (h->max_age == -1 || age < h->max_age) {
        h->max_age = age;
    }
}


/* RFC 9110, 10.2.3: seconds; a date is as good as nothing said. */
static void
http_retry_after(mcp_http_t *h, const mcp_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < '0' || value->data[i] > '9') {
            return;
        }
    }

    if (i) {
        h->retry_after = (int64_t) http_seconds(value);
    }
}


static int
http_is(const mcp_str_t *s, const char *lit, size_t len)
{
    return mcp_str_caseeq(s->data, s->len, lit, len);
}


/* tchar, RFC 9110 section 5.6.2 */
static int
http_is_token(unsigned char ch)
{
    if ((ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z'))
    {
        return 1;
    }

    return ch != 0 && memchr("!#$%&'*+-.^_`|~", ch, 15) != NULL;
}


static void
http_trim(mcp_str_t *s)
{
    while (s->len != 0 && (s->data[0] == ' ' || s->data[0] == '\t')) {
        s->data++;
        s->len--;
    }

    while (s->len != 0
           && (s->data[s->len - 1] == ' ' || s->data[s->len - 1] == '\t'))
    {
        s->len--;
    }
}


/* What is not a number is 0: stale at once (RFC 9111, 4.2.1). */
static uint64_t
http_seconds(const mcp_str_t *s)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return 0;
        }

        n = n * 10 + (uint64_t) (s->data[i] - '0');

        if (n > MCP_HTTP_MAX_AGE) {
            n = MCP_HTTP_MAX_AGE;
        }
    }

    return n;
}
