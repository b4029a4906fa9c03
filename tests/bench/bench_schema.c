/* Twelve statements of DDL: the lock that is named, how long it is held as foreseen by a twin, and how
 * long it really was when the same was done to the original cluster under the same load; the safer form.
 *
 * usage: bench_schema [SCALE]     needs root, build/twin and the server programs of version 15 */
#include "tw/io.h"
#include "tw/pg.h"

#include <jansson.h>
#include <math.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIN   "/usr/lib/postgresql/15/bin"
#define PORT  54418
#define BAR   0.20
#define RATE  100
#define SHORT 0.02 /* seconds: of holds under that only the order of magnitude is asked */

static const struct row {
    const char *sql, *undo, *lock, *relation;
    bool safer; /* a form is wanted */
} rows[] = {
    {"CREATE INDEX a_bal ON pgbench_accounts (abalance)", "DROP INDEX a_bal", "SHARE",
     "public.pgbench_accounts", true},
    {"CREATE INDEX CONCURRENTLY a_bal ON pgbench_accounts (abalance)", "DROP INDEX a_bal",
     "SHARE UPDATE EXCLUSIVE", "public.pgbench_accounts", false},
    {"ALTER TABLE pgbench_accounts ADD COLUMN note text",
     "ALTER TABLE pgbench_accounts DROP COLUMN note", "ACCESS EXCLUSIVE",
     "public.pgbench_accounts", true},
    {"ALTER TABLE pgbench_accounts ADD CONSTRAINT positive CHECK (aid > 0)",
     "ALTER TABLE pgbench_accounts DROP CONSTRAINT positive", "ACCESS EXCLUSIVE",
     "public.pgbench_accounts", true},
    {"ALTER TABLE pgbench_accounts ADD CONSTRAINT fk FOREIGN KEY (bid) REFERENCES "
     "pgbench_branches",
     "ALTER TABLE pgbench_accounts DROP CONSTRAINT fk", "SHARE ROW EXCLUSIVE",
     "public.pgbench_accounts", true},
    {"ALTER TABLE pgbench_accounts ALTER COLUMN bid SET NOT NULL",
     "ALTER TABLE pgbench_accounts ALTER COLUMN bid DROP NOT NULL", "ACCESS EXCLUSIVE",
     "public.pgbench_accounts", true},
    {"ALTER TABLE pgbench_accounts ADD CONSTRAINT u UNIQUE (aid, bid)",
     "ALTER TABLE pgbench_accounts DROP CONSTRAINT u", "ACCESS EXCLUSIVE",
     "public.pgbench_accounts", true},
    {"REINDEX TABLE pgbench_accounts", NULL, "SHARE", "public.pgbench_accounts", true},
    {"ALTER TABLE pgbench_tellers RENAME COLUMN filler TO filling",
     "ALTER TABLE pgbench_tellers RENAME COLUMN filling TO filler", "ACCESS EXCLUSIVE",
     "public.pgbench_tellers", true},
    {"CREATE TRIGGER t BEFORE UPDATE ON pgbench_branches FOR EACH ROW EXECUTE FUNCTION "
     "suppress_redundant_updates_trigger()",
     "DROP TRIGGER t ON pgbench_branches", "SHARE ROW EXCLUSIVE",
     "public.pgbench_branches", true},
    {"ALTER TABLE pgbench_accounts ALTER COLUMN abalance TYPE bigint",
     "ALTER TABLE pgbench_accounts ALTER COLUMN abalance TYPE int", "ACCESS EXCLUSIVE",
     "public.pgbench_accounts", true},
    {"VACUUM FULL pgbench_accounts", NULL, "ACCESS EXCLUSIVE", "public.pgbench_accounts",
     true},
};

static char top[] = "/tmp/twin-bench-schema-XXXXXX";
static unsigned uid, gid;

static int shell(struct tw_buf *out, bool as_owner, const char *line)
{
    tw_auto_free char *state = tw_strf("TWIN_STATE_DIR=%s/state", top);
    const char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", state,
                         NULL};
    struct tw_child child = {.argv = (const char *const[]){"/bin/sh", "-c", line, NULL},
                             .env = env,
                             .uid = as_owner ? uid : (unsigned)-1,
                             .gid = as_owner ? gid : (unsigned)-1,
                             .deadline_ns = tw_now_ns() + 600 * TW_SEC_NS,
                             .max_output = 64 << 20};
    struct tw_child_result res = {0};
    int r = tw_child_run(&child, &res, NULL);

    if (r == 0 && out)
        tw_buf_puts(out, tw_buf_text(&res.out));
    r = r < 0 ? r : res.status;
    tw_child_result_done(&res);
    return r;
}

static void must(bool as_owner, const char *line)
{
    if (shell(NULL, as_owner, line) == 0)
        return;
    (void)fprintf(stderr, "bench_schema: failed: %s\n", line);
    exit(1);
}

static void stop_cluster(void)
{
    tw_auto_free char *stop =
        tw_strf(BIN "/pg_ctl -D %s/data -s -w -m immediate stop", top);

    (void)shell(NULL, true, stop);
    (void)tw_remove_tree(top, NULL);
}

