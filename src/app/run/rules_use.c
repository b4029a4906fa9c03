/* What a change of rules means to those who are there today: sockets that listen, connections that are
 * tracked; and how the change is made and undone. */
#include "run_rules.h"

#include <arpa/inet.h>
#include <math.h>
#include <string.h>

#define CONNECTIONS_MAX 4096
#define LINES_MAX       10

/* ---- the packet that begins a connection ---- */

static bool begin(struct tw_flow_packet *p, int proto, const char *from, const char *to, int port)
{
    bool v6, to_v6;

    *p = (struct tw_flow_packet){{0}};
    if (tw_flow_address(from, &v6, &p->field[TW_FLOW_SADDR], NULL) < 0 ||
        tw_flow_address(to, &to_v6, &p->field[TW_FLOW_DADDR], NULL) < 0 || v6 != to_v6)
        return false;
    p->field[TW_FLOW_FAMILY] = v6;
    p->field[TW_FLOW_PROTO] = (tw_flow_num)proto;
    p->field[TW_FLOW_STATE] = TW_FLOW_NEW;
    p->field[TW_FLOW_DTYPE] = TW_FLOW_LOCAL;
    p->field[TW_FLOW_FLAGS] = proto == 6 ? 2 : 0;
    p->field[TW_FLOW_TTL] = 64;
    p->field[TW_FLOW_SPORT] = 40000;
    p->field[TW_FLOW_DPORT] = (tw_flow_num)port;
    return true;
}

static bool is_lost(const struct rules *rules, const struct tw_flow_packet *p)
{
    return tw_flow_evaluate(rules->side[TW_BASELINE].rules, TW_FLOW_TO_HOST, p) == TW_FLOW_ACCEPT &&
           tw_flow_evaluate(rules->side[TW_CANDIDATE].rules, TW_FLOW_TO_HOST, p) == TW_FLOW_DROP;
}

static void set_interface(struct run *r, struct tw_flow_packet *p, const char *address)
{
    static const char word[] = "interface ";

    p->field[TW_FLOW_IIF] = tw_flow_name("eth0");
    for (size_t i = 0; i < r->snapshot.settings.count; i++) {
        const struct tw_setting *s = &r->snapshot.settings.items[i];

        if (tw_starts_with(s->name, word) && strcmp(s->name + strlen(word), "lo") != 0 &&
            (!address || strstr(s->value, address))) {
            p->field[TW_FLOW_IIF] = tw_flow_name(s->name + strlen(word));
            return;
        }
    }
}

bool rules_is_loopback(const char *address)
{
    return tw_starts_with(address, "127.") || tw_streq(address, "::1");
}

/* ---- listening sockets ---- */

static const char *source_of_lost(struct run *r, const struct tw_endpoint *e)
{
    static const char *const from[] = {"198.18.7.7", "203.0.114.9", "10.7.7.7", "192.168.7.7",
                                       "172.16.7.7", "2600::7",     "fd00:7::7"};
    const struct rules *rules = r->v.rules;
    int proto = tw_streq(e->protocol, "udp") ? 17 : 6;

    for (size_t i = 0; i < rules->changes.count; i++) {
        const struct tw_flow_change *c = &rules->changes.items[i];

        if (c->path == TW_FLOW_TO_HOST && c->before == TW_FLOW_ACCEPT && c->after == TW_FLOW_DROP &&
            c->witness.field[TW_FLOW_STATE] == TW_FLOW_NEW &&
            c->witness.field[TW_FLOW_PROTO] == (tw_flow_num)proto &&
            c->witness.field[TW_FLOW_DPORT] == (tw_flow_num)e->port)
            return c->witness_text;
    }
    for (size_t i = 0; i < TW_COUNT_OF(from); i++) {
        struct tw_flow_packet p;
        bool v6 = strchr(from[i], ':') != NULL, bound6 = strchr(e->address, ':') != NULL;
        const char *to = !tw_endpoint_is_any(e->address) ? e->address : v6 ? "fd00:213::1" : "10.213.9.1";

        /* a socket at :: takes both families */
        if ((v6 && !bound6) || (!tw_endpoint_is_any(e->address) && v6 != bound6) || !begin(&p, proto, from[i], to, e->port))
            continue;
        set_interface(r, &p, tw_endpoint_is_any(e->address) ? NULL : e->address);
        if (is_lost(rules, &p))
            return tw_flow_packet_text(r->v.sim->arena, &p);
    }
    return NULL;
}

