/*
 * mcp_json_tree: the tree is the one that jansson makes, and what is refused is
 * refused.  (Without memory: test_alloc; anything: t/fuzz/fuzz_json.c.)
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_json_tree.h"


#define TEXT(s)  s, sizeof(s) - 1


static json_t *
tree(const char *text, size_t len, unsigned max_depth)
{
    int             oom;
    json_t         *t;
    unsigned char  *copy;

    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);

    t = mcp_json_tree(copy, len, max_depth, &oom);
    assert_int_equal(oom, 0);
    free(copy);

    return t;
}


static void
test_same(void **state)
{
    size_t   i;
    json_t  *ours, *theirs;

    static const char *const  texts[] = {
        "{}", " { } \n", "{\"a\":{}}", "{\"\":[]}",
        "{\"a\":[1,-1,0,-0,[true,false,null],{\"a\":1}],\"b\":{\"a\":{}}}",
        "{\"max\":9223372036854775807,\"min\":-9223372036854775808}",
        "{\"f\":[0.5,-1e3,1E-2,1.25e+2,12345678901234567890.5,1e300]}",
        "{\"s\":\"\\u0041\\ud83d\\ude00\\n\\\"\\\\\\/ \xc3\xa9\","
            "\"\\u0061\":1}",
        "{\"long\":\"0123456789012345678901234567890123456789\\t01234567\"}",
        "{\"a\":1,\"A\":2,\"aa\":3}",
    };

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ours = tree(texts[i], strlen(texts[i]), MCP_JSON_TREE_DEPTH);
        theirs = json_loads(texts[i], JSON_REJECT_DUPLICATES, NULL);

        if (ours == NULL || !json_equal(ours, theirs)) {
            fail_msg("%s", texts[i]);
        }

        json_decref(ours);
        json_decref(theirs);
    }
}


static void
test_refused(void **state)
{
    size_t  i;

    static const struct {
        const char  *text;
        size_t       len;
    } rows[] = {
        { TEXT("") }, { TEXT("{") }, { TEXT("{}x") }, { TEXT("{}{}") },
        { TEXT("[]") }, { TEXT("\"a\"") }, { TEXT("1") }, { TEXT("null") },
        { TEXT("{\"a\":1,\"a\":1}") }, { TEXT("{\"a\":1,\"\\u0061\":2}") },
        { TEXT("{\"b\":{\"a\":1,\"a\":1}}") },
        { TEXT("{\"a\":\"\\u0000\"}") }, { TEXT("{\"a\\u0000\":1}") },
        { TEXT("{\"a\":17\0}") }, { TEXT("{\"a\":17}\0") },
        { TEXT("{\"a\":9223372036854775808}") },
        { TEXT("{\"a\":-9223372036854775809}") },
        { TEXT("{\"a\":123456789012345678901234567890}") },
        { TEXT("{\"a\":1e999}") }, { TEXT("{\"a\":01}") },
        { TEXT("{\"a\":\"\xff\"}") }, { TEXT("{\"a\":\"\\ud800\"}") },
        { TEXT("{\"a\":1,}") }, { TEXT("\xef\xbb\xbf{}") },
        { TEXT("{'a':1}") }, { TEXT("{\"a\":NaN}") },
    };

    (void) state;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (tree(rows[i].text, rows[i].len, MCP_JSON_TREE_DEPTH) != NULL) {
            fail_msg("row %zu is taken", i);
        }
    }
}


static void
test_depth(void **state)
{
    json_t  *t;

    (void) state;

    t = tree(TEXT("{\"a\":[{}]}"), 3);
    assert_non_null(t);
    json_decref(t);

    assert_null(tree(TEXT("{\"a\":[{}]}"), 2));
    assert_null(tree(TEXT("{}"), MCP_JSON_TREE_DEPTH + 1));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
