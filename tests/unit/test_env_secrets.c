/* Passwords of connection strings: in a file of their owner alone. */
#include "tw/env.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *text_of(const char *dir, const char *name)
{
    tw_auto_free char *path = tw_strf("%s/%s", dir, name);
    char *text = NULL;

    (void)tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL);
    return text;
}

static const char *dsn_of(struct tw_arena *a, const char *dir, const char *name)
{
    struct tw_env_list list;
    struct tw_target t;

    cr_assert_eq(tw_env_load(a, dir, &list, NULL), 0);
    cr_assert_eq(tw_env_find(&list, NULL, name, &t, NULL), 0);
    return t.dsn;
}

Test(env_secrets, passwords_stand_in_a_file_of_the_owner_and_come_back_whole)
{
    static const char *const forms[] = {"host=db.example user=app password=Geheim99 dbname=shop",
                                        "postgresql://app:Geheim99@db.example:5432/shop",
                                        "host=/run/postgresql dbname=shop"};
    tw_auto(tw_arena) *a = tw_arena_new();
    char dir[] = "/tmp/twin-secrets-XXXXXX";

    cr_assert(mkdtemp(dir));
    for (size_t i = 0; i < TW_COUNT_OF(forms); i++) {
        struct tw_target t = {.name = tw_arena_printf(a, "pg%zu", i),
                              .environment = "default",
                              .type = "postgresql",
                              .data = TW_DATA_CLONE,
                              .dsn = forms[i]};
        struct tw_err err = {0};

        cr_assert_eq(tw_env_add(dir, &t, &err), 0, "%s", err.text);
    }
    for (size_t i = 0; i < TW_COUNT_OF(forms); i++)
        cr_expect_str_eq(dsn_of(a, dir, tw_arena_printf(a, "pg%zu", i)), forms[i]);
    {
        tw_auto_free char *open_text = text_of(dir, "environments.json");
        tw_auto_free char *kept = text_of(dir, "environments.secrets.json");
        tw_auto_free char *path = tw_strf("%s/environments.secrets.json", dir);
        struct stat st;

        cr_expect(open_text && !strstr(open_text, "Geheim99"), "%s", open_text);
        cr_expect(kept && strstr(kept, "Geheim99") && !strstr(kept, "/run/postgresql"));
        cr_assert_eq(stat(path, &st), 0);
        cr_expect_eq(st.st_mode & 0777, 0600);
        /* another declaration under the same name: the password is not given to it */
        cr_assert_eq(tw_write_file(path, "{\"default/pg0\": \"host=elsewhere password=x\"}", 44, 0600, NULL), 0);
        cr_expect_null(strstr(dsn_of(a, dir, "pg0"), "elsewhere"));
    }
    (void)tw_remove_tree(dir, NULL);
}
