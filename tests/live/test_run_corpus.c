/* Rows of the corpus that are settings and files: what fails is blocked by its kind, what is
 * harmless is never blocked. */
#include "live.h"

struct row {
    const char *id, *set, *file, *content,
        *code; /* file: PATH of --file PATH=F; "" a fragment */
};

static void write_text(const char *path, const char *text)
{
    cr_assert_eq(tw_write_file(path, text, strlen(text), 0644, NULL), 0);
}

static void ask(struct live *l, const struct row *row, struct live_answer *got)
{
    tw_auto_free char *from = tw_strf("%s/change.txt", l->top);
    tw_auto_free char *file = tw_strf("%s%s%s", row->file ? row->file : "",
                                      row->file && *row->file ? "=" : "", from);

    if (row->file)
        write_text(from, row->content);
    live_twin(l, got, "run", "--target", "pg", row->file ? "--file" : "--set",
              row->file ? file : row->set, "-o", "json", "--mix", "select-only", "--seed",
              "7");
    cr_assert_not_null(got->json, "%s: %s%s", row->id, got->out, got->err);
}

/* As an editor's user would: the file as it is, with one line more. */
static char *hba_with(const struct live *l, const char *line)
{
    tw_auto_free char *path = tw_strf("%s/pg_hba.conf", l->data);
    tw_auto_free char *text = NULL;

    cr_assert_eq(tw_read_file(-100, path, 1 << 20, &text, NULL, NULL), 0);
    return tw_strf("%s%s\n", text, line);
}

Test(run_corpus, what_fails_is_blocked_in_the_servers_words, .timeout = 110)
{
    struct live l;
    tw_auto_free char *bad_hba = NULL;
    tw_auto_free char *open_hba = NULL;

    live_open(&l, 24401, 2, NULL);
    live_add(&l);
    bad_hba = hba_with(&l, "hostt all all all trust");
    open_hba = hba_with(&l, "host all all 0.0.0.0/0 trust");
    const struct row rows[] = {
        {"PG01", "shared_buffers=200GB", NULL, NULL, "start.memory"},
        {"PG03", "shared_preload_libraries=pg_stat_statement", NULL, NULL,
         "start.library"},
        {"PG06", NULL, "pg_hba.conf", bad_hba, "restart.latent"},
        {"PG08", "ssl=on", NULL, NULL, "start.tls"},
        {"PG21", NULL, "pg_hba.conf", open_hba, "exposure.trust"},
        {"PG14", "port=24499", NULL, NULL, "client.refused"},
        {"PG25", "synchronous_standby_names=replica1", NULL, NULL, "client.hangs"},
        {"PG49", "fsync=off", NULL, NULL, "durability.fsync"},
        {"typo", NULL, "", "# one\ncheckpoint_timeout = '5mins'\n", "restart.latent"},
        {"name", NULL, "", "wrok_mem = 4MB\n", "restart.latent"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct live_answer got;

        ask(&l, &rows[i], &got);
        cr_expect_eq(got.exit_code, 3, "%s: exit %d\n%s", rows[i].id, got.exit_code,
                     got.out);
        cr_expect_str_eq(live_text(got.json, "status"), "success", "%s", rows[i].id);
        cr_expect_str_eq(live_text(got.json, "decision"), "block", "%s", rows[i].id);
        cr_expect(live_issue(&got, rows[i].code), "%s: no issue %s in\n%s", rows[i].id,
                  rows[i].code, got.out);
        live_answer_done(&got);
    }
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}

Test(run_corpus, what_is_harmless_is_never_blocked, .timeout = 118)
{
    static const struct row rows[] = {
        {"HP04", "effective_cache_size=2GB", NULL, NULL, NULL},
        {"HP05", "checkpoint_completion_target=0.9", NULL, NULL, NULL},
        {"HP07", "default_statistics_target=200", NULL, NULL, NULL},
        {"HP08", "wal_compression=on", NULL, NULL, NULL},
        {"HP13", "shared_buffers=256MB", NULL, NULL, NULL},
        {"HP16", "idle_in_transaction_session_timeout=10min", NULL, NULL, NULL},
        {"HP18", "tcp_keepalives_idle=60", NULL, NULL, NULL},
        {"HP19", "effective_io_concurrency=200", NULL, NULL, NULL},
        {"HP21", "lock_timeout=30s", NULL, NULL, NULL},
        {"HP22", "shared_preload_libraries=pg_stat_statements", NULL, NULL, NULL},
        {"HP26", "password_encryption=scram-sha-256", NULL, NULL, NULL},
    };
    struct live l;

    live_open(&l, 24402, 2, NULL);
    live_add(&l);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct live_answer got;

        ask(&l, &rows[i], &got);
        cr_expect(got.exit_code == 0 || got.exit_code == 4, "%s: exit %d\n%s", rows[i].id,
                  got.exit_code, got.out);
        cr_expect_str_eq(live_text(got.json, "status"), "success", "%s", rows[i].id);
        live_answer_done(&got);
    }
    live_close(&l);
}
