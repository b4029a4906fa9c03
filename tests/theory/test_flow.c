/* The diagrams against an evaluator that takes one packet step by step and shares nothing with
 * them: random rule sets, random packets. */
#include "../live/flow_gen.h"

#include <criterion/criterion.h>

#define SETS    120
#define PACKETS 60

static uint64_t the_seed(void)
{
    const char *s = getenv("TWIN_TEST_SEED");

    return s ? strtoull(s, NULL, 0) : 20240607;
}

static void anything(struct gen *g, bool v6, struct tw_flow_packet *p)
{
    gen_packet(g, v6, p);
    p->field[TW_FLOW_STATE] = gen_below(g, TW_FLOW_STATE_COUNT);
    p->field[TW_FLOW_MARK] = gen_one_in(g, 2) ? 0 : gen_below(g, 8);
    p->field[TW_FLOW_IIF] = tw_flow_name(GEN_PICK(g, "vb", "eth0", "lo", "wlan0"));
}

Test(flow, diagrams_and_the_evaluator_agree)
{
    uint64_t seed = the_seed();
    int count[TW_FLOW_ANSWER_COUNT] = {0};

    for (unsigned i = 0; i < SETS; i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct gen g;
        const struct tw_flow_rules *r;
        struct tw_err err = {0};

        gen_begin(&g, seed, i, true, i % 2);
        gen_xt(&g);
        cr_assert_eq(tw_flow_read_iptables(a, g.out.data, g.out.len, i % 2, &r, &err), 0,
                     "%s\n%s", err.text, g.out.data);
        tw_auto(tw_flow_space) *s = tw_flow_space_new(&r, 1, 0);

        for (int k = 0; k < PACKETS; k++) {
            struct tw_flow_packet p;
            enum tw_flow_answer x, y;

            anything(&g, i % 2, &p);
            x = tw_flow_evaluate(r, TW_FLOW_TO_HOST, &p);
            cr_assert_eq(tw_flow_ask(s, r, TW_FLOW_TO_HOST, &p, &y, &err), 0, "%s", err.text);
            cr_assert_eq(x, y, "seed %llu, rule set %u: %s: evaluator %s, diagrams %s\n%s",
                         (unsigned long long)seed, i, tw_flow_packet_text(a, &p),
                         tw_flow_answer_names[x], tw_flow_answer_names[y], g.out.data);
            count[x]++;
        }
        tw_buf_done(&g.out);
    }
    cr_log_info("seed %llu: %d drop, %d accept, %d may", (unsigned long long)seed,
                count[TW_FLOW_DROP], count[TW_FLOW_ACCEPT], count[TW_FLOW_MAY]);
    cr_assert_gt(count[TW_FLOW_DROP], 100);
    cr_assert_gt(count[TW_FLOW_ACCEPT], 100);
}

/* Whatever two rule sets differ in, a packet's answers differ exactly inside of the listed flows. */
Test(flow, a_difference_is_where_single_packets_differ)
{
    uint64_t seed = the_seed();

    for (unsigned i = 0; i < SETS; i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct gen g;
        const struct tw_flow_rules *r[2];
        struct tw_err err = {0};
        struct tw_flow_difference d;
        char *line;

        gen_begin(&g, seed + 1, i, true, false);
        gen_xt(&g);
        cr_assert_eq(tw_flow_read_iptables(a, g.out.data, g.out.len, false, &r[0], &err), 0);
        line = strstr(g.out.data, i % 2 ? "-j DROP" : "-j ACCEPT"); /* one rule is changed */
        line = line && strstr(line + 1, "\n-A INPUT") ? strstr(line + 1, "\n-A INPUT") : line;
        if (line && strstr(line, "-j DROP"))
            memcpy(strstr(line, "-j DROP"), "-j c3  ", 7);
        cr_assert_eq(tw_flow_read_iptables(a, g.out.data, g.out.len, false, &r[1], &err), 0, "%s", err.text);
        tw_auto(tw_flow_space) *s = tw_flow_space_new(r, 2, 0);

        cr_assert_eq(tw_flow_compare(s, a, r[0], r[1], TW_FLOW_TO_HOST, 40, &d, &err), 0);
        for (size_t k = 0; k < d.list.count; k++) {
            const struct tw_flow_change *c = &d.list.items[k];

            cr_assert_eq(tw_flow_evaluate(r[0], TW_FLOW_TO_HOST, &c->witness), c->before, "%s", c->witness_text);
            cr_assert_eq(tw_flow_evaluate(r[1], TW_FLOW_TO_HOST, &c->witness), c->after, "%s", c->witness_text);
        }
        for (int k = 0; k < PACKETS && d.list.count == 0; k++) {
            struct tw_flow_packet p;

            anything(&g, false, &p);
            cr_assert_eq(tw_flow_evaluate(r[0], TW_FLOW_TO_HOST, &p),
                         tw_flow_evaluate(r[1], TW_FLOW_TO_HOST, &p), "rule set %u: %s", i,
                         tw_flow_packet_text(a, &p));
        }
        tw_buf_done(&g.out);
    }
}
