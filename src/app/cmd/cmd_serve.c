/* The daemon: configuration, start, signals, end. */
#include "cmd_internal.h"
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* systemd's protocol: one datagram to the socket that NOTIFY_SOCKET names. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    tw_auto_close int fd = -1;

    if (!path || !*path || strlen(path) >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (*path == '@')
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

static int watchdog_ms(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    long long us = text ? strtoll(text, NULL, 10) : 0;

    return us > 0 ? (int)(us / 3000) : -1;
}

/* Until a signal asks for the end. */
static int wait_for_signal(void)
{
    struct signalfd_siginfo info = {0};
    int every = watchdog_ms();
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
        notify("WATCHDOG=1");
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
    c->api.worker = getenv("TWIN_WORKER");
    return tw_env_declare(args->state_dir, &c->environments, err);
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct cmd_config c;
    struct tw_api *api;
    int r;

    if (args->rest.count)
        return tw_fail(err, -EINVAL, "twin serve takes no '%s'", args->rest.items[0]);
    block_signals();
    r = load(args, &c, err);
    if (r == 0)
        r = tw_api_open(&c.api, &api, err);
    if (r < 0)
        return r;
    /* Standard output has the one line that a script waits for. */
    printf("twin serves on %s port %d%s\n", c.api.cert_file ? "https" : "http",
           tw_api_port(api), c.origin ? "" : ", without a configuration file");
    (void)fflush(stdout);
    notify("READY=1");
    (void)wait_for_signal();
    notify("STOPPING=1");
    tw_api_close(api);
    return 0;
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
