/* A running twin asked what it does now, and tried: can anybody still write, who can no longer do
 * what is done today, who can enter that should not. */
#include "kind_redis_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EVICTION_NS (300 * TW_MSEC_NS)

struct state {
    struct tw_arena *a;
    const struct tw_access *x;
    const struct tw_plan *plan; /* NULL: the unchanged service */
    struct tw_issues *issues;
    struct redis_link *link;
    struct redis_conf conf;
    struct redis_reply settings; /* CONFIG GET *; empty when it is not told */
    const char *info;            /* NULL when it is not told */
};

/* ---- what it is asked ---- */

static const char *before(const struct state *s, const char *name)
{
    const struct tw_setting *one = tw_snapshot_setting(s->x->snapshot, name);

    return one && one->value ? one->value : "";
}

static const char *now(const struct state *s, const char *name)
{
    for (size_t i = 0; i + 1 < s->settings.list.count; i += 2)
        if (strcasecmp(s->settings.list.items[i].text, name) == 0)
            return s->settings.list.items[i + 1].text;
    return redis_conf_value(s->a, &s->conf, name, before(s, name));
}

static bool is_on(const char *value)
{
    return strcasecmp(value, "yes") == 0;
}

static const char *command(const struct state *s, const char *name)
{
    return redis_conf_command(&s->conf, name);
}

static void ask_itself(struct state *s)
{
    const char *config = command(s, "CONFIG"), *info = command(s, "INFO");
    struct redis_reply reply;

    if (config && (REDIS_ASK(s->link, s->a, &s->settings, NULL, config, "GET", "*") < 0 ||
                   s->settings.type != REDIS_LIST))
        s->settings = (struct redis_reply){0};
    if (info && REDIS_ASK(s->link, s->a, &reply, NULL, info, "all") == 0 &&
        reply.type == REDIS_TEXT)
        s->info = reply.text;
}

/* ---- tried ---- */

/* An answer that is no answer, by its first word. */
static const struct refusal {
    const char *word, *code, *title, *remedy;
} refusals[] = {
    {"OOM", "memory.maxmemory",
     "every write is refused: there is more data than maxmemory allows",
     "maxmemory above what the data takes, or a maxmemory-policy that can evict "
     "(allkeys-lru)"},
    {"MISCONF", "write.misconf", "every write is refused: saving fails",
     "make the data directory writable, with room for a second dump"},
    {"READONLY", "write.read_only", "every write is refused: the server is a replica now",
     "do not set replicaof on a server that clients write to"},
    {"NOREPLICAS", "write.no_replicas",
     "every write is refused: fewer replicas are attached than asked for",
     "attach replicas first, or min-replicas-to-write 0"},
    {"MASTERDOWN", "read.masterdown", "every read is refused: the master is not reached",
     "replica-serve-stale-data yes, or a master that is there"},
    {"LOADING", "start.loading", "it still loads its data", "wait until it has"},
    {"ERR unknown command", "command.gone", "a command that clients need is not there",
     "do not rename commands that are in use"},
    {"NOPERM", "access.command", "a command that clients need is not allowed",
     "allow it: ACL SETUSER … +command"},
};

static void refused(const struct state *s, const char *what, const char *answer)
{
    size_t row = 0;

    while (row < TW_COUNT_OF(refusals) && !tw_starts_with(answer, refusals[row].word))
        row++;
    tw_issue_add(s->a, s->issues, TW_CRITICAL, TW_BLOCK,
                 row < TW_COUNT_OF(refusals) ? refusals[row].code : "write.refused",
                 row < TW_COUNT_OF(refusals) ? refusals[row].title
                                             : "a write or a read is refused",
                 tw_arena_printf(s->a, "%s: %s", what, answer),
                 row < TW_COUNT_OF(refusals) ? refusals[row].remedy
                                             : "see what the server says");
}

