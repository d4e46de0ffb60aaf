/*
 * Tests of core/mcp_list_filter with documents from a generator.
 *
 * Two things must hold for any of them: the output's tree, as jansson reads
 * it, is the input's tree without the forbidden entries; and the document as a
 * whole and in pieces gives the same.  The generator starts from the same
 * number each time, so that a failure comes again.
 */

#include <strings.h>
#include <time.h>
#include <jansson.h>

#include "list_filter_fixture.h"


/*
 * The second opinion: a generator of documents with random space, filtered as
 * a tree by jansson and as bytes by the filter.
 */

typedef struct {
    char    text[16384];
    size_t  len;
} gen_t;


static void
gen_put(gen_t *g, const char *s)
{
    size_t  n;

    n = strlen(s);
    assert_true(g->len + n < sizeof(g->text));
    memcpy(g->text + g->len, s, n + 1);
    g->len += n;
}


static void
gen_space(gen_t *g)
{
    static const char *const  space[] = { "", "", "", "", " ", "\n  ", "\t" };

    gen_put(g, space[rand() % 7]);
}


static const char *
gen_pick(const char *const *list, size_t n)
{
    return list[(size_t) rand() % n];
}


#define PICK(list)  gen_pick(list, sizeof(list) / sizeof(list[0]))


static void
gen_entry(gen_t *g)
{
    static const char *const  entries[] = {
        "{\"name\":\"a\"}", "{\"name\":\"no\"}", "{ \"name\" : \"nope\" }",
        "{\"x\":{\"name\":\"no\"},\"name\":\"b\",\"y\":[1,2.5,\"\\u00e9\"]}",
        "{\"x\":{\"name\":\"b\"},\"y\":[1,{}]}", "17", "\"a\"", "[]", "null",
        "[{\"name\":\"a\"}]", "{}", "{\"name\":\"c\",\"Name\":\"c\"}",
        "{\"name\":7}", "{\"name\":\"n\\u006f\"}", "{\"uri\":\"u\"}",
        "{\"uri\":\"no\",\"name\":\"d\"}", "{\"uri\":\"v\",\"name\":\"no\"}",
    };

    gen_space(g);
    gen_put(g, PICK(entries));
    gen_space(g);
}


static void
gen_result(gen_t *g, unsigned inner)
{
    int          i, k, n;
    unsigned     used, bit;
    const char  *key;

    static const char *const  keys[] = {
        "tools", "prompts", "resources", "cacheScope", "nextCursor", "result",
        "TOOLS", "x"
    };
    static const char *const  scalars[] = {
        "\"public\"", "\"private\"", "1", "true", "null", "{\"a\":[]}", "[]"
    };

    gen_put(g, "{");
    n = rand() % 4;
    used = 0;

    for (i = 0; i < n; i++) {
        bit = (unsigned) rand() % 8;

        if (used & 1u << bit) {
            continue;
        }

        gen_put(g, used ? "," : "");
        used |= 1u << bit;
        key = keys[bit];

        gen_space(g);
        gen_put(g, "\"");
        gen_put(g, key);
        gen_put(g, "\"");
        gen_space(g);
        gen_put(g, ":");
        gen_space(g);

        if (bit == 5 && inner < 2) {
            gen_result(g, inner + 1);

        } else if (bit == 3 || bit == 4) {
            gen_put(g, PICK(scalars));

        } else {
            gen_put(g, "[");

            for (k = rand() % 5; k > 0; k--) {
                gen_entry(g);
                gen_put(g, k > 1 ? "," : "");
            }

            gen_space(g);
            gen_put(g, "]");
        }

        gen_space(g);
    }

    gen_put(g, "}");
}


static int
tree_visible(const char *list, json_t *entry)
{
    json_t      *value;
    unsigned     n;
    const char  *key, *want, *name;

    if (!json_is_object(entry)) {
        return 0;
    }

    want = strcasecmp(list, "resources") == 0 ? "uri" : "name";
    n = 0;

    json_object_foreach(entry, key, value) {
        n += (strcasecmp(key, want) == 0);
    }

    name = json_string_value(json_object_get(entry, want));

    return n == 1 && name && *name && strncmp(name, "no", 2) != 0;
}


