/* Stages of a change of rules: both rule sets loaded in network namespaces, compared as sets of packets,
 * judged, and real packets sent at both. */
#include "run_rules.h"

#include <stdlib.h>
#include <string.h>

bool run_is_rules(const struct run *r)
{
    const struct tw_change_type *type = tw_change_type_find(r->v.sim->plan.type, NULL);

    return type && type->rules && tw_streq(r->target.type, "firewall");
}

/* ---- what is loaded ---- */

static void changed_files(struct run *r, struct rules_files *ret)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < r->snapshot.files.count; i++)
        TW_PUSH(a, &ret->list, r->snapshot.files.items[i]);
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];

        for (size_t k = 0; k < ret->list.count; k++) {
            struct tw_file *f = &ret->list.items[k];

            if (!tw_streq(f->path, step->path))
                continue;
            f->text = step->kind == TW_STEP_APPEND
                          ? tw_arena_printf(a, "%s\n%s", f->text, step->value)
                          : step->value;
        }
    }
}

static bool has_step(const struct tw_plan *plan, bool rule)
{
    for (size_t i = 0; i < plan->steps.count; i++)
        if ((plan->steps.items[i].kind == TW_STEP_RULE) == rule)
            return true;
    return false;
}

static int load_arm(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err)
{
    struct rules_side *side = &r->v.rules->side[arm];
    bool read = arm == TW_BASELINE || has_step(&r->v.sim->plan, false);
    int rc = tw_filter_open(r->priv, &side->box, err);

    if (rc < 0)
        return rc;
    side->result = tw_filter_load(side->box, &side->text, &side->err);
    if (side->result == 0 && read)
        side->result = tw_filter_read(side->box, a, &side->rules, &side->err);
    return 0;
}

/* ---- the rules of the request, one after the other, on the candidate ---- */

static bool is_plain_add(const struct tw_plan_step *step, const json_t *keys)
{
    return tw_streq(step->name, "add_rule") && !json_object_get(keys, "rule") &&
           !json_object_get(keys, "position");
}

static void tell_made(struct run *r, const char *rule, const char *place, const char *command)
{
    (void)tw_issue_add(r->v.sim->arena, &r->v.issues, TW_INFO, TW_PROCEED, "firewall.rule",
                       tw_arena_printf(r->v.sim->arena, "the rule made: %s", rule), place, NULL);
    TW_PUSH(r->v.sim->arena, &r->v.rules->commands, command);
}

static int add_rule(struct run *r, const json_t *keys, struct tw_err *err)
{
    struct rules_side *side = &r->v.rules->side[TW_CANDIDATE];
    struct tw_arena *a = r->v.sim->arena;
    const char *port = json_string_value(json_object_get(keys, "port"));
    struct tw_flow_rule rule = {.source = json_string_value(json_object_get(keys, "source")),
                                .protocol = json_string_value(json_object_get(keys, "protocol")),
                                .port = port ? atoi(port) : -1,
                                .verdict = json_string_value(json_object_get(keys, "verdict")),
                                .chain = json_string_value(json_object_get(keys, "chain"))};
    struct tw_flow_mades made;
    tw_auto(tw_flow_space) *s = tw_flow_space_new(&side->rules, 1, 0);
    int rc = tw_flow_add(s, a, side->rules, &rule, &made, &side->rules, err);

    for (size_t i = 0; i < made.list.count && rc == 0; i++) {
        const struct tw_flow_made *m = &made.list.items[i];

        rc = tw_filter_command(side->box, m->command, err);
        tell_made(r, m->rule, tw_arena_printf(a, "%s\n%s", m->place, m->command), m->command);
    }
    return rc;
}

static int edit_rules(struct run *r, const char *action, const json_t *keys, struct tw_err *err)
{
    struct tw_filter_commands done = {0};
    int rc = tw_filter_edit(r->v.rules->side[TW_CANDIDATE].box, r->v.sim->arena, action, keys, &done, err);

    for (size_t i = 0; i < done.list.count; i++)
        tell_made(r, action, done.list.items[i], done.list.items[i]);
    return rc;
}

