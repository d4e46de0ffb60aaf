/*
 * The n-th allocation fails, for every n, through what core/ offers: the
 * arena's, and malloc() of core/ itself, jansson and OpenSSL.
 *
 * An operation then says that it failed, or has the result that it would have
 * had; what is refused with memory is never taken without.  Whatever core/ and
 * jansson took they gave back (what OpenSSL took, LeakSanitizer sees), and
 * OpenSSL's error queue is empty.  The next time all is well.
 *
 * Linked with --wrap=malloc and its like: see the Makefile.
 */

#include "jwt_fixture.h"

#include "mcp_access_key.h"
#include "mcp_connect.h"
#include "mcp_ending.h"
#include "mcp_form.h"
#include "mcp_gmac.h"
#include "mcp_id_token.h"
#include "mcp_oauth.h"
#include "mcp_revocation.h"
#include "mcp_seal.h"
#include "mcp_vault.h"

#include <jansson.h>
#include <openssl/crypto.h>


void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);


static unsigned  armed;                 /* allocations are counted */
static unsigned  count;
static unsigned  fail_at;               /* 0: none */
static unsigned  failed;
static long      live;                  /* blocks of core/ and jansson */


static int
fails(void)
{
    if (!armed) {
        return 0;
    }

    if (++count == fail_at) {
        failed++;
        return 1;
    }

    return 0;
}


static void *
taken(void *p)
{
    live += (p != NULL);

    return p;
}


void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : taken(__real_malloc(size));
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : taken(__real_calloc(n, size));
}


void *
__wrap_realloc(void *p, size_t size)
{
    void  *q;

    if (fails()) {
        return NULL;
    }

    q = __real_realloc(p, size);
    live += (p == NULL && q != NULL);

    return q;
}


void
__wrap_free(void *p)
{
    live -= (p != NULL);
    __real_free(p);
}


static void *
crypto_malloc(size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    return fails() ? NULL : __real_malloc(size);
}


static void *
crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    if (size == 0) {
        __real_free(p);
        return NULL;
    }

    return fails() ? NULL : __real_realloc(p, size);
}


static void
crypto_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;

    __real_free(p);
}


/* The arena's are counted with the others. */

static void *
mem_alloc(void *ctx, size_t size)
{
    void      *p;
    unsigned   was;

    if (fails()) {
        return NULL;
    }

    was = armed;
    armed = 0;
    p = fx_mem_alloc(ctx, size);
    armed = was;

    return p;
}


static const mcp_mem_t  mem = { mem_alloc, NULL };


/* ---- what is done; inputs are made beforehand */

static mcp_jwk_set_t      *set;
static mcp_jwt_issuer_t    is;
static mcp_str_t           jwks, rs_token, es_token, ed_token, id_token;
static mcp_str_t           bad_es, bad_ed, bad_rs;
static mcp_seal_ring_t     seals;
static mcp_vault_ring_t    vaults;
static mcp_vault_owner_t   owner;
static mcp_str_t           sealed, forged, vaulted, vault_forged;
static EVP_CIPHER_CTX     *cipher;
static mcp_str_t           parts[2] = { mcp_string("srv"), mcp_string("joe") };
static mcp_str_t           value = mcp_string("the value");


static int
key_set(void)
{
    const char     *error;
    mcp_jwk_set_t  *s;

    error = NULL;
    s = mcp_jwk_set_parse(jwks.data, jwks.len, 8, &error);

    if (s == NULL) {
        assert_non_null(error);
        return MCP_ERROR;
    }

    /* no key less, as if it were weak or unknown: a caller would be refused
     * until the next load */

    assert_int_equal(s->nkeys, 3);
    mcp_jwk_set_free(s);

    return MCP_OK;
}


