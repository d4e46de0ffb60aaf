/*
 * Secrets and stores: mcp_token_key, the files, mcp_redis.
 *
 * A secret is read when it is needed and wiped by whoever asked for it; it is
 * never part of a message.
 */

#include "mcpctl_parse.h"
#include "mcp_access_key.h"
#include "mcp_digest.h"
#include "mcp_revocation.h"

#include <stdlib.h>


#define MCPCTL_SECRET            16384  /* bytes */
#define MCPCTL_STORE             (64 * 1024 * 1024)     /* bytes of a file */
#define MCPCTL_FAILURES          6000   /* of own tokens a minute, at most */
#define MCPCTL_FAILURES_DEFAULT  20

#define MCPCTL_REDIS_PORT        6379
#define MCPCTL_REDIS_PREFIX      64     /* bytes */
#define MCPCTL_REDIS_USER        256
#define MCPCTL_SOCKET            107    /* bytes of a path, sun_path */


static int mcpctl_secret_part(mcpctl_t *ctl, const mcp_str_t *ref,
    mcp_str_t *part);
static int mcpctl_secret_file(mcpctl_t *ctl, const mcp_str_t *name,
    mcp_str_t *secret);
static int mcpctl_conf_records(const mcp_str_t *text, const char **why,
    unsigned *line);
static int mcpctl_redis_check(mcpctl_parser_t *ps,
    const mcpctl_redis_t *redis);
static int mcpctl_redis_server(mcpctl_parser_t *ps);
static int mcpctl_redis_password(mcpctl_parser_t *ps);
static int mcpctl_redis_ssl_name(mcpctl_parser_t *ps);
static int mcpctl_redis_word(mcpctl_parser_t *ps, mcp_str_t *to, size_t max);
static int mcpctl_redis_number(mcpctl_parser_t *ps);


int
mcpctl_secret(mcpctl_t *ctl, const mcp_str_t *text, mcp_str_t *secret)
{
    size_t      i, end;
    mcp_str_t   ref, part;
    mcp_buf_t   b;

    mcp_buf_init(&b, mcpctl_alloc(ctl, MCPCTL_SECRET + 1), MCPCTL_SECRET);

    for (i = 0; i < text->len; i++) {

        if (text->len - i <= 2 || memcmp(text->data + i, "${", 2) != 0) {
            mcp_buf_put(&b, text->data + i, 1);
            continue;
        }

        for (end = i; end < text->len && text->data[end] != '}'; end++) {
            /* void */
        }

        if (end == text->len) {
            return mcpctl_error(ctl, MCPCTL_FAILED, "\"${\" is not closed");
        }

        ref = mcpctl_str(ctl, text->data + i + 2, end - i - 2);

        if (mcpctl_secret_part(ctl, &ref, &part) != MCPCTL_OK) {
            return MCPCTL_FAILED;
        }

        mcp_buf_str(&b, &part);
        mcpctl_wipe(part.data, part.len);

        i = end;
    }

    secret->data = b.start;
    secret->len = (size_t) (b.pos - b.start);

    if (b.overflow) {
        return mcpctl_error(ctl, MCPCTL_FAILED, "a secret is longer than 16k");
    }

    for (i = 0; i < secret->len; i++) {
        if (secret->data[i] < 0x20 || secret->data[i] == 0x7f) {
            return mcpctl_error(ctl, MCPCTL_FAILED, "a secret has a control "
                                "character");
        }
    }

    return MCPCTL_OK;
}


/* env:NAME or file:PATH */
static int
mcpctl_secret_part(mcpctl_t *ctl, const mcp_str_t *ref, mcp_str_t *part)
{
    const char  *env;
    mcp_str_t    name;

    if (ref->len > 4 && memcmp(ref->data, "env:", 4) == 0) {
        env = getenv((char *) ref->data + 4);

        if (env == NULL || *env == '\0') {
            return mcpctl_error(ctl, MCPCTL_FAILED, "environment variable "
                                "\"%s\" is not set", ref->data + 4);
        }

        *part = mcpctl_str(ctl, env, strlen(env));

        return MCPCTL_OK;
    }

    if (ref->len <= 5 || memcmp(ref->data, "file:", 5) != 0) {
        return mcpctl_error(ctl, MCPCTL_FAILED, "\"${%s}\" is neither "
                            "${env:NAME} nor ${file:PATH}", ref->data);
    }

    name.data = ref->data + 5;
    name.len = ref->len - 5;

    return mcpctl_secret_file(ctl, &name, part);
}


