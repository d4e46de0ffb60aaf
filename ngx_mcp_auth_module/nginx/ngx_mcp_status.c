/*
 * mcp_status: what the gateway counted, for Prometheus (text format 0.0.4).
 *
 * A content handler of its own location, which the operator guards like any
 * other (allow, deny).  Everything is read from the zone, so that any worker
 * answers for all.  No user, client, tool or token is in it: names come from
 * the configuration, everything else is a number.
 */

#include "ngx_mcp_module.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_stream.h"
#include "ngx_mcp_token.h"
#include "ngx_mcp_compat.h"


#define NGX_MCP_STATUS_LINE    160
#define NGX_MCP_STATUS_FIXED   13312
#define NGX_MCP_STATUS_NAMES   (2 * 64)


typedef struct {
    ngx_http_request_t      *request;
    ngx_mcp_main_conf_t     *mmcf;
    u_char                  *pos;
    u_char                  *last;
} ngx_mcp_status_t;


static ngx_int_t ngx_mcp_status_handler(ngx_http_request_t *r);
static size_t ngx_mcp_status_size(ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_status_requests(ngx_mcp_status_t *st);
static void ngx_mcp_status_histogram(ngx_mcp_status_t *st,
    ngx_mcp_stats_t *stats);
static void ngx_mcp_status_keys(ngx_mcp_status_t *st);
static void ngx_mcp_status_tokens(ngx_mcp_status_t *st);
static void ngx_mcp_status_rest(ngx_mcp_status_t *st);
static void ngx_mcp_status_revocations(ngx_mcp_status_t *st);
static void ngx_mcp_status_credentials(ngx_mcp_status_t *st);
static void ngx_mcp_status_connects(ngx_mcp_status_t *st);
static void ngx_mcp_status_head(ngx_mcp_status_t *st, const char *name,
    const char *type, const char *help);
static void ngx_mcp_status_put(ngx_mcp_status_t *st, const char *fmt, ...);
static ngx_int_t ngx_mcp_status_send(ngx_http_request_t *r, u_char *start,
    u_char *last);


char *
ngx_mcp_status_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t       *mmcf;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot share its location with another handler";
    }

    clcf->handler = ngx_mcp_status_handler;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);
    mmcf->used = 1;

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_mcp_status_here(ngx_http_core_loc_conf_t *clcf)
{
    return clcf->handler == ngx_mcp_status_handler;
}


static ngx_int_t
ngx_mcp_status_handler(ngx_http_request_t *r)
{
    size_t             size;
    u_char            *start;
    ngx_int_t          rc;
    ngx_mcp_status_t   st;

    if (r->method != NGX_HTTP_GET && r->method != NGX_HTTP_HEAD) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    st.request = r;
    st.mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    size = ngx_mcp_status_size(st.mmcf);

    start = ngx_palloc(r->pool, size);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    st.pos = start;
    st.last = start + size;

    ngx_mcp_status_requests(&st);
    ngx_mcp_status_keys(&st);
    ngx_mcp_status_tokens(&st);
    ngx_mcp_status_rest(&st);
    ngx_mcp_status_revocations(&st);
    ngx_mcp_status_credentials(&st);
    ngx_mcp_status_connects(&st);

    return ngx_mcp_status_send(r, start, st.pos);
}


/* Enough for all servers and issuers with everything that they can count. */
static size_t
ngx_mcp_status_size(ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t  lines;

    lines = NGX_MCP_STATS_SERVERS
            * (NGX_MCP_STATS_ROWS + NGX_MCP_STATS_BUCKETS + 2)
            + 4 * mmcf->issuers.nelts
            + NGX_MCP_STATS_STEPS * NGX_MCP_STATS_DECISIONS + 2
            + (NGX_MCP_STATS_STATES + 2 * NGX_MCP_STATS_CLASSES + 1)
              * mmcf->credentials.nelts;

    return NGX_MCP_STATUS_FIXED
           + lines * (NGX_MCP_STATUS_LINE + NGX_MCP_STATUS_NAMES);
}


