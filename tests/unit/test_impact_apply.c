#include "impact/impact_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static struct tw_impact ret;
static struct tw_plan plan;
static struct tw_snapshot snapshot;
static struct tw_impact_facts facts;

static void judge(struct tw_arena *a, bool restart)
{
    struct impact i = {a, &facts, &ret};

    plan.needs_restart = restart;
    facts.plan = &plan;
    facts.snapshot = &snapshot;
    facts.stop_s = 0.3;
    facts.start_s[TW_CANDIDATE] = 0.2;
    facts.cold_s = 1.5;
    facts.sessions = 40;
    impact_apply(&i);
}

static void set(struct tw_arena *a, const char *name, const char *value)
{
    TW_PUSH(a, &plan.steps,
            (struct tw_plan_step){.kind = TW_STEP_SETTING, .name = name, .value = value});
}

static void had(struct tw_arena *a, const char *name, const char *value, const char *file,
                bool list)
{
    TW_PUSH(
        a, &snapshot.settings,
        (struct tw_setting){.name = name, .value = value, .file = file, .list = list});
}

Test(impact_apply, a_restart_tells_outage_sessions_and_cold_time)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    had(a, "shared_buffers", "16384", "/etc/postgresql/15/main/postgresql.conf", false);
    snapshot.config_file = "/etc/postgresql/15/main/postgresql.conf";
    set(a, "shared_buffers", "2GB");
    judge(a, true);
    cr_expect_str_eq(ret.apply.how, "restart");
    cr_expect_float_eq(ret.apply.outage_s, 0.5, 1e-9);
    cr_expect_eq(ret.apply.sessions_dropped, 40);
    cr_expect_float_eq(ret.apply.cold_s, 1.5, 1e-9);
    cr_expect_str_eq(ret.apply.commands.items[0],
                     "ALTER SYSTEM SET shared_buffers = '2GB';");
    cr_expect_str_eq(ret.apply.commands.items[1], "systemctl restart postgresql@15-main");
    cr_expect_str_eq(ret.apply.undo.items[0], "ALTER SYSTEM RESET shared_buffers;");
}

Test(impact_apply, what_alter_system_had_set_is_set_again)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    had(a, "work_mem", "4096", "/srv/pg/postgresql.auto.conf", false);
    set(a, "work_mem", "16MB");
    judge(a, false);
    cr_expect_str_eq(ret.apply.how, "reload");
    cr_expect_eq(ret.apply.outage_s, 0);
    cr_expect_eq(ret.apply.sessions_dropped, 0);
    cr_expect_str_eq(ret.apply.undo.items[0], "ALTER SYSTEM SET work_mem = '4096';");
    cr_expect_str_eq(ret.apply.commands.items[1], "SELECT pg_reload_conf();");
}

Test(impact_apply, lists_are_quoted_element_by_element)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    had(a, "shared_preload_libraries", "", NULL, true);
    set(a, "shared_preload_libraries", "pg_stat_statements, 'auto_explain'");
    judge(a, true);
    cr_expect_str_eq(ret.apply.commands.items[0],
                     "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements', "
                     "'auto_explain';");
}

Test(impact_apply, quotes_in_values_are_doubled)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    set(a, "archive_command", "cp '%p' x");
    judge(a, false);
    cr_expect_str_eq(ret.apply.commands.items[0],
                     "ALTER SYSTEM SET archive_command = 'cp ''%p'' x';");
}

Test(impact_apply, a_reset_is_a_reset)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    set(a, "work_mem", NULL);
    judge(a, false);
    cr_expect_str_eq(ret.apply.commands.items[0], "ALTER SYSTEM RESET work_mem;");
}

Test(impact_apply, fragments_are_included_and_the_include_is_undone)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    snapshot.config_file = "/srv/pg/postgresql.conf";
    TW_PUSH(a, &plan.steps,
            (struct tw_plan_step){.kind = TW_STEP_FRAGMENT,
                                  .value = "x = 1\n",
                                  .origin = "/home/dba/new.conf"});
    judge(a, false);
    cr_expect_str_eq(ret.apply.commands.items[0], "cp /home/dba/new.conf /srv/pg/");
    cr_expect_str_eq(ret.apply.commands.items[1],
                     "echo \"include 'new.conf'\" >> /srv/pg/postgresql.conf");
    cr_expect_str_eq(ret.apply.undo.items[0],
                     "sed -i \"/^include 'new.conf'$/d\" /srv/pg/postgresql.conf");
}

Test(impact_apply, no_steps_need_nothing)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    judge(a, false);
    cr_expect_str_eq(ret.apply.how, "none");
    cr_expect_eq(ret.apply.commands.count, 0);
}
