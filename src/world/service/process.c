/* Processes of this host and the units that supervise them: read from /proc and from files. */
#include "service_internal.h"

#include "tw/io.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- processes ---- */

static const char *link_of(struct tw_arena *a, int pid, const char *what)
{
    char to[4096];
    tw_auto_free char *path = tw_strf("/proc/%d/%s", pid, what);
    ssize_t n = readlink(path, to, sizeof to - 1);

    return n > 0 ? tw_arena_strndup(a, to, (size_t)n) : NULL;
}

/* A replaced program is "/usr/sbin/nginx (deleted)": the path is still its own. */
static const char *program_of(struct tw_arena *a, int pid)
{
    const char *exe = link_of(a, pid, "exe");
    const char *gone = exe ? strstr(exe, " (deleted)") : NULL;

    return gone ? tw_arena_strndup(a, exe, (size_t)(gone - exe)) : exe;
}

static bool is_program(const char *exe, const char *name)
{
    const char *slash = exe ? strrchr(exe, '/') : NULL;

    return slash && tw_streq(slash + 1, name);
}

static char *text_of(int pid, const char *what, size_t *ret_len)
{
    tw_auto_free char *path = tw_strf("/proc/%d/%s", pid, what);
    char *text = NULL;

    return tw_read_file(AT_FDCWD, path, 1 << 20, &text, ret_len, NULL) < 0 ? NULL : text;
}

static long status_number(int pid, const char *key)
{
    tw_auto_free char *text = text_of(pid, "status", NULL);
    const char *at = text ? strstr(text, key) : NULL;

    return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static int64_t soft_nofile(int pid)
{
    tw_auto_free char *text = text_of(pid, "limits", NULL);
    const char *at = text ? strstr(text, "Max open files") : NULL;

    return at ? strtoll(at + strlen("Max open files"), NULL, 10) : -1;
}

static int64_t count_files(int pid)
{
    tw_auto_free char *path = tw_strf("/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    int64_t n = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n - 2;
}

/* The last part of its control group that is a unit. */
static const char *unit_of(struct tw_arena *a, int pid)
{
    tw_auto_free char *text = text_of(pid, "cgroup", NULL);
    const char *end = text ? strstr(text, ".service") : NULL;
    const char *begin = end;

    while (begin && begin > text && begin[-1] != '/')
        begin--;
    return end ? tw_arena_printf(a, "%.*s.service", (int)(end - begin), begin) : NULL;
}

static void take_argv(struct tw_arena *a, struct service_process *p)
{
    size_t len = 0;
    tw_auto_free char *text = text_of(p->pid, "cmdline", &len);

    for (size_t at = 0; text && at < len; at += strlen(text + at) + 1)
        TW_PUSH(a, &p->argv, tw_arena_strdup(a, text + at));
}

static void take_process(struct tw_arena *a, int pid, struct service_processes *ret)
{
    tw_auto_free char *path = tw_strf("/proc/%d", pid);
    struct service_process p = {.pid = pid, .program = program_of(a, pid)};
    struct passwd *pw;
    struct stat st;

    if (stat(path, &st) < 0)
        return;
    p.uid = (unsigned)status_number(pid, "\nUid:");
    p.gid = (unsigned)status_number(pid, "\nGid:");
    pw = getpwuid(p.uid);
    p.owner = pw ? tw_arena_strdup(a, pw->pw_name) : NULL;
    p.cwd = link_of(a, pid, "cwd");
    p.nofile = soft_nofile(pid);
    p.open_files = count_files(pid);
    p.unit = unit_of(a, pid);
    take_argv(a, &p);
    TW_PUSH(a, &ret->list, p);
}

static bool is_of_this_host(struct tw_arena *a, int pid)
{
    const char *theirs = link_of(a, pid, "ns/mnt");

    return theirs && tw_streq(theirs, link_of(a, (int)getpid(), "ns/mnt"));
}

void service_processes_find(struct tw_arena *a, const char *name, struct service_processes *ret)
{
    DIR *proc = opendir("/proc");

    *ret = (struct service_processes){0};
    for (struct dirent *e; proc && (e = readdir(proc));) {
        int pid = atoi(e->d_name);

        if (pid > 0 && is_program(program_of(a, pid), name) && is_of_this_host(a, pid) &&
            !is_program(program_of(a, (int)status_number(pid, "\nPPid:")), name))
            take_process(a, pid, ret);
    }
    if (proc)
        (void)closedir(proc);
}

/* "-c FILE" and "-cFILE". */
const char *service_argument(const struct service_process *p, const char *option)
{
    size_t n = strlen(option);

    for (size_t i = 1; i < p->argv.count; i++) {
        const char *arg = p->argv.items[i];

        if (tw_streq(arg, option))
            return i + 1 < p->argv.count ? p->argv.items[i + 1] : NULL;
        if (tw_starts_with(arg, option) && n == 2)
            return arg + n;
    }
    return NULL;
}

/* ---- units ---- */

static const char *const unit_dirs[] = {"/etc/systemd/system", "/run/systemd/system",
                                        "/usr/local/lib/systemd/system", "/lib/systemd/system",
                                        "/usr/lib/systemd/system"};

/* "5", "1min 30s", "infinity". */
static double unit_seconds(const char *text)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ms", 0.001}, {"us", 1e-6}, {"min", 60}, {"m", 60}, {"s", 1}, {"h", 3600}};
    double sum = 0;

    if (tw_streq(text, "infinity"))
        return INFINITY;
    while (*text) {
        char *end;
        double value = strtod(text, &end), scale = 1;

        if (end == text)
            return NAN;
        end += strspn(end, " ");
        for (size_t i = 0; i < TW_COUNT_OF(units); i++) {
            if (!tw_starts_with(end, units[i].name))
                continue;
            scale = units[i].seconds;
            end += strlen(units[i].name);
            break;
        }
        sum += value * scale;
        text = end + strspn(end, " ");
    }
    return sum;
}

int service_signal_number(const char *name)
{
    const char *plain = tw_starts_with(name, "SIG") ? name + 3 : name;

    if (isdigit((unsigned char)*plain))
        return atoi(plain);
    for (int i = 1; i < NSIG; i++) {
        const char *known = sigabbrev_np(i);

        if (known && strncmp(known, plain, strlen(known)) == 0 &&
            !isalnum((unsigned char)plain[strlen(known)]))
            return i;
    }
    return 0;
}

static void take_unit_line(struct tw_arena *a, const char *key, const char *value,
                           struct service_unit *u)
{
    struct {
        const char *key;
        const char **to;
    } const texts[] = {{"Type", &u->type},           {"User", &u->user},
                       {"ExecStart", &u->exec_start}, {"ExecStop", &u->exec_stop},
                       {"KillMode", &u->kill_mode}};

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++)
        if (tw_streq(key, texts[i].key))
            *texts[i].to = *value ? tw_arena_strdup(a, value) : NULL;
    if (tw_streq(key, "TimeoutStopSec") || tw_streq(key, "TimeoutSec"))
        u->stop_timeout_s = unit_seconds(value);
    else if (tw_streq(key, "KillSignal"))
        u->stop_signal = service_signal_number(value);
    else if (tw_streq(key, "LimitNOFILE"))
        u->nofile = strtoll(value, NULL, 10);
    else if (tw_streq(key, "Environment"))
        u->environment =
            tw_arena_printf(a, "%s %s", u->environment ? u->environment : "", value);
}