static int
mcpctl_secret_file(mcpctl_t *ctl, const mcp_str_t *name, mcp_str_t *secret)
{
    int          err;
    mcp_str_t    path;
    const char  *why;

    path = mcpctl_full_name(ctl, &ctl->conf->dir, name);

    /* two more: a line end is cut off */

    if (mcpctl_read_file(ctl, (char *) path.data, MCPCTL_SECRET + 2, secret,
                         &why, &err)
        != MCP_OK)
    {
        return mcpctl_error(ctl, MCPCTL_FAILED, "cannot read secret file "
                            "\"%s\": %s", path.data, why);
    }

    if (secret->len && secret->data[secret->len - 1] == '\n') {
        secret->len--;
    }

    if (secret->len && secret->data[secret->len - 1] == '\r') {
        secret->len--;
    }

    if (secret->len == 0 || secret->len > MCPCTL_SECRET) {
        mcpctl_wipe(secret->data, secret->len);
        return mcpctl_error(ctl, MCPCTL_FAILED, "secret file \"%s\" is empty "
                            "or longer than 16k", path.data);
    }

    return MCPCTL_OK;
}


int
mcpctl_key_file(mcpctl_t *ctl, const mcp_str_t *path, mcp_str_t *secret)
{
    if (mcpctl_secret_file(ctl, path, secret) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    if (secret->len < MCP_DIGEST_KEY) {
        mcpctl_wipe(secret->data, secret->len);
        return mcpctl_error(ctl, MCPCTL_FAILED, "the key in \"%s\" is shorter "
                            "than %d bytes", path->data, MCP_DIGEST_KEY);
    }

    return MCPCTL_OK;
}


/* mcp_token_key PATH... */
int
mcpctl_conf_token_key(mcpctl_parser_t *ps)
{
    int                 rc;
    unsigned            i;
    mcp_str_t           path, secret;
    mcpctl_conf_t      *conf;
    mcp_pepper_ring_t   ring;

    conf = ps->conf;

    if (conf->ntoken_keys) {
        return mcpctl_parse_duplicate(ps);
    }

    memset(&ring, 0, sizeof(mcp_pepper_ring_t));
    rc = MCP_OK;

    for (i = 1; i < ps->rd.nwords && rc == MCP_OK; i++) {
        path = mcpctl_full_name(ps->ctl, &conf->dir, mcpctl_word(ps, i));

        if (ps->files) {

            if (mcpctl_key_file(ps->ctl, &path, &secret) != MCPCTL_OK) {
                rc = mcpctl_read_error(&ps->rd, "mcp_token_key cannot be "
                                       "used");
                break;
            }

            rc = mcp_pepper_add(&ring, &secret);
            mcpctl_wipe(secret.data, secret.len);
        }

        if (rc != MCP_OK || conf->ntoken_keys == MCPCTL_TOKEN_KEYS) {
            rc = mcpctl_read_error(&ps->rd, "the key in \"%s\" is there "
                                   "twice, or is one of more than %d",
                                   path.data, MCPCTL_TOKEN_KEYS);
            break;
        }

        conf->token_keys[conf->ntoken_keys++] = path;
    }

    mcpctl_wipe(&ring, sizeof(mcp_pepper_ring_t));

    return rc;
}


/* mcp_token_file, mcp_revocation_file: what is in them has to be right */
int
mcpctl_conf_path(mcpctl_parser_t *ps)
{
    int          err;
    unsigned     line, tokens;
    mcp_str_t   *name, *to, text;
    const char  *why;

    name = mcpctl_word(ps, 0);
    tokens = mcpctl_is(name, "mcp_token_file");
    to = tokens ? &ps->conf->token_file : &ps->conf->revocation_file;

    if (to->len) {
        return mcpctl_parse_duplicate(ps);
    }

    if (mcpctl_word(ps, 1)->len == 0) {
        return mcpctl_read_error(&ps->rd, "\"%s\" directive has an empty "
                                 "value", name->data);
    }

    *to = mcpctl_full_name(ps->ctl, &ps->conf->dir, mcpctl_word(ps, 1));

    if (!ps->files) {
        return MCP_OK;
    }

    if (mcpctl_read_file(ps->ctl, (char *) to->data, MCPCTL_STORE, &text,
                         &why, &err)
        != MCP_OK)
    {
        return mcpctl_read_error(&ps->rd, "%s \"%s\": %s", name->data,
                                 to->data, why);
    }

    if ((tokens ? mcpctl_conf_records(&text, &why, &line)
                : mcp_revocation_file(&text, NULL, NULL, &why, &line))
        != MCP_OK)
    {
        return mcpctl_read_error(&ps->rd, "%s \"%s\" line %u: %s",
                                 name->data, to->data, line, why);
    }

    return MCP_OK;
}


static int
mcpctl_conf_records(const mcp_str_t *text, const char **why, unsigned *line)
{
    mcp_access_keys_t  *keys;

    keys = mcp_access_keys_parse(text, why, line);

    if (keys == NULL) {
        return MCP_ERROR;
    }

    mcp_access_keys_free(keys);

    return MCP_OK;
}


int
mcpctl_conf_failures(mcpctl_parser_t *ps)
{
    int64_t  n;

    if (ps->conf->token_failures != -1) {
        return mcpctl_parse_duplicate(ps);
    }

    n = mcpctl_number(mcpctl_word(ps, 1));

    if (n < 0 || n > MCPCTL_FAILURES) {
        return mcpctl_read_error(&ps->rd, "mcp_token_failures \"%s\" is not "
                                 "a number from 0 to %d",
                                 mcpctl_word(ps, 1)->data, MCPCTL_FAILURES);
    }

    ps->conf->token_failures = n;

    return MCP_OK;
}


int
mcpctl_conf_redis(mcpctl_parser_t *ps)
{
    int              rc;
    mcpctl_redis_t  *redis;

    if (ps->conf->redis) {
        return mcpctl_parse_duplicate(ps);
    }

    redis = mcpctl_alloc(ps->ctl, sizeof(mcpctl_redis_t));

    redis->place = mcpctl_read_place(&ps->rd);
    redis->port = MCPCTL_REDIS_PORT;
    redis->timeout = -1;
    redis->connect_timeout = -1;
    redis->revocation_stale = -1;
    redis->max_reply = -1;

    ps->conf->redis = redis;
    ps->redis_tls = 0;
    ps->redis_database = -1;

    ps->redis = redis;
    rc = mcpctl_parse_block(ps, MCPCTL_REDIS);
    ps->redis = NULL;

    if (ps->redis_database > 0) {
        redis->database = (unsigned) ps->redis_database;
    }

    return rc == MCP_OK ? mcpctl_redis_check(ps, redis) : rc;
}


/* What does not go together. */
static int
mcpctl_redis_check(mcpctl_parser_t *ps, const mcpctl_redis_t *redis)
{
    if (redis->host.len == 0 && redis->path.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_redis has no \"server\"");
    }

    if (redis->user.len && redis->password.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_redis has a \"user\" and no "
                                 "\"password\"");
    }

    if (redis->tls && redis->path.len) {
        return mcpctl_read_error(&ps->rd, "mcp_redis has \"tls on\" and a "
                                 "unix socket");
    }

    if (!redis->tls
        && (redis->ssl_name.len || redis->trusted_certificate.len))
    {
        return mcpctl_read_error(&ps->rd, "mcp_redis has \"%s\" without "
                                 "\"tls on\"", redis->ssl_name.len
                                 ? "ssl_name" : "ssl_trusted_certificate");
    }

    return MCP_OK;
}


