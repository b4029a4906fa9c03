/* The scan of a change of rules: what listens on this host, what it says unasked, which TLS it speaks and until
 * when its certificate holds, and who reaches it through the rules before and after. Listeners are asked from
 * this host itself, each a few connections and no login; what a listener means to its users is not touched. */
#include "run_rules.h"

#include "tw/client.h"

#include <string.h>

#define LISTENERS_MAX 24
#define PASS_S        0.4
#define DAY_NS        (INT64_C(86400) * TW_SEC_NS)
#define SOON_DAYS     30
#define NEVER_SAID    "\001" /* expected of a reply, so that its first line is given back */

static const char *const versions[] = {"1.0", "1.1", "1.2", "1.3"};

struct listener {
    struct tw_endpoint of;
    const char *reached, *says;        /* where it is asked; its first line; NULL */
    bool tls[TW_COUNT_OF(versions)];
    struct tw_client_answer handshake; /* the newest TLS; end UNTRIED: none */
};
struct rules_scan {
    struct tw_arena *arena;            /* owned by the simulation at the end */
    struct listener list[LISTENERS_MAX];
    size_t count;
    const char *program;
    pthread_t thread;
    bool running;
};

/* ---- asking ---- */

static struct tw_client client_of(struct tw_arena *a, const struct listener *l, const char *protocol,
                                  const char *send)
{
    struct tw_client c = {.protocol = protocol, .address = l->reached, .port = l->of.port};

    if (send) {
        TW_PUSH(a, &c.send, send);
        c.expect = NEVER_SAID;
    }
    return c;
}

static int ask(struct rules_scan *scan, struct tw_client_session *session, const struct tw_clients *cases,
               struct tw_client_answers *ret)
{
    struct tw_client_answers both[TW_ARM_COUNT];
    int rc = cases->list.count ? tw_client_try(session, scan->arena, cases, PASS_S, false, both, NULL) : -ENOENT;

    if (rc == 0)
        *ret = both[TW_BASELINE];
    return rc;
}

static const char *first_line(const struct tw_client_answer *w)
{
    const char *words = w->replies.count ? w->replies.items[0].words : NULL;

    return words && *words ? words : NULL;
}

/* Who greets says so at once. */
static void ask_banners(struct rules_scan *scan, struct tw_client_session *session)
{
    struct tw_clients cases = {0};
    struct tw_client_answers got = {0};

    for (size_t i = 0; i < scan->count; i++)
        TW_PUSH(scan->arena, &cases.list, client_of(scan->arena, &scan->list[i], "tcp", ""));
    if (ask(scan, session, &cases, &got) < 0)
        return;
    for (size_t i = 0; i < scan->count; i++)
        scan->list[i].says = first_line(&got.list.items[i]);
}

/* Those who wait are greeted: by a question of HTTP, and a handshake of each version of TLS. */
static void ask_silent(struct rules_scan *scan, struct tw_client_session *session)
{
    struct tw_clients cases = {0};
    struct tw_client_answers got = {0};
    size_t at = 0;

    for (size_t i = 0; i < scan->count; i++) {
        struct listener *l = &scan->list[i];

        for (size_t v = 0; v < TW_COUNT_OF(versions) && !l->says; v++) {
            struct tw_client c = client_of(scan->arena, l, "tls", NULL);

            c.tls_min = c.tls_max = versions[v];
            TW_PUSH(scan->arena, &cases.list, c);
        }
        if (!l->says)
            TW_PUSH(scan->arena, &cases.list, client_of(scan->arena, l, "tcp", "HEAD / HTTP/1.0\r\n\r\n"));
    }
    if (ask(scan, session, &cases, &got) < 0)
        return;
    for (size_t i = 0; i < scan->count; i++) {
        struct listener *l = &scan->list[i];

        if (l->says)
            continue;
        for (size_t v = 0; v < TW_COUNT_OF(versions); v++, at++) {
            l->tls[v] = got.list.items[at].end == TW_CLIENT_SERVED;
            if (l->tls[v])
                l->handshake = got.list.items[at];
        }
        l->says = first_line(&got.list.items[at++]);
    }
}

static void *scan_main(void *arg)
{
    struct rules_scan *scan = arg;
    /* both arms are the host itself: the second is asked at a port where nobody is */
    struct tw_client_session_spec spec = {
        .plain = true,
        .program = scan->program,
        .way = {{.address = "127.0.0.1"}, {.address = "127.0.0.1", .port = 1}}};
    struct tw_client_session *session = NULL;

    if (tw_client_open(&spec, &session, NULL) == 0) {
        ask_banners(scan, session);
        ask_silent(scan, session);
    }
    tw_client_close(session);
    return NULL;
}

void run_rules_scan_begin(struct run *r)
{
    struct rules_scan *scan = tw_arena_alloc(r->v.sim->arena, sizeof *scan);

    scan->arena = tw_arena_new();
    scan->program = run_own_program(r);
    for (size_t i = 0; i < r->snapshot.endpoints.count && scan->count < LISTENERS_MAX; i++) {
        const struct tw_endpoint *e = &r->snapshot.endpoints.items[i];
        bool v6 = strchr(e->address, ':') != NULL, had = rules_is_loopback(e->address);

        for (size_t k = 0; k < scan->count; k++)
            had |= tw_streq(scan->list[k].of.protocol, e->protocol) && scan->list[k].of.port == e->port;
        if (had || !tw_streq(e->protocol, "tcp"))
            continue;
        scan->list[scan->count++] =
            (struct listener){.of = *e,
                              .reached = !tw_endpoint_is_any(e->address) ? e->address : v6 ? "::1" : "127.0.0.1",
                              .handshake.end = TW_CLIENT_UNTRIED};
    }
    r->v.rules->scan = scan;
    scan->running = pthread_create(&scan->thread, NULL, scan_main, scan) == 0;
}

