/* Access rules of pg_hba.conf as actions: where each lands, and where a mistake is told. */
#include "tw/change.h"

#include <criterion/criterion.h>
#include <string.h>

#define HBA "/d/pg_hba.conf"
#define A   "# access\nlocal all all peer\n"
#define B   "host shop app 10.0.3.0/24 scram-sha-256\n"
#define C   "host all all 10.9.0.0/16 reject\n"
#define D   "hostssl all all all scram-sha-256\n"

static int plan(struct tw_arena *a, const char *change, struct tw_plan *ret, struct tw_err *err)
{
    tw_auto_free char *text =
        tw_strf("{\"type\":\"security\",\"target\":\"pg\",%s}", change);
    json_auto_t *json = json_loads(text, 0, NULL);
    struct tw_snapshot s;
    struct tw_request r;
    struct tw_issues issues = {0};
    int rc;

    tw_snapshot_init(&s);
    s.target = "pg";
    s.type = "postgresql";
    s.data_dir = "/d";
    s.config_file = "/d/postgresql.conf";
    s.hba_file = HBA;
    TW_PUSH(a, &s.files, ((struct tw_file){HBA, A B C D, 0600}));
    TW_PUSH(a, &s.settings,
            ((struct tw_setting){.name = "ssl", .value = "off", .type = "bool", .context = "sighup"}));
    cr_assert_not_null(json, "%s", text);
    rc = tw_request_from_json(a, json, &r, err);
    rc = rc < 0 ? rc : tw_change_plan(a, &s, &r, ret, &issues, err);
    if (rc == 0)
        cr_expect(tw_change_is_access(&s, ret), "%s", change);
    return rc;
}

Test(change_access, a_rule_lands_before_the_first_that_would_decide_otherwise)
{
    static const struct {
        const char *change, *text;
    } rows[] = {
        {"\"action\":\"add_rule\",\"source\":\"10.9.3.0/24\",\"method\":\"md5\"",
         A B "host all all 10.9.3.0/24 md5\n" C D},
        {"\"action\":\"add_rule\",\"source\":\"10.7.0.0/16\",\"database\":\"shop\",\"user\":\"app\"",
         A B C D "host shop app 10.7.0.0/16 scram-sha-256\n"},
        {"\"action\":\"add_rule\",\"rule\":\"hostnossl all all 10.7.0.0/16 reject\"",
         A B C D "hostnossl all all 10.7.0.0/16 reject\n"},
        {"\"action\":\"add_rule\",\"rule\":\"local all app trust\",\"position\":1",
         "# access\nlocal all app trust\nlocal all all peer\n" B C D},
        {"\"action\":\"remove_rule\",\"rule\":\"host  shop app 10.0.3.0/24   scram-sha-256\"", A C D},
        {"\"action\":\"remove_rule\",\"line\":4", A B D},
        {"\"action\":\"replace_rule\",\"line\":3,\"with\":\"hostssl shop app 10.0.3.0/24 cert\"",
         A "hostssl shop app 10.0.3.0/24 cert\n" C D},
        {"\"action\":\"move_rule\",\"line\":4,\"before\":\"host shop app 10.0.3.0/24 scram-sha-256\"", A C B D},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        tw_auto_free char *change = tw_strf("\"change\":{%s}", rows[i].change);
        struct tw_plan p;
        struct tw_err err = {0};

        cr_assert_eq(plan(a, change, &p, &err), 0, "%s: %s", change, err.text);
        cr_assert_eq(p.steps.count, 1, "%s", change);
        cr_expect_str_eq(p.steps.items[0].path, HBA);
        cr_expect_str_eq(p.steps.items[0].value, rows[i].text, "%s:\n%s", change, p.steps.items[0].value);
    }
}

Test(change_access, each_mistake_is_told)
{
    static const struct {
        const char *change, *pointer, *words;
    } rows[] = {
        {"\"change\":{\"action\":\"add_rul\"}", "/change", "did you mean 'add_rule'"},
        {"\"change\":{\"action\":\"add_rule\",\"method\":\"scram\"}", "/change", "did you mean"},
        {"\"change\":{\"action\":\"add_rule\",\"source\":\"10.0.0.300/8\"}", "/change", "10.0.0.0/8"},
        {"\"change\":{\"action\":\"remove_rule\"}", "/change", "which rule"},
        {"\"change\":{\"action\":\"remove_rule\",\"line\":1}", "/change", "no rule '1'"},
        {"\"change\":{\"action\":\"move_rule\",\"line\":3}", "/change", "needs a place"},
        {"\"change\":{\"line\":3}", "/change/line", "config_change"},
        {"\"change\":{\"work_mem\":\"4MB\"}", "/change/work_mem", "config_change"},
        {"\"sql\":[\"DROP TABLE t\"]", "/change/sql/0", "schema_change"},
        {"\"sql\":[\"ALTER ROLE x NOLOGIN\"],\"change\":{\"ssl\":true}", "/change/sql", "of their own"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_plan p;
        struct tw_err err = {0};

        cr_assert_eq(plan(a, rows[i].change, &p, &err), -EINVAL, "%s", rows[i].change);
        cr_expect_str_eq(err.pointer, rows[i].pointer, "%s: %s", rows[i].change, err.pointer);
        cr_expect(strstr(err.text, rows[i].words), "%s: %s", rows[i].change, err.text);
    }
}

Test(change_access, statements_about_roles_are_steps)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan p;
    struct tw_err err = {0};

    cr_assert_eq(plan(a, "\"sql\":[\"CREATE ROLE x LOGIN; GRANT SELECT ON t TO x\"]", &p, &err), 0, "%s",
                 err.text);
    cr_assert_eq(p.steps.count, 2);
    cr_expect_eq(p.steps.items[1].kind, TW_STEP_SQL);
}
