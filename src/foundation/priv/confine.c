/* Giving everything up: identity, capabilities, system calls, memory. In a spawned child:
 * no allocation. */
#include "priv_internal.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCKED_BITS                                                                      \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |                     \
     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |                           \
     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* glibc's own would tell all threads to follow, which are not there. */
static int become(unsigned uid, unsigned gid)
{
    /* in a user namespace of one line groups cannot be set, and are none of ours */
    if (syscall(SYS_setgroups, 0UL, NULL) < 0 && errno != EPERM)
        return -errno;
    if (syscall(SYS_setresgid, gid, gid, gid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0)
        return -errno;
    return 0;
}

/* Bounding first, as that takes a capability; then the securebits, which keep uid 0 from
 * meaning anything; inheritable, permitted and effective go with capset, and ambient with
 * them. keep: a mask of those that stay. */
static int drop_bounding(unsigned keep)
{
    for (unsigned long cap = 0; cap < 64; cap++)
        if (!(cap < 32 && (keep >> cap & 1)) &&
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return -errno;
    return 0;
}

static int drop_sets(unsigned keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = keep, .permitted = keep}, {0}};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return -errno;
    if (syscall(SYS_capset, &header, data) < 0 || syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        if ((data[i].effective | data[i].permitted | data[i].inheritable) &
            ~(i == 0 ? keep : 0))
            return -EPERM;
    return 0;
}

/* Without the flag older kernels would slow a filtered process down (speculative store
 * bypass), which the target is not. */
int priv_filter_load(const struct tw_filter *filter)
{
    struct sock_fprog program = {.len = filter->len, .filter = filter->code};

    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                &program) == 0)
        return 0;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

/* What is the same for both ways, once the identity is the last one. */
static int give_up_rest(const struct tw_filter *filter, struct tw_err *err)
{
    int r;

    /* nobody of that uid may look into this process or take its descriptors */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return tw_fail_errno(err, errno, "giving up new privileges");
    /* a change of identity has cleared it */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return tw_fail_errno(err, errno, "asking to die with the parent");
    r = filter ? priv_filter_load(filter) : 0;
    return r < 0 ? tw_fail_errno(err, -r, "loading the filter of system calls") : 0;
}

int tw_priv_confine(unsigned uid, unsigned gid, const struct tw_filter *filter,
                    struct tw_err *err)
{
    int r = drop_bounding(0);

    if (r == 0 && prctl(PR_SET_SECUREBITS, LOCKED_BITS, 0, 0, 0) < 0)
        r = -errno;
    if (r < 0)
        return tw_fail_errno(err, -r, "dropping the bounding set of capabilities");
    (void)setsid();
    r = become(uid, gid);
    if (r < 0)
        return tw_fail_errno(err, -r, "becoming uid %u, gid %u", uid, gid);
    r = drop_sets(0);
    if (r < 0)
        return tw_fail_errno(err, -r, "dropping capabilities");
    return give_up_rest(filter, err);
}

/* In a container even root has not all of them. */
static unsigned permitted(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};

    return syscall(SYS_capget, &header, data) < 0 ? 0 : data[0].permitted;
}

int tw_priv_settle(unsigned uid, unsigned gid, bool low_ports, enum tw_own_filter which,
                   struct tw_err *err)
{
    unsigned keep = low_ports ? permitted() & 1U << CAP_NET_BIND_SERVICE : 0;
    const struct tw_filter *filter;
    int r = tw_priv_own_filter(which, &filter, err);

    if (r < 0)
        return r;
    if (geteuid() == 0) {
        r = drop_bounding(keep);
        if (r == 0 &&
            prctl(PR_SET_SECUREBITS, LOCKED_BITS | SECBIT_KEEP_CAPS, 0, 0, 0) < 0)
            r = -errno;
        if (r == 0)
            r = become(uid, gid);
        if (r == 0)
            r = drop_sets(keep);
        if (r < 0)
            return tw_fail_errno(err, -r, "becoming uid %u, gid %u", uid, gid);
    }
    /* nobody of that uid may look into this process, and it leaves no core behind */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return tw_fail_errno(err, errno, "giving up new privileges");
    r = priv_filter_load(filter);
    return r < 0 ? tw_fail_errno(err, -r, "loading the filter of system calls") : 0;
}

/* What sandboxes are made with. Not among them: modules, raw devices, reboot, the audit log, bpf,
 * perf, and whatever else has a number above 31 but none here. SYS_TIME is for time namespaces; the
 * filter refuses to set this host's clocks. */
