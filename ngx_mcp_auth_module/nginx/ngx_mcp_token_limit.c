/*
 * A leaky bucket for each address, as in limit_req: so many failures at once,
 * and then one more each time that the next has leaked.  A slot has the time at
 * which the bucket is empty again; each failure puts that off by its share of a
 * minute.
 *
 * Addresses are found by a keyed digest, in a set of four.  When all four are
 * in use, the one that is forgotten first goes: an attacker with a thousand
 * addresses is not stopped by this, nor is one with a single address let in
 * without it; tokens have 256 bits.  It bounds what guessing costs us, and it
 * is seen.
 *
 * Called by ngx_mcp_token.c for tokens that are in no cache.
 */

#include "ngx_mcp_token_limit.h"


#define NGX_MCP_LIMIT_TIME   60000      /* ms */
#define NGX_MCP_LIMIT_AGE    10         /* minutes that a token is known */
#define NGX_MCP_LIMIT_CLOCK  0xfff      /* bits of a word that are minutes */


static void ngx_mcp_limit_address(struct sockaddr *sockaddr,
    mcp_digest_t *d);
static ngx_mcp_limit_slot_t *ngx_mcp_limit_slot(ngx_mcp_limit_try_t *t);
static ngx_mcp_limit_slot_t *ngx_mcp_limit_take(ngx_mcp_limit_try_t *t);
static ngx_msec_t ngx_mcp_limit_left(ngx_mcp_limit_slot_t *s);
static ngx_uint_t ngx_mcp_limit_known(ngx_mcp_limit_try_t *t);
static ngx_atomic_uint_t ngx_mcp_limit_minute(void);


void
ngx_mcp_limit_try(ngx_mcp_limit_try_t *t, ngx_mcp_limit_t *table,
    ngx_uint_t failures, struct sockaddr *sockaddr, const u_char *key,
    const mcp_digest_key_t *digest)
{
    u_char        raw[MCP_DIGEST_RAW];
    mcp_digest_t  d;

    t->table = table;
    t->failures = failures;

    ngx_memcpy(&t->token, key, sizeof(ngx_atomic_uint_t));
    t->place = (key[8] << 8 | key[9]) % NGX_MCP_LIMIT_KNOWN;

    mcp_digest_init(&d, digest);
    mcp_digest_update(&d, "address", sizeof("address"));
    ngx_mcp_limit_address(sockaddr, &d);
    mcp_digest_raw(&d, digest, raw);

    ngx_memcpy(&t->tag, raw, sizeof(ngx_atomic_uint_t));
    t->set = (raw[8] << 8 | raw[9]) % NGX_MCP_LIMIT_SETS;

    if (t->tag == 0) {
        t->tag = 1;
    }
}


/* A /64 is what one customer has.  IPv4 stays IPv4 on a socket for both; all
 * clients of a UNIX-domain socket are one. */

static void
ngx_mcp_limit_address(struct sockaddr *sockaddr, mcp_digest_t *d)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        mcp_digest_update(d, &sin->sin_addr, 4);
        break;

#if (NGX_HAVE_INET6)

    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            mcp_digest_update(d, &sin6->sin6_addr.s6_addr[12], 4);

        } else {
            mcp_digest_update(d, &sin6->sin6_addr, 8);
        }

        break;

#endif

    default:
        break;
    }
}


time_t
ngx_mcp_limit_wait(ngx_mcp_limit_try_t *t)
{
    ngx_msec_t             left, full;
    ngx_mcp_limit_slot_t  *s;

    if (t->failures == 0) {
        return 0;
    }

    s = ngx_mcp_limit_slot(t);

    if (s == NULL) {
        return 0;
    }

    left = ngx_mcp_limit_left(s);
    full = NGX_MCP_LIMIT_TIME / t->failures * (t->failures - 1);

    if (left <= full || ngx_mcp_limit_known(t)) {
        return 0;
    }

    return (left - full + 999) / 1000;
}


