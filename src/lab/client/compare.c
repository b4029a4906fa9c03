/* Answers of both arms made into findings: who is lost, who is let in, who runs into a time-out. */
#include "client_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LONGEST_REST_S 3.0 /* what is longer is computed, not waited for */
#define MOST_AT_ONCE   300
#define MOST_QUOTED    4
#define USUAL_REST_S   2.0 /* that a transaction rests, where nothing else is known */
#define LONG_REST_S    600.0

/* ---- one kind of loss, however many clients it hits ---- */

struct loss {
    const char *code, *key; /* key: losses of one code and key are one finding */
    const char *title, *remedy;
    enum tw_severity severity;
    enum tw_verdict at_least;
    TW_ARRAY(const char *) told; /* "client: words" */
};
struct comparing {
    struct tw_arena *a;
    const struct tw_client_question *q;
    bool sure;
    struct tw_client_compared *out;
    TW_ARRAY(struct loss) losses;
    int lost;
    bool lost_seen; /* one that was given, or seen at the target */
};

static void tell(struct comparing *k, const struct loss *row, const char *told)
{
    struct loss *l = NULL;

    for (size_t i = 0; i < k->losses.count && !l; i++)
        if (tw_streq(k->losses.items[i].code, row->code) &&
            tw_streq(k->losses.items[i].key, row->key))
            l = &k->losses.items[i];
    if (!l) {
        TW_PUSH(k->a, &k->losses, *row);
        l = &k->losses.items[k->losses.count - 1];
    }
    if (row->at_least > l->at_least) {
        l->at_least = row->at_least;
        l->severity = row->severity;
    }
    for (size_t i = 0; i < l->told.count; i++)
        if (tw_streq(l->told.items[i], told))
            return;
    TW_PUSH(k->a, &l->told, told);
}

static void write_out(struct comparing *k, const struct loss *l)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 16384);
    for (size_t i = 0; i < l->told.count && i < MOST_QUOTED; i++)
        tw_buf_printf(&b, "%s%s", i ? "\n" : "", l->told.items[i]);
    if (l->told.count > MOST_QUOTED)
        tw_buf_printf(&b, "\nand %zu more", l->told.count - MOST_QUOTED);
    tw_issue_add(k->a, &k->out->issues, l->severity, l->at_least, l->code, l->title,
                 tw_buf_text(&b), l->remedy);
}

/* ---- lost ---- */

static const struct end_row {
    const char *code, *title, *remedy;
} end_rows[TW_CLIENT_END_COUNT] = {
    [TW_CLIENT_NO_WAY] =
        {"client.refused", "clients that are served today no longer reach it",
         "let the service listen where they connect, or move them first"},
    [TW_CLIENT_DENIED] = {"client.refused", "clients that are served today are refused",
                          "keep what lets them in, or change them first"},
    [TW_CLIENT_NO_TLS] = {"client.tls", "clients that are served today fail at TLS",
                          "offer what they speak and trust, or change them first"},
    [TW_CLIENT_HUNG] =
        {"client.hangs", "clients that are served today wait without an end",
         "see what they wait for; nothing tells them that it will not come"},
    [TW_CLIENT_CUT] = {"client.error", "clients that are served today are cut off",
                       "let them rest as long as they do, or change them first"}};

static bool is_known(const struct tw_client *c)
{
    static const char *const known[] = {"given", "statistics", "log"};

    return tw_name_index(c->origin, known, TW_COUNT_OF(known)) >= 0;
}

static const char *said(struct comparing *k, const struct tw_client *c,
                        const struct tw_client_answer *w)
{
    return tw_arena_printf(k->a, "%s: %s", c->name, w->words ? w->words : "no words");
}

static void judge_end(struct comparing *k, const struct tw_client *c,
                      const struct tw_client_answer *w)
{
    const struct end_row *row = &end_rows[w->end];
    bool known = is_known(c);
    struct loss l = {.code = row->code,
                     .key = tw_client_end_names[w->end],
                     .title = row->title,
                     .remedy = row->remedy,
                     .severity = known ? TW_CRITICAL : TW_HIGH,
                     .at_least =
                         known || w->end == TW_CLIENT_HUNG ? TW_BLOCK : TW_REVIEW};

    if (!row->code)
        return;
    k->lost++;
    k->lost_seen |= known;
    tell(k, &l, said(k, c, w));
}

