/*
 * mcp_token_file and mcp_revocation_file as a store.
 *
 * A change is one of lines: what stands in the file and is not about the same,
 * comments too, stays byte for byte.  A file that nginx would not take is not
 * changed, and what would be written is read once more before it takes its
 * place.
 */

#include "mcpctl_store.h"
#include "mcpctl_file.h"
#include "mcp_line.h"


/* A part of the text that becomes another one. */
typedef struct {
    size_t               at;
    size_t               len;           /* with its line end; 0: it is new */
    mcp_str_t            line;          /* len 0: it goes */
} mcpctl_edit_t;

/* A file that is being changed, and how: in the order of the text. */
typedef struct {
    mcpctl_t            *ctl;
    const mcp_str_t     *path;
    const char          *head;          /* comment of a new file */
    int                (*check)(mcpctl_t *ctl, const mcp_str_t *path,
                                const mcp_str_t *text);
    mcpctl_file_text_t   file;
    size_t               end;           /* where "end" begins */
    mcpctl_list_t        edits;         /* mcpctl_edit_t */
    size_t               more;          /* bytes that they add, at most */
} mcpctl_edits_t;


static int mcpctl_file_tokens(mcpctl_store_t *st, mcpctl_list_t *tokens);
static int mcpctl_file_token(mcpctl_store_t *st, const mcp_str_t *id,
    mcpctl_token_t **token);
static int mcpctl_file_create(mcpctl_store_t *st, const mcp_access_key_t *key,
    mcpctl_audit_t *audit);
static int mcpctl_file_rotate(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_access_key_t *key,
    mcpctl_audit_t *audit);
static int mcpctl_file_revoke(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_revocation_t *r,
    mcpctl_audit_t *audit);
static int mcpctl_file_watermarks(mcpctl_store_t *st,
    mcpctl_list_t *watermarks);
static int mcpctl_file_watermark(mcpctl_store_t *st,
    const mcp_revocation_t *r, mcpctl_watermark_t **watermark);
static int mcpctl_file_set(mcpctl_store_t *st, const mcp_revocation_t *r,
    mcpctl_audit_t *audit);

static int mcpctl_file_edit_tokens(mcpctl_store_t *st, mcpctl_edits_t *e,
    const mcpctl_token_t *old, const mcp_str_t *changed,
    const mcp_access_key_t *key);
static int mcpctl_file_edit_open(mcpctl_edits_t *e);
static void mcpctl_file_edit(mcpctl_edits_t *e, size_t at, size_t len,
    const mcp_str_t *line);
static int mcpctl_file_edit_done(mcpctl_edits_t *e, mcpctl_audit_t *audit);
static mcp_str_t mcpctl_file_edited(const mcpctl_edits_t *e);
static int mcpctl_file_check_tokens(mcpctl_t *ctl, const mcp_str_t *path,
    const mcp_str_t *text);
static int mcpctl_file_check_revocations(mcpctl_t *ctl,
    const mcp_str_t *path, const mcp_str_t *text);


int
mcpctl_store_file(mcpctl_t *ctl, mcpctl_store_t *st)
{
    (void) ctl;

    st->name = "file";

    st->tokens = mcpctl_file_tokens;
    st->token = mcpctl_file_token;
    st->create = mcpctl_file_create;
    st->rotate = mcpctl_file_rotate;
    st->revoke = mcpctl_file_revoke;
    st->watermarks = mcpctl_file_watermarks;
    st->watermark = mcpctl_file_watermark;
    st->set = mcpctl_file_set;

    return MCP_OK;
}


static int
mcpctl_file_tokens(mcpctl_store_t *st, mcpctl_list_t *tokens)
{
    unsigned             n;
    mcp_str_t            rest, line, *path;
    const char          *error;
    mcpctl_token_t      *token;
    mcpctl_file_text_t   f;

    path = &st->ctl->conf->token_file;

    if (mcpctl_file_read(st->ctl, path, &f) != MCP_OK) {
        return MCP_ERROR;
    }

    if (!f.exists) {
        return MCP_OK;
    }

    if (mcpctl_file_check_tokens(st->ctl, path, &f.text) != MCP_OK) {
        return MCP_ERROR;
    }

    n = 0;
    rest = f.text;

    while (rest.len
           && mcp_line_next(&rest, &line, &n, &error) == MCP_OK)
    {
        token = mcpctl_store_token(st, &line, (char *) path->data);
        if (token == NULL) {
            return MCP_ERROR;
        }

        mcpctl_push(st->ctl, tokens, token);
    }

    return MCP_OK;
}


