/*
 * Tests of core/mcp_list_filter: what is cut, what is kept, byte for byte, and
 * that the ends of the pieces change nothing.
 *
 * Each document of the table is fed whole, split in two at each offset, byte
 * by byte and in random pieces; each way must give the output and the findings
 * of the table.  Then the limits, and callbacks that fail.  Random documents
 * are in test_list_filter_random.c.
 */

#include "list_filter_fixture.h"


typedef struct {
    const char      *in;
    const char      *out;           /* NULL: MCP_ERROR */
    unsigned         flags;
    unsigned         kept;
    unsigned         removed;
    mcp_outcome_e    outcome;
    const char      *id;
} doc_t;


#define RES    MCP_OUTCOME_RESULT
#define ERR    MCP_OUTCOME_ERROR
#define REQ    MCP_OUTCOME_REQUEST
#define NOTE   MCP_OUTCOME_NOTIFICATION
#define NONE   MCP_OUTCOME_NONE
#define LC     (HAS_LIST | CHANGED)

static const doc_t  docs[] = {

    /* nothing to cut */
    { "{}", "{}", 0, 0, 0, NONE, "" },
    { " [] ", " [] ", BATCH, 0, 0, NONE, "" },
    { "1", "1", 0, 0, 0, NONE, "" },
    { "\"result\"", "\"result\"", 0, 0, 0, NONE, "" },
    { T(""), T(""), HAS_LIST, 0, 0, RES, "1" },
    { T(" \n "), T(" \n "), HAS_LIST, 0, 0, RES, "1" },
    { T(A), T(A), HAS_LIST, 1, 0, RES, "1" },
    { T(A "," B "," C), T(A "," B "," C), HAS_LIST, 3, 0, RES, "1" },
    { T(" " A " , \n" B "\t"), T(" " A " , \n" B "\t"), HAS_LIST, 2, 0, RES,
      "1" },
    { " \r\n" T(A) " \n", " \r\n" T(A) " \n", HAS_LIST, 1, 0, RES, "1" },

    /* separators */
    { T(N), T(""), LC, 0, 1, RES, "1" },
    { T(N "," M "," N), T(""), LC, 0, 3, RES, "1" },
    { T(N "," A "," B), T(A "," B), LC, 2, 1, RES, "1" },
    { T(A "," N "," B), T(A "," B), LC, 2, 1, RES, "1" },
    { T(A "," B "," N), T(A "," B), LC, 2, 1, RES, "1" },
    { T(N "," M "," A), T(A), LC, 1, 2, RES, "1" },
    { T(A "," N "," M), T(A), LC, 1, 2, RES, "1" },
    { T(N "," A "," M), T(A), LC, 1, 2, RES, "1" },
    { T(A "," N "," B "," M "," C), T(A "," B "," C), LC, 3, 2, RES, "1" },
    { T(N "," A "," M "," B "," N), T(A "," B), LC, 2, 3, RES, "1" },

    /* and the space around them: 1 and 6 are behind [ and before ] */
    { T(" " N "  "), T("   "), LC, 0, 1, RES, "1" },
    { T("\n " N ",\n " A "\n"), T("\n " A "\n"), LC, 1, 1, RES, "1" },
    { T("\n " A ",\n " N "\n"), T("\n " A "\n"), LC, 1, 1, RES, "1" },
    { T("\n " A ",\n " N ",\n " B "\n"), T("\n " A ",\n " B "\n"), LC, 2, 1,
      RES, "1" },
    { T("\n " N ",\n " N "\n"), T("\n \n"), LC, 0, 2, RES, "1" },
    { T(" " A "\t, " N "  ,\n" B "\r"), T(" " A "  ,\n" B "\r"), LC, 2, 1,
      RES, "1" },
    { T(" " N "\t, " A "  ,\n" N "\r"), T(" " A "\r"), LC, 1, 2, RES, "1" },

    /* kept byte for byte */
    { T("{\"name\":\"a\",\"n\":[0.1,18446744073709551615,1e400,-0,1.0E+2]},"
        N), T("{\"name\":\"a\",\"n\":[0.1,18446744073709551615,1e400,-0,"
        "1.0E+2]}"), LC, 1, 1, RES, "1" },
    { T(N ",{ \"d\" : \"\\/\\u0041\\ud83d\\ude00\\u0000 \xc3\xa9\" , "
        "\"name\"\t:\"\\u0061\"}"),
      T("{ \"d\" : \"\\/\\u0041\\ud83d\\ude00\\u0000 \xc3\xa9\" , "
        "\"name\"\t:\"\\u0061\"}"), LC, 1, 1, RES, "1" },

    /* names are compared unescaped; nothing else makes a name */
    { T("{\"name\":\"\\u006e\\u006f\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"n\\u0061me\":\"no\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"n\\u0061me\":\"a\"}"), T("{\"n\\u0061me\":\"a\"}"), HAS_LIST, 1,
      0, RES, "1" },
    { T("{\"title\":\"no\",\"name\":\"a\",\"x\":{\"name\":\"no\"}}"),
      T("{\"title\":\"no\",\"name\":\"a\",\"x\":{\"name\":\"no\"}}"), HAS_LIST,
      1, 0, RES, "1" },
    { T("{\"x\":{\"name\":\"a\"}}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"x\":[\"name\",{\"name\":\"a\"}],\"name\":\"no\"}"), T(""), LC, 0,
      1, RES, "1" },
    { T("{\"names\":\"a\"},{\"nam\":\"a\"},{\"\":\"a\"}"), T(""), LC, 0, 3,
      RES, "1" },

    /* in doubt it goes */
    { T("{\"name\":\"a\",\"name\":\"a\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"name\":\"a\",\"name\":\"no\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"name\":\"no\",\"name\":\"a\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"name\":\"a\",\"Name\":\"a\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"NAME\":1,\"name\":\"a\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"name\":\"a\",\"n\\u0041me\":{}}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"name\":\"a\",\"name\":[],\"name\":{}}"), T(""), LC, 0, 1, RES,
      "1" },
    { T("{\"Name\":\"a\"}," A), T(A), LC, 1, 1, RES, "1" },
    { T("{\"name\":\"\"},{\"name\":1},{\"name\":null},{\"name\":[\"a\"]},"
        "{\"name\":{\"name\":\"a\"}},{}"), T(""), LC, 0, 6, RES, "1" },
    { T("1,\"a\",null,true,false,[" A "],-1.5e3,[],{}"), T(""), LC, 0, 9, RES,
      "1" },
    { T("1," A ",2"), T(A), LC, 1, 2, RES, "1" },
    { T(A ",[" N "]," B), T(A "," B), LC, 2, 1, RES, "1" },

    /* length of a name: 32 is allowed, 33 is not */
    { T("{\"name\":\"12345678901234567890123456789012\"}"),
      T("{\"name\":\"12345678901234567890123456789012\"}"), HAS_LIST, 1, 0,
      RES, "1" },
    { T("{\"name\":\"123456789012345678901234567890123\"}"), T(""), LC, 0, 1,
      RES, "1" },
    { T("{\"name\":\"\\u00312345678901234567890123456789012\"}"),
      T("{\"name\":\"\\u00312345678901234567890123456789012\"}"), HAS_LIST, 1,
      0, RES, "1" },
    { T("{\"name\":\"\\u003112345678901234567890123456789012\"}"), T(""), LC,
      0, 1, RES, "1" },
    { T("{\"name\":\"\\u003112345678901234567890123456789012"
        "12345678901234567890123456789012345678901234567890"
        "12345678901234567890123456789012345678901234567890\"}"), T(""), LC,
      0, 1, RES, "1" },

    /* the other lists, and any spelling of their keys */
    { R("\"prompts\":[" N "," A "]"), R("\"prompts\":[" A "]"), LC, 1, 1, RES,
      "1" },
    { R("\"resources\":[{\"uri\":\"no:\",\"name\":\"a\"},"
        "{\"uri\":\"x:\",\"name\":\"no\"}," A "]"),
      R("\"resources\":[{\"uri\":\"x:\",\"name\":\"no\"}]"), LC, 1, 2, RES,
      "1" },
    { R("\"resources\":[{\"uri\":\"x:\",\"URI\":\"x:\"}]"),
      R("\"resources\":[]"), LC, 0, 1, RES, "1" },
    { R("\"resourceTemplates\":[{\"uriTemplate\":\"no/{x}\"},"
        "{\"uriTemplate\":\"x/{x}\"},{\"uri\":\"x\"}]"),
      R("\"resourceTemplates\":[{\"uriTemplate\":\"x/{x}\"}]"), LC, 1, 2, RES,
      "1" },
    { R("\"tasks\":[{\"taskId\":\"no\"},{\"taskId\":\"t\"},{\"taskId\":\"t\","
        "\"taskid\":\"t\"},{\"taskId\":\"t\",\"ta\xc5\xbf\xe2\x84\xaaId\":1}]"
        ), R("\"tasks\":[{\"taskId\":\"t\"}]"), LC, 1, 3, RES, "1" },
    { R("\"Tools\":[" N "],\"TOOLS\":[" N "],\"t\\u006fols\":[" N "],"
        "\"RESOURCETEMPLATES\":[" N "]"),
      R("\"Tools\":[],\"TOOLS\":[],\"t\\u006fols\":[],"
        "\"RESOURCETEMPLATES\":[]"), LC, 0, 4, RES, "1" },
    { R("\"tool\xc5\xbf\":[" N "],\"ta\xc5\xbf\xe2\x84\xaas\":[" N "]"),
      R("\"tool\xc5\xbf\":[],\"ta\xc5\xbf\xe2\x84\xaas\":[]"), LC, 0, 2, RES,
      "1" },
    { R("\"tools\":[" N "],\"tools\":[" N "," A "]"),
      R("\"tools\":[],\"tools\":[" A "]"), LC, 1, 2, RES, "1" },
    { R("\"tool\":[" N "],\"toolss\":[" N "],\"x\":{\"tools\":[" N "]},"
        "\"tool\xc5\":[]"), NULL, 0, 0, 0, NONE, "" },
    { R("\"tool\":[" N "],\"toolss\":[" N "],\"x\":{\"tools\":[" N "]}"),
      R("\"tool\":[" N "],\"toolss\":[" N "],\"x\":{\"tools\":[" N "]}"), 0,
      0, 0, RES, "1" },

    { R("\"tools\\u0000\":[" N "],\"\\u0000\":[" N "]"),
      R("\"tools\\u0000\":[" N "],\"\\u0000\":[" N "]"), 0, 0, 0, RES, "1" },
    { T("{\"name\\u0000\":1,\"name\":\"a\"}"),
      T("{\"name\\u0000\":1,\"name\":\"a\"}"), HAS_LIST, 1, 0, RES, "1" },

    /* a list key that is no list: an object may have entries in it */
    { R("\"prompts\":null,\"tasks\":\"[]\""),
      R("\"prompts\":null,\"tasks\":\"[]\""), 0, 0, 0, RES, "1" },
    { R("\"tools\":{\"1\":" N ",\"2\":[" A ",{}]},\"x\":" N),
      R("\"tools\":[],\"x\":" N), LC, 0, 1, RES, "1" },
    { R("\"x\":1, \"Tools\" : {} ,\"tools\":[" N "," A "]"),
      R("\"x\":1, \"Tools\" : [] ,\"tools\":[" A "]"), LC, 1, 2, RES, "1" },
    { R("\"result\":{\"tasks\":{\"a\":{\"taskId\":\"no\"}}}"),
      R("\"result\":{\"tasks\":[]}"), LC, 0, 1, RES, "1" },
    { R("\"tools\":{\"1\":" N), NULL, 0, 0, 0, NONE, "" },

    /* the rest of the result is untouched */
    { R("\"nextCursor\":\"\",\"tools\":[" N "],\"ttlMs\":1.50,\"_meta\":"
        "{\"tools\":[" N "]}"),
      R("\"nextCursor\":\"\",\"tools\":[],\"ttlMs\":1.50,\"_meta\":"
        "{\"tools\":[" N "]}"), LC, 0, 1, RES, "1" },
    { T("{\"name\":\"a\",\"tools\":[" N "],\"result\":{\"tools\":[" N "]}}"),
      T("{\"name\":\"a\",\"tools\":[" N "],\"result\":{\"tools\":[" N "]}}"),
      HAS_LIST, 1, 0, RES, "1" },

    /* where a list may be */
    { "{\"tools\":[" N "]}", "{\"tools\":[" N "]}", 0, 0, 0, NONE, "" },
    { "{\"params\":{\"tools\":[" N "]},\"method\":\"m\"}",
      "{\"params\":{\"tools\":[" N "]},\"method\":\"m\"}", 0, 0, 0, NOTE, "" },
    { "{\"RESULT\":{\"tools\":[" N "]}}", "{\"RESULT\":{\"tools\":[]}}", LC,
      0, 1, NONE, "" },
    { "{\"r\\u0065sult\":{\"tools\":[" N "]}}",
      "{\"r\\u0065sult\":{\"tools\":[]}}", LC, 0, 1, RES, "" },
    { "{\"re\xc5\xbfult\":{\"tools\":[" N "]}}",
      "{\"re\xc5\xbfult\":{\"tools\":[]}}", LC, 0, 1, NONE, "" },
    { "{\"result\":{\"tools\":[" N "]},\"result\":{\"tools\":[" A "," N "]}}",
      "{\"result\":{\"tools\":[]},\"result\":{\"tools\":[" A "]}}", LC, 1, 2,
      RES, "" },
    { "{\"result\":[{\"tools\":[" N "]}]}", "{\"result\":[{\"tools\":[" N
      "]}]}", 0, 0, 0, RES, "" },
    { R("\"result\":{\"tools\":[" N "," A "],\"cacheScope\":\"public\","
        "\"result\":{\"tools\":[" N "]}}"),
      R("\"result\":{\"tools\":[" A "],\"cacheScope\":\"private\","
        "\"result\":{\"tools\":[" N "]}}"), LC, 1, 1, RES, "1" },
    { "[" T(N "," A) ", " T(B "," N) "]", "[" T(A) ", " T(B) "]", LC | BATCH,
      2, 2, RES, "1" },
    { " [1," T(N) ",{}]", " [1," T("") ",{}]", LC | BATCH, 0, 1, NONE, "" },
    { "[" T(N) ", 1 ," T(N) "]", "[" T("") ", 1 ," T("") "]", LC | BATCH, 0, 2,
      RES, "1" },

    /* a batch in a batch */
    { "[[]]", NULL, 0, 0, 0, NONE, "" },
    { " [1,[" T(N) "]," T(N) ",{}]", NULL, 0, 0, 0, NONE, "" },
    { "[" T(A) ",[[" T(A) "]]]", NULL, 0, 0, 0, NONE, "" },

    /* cacheScope */
    { R("\"cacheScope\":\"private\""), R("\"cacheScope\":\"private\""), 0, 0,
      0, RES, "1" },
    { R("\"cacheScope\" : \"public\" "), R("\"cacheScope\" : \"private\" "),
      CHANGED, 0, 0, RES, "1" },
    { R("\"cacheScope\":\"priv\\u0061te\""), R("\"cacheScope\":\"private\""),
      CHANGED, 0, 0, RES, "1" },
    { R("\"c\\u0061cheScope\":\"\\u0070ublic\",\"x\":1"),
      R("\"c\\u0061cheScope\":\"private\",\"x\":1"), CHANGED, 0, 0, RES, "1" },
    { R("\"cachescope\":\"public\",\"CACHESCOPE\":null,"
        "\"cache\xc5\xbf" "cope\":1"),
      R("\"cachescope\":\"private\",\"CACHESCOPE\":\"private\","
        "\"cache\xc5\xbf" "cope\":\"private\""), CHANGED, 0, 0, RES, "1" },
    { R("\"cacheScope\": -12.5e3,\"x\":1"),
      R("\"cacheScope\": \"private\",\"x\":1"), CHANGED, 0, 0, RES, "1" },
    { R("\"cacheScope\":true,\"cacheScope\":false"),
      R("\"cacheScope\":\"private\",\"cacheScope\":\"private\""), CHANGED, 0,
      0, RES, "1" },
    { R("\"cacheScope\": {\"a\":[1,{\"b\":\"public\"}]} ,\"x\":[]"),
      R("\"cacheScope\": \"private\" ,\"x\":[]"), CHANGED, 0, 0, RES, "1" },
    { R("\"cacheScope\":[\"public\"],\"tools\":[" A "]"),
      R("\"cacheScope\":\"private\",\"tools\":[" A "]"), LC, 1, 0, RES, "1" },
    { R("\"tools\":[" N "],\"cacheScope\":\"\""),
      R("\"tools\":[],\"cacheScope\":\"private\""), LC, 0, 1, RES, "1" },
    { "{\"cacheScope\":\"public\",\"result\":{\"x\":{\"cacheScope\":\"public\""
      "}}}", "{\"cacheScope\":\"public\",\"result\":{\"x\":{\"cacheScope\":"
      "\"public\"}}}", 0, 0, 0, RES, "" },

    /* outcomes and ids */
    { "{\"id\":9007199254740993.0,\"method\":\"m\"}",
      "{\"id\":9007199254740993.0,\"method\":\"m\"}", 0, 0, 0, REQ,
      "9007199254740993.0" },
    { "{\"id\" :\n\"a\\u0062\\\"c\" ,\"result\":1}",
      "{\"id\" :\n\"a\\u0062\\\"c\" ,\"result\":1}", 0, 0, 0, RES,
      "\"a\\u0062\\\"c\"" },
    { "{\"id\":-0,\"error\":{}}", "{\"id\":-0,\"error\":{}}", 0, 0, 0, ERR,
      "-0" },
    { "{\"id\":null,\"error\":null}", "{\"id\":null,\"error\":null}", 0, 0, 0,
      ERR, "null" },
    { "{\"id\":{\"a\":1},\"result\":{}}", "{\"id\":{\"a\":1},\"result\":{}}",
      0, 0, 0, RES, "" },
    { "{\"id\":1,\"id\":[],\"result\":{}}",
      "{\"id\":1,\"id\":[],\"result\":{}}", 0, 0, 0, RES, "" },
    { "{\"ID\":1,\"Method\":\"m\"}", "{\"ID\":1,\"Method\":\"m\"}", 0, 0, 0,
      NONE, "" },
    { "{\"id\":1,\"id\":2,\"method\":\"m\"}", "{\"id\":1,\"id\":2,\"method\":"
      "\"m\"}", 0, 0, 0, REQ, "2" },
    { "[{\"id\":1,\"result\":{\"isError\":true}},{\"method\":\"m\"}]",
      "[{\"id\":1,\"result\":{\"isError\":true}},{\"method\":\"m\"}]", BATCH,
      0, 0, NOTE, "" },
    { R("\"isError\":true"), R("\"isError\":true"), IS_ERROR, 0, 0, RES, "1" },
    { R("\"isError\":false,\"iserror\":true,\"x\":{\"isError\":true}"),
      R("\"isError\":false,\"iserror\":true,\"x\":{\"isError\":true}"), 0, 0,
      0, RES, "1" },
    { R("\"isError\":\"true\""), R("\"isError\":\"true\""), 0, 0, 0, RES,
      "1" },
    { R("\"resultType\":\"input_required\""),
      R("\"resultType\":\"input_required\""), INPUT, 0, 0, RES, "1" },
    { R("\"resultType\":\"input\\u005frequired\""),
      R("\"resultType\":\"input\\u005frequired\""), INPUT, 0, 0, RES, "1" },
    { R("\"resultType\":\"complete\",\"x\":\"input_required\""),
      R("\"resultType\":\"complete\",\"x\":\"input_required\""), 0, 0, 0, RES,
      "1" },

    { R("\"result\":{\"isError\":true,\"resultType\":\"input_required\"}"),
      R("\"result\":{\"isError\":true,\"resultType\":\"input_required\"}"),
      0, 0, 0, RES, "1" },
    { "[" R("\"resultType\":\"input_required\"") "," R("") "]",
      "[" R("\"resultType\":\"input_required\"") "," R("") "]", BATCH, 0, 0,
      RES, "1" },

    /* not JSON */
    { "", NULL, 0, 0, 0, NONE, "" },
    { " ", NULL, 0, 0, 0, NONE, "" },
    { "\xef\xbb\xbf" T(A), NULL, 0, 0, 0, NONE, "" },
    { T(A) "x", NULL, 0, 0, 0, NONE, "" },
    { T(A) T(A), NULL, 0, 0, 0, NONE, "" },
    { T(A ","), NULL, 0, 0, 0, NONE, "" },
    { T("," A), NULL, 0, 0, 0, NONE, "" },
    { T(A A), NULL, 0, 0, 0, NONE, "" },
    { T("{\"name\":\"a\",}"), NULL, 0, 0, 0, NONE, "" },
    { T("{\"name\":\"\xff\"}"), NULL, 0, 0, 0, NONE, "" },
    { T("{\"name\":'a'}"), NULL, 0, 0, 0, NONE, "" },
    { T("{\"name\":\"a\",\"x\":01}"), NULL, 0, 0, 0, NONE, "" },
    { R("\"cacheScope\":public"), NULL, 0, 0, 0, NONE, "" },
    { "\v" T(A), NULL, 0, 0, 0, NONE, "" },
    { "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", NULL, 0, 0, 0, NONE, "" },
};


