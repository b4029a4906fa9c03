/* A server of the target's own program, empty and unreachable, asked what its settings are: names,
 * types, ranges and words come from it, so that they are those of this very version. */
#include "kind_redis_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define START_NS (10 * TW_SEC_NS)

struct redis_scratch {
    struct tw_arena *arena; /* borrowed */
    const char *program;
    struct host_scratch process; /* owned */
    struct redis_link *link;     /* owned */
};

/* ---- one process ---- */

/* With more words ("--databases", "3") behind what keeps it empty and alone. */
static int start(struct redis_scratch *s, const char *more, const char *value,
                 struct tw_err *err)
{
    const char *argv[] = {s->program, "--port",      "0",   "--unixsocket",
                          "s",        "--save",      "",    "--appendonly",
                          "no",       "--daemonize", "no",  "--maxclients",
                          "20",       more,          value, NULL};

    return host_scratch_start(&s->process, argv, err);
}

/* 0: it serves; -ECHILD: it ended, and its log says why. */
static int wait_until_it_serves(struct redis_scratch *s, struct tw_err *err)
{
    struct redis_where where = {.socket =
                                    tw_arena_printf(s->arena, "%s/s", s->process.dir)};
    int64_t deadline = tw_now_ns() + START_NS;

    while (tw_now_ns() < deadline) {
        if (redis_link_open(&where, deadline, &s->link, NULL) == 0)
            return 0;
        if (!host_scratch_runs(&s->process))
            return tw_fail(err, -ECHILD, "'%s' does not start: %s", s->program,
                           host_scratch_log(s->arena, &s->process));
        tw_sleep_ns(TW_MSEC_NS);
    }
    return tw_fail(err, -ETIMEDOUT, "'%s' does not start in %d s", s->program,
                   (int)(START_NS / TW_SEC_NS));
}

int redis_scratch_open(struct tw_arena *a, const char *program, unsigned uid,
                       unsigned gid, struct redis_scratch **ret, struct tw_err *err)
{
    tw_auto(redis_scratch) *s = tw_alloc(sizeof(*s));
    int r;

    s->arena = a;
    s->program = program;
    r = host_scratch_open(a, uid, gid, &s->process, err);
    if (r == 0)
        r = start(s, NULL, NULL, err);
    if (r == 0)
        r = wait_until_it_serves(s, err);
    if (r == 0)
        *ret = tw_take_ptr(&s);
    return r;
}

void redis_scratch_free(struct redis_scratch *s)
{
    if (!s)
        return;
    redis_link_free(s->link);
    host_scratch_close(&s->process);
    free(s);
}

/* ---- what it tells of a setting ---- */

#define NONSENSE "twin?"           /* no number, no word of an enum */
#define HUGE     "999999999999999" /* outside of most ranges */

static const char *set(struct redis_scratch *s, struct tw_arena *a, const char *name,
                       const char *value)
{
    struct redis_reply reply;

    if (REDIS_ASK(s->link, a, &reply, NULL, "CONFIG", "SET", name, value) < 0)
        return "the server ends of it";
    return reply.type == REDIS_ERROR ? reply.text : NULL;
}

static const char *after(const char *text, const char *mark)
{
    const char *at = text ? strstr(text, mark) : NULL;

    return at ? at + strlen(mark) : NULL;
}

static const char *without_blanks(struct tw_arena *a, const char *text)
{
    char *out = tw_arena_strdup(a, text), *to = out;

    for (const char *p = text; *p; p++)
        if (!isspace((unsigned char)*p))
            *to++ = *p;
    *to = '\0';
    return out;
}

static void take_range(struct redis_scratch *s, struct tw_arena *a,
                       struct tw_setting *one)
{
    const char *range = after(set(s, a, one->name, HUGE), "must be between ");
    const char *and = range ? strstr(range, " and ") : NULL;

    if (!and)
        return;
    one->min = tw_arena_strndup(a, range, (size_t)(and-range));
    one->max = tw_arena_strndup(a, and+5, strspn(and+5, "-0123456789"));
}

static const struct {
    const char *words, *type, *unit;
} type_words[] = {{"must be 'yes' or 'no'", "bool", NULL},
                  {"one of the following", "enum", NULL},
                  {"into an integer", "integer", NULL},
                  {"a memory value", "integer", "bytes"},
                  {"a memory or percent value", "string", "bytes or %"}};

/* An answer to nonsense names what would be right. */
static void take_type(struct redis_scratch *s, struct tw_arena *a, struct tw_setting *one)
{
    const char *said = set(s, a, one->name, NONSENSE);
    const char *words = after(said, "one of the following: ");

    one->type = "string";
    one->context = "sighup";
    if (said && (strstr(said, "immutable config") || strstr(said, "protected config")))
        one->context = "postmaster";
    for (size_t i = 0; said && i < TW_COUNT_OF(type_words); i++)
        if (strstr(said, type_words[i].words)) {
            one->type = type_words[i].type;
            one->unit = type_words[i].unit;
        }
    if (words)
        one->enum_values = without_blanks(a, words);
    if (tw_streq(one->type, "integer") && !one->unit)
        take_range(s, a, one);
}

