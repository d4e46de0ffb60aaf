/*
 * `vault rekey` and `vault new-key`: the keys that credentials are sealed with.
 *
 * Every record that was sealed with another key than the first one of the ring
 * is opened, and sealed anew with that.  Its version stays, and so does what is
 * noted of a refresh that is under way: that one finds the version that it
 * began with, and what it writes is sealed by its gateway.  What another wrote
 * meanwhile is never written over; it is read again.  So is what waits for a
 * provider to be told that a grant is over (mcp_ending.h).
 */

#include "mcpctl_vault.h"
#include "mcpctl_args.h"
#include "mcp_ending.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>


#define MCPCTL_KEY_BASE64  44           /* characters of 32 bytes */


typedef struct {
    mcpctl_audit_t      *audit;
    mcp_str_t            sealed;
    mcp_str_t            meta;
    unsigned             records;
    unsigned             resealed;
    unsigned             already;
    unsigned             left;          /* do not open */
    unsigned             whole;         /* all records were seen */
} mcpctl_rekey_t;


static int mcpctl_rekey_in(mcpctl_vault_t *v, mcpctl_audit_t *audit);
static int mcpctl_rekey_record(mcpctl_vault_t *v, mcpctl_record_t *r,
    void *data);
static int mcpctl_rekey_one(mcpctl_vault_t *v, mcpctl_record_t *r,
    mcpctl_rekey_t *rk);
static unsigned mcpctl_rekey_first(const mcpctl_vault_t *v,
    const mcp_str_t *sealed);
static int mcpctl_rekey_left(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcpctl_rekey_t *rk);
static int mcpctl_rekey_endings(mcpctl_vault_t *v, mcpctl_rekey_t *rk);
static int mcpctl_rekey_page(mcpctl_vault_t *v, const redisReply *page,
    mcpctl_rekey_t *rk);
static int mcpctl_rekey_ending(mcpctl_vault_t *v, const mcp_str_t *id,
    const mcp_str_t *sealed, mcpctl_rekey_t *rk);
static char *mcpctl_rekey_rest(mcpctl_vault_t *v, const mcpctl_rekey_t *rk);
static void mcpctl_rekey_show(mcpctl_vault_t *v, const mcpctl_rekey_t *rk);
static char *mcpctl_rekey_others(mcpctl_vault_t *v);
static int mcpctl_new_key_id(mcpctl_t *ctl, const char *id);


int
mcpctl_vault_rekey(mcpctl_t *ctl, int argc, char **argv)
{
    int              rc;
    unsigned         no_audit;
    mcpctl_vault_t   v;
    mcpctl_audit_t   audit;

    const mcpctl_option_t  options[] = {
        { "no-audit", NULL, &no_audit },
        { NULL, NULL, NULL }
    };

    no_audit = 0;

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK
        || mcpctl_audit_open(ctl, &audit, no_audit) != MCP_OK)
    {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_vault_open(ctl, &v);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_rekey_in(&v, &audit);
        mcpctl_vault_close(&v);
    }

    mcpctl_audit_close(&audit);

    return rc;
}


