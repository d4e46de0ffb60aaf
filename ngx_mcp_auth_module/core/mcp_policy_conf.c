/*
 * Builds the policy of one MCP server from the words of its configuration
 * (DESIGN.md section 4): roles, rules, conditions, scopes, step-ups.
 *
 * Always true: what was refused left nothing behind that decides; every
 * refusal is one sentence without control characters that names the rule; a
 * rule, a pattern or a condition that can never have an effect is refused, so
 * that a typing mistake does not look like protection.
 *
 * Called while nginx reads its configuration and never later.  All memory is
 * the arena's, words are copied; nothing is freed here.
 */

#include "mcp_policy_private.h"
#include "mcp_principal.h"

#include <stdarg.h>
#include <stdio.h>


#define MCP_RULE_TEXT  256              /* bytes of a rule in the audit */

#define mcp_nelts(a)   (sizeof(a) / sizeof((a)[0]))


/* One statement being read, and where its error goes. */
typedef struct {
    mcp_policy_t        *policy;
    const mcp_str_t     *words;
    unsigned             nwords;
    unsigned             i;             /* the next word */
    mcp_str_t            text;
    char                *error;
    size_t               size;
} mcp_statement_t;


static int mcp_policy_fail(char *error, size_t size, const char *fmt, ...);
static int mcp_statement_fail(const mcp_statement_t *st, const char *what,
    const mcp_str_t *word, const char *then);
static mcp_str_t mcp_statement_text(const mcp_mem_t *mem,
    const mcp_str_t *subject, const mcp_str_t *words, unsigned nwords);
static void mcp_statement_cut(mcp_str_t *text);
static int mcp_statement_kind(mcp_statement_t *st, mcp_target_e *kind);
static int mcp_statement_patterns(mcp_statement_t *st, mcp_target_e kind,
    mcp_patterns_t *patterns);
static int mcp_statement_method(mcp_statement_t *st, const mcp_str_t *word);
static int mcp_statement_where(mcp_statement_t *st, mcp_rule_t *rule);
static int mcp_statement_condition(mcp_statement_t *st, mcp_condition_t *c);
static int mcp_statement_scopes(mcp_statement_t *st, mcp_str_t *scopes);
static int mcp_policy_pointer_add(mcp_policy_t *p, const mcp_str_t *text,
    unsigned *index, const char **error);

static int mcp_finish_roles(mcp_policy_t *p, char *error, size_t size);
static int mcp_finish_rules(mcp_policy_t *p, char *error, size_t size);
static int mcp_finish_rule(const mcp_rule_t *rule, const mcp_rule_t *other,
    char *error, size_t size);
static int mcp_finish_step_ups(mcp_policy_t *p, char *error, size_t size);
static int mcp_finish_layout(mcp_policy_t *p, mcp_rules_t *rules,
    mcp_target_e kind, unsigned deny);

static int mcp_scope_check(const mcp_str_t *scope);


static const mcp_str_t  mcp_kind_names[] = {
    mcp_string(""),
    mcp_string("tool"),
    mcp_string("prompt"),
    mcp_string("resource"),
    mcp_string("method")
};


mcp_policy_t *
mcp_policy_create(const mcp_mem_t *mem)
{
    mcp_policy_t  *p;

    p = mcp_calloc(mem, sizeof(mcp_policy_t));
    if (p == NULL) {
        return NULL;
    }

    p->mem = *mem;
    p->last_rule = &p->rules;
    p->scope.data = (unsigned char *) "";

    return p;
}


int
mcp_policy_role(mcp_policy_t *p, unsigned role, const mcp_str_t *name)
{
    mcp_role_t  *r, **last;

    if (role >= MCP_MAX_ROLES) {
        return MCP_ERROR;
    }

    for (last = &p->roles; *last; last = &(*last)->next) {
        if ((*last)->number == role) {
            return MCP_DECLINED;
        }
    }

    r = mcp_calloc(&p->mem, sizeof(mcp_role_t));

    if (r == NULL
        || mcp_str_dup(&p->mem, &r->name, name->data, name->len) != MCP_OK)
    {
        return MCP_ERROR;
    }

    r->number = role;
    *last = r;

    return MCP_OK;
}


