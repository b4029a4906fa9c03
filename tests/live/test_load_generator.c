/* The generator against a real PostgreSQL: rates, stalls, counts, errors. */
#include "load_scratch.h"

#include <math.h>

static struct scratch scratch;
static struct tw_arena *arena;
static struct tw_load *load;
static struct tw_pg *pg;

static void open_all(void)
{
    scratch_open(&scratch, "-c max_connections=20");
    scratch_pgbench(&scratch, 1);
    arena = tw_arena_new();
    pg = scratch_connect(&scratch);
}

static void close_all(void)
{
    tw_load_close(load);
    tw_pg_close(pg);
    scratch_close(&scratch);
    tw_arena_free(arena);
}

static struct tw_load_mix *make_mix(const char *name)
{
    struct tw_load_mix *mix = tw_arena_alloc(arena, sizeof *mix);
    const struct tw_snapshot snapshot = {0};
    struct tw_err err = {0};

    cr_assert(tw_load_mix_make(arena, &snapshot, &name, 1, pg, mix, &err) == 0, "%s",
              err.text);
    return mix;
}

static void open_load(const struct tw_load_mix *mix, int connections)
{
    struct tw_load_spec spec = {.mix = mix,
                                .conninfo = {scratch.conninfo, scratch.conninfo},
                                .connections = connections};
    struct tw_err err = {0};

    cr_assert(tw_load_open(&spec, &load, &err) == 0, "%s", err.text);
}

static struct tw_slot slot_of(struct tw_load_order order)
{
    struct tw_slot slot;
    struct tw_err err = {0};

    order.settle_s = order.settle_s > 0 ? order.settle_s : 0.5;
    cr_assert(tw_load_slot(load, &order, &slot, &err) == 0, "%s", err.text);
    return slot;
}

static void free_slot(struct tw_slot *slot)
{
    tw_hist_free(slot->latency);
    free((void *)slot->starts_ns);
}

TestSuite(load_generator, .init = open_all, .fini = close_all, .timeout = 30);

Test(load_generator, offered_rate_is_kept_within_poisson_noise)
{
    struct tw_load_order order = {
        .rate_per_s = 500, .length_ns = 2 * TW_SEC_NS, .seed = 7, .keep_starts = true};
    struct tw_slot a, b;

    open_load(make_mix("select-only"), 4);
    a = slot_of(order);
    order.arm = TW_CANDIDATE;
    b = slot_of(order);
    cr_expect(fabs((double)a.sent - 1000) < 5 * sqrt(1000), "sent %ld of 1000",
              (long)a.sent);
    cr_expect_eq(a.done, a.sent);
    cr_expect_eq(a.errors + a.late, 0);
    cr_expect_eq(tw_hist_count(a.latency), a.done);
    cr_expect_eq(a.sent, b.sent, "the same seed gives the same arrivals to both arms");
    cr_assert_eq(a.start_count, b.start_count);
    cr_expect_eq(a.start_count, (size_t)a.sent);
    cr_expect_arr_eq(a.starts_ns, b.starts_ns, a.start_count * sizeof *a.starts_ns);
    cr_expect(a.lag99_s < 0.02, "dispatch lag %.6f s", a.lag99_s);
    cr_expect(a.p50_s > 0 && a.p50_s < 0.05, "p50 %.6f s", a.p50_s);
    cr_expect(a.generator_cpu_s > 0 && a.generator_cpu_s < 2);
    cr_expect(tw_load_item_means(load)[TW_BASELINE] > 0);
    cr_expect(tw_load_item_means(load)[TW_CANDIDATE] > 0);
    free_slot(&a);
    free_slot(&b);
}