/* A twin has no replicas, whatever the target has. */
static bool only_in_a_twin(const struct state *s, const char *answer)
{
    const struct tw_snapshot *snap = s->x->snapshot;

    if (!tw_starts_with(answer, "NOREPLICAS"))
        return false;
    for (size_t i = 0; i < snap->counters.count; i++)
        if (tw_streq(snap->counters.items[i].kind, "replicas"))
            return snap->counters.items[i].used >= atof(now(s, "min-replicas-to-write"));
    return false;
}

/* A key of ours is set, read and taken away; what nobody may do anyway is not tried. */
static void try_write_and_read(struct state *s)
{
    const char *set = command(s, "SET"), *get = command(s, "GET"),
               *del = command(s, "DEL");
    const char *key = "twin:probe";
    struct redis_reply reply;

    if (set && REDIS_ASK(s->link, s->a, &reply, NULL, set, key, "1", "EX", "5") == 0 &&
        reply.type == REDIS_ERROR && !only_in_a_twin(s, reply.text))
        refused(s, "SET of a key", reply.text);
    if (get && REDIS_ASK(s->link, s->a, &reply, NULL, get, key) == 0 &&
        reply.type == REDIS_ERROR)
        refused(s, "GET of a key", reply.text);
    if (del)
        (void)REDIS_ASK(s->link, s->a, &reply, NULL, del, key);
}

/* ---- memory ---- */

static double info_now(struct state *s, const char *section, const char *name)
{
    struct redis_reply reply;

    if (!s->info ||
        REDIS_ASK(s->link, s->a, &reply, NULL, command(s, "INFO"), section) < 0 ||
        reply.type != REDIS_TEXT)
        return NAN;
    return redis_info_number(reply.text, name);
}

static double keys_of(const struct tw_snapshot *s)
{
    double sum = 0;

    for (size_t i = 0; i < s->counters.count; i++)
        if (tw_streq(s->counters.items[i].kind, "keys"))
            sum += s->counters.items[i].used;
    return sum;
}

/* It evicts at once when there is too much: what it counts then is the proof. */
static void judge_eviction(struct state *s)
{
    double limit = atof(now(s, "maxmemory")),
           used = redis_info_number(s->info, "used_memory");
    int64_t until = tw_now_ns() + EVICTION_NS;
    double evicted = NAN;

    if (!(limit > 0) || isnan(used) || used < 0.95 * limit ||
        tw_starts_with(now(s, "maxmemory-policy"), "noeviction"))
        return;
    do {
        evicted = info_now(s, "stats", "evicted_keys");
        tw_sleep_ns(10 * TW_MSEC_NS);
    } while (!(evicted > 0) && tw_now_ns() < until);
    if (evicted > 0)
        tw_issue_add(
            s->a, s->issues, TW_HIGH, TW_REVIEW, "memory.evicts",
            "keys are thrown away: the data does not fit into maxmemory",
            tw_arena_printf(s->a,
                            "maxmemory %s with %s; %s of %s keys were evicted within a "
                            "moment of the start",
                            tw_show_bytes(s->a, limit), now(s, "maxmemory-policy"),
                            tw_show_count(s->a, evicted),
                            tw_show_count(s->a, keys_of(s->x->snapshot))),
            "maxmemory above what the data takes, or accept that it is a cache now");
}

/* More than the host has: it is the kernel that ends it then. */
static void judge_host_memory(struct state *s)
{
    double limit = atof(now(s, "maxmemory")), has = (double)s->x->snapshot->memory_bytes;
    double was = atof(before(s, "maxmemory"));

    if (!(limit > 0) || !(has > 0) || limit <= has || (was > has && was >= limit))
        return;
    tw_issue_add(
        s->a, s->issues, TW_CRITICAL, TW_BLOCK, "memory.exceeds_target",
        "maxmemory is more than the target's host has",
        tw_arena_printf(s->a, "maxmemory %s, the host has %s", tw_show_bytes(s->a, limit),
                        tw_show_bytes(s->a, has)),
        "leave room for the fork of a save and for clients: 60 % of the host is usual");
}