void
mcp_policy_shadow(mcp_policy_t *p, unsigned role)
{
    if (role == MCP_MAX_ROLES) {
        p->all_shadow = 1;

    } else {
        mcp_role_set(&p->shadow, role);
    }
}


int
mcp_policy_rule(mcp_policy_t *p, unsigned role, const mcp_str_t *words,
    unsigned nwords, char *error, size_t size)
{
    mcp_role_t       *r;
    mcp_rule_t       *rule;
    mcp_statement_t   st;

    for (r = p->roles; r && r->number != role; r = r->next) { /* void */ }

    if (r == NULL) {
        return mcp_policy_fail(error, size, "a rule for an unknown role");
    }

    st.policy = p;
    st.words = words;
    st.nwords = nwords;
    st.i = 1;
    st.text = mcp_statement_text(&p->mem, &r->name, words, nwords);
    st.error = error;
    st.size = size;

    rule = mcp_calloc(&p->mem, sizeof(mcp_rule_t));

    if (rule == NULL || st.text.data == NULL) {
        return mcp_policy_fail(error, size, "out of memory");
    }

    rule->role = role;
    rule->full = st.text;
    rule->text = st.text;
    mcp_statement_cut(&rule->text);

    if (nwords > 0 && mcp_str_eq_lit(&words[0], "deny")) {
        rule->deny = 1;

    } else if (nwords == 0 || !mcp_str_eq_lit(&words[0], "allow")) {
        return mcp_statement_fail(&st, "unknown action",
                                  nwords ? &words[0] : NULL,
                                  ", expected allow or deny");
    }

    if (mcp_statement_kind(&st, &rule->kind) != MCP_OK
        || mcp_statement_patterns(&st, rule->kind, &rule->patterns) != MCP_OK
        || mcp_statement_where(&st, rule) != MCP_OK)
    {
        return MCP_ERROR;
    }

    r->nrules++;
    *p->last_rule = rule;
    p->last_rule = &rule->next;

    return MCP_OK;
}


int
mcp_policy_step_up(mcp_policy_t *p, const mcp_str_t *words, unsigned nwords,
    char *error, size_t size)
{
    mcp_str_t         subject;
    mcp_step_up_t    *up, **last;
    mcp_statement_t   st;

    mcp_str_set(&subject, "step_up");

    st.policy = p;
    st.words = words;
    st.nwords = nwords;
    st.i = 0;
    st.text = mcp_statement_text(&p->mem, &subject, words, nwords);
    st.error = error;
    st.size = size;

    up = mcp_calloc(&p->mem, sizeof(mcp_step_up_t));

    if (up == NULL || st.text.data == NULL) {
        return mcp_policy_fail(error, size, "out of memory");
    }

    up->text = st.text;
    mcp_statement_cut(&up->text);

    if (mcp_statement_scopes(&st, &up->scope) != MCP_OK
        || mcp_statement_kind(&st, &up->kind) != MCP_OK
        || mcp_statement_patterns(&st, up->kind, &up->patterns) != MCP_OK)
    {
        return MCP_ERROR;
    }

    if (st.i < nwords) {
        return mcp_statement_fail(&st, "a step_up takes no", &words[st.i],
                                  "");
    }

    for (last = &p->step_ups; *last; last = &(*last)->next) { /* void */ }

    *last = up;

    return MCP_OK;
}


int
mcp_policy_scope(mcp_policy_t *p, const mcp_str_t *scope)
{
    size_t          size;
    mcp_str_t       all;

    if (!mcp_scope_check(scope)) {
        return MCP_ERROR;
    }

    size = p->scope.len + 1 + scope->len;

    all.data = mcp_alloc(&p->mem, size);
    if (all.data == NULL) {
        return MCP_ERROR;
    }

    memcpy(all.data, p->scope.data, p->scope.len);
    all.len = p->scope.len;

    mcp_scope_add(&all, scope, size);

    p->scope = all;

    return MCP_OK;
}


