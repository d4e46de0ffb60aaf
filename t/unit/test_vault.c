/*
 * mcp_vault: what was sealed for a record, field and version opens there and
 * nowhere else; key files; tokens; when to refresh.
 */

#include "jose_fixture.h"
#include "mcp_gcm.h"
#include "mcp_vault.h"


#define KEY_A  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B  "/////////////////////////////////////////+8="

#define KEY_N(n)  n "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


static mcp_vault_ring_t
ring(const char *text)
{
    unsigned          line;
    mcp_str_t         s;
    const char       *error;
    mcp_vault_ring_t  r;

    memset(&r, 0, sizeof(r));
    s = str(text);

    assert_int_equal(mcp_vault_keys(&s, &fx_mem, &r, &error, &line), MCP_OK);

    return r;
}


static mcp_vault_owner_t
owner(void)
{
    mcp_vault_owner_t  o;

    memset(&o, 0, sizeof(o));

    o.credential = str("jira_user");
    o.issuer = str("https://idp.example.com");
    o.user = str("00u1");

    return o;
}


static void
test_keys(void **state)
{
    size_t            i;
    unsigned          line;
    mcp_str_t         s;
    const char       *error;
    mcp_vault_ring_t  r;

    static const struct {
        const char   *text;
        const char   *error;
        unsigned      line;
    } bad[] = {
        { "", "there is no key", 0 },
        { "# only this\n\n", "there is no key", 0 },
        { "a " KEY_A "\na " KEY_B "\n", "twice", 2 },
        { "a " KEY_A "\nb short\n", "44 characters", 2 },
        { "a\n", "44 characters", 1 },
        { "a  " KEY_A "\n", "44 characters", 1 },
        { "a " KEY_A " \n", "44 characters", 1 },
        { " " KEY_A "\n", "1 to 32", 1 },
        { "a:b " KEY_A "\n", "letters", 1 },
        { "abcdefghijklmnopqrstuvwxyz0123456 " KEY_A "\n", "1 to 32", 1 },
        { "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n",
          "44 characters", 1 },
        { "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA*A=\n", "base64", 1 },
        { "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n", "base64", 1 },
        { "a ==========================================A=\n",
          "44 characters", 1 },
        { "a AAAAAAAAAAAAAAAAAAAAAA==AAAAAAAAAAAAAAAAAAA=\n",
          "44 characters", 1 },
        { "a " KEY_A "\nb " KEY_B "\nc " KEY_A "\n", "key is there twice", 3 },
        { "1 " KEY_N("1") "\n2 " KEY_N("2") "\n3 " KEY_N("3") "\n4 " KEY_N("4")
          "\n5 " KEY_N("5") "\n6 " KEY_N("6") "\n7 " KEY_N("7") "\n8 "
          KEY_N("8") "\n9 " KEY_N("9") "\n", "more than 8", 9 },
    };

    (void) state;

    r = ring("# keys\n\nnew " KEY_B "\r\nold " KEY_A);

    assert_int_equal(r.nkeys, 2);
    assert_true(mcp_str_eq_lit(&r.keys[0].id, "new"));
    assert_int_equal(r.keys[0].key[0], 0xff);
    assert_int_equal(r.keys[0].key[31], 0xef);
    assert_int_equal(r.keys[1].key[0], 0);

    for (i = 0; i < fx_count(bad); i++) {
        memset(&r, 0, sizeof(r));
        s = str(bad[i].text);

        assert_int_equal(mcp_vault_keys(&s, &fx_mem, &r, &error, &line),
                         MCP_ERROR);

        if (strstr(error, bad[i].error) == NULL) {
            fail_msg("%s: %s", bad[i].text, error);
        }

        assert_int_equal(line, bad[i].line);
    }
}


static void
test_names(void **state)
{
    unsigned           i, j;
    mcp_vault_owner_t  o[8];
    unsigned char      name[8][MCP_VAULT_NAME];

    (void) state;

    for (i = 0; i < 8; i++) {
        o[i] = owner();
    }

    o[1].credential = str("jira");
    o[2].issuer = str("https://idp.example.co");
    o[3].user = str("00u2");
    o[4].client = str("00u1");
    o[5].audience = str("00u1");
    o[6].scope = str("00u1");

    /* what ends one part does not begin the next */

    o[7].issuer = str("https://idp.example.com0");
    o[7].user = str("0u1");

    for (i = 0; i < 8; i++) {
        mcp_vault_name(&o[i], name[i]);

        for (j = 0; j < i; j++) {
            assert_memory_not_equal(name[i], name[j], MCP_VAULT_NAME);
        }
    }

    mcp_vault_name(&o[0], name[1]);
    assert_memory_equal(name[0], name[1], MCP_VAULT_NAME);
}