int
mcpctl_conf_redis_line(mcpctl_parser_t *ps)
{
    mcp_str_t       *name, *value;
    mcpctl_redis_t  *redis;

    redis = ps->redis;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "server")) {
        return mcpctl_redis_server(ps);
    }

    if (mcpctl_is(name, "password")) {
        return mcpctl_redis_password(ps);
    }

    if (mcpctl_is(name, "ssl_name")) {
        return mcpctl_redis_ssl_name(ps);
    }

    if (mcpctl_is(name, "user")) {
        return mcpctl_redis_word(ps, &redis->user, MCPCTL_REDIS_USER);
    }

    if (mcpctl_is(name, "prefix")) {
        return mcpctl_redis_word(ps, &redis->prefix, MCPCTL_REDIS_PREFIX);
    }

    if (mcpctl_is(name, "ssl_trusted_certificate")) {

        if (redis->trusted_certificate.len) {
            return mcpctl_parse_duplicate(ps);
        }

        redis->trusted_certificate = *value;
        return MCP_OK;
    }

    if (!mcpctl_is(name, "tls")) {
        return mcpctl_redis_number(ps);
    }

    if (ps->redis_tls++) {
        return mcpctl_parse_duplicate(ps);
    }

    if (!mcpctl_is(value, "on") && !mcpctl_is(value, "off")) {
        return mcpctl_read_error(&ps->rd, "\"tls\" is \"on\" or \"off\", not "
                                 "\"%s\"", value->data);
    }

    redis->tls = (value->len == 2);

    return MCP_OK;
}


