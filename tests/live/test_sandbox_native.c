/* Namespaces and control groups: the contract, and what only this backend has. */
#define CONTRACT(name) Test(sandbox_native, name)
#include "sandbox_contract.h"

static int contract_open(const struct tw_sandbox_spec *spec, struct tw_sandbox **ret,
                         struct tw_err *why)
{
    return tw_sandbox_open(priv, spec, ret, why);
}

static void set_up(void)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert(mkdtemp(state));
    tw_id_make(id);
    cr_assert_eq(tw_priv_open(state, id, &priv, &err), 0, "%s", err.text);
}

static void tear_down(void)
{
    tw_priv_close(priv);
    cr_expect_eq(tw_remove_tree(state, &err), 0, "%s", err.text);
}
TestSuite(sandbox_native, .init = set_up, .fini = tear_down, .timeout = 60);

Test(sandbox_native, it_sees_nothing_of_the_host)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);

    expect_says(box, "ls / | grep -v ^lib | tr '\\n' ' '",
                "bin dev etc proc run sbin tmp usr var ");
    expect_says(box, "ls -d /proc/[0-9]* | wc -l | xargs test 8 -gt && echo few",
                "few\n");
    expect_says(box, "ls /home /root /var/lib /sys /boot 2>/dev/null | wc -l", "0\n");
    expect_says(box,
                "grep -v -e ' / ' -e /proc -e /dev -e /tmp -e /run -e /usr -e /etc "
                "/proc/self/mounts | wc -l",
                "0\n");
    expect_says(box, "cat /sys/kernel/notes 2>/dev/null || echo none", "none\n");
    expect_says(box, "hostname", "probe\n");
    expect_says(box, "cat /proc/self/cgroup | cut -d: -f3 | sort -u", "/\n");
    expect_says(box, "wc -l < /etc/passwd", "3\n");
    expect_says(box, "ls /proc/self/fd | wc -l",
                "4\n"); /* three and the directory itself */
    tw_sandbox_close(box);
}

Test(sandbox_native, a_service_may_begin_as_root_of_its_own_users)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box;

    spec.uid = spec.gid = 2000000;
    spec.as_root = true;
    spec.links.items = link_at("10.213.0.5");
    spec.links.count = 1;
    box = open_box(&spec);
    expect_says(box, "id -u; cat /proc/self/uid_map | tr -s ' '",
                "0\n 0 2000000 65536\n");
    expect_says(box,
                "perl -e '$) = $( = 33; $< = $> = 33; print \"$< $>\\n\"; "
                "print +(open(my $f, \">\", \"/tmp/mine\") ? \"may\" : $!), \"\\n\"'",
                "33 33\nmay\n");
    expect_says(box, "stat -c %u /tmp/mine; chown 0:0 /tmp/mine && stat -c %u /tmp/mine",
                "33\n0\n");
    expect_says(box,
                "mkdir /tmp/jail && chroot /tmp/jail /x 2>&1 | grep -c 'No such file'",
                "1\n");
    expect_says(box,
                "for c in 'mount -t tmpfs x /tmp' 'ip link set lo down' 'hostname x' "
                "'unshare -m true' 'kill -0 1 && nsenter -t 1 -m true'; do "
                "sh -c \"$c\" >/dev/null 2>&1 && echo \"may $c\"; done; echo done",
                "done\n");
    expect_says(box, "grep CapEff /proc/self/status | tr -d '\\t'",
                "CapEff:00000000000405fb\n");
    tw_sandbox_close(box);
}

/* ---- processes ---- */

Test(sandbox_native, a_dead_init_is_told)
{
    struct tw_sandbox_spec spec = spec_of("probe");
    struct tw_sandbox *box = open_box(&spec);
    struct pollfd fd = {tw_sandbox_event_fd(box), POLLIN, 0};
    int handle = start(box, "exec sleep 100", -1), status;

    /* init is the first of its group */
    tw_auto_free char *v1 = tw_strf("/sys/fs/cgroup/pids/twin/%s/probe/cgroup.procs", id);
    tw_auto_free char *v2 = tw_strf("/sys/fs/cgroup/twin/%s/probe/cgroup.procs", id);
    tw_auto_free char *text = NULL;

    if (tw_read_file(AT_FDCWD, v1, 4096, &text, NULL, NULL) < 0 &&
        tw_read_file(AT_FDCWD, v2, 4096, &text, NULL, NULL) < 0)
        cr_skip_test("needs a control group");
    cr_assert_eq(kill((pid_t)atoi(text), SIGKILL), 0);
    cr_expect_eq(poll(&fd, 1, 5000), 1);
    cr_expect_eq(tw_sandbox_wait(box, handle, tw_now_ns() + TW_SEC_NS, &status, &err),
                 -ECHILD);
    cr_expect(strstr(err.text, "'probe'"), "%s", err.text);
    tw_sandbox_close(box);
}

