/*
 * Reads one JSON-RPC message: the scanner's events in, an mcp_message_t out.
 *
 * A key says which slot the coming value goes to; containers that hold no slot
 * are skipped by the scanner.  The envelope, params, params._meta, params.ref
 * and params.notifications are strict: there, two keys that a reader could
 * take for one are refused, and so is another spelling of a key that matters.
 *
 * A malformed document ends the reading at once, without an id.  Any other
 * fault is kept and the reading goes on, for the id of the answer may still
 * come; the first fault is the one that counts.
 *
 * Always true: what m points to is in the arena and no longer than its limit;
 * the outcome does not depend on where the pieces end.
 *
 * Called by the access phase (nginx/ngx_mcp_access.c).  Frees nothing: the
 * arena's owner does.
 */


#include "mcp_message_parse.h"


typedef struct {
    mcp_str_t   name;
    mcp_slot_e  slot;
} msg_key_t;


static int msg_event(mcp_message_t *m, const mcp_json_event_t *ev);
static int msg_key(mcp_message_t *m, const mcp_json_event_t *ev);
static mcp_slot_e msg_strict_key(mcp_message_t *m, mcp_context_e context,
    const mcp_json_event_t *ev);
static int msg_fresh_key(mcp_message_parse_t *p, mcp_context_e context,
    const msg_key_t *k, const mcp_str_t *key);
static const msg_key_t *msg_find_key(mcp_context_e context,
    const mcp_str_t *key);
static int msg_foreign_case(const mcp_str_t *key);
static int msg_value(mcp_message_t *m, const mcp_json_event_t *ev,
    mcp_slot_e slot);
static int msg_open(mcp_message_t *m, const mcp_json_event_t *ev,
    mcp_slot_e slot);
static int msg_root(mcp_message_t *m, const mcp_json_event_t *ev);
static int msg_field(mcp_message_t *m, const mcp_json_event_t *ev,
    mcp_slot_e slot);
static int msg_listed(mcp_message_t *m, const mcp_json_event_t *ev,
    mcp_str_t **list, unsigned *n);
static void msg_id(mcp_message_t *m, const mcp_json_event_t *ev);
static int msg_id_valid(const mcp_json_event_t *ev, const mcp_str_t *id);
static void msg_save_id(mcp_message_parse_t *p, const unsigned char *last);
static int msg_malformed(mcp_message_t *m);
static int msg_no_memory(mcp_message_t *m);
static int msg_finish(mcp_message_t *m);


/* MCP_S_NONE: not kept, but no other spelling may stand for it */
#define K(name, slot)  { mcp_string(name), slot }
#define KEYS_END       { { 0, NULL }, MCP_S_NONE }
#define MCP_PREFIX     "io.modelcontextprotocol/"

static const msg_key_t  msg_keys[MCP_C_STRICT][13] = {
    [MCP_C_ENVELOPE] = {
        K("jsonrpc", MCP_F_JSONRPC), K("id", MCP_S_ID),
        K("method", MCP_F_METHOD), K("params", MCP_S_PARAMS),
        K("result", MCP_S_RESULT), K("error", MCP_S_ERROR), KEYS_END
    },
    [MCP_C_PARAMS] = {
        K("name", MCP_F_NAME), K("arguments", MCP_S_ARGUMENTS),
        K("_meta", MCP_S_META), K("uri", MCP_F_URI), K("ref", MCP_S_REF),
        K("taskId", MCP_F_TASK_ID), K("cursor", MCP_S_NONE),
        K("notifications", MCP_S_NOTIFICATIONS),
        K("protocolVersion", MCP_F_INIT_VERSION),
        K("clientInfo", MCP_S_INIT_AGENT),
        K("capabilities", MCP_S_INIT_CAPABILITIES),
        K("inputResponses", MCP_S_RESPONSES), KEYS_END
    },
    [MCP_C_META] = {
        K(MCP_PREFIX "protocolVersion", MCP_F_CLAIM),
        K(MCP_PREFIX "clientInfo", MCP_S_AGENT),
        K(MCP_PREFIX "clientCapabilities", MCP_S_CAPABILITIES),
        K(MCP_PREFIX "logLevel", MCP_S_NONE),
        K(MCP_PREFIX "subscriptionId", MCP_S_NONE),
        K(MCP_PREFIX "serverInfo", MCP_S_NONE),
        K(MCP_PREFIX "related-task", MCP_S_NONE),
        K("traceparent", MCP_F_TRACEPARENT), KEYS_END
    },
    [MCP_C_REF] = {
        K("type", MCP_F_REF_TYPE), K("name", MCP_F_REF_NAME),
        K("uri", MCP_F_REF_URI), KEYS_END
    },
    [MCP_C_NOTIFICATIONS] = {
        K("resourceSubscriptions", MCP_S_URIS),
        K("taskIds", MCP_S_TASK_IDS), KEYS_END
    }
};


