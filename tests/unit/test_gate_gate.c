#include "tw/gate.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static char dir[] = "/tmp/twin-gate-XXXXXX";
static struct tw_store *store;
static struct tw_arena *arena;

static void begin(void)
{
    struct tw_err err = {0};

    cr_assert(mkdtemp(dir) != NULL);
    arena = tw_arena_new();
    cr_assert_eq(tw_store_open(dir, &store, &err), 0, "%s", err.text);
}

static void end(void)
{
    tw_store_close(store);
    tw_arena_free(arena);
    (void)tw_remove_tree(dir, NULL);
}

TestSuite(gate_gate, .init = begin, .fini = end);

Test(gate_gate, roles_may_what_the_table_says_and_nothing_else)
{
    static const char *const may[TW_GATE_ROLE_COUNT] = {
        [TW_VIEWER] = "read",
        [TW_OPERATOR] = "read simulate sync",
        [TW_APPROVER] = "read approve audit",
        [TW_ADMIN] = "read simulate sync approve audit administer"};

    for (int role = 0; role < TW_GATE_ROLE_COUNT; role++)
        for (int p = 0; p < TW_PERMISSION_COUNT; p++) {
            struct tw_actor a = {.person = "x", .roles = 1u << role};
            struct tw_err err = {0};
            bool want = strstr(may[role], tw_permission_names[p]) != NULL;
            int r = tw_gate_check(&a, (enum tw_permission)p, "e", "t", &err);

            cr_expect_eq(r == 0, want, "%s %s", tw_gate_role_names[role],
                         tw_permission_names[p]);
            if (!want)
                cr_expect(strstr(err.text, "needs the role"), "%s", err.text);
        }
}

Test(gate_gate, a_token_is_for_its_environments_and_types)
{
    struct tw_actor a = {.person = "x",
                         .roles = 1u << TW_OPERATOR,
                         .environments = "staging,dev",
                         .types = "config_change"};

    cr_expect_eq(tw_gate_check(&a, TW_MAY_SIMULATE, "dev", "config_change", NULL), 0);
    cr_expect_eq(tw_gate_check(&a, TW_MAY_SIMULATE, "de", "config_change", NULL),
                 -EACCES);
    cr_expect_eq(tw_gate_check(&a, TW_MAY_SIMULATE, "production", "config_change", NULL),
                 -EACCES);
    cr_expect_eq(tw_gate_check(&a, TW_MAY_SIMULATE, "dev", "network", NULL), -EACCES);
}

static const char *make(const char *person, const char *roles, bool automaton,
                        double days, struct tw_store_token *t)
{
    struct tw_token_wish w = {.person = person,
                              .roles = roles,
                              .automaton = automaton,
                              .days = days,
                              .created_by = "root"};
    const char *secret = NULL;
    struct tw_err err = {0};

    cr_assert_eq(tw_gate_token_make(store, arena, &w, &secret, t, &err), 0, "%s",
                 err.text);
    return secret;
}

Test(gate_gate, a_secret_opens_until_it_is_revoked_or_expired)
{
    struct tw_store_token t, old;
    const char *secret = make("anna", "operator,approver", false, 1, &t);
    const char *expired = make("bert", "viewer", false, 1e-9, &old);
    char *wrong = tw_arena_strdup(arena, secret);
    struct tw_actor a;

    cr_expect_eq(tw_gate_token_check(store, arena, secret, &a, NULL), 0);
    cr_expect_str_eq(a.person, "anna");
    cr_expect_eq(a.roles, (1u << TW_OPERATOR) | (1u << TW_APPROVER));
    wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == 'A' ? 'B' : 'A';
    cr_expect_eq(tw_gate_token_check(store, arena, wrong, &a, NULL), -EACCES);
    cr_expect_eq(tw_gate_token_check(store, arena, "", &a, NULL), -EACCES);
    cr_expect_eq(tw_gate_token_check(store, arena, "twn_", &a, NULL), -EACCES);
    cr_expect_eq(tw_gate_token_check(store, arena, expired, &a, NULL), -EACCES);
    cr_expect_eq(tw_gate_token_revoke(store, arena, t.id, NULL), 0);
    cr_expect_eq(tw_gate_token_check(store, arena, secret, &a, NULL), -EACCES);
    cr_expect_eq(tw_gate_token_revoke(store, arena, t.id, NULL), -EALREADY);
}

