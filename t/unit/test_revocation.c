/*
 * mcp_revocation and mcp_time: watermarks as lines, in files, and whom they
 * concern; moments as text.
 */

#include "jose_fixture.h"

#include <time.h>

#include "mcp_revocation.h"


#define ISS   "https://id.example.com"
#define AT    "2026-11-25T15:10:40Z"
#define USER  "user " ISS " 00u1 " AT


static int
parse(const char *text, mcp_revocation_t *r, const char **error)
{
    mcp_str_t  line;

    *error = NULL;
    line = fx_str(text);

    return mcp_revocation_parse(&line, &fx_mem, r, error);
}


static char *
written(const mcp_revocation_t *r)
{
    mcp_buf_t      b;
    unsigned char  line[MCP_REVOCATION_LINE];

    mcp_buf_init(&b, line, sizeof(line));
    mcp_revocation_write(&b, r);
    assert_false(b.overflow);

    return fx_printf("%.*s", (int) (b.pos - b.start), (char *) line);
}


static char *
field(const mcp_revocation_t *r)
{
    mcp_buf_t      b;
    unsigned char  line[MCP_REVOCATION_LINE];

    mcp_buf_init(&b, line, sizeof(line));
    mcp_revocation_field(&b, r);
    assert_false(b.overflow);

    return fx_printf("%.*s", (int) (b.pos - b.start), (char *) line);
}


