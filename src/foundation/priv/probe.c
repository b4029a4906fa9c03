/* What this host can do. Each row tries the thing itself where that is cheap, in a child
 * or a thread of its own, and leaves nothing. */
#include "shape_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct probe {
    struct tw_arena *a;
    const char *state_dir;
    bool root;
    bool available;     /* (set) by the row */
    const char *detail; /* (set) */
};

/* In a child, so that a namespace that was entered is left with it. */
static bool child_can(bool (*try)(const void *arg), const void *arg)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(try(arg) ? 0 : 1);
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool can_unshare(const void *arg)
{
    return unshare(*(const int *)arg) == 0;
}

static bool kernel_has(const char *file_system)
{
    tw_auto_free char *text = NULL;
    tw_auto_free char *line = tw_strf("\t%s\n", file_system);

    return tw_read_file(AT_FDCWD, "/proc/filesystems", 65536, &text, NULL, NULL) == 0 &&
           strstr(text, line);
}

static void look_root(struct probe *p)
{
    p->available = p->root;
    p->detail = p->root ? "running as root"
                        : "running without root: no limits, no links, plain copies";
}

static void look_mounts(struct probe *p)
{
    int flags = CLONE_NEWNS;

    p->available = child_can(can_unshare, &flags);
    p->detail =
        p->available ? "mounts die with their process" : "may not unshare its mounts";
}

static void look_namespaces(struct probe *p)
{
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                CLONE_NEWCGROUP | (p->root ? 0 : CLONE_NEWUSER);

    p->available = child_can(can_unshare, &flags);
    p->detail = p->available ? "mount, pid, net, ipc, uts, cgroup"
                             : "the kernel or its policy refuses new namespaces";
}

static void look_userns(struct probe *p)
{
    int flags = CLONE_NEWUSER;

    p->available = child_can(can_unshare, &flags);
    p->detail = p->available ? "allowed" : "refused";
}

static void look_cgroup(struct probe *p)
{
    static const char *const modes[] = {"none", "cgroup v1",
                                        "cgroup v1 with v2 beside it", "cgroup v2"};
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    tw_auto_buf list = {0};

    tw_buf_init(&list, 4096);
    for (size_t i = 0; i < l->count; i++) {
        const struct priv_cgroup_mount *m = &l->mounts[i];
        tw_auto_free char *file = tw_strf("%s/cgroup.controllers", m->path), *text = NULL;

        if (m->unified && tw_read_file(AT_FDCWD, file, 4096, &text, NULL, NULL) == 0)
            text[strcspn(text, "\n")] = '\0';
        if (m->controllers[0] || (text && l->mode == PRIV_CGROUP_V2))
            tw_buf_printf(&list, "%s%s", list.len ? ", " : "",
                          m->unified ? text : m->controllers);
        if (access(m->path, W_OK) == 0)
            p->available = true;
    }
    p->detail = tw_arena_printf(p->a, "%s (%s)%s", modes[l->mode], tw_buf_text(&list),
                                p->available ? "" : ", not writable for us");
}

static void look_psi(struct probe *p)
{
    p->available = access("/proc/pressure/cpu", R_OK) == 0;
    p->detail =
        p->available ? "pressure stalls are counted" : "not counted by this kernel";
}

static void look_overlay(struct probe *p)
{
    p->available = kernel_has("overlay");
    p->detail = p->available ? "in the kernel" : "not in the kernel";
}

static void look_xfs(struct probe *p)
{
    const char *mkfs = priv_mkfs_path();

    p->available = mkfs && kernel_has("xfs");
    p->detail = !mkfs          ? "mkfs.xfs is not installed"
                : p->available ? mkfs
                               : "not in the kernel";
}

static void look_loop(struct probe *p)
{
    p->available = access("/dev/loop-control", R_OK | W_OK) == 0;
    p->detail = p->available ? "loop devices can be attached"
                             : "'/dev/loop-control' cannot be opened";
}

static void look_reflink(struct probe *p)
{
    p->available = priv_reflinks(p->state_dir);
    p->detail =
        tw_arena_printf(p->a,
                        p->available ? "'%s' shares blocks: no image is needed"
                                     : "'%s' cannot share blocks: an image is used",
                        p->state_dir);
}

static int try_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void look_netns(struct probe *p)
{
    p->available = priv_in_new_netns(try_nothing, NULL) == 0;
    p->detail = p->available ? "made and left" : "refused";
}

static int try_netem(void *arg)
{
    (void)arg;
    return priv_net_try_qdisc("netem");
}

static void look_netem(struct probe *p)
{
    p->available = priv_in_new_netns(try_netem, NULL) == 0;
    p->detail = p->available
                    ? "delay, loss, reorder by the kernel"
                    : "not in the kernel, or not allowed: network faults use other ways";
}

