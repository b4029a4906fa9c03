/* Who may come in, and the path between two services: changed on real services, and everything gone afterwards. */
#include "path.h"

static struct live l;

static void open_path(void)
{
    path_open(&l, "network", 18094, 18095);
}

static void close_path(void)
{
    path_dir_close(&l);
}

static double mean_of(const struct live_answer *got, const char *when)
{
    const json_t *impact = json_object_get(got->json, "predicted_impact");
    const json_t *mean = json_object_get(json_object_get(impact, "performance"), "mean_ms");

    return json_number_value(json_object_get(mean, when));
}

/* The path is longer in the candidate's arm only, and by what was asked for. */
Test(run_network, a_longer_path_is_measured_at_the_front, .init = open_path, .fini = close_path)
{
    struct live_answer got;

    live_twin(&l, &got, "run", "--type", "network", "--target", "lb", "--set", "to=web", "--set", "latency=40ms",
              "--rate", "50", "-o", "json", "-q");
    cr_assert(got.json, "%d %s %s", got.exit_code, got.out, got.err);
    cr_expect(got.exit_code == 3 || got.exit_code == 4, "%d: %s", got.exit_code, got.err);
    cr_expect(live_issue(&got, "path.made"), "%s", got.out);
    cr_expect(!live_issue(&got, "path.timeout"), "%s", got.out);
    if (!live_issue(&got, "path.not_crossed"))
        cr_expect(mean_of(&got, "after") > 35, "%s", got.out);
    live_answer_done(&got);
}

/* Arithmetic needs no load: time-outs of the other end, and what cannot be meant is refused. */
Test(run_network, time_outs_and_mistakes_are_told, .init = open_path, .fini = close_path)
{
    static const struct {
        const char *set;
        int exit_code;
        const char *code; /* of an issue; NULL: bad input */
    } rows[] = {{"partition=true", 3, "path.timeout"},
                {"idle_timeout=24h", 0, "path.idle"},
                {"latency=20", 2, NULL},
                {"latancy=20ms", 2, NULL}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct live_answer got;

        live_twin(&l, &got, "run", "--type", "network", "--target", "lb", "--set", "to=web", "--set", rows[i].set, "-o",
                  "json", "-q");
        cr_expect_eq(got.exit_code, rows[i].exit_code, "%s: %d: %s%s", rows[i].set, got.exit_code, got.out, got.err);
        if (rows[i].code)
            cr_expect(live_issue(&got, rows[i].code), "%s: %s", rows[i].set, got.out);
        live_answer_done(&got);
    }
}