int
mcp_policy_pointer(mcp_policy_t *p, const mcp_str_t *text, unsigned *index,
    char *error, size_t size)
{
    const char  *reason;

    if (mcp_policy_pointer_add(p, text, index, &reason) != MCP_OK) {
        return mcp_policy_fail(error, size, "\"%.*s\": %s",
                               (int) (text->len > 128 ? 128 : text->len),
                               (const char *) text->data, reason);
    }

    return MCP_OK;
}


int
mcp_policy_finish(mcp_policy_t *p, char *error, size_t size)
{
    unsigned  kind;

    if (mcp_finish_roles(p, error, size) != MCP_OK
        || mcp_finish_rules(p, error, size) != MCP_OK
        || mcp_finish_step_ups(p, error, size) != MCP_OK)
    {
        return MCP_ERROR;
    }

    for (kind = MCP_TARGET_TOOL; kind < MCP_KINDS; kind++) {
        if (mcp_finish_layout(p, &p->denies[kind], kind, 1) != MCP_OK
            || mcp_finish_layout(p, &p->allows[kind], kind, 0) != MCP_OK)
        {
            return mcp_policy_fail(error, size, "out of memory");
        }
    }

    return MCP_OK;
}


/* Writes a sentence for the operator, made fit for one line of a log. */

static int
mcp_policy_fail(char *error, size_t size, const char *fmt, ...)
{
    char     *p;
    va_list   args;

    if (size == 0) {
        return MCP_ERROR;
    }

    va_start(args, fmt);
    (void) vsnprintf(error, size, fmt, args);
    va_end(args);

    for (p = error; *p; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }

    return MCP_ERROR;
}


static int
mcp_statement_fail(const mcp_statement_t *st, const char *what,
    const mcp_str_t *word, const char *then)
{
    mcp_str_t  text;

    text = st->text;
    mcp_statement_cut(&text);

    if (word == NULL) {
        return mcp_policy_fail(st->error, st->size, "rule \"%.*s\": %s%s",
                               (int) text.len, (const char *) text.data,
                               what, then);
    }

    return mcp_policy_fail(st->error, st->size, "rule \"%.*s\": %s \"%.*s\"%s",
                           (int) text.len, (const char *) text.data, what,
                           (int) (word->len > 128 ? 128 : word->len),
                           (const char *) word->data, then);
}


/*
 * "support: allow tool a b", all of it; data is NULL when mem is exhausted.
 * A word that is empty or has a space is put in quotes, so that different
 * rules have different texts.
 */

static mcp_str_t
mcp_statement_text(const mcp_mem_t *mem, const mcp_str_t *subject,
    const mcp_str_t *words, unsigned nwords)
{
    size_t     size;
    unsigned   i, quote;
    mcp_str_t  text;
    mcp_buf_t  b;

    size = subject->len + 1;

    for (i = 0; i < nwords; i++) {
        size += words[i].len + 3;
    }

    mcp_str_null(&text);

    text.data = mcp_alloc(mem, size);
    if (text.data == NULL) {
        return text;
    }

    mcp_buf_init(&b, text.data, size);
    mcp_buf_str(&b, subject);

    if (!mcp_str_eq_lit(subject, "step_up")) {
        mcp_buf_lit(&b, ":");
    }

    for (i = 0; i < nwords; i++) {
        quote = words[i].len == 0
                || memchr(words[i].data, ' ', words[i].len) != NULL;

        mcp_buf_put(&b, " \"", quote ? 2 : 1);
        mcp_buf_str(&b, &words[i]);
        mcp_buf_put(&b, "\"", quote);
    }

    text.len = (size_t) (b.pos - b.start);

    return text;
}


/* Shortens to MCP_RULE_TEXT bytes, at a character. */

static void
mcp_statement_cut(mcp_str_t *text)
{
    if (text->len <= MCP_RULE_TEXT) {
        return;
    }

    text->len = MCP_RULE_TEXT;

    while (text->len && (text->data[text->len] & 0xc0) == 0x80) {
        text->len--;
    }
}


