/* A target that serves in a container: it is entered by its own network, asked and copied as its kind
 * does, and its twins are made of its image. */
#include "run_internal.h"

#include "tw/docker.h"

#include "tw/io.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASK_NS     (10 * TW_SEC_NS)
#define ASK_MEMORY (INT64_C(256) << 20)
#define ANSWER_MAX ((size_t)1 << 20)
/* Every container has it, and no service keeps anything there: what is handed over hides nothing. */
#define HANDED "/dev/mqueue"

static int choose_backend(struct run *r, struct tw_err *err)
{
    const char *asked = r->options->backend;

    r->inside.backend = asked ? tw_sandbox_backend_find(asked, NULL) : "docker";
    return r->inside.backend ? 0
                             : tw_fail(err, -EINVAL, "there is no backend '%s'", asked);
}

int run_enter(struct run *r, struct tw_err *err)
{
    struct run_inside *in = &r->inside;
    tw_auto_free char *path = NULL;
    int rc;

    if (geteuid() != 0)
        return tw_fail(
            err, -EPERM,
            "target '%s' serves in a container: simulating changes to it needs root",
            r->target.name);
    rc = choose_backend(r, err);
    if (rc == 0)
        rc = tw_env_enter(r->arena, &r->target, &in->way, err);
    if (rc < 0)
        return rc;
    path = tw_strf("/proc/%d/ns/net", in->way.pid);
    in->netns = open(path, O_RDONLY | O_CLOEXEC);
    in->pidfd = (int)syscall(SYS_pidfd_open, in->way.pid, 0);
    if (in->netns < 0 || in->pidfd < 0)
        return tw_fail_errno(err, errno, "the network of container '%s'",
                             in->way.container->name);
    if (in->way.by_files && !tw_streq(in->backend, "docker"))
        return tw_fail(err, -EINVAL,
                       "--backend %s: a '%s' of a container runs with the files of its "
                       "image; only --backend "
                       "docker has them",
                       in->backend, in->way.target.type);
    in->is = true;
    in->declared = r->target;
    r->target = in->way.target;
    in->container = (struct tw_sandbox_container){.engine = in->way.engine,
                                                  .like = in->way.container};
    return 0;
}

void run_inside_done(struct run *r)
{
    if (!r->inside.is)
        return;
    tw_close_p(&r->inside.netns);
    tw_close_p(&r->inside.pidfd);
    tw_sandbox_close(tw_take_ptr(&r->inside.asked));
}

/* ---- where it is ---- */

/* What a kind asks a program of the target is asked in a container of its own, from the same image: nothing
 * of it is run here, and nothing by us in the target itself. */
static int open_asked(struct run *r, struct tw_err *err)
{
    struct run_inside *in = &r->inside;
    struct tw_sandbox_container c = in->container;
    struct tw_sandbox_spec spec = {.backend = "docker",
                                   .container = &c,
                                   .id = r->id,
                                   .name = "asked",
                                   .hostname = "asked",
                                   .memory_bytes = ASK_MEMORY,
                                   .seccomp = true};
    struct tw_sandbox_mount tmp;
    tw_auto_free char *relative = tw_strf("run/%s.tmp", r->id);
    int64_t token;
    int rc = r->priv ? 0 : tw_priv_open(r->state_dir, r->id, &r->priv, err);

    if (rc == 0)
        rc = tw_priv_intend(r->priv, TW_INTENT_TREE, relative, &token, err);
    if (rc < 0)
        return rc;
    in->tmp = tw_arena_printf(r->arena, "%s/%s", tw_priv_state_dir(r->priv), relative);
    if (mkdir(in->tmp, 01777) < 0 || chmod(in->tmp, 01777) < 0)
        return tw_fail_errno(err, errno, "mkdir '%s'", in->tmp);
    tmp = (struct tw_sandbox_mount){in->tmp, HANDED, true};
    TW_PUSH(r->arena, &spec.mounts, tmp);
    /* as whoever serves: an entrypoint that begins as root may have given it up */
    c.own_user = in->way.uid == 0;
    spec.uid = in->way.uid;
    spec.gid = in->way.gid;
    return tw_sandbox_open(r->priv, &spec, &in->asked, err);
}

/* Both ends are read as they come, so that neither fills up. */
static void collect(int out, int errors, struct tw_child_result *to)
{
    struct pollfd fds[] = {{out, POLLIN, 0}, {errors, POLLIN, 0}};
    struct tw_buf *bufs[] = {&to->out, &to->err};
    int64_t deadline = tw_now_ns() + ASK_NS;
    char part[4096];

    while ((fds[0].fd >= 0 || fds[1].fd >= 0) && tw_now_ns() < deadline) {
        if (poll(fds, 2, 100) <= 0)
            continue;
        for (int i = 0; i < 2; i++) {
            ssize_t n = fds[i].revents ? read(fds[i].fd, part, sizeof part) : 1;

            if (fds[i].revents && n > 0)
                tw_buf_add(bufs[i], part, (size_t)n);
            if (n <= 0)
                fds[i].fd = -1;
        }
    }
}

static int run_there(void *arg, const struct tw_child *child, struct tw_child_result *ret,
                     struct tw_err *err)
{
    struct run *r = arg;
    tw_auto_close int out_read = -1, out = -1, errors_read = -1, errors = -1;
    struct tw_process_spec p = {
        .argv = child->argv, .env = child->env, .cwd = child->cwd, .stdin_fd = -1};
    int pipes[2][2], handle, status, rc;

