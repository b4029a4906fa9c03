/* A Redis server found, reached and asked; or, at rest, read. */
#include "kind_redis_internal.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_NS (3 * TW_SEC_NS)

static const struct tw_service_program server = {
    "redis-server",
    "/usr/bin/redis-server:/usr/local/bin/redis-server:/opt/redis*/bin/redis-server",
    "redis-server"};

struct looking {
    struct tw_arena *a;
    const struct tw_target *t;
    struct tw_snapshot *s;
    struct redis_conf conf;
    struct redis_where where; /* where it was reached */
    struct host_process process;
    struct host_unit unit;
    bool running, has_process, has_unit;
    const char *info;
};

/* ---- reaching it ---- */

/* Password of a session at the target: the dsn's, else that of its own file, which the twin may
 * read. */
static void add_login(struct tw_arena *a, const struct redis_conf *conf,
                      struct redis_where *w)
{
    const char *password = redis_conf_value(a, conf, "requirepass", NULL);

    if (!w->password && password && *password)
        w->password = password;
}

static int try_one(struct looking *l, struct redis_where w, struct redis_link **ret,
                   struct tw_err *err)
{
    int r;

    add_login(l->a, &l->conf, &w);
    r = redis_link_open(&w, tw_now_ns() + CONNECT_NS, ret, err);
    if (r == 0)
        l->where = w;
    return r;
}

/* Where its configuration says that it listens: the socket first, then each address. */
static int try_configured(struct looking *l, struct redis_link **ret, struct tw_err *err)
{
    const char *socket = redis_conf_value(l->a, &l->conf, "unixsocket", "");
    int port = atoi(redis_conf_value(l->a, &l->conf, "port", "6379"));
    char *bind =
        tw_arena_strdup(l->a, redis_conf_value(l->a, &l->conf, "bind", "127.0.0.1"));
    int r = -ECONNREFUSED;

    if (*socket)
        r = try_one(l, (struct redis_where){.socket = socket}, ret, err);
    for (char *word; r < 0 && r != -EACCES && port && (word = strsep(&bind, " "));) {
        struct redis_where w = {.port = port};

        word += *word == '-';
        w.host = !*word || host_is_wildcard(word) ? "127.0.0.1" : word;
        r = try_one(l, w, ret, err);
    }
    return r;
}

static int reach(struct looking *l, struct redis_link **ret, struct tw_err *err)
{
    struct redis_where w;
    int r;

    if (!l->t->dsn)
        return try_configured(l, ret, err);
    r = redis_parse_address(l->a, l->t->dsn, &w, err);
    return r < 0 ? r : try_one(l, w, ret, err);
}

int kind_redis_connect(struct tw_arena *a, const struct tw_target *t,
                       const struct tw_snapshot *s, struct redis_link **ret,
                       struct tw_err *err)
{
    struct looking l = {.a = a, .t = t};

    if (s->config_file)
        redis_conf_read(a, "", s->config_file, &l.conf);
    return reach(&l, ret, err);
}

/* ---- what INFO tells ---- */

static void add_counter(struct tw_arena *a, struct tw_snapshot *s, const char *kind,
                        const char *name, double used, double limit)
{
    for (size_t i = 0; i < s->counters.count; i++) {
        struct tw_counter *c = &s->counters.items[i];

        if (!tw_streq(c->kind, kind) || !tw_streq(c->name, name))
            continue;
        c->used = used;
        c->limit = limit;
        return;
    }
    TW_PUSH(a, &s->counters,
            (struct tw_counter){.kind = kind,
                                .name = tw_arena_strdup(a, name),
                                .used = used,
                                .limit = limit,
                                .per_s = NAN,
                                .per_request = NAN,
                                .source = "INFO"});
}

/* "db0:keys=648,expires=3,avg_ttl=0" */
static void take_keyspace(struct tw_arena *a, const char *line, struct tw_snapshot *s)
{
    const char *colon = memchr(line, ':', strcspn(line, "\r\n"));
    long long keys, expires;

    if (!tw_starts_with(line, "db") || !isdigit((unsigned char)line[2]) || !colon ||
        sscanf(colon, ":keys=%lld,expires=%lld", &keys, &expires) != 2)
        return;
    line = tw_arena_strndup(a, line, (size_t)(colon - line));
    add_counter(a, s, "keys", line, (double)keys, NAN);
    add_counter(a, s, "expiring keys", line, (double)expires, NAN);
    for (size_t i = 0; i < s->databases.count; i++)
        if (tw_streq(s->databases.items[i], line))
            return;
    TW_PUSH(a, &s->databases, line);
}