static void
ngx_mcp_status_requests(ngx_mcp_status_t *st)
{
    const char       *decision, *reason;
    ngx_str_t         name;
    ngx_uint_t        i, n;
    ngx_mcp_stats_t  *all;

    all = ngx_mcp_zone_counters(st->mmcf->zone)->servers;

    ngx_mcp_status_head(st, "requests_total", "counter",
                        "Requests to protected locations, as on record.");

    for (i = 0; i < NGX_MCP_STATS_SERVERS && all[i].len; i++) {
        name.data = all[i].name;
        name.len = all[i].len;

        for (n = 0; n < NGX_MCP_STATS_ROWS; n++) {
            if (all[i].rows[n].count == 0) {
                continue;
            }

            ngx_mcp_stats_row(&all[i].rows[n], &decision, &reason);

            ngx_mcp_status_put(st, "mcp_auth_requests_total{server=\"%V\","
                               "decision=\"%s\",reason=\"%s\"} %uA\n", &name,
                               decision, reason, all[i].rows[n].count);
        }
    }

    ngx_mcp_status_head(st, "work_seconds", "histogram",
                        "The gateway's own work to authenticate and authorise "
                        "a request.");

    for (i = 0; i < NGX_MCP_STATS_SERVERS && all[i].len; i++) {
        ngx_mcp_status_histogram(st, &all[i]);
    }
}


static void
ngx_mcp_status_histogram(ngx_mcp_status_t *st, ngx_mcp_stats_t *stats)
{
    int64_t            us;
    ngx_str_t          name;
    ngx_uint_t         i;
    ngx_atomic_uint_t  count, sum;

    name.data = stats->name;
    name.len = stats->len;

    count = 0;

    for (i = 0; i < NGX_MCP_STATS_BUCKETS - 1; i++) {
        us = ngx_mcp_stats_bounds[i];
        count += stats->buckets[i];

        ngx_mcp_status_put(st, "mcp_auth_work_seconds_bucket{server=\"%V\","
                           "le=\"0.%06L\"} %uA\n", &name, us, count);
    }

    count += stats->buckets[i];
    sum = stats->us;

    ngx_mcp_status_put(st, "mcp_auth_work_seconds_bucket{server=\"%V\","
                       "le=\"+Inf\"} %uA\n"
                       "mcp_auth_work_seconds_sum{server=\"%V\"} %uA.%06uA\n"
                       "mcp_auth_work_seconds_count{server=\"%V\"} %uA\n",
                       &name, count, &name, sum / 1000000, sum % 1000000,
                       &name, count);
}


static void
ngx_mcp_status_keys(ngx_mcp_status_t *st)
{
    ngx_uint_t            i, n;
    ngx_mcp_issuer_t    **isp;
    ngx_mcp_zone_keys_t   state;

    static const struct {
        const char  *name;
        const char  *help;
    } gauges[] = {
        { "key_set_age_seconds", "Seconds since the key set was fetched." },
        { "key_set_failures", "Fetches that failed since the last success." }
    };

    isp = st->mmcf->issuers.elts;

    for (n = 0; n < 2; n++) {
        ngx_mcp_status_head(st, gauges[n].name, "gauge", gauges[n].help);

        for (i = 0; i < st->mmcf->issuers.nelts; i++) {

            if (isp[i]->jwks_file.len
                || ngx_mcp_zone_keys_get(st->mmcf->zone, isp[i]->zone_name, 0,
                                         &state, NULL)
                   != NGX_OK)
            {
                continue;
            }

            /* never fetched: no age, which an alert sees by its absence */

            if (n == 0 && state.generation == 0) {
                continue;
            }

            ngx_mcp_status_put(st, "mcp_auth_%s{issuer=\"%V\"} %L\n",
                               gauges[n].name, &isp[i]->name,
                               n ? (int64_t) state.failures
                                 : (int64_t) (ngx_time() - state.fetched));
        }
    }
}