    *ret = (struct tw_child_result){0};
    if (!r->inside.asked)
        return tw_fail(err, -ENOTSUP, "'%s' cannot be asked in a container",
                       child->argv[0]);
    if (pipe2(pipes[0], O_CLOEXEC) < 0)
        return tw_fail_errno(err, errno, "asking '%s'", child->argv[0]);
    out_read = pipes[0][0];
    p.stdout_fd = out = pipes[0][1];
    if (pipe2(pipes[1], O_CLOEXEC) < 0)
        return tw_fail_errno(err, errno, "asking '%s'", child->argv[0]);
    errors_read = pipes[1][0];
    p.stderr_fd = errors = pipes[1][1];
    rc = tw_sandbox_start(r->inside.asked, &p, &handle, err);
    if (rc < 0)
        return rc;
    tw_close_p(&out);
    tw_close_p(&errors);
    out = errors = -1;
    tw_buf_init(&ret->out, child->max_output ? child->max_output : ANSWER_MAX);
    tw_buf_init(&ret->err, child->max_output ? child->max_output : ANSWER_MAX);
    collect(out_read, errors_read, ret);
    rc = tw_sandbox_wait(r->inside.asked, handle, tw_now_ns() + ASK_NS, &status, err);
    if (rc < 0) {
        (void)tw_sandbox_signal(r->inside.asked, handle, SIGKILL, NULL);
        tw_child_result_done(ret);
        return rc;
    }
    ret->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

/* ---- programs that go on while they are asked ---- */

static int begin_there(void *arg, const struct tw_child *child, int out, int *ret_handle,
                       struct tw_err *err)
{
    const struct run *r = arg;
    struct tw_process_spec p = {.argv = child->argv,
                                .env = child->env,
                                .cwd = child->cwd,
                                .stdin_fd = -1,
                                .stdout_fd = out,
                                .stderr_fd = out};

    return r->inside.asked ? tw_sandbox_start(r->inside.asked, &p, ret_handle, err)
                           : tw_fail(err, -ENOTSUP, "'%s' cannot be asked in a container",
                                     child->argv[0]);
}

static bool runs_there(void *arg, int handle)
{
    const struct run *r = arg;
    int status;

    return tw_sandbox_wait(r->inside.asked, handle, 0, &status, NULL) == -ETIMEDOUT;
}

static void end_there(void *arg, int handle)
{
    const struct run *r = arg;
    int status;

    if (tw_sandbox_signal(r->inside.asked, handle, SIGKILL, NULL) == 0)
        (void)tw_sandbox_wait(r->inside.asked, handle, tw_now_ns() + ASK_NS, &status, NULL);
}

struct standing_there {
    struct run *run;
    int (*fn)(void *arg);
    void *arg;
};

/* As the Engine starts it: entrypoint, command, environment. */
static struct tw_service_start start_of(struct run *r)
{
    const struct tw_docker_container *c = r->inside.way.container;
    struct tw_service_start start = {.cwd = c->cwd};

    for (size_t i = 0; i < c->argv.count; i++)
        TW_PUSH(r->arena, &start.argv, c->argv.items[i]);
    for (size_t i = 0; i < c->env.count; i++)
        if (c->env.items[i].value)
            TW_PUSH(r->arena, &start.env,
                    tw_arena_printf(r->arena, "%s=%s", c->env.items[i].name, c->env.items[i].value));
    return start;
}

static int stand_there(void *arg)
{
    struct standing_there *s = arg;
    const struct tw_env_way *way = &s->run->inside.way;
    struct tw_service_start start = start_of(s->run);
    struct tw_child_elsewhere there = {.run = run_there,
                                       .begin = begin_there,
                                       .runs = runs_there,
                                       .end = end_there,
                                       .arg = s->run,
                                       .tmp = HANDED};
    int rc;

    tw_service_stand_at(way->pid, way->begun_by_words ? &start : NULL);
    tw_child_elsewhere(&there);
    rc = s->fn(s->arg);
    tw_child_elsewhere(NULL);
    tw_service_stand_at(0, NULL);
    return rc;
}

int run_at_target(struct run *r, int (*fn)(void *arg), void *arg, struct tw_err *err)
{
    struct standing_there s = {r, fn, arg};
    struct tw_priv_bind tmp = {.to = HANDED, .writable = true};
    int rc;

    if (!r->inside.is)
        return fn(arg);
    if (!r->inside.way.by_files)
        return tw_priv_netns_run(r->priv, r->inside.netns, fn, arg, err);
    /* of a kind that has a program of its own to ask */
    rc = r->kind->programs && !r->inside.asked ? open_asked(r, err) : 0;
    tmp.from = r->inside.tmp;
    return rc < 0 ? rc
                  : tw_priv_visit(r->inside.pidfd, tmp.from ? &tmp : NULL, stand_there, &s, err);
}

const char *run_path_at_target(struct run *r, const char *dir, int *ret_fd)
{
    if (!r->inside.is || !r->inside.way.by_files)
        return dir;
    *ret_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? dir : tw_arena_printf(r->arena, "/proc/self/fd/%d", *ret_fd);
}

void run_twin_made_of(const struct run *r, struct tw_twin_spec *spec)
{
    if (!r->inside.is || !tw_streq(r->inside.backend, "docker"))
        return;
    spec->backend = r->inside.backend;
    spec->container = &r->inside.container;
}
