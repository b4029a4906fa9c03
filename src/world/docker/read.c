/* The Engine's JSON read into what the program reasons about: a row per field, names as in the API. */
#include "docker_internal.h"

#include <math.h>
#include <string.h>

enum kind { TEXT, NUMBER, SIZE, FLAG, TEXTS, PAIRS, NANOS, SECONDS };
struct row {
    const char *path; /* "HostConfig/Memory" */
    enum kind kind;
    size_t offset;
};

#define AT(member) offsetof(struct tw_docker_container, member)
static const struct row rows[] = {
    {"Id", TEXT, AT(id)},
    {"Config/Image", TEXT, AT(image)},
    {"Image", TEXT, AT(image_id)},
    {"Created", TEXT, AT(created_at)},
    {"State/Status", TEXT, AT(status)},
    {"State/Health/Status", TEXT, AT(health)},
    {"State/StartedAt", TEXT, AT(started_at)},
    {"State/Pid", NUMBER, AT(pid)},
    {"State/ExitCode", NUMBER, AT(exit_status)},
    {"State/OOMKilled", FLAG, AT(oom_killed)},
    {"RestartCount", NUMBER, AT(restarts)},
    {"Config/User", TEXT, AT(user)},
    {"Config/WorkingDir", TEXT, AT(cwd)},
    {"Config/Hostname", TEXT, AT(hostname)},
    {"Config/StopSignal", TEXT, AT(stop_signal)},
    {"Config/StopTimeout", SECONDS, AT(stop_grace_s)},
    {"Config/Tty", FLAG, AT(tty)},
    {"Config/Env", PAIRS, AT(env)},
    {"Config/Labels", PAIRS, AT(labels)},
    {"Config/Healthcheck/Test", TEXTS, AT(health_test)},
    {"Config/Healthcheck/Interval", NANOS, AT(health_interval_s)},
    {"Config/Healthcheck/Timeout", NANOS, AT(health_timeout_s)},
    {"Config/Healthcheck/StartPeriod", NANOS, AT(health_start_s)},
    {"Config/Healthcheck/Retries", NUMBER, AT(health_retries)},
    {"HostConfig/Memory", SIZE, AT(memory_bytes)},
    {"HostConfig/MemorySwap", SIZE, AT(swap_bytes)},
    {"HostConfig/ShmSize", SIZE, AT(shm_bytes)},
    {"HostConfig/PidsLimit", SIZE, AT(pids)},
    {"HostConfig/CpuShares", SIZE, AT(cpu_shares)},
    {"HostConfig/CpusetCpus", TEXT, AT(cpuset)},
    {"HostConfig/RestartPolicy/Name", TEXT, AT(restart_policy)},
    {"HostConfig/RestartPolicy/MaximumRetryCount", NUMBER, AT(restart_max)},
    {"HostConfig/CapAdd", TEXTS, AT(cap_add)},
    {"HostConfig/CapDrop", TEXTS, AT(cap_drop)},
    {"HostConfig/SecurityOpt", TEXTS, AT(security)},
    {"HostConfig/Sysctls", PAIRS, AT(sysctls)},
    {"HostConfig/NetworkMode", TEXT, AT(network_mode)},
    {"HostConfig/PidMode", TEXT, AT(pid_mode)},
    {"HostConfig/IpcMode", TEXT, AT(ipc_mode)},
    {"HostConfig/UsernsMode", TEXT, AT(user_mode)},
    {"HostConfig/LogConfig/Type", TEXT, AT(log_driver)},
    {"HostConfig/Privileged", FLAG, AT(privileged)},
    {"HostConfig/ReadonlyRootfs", FLAG, AT(read_only)},
    {"HostConfig/Init", FLAG, AT(init)},
};

/* NULL where a step is missing. */
static const json_t *at(const json_t *json, const char *path)
{
    while (json && *path) {
        size_t n = strcspn(path, "/");
        tw_auto_free char *key = tw_strf("%.*s", (int)n, path);

        json = json_object_get(json, key);
        path += n + (path[n] == '/');
    }
    return json;
}

/* Empty is as good as absent to the Engine. */
static const char *text(struct tw_arena *a, const json_t *json)
{
    const char *s = json_string_value(json);

    return s && *s ? tw_arena_strdup(a, s) : NULL;
}

static void read_texts(struct tw_arena *a, const json_t *json, void *to)
{
    __typeof__(((struct tw_docker_words *)0)->list) *list = to;
    size_t i;
    json_t *item;

    /* A command may be one text. */
    if (json_is_string(json))
        TW_PUSH(a, list, tw_arena_strdup(a, json_string_value(json)));
    json_array_foreach (json, i, item)
        if (json_is_string(item))
            TW_PUSH(a, list, tw_arena_strdup(a, json_string_value(item)));
}

