/*
 * What an upstream may show to people, and the tasks it makes: each document is
 * filtered whole and in two pieces at every byte, with one result.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_list_filter.h"
#include "mcp_untrusted.h"


#define NELTS(a)  (sizeof(a) / sizeof((a)[0]))
#define BAD       NULL


typedef struct {
    char      out[8192];
    size_t    len;
    char      task[600];
    unsigned  tasks;
    unsigned  refuse;
} sink_t;


static int
visible(void *data, mcp_list_e list, const mcp_str_t *name)
{
    (void) data;

    return list != MCP_LIST_TASKS
           || (name->len && name->data[0] == 'm');      /* mine */
}


static int
emit(void *data, const unsigned char *p, size_t len)
{
    sink_t *s = data;

    assert_true(s->len + len < sizeof(s->out));
    memcpy(s->out + s->len, p, len);
    s->len += len;

    return MCP_OK;
}


static unsigned char *
grow(void *data, unsigned char *old, size_t used, size_t size)
{
    (void) data;
    (void) used;

    return realloc(old, size);
}


static int
task(void *data, const mcp_str_t *id, const mcp_str_t *ttl)
{
    sink_t *s = data;

    s->tasks++;
    snprintf(s->task, sizeof(s->task), "%.*s/%.*s", (int) id->len, id->data,
             (int) ttl->len, ttl->data);

    return s->refuse ? MCP_ERROR : MCP_OK;
}


/* -1: no split.  The document's outcome; f and s are left as they are. */

static int
run(const char *in, long split, mcp_list_filter_t *f, sink_t *s,
    unsigned refuse)
{
    int                      rc;
    size_t                   len;
    unsigned char           *a, *b, buf[2 * 64 + 64];
    mcp_list_filter_conf_t   conf;

    memset(f, 0, sizeof(*f));
    memset(s, 0, sizeof(*s));
    memset(&conf, 0, sizeof(conf));

    s->refuse = refuse;
    conf.visible = visible;
    conf.emit = emit;
    conf.grow = grow;
    conf.task = task;
    conf.data = s;
    conf.max_depth = 32;
    conf.max_name = 64;
    conf.max_entry = 1024;

    mcp_list_filter_init(f, &conf, buf);

    len = strlen(in);

    if (split < 0) {
        rc = mcp_list_filter_feed(f, (const unsigned char *) in, len, 1);

    } else {
        a = malloc(split ? (size_t) split : 1);
        b = malloc(len - (size_t) split + 1);
        memcpy(a, in, (size_t) split);
        memcpy(b, in + split, len - (size_t) split);

        rc = mcp_list_filter_feed(f, a, (size_t) split, 0);
        memset(a, 'x', split ? (size_t) split : 1);

        if (rc != MCP_ERROR) {
            rc = mcp_list_filter_feed(f, b, len - (size_t) split, 1);
        }

        free(a);
        free(b);
    }

    free(f->hold);
    f->hold = NULL;

    return rc;
}


/* want: NULL when it must fail */

static void
check(const char *in, const char *want)
{
    int                rc;
    long               split;
    sink_t             s;
    mcp_list_filter_t  f;

    for (split = -1; split <= (long) strlen(in); split++) {
        rc = run(in, split, &f, &s, 0);

        if (want == NULL) {
            if (rc != MCP_ERROR) {
                fail_msg("%s at %ld: %d", in, split, rc);
            }

            continue;
        }

        if (rc != MCP_OK || s.len != strlen(want)
            || memcmp(s.out, want, s.len) != 0)
        {
            print_error("%s at %ld: %d\n%.*s\nnot %s\n", in, split, rc,
                        (int) s.len, s.out, want);
            fail();
        }
    }
}


/* A string of JSON of n bytes, quotes not counted, that begins and ends so. */

static void
text_of(char *out, size_t n, const char *begin, const char *end)
{
    memset(out, 'a', n + 2);
    memcpy(out, begin, strlen(begin));
    strcpy(out + n + 2 - strlen(end), end);
}


