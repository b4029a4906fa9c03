/* Every character that counts as blank ends a word and is passed over: none may hold a reader up. */
#include "service/kind_haproxy/kind_haproxy_internal.h"
#include "service/kind_redis/kind_redis_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(service_blanks, lines_of_haproxy_may_end_as_those_of_windows_do)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct haproxy_conf conf;

    haproxy_conf_text(a, "/x.cfg", "global\r\n  maxconn\v10\f\r\n", &conf);
    cr_assert_eq(conf.list.count, 2);
    cr_expect_str_eq(haproxy_word(&conf.list.items[1], 1), "10");
    cr_expect(haproxy_word(&conf.list.items[1], 2) == NULL);
}

Test(service_blanks, words_of_redis_are_parted_by_any_blank)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    char path[] = "/tmp/twin-blanks-XXXXXX";
    static const char text[] = "maxmemory\f1gb\r\n\vport 1\r\n";
    struct redis_conf conf;
    tw_auto_close int fd = mkstemp(path);

    cr_assert(fd >= 0 && write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
    redis_conf_read(a, "", path, &conf);
    (void)unlink(path);
    cr_assert_eq(conf.lines.count, 2);
    cr_expect_str_eq(conf.lines.items[0].args.items[0], "1gb");
    cr_expect_str_eq(conf.lines.items[1].name, "port");
}
