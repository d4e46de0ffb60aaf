/*
 * What the parts of the list filter share: mcp_list_filter.c reads events and
 * decides, mcp_list_keys.c knows member names, mcp_list_output.c lets bytes go,
 * holds them or cuts them.
 */

#ifndef MCP_LIST_PRIVATE_H
#define MCP_LIST_PRIVATE_H


#include "mcp_list_filter.h"


/* between a key and the end of its value, for an id to be kept */
#define MCP_LIST_MAX_ID_SPAN  512

#define mcp_list_private      "\"private\""


/* where */
enum {
    in_root = 0,
    in_batch,
    in_message,
    in_result,
    in_inner,           /* the result in a result, or in params */
    in_meta,            /* result._meta */
    in_error,
    in_task,            /* result.task */
    in_params,
    in_requests,        /* inputRequests */
    in_request,
    in_request_params,
    in_data,            /* error.data */
    in_elicitations,
    in_elicitation,
    in_list,            /* from here on held until decided */
    in_entry,
    in_info,            /* serverInfo, of result or of its _meta */
    in_icons,
    in_icon
};


/* around: containers that stand in more than one other */
enum {
    around_inner = 0,
    around_error,
    around_requests,
    around_info,
    around_icons
};


/* key: what the value to come is */
enum {
    key_other = 0,
    key_id,
    key_result,
    key_error,
    key_inner,
    key_list,
    key_cache_scope,
    key_is_error,
    key_result_type,
    key_code,
    key_method,
    key_params,
    key_task,
    key_task_id,
    key_ttl,
    key_requests,
    key_request,
    key_data,
    key_elicitations,
    key_url,
    key_meta,
    key_info,
    key_icons,
    key_src,
    key_name
};


/* members */
#define MEMBER_ID      0x01
#define MEMBER_METHOD  0x02
#define MEMBER_RESULT  0x04
#define MEMBER_ERROR   0x08


/* Sets f->key, and whether the value's text is wanted. */
void mcp_list_key(mcp_list_filter_t *f, const mcp_json_event_t *ev);

int mcp_list_entry_start(mcp_list_filter_t *f, uint64_t start);
int mcp_list_entry_end(mcp_list_filter_t *f, uint64_t end,
    unsigned visible);
int mcp_list_info_end(mcp_list_filter_t *f, uint64_t end);
int mcp_list_drop_icons(mcp_list_filter_t *f);
int mcp_list_cut(mcp_list_filter_t *f, uint64_t end);
int mcp_list_replace(mcp_list_filter_t *f, uint64_t start,
    const char *text, size_t len);
int mcp_list_flush(mcp_list_filter_t *f);
int mcp_list_emit(mcp_list_filter_t *f, const unsigned char *p,
    size_t len);
int mcp_list_piece_end(mcp_list_filter_t *f, uint64_t end);
int mcp_list_hold(mcp_list_filter_t *f, uint64_t end);
void mcp_list_copy(mcp_list_filter_t *f, unsigned char *dst,
    uint64_t start, uint64_t end);
int mcp_list_fail(mcp_list_filter_t *f, const char *error);


#endif /* MCP_LIST_PRIVATE_H */
