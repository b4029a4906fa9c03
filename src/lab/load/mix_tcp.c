/* Raw TCP: nothing is known of what is said, so nothing is: a connection is all. */
#include "load_internal.h"

static int known(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err)
{
    (void)a, (void)s, (void)at, (void)mix, (void)err;
    return 0;
}

static int guess(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err)
{
    (void)s, (void)at, (void)err;
    (void)load_mix_add(a, mix, "connect", "", 1);
    mix->source = "nothing known";
    mix->description = "connections: what is said on them is not known";
    return 0;
}

static const char *judge(struct tw_arena *a, struct tw_load_item *item,
                         const struct load_answer *answer, int recorded,
                         const char **ret_told)
{
    (void)recorded, (void)ret_told;
    if (answer->event == LOAD_ANSWERED)
        return NULL;
    if (tw_streq(answer->code, "closed")) {
        item->statements.items[0].expect = 1; /* it is the baseline's way to answer */
        return NULL;
    }
    return tw_arena_printf(a, "the baseline does not answer it: %s",
                           answer->text && *answer->text ? answer->text
                                                         : "no answer in time");
}

const struct load_mix_kind load_mix_tcp = {
    .driver = "tcp",
    .words = "a file with the bytes of one request per line (\"PING\\r\\n\")",
    .known = known,
    .guess = guess,
    .judge = judge,
};
