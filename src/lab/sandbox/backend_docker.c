/* A container of an Engine on this host. The Engine makes it from the target's image and starts our static
 * init in it; what it needs beyond the image (data, links, names) is put into its namespaces by ourselves
 * while it waits, so that the Engine is asked for nothing of this host but the directory of that init. */
#include "box_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define PIDS_MAX   4096
#define CONNECT_NS (30 * TW_SEC_NS) /* an Engine that begins many containers is slow */
#define CLOSE_S                                                                          \
    5.0 /* an Engine that does not answer is not waited for: what is dead is dead */
#define STATUS_NS (10 * TW_SEC_NS)
#define BOOT_SLOT INT32_MAX /* the handle of the entrypoint */

struct docker_box {
    struct tw_sandbox box; /* first */
    struct channel main;   /* its init is pid 1, until it becomes the entrypoint */
    struct channel aside;  /* of an init beside the entrypoint; name NULL: none */
    struct tw_priv *priv;
    struct tw_priv_cgroup *cgroup;
    struct tw_arena *arena;
    pthread_mutex_t lock; /* the connection, and the making of the second init */
    struct tw_docker *engine;
    char *host, *id; /* of the container; NULL: not made */
    char *dir;       /* on this host: what stands on BOX_DIR */
    struct box_words entrypoint;
    int netns;
    pid_t pid;
    int64_t dir_token, group_token, init_token;
    bool booted, boot_collected;
    struct box_words missing;
};

static struct docker_box *docker_of(struct tw_sandbox *box)
{
    return (struct docker_box *)(void *)box;
}

static void note(struct docker_box *d, const char *text)
{
    TW_PUSH(d->arena, &d->missing.list, text);
}

/* ---- the Engine ---- */

/* What an Engine is does not change while it runs: asked once per process. */
static struct known_engine {
    char *host;
    bool cgroupfs;
} known[8];
static size_t known_count;
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static int is_cgroupfs(struct tw_docker *engine, bool *ret, struct tw_err *err)
{
    json_auto_t *info = NULL;
    const char *host = tw_docker_host(engine);
    int r = 0;

    (void)pthread_mutex_lock(&known_lock);
    for (size_t i = 0; i < known_count; i++) {
        if (tw_streq(known[i].host, host)) {
            *ret = known[i].cgroupfs;
            (void)pthread_mutex_unlock(&known_lock);
            return 0;
        }
    }
    r = tw_docker_info(engine, &info, err);
    if (r == 0) {
        *ret = tw_streq(json_string_value(json_object_get(info, "CgroupDriver")),
                        "cgroupfs");
        if (known_count < TW_COUNT_OF(known))
            known[known_count++] = (struct known_engine){tw_strf("%s", host), *ret};
    }
    (void)pthread_mutex_unlock(&known_lock);
    return r;
}

static uint64_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return hash;
}

/* Which Engines have been asked for something: written down before the first request, so that a reaper
 * knows where to look. */
static int remember_engine(const char *state_dir, const char *host, struct tw_err *err)
{
    tw_auto_free char *dir = tw_strf("%s/engines", state_dir);
    tw_auto_free char *path =
        tw_strf("%s/%016llx", dir, (unsigned long long)hash_of(host));
    int r;

    /* boxes are opened by several threads at once */
    (void)pthread_mutex_lock(&known_lock);
    r = tw_make_dirs(dir, 0700, err);
    if (r == 0 && access(path, F_OK) < 0)
        r = tw_write_file(path, host, strlen(host), 0600, err);
    (void)pthread_mutex_unlock(&known_lock);
    return r;
}

static int open_engine(struct docker_box *d, const struct tw_sandbox_container *c,
                       struct tw_err *err)
{
    struct tw_docker_options options = {.host = c->engine};
    int r = tw_docker_open(&options, &d->engine, err);

