/* A mix where no statements are known: what the counters of the tables say was done to
 * them.
 *
 * An index scan becomes a read by the key (nine in ten) or a range, a write an update of
 * a column outside all indexes to itself, a sequential scan a count over as many rows.
 * Rows inserted say little, for a bulk load counts them too: they weigh a part of all
 * else at most. Where nothing but loading and building was ever counted, reads by key
 * weighted by the tables' sizes. */
#include "load_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TABLES_MOST  12
#define RANGE_SHARE  0.1
#define RANGE_ROWS   100
#define UPDATE_SHARE 0.1  /* of the requests, where nothing was counted */
#define INSERT_SHARE 0.25 /* of all other activity, at most */
#define BUILD_SCANS  10   /* what loading and index builds do to a table */

struct guess {
    struct tw_arena *a;
    struct tw_pg *pg;
    struct tw_load_mix *mix;
    struct load_columns columns;
    bool counted; /* the target's counters tell something */
    double used;  /* scans, updates and deletes of all tables */
    double inserts;
    struct tw_err *err;
};
struct candidate {
    const struct tw_table *table;
    double activity;
};

static double touches(const struct tw_table *t)
{
    return (double)(t->seq_scans + t->idx_scans + t->updates + t->deletes);
}

static bool in_use(const struct tw_table *t)
{
    return t->idx_scans + t->updates + t->deletes > 0 || t->seq_scans > BUILD_SCANS;
}

static int more_active(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;

    return (a->activity < b->activity) - (a->activity > b->activity);
}

/* The columns of one table stand together. */
static struct load_column *columns_of(struct guess *g, const struct tw_table *t,
                                      size_t *ret_count)
{
    struct load_column *first = NULL;

    *ret_count = 0;
    for (size_t i = 0; i < g->columns.list.count; i++) {
        struct load_column *c = &g->columns.list.items[i];

        if (!tw_streq(c->schema, t->schema) || !tw_streq(c->table, t->name))
            continue;
        first = first ? first : c;
        ++*ret_count;
    }
    return first;
}

static size_t key_of(struct load_column *columns, size_t n, struct load_column **ret_key)
{
    size_t width = 0;

    for (size_t i = 0; i < n; i++)
        if (columns[i].key_position > 0 && columns[i].key_position <= 32) {
            ret_key[columns[i].key_position - 1] = &columns[i];
            width++;
        }
    return n && width == (size_t)columns[0].key_width ? width : 0;
}

static char *where_key(struct tw_arena *a, struct load_column *const *key, size_t width)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 65536);
    for (size_t i = 0; i < width; i++)
        tw_buf_printf(&b, "%s%s = $%zu", i ? " AND " : "",
                      tw_pg_quote_ident(a, key[i]->name), i + 1);
    return tw_arena_strdup(a, tw_buf_text(&b));
}

static void add_item(struct guess *g, struct tw_load_item *item, const char *sql)
{
    struct tw_load_statement *s = load_statement_add(g->a, item, sql);

    for (size_t i = 0; i < item->variables.count; i++)
        TW_PUSH(g->a, &s->variables, (int)i);
    item->text = sql;
    TW_PUSH(g->a, &g->mix->items, *item);
}

/* A column that an update may write without touching an index; NULL: none. */
static const struct load_column *spare_column(const struct load_column *columns, size_t n)
{
    const struct load_column *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (!columns[i].fixed && columns[i].key_position == 0 &&
            (!best || (best->indexed && !columns[i].indexed)))
            best = &columns[i];
    return best;
}

struct shares {
    double point, range, update, count;
};

static struct shares shares_of(const struct guess *g, const struct tw_table *t)
{
    double most = INSERT_SHARE * g->used; /* of inserts, shared out among the tables */
    double inserts = (double)t->inserts * fmin(1, most / fmax(g->inserts, 1));
    double writes = inserts + (double)(t->updates + t->deletes);
    double reads = fmax(0, (double)t->idx_scans - (double)(t->updates + t->deletes));
    double size = (double)t->bytes;

    if (g->counted)
        return (struct shares){reads * (1 - RANGE_SHARE), reads * RANGE_SHARE, writes,
                               (double)t->seq_scans};
    return (struct shares){size * (1 - RANGE_SHARE - UPDATE_SHARE), size * RANGE_SHARE,
                           size * UPDATE_SHARE, 0};
}