static void take_unit_file(struct tw_arena *a, const char *path, struct service_unit *u)
{
    tw_auto_free char *text = NULL;
    char *rest;

    if (tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0)
        return;
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *equals = strchr(line, '=');

        if (!equals || *line == '#' || *line == ';')
            continue;
        *equals = '\0';
        take_unit_line(a, line, equals + 1, u);
    }
}

static void take_drop_ins(struct tw_arena *a, const char *name, struct service_unit *u)
{
    for (size_t i = TW_COUNT_OF(unit_dirs); i-- > 0;) {
        tw_auto_free char *pattern = tw_strf("%s/%s.d/*.conf", unit_dirs[i], name);
        glob_t found;

        if (glob(pattern, 0, NULL, &found) != 0)
            continue;
        for (size_t k = 0; k < found.gl_pathc; k++)
            take_unit_file(a, found.gl_pathv[k], u);
        globfree(&found);
    }
}

/* "start-stop-daemon … --retry QUIT/5", "kill -s QUIT $MAINPID", "nginx -s quit". */
static int signal_of_command(const char *command)
{
    static const char *const before[] = {"--retry ", "--signal ", "kill -s ", "kill -", "-s "};

    for (size_t i = 0; command && i < TW_COUNT_OF(before); i++) {
        const char *at = strstr(command, before[i]);
        int number = 0;

        if (!at)
            continue;
        at += strlen(before[i]);
        if (tw_starts_with(at, "quit"))
            return SIGQUIT;
        if (tw_starts_with(at, "stop"))
            return SIGTERM;
        number = service_signal_number(at);
        if (number)
            return number;
    }
    return 0;
}

bool service_unit_read(struct tw_arena *a, const char *name, struct service_unit *ret)
{
    struct service_unit u = {.name = name, .stop_timeout_s = 90};
    int by_command;

    for (size_t i = 0; name && i < TW_COUNT_OF(unit_dirs) && !u.path; i++) {
        const char *path = tw_arena_printf(a, "%s/%s", unit_dirs[i], name);

        if (access(path, R_OK) == 0)
            u.path = path;
    }
    if (!u.path)
        return false;
    take_unit_file(a, u.path, &u);
    take_drop_ins(a, name, &u);
    by_command = signal_of_command(u.exec_stop);
    if (by_command)
        u.stop_signal = by_command;
    *ret = u;
    return true;
}

/* ---- a program asked ---- */

int service_ask_program(struct tw_arena *a, const char *const *argv, int64_t within_ns,
                        const char **ret_text, int *ret_status, struct tw_err *err)
{
    static const char *const env[] = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    struct tw_child child = {.argv = argv,
                             .env = env,
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .cwd = "/",
                             .deadline_ns = tw_now_ns() + within_ns};
    struct tw_child_result res = {0};
    int r = tw_child_run(&child, &res, err);

    if (r < 0)
        return r;
    *ret_text = tw_arena_printf(a, "%s%s", tw_buf_text(&res.out), tw_buf_text(&res.err));
    if (ret_status)
        *ret_status = res.status;
    tw_child_result_done(&res);
    return 0;
}