    if (r < 0)
        return r;
    d->host = tw_strf("%s", tw_docker_host(d->engine));
    if (!tw_starts_with(d->host, "unix://"))
        return tw_fail(err, -ENOTSUP,
                       "the Engine at '%s' is not of this host: a twin's files, links "
                       "and counters are "
                       "reached by the processes of its container, so it has to be one "
                       "with a socket here",
                       d->host);
    return remember_engine(tw_priv_state_dir(d->priv), d->host, err);
}

/* ---- the directory of the init ---- */

static int listen_at(const char *dir, const char *name, int *ret_fd, struct tw_err *err)
{
    tw_auto_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    tw_auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    /* the path of a socket has 107 characters at most */
    tw_auto_free char *path = tw_strf("/proc/self/fd/%d/%s", dirfd, name);
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    memcpy(at.sun_path, path, strlen(path) + 1);
    if (dirfd < 0 || fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(fd, 1) < 0 || chmod(path, 0666) < 0)
        return tw_fail_errno(err, errno, "making the socket '%s/%s'", dir, name);
    *ret_fd = tw_take_fd(&fd);
    return 0;
}

static int write_in(const char *dir, const char *name, const char *text, size_t len,
                    unsigned mode, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/%s", dir, name);
    int r = tw_write_file(path, text, len, mode, err);

    return r == 0 && chmod(path, mode) < 0 ? tw_fail_errno(err, errno, "'%s'", path) : r;
}

static int make_dir(struct docker_box *d, const struct tw_sandbox_spec *spec,
                    int *ret_listener, struct tw_err *err)
{
    tw_auto_free char *relative = tw_strf("run/%s.%s", tw_priv_id(d->priv), spec->name);
    const char *hosts = sandbox_hosts_text(d->arena, spec, spec->links.count > 0);
    const char *init;
    size_t len;
    int r = tw_priv_intend(d->priv, TW_INTENT_TREE, relative, &d->dir_token, err);

    if (r < 0)
        return r;
    d->dir = tw_strf("%s/%s", tw_priv_state_dir(d->priv), relative);
    (void)tw_remove_tree(d->dir, NULL);
    if (mkdir(d->dir, 0755) < 0 || chmod(d->dir, 0755) < 0)
        return tw_fail_errno(err, errno, "mkdir '%s'", d->dir);
    init = box_init_image(&len);
    r = write_in(d->dir, "init", init, len, 0755, err);
    if (r == 0)
        r = write_in(d->dir, "hosts", hosts, strlen(hosts), 0644, err);
    if (r == 0)
        r = write_in(d->dir, "resolv.conf", SANDBOX_RESOLV_CONF,
                     strlen(SANDBOX_RESOLV_CONF), 0644, err);
    return r < 0 ? r : listen_at(d->dir, "s", ret_listener, err);
}

/* ---- the container ---- */

static int inspect_images(struct docker_box *d, const struct tw_sandbox_container *c,
                          json_t **ret_image, json_t **ret_old, struct tw_err *err)
{
    const char *image = c->image ? c->image : c->like ? c->like->image_id : NULL;
    const char *id;
    int r;

    if (!image)
        return tw_fail(err, -EINVAL, "a container needs an image");
    r = tw_docker_image_inspect(d->engine, image, ret_image, err);
    if (r < 0)
        return r;
    id = json_string_value(json_object_get(*ret_image, "Id"));
    if (!id)
        return tw_fail(err, -EPROTO, "the inspection of image '%s' lacks its id", image);
    /* one that was removed while it runs: all that the target has counts as its own */
    if (c->like && !tw_streq(id, c->like->image_id))
        (void)tw_docker_image_inspect(d->engine, c->like->image_id, ret_old, NULL);
    return 0;
}

