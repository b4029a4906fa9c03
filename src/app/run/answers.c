/* What sessions of both arms get for the same questions, compared: what nothing fails of. */
#include "run_internal.h"

#include <stdlib.h>

/* A session that cannot be asked is no finding of its own: whoever measures meets the same. */
void run_answers_ask(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_pg *pg)
{
    struct tw_err why = {0};

    r->v.answers[arm] = (struct tw_answers){{0}};
    if (r->kind->answers && r->kind->answers(a, pg, &r->v.answers[arm], &why) < 0)
        tw_log(TW_LOG_DEBUG, "asking the %s: %s", tw_arm_names[arm], why.text);
}

bool run_answer_is_worse(const struct tw_answer *before, const struct tw_answer *after)
{
    switch (before->rule) {
    case TW_ANSWER_SAME:
        return !before->failed && (after->failed || !tw_streq(before->words, after->words));
    case TW_ANSWER_WORKS:
        return !before->failed && after->failed;
    case TW_ANSWER_HOLDS:
        return !before->failed && !tw_streq(before->words, "f") &&
               (after->failed || tw_streq(after->words, "f"));
    case TW_ANSWER_REFUSED:
        return before->failed && !after->failed;
    case TW_ANSWER_COUNT:
        return !before->failed && !after->failed && atof(after->words) > atof(before->words);
    }
    return false;
}

static const char *shown(const struct tw_answer *w)
{
    return *w->words ? w->words : w->failed ? "no answer" : "done";
}

static const struct tw_answer *same_question(const struct tw_answers *all, const char *question)
{
    for (size_t i = 0; i < all->list.count; i++)
        if (tw_streq(all->list.items[i].question, question))
            return &all->list.items[i];
    return NULL;
}

/* Of an extension all views fail together. */
static bool is_told(const struct tw_issues *issues, const struct tw_answer *w)
{
    for (size_t i = 0; i < issues->list.count; i++)
        if (tw_streq(issues->list.items[i].code, w->code) &&
            tw_streq(issues->list.items[i].title, w->title))
            return true;
    return false;
}

void run_answers_tell(struct run *r)
{
    struct tw_arena *a = r->v.sim->arena;
    const struct tw_answers *before = &r->v.answers[TW_BASELINE];

    for (size_t i = 0; i < before->list.count; i++) {
        const struct tw_answer *was = &before->list.items[i];
        const struct tw_answer *now = same_question(&r->v.answers[TW_CANDIDATE], was->question);

        if (now && run_answer_is_worse(was, now) && !is_told(&r->v.issues, was))
            tw_issue_add(a, &r->v.issues, was->severity, was->at_least, was->code, was->title,
                         tw_arena_printf(a, "%s\nbefore: %s\nafter:  %s", was->question,
                                         shown(was), shown(now)),
                         was->remedy);
    }
}
