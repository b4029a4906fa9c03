#include "tw/flow.h"

#include <criterion/criterion.h>
#include <string.h>

#define HEAD                                                                                 \
    "{\"nftables\": [{\"metainfo\": {\"version\": \"1.0.6\"}}, "                               \
    "{\"table\": {\"family\": \"inet\", \"name\": \"f\"}}, "                                   \
    "{\"chain\": {\"family\": \"inet\", \"table\": \"f\", \"name\": \"in\", \"type\": \"filter\", "  \
    "\"hook\": \"input\", \"prio\": 0, \"policy\": \"drop\"}}"
#define RULE(handle, expr)                                                                   \
    ", {\"rule\": {\"family\": \"inet\", \"table\": \"f\", \"chain\": \"in\", \"handle\": " #handle  \
    ", \"expr\": [" expr "]}}"
#define DPORT(port)                                                                          \
    "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"tcp\", \"field\": "     \
    "\"dport\"}}, \"right\": " port "}}, "
#define SADDR(addr, len)                                                                     \
    "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"ip\", \"field\": "       \
    "\"saddr\"}}, \"right\": {\"prefix\": {\"addr\": \"" addr "\", \"len\": " #len "}}}}, "
#define LO                                                                                   \
    "{\"match\": {\"op\": \"==\", \"left\": {\"meta\": {\"key\": \"iifname\"}}, \"right\": \"lo\"}}, "
#define STATE                                                                                \
    "{\"match\": {\"op\": \"in\", \"left\": {\"ct\": {\"key\": \"state\"}}, \"right\": "            \
    "[\"established\", \"related\"]}}, "
#define L4(protocols)                                                                        \
    "{\"match\": {\"op\": \"==\", \"left\": {\"meta\": {\"key\": \"l4proto\"}}, \"right\": "       \
    "{\"set\": " protocols "}}}, "
#define ACCEPT "{\"accept\": null}"
#define DROP   "{\"drop\": null}"
#define USUAL  HEAD RULE(1, LO ACCEPT) RULE(2, STATE ACCEPT) RULE(3, SADDR("10.0.0.0", 8) DPORT("22") ACCEPT)

struct fixture {
    struct tw_arena *a;
    const struct tw_flow_rules *r[2];
    struct tw_flow_space *s;
    struct tw_err err;
};

static const struct tw_flow_rules *nft(struct fixture *f, const char *text)
{
    const struct tw_flow_rules *r = NULL;

    cr_assert_eq(tw_flow_read_nft(f->a, text, strlen(text), &r, &f->err), 0, "%s", f->err.text);
    return r;
}

static const struct tw_flow_rules *xt(struct fixture *f, const char *text)
{
    const struct tw_flow_rules *r = NULL;

    cr_assert_eq(tw_flow_read_iptables(f->a, text, strlen(text), false, &r, &f->err), 0, "%s",
                 f->err.text);
    return r;
}

static void begin(struct fixture *f, const char *before, const char *after)
{
    *f = (struct fixture){.a = tw_arena_new()};
    f->r[0] = *before == '{' ? nft(f, before) : xt(f, before);
    f->r[1] = *after == '{' ? nft(f, after) : xt(f, after);
    f->s = tw_flow_space_new(f->r, 2, 0);
}

static void end(struct fixture *f)
{
    tw_flow_space_free(f->s);
    tw_arena_free(f->a);
}

static struct tw_flow_difference difference(struct fixture *f, enum tw_flow_path path)
{
    struct tw_flow_difference d;

    cr_assert_eq(tw_flow_compare(f->s, f->a, f->r[0], f->r[1], path, 0, &d, &f->err), 0);
    return d;
}

static const struct tw_issue *issue(const struct tw_issues *list, const char *code, const char *word)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (tw_streq(list->list.items[i].code, code) && strstr(list->list.items[i].title, word))
            return &list->list.items[i];
    return NULL;
}

static struct tw_issues judged(struct fixture *f)
{
    struct tw_issues issues = {0};

    cr_assert_eq(tw_flow_judge(f->s, f->a, f->r[0], f->r[1], NULL, 0, &issues, &f->err), 0);
    return issues;
}

Test(flow_answer, a_new_port_is_one_readable_flow)
{
    struct fixture f;
    struct tw_flow_difference d;

    begin(&f, USUAL "]}", USUAL RULE(4, SADDR("192.168.0.0", 16) DPORT("{\"set\": [443, 8443]}") ACCEPT) "]}");
    d = difference(&f, TW_FLOW_TO_HOST);
    cr_assert_eq(d.list.count, 1);
    cr_assert_eq(d.list.items[0].before, TW_FLOW_DROP);
    cr_assert_eq(d.list.items[0].after, TW_FLOW_ACCEPT);
    cr_assert(strstr(d.list.items[0].text, "tcp from 192.168.0.0/16 to any port 443, 8443") ==
                  d.list.items[0].text,
              "%s", d.list.items[0].text);
    cr_assert_eq(difference(&f, TW_FLOW_THROUGH).list.count, 0);
    end(&f);
}

