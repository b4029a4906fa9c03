#include "predict/predict_internal.h"

/* Descriptors that are opened and never closed, against the limit of their process. */

static void judge(const struct predict_case *c)
{
    predict_fill_judge(c, "files");
}

const struct predict_law predict_law_files = {
    .name = "files", .words = "file descriptors", .judge = judge};