static int
feed_two(run_t *r, const char *text, size_t len, size_t at)
{
    if (feed(r, text, at, 0) == MCP_ERROR) {
        return MCP_ERROR;
    }

    return feed(r, text + at, len - at, 1);
}


static void
check_doc(const doc_t *d, run_t *r, int rc)
{
    if (d->out == NULL) {
        if (rc != MCP_ERROR) {
            fail_msg("accepted: %s", d->in);
        }

        assert_int_equal(mcp_list_filter_feed(&r->f, NULL, 0, 1), MCP_ERROR);
        return;
    }

    if (rc != MCP_OK) {
        fail_msg("%s: %s", d->in, r->f.error);
    }

    if (r->len != strlen(d->out) || memcmp(r->out, d->out, r->len) != 0) {
        fail_msg("%s\ngave:     %.*s\nexpected: %s", d->in, (int) r->len,
                 r->out, d->out);
    }

    if (flags(&r->f) != d->flags || r->f.kept != d->kept
        || r->f.removed != d->removed || r->f.outcome != d->outcome)
    {
        fail_msg("%s: flags %x, kept %u, removed %u, outcome %d", d->in,
                 flags(&r->f), r->f.kept, r->f.removed, r->f.outcome);
    }

    assert_int_equal(r->f.id_len, strlen(d->id));
    assert_memory_equal(r->f.id, d->id, r->f.id_len);
}