/* ---- what it sends ---- */

static bool was_sent_before(const struct comparing *k, const char *sql)
{
    size_t n = strcspn(sql, "$'");

    for (size_t i = 0; i < k->q->snapshot->statements.count; i++)
        if (k->q->snapshot->statements.items[i].text &&
            strncasecmp(k->q->snapshot->statements.items[i].text, sql, n) == 0)
            return true;
    return false;
}

/* A protected answer given to somebody who shows no password. */
static bool is_unlocked(const struct tw_client *c, const struct tw_client_reply *b,
                        const struct tw_client_reply *n)
{
    static const char *const locked[] = {"401", "403", "NOAUTH", "NOPERM"};

    return !c->password && n->ok && b->code &&
           tw_name_index(b->code, locked, TW_COUNT_OF(locked)) >= 0;
}

static void judge_reply(struct comparing *k, const struct tw_client *c,
                        const struct tw_client_reply *b, const struct tw_client_reply *n)
{
    bool worked = b->ok || b->data_fault,
         works = n->ok || (n->data_fault && b->data_fault);
    bool unused = strncasecmp(n->sent, "PREPARE TRANSACTION", 19) == 0 && !is_known(c) &&
                  !was_sent_before(k, n->sent);
    const char *told = tw_arena_printf(k->a, "%s, %s: %s%s%s", c->name, n->sent,
                                       n->words ? n->words : "no words",
                                       n->code ? ", " : "", n->code ? n->code : "");

    if (is_unlocked(c, b, n))
        tell(k,
             &(struct loss){"client.admitted",
                            "unlocked",
                            "what asked for a login today is given to anybody",
                            "keep the login in front of it",
                            TW_CRITICAL,
                            TW_BLOCK,
                            {0}},
             tw_arena_printf(k->a, "%s, %s: %s before, %s now", c->name, n->sent, b->code,
                             n->code ? n->code : "served"));
    if (worked && !works)
        tell(
            k,
            &(struct loss){"client.error",
                           n->code ? n->code : "",
                           "what clients send is refused that works today",
                           "see what the service says; the same works without the change",
                           unused ? TW_HIGH : TW_CRITICAL,
                           unused ? TW_REVIEW : TW_BLOCK,
                           {0}},
            told);
    else if (b->ok && n->ok && !tw_streq(b->code, n->code))
        tell(k,
             &(struct loss){"client.changed",
                            n->code,
                            "a request gets another kind of answer",
                            "see whether clients expect that",
                            TW_MEDIUM,
                            TW_REVIEW,
                            {0}},
             tw_arena_printf(k->a, "%s, %s: %s before, %s now", c->name, n->sent, b->code,
                             n->code));
}

static void judge_replies(struct comparing *k, const struct tw_client *c,
                          const struct tw_client_answer *b,
                          const struct tw_client_answer *n)
{
    for (size_t i = 0; i < b->replies.count && i < n->replies.count; i++)
        if (tw_streq(b->replies.items[i].sent, n->replies.items[i].sent))
            judge_reply(k, c, &b->replies.items[i], &n->replies.items[i]);
}

/* ---- TLS: also for those who verify, where the one that was tried does not ---- */

static bool in_time(const struct tw_client_answer *w, int64_t now)
{
    return w->not_after_wall_ns > now && w->not_before_wall_ns <= now;
}

static bool lost_names(const struct tw_client_answer *b, const struct tw_client_answer *n)
{
    tw_auto_free char *names = b->names ? strdup(b->names) : NULL;
    char *rest = names;

    if (!n->names)
        return names != NULL;
    for (char *name; rest && (name = strsep(&rest, ","));)
        if (!strstr(n->names, name))
            return true;
    return false;
}

