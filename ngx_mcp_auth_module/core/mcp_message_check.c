/*
 * The checks that need the headers: which era a message belongs to, whether
 * the mirror headers agree with the body, whether a modern request carries
 * what it must.
 *
 * The body is what counts; the headers only cross-check.  They are compared in
 * either era, because an upstream may route by them: it must not see another
 * request than the one that was authorised.
 *
 * Order: facts/mcp.md 2.5.  Called once, after mcp_message_feed() gave MCP_OK.
 * Allocates nothing.
 */


#include "mcp_message_parse.h"


#define MODERN       "2026-07-28"
#define VERSION_LEN  10


static int check_claim(mcp_message_t *m, const mcp_mirror_t *mirror);
static int check_no_claim(mcp_message_t *m, const mcp_mirror_t *mirror);
static int check_mirror(mcp_message_t *m, const mcp_mirror_t *mirror);
static int check_name(mcp_message_t *m, const mcp_str_t *header);
static int check_required(mcp_message_t *m, const mcp_mirror_t *mirror);
static void check_class(mcp_message_t *m);
static int version_valid(const mcp_str_t *v);
static int version_modern(const mcp_str_t *v);
static int version_legacy(const mcp_str_t *v);
static int mismatch(mcp_message_t *m, const char *message,
    const char *reason);
static mcp_str_t trimmed(const mcp_str_t *header);
static int header_is(const mcp_str_t *header, const mcp_str_t *text);
static int base64_is(const unsigned char *p, size_t len,
    const mcp_str_t *text);
static int base64_value(unsigned char ch);


int
mcp_message_check(mcp_message_t *m, const mcp_mirror_t *mirror)
{
    int  rc;

    m->era = MCP_ERA_LEGACY;

    rc = m->claim ? check_claim(m, mirror) : check_no_claim(m, mirror);

    if (rc != MCP_OK || check_mirror(m, mirror) != MCP_OK) {
        return MCP_ERROR;
    }

    if (m->era == MCP_ERA_MODERN && m->kind == MCP_REQUEST
        && check_required(m, mirror) != MCP_OK)
    {
        return MCP_ERROR;
    }

    check_class(m);

    return MCP_OK;
}


static int
check_claim(mcp_message_t *m, const mcp_mirror_t *mirror)
{
    mcp_str_t  header;

    if (!version_valid(&m->version)) {
        return mcp_message_fault(m, -32602, "Invalid params: malformed _meta "
                                 "io.modelcontextprotocol/protocolVersion",
                                 "version_malformed");
    }

    if (version_modern(&m->version)) {
        m->era = MCP_ERA_MODERN;
    }

    if (mirror->protocol_version.data) {
        header = trimmed(&mirror->protocol_version);

        if (!mcp_str_eq(&header, &m->version)) {
            return mismatch(m, "Header mismatch: MCP-Protocol-Version",
                            "version_mismatch");
        }
    }

    if (m->era == MCP_ERA_MODERN ? !mcp_str_eq_lit(&m->version, MODERN)
                                 : !version_legacy(&m->version))
    {
        return mcp_message_fault(m, -32022, "Unsupported protocol version",
                                 "version");
    }

    return MCP_OK;
}


/*
 * Without a claim the header decides for notifications only.
 */
static int
check_no_claim(mcp_message_t *m, const mcp_mirror_t *mirror)
{
    mcp_str_t  header;

    if (mirror->protocol_version.data == NULL) {
        return MCP_OK;
    }

    header = trimmed(&mirror->protocol_version);

    if (!version_valid(&header) || !version_modern(&header)) {

        if (version_legacy(&header)) {
            return MCP_OK;
        }

        return mcp_message_fault(m, -32600, "Invalid Request: "
                                 "MCP-Protocol-Version", "version_header");
    }

    if (m->kind == MCP_RESPONSE) {
        return mcp_message_fault(m, -32600, "Invalid Request: responses are "
                                 "not accepted", "response");
    }

    if (mcp_str_eq_lit(&m->method, "initialize")) {
        return mismatch(m, "Header mismatch: MCP-Protocol-Version of "
                        "initialize", "version_mismatch");
    }

    m->era = MCP_ERA_MODERN;

    if (!mcp_str_eq_lit(&header, MODERN)) {
        return mcp_message_fault(m, -32022, "Unsupported protocol version",
                                 "version");
    }

    if (m->kind == MCP_REQUEST) {
        return mcp_message_fault(m, -32602, "Invalid params: missing _meta "
                                 "io.modelcontextprotocol/protocolVersion",
                                 "version_missing");
    }

    return MCP_OK;
}