static void
test_seal(void **state)
{
    size_t             i, len, size;
    mcp_str_t          value, sealed, id;
    mcp_vault_ring_t   a, b, both;
    mcp_vault_owner_t  o, other;
    unsigned char      out[512], again[512], plain[512];

    (void) state;

    a = ring("a " KEY_A "\n");
    b = ring("b " KEY_B "\n");
    both = ring("b " KEY_B "\na " KEY_A "\n");

    o = owner();
    value = str("{\"access_token\":\"secret\"}");

    assert_int_equal(mcp_vault_seal(&a, &o, "tokens", 7, &value, out, &size),
                     MCP_OK);
    assert_true(size <= value.len + MCP_VAULT_OVERHEAD);
    assert_null(memmem(out, size, "secret", 6));

    sealed.data = out;
    sealed.len = size;

    id = mcp_vault_key_id(&sealed);
    assert_true(mcp_str_eq_lit(&id, "a"));

    assert_int_equal(mcp_vault_open(&a, &o, "tokens", 7, &sealed, plain, &len),
                     MCP_OK);
    assert_int_equal(len, value.len);
    assert_memory_equal(plain, value.data, len);

    assert_int_equal(mcp_vault_open(&both, &o, "tokens", 7, &sealed, plain,
                                    &len), MCP_OK);

    /* another salt each time */

    assert_int_equal(mcp_vault_seal(&a, &o, "tokens", 7, &value, again, &len),
                     MCP_OK);
    assert_memory_not_equal(out, again, size);

    /* the ring's first key seals */

    assert_int_equal(mcp_vault_seal(&both, &o, "tokens", 7, &value, again,
                                    &len), MCP_OK);
    assert_int_equal(again[2], 'b');

    /* elsewhere it does not open */

    assert_int_equal(mcp_vault_open(&b, &o, "tokens", 7, &sealed, plain, &len),
                     MCP_DECLINED);
    assert_int_equal(mcp_vault_open(&a, &o, "tokens", 6, &sealed, plain, &len),
                     MCP_DECLINED);
    assert_int_equal(mcp_vault_open(&a, &o, "tokens", 8, &sealed, plain, &len),
                     MCP_DECLINED);
    assert_int_equal(mcp_vault_open(&a, &o, "meta", 7, &sealed, plain, &len),
                     MCP_DECLINED);

    other = o;
    other.user = str("00u2");
    assert_int_equal(mcp_vault_open(&a, &other, "tokens", 7, &sealed, plain,
                                    &len), MCP_DECLINED);
    other = o;
    other.credential = str("wiki_user");
    assert_int_equal(mcp_vault_open(&a, &other, "tokens", 7, &sealed, plain,
                                    &len), MCP_DECLINED);
    other = o;
    other.issuer = str("https://idp.example.org");
    assert_int_equal(mcp_vault_open(&a, &other, "tokens", 7, &sealed, plain,
                                    &len), MCP_DECLINED);
    other = o;
    other.subject = str("jti");
    assert_int_equal(mcp_vault_open(&a, &other, "tokens", 7, &sealed, plain,
                                    &len), MCP_DECLINED);

    /* nor changed in any bit, nor cut */

    for (i = 0; i < size * 8; i++) {
        out[i / 8] ^= (unsigned char) (1 << i % 8);
        assert_int_equal(mcp_vault_open(&a, &o, "tokens", 7, &sealed, plain,
                                        &len), MCP_DECLINED);
        out[i / 8] ^= (unsigned char) (1 << i % 8);
    }

    for (i = 0; i < size; i++) {
        sealed.len = i;
        assert_int_equal(mcp_vault_open(&a, &o, "tokens", 7, &sealed, plain,
                                        &len), MCP_DECLINED);
    }

    sealed.len = size;
    assert_int_equal(mcp_vault_open(&a, &o, "tokens", 7, &sealed, plain, &len),
                     MCP_OK);

    /* the empty value; no key; too long */

    mcp_str_null(&value);
    assert_int_equal(mcp_vault_seal(&a, &o, "tokens", 1, &value, out, &size),
                     MCP_OK);
    sealed.len = size;
    assert_int_equal(mcp_vault_open(&a, &o, "tokens", 1, &sealed, plain, &len),
                     MCP_OK);
    assert_int_equal(len, 0);

    a.nkeys = 0;
    assert_int_equal(mcp_vault_seal(&a, &o, "tokens", 1, &value, out, &size),
                     MCP_ERROR);

    value.len = MCP_VAULT_VALUE + 1;
    assert_int_equal(mcp_vault_seal(&b, &o, "tokens", 1, &value, out, &size),
                     MCP_ERROR);

    assert_int_equal(ERR_peek_error(), 0);
}


