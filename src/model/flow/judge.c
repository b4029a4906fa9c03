/* What a change of rules means to people: who is locked out, what is open to everybody, which zone
 * reaches which service. Every question is a set of packets; a table has one row for each. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

#define NO (-1)

/* ---- questions ---- */

struct question {
    enum tw_flow_path path;
    int family, proto, sport, dport, type, state;
    const char *iif;
};

static uint32_t set_of(struct tw_flow_space *s, const struct question *q)
{
    const struct {
        int value;
        enum tw_flow_field field;
    } parts[] = {{q->family, TW_FLOW_FAMILY}, {q->proto, TW_FLOW_PROTO},     {q->sport, TW_FLOW_SPORT},
                 {q->dport, TW_FLOW_DPORT},   {q->type, TW_FLOW_ICMP_TYPE}, {q->state, TW_FLOW_STATE}};
    uint32_t set = 1;

    for (size_t i = 0; i < TW_COUNT_OF(parts); i++)
        if (parts[i].value != NO)
            set = flow_dd_and(s->dd, set,
                              flow_set_is(s, parts[i].field, (tw_flow_num)parts[i].value));
    if (q->iif)
        set = flow_dd_and(s->dd, set, flow_set_is(s, TW_FLOW_IIF, tw_flow_name(q->iif)));
    return set;
}

struct fate { /* of some packets, before and after */
    uint32_t start;
    uint32_t accept[2], drop[2];
};

