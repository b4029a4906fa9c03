/* Found without a request: room for connections, what no health check sees, doors that open. What
 * was so before is no news. */
#include "kind_haproxy_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct judging {
    struct tw_arena *a;
    const struct tw_access *x;
    const struct haproxy_conf *now, *before;
    const struct tw_plan *plan;
    struct tw_issues *issues;
};

static int same_section(const struct judging *j, const struct haproxy_conf *in,
                        int section)
{
    const char *label = haproxy_section(j->a, j->now, section);

    for (size_t i = 0; i < in->list.count; i++)
        if (in->list.items[i].section < 0 &&
            tw_streq(haproxy_section(j->a, in, (int)i), label))
            return (int)i;
    return -1;
}

static const char *where(const struct judging *j, const struct haproxy_line *l)
{
    return tw_arena_printf(j->a, "%s line %d: %s", l->file, l->line,
                           tw_redact_text(NULL, j->a, haproxy_text(j->a, l, 0)));
}

/* ---- room for connections ---- */

static double maxconn_of(const struct haproxy_conf *c, const char *section)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];

        if (l->section >= 0 && haproxy_is(l, "maxconn", NULL) && haproxy_word(l, 1) &&
            haproxy_is(&c->list.items[l->section], section, NULL))
            return strtod(haproxy_word(l, 1), NULL);
    }
    return INFINITY;
}

static void judge_room(const struct judging *j)
{
    static const char *const sections[] = {"global", "defaults"};
    const struct tw_snapshot *s = j->x->snapshot;
    double peak =
        fmax(fmax(s->peak_connections, s->connections_used), j->plan->connections);

    for (size_t i = 0; i < TW_COUNT_OF(sections); i++) {
        double now = maxconn_of(j->now, sections[i]),
               before = maxconn_of(j->before, sections[i]);

        if (peak > 0 && now < before && now < peak)
            tw_issue_add(
                j->a, j->issues, TW_HIGH, TW_REVIEW, "limit.connections",
                "haproxy accepts fewer connections than it has clients",
                tw_arena_printf(j->a,
                                "maxconn %.0f in %s; %.0f clients at once were seen, "
                                "the rest waits without being accepted",
                                now, sections[i], peak),
                "keep maxconn above the peak");
    }
}

/* ---- servers ---- */

struct servers {
    int count, checked, bounded;
    const struct haproxy_line *first_bounded;
};

static struct servers servers_of(const struct haproxy_conf *c, int section)
{
    struct servers s = {0};

    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];
        const struct haproxy_line *standard;
        bool checked = false;

        if (l->section != section || !haproxy_is(l, "server", NULL))
            continue;
        standard = haproxy_effective(c, section, "default-server", NULL);
        for (size_t k = 3; k < l->words.count; k++)
            checked |= tw_streq(l->words.items[k], "check");
        for (size_t k = 1; standard && k < standard->words.count; k++)
            checked |= tw_streq(standard->words.items[k], "check");
        s.count++;
        s.checked += checked;
        if (haproxy_after(l, "maxconn")) {
            s.bounded++;
            s.first_bounded = l;
        }
    }
    return s;
}

static bool redispatches(const struct haproxy_conf *c, int section)
{
    return haproxy_effective(c, section, "option", "redispatch") != NULL;
}

static bool is_blind(const struct haproxy_conf *c, int section)
{
    struct servers s = servers_of(c, section);

    return s.count > 1 && s.checked < s.count && !redispatches(c, section);
}

static bool waits_short(const struct haproxy_conf *c, int section)
{
    return servers_of(c, section).bounded &&
           !haproxy_effective(c, section, "timeout", "queue");
}

