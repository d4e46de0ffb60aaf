/*
 * mcp_connect: the pages on which a person connects accounts, once, in a
 * browser.
 *
 * The configuration of one such location is made when the configuration is
 * read, by ngx_mcp_connect_conf.c, and is read-only at run time.  A request has
 * a context of its own, in its pool; at any time it waits for one thing at
 * most: its body, Redis, a provider, a key set.  ngx_mcp_connect.c has routing,
 * waiting and the end; _session.c who is there; _login.c the sign-in; _grant.c
 * a grant; _list.c what is connected; _store.c what rests in Redis meanwhile;
 * _discover.c the issuer's endpoints; _reply.c what is sent.
 */

#ifndef NGX_MCP_CONNECT_H
#define NGX_MCP_CONNECT_H


#include "ngx_mcp_module.h"
#include "ngx_mcp_ending.h"
#include "ngx_mcp_keys.h"
#include "ngx_mcp_store.h"
#include "mcp_connect.h"
#include "mcp_form.h"


#define NGX_MCP_CONNECT_BODY         8192       /* bytes */
#define NGX_MCP_CONNECT_ARGS         8192       /* bytes of a query */
#define NGX_MCP_CONNECT_SEAL         "connect"  /* field of what is sealed */
#define NGX_MCP_CONNECT_STATE        600        /* s, states and tickets */
#define NGX_MCP_CONNECT_RANDOM       32         /* bytes of a secret */
#define NGX_MCP_CONNECT_RANDOM_TEXT  48         /* room for it in base64url */


/* mcp_connect login=ISSUER [url=URL] */
struct ngx_mcp_connect_s {
    ngx_str_t                  login;   /* name of the issuer */
    ngx_mcp_issuer_t          *issuer;
    ngx_str_t                  url;     /* of the pages; ends in "/" */
    ngx_str_t                  origin;  /* of the url, as browsers write it */
    ngx_str_t                  path;    /* the location; ends in "/" */
    ngx_array_t                credentials; /* ngx_mcp_credential_t *: those
                                               that are connected here */
    ngx_http_core_srv_conf_t  *server;  /* in which it stands */
    ngx_str_t                  conf_file;
    ngx_uint_t                 conf_line;
};


/* Where the login issuer is asked.  Strings are of this worker and stay until
 * the event loop turns. */
typedef struct {
    ngx_mcp_url_t              authorization;
    ngx_mcp_url_t              token;
    ngx_uint_t                 iss;     /* 1: its callbacks have iss */
} ngx_mcp_login_t;


typedef struct ngx_mcp_connect_ctx_s     ngx_mcp_connect_ctx_t;
typedef struct ngx_mcp_connect_secret_s  ngx_mcp_connect_secret_t;

/* What was awaited is there, or was not had. */
typedef void (*ngx_mcp_connect_pt)(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);


struct ngx_mcp_connect_secret_s {
    ngx_mcp_connect_secret_t  *next;
    u_char                    *data;
    size_t                     size;
};


/* What is read and written of a person's record. */
typedef struct {
    mcp_vault_owner_t          owner;
    u_char                     name[MCP_VAULT_NAME];
    mcp_vault_tokens_t         tokens;
    ngx_mcp_record_t           sealed;  /* to be written */
    ngx_str_t                  nobody;  /* has no lock */
    uint64_t                   version;
    ngx_uint_t                 tries;
    ngx_mcp_connect_pt         done;
    ngx_mcp_store_e            rc;      /* of the last call, */
    ngx_mcp_record_t          *found;   /* during the callback alone */
} ngx_mcp_connect_record_t;


struct ngx_mcp_connect_ctx_s {
    ngx_http_request_t        *request;
    ngx_mcp_main_conf_t       *mmcf;
    ngx_mcp_connect_t         *conf;
    ngx_mcp_credential_t      *credential;      /* of the path; NULL: none */
    void                     (*action)(ngx_mcp_connect_ctx_t *cc);

    /* what is awaited */
    ngx_mcp_asking_t           asking;
    ngx_mcp_connect_pt         done;
    ngx_mcp_redis_call_t      *redis;
    ngx_mcp_store_call_t      *store;
    ngx_mcp_fetch_t           *fetch;
    ngx_mcp_ending_call_t     *ending;
    ngx_mcp_keys_waiter_t      waiter;

    ngx_mcp_fetch_result_t    *res;     /* during the callback alone */
    ngx_event_t                timer;

