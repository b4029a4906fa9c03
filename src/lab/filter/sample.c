/* Which packets are sent: witnesses of a difference, and packets at both sides of every boundary that the
 * rules draw. Only what a stack lets through by itself is worth sending. */
#include "filter_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTS_MAX     48
#define ADDRESSES_MAX 32
#define V4(x)         ((tw_flow_num)(x) << 96)

/* ---- what can be sent ---- */


/* Dropped by the stack itself wherever they come from. */
static bool is_martian(bool v6, tw_flow_num n, bool lo)
{
    static const char *const bad[] = {"0.0.0.0/8", "127.0.0.0/8",     "224.0.0.0/3",
                                      "::/96",     "::ffff:0:0/96", "ff00::/8",
                                      "fe80::/10"};

    for (size_t i = 0; i < TW_COUNT_OF(bad); i++) {
        struct tw_flow_prefix p;

        (void)tw_flow_prefix(bad[i], &p, NULL);
        if (p.v6 == v6 && n >= p.first && n <= p.last)
            return !(lo && (i == 1 || (i == 3 && n == 1)));
    }
    return false;
}

static const char *why_not(enum tw_flow_path path, const struct tw_flow_packet *p)
{
    tw_flow_num proto = p->field[TW_FLOW_PROTO], type = p->field[TW_FLOW_ICMP_TYPE];
    bool v6 = p->field[TW_FLOW_FAMILY] != 0, est = p->field[TW_FLOW_STATE] == TW_FLOW_ESTABLISHED;
    bool lo = p->field[TW_FLOW_IIF] == tw_flow_name("lo");

    if (!est && p->field[TW_FLOW_STATE] != TW_FLOW_NEW)
        return "only new and established connections are made";
    if (proto != 6 && proto != 17 && proto != (v6 ? 58 : 1))
        return "only TCP, UDP and ICMP are sent";
    if (proto != 6 && proto != 17 && (est || type != (v6 ? 128 : 8)))
        return "of ICMP only new questions are sent";
    if ((proto == 6 || proto == 17) && p->field[TW_FLOW_DPORT] == 0)
        return "no stack sends to port 0";
    if (is_martian(v6, p->field[TW_FLOW_SADDR], lo) || is_martian(v6, p->field[TW_FLOW_DADDR], lo))
        return "no stack lets such addresses through";
    if (p->field[TW_FLOW_SADDR] == p->field[TW_FLOW_DADDR] && !lo)
        return "a packet from a host to itself";
    return path != TW_FLOW_TO_HOST && lo ? "the loopback interface leads nowhere else" : NULL;
}

static void make_sendable(enum tw_flow_path path, struct tw_flow_packet *p)
{
    static const enum tw_flow_field none[] = {TW_FLOW_DNAT, TW_FLOW_PKTTYPE, TW_FLOW_MARK, TW_FLOW_CTMARK,
                                              TW_FLOW_ICMP_CODE};
    bool est = p->field[TW_FLOW_STATE] == TW_FLOW_ESTABLISHED, tcp = p->field[TW_FLOW_PROTO] == 6;
    tw_flow_num other = tw_flow_name(FILTER_OTHER);

    for (size_t i = 0; i < TW_COUNT_OF(none); i++)
        p->field[none[i]] = 0;
    p->field[TW_FLOW_DIRECTION] = est && p->field[TW_FLOW_DIRECTION];
    p->field[TW_FLOW_FLAGS] = !tcp ? 0 : est ? 16 : 2;
    p->field[TW_FLOW_TTL] = 64;
    p->field[TW_FLOW_DTYPE] = path == TW_FLOW_TO_HOST ? TW_FLOW_LOCAL : TW_FLOW_UNICAST;
    if ((p->field[TW_FLOW_PROTO] == 6 || p->field[TW_FLOW_PROTO] == 17) && p->field[TW_FLOW_SPORT] == 0)
        p->field[TW_FLOW_SPORT] = 40000;
    if (path == TW_FLOW_TO_HOST && p->field[TW_FLOW_IIF] == tw_flow_name("lo"))
        p->field[TW_FLOW_SADDR] = p->field[TW_FLOW_DADDR] =
            p->field[TW_FLOW_FAMILY] ? 1 : V4(0x7f000001);
    if (path == TW_FLOW_FROM_HOST)
        p->field[TW_FLOW_IIF] = 0;
    else if (!p->field[TW_FLOW_IIF])
        p->field[TW_FLOW_IIF] = other;
    if (path == TW_FLOW_TO_HOST)
        p->field[TW_FLOW_OIF] = 0;
    else if (!p->field[TW_FLOW_OIF])
        p->field[TW_FLOW_OIF] = other;
}

