#include "client/client_internal.h"

#include <criterion/criterion.h>
#include <string.h>

Test(client_cases, a_network_has_a_host)
{
    static const char *const rows[][2] = {{"10.0.0.0/8", "10.0.0.7"},
                                          {"10.1.2.3/32", "10.1.2.3"},
                                          {"192.168.0.0/255.255.0.0", "192.168.0.7"},
                                          {"127.0.0.1/32", "127.0.0.1"},
                                          {"0.0.0.0/0", "203.0.113.7"},
                                          {"all", "203.0.113.7"},
                                          {"::1/128", "::1"},
                                          {"::/0", "2001:db8::7"},
                                          {"fd00:1::/64", "fd00:1::7"},
                                          {"db.example.com", NULL},
                                          {NULL, NULL}};
    tw_auto(tw_arena) *a = tw_arena_new();

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *host = client_address_in(a, rows[i][0]);

        cr_assert(tw_streq(host, rows[i][1]), "%s gives %s",
                  rows[i][0] ? rows[i][0] : "NULL", host ? host : "NULL");
    }
}

static const struct tw_client *find(const struct tw_clients *cases, const char *user,
                                    const char *source, const char *origin)
{
    for (size_t i = 0; i < cases->list.count; i++) {
        const struct tw_client *c = &cases->list.items[i];

        if (tw_streq(c->user, user) && tw_streq(c->source, source) &&
            tw_streq(c->origin, origin))
            return c;
    }
    return NULL;
}

static void make(struct tw_arena *a, struct tw_snapshot *s)
{
    tw_snapshot_init(s);
    s->owner_name = "postgres";
    s->system_identifier = "7";
    TW_PUSH(a, &s->roles,
            (struct tw_role){.name = "postgres", .login = true, .superuser = true});
    TW_PUSH(a, &s->roles,
            (struct tw_role){.name = "app", .login = true, .connections_used = 3});
    TW_PUSH(a, &s->databases, "shop");
    TW_PUSH(a, &s->tables,
            (struct tw_table){.database = "shop", .schema = "public", .name = "Orders"});
    TW_PUSH(a, &s->statements,
            (struct tw_statement){.database = "shop",
                                  .user = "app",
                                  .text = "UPDATE t SET x = $1",
                                  .calls = 10});
    TW_PUSH(a, &s->statements,
            (struct tw_statement){
                .database = "shop", .user = "app", .text = "VACUUM t", .calls = 99});
    TW_PUSH(a, &s->hba,
            (struct tw_hba_rule){.type = "host",
                                 .databases = "all",
                                 .users = "all",
                                 .address = "10.0.0.0/8",
                                 .method = "scram-sha-256"});
    TW_PUSH(a, &s->hba,
            (struct tw_hba_rule){.type = "hostssl",
                                 .databases = "shop",
                                 .users = "app",
                                 .address = "192.168.1.0/24",
                                 .method = "md5"});
    TW_PUSH(a, &s->hba,
            (struct tw_hba_rule){
                .type = "local", .databases = "all", .users = "all", .method = "peer"});
}

Test(client_cases, rules_roles_and_strangers_of_a_cluster)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const struct tw_service_kind *kind = tw_service_kind_find("postgresql", NULL);
    const struct tw_client *c;
    struct tw_snapshot s;
    struct tw_plan plan = {0};
    struct tw_clients cases;

    make(a, &s);
    tw_client_cases(a, &s, kind, &plan, &cases);

    c = find(&cases, "app", "10.0.0.7", "configuration");
    cr_assert_not_null(c, "by the first rule");
    cr_assert_str_eq(c->send.items[0], "UPDATE t SET x = $1",
                     "what it sends, no maintenance");
    cr_assert_str_eq(c->send.items[1], "SELECT FROM \"Orders\" LIMIT 0");
    cr_assert_str_eq(c->password, tw_service_clone_password(a, &s, "app"));

    c = find(&cases, "app", "192.168.1.7", "configuration");
    cr_assert_not_null(c, "by the second rule");
    cr_assert_str_eq(c->sslmode, "require");

    c = find(&cases, "postgres", NULL, "configuration");
    cr_assert_not_null(c, "by the socket");
    cr_assert(tw_client_is_inside(c));

    c = find(&cases, "postgres", "203.0.113.7", CLIENT_STRANGER);
    cr_assert_not_null(c);
    cr_assert_null(c->password);
    cr_assert_not_null(find(&cases, "app", "203.0.113.7", CLIENT_OUTSIDER));
}

Test(client_cases, networks_that_a_change_names_are_tried_by_strangers)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const struct tw_service_kind *kind = tw_service_kind_find("postgresql", NULL);
    struct tw_snapshot s;
    struct tw_plan plan = {0};
    struct tw_clients cases;

    make(a, &s);
    TW_PUSH(a, &plan.steps,
            (struct tw_plan_step){
                .kind = TW_STEP_FILE,
                .path = "/pg_hba.conf",
                .value = "# 172.16.0.0/12\nhost all all 172.20.0.0/16 trust\n"});
    tw_client_cases(a, &s, kind, &plan, &cases);
    cr_assert_not_null(find(&cases, "postgres", "172.20.0.7", CLIENT_STRANGER));
    cr_assert_null(find(&cases, "postgres", "172.16.0.7", CLIENT_STRANGER), "a comment");
}

Test(client_cases, given_ones_come_first_and_are_never_dropped)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const struct tw_service_kind *kind = tw_service_kind_find("postgresql", NULL);
    struct tw_snapshot s;
    struct tw_plan plan = {0};
    struct tw_clients cases;

    tw_snapshot_init(&s);
    for (int i = 0; i < 50; i++)
        TW_PUSH(
            a, &plan.clients,
            (struct tw_client){.user = tw_arena_printf(a, "u%d", i), .origin = "given"});
    tw_client_cases(a, &s, kind, &plan, &cases);
    cr_assert_geq(cases.list.count, 50);
    cr_assert_str_eq(cases.list.items[0].user, "u0");
    cr_assert_str_eq(cases.list.items[0].protocol, "postgresql");
    cr_assert_str_eq(cases.list.items[49].user, "u49");
}
