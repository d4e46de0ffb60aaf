/*
 * mcp_access_key: tokens and their checksum, peppers and hashes, records and
 * files of records.  Known answers are from Python's zlib, hmac and hashlib.
 */

#include "jose_fixture.h"

#include <time.h>

#include "mcp_access_key.h"


#define ID    "pat-Ab3dEf6hIj9k"
#define ID2   "pat-Ab3dEf6hIj9l"
#define HASH  "6d816ddf:"                                                     \
              "3268a9b7cbe23100391eb049ec6b90eb"                              \
              "21f7062dc3c8b6d975c5e8ef9c8012d8"
#define HASH2 "6d816ddf:"                                                     \
              "3268a9b7cbe23100391eb049ec6b90eb"                              \
              "21f7062dc3c8b6d975c5e8ef9c8012d9"
#define OWNER " issuer=https://id.example.com user=00u1"
#define MORE  " roles=engineer servers=jira created=2026-11-25T15:10:40Z"     \
              " expires=2027-02-23T15:10:40Z"
#define PAT   "pat " ID " " HASH OWNER MORE
#define VAT   "vat vat-Ab3dEf6hIj9k " HASH " service=ci" MORE


static const char  *tokens[] = {
    "mcpp_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1otwYp",
    "mcpv_00000000000000000000000000000000000000000003m8NuQ",
    "mcpp_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz3rPHhN",
    "mcpp_000000000000000000000000000000000000000008900jdFA"
};


static void
test_check(void **state)
{
    int        c;
    char      *bad;
    size_t     i, k;
    mcp_str_t  t;

    (void) state;

    for (i = 0; i < fx_count(tokens); i++) {
        t = fx_str(tokens[i]);
        assert_int_equal(t.len, MCP_ACCESS_KEY_LEN);
        assert_int_equal(mcp_access_key_check(&t), MCP_OK);
        assert_int_equal(mcp_access_key_kind(&t),
                         tokens[i][3] == 'p' ? MCP_AUTH_PAT : MCP_AUTH_VAT);

        /* no character may be another one, nor be missing */

        for (k = 0; k < MCP_ACCESS_KEY_LEN; k++) {
            bad = fx_printf("%s", tokens[i]);

            for (c = 0; c < 256; c++) {
                bad[k] = (char) c;
                t = fx_str(tokens[i]);
                t.data = (unsigned char *) bad;
                assert_int_equal(mcp_access_key_check(&t),
                                 bad[k] == tokens[i][k] ? MCP_OK : MCP_ERROR);
            }

            t = fx_str(fx_printf("%.*s%s", (int) k, tokens[i],
                                 tokens[i] + k + 1));
            assert_int_equal(mcp_access_key_check(&t), MCP_ERROR);

            t = fx_str(fx_printf("%.*s", (int) k, tokens[i]));
            assert_int_equal(mcp_access_key_check(&t), MCP_ERROR);
        }

        t = fx_str(fx_printf("%s0", tokens[i]));
        assert_int_equal(mcp_access_key_check(&t), MCP_ERROR);
    }
}


