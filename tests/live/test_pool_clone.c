/* Seeds and clones on this host's own pool. */
#include "tw/pool.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char state[] = "/tmp/twin-pool-XXXXXX";
static char id[TW_ID_LEN + 1];
static struct tw_priv *priv;
static struct tw_pool *pool;
static struct tw_err err;

static void set_up(void)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert(mkdtemp(state));
    tw_id_make(id);
    cr_assert_eq(tw_priv_open(state, id, &priv, &err), 0, "%s", err.text);
    cr_assert_eq(tw_pool_open(priv, &pool, &err), 0, "%s", err.text);
}

static void tear_down(void)
{
    tw_pool_close(pool);
    tw_priv_close(priv);
    cr_expect_eq(tw_remove_tree(state, &err), 0, "%s", err.text);
}
TestSuite(pool_clone, .init = set_up, .fini = tear_down);

static void write_in(const char *root, const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", root, name);

    cr_assert_eq(tw_write_file(path, text, strlen(text), 0644, &err), 0, "%s", err.text);
}

static void expect_in(const char *root, const char *name, const char *want)
{
    tw_auto_free char *path = tw_strf("%s/%s", root, name), *text = NULL;

    cr_assert_eq(tw_read_file(AT_FDCWD, path, 1000, &text, NULL, &err), 0, "%s",
                 err.text);
    cr_expect_str_eq(text, want);
}

static struct tw_seed *make_seed(const char *key, const char *text)
{
    struct tw_seed *seed;

    cr_assert_eq(tw_pool_seed_begin(pool, key, 1000, &seed, &err), 0, "%s", err.text);
    write_in(tw_seed_root(seed), "data", text);
    cr_assert_eq(tw_pool_seed_commit(seed, "{\"a\": 1}", &err), 0, "%s", err.text);
    return seed;
}

static struct tw_clone *make_clone(const struct tw_seed *seed, const char *name)
{
    struct tw_clone *clone;

    cr_assert_eq(tw_pool_clone(pool, seed, name, &clone, &err), 0, "%s", err.text);
    return clone;
}

static size_t entries_of(const char *folder)
{
    tw_auto_free char *path = tw_strf("%s/pool/%s", state, folder);
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    cr_assert(dir, "%s", path);
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.' && !tw_ends_with(entry->d_name, ".lock");
    (void)closedir(dir);
    return count;
}

Test(pool_clone, clones_change_neither_the_seed_nor_each_other)
{
    tw_auto(tw_seed) *seed = make_seed("shop", "seed");
    struct tw_clone *one = make_clone(seed, "baseline"),
                    *two = make_clone(seed, "candidate");

    write_in(tw_clone_root(one), "data", "one");
    write_in(tw_clone_root(two), "more", "two");
    expect_in(tw_clone_root(one), "data", "one");
    expect_in(tw_clone_root(two), "data", "seed");
    expect_in(tw_seed_root(seed), "data", "seed");
    cr_expect_eq(tw_pool_clone_remove(one, &err), 0, "%s", err.text);
    cr_expect_eq(tw_pool_clone_remove(two, &err), 0, "%s", err.text);
    cr_expect_eq(entries_of("clones"), 0);
}

Test(pool_clone, a_seed_is_found_again_with_its_meta)
{
    tw_auto(tw_seed) *seed = make_seed("shop", "seed"), *found = NULL;
    int64_t before = tw_wall_ns();

    cr_assert_eq(tw_pool_seed_find(pool, "shop", &found, &err), 0, "%s", err.text);
    cr_expect_str_eq(tw_seed_meta(found), "{\"a\": 1}");
    cr_expect_lt(before - tw_seed_taken_wall_ns(found), 60 * TW_SEC_NS);
    cr_expect_eq(tw_pool_seed_find(pool, "nope", &found, &err), -ENOENT);
    cr_expect(strstr(err.text, "'nope'"));
}

