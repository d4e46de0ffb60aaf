/*
 * What mcp_message.c, mcp_arguments.c, mcp_message_method.c and
 * mcp_message_check.c share: the state of one message while it is read, and
 * what of it the check needs afterwards.
 *
 * It is one block of the arena, made by mcp_message_init(); the scratch
 * buffer, the id and the values of the pointers are in the same block.
 * Nobody else includes this header.
 */

#ifndef MCP_MESSAGE_PARSE_H
#define MCP_MESSAGE_PARSE_H


#include "mcp_message.h"


/* keys told apart in each of the strict objects */
#define MCP_MAX_KEYS         64
/* bytes kept of a clientInfo member, of traceparent */
#define MCP_MAX_AGENT        128
/* bytes of an argument's name kept */
#define MCP_MAX_ARG_KEY      128
/* reference tokens in a pointer */
#define MCP_MAX_TOKENS       32


/* Strings that are kept; the slots from here on are not. */
typedef enum {
    MCP_F_METHOD = 0,
    MCP_F_NAME,
    MCP_F_URI,
    MCP_F_TASK_ID,
    MCP_F_REF_TYPE,
    MCP_F_REF_NAME,
    MCP_F_REF_URI,
    MCP_F_CLAIM,                /* _meta ... protocolVersion */
    MCP_F_INIT_VERSION,         /* params.protocolVersion */
    MCP_F_JSONRPC,
    MCP_F_CUT,                  /* these are cut to MCP_MAX_AGENT bytes */
    MCP_F_AGENT_NAME = MCP_F_CUT,
    MCP_F_AGENT_VERSION,
    MCP_F_INIT_NAME,
    MCP_F_INIT_AGENT,
    MCP_F_TRACEPARENT,
    MCP_F_MAX,

    MCP_S_ID = MCP_F_MAX,
    MCP_S_PARAMS,
    MCP_S_RESULT,
    MCP_S_ERROR,
    MCP_S_META,
    MCP_S_REF,
    MCP_S_ARGUMENTS,
    MCP_S_NOTIFICATIONS,
    MCP_S_AGENT,
    MCP_S_INIT_AGENT,
    MCP_S_CAPABILITIES,
    MCP_S_INIT_CAPABILITIES,
    MCP_S_ELICITATION,
    MCP_S_ELICITATION_URL,
    MCP_S_RESPONSES,
    MCP_S_URIS,
    MCP_S_TASK_IDS,
    MCP_S_NONE
} mcp_slot_e;


/* Containers that are looked into; the first ones have strict keys. */
typedef enum {
    MCP_C_ENVELOPE = 0,
    MCP_C_PARAMS,
    MCP_C_META,
    MCP_C_REF,
    MCP_C_NOTIFICATIONS,
    MCP_C_STRICT,
    MCP_C_AGENT = MCP_C_STRICT,
    MCP_C_INIT_AGENT,
    MCP_C_CAPABILITIES,
    MCP_C_ELICITATION,
    MCP_C_URIS,
    MCP_C_TASK_IDS,
    MCP_C_MAX
} mcp_context_e;


typedef enum {
    MCP_FIELD_ABSENT = 0,
    MCP_FIELD_OK,
    MCP_FIELD_TYPE,             /* not a string */
    MCP_FIELD_LONG,
    MCP_FIELD_NUL
} mcp_field_e;


typedef struct {
    mcp_str_t        text;
    mcp_field_e      state;
} mcp_field_t;


/* Where the value of params' Mcp-Name comes from. */
typedef enum {
    MCP_SOURCE_NONE = 0,
    MCP_SOURCE_NAME,
    MCP_SOURCE_URI,
    MCP_SOURCE_REF,
    MCP_SOURCE_TASK
} mcp_source_e;


typedef struct {
    mcp_str_t        name;
    mcp_method_e     method_class;
    mcp_target_e     kind;
    mcp_source_e     source;
    unsigned         legacy:1;
    unsigned         modern:1;
    unsigned         mirrored:1;        /* modern: Mcp-Name is required */
} mcp_method_t;


/* A container of the arguments that a pointer leads into. */
typedef struct {
    uint64_t         mask;      /* pointers whose tokens led here */
    uint64_t         seen;      /* those whose next token was seen here */
    uint64_t         index;     /* of the next element */
    unsigned         array;
} mcp_arg_frame_t;


typedef struct mcp_message_parse_s {
    const mcp_message_conf_t  *conf;
    mcp_mem_t                  mem;

    const unsigned char       *piece;
    uint64_t                   base;            /* offset of the piece */

    mcp_slot_e                 slot;            /* of the coming value */
    const mcp_method_t        *known;           /* method, when in the table */

    unsigned char             *id;
    size_t                     id_len;          /* saved of a split id */
    uint64_t                   id_from;         /* end of its key */

    uint64_t                   hit;             /* pointers at this value */
    uint64_t                   unclear;

    unsigned char             *text;            /* free room for kept text */
    size_t                     room;

    unsigned                   in_args:1;
    unsigned                   failed:1;
    unsigned                   finished:1;
    unsigned                   has_id:1;
    unsigned                   id_unclear:1;
    unsigned                   has_params:1;
    unsigned                   has_result:1;
    unsigned                   has_error:1;
    unsigned                   bad_uris:1;
    unsigned                   many_uris:1;

    unsigned                   nkeys[MCP_C_STRICT];     /* fresh ones */
    unsigned                   nhashes[MCP_C_STRICT];   /* of unknown ones */
    unsigned                   known_keys[MCP_C_STRICT];
    mcp_field_t                fields[MCP_F_MAX];

    /* not zeroed at the start: what is above says how much is valid */
    mcp_json_scan_t            scan;
    mcp_context_e              context[6];      /* by depth of the members */
    uint64_t                   keys[MCP_C_STRICT][MCP_MAX_KEYS];
    mcp_arg_frame_t            frames[MCP_MAX_TOKENS];
    mcp_str_t                  arg_keys[MCP_MAX_ARG_KEYS];
    unsigned char              kept[512];
} mcp_message_parse_t;


/*
 * The first fault is the one that counts.  Always MCP_ERROR.
 */
int mcp_message_fault(mcp_message_t *m, int code, const char *message,
    const char *reason);

/* Method, class, target of a complete message; MCP_OK or a fault. */
int mcp_message_classify(mcp_message_t *m);

/* Copies text into the arena; MCP_ERROR when that is exhausted. */
int mcp_message_keep(mcp_message_parse_t *p, mcp_str_t *dst,
    const unsigned char *data, size_t len);

/*
 * 1 when a reader that ignores case takes one for the other: ASCII letters,
 * and the characters out of ASCII that some fold to 's', 'k' or 'i'.
 */
int mcp_fold_eq(const mcp_str_t *a, const mcp_str_t *b);

/* The folded character at *p (not at last); *p is moved past it. */
unsigned char mcp_fold_next(const unsigned char **p,
    const unsigned char *last);

/* The most bytes of data, max at most, that end with a whole character. */
size_t mcp_cut(const unsigned char *data, size_t len, size_t max);

/* What the scanner tells inside of params.arguments; MCP_OK or MCP_ERROR. */
void mcp_arguments_begin(mcp_message_t *m, const mcp_json_event_t *ev);
int mcp_arguments_event(mcp_message_t *m, const mcp_json_event_t *ev);
void mcp_arguments_end(mcp_message_t *m);


#endif /* MCP_MESSAGE_PARSE_H */
