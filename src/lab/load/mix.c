/* What is sent: built-in mixes, script files, the target's own mix, or one guessed. */
#include "load_internal.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRIPT_MAX ((size_t)1 << 20)

/* The transactions of pgbench's manual, as scripts. */
static const struct builtin {
    const char *name, *summary, *script;
} builtins[] = {
    {"select-only", "a row of pgbench_accounts by its key",
     "\\set aid random(1, 100000 * :scale)\n"
     "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"},
    {"simple-update", "update and read an account, write history",
     "\\set aid random(1, 100000 * :scale)\n"
     "\\set tid random(1, 10 * :scale)\n"
     "\\set bid random(1, :scale)\n"
     "\\set delta random(-5000, 5000)\n"
     "BEGIN;\n"
     "UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n"
     "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
     "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)"
     " VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\n"
     "END;\n"},
    {"tpcb", "the TPC-B-like transaction of pgbench",
     "\\set aid random(1, 100000 * :scale)\n"
     "\\set bid random(1, :scale)\n"
     "\\set tid random(1, 10 * :scale)\n"
     "\\set delta random(-5000, 5000)\n"
     "BEGIN;\n"
     "UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n"
     "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
     "UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n"
     "UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n"
     "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)"
     " VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\n"
     "END;\n"},
};

/* ---- databases ---- */

static char *conninfo_to(struct tw_arena *a, PGconn *conn, const char *database)
{
    PQconninfoOption *options = PQconninfo(conn);
    tw_auto_buf b = {0};

    tw_buf_init(&b, 65536);
    for (PQconninfoOption *o = options; o && o->keyword; o++) {
        const char *value = !strcmp(o->keyword, "dbname") ? database : o->val;

        if (!value || !*value)
            continue;
        tw_buf_printf(&b, "%s='", o->keyword);
        for (; *value; value++)
            tw_buf_printf(&b, *value == '\'' || *value == '\\' ? "\\%c" : "%c", *value);
        tw_buf_puts(&b, "' ");
    }
    PQconninfoFree(options);
    return tw_arena_strdup(a, tw_buf_text(&b));
}

int load_database_open(struct tw_pg *pg, const char *database, struct tw_pg **ret,
                       struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    int r;

    if (!database || tw_streq(PQdb(tw_pg_raw(pg)), database)) {
        *ret = pg;
        return 0;
    }
    r = tw_pg_open(conninfo_to(a, tw_pg_raw(pg), database), (unsigned)-1,
                   tw_now_ns() + 10 * TW_SEC_NS, ret, err);
    return r < 0 ? tw_wrap(err, r, "database '%s' of the twin", database) : 0;
}

void load_database_close(struct tw_pg *pg, struct tw_pg *opened)
{
    if (opened != pg)
        tw_pg_close(opened);
}

/* The name of the entry of a list of totals by name that is largest. */
struct total {
    const char *name;
    double sum;
};
struct totals {
    TW_ARRAY(struct total) list;
};

static void total_add(struct tw_arena *a, struct totals *t, const char *name, double x)
{
    for (size_t i = 0; i < t->list.count; i++)
        if (tw_streq(t->list.items[i].name, name)) {
            t->list.items[i].sum += x;
            return;
        }
    TW_PUSH(a, &t->list, (struct total){name, x});
}

const char *load_main_database(const struct tw_snapshot *s)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct totals t = {0};
    const struct total *best = NULL;

    for (size_t i = 0; i < s->statements.count; i++)
        if (s->statements.items[i].database)
            total_add(a, &t, s->statements.items[i].database,
                      s->statements.items[i].total_ms);
    for (size_t i = 0; t.list.count == 0 && i < s->tables.count; i++)
        total_add(a, &t, s->tables.items[i].database, (double)s->tables.items[i].bytes);
    for (size_t i = 0; i < t.list.count; i++)
        if (!best || t.list.items[i].sum > best->sum)
            best = &t.list.items[i];
    return best ? best->name : NULL;
}

/* ---- built-in mixes and scripts ---- */