static int
check_mirror(mcp_message_t *m, const mcp_mirror_t *mirror)
{
    mcp_str_t  header;

    if (mirror->method.data) {
        header = trimmed(&mirror->method);

        if (m->kind == MCP_RESPONSE || !mcp_str_eq(&header, &m->method)) {
            return mismatch(m, "Header mismatch: Mcp-Method",
                            "method_mismatch");
        }
    }

    if (mirror->name.data) {
        header = trimmed(&mirror->name);

        if (m->kind == MCP_RESPONSE || !check_name(m, &header)) {
            return mismatch(m, "Header mismatch: Mcp-Name", "name_mismatch");
        }
    }

    return MCP_OK;
}


/*
 * Methods that are not known to have a name may be mirrored by any member of
 * params that could be one.
 */
static int
check_name(mcp_message_t *m, const mcp_str_t *header)
{
    unsigned             i;
    mcp_source_e         source;
    const mcp_field_t   *f;

    static const mcp_slot_e  candidates[] = {
        MCP_F_NAME, MCP_F_URI, MCP_F_TASK_ID
    };

    f = m->parse->fields;
    source = m->parse->known ? m->parse->known->source : MCP_SOURCE_NONE;

    if (m->method_class == MCP_METHOD_TARGET) {
        return header_is(header, &m->target);
    }

    if (source == MCP_SOURCE_TASK) {
        return f[MCP_F_TASK_ID].state == MCP_FIELD_OK
               && header_is(header, &f[MCP_F_TASK_ID].text);
    }

    for (i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        if (f[candidates[i]].state == MCP_FIELD_OK
            && header_is(header, &f[candidates[i]].text))
        {
            return 1;
        }
    }

    return 0;
}


static int
check_required(mcp_message_t *m, const mcp_mirror_t *mirror)
{
    if (mirror->protocol_version.data == NULL) {
        return mismatch(m, "Header mismatch: MCP-Protocol-Version is missing",
                        "version_header_missing");
    }

    if (mirror->method.data == NULL) {
        return mismatch(m, "Header mismatch: Mcp-Method is missing",
                        "method_header_missing");
    }

    if (mirror->name.data == NULL && m->parse->known
        && m->parse->known->mirrored)
    {
        return mismatch(m, "Header mismatch: Mcp-Name is missing",
                        "name_header_missing");
    }

    if (!m->capabilities) {
        return mcp_message_fault(m, -32602, "Invalid params: missing _meta "
                                 "io.modelcontextprotocol/clientCapabilities",
                                 "capabilities_missing");
    }

    return MCP_OK;
}


/* A method that the era does not have is as unknown as any other. */
static void
check_class(mcp_message_t *m)
{
    const mcp_method_t  *known;

    known = m->parse->known;

    if (known == NULL
        || (m->era == MCP_ERA_MODERN ? known->modern : known->legacy))
    {
        return;
    }

    m->method_class = MCP_METHOD_UNKNOWN;
    m->target_kind = MCP_TARGET_METHOD;
    m->target = m->method;
}


static int
version_valid(const mcp_str_t *v)
{
    size_t  i;

    if (v->len != VERSION_LEN) {
        return 0;
    }

    for (i = 0; i < VERSION_LEN; i++) {
        if (i == 4 || i == 7 ? v->data[i] != '-'
                             : v->data[i] < '0' || v->data[i] > '9')
        {
            return 0;
        }
    }

    return 1;
}