/* HOST[:PORT] or unix:/PATH */
static int
mcpctl_redis_server(mcpctl_parser_t *ps)
{
    mcp_str_t           *value;
    const char          *error;
    mcpctl_redis_t      *redis;
    mcpctl_authority_t   a;

    redis = ps->redis;
    value = mcpctl_word(ps, 1);

    if (redis->host.len || redis->path.len) {
        return mcpctl_parse_duplicate(ps);
    }

    if (value->len >= 5 && memcmp(value->data, "unix:", 5) == 0) {

        if (value->len == 5 || value->data[5] != '/'
            || value->len - 5 > MCPCTL_SOCKET)
        {
            return mcpctl_read_error(&ps->rd, "invalid server \"%s\" of "
                                     "mcp_redis: unix: and an absolute path "
                                     "are expected", value->data);
        }

        redis->path = mcpctl_str(ps->ctl, value->data + 5, value->len - 5);
        return MCP_OK;
    }

    error = mcpctl_authority(value, &a);

    if (error) {
        return mcpctl_read_error(&ps->rd, "invalid server \"%s\" of "
                                 "mcp_redis: %s", value->data, error);
    }

    redis->host = mcpctl_str(ps->ctl, a.host.data, a.host.len);

    if (a.port) {
        redis->port = a.port;
    }

    return MCP_OK;
}


/* file:PATH | ${file:PATH} | ${env:NAME}, and never the secret itself; it is
 * kept in the second form. */
static int
mcpctl_redis_password(mcpctl_parser_t *ps)
{
    int              rc;
    mcp_str_t       *value, text, secret;
    mcpctl_redis_t  *redis;

    redis = ps->redis;
    value = mcpctl_word(ps, 1);

    if (redis->password.len) {
        return mcpctl_parse_duplicate(ps);
    }

    text = *value;

    if (text.len > 5 && memcmp(text.data, "file:", 5) == 0) {
        text = mcpctl_cstr(mcpctl_format(ps->ctl, "${%s}",
                                         (char *) value->data));
    }

    if (text.len < 3 || memcmp(text.data, "${", 2) != 0
        || memchr(text.data, '}', text.len) != text.data + text.len - 1)
    {
        return mcpctl_read_error(&ps->rd, "\"password\" is file:PATH, "
                                 "\"${file:PATH}\" or \"${env:NAME}\"");
    }

    redis->password = text;

    if (!ps->files) {
        return MCP_OK;
    }

    rc = mcpctl_secret(ps->ctl, &text, &secret);

    if (rc != MCPCTL_OK) {
        return mcpctl_read_error(&ps->rd, "mcp_redis has no password");
    }

    mcpctl_wipe(secret.data, secret.len);

    return MCP_OK;
}


static int
mcpctl_redis_ssl_name(mcpctl_parser_t *ps)
{
    mcp_str_t           *value;
    const char          *error;
    mcpctl_redis_t      *redis;
    mcpctl_authority_t   a;

    redis = ps->redis;
    value = mcpctl_word(ps, 1);

    if (redis->ssl_name.len) {
        return mcpctl_parse_duplicate(ps);
    }

    error = mcpctl_authority(value, &a);

    if (error || a.port) {
        return mcpctl_read_error(&ps->rd, "invalid ssl_name \"%s\": %s",
                                 value->data, error ? error
                                                    : "it has no port");
    }

    redis->ssl_name = mcpctl_str(ps->ctl, a.host.data, a.host.len);

    return MCP_OK;
}