static void
test_kind(void **state)
{
    size_t     i;
    mcp_str_t  t;

    static const struct {
        const char  *text;
        unsigned     kind;
    } rows[] = {
        { "mcpp_", MCP_AUTH_PAT },
        { "mcpv_", MCP_AUTH_VAT },
        { "mcpp_eyJhbGciOiJub25lIn0.e30.", MCP_AUTH_PAT },
        { "mcpp", 0 },
        { "MCPP_x", 0 },
        { "mcpx_x", 0 },
        { " mcpp_x", 0 },
        { "eyJ", 0 },
        { "", 0 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        t = fx_str(rows[i].text);
        assert_int_equal(mcp_access_key_kind(&t), rows[i].kind);
    }

    mcp_str_null(&t);
    assert_int_equal(mcp_access_key_kind(&t), 0);
}


/* Each digit comes at each place; no two are alike. */

static void
test_make(void **state)
{
    size_t          i, k;
    mcp_str_t       t;
    mcp_auth_e      auth;
    unsigned char   token[MCP_ACCESS_KEY_LEN + 1], id[MCP_ACCESS_KEY_ID + 1];
    unsigned char   last[MCP_ACCESS_KEY_LEN + 1];
    unsigned        count[256];

    (void) state;

    memset(count, 0, sizeof(count));
    memset(last, 0, sizeof(last));

    t.data = token;
    t.len = MCP_ACCESS_KEY_LEN;

    for (i = 0; i < 4000; i++) {
        auth = (i & 1) ? MCP_AUTH_PAT : MCP_AUTH_VAT;
        token[MCP_ACCESS_KEY_LEN] = 0xee;
        id[MCP_ACCESS_KEY_ID] = 0xee;

        assert_int_equal(mcp_access_key_make(auth, token, id), MCP_OK);
        assert_int_equal(mcp_access_key_check(&t), MCP_OK);
        assert_int_equal(mcp_access_key_kind(&t), auth);
        assert_memory_equal(id, auth == MCP_AUTH_PAT ? "pat-" : "vat-", 4);
        assert_int_equal(token[MCP_ACCESS_KEY_LEN], 0xee);
        assert_int_equal(id[MCP_ACCESS_KEY_ID], 0xee);
        assert_memory_not_equal(token + 5, last + 5, 43);

        memcpy(last, token, sizeof(last));

        for (k = 5; k < 48; k++) {
            count[token[k]]++;
        }
    }

    /* 172,000 digits, 2,774 of each; ten times the standard deviation of 52 */

    for (i = 0, k = 0; i < 256; i++) {
        if (count[i]) {
            assert_true(count[i] >= 2774 - 520 && count[i] <= 2774 + 520);
            k++;
        }
    }

    assert_int_equal(k, 62);
}


static void
test_pepper(void **state)
{
    size_t             i;
    mcp_str_t          secret, token;
    unsigned char      hash[MCP_ACCESS_KEY_HASH], many[MCP_PEPPERS + 1][32];
    mcp_pepper_ring_t  ring;

    static const struct {
        const char  *secret;
        const char  *id;
        const char  *hash;
    } rows[] = {
        { "pppppppppppppppppppppppppppppppp", "6d816ddf",
          "3268a9b7cbe23100391eb049ec6b90eb21f7062dc3c8b6d975c5e8ef9c8012d8" },
        { "0123456789abcdef0123456789abcdef-and-more", "1f01b010",
          "8f7fad5e16ebf55c231da21f0ce0124fa88e99991113b9469357cef1733b0aa7" }
    };

    (void) state;

    memset(&ring, 0, sizeof(ring));
    token = fx_str(tokens[0]);

    for (i = 0; i < fx_count(rows); i++) {
        secret = fx_str(rows[i].secret);
        assert_int_equal(mcp_pepper_add(&ring, &secret), MCP_OK);
        assert_int_equal(mcp_pepper_add(&ring, &secret), MCP_DECLINED);
        assert_int_equal(ring.n, i + 1);

        mcp_access_key_hash(&ring.peppers[i], &token, hash);

        {
            mcp_buf_t      b;
            unsigned char  hex[8 + 64];

            mcp_buf_init(&b, hex, sizeof(hex));
            mcp_buf_hex(&b, ring.peppers[i].id, 4);
            mcp_buf_hex(&b, hash, sizeof(hash));
            assert_memory_equal(hex, rows[i].id, 8);
            assert_memory_equal(hex + 8, rows[i].hash, 64);
        }
    }

    secret.len = MCP_PEPPER_MIN - 1;
    assert_int_equal(mcp_pepper_add(&ring, &secret), MCP_DECLINED);

    memset(&ring, 0, sizeof(ring));

    for (i = 0; i <= MCP_PEPPERS; i++) {
        memset(many[i], (int) i + 1, 32);
        secret.data = many[i];
        secret.len = 32;
        assert_int_equal(mcp_pepper_add(&ring, &secret),
                         i < MCP_PEPPERS ? MCP_OK : MCP_DECLINED);
    }

    assert_int_equal(ring.n, MCP_PEPPERS);
}


static int
parse(const char *text, mcp_access_key_t *key, const char **error)
{
    mcp_str_t  line;

    *error = NULL;
    line = fx_str(text);

    return mcp_access_key_parse(&line, &fx_mem, key, error);
}


static void
same_list(const mcp_str_t *a, unsigned n, const mcp_str_t *b, unsigned m)
{
    assert_int_equal(n, m);

    while (n--) {
        assert_true(mcp_str_eq(&a[n], &b[n]));
    }
}


static void
same(const mcp_access_key_t *a, const mcp_access_key_t *b)
{
    assert_int_equal(a->auth, b->auth);
    assert_memory_equal(a->pepper, b->pepper, 4);
    assert_memory_equal(a->hash, b->hash, MCP_ACCESS_KEY_HASH);
    assert_true(mcp_str_eq(&a->id, &b->id));
    assert_true(mcp_str_eq(&a->issuer, &b->issuer));
    assert_true(mcp_str_eq(&a->user, &b->user));
    assert_true(mcp_str_eq(&a->service, &b->service));
    assert_true(mcp_str_eq(&a->label, &b->label));
    assert_true(mcp_str_eq(&a->by, &b->by));
    assert_true(mcp_str_eq(&a->replaces, &b->replaces));
    assert_true(mcp_str_eq(&a->hint, &b->hint));
    same_list(a->roles, a->nroles, b->roles, b->nroles);
    same_list(a->servers, a->nservers, b->servers, b->nservers);
    same_list(a->scopes, a->nscopes, b->scopes, b->nscopes);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->expires, b->expires);
    assert_int_equal(a->revoked, b->revoked);
}