void run_rules_scan_done(struct run *r)
{
    struct rules_scan *scan = r->v.rules ? r->v.rules->scan : NULL;

    if (!scan)
        return;
    if (scan->running)
        (void)pthread_join(scan->thread, NULL);
    scan->running = false;
    if (scan->arena)
        tw_arena_adopt(r->v.sim->arena, scan->arena);
    scan->arena = NULL;
}

/* ---- telling ---- */

static const char *tls_text(struct tw_arena *a, const struct listener *l)
{
    const char *text = NULL;

    for (size_t v = 0; v < TW_COUNT_OF(versions); v++)
        if (l->tls[v])
            text = text ? tw_arena_printf(a, "%s, %s", text, versions[v]) : versions[v];
    if (!text)
        return "";
    return tw_arena_printf(a, "; TLS %s, certificate of %s until %s", text,
                           l->handshake.subject ? l->handshake.subject : "nobody named",
                           l->handshake.not_after_wall_ns ? tw_iso_time(a, l->handshake.not_after_wall_ns)
                                                          : "an unknown day");
}

static void tell_tls(struct run *r, const struct listener *l)
{
    struct tw_arena *a = r->v.sim->arena;
    int64_t left = l->handshake.not_after_wall_ns - tw_wall_ns();
    const char *where = tw_arena_printf(a, "tcp port %d at %s%s", l->of.port, l->of.address, tls_text(a, l));

    if (l->tls[0] || l->tls[1])
        (void)tw_issue_add(a, &r->v.issues, TW_MEDIUM, TW_PROCEED, "scan.tls_old",
                           tw_arena_printf(a, "port %d takes TLS older than 1.2, as before the change", l->of.port),
                           where, "let it take TLS 1.2 and 1.3 only");
    if (l->handshake.not_after_wall_ns && left < SOON_DAYS * DAY_NS)
        (void)tw_issue_add(a, &r->v.issues, left < 0 ? TW_HIGH : TW_MEDIUM, TW_PROCEED, "scan.certificate",
                           tw_arena_printf(a, "the certificate of port %d %s", l->of.port,
                                           left < 0 ? "has expired" : "expires within 30 days"),
                           where, "renew it");
}

static void add_prefixes(struct tw_arena *a, struct tw_flow_zone *z, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct tw_flow_prefix p;

        (void)tw_flow_prefix(texts[i], &p, NULL);
        TW_PUSH(a, &z->prefixes, p);
    }
}

static const char *reach_word(enum tw_flow_reach reach)
{
    static const char *const words[TW_FLOW_REACH_COUNT] = {"nobody", "some", "everybody", "perhaps some"};

    return words[reach];
}

int run_rules_scan(struct run *r, struct tw_flow_space *s, struct tw_err *err)
{
    static const char *const public[] = {"1.0.0.0/8", "8.0.0.0/7", "64.0.0.0/3", "2000::/3"},
                            *const private[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"};
    struct rules_scan *scan = r->v.rules->scan;
    struct tw_arena *a = r->v.sim->arena;
    struct tw_flow_zone zones[2] = {{.name = "the internet"}, {.name = "private networks"}};
    struct tw_flow_service services[LISTENERS_MAX];
    struct tw_flow_matrix matrix;
    tw_auto_buf lines = {0};
    size_t n = scan->count;
    int rc;

    add_prefixes(a, &zones[0], public, TW_COUNT_OF(public));
    add_prefixes(a, &zones[1], private, TW_COUNT_OF(private));
    for (size_t k = 0; k < n; k++)
        services[k] = (struct tw_flow_service){
            tw_arena_printf(a, "tcp port %d (%s)", scan->list[k].of.port, scan->list[k].of.address), 6,
            scan->list[k].of.port};
    rc = tw_flow_zones(s, a, r->v.rules->side[TW_BASELINE].rules, r->v.rules->side[TW_CANDIDATE].rules,
                       TW_FLOW_TO_HOST, zones, TW_COUNT_OF(zones), services, n, &matrix, err);
    run_rules_scan_done(r);
    if (rc < 0)
        return rc;
    tw_buf_init(&lines, 32768);
    for (size_t k = 0; k < n; k++) {
        const struct listener *l = &scan->list[k];

        tw_buf_printf(&lines,
                      "%s%s: reached from the internet by %s before, %s after; from private networks by %s "
                      "before, %s after%s%s%s",
                      k ? "\n" : "", services[k].name, reach_word(matrix.list.items[k].before),
                      reach_word(matrix.list.items[k].after), reach_word(matrix.list.items[n + k].before),
                      reach_word(matrix.list.items[n + k].after), l->says ? "; says " : "",
                      l->says ? l->says : "", tls_text(a, l));
        tell_tls(r, l);
    }
    (void)tw_issue_add(a, &r->v.issues, TW_INFO, TW_PROCEED, "scan.listeners",
                       tw_arena_printf(a, "%zu port%s of this host take%s connections beyond loopback", n,
                                       n == 1 ? "" : "s", n == 1 ? "s" : ""),
                       n ? tw_buf_text(&lines) : "none", NULL);
    return 0;
}
