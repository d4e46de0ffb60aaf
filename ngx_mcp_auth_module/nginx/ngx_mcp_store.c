/*
 * The store of records: which one, and the one in the zone.
 *
 * In the zone a record is a value among the verified tokens, least recently
 * used first to go: without Redis there are only records that can be had again
 * (client credentials, exchanges).  It holds sealed tokens, and a worker that
 * cannot open one (the key is another after a reload) gets a new one.  The lock
 * is a place in a small table of the zone.  An answer comes with an event of
 * its own, so that callers see no difference.
 */

#include "ngx_mcp_store.h"
#include "ngx_mcp_store_redis.h"


#define NGX_MCP_STORE_VALUE  16384      /* bytes of a record in the zone */


struct ngx_mcp_store_call_s {
    ngx_event_t              event;
    ngx_mcp_store_pt         done;
    void                    *data;
    ngx_mcp_store_e          rc;
    ngx_mcp_record_t         record;
    ngx_mcp_redis_call_t    *redis;
    size_t                   len;
    u_char                   buf[1];
};


static ngx_mcp_store_call_t *ngx_mcp_store_zone_read(
    ngx_mcp_main_conf_t *mmcf, u_char *name);
static void ngx_mcp_store_key(u_char *name, u_char *key);
static ngx_int_t ngx_mcp_store_later(ngx_mcp_store_call_t *sc,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call);
static void ngx_mcp_store_event(ngx_event_t *ev);


ngx_int_t
ngx_mcp_store_read(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call)
{
    ngx_mcp_store_call_t  *sc;

    if (mmcf->redis) {
        return ngx_mcp_store_redis_read(mmcf, name, done, data, call);
    }

    sc = ngx_mcp_store_zone_read(mmcf, name);
    if (sc == NULL) {
        return NGX_ERROR;
    }

    return ngx_mcp_store_later(sc, done, data, call);
}


ngx_int_t
ngx_mcp_store_lock(ngx_mcp_main_conf_t *mmcf, u_char *name, ngx_str_t *owner,
    ngx_msec_t ttl, ngx_uint_t note, ngx_mcp_store_pt done, void *data,
    ngx_mcp_store_call_t **call)
{
    ngx_mcp_store_call_t  *sc;

    if (mmcf->redis) {
        return ngx_mcp_store_redis_lock(mmcf, name, owner, ttl, note, done,
                                        data, call);
    }

    sc = ngx_mcp_store_zone_read(mmcf, name);
    if (sc == NULL) {
        return NGX_ERROR;
    }

    if (ngx_mcp_zone_lock_take(mmcf->zone, name, ttl, &sc->record.hold)
        != NGX_OK)
    {
        sc->rc = NGX_MCP_STORE_HELD;

    } else if (sc->rc == NGX_MCP_STORE_NONE) {

        /* version 0: to be written as the first one */

        sc->rc = NGX_MCP_STORE_OK;
    }

    return ngx_mcp_store_later(sc, done, data, call);
}


ngx_int_t
ngx_mcp_store_write(ngx_mcp_main_conf_t *mmcf, u_char *name, ngx_str_t *owner,
    uint64_t version, ngx_mcp_record_t *record, time_t keep,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call)
{
    u_char                *p, key[NGX_MCP_DIGEST];
    ngx_mcp_store_call_t  *sc;

    if (mmcf->redis) {
        return ngx_mcp_store_redis_write(mmcf, name, owner, version, record,
                                         keep, done, data, call);
    }

    sc = ngx_mcp_store_zone_read(mmcf, name);
    if (sc == NULL) {
        return NGX_ERROR;
    }

    if (sc->rc == NGX_MCP_STORE_OK && sc->record.version != version) {
        sc->rc = NGX_MCP_STORE_CONFLICT;
        return ngx_mcp_store_later(sc, done, data, call);
    }

    /* one that is too large, or finds no room, is this worker's alone */

    if (record->tokens.len + 16 <= NGX_MCP_STORE_VALUE) {
        version++;

        p = ngx_cpymem(sc->buf, &version, 8);
        p = ngx_cpymem(p, &record->expires, sizeof(time_t));
        p = ngx_cpymem(p, record->tokens.data, record->tokens.len);

        ngx_mcp_store_key(name, key);

        (void) ngx_mcp_zone_token_put(mmcf->zone, key, ngx_time() + keep, 0,
                                      sc->buf, p - sc->buf);
    }

    ngx_mcp_zone_lock_give(mmcf->zone, name, 0);

    sc->rc = NGX_MCP_STORE_OK;

    return ngx_mcp_store_later(sc, done, data, call);
}