    ngx_str_t                  query;   /* taken out of the request */
    ngx_str_t                  body;    /* of a POST */
    mcp_form_t                 args;    /* or of the query; secret */
    mcp_str_t                  secret;  /* state or ticket that came */
    mcp_str_t                  code;
    mcp_str_t                  browser; /* nonce of its cookie */
    mcp_connect_session_t      session;
    mcp_connect_state_t        state;
    ngx_mcp_connect_record_t   record;
    ngx_str_t                  location;        /* to leave for; secret */
    const char                *reason;  /* of the last refusal; static */
    const char                *method;  /* for the audit, */
    uint64_t                   version; /* of the record that was written, */
    int64_t                    until;   /* its end, and what it is for */
    mcp_str_t                  scope;
    ngx_uint_t                 allow;   /* methods */
    time_t                     retry_after;

    mcp_str_t                  id_token;
    mcp_jwt_t                 *jwt;
    ngx_uint_t                 key_tries;

    void                      *rows;    /* of the list */
    ngx_uint_t                 row;

    mcp_str_t                  text;    /* secret: what Redis had */
    mcp_vault_owner_t          sealed_for;

    ngx_mcp_connect_secret_t  *secrets; /* wiped at the end */
    ngx_str_t                  away;    /* origin to which the form leads */
    unsigned                   leads_away:1;
    unsigned                   stays:1; /* to the end, whether the browser
                                           does or not */
};


/* mcp_connect */
char *ngx_mcp_connect_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* After a location was merged: what cannot go with mcp_connect. */
char *ngx_mcp_connect_location(ngx_conf_t *cf, ngx_mcp_loc_conf_t *prev,
    ngx_mcp_loc_conf_t *conf);

/* When http {} is complete: names, URLs, and what is missing. */
ngx_int_t ngx_mcp_connect_conf_finish(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);


/*
 * ngx_mcp_connect.c
 *
 * enter: in the rewrite phase; NGX_DECLINED or a status.  find: NULL, when the
 * request did not come this way.
 */
ngx_int_t ngx_mcp_connect_enter(ngx_http_request_t *r);
ngx_mcp_connect_ctx_t *ngx_mcp_connect_find(ngx_http_request_t *r);
ngx_int_t ngx_mcp_connect_handler(ngx_http_request_t *r);

/* Something is awaited from now on; then cc->done is called with rc, by an
 * event.  woken: the same, for a waiter. */
