/*
 * What the files of the filter share: the context of one response that is
 * read, and the way from its bytes to the output.
 */

#ifndef NGX_MCP_FILTER_H
#define NGX_MCP_FILTER_H


#include "ngx_mcp_module.h"


/* output that may wait with the header for the document's end */
#define NGX_MCP_HOLD      32768
#define NGX_MCP_OUT_MIN   4096
/* by how much a document may become longer: "private" for another word */
#define NGX_MCP_OUT_MORE  64
/* a larger buffer is given back when it is empty */
#define NGX_MCP_KEEP      65536
/* what a preview has beyond its size, so that a secret at its end is known */
#define NGX_MCP_PREVIEW_AHEAD  256
/* tasks that one response, or stream, may make: one call makes one */
#define NGX_MCP_TASKS     64


typedef enum {
    NGX_MCP_FILTER_JSON = 1,
    NGX_MCP_FILTER_SSE,
    NGX_MCP_FILTER_REPLACE,
    NGX_MCP_FILTER_ENDED
} ngx_mcp_filter_mode_e;


struct ngx_mcp_filter_ctx_s {
    ngx_http_request_t      *request;
    ngx_mcp_ctx_t           *main;
    ngx_mcp_filter_mode_e    mode;

    mcp_list_filter_conf_t   list_conf;
    mcp_list_filter_t        list;
    u_char                  *list_buf;

    /* an event that is not complete yet */
    mcp_sse_t                sse;
    u_char                  *hold;
    size_t                   hold_len;
    size_t                   hold_size;

    /* a document that stood on several data lines */
    u_char                  *copy;
    size_t                   copy_size;

    /* input that waits until the client has taken the output */
    ngx_chain_t             *in;

    /* the output of this call */
    size_t                   expect;    /* bytes its buffer begins with */
    ngx_buf_t               *out;
    ngx_chain_t             *out_link;
    ngx_chain_t             *free;
    ngx_chain_t             *busy;

    ngx_str_t                replace;
    ngx_http_upstream_t     *upstream;  /* NULL: the body is not of one */
    size_t                   input;
    ngx_uint_t               tasks;

    unsigned                 header_held:1;
    unsigned                 unflushed:1;   /* sent, and may rest below us */
    unsigned                 first_event_done:1;
    unsigned                 replaced:1;
    unsigned                 bad_task:1;    /* its owner cannot be noted */
    unsigned                 closed:1;      /* the upstream broke off */
};


/* ngx_mcp_filter.c */
extern ngx_http_output_header_filter_pt  ngx_mcp_next_header_filter;
extern ngx_http_output_body_filter_pt    ngx_mcp_next_body_filter;

/* Status, headers and body of our error in place of what was there. */
ngx_int_t ngx_mcp_replace_prepare(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_uint_t status, ngx_int_t code,
    const char *message, const char *reason);

/* ngx_mcp_cors.c: where ngx_mcp_next_header_filter leads */
ngx_int_t ngx_mcp_cors_filter(ngx_http_request_t *r);
extern ngx_http_output_header_filter_pt  ngx_mcp_cors_next_filter;

/* ngx_mcp_filter_body.c */
ngx_int_t ngx_mcp_body_filter(ngx_http_request_t *r, ngx_chain_t *in);

/* What the document was, for the record: the last answer counts. */
void ngx_mcp_filter_outcome(ngx_mcp_filter_ctx_t *fc);

/* why a document cannot be let through, for the record */
const char *ngx_mcp_filter_reason(ngx_mcp_filter_ctx_t *fc);

/* the callbacks of core/mcp_list_filter; data is the context */
int ngx_mcp_filter_visible(void *data, mcp_list_e list,
    const mcp_str_t *name);
int ngx_mcp_filter_task(void *data, const mcp_str_t *id,
    const mcp_str_t *ttl);
int ngx_mcp_filter_emit(void *data, const unsigned char *p,
    size_t len);
unsigned char *ngx_mcp_filter_grow(void *data, unsigned char *old,
    size_t used, size_t size);

/* old, or a larger buffer that begins with its first used bytes */
u_char *ngx_mcp_filter_room(ngx_mcp_filter_ctx_t *fc, u_char *old,
    size_t used, size_t *size, size_t need);

/* ngx_mcp_filter_sse.c: NGX_DECLINED, the stream cannot be let through */
ngx_int_t ngx_mcp_sse_feed(ngx_mcp_filter_ctx_t *fc, u_char *p,
    size_t len);
ngx_int_t ngx_mcp_sse_error(ngx_mcp_filter_ctx_t *fc);


#endif /* NGX_MCP_FILTER_H */