/* The same connection twice, in either direction, would be one to the kernel. */
static bool same_connection(const struct tw_flow_packet *x, const struct tw_flow_packet *y)
{
    static const enum tw_flow_field pairs[2][2] = {{TW_FLOW_SADDR, TW_FLOW_DADDR},
                                                   {TW_FLOW_SPORT, TW_FLOW_DPORT}};
    bool straight = true, crossed = true;

    if (x->field[TW_FLOW_FAMILY] != y->field[TW_FLOW_FAMILY] ||
        x->field[TW_FLOW_PROTO] != y->field[TW_FLOW_PROTO] ||
        (x->field[TW_FLOW_PROTO] != 6 && x->field[TW_FLOW_PROTO] != 17))
        return false;
    for (int i = 0; i < 2; i++) {
        straight &= x->field[pairs[i][0]] == y->field[pairs[i][0]] &&
                    x->field[pairs[i][1]] == y->field[pairs[i][1]];
        crossed &= x->field[pairs[i][0]] == y->field[pairs[i][1]] &&
                   x->field[pairs[i][1]] == y->field[pairs[i][0]];
    }
    return straight || crossed;
}

bool tw_filter_probe_add(struct tw_arena *a, struct tw_filter_probes *list, enum tw_flow_path path,
                         const struct tw_flow_packet *p)
{
    struct tw_filter_probe probe = {.path = path, .packet = *p};

    make_sendable(path, &probe.packet);
    if (why_not(path, &probe.packet))
        return false;
    for (size_t i = 0; i < list->list.count; i++)
        if (same_connection(&list->list.items[i].packet, &probe.packet)) {
            if (probe.packet.field[TW_FLOW_SPORT] > 65000)
                return false;
            probe.packet.field[TW_FLOW_SPORT]++;
            i = (size_t)-1; /* from the first again */
        }
    TW_PUSH(a, &list->list, probe);
    return true;
}

/* ---- boundaries ---- */

struct found {
    TW_ARRAY(tw_flow_num) ports;
    TW_ARRAY(struct tw_flow_prefix) prefixes;
    struct filter_names names;
};

static void add_port(struct tw_arena *a, struct found *f, int64_t port)
{
    if (port < 1 || port > 65535 || f->ports.count >= PORTS_MAX)
        return;
    for (size_t i = 0; i < f->ports.count; i++)
        if (f->ports.items[i] == (tw_flow_num)port)
            return;
    TW_PUSH(a, &f->ports, (tw_flow_num)port);
}

static void add_prefix(struct tw_arena *a, struct found *f, const char *word)
{
    struct tw_flow_prefix p;

    if (f->prefixes.count >= ADDRESSES_MAX || tw_flow_prefix(word, &p, NULL) < 0)
        return;
    for (size_t i = 0; i < f->prefixes.count; i++)
        if (memcmp(&f->prefixes.items[i], &p, sizeof p) == 0)
            return;
    TW_PUSH(a, &f->prefixes, p);
}

/* Every number is a port that may matter, everything with dots or colons an address. Of many rules only
 * every n-th word is looked at, so that all parts of a long rule set are represented. */
static void look(struct tw_arena *a, const char *text, size_t step, struct found *f)
{
    static const char ends[] = " \t\n,{};=!\"";
    size_t n = 0;

    for (const char *at = text; at && *at;) {
        size_t len;

        at += strspn(at, ends);
        len = strcspn(at, ends);
        if (len && len < 80 && isxdigit((unsigned char)*at) && n++ % step == 0) {
            char *word = tw_arena_strndup(a, at, len), *dash = strchr(word, '-');
            int64_t first, last;

            if (strpbrk(word, ".:")) {
                add_prefix(a, f, word);
                if (dash && strchr(word, ':')) { /* 6000:6010, iptables' way */
                    *dash = '\0';
                }
            }
            if (strchr(word, ':') && !strchr(word, '.') && sscanf(word, "%*d:%*d") == 0 && !dash)
                dash = strchr(word, ':');
            if (dash)
                *dash++ = '\0';
            if (tw_parse_int64(word, &first, NULL) == 0) {
                add_port(a, f, first);
                add_port(a, f, first - 1);
                last = first;
                if (dash && tw_parse_int64(dash, &last, NULL) == 0)
                    add_port(a, f, last);
                add_port(a, f, last + 1);
            }
        }
        at += len;
    }
}

