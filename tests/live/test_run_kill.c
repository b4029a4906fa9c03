/* A run killed with -9 at each of its named steps: the next start leaves nothing of it. */
#include "live.h"

#include <dirent.h>

struct steps {
    TW_ARRAY(const char *) names;
};

/* Every name that is written in the source, and those of the stages. */
static void find_steps(struct tw_arena *a, struct steps *ret)
{
    static const char line[] =
        "{ grep -rhoE 'tw_step\\(\"[a-z_.]+\"' src | cut -d'\"' -f2; sed -nE "
        "'s/^ *\\{\"([a-z]+)\", run_[a-z]+, .*/run.\\1.begun run.\\1.done/p' "
        "src/app/run/run.c | "
        "tr ' ' '\\n'; } | sort -u";
    struct live_answer got;
    char *rest;

    (void)live_child((const char *const[]){"/bin/sh", "-c", line, NULL}, NULL,
                     (unsigned)-1, (unsigned)-1, &got);
    rest = tw_arena_strdup(a, got.out);
    for (char *name; (name = strsep(&rest, "\n"));)
        if (*name)
            TW_PUSH(a, &ret->names, name);
    live_answer_done(&got);
}

static void remember_journals(struct live *l)
{
    tw_auto_free char *path = tw_strf("%s/run", l->state);
    DIR *dir = opendir(path);

    for (struct dirent *d; dir && (d = readdir(dir));)
        if (tw_ends_with(d->d_name, ".journal"))
            live_remember(l, tw_strf("%.26s", d->d_name));
    if (dir)
        (void)closedir(dir);
}

static bool run_killed(struct live *l, const char *step, bool first)
{
    tw_auto_free char *kill_at = tw_strf("TWIN_KILL_AT=%s", step);
    const char *args[] = {
        "run",   "--target",    "pg",       "--set", "work_mem=5MB",
        "--mix", "select-only", "--budget", "0.3",   first ? "--refresh-data" : "--quiet",
        NULL};
    struct live_answer got;
    bool killed;

    live_twin_env(l, kill_at, args, &got);
    killed = got.exit_code == 128 + 9;
    cr_expect(killed || got.exit_code == 0 || got.exit_code == 4, "%s: exit %d: %s", step,
              got.exit_code, got.err);
    live_answer_done(&got);
    return killed;
}

Test(run_kill, nothing_is_left_after_a_kill_at_any_step, .timeout = 600)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct steps steps = {0};
    struct live l;
    int killed = 0;

    live_open(&l, 24408, 1, NULL);
    live_add(&l);
    find_steps(a, &steps);
    cr_assert_gt(steps.names.count, 30);
    for (size_t i = 0; i < steps.names.count; i++) {
        const char *step = steps.names.items[i];
        /* Steps of the seed are passed only when it is made. */
        bool seed =
            strstr(step, "seed") || strstr(step, "image") || strstr(step, "settle");
        struct live_answer got;

        killed += run_killed(&l, step, seed);
        remember_journals(&l);
        live_twin(&l, &got, "reap");
        cr_expect_eq(got.exit_code, 0, "%s: %s", step, got.err);
        live_answer_done(&got);
        cr_expect_eq(live_leftovers(&l), 0, "left after a kill at %s", step);
    }
    cr_expect_gt(killed, 30, "only %d of %zu steps were passed", killed,
                 steps.names.count);
    live_close(&l);
}

Test(run_kill, an_interrupt_tears_down_and_exits_130, .timeout = 60)
{
    struct live l;
    struct live_answer got;
    tw_auto_free char *line = NULL;

    live_open(&l, 24409, 1, NULL);
    live_add(&l);
    line =
        tw_strf("TWIN_STATE_DIR=%s build/twin run --target pg --set work_mem=5MB --mix "
                "select-only --budget 20 & p=$!; sleep 2; kill -INT $p; wait $p",
                l.state);
    (void)live_child((const char *const[]){"/bin/bash", "-c", line, NULL}, NULL,
                     (unsigned)-1, (unsigned)-1, &got);
    cr_expect_eq(got.exit_code, 130, "exit %d: %s%s", got.exit_code, got.out, got.err);
    cr_expect_eq(live_leftovers(&l), 0);
    live_answer_done(&got);
    live_close(&l);
}
