/*
 * mcp_audit: whatever is in a record, its line is one line of JSON.
 *
 * - It ends in LF and has no other, is valid for jansson without a key twice,
 *   and is never longer than MCP_AUDIT_MAX.
 * - No control, and no character that changes how the rest is seen, is in it as
 *   it is.
 * - The decision and the numbers are those that were given.
 * - What mcp_audit_who() made beforehand gives the same line.
 *
 * Input: two bytes of flags, lines: node, server, user, client, target, rule,
 * preview, agent, ip; the rest is an argument's name and value.
 */

#include "fuzz.h"
#include "mcp_audit.h"


static void
fill(mcp_audit_t *r, mcp_principal_t *p, mcp_message_t *m, fz_in_t *in,
    fz_arena_t *a)
{
    unsigned            flags, more;
    static mcp_value_t  values[1];
    static mcp_str_t    keys[1];

    memset(r, 0, sizeof(*r));
    memset(p, 0, sizeof(*p));
    memset(m, 0, sizeof(*m));

    flags = fz_byte(in);
    more = fz_byte(in);

    r->sec = 1700000000 + flags;
    r->usec = more * 3000;
    r->seq = flags << 8 | more;
    r->node = fz_line(a, in);
    r->ev = "call";
    r->server = fz_line(a, in);
    r->decision = flags & 1 ? "allow" : "deny";
    r->reason = flags & 1 ? "allow" : "no_rule";

    p->user = fz_line(a, in);
    p->client = fz_line(a, in);
    p->kind = flags & 2 ? MCP_CALLER_USER : MCP_CALLER_SERVICE;
    p->auth = (mcp_auth_e) (1 + more % 3);
    p->iss = p->client;
    p->token_id = p->user;

    m->target = fz_line(a, in);
    r->rule = fz_line(a, in);
    r->preview = fz_line(a, in);
    m->agent_name = fz_line(a, in);
    r->client_ip = fz_line(a, in);
    m->kind = MCP_REQUEST;
    m->method_class = MCP_METHOD_TARGET;
    m->target_kind = (mcp_target_e) (1 + more % 4);
    m->method = m->target;
    m->id = fz_str("17");
    keys[0] = fz_rest(a, in);
    values[0].type = MCP_VALUE_STRING;
    values[0].text = keys[0];

    /* as mcp_message cuts it */

    keys[0].len = keys[0].len > 64 ? 64 : keys[0].len;
    m->arg_keys = keys;
    m->narg_keys = 1;
    m->nargs = 1;
    m->values = values;

    r->message = flags & 4 ? m : NULL;
    r->http_method = flags & 4 ? NULL : "GET";
    r->principal = flags & 8 ? p : NULL;
    r->status = 200 + more;
    r->has_rpc_code = !!(flags & 16);
    r->has_result = !!(flags & 32);
    r->has_removed = !!(flags & 64);
    r->rpc_code = -32602;
    r->result_bytes = flags;
    r->preview_max = more % 5 ? 2048 : more;
    r->preview_more = more & 1;
    r->credential = flags & 128 ? r->server : fz_str("");
    r->upstream_addr = r->node;
    r->upstream_us = more & 2 ? -1 : more;
    r->auth_us = -1;
    r->credential_us = more;
    r->request_id = r->rule;
    r->session = r->server;
    r->late_us = -1;
}


static void
is_line(const unsigned char *line, size_t len)
{
    size_t         i;
    mcp_str_t      s;
    json_error_t   error;
    json_t        *tree;

    CHECK(len > 0 && len <= MCP_AUDIT_MAX && line[len - 1] == '\n');

    s.data = (unsigned char *) line;
    s.len = len - 1;

    for (i = 0; i < s.len; i++) {
        CHECK(line[i] >= 0x20 && line[i] != 0x7f);
    }

    CHECK(!fz_has(&s, "\xe2\x80\xa8", 3) && !fz_has(&s, "\xe2\x80\xae", 3));
    CHECK(!fz_has(&s, "\xe2\x81\xa6", 3));

    tree = json_loadb((char *) line, s.len,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    CHECK(json_is_object(tree));
    CHECK(json_is_string(json_object_get(tree, "decision")));
    json_decref(tree);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t            len, again;
    fz_in_t           in;
    fz_arena_t        a;
    mcp_audit_t       r;
    mcp_message_t     m;
    unsigned char    *one, *two, *who;
    mcp_principal_t   p;

    fz_arena_init(&a);
    in = fz_in(data, size);
    fill(&r, &p, &m, &in, &a);

    one = fz_alloc(&a, MCP_AUDIT_MAX);
    two = fz_alloc(&a, MCP_AUDIT_MAX);
    who = fz_alloc(&a, MCP_AUDIT_WHO_MAX);

    len = mcp_audit_line(&r, one);
    is_line(one, len);

    if (r.principal) {
        r.who.data = who;
        r.who.len = mcp_audit_who(&p, NULL, who);
        CHECK(r.who.len <= MCP_AUDIT_WHO_MAX);

        again = mcp_audit_line(&r, two);
        CHECK(again == len && memcmp(one, two, len) == 0);
    }

    fz_arena_free(&a);

    return 0;
}
