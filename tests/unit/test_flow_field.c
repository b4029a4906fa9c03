/* Rule sets as they stand in the field (tests/data/flow_field/): of packets at the boundaries of what each
 * distinguishes, only those behind a rate limit get no clear answer, and the diagrams say what the evaluator says.
 * Four of the five have none at all; of the fifth these are the pings that "limit: 10/sec" counts, 56 of 4,308. */
#include "tw/filter.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#define PACKETS   1500
#define ICMP      1
#define ECHO_ASKS 8

static const char *const names[] = {"web", "docker", "gateway", "ufw", "fail2ban"};

static void ask(const char *name, int *ret_may, int *ret_all)
{
    tw_auto_free char *path = tw_strf("tests/data/flow_field/%s/rules.v4", name);
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_free char *text = NULL;
    struct tw_filter_probes probes = {{0}};
    struct tw_filter_text both = {0};
    const struct tw_flow_rules *rules;
    struct tw_err err = {0};
    size_t len;

    cr_assert_eq(tw_read_file(AT_FDCWD, path, 1 << 20, &text, &len, &err), 0, "%s", err.text);
    cr_assert_eq(tw_flow_read_iptables(a, text, len, false, &rules, &err), 0, "%s: %s", name, err.text);
    both.xt[0] = text;
    tw_filter_boundaries(a, &both, PACKETS, &probes);
    cr_assert_gt(probes.list.count, 100, "%s: %zu packets", name, probes.list.count);
    tw_auto(tw_flow_space) *s = tw_flow_space_new(&rules, 1, 0);

    *ret_may = 0;
    *ret_all = (int)probes.list.count;
    for (size_t i = 0; i < probes.list.count; i++) {
        const struct tw_filter_probe *p = &probes.list.items[i];
        enum tw_flow_answer one = tw_flow_evaluate(rules, p->path, &p->packet), other = TW_FLOW_ANSWER_COUNT;

        cr_assert_eq(tw_flow_ask(s, rules, p->path, &p->packet, &other, &err), 0, "%s", err.text);
        cr_expect_eq(one, other, "%s: %s", name, tw_flow_packet_text(a, &p->packet));
        if (one == TW_FLOW_MAY)
            cr_expect(tw_streq(name, "fail2ban") && p->packet.field[TW_FLOW_PROTO] == ICMP &&
                          p->packet.field[TW_FLOW_ICMP_TYPE] == ECHO_ASKS,
                      "%s: %s", name, tw_flow_packet_text(a, &p->packet));
        *ret_may += one == TW_FLOW_MAY;
    }
}

Test(flow_field, only_what_a_rate_limits_gets_no_clear_answer)
{
    for (size_t i = 0; i < TW_COUNT_OF(names); i++) {
        int may, all;

        ask(names[i], &may, &all);
        cr_log_info("%s: %d of %d packets may fare either way", names[i], may, all);
    }
}