/* From the host itself, where programs meet at loopback. */
static const char *lost_inside(struct run *r, const struct tw_endpoint *e)
{
    bool v6 = strchr(e->address, ':') != NULL;
    const char *own = v6 ? "::1" : "127.0.0.1";
    struct tw_flow_packet p;

    if (!begin(&p, tw_streq(e->protocol, "udp") ? 17 : 6, own, tw_endpoint_is_any(e->address) ? own : e->address, e->port))
        return NULL;
    p.field[TW_FLOW_IIF] = tw_flow_name("lo");
    return is_lost(r->v.rules, &p) ? tw_flow_packet_text(r->v.sim->arena, &p) : NULL;
}

static size_t lost_listeners(struct run *r, struct tw_buf *lines)
{
    size_t n = 0;

    for (size_t i = 0; i < r->snapshot.endpoints.count; i++) {
        const struct tw_endpoint *e = &r->snapshot.endpoints.items[i];
        const char *witness = rules_is_loopback(e->address) ? NULL : source_of_lost(r, e);

        witness = witness ? witness : lost_inside(r, e);
        if (witness && n++ < LINES_MAX)
            tw_buf_printf(lines, "%s%s port %d listens at %s: %s", lines->len ? "\n" : "", e->protocol,
                          e->port, e->address, witness);
    }
    return n;
}

/* ---- tracked connections ---- */

static bool is_own(const struct run *r, const char *address)
{
    for (size_t i = 0; i < r->snapshot.settings.count; i++) {
        const char *at = strstr(r->snapshot.settings.items[i].value, address);

        if (at && strchr(", ", at[strlen(address)]) && (at == r->snapshot.settings.items[i].value || at[-1] == ' '))
            return true;
    }
    return false;
}

/* Would it be refused when it is made again? */
static bool lost_connection(struct run *r, const struct tw_filter_connection *c, struct tw_flow_packet *p)
{
    if ((c->proto != 6 && c->proto != 17) || !is_own(r, c->to) || rules_is_loopback(c->to) ||
        !begin(p, c->proto, c->from, c->to, c->port))
        return false;
    set_interface(r, p, c->to);
    return is_lost(r->v.rules, p);
}

static bool was_told(const struct tw_filter_connections *all, size_t at)
{
    const struct tw_filter_connection *c = &all->list.items[at];

    for (size_t i = 0; i < at; i++)
        if (all->list.items[i].proto == c->proto && all->list.items[i].port == c->port &&
            tw_streq(all->list.items[i].from, c->from) && tw_streq(all->list.items[i].to, c->to))
            return true;
    return false;
}

/* Where the kernel tracks nothing, or we may not ask, nothing is known of connections. */
static size_t lost_connections(struct run *r, struct tw_buf *lines)
{
    struct tw_filter_connections all;
    struct tw_arena *a = r->v.sim->arena;
    size_t n = 0;

    if (tw_filter_tracked(a, CONNECTIONS_MAX, &all, NULL) < 0)
        return 0;
    for (size_t i = 0; i < all.list.count; i++) {
        struct tw_flow_packet p;

        if (lost_connection(r, &all.list.items[i], &p) && !was_told(&all, i) && n++ < LINES_MAX)
            tw_buf_printf(lines, "%sin use now: %s", lines->len ? "\n" : "", tw_flow_packet_text(a, &p));
    }
    return n;
}

