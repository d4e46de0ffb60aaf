/*
 * Revocation watermarks: what was issued to a user, to a client, by an issuer,
 * as this token, or at all, at or before a moment, is refused.
 *
 * One is a line of text, the same in the file, in Redis and in messages:
 *     user   ISSUER USER   AT [until=TIME] [by=WHO] [reason=TEXT]
 *     client ISSUER CLIENT AT ...         service accounts: ISSUER is "-"
 *     token  ISSUER ID     AT ...
 *     issuer ISSUER -      AT ...
 *     all    -      -      AT ...
 * AT and TIME are RFC 3339 in UTC, whole seconds, "2026-11-25T15:10:40Z"; AT
 * is "-" when the revocation was lifted (in Redis; in a file the line goes).
 * Bytes outside 0x21 to 0x7e and "%" are written %XX, a lone "-" as %2D, the
 * empty string as "-".  An unknown key=value is passed over: what a newer
 * mcpctl adds must not keep a revocation from being one.
 *
 * In Redis each has a stamp, microseconds by the clock of Redis, always larger
 * than the one before it: of two lines about the same, that with the larger
 * stamp counts.  So lines may come twice, late and in any order; an emptied
 * Redis takes nothing away, and is filled again by the gateways.
 */

#ifndef MCP_REVOCATION_H
#define MCP_REVOCATION_H


#include "mcp_core.h"
#include "mcp_principal.h"
#include "mcp_time.h"


#define MCP_REVOCATION_LINE   2048      /* bytes, at most */
#define MCP_REVOCATION_NAME   32        /* bytes of what is looked up */
#define MCP_REVOCATION_NAMES  5         /* for one caller, at most */
#define MCP_REVOCATION_STAMP  9007199254740991  /* the largest one: Lua counts
                                                   in doubles */


typedef enum {
    MCP_REVOKE_ALL = 1,
    MCP_REVOKE_ISSUER,
    MCP_REVOKE_USER,
    MCP_REVOKE_CLIENT,
    MCP_REVOKE_TOKEN
} mcp_revoke_e;

typedef struct {
    mcp_revoke_e         type;
    mcp_str_t            issuer;
    mcp_str_t            value;
    int64_t              at;            /* s since the epoch; 0: lifted */
    int64_t              until;         /* forgotten then; 0: never */
    uint64_t             stamp;         /* not in the line; 0: of a file */
    mcp_str_t            by;
    mcp_str_t            reason;
} mcp_revocation_t;


/* A line without its LF; strings in mem.  MCP_OK; MCP_ERROR: *error, static. */
int mcp_revocation_parse(const mcp_str_t *line, const mcp_mem_t *mem,
    mcp_revocation_t *r, const char **error);

/* The line, without LF and stamp. */
void mcp_revocation_write(mcp_buf_t *b, const mcp_revocation_t *r);

/* Its first three columns: the field in Redis. */
void mcp_revocation_field(mcp_buf_t *b, const mcp_revocation_t *r);

/* "user", for instance; static, NUL-terminated. */
const char *mcp_revocation_word(mcp_revoke_e type);

/* The method of its audit record: "revoke/user", lifted "unrevoke/user";
 * static, NUL-terminated. */
const char *mcp_revocation_method(mcp_revoke_e type, unsigned lifted);

/* What it is found by: SHA-256 of the type, and of issuer and value, each with
 * its length before it. */
void mcp_revocation_name(const mcp_revocation_t *r, unsigned char *name);

/* All names that concern this caller, how many is returned: all, its issuer,
 * user, client and token, as far as it has them. */
unsigned mcp_revocation_names(const mcp_principal_t *p,
    unsigned char names[MCP_REVOCATION_NAMES][MCP_REVOCATION_NAME]);

/*
 * 1: a token issued at iat is refused because of a watermark at `at`.  leeway
 * (s): how far the issuer's clock may be ahead of ours; what it may have issued
 * before the revocation is refused too.  Of our own tokens it is 0.
 */
int mcp_revocation_covers(int64_t at, int64_t iat, int leeway);

/*
 * A whole file, line by line: lines, empty lines, comments ("#" first), and
 * "end" as the last one, without which it is not taken for complete.  each()
 * is called for every line in order, its strings are valid during the call;
 * when it returns other than MCP_OK, that is returned and *error is NULL.
 * MCP_ERROR: *error (static) and *line (1 is the first).  Call it twice, first
 * with each NULL, to know that all of it is right.
 */
int mcp_revocation_file(const mcp_str_t *text,
    int (*each)(void *ctx, const mcp_revocation_t *r), void *ctx,
    const char **error, unsigned *line);

/*
 * Lua for EVAL, NUL-terminated.  KEYS[1]: the hash of all, KEYS[2]: the
 * channel.  ARGV[1]: field, ARGV[2]: line, ARGV[3]: stamp, or "" for a new one.
 * Sets field to "STAMP LINE" and publishes "rev STAMP LINE", unless what is
 * there has the same or a larger stamp.  Returns the stamp that is there
 * afterwards, as a string; or an error, and changes nothing.  (Whom Redis lets
 * write but not publish gets an error for a change that is made: it is found by
 * the next load.)
 */
extern const char  mcp_revocation_script[];


#endif /* MCP_REVOCATION_H */
