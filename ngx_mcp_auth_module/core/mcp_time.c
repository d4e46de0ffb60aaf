/*
 * Moments as text.  See mcp_time.h.
 *
 * Days to a date and back after H. Hinnant's civil_from_days and
 * days_from_civil: the year is taken to begin on the first of March, so that
 * the leap day is its last.  No time function of libc: no zone, no locale.
 *
 * Called for each audit record, and where records and watermarks are read.
 */

#include "mcp_time.h"


#define MCP_TIME_EPOCH  719468          /* days from 1 March 0 to 1970 */


static int mcp_time_number(const unsigned char *p, unsigned n,
    unsigned *value);
static unsigned mcp_time_month_days(unsigned year, unsigned month);
static unsigned mcp_time_days(unsigned year, unsigned month, unsigned day);
static void mcp_time_two(unsigned char *p, unsigned n);


int
mcp_time_parse(const mcp_str_t *text, int64_t *sec)
{
    unsigned              i, year, month, day, hour, min, s;
    const unsigned char  *p;

    static const char  form[] = "0000-00-00T00:00:00Z";

    if (text->len != MCP_TIME_LEN) {
        return MCP_ERROR;
    }

    p = text->data;

    for (i = 0; i < MCP_TIME_LEN; i++) {
        if (form[i] != '0' && p[i] != (unsigned char) form[i]) {
            return MCP_ERROR;
        }
    }

    if (mcp_time_number(p, 4, &year) != MCP_OK
        || mcp_time_number(p + 5, 2, &month) != MCP_OK
        || mcp_time_number(p + 8, 2, &day) != MCP_OK
        || mcp_time_number(p + 11, 2, &hour) != MCP_OK
        || mcp_time_number(p + 14, 2, &min) != MCP_OK
        || mcp_time_number(p + 17, 2, &s) != MCP_OK)
    {
        return MCP_ERROR;
    }

    if (year < 1970 || month < 1 || month > 12 || day < 1
        || day > mcp_time_month_days(year, month)
        || hour > 23 || min > 59 || s > 59)
    {
        return MCP_ERROR;
    }

    *sec = (int64_t) mcp_time_days(year, month, day) * 86400
           + hour * 3600 + min * 60 + s;

    return MCP_OK;
}


void
mcp_time_write(mcp_buf_t *b, int64_t sec)
{
    unsigned       days, s, era, doe, yoe, doy, mp, year, month, day;
    unsigned char  t[MCP_TIME_LEN];

    if (sec < 0) {
        sec = 0;

    } else if (sec > MCP_TIME_MAX) {
        sec = MCP_TIME_MAX;
    }

    days = (unsigned) (sec / 86400) + MCP_TIME_EPOCH;
    s = (unsigned) (sec % 86400);

    era = days / 146097;
    doe = days % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    day = doy - (153 * mp + 2) / 5 + 1;
    month = (mp < 10) ? mp + 3 : mp - 9;
    year = yoe + era * 400 + (month <= 2);

    memcpy(t, "0000-00-00T00:00:00Z", MCP_TIME_LEN);

    mcp_time_two(t, year / 100);
    mcp_time_two(t + 2, year % 100);
    mcp_time_two(t + 5, month);
    mcp_time_two(t + 8, day);
    mcp_time_two(t + 11, s / 3600);
    mcp_time_two(t + 14, s / 60 % 60);
    mcp_time_two(t + 17, s % 60);

    mcp_buf_put(b, t, MCP_TIME_LEN);
}


static int
mcp_time_number(const unsigned char *p, unsigned n, unsigned *value)
{
    *value = 0;

    while (n--) {
        if (*p < '0' || *p > '9') {
            return MCP_ERROR;
        }

        *value = *value * 10 + (unsigned) (*p++ - '0');
    }

    return MCP_OK;
}


static unsigned
mcp_time_month_days(unsigned year, unsigned month)
{
    static const unsigned char  days[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) {
        return 29;
    }

    return days[month - 1];
}


/* Since the epoch, of a valid date of 1970 or later. */

static unsigned
mcp_time_days(unsigned year, unsigned month, unsigned day)
{
    unsigned  era, yoe, doy;

    year -= (month <= 2);

    era = year / 400;
    yoe = year % 400;
    doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy
           - MCP_TIME_EPOCH;
}


static void
mcp_time_two(unsigned char *p, unsigned n)
{
    p[0] = (unsigned char) ('0' + n / 10);
    p[1] = (unsigned char) ('0' + n % 10);
}
