/*
 * A strict, resumable JSON scanner (RFC 8259).
 *
 * Bytes go in as they arrive, in pieces of any size; events come out.  No
 * tree, no allocation: the state is this struct plus the caller's scratch
 * buffer, which holds a key or a captured value only while it is split over
 * pieces or has escapes.
 *
 * Refused: invalid UTF-8, raw controls in strings, lone surrogates, bad
 * escapes, numbers out of the grammar, BOM, comments, trailing commas,
 * anything after the document, nesting deeper than max_depth.
 * Not judged here: duplicate keys; the callers know where those matter.
 *
 * The outcome does not depend on where the pieces end.
 */

#ifndef MCP_JSON_SCAN_H
#define MCP_JSON_SCAN_H


#include "mcp_core.h"


#define MCP_JSON_MAX_DEPTH  512


typedef enum {
    MCP_JSON_OBJECT = 1,
    MCP_JSON_OBJECT_END,
    MCP_JSON_ARRAY,
    MCP_JSON_ARRAY_END,
    MCP_JSON_KEY,
    MCP_JSON_STRING,
    MCP_JSON_NUMBER,
    MCP_JSON_TRUE,
    MCP_JSON_FALSE,
    MCP_JSON_NULL,
    MCP_JSON_DONE               /* the document ended; only after eof */
} mcp_json_type_e;


typedef struct {
    mcp_json_type_e   type;

    /*
     * Number of containers around this value: 0 for the root, 1 for a member
     * of the root object (its KEY has 1 too).  OBJECT and OBJECT_END of the
     * same object have the same depth.
     */
    unsigned          depth;

    /*
     * First byte, one past the last byte; counted from the document's start.
     * Those of OBJECT, ARRAY and their ends are of the one bracket; those of
     * strings and keys include the quotes.
     */
    uint64_t          start;
    uint64_t          end;

    /*
     * KEY always, STRING and NUMBER when captured: the unescaped text (the
     * lexeme of a number).  Points into the input piece or the scratch buffer;
     * valid until the next call.  When it is longer than the scratch buffer
     * and could not be had in place, truncated is set and text is the
     * beginning, possibly cut inside a character.
     */
    mcp_str_t         text;
    unsigned          captured:1;
    unsigned          truncated:1;
    unsigned          escaped:1;        /* the string had a backslash */
} mcp_json_event_t;


typedef struct {
    /* for the caller to set before mcp_json_next(); kept until changed */
    unsigned          capture:1;        /* want the text of STRING, NUMBER */

    /* for the caller to read */
    const char       *error;            /* static text, after MCP_ERROR */
    uint64_t          offset;           /* bytes consumed so far */
    unsigned          depth;            /* containers open now */
    unsigned          too_deep:1;       /* the error is max_depth */

    /* private */
    unsigned          state;
    unsigned          sub;              /* state inside the token */
    unsigned          max_depth;
    unsigned          skip;             /* no events until depth is below */
    unsigned          in_key:1;
    unsigned          want:1;           /* capture, when the token began */
    unsigned          escaped:1;
    unsigned          spilled:1;        /* token continues from scratch */
    unsigned          truncated:1;
    unsigned          left;             /* bytes, digits to come in the token */
    uint32_t          code;             /* \u digits; bounds of a UTF-8 byte */
    uint32_t          high;             /* high surrogate waiting */
    uint64_t          token;            /* offset of the token's first byte */
    unsigned char    *scratch;
    size_t            scratch_size;
    size_t            scratch_len;
    uint64_t          stack[MCP_JSON_MAX_DEPTH / 64];   /* bit: is object */
} mcp_json_scan_t;


/*
 * max_depth: containers that may be open at once, at most MCP_JSON_MAX_DEPTH.
 * scratch: borrowed for the life of the scanner; at least 64 bytes.
 */
void mcp_json_init(mcp_json_scan_t *s, unsigned max_depth,
    unsigned char *scratch, size_t scratch_size);

/*
 * The next event from [*pos, last).  Returns
 *   MCP_OK     an event; *pos was advanced past it (a number's end is known
 *              only from the byte after it, or from eof);
 *   MCP_AGAIN  all input consumed, *pos == last, more is needed;
 *   MCP_ERROR  malformed: s->error, s->offset; the scanner is of no more use.
 * eof: no byte will follow last.  At eof MCP_AGAIN is never returned:
 * an unfinished document is an error, a finished one gives MCP_JSON_DONE.
 * A caller that got MCP_AGAIN goes on with the next piece; text of an event
 * that had begun in the old piece was saved to the scratch buffer.
 */
int mcp_json_next(mcp_json_scan_t *s, const unsigned char **pos,
    const unsigned char *last, unsigned eof, mcp_json_event_t *ev);

/*
 * Right after an OBJECT or ARRAY event: its contents are checked but give no
 * events; the next event is its end.  This is the fast way through what
 * nobody looks at.
 */
void mcp_json_skip(mcp_json_scan_t *s);


#endif /* MCP_JSON_SCAN_H */
