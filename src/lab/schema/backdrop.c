/* The load beside the statements: short open slots, one after the other, in a thread. A request that
 * a lock stops is waited for, not cancelled: it is what queues behind. */
#include "schema_internal.h"

#include <math.h>
#include <stdlib.h>

#define SLOT_NS (120 * TW_MSEC_NS)
/* Of the capacity: what is measured is the statement, not the queue of a full service. */
#define SHARE    0.3
#define PROBE_NS (120 * TW_MSEC_NS)
#define LEAST    5.0

struct sent {
    int64_t from_ns, to_ns;
    struct tw_hist *latency;
};
struct schema_backdrop {
    const struct tw_schema_spec *spec;
    struct tw_arena *a;
    pthread_t thread;
    bool running;
    volatile bool stop;
    TW_ARRAY(struct sent) slots;
};

static int send_slot(const struct tw_schema_spec *spec, double rate, int64_t length_ns,
                     double settle_s, uint64_t seed, struct tw_slot *ret,
                     struct tw_err *err)
{
    const struct tw_load_order order = {.arm = spec->arm,
                                        .rate_per_s = rate,
                                        .length_ns = length_ns,
                                        .seed = seed,
                                        .settle_s = settle_s};

    return tw_load_slot(spec->load, &order, ret, err);
}

static void *backdrop_main(void *arg)
{
    struct schema_backdrop *b = arg;

    for (uint64_t n = 1; !b->stop; n++) {
        struct tw_slot slot;
        int64_t begun = tw_now_ns();

        if (send_slot(b->spec, b->spec->rate_per_s, SLOT_NS, b->spec->statement_s, n,
                      &slot, NULL) < 0)
            break;
        TW_PUSH(b->a, &b->slots, (struct sent){begun, tw_now_ns(), slot.latency});
        free((void *)(uintptr_t)slot.starts_ns);
    }
    return NULL;
}

struct schema_backdrop *schema_backdrop_start(const struct tw_schema_spec *spec)
{
    struct schema_backdrop *b = tw_alloc(sizeof *b);

    b->spec = spec;
    b->a = tw_arena_new();
    b->running = spec->load && pthread_create(&b->thread, NULL, backdrop_main, b) == 0;
    return b;
}

void schema_backdrop_end(struct schema_backdrop *b)
{
    b->stop = true;
    if (b->running)
        (void)pthread_join(b->thread, NULL);
    b->running = false;
}

void schema_backdrop_stop(struct schema_backdrop *b)
{
    if (!b)
        return;
    schema_backdrop_end(b);
    for (size_t i = 0; i < b->slots.count; i++)
        tw_hist_free(b->slots.items[i].latency);
    tw_arena_free(b->a);
    free(b);
}

double schema_backdrop_p95_ms(const struct schema_backdrop *b, int64_t from_ns,
                              int64_t to_ns)
{
    tw_auto(tw_hist) *all = tw_hist_new();

    for (size_t i = 0; i < b->slots.count; i++)
        if (b->slots.items[i].from_ns < to_ns && b->slots.items[i].to_ns > from_ns)
            tw_hist_merge(all, b->slots.items[i].latency);
    return 1e3 * tw_hist_quantile(all, 0.95);
}

int tw_schema_rate(const struct tw_schema_spec *spec, double *ret_rate,
                   struct tw_err *err)
{
    double capacity = 0;

    for (uint64_t i = 0; i < 2; i++) { /* the first is cold */
        struct tw_slot slot;
        int r = send_slot(spec, NAN, PROBE_NS, 1, i + 1, &slot, err);

        if (r < 0)
            return tw_wrap(err, r, "how much load the twin takes");
        capacity = (double)slot.done / tw_seconds(slot.length_ns);
        tw_hist_free(slot.latency);
        free((void *)(uintptr_t)slot.starts_ns);
    }
    *ret_rate = fmax(LEAST, SHARE * capacity);
    if (spec->target_rate_per_s < *ret_rate)
        *ret_rate = fmax(LEAST, spec->target_rate_per_s);
    return 0;
}