static int
verified(const mcp_str_t *token)
{
    int               rc;
    mcp_jwt_t        *jwt;
    const char       *reason;
    mcp_principal_t  *p;

    reason = NULL;
    jwt = mcp_jwt_parse(token, 16384, &reason);

    if (jwt == NULL) {
        check_reason("parsing", reason, "internal");
        return MCP_ERROR;
    }

    rc = mcp_jwt_verify(jwt, &is, set, &reason);

    if (rc == MCP_OK) {
        p = mcp_jwt_claims(jwt, &is, NOW, &mem, &reason);

        if (p == NULL) {
            rc = MCP_ERROR;

        } else {
            check_str(&p->iss, ISS);
            check_str(&p->user, "joe@a-name-that-is-longer.example.com");
            assert_true(mcp_role_held(&p->roles, 1));
            assert_int_equal(p->naudiences, 1);
            assert_int_equal(p->exp, 1700000300);
            check_str(&p->scopes, "a b");
        }
    }

    /* what OpenSSL did not say; never another value */

    assert_true(rc == MCP_OK || strcmp(reason, "internal") == 0
                || strcmp(reason, "signature") == 0);

    mcp_jwt_free(jwt);

    return rc;
}


static int jwt_rs(void) { return verified(&rs_token); }
static int jwt_es(void) { return verified(&es_token); }
static int jwt_ed(void) { return verified(&ed_token); }
static int jwt_bad_rs(void) { return verified(&bad_rs); }
static int jwt_bad_es(void) { return verified(&bad_es); }
static int jwt_bad_ed(void) { return verified(&bad_ed); }


static int
id_claims(void)
{
    int              rc;
    mcp_jwt_t       *jwt;
    mcp_str_t        client, nonce;
    const char      *reason;
    mcp_id_token_t   id;

    jwt = mcp_jwt_parse(&id_token, 16384, &reason);

    if (jwt == NULL) {
        return MCP_ERROR;
    }

    client = fx_str("gw");
    nonce = fx_str("n-1");
    rc = mcp_id_token_claims(jwt, &is, &client, &nonce, NOW, &mem, &id,
                             &reason);

    if (rc == MCP_OK) {
        check_str(&id.user, "joe");
        check_str(&id.name, "Joe");
    }

    mcp_jwt_free(jwt);

    return rc;
}


static int
principal(void)
{
    mcp_str_t         aud = mcp_string("api");
    mcp_principal_t   p, *copy;
    unsigned char     packed[512];

    memset(&p, 0, sizeof(p));
    p.kind = MCP_CALLER_USER;
    p.auth = MCP_AUTH_JWT;
    mcp_str_set(&p.user, "joe");
    p.audiences = &aud;
    p.naudiences = 1;

    copy = mcp_principal_dup(&p, &mem);

    if (copy == NULL) {
        return MCP_ERROR;
    }

    mcp_principal_pack(copy, packed);
    copy = mcp_principal_unpack(packed, mcp_principal_packed_size(copy),
                                &mem);
    if (copy == NULL) {
        return MCP_ERROR;
    }

    check_str(&copy->user, "joe");

    return MCP_OK;
}