/* A record that another implementation sealed (t/lib/MCP/Vault.pm): the format
 * stays, and each part of it goes in where it did. */
static void
test_vector(void **state)
{
    size_t                      len;
    mcp_str_t                   sealed;
    unsigned char               out[128], name[MCP_VAULT_NAME];
    mcp_vault_ring_t            r;
    mcp_vault_owner_t           o;

    static const unsigned char  record[] = {
        0x01, 0x01, 0x61, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
        0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x40, 0x41, 0x42,
        0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x82, 0x7e,
        0xbd, 0x9e, 0xe2, 0xce, 0x24, 0xee, 0x7d, 0x5d, 0x45, 0x08, 0x84,
        0x39, 0x17, 0x4e, 0x83, 0xd3, 0xfd, 0xaf, 0xc1, 0x5d, 0x10, 0x93,
        0x5d, 0x91, 0x5f, 0xd1, 0x75, 0x74, 0xca, 0xac, 0x45, 0x0b, 0x07,
        0xe1
    };

    (void) state;

    r = ring("b " KEY_B "\na " KEY_A "\n");
    o = owner();
    o.client = str("c1");
    o.audience = str("api://x");
    o.scope = str("a b");
    o.subject = str("jti-1");

    mcp_vault_name(&o, name);
    assert_memory_equal(name, "99c909e38ef7286a3193bcb2f7879138",
                        MCP_VAULT_NAME);

    sealed.data = (unsigned char *) record;
    sealed.len = sizeof(record);

    assert_int_equal(mcp_vault_open(&r, &o, "tokens", 258, &sealed, out, &len),
                     MCP_OK);
    assert_int_equal(len, 20);
    assert_memory_equal(out, "{\"access_token\":\"x\"}", len);
}


/* Salt and nonce are new each time, whatever is sealed. */
static void
test_fresh(void **state)
{
    size_t             len, head;
    mcp_str_t          value;
    mcp_vault_ring_t   r;
    mcp_vault_owner_t  o;
    unsigned char      one[256], two[256];

    (void) state;

    r = ring("a " KEY_A "\n");
    o = owner();
    value = str("{\"access_token\":\"secret\"}");

    assert_int_equal(mcp_vault_seal(&r, &o, "tokens", 1, &value, one, &len),
                     MCP_OK);
    assert_int_equal(mcp_vault_seal(&r, &o, "tokens", 1, &value, two, &len),
                     MCP_OK);

    head = 2 + 1;

    assert_memory_equal(one, two, head);
    assert_memory_not_equal(one + head, two + head, 8);
    assert_memory_not_equal(one + head + 8, two + head + 8, 8);
    assert_memory_not_equal(one + head + 16, two + head + 16, 6);
    assert_memory_not_equal(one + head + 22, two + head + 22, 6);
}


/* What does not open leaves nothing of its text. */
static void
test_cleansed(void **state)
{
    size_t             i, len;
    mcp_str_t          value, sealed;
    mcp_vault_ring_t   r;
    mcp_vault_owner_t  o;
    unsigned char      out[256], plain[256];

    (void) state;

    r = ring("a " KEY_A "\n");
    o = owner();
    value = str("{\"access_token\":\"secret\"}");

    assert_int_equal(mcp_vault_seal(&r, &o, "tokens", 1, &value, out, &len),
                     MCP_OK);

    sealed.data = out;
    sealed.len = len;
    out[len - 1] ^= 1;

    memset(plain, 'p', sizeof(plain));

    assert_int_equal(mcp_vault_open(&r, &o, "tokens", 1, &sealed, plain, &len),
                     MCP_DECLINED);

    for (i = 0; i < value.len; i++) {
        assert_int_equal(plain[i], 0);
    }

    assert_int_equal(plain[value.len], 'p');
}