Test(flow_answer, the_same_rules_differ_in_nothing)
{
    struct fixture f;

    begin(&f, USUAL RULE(4, DPORT("80") ACCEPT) RULE(5, DPORT("81") ACCEPT) "]}",
          USUAL RULE(9, DPORT("81") ACCEPT) RULE(8, DPORT("80") ACCEPT) "]}");
    cr_assert_eq(difference(&f, TW_FLOW_TO_HOST).list.count, 0);
    end(&f);
}

Test(flow_answer, shadowed_redundant_and_never_matched_are_told_with_who_decides)
{
    struct fixture f;
    struct tw_flow_rule_findings found;

    begin(&f,
          USUAL RULE(4, DPORT("{\"range\": [1, 1023]}") DROP) RULE(5, DPORT("80") ACCEPT)
              RULE(6, DPORT("22") DROP) RULE(7, DPORT("9000") DROP) RULE(8, DPORT("1") DPORT("2") DROP) "]}",
          USUAL "]}");
    cr_assert_eq(tw_flow_useless(f.s, f.a, f.r[0], &found, &f.err), 0);
    cr_assert_geq(found.list.count, 4);
    for (size_t i = 0; i < found.list.count; i++) {
        const struct tw_flow_rule_finding *x = &found.list.items[i];

        if (strstr(x->place, "handle 5"))
            cr_assert(x->kind == TW_FLOW_SHADOWED &&
                      strstr(x->by.items[x->by.count - 1], "handle 4")); /* after lo and established */
        else if (strstr(x->place, "handle 6"))
            cr_assert_neq(x->kind, TW_FLOW_NEVER);
        else if (strstr(x->place, "handle 7"))
            cr_assert(x->kind == TW_FLOW_REDUNDANT && strstr(x->by.items[0], "policy"));
        else if (strstr(x->place, "handle 8"))
            cr_assert_eq(x->kind, TW_FLOW_NEVER);
        else
            cr_assert(strstr(x->place, "handle 4"), "%s", x->place); /* the policy drops as well */
    }
    end(&f);
}

Test(flow_answer, of_what_a_change_touches_the_useless_rules_are_told_alone)
{
    struct fixture f;
    struct tw_flow_rule_findings found;

    begin(&f,
          USUAL RULE(4, DPORT("{\"range\": [1, 1023]}") DROP) RULE(7, DPORT("9000") DROP) "]}",
          USUAL RULE(4, DPORT("{\"range\": [1, 1023]}") DROP) RULE(5, DPORT("80") ACCEPT)
              RULE(7, DPORT("9000") DROP) RULE(8, DPORT("9001") DROP) "]}");
    cr_assert_eq(tw_flow_useless_touched(f.s, f.a, f.r[0], f.r[1], &found, &f.err), 0);
    cr_assert_eq(found.list.count, 2);
    cr_expect(strstr(found.list.items[0].place, "handle 5") && found.list.items[0].kind == TW_FLOW_SHADOWED);
    cr_expect(strstr(found.list.items[1].place, "handle 8") && found.list.items[1].kind == TW_FLOW_REDUNDANT);
    cr_assert_eq(tw_flow_useless_touched(f.s, f.a, f.r[1], f.r[1], &found, &f.err), 0);
    cr_expect_eq(found.list.count, 0);
    end(&f);
}

Test(flow_answer, lock_outs_are_found)
{
    struct fixture f;
    struct tw_issues issues;

    begin(&f, USUAL "]}", HEAD RULE(4, DPORT("443") ACCEPT) "]}");
    issues = judged(&f);
    cr_assert(issue(&issues, "firewall.lockout", "loopback"));
    cr_assert(issue(&issues, "firewall.lockout", "established"));
    cr_assert(issue(&issues, "firewall.lockout", "ssh"));
    cr_assert_null(issue(&issues, "firewall.exposed", ""));
    end(&f);
}

/* What loopback or a single port still accepts is not what somebody outside is left with. */
Test(flow_answer, what_is_left_to_others_does_not_hide_a_lock_out)
{
    struct fixture f;
    struct tw_issues issues;

    begin(&f, USUAL RULE(4, DPORT("80") ACCEPT) "]}", HEAD RULE(1, LO ACCEPT) RULE(4, DPORT("80") ACCEPT) "]}");
    issues = judged(&f);
    cr_assert(issue(&issues, "firewall.lockout", "established"));
    cr_assert(issue(&issues, "firewall.lockout", "ssh"));
    cr_assert_null(issue(&issues, "firewall.lockout", "loopback"));
    end(&f);
}

