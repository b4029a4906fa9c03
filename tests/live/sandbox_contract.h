/* The contract of a sandbox, on the real thing: run for each row of src/lab/sandbox/list.h. Whoever includes
 * this says what CONTRACT(name) is, and gives contract_open(), which makes a spec one of its backend. */
#include "tw/sandbox.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UID 23456
#ifndef CONTRACT_TURNS
#define CONTRACT_TURNS 5
#endif

static char state[] = "/tmp/twin-box-XXXXXX";
static char id[TW_ID_LEN + 1];
static struct tw_priv *priv;
static struct tw_err err;
static int contract_open(const struct tw_sandbox_spec *spec, struct tw_sandbox **ret, struct tw_err *why);

/* One link in the first network, kept until the test ends. */
static struct tw_sandbox_link *link_at(const char *address)
{
    static struct tw_sandbox_link links[64];
    static size_t used;

    cr_assert_lt(used, TW_COUNT_OF(links));
    links[used] = (struct tw_sandbox_link){.address = address};
    return &links[used++];
}

static struct tw_sandbox_spec spec_of(const char *name)
{
    return (struct tw_sandbox_spec){.id = id,
                                    .name = name,
                                    .uid = UID,
                                    .gid = UID,
                                    .user_name = "postgres",
                                    .hostname = name,
                                    .seccomp = true};
}

static struct tw_sandbox *open_box(const struct tw_sandbox_spec *spec)
{
    struct tw_sandbox *box;

    cr_assert_eq(contract_open(spec, &box, &err), 0, "%s", err.text);
    return box;
}

static int start(struct tw_sandbox *box, const char *script, int out)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct tw_process_spec p = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = out, .stderr_fd = out};
    int handle;

    cr_assert_eq(tw_sandbox_start(box, &p, &handle, &err), 0, "%s", err.text);
    return handle;
}

static int finish(struct tw_sandbox *box, int handle)
{
    int status = -1;

    cr_assert_eq(
        tw_sandbox_wait(box, handle, tw_now_ns() + 10 * TW_SEC_NS, &status, &err), 0,
        "%s", err.text);
    return status;
}

/* What a script inside says; its exit status in ret_status, which may be NULL. */
static char *says(struct tw_sandbox *box, const char *script, int *ret_status)
{
    char *text = tw_alloc(65536);
    size_t have = 0;
    int pipes[2], handle, status;
    ssize_t n;

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    handle = start(box, script, pipes[1]);
    (void)close(pipes[1]);
    while ((n = read(pipes[0], text + have, 65535 - have)) > 0)
        have += (size_t)n;
    (void)close(pipes[0]);
    status = finish(box, handle);
    if (ret_status)
        *ret_status = status;
    return text;
}

static void expect_says(struct tw_sandbox *box, const char *script, const char *want)
{
    tw_auto_free char *text = says(box, script, NULL);

    cr_expect_str_eq(text, want, "%s\nsaid: %s", script, text);
}

/* Is there a group below that of this run, in any hierarchy? */
static bool group_left(void)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory",
                                        "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids",
                                        "/sys/fs/cgroup/unified"};
    bool found = false;

    for (size_t i = 0; i < TW_COUNT_OF(roots); i++) {
        tw_auto_free char *path = tw_strf("%s/twin/%s", roots[i], id);
        DIR *dir = opendir(path);
        struct dirent *entry;

        while (dir && (entry = readdir(dir)))
            found = found || (entry->d_type == DT_DIR && entry->d_name[0] != '.');
        if (dir)
            (void)closedir(dir);
    }
    return found;
}

/* ---- isolation ---- */

CONTRACT(it_has_neither_rights_nor_root)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);

    expect_says(box, "id -u; id -un; id -G", "23456\npostgres\n23456\n");
    expect_says(box, "grep -c 'Cap.*:.0000000000000000' /proc/self/status", "5\n");
    expect_says(box, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\n'",
                "NoNewPrivs:\t1Seccomp:\t2");
    tw_sandbox_close(box);
}