static int
mcpctl_file_token(mcpctl_store_t *st, const mcp_str_t *id,
    mcpctl_token_t **token)
{
    unsigned        i;
    mcpctl_list_t   all;

    memset(&all, 0, sizeof(mcpctl_list_t));

    if (mcpctl_file_tokens(st, &all) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < all.n; i++) {
        *token = all.elts[i];

        if (mcp_str_eq(&(*token)->key.id, id)) {
            return MCP_OK;
        }
    }

    return MCP_DECLINED;
}


static int
mcpctl_file_create(mcpctl_store_t *st, const mcp_access_key_t *key,
    mcpctl_audit_t *audit)
{
    int             rc;
    mcp_str_t       line;
    mcpctl_edits_t  e;

    line = mcpctl_store_token_line(st->ctl, key);
    if (line.len == 0) {
        return MCP_ERROR;
    }

    rc = mcpctl_file_edit_tokens(st, &e, NULL, NULL, key);

    if (rc == MCP_OK) {
        mcpctl_file_edit(&e, e.end, 0, &line);
        rc = mcpctl_file_edit_done(&e, audit);
    }

    mcpctl_file_close(&e.file);

    return rc;
}


static int
mcpctl_file_rotate(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_access_key_t *key,
    mcpctl_audit_t *audit)
{
    int             rc;
    mcp_str_t       line, was;
    mcpctl_edits_t  e;

    was = mcpctl_store_token_line(st->ctl, changed);
    line = mcpctl_store_token_line(st->ctl, key);

    if (was.len == 0 || line.len == 0) {
        return MCP_ERROR;
    }

    rc = mcpctl_file_edit_tokens(st, &e, old, &was, key);

    if (rc == MCP_OK) {
        mcpctl_file_edit(&e, e.end, 0, &line);
        rc = mcpctl_file_edit_done(&e, audit);
    }

    mcpctl_file_close(&e.file);

    return rc;
}


static int
mcpctl_file_revoke(mcpctl_store_t *st, const mcpctl_token_t *old,
    const mcp_access_key_t *changed, const mcp_revocation_t *r,
    mcpctl_audit_t *audit)
{
    int             rc;
    mcp_str_t       was;
    mcpctl_edits_t  e;

    (void) r;

    was = mcpctl_store_token_line(st->ctl, changed);
    if (was.len == 0) {
        return MCP_ERROR;
    }

    rc = mcpctl_file_edit_tokens(st, &e, old, &was, NULL);

    if (rc == MCP_OK) {
        rc = mcpctl_file_edit_done(&e, audit);
    }

    mcpctl_file_close(&e.file);

    return rc;
}


static int
mcpctl_file_watermarks(mcpctl_store_t *st, mcpctl_list_t *watermarks)
{
    unsigned             n;
    mcp_str_t            rest, line, *path;
    const char          *error;
    mcpctl_watermark_t  *w;
    mcpctl_file_text_t   f;

    path = &st->ctl->conf->revocation_file;

    if (mcpctl_file_read(st->ctl, path, &f) != MCP_OK) {
        return MCP_ERROR;
    }

    if (!f.exists) {
        return MCP_OK;
    }

    if (mcpctl_file_check_revocations(st->ctl, path, &f.text) != MCP_OK) {
        return MCP_ERROR;
    }

    n = 0;
    rest = f.text;

    while (rest.len
           && mcp_line_next(&rest, &line, &n, &error) == MCP_OK)
    {
        w = mcpctl_store_watermark(st, &line, (char *) path->data);
        if (w == NULL) {
            return MCP_ERROR;
        }

        mcpctl_push(st->ctl, watermarks, w);
    }

    return MCP_OK;
}


