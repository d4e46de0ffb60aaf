/*
 * Records of downstream credentials as they rest in Redis or in the zone.
 *
 * A record is what the gateway holds for one credential and one person (or for
 * the credential alone: client credentials), found by its name: a digest of
 * credential, issuer, user and what else the tokens depend on.  Its tokens are
 * sealed with AES-256-GCM under a key made for this record by HKDF-SHA256
 * (RFC 5869) from a key of the ring and a random salt; the additional data
 * binds credential, issuer, user, field and version.  A sealed value that is
 * moved to another record, field or version does not open.
 *
 *     format (1) | key id length (1) | key id | salt (16) | nonce (12) |
 *     ciphertext | tag (16)
 */

#ifndef MCP_VAULT_H
#define MCP_VAULT_H


#include "mcp_core.h"


#define MCP_VAULT_KEYS      8           /* in a ring */
#define MCP_VAULT_KEY_ID    32          /* characters of a key's id, at most */
#define MCP_VAULT_NAME      32          /* hex digits of a record's name */
#define MCP_VAULT_OVERHEAD  (2 + MCP_VAULT_KEY_ID + 16 + 12 + 16)
#define MCP_VAULT_VALUE     65536       /* bytes of a value, at most */
#define MCP_VAULT_WRITING   600         /* s, new tokens are tried to write */


typedef struct {
    mcp_str_t            id;
    unsigned char        key[32];
} mcp_vault_key_t;

/* The first one seals, each opens what it sealed. */
typedef struct {
    unsigned             nkeys;
    mcp_vault_key_t      keys[MCP_VAULT_KEYS];
} mcp_vault_ring_t;


/* Whose: strings may be empty, each goes in with its length. */
typedef struct {
    mcp_str_t            credential;    /* name of the mcp_credential */
    mcp_str_t            issuer;
    mcp_str_t            user;
    mcp_str_t            client;        /* token exchange: the caller's, */
    mcp_str_t            audience;      /* what was asked for, */
    mcp_str_t            scope;
    mcp_str_t            subject;       /* and the caller's token id */
} mcp_vault_owner_t;


/* What is sealed in the field "tokens". */
typedef struct {
    mcp_str_t            access_token;
    mcp_str_t            refresh_token; /* empty: none */
    mcp_str_t            scope;
    mcp_str_t            endpoint;      /* that gave them; empty: not known */
    int64_t              granted;       /* s since the epoch: by the person, in
                                           a session of then; 0: not known */
    int64_t              issued;        /* s since the epoch */
    int64_t              expires;       /* 0: never */
    int64_t              refresh_expires;       /* 0: not known */
} mcp_vault_tokens_t;


/*
 * A key file: lines "ID BASE64" (32 bytes), comments, empty lines; the first
 * key is the active one.  MCP_OK; MCP_ERROR: *error (static) and *line.  Ids
 * are copied into mem.
 */
int mcp_vault_keys(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_vault_ring_t *ring, const char **error, unsigned *line);

/* MCP_VAULT_NAME hex digits: the name of the owner's record. */
void mcp_vault_name(const mcp_vault_owner_t *o, unsigned char *name);

/* 1 when it looks like one: MCP_VAULT_NAME lower-case hex digits. */
int mcp_vault_is_name(const mcp_str_t *name);

/*
 * Seals value for owner, field and version into out (value->len +
 * MCP_VAULT_OVERHEAD bytes), *len is what was written.  MCP_OK or MCP_ERROR.
 */
int mcp_vault_seal(const mcp_vault_ring_t *ring, const mcp_vault_owner_t *o,
    const char *field, uint64_t version, const mcp_str_t *value,
    unsigned char *out, size_t *len);

/* Opens into out (sealed->len bytes).  MCP_OK; MCP_DECLINED: of no key of the
 * ring, changed, or bound to something else; MCP_ERROR: OpenSSL failed. */
int mcp_vault_open(const mcp_vault_ring_t *ring, const mcp_vault_owner_t *o,
    const char *field, uint64_t version, const mcp_str_t *sealed,
    unsigned char *out, size_t *len);

/*
 * What is sealed in the field "meta", version 0: credential, issuer and user,
 * for whoever has the name of a record alone.  It is sealed for the owner that
 * mcp_vault_owner_by_name() makes; what is read has to give that name again.
 */
void mcp_vault_owner_write(mcp_buf_t *b, const mcp_vault_owner_t *o);
int mcp_vault_owner_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_vault_owner_t *o);
void mcp_vault_owner_by_name(mcp_vault_owner_t *o, const unsigned char *name);

/* How a record is written in Redis, by whomever: see mcp_vault_script.c. */
extern const char  mcp_vault_write_script[];

/* The id of the key that sealed it, pointing into sealed; empty: malformed. */
mcp_str_t mcp_vault_key_id(const mcp_str_t *sealed);

/*
 * The note of a refresh that began and has not been written, in clear:
 * "VERSION FIRST OWNER LAST", VERSION of the record, FIRST and LAST when it was
 * begun (s since the epoch), OWNER who did, or "-" when that one said that it
 * has no answer and nothing to write.
 */
typedef struct {
    uint64_t             version;
    int64_t              first;
    int64_t              last;
    mcp_str_t            owner;         /* in the text */
} mcp_vault_note_t;

/* MCP_OK or MCP_ERROR: it is no note. */
int mcp_vault_note_parse(const mcp_str_t *text, mcp_vault_note_t *n);

/*
 * When the refresh token of that version may be used again (s since the epoch,
 * or 0: now).  rotates and grace as in mcp_oauth_provider_t; expires: end of
 * the access token.  A refresh that began may have used it up, and a provider
 * may take its second use for theft and end all tokens of the grant: that is
 * risked only within grace, or when the access token has ended and whoever may
 * hold newer tokens has given up writing them (MCP_VAULT_WRITING).
 */
int64_t mcp_vault_note_retry(const mcp_vault_note_t *n, unsigned rotates,
    int grace, int64_t expires, int64_t now);

/* Tokens <-> the text that is sealed (JSON).  Parsing: strings in mem, strict;
 * MCP_OK or MCP_ERROR. */
void mcp_vault_tokens_write(mcp_buf_t *b, const mcp_vault_tokens_t *t);
size_t mcp_vault_tokens_size(const mcp_vault_tokens_t *t);      /* at most */
int mcp_vault_tokens_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_vault_tokens_t *t);

/*
 * 1: tokens of the endpoint `from` are those of a credential which has this
 * token_endpoint.  Under one name there may have been another before: what one
 * provider gave is shown to no server of the next one's, nor given to that.
 */
int mcp_vault_from(const mcp_str_t *from, const mcp_str_t *token_endpoint);

/*
 * When to refresh (s since the epoch): when a fifth of the lifetime is left,
 * at least 10 s (but not more than half of it) and at most 10 min before the
 * end; spread is 0 to 999 and moves it earlier by up to a tenth of that.  0:
 * never.
 */
int64_t mcp_vault_refresh_at(const mcp_vault_tokens_t *t, unsigned spread);


#endif /* MCP_VAULT_H */