static void
test_icons(void **state)
{
    unsigned           i;
    char               in[512], want[512], src[300];
    sink_t             s;
    mcp_list_filter_t  f;

    static const char  *good[] = {
        "[]", "[{\"src\":\"https://a.b/i.png\",\"sizes\":[\"48x48\"]}]", "null",
        "[{\"src\":\"data:image/png;base64,AAAA\"},{\"src\":\"HTTPS://x/\"}]",
        "[{}]",
    };

    static const char  *bad[] = {
        "[{\"src\":\"http://a.b/i.png\"}]", "[{\"src\":\"javascript:x\"}]",
        "[{\"src\":\"https://a/1\"},{\"x\":1,\"SRC\":\"file:///etc\"}]",
        "[{\"src\":\"data:text/html,x\"}]", "[{\"src\":7}]",
        "[{\"src\":\"https://u:p@host/\"}]", "[{\"src\":\"https:// x\"}]",
        "[{\"sr\\u0063\":\"ftp://x\"}]", "[[{\"src\":\"https://x/\"}]]",
        "[{\"src\":\"https://\"}]", "[{\"src\":\"https://:443/\"}]",
    };

    (void) state;

    for (i = 0; i < NELTS(good) + NELTS(bad); i++) {
        const char  *icons = i < NELTS(good) ? good[i] : bad[i - NELTS(good)];

        snprintf(in, sizeof(in), "{\"id\":1,\"result\":{\"tools\":[ {\"name\":"
                 "\"a\",\"icons\":%s,\"x\":0.10} ,{\"name\":\"b\"}]}}", icons);
        snprintf(want, sizeof(want), "{\"id\":1,\"result\":{\"tools\":[ "
                 "{\"name\":\"a\",\"icons\":%s,\"x\":0.10} ,{\"name\":\"b\"}]}}",
                 i < NELTS(good) ? icons : "[]");
        check(in, want);
        assert_int_equal(run(in, -1, &f, &s, 0), MCP_OK);
        assert_int_equal(f.icons_removed, i >= NELTS(good));
        assert_int_equal(f.removed, 0);

        snprintf(in, sizeof(in), "{\"result\":{\"a\":1,\"serverInfo\": "
                 "{\"name\":\"s\",\"icons\":%s},\"b\":[2]}}", icons);
        snprintf(want, sizeof(want), "{\"result\":{\"a\":1,\"serverInfo\": "
                 "{\"name\":\"s\",\"icons\":%s},\"b\":[2]}}",
                 i < NELTS(good) ? icons : "[]");
        check(in, want);

        snprintf(in, sizeof(in), "{\"result\":{\"_meta\":{\"a\":1,"
                 "\"io.modelcontextprotocol/serverInfo\":{\"icons\":%s},"
                 "\"b\":{\"icons\":1}},\"tools\":[{\"name\":\"b\"}]}}",
                 icons);
        snprintf(want, sizeof(want), "{\"result\":{\"_meta\":{\"a\":1,"
                 "\"io.modelcontextprotocol/serverInfo\":{\"icons\":%s},"
                 "\"b\":{\"icons\":1}},\"tools\":[{\"name\":\"b\"}]}}",
                 i < NELTS(good) ? icons : "[]");
        check(in, want);
    }

    /* a long one is an image; what else is long has no end to judge */

    for (i = 0; i < 2; i++) {
        char  *p = in;

        p += sprintf(p, "{\"result\":{\"tools\":[{\"name\":\"b\",\"icons\":"
                     "[{\"src\":\"%s", i ? "data:image/png," : "https://");
        memset(p, 'a', 300);
        p += 300;
        strcpy(p, "@evil/\"}]}]}}");

        check(in, i ? in : "{\"result\":{\"tools\":[{\"name\":\"b\",\"icons\":"
                           "[]}]}}");
    }

    for (i = 128; i < 230; i += (i < 130) ? 1 : 20) {
        text_of(src, i, "\"https://a/", "?@evil\"");
        snprintf(in, sizeof(in), "{\"result\":{\"tools\":[{\"name\":\"b\","
                 "\"icons\":[{\"src\":%s}]}]}}", src);

        check(in, i == 128 ? in : "{\"result\":{\"tools\":[{\"name\":\"b\","
                                  "\"icons\":[]}]}}");
    }

    /* what is no list of icons, or two: the entry goes */

    check("{\"result\":{\"tools\":[{\"name\":\"a\",\"icons\":{\"src\":1}},"
          "{\"name\":\"b\"}]}}", "{\"result\":{\"tools\":[{\"name\":\"b\"}]}}");
    check("{\"result\":{\"tools\":[{\"name\":\"a\",\"icons\":\"x\"},"
          "{\"name\":\"b\"}]}}", "{\"result\":{\"tools\":[{\"name\":\"b\"}]}}");
    check("{\"result\":{\"tools\":[{\"name\":\"a\",\"icons\":[],\"Icons\":"
          "[{\"src\":\"x:\"}]},{\"name\":\"b\"}]}}",
          "{\"result\":{\"tools\":[{\"name\":\"b\"}]}}");
    check("{\"result\":{\"serverInfo\":{\"icons\":[],\"icons\":[]}}}", BAD);

    /* not an icon of a list: a tool's own output */

    check("{\"result\":{\"structuredContent\":{\"icons\":[{\"src\":\"x:\"}]}}}",
          "{\"result\":{\"structuredContent\":{\"icons\":[{\"src\":\"x:\"}]}}}");
}


