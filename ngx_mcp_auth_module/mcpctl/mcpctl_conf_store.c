/*
 * Secrets and what holds them: mcp_credential, mcp_token_key, mcp_redis.
 *
 * A secret is read when it is needed and wiped by whoever asked for it; it is
 * never part of a message.
 */

#include "mcpctl_parse.h"
#include "mcp_digest.h"

#include <stdlib.h>


#define MCPCTL_SECRET        16384      /* bytes */
#define MCPCTL_REDIS_PORT    6379
#define MCPCTL_REDIS_NUMBER  65535      /* of a database */


static int mcpctl_secret_part(mcpctl_t *ctl, const mcp_str_t *ref,
    mcp_str_t *part);
static int mcpctl_secret_file(mcpctl_t *ctl, const mcp_str_t *name,
    mcp_str_t *secret);
static int mcpctl_credential_header(mcpctl_parser_t *ps);
static int mcpctl_redis_server(mcpctl_parser_t *ps);
static int mcpctl_redis_number(mcpctl_parser_t *ps);
static int mcpctl_finish_redis(mcpctl_parser_t *ps, mcpctl_redis_t *redis);


int
mcpctl_secret(mcpctl_t *ctl, const mcp_str_t *text, mcp_str_t *secret)
{
    size_t      i, end;
    mcp_str_t   ref, part;
    mcp_buf_t   b;

    if (text->len > 5 && memcmp(text->data, "file:", 5) == 0) {
        return mcpctl_secret_part(ctl, text, secret);
    }

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


int
mcpctl_conf_credential(mcpctl_parser_t *ps)
{
    int                   rc;
    unsigned              i;
    mcp_str_t            *name;
    mcpctl_credential_t  *cr;

    name = mcpctl_word(ps, 1);

    if (mcpctl_parse_name(ps, name) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < ps->conf->credentials.n; i++) {
        cr = ps->conf->credentials.elts[i];

        if (mcp_str_eq(&cr->name, name)) {
            return mcpctl_read_error(&ps->rd, "duplicate mcp_credential "
                                     "\"%s\"", name->data);
        }
    }

    cr = mcpctl_alloc(ps->ctl, sizeof(mcpctl_credential_t));

    cr->name = *name;
    cr->place = mcpctl_read_place(&ps->rd);
    mcpctl_push(ps->ctl, &ps->conf->credentials, cr);

    ps->credential = cr;
    rc = mcpctl_parse_block(ps, MCPCTL_CREDENTIAL);
    ps->credential = NULL;

    if (rc != MCP_OK) {
        return rc;
    }

    if (cr->value.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" has no "
                                 "\"value\"", cr->name.data);
    }

    return MCP_OK;
}


int
mcpctl_conf_credential_line(mcpctl_parser_t *ps)
{
    int                   rc;
    mcp_str_t            *name, *value, secret;
    mcpctl_credential_t  *cr;

    cr = ps->credential;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "header")) {
        return mcpctl_credential_header(ps);
    }

    if (mcpctl_is(name, "type")) {

        if (!mcpctl_is(value, "static")) {
            return mcpctl_read_error(&ps->rd, "unknown credential type \"%s\"",
                                     value->data);
        }

        return MCP_OK;
    }

    if (cr->value.len) {
        return mcpctl_parse_duplicate(ps);
    }

    cr->value = *value;

    if (!ps->files) {
        return MCP_OK;
    }

    rc = mcpctl_secret(ps->ctl, value, &secret);

    if (rc != MCPCTL_OK) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" has no "
                                 "value", cr->name.data);
    }

    mcpctl_wipe(secret.data, secret.len);

    return MCP_OK;
}