static int
message(void)
{
    mcp_str_t             text = mcp_string("/a");
    const char           *error;
    mcp_message_t         m;
    mcp_pointer_t         pointer;
    mcp_message_conf_t    conf;

    static unsigned char  body[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{"
        "\"name\":\"t\\u0031\",\"arguments\":{\"a\":\"x\\n\",\"b\":[1]}}}";

    if (mcp_pointer_compile(&pointer, &text, &mem, &error) != MCP_OK) {
        return MCP_ERROR;
    }

    memset(&conf, 0, sizeof(conf));
    conf.max_depth = 16;
    conf.max_id = conf.max_name = conf.max_value = 64;
    conf.pointers = &pointer;
    conf.npointers = 1;

    if (mcp_message_init(&m, &conf, &mem) != MCP_OK
        || mcp_message_feed(&m, body, 50, 0) != MCP_AGAIN
        || mcp_message_feed(&m, body + 50, sizeof(body) - 51, 1) != MCP_OK)
    {
        return MCP_ERROR;
    }

    check_str(&m.target, "t1");
    check_str(&m.values[0].text, "x\n");
    assert_int_equal(m.nargs, 2);

    return MCP_OK;
}


static int
policy(void)
{
    int             rc;
    char            error[256];
    mcp_str_t       name = mcp_string("eng"), tool = mcp_string("rm");
    mcp_str_t       scope = mcp_string("s"), other = mcp_string("ls");
    mcp_roles_t     roles;
    mcp_policy_t   *p;
    mcp_decision_t  d;
    mcp_str_t       allow[] = {
        mcp_string("allow"), mcp_string("tool"), mcp_string("*"),
        mcp_string("where"), mcp_string("/a"), mcp_string("<"),
        mcp_string("1.5")
    };
    mcp_str_t       deny[] = {
        mcp_string("deny"), mcp_string("tool"), mcp_string("r*")
    };
    mcp_str_t       all[] = {
        mcp_string("allow"), mcp_string("tool"), mcp_string("l*")
    };
    mcp_str_t       step[] = {
        mcp_string("scope=w,x"), mcp_string("tool"), mcp_string("l*")
    };

    p = mcp_policy_create(&mem);

    if (p == NULL
        || mcp_policy_role(p, 1, &name) != MCP_OK
        || mcp_policy_rule(p, 1, allow, 7, error, sizeof(error)) != MCP_OK
        || mcp_policy_rule(p, 1, deny, 3, error, sizeof(error)) != MCP_OK
        || mcp_policy_rule(p, 1, all, 3, error, sizeof(error)) != MCP_OK
        || mcp_policy_step_up(p, step, 3, error, sizeof(error)) != MCP_OK
        || mcp_policy_scope(p, &scope) != MCP_OK
        || mcp_policy_finish(p, error, sizeof(error)) != MCP_OK)
    {
        return MCP_ERROR;
    }

    /* what was built is whole */

    memset(&roles, 0, sizeof(roles));
    mcp_role_set(&roles, 1);

    rc = mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &tool, NULL, &d);
    assert_int_equal(rc, MCP_DECLINED);
    rc = mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &other, NULL, &d);
    assert_int_equal(rc, MCP_OK);

    return MCP_OK;
}


static int
access_keys(void)
{
    unsigned                 line;
    const char              *error;
    mcp_str_t                text, names[] = {
        mcp_string("*"), mcp_string("eng")
    };
    mcp_principal_t         *p;
    mcp_access_keys_t       *keys;
    const mcp_access_key_t  *k;

    text = fx_str("# tokens\n"
        "pat pat-0123456789AB 0a1b2c3d:00000000000000000000000000000000"
        "00000000000000000000000000000001 issuer=https://i user=joe roles=eng,x"
        " servers=* created=2026-01-01T00:00:00Z expires=2027-01-01T00:00:00Z"
        " scopes=a,b label=a%20b\n"
        "vat vat-0123456789AB 0a1b2c3d:00000000000000000000000000000000"
        "00000000000000000000000000000002 service=ci roles=eng servers=a,b"
        " created=2026-01-01T00:00:00Z expires=2027-01-01T00:00:00Z\nend\n");

    keys = mcp_access_keys_parse(&text, &error, &line);

    if (keys == NULL) {
        assert_non_null(error);
        return MCP_ERROR;
    }

    k = mcp_access_keys_get(keys, 0);
    assert_non_null(mcp_access_keys_get(keys, 1));
    p = mcp_access_key_principal(k, 1, names, 2, &mem);

    if (p) {
        check_str(&p->user, "joe");
        check_str(&p->scopes, "a b");
        assert_true(mcp_role_held(&p->roles, 1));
    }

    mcp_access_keys_free(keys);

    return p ? MCP_OK : MCP_ERROR;
}


static int
revocation(void)
{
    mcp_str_t         line;
    const char       *error;
    mcp_revocation_t  r;

    line = fx_str("user https://i joe%20x 2026-01-01T00:00:00Z by=me "
                  "reason=gone");

    if (mcp_revocation_parse(&line, &mem, &r, &error) != MCP_OK) {
        return MCP_ERROR;
    }

    check_str(&r.value, "joe x");
    check_str(&r.by, "me");

    return MCP_OK;
}


static int
seal(void)
{
    size_t         len;
    unsigned char  out[256];

    if (mcp_seal(&seals, cipher, parts, 2, &value, out, &len) != MCP_OK) {
        return MCP_ERROR;
    }

    assert_int_equal(len, sealed.len);
    assert_memory_equal(out, sealed.data, len);

    return MCP_OK;
}


