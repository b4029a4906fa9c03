/* What a process in a sandbox may ask of the kernel. An allow list in groups, at least as
 * narrow as the default of the container engines; beside it the refused groups, which
 * answer EPERM. What is in neither is unknown to us and answers ENOSYS, as on a kernel
 * that does not have it: libraries then take their older way. */
#include "priv_internal.h"

#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALLS(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

CALLS(files, "access", "chdir", "chmod", "chown", "chown32", "close", "close_range",
      "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2",
      "fadvise64", "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat",
      "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync",
      "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstat64",
      "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64",
      "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch",
      "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown", "lchown32",
      "lgetxattr", "link", "linkat", "listxattr", "llistxattr", "_llseek", "lremovexattr",
      "lseek", "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat",
      "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "pread64", "preadv",
      "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink",
      "readlinkat", "readv", "removexattr", "rename", "renameat", "renameat2", "rmdir",
      "sendfile", "sendfile64", "setxattr", "splice", "stat", "stat64", "statfs",
      "statfs64", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
      "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime",
      "utimensat", "utimensat_time64", "utimes", "vmsplice", "write", "writev",
      "name_to_handle_at", "landlock_add_rule", "landlock_create_ruleset",
      "landlock_restrict_self");
CALLS(memory, "brk", "madvise", "membarrier", "memfd_create", "memfd_secret", "mincore",
      "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal",
      "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free",
      "pkey_mprotect", "process_madvise", "process_mrelease", "remap_file_pages",
      "map_shadow_stack", "cachestat");
CALLS(processes, "arch_prctl", "capget", "capset", "execve", "execveat", "exit",
      "exit_group", "fork", "futex", "futex_time64", "futex_waitv", "futex_wait",
      "futex_wake", "futex_requeue", "get_robust_list", "get_thread_area", "getcpu",
      "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups",
      "getgroups32", "getpgid", "getpgrp", "getpid", "getppid", "getpriority",
      "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage",
      "getsid", "gettid", "getuid", "getuid32", "ioprio_get", "ioprio_set", "modify_ldt",
      "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "restart_syscall", "rseq",
      "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity",
      "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
      "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
      "sched_yield", "seccomp", "set_robust_list", "set_thread_area", "set_tid_address",
      "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
      "setgroups", "setgroups32", "setpgid", "setpriority", "setregid", "setregid32",
      "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32",
      "setrlimit", "setsid", "setuid", "setuid32", "sysinfo", "times", "ugetrlimit",
      "uname", "vfork", "wait4", "waitid", "waitpid");
CALLS(signals, "alarm", "eventfd", "eventfd2", "getitimer", "kill", "pause",
      "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
      "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
      "rt_tgsigqueueinfo", "setitimer", "sigaltstack", "signalfd", "signalfd4",
      "sigprocmask", "sigreturn", "tgkill", "tkill");
CALLS(waiting, "_newselect", "epoll_create", "epoll_create1", "epoll_ctl",
      "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old",
      "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
      "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select");
CALLS(clocks, "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
      "clock_nanosleep", "clock_nanosleep_time64", "gettimeofday", "nanosleep", "time",
      "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
      "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime");
CALLS(messages, "accept", "accept4", "bind", "connect", "getpeername", "getsockname",
      "getsockopt", "ipc", "listen", "mq_getsetattr", "mq_notify", "mq_open",
      "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget", "msgrcv",
      "msgsnd", "recv", "recvfrom", "recvmmsg", "recvmsg", "semctl", "semget", "semop",
      "semtimedop", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shmat",
      "shmctl", "shmdt", "shmget", "shutdown", "socketpair", "getrandom");

CALLS(mounts, "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount",
      "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
      "open_by_handle_at", "swapon", "swapoff", "quotactl", "quotactl_fd", "statmount",
      "listmount", "open_tree_attr");
CALLS(namespaces, "setns", "unshare", "sethostname", "setdomainname");
CALLS(kernel, "acct", "bpf", "create_module", "delete_module", "finit_module",
      "get_kernel_syms", "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load",
      "lookup_dcookie", "nfsservctl", "perf_event_open", "query_module", "reboot",
      "syslog", "_sysctl", "sysfs", "uselib", "userfaultfd", "ustat", "vhangup", "vm86",
      "vm86old", "fanotify_init", "fanotify_mark");
CALLS(keys, "add_key", "keyctl", "request_key");
CALLS(rings, "io_uring_setup", "io_uring_enter", "io_uring_register");
CALLS(others, "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp");
CALLS(set_clocks, "clock_settime", "clock_settime64", "settimeofday", "stime", "adjtimex",
      "clock_adjtime", "clock_adjtime64");
CALLS(nodes, "mbind", "get_mempolicy", "set_mempolicy", "set_mempolicy_home_node",
      "move_pages", "migrate_pages");