static int
mcpctl_credential_header(mcpctl_parser_t *ps)
{
    size_t                i;
    mcp_str_t            *value;
    unsigned char         c;
    mcpctl_credential_t  *cr;

    static const char *const  forbidden[] = {
        "content-length", "transfer-encoding", "host", "connection",
        "content-type", "content-encoding", "expect", "upgrade", "te",
        "trailer", "mcp-method", "mcp-name", "mcp-protocol-version"
    };

    cr = ps->credential;
    value = mcpctl_word(ps, 1);

    if (cr->header.len) {
        return mcpctl_parse_duplicate(ps);
    }

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-'))
        {
            break;
        }
    }

    if (i < value->len || i == 0 || i > 64) {
        return mcpctl_read_error(&ps->rd, "invalid header name \"%s\"",
                                 value->data);
    }

    for (i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        if (mcp_str_caseeq(value->data, value->len, forbidden[i],
                           strlen(forbidden[i])))
        {
            return mcpctl_read_error(&ps->rd, "header \"%s\" cannot carry a "
                                     "credential", value->data);
        }
    }

    cr->header = *value;

    return MCP_OK;
}


/* mcp_token_key PATH... */
int
mcpctl_conf_token_key(mcpctl_parser_t *ps)
{
    unsigned        i;
    mcpctl_conf_t  *conf;

    conf = ps->conf;

    if (conf->ntoken_keys) {
        return mcpctl_parse_duplicate(ps);
    }

    if (ps->rd.nwords - 1 > MCPCTL_TOKEN_KEYS) {
        return mcpctl_read_error(&ps->rd, "more than %d keys",
                                 MCPCTL_TOKEN_KEYS);
    }

    conf->token_keys_place = mcpctl_read_place(&ps->rd);

    for (i = 1; i < ps->rd.nwords; i++) {
        conf->token_keys[conf->ntoken_keys++] =
            mcpctl_full_name(ps->ctl, &conf->dir, mcpctl_word(ps, i));
    }

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

    ps->redis = redis;
    rc = mcpctl_parse_block(ps, MCPCTL_REDIS);
    ps->redis = NULL;

    if (rc != MCP_OK) {
        return rc;
    }

    if (redis->host.len == 0 && redis->path.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_redis has no \"server\"");
    }

    return MCP_OK;
}


int
mcpctl_conf_redis_line(mcpctl_parser_t *ps)
{
    size_t           i;
    mcp_str_t       *name, *value, *text;
    mcpctl_redis_t  *redis;

    static const struct {
        const char  *name;
        size_t       offset;
    } lines[] = {
        { "user", offsetof(mcpctl_redis_t, user) },
        { "password", offsetof(mcpctl_redis_t, password) },
        { "ssl_trusted_certificate",
          offsetof(mcpctl_redis_t, trusted_certificate) },
        { "ssl_name", offsetof(mcpctl_redis_t, ssl_name) },
        { "prefix", offsetof(mcpctl_redis_t, prefix) }
    };

    redis = ps->redis;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "server")) {
        return mcpctl_redis_server(ps);
    }

    if (mcpctl_is(name, "tls")) {

        if (!mcpctl_is(value, "on") && !mcpctl_is(value, "off")) {
            return mcpctl_read_error(&ps->rd, "tls \"%s\" is neither on nor "
                                     "off", value->data);
        }

        redis->tls = (value->len == 2);
        return MCP_OK;
    }

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {

        if (strcmp((char *) name->data, lines[i].name) != 0) {
            continue;
        }

        text = (mcp_str_t *) ((char *) redis + lines[i].offset);

        if (text->data) {
            return mcpctl_parse_duplicate(ps);
        }

        *text = *value;

        return MCP_OK;
    }

    return mcpctl_redis_number(ps);
}


