/* The daemon: configuration, its helper, its rights given up, signals, end. */
#include "cmd_internal.h"
#include "config.h"
#include "notify.h"

#include "tw/helper.h"
#include "tw/priv.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Until a signal asks for the end. */
static int wait_for_signal(void)
{
    struct signalfd_siginfo info = {0};
    int every = cmd_watchdog_ms();
    sigset_t set;
    tw_auto_close int fd = -1;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (poll(&p, 1, every) > 0 && read(fd, &info, sizeof(info)) == sizeof(info))
            return (int)info.ssi_signo;
        cmd_notify("WATCHDOG=1");
    }
}

/* Before any thread is made: they all inherit it. */
static void block_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int load(struct cmd_args *args, struct cmd_config *c, struct tw_err *err)
{
    int r = cmd_config_load(args->arena, args->config, c, err);

    if (r < 0)
        return r;
    if (args->listen)
        c->api.listen = args->listen;
    if (args->policy)
        c->api.policy_path = args->policy;
    c->api.state_dir = args->state_dir;
    if (!c->helper_socket && geteuid() != 0 && access(TW_HELPER_SOCKET, R_OK | W_OK) == 0)
        c->helper_socket = TW_HELPER_SOCKET;
    /* targets are paths that root reads: a helper of its own user declares them, not we */
    if (c->helper_socket)
        return 0; /* it does that */
    r = tw_env_declare(args->state_dir, &c->environments, err);
    return r < 0 ? r : tw_env_settle(args->state_dir, err);
}

/* ---- the helper, and what is given up once it stands ---- */

struct serving {
    struct cmd_config config;
    struct tw_owner owner;
    volatile bool lost;
};

#define MOST_THREADS 512
#define REACH_NS     (10 * TW_SEC_NS)

static bool is_low(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;

    return port > 0 && port < 1024;
}

static void limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit l = {most, most};

    (void)setrlimit(what, &l);
}

/* From here on whoever owns this process owns the history and nothing of the host. */
static int settle(void *arg, struct tw_err *err)
{
    struct serving *v = arg;
    const char *key = v->config.api.audit_key;
    tw_auto_free char *dir =
        key && strrchr(key, '/') ? strndup(key, (size_t)(strrchr(key, '/') - key)) : NULL;
    struct tw_err why = {0};

    limit(RLIMIT_CORE, 0);
    if (geteuid() == 0) {
        limit(RLIMIT_NPROC, MOST_THREADS);
        if (tw_helper_narrow(v->config.api.state_dir, dir, &why) < 0)
            tw_log(TW_LOG_WARNING, "the daemon sees all files that its user may see: %s",
                   why.text);
    }
    return tw_priv_settle(v->owner.uid, v->owner.gid, is_low(v->config.api.listen),
                          TW_FILTER_DAEMON, err);
}

static void on_lost(void *arg)
{
    struct serving *v = arg;

    v->lost = true;
    (void)kill(getpid(), SIGTERM);
}

/* Both may have been started at once, or the helper is just coming back. */
static int reach_helper(const char *path, struct tw_helper **ret, struct tw_err *err)
{
    int64_t until = tw_now_ns() + REACH_NS;
    int r;

    do {
        r = tw_helper_connect(path, ret, err);
        if (r == 0 || (r != -ECONNREFUSED && r != -ENOENT && r != -ECONNRESET))
            return r;
        tw_sleep_ns(50 * TW_MSEC_NS);
    } while (tw_now_ns() < until);
    return r;
}

/* One that runs already (two units), or else one of our own. */
static int open_helper(struct cmd_config *c, struct tw_err *err)
{
    tw_auto_free char *most = tw_strf("%d", c->api.max_parallel);
    tw_auto_free char *bytes = tw_strf("%lld", (long long)c->api.memory_bytes);
    const char *argv[] = {
        "twin", "_helper", c->api.state_dir, most, bytes, c->api.policy_path, NULL};

    c->api.reconnect = c->helper_socket;
    return c->helper_socket
               ? reach_helper(c->helper_socket, &c->api.helper, err)
               : tw_helper_start("/proc/self/exe", argv, &c->api.helper, err);
}

static int open_daemon(struct cmd_args *args, struct serving *v, struct tw_api **ret,
                       struct tw_err *err)
{
    struct cmd_config *c = &v->config;
    int r = load(args, c, err);

    if (r == 0)
        r = tw_helper_account(c->user, &v->owner, err);
    if (r == 0)
        r = tw_helper_share(c->api.state_dir, c->api.audit_key, &v->owner, err);
    if (r == 0)
        r = open_helper(c, err);
    if (r < 0)
        return r;
    c->api.settle = settle;
    c->api.lost = on_lost;
    c->api.arg = v;
    return tw_api_open(&c->api, ret, err);
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct serving v = {0};
    struct tw_api *api;
    int r;

    block_signals();
    cmd_notify_open();
    r = open_daemon(args, &v, &api, err);
    if (r < 0)
        return r;
    /* Standard output has the one line that a script waits for. */
    printf("twin serves on %s port %d%s\n", v.config.api.cert_file ? "https" : "http",
           tw_api_port(api), v.config.origin ? "" : ", without a configuration file");
    (void)fflush(stdout);
    cmd_notify("READY=1");
    (void)wait_for_signal();
    cmd_notify("STOPPING=1");
    tw_api_close(api);
    return v.lost ? tw_fail(err, -ECONNRESET,
                            "the privileged helper ended, and without it nothing can be "
                            "simulated; what was accepted is taken up by the next start")
                  : 0;
}

extern const struct cmd cmd_serve;
const struct cmd cmd_serve = {
    .name = "serve",
    .usage = "serve [--config FILE] [--listen ADDRESS:PORT]",
    .summary = "the daemon: HTTP, live stream, queue of simulations",
    .options = " config listen policy ",
    .examples = "examples\n"
                "  twin serve\n"
                "  twin serve --config /etc/twin/twin.yaml --listen 127.0.0.1:8090\n",
    .run = run,
};

static int print_routes(struct cmd_args *args, struct tw_err *err)
{
    tw_auto_buf out = {0};

    (void)args, (void)err;
    tw_buf_init(&out, 1 << 20);
    tw_api_markdown(&out);
    return fputs(tw_buf_text(&out), stdout) < 0 ? CMD_NO_ANSWER : 0;
}

extern const struct cmd cmd_routes;
const struct cmd cmd_routes = {
    .name = "_routes",
    .usage = "_routes",
    .summary = "docs/API_DOCUMENTATION.md",
    .options = " ",
    .hidden = true,
    .run = print_routes,
};