static void judge_policy(struct state *s)
{
    double limit = atof(now(s, "maxmemory")),
           used = redis_info_number(s->info, "used_memory");
    double was = atof(before(s, "maxmemory"));
    const char *policy = now(s, "maxmemory-policy");

    if (!(limit > 0) || isnan(used) || used >= limit || !(was <= 0 || limit < was) ||
        used < 0.8 * limit ||
        !(tw_streq(policy, "noeviction") || tw_starts_with(policy, "volatile-")))
        return;
    tw_issue_add(s->a, s->issues, TW_HIGH, TW_REVIEW, "memory.tight",
                 "maxmemory is almost reached, and then writes are refused",
                 tw_arena_printf(s->a, "%s of %s used, with %s",
                                 tw_show_bytes(s->a, used), tw_show_bytes(s->a, limit),
                                 policy),
                 "more room, or a policy that can evict");
}

/* ---- clients ---- */

static int peak_of(const struct state *s)
{
    int peak = s->x->snapshot->peak_connections;

    if (s->x->snapshot->connections_used > peak)
        peak = s->x->snapshot->connections_used;
    if (s->plan && s->plan->connections > peak)
        peak = s->plan->connections;
    return peak;
}

static void judge_clients(struct state *s)
{
    int allowed = atoi(now(s, "maxclients")), peak = peak_of(s);

    if (allowed <= 0 || peak <= allowed)
        return;
    tw_issue_add(
        s->a, s->issues, TW_CRITICAL, TW_BLOCK, "clients.limit",
        "not all clients of today can connect: max number of clients reached",
        tw_arena_printf(s->a, "maxclients is %d after the start, %d clients at the peak",
                        allowed, peak),
        "maxclients above the peak, and LimitNOFILE at least maxclients + 32");
}

/* ---- who may enter ---- */

struct doors {
    bool outside, shielded, open; /* open: the default user needs no password */
};

static struct doors doors_of(struct tw_arena *a, const char *bind, const char *mode,
                             bool password)
{
    struct doors d = {.outside = !*bind, .shielded = is_on(mode), .open = !password};
    char *rest = tw_arena_strdup(a, bind);

    for (char *word; (word = strsep(&rest, " "));) {
        word += *word == '-';
        d.outside |= *word && !host_is_loopback(word);
    }
    return d;
}

static bool default_needs_password(const struct state *s)
{
    struct redis_reply reply;

    if (REDIS_ASK(s->link, s->a, &reply, NULL, "ACL", "LIST") < 0 ||
        reply.type != REDIS_LIST)
        return *now(s, "requirepass") != '\0';
    for (size_t i = 0; i < reply.list.count; i++)
        if (tw_starts_with(reply.list.items[i].text, "user default "))
            return !strstr(reply.list.items[i].text, " on ") ||
                   !strstr(reply.list.items[i].text, " nopass");
    return true;
}

/* By its own list of users, where the running target gave one; else by its setting. */
static bool needed_password(const struct state *s)
{
    return *before(s, "requirepass") != '\0';
}

static bool has_remote_clients(const struct tw_snapshot *s)
{
    for (size_t i = 0; i < s->clients.count; i++)
        if (s->clients.items[i].source && !host_is_loopback(s->clients.items[i].source))
            return true;
    return false;
}