/* Visible ASCII. */
static int
mcpctl_redis_word(mcpctl_parser_t *ps, mcp_str_t *to, size_t max)
{
    size_t      i;
    mcp_str_t  *value;

    value = mcpctl_word(ps, 1);

    if (to->len) {
        return mcpctl_parse_duplicate(ps);
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= 0x20 || value->data[i] >= 0x7f) {
            break;
        }
    }

    if (i < value->len || i == 0 || i > max) {
        return mcpctl_read_error(&ps->rd, "invalid \"%s\" of mcp_redis: 1 to "
                                 "%zu visible ASCII characters are expected",
                                 mcpctl_word(ps, 0)->data, max);
    }

    *to = *value;

    return MCP_OK;
}


/* database, timeout, connect_timeout, revocation_stale, max_reply */
static int
mcpctl_redis_number(mcpctl_parser_t *ps)
{
    size_t      i;
    int64_t     n, *to;
    mcp_str_t  *name, *value;

    static const struct {
        const char  *name;
        size_t       offset;
        unsigned     kind;              /* 0 number, 1 size, 2 ms */
        int64_t      min;
        int64_t      max;
    } lines[] = {
        { "database", 0, 0, 0, 65535 },         /* of the parser */
        { "timeout", offsetof(mcpctl_redis_t, timeout), 2, 10, 60000 },
        { "connect_timeout", offsetof(mcpctl_redis_t, connect_timeout), 2,
          10, 60000 },
        { "revocation_stale", offsetof(mcpctl_redis_t, revocation_stale), 2,
          2000, 3600 * 1000 },
        { "max_reply", offsetof(mcpctl_redis_t, max_reply), 1, 64 * 1024,
          64 * 1024 * 1024 }
    };

    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    for (i = 0; strcmp((char *) name->data, lines[i].name) != 0; i++) {
        /* void */
    }

    to = (i == 0) ? &ps->redis_database
                  : (int64_t *) ((char *) ps->redis + lines[i].offset);

    if (*to != -1) {
        return mcpctl_parse_duplicate(ps);
    }

    n = lines[i].kind == 0 ? mcpctl_number(value)
        : lines[i].kind == 1 ? mcpctl_size(value) : mcpctl_time(value, 0);

    if (n < lines[i].min || n > lines[i].max) {
        return mcpctl_read_error(&ps->rd, "invalid value \"%s\" of \"%s\"",
                                 value->data, name->data);
    }

    *to = n;

    return MCP_OK;
}


/* When http {} is complete: defaults. */
int
mcpctl_finish_stores(mcpctl_parser_t *ps)
{
    mcpctl_redis_t  *redis;

    redis = ps->conf->redis;

    if (ps->conf->token_failures == -1) {
        ps->conf->token_failures = MCPCTL_FAILURES_DEFAULT;
    }

    if (redis == NULL) {
        return MCP_OK;
    }

    if (redis->prefix.len == 0) {
        redis->prefix = mcpctl_cstr("mcp:");
    }

    if (redis->timeout == -1) {
        redis->timeout = 1000;
    }

    if (redis->connect_timeout == -1) {
        redis->connect_timeout = 1000;
    }

    if (redis->revocation_stale == -1) {
        redis->revocation_stale = 5000;
    }

    if (redis->max_reply == -1) {
        redis->max_reply = 1024 * 1024;
    }

    if (redis->trusted_certificate.len == 0) {
        return MCP_OK;
    }

    redis->trusted_certificate = mcpctl_full_name(ps->ctl, &ps->conf->dir,
                                                &redis->trusted_certificate);

    if (ps->files && !mcpctl_conf_trusted(&redis->trusted_certificate)) {
        return mcpctl_place_error(ps->ctl, &redis->place, "mcp_redis cannot "
                                  "use the certificates in \"%s\"",
                                  redis->trusted_certificate.data);
    }

    return MCP_OK;
}
