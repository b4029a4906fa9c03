/* Random rule sets of every construct, in the words of nft and of iptables, and packets that come
 * close to what they ask. The same seed gives the same. */
#ifndef TESTS_LIVE_FLOW_GEN_H
#define TESTS_LIVE_FLOW_GEN_H

#include "tw/flow.h"
#include "tw/num.h"

#include <stdlib.h>
#include <string.h>

#define GEN __attribute__((unused)) static

enum gen_construct {
    GEN_V4, GEN_V6, GEN_SADDR, GEN_DADDR, GEN_PREFIX, GEN_RANGE, GEN_NEGATE, GEN_PROTO, GEN_PORT,
    GEN_SET, GEN_NAMED_SET, GEN_CONCAT, GEN_VMAP, GEN_JUMP, GEN_GOTO, GEN_RETURN, GEN_STATE, GEN_ICMP,
    GEN_FLAGS, GEN_INTERFACE, GEN_MARK, GEN_TTL, GEN_DSCP, GEN_LIMIT, GEN_LOG, GEN_REJECT,
    GEN_PRIORITY, GEN_NAT, GEN_NOTRACK, GEN_POLICY_DROP, GEN_COUNTER, GEN_CONSTRUCT_COUNT
};
GEN const char *const gen_names[GEN_CONSTRUCT_COUNT] = {
    "v4", "v6", "source address", "destination address", "prefix", "range", "negation", "protocol",
    "port", "set", "named or multiport set", "concatenation", "verdict map", "jump", "goto", "return",
    "connection state", "icmp type", "tcp flags", "interface", "mark set and asked", "ttl", "dscp",
    "limit (may)", "log", "reject", "several base chains", "nat", "notrack", "policy drop", "counter"};

struct gen {
    struct tw_rng rng;
    struct tw_buf out;
    bool xtables, v6; /* v6: of iptables only */
    bool used[GEN_CONSTRUCT_COUNT];
    bool family6;   /* of the rule being written */
    bool transport; /* it names a protocol already: two would contradict */
    int rules;
};

GEN unsigned gen_below(struct gen *g, unsigned n)
{
    return (unsigned)tw_rng_below(&g->rng, n);
}

GEN bool gen_one_in(struct gen *g, unsigned n)
{
    return gen_below(g, n) == 0;
}