static void
ngx_mcp_status_tokens(ngx_mcp_status_t *st)
{
    ngx_mcp_counters_t  *c;

    if (st->mmcf->tokens == NULL) {
        return;
    }

    c = ngx_mcp_zone_counters(st->mmcf->zone);

    ngx_mcp_status_head(st, "own_tokens_total", "counter",
                        "Own tokens that were looked up, not being in a "
                        "cache.");
    ngx_mcp_status_put(st,
        "mcp_auth_own_tokens_total{result=\"accepted\"} %uA\n"
        "mcp_auth_own_tokens_total{result=\"refused\"} %uA\n"
        "mcp_auth_own_tokens_total{result=\"limited\"} %uA\n",
        c->tokens_accepted, c->tokens_refused, c->tokens_limited);

    if (!ngx_mcp_token_has_file(st->mmcf)) {
        return;
    }

    ngx_mcp_status_head(st, "token_records", "gauge",
                        "Records of mcp_token_file that are in force.");
    ngx_mcp_status_put(st, "mcp_auth_token_records %uA\n", c->token_records);

    ngx_mcp_status_head(st, "token_file_age_seconds", "gauge",
                        "Since what is in force of mcp_token_file was "
                        "written.");
    ngx_mcp_status_put(st, "mcp_auth_token_file_age_seconds %T\n",
                       ngx_max(ngx_time() - (time_t) c->token_file_time, 0));

    ngx_mcp_status_head(st, "token_file_failed", "gauge",
                        "1 while mcp_token_file has what cannot be used.");
    ngx_mcp_status_put(st, "mcp_auth_token_file_failed %uA\n",
                       c->token_file_failed);
}


static void
ngx_mcp_status_rest(ngx_mcp_status_t *st)
{
    ngx_mcp_counters_t  *c;

    c = ngx_mcp_zone_counters(st->mmcf->zone);

    ngx_mcp_status_head(st, "token_cache_lookups_total", "counter",
                        "Look-ups of verified tokens.");
    ngx_mcp_status_put(st,
        "mcp_auth_token_cache_lookups_total{result=\"worker\"} %uA\n"
        "mcp_auth_token_cache_lookups_total{result=\"zone\"} %uA\n"
        "mcp_auth_token_cache_lookups_total{result=\"miss\"} %uA\n",
        c->cache_hits_worker, c->cache_hits_zone, c->cache_misses);

    ngx_mcp_status_head(st, "key_fetches_total", "counter",
                        "Fetches of key sets that were begun.");
    ngx_mcp_status_put(st, "mcp_auth_key_fetches_total %uA\n",
                       c->key_fetches);

    ngx_mcp_status_head(st, "key_fetch_failures_total", "counter",
                        "Fetches of key sets that failed.");
    ngx_mcp_status_put(st, "mcp_auth_key_fetch_failures_total %uA\n",
                       c->key_failures);

    ngx_mcp_status_head(st, "audit_records_total", "counter",
                        "Audit records, by what became of them.");
    ngx_mcp_status_put(st,
        "mcp_auth_audit_records_total{result=\"written\"} %uA\n"
        "mcp_auth_audit_records_total{result=\"failed\"} %uA\n",
        c->audit_written, c->audit_failed);

    ngx_mcp_status_head(st, "open_streams", "gauge",
                        "Event streams that are open.");
    ngx_mcp_status_put(st, "mcp_auth_open_streams %ui\n",
                       ngx_mcp_stream_count(st->mmcf->zone));

    ngx_mcp_status_head(st, "zone_free_bytes", "gauge",
                        "Whole pages of mcp_zone that are free.");
    ngx_mcp_status_put(st, "mcp_auth_zone_free_bytes %uz\n",
                       ngx_mcp_zone_free(st->mmcf->zone));

    ngx_mcp_status_head(st, "build_info", "gauge", "Always 1.");
    ngx_mcp_status_put(st, "mcp_auth_build_info{version=\"%s\",nginx=\"%s\"} "
                       "1\n", NGX_MCP_VERSION, NGINX_VERSION);
}