/* Another box shares its network only with a container. */
static int choose_network(struct docker_box *d, const struct tw_sandbox_spec *spec,
                          const char **ret, struct tw_err *err)
{
    const struct tw_sandbox *beside = spec->beside;

    *ret = "none";
    if (!beside)
        return 0;
    if (beside->backend != &sandbox_backend_docker)
        return tw_fail(err, -ENOTSUP,
                       "container '%s' can share the network of a container only",
                       spec->name);
    *ret = tw_arena_printf(d->arena, "container:%s",
                           ((const struct docker_box *)(const void *)beside)->id);
    return 0;
}

static int create(struct docker_box *d, const struct tw_sandbox_spec *spec,
                  struct tw_err *err)
{
    json_auto_t *image = NULL, *old = NULL, *body = NULL;
    tw_auto_free char *profile = NULL, *parent = NULL, *name = NULL;
    struct box_plan plan = {.spec = spec,
                            .init_dir = box_engine_path(d->arena, d->engine, d->dir),
                            .id = tw_priv_id(d->priv),
                            .state_dir = tw_priv_state_dir(d->priv)};
    bool cgroupfs = false;
    int r = inspect_images(d, spec->container, &image, &old, err);

    if (r == 0)
        r = choose_network(d, spec, &plan.network, err);
    if (r == 0)
        r = is_cgroupfs(d->engine, &cgroupfs, err);
    if (r == 0 && cgroupfs)
        r = tw_priv_cgroup_intend(d->priv, NULL, &parent, NULL, err);
    if (r < 0)
        return r;
    if (!cgroupfs)
        note(d, "its CPU weight counts among the other containers of the Engine, which "
                "groups them itself");
    plan.image = image;
    plan.old_image = old;
    plan.cgroup_parent = parent;
    if (spec->seccomp)
        plan.profile = profile =
            tw_priv_filter_profile(spec->as_root || spec->container->own_user);
    body = box_create_body(d->arena, &plan, &d->missing);
    d->entrypoint = box_entrypoint(d->arena, &plan);
    name = tw_strf("twin-%s-%s", plan.id, spec->name);
    r = tw_docker_container_create(d->engine, name, body, &d->id, err);
    if (r < 0)
        return r;
    tw_step("sandbox.container.created");
    return cgroupfs ? tw_priv_cgroup_intend(d->priv, d->id, NULL, &d->group_token, err)
                    : 0;
}

static int read_state(struct docker_box *d, struct tw_docker_container *ret,
                      struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = tw_docker_container_inspect(d->engine, d->id, &json, err);

    return r < 0 ? r : tw_docker_container_read(d->arena, json, ret, err);
}

static int start(struct docker_box *d, struct tw_err *err)
{
    struct tw_docker_container c;
    int r = tw_docker_container_start(d->engine, d->id, err);

    if (r == 0)
        r = read_state(d, &c, err);
    if (r < 0)
        return r;
    if (c.pid <= 1)
        return tw_fail(err, -ECHILD,
                       "the init of sandbox '%s' ended at once with status %d",
                       d->main.name, c.exit_status);
    d->pid = c.pid;
    d->main.pidfd = (int)syscall(SYS_pidfd_open, d->pid, 0);
    if (d->main.pidfd < 0)
        return tw_fail_errno(err, errno, "process %d of container '%s'", (int)d->pid,
                             d->id);
    r = channel_record(d->priv, d->pid, &d->init_token, err);
    tw_step("sandbox.container.started");
    return r;
}

/* ---- talking to an init ---- */

static int accept_init(const struct channel *c, int listener, struct tw_err *err)
{
    struct pollfd fds[] = {{listener, POLLIN, 0}, {c->pidfd, POLLIN, 0}};
    int64_t deadline = tw_now_ns() + CONNECT_NS;
    int n;

    do
        n = poll(fds, c->pidfd >= 0 ? 2 : 1,
                 (int)((deadline - tw_now_ns()) / TW_MSEC_NS) + 1);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return tw_fail(
            err, -ETIMEDOUT,
            "the init of sandbox '%s' did not come within %d s: does the Engine "
            "see the files of this host?",
            c->name, (int)(CONNECT_NS / TW_SEC_NS));
    if (!(fds[0].revents & POLLIN))
        return tw_fail(err, -ECHILD, "the init of sandbox '%s' died before it came",
                       c->name);
    n = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return n < 0
               ? tw_fail_errno(err, errno, "accepting the init of sandbox '%s'", c->name)
               : n;
}

