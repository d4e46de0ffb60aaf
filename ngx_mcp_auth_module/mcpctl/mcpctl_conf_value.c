/*
 * Values of the configuration as nginx reads them (ngx_parse_size(),
 * ngx_parse_time()), and URLs as ngx_mcp_url_parse() of the module does.
 * Nothing here says what is wrong: the callers know the directive.
 */

#include "mcpctl_parse.h"

#include <arpa/inet.h>


#define MCPCTL_URL   2048
#define MCPCTL_HOST  253                /* RFC 1035 */


/* a unit of time, the largest is 1 */
#define MCPCTL_MONTH  2
#define MCPCTL_SEC    7
#define MCPCTL_MSEC   8
#define MCPCTL_LAST   9


static int64_t mcpctl_time_unit(const mcp_str_t *s, size_t *i,
    unsigned *step, unsigned seconds);
static const char *mcpctl_url_ipv6(const unsigned char *p, size_t len,
    unsigned *loopback);
static const char *mcpctl_url_host(const unsigned char *p, size_t len,
    unsigned *loopback);
static int mcpctl_url_ipv4(const unsigned char *p, size_t len,
    uint32_t *addr);


/* Digits only. */
int64_t
mcpctl_number(const mcp_str_t *s)
{
    size_t   i;
    int64_t  n, digit;

    if (s->len == 0) {
        return -1;
    }

    n = 0;

    for (i = 0; i < s->len; i++) {

        if (s->data[i] < '0' || s->data[i] > '9') {
            return -1;
        }

        digit = s->data[i] - '0';

        if (n > (INT64_MAX - digit) / 10) {
            return -1;
        }

        n = n * 10 + digit;
    }

    return n;
}


/* Bytes: 16384, 16k, 4m. */
int64_t
mcpctl_size(const mcp_str_t *s)
{
    int64_t    n, scale;
    mcp_str_t  digits;

    digits = *s;
    scale = 1;

    if (s->len) {
        switch (s->data[s->len - 1] | 0x20) {

        case 'k':
            scale = 1024;
            digits.len--;
            break;

        case 'm':
            scale = 1024 * 1024;
            digits.len--;
            break;
        }
    }

    n = mcpctl_number(&digits);

    return (n < 0 || n > INT64_MAX / scale) ? -1 : n * scale;
}


/*
 * "1h 30m", "500ms", "90": units from large to small, each once.  In seconds,
 * or in ms; then years and months are not taken.
 */
int64_t
mcpctl_time(const mcp_str_t *s, unsigned seconds)
{
    size_t    i;
    int64_t   n, total, scale, digit;
    unsigned  valid, step;

    n = 0;
    total = 0;
    valid = 0;
    step = seconds ? 0 : MCPCTL_MONTH;

    for (i = 0; i < s->len; /* void */ ) {

        if (s->data[i] >= '0' && s->data[i] <= '9') {
            digit = s->data[i++] - '0';

            if (n > (INT64_MAX - digit) / 10) {
                return -1;
            }

            n = n * 10 + digit;
            valid = 1;
            continue;
        }

        scale = mcpctl_time_unit(s, &i, &step, seconds);

        if (scale == -1 || n > (INT64_MAX - total) / scale) {
            return -1;
        }

        total += n * scale;
        n = 0;

        while (i < s->len && s->data[i] == ' ') {
            i++;
        }
    }

    scale = seconds ? 1 : 1000;

    if (!valid || n > (INT64_MAX - total) / scale) {
        return -1;
    }

    return total + n * scale;
}


/* The unit at *i, smaller than the one before it (*step): what it is in s or
 * ms; -1: it is none.  A space is that of seconds, and the last one. */
static int64_t
mcpctl_time_unit(const mcp_str_t *s, size_t *i, unsigned *step,
    unsigned seconds)
{
    int64_t        scale;
    unsigned       unit;
    unsigned char  c;

    static const struct {
        char      name;
        int64_t   scale;                /* s */
    } units[] = {
        { 'y', 365 * 86400 }, { 'M', 30 * 86400 }, { 'w', 7 * 86400 },
        { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 }
    };

    c = s->data[(*i)++];

    if (c == 'm' && *i < s->len && s->data[*i] == 's') {
        (*i)++;

        if (seconds || *step >= MCPCTL_MSEC) {
            return -1;
        }

        *step = MCPCTL_MSEC;

        return 1;
    }

    if (c == ' ') {

        if (*step >= MCPCTL_SEC) {
            return -1;
        }

        unit = MCPCTL_LAST;
        scale = 1;

    } else {

        for (unit = 0; unit < MCPCTL_SEC; unit++) {
            if (c == (unsigned char) units[unit].name) {
                break;
            }
        }

        if (unit == MCPCTL_SEC || *step > unit) {
            return -1;
        }

        scale = units[unit++].scale;
    }

    *step = unit;

    return scale * (seconds ? 1 : 1000);
}