/* Nothing when nothing is configured that could revoke. */
static void
ngx_mcp_status_revocations(ngx_mcp_status_t *st)
{
    ngx_mcp_revoke_status_t  rv;

    if (ngx_mcp_revoke_status(st->mmcf, &rv) != NGX_OK) {
        return;
    }

    ngx_mcp_status_head(st, "revocations", "gauge",
                        "Entries in the table of revocations.");
    ngx_mcp_status_put(st,
        "mcp_auth_revocations{store=\"file\"} %ui\n"
        "mcp_auth_revocations{store=\"redis\"} %ui\n", rv.file, rv.redis);

    ngx_mcp_status_head(st, "revocations_ready", "gauge",
                        "0: it is not known who is revoked, requests get 503.");
    ngx_mcp_status_put(st, "mcp_auth_revocations_ready %ui\n", rv.ready);

    ngx_mcp_status_head(st, "revocation_file_broken", "gauge",
                        "1: the file cannot be taken, its old content is in "
                        "force.");
    ngx_mcp_status_put(st, "mcp_auth_revocation_file_broken %ui\n",
                       rv.broken);

    if (rv.has_age) {
        ngx_mcp_status_head(st, "revocations_age_seconds", "gauge",
                            "Seconds since Redis confirmed the table.");
        ngx_mcp_status_put(st, "mcp_auth_revocations_age_seconds %M.%03M\n",
                           rv.age / 1000, rv.age % 1000);
    }

    ngx_mcp_status_head(st, "revocation_changes_total", "counter",
                        "Revocations that came into force or were lifted.");
    ngx_mcp_status_put(st,
        "mcp_auth_revocation_changes_total{change=\"applied\"} %ui\n"
        "mcp_auth_revocation_changes_total{change=\"lifted\"} %ui\n",
        rv.applied, rv.lifted);

    ngx_mcp_status_head(st, "revocation_refusals_total", "counter",
                        "Requests of the revoked, refused.");
    ngx_mcp_status_put(st, "mcp_auth_revocation_refusals_total %ui\n",
                       rv.refused);

    ngx_mcp_status_head(st, "revocation_streams_cut_total", "counter",
                        "Event streams cut because of revocations.");
    ngx_mcp_status_put(st, "mcp_auth_revocation_streams_cut_total %ui\n",
                       rv.cut);

    ngx_mcp_status_head(st, "revocation_zone_free_bytes", "gauge",
                        "Whole pages of mcp_revocation_zone that are free.");
    ngx_mcp_status_put(st, "mcp_auth_revocation_zone_free_bytes %uz\n",
                       rv.free);
}