static int
mcp_statement_kind(mcp_statement_t *st, mcp_target_e *kind)
{
    unsigned  i;

    if (st->i >= st->nwords) {
        return mcp_statement_fail(st, "no kind", NULL,
                                  ", expected tool, prompt, resource or "
                                  "method");
    }

    for (i = MCP_TARGET_TOOL; i < MCP_KINDS; i++) {
        if (mcp_str_eq(&st->words[st->i], &mcp_kind_names[i])) {
            *kind = (mcp_target_e) i;
            st->i++;
            return MCP_OK;
        }
    }

    return mcp_statement_fail(st, "unknown kind", &st->words[st->i],
                              ", expected tool, prompt, resource or method");
}


static int
mcp_statement_patterns(mcp_statement_t *st, mcp_target_e kind,
    mcp_patterns_t *patterns)
{
    unsigned          first;
    const char       *wrong;
    const mcp_str_t  *word;

    for (first = st->i; st->i < st->nwords; st->i++) {
        word = &st->words[st->i];

        if (mcp_str_eq_lit(word, "where")) {
            break;
        }

        wrong = mcp_pattern_check(word, 0);
        if (wrong) {
            return mcp_statement_fail(st, wrong, word, "");
        }

        if (kind == MCP_TARGET_METHOD
            && mcp_statement_method(st, word) != MCP_OK)
        {
            return MCP_ERROR;
        }
    }

    if (st->i == first) {
        return mcp_statement_fail(st, "no pattern", NULL, "");
    }

    if (mcp_patterns_init(patterns, &st->words[first], st->i - first,
                          &st->policy->mem)
        != MCP_OK)
    {
        return mcp_policy_fail(st->error, st->size, "out of memory");
    }

    return MCP_OK;
}


/* A method for which no rule is ever asked is a mistake in a rule. */

static int
mcp_statement_method(mcp_statement_t *st, const mcp_str_t *word)
{
    mcp_method_e  class;

    class = mcp_method_class(word);

    if (word->len >= 6 && memcmp(word->data, "tasks/", 6) == 0) {
        class = MCP_METHOD_OWNER;
    }

    switch (class) {

    case MCP_METHOD_UNKNOWN:
        return MCP_OK;

    case MCP_METHOD_TARGET:
    case MCP_METHOD_LISTEN:
        return mcp_statement_fail(st, "can never match: method", word,
                                  " is decided by its target; use tool, "
                                  "prompt or resource");

    case MCP_METHOD_OWNER:
        return mcp_statement_fail(st, "can never match: method", word,
                                  " is decided by who owns the task");

    default:
        return mcp_statement_fail(st, "can never match: method", word,
                                  " is open to every authenticated caller");
    }
}


static int
mcp_statement_where(mcp_statement_t *st, mcp_rule_t *rule)
{
    unsigned          i, k, n;
    mcp_condition_t  *c;

    if (st->i >= st->nwords) {
        return MCP_OK;
    }

    if (rule->kind != MCP_TARGET_TOOL && rule->kind != MCP_TARGET_PROMPT) {
        return mcp_statement_fail(st, "where is for tool and prompt, not for",
                                  &mcp_kind_names[rule->kind], "");
    }

    for (n = 0, i = st->i; i < st->nwords; i++) {
        n += mcp_str_eq_lit(&st->words[i], "where")
             || mcp_str_eq_lit(&st->words[i], "and");
    }

    c = mcp_calloc(&st->policy->mem, n * sizeof(mcp_condition_t));
    if (c == NULL) {
        return mcp_policy_fail(st->error, st->size, "out of memory");
    }

    rule->conditions = c;

    while (st->i < st->nwords) {
        i = st->i++;            /* the word is "where" or "and" */

        if (mcp_statement_condition(st, c) != MCP_OK) {
            return MCP_ERROR;
        }

        rule->nconditions++;

        for (k = 0; k < rule->nconditions; k++) {
            if (mcp_condition_conflict(&rule->conditions[k], c)) {
                return mcp_statement_fail(st, "can never hold:",
                                          &st->words[i + 1],
                                          " is asked for what it cannot be");
            }
        }

        c++;
    }

    return MCP_OK;
}