GEN const char *gen_pick(struct gen *g, const char *const *words, size_t n)
{
    return words[gen_below(g, (unsigned)n)];
}
#define GEN_PICK(g, ...)                                                                     \
    gen_pick(g, (const char *const[]){__VA_ARGS__},                                          \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

GEN void gen_use(struct gen *g, enum gen_construct c)
{
    g->used[c] = true;
}

/* Sources are .10-.17, destinations .1-.3 of the net. */
GEN void gen_address(struct gen *g, bool source, unsigned *first, unsigned *last)
{
    *first = source ? 10 + gen_below(g, 8) : 1 + gen_below(g, 3);
    *last = *first + gen_below(g, 3);
}

GEN void gen_say_address(struct gen *g, unsigned n)
{
    if (g->family6)
        tw_buf_printf(&g->out, "fd09:1::%x", n);
    else
        tw_buf_printf(&g->out, "10.9.1.%u", n);
}

/* ---- nft ---- */

GEN void gen_nft_address_value(struct gen *g, bool source)
{
    unsigned first, last;

    gen_address(g, source, &first, &last);
    switch (gen_below(g, 4)) {
    case 0:
        gen_use(g, GEN_PREFIX);
        gen_say_address(g, first);
        tw_buf_printf(&g->out, "/%u", (g->family6 ? 128U : 32U) - 1 - gen_below(g, 3));
        break;
    case 1:
        if (last > first) {
            gen_use(g, GEN_RANGE);
            gen_say_address(g, first);
            tw_buf_puts(&g->out, "-");
            gen_say_address(g, last);
            break;
        }
        /* fall through */
    case 2:
        gen_use(g, GEN_SET);
        tw_buf_puts(&g->out, "{ ");
        gen_say_address(g, first);
        tw_buf_puts(&g->out, ", ");
        gen_say_address(g, first + 4);
        tw_buf_puts(&g->out, " }");
        break;
    default:
        gen_say_address(g, first);
    }
}

GEN const char *gen_not(struct gen *g)
{
    if (!gen_one_in(g, 5))
        return "";
    gen_use(g, GEN_NEGATE);
    return g->xtables ? "! " : "!= ";
}

GEN void gen_nft_port(struct gen *g)
{
    const char *proto = GEN_PICK(g, "tcp", "udp", "tcp", "udp", "th");
    bool source = gen_one_in(g, 3);
    unsigned base = source ? 1000 : 0, p = base + 1 + gen_below(g, 12);

    gen_use(g, GEN_PORT);
    if (strcmp(proto, "th") == 0)
        tw_buf_puts(&g->out, "meta l4proto { tcp, udp } ");
    tw_buf_printf(&g->out, "%s %s %s", proto, source ? "sport" : "dport", gen_not(g));
    switch (gen_below(g, 4)) {
    case 0:
        gen_use(g, GEN_RANGE);
        tw_buf_printf(&g->out, "%u-%u ", p, p + 1 + gen_below(g, 4));
        break;
    case 1:
        gen_use(g, GEN_SET);
        tw_buf_printf(&g->out, "{ %u, %u-%u } ", p, p + 2, p + 3);
        break;
    case 2:
        if (!source) {
            gen_use(g, GEN_NAMED_SET);
            tw_buf_printf(&g->out, "@ports ");
            break;
        }
        /* fall through */
    default:
        tw_buf_printf(&g->out, "%u ", p);
    }
}

GEN void gen_nft_match(struct gen *g)
{
    const char *ip = g->family6 ? "ip6" : "ip";
    unsigned n = gen_below(g, 17);
    bool names = (n >= 3 && n <= 7) || n == 9 || n == 10 || n == 15;

    if (names && g->transport)
        n = 8;
    g->transport |= names;
    switch (n) {
    case 0:
        gen_use(g, g->family6 ? GEN_V6 : GEN_V4);
        tw_buf_printf(&g->out, "meta nfproto %s ", g->family6 ? "ipv6" : "ipv4");
        break;
    case 1:
        gen_use(g, GEN_SADDR);
        tw_buf_printf(&g->out, "%s saddr %s", ip, gen_not(g));
        gen_nft_address_value(g, true);
        tw_buf_puts(&g->out, " ");
        break;
    case 2:
        gen_use(g, GEN_DADDR);
        tw_buf_printf(&g->out, "%s daddr %s", ip, gen_not(g));
        gen_nft_address_value(g, false);
        tw_buf_puts(&g->out, " ");
        break;
    case 3:
        gen_use(g, GEN_PROTO);
        tw_buf_printf(&g->out, "meta l4proto %s%s ", gen_not(g),
                      GEN_PICK(g, "tcp", "udp", "icmp", "ipv6-icmp", "{ tcp, icmp }", "{ udp, 58 }"));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        gen_nft_port(g);
        break;
    case 8:
        gen_use(g, GEN_STATE);
        tw_buf_printf(&g->out, "ct state %s ",
                      GEN_PICK(g, "new", "established,related", "invalid", "!= new", "established",
                               "{ new, established }", "! established", "untracked",
                               "& (new|established) == new"));
        break;
    case 9:
        gen_use(g, GEN_ICMP);
        if (g->family6)
            tw_buf_printf(&g->out, "icmpv6 type %s%s ", gen_not(g),
                          GEN_PICK(g, "echo-request", "echo-reply", "{ 128, 135 }", "packet-too-big"));
        else
            tw_buf_printf(&g->out, "icmp type %s%s ", gen_not(g),
                          GEN_PICK(g, "echo-request", "echo-reply", "{ 8, 13 }", "13", "8 icmp code 1"));
        break;
    case 10:
        gen_use(g, GEN_FLAGS);
        tw_buf_printf(&g->out, "tcp flags %s ",
                      GEN_PICK(g, "syn", "& (syn|ack) == syn", "!= syn", "syn,ack", "{ syn, ack }",
                               "== ack", "& (fin|syn|rst|ack) != syn", "! syn"));
        break;
    case 11:
        gen_use(g, GEN_INTERFACE);
        tw_buf_printf(&g->out, "%s ",
                      GEN_PICK(g, "iifname vb", "iifname \"v*\"", "iifname != vb", "iifname eth0",
                               "iifname { vb, eth1 }", "oifname != eth0", "iif lo",
                               "iifname \"w*\"", "iifname != \"va\""));
        break;
    case 12:
        gen_use(g, GEN_MARK);
        tw_buf_printf(&g->out, "%s ",
                      GEN_PICK(g, "meta mark 1", "meta mark & 3 == 1", "meta mark != 0", "meta mark 0",
                               "meta mark 1-2", "meta mark { 1, 4 }", "meta mark < 3"));
        break;
    case 13:
        gen_use(g, GEN_TTL);
        tw_buf_printf(&g->out, "%s %s%s ", ip, g->family6 ? "hoplimit " : "ttl ",
                      GEN_PICK(g, "64", "< 33", "!= 5", "33-64", ">= 33", "{ 5, 33 }"));
        break;
    case 14:
        gen_use(g, GEN_DSCP);
        tw_buf_printf(&g->out, "%s dscp %s ", ip, GEN_PICK(g, "ef", "!= cs1", "{ cs1, ef }", "cs0"));
        break;
    case 15:
        gen_use(g, GEN_CONCAT);
        tw_buf_printf(&g->out, "%s saddr . tcp dport %s{ ", ip, gen_not(g));
        gen_say_address(g, 10 + gen_below(g, 4));
        tw_buf_printf(&g->out, " . %u, ", 1 + gen_below(g, 12));
        gen_say_address(g, 14);
        tw_buf_puts(&g->out, "-");
        gen_say_address(g, 15 + gen_below(g, 3));
        tw_buf_printf(&g->out, " . %u-%u } ", 1 + gen_below(g, 6), 7 + gen_below(g, 6));
        break;
    default:
        gen_use(g, GEN_NAMED_SET);
        tw_buf_printf(&g->out, "%s saddr %s@src%s ", ip, gen_not(g), g->family6 ? "6" : "4");
    }
}

GEN void gen_nft_verdict(struct gen *g, int chain)
{
    unsigned n = gen_below(g, 14);

    if (chain > 0 && gen_one_in(g, 5)) {
        gen_use(g, GEN_RETURN);
        tw_buf_puts(&g->out, "return");
        return;
    }
    if (chain < 3 && n < 3) {
        gen_use(g, n ? GEN_JUMP : GEN_GOTO);
        tw_buf_printf(&g->out, "%s c%d", n ? "jump" : "goto", chain + 1 + (int)gen_below(g, 3 - (unsigned)chain));
        return;
    }
    switch (n) {
    case 3:
        gen_use(g, GEN_MARK);
        tw_buf_printf(&g->out, "meta mark set %s",
                      GEN_PICK(g, "1", "2", "mark or 0x4", "mark and 0x2", "mark xor 0x3", "0"));
        break;
    case 4:
        gen_use(g, GEN_REJECT);
        tw_buf_puts(&g->out, "reject");
        break;
    case 5:
    case 7:
    case 9:
        if (g->transport) {
            tw_buf_puts(&g->out, "drop");
            break;
        }
        gen_use(g, GEN_VMAP);
        tw_buf_printf(&g->out, "%s dport vmap { %u : accept, %u-%u : drop, %u : continue%s }",
                      GEN_PICK(g, "tcp", "udp"), 1 + gen_below(g, 4), 5 + gen_below(g, 2),
                      7 + gen_below(g, 2), 9 + gen_below(g, 2), chain < 3 ? ", 11 : jump c3" : "");
        break;
    case 6:
        gen_use(g, GEN_LOG);
        tw_buf_puts(&g->out, "limit rate 1/hour log");
        break;
    default:
        if (gen_one_in(g, 3)) {
            gen_use(g, GEN_COUNTER);
            tw_buf_puts(&g->out, "counter ");
        }
        tw_buf_puts(&g->out, n % 2 ? "accept" : "drop");
    }
}

GEN void gen_nft_rule(struct gen *g, int chain)
{
    unsigned matches = 1 + gen_below(g, 2);

    g->family6 = gen_one_in(g, 3);
    g->transport = false;
    tw_buf_puts(&g->out, "    ");
    for (unsigned i = 0; i < matches; i++)
        gen_nft_match(g);
    if (gen_one_in(g, 40)) {
        gen_use(g, GEN_LIMIT);
        tw_buf_puts(&g->out, "limit rate 1000/second ");
    }
    gen_nft_verdict(g, chain);
    tw_buf_puts(&g->out, "\n");
    g->rules++;
}

GEN void gen_nft_base(struct gen *g, const char *name, const char *type, const char *hook, int prio,
                      unsigned rules)
{
    bool drop = strcmp(hook, "input") == 0 && gen_one_in(g, 2);

    if (drop)
        gen_use(g, GEN_POLICY_DROP);
    tw_buf_printf(&g->out, "  chain %s {\n    type %s hook %s priority %d; policy %s;\n", name, type,
                  hook, prio, drop ? "drop" : "accept");
    tw_buf_puts(&g->out, "    udp dport 65000 accept\n");
    if (strcmp(hook, "input") == 0)
        tw_buf_puts(&g->out, "    icmpv6 type { 133, 134, 135, 136 } accept\n");
    for (unsigned i = 0; i < rules; i++)
        gen_nft_rule(g, 0);
    tw_buf_puts(&g->out, "  }\n");
}

GEN void gen_nft(struct gen *g)
{
    bool many = gen_one_in(g, 2);

    tw_buf_puts(&g->out, "table inet t {\n");
    tw_buf_printf(&g->out,
                  "  set ports { type inet_service; flags interval; elements = { %u, %u-%u } }\n",
                  1 + gen_below(g, 5), 7 + gen_below(g, 2), 9 + gen_below(g, 3));
    tw_buf_printf(&g->out,
                  "  set src4 { type ipv4_addr; flags interval; elements = { 10.9.1.%u, "
                  "10.9.1.%u-10.9.1.%u } }\n",
                  10 + gen_below(g, 2), 13 + gen_below(g, 2), 15 + gen_below(g, 2));
    tw_buf_printf(&g->out,
                  "  set src6 { type ipv6_addr; flags interval; elements = { fd09:1::%x, "
                  "fd09:1::%x/127 } }\n",
                  10 + gen_below(g, 2), 14U);
    for (int c = 3; c >= 1; c--) {
        tw_buf_printf(&g->out, "  chain c%d {\n", c);
        for (unsigned i = 0; i < 4; i++)
            gen_nft_rule(g, c);
        tw_buf_puts(&g->out, "  }\n");
    }
    if (many) {
        gen_use(g, GEN_PRIORITY);
        gen_nft_base(g, "pre", "filter", "prerouting", gen_one_in(g, 2) ? -150 : -90, 2);
        gen_nft_base(g, "second", "filter", "input", 10, 3);
    }
    if (gen_one_in(g, 2)) {
        gen_use(g, GEN_NOTRACK);
        tw_buf_printf(&g->out,
                      "  chain raw {\n    type filter hook prerouting priority raw;\n    %s dport %u "
                      "notrack\n  }\n",
                      GEN_PICK(g, "tcp", "udp"), 1 + gen_below(g, 12));
    }
    if (gen_one_in(g, 2)) {
        gen_use(g, GEN_NAT);
        tw_buf_puts(&g->out, "  chain translate {\n    type nat hook prerouting priority dstnat;\n");
        tw_buf_printf(&g->out, "    meta nfproto ipv4 tcp dport %u redirect to :%u\n", 1 + gen_below(g, 12),
                      1 + gen_below(g, 12));
        tw_buf_printf(&g->out, "    ip daddr 10.9.1.2 udp dport %u-%u dnat ip to 10.9.1.%u\n",
                      1 + gen_below(g, 5), 7 + gen_below(g, 5), 1 + 2 * gen_below(g, 2));
        tw_buf_printf(&g->out, "    ip saddr 10.9.1.12 dnat ip to tcp dport map { %u : 10.9.1.3, 9 : "
                               "10.9.1.1 }\n",
                      1 + gen_below(g, 8));
        tw_buf_puts(&g->out, "  }\n");
    }
    gen_nft_base(g, "first", "filter", "input", 0, 8 + gen_below(g, 10));
    tw_buf_puts(&g->out, "}\n");
}

/* ---- iptables ---- */

GEN void gen_xt_address(struct gen *g, bool source)
{
    unsigned first, last;

    gen_address(g, source, &first, &last);
    gen_use(g, source ? GEN_SADDR : GEN_DADDR);
    if (gen_one_in(g, 3)) {
        gen_use(g, GEN_RANGE);
        tw_buf_printf(&g->out, "-m iprange %s%s ", gen_not(g), source ? "--src-range " : "--dst-range ");
        gen_say_address(g, first);
        tw_buf_puts(&g->out, "-");
        gen_say_address(g, last);
        tw_buf_puts(&g->out, " ");
        return;
    }
    tw_buf_printf(&g->out, "%s%s ", gen_not(g), source ? "-s" : "-d");
    gen_say_address(g, first);
    if (gen_one_in(g, 2)) {
        gen_use(g, GEN_PREFIX);
        tw_buf_printf(&g->out, "/%u", (g->v6 ? 128U : 32U) - gen_below(g, 3));
    }
    tw_buf_puts(&g->out, " ");
}

GEN void gen_xt_proto(struct gen *g)
{
    const char *not;
    unsigned p = 1 + gen_below(g, 12);

    switch (gen_below(g, 6)) {
    case 0:
        gen_use(g, GEN_PROTO);
        not = gen_not(g);
        tw_buf_printf(&g->out, "%s-p %s ", not, GEN_PICK(g, "tcp", "udp", g->v6 ? "ipv6-icmp" : "icmp"));
        break;
    case 1:
        gen_use(g, GEN_ICMP);
        if (g->v6)
            tw_buf_printf(&g->out, "-p ipv6-icmp -m icmp6 %s--icmpv6-type %s ", gen_not(g),
                          GEN_PICK(g, "128", "129", "1/4", "echo-request"));
        else
            tw_buf_printf(&g->out, "-p icmp -m icmp %s--icmp-type %s ", gen_not(g),
                          GEN_PICK(g, "8", "0", "8/1", "13", "echo-request"));
        break;
    case 2:
        gen_use(g, GEN_FLAGS);
        tw_buf_printf(&g->out, "-p tcp -m tcp %s--tcp-flags %s ", gen_not(g),
                      GEN_PICK(g, "FIN,SYN,RST,ACK SYN", "SYN,ACK ACK", "ALL ACK", "SYN NONE"));
        break;
    case 3:
        gen_use(g, GEN_NAMED_SET);
        tw_buf_printf(&g->out, "-p %s -m multiport %s--%s %u,%u:%u ", GEN_PICK(g, "tcp", "udp"),
                      gen_not(g), "dports", p, p + 2, p + 4);
        break;
    default:
        gen_use(g, GEN_PORT);
        not = GEN_PICK(g, "tcp", "udp");
        tw_buf_printf(&g->out, "-p %s -m %s ", not, not);
        not = gen_not(g);
        if (gen_one_in(g, 3))
            tw_buf_printf(&g->out, "%s--sport %u:%u ", not, 1000 + p, 1002 + p);
        else
            tw_buf_printf(&g->out, "%s--dport %u ", not, p);
    }
}

GEN void gen_xt_match(struct gen *g)
{
    switch (gen_below(g, 8)) {
    case 0:
        gen_xt_address(g, true);
        break;
    case 1:
        gen_xt_address(g, false);
        break;
    case 2:
        gen_use(g, GEN_STATE);
        tw_buf_printf(&g->out, "-m conntrack %s--ctstate %s ", gen_not(g),
                      GEN_PICK(g, "NEW", "RELATED,ESTABLISHED", "INVALID", "NEW,UNTRACKED"));
        break;
    case 3:
        gen_use(g, GEN_INTERFACE);
        tw_buf_printf(&g->out, "%s-i %s ", gen_not(g), GEN_PICK(g, "vb", "v+", "eth0", "w+"));
        break;
    case 4:
        gen_use(g, GEN_MARK);
        tw_buf_printf(&g->out, "-m mark %s--mark %s ", gen_not(g), GEN_PICK(g, "0x1", "0x1/0x3", "0x0"));
        break;
    case 5:
        gen_use(g, GEN_TTL);
        tw_buf_printf(&g->out, "-m %s ", g->v6 ? "hl" : "ttl");
        tw_buf_printf(&g->out, g->v6 ? "--hl-%s " : "--ttl-%s ", GEN_PICK(g, "eq 64", "lt 33", "gt 33"));
        break;
    case 6:
        gen_use(g, GEN_DSCP);
        tw_buf_printf(&g->out, "-m dscp %s--dscp 0x%s ", gen_not(g), GEN_PICK(g, "08", "2e", "00"));
        break;
    default:
        gen_xt_address(g, true);
    }
}

GEN void gen_xt_rule(struct gen *g, const char *chain, int depth)
{
    unsigned n = gen_below(g, 12);

    g->family6 = g->v6;
    tw_buf_printf(&g->out, "-A %s ", chain);
    if (gen_one_in(g, 2))
        gen_xt_match(g);
    gen_xt_proto(g);
    if (gen_one_in(g, 40)) {
        gen_use(g, GEN_LIMIT);
        tw_buf_puts(&g->out, "-m limit --limit 1000/sec ");
    }
    if (gen_one_in(g, 6))
        tw_buf_puts(&g->out, "-m comment --comment \"a \\\"quoted\\\" -j DROP\" ");
    if (depth > 0 && gen_one_in(g, 5)) {
        gen_use(g, GEN_RETURN);
        tw_buf_puts(&g->out, "-j RETURN\n");
    } else if (depth < 3 && n < 3) {
        gen_use(g, n ? GEN_JUMP : GEN_GOTO);
        tw_buf_printf(&g->out, "-%s c%d\n", n ? "j" : "g", depth + 1 + (int)gen_below(g, 3 - (unsigned)depth));
    } else if (n == 3) {
        gen_use(g, GEN_LOG);
        tw_buf_puts(&g->out, "-m limit --limit 1/hour -j LOG\n");
    } else if (n == 4) {
        gen_use(g, GEN_REJECT);
        tw_buf_printf(&g->out, "-j REJECT\n");
    } else {
        tw_buf_printf(&g->out, "-j %s\n", n % 2 ? "ACCEPT" : "DROP");
    }
    g->rules++;
}

GEN void gen_xt(struct gen *g)
{
    bool drop = gen_one_in(g, 2);

    gen_use(g, g->v6 ? GEN_V6 : GEN_V4);
    gen_use(g, GEN_COUNTER);
    if (drop)
        gen_use(g, GEN_POLICY_DROP);
    if (gen_one_in(g, 2)) {
        gen_use(g, GEN_NOTRACK);
        tw_buf_printf(&g->out,
                      "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -p udp -m udp "
                      "--dport %u -j CT --notrack\nCOMMIT\n",
                      1 + gen_below(g, 12));
    }
    if (gen_one_in(g, 2)) {
        gen_use(g, GEN_MARK);
        gen_use(g, GEN_PRIORITY);
        tw_buf_puts(&g->out, "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n");
        g->family6 = g->v6;
        for (int i = 0; i < 2; i++) {
            tw_buf_puts(&g->out, "-A PREROUTING ");
            gen_xt_proto(g);
            tw_buf_printf(&g->out, "-j MARK --set-xmark %s\n",
                          GEN_PICK(g, "0x1/0xffffffff", "0x1/0x1", "0x2/0x0", "0x0/0x2"));
        }
        tw_buf_puts(&g->out, "COMMIT\n");
    }
    if (gen_one_in(g, 2)) {
        gen_use(g, GEN_NAT);
        tw_buf_printf(&g->out, "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT "
                               "[0:0]\n:POSTROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport %u -j "
                               "REDIRECT --to-ports %u\n",
                      1 + gen_below(g, 12), 1 + gen_below(g, 12));
        tw_buf_printf(&g->out, "-A PREROUTING -p udp -m udp --dport %u -j DNAT --to-destination %s%u\nCOMMIT\n",
                      1 + gen_below(g, 12), g->v6 ? "fd09:1::" : "10.9.1.", 1 + gen_below(g, 3));
    }
    tw_buf_printf(&g->out, "*filter\n:INPUT %s [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n",
                  drop ? "DROP" : "ACCEPT");
    tw_buf_puts(&g->out, ":c1 - [0:0]\n:c2 - [0:0]\n:c3 - [0:0]\n");
    tw_buf_puts(&g->out, "-A INPUT -p udp -m udp --dport 65000 -j ACCEPT\n");
    if (g->v6)
        for (int t = 133; t <= 136; t++)
            tw_buf_printf(&g->out, "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type %d -j ACCEPT\n", t);
    for (int i = 0, n = 8 + (int)gen_below(g, 10); i < n; i++)
        gen_xt_rule(g, "INPUT", 0);
    for (int c = 1; c <= 3; c++)
        for (int i = 0; i < 4; i++)
            gen_xt_rule(g, c == 1 ? "c1" : c == 2 ? "c2" : "c3", c);
    tw_buf_puts(&g->out, "COMMIT\n");
}

GEN void gen_begin(struct gen *g, uint64_t seed, uint64_t stream, bool xtables, bool v6)
{
    *g = (struct gen){.xtables = xtables, .v6 = v6};
    tw_rng_seed(&g->rng, seed, stream);
    tw_buf_init(&g->out, 1 << 20);
}

/* ---- packets ---- */

/* What connection tracking makes of the first packet of a connection. */
GEN unsigned gen_state(const struct tw_flow_packet *p)
{
    unsigned flags = (unsigned)p->field[TW_FLOW_FLAGS], type = (unsigned)p->field[TW_FLOW_ICMP_TYPE];

    if (p->field[TW_FLOW_PROTO] == 6)
        return flags == 2 || flags == 16 || flags == 24 ? TW_FLOW_NEW : TW_FLOW_INVALID;
    if (p->field[TW_FLOW_PROTO] == 1)
        return type == 8 || type == 13 ? TW_FLOW_NEW : TW_FLOW_INVALID;
    if (p->field[TW_FLOW_PROTO] == 58)
        return type == 128 ? TW_FLOW_NEW : TW_FLOW_INVALID;
    return TW_FLOW_NEW;
}

GEN void gen_packet(struct gen *g, bool v6, struct tw_flow_packet *ret)
{
    static const unsigned flags[] = {2, 2, 2, 16, 24, 18, 17, 4}, ttls[] = {64, 64, 33, 5},
                          dscps[] = {0, 0, 8, 46}, types4[] = {8, 8, 13, 0}, types6[] = {128, 128, 129};
    struct tw_flow_packet p = {{0}};
    tw_flow_num base, step = v6 ? 1 : (tw_flow_num)1 << 96;
    bool is6;

    (void)tw_flow_address(v6 ? "fd09:1::" : "10.9.1.0", &is6, &base, NULL);
    p.field[TW_FLOW_FAMILY] = v6;
    p.field[TW_FLOW_SADDR] = base + step * (10 + gen_below(g, 8));
    p.field[TW_FLOW_DADDR] = base + step * (1 + gen_below(g, 3));
    p.field[TW_FLOW_PROTO] = (unsigned[]){6, 6, 6, 17, 17, v6 ? 58 : 1}[gen_below(g, 6)];
    p.field[TW_FLOW_TTL] = ttls[gen_below(g, 4)];
    p.field[TW_FLOW_DSCP] = dscps[gen_below(g, 4)];
    p.field[TW_FLOW_DTYPE] = TW_FLOW_LOCAL;
    p.field[TW_FLOW_IIF] = tw_flow_name("vb");
    if (p.field[TW_FLOW_PROTO] == 6 || p.field[TW_FLOW_PROTO] == 17) {
        p.field[TW_FLOW_SPORT] = 1001 + gen_below(g, 12);
        p.field[TW_FLOW_DPORT] = 1 + gen_below(g, 12);
    } else {
        p.field[TW_FLOW_ICMP_TYPE] = v6 ? types6[gen_below(g, 3)] : types4[gen_below(g, 4)];
        p.field[TW_FLOW_ICMP_CODE] = gen_one_in(g, 3) ? gen_below(g, 3) : 0;
    }
    if (p.field[TW_FLOW_PROTO] == 6)
        p.field[TW_FLOW_FLAGS] = flags[gen_below(g, 8)];
    p.field[TW_FLOW_STATE] = gen_state(&p);
    *ret = p;
}
#endif