static void
test_names(void **state)
{
    unsigned   i;
    char       in[256];
    mcp_str_t  name;

    static const char  *hidden[] = {
        "a\\n", "\\u001b[31m", "a\\u007f", "a\\u0085b", "a\\u200bb",
        "\\u202ea", "a\\u2028", "\\u2066a", "\\ufeffa", "a\\u061c",
        "\\udb40\\udc41a", "a\\ufffb", "a\\u2060", "a\\u200f",
        "a\\udb40\\udd00", "a\\udb40\\uddef", "a\\u00ad", "a\\u180e",
        "a\\u3164", "\\uffa0a", "a\\u115f", "a\\u034f", "a\\ufe0f",
        "a\\ud834\\udd73", "a\\u206a",
    };

    static const char  *plain[] = {
        "a", "a b", "\\u00e9", "\\u4e2d\\u6587", "\\ud83d\\ude00", "a\\/b",
        "\\u2010", "\\u2027", "\\u2030", "\\u00a0", "\\u0622", "\\uff21",
        "\\u00ac", "\\u00ae", "\\ufffd", "\\uffef", "\\udb44\\udc00",
        "\\ud83d\\ude80", "\\u1161", "\\u2070", "\\u00ff",
    };

    (void) state;

    for (i = 0; i < NELTS(hidden); i++) {
        snprintf(in, sizeof(in), "{\"result\":{\"tools\":[{\"name\":\"%s\"}]}}",
                 hidden[i]);
        check(in, "{\"result\":{\"tools\":[]}}");
    }

    for (i = 0; i < NELTS(plain); i++) {
        snprintf(in, sizeof(in), "{\"result\":{\"tools\":[{\"name\":\"%s\"}]}}",
                 plain[i]);
        check(in, in);
    }

    name.data = (unsigned char *) "\xe2\x80";
    name.len = 2;
    (void) mcp_name_plain(&name);
    name.data = (unsigned char *) "\xf3\xa0";
    (void) mcp_name_plain(&name);
}


/* the same URL in each place where a person could be sent to it */