/* "cmdstat_config|get:calls=2,usec=255,usec_per_call=127.50,rejected_calls=0,failed_calls=0" */
static void take_command(struct tw_arena *a, const char *line, struct tw_snapshot *s)
{
    size_t n = strcspn(line, ":");
    long long calls;
    double usec;

    if (!tw_starts_with(line, "cmdstat_") || n < 9 ||
        sscanf(line + n, ":calls=%lld,usec=%*d,usec_per_call=%lf", &calls, &usec) != 2 ||
        calls == 0)
        return;
    TW_PUSH(a, &s->requests,
            (struct tw_sample_request){.method = tw_arena_strndup(a, line + 8, n - 8),
                                       .count = calls,
                                       .bytes = NAN,
                                       .request_bytes = NAN,
                                       .mean_s = usec / 1e6,
                                       .upstream_s = NAN,
                                       .upstream_bytes = NAN});
}

static int by_count(const void *a, const void *b)
{
    const struct tw_sample_request *x = a, *y = b;

    return (x->count < y->count) - (x->count > y->count);
}

void kind_redis_take_info(struct tw_arena *a, const char *info, struct tw_snapshot *s)
{
    double used = redis_info_number(info, "used_memory");
    double limit = redis_info_number(info, "maxmemory");

    s->requests.count = 0;
    for (const char *at = info; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        take_keyspace(a, at, s);
        take_command(a, at, s);
    }
    if (s->requests.count)
        qsort(s->requests.items, s->requests.count, sizeof(*s->requests.items), by_count);
    if (!isnan(used))
        add_counter(a, s, "memory", "used_memory", used, limit > 0 ? limit : NAN);
    add_counter(a, s, "replicas", "connected_slaves",
                redis_info_number(info, "connected_slaves"), NAN);
}

static int version_of(const char *text)
{
    int major = 0, minor = 0, patch = 0;

    return text && sscanf(text, "%d.%d.%d", &major, &minor, &patch) >= 2
               ? major * 10000 + minor * 100 + patch
               : 0;
}

static void take_server(struct looking *l)
{
    struct tw_snapshot *s = l->s;
    const char *master = redis_info(l->a, l->info, "master_host");
    double clients = redis_info_number(l->info, "connected_clients");
    double commands = redis_info_number(l->info, "total_commands_processed");
    double up = redis_info_number(l->info, "uptime_in_seconds");

    s->version = redis_info(l->a, l->info, "redis_version");
    s->version_num = version_of(s->version);
    s->system_identifier = redis_info(l->a, l->info, "run_id");
    s->connections_used = isnan(clients) ? -1 : (int)clients - 1;
    s->rate_per_s = up >= 1 ? commands / up : NAN;
    if (master)
        TW_PUSH(l->a, &s->neighbours,
                (struct tw_neighbour){
                    .protocol = "redis",
                    .name = "replicaof",
                    .address = master,
                    .port = (int)redis_info_number(l->info, "master_port"),
                    .reachable =
                        tw_streq(redis_info(l->a, l->info, "master_link_status"), "up")});
    kind_redis_take_info(l->a, l->info, s);
}

/* ---- who is there ---- */

/* "addr=10.0.0.7:51234 … db=0 … user=app" of CLIENT LIST; ours is the one that lists. */
static const char *word_of(struct tw_arena *a, const char *line, const char *name)
{
    const char *mark = tw_arena_printf(a, " %s=", name);
    const char *at = strstr(line, mark);

    at = at ? at + strlen(mark) : NULL;
    return at ? tw_arena_strndup(a, at, strcspn(at, " \n")) : NULL;
}

static void take_client(struct tw_arena *a, const char *line, struct tw_snapshot *s)
{
    const char *command = word_of(a, line, "cmd");
    const char *address = word_of(a, line, "addr");
    struct tw_client c = {.protocol = "redis", .count = 1, .origin = "statistics"};
    const char *colon = address ? strrchr(address, ':') : NULL;

    if (!colon || (command && tw_starts_with(command, "client")))
        return;
    c.source =
        *address == '/' ? NULL : tw_arena_strndup(a, address, (size_t)(colon - address));
    c.user = word_of(a, line, "user");
    c.database = word_of(a, line, "db");
    for (size_t i = 0; i < s->clients.count; i++) {
        struct tw_client *known = &s->clients.items[i];

        if (tw_streq(known->source, c.source) && tw_streq(known->user, c.user) &&
            tw_streq(known->database, c.database)) {
            known->count++;
            return;
        }
    }
    TW_PUSH(a, &s->clients, c);
}

