/* Who may come in to a cluster, changed as type security: rules by action, roles by statement; each known client is
 * tried with and without it, no load is run, and the cluster itself is as before. */
#include "live.h"

static struct live l;

static const struct {
    const char *args[10];
    int exit_code;
    const char *code; /* of an issue; NULL: none is asked for */
} rows[] = {
    {{"--set", "action=add_rule", "--set", "source=0.0.0.0/0", "--set", "method=trust"}, 3, "access.anonymous"},
    {{"--set", "action=remove_rule", "--set", "rule=host all app 10.0.3.0/24 scram-sha-256"}, 4, "client.refused"},
    {{"--sql", "ALTER ROLE app NOLOGIN"}, 4, "client.refused"},
    {{"--set", "work_mem=4MB"}, 2, NULL},
};

static void open_cluster(void)
{
    live_open(&l, 24433, 0, "listen_addresses = '*'");
    cr_assert_eq(live_sh(&l,
                         "printf '%%s\\n' 'local all all trust' 'host all app 10.0.3.0/24 scram-sha-256' "
                         "> %s/pg_hba.conf",
                         l.data),
                 0);
    live_start(&l);
    cr_assert_eq(live_sql(&l, "CREATE ROLE app LOGIN PASSWORD 'x'"), 0);
    live_add(&l);
}

static void close_cluster(void)
{
    live_close(&l);
}

Test(run_access, clients_tell_what_a_change_of_access_means, .init = open_cluster, .fini = close_cluster)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *args[20] = {"run", "--type", "security", "--target", "pg", "-o", "json", "-q"};
        struct live_answer got;

        for (size_t k = 0; rows[i].args[k]; k++)
            args[8 + k] = rows[i].args[k];
        live_twin_env(&l, NULL, args, &got);
        cr_expect_eq(got.exit_code, rows[i].exit_code, "%s %s: %d: %s%s", rows[i].args[1],
                     rows[i].args[2] ? rows[i].args[3] : "", got.exit_code, got.out, got.err);
        if (rows[i].code)
            cr_expect(live_issue(&got, rows[i].code), "row %zu: %s", i, got.out);
        live_answer_done(&got);
    }
    cr_expect_eq(live_sh(&l, "grep -c . %s/pg_hba.conf | grep -qx 2", l.data), 0, "the cluster's own rules changed");
    cr_expect_eq(live_sql(&l, "SET ROLE app"), 0);
}