/* The packets of `ask` on a path, through both rule sets. */
static void fate_of(struct tw_flow_space *s, const struct tw_flow_rules *const *r,
                    enum tw_flow_path path, uint32_t ask, struct fate *f)
{
    *f = (struct fate){.start = ask};
    flow_pin(s, &f->start);
    for (int i = 0; i < 2; i++) {
        flow_pin(s, &f->accept[i]);
        flow_pin(s, &f->drop[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct flow_outcome o;
        bool rewritten = (r[i]->written & FLOW_BIT(TW_FLOW_DADDR)) != 0;
        uint32_t start = flow_dd_and(s->dd, f->start, flow_world(s, path, rewritten));

        flow_walk(s, r[i], path, start, NULL, &o);
        f->accept[i] = o.accept;
        f->drop[i] = o.drop;
        free(o.end.items);
    }
    flow_unpin(s, 5);
}

/* ---- lock-outs ---- */

/* Answers come back to ports that no rule names, and programs of a host meet at any: this one stands for
 * them. A single port closed on purpose is no lock-out. */
#define REPLY_PORT 45091

static const struct lockout {
    const char *name, *remedy;
    struct question ask[4]; /* any of them; ends with proto 0 */
    bool all; /* only where nothing of it is left: narrowing is meant */
    enum tw_severity severity;
    enum tw_verdict verdict;
} lockouts[] = {
    {"the loopback interface",
     "accept everything on interface lo before any rule drops",
     {{TW_FLOW_TO_HOST, NO, 6, NO, REPLY_PORT, NO, TW_FLOW_NEW, "lo"},
      {TW_FLOW_TO_HOST, NO, 17, NO, REPLY_PORT, NO, TW_FLOW_NEW, "lo"}},
     false, TW_CRITICAL, TW_BLOCK},
    {"packets of established connections",
     "accept ct state established,related at the top of the chain",
     {{TW_FLOW_TO_HOST, NO, 6, NO, REPLY_PORT, NO, TW_FLOW_ESTABLISHED, NULL},
      {TW_FLOW_TO_HOST, NO, 17, NO, REPLY_PORT, NO, TW_FLOW_ESTABLISHED, NULL}},
     true, TW_CRITICAL, TW_BLOCK},
    {"packets of established connections of this host",
     "accept ct state established,related on output",
     {{TW_FLOW_FROM_HOST, NO, 6, NO, REPLY_PORT, NO, TW_FLOW_ESTABLISHED, NULL}},
     true, TW_CRITICAL, TW_BLOCK},
    {"management by ssh (port 22)",
     "keep a rule that accepts tcp port 22 from where you are",
     {{TW_FLOW_TO_HOST, NO, 6, NO, 22, NO, TW_FLOW_NEW, NULL}},
     true, TW_CRITICAL, TW_BLOCK},
    {"DNS questions of this host",
     "accept udp and tcp port 53 on output",
     {{TW_FLOW_FROM_HOST, NO, 17, NO, 53, NO, TW_FLOW_NEW, NULL},
      {TW_FLOW_FROM_HOST, NO, 6, NO, 53, NO, TW_FLOW_NEW, NULL}},
     true, TW_HIGH, TW_REVIEW},
    {"DHCP of this host",
     "accept udp from port 68 to port 67 on output and back on input",
     {{TW_FLOW_FROM_HOST, 0, 17, 68, 67, NO, NO, NULL}, {TW_FLOW_TO_HOST, 0, 17, 67, 68, NO, NO, NULL}},
     true, TW_HIGH, TW_REVIEW},
    {"IPv6 neighbour discovery (ICMPv6 135, 136)",
     "accept ICMPv6 types 133 to 136: without them IPv6 stops within minutes",
     /* which the kernel tracks as no connection, so that no rule for established ones lets them in */
     {{TW_FLOW_TO_HOST, 1, 58, NO, NO, 135, TW_FLOW_UNTRACKED, NULL},
      {TW_FLOW_TO_HOST, 1, 58, NO, NO, 136, TW_FLOW_UNTRACKED, NULL},
      {TW_FLOW_FROM_HOST, 1, 58, NO, NO, 135, TW_FLOW_UNTRACKED, NULL}},
     true, TW_HIGH, TW_BLOCK},
    {"path-MTU messages (ICMP 3 and ICMPv6 2)",
     "accept ICMP type 3 and ICMPv6 type 2: without them large packets vanish on some paths",
     /* they are about a connection that is known: to the kernel related, never established */
     {{TW_FLOW_TO_HOST, 0, 1, NO, NO, 3, TW_FLOW_RELATED, NULL},
      {TW_FLOW_TO_HOST, 1, 58, NO, NO, 2, TW_FLOW_RELATED, NULL}},
     true, TW_MEDIUM, TW_REVIEW},
};

static void say_lost(struct tw_flow_space *s, struct tw_arena *a, const char *name, const char *remedy,
                     enum tw_severity severity, enum tw_verdict verdict, const struct fate *f,
                     uint32_t lost, struct tw_issues *issues)
{
    struct flow_pair sure = {flow_dd_minus(s->dd, lost, f->accept[1]), lost};
    struct tw_flow_packet witness = flow_witness(s, sure.lo ? sure.lo : sure.hi);
    struct tw_issue *issue = tw_issue_add(
        a, issues, severity, verdict, "firewall.lockout",
        tw_arena_printf(a, "the change %s %s", sure.lo ? "locks out" : "may lock out", name),
        tw_arena_printf(a, "accepted before, %s after: %s", sure.lo ? "dropped" : "may be dropped",
                        tw_flow_packet_text(a, &witness)),
        remedy);

    issue->probability = sure.lo ? 1 : 0.5;
}

/* Is any of it surely accepted after the change, beyond what the host sends itself? */
static bool some_is_left(struct tw_flow_space *s, const struct question *q,
                         const struct tw_flow_rules *const *r)
{
    enum tw_flow_field side = q->path == TW_FLOW_FROM_HOST ? TW_FLOW_OIF : TW_FLOW_IIF;
    struct fate f;

    fate_of(s, r, q->path,
            flow_dd_minus(s->dd, set_of(s, q), flow_set_is(s, side, tw_flow_name("lo"))), &f);
    return flow_dd_minus(s->dd, f.accept[1], f.drop[1]) != 0;
}

static void check_lockout(struct tw_flow_space *s, struct tw_arena *a, const struct lockout *l,
                          const struct question *q, const struct tw_flow_rules *const *r,
                          const uint32_t *touched, struct tw_issues *issues)
{
    struct fate f;
    uint32_t had, lost;

    /* what no changed rule matches fares as before */
    fate_of(s, r, q->path, flow_dd_and(s->dd, set_of(s, q), *touched), &f);
    had = flow_dd_minus(s->dd, f.accept[0], f.drop[0]);
    lost = flow_dd_and(s->dd, had, f.drop[1]);
    if (!lost || flow_dd_full(s->dd))
        return;
    if (l->all && some_is_left(s, q, r))
        return;
    say_lost(s, a, l->name, l->remedy, l->severity, l->verdict, &f, lost, issues);
}

static uint32_t zone_set(struct tw_flow_space *s, const struct tw_flow_zone *z)
{
    uint32_t lo = flow_set_is(s, TW_FLOW_IIF, tw_flow_name("lo"));
    uint32_t from = z->prefixes.count ? 0 : 1, in = z->interfaces.count ? 0 : flow_dd_minus(s->dd, 1, lo);

    for (size_t i = 0; i < z->prefixes.count; i++) {
        const struct tw_flow_prefix *p = &z->prefixes.items[i];

        from = flow_dd_or(s->dd, from,
                          flow_dd_and(s->dd, flow_set_is(s, TW_FLOW_FAMILY, p->v6),
                                      flow_set(s, TW_FLOW_SADDR, FLOW_ALL, p->first, p->last)));
    }
    for (size_t i = 0; i < z->interfaces.count; i++) {
        const char *name = z->interfaces.items[i];
        size_t len = strlen(name);
        bool any = len && name[len - 1] == '*';
        tw_auto_free char *stem = strndup(name, len - any);
        tw_flow_num first = tw_flow_name(stem);

        in = flow_dd_or(s->dd, in,
                        flow_set(s, TW_FLOW_IIF, FLOW_ALL, first,
                                 !any      ? first
                                 : len > 1 ? first | FLOW_ALL >> (8 * (len - 1))
                                           : FLOW_ALL));
    }
    return flow_dd_and(s->dd, from, in);
}

/* The first packet of a connection as a client makes it: what no client does is not asked. */
static uint32_t client_set(struct tw_flow_space *s, int proto)
{
    static const struct {
        enum tw_flow_field field;
        unsigned value;
    } plain[] = {{TW_FLOW_DIRECTION, 0}, {TW_FLOW_DNAT, 0}, {TW_FLOW_PKTTYPE, 0}, {TW_FLOW_MARK, 0},
                 {TW_FLOW_CTMARK, 0},    {TW_FLOW_TTL, 64}, {TW_FLOW_DSCP, 0}};
    uint32_t set = flow_set_is(s, TW_FLOW_STATE, TW_FLOW_NEW);

    for (size_t i = 0; i < TW_COUNT_OF(plain); i++)
        set = flow_dd_and(s->dd, set, flow_set_is(s, plain[i].field, plain[i].value));
    if (proto == 6)
        set = flow_dd_and(s->dd, set, flow_set_is(s, TW_FLOW_FLAGS, 2));
    set = flow_dd_and(s->dd, set, flow_set(s, TW_FLOW_SPORT, FLOW_ALL, 1024, 65535));
    set = flow_dd_and(s->dd, set, flow_set(s, TW_FLOW_DTYPE, FLOW_ALL, 0, TW_FLOW_LOCAL));
    return flow_dd_and(s->dd, set, flow_set_is(s, TW_FLOW_PROTO, (tw_flow_num)proto));
}

static uint32_t service_set(struct tw_flow_space *s, const struct tw_flow_service *v)
{
    return flow_dd_and(s->dd, client_set(s, v->proto),
                       flow_set_is(s, TW_FLOW_DPORT, (tw_flow_num)v->port));
}

static void check_keep(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_keep *k,
                       const struct tw_flow_rules *const *r, struct tw_issues *issues)
{
    struct fate f;
    uint32_t lost;

    fate_of(s, r, TW_FLOW_TO_HOST, flow_dd_and(s->dd, zone_set(s, &k->from), service_set(s, &k->to)), &f);
    lost = flow_dd_and(s->dd, flow_dd_minus(s->dd, f.accept[0], f.drop[0]), f.drop[1]);
    if (lost && !flow_dd_full(s->dd))
        say_lost(s, a, tw_arena_printf(a, "%s (%s from %s)", k->name, k->to.name, k->from.name),
                 "accept it before the rule that drops it", TW_CRITICAL, TW_BLOCK, &f, lost, issues);
}

/* ---- exposures ---- */

static const struct exposed {
    const char *name;
    int proto, port;
    bool database;
} services[] = {
    {"ftp", 6, 21, false},          {"ssh", 6, 22, false},          {"telnet", 6, 23, false},
    {"rpcbind", 6, 111, false},     {"SMB", 6, 445, false},         {"rexec", 6, 512, false},
    {"rlogin", 6, 513, false},      {"MSSQL", 6, 1433, true},       {"Oracle", 6, 1521, true},
    {"NFS", 6, 2049, false},        {"ZooKeeper", 6, 2181, true},   {"Docker API", 6, 2375, false},
    {"Docker API", 6, 2376, false}, {"etcd", 6, 2379, true},        {"MySQL", 6, 3306, true},
    {"RDP", 6, 3389, false},        {"PostgreSQL", 6, 5432, true},  {"VNC", 6, 5900, false},
    {"CouchDB", 6, 5984, true},     {"WinRM", 6, 5985, false},      {"Redis", 6, 6379, true},
    {"PgBouncer", 6, 6432, true},   {"Kubernetes API", 6, 6443, false}, {"Cassandra", 6, 9042, true},
    {"Elasticsearch", 6, 9200, true}, {"Kafka", 6, 9092, true},     {"Webmin", 6, 10000, false},
    {"kubelet", 6, 10250, false},   {"memcached", 6, 11211, true},  {"MongoDB", 6, 27017, true},
    {"SNMP", 17, 161, false},       {"memcached", 17, 11211, true},
};

static const char *const private4[] = {"0.0.0.0/8",      "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",
                                       "169.254.0.0/16", "172.16.0.0/12",  "192.0.2.0/24",  "192.168.0.0/16",
                                       "198.18.0.0/15",  "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"};

static uint32_t set_prefix(struct tw_flow_space *s, const char *text)
{
    struct tw_flow_prefix p;

    (void)tw_flow_prefix(text, &p, NULL);
    return flow_dd_and(s->dd, flow_set_is(s, TW_FLOW_FAMILY, p.v6),
                       flow_set(s, TW_FLOW_SADDR, FLOW_ALL, p.first, p.last));
}

static uint32_t public_set(struct tw_flow_space *s, bool v6)
{
    uint32_t set = flow_set_is(s, TW_FLOW_FAMILY, 0);

    if (v6)
        return set_prefix(s, "2000::/3");
    for (size_t i = 0; i < TW_COUNT_OF(private4); i++)
        set = flow_dd_minus(s->dd, set, set_prefix(s, private4[i]));
    return set;
}

/* Points of the other fields from which at least half of the public addresses are accepted would
 * need counting; those that everybody reaches but for single exceptions are as telling: the share of
 * sources that some such packet has. */
static double share_of_public(struct tw_flow_space *s, uint32_t accepted, bool v6)
{
    unsigned others = (FLOW_BIT(TW_FLOW_FIELD_COUNT) - 1) & ~FLOW_BIT(TW_FLOW_SADDR);
    uint32_t all = public_set(s, v6), some = flow_dd_and(s->dd, accepted, all);

    if (!some)
        return 0;
    return flow_dd_share(s->dd, flow_forget(s, some, others)) /
           flow_dd_share(s->dd, flow_forget(s, all, others));
}

static uint32_t surely(struct tw_flow_space *s, const struct fate *f, int side)
{
    return flow_dd_minus(s->dd, f->accept[side], f->drop[side]);
}

struct opened { /* a service that public addresses reach with the change, over one family */
    const struct exposed *what;
    struct tw_flow_packet witness;
    double before; /* share of the public addresses that reached it */
};
struct openings {
    struct opened list[TW_COUNT_OF(services)];
    size_t count;
};

static bool is_grave(const struct exposed *e)
{
    return e->database || e->port == 23 || e->port == 2375;
}

static const char *port_text(struct tw_arena *a, const struct exposed *e)
{
    return tw_arena_printf(a, "%s (%s port %d)", e->name, e->proto == 6 ? "tcp" : "udp", e->port);
}

static void say_exposed(struct tw_arena *a, const struct opened *o, const char *names, bool grave, bool v6,
                        struct tw_issues *issues)
{
    (void)tw_issue_add(
        a, issues, grave ? TW_CRITICAL : TW_HIGH, grave ? TW_BLOCK : TW_REVIEW, "firewall.exposed",
        tw_arena_printf(a, "the change opens %s to everybody over %s", names, v6 ? "IPv6" : "IPv4"),
        tw_arena_printf(a, "%.0f %% of the public addresses were accepted before; now for instance: %s",
                        100 * o->before, tw_flow_packet_text(a, &o->witness)),
        "name the networks that need it as source");
}

/* A few are told each; a policy that lets everything in is one finding, not one for each port. */
#define TOLD_EACH 3

static void say_openings(struct tw_arena *a, const struct openings *all, bool v6, struct tw_issues *issues)
{
    const char *names = NULL;
    bool grave = false;

    for (size_t i = 0; i < all->count; i++) {
        const struct opened *o = &all->list[i];
        const char *name = port_text(a, o->what);

        if (all->count <= TOLD_EACH)
            say_exposed(a, o, name, is_grave(o->what), v6, issues);
        names = names ? tw_arena_printf(a, "%s, %s", names, name) : name;
        grave |= is_grave(o->what);
    }
    if (all->count > TOLD_EACH)
        say_exposed(a, &all->list[0], names, grave, v6, issues);
}

static void check_exposed(struct tw_flow_space *s, const struct fate *f, const struct exposed *e, bool v6,
                          struct openings *ret)
{
    struct tw_flow_service v = {e->name, e->proto, e->port};
    uint32_t ask = flow_dd_and(s->dd, service_set(s, &v), public_set(s, v6));
    double share[2];

    for (int i = 0; i < 2; i++)
        share[i] = share_of_public(s, flow_dd_and(s->dd, ask, surely(s, f, i)), v6);
    if (share[1] >= 0.5 && share[0] < 0.5)
        ret->list[ret->count++] =
            (struct opened){e, flow_witness(s, flow_dd_and(s->dd, ask, surely(s, f, 1))), share[0]};
}

/* Destination ports at which every public source is accepted, whatever else is the same. */
static uint32_t open_ports(struct tw_flow_space *s, const struct fate *f, int side, bool v6, int proto)
{
    uint32_t ask = flow_dd_and(s->dd, client_set(s, proto), public_set(s, v6));
    uint32_t yes = flow_dd_and(s->dd, ask, surely(s, f, side));
    uint32_t not = flow_dd_minus(s->dd, flow_dd_and(s->dd, ask, f->start), yes);
    unsigned saddr = FLOW_BIT(TW_FLOW_SADDR);
    uint32_t point = flow_dd_minus(s->dd, flow_forget(s, yes, saddr), flow_forget(s, not, saddr));

    return flow_forget(s, point, (FLOW_BIT(TW_FLOW_FIELD_COUNT) - 1) & ~FLOW_BIT(TW_FLOW_DPORT));
}

static void check_families(struct tw_flow_space *s, struct tw_arena *a, const struct fate *f,
                           struct tw_issues *issues)
{
    uint32_t beside[2], fresh;

    for (int i = 0; i < 2; i++)
        beside[i] = flow_dd_minus(s->dd, open_ports(s, f, i, true, 6), open_ports(s, f, i, false, 6));
    fresh = flow_dd_minus(s->dd, beside[1], beside[0]);
    if (fresh)
        (void)tw_issue_add(
            a, issues, TW_HIGH, TW_REVIEW, "firewall.v6_open",
            "ports are open to everybody over IPv6 that are not over IPv4",
            tw_arena_printf(a, "tcp port %s", flow_values_text(s, a, fresh, TW_FLOW_DPORT, true)),
            "give the IPv6 rules the restrictions of the IPv4 ones");
}

static void check_any(struct tw_flow_space *s, struct tw_arena *a, const struct fate *f,
                      struct tw_issues *issues)
{
    for (int v6 = 0; v6 < 2; v6++)
        if (open_ports(s, f, 1, v6, 6) == 1 && open_ports(s, f, 0, v6, 6) != 1)
            (void)tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK, "firewall.any_any",
                               tw_arena_printf(a, "every tcp port is open to everybody over %s",
                                               v6 ? "IPv6" : "IPv4"),
                               "new connections from every public address to every port are accepted",
                               "accept the ports that are needed, drop the rest");
}

/* New connections from public addresses to this host, at these destination ports. */
static uint32_t public_ask(struct tw_flow_space *s, uint32_t ports)
{
    uint32_t lo = flow_set_is(s, TW_FLOW_IIF, tw_flow_name("lo"));
    uint32_t ask = flow_dd_or(s->dd, client_set(s, 6), client_set(s, 17));
    uint32_t from = flow_dd_or(s->dd, public_set(s, false), public_set(s, true));

    ask = flow_dd_minus(s->dd, flow_dd_and(s->dd, ask, from), lo);
    ask = flow_dd_and(s->dd, ask, ports);
    return flow_dd_and(s->dd, ask, flow_world(s, TW_FLOW_TO_HOST, true));
}

/* Only at ports at which something changed: of many rules few are about them. That every port is open is
 * asked of all only where one that no rule names is. */
static void check_exposures(struct tw_flow_space *s, struct tw_arena *a,
                            const struct tw_flow_rules *const *r, const uint32_t *touched,
                            struct tw_issues *issues)
{
    struct fate f;
    uint32_t ports = flow_forget(s, flow_dd_and(s->dd, public_ask(s, 1), *touched),
                                 (FLOW_BIT(TW_FLOW_FIELD_COUNT) - 1) & ~FLOW_BIT(TW_FLOW_DPORT));

