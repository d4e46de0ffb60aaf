/*
 * Files that are replaced as a whole.  See mcpctl_file.h.
 *
 * There is one name for the temporary file, since only who has the lock writes
 * it: what a killed process left is overwritten, nothing piles up.
 */

#include "mcpctl_file.h"
#include "mcpctl_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>


#define MCPCTL_FILE_MAX     (64 * 1024 * 1024)
#define MCPCTL_FILE_MODE    0640
#define MCPCTL_FILE_WAIT    10          /* s, for the lock */
#define MCPCTL_FILE_GROUPS  256
#define MCPCTL_FILE_USER    "www-data"  /* nginx's, when none is configured */


/* Whom the workers run as. */
typedef struct {
    const char          *name;
    uid_t                uid;
    gid_t                gid;
    gid_t                groups[MCPCTL_FILE_GROUPS];
    int                  ngroups;
} mcpctl_worker_t;


static int mcpctl_file_resolve(mcpctl_t *ctl, const mcp_str_t *path,
    mcpctl_file_text_t *f);
static int mcpctl_file_load(mcpctl_t *ctl, mcpctl_file_text_t *f);
static int mcpctl_file_lock(mcpctl_t *ctl, mcpctl_file_text_t *f);
static int mcpctl_file_write(mcpctl_t *ctl, mcpctl_file_text_t *f, int fd,
    const mcp_str_t *text);
static int mcpctl_file_owner(mcpctl_t *ctl, mcpctl_file_text_t *f, int fd);
static void mcpctl_file_sync_dir(mcpctl_t *ctl, const mcpctl_file_text_t *f);
static int mcpctl_file_worker(mcpctl_t *ctl, mcpctl_worker_t *w);
static void mcpctl_file_readable(mcpctl_t *ctl, const mcpctl_file_text_t *f);
static int mcpctl_file_allowed(const mcpctl_worker_t *w, const char *path,
    mode_t bit);


int
mcpctl_file_read(mcpctl_t *ctl, const mcp_str_t *path, mcpctl_file_text_t *f)
{
    memset(f, 0, sizeof(mcpctl_file_text_t));
    f->lock = -1;

    if (mcpctl_file_resolve(ctl, path, f) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcpctl_file_load(ctl, f);
}


int
mcpctl_file_open(mcpctl_t *ctl, const mcp_str_t *path, mcpctl_file_text_t *f)
{
    memset(f, 0, sizeof(mcpctl_file_text_t));
    f->lock = -1;

    if (mcpctl_file_resolve(ctl, path, f) != MCP_OK
        || mcpctl_file_lock(ctl, f) != MCP_OK)
    {
        return MCP_ERROR;
    }

    if (mcpctl_file_load(ctl, f) != MCP_OK) {
        mcpctl_file_close(f);
        return MCP_ERROR;
    }

    return MCP_OK;
}


int
mcpctl_file_prepare(mcpctl_t *ctl, mcpctl_file_text_t *f,
    const mcp_str_t *text)
{
    int          fd, rc;
    const char  *tmp;

    f->tmp = mcpctl_cstr(mcpctl_format(ctl, "%s.tmp", f->path.data));
    tmp = (char *) f->tmp.data;

    if (unlink(tmp) == -1 && errno != ENOENT) {
        rc = mcpctl_error(ctl, MCP_ERROR, "cannot remove \"%s\": %s", tmp,
                          strerror(errno));
        goto failed;
    }

    fd = open(tmp, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600);

    if (fd == -1) {
        rc = mcpctl_error(ctl, MCP_ERROR, "cannot create \"%s\": %s", tmp,
                          strerror(errno));
        goto failed;
    }

    rc = mcpctl_file_write(ctl, f, fd, text);

    if (close(fd) == -1 && rc == MCP_OK) {
        rc = mcpctl_error(ctl, MCP_ERROR, "cannot write \"%s\": %s", tmp,
                          strerror(errno));
    }

    if (rc == MCP_OK) {
        return MCP_OK;
    }

    (void) unlink(tmp);

failed:

    f->tmp.len = 0;

    return rc;
}


int
mcpctl_file_commit(mcpctl_t *ctl, mcpctl_file_text_t *f)
{
    if (rename((char *) f->tmp.data, (char *) f->path.data) == -1) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot rename \"%s\" to \"%s\": "
                            "%s", f->tmp.data, f->path.data, strerror(errno));
    }

    f->tmp.len = 0;

    mcpctl_file_sync_dir(ctl, f);
    mcpctl_file_readable(ctl, f);

    return MCP_OK;
}


