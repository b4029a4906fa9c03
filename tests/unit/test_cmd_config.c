#include "cmd/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static int read(struct tw_arena *a, const char *text, struct cmd_config *c,
                struct tw_err *err)
{
    return cmd_config_read(a, text, "twin.yaml", c, err);
}

Test(cmd_config, defaults_are_those_of_the_specification)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct cmd_config c;

    cr_assert_eq(read(a, NULL, &c, NULL), 0);
    cr_expect_eq(c.api.default_hours, 24);
    cr_expect_eq(c.api.max_parallel, 10);
    cr_expect_eq(c.api.timeout_minutes, 30);
    cr_expect_eq(c.api.sync_minutes, 15);
    cr_expect_eq(c.api.retention_days, 30);
    cr_expect_eq(c.confidence_threshold, 0.85);
    cr_expect_eq(c.failure_sensitivity, 0.7);
    cr_expect_eq(c.acceleration_factor, 10000);
    cr_expect_str_eq(c.api.listen, "127.0.0.1:8090");
}

Test(cmd_config, every_section_is_read)
{
    static const char text[] =
        "simulation: {max_parallel_simulations: 3}\n"
        "server:\n  listen: 127.0.0.1:9\n  names: [twin.example]\n  plain_networks: "
        "[10.0.0.0/8]\n"
        "alerts:\n  allow: [192.168.7.0/24]\n  webhooks:\n"
        "    - {name: ops, url: 'https://a.example/x', form: slack, kinds: "
        "'risk,failed'}\n"
        "environments:\n  - name: production\n    tier: production\n    services:\n"
        "      - {name: pg, type: postgresql, data: clone, data_dir: /d, memory: 4GB}\n";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct cmd_config c;
    struct tw_err err = {0};

    cr_assert_eq(read(a, text, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.api.max_parallel, 3);
    cr_expect_str_eq(c.api.names.items[0], "twin.example");
    cr_expect_eq(c.api.plain_networks.items[0].bits, 104);
    cr_expect_eq(c.api.hooks.list.items[0].form, TW_HOOK_SLACK);
    cr_expect_eq(c.api.hooks.allow.count, 1);
    cr_assert_eq(c.environments.targets.count, 1);
    cr_expect_eq(c.environments.targets.items[0].tier, TW_TIER_PRODUCTION);
    cr_expect_eq(c.environments.targets.items[0].memory_bytes, INT64_C(4) << 30);
}

Test(cmd_config, mistakes_are_named_with_their_place)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"simulation: {max_paralel_simulations: 3}", "did you mean"},
        {"simulation:\n  timeout_minutes: soon", "line 2"},
        {"simulation:\n  max_parallel_simulations: 2.5", "whole number"},
        {"prediction: {confidence_threshold: 2}", "0 to 1"},
        {"server: {listen: a}\nserver: {listen: b}", "line 2"},
        {"servr: {listen: a}", "line 1"},
        {"server: {plain_networks: [10.0.0.0/99]}", "network"},
        {"alerts: {webhooks: [{name: a}]}", "needs a name and a url"},
        {"alerts: {webhooks: [{name: a, url: b, form: telex}]}", "plain, slack"},
        {"environments: [{name: a, services: [{name: b, data_dirr: c}]}]", "unknown key"},
        {"environments: [{tier: dev}]", "needs a name"},
        {"environments: [{name: a, tier: prod}]", "not known"},
        {"environments: [{name: a, services: [{type: postgresql}]}]", "needs a name"},
        {"simulation: [1", "line"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct cmd_config c;
        struct tw_err err = {0};

        cr_expect_lt(read(a, rows[i].text, &c, &err), 0, "row %zu", i);
        cr_expect(strstr(err.text, rows[i].words), "row %zu: %s", i, err.text);
    }
}

Test(cmd_config, a_variable_is_stronger_than_the_file)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct cmd_config c;
    struct tw_err err = {0};

    (void)setenv("TWIN_SIMULATION_TIMEOUT_MINUTES", "7", 1);
    cr_assert_eq(read(a, "simulation: {timeout_minutes: 5}", &c, &err), 0, "%s",
                 err.text);
    cr_expect_eq(c.api.timeout_minutes, 7);
    (void)setenv("TWIN_SIMULATION_TIMEOUT_MINUTES", "x", 1);
    cr_expect_eq(read(a, NULL, &c, &err), -EINVAL);
}
