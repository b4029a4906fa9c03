#include "tw/store.h"

#include <criterion/criterion.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/twin-store-XXXXXX";

static void make_dir(void)
{
    cr_assert(mkdtemp(dir) != NULL);
}

static void drop_dir(void)
{
    (void)tw_remove_tree(dir, NULL);
}

TestSuite(store_simulation, .init = make_dir, .fini = drop_dir);

static struct tw_store *open_store(void)
{
    struct tw_store *s = NULL;
    struct tw_err err = {0};

    cr_assert(tw_store_open(dir, &s, &err) == 0, "%s", err.text);
    return s;
}

static void put(struct tw_store *s, const char *id, const char *target,
                int64_t created_ns)
{
    tw_auto(tw_simulation) *sim = tw_simulation_new();
    struct tw_err err = {0};

    memcpy(sim->id, id, TW_ID_LEN + 1);
    sim->status = TW_SUCCESS;
    sim->has_impact = true;
    sim->impact.risk_score = 12;
    sim->decision.verdict = TW_REVIEW;
    sim->request.type = "config_change";
    sim->request.target = target;
    TW_PUSH(sim->arena, &sim->request.settings,
            (struct tw_setting_change){.name = "primary_conninfo",
                                       .value = "host=a password=geheim"});
    sim->created_wall_ns = created_ns;
    cr_assert(tw_store_put(s, sim, &err) == 0, "%s", err.text);
}

#define FIRST  "0aaaaaaaaa0000000000000000"
#define SECOND "0aaaaaaaab0000000000000000"

Test(store_simulation, a_body_comes_back_by_the_beginning_of_its_id)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto(tw_simulation) *back = NULL;
    struct tw_store *s = open_store();
    const char *json = NULL;

    put(s, FIRST, "pg", 5);
    put(s, SECOND, "pg", 6);
    cr_assert(tw_store_get(s, a, "0aaaaaaaab", &json, NULL) == 0);
    cr_assert(tw_simulation_from_json(json, &back, NULL) == 0);
    cr_expect_str_eq(back->id, SECOND);
    tw_store_close(s);
}

Test(store_simulation, it_is_there_after_closing_and_opening)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = open_store();
    const char *json = NULL;

    put(s, FIRST, "pg", 5);
    tw_store_close(s);
    s = open_store();
    cr_expect(tw_store_get(s, a, FIRST, &json, NULL) == 0);
    tw_store_close(s);
}

Test(store_simulation, an_unknown_id_names_the_nearest)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = open_store();
    struct tw_err err = {0};
    const char *json;

    cr_expect(tw_store_get(s, a, "x", &json, &err) == -ENOENT);
    cr_expect(strstr(err.text, "none has been run yet"), "%s", err.text);
    put(s, FIRST, "pg", 5);
    cr_expect(tw_store_get(s, a, "0aaaaaaaaa000000000000000x", &json, &err) == -ENOENT);
    cr_expect(strstr(err.text, "the nearest one is '" FIRST "'"), "%s", err.text);
    cr_expect(tw_store_get(s, a, "", &json, &err) == -ENOENT);
    tw_store_close(s);
}

Test(store_simulation, a_beginning_of_several_ids_is_refused)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = open_store();
    struct tw_err err = {0};
    const char *json;

    put(s, FIRST, "pg", 5);
    put(s, SECOND, "pg", 6);
    cr_expect(tw_store_get(s, a, "0aaa", &json, &err) == -EINVAL);
    cr_expect(strstr(err.text, FIRST) && strstr(err.text, SECOND), "%s", err.text);
    tw_store_close(s);
}

Test(store_simulation, lists_are_newest_first_and_by_target)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = open_store();
    struct tw_store_rows rows;

    put(s, FIRST, "one", 5);
    put(s, SECOND, "two", 6);
    cr_assert(tw_store_list(s, a, NULL, 0, &rows, NULL) == 0);
    cr_assert(rows.list.count == 2);
    cr_expect_str_eq(rows.list.items[0].id, SECOND);
    cr_expect_str_eq(rows.list.items[0].decision, "review");
    cr_expect(rows.list.items[0].risk_score == 12 &&
              rows.list.items[0].created_wall_ns == 6);
    cr_assert(tw_store_list(s, a, "one", 10, &rows, NULL) == 0);
    cr_assert(rows.list.count == 1);
    cr_expect_str_eq(rows.list.items[0].id, FIRST);
    cr_assert(tw_store_list(s, a, NULL, 1, &rows, NULL) == 0);
    cr_expect(rows.list.count == 1);
    tw_store_close(s);
}

Test(store_simulation, putting_again_replaces_and_removing_removes)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = open_store();
    struct tw_store_rows rows;

    put(s, FIRST, "one", 5);
    put(s, FIRST, "two", 9);
    cr_assert(tw_store_list(s, a, NULL, 0, &rows, NULL) == 0);
    cr_assert(rows.list.count == 1);
    cr_expect_str_eq(rows.list.items[0].target, "two");
    cr_expect(rows.list.items[0].created_wall_ns == 5);
    cr_expect(tw_store_remove(s, FIRST, NULL) == 0);
    cr_expect(tw_store_remove(s, FIRST, NULL) == -ENOENT);
    tw_store_close(s);
}

Test(store_simulation, no_secret_reaches_the_disk)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = open_store();
    struct tw_store_rows rows;
    const char *json;

    put(s, FIRST, "one", 5);
    cr_assert(tw_store_get(s, a, FIRST, &json, NULL) == 0);
    cr_expect(!strstr(json, "geheim"));
    cr_assert(tw_store_list(s, a, NULL, 0, &rows, NULL) == 0);
    cr_expect_str_eq(rows.list.items[0].summary,
                     "primary_conninfo = host=a password=[redacted]");
    tw_store_close(s);
}

Test(store_simulation, the_file_is_for_its_owner_only)
{
    tw_auto_free char *path = tw_strf("%s/twin.db", dir);
    struct tw_store *s = open_store();
    struct stat st;

    cr_assert(stat(path, &st) == 0);
    cr_expect((st.st_mode & 0777) == 0600);
    tw_store_close(s);
}

Test(store_simulation, a_newer_schema_is_refused)
{
    tw_auto_free char *path = tw_strf("%s/twin.db", dir);
    struct tw_store *s = open_store();
    struct tw_err err = {0};
    sqlite3 *db;

    tw_store_close(s);
    cr_assert(sqlite3_open(path, &db) == SQLITE_OK);
    cr_assert(sqlite3_exec(db, "INSERT INTO migration VALUES (99, '')", NULL, NULL,
                           NULL) == SQLITE_OK);
    sqlite3_close(db);
    cr_expect(tw_store_open(dir, &s, &err) == -EPROTO);
    cr_expect(strstr(err.text, "newer twin"), "%s", err.text);
}

Test(store_simulation, a_file_that_is_no_database_is_an_error)
{
    tw_auto_free char *path = tw_strf("%s/twin.db", dir);
    struct tw_store *s = NULL;
    struct tw_err err = {0};
    char text[2048];

    memset(text, 'x', sizeof text);
    cr_assert(tw_write_file(path, text, sizeof text, 0600, NULL) == 0);
    cr_expect(tw_store_open(dir, &s, &err) == -EINVAL);
    cr_expect(strstr(err.text, "twin.db"), "%s", err.text);
}