static char *
written(const mcp_access_key_t *key)
{
    mcp_buf_t      b;
    unsigned char  line[MCP_ACCESS_KEY_LINE];

    mcp_buf_init(&b, line, sizeof(line));
    mcp_access_key_write(&b, key);
    assert_false(b.overflow);

    return fx_printf("%.*s", (int) (b.pos - b.start), (char *) line);
}


static void
test_record(void **state)
{
    const char        *error, *full;
    mcp_access_key_t   key, again;

    (void) state;

    assert_int_equal(parse(PAT, &key, &error), MCP_OK);
    assert_int_equal(key.auth, MCP_AUTH_PAT);
    assert_true(mcp_str_eq_lit(&key.id, ID));
    assert_int_equal(key.pepper[0], 0x6d);
    assert_int_equal(key.hash[31], 0xd8);
    assert_true(mcp_str_eq_lit(&key.issuer, "https://id.example.com"));
    assert_true(mcp_str_eq_lit(&key.user, "00u1"));
    assert_int_equal(key.service.len, 0);
    assert_int_equal(key.nroles, 1);
    assert_true(mcp_str_eq_lit(&key.roles[0], "engineer"));
    assert_int_equal(key.nservers, 1);
    assert_true(mcp_str_eq_lit(&key.servers[0], "jira"));
    assert_int_equal(key.nscopes, 0);
    assert_int_equal(key.created, 1795619440);
    assert_int_equal(key.expires, 1795619440 + 90 * 86400);
    assert_int_equal(key.revoked, 0);
    assert_string_equal(written(&key), PAT);

    assert_int_equal(parse(VAT, &key, &error), MCP_OK);
    assert_int_equal(key.auth, MCP_AUTH_VAT);
    assert_true(mcp_str_eq_lit(&key.service, "ci"));
    assert_string_equal(written(&key), VAT);

    /* everything, in the order in which it is written */

    full = "pat " ID " " HASH OWNER " roles=a,b%2Cc,d%20e servers=jira,*"
           " scopes=jira.use,x%25y created=2026-11-25T15:10:40Z"
           " expires=2027-02-23T15:10:40Z revoked=2026-12-01T00:00:00Z"
           " label=My%20laptop%3D%C3%A9 by=root replaces=" ID2 " hint=9aZ0";

    assert_int_equal(parse(full, &key, &error), MCP_OK);
    assert_int_equal(key.nroles, 3);
    assert_true(mcp_str_eq_lit(&key.roles[1], "b,c"));
    assert_true(mcp_str_eq_lit(&key.roles[2], "d e"));
    assert_true(mcp_str_eq_lit(&key.scopes[1], "x%y"));
    assert_true(mcp_str_eq_lit(&key.label, "My laptop=\xC3\xA9"));
    assert_true(mcp_str_eq_lit(&key.replaces, ID2));
    assert_true(mcp_str_eq_lit(&key.hint, "9aZ0"));
    assert_int_equal(key.revoked, 1796083200);
    assert_string_equal(written(&key), full);

    /* in another order, with escapes that nobody needs: the same */

    assert_int_equal(parse("pat " ID " " HASH " hint=9aZ0 replaces=" ID2
                           " by=%72oot label=My%20laptop%3d%c3%a9"
                           " revoked=2026-12-01T00:00:00Z"
                           " expires=2027-02-23T15:10:40Z"
                           " created=2026-11-25T15:10:40Z"
                           " scopes=jira%2euse,x%25y servers=jira,%2a"
                           " roles=%61,b%2cc,d%20e user=00u1"
                           " issuer=https://id.example.com",
                           &again, &error), MCP_OK);
    same(&key, &again);
    assert_string_equal(written(&again), full);
}