/* Rows of pgbench_branches, as pgbench reads its scale; -ENOENT: no such table. */
static int read_scale(struct tw_pg *pg, int64_t *ret)
{
    double there = 0, rows = 0;
    int r = tw_pg_double(pg, "SELECT (to_regclass('pgbench_branches') IS NOT NULL)::int",
                         &there, NULL);

    if (r < 0 || there == 0)
        return -ENOENT;
    r = tw_pg_double(pg, "SELECT count(*) FROM pgbench_branches", &rows, NULL);
    *ret = rows >= 1 ? (int64_t)rows : 1;
    return r;
}

/* The database of a pgbench load: where its tables are, else the target's main one. */
static const char *script_database(struct tw_arena *a, const struct tw_snapshot *s,
                                   struct tw_pg *pg, int64_t *ret_scale)
{
    const char *main_one = load_main_database(s), *here = PQdb(tw_pg_raw(pg));
    const char *first[] = {main_one ? main_one : here, here};

    *ret_scale = 0;
    for (size_t i = 0; i < 2 + s->databases.count; i++) {
        const char *name = i < 2 ? first[i] : s->databases.items[i - 2];
        struct tw_pg *other;
        int r;

        if (load_database_open(pg, name, &other, NULL) < 0)
            continue;
        r = read_scale(other, ret_scale);
        load_database_close(pg, other);
        if (r == 0)
            return tw_arena_strdup(a, name);
    }
    return tw_arena_strdup(a, first[0]);
}

static const struct builtin *find_builtin(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(builtins); i++)
        if (!strcmp(builtins[i].name, name))
            return &builtins[i];
    return NULL;
}

static int unknown_mix(const char *name, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(builtins)], *near;

    for (size_t i = 0; i < TW_COUNT_OF(builtins); i++)
        names[i] = builtins[i].name;
    near = tw_nearest(name, names, TW_COUNT_OF(builtins));
    return tw_fail(err, -EINVAL,
                   "load '%s' is neither a file nor one of select-only, simple-update, "
                   "tpcb%s%s%s",
                   name, near ? "; did you mean '" : "", near ? near : "",
                   near ? "'" : "");
}

/* "file.sql@3": the weight is what follows the last @, where that is a number. */
static char *split_weight(struct tw_arena *a, const char *spec, double *ret_weight)
{
    const char *at = strrchr(spec, '@');
    char *end;

    *ret_weight = 1;
    if (at && at[1]) {
        double weight = strtod(at + 1, &end);

        if (*end == '\0' && weight >= 0 && isfinite(weight)) {
            *ret_weight = weight;
            return tw_arena_strndup(a, spec, (size_t)(at - spec));
        }
    }
    return tw_arena_strdup(a, spec);
}

int tw_load_mix_there(struct tw_arena *a, const char *spec, struct tw_err *err)
{
    double weight;
    const char *name = split_weight(a, spec, &weight);

    return find_builtin(name) || access(spec, F_OK) == 0 || access(name, F_OK) == 0
               ? 0
               : unknown_mix(name, err);
}

static int add_script(struct tw_arena *a, const char *spec, int64_t scale,
                      struct tw_load_mix *mix, struct tw_err *err)
{
    struct load_constant constants[] = {
        {"scale", scale > 0 ? scale : 1}, {"client_id", 0}, {"random_seed", 0}};
    const struct builtin *builtin;
    tw_auto_free char *text = NULL;
    struct tw_load_item item;
    double weight;
    char *name = split_weight(a, spec, &weight);
    int r;

    builtin = find_builtin(name);
    if (builtin && scale <= 0)
        return tw_fail(
            err, -EINVAL,
            "load '%s' needs the tables of pgbench, and no database of the target "
            "has them: 'pgbench -i', or another load",
            name);
    if (!builtin) {
        r = tw_read_file(AT_FDCWD, name, SCRIPT_MAX, &text, NULL, err);
        if (r == -ENOENT)
            return unknown_mix(name, err);
        if (r < 0)
            return r;
    }
    r = load_script_parse(a, name, builtin ? builtin->script : text, constants,
                          TW_COUNT_OF(constants), &item, err);
    if (r < 0)
        return r;
    item.weight = weight;
    TW_PUSH(a, &mix->items, item);
    return 0;
}

