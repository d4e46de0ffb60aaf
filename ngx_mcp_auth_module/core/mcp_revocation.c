/*
 * Revocation watermarks.  See mcp_revocation.h.
 *
 * Always true of what was parsed: the columns that a type needs are there and
 * the others are empty, `at` is positive or 0 (lifted), no value has a control
 * character.  Two lines about the same have one name and one field, however
 * their values were escaped.
 *
 * Called where a file or Redis is read, by mcpctl, and (names and covers) by
 * the check of each request when the table has changed.
 */

#include "mcp_revocation.h"
#include "mcp_digest.h"
#include "mcp_line.h"


#define MCP_REVOCATION_COLUMNS  4       /* type, issuer, value, at */


typedef struct {
    mcp_str_t            word;
    const char          *revoke;        /* methods of audit records */
    const char          *unrevoke;
    mcp_revoke_e         type;
    unsigned             issuer;        /* 1: needed, 0: must be "-" */
    unsigned             value;
} mcp_revocation_type_t;

/* the strings of one line of a file */
typedef struct {
    size_t               used;
    unsigned char        data[MCP_REVOCATION_LINE + 64];
} mcp_revocation_scratch_t;


static const mcp_revocation_type_t *mcp_revocation_type(mcp_revoke_e type);
static int mcp_revocation_columns(mcp_str_t *rest, const mcp_mem_t *mem,
    mcp_revocation_t *r, const char **error);
static int mcp_revocation_value(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_str_t *value, const char **error);
static int mcp_revocation_complete(const mcp_revocation_t *r,
    const char **error);
static int mcp_revocation_pair(const mcp_str_t *column, const mcp_mem_t *mem,
    mcp_revocation_t *r, const char **error);
static void mcp_revocation_column(mcp_buf_t *b, const mcp_str_t *value);
static void mcp_revocation_hash(mcp_revoke_e type, const mcp_str_t *issuer,
    const mcp_str_t *value, unsigned char *name);
static void *mcp_revocation_alloc(void *ctx, size_t size);


static const mcp_revocation_type_t  mcp_revocation_types[] = {
    { mcp_string("all"), "revoke/all", "unrevoke/all",
      MCP_REVOKE_ALL, 0, 0 },
    { mcp_string("issuer"), "revoke/issuer", "unrevoke/issuer",
      MCP_REVOKE_ISSUER, 1, 0 },
    { mcp_string("user"), "revoke/user", "unrevoke/user",
      MCP_REVOKE_USER, 1, 1 },
    { mcp_string("client"), "revoke/client", "unrevoke/client",
      MCP_REVOKE_CLIENT, 0, 1 },
    { mcp_string("token"), "revoke/token", "unrevoke/token",
      MCP_REVOKE_TOKEN, 0, 1 }
};


/*
 * Stamps are whole numbers below 2^53, which a double holds exactly; they are
 * written with %.0f, because tostring() would round them.  What is no "STAMP
 * LINE" counts as nothing.
 */

const char  mcp_revocation_script[] =
"local max = 9007199254740991\n"
"local old = redis.call('HGET', KEYS[1], ARGV[1])\n"
"local was = old and tonumber(string.match(old, '^(%d+) ')) or 0\n"
"if was > max then was = 0 end\n"
"local stamp\n"
"if ARGV[3] == '' then\n"
"  local t = redis.call('TIME')\n"
"  stamp = math.max(t[1] * 1000000 + t[2], was + 1)\n"
"else\n"
"  stamp = string.match(ARGV[3], '^%d+$') and tonumber(ARGV[3])\n"
"end\n"
"if not stamp or stamp > max then\n"
"  return redis.error_reply('ERR no stamp')\n"
"end\n"
"if stamp <= was then return string.format('%.0f', was) end\n"
"local text = string.format('%.0f', stamp)\n"
"redis.call('HSET', KEYS[1], ARGV[1], text .. ' ' .. ARGV[2])\n"
"redis.call('PUBLISH', KEYS[2], 'rev ' .. text .. ' ' .. ARGV[2])\n"
"return text\n";


int
mcp_revocation_parse(const mcp_str_t *line, const mcp_mem_t *mem,
    mcp_revocation_t *r, const char **error)
{
    int        rc;
    mcp_str_t  rest, column;

    memset(r, 0, sizeof(mcp_revocation_t));

    if (line->len > MCP_REVOCATION_LINE) {
        *error = "the line is longer than 2048 bytes";
        return MCP_ERROR;
    }

    rest = *line;

    if (mcp_revocation_columns(&rest, mem, r, error) != MCP_OK
        || mcp_revocation_complete(r, error) != MCP_OK)
    {
        return MCP_ERROR;
    }

    for ( ;; ) {
        rc = mcp_line_column(&rest, &column);

        if (rc == MCP_DECLINED) {
            return MCP_OK;
        }

        if (rc != MCP_OK) {
            *error = "two spaces, or one at the end of the line";
            return MCP_ERROR;
        }

        if (mcp_revocation_pair(&column, mem, r, error) != MCP_OK) {
            return MCP_ERROR;
        }
    }
}


