/*
 * mint: makes keys, key sets and tokens for the tests, good and bad ones.
 *
 *     mint keygen ALG FILE              private key, PEM, mode 0600
 *     mint jwks KID=FILE[:ALG] ...      key set; an empty KID: no kid
 *     mint token --key FILE --alg ALG [--kid KID] [--typ TYP]
 *                [--header JSON] [--count N] --claims JSON
 *     mint rand N                       N random bytes in hex
 *
 * Claims are used byte for byte, and so is --header, which then replaces the
 * whole header: --alg says only how to sign.  ALG of a token may also be HS256
 * (the bytes of the key file are the secret) or none (the signature is empty).
 * With --count, N tokens, one on a line; "@" in the claims is the token's number.
 * Nothing here is shared with the module: what it signs is signed by another
 * hand.
 */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE  200809L
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <jansson.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>


typedef struct {
    const char    *name;
    const char    *kind;                /* of the key */
    const char    *group;
    const char    *crv;
    const char    *md;
    int            pss;
    size_t         width;               /* of r and s, bytes */
} mint_alg_t;


static int mint_keygen(int argc, char **argv);
static int mint_jwks(int argc, char **argv);
static int mint_token(int argc, char **argv);
static void mint_one(const char *name, const char *key, const char *header,
    const char *claims);
static char *mint_numbered(const char *claims, int n);
static int mint_rand(int argc, char **argv);
static void mint_die(const char *what, const char *arg);
static const mint_alg_t *mint_alg(const char *name);
static EVP_PKEY *mint_read_key(const char *file);
static json_t *mint_jwk(EVP_PKEY *pkey);
static void mint_set_bn(json_t *jwk, EVP_PKEY *pkey, const char *param,
    const char *name, int width);
static void mint_set(json_t *jwk, const char *name, const char *value);
static char *mint_base64url(const unsigned char *data, size_t len);
static unsigned char *mint_sign(const mint_alg_t *alg, EVP_PKEY *pkey,
    const char *input, size_t *len);
static unsigned char *mint_hmac(const char *file, const char *input,
    size_t *len);
static unsigned char *mint_raw(unsigned char *der, size_t *len, size_t width);


static const mint_alg_t  mint_algs[] = {
    { "RS256", "RSA", NULL, NULL, "SHA256", 0, 0 },
    { "RS384", "RSA", NULL, NULL, "SHA384", 0, 0 },
    { "RS512", "RSA", NULL, NULL, "SHA512", 0, 0 },
    { "PS256", "RSA", NULL, NULL, "SHA256", 1, 0 },
    { "PS384", "RSA", NULL, NULL, "SHA384", 1, 0 },
    { "PS512", "RSA", NULL, NULL, "SHA512", 1, 0 },
    { "ES256", "EC", "P-256", "P-256", "SHA256", 0, 32 },
    { "ES384", "EC", "P-384", "P-384", "SHA384", 0, 48 },
    { "ES512", "EC", "P-521", "P-521", "SHA512", 0, 66 },
    { "EdDSA", "ED25519", NULL, "Ed25519", NULL, 0, 0 },
    { "Ed25519", "ED25519", NULL, "Ed25519", NULL, 0, 0 },
    { "Ed448", "ED448", NULL, "Ed448", NULL, 0, 0 },
    { NULL, NULL, NULL, NULL, NULL, 0, 0 }
};


int
main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "keygen") == 0) {
        return mint_keygen(argc, argv);
    }

    if (argc >= 2 && strcmp(argv[1], "jwks") == 0) {
        return mint_jwks(argc, argv);
    }

    if (argc >= 4 && strcmp(argv[1], "token") == 0) {
        return mint_token(argc, argv);
    }

    if (argc == 3 && strcmp(argv[1], "rand") == 0) {
        return mint_rand(argc, argv);
    }

    fputs("usage: mint keygen ALG FILE\n"
          "       mint jwks KID=FILE[:ALG] ...\n"
          "       mint token --key FILE --alg ALG [--kid KID] [--typ TYP]\n"
          "                  [--header JSON] [--count N] --claims JSON\n"
          "       mint rand N\n", stderr);

    return 2;
}