/* CONFIG SET appendonly rewrites the log of all data on the spot, which the line in a file does not:
 * what the file alone does has to be seen at a restart. */
static void correct_context(struct tw_setting *one)
{
    if (tw_streq(one->name, "appendonly"))
        one->context = "postmaster";
}

int redis_scratch_settings(struct redis_scratch *s, struct tw_arena *a,
                           struct tw_snapshot *ret, struct tw_err *err)
{
    static const char *const ours[][2] = {{"port", "6379"},
                                          {"unixsocket", ""},
                                          {"save", "3600 1 300 100 60 10000"},
                                          {"maxclients", "10000"},
                                          {"dir", NULL}};
    struct redis_reply all;
    int r = REDIS_ASK(s->link, a, &all, err, "CONFIG", "GET", "*");

    for (size_t i = 0; r == 0 && i + 1 < all.list.count; i += 2) {
        struct tw_setting one = {.name = all.list.items[i].text,
                                 .boot_value = all.list.items[i + 1].text,
                                 .source = "default"};

        for (size_t k = 0; k < TW_COUNT_OF(ours); k++)
            if (tw_streq(one.name, ours[k][0]))
                one.boot_value = ours[k][1];
        take_type(s, a, &one);
        correct_context(&one);
        one.value = one.boot_value;
        TW_PUSH(a, &ret->settings, one);
    }
    return r;
}

/* ---- does it take a value ---- */

bool redis_is_of_host(const char *name)
{
    static const char *const names[] = {"bind",
                                        "port",
                                        "unixsocket",
                                        "unixsocketperm",
                                        "dir",
                                        "logfile",
                                        "pidfile",
                                        "aclfile",
                                        "replicaof",
                                        "slaveof",
                                        "daemonize",
                                        "supervised",
                                        "maxclients",
                                        "include",
                                        "loadmodule",
                                        "bind-source-addr",
                                        "syslog-enabled",
                                        "oom-score-adj"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return strncasecmp(name, "tls-", 4) == 0 || strncasecmp(name, "cluster-", 8) == 0;
}

/* "*** FATAL CONFIG FILE ERROR ***" and what follows, without the line that we put there. */
static const char *fatal_words(struct tw_arena *a, const char *log)
{
    const char *at = strstr(log, "FATAL CONFIG FILE ERROR");
    const char *line = at ? strstr(at, ">>> ") : NULL;
    const char *words = line ? strchr(line, '\n') : NULL;

    if (!words)
        return tw_arena_strdup(a, log);
    return tw_arena_strndup(a, words + 1, strcspn(words + 1, "\n"));
}

/* A setting that only a start takes is tried by a start. */
static const char *refused_at_start(struct redis_scratch *s, struct tw_arena *a,
                                    const char *name, const char *value)
{
    struct redis_scratch other = {.arena = a, .program = s->program};
    const char *said = NULL;

    if (host_scratch_open(a, s->process.uid, s->process.gid, &other.process, NULL) < 0)
        return NULL;
    if (start(&other, tw_arena_printf(a, "--%s", name), value, NULL) == 0 &&
        wait_until_it_serves(&other, NULL) == -ECHILD)
        said = fatal_words(a, host_scratch_log(a, &other.process));
    redis_link_free(other.link);
    host_scratch_close(&other.process);
    return said;
}

const char *redis_scratch_refuses(struct redis_scratch *s, struct tw_arena *a,
                                  const struct tw_setting *setting, const char *value,
                                  const char **ret_normal)
{
    bool at_start =
        tw_streq(setting->context, "postmaster") && !tw_streq(setting->type, "bool");
    struct redis_reply now;
    const char *said, *dash;

    if (redis_is_of_host(setting->name))
        return NULL;
    if (at_start)
        return refused_at_start(s, a, setting->name, value);
    said = set(s, a, setting->name, value);
    if (said)
        return (dash = after(said, "') - ")) ? dash : said;
    if (ret_normal &&
        REDIS_ASK(s->link, a, &now, NULL, "CONFIG", "GET", setting->name) == 0 &&
        now.list.count == 2)
        *ret_normal = now.list.items[1].text;
    return NULL;
}

const char *redis_scratch_version(struct redis_scratch *s, struct tw_arena *a)
{
    struct redis_reply info;

    return REDIS_ASK(s->link, a, &info, NULL, "INFO", "server") == 0
               ? redis_info(a, info.text, "redis_version")
               : NULL;
}