static void
test_malformed(void **state)
{
    size_t             i;
    const char        *error;
    mcp_str_t          line;
    mcp_access_key_t   key;

    static const struct {
        const char  *text;
        const char  *error;
    } rows[] = {
        { "", "pat|vat" },
        { " ", "pat|vat" },
        { "pat", "pat|vat" },
        { "pat " ID, "pat|vat" },
        { "pat  " ID " " HASH OWNER MORE, "pat|vat" },
        { " " PAT, "pat|vat" },
        { PAT " ", "space" },
        { "pat " ID " " HASH "  user=00u1", "space" },
        { "jwt " ID " " HASH OWNER MORE, "neither" },
        { "PAT " ID " " HASH OWNER MORE, "neither" },
        { "vat " ID " " HASH " service=ci" MORE, "the id" },
        { "pat pat-Ab3dEf6hIj9 " HASH OWNER MORE, "the id" },
        { "pat pat-Ab3dEf6hIj9kk " HASH OWNER MORE, "the id" },
        { "pat pat-Ab3dEf6hIj9_ " HASH OWNER MORE, "the id" },
        { "pat " ID " 6D" "816ddf:" "3268a9b7cbe23100391eb049ec6b90eb"
          "21f7062dc3c8b6d975c5e8ef9c8012d8" OWNER MORE, "third column" },
        { "pat " ID " 6d816ddf-" "3268a9b7cbe23100391eb049ec6b90eb"
          "21f7062dc3c8b6d975c5e8ef9c8012d8" OWNER MORE, "third column" },
        { "pat " ID " 6d816ddf:" "3268a9b7cbe23100391eb049ec6b90eb"
          "21f7062dc3c8b6d975c5e8ef9c8012d" OWNER MORE, "third column" },
        { "pat " ID " 6d816ddf:" "3268a9b7cbe23100391eb049ec6b90eb"
          "21f7062dc3c8b6d975c5e8ef9c8012dg" OWNER MORE, "third column" },
        { "pat " ID " " HASH "0" OWNER MORE, "third column" },
        { PAT " word", "key=value" },
        { PAT " =x", "key=value" },
        { PAT " label=", "key=value" },
        { PAT " Label=x", "not known" },
        { PAT " ip=10.0.0.0/8", "not known" },
        { PAT " user=00u1", "twice" },
        { PAT " roles=x", "twice" },
        { PAT " service=ci", "no service" },
        { VAT " user=00u1", "neither issuer" },
        { VAT " issuer=x", "neither issuer" },
        { "pat " ID " " HASH " user=00u1" MORE, "needs issuer" },
        { "pat " ID " " HASH " issuer=x" MORE, "needs issuer" },
        { "vat vat-Ab3dEf6hIj9k " HASH MORE, "needs service" },
        { "pat " ID " " HASH OWNER, "missing" },
        { "pat " ID " " HASH OWNER " roles=a servers=b"
          " created=2026-11-25T15:10:40Z", "missing" },
        { "pat " ID " " HASH OWNER " roles=a servers=b"
          " expires=2026-11-25T15:10:40Z", "missing" },
        { "pat " ID " " HASH OWNER " roles=a created=2026-11-25T15:10:40Z"
          " expires=2026-11-25T15:10:40Z", "missing" },
        { "pat " ID " " HASH OWNER " servers=a created=2026-11-25T15:10:40Z"
          " expires=2026-11-25T15:10:40Z", "missing" },
        { "pat " ID " " HASH OWNER " created=2026-02-30T15:10:40Z", "time" },
        { "pat " ID " " HASH OWNER " expires=1970-01-01T00:00:00Z", "time" },
        { PAT " revoked=-", "time" },
        { PAT " label=a=b", "%XX" },
        { PAT " label=a,b", "%XX" },
        { PAT " label=\xC3\xA9", "%XX" },
        { PAT " label=a\tb", "%XX" },
        { PAT " label=a\r", "%XX" },
        { PAT " label=%4", "hex digits" },
        { PAT " label=%", "hex digits" },
        { PAT " label=%4g", "hex digits" },
        { PAT " label=%G4", "hex digits" },
        { PAT " label=%0A", "control" },
        { PAT " label=a%00", "control" },
        { PAT " label=%7f", "control" },
        { PAT " label=%FF", "UTF-8" },
        { PAT " label=%C3", "UTF-8" },
        { PAT " scopes=a,", "empty item" },
        { PAT " scopes=,a", "empty item" },
        { PAT " scopes=a,,b", "empty item" },
        { PAT " scopes=a%20b", "a scope" },
        { PAT " scopes=a%22b", "a scope" },
        { PAT " scopes=a%5Cb", "a scope" },
        { PAT " scopes=%C3%A9", "a scope" },
        { PAT " replaces=vat-Ab3dEf6hIj9k", "replaces" },
        { PAT " replaces=x", "replaces" },
        { PAT " hint=abc", "hint" },
        { PAT " hint=abcde", "hint" },
        { PAT " hint=ab-d", "hint" }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        if (parse(rows[i].text, &key, &error) != MCP_ERROR
            || error == NULL || strstr(error, rows[i].error) == NULL)
        {
            fail_msg("\"%s\": %s", rows[i].text, error ? error : "taken");
        }
    }

    /* a NUL is no end */

    line = fx_str(fx_printf("%s label=a_b", PAT));
    line.data[line.len - 2] = '\0';
    assert_int_equal(mcp_access_key_parse(&line, &fx_mem, &key, &error),
                     MCP_ERROR);

    mcp_str_null(&line);
    assert_int_equal(mcp_access_key_parse(&line, &fx_mem, &key, &error),
                     MCP_ERROR);
}


