/* Units of systemd, from its files: works at rest, in a clone, and where systemd does not run. */
#include "host.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first that has the fragment wins; drop-ins of all are read. */
static const char *const unit_dirs[] = {"/etc/systemd/system", "/run/systemd/system",
                                        "/usr/local/lib/systemd/system",
                                        "/lib/systemd/system", "/usr/lib/systemd/system"};
#define DROP_IN "zz-twin-change.conf"
/* systemd's own default: DefaultTimeoutStopSec. */
#define STOP_TIMEOUT_S 90.0

/* ---- values ---- */

static const struct {
    const char *name;
    int number;
} signals[] = {{"SIGTERM", SIGTERM}, {"SIGINT", SIGINT},    {"SIGQUIT", SIGQUIT},
               {"SIGHUP", SIGHUP},   {"SIGUSR1", SIGUSR1},  {"SIGUSR2", SIGUSR2},
               {"SIGKILL", SIGKILL}, {"SIGWINCH", SIGWINCH}};

static int signal_of(const char *text)
{
    for (size_t i = 0; i < TW_COUNT_OF(signals); i++)
        if (strcasecmp(signals[i].name, text) == 0 ||
            strcasecmp(signals[i].name + 3, text) == 0)
            return signals[i].number;
    return atoi(text);
}

/* "1min 30s", "90", "infinity"; 0 means no limit here. */
static double timeout_of(const char *text)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"min", 60}, {"m", 60}, {"h", 3600}, {"s", 1}, {"", 1}};
    double sum = 0;

    if (strcasecmp(text, "infinity") == 0)
        return INFINITY;
    while (*text) {
        char *end;
        double n = strtod(text, &end);
        size_t row = 0;

        if (end == text)
            return NAN;
        end += strspn(end, " ");
        while (strncmp(end, units[row].name, strlen(units[row].name)) != 0)
            row++;
        sum += n * units[row].seconds;
        text = end + strlen(units[row].name);
        text += strcspn(text, " 0123456789");
        text += strspn(text, " ");
    }
    return sum == 0 ? INFINITY : sum;
}

/* "65535", "1024:4096" (soft:hard), "infinity". */
static int64_t files_of(const char *text)
{
    return strncasecmp(text, "infinity", 8) == 0 ? INT64_C(1) << 20
                                                 : strtoll(text, NULL, 10);
}

/* Words of a command line: quotes and backslashes as systemd takes them; "$MAINPID" stays. */
static const char *next_word(struct tw_arena *a, const char **at)
{
    tw_auto_buf word = {0};
    char quote = 0;
    const char *p = *at + strspn(*at, " \t\r\v\f");

    if (!*p)
        return NULL;
    tw_buf_init(&word, 65536);
    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (quote ? *p == quote : (*p == '"' || *p == '\'')) {
            quote = quote ? 0 : *p;
            continue;
        }
        if (*p == '\\' && p[1])
            p++;
        tw_buf_add(&word, p, 1);
    }
    *at = p;
    return tw_arena_strdup(a, tw_buf_text(&word));
}

static void take_exec(struct tw_arena *a, const char *value, struct host_unit *u)
{
    const char *word;

    u->argv.count = 0;
    value += strspn(value, "-@:+!");
    while ((word = next_word(a, &value)))
        TW_PUSH(a, &u->argv, word);
}

static void take_env(struct tw_arena *a, const char *value, struct host_unit *u)
{
    const char *word;

    while ((word = next_word(a, &value)))
        TW_PUSH(a, &u->env, word);
}

/* "start-stop-daemon … --retry QUIT/5", "kill -s QUIT $MAINPID", "nginx -s quit": what the service
 * gets first. 0: the command sends none that is known here. */
static int signal_of_command(const char *command)
{
    static const char *const before[] = {"--retry ", "--retry=", "--signal ",
                                         "kill -s ", "kill -",   " -s "};
    static const struct {
        const char *word;
        int number;
    } verbs[] = {{"quit", SIGQUIT}, {"stop", SIGTERM}};

    for (size_t i = 0; i < TW_COUNT_OF(before); i++) {
        const char *at = strstr(command, before[i]);
        tw_auto_free char *word = NULL;

        if (!at)
            continue;
        at += strlen(before[i]);
        word = strndup(at, strcspn(at, " /;"));
        for (size_t k = 0; k < TW_COUNT_OF(verbs); k++)
            if (tw_streq(verbs[k].word, word))
                return verbs[k].number;
        if (signal_of(word))
            return signal_of(word);
    }
    return 0;
}