/* Of several lines about the same the latest moment counts. */
static int
mcpctl_file_watermark(mcpctl_store_t *st, const mcp_revocation_t *r,
    mcpctl_watermark_t **watermark)
{
    unsigned             i;
    mcpctl_list_t        all;
    mcpctl_watermark_t  *w;

    *watermark = NULL;
    memset(&all, 0, sizeof(mcpctl_list_t));

    if (mcpctl_file_watermarks(st, &all) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < all.n; i++) {
        w = all.elts[i];

        if (w->r.at && mcpctl_store_same(&w->r, r)
            && (*watermark == NULL || w->r.at > (*watermark)->r.at))
        {
            *watermark = w;
        }
    }

    return *watermark ? MCP_OK : MCP_DECLINED;
}


/* The first line about the same becomes the new one, others go. */
static int
mcpctl_file_set(mcpctl_store_t *st, const mcp_revocation_t *r,
    mcpctl_audit_t *audit)
{
    int                  rc;
    unsigned             n;
    mcp_str_t            rest, line, new;
    const char          *error;
    mcpctl_edits_t       e;
    mcpctl_watermark_t  *w;

    memset(&e, 0, sizeof(mcpctl_edits_t));
    mcp_str_null(&new);

    if (r->at) {
        new = mcpctl_store_revocation_line(st->ctl, r);
        if (new.len == 0) {
            return MCP_ERROR;
        }
    }

    e.ctl = st->ctl;
    e.path = &st->ctl->conf->revocation_file;
    e.check = mcpctl_file_check_revocations;
    e.head = "# Revocations, made by mcpctl(8).  The last line has to be "
             "\"end\".\n";

    rc = mcpctl_file_edit_open(&e);

    n = 0;
    rest = e.file.text;

    while (rc == MCP_OK && rest.len
           && mcp_line_next(&rest, &line, &n, &error) == MCP_OK)
    {
        w = mcpctl_store_watermark(st, &line, (char *) e.path->data);

        if (w == NULL) {
            rc = MCP_ERROR;

        } else if (mcpctl_store_same(&w->r, r)) {
            mcpctl_file_edit(&e, (size_t) (line.data - e.file.text.data),
                             line.len + 1, &new);
            mcp_str_null(&new);
        }
    }

    if (rc == MCP_OK && e.edits.n == 0) {
        if (r->at) {

            /* the gateways may remember one that was lost */

            if (!e.file.exists) {
                mcpctl_warn(st->ctl, "\"%s\" was not there: it is new, and "
                            "whoever was revoked in an older one is not any "
                            "more", e.path->data);
            }

            mcpctl_file_edit(&e, e.end, 0, &new);

        } else {
            rc = MCP_DECLINED;
        }
    }

    if (rc == MCP_OK) {
        rc = mcpctl_file_edit_done(&e, audit);
    }

    mcpctl_file_close(&e.file);

    return rc;
}


/*
 * Opens the token file; the line of old (NULL: of none) is to become `changed`.
 * MCP_DECLINED: it is not there as it was read, or the hash or the id of key
 * (NULL: of none) is.  The file is to be closed in any case.
 */
static int
mcpctl_file_edit_tokens(mcpctl_store_t *st, mcpctl_edits_t *e,
    const mcpctl_token_t *old, const mcp_str_t *changed,
    const mcp_access_key_t *key)
{
    unsigned         n;
    mcp_str_t        rest, line;
    const char      *error;
    mcpctl_token_t  *token;

    memset(e, 0, sizeof(mcpctl_edits_t));

    e->ctl = st->ctl;
    e->path = &st->ctl->conf->token_file;
    e->check = mcpctl_file_check_tokens;
    e->head = "# Tokens, made by mcpctl(8).  The last line has to be \"end\"."
              "\n";

    if (mcpctl_file_edit_open(e) != MCP_OK) {
        return MCP_ERROR;
    }

    n = 0;
    rest = e->file.text;

    while (rest.len && mcp_line_next(&rest, &line, &n, &error) == MCP_OK) {

        if (old && mcp_str_eq(&line, &old->line)) {
            mcpctl_file_edit(e, (size_t) (line.data - e->file.text.data),
                             line.len + 1, changed);
        }

        if (key == NULL) {
            continue;
        }

        token = mcpctl_store_token(st, &line, (char *) e->path->data);
        if (token == NULL) {
            return MCP_ERROR;
        }

        if (mcp_str_eq(&token->key.id, &key->id)
            || memcmp(token->key.hash, key->hash, MCP_ACCESS_KEY_HASH) == 0)
        {
            return MCP_DECLINED;
        }
    }

    return (old == NULL || e->edits.n) ? MCP_OK : MCP_DECLINED;
}