static void
test_time(void **state)
{
    char           *out;
    size_t          i;
    int64_t         sec;
    mcp_buf_t       b;
    mcp_str_t       text;
    unsigned char   line[20];

    static const struct {
        const char  *text;
        int64_t      sec;
    } rows[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01T23:59:59Z", 86399 },
        { "1999-12-31T23:59:59Z", 946684799 },
        { "2000-02-29T00:00:00Z", 951782400 },
        { "2000-03-01T00:00:00Z", 951868800 },
        { "2024-02-29T12:34:56Z", 1709210096 },
        { "2026-11-25T15:10:40Z", 1795619440 },
        { "2038-01-19T03:14:08Z", 2147483648 },
        { "2100-02-28T23:59:59Z", 4107542399 },
        { "2100-03-01T00:00:00Z", 4107542400 },
        { "2400-02-29T00:00:00Z", 13574563200 },
        { "9999-12-31T23:59:59Z", MCP_TIME_MAX }
    };

    static const char  *bad[] = {
        "", "-", "2026-11-25T15:10:40", "2026-11-25T15:10:40Z ",
        "2026-11-25T15:10:40.0Z", "2026-11-25t15:10:40z",
        "2026-11-25 15:10:40Z", "2026-11-25T15:10:40+", "2026/11/25T15:10:40Z",
        "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
        "2026-00-25T15:10:40Z", "2026-13-25T15:10:40Z",
        "2026-11-00T15:10:40Z", "2026-11-31T15:10:40Z",
        "2026-02-29T15:10:40Z", "2100-02-29T15:10:40Z",
        "2024-02-30T15:10:40Z", "2026-11-25T24:00:00Z",
        "2026-11-25T15:60:40Z", "2026-11-25T15:10:60Z",
        "202a-11-25T15:10:40Z", "2026-1a-25T15:10:40Z",
        "2026-11-+5T15:10:40Z", "2026-11-25T 5:10:40Z",
        "2026-11-25T15:-1:40Z", "2026-11-25T15:10:4\xB2Z"
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        text = fx_str(rows[i].text);
        assert_int_equal(mcp_time_parse(&text, &sec), MCP_OK);
        assert_int_equal(sec, rows[i].sec);

        mcp_buf_init(&b, line, sizeof(line));
        mcp_time_write(&b, sec);
        assert_false(b.overflow);
        assert_memory_equal(line, rows[i].text, 20);
    }

    for (i = 0; i < fx_count(bad); i++) {
        text = fx_str(bad[i]);

        if (mcp_time_parse(&text, &sec) != MCP_ERROR) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }

    /* out of range, and out of room */

    mcp_buf_init(&b, line, sizeof(line));
    mcp_time_write(&b, -1);
    assert_memory_equal(line, rows[0].text, 20);

    mcp_buf_init(&b, line, sizeof(line));
    mcp_time_write(&b, INT64_MAX);
    assert_memory_equal(line, "9999-12-31T23:59:59Z", 20);

    mcp_buf_init(&b, line, 19);
    mcp_time_write(&b, 0);
    assert_true(b.overflow);

    /* each day of 400 years, against the C library */

    for (sec = 0; sec < 146097ll * 86400; sec += 86399) {
        time_t     t;
        struct tm  tm;

        t = (time_t) sec;
        (void) gmtime_r(&t, &tm);

        out = fx_printf("%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                        tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                        tm.tm_sec);

        mcp_buf_init(&b, line, sizeof(line));
        mcp_time_write(&b, sec);
        assert_memory_equal(line, out, 20);

        text = fx_str(out);
        assert_int_equal(mcp_time_parse(&text, (int64_t *) &t), MCP_OK);
        assert_int_equal(t, sec);

        fx_release_to(NULL);
    }
}


static void
test_line(void **state)
{
    size_t             i;
    const char        *error;
    mcp_revocation_t   r;

    static const struct {
        const char    *line;
        const char    *field;
        mcp_revoke_e   type;
        const char    *issuer;
        const char    *value;
        int64_t        at;
    } rows[] = {
        { USER, "user " ISS " 00u1", MCP_REVOKE_USER, ISS, "00u1",
          1795619440 },
        { "user " ISS " 00u1 -", "user " ISS " 00u1", MCP_REVOKE_USER, ISS,
          "00u1", 0 },
        { "user - 00u1 " AT, NULL, MCP_REVOKE_USER, NULL, NULL, 0 },
        { "client " ISS " 0oa1 " AT, "client " ISS " 0oa1",
          MCP_REVOKE_CLIENT, ISS, "0oa1", 1795619440 },
        { "client - ci " AT, "client - ci", MCP_REVOKE_CLIENT, "", "ci",
          1795619440 },
        { "token - vat-Ab3dEf6hIj9k " AT, "token - vat-Ab3dEf6hIj9k",
          MCP_REVOKE_TOKEN, "", "vat-Ab3dEf6hIj9k", 1795619440 },
        { "token " ISS " AT.1 " AT, "token " ISS " AT.1", MCP_REVOKE_TOKEN,
          ISS, "AT.1", 1795619440 },
        { "issuer " ISS " - " AT, "issuer " ISS " -", MCP_REVOKE_ISSUER, ISS,
          "", 1795619440 },
        { "all - - " AT, "all - -", MCP_REVOKE_ALL, "", "", 1795619440 },
        { "all - - -", "all - -", MCP_REVOKE_ALL, "", "", 0 },
        { "user %2D %2D " AT, "user %2D %2D", MCP_REVOKE_USER, "-", "-",
          1795619440 },
        { "user -- -a " AT, "user -- -a", MCP_REVOKE_USER, "--", "-a",
          1795619440 },
        { "user x=1,2 Jos%C3%A9%20%25 " AT, "user x=1,2 Jos%C3%A9%20%25",
          MCP_REVOKE_USER, "x=1,2", "Jos\xC3\xA9 %", 1795619440 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {

        if (rows[i].field == NULL) {
            assert_int_equal(parse(rows[i].line, &r, &error), MCP_ERROR);
            continue;
        }

        assert_int_equal(parse(rows[i].line, &r, &error), MCP_OK);
        assert_int_equal(r.type, rows[i].type);
        assert_int_equal(r.at, rows[i].at);
        assert_int_equal(r.until, 0);
        assert_int_equal(r.stamp, 0);
        assert_string_equal(fx_printf("%.*s", (int) r.issuer.len,
                                      (char *) r.issuer.data),
                            rows[i].issuer);
        assert_string_equal(fx_printf("%.*s", (int) r.value.len,
                                      (char *) r.value.data), rows[i].value);
        assert_string_equal(written(&r), rows[i].line);
        assert_string_equal(field(&r), rows[i].field);
    }

    assert_int_equal(parse(USER " until=2027-11-25T15:10:40Z by=root"
                           " reason=left%20us=x,y", &r, &error), MCP_OK);
    assert_int_equal(r.until, 1795619440 + 365 * 86400);
    assert_true(mcp_str_eq_lit(&r.by, "root"));
    assert_true(mcp_str_eq_lit(&r.reason, "left us=x,y"));
    assert_string_equal(written(&r), USER " until=2027-11-25T15:10:40Z by=root"
                                     " reason=left%20us=x,y");

    /* another order, and a word of the future */

    assert_int_equal(parse(USER " ticket=1%zz reason=left%20us=x,y by=root"
                           " until=2027-11-25T15:10:40Z", &r, &error),
                     MCP_OK);
    assert_string_equal(written(&r), USER " until=2027-11-25T15:10:40Z by=root"
                                     " reason=left%20us=x,y");

    /* the same, escaped otherwise, has the same field */

    assert_int_equal(parse("user https%3a//id.example.com %300u1 -", &r,
                           &error), MCP_OK);
    assert_string_equal(field(&r), "user " ISS " 00u1");
}


static void
test_malformed(void **state)
{
    size_t             i;
    const char        *error;
    mcp_str_t          line;
    mcp_revocation_t   r;

    static const struct {
        const char  *text;
        const char  *error;
    } rows[] = {
        { "", "TYPE ISSUER" },
        { "all", "TYPE ISSUER" },
        { "all - -", "TYPE ISSUER" },
        { "all - - ", "TYPE ISSUER" },
        { "all  - - " AT, "TYPE ISSUER" },
        { " " USER, "TYPE ISSUER" },
        { "All - - " AT, "begins with" },
        { "group " ISS " x " AT, "begins with" },
        { "all - x " AT, "third column" },
        { "all " ISS " - " AT, "second column" },
        { "issuer - - " AT, "needs an issuer" },
        { "issuer " ISS " x " AT, "third column" },
        { "user " ISS " - " AT, "needs a value" },
        { "user - x " AT, "needs an issuer" },
        { "client " ISS " - " AT, "needs a value" },
        { "token - - " AT, "needs a value" },
        { "all - - 2026-11-25", "fourth" },
        { "all - - --", "fourth" },
        { "all - - 1970-01-01T00:00:00Z", "fourth" },
        { "all - - 1795619440", "fourth" },
        { USER " ", "space" },
        { USER "  by=x", "space" },
        { USER " word", "key=value" },
        { USER " =x", "key=value" },
        { USER " by=", "by" },
        { USER " reason=", "reason" },
        { USER " by=a by=b", "twice" },
        { USER " reason=a reason=a", "twice" },
        { USER " until=", "until" },
        { USER " until=-", "until" },
        { USER " until=1970-01-01T00:00:00Z", "until" },
        { USER " until=" AT " until=" AT, "twice" },
        { USER " by=a\tb", "%XX" },
        { USER " by=\xC3\xA9", "%XX" },
        { USER " by=a\r", "%XX" },
        { USER " by=%0", "hex" },
        { USER " by=%0A", "control" },
        { USER " reason=%FE", "UTF-8" },
        { "user " ISS " a\x7f " AT, "%XX" },
        { "user " ISS " a%7F " AT, "control" },
        { "user " ISS " %E9 " AT, "UTF-8" },
        { "user \xE9 x " AT, "%XX" },
        { "user %zz x " AT, "hex" }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        if (parse(rows[i].text, &r, &error) != MCP_ERROR
            || error == NULL || strstr(error, rows[i].error) == NULL)
        {
            fail_msg("\"%s\": %s", rows[i].text, error ? error : "taken");
        }
    }

    mcp_str_null(&line);
    assert_int_equal(mcp_revocation_parse(&line, &fx_mem, &r, &error),
                     MCP_ERROR);

    /* the longest line, and one more */

    assert_int_equal(parse(fx_printf("%s by=%0*d", USER,
                                     (int) (2048 - sizeof(USER) - 3), 0),
                           &r, &error), MCP_OK);
    assert_int_equal(strlen(written(&r)), 2048);
    assert_int_equal(parse(fx_printf("%s by=%0*d", USER,
                                     (int) (2048 - sizeof(USER) - 2), 0),
                           &r, &error), MCP_ERROR);
    assert_non_null(strstr(error, "longer"));

    for (i = 0; i < 3; i++) {
        fx_fail_at = (long) i;
        assert_int_equal(parse(USER " by=x", &r, &error), MCP_ERROR);
        fx_fail_at = -1;
        assert_string_equal(error, "out of memory");
    }
}


static void
check_name(const char *line, const unsigned char *name)
{
    const char        *error;
    unsigned char      other[MCP_REVOCATION_NAME];
    mcp_revocation_t   r;

    assert_int_equal(parse(line, &r, &error), MCP_OK);
    mcp_revocation_name(&r, other);
    assert_memory_equal(name, other, MCP_REVOCATION_NAME);
}


static void
test_words(void **state)
{
    (void) state;

    assert_string_equal(mcp_revocation_word(MCP_REVOKE_ALL), "all");
    assert_string_equal(mcp_revocation_word(MCP_REVOKE_ISSUER), "issuer");
    assert_string_equal(mcp_revocation_word(MCP_REVOKE_USER), "user");
    assert_string_equal(mcp_revocation_word(MCP_REVOKE_CLIENT), "client");
    assert_string_equal(mcp_revocation_word(MCP_REVOKE_TOKEN), "token");

    assert_string_equal(mcp_revocation_method(MCP_REVOKE_ALL, 0),
                        "revoke/all");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_ALL, 1),
                        "unrevoke/all");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_ISSUER, 0),
                        "revoke/issuer");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_ISSUER, 1),
                        "unrevoke/issuer");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_USER, 0),
                        "revoke/user");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_USER, 1),
                        "unrevoke/user");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_CLIENT, 0),
                        "revoke/client");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_CLIENT, 1),
                        "unrevoke/client");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_TOKEN, 0),
                        "revoke/token");
    assert_string_equal(mcp_revocation_method(MCP_REVOKE_TOKEN, 1),
                        "unrevoke/token");
}


