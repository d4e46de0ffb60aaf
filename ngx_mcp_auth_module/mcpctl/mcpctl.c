/*
 * mcpctl: the operator's command line.
 *
 *     mcpctl [--conf FILE] [--json] [--verbose] COMMAND [ARGUMENT...]
 *
 * Here are the table of commands and the options; a command is a function in a
 * file of its own.  It reads the configuration when it needs it, writes its
 * result to stdout, what is wrong to stderr, and returns the exit code.
 */

#include "mcpctl.h"

#include <string.h>


static const mcpctl_command_t *mcpctl_find(int argc, char **argv, int *used);
static int mcpctl_global(mcpctl_t *ctl, int argc, char **argv, int *i);
static int mcpctl_option(mcpctl_t *ctl, const mcpctl_option_t *options,
    int argc, char **argv, int *i);
static void mcpctl_help(const mcpctl_t *ctl);


static const mcpctl_command_t  mcpctl_commands[] = {

    { "config check", mcpctl_config_check, "",
      "read the configuration, say what was found" },

    { "policy explain", mcpctl_policy_explain,
      "[--server S] [--role R[,R...]] [--scope \"S...\"]\n"
      "    [--tool T | --prompt P | --resource URI | --method M]"
      " [--args JSON]",
      "what a holder of these roles may do, and why" },

    { "policy matrix", mcpctl_policy_matrix,
      "[--server S] [--tools FILE|NAME[,NAME...]]",
      "who may call what, and which rule says so" },

    { "jwt inspect", mcpctl_jwt_inspect,
      "[FILE | TOKEN | -] [--server S] [--jwks FILE]",
      "why a token would be refused" },

    { "token create", mcpctl_token_create,
      "--user U [--issuer URL] | --service S\n"
      "    --roles R[,R...] --servers S[,S...]|'*' --expires 90d|DATE\n"
      "    [--scopes S[,S...]] [--label TEXT] [--store file|redis]"
      " [--force] [--no-audit]",
      "a new token of a person or a service; shown once" },

    { "token list", mcpctl_token_list,
      "[--user U] [--issuer URL] [--service S] [--all]\n"
      "    [--store file|redis]",
      "tokens that are good; --all: others too" },

    { "token rotate", mcpctl_token_rotate,
      "ID [--overlap 1h] [--expires 90d|DATE] [--store file|redis]\n"
      "    [--force] [--no-audit]",
      "a new token in place of one, which is good a little longer" },

    { "token revoke", mcpctl_token_revoke,
      "ID [--reason TEXT] [--store file|redis] [--no-audit]",
      "ends a token, at once and everywhere" },

    { "revoke", mcpctl_revoke,
      "[--issuer URL] --user U | --client C | --service S | --token-id J\n"
      "    | --issuer-all | --all [--reason TEXT] [--for TIME]\n"
      "    [--store file|redis] [--force] [--no-audit]",
      "what was issued until now is refused" },

    { "unrevoke", mcpctl_unrevoke,
      "[--issuer URL] --user U | --client C | --service S | --token-id J\n"
      "    | --issuer-all | --all [--reason TEXT] [--store file|redis]\n"
      "    [--force] [--no-audit]",
      "takes that back" },

    { "revocations", mcpctl_revocations,
      "[--all] [--store file|redis]",
      "what is revoked" },

    { "credential import", mcpctl_credential_import,
      "NAME --user U [--issuer URL] [--file FILE] [--force]\n"
      "    [--no-audit]",
      "a person's tokens, read from stdin, for gateways to use" },

    { "credential list", mcpctl_credential_list,
      "[--credential NAME] [--user U] [--issuer URL] [--all]",
      "credentials that gateways hold; --all: deleted ones too" },

    { "credential show", mcpctl_credential_show,
      "NAME [--user U] [--issuer URL] | --record RECORD",
      "all that may be told of one" },

    { "credential delete", mcpctl_credential_delete,
      "NAME [--user U] [--issuer URL] [--all] | --record RECORD\n"
      "    [--no-audit]",
      "gateways use it no more" },

    { "vault rekey", mcpctl_vault_rekey,
      "[--no-audit]",
      "seals every credential with the first of mcp_vault_keys" },

    { "vault new-key", mcpctl_vault_new_key,
      "[ID]",
      "a line for the file of mcp_vault_keys" },

    { NULL, NULL, NULL, NULL }
};


int
main(int argc, char **argv)
{
    int        i, rc, used;
    mcpctl_t   run, *ctl;

    ctl = &run;
    memset(ctl, 0, sizeof(mcpctl_t));

    ctl->conf_file = MCPCTL_CONF;
    ctl->prefix = MCPCTL_PREFIX;
    mcpctl_mem_init(ctl);

    for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {

        if (strcmp(argv[i], "--version") == 0) {
            printf("mcpctl %s\n", MCPCTL_VERSION);
            rc = MCPCTL_OK;
            goto done;
        }

        if (mcpctl_global(ctl, argc, argv, &i) != MCP_OK) {
            rc = mcpctl_usage(ctl);
            goto done;
        }
    }

    ctl->command = mcpctl_find(argc - i, argv + i, &used);

    if (ctl->command == NULL) {

        if (i < argc) {
            (void) mcpctl_error(ctl, 0, "unknown command \"%s\"", argv[i]);

        } else if (!ctl->help) {
            (void) mcpctl_error(ctl, 0, "no command");
        }

        rc = mcpctl_usage(ctl);
        goto done;
    }

    if (ctl->help) {
        rc = mcpctl_usage(ctl);
        goto done;
    }

    rc = ctl->command->run(ctl, argc - i - used, argv + i + used);

    /* a result that nobody could read is none */

    if (fflush(stdout) != 0 || ferror(stdout)) {
        rc = mcpctl_error(ctl, MCPCTL_FAILED, "cannot write to stdout");
    }

done:

    mcpctl_mem_free(ctl);

    return rc;
}


