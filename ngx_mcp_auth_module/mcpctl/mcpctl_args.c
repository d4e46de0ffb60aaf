/*
 * Values of options.  See mcpctl_args.h.
 */

#include "mcpctl_args.h"
#include "mcpctl_parse.h"
#include "mcp_time.h"

#include <time.h>


#define MCPCTL_FAR  (100 * 366 * 86400ll)       /* s; further is a mistake */


int64_t
mcpctl_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return ts.tv_sec;
}


int
mcpctl_arg_time(mcpctl_t *ctl, const char *option, const char *text,
    int64_t now, int64_t *sec)
{
    mcp_str_t  s;

    s = mcpctl_cstr(text);

    if (s.len == 10 && s.data[4] == '-') {
        s = mcpctl_cstr(mcpctl_format(ctl, "%sT00:00:00Z", text));
    }

    if (s.len == MCP_TIME_LEN && s.data[4] == '-') {

        if (mcp_time_parse(&s, sec) == MCP_OK) {
            return 0;
        }

        return mcpctl_error(ctl, -1, "--%s \"%s\" is no date", option, text);
    }

    if (mcpctl_arg_duration(ctl, option, text, sec) != 0) {
        return -1;
    }

    *sec += now;

    return 0;
}


int
mcpctl_arg_duration(mcpctl_t *ctl, const char *option, const char *text,
    int64_t *sec)
{
    mcp_str_t  s;

    s = mcpctl_cstr(text);

    *sec = mcpctl_time(&s, 1);

    /* nginx takes a bare number for seconds; here somebody forgot the unit */

    if (*sec < 0 || *sec > MCPCTL_FAR
        || (*sec && s.data[s.len - 1] >= '0' && s.data[s.len - 1] <= '9'))
    {
        return mcpctl_error(ctl, -1, "--%s \"%s\" is no time like 90d, 1h30m "
                            "or 2027-01-31", option, text);
    }

    return 0;
}


int
mcpctl_arg_text(mcpctl_t *ctl, const char *option, const char *text,
    mcp_str_t *value)
{
    size_t  i;

    *value = mcpctl_cstr(text);

    if (value->len == 0 || value->len > MCPCTL_NAME_MAX) {
        return mcpctl_error(ctl, -1, "--%s is empty or longer than %d bytes",
                            option, MCPCTL_NAME_MAX);
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < 0x20 || value->data[i] == 0x7f) {
            return mcpctl_error(ctl, -1, "--%s has a control character",
                                option);
        }
    }

    if (!mcp_utf8_valid(value->data, value->len)) {
        return mcpctl_error(ctl, -1, "--%s is not valid UTF-8", option);
    }

    return 0;
}


int
mcpctl_arg_list(mcpctl_t *ctl, const char *option, const char *text,
    unsigned max, mcp_str_t **list, unsigned *n)
{
    mcp_str_t    item;
    const char  *end;

    *list = mcpctl_alloc(ctl, max * sizeof(mcp_str_t));
    *n = 0;

    for ( ;; ) {
        end = strchr(text, ',');
        item = mcpctl_str(ctl, text, end ? (size_t) (end - text)
                                         : strlen(text));

        if (*n == max) {
            return mcpctl_error(ctl, -1, "--%s has more than %u items",
                                option, max);
        }

        if (mcpctl_arg_text(ctl, option, (char *) item.data, &item) != 0) {
            return -1;
        }

        (*list)[(*n)++] = item;

        if (end == NULL) {
            return 0;
        }

        text = end + 1;
    }
}


int
mcpctl_arg_issuer(mcpctl_t *ctl, const char *text, unsigned force,
    mcp_str_t *issuer)
{
    unsigned          i;
    mcp_str_t         want;
    mcpctl_issuer_t  *is;

    if (text == NULL) {

        if (ctl->conf->issuers.n != 1) {
            return mcpctl_error(ctl, MCPCTL_USAGE, "\"%s\" has %u issuers: "
                                "--issuer has to say which",
                                ctl->conf->file.data, ctl->conf->issuers.n);
        }

        is = ctl->conf->issuers.elts[0];
        *issuer = is->jwt.issuer;

        return MCPCTL_OK;
    }

    if (mcpctl_arg_text(ctl, "issuer", text, &want) != 0) {
        return mcpctl_usage(ctl);
    }

    for (i = 0; i < ctl->conf->issuers.n; i++) {
        is = ctl->conf->issuers.elts[i];

        if (mcp_str_eq(&is->jwt.issuer, &want)
            || mcp_str_eq(&is->name, &want))
        {
            *issuer = is->jwt.issuer;
            return MCPCTL_OK;
        }
    }

    if (!force) {
        return mcpctl_error(ctl, MCPCTL_REFUSED, "\"%s\" has no issuer \"%s\" "
                            "(--force: it is meant)", ctl->conf->file.data,
                            text);
    }

    *issuer = want;

    return MCPCTL_OK;
}


char *
mcpctl_arg_moment(mcpctl_t *ctl, int64_t sec)
{
    mcp_buf_t  b;

    if (sec == 0) {
        return mcpctl_format(ctl, "-");
    }

    mcp_buf_init(&b, mcpctl_alloc(ctl, MCP_TIME_LEN + 1), MCP_TIME_LEN);
    mcp_time_write(&b, sec);

    return (char *) b.start;
}