static void
tree_filter(json_t *result, unsigned inner)
{
    size_t       i;
    json_t      *value;
    const char  *key;
    void        *tmp;

    json_object_foreach_safe(result, tmp, key, value) {

        if (strcasecmp(key, "cacheScope") == 0) {
            json_object_set_new(result, key, json_string("private"));

        } else if (strcmp(key, "result") == 0 && json_is_object(value)
                   && inner == 0)
        {
            tree_filter(value, 1);

        } else if (json_is_array(value)
                   && (strcasecmp(key, "tools") == 0
                       || strcmp(key, "prompts") == 0
                       || strcmp(key, "resources") == 0))
        {
            for (i = json_array_size(value); i > 0; i--) {
                if (!tree_visible(key, json_array_get(value, i - 1))) {
                    json_array_remove(value, i - 1);
                }
            }
        }
    }
}


static void
test_tree(void **state)
{
    int      i;
    gen_t    g;
    run_t    whole, split;
    json_t  *in, *out;

    (void) state;

    for (i = 0; i < 20000; i++) {
        g.len = 0;
        gen_put(&g, "{\"id\":1,\"result\":");
        gen_result(&g, 0);
        gen_put(&g, "}");

        run_begin(&whole);
        run_begin(&split);

        assert_int_equal(feed(&whole, g.text, g.len, 1), MCP_OK);
        assert_int_equal(feed_pieces(&split, g.text, g.len,
                                     1 + (size_t) (rand() % 40)), MCP_OK);

        assert_int_equal(whole.len, split.len);
        assert_memory_equal(whole.out, split.out, whole.len);
        assert_int_equal(flags(&whole.f), flags(&split.f));
        assert_int_equal(whole.f.kept, split.f.kept);
        assert_int_equal(whole.f.removed, split.f.removed);

        in = json_loadb(g.text, g.len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(in);
        tree_filter(json_object_get(in, "result"), 0);

        out = json_loadb(whole.out, whole.len, JSON_REJECT_DUPLICATES, NULL);

        if (out == NULL || !json_equal(in, out)) {
            fail_msg("%s\ngave: %.*s", g.text, (int) whole.len, whole.out);
        }

        if (!whole.f.changed) {
            assert_int_equal(whole.len, g.len);
            assert_memory_equal(whole.out, g.text, g.len);
        }

        json_decref(in);
        json_decref(out);
        run_end(&whole);
        run_end(&split);
    }
}


/* Together they reach every state of the filter. */

static const char *const  seeds[] = {
    T(""), T(" " N " , " A "\t,\n" M " ,  " B " "), T(A "," N "," C),
    T("1,\"a\",null,true,[" A "],-1.5e3,[],{}," A),
    T("{\"name\":\"a\",\"Name\":\"a\"},{\"n\\u0061me\":\"\\u006eo\"},"
      A),
    T("{\"name\":\"a\",\"x\":{\"name\":\"no\",\"y\":[[\"]\"]]}},{\"name\":{}}"),
    R("\"tasks\":[{\"taskId\":\"no\"},{\"taskId\":\"t\"}],"
      "\"tool\xc5\xbf\":[1]"),
    R("\"resources\":[{\"uri\":\"x\"}],\"resourceTemplates\":"
      "[{\"uriTemplate\":\"no\"},{\"uriTemplate\":\"y\"}]"),
    R("\"cacheScope\" : \"public\",\"tools\":[" N "],\"nextCursor\":\"\""),
    R("\"cacheScope\":{\"a\":[1]},\"x\":[2],\"CacheScope\":-12e3"),
    R("\"result\":{\"tools\":[" N "," A "],\"cacheScope\":null},\"prompts\":["
      A "," M "]"),
    R("\"isError\":true,\"resultType\":\"input_required\""),
    "[" T(N "," A) ", {\"method\":\"m\",\"id\" : \"x\\u0041\"}," T(N) ",1]",
    R("\"x\":[1], \"tools\" : {\"1\":" N ",\"2\":[" A "]} ,\"y\":{}"),
    "{\"result\":{\"tools\":[" N "]},\"id\":12345.0,\"RESULT\":{\"tools\":["
      A "," N "]}}",
    "{\"id\":null,\"error\":{\"code\":-32602,\"message\":\"m\"}}",
};


/*
 * Mutated documents for a second or two: whole and in pieces agree, and
 * filtering the output once more changes nothing.
 */

static void
mutate(char *doc, size_t *len, size_t size)
{
    size_t                    at, n;
    const char               *bit;
    static const char *const  bits[] = {
        "\"", "{", "}", "[", "]", ",", ":", "\\", "\\u0065", "1", "e", " ",
        "\xc3", "\"name\":\"no\"", N ",", "\"tools\":[", "\"result\":{",
        "null", "-", "\"id\":", "\"cacheScope\":", "\xff"
    };

    at = *len ? (size_t) rand() % *len : 0;

    switch (rand() % 4) {

    case 0:
        if (*len) {
            doc[at] = (char) rand();
        }

        break;

    case 1:
        n = (size_t) rand() % 8;
        n = n < *len - at ? n : *len - at;
        memmove(doc + at, doc + at + n, *len - at - n);
        *len -= n;
        break;

    default:
        bit = PICK(bits);
        n = strlen(bit);

        if (*len + n < size) {
            memmove(doc + at + n, doc + at, *len - at);
            memcpy(doc + at, bit, n);
            *len += n;
        }

        break;
    }
}


static void
check_mutant(const char *doc, size_t len)
{
    int     rc, rc2;
    size_t  common;
    run_t   whole, split, again;

    run_begin(&whole);
    run_begin(&split);

    rc = feed(&whole, doc, len, 1);
    rc2 = feed_pieces(&split, doc, len, 1 + (size_t) (rand() % 20));
    assert_int_equal(rc, rc2);

    common = whole.len < split.len ? whole.len : split.len;

    if (common) {
        assert_memory_equal(whole.out, split.out, common);
    }

    if (rc == MCP_OK) {
        assert_int_equal(whole.len, split.len);
        assert_int_equal(flags(&whole.f), flags(&split.f));
        assert_int_equal(whole.f.outcome, split.f.outcome);
        assert_int_equal(whole.f.kept, split.f.kept);
        assert_int_equal(whole.f.removed, split.f.removed);
        assert_int_equal(whole.f.id_len, split.f.id_len);
        assert_memory_equal(whole.f.id, split.f.id, whole.f.id_len);

        run_begin(&again);
        assert_int_equal(feed(&again, whole.out, whole.len, 1), MCP_OK);
        assert_int_equal(again.f.changed, 0);
        assert_int_equal(again.f.kept, whole.f.kept);
        assert_int_equal(again.len, whole.len);
        assert_memory_equal(again.out, whole.out, whole.len);
        run_end(&again);
    }

    run_end(&whole);
    run_end(&split);
}


static void
test_mutations(void **state)
{
    int           k;
    char          doc[2000];
    size_t        len;
    time_t        end;
    run_t         r;
    const char   *in;

    (void) state;

    for (len = 0; len < sizeof(seeds) / sizeof(seeds[0]); len++) {
        run_begin(&r);
        assert_int_equal(feed(&r, seeds[len], strlen(seeds[len]), 1), MCP_OK);
        run_end(&r);
    }

    end = time(NULL) + 2;

    while (time(NULL) < end) {
        in = PICK(seeds);
        len = strlen(in);
        memcpy(doc, in, len);

        for (k = rand() % 4; k >= 0; k--) {
            mutate(doc, &len, sizeof(doc));
        }

        check_mutant(doc, len);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