static int
mint_keygen(int argc, char **argv)
{
    int                fd;
    FILE              *f;
    EVP_PKEY          *pkey;
    const mint_alg_t  *alg;

    (void) argc;

    alg = mint_alg(argv[2]);
    if (alg == NULL) {
        mint_die("unknown algorithm", argv[2]);
    }

    if (strcmp(alg->kind, "RSA") == 0) {
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);

    } else if (strcmp(alg->kind, "EC") == 0) {
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", alg->group);

    } else {
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, alg->kind);
    }

    if (pkey == NULL) {
        mint_die("cannot make a key for", argv[2]);
    }

    fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    f = (fd == -1) ? NULL : fdopen(fd, "w");

    if (f == NULL
        || PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL) != 1
        || fclose(f) != 0)
    {
        mint_die("cannot write", argv[3]);
    }

    EVP_PKEY_free(pkey);

    return 0;
}


static int
mint_jwks(int argc, char **argv)
{
    int        i;
    char      *kid, *file, *alg;
    json_t    *set, *keys, *jwk;
    EVP_PKEY  *pkey;

    set = json_object();
    keys = json_array();

    if (set == NULL || keys == NULL
        || json_object_set_new(set, "keys", keys) != 0)
    {
        mint_die("out of memory", "");
    }

    for (i = 2; i < argc; i++) {
        kid = argv[i];
        file = strchr(kid, '=');

        if (file == NULL) {
            mint_die("KID=FILE[:ALG] expected, not", argv[i]);
        }

        *file++ = '\0';
        alg = strrchr(file, ':');

        if (alg != NULL) {
            *alg++ = '\0';
        }

        pkey = mint_read_key(file);
        jwk = mint_jwk(pkey);

        if (*kid) {
            mint_set(jwk, "kid", kid);
        }

        if (alg != NULL) {
            mint_set(jwk, "alg", alg);
        }

        mint_set(jwk, "use", "sig");
        json_array_append_new(keys, jwk);
        EVP_PKEY_free(pkey);
    }

    json_dumpf(set, stdout, JSON_COMPACT);
    json_decref(set);

    return putchar('\n') == EOF;
}


static int
mint_token(int argc, char **argv)
{
    int          i, n, count;
    char        *made, *numbered;
    json_t      *header;
    const char  *key, *name, *kid, *typ, *text, *claims;

    key = name = kid = typ = text = claims = NULL;
    count = 0;

    for (i = 2; i + 1 < argc; i += 2) {

        if (strcmp(argv[i], "--key") == 0) {
            key = argv[i + 1];

        } else if (strcmp(argv[i], "--alg") == 0) {
            name = argv[i + 1];

        } else if (strcmp(argv[i], "--kid") == 0) {
            kid = argv[i + 1];

        } else if (strcmp(argv[i], "--typ") == 0) {
            typ = argv[i + 1];

        } else if (strcmp(argv[i], "--header") == 0) {
            text = argv[i + 1];

        } else if (strcmp(argv[i], "--claims") == 0) {
            claims = argv[i + 1];

        } else if (strcmp(argv[i], "--count") == 0) {
            count = atoi(argv[i + 1]);

        } else {
            mint_die("unknown option", argv[i]);
        }
    }

    if (i != argc || name == NULL || claims == NULL
        || (key == NULL && strcmp(name, "none") != 0))
    {
        mint_die("--key, --alg and --claims are needed", "");
    }

    made = NULL;

    if (text == NULL) {
        header = json_object();
        mint_set(header, "alg", name);

        if (kid != NULL) {
            mint_set(header, "kid", kid);
        }

        if (typ != NULL) {
            mint_set(header, "typ", typ);
        }

        made = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
        json_decref(header);

        if (made == NULL) {
            mint_die("cannot write the header", "");
        }

        text = made;
    }

    if (count == 0) {
        mint_one(name, key, text, claims);
    }

    for (n = 1; n <= count; n++) {
        numbered = mint_numbered(claims, n);
        mint_one(name, key, text, numbered);
        free(numbered);
    }

    free(made);

    return 0;
}


