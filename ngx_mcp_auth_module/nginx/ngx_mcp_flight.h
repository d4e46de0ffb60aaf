/*
 * One flight: from a credential that this worker lacks to one that it has.
 * Between ngx_mcp_vault.c, which has what is warm, and ngx_mcp_flight.c.
 */

#ifndef NGX_MCP_FLIGHT_H
#define NGX_MCP_FLIGHT_H


#include "ngx_mcp_vault.h"
#include "ngx_mcp_store.h"


/* What this worker knows about one record. */
typedef struct {
    ngx_mcp_tree_node_t      tree;      /* by name */
    ngx_queue_t              lru;
    ngx_int_t                rc;        /* NGX_OK: token; NGX_DECLINED: to be
                                           granted; NGX_ERROR: not now */
    const char              *reason;
    time_t                   retry;     /* s */
    ngx_str_t                token;
    uint64_t                 version;
    ngx_uint_t               refreshed; /* by this worker */
    time_t                   expires;   /* 0: never */
    time_t                   refresh;   /* then; 0: never */
    time_t                   look;      /* at the store, then */
    time_t                   until;     /* not after that */
    time_t                   used;      /* told the store so, s; 0: not yet */
    ngx_uint_t               failures;
    uint64_t                 lost;      /* version, that was said */
} ngx_mcp_warm_t;


typedef struct ngx_mcp_sweep_s    ngx_mcp_sweep_t;
typedef struct ngx_mcp_endings_s  ngx_mcp_endings_t;


struct ngx_mcp_vault_s {
    ngx_mcp_main_conf_t     *mmcf;
    ngx_log_t               *log;

    ngx_rbtree_t             warm;
    ngx_rbtree_node_t        warm_sentinel;
    ngx_queue_t              lru;               /* newest first */
    ngx_uint_t               n;

    ngx_rbtree_t             flights;
    ngx_rbtree_node_t        flights_sentinel;
    ngx_queue_t              all;
    uint64_t                 serial;            /* of lock owners */
    ngx_event_t              turn;
    ngx_mcp_sweep_t         *sweep;             /* NULL: none */
    ngx_mcp_endings_t       *endings;           /* likewise */
    ngx_uint_t               sweeping;          /* flights of it */
};


typedef struct {
    ngx_mcp_tree_node_t      tree;      /* by name */
    ngx_queue_t              queue;     /* of all */
    ngx_queue_t              waiters;
    ngx_mcp_vault_t         *vault;
    ngx_pool_t              *pool;
    ngx_mcp_credential_t    *cr;
    mcp_vault_owner_t        owner;
    ngx_str_t                subject;           /* exchange: the caller's */
    time_t                   subject_expires;

    ngx_event_t              timer;
    ngx_msec_t               deadline;
    ngx_msec_t               since;             /* the lock was asked for */
    ngx_msec_t               pause;             /* between two looks */
    ngx_mcp_store_call_t    *call;
    ngx_mcp_fetch_t         *fetch;
    ngx_str_t                lock;              /* owner */

    uint64_t                 version;           /* of the record */
    time_t                   first;             /* refresh of this version */
    ngx_str_t                note;              /* as the lock call found it */
    mcp_vault_tokens_t       tokens;
    ngx_mcp_record_t         record;            /* to be written */
    time_t                   keep;
    time_t                   asked;             /* the provider, s */
    uint64_t                 asked_us;

    unsigned                 locked:1;
    unsigned                 lost:1;    /* a refresh of this version began
                                           before, and its outcome is lost */
    unsigned                 due:1;     /* begun because the time had come */
    unsigned                 keepalive:1;       /* by the sweep */
    unsigned                 reread:1;  /* it changed while it was read */
    unsigned                 moved:1;   /* it did while the lock was ours */
    unsigned                 fresh:1;   /* tokens are of this flight */
} ngx_mcp_flight_t;


#define ngx_mcp_flight_name(f)  (f)->tree.digest
#define ngx_mcp_flight_user(f)  ((f)->cr->type == NGX_MCP_CREDENTIAL_USER)


/* ngx_mcp_flight.c */

