/* What stands in the root of a native sandbox. */
#include "native_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM_BYTES (INT64_C(64) << 20) /* as container engines have it */
#define TMP_BYTES (INT64_C(1) << 30)

#define BIND(path)                                                                       \
    {                                                                                    \
        .kind = TW_ROOT_BIND, .to = path, .from = path, .optional = true                 \
    }
#define DEVICE(path)                                                                     \
    {                                                                                    \
        .kind = TW_ROOT_BIND, .to = path, .from = path, .writable = true                 \
    }
#define LINK(path, target)                                                               \
    {                                                                                    \
        .kind = TW_ROOT_LINK, .to = path, .from = target                                 \
    }
#define MASK(path)                                                                       \
    {                                                                                    \
        .kind = TW_ROOT_MASK, .to = path, .optional = true                               \
    }
#define READONLY(path)                                                                   \
    {                                                                                    \
        .kind = TW_ROOT_READONLY, .to = path, .optional = true                           \
    }

/* Programs, and the few files of /etc that are the same everywhere; never the host's own
 * /etc. */
static const struct tw_root_row base_rows[] = {
    {.kind = TW_ROOT_BIND, .to = "/usr", .from = "/usr", .exec = true},
    BIND("/etc/alternatives"),
    BIND("/etc/ld.so.cache"),
    BIND("/etc/localtime"),
    BIND("/etc/services"),
    BIND("/etc/protocols"),
};
/* On a merged system links into /usr, else directories of their own. */
static const char *const top_dirs[] = {"/bin",   "/sbin",  "/lib",
                                       "/lib32", "/lib64", "/libx32"};

static const struct tw_root_row system_rows[] = {
    {.kind = TW_ROOT_PROC, .to = "/proc"},
    READONLY("/proc/sys"),
    READONLY("/proc/sysrq-trigger"),
    READONLY("/proc/irq"),
    READONLY("/proc/bus"),
    READONLY("/proc/fs"),
    MASK("/proc/kcore"),
    MASK("/proc/keys"),
    MASK("/proc/timer_list"),
    MASK("/proc/latency_stats"),
    MASK("/proc/sched_debug"),
    MASK("/proc/interrupts"),
    MASK("/proc/acpi"),
    MASK("/proc/scsi"),
    MASK("/proc/asound"),
    {.kind = TW_ROOT_TMPFS, .to = "/dev", .bytes = 65536, .mode = 0755},
    DEVICE("/dev/null"),
    DEVICE("/dev/zero"),
    DEVICE("/dev/full"),
    DEVICE("/dev/random"),
    DEVICE("/dev/urandom"),
    DEVICE("/dev/tty"),
    LINK("/dev/fd", "/proc/self/fd"),
    LINK("/dev/stdin", "/proc/self/fd/0"),
    LINK("/dev/stdout", "/proc/self/fd/1"),
    LINK("/dev/stderr", "/proc/self/fd/2"),
    LINK("/var/run", "/run"),
    LINK("/var/tmp", "/tmp"),
};

static void add(struct tw_arena *a, struct native_rows *rows, struct tw_root_row row)
{
    TW_PUSH(a, &rows->list, row);
}

static void add_all(struct tw_arena *a, struct native_rows *rows,
                    const struct tw_root_row *more, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(a, rows, more[i]);
}

static void add_top_dir(struct tw_arena *a, struct native_rows *rows, const char *path)
{
    char target[256];
    ssize_t n = readlink(path, target, sizeof target - 1);

    if (n > 0)
        add(a, rows,
            (struct tw_root_row){.kind = TW_ROOT_LINK,
                                 .to = path,
                                 .from = tw_arena_strndup(a, target, (size_t)n)});
    else
        add(a, rows,
            (struct tw_root_row){.kind = TW_ROOT_BIND,
                                 .to = path,
                                 .from = path,
                                 .exec = true,
                                 .optional = true});
}

static void add_text(struct tw_arena *a, struct native_rows *rows, const char *path,
                     const char *text)
{
    add(a, rows,
        (struct tw_root_row){
            .kind = TW_ROOT_TEXT, .to = path, .from = text, .mode = 0644});
}