static void
mint_one(const char *name, const char *key, const char *header,
    const char *claims)
{
    int                i;
    char              *input, *part[3];
    size_t             len;
    EVP_PKEY          *pkey;
    unsigned char     *signature;
    const mint_alg_t  *alg;

    part[0] = mint_base64url((const unsigned char *) header, strlen(header));
    part[1] = mint_base64url((const unsigned char *) claims, strlen(claims));

    len = strlen(part[0]) + 1 + strlen(part[1]);
    input = malloc(len + 1);

    if (input == NULL) {
        mint_die("out of memory", "");
    }

    (void) snprintf(input, len + 1, "%s.%s", part[0], part[1]);

    pkey = NULL;
    alg = mint_alg(name);

    if (strcmp(name, "none") == 0) {
        signature = calloc(1, 1);
        len = 0;

    } else if (strcmp(name, "HS256") == 0) {
        signature = mint_hmac(key, input, &len);

    } else if (alg != NULL) {
        pkey = mint_read_key(key);
        signature = mint_sign(alg, pkey, input, &len);

    } else {
        signature = NULL;
        mint_die("unknown algorithm", name);
    }

    part[2] = mint_base64url(signature, len);

    printf("%s.%s\n", input, part[2]);

    for (i = 0; i < 3; i++) {
        free(part[i]);
    }

    EVP_PKEY_free(pkey);
    free(signature);
    free(input);
}


/* The claims with n in place of each "@". */

static char *
mint_numbered(const char *claims, int n)
{
    char        *text, *p;
    size_t       size;
    const char  *c;

    size = 1;

    for (c = claims; *c; c++) {
        size += (*c == '@') ? 10 : 1;
    }

    text = malloc(size);

    if (text == NULL) {
        mint_die("out of memory", "");
    }

    for (c = claims, p = text; *c; c++) {
        if (*c == '@') {
            p += sprintf(p, "%d", n);

        } else {
            *p++ = *c;
        }
    }

    *p = '\0';

    return text;
}


static int
mint_rand(int argc, char **argv)
{
    int            i, n;
    unsigned char  buf[4096];

    (void) argc;

    n = atoi(argv[2]);

    if (n < 1 || n > (int) sizeof(buf) || RAND_bytes(buf, n) != 1) {
        mint_die("1 to 4096 bytes, not", argv[2]);
    }

    for (i = 0; i < n; i++) {
        printf("%02x", buf[i]);
    }

    return putchar('\n') == EOF;
}


static void
mint_die(const char *what, const char *arg)
{
    fprintf(stderr, "mint: %s %s\n", what, arg);
    exit(1);
}


static const mint_alg_t *
mint_alg(const char *name)
{
    const mint_alg_t  *alg;

    for (alg = mint_algs; alg->name != NULL; alg++) {
        if (strcmp(alg->name, name) == 0) {
            return alg;
        }
    }

    return NULL;
}


static EVP_PKEY *
mint_read_key(const char *file)
{
    FILE      *f;
    EVP_PKEY  *pkey;

    f = fopen(file, "r");
    if (f == NULL) {
        mint_die("cannot open", file);
    }

    pkey = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    if (pkey == NULL) {
        mint_die("no private key in", file);
    }

    fclose(f);

    return pkey;
}


static json_t *
mint_jwk(EVP_PKEY *pkey)
{
    int                bits;
    char              *x;
    size_t             len;
    json_t            *jwk;
    unsigned char      raw[64];
    const mint_alg_t  *alg;

    jwk = json_object();
    bits = EVP_PKEY_get_bits(pkey);

    if (EVP_PKEY_is_a(pkey, "RSA")) {
        mint_set(jwk, "kty", "RSA");
        mint_set_bn(jwk, pkey, OSSL_PKEY_PARAM_RSA_N, "n", 0);
        mint_set_bn(jwk, pkey, OSSL_PKEY_PARAM_RSA_E, "e", 0);

        return jwk;
    }

    if (EVP_PKEY_is_a(pkey, "EC")) {
        alg = mint_alg(bits == 256 ? "ES256" : bits == 384 ? "ES384"
                                                           : "ES512");
        mint_set(jwk, "kty", "EC");
        mint_set(jwk, "crv", alg->crv);
        mint_set_bn(jwk, pkey, OSSL_PKEY_PARAM_EC_PUB_X, "x",
                    (int) alg->width);
        mint_set_bn(jwk, pkey, OSSL_PKEY_PARAM_EC_PUB_Y, "y",
                    (int) alg->width);

        return jwk;
    }

    len = sizeof(raw);

    if (EVP_PKEY_get_raw_public_key(pkey, raw, &len) != 1) {
        mint_die("no kind of key that is known", "");
    }

    x = mint_base64url(raw, len);

    mint_set(jwk, "kty", "OKP");
    mint_set(jwk, "crv", len == 32 ? "Ed25519" : "Ed448");
    mint_set(jwk, "x", x);

    free(x);

    return jwk;
}


