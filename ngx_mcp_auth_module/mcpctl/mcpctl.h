/*
 * What the files of mcpctl share: the context of one run, exit codes, the
 * command table, options, memory.
 *
 * mcpctl is a program that runs once and ends: it may block, and all memory
 * that it takes is given back at the end.  Whatever decides is core/'s; here it
 * is only asked and shown.  A token or a secret is never printed, but for the
 * one that `token create` makes, and the key of `vault new-key`.
 */

#ifndef MCPCTL_H
#define MCPCTL_H


#include "mcp_core.h"

#include <stdio.h>


#define MCPCTL_CONF       "/etc/nginx/nginx.conf"
#define MCPCTL_PREFIX     "/usr/share/nginx/"


/* exit codes */
#define MCPCTL_OK         0             /* done; allowed */
#define MCPCTL_REFUSED    1             /* denied, refused, not found */
#define MCPCTL_USAGE      2
#define MCPCTL_FAILED     3             /* configuration or store */


typedef struct mcpctl_mem_s      mcpctl_mem_t;
typedef struct mcpctl_conf_s     mcpctl_conf_t;
typedef struct mcpctl_command_s  mcpctl_command_t;


typedef struct {
    const char               *conf_file;        /* --conf */
    const char               *prefix;           /* --prefix */
    unsigned                  json;             /* --json */
    unsigned                  verbose;          /* --verbose */
    unsigned                  help;             /* --help */

    const mcpctl_command_t   *command;
    mcp_mem_t                 mem;              /* until the end */
    mcpctl_mem_t             *blocks;
    mcpctl_conf_t            *conf;             /* after mcpctl_conf_read() */
} mcpctl_t;


/* argv begins after the command's words; returns an exit code. */
struct mcpctl_command_s {
    const char               *words;            /* "policy explain" */
    int                     (*run)(mcpctl_t *ctl, int argc, char **argv);
    const char               *args;             /* for --help */
    const char               *what;
};


/* An option of a command; --NAME VALUE or --NAME=VALUE; the last one counts. */
typedef struct {
    const char               *name;
    const char              **value;            /* NULL: it has none, */
    unsigned                 *flag;             /* and this is set to 1 */
} mcpctl_option_t;


/*
 * Reads the options of a command, and --conf and its like wherever they stand;
 * options end with a name NULL.  What is no option goes to args, at most max;
 * how many is returned.  -1: said what is wrong (or showed the help): return
 * mcpctl_usage().
 */
int mcpctl_options(mcpctl_t *ctl, const mcpctl_option_t *options, int argc,
    char **argv, const char **args, unsigned max);

/* The exit code after mcpctl_options() returned -1. */
int mcpctl_usage(mcpctl_t *ctl);

/* "mcpctl: ..." and a line end to stderr.  Control characters in what is put in
 * are escaped.  Returns code. */
int mcpctl_error(mcpctl_t *ctl, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, but goes on. */
void mcpctl_warn(mcpctl_t *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


/* Of main() alone. */
void mcpctl_mem_init(mcpctl_t *ctl);
void mcpctl_mem_free(mcpctl_t *ctl);

/* Memory until the end of the run, zeroed; without any, the run ends. */
void *mcpctl_alloc(mcpctl_t *ctl, size_t size);

/* A copy with a NUL behind it that is not counted. */
mcp_str_t mcpctl_str(mcpctl_t *ctl, const void *data, size_t len);
mcp_str_t mcpctl_cstr(const char *s);

/* "..." by printf's rules, in memory until the end of the run. */
char *mcpctl_format(mcpctl_t *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Overwrites what was secret. */
void mcpctl_wipe(void *data, size_t len);

/*
 * Reads a regular file (path NULL: stdin) of at most max bytes.  MCP_OK;
 * MCP_ERROR: *why, which has no line end; errno is kept in *err (0: it is too
 * long, or no file).
 */
int mcpctl_read_file(mcpctl_t *ctl, const char *path, size_t max,
    mcp_str_t *text, const char **why, int *err);


/* A list of pointers that grows. */
typedef struct {
    void                    **elts;
    unsigned                  n;
    unsigned                  size;
} mcpctl_list_t;

void mcpctl_push(mcpctl_t *ctl, mcpctl_list_t *list, void *elt);


/* The commands. */
int mcpctl_config_check(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_policy_explain(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_policy_matrix(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_jwt_inspect(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_token_create(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_token_list(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_token_rotate(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_token_revoke(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_credential_import(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_credential_list(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_credential_show(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_credential_delete(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_vault_rekey(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_vault_new_key(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_revoke(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_unrevoke(mcpctl_t *ctl, int argc, char **argv);
int mcpctl_revocations(mcpctl_t *ctl, int argc, char **argv);


#endif /* MCPCTL_H */
