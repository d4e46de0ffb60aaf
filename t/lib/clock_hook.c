/*
 * A wall clock that a test sets: loaded into an nginx with LD_PRELOAD, where
 * MCP_CLOCK_HOOK names a file that has, as an int64_t, the seconds by which
 * gettimeofday() is ahead.  The monotonic clock goes on as ever.  t/fault_clock.t
 * builds it and is its only user.
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static const volatile int64_t  *ahead;


__attribute__((constructor))
static void
clock_hook_init(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("MCP_CLOCK_HOOK");
    if (path == NULL) {
        return;
    }

    fd = open(path, O_RDONLY);
    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

    (void) close(fd);

    if (p != MAP_FAILED) {
        ahead = p;
    }
}


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;
    (void) clock_gettime(CLOCK_REALTIME, &ts);

    tv->tv_sec = ts.tv_sec + (ahead ? *ahead : 0);
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}