static int add_keyed(struct guess *g, struct load_column *columns, size_t n,
                     const struct shares *share)
{
    struct load_column *key[32];
    size_t width = key_of(columns, n, key);
    const struct load_column *spare = spare_column(columns, n);
    const char *table = load_table_name(g->a, columns), *where;
    struct tw_load_item item = load_item_new(), range = load_item_new(), update;
    int r;

    if (width == 0)
        return 0;
    where = where_key(g->a, key, width);
    r = load_key_variables(g->a, g->pg, key, width, &item, g->err);
    if (r == -ENODATA)
        return 0;
    if (r >= 0)
        r = load_key_variables(g->a, g->pg, key, 1, &range, g->err);
    if (r < 0)
        return r;

    update = item;
    item.name = tw_arena_printf(g->a, "select by key of %s", columns->table);
    item.weight = share->point;
    if (item.weight > 0)
        add_item(g, &item,
                 tw_arena_printf(g->a, "SELECT * FROM %s WHERE %s", table, where));
    range.name = tw_arena_printf(g->a, "range by index of %s", columns->table);
    range.weight = share->range;
    if (range.weight > 0) {
        const char *first = tw_pg_quote_ident(g->a, key[0]->name);

        add_item(g, &range,
                 tw_arena_printf(g->a,
                                 "SELECT * FROM %s WHERE %s >= $1 ORDER BY %s LIMIT %d",
                                 table, first, first, RANGE_ROWS));
    }
    if (spare && share->update > 0) {
        const char *name = tw_pg_quote_ident(g->a, spare->name);

        update.name =
            tw_arena_printf(g->a, "update of %s in %s", spare->name, columns->table);
        update.weight = share->update;
        update.writes = true;
        add_item(g, &update,
                 tw_arena_printf(g->a, "UPDATE %s SET %s = %s WHERE %s", table, name,
                                 name, where));
    }
    return 0;
}

/* Counts as many rows as a sequential scan of the target read on average. */
static void add_count(struct guess *g, const struct tw_table *t,
                      const struct load_column *columns, double weight)
{
    struct tw_load_item item = load_item_new();
    const char *table = load_table_name(g->a, columns);
    double rows = t->seq_scans > 0 ? (double)t->seq_rows / (double)t->seq_scans : 0;

    if (!(weight > 0))
        return;
    item.weight = weight;
    item.name = tw_arena_printf(g->a, "count over %s", t->name);
    if (rows < 0.5 * columns->rows)
        add_item(g, &item,
                 tw_arena_printf(g->a,
                                 "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %.0f) x",
                                 table, fmax(rows, 1)));
    else
        add_item(g, &item, tw_arena_printf(g->a, "SELECT count(*) FROM %s", table));
}

static int add_table(struct guess *g, const struct tw_table *t)
{
    struct shares share = shares_of(g, t);
    struct load_column *columns;
    size_t n;
    int r;

    columns = columns_of(g, t, &n);
    if (n == 0 || !(columns->rows > 0))
        return 0;
    r = add_keyed(g, columns, n, &share);
    if (r >= 0)
        add_count(g, t, columns, share.count);
    return r;
}

int load_mix_guess(struct tw_arena *a, const struct tw_snapshot *s, struct tw_pg *pg,
                   struct tw_load_mix *ret, struct tw_err *err)
{
    struct guess g = {.a = a, .pg = pg, .mix = ret, .err = err};
    struct candidate *tables = tw_arena_alloc(a, (s->tables.count + 1) * sizeof *tables);
    struct load_relation *relations =
        tw_arena_alloc(a, (s->tables.count + 1) * sizeof *relations);
    size_t n = 0;
    int r;

    for (size_t i = 0; i < s->tables.count; i++) {
        const struct tw_table *t = &s->tables.items[i];

        if (!tw_streq(t->database, ret->database) || t->bytes == 0)
            continue;
        g.counted |= in_use(t);
        g.used += touches(t);
        g.inserts += (double)t->inserts;
        tables[n++].table = t;
    }
    for (size_t i = 0; i < n; i++)
        tables[i].activity =
            g.counted ? touches(tables[i].table) : (double)tables[i].table->bytes;
    qsort(tables, n, sizeof *tables, more_active);
    n = n > TABLES_MOST ? TABLES_MOST : n;
    for (size_t i = 0; i < n; i++)
        relations[i] = (struct load_relation){.schema = tables[i].table->schema,
                                              .name = tables[i].table->name};
    r = load_columns_read(a, pg, relations, n, &g.columns, err);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = add_table(&g, tables[i].table);
    if (r < 0)
        return r;
    if (ret->items.count == 0)
        return tw_fail(
            err, -ENODATA,
            "database '%s' has no rows that a load could read: give one by name "
            "(select-only, tpcb, or a pgbench script)",
            ret->database);
    ret->source = "table statistics";
    ret->coverage = NAN;
    ret->description =
        tw_arena_printf(a, "%zu kinds of requests guessed from %s of %zu tables",
                        ret->items.count, g.counted ? "the counters" : "the sizes", n);
    return 0;
}