void
ngx_mcp_limit_failed(ngx_mcp_limit_try_t *t)
{
    ngx_msec_t             left;
    ngx_atomic_uint_t      until;
    ngx_mcp_limit_slot_t  *s;

    if (t->failures == 0) {
        return;
    }

    s = ngx_mcp_limit_slot(t);

    if (s == NULL) {
        s = ngx_mcp_limit_take(t);

    } else if (s->last == t->token) {

        /* whoever has a wrong token and goes on with it does not guess */

        return;
    }

    s->last = t->token;

    do {
        until = s->until;
        left = ngx_mcp_limit_left(s) + NGX_MCP_LIMIT_TIME / t->failures;
        left = ngx_min(left, NGX_MCP_LIMIT_TIME);

    } while (!ngx_atomic_cmp_set(&s->until, until, ngx_current_msec + left));
}


/* The address's slot, or NULL: it has none. */

static ngx_mcp_limit_slot_t *
ngx_mcp_limit_slot(ngx_mcp_limit_try_t *t)
{
    ngx_uint_t             i;
    ngx_mcp_limit_slot_t  *s;

    s = t->table->slots[t->set];

    for (i = 0; i < NGX_MCP_LIMIT_WAYS; i++) {
        if (s[i].tag == t->tag) {
            return &s[i];
        }
    }

    return NULL;
}


/* A slot for it: a free one, or the one that is forgotten first. */

static ngx_mcp_limit_slot_t *
ngx_mcp_limit_take(ngx_mcp_limit_try_t *t)
{
    ngx_uint_t             i;
    ngx_msec_t             left, least;
    ngx_mcp_limit_slot_t  *s, *taken;

    s = t->table->slots[t->set];
    taken = s;
    least = NGX_MCP_LIMIT_TIME + 1;

    for (i = 0; i < NGX_MCP_LIMIT_WAYS; i++) {
        left = ngx_mcp_limit_left(&s[i]);

        if (left < least) {
            least = left;
            taken = &s[i];
        }
    }

    taken->until = ngx_current_msec;
    taken->tag = t->tag;

    return taken;
}


/*
 * ms until all is forgotten.  Another worker's clock is read once a turn of its
 * event loop and may be ahead of ours: a full bucket looks a little fuller than
 * full.  What is too far away to be true is over.
 */

static ngx_msec_t
ngx_mcp_limit_left(ngx_mcp_limit_slot_t *s)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (s->until - ngx_current_msec);

    if (s->tag == 0 || left < 0 || left > 2 * NGX_MCP_LIMIT_TIME) {
        return 0;
    }

    return ngx_min(left, NGX_MCP_LIMIT_TIME);
}


/*
 * Somebody else behind the same address has a good token and shall not lose it
 * because it left the cache: it is looked at again, limit or not.  A word has
 * the minute, and of the token what it has room for.
 */

void
ngx_mcp_limit_good(ngx_mcp_limit_try_t *t)
{
    ngx_atomic_uint_t  word;

    word = (t->token & ~(ngx_atomic_uint_t) NGX_MCP_LIMIT_CLOCK)
           | (ngx_mcp_limit_minute() & NGX_MCP_LIMIT_CLOCK);

    if (t->table->known[t->place] != word) {
        t->table->known[t->place] = word;
    }
}


static ngx_uint_t
ngx_mcp_limit_known(ngx_mcp_limit_try_t *t)
{
    ngx_atomic_uint_t  word;

    word = t->table->known[t->place];

    return ((word ^ t->token) & ~(ngx_atomic_uint_t) NGX_MCP_LIMIT_CLOCK) == 0
           && ((ngx_mcp_limit_minute() - word) & NGX_MCP_LIMIT_CLOCK)
              <= NGX_MCP_LIMIT_AGE;
}


static ngx_atomic_uint_t
ngx_mcp_limit_minute(void)
{
    return ngx_current_msec / 60000;
}
