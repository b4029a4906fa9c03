/* Columns as the twin's catalogue knows them, and values that are really in them. */
#include "load_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_ROWS 5000.0
#define DENSE      0.8 /* share of the numbers between smallest and largest that exist */
#define VALUE_MAX  "2000"

enum field {
    F_SCHEMA,
    F_TABLE,
    F_NAME,
    F_TYPE,
    F_CATEGORY,
    F_INTEGER,
    F_FIXED,
    F_ROWS,
    F_PAGES,
    F_DISTINCT,
    F_CORRELATION,
    F_UNIQUE,
    F_LEADS,
    F_INDEXED,
    F_KEY,
    F_KEY_WIDTH,
};
/* The key of a table: its primary key, else a unique one of plain columns, the narrowest.
 * A table that was never analysed is estimated from its size. */
static const char columns_sql[] =
    "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),"
    " t.typcategory, (t.typname IN ('int2', 'int4', 'int8'))::int,"
    " (a.attgenerated <> '' OR a.attidentity = 'a')::int,"
    " CASE WHEN c.reltuples > 0 THEN c.reltuples"
    "  WHEN pg_stat_get_live_tuples(c.oid) > 0 THEN pg_stat_get_live_tuples(c.oid)"
    "  ELSE size.pages * 60 END,"
    " size.pages, coalesce(s.n_distinct, 0), coalesce(s.correlation, 0),"
    " (EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique"
    "  AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL))::int,"
    " (EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum"
    "  AND i.indpred IS NULL))::int,"
    " (EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid"
    "  AND a.attnum = ANY (i.indkey)))::int,"
    " coalesce((SELECT p.k + 1 FROM generate_series(0, key.indnkeyatts - 1) p(k)"
    "  WHERE key.indkey[p.k] = a.attnum), 0), coalesce(key.indnkeyatts, 0)"
    " FROM (VALUES %s) want(s, r)"
    " JOIN pg_class c ON c.relname = want.r AND c.relkind IN ('r', 'p', 'm')"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  AND CASE WHEN want.s IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = "
    "want.s END"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " JOIN pg_type t ON t.oid = a.atttypid"
    " CROSS JOIN LATERAL (SELECT ceil(pg_table_size(c.oid) / 8192.0) AS pages) size"
    " LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname"
    "  AND s.attname = a.attname AND NOT s.inherited"
    " LEFT JOIN LATERAL (SELECT i.indkey, i.indnkeyatts FROM pg_index i"
    "  WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL"
    "  AND i.indexprs IS NULL ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid "
    "LIMIT 1)"
    "  key ON true"
    " ORDER BY c.oid, a.attnum";

static double cell_real(const struct tw_pg_rows *r, int row, int column)
{
    const char *text = tw_pg_cell(r, row, column);

    return text ? strtod(text, NULL) : NAN;
}

static struct load_column column_of(const struct tw_pg_rows *r, int row)
{
    struct load_column c = {
        .schema = tw_pg_cell(r, row, F_SCHEMA),
        .table = tw_pg_cell(r, row, F_TABLE),
        .name = tw_pg_cell(r, row, F_NAME),
        .type = tw_pg_cell(r, row, F_TYPE),
        .category = tw_pg_cell(r, row, F_CATEGORY)[0],
        .integer = cell_real(r, row, F_INTEGER) > 0,
        .fixed = cell_real(r, row, F_FIXED) > 0,
        .rows = cell_real(r, row, F_ROWS),
        .pages = cell_real(r, row, F_PAGES),
        .distinct = cell_real(r, row, F_DISTINCT),
        .correlation = cell_real(r, row, F_CORRELATION),
        .unique = cell_real(r, row, F_UNIQUE) > 0,
        .leads_index = cell_real(r, row, F_LEADS) > 0,
        .indexed = cell_real(r, row, F_INDEXED) > 0,
        .key_position = (int)cell_real(r, row, F_KEY),
        .key_width = (int)cell_real(r, row, F_KEY_WIDTH),
        .low = NAN,
        .high = NAN,
    };

    /* pg_stats: below zero it is a share of the rows. */
    if (c.distinct < 0)
        c.distinct *= -c.rows;
    if (c.unique)
        c.distinct = c.rows;
    return c;
}

int load_columns_read(struct tw_arena *a, struct tw_pg *pg,
                      const struct load_relation *relations, size_t count,
                      struct load_columns *ret, struct tw_err *err)
{
    struct tw_pg_rows rows;
    tw_auto_buf want = {0}, sql = {0};
    int r;

    *ret = (struct load_columns){0};
    if (count == 0)
        return 0;
    tw_buf_init(&want, (size_t)4 << 20);
    tw_buf_init(&sql, (size_t)4 << 20);
    for (size_t i = 0; i < count; i++)
        tw_buf_printf(&want, "%s(%s::name, %s::name)", i ? ", " : "",
                      relations[i].schema ? tw_pg_quote_literal(a, relations[i].schema)
                                          : "NULL",
                      tw_pg_quote_literal(a, relations[i].name));
    tw_buf_add(&sql, columns_sql, (size_t)(strstr(columns_sql, "%s") - columns_sql));
    tw_buf_puts(&sql, tw_buf_text(&want));
    tw_buf_puts(&sql, strstr(columns_sql, "%s") + 2);
    r = tw_pg_query(pg, a, tw_buf_text(&sql), 0, NULL, &rows, err);
    if (r < 0)
        return tw_wrap(err, r, "reading the columns that the load uses");
    for (int i = 0; i < rows.rows; i++)
        TW_PUSH(a, &ret->list, column_of(&rows, i));
    return 0;
}

