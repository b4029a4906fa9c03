/* Stage: who connects, tried on both arms by a thread of its own beside the mix and the page cache,
 * and joined before anything is measured. */
#include "run_internal.h"

#include "tw/client.h"

#include <math.h>
#include <string.h>

#define FIRST_S 2.5 /* of which a commit may take 2 */
#define AGAIN_S 4.5 /* rests are rested then, and many come at once */

struct run_clients {
    struct tw_arena *arena; /* the thread's own; taken over when it is joined */
    pthread_t thread;
    bool running;
    struct tw_client_session *session; /* owned */
    struct tw_sandbox *beside[TW_ARM_COUNT]; /* owned; see open_beside() */
    struct tw_clients cases;
    struct tw_issues issues;
    struct tw_err err;
    int result, tried, worked;
    double seconds;
};

/* ---- where clients stand ---- */

static struct tw_client_way way_to(struct run *r, struct tw_arena *a, enum tw_arm arm)
{
    const struct tw_endpoint *e = run_endpoint(r);
    bool own = e && e->address &&
               strspn(e->address, "0123456789.") == strlen(e->address) &&
               !tw_streq(e->address, "0.0.0.0");

    return (struct tw_client_way){
        .address = own ? e->address : RUN_TWIN_ADDRESS,
        .port = tw_streq(r->kind->protocol, "postgresql") ? r->snapshot.port : 0,
        .device = tw_arena_printf(a, "eth%d", (int)arm),
        .socket_dir = tw_arena_printf(a, "/tw/%s", tw_arm_names[arm])};
}

static bool has_inside(const struct tw_clients *cases)
{
    for (size_t i = 0; i < cases->list.count; i++)
        if (tw_client_is_inside(&cases->list.items[i]))
            return true;
    return false;
}

/* Our program runs in no image but this host's: clients of the same host as the service stand in a
 * sandbox of ours that shares the network and the sockets of the container. */
static int open_beside(struct run *r, struct run_clients *k, enum tw_arm arm, struct tw_err *err)
{
    struct tw_twin *twin = run_twin_of(r, arm);
    struct tw_sandbox_spec spec = {.id = r->id,
                                   .name = arm == TW_BASELINE ? "beside-baseline" : "beside-candidate",
                                   .uid = r->uid ? r->uid : RUN_NOBODY,
                                   .gid = r->gid ? r->gid : RUN_NOBODY,
                                   .hostname = "client",
                                   .beside = tw_twin_sandbox(twin),
                                   .seccomp = true};
    struct tw_sandbox_mount runtime = {tw_twin_runtime_dir(twin), "/tw", true};

    TW_PUSH(k->arena, &spec.mounts, runtime);
    return tw_sandbox_open(r->priv, &spec, &k->beside[arm], err);
}

static int inside_of(struct run *r, struct run_clients *k, enum tw_arm arm, struct tw_sandbox **ret,
                     struct tw_err *err)
{
    int rc = 0;

    *ret = tw_twin_sandbox(run_twin_of(r, arm));
    if (tw_streq(tw_sandbox_backend(*ret), "native"))
        return 0;
    rc = open_beside(r, k, arm, err);
    *ret = k->beside[arm];
    return rc;
}

/* Sandboxes are told by one thread only, so this is not the business of the one that tries. */
static int open_session(struct run *r, struct run_clients *k, struct tw_err *err)
{
    struct tw_client_session_spec spec = {
        .program = r->options->program ? r->options->program : "/proc/self/exe"};
    bool inside = has_inside(&k->cases);
    int rc = 0;

    if (tw_priv_is_root(r->priv))
        spec.box = r->v.client;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        spec.way[arm] = way_to(r, k->arena, (enum tw_arm)arm);
        spec.inside_way[arm] = (struct tw_client_way){
            .address = "127.0.0.1", .port = spec.way[arm].port, .socket_dir = "/tw"};
        if (inside && rc == 0)
            rc = inside_of(r, k, (enum tw_arm)arm, &spec.inside[arm], err);
    }
    return rc < 0 ? rc : tw_client_open(&spec, &k->session, err);
}

/* ---- trying ---- */

static int peak_of(const struct run *r)
{
    if (r->v.sim->plan.connections > 0)
        return r->v.sim->plan.connections;
    return r->snapshot.peak_connections > r->snapshot.connections_used
               ? r->snapshot.peak_connections
               : r->snapshot.connections_used;
}

static void take(struct run_clients *k, const struct tw_issues *from)
{
    for (size_t i = 0; i < from->list.count; i++)
        TW_PUSH(k->arena, &k->issues.list, from->list.items[i]);
}