int
mcp_message_init(mcp_message_t *m, const mcp_message_conf_t *conf,
    const mcp_mem_t *mem)
{
    size_t                longest, scratch, values;
    unsigned              i, n;
    unsigned char        *data;
    mcp_message_parse_t  *p;

    memset(m, 0, sizeof(mcp_message_t));
    m->kind = MCP_REQUEST;

    if (conf->npointers > MCP_MAX_POINTERS) {
        return msg_no_memory(m);
    }

    longest = 0;

    for (i = 0; i < conf->npointers; i++) {
        if (conf->pointers[i].ntokens > MCP_MAX_TOKENS) {
            return msg_no_memory(m);
        }

        for (n = 0; n < conf->pointers[i].ntokens; n++) {
            if (conf->pointers[i].tokens[n].len > longest) {
                longest = conf->pointers[i].tokens[n].len;
            }
        }
    }

    /*
     * Room for whatever is kept, so that "truncated" means "too long", and
     * for a pointer's token in its longest spelling: three bytes for a 'k'.
     */

    scratch = MCP_MAX_AGENT + 64;
    scratch = conf->max_name > scratch ? conf->max_name : scratch;
    scratch = conf->max_value > scratch ? conf->max_value : scratch;
    scratch = 3 * longest > scratch ? 3 * longest : scratch;
    values = conf->npointers * sizeof(mcp_value_t);

    p = mcp_alloc(mem, sizeof(mcp_message_parse_t) + values + scratch
                       + conf->max_id);
    if (p == NULL) {
        return msg_no_memory(m);
    }

    memset(p, 0, offsetof(mcp_message_parse_t, scan));

    m->parse = p;
    m->values = (mcp_value_t *) (void *) (p + 1);
    memset(m->values, 0, values);

    data = (unsigned char *) (p + 1) + values;
    mcp_json_init(&p->scan, conf->max_depth, data, scratch);

    p->conf = conf;
    p->mem = *mem;
    p->id = data + scratch;
    p->slot = MCP_S_NONE;
    p->text = p->kept;
    p->room = sizeof(p->kept);

    return MCP_OK;
}


int
mcp_message_feed(mcp_message_t *m, const unsigned char *data, size_t len,
    unsigned eof)
{
    int                   rc;
    mcp_json_event_t      ev;
    const unsigned char  *pos, *last;
    mcp_message_parse_t  *p;

    p = m->parse;

    if (p->finished) {
        return MCP_ERROR;
    }

    if (len == 0) {
        data = (const unsigned char *) "";
    }

    pos = data;
    last = data + len;
    p->piece = data;
    p->base = m->size;
    m->size += len;

    do {
        rc = mcp_json_next(&p->scan, &pos, last, eof, &ev);

        if (rc == MCP_AGAIN) {
            if (p->slot == MCP_S_ID) {
                msg_save_id(p, last);
            }

            return MCP_AGAIN;
        }

        if (rc == MCP_ERROR) {
            rc = msg_malformed(m);

        } else if (ev.type == MCP_JSON_DONE) {
            p->finished = 1;
            return msg_finish(m);

        } else {
            rc = p->in_args ? mcp_arguments_event(m, &ev)
                            : msg_event(m, &ev);
        }

    } while (rc == MCP_OK);

    p->finished = 1;

    return m->fault.http ? MCP_ERROR : msg_no_memory(m);
}


static int
msg_event(mcp_message_t *m, const mcp_json_event_t *ev)
{
    mcp_slot_e            slot;
    mcp_message_parse_t  *p;

    p = m->parse;

    if (ev->type == MCP_JSON_KEY) {
        return msg_key(m, ev);
    }

    if (ev->type == MCP_JSON_OBJECT_END || ev->type == MCP_JSON_ARRAY_END) {
        return MCP_OK;
    }

    if (ev->depth == 0) {
        return msg_root(m, ev);
    }

    slot = p->slot;
    p->slot = MCP_S_NONE;

    return msg_value(m, ev, slot);
}