Test(load_generator, counts_agree_with_the_commits_of_the_server)
{
    struct tw_load_order order = {.rate_per_s = 300, .length_ns = TW_SEC_NS, .seed = 3};
    const char *commits =
        "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname='postgres'";
    double before, extra, rows;
    int told = 0;
    struct tw_slot open_loop, closed;

    before = scratch_number(pg, commits);
    open_load(make_mix("tpcb"), 3);
    open_loop = slot_of(order);
    order.rate_per_s = NAN;
    order.length_ns = TW_SEC_NS / 2;
    closed = slot_of(order);
    cr_expect(closed.done > 50, "%ld done", (long)closed.done);
    cr_expect(isnan(closed.offered_per_s));
    cr_expect_eq(open_loop.errors + closed.errors, 0);
    rows = scratch_number(pg, "SELECT count(*) FROM pgbench_history");
    cr_expect_eq((int64_t)rows, open_loop.done + closed.done, "a row of history each");

    /* Beside the requests: seven statements prepared on each of six connections of which
     * at most the three of this arm are told here, and our own looking. */
    cr_assert(tw_load_flush(load, TW_BASELINE, &told, NULL) == 0);
    cr_expect_eq(told, 3);
    extra = scratch_number(pg, commits) - before - rows - told;
    cr_expect(extra >= 0 && extra <= 6 * 7 + 20, "%.0f commits more than requests",
              extra);
    free_slot(&open_loop);
    free_slot(&closed);
}

static void freeze_server(int64_t wait_ns, int64_t length_ns)
{
    tw_auto_free char *command = tw_strf("sleep %.3f; for s in STOP CONT; do for p in "
                                         "$(pgrep -P $(head -1 data/postmaster.pid)); do "
                                         "kill -$s $p; done; sleep %.3f; done",
                                         tw_seconds(wait_ns), tw_seconds(length_ns));

    (void)scratch_run(&scratch, command);
}

Test(load_generator, a_stall_is_charged_to_the_server)
{
    struct tw_load_order order = {.rate_per_s = 400, .length_ns = TW_SEC_NS, .seed = 11};
    struct tw_slot quiet, stalled;
    pid_t pid;

    open_load(make_mix("select-only"), 2);
    quiet = slot_of(order);
    pid = fork();
    if (pid == 0) {
        freeze_server(300 * TW_MSEC_NS, 50 * TW_MSEC_NS);
        _exit(0);
    }
    stalled = slot_of(order);
    (void)waitpid(pid, NULL, 0);
    /* With two connections a client that waits for answers would see two slow requests of
     * 400; 20 were due while nothing moved. */
    cr_expect(tw_hist_share_over(stalled.latency, 0.010) > 0.025, "share over 10 ms %.4f",
              tw_hist_share_over(stalled.latency, 0.010));
    cr_expect(stalled.p99_s > 0.025, "p99 %.6f s", stalled.p99_s);
    cr_expect(stalled.max_s > 0.045, "max %.6f s", stalled.max_s);
    cr_expect_eq(stalled.done, stalled.sent);
    free_slot(&quiet);
    free_slot(&stalled);
}

Test(load_generator, what_never_answers_is_cancelled_and_counted_as_the_slot)
{
    struct tw_load_order order = {
        .rate_per_s = 50, .length_ns = TW_SEC_NS / 5, .seed = 5, .settle_s = 0.05};
    tw_auto_free char *path = tw_strf("%s/slow.sql", scratch.dir);
    struct tw_slot slot, next;

    cr_assert(tw_write_file(path, "SELECT pg_sleep(30);\n", 21, 0644, NULL) == 0);
    open_load(make_mix(path), 2);
    slot = slot_of(order);
    cr_expect(slot.sent > 0);
    cr_expect_eq(slot.done, 0);
    cr_expect_eq(slot.late, slot.sent);
    cr_expect_eq(tw_hist_count(slot.latency), slot.sent);
    cr_expect(slot.p50_s >= 0.199, "p50 %.6f s", slot.p50_s);
    next = slot_of(order);
    cr_expect_eq(next.late, next.sent, "the connections serve again");
    tw_sleep_ns(100 * TW_MSEC_NS);
    cr_expect_eq((int)scratch_number(pg,
                                     "SELECT count(*) FROM pg_stat_activity WHERE "
                                     "state = 'active' AND query LIKE '%pg_sleep(30)%'"
                                     " AND pid <> pg_backend_pid()"),
                 0);
    free_slot(&slot);
    free_slot(&next);
}