static void
test_docs(void **state)
{
    size_t        i, k, len;
    run_t         r;
    const doc_t  *d;

    (void) state;

    for (i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
        d = &docs[i];
        len = strlen(d->in);

        run_begin(&r);
        check_doc(d, &r, feed(&r, d->in, len, 1));
        run_end(&r);

        for (k = 0; k <= len; k++) {
            run_begin(&r);
            check_doc(d, &r, feed_two(&r, d->in, len, k));
            run_end(&r);
        }

        for (k = 1; k < 12; k++) {
            run_begin(&r);
            check_doc(d, &r, feed_pieces(&r, d->in, len, k));
            run_end(&r);
        }
    }
}


/* One filter, one document after the other, as a stream of events does. */

static void
test_docs_again(void **state)
{
    int     rc;
    size_t  i;
    run_t   r;

    (void) state;

    run_begin(&r);

    for (i = 0; i < 2 * sizeof(docs) / sizeof(docs[0]); i++) {
        mcp_list_filter_init(&r.f, &r.conf, r.buf);
        r.len = 0;

        rc = feed_pieces(&r, docs[i / 2].in, strlen(docs[i / 2].in), 9);
        check_doc(&docs[i / 2], &r, rc);
    }

    run_end(&r);
}


/* A document cut short is an error, and nothing forbidden is in the output. */

