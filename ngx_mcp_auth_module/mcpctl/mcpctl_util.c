/*
 * Memory, messages and files: what every command needs.
 *
 * Memory is taken in single blocks that hang in a list, and given back at the
 * end of the run, so that a sanitizer sees each of them.  A run without memory
 * has nothing to show: it ends at once.
 */

#include "mcpctl.h"
#include "mcpctl_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>


#define MCPCTL_ERROR  2048              /* bytes of one message */


struct mcpctl_mem_s {
    mcpctl_mem_t        *next;
    max_align_t          data[];
};


typedef struct {
    size_t               size;
    max_align_t          data[];
} mcpctl_json_t;


static void *mcpctl_mem_alloc(void *ctx, size_t size);
static void *mcpctl_json_alloc(size_t size);
static void mcpctl_say(const char *fmt, va_list args);
static int mcpctl_read_fd(mcpctl_t *ctl, int fd, size_t max,
    mcp_str_t *text, const char **why, int *err);


void
mcpctl_mem_init(mcpctl_t *ctl)
{
    /* whatever was parsed may have been a secret */

    json_set_alloc_funcs(mcpctl_json_alloc, mcpctl_json_free);

    ctl->mem.alloc = mcpctl_mem_alloc;
    ctl->mem.ctx = ctl;
}


/*
 * For core/, which knows what to do without memory.  Its strings have no NUL;
 * here they are printed, so there is one behind whatever it takes.
 */
static void *
mcpctl_mem_alloc(void *ctx, size_t size)
{
    mcpctl_t *ctl = ctx;

    mcpctl_mem_t  *block;

    block = calloc(1, sizeof(mcpctl_mem_t) + size + 1);
    if (block == NULL) {
        return NULL;
    }

    block->next = ctl->blocks;
    ctl->blocks = block;

    return block->data;
}


void
mcpctl_mem_free(mcpctl_t *ctl)
{
    mcpctl_mem_t  *block, *next;

    for (block = ctl->blocks; block; block = next) {
        next = block->next;
        free(block);
    }

    ctl->blocks = NULL;
}


static void *
mcpctl_json_alloc(size_t size)
{
    mcpctl_json_t  *block;

    block = malloc(sizeof(mcpctl_json_t) + size);
    if (block == NULL) {
        return NULL;
    }

    block->size = size;

    return block->data;
}


void
mcpctl_json_free(void *p)
{
    mcpctl_json_t  *block;

    if (p) {
        block = (mcpctl_json_t *) ((char *) p
                                   - offsetof(mcpctl_json_t, data));
        mcpctl_wipe(block->data, block->size);
        free(block);
    }
}


void *
mcpctl_alloc(mcpctl_t *ctl, size_t size)
{
    void  *p;

    p = mcpctl_mem_alloc(ctl, size);

    if (p == NULL) {
        exit(mcpctl_error(ctl, MCPCTL_FAILED, "out of memory"));
    }

    memset(p, 0, size);

    return p;
}


mcp_str_t
mcpctl_str(mcpctl_t *ctl, const void *data, size_t len)
{
    mcp_str_t  s;

    s.len = len;
    s.data = mcpctl_alloc(ctl, len + 1);

    if (len) {
        memcpy(s.data, data, len);
    }

    return s;
}


mcp_str_t
mcpctl_cstr(const char *s)
{
    mcp_str_t  str;

    str.len = strlen(s);
    str.data = (unsigned char *) s;

    return str;
}


char *
mcpctl_format(mcpctl_t *ctl, const char *fmt, ...)
{
    int       n;
    char     *p;
    va_list   args;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    p = mcpctl_alloc(ctl, (n > 0 ? (size_t) n : 0) + 1);

    va_start(args, fmt);
    (void) vsnprintf(p, (size_t) n + 1, fmt, args);
    va_end(args);

    return p;
}


void
mcpctl_wipe(void *data, size_t len)
{
    if (len) {
        OPENSSL_cleanse(data, len);
    }
}


void
mcpctl_push(mcpctl_t *ctl, mcpctl_list_t *list, void *elt)
{
    void  **elts;

    if (list->n == list->size) {
        list->size = list->size ? list->size * 2 : 8;
        elts = mcpctl_alloc(ctl, list->size * sizeof(void *));

        if (list->n) {
            memcpy(elts, list->elts, list->n * sizeof(void *));
        }

        list->elts = elts;
    }

    list->elts[list->n++] = elt;
}


int
mcpctl_error(mcpctl_t *ctl, int code, const char *fmt, ...)
{
    va_list  args;

    (void) ctl;

    va_start(args, fmt);
    mcpctl_say(fmt, args);
    va_end(args);

    return code;
}


void
mcpctl_warn(mcpctl_t *ctl, const char *fmt, ...)
{
    va_list  args;

    (void) ctl;

    va_start(args, fmt);
    mcpctl_say(fmt, args);
    va_end(args);
}


/* One line, whatever is in it; no memory is needed. */
static void
mcpctl_say(const char *fmt, va_list args)
{
    char        text[MCPCTL_ERROR];
    size_t      len;
    mcp_buf_t   b;
    char        line[MCPCTL_ERROR * 6 + 16];

    (void) vsnprintf(text, sizeof(text), fmt, args);

    mcp_buf_init(&b, line, sizeof(line));
    mcp_buf_json(&b, text, strlen(text), sizeof(text));
    len = mcpctl_unquote(line, (size_t) (b.pos - b.start));

    fprintf(stderr, "mcpctl: %.*s\n", (int) len, line);
}


int
mcpctl_read_file(mcpctl_t *ctl, const char *path, size_t max, mcp_str_t *text,
    const char **why, int *err)
{
    int          fd, rc;
    struct stat  st;

    if (path == NULL) {
        return mcpctl_read_fd(ctl, STDIN_FILENO, max, text, why, err);
    }

    /* non-blocking: the open of a FIFO would wait for a writer */

    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (fd == -1) {
        *err = errno;
        *why = strerror(errno);
        return MCP_ERROR;
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        *err = 0;
        *why = "it is not a file";
        rc = MCP_ERROR;

    } else {
        rc = mcpctl_read_fd(ctl, fd, max, text, why, err);
    }

    (void) close(fd);

    return rc;
}


static int
mcpctl_read_fd(mcpctl_t *ctl, int fd, size_t max, mcp_str_t *text,
    const char **why, int *err)
{
    size_t          size;
    ssize_t         n;
    unsigned char  *p;

    size = 0;
    text->len = 0;
    text->data = NULL;

    for ( ;; ) {

        /* one byte more than is taken, to see that there is more; one for the
         * NUL */

        if (text->len + 2 > size) {
            size = size ? size * 2 : 4096;
            p = mcpctl_alloc(ctl, size);

            if (text->len) {
                memcpy(p, text->data, text->len);
                mcpctl_wipe(text->data, text->len);
            }

            text->data = p;
        }

        n = read(fd, text->data + text->len, size - text->len - 1);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            *err = errno;
            *why = strerror(errno);
            return MCP_ERROR;
        }

        if (n == 0) {
            return MCP_OK;
        }

        text->len += (size_t) n;

        if (text->len > max) {
            *err = 0;
            *why = "it is too long";
            return MCP_ERROR;
        }
    }
}