/* Of those that are fetched. */
static void
ngx_mcp_status_credentials(ngx_mcp_status_t *st)
{
    ngx_uint_t                    i, j;
    ngx_atomic_uint_t             expires;
    ngx_mcp_credential_t        **crp;
    ngx_mcp_stats_credential_t   *s;

    static const char  *states[] = { "active", "reauth", "unknown" };

    if (!st->mmcf->fetched_credentials) {
        return;
    }

    crp = st->mmcf->credentials.elts;

    ngx_mcp_status_head(st, "credentials", "gauge",
                        "Records of downstream credentials, by state.");

    for (i = 0; i < st->mmcf->credentials.nelts; i++) {
        s = crp[i]->stats;

        for (j = 0; s && j < NGX_MCP_STATS_STATES; j++) {
            ngx_mcp_status_put(st, "mcp_auth_credentials{credential=\"%V\","
                               "state=\"%s\"} %uA\n", &crp[i]->name,
                               states[j], s->states[j]);
        }
    }

    ngx_mcp_status_head(st, "credential_refreshes_total", "counter",
                        "Requests to token endpoints, by what came of them.");

    for (i = 0; i < st->mmcf->credentials.nelts; i++) {
        s = crp[i]->stats;

        for (j = 0; s && j < NGX_MCP_STATS_CLASSES; j++) {
            ngx_mcp_status_put(st, "mcp_auth_credential_refreshes_total{"
                               "credential=\"%V\",result=\"%s\"} %uA\n",
                               &crp[i]->name,
                               mcp_oauth_class_name(j + MCP_OAUTH_OK),
                               s->asked[j]);
        }
    }

    ngx_mcp_status_head(st, "credential_revocations_total", "counter",
                        "Requests to revocation endpoints of providers, by "
                        "what came of them.");

    for (i = 0; i < st->mmcf->credentials.nelts; i++) {
        s = (crp[i]->type == NGX_MCP_CREDENTIAL_USER) ? crp[i]->stats : NULL;

        for (j = 0; s && j < NGX_MCP_STATS_CLASSES; j++) {
            ngx_mcp_status_put(st, "mcp_auth_credential_revocations_total{"
                               "credential=\"%V\",result=\"%s\"} %uA\n",
                               &crp[i]->name,
                               mcp_oauth_class_name(j + MCP_OAUTH_OK),
                               s->revoked[j]);
        }
    }

    ngx_mcp_status_head(st, "credential_revocations_waiting", "gauge",
                        "Grants that ended, and whose provider was not told "
                        "yet.");
    ngx_mcp_status_put(st, "mcp_auth_credential_revocations_waiting %uA\n",
                       ngx_mcp_zone_counters(st->mmcf->zone)->endings);

    ngx_mcp_status_head(st, "credential_expiry_seconds", "gauge",
                        "Seconds to the end of the token that ends next.");

    for (i = 0; i < st->mmcf->credentials.nelts; i++) {
        s = crp[i]->stats;
        expires = s ? s->expires : 0;

        if ((time_t) expires > ngx_time()) {
            ngx_mcp_status_put(st, "mcp_auth_credential_expiry_seconds{"
                               "credential=\"%V\"} %T\n", &crp[i]->name,
                               (time_t) expires - ngx_time());
        }
    }
}


static void
ngx_mcp_status_connects(ngx_mcp_status_t *st)
{
    ngx_uint_t           i, j;
    ngx_mcp_counters_t  *c;

    if (st->mmcf->connects.nelts == 0) {
        return;
    }

    c = ngx_mcp_zone_counters(st->mmcf->zone);

    ngx_mcp_status_head(st, "connect_steps_total", "counter",
                        "Steps on the pages where accounts are connected, by "
                        "what became of them.");

    for (i = 0; i < NGX_MCP_STATS_STEPS; i++) {
        for (j = 0; j < NGX_MCP_STATS_DECISIONS; j++) {
            ngx_mcp_status_put(st, "mcp_auth_connect_steps_total{step=\"%s\","
                               "decision=\"%s\"} %uA\n",
                               ngx_mcp_stats_steps[i],
                               ngx_mcp_stats_decisions[j], c->connects[i][j]);
        }
    }
}


static void
ngx_mcp_status_head(ngx_mcp_status_t *st, const char *name, const char *type,
    const char *help)
{
    ngx_mcp_status_put(st, "# HELP mcp_auth_%s %s\n# TYPE mcp_auth_%s %s\n",
                       name, help, name, type);
}


static void
ngx_mcp_status_put(ngx_mcp_status_t *st, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    st->pos = ngx_vslprintf(st->pos, st->last, fmt, args);
    va_end(args);
}


static ngx_int_t
ngx_mcp_status_send(ngx_http_request_t *r, u_char *start, u_char *last)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t       out;
    ngx_table_elt_t  *h;

    b = ngx_calloc_buf(r->pool);
    h = ngx_list_push(&r->headers_out.headers);

    if (b == NULL || h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    h->hash = 1;
    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "no-store");
    h->lowcase_key = NULL;
    ngx_mcp_header_end(h);

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = last - start;
    ngx_str_set(&r->headers_out.content_type, "text/plain; version=0.0.4");
    r->headers_out.content_type_len = sizeof("text/plain") - 1;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->pos = start;
    b->last = last;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
