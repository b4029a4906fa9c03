/* What an ordinary session gets for an answer, and what it may do: the same questions to both arms. A
 * setting that steers how text is read, which rules are kept or what is at hand shows here, whatever its
 * name; a load that happens not to use it would not. */
#include "kind_pg_internal.h"

#include <string.h>

static const char *const codes[] = {
    [TW_ANSWER_SAME] = "session.answers",
    [TW_ANSWER_WORKS] = "session.fails",
    [TW_ANSWER_HOLDS] = "capability.gone",
    [TW_ANSWER_REFUSED] = "integrity.unchecked",
    [TW_ANSWER_COUNT] = "exposure.privileges",
};

/* Columns that hold a time of day without its zone: what is written to them moves with TimeZone. */
#define ZONELESS                                                                           \
    "EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind "  \
    "IN ('r', 'p') WHERE a.atttypid IN (1082, 1083, 1114) AND c.oid >= 16384)"

static const struct question {
    const char *sql, *before, *after; /* before, after: around it, NULL: nothing */
    enum tw_answer_rule rule;
    enum tw_severity severity;
    enum tw_verdict at_least;
    const char *title, *remedy;
} questions[] = {
    {"SELECT date '01/02/2003' - date '2003-01-01'", NULL, NULL, TW_ANSWER_SAME, TW_HIGH, TW_REVIEW,
     "dates are read otherwise: 01/02/2003 is another day",
     "keep the order of DateStyle, or see that every client writes ISO dates"},
    {"SELECT 'a\\101' || $$b$$", NULL, NULL, TW_ANSWER_SAME, TW_HIGH, TW_REVIEW,
     "backslashes in literals are read otherwise, as an injection can use",
     "keep standard_conforming_strings=on; write E'' where a backslash is meant"},
    {"SELECT coalesce((v.a = NULL)::text, 'unknown') FROM (VALUES (1)) v(a)", NULL, NULL,
     TW_ANSWER_SAME, TW_HIGH, TW_REVIEW, "comparisons with NULL mean something else",
     "keep transform_null_equals=off"},
    {"SELECT ('{NULL}'::text[])[1] IS NULL", NULL, NULL, TW_ANSWER_SAME, TW_HIGH, TW_REVIEW,
     "NULL in an array literal means something else", "keep array_nulls=on"},
    {"SELECT date '2003-02-01' || ' ' || timestamp '2003-02-01 04:05:06'", NULL, NULL,
     TW_ANSWER_SAME, TW_HIGH, TW_REVIEW, "dates are written in another form",
     "keep the form of DateStyle, or see that every client reads the new one"},
    {"SELECT interval '1 mon -2 days 03:04' || ''", NULL, NULL, TW_ANSWER_SAME, TW_MEDIUM, TW_REVIEW,
     "intervals are written in another form", "see that every client reads the new one"},
    {"SELECT decode('00ff', 'hex')::text", NULL, NULL, TW_ANSWER_SAME, TW_HIGH, TW_REVIEW,
     "bytes are written in another form", "see that every client reads the new one"},
    {"SELECT (0.1::float8 + 0.2::float8)::text || ' ' || (1::float4 / 3)", NULL, NULL,
     TW_ANSWER_SAME, TW_MEDIUM, TW_REVIEW,
     "floating-point numbers are written with other digits: copies of them may differ",
     "keep extra_float_digits at 1 or more"},
    {"SELECT to_char(1234.5, '9G999D9') || ' ' || 1234.5::numeric::money", NULL, NULL, TW_ANSWER_SAME,
     TW_MEDIUM, TW_REVIEW, "numbers and money are written and read otherwise",
     "see which functions and columns of type money depend on it"},
    {"SELECT to_tsvector('the running houses')::text", NULL, NULL, TW_ANSWER_SAME, TW_MEDIUM,
     TW_REVIEW, "text is searched by another configuration",
     "name the configuration in the queries, or build their indexes anew"},
    {"SELECT CASE WHEN " ZONELESS " THEN timestamptz '2020-01-01 00:00+00'::timestamp || ' ' || "
     "timestamptz '2020-07-01 00:00+00'::timestamp END",
     NULL, NULL, TW_ANSWER_SAME, TW_MEDIUM, TW_REVIEW,
     "what is written to columns without a time zone moves by hours",
     "set the zone for each client, or make the columns timestamptz first"},
    {"SHOW client_encoding", NULL, NULL, TW_ANSWER_SAME, TW_HIGH, TW_REVIEW,
     "text is sent in another encoding to clients that ask for none",
     "keep the encoding of the database"},
    {"SELECT string_agg(DISTINCT relnamespace::regnamespace::text, ', ') FROM pg_class WHERE relkind IN "
     "('r', 'p', 'v', 'm', 'f') AND oid >= 16384 AND relpersistence <> 't' AND "
     "pg_table_is_visible(oid)",
     NULL, NULL, TW_ANSWER_SAME, TW_HIGH, TW_REVIEW,
     "names without a schema find other tables than today", "keep the schemas in search_path"},
    {"INSERT INTO pg_temp.twin_part VALUES (1)",
     "BEGIN; CREATE TEMP TABLE twin_whole (id int PRIMARY KEY) USING heap; CREATE TEMP TABLE twin_part "
     "(id int REFERENCES twin_whole) USING heap",
     "ROLLBACK", TW_ANSWER_REFUSED, TW_CRITICAL, TW_BLOCK,
     "foreign keys are not checked and triggers not fired any more",
     "set session_replication_role for the one session that needs it, never for all"},
    {"CREATE TABLE pg_temp.twin_table (id int, body text)", "BEGIN", "ROLLBACK", TW_ANSWER_WORKS, TW_HIGH,
     TW_REVIEW, "no table can be made any more", "see the server's words"},
    {"DO 'BEGIN NULL; END'", NULL, NULL, TW_ANSWER_WORKS, TW_HIGH, TW_REVIEW,
     "functions in PL/pgSQL do not run any more", "see the server's words"},
    {"PREPARE TRANSACTION 'twin question'", "BEGIN", "ROLLBACK PREPARED 'twin question'", TW_ANSWER_HOLDS,
     TW_HIGH, TW_REVIEW, "transactions cannot be prepared any more: whoever commits in two phases "
     "fails", "keep max_prepared_transactions at the peak of prepared ones"},
    {"SELECT current_setting('wal_level') = 'logical'", NULL, NULL, TW_ANSWER_HOLDS, TW_HIGH, TW_REVIEW,
     "changes can no longer be decoded: logical replication and change capture end",
     "keep wal_level=logical while anything subscribes"},
    {"SELECT current_setting('wal_level') <> 'minimal' AND current_setting('max_wal_senders')::int > 0",
     NULL, NULL, TW_ANSWER_HOLDS, TW_HIGH, TW_REVIEW, "no standby and no base backup can be taken any more",
     "keep wal_level=replica and some max_wal_senders"},
    {"SELECT current_setting('archive_mode') <> 'off'", NULL, NULL, TW_ANSWER_HOLDS, TW_HIGH, TW_REVIEW,
     "WAL is not archived any more: backups cannot be brought up to date", "keep archive_mode=on"},
    {"SELECT count(*) FROM pg_roles WHERE rolcanlogin AND (pg_has_role(oid, "
     "'pg_execute_server_program', 'USAGE') OR pg_has_role(oid, 'pg_write_server_files', 'USAGE') OR "
     "pg_has_role(oid, 'pg_read_server_files', 'USAGE'))",
     NULL, NULL, TW_ANSWER_COUNT, TW_HIGH, TW_REVIEW,
     "another role has the rights of a superuser, or the server's files",
     "grant what it needs on the objects that it needs"},
    {"SELECT count(*) FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee = 0 AND c.oid >= 16384 AND "
     "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')",
     NULL, NULL, TW_ANSWER_COUNT, TW_HIGH, TW_REVIEW,
     "everybody who can log in has rights on tables that were not everybody's",
     "grant them to roles instead of PUBLIC"},
    {"SELECT -count(*) FROM pg_class WHERE relrowsecurity", NULL, NULL, TW_ANSWER_COUNT, TW_HIGH,
     TW_REVIEW, "rows of a table are not kept apart by its policies any more",
     "keep row level security on"},
    {"SELECT query <> '' FROM pg_stat_activity WHERE pid = pg_backend_pid()", NULL, NULL, TW_ANSWER_HOLDS,
     TW_MEDIUM, TW_PROCEED, "what sessions do is not seen in pg_stat_activity any more",
     "keep track_activities=on"},
};