CONTRACT(it_cannot_change_its_world)
{
    static const char *const tries[] = {"mount -t tmpfs x /tmp",
                                        "mount -o remount,rw /",
                                        "unshare -U true",
                                        "unshare -r true",
                                        "unshare -n true",
                                        "chroot / true",
                                        "hostname x",
                                        "touch /x",
                                        "touch /etc/x",
                                        "touch /usr/x",
                                        "echo 1 > /proc/sys/kernel/panic",
                                        "echo c > /proc/sysrq-trigger",
                                        "mknod /tmp/x b 7 0",
                                        "head -c 1 /proc/kcore | grep -q .",
                                        "ls /proc/1/fd",
                                        "cat /proc/1/mem",
                                        "cat /proc/1/environ",
                                        "kill -9 1 && sleep 0.1 && test ! -d /proc/1",
                                        "dmesg",
                                        "ulimit -c unlimited",
                                        "nsenter -t 1 -n true",
                                        "date -s 2020-01-01",
                                        "su root -c true"};
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);

    for (size_t i = 0; i < TW_COUNT_OF(tries); i++) {
        int status = 0;
        tw_auto_free char *text = says(box, tries[i], &status);

        cr_expect_neq(status, 0, "'%s' worked: %s", tries[i], text);
    }
    expect_says(box, "echo still here", "still here\n");
    tw_sandbox_close(box);
}

CONTRACT(it_has_no_way_out)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box;

    spec.links.items = link_at("10.213.0.9");
    spec.links.count = 1;
    box = open_box(&spec);
    /* its own link is all there is: whatever is not on it is nowhere */
    expect_says(box, "tail -n +2 /proc/net/route | tr -s '\\t ' ' ' | cut -d' ' -f1-3",
                "eth0 00000000 00000000\neth0 0000D50A 00000000\n");
    expect_says(
        box,
        "for a in 8.8.8.8 169.254.169.254 172.17.0.1 10.213.0.1; do timeout 1 "
        "bash -c \"echo > /dev/tcp/$a/80\" 2>/dev/null && echo $a; done; echo done",
        "done\n");
    tw_sandbox_close(box);
}

/* ---- the network of twins ---- */

CONTRACT(two_sandboxes_reach_each_other)
{
    struct tw_sandbox_spec one = spec_of("server"), two = spec_of("client");
    struct tw_sandbox *server, *client;
    int handle;

    one.links.items = link_at("10.213.0.2");
    one.links.count = 1;
    two.links.items = link_at("10.213.0.3");
    two.links.count = 1;
    server = open_box(&one);
    client = open_box(&two);
    handle = start(
        server,
        "exec perl -MIO::Socket::INET -e "
        "'my $s = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 5432, "
        "Listen => 5, ReuseAddr => 1) or die $!; my $c = $s->accept; print $c "
        "\"hello\\n\";'",
        -1);
    expect_says(
        client,
        "for i in 1 2 3 4 5 6 7 8 9; do bash -c 'exec 3<>/dev/tcp/10.213.0.2/5432 && "
        "cat <&3' 2>/dev/null && break; sleep 0.2; done",
        "hello\n");
    cr_expect_eq(finish(server, handle), 0);
    tw_sandbox_close(client);
    tw_sandbox_close(server);
}

CONTRACT(further_addresses_are_its_own)
{
    const char *addresses[] = {"192.0.2.7", "2001:db8::7", "db.internal", "127.0.0.1",
                               "10.213.0.4"};
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box;

    spec.links.items = link_at("10.213.0.4");
    spec.links.count = 1;
    spec.more_addresses.items = addresses;
    spec.more_addresses.count = TW_COUNT_OF(addresses);
    box = open_box(&spec);
    expect_says(box, "ip -o -4 addr show dev eth0 | tr -s ' ' | cut -d' ' -f4",
                "10.213.0.4/24\n192.0.2.7/32\n");
    expect_says(box,
                "ip -o -6 addr show dev eth0 scope global | tr -s ' ' | cut -d' ' -f4",
                "2001:db8::7/128\n");
    expect_says(box, "getent hosts db.internal | cut -d' ' -f1", "10.213.0.4\n");
    tw_sandbox_close(box);
}