/* Known answers are from Python's hashlib. */

static void
test_names(void **state)
{
    unsigned           i, k;
    mcp_buf_t          b;
    const char        *error;
    unsigned char      names[MCP_REVOCATION_NAMES][MCP_REVOCATION_NAME];
    unsigned char      all[10][MCP_REVOCATION_NAME];
    unsigned char      hex[64];
    mcp_principal_t    p;
    mcp_revocation_t   r;

    static const struct {
        const char  *line;
        const char  *name;
    } known[] = {
        { USER,
          "a33ed925677cfabd97c4a8bf67f9117b"
          "4034a661a207e86c726ad2512499fb9a" },
        { "all - - " AT,
          "f0d278eacbee4eeac1f3cc75d5efda8d"
          "c5dff129bed3da9ad3b0e11fc64ae910" }
    };

    static const char  *different[] = {
        "all - - " AT,
        "issuer a - " AT,
        "user a b " AT,
        "client a b " AT,
        "client - ab " AT,
        "token a b " AT,
        "token - b " AT,
        "user ab c " AT,
        "user a bc " AT,
        "token - ab " AT
    };

    (void) state;

    for (i = 0; i < fx_count(known); i++) {
        assert_int_equal(parse(known[i].line, &r, &error), MCP_OK);
        mcp_revocation_name(&r, names[0]);
        mcp_buf_init(&b, hex, sizeof(hex));
        mcp_buf_hex(&b, names[0], MCP_REVOCATION_NAME);
        assert_memory_equal(hex, known[i].name, 64);
    }

    for (i = 0; i < fx_count(different); i++) {
        assert_int_equal(parse(different[i], &r, &error), MCP_OK);
        mcp_revocation_name(&r, all[i]);

        for (k = 0; k < i; k++) {
            assert_memory_not_equal(all[i], all[k], MCP_REVOCATION_NAME);
        }
    }

    /* a person with a JWT */

    memset(&p, 0, sizeof(p));
    mcp_str_set(&p.iss, ISS);
    mcp_str_set(&p.user, "00u1");
    mcp_str_set(&p.client, "0oa1");
    mcp_str_set(&p.token_id, "AT.1");

    assert_int_equal(mcp_revocation_names(&p, names), 5);
    check_name("all - - " AT, names[0]);
    check_name("issuer " ISS " - " AT, names[1]);
    check_name(USER, names[2]);
    check_name("client " ISS " 0oa1 " AT, names[3]);
    check_name("token " ISS " AT.1 " AT, names[4]);

    /* a service with a JWT */

    mcp_str_null(&p.user);
    assert_int_equal(mcp_revocation_names(&p, names), 4);
    check_name("issuer " ISS " - " AT, names[1]);
    check_name("client " ISS " 0oa1 " AT, names[2]);

    /* a PAT */

    mcp_str_set(&p.user, "00u1");
    mcp_str_null(&p.client);
    assert_int_equal(mcp_revocation_names(&p, names), 4);
    check_name(USER, names[2]);
    check_name("token " ISS " AT.1 " AT, names[3]);

    /* a VAT */

    mcp_str_null(&p.iss);
    mcp_str_null(&p.user);
    mcp_str_set(&p.client, "ci");
    assert_int_equal(mcp_revocation_names(&p, names), 3);
    check_name("all - - " AT, names[0]);
    check_name("client - ci " AT, names[1]);
    check_name("token - AT.1 " AT, names[2]);
}


