/*
 * The secrets of the configuration.
 *
 * A secret is read once, when the configuration is: by the master, from its
 * environment or from a file.  It is never logged and never part of an error;
 * what is logged is where it should have come from.
 */

#include "ngx_mcp_conf.h"

#include <openssl/sha.h>


static ngx_int_t ngx_mcp_secret_of(ngx_conf_t *cf, ngx_str_t *ref,
    ngx_str_t *out);


/* Text with ${env:NAME} and ${file:PATH} -> the secret; never logged. */
char *
ngx_mcp_conf_secret(ngx_conf_t *cf, ngx_str_t *text, ngx_str_t *out)
{
    u_char     *p, *last, *end, *dst;
    size_t      size, i;
    ngx_str_t   ref, part;

    size = 16384;
    dst = ngx_pnalloc(cf->pool, size);
    if (dst == NULL) {
        return NGX_CONF_ERROR;
    }

    out->data = dst;
    out->len = 0;

    p = text->data;
    last = p + text->len;

    while (p < last) {
        part.data = p;
        part.len = 1;

        if (last - p > 2 && p[0] == '$' && p[1] == '{') {
            end = ngx_strlchr(p, last, '}');
            if (end == NULL) {
                return ngx_mcp_conf_error(cf, "\"${\" is not closed");
            }

            ref.data = p + 2;
            ref.len = end - ref.data;

            if (ngx_mcp_secret_of(cf, &ref, &part) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            p = end;
        }

        p++;

        if (out->len + part.len > size) {
            return ngx_mcp_conf_error(cf, "the value is longer than 16k");
        }

        ngx_memcpy(out->data + out->len, part.data, part.len);
        out->len += part.len;
    }

    for (i = 0; i < out->len; i++) {
        if (out->data[i] < 0x20 || out->data[i] == 0x7f) {
            return ngx_mcp_conf_error(cf, "the value has a control "
                                      "character and cannot be a header");
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mcp_secret_of(ngx_conf_t *cf, ngx_str_t *ref, ngx_str_t *out)
{
    char       *env;
    u_char     *name;
    ssize_t     n;
    ngx_str_t   path;
    ngx_file_t  file;

    if (ref->len > 4 && ngx_strncmp(ref->data, "env:", 4) == 0) {
        name = ngx_pnalloc(cf->pool, ref->len - 3);
        if (name == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(name, ref->data + 4, ref->len - 3);

        env = getenv((char *) name); /* lint: getenv, only while starting */

        if (env == NULL || *env == '\0') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "environment variable \"%s\" is not set",
                               name);
            return NGX_ERROR;
        }

        out->data = (u_char *) env;
        out->len = ngx_strlen(env);

        return NGX_OK;
    }

    if (ref->len <= 5 || ngx_strncmp(ref->data, "file:", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"${%V}\" is neither ${env:NAME} nor "
                           "${file:PATH}", ref);
        return NGX_ERROR;
    }

    path.len = ref->len - 5;
    path.data = ngx_pnalloc(cf->pool, path.len + 1);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(path.data, ref->data + 5, path.len + 1);

    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));
    file.name = path;
    file.log = cf->log;

    file.fd = ngx_open_file(path.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot read secret file \"%V\"", &path);
        return NGX_ERROR;
    }

    out->data = ngx_pnalloc(cf->pool, 16385);
    n = out->data ? ngx_read_file(&file, out->data, 16385, 0) : NGX_ERROR;

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR || n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot read secret file \"%V\"", &path);
        return NGX_ERROR;
    }

    /* one line end, as editors and `echo` leave it */

    if (n > 0 && out->data[n - 1] == LF) {
        n--;
    }

    if (n > 0 && out->data[n - 1] == CR) {
        n--;
    }

    if (n == 0 || n > 16384) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "secret file \"%V\" is empty or longer than 16k",
                           &path);
        return NGX_ERROR;
    }

    out->len = n;

    return NGX_OK;
}


/* mcp_audit_key PATH: the key of the record's digests, at least 32 bytes */
char *
ngx_mcp_conf_audit_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t  *value, secret;

    if (mmcf->audit_key_set) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_mcp_conf_key_file(cf, &value[1], &secret) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    SHA256(secret.data, secret.len, mmcf->audit_key);
    mmcf->audit_key_set = 1;

    return NGX_CONF_OK;
}


/* What the file at path has: a key of at least 32 bytes. */
ngx_int_t
ngx_mcp_conf_key_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *secret)
{
    ngx_str_t  ref;

    ref.len = path->len + 5;
    ref.data = ngx_pnalloc(cf->pool, ref.len);
    if (ref.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(ref.data, "file:", 5), path->data, path->len);

    if (ngx_mcp_secret_of(cf, &ref, secret) != NGX_OK) {
        return NGX_ERROR;
    }

    if (secret->len < MCP_DIGEST_KEY) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "the key in \"%V\" is "
                           "shorter than %d bytes", path, MCP_DIGEST_KEY);
        return NGX_ERROR;
    }

    return NGX_OK;
}
