/* Requests that change rules: what is taken, and where each mistake is told. */
#include "tw/change.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct tw_file today[] = {
    {"/etc/nftables.conf", "include \"/etc/nftables.d/a.nft\"\ntable inet f {}\n", 0644}};

static int plan(struct tw_arena *a, const char *text, struct tw_plan *ret, struct tw_err *err)
{
    json_auto_t *json = json_loads(text, 0, NULL);
    struct tw_snapshot s;
    struct tw_request r;
    struct tw_issues issues = {0};
    int rc;

    tw_snapshot_init(&s);
    s.target = "fw";
    s.type = "firewall";
    TW_PUSH(a, &s.files, today[0]);
    cr_assert_not_null(json, "%s", text);
    rc = tw_request_from_json(a, json, &r, err);
    return rc < 0 ? rc : tw_change_plan(a, &s, &r, ret, &issues, err);
}

#define CHANGE(body) "{\"type\":\"security\",\"target\":\"fw\",\"change\":" body "}"

Test(change_security, the_request_of_the_specification_is_one_step)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan p;
    struct tw_err err = {0};

    cr_assert_eq(plan(a,
                      "{\"type\":\"security\",\"target\":\"fw\",\"security_scan\":true,\"change\":"
                      "{\"action\":\"add_rule\",\"port\":443,\"source\":\"0.0.0.0/0\",\"protocol\":\"tcp\"}}",
                      &p, &err),
                 0, "%s", err.text);
    cr_assert_eq(p.steps.count, 1);
    cr_expect_eq(p.steps.items[0].kind, TW_STEP_RULE);
    cr_expect_str_eq(p.steps.items[0].name, "add_rule");
    cr_expect_str_eq(p.steps.items[0].value, "{\"port\":\"443\",\"source\":\"0.0.0.0/0\",\"protocol\":\"tcp\"}");
    cr_expect(p.scan);
}

Test(change_security, several_changes_are_several_steps_in_their_order)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan p;
    struct tw_err err = {0};

    cr_assert_eq(plan(a,
                      "{\"type\":\"security\",\"target\":\"fw\",\"changes\":["
                      "{\"change\":{\"port\":443,\"action\":\"add_rule\"}},"
                      "{\"change\":{\"handle\":7,\"action\":\"remove_rule\"}}]}",
                      &p, &err),
                 0, "%s", err.text);
    cr_assert_eq(p.steps.count, 2);
    cr_expect_str_eq(p.steps.items[0].name, "add_rule");
    cr_expect_str_eq(p.steps.items[1].name, "remove_rule");
    cr_expect_str_eq(p.steps.items[1].value, "{\"handle\":\"7\"}");
}

Test(change_security, each_mistake_is_told_where_it_stands)
{
    static const struct {
        const char *body, *pointer, *word;
    } rows[] = {
        {CHANGE("{\"action\":\"add_rle\"}"), "/change/action", "add_rule"},
        {CHANGE("{\"port\":443}"), "/change", "action"},
        {CHANGE("{\"action\":\"add_rule\",\"prot\":443}"), "/change/prot", "port"},
        {CHANGE("{\"action\":\"add_rule\",\"port\":65536}"), "/change/port", "65535"},
        {CHANGE("{\"action\":\"add_rule\",\"port\":\"http; flush ruleset\"}"), "/change/port", "0 to"},
        {CHANGE("{\"action\":\"add_rule\",\"source\":\"somewhere\"}"), "/change/source", "10.0.0.0/8"},
        {CHANGE("{\"action\":\"add_rule\",\"verdict\":\"allow\"}"), "/change/verdict", "accept"},
        {CHANGE("{\"action\":\"add_rule\",\"protocol\":\"tcpp\"}"), "/change/protocol", "tcp"},
        {CHANGE("{\"action\":\"add_rule\",\"with\":\"accept\"}"), "/change/with", "takes no"},
        {CHANGE("{\"action\":\"add_rule\",\"rule\":\"accept; flush ruleset\"}"), "/change/rule", "one rule"},
        {CHANGE("{\"action\":\"remove_rule\"}"), "/change", "which rule"},
        {CHANGE("{\"action\":\"move_rule\",\"handle\":4}"), "/change", "place"},
        {CHANGE("{\"action\":\"replace_rule\",\"handle\":4}"), "/change", "with"},
        {"{\"type\":\"security\",\"target\":\"fw\",\"security_scan\":1,\"change\":{\"action\":\"add_rule\"}}",
         "/security_scan", "true or false"},
        {"{\"type\":\"security\",\"target\":\"fw\",\"fragments\":[\"include \\\"/etc/shadow\\\"\"]}", "/files",
         "include"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_plan p;
        struct tw_err err = {0};

        cr_expect_eq(plan(a, rows[i].body, &p, &err), -EINVAL, "%s", rows[i].body);
        cr_expect_str_eq(err.pointer, rows[i].pointer, "%s: %s", rows[i].body, err.pointer);
        cr_expect(strstr(err.text, rows[i].word), "%s: %s", rows[i].body, err.text);
    }
}

Test(change_security, a_whole_file_takes_the_place_of_todays)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan p;
    struct tw_err err = {0};

    cr_assert_eq(plan(a,
                      "{\"type\":\"security\",\"target\":\"fw\",\"fragments\":"
                      "[\"include \\\"/etc/nftables.d/a.nft\\\"\\ntable inet g {}\"]}",
                      &p, &err),
                 0, "%s", err.text);
    cr_assert_eq(p.steps.count, 1);
    cr_expect_eq(p.steps.items[0].kind, TW_STEP_FILE);
    cr_expect_str_eq(p.steps.items[0].path, "/etc/nftables.conf");
}
