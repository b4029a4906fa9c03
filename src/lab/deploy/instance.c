/* One instance of a version: its sandbox, its process, what it prints. */
#include "tw/deploy.h"

#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_S  1.0
#define EVERY_NS (5 * TW_MSEC_NS)

struct tw_instance {
    struct tw_instance_spec spec; /* texts borrowed */
    struct tw_priv *priv;
    struct tw_sandbox *box;
    struct tw_site site;
    int log_fd, handle;
    bool started, ended;
    int exit_status;
    int64_t begun_ns;
    double start_s;
};

/* ---- commands beside it ---- */

/* Programs are found by the shell of the container where they are no paths. */
static const char *const *argv_of(struct tw_arena *a, const char *const *argv)
{
    size_t n = 0;
    const char **all;

    while (argv[n])
        n++;
    if (argv[0][0] == '/')
        return argv;
    all = tw_arena_alloc(a, (n + 4) * sizeof(char *));
    all[0] = "/bin/sh";
    all[1] = "-c";
    all[2] = "exec \"$0\" \"$@\"";
    memcpy(all + 3, argv, n * sizeof(char *));
    return all;
}

static const char *const *env_of(struct tw_arena *a, const struct tw_instance *i)
{
    const char **env = tw_arena_alloc(a, (i->spec.env.count + 1) * sizeof(char *));

    for (size_t k = 0; k < i->spec.env.count; k++)
        env[k] = i->spec.env.items[k];
    return i->spec.env.count ? env : NULL;
}

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status)     ? WEXITSTATUS(wait_status)
           : WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
                                      : -1;
}

static void read_back(int fd, struct tw_buf *out)
{
    char part[4096];
    off_t at = 0;
    ssize_t n;

    while ((n = pread(fd, part, sizeof(part), at)) > 0 && !out->overflow) {
        tw_buf_add(out, part, (size_t)n);
        at += n;
    }
}

static int run_inside(void *arg, const char *const *argv, int64_t deadline_ns,
                      struct tw_buf *out, int *ret_status, struct tw_err *err)
{
    struct tw_instance *i = arg;
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_close int fd = memfd_create("output", MFD_CLOEXEC);
    struct tw_process_spec p = {.argv = argv_of(a, argv),
                                .env = env_of(a, i),
                                .cwd = i->spec.cwd,
                                .stdin_fd = -1,
                                .stdout_fd = fd,
                                .stderr_fd = fd};
    int handle, status = 0;
    int r = tw_sandbox_start(i->box, &p, &handle, err);

    if (r == 0)
        r = tw_sandbox_wait(i->box, handle, deadline_ns, &status, err);
    if (r == -ETIMEDOUT) {
        (void)tw_sandbox_signal(i->box, handle, SIGKILL, NULL);
        (void)tw_sandbox_wait(i->box, handle, tw_now_ns() + TW_SEC_NS, &status, NULL);
        return tw_fail(err, r, "it did not end in time");
    }
    if (r < 0)
        return r;
    *ret_status = status_of(status);
    read_back(fd, out);
    return 0;
}

/* ---- life ---- */

int tw_instance_open(struct tw_priv *priv, const struct tw_instance_spec *spec,
                     struct tw_instance **ret, struct tw_err *err)
{
    struct tw_instance *i = tw_alloc(sizeof(*i));
    int r;

    *i = (struct tw_instance){
        .spec = *spec, .priv = priv, .exit_status = -1, .start_s = NAN};
    i->log_fd = memfd_create("log", MFD_CLOEXEC);
    r = tw_sandbox_open(priv, &i->spec.box, &i->box, err);
    if (r < 0) {
        tw_instance_close(i);
        return r;
    }
    i->site = (struct tw_site){.priv = priv,
                               .netns = tw_sandbox_netns(i->box),
                               .address = spec->address ? spec->address : "127.0.0.1",
                               .port = spec->port,
                               .run = run_inside,
                               .arg = i};
    i->site.hosts.items = i->spec.hosts.items;
    i->site.hosts.count = i->spec.hosts.count;
    *ret = i;
    return 0;
}

void tw_instance_close(struct tw_instance *i)
{
    if (!i)
        return;
    tw_sandbox_close(i->box);
    tw_close_p(&i->log_fd);
    free(i);
}

int tw_instance_start(struct tw_instance *i, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_process_spec p = {.env = env_of(a, i),
                                .cwd = i->spec.cwd,
                                .stdin_fd = -1,
                                .stdout_fd = i->log_fd,
                                .stderr_fd = i->log_fd};
    const char **argv = tw_arena_alloc(a, (i->spec.argv.count + 1) * sizeof(char *));
    int r;

    for (size_t k = 0; k < i->spec.argv.count; k++)
        argv[k] = i->spec.argv.items[k];
    p.argv = argv;
    i->begun_ns = tw_now_ns();
    r = i->spec.boot ? tw_sandbox_boot(i->box, i->log_fd, i->log_fd, &i->handle, err)
                     : tw_sandbox_start(i->box, &p, &i->handle, err);
    i->started = r == 0;
    return r;
}