static void take_role(struct tw_arena *a, const char *rule, struct tw_snapshot *s)
{
    size_t n;

    if (!tw_starts_with(rule, "user "))
        return;
    rule += 5;
    n = strcspn(rule, " ");
    TW_PUSH(a, &s->roles,
            (struct tw_role){.name = tw_arena_strndup(a, rule, n),
                             .login = tw_starts_with(rule + n, " on"),
                             .superuser = strstr(rule, "+@all") && !strstr(rule, " -"),
                             .connection_limit = -1,
                             .connections_used = -1});
}

static int ask_people(struct looking *l, struct redis_link *link, struct tw_err *err)
{
    struct redis_reply reply;
    int r = REDIS_ASK(link, l->a, &reply, err, "CLIENT", "LIST");

    for (const char *at = r == 0 && reply.type == REDIS_TEXT ? reply.text : NULL; at;
         at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        take_client(l->a, at, l->s);
    if (r == 0)
        r = REDIS_ASK(link, l->a, &reply, err, "ACL", "LIST");
    for (size_t i = 0; r == 0 && i < reply.list.count; i++)
        take_role(l->a, reply.list.items[i].text, l->s);
    l->s->cost.statements += 2;
    return r;
}

/* ---- settings ---- */

static struct tw_setting *find(struct tw_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->settings.count; i++)
        if (strcasecmp(s->settings.items[i].name, name) == 0)
            return &s->settings.items[i];
    return NULL;
}

static const char *stored(struct tw_arena *a, const char *name, const char *value)
{
    return *value ? tw_redact_value(NULL, a, name, value) : value;
}

static int ask_settings(struct looking *l, struct redis_link *link, struct tw_err *err)
{
    struct redis_reply all;
    int r = REDIS_ASK(link, l->a, &all, err, "CONFIG", "GET", "*");

    l->s->cost.statements++;
    if (r == 0 && all.type == REDIS_ERROR)
        return tw_fail(
            err, -EACCES,
            "the server of '%s' does not show its settings: %s. Give the twin a user: "
            "ACL SETUSER twin on >PASSWORD ~* +info +config|get +client|list +acl|list "
            "+replconf +psync +sync, and --dsn redis://twin:PASSWORD@host:port",
            l->t->name, all.text);
    for (size_t i = 0; r == 0 && i + 1 < all.list.count; i += 2) {
        struct tw_setting *known = find(l->s, all.list.items[i].text);
        struct tw_setting one = {
            .name = all.list.items[i].text, .type = "string", .context = "sighup"};

        if (!known) {
            TW_PUSH(l->a, &l->s->settings, one);
            known = &l->s->settings.items[l->s->settings.count - 1];
        }
        known->value = stored(l->a, known->name, all.list.items[i + 1].text);
        known->source = tw_streq(known->value, known->boot_value) ? "default" : "running";
    }
    return r;
}

/* What the files say, as the server would show it; where it runs, what it runs with is another
 * thing, and waits for the next restart. */
static void take_files(struct looking *l, struct redis_scratch *scratch)
{
    for (size_t i = 0; i < l->s->settings.count; i++) {
        struct tw_setting *one = &l->s->settings.items[i];
        const struct redis_line *line = redis_conf_last(&l->conf, one->name);
        const char *value = redis_conf_value(l->a, &l->conf, one->name, NULL);
        const char *normal = NULL;

        if (!line)
            continue;
        if (scratch && redis_scratch_refuses(scratch, l->a, one, value, &normal))
            normal = NULL;
        normal = normal ? normal : value;
        one->file = line->file;
        one->line = line->line;
        one->source = "configuration file";
        if (!l->running)
            one->value = stored(l->a, one->name, normal);
        else
            one->pending_restart = !redis_is_of_host(one->name) &&
                                   !tw_redact_is_secret_key(one->name) &&
                                   strcasecmp(normal, one->value) != 0;
    }
}

/* The name by which it is called decides what it is: on Debian redis-server is a link to
 * redis-check-rdb, and so /proc tells the wrong one. */