/* ["NAME=VALUE"] or {"NAME": "VALUE"}. */
static void read_pairs(struct tw_arena *a, const json_t *json, void *to)
{
    __typeof__(((struct tw_docker_container *)0)->env) *list = to;
    const char *key;
    size_t i;
    json_t *item;

    json_array_foreach (json, i, item) {
        const char *s = json_string_value(item);
        const char *equals = s ? strchr(s, '=') : NULL;

        if (s)
            TW_PUSH(a, list,
                    ((struct tw_docker_pair){
                        .name = equals ? tw_arena_strndup(a, s, (size_t)(equals - s))
                                       : tw_arena_strdup(a, s),
                        .value = equals ? tw_arena_strdup(a, equals + 1) : NULL}));
    }
    if (json_is_object(json))
        json_object_foreach ((json_t *)(uintptr_t)json, key, item)
            TW_PUSH(a, list,
                    ((struct tw_docker_pair){
                        .name = tw_arena_strdup(a, key),
                        .value = tw_arena_strdup(a, json_string_value(item))}));
}

static void read_row(struct tw_arena *a, const struct row *row, const json_t *json,
                     void *to)
{
    bool number = json_is_number(json);

    switch (row->kind) {
    case TEXT:
        *(const char **)to = text(a, json);
        break;
    case FLAG:
        *(bool *)to = json_is_true(json);
        break;
    case NUMBER:
        *(int *)to = (int)json_integer_value(json);
        break;
    case SIZE:
        *(int64_t *)to = json_integer_value(json);
        break;
    case SECONDS:
        *(double *)to = number ? json_number_value(json) : NAN;
        break;
    case NANOS: /* 0: inherited */
        *(double *)to =
            number && json_number_value(json) > 0 ? json_number_value(json) / 1e9 : NAN;
        break;
    case TEXTS:
        read_texts(a, json, to);
        break;
    case PAIRS:
        read_pairs(a, json, to);
        break;
    }
}

static const char *pair(const struct tw_docker_container *c, const char *label)
{
    for (size_t i = 0; i < c->labels.count; i++)
        if (tw_streq(c->labels.items[i].name, label))
            return c->labels.items[i].value;
    return NULL;
}

static void read_argv(struct tw_arena *a, const json_t *json,
                      struct tw_docker_container *c)
{
    const char *program = text(a, at(json, "Path"));

    if (program)
        TW_PUSH(a, &c->argv, program);
    read_texts(a, at(json, "Args"), &c->argv);
}

/* --cpus, or a quota of a period; whichever is set. */
static double read_cpus(const json_t *json)
{
    double nano = json_number_value(at(json, "HostConfig/NanoCpus"));
    double quota = json_number_value(at(json, "HostConfig/CpuQuota"));
    double period = json_number_value(at(json, "HostConfig/CpuPeriod"));

    if (nano > 0)
        return nano / 1e9;
    return quota > 0 ? quota / (period > 0 ? period : 100000) : INFINITY;
}

static void read_mounts(struct tw_arena *a, const json_t *list,
                        struct tw_docker_container *c)
{
    size_t i;
    json_t *m;

    json_array_foreach (list, i, m) {
        struct tw_docker_mount mount = {.type = text(a, at(m, "Type")),
                                        .name = text(a, at(m, "Name")),
                                        .source = text(a, at(m, "Source")),
                                        .destination = text(a, at(m, "Destination")),
                                        .driver = text(a, at(m, "Driver")),
                                        .writable = json_is_true(at(m, "RW"))};

        TW_PUSH(a, &c->mounts, mount);
    }
}

/* --tmpfs stands elsewhere than the other mounts. */
static void read_tmpfs(struct tw_arena *a, const json_t *map,
                       struct tw_docker_container *c)
{
    const char *where;
    json_t *options;

    if (json_is_object(map))
        json_object_foreach ((json_t *)(uintptr_t)map, where, options)
            TW_PUSH(a, &c->mounts,
                    ((struct tw_docker_mount){.type = "tmpfs",
                                              .destination = tw_arena_strdup(a, where),
                                              .writable = true}));
}

static void read_networks(struct tw_arena *a, const json_t *map,
                          struct tw_docker_container *c)
{
    const char *name;
    json_t *n;

    if (!json_is_object(map))
        return;
    json_object_foreach ((json_t *)(uintptr_t)map, name, n) {
        struct tw_docker_link link = {.network = tw_arena_strdup(a, name),
                                      .address = text(a, at(n, "IPAddress")),
                                      .gateway = text(a, at(n, "Gateway"))};

        read_texts(a, at(n, "Aliases"), &link.aliases);
        TW_PUSH(a, &c->networks, link);
    }
}