/* Of a valid one: dates compare as bytes. */
static int
version_modern(const mcp_str_t *v)
{
    return memcmp(v->data, MODERN, VERSION_LEN) >= 0;
}


static int
version_legacy(const mcp_str_t *v)
{
    return mcp_str_eq_lit(v, "2025-11-25") || mcp_str_eq_lit(v, "2025-06-18")
           || mcp_str_eq_lit(v, "2025-03-26")
           || mcp_str_eq_lit(v, "2024-11-05")
           || mcp_str_eq_lit(v, "2024-10-07");
}


static int
mismatch(mcp_message_t *m, const char *message, const char *reason)
{
    return mcp_message_fault(m, -32020, message, reason);
}


/* Without the optional whitespace around a field value (RFC 9110, 5.5). */
static mcp_str_t
trimmed(const mcp_str_t *header)
{
    mcp_str_t  v;

    v = *header;

    while (v.len && (v.data[0] == ' ' || v.data[0] == '\t')) {
        v.data++;
        v.len--;
    }

    while (v.len && (v.data[v.len - 1] == ' ' || v.data[v.len - 1] == '\t')) {
        v.len--;
    }

    return v;
}


/*
 * 1 when the header's value, decoded, is text.  A value out of visible ASCII
 * must be encoded; one that is the two markers run into each other is neither
 * literal nor encoded.
 */
static int
header_is(const mcp_str_t *header, const mcp_str_t *text)
{
    size_t                i;
    static const char     begin[] = "=?base64?", end[] = "?=";

    for (i = 0; i < header->len; i++) {
        if (header->data[i] != '\t'
            && (header->data[i] < 0x20 || header->data[i] > 0x7e))
        {
            return 0;
        }
    }

    if (header->len < sizeof(begin) - 1 + 1
        || memcmp(header->data, begin, sizeof(begin) - 1) != 0
        || memcmp(header->data + header->len - 2, end, 2) != 0)
    {
        return mcp_str_eq(header, text);
    }

    if (header->len < sizeof(begin) - 1 + 2) {
        return 0;
    }

    return base64_is(header->data + sizeof(begin) - 1,
                     header->len - (sizeof(begin) - 1) - 2, text);
}


/*
 * 1 when p is the canonical, padded base64 of text.  What is equal to text is
 * valid UTF-8, for the body was.
 */
static int
base64_is(const unsigned char *p, size_t len, const mcp_str_t *text)
{
    int            v[4];
    size_t         i, k, n, done;
    unsigned char  out[3];

    if (len % 4 || len / 4 != (text->len + 2) / 3) {
        return 0;
    }

    for (i = 0, done = 0; i < len; i += 4, done += n) {

        n = text->len - done < 3 ? text->len - done : 3;

        for (k = 0; k < 4; k++) {
            v[k] = k > n ? (p[i + k] == '=' ? 0 : -1) : base64_value(p[i + k]);

            if (v[k] < 0) {
                return 0;
            }
        }

        if ((n == 1 && (v[1] & 0xf)) || (n == 2 && (v[2] & 0x3))) {
            return 0;
        }

        out[0] = (unsigned char) (v[0] << 2 | v[1] >> 4);
        out[1] = (unsigned char) ((v[1] & 0xf) << 4 | v[2] >> 2);
        out[2] = (unsigned char) ((v[2] & 0x3) << 6 | v[3]);

        if (memcmp(out, text->data + done, n) != 0) {
            return 0;
        }
    }

    return 1;
}


static int
base64_value(unsigned char ch)
{
    if (ch >= 'A' && ch <= 'Z') {
        return ch - 'A';
    }

    if (ch >= 'a' && ch <= 'z') {
        return ch - 'a' + 26;
    }

    if (ch >= '0' && ch <= '9') {
        return ch - '0' + 52;
    }

    return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}