static char *
items(unsigned n)
{
    char  *text;

    text = fx_printf("r1");

    while (--n) {
        text = fx_printf("%s,r%u", text, n);
    }

    return text;
}


static void
test_limits(void **state)
{
    mcp_buf_t          b;
    const char        *error;
    unsigned char      small[sizeof(PAT) - 1];
    mcp_access_key_t   key;

    (void) state;

    /* a line of exactly 4096 bytes, and one of more */

    assert_int_equal(parse(fx_printf("%s label=%0*d", PAT,
                                     (int) (4096 - sizeof(PAT) - 6), 0),
                           &key, &error), MCP_OK);
    assert_int_equal(strlen(written(&key)), 4096);
    assert_int_equal(parse(fx_printf("%s label=%0*d", PAT,
                                     (int) (4096 - sizeof(PAT) - 5), 0),
                           &key, &error), MCP_ERROR);
    assert_non_null(strstr(error, "longer than"));

    /* lists */

    assert_int_equal(parse(fx_printf("%s scopes=%s", PAT, items(64)), &key,
                           &error), MCP_OK);
    assert_int_equal(key.nscopes, 64);
    assert_int_equal(parse(fx_printf("%s scopes=%s", PAT, items(65)), &key,
                           &error), MCP_ERROR);
    assert_non_null(strstr(error, "more than"));

    assert_int_equal(parse(fx_printf("pat " ID " " HASH OWNER " roles=a"
                                     " created=2026-11-25T15:10:40Z"
                                     " expires=2026-11-25T15:10:40Z"
                                     " servers=%s", items(32)), &key,
                           &error), MCP_OK);
    assert_int_equal(parse(fx_printf("pat " ID " " HASH OWNER
                                     " servers=%s", items(33)), &key,
                           &error), MCP_ERROR);

    /* a buffer that is just large enough, and one that is not */

    assert_int_equal(parse(PAT, &key, &error), MCP_OK);
    mcp_buf_init(&b, small, sizeof(small));
    mcp_access_key_write(&b, &key);
    assert_false(b.overflow);
    assert_memory_equal(small, PAT, sizeof(small));

    mcp_buf_init(&b, small, sizeof(small) - 1);
    mcp_access_key_write(&b, &key);
    assert_true(b.overflow);
}


