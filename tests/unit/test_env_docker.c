/* Declarations of containers and Compose projects, and what counts as a change of one. */
#include "tw/env.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char state[] = "/tmp/twin-env-XXXXXX";
static struct tw_arena *arena;

static void open_state(void)
{
    arena = tw_arena_new();
    cr_assert(mkdtemp(state) != NULL);
}

static void close_state(void)
{
    (void)tw_remove_tree(state, NULL);
    tw_arena_free(arena);
}

TestSuite(env_docker, .init = open_state, .fini = close_state);

Test(env_docker, a_project_has_its_services_as_targets)
{
    struct tw_target shop = {
        .environment = "live", .name = "shop", .type = "docker", .project = "shop"};
    struct tw_target one = {
        .environment = "live", .name = "one", .type = "docker", .container = "c1"};
    struct tw_env_list list = {0};
    struct tw_target found;
    struct tw_err err = {0};

    cr_assert(tw_env_add(state, &shop, &err) == 0, "%s", err.text);
    cr_assert(tw_env_add(state, &one, &err) == 0, "%s", err.text);
    cr_assert(tw_env_load(arena, state, &list, &err) == 0, "%s", err.text);
    cr_assert(tw_env_find(&list, NULL, "shop/web", &found, &err) == 0, "%s", err.text);
    cr_expect_str_eq(found.name, "shop/web");
    cr_expect_str_eq(found.project, "shop");
    cr_assert(tw_env_find(&list, "live", "shop", &found, &err) == 0, "%s", err.text);
    cr_expect_str_eq(found.name, "shop");
    cr_expect(tw_env_find(&list, NULL, "one/web", &found, &err) == -ENOENT);
    cr_expect(tw_env_find(&list, NULL, "shop/", &found, &err) == -ENOENT);
    cr_expect(tw_env_find(&list, NULL, "shopper", &found, &err) == -ENOENT);
}

Test(env_docker, a_declaration_says_which_containers_and_nothing_of_this_host)
{
    static const struct {
        char name[16], project[8], container[8], data_dir[8];
        bool fine;
    } rows[] = {{"a", "p", "", "", true},      {"a", "", "c", "", true},
                {"a/b", "", "c", "", true},    {"a", "", "", "", false},
                {"a", "p", "c", "", false},    {"a/b", "p", "", "", false},
                {"a", "p", "", "/data", false}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_target t = {.name = rows[i].name,
                              .type = "docker",
                              .project = *rows[i].project ? rows[i].project : NULL,
                              .container = *rows[i].container ? rows[i].container : NULL,
                              .data_dir = *rows[i].data_dir ? rows[i].data_dir : NULL};
        struct tw_err err = {0};
        int r = tw_env_check(&t, &err);

        cr_expect(r == (rows[i].fine ? 0 : -EINVAL), "row %zu: %s", i, err.text);
        cr_expect(r == 0 || *err.text, "row %zu", i);
    }
}

static json_t *snapshot_of(int64_t memory_bytes, double used)
{
    struct tw_container c = {.name = "shop_web_1",
                             .memory_bytes = memory_bytes,
                             .memory_used_bytes = used,
                             .status = "running"};
    struct tw_snapshot s;

    tw_snapshot_init(&s);
    TW_PUSH(arena, &s.containers, c);
    return tw_snapshot_to_json(&s);
}

Test(env_docker, another_limit_is_drift_and_more_use_is_none)
{
    json_auto_t *before = snapshot_of(64 << 20, 1e6), *busy = snapshot_of(64 << 20, 2e6);
    json_auto_t *larger = snapshot_of(128 << 20, 1e6);
    json_auto_t *none = tw_env_drift(before, busy), *drift = tw_env_drift(before, larger);

    cr_expect(json_array_size(none) == 0);
    cr_assert(json_array_size(drift) == 1);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(drift, 0), "name")),
                     "shop_web_1");
}

Test(env_docker, a_container_is_read_as_it_was_written)
{
    struct tw_container c = {.name = "shop_web_1",
                             .image = "web:1",
                             .cpus = 0.5,
                             .stop_grace_s = 4,
                             .restarts = 2,
                             .exit_status = -1};
    struct tw_named name = {"MODE", "live"};
    struct tw_mount mount = {"volume", "data", NULL, "/data", true};
    struct tw_snapshot s, back;
    json_auto_t *json = NULL, *again = NULL;

    TW_PUSH(arena, &c.environment, name);
    TW_PUSH(arena, &c.mounts, mount);
    tw_snapshot_init(&s);
    TW_PUSH(arena, &s.containers, c);
    json = tw_snapshot_to_json(&s);
    tw_snapshot_from_json(arena, json, &back);
    again = tw_snapshot_to_json(&back);
    cr_expect(json_equal(json, again));
    cr_assert(back.containers.count == 1);
    cr_expect(back.containers.items[0].cpus == 0.5 &&
              back.containers.items[0].restarts == 2);
    cr_expect_str_eq(back.containers.items[0].environment.items[0].value, "live");
}