static void
test_urls(void **state)
{
    unsigned           i, k;
    char               in[512], url[400], doc[1024];
    sink_t             s;
    mcp_list_filter_t  f;

    static const char  *places[] = {
        "{\"id\":1,\"method\":\"elicitation/create\",\"params\":{\"mode\":\"url\""
            ",\"url\":%s}}",
        "{\"params\":{\"url\":%s},\"method\":\"elicitation/create\",\"id\":1}",
        "{\"id\":1,\"result\":{\"resultType\":\"input_required\",\"inputRequests\""
            ":{\"a\":{\"method\":\"roots/list\"},\"b\":{\"method\":"
            "\"elicitation/create\",\"params\":{\"url\":%s}}}}}",
        "{\"id\":1,\"error\":{\"code\":-32042,\"message\":\"\",\"data\":"
            "{\"elicitations\":[{\"mode\":\"url\",\"url\":%s}]}}}",

        /* as a lax client reads it, or one that takes the first of two */

        "{\"id\":1,\"Method\":\"elicitation/create\",\"PARAMS\":{\"URL\":%s}}",
        "{\"id\":1,\"method\":\"elicitation/create\",\"params\":{\"url\":%s},"
            "\"method\":\"ping\"}",
        "{\"id\":1,\"method\":\"ping\",\"params\":{\"url\":%s},"
            "\"method\":\"elicitation\\/create\"}",
        "{\"id\":1,\"Error\":{\"Data\":{\"Elicitations\":[{\"Url\":%s}]}}}",

        /* a task has questions, and may have failed for one */

        "{\"id\":1,\"result\":{\"taskId\":\"m\",\"error\":{\"code\":-32042,"
            "\"data\":{\"elicitations\":[{\"url\":%s}]}},\"x\":[1]}}",
        "{\"id\":1,\"result\":{\"taskId\":\"m\",\"result\":{\"inputRequests\":"
            "{\"a\":{\"params\":{\"url\":%s}}}},\"x\":[1]}}",
        "{\"method\":\"notifications/tasks\",\"params\":{\"taskId\":\"m\","
            "\"inputRequests\":{\"a\":{\"method\":\"elicitation/create\","
            "\"params\":{\"url\":%s}}},\"x\":[1]}}",
        "{\"method\":\"notifications/tasks\",\"params\":{\"error\":{\"data\":"
            "{\"elicitations\":[{\"url\":%s}]}},\"taskId\":\"m\"}}",
        "{\"method\":\"notifications/tasks\",\"params\":{\"result\":"
            "{\"inputRequests\":{\"a\":{\"params\":{\"url\":%s}}}},"
            "\"taskId\":\"m\"}}",
    };

    static const char  *bad[] = {
        "\"http://a/\"", "\"javascript:alert(1)\"", "\"https://u@a/\"", "\"\"",
        "\"https://a\\\\b\"", "\"https://\\u202ea/\"", "\"https:///x\"", "1",
        "null", "[\"https://a/\"]", "{\"https\":1}", "\"file:///x\"",
        "\"https://:/\"", "\"https://:443\"",
    };

    (void) state;

    for (i = 0; i < NELTS(places); i++) {
        snprintf(in, sizeof(in), places[i], "\"https://a.example/x?y=@z\"");
        check(in, in);

        for (k = 0; k < NELTS(bad); k++) {
            snprintf(in, sizeof(in), places[i], bad[k]);
            check(in, BAD);
            (void) run(in, -1, &f, &s, 0);
            assert_int_equal(f.bad_url, 1);
        }
    }

    /* what is too long is so wherever it is split: 128 bytes pass */

    for (i = 0; i < NELTS(places); i++) {
        for (k = 128; k < 300; k += (k < 130) ? 1 : 50) {
            text_of(url, k, "\"https://a/", "?@evil\"");
            snprintf(doc, sizeof(doc), places[i], url);
            check(doc, k == 128 ? doc : BAD);
        }
    }

    /* other messages have a url as well */

    check("{\"method\":\"notifications/x\",\"params\":{\"url\":\"http://a\"}}",
          "{\"method\":\"notifications/x\",\"params\":{\"url\":\"http://a\"}}");
    check("{\"result\":{\"content\":[{\"url\":\"http://a\"}]}}",
          "{\"result\":{\"content\":[{\"url\":\"http://a\"}]}}");
}