static int
mcp_statement_condition(mcp_statement_t *st, mcp_condition_t *c)
{
    unsigned          first, op;
    const char       *wrong;
    const mcp_str_t  *word;

    word = &st->words[st->i - 1];

    if (st->i == st->nwords) {
        return mcp_statement_fail(st, "no pointer after", word, "");
    }

    word = &st->words[st->i++];

    if (mcp_policy_pointer_add(st->policy, word, &c->pointer, &wrong)
        != MCP_OK)
    {
        return mcp_statement_fail(st, wrong, word, "");
    }

    if (st->i == st->nwords) {
        return mcp_statement_fail(st, "no operator after", word, "");
    }

    op = st->i++;
    word = &st->words[op];

    if (mcp_condition_op(word, &c->op) != MCP_OK) {
        return mcp_statement_fail(st, "unknown operator", word,
                                  ", expected =, !=, <, <=, >, >=, exists or "
                                  "absent");
    }

    for (first = st->i; st->i < st->nwords; st->i++) {
        word = &st->words[st->i];

        if (mcp_str_eq_lit(word, "and")) {
            break;
        }

        wrong = mcp_pattern_check(word, 1);
        if (wrong) {
            return mcp_statement_fail(st, wrong, word, "");
        }
    }

    if (mcp_patterns_init(&c->values, &st->words[first], st->i - first,
                          &st->policy->mem)
        != MCP_OK)
    {
        return mcp_policy_fail(st->error, st->size, "out of memory");
    }

    wrong = mcp_condition_check(c);
    if (wrong) {
        return mcp_statement_fail(st, wrong, &st->words[op], "");
    }

    return MCP_OK;
}


/* scope=S[,S...] */

static int
mcp_statement_scopes(mcp_statement_t *st, mcp_str_t *scopes)
{
    size_t            i, start;
    mcp_str_t         scope;
    const mcp_str_t  *word;

    word = &st->words[0];

    if (st->nwords == 0 || word->len < 6
        || memcmp(word->data, "scope=", 6) != 0)
    {
        return mcp_statement_fail(st, "expected scope=NAME[,NAME...] first",
                                  NULL, "");
    }

    st->i = 1;
    scopes->len = 0;
    scopes->data = mcp_alloc(&st->policy->mem, word->len);
    if (scopes->data == NULL) {
        return mcp_policy_fail(st->error, st->size, "out of memory");
    }

    for (start = 6, i = 6; i <= word->len; i++) {

        if (i < word->len && word->data[i] != ',') {
            continue;
        }

        scope.data = word->data + start;
        scope.len = i - start;
        start = i + 1;

        if (!mcp_scope_check(&scope)) {
            return mcp_statement_fail(st, "invalid scope", &scope, "");
        }

        mcp_scope_add(scopes, &scope, word->len);
    }

    return MCP_OK;
}


static int
mcp_policy_pointer_add(mcp_policy_t *p, const mcp_str_t *text,
    unsigned *index, const char **error)
{
    unsigned  i;

    for (i = 0; i < p->npointers; i++) {
        if (mcp_str_eq(&p->pointers[i].text, text)) {
            *index = i;
            return MCP_OK;
        }
    }

    if (p->npointers == MCP_MAX_POINTERS) {
        *error = "more than 64 different pointers in one mcp_server at";
        return MCP_ERROR;
    }

    if (mcp_pointer_compile(&p->pointers[i], text, &p->mem, error) != MCP_OK) {
        return MCP_ERROR;
    }

    p->npointers++;
    *index = i;

    return MCP_OK;
}


static int
mcp_finish_roles(mcp_policy_t *p, char *error, size_t size)
{
    size_t             i;
    unsigned char      c;
    const mcp_role_t  *r;

    for (r = p->roles; r; r = r->next) {

        /* names are joined by commas and end in variables and headers */

        for (i = 0; i < r->name.len; i++) {
            c = r->name.data[i];

            if (c <= 0x20 || c == 0x7f || c == ',' || c == '"' || c == '\\') {
                return mcp_policy_fail(error, size, "role \"%.*s\": a name "
                                       "has no space, comma, quote, backslash "
                                       "or control character",
                                       (int) r->name.len, r->name.data);
            }
        }

        if (r->nrules == 0) {
            return mcp_policy_fail(error, size, "role \"%.*s\" has no rules",
                                   (int) r->name.len, r->name.data);
        }
    }

    return MCP_OK;
}