/* On record: that it begins, before the first change, and how it ended. */
static int
mcpctl_rekey_in(mcpctl_vault_t *v, mcpctl_audit_t *audit)
{
    int                 rc;
    char               *key;
    mcpctl_list_t       names;
    mcpctl_rekey_t      rk;
    mcp_vault_owner_t   nobody;

    memset(&rk, 0, sizeof(mcpctl_rekey_t));
    memset(&nobody, 0, sizeof(mcp_vault_owner_t));

    rk.audit = audit;
    rk.sealed.data = mcpctl_alloc(v->ctl, MCPCTL_VAULT_PLAIN);
    rk.meta.data = mcpctl_alloc(v->ctl, MCPCTL_VAULT_PLAIN);

    key = mcpctl_shown(v->ctl, &v->ring.keys[0].id, MCPCTL_SHOWN);

    mcpctl_audit_credential(audit, "vault/rekey", &nobody, 0);
    audit->record.note = mcpctl_cstr(mcpctl_format(v->ctl, "key %s: begins",
                                                   key));

    rc = mcpctl_vault_names(v, &names, &rk.left);

    if (rc == MCP_OK) {
        rc = mcpctl_vault_each(v, &names, mcpctl_rekey_record, &rk, &rk.left);
    }

    if (rc == MCP_OK) {
        rc = mcpctl_rekey_endings(v, &rk);
    }

    rk.whole = (rc == MCP_OK);

    if (audit->written) {
        audit->written = 0;
        audit->record.decision = (rk.whole && !rk.left) ? "allow" : "error";
        audit->record.reason = (rk.whole && !rk.left) ? NULL : "store";
        audit->record.note = mcpctl_cstr(mcpctl_format(v->ctl,
                                 "key %s: %u sealed anew, %s", key,
                                 rk.resealed, mcpctl_rekey_rest(v, &rk)));

        if (mcpctl_audit_write(audit) != MCP_OK) {
            rc = MCP_ERROR;
        }
    }

    mcpctl_rekey_show(v, &rk);

    return (rc == MCP_OK && rk.left == 0) ? MCPCTL_OK : MCPCTL_FAILED;
}


/* Nobody takes a key away for records that were not looked at. */
static char *
mcpctl_rekey_rest(mcpctl_vault_t *v, const mcpctl_rekey_t *rk)
{
    return rk->whole ? mcpctl_format(v->ctl, "%u left", rk->left)
                     : mcpctl_format(v->ctl, "it did not come to its end");
}


/* Again, as long as others change it. */
static int
mcpctl_rekey_record(mcpctl_vault_t *v, mcpctl_record_t *r, void *data)
{
    mcpctl_rekey_t *rk = data;

    int              rc;
    unsigned         tries;
    mcp_str_t        name;
    mcpctl_record_t  again;

    name = r->name;
    rk->records++;

    for (tries = 0; tries < MCPCTL_VAULT_TRIES; tries++) {

        rc = mcpctl_rekey_one(v, r, rk);

        if (rc != MCP_DECLINED) {
            return rc;
        }

        if (mcpctl_vault_read(v, &name, &again) != MCP_OK) {
            return MCP_ERROR;
        }

        if (again.version == 0) {
            rk->records--;
            return MCP_OK;
        }

        r = &again;
    }

    rk->left++;

    return mcpctl_error(v->ctl, MCP_OK, "record %s is changed by others all "
                        "the time", name.data);
}


/* MCP_DECLINED: it is another one by now. */
static int
mcpctl_rekey_one(mcpctl_vault_t *v, mcpctl_record_t *r, mcpctl_rekey_t *rk)
{
    int  rc;

    mcpctl_record_open(v, r, NULL);

    if (!r->owned || r->open != MCPCTL_RECORD_OPEN) {
        return mcpctl_rekey_left(v, r, rk);
    }

    if (mcpctl_rekey_first(v, &r->meta)
        && (!r->tokens || mcpctl_rekey_first(v, &r->sealed)))
    {
        rk->already++;
        return MCP_OK;
    }

    if (mcpctl_record_reseal(v, r, &rk->sealed, &rk->meta) != MCP_OK) {
        return MCP_ERROR;
    }

    rc = mcpctl_vault_reseal(v, r, &rk->sealed, &rk->meta, rk->audit);

    rk->resealed += (rc == MCP_OK);

    return rc;
}


static unsigned
mcpctl_rekey_first(const mcpctl_vault_t *v, const mcp_str_t *sealed)
{
    mcp_str_t  id;

    id = mcp_vault_key_id(sealed);

    return mcp_str_eq(&id, &v->ring.keys[0].id);
}


static int
mcpctl_rekey_left(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcpctl_rekey_t *rk)
{
    rk->left++;

    return mcpctl_error(v->ctl, MCP_OK, "record %.*s%s%s is left: %s",
                        (int) r->name.len, (char *) r->name.data,
                        r->owned ? ", " : "",
                        r->owned ? mcpctl_record_whose(v->ctl, r) : "",
                        mcpctl_record_why(v->ctl, r));
}