    if (!ports)
        return;
    fate_of(s, r, TW_FLOW_TO_HOST, public_ask(s, ports), &f);
    for (int v6 = 0; v6 < 2; v6++) {
        struct openings all = {.count = 0};

        for (size_t i = 0; i < TW_COUNT_OF(services) && !flow_dd_full(s->dd); i++)
            check_exposed(s, &f, &services[i], v6, &all);
        say_openings(a, &all, v6, issues);
    }
    check_families(s, a, &f, issues);
    fate_of(s, r, TW_FLOW_TO_HOST, public_ask(s, flow_set_is(s, TW_FLOW_DPORT, REPLY_PORT)), &f);
    if (!open_ports(s, &f, 1, false, 6) && !open_ports(s, &f, 1, true, 6))
        return;
    fate_of(s, r, TW_FLOW_TO_HOST, public_ask(s, 1), &f);
    check_any(s, a, &f, issues);
}

int tw_flow_judge(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *before,
                  const struct tw_flow_rules *after, const struct tw_flow_keep *keep,
                  size_t keep_count, struct tw_issues *issues, struct tw_err *err)
{
    const struct tw_flow_rules *const r[] = {before, after};
    uint32_t touched = flow_concerned(s, before, after);

    flow_pin(s, &touched);
    for (size_t i = 0; i < TW_COUNT_OF(lockouts); i++)
        for (size_t k = 0; k < TW_COUNT_OF(lockouts[i].ask) && lockouts[i].ask[k].proto; k++)
            check_lockout(s, a, &lockouts[i], &lockouts[i].ask[k], r, &touched, issues);
    for (size_t i = 0; i < keep_count; i++)
        check_keep(s, a, &keep[i], r, issues);
    check_exposures(s, a, r, &touched, issues);
    flow_unpin(s, 1);
    return flow_full(s, err);
}

/* ---- zones ---- */

static enum tw_flow_reach reach(struct tw_flow_space *s, const struct fate *f, int side)
{
    uint32_t yes = surely(s, f, side), no = flow_dd_minus(s->dd, f->drop[side], f->accept[side]),
             may = flow_dd_and(s->dd, f->accept[side], f->drop[side]);

    return may && !yes   ? TW_FLOW_PERHAPS
           : !yes        ? TW_FLOW_NONE
           : (no || may) ? TW_FLOW_PART
                         : TW_FLOW_ALL;
}

int tw_flow_zones(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *before,
                  const struct tw_flow_rules *after, enum tw_flow_path path,
                  const struct tw_flow_zone *zones, size_t zone_count,
                  const struct tw_flow_service *list, size_t service_count,
                  struct tw_flow_matrix *ret, struct tw_err *err)
{
    const struct tw_flow_rules *const r[] = {before, after};

    *ret = (struct tw_flow_matrix){0};
    for (size_t z = 0; z < zone_count; z++)
        for (size_t v = 0; v < service_count; v++) {
            struct fate f;

            fate_of(s, r, path, flow_dd_and(s->dd, zone_set(s, &zones[z]), service_set(s, &list[v])), &f);
            TW_PUSH(a, &ret->list,
                    (struct tw_flow_cell){zones[z].name, list[v].name, reach(s, &f, 0), reach(s, &f, 1)});
        }
    return flow_full(s, err);
}