/* Anybody inside can reach the socket: pid 1 is told by its number, one beside an entrypoint by being a
 * process of the same container. */
static bool is_inside(const struct docker_box *d, int fd, bool first)
{
    struct ucred who;
    socklen_t len = sizeof who;
    tw_auto_free char *here = NULL, *there = NULL;
    char one[64], two[64];
    ssize_t n, m;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return false;
    if (first)
        return who.pid == d->pid;
    here = tw_strf("/proc/%d/ns/pid", (int)d->pid);
    there = tw_strf("/proc/%d/ns/pid", (int)who.pid);
    n = readlink(here, one, sizeof one);
    m = readlink(there, two, sizeof two);
    return n > 0 && n == m && memcmp(one, two, (size_t)n) == 0;
}

static int send_board(const struct channel *c, struct tw_err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct init_request go = {.op = INIT_GO, .size = sizeof go};
    struct iovec part = {&go, sizeof go};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    const int fds[2] = {c->board_fd, c->events};

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    return sendmsg(c->control, &message, MSG_NOSIGNAL) < 0
               ? tw_fail_errno(err, errno, "greeting the init of sandbox '%s'", c->name)
               : 0;
}

static int greet(struct docker_box *d, struct channel *c, int listener, bool first,
                 struct tw_err *err)
{
    int32_t result = 0;
    int r = channel_make(c, true, err);

    if (r < 0)
        return r;
    c->control = accept_init(c, listener, err);
    if (c->control < 0)
        return c->control;
    if (!is_inside(d, c->control, first))
        return tw_fail(err, -EPROTO,
                       "somebody else answered for the init of sandbox '%s'", c->name);
    r = send_board(c, err);
    return r < 0 ? r : channel_await(c, &result, err);
}

/* ---- what is put into it ---- */

struct configuring {
    const struct sandbox_net *net;
    struct tw_err err;
};

static int configure(void *arg)
{
    struct configuring *c = arg;

    return tw_priv_net_configure(c->net->links, c->net->link_count, c->net->lo,
                                 c->net->lo_count, &c->err);
}

static int put_links(struct docker_box *d, const struct tw_sandbox_spec *spec,
                     struct tw_err *err)
{
    struct sandbox_net net;
    struct configuring c = {.net = &net};
    tw_auto_free char *path = tw_strf("/proc/%d/ns/net", (int)d->pid);
    int r = 0;

    d->netns = open(path, O_RDONLY | O_CLOEXEC);
    if (d->netns < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    if (spec->beside)
        return 0;
    sandbox_plan_net(d->arena, spec, spec->links.count > 0, &net);
    for (size_t i = 0; i < net.link_count && r == 0; i++)
        r = tw_priv_link_make(d->priv, d->pid, spec->links.items[i].network, (int)i, err);
    if (r < 0)
        return r;
    r = tw_priv_netns_run(d->priv, d->netns, configure, &c, err);
    if (r < 0 && c.err.code && err)
        *err = c.err;
    if (r == 0)
        tw_step("sandbox.link.made");
    return r;
}

static int put_mounts(struct docker_box *d, const struct tw_sandbox_spec *spec,
                      struct tw_err *err)
{
    struct {
        TW_ARRAY(struct tw_priv_bind) list;
    } binds = {0};
    const struct tw_priv_bind own[] = {
        {tw_arena_printf(d->arena, "%s/hosts", d->dir), "/etc/hosts", true},
        {tw_arena_printf(d->arena, "%s/resolv.conf", d->dir), "/etc/resolv.conf", true}};