static void
test_covers(void **state)
{
    size_t  i;

    static const struct {
        int64_t  at, iat;
        int      leeway, covers;
    } rows[] = {
        { 1000, 999, 0, 1 },
        { 1000, 1000, 0, 1 },
        { 1000, 1001, 0, 0 },
        { 1000, 0, 0, 1 },
        { 1000, 1030, 30, 1 },
        { 1000, 1031, 30, 0 },
        { 1000, 1001, -5, 0 },
        { 1000, 1000, -5, 1 },
        { 0, 0, 0, 0 },
        { 0, 0, 30, 0 },
        { -1, 0, 30, 0 },
        { INT64_MAX, INT64_MAX, 30, 1 },
        { 1, INT64_MAX, 30, 0 },
        { INT64_MAX, 0, INT32_MAX, 1 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        assert_int_equal(mcp_revocation_covers(rows[i].at, rows[i].iat,
                                               rows[i].leeway),
                         rows[i].covers);
    }
}


typedef struct {
    unsigned  n, stop;
    char     *lines[8];
} seen_t;


static int
each(void *ctx, const mcp_revocation_t *r)
{
    seen_t *seen = ctx;

    if (seen->n == seen->stop) {
        return MCP_DECLINED;
    }

    seen->lines[seen->n++] = written(r);

    return MCP_OK;
}


static void
test_file(void **state)
{
    size_t       i;
    seen_t       seen;
    unsigned     line;
    mcp_str_t    text;
    const char  *error;

    static const struct {
        const char  *text;
        const char  *error;
        unsigned     line;
    } rows[] = {
        { "", "not complete", 0 },
        { "\n\n", "not complete", 2 },
        { USER "\n", "not complete", 1 },
        { USER "\nen", "TYPE", 2 },
        { USER "\nend\r\n", "TYPE", 2 },
        { USER "\nend\n" USER "\n", "follows", 2 },
        { "# c\n\n" USER "\nnobody\nend\n", "TYPE", 4 },
        { USER "\n" USER " by\n" USER "\nend\n", "key=value", 2 },
        { "user " ISS " 00u1 2026-02-29T00:00:00Z\nend", "fourth", 1 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        text = fx_str(rows[i].text);
        error = NULL;

        if (mcp_revocation_file(&text, NULL, NULL, &error, &line) != MCP_ERROR
            || error == NULL || strstr(error, rows[i].error) == NULL
            || line != rows[i].line)
        {
            fail_msg("%u: \"%s\" in line %u", (unsigned) i,
                     error ? error : "taken", line);
        }
    }

    mcp_str_null(&text);
    assert_int_equal(mcp_revocation_file(&text, NULL, NULL, &error, &line),
                     MCP_ERROR);

    text = fx_str("# who left\n" USER " by=root\n\nall - - " AT "\n"
                  "client - ci " AT "\nend\n");

    assert_int_equal(mcp_revocation_file(&text, NULL, NULL, &error, &line),
                     MCP_OK);

    memset(&seen, 0, sizeof(seen));
    seen.stop = 8;
    assert_int_equal(mcp_revocation_file(&text, each, &seen, &error, &line),
                     MCP_OK);
    assert_int_equal(seen.n, 3);
    assert_string_equal(seen.lines[0], USER " by=root");
    assert_string_equal(seen.lines[1], "all - - " AT);
    assert_string_equal(seen.lines[2], "client - ci " AT);

    /* whoever is called may stop it */

    memset(&seen, 0, sizeof(seen));
    seen.stop = 1;
    assert_int_equal(mcp_revocation_file(&text, each, &seen, &error, &line),
                     MCP_DECLINED);
    assert_null(error);
    assert_int_equal(seen.n, 1);

    /* lines of the greatest length, one after the other: no memory grows */

    text = fx_str(fx_printf("%s by=%0*d\n%s by=%0*d\nend",
                            USER, (int) (2048 - sizeof(USER) - 3), 0,
                            USER, (int) (2048 - sizeof(USER) - 3), 0));
    assert_int_equal(mcp_revocation_file(&text, NULL, NULL, &error, &line),
                     MCP_OK);

    text = fx_str("end");
    assert_int_equal(mcp_revocation_file(&text, each, &seen, &error, &line),
                     MCP_OK);
}


/* What is taken is written and read as the same, with the same name. */

static void
test_random(void **state)
{
    char              *line;
    size_t             n, len, taken;
    clock_t            end;
    mcp_str_t          s, again;
    mcp_buf_t          b;
    fx_block_t        *keep;
    const char        *error;
    unsigned char      out[3 * MCP_REVOCATION_LINE], one[32], two[32];
    mcp_revocation_t   r, r2;

    static const char  *seeds[] = {
        USER " until=" AT " by=a%20b reason=x%C3%A9", "client - ci " AT,
        "all - - -", "token - vat-Ab3dEf6hIj9k " AT " x=y"
    };

    static const char  likely[] = "%-= :#0Zzé";

    (void) state;

    keep = fx_blocks;
    taken = 0;
    end = clock() + CLOCKS_PER_SEC;

    while (clock() < end) {
        line = fx_printf("%s", seeds[fx_random() % fx_count(seeds)]);
        len = strlen(line);

        for (n = fx_random() % 4; n; n--) {
            line[fx_random() % len] = fx_random() % 2
                                      ? likely[fx_random() % sizeof(likely)]
                                      : (char) fx_random();
        }

        s.len = fx_random() % 8 ? len : fx_random() % len;
        s.data = fx_alloc(s.len ? s.len : 1);
        memcpy(s.data, line, s.len);

        error = NULL;

        if (mcp_revocation_parse(&s, &fx_mem, &r, &error) == MCP_OK) {
            taken++;
            mcp_buf_init(&b, out, sizeof(out));
            mcp_revocation_write(&b, &r);
            assert_false(b.overflow);

            again.data = out;
            again.len = (size_t) (b.pos - b.start);
            assert_int_equal(mcp_revocation_parse(&again, &fx_mem, &r2,
                                                  &error), MCP_OK);
            assert_int_equal(r.at, r2.at);
            assert_int_equal(r.until, r2.until);
            assert_true(mcp_str_eq(&r.by, &r2.by));
            assert_true(mcp_str_eq(&r.reason, &r2.reason));

            mcp_revocation_name(&r, one);
            mcp_revocation_name(&r2, two);
            assert_memory_equal(one, two, 32);

        } else {
            assert_non_null(error);
        }

        fx_release_to(keep);
    }

    assert_true(taken > 100);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_covers),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_random)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