static int
open_seal(const mcp_str_t *text)
{
    int            rc;
    size_t         len;
    unsigned char  out[256];

    rc = mcp_seal_open(&seals, cipher, parts, 2, text, out, &len);

    if (rc == MCP_OK) {
        assert_int_equal(len, value.len);
        assert_memory_equal(out, value.data, len);
    }

    return rc;
}


static int seal_open(void) { return open_seal(&sealed); }
static int seal_forged(void) { return open_seal(&forged); }


static int
vault_seal(void)
{
    size_t         len;
    mcp_str_t      text;
    unsigned char  out[256], again[256];

    if (mcp_vault_seal(&vaults, &owner, "tokens", 1, &value, out, &len)
        != MCP_OK)
    {
        return MCP_ERROR;
    }

    text.data = out;
    text.len = len;

    if (mcp_vault_open(&vaults, &owner, "tokens", 1, &text, again, &len)
        != MCP_OK)
    {
        return MCP_ERROR;
    }

    assert_memory_equal(again, value.data, len);

    return MCP_OK;
}


static int
open_vault(const mcp_str_t *text)
{
    int            rc;
    size_t         len;
    unsigned char  out[256];

    rc = mcp_vault_open(&vaults, &owner, "tokens", 1, text, out, &len);

    if (rc == MCP_OK) {
        assert_memory_equal(out, value.data, len);
    }

    return rc;
}


static int vault_open(void) { return open_vault(&vaulted); }
static int vault_bad(void) { return open_vault(&vault_forged); }


static int
vault_tokens(void)
{
    mcp_str_t           text;
    mcp_vault_tokens_t  t;

    text = fx_str("{\"access_token\":\"a\",\"refresh_token\":\"r\","
                  "\"scope\":\"s\",\"granted\":1,\"issued\":1,\"expires\":2,"
                  "\"refresh_expires\":3}");

    if (mcp_vault_tokens_parse(&text, &mem, &t) != MCP_OK) {
        return MCP_ERROR;
    }

    check_str(&t.access_token, "a");
    check_str(&t.refresh_token, "r");

    return MCP_OK;
}


static int
oauth(void)
{
    mcp_str_t            name, body;
    mcp_oauth_answer_t   a;
    mcp_oauth_request_t  req;

    memset(&req, 0, sizeof(req));
    name = fx_str("generic");
    req.provider = mcp_oauth_provider(&name);
    req.auth = MCP_OAUTH_POST;
    req.grant = MCP_OAUTH_REFRESH;
    body = fx_str("{\"access_token\":\"a\",\"token_type\":\"Bearer\","
                  "\"expires_in\":60,\"refresh_token\":\"r\",\"scope\":\"s\"}");

    mcp_oauth_answer(&req, 200, &body, &mem, &a);

    if (a.class != MCP_OAUTH_OK) {

        /* the refresh token may have been used up: nobody may say that
         * nothing happened, or that the grant is over */

        assert_int_equal(a.class, MCP_OAUTH_UNKNOWN);
        return MCP_ERROR;
    }

    check_str(&a.access_token, "a");

    /* a refresh token that is lost ends the grant */

    check_str(&a.refresh_token, "r");
    assert_int_equal(a.expires_in, 60);

    return MCP_OK;
}


static int
texts(void)
{
    mcp_buf_t              b;
    mcp_str_t              text;
    mcp_form_t             f;
    unsigned char          buf[1024];
    mcp_connect_state_t    st, got;

    text = fx_str("code=a%20b&state=s");

    if (mcp_form_parse(&text, &mem, &f) != MCP_OK) {
        return MCP_ERROR;
    }

    check_str(&f.fields[0].value, "a b");

    memset(&st, 0, sizeof(st));
    st.kind = MCP_CONNECT_GRANT;
    mcp_str_set(&st.credential, "jira");
    mcp_str_set(&st.person, "joe");
    st.begun = 1;

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_connect_state_write(&b, &st);
    text.data = b.start;
    text.len = (size_t) (b.pos - b.start);

    if (mcp_connect_state_parse(&text, &mem, &got) != MCP_OK) {
        return MCP_ERROR;
    }

    check_str(&got.person, "joe");

    return MCP_OK;
}


