/* Time-outs of both ends of a path against its new round trip; connections at rest against something on the
 * path that forgets them. Arithmetic over what the configurations say: waiting it out would take minutes. */
#include "run_path.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RETRANSMIT_S 1.0 /* the first of a lost SYN: RFC 6298, 2.1 */
#define LOSS_TOLD    1e-3
#define NEAR         0.5 /* of a time-out: the rest is for the work itself */

/* What each takes of the path at least, in round trips. */
static const struct row {
    const char *kind, *name;
    double unit_s;   /* of a bare number */
    double trips;
    bool connects;
    const char *what;
} rows[] = {
    {"haproxy", "timeout connect", 1e-3, 1, true, "connecting to a server"},
    {"haproxy", "timeout server", 1e-3, 1, false, "waiting for an answer"},
    {"haproxy", "timeout check", 1e-3, 1, false, "a health check"},
    {"haproxy", "timeout queue", 1e-3, 1, false, "waiting in the queue for a server"},
    {"nginx", "proxy_connect_timeout", 1, 1, true, "connecting to an upstream"},
    {"nginx", "proxy_read_timeout", 1, 1, false, "waiting for an answer"},
    {"nginx", "fastcgi_connect_timeout", 1, 1, true, "connecting to an upstream"},
    {"nginx", "fastcgi_read_timeout", 1, 1, false, "waiting for an answer"},
    {"nginx", "uwsgi_connect_timeout", 1, 1, true, "connecting to an upstream"},
    {"nginx", "uwsgi_read_timeout", 1, 1, false, "waiting for an answer"},
    {"nginx", "grpc_connect_timeout", 1, 1, true, "connecting to an upstream"},
    {"pgbouncer", "server_connect_timeout", 1, 3, true, "logging in to a server"},
    {"pgbouncer", "query_timeout", 1, 1, false, "waiting for an answer"},
    {"pgbouncer", "query_wait_timeout", 1, 1, false, "waiting for a connection of the pool"},
    {"redis", "repl-timeout", 1, 1, false, "replication"},
    {NULL, "connect_timeout", 1, 1, true, "connecting"},
    {NULL, "CONNECT_TIMEOUT", 1, 1, true, "connecting"},
    {NULL, "connectTimeout", 1e-3, 1, true, "connecting"},
};

/* ---- where a time-out stands ---- */

static double duration(const char *text, double bare_s)
{
    static const struct {
        const char *name;
        double s;
    } units[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}};
    char *end;
    double value = strtod(text, &end);
    size_t n = strspn(end, "abcdefghijklmnopqrstuvwxyz");

    if (end == text)
        return NAN;
    for (size_t i = 0; i < TW_COUNT_OF(units); i++)
        if (strlen(units[i].name) == n && strncmp(units[i].name, end, n) == 0)
            return value * units[i].s;
    return n ? NAN : value * bare_s;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* "name VALUE", "name = VALUE", "name: VALUE", "name=VALUE": the first that is no comment. ret_line: it. */
static double value_in(struct tw_arena *a, const char *text, const char *name, double bare_s,
                       const char **ret_line)
{
    size_t len = strlen(name);

    for (const char *at = text; at && (at = strstr(at, name)); at += len) {
        const char *begin = at, *value = at + len;

        while (begin > text && begin[-1] != '\n')
            begin--;
        if (memchr(begin, '#', (size_t)(at - begin)) || (at > text && is_name_char(at[-1])) ||
            is_name_char(*value))
            continue;
        value += strspn(value, " \t=:\"'");
        if (!isdigit((unsigned char)*value))
            continue;
        begin += strspn(begin, " \t");
        *ret_line = tw_arena_strndup(a, begin, strcspn(begin, "\n"));
        return duration(value, bare_s);
    }
    return NAN;
}

static double configured(struct tw_arena *a, const struct tw_snapshot *s, const struct row *row,
                         const char **ret_line, const char **ret_file)
{
    if (row->kind && !tw_streq(row->kind, s->type))
        return NAN;
    for (size_t i = 0; i < s->files.count; i++) {
        double v = value_in(a, s->files.items[i].text, row->name, row->unit_s, ret_line);

        *ret_file = s->files.items[i].path;
        if (!isnan(v))
            return v;
    }
    for (size_t i = 0; i < s->settings.count; i++) {
        const struct tw_setting *one = &s->settings.items[i];

        if (!one->value || !tw_ends_with(one->name, row->name))
            continue;
        *ret_line = tw_arena_printf(a, "%s = %s", one->name, one->value);
        *ret_file = "its settings";
        return duration(one->value, row->unit_s);
    }
    return NAN;
}

/* ---- against the round trip ---- */

/* The share of connections whose first packets are lost and come again only after the time-out. */
static double late_share(const struct tw_network_request *n, double timeout_s)
{
    double pair = 1 - (1 - n->loss) * (1 - n->loss), wait = RETRANSMIT_S, share = pair;

    if (n->loss < LOSS_TOLD)
        return 0;
    for (double at = wait; at + n->latency_s < timeout_s && share > 1e-9; at += wait) {
        share *= pair;
        wait *= 2;
    }
    return share;
}