void
mcpctl_file_close(mcpctl_file_text_t *f)
{
    if (f->tmp.len) {
        (void) unlink((char *) f->tmp.data);
        f->tmp.len = 0;
    }

    if (f->lock != -1) {
        (void) close(f->lock);
        f->lock = -1;
    }
}


/* A symbolic link stays one: the file that it leads to is replaced. */
static int
mcpctl_file_resolve(mcpctl_t *ctl, const mcp_str_t *path,
    mcpctl_file_text_t *f)
{
    char         *real;
    struct stat   st;

    real = realpath((char *) path->data, NULL);

    if (real) {
        f->path = mcpctl_str(ctl, real, strlen(real));
        free(real);
        return MCP_OK;
    }

    if (errno != ENOENT || lstat((char *) path->data, &st) == 0) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot find \"%s\": %s",
                            path->data, strerror(errno ? errno : ENOENT));
    }

    f->path = *path;

    return MCP_OK;
}


static int
mcpctl_file_load(mcpctl_t *ctl, mcpctl_file_text_t *f)
{
    int          err;
    const char  *why;
    struct stat  st;

    if (mcpctl_read_file(ctl, (char *) f->path.data, MCPCTL_FILE_MAX,
                         &f->text, &why, &err)
        == MCP_OK)
    {
        f->exists = 1;

    } else if (err != ENOENT) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot read \"%s\": %s",
                            f->path.data, why);
    }

    if (!f->exists) {
        mcp_str_null(&f->text);
        return MCP_OK;
    }

    if (stat((char *) f->path.data, &st) == -1) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot read \"%s\": %s",
                            f->path.data, strerror(errno));
    }

    f->uid = st.st_uid;
    f->gid = st.st_gid;
    f->mode = st.st_mode & 07777;

    return MCP_OK;
}


static int
mcpctl_file_lock(mcpctl_t *ctl, mcpctl_file_text_t *f)
{
    char            *path;
    unsigned         tries;
    struct timespec  pause;

    path = mcpctl_format(ctl, "%s.lock", f->path.data);

    f->lock = open(path, O_RDWR|O_CREAT|O_CLOEXEC|O_NOFOLLOW, 0600);

    if (f->lock == -1) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot open \"%s\": %s", path,
                            strerror(errno));
    }

    pause.tv_sec = 0;
    pause.tv_nsec = 20 * 1000000;

    for (tries = 0; flock(f->lock, LOCK_EX|LOCK_NB) == -1; tries++) {

        if (errno != EWOULDBLOCK && errno != EINTR) {
            (void) mcpctl_error(ctl, 0, "cannot lock \"%s\": %s", path,
                                strerror(errno));
            mcpctl_file_close(f);
            return MCP_ERROR;
        }

        if (tries == MCPCTL_FILE_WAIT * 50) {
            (void) mcpctl_error(ctl, 0, "\"%s\" is locked by another mcpctl",
                                path);
            mcpctl_file_close(f);
            return MCP_ERROR;
        }

        (void) nanosleep(&pause, NULL);
    }

    return MCP_OK;
}


static int
mcpctl_file_write(mcpctl_t *ctl, mcpctl_file_text_t *f, int fd,
    const mcp_str_t *text)
{
    size_t   off;
    ssize_t  n;

    if (mcpctl_file_owner(ctl, f, fd) != MCP_OK) {
        return MCP_ERROR;
    }

    for (off = 0; off < text->len; off += (size_t) n) {
        n = write(fd, text->data + off, text->len - off);

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            return mcpctl_error(ctl, MCP_ERROR, "cannot write \"%s\": %s",
                                f->tmp.data, strerror(n ? errno : ENOSPC));
        }
    }

    if (fsync(fd) == -1) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot write \"%s\": %s",
                            f->tmp.data, strerror(errno));
    }

    return MCP_OK;
}


