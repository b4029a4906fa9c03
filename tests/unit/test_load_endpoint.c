#include "load/load_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tw_arena *arena;

static void open_arena(void)
{
    arena = tw_arena_new();
}

static void free_arena(void)
{
    tw_arena_free(arena);
}

TestSuite(load_endpoint, .init = open_arena, .fini = free_arena);

Test(load_endpoint, all_that_is_said_is_read)
{
    struct load_endpoint e;
    struct tw_err err = {0};

    cr_assert(load_endpoint_parse(arena,
                                  "address=10.213.0.2 port=8443  device=eth1 "
                                  "source=10.213.0.10 tls=1 server_name=shop.example "
                                  "password='it\\'s a secret' streams=4 keepalive=0",
                                  &e, &err) == 0,
              "%s", err.text);
    cr_expect_str_eq(e.address, "10.213.0.2");
    cr_expect_eq(e.port, 8443);
    cr_expect_str_eq(e.device, "eth1");
    cr_expect_str_eq(e.source, "10.213.0.10");
    cr_expect(e.tls && !e.verify && e.resume);
    cr_expect_str_eq(e.server_name, "shop.example");
    cr_expect_str_eq(e.password, "it's a secret");
    cr_expect_eq(e.streams, 4);
    cr_expect_eq(e.keepalive, 0);
    cr_expect_null(e.host);
}

Test(load_endpoint, what_is_not_said_is_as_clients_do)
{
    struct load_endpoint e;

    cr_assert(load_endpoint_parse(arena, "address=/run/x.sock", &e, NULL) == 0);
    cr_expect_eq(e.keepalive, -1);
    cr_expect_eq(e.streams, 16);
    cr_expect(!e.tls && e.resume);
}

Test(load_endpoint, what_is_wrong_is_named)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"port=80", "needs an address"},
        {"address=::1", "needs a port"},
        {"address=a port=0", "1..65535"},
        {"address=a port=x", "'x'"},
        {"adress=a port=1", "did you mean 'address'"},
        {"address=a port=1 tls", "'tls'"},
        {"address=a port=1 tls=yes", "0..1"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct load_endpoint e;
        struct tw_err err = {0};

        cr_expect_eq(load_endpoint_parse(arena, rows[i].text, &e, &err), -EINVAL, "%s",
                     rows[i].text);
        cr_expect(strstr(err.text, rows[i].says), "%s: %s", rows[i].text, err.text);
    }
}
