/* The filters of the daemon and of the helper, run without privilege on made-up calls. */
#include "priv/priv_internal.h"

#include <criterion/criterion.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static bool jump(uint16_t op, uint32_t a, uint32_t k)
{
    return op == BPF_JEQ   ? a == k
           : op == BPF_JGT ? a > k
           : op == BPF_JGE ? a >= k
                           : (a & k);
}

static uint32_t run(const struct tw_filter *f, const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t pc = 0; pc < f->len; pc++) {
        const struct sock_filter *i = &f->code[pc];

        switch (BPF_CLASS(i->code)) {
        case BPF_LD:
            memcpy(&a, (const char *)data + i->k, sizeof(a));
            break;
        case BPF_ALU:
            a &= i->k;
            break;
        case BPF_JMP:
            pc += BPF_OP(i->code) == BPF_JA        ? i->k
                  : jump(BPF_OP(i->code), a, i->k) ? i->jt
                                                   : i->jf;
            break;
        default:
            return i->k;
        }
    }
    cr_assert_fail("the program has no end");
    return 0;
}

static bool may(enum tw_own_filter which, const char *call, uint64_t a0, uint64_t a1,
                uint64_t a2)
{
    int number = seccomp_syscall_resolve_name(call);
    struct seccomp_data data = {
        .nr = number, .arch = seccomp_arch_native(), .args = {a0, a1, a2}};
    const struct tw_filter *filter;
    struct tw_err err = {0};

    cr_assert(number >= 0, "%s", call);
    cr_assert_eq(tw_priv_own_filter(which, &filter, &err), 0, "%s", err.text);
    return run(filter, &data) == SECCOMP_RET_ALLOW;
}

/* What nobody of ours ever needs, and what gives the host away. */
Test(priv_own, neither_may_touch_the_kernel_itself)
{
    static const char *const calls[] = {"init_module",
                                        "finit_module",
                                        "delete_module",
                                        "kexec_load",
                                        "kexec_file_load",
                                        "bpf",
                                        "perf_event_open",
                                        "reboot",
                                        "syslog",
                                        "iopl",
                                        "ioperm",
                                        "ptrace",
                                        "process_vm_readv",
                                        "process_vm_writev",
                                        "add_key",
                                        "keyctl",
                                        "request_key",
                                        "io_uring_setup",
                                        "io_uring_enter",
                                        "userfaultfd",
                                        "clock_settime",
                                        "settimeofday",
                                        "clock_adjtime",
                                        "swapon",
                                        "swapoff",
                                        "acct",
                                        "pidfd_getfd",
                                        "kcmp",
                                        "open_by_handle_at",
                                        "fanotify_init"};

    for (int which = 0; which < TW_OWN_FILTER_COUNT; which++)
        for (size_t i = 0; i < TW_COUNT_OF(calls); i++)
            cr_expect_not(may((enum tw_own_filter)which, calls[i], 0, 0, 0),
                          "%s, filter %d", calls[i], which);
}

Test(priv_own, the_daemon_starts_nothing_and_makes_no_place_of_its_own)
{
    static const char *const calls[] = {
        "execve",  "execveat",  "fork",      "vfork",  "clone3",     "mount",
        "umount2", "unshare",   "setns",     "chroot", "pivot_root", "mknod",
        "setuid",  "setresuid", "setgroups", "capset", "move_mount", "fsopen"};

    for (size_t i = 0; i < TW_COUNT_OF(calls); i++)
        cr_expect_not(may(TW_FILTER_DAEMON, calls[i], 0, 0, 0), "%s", calls[i]);
    cr_expect_not(may(TW_FILTER_DAEMON, "clone", 17, 0, 0), "a process");
    cr_expect_not(may(TW_FILTER_DAEMON, "clone", CLONE_THREAD | CLONE_NEWUSER, 0, 0));
    cr_expect(
        may(TW_FILTER_DAEMON, "clone", CLONE_THREAD | CLONE_VM | CLONE_SIGHAND, 0, 0));
}

Test(priv_own, nothing_of_the_daemon_is_written_and_then_executed)
{
    static const struct {
        const char *call;
        int protection;
        bool good;
    } rows[] = {{"mmap", PROT_READ | PROT_WRITE, true},
                {"mmap", PROT_READ | PROT_EXEC, true}, /* a library of name look-ups */
                {"mmap", PROT_READ | PROT_WRITE | PROT_EXEC, false},
                {"mprotect", PROT_READ, true},
                {"mprotect", PROT_READ | PROT_WRITE, true},
                {"mprotect", PROT_READ | PROT_EXEC, false},
                {"pkey_mprotect", PROT_READ, false}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        cr_expect_eq(
            may(TW_FILTER_DAEMON, rows[i].call, 0, 0, (uint64_t)rows[i].protection),
            rows[i].good, "%s of %d", rows[i].call, rows[i].protection);
}

Test(priv_own, sockets_are_those_that_are_used)
{
    static const struct {
        int family;
        uint64_t protocol;
        bool daemon, helper;
    } rows[] = {{AF_UNIX, 0, true, true},      {AF_INET, 0, true, true},
                {AF_INET6, 0, true, true},     {AF_NETLINK, 0, true, true},
                {AF_NETLINK, 12, false, true}, {AF_PACKET, 0, false, true},
                {AF_VSOCK, 0, false, false},   {AF_ALG, 0, false, false},
                {AF_KEY, 0, false, false},     {AF_BLUETOOTH, 0, false, false}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        uint64_t family = (uint64_t)rows[i].family;

        cr_expect_eq(may(TW_FILTER_DAEMON, "socket", family, 1, rows[i].protocol),
                     rows[i].daemon, "family %d", rows[i].family);
        cr_expect_eq(may(TW_FILTER_HELPER, "socket", family, 1, rows[i].protocol),
                     rows[i].helper, "family %d", rows[i].family);
    }
}

Test(priv_own, the_helper_makes_sandboxes)
{
    static const char *const calls[] = {
        "execve", "mount",    "umount2",    "unshare",    "setns", "clone3",
        "clone",  "chroot",   "pivot_root", "move_mount", "mknod", "setresuid",
        "capset", "mprotect", "mmap",       "seccomp"};

    for (size_t i = 0; i < TW_COUNT_OF(calls); i++)
        cr_expect(may(TW_FILTER_HELPER, calls[i], 0, 0, 0), "%s", calls[i]);
}
