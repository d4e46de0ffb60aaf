/*
 * Grants that end.  The record becomes a tombstone, and in the same script the
 * token by which the provider ends the grant goes into a queue, where it is
 * until the provider said that it is done: no process has it in hand alone.
 *
 * In Redis, with the prefix: rv is a hash, ID to sealed entry; rvq is a sorted
 * set, ID by when it is due (s since the epoch).  Whoever takes an entry moves
 * it into the future by as long as it may need, so that one who dies leaves
 * nothing behind.  Providers are then told twice, which does no harm.
 *
 * An entry is sealed by mcp_vault_seal() for the owner that
 * mcp_vault_owner_by_name() makes of its ID, field MCP_ENDING_FIELD, version 0.
 */

#ifndef MCP_ENDING_H
#define MCP_ENDING_H


#include "mcp_core.h"
#include "mcp_oauth.h"
#include "mcp_vault.h"


#define MCP_ENDING_ID     MCP_VAULT_NAME        /* hex digits, random */
#define MCP_ENDING_FIELD  "ending"
#define MCP_ENDING_TIME   (7 * 86400)   /* s, then it is given up */


/*
 * Where the access token ends the grant (GitHub, Slack), the refresh token is
 * there as well: without an access token that is still good such a provider
 * cannot be told, and the refresh token would live on.
 */
typedef struct {
    mcp_vault_owner_t    owner;         /* credential, issuer, user */
    mcp_str_t            access_token;  /* one of both may be empty */
    mcp_str_t            refresh_token;
    mcp_str_t            endpoint;      /* that gave them, or empty */
    int64_t              expires;       /* the access token, s since the epoch;
                                           0: not known, or never */
    unsigned             renewing:1;    /* the refresh token was sent, and
                                           perhaps used up */
    int64_t              begun;         /* s since the epoch */
} mcp_ending_t;


/* What ends a grant with these tokens, as of now (s); strings are theirs.
 * MCP_OK, or MCP_DECLINED: the provider has nothing to be told. */
int mcp_ending_make(const mcp_oauth_provider_t *p,
    const mcp_vault_owner_t *owner, const mcp_vault_tokens_t *t, int64_t now,
    mcp_ending_t *e);

/* Entry <-> text.  Parsing: strings in mem, strict; MCP_OK or MCP_ERROR. */
void mcp_ending_write(mcp_buf_t *b, const mcp_ending_t *e);
int mcp_ending_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_ending_t *e);

/* Bytes that the text needs at most. */
size_t mcp_ending_size(const mcp_ending_t *e);

/*
 * When the provider is told again what it did not take at now (s): as long
 * after that as it was tried already, which doubles the time; 5 s at least, an
 * hour at most, and not before retry_after s are over (an hour at most, too).
 */
int64_t mcp_ending_again(int64_t begun, int64_t now, int64_t retry_after);

/*
 * Lua for EVAL, NUL-terminated.
 *
 * begin   KEYS: cred:NAME, rv, rvq.  ARGV: version, ID (empty: the provider has
 *         nothing to be told), entry, due, NAME, channel.  1: it is a tombstone
 *         now; 0: the record is another one, nothing was done.
 * add     KEYS: rv, rvq.  ARGV: ID, entry, due.  1.
 * take    KEYS: rv, rvq.  ARGV: now, when it is due again.  {how many wait,
 *         ID, entry}, or without an ID when none is due.
 * put     KEYS: rv, rvq.  ARGV: ID, entry, due.  1: it is in place of the old
 *         one; 0: there is none any more.
 * later   KEYS: rv, rvq.  ARGV: ID, due.
 * done    KEYS: rv, rvq.  ARGV: ID.
 */
extern const char  mcp_ending_begin_script[];
extern const char  mcp_ending_add_script[];
extern const char  mcp_ending_take_script[];
extern const char  mcp_ending_put_script[];
extern const char  mcp_ending_later_script[];
extern const char  mcp_ending_done_script[];


#endif /* MCP_ENDING_H */
