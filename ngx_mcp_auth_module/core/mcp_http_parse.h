/*
 * Reads one HTTP/1.x response as its bytes arrive: status line, headers, body
 * by chunks, by length or until the peer closes (RFC 9112).
 *
 * A client's parser, and a strict one: what it does not understand is an
 * error, never a guess.  It keeps no byte but those of the line under way,
 * in memory that the caller gives, and hands the body on in pieces.  The
 * outcome does not depend on how the bytes were cut.  Everything after a
 * complete response is ignored: the connection is not used again.
 */

#ifndef MCP_HTTP_PARSE_H
#define MCP_HTTP_PARSE_H


#include "mcp_core.h"


#define MCP_HTTP_MAX_HEADERS       128
#define MCP_HTTP_MAX_CHUNK_LINE    256     /* bytes, extensions included */
#define MCP_HTTP_MAX_CONTENT_TYPE  128     /* bytes */
#define MCP_HTTP_MAX_AGE           0x7fffffff


/* A piece of the body; MCP_OK, or MCP_ERROR: no memory. */
typedef int (*mcp_http_body_pt)(void *ctx, const unsigned char *data,
    size_t len);


typedef struct {
    /* set by the caller, after zeroing the rest */
    unsigned char     *line;            /* max_header bytes */
    size_t             max_header;      /* all header lines together, trailers
                                           and skipped 1xx included */
    size_t             max_body;
    mcp_http_body_pt   body;
    void              *ctx;

    /* known when the headers are complete */
    unsigned           status;          /* 200 to 599 */
    mcp_str_t          content_type;    /* points into this structure; empty
                                           when absent or too long */
    int64_t            max_age;         /* s left (Cache-Control less Age), 0
                                           for no-store and no-cache; -1: not
                                           said */
    int64_t            retry_after;     /* s; -1: not said, or as a date */
    const char        *error;           /* static, after MCP_ERROR */

    /* private */
    unsigned           state;
    size_t             line_len;
    size_t             header_len;
    unsigned           headers;
    size_t             body_len;
    uint64_t           content_length;
    uint64_t           left;            /* of this chunk or length */
    uint64_t           age;
    unsigned char      type[MCP_HTTP_MAX_CONTENT_TYPE];
    unsigned           minor:4;
    unsigned           chunked:1;
    unsigned           has_length:1;
    unsigned           has_type:1;
    unsigned           no_store:1;
} mcp_http_t;


/* Prepares for one response; line, max_header, max_body, body, ctx are set. */
void mcp_http_init(mcp_http_t *h);

/*
 * Takes the next bytes.  MCP_OK: the response is complete; MCP_AGAIN: needs
 * more; MCP_ERROR: cannot be used, see h->error.
 */
int mcp_http_feed(mcp_http_t *h, const void *data, size_t len);

/*
 * The peer closed.  clean: nothing can have been cut off unnoticed (plain TCP,
 * or TLS with close_notify).  MCP_OK: the body ended there; MCP_ERROR: it did
 * not, see h->error.
 */
int mcp_http_eof(mcp_http_t *h, int clean);


#endif /* MCP_HTTP_PARSE_H */