static const char *program_of(struct looking *l)
{
    const char *names[] = {
        redis_info(l->a, l->info, "executable"),
        l->has_unit && l->unit.argv.count ? l->unit.argv.items[0] : NULL,
        l->has_process
            ? tw_arena_printf(l->a, "%s/redis-server", host_parent(l->a, l->process.exe))
            : NULL};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (names[i] && *names[i] == '/' && host_is_program(names[i]))
            return names[i];
    return tw_service_program_find(l->a, &server);
}

static int take_settings(struct looking *l, struct redis_link *link, struct tw_err *err)
{
    tw_auto(redis_scratch) *scratch = NULL;
    int r;

    l->s->program = program_of(l);
    if (!l->s->program)
        return tw_fail(err, -ENOENT,
                       "no redis-server on this host: install the version of the target "
                       "(apt-get install redis-server)");
    r = redis_scratch_open(l->a, l->s->program, l->s->owner_uid, l->s->owner_gid,
                           &scratch, err);
    if (r == 0)
        r = redis_scratch_settings(scratch, l->a, l->s, err);
    if (r == 0 && link)
        r = ask_settings(l, link, err);
    redis_scratch_free(tw_take_ptr(&scratch));
    /* A fresh one: the first was given nonsense. */
    if (r == 0)
        r = redis_scratch_open(l->a, l->s->program, l->s->owner_uid, l->s->owner_gid,
                               &scratch, err);
    if (r == 0 && !l->s->version) {
        l->s->version = redis_scratch_version(scratch, l->a);
        l->s->version_num = version_of(l->s->version);
    }
    if (r == 0)
        take_files(l, scratch);
    return r;
}

/* ---- where its things are ---- */

static void owner_of(struct looking *l, const char *path)
{
    struct passwd pw, *found = NULL;
    char text[4096];
    struct stat st;

    if (stat(path, &st) < 0)
        return;
    l->s->owner_uid = st.st_uid;
    l->s->owner_gid = st.st_gid;
    if (getpwuid_r(st.st_uid, &pw, text, sizeof(text), &found) == 0 && found)
        l->s->owner_name = tw_arena_strdup(l->a, pw.pw_name);
}

static int find_process(struct looking *l, struct tw_err *err)
{
    double pid = redis_info_number(l->info, "process_id");
    int r;

    if (l->info && !isnan(pid))
        l->has_process =
            host_process_read(l->a, host_process_called(l->a, (pid_t)pid), &l->process,
                              NULL) == 0 &&
            strstr(l->process.exe, "redis");
    if (l->has_process && l->process.unit)
        l->has_unit = host_unit_read(l->a, "", l->process.unit, &l->unit);
    else
        l->has_unit =
            host_unit_running(l->a, "redis-server", l->s->config_file, &l->unit);
    r = host_describe(l->a, l->has_process ? &l->process : NULL,
                      l->has_unit ? &l->unit : NULL, l->s, err);
    l->s->endpoints.count = 0; /* its own settings tell better */
    if (l->info)
        l->s->connections_used = (int)redis_info_number(l->info, "connected_clients") - 1;
    return r;
}

static int find_data(struct looking *l, struct tw_err *err)
{
    struct tw_snapshot *s = l->s;
    const struct tw_setting *dir = tw_snapshot_setting(s, "dir");
    const char *text = dir && dir->value ? dir->value : "./";
    char real[PATH_MAX];

    if (*text != '/')
        text = tw_arena_printf(l->a, "%s/%s",
                               l->has_unit && l->unit.cwd         ? l->unit.cwd
                               : host_is_away() && l->process.cwd ? l->process.cwd
                                                                  : "/",
                               text);
    if (!realpath(text, real))
        return tw_fail_errno(err, errno,
                             "directory '%s' of target '%s' is not on this host", text,
                             l->t->name);
    if (tw_streq(real, "/"))
        return tw_fail(
            err, -EINVAL,
            "target '%s' keeps its data in '/': set 'dir' in its configuration to a "
            "directory of its own",
            l->t->name);
    s->data_dir = tw_arena_strdup(l->a, real);
    s->data_bytes = host_tree_bytes(real);
    if (!l->has_process)
        owner_of(l, real);
    host_count_disk(l->a, real, s);
    return 0;
}