void ngx_mcp_connect_wait(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_go(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);
void ngx_mcp_connect_woken(void *data);

/* Ends the request: a status, or what a filter returned. */
void ngx_mcp_connect_end(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc);

/* Memory of the request that is wiped at its end; NULL: there is none. */
u_char *ngx_mcp_connect_secret(ngx_mcp_connect_ctx_t *cc, size_t size);
mcp_mem_t ngx_mcp_connect_mem(ngx_mcp_connect_ctx_t *cc);

/* One record for the audit. */
void ngx_mcp_connect_audit(ngx_mcp_connect_ctx_t *cc, const char *method,
    const char *decision, const char *reason);


/*
 * ngx_mcp_connect_session.c
 *
 * session: NGX_OK, cc->session; NGX_DECLINED, nobody is signed in; NGX_ERROR,
 * nobody knows (said).  age: s, that it may have.
 */
ngx_int_t ngx_mcp_connect_session(ngx_mcp_connect_ctx_t *cc, time_t age);
ngx_int_t ngx_mcp_connect_session_begin(ngx_mcp_connect_ctx_t *cc);
ngx_int_t ngx_mcp_connect_session_end(ngx_mcp_connect_ctx_t *cc);
ngx_int_t ngx_mcp_connect_person(ngx_mcp_connect_ctx_t *cc, mcp_str_t *user,
    int64_t since);

/* cc->browser: of the cookie that came, or of a new one. */
ngx_int_t ngx_mcp_connect_known_browser(ngx_mcp_connect_ctx_t *cc);
ngx_int_t ngx_mcp_connect_browser(ngx_mcp_connect_ctx_t *cc);

/* The token of a form, and whether what came is that. */
ngx_int_t ngx_mcp_connect_csrf(ngx_mcp_connect_ctx_t *cc, const char *action,
    ngx_str_t *name, mcp_str_t *token);
ngx_uint_t ngx_mcp_connect_csrf_good(ngx_mcp_connect_ctx_t *cc,
    const char *action, ngx_str_t *name);

/* cc->args, of the query or of the form. */
ngx_int_t ngx_mcp_connect_args(ngx_mcp_connect_ctx_t *cc);
ngx_uint_t ngx_mcp_connect_is_random(mcp_str_t *text);
ngx_uint_t ngx_mcp_connect_same(mcp_str_t *a, mcp_str_t *b);


/*
 * ngx_mcp_connect_round.c: to a provider and back
 *
 * away: cc->location.  taken: cc->state of what was taken, that it is of this
 * kind and still good; NGX_ERROR: said.  came_back: NULL and *code, or why not;
 * iss: it has to be there.
 */
ngx_int_t ngx_mcp_connect_leave(ngx_mcp_connect_ctx_t *cc,
    mcp_connect_away_t *away);
ngx_int_t ngx_mcp_connect_put_state(ngx_mcp_connect_ctx_t *cc,
    mcp_str_t *secret, ngx_mcp_connect_pt done);
ngx_int_t ngx_mcp_connect_taken(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc,
    mcp_connect_kind_e kind);
const char *ngx_mcp_connect_came_back(ngx_mcp_connect_ctx_t *cc,
    ngx_uint_t iss, mcp_str_t *code);

/* Asks a token endpoint; done has cc->res. */
ngx_int_t ngx_mcp_connect_fetch(ngx_mcp_connect_ctx_t *cc,
    mcp_oauth_request_t *req, const ngx_mcp_fetch_conf_t *conf,
    ngx_mcp_url_t *url, ngx_mcp_connect_pt done);
void ngx_mcp_connect_answer(ngx_mcp_connect_ctx_t *cc,
    const mcp_oauth_provider_t *provider, mcp_oauth_answer_t *a);


/* ngx_mcp_connect_record.c */
void ngx_mcp_connect_owner(ngx_mcp_connect_record_t *rec,
    ngx_mcp_credential_t *cr, mcp_str_t *issuer, mcp_str_t *user);
void ngx_mcp_connect_write(ngx_mcp_connect_ctx_t *cc, ngx_mcp_connect_pt done);


/* the actions: ngx_mcp_connect_login.c, _grant.c, _list.c */
void ngx_mcp_connect_list(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_login(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_callback(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_logout(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_start(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_grant(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_disconnect(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_done(ngx_mcp_connect_ctx_t *cc);


/* ngx_mcp_connect_reply.c: each of these ends the request */
void ngx_mcp_connect_send(ngx_mcp_connect_ctx_t *cc, ngx_uint_t status,
    const char *type, ngx_str_t *body);
void ngx_mcp_connect_see(ngx_mcp_connect_ctx_t *cc, ngx_str_t *url);
void ngx_mcp_connect_see_own(ngx_mcp_connect_ctx_t *cc, const char *path,
    ngx_str_t *name);
void ngx_mcp_connect_see_query(ngx_mcp_connect_ctx_t *cc, const char *path,
    mcp_str_t *to, mcp_str_t *ticket);

/* and these do not; headers: what all answers of the location have */
ngx_int_t ngx_mcp_connect_headers(ngx_http_request_t *r);
ngx_int_t ngx_mcp_connect_own(ngx_mcp_connect_ctx_t *cc, const char *path,
    ngx_str_t *name, ngx_str_t *url);
ngx_int_t ngx_mcp_connect_set_cookie(ngx_mcp_connect_ctx_t *cc,
    const char *name, mcp_str_t *value, ngx_uint_t seconds);
ngx_int_t ngx_mcp_connect_cookie(ngx_http_request_t *r, const char *name,
    mcp_str_t *value);
ngx_int_t ngx_mcp_connect_header(ngx_http_request_t *r, const char *name,
    mcp_str_t *value);


/* ngx_mcp_connect_store.c; kind: "st", "tk" */
ngx_int_t ngx_mcp_connect_random(ngx_mcp_connect_ctx_t *cc, mcp_str_t *text);
ngx_int_t ngx_mcp_connect_put(ngx_mcp_connect_ctx_t *cc, const char *kind,
    mcp_str_t *secret, mcp_str_t *text, ngx_mcp_connect_pt done);
ngx_int_t ngx_mcp_connect_take(ngx_mcp_connect_ctx_t *cc, const char *kind,
    mcp_str_t *secret, ngx_mcp_connect_pt done);
ngx_int_t ngx_mcp_connect_look(ngx_mcp_connect_ctx_t *cc, const char *kind,
    mcp_str_t *secret, ngx_mcp_connect_pt done);


/*
 * ngx_mcp_connect_discover.c
 *   NGX_OK        *login
 *   NGX_AGAIN     w->wake is called once, never before this returns; ask again
 *   NGX_ERROR     cannot be had now
 */
ngx_int_t ngx_mcp_login_get(ngx_mcp_issuer_t *is, ngx_mcp_keys_waiter_t *w,
    ngx_mcp_login_t *login);
void ngx_mcp_login_exit_worker(ngx_mcp_main_conf_t *mmcf);


#endif /* NGX_MCP_CONNECT_H */