void
ngx_mcp_store_unlock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_str_t *note, ngx_msec_t hold)
{
    if (mmcf->redis) {
        ngx_mcp_store_redis_unlock(mmcf, name, owner, note, hold);
        return;
    }

    ngx_mcp_zone_lock_give(mmcf->zone, name, hold);
}


void
ngx_mcp_store_used(ngx_mcp_main_conf_t *mmcf, u_char *name, time_t now)
{
    if (mmcf->redis) {
        ngx_mcp_store_redis_used(mmcf, name, now);
    }
}


void
ngx_mcp_store_cancel(ngx_mcp_store_call_t *sc)
{
    if (sc->redis) {
        ngx_mcp_redis_cancel(sc->redis);
    }

    if (sc->event.timer_set) {
        ngx_del_timer(&sc->event);
    }

    ngx_explicit_memzero(sc->buf, sc->len);
    ngx_free(sc);
}


/* For the store in Redis, which answers by ngx_mcp_store_answer(). */
ngx_mcp_store_call_t *
ngx_mcp_store_call(ngx_mcp_store_pt done, void *data)
{
    ngx_mcp_store_call_t  *sc;

    sc = ngx_calloc(sizeof(ngx_mcp_store_call_t), ngx_cycle->log);
    if (sc == NULL) {
        return NULL;
    }

    sc->done = done;
    sc->data = data;

    return sc;
}


ngx_mcp_redis_call_t **
ngx_mcp_store_redis_call(ngx_mcp_store_call_t *sc)
{
    return &sc->redis;
}


/* The end of a call: it is freed before done runs, which may start others. */
void
ngx_mcp_store_answer(ngx_mcp_store_call_t *sc, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    void              *data;
    ngx_mcp_store_pt   done;

    done = sc->done;
    data = sc->data;

    ngx_free(sc);

    done(data, rc, record);
}


static ngx_mcp_store_call_t *
ngx_mcp_store_zone_read(ngx_mcp_main_conf_t *mmcf, u_char *name)
{
    time_t                 expires;
    ssize_t                len;
    u_char                 key[NGX_MCP_DIGEST];
    uint64_t               generation;
    ngx_mcp_store_call_t  *sc;

    sc = ngx_calloc(sizeof(ngx_mcp_store_call_t) + NGX_MCP_STORE_VALUE,
                    ngx_cycle->log);
    if (sc == NULL) {
        return NULL;
    }

    sc->len = NGX_MCP_STORE_VALUE;

    ngx_mcp_store_key(name, key);

    len = ngx_mcp_zone_token_get(mmcf->zone, key, ngx_time(), sc->buf,
                                 NGX_MCP_STORE_VALUE, &expires, &generation);

    if (len < (ssize_t) (8 + sizeof(time_t))) {
        sc->rc = NGX_MCP_STORE_NONE;
        return sc;
    }

    sc->rc = NGX_MCP_STORE_OK;

    ngx_memcpy(&sc->record.version, sc->buf, 8);
    ngx_memcpy(&sc->record.expires, sc->buf + 8, sizeof(time_t));

    sc->record.tokens.data = sc->buf + 8 + sizeof(time_t);
    sc->record.tokens.len = len - 8 - sizeof(time_t);
    ngx_str_set(&sc->record.state, "active");

    return sc;
}


/* No token's key: those are digests, not digits. */
static void
ngx_mcp_store_key(u_char *name, u_char *key)
{
    ngx_memcpy(key, name, NGX_MCP_DIGEST);
}


static ngx_int_t
ngx_mcp_store_later(ngx_mcp_store_call_t *sc, ngx_mcp_store_pt done,
    void *data, ngx_mcp_store_call_t **call)
{
    sc->done = done;
    sc->data = data;

    sc->event.handler = ngx_mcp_store_event;
    sc->event.data = sc;
    sc->event.log = ngx_cycle->log;

    ngx_add_timer(&sc->event, 0);

    *call = sc;

    return NGX_AGAIN;
}


static void
ngx_mcp_store_event(ngx_event_t *ev)
{
    ngx_mcp_store_call_t *sc = ev->data;

    sc->done(sc->data, sc->rc,
             sc->rc == NGX_MCP_STORE_NONE ? NULL : &sc->record);

    ngx_explicit_memzero(sc->buf, sc->len);
    ngx_free(sc);
}
