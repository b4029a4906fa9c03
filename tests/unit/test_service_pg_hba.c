#include "world/service/kind_postgresql/kind_pg_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char before[] = "local all postgres trust\nhost shop app 10.0.3.0/24 scram-sha-256\n";

/* One line beside those of today, and what is told of it. */
static const struct {
    const char *line, *code;
    enum tw_verdict at_least;
} lines[] = {
    {"host all all 0.0.0.0/0 trust", "exposure.trust", TW_BLOCK},
    {"host shop app 10.0.3.0/24 trust", "exposure.trust", TW_REVIEW},
    {"host shop app 10.0.3.0 255.255.255.0 trust", "exposure.trust", TW_REVIEW},
    {"local all all trust", "exposure.trust", TW_REVIEW},
    {"local   all\tpostgres   trust  # as before", NULL, TW_PROCEED},
    {"host all all 10.0.0.0/8 password", "exposure.clear_password", TW_REVIEW},
    {"hostssl all all 10.0.0.0/8 password", NULL, TW_PROCEED},
    {"host all all 127.0.0.1/32 password", NULL, TW_PROCEED},
    {"host all all 10.0.0.0/8 scram-sha-256", NULL, TW_PROCEED},
    {"", NULL, TW_PROCEED},
};

static const struct tw_issue *told(struct tw_arena *a, const char *line)
{
    char dir[] = "/tmp/twin-hba-XXXXXX";
    tw_auto_free char *text = tw_strf("%s%s\n", before, line), *path = NULL;
    struct tw_snapshot s;
    struct tw_plan plan = {0};
    struct tw_access x = {.snapshot = &s, .root = dir};
    struct tw_issues *issues = tw_arena_alloc(a, sizeof *issues);

    tw_snapshot_init(&s);
    cr_assert(mkdtemp(dir));
    path = tw_strf("%s/hba", dir);
    s.hba_file = "/hba";
    s.config_file = "/none";
    TW_PUSH(a, &s.files, ((struct tw_file){.path = "/hba", .text = before}));
    TW_PUSH(a, &plan.steps, ((struct tw_plan_step){.kind = TW_STEP_FILE, .path = "/hba"}));
    cr_assert_eq(tw_write_file(path, text, strlen(text), 0600, NULL), 0);
    kind_pg_judge_files(a, &x, &plan, issues);
    (void)tw_remove_tree(dir, NULL);
    for (size_t i = 0; i < issues->list.count; i++)
        if (tw_starts_with(issues->list.items[i].code, "exposure."))
            return &issues->list.items[i];
    return NULL;
}

Test(service_pg_hba, who_is_let_in_without_a_secret_is_told)
{
    for (size_t i = 0; i < TW_COUNT_OF(lines); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        const struct tw_issue *one = told(a, lines[i].line);

        cr_assert_eq(one != NULL, lines[i].code != NULL, "%s", lines[i].line);
        if (!one)
            continue;
        cr_expect_str_eq(one->code, lines[i].code, "%s", lines[i].line);
        cr_expect_eq(one->at_least, lines[i].at_least, "%s", lines[i].line);
    }
}