const struct priv_seccomp_group priv_seccomp_groups[] = {
    {"files", PRIV_ALLOW, files},
    {"memory", PRIV_ALLOW, memory},
    {"processes", PRIV_ALLOW, processes},
    {"signals", PRIV_ALLOW, signals},
    {"waiting", PRIV_ALLOW, waiting},
    {"clocks", PRIV_ALLOW, clocks},
    {"messages", PRIV_ALLOW, messages},
    {"mounts", PRIV_REFUSE, mounts},
    {"namespaces", PRIV_REFUSE, namespaces},
    {"kernel", PRIV_REFUSE, kernel},
    {"keys", PRIV_REFUSE, keys},
    {"rings", PRIV_REFUSE, rings},
    {"other processes", PRIV_REFUSE, others},
    {"setting clocks", PRIV_REFUSE, set_clocks},
    {"memory nodes", PRIV_REFUSE, nodes},
};
const size_t priv_seccomp_group_count = TW_COUNT_OF(priv_seccomp_groups);

/* Calls judged by an argument. clone3 hides its flags behind a pointer, so it is not
 * there at all, and libraries fall back to clone. */
static const struct argument_row {
    const char *call;
    enum priv_verdict verdict;
    unsigned argument;
    uint64_t mask, value; /* (argument & mask) == value */
} argument_rows[] = {
    {"clone", PRIV_ALLOW, 0, 0x7e020000, 0}, /* none of the flags of new namespaces */
    {"clone", PRIV_REFUSE, 0, CLONE_NEWNS, CLONE_NEWNS},
    {"clone", PRIV_REFUSE, 0, CLONE_NEWCGROUP, CLONE_NEWCGROUP},
    {"clone", PRIV_REFUSE, 0, CLONE_NEWUTS, CLONE_NEWUTS},
    {"clone", PRIV_REFUSE, 0, CLONE_NEWIPC, CLONE_NEWIPC},
    {"clone", PRIV_REFUSE, 0, CLONE_NEWUSER, CLONE_NEWUSER},
    {"clone", PRIV_REFUSE, 0, CLONE_NEWPID, CLONE_NEWPID},
    {"clone", PRIV_REFUSE, 0, CLONE_NEWNET, CLONE_NEWNET},
    /* the personas of Linux itself, with and without a 32-bit uname */
    {"personality", PRIV_ALLOW, 0, ~UINT64_C(0), 0x0},
    {"personality", PRIV_ALLOW, 0, ~UINT64_C(0), 0x8},
    {"personality", PRIV_ALLOW, 0, ~UINT64_C(0), 0x20000},
    {"personality", PRIV_ALLOW, 0, ~UINT64_C(0), 0x20008},
    {"personality", PRIV_ALLOW, 0, ~UINT64_C(0), 0xffffffff},
};

static int add_group(scmp_filter_ctx filter, const struct priv_seccomp_group *group,
                     bool root_inside)
{
    int r = 0;

    for (const char *const *call = group->calls; r == 0 && *call; call++) {
        bool good =
            group->verdict == PRIV_ALLOW || (root_inside && tw_streq(*call, "chroot"));
        uint32_t action = good ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);
        int number = seccomp_syscall_resolve_name(*call);

        /* not of this machine, or newer than the library: stays with the default */
        if (number >= 0)
            r = seccomp_rule_add(filter, action, number, 0);
    }
    return r;
}

static int add_argument_rows(scmp_filter_ctx filter)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < TW_COUNT_OF(argument_rows); i++) {
        const struct argument_row *row = &argument_rows[i];
        uint32_t action =
            row->verdict == PRIV_ALLOW ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);

        r = seccomp_rule_add(
            filter, action, seccomp_syscall_resolve_name(row->call), 1,
            SCMP_CMP(row->argument, SCMP_CMP_MASKED_EQ, row->mask, row->value));
    }
    return r;
}

static const unsigned socket_families[] = {AF_UNIX, AF_INET, AF_INET6};

/* Local sockets, the two internets, and netlink for asking about links and routes. A rule
 * can look at an argument only once, so each refused family is a row of its own; the
 * kernel reads 32 bits. */
static int add_sockets(scmp_filter_ctx filter)
{
    int number = SCMP_SYS(socket), r = 0;
    uint64_t mask = 0xffffffff;

    for (unsigned family = 0; r == 0 && family < 64; family++) {
        bool good = false;

        for (size_t i = 0; i < TW_COUNT_OF(socket_families); i++)
            good = good || socket_families[i] == family;
        if (family != AF_NETLINK)
            r = seccomp_rule_add(filter, good ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM),
                                 number, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, mask, family));
    }
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, mask, AF_NETLINK),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, mask, 0)); /* NETLINK_ROUTE */
    return r;
}

