/*
 * The output of the list filter: what is decided goes to the client, what is
 * not is held, what is forbidden is cut with one of its commas.
 *
 * Offsets count from the document's start.  Bytes up to mark went out or were
 * dropped; up to keep they are decided; from there to the piece's end they are
 * in hold when the piece goes away.  The one allocation is hold, which grows to
 * max_entry at most.
 */

#include "mcp_list_private.h"


#define MCP_LIST_MIN_HOLD  1024


int
mcp_list_entry_start(mcp_list_filter_t *f, uint64_t start)
{
    f->sep = f->keep;
    f->shown = 0;
    f->names = 0;
    f->icons = 0;
    f->bad_icon = 0;

    if (!f->any_entry) {
        f->any_entry = 1;
        f->keep = start;
        return MCP_OK;
    }

    if (!f->any_kept) {
        /* the comma of those cut before it */
        return mcp_list_cut(f, start);
    }

    return MCP_OK;
}


int
mcp_list_entry_end(mcp_list_filter_t *f, uint64_t end, unsigned visible)
{
    if (end - f->sep > f->conf->max_entry) {
        return mcp_list_fail(f, "list entry too large");
    }

    if (visible) {
        f->any_kept = 1;
        f->kept++;
        f->shadowed += (f->shown == 2);

        if (f->bad_icon && mcp_list_drop_icons(f) != MCP_OK) {
            return MCP_ERROR;
        }

        f->keep = end;
        return MCP_OK;
    }

    f->removed++;

    return mcp_list_cut(f, end);
}


int
mcp_list_info_end(mcp_list_filter_t *f, uint64_t end)
{
    if (end - f->keep > f->conf->max_entry) {
        return mcp_list_fail(f, "serverInfo too large");
    }

    if (f->icons > 1) {
        return mcp_list_fail(f, "icons twice");
    }

    if (f->bad_icon && mcp_list_drop_icons(f) != MCP_OK) {
        return MCP_ERROR;
    }

    f->keep = end;

    return MCP_OK;
}


/* An empty array in place of the icons. */

int
mcp_list_drop_icons(mcp_list_filter_t *f)
{
    f->bad_icon = 0;
    f->icons_removed = 1;

    if (mcp_list_replace(f, f->icons_start, "[]", 2) != MCP_OK) {
        return MCP_ERROR;
    }

    f->mark = f->icons_end;
    f->keep = f->icons_end;

    return MCP_OK;
}


/* Drops [keep, end). */

int
mcp_list_cut(mcp_list_filter_t *f, uint64_t end)
{
    if (mcp_list_flush(f) != MCP_OK) {
        return MCP_ERROR;
    }

    f->mark = end;
    f->keep = end;
    f->changed = 1;

    return MCP_OK;
}


/* text in place of the value that begins at start. */

int
mcp_list_replace(mcp_list_filter_t *f, uint64_t start, const char *text,
    size_t len)
{
    if (start - f->keep > f->conf->max_entry) {
        return mcp_list_fail(f, "value too large");
    }

    f->keep = start;
    f->changed = 1;

    if (mcp_list_flush(f) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcp_list_emit(f, (const unsigned char *) text, len);
}


/* Emits [mark, keep): the part in hold, then the part in the piece. */

int
mcp_list_flush(mcp_list_filter_t *f)
{
    size_t    back;
    uint64_t  end;

    if (f->mark < f->piece) {
        end = f->keep < f->piece ? f->keep : f->piece;
        back = (size_t) (f->piece - f->mark);

        if (mcp_list_emit(f, f->hold + (f->hold_len - back),
                          (size_t) (end - f->mark))
            != MCP_OK)
        {
            return MCP_ERROR;
        }

        f->mark = end;
    }

    if (f->keep > f->mark) {
        if (mcp_list_emit(f, f->data + (f->mark - f->piece),
                          (size_t) (f->keep - f->mark))
            != MCP_OK)
        {
            return MCP_ERROR;
        }

        f->mark = f->keep;
    }

    return MCP_OK;
}


int
mcp_list_emit(mcp_list_filter_t *f, const unsigned char *p, size_t len)
{
    if (len == 0) {
        return MCP_OK;
    }

    if (f->conf->emit(f->conf->data, p, len) != MCP_OK) {
        return mcp_list_fail(f, "output failed");
    }

    return MCP_OK;
}


/*
 * What is not decided is held.  What holds is bounded by max_entry in the same
 * way whether it is split or not, so that the pieces change nothing.
 */

int
mcp_list_piece_end(mcp_list_filter_t *f, uint64_t end)
{
    unsigned  hold;

    hold = 0;

    if (f->dropping) {
        f->mark = end;
        f->keep = end;

    } else if (f->where >= in_list || f->key == key_cache_scope) {
        hold = 1;

    } else if (f->key == key_id) {
        hold = (end - f->keep <= MCP_LIST_MAX_ID_SPAN
                && end - f->keep <= f->conf->max_entry);

        if (!hold) {
            f->key = key_other;
        }
    }

    if (!hold) {
        f->keep = end;
    }

    if (mcp_list_flush(f) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcp_list_hold(f, end);
}


/* Moves [mark, end) to hold; the piece goes away. */

int
mcp_list_hold(mcp_list_filter_t *f, uint64_t end)
{
    size_t          old, new, size;
    unsigned char  *p;

    old = 0;
    new = (size_t) (end - f->mark);

    if (new > f->conf->max_entry) {
        return mcp_list_fail(f, "list entry too large");
    }

    if (f->mark < f->piece) {
        old = (size_t) (f->piece - f->mark);

        if (old < f->hold_len) {
            memmove(f->hold, f->hold + (f->hold_len - old), old);
        }
    }

    if (new > f->hold_size) {
        size = f->hold_size > SIZE_MAX / 2 ? SIZE_MAX : f->hold_size * 2;
        size = size < MCP_LIST_MIN_HOLD ? MCP_LIST_MIN_HOLD : size;
        size = size > f->conf->max_entry ? f->conf->max_entry : size;
        size = size < new ? new : size;

        p = f->conf->grow(f->conf->data, f->hold, old, size);
        if (p == NULL) {
            return mcp_list_fail(f, "no memory");
        }

        f->hold = p;
        f->hold_size = size;
    }

    if (new > old) {
        memcpy(f->hold + old, f->data + (end - f->piece) - (new - old),
               new - old);
    }

    f->hold_len = new;
    f->piece = end;

    return MCP_OK;
}


/* Bytes of the document that were not emitted yet. */

void
mcp_list_copy(mcp_list_filter_t *f, unsigned char *dst, uint64_t start,
    uint64_t end)
{
    size_t    n;
    uint64_t  cut;

    if (start < f->piece) {
        cut = end < f->piece ? end : f->piece;
        n = (size_t) (cut - start);

        memcpy(dst, f->hold + f->hold_len - (size_t) (f->piece - start), n);

        dst += n;
        start = cut;
    }

    if (start < end) {
        memcpy(dst, f->data + (start - f->piece), (size_t) (end - start));
    }
}


int
mcp_list_fail(mcp_list_filter_t *f, const char *error)
{
    f->failed = 1;
    f->error = error;

    return MCP_ERROR;
}
