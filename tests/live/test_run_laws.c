/* What runs out is told with its kind, whatever else the machine does. */
#include "live.h"

static json_t *failure(const struct live_answer *got, const char *kind)
{
    json_t *list = json_object_get(json_object_get(got->json, "predicted_impact"), "failures");
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
        if (tw_streq(json_string_value(json_object_get(one, "kind")), kind))
            return one;
    return NULL;
}

Test(run_laws, sequence_password_and_archive_are_told, .timeout = 110)
{
    static const char script[] = "INSERT INTO ticket (x) VALUES (1)\n";
    tw_auto_free char *mix = NULL;
    struct live_answer got;
    struct live l;

    live_open(&l, 24431, 1, NULL);
    live_start(&l);
    cr_assert_eq(live_sql(&l, "CREATE TABLE ticket (id smallserial, x int)"), 0);
    cr_assert_eq(live_sql(&l, "SELECT setval('ticket_id_seq', 20000)"), 0);
    cr_assert_eq(live_sql(&l, "CREATE ROLE app LOGIN VALID UNTIL '2001-01-01'"), 0);
    live_stop(&l, "fast");
    live_add(&l);
    mix = tw_strf("%s/mix.sql", l.top);
    cr_assert_eq(tw_write_file(mix, script, sizeof(script) - 1, 0644, NULL), 0);
    live_twin(&l, &got, "run", "--target", "pg", "--set", "archive_mode=on", "--set",
              "archive_command=false", "--mix", mix, "--rate", "200", "--hours", "1", "-o", "json");
    cr_assert_not_null(got.json, "%s%s", got.out, got.err);
    cr_expect(failure(&got, "sequence"), "%s", got.out);
    cr_expect(failure(&got, "expiry"), "%s", got.out);
    cr_expect(live_issue(&got, "archive.failing"), "%s", got.out);
    live_answer_done(&got);
    live_close(&l);
}
