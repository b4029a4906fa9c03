/* The commands that make the change at the target and take it back, for kinds that tell their own. */
#include "run_internal.h"

#include <string.h>

struct told {
    struct run *r;
    struct tw_arena *a;
    struct tw_apply *to;
};

static const char *file_of(const struct told *t, const struct tw_plan_step *step)
{
    const char *config = t->r->snapshot.config_file;

    return step->path ? step->path : config ? config : "its configuration";
}

/* A second copy would keep what the first step made of it. */
static bool is_kept(const struct told *t, const char *copy)
{
    for (size_t i = 0; i < t->to->commands.count; i++)
        if (tw_streq(t->to->commands.items[i], copy))
            return true;
    return false;
}

static void tell_file(const struct told *t, const struct tw_plan_step *step)
{
    const char *path = file_of(t, step);
    const char *from = step->origin ? step->origin : "the new content";
    const char *copy = tw_arena_printf(t->a, "cp -p %s %s.before", path, path);

    if (!is_kept(t, copy)) {
        TW_PUSH(t->a, &t->to->commands, copy);
        TW_PUSH(t->a, &t->to->undo,
                tw_arena_printf(t->a, "cp -p %s.before %s", path, path));
    }
    TW_PUSH(t->a, &t->to->commands,
            tw_arena_printf(t->a,
                            step->kind == TW_STEP_FILE ? "cp %s %s" : "cat %s >> %s",
                            from, path));
}

static void tell_step(const struct told *t, const struct tw_plan_step *step)
{
    const struct tw_snapshot *s = &t->r->snapshot;
    const struct tw_setting *old;

    if (step->kind != TW_STEP_SETTING) {
        tell_file(t, step);
        return;
    }
    old = tw_snapshot_setting(s, step->name);
    TW_PUSH(t->a, &t->to->commands,
            t->r->kind->tell_setting(t->a, s, step->name, step->value));
    TW_PUSH(t->a, &t->to->undo,
            t->r->kind->tell_setting(t->a, s, step->name, old ? old->value : NULL));
}

void run_told(struct run *r)
{
    struct tw_simulation *sim = r->v.sim;
    struct told t = {r, sim->arena, &sim->impact.apply};
    const char *last;

    if (run_is_path(r) || !r->kind->tell_setting || !sim->plan.steps.count)
        return;
    t.to->commands.count = t.to->undo.count = 0;
    for (size_t i = 0; i < sim->plan.steps.count; i++)
        tell_step(&t, &sim->plan.steps.items[i]);
    last = r->kind->tell_effect(t.a, &r->snapshot, sim->plan.needs_restart);
    TW_PUSH(t.a, &t.to->commands, last);
    TW_PUSH(t.a, &t.to->undo, last);
}
