/* The filter, run without privilege: the compiled program is interpreted on made-up
 * calls. */
#include "priv/priv_internal.h"

#include <criterion/criterion.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static uint32_t word_at(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t word;

    cr_assert(offset + sizeof word <= sizeof *data);
    memcpy(&word, (const char *)data + offset, sizeof word);
    return word;
}

static bool jumps(uint16_t op, uint32_t a, uint32_t k)
{
    switch (op) {
    case BPF_JEQ:
        return a == k;
    case BPF_JGT:
        return a > k;
    case BPF_JGE:
        return a >= k;
    default:
        return (a & k) != 0;
    }
}

/* The part of classic BPF that seccomp programs consist of. */
static uint32_t run(const struct tw_filter *f, const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t pc = 0; pc < f->len; pc++) {
        const struct sock_filter *i = &f->code[pc];

        switch (BPF_CLASS(i->code)) {
        case BPF_LD:
            a = word_at(data, i->k);
            break;
        case BPF_ALU:
            cr_assert_eq(BPF_OP(i->code), BPF_AND);
            a &= i->k;
            break;
        case BPF_JMP:
            if (BPF_OP(i->code) == BPF_JA)
                pc += i->k;
            else
                pc += jumps(BPF_OP(i->code), a, i->k) ? i->jt : i->jf;
            break;
        case BPF_RET:
            return i->k;
        default:
            cr_assert_fail("unknown instruction %#x", i->code);
        }
    }
    cr_assert_fail("the program has no end");
    return 0;
}

static uint32_t judge(long number, uint64_t a0, uint64_t a1, uint64_t a2)
{
    struct seccomp_data data = {
        .nr = (int)number, .arch = seccomp_arch_native(), .args = {a0, a1, a2}};
    const struct tw_filter *filter;
    struct tw_err err = {0};

    cr_assert_eq(tw_priv_filter(false, &filter, &err), 0, "%s", err.text);
    return run(filter, &data);
}

static const uint32_t refused = SECCOMP_RET_ERRNO | EPERM;
static const uint32_t unknown = SECCOMP_RET_ERRNO | ENOSYS;

Test(priv_seccomp, every_row_is_judged_as_its_group_says)
{
    for (size_t g = 0; g < priv_seccomp_group_count; g++) {
        const struct priv_seccomp_group *group = &priv_seccomp_groups[g];
        uint32_t want = group->verdict == PRIV_ALLOW ? SECCOMP_RET_ALLOW : refused;

        for (const char *const *call = group->calls; *call; call++) {
            int number = seccomp_syscall_resolve_name(*call);

            if (number >= 0)
                cr_expect_eq(judge(number, 0, 0, 0), want, "%s (%s)", *call, group->name);
        }
    }
}

Test(priv_seccomp, no_call_stands_in_two_groups)
{
    const char *seen[1024];
    size_t count = 0;

    for (size_t g = 0; g < priv_seccomp_group_count; g++) {
        for (const char *const *call = priv_seccomp_groups[g].calls; *call; call++) {
            for (size_t i = 0; i < count; i++)
                cr_expect_str_neq(seen[i], *call, "%s is there twice", *call);
            seen[count++] = *call;
        }
    }
}