Test(load_generator, errors_are_counted_with_the_servers_words)
{
    struct tw_load_order order = {
        .rate_per_s = 200, .length_ns = TW_SEC_NS / 2, .seed = 5, .arm = TW_CANDIDATE};
    tw_auto_free char *path = tw_strf("%s/bad.sql", scratch.dir);
    const char *text = "\\set n random(0, 1)\nBEGIN;\nSELECT 1 / :n;\nSELECT 2;\nEND;\n";
    struct tw_load_failures failures;
    struct tw_slot slot;

    cr_assert(tw_write_file(path, text, strlen(text), 0644, NULL) == 0);
    open_load(make_mix(path), 2);
    slot = slot_of(order);
    cr_expect(slot.errors > 20 && slot.done > 20, "%ld errors, %ld done",
              (long)slot.errors, (long)slot.done);
    cr_expect_eq(slot.sent, slot.done + slot.errors);
    cr_assert(tw_load_failures(load, arena, &failures, NULL) == 0);
    cr_assert_eq(failures.list.count, 1);
    cr_expect_str_eq(failures.list.items[0].code, "22012");
    cr_expect_str_eq(failures.list.items[0].text, "division by zero");
    cr_expect_eq(failures.list.items[0].count, slot.errors);
    cr_expect_eq(failures.list.items[0].arm, TW_CANDIDATE);
    cr_assert(tw_load_failures(load, arena, &failures, NULL) == 0);
    cr_expect_eq(failures.list.count, 0, "told once");
    free_slot(&slot);
}

/* When psql gets its turn is the machine's affair: it asks again until somebody was hit. */
Test(load_generator, killed_connections_come_back, .timeout = 60)
{
    struct tw_load_order order = {.rate_per_s = 400, .length_ns = TW_SEC_NS, .seed = 5};
    int64_t deadline = tw_now_ns() + 40 * TW_SEC_NS;
    bool told = false;

    open_load(make_mix("select-only"), 3);
    while (!told && tw_now_ns() < deadline) {
        struct tw_load_failures failures;
        struct tw_slot slot;
        pid_t pid = fork();

        if (pid == 0) {
            tw_auto_free char *command =
                tw_strf("sleep 0.3; psql -h %s -p 7777 -U postgres -c \"SELECT "
                        "pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'twin'\" postgres",
                        scratch.dir);

            (void)scratch_run(&scratch, command);
            _exit(0);
        }
        slot = slot_of(order);
        (void)waitpid(pid, NULL, 0);
        cr_expect(slot.done > slot.sent / 2, "%ld of %ld", (long)slot.done,
                  (long)slot.sent);
        cr_expect_eq(slot.sent, slot.done + slot.errors + slot.late);
        cr_assert(tw_load_failures(load, arena, &failures, NULL) == 0);
        for (size_t i = 0; i < failures.list.count; i++)
            told |= !strcmp(failures.list.items[i].code, "57P01");
        free_slot(&slot);
    }
    cr_expect(told, "57P01 is among the failures");
}

Test(load_generator, too_many_connections_are_a_failure_with_its_words)
{
    struct tw_load_order order = {
        .rate_per_s = 100, .length_ns = TW_SEC_NS / 5, .seed = 5};
    struct tw_load_failures failures;
    struct tw_slot slot;

    open_load(make_mix("select-only"), 15); /* for each of two arms: 30 of 20 */
    slot = slot_of(order);
    cr_expect_eq(slot.done, slot.sent);
    cr_assert(tw_load_failures(load, arena, &failures, NULL) == 0);
    cr_assert(failures.list.count > 0);
    cr_expect_str_eq(failures.list.items[0].code, "53300");
    cr_expect(strstr(failures.list.items[0].text, "too many clients"), "%s",
              failures.list.items[0].text);
    free_slot(&slot);
}

Test(load_generator, nobody_listening_is_said)
{
    tw_auto_free char *nowhere = tw_strf("host=%s port=7778 user=postgres", scratch.dir);
    struct tw_load_spec spec = {.mix = make_mix("select-only"),
                                .conninfo = {scratch.conninfo, nowhere},
                                .connections = 2};
    struct tw_err err = {0};

    cr_expect_eq(tw_load_open(&spec, &load, &err), -ECONNREFUSED);
    cr_expect(strstr(err.text, "candidate"), "%s", err.text);
    load = NULL;
}
