/* Bad input: a clear error, the right exit code, nothing left behind. */
#include "live.h"

Test(run_input, mistakes_are_named_before_anything_is_cloned, .timeout = 100)
{
    static const struct {
        const char *args[6];
        int exit_code;
        const char *words;
    } rows[] = {
        {{"--target", "pgg", "--set", "work_mem=4MB"}, 2, "did you mean 'pg'"},
        {{"--target", "pg", "--set", "wrok_mem=4MB"}, 2, "did you mean \"work_mem\""},
        {{"--target", "pg", "--set", "max_connections=300000"},
         2,
         "outside the valid range"},
        {{"--target", "pg", "--set", "work_mem=4XB"}, 2, "\"kB\""},
        {{"--target", "pg", "--set", "fsync=perhaps"}, 2, "Boolean"},
        {{"--target", "pg", "--set", "wal_level"}, 2, "NAME=VALUE"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--set", "WORK_MEM=5MB"},
         2,
         "twice"},
        {{"--target", "pg", "--set", "block_size=16384"}, 2, "block_size"},
        {{"--target", "pg", "--file", "/nonexistent.conf"}, 2, "No such file"},
        {{"--target", "pg", "--file", "/etc/passwd=/etc/hostname"}, 2, "does not belong"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--scenario", "diurnl"},
         2,
         "diurnal"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--hours", "9999"}, 2, "720"},
        {{"--target", "pg", "--sett", "work_mem=4MB"}, 2, "--set"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--profile", "/nonexistent.csv"},
         2,
         "the profile of the load"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--mix", "selct-only"},
         2,
         "select-only"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--fault", "latency=2"},
         2,
         "with its unit"},
        {{"--target", "pg", "--set", "work_mem=4MB", "--type", "config"},
         2,
         "config_change"},
        {{"--target", "pg"}, 2, "nothing to change"},
        {{"--target", "likeness", "--set", "work_mem=4MB"}, 2, "--data clone"},
    };
    struct live l;
    struct live_answer got;

    live_open(&l, 24403, 0, NULL);
    live_add(&l);
    live_twin(&l, &got, "env", "add", "likeness", "--type", "postgresql", "--data-dir",
              l.data);
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *args[12] = {"run", "-o", "json"};

        for (size_t k = 0; k < 6; k++)
            args[3 + k] = rows[i].args[k];
        live_twin_env(&l, NULL, args, &got);
        cr_expect_eq(got.exit_code, rows[i].exit_code, "row %zu: exit %d: %s", i,
                     got.exit_code, got.err);
        cr_expect(strstr(got.err, rows[i].words), "row %zu: '%s' not in: %s", i,
                  rows[i].words, got.err);
        cr_expect_str_eq(live_text(got.json, "title"), "bad input", "row %zu: %s", i,
                         got.out);
        live_answer_done(&got);
    }
    cr_expect_eq(live_leftovers(&l), 0);
    cr_expect_eq(access(tw_strf("%s/pool.img", l.state), F_OK), -1,
                 "something was cloned");
    live_close(&l);
}

Test(run_input, a_body_names_the_key_that_is_wrong, .timeout = 60)
{
    static const struct {
        const char *body, *words;
    } rows[] = {
        {"{\"type\": \"config_change\", \"target\": \"pg\", \"chnage\": {}}", "change"},
        {"{\"type\": \"config_chang\", \"target\": \"pg\", \"change\": {\"work_mem\": "
         "\"4MB\"}}",
         "config_change"},
        {"{\"type\": \"config_change\", \"type\": \"x\"}", "duplicate"},
        {"{\"type\": ", "line 1"},
    };
    struct live l;
    tw_auto_free char *path = NULL;

    live_open(&l, 24404, 0, NULL);
    live_add(&l);
    path = tw_strf("%s/change.json", l.top);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct live_answer got;

        cr_assert_eq(tw_write_file(path, rows[i].body, strlen(rows[i].body), 0644, NULL),
                     0);
        live_twin(&l, &got, "run", path, "-o", "json");
        cr_expect_eq(got.exit_code, 2, "row %zu: %d %s", i, got.exit_code, got.err);
        cr_expect(strcasestr(got.err, rows[i].words), "row %zu: %s", i, got.err);
        live_answer_done(&got);
    }
    live_close(&l);
}