static int mix_from_scripts(struct tw_arena *a, const struct tw_snapshot *s,
                            const char *const *mixes, size_t count, struct tw_pg *pg,
                            struct tw_load_mix *ret, struct tw_err *err)
{
    bool files = false;
    tw_auto_buf b = {0};
    int64_t scale;
    int r;

    ret->coverage = NAN;
    ret->database = script_database(a, s, pg, &scale);
    tw_buf_init(&b, 65536);
    for (size_t i = 0; i < count; i++) {
        const struct builtin *builtin = find_builtin(mixes[i]);

        r = add_script(a, mixes[i], scale, ret, err);
        if (r < 0)
            return r;
        files |= !builtin;
        tw_buf_printf(&b, "%s%s", i ? ", " : "", mixes[i]);
        if (builtin && count == 1)
            tw_buf_printf(&b, ": %s", builtin->summary);
    }
    ret->source = files ? "script" : "built-in";
    ret->description = tw_arena_strdup(a, tw_buf_text(&b));
    return 0;
}

/* ---- the target's own ---- */

struct tw_load_item load_item_new(void)
{
    return (struct tw_load_item){.source_share = NAN,
                                 .source_mean_ms = NAN,
                                 .source_rows = NAN,
                                 .source_blocks = NAN};
}

/* Shares of requests. */
void load_mix_level(struct tw_load_mix *mix)
{
    double sum = 0;

    for (size_t i = 0; i < mix->items.count; i++)
        sum += mix->items.items[i].weight;
    for (size_t i = 0; i < mix->items.count && sum > 0; i++)
        mix->items.items[i].weight /= sum;
}

/* Statistics copied from a primary tell of writes, which nobody sends to its standby. */
static int leave_out_writes(struct tw_arena *a, struct tw_pg *pg, struct tw_load_mix *mix,
                            struct tw_err *err)
{
    double standby = 0;
    size_t n = 0;
    int r = tw_pg_double(pg, "SELECT pg_is_in_recovery()::int", &standby, err);

    if (r < 0 || standby == 0)
        return r;
    for (size_t i = 0; i < mix->items.count; i++) {
        if (mix->items.items[i].writes)
            TW_PUSH(a, &mix->missing,
                    tw_arena_printf(a, "%s: nothing is written to a standby",
                                    mix->items.items[i].name));
        else
            mix->items.items[n++] = mix->items.items[i];
    }
    mix->items.count = n;
    return 0;
}

static int own_mix(struct tw_arena *a, const struct tw_snapshot *s, struct tw_pg *pg,
                   struct tw_load_mix *ret, struct tw_err *err)
{
    int r = load_mix_from_statements(a, s, pg, ret, err);

    if (r == 0 && ret->items.count == 0)
        r = load_mix_guess(a, s, pg, ret, err);
    return r == 0 ? leave_out_writes(a, pg, ret, err) : r;
}

int tw_load_mix_make(struct tw_arena *a, const struct tw_snapshot *s,
                     const char *const *mixes, size_t mix_count, struct tw_pg *pg,
                     struct tw_load_mix *ret, struct tw_err *err)
{
    struct tw_load_mix mix = {.coverage = NAN};
    struct load_program *program;
    struct tw_pg *there = pg;
    int r;

    if (mix_count > 0) {
        r = mix_from_scripts(a, s, mixes, mix_count, pg, &mix, err);
    } else {
        mix.database = tw_arena_strdup(a, load_main_database(s));
        if (!mix.database)
            mix.database = tw_arena_strdup(a, PQdb(tw_pg_raw(pg)));
        r = load_database_open(pg, mix.database, &there, err);
        if (r < 0)
            return r;
        r = own_mix(a, s, there, &mix, err);
        load_database_close(pg, there);
    }
    if (r < 0)
        return r;
    load_mix_level(&mix);
    r = load_program_new(a, &mix, &program, err); /* what cannot be sent is said now */
    if (r < 0)
        return r;
    *ret = mix;
    return 0;
}