/* HOST[:PORT] or unix:/PATH */
static int
mcpctl_redis_server(mcpctl_parser_t *ps)
{
    int64_t          n;
    mcp_str_t       *value, host, port;
    unsigned char   *p, *last;
    mcpctl_redis_t  *redis;

    redis = ps->redis;
    value = mcpctl_word(ps, 1);
    last = value->data + value->len;

    if (redis->host.len || redis->path.len) {
        return mcpctl_parse_duplicate(ps);
    }

    if (value->len > 6 && memcmp(value->data, "unix:/", 6) == 0) {
        redis->path = mcpctl_str(ps->ctl, value->data + 5, value->len - 5);
        return MCP_OK;
    }

    host.data = value->data;

    if (value->len && *value->data == '[') {
        host.data++;
        p = memchr(host.data, ']', value->len - 1);
        host.len = p ? (size_t) (p++ - host.data) : 0;

    } else {
        p = memchr(host.data, ':', value->len);
        p = p ? p : last;
        host.len = (size_t) (p - host.data);
    }

    if (host.len == 0 || (p < last && *p != ':')) {
        return mcpctl_read_error(&ps->rd, "server \"%s\" is neither "
                                 "HOST[:PORT] nor unix:/PATH", value->data);
    }

    redis->host = mcpctl_str(ps->ctl, host.data, host.len);

    if (p == last) {
        return MCP_OK;
    }

    port.data = p + 1;
    port.len = (size_t) (last - port.data);
    n = mcpctl_number(&port);

    if (n < 1 || n > 65535) {
        return mcpctl_read_error(&ps->rd, "invalid port in server \"%s\"",
                                 value->data);
    }

    redis->port = (unsigned) n;

    return MCP_OK;
}


/* database, timeout, connect_timeout, revocation_stale, max_reply */
static int
mcpctl_redis_number(mcpctl_parser_t *ps)
{
    int64_t          n, *to;
    mcp_str_t       *name, *value;
    mcpctl_redis_t  *redis;

    redis = ps->redis;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "database")) {
        n = mcpctl_number(value);

        if (n >= 0 && n <= MCPCTL_REDIS_NUMBER) {
            redis->database = (unsigned) n;
            return MCP_OK;
        }

        goto invalid;
    }

    if (mcpctl_is(name, "max_reply")) {
        to = &redis->max_reply;
        n = mcpctl_size(value);

    } else {
        to = mcpctl_is(name, "timeout") ? &redis->timeout
             : mcpctl_is(name, "connect_timeout") ? &redis->connect_timeout
             : &redis->revocation_stale;
        n = mcpctl_time(value, 0);
    }

    if (*to != -1) {
        return mcpctl_parse_duplicate(ps);
    }

    if (n > 0) {
        *to = n;
        return MCP_OK;
    }

invalid:

    return mcpctl_read_error(&ps->rd, "invalid value \"%s\" of \"%s\"",
                             value->data, name->data);
}


/* When http {} is complete: defaults, and files if they are wanted. */
int
mcpctl_finish_stores(mcpctl_parser_t *ps)
{
    unsigned    i;
    mcp_str_t   secret;

    for (i = 0; ps->files && i < ps->conf->ntoken_keys; i++) {

        if (mcpctl_key_file(ps->ctl, &ps->conf->token_keys[i], &secret)
            != MCPCTL_OK)
        {
            return mcpctl_place_error(ps->ctl, &ps->conf->token_keys_place,
                                      "mcp_token_key cannot be used");
        }

        mcpctl_wipe(secret.data, secret.len);
    }

    return ps->conf->redis ? mcpctl_finish_redis(ps, ps->conf->redis) : MCP_OK;
}


static int
mcpctl_finish_redis(mcpctl_parser_t *ps, mcpctl_redis_t *redis)
{
    mcp_str_t  secret;

    if (redis->prefix.data == NULL) {
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

    if (redis->trusted_certificate.len) {
        redis->trusted_certificate =
            mcpctl_full_name(ps->ctl, &ps->conf->dir,
                             &redis->trusted_certificate);
    }

    if (!ps->files || redis->password.len == 0) {
        return MCP_OK;
    }

    if (mcpctl_secret(ps->ctl, &redis->password, &secret) != MCPCTL_OK) {
        return mcpctl_place_error(ps->ctl, &redis->place,
                                  "mcp_redis has no password");
    }

    mcpctl_wipe(secret.data, secret.len);

    return MCP_OK;
}
