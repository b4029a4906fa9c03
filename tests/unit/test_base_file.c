#include "tw/base.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/twin-file-XXXXXX";

static void make_dir(void)
{
    cr_assert(mkdtemp(dir) != NULL);
}

static void drop_dir(void)
{
    (void)tw_remove_tree(dir, NULL);
}

TestSuite(base_file, .init = make_dir, .fini = drop_dir);

Test(base_file, what_is_written_is_read_back_with_its_mode)
{
    tw_auto_free char *path = tw_strf("%s/f", dir), *text = NULL;
    struct stat st;
    size_t len = 0;

    cr_assert(tw_write_file(path, "a\0b", 3, 0640, NULL) == 0);
    cr_assert(tw_read_file(AT_FDCWD, path, 100, &text, &len, NULL) == 0);
    cr_expect(len == 3 && memcmp(text, "a\0b", 4) == 0);
    cr_expect(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
}

Test(base_file, writing_again_replaces_the_file_at_once)
{
    tw_auto_free char *path = tw_strf("%s/f", dir), *text = NULL;
    int old;

    cr_assert(tw_write_file(path, "old", 3, 0600, NULL) == 0);
    old = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(tw_write_file(path, "new", 3, 0600, NULL) == 0);
    char still[4] = {0};

    cr_expect(read(old, still, 3) == 3 && strcmp(still, "old") == 0);
    close(old);
    cr_assert(tw_read_file(AT_FDCWD, path, 100, &text, NULL, NULL) == 0);
    cr_expect_str_eq(text, "new");
}

Test(base_file, a_file_over_the_maximum_and_a_missing_one_are_errors)
{
    tw_auto_free char *path = tw_strf("%s/f", dir), *none = tw_strf("%s/none", dir);
    struct tw_err err = {0};
    char *text = NULL;

    cr_assert(tw_write_file(path, "12345", 5, 0600, NULL) == 0);
    cr_expect(tw_read_file(AT_FDCWD, path, 4, &text, NULL, &err) == -EFBIG);
    cr_expect(tw_read_file(AT_FDCWD, none, 4, &text, NULL, &err) == -ENOENT);
    cr_expect(strstr(err.text, none) && text == NULL);
}

Test(base_file, directories_are_made_with_their_parents_and_twice_is_fine)
{
    tw_auto_free char *path = tw_strf("%s/a/b/c", dir), *file = tw_strf("%s/f", dir);
    tw_auto_free char *below = tw_strf("%s/f/x", dir);
    struct stat st;

    cr_expect(tw_make_dirs(path, 0700, NULL) == 0 && tw_make_dirs(path, 0700, NULL) == 0);
    cr_expect(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
    cr_assert(tw_write_file(file, "", 0, 0600, NULL) == 0);
    cr_expect(tw_make_dirs(below, 0700, NULL) == -ENOTDIR);
}

Test(base_file, removing_a_tree_does_not_follow_links)
{
    tw_auto_free char *tree = tw_strf("%s/tree/deep", dir),
                      *top = tw_strf("%s/tree", dir);
    tw_auto_free char *kept = tw_strf("%s/kept", dir), *file = tw_strf("%s/kept/f", dir);
    tw_auto_free char *link = tw_strf("%s/tree/deep/link", dir);

    cr_assert(tw_make_dirs(tree, 0700, NULL) == 0 && tw_make_dirs(kept, 0700, NULL) == 0);
    cr_assert(tw_write_file(file, "x", 1, 0600, NULL) == 0 && symlink(kept, link) == 0);
    cr_expect(tw_remove_tree(top, NULL) == 0);
    cr_expect(access(top, F_OK) < 0 && access(file, F_OK) == 0);
    cr_expect(tw_remove_tree(top, NULL) == 0); /* a missing one is fine */
}
