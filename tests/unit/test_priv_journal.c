/* What is written down is undone: by close, by the next start, and only what is ours. */
#include "tw/priv.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char state[] = "/tmp/twin-journal-XXXXXX";
static char id[TW_ID_LEN + 1];

static void set_up(void)
{
    cr_assert(mkdtemp(state));
    tw_id_make(id);
}

static void tear_down(void)
{
    cr_expect_eq(tw_remove_tree(state, NULL), 0);
}
TestSuite(priv_journal, .init = set_up, .fini = tear_down);

static struct tw_priv *open_priv(void)
{
    struct tw_priv *p;
    struct tw_err err = {0};

    cr_assert_eq(tw_priv_open(state, id, &p, &err), 0, "%s", err.text);
    return p;
}

static bool exists(const char *relative)
{
    tw_auto_free char *path = tw_strf("%s/%s", state, relative);

    return access(path, F_OK) == 0;
}

static void make_tree(const char *relative)
{
    tw_auto_free char *path = tw_strf("%s/%s/deep/er", state, relative);

    cr_assert_eq(tw_make_dirs(path, 0755, NULL), 0);
}

static void write_journal(const char *text)
{
    tw_auto_free char *dir = tw_strf("%s/run", state);
    tw_auto_free char *path = tw_strf("%s/%s.journal", dir, id);

    cr_assert_eq(tw_make_dirs(dir, 0700, NULL), 0);
    cr_assert_eq(tw_write_file(path, text, strlen(text), 0600, NULL), 0);
}

static int reap(int *removed, struct tw_err *err)
{
    return tw_priv_reap(state, removed, err);
}

Test(priv_journal, close_undoes_what_is_not_settled)
{
    struct tw_priv *p = open_priv();
    tw_auto_free char *kept = tw_strf("kept-%s", id), *gone = tw_strf("gone-%s", id);
    int64_t first, second;

    cr_assert_eq(tw_priv_intend(p, TW_INTENT_TREE, kept, &first, NULL), 0);
    cr_assert_eq(tw_priv_intend(p, TW_INTENT_TREE, gone, &second, NULL), 0);
    make_tree(kept);
    make_tree(gone);
    tw_priv_settled(p, first);
    tw_priv_close(p);
    cr_expect(exists(kept));
    cr_expect_not(exists(gone));
    cr_expect_eq(access(state, F_OK), 0);
}

Test(priv_journal, the_next_start_undoes_what_a_killed_one_left)
{
    tw_auto_free char *tree = tw_strf("tree-%s", id), *file = tw_strf("file-%s", id);
    tw_auto_free char *path = tw_strf("%s/%s", state, file);
    tw_auto_free char *journal = tw_strf("run/%s.journal", id);
    int64_t token;
    int status, removed = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct tw_priv *p = open_priv();

        (void)tw_priv_intend(p, TW_INTENT_TREE, tree, &token, NULL);
        make_tree(tree);
        (void)tw_priv_intend(p, TW_INTENT_FILE, file, &token, NULL);
        (void)tw_write_file(path, "x", 1, 0600, NULL);
        (void)kill(getpid(), SIGKILL);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(exists(tree) && exists(file) && exists(journal));
    cr_assert_eq(reap(&removed, NULL), 0);
    cr_expect_eq(removed, 2);
    cr_expect_not(exists(tree) || exists(file) || exists(journal));
    cr_assert_eq(reap(&removed, NULL), 0);
    cr_expect_eq(removed, 0);
}

Test(priv_journal, the_journal_of_a_living_run_is_left_alone)
{
    tw_auto_free char *tree = tw_strf("tree-%s", id);
    int ready[2], removed = 0, status;
    int64_t token;
    pid_t pid;
    char c;

    cr_assert_eq(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        struct tw_priv *p = open_priv();

        (void)tw_priv_intend(p, TW_INTENT_TREE, tree, &token, NULL);
        make_tree(tree);
        (void)!write(ready[1], "", 1);
        (void)pause();
    }
    cr_assert_eq(read(ready[0], &c, 1), 1);
    cr_assert_eq(reap(&removed, NULL), 0);
    cr_expect_eq(removed, 0);
    cr_expect(exists(tree));
    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(reap(&removed, NULL), 0);
    cr_expect_eq(removed, 1);
    cr_expect_not(exists(tree));
}

Test(priv_journal, reaping_does_not_drop_the_lock_of_our_own)
{
    struct tw_priv *p = open_priv();
    tw_auto_free char *tree = tw_strf("tree-%s", id);
    int removed = 0, status;
    int64_t token;
    pid_t pid;

    cr_assert_eq(tw_priv_intend(p, TW_INTENT_TREE, tree, &token, NULL), 0);
    make_tree(tree);
    cr_assert_eq(reap(&removed, NULL), 0);
    pid = fork();
    if (pid == 0)
        _exit(reap(&removed, NULL) == 0 && removed == 0 && exists(tree) ? 0 : 1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    tw_priv_close(p);
}

Test(priv_journal, one_id_is_open_once)
{
    struct tw_priv *p = open_priv(), *again;
    struct tw_err err = {0};

    cr_expect_eq(tw_priv_open(state, id, &again, &err), -EBUSY);
    cr_expect(strstr(err.text, id), "%s", err.text);
    tw_priv_close(p);
}

Test(priv_journal, a_line_cut_by_death_is_no_intent)
{
    tw_auto_free char *whole = tw_strf("whole-%s", id), *cut = tw_strf("cut-%s", id);
    tw_auto_free char *text = tw_strf("1 tree %s\n2 tree %s", whole, cut);
    int removed = 0;

    make_tree(whole);
    make_tree(cut);
    write_journal(text);
    cr_assert_eq(reap(&removed, NULL), 0);
    cr_expect_eq(removed, 1);
    cr_expect(exists(cut));
}

Test(priv_journal, what_does_not_carry_the_id_is_left_alone)
{
    static const char *const values[] = {"precious", "/etc/%s", "../%s", "%s/precious"};

    for (size_t i = 0; i < TW_COUNT_OF(values); i++) {
        tw_auto_free char *start =
            tw_strf("%.*s", (int)strcspn(values[i], "%"), values[i]);
        const char *rest = strstr(values[i], "%s");
        tw_auto_free char *line =
            tw_strf("1 tree %s%s%s\n", start, rest ? id : "", rest ? rest + 2 : "");
        struct tw_err err = {0};
        int removed = 0;

        make_tree("precious");
        write_journal(line);
        cr_expect_eq(reap(&removed, &err), -EPERM, "%s", line);
        cr_expect(strstr(err.text, "left alone"), "%s", err.text);
        cr_expect(exists("precious"));
    }
}

Test(priv_journal, an_id_is_checked)
{
    struct tw_priv *p;
    struct tw_err err = {0};

    cr_expect_eq(tw_priv_open(state, "../../etc", &p, &err), -EINVAL);
    cr_expect(strstr(err.text, "'../../etc'"), "%s", err.text);
}