void run_rules_in_use(struct run *r)
{
    tw_auto_buf lines = {0};
    size_t sockets, connections;

    tw_buf_init(&lines, 8192);
    sockets = lost_listeners(r, &lines);
    connections = lost_connections(r, &lines);
    if (sockets + connections)
        (void)tw_issue_add(r->v.sim->arena, &r->v.issues, TW_HIGH, TW_REVIEW, "firewall.closed_in_use",
                           tw_arena_printf(r->v.sim->arena,
                                           "the change closes what is in use today: %zu listening socket%s, "
                                           "%zu tracked connection%s",
                                           sockets, sockets == 1 ? "" : "s", connections,
                                           connections == 1 ? "" : "s"),
                           tw_buf_text(&lines), "accept it, or stop the service first when it is meant");
}

/* ---- how it is made, and undone ---- */

static void command(struct run *r, bool undo, const char *text)
{
    struct tw_apply *apply = &r->v.sim->impact.apply;

    if (undo)
        TW_PUSH(r->v.sim->arena, &apply->undo, text);
    else
        TW_PUSH(r->v.sim->arena, &apply->commands, text);
}

static const char *loader(const struct rules_side *side)
{
    return side->text.nft ? "nft -f" : side->text.xt[0] ? "iptables-restore" : "ip6tables-restore";
}

/* What is in force now, kept first by the tool that the rules were made with. */
static void keep_live(struct run *r)
{
    const struct tw_filter_text *now = &r->v.rules->side[TW_BASELINE].text;
    const struct {
        bool there;
        const char *keep, *back;
    } rows[] = {
        {!now->xt[0] && !now->xt[1], "(echo flush ruleset; nft list ruleset) > /root/ruleset.before",
         "nft -f /root/ruleset.before"},
        {now->xt[0] != NULL, "iptables-save > /root/rules.before.v4", "iptables-restore /root/rules.before.v4"},
        {now->xt[1] != NULL, "ip6tables-save > /root/rules.before.v6",
         "ip6tables-restore /root/rules.before.v6"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].there) {
            command(r, false, rows[i].keep);
            command(r, true, rows[i].back);
        }
}

void run_rules_apply(struct run *r)
{
    const struct rules *rules = r->v.rules;
    struct tw_arena *a = r->v.sim->arena;
    const struct tw_plan *plan = &r->v.sim->plan;
    bool live = tw_streq(r->snapshot.how, "live");

    r->v.sim->impact.apply = (struct tw_apply){.how = "reload", .cold_s = NAN};
    if (live)
        keep_live(r);
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *s = &plan->steps.items[i];

        if (s->kind == TW_STEP_RULE)
            continue;
        if (live) {
            command(r, false, tw_arena_printf(a, "%s %s", loader(&rules->side[TW_CANDIDATE]),
                                              s->origin ? s->origin : "NEW"));
            continue;
        }
        command(r, false, tw_arena_printf(a, "cp -p %s %s.before", s->path, s->path));
        command(r, false, tw_arena_printf(a, s->kind == TW_STEP_APPEND ? "cat %s >> %s" : "cp %s %s",
                                          s->origin ? s->origin : "NEW", s->path));
        command(r, false, tw_arena_printf(a, "%s %s", loader(&rules->side[TW_CANDIDATE]), s->path));
        command(r, true, tw_arena_printf(a, "cp -p %s.before %s", s->path, s->path));
        command(r, true, tw_arena_printf(a, "%s %s", loader(&rules->side[TW_BASELINE]), s->path));
    }
    for (size_t i = 0; i < rules->commands.count; i++)
        command(r, false, rules->commands.items[i]);
    if (!live && rules->commands.count) {
        command(r, false, tw_arena_printf(a, "# and the same in %s, for the next start", r->snapshot.config_file));
        command(r, true, tw_arena_printf(a, "%s %s", loader(&rules->side[TW_BASELINE]), r->snapshot.config_file));
    }
}