/* With the lock; a new file gets its head and its "end". */
static int
mcpctl_file_edit_open(mcpctl_edits_t *e)
{
    unsigned     n;
    mcp_str_t    rest, line;
    const char  *error;

    if (mcpctl_file_open(e->ctl, e->path, &e->file) != MCP_OK) {
        return MCP_ERROR;
    }

    if (!e->file.exists) {
        e->file.text = mcpctl_cstr(mcpctl_format(e->ctl, "%send\n",
                                                 e->head));
    }

    if (e->check(e->ctl, e->path, &e->file.text) != MCP_OK) {
        return MCP_ERROR;
    }

    n = 0;
    rest = e->file.text;

    while (mcp_line_next(&rest, &line, &n, &error) == MCP_OK) {
        /* void */
    }

    e->end = (size_t) (line.data - e->file.text.data);

    return MCP_OK;
}


/* len bytes at `at` become the line; at the end, len is 0. */
static void
mcpctl_file_edit(mcpctl_edits_t *e, size_t at, size_t len,
    const mcp_str_t *line)
{
    mcpctl_edit_t  *edit;

    edit = mcpctl_alloc(e->ctl, sizeof(mcpctl_edit_t));

    edit->at = at;
    edit->len = len;
    edit->line = *line;

    e->more += line->len + 1;

    mcpctl_push(e->ctl, &e->edits, edit);
}


static int
mcpctl_file_edit_done(mcpctl_edits_t *e, mcpctl_audit_t *audit)
{
    mcp_str_t  text;

    text = mcpctl_file_edited(e);

    if (e->check(e->ctl, e->path, &text) != MCP_OK
        || mcpctl_file_prepare(e->ctl, &e->file, &text) != MCP_OK
        || mcpctl_audit_write(audit) != MCP_OK)
    {
        return MCP_ERROR;
    }

    return mcpctl_file_commit(e->ctl, &e->file);
}


static mcp_str_t
mcpctl_file_edited(const mcpctl_edits_t *e)
{
    size_t                at;
    unsigned              i;
    mcp_buf_t             b;
    mcp_str_t             text;
    const mcpctl_edit_t  *edit;

    mcp_buf_init(&b, mcpctl_alloc(e->ctl, e->file.text.len + e->more + 1),
                 e->file.text.len + e->more);

    at = 0;

    for (i = 0; i < e->edits.n; i++) {
        edit = e->edits.elts[i];

        mcp_buf_put(&b, e->file.text.data + at, edit->at - at);

        if (edit->line.len) {
            mcp_buf_str(&b, &edit->line);
            mcp_buf_lit(&b, "\n");
        }

        at = edit->at + edit->len;
    }

    mcp_buf_put(&b, e->file.text.data + at, e->file.text.len - at);

    text.data = b.start;
    text.len = (size_t) (b.pos - b.start);

    return text;
}


/*
 * As the workers will read it.  An empty one is what a full disk or a slip of
 * the hand has left: they have the older content still, and what is written
 * here would take its place.
 */
static int
mcpctl_file_check_tokens(mcpctl_t *ctl, const mcp_str_t *path,
    const mcp_str_t *text)
{
    unsigned            line;
    const char         *error;
    mcp_access_keys_t  *keys;

    keys = mcp_access_keys_parse(text, &error, &line);

    if (keys == NULL) {
        return mcpctl_error(ctl, MCP_ERROR, "%s:%u: %s", path->data,
                            line ? line : 1, error);
    }

    mcp_access_keys_free(keys);

    return MCP_OK;
}


static int
mcpctl_file_check_revocations(mcpctl_t *ctl, const mcp_str_t *path,
    const mcp_str_t *text)
{
    unsigned     line;
    const char  *error;

    if (mcp_revocation_file(text, NULL, NULL, &error, &line) != MCP_OK) {
        return mcpctl_error(ctl, MCP_ERROR, "%s:%u: %s", path->data,
                            line ? line : 1, error);
    }

    return MCP_OK;
}
