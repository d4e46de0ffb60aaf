/*
 * What one JSON-RPC message of a client asks for.
 *
 * The body is scanned once, in pieces as nginx holds it; what authorisation,
 * forwarding and the audit need is kept: kind, method, id as it was written,
 * target, the argument values that rules or the audit point at.  Strict where
 * two parsers could disagree (facts/mcp.md section 8, 1 to 10): duplicate keys
 * and keys that differ only by case in the envelope, params, params._meta and
 * params.ref are refused, as are batches.
 *
 * All kept text is copied into the arena and bounded by the limits.
 */

#ifndef MCP_MESSAGE_H
#define MCP_MESSAGE_H


#include "mcp_core.h"
#include "mcp_json_scan.h"


typedef enum {
    MCP_REQUEST = 1,
    MCP_NOTIFICATION,
    MCP_RESPONSE                /* legacy: answers a request of the server */
} mcp_kind_e;


typedef enum {
    MCP_ERA_LEGACY = 0,         /* initialize, sessions; up to 2025-11-25 */
    MCP_ERA_MODERN              /* stateless; from 2026-07-28 */
} mcp_era_e;


/* How a method is authorised. */
typedef enum {
    MCP_METHOD_UNKNOWN = 0,     /* denied unless `allow method` */
    MCP_METHOD_FREE,            /* any authenticated caller */
    MCP_METHOD_LIST,            /* any; the result is filtered */
    MCP_METHOD_DISCOVER,        /* server/discover: never denied */
    MCP_METHOD_TARGET,          /* by target_kind and target */
    MCP_METHOD_LISTEN,          /* by every URI in uris; by owner of tasks */
    MCP_METHOD_OWNER            /* tasks: by whose it is, whatever the rules */
} mcp_method_e;


typedef enum {
    MCP_TARGET_NONE = 0,
    MCP_TARGET_TOOL,
    MCP_TARGET_PROMPT,
    MCP_TARGET_RESOURCE,
    MCP_TARGET_METHOD
} mcp_target_e;


/*
 * A pointer (RFC 6901) into params.arguments, compiled once from the rules and
 * the audit's `params`.  tokens are unescaped.
 */
typedef struct {
    mcp_str_t            text;          /* as configured: "/a/b" */
    mcp_str_t           *tokens;
    unsigned             ntokens;
} mcp_pointer_t;


typedef enum {
    MCP_VALUE_ABSENT = 0,
    MCP_VALUE_STRING,
    MCP_VALUE_NUMBER,           /* text is the lexeme */
    MCP_VALUE_TRUE,
    MCP_VALUE_FALSE,
    MCP_VALUE_NULL,
    MCP_VALUE_OBJECT,           /* text is empty */
    MCP_VALUE_ARRAY,
    MCP_VALUE_UNCLEAR           /* twice, by a key that differs in case, or
                                   longer than max_value: cannot be evaluated */
} mcp_value_e;


typedef struct {
    mcp_value_e          type;
    mcp_str_t            text;
} mcp_value_t;


typedef struct {
    unsigned             max_depth;
    size_t               max_id;        /* bytes of the lexeme */
    size_t               max_name;      /* bytes: method, name, uri, version */
    size_t               max_value;     /* bytes of an argument value kept */
    const mcp_pointer_t *pointers;      /* into params.arguments */
    unsigned             npointers;     /* at most MCP_MAX_POINTERS */
} mcp_message_conf_t;

#define MCP_MAX_POINTERS   64
#define MCP_MAX_ARG_KEYS   32           /* names kept for the audit */
#define MCP_MAX_URIS       256          /* in subscriptions/listen; so many
                                           task ids, too */


/* A refusal: what the gateway answers and what it records. */
typedef struct {
    unsigned             http;          /* status; 0: none */
    int                  code;          /* JSON-RPC error code */
    const char          *message;       /* static, for the client */
    const char          *reason;        /* static token for the audit */
} mcp_fault_t;


