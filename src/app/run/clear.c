/* The end of measuring: the load closed, the arms' own counts taken, what nobody needs
 * any more removed; beside calibration and prediction, which need none of it. */
#include "run_internal.h"

#include <stdlib.h>

/* How long an arm's sessions may take to end: they hand their counts over then. */
#define COUNT_NS (300 * TW_MSEC_NS)

int run_count(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err)
{
    struct tw_twin *twin =
        r->members[arm == TW_BASELINE ? RUN_BASELINE : RUN_CANDIDATE].twin;

    (void)err;
    r->v.counted_before[arm] = r->v.counted[arm];
    if (!r->kind->requests ||
        r->kind->requests(a, tw_twin_access(twin), r->mix.database,
                          tw_now_ns() + COUNT_NS, &r->v.counted[arm], NULL) < 0)
        r->v.counted[arm] = -1;
    return 0;
}

static void remove_member(struct run *r, enum run_role role)
{
    struct run_member *m = &r->members[role];

    tw_twin_close(m->twin);
    m->twin = NULL;
    if (m->clone)
        (void)tw_pool_clone_remove(m->clone, NULL);
    m->clone = NULL;
}

/* One arm's end: counted, and taken away unless it is kept. */
struct ending {
    struct run *run;
    enum tw_arm arm;
};

static bool is_kept(const struct run *r, enum tw_arm arm)
{
    return r->v.sim->request.keep ||
           (arm == TW_BASELINE && r->current + 1 < r->sim_count);
}

static void *end_arm(void *arg)
{
    struct ending *e = arg;
    tw_auto(tw_arena) *a = tw_arena_new();

    (void)run_count(e->run, e->arm, a, NULL);
    if (!is_kept(e->run, e->arm))
        remove_member(e->run, e->arm == TW_BASELINE ? RUN_BASELINE : RUN_CANDIDATE);
    return NULL;
}

static void *clear_main(void *arg)
{
    struct run *r = arg;
    struct ending base = {r, TW_BASELINE}, cand = {r, TW_CANDIDATE};
    pthread_t thread;
    bool beside;

    tw_load_close(r->v.load);
    r->v.load = NULL;
    beside = pthread_create(&thread, NULL, end_arm, &cand) == 0;
    if (!r->v.sim->request.keep) {
        tw_sandbox_close(r->v.client);
        r->v.client = NULL;
        remove_member(r, RUN_JUDGE);
    }
    (void)end_arm(&base);
    if (beside)
        (void)pthread_join(thread, NULL);
    else
        (void)end_arm(&cand);
    r->v.cleared = true;
    return NULL;
}

void run_clear_begin(struct run *r)
{
    (void)run_judge_join(r, NULL);
    run_measuring_end(r);
    r->clearing = pthread_create(&r->clear_thread, NULL, clear_main, r) == 0;
    if (!r->clearing)
        (void)clear_main(r);
}

void run_clear_end(struct run *r)
{
    struct tw_measured *m = &r->v.sim->measured;

    if (r->clearing)
        (void)pthread_join(r->clear_thread, NULL);
    r->clearing = false;
    for (int arm = 0; arm < TW_ARM_COUNT && r->v.cleared; arm++)
        m->transactions[arm] = r->v.counted_before[arm] >= 0 && r->v.counted[arm] >= 0
                                   ? r->v.counted[arm] - r->v.counted_before[arm]
                                   : -1;
}
