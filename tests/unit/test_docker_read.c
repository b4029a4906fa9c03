/* What is read of a container: an answer recorded from Engine 20.10, and answers that lack things. */
#include "tw/docker.h"
#include "tw/spec.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>

static struct tw_arena *arena;
static json_t *json;

static void open_recorded(void)
{
    tw_auto_free char *text = NULL;
    size_t len;

    arena = tw_arena_new();
    cr_assert(tw_read_file(AT_FDCWD, "tests/data/docker/engine-20.10/inspect.json",
                           1 << 20, &text, &len, NULL) == 0);
    cr_assert(tw_json_parse(text, len, &json, NULL) == 0);
}

static void close_recorded(void)
{
    json_decref(json);
    tw_arena_free(arena);
}

TestSuite(docker_read, .init = open_recorded, .fini = close_recorded);

static struct tw_docker_container read_it(void)
{
    struct tw_docker_container c;
    struct tw_err err = {0};

    cr_assert(tw_docker_container_read(arena, json, &c, &err) == 0, "%s", err.text);
    return c;
}

Test(docker_read, an_inspection_tells_identity_command_and_limits)
{
    struct tw_docker_container c = read_it();

    cr_expect_str_eq(c.name, "shop_web_1");
    cr_expect_str_eq(c.project, "shop");
    cr_expect_str_eq(c.service, "web");
    cr_expect_str_eq(c.number, "1");
    cr_expect_str_eq(c.image, "bb:1");
    cr_expect(tw_starts_with(c.image_id, "sha256:"));
    cr_expect_str_eq(c.status, "running");
    cr_expect(c.health != NULL && c.pid > 0 && c.exit_status == -1 && c.restarts == 0);
    cr_assert(c.argv.count == 3);
    cr_expect_str_eq(c.argv.items[0], "sh");
    cr_expect(c.memory_bytes == 64 << 20 && c.pids == 50);
    cr_expect(c.cpus == 0.5 && c.stop_grace_s == 4);
    cr_expect_str_eq(c.stop_signal, "SIGINT");
    cr_expect_str_eq(c.restart_policy, "on-failure");
    cr_expect(c.restart_max == 3);
    cr_expect(c.health_interval_s == 1 && isnan(c.health_timeout_s));
    cr_expect(c.health_test.count == 2);
}

Test(docker_read, an_inspection_tells_mounts_networks_and_ports)
{
    struct tw_docker_container c = read_it();
    bool volume = false, bind = false, tmpfs = false;

    for (size_t i = 0; i < c.mounts.count; i++) {
        const struct tw_docker_mount *m = &c.mounts.items[i];

        volume |= tw_streq(m->type, "volume") && tw_streq(m->name, "shop_data") &&
                  tw_streq(m->destination, "/data") && !m->writable;
        bind |= tw_streq(m->type, "bind") && tw_streq(m->source, "/etc/hostname");
        tmpfs |= tw_streq(m->type, "tmpfs") && tw_streq(m->destination, "/scratch");
    }
    cr_expect(volume && bind && tmpfs);
    cr_assert(c.networks.count == 1);
    cr_expect_str_eq(c.networks.items[0].network, "shop_default");
    cr_expect(c.networks.items[0].address != NULL);
    cr_expect(c.networks.items[0].aliases.count > 0);
    cr_assert(c.ports.count >= 1);
    cr_expect(c.ports.items[0].port == 80 && c.ports.items[0].host_port == 8080);
}

Test(docker_read, what_a_clone_must_not_be_given_is_named)
{
    static const char *const expected[] = {"'/etc/hostname' of the host", "NET_ADMIN'",
                                           "'seccomp=unconfined'"};
    struct tw_docker_container c = read_it();
    struct tw_docker_words words = {0};

    tw_docker_container_dangers(arena, &c, &words);
    cr_expect(words.list.count == TW_COUNT_OF(expected));
    for (size_t k = 0; k < TW_COUNT_OF(expected); k++) {
        bool found = false;

        for (size_t i = 0; i < words.list.count; i++)
            found |= strstr(words.list.items[i], expected[k]) != NULL;
        cr_expect(found, "%s", expected[k]);
    }
}

/* Each field taken away, and given another type: never a crash, and only what identifies is needed. */
static void maim(json_t *object, json_t *whole)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(object, next, key, value)
    {
        static const char *const others[] = {"null", "[]",     "{}", "\"x\"",
                                             "[{}]", "[null]", "-1"};
        json_t *kept = json_incref(value);
        tw_auto_free char *name = strdup(key);

        for (size_t i = 0; i < TW_COUNT_OF(others); i++) {
            struct tw_docker_container c;
            struct tw_docker_words words = {0};

            json_object_set_new(object, name,
                                json_loads(others[i], JSON_DECODE_ANY, NULL));
            if (tw_docker_container_read(arena, whole, &c, NULL) == 0)
                tw_docker_container_dangers(arena, &c, &words);
        }
        json_object_set_new(object, name, kept);
        if (json_is_object(kept))
            maim(kept, whole);
    }
}

Test(docker_read, an_inspection_with_any_field_of_another_type_is_survived)
{
    maim(json, json);
}

Test(docker_read, without_limits_there_are_none)
{
    static const char text[] = "{\"Id\":\"a\",\"Name\":\"/b\",\"Image\":\"sha256:c\","
                               "\"State\":{\"Status\":\"exited\",\"ExitCode\":137}}";
    struct tw_docker_container c;

    json_decref(json);
    cr_assert(tw_json_parse(text, sizeof(text) - 1, &json, NULL) == 0);
    c = read_it();
    cr_expect(isinf(c.cpus) && c.memory_bytes == 0 && c.exit_status == 137);
    cr_expect(c.restarts == -1 && isnan(c.stop_grace_s) && !c.health && !c.project);
}

Test(docker_read, statistics_are_read_and_absent_ones_unknown)
{
    tw_auto_free char *text = NULL;
    struct tw_docker_stats s;
    size_t len;

    json_decref(json);
    cr_assert(tw_read_file(AT_FDCWD, "tests/data/docker/engine-20.10/stats.json", 1 << 20,
                           &text, &len, NULL) == 0);
    cr_assert(tw_json_parse(text, len, &json, NULL) == 0);
    cr_assert(tw_docker_stats_read(json, &s, NULL) == 0);
    cr_expect(fabs(s.cpu_s - 0.024194118) < 1e-12);
    cr_expect(s.memory_bytes == 729088 && s.memory_max_bytes == 2719744);
    cr_expect(s.pids == 1 && s.throttled_s == 0);
    json_object_del(json, "memory_stats");
    json_object_del(json, "networks");
    cr_assert(tw_docker_stats_read(json, &s, NULL) == 0);
    cr_expect(isnan(s.memory_bytes) && isnan(s.sent_bytes));
    json_object_del(json, "cpu_stats");
    cr_expect(tw_docker_stats_read(json, &s, NULL) == -EPROTO);
}