int priv_filter_export(void *filter, struct tw_filter *ret)
{
    tw_auto_close int fd = memfd_create("twin-filter", MFD_CLOEXEC);
    struct stat st;
    size_t size;

    if (fd < 0 || seccomp_export_bpf(filter, fd) < 0 || fstat(fd, &st) < 0)
        return -EIO;
    size = (size_t)st.st_size;
    ret->len = (unsigned short)(size / sizeof *ret->code);
    ret->code = tw_alloc(size);
    return pread(fd, ret->code, size, 0) == (ssize_t)size ? 0 : -EIO;
}

static struct tw_filter compiled[2]; /* the second for root of a sandbox's own users */

/* A root of its own users may chroot, as the services do that begin as root; the groups
 * refuse it to all others. */
static int add_groups(scmp_filter_ctx filter, bool root_inside)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < priv_seccomp_group_count; i++)
        r = add_group(filter, &priv_seccomp_groups[i], root_inside);
    return r;
}

static int compile_one(bool root_inside)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int r =
        filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS))
               : -ENOMEM;

    if (r == 0)
        r = add_groups(filter, root_inside);
    if (r == 0)
        r = add_argument_rows(filter);
    if (r == 0)
        r = add_sockets(filter);
    if (r == 0) {
        /* a binary tree: tens of comparisons less for each call; older libraries refuse
         * it */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        r = priv_filter_export(filter, &compiled[root_inside]);
    }
    if (filter)
        seccomp_release(filter);
    return r;
}

static int results[2];

static void compile_plain(void)
{
    results[false] = compile_one(false);
}

static void compile_root(void)
{
    results[true] = compile_one(true);
}

/* Compiled once: it depends on nothing that differs between sandboxes. */
int tw_priv_filter(bool root_inside, const struct tw_filter **ret, struct tw_err *err)
{
    static pthread_once_t once[2] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};

    (void)pthread_once(&once[root_inside], root_inside ? compile_root : compile_plain);
    if (results[root_inside] < 0)
        return tw_fail_errno(err, -results[root_inside],
                             "compiling the filter of system calls");
    *ret = &compiled[root_inside];
    return 0;
}

/* ---- the same table for an Engine ---- */

static void tell_rule(struct tw_buf *b, const char *call, bool good, const char *rest)
{
    tw_buf_printf(b, "%s{\"names\":[\"%s\"],\"action\":\"%s\"%s}",
                  b->len && tw_buf_text(b)[b->len - 1] == '}' ? "," : "", call,
                  good ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO", rest);
}

static void tell_argument(struct tw_buf *b, const char *call, bool good,
                          unsigned argument, uint64_t mask, uint64_t value)
{
    tw_auto_free char *rest =
        tw_strf(",\"args\":[{\"index\":%u,\"value\":%llu,\"valueTwo\":%llu,"
                "\"op\":\"SCMP_CMP_MASKED_EQ\"}]",
                argument, (unsigned long long)mask, (unsigned long long)value);

    tell_rule(b, call, good, rest);
}

/* What is in no group is refused by EPERM here: older Engines know no other answer for the rest. clone3
 * has to say that it is not there, so that libraries take the older way. */
char *tw_priv_filter_profile(bool root_inside)
{
    struct tw_buf b;

    tw_buf_init(&b, 1 << 20);
    tw_buf_printf(&b, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"archMap\":["
                      "{\"architecture\":\"SCMP_ARCH_X86_64\",\"subArchitectures\":["
                      "\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]},"
                      "{\"architecture\":\"SCMP_ARCH_AARCH64\",\"subArchitectures\":["
                      "\"SCMP_ARCH_ARM\"]}],"
                      "\"syscalls\":[");
    for (size_t i = 0; i < priv_seccomp_group_count; i++)
        for (const char *const *call = priv_seccomp_groups[i].calls; *call; call++)
            if (priv_seccomp_groups[i].verdict == PRIV_ALLOW ||
                (root_inside && tw_streq(*call, "chroot")))
                tell_rule(&b, *call, true, "");
    tell_rule(&b, "clone3", false, ",\"errnoRet\":38");
    for (size_t i = 0; i < TW_COUNT_OF(argument_rows); i++)
        if (argument_rows[i].verdict == PRIV_ALLOW)
            tell_argument(&b, argument_rows[i].call, true, argument_rows[i].argument,
                          argument_rows[i].mask, argument_rows[i].value);
    for (size_t i = 0; i < TW_COUNT_OF(socket_families); i++)
        tell_argument(&b, "socket", true, 0, 0xffffffff, socket_families[i]);
    tw_buf_printf(&b,
                  ",{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":["
                  "{\"index\":0,\"value\":4294967295,\"valueTwo\":%d,\"op\":\"SCMP_CMP_"
                  "MASKED_EQ\"},"
                  "{\"index\":2,\"value\":4294967295,\"valueTwo\":0,\"op\":\"SCMP_CMP_"
                  "MASKED_EQ\"}]}]}",
                  AF_NETLINK);
    return tw_buf_take(&b);
}
