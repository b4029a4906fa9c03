/* What HAProxy counts, asked over its stats socket. */
#include "kind_haproxy_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int haproxy_ask(const char *socket_path, const char *command, size_t max, char **ret_text,
                struct tw_err *err)
{
    tw_auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval wait = {2, 0};
    tw_auto_buf text = {0};
    char part[16384];
    ssize_t n;

    if (fd < 0 || strlen(socket_path) >= sizeof to.sun_path)
        return tw_fail(err, -EINVAL, "socket '%s'", socket_path);
    (void)strcpy(to.sun_path, socket_path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
        return tw_fail_errno(err, errno, "socket '%s'", socket_path);
    if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0 ||
        send(fd, "\n", 1, MSG_NOSIGNAL) < 0)
        return tw_fail_errno(err, errno, "asking '%s'", socket_path);
    tw_buf_init(&text, max);
    while ((n = recv(fd, part, sizeof part, 0)) > 0)
        tw_buf_add(&text, part, (size_t)n);
    *ret_text = tw_buf_take(&text);
    return 0;
}

/* ---- the table ---- */

static const struct {
    const char *column;
    size_t offset;
} numbers[] = {
    {"scur", offsetof(struct haproxy_stat, sessions)},
    {"stot", offsetof(struct haproxy_stat, total)},
    {"qmax", offsetof(struct haproxy_stat, queued_most)},
    {"smax", offsetof(struct haproxy_stat, sessions_most)},
    {"slim", offsetof(struct haproxy_stat, limit)},
    {"dreq", offsetof(struct haproxy_stat, denied)},
    {"econ", offsetof(struct haproxy_stat, errors_connect)},
    {"eresp", offsetof(struct haproxy_stat, errors_reply)},
    {"wretr", offsetof(struct haproxy_stat, retries)},
    {"wredis", offsetof(struct haproxy_stat, redispatched)},
    {"hrsp_5xx", offsetof(struct haproxy_stat, replies_5xx)},
};

static void take_cell(const char *column, const char *cell, struct haproxy_stat *s)
{
    if (tw_streq(column, "pxname"))
        s->proxy = cell;
    else if (tw_streq(column, "svname"))
        s->server = cell;
    else if (tw_streq(column, "status"))
        s->status = cell;
    else if (tw_streq(column, "mode"))
        s->mode = cell;
    else if (tw_streq(column, "weight"))
        s->weight = atoi(cell);
    else if (tw_streq(column, "act"))
        s->active = atoi(cell) > 0;
    for (size_t i = 0; i < TW_COUNT_OF(numbers); i++)
        if (tw_streq(column, numbers[i].column))
            *(double *)(void *)((char *)s + numbers[i].offset) =
                *cell ? strtod(cell, NULL) : NAN;
}

void haproxy_read_stats(struct tw_arena *a, const char *csv, struct haproxy_stats *ret)
{
    TW_ARRAY(const char *) columns = {0};
    char *rest = tw_arena_strdup(a, csv), *line = strsep(&rest, "\n");

    *ret = (struct haproxy_stats){0};
    line += strspn(line, "# ");
    for (char *word; (word = strsep(&line, ","));)
        TW_PUSH(a, &columns, word);
    while (rest && (line = strsep(&rest, "\n"))) {
        struct haproxy_stat s = {0};
        size_t i = 0;

        for (char *cell; (cell = strsep(&line, ",")) && i < columns.count; i++)
            take_cell(columns.items[i], cell, &s);
        if (!s.proxy || !s.server)
            continue;
        s.is_frontend = tw_streq(s.server, "FRONTEND");
        s.is_backend = tw_streq(s.server, "BACKEND");
        s.is_server = !s.is_frontend && !s.is_backend;
        TW_PUSH(a, &ret->list, s);
    }
}

/* ---- judged ---- */

/* Sessions enough that chance does not do it: with two equal servers all of 100 on one side happens
 * once in 2^99. */
#define SKEW_LEAST 100
#define SKEW_SHARE 0.95

struct share {
    double all, most;
    const char *server;
    int servers;
};

static struct share share_of(const struct haproxy_stats *stats, const char *proxy)
{
    struct share s = {0};