Test(pool_clone, a_new_seed_replaces_the_old_one_under_living_clones)
{
    tw_auto(tw_seed) *first = make_seed("shop", "first"), *second = NULL;
    struct tw_clone *old = make_clone(first, "old"), *fresh;

    second = make_seed("shop", "second");
    expect_in(tw_clone_root(old), "data", "first");
    fresh = make_clone(second, "fresh");
    expect_in(tw_clone_root(fresh), "data", "second");
    cr_expect_eq(entries_of("old"), 1, "put aside while a clone uses it");
    cr_expect_eq(entries_of("building"), 0);
    cr_expect_eq(tw_pool_clone_remove(old, &err), 0);
    cr_expect_eq(tw_pool_clone_remove(fresh, &err), 0);
}

Test(pool_clone, a_seed_may_be_replaced_often_while_clones_live)
{
    struct tw_clone *clones[3];
    static const char *const names[] = {"one", "two", "three"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++) {
        tw_auto(tw_seed) *seed = make_seed("shop", names[i]);

        clones[i] = make_clone(seed, names[i]);
    }
    for (size_t i = 0; i < TW_COUNT_OF(names); i++) {
        expect_in(tw_clone_root(clones[i]), "data", names[i]);
        cr_expect_eq(tw_pool_clone_remove(clones[i], &err), 0, "%s", err.text);
    }
    cr_expect_eq(entries_of("old"), 2);
}

/* What was put aside goes with the first pool that is opened after its users. */
Test(pool_clone, what_was_put_aside_goes_later)
{
    tw_auto(tw_seed) *first = make_seed("shop", "first"),
                     *second = make_seed("shop", "second");
    char other[TW_ID_LEN + 1];

    cr_expect_eq(entries_of("old"), 1);
    tw_seed_free(tw_take_ptr(&first));
    tw_pool_close(pool);
    tw_priv_close(priv);
    tw_seed_free(tw_take_ptr(&second));
    tw_id_make(other);
    cr_assert_eq(tw_priv_open(state, other, &priv, &err), 0, "%s", err.text);
    cr_assert_eq(tw_pool_open(priv, &pool, &err), 0, "%s", err.text);
    cr_expect_eq(entries_of("old"), 0);
}

Test(pool_clone, an_aborted_seed_leaves_nothing)
{
    struct tw_seed *seed, *found;

    cr_assert_eq(tw_pool_seed_begin(pool, "shop", 1000, &seed, &err), 0, "%s", err.text);
    write_in(tw_seed_root(seed), "data", "half");
    tw_seed_free(seed);
    cr_expect_eq(tw_pool_seed_find(pool, "shop", &found, &err), -ENOENT);
    cr_expect_eq(entries_of("building"), 0);
    cr_expect_eq(entries_of("seeds"), 0);
}

Test(pool_clone, a_seed_is_built_by_one_run_at_a_time)
{
    struct tw_seed *seed, *other;

    cr_assert_eq(tw_pool_seed_begin(pool, "shop", 1000, &seed, &err), 0, "%s", err.text);
    cr_expect_eq(tw_pool_seed_begin(pool, "shop", 1000, &other, &err), -EBUSY);
    cr_expect(strstr(err.text, "'shop'"), "%s", err.text);
    tw_seed_free(seed);
}

Test(pool_clone, what_does_not_fit_is_refused_with_the_bytes)
{
    struct tw_seed *seed;

    cr_expect_eq(tw_pool_seed_begin(pool, "shop", INT64_C(1) << 50, &seed, &err),
                 -ENOSPC);
    cr_expect(strstr(err.text, "1125899906842624 bytes"), "%s", err.text);
    cr_expect(strstr(err.text, "--state-dir"), "%s", err.text);
    cr_expect_gt(tw_pool_free_bytes(pool), 0);
}

Test(pool_clone, keys_are_no_paths)
{
    static const char *const keys[] = {"", "..", "a/b", "Shop", "a b"};
    struct tw_seed *seed;

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        cr_expect_eq(tw_pool_seed_begin(pool, keys[i], 0, &seed, &err), -EINVAL, "%s",
                     keys[i]);
}

Test(pool_clone, a_removed_seed_is_gone)
{
    tw_seed_free(make_seed("shop", "x"));
    cr_expect_eq(tw_pool_seed_remove(pool, "shop", &err), 0, "%s", err.text);
    cr_expect_eq(entries_of("seeds"), 0);
    cr_expect_eq(entries_of("building"), 0);
    cr_expect_eq(tw_pool_seed_remove(pool, "shop", &err), -ENOENT);
}