Test(flow_answer, one_port_closed_on_purpose_locks_nobody_out)
{
    struct fixture f;
    struct tw_issues issues;

    begin(&f, USUAL "]}",
          HEAD RULE(9, DPORT("9999") DROP) RULE(1, LO ACCEPT) RULE(2, STATE ACCEPT)
              RULE(3, SADDR("10.0.0.0", 8) DPORT("22") ACCEPT) "]}");
    issues = judged(&f);
    cr_assert_null(issue(&issues, "firewall.lockout", ""));
    end(&f);
}

/* The kernel tracks neighbour discovery as no connection, and calls path-MTU messages related: a rule for
 * established connections saves the one never, the other only where it names related. */
Test(flow_answer, a_rule_for_established_connections_does_not_save_icmp)
{
    struct fixture f;
    struct tw_issues issues;

    begin(&f, USUAL RULE(4, L4("[\"icmp\", \"ipv6-icmp\"]") ACCEPT) "]}", USUAL RULE(4, L4("[\"icmp\"]") ACCEPT) "]}");
    issues = judged(&f);
    cr_expect(issue(&issues, "firewall.lockout", "neighbour discovery"));
    cr_expect_null(issue(&issues, "firewall.lockout", "path-MTU"));
    end(&f);
}

Test(flow_answer, many_ports_opened_at_once_are_one_finding)
{
    struct fixture f;
    struct tw_issues issues;
    int found = 0;

    begin(&f, USUAL "]}", USUAL RULE(4, DPORT("{\"range\": [1, 20000]}") ACCEPT) "]}");
    issues = judged(&f);
    for (size_t i = 0; i < issues.list.count; i++)
        found += strcmp(issues.list.items[i].code, "firewall.exposed") == 0;
    cr_expect_eq(found, 2, "one for each family, not %d", found);
    cr_expect(issue(&issues, "firewall.exposed", "PostgreSQL"));
    end(&f);
}

Test(flow_answer, exposures_are_found_and_private_ones_are_not)
{
    struct fixture f;
    struct tw_issues issues;

    begin(&f, USUAL "]}", USUAL RULE(4, DPORT("5432") ACCEPT) RULE(5, SADDR("10.0.0.0", 8) DPORT("3306") ACCEPT) "]}");
    issues = judged(&f);
    cr_assert(issue(&issues, "firewall.exposed", "PostgreSQL"));
    cr_assert_null(issue(&issues, "firewall.exposed", "MySQL"));
    cr_assert_null(issue(&issues, "firewall.v6_open", ""));
    end(&f);
    begin(&f, USUAL "]}",
          USUAL RULE(4, "{\"match\": {\"op\": \"==\", \"left\": {\"meta\": {\"key\": \"nfproto\"}}, \"right\": "
                        "\"ipv6\"}}, " ACCEPT) "]}");
    issues = judged(&f);
    cr_assert(issue(&issues, "firewall.v6_open", ""));
    cr_assert(issue(&issues, "firewall.any_any", "IPv6"));
    cr_assert_null(issue(&issues, "firewall.lockout", ""));
    end(&f);
}

Test(flow_answer, zones_reach_services)
{
    struct fixture f;
    struct tw_flow_zone zones[2] = {{.name = "office"}, {.name = "world"}};
    struct tw_flow_service services[2] = {{"ssh", 6, 22}, {"web", 6, 443}};
    struct tw_flow_prefix office;
    struct tw_flow_matrix m;

    begin(&f, USUAL "]}", USUAL RULE(4, DPORT("443") ACCEPT) "]}");
    cr_assert_eq(tw_flow_prefix("10.1.0.0/16", &office, NULL), 0);
    TW_PUSH(f.a, &zones[0].prefixes, office);
    cr_assert_eq(tw_flow_zones(f.s, f.a, f.r[0], f.r[1], TW_FLOW_TO_HOST, zones, 2, services, 2, &m, &f.err), 0);
    cr_assert_eq(m.list.count, 4);
    cr_assert(m.list.items[0].before == TW_FLOW_ALL && m.list.items[0].after == TW_FLOW_ALL);
    cr_assert(m.list.items[1].before == TW_FLOW_NONE && m.list.items[1].after == TW_FLOW_ALL);
    cr_assert(m.list.items[2].before == TW_FLOW_PART && m.list.items[3].before == TW_FLOW_NONE);
    end(&f);
}

