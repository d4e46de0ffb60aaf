/*
 * The gateway's own tokens: of a person (PAT) and of a service account (VAT).
 *
 * A token is
 *     "mcpp_" or "mcpv_" | 43 base62, random | 6 base62, CRC-32 of all before
 * and is shown once, when it is made.  What rests in a file or in Redis is its
 * record, which has HMAC-SHA256(pepper, token) and never the token.  The
 * checksum only tells slips of the pen from tokens; it protects nothing.
 *
 * A record is one line of text, the same in the file and in Redis:
 *     pat ID KEYID:HASH issuer=URL user=U roles=R,... servers=S,... ...
 *     vat ID KEYID:HASH service=S roles=R,... servers=S,... ...
 * with more of them in any order:
 *     created=TIME expires=TIME [revoked=TIME] [scopes=S,...] [label=TEXT]
 *     [by=WHO] [replaces=ID] [hint=XXXX]
 * Columns are separated by one space; in values, bytes outside 0x21 to 0x7e
 * and the four of "%,= " are written %XX.  An unknown key=value is an
 * error: a newer mcpctl may have meant a restriction.
 */

#ifndef MCP_ACCESS_KEY_H
#define MCP_ACCESS_KEY_H


#include "mcp_core.h"
#include "mcp_digest.h"
#include "mcp_principal.h"
#include "mcp_time.h"


#define MCP_ACCESS_KEY_LEN     54       /* characters of a token */
#define MCP_ACCESS_KEY_HASH    32       /* bytes */
#define MCP_ACCESS_KEY_ID      16       /* of its id: "pat-" 12 base62 */
#define MCP_ACCESS_KEY_LINE    4096     /* bytes of a record, at most */
#define MCP_ACCESS_KEY_ITEMS   64       /* in a list; of servers
                                           MCP_MAX_AUDIENCES */

#define MCP_PEPPER_MIN         32       /* bytes of a pepper, at least */
#define MCP_PEPPERS            8        /* in a ring */


/* Peppers by which tokens are hashed: the first one hashes new tokens, each
 * finds those that it hashed. */
typedef struct {
    unsigned char        id[4];
    mcp_digest_key_t     key;
} mcp_pepper_t;

typedef struct {
    unsigned             n;
    mcp_pepper_t         peppers[MCP_PEPPERS];
} mcp_pepper_ring_t;


/* The record of a token.  Strings belong to whoever parsed or filled it. */
typedef struct {
    mcp_auth_e           auth;          /* MCP_AUTH_PAT or MCP_AUTH_VAT */
    mcp_str_t            id;            /* "pat-..." or "vat-...": no secret */
    unsigned char        pepper[4];     /* whose hash it is */
    unsigned char        hash[MCP_ACCESS_KEY_HASH];

    mcp_str_t            issuer;        /* PAT: iss of the owner, */
    mcp_str_t            user;          /* and who that is there */
    mcp_str_t            service;       /* VAT: the account */

    mcp_str_t           *roles;         /* at least one */
    unsigned             nroles;
    mcp_str_t           *servers;       /* names of mcp_server, or "*" */
    unsigned             nservers;
    mcp_str_t           *scopes;
    unsigned             nscopes;

    int64_t              created;       /* s since the epoch */
    int64_t              expires;
    int64_t              revoked;       /* 0: not */

    mcp_str_t            label;
    mcp_str_t            by;            /* who made it */
    mcp_str_t            replaces;      /* the id of the one before, or empty */
    mcp_str_t            hint;          /* last four characters of the token */
} mcp_access_key_t;


/* A file of records, sorted by hash; heap memory of its own. */
typedef struct mcp_access_keys_s  mcp_access_keys_t;


/*
 * Adds a pepper made from secret (MCP_PEPPER_MIN bytes or more, random) by
 * HKDF-SHA256 (RFC 5869).  MCP_OK; MCP_DECLINED: the ring is full, has it
 * already, or secret is too short; MCP_ERROR: OpenSSL failed.
 */
int mcp_pepper_add(mcp_pepper_ring_t *ring, const mcp_str_t *secret);

/* Does this begin like one of our tokens: MCP_AUTH_PAT, MCP_AUTH_VAT, or 0.
 * Such a token is no JWT, whatever follows. */
unsigned mcp_access_key_kind(const mcp_str_t *token);

/* MCP_OK: length, characters and checksum are right. */
int mcp_access_key_check(const mcp_str_t *token);

/* A new token into out (MCP_ACCESS_KEY_LEN characters, not terminated) and a
 * new id (MCP_ACCESS_KEY_ID).  MCP_OK or MCP_ERROR: no randomness. */
int mcp_access_key_make(mcp_auth_e auth, unsigned char *out,
    unsigned char *id);

/* HMAC-SHA256 of the token into hash. */
void mcp_access_key_hash(const mcp_pepper_t *pepper, const mcp_str_t *token,
    unsigned char *hash);

/*
 * One line (without its LF) -> *key, its strings in mem.  MCP_OK; MCP_ERROR:
 * *error is a static sentence for the operator.
 */
int mcp_access_key_parse(const mcp_str_t *line, const mcp_mem_t *mem,
    mcp_access_key_t *key, const char **error);

/* The line, without LF; b->overflow when it is larger than b. */
void mcp_access_key_write(mcp_buf_t *b, const mcp_access_key_t *key);

/*
 * Who is calling with it: roles are looked up in names (index: role number;
 * unknown ones grant nothing, "*" is never one of them), servers become the
 * audiences, a VAT has the empty iss and its account as client.  issuer:
 * index for the principal.  NULL: out of memory.
 */
mcp_principal_t *mcp_access_key_principal(const mcp_access_key_t *key,
    unsigned issuer, const mcp_str_t *names, unsigned nnames,
    const mcp_mem_t *mem);

/*
 * A whole file: records, empty lines, comments ("#" first), and as last line
 * "end", without which it is not taken for complete.  Two records of one hash
 * or one id are an error.  NULL: *error (static) and *line (1 is the first; 0:
 * out of memory) say what and where.
 */
mcp_access_keys_t *mcp_access_keys_parse(const mcp_str_t *text,
    const char **error, unsigned *line);
void mcp_access_keys_free(mcp_access_keys_t *keys);

/* NULL: none of this hash (compared in constant time once it is found). */
const mcp_access_key_t *mcp_access_keys_find(const mcp_access_keys_t *keys,
    const unsigned char *hash);

/* In the order of the file, i from 0; NULL: no more. */
const mcp_access_key_t *mcp_access_keys_get(const mcp_access_keys_t *keys,
    unsigned i);


#endif /* MCP_ACCESS_KEY_H */
