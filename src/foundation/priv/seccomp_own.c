/* What this program's own processes may ask of the kernel, made of the groups that services are judged
 * by. As there, what is in no allowed group answers EPERM when it is known and ENOSYS when it is not. */
#include "priv_internal.h"

#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* (argument & mask) == value */
struct argument_row {
    const char *call;
    unsigned argument;
    uint64_t mask, value;
};
#define W_AND_X (PROT_WRITE | PROT_EXEC)

static const struct policy {
    const char *const *groups;   /* allowed as a whole */
    const char *const *refused;  /* of these, not */
    const char *const *judged;   /* by the rows of arguments alone */
    struct argument_row rows[8]; /* allowed where one holds */
    int families[8];             /* of sockets; 0 ends */
    int netlink;                 /* the one protocol of AF_NETLINK; -1: all */
} policies[TW_OWN_FILTER_COUNT] = {
    [TW_FILTER_DAEMON] =
        {.groups = LIST("files", "memory", "processes", "signals", "waiting", "clocks",
                        "messages"),
         .refused =
             LIST("execve", "execveat", "fork", "vfork", "mknod", "mknodat", "setuid",
                  "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
                  "setfsuid", "setfsgid", "capset", "ipc", "shmat", "shmget", "shmctl",
                  "msgget", "semget", "mq_open", "modify_ldt", "memfd_secret",
                  "remap_file_pages", "process_madvise"),
         .judged = LIST("mmap", "mprotect", "pkey_mprotect"),
         /* threads, and no process; nothing that can be written is ever executed */
         .rows = {{"clone", 0, CLONE_THREAD | 0x7e020000, CLONE_THREAD},
                  {"mmap", 2, PROT_WRITE, 0},
                  {"mmap", 2, W_AND_X, PROT_WRITE},
                  {"mprotect", 2, PROT_EXEC, 0}},
         .families = {AF_UNIX, AF_INET, AF_INET6},
         .netlink = 0}, /* NETLINK_ROUTE: names are looked up with it */
    [TW_FILTER_HELPER] = {.groups =
                              LIST("files", "memory", "processes", "signals", "waiting",
                                   "clocks", "messages", "mounts", "namespaces"),
                          .refused = LIST("modify_ldt", "swapon", "swapoff"),
                          .judged = LIST("open_by_handle_at"),
                          .rows = {{"clone", 0, 0, 0}, {"personality", 0, 0, 0}},
                          .families = {AF_UNIX, AF_INET, AF_INET6, AF_PACKET},
                          .netlink = -1},
};

static bool holds(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (tw_streq(*list, name))
            return true;
    return false;
}

static int add_groups(scmp_filter_ctx filter, const struct policy *p)
{
    int r = 0;

    for (size_t g = 0; g < priv_seccomp_group_count; g++) {
        const struct priv_seccomp_group *group = &priv_seccomp_groups[g];
        bool good = holds(p->groups, group->name);

        for (const char *const *call = group->calls; r == 0 && *call; call++) {
            bool may = good && !holds(p->refused, *call);
            int number = seccomp_syscall_resolve_name(*call);

            if (number >= 0 && !(good && holds(p->judged, *call)))
                r = seccomp_rule_add(filter, may ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM),
                                     number, 0);
        }
    }
    return r;
}

/* Where no row holds the default answers: a library that asks for clone3 takes clone instead. */
static int add_rows(scmp_filter_ctx filter, const struct policy *p)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < TW_COUNT_OF(p->rows) && p->rows[i].call; i++) {
        const struct argument_row *row = &p->rows[i];
        int number = seccomp_syscall_resolve_name(row->call);

        r = row->mask ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
                                         SCMP_CMP(row->argument, SCMP_CMP_MASKED_EQ,
                                                  row->mask, row->value))
                      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
    }
    return r;
}

static int add_sockets(scmp_filter_ctx filter, const struct policy *p)
{
    uint64_t mask = 0xffffffff; /* the kernel reads 32 bits */
    int r = 0;

    for (size_t i = 0; r == 0 && i < TW_COUNT_OF(p->families) && p->families[i]; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, mask, (uint64_t)p->families[i]));
    if (r == 0 && p->netlink < 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, mask, AF_NETLINK));
    else if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, mask, AF_NETLINK),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, mask, (uint64_t)p->netlink));
    return r;
}

static struct tw_filter compiled[TW_OWN_FILTER_COUNT];

static int compile(enum tw_own_filter which)
{
    const struct policy *p = &policies[which];
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int r =
        filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS))
               : -ENOMEM;

    if (r == 0)
        r = add_groups(filter, p);
    if (r == 0)
        r = add_rows(filter, p);
    if (r == 0 &&
        which == TW_FILTER_HELPER) /* its flags stand behind a pointer; it may have any */
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone3), 0);
    if (r == 0)
        r = add_sockets(filter, p);
    if (r == 0) {
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        r = priv_filter_export(filter, &compiled[which]);
    }
    if (filter)
        seccomp_release(filter);
    return r;
}

/* Once for a process, before it has threads. */
int tw_priv_own_filter(enum tw_own_filter which, const struct tw_filter **ret,
                       struct tw_err *err)
{
    int r = compiled[which].code ? 0 : compile(which);

    if (r < 0)
        return tw_fail_errno(err, -r, "compiling the filter of system calls");
    *ret = &compiled[which];
    return 0;
}