const char *
mcpctl_url(const mcp_str_t *url, size_t *path)
{
    size_t                i, scheme;
    unsigned              tls;
    mcp_str_t             authority;
    const char           *error;
    mcpctl_authority_t    a;
    const unsigned char  *p, *last;

    if (url->len > MCPCTL_URL) {
        return "the URL is too long";
    }

    for (i = 0; i < url->len; i++) {

        if (url->data[i] == '#') {
            return "the URL must not have a fragment";
        }

        if (url->data[i] <= 0x20 || url->data[i] >= 0x7f
            || strchr("\"<>\\^`{|}", url->data[i]))
        {
            return "the URL has an invalid character";
        }
    }

    if (url->len > 8 && mcp_str_caseeq(url->data, 8, "https://", 8)) {
        tls = 1;
        scheme = 8;

    } else if (url->len > 7 && mcp_str_caseeq(url->data, 7, "http://", 7)) {
        tls = 0;
        scheme = 7;

    } else {
        return "the URL must begin with https:// or http://";
    }

    last = url->data + url->len;

    for (p = url->data + scheme; p < last && *p != '/' && *p != '?'; p++) {
        /* void */
    }

    authority.data = url->data + scheme;
    authority.len = (size_t) (p - authority.data);

    error = mcpctl_authority(&authority, &a);

    if (error) {
        return error;
    }

    if (!tls && !a.loopback) {
        return "http:// is allowed to a loopback address only";
    }

    if (path) {
        *path = (size_t) (p - url->data);
    }

    return NULL;
}


/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT. */
const char *
mcpctl_authority(const mcp_str_t *text, mcpctl_authority_t *a)
{
    int64_t               n;
    mcp_str_t             port;
    const char           *error;
    const unsigned char  *p, *last, *end;

    p = text->data;
    last = p + text->len;

    memset(a, 0, sizeof(mcpctl_authority_t));

    if (memchr(p, '@', text->len)) {
        return "the URL must not have a user name";
    }

    if (p < last && *p == '[') {

        end = memchr(++p, ']', text->len - 1);
        if (end == NULL) {
            return "the URL has an invalid host";
        }

        error = mcpctl_url_ipv6(p, (size_t) (end - p), &a->loopback);

    } else {
        end = memchr(p, ':', text->len);
        if (end == NULL) {
            end = last;
        }

        error = mcpctl_url_host(p, (size_t) (end - p), &a->loopback);
    }

    a->host.data = (unsigned char *) p;
    a->host.len = (size_t) (end - p);

    if (end < last && *end == ']') {
        end++;
    }

    if (error || end == last) {
        return error;
    }

    if (*end != ':') {
        return "the URL has an invalid host";
    }

    port.data = (unsigned char *) end + 1;
    port.len = (size_t) (last - port.data);

    n = port.len > 5 ? -1 : mcpctl_number(&port);

    if (n < 1 || n > 65535) {
        return "the URL has an invalid port";
    }

    a->port = (unsigned) n;

    return NULL;
}


static const char *
mcpctl_url_ipv6(const unsigned char *p, size_t len, unsigned *loopback)
{
    char             text[INET6_ADDRSTRLEN];
    struct in6_addr  addr;

    if (len < sizeof(text)) {
        memcpy(text, p, len);
        text[len] = '\0';

        if (inet_pton(AF_INET6, text, &addr) == 1) {
            *loopback = IN6_IS_ADDR_LOOPBACK(&addr) ? 1 : 0;
            return NULL;
        }
    }

    return "the URL has an invalid IPv6 address";
}


/*
 * A name or an IPv4 address; what begins its last label with a digit is an
 * address or nothing.
 */
static const char *
mcpctl_url_host(const unsigned char *p, size_t len, unsigned *loopback)
{
    size_t         i, label;
    uint32_t       addr;
    unsigned char  c;

    if (len == 0 || len > MCPCTL_HOST) {
        return "the URL has an invalid host";
    }

    label = 0;

    for (i = 0; i < len; i++) {
        c = p[i];

        if (c == '.') {
            if (i == label) {
                return "the URL has an invalid host";
            }

            label = i + 1;
            continue;
        }

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        {
            return "the URL has an invalid host";
        }
    }

    if (label == len) {
        return "the URL has an invalid host";
    }

    if (p[label] < '0' || p[label] > '9') {
        *loopback = mcp_str_caseeq(p, len, "localhost", 9) ? 1 : 0;
        return NULL;
    }

    if (mcpctl_url_ipv4(p, len, &addr) != MCP_OK) {
        return "the URL has an invalid IPv4 address";
    }

    *loopback = (addr >> 24) == 127;

    return NULL;
}


/* Four numbers of at most 255; 255.255.255.255 is none for nginx. */
static int
mcpctl_url_ipv4(const unsigned char *p, size_t len, uint32_t *addr)
{
    size_t    i;
    uint32_t  octet;
    unsigned  dots;

    *addr = 0;
    octet = 0;
    dots = 0;

    for (i = 0; i < len; i++) {

        if (p[i] == '.') {
            *addr = (*addr << 8) + octet;
            octet = 0;
            dots++;
            continue;
        }

        if (p[i] < '0' || p[i] > '9') {
            return MCP_ERROR;
        }

        octet = octet * 10 + (p[i] - '0');

        if (octet > 255) {
            return MCP_ERROR;
        }
    }

    *addr = (*addr << 8) + octet;

    return (dots == 3 && *addr != UINT32_MAX) ? MCP_OK : MCP_ERROR;
}