    for (size_t i = 0; i < TW_COUNT_OF(own); i++)
        TW_PUSH(d->arena, &binds.list, own[i]);
    for (size_t i = 0; i < spec->mounts.count; i++) {
        const struct tw_sandbox_mount *m = &spec->mounts.items[i];

        TW_PUSH(d->arena, &binds.list,
                ((struct tw_priv_bind){m->from, m->to, m->writable}));
    }
    return tw_priv_mount_into(d->priv, d->main.pidfd, binds.list.items, binds.list.count,
                              err);
}

static int bound(struct docker_box *d, const struct tw_sandbox_spec *spec,
                 struct tw_err *err)
{
    struct tw_limits limits = {.memory_bytes = spec->memory_bytes,
                               .cpus = spec->cpus,
                               .cpuset = spec->cpuset,
                               .cpu_weight = spec->cpu_weight,
                               .pids_max = spec->pids_max ? spec->pids_max : PIDS_MAX};
    const char *const *texts;
    int r =
        tw_priv_cgroup_adopt(d->priv, d->pid, d->group_token, &limits, &d->cgroup, err);

    if (r < 0)
        return r;
    d->group_token = 0; /* the group's from now on */
    for (size_t i = 0, n = tw_priv_cgroup_missing(d->cgroup, &texts); i < n; i++)
        note(d, texts[i]);
    tw_step("sandbox.cgroup.made");
    return 0;
}

/* ---- opening and closing ---- */

static int docker_make(struct docker_box *d, const struct tw_sandbox_spec *spec,
                       struct tw_err *err)
{
    tw_auto_close int listener = -1;
    int r = open_engine(d, spec->container, err);

    if (r == 0)
        r = make_dir(d, spec, &listener, err);
    if (r == 0)
        r = create(d, spec, err);
    if (r == 0)
        r = start(d, err);
    if (r == 0)
        r = greet(d, &d->main, listener, true, err);
    if (r == 0)
        r = channel_watch(&d->main, err);
    if (r == 0)
        r = bound(d, spec, err);
    if (r == 0)
        r = put_links(d, spec, err);
    if (r == 0)
        r = put_mounts(d, spec, err);
    return r;
}

static int docker_reap(const char *state_dir, int *ret_removed, struct tw_err *err);

/* What a dead run left, before the first container of this process. */
static void reap_once(const char *state_dir)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pid_t done;
    int removed = 0;

    (void)pthread_mutex_lock(&lock);
    if (done != getpid())
        (void)docker_reap(state_dir, &removed, NULL);
    done = getpid();
    (void)pthread_mutex_unlock(&lock);
}

static int docker_open(struct tw_priv *priv, const struct tw_sandbox_spec *spec,
                       struct tw_sandbox **ret_box, struct tw_err *err)
{
    struct docker_box *d;
    int r;

    if (!spec->container)
        return tw_fail(err, -EINVAL,
                       "backend 'docker' needs a container to be like, or an image");
    if (!tw_priv_is_root(priv))
        return tw_fail(err, -EPERM,
                       "containers as twins need root, for their links and mounts: run "
                       "it with sudo");
    reap_once(tw_priv_state_dir(priv));
    d = tw_alloc(sizeof *d);
    d->box.backend = &sandbox_backend_docker;
    d->priv = priv;
    d->arena = tw_arena_new();
    d->netns = -1;
    (void)pthread_mutex_init(&d->lock, NULL);
    channel_init(&d->main, spec->name);
    r = docker_make(d, spec, err);
    if (r < 0) {
        tw_sandbox_close(&d->box);
        return r;
    }
    tw_step("sandbox.opened");
    *ret_box = &d->box;
    return 0;
}

/* Killed by ourselves, at once and without the Engine, which may be away; then it is told to forget. What
 * it cannot forget now is found again by label. */
