/*
 * Cuts forbidden entries out of list results while the bytes stream by, and
 * tells what a response was.
 *
 * One filter reads one JSON document: a response body, or the data of one
 * server-sent event.  Lists are recognised by shape, never by the request: an
 * array named tools, prompts, resources, resourceTemplates or tasks (in any
 * letter case) in the `result` object of a message at the root, or of an
 * element of a root array; also in `result.result` and `params.result`, where a
 * finished task has the result of its call.  What is kept is kept byte for
 * byte; an entry goes with exactly one of its commas.  cacheScope in a result
 * becomes "private".  An entry that is no object, has no string name (uri,
 * uriTemplate, taskId), or has it twice or also in another letter case, is cut.
 *
 * Of what a person may be shown: names with characters that are not seen are
 * cut, icons that are not https (or data:image/) become "[]", a URL to be
 * opened that is not https ends the filter.
 *
 * Memory: one entry, only while it is split over pieces.  No allocation in the
 * loop over entries other than growing that one buffer.
 */

#ifndef MCP_LIST_FILTER_H
#define MCP_LIST_FILTER_H


#include "mcp_core.h"
#include "mcp_json_scan.h"


#define MCP_LIST_TASK_ID  256           /* bytes of a task's id */


typedef enum {
    MCP_LIST_TOOLS = 1,
    MCP_LIST_PROMPTS,
    MCP_LIST_RESOURCES,
    MCP_LIST_TEMPLATES,
    MCP_LIST_TASKS
} mcp_list_e;


/* What the last message of the document was; for the audit and the checks. */
typedef enum {
    MCP_OUTCOME_NONE = 0,
    MCP_OUTCOME_RESULT,
    MCP_OUTCOME_ERROR,
    MCP_OUTCOME_REQUEST,        /* server to client; has an id */
    MCP_OUTCOME_NOTIFICATION
} mcp_outcome_e;


typedef struct {
    /*
     * Is this entry shown to the caller?  1 yes, 0 no, 2 yes but counted as
     * one that would be removed.  name is unescaped:
     * `name` of tools and prompts, `uri` of resources, `uriTemplate` of
     * templates, `taskId` of tasks.
     */
    int                (*visible)(void *data, mcp_list_e list,
                                  const mcp_str_t *name);

    /*
     * A response made this task (a CreateTaskResult; of the 2026-07-28 era:
     * resultType "task"): called before its result has ended.  ttl is the
     * number of milliseconds it gives, as written, or empty.  MCP_ERROR ends
     * the filter.  NULL: nobody wants to know.
     */
    int                (*task)(void *data, const mcp_str_t *id,
                               const mcp_str_t *ttl);

    /*
     * Takes bytes for the client, in order.  They are valid only during the
     * call.  MCP_OK or MCP_ERROR (which ends the filter).
     */
    int                (*emit)(void *data, const unsigned char *p, size_t len);

    /* Returns a buffer of at least size bytes with the first used bytes of
     * old in it, or NULL.  Called seldom: sizes double, up to max_entry. */
    unsigned char     *(*grow)(void *data, unsigned char *old, size_t used,
                               size_t size);
    void                *data;

    unsigned             max_depth;
    size_t               max_name;      /* bytes; a longer name is cut */
    size_t               max_entry;     /* bytes; longer, with the comma and
                                           space before it: MCP_ERROR */
} mcp_list_filter_conf_t;


typedef struct mcp_list_filter_s {
    const mcp_list_filter_conf_t  *conf;
    mcp_json_scan_t      scan;

    /* for the caller to read at any time */
    mcp_outcome_e        outcome;
    unsigned             has_list:1;
    unsigned             is_error:1;    /* result.isError is true */
    unsigned             input_required:1;      /* result.resultType */
    unsigned             batch:1;       /* the root is an array */
    unsigned             changed:1;     /* bytes were cut or replaced */
    unsigned             icons_removed:1;       /* some were not https */
    unsigned             bad_url:1;     /* a person would be sent to a URL that
                                           is not https: MCP_ERROR */
    unsigned             foreign:1;     /* a notification about a task that is
                                           not visible */
    int64_t              rpc_code;      /* error.code, when it is an integer
                                           of at most 18 digits; else 0 */
    unsigned             kept;
    unsigned             removed;
    unsigned             shadowed;      /* of those kept */
    const char          *error;         /* static text after MCP_ERROR */
    unsigned char        id[256];       /* lexeme of the last message's id */
    size_t               id_len;        /* 0: none or longer */

    /* private; offsets count from the document's start */
    unsigned             where;         /* the container whose members come */
    unsigned             outer;         /* the one around the list */
    unsigned             around[5];     /* those around what has several */
    unsigned             key;           /* role of the member in progress */
    unsigned             list;          /* mcp_list_e */
    unsigned             members;       /* of the message, seen so far */
    unsigned             names;         /* name keys of the entry, up to 2 */
    unsigned             skipping:1;    /* the next event ends the skipped */
    unsigned             dropping:1;    /* and nothing of it is emitted */
    unsigned             response:1;    /* the message is a result or error */
    unsigned             elicits:1;     /* its method is elicitation/create */
    unsigned             about_task:1;  /* its method is notifications/tasks */
    unsigned             asks_url:1;    /* its params have a bad url */
    unsigned             task_made:1;   /* result.task, or resultType task */
    unsigned             tasks:2;       /* ids seen, up to 2 */
    unsigned             icons:2;       /* arrays of them in the entry */
    unsigned             bad_icon:1;
    uint64_t             icons_start;
    uint64_t             icons_end;
    unsigned char        task_id[MCP_LIST_TASK_ID];
    size_t               task_len;
    unsigned char        ttl[20];
    size_t               ttl_len;
    unsigned             shown:2;       /* what was said of the entry's name */
    unsigned             any_entry:1;   /* of this list */
    unsigned             any_kept:1;
    unsigned             failed:1;
    unsigned             done:1;
    uint64_t             mark;          /* emitted or dropped up to here */
    uint64_t             keep;          /* decided: emit up to here */
    uint64_t             sep;           /* keep, before the entry */
    uint64_t             piece;         /* the piece's first byte */
    const unsigned char *data;          /* the piece */
    unsigned char       *hold;          /* bytes right before the piece */
    size_t               hold_len;
    size_t               hold_size;
} mcp_list_filter_t;


/*
 * buf: 2 * conf->max_name + 64 bytes, borrowed.  A filter that was run is
 * made ready for the next document by calling this again; hold and hold_size
 * survive (zero the struct before the first call).
 */
void mcp_list_filter_init(mcp_list_filter_t *f,
    const mcp_list_filter_conf_t *conf, unsigned char *buf);

/*
 * The next piece; eof with the last one, which may be empty.  MCP_AGAIN wants
 * more, MCP_OK at eof, MCP_ERROR: not JSON, too deep, an entry too large, or a
 * callback failed: f->error says which; nothing of what was not yet emitted
 * may be sent, and the document in the client's hands is not complete.
 * All of [data, data + len) is consumed.  Everything that is decided is
 * emitted before it returns; separators and the entry in progress are held.
 */
int mcp_list_filter_feed(mcp_list_filter_t *f, const unsigned char *data,
    size_t len, unsigned eof);


#endif /* MCP_LIST_FILTER_H */
