/*
 * The methods: how each is authorised, in which era it exists, where its
 * target and its Mcp-Name come from.
 *
 * The table is exact and complete: a method that is not in it, in whatever
 * spelling, is MCP_METHOD_UNKNOWN, which policy denies unless a rule names it.
 *
 * Called by mcp_message.c when the document is complete.
 */


#include "mcp_message_parse.h"


static int method_target(mcp_message_t *m);
static int method_take(mcp_message_t *m, mcp_slot_e slot, mcp_target_e kind);


#define M(name, class, kind, source, legacy, modern, mirrored)                \
    { mcp_string(name), MCP_METHOD_##class, MCP_TARGET_##kind,                \
      MCP_SOURCE_##source, legacy, modern, mirrored }

static const mcp_method_t  methods[] = {
    M("tools/call", TARGET, TOOL, NAME, 1, 1, 1),
    M("tools/list", LIST, NONE, NONE, 1, 1, 0),
    M("initialize", FREE, NONE, NONE, 1, 0, 0),
    M("notifications/initialized", FREE, NONE, NONE, 1, 0, 0),
    M("ping", FREE, NONE, NONE, 1, 0, 0),
    M("server/discover", DISCOVER, NONE, NONE, 1, 1, 0),
    M("prompts/get", TARGET, PROMPT, NAME, 1, 1, 1),
    M("prompts/list", LIST, NONE, NONE, 1, 1, 0),
    M("resources/read", TARGET, RESOURCE, URI, 1, 1, 1),
    M("resources/list", LIST, NONE, NONE, 1, 1, 0),
    M("resources/templates/list", LIST, NONE, NONE, 1, 1, 0),
    M("resources/subscribe", TARGET, RESOURCE, URI, 1, 0, 0),
    M("resources/unsubscribe", TARGET, RESOURCE, URI, 1, 0, 0),
    M("completion/complete", TARGET, NONE, REF, 1, 1, 0),
    M("subscriptions/listen", LISTEN, NONE, NONE, 0, 1, 0),
    M("logging/setLevel", FREE, NONE, NONE, 1, 0, 0),
    M("notifications/cancelled", FREE, NONE, NONE, 1, 0, 0),
    M("notifications/progress", FREE, NONE, NONE, 1, 0, 0),
    M("notifications/roots/list_changed", FREE, NONE, NONE, 1, 0, 0),
    M("tasks/get", OWNER, METHOD, TASK, 1, 1, 0),
    M("tasks/update", OWNER, METHOD, TASK, 1, 1, 0),
    M("tasks/cancel", OWNER, METHOD, TASK, 1, 1, 0),
    M("tasks/result", OWNER, METHOD, TASK, 1, 1, 0),
    M("tasks/list", OWNER, METHOD, NONE, 1, 1, 0)
};

#define NMETHODS  (sizeof(methods) / sizeof(methods[0]))


mcp_method_e
mcp_method_class(const mcp_str_t *name)
{
    unsigned  i;

    for (i = 0; i < NMETHODS; i++) {
        if (mcp_str_eq(&methods[i].name, name)) {
            return methods[i].method_class;
        }
    }

    return MCP_METHOD_UNKNOWN;
}


int
mcp_message_classify(mcp_message_t *m)
{
    unsigned              i;
    mcp_field_t          *f;
    mcp_message_parse_t  *p;

    p = m->parse;
    f = p->fields;

    if (p->has_result || p->has_error) {
        return mcp_message_fault(m, -32600, "Invalid Request: method and "
                                 "result", "method_and_result");
    }

    if (f[MCP_F_METHOD].state == MCP_FIELD_LONG) {
        return mcp_message_fault(m, -32600, "Invalid Request: method too long",
                                 "name_too_long");
    }

    if (f[MCP_F_METHOD].state != MCP_FIELD_OK || m->method.len == 0) {
        return mcp_message_fault(m, -32600, "Invalid Request: method is no "
                                 "string", "method_type");
    }

    for (i = 0; i < NMETHODS; i++) {
        if (mcp_str_eq(&methods[i].name, &m->method)) {
            p->known = &methods[i];
            m->method_class = p->known->method_class;
            m->target_kind = p->known->kind;
            break;
        }
    }

    if (m->method_class == MCP_METHOD_UNKNOWN
        || m->method_class == MCP_METHOD_OWNER)
    {
        m->target_kind = MCP_TARGET_METHOD;
        m->target = m->method;
    }

    m->claim = (f[MCP_F_CLAIM].state != MCP_FIELD_ABSENT);
    m->version = f[MCP_F_CLAIM].text;
    m->agent_name = f[MCP_F_AGENT_NAME].text;
    m->agent_version = f[MCP_F_AGENT_VERSION].text;
    m->traceparent = f[MCP_F_TRACEPARENT].text;

    if (mcp_str_eq_lit(&m->method, "initialize") && !m->claim) {
        m->version = f[MCP_F_INIT_VERSION].text;
        m->agent_name = f[MCP_F_INIT_NAME].text;
        m->agent_version = f[MCP_F_INIT_AGENT].text;
    }

    return method_target(m);
}


static int
method_target(mcp_message_t *m)
{
    mcp_field_t          *type;
    mcp_message_parse_t  *p;

    p = m->parse;

    if (m->method_class == MCP_METHOD_LISTEN) {

        if (p->many_uris) {
            return mcp_message_fault(m, -32602, "Invalid params: too many "
                                     "subscriptions",
                                     "too_many_uris");
        }

        if (p->bad_uris) {
            return mcp_message_fault(m, -32602, "Invalid params: "
                                     "notifications", "bad_uri");
        }
    }

    if (m->method_class == MCP_METHOD_OWNER
        && p->known->source == MCP_SOURCE_TASK)
    {
        if (method_take(m, MCP_F_TASK_ID, m->target_kind) != MCP_OK) {
            return MCP_ERROR;
        }

        m->task = m->target;
    }

    if (m->method_class != MCP_METHOD_TARGET) {
        return MCP_OK;
    }

    if (p->known->source == MCP_SOURCE_NAME) {
        return method_take(m, MCP_F_NAME, m->target_kind);
    }

    if (p->known->source == MCP_SOURCE_URI) {
        return method_take(m, MCP_F_URI, m->target_kind);
    }

    type = &p->fields[MCP_F_REF_TYPE];

    if (mcp_str_eq_lit(&type->text, "ref/prompt")) {
        return method_take(m, MCP_F_REF_NAME, MCP_TARGET_PROMPT);
    }

    if (mcp_str_eq_lit(&type->text, "ref/resource")) {
        return method_take(m, MCP_F_REF_URI, MCP_TARGET_RESOURCE);
    }

    return mcp_message_fault(m, -32602, "Invalid params: ref", "ref_type");
}


static int
method_take(mcp_message_t *m, mcp_slot_e slot, mcp_target_e kind)
{
    mcp_field_t  *f;

    f = &m->parse->fields[slot];

    if (f->state == MCP_FIELD_LONG) {
        return mcp_message_fault(m, -32600, "Invalid Request: name too long",
                                 "name_too_long");
    }

    if (f->state != MCP_FIELD_OK || f->text.len == 0) {
        return mcp_message_fault(m, -32602, "Invalid params: name or uri is "
                                 "missing", "target_missing");
    }

    m->target_kind = kind;
    m->target = f->text;

    return MCP_OK;
}