bool tw_instance_running(struct tw_instance *i)
{
    int status = 0;

    if (!i->started || i->ended)
        return false;
    if (tw_sandbox_wait(i->box, i->handle, 0, &status, NULL) == 0) {
        i->ended = true;
        i->exit_status = status_of(status);
    }
    return !i->ended;
}

int tw_instance_health(struct tw_instance *i, struct tw_arena *a, double within_s,
                       const char **ret_words)
{
    const char *shell[] = {"/bin/sh", "-c", NULL, NULL};
    const char **argv = tw_arena_alloc(a, (i->spec.health.count + 1) * sizeof(char *));
    tw_auto_buf out = {0};
    struct tw_err err = {0};
    int status = -1;
    int64_t deadline = tw_now_ns() + (int64_t)(within_s * 1e9);

    if (i->spec.health.count < 2)
        return -1;
    for (size_t k = 1; k < i->spec.health.count; k++)
        argv[k - 1] = i->spec.health.items[k];
    shell[2] = argv[0];
    tw_buf_init(&out, 1 << 16);
    if (run_inside(i, tw_streq(i->spec.health.items[0], "CMD-SHELL") ? shell : argv,
                   deadline, &out, &status, &err) < 0)
        tw_buf_puts(&out, err.text);
    if (ret_words)
        *ret_words = out.len ? tw_arena_strdup(a, tw_buf_text(&out))
                             : tw_arena_printf(a, "exit status %d", status);
    return status == 0;
}

/* Some answer by HTTP, whatever it says; a service of another protocol hangs up or says nothing. */
static bool answers(struct tw_instance *i)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_ask ask = {.method = "GET", .path = "/", .within_s = PROBE_S};
    struct tw_wire line;
    struct tw_reply reply;
    bool open;

    if (!i->site.port)
        return tw_instance_health(i, a, PROBE_S, NULL) != 0;
    tw_wire_init(&line, &i->site, 0);
    open = tw_wire_connect(&line, tw_now_ns() + (int64_t)(PROBE_S * 1e9)) == NULL;
    if (open)
        tw_wire_ask(&line, a, &ask, &reply);
    tw_wire_done(&line);
    return open && (reply.status || tw_instance_health(i, a, PROBE_S, NULL) != 0);
}

bool tw_instance_wait(struct tw_instance *i, int64_t deadline_ns)
{
    do {
        if (!tw_instance_running(i))
            return false;
        if (answers(i)) {
            i->start_s = tw_seconds(tw_now_ns() - i->begun_ns);
            return true;
        }
        tw_sleep_ns(EVERY_NS);
    } while (tw_now_ns() < deadline_ns);
    return false;
}

void tw_instance_stop(struct tw_instance *i, double patience_s, struct tw_stopped *ret)
{
    int64_t begun = tw_now_ns();
    int status = 0;

    *ret = (struct tw_stopped){NAN, -1};
    if (!tw_instance_running(i)) {
        ret->exit_status = i->exit_status;
        return;
    }
    (void)tw_sandbox_signal(i->box, i->handle,
                            i->spec.stop_signal ? i->spec.stop_signal : SIGTERM, NULL);
    if (tw_sandbox_wait(i->box, i->handle, begun + (int64_t)(patience_s * 1e9), &status,
                        NULL) == 0) {
        ret->seconds = tw_seconds(tw_now_ns() - begun);
        i->ended = true;
        i->exit_status = ret->exit_status = status_of(status);
        return;
    }
    (void)tw_sandbox_signal(i->box, i->handle, SIGKILL, NULL);
    (void)tw_sandbox_wait(i->box, i->handle, tw_now_ns() + 5 * TW_SEC_NS, &status, NULL);
    i->ended = true;
}

/* ---- what it tells ---- */

double tw_instance_start_s(const struct tw_instance *i)
{
    return i ? i->start_s : NAN;
}

int tw_instance_exit(const struct tw_instance *i)
{
    return i->exit_status;
}

double tw_instance_memory(struct tw_instance *i)
{
    struct tw_usage u;

    if (tw_sandbox_usage(i->box, &u, NULL) < 0)
        return NAN;
    return isnan(u.anon_bytes) ? u.memory_bytes : u.anon_bytes;
}

int64_t tw_instance_log_bytes(const struct tw_instance *i)
{
    struct stat st;

    return fstat(i->log_fd, &st) == 0 ? st.st_size : 0;
}

static char *log_part(const struct tw_instance *i, struct tw_arena *a, int64_t from,
                      size_t len)
{
    char *text = tw_arena_alloc(a, len + 1);
    ssize_t n = pread(i->log_fd, text, len, from);

    text[n > 0 ? n : 0] = '\0';
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
    return text;
}

const char *tw_instance_log_ends(struct tw_instance *i, struct tw_arena *a, size_t most)
{
    int64_t len = tw_instance_log_bytes(i);
    size_t begin = most / 3;

    if (len <= (int64_t)most)
        return log_part(i, a, 0, most);
    return tw_arena_printf(a, "%s\n…\n%s", log_part(i, a, 0, begin),
                           log_part(i, a, len - (int64_t)(most - begin), most - begin));
}

const struct tw_site *tw_instance_site(const struct tw_instance *i)
{
    return &i->site;
}

struct tw_sandbox *tw_instance_box(struct tw_instance *i)
{
    return i->box;
}