static int change_rules(struct run *r, struct tw_err *err)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    struct rules_side *side = &r->v.rules->side[TW_CANDIDATE];
    bool known = true;
    int rc = 0;

    if (!side->rules)
        side->rules = r->v.rules->side[TW_BASELINE].rules; /* the same text, loaded the same way */
    for (size_t i = 0; i < plan->steps.count && rc == 0; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        json_auto_t *keys = NULL;

        if (step->kind != TW_STEP_RULE)
            continue;
        keys = json_loads(step->value, 0, NULL);
        if (!is_plain_add(step, keys)) {
            rc = edit_rules(r, step->name, keys, err);
            known = false;
            continue;
        }
        if (!known)
            rc = tw_filter_read(side->box, r->v.sim->arena, &side->rules, err);
        known = true;
        rc = rc < 0 ? rc : add_rule(r, keys, err);
    }
    if (rc == 0 && !known)
        rc = tw_filter_read(side->box, r->v.sim->arena, &side->rules, err);
    return rc;
}

static void tell_unloadable(struct run *r, const struct tw_err *why)
{
    (void)tw_issue_add(r->v.sim->arena, &r->v.issues, TW_CRITICAL, TW_BLOCK, "firewall.load",
                       "the changed rule set does not load", why->text,
                       "mend the line that the tool names; until then the rules of today stay in force");
    r->v.not_measured = "the changed rule set does not load";
}

int run_rules(struct run *r, struct tw_err *err)
{
    struct rules *rules = tw_arena_alloc(r->v.sim->arena, sizeof *rules);
    struct rules_files files = {0};
    int rc = r->priv ? 0 : tw_priv_open(r->state_dir, r->id, &r->priv, err);

    if (!run_is_rules(r) || rc < 0)
        return rc;
    r->v.rules = rules;
    if (r->v.sim->plan.scan)
        run_rules_scan_begin(r);
    tw_filter_text_of(r->v.sim->arena, r->snapshot.files.items, r->snapshot.files.count,
                      &rules->side[TW_BASELINE].text);
    changed_files(r, &files);
    tw_filter_text_of(r->v.sim->arena, files.list.items, files.list.count, &rules->side[TW_CANDIDATE].text);
    rc = run_each_arm(r, load_arm, err);
    if (rc < 0)
        return rc;
    if (rules->side[TW_BASELINE].result < 0) {
        *err = rules->side[TW_BASELINE].err;
        return tw_wrap(err, -ENOEXEC, "today's rule set does not load, so nothing can be compared with it");
    }
    if (rules->side[TW_CANDIDATE].result < 0) {
        tell_unloadable(r, &rules->side[TW_CANDIDATE].err);
        return 0;
    }
    rc = change_rules(r, err);
    rules->known = rc == 0;
    return rc;
}

/* ---- compared ---- */

enum kind { GAINED, LOST, PERHAPS, REDIRECTED, KIND_COUNT };
static const struct kind_row {
    const char *code, *title;
    enum tw_severity severity;
    enum tw_verdict verdict;
    const char *remedy;
} kinds[KIND_COUNT] = {
    [GAINED] = {"firewall.opened", "flows that were dropped are accepted", TW_LOW, TW_PROCEED,
                "see that these are the ones meant"},
    [LOST] = {"firewall.closed", "flows that were accepted are dropped", TW_LOW, TW_PROCEED,
              "see that these are the ones meant"},
    [PERHAPS] = {"firewall.limited",
                 "flows that were accepted may be dropped: it depends on a limit, a counter or a list",
                 TW_MEDIUM, TW_REVIEW,
                 "compare the limit with the busiest hour of today; beyond it new connections time out"},
    [REDIRECTED] = {"firewall.redirected", "flows get another destination", TW_MEDIUM, TW_REVIEW,
                    "see that the new destination serves them"},
};

static enum kind kind_of(const struct tw_flow_change *c)
{
    if (c->redirected)
        return REDIRECTED;
    if (c->after == TW_FLOW_DROP)
        return LOST;
    return c->after == TW_FLOW_MAY && c->before == TW_FLOW_ACCEPT ? PERHAPS : GAINED;
}

#define LINES 6 /* of each kind on each path */