/* By what links are shaped, each value that can be asked in turn. */
static void look_shape(struct probe *p)
{
    static const struct {
        const char *name;
        struct tw_shape_values v;
    } asked[] = {{"delay", {.delay_s = 0.001}},
                 {"loss", {.loss = 0.1}},
                 {"bandwidth", {.rate_bps = 1e6}},
                 {"path MTU", {.longest = 1280}},
                 {"partition", {.cut = true}}};
    const struct shape_host *h = p->root ? shape_host() : &(struct shape_host){0};
    tw_auto_buf text = {0};

    tw_buf_init(&text, 1024);
    p->available = p->root;
    for (size_t i = 0; i < TW_COUNT_OF(asked) && p->root; i++) {
        unsigned tools = 0;
        bool can = shape_plan(h, &asked[i].v, TW_SHAPE_IN, false, &tools, NULL) == 0;

        p->available &= can;
        tw_buf_printf(&text, "%s%s: %s", i ? "; " : "", asked[i].name,
                      can ? shape_tools_text(h, tools) : "no way");
    }
    p->detail = p->root ? tw_arena_strdup(p->a, tw_buf_text(&text))
                        : "links are not shaped without root";
}

static void look_seccomp(struct probe *p)
{
    const struct tw_filter *filter;

    p->available =
        prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 && tw_priv_filter(false, &filter, NULL) == 0;
    p->detail = p->available
                    ? tw_arena_printf(p->a, "a filter of %u instructions", filter->len)
                    : "not in the kernel";
}

static void look_pidfd(struct probe *p)
{
    tw_auto_close int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    p->available = fd >= 0;
    p->detail = p->available ? "processes are held by descriptors" : "needs Linux 5.3";
}

static void look_clone3(struct probe *p)
{
    p->available = syscall(SYS_clone3, NULL, 0UL) < 0 && errno != ENOSYS;
    p->detail = p->available
                    ? "children are born into their group"
                    : "hidden by a filter or older than Linux 5.3: clone is used";
}

static void look_mount_api(struct probe *p)
{
    struct mount_attr none = {0};

    p->available =
        mount_setattr(-1, "", AT_EMPTY_PATH, &none, sizeof none) == 0 || errno != ENOSYS;
    p->detail =
        p->available ? "mount_setattr, open_tree, move_mount" : "needs Linux 5.12";
}

#define RUN_AS_ROOT "run twin with sudo"
#define SYSCTL_USERNS                                                                    \
    "sysctl kernel.unprivileged_userns_clone=1 "                                         \
    "kernel.apparmor_restrict_unprivileged_userns=0"

/* needed: ROOT the sandboxes of root, USER those without; NEVER: something is only poorer
 */
enum need { NEVER, AS_ROOT, AS_USER, ALWAYS };

static const struct row {
    const char *name;
    enum need need;
    void (*look)(struct probe *p);
    const char *fix;
} rows[] = {
    {"root", NEVER, look_root, RUN_AS_ROOT},
    {"mount namespace", AS_ROOT, look_mounts, "give the container CAP_SYS_ADMIN"},
    {"namespaces", ALWAYS, look_namespaces, RUN_AS_ROOT},
    {"userns", AS_USER, look_userns, SYSCTL_USERNS},
    {"mount API", ALWAYS, look_mount_api, "boot Linux 5.12 or newer"},
    {"cgroup", AS_ROOT, look_cgroup,
     "mount -t cgroup2 none /sys/fs/cgroup (or run below: systemd-run --user --scope -p "
     "Delegate=yes)"},
    {"psi", NEVER, look_psi, "boot with psi=1"},
    {"overlay", AS_ROOT, look_overlay, "modprobe overlay"},
    {"loop", AS_ROOT, look_loop, "modprobe loop"},
    {"xfs", AS_ROOT, look_xfs, "apt-get install xfsprogs; modprobe xfs"},
    {"reflink", NEVER, look_reflink, NULL},
    {"netns", AS_ROOT, look_netns, RUN_AS_ROOT},
    {"seccomp", ALWAYS, look_seccomp, "boot a kernel with CONFIG_SECCOMP_FILTER"},
    {"pidfd", ALWAYS, look_pidfd, "boot Linux 5.3 or newer"},
    {"clone3", NEVER, look_clone3, NULL},
    {"netem", NEVER, look_netem, "modprobe sch_netem"},
    {"shaping", NEVER, look_shape, "modprobe nf_tables nft_queue sch_tbf ifb"},
};

static bool is_needed(const struct row *row, const struct probe *p)
{
    /* with blocks shared by the state directory itself, the image's three are not */
    if (row->look == look_loop || row->look == look_xfs)
        return p->root && !priv_reflinks(p->state_dir);
    return row->need == ALWAYS || (row->need == AS_ROOT && p->root) ||
           (row->need == AS_USER && !p->root);
}

int tw_priv_probe(struct tw_arena *a, const char *state_dir, struct tw_capabilities *ret,
                  struct tw_err *err)
{
    struct probe p = {.a = a, .state_dir = state_dir, .root = geteuid() == 0};
    struct stat st;

    if (stat(state_dir, &st) == 0 && !S_ISDIR(st.st_mode))
        return tw_fail(err, -ENOTDIR, "'%s' is not a directory", state_dir);
    *ret = (struct tw_capabilities){0};
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        p.available = false;
        p.detail = "";
        rows[i].look(&p);
        TW_PUSH(a, &ret->list,
                ((struct tw_capability){.name = rows[i].name,
                                        .available = p.available,
                                        .needed = is_needed(&rows[i], &p),
                                        .detail = p.detail,
                                        .fix = p.available ? NULL : rows[i].fix}));
    }
    return 0;
}
