/*
 * What stands in for nginx around a fuzzed file of nginx/: the time, a log that
 * is read but not kept, connections that give the bytes of the input.
 *
 * Memory, strings, trees and timers are nginx's own, with each allocation a
 * block of its own (NGX_DEBUG_PALLOC), so that ASan sees what is read too far.
 */

#ifndef NGX_FUZZ_H
#define NGX_FUZZ_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "fuzz.h"


static ngx_log_t          fz_log;
static ngx_cycle_t        fz_cycle;

volatile ngx_cycle_t     *ngx_cycle = &fz_cycle;
volatile ngx_msec_t       ngx_current_msec = 1000;
static ngx_time_t         fz_time = { 1700000000, 0, 0 };
volatile ngx_time_t      *ngx_cached_time = &fz_time;
ngx_queue_t               ngx_posted_events;
ngx_queue_t               ngx_posted_next_events;
ngx_uint_t                ngx_exiting;
ngx_pid_t                 ngx_pid = 1;
ngx_uint_t                ngx_event_flags;


/* The arguments are read, as a log would: a length that is wrong is seen. */

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    u_char   buf[2048];
    va_list  args;

    va_start(args, fmt);
    (void) ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);
}


static inline void
fz_nginx_init(void)
{
    ngx_pagesize = 4096;
    ngx_cacheline_size = 64;
    fz_log.log_level = NGX_LOG_INFO;
    fz_cycle.log = &fz_log;
    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);
    (void) ngx_event_timer_init(&fz_log);
}


#endif /* NGX_FUZZ_H */