void
mcp_revocation_write(mcp_buf_t *b, const mcp_revocation_t *r)
{
    mcp_revocation_field(b, r);
    mcp_buf_lit(b, " ");

    if (r->at > 0) {
        mcp_time_write(b, r->at);

    } else {
        mcp_buf_lit(b, "-");
    }

    if (r->until > 0) {
        mcp_buf_lit(b, " until=");
        mcp_time_write(b, r->until);
    }

    if (r->by.len) {
        mcp_buf_lit(b, " by=");
        mcp_line_encode(b, &r->by, "");
    }

    if (r->reason.len) {
        mcp_buf_lit(b, " reason=");
        mcp_line_encode(b, &r->reason, "");
    }
}


void
mcp_revocation_field(mcp_buf_t *b, const mcp_revocation_t *r)
{
    mcp_buf_str(b, &mcp_revocation_type(r->type)->word);
    mcp_buf_lit(b, " ");
    mcp_revocation_column(b, &r->issuer);
    mcp_buf_lit(b, " ");
    mcp_revocation_column(b, &r->value);
}


const char *
mcp_revocation_word(mcp_revoke_e type)
{
    return (const char *) mcp_revocation_type(type)->word.data;
}


const char *
mcp_revocation_method(mcp_revoke_e type, unsigned lifted)
{
    const mcp_revocation_type_t  *t;

    t = mcp_revocation_type(type);

    return lifted ? t->unrevoke : t->revoke;
}


void
mcp_revocation_name(const mcp_revocation_t *r, unsigned char *name)
{
    mcp_revocation_hash(r->type, &r->issuer, &r->value, name);
}


unsigned
mcp_revocation_names(const mcp_principal_t *p,
    unsigned char names[MCP_REVOCATION_NAMES][MCP_REVOCATION_NAME])
{
    unsigned   n;
    mcp_str_t  none;

    n = 0;
    mcp_str_null(&none);

    mcp_revocation_hash(MCP_REVOKE_ALL, &none, &none, names[n++]);

    if (p->iss.len) {
        mcp_revocation_hash(MCP_REVOKE_ISSUER, &p->iss, &none, names[n++]);
    }

    if (p->user.len) {
        mcp_revocation_hash(MCP_REVOKE_USER, &p->iss, &p->user, names[n++]);
    }

    if (p->client.len) {
        mcp_revocation_hash(MCP_REVOKE_CLIENT, &p->iss, &p->client,
                            names[n++]);
    }

    if (p->token_id.len) {
        mcp_revocation_hash(MCP_REVOKE_TOKEN, &p->iss, &p->token_id,
                            names[n++]);
    }

    return n;
}


int
mcp_revocation_covers(int64_t at, int64_t iat, int leeway)
{
    if (at <= 0) {
        return 0;
    }

    /* subtracted, since iat may be any date of a token, but never negative */

    return leeway > 0 ? iat - leeway <= at : iat <= at;
}


int
mcp_revocation_file(const mcp_str_t *text,
    int (*each)(void *ctx, const mcp_revocation_t *r), void *ctx,
    const char **error, unsigned *line)
{
    int                        rc;
    mcp_mem_t                  mem;
    mcp_str_t                  rest, one;
    mcp_revocation_t           r;
    mcp_revocation_scratch_t   scratch;

    *line = 0;
    *error = NULL;
    rest = *text;

    mem.alloc = mcp_revocation_alloc;
    mem.ctx = &scratch;

    for ( ;; ) {
        rc = mcp_line_next(&rest, &one, line, error);

        if (rc == MCP_DECLINED) {
            return MCP_OK;
        }

        scratch.used = 0;

        if (rc != MCP_OK
            || mcp_revocation_parse(&one, &mem, &r, error) != MCP_OK)
        {
            return MCP_ERROR;
        }

        if (each == NULL) {
            continue;
        }

        rc = each(ctx, &r);
        if (rc != MCP_OK) {
            return rc;
        }
    }
}


static const mcp_revocation_type_t *
mcp_revocation_type(mcp_revoke_e type)
{
    return &mcp_revocation_types[type - MCP_REVOKE_ALL];
}


/* Type, issuer, value and moment. */