/* Longer than what is ever written: not even tried. */
static void
test_long(void **state)
{
    size_t             len, size;
    mcp_str_t          value, sealed;
    mcp_vault_ring_t   r;
    mcp_vault_owner_t  o;
    unsigned char     *out, *plain;

    (void) state;

    size = MCP_VAULT_VALUE + MCP_VAULT_OVERHEAD;
    out = fx_alloc(size + 1);
    plain = fx_alloc(size + 1);
    memset(out, 'x', size + 1);

    r = ring("abcdefghijklmnopqrstuvwxyz012345 " KEY_A "\n");
    o = owner();

    value.data = plain;
    value.len = MCP_VAULT_VALUE;
    memset(plain, 'v', value.len);

    assert_int_equal(mcp_vault_seal(&r, &o, "tokens", 1, &value, out, &len),
                     MCP_OK);
    assert_int_equal(len, size);

    sealed.data = out;
    sealed.len = size;

    assert_int_equal(mcp_vault_open(&r, &o, "tokens", 1, &sealed, plain, &len),
                     MCP_OK);
    assert_int_equal(len, MCP_VAULT_VALUE);

    memset(plain, 'p', size + 1);
    sealed.len = size + 1;

    assert_int_equal(mcp_vault_open(&r, &o, "tokens", 1, &sealed, plain, &len),
                     MCP_DECLINED);
    assert_int_equal(plain[0], 'p');
}


static void
test_owner(void **state)
{
    size_t             i;
    mcp_buf_t          b;
    mcp_str_t          text;
    unsigned char      buf[512], name[MCP_VAULT_NAME], again[MCP_VAULT_NAME];
    mcp_vault_owner_t  o, got;

    static const char  *bad[] = {
        "", "[]", "{}", "{\"credential\":\"\"}", "{\"credential\":7}",
        "{\"credential\":\"a\",\"user\":7}",
        "{\"credential\":\"a\",\"credential\":\"b\"}",
        "{\"credential\":\"a\"} x"
    };

    (void) state;

    o = owner();
    o.client = str("c1");
    o.audience = str("api://x");
    o.scope = str("a \"b\"");
    o.subject = str("jti-1");

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_vault_owner_write(&b, &o);
    assert_false(b.overflow);

    text.data = buf;
    text.len = (size_t) (b.pos - b.start);

    assert_int_equal(mcp_vault_owner_parse(&text, &fx_mem, &got), MCP_OK);

    mcp_vault_name(&o, name);
    mcp_vault_name(&got, again);
    assert_memory_equal(name, again, MCP_VAULT_NAME);
    assert_true(mcp_str_eq(&got.subject, &o.subject));
    assert_true(mcp_str_eq(&got.scope, &o.scope));

    for (i = 0; i < fx_count(bad); i++) {
        text = str(bad[i]);
        assert_int_equal(mcp_vault_owner_parse(&text, &fx_mem, &got),
                         MCP_ERROR);
    }
}


/* RFC 5869, test cases 1 and 3 */
static void
test_hkdf(void **state)
{
    mcp_str_t             secret, salt, info;
    unsigned char         ikm[22], out[42];

    static unsigned char  salt1[13] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                        12 };
    static unsigned char  info1[10] = { 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5,
                                        0xf6, 0xf7, 0xf8, 0xf9 };
    static const unsigned char  okm1[16] = {
        0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a,
        0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36, 0x2f, 0x2a
    };
    static const unsigned char  okm3[16] = {
        0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f,
        0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c, 0x5a, 0x31
    };

    (void) state;

    memset(ikm, 0x0b, sizeof(ikm));
    secret.data = ikm;
    secret.len = sizeof(ikm);

    salt.data = salt1;
    salt.len = sizeof(salt1);
    info.data = info1;
    info.len = sizeof(info1);

    assert_int_equal(mcp_hkdf(&secret, &salt, &info, out, 42), MCP_OK);
    assert_memory_equal(out, okm1, 16);

    salt.len = 0;
    info.len = 0;

    assert_int_equal(mcp_hkdf(&secret, &salt, &info, out, 42), MCP_OK);
    assert_memory_equal(out, okm3, 16);
}