static void docker_close(struct tw_sandbox *box)
{
    struct docker_box *d = docker_of(box);

    if (d->main.frozen)
        (void)tw_priv_cgroup_freeze(d->cgroup, false, NULL);
    if (d->main.pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, d->main.pidfd, SIGKILL, NULL, 0);
    tw_step("sandbox.killed");
    if (d->engine)
        tw_docker_set_timeout(d->engine, CLOSE_S);
    if (d->id && tw_docker_container_remove(d->engine, d->id, NULL) == 0)
        tw_step("sandbox.container.removed");
    tw_priv_settled(d->priv, d->init_token);
    tw_priv_cgroup_close(d->cgroup);
    if (d->group_token)
        tw_priv_settled(d->priv, d->group_token);
    if (d->dir && tw_remove_tree(d->dir, NULL) == 0)
        tw_priv_settled(d->priv, d->dir_token);
    tw_close_p(&d->netns);
    channel_done(&d->main);
    if (d->aside.name)
        channel_done(&d->aside);
    tw_docker_free(d->engine);
    tw_arena_free(d->arena);
    (void)pthread_mutex_destroy(&d->lock);
    free(d->host);
    free(d->id);
    free(d->dir);
    free(d);
    tw_step("sandbox.closed");
}

/* ---- the entrypoint as pid 1 ---- */

static int docker_boot(struct tw_sandbox *box, int stdout_fd, int stderr_fd,
                       int *ret_handle, struct tw_err *err)
{
    struct docker_box *d = docker_of(box);
    struct tw_process_spec spec = {.argv = d->entrypoint.list.items,
                                   .cwd = "",
                                   .stdin_fd = -1,
                                   .stdout_fd = stdout_fd,
                                   .stderr_fd = stderr_fd};
    int r;

    if (d->booted)
        return tw_fail(err, -EALREADY, "the entrypoint of sandbox '%s' has begun already",
                       d->main.name);
    if (!d->entrypoint.list.count)
        return tw_fail(err, -ENOEXEC, "the image of sandbox '%s' names no command to run",
                       d->main.name);
    r = channel_boot(&d->main, &spec, err);
    if (r < 0)
        return r;
    d->booted = true;
    *ret_handle = BOOT_SLOT;
    tw_step("sandbox.entrypoint.begun");
    return 0;
}

/* Its parent is the Engine's: only that knows how it ended, a moment after it did. */
static int boot_status(struct docker_box *d, int *ret_status, struct tw_err *err)
{
    int64_t deadline = tw_now_ns() + STATUS_NS;
    struct tw_docker_container c;
    int r;

    for (;;) {
        (void)pthread_mutex_lock(&d->lock);
        r = read_state(d, &c, err);
        (void)pthread_mutex_unlock(&d->lock);
        if (r < 0)
            return r;
        if (!tw_streq(c.status, "running"))
            break;
        if (tw_now_ns() > deadline)
            return tw_fail(err, -ETIMEDOUT,
                           "the Engine does not say how sandbox '%s' ended",
                           d->main.name);
        tw_sleep_ns(TW_MSEC_NS);
    }
    *ret_status = (c.exit_status & 0xff) << 8;
    return 0;
}

static int boot_wait(struct docker_box *d, int64_t deadline_ns, int *ret_status,
                     struct tw_err *err)
{
    struct pollfd fd = {d->main.pidfd, POLLIN, 0};
    int n, r;