    for (size_t i = 0; i < stats->list.count; i++) {
        const struct haproxy_stat *one = &stats->list.items[i];

        if (!one->is_server || !tw_streq(one->proxy, proxy) || !one->active ||
            one->weight <= 0)
            continue;
        s.servers++;
        s.all += isnan(one->total) ? 0 : one->total;
        if (one->total > s.most) {
            s.most = one->total;
            s.server = one->server;
        }
    }
    return s;
}

static void judge_share(struct tw_arena *a, const struct haproxy_stats *stats,
                        const char *proxy, struct tw_issues *issues)
{
    struct share s = share_of(stats, proxy);

    if (s.servers < 2 || s.all < SKEW_LEAST || s.most < SKEW_SHARE * s.all)
        return;
    tw_issue_add(
        a, issues, TW_HIGH, TW_REVIEW, "balance.skewed",
        tw_arena_printf(a, "one server of '%s' gets all the work", proxy),
        tw_arena_printf(a, "show stat: %s got %.0f of %.0f sessions, of %d servers",
                        s.server, s.most, s.all, s.servers),
        "balance by roundrobin or leastconn, or by a key that differs between clients: "
        "behind one address 'source' sees one client");
}

static const struct {
    const char *code;
    enum tw_severity severity;
    enum tw_verdict verdict;
    size_t offset;
    const char *before, *after, *unit, *remedy; /* the title: before 'proxy' after */
} rows[] = {
    {"queue.waits", TW_MEDIUM, TW_PROCEED, offsetof(struct haproxy_stat, queued_most),
     "requests of", "wait for a free slot", "waited at once (qmax)",
     "raise maxconn of its servers, or add servers"},
    {"upstream.refused", TW_HIGH, TW_REVIEW,
     offsetof(struct haproxy_stat, errors_connect), "connections to servers of", "fail",
     "failed (econ)", "correct address and port, add 'check' and 'option redispatch'"},
    {"upstream.retried", TW_HIGH, TW_REVIEW, offsetof(struct haproxy_stat, retries),
     "requests of", "wait until connections are tried again", "tries (wretr)",
     "add 'check', so that a dead server is left out"},
    {"upstream.closed", TW_HIGH, TW_REVIEW, offsetof(struct haproxy_stat, errors_reply),
     "servers of", "fail to answer", "answers failed (eresp)",
     "see timeout server, and the servers themselves"},
};

static void judge_counts(struct tw_arena *a, const struct haproxy_stat *s,
                         struct tw_issues *issues)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        double value = *(const double *)(const void *)((const char *)s + rows[i].offset);

        if (!(value > 0))
            continue;
        tw_issue_add(
            a, issues, rows[i].severity, rows[i].verdict, rows[i].code,
            tw_arena_printf(a, "%s '%s' %s", rows[i].before, s->proxy, rows[i].after),
            tw_arena_printf(a, "show stat: %.0f %s", value, rows[i].unit),
            rows[i].remedy);
    }
}

/* A frontend that reached its limit leaves clients waiting in the kernel's queue. */
static void judge_limit(struct tw_arena *a, const struct haproxy_stat *s,
                        struct tw_issues *issues)
{
    if (!(s->limit > 0) || !(s->sessions_most >= s->limit))
        return;
    tw_issue_add(
        a, issues, TW_HIGH, TW_REVIEW, "limit.connections",
        tw_arena_printf(a, "'%s' reaches its limit of connections", s->proxy),
        tw_arena_printf(a,
                        "show stat: %.0f at once, maxconn is %.0f; further clients wait "
                        "without being accepted",
                        s->sessions_most, s->limit),
        "raise maxconn, global and of the frontend");
}

void haproxy_judge_stats(struct tw_arena *a, const struct haproxy_stats *stats,
                         struct tw_issues *issues)
{
    for (size_t i = 0; i < stats->list.count; i++) {
        const struct haproxy_stat *s = &stats->list.items[i];

        if (s->is_backend) {
            judge_share(a, stats, s->proxy, issues);
            judge_counts(a, s, issues);
        } else if (s->is_frontend) {
            judge_limit(a, s, issues);
        }
    }
}