/* The command that argv begins with; *used: how many words it has. */
static const mcpctl_command_t *
mcpctl_find(int argc, char **argv, int *used)
{
    size_t                   len;
    const char              *second;
    const mcpctl_command_t  *command;

    for (command = mcpctl_commands; argc && command->words; command++) {
        second = strchr(command->words, ' ');
        len = second ? (size_t) (second - command->words)
                     : strlen(command->words);

        if (strlen(argv[0]) != len
            || memcmp(argv[0], command->words, len) != 0)
        {
            continue;
        }

        *used = second ? 2 : 1;

        if (second == NULL || (argc > 1 && strcmp(argv[1], second + 1) == 0)) {
            return command;
        }
    }

    return NULL;
}


/* --conf and its like: MCP_OK; MCP_DECLINED: argv[*i] is none of them;
 * MCP_ERROR: said what is wrong. */
static int
mcpctl_global(mcpctl_t *ctl, int argc, char **argv, int *i)
{
    const mcpctl_option_t  globals[] = {
        { "conf", &ctl->conf_file, NULL },
        { "prefix", &ctl->prefix, NULL },
        { "json", NULL, &ctl->json },
        { "verbose", NULL, &ctl->verbose },
        { "help", NULL, &ctl->help },
        { NULL, NULL, NULL }
    };

    int  rc;

    rc = mcpctl_option(ctl, globals, argc, argv, i);

    if (rc == MCP_DECLINED) {

        /* what is behind a "=" may be a secret */

        (void) mcpctl_error(ctl, 0, "unknown option \"%.*s\"",
                            (int) strcspn(argv[*i], "="), argv[*i]);
    }

    return rc;
}


/* The option at argv[*i]; *i is moved to its value. */
static int
mcpctl_option(mcpctl_t *ctl, const mcpctl_option_t *options, int argc,
    char **argv, int *i)
{
    size_t       len;
    const char  *name, *equals;

    if (memcmp(argv[*i], "--", 2) != 0) {
        return MCP_DECLINED;
    }

    name = argv[*i] + 2;
    equals = strchr(name, '=');
    len = equals ? (size_t) (equals - name) : strlen(name);

    for ( /* void */ ; options->name; options++) {

        if (strlen(options->name) == len
            && memcmp(options->name, name, len) == 0)
        {
            break;
        }
    }

    if (options->name == NULL) {
        return MCP_DECLINED;
    }

    if (options->value == NULL) {

        if (equals) {
            return mcpctl_error(ctl, MCP_ERROR, "option \"--%s\" has no value",
                                options->name);
        }

        *options->flag = 1;
        return MCP_OK;
    }

    if (equals) {
        *options->value = equals + 1;
        return MCP_OK;
    }

    if (*i + 1 >= argc) {
        return mcpctl_error(ctl, MCP_ERROR, "option \"--%s\" needs a value",
                            options->name);
    }

    *options->value = argv[++(*i)];

    return MCP_OK;
}


int
mcpctl_options(mcpctl_t *ctl, const mcpctl_option_t *options, int argc,
    char **argv, const char **args, unsigned max)
{
    int       i, rc;
    unsigned  n, only_args;

    n = 0;
    only_args = 0;

    for (i = 0; i < argc; i++) {

        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = 1;
            continue;
        }

        if (!only_args && argv[i][0] == '-' && argv[i][1] != '\0') {

            rc = mcpctl_option(ctl, options, argc, argv, &i);

            if (rc == MCP_DECLINED) {
                rc = mcpctl_global(ctl, argc, argv, &i);
            }

            if (rc != MCP_OK) {
                return -1;
            }

            continue;
        }

        if (n == max) {
            return mcpctl_error(ctl, -1, "too many arguments, from the %u. on",
                                max + 1);
        }

        args[n++] = argv[i];
    }

    return ctl->help ? -1 : (int) n;
}


int
mcpctl_usage(mcpctl_t *ctl)
{
    if (ctl->help) {
        mcpctl_help(ctl);
        return MCPCTL_OK;
    }

    if (ctl->command) {
        fprintf(stderr, "usage: mcpctl %s %s\n", ctl->command->words,
                ctl->command->args);

    } else {
        fprintf(stderr, "usage: mcpctl [--conf FILE] [--json] [--verbose] "
                "COMMAND ...; see mcpctl --help\n");
    }

    return MCPCTL_USAGE;
}


static void
mcpctl_help(const mcpctl_t *ctl)
{
    const mcpctl_command_t  *command;

    if (ctl->command) {
        printf("mcpctl %s %s\n\n%s\n", ctl->command->words,
               ctl->command->args, ctl->command->what);

    } else {
        printf("mcpctl [OPTION...] COMMAND [ARGUMENT...]\n\n");

        for (command = mcpctl_commands; command->words; command++) {
            printf("  %-18s %s\n", command->words, command->what);
        }
    }

    printf("\n"
           "  --conf FILE      nginx's configuration; " MCPCTL_CONF "\n"
           "  --prefix DIR     nginx's prefix; " MCPCTL_PREFIX "\n"
           "  --json           the result as JSON\n"
           "  --verbose        more of it\n"
           "  --help           this; of a command: its arguments\n"
           "  --version\n\n"
           "Exit codes: 0 done or allowed, 1 refused or not found, "
           "2 usage,\n3 configuration or store failed.  See mcpctl(8).\n");
}