static void judge_tls(struct comparing *k, const struct tw_client *c,
                      const struct tw_client_answer *b, const struct tw_client_answer *n)
{
    int64_t now = tw_wall_ns();
    struct loss l = {.code = "client.tls", .severity = TW_HIGH, .at_least = TW_REVIEW};
    const char *told = NULL;

    if (!b->tls_version)
        return;
    if (!n->tls_version) {
        l.key = "plain";
        l.title = "clients go on without encryption";
        l.remedy = "keep TLS on; a client that only prefers it does not notice";
        told = tw_arena_printf(k->a, "%s: %s before, none now", c->name, b->tls_version);
    } else if (in_time(b, now) && n->not_after_wall_ns && !in_time(n, now)) {
        l.key = "expired";
        l.title =
            "the certificate is not valid today: every client that verifies it fails";
        l.remedy = "install one that is valid, or correct the clock of who made it";
        l.at_least = TW_BLOCK;
        told = tw_arena_printf(k->a, "%s: valid from %s to %s", n->subject,
                               tw_iso_time(k->a, n->not_before_wall_ns),
                               tw_iso_time(k->a, n->not_after_wall_ns));
    } else if (b->issuer && n->issuer && !tw_streq(b->issuer, n->issuer)) {
        l.key = "issuer";
        l.title =
            "the certificate comes from another issuer: clients that verify need its CA";
        l.remedy = "give the new CA to the clients first";
        told = tw_arena_printf(k->a, "%s before, %s now", b->issuer, n->issuer);
    } else if (lost_names(b, n)) {
        l.key = "names";
        l.title = "the certificate lacks names that it has today";
        l.remedy = "keep the names by which clients connect";
        told = tw_arena_printf(k->a, "%s before, %s now", b->names,
                               n->names ? n->names : "none");
    }
    if (told)
        tell(k, &l, told);
}

/* ---- rests against time-outs ---- */

double client_setting_s(const struct tw_client_answer *w, const char *name)
{
    for (size_t i = 0; i < w->settings.count; i++) {
        const struct tw_setting *s = &w->settings.items[i];

        if (tw_streq(s->name, name))
            return strtod(s->value, NULL) * (tw_streq(s->unit, "ms") ? 1e-3 : 1);
    }
    return NAN;
}

static bool runs_into(const struct tw_client_answer *w, const char *name, double seconds)
{
    double limit = client_setting_s(w, name);

    return limit > 0 && seconds > limit;
}

/* How long a transaction of this client rests: as was given or seen; else what is usual. */
static double rest_in_transaction(const struct tw_client *c)
{
    bool own = c->send.count && strncasecmp(c->send.items[0], "BEGIN", 5) == 0;

    return own || tw_streq(c->origin, "given") ? c->think_s
                                               : fmin(c->think_s, USUAL_REST_S);
}

/* A session that was seen at rest for hours may be one that nobody misses: that is what such a time-out
 * is for. One that rests for minutes is a pool's. */
static enum tw_verdict weight_of_rest(const struct tw_client *c, double limit_s)
{
    if (tw_streq(c->origin, "given"))
        return TW_BLOCK;
    return limit_s >= LONG_REST_S ? TW_PROCEED : is_known(c) ? TW_BLOCK : TW_REVIEW;
}

static void judge_rests(struct comparing *k, const struct tw_client *c,
                        const struct tw_client_answer *b,
                        const struct tw_client_answer *n)
{
    const struct {
        const char *name;
        double rest_s;
        bool open; /* in a transaction */
    } rests[] = {{"idle_session_timeout", c->think_s, false},
                 {"idle_in_transaction_session_timeout", rest_in_transaction(c), true},
                 {"transaction_timeout", rest_in_transaction(c), true}};

    for (size_t i = 0; i < TW_COUNT_OF(rests); i++) {
        enum tw_verdict weight = weight_of_rest(c, client_setting_s(n, rests[i].name));

        if (!(rests[i].rest_s > 0) || !runs_into(n, rests[i].name, rests[i].rest_s) ||
            runs_into(b, rests[i].name, rests[i].rest_s))
            continue;
        if (client_setting_s(n, rests[i].name) + 0.5 <= LONGEST_REST_S) {
            struct tw_client again = *c;

            again.think_s = fmin(c->think_s, client_setting_s(n, rests[i].name) + 0.5);
            again.count = 1;
            if (!tw_streq(c->origin, "given") || !c->send.count) {
                again.send.count = 0;
                if (rests[i].open)
                    TW_PUSH(k->a, &again.send, "BEGIN");
            }
            TW_PUSH(k->a, &k->out->doubtful.list, again);
            return;
        }
        tell(k,
             &(struct loss){"client.error",
                            rests[i].name,
                            "clients that are served today are cut off at rest",
                            "let them rest as long as they do, or change them first",
                            weight == TW_BLOCK    ? TW_CRITICAL
                            : weight == TW_REVIEW ? TW_HIGH
                                                  : TW_LOW,
                            weight,
                            {0}},
             tw_arena_printf(k->a, "%s rests %s; %s is %s now", c->name,
                             tw_show_seconds(k->a, rests[i].rest_s), rests[i].name,
                             tw_show_seconds(k->a, client_setting_s(n, rests[i].name))));
    }
}

