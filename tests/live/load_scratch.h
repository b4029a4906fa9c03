/* A PostgreSQL of our own for the live tests of the rooms load and sample: made, started,
 * and gone again with its directory, whatever the test does. */
#ifndef TESTS_LOAD_SCRATCH_H
#define TESTS_LOAD_SCRATCH_H

#include "tw/load.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct scratch {
    char dir[64];
    char conninfo[160];
    char bin[64];
    int alive;    /* closed when the test ends, however it ends */
    pid_t keeper; /* then stops the server and removes the directory */
};

/* As the user postgres where we are root: the server refuses to run as root. */
static inline int scratch_run(const struct scratch *s, const char *command)
{
    tw_auto_free char *line = tw_strf("exec >>%s/out 2>&1; cd %s; PATH=%s:$PATH; %s",
                                      s->dir, s->dir, s->bin, command);
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (geteuid() == 0)
            (void)execlp("setpriv", "setpriv", "--reuid", "postgres", "--regid",
                         "postgres", "--clear-groups", "sh", "-c", line, NULL);
        else
            (void)execlp("sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static inline bool scratch_find(struct scratch *s)
{
    for (int version = 18; version >= 12; version--) {
        tw_auto_free char *path = tw_strf("/usr/lib/postgresql/%d/bin/postgres", version);

        if (access(path, X_OK) == 0) {
            (void)snprintf(s->bin, sizeof s->bin, "/usr/lib/postgresql/%d/bin", version);
            return true;
        }
    }
    return false;
}

static inline void scratch_sweep(const struct scratch *s)
{
    (void)scratch_run(s, "test ! -e pooler.pid || kill $(cat pooler.pid)");
    (void)scratch_run(s, "kill -CONT $(head -1 data/postmaster.pid)");
    (void)scratch_run(s, "pg_ctl -D data -m immediate -w stop");
    (void)tw_remove_tree(s->dir, NULL);
}

/* A test that fails or crashes never comes to its end: somebody else must clean up. */
static inline void scratch_keep(struct scratch *s)
{
    int ends[2];
    char byte;

    cr_assert(pipe2(ends, O_CLOEXEC) == 0);
    s->keeper = fork();
    cr_assert(s->keeper >= 0);
    if (s->keeper == 0) {
        (void)setsid();
        (void)close(ends[1]);
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        scratch_sweep(s);
        _exit(0);
    }
    (void)close(ends[0]);
    s->alive = ends[1];
}

static inline void scratch_open(struct scratch *s, const char *options)
{
    tw_auto_free char *start = NULL;
    struct passwd *user = getpwnam("postgres");

    *s = (struct scratch){.dir = "/tmp/twin-load-XXXXXX"};
    if (!scratch_find(s))
        cr_skip_test("needs the server programs of PostgreSQL");
    if (geteuid() == 0 && !user)
        cr_skip_test("needs the user postgres");
    cr_assert(mkdtemp(s->dir) != NULL);
    scratch_keep(s);
    if (geteuid() == 0)
        cr_assert(chown(s->dir, user->pw_uid, user->pw_gid) == 0);
    (void)snprintf(s->conninfo, sizeof s->conninfo, "host=%s port=7777 user=postgres",
                   s->dir);
    cr_assert(
        scratch_run(s, "initdb -D data -U postgres -A trust -N --no-instructions") == 0);
    start =
        tw_strf("pg_ctl -D data -l log -w start -o '-k %s -p 7777 -c listen_addresses= "
                "-c fsync=off -c shared_buffers=32MB -c autovacuum=off %s'",
                s->dir, options ? options : "");
    cr_assert(scratch_run(s, start) == 0);
}

static inline void scratch_close(struct scratch *s)
{
    if (s->keeper <= 0)
        return;
    (void)close(s->alive);
    while (waitpid(s->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    s->keeper = 0;
}

/* The tables of pgbench in database postgres. */
static inline void scratch_pgbench(const struct scratch *s, int scale)
{
    tw_auto_free char *command =
        tw_strf("pgbench -i -q -s %d -h %s -p 7777 -U postgres postgres", scale, s->dir);

    cr_assert(scratch_run(s, command) == 0);
}

static inline struct tw_pg *scratch_connect(const struct scratch *s)
{
    tw_auto_free char *info = tw_strf("%s dbname=postgres", s->conninfo);
    struct tw_err err = {0};
    struct tw_pg *pg = NULL;

    cr_assert(tw_pg_open(info, (unsigned)-1, tw_now_ns() + 5 * TW_SEC_NS, &pg, &err) == 0,
              "%s", err.text);
    return pg;
}

static inline double scratch_number(struct tw_pg *pg, const char *sql)
{
    struct tw_err err = {0};
    double value = 0;

    cr_assert(tw_pg_double(pg, sql, &value, &err) == 0, "%s", err.text);
    return value;
}

static inline void scratch_exec(struct tw_pg *pg, const char *sql)
{
    struct tw_err err = {0};

    cr_assert(tw_pg_exec(pg, sql, &err) == 0, "%s: %s", sql, err.text);
}
#endif