static int
msg_key(mcp_message_t *m, const mcp_json_event_t *ev)
{
    mcp_context_e         context;
    mcp_message_parse_t  *p;

    p = m->parse;
    context = p->context[ev->depth];
    p->slot = MCP_S_NONE;

    if (context < MCP_C_STRICT) {
        p->slot = msg_strict_key(m, context, ev);

    } else if (context == MCP_C_CAPABILITIES) {

        if (mcp_str_eq_lit(&ev->text, "elicitation")) {
            p->slot = MCP_S_ELICITATION;
        }

    } else if (context == MCP_C_ELICITATION) {

        if (mcp_str_eq_lit(&ev->text, "url")) {
            p->slot = MCP_S_ELICITATION_URL;
        }

    } else if (mcp_str_eq_lit(&ev->text, "name")) {
        p->slot = context == MCP_C_AGENT ? MCP_F_AGENT_NAME : MCP_F_INIT_NAME;

    } else if (mcp_str_eq_lit(&ev->text, "version")) {
        p->slot = context == MCP_C_AGENT ? MCP_F_AGENT_VERSION
                                         : MCP_F_INIT_AGENT;
    }

    p->scan.capture = (p->slot < MCP_F_MAX);

    return MCP_OK;
}


/*
 * The key's slot, or a fault.
 */
static mcp_slot_e
msg_strict_key(mcp_message_t *m, mcp_context_e context,
    const mcp_json_event_t *ev)
{
    unsigned              exact, fresh;
    mcp_slot_e            slot;
    const msg_key_t      *k;
    mcp_message_parse_t  *p;

    static const mcp_str_t  id = mcp_string("id");

    p = m->parse;

    if (ev->truncated || ev->text.len > p->conf->max_name) {
        mcp_message_fault(m, -32600, "Invalid Request: key too long",
                          "key_too_long");
        return MCP_S_NONE;
    }

    if (ev->escaped && memchr(ev->text.data, '\0', ev->text.len)) {
        mcp_message_fault(m, -32600, "Invalid Request: NUL in a key", "nul");
        return MCP_S_NONE;
    }

    if (p->nkeys[context] == MCP_MAX_KEYS) {
        mcp_message_fault(m, -32600, "Invalid Request: too many keys",
                          "too_many_keys");

        /* nothing but the id is of interest now */

        if (context != MCP_C_ENVELOPE || !mcp_fold_eq(&id, &ev->text)) {
            return MCP_S_NONE;
        }
    }

    k = msg_find_key(context, &ev->text);
    exact = k ? mcp_str_eq(&k->name, &ev->text)
              : context != MCP_C_META || !msg_foreign_case(&ev->text);
    slot = k ? k->slot : MCP_S_NONE;
    fresh = msg_fresh_key(p, context, k, &ev->text);

    if (slot == MCP_S_ID) {
        p->id_unclear |= (p->has_id || !exact);
        p->has_id = 1;
        p->id_from = ev->end;
    }

    if (!fresh) {
        mcp_message_fault(m, -32600, "Invalid Request: duplicate key",
                          "duplicate_key");
        return MCP_S_NONE;
    }

    if (!exact) {
        mcp_message_fault(m, -32600, "Invalid Request: key differs in case",
                          "key_case");
        slot = MCP_S_NONE;
    }

    return slot;
}


/*
 * 0 when the key was there before, as some reader would see it.  Known ones
 * have a bit each, others are remembered by a hash of their folded bytes: a
 * collision refuses what it might have let pass.  When there are too many keys,
 * which is a fault, no more are remembered.
 */
static int
msg_fresh_key(mcp_message_parse_t *p, mcp_context_e context,
    const msg_key_t *k, const mcp_str_t *key)
{
    uint64_t              hash;
    unsigned              i, bit;
    const unsigned char  *pos, *last;

    if (k) {
        bit = 1u << (k - msg_keys[context]);

        if (p->known_keys[context] & bit) {
            return 0;
        }

        if (p->nkeys[context] < MCP_MAX_KEYS) {
            p->nkeys[context]++;
            p->known_keys[context] |= bit;
        }

        return 1;
    }

    hash = 0xcbf29ce484222325;
    pos = key->data;
    last = pos + key->len;

    while (pos < last) {
        hash = (hash ^ mcp_fold_next(&pos, last)) * 0x100000001b3;
    }

    for (i = 0; i < p->nhashes[context]; i++) {
        if (p->keys[context][i] == hash) {
            return 0;
        }
    }

    if (p->nkeys[context] < MCP_MAX_KEYS) {
        p->nkeys[context]++;
        p->keys[context][p->nhashes[context]++] = hash;
    }

    return 1;
}