static void judge_servers(const struct judging *j, int section, int old)
{
    const char *label = haproxy_section(j->a, j->now, section);
    const struct haproxy_line *connect =
        haproxy_effective(j->now, section, "timeout", "connect");

    if (is_blind(j->now, section) && (old < 0 || !is_blind(j->before, old)))
        tw_issue_add(
            j->a, j->issues, TW_HIGH, TW_REVIEW, "upstream.unchecked",
            "a dead server would not be noticed: its share of requests fails slowly",
            tw_arena_printf(j->a,
                            "%s has %d servers, %d with 'check', and no 'option "
                            "redispatch'",
                            label, servers_of(j->now, section).count,
                            servers_of(j->now, section).checked),
            "add 'check' to its servers and 'option redispatch'");
    if (waits_short(j->now, section) && (old < 0 || !waits_short(j->before, old)))
        tw_issue_add(j->a, j->issues, TW_MEDIUM, TW_REVIEW, "queue.timeout",
                     "requests that wait for a slot are given up after 'timeout connect'",
                     tw_arena_printf(j->a, "%s; %s sets no 'timeout queue'%s%s",
                                     where(j, servers_of(j->now, section).first_bounded),
                                     label, connect ? ", timeout connect is " : "",
                                     connect ? haproxy_word(connect, 2) : ""),
                     "set 'timeout queue' to what a client would wait");
}

/* ---- time-outs against what was seen ---- */

static void judge_timeouts(const struct judging *j, int section, int old)
{
    const struct haproxy_line *now =
        haproxy_effective(j->now, section, "timeout", "server");
    const struct haproxy_line *was =
        old < 0 ? NULL : haproxy_effective(j->before, old, "timeout", "server");
    const struct tw_snapshot *s = j->x->snapshot;
    const struct tw_sample_request *slow = NULL;

    for (size_t i = 0; i < s->requests.count; i++)
        if (s->requests.items[i].upstream_s > (slow ? slow->upstream_s : 0))
            slow = &s->requests.items[i];
    if (!slow || !now || !(haproxy_seconds(haproxy_word(now, 2)) < slow->upstream_s) ||
        (was && tw_streq(haproxy_word(was, 2), haproxy_word(now, 2))))
        return;
    tw_issue_add(j->a, j->issues, TW_HIGH, TW_REVIEW, "upstream.timeout",
                 "a time-out is shorter than answers take today",
                 tw_arena_printf(j->a, "%s; %s %s takes %.3f s on average in the log",
                                 where(j, now), slow->method, slow->path,
                                 slow->upstream_s),
                 "allow the slowest answer its time");
}

/* ---- what is spoken ---- */

static const char *mode_of(const struct haproxy_conf *c, int section)
{
    const char *mode = haproxy_word(haproxy_effective(c, section, "mode", NULL), 1);

    return mode ? mode : "tcp";
}

static const struct haproxy_line *other_protocol(const struct haproxy_conf *c,
                                                 int section)
{
    static const char *const checks[] = {"pgsql-check", "redis-check", "mysql-check",
                                         "smtpchk", "ldap-check"};
    const struct haproxy_line *found = NULL;

    for (size_t i = 0; i < TW_COUNT_OF(checks) && !found; i++)
        found = haproxy_effective(c, section, "option", checks[i]);
    return found;
}

static void judge_mode(const struct judging *j, int section, int old)
{
    const struct haproxy_line *check = other_protocol(j->now, section);
    bool http = tw_streq(mode_of(j->now, section), "http");

    if (!http || old < 0 || tw_streq(mode_of(j->before, old), "http"))
        return;
    tw_issue_add(
        j->a, j->issues, check ? TW_CRITICAL : TW_HIGH, check ? TW_BLOCK : TW_REVIEW,
        "protocol.mode",
        check ? "clients that do not speak HTTP are answered 400 Bad request"
              : "what passed unseen has to be HTTP now: anything else is answered 400",
        tw_arena_printf(j->a, "%s was 'mode tcp' and is 'mode http'%s%s",
                        haproxy_section(j->a, j->now, section), check ? "; " : "",
                        check ? where(j, check) : ""),
        "keep 'mode tcp' unless every client speaks HTTP");
}

/* ---- doors ---- */

static bool shows_stats(const struct haproxy_conf *c, int section)
{
    return (haproxy_effective(c, section, "stats", "enable") ||
            haproxy_effective(c, section, "stats", "uri")) &&
           !haproxy_effective(c, section, "stats", "auth") &&
           !haproxy_effective(c, section, "stats", "http-request");
}

