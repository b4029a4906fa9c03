#include "remote.h"

#include "tw/decide.h"

#include <stdio.h>

static int run_policy(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    struct tw_policy p;
    int r;

    if (args->rest.count && !tw_streq(args->rest.items[0], "show"))
        return tw_fail(err, -EINVAL, "twin policy '%s': expected show",
                       args->rest.items[0]);
    if (cmd_server(args)) {
        r = cmd_ask(args, "GET", "/api/v1/policies", NULL, &json, err);
        return r < 0 ? r : cmd_write_json(args, json, err);
    }
    r = tw_policy_load(args->arena, args->policy, &p, err);
    if (r < 0)
        return r;
    printf("%s (%s)\n%s\n", p.name, p.origin ? p.origin : "built in",
           p.summary ? p.summary : "");
    printf("  margins     throughput %g %%, p50 %g %%, p95 %g %%, p99 %g %%\n",
           100 * p.margin_throughput, 100 * p.margin_p50, 100 * p.margin_p95,
           100 * p.margin_p99);
    printf("  proceed     from confidence %g on\n", p.confidence_threshold);
    printf("  failures    review from probability %g, block from %g\n", p.failure_review,
           p.failure_block);
    printf("  findings    %zu rules, %zu cases\n", p.rules.count, p.cases.count);
    return 0;
}

extern const struct cmd cmd_policy;
const struct cmd cmd_policy = {
    .name = "policy",
    .most_words = 1,
    .usage = "policy [show] [--policy FILE]",
    .summary = "by what is decided",
    .options = " policy server token-file output out ",
    .run = run_policy,
};
