/* What the faults of a link share: the first link of the twin, shaped in the directions asked for. */
#include "fault_internal.h"

#define LINK "eth0"

bool fault_is_on(const struct tw_fault_run *f, enum tw_shape_way way)
{
    return !f->fault.on || tw_streq(f->fault.on, way == TW_SHAPE_OUT ? "out" : "in");
}

int fault_shape_begin(struct tw_fault_run *f, const struct tw_shape_values v[TW_SHAPE_WAYS],
                      struct tw_err *err)
{
    struct tw_shape_spec spec = {
        .netns = tw_sandbox_netns(tw_twin_sandbox(f->place.twin)), .link = LINK};
    int r = tw_priv_shape_open(f->place.priv, &spec, &f->shape, err);

    for (int way = 0; way < TW_SHAPE_WAYS && r == 0; way++) {
        if (!fault_is_on(f, (enum tw_shape_way)way))
            continue;
        r = tw_priv_shape_set(f->shape, (enum tw_shape_way)way, &v[way], err);
        if (r == 0 && !*f->how)
            f->how = tw_priv_shape_how(f->shape, (enum tw_shape_way)way);
    }
    return r;
}

int fault_shape_both(struct tw_fault_run *f, const struct tw_shape_values *v,
                     struct tw_err *err)
{
    const struct tw_shape_values both[TW_SHAPE_WAYS] = {*v, *v};

    return fault_shape_begin(f, both, err);
}

int fault_shape_end(struct tw_fault_run *f, struct tw_err *err)
{
    return tw_priv_shape_close(tw_take_ptr(&f->shape), err);
}

/* Nothing of this fault: other faults of the schedule may still be at the link, and say so
 * themselves when they end; the last of them finds it bare. */
int fault_shape_check(struct tw_fault_run *f, struct tw_err *err)
{
    int netns = tw_sandbox_netns(tw_twin_sandbox(f->place.twin));
    int left = netns < 0 ? 0 : tw_priv_shape_left(f->place.priv, netns, LINK, err);

    return left < 0 ? left : 0;
}
