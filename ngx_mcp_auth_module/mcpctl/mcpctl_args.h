/*
 * Values of options that the commands for tokens and revocations share.
 *
 * What is wrong is said with the option's name; -1 then, and the command is not
 * carried out: mcpctl_usage().
 */

#ifndef MCPCTL_ARGS_H
#define MCPCTL_ARGS_H


#include "mcpctl_conf.h"


#define MCPCTL_NAME_MAX  256            /* bytes of a user, a label ... */


/* s since the epoch */
int64_t mcpctl_now(void);

/*
 * A moment: "90d", "1h30m" (from now), "2027-01-31" (its beginning, UTC),
 * "2027-01-31T12:00:00Z".
 */
int mcpctl_arg_time(mcpctl_t *ctl, const char *option, const char *text,
    int64_t now, int64_t *sec);

/* "1h30m", "0" -> s */
int mcpctl_arg_duration(mcpctl_t *ctl, const char *option, const char *text,
    int64_t *sec);

/* A name or a text: not empty, UTF-8, no control character, not too long. */
int mcpctl_arg_text(mcpctl_t *ctl, const char *option, const char *text,
    mcp_str_t *value);

/* "a,b,c": at most max of them. */
int mcpctl_arg_list(mcpctl_t *ctl, const char *option, const char *text,
    unsigned max, mcp_str_t **list, unsigned *n);

/*
 * The issuer's URL: of --issuer (a URL, or the name of an mcp_issuer), or the
 * only one there is.  MCPCTL_OK, or an exit code, and it was said.  force: one
 * that is not configured may be meant.
 */
int mcpctl_arg_issuer(mcpctl_t *ctl, const char *text, unsigned force,
    mcp_str_t *issuer);

/* The moment as text, "-" for 0; to be shown. */
char *mcpctl_arg_moment(mcpctl_t *ctl, int64_t sec);


#endif /* MCPCTL_ARGS_H */