static int
mcpctl_rekey_endings(mcpctl_vault_t *v, mcpctl_rekey_t *rk)
{
    int          rc;
    mcp_str_t    argv[5];
    redisReply  *reply, *cursor;

    argv[0] = mcpctl_cstr("HSCAN");
    argv[1] = mcpctl_redis_key(v->redis, "rv", "", 0);
    argv[2] = mcpctl_cstr("0");
    argv[3] = mcpctl_cstr("COUNT");
    argv[4] = mcpctl_cstr("100");

    do {
        reply = mcpctl_redis_command(v->redis, REDIS_REPLY_ARRAY, 5, argv);
        if (reply == NULL) {
            return MCP_ERROR;
        }

        if (reply->elements != 2
            || reply->element[0]->type != REDIS_REPLY_STRING
            || reply->element[1]->type != REDIS_REPLY_ARRAY
            || reply->element[1]->elements % 2)
        {
            freeReplyObject(reply);
            return mcpctl_error(v->ctl, MCP_ERROR, "an answer of Redis makes "
                                "no sense");
        }

        cursor = reply->element[0];
        argv[2] = mcpctl_str(v->ctl, cursor->str, (size_t) cursor->len);

        rc = mcpctl_rekey_page(v, reply->element[1], rk);

        freeReplyObject(reply);

        if (rc != MCP_OK) {
            return rc;
        }

    } while (!mcp_str_eq_lit(&argv[2], "0"));

    return MCP_OK;
}