static void
test_principal(void **state)
{
    unsigned           i;
    const char        *error;
    mcp_str_t          names[5];
    mcp_access_key_t   key;
    mcp_principal_t   *p;

    (void) state;

    names[0] = fx_str("*");
    names[1] = fx_str("engineer");
    names[2] = fx_str("support");
    names[3] = fx_str("*");
    names[4] = fx_str("admin");

    assert_int_equal(parse("pat " ID " " HASH OWNER
                           " roles=admin,*,unknown,engineer servers=jira,*"
                           " scopes=a,b created=2026-11-25T15:10:40Z"
                           " expires=2027-02-23T15:10:40Z", &key, &error),
                     MCP_OK);

    p = mcp_access_key_principal(&key, 7, names, 5, &fx_mem);

    assert_int_equal(p->kind, MCP_CALLER_USER);
    assert_int_equal(p->auth, MCP_AUTH_PAT);
    assert_int_equal(p->issuer, 7);
    assert_true(mcp_str_eq_lit(&p->iss, "https://id.example.com"));
    assert_true(mcp_str_eq_lit(&p->user, "00u1"));
    assert_int_equal(p->client.len, 0);
    assert_true(mcp_str_eq_lit(&p->token_id, ID));
    assert_true(mcp_str_eq_lit(&p->scopes, "a b"));
    assert_int_equal(p->naudiences, 2);
    assert_true(mcp_str_eq_lit(&p->audiences[0], "jira"));
    assert_true(mcp_str_eq_lit(&p->audiences[1], "*"));
    assert_int_equal(p->iat, 1795619440);
    assert_int_equal(p->exp, 1795619440 + 90 * 86400);
    assert_int_equal(p->nclaims, 0);

    for (i = 0; i < MCP_MAX_ROLES; i++) {
        assert_int_equal(mcp_role_held(&p->roles, i),
                         i == 0 || i == 1 || i == 4);
    }

    /* names that nobody has */

    p = mcp_access_key_principal(&key, 7, names, 1, &fx_mem);
    assert_int_equal(p->roles.bits[0], 1);
    p = mcp_access_key_principal(&key, 7, NULL, 0, &fx_mem);
    assert_int_equal(p->roles.bits[0], 1);

    assert_int_equal(parse(VAT, &key, &error), MCP_OK);
    p = mcp_access_key_principal(&key, 0, names, 5, &fx_mem);

    assert_int_equal(p->kind, MCP_CALLER_SERVICE);
    assert_int_equal(p->auth, MCP_AUTH_VAT);
    assert_int_equal(p->iss.len, 0);
    assert_int_equal(p->user.len, 0);
    assert_true(mcp_str_eq_lit(&p->client, "ci"));
    assert_int_equal(p->scopes.len, 0);
    assert_int_equal(p->roles.bits[0], 3);
}