bool native_is_address(const char *text)
{
    struct in6_addr any;

    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

/* A name that the service binds to has to be found, and found here. */
const char *sandbox_hosts_text(struct tw_arena *a, const struct tw_sandbox_spec *spec,
                              bool link)
{
    const char *self = link ? spec->links.items[0].address : "127.0.0.1";
    const char *text =
        tw_arena_printf(a,
                        "127.0.0.1 localhost\n"
                        "::1 localhost ip6-localhost ip6-loopback\n"
                        "%s %s\n",
                        self, spec->hostname ? spec->hostname : spec->name);

    for (size_t i = 0; i < spec->more_addresses.count; i++) {
        const char *name = spec->more_addresses.items[i];

        if (!native_is_address(name) && !tw_streq(name, "localhost") &&
            !strpbrk(name, "* \n"))
            text = tw_arena_printf(a, "%s%s %s\n", text, self, name);
    }
    for (size_t i = 0; i < spec->hosts.count; i++)
        if (native_is_address(spec->hosts.items[i].address) &&
            !strpbrk(spec->hosts.items[i].name, " \t\n"))
            text = tw_arena_printf(a, "%s%s %s\n", text, spec->hosts.items[i].address,
                                   spec->hosts.items[i].name);
    return text;
}

#define SYSTEM_IDS 1000
#define NOBODY     65534

/* Names and numbers of the host's system accounts, which a service's configuration may name. Of
 * /etc/passwd the group goes along. */
static const char *system_accounts(struct tw_arena *a, const char *path, bool users)
{
    tw_auto_free char *text = NULL;
    const char *kept = "";
    char *at, *line;

    if (tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0)
        return kept;
    for (at = text; (line = strsep(&at, "\n"));) {
        const char *name = strsep(&line, ":"), *id, *group;

        (void)strsep(&line, ":");
        id = strsep(&line, ":");
        group = strsep(&line, ":");
        if (!id || !*name || (users && !group) ||
            (atol(id) >= SYSTEM_IDS && atol(id) != NOBODY))
            continue;
        kept = users ? tw_arena_printf(a, "%s%s:x:%s:%s::/:/usr/sbin/nologin\n", kept,
                                       name, id, group)
                     : tw_arena_printf(a, "%s%s:x:%s:\n", kept, name, id);
    }
    return kept;
}

static void add_accounts(struct tw_arena *a, struct native_rows *rows,
                         const struct tw_sandbox_spec *spec)
{
    const char *user = spec->user_name ? spec->user_name : "twin";

    if (spec->as_root && geteuid() == 0) {
        add_text(a, rows, "/etc/passwd", system_accounts(a, "/etc/passwd", true));
        add_text(a, rows, "/etc/group", system_accounts(a, "/etc/group", false));
        return;
    }
    add_text(a, rows, "/etc/passwd",
             tw_arena_printf(a,
                             "root:x:0:0:root:/:/usr/sbin/nologin\n"
                             "%s:x:%u:%u::/:/bin/sh\n"
                             "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
                             user, spec->uid, spec->gid));
    add_text(
        a, rows, "/etc/group",
        tw_arena_printf(a, "root:x:0:\n%s:x:%u:\nnogroup:x:65534:\n", user, spec->gid));
}

static void add_etc(struct tw_arena *a, struct native_rows *rows,
                    const struct tw_sandbox_spec *spec, bool link)
{
    add_accounts(a, rows, spec);
    add_text(a, rows, "/etc/hosts", sandbox_hosts_text(a, spec, link));
    add_text(a, rows, "/etc/hostname",
             tw_arena_printf(a, "%s\n", spec->hostname ? spec->hostname : spec->name));
    add_text(a, rows, "/etc/resolv.conf", SANDBOX_RESOLV_CONF);
    add_text(a, rows, "/etc/nsswitch.conf",
             "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
             "services: files\nprotocols: files\n");
}

static void add_tmpfs(struct tw_arena *a, struct native_rows *rows,
                      const struct tw_sandbox_spec *spec)
{
    add(a, rows,
        (struct tw_root_row){.kind = TW_ROOT_TMPFS,
                             .to = "/dev/shm",
                             .bytes = spec->shm_bytes ? spec->shm_bytes : SHM_BYTES,
                             .mode = 01777});
    add(a, rows,
        (struct tw_root_row){.kind = TW_ROOT_TMPFS,
                             .to = "/tmp",
                             .bytes = spec->tmp_bytes ? spec->tmp_bytes : TMP_BYTES,
                             .mode = 01777,
                             .exec = true});
    add(a, rows,
        (struct tw_root_row){.kind = TW_ROOT_TMPFS,
                             .to = "/run",
                             .bytes = TMP_BYTES / 16,
                             .mode = 0755,
                             .uid = spec->uid,
                             .gid = spec->gid});
}

void native_rows_make(struct tw_arena *a, const struct tw_sandbox_spec *spec, bool link,
                      struct native_rows *ret)
{
    *ret = (struct native_rows){0};
    add_all(a, ret, base_rows, TW_COUNT_OF(base_rows));
    for (size_t i = 0; i < TW_COUNT_OF(top_dirs); i++)
        add_top_dir(a, ret, top_dirs[i]);
    add_etc(a, ret, spec, link);
    add_all(a, ret, system_rows, TW_COUNT_OF(system_rows));
    add_tmpfs(a, ret, spec);
    for (size_t i = 0; i < spec->mounts.count; i++) {
        const struct tw_sandbox_mount *m = &spec->mounts.items[i];

        add(a, ret,
            (struct tw_root_row){.kind = TW_ROOT_BIND,
                                 .to = m->to,
                                 .from = m->from,
                                 .writable = m->writable,
                                 .exec = true});
    }
}
