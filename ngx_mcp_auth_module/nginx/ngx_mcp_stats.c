/*
 * Counters of requests.
 *
 * A server's rows are taken one by one, for each decision and reason that it
 * was the first time for; a row once taken keeps its meaning.  Counting is a
 * few loads and two atomic additions: the text of a reason becomes its number
 * (core/mcp_reason) by a small table of pointers, since the texts are static.
 *
 * No lock: rows are taken by compare-and-set, servers by the master, when the
 * configuration was read.  Called by the log phase; read by ngx_mcp_status.c.
 */

#include "ngx_mcp_stats.h"
#include "mcp_reason.h"


#define NGX_MCP_STATS_SEEN  64          /* pointers to texts, remembered */

enum {
    NGX_MCP_STATS_ALLOW = 1,
    NGX_MCP_STATS_DENY,
    NGX_MCP_STATS_WOULD_DENY,
    NGX_MCP_STATS_ERROR
};


static ngx_mcp_stats_t *ngx_mcp_stats_take(ngx_mcp_stats_t *stats,
    ngx_str_t *name);


const int64_t  ngx_mcp_stats_bounds[NGX_MCP_STATS_BUCKETS - 1] = {
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000
};


ngx_mcp_stats_t *
ngx_mcp_stats_of(ngx_mcp_stats_t *all, ngx_str_t *name)
{
    ngx_uint_t  i;

    static ngx_str_t  other = ngx_string("other");

    for (i = 0; i < NGX_MCP_STATS_SERVERS - 1; i++) {

        if (name->len == other.len
            && ngx_memcmp(name->data, other.data, other.len) == 0)
        {
            break;
        }

        if (all[i].len == 0) {
            return ngx_mcp_stats_take(&all[i], name);
        }

        if (all[i].len == name->len
            && ngx_memcmp(all[i].name, name->data, name->len) == 0)
        {
            return &all[i];
        }
    }

    return ngx_mcp_stats_take(&all[NGX_MCP_STATS_SERVERS - 1], &other);
}


/* Old workers may be reading: the length makes it be there. */
static ngx_mcp_stats_t *
ngx_mcp_stats_take(ngx_mcp_stats_t *stats, ngx_str_t *name)
{
    ngx_memcpy(stats->name, name->data, name->len);
    ngx_memory_barrier();
    stats->len = name->len;

    return stats;
}


ngx_mcp_stats_credential_t *
ngx_mcp_stats_credential(ngx_mcp_stats_credential_t *all, ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MCP_STATS_CREDENTIALS; i++) {

        if (all[i].len == 0) {
            ngx_memcpy(all[i].name, name->data, name->len);
            ngx_memory_barrier();
            all[i].len = name->len;

            return &all[i];
        }

        if (all[i].len == name->len
            && ngx_memcmp(all[i].name, name->data, name->len) == 0)
        {
            return &all[i];
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_mcp_stats_code(const char *decision, const char *reason)
{
    ngx_uint_t  d, i;

    static struct {
        const char  *text;
        ngx_uint_t   number;
    } seen[NGX_MCP_STATS_SEEN];

    switch (decision[0]) {

    case 'a':
        d = NGX_MCP_STATS_ALLOW;
        break;

    case 'd':
        d = NGX_MCP_STATS_DENY;
        break;

    case 'w':
        d = NGX_MCP_STATS_WOULD_DENY;
        break;

    default:
        d = NGX_MCP_STATS_ERROR;
    }

    i = ((uintptr_t) reason >> 2) % NGX_MCP_STATS_SEEN;

    if (seen[i].text != reason) {
        seen[i].text = reason;
        seen[i].number = mcp_reason_number(reason);
    }

    return d << 16 | seen[i].number;
}


void
ngx_mcp_stats_count(ngx_mcp_stats_t *stats, const char *decision,
    const char *reason, int64_t us)
{
    ngx_uint_t            i, code;
    ngx_mcp_stats_row_t  *row;

    code = ngx_mcp_stats_code(decision, reason ? reason : "");

    for (i = 0; /* void */ ; i++) {
        row = &stats->rows[i];

        if (i == NGX_MCP_STATS_ROWS - 1) {

            /* more reasons than rows: these have none */

            row->code = NGX_MCP_STATS_ERROR << 16 | MCP_REASON_OTHER;
            break;
        }

        if (row->code == code
            || (row->code == 0 && ngx_atomic_cmp_set(&row->code, 0, code))
            || row->code == code)
        {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&row->count, 1);

    if (us < 0) {
        return;
    }

    for (i = 0; i < NGX_MCP_STATS_BUCKETS - 1; i++) {
        if (us <= ngx_mcp_stats_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&stats->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&stats->us, (ngx_atomic_int_t) us);
}


void
ngx_mcp_stats_row(ngx_mcp_stats_row_t *row, const char **decision,
    const char **reason)
{
    static const char *const  decisions[] = {
        "error", "allow", "deny", "would_deny", "error"
    };

    *decision = decisions[(row->code >> 16) % 5];
    *reason = mcp_reason_text(row->code & 0xffff);
}


const char *const  ngx_mcp_stats_steps[NGX_MCP_STATS_STEPS] = {
    "sign_in", "start", "grant", "disconnect", "refuse"
};

const char *const  ngx_mcp_stats_decisions[NGX_MCP_STATS_DECISIONS] = {
    "allow", "deny", "error"
};


void
ngx_mcp_stats_connect(ngx_mcp_stats_connect_t counts, const char *step,
    const char *decision)
{
    ngx_uint_t  i, j;

    for (i = 0; i < NGX_MCP_STATS_STEPS; i++) {

        if (ngx_strcmp(ngx_mcp_stats_steps[i], step) != 0) {
            continue;
        }

        for (j = 0; j < NGX_MCP_STATS_DECISIONS; j++) {
            if (ngx_strcmp(ngx_mcp_stats_decisions[j], decision) == 0) {
                (void) ngx_atomic_fetch_add(&counts[i][j], 1);
                return;
            }
        }
    }
}
