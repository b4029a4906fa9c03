#include "world/service/kind_postgresql/kind_pg_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tw_issue dead_of(struct tw_arena *a, char *log)
{
    struct tw_snapshot s;
    struct tw_plan plan = {0};
    struct tw_issues issues = {0};
    struct tw_access x = {.snapshot = &s, .log = log};

    tw_snapshot_init(&s);
    kind_pg_judge_start(a, &x, 0, &plan, false, 256, &issues);
    cr_assert_eq(issues.list.count, 1);
    return issues.list.items[0];
}

/* The words of the server on the left, as it writes them; the kind of failure on the right. */
static const struct {
    const char *log, *code, *words;
} deaths[] = {
    {"postgres: superuser_reserved_connections (60) must be less than max_connections (60)\n",
     "start.value", "must be less than max_connections (60)"},
    {"LOG:  starting PostgreSQL 15\nLOG:  group \"no\" does not exist\nWARNING:  could not create "
     "Unix-domain socket in directory \"/run\"\nFATAL:  could not create any Unix-domain sockets\n",
     "start.user", "group \"no\" does not exist"},
    {"LOG:  starting PostgreSQL 15\nFATAL:  could not set SSL protocol version range\nDETAIL:  "
     "\"ssl_min_protocol_version\" cannot be higher than \"ssl_max_protocol_version\"\n",
     "start.tls", "cannot be higher"},
    {"FATAL:  WAL archival cannot be enabled when wal_level is \"minimal\"\n", "start.wal_level",
     "WAL archival"},
    {"FATAL:  logical replication slot \"s\" exists, but wal_level < logical\n",
     "start.wal_level", "exists"},
    {"LOG:  could not open configuration file \"/x/no.conf\": No such file or directory\nFATAL:  "
     "configuration file \"/x/postgresql.conf\" contains errors\n",
     "start.file", "/x/no.conf"},
    {"LOG:  listening on IPv4 address \"0.0.0.0\"\nFATAL:  must specify restore_command when "
     "standby mode is not enabled\n",
     "start.recovery", "must specify"},
    {"FATAL:  data directory \"/x\" has invalid permissions\nDETAIL:  Permissions should be u=rwx "
     "(0700)\n",
     "start.permission", "u=rwx"},
};

Test(service_pg_judge, a_death_has_a_kind_and_the_words_that_tell_why)
{
    for (size_t i = 0; i < TW_COUNT_OF(deaths); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_issue one = dead_of(a, tw_arena_strdup(a, deaths[i].log));

        cr_assert_str_eq(one.code, deaths[i].code, "%s", deaths[i].log);
        cr_assert_not_null(strstr(one.evidence, deaths[i].words), "%s", one.evidence);
    }
}

Test(service_pg_judge, what_every_start_says_is_no_reason)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_issue one = dead_of(a, tw_arena_strdup(a, "LOG:  database system was shut down\n"
                                                        "FATAL:  something else entirely\n"));

    cr_assert_str_eq(one.code, "start.failed");
    cr_assert_null(strstr(one.evidence, "shut down"));
}