static void log_answers(const struct tw_clients *cases,
                        const struct tw_client_answers answers[TW_ARM_COUNT])
{
    for (size_t i = 0; i < cases->list.count; i++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            const struct tw_client_answer *w = &answers[arm].list.items[i];

            tw_log(TW_LOG_DEBUG, "client %s (%s), %s: %s in %.3f s%s%s",
                   cases->list.items[i].name, cases->list.items[i].origin,
                   tw_arm_names[arm], tw_client_end_names[w->end], w->seconds,
                   w->words ? ": " : "", w->words ? w->words : "");
        }
}

static int try_all(struct run *r, struct run_clients *k, struct tw_err *err)
{
    struct tw_client_question question = {&r->snapshot, peak_of(r)};
    struct tw_client_answers answers[TW_ARM_COUNT];
    struct tw_client_compared compared, again;
    int rc = tw_client_try(k->session, k->arena, &k->cases, FIRST_S, false, answers, err);

    if (rc < 0)
        return rc;
    log_answers(&k->cases, answers);
    tw_client_compare(k->arena, &k->cases, answers, &question, false, &compared);
    k->tried = compared.tried;
    k->worked = compared.worked_before;
    take(k, &compared.issues);
    if (!compared.doubtful.list.count)
        return 0;
    rc = tw_client_try(k->session, k->arena, &compared.doubtful, AGAIN_S, true, answers,
                       err);
    if (rc < 0)
        return rc;
    tw_client_compare(k->arena, &compared.doubtful, answers, &question, true, &again);
    take(k, &again.issues);
    return 0;
}

static void *clients_main(void *arg)
{
    struct run *r = arg;
    struct run_clients *k = r->v.clients;
    int64_t begun = tw_now_ns();

    k->result = try_all(r, k, &k->err);
    k->seconds = tw_seconds(tw_now_ns() - begun);
    return NULL;
}

/* ---- beside the others ---- */

static int begin(struct run *r, struct run_clients *k, struct tw_err *err)
{
    struct tw_client_sources sources = {0};
    int rc, e;

    tw_client_cases(k->arena, &r->snapshot, r->kind, &r->v.sim->plan, &k->cases);
    if (!k->cases.list.count)
        return 0;
    tw_client_sources_of(k->arena, &k->cases, &sources);
    for (size_t i = 0; i < sources.list.count; i++)
        run_client_source(r, tw_arena_strdup(r->arena, sources.list.items[i]));
    rc = run_client_open(r, err);
    if (rc == 0)
        rc = open_session(r, k, err);
    if (rc < 0)
        return tw_wrap(err, rc, "the clients");
    e = pthread_create(&k->thread, NULL, clients_main, r);
    if (e)
        return tw_fail_errno(err, e, "starting a thread");
    k->running = true;
    return 0;
}

static int start(struct run *r, struct tw_err *err)
{
    struct run_clients *k = tw_arena_alloc(r->v.sim->arena, sizeof *k);
    k->arena = tw_arena_new();
    r->v.clients = k;
    return begin(r, k, err);
}

void run_clients_end(struct run *r)
{
    struct run_clients *k = r->v.clients;

    if (!k)
        return;
    if (k->running)
        (void)pthread_join(k->thread, NULL);
    r->v.clients = NULL;
    tw_client_close(k->session);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        tw_sandbox_close(k->beside[arm]);
    tw_arena_adopt(r->v.sim->arena, k->arena);
    if (k->running)
        run_stage_time(r, "clients beside", k->seconds);
    run_add_issues(r, &k->issues);
    r->v.clients_tried = k->tried;
    r->v.clients_worked = k->worked;
    for (size_t i = 0; i < k->issues.list.count; i++)
        if (tw_streq(k->issues.list.items[i].code, "client.hangs") && !r->v.not_measured)
            r->v.not_measured =
                "clients wait without an end with the change: so would the load";
    if (k->result < 0)
        tw_issue_add(r->v.sim->arena, &r->differences, TW_INFO, TW_PROCEED,
                     "twin.clients", "who connects was not tried", k->err.text, NULL);
}

/* What is changed while the service runs is not made yet when it has started. */
int run_clients_begin(struct run *r, struct tw_err *err)
{
    if (!r->members[RUN_CANDIDATE].started.ready || run_is_live(r))
        return 0;
    return start(r, err);
}

int run_clients(struct run *r, struct tw_err *err)
{
    int rc = 0;

    if (r->members[RUN_CANDIDATE].started.ready && run_is_live(r))
        rc = start(r, err);
    run_clients_end(r);
    return rc;
}
