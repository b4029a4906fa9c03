/* The stand-in as a server: rates that are kept, and stalls that are charged, by every driver. */
#include "load_service.h"

#include <math.h>

static struct tw_arena *arena;
static struct tw_load *load;
static pid_t server;
static int port, echo_port;

static void open_standin(void)
{
    int out[2];
    char word[8] = "";

    arena = tw_arena_new();
    port = service_port();
    do
        echo_port = service_port();
    while (echo_port == port);
    cr_assert(pipe(out) == 0);
    server = fork();
    if (server == 0) {
        char *plan = tw_strf(
            "{\"listen\": [{\"address\": \"127.0.0.1:%d\"},"
            " {\"address\": \"127.0.0.1:%d\", \"protocol\": \"echo\"}],"
            " \"paths\": [{\"path\": \"/x\", \"bytes\": 500, \"header_bytes\": 300},"
            " {\"path\": \"/slow\", \"latency_s\": 0.02, \"status\": 201}]}",
            port, echo_port);
        char *argv[] = {strdup("_standin"), plan, NULL};

        (void)dup2(out[1], 1);
        _exit(tw_load_standin_main(2, argv));
    }
    (void)close(out[1]);
    cr_assert(read(out[0], word, sizeof word) == 6, "the stand-in does not begin");
    (void)close(out[0]);
}

static void close_standin(void)
{
    tw_load_close(load);
    if (server > 0) {
        (void)kill(server, SIGCONT);
        (void)kill(server, SIGTERM);
        (void)waitpid(server, NULL, 0);
    }
    tw_arena_free(arena);
}

TestSuite(load_standin, .init = open_standin, .fini = close_standin, .timeout = 60);

static void open_load(const char *driver, const char *sent, int expect, int to)
{
    struct tw_load_mix *mix = tw_arena_alloc(arena, sizeof *mix);
    struct tw_load_statement statement = {.sql = sent, .expect = expect};
    struct tw_load_item item = {.name = "one", .weight = 1};
    const char *where = tw_arena_printf(arena, "address=127.0.0.1 port=%d", to);
    struct tw_load_spec spec = {.mix = mix, .conninfo = {where, where}, .connections = 8};
    struct tw_err err = {0};

    mix->driver = driver;
    TW_PUSH(arena, &item.statements, statement);
    TW_PUSH(arena, &mix->items, item);
    cr_assert(tw_load_open(&spec, &load, &err) == 0, "%s: %s", driver, err.text);
}

Test(load_standin, answers_are_as_recorded)
{
    struct tw_load_order order = {
        .rate_per_s = 200, .length_ns = TW_SEC_NS / 2, .seed = 4};
    struct tw_load_failures f;
    struct tw_slot slot;

    open_load("http", "GET /slow?x=1\n", 201, port);
    slot = service_slot(load, order);
    cr_assert(tw_load_failures(load, arena, &f, NULL) == 0);
    cr_expect_eq(slot.done, slot.sent, "%s", f.list.count ? f.list.items[0].text : "");
    cr_expect(tw_hist_min(slot.latency) >= 0.019, "%f s", tw_hist_min(slot.latency));
    service_slot_free(&slot);
}

/* 0.3 s in which nothing is answered: whoever was due in the first 0.2 s waits 0.1 s and more,
 * and there are some 80 of them. */
Test(load_standin, a_stall_is_charged_to_all_who_were_due)
{
    static const struct {
        const char *driver, *sent;
    } rows[] = {{"http", "GET /x\n"}, {"tcp", "hello"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_load_order order = {
            .rate_per_s = 400, .length_ns = TW_SEC_NS, .seed = 5, .keep_starts = true};
        struct tw_slot slot;
        pid_t pid;
        double over;

        int64_t deadline = tw_now_ns() + 20 * TW_SEC_NS;

        open_load(rows[i].driver, rows[i].sent, 0, i == 0 ? port : echo_port);
        do { /* whether the stall falls into the slot is the machine's affair */
            pid = fork();
            if (pid == 0) {
                tw_sleep_ns(300 * TW_MSEC_NS);
                (void)kill(server, SIGSTOP);
                tw_sleep_ns(300 * TW_MSEC_NS);
                (void)kill(server, SIGCONT);
                _exit(0);
            }
            slot = service_slot(load, order);
            (void)waitpid(pid, NULL, 0);
            over = tw_hist_share_over(slot.latency, 0.1) * (double)slot.done;
            cr_expect(fabs((double)slot.sent - 400) < 5 * 20, "%ld of 400",
                      (long)slot.sent);
            cr_expect_eq(slot.start_count, (size_t)slot.sent);
            cr_expect_eq(slot.done + slot.late, slot.sent);
            service_slot_free(&slot);
        } while (over < 40 && tw_now_ns() < deadline);
        cr_expect(over >= 40, "%s: %.0f requests over 0.1 s", rows[i].driver, over);
        tw_load_close(load);
        load = NULL;
    }
}