/* "80/tcp", "53/udp". */
static bool read_port(struct tw_arena *a, const char *text, struct tw_docker_port *ret)
{
    const char *slash = strchrnul(text, '/');
    tw_auto_free char *digits = tw_strf("%.*s", (int)(slash - text), text);
    int64_t port;

    if (tw_parse_int64(digits, &port, NULL) < 0 || port < 1 || port > 65535)
        return false;
    *ret = (struct tw_docker_port){
        .port = (int)port, .protocol = tw_arena_strdup(a, *slash ? slash + 1 : "tcp")};
    return true;
}

static void read_ports(struct tw_arena *a, const json_t *map,
                       struct tw_docker_container *c)
{
    const char *name;
    json_t *published, *p;
    size_t i;

    if (!json_is_object(map))
        return;
    json_object_foreach ((json_t *)(uintptr_t)map, name, published) {
        struct tw_docker_port port;
        int64_t host_port = 0;

        if (!read_port(a, name, &port))
            continue;
        if (json_array_size(published) == 0)
            TW_PUSH(a, &c->ports, port);
        json_array_foreach (published, i, p) {
            const char *digits = json_string_value(at(p, "HostPort"));

            (void)tw_parse_int64(digits ? digits : "", &host_port, NULL);
            port.host_address = text(a, at(p, "HostIp"));
            port.host_address = port.host_address ? port.host_address : "0.0.0.0";
            port.host_port = (int)host_port;
            TW_PUSH(a, &c->ports, port);
        }
    }
}

static void read_ulimits(struct tw_arena *a, const json_t *list,
                         struct tw_docker_container *c)
{
    size_t i;
    json_t *u;

    json_array_foreach (list, i, u) {
        struct tw_docker_ulimit limit = {.name = text(a, at(u, "Name")),
                                         .soft = json_integer_value(at(u, "Soft")),
                                         .hard = json_integer_value(at(u, "Hard"))};

        if (limit.name)
            TW_PUSH(a, &c->ulimits, limit);
    }
}

int tw_docker_container_read(struct tw_arena *a, const json_t *inspected,
                             struct tw_docker_container *ret, struct tw_err *err)
{
    struct tw_docker_container c = {.cpus = read_cpus(inspected)};
    const char *name = text(a, at(inspected, "Name"));
    size_t i;
    json_t *device;

    for (i = 0; i < TW_COUNT_OF(rows); i++)
        read_row(a, &rows[i], at(inspected, rows[i].path), (char *)&c + rows[i].offset);
    if (!c.id || !name || !c.image_id || !c.status)
        return tw_fail(
            err, -EPROTO,
            "the inspection of a container lacks its id, name, image or state");
    c.name = name + (*name == '/');
    c.project = pair(&c, "com.docker.compose.project");
    c.service = pair(&c, "com.docker.compose.service");
    c.number = pair(&c, "com.docker.compose.container-number");
    if (!at(inspected, "RestartCount"))
        c.restarts = -1;
    if (tw_streq(c.status, "running") || tw_streq(c.status, "created"))
        c.exit_status = -1;
    read_argv(a, inspected, &c);
    read_mounts(a, at(inspected, "Mounts"), &c);
    read_tmpfs(a, at(inspected, "HostConfig/Tmpfs"), &c);
    read_networks(a, at(inspected, "NetworkSettings/Networks"), &c);
    read_ports(a, at(inspected, "NetworkSettings/Ports"), &c);
    read_ulimits(a, at(inspected, "HostConfig/Ulimits"), &c);
    json_array_foreach (at(inspected, "HostConfig/Devices"), i, device) {
        const char *path = text(a, at(device, "PathOnHost"));

        if (path)
            TW_PUSH(a, &c.devices, path);
    }
    *ret = c;
    return 0;
}

/* ---- what a clone must never be given ---- */

static bool names_host(const char *mode)
{
    return tw_streq(mode, "host") || (mode && tw_starts_with(mode, "container:"));
}

static bool is_engine_socket(const struct tw_docker_mount *m)
{
    const char *paths[] = {m->source, m->destination};

    for (size_t i = 0; i < TW_COUNT_OF(paths); i++)
        if (paths[i] && (tw_ends_with(paths[i], "docker.sock") ||
                         tw_ends_with(paths[i], "containerd.sock") ||
                         tw_ends_with(paths[i], "podman.sock")))
            return true;
    return false;
}