static int
mcp_finish_rules(mcp_policy_t *p, char *error, size_t size)
{
    const mcp_rule_t  *rule, *other;

    for (rule = p->rules; rule; rule = rule->next) {
        for (other = p->rules; other; other = other->next) {

            if (rule != other
                && mcp_finish_rule(rule, other, error, size) != MCP_OK)
            {
                return MCP_ERROR;
            }
        }
    }

    return MCP_OK;
}


/* Does other make rule pointless? */

static int
mcp_finish_rule(const mcp_rule_t *rule, const mcp_rule_t *other, char *error,
    size_t size)
{
    unsigned  i;

    if (mcp_str_eq(&rule->full, &other->full)) {
        return mcp_policy_fail(error, size, "rule \"%.*s\" is there twice",
                               (int) rule->text.len, rule->text.data);
    }

    /*
     * Only denies of the same role: an operator who denies something to
     * everybody today must not have to edit all other roles first.
     */

    if (!other->deny || other->nconditions || other->kind != rule->kind
        || other->role != rule->role)
    {
        return MCP_OK;
    }

    for (i = 0; i < rule->patterns.n; i++) {
        if (!mcp_patterns_cover(&other->patterns, &rule->patterns.elts[i])) {
            return MCP_OK;
        }
    }

    return mcp_policy_fail(error, size, "rule \"%.*s\" can never match: "
                           "\"%.*s\" denies all of it",
                           (int) rule->text.len, rule->text.data,
                           (int) other->text.len, other->text.data);
}


static int
mcp_finish_step_ups(mcp_policy_t *p, char *error, size_t size)
{
    unsigned              i, k, met;
    const mcp_rule_t     *rule;
    const mcp_pattern_t  *e;
    const mcp_step_up_t  *up;

    for (up = p->step_ups; up; up = up->next) {

        for (i = 0; i < up->patterns.n; i++) {
            e = &up->patterns.elts[i];
            met = 0;

            for (rule = p->rules; rule && !met; rule = rule->next) {

                if (rule->deny || rule->kind != up->kind) {
                    continue;
                }

                for (k = 0; k < rule->patterns.n && !met; k++) {
                    met = mcp_pattern_meets(e, &rule->patterns.elts[k]);
                }
            }

            if (!met) {
                return mcp_policy_fail(error, size, "\"%.*s\" can never "
                                       "apply: no role allows %s \"%.*s\"",
                                       (int) up->text.len, up->text.data,
                                       mcp_kind_names[up->kind].data,
                                       (int) e->text.len, e->text.data);
            }
        }
    }

    return MCP_OK;
}


/* The rules of one kind and action, those of one role side by side. */

static int
mcp_finish_layout(mcp_policy_t *p, mcp_rules_t *rules, mcp_target_e kind,
    unsigned deny)
{
    unsigned           n, first;
    mcp_rule_t        *elts;
    const mcp_role_t  *r;
    const mcp_rule_t  *rule;

    n = 0;

    for (rule = p->rules; rule; rule = rule->next) {
        n += (rule->kind == kind && rule->deny == deny);
    }

    elts = mcp_calloc(&p->mem, (n ? n : 1) * sizeof(mcp_rule_t));
    if (elts == NULL) {
        return MCP_ERROR;
    }

    n = 0;

    for (r = p->roles; r; r = r->next) {
        first = n;

        for (rule = p->rules; rule; rule = rule->next) {
            if (rule->kind == kind && rule->deny == deny
                && rule->role == r->number)
            {
                elts[n++] = *rule;
            }
        }

        while (first < n) {
            elts[first++].skip = n;
        }
    }

    rules->elts = elts;
    rules->n = n;

    return MCP_OK;
}


/* RFC 6749 3.3; these go into challenges, which cannot quote anything. */

static int
mcp_scope_check(const mcp_str_t *scope)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < scope->len; i++) {
        c = scope->data[i];

        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\') {
            return 0;
        }
    }

    return scope->len != 0;
}