/*
 * The entry whose name the key is, or for a lax reader could be.
 */
static const msg_key_t *
msg_find_key(mcp_context_e context, const mcp_str_t *key)
{
    size_t            i;
    unsigned          odd;
    const msg_key_t  *k;

    for (k = msg_keys[context]; k->name.len; k++) {
        if (k->name.len == key->len
            && memcmp(k->name.data, key->data, key->len) == 0)
        {
            return k;
        }
    }

    /* bytes out of ASCII may fold to fewer; else the lengths are equal */

    for (i = 0, odd = 0; i < key->len; i++) {
        odd |= key->data[i] & 0x80;
    }

    for (k = msg_keys[context]; k->name.len; k++) {
        if ((odd || k->name.len == key->len) && mcp_fold_eq(&k->name, key)) {
            return k;
        }
    }

    return NULL;
}


/* Another spelling of the prefix that the protocol's own keys have. */
static int
msg_foreign_case(const mcp_str_t *key)
{
    size_t                i;
    const unsigned char  *pos, *last;

    static const char     prefix[] = MCP_PREFIX;

    pos = key->data;
    last = pos + key->len;

    for (i = 0; i < sizeof(prefix) - 1; i++) {
        if (pos == last
            || mcp_fold_next(&pos, last) != (unsigned char) prefix[i])
        {
            return 0;
        }
    }

    return memcmp(key->data, prefix, sizeof(prefix) - 1) != 0;
}


static int
msg_value(mcp_message_t *m, const mcp_json_event_t *ev, mcp_slot_e slot)
{
    mcp_message_parse_t  *p;

    p = m->parse;

    if (p->context[ev->depth] == MCP_C_URIS) {
        return msg_listed(m, ev, &m->uris, &m->nuris);
    }

    if (p->context[ev->depth] == MCP_C_TASK_IDS) {
        return msg_listed(m, ev, &m->tasks, &m->ntasks);
    }

    if (slot < MCP_F_MAX) {
        return msg_field(m, ev, slot);
    }

    if (slot == MCP_S_NONE && p->context[ev->depth] == MCP_C_NOTIFICATIONS) {

        /*
         * What else is asked for is true or false; a list of something may be
         * one of those above by the name that a server has for it
         * (resource_subscriptions), or one of which no rule was asked.
         */

        p->bad_uris |= (ev->type == MCP_JSON_OBJECT
                        || ev->type == MCP_JSON_ARRAY
                        || ev->type == MCP_JSON_STRING);
    }

    if (slot == MCP_S_ID) {
        msg_id(m, ev);

    } else if (slot == MCP_S_RESULT) {
        p->has_result = 1;

    } else if (slot == MCP_S_ERROR) {
        p->has_error = 1;

    } else if (slot != MCP_S_NONE) {
        return msg_open(m, ev, slot);
    }

    if (ev->type == MCP_JSON_OBJECT || ev->type == MCP_JSON_ARRAY) {
        mcp_json_skip(&p->scan);
    }

    return MCP_OK;
}


/*
 * A slot that wants a container.
 */