static int compare(struct run *r, struct tw_flow_space *s, struct tw_err *err)
{
    struct rules *rules = r->v.rules;
    int rc = 0;

    for (int path = 0; path < TW_FLOW_PATH_COUNT && rc == 0; path++) {
        struct tw_flow_difference d;

        rc = tw_flow_compare(s, r->v.sim->arena, rules->side[TW_BASELINE].rules,
                             rules->side[TW_CANDIDATE].rules, (enum tw_flow_path)path, LINES, &d, err);
        for (size_t i = 0; rc == 0 && i < d.list.count; i++)
            TW_PUSH(r->v.sim->arena, &rules->changes, d.list.items[i]);
        rules->more |= rc == 0 && d.more;
    }
    return rc;
}

static void tell_changes(struct run *r)
{
    struct rules *rules = r->v.rules;
    struct tw_arena *a = r->v.sim->arena;

    for (int k = 0; k < KIND_COUNT; k++) {
        tw_auto_buf lines = {0};
        size_t n = 0;

        tw_buf_init(&lines, 16384);
        for (size_t i = 0; i < rules->changes.count; i++) {
            const struct tw_flow_change *c = &rules->changes.items[i];

            if ((int)kind_of(c) == k)
                tw_buf_printf(&lines, "%s%s: %s; for instance %s", n++ ? "\n" : "",
                              tw_flow_path_names[c->path], c->text, c->witness_text);
        }
        if (n)
            (void)tw_issue_add(a, &r->v.issues, kinds[k].severity, kinds[k].verdict, kinds[k].code,
                               kinds[k].title,
                               tw_arena_printf(a, "%s%s", tw_buf_text(&lines),
                                               rules->more ? "\nand more" : ""),
                               kinds[k].remedy);
    }
    if (!rules->changes.count)
        (void)tw_issue_add(a, &r->v.issues, TW_INFO, TW_PROCEED, "firewall.same",
                           "no packet fares otherwise than before",
                           "both rule sets decide alike for every packet, on the way to, through and from "
                           "this host",
                           NULL);
}

/* ---- useless rules, beside the rest ---- */

#define USELESS_RULES_MAX 1500
#define USELESS_LINES     12

static bool was_there(const struct tw_flow_rule_findings *before, const struct tw_flow_rule_finding *f)
{
    for (size_t i = 0; i < before->list.count; i++)
        if (before->list.items[i].kind == f->kind && tw_streq(before->list.items[i].text, f->text))
            return true;
    return false;
}

static void *find_useless(void *arg)
{
    struct rules *rules = arg;

    /* the candidate's first: where it has none, nobody asks which of them are new */
    for (int arm = TW_CANDIDATE; arm >= TW_BASELINE; arm--) {
        const struct tw_flow_rules *both[] = {rules->side[arm].rules, rules->side[!arm].rules};
        bool all = tw_flow_rule_count(both[0]) <= USELESS_RULES_MAX;
        tw_auto(tw_flow_space) *s = tw_flow_space_new(both, all ? 1 : 2, 0);

        rules->useless_known[arm] =
            (all ? tw_flow_useless(s, rules->useless_arena, both[0], &rules->useless[arm], NULL)
                 : tw_flow_useless_touched(s, rules->useless_arena, both[1], both[0], &rules->useless[arm],
                                           NULL)) == 0;
        if (!rules->useless[arm].list.count)
            break;
    }
    return NULL;
}

static void tell_useless(struct run *r)
{
    struct rules *rules = r->v.rules;
    tw_auto_buf lines = {0};
    size_t fresh = 0, n = rules->useless[TW_CANDIDATE].list.count;

    tw_buf_init(&lines, 8192);
    for (size_t i = 0; i < n; i++) {
        const struct tw_flow_rule_finding *f = &rules->useless[TW_CANDIDATE].list.items[i];
        bool had = was_there(&rules->useless[TW_BASELINE], f);

        fresh += !had;
        if (i < USELESS_LINES)
            tw_buf_printf(&lines, "%s%s%s: %s (%s)%s%s%s", i ? "\n" : "", had ? "" : "new: ",
                          tw_flow_useless_names[f->kind], f->text, f->place, f->by.count ? ", by " : "",
                          f->by.count ? f->by.items[0] : "",
                          f->packets > 0 ? ", though its counter has packets: of earlier rules" : "");
    }
    if (n)
        (void)tw_issue_add(r->v.sim->arena, &r->v.issues, fresh ? TW_MEDIUM : TW_LOW, TW_PROCEED,
                           "firewall.useless",
                           tw_arena_printf(r->v.sim->arena, "%zu rule%s never decide anything, %zu of them new",
                                           n, n == 1 ? "" : "s", fresh),
                           tw_buf_text(&lines), "take them out, or put them before the rules that decide first");
}

