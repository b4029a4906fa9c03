/* A path: a change at a web server, judged through the load balancer in front of it. */
#include "path.h"

static struct live l;

static void open_path(void)
{
    path_open(&l, "path", 18080, 18088);
}

static void close_path(void)
{
    path_dir_close(&l);
}

/* Neighbours are cloned with the target, load comes in at the front, and what another hop says
 * of the change is among the findings. */
Test(run_path, a_change_is_judged_at_the_front_and_at_every_hop, .init = open_path,
     .fini = close_path)
{
    struct live_answer got;
    bool of_neighbour = false;
    json_t *issue;
    size_t i;

    live_twin(&l, &got, "run", "--target", "web", "--set", "events.worker_connections=16",
              "--connections", "50", "-o", "json", "-q");
    cr_expect_eq(got.exit_code, 3, "%d: %s%s", got.exit_code, got.out, got.err);
    cr_expect(live_issue(&got, "limit.connections"), "%s", got.out);
    cr_expect(live_issue(&got, "load.errors"), "%s", got.out);
    json_array_foreach (
        json_object_get(json_object_get(got.json, "predicted_impact"), "issues"), i, issue)
        of_neighbour |= strstr(live_text(issue, "title"), "neighbour 'lb'") != NULL;
    cr_expect(of_neighbour, "%s", got.out);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
}
