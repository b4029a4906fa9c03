/* What a power cut takes of writes that were answered, by setting. The data lies on a file system in a
 * file behind a loop device. What was not synced is in the page cache of that file system and not yet
 * in the file; so a copy of the file, taken while the service stands still, is the disk as it is after
 * the power went. The copy is mounted (its journal replayed), the service started on it, and what it
 * has is counted against what it had answered. Exit code 1 when a row does not do what it is known for.
 *
 *   bench_durability [runs]     10 by default; needs root, redis-server and PostgreSQL 15 */
#include "tw/io.h"
#include "world/service/kind_redis/kind_redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITES 300
#define BIN    "/usr/lib/postgresql/15/bin"

enum expected { NOTHING_LOST, SOMETHING_LOST };
static const struct row {
    const char *service, *settings;
    enum expected expected;
} rows[] = {
    {"redis", "--appendonly yes --appendfsync always", NOTHING_LOST},
    {"redis", "--appendonly yes --appendfsync no", SOMETHING_LOST},
    {"redis", "--appendonly no --save ''", SOMETHING_LOST},
    {"postgresql", "-c fsync=on", NOTHING_LOST},
    {"postgresql", "-c fsync=off", SOMETHING_LOST},
};

static char top[] = "/tmp/twin-durability-XXXXXX";

/* A shell line in the directory of this run; its first number, or -1. */
static double sh(const char *fmt, ...) TW_PRINTF(1, 2);
static double sh(const char *fmt, ...)
{
    tw_auto_free char *line = NULL;
    struct tw_child_result res = {0};
    struct tw_err err = {0};
    double value = -1;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&line, fmt, ap) < 0)
        abort();
    va_end(ap);
    const char *const argv[] = {"/bin/bash", "-c", line, NULL};
    struct tw_child child = {.argv = argv,
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .cwd = top,
                             .deadline_ns = tw_now_ns() + 60 * TW_SEC_NS};

    if (tw_child_run(&child, &res, &err) < 0)
        fprintf(stderr, "%s: %s\n", line, err.text);
    else if (res.status == 0)
        value = res.out.len ? strtod(tw_buf_text(&res.out), NULL) : 0;
    else if (getenv("TWIN_LOG"))
        fprintf(stderr, "%s: status %d\n%s", line, res.status, tw_buf_text(&res.err));
    tw_child_result_done(&res);
    return value;
}

/* commit=300: ext4 itself writes nothing for as long as a run takes. */
static bool mount_image(const char *image)
{
    return sh("mkdir -p m && mount -o loop,commit=300,nodelalloc %s m", image) == 0;
}

static void unmount(void)
{
    (void)sh("for i in {1..200}; do umount m 2>/dev/null; mountpoint -q m || exit 0; "
             "sleep 0.05; done; "
             "exit 1");
}

static bool make_images(void)
{
    return sh("truncate -s 64M redis.img && mkfs.ext4 -qF redis.img") == 0 &&
           mount_image("redis.img") && sh("chown redis: m") == 0 && (unmount(), true) &&
           sh("truncate -s 400M postgresql.img && mkfs.ext4 -qF postgresql.img") == 0 &&
           mount_image("postgresql.img") &&
           sh("mkdir m/d && chown -R postgres: m && su -s /bin/sh postgres -c '" BIN
              "/initdb -D m/d -A trust >/dev/null' && sync -f m") == 0 &&
           (unmount(), true);
}

/* ---- Redis ---- */

static bool redis_start(const char *settings)
{
    return sh("rm -f s p; (su -s /bin/bash redis -c \"exec redis-server --dir %s/m "
              "--port 0 "
              "--unixsocket %s/s --unixsocketperm 777 --pidfile %s/p --daemonize yes "
              "--loglevel "
              "warning %s\") >/dev/null 2>&1; for i in {1..400}; do redis-cli -s s ping "
              "2>&1 | "
              "grep -q PONG && exit 0; sleep 0.05; done; exit 1",
              top, top, top, settings) == 0;
}

/* As many increments as were answered. */
static double redis_write(void)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto(redis_link) *link = NULL;
    struct redis_where where = {.socket = tw_arena_printf(a, "%s/s", top)};
    struct redis_reply reply = {0};

    if (redis_link_open(&where, tw_now_ns() + 5 * TW_SEC_NS, &link, NULL) < 0)
        return -1;
    for (int i = 0; i < WRITES; i++)
        if (REDIS_ASK(link, a, &reply, NULL, "INCR", "n") < 0 ||
            reply.type != REDIS_INTEGER)
            return -1;
    return (double)reply.integer;
}

