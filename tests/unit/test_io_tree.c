/* Copying a tree keeps what makes it the same tree. */
#include "tw/io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/twin-copy-XXXXXX";
static char *from, *to;

static void set_up(void)
{
    cr_assert(mkdtemp(dir));
    from = tw_strf("%s/from", dir);
    to = tw_strf("%s/to", dir);
    cr_assert_eq(tw_make_dirs(from, 0755, NULL), 0);
}

static void tear_down(void)
{
    cr_expect_eq(tw_remove_tree(dir, NULL), 0);
    free(from);
    free(to);
}
TestSuite(io_tree, .init = set_up, .fini = tear_down);

static char *in(const char *root, const char *name)
{
    return tw_strf("%s/%s", root, name);
}

static void put(const char *name, const char *text, unsigned mode)
{
    tw_auto_free char *path = in(from, name);

    cr_assert_eq(tw_write_file(path, text, strlen(text), mode, NULL), 0);
}

static int64_t copy(tw_copy_skip_fn *skip, void *arg)
{
    struct tw_err err = {0};
    int64_t bytes = -1;

    cr_assert_eq(
        tw_copy_tree(from, to, (unsigned)-1, (unsigned)-1, skip, arg, &bytes, &err), 0,
        "%s", err.text);
    return bytes;
}

static struct stat look(const char *root, const char *name)
{
    tw_auto_free char *path = in(root, name);
    struct stat st;

    cr_assert_eq(lstat(path, &st), 0, "%s", path);
    return st;
}

Test(io_tree, contents_modes_and_times_are_kept)
{
    struct timespec times[2] = {{1000000000, 5}, {1100000000, 7}};
    tw_auto_free char *sub = in(from, "sub"), *file = in(from, "sub/file");
    tw_auto_free char *copied = in(to, "sub/file"), *text = NULL;

    cr_assert_eq(mkdir(sub, 0750), 0);
    put("sub/file", "content", 0640);
    cr_assert_eq(utimensat(AT_FDCWD, file, times, 0), 0);
    cr_assert_eq(utimensat(AT_FDCWD, sub, times, 0), 0);
    (void)copy(NULL, NULL);

    cr_assert_eq(tw_read_file(AT_FDCWD, copied, 100, &text, NULL, NULL), 0);
    cr_expect_str_eq(text, "content");
    cr_expect_eq(look(to, "sub/file").st_mode & 07777, 0640);
    cr_expect_eq(look(to, "sub/file").st_mtim.tv_sec, 1100000000);
    cr_expect_eq(look(to, "sub/file").st_mtim.tv_nsec, 7);
    cr_expect_eq(look(to, "sub").st_mode & 07777, 0750);
    cr_expect_eq(look(to, "sub").st_mtim.tv_sec, 1100000000);
}

Test(io_tree, links_stay_links)
{
    tw_auto_free char *one = in(from, "one"), *two = in(from, "two"),
                      *soft = in(from, "soft");
    tw_auto_free char *copied = in(to, "soft");
    char target[64] = "";

    put("one", "x", 0600);
    cr_assert_eq(link(one, two), 0);
    cr_assert_eq(symlink("/nowhere/at all", soft), 0);
    (void)copy(NULL, NULL);
    cr_expect_eq(look(to, "one").st_ino, look(to, "two").st_ino);
    cr_expect_eq(look(to, "one").st_nlink, 2);
    cr_assert_gt(readlink(copied, target, sizeof target - 1), 0);
    cr_expect_str_eq(target, "/nowhere/at all");
}

Test(io_tree, holes_stay_holes_and_count_as_nothing)
{
    tw_auto_free char *path = in(from, "sparse");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int64_t bytes;

    cr_assert(fd >= 0);
    cr_assert_eq(ftruncate(fd, 64 << 20), 0);
    cr_assert_eq(pwrite(fd, "middle", 6, 32 << 20), 6);
    cr_assert_eq(close(fd), 0);
    bytes = copy(NULL, NULL);
    cr_expect_eq(look(to, "sparse").st_size, 64 << 20);
    cr_expect_lt((long)look(to, "sparse").st_blocks * 512, 1 << 20);
    cr_expect_lt(bytes, 1 << 20);
}

static bool skip_pid(void *arg, const char *relative)
{
    *(int *)arg += 1;
    return tw_streq(relative, "postmaster.pid") || tw_streq(relative, "pg_wal");
}

Test(io_tree, what_is_to_be_left_out_is_left_out)
{
    tw_auto_free char *wal = in(from, "pg_wal"), *pid = in(to, "postmaster.pid");
    tw_auto_free char *copied_wal = in(to, "pg_wal"), *kept = in(to, "base");
    int asked = 0;

    cr_assert_eq(mkdir(wal, 0700), 0);
    put("pg_wal/1", "x", 0600);
    put("postmaster.pid", "1", 0600);
    put("base", "x", 0600);
    (void)copy(skip_pid, &asked);
    cr_expect_eq(access(pid, F_OK), -1);
    cr_expect_eq(access(copied_wal, F_OK), -1);
    cr_expect_eq(access(kept, F_OK), 0);
    cr_expect_eq(asked, 3, "not asked about what lies below what is left out");
}

Test(io_tree, sockets_are_left_out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    tw_auto_free char *path = in(from, "socket"), *copied = in(to, "socket");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)copy(NULL, NULL);
    cr_expect_eq(access(copied, F_OK), -1);
    (void)close(fd);
}

Test(io_tree, a_missing_source_is_named)
{
    struct tw_err err = {0};
    int64_t bytes;

    cr_expect_eq(tw_copy_tree("/nowhere", to, 0, 0, NULL, NULL, &bytes, &err), -ENOENT);
    cr_expect(strstr(err.text, "'/nowhere'"), "%s", err.text);
}