Test(gate_gate, a_token_needs_a_person_a_role_and_an_end)
{
    static const struct {
        const char *person, *roles, *pointer;
        double days;
        bool automaton;
    } rows[] = {
        {"", "viewer", "/person", 1, false}, {"anonymous", "viewer", "/person", 1, false},
        {"a", "", "/roles", 1, false},       {"a", "king", "/roles", 1, false},
        {"a", "viewer", "/days", 0, false},  {"a", "viewer", "/days", 1e6, false},
        {"a", "approver", "/roles", 1, true}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_token_wish w = {.person = rows[i].person,
                                  .roles = rows[i].roles,
                                  .days = rows[i].days,
                                  .automaton = rows[i].automaton,
                                  .created_by = "root"};
        struct tw_store_token t;
        struct tw_err err = {0};
        const char *secret;

        cr_expect_eq(tw_gate_token_make(store, arena, &w, &secret, &t, &err), -EINVAL);
        cr_expect_str_eq(err.pointer, rows[i].pointer, "row %zu: %s", i, err.text);
    }
}

Test(gate_gate, ten_wrong_tokens_lock_their_source_out_and_no_other)
{
    struct tw_lockout *l = tw_lockout_new();
    unsigned char one[16] = {1}, other[16] = {2};

    for (int i = 0; i < 9; i++)
        tw_lockout_failed(l, one);
    cr_expect_eq(tw_lockout_left_s(l, one), 0);
    tw_lockout_failed(l, one);
    cr_expect_gt(tw_lockout_left_s(l, one), 0);
    cr_expect_eq(tw_lockout_left_s(l, other), 0);
    tw_lockout_free(l);
}

/* ---- approvals ---- */

static struct tw_store_approval open_approval(double hours)
{
    tw_auto(tw_simulation) *sim = tw_simulation_new();
    struct tw_store_approval p;
    struct tw_err err = {0};

    tw_id_make(sim->id);
    memset(sim->plan.sha256, 'a', 64);
    sim->target.environment = "production";
    sim->request.type = "config_change";
    sim->request.target = "pg";
    sim->impact.risk_score = 60;
    cr_assert_eq(tw_gate_approval_open(store, arena, sim, "anna", hours, &p, &err), 0,
                 "%s", err.text);
    p.id = tw_arena_strdup(arena, p.id);
    return p;
}

static int decide(const char *id, const char *person, unsigned roles, bool automaton,
                  const char *plan)
{
    struct tw_actor a = {.person = person, .roles = roles, .automaton = automaton};
    struct tw_store_approval got;

    return tw_gate_approval_decide(store, arena, id, true, &a, plan, NULL, &got, NULL);
}

Test(gate_gate, an_approval_is_given_once_by_another_person_in_time)
{
    struct tw_store_approval p = open_approval(1), late = open_approval(-1);
    unsigned approver = 1u << TW_APPROVER;
    char plan[65] = {0};

    memset(plan, 'b', 64);
    cr_expect_eq(decide(p.id, "anna", approver, false, NULL), -EACCES, "her own");
    cr_expect_eq(decide(p.id, "bert", 1u << TW_OPERATOR, false, NULL), -EACCES,
                 "no approver");
    cr_expect_eq(decide(p.id, "bot", approver, true, NULL), -EACCES, "an automaton");
    cr_expect_eq(decide(p.id, "bert", approver, false, plan), -ESTALE, "another plan");
    cr_expect_eq(decide(late.id, "bert", approver, false, NULL), -ESTALE, "expired");
    cr_expect_eq(decide(p.id, "bert", approver, false, NULL), 0);
    cr_expect_eq(decide(p.id, "carl", approver, false, NULL), -EALREADY, "decided");
    cr_expect_eq(decide("nothing", "carl", approver, false, NULL), -ENOENT);
}

/* ---- the audit chain ---- */

static struct tw_audit *open_audit(void)
{
    struct tw_audit *au = NULL;
    struct tw_err err = {0};

    cr_assert_eq(tw_audit_open(dir, NULL, &au, &err), 0, "%s", err.text);
    return au;
}

static void sql(const char *text)
{
    tw_auto_free char *path = tw_strf("%s/twin.db", dir);
    char *why = NULL;
    sqlite3 *db;

    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, &why), SQLITE_OK, "%s", why);
    (void)sqlite3_close(db);
}

static void fill(struct tw_audit *au, int n)
{
    struct tw_actor a = {.person = "anna", .source = "test"};
    struct tw_err err = {0};

    cr_assert_eq(tw_store_begin(store, &err), 0);
    for (int i = 0; i < n; i++) {
        struct tw_audit_entry e = {.action = "do", .object = "it", .result = "ok"};

        cr_assert_eq(tw_audit_add(au, store, &a, &e, &err), 0, "%s", err.text);
    }
    cr_assert_eq(tw_store_commit(store, &err), 0);
    cr_assert_eq(tw_audit_mark(au, &err), 0);
}