static double redis_read(void)
{
    return sh("v=$(redis-cli -s s get n); echo ${v:-0}");
}

/* ---- PostgreSQL ---- */

static bool pg_start(const char *settings)
{
    return sh("rm -f .s.PGSQL.*; su -s /bin/sh postgres -c \"" BIN
              "/pg_ctl -D %s/m/d -w -t 30 -l %s/log -o '%s "
              "-c listen_addresses= -c unix_socket_directories=%s -c "
              "checkpoint_timeout=1h' start\" >/dev/null || { tail -5 log >&2; exit 1; }",
              top, top, settings, top) == 0;
}

static double pg_write(void)
{
    return sh("psql -qXh %s -U postgres -c 'CREATE TABLE n (i int)' -c CHECKPOINT && "
              "sync -f m && for "
              "i in {1..%d}; do echo 'INSERT INTO n VALUES (1);'; done | psql -Xh %s -U "
              "postgres | "
              "grep -c '^INSERT 0 1'",
              top, WRITES, top);
}

static double pg_read(void)
{
    return sh("psql -AtXh %s -U postgres -c 'SELECT count(*) FROM n'", top);
}

/* ---- one power cut ---- */

static const struct service {
    const char *name;
    bool (*start)(const char *settings);
    double (*write)(void);
    double (*read)(void);
    const char *pids; /* of a shell: its process and all below it */
} services[] = {
    {"redis", redis_start, redis_write, redis_read, "cat p"},
    {"postgresql", pg_start, pg_write, pg_read,
     "p=$(head -1 m/d/postmaster.pid); echo $p $(pgrep -P $p)"},
};

/* Dies as the power goes: nothing of it writes any more, neither before the copy nor after it. */
static bool cut(const struct service *s)
{
    return sh("x=$(%s); kill -STOP $x && rm -f cut.img && cp --sparse=always run.img "
              "cut.img; r=$?; kill "
              "-KILL $x; for "
              "i in {1..200}; do umount m 2>/dev/null; mountpoint -q m || exit $r; sleep "
              "0.05; done; exit "
              "1",
              s->pids) == 0;
}

static void finish(const struct service *s)
{
    (void)sh("x=$(%s) && kill -KILL $x; for i in {1..200}; do umount m 2>/dev/null; "
             "mountpoint -q m || "
             "exit 0; sleep "
             "0.05; done",
             s->pids);
}

/* What was answered and is gone; -1: could not be tried; the service that does not start any more has
 * lost all. */
static double lost_by(const struct row *row, const struct service *s)
{
    double answered, left = 0;

    if (sh("rm -f run.img && cp --sparse=always %s.img run.img", s->name) != 0 ||
        !mount_image("run.img"))
        return -1;
    if (!s->start(row->settings) || sh("sync -f m") != 0) {
        finish(s);
        return -1;
    }
    answered = s->write();
    if (!cut(s) || answered < WRITES || !mount_image("cut.img"))
        return -1;
    (void)sh("rm -f m/d/postmaster.pid");
    if (s->start(row->settings))
        left = s->read();
    finish(s);
    return answered - (left > 0 ? left : 0);
}

static bool measure(const struct row *row, int runs)
{
    const struct service *s = &services[strcmp(row->service, "redis") != 0];
    int lossy = 0, tried = 0;
    double most = 0;

    for (int i = 0; i < runs; i++) {
        double lost = lost_by(row, s);

        tried += lost >= 0;
        lossy += lost > 0;
        most = lost > most ? lost : most;
    }
    printf("%-11s %-40s lost something in %2d of %2d cuts, at most %3.0f of %d answered "
           "writes\n",
           row->service, row->settings, lossy, tried, most, WRITES);
    (void)fflush(stdout);
    return tried == runs && lossy == (row->expected == SOMETHING_LOST ? runs : 0);
}

int main(int argc, char **argv)
{
    int runs = argc > 1 ? atoi(argv[1]) : 10;
    bool right = true;

    if (geteuid() != 0 || !mkdtemp(top) || sh("chmod 777 .") != 0 || !make_images()) {
        fprintf(stderr,
                "bench_durability: needs root, loop devices, ext4, redis-server and "
                "PostgreSQL 15\n");
        return 1;
    }
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        right &= measure(&rows[i], runs);
    (void)tw_remove_tree(top, NULL);
    return right ? 0 : 1;
}