#define HELPER_CAPS                                                                      \
    ((1U << CAP_CHOWN) | (1U << CAP_DAC_OVERRIDE) | (1U << CAP_DAC_READ_SEARCH) |        \
     (1U << CAP_FOWNER) | (1U << CAP_FSETID) | (1U << CAP_KILL) | (1U << CAP_SETGID) |   \
     (1U << CAP_SETUID) | (1U << CAP_SETPCAP) | (1U << CAP_NET_BIND_SERVICE) |           \
     (1U << CAP_NET_ADMIN) | (1U << CAP_NET_RAW) | (1U << CAP_IPC_LOCK) |                \
     (1U << CAP_SYS_CHROOT) | (1U << CAP_SYS_PTRACE) | (1U << CAP_SYS_ADMIN) |           \
     (1U << CAP_SYS_NICE) | (1U << CAP_SYS_RESOURCE) | (1U << CAP_SYS_TIME) |            \
     (1U << CAP_MKNOD) | (1U << CAP_SETFCAP))

int tw_priv_bound(struct tw_err *err)
{
    const struct tw_filter *filter;
    int r = tw_priv_own_filter(TW_FILTER_HELPER, &filter, err);

    if (r < 0)
        return r;
    if (geteuid() == 0) {
        r = drop_bounding(HELPER_CAPS);
        if (r == 0)
            r = drop_sets(HELPER_CAPS & permitted());
        if (r < 0)
            return tw_fail_errno(err, -r, "dropping the capabilities not needed");
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return tw_fail_errno(err, errno, "giving up new privileges");
    r = priv_filter_load(filter);
    return r < 0 ? tw_fail_errno(err, -r, "loading the filter of system calls") : 0;
}

int tw_priv_own_users(struct tw_err *err)
{
    return unshare(CLONE_NEWUSER) < 0
               ? tw_fail_errno(err, errno, "making a user namespace")
               : 0;
}

/* A container engine's defaults, less raw sockets, devices and the audit log. A program that is
 * started keeps them while it is uid 0 and loses them with it, as everywhere. */
#define ROOT_INSIDE                                                                      \
    ((1U << CAP_CHOWN) | (1U << CAP_DAC_OVERRIDE) | (1U << CAP_FOWNER) |                 \
     (1U << CAP_FSETID) | (1U << CAP_KILL) | (1U << CAP_SETGID) | (1U << CAP_SETUID) |   \
     (1U << CAP_SETPCAP) | (1U << CAP_NET_BIND_SERVICE) | (1U << CAP_SYS_CHROOT))

int tw_priv_confine_root(const struct tw_filter *filter, struct tw_err *err)
{
    int r = drop_bounding(ROOT_INSIDE);

    (void)setsid();
    if (r == 0)
        r = become(0, 0);
    if (r == 0)
        r = drop_sets(ROOT_INSIDE);
    if (r < 0)
        return tw_fail_errno(err, -r, "becoming root of the sandbox's own users");
    return give_up_rest(filter, err);
}

/* ---- memory ---- */

struct range {
    uintptr_t start, end;
};

static uintptr_t hex(const char **at)
{
    uintptr_t value = 0;

    for (;; (*at)++) {
        char c = **at;

        if (c >= '0' && c <= '9')
            value = value * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* "start-end rw-p offset maj:min inode  name": private, writable, of no file, not the
 * kernel's. What follows a file without a gap is the part of its static variables that
 * the file does not hold. */
static bool is_droppable(const char *line, struct range *ret, uintptr_t *file_end)
{
    const char *at = line;
    bool of_file;

    ret->start = hex(&at);
    at++;
    ret->end = hex(&at);
    at += strspn(at, " ");
    for (int field = 0; field < 3; field++) {
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    of_file = *at != '0' || ret->start == *file_end;
    if (of_file)
        *file_end = ret->end;
    return !of_file && strstr(line, " rw-p ") && !strstr(line, "[v");
}

static bool holds(const struct range *range, const void *p)
{
    return (uintptr_t)p >= range->start && (uintptr_t)p < range->end;
}

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                     \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { HAS_SHADOW = true };
#else
enum { HAS_SHADOW = false };
#endif

/* A fork shares its parent's pages until one of the two writes; as the parent works on,
 * the old copies would stay with the child alone. What is kept: the stack we stand on,
 * and the thread block (errno lives in it). Under a sanitizer the shadow lies in such
 * mappings too: nothing is dropped. */
void tw_priv_drop_memory(void)
{
    tw_auto_close int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    uintptr_t file_end = 0;
    char text[8192];
    size_t have = 0;
    ssize_t n;

    if (fd < 0 || HAS_SHADOW)
        return;
    while ((n = read(fd, text + have, sizeof text - 1 - have)) > 0) {
        char *line = text, *end;

        have += (size_t)n;
        text[have] = '\0';
        while ((end = strchr(line, '\n'))) {
            struct range range;

            *end = '\0';
            if (is_droppable(line, &range, &file_end) && !holds(&range, text) &&
                !holds(&range, __builtin_thread_pointer()))
                (void)madvise((void *)range.start, range.end - range.start,
                              MADV_DONTNEED);
            line = end + 1;
        }
        have = strlen(line);
        memmove(text, line, have);
    }
}