/* Statements of the role that take longer on average than they may now. */
static void judge_statements(struct comparing *k, const struct tw_client *c,
                             const struct tw_client_answer *b,
                             const struct tw_client_answer *n)
{
    for (size_t i = 0; i < k->q->snapshot->statements.count; i++) {
        const struct tw_statement *st = &k->q->snapshot->statements.items[i];

        if (!tw_streq(st->user, c->user) || !tw_streq(st->database, c->database) ||
            !runs_into(n, "statement_timeout", st->mean_ms * 1e-3) ||
            runs_into(b, "statement_timeout", st->mean_ms * 1e-3))
            continue;
        tell(k,
             &(struct loss){"client.error",
                            "statement_timeout",
                            "statements that work today are cancelled for their length",
                            "give the time-out to the roles that are always short",
                            TW_CRITICAL,
                            TW_BLOCK,
                            {0}},
             tw_arena_printf(
                 k->a, "%s, %s: %s on average in %lld calls, %s allowed", c->name,
                 st->text, tw_show_seconds(k->a, st->mean_ms * 1e-3),
                 (long long)st->calls,
                 tw_show_seconds(k->a, client_setting_s(n, "statement_timeout"))));
    }
}

/* ---- many at once ---- */

static double room(const struct tw_client_answer *w)
{
    double reserved = client_setting_s(w, "reserved_connections");

    return client_setting_s(w, "max_connections") -
           client_setting_s(w, "superuser_reserved_connections") -
           (isnan(reserved) ? 0 : reserved);
}

static void ask_crowd(struct comparing *k, const struct tw_client *c, int count)
{
    struct tw_client again = *c;

    for (size_t i = 0; i < k->out->doubtful.list.count; i++)
        if (k->out->doubtful.list.items[i].count > 1 &&
            tw_streq(k->out->doubtful.list.items[i].user, c->user))
            return;
    again.think_s = 0;
    again.send.count = 0;
    again.count = count < MOST_AT_ONCE ? count : MOST_AT_ONCE;
    TW_PUSH(k->a, &k->out->doubtful.list, again);
}

static void judge_room(struct comparing *k, const struct tw_client *c,
                       const struct tw_client_answer *b, const struct tw_client_answer *n)
{
    int peak = k->q->peak;

    if (c->count > 1)
        ask_crowd(k, c, c->count);
    if (peak <= 1 || n->superuser || !(peak > room(n)) || peak > room(b))
        return;
    if (peak <= MOST_AT_ONCE) {
        ask_crowd(k, c, peak);
        return;
    }
    tell(k,
         &(struct loss){"client.refused",
                        "room",
                        "fewer clients fit than connect today",
                        "leave room for all of them, or put a pooler in between",
                        TW_CRITICAL,
                        TW_BLOCK,
                        {0}},
         tw_arena_printf(k->a, "%d at once were seen or given, %.0f fit now, %.0f before",
                         peak, room(n), room(b)));
}

static void judge_crowd(struct comparing *k, const struct tw_client *c,
                        const struct tw_client_answer *b,
                        const struct tw_client_answer *n)
{
    if (c->count <= 1 || n->reached >= b->reached)
        return;
    k->lost_seen = true;
    tell(k,
         &(struct loss){"client.refused",
                        "room",
                        "fewer clients fit than connect today",
                        "leave room for all of them, or put a pooler in between",
                        TW_CRITICAL,
                        TW_BLOCK,
                        {0}},
         tw_arena_printf(k->a, "%s, %d at once: %d get in, %d did before: %s", c->name,
                         c->count, n->reached, b->reached,
                         n->words ? n->words : "no words"));
}

/* ---- let in ---- */