/* What the extensions of the database show: without its library many a view only fails. */
static const char views_sql[] =
    "SELECT " OURS "quote_ident(n.nspname) || '.' || quote_ident(c.relname), e.extname FROM pg_depend d "
    "JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v' JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_extension e ON e.oid = d.refobjid WHERE d.deptype = 'e' AND d.classid = "
    "'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass ORDER BY 1 LIMIT 8";

static void ask(struct tw_pg *pg, struct tw_arena *a, const struct question *q,
                struct tw_answers *ret)
{
    struct tw_answer answer = {.question = q->sql,
                               .rule = q->rule,
                               .code = codes[q->rule],
                               .severity = q->severity,
                               .at_least = q->at_least,
                               .title = q->title,
                               .remedy = q->remedy};
    struct tw_pg_rows rows = {0};
    struct tw_err why = {0};
    int r = q->before ? tw_pg_exec(pg, q->before, &why) : 0;

    if (r == 0)
        r = tw_pg_query(pg, a, q->sql, 0, NULL, &rows, &why);
    answer.failed = r < 0;
    if (r < 0)
        answer.words = tw_arena_strdup(a, why.text);
    else
        answer.words = rows.rows && rows.columns && rows.cells[0] ? rows.cells[0] : "";
    if (q->after && tw_pg_exec(pg, q->after, NULL) < 0)
        (void)tw_pg_exec(pg, "ROLLBACK", NULL);
    TW_PUSH(a, &ret->list, answer);
}

static int ask_views(struct tw_pg *pg, struct tw_arena *a, struct tw_answers *ret,
                     struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a, views_sql, 0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct question q = {
            .sql = tw_arena_printf(a, "SELECT true FROM %s LIMIT 1", CELL(0)),
            .rule = TW_ANSWER_WORKS,
            .severity = TW_HIGH,
            .at_least = TW_REVIEW,
            .title = tw_arena_printf(a, "extension %s does not work any more", CELL(1)),
            .remedy = "keep its library in shared_preload_libraries, or drop the extension first"};

        ask(pg, a, &q, ret);
    }
    return r;
}

int kind_pg_answers(struct tw_arena *a, struct tw_pg *pg, struct tw_answers *ret,
                    struct tw_err *err)
{
    int r = tw_pg_exec(pg, "SET statement_timeout = '2s'", err);

    for (size_t i = 0; i < TW_COUNT_OF(questions) && r == 0; i++)
        ask(pg, a, &questions[i], ret);
    if (r == 0)
        r = ask_views(pg, a, ret, err);
    return r;
}
