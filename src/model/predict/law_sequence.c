#include "predict/predict_internal.h"

/* A sequence, or the column that it fills, comes to the last value of its type; nextval()
 * then fails, unless it cycles. Counted in values: each is taken once, rolled back or not. */

static void judge(const struct predict_case *c)
{
    predict_fill_judge(c, "sequence");
}

const struct predict_law predict_law_sequence = {
    .name = "sequence", .words = "sequences", .judge = judge};