static int
mcpctl_rekey_page(mcpctl_vault_t *v, const redisReply *page,
    mcpctl_rekey_t *rk)
{
    size_t       i;
    mcp_str_t    id, sealed;
    redisReply  *e;

    for (i = 0; i < page->elements; i += 2) {
        e = page->element[i];
        id = mcpctl_str(v->ctl, e->str, (size_t) e->len);
        e = page->element[i + 1];
        sealed = mcpctl_str(v->ctl, e->str, (size_t) e->len);

        if (mcpctl_rekey_ending(v, &id, &sealed, rk) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


static int
mcpctl_rekey_ending(mcpctl_vault_t *v, const mcp_str_t *id,
    const mcp_str_t *sealed, mcpctl_rekey_t *rk)
{
    mcp_str_t           argv[7], plain;
    redisReply         *reply;
    mcp_vault_owner_t   by_name;

    rk->records++;

    if (mcp_vault_is_name(id)) {
        mcp_vault_owner_by_name(&by_name, id->data);
    }

    if (!mcp_vault_is_name(id)
        || mcpctl_record_plain(v, &by_name, MCP_ENDING_FIELD, 0, sealed,
                               &plain)
           != MCP_OK)
    {
        rk->left++;

        return mcpctl_error(v->ctl, MCP_OK, "a grant that is over, and whose "
                            "provider was not told yet, is left: %.*s does "
                            "not open", (int) id->len, (char *) id->data);
    }

    mcpctl_vault_forget(v);

    if (mcpctl_rekey_first(v, sealed)) {
        rk->already++;
        return MCP_OK;
    }

    if (mcpctl_record_again(v, &by_name, MCP_ENDING_FIELD, 0, sealed,
                            &rk->sealed)
        != MCP_OK
        || mcpctl_audit_write(rk->audit) != MCP_OK)
    {
        return MCP_ERROR;
    }

    /* one that its provider knows of by now stays away */

    argv[0] = mcpctl_cstr("EVAL");
    argv[1] = mcpctl_cstr("if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] "
                          "then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) "
                          "end return 1");
    argv[2] = mcpctl_cstr("1");
    argv[3] = mcpctl_redis_key(v->redis, "rv", "", 0);
    argv[4] = *id;
    argv[5] = *sealed;
    argv[6] = rk->sealed;

    reply = mcpctl_redis_command(v->redis, REDIS_REPLY_INTEGER, 7, argv);
    if (reply == NULL) {
        return MCP_ERROR;
    }

    freeReplyObject(reply);
    rk->resealed++;

    return MCP_OK;
}


static void
mcpctl_rekey_show(mcpctl_vault_t *v, const mcpctl_rekey_t *rk)
{
    char    *key;
    json_t  *root;

    key = mcpctl_shown(v->ctl, &v->ring.keys[0].id, MCPCTL_SHOWN);

    if (v->ctl->json) {
        root = mcpctl_json_object(v->ctl);

        mcpctl_json_set(v->ctl, root, "key", json_string(key));
        mcpctl_json_set(v->ctl, root, "records", json_integer(rk->records));
        mcpctl_json_set(v->ctl, root, "resealed", json_integer(rk->resealed));
        mcpctl_json_set(v->ctl, root, "already", json_integer(rk->already));
        mcpctl_json_set(v->ctl, root, "complete", json_boolean(rk->whole));

        if (rk->whole) {
            mcpctl_json_set(v->ctl, root, "left", json_integer(rk->left));
        }

        mcpctl_json_print(v->ctl, root);

        return;
    }

    printf("key %s: %u of %u sealed anew, %u were already, %s\n", key,
           rk->resealed, rk->records, rk->already, mcpctl_rekey_rest(v, rk));

    if (rk->whole && rk->left == 0 && v->ring.nkeys > 1) {
        printf("%s may go when no gateway runs with another first key\n",
               mcpctl_rekey_others(v));
    }
}


static char *
mcpctl_rekey_others(mcpctl_vault_t *v)
{
    char      *names;
    unsigned   i;

    names = mcpctl_format(v->ctl, "%s", "");

    for (i = 1; i < v->ring.nkeys; i++) {
        names = mcpctl_format(v->ctl, "%s%s%s", names, i > 1 ? ", " : "",
                              mcpctl_shown(v->ctl, &v->ring.keys[i].id,
                                           MCPCTL_SHOWN));
    }

    return names;
}


int
mcpctl_vault_new_key(mcpctl_t *ctl, int argc, char **argv)
{
    int             n;
    char           *moment;
    json_t         *root;
    const char     *id;
    unsigned char   key[32], text[MCPCTL_KEY_BASE64 + 1];

    const mcpctl_option_t  options[] = { { NULL, NULL, NULL } };

    n = mcpctl_options(ctl, options, argc, argv, &id, 1);

    if (n < 0) {
        return mcpctl_usage(ctl);
    }

    if (n == 0) {
        moment = mcpctl_arg_moment(ctl, mcpctl_now());
        id = mcpctl_format(ctl, "k%.10s", moment);
    }

    if (mcpctl_new_key_id(ctl, id) != MCP_OK) {
        return mcpctl_usage(ctl);
    }

    if (RAND_bytes(key, sizeof(key)) != 1) {
        ERR_clear_error();
        return mcpctl_error(ctl, MCPCTL_FAILED, "OpenSSL has no random bytes");
    }

    (void) EVP_EncodeBlock(text, key, sizeof(key));
    mcpctl_wipe(key, sizeof(key));

    if (ctl->json) {
        root = mcpctl_json_object(ctl);
        mcpctl_json_set(ctl, root, "id", json_string(id));
        mcpctl_json_set(ctl, root, "key", json_string((char *) text));
        mcpctl_json_print(ctl, root);

    } else {
        printf("%s %s\n", id, text);
    }

    mcpctl_wipe(text, sizeof(text));

    return MCPCTL_OK;
}


/* As mcp_vault_keys() wants it. */
static int
mcpctl_new_key_id(mcpctl_t *ctl, const char *id)
{
    size_t  i;

    for (i = 0; id[i]; i++) {
        if (!((id[i] >= 'a' && id[i] <= 'z') || (id[i] >= 'A' && id[i] <= 'Z')
              || (id[i] >= '0' && id[i] <= '9') || strchr("-_.", id[i])))
        {
            break;
        }
    }

    if (id[i] || i == 0 || i > MCP_VAULT_KEY_ID) {
        return mcpctl_error(ctl, MCP_ERROR, "the id of a key has 1 to %d "
                            "letters, digits, \"-\", \"_\" and \".\"",
                            MCP_VAULT_KEY_ID);
    }

    return MCP_OK;
}