static void start_cluster(int scale)
{
    struct passwd *pw = getpwnam("postgres");
    tw_auto_free char *line = NULL;

    if (!pw || geteuid() != 0 || !mkdtemp(top)) {
        (void)fprintf(stderr, "bench_schema: needs root and the user postgres\n");
        exit(1);
    }
    uid = pw->pw_uid;
    gid = pw->pw_gid;
    if (chmod(top, 0755) != 0 || chown(top, uid, gid) != 0)
        exit(1);
    (void)atexit(stop_cluster);
    line = tw_strf("cd %s && " BIN "/initdb -N -D data -A trust >/dev/null && printf "
                   "\"port=%d\\nlisten_addresses=''\\nunix_socket_directories='%s'\\n"
                   "max_wal_size=4GB\\n\" >> data/postgresql.conf && " BIN
                   "/pg_ctl -D data -s -w -l log start && " BIN
                   "/pgbench -q -i -s %d -h %s -p %d postgres >/dev/null 2>&1",
                   top, PORT, top, scale, top, PORT);
    must(true, line);
    free(line);
    line = tw_strf("build/twin env add pg --type postgresql --data clone --data-dir "
                   "%s/data >/dev/null && build/twin env sync pg >/dev/null",
                   top);
    must(false, line);
}

/* ---- foreseen ---- */

struct foreseen {
    const char *lock, *relation;
    double held_s, wall_s, safer_s;
    bool safer;
};

static json_t *ask_twin(const char *sql, double *ret_wall_s)
{
    tw_auto_free char *line = tw_strf("build/twin run --target pg --mix tpcb --rate %d "
                                      "--sql \"%s\" -o json -q",
                                      RATE, sql);
    tw_auto_buf out = {0};
    int64_t begun = tw_now_ns();

    tw_buf_init(&out, 64 << 20);
    (void)shell(&out, false, line);
    *ret_wall_s = tw_seconds(tw_now_ns() - begun);
    return json_loads(tw_buf_text(&out), 0, NULL);
}

static void read_answer(const json_t *json, struct foreseen *ret)
{
    const json_t *schema =
        json_object_get(json_object_get(json, "predicted_impact"), "schema_change");
    const json_t *d = json_array_get(json_object_get(schema, "statements"), 0);
    const json_t *safer = json_array_get(json_object_get(schema, "safer"), 0);

    ret->lock = json_string_value(json_object_get(d, "lock"));
    ret->relation = json_string_value(json_object_get(d, "relation"));
    ret->held_s = json_number_value(json_object_get(d, "held_seconds"));
    ret->safer = safer != NULL;
    ret->safer_s =
        safer ? json_number_value(json_object_get(safer, "stopped_seconds")) : NAN;
}

/* ---- and really ---- */

/* Duration of the statement as psql times it: what it waited for its lock, which the twin tells
 * apart, is part of it here. Under the bench's light load that wait is some milliseconds. */
static double really(const char *sql)
{
    tw_auto_free char *line = tw_strf(
        BIN
        "/psql -qX -h %s -p %d -v ON_ERROR_STOP=1 postgres -c '\\timing on' -c \"%s\"",
        top, PORT, sql);
    tw_auto_buf out = {0};
    const char *time;

    tw_buf_init(&out, 1 << 20);
    if (shell(&out, true, line) != 0)
        return NAN;
    time = strstr(tw_buf_text(&out), "Time: ");
    return time ? strtod(time + 6, NULL) / 1e3 : NAN;
}

static pid_t start_load(void)
{
    tw_auto_free char *rate = tw_strf("%d", RATE);
    tw_auto_free char *port = tw_strf("%d", PORT);
    pid_t pid = fork();

    if (pid == 0) {
        if (setgid(gid) != 0 || setuid(uid) != 0 || !freopen("/dev/null", "w", stdout) ||
            !freopen("/dev/null", "w", stderr))
            _exit(1);
        (void)execl(BIN "/pgbench", "pgbench", "-n", "-c", "8", "-R", rate, "-T", "600",
                    "-h", top, "-p", port, "postgres", NULL);
        _exit(127);
    }
    return pid;
}

static double really_under_load(const struct row *row)
{
    pid_t load = start_load();
    double s;

    tw_sleep_ns(TW_SEC_NS);
    s = really(row->sql);
    if (load > 0) {
        (void)kill(load, SIGTERM);
        (void)waitpid(load, NULL, 0);
    }
    if (row->undo)
        (void)really(row->undo);
    return s;
}

int main(int argc, char **argv)
{
    int scale = argc > 1 ? atoi(argv[1]) : 20, locks = 0, near = 0, safer = 0, wanted = 0;

    start_cluster(scale > 0 ? scale : 20);
    printf("%-44s %-24s %9s %9s %7s %9s %7s\n", "statement", "lock", "foreseen", "really",
           "error", "safer", "run");
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct foreseen f = {0};
        json_auto_t *json = ask_twin(rows[i].sql, &f.wall_s);
        double truth = really_under_load(&rows[i]), error;
        bool named, held;

        read_answer(json, &f);
        error = fabs(f.held_s - truth) / truth;
        named = tw_streq(f.lock, rows[i].lock) && tw_streq(f.relation, rows[i].relation);
        held = error <= BAR || (f.held_s < SHORT && truth < SHORT);
        locks += named;
        near += held;
        safer += f.safer && rows[i].safer;
        wanted += rows[i].safer;
        printf("%-44.44s %-24s %7.3f s %7.3f s %5.0f %%%s %7.3f s %5.1f s%s\n",
               rows[i].sql, f.lock ? f.lock : "none", f.held_s, truth, 100 * error,
               held ? " " : "*", f.safer_s, f.wall_s, named ? "" : "  LOCK");
        (void)fflush(stdout);
    }
    printf("lock named %d of %zu; hold within %.0f %% (or both under %.0f ms) %d of %zu; "
           "safer "
           "form tried %d of %d\n",
           locks, TW_COUNT_OF(rows), 100 * BAR, 1e3 * SHORT, near, TW_COUNT_OF(rows),
           safer, wanted);
    return 0;
}