/* Who holds an address is found, whatever it is; but only in the same network. */
CONTRACT(networks_are_apart_and_any_address_is_found_in_one)
{
    const char *far[] = {"192.0.2.9", "2001:db8::9"};
    struct tw_sandbox_spec one = spec_of("server"), two = spec_of("client");
    struct tw_sandbox_link both[] = {{.network = 0, .address = "10.213.0.10"},
                                     {.network = 1, .address = "10.213.0.10"}};
    struct tw_sandbox *server, *client;
    int handle;

    one.links.items = link_at("10.213.0.2");
    one.links.count = 1;
    one.links.items[0].network = 1;
    one.links.items[0].more.items = far;
    one.links.items[0].more.count = TW_COUNT_OF(far);
    two.links.items = both;
    two.links.count = TW_COUNT_OF(both);
    server = open_box(&one);
    client = open_box(&two);
    handle = start(server,
                   "exec perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0); "
                   "setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1); bind($s, "
                   "sockaddr_in(80, inet_aton(\"192.0.2.9\"))) or die $!; listen($s, 5); "
                   "accept(my $c, $s); syswrite($c, \"hello\\n\");'",
                   -1);
    /* by the second link, which a socket chooses as the load does */
    expect_says(client,
                "perl -MSocket -e 'for (1 .. 50) { socket(my $s, PF_INET, SOCK_STREAM, 0); "
                "setsockopt($s, SOL_SOCKET, 25, \"eth1\\0\") or die $!; "
                "if (connect($s, sockaddr_in(80, inet_aton(\"192.0.2.9\")))) { print <$s>; "
                "exit } select(undef, undef, undef, 0.1) } print \"no way\\n\"'",
                "hello\n");
    cr_expect_eq(finish(server, handle), 0);
    expect_says(client,
                "timeout 1 bash -c 'echo > /dev/tcp/10.213.0.2/80' 2>/dev/null || echo apart",
                "apart\n");
    tw_sandbox_close(client);
    tw_sandbox_close(server);
}

/* It is root of its own users and of nothing else. */
CONTRACT(processes_are_started_signalled_and_waited_for)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);
    int sleeper = start(box, "exec sleep 100", -1), quick = start(box, "exit 7", -1),
        status;

    cr_expect_eq(finish(box, quick), 7 << 8);
    cr_expect_eq(tw_sandbox_wait(box, sleeper, 0, &status, &err), -ETIMEDOUT);
    cr_expect_eq(
        tw_sandbox_wait(box, sleeper, tw_now_ns() + 50 * TW_MSEC_NS, &status, &err),
        -ETIMEDOUT);
    cr_expect_eq(tw_sandbox_signal(box, sleeper, SIGTERM, &err), 0, "%s", err.text);
    cr_expect_eq(finish(box, sleeper), SIGTERM);
    cr_expect_eq(tw_sandbox_signal(box, sleeper, SIGTERM, &err), -ESRCH);
    cr_expect_eq(tw_sandbox_wait(box, quick, 0, &status, &err), -ESRCH, "collected once");
    tw_sandbox_close(box);
}

CONTRACT(a_program_that_cannot_be_started_says_why)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);
    const char *const argv[] = {"/no/such/program", NULL};
    struct tw_process_spec p = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    int handle;

    cr_expect_eq(tw_sandbox_start(box, &p, &handle, &err), -ENOENT);
    cr_expect(strstr(err.text, "'/no/such/program'") && strstr(err.text, "'probe'"), "%s",
              err.text);
    expect_says(box, "echo fine", "fine\n");
    tw_sandbox_close(box);
}

CONTRACT(the_event_descriptor_tells_of_ends_until_they_are_collected)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);
    struct pollfd fd = {tw_sandbox_event_fd(box), POLLIN, 0};
    int one, two;

    cr_expect_eq(poll(&fd, 1, 0), 0);
    one = start(box, "exit 1", -1);
    two = start(box, "exit 2", -1);
    cr_expect_eq(poll(&fd, 1, 5000), 1);
    cr_expect_eq(finish(box, one), 1 << 8);
    cr_expect_eq(poll(&fd, 1, 5000), 1);
    cr_expect_eq(finish(box, two), 2 << 8);
    cr_expect_eq(poll(&fd, 1, 0), 0);
    tw_sandbox_close(box);
}