/* NULL: none under way. */
ngx_mcp_flight_t *ngx_mcp_flight_find(ngx_mcp_vault_t *v, u_char *name);

/* Begins; wakes nobody before it returns.  NULL: cannot be. */
ngx_mcp_flight_t *ngx_mcp_flight_start(ngx_mcp_vault_t *v,
    ngx_mcp_credential_t *cr, const mcp_vault_owner_t *owner, u_char *name,
    ngx_str_t *subject, time_t subject_expires);

/* Somebody else wrote or deleted the record: what is being read is old. */
void ngx_mcp_flight_changed(ngx_mcp_flight_t *f, uint64_t version);

/* How long a request waits for one at most, ms. */
ngx_msec_t ngx_mcp_flight_time(ngx_mcp_credential_t *cr);

void ngx_mcp_flight_end_all(ngx_mcp_vault_t *v);

/* For the two files that follow. */

void ngx_mcp_flight_record(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);

/* What is to be said of the refresh that the lock call noted. */
typedef enum {
    NGX_MCP_NOTE_BACK = 0,              /* what was there before: we did not
                                           ask, or nothing came of it */
    NGX_MCP_NOTE_LEAVE,                 /* as it is */
    NGX_MCP_NOTE_UNKNOWN                /* we asked, and have no answer */
} ngx_mcp_note_e;

/* hold: s that nobody shall ask the provider. */
void ngx_mcp_flight_unlock(ngx_mcp_flight_t *f, ngx_mcp_note_e note,
    time_t hold);

/* Those who wait ask again; f goes on. */
void ngx_mcp_flight_wake(ngx_mcp_flight_t *f);

/* It cannot be had; ends f. */
void ngx_mcp_flight_none(ngx_mcp_flight_t *f, ngx_int_t rc,
    const char *reason, time_t retry);
void ngx_mcp_flight_end(ngx_mcp_flight_t *f);

/* Cleanses it, and makes it empty. */
void ngx_mcp_flight_forget(mcp_str_t *token);


/* ngx_mcp_flight_ask.c: asks the provider; the lock is ours. */
void ngx_mcp_flight_ask(ngx_mcp_flight_t *f);


/* An audit record of a refresh, and its counter.  class 0: it was not asked. */
void ngx_mcp_flight_event(ngx_mcp_flight_t *f, mcp_oauth_class_e class,
    const char *reason);


/* ngx_mcp_flight_write.c */

/* f->tokens into f->record, sealed for the next version. */
ngx_int_t ngx_mcp_flight_seal(ngx_mcp_flight_t *f, const char *state);

/* Writes f->record; ends f. */
void ngx_mcp_flight_write(ngx_mcp_flight_t *f);


/* ngx_mcp_vault_sweep.c */
ngx_int_t ngx_mcp_sweep_init_worker(ngx_mcp_vault_t *v, ngx_cycle_t *cycle);
void ngx_mcp_sweep_exit_worker(ngx_mcp_vault_t *v);


/* ngx_mcp_vault.c */

ngx_uint_t ngx_mcp_warm_valid(ngx_mcp_warm_t *e, time_t now);
ngx_int_t ngx_mcp_warm_put(ngx_mcp_vault_t *v, u_char *name,
    const mcp_vault_tokens_t *t, uint64_t version, ngx_uint_t refreshed);

/* What is good serves on, and nobody asks before `later` s are over.
 * NGX_DECLINED: nothing is good. */
ngx_int_t ngx_mcp_warm_keep(ngx_mcp_vault_t *v, u_char *name, time_t later);

/* It could not be had, for those who wait. */
void ngx_mcp_warm_none(ngx_mcp_vault_t *v, u_char *name, ngx_int_t rc,
    const char *reason, time_t retry);
ngx_uint_t ngx_mcp_warm_failed(ngx_mcp_vault_t *v, u_char *name);

/* 1: it was not said before in this worker that a refresh of this version has
 * no known outcome. */
ngx_uint_t ngx_mcp_warm_lost(ngx_mcp_vault_t *v, u_char *name,
    uint64_t version);


#endif /* NGX_MCP_FLIGHT_H */