static int
mcpctl_file_owner(mcpctl_t *ctl, mcpctl_file_text_t *f, int fd)
{
    struct stat      st;
    mcpctl_worker_t  w;

    if (!f->exists) {
        f->mode = MCPCTL_FILE_MODE;

        /* whether they can read it is looked at afterwards */

        if (mcpctl_file_worker(ctl, &w) == MCP_OK
            && fchown(fd, (uid_t) -1, w.gid) == -1 && ctl->verbose)
        {
            mcpctl_warn(ctl, "cannot give \"%s\" to the group of \"%s\": %s",
                        f->path.data, w.name, strerror(errno));
        }

    } else if (fstat(fd, &st) == -1
               || ((st.st_uid != f->uid || st.st_gid != f->gid)
                   && fchown(fd, f->uid, f->gid) == -1))
    {
        return mcpctl_error(ctl, MCP_ERROR, "cannot give \"%s\" the owner and "
                            "group of \"%s\": %s", f->tmp.data, f->path.data,
                            strerror(errno));
    }

    if (fchmod(fd, f->mode) == -1) {
        return mcpctl_error(ctl, MCP_ERROR, "cannot set the mode of \"%s\": "
                            "%s", f->tmp.data, strerror(errno));
    }

    return MCP_OK;
}


/* The change is made; only a crash of the machine could still take it back. */
static void
mcpctl_file_sync_dir(mcpctl_t *ctl, const mcpctl_file_text_t *f)
{
    int         fd;
    char       *slash;
    mcp_str_t   dir;

    dir = mcpctl_str(ctl, f->path.data, f->path.len);
    slash = strrchr((char *) dir.data, '/');

    if (slash) {
        slash[slash == (char *) dir.data] = '\0';
    }

    fd = open(slash ? (char *) dir.data : ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1 || (fsync(fd) == -1 && errno != EINVAL)) {
        mcpctl_warn(ctl, "cannot sync \"%s\": %s", dir.data, strerror(errno));
    }

    if (fd != -1) {
        (void) close(fd);
    }
}


/*
 * MCP_DECLINED: there is no such user.  Without root nginx changes to nobody,
 * whatever `user` says; who is not root and has not said it means themselves.
 */
static int
mcpctl_file_worker(mcpctl_t *ctl, mcpctl_worker_t *w)
{
    struct group   *gr;
    struct passwd  *pw;

    if (ctl->conf->user.len == 0 && geteuid() != 0) {
        return MCP_DECLINED;
    }

    w->name = ctl->conf->user.len ? (char *) ctl->conf->user.data
                                  : MCPCTL_FILE_USER;

    pw = getpwnam(w->name);
    if (pw == NULL) {
        return MCP_DECLINED;
    }

    w->uid = pw->pw_uid;
    w->gid = pw->pw_gid;

    if (ctl->conf->group.len) {
        gr = getgrnam((char *) ctl->conf->group.data);

        if (gr) {
            w->gid = gr->gr_gid;
        }
    }

    w->ngroups = MCPCTL_FILE_GROUPS;

    if (getgrouplist(w->name, w->gid, w->groups, &w->ngroups) == -1) {
        w->groups[0] = w->gid;
        w->ngroups = 1;
    }

    return MCP_OK;
}


static void
mcpctl_file_readable(mcpctl_t *ctl, const mcpctl_file_text_t *f)
{
    char             *path, *slash;
    mcp_str_t         copy;
    mcpctl_worker_t   w;

    if (mcpctl_file_worker(ctl, &w) != MCP_OK || w.uid == 0) {
        return;
    }

    if (!mcpctl_file_allowed(&w, (char *) f->path.data, 04)) {
        mcpctl_warn(ctl, "nginx's user \"%s\" cannot read \"%s\": its workers "
                    "will not see changes", w.name, f->path.data);
        return;
    }

    copy = mcpctl_str(ctl, f->path.data, f->path.len);
    path = (char *) copy.data;

    while ((slash = strrchr(path, '/')) != NULL && slash != path) {
        *slash = '\0';

        if (!mcpctl_file_allowed(&w, path, 01)) {
            mcpctl_warn(ctl, "nginx's user \"%s\" cannot look into \"%s\": "
                        "its workers will not see changes of \"%s\"", w.name,
                        path, f->path.data);
            return;
        }
    }
}


/* 1 when the mode lets the user do this (04: read, 01: look into). */
static int
mcpctl_file_allowed(const mcpctl_worker_t *w, const char *path, mode_t bit)
{
    int          i;
    struct stat  st;

    if (stat(path, &st) == -1) {
        return 0;
    }

    if (st.st_uid == w->uid) {
        return (st.st_mode & (bit << 6)) != 0;
    }

    for (i = 0; i < w->ngroups; i++) {
        if (w->groups[i] == st.st_gid) {
            return (st.st_mode & (bit << 3)) != 0;
        }
    }

    return (st.st_mode & bit) != 0;
}