CONTRACT(descriptors_are_passed_in_their_order)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);
    const char *const argv[] = {"/bin/sh", "-c",
                                "cat <&3; cat <&4; pwd; echo $X; ulimit -n", NULL};
    const char *const env[] = {"X=from the environment", "PATH=/usr/bin:/bin", NULL};
    int a[2], b[2], out[2], handle;
    char text[256] = "";
    ssize_t n = 0, got;

    cr_assert_eq(pipe(a) | pipe(b) | pipe(out), 0);
    cr_assert_eq(write(a[1], "first\n", 6) + write(b[1], "second\n", 7), 13);
    (void)close(a[1]);
    (void)close(b[1]);
    struct tw_process_spec p = {.argv = argv,
                                .env = env,
                                .cwd = "/tmp",
                                .stdin_fd = -1,
                                .stdout_fd = out[1],
                                .stderr_fd = out[1],
                                .fds = (const int[]){a[0], b[0]},
                                .fd_count = 2,
                                .nofile = 77};

    cr_assert_eq(tw_sandbox_start(box, &p, &handle, &err), 0, "%s", err.text);
    (void)close(out[1]);
    while ((got = read(out[0], text + n, sizeof text - 1 - (size_t)n)) > 0)
        n += got;
    cr_expect_str_eq(text, "first\nsecond\n/tmp\nfrom the environment\n77\n");
    cr_expect_eq(finish(box, handle), 0);
    tw_sandbox_close(box);
}

CONTRACT(orphans_end_with_the_sandbox)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);
    struct tw_usage usage;
    int handle = start(box, "sleep 100 & sleep 100 & exit 0", -1);

    cr_expect_eq(finish(box, handle), 0);
    cr_assert_eq(tw_sandbox_usage(box, &usage, &err), 0);
    cr_expect_eq(usage.pids, 3, "init and two orphans, got %ld", (long)usage.pids);
    tw_sandbox_close(box);
    cr_expect_not(group_left());
}

CONTRACT(memory_is_bounded_and_kills_are_counted)
{
    struct tw_sandbox_spec spec = spec_of("small");
    struct tw_sandbox *box;
    struct tw_usage usage;
    int handle;

    spec.memory_bytes = 32 << 20;
    box = open_box(&spec);
    handle = start(box, "exec perl -e 'my $x = \"x\" x 100_000_000; sleep 1'", -1);
    cr_expect_eq(finish(box, handle), SIGKILL);
    cr_assert_eq(tw_sandbox_usage(box, &usage, &err), 0);
    cr_expect_eq(usage.oom_kills, 1, "got %ld", (long)usage.oom_kills);
    cr_expect_leq(usage.memory_peak_bytes, 32 << 20);
    cr_expect_gt(usage.memory_peak_bytes, 24 << 20);
    expect_says(box, "echo the init lives on", "the init lives on\n");

    cr_assert_eq(tw_sandbox_limit(box, 256 << 20, 0, &err), 0, "%s", err.text);
    handle = start(box, "exec perl -e 'my $x = \"x\" x 50_000_000;'", -1);
    cr_expect_eq(finish(box, handle), 0, "fits after the limit was raised");
    cr_assert_eq(tw_sandbox_limit(box, 64 << 20, 0, &err), 0, "%s", err.text);
    tw_sandbox_close(box);
}

CONTRACT(cpu_is_bounded_and_counted)
{
    struct tw_sandbox_spec spec = spec_of("slow");
    struct tw_sandbox *box;
    struct tw_usage before, after;
    int64_t start_ns;
    int handle;

    spec.cpus = 0.2;
    box = open_box(&spec);
    cr_assert_eq(tw_sandbox_usage(box, &before, &err), 0);
    start_ns = tw_now_ns();
    handle = start(box, "while :; do :; done", -1);
    tw_sleep_ns(TW_SEC_NS);
    cr_assert_eq(tw_sandbox_usage(box, &after, &err), 0);
    double share = (after.cpu_s - before.cpu_s) / tw_seconds(tw_now_ns() - start_ns);

    cr_expect(share > 0.05 && share < 0.3, "share %g", share);
    cr_expect_gt(after.throttled_s, 0.1);
    cr_expect(isnan(after.cpu_pressure_s) || after.cpu_pressure_s > 0);
    cr_expect_eq(tw_sandbox_signal(box, handle, SIGKILL, &err), 0);
    cr_expect_eq(finish(box, handle), SIGKILL);
    tw_sandbox_close(box);
}