    if (d->boot_collected)
        return tw_fail(err, -ESRCH, "sandbox '%s' has ended already", d->main.name);
    do {
        int64_t left = deadline_ns - tw_now_ns();

        n = poll(&fd, 1, left > 0 ? (int)(left / TW_MSEC_NS) + 1 : 0);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return tw_fail(err, -ETIMEDOUT, "the entrypoint of sandbox '%s' is still running",
                       d->main.name);
    r = boot_status(d, ret_status, err);
    d->boot_collected = r == 0;
    return r;
}

/* ---- beside it ---- */

/* The same init once more, as a command of the Engine in the container: it has the rights of one. */
static int open_aside(struct docker_box *d, struct tw_err *err)
{
    static const char *const argv[] = {BOX_INIT, BOX_ASIDE, NULL};
    struct tw_docker_exec exec = {.argv = argv};
    tw_auto_close int listener = -1;
    int r;

    channel_init(&d->aside, d->main.name);
    r = listen_at(d->dir, "t", &listener, err);
    if (r == 0)
        r = tw_docker_exec_detached(d->engine, d->id, &exec, err);
    if (r == 0)
        r = greet(d, &d->aside, listener, false, err);
    if (r == 0) {
        struct epoll_event event = {.events = EPOLLIN};

        /* with pid 1 it ends too */
        d->aside.pidfd = fcntl(d->main.pidfd, F_DUPFD_CLOEXEC, 3);
        if (epoll_ctl(d->main.poll_fd, EPOLL_CTL_ADD, d->aside.events, &event) < 0)
            r = tw_fail_errno(err, errno, "watching the sandbox");
    }
    if (r < 0) {
        tw_auto_free char *path = tw_strf("%s/t", d->dir);

        channel_done(&d->aside);
        d->aside = (struct channel){0};
        (void)unlink(path);
    }
    return r;
}

static int need_aside(struct docker_box *d, struct tw_err *err)
{
    int r = 0;

    (void)pthread_mutex_lock(&d->lock);
    if (d->booted && !d->aside.name)
        r = open_aside(d, err);
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

/* Whoever starts and collects processes: pid 1, or the init beside the entrypoint. */
static struct channel *server_of(struct docker_box *d)
{
    return d->booted && d->aside.name ? &d->aside : &d->main;
}

static int docker_start(struct tw_sandbox *box, const struct tw_process_spec *spec,
                        int *ret_handle, struct tw_err *err)
{
    struct docker_box *d = docker_of(box);
    int r = channel_check_awake(&d->main, err);

    if (r == 0)
        r = need_aside(d, err);
    return r < 0 ? r : channel_start(server_of(d), spec, ret_handle, err);
}

static int docker_signal(struct tw_sandbox *box, int handle, int signal,
                         struct tw_err *err)
{
    struct docker_box *d = docker_of(box);

    if (handle != BOOT_SLOT)
        return channel_signal(server_of(d), handle, signal, err);
    if (d->boot_collected ||
        syscall(SYS_pidfd_send_signal, d->main.pidfd, signal, NULL, 0) < 0)
        return tw_fail_errno(err, d->boot_collected ? ESRCH : errno,
                             "sending signal %d in sandbox '%s'", signal, d->main.name);
    return 0;
}

static int docker_wait(struct tw_sandbox *box, int handle, int64_t deadline_ns,
                       int *ret_status, struct tw_err *err)
{
    struct docker_box *d = docker_of(box);

    if (handle == BOOT_SLOT)
        return boot_wait(d, deadline_ns, ret_status, err);
    return channel_wait(server_of(d), handle, deadline_ns, ret_status, err);
}

/* ---- the rest is of its control group and its namespaces ---- */

static int docker_event_fd(const struct tw_sandbox *box)
{
    return ((const struct docker_box *)(const void *)box)->main.poll_fd;
}

static int docker_freeze(struct tw_sandbox *box, bool frozen, struct tw_err *err)
{
    struct docker_box *d = docker_of(box);
    int r = tw_priv_cgroup_freeze(d->cgroup, frozen, err);

    if (r == 0)
        d->main.frozen = d->aside.frozen = frozen;
    return r;
}

static void docker_usage(struct tw_sandbox *box, struct tw_usage *ret_usage)
{
    tw_priv_cgroup_usage(docker_of(box)->cgroup, ret_usage);
}

static int docker_limit(struct tw_sandbox *box, int64_t memory_bytes, double cpus,
                        struct tw_err *err)
{
    return tw_priv_cgroup_limit(docker_of(box)->cgroup, memory_bytes, cpus, err);
}

static int docker_pin(struct tw_sandbox *box, const char *cpuset, struct tw_err *err)
{
    return tw_priv_cgroup_pin(docker_of(box)->cgroup, cpuset, err);
}

static int docker_netns(const struct tw_sandbox *box)
{
    return ((const struct docker_box *)(const void *)box)->netns;
}

static size_t docker_missing(const struct tw_sandbox *box, const char *const **ret_texts)
{
    const struct docker_box *d = (const struct docker_box *)(const void *)box;

    *ret_texts = d->missing.list.items;
    return d->missing.list.count;
}

/* ---- reaping ---- */

static bool is_dead(const char *state_dir, const json_t *container)
{
    const json_t *labels = json_object_get(container, "Labels");
    const char *id = json_string_value(json_object_get(labels, BOX_LABEL_ID));
    const char *state = json_string_value(json_object_get(labels, BOX_LABEL_STATE));

    return id && tw_id_valid(id) && tw_streq(state, state_dir) &&
           !tw_priv_run_lives(state_dir, id);
}

static int reap_engine(const char *state_dir, const char *host, int *ret_removed,
                       struct tw_err *err)
{
    struct tw_docker_options options = {.host = host, .timeout_s = 10};
    tw_auto(tw_docker) *engine = NULL;
    tw_auto_free char *label = tw_strf(BOX_LABEL_STATE "=%s", state_dir);
    json_auto_t *list = NULL;
    size_t i;
    json_t *item;
    int r = tw_docker_open(&options, &engine, err), first = 0;

    if (r == 0)
        r = tw_docker_containers(engine, true, label, &list, err);
    if (r < 0)
        return r;
    json_array_foreach (list, i, item) {
        const char *id = json_string_value(json_object_get(item, "Id"));

        if (!id || !is_dead(state_dir, item))
            continue;
        r = tw_docker_container_remove(engine, id, first ? NULL : err);
        if (r == 0)
            (*ret_removed)++;
        else if (first == 0)
            first = r;
    }
    return first;
}

/* An Engine whose socket is gone has nothing left that could be asked for. */
static bool is_gone(const char *host)
{
    return tw_starts_with(host, "unix://") &&
           access(host + strlen("unix://"), F_OK) < 0 && errno == ENOENT;
}

static int docker_reap(const char *state_dir, int *ret_removed, struct tw_err *err)
{
    tw_auto_free char *real = realpath(state_dir, NULL);
    tw_auto_free char *path = real ? tw_strf("%s/engines", real) : NULL;
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;
    int first = 0;

    while (dir && (entry = readdir(dir))) {
        tw_auto_free char *host = NULL;
        int r;

        if (entry->d_name[0] == '.' ||
            tw_read_file(dirfd(dir), entry->d_name, 4096, &host, NULL, NULL) < 0)
            continue;
        if (is_gone(host)) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
            continue;
        }
        r = reap_engine(real, host, ret_removed, first ? NULL : err);
        if (first == 0)
            first = r;
    }
    if (dir)
        (void)closedir(dir);
    return first;
}

const struct sandbox_backend sandbox_backend_docker = {
    .name = "docker",
    .summary = "a container of the target's own image, made by an Engine of this host",
    .open = docker_open,
    .close = docker_close,
    .start = docker_start,
    .signal = docker_signal,
    .wait = docker_wait,
    .boot = docker_boot,
    .reap = docker_reap,
    .event_fd = docker_event_fd,
    .freeze = docker_freeze,
    .usage = docker_usage,
    .limit = docker_limit,
    .pin = docker_pin,
    .netns = docker_netns,
    .missing = docker_missing,
};
