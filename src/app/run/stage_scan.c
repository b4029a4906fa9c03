/* Stage: the scan of a security change of a service, on its running clones alone: which TLS each listener takes
 * and until when its certificate holds, what it says unasked, whom it lets in without a password. What both arms
 * have is no news; what the change brings forces a look. */
#include "run_internal.h"

#include "tw/client.h"

#include <string.h>

#define PASS_S    0.8
#define DAY_NS    (INT64_C(86400) * TW_SEC_NS)
#define SOON_DAYS 30
#define LISTENERS 8
#define NOT_SAID  "\001" /* expected of a reply, so that its first line is given back */

static const char *const versions[] = {"1.0", "1.1", "1.2", "1.3"};
#define OLD 2 /* of these */

struct cases_of { /* of one listener, in the order of asking */
    const struct tw_endpoint *at;
    size_t from; /* its handshakes, then who says what, then who is let in */
};
struct scan {
    struct run *r;
    struct tw_arena *a;
    struct tw_clients cases;
    struct tw_client_answers got[TW_ARM_COUNT];
    struct cases_of list[LISTENERS];
    size_t count;
};

/* ---- asking ---- */

static void add_cases(struct scan *s, const struct tw_endpoint *e)
{
    bool sql = tw_streq(e->protocol, "postgresql"), redis = tw_streq(e->protocol, "redis");
    struct tw_client hello = {.protocol = "tcp", .port = e->port, .expect = NOT_SAID},
                     anybody = {.protocol = redis ? "redis" : "tcp", .port = e->port};

    if (!e->port || tw_starts_with(e->address ? e->address : "", "127.") || s->count == LISTENERS)
        return;
    s->list[s->count++] = (struct cases_of){e, s->cases.list.count};
    for (size_t v = 0; v < TW_COUNT_OF(versions); v++)
        TW_PUSH(s->a, &s->cases.list,
                ((struct tw_client){.protocol = sql ? "postgresql" : "tls",
                                    .port = e->port,
                                    .user = sql ? "twin_nobody" : NULL,
                                    .database = sql ? "postgres" : NULL,
                                    .sslmode = sql ? "require" : NULL,
                                    .tls_min = versions[v],
                                    .tls_max = versions[v]}));
    TW_PUSH(s->a, &hello.send, tw_starts_with(e->protocol ? e->protocol : "", "http") ? "HEAD / HTTP/1.0\r\n\r\n" : "");
    TW_PUSH(s->a, &s->cases.list, hello);
    if (redis)
        TW_PUSH(s->a, &anybody.send, "DBSIZE");
    TW_PUSH(s->a, &s->cases.list, anybody);
}

static int ask(struct scan *s, struct tw_err *err)
{
    struct tw_client_session_spec spec = {.box = s->r->v.client, .program = run_own_program(s->r)};
    struct tw_client_session *session = NULL;
    int rc;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        spec.way[arm] = (struct tw_client_way){.address = RUN_TWIN_ADDRESS,
                                               .device = tw_arena_printf(s->a, "eth%d", arm)};
    rc = tw_client_open(&spec, &session, err);
    if (rc == 0)
        rc = tw_client_try(session, s->a, &s->cases, PASS_S, false, s->got, err);
    tw_client_close(session);
    return rc;
}

/* ---- telling ---- */

static bool takes(const struct scan *s, const struct cases_of *l, enum tw_arm arm, size_t v)
{
    const struct tw_client_answer *w = &s->got[arm].list.items[l->from + v];

    /* who is refused at login was let through the handshake */
    return w->tls_version && (w->end == TW_CLIENT_SERVED || w->end == TW_CLIENT_DENIED);
}

static bool takes_old(const struct scan *s, const struct cases_of *l, enum tw_arm arm)
{
    for (size_t v = 0; v < OLD; v++)
        if (takes(s, l, arm, v))
            return true;
    return false;
}

static const struct tw_client_answer *handshake(const struct scan *s, const struct cases_of *l, enum tw_arm arm)
{
    for (size_t v = TW_COUNT_OF(versions); v-- > 0;)
        if (takes(s, l, arm, v))
            return &s->got[arm].list.items[l->from + v];
    return NULL;
}