/* Of the digest of a long text: GMAC's context is made when it is needed. */

static int
digest(void)
{
    int             rc;
    mcp_gmac_t      g;
    mcp_long_t      d;
    unsigned char   key[MCP_DIGEST_KEY] = "0123456789abcdef0123456789abcde";
    unsigned char   out[MCP_DIGEST_HEX];
    static char     text[4096];
    static unsigned char  right[MCP_DIGEST_HEX];
    static unsigned known;

    if (mcp_gmac_init(&g, key) != MCP_OK) {
        return MCP_ERROR;
    }

    mcp_long_init(&d, &g);
    mcp_long_update(&d, &g, text, sizeof(text));
    mcp_long_update(&d, &g, text, 100);
    rc = mcp_long_final(&d, &g, out);
    mcp_gmac_free(&g);

    if (rc == MCP_OK) {
        if (!known++) {
            memcpy(right, out, sizeof(out));
        }

        assert_memory_equal(out, right, sizeof(out));
    }

    return rc;
}


/* ---- every n */

static const struct {
    const char  *name;
    int        (*run)(void);
    unsigned     refused;               /* with memory, too */
} operations[] = {
    { "a key set", key_set, 0 },
    { "a token, RS256", jwt_rs, 0 },
    { "a token, ES256", jwt_es, 0 },
    { "a token, EdDSA", jwt_ed, 0 },
    { "a wrong signature, RS256", jwt_bad_rs, 1 },
    { "a wrong signature, ES256", jwt_bad_es, 1 },
    { "a wrong signature, EdDSA", jwt_bad_ed, 1 },
    { "an ID token", id_claims, 0 },
    { "a principal", principal, 0 },
    { "a message", message, 0 },
    { "a policy", policy, 0 },
    { "a file of tokens", access_keys, 0 },
    { "a revocation", revocation, 0 },
    { "sealing", seal, 0 },
    { "opening", seal_open, 0 },
    { "opening what was changed", seal_forged, 1 },
    { "a vault, both ways", vault_seal, 0 },
    { "a vault", vault_open, 0 },
    { "a vault, changed", vault_bad, 1 },
    { "tokens of a vault", vault_tokens, 0 },
    { "an answer of a token endpoint", oauth, 0 },
    { "texts of connect", texts, 0 },
    { "a digest", digest, 0 },
};


/* What it returned with the n-th allocation failing; 0: none. */

static int
attempt(unsigned i, unsigned n)
{
    int          rc, line;
    long         before;
    fx_block_t  *keep;
    const char  *file, *function;

    keep = fx_blocks;
    before = live;
    count = 0;
    failed = 0;
    fail_at = n;

    armed = 1;
    rc = operations[i].run();
    armed = 0;

    fx_release_to(keep);

    if (live != before) {
        fail_msg("%s: %ld block(s) lost, allocation %u failed",
                 operations[i].name, live - before, n);
    }

    if (ERR_peek_error_all(&file, &line, &function, NULL, NULL) != 0) {
        fail_msg("%s: an error left behind, allocation %u failed: %s, %s:%d",
                 operations[i].name, n, function, file, line);
    }

    return rc;
}


static void
test_every(void **state)
{
    int       rc;
    unsigned  i, n;

    (void) state;

    for (i = 0; i < fx_count(operations); i++) {

        /* once for what OpenSSL keeps */

        rc = attempt(i, 0);
        assert_int_equal(rc == MCP_OK, !operations[i].refused);

        for (n = 1; n < 20000; n++) {
            rc = attempt(i, n);

            if (rc == MCP_OK && operations[i].refused) {
                fail_msg("%s: taken, allocation %u failed",
                         operations[i].name, n);
            }

            if (!failed) {
                break;
            }
        }

        assert_int_equal(rc == MCP_OK, !operations[i].refused);
        print_message("%s: %u allocations\n", operations[i].name, n - 1);
    }
}