Test(flow_answer, a_rule_is_put_before_the_first_that_decides_otherwise)
{
    struct fixture f;
    struct tw_flow_mades made;
    const struct tw_flow_rules *with;
    const struct tw_flow_rule rule = {"0.0.0.0/0", "tcp", 443, NULL, NULL};
    struct tw_flow_difference d;

    begin(&f, USUAL RULE(4, DPORT("80") DROP) RULE(5, DPORT("{\"range\": [400, 500]}") DROP) "]}", USUAL "]}");
    cr_assert_eq(tw_flow_add(f.s, f.a, f.r[0], &rule, &made, &with, &f.err), 0, "%s", f.err.text);
    cr_assert_eq(made.list.count, 1);
    cr_assert_str_eq(made.list.items[0].command,
                     "nft insert rule inet f in handle 5 meta nfproto ipv4 tcp dport 443 accept");
    cr_assert_eq(tw_flow_compare(f.s, f.a, f.r[0], with, TW_FLOW_TO_HOST, 0, &d, &f.err), 0);
    cr_assert_eq(d.list.count, 1);
    cr_assert(strstr(d.list.items[0].text, "port 443"), "%s", d.list.items[0].text);
    end(&f);
}

#define XT_HEAD "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
Test(flow_answer, a_rule_for_iptables_says_its_number)
{
    struct fixture f;
    struct tw_flow_mades made;
    const struct tw_flow_rules *with;
    const struct tw_flow_rule rule = {NULL, "tcp", 443, NULL, NULL};

    begin(&f, XT_HEAD "-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -j REJECT\nCOMMIT\n", XT_HEAD "COMMIT\n");
    cr_assert_eq(tw_flow_add(f.s, f.a, f.r[0], &rule, &made, &with, &f.err), 0);
    cr_assert_str_eq(made.list.items[0].command, "iptables -I INPUT 2 -p tcp --dport 443 -j ACCEPT");
    end(&f);
}

Test(flow_answer, published_ports_pass_by_input_and_redirections_are_told)
{
    struct fixture f;
    struct tw_flow_difference d;
    bool redirected = false;

    begin(&f,
          "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination "
          "172.17.0.2:80\nCOMMIT\n" XT_HEAD "COMMIT\n",
          "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination "
          "172.17.0.3:80\nCOMMIT\n" XT_HEAD "COMMIT\n");
    d = difference(&f, TW_FLOW_THROUGH);
    for (size_t i = 0; i < d.list.count; i++)
        redirected |= d.list.items[i].redirected && strstr(d.list.items[i].text, "port 8080");
    cr_assert(redirected);
    end(&f);
}

Test(flow_answer, what_is_not_modelled_is_noted_and_may)
{
    struct fixture f;
    struct tw_flow_packet p = {{0}};

    begin(&f, XT_HEAD "-A INPUT -m string --string x --algo bm -j ACCEPT\nCOMMIT\n", XT_HEAD "COMMIT\n");
    cr_assert_eq(tw_flow_notes(f.r[0])->list.count, 1);
    cr_assert(strstr(tw_flow_notes(f.r[0])->list.items[0].place, "line 5"));
    p.field[TW_FLOW_PROTO] = 6;
    cr_assert_eq(tw_flow_evaluate(f.r[0], TW_FLOW_TO_HOST, &p), TW_FLOW_MAY);
    cr_assert_eq(tw_flow_evaluate(f.r[1], TW_FLOW_TO_HOST, &p), TW_FLOW_DROP);
    end(&f);
}

static void refused(bool json, const char *text, const char *words)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const struct tw_flow_rules *r;
    struct tw_err err = {0};
    int code = json ? tw_flow_read_nft(a, text, strlen(text), &r, &err)
                    : tw_flow_read_iptables(a, text, strlen(text), false, &r, &err);

    cr_assert_eq(code, -EINVAL, "%s", text);
    cr_assert(strstr(err.text, words), "'%s' is not in: %s", words, err.text);
}

Test(flow_answer, bad_input_is_refused_with_its_place)
{
    refused(true, "", "no rule set");
    refused(true, "{\"nftables\": [{\"table\": ", "no end");
    refused(true, "{\"nftables\": [{\"table\": nonsense}]}", "line 1");
    refused(true, HEAD RULE(1, "{\"jump\": {\"target\": \"nowhere\"}}") "]}", "no chain 'nowhere'");
    refused(true, HEAD RULE(1, DPORT("\"@none\"") DROP) "]}", "/nftables/3/rule/expr/0");
    refused(true, HEAD RULE(1, DPORT("\"httq\"") DROP) "]}", "httq");
    refused(false, "", "no table");
    refused(false, XT_HEAD "-A INPUT -p tcp --dport 99999 -j DROP\nCOMMIT\n", "line 5");
    refused(false, XT_HEAD "-A NOWHERE -j DROP\nCOMMIT\n", "NOWHERE");
    refused(false, XT_HEAD "-A INPUT -j ACCEPT\n", "COMMIT");
    refused(false, XT_HEAD ":a - [0:0]\n:b - [0:0]\n-A a -j b\n-A b -j a\nCOMMIT\n", "circle");
    refused(false, XT_HEAD "-A INPUT -m comment --comment \"x\n", "no end");
}