/* Each allocation that fails is told, and nothing is used half-made. */

static void
test_out_of_memory(void **state)
{
    int                rc;
    long               n;
    const char        *error;
    mcp_access_key_t   key;

    (void) state;

    for (n = 0; n < 100; n++) {
        fx_fail_at = n;
        rc = parse(PAT " scopes=a,b label=x", &key, &error);
        fx_fail_at = -1;

        if (rc == MCP_OK) {
            break;
        }

        assert_string_equal(error, "out of memory");
    }

    assert_true(n >= 8 && n <= 20);

    for (n = 0; n < 2; n++) {
        fx_fail_at = n;
        assert_null(mcp_access_key_principal(&key, 0, NULL, 0, &fx_mem));
        fx_fail_at = -1;
    }
}


static mcp_access_keys_t *
file(const char *text, const char **error, unsigned *line)
{
    mcp_str_t  s;

    s = fx_str(text);
    *error = NULL;
    *line = 12345;

    return mcp_access_keys_parse(&s, error, line);
}


static void
test_file(void **state)
{
    size_t                   i;
    unsigned                 line;
    const char              *error;
    mcp_str_t                empty;
    unsigned char            none[MCP_ACCESS_KEY_HASH];
    mcp_access_keys_t       *keys;
    const mcp_access_key_t  *a, *b;

    static const struct {
        const char  *text;
        const char  *error;
        unsigned     line;
    } rows[] = {
        { "", "not complete", 0 },
        { "# a comment\n\n", "not complete", 2 },
        { PAT "\n", "not complete", 1 },
        { PAT "\nen", "pat|vat", 2 },
        { PAT "\n end\n", "pat|vat", 2 },
        { PAT "\nend \n", "pat|vat", 2 },
        { PAT "\nend\r\n", "pat|vat", 2 },
        { PAT "\r\nend\n", "time", 1 },
        { PAT "\nEND\n", "pat|vat", 2 },
        { "end\n" PAT "\n", "follows", 1 },
        { PAT "\nend\n# more\n", "follows", 2 },
        { "#\n" PAT "\nend\nend\n", "follows", 3 },
        { "# c\n\n" PAT "\n" PAT " x\nend\n", "key=value", 4 },
        { PAT "\n# c\n" PAT "\nend\n", "an id", 3 },
        { PAT "\n" VAT "\n\nend\n", "a hash", 2 },
        { "pat " ID2 " " HASH OWNER MORE "\n" VAT "\n" PAT "\nend\n",
          "a hash", 3 },
        { "pat " ID " " HASH2 OWNER MORE "\n" PAT "\nend\n", "an id", 2 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        keys = file(rows[i].text, &error, &line);

        if (keys != NULL || error == NULL
            || strstr(error, rows[i].error) == NULL || line != rows[i].line)
        {
            fail_msg("%u: \"%s\" in line %u", (unsigned) i,
                     error ? error : "taken", line);
        }
    }

    mcp_str_null(&empty);
    assert_null(mcp_access_keys_parse(&empty, &error, &line));

    /* empty, but complete; also without the last LF */

    memset(none, 0, sizeof(none));

    for (i = 0; i < 3; i++) {
        keys = file(i == 0 ? "end\n" : i == 1 ? "end" : "#\nend\n\n\n",
                    &error, &line);
        assert_non_null(keys);
        assert_null(mcp_access_keys_get(keys, 0));
        assert_null(mcp_access_keys_find(keys, none));
        mcp_access_keys_free(keys);
    }

    keys = file("# tokens\n\n" PAT "\n#\npat " ID2 " " HASH2 OWNER MORE
                "\nend\n", &error, &line);
    assert_non_null(keys);

    a = mcp_access_keys_get(keys, 0);
    b = mcp_access_keys_get(keys, 1);
    assert_null(mcp_access_keys_get(keys, 2));
    assert_true(mcp_str_eq_lit(&a->id, ID));
    assert_true(mcp_str_eq_lit(&b->id, ID2));
    assert_ptr_equal(mcp_access_keys_find(keys, a->hash), a);
    assert_ptr_equal(mcp_access_keys_find(keys, b->hash), b);
    assert_null(mcp_access_keys_find(keys, none));
    memset(none, 0xff, sizeof(none));
    assert_null(mcp_access_keys_find(keys, none));

    mcp_access_keys_free(keys);
    mcp_access_keys_free(NULL);
}


/* Many records, more than a block has room for: each is found, others not. */

static void
test_file_large(void **state)
{
    char                    *text, *p;
    unsigned                 i, line;
    const char              *error;
    unsigned char            hash[MCP_ACCESS_KEY_HASH];
    mcp_access_keys_t       *keys;
    const mcp_access_key_t  *key;

    (void) state;

    text = fx_alloc(3000 * 400);
    p = text;

    for (i = 0; i < 3000; i++) {
        p += sprintf(p, "pat pat-%012u 6d816ddf:%08x%056u" OWNER
                     " roles=a,b,c servers=x label=n%u"
                     " created=2026-11-25T15:10:40Z"
                     " expires=2027-02-23T15:10:40Z\n",
                     i, i * 2654435761u, i, i);
    }

    (void) sprintf(p, "end\n");

    keys = file(text, &error, &line);
    assert_non_null(keys);

    for (i = 0; i < 3000; i++) {
        key = mcp_access_keys_get(keys, i);
        assert_non_null(key);
        assert_ptr_equal(mcp_access_keys_find(keys, key->hash), key);
        assert_string_equal(fx_printf("%.*s", (int) key->label.len,
                                      (char *) key->label.data),
                            fx_printf("n%u", i));

        memcpy(hash, key->hash, sizeof(hash));
        hash[31] ^= 0x80;
        assert_null(mcp_access_keys_find(keys, hash));
    }

    mcp_access_keys_free(keys);
}


/*
 * Changed lines are taken or not, and what was taken is written and read as the
 * same.  A sanitizer sees what leads astray.
 */

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
    unsigned char      out[3 * MCP_ACCESS_KEY_LINE];
    mcp_access_key_t   key, key2;

    static const char  *seeds[] = {
        PAT " scopes=a,b%20c label=x%C3%A9 by=y hint=abcd", VAT, PAT
    };

    static const char  likely[] = "%,= -:\n#0Zzé";

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

        /* in memory that ends where the line does */

        s.len = fx_random() % 8 ? len : fx_random() % len;
        s.data = fx_alloc(s.len ? s.len : 1);
        memcpy(s.data, line, s.len);

        error = NULL;

        if (mcp_access_key_parse(&s, &fx_mem, &key, &error) == MCP_OK) {
            taken++;
            mcp_buf_init(&b, out, sizeof(out));
            mcp_access_key_write(&b, &key);
            assert_false(b.overflow);

            again.data = out;
            again.len = (size_t) (b.pos - b.start);
            assert_int_equal(mcp_access_key_parse(&again, &fx_mem, &key2,
                                                  &error), MCP_OK);
            same(&key, &key2);
            assert_non_null(mcp_access_key_principal(&key, 0, NULL, 0,
                                                     &fx_mem));

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
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_kind),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_pepper),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_principal),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_large),
        cmocka_unit_test(test_random)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