static int
msg_open(mcp_message_t *m, const mcp_json_event_t *ev, mcp_slot_e slot)
{
    unsigned              right;
    mcp_json_type_e       want;
    mcp_message_parse_t  *p;

    static const struct {
        mcp_context_e     context;
        const char       *reason;       /* a fault when of another type */
        int               code;
    } slots[] = {
        [MCP_S_PARAMS - MCP_F_MAX] = { MCP_C_PARAMS, "params_type", -32600 },
        [MCP_S_META - MCP_F_MAX] = { MCP_C_META, "meta_type", -32602 },
        [MCP_S_REF - MCP_F_MAX] = { MCP_C_REF, "ref_type", -32602 },
        [MCP_S_ARGUMENTS - MCP_F_MAX] = { MCP_C_MAX, "arguments_type",
                                          -32602 },
        [MCP_S_NOTIFICATIONS - MCP_F_MAX] = { MCP_C_NOTIFICATIONS, NULL, 0 },
        [MCP_S_AGENT - MCP_F_MAX] = { MCP_C_AGENT, NULL, 0 },
        [MCP_S_INIT_AGENT - MCP_F_MAX] = { MCP_C_INIT_AGENT, NULL, 0 },
        [MCP_S_CAPABILITIES - MCP_F_MAX] = { MCP_C_CAPABILITIES, NULL, 0 },
        [MCP_S_INIT_CAPABILITIES - MCP_F_MAX] = { MCP_C_CAPABILITIES, NULL,
                                                  0 },
        [MCP_S_ELICITATION - MCP_F_MAX] = { MCP_C_ELICITATION, NULL, 0 },
        [MCP_S_ELICITATION_URL - MCP_F_MAX] = { MCP_C_MAX, NULL, 0 },
        [MCP_S_RESPONSES - MCP_F_MAX] = { MCP_C_MAX, NULL, 0 },
        [MCP_S_URIS - MCP_F_MAX] = { MCP_C_URIS, NULL, 0 },
        [MCP_S_TASK_IDS - MCP_F_MAX] = { MCP_C_TASK_IDS, NULL, 0 }
    };

    p = m->parse;
    want = (slot == MCP_S_URIS || slot == MCP_S_TASK_IDS) ? MCP_JSON_ARRAY
                                                          : MCP_JSON_OBJECT;
    right = (ev->type == want);
    p->has_params |= (slot == MCP_S_PARAMS);

    if (!right) {
        if (slots[slot - MCP_F_MAX].reason) {
            mcp_message_fault(m, slots[slot - MCP_F_MAX].code,
                              slots[slot - MCP_F_MAX].code == -32600
                              ? "Invalid Request: params is not an object"
                              : "Invalid params: not an object",
                              slots[slot - MCP_F_MAX].reason);
        }

        /* what subscriptions/listen cannot read it must not let pass */

        p->bad_uris |= (slot == MCP_S_NOTIFICATIONS || slot == MCP_S_URIS
                        || slot == MCP_S_TASK_IDS);
    }

    if (right && slot == MCP_S_ARGUMENTS) {
        mcp_arguments_begin(m, ev);
        return MCP_OK;
    }

    m->capabilities |= (right && slot == MCP_S_CAPABILITIES);
    m->elicit_url |= (right && slot == MCP_S_ELICITATION_URL);
    m->answers |= (right && slot == MCP_S_RESPONSES);

    if (right && slot != MCP_S_ELICITATION_URL && slot != MCP_S_RESPONSES) {
        p->context[ev->depth + 1] = slots[slot - MCP_F_MAX].context;
        p->scan.capture = (slot == MCP_S_URIS || slot == MCP_S_TASK_IDS);
        return MCP_OK;
    }

    if (ev->type == MCP_JSON_OBJECT || ev->type == MCP_JSON_ARRAY) {
        mcp_json_skip(&p->scan);
    }

    return MCP_OK;
}


static int
msg_root(mcp_message_t *m, const mcp_json_event_t *ev)
{
    if (ev->type == MCP_JSON_OBJECT) {
        m->parse->context[1] = MCP_C_ENVELOPE;
        return MCP_OK;
    }

    if (ev->type == MCP_JSON_ARRAY) {
        return mcp_message_fault(m, -32600, "Batch not supported", "batch");
    }

    return mcp_message_fault(m, -32600, "Invalid Request", "not_object");
}


static int
msg_field(mcp_message_t *m, const mcp_json_event_t *ev, mcp_slot_e slot)
{
    size_t                len;
    mcp_field_t          *f;
    mcp_message_parse_t  *p;

    p = m->parse;
    f = &p->fields[slot];
    len = ev->text.len;

    if (ev->type != MCP_JSON_STRING) {
        f->state = f->state ? f->state : MCP_FIELD_TYPE;

        if (ev->type == MCP_JSON_OBJECT || ev->type == MCP_JSON_ARRAY) {
            mcp_json_skip(&p->scan);
        }

        return MCP_OK;
    }

    if (f->state != MCP_FIELD_ABSENT) {
        return MCP_OK;                  /* only in clientInfo */
    }

    if (slot >= MCP_F_CUT) {
        len = mcp_cut(ev->text.data, len, MCP_MAX_AGENT);

    } else if (ev->truncated || len > p->conf->max_name) {
        f->state = MCP_FIELD_LONG;
        return MCP_OK;

    } else if (ev->escaped && memchr(ev->text.data, '\0', len)) {
        mcp_message_fault(m, -32600, "Invalid Request: NUL in a name", "nul");
        f->state = MCP_FIELD_NUL;
        return MCP_OK;
    }

    f->state = MCP_FIELD_OK;

    return mcp_message_keep(p, &f->text, ev->text.data, len);
}