static void
prepare(void)
{
    char       *claims;
    size_t      len;
    mcp_str_t   master = mcp_string("0123456789abcdef0123456789abcdef");

    claims = "{\"iss\":\"" ISS "\",\"sub\":"
             "\"joe@a-name-that-is-longer.example.com\","
             "\"aud\":\"api\"," TIMES ",\"jti\":\"AT.1\","
             "\"groups\":[\"mcp-eng\"],\"scp\":[\"a\","
             "\"b\"],\"cid\":\"c\",\"org\":\"o\"}";

    jwks = fx_str(fx_printf("{\"keys\":[%s,%s,%s]}",
                            fx_jwk(FX_RSA, ",\"kid\":\"r\""),
                            fx_jwk(FX_P256, ",\"kid\":\"e\""),
                            fx_jwk(FX_ED25519, ",\"kid\":\"d\"")));
    set = mcp_jwk_set_parse(jwks.data, jwks.len, 8, &(const char *) { NULL });
    assert_non_null(set);
    is = issuer_default();

    rs_token = fx_str(fx_token("RS256", FX_RSA,
                               "{\"alg\":\"RS256\",\"kid\":\"r\"}", claims));
    es_token = fx_str(fx_token("ES256", FX_P256,
                               "{\"alg\":\"ES256\",\"kid\":\"e\"}", claims));
    ed_token = fx_str(fx_token("EdDSA", FX_ED25519,
                               "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", claims));
    bad_rs = fx_str(fx_token("RS256", FX_RSA_2,
                             "{\"alg\":\"RS256\",\"kid\":\"r\"}", claims));
    bad_es = fx_str(fx_token("ES256", FX_P256_2,
                             "{\"alg\":\"ES256\",\"kid\":\"e\"}", claims));
    bad_ed = fx_str(fx_printf("%.*sAAAAAA%s", (int) ed_token.len - 20,
                              (char *) ed_token.data,
                              (char *) ed_token.data + ed_token.len - 14));
    id_token = fx_str(fx_token("ES256", FX_P256,
        "{\"alg\":\"ES256\",\"kid\":\"e\"}", "{\"iss\":\"" ISS "\","
        "\"sub\":\"joe\",\"aud\":\"gw\"," TIMES ",\"nonce\":\"n-1\","
        "\"name\":\"Joe\"}"));

    cipher = EVP_CIPHER_CTX_new();
    assert_int_equal(mcp_seal_add(&seals, &master, "test"), MCP_OK);
    sealed.data = fx_alloc(256);
    assert_int_equal(mcp_seal(&seals, cipher, parts, 2, &value, sealed.data,
                              &sealed.len), MCP_OK);
    forged = fx_str(fx_printf("%.*s", (int) sealed.len,
                              (char *) sealed.data));
    forged.data[20] = forged.data[20] == 'A' ? 'B' : 'A';

    vaults.nkeys = 1;
    mcp_str_set(&vaults.keys[0].id, "k");
    memcpy(vaults.keys[0].key, master.data, 32);
    mcp_str_set(&owner.credential, "jira");
    mcp_str_set(&owner.user, "joe");

    vaulted.data = fx_alloc(256);
    assert_int_equal(mcp_vault_seal(&vaults, &owner, "tokens", 1, &value,
                                    vaulted.data, &len), MCP_OK);
    vaulted.len = len;
    vault_forged.data = fx_alloc(256);
    vault_forged.len = len;
    memcpy(vault_forged.data, vaulted.data, len);
    vault_forged.data[len - 20] ^= 1;
}


static int
begin(void **state)
{
    (void) state;
    prepare();

    return 0;
}


static int
end(void **state)
{
    mcp_jwk_set_free(set);
    EVP_CIPHER_CTX_free(cipher);

    return fx_end(state);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_every),
    };

    /* before OpenSSL and jansson have anything */

    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free)
        != 1)
    {
        return 1;
    }

    json_set_alloc_funcs(__wrap_malloc, __wrap_free);

    return cmocka_run_group_tests(tests, begin, end);
}
