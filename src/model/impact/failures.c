#include "impact_internal.h"

#include <math.h>
#include <string.h>

/* Findings that are failures to come: by the beginning of their code. A restart that
 * fails is a failed start whose hour nobody knows. */
static const struct {
    const char *prefix, *kind;
    double at_hours;
} from_codes[] = {
    {"start.", "start", 0},      {"restart.", "start", NAN},
    {"reload.", "reload", 0},    {"memory.", "oom", NAN},
    {"disk.", "disk_full", NAN}, {"connections.", "connections", NAN},
    {"crash.", "crash", NAN},
};

static struct tw_failure *find(struct tw_impact *ret, const char *kind)
{
    for (size_t i = 0; i < ret->failures.count; i++)
        if (tw_streq(ret->failures.items[i].kind, kind))
            return &ret->failures.items[i];
    return NULL;
}

/* One failure of each kind: the more probable one, its evidence beside the other's. */
static void add(struct impact *i, const struct tw_failure *failure)
{
    struct tw_failure *same = find(i->ret, failure->kind);

    if (failure->probability < 1 - i->facts->detection_sensitivity)
        return;
    if (!same) {
        TW_PUSH(i->arena, &i->ret->failures, *failure);
        return;
    }
    if (failure->probability > same->probability) {
        const char *evidence = same->evidence;

        *same = *failure;
        same->evidence = tw_arena_printf(i->arena, "%s; %s", failure->evidence, evidence);
    }
}

static const struct tw_failure *of_baseline(const struct tw_impact_facts *f,
                                            const char *kind)
{
    const struct tw_failures *all = f->failures[TW_BASELINE];

    for (size_t i = 0; all && i < all->list.count; i++)
        if (tw_streq(all->list.items[i].kind, kind))
            return &all->list.items[i];
    return NULL;
}

/* What comes anyway is not the change's, unless the change brings it much nearer: both
 * intervals apart, and in less than half the time. */
#define NEARER 0.5
static bool brought_nearer(const struct tw_failure *now, const struct tw_failure *today)
{
    double latest = isfinite(now->high) ? now->high : now->at_hours;
    double soonest = isfinite(today->low) ? today->low : today->at_hours;

    return latest < soonest && now->at_hours < NEARER * today->at_hours;
}

static const char *today_words(struct impact *i, const struct tw_failure *failure,
                               const struct tw_failure *today, bool nearer)
{
    const char *evidence = failure->evidence ? failure->evidence : "by its law";

    if (nearer)
        return tw_arena_printf(i->arena, "%s; without the change after %s", evidence,
                               tw_show_seconds(i->arena, today->at_hours * 3600));
    return tw_arena_printf(i->arena, "%s; without the change too, with probability %.2f",
                           evidence, today->probability);
}

static void add_laws(struct impact *i)
{
    const struct tw_failures *laws = i->facts->failures[TW_CANDIDATE];

    for (size_t k = 0; laws && k < laws->list.count; k++) {
        struct tw_failure failure = laws->list.items[k];
        const struct tw_failure *today = of_baseline(i->facts, failure.kind);

        if (!today && tw_streq(failure.kind, "overload") && !impact_slower(i->facts))
            continue;
        if (today) {
            bool nearer = brought_nearer(&failure, today);

            failure.before = nearer ? 0 : today->probability;
            failure.evidence = today_words(i, &failure, today, nearer);
        }
        add(i, &failure);
    }
}

static void add_findings(struct impact *i)
{
    const struct tw_issues *issues = i->facts->issues;

    for (size_t k = 0; issues && k < issues->list.count; k++) {
        const struct tw_issue *issue = &issues->list.items[k];

        for (size_t c = 0; c < TW_COUNT_OF(from_codes); c++) {
            double at = from_codes[c].at_hours;
            const struct tw_failure failure = {
                .kind = from_codes[c].kind,
                .at_hours = at,
                .low = at,
                .high = at,
                .probability = issue->probability,
                .evidence =
                    issue->evidence && *issue->evidence ? issue->evidence : issue->title,
                .from_finding = true};

            if (issue->severity >= TW_HIGH &&
                tw_starts_with(issue->code, from_codes[c].prefix))
                add(i, &failure);
        }
    }
}

static void add_refusals(struct impact *i)
{
    const struct tw_impact_facts *f = i->facts;

    if (!impact_refused(f) || find(i->ret, "start"))
        return;
    if (!f->candidate_started)
        add(i, &(struct tw_failure){.kind = "start",
                                    .probability = 1,
                                    .evidence = "the changed service did not start"});
    else
        add(i,
            &(struct tw_failure){
                .kind = "start",
                .at_hours = NAN,
                .low = NAN,
                .high = NAN,
                .probability = 1,
                .evidence = "the changed service does not start again: it fails at its "
                            "next restart, whenever that is"});
}

void impact_failures(struct impact *i)
{
    add_findings(i);
    add_refusals(i);
    if (i->facts->candidate_stopped)
        add(i,
            &(struct tw_failure){
                .kind = "crash",
                .high = i->facts->plan->hours,
                .probability = 1,
                .evidence = "the changed service stopped serving while it was measured; "
                            "the unchanged one did not"});
    add_laws(i);
}