/*
 * An element of resourceSubscriptions or taskIds.  Only subscriptions/listen
 * needs them.
 */
static int
msg_listed(mcp_message_t *m, const mcp_json_event_t *ev, mcp_str_t **list,
    unsigned *n)
{
    mcp_message_parse_t  *p;

    p = m->parse;

    if (ev->type == MCP_JSON_OBJECT || ev->type == MCP_JSON_ARRAY) {
        mcp_json_skip(&p->scan);
    }

    if (ev->type != MCP_JSON_STRING || ev->text.len == 0 || ev->truncated
        || ev->text.len > p->conf->max_name
        || (ev->escaped && memchr(ev->text.data, '\0', ev->text.len)))
    {
        p->bad_uris = 1;
        return MCP_OK;
    }

    if (*n == MCP_MAX_URIS) {
        p->many_uris = 1;
        return MCP_OK;
    }

    if (*list == NULL) {
        *list = mcp_alloc(&p->mem, MCP_MAX_URIS * sizeof(mcp_str_t));
        if (*list == NULL) {
            return MCP_ERROR;
        }
    }

    return mcp_message_keep(p, &(*list)[(*n)++], ev->text.data, ev->text.len);
}


/*
 * The id's bytes as they were written: in this piece, or the beginning saved.
 */
static void
msg_id(mcp_message_t *m, const mcp_json_event_t *ev)
{
    size_t                len, rest;
    mcp_str_t             id;
    mcp_message_parse_t  *p;

    p = m->parse;

    if (ev->type != MCP_JSON_STRING && ev->type != MCP_JSON_NUMBER) {
        mcp_message_fault(m, -32600, "Invalid Request: id is no string or "
                          "integer", "id_type");
        return;
    }

    if (ev->end - ev->start > p->conf->max_id) {
        mcp_message_fault(m, -32600, "Invalid Request: id too long",
                          "id_too_long");
        return;
    }

    len = (size_t) (ev->end - ev->start);

    if (ev->start >= p->base) {
        memcpy(p->id, p->piece + (ev->start - p->base), len);

    } else {
        rest = (size_t) (ev->end - p->base);
        memcpy(p->id + (len - rest), p->piece, rest);
    }

    id.data = p->id;
    id.len = len;

    if (!msg_id_valid(ev, &id)) {
        mcp_message_fault(m, -32600, "Invalid Request: id is no string or "
                          "integer", "id_type");
        return;
    }

    m->id = id;
}


/* Strings; numbers without exponent and with no fraction but zeros. */
static int
msg_id_valid(const mcp_json_event_t *ev, const mcp_str_t *id)
{
    size_t    i;
    unsigned  fraction;

    if (ev->type == MCP_JSON_STRING) {
        return 1;
    }

    for (i = 0, fraction = 0; i < id->len; i++) {

        if (id->data[i] == '.') {
            fraction = 1;

        } else if ((id->data[i] | 0x20) == 'e'
                   || (fraction && id->data[i] != '0'))
        {
            return 0;
        }
    }

    return 1;
}


/*
 * The piece ends between the key "id" and the end of its value: what the next
 * pieces do not have.  One byte over the limit is never needed.
 */
static void
msg_save_id(mcp_message_parse_t *p, const unsigned char *last)
{
    const unsigned char  *pos;

    pos = p->piece;

    if (p->id_from > p->base) {
        pos += p->id_from - p->base;
    }

    if (p->id_len == 0) {
        while (pos < last && (*pos == ':' || *pos == ' ' || *pos == '\t'
                              || *pos == '\r' || *pos == '\n'))
        {
            pos++;
        }
    }

    while (pos < last && p->id_len < p->conf->max_id) {
        p->id[p->id_len++] = *pos++;
    }
}