/* A directory of the seed can be renamed, as in any file system. */
Test(pool_clone, a_clone_behaves_as_one_file_system)
{
    struct tw_seed *seed;
    struct tw_clone *clone;
    tw_auto_free char *dir = NULL, *from = NULL, *to = NULL;

    cr_assert_eq(tw_pool_seed_begin(pool, "dirs", 1000, &seed, &err), 0);
    dir = tw_strf("%s/slot", tw_seed_root(seed));
    cr_assert_eq(mkdir(dir, 0700), 0);
    write_in(dir, "state", "x");
    cr_assert_eq(tw_pool_seed_commit(seed, "", &err), 0, "%s", err.text);
    clone = make_clone(seed, "c");
    from = tw_strf("%s/slot", tw_clone_root(clone));
    to = tw_strf("%s/slot.tmp", tw_clone_root(clone));
    cr_expect_eq(rename(from, to), 0, "errno %d", errno);
    expect_in(to, "state", "x");
    tw_seed_free(seed);
    cr_expect_eq(tw_pool_clone_remove(clone, &err), 0);
}

/* Written directly or not, it is one file system with one content, and it ends when asked to. */
Test(pool_clone, what_is_written_is_there_however_it_is_written)
{
    tw_auto(tw_seed) *seed = make_seed("shop", "before");
    struct tw_clone *clone = make_clone(seed, "c");

    write_in(tw_clone_root(clone), "buffered", "1");
    cr_assert_eq(tw_pool_disk(pool, TW_DISK_OWN, &err), 0, "%s", err.text);
    write_in(tw_clone_root(clone), "direct", "2");
    expect_in(tw_clone_root(clone), "buffered", "1");
    cr_assert_eq(tw_pool_disk(pool, TW_DISK_MEMORY, &err), 0, "%s", err.text);
    write_in(tw_clone_root(clone), "again", "3");
    cr_expect_geq(tw_pool_writes(pool), 0);
    cr_assert_eq(tw_pool_disk(pool, TW_DISK_SHARED, &err), 0, "%s", err.text);
    expect_in(tw_clone_root(clone), "direct", "2");
    expect_in(tw_clone_root(clone), "data", "before");
    cr_expect_eq(tw_pool_clone_remove(clone, &err), 0);
}

/* The second process joins the first one's loop device, and sees its seeds. */
Test(pool_clone, two_processes_share_one_pool)
{
    tw_auto(tw_seed) *seed = make_seed("shop", "shared");
    char other[TW_ID_LEN + 1];
    int status;
    pid_t pid;

    tw_id_make(other);
    pid = fork();
    if (pid == 0) {
        struct tw_priv *p;
        struct tw_pool *second;
        struct tw_seed *found;
        struct tw_clone *clone;
        tw_auto_free char *path = NULL, *text = NULL;

        if (tw_priv_open(state, other, &p, &err) < 0 ||
            tw_pool_open(p, &second, &err) < 0 ||
            tw_pool_seed_find(second, "shop", &found, &err) < 0 ||
            tw_pool_clone(second, found, "theirs", &clone, &err) < 0)
            _exit(1);
        path = tw_strf("%s/data", tw_clone_root(clone));
        if (tw_read_file(AT_FDCWD, path, 100, &text, NULL, NULL) < 0 ||
            !tw_streq(text, "shared"))
            _exit(2);
        tw_seed_free(found);
        tw_pool_close(second);
        tw_priv_close(p);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "status %x", (unsigned)status);
    cr_expect_eq(entries_of("clones"), 0);
    expect_in(tw_seed_root(seed), "data", "shared");
}

/* Mounts are this process's own: the host's namespace (that of our parent) has none of
 * them. */
Test(pool_clone, the_host_sees_no_mount_of_ours)
{
    tw_auto(tw_seed) *seed = make_seed("shop", "x");
    struct tw_clone *clone = make_clone(seed, "c");
    tw_auto_free char *path = tw_strf("/proc/%d/mountinfo", (int)getppid()), *text = NULL;

    cr_assert_eq(tw_read_file(AT_FDCWD, path, 1 << 24, &text, NULL, &err), 0, "%s",
                 err.text);
    cr_expect_null(strstr(text, state));
    cr_expect_eq(tw_pool_clone_remove(clone, &err), 0);
}
