/* What stands in the root of a native sandbox, and what is refused before anything is
 * made. */
#include "sandbox/native_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct tw_root_row *find(const struct native_rows *rows, const char *to)
{
    const struct tw_root_row *found = NULL;

    for (size_t i = 0; i < rows->list.count; i++)
        if (tw_streq(rows->list.items[i].to, to))
            found = &rows->list.items[i];
    return found;
}

static struct tw_sandbox_link one_link[] = {{.address = "10.213.0.2"}};
static const struct tw_sandbox_spec plain = {.name = "baseline",
                                             .uid = 26,
                                             .gid = 27,
                                             .user_name = "postgres",
                                             .hostname = "db1",
                                             .links = {one_link, 1},
                                             .shm_bytes = 1 << 20};

Test(sandbox_rows, etc_is_synthetic)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct native_rows rows;

    native_rows_make(a, &plain, true, &rows);
    cr_assert_null(find(&rows, "/etc"));
    cr_expect_eq(find(&rows, "/etc/passwd")->kind, TW_ROOT_TEXT);
    cr_expect(strstr(find(&rows, "/etc/passwd")->from, "postgres:x:26:27:"));
    cr_expect(strstr(find(&rows, "/etc/hosts")->from, "10.213.0.2 db1\n"));
    cr_expect_null(strstr(find(&rows, "/etc/resolv.conf")->from, "nameserver"));
}

Test(sandbox_rows, nothing_of_the_host_is_writable_but_devices)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct native_rows rows;

    native_rows_make(a, &plain, true, &rows);
    for (size_t i = 0; i < rows.list.count; i++) {
        const struct tw_root_row *row = &rows.list.items[i];

        if (row->kind == TW_ROOT_BIND && row->writable)
            cr_expect(tw_starts_with(row->to, "/dev/"), "%s", row->to);
    }
}

Test(sandbox_rows, a_name_to_bind_to_is_found_at_its_own_address)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *names[] = {"db.internal", "192.0.2.7", "localhost", "*"};
    struct tw_sandbox_spec spec = plain;
    struct native_rows rows;
    const char *hosts;

    spec.more_addresses.items = names;
    spec.more_addresses.count = TW_COUNT_OF(names);
    native_rows_make(a, &spec, false, &rows);
    hosts = find(&rows, "/etc/hosts")->from;
    cr_expect(strstr(hosts, "127.0.0.1 db.internal\n"), "%s", hosts);
    cr_expect_null(strstr(hosts, "192.0.2.7"));
    cr_expect_null(strchr(hosts, '*'));
}

Test(sandbox_rows, mounts_of_the_spec_come_last)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_sandbox_mount mounts[] = {{"/srv/clone/data", "/var/lib/data", true},
                                        {"/srv/clone/conf", "/etc/service", false}};
    struct tw_sandbox_spec spec = plain;
    struct native_rows rows;
    const struct tw_root_row *last;

    spec.mounts.items = mounts;
    spec.mounts.count = TW_COUNT_OF(mounts);
    native_rows_make(a, &spec, true, &rows);
    last = &rows.list.items[rows.list.count - 1];
    cr_expect_str_eq(last->to, "/etc/service");
    cr_expect_not(last->writable);
    cr_expect(last[-1].writable);
}

Test(sandbox_rows, a_bad_spec_is_refused_before_anything_is_made)
{
    struct tw_sandbox_mount climbing = {"/srv/x", "/data/../../etc", true};
    struct tw_sandbox_mount relative = {"srv/x", "/data", true};
    struct tw_sandbox_link elsewhere = {.address = "192.0.2.1"};
    struct tw_sandbox_spec specs[7];
    static const char *const words[] = {
        "'Base Line'", "root",     "'192.0.2.1'", "'/data/../../etc'",
        "'srv/x'",     "negative", "''"};

    for (size_t i = 0; i < TW_COUNT_OF(specs); i++)
        specs[i] = plain;
    specs[0].name = "Base Line";
    specs[1].uid = 0;
    specs[2].links.items = &elsewhere;
    specs[3].mounts.items = &climbing;
    specs[3].mounts.count = 1;
    specs[4].mounts.items = &relative;
    specs[4].mounts.count = 1;
    specs[5].memory_bytes = -1;
    specs[6].name = NULL;
    for (size_t i = 0; i < TW_COUNT_OF(specs); i++) {
        struct tw_sandbox *box = NULL;
        struct tw_err err = {0};

        cr_expect_eq(tw_sandbox_open(NULL, &specs[i], &box, &err), -EINVAL, "row %zu", i);
        cr_expect(strstr(err.text, words[i]), "row %zu: %s", i, err.text);
        cr_expect_null(box);
    }
}