static bool is_near(const struct tw_client *c)
{
    return tw_client_is_inside(c);
}

static void judge_admitted(struct comparing *k, const struct tw_client *c,
                           const struct tw_client_answer *n)
{
    bool stranger = tw_streq(c->origin, CLIENT_STRANGER);
    bool outsider = tw_streq(c->origin, CLIENT_OUTSIDER);
    struct loss l = {.code = "client.admitted",
                     .key = "known",
                     .title = "clients are let in that are refused today",
                     .severity = TW_LOW,
                     .at_least = TW_PROCEED};
    const char *can = n->reads_files ? ", as superuser, and reads the server's files"
                      : n->superuser ? ", as superuser"
                                     : "";

    if (stranger) {
        l.code = "access.anonymous";
        l.key = is_near(c) ? "near" : "far";
        l.title = is_near(c) ? "anybody on the host is let in without a password"
                             : "anybody is let in without a password";
        l.remedy = "ask for scram-sha-256, and name the networks that the clients are in";
        l.severity = is_near(c) && !n->superuser ? TW_HIGH : TW_CRITICAL;
        l.at_least = is_near(c) ? TW_REVIEW : TW_BLOCK;
    } else if (outsider && n->superuser) {
        l.key = "superuser";
        l.title = "a superuser may log in from everywhere, with a password alone";
        l.remedy = "name the networks that administrators come from";
        l.severity = TW_HIGH;
        l.at_least = TW_REVIEW;
    }
    tell(k, &l, tw_arena_printf(k->a, "%s logs in%s", c->name, can));
}

/* ---- all ---- */

static void judge_served(struct comparing *k, const struct tw_client *c,
                         const struct tw_client_answer *b,
                         const struct tw_client_answer *n)
{
    judge_replies(k, c, b, n);
    judge_tls(k, c, b, n);
    if (k->sure)
        return;
    judge_rests(k, c, b, n);
    judge_statements(k, c, b, n);
    judge_room(k, c, b, n);
}

static void judge_one(struct comparing *k, const struct tw_client *c,
                      const struct tw_client_answer *b, const struct tw_client_answer *n)
{
    bool before = b->end == TW_CLIENT_SERVED, now = n->end == TW_CLIENT_SERVED;
    bool nobody =
        tw_streq(c->origin, CLIENT_STRANGER) || tw_streq(c->origin, CLIENT_OUTSIDER);

    if (b->end == TW_CLIENT_UNTRIED || n->end == TW_CLIENT_UNTRIED)
        return;
    k->out->tried++;
    k->out->worked_before += before && !nobody;
    if (k->sure && c->count > 1) {
        judge_crowd(k, c, b, n);
        return;
    }
    if (!before && now)
        judge_admitted(k, c, n);
    if (nobody)
        return; /* whether a stranger is still let in is no loss */
    if (before && !now)
        judge_end(k, c, n);
    else if (before)
        judge_served(k, c, b, n);
    else if (b->end == n->end)
        judge_replies(k, c, b, n);
}

/* Nobody left of those who were served: then it does not matter how well each was known. */
static void weigh(struct comparing *k)
{
    bool all = k->lost && k->lost == k->out->worked_before;

    for (size_t i = 0; i < k->losses.count; i++) {
        struct loss *l = &k->losses.items[i];

        if (all && l->at_least == TW_REVIEW &&
            (tw_streq(l->code, "client.refused") || tw_streq(l->code, "client.tls"))) {
            l->at_least = TW_BLOCK;
            l->severity = TW_CRITICAL;
        }
    }
}

void tw_client_compare(struct tw_arena *a, const struct tw_clients *cases,
                       const struct tw_client_answers answers[TW_ARM_COUNT],
                       const struct tw_client_question *question, bool sure,
                       struct tw_client_compared *ret)
{
    struct comparing k = {.a = a, .q = question, .sure = sure, .out = ret};

    *ret = (struct tw_client_compared){0};
    for (size_t i = 0; i < cases->list.count; i++)
        judge_one(&k, &cases->list.items[i], &answers[TW_BASELINE].list.items[i],
                  &answers[TW_CANDIDATE].list.items[i]);
    weigh(&k);
    for (size_t i = 0; i < k.losses.count; i++)
        write_out(&k, &k.losses.items[i]);
}