static int guards(const struct haproxy_conf *c, int section)
{
    static const struct {
        const char *first, *second;
    } rules[] = {{"http-request", "deny"},   {"http-request", "auth"},
                 {"http-request", "reject"}, {"tcp-request", "connection"},
                 {"http-request", "tarpit"}, {"tcp-request", "content"}};
    int count = 0;

    for (size_t i = 0; i < c->list.count; i++)
        for (size_t k = 0; k < TW_COUNT_OF(rules); k++)
            count += c->list.items[i].section == section &&
                     haproxy_is(&c->list.items[i], rules[k].first, rules[k].second) &&
                     (!tw_streq(rules[k].first, "tcp-request") ||
                      tw_streq(haproxy_word(&c->list.items[i], 2), "reject"));
    return count;
}

static void judge_doors(const struct judging *j, int section, int old)
{
    const char *label = haproxy_section(j->a, j->now, section);
    bool admin = haproxy_effective(j->now, section, "stats", "admin") != NULL;

    if (shows_stats(j->now, section) && (old < 0 || !shows_stats(j->before, old)))
        tw_issue_add(
            j->a, j->issues, admin ? TW_CRITICAL : TW_HIGH, admin ? TW_BLOCK : TW_REVIEW,
            "exposure.stats",
            admin ? "anybody may switch servers off on the statistics page"
                  : "the statistics page is shown to anybody",
            tw_arena_printf(j->a, "%s enables stats without 'stats auth'", label),
            "add 'stats auth', or bind it to 127.0.0.1");
    if (old >= 0 && guards(j->before, old) && !guards(j->now, section))
        tw_issue_add(j->a, j->issues, TW_CRITICAL, TW_BLOCK, "exposure.access",
                     "a place that was closed is open to everybody",
                     tw_arena_printf(j->a, "%s had %d rules that refuse, and has none",
                                     label, guards(j->before, old)),
                     "keep the rules, or say why they may go");
}

static void judge_protocols(const struct judging *j)
{
    static const char *const old[] = {"SSLv3",       "TLSv1.0",      "TLSv1.1",
                                      "force-sslv3", "force-tlsv10", "force-tlsv11"};

    for (size_t i = 0; i < j->now->list.count; i++) {
        const struct haproxy_line *l = &j->now->list.items[i];
        const char *least = haproxy_after(l, "ssl-min-ver"), *found = NULL;
        bool known = false;

        for (size_t k = 0; k < TW_COUNT_OF(old) && l->section >= 0; k++) {
            for (size_t w = 1; w < l->words.count && k >= 3; w++)
                if (tw_streq(l->words.items[w], old[k]))
                    found = old[k];
            if (least && tw_streq(least, old[k]))
                found = old[k];
        }
        for (size_t k = 0; k < j->before->list.count && found; k++)
            known |= tw_streq(haproxy_text(j->a, &j->before->list.items[k], 0),
                              haproxy_text(j->a, l, 0));
        if (found && !known)
            tw_issue_add(j->a, j->issues, TW_MEDIUM, TW_REVIEW, "tls.deprecated",
                         "a protocol is allowed that is broken or deprecated",
                         where(j, l), "use ssl-min-ver TLSv1.2");
    }
}

/* ---- all of it ---- */

static void judge_listens(const struct judging *j)
{
    struct service_needs now = {0}, before = {0};

    haproxy_needs(j->a, j->x->root, j->now, j->x->snapshot, &now);
    haproxy_needs(j->a, "", j->before, j->x->snapshot, &before);
    service_listens_judge(j->a, &now, &before, j->issues);
}

void haproxy_judge_files(struct tw_arena *a, const struct tw_access *access,
                         const struct tw_plan *plan, struct tw_issues *issues)
{
    struct haproxy_conf now, before;
    struct tw_certificates certificates = {0};
    struct judging j = {a, access, &now, &before, plan, issues};

    haproxy_conf_of(a, access->root, access->snapshot, &now);
    haproxy_conf_of(a, "", access->snapshot, &before);
    if (!before.files.count)
        return;
    judge_room(&j);
    judge_listens(&j);
    judge_protocols(&j);
    haproxy_certificates(a, access->root, &now, &certificates);
    service_certificates_judge(a, &certificates, access->snapshot, issues);
    for (size_t i = 0; i < now.list.count; i++) {
        int old;

        if (!haproxy_is_proxy(&now.list.items[i]))
            continue;
        old = same_section(&j, &before, (int)i);
        judge_servers(&j, (int)i, old);
        judge_timeouts(&j, (int)i, old);
        judge_mode(&j, (int)i, old);
        judge_doors(&j, (int)i, old);
    }
}