char *load_table_name(struct tw_arena *a, const struct load_column *c)
{
    return tw_arena_printf(a, "%s.%s", tw_pg_quote_ident(a, c->schema),
                           tw_pg_quote_ident(a, c->table));
}

/* Smallest and largest from the ends of the index. */
static void read_bounds(struct tw_arena *a, struct tw_pg *pg, struct load_column *c)
{
    const char *name = tw_pg_quote_ident(a, c->name);
    struct tw_pg_rows rows;

    c->bounds_read = true;
    if (tw_pg_query(pg, a,
                    tw_arena_printf(a, "SELECT min(%s), max(%s) FROM %s", name, name,
                                    load_table_name(a, c)),
                    0, NULL, &rows, NULL) < 0 ||
        rows.rows != 1)
        return;
    c->low = cell_real(&rows, 0, 0);
    c->high = cell_real(&rows, 0, 1);
}

bool load_column_dense(struct tw_arena *a, struct tw_pg *pg, struct load_column *c)
{
    if (!c->integer || !c->leads_index || c->distinct < 2)
        return false;
    if (!c->bounds_read)
        read_bounds(a, pg, c);
    return c->high > c->low && c->distinct / (c->high - c->low + 1) >= DENSE &&
           fabs(c->low) < 9e18 && fabs(c->high) < 9e18;
}

char *load_sample_from(struct tw_arena *a, const struct load_column *c, double pages,
                       const char **ret_filter)
{
    double share, rows;

    *ret_filter = "true";
    if (!(c->rows > SMALL_ROWS) || !(c->pages > 0))
        return tw_arena_printf(a, "(SELECT * FROM %s ORDER BY random() LIMIT %d) sampled",
                               load_table_name(a, c), LOAD_SAMPLE);
    share = fmin(1, fmax(pages / c->pages, 3 * LOAD_SAMPLE / c->rows));
    rows = share * c->rows;
    /* Under the LIMIT, which would cut off the end of the table. */
    if (rows > 0.9 * LOAD_SAMPLE)
        *ret_filter = tw_arena_printf(a, "random() < %.6g", 0.9 * LOAD_SAMPLE / rows);
    return tw_arena_printf(a, "%s sampled TABLESAMPLE SYSTEM (%.6g)",
                           load_table_name(a, c), 100 * share);
}

int load_sample_rows(struct tw_arena *a, struct tw_pg *pg,
                     const struct load_column *const *columns, size_t count,
                     struct tw_pg_rows *ret, struct tw_err *err)
{
    const char *filter;
    char *from = load_sample_from(a, columns[0], LOAD_SAMPLE_PAGES, &filter);
    tw_auto_buf sql = {0};
    int r;

    tw_buf_init(&sql, (size_t)1 << 20);
    tw_buf_puts(&sql, "SELECT ");
    for (size_t i = 0; i < count; i++)
        tw_buf_printf(&sql, "%s%s::text", i ? ", " : "",
                      tw_pg_quote_ident(a, columns[i]->name));
    tw_buf_printf(&sql, " FROM %s WHERE %s", from, filter);
    for (size_t i = 0; i < count; i++)
        tw_buf_printf(&sql, " AND octet_length(%s::text) <= " VALUE_MAX,
                      tw_pg_quote_ident(a, columns[i]->name)); /* no NULL either */
    tw_buf_printf(&sql, " LIMIT %d", LOAD_SAMPLE);
    r = tw_pg_query(pg, a, tw_buf_text(&sql), 0, NULL, ret, err);
    return r < 0 ? tw_wrap(err, r, "reading values of table '%s'", columns[0]->table) : 0;
}

int load_key_variables(struct tw_arena *a, struct tw_pg *pg,
                       struct load_column *const *columns, size_t count,
                       struct tw_load_item *item, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r;

    if (count == 1 && load_column_dense(a, pg, columns[0])) {
        struct tw_load_variable *v = load_variable_add(a, item, columns[0]->name);

        v->kind = TW_VAR_UNIFORM;
        v->low = (int64_t)columns[0]->low;
        v->high = (int64_t)columns[0]->high;
        return 0;
    }
    r = load_sample_rows(a, pg, (const struct load_column *const *)columns, count, &rows,
                         err);
    if (r < 0)
        return r;
    if (rows.rows == 0)
        return -ENODATA;
    for (size_t i = 0; i < count; i++) {
        struct tw_load_variable *v = load_variable_add(a, item, columns[i]->name);

        v->kind = TW_VAR_PICK;
        v->expression = load_table_name(a, columns[0]);
        for (int row = 0; row < rows.rows; row++)
            TW_PUSH(a, &v->values, tw_pg_cell(&rows, row, (int)i));
    }
    return 0;
}
