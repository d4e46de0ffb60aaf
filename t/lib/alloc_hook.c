/*
 * Makes the n-th allocation of an nginx fail: linked into the sanitizer build
 * with --wrap, so that malloc(), calloc(), realloc() and posix_memalign() of
 * nginx, our module and hiredis come here, and ngx_slab_alloc*() of our module;
 * jansson and OpenSSL are given the same functions.  In that build each
 * piece of a pool is a malloc() of its own.
 *
 * Without MCP_ALLOC_HOOK in the environment nothing is counted and nothing
 * fails.  With it, it names a file (of sizeof(hook_t) bytes at least), which is
 * mapped by the master before it forks: the test writes it, the workers read
 * and count in it.  t/alloc.t is the test, t/lib/MCP/Alloc.pm knows the layout.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <sanitizer/common_interface_defs.h>


enum { OFF = 0, ONE, ALL_FROM };


typedef struct {
    volatile uint32_t   mode;           /* written by the test: OFF first */
    volatile uint32_t   trace;          /* 1: where it fails, to stderr */
    volatile uint64_t   fail_at;        /* the first one is 1; 0: none */
    volatile uint64_t   count;          /* allocations since it was armed */
    volatile uint64_t   failed;
} hook_t;


static hook_t    hook_none;
static hook_t   *hook = &hook_none;
static pid_t     master;


void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
void *__real_ngx_slab_alloc(void *pool, size_t size);
void *__real_ngx_slab_alloc_locked(void *pool, size_t size);
void *__real_ngx_slab_calloc(void *pool, size_t size);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);
void *__wrap_ngx_slab_alloc(void *pool, size_t size);
void *__wrap_ngx_slab_alloc_locked(void *pool, size_t size);
void *__wrap_ngx_slab_calloc(void *pool, size_t size);


/* 1: this one fails.  The master allocates for nobody. */

static int
fails(void)
{
    uint64_t  n;

    if (hook->mode == OFF || getpid() == master) {
        return 0;
    }

    n = __atomic_add_fetch(&hook->count, 1, __ATOMIC_SEQ_CST);

    if (hook->fail_at == 0 || n < hook->fail_at
        || (n > hook->fail_at && hook->mode == ONE))
    {
        return 0;
    }

    __atomic_add_fetch(&hook->failed, 1, __ATOMIC_SEQ_CST);

    if (hook->trace && n == hook->fail_at) {
        fprintf(stderr, "allocation %llu fails:\n", (unsigned long long) n);
        __sanitizer_print_stack_trace();
    }

    return 1;
}


void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}


void *
__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}


int
__wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
    return fails() ? 12 : __real_posix_memalign(p, alignment, size);
}


void *
__wrap_ngx_slab_alloc(void *pool, size_t size)
{
    return fails() ? NULL : __real_ngx_slab_alloc(pool, size);
}


void *
__wrap_ngx_slab_alloc_locked(void *pool, size_t size)
{
    return fails() ? NULL : __real_ngx_slab_alloc_locked(pool, size);
}


void *
__wrap_ngx_slab_calloc(void *pool, size_t size)
{
    return fails() ? NULL : __real_ngx_slab_calloc(pool, size);
}


static void *
crypto_malloc(size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    return __wrap_malloc(size);
}


static void *
crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    if (size == 0) {
        free(p);
        return NULL;
    }

    return __wrap_realloc(p, size);
}


static void
crypto_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;

    free(p);
}


/* Before main(), and before OpenSSL allocates anything. */

__attribute__((constructor))
static void
init(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("MCP_ALLOC_HOOK");

    if (path == NULL) {
        return;
    }

    master = getpid();
    fd = open(path, O_RDWR);
    p = fd == -1 ? MAP_FAILED
                 : mmap(NULL, sizeof(hook_t), PROT_READ|PROT_WRITE, MAP_SHARED,
                        fd, 0);

    if (p == MAP_FAILED
        || CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free)
           != 1)
    {
        fprintf(stderr, "alloc_hook: not possible\n");
        _exit(3);
    }

    close(fd);
    json_set_alloc_funcs(__wrap_malloc, free);

    hook = p;
}
