/* PostgreSQL through PgBouncer in transaction mode, and many connections without it. */
#include "load_scratch.h"

#include <math.h>

#define POOLER_PORT 7778

static struct scratch scratch;
static struct tw_arena *arena;
static struct tw_load *load;
static struct tw_pg *pg;

static void open_all(void)
{
    if (access("/usr/sbin/pgbouncer", X_OK) != 0)
        cr_skip_test("needs pgbouncer");
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

TestSuite(load_pooler, .init = open_all, .fini = close_all, .timeout = 60);

/* Two connections to the server for eight clients: what one has prepared the other lacks. */
static void start_pooler(void)
{
    tw_auto_free char *command = tw_strf(
        "printf '[databases]\\n* = host=%s port=7777 "
        "user=postgres\\n[pgbouncer]\\nlisten_addr =\\n"
        "listen_port = %d\\nunix_socket_dir = %s\\nauth_type = any\\n"
        "pool_mode = transaction\\ndefault_pool_size = 2\\nmax_client_conn = 50\\n"
        "logfile = %s/pooler.log\\npidfile = %s/pooler.pid\\n' >pooler.ini; "
        "/usr/sbin/pgbouncer -d pooler.ini",
        scratch.dir, POOLER_PORT, scratch.dir, scratch.dir, scratch.dir);

    tw_auto_free char *path = tw_strf("%s/.s.PGSQL.%d", scratch.dir, POOLER_PORT);
    int64_t deadline = tw_now_ns() + 20 * TW_SEC_NS;

    cr_assert(scratch_run(&scratch, command) == 0);
    while (access(path, F_OK) != 0 && tw_now_ns() < deadline)
        tw_sleep_ns(10 * TW_MSEC_NS);
    cr_assert(access(path, F_OK) == 0, "the pooler does not listen");
}

static void make_mix(struct tw_load_mix *mix)
{
    const struct tw_snapshot snapshot = {0};
    const char *name = "select-only";
    struct tw_err err = {0};

    cr_assert(tw_load_mix_make(arena, &snapshot, &name, 1, pg, mix, &err) == 0, "%s",
              err.text);
}

Test(load_pooler, statements_are_not_prepared_where_a_pooler_is_between)
{
    struct tw_load_mix mix;
    struct tw_load_spec spec = {.mix = &mix, .connections = 8};
    struct tw_load_order order = {
        .rate_per_s = 400, .length_ns = TW_SEC_NS, .seed = 6, .settle_s = 5};
    struct tw_load_failures f;
    struct tw_err err = {0};
    struct tw_slot slot;

    make_mix(&mix);
    start_pooler();
    spec.conninfo[TW_BASELINE] = tw_arena_printf(
        arena, "host=%s port=%d user=postgres prepare=0", scratch.dir, POOLER_PORT);
    cr_assert(tw_load_open(&spec, &load, &err) == 0, "%s", err.text);
    cr_assert(tw_load_slot(load, &order, &slot, &err) == 0, "%s", err.text);
    cr_assert(tw_load_failures(load, arena, &f, NULL) == 0);
    cr_expect_eq(slot.done, slot.sent, "%ld of %ld: %s", (long)slot.done, (long)slot.sent,
                 f.list.count ? f.list.items[0].text : "");
    cr_expect(scratch_number(pg, "SELECT count(*) FROM pg_stat_activity "
                                 "WHERE backend_type = 'client backend'") <= 3);
    tw_hist_free(slot.latency);
}

Test(load_pooler, peaks_and_rests_are_answered_in_the_words_of_the_server)
{
    struct tw_load_mix mix;
    struct tw_load_spec spec = {.mix = &mix, .conninfo = {NULL, NULL}};
    const double rungs[] = {0.1, 10};
    struct tw_load_connections_order order = {
        .clients = 3, .hold_s = 0.1, .rungs_s = rungs, .rung_count = 2, .bound_s = 12};
    struct tw_load_connections many;
    struct tw_err err = {0};
    bool told = false;

    spec.conninfo[TW_BASELINE] = tw_arena_printf(
        arena, "%s options='-c idle_session_timeout=1000'", scratch.conninfo);
    make_mix(&mix);
    for (int i = 0; i < 3; i++) { /* a pause of the machine is a rest as well */
        cr_assert(tw_load_connections(arena, &spec, &order, &many, &err) == 0, "%s",
                  err.text);
        if (many.rungs.items[0].result == TW_RUNG_WORKED)
            break;
    }
    cr_expect_eq(many.opened, 5);
    cr_expect_eq(many.rungs.items[0].result, TW_RUNG_WORKED, "%s %s",
                 many.rungs.items[0].code, many.rungs.items[0].text);
    cr_expect_eq(many.rungs.items[1].result, TW_RUNG_CLOSED);
    cr_expect_str_eq(many.rungs.items[1].code, "57P05", "%s", many.rungs.items[1].text);

    order = (struct tw_load_connections_order){.clients = 30, .hold_s = 0.1};
    cr_assert(tw_load_connections(arena, &spec, &order, &many, &err) == 0, "%s",
              err.text);
    cr_expect(many.opened > 0 && many.opened < 20, "%d", many.opened);
    for (size_t i = 0; i < many.failures.list.count; i++)
        told |= tw_streq(many.failures.list.items[i].code, "53300");
    cr_expect(told, "53300 is among the failures");
}
