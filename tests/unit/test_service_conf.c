#include "world/service/kind_postgresql/kind_pg_internal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *dir, const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", dir, name);

    cr_assert_eq(tw_write_file(path, text, strlen(text), 0644, NULL), 0);
}

Test(service_conf, includes_are_followed_and_the_last_line_holds)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    char dir[] = "/tmp/twin-conf-XXXXXX";
    struct kind_pg_conf conf;
    const struct kind_pg_entry *e;

    cr_assert(mkdtemp(dir));
    put(dir, "postgresql.conf",
        "# comment\nwork_mem = 4MB # four\nWork_Mem '8MB'\ninclude 'more.conf'\n"
        "include_if_exists 'absent.conf'\nport=5433\n");
    put(dir, "more.conf", "shared_buffers = '128MB'\nname = 'it''s'\n");
    put(dir, "postgresql.auto.conf", "port = '6000'\n");
    kind_pg_conf_read(a, dir, "/postgresql.conf", "", &conf);
    cr_expect_null(conf.problem);
    e = kind_pg_conf_last(&conf, "WORK_MEM");
    cr_expect_str_eq(e->value, "8MB");
    cr_expect_eq(e->line, 3);
    cr_expect_str_eq(kind_pg_conf_last(&conf, "shared_buffers")->file, "/more.conf");
    cr_expect_str_eq(kind_pg_conf_last(&conf, "name")->value, "it's");
    cr_expect_str_eq(kind_pg_conf_last(&conf, "port")->value, "6000");
    cr_expect_eq(conf.files.count, 3);
    (void)tw_remove_tree(dir, NULL);
}

Test(service_conf, an_include_that_is_missing_is_told)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    char dir[] = "/tmp/twin-conf-XXXXXX";
    struct kind_pg_conf conf;

    cr_assert(mkdtemp(dir));
    put(dir, "postgresql.conf", "include 'absent.conf'\n");
    kind_pg_conf_read(a, dir, "/postgresql.conf", NULL, &conf);
    cr_expect_not_null(conf.problem);
    (void)tw_remove_tree(dir, NULL);
}

static const char *true_for_archive(void *arg, const char *name)
{
    (void)arg;
    return tw_streq(name, "archive_command") ? "/bin/true" : NULL;
}

Test(service_conf, rewriting_keeps_every_line_where_it_was)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *text = "a = 1\narchive_command = 'cp %p /x' # out\nb = 2";

    cr_expect_str_eq(kind_pg_conf_rewrite(a, text, true_for_archive, NULL),
                     "a = 1\narchive_command = '/bin/true' # out\nb = 2");
}

Test(service_conf, setting_replaces_every_earlier_line_and_reset_removes)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect_str_eq(
        kind_pg_conf_set(a, "# auto\nwork_mem = '1MB'\nport = '5'\n", "work_mem", "it's"),
        "# auto\nport = '5'\nwork_mem = 'it''s'\n");
    cr_expect_str_eq(kind_pg_conf_set(a, "work_mem = '1MB'\n", "work_mem", NULL), "");
}