static const char *tls_text(const struct scan *s, const struct cases_of *l, enum tw_arm arm)
{
    const struct tw_client_answer *w = handshake(s, l, arm);
    const char *all = "";

    for (size_t v = 0; v < TW_COUNT_OF(versions); v++)
        if (takes(s, l, arm, v))
            all = tw_arena_printf(s->a, "%s%s%s", all, *all ? ", " : "TLS ", versions[v]);
    return !w ? "no TLS"
              : tw_arena_printf(s->a, "%s, certificate of %s until %s", all, w->subject ? w->subject : "nobody named",
                                w->not_after_wall_ns ? tw_iso_time(s->a, w->not_after_wall_ns) : "an unknown day");
}

static bool expires(const struct scan *s, const struct cases_of *l, enum tw_arm arm)
{
    const struct tw_client_answer *w = handshake(s, l, arm);

    return w && w->not_after_wall_ns && w->not_after_wall_ns - tw_wall_ns() < SOON_DAYS * DAY_NS;
}

static bool lets_in(const struct scan *s, const struct cases_of *l, enum tw_arm arm)
{
    const struct tw_client_answer *w = &s->got[arm].list.items[l->from + TW_COUNT_OF(versions) + 1];

    return tw_streq(l->at->protocol, "redis") && w->end == TW_CLIENT_SERVED && w->replies.count &&
           w->replies.items[0].ok;
}

static void tell_one(struct scan *s, const struct cases_of *l)
{
    static const struct {
        bool (*is)(const struct scan *s, const struct cases_of *l, enum tw_arm arm);
        const char *code, *what, *remedy;
    } rows[] = {
        {takes_old, "scan.tls_old", "takes TLS older than 1.2", "let it take TLS 1.2 and 1.3 only"},
        {expires, "scan.certificate", "has a certificate that expired or does within 30 days", "renew it"},
        {lets_in, "scan.anonymous", "answers commands without a password", "requirepass, or ACL users"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        bool had = rows[i].is(s, l, TW_BASELINE), has = rows[i].is(s, l, TW_CANDIDATE);

        if (has)
            (void)tw_issue_add(s->a, &s->r->v.issues, had ? TW_MEDIUM : TW_HIGH, had ? TW_PROCEED : TW_REVIEW,
                               rows[i].code,
                               tw_arena_printf(s->a, "port %d %s%s", l->at->port, rows[i].what,
                                               had ? ", as before the change" : ""),
                               tls_text(s, l, TW_CANDIDATE), rows[i].remedy);
    }
}

static void tell(struct scan *s)
{
    tw_auto_buf lines = {0};

    tw_buf_init(&lines, 16384);
    for (size_t i = 0; i < s->count; i++) {
        const struct cases_of *l = &s->list[i];
        const struct tw_client_answer *hello =
            &s->got[TW_CANDIDATE].list.items[l->from + TW_COUNT_OF(versions)];
        const char *says = hello->replies.count ? hello->replies.items[0].words : NULL;

        tell_one(s, l);
        tw_buf_printf(&lines, "%sport %d (%s): %s before, %s after%s%s", i ? "\n" : "", l->at->port,
                      l->at->protocol ? l->at->protocol : "tcp", tls_text(s, l, TW_BASELINE),
                      tls_text(s, l, TW_CANDIDATE), says && *says ? "; says " : "", says && *says ? says : "");
    }
    (void)tw_issue_add(s->a, &s->r->v.issues, TW_INFO, TW_PROCEED, "scan.listeners",
                       tw_arena_printf(s->a, "%zu port%s of the clones asked", s->count, s->count == 1 ? "" : "s"),
                       s->count ? tw_buf_text(&lines) : "it listens at no address of the network", NULL);
}

int run_scan(struct run *r, struct tw_err *err)
{
    struct scan s = {.r = r, .a = r->v.sim->arena};
    int rc;

    if (!r->v.sim->plan.scan || run_is_rules(r) || !r->members[RUN_CANDIDATE].started.ready ||
        !tw_priv_is_root(r->priv))
        return 0;
    for (size_t i = 0; i < r->snapshot.endpoints.count; i++)
        add_cases(&s, &r->snapshot.endpoints.items[i]);
    rc = run_client_open(r, err);
    if (rc == 0 && s.count)
        rc = ask(&s, err);
    if (rc == 0)
        tell(&s);
    return rc < 0 ? tw_wrap(err, rc, "the scan of the clones") : 0;
}