static void
test_tasks(void **state)
{
    unsigned           i;
    char               id[400], doc[1024];
    long               split;
    sink_t             s;
    mcp_list_filter_t  f;

    static const struct {
        const char  *in;
        const char  *task;              /* NULL: none was made */
    } cases[] = {
        { "{\"result\":{\"task\":{\"taskId\":\"m1\",\"ttl\":5}}}", "m1/5" },
        { "{\"result\":{\"task\":{\"ttl\":7,\"taskId\":\"m\\u0031\"}}}",
          "m1/7" },
        { "{\"result\":{\"task\":{\"taskId\":\"x\",\"ttl\":null}}}", "x/" },
        { "{\"result\":{\"resultType\":\"task\",\"taskId\":\"a\",\"ttlMs\":9}}",
          "a/9" },
        { "{\"result\":{\"taskId\":\"a\",\"resultType\":\"task\"}}", "a/" },
        { "{\"result\":{\"taskId\":\"a\",\"resultType\":\"complete\"}}", NULL },
        { "{\"result\":{\"taskId\":\"a\",\"status\":\"working\"}}", NULL },
        { "{\"result\":{\"structuredContent\":{\"task\":{\"taskId\":\"a\"}}}}",
          NULL },
        { "{\"result\":{\"task\":\"a\"}}", NULL },
        { "{\"method\":\"x\",\"params\":{\"taskId\":\"a\"}}", NULL },
        { "{\"error\":{\"task\":{\"taskId\":\"a\"}}}", NULL },
    };

    static const char  *bad[] = {
        "{\"result\":{\"task\":{\"taskId\":\"a\",\"taskId\":\"b\"}}}",
        "{\"result\":{\"task\":{\"taskId\":\"a\",\"TASKID\":\"b\"}}}",
        "{\"result\":{\"taskId\":\"a\",\"task\":{\"taskId\":\"b\"}}}",
        "{\"result\":{\"task\":{\"taskId\":1}}}",
        "{\"result\":{\"task\":{\"taskId\":\"\"}}}",
        "{\"result\":{\"task\":{\"taskId\":[\"a\"]}}}",
        "{\"result\":{\"resultType\":\"task\",\"taskId\":{\"a\":1}}}",
    };

    static const struct {
        const char  *in;
        unsigned     foreign;
    } notes[] = {
        { "{\"method\":\"notifications/tasks/status\",\"params\":{\"taskId\":"
              "\"mine\"}}", 0 },
        { "{\"method\":\"notifications/tasks\",\"params\":{\"taskId\":"
              "\"hers\"}}", 1 },
        { "{\"params\":{\"taskId\":\"hers\"},\"method\":\"notifications/"
              "tasks\"}", 1 },
        { "{\"method\":\"notifications/tasks\",\"params\":{\"taskId\":\"mine\","
              "\"TaskId\":\"hers\"}}", 1 },
        { "{\"method\":\"notifications/tasks\",\"params\":{\"taskId\":[1]}}",
          1 },
        { "{\"Method\":\"notifications/tasks\",\"params\":{\"taskId\":"
              "\"hers\"}}", 1 },
        { "{\"method\":\"notifications/tasks\",\"params\":{\"taskId\":"
              "\"hers\"},\"method\":\"x\"}", 1 },
        { "{\"method\":\"notifications/message\",\"params\":{\"taskId\":"
              "\"hers\"}}", 0 },
    };

    (void) state;

    for (i = 0; i < NELTS(cases); i++) {
        check(cases[i].in, cases[i].in);

        for (split = -1; split <= (long) strlen(cases[i].in); split++) {
            (void) run(cases[i].in, split, &f, &s, 0);
            assert_int_equal(s.tasks, cases[i].task != NULL);

            if (cases[i].task) {
                assert_string_equal(s.task, cases[i].task);
                assert_int_equal(run(cases[i].in, split, &f, &s, 1),
                                 MCP_ERROR);
            }
        }
    }

    for (i = 0; i < NELTS(bad); i++) {
        check(bad[i], BAD);
    }

    for (i = 128; i < 300; i += (i < 130) ? 1 : 50) {
        text_of(id, i, "\"m", "1\"");
        snprintf(doc, sizeof(doc), "{\"result\":{\"task\":{\"taskId\":%s}}}",
                 id);
        check(doc, i == 128 ? doc : BAD);
    }

    for (i = 0; i < NELTS(notes); i++) {
        for (split = -1; split <= (long) strlen(notes[i].in); split++) {
            assert_int_equal(run(notes[i].in, split, &f, &s, 0), MCP_OK);
            assert_int_equal(f.foreign, notes[i].foreign);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_icons),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_tasks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