CONTRACT(processes_are_bounded)
{
    struct tw_sandbox_spec spec = spec_of("few");
    struct tw_sandbox *box;
    int status = 0;

    spec.pids_max = 5;
    box = open_box(&spec);
    tw_auto_free char *text =
        says(box, "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo all", &status);

    cr_expect_null(strstr(text, "all"), "%s", text);
    tw_sandbox_close(box);
}

CONTRACT(it_stays_on_its_cpus)
{
    struct tw_sandbox_spec spec = spec_of("pinned");
    struct tw_sandbox *box;

    spec.cpuset = "0";
    box = open_box(&spec);
    expect_says(box, "grep Cpus_allowed_list /proc/self/status | cut -f2", "0\n");
    tw_sandbox_close(box);
    spec.cpuset = "4095";
    cr_expect_lt(contract_open(&spec, &box, &err), 0);
    cr_expect(strstr(err.text, "'pinned'"), "%s", err.text);
    cr_expect_not(group_left());
}

CONTRACT(what_is_frozen_stands_still)
{
    struct tw_sandbox_spec spec = spec_of("frozen");
    struct tw_sandbox *box = open_box(&spec);
    int handle = start(box, "while :; do :; done", -1), other;
    const char *const argv[] = {"/bin/true", NULL};
    struct tw_process_spec p = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    struct tw_usage one, two;

    tw_sleep_ns(50 * TW_MSEC_NS);
    cr_assert_eq(tw_sandbox_freeze(box, true, &err), 0, "%s", err.text);
    cr_assert_eq(tw_sandbox_usage(box, &one, &err), 0);
    tw_sleep_ns(200 * TW_MSEC_NS);
    cr_assert_eq(tw_sandbox_usage(box, &two, &err), 0);
    cr_expect_lt(two.cpu_s - one.cpu_s, 0.05); /* running, it would be 0.2 */
    cr_expect_eq(tw_sandbox_start(box, &p, &other, &err), -EBUSY);
    cr_expect(strstr(err.text, "frozen"), "%s", err.text);
    cr_assert_eq(tw_sandbox_freeze(box, false, &err), 0, "%s", err.text);
    tw_sleep_ns(300 * TW_MSEC_NS);
    cr_assert_eq(tw_sandbox_usage(box, &one, &err), 0);
    cr_expect_gt(one.cpu_s - two.cpu_s, 0.02);
    cr_expect_eq(tw_sandbox_signal(box, handle, SIGKILL, &err), 0);
    /* and a frozen one can be closed */
    cr_assert_eq(tw_sandbox_freeze(box, true, &err), 0);
    tw_sandbox_close(box);
    cr_expect_not(group_left());
}

CONTRACT(shared_memory_and_tmp_have_their_sizes)
{
    struct tw_sandbox_spec spec = spec_of("sized");
    struct tw_sandbox *box;

    spec.shm_bytes = 3 << 20;
    spec.tmp_bytes = 5 << 20;
    box = open_box(&spec);
    expect_says(box, "df -k --output=size /dev/shm /tmp | tail -n +2 | tr -d ' '",
                "3072\n5120\n");
    tw_sandbox_close(box);
}

/* ---- mounts ---- */

CONTRACT(mounts_are_where_they_belong)
{
    tw_auto_free char *data = tw_strf("%s/data", state),
                      *conf = tw_strf("%s/conf", state);
    tw_auto_free char *made = tw_strf("%s/data/made", state);
    struct tw_sandbox_mount mounts[] = {{data, "/var/lib/service/data", true},
                                        {conf, "/etc/service/conf", false}};
    struct tw_sandbox_spec spec = spec_of("mounted");
    struct tw_sandbox *box;

    cr_assert_eq(mkdir(data, 0700) | chown(data, UID, UID), 0);
    cr_assert_eq(tw_write_file(conf, "a = b\n", 6, 0644, &err), 0);
    spec.mounts.items = mounts;
    spec.mounts.count = TW_COUNT_OF(mounts);
    box = open_box(&spec);
    expect_says(box, "touch /var/lib/service/data/made && cat /etc/service/conf",
                "a = b\n");
    expect_says(box, "(echo x >> /etc/service/conf) 2>/dev/null || echo refused",
                "refused\n");
    cr_expect_eq(access(made, F_OK), 0);
    tw_sandbox_close(box);
}

/* A tree of the target may hold links: neither source nor target may lead out. */
/* ---- threads, errors, leavings ---- */

