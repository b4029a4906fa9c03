/* A process of the target's own program, started for a moment beside the target: empty, unreachable,
 * not as root, in a directory of its own, to be asked what it knows. Dies with us. */
#include "host.h"

#include "tw/io.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

struct start {
    const char *const *argv;
    const char *dir;
    unsigned uid, gid;
    int out;
};

/* After fork: only what is safe between fork and exec. */
static void become(const struct start *s)
{
    bool root = geteuid() == 0;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(s->dir) < 0 || (root && setgroups(0, NULL) < 0) ||
        (root && setresgid(s->gid, s->gid, s->gid) < 0) ||
        (root && setresuid(s->uid, s->uid, s->uid) < 0))
        _exit(126);
    (void)dup2(s->out, STDOUT_FILENO);
    (void)dup2(s->out, STDERR_FILENO);
    (void)execv(s->argv[0], (char *const *)s->argv);
    _exit(127);
}

int host_scratch_open(struct tw_arena *a, unsigned uid, unsigned gid,
                      struct host_scratch *ret, struct tw_err *err)
{
    char *dir = tw_arena_printf(a, "%s/twin-scratch-XXXXXX", tw_child_tmp());
    bool root = uid == 0 && !tw_child_where(); /* root of a container is one of there only */

    *ret = (struct host_scratch){.uid = root ? NOBODY : uid, .gid = root ? NOBODY : gid};
    if (!mkdtemp(dir))
        return tw_fail_errno(err, errno, "mkdtemp '%s'", dir);
    ret->dir = dir;
    if (geteuid() == 0 && chown(dir, ret->uid, ret->gid) < 0)
        return tw_fail_errno(err, errno, "chown '%s'", dir);
    return 0;
}

static int start_here(struct host_scratch *s, const char *const *argv, int out,
                      struct tw_err *err)
{
    struct start start = {argv, s->dir, s->uid, s->gid, out};
    pid_t pid = fork();

    if (pid == 0)
        become(&start);
    if (pid < 0)
        return tw_fail_errno(err, errno, "fork");
    s->pid = pid;
    return 0;
}

static int start_there(struct host_scratch *s, const struct tw_child_elsewhere *there,
                       const char *const *argv, int out, struct tw_err *err)
{
    struct tw_child child = {.argv = argv, .cwd = s->dir};
    int r = there->begin(there->arg, &child, out, &s->handle, err);

    s->there = r == 0 ? there : NULL;
    return r;
}

int host_scratch_start(struct host_scratch *s, const char *const *argv,
                       struct tw_err *err)
{
    tw_auto_free char *log = tw_strf("%s/log", s->dir);
    tw_auto_close int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (out < 0)
        return tw_fail_errno(err, errno, "'%s'", log);
    return tw_child_where() ? start_there(s, tw_child_where(), argv, out, err)
                            : start_here(s, argv, out, err);
}

bool host_scratch_runs(struct host_scratch *s)
{
    int status;

    if (s->there)
        return s->there->runs(s->there->arg, s->handle);
    if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid)
        s->pid = 0;
    return s->pid > 0;
}

const char *host_scratch_log(struct tw_arena *a, const struct host_scratch *s)
{
    return host_text(a, s->dir, "/log");
}

void host_scratch_close(struct host_scratch *s)
{
    if (s->there)
        s->there->end(s->there->arg, s->handle);
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (s->dir)
        (void)tw_remove_tree(s->dir, NULL);
    *s = (struct host_scratch){0};
}
