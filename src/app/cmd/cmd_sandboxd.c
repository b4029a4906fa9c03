/* The privileged helper: as a service of its own, and as the child of a daemon that was started alone. */
#include "cmd_internal.h"
#include "config.h"
#include "notify.h"

#include "tw/helper.h"
#include "tw/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BESIDE 16 /* looks at targets and who follows them, beside the simulations */

static void on_ready(void *arg)
{
    (void)arg;
    cmd_notify("READY=1");
}

static void on_tick(void *arg)
{
    (void)arg;
    cmd_notify("WATCHDOG=1");
}

/* A socket below a directory that only we may change. */
static int make_place(const char *socket_path, struct tw_err *err)
{
    const char *slash = strrchr(socket_path, '/');
    tw_auto_free char *dir = slash && slash > socket_path
                                 ? strndup(socket_path, (size_t)(slash - socket_path))
                                 : NULL;

    if (*socket_path != '/')
        return tw_fail(err, -EINVAL, "'%s': an absolute path was expected", socket_path);
    return dir ? tw_make_dirs(dir, 0755, err) : 0;
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct cmd_config c;
    int removed = 0;
    struct tw_helper_options o = {.state_dir = args->state_dir,
                                  .program = getenv("TWIN_WORKER"),
                                  .verbs = tw_worker_verbs(),
                                  .waiting = tw_worker_waiting(),
                                  .socket_path = TW_HELPER_SOCKET,
                                  .connection = -1,
                                  .ready = on_ready,
                                  .tick = on_tick,
                                  .tick_ms = cmd_watchdog_ms()};
    int r = cmd_config_load(args->arena, args->config, &c, err);

    cmd_notify_open();
    if (r == 0)
        r = tw_helper_account(c.user, &o.daemon, err);
    if (r == 0)
        r = tw_env_declare(args->state_dir, &c.environments, err);
    if (r == 0)
        r = tw_env_settle(args->state_dir, err);
    if (r == 0)
        r = tw_helper_share(args->state_dir, c.api.audit_key, &o.daemon, err);
    if (c.helper_socket)
        o.socket_path = c.helper_socket;
    if (r == 0)
        r = make_place(o.socket_path, err);
    if (r < 0)
        return r;
    o.policy_path = args->policy ? args->policy : c.api.policy_path;
    o.max_workers = c.api.max_parallel + BESIDE;
    o.memory_bytes = c.api.memory_bytes;
    (void)tw_sandbox_reap(o.state_dir, &removed, NULL);
    return tw_helper_serve(&o, err);
}

extern const struct cmd cmd_sandboxd;
const struct cmd cmd_sandboxd = {
    .name = "sandboxd",
    .usage = "sandboxd [--config FILE]",
    .summary = "the privileged helper of a daemon that runs as another user",
    .options = " config policy state-dir ",
    .examples = "examples\n"
                "  twin sandboxd --config /etc/twin/twin.yaml\n"
                "  (twin serve, started alone as root, has one of its own)\n",
    .run = run,
};

/* ---- the child of a daemon: descriptor 3 is its connection ---- */

static int run_child(int argc, char **argv)
{
    struct tw_helper_options o = {.program = getenv("TWIN_WORKER"),
                                  .verbs = tw_worker_verbs(),
                                  .waiting = tw_worker_waiting(),
                                  .connection = 3,
                                  .tick_ms = -1};
    struct tw_err err = {0};
    struct stat st;
    int64_t most;
    int removed = 0, r;

    if (argc < 4 || tw_parse_int64(argv[2], &most, NULL) < 0 ||
        tw_parse_int64(argv[3], &o.memory_bytes, NULL) < 0 || fstat(3, &st) < 0 ||
        !S_ISSOCK(st.st_mode)) {
        fprintf(stderr, "twin: _helper is started by twin serve alone\n");
        return CMD_BAD_INPUT;
    }
    o.state_dir = argv[1];
    o.max_workers = (int)most + BESIDE;
    o.policy_path = argc > 4 ? argv[4] : NULL;
    (void)tw_sandbox_reap(o.state_dir, &removed, NULL);
    r = tw_helper_serve(&o, &err);
    if (r < 0)
        tw_log(TW_LOG_ERROR, "sandboxd: %s", err.text);
    return r < 0 ? CMD_NO_ANSWER : 0;
}

extern const struct cmd cmd_helper;
const struct cmd cmd_helper = {
    .name = "_helper",
    .usage = "_helper STATE_DIR WORKERS BYTES [POLICY]",
    .summary = "the privileged helper of one daemon",
    .options = " ",
    .hidden = true,
    .raw = true,
    .run_raw = run_child,
};