static void end_useless(struct run *r)
{
    struct rules *rules = r->v.rules;
    bool ran = rules->useless_running;

    if (ran)
        (void)pthread_join(rules->useless_thread, NULL);
    rules->useless_running = false;
    if (rules->useless_arena)
        tw_arena_adopt(r->v.sim->arena, rules->useless_arena);
    rules->useless_arena = NULL;
    if (ran && rules->useless_known[TW_CANDIDATE])
        tell_useless(r);
}

/* ---- what cannot be modelled ---- */

#define NOTES_MAX 8

static void tell_notes(struct run *r)
{
    const struct tw_flow_notes *notes = tw_flow_notes(r->v.rules->side[TW_CANDIDATE].rules);
    tw_auto_buf lines = {0};

    if (!notes->list.count)
        return;
    tw_buf_init(&lines, 4096);
    for (size_t i = 0; i < notes->list.count && i < NOTES_MAX; i++)
        tw_buf_printf(&lines, "%s%s: %s", i ? "\n" : "", notes->list.items[i].place, notes->list.items[i].what);
    (void)tw_issue_add(r->v.sim->arena, &r->v.issues, TW_INFO, TW_PROCEED, "firewall.not_modelled",
                       "parts of the rules depend on more than the packet: both outcomes count as possible",
                       tw_buf_text(&lines), NULL);
}

/* ---- together ---- */

int run_flows(struct run *r, struct tw_err *err)
{
    struct rules *rules = r->v.rules;
    const struct tw_flow_rules *sets[TW_ARM_COUNT];
    int rc;

    if (!rules || !rules->known)
        return 0;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        sets[arm] = rules->side[arm].rules;
    tw_auto(tw_flow_space) *s = tw_flow_space_new(sets, TW_ARM_COUNT, 0);

    rules->useless_arena = tw_arena_new();
    rules->useless_running = pthread_create(&rules->useless_thread, NULL, find_useless, rules) == 0;
    rc = compare(r, s, err);
    if (rc == 0) {
        tell_changes(r);
        rc = tw_flow_judge(s, r->v.sim->arena, sets[TW_BASELINE], sets[TW_CANDIDATE], NULL, 0, &r->v.issues,
                           err);
    }
    if (rc == 0)
        run_rules_in_use(r);
    if (rc == 0 && r->v.sim->plan.scan)
        rc = run_rules_scan(r, s, err);
    if (rc == 0)
        tell_notes(r);
    return rc;
}

/* ---- real packets ---- */

#define PROBES_MOST   320
#define PROBES_LEAST  48
#define EVALUATE_MOST 1500000 /* packets times rules, for each arm */
#define MISMATCHES    5

static bool translates(const struct tw_filter_text *t)
{
    static const char *const words[] = {"dnat", "tproxy", "DNAT", "TPROXY"};
    const char *const texts[] = {t->nft, t->xt[0], t->xt[1]};

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++)
        for (size_t w = 0; texts[i] && w < TW_COUNT_OF(words); w++)
            if (strstr(texts[i], words[w]))
                return true;
    return false;
}

static void expect(struct rules *rules)
{
    for (size_t i = 0; i < rules->probes.list.count; i++) {
        struct tw_filter_probe *p = &rules->probes.list.items[i];

        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            enum tw_flow_answer answer = tw_flow_evaluate(rules->side[arm].rules, p->path, &p->packet);

            p->expected[arm] = answer == TW_FLOW_ACCEPT;
            if (answer == TW_FLOW_MAY)
                p->unsent[arm] = "the rules may do either";
        }
    }
}

static int send_arm(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err)
{
    (void)a;
    return tw_filter_send(r->v.rules->side[arm].box, arm, &r->v.rules->probes, err);
}

