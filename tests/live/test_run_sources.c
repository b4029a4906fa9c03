/* Every way in which a cluster can be found is taken, and its own data is there. */
#include "live.h"

static void expect_taken(struct live *l, const char *name, const char *how)
{
    struct live_answer got;

    live_twin(l, &got, "run", "--target", "pg", "--set", "work_mem=5MB", "-o", "json",
              "--mix", "select-only", "--refresh-data", "--budget", "0.6");
    cr_expect(got.exit_code == 0 || got.exit_code == 4, "%s: exit %d: %s\n%s", name,
              got.exit_code, got.err, got.out);
    if (got.json)
        cr_expect_str_eq(live_text(json_object_get(got.json, "snapshot"), "how"), how,
                         "%s", name);
    live_answer_done(&got);
}

Test(run_sources, stopped_running_and_crashed, .timeout = 110)
{
    struct live l;

    live_open(&l, 24405, 1, NULL);
    live_add(&l);
    expect_taken(&l, "stopped", "stopped");
    live_start(&l);
    expect_taken(&l, "running", "running");
    cr_assert_eq(live_sql(&l, "CREATE TABLE after_checkpoint AS SELECT 1"), 0);
    (void)live_sh(&l, "kill -9 $(cat %s/postmaster.pid | head -1); sleep 0.3", l.data);
    expect_taken(&l, "crashed", "crashed");
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}

Test(run_sources, running_without_replication_by_the_backup_functions, .timeout = 110)
{
    struct live l;

    live_open(&l, 24406, 1, "max_wal_senders = 0\nwal_level = replica");
    live_add(&l);
    live_start(&l);
    expect_taken(&l, "no walsender", "running");
    live_close(&l);
}

Test(run_sources, tablespace_linked_wal_and_split_configuration, .timeout = 110)
{
    struct live l;
    struct live_answer got;

    live_open(&l, 24407, 1, NULL);
    live_start(&l);
    cr_assert_eq(live_sh(&l, "mkdir %s/space", l.top), 0);
    cr_assert_eq(
        live_sh(&l,
                "%s/psql -qX -h %s -p %d postgres -c \"CREATE TABLESPACE far LOCATION "
                "'%s/space'\" -c \"ALTER TABLE pgbench_accounts SET TABLESPACE far\"",
                l.bin, l.sockets, l.port, l.top),
        0);
    live_stop(&l, "fast");
    cr_assert_eq(
        live_sh(&l,
                "mv %s/pg_wal %s/wal && ln -s %s/wal %s/pg_wal && mkdir %s/etc && mv "
                "%s/postgresql.conf %s/pg_hba.conf %s/pg_ident.conf %s/etc/ && printf "
                "\"data_directory='%s'\\nhba_file='%s/etc/pg_hba.conf'\\n"
                "ident_file='%s/etc/pg_ident.conf'\\n\" >> %s/etc/postgresql.conf",
                l.data, l.top, l.top, l.data, l.top, l.data, l.data, l.data, l.top,
                l.data, l.top, l.top, l.top),
        0);
    /* As pg_ctlcluster starts it: the server remembers where its configuration is. */
    cr_assert_eq(live_sh(&l,
                         "%s/pg_ctl -D %s -s -w -l %s/log -o '-c "
                         "config_file=%s/etc/postgresql.conf' start",
                         l.bin, l.data, l.top, l.top),
                 0);
    live_add(&l);
    expect_taken(&l, "running", "running");
    live_stop(&l, "fast");
    expect_taken(&l, "stopped", "stopped");
    live_twin(&l, &got, "run", "--target", "pg", "--set", "shared_buffers=200GB", "-o",
              "json");
    cr_expect_eq(got.exit_code, 3, "%s", got.err);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}

/* A mount namespace of its own hides the data directory, as another host or a container does. */
Test(run_sources, cluster_elsewhere_by_its_connection_alone, .timeout = 110)
{
    struct live l;
    struct live_answer got;
    tw_auto_free char *line = NULL, *dsn = NULL;

    live_open(&l, 24415, 1, NULL);
    cr_assert_eq(
        live_sh(&l,
                "echo \"include_dir = 'more'\" >> %s/postgresql.conf; mkdir %s/more "
                "%s/hidden; echo 'work_mem = 3MB' > %s/more/own.conf",
                l.data, l.data, l.top, l.data),
        0);
    line = tw_strf(
        "exec unshare --mount --propagation private sh -c 'mount -t tmpfs none "
        "%s/hidden && mkdir %s/hidden/data && mount --bind %s %s/hidden/data && exec "
        "setpriv --reuid=%u --regid=%u --clear-groups %s/pg_ctl -D %s/hidden/data -s "
        "-w -l %s/log start'",
        l.top, l.top, l.data, l.top, l.uid, l.gid, l.bin, l.top, l.top);
    cr_assert_eq(live_child((const char *const[]){"/bin/sh", "-c", line, NULL}, NULL,
                            (unsigned)-1, (unsigned)-1, NULL),
                 0);
    dsn = tw_strf("host=127.0.0.1 port=%d dbname=postgres user=postgres", l.port);
    live_twin(&l, &got, "env", "add", "pg", "--type", "postgresql", "--data", "clone",
              "--dsn", dsn);
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    expect_taken(&l, "elsewhere", "elsewhere");
    live_twin(&l, &got, "run", "--target", "pg", "--set", "shared_buffers=200GB", "-o",
              "json");
    cr_expect_eq(got.exit_code, 3, "%s", got.err);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}

/* Entered as a primary for a moment, judged as the standby that it is. */
Test(run_sources, standby_with_less_than_its_primary, .timeout = 110)
{
    struct live l;
    struct live_answer got;

    live_open(&l, 24416, 1, "max_connections = 60");
    live_start(&l);
    cr_assert_eq(live_sql(&l, "BEGIN; CREATE TABLE t (i int)"), 0);
    cr_assert_eq(live_sh(&l, "%s/pg_basebackup -D %s/standby -R -h %s -p %d -c fast", l.bin, l.top,
                         l.sockets, l.port),
                 0);
    live_stop(&l, "fast");
    live_twin(&l, &got, "env", "add", "pg", "--type", "postgresql", "--data", "clone",
              "--data-dir", tw_strf("%s/standby", l.top));
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    expect_taken(&l, "a standby at rest", "crashed");
    live_twin(&l, &got, "run", "--target", "pg", "--set", "max_connections=30", "-o", "json");
    cr_expect_eq(got.exit_code, 3, "%s", got.err);
    cr_expect(live_issue(&got, "start.standby"), "%s", got.out);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}