static void judge_doors(struct state *s)
{
    struct doors was = doors_of(s->a, before(s, "bind"), before(s, "protected-mode"),
                                needed_password(s));
    struct doors is = doors_of(s->a, now(s, "bind"), now(s, "protected-mode"),
                               default_needs_password(s));

    if (is.outside && is.open && !is.shielded &&
        !(was.outside && was.open && !was.shielded))
        tw_issue_add(s->a, s->issues, TW_CRITICAL, TW_BLOCK, "exposure.no_password",
                     "anyone who reaches the port can read, change and delete everything",
                     tw_arena_printf(s->a,
                                     "bind '%s', protected-mode %s, and the default user "
                                     "needs no password",
                                     now(s, "bind"), now(s, "protected-mode")),
                     "requirepass or ACL users, and bind only where the clients are");
    if (is.outside && is.open && is.shielded &&
        !(was.outside && was.open && was.shielded))
        tw_issue_add(
            s->a, s->issues, TW_CRITICAL, TW_BLOCK, "access.protected",
            "clients of other hosts are refused: DENIED, protected mode",
            tw_arena_printf(s->a,
                            "bind '%s' and protected-mode yes, nobody has to log in: "
                            "only loopback is served%s",
                            now(s, "bind"),
                            has_remote_clients(s->x->snapshot)
                                ? "; clients of other hosts are connected today"
                                : ""),
            "set requirepass or ACL users together with bind");
    if (was.outside && !is.outside && has_remote_clients(s->x->snapshot))
        tw_issue_add(
            s->a, s->issues, TW_CRITICAL, TW_BLOCK, "access.unreachable",
            "clients of other hosts cannot connect any more",
            tw_arena_printf(s->a, "bind '%s'; clients of other hosts are connected today",
                            now(s, "bind")),
            "keep the address that they use");
    if (!was.open || is.open || *before(s, "requirepass"))
        return;
    tw_issue_add(s->a, s->issues, TW_CRITICAL, TW_BLOCK, "access.password",
                 "clients that send no password are refused: NOAUTH",
                 "the default user needs a password now and needed none before",
                 "give the clients their password first");
}

/* ---- commands in use ---- */

/* What a sync of ours asks, and monitoring: renaming these away harms nobody's data. */
static bool is_of_operators(const char *name)
{
    static const char *const names[] = {
        "config",   "info",   "acl",      "client",       "command", "auth",   "hello",
        "sync",     "psync",  "replconf", "slowlog",      "latency", "memory", "debug",
        "shutdown", "bgsave", "save",     "bgrewriteaof", "monitor", "module"};
    size_t n = strcspn(name, "|");

    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (strlen(names[i]) == n && strncasecmp(names[i], name, n) == 0)
            return true;
    return false;
}

static void judge_renamed(struct state *s)
{
    const struct tw_snapshot *snap = s->x->snapshot;

    for (size_t i = 0; i < snap->requests.count; i++) {
        const char *name = snap->requests.items[i].method;
        const char *plain = tw_arena_strndup(s->a, name, strcspn(name, "|"));
        const char *is = redis_conf_command(&s->conf, plain);

        if (is && strcasecmp(is, plain) == 0)
            continue;
        if (is_of_operators(plain))
            continue;
        tw_issue_add(
            s->a, s->issues, TW_CRITICAL, TW_BLOCK, "command.gone",
            tw_arena_printf(s->a, "command %s is in use and is not there any more",
                            plain),
            tw_arena_printf(
                s->a, "rename-command %s; commandstats of the target: %s calls", plain,
                tw_show_count(s->a, (double)snap->requests.items[i].count)),
            "do not rename what clients call; take it from users by ACL instead");
    }
}

/* "GET", "config|get" asked for one user; keys do not matter here. */
static const char *denied(struct state *s, const char *user, const char *name)
{
    char *plain = tw_arena_strdup(s->a, name);
    char *sub = strchr(plain, '|');
    struct redis_reply reply;
    const char *words[] = {"ACL", "DRYRUN", user, plain, NULL, "twin", "twin", "twin"};
    size_t n = 4;

    if (sub)
        *sub++ = '\0';
    if (sub)
        words[n++] = sub;
    /* A command wants its number of arguments: it is given more until it is content. */
    for (size_t more = n; more < TW_COUNT_OF(words); more++) {
        words[more] = "1";
        if (redis_ask_words(s->link, s->a, words, more + (more > n), &reply, NULL) < 0)
            return NULL;
        if (reply.type != REDIS_ERROR)
            break;
    }
    return reply.type == REDIS_TEXT && strstr(reply.text, "no permissions") ? reply.text
                                                                            : NULL;
}

static bool seen_user(const struct tw_snapshot *s, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (tw_streq(s->clients.items[i].user, s->clients.items[at].user))
            return true;
    return false;
}

