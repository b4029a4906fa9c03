/* A scratch cluster and the program itself, for tests that act as a user does. */
#ifndef TESTS_LIVE_H
#define TESTS_LIVE_H

#include "tw/base.h"
#include "tw/io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIVE __attribute__((unused)) static

/* Everything of one test lies below one directory. */
struct live {
    char top[64];
    char *data, *state, *sockets, *bin; /* owned */
    int port;
    unsigned uid, gid;
    pid_t keeper;
    int alive;         /* open while this test lives */
    struct tw_buf ids; /* of the simulations of this test, "id|id" */
};
struct live_answer {
    int exit_code;
    char *out, *err; /* owned */
    json_t *json;    /* owned; NULL when out is none */
};

LIVE int live_child(const char *const *argv, const char *const *env, unsigned uid, unsigned gid,
                    struct live_answer *ret)
{
    struct tw_child child = {.argv = argv,
                             .env = env,
                             .uid = uid,
                             .gid = gid,
                             .deadline_ns = tw_now_ns() + 110 * TW_SEC_NS,
                             .max_output = 64 << 20};
    struct tw_child_result res = {0};
    struct tw_err err = {0};
    int r = tw_child_run(&child, &res, &err);

    cr_assert_eq(r, 0, "%s: %s", argv[0], err.text);
    if (ret) {
        ret->exit_code = res.status;
        ret->out = strdup(tw_buf_text(&res.out));
        ret->err = strdup(tw_buf_text(&res.err));
        ret->json = json_loads(ret->out, 0, NULL);
    }
    r = res.status;
    tw_child_result_done(&res);
    return r;
}

LIVE void live_answer_done(struct live_answer *a)
{
    free(a->out);
    free(a->err);
    json_decref(a->json);
    *a = (struct live_answer){0};
}

/* A shell line as the owner of the cluster. */
LIVE int live_sh(const struct live *l, const char *fmt, ...) TW_PRINTF(2, 3);
LIVE int live_sh(const struct live *l, const char *fmt, ...)
{
    tw_auto_free char *line = NULL;
    va_list ap;
    struct live_answer got = {0};
    int r;

    va_start(ap, fmt);
    cr_assert(vasprintf(&line, fmt, ap) > 0);
    va_end(ap);
    r = live_child((const char *const[]){"/bin/sh", "-c", line, NULL}, NULL, l->uid, l->gid, &got);
    if (r)
        cr_log_info("%s\n%s%s", line, got.out, got.err);
    live_answer_done(&got);
    return r;
}

LIVE void live_stop(const struct live *l, const char *mode)
{
    (void)live_sh(l, "%s/pg_ctl -D %s -s -w -m %s stop", l->bin, l->data, mode);
}

LIVE void live_start(const struct live *l)
{
    tw_auto_free char *path = tw_strf("%s/log", l->top), *log = NULL;
    int r = live_sh(l, "%s/pg_ctl -D %s -s -w -l %s start", l->bin, l->data, path);

    if (r) /* what it says is the only way to know why */
        (void)tw_read_file(AT_FDCWD, path, 1 << 20, &log, NULL, NULL);
    cr_assert_eq(r, 0, "the cluster does not start: %s", log ? log : "it says nothing");
}

LIVE int live_sql(const struct live *l, const char *sql)
{
    return live_sh(l, "%s/psql -qX -h %s -p %d -v ON_ERROR_STOP=1 postgres -c \"%s\" >/dev/null",
                   l->bin, l->sockets, l->port, sql);
}

/* A failed assertion ends a test where it stands: a process of its own sees that, stops the cluster
 * and removes the directory. */
LIVE void live_keep(struct live *l)
{
    int ends[2];
    char byte;

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    l->keeper = fork();
    if (l->keeper == 0) {
        tw_auto_free char *line =
            tw_strf("[ -d %s ] && { %s/pg_ctl -D %s -s -m immediate stop; true; }", l->top, l->bin,
                    l->data);
        struct live_answer got = {0};

        (void)close(ends[1]);
        (void)setsid();
        while (read(ends[0], &byte, 1) > 0)
            ;
        if (access(l->top, F_OK) == 0) {
            (void)live_child((const char *const[]){"/bin/sh", "-c", line, NULL}, NULL, l->uid,
                             l->gid, &got);
            (void)tw_remove_tree(l->top, NULL);
        }
        _exit(0);
    }
    (void)close(ends[0]);
    l->alive = ends[1];
}

/* initdb, a small pgbench database, stopped cleanly. conf: lines for postgresql.conf. port: one that the
 * kernel does not give to outgoing connections, below 32768. */