Test(gate_gate, every_forgery_of_the_chain_is_found_where_it_is)
{
    static const struct {
        const char *name, *sql;
        int64_t at;
    } rows[] = {
        {"a changed actor", "UPDATE audit SET actor = 'bert' WHERE seq = 7", 7},
        {"a changed result", "UPDATE audit SET result = 'refused' WHERE seq = 3", 3},
        {"a changed time", "UPDATE audit SET at_ns = at_ns + 1 WHERE seq = 9", 9},
        {"a moved border", "UPDATE audit SET actor = 'annad', action = 'o' WHERE seq = 4",
         4},
        {"a changed code", "UPDATE audit SET mac = zeroblob(32) WHERE seq = 20", 20},
        {"an entry left out", "DELETE FROM audit WHERE seq = 5", 5},
        {"the first left out", "DELETE FROM audit WHERE seq = 1", 1},
        {"the end cut off", "DELETE FROM audit WHERE seq > 15", 16},
        {"all of it gone", "DELETE FROM audit", 1},
        {"one put in",
         "INSERT INTO audit SELECT 21, at_ns, actor, action, object, result, source,"
         " detail, mac FROM audit WHERE seq = 20",
         21},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_audit *au = open_audit();
        struct tw_audit_state state;

        fill(au, 20);
        cr_expect_eq(tw_audit_verify(au, store, arena, &state, NULL), 0);
        cr_expect_eq(state.entries, 20);
        sql("DROP TRIGGER audit_stays");
        sql(rows[i].sql);
        cr_expect_eq(tw_audit_verify(au, store, arena, &state, NULL), -EBADMSG, "%s",
                     rows[i].name);
        cr_expect_eq(state.bad_seq, rows[i].at, "%s: found at %lld", rows[i].name,
                     (long long)state.bad_seq);
        tw_audit_close(au);
        end();
        memcpy(dir, "/tmp/twin-gate-XXXXXX", sizeof(dir));
        begin();
    }
}

Test(gate_gate, entries_are_never_changed_by_us)
{
    struct tw_audit *au = open_audit();
    tw_auto_free char *path = tw_strf("%s/twin.db", dir);
    sqlite3 *db;

    fill(au, 1);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_expect_neq(sqlite3_exec(db, "UPDATE audit SET actor = 'x'", NULL, NULL, NULL),
                  SQLITE_OK);
    (void)sqlite3_close(db);
    tw_audit_close(au);
}

/* ---- alerts ---- */

Test(gate_gate, webhooks_reach_public_addresses_and_those_allowed)
{
    static const struct {
        const char *address;
        bool may;
    } rows[] = {{"127.0.0.1", false},
                {"169.254.169.254", false},
                {"10.0.0.1", false},
                {"192.168.0.1", false},
                {"172.31.255.255", false},
                {"0.0.0.0", false},
                {"::1", false},
                {"fe80::1", false},
                {"fd00::1", false},
                {"::ffff:127.0.0.1", false},
                {"64:ff9b::7f00:1", false},
                {"2002:7f00:1::", false},
                {"100.64.0.1", false},
                {"224.0.0.1", false},
                {"10.9.0.5", true},
                {"1.1.1.1", true},
                {"2606:4700::1111", true}};
    struct tw_hooks h = {0};
    struct tw_net net;

    cr_assert_eq(tw_net_parse("10.9.0.0/16", net.address, &net.bits, NULL), 0);
    TW_PUSH(arena, &h.allow, net);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        unsigned char address[16] = {0};
        int bits;

        cr_assert_eq(tw_net_parse(rows[i].address, address, &bits, NULL), 0);
        cr_expect_eq(tw_alert_may_call(&h, address), rows[i].may, "%s", rows[i].address);
    }
}

Test(gate_gate, an_alert_is_for_the_hooks_that_want_it_and_tried_again)
{
    struct tw_hooks h = {0};
    struct tw_store_alerts due = {0};
    struct tw_alert al = {.kind = "drift", .severity = "warning", .summary = "s"};
    struct tw_store_alert one;

    TW_PUSH(arena, &h.list,
            (struct tw_hook){
                .name = "a", .url = "http://127.0.0.1:1/", .kinds = "risk,drift"});
    TW_PUSH(
        arena, &h.list,
        (struct tw_hook){.name = "b", .url = "http://127.0.0.1:1/", .kinds = "failed"});
    cr_assert_eq(tw_alert_raise(store, &h, &al, NULL), 0);
    cr_assert_eq(tw_store_alert_due(store, arena, tw_wall_ns(), 10, &due, NULL), 0);
    cr_assert_eq(due.list.count, 1);
    one = due.list.items[0];
    tw_alert_send(&h, arena, &one);
    cr_expect_str_eq(one.state, "pending");
    cr_expect(strstr(one.error, "not allowed"), "%s", one.error);
    cr_expect_gt(one.next_wall_ns, tw_wall_ns());
    one.attempts = 9;
    tw_alert_send(&h, arena, &one);
    cr_expect_str_eq(one.state, "dead");
}