static void judge_user(struct state *s, const char *user)
{
    const struct tw_snapshot *snap = s->x->snapshot;
    tw_auto_buf names = {0};
    const char *words = NULL;

    tw_buf_init(&names, 4096);
    for (size_t i = 0; i < snap->requests.count; i++) {
        const char *name = snap->requests.items[i].method;
        const char *said = is_of_operators(name) ? NULL : denied(s, user, name);

        if (!said)
            continue;
        tw_buf_printf(&names, "%s%s", names.len ? ", " : "", name);
        words = said;
    }
    if (words)
        tw_issue_add(
            s->a, s->issues, TW_CRITICAL, TW_BLOCK, "access.command",
            tw_arena_printf(s->a, "user '%s' may no longer do what clients do today",
                            user),
            tw_arena_printf(s->a, "NOPERM for %s (%s)", tw_buf_text(&names), words),
            "allow what is in use: ACL SETUSER … +command");
}

/* Users that are connected; without any, the default one, as whom everybody begins. */
static void judge_users(struct state *s)
{
    const struct tw_snapshot *snap = s->x->snapshot;
    bool any = false;

    if (snap->version_num < 70000)
        return;
    for (size_t i = 0; i < snap->clients.count; i++) {
        if (!snap->clients.items[i].user || seen_user(snap, i))
            continue;
        any = true;
        judge_user(s, snap->clients.items[i].user);
    }
    if (!any)
        judge_user(s, "default");
}

/* ---- databases, replication ---- */

static int highest_database(const struct tw_snapshot *s)
{
    int highest = 0;

    for (size_t i = 0; i < s->databases.count; i++)
        if (atoi(s->databases.items[i] + 2) > highest)
            highest = atoi(s->databases.items[i] + 2);
    for (size_t i = 0; i < s->clients.count; i++)
        if (s->clients.items[i].database && atoi(s->clients.items[i].database) > highest)
            highest = atoi(s->clients.items[i].database);
    return highest;
}

static void judge_databases(struct state *s)
{
    int has = atoi(now(s, "databases")), highest = highest_database(s->x->snapshot);

    if (has <= 0 || highest < has)
        return;
    tw_issue_add(
        s->a, s->issues, TW_CRITICAL, TW_BLOCK, "database.gone",
        "clients use a database that is not there any more: DB index is out of range",
        tw_arena_printf(s->a, "databases %d, and db%d is in use", has, highest),
        "keep as many databases as are in use");
}

static void judge_replication(struct state *s)
{
    const char *master = now(s, "replicaof");
    double keys = keys_of(s->x->snapshot);

    if (!*master || tw_streq(master, before(s, "replicaof")))
        return;
    tw_issue_add(
        s->a, s->issues, TW_CRITICAL, TW_BLOCK, "replication.overwrites",
        "the server becomes a copy: its own data is thrown away as soon as the master "
        "answers",
        tw_arena_printf(s->a, "replicaof %s; %s keys of its own", master,
                        tw_show_count(s->a, keys)),
        "keep it a master, or make sure that nothing on it counts");
}

static void (*const checks[])(struct state *) = {
    judge_eviction, judge_host_memory, judge_policy,    judge_clients,    judge_doors,
    judge_renamed,  judge_users,       judge_databases, judge_replication};

void kind_redis_judge_state(struct tw_arena *a, const struct tw_access *access,
                            const struct tw_plan *plan, struct tw_issues *issues)
{
    tw_auto(redis_link) *link = NULL;
    struct state s = {.a = a, .x = access, .plan = plan, .issues = issues};
    struct tw_err why;

    if (kind_redis_enter(a, access, &link, &why) < 0) {
        tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "twin.not_entered",
                     "the twin could not be entered, and so was not tried", why.text,
                     "look at its log");
        return;
    }
    s.link = link;
    redis_conf_read(a, access->root, access->snapshot->config_file, &s.conf);
    ask_itself(&s);
    try_write_and_read(&s);
    for (size_t i = 0; i < TW_COUNT_OF(checks) && plan; i++)
        checks[i](&s);
}