static void *open_and_close(void *arg)
{
    const char *name = arg;
    struct tw_sandbox_spec spec = spec_of(name);

    spec.links.items = link_at(name[0] == 'o' ? "10.213.0.21" : "10.213.0.22");
    spec.links.count = 1;
    for (int i = 0; i < CONTRACT_TURNS; i++) {
        struct tw_err own = {0};
        struct tw_sandbox *box;
        const char *const argv[] = {"/bin/true", NULL};
        struct tw_process_spec p = {
            .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
        int handle, status = -1;

        if (contract_open(&spec, &box, &own) < 0 ||
            tw_sandbox_start(box, &p, &handle, &own) < 0 ||
            tw_sandbox_wait(box, handle, tw_now_ns() + 10 * TW_SEC_NS, &status, &own) < 0)
            return tw_strf("%s", own.text);
        tw_sandbox_close(box);
        if (status != 0)
            return tw_strf("status %d", status);
    }
    return NULL;
}

CONTRACT(two_threads_open_and_close_at_once)
{
    static char names[2][8] = {"one", "two"};
    pthread_t threads[2];
    void *said;

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, open_and_close, names[i]), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], &said), 0);
        cr_expect_null(said, "%s", (char *)said);
        free(said);
    }
    cr_expect_not(group_left());
}

static void *open_only(void *arg)
{
    struct tw_sandbox_spec spec = spec_of("kept");

    *(struct tw_sandbox **)arg = open_box(&spec);
    return NULL;
}

/* The death signal of a child follows the thread that made it, not the process. */
CONTRACT(it_outlives_the_thread_that_opened_it)
{
    struct tw_sandbox *box = NULL;
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, open_only, &box), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    tw_sleep_ns(50 * TW_MSEC_NS);
    expect_says(box, "echo alive", "alive\n");
    tw_sandbox_close(box);
}

CONTRACT(nothing_is_left_after_close)
{
    struct tw_sandbox_spec spec = spec_of("clean");
    struct tw_sandbox *box;
    tw_auto_free char *own = NULL;

    spec.links.items = link_at("10.213.0.5");
    spec.links.count = 1;
    box = open_box(&spec);
    (void)start(box, "sleep 100 & exec sleep 100", -1);
    tw_sandbox_close(box);
    cr_expect_not(group_left());
    cr_assert_eq(
        tw_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 24, &own, NULL, &err), 0);
    cr_expect_null(strstr(own, "/empty"));
    /* no child but what the tests' own machinery has */
    cr_expect_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1);
}

CONTRACT(nothing_is_missing_here_as_root)
{
    struct tw_sandbox_spec spec = spec_of("whole");
    struct tw_sandbox *box;
    const char *const *texts;

    spec.memory_bytes = 64 << 20;
    spec.cpus = 1;
    spec.links.items = link_at("10.213.0.6");
    spec.links.count = 1;
    box = open_box(&spec);
    cr_expect_eq(tw_sandbox_missing(box, &texts), 0, "%s",
                 tw_sandbox_missing(box, &texts) ? texts[0] : "");
    tw_sandbox_close(box);
}

/* Without root: its own user namespace, no limits, no link, and it says so. */

#define CONTRACT_LIST(X) \
    X(it_has_neither_rights_nor_root) \
    X(it_cannot_change_its_world) \
    X(it_has_no_way_out) \
    X(two_sandboxes_reach_each_other) \
    X(further_addresses_are_its_own) \
    X(networks_are_apart_and_any_address_is_found_in_one) \
    X(processes_are_started_signalled_and_waited_for) \
    X(a_program_that_cannot_be_started_says_why) \
    X(the_event_descriptor_tells_of_ends_until_they_are_collected) \
    X(descriptors_are_passed_in_their_order) \
    X(orphans_end_with_the_sandbox) \
    X(memory_is_bounded_and_kills_are_counted) \
    X(cpu_is_bounded_and_counted) \
    X(processes_are_bounded) \
    X(it_stays_on_its_cpus) \
    X(what_is_frozen_stands_still) \
    X(shared_memory_and_tmp_have_their_sizes) \
    X(mounts_are_where_they_belong) \
    X(two_threads_open_and_close_at_once) \
    X(it_outlives_the_thread_that_opened_it) \
    X(nothing_is_left_after_close) \
    X(nothing_is_missing_here_as_root)