/* No id: that of a document that cannot be parsed is not to be relied on. */
static int
msg_malformed(mcp_message_t *m)
{
    m->fault.http = 0;
    mcp_str_null(&m->id);

    return mcp_message_fault(m, -32700, "Parse error",
                             m->parse->scan.too_deep ? "too_deep"
                                                     : "parse_error");
}


static int
msg_no_memory(mcp_message_t *m)
{
    m->fault.http = 500;
    m->fault.code = -32603;
    m->fault.message = "Internal error";
    m->fault.reason = "no_memory";

    return MCP_ERROR;
}


/*
 * The document is complete: is it a message, of what kind?
 */
static int
msg_finish(mcp_message_t *m)
{
    mcp_field_t          *method;
    mcp_message_parse_t  *p;

    p = m->parse;
    method = &p->fields[MCP_F_METHOD];

    if (p->id_unclear) {
        mcp_str_null(&m->id);
    }

    m->method = method->text;
    m->kind = method->state == MCP_FIELD_ABSENT ? MCP_RESPONSE
              : p->has_id ? MCP_REQUEST : MCP_NOTIFICATION;

    mcp_arguments_end(m);

    if (p->fields[MCP_F_JSONRPC].state != MCP_FIELD_OK
        || !mcp_str_eq_lit(&p->fields[MCP_F_JSONRPC].text, "2.0"))
    {
        mcp_message_fault(m, -32600, "Invalid Request: jsonrpc is not 2.0",
                          "jsonrpc");

    } else if (m->kind != MCP_RESPONSE) {
        mcp_message_classify(m);

    } else if (p->has_result == p->has_error || !p->has_id || p->has_params) {
        mcp_message_fault(m, -32600, "Invalid Request", "no_method");
    }

    return m->fault.http ? MCP_ERROR : MCP_OK;
}


int
mcp_message_fault(mcp_message_t *m, int code, const char *message,
    const char *reason)
{
    if (m->fault.http == 0) {
        m->fault.http = 400;
        m->fault.code = code;
        m->fault.message = message;
        m->fault.reason = reason;
    }

    return MCP_ERROR;
}


int
mcp_message_keep(mcp_message_parse_t *p, mcp_str_t *dst,
    const unsigned char *data, size_t len)
{
    if (len > p->room) {
        return mcp_str_dup(&p->mem, dst, data, len);
    }

    memcpy(p->text, data, len);
    dst->data = p->text;
    dst->len = len;
    p->text += len;
    p->room -= len;

    return MCP_OK;
}


unsigned char
mcp_fold_next(const unsigned char **p, const unsigned char *last)
{
    unsigned char  ch;

    ch = *(*p)++;

    if (ch >= 'A' && ch <= 'Z') {
        return ch | 0x20;
    }

    /*
     * U+017F and U+212A are s and k for Go's decoder, U+0130 and U+0131 are i
     * for Java's equalsIgnoreCase().
     */

    if (last - *p >= 1 && ((ch == 0xc5 && (*p)[0] == 0xbf)
                           || (ch == 0xc4 && ((*p)[0] | 1) == 0xb1)))
    {
        *p += 1;
        return ch == 0xc5 ? 's' : 'i';
    }

    if (ch == 0xe2 && last - *p >= 2 && (*p)[0] == 0x84 && (*p)[1] == 0xaa) {
        *p += 2;
        return 'k';
    }

    return ch;
}


int
mcp_fold_eq(const mcp_str_t *a, const mcp_str_t *b)
{
    const unsigned char  *pa, *pb, *la, *lb;

    pa = a->data;
    pb = b->data;
    la = pa + a->len;
    lb = pb + b->len;

    while (pa < la && pb < lb) {

        if (((*pa | *pb) & 0x80) == 0) {

            /* nearly always: no more than the case of a letter */

            if (*pa != *pb
                && ((*pa ^ *pb) != 0x20 || (*pa | 0x20) < 'a'
                    || (*pa | 0x20) > 'z'))
            {
                return 0;
            }

            pa++;
            pb++;
            continue;
        }

        if (mcp_fold_next(&pa, la) != mcp_fold_next(&pb, lb)) {
            return 0;
        }
    }

    return pa == la && pb == lb;
}


size_t
mcp_cut(const unsigned char *data, size_t len, size_t max)
{
    if (len <= max) {
        return len;
    }

    while (max && (data[max] & 0xc0) == 0x80) {
        max--;
    }

    return max;
}