static void
mint_set_bn(json_t *jwk, EVP_PKEY *pkey, const char *param, const char *name,
    int width)
{
    char           *text;
    BIGNUM         *bn;
    unsigned char   buf[2048];

    bn = NULL;

    if (EVP_PKEY_get_bn_param(pkey, param, &bn) != 1
        || BN_num_bytes(bn) > (int) sizeof(buf))
    {
        mint_die("cannot read of the key", param);
    }

    if (width == 0) {
        width = BN_num_bytes(bn);
    }

    BN_bn2binpad(bn, buf, width);
    BN_free(bn);

    text = mint_base64url(buf, (size_t) width);
    mint_set(jwk, name, text);
    free(text);
}


static void
mint_set(json_t *jwk, const char *name, const char *value)
{
    if (json_object_set_new(jwk, name, json_string(value)) != 0) {
        mint_die("cannot set", name);
    }
}


static char *
mint_base64url(const unsigned char *data, size_t len)
{
    char  *text, *p;

    text = malloc((len + 2) / 3 * 4 + 1);
    if (text == NULL) {
        mint_die("out of memory", "");
    }

    text[0] = '\0';

    if (len) {
        EVP_EncodeBlock((unsigned char *) text, data, (int) len);
    }

    for (p = text; *p; p++) {

        if (*p == '+') {
            *p = '-';

        } else if (*p == '/') {
            *p = '_';

        } else if (*p == '=') {
            *p = '\0';
            break;
        }
    }

    return text;
}


static unsigned char *
mint_sign(const mint_alg_t *alg, EVP_PKEY *pkey, const char *input,
    size_t *len)
{
    EVP_MD_CTX     *ctx;
    EVP_PKEY_CTX   *pctx;
    unsigned char  *signature;

    *len = 4096;

    ctx = EVP_MD_CTX_new();
    signature = malloc(*len);

    if (ctx == NULL || signature == NULL
        || EVP_DigestSignInit_ex(ctx, &pctx, alg->md, NULL, NULL, pkey, NULL)
           != 1)
    {
        mint_die("the key does not fit", alg->name);
    }

    if (alg->pss
        && (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1
            || EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST)
               != 1))
    {
        mint_die("the key does not fit", alg->name);
    }

    if (EVP_DigestSign(ctx, signature, len, (const unsigned char *) input,
                       strlen(input))
        != 1)
    {
        mint_die("cannot sign with", alg->name);
    }

    EVP_MD_CTX_free(ctx);

    return alg->width ? mint_raw(signature, len, alg->width) : signature;
}


static unsigned char *
mint_hmac(const char *file, const char *input, size_t *len)
{
    int             n;
    FILE           *f;
    unsigned        hlen;
    unsigned char   secret[8192], *hmac;

    f = fopen(file, "r");
    hmac = malloc(EVP_MAX_MD_SIZE);

    if (f == NULL || hmac == NULL) {
        mint_die("cannot open", file);
    }

    n = (int) fread(secret, 1, sizeof(secret), f);
    fclose(f);

    if (HMAC(EVP_sha256(), secret, n, (const unsigned char *) input,
             strlen(input), hmac, &hlen)
        == NULL)
    {
        mint_die("cannot sign with", "HS256");
    }

    *len = hlen;

    return hmac;
}


/* ECDSA in JWS is R || S, each of full width (RFC 7518 section 3.4). */

static unsigned char *
mint_raw(unsigned char *der, size_t *len, size_t width)
{
    ECDSA_SIG            *sig;
    unsigned char        *raw;
    const unsigned char  *p;

    p = der;
    sig = d2i_ECDSA_SIG(NULL, &p, (long) *len);
    raw = malloc(2 * width);

    if (sig == NULL || raw == NULL) {
        mint_die("out of memory", "");
    }

    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int) width);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + width, (int) width);

    ECDSA_SIG_free(sig);
    free(der);

    *len = 2 * width;

    return raw;
}