static void
test_tokens(void **state)
{
    size_t              i;
    mcp_buf_t           b;
    mcp_str_t           text, other, none;
    unsigned char       buf[1024];
    mcp_vault_tokens_t  t, got;

    static const char  *bad[] = {
        "", "[]", "{}", "{\"access_token\":\"a\"}",
        "{\"access_token\":\"\",\"issued\":1,\"expires\":2,"
        "\"refresh_expires\":0}",
        "{\"access_token\":1,\"issued\":1,\"expires\":2,"
        "\"refresh_expires\":0}",
        "{\"access_token\":\"a\",\"issued\":1,\"expires\":\"2\","
        "\"refresh_expires\":0}",
        "{\"access_token\":\"a\",\"issued\":1,\"issued\":1,\"expires\":2,"
        "\"refresh_expires\":0}",
        "{\"access_token\":\"a\",\"granted\":\"1\",\"issued\":1,"
        "\"expires\":2,\"refresh_expires\":0}",
        "{\"access_token\":\"a\",\"endpoint\":1,\"issued\":1,"
        "\"expires\":2,\"refresh_expires\":0}",
        "{\"access_token\":\"a\",\"issued\":1,\"expires\":2,"
        "\"refresh_expires\":0} ,",
    };

    (void) state;

    memset(&t, 0, sizeof(t));
    t.access_token = str("a.b.c");
    t.refresh_token = str("r");
    t.scope = str("x y");
    t.issued = 1700000000;
    t.expires = 1700003600;
    t.refresh_expires = 1800000000;

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_vault_tokens_write(&b, &t);
    assert_false(b.overflow);

    text.data = buf;
    text.len = (size_t) (b.pos - b.start);

    assert_int_equal(mcp_vault_tokens_parse(&text, &fx_mem, &got), MCP_OK);
    assert_true(mcp_str_eq(&got.access_token, &t.access_token));
    assert_true(mcp_str_eq(&got.refresh_token, &t.refresh_token));
    assert_true(mcp_str_eq(&got.scope, &t.scope));
    assert_int_equal(got.granted, 0);
    assert_int_equal(got.issued, t.issued);
    assert_int_equal(got.expires, t.expires);
    assert_int_equal(got.refresh_expires, t.refresh_expires);

    t.granted = 1690000000;

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_vault_tokens_write(&b, &t);
    text.len = (size_t) (b.pos - b.start);

    assert_int_equal(mcp_vault_tokens_parse(&text, &fx_mem, &got), MCP_OK);
    assert_int_equal(got.granted, t.granted);
    assert_int_equal(got.endpoint.len, 0);

    t.endpoint = str("https://idp.example.com/token");

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_vault_tokens_write(&b, &t);
    text.len = (size_t) (b.pos - b.start);

    assert_int_equal(mcp_vault_tokens_parse(&text, &fx_mem, &got), MCP_OK);
    assert_true(mcp_str_eq(&got.endpoint, &t.endpoint));

    /* of before there was such a member: nobody knows */

    other = str("https://idp.example.com/toke");
    mcp_str_null(&none);

    assert_true(mcp_vault_from(&t.endpoint, &got.endpoint));
    assert_true(mcp_vault_from(&none, &t.endpoint));
    assert_false(mcp_vault_from(&t.endpoint, &other));
    assert_false(mcp_vault_from(&t.endpoint, &none));

    for (i = 0; i < fx_count(bad); i++) {
        text = str(bad[i]);
        assert_int_equal(mcp_vault_tokens_parse(&text, &fx_mem, &got),
                         MCP_ERROR);
    }
}


static void
test_refresh_at(void **state)
{
    mcp_vault_tokens_t  t;

    (void) state;

    memset(&t, 0, sizeof(t));
    t.issued = 1000;

    t.expires = 0;
    assert_int_equal(mcp_vault_refresh_at(&t, 0), 0);

    t.expires = 1000 + 300;             /* a fifth */
    assert_int_equal(mcp_vault_refresh_at(&t, 0), 1300 - 60);
    assert_int_equal(mcp_vault_refresh_at(&t, 999), 1300 - 60 - 5);
    assert_int_equal(mcp_vault_refresh_at(&t, 1999), 1300 - 60 - 5);

    t.expires = 1000 + 86400;           /* at most ten minutes */
    assert_int_equal(mcp_vault_refresh_at(&t, 0), 87400 - 600);

    t.expires = 1000 + 30;              /* at least ten seconds */
    assert_int_equal(mcp_vault_refresh_at(&t, 0), 1030 - 10);

    t.expires = 1000 + 12;              /* but not more than half of it */
    assert_int_equal(mcp_vault_refresh_at(&t, 0), 1006);
}


