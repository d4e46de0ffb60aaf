/*
 * Patterns and `where` conditions: the parts a policy's rules are made of.
 * Private to the policy's files.
 *
 * Built once from the configuration, then read-only.  A condition has three
 * answers; unclear means that the argument cannot be judged (not there, of a
 * type the test is not about, a number beyond the limits), and the rule's kind
 * decides what follows from that.
 */

#ifndef MCP_WHERE_H
#define MCP_WHERE_H


#include "mcp_core.h"
#include "mcp_message.h"


#define MCP_NUMBER_MAX    100           /* digits of a number compared */
#define MCP_EXPONENT_MAX  400           /* and the size of its exponent */


typedef enum {
    MCP_OP_EQ = 0,
    MCP_OP_NE,
    MCP_OP_LT,
    MCP_OP_LE,
    MCP_OP_GT,
    MCP_OP_GE,
    MCP_OP_EXISTS,
    MCP_OP_ABSENT
} mcp_op_e;


typedef enum {
    MCP_FALSE = 0,
    MCP_TRUE,
    MCP_UNCLEAR
} mcp_truth_e;


/* sign * 0.DIGITS * 10^exp; neither the first nor the last digit is zero. */
typedef struct {
    int                  sign;          /* -1, 0, 1 */
    int                  exp;
    unsigned             n;
    unsigned char        digits[MCP_NUMBER_MAX];
} mcp_number_t;


typedef struct {
    mcp_str_t            text;
    unsigned             glob;          /* has a star */
    const mcp_number_t  *number;        /* text is a number, or NULL */
} mcp_pattern_t;


typedef struct {
    mcp_pattern_t       *elts;          /* exact ones first */
    unsigned             n;
    unsigned             any;           /* one of them is "*" */
} mcp_patterns_t;


typedef struct {
    unsigned             pointer;       /* index into the values */
    mcp_op_e             op;
    mcp_patterns_t       values;
} mcp_condition_t;


/* NULL, or what is wrong with a pattern or a value (which may be empty). */
const char *mcp_pattern_check(const mcp_str_t *word, unsigned may_be_empty);

/* Copies n checked words into mem; MCP_ERROR when that is exhausted. */
int mcp_patterns_init(mcp_patterns_t *patterns, const mcp_str_t *words,
    unsigned n, const mcp_mem_t *mem);

/* 1 when one of them matches text, which may be any bytes. */
int mcp_patterns_match(const mcp_patterns_t *patterns, const mcp_str_t *text);

/* 1 when every text that b matches is surely matched by one of a. */
int mcp_patterns_cover(const mcp_patterns_t *a, const mcp_pattern_t *b);

/* 0 when surely no text is matched by both. */
int mcp_pattern_meets(const mcp_pattern_t *a, const mcp_pattern_t *b);

/* The operator of a word; MCP_DECLINED when it is none. */
int mcp_condition_op(const mcp_str_t *word, mcp_op_e *op);

/* NULL, or what is wrong with the number of values or the value. */
const char *mcp_condition_check(const mcp_condition_t *c);

/* 1 when a and b, of the same rule, surely cannot both be true.  With a == b:
 * when it cannot be true alone. */
int mcp_condition_conflict(const mcp_condition_t *a, const mcp_condition_t *b);

mcp_truth_e mcp_condition_eval(const mcp_condition_t *c,
    const mcp_value_t *value);


#endif /* MCP_WHERE_H */
