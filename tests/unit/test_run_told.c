/* How a change is made at the target, and how it is taken back. */
#include "run/run_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *set_to(struct tw_arena *a, const struct tw_snapshot *s,
                          const char *name, const char *value)
{
    (void)s;
    return value ? tw_arena_printf(a, "set %s %s", name, value)
                 : tw_arena_printf(a, "unset %s", name);
}

static const char *effect(struct tw_arena *a, const struct tw_snapshot *s, bool restart)
{
    (void)a, (void)s;
    return restart ? "restart" : "reload";
}

static const struct tw_service_kind kind = {
    .name = "test", .tell_setting = set_to, .tell_effect = effect};

static struct tw_simulation *told(struct run *r, const struct tw_plan_step *steps,
                                  size_t n)
{
    struct tw_simulation *sim = tw_simulation_new();

    *r = (struct run){.kind = &kind, .v = {.sim = sim}};
    r->snapshot.config_file = "/etc/x.conf";
    TW_PUSH(sim->arena, &r->snapshot.settings,
            (struct tw_setting){.name = "size", .value = "1"});
    for (size_t i = 0; i < n; i++)
        TW_PUSH(sim->arena, &sim->plan.steps, steps[i]);
    run_told(r);
    return sim;
}

static void expect(const char *what, const char *const *got, size_t count,
                   const char *const *expected)
{
    size_t n = 0;

    for (; expected[n]; n++)
        cr_expect(n < count && tw_streq(got[n], expected[n]), "%s %zu: '%s', not '%s'",
                  what, n, n < count ? got[n] : "nothing", expected[n]);
    cr_expect_eq(count, n, "%s: %zu, not %zu", what, count, n);
}

Test(run_told, a_setting_goes_back_to_what_it_is_today)
{
    const struct tw_plan_step steps[] = {
        {.kind = TW_STEP_SETTING, .name = "size", .value = "2"},
        {.kind = TW_STEP_SETTING, .name = "colour", .value = "red"}};
    struct run r;
    struct tw_simulation *sim = told(&r, steps, TW_COUNT_OF(steps));
    const struct tw_apply *a = &sim->impact.apply;

    expect("command", a->commands.items, a->commands.count,
           (const char *const[]){"set size 2", "set colour red", "reload", NULL});
    expect("undo", a->undo.items, a->undo.count,
           (const char *const[]){"set size 1", "unset colour", "reload", NULL});
    tw_simulation_free(sim);
}

Test(run_told, a_file_that_two_steps_change_is_kept_as_it_was_before_both)
{
    const struct tw_plan_step steps[] = {{.kind = TW_STEP_APPEND, .origin = "a.conf"},
                                         {.kind = TW_STEP_APPEND, .origin = "b.conf"}};
    struct run r;
    struct tw_simulation *sim = told(&r, steps, TW_COUNT_OF(steps));
    const struct tw_apply *a = &sim->impact.apply;

    expect("command", a->commands.items, a->commands.count,
           (const char *const[]){"cp -p /etc/x.conf /etc/x.conf.before",
                                 "cat a.conf >> /etc/x.conf", "cat b.conf >> /etc/x.conf",
                                 "reload", NULL});
    expect("undo", a->undo.items, a->undo.count,
           (const char *const[]){"cp -p /etc/x.conf.before /etc/x.conf", "reload", NULL});
    tw_simulation_free(sim);
}

Test(run_told, a_plan_of_no_steps_tells_nothing)
{
    struct run r;
    struct tw_simulation *sim = told(&r, NULL, 0);

    cr_expect_eq(sim->impact.apply.commands.count, 0);
    cr_expect_eq(sim->impact.apply.undo.count, 0);
    tw_simulation_free(sim);
}