LIVE void live_open(struct live *l, int port, int scale, const char *conf)
{
    struct passwd *pw = getpwnam("postgres");

    cr_assert(pw && geteuid() == 0, "needs root and the user postgres");
    strcpy(l->top, "/tmp/twin-live-XXXXXX");
    cr_assert(mkdtemp(l->top));
    tw_buf_init(&l->ids, 1 << 20);
    l->uid = pw->pw_uid;
    l->gid = pw->pw_gid;
    l->port = port;
    l->bin = strdup("/usr/lib/postgresql/15/bin");
    l->data = tw_strf("%s/data", l->top);
    l->state = tw_strf("%s/state", l->top);
    l->sockets = tw_strf("%s", l->top);
    cr_assert_eq(chmod(l->top, 0755), 0);
    cr_assert_eq(chown(l->top, l->uid, l->gid), 0);
    live_keep(l);
    cr_assert_eq(live_sh(l, "%s/initdb -N -D %s -A trust >/dev/null", l->bin, l->data), 0);
    cr_assert_eq(live_sh(l,
                         "printf '%%s\\n' \"port = %d\" \"listen_addresses = '127.0.0.1'\" "
                         "\"unix_socket_directories = '%s'\" \"%s\" >> %s/postgresql.conf",
                         port, l->sockets, conf ? conf : "", l->data),
                 0);
    live_start(l);
    if (scale)
        cr_assert_eq(live_sh(l, "%s/pgbench -q -i -s %d -h %s -p %d postgres >/dev/null 2>&1",
                             l->bin, scale, l->sockets, port),
                     0);
    live_stop(l, "fast");
}

LIVE void live_close(struct live *l)
{
    live_stop(l, "immediate");
    tw_buf_done(&l->ids);
    (void)tw_remove_tree(l->top, NULL);
    (void)close(l->alive);
    (void)waitpid(l->keeper, NULL, 0);
    free(l->data);
    free(l->state);
    free(l->sockets);
    free(l->bin);
}

LIVE void live_remember(struct live *l, const char *id)
{
    tw_buf_printf(&l->ids, "%s%s", l->ids.len ? "|" : "", id);
}

/* build/twin with these arguments (NULL-terminated); extra: one more environment variable. */
LIVE void live_twin_env(struct live *l, const char *extra, const char *const *args,
                        struct live_answer *ret)
{
    tw_auto_free char *state = tw_strf("TWIN_STATE_DIR=%s", l->state);
    const char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", state, extra,
                         NULL};
    const char *argv[64] = {"build/twin"};

    for (size_t i = 0; args[i] && i < 60; i++)
        argv[i + 1] = args[i];
    (void)live_child(argv, env, (unsigned)-1, (unsigned)-1, ret);
    if (json_string_value(json_object_get(ret->json, "id")))
        live_remember(l, json_string_value(json_object_get(ret->json, "id")));
}
#define live_twin(l, ret, ...)                                                           \
    live_twin_env((l), NULL, (const char *const[]){__VA_ARGS__, NULL}, (ret))

LIVE void live_add(struct live *l)
{
    struct live_answer got;

    live_twin(l, &got, "env", "add", "pg", "--type", "postgresql", "--data", "clone",
              "--data-dir", l->data);
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
}

LIVE const char *live_text(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text ? text : "";
}

/* Has the answer an issue of this code? */
LIVE bool live_issue(const struct live_answer *got, const char *code)
{
    size_t i;
    json_t *issue;

    json_array_foreach(
        json_object_get(json_object_get(got->json, "predicted_impact"), "issues"), i, issue)
    {
        if (tw_streq(live_text(issue, "code"), code))
            return true;
    }
    return false;
}

/* Nothing of a twin stands on this host for this state directory: no process with it, no cgroup of
 * ours, no mount below it, no journal. */
LIVE int live_leftovers(const struct live *l)
{
    struct live_answer got;
    tw_auto_free char *line = tw_strf(
        "{ find /sys/fs/cgroup -mindepth 3 -type d -path '*/twin/*' | grep -E '%s'; grep -F '%s' "
        "/proc/self/mountinfo; find %s/run -type f; losetup -l -n -O BACK-FILE | grep -F '%s'; "
        "find %s/pool/clones %s/pool/building -mindepth 1; } 2>/dev/null | head -20",
        l->ids.len ? tw_buf_text(&l->ids) : "no-run-was-made", l->state, l->state, l->state, l->state, l->state);
    int lines = 0;

    (void)live_child((const char *const[]){"/bin/sh", "-c", line, NULL}, NULL, (unsigned)-1,
                     (unsigned)-1, &got);
    for (const char *c = got.out; *c; c++)
        lines += *c == '\n';
    if (lines)
        cr_log_warn("left behind:\n%s", got.out);
    live_answer_done(&got);
    return lines;
}

#endif