Test(priv_seccomp, what_container_engines_refuse_is_refused)
{
    static const char *const calls[] = {"acct",
                                        "add_key",
                                        "bpf",
                                        "clock_adjtime",
                                        "clock_settime",
                                        "delete_module",
                                        "finit_module",
                                        "fsconfig",
                                        "fsmount",
                                        "fsopen",
                                        "fspick",
                                        "get_mempolicy",
                                        "init_module",
                                        "ioperm",
                                        "iopl",
                                        "kcmp",
                                        "kexec_file_load",
                                        "kexec_load",
                                        "keyctl",
                                        "lookup_dcookie",
                                        "mbind",
                                        "mount",
                                        "mount_setattr",
                                        "move_mount",
                                        "move_pages",
                                        "open_by_handle_at",
                                        "open_tree",
                                        "perf_event_open",
                                        "pivot_root",
                                        "process_vm_readv",
                                        "process_vm_writev",
                                        "ptrace",
                                        "quotactl",
                                        "reboot",
                                        "request_key",
                                        "set_mempolicy",
                                        "setns",
                                        "settimeofday",
                                        "swapoff",
                                        "swapon",
                                        "syslog",
                                        "umount2",
                                        "unshare",
                                        "userfaultfd",
                                        "vhangup",
                                        "io_uring_setup",
                                        "io_uring_enter",
                                        "io_uring_register",
                                        "chroot",
                                        "fanotify_init",
                                        "pidfd_getfd"};

    for (size_t i = 0; i < TW_COUNT_OF(calls); i++) {
        int number = seccomp_syscall_resolve_name(calls[i]);

        cr_assert(number >= 0, "%s", calls[i]);
        cr_expect_eq(judge(number, 0, 0, 0), refused, "%s", calls[i]);
    }
}

Test(priv_seccomp, a_call_of_another_time_is_not_there)
{
    cr_expect_eq(judge(9999, 0, 0, 0), unknown);
    cr_expect_eq(judge(SYS_clone3, 0, 0, 0), unknown);
}

Test(priv_seccomp, a_foreign_machine_is_not_there)
{
    struct seccomp_data data = {.nr = SYS_read, .arch = AUDIT_ARCH_PPC};
    const struct tw_filter *filter;

    cr_assert_eq(tw_priv_filter(false, &filter, NULL), 0);
    cr_expect_eq(run(filter, &data), unknown);
}

Test(priv_seccomp, clone_makes_processes_and_threads_but_no_namespaces)
{
    static const uint64_t namespaces[] = {CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUTS,
                                          CLONE_NEWIPC, CLONE_NEWUSER,   CLONE_NEWPID,
                                          CLONE_NEWNET};

    cr_expect_eq(judge(SYS_clone, 17, 0, 0), SECCOMP_RET_ALLOW);
    cr_expect_eq(
        judge(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FILES, 0, 0),
        SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < TW_COUNT_OF(namespaces); i++)
        cr_expect_eq(judge(SYS_clone, namespaces[i] | 17, 0, 0), refused, "%#lx",
                     (unsigned long)namespaces[i]);
}

Test(priv_seccomp, only_local_and_internet_sockets_and_routes_are_to_be_had)
{
    static const struct {
        int family;
        uint64_t protocol;
        bool allowed;
    } rows[] = {{AF_UNIX, 0, true},    {AF_INET, 0, true},      {AF_INET6, 6, true},
                {AF_NETLINK, 0, true}, {AF_NETLINK, 12, false}, {AF_VSOCK, 0, false},
                {AF_ALG, 0, false},    {AF_PACKET, 0, false},   {AF_BLUETOOTH, 0, false},
                {AF_KEY, 0, false},    {AF_UNSPEC, 0, false}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        uint32_t got = judge(SYS_socket, (uint64_t)rows[i].family, 1, rows[i].protocol);

        cr_expect_eq(got == SECCOMP_RET_ALLOW, rows[i].allowed, "family %d",
                     rows[i].family);
        /* the kernel looks at 32 bits only, and so must the filter */
        got = judge(SYS_socket, (uint64_t)rows[i].family | (UINT64_C(1) << 32), 1,
                    rows[i].protocol);
        cr_expect_eq(got == SECCOMP_RET_ALLOW, rows[i].allowed, "family %d, high bits",
                     rows[i].family);
    }
}

Test(priv_seccomp, only_known_personalities_are_taken)
{
    cr_expect_eq(judge(SYS_personality, 0xffffffff, 0, 0), SECCOMP_RET_ALLOW);
    cr_expect_eq(judge(SYS_personality, 0, 0, 0), SECCOMP_RET_ALLOW);
    cr_expect_neq(judge(SYS_personality, 0x0040000, 0, 0),
                  SECCOMP_RET_ALLOW); /* no ASLR */
}
