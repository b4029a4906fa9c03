#include "recall.h"

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_simulation *sim = NULL;
    int r;

    if (args->rest.count != 1)
        return tw_fail(err, -EINVAL, "twin show needs one id; twin list shows them");
    r = cmd_recall(args, args->rest.items[0], &sim, err);
    if (r == 0)
        r = cmd_write_reports(args, &sim, 1, err);
    tw_simulation_free(sim);
    return r;
}

extern const struct cmd cmd_show;
const struct cmd cmd_show = {
    .name = "show",
    .most_words = 1,
    .usage = "show ID [-o FORMAT]",
    .summary = "a finished simulation again, in any format",
    .options = " output out color server token-file ",
    .run = run,
};