static void add_endpoints(struct looking *l)
{
    struct tw_snapshot *s = l->s;
    const struct tw_setting *bind = tw_snapshot_setting(s, "bind");
    const struct tw_setting *port = tw_snapshot_setting(s, "port");
    const struct tw_setting *socket = tw_snapshot_setting(s, "unixsocket");
    char *rest = tw_arena_strdup(l->a, bind && bind->value ? bind->value : "*");

    s->port = port && port->value ? atoi(port->value) : KIND_REDIS_PORT;
    for (char *word; s->port && (word = strsep(&rest, " "));)
        if (*word)
            TW_PUSH(l->a, &s->endpoints,
                    (struct tw_endpoint){.protocol = "redis",
                                         .address = word + (*word == '-'),
                                         .port = s->port});
    if (socket && socket->value && *socket->value) {
        s->socket_dir = host_parent(l->a, socket->value);
        TW_PUSH(l->a, &s->endpoints,
                (struct tw_endpoint){.protocol = "redis", .address = socket->value});
    }
}

static int add_files(struct looking *l, struct tw_err *err)
{
    const char *acl = redis_conf_value(l->a, &l->conf, "aclfile", "");
    int r = 0;

    if (l->conf.problem && l->s->config_file)
        return tw_fail(err, -EIO, "configuration of target '%s': %s", l->t->name,
                       l->conf.problem);
    for (size_t i = 0; i < l->conf.files.count && r == 0; i++)
        r = host_add_file(l->a, l->conf.files.items[i], l->s, err);
    if (r == 0 && *acl == '/' && access(acl, R_OK) == 0)
        r = host_add_file(l->a, acl, l->s, err);
    return r;
}

/* ---- both ---- */

static int find_config(struct looking *l, struct redis_link *link, struct tw_err *err)
{
    struct redis_reply info;
    const char *named;
    int r = REDIS_ASK(link, l->a, &info, err, "INFO", "all");

    if (r < 0)
        return r;
    if (info.type == REDIS_ERROR)
        return tw_fail(err, -EACCES, "the server of '%s' does not answer INFO: %s",
                       l->t->name, info.text);
    l->info = info.text;
    l->s->cost.statements++;
    l->s->cost.bytes += (int64_t)info.len;
    named = redis_info(l->a, l->info, "config_file");
    if (!named || !*named)
        return 0;
    if (l->t->config && !tw_streq(named, l->s->config_file))
        return tw_fail(
            err, -EINVAL,
            "config and server of '%s' are two: the server that answers there was "
            "started with '%s', not with '%s'",
            l->t->name, named, l->s->config_file);
    l->s->config_file = named;
    redis_conf_read(l->a, "", named, &l->conf);
    return 0;
}

/* A server without a file of its own gets one in the clone, made from what it runs with. */
static void name_config(struct looking *l)
{
    if (!l->s->config_file)
        l->s->config_file = tw_arena_printf(l->a, "%s/twin-redis.conf", l->s->data_dir);
}

int kind_redis_snapshot(struct tw_arena *a, const struct tw_target *t,
                        struct tw_snapshot *ret, struct tw_err *err)
{
    tw_auto(redis_link) *link = NULL;
    struct looking l = {.a = a, .t = t, .s = ret};
    char real[PATH_MAX];
    int r;

    tw_snapshot_init(ret);
    if (t->config) {
        ret->config_file =
            tw_arena_strdup(a, realpath(t->config, real) ? real : t->config);
        redis_conf_read(a, "", ret->config_file, &l.conf);
        if (l.conf.problem)
            return tw_fail(err, -ENOENT, "configuration of target '%s': %s", t->name,
                           l.conf.problem);
    }
    r = reach(&l, &link, err);
    l.running = r == 0;
    if (r < 0 && (t->dsn || r == -EACCES))
        return tw_wrap(err, r, "target '%s'", t->name);
    r = l.running ? find_config(&l, link, err) : 0;
    if (r == 0)
        r = find_process(&l, err);
    if (r == 0 && l.running)
        take_server(&l);
    if (r == 0)
        r = take_settings(&l, link, err);
    if (r == 0)
        r = find_data(&l, err);
    if (r == 0 && l.running)
        r = ask_people(&l, link, err);
    if (r == 0)
        r = add_files(&l, err);
    if (r < 0)
        return tw_wrap(err, r, "target '%s'", t->name);
    add_endpoints(&l);
    name_config(&l);
    ret->how = l.running ? "running" : "stopped";
    return 0;
}