void tw_docker_container_dangers(struct tw_arena *a, const struct tw_docker_container *c,
                                 struct tw_docker_words *ret)
{
    const struct {
        bool has;
        const char *words;
    } plain[] = {
        {c->privileged, "is privileged"},
        {names_host(c->network_mode),
         "shares the network of the host or of another container"},
        {names_host(c->pid_mode),
         "sees the processes of the host or of another container"},
        {names_host(c->ipc_mode), "shares memory with the host or another container"},
        {tw_streq(c->user_mode, "host"), "is outside the Engine's user namespace"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(plain); i++)
        if (plain[i].has)
            TW_PUSH(a, &ret->list, plain[i].words);
    for (size_t i = 0; i < c->mounts.count; i++) {
        const struct tw_docker_mount *m = &c->mounts.items[i];

        if (is_engine_socket(m))
            TW_PUSH(a, &ret->list,
                    "mounts the socket of the Engine, and so is root of the host");
        else if (tw_streq(m->type, "bind"))
            TW_PUSH(a, &ret->list,
                    tw_arena_printf(a, "mounts '%s' of the host%s",
                                    m->source ? m->source : "?",
                                    m->writable ? ", and may write there" : ""));
    }
    for (size_t i = 0; i < c->devices.count; i++)
        TW_PUSH(a, &ret->list,
                tw_arena_printf(a, "uses the device '%s'", c->devices.items[i]));
    for (size_t i = 0; i < c->cap_add.count; i++)
        TW_PUSH(
            a, &ret->list,
            tw_arena_printf(a, "has the further capability '%s'", c->cap_add.items[i]));
    for (size_t i = 0; i < c->sysctls.count; i++)
        TW_PUSH(a, &ret->list,
                tw_arena_printf(a, "sets '%s' of the kernel", c->sysctls.items[i].name));
    for (size_t i = 0; i < c->security.count; i++)
        if (strstr(c->security.items[i], "unconfined") ||
            tw_starts_with(c->security.items[i], "label:disable") ||
            tw_starts_with(c->security.items[i], "label=disable"))
            TW_PUSH(a, &ret->list,
                    tw_arena_printf(a, "runs with '%s'", c->security.items[i]));
}

/* ---- statistics ---- */

static double number(const json_t *json, const char *path)
{
    const json_t *n = at(json, path);

    return json_is_number(n) ? json_number_value(n) : NAN;
}

static double sum_networks(const json_t *map, const char *key)
{
    double sum = json_is_object(map) ? 0 : NAN;
    const char *name;
    json_t *n;

    if (json_is_object(map))
        json_object_foreach ((json_t *)(uintptr_t)map, name, n)
            sum += json_number_value(json_object_get(n, key));
    return sum;
}

/* "Read" of cgroup v1, "read" of v2. */
static double sum_blocks(const json_t *list, const char *op)
{
    double sum = json_is_array(list) ? 0 : NAN;
    size_t i;
    json_t *b;

    json_array_foreach (list, i, b) {
        const char *name = json_string_value(json_object_get(b, "op"));

        if (name && strcasecmp(name, op) == 0)
            sum += json_number_value(json_object_get(b, "value"));
    }
    return sum;
}

/* As `docker stats` counts: the inactive file pages are what the kernel takes back first. */
static double used_memory(const json_t *stats)
{
    double used = number(stats, "memory_stats/usage");
    double v1 = number(stats, "memory_stats/stats/total_inactive_file");
    double v2 = number(stats, "memory_stats/stats/inactive_file");
    double file = isnan(v1) ? v2 : v1;

    return isnan(file) || file > used ? used : used - file;
}

int tw_docker_stats_read(const json_t *stats, struct tw_docker_stats *ret,
                         struct tw_err *err)
{
    const json_t *blocks = at(stats, "blkio_stats/io_service_bytes_recursive");
    double cpu = number(stats, "cpu_stats/cpu_usage/total_usage");
    double user = number(stats, "cpu_stats/cpu_usage/usage_in_usermode");

    if (!json_is_object(at(stats, "cpu_stats")))
        return tw_fail(err, -EPROTO, "the statistics of a container lack its CPU");
    *ret = (struct tw_docker_stats){
        .cpu_s = cpu / 1e9,
        .throttled_s = number(stats, "cpu_stats/throttling_data/throttled_time") / 1e9,
        .user_share = cpu > 0 ? user / cpu : NAN,
        .memory_bytes = used_memory(stats),
        .memory_limit_bytes = number(stats, "memory_stats/limit"),
        .memory_max_bytes = number(stats, "memory_stats/max_usage"),
        .received_bytes = sum_networks(at(stats, "networks"), "rx_bytes"),
        .sent_bytes = sum_networks(at(stats, "networks"), "tx_bytes"),
        .read_bytes = sum_blocks(blocks, "read"),
        .written_bytes = sum_blocks(blocks, "write"),
        .pids = number(stats, "pids_stats/current"),
    };
    return 0;
}