typedef struct mcp_message_s {
    mcp_kind_e           kind;
    mcp_era_e            era;           /* set by mcp_message_check() */
    mcp_method_e         method_class;
    mcp_target_e         target_kind;

    mcp_str_t            method;        /* unescaped */
    mcp_str_t            id;            /* lexeme as written; empty: none */
    mcp_str_t            target;        /* tool, prompt, URI, task, unescaped */
    mcp_str_t            task;          /* its id; empty: no single task */

    mcp_str_t            version;       /* claim in _meta, or initialize's
                                           params.protocolVersion */
    mcp_str_t            agent_name;    /* clientInfo of _meta or initialize */
    mcp_str_t            agent_version;
    mcp_str_t            traceparent;   /* _meta.traceparent */

    mcp_str_t           *uris;          /* subscriptions/listen */
    unsigned             nuris;
    mcp_str_t           *tasks;         /* likewise: taskIds */
    unsigned             ntasks;

    /* params.arguments: offsets in the body; equal: absent */
    uint64_t             args_start;
    uint64_t             args_end;
    mcp_str_t           *arg_keys;      /* the first MCP_MAX_ARG_KEYS names,
                                           each cut to 64 bytes */
    unsigned             narg_keys;     /* kept */
    unsigned             nargs;         /* all */
    mcp_value_t         *values;        /* one for each pointer */

    mcp_fault_t          fault;         /* after MCP_ERROR */
    size_t               size;          /* bytes of the body */

    /* what was seen; bits private to mcp_message.c but these */
    unsigned             claim:1;       /* _meta has the protocolVersion key */
    unsigned             capabilities:1;        /* _meta ... clientCapabilities
                                                   is an object */
    unsigned             elicit_url:1;  /* the client said that it opens URLs:
                                           capability elicitation.url, of
                                           _meta or of initialize */
    unsigned             answers:1;     /* it was asked already: there are
                                           inputResponses */

    struct mcp_message_parse_s  *parse; /* private, in the arena */
} mcp_message_t;


/*
 * Headers that mirror the body.  An element that was absent has data NULL;
 * present and empty has data set and len 0.  Duplicates were refused before.
 */
typedef struct {
    mcp_str_t            protocol_version;      /* MCP-Protocol-Version */
    mcp_str_t            method;                /* Mcp-Method */
    mcp_str_t            name;                  /* Mcp-Name, still encoded */
} mcp_mirror_t;


/* MCP_OK or MCP_ERROR (arena exhausted).  conf and mem outlive m. */
int mcp_message_init(mcp_message_t *m, const mcp_message_conf_t *conf,
    const mcp_mem_t *mem);

/*
 * The next piece of the body; eof with the last one (which may be empty).
 * MCP_AGAIN; MCP_OK at eof when the message is well-formed; MCP_ERROR with
 * m->fault, m->id set when the id was readable and unambiguous.  A fault other
 * than malformed JSON or a batch is reported at eof only: the id may come late.
 * m->method is set at eof, with a fault too, unless the JSON was malformed.
 */
int mcp_message_feed(mcp_message_t *m, const unsigned char *data, size_t len,
    unsigned eof);

/*
 * After MCP_OK: classifies the era (facts/mcp.md 2.5), compares the mirror
 * headers in either era, checks the required _meta.  MCP_OK or MCP_ERROR with
 * m->fault.
 */
int mcp_message_check(mcp_message_t *m, const mcp_mirror_t *mirror);

/*
 * How a method of this name is authorised, in the eras that have it;
 * MCP_METHOD_UNKNOWN when none has.  For rules, which may only name the latter.
 */
mcp_method_e mcp_method_class(const mcp_str_t *name);

/*
 * Compiles "/a/b" (RFC 6901; "" is refused).  MCP_ERROR with *error static.
 */
int mcp_pointer_compile(mcp_pointer_t *p, const mcp_str_t *text,
    const mcp_mem_t *mem, const char **error);


#endif /* MCP_MESSAGE_H */