static void judge_row(struct run *r, const struct run_path *p, const struct tw_snapshot *s, const char *who,
                      const struct row *row)
{
    struct tw_arena *a = r->v.sim->arena;
    const char *line = NULL, *file = NULL;
    double limit = configured(a, s, row, &line, &file), longest = p->asked.latency_s + p->asked.jitter_s,
           need = row->trips * longest, late;

    /* an error that comes at once is waited for by nobody */
    if (!(limit > 0) || p->asked.route == TW_ROUTE_NONE)
        return;
    late = row->connects ? late_share(&p->asked, limit) : 0;
    if (path_is_cut(&p->asked) || need >= limit)
        (void)tw_issue_add(a, &r->v.issues, TW_CRITICAL, TW_BLOCK, "path.timeout",
                           tw_arena_printf(a, "'%s' gives up %s before the path can answer", who, row->what),
                           tw_arena_printf(a, "%s (%s): %s, and it takes %s", line, file, tw_show_seconds(a, limit),
                                           path_is_cut(&p->asked) ? "for ever" : tw_show_seconds(a, need)),
                           "make the time-out several times the new round trip");
    else if (need >= NEAR * limit)
        (void)tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "path.timeout",
                           tw_arena_printf(a, "'%s' has hardly time for %s over the new path", who, row->what),
                           tw_arena_printf(a, "%s (%s): of %s the path alone takes %s", line, file,
                                           tw_show_seconds(a, limit), tw_show_seconds(a, need)),
                           "make the time-out several times the new round trip");
    else if (late >= LOSS_TOLD)
        (void)tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "path.timeout",
                           tw_arena_printf(a, "'%s' gives up before a lost packet is sent again", who),
                           tw_arena_printf(a,
                                           "%s (%s): a lost first packet comes again after 1 s, 3 s, 7 s …; %.2g %% of "
                                           "the connections lose more than fits into %s",
                                           line, file, 100 * late, tw_show_seconds(a, limit)),
                           "keep connections open, or give them more than a second to be made");
}

/* ---- at rest ---- */

static double keepalive_s(const struct tw_snapshot *s, const char **ret_what)
{
    static const struct {
        const char *kind, *name;
    } names[] = {{"postgresql", "tcp_keepalives_idle"}, {"redis", "tcp-keepalive"}, {"pgbouncer", "tcp_keepidle"}};
    tw_auto_free char *text = NULL;
    int64_t system = 7200;

    for (size_t i = 0; s && i < TW_COUNT_OF(names); i++) {
        const struct tw_setting *one = tw_streq(names[i].kind, s->type) ? tw_snapshot_setting(s, names[i].name) : NULL;
        double v = one && one->value ? strtod(one->value, NULL) : 0;

        *ret_what = names[i].name;
        if (v > 0)
            return v;
    }
    *ret_what = "the system's tcp_keepalive_time";
    if (tw_read_file(AT_FDCWD, "/proc/sys/net/ipv4/tcp_keepalive_time", 64, &text, NULL, NULL) == 0)
        system = atoll(text);
    return (double)system;
}

/* The longest that somebody was seen, or is said, to rest between two uses. */
static double longest_rest(const struct run *r, const struct tw_snapshot *s, const char **ret_who)
{
    double longest = 0;

    for (size_t i = 0; s && i < s->clients.count; i++)
        if (s->clients.items[i].think_s > longest) {
            longest = s->clients.items[i].think_s;
            *ret_who = s->clients.items[i].user ? s->clients.items[i].user : "a client";
        }
    for (size_t i = 0; i < r->v.sim->plan.clients.count; i++) {
        const struct tw_client *c = &r->v.sim->plan.clients.items[i];

        if (c->think_s > longest) {
            longest = c->think_s;
            *ret_who = c->user ? c->user : "a client that was given";
        }
    }
    return longest;
}

static void judge_rest(struct run *r, const struct run_path *p)
{
    struct tw_arena *a = r->v.sim->arena;
    const char *what = NULL, *who = "nobody was seen to";
    double keeps = keepalive_s(p->callee, &what), rest = longest_rest(r, p->callee, &who),
           limit = p->asked.idle_timeout_s;

    if (!(limit > 0))
        return;
    if (keeps < limit)
        (void)tw_issue_add(a, &r->v.issues, TW_INFO, TW_PROCEED, "path.idle",
                           "connections at rest are kept alive often enough",
                           tw_arena_printf(a, "%s sends something every %s, the path forgets after %s", what,
                                           tw_show_seconds(a, keeps), tw_show_seconds(a, limit)),
                           NULL);
    else
        (void)tw_issue_add(
            a, &r->v.issues, rest > limit ? TW_CRITICAL : TW_MEDIUM, rest > limit ? TW_BLOCK : TW_REVIEW, "path.idle",
            rest > limit ? "connections that rest today hang at their next use"
                         : "connections at rest are forgotten before anything keeps them alive",
            tw_arena_printf(a, "forgotten after %s; first sign of life after %s (%s); %s rests %s",
                            tw_show_seconds(a, limit), tw_show_seconds(a, keeps), what, who,
                            rest > 0 ? tw_show_seconds(a, rest) : "that long"),
            tw_arena_printf(a, "keep-alive below %s at either end, or pools that close connections at rest sooner",
                            tw_show_seconds(a, limit)));
}

void path_judge_timeouts(struct run *r, struct run_path *p)
{
    const struct {
        const struct tw_snapshot *of;
        const char *name;
    } ends[] = {{p->caller, p->from}, {p->callee, p->to}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        for (size_t k = 0; k < TW_COUNT_OF(ends); k++)
            if (ends[k].of && (k == 0 || !rows[i].connects))
                judge_row(r, p, ends[k].of, ends[k].name, &rows[i]);
    judge_rest(r, p);
}
