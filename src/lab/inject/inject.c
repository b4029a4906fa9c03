/* Applies a plan's steps to the files of a twin, in order. */
#include "tw/inject.h"

int tw_inject(struct tw_arena *a, struct tw_twin *twin, const struct tw_plan *plan,
              struct tw_issues *issues, struct tw_err *err)
{
    const struct tw_access *access = tw_twin_access(twin);
    const struct tw_service_kind *kind = tw_twin_kind(twin);

    (void)issues;
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        int r = step->kind == TW_STEP_PATH ? 0 : kind->apply(a, access, step, err);

        if (r < 0)
            return tw_wrap(err, r, "step %zu (%s %s)", i + 1,
                           tw_step_kind_names[step->kind],
                           step->name ? step->name : step->path);
        tw_step("inject.step.applied");
    }
    return 0;
}