static void tell_packets(struct run *r)
{
    struct rules *rules = r->v.rules;
    struct tw_arena *a = r->v.sim->arena;
    tw_auto_buf lines = {0};

    tw_buf_init(&lines, 8192);
    for (size_t i = 0; i < rules->probes.list.count; i++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            const struct tw_filter_probe *p = &rules->probes.list.items[i];

            if (p->unsent[arm])
                continue;
            rules->sent++;
            if (p->expected[arm] != p->arrived[arm] && rules->wrong++ < MISMATCHES)
                tw_buf_printf(&lines, "%s%s, %s, %s: the kernel %s it, our model says %s", lines.len ? "\n" : "",
                              tw_arm_names[arm], tw_flow_path_names[p->path],
                              tw_flow_packet_text(a, &p->packet), p->arrived[arm] ? "lets" : "stops",
                              p->expected[arm] ? "accept" : "drop");
        }
    if (rules->wrong)
        (void)tw_issue_add(
            a, &r->v.issues, TW_HIGH, TW_REVIEW, "flow.mismatch",
            tw_arena_printf(a, "our model is wrong for %d of %d real packets: a bug of ours, not of the rules",
                            rules->wrong, rules->sent),
            tw_buf_text(&lines), "please report it with the rule set; until then a person decides");
    else if (rules->sent)
        (void)tw_issue_add(
            a, &r->v.issues, TW_INFO, TW_PROCEED, "flow.packets",
            tw_arena_printf(a, "%d real packets fared in the kernel as the model says", rules->sent),
            "TCP, UDP and ICMP, new and established, IPv4 and IPv6, at the boundaries of the rules", NULL);
}

static int send_packets(struct run *r, struct tw_err *err)
{
    struct rules *rules = r->v.rules;
    struct tw_arena *a = r->v.sim->arena;
    size_t most, count;
    int rc;

    if (translates(&rules->side[TW_BASELINE].text) || translates(&rules->side[TW_CANDIDATE].text)) {
        (void)tw_issue_add(a, &r->differences, TW_INFO, TW_PROCEED, "twin.packets",
                           "no real packets were sent: the rules send some on to other hosts", NULL, NULL);
        return 0;
    }
    count = tw_flow_rule_count(rules->side[TW_CANDIDATE].rules) + 1;
    most = EVALUATE_MOST / count;
    most = most > PROBES_MOST ? PROBES_MOST : most < PROBES_LEAST ? PROBES_LEAST : most;
    for (size_t i = 0; i < rules->changes.count; i++)
        (void)tw_filter_probe_add(a, &rules->probes, rules->changes.items[i].path,
                                  &rules->changes.items[i].witness);
    tw_filter_boundaries(a, &rules->side[TW_CANDIDATE].text, most, &rules->probes);
    expect(rules);
    rc = run_each_arm(r, send_arm, err);
    if (rc == 0)
        tell_packets(r);
    return rc;
}

int run_packets(struct run *r, struct tw_err *err)
{
    int rc = 0;

    if (r->v.rules && r->v.rules->known) {
        rc = send_packets(r, err);
        end_useless(r);
    }
    return rc;
}

void run_rules_done(struct run *r)
{
    if (r->v.rules)
        end_useless(r);
    run_rules_scan_done(r);
    for (int arm = 0; r->v.rules && arm < TW_ARM_COUNT; arm++) {
        tw_filter_close(r->v.rules->side[arm].box);
        r->v.rules->side[arm].box = NULL;
    }
}

void run_rules_facts(struct run *r, struct tw_impact_facts *f)
{
    struct tw_arena *a = r->v.sim->arena;

    f->rules_judged = true;
    f->rules_packets = r->v.rules->sent;
    for (size_t i = 0; i < r->differences.list.count; i++)
        TW_PUSH(a, &f->twin_differences, r->differences.list.items[i].title);
    TW_PUSH(a, &f->twin_differences,
            "interfaces are virtual ones of the names that the rules use; routing and neighbours are not judged");
    if (tw_flow_rule_count(r->v.rules->side[TW_BASELINE].rules) > USELESS_RULES_MAX)
        TW_PUSH(a, &f->twin_differences,
                tw_arena_printf(a,
                                "rules that never decide anything were looked for only among those that match "
                                "nothing but packets that the change touches: more than %d rules",
                                USELESS_RULES_MAX));
}
