#include "tw/spec.h"

#include <criterion/criterion.h>
#include <math.h>

Test(spec_names, every_table_is_full)
{
    const struct {
        const char *const *names;
        size_t n;
        const char *last;
    } rows[] = {
        {tw_tier_names, TW_TIER_COUNT, "production"},
        {tw_data_mode_names, TW_DATA_COUNT, "empty"},
        {tw_status_names, TW_STATUS_COUNT, "cancelled"},
        {tw_severity_names, TW_SEVERITY_COUNT, "critical"},
        {tw_verdict_names, TW_VERDICT_COUNT, "block"},
        {tw_arm_names, TW_ARM_COUNT, "candidate"},
        {tw_step_kind_names, TW_STEP_KIND_COUNT, "path"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        for (size_t k = 0; k < rows[i].n; k++)
            cr_expect(rows[i].names[k] != NULL);
        cr_expect_str_eq(rows[i].names[rows[i].n - 1], rows[i].last);
    }
}

Test(spec_names, unknown_is_nan_everywhere)
{
    cr_expect(isnan(tw_unknown.value) && isnan(tw_unknown.low) &&
              isnan(tw_unknown.high) && isnan(tw_unknown.level) && tw_unknown.n == 0);
}

Test(spec_names, an_issue_keeps_copies_of_its_texts)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_issues issues = {0};
    char text[] = "title";
    struct tw_issue *issue =
        tw_issue_add(a, &issues, TW_HIGH, TW_BLOCK, "start.failed", text, "words", NULL);

    text[0] = 'X';
    cr_expect_str_eq(issue->title, "title");
    cr_expect(issue->probability == 1.0 && !issue->remedy && issues.list.count == 1);
}

Test(spec_names, a_setting_of_a_snapshot_is_found_by_name)
{
    struct tw_setting rows[] = {{.name = "a"}, {.name = "b", .value = "1"}};
    struct tw_snapshot s = {0};

    s.settings.items = rows;
    s.settings.count = 2;
    cr_expect(tw_snapshot_setting(&s, "b") == &rows[1]);
    cr_expect(tw_snapshot_setting(&s, "c") == NULL);
}