static void
test_truncated(void **state)
{
    size_t             i, k, len;
    run_t              r;
    static const char  doc[] =
        R("\"cacheScope\":\"public\",\"tools\":[" A ", " N ", " B "," M "]");
    static const char  out[] =
        R("\"cacheScope\":\"private\",\"tools\":[" A ", " B "]");

    (void) state;

    len = sizeof(doc) - 1;

    for (i = 0; i < len; i++) {
        for (k = 0; k < 3; k++) {
            run_begin(&r);
            assert_int_equal(k == 0 ? feed(&r, doc, i, 1)
                                    : feed_pieces(&r, doc, i, k), MCP_ERROR);

            /* what was emitted is a beginning of the right output */
            assert_true(r.len < sizeof(out) - 1);
            assert_memory_equal(r.out ? r.out : "", out, r.len);
            run_end(&r);
        }
    }
}


/* What is decided is emitted at once; what is not is held. */

static void
test_progress(void **state)
{
    run_t              r;
    static const char  head[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[";

    (void) state;

    run_begin(&r);

    feed(&r, head, sizeof(head) - 1, 0);
    assert_int_equal(r.len, sizeof(head) - 1);

    feed(&r, A ", {\"na", 11 + 7, 0);
    assert_int_equal(r.len, sizeof(head) - 1 + 12);

    feed(&r, "me\":\"no\"}", 9, 0);
    assert_int_equal(r.len, sizeof(head) - 1 + 12);

    feed(&r, "],\"nextCursor\":\"abc", 19, 0);
    assert_int_equal(r.len, sizeof(head) - 1 + 12 + 19);

    assert_int_equal(feed(&r, "\"}}", 3, 1), MCP_OK);
    assert_memory_equal(r.out, R("\"tools\":[" A "],\"nextCursor\":\"abc\""),
                        r.len);

    assert_int_equal(mcp_list_filter_feed(&r.f, NULL, 0, 1), MCP_ERROR);

    run_end(&r);
}


/* A run of kept entries is one emit, and whole entries need no buffer. */

static void
test_spans(void **state)
{
    run_t              r;
    static const char  doc[] = T(A "," B "," C "," A "," N "," B "," C);

    (void) state;

    run_begin(&r);
    assert_int_equal(feed(&r, doc, sizeof(doc) - 1, 1), MCP_OK);
    assert_int_equal(r.emits, 2);
    assert_int_equal(r.grown, 0);
    assert_int_equal(r.asked, 7);
    run_end(&r);
}


/* The limit counts the same whether the entry is split or not. */

static void
test_entry_limit(void **state)
{
    int                rc, expected;
    char               doc[3 * MAX_ENTRY];
    size_t             pad, len, k, way;
    run_t              r;
    const char        *const *t;

    /* before the padding, behind it; what counts, without the padding */
    static const struct {
        const char    *text[2];
        size_t         bytes;
        char           pad;
    } docs_padded[] = {
        { { "{\"result\":{\"tools\":[{\"name\":\"a\",\"x\":\"", "\"}]}}" },
          19, 'y' },
        { { "{\"result\":{\"tools\":[{\"name\":\"no\",\"x\":\"", "\"}]}}" },
          20, 'y' },
        { { "{\"result\":{\"tools\":[" A ",\"", "\"]}}" }, 3, 'y' },
        { { "{\"result\":{\"tools\":[" A ",[\"", "\"]]}}" }, 5, 'y' },
        { { "{\"result\":{\"tools\":[" A, "," N "]}}" }, 14, ' ' },
        { { "{\"result\":{\"tools\":[" A, "]}}" }, 1, '\n' },
        { { "{\"result\":{\"tools\":[", "]}}" }, 1, ' ' },
        { { "{\"result\":{\"cacheScope\":\"", "\"}}" }, 3, 'y' },
        { { "{\"result\":{\"cacheScope\":", "1}}" }, 2, ' ' },
        { { "{\"result\":{\"cacheScope\":", "[\"public\"]}}" }, 1, ' ' },
    };

    (void) state;

    for (k = 0; k < sizeof(docs_padded) / sizeof(docs_padded[0]); k++) {
        t = docs_padded[k].text;

        for (pad = MAX_ENTRY - 30; pad < MAX_ENTRY + 5; pad++) {
            len = strlen(t[0]);
            memcpy(doc, t[0], len);
            memset(doc + len, docs_padded[k].pad, pad);
            strcpy(doc + len + pad, t[1]);
            len += pad + strlen(t[1]);

            expected = pad + docs_padded[k].bytes > MAX_ENTRY ? MCP_ERROR
                                                              : MCP_OK;

            for (way = 0; way < 3; way++) {
                run_begin(&r);
                rc = way == 0 ? feed(&r, doc, len, 1)
                              : feed_pieces(&r, doc, len, way == 1 ? 1 : 900);

                if (rc != expected) {
                    fail_msg("doc %zu, pad %zu, way %zu: %d", k, pad, way,
                             rc);
                }

                assert_true(r.grown <= MAX_ENTRY);
                run_end(&r);
            }
        }
    }
}


/* Long values that nobody has to hold are no error, nor is a long id. */

static void
test_long_values(void **state)
{
    char         doc[4 * MAX_ENTRY];
    size_t       i, k, len, pad;
    run_t        r;

    static const struct {
        const char  *text[2];
        const char  *out;       /* NULL: as it came */
    } t[] = {
        { { "{\"id\":1,\"result\":{\"text\":\"", "\"}}" }, NULL },
        { { "{\"id\":1,\"result\":{\"text\":[\"", "\"]}}" }, NULL },
        { { "{\"id\":\"", "\",\"result\":{}}" }, NULL },
        { { "{\"id\":1,\"result\":{\"cacheScope\":[\"", "\"]}}" },
          "{\"id\":1,\"result\":{\"cacheScope\":\"private\"}}" },
        { { "{\"id\":1,\"result\":{\"resultType\":\"", "\"}}" }, NULL },
        { { "{\"id\":1,\"", "\":{}}" }, NULL },
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        for (k = 0; k < 4; k++) {
            pad = 3 * MAX_ENTRY;
            len = strlen(t[i].text[0]);
            memcpy(doc, t[i].text[0], len);
            memset(doc + len, '7', pad);
            strcpy(doc + len + pad, t[i].text[1]);
            len += pad + strlen(t[i].text[1]);

            run_begin(&r);
            assert_int_equal(k == 0 ? feed(&r, doc, len, 1)
                                    : feed_pieces(&r, doc, len,
                                          k == 1 ? 1 : 500 * k), MCP_OK);

            if (t[i].out) {
                assert_int_equal(r.len, strlen(t[i].out));
                assert_memory_equal(r.out, t[i].out, r.len);

            } else {
                assert_int_equal(r.len, len);
                assert_memory_equal(r.out, doc, r.len);
            }

            assert_int_equal(r.f.id_len, i == 2 ? 0 : 1);
            run_end(&r);
        }
    }
}


static void
test_id_limit(void **state)
{
    char      doc[1000];
    size_t    n, space, k;
    run_t     r;
    unsigned  kept;

    (void) state;

    for (n = 250; n < 260; n++) {
        for (space = 0; space < 300; space += (space < 245 ? 49 : 1)) {
            sprintf(doc, "{\"id\":%*s\"%0*d\" ,\"method\":\"m\"}",
                    (int) space, "", (int) n, 0);

            kept = (n + 2 <= 256 && 1 + space + n + 2 <= 512);

            for (k = 0; k < 4; k++) {
                run_begin(&r);
                assert_int_equal(k == 0 ? feed(&r, doc, strlen(doc), 1)
                                        : feed_pieces(&r, doc, strlen(doc),
                                              k == 1 ? 1 : 200 * k), MCP_OK);
                assert_int_equal(r.f.id_len, kept ? n + 2 : 0);
                assert_int_equal(r.f.outcome, MCP_OUTCOME_REQUEST);
                assert_int_equal(r.len, strlen(doc));

                if (kept) {
                    assert_memory_equal(r.f.id, strchr(doc + 4, '"') + 2 +
                                        space, n + 2);
                }

                run_end(&r);
            }
        }
    }
}


static void
test_rpc_code(void **state)
{
    char    doc[200];
    size_t  i, k;
    run_t   r;

    static const struct {
        const char  *text;
        int64_t      code;
    } t[] = {
        { "-32602", -32602 }, { "0", 0 }, { "-0", 0 }, { "1", 1 },
        { "999999999999999999", 999999999999999999 },
        { "-999999999999999999", -999999999999999999 },
        { "1000000000000000000", 0 }, { "1.0", 0 }, { "1e3", 0 },
        { "\"1\"", 0 }, { "null", 0 }, { "[1]", 0 }, { "{\"code\":5}", 0 },
        { "1,\"data\":{\"code\":2}", 1 }, { "1,\"Code\":2", 1 },
        { "1,\"code\":2", 2 },
        { "7}},{\"error\":{\"message\":\"m\"", 0 },
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        sprintf(doc, "[{\"id\":1,\"error\":{\"message\":\"m\",\"code\":%s}}]",
                t[i].text);

        for (k = 0; k < 4; k++) {
            run_begin(&r);
            assert_int_equal(k == 0 ? feed(&r, doc, strlen(doc), 1)
                                    : feed_pieces(&r, doc, strlen(doc), k),
                             MCP_OK);
            assert_true(r.f.rpc_code == t[i].code);
            assert_int_equal(r.f.outcome, MCP_OUTCOME_ERROR);
            run_end(&r);
        }
    }
}


static void
test_list_kinds(void **state)
{
    char    doc[200];
    size_t  i;
    run_t   r;

    static const struct {
        const char  *list;
        const char  *key;
        mcp_list_e   kind;
    } t[] = {
        { "tools", "name", MCP_LIST_TOOLS },
        { "prompts", "name", MCP_LIST_PROMPTS },
        { "resources", "uri", MCP_LIST_RESOURCES },
        { "resourceTemplates", "uriTemplate", MCP_LIST_TEMPLATES },
        { "tasks", "taskId", MCP_LIST_TASKS },
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        sprintf(doc, "{\"result\":{\"%s\":[{\"%s\":\"x\"}]}}", t[i].list,
                t[i].key);

        run_begin(&r);
        assert_int_equal(feed(&r, doc, strlen(doc), 1), MCP_OK);
        assert_int_equal(r.asked, 1);
        assert_int_equal(r.last_list, t[i].kind);
        assert_int_equal(r.f.kept, 1);
        run_end(&r);
    }
}


/* Each emit in turn fails; then no memory. */

static void
test_callbacks_fail(void **state)
{
    unsigned           i, n;
    run_t              r;
    static const char  doc[] =
        R("\"cacheScope\":1,\"tools\":[" A "," N "," B "," N "]");

    (void) state;

    run_begin(&r);
    assert_int_equal(feed_pieces(&r, doc, sizeof(doc) - 1, 1), MCP_OK);
    n = r.emits;
    run_end(&r);

    for (i = 1; i <= n; i++) {
        run_begin(&r);
        r.emit_fails_at = i;
        assert_int_equal(feed_pieces(&r, doc, sizeof(doc) - 1, 1), MCP_ERROR);
        assert_int_equal(r.emits, i);
        assert_string_equal(r.f.error, "output failed");
        assert_int_equal(feed(&r, "", 0, 1), MCP_ERROR);
        assert_int_equal(r.emits, i);
        run_end(&r);
    }

    run_begin(&r);
    r.grow_fails = 1;
    assert_int_equal(feed_pieces(&r, doc, sizeof(doc) - 1, 1), MCP_ERROR);
    assert_string_equal(r.f.error, "no memory");
    run_end(&r);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_docs),
        cmocka_unit_test(test_docs_again),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_entry_limit),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_id_limit),
        cmocka_unit_test(test_rpc_code),
        cmocka_unit_test(test_list_kinds),
        cmocka_unit_test(test_callbacks_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