static int
mcp_revocation_columns(mcp_str_t *rest, const mcp_mem_t *mem,
    mcp_revocation_t *r, const char **error)
{
    unsigned   i;
    mcp_str_t  column[MCP_REVOCATION_COLUMNS];

    for (i = 0; i < MCP_REVOCATION_COLUMNS; i++) {
        if (mcp_line_column(rest, &column[i]) != MCP_OK) {
            *error = "not \"TYPE ISSUER VALUE TIME\", with one space between";
            return MCP_ERROR;
        }
    }

    for (i = MCP_REVOKE_ALL; i <= MCP_REVOKE_TOKEN; i++) {
        if (mcp_str_eq(&column[0], &mcp_revocation_type(i)->word)) {
            r->type = i;
            break;
        }
    }

    if (r->type == 0) {
        *error = "begins with none of user, client, token, issuer, all";
        return MCP_ERROR;
    }

    if (mcp_revocation_value(&column[1], mem, &r->issuer, error) != MCP_OK
        || mcp_revocation_value(&column[2], mem, &r->value, error) != MCP_OK)
    {
        return MCP_ERROR;
    }

    if (mcp_str_eq_lit(&column[3], "-")) {
        return MCP_OK;
    }

    /* the first second of all would read as lifted */

    if (mcp_time_parse(&column[3], &r->at) != MCP_OK || r->at == 0) {
        *error = "the fourth column is no time like 2026-11-25T15:10:40Z";
        return MCP_ERROR;
    }

    return MCP_OK;
}


static int
mcp_revocation_value(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_str_t *value, const char **error)
{
    if (mcp_str_eq_lit(text, "-")) {
        return MCP_OK;
    }

    return mcp_line_decode(mem, text, "", value, error);
}


static int
mcp_revocation_complete(const mcp_revocation_t *r, const char **error)
{
    const mcp_revocation_type_t  *t;

    t = mcp_revocation_type(r->type);

    if (t->issuer && r->issuer.len == 0) {
        *error = "needs an issuer, not \"-\"";
        return MCP_ERROR;
    }

    if (t->value && r->value.len == 0) {
        *error = "needs a value in the third column, not \"-\"";
        return MCP_ERROR;
    }

    if (!t->value && r->value.len) {
        *error = "the third column has to be \"-\" here";
        return MCP_ERROR;
    }

    if (r->type == MCP_REVOKE_ALL && r->issuer.len) {
        *error = "the second column has to be \"-\" here";
        return MCP_ERROR;
    }

    return MCP_OK;
}


static int
mcp_revocation_pair(const mcp_str_t *column, const mcp_mem_t *mem,
    mcp_revocation_t *r, const char **error)
{
    mcp_str_t  key, text, *value;

    if (mcp_line_pair(column, &key, &text) != MCP_OK) {
        *error = "a column after the time is not key=value";
        return MCP_ERROR;
    }

    if (mcp_str_eq_lit(&key, "until")) {
        if (r->until || mcp_time_parse(&text, &r->until) != MCP_OK
            || r->until == 0)
        {
            *error = "\"until\" is no time like 2026-11-25T15:10:40Z, or is "
                     "there twice";
            return MCP_ERROR;
        }

        return MCP_OK;
    }

    if (mcp_str_eq_lit(&key, "by")) {
        value = &r->by;

    } else if (mcp_str_eq_lit(&key, "reason")) {
        value = &r->reason;

    } else {
        return MCP_OK;
    }

    if (value->data || text.len == 0) {
        *error = "\"by\" or \"reason\" is empty, or is there twice";
        return MCP_ERROR;
    }

    return mcp_line_decode(mem, &text, "", value, error);
}


static void
mcp_revocation_column(mcp_buf_t *b, const mcp_str_t *value)
{
    if (value->len == 0) {
        mcp_buf_lit(b, "-");

    } else if (mcp_str_eq_lit(value, "-")) {
        mcp_buf_lit(b, "%2D");

    } else {
        mcp_line_encode(b, value, "");
    }
}


static void
mcp_revocation_hash(mcp_revoke_e type, const mcp_str_t *issuer,
    const mcp_str_t *value, unsigned char *name)
{
    unsigned          i, n;
    SHA256_CTX        ctx;
    unsigned char     head[9];
    const mcp_str_t  *part[2];

    part[0] = issuer;
    part[1] = value;
    head[0] = (unsigned char) type;

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, head, 1);

    for (n = 0; n < 2; n++) {
        for (i = 0; i < 8; i++) {
            head[i] = (unsigned char) ((uint64_t) part[n]->len >> (56 - 8 * i));
        }

        SHA256_Update(&ctx, head, 8);

        if (part[n]->len) {
            SHA256_Update(&ctx, part[n]->data, part[n]->len);
        }
    }

    SHA256_Final(name, &ctx);
}


/* Decoded values are never longer than the line; each takes a byte at least. */

static void *
mcp_revocation_alloc(void *ctx, size_t size)
{
    void                      *p;
    mcp_revocation_scratch_t  *scratch;

    scratch = ctx;

    if (size > sizeof(scratch->data) - scratch->used) {
        return NULL;
    }

    p = scratch->data + scratch->used;
    scratch->used += size;

    return p;
}