/* ---- keys ---- */

enum what {
    EXEC_START,
    EXEC_RELOAD,
    EXEC_STOP,
    ENVIRONMENT,
    DIRECTORY,
    USER,
    GROUP,
    KILL_SIGNAL,
    STOP_TIMEOUT,
    NOFILE,
    TYPE
};
static const struct {
    const char *key;
    enum what what;
    bool settable; /* by a change: what the twin can do as systemd would */
} keys[] = {
    {"ExecStart", EXEC_START, false},
    {"ExecReload", EXEC_RELOAD, false},
    {"ExecStop", EXEC_STOP, false},
    {"Environment", ENVIRONMENT, false},
    {"WorkingDirectory", DIRECTORY, false},
    {"User", USER, false},
    {"Group", GROUP, false},
    {"KillSignal", KILL_SIGNAL, true},
    {"TimeoutStopSec", STOP_TIMEOUT, true},
    {"LimitNOFILE", NOFILE, true},
    {"Type", TYPE, false},
};

static void take(struct tw_arena *a, enum what what, const char *value,
                 struct host_unit *u)
{
    switch (what) {
    case EXEC_START:
        take_exec(a, value, u);
        break;
    case EXEC_RELOAD:
        u->reload = *value ? tw_arena_strdup(a, value) : NULL;
        break;
    case EXEC_STOP:
        u->stop_signal = signal_of_command(value);
        break;
    case ENVIRONMENT:
        take_env(a, value, u);
        break;
    case DIRECTORY:
        u->cwd = tw_arena_strdup(a, value);
        break;
    case USER:
        u->user = tw_arena_strdup(a, value);
        break;
    case GROUP:
        u->group = tw_arena_strdup(a, value);
        break;
    case KILL_SIGNAL:
        u->kill_signal = signal_of(value);
        break;
    case STOP_TIMEOUT:
        u->stop_timeout_s = timeout_of(value);
        break;
    case NOFILE:
        u->nofile = files_of(value);
        break;
    case TYPE:
        u->notify = tw_starts_with(value, "notify");
        u->forking = tw_streq(value, "forking");
        break;
    }
}

static void take_line(struct tw_arena *a, char *line, bool *in_service,
                      struct host_unit *u)
{
    char *equals;

    line += strspn(line, " \t");
    if (*line == '[')
        *in_service = tw_starts_with(line, "[Service]");
    if (*line == '#' || *line == ';' || !*in_service || !(equals = strchr(line, '=')))
        return;
    *equals = '\0';
    for (char *end = equals; end > line && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    equals++;
    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        if (tw_streq(keys[i].key, line))
            take(a, keys[i].what, equals + strspn(equals, " \t"), u);
}

static bool read_unit_file(struct tw_arena *a, const char *root, const char *path,
                           struct host_unit *u)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    tw_auto_free char *text = NULL;
    bool in_service = false;
    char *rest, *more;

    if (tw_read_file(AT_FDCWD, host, 1 << 20, &text, NULL, NULL) < 0)
        return false;
    while ((more = strstr(text, "\\\n"))) /* a line goes on */
        more[0] = more[1] = ' ';
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        take_line(a, line, &in_service, u);
    TW_PUSH(a, &u->files, tw_arena_strdup(a, path));
    return true;
}