static void
test_note(void **state)
{
    mcp_str_t         s;
    unsigned          i;
    mcp_vault_note_t  n;

    static const char  *bad[] = {
        "", " ", "1", "1 2", "1 2 ", "1 2 a", "1 2 a ", "1 2  3", "a 2 b 3",
        "1 a b 3", "1 2 a 3 ", "1 2 a 3 4", "1 2 a b", "-1 2 a 3", "1 2 a -3",
        "1  2 a 3", " 1 2 a 3", "12345678901234567 2 a 3", "1 2 a 3\n",
        "1 2 a b 3", "1 2 a\nb 3", "1 2 a\033[2Jb 3", "1 2 \xc3\xa4 3",
        "1 2 a\x7f 3"
    };

    (void) state;

    s = str("17 1764000000 gw1:42:7:abc 1764000020");
    assert_int_equal(mcp_vault_note_parse(&s, &n), MCP_OK);
    assert_int_equal(n.version, 17);
    assert_int_equal(n.first, 1764000000);
    assert_int_equal(n.last, 1764000020);
    assert_true(mcp_str_eq_lit(&n.owner, "gw1:42:7:abc"));

    s = str("1 2 - 3");
    assert_int_equal(mcp_vault_note_parse(&s, &n), MCP_OK);
    assert_true(mcp_str_eq_lit(&n.owner, "-"));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s = str(bad[i]);

        if (mcp_vault_note_parse(&s, &n) != MCP_ERROR) {
            fail_msg("taken: \"%s\"", bad[i]);
        }
    }
}


/* rotates, grace, expires, now; began at 1000 (first) and 2000 (last) */
static int64_t
retry(const char *who, unsigned rotates, int grace, int64_t expires,
    int64_t now)
{
    mcp_vault_note_t  n;

    n.version = 1;
    n.first = 1000;
    n.last = 2000;
    n.owner = str(who);

    return mcp_vault_note_retry(&n, rotates, grace, expires, now);
}


static void
test_note_retry(void **state)
{
    (void) state;

    /* nothing is used up */

    assert_int_equal(retry("gw", 0, 0, 9000, 2001), 0);
    assert_int_equal(retry("gw", 1, -1, 9000, 2001), 0);

    /* within the grace of the first use, less a margin */

    assert_int_equal(retry("gw", 1, 30, 9000, 1000), 0);
    assert_int_equal(retry("gw", 1, 30, 9000, 1024), 0);
    assert_int_equal(retry("gw", 1, 30, 9000, 1025), 9000);
    assert_int_equal(retry("gw", 1, 30, 9000, 1031), 9000);

    /* a clock behind that of whoever began tells nothing */

    assert_int_equal(retry("gw", 1, 30, 9000, 900), 9000);

    /* while somebody may be writing, and while the access token is good */

    assert_int_equal(retry("gw", 1, 0, 1500, 2001), 2000 + MCP_VAULT_WRITING);
    assert_int_equal(retry("gw", 1, 0, 9000, 2001), 9000);
    assert_int_equal(retry("gw", 1, 0, 1500, 1999 + MCP_VAULT_WRITING),
                     2000 + MCP_VAULT_WRITING);
    assert_int_equal(retry("gw", 1, 0, 1500, 2000 + MCP_VAULT_WRITING), 0);

    /* who began has said that there is nothing to write */

    assert_int_equal(retry("-", 1, 0, 1500, 2001), 0);
    assert_int_equal(retry("-", 1, 0, 9000, 2001), 9000);
    assert_int_equal(retry("-", 1, 0, 9000, 9000), 0);

    /* an access token that never ends is no reason to wait for ever */

    assert_int_equal(retry("-", 1, 0, 0, 2001), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_cleansed),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_refresh_at),
        cmocka_unit_test(test_note),
        cmocka_unit_test(test_note_retry),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