/* ---- limits and counters ---- */

Test(sandbox_native, links_in_a_clone_lead_nowhere)
{
    tw_auto_free char *data = tw_strf("%s/data", state),
                      *bad = tw_strf("%s/data/bad", state);
    tw_auto_free char *up = tw_strf("%s/data/up", state),
                      *more = tw_strf("%s/more", state);
    struct tw_sandbox_mount stolen = {bad, "/stolen", false};
    struct tw_sandbox_mount through[] = {{data, "/data", true},
                                         {more, "/data/up/etc", true}};
    struct tw_sandbox_spec spec = spec_of("links");
    struct tw_sandbox *box;

    cr_assert_eq(mkdir(data, 0755) | mkdir(more, 0755), 0);
    cr_assert_eq(symlink("/etc", bad) | symlink("/../../../..", up), 0);
    spec.mounts.items = &stolen;
    spec.mounts.count = 1;
    cr_expect_eq(tw_sandbox_open(priv, &spec, &box, &err), -ELOOP);
    cr_expect(strstr(err.text, "'/stolen'"), "%s", err.text);
    cr_expect_not(group_left());

    spec.mounts.items = through;
    spec.mounts.count = 2;
    box = open_box(&spec);
    expect_says(box, "ls /etc | wc -l", "0\n"); /* covered inside, and only there */
    cr_expect_eq(access("/etc/passwd", F_OK), 0);
    tw_sandbox_close(box);
}

Test(sandbox_native, it_works_without_root_where_the_kernel_allows_it)
{
    int status, said[2];
    char text[512] = "";
    pid_t pid;

    cr_assert_eq(pipe(said), 0);
    pid = fork();
    if (pid == 0) {
        char mine[] = "/tmp/twin-user-XXXXXX", own_id[TW_ID_LEN + 1];
        struct tw_sandbox_spec spec = spec_of("user");
        struct tw_sandbox *box;
        struct tw_priv *p;
        const char *const argv[] = {"/bin/sh", "-c",
                                    "test $(id -u) = 23456 && test ! -d /home", NULL};
        struct tw_process_spec process = {
            .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
        const char *const *missing;
        int handle, result = -1, r;

        if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0 ||
            prctl(PR_SET_DUMPABLE, 1) < 0 || /* as it is where nobody was root before */
            !mkdtemp(mine))
            _exit(9);
        tw_id_make(own_id);
        spec.memory_bytes = 64 << 20;
        spec.links.items = link_at("10.213.0.7");
        spec.links.count = 1;
        r = tw_priv_open(mine, own_id, &p, &err);
        if (r == 0)
            r = tw_sandbox_open(p, &spec, &box, &err);
        if (r == 0)
            r = tw_sandbox_start(box, &process, &handle, &err);
        if (r == 0)
            r = tw_sandbox_wait(box, handle, tw_now_ns() + 5 * TW_SEC_NS, &result, &err);
        if (r == 0 && (result != 0 || tw_sandbox_missing(box, &missing) < 2))
            r = tw_fail(&err, -1, "status %x", (unsigned)result);
        if (r == 0) {
            tw_sandbox_close(box);
            tw_priv_close(p);
        }
        (void)!write(said[1], err.text, r == 0 ? 0 : strlen(err.text));
        (void)tw_remove_tree(mine, NULL);
        _exit(r == 0 ? 0 : r == -EPERM || r == -ENOSPC ? 77 : 1);
    }
    (void)close(said[1]);
    (void)!read(said[0], text, sizeof text - 1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == 77)
        cr_skip_test("user namespaces are refused here");
    cr_expect_eq(status, 0, "status %x: %s", (unsigned)status, text);
}

Test(sandbox_native, the_probe_tells_what_this_host_can)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_capabilities c;

    cr_assert_eq(tw_priv_probe(a, state, &c, &err), 0, "%s", err.text);
    cr_expect_gt(c.list.count, 10);
    for (size_t i = 0; i < c.list.count; i++) {
        const struct tw_capability *row = &c.list.items[i];

        cr_expect(row->detail && row->detail[0], "%s", row->name);
        cr_expect(row->available || !row->needed || row->fix, "%s: no way to mend it",
                  row->name);
    }
}