static void add_source(struct tw_arena *a, struct tw_filter_probes *list, const struct found *f, bool v6,
                       tw_flow_num source, size_t turn, size_t most)
{
    static const struct {
        int proto;
        enum tw_flow_state state;
    } kinds[] = {{6, TW_FLOW_NEW}, {17, TW_FLOW_NEW}, {6, TW_FLOW_ESTABLISHED}, {1, TW_FLOW_NEW}};

    size_t share = 1 + most / (4 * f->prefixes.count);

    for (size_t i = 0; i < share && i < f->ports.count && list->list.count < most; i++) {
        size_t which = turn * share + i, kind = which % 7;
        struct tw_flow_packet p = {{0}};
        bool local_v6;

        kind = kind < 4 ? kind : kind < 6 ? 0 : 1; /* mostly new connections of TCP */
        p.field[TW_FLOW_FAMILY] = v6;
        p.field[TW_FLOW_PROTO] = kinds[kind].proto == 1 && v6 ? 58 : (tw_flow_num)kinds[kind].proto;
        p.field[TW_FLOW_STATE] = kinds[kind].state;
        p.field[TW_FLOW_ICMP_TYPE] = kinds[kind].proto == 1 ? (v6 ? 128 : 8) : 0;
        p.field[TW_FLOW_DPORT] = kinds[kind].proto == 1 ? 0 : f->ports.items[which % f->ports.count];
        p.field[TW_FLOW_SPORT] = kinds[kind].proto == 1 ? 0 : 40000;
        p.field[TW_FLOW_SADDR] = source;
        (void)tw_flow_address(v6 ? "fd00:213::1" : "10.213.9.1", &local_v6, &p.field[TW_FLOW_DADDR], NULL);
        p.field[TW_FLOW_IIF] = tw_flow_name(f->names.list.items[which % f->names.list.count]);
        (void)tw_filter_probe_add(a, list, TW_FLOW_TO_HOST, &p);
    }
}

void tw_filter_boundaries(struct tw_arena *a, const struct tw_filter_text *text, size_t most,
                          struct tw_filter_probes *list)
{
    static const char *const always[] = {"22", "80", "443", "53", "40001"},
                            *const sources[] = {"198.18.7.7", "203.0.114.9", "10.7.7.7", "2600::7", "fd00:7::7"};
    const char *const texts[] = {text->nft, text->xt[0], text->xt[1]};
    struct found f = {0};
    size_t len = 0;

    TW_PUSH(a, &f.names.list, FILTER_OTHER);
    TW_PUSH(a, &f.names.list, "lo");
    for (size_t i = 0; i < TW_COUNT_OF(texts); i++)
        len += texts[i] ? strlen(texts[i]) : 0;
    for (size_t i = 0; i < TW_COUNT_OF(sources); i++)
        add_prefix(a, &f, sources[i]);
    for (size_t i = 0; i < TW_COUNT_OF(always); i++)
        add_port(a, &f, strtoll(always[i], NULL, 10));
    for (size_t i = 0; i < TW_COUNT_OF(texts); i++)
        if (texts[i]) {
            look(a, texts[i], 1 + len / 8192, &f);
            filter_names_of(a, texts[i], &f.names);
        }
    for (size_t i = 0; i < f.prefixes.count && list->list.count < most; i++) {
        const struct tw_flow_prefix *p = &f.prefixes.items[i];
        tw_flow_num one = p->v6 ? 1 : V4(1), last = p->v6 ? p->last : p->last & ~(~(tw_flow_num)0 >> 32);
        const tw_flow_num edges[] = {p->first, last, p->first - one, last + one};

        for (size_t k = 0; k < TW_COUNT_OF(edges) && list->list.count < most; k++)
            add_source(a, list, &f, p->v6, edges[k], 4 * i + k, most);
    }
}