static void read_drop_ins(struct tw_arena *a, const char *root, const char *dir,
                          const char *name, struct host_unit *u)
{
    tw_auto_free char *pattern = tw_strf("%s%s/%s.d/*.conf", root, dir, name);
    glob_t found;

    if (host_glob(pattern, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        (void)read_unit_file(a, root, found.gl_pathv[i] + strlen(root), u);
    globfree(&found);
}

bool host_unit_read(struct tw_arena *a, const char *root, const char *name,
                    struct host_unit *ret)
{
    struct host_unit u = {.stop_timeout_s = STOP_TIMEOUT_S};
    bool found = false;

    u.name = strchr(name, '.') ? tw_arena_strdup(a, name)
                               : tw_arena_printf(a, "%s.service", name);
    for (size_t i = 0; i < TW_COUNT_OF(unit_dirs) && !found; i++)
        found = read_unit_file(a, root, tw_arena_printf(a, "%s/%s", unit_dirs[i], u.name),
                               &u);
    for (size_t i = TW_COUNT_OF(unit_dirs); i-- > 0;)
        read_drop_ins(a, root, unit_dirs[i], u.name, &u);
    *ret = u;
    return u.files.count > 0;
}

/* ---- which unit runs a program ---- */

static bool runs(const struct host_unit *u, const char *program, const char *config)
{
    const char *slash = u->argv.count ? strrchr(u->argv.items[0], '/') : NULL;
    bool named = !config;

    if (!slash || !tw_streq(slash + 1, program))
        return false;
    for (size_t i = 1; i < u->argv.count && !named; i++)
        named = tw_streq(u->argv.items[i], config);
    return named;
}

bool host_unit_running(struct tw_arena *a, const char *program, const char *config,
                       struct host_unit *ret)
{
    bool found = false;

    /* The packages of an image bring units that nobody starts. */
    for (size_t i = 0; i < TW_COUNT_OF(unit_dirs) && !found && !host_is_away(); i++) {
        DIR *dir = opendir(unit_dirs[i]);

        for (struct dirent *e; dir && !found && (e = readdir(dir));)
            found = tw_ends_with(e->d_name, ".service") && !strchr(e->d_name, '@') &&
                    host_unit_read(a, "", e->d_name, ret) && runs(ret, program, config);
        if (dir)
            (void)closedir(dir);
    }
    return found;
}

/* ---- changes of a unit ---- */

static const char *plain_name(const char *name)
{
    return tw_starts_with(name, "unit.") ? name + 5 : name;
}

bool host_unit_is_setting(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        if (keys[i].settable && tw_streq(keys[i].key, plain_name(name)))
            return true;
    return false;
}

int host_unit_set(struct tw_arena *a, const char *root, const char *unit,
                  const char *name, const char *value, unsigned uid, unsigned gid,
                  struct tw_err *err)
{
    const char *path = tw_arena_printf(a, "/etc/systemd/system/%s.d/" DROP_IN,
                                       unit ? unit : "twin.service");
    const char *old = host_text(a, root, path);

    return host_put_file(root, path,
                         tw_arena_printf(a, "%s%s=%s\n", *old ? old : "[Service]\n",
                                         plain_name(name), value ? value : ""),
                         0644, uid, gid, err);
}

int host_describe(struct tw_arena *a, const struct host_process *p,
                  const struct host_unit *u, struct tw_snapshot *s, struct tw_err *err)
{
    int r = 0;

    if (u) {
        s->unit = u->name;
        s->stop_timeout_s = u->stop_timeout_s;
        s->stop_signal = u->stop_signal ? u->stop_signal : u->kill_signal;
        s->nofile = u->nofile;
        for (size_t i = 0; i < u->files.count && r == 0; i++)
            r = host_add_file(a, u->files.items[i], s, err);
    }
    if (p) {
        s->program = p->exe;
        s->nofile = p->nofile;
        s->connections_used = p->connections;
        s->owner_uid = p->uid;
        s->owner_gid = p->gid;
        s->owner_name = p->user;
        for (size_t i = 0; i < p->listens.count; i++)
            TW_PUSH(a, &s->endpoints, p->listens.items[i]);
    }
    return r;
}

void host_launch_limits(struct tw_arena *a, const struct tw_access *access,
                        struct tw_launch *launch)
{
    const struct tw_snapshot *s = access->snapshot;
    struct host_unit u;
    bool there = host_unit_read(a, access->root, s->unit ? s->unit : "twin", &u);

    launch->nofile = there && u.nofile ? u.nofile : s->nofile;
    if (there && u.stop_signal)
        launch->stop_signal = u.stop_signal;
    else if (there && u.kill_signal)
        launch->stop_signal = u.kill_signal;
    else if (s->stop_signal)
        launch->stop_signal = s->stop_signal;
}
