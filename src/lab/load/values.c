/* Values for the parameters of a statement: drawn from the columns that they are compared
 * with or written to, so that the statement finds, touches and returns what it does at
 * the source. */
#include "load_internal.h"

#include <libpq-fe.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MOST 32
#define ARRAYS       200
#define ARRAY_MOST   50
#define FRESH_SPAN   1000000000LL
#define WIDE         0.9 /* share of the rows within a bound that does not select */

struct type {
    const char *name;
    char category;
};
struct builder {
    struct load_values *v;
    const struct load_query *q;
    const struct tw_statement *s;
    struct tw_load_item *item;
    struct type *types; /* of $1 … */
    int count;
    char *sql; /* may be rewritten */
    struct tw_err *err;
};

/* ---- what a parameter is compared with ---- */

static const struct load_use *use_of(const struct builder *b, int parameter)
{
    for (size_t i = 0; i < b->q->uses.count; i++)
        if (b->q->uses.items[i].parameter == parameter)
            return &b->q->uses.items[i];
    return NULL;
}

static bool in_relation(const struct load_column *c, const struct load_relation *r)
{
    return !strcmp(c->table, r->name) && (!r->schema || !strcmp(c->schema, r->schema));
}

/* The position-th column of the table that is inserted into. */
static struct load_column *column_at(const struct builder *b, int position)
{
    for (size_t i = 0; b->q->relations.count && i < b->v->columns.list.count; i++) {
        struct load_column *c = &b->v->columns.list.items[i];

        if (in_relation(c, &b->q->relations.items[0]) && position-- == 0)
            return c;
    }
    return NULL;
}

static struct load_column *resolve(const struct builder *b, const struct load_use *use)
{
    if (!use->column)
        return use->role == LOAD_ROLE_INSERT ? column_at(b, use->position) : NULL;
    for (size_t i = 0; i < b->q->relations.count; i++) {
        const struct load_relation *r = &b->q->relations.items[i];

        if (use->qualifier && strcmp(use->qualifier, r->alias ? r->alias : r->name) != 0)
            continue;
        for (size_t k = 0; k < b->v->columns.list.count; k++) {
            struct load_column *c = &b->v->columns.list.items[k];

            if (in_relation(c, r) && !strcmp(c->name, use->column))
                return c;
        }
    }
    return NULL;
}

/* ---- samples, each read once ---- */

static const struct tw_pg_rows *remember(struct load_values *v, const char *key,
                                         const struct tw_pg_rows *rows)
{
    TW_PUSH(v->a, &v->samples, (struct load_sampled){.key = key, .rows = *rows});
    return &v->samples.items[v->samples.count - 1].rows;
}

static const struct tw_pg_rows *remembered(const struct load_values *v, const char *key)
{
    for (size_t i = 0; i < v->samples.count; i++)
        if (!strcmp(v->samples.items[i].key, key))
            return &v->samples.items[i].rows;
    return NULL;
}

static const struct tw_pg_rows *sample(struct load_values *v,
                                       const struct load_column *const *columns, size_t n)
{
    const struct tw_pg_rows *known;
    struct tw_pg_rows rows;
    tw_auto_buf key = {0};

    tw_buf_init(&key, 65536);
    tw_buf_printf(&key, "rows %s", load_table_name(v->a, columns[0]));
    for (size_t i = 0; i < n; i++)
        tw_buf_printf(&key, " %s", tw_pg_quote_ident(v->a, columns[i]->name));
    known = remembered(v, tw_buf_text(&key));
    if (known)
        return known;
    if (load_sample_rows(v->a, v->pg, columns, n, &rows, NULL) < 0)
        rows = (struct tw_pg_rows){0};
    return remember(v, tw_arena_strdup(v->a, tw_buf_text(&key)), &rows);
}

/* Ascending values of a column, and the end of a range of step beginning there. */
static const struct tw_pg_rows *sorted(struct load_values *v, const struct load_column *c,
                                       double fraction)
{
    const char *name = tw_pg_quote_ident(v->a, c->name), *filter, *from, *step = "NULL";
    char *key = tw_arena_printf(v->a, "sorted %s %s %.9g", load_table_name(v->a, c), name,
                                fraction);
    const struct tw_pg_rows *known = remembered(v, key);
    struct tw_pg_rows rows;

    if (known)
        return known;
    if (c->category == 'N')
        step = tw_arena_printf(v->a,
                               c->integer ? "(c + floor((mx - mn) * %.12g)::numeric)"
                                          : "(c + (mx - mn) * %.12g)",
                               fraction);
    if (c->category == 'D')
        step = tw_arena_printf(v->a, "(c + (mx::timestamp - mn::timestamp) * %.12g)",
                               fraction);
    from = load_sample_from(v->a, c, LOAD_SORT_PAGES, &filter);
    if (tw_pg_query(v->pg, v->a,
                    tw_arena_printf(
                        v->a,
                        "WITH s AS MATERIALIZED (SELECT %s AS c FROM %s WHERE %s AND %s"
                        " IS NOT NULL LIMIT %d), e AS (SELECT min(c) mn, max(c) mx"
                        " FROM s) SELECT c::text, %s::text FROM s, e ORDER BY c",
                        name, from, filter, name, LOAD_SAMPLE, step),
                    0, NULL, &rows, NULL) < 0)
        rows = (struct tw_pg_rows){0};
    return remember(v, key, &rows);
}

/* ---- adding variables ---- */

static struct tw_load_variable *add(struct builder *b, int parameter)
{
    return load_variable_add(b->v->a, b->item,
                             tw_arena_printf(b->v->a, "p%d", parameter));
}

static int add_uniform(struct builder *b, int parameter, int64_t low, int64_t high)
{
    struct tw_load_variable *v = add(b, parameter);

    v->kind = TW_VAR_UNIFORM;
    v->low = low;
    v->high = high;
    return 0;
}

static int add_pick(struct builder *b, int parameter, const struct tw_pg_rows *rows,
                    int column, const char *group)
{
    struct tw_load_variable *v;

    if (rows->rows == 0)
        return -ENODATA;
    v = add(b, parameter);
    v->kind = TW_VAR_PICK;
    v->expression = group;
    for (int i = 0; i < rows->rows; i++)
        TW_PUSH(b->v->a, &v->values, tw_pg_cell(rows, i, column));
    return 0;
}

static int add_constant(struct builder *b, int parameter, const char *text)
{
    struct tw_load_variable *v = add(b, parameter);

    v->kind = TW_VAR_PICK;
    TW_PUSH(b->v->a, &v->values, text);
    return 0;
}

/* ---- the roles ---- */

/* Rows of the table that a call touches at the source, as far as its figures tell. */
static double rows_touched(const struct builder *b, const struct load_column *c)
{
    double per_page = c->pages > 0 ? c->rows / c->pages : 1;

    if (!b->q->aggregates)
        return fmax(b->s->rows_per_call, 1);
    if (!(b->s->blocks_per_call > 0))
        return 1;
    return fmax(1, b->s->blocks_per_call * (fabs(c->correlation) > 0.9 ? per_page : 1));
}

/* Does some other parameter pick out few rows? Then a bound beside it is no narrow one.
 */
static bool selective(const struct builder *b)
{
    for (size_t i = 0; i < b->q->uses.count; i++) {
        enum load_role role = b->q->uses.items[i].role;

        if (role == LOAD_ROLE_EQUAL || role == LOAD_ROLE_IN || role == LOAD_ROLE_ANY)
            return true;
    }
    return false;
}

static double share_touched(const struct builder *b, const struct load_column *c)
{
    if (selective(b))
        return WIDE;
    return c->rows > 0 ? fmin(1, rows_touched(b, c) / c->rows) : 1;
}

static bool ties(enum load_role role, const struct load_column *c)
{
    return role == LOAD_ROLE_EQUAL || role == LOAD_ROLE_INSERT ||
           (role == LOAD_ROLE_ASSIGN && c->unique);
}

/* The columns of c's table that this statement takes from one row, each once. */
static size_t tied_columns(const struct builder *b, const struct load_column *c,
                           const struct load_column **ret, int *ret_parameters)
{
    size_t n = 0;

    for (int p = 1; p <= b->count && n < COLUMNS_MOST; p++) {
        const struct load_use *use = use_of(b, p);
        const struct load_column *other = use ? resolve(b, use) : NULL;
        bool known = false;

        if (!other || !ties(use->role, other) || strcmp(other->table, c->table) != 0 ||
            strcmp(other->schema, c->schema) != 0)
            continue;
        for (size_t i = 0; i < n; i++)
            known |= ret[i] == other;
        if (known)
            continue;
        ret[n] = other;
        ret_parameters[n++] = p;
    }
    return n;
}

/* A value of a row that exists; further columns compared in the statement are of the same
 * row. */
static int from_row(struct builder *b, int parameter, struct load_column *c)
{
    const struct load_column *columns[COLUMNS_MOST];
    int parameters[COLUMNS_MOST];
    size_t n = tied_columns(b, c, columns, parameters);
    const struct tw_pg_rows *rows;

    if (n == 1 && load_column_dense(b->v->a, b->v->pg, c))
        return add_uniform(b, parameter, (int64_t)c->low, (int64_t)c->high);
    rows = n ? sample(b->v, columns, n) : NULL;
    for (size_t i = 0; rows && rows->rows && i < n; i++)
        if (columns[i] == c)
            return add_pick(b, parameter, rows, (int)i,
                            parameters[i] == parameter ? load_table_name(b->v->a, c)
                                                       : NULL);
    columns[0] = c;
    return add_pick(b, parameter, sample(b->v, columns, 1), 0, NULL);
}

static int from_column(struct builder *b, int parameter, struct load_column *c)
{
    const struct load_column *columns[] = {c};

    if (load_column_dense(b->v->a, b->v->pg, c))
        return add_uniform(b, parameter, (int64_t)c->low, (int64_t)c->high);
    return add_pick(b, parameter, sample(b->v, columns, 1), 0, NULL);
}

static void add_element(struct tw_buf *b, const char *text)
{
    tw_buf_puts(b, b->len > 1 ? ",\"" : "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            tw_buf_add(b, "\\", 1);
        tw_buf_add(b, text, 1);
    }
    tw_buf_puts(b, "\"");
}

/* = ANY ($1): arrays of as many values as rows come back. */
static int from_arrays(struct builder *b, int parameter, struct load_column *c)
{
    const struct load_column *columns[] = {c};
    const struct tw_pg_rows *rows = sample(b->v, columns, 1);
    int size = (int)fmin(fmax(round(b->s->rows_per_call), 1), ARRAY_MOST);
    struct tw_load_variable *v;
    struct tw_rng rng;

    if (b->types[parameter - 1].category != 'A')
        return from_column(b, parameter, c);
    if (rows->rows == 0)
        return -ENODATA;
    tw_rng_seed(&rng, (uint64_t)b->s->query_id, (uint64_t)parameter);
    v = add(b, parameter);
    v->kind = TW_VAR_PICK;
    for (int i = 0; i < ARRAYS; i++) {
        tw_auto_buf text = {0};

        tw_buf_init(&text, (size_t)1 << 20);
        tw_buf_puts(&text, "{");
        for (int k = 0; k < size; k++)
            add_element(
                &text,
                tw_pg_cell(rows, (int)tw_rng_below(&rng, (uint64_t)rows->rows), 0));
        tw_buf_puts(&text, "}");
        TW_PUSH(b->v->a, &v->values, tw_arena_strdup(b->v->a, tw_buf_text(&text)));
    }
    return 0;
}

/* Where the range ends that begins at row i: as many rows further as the source touches.
 * Shares too small for the sample are measured along the scale of the column instead. */
static const char *range_end(const struct tw_pg_rows *rows, int i, double share)
{
    int step = (int)lround(share * rows->rows), last = rows->rows - 1;

    if (step < 2 && tw_pg_cell(rows, i, 1))
        return tw_pg_cell(rows, i, 1);
    return tw_pg_cell(
        rows, i + (step > 1 ? step : 1) > last ? last : i + (step > 1 ? step : 1), 0);
}

static int from_range(struct builder *b, int parameter, struct load_column *c, bool high)
{
    double share = share_touched(b, c);
    const struct tw_pg_rows *rows = sorted(b->v, c, share);
    int keep = rows->rows - (int)lround(share * rows->rows);
    struct tw_load_variable *v;

    if (rows->rows == 0)
        return -ENODATA;
    v = add(b, parameter);
    v->kind = TW_VAR_PICK;
    v->expression =
        tw_arena_printf(b->v->a, "range %s %s", load_table_name(b->v->a, c), c->name);
    for (int i = 0; i < (keep > 1 ? keep : 1); i++)
        TW_PUSH(b->v->a, &v->values,
                high ? range_end(rows, i, share) : tw_pg_cell(rows, i, 0));
    return 0;
}

/* Is there a bound on the other side too? */
static bool bounded(const struct builder *b, const struct load_use *use,
                    enum load_role other)
{
    for (size_t i = 0; i < b->q->uses.count; i++)
        if (b->q->uses.items[i].role == other &&
            tw_streq(b->q->uses.items[i].column, use->column))
            return true;
    return false;
}

/* One-sided: the bound with as many rows beyond it as the source touches; NULL: none
 * known. */
static const char *edge_of(struct builder *b, struct load_column *c, bool greater)
{
    double share = share_touched(b, c);
    const struct tw_pg_rows *rows = sorted(b->v, c, share);
    int beyond = (int)lround(share * rows->rows);
    int at = greater ? rows->rows - 1 - beyond : beyond;

    if (rows->rows == 0)
        return NULL;
    return tw_pg_cell(rows, at < 0 ? 0 : at >= rows->rows ? rows->rows - 1 : at, 0);
}

static int from_edge(struct builder *b, int parameter, struct load_column *c,
                     bool greater)
{
    const char *edge;

    if (b->q->limited)
        return from_column(b, parameter, c);
    edge = edge_of(b, c, greater);
    return edge ? add_constant(b, parameter, edge) : -ENODATA;
}

/* column > now() - $1: how long ago that bound is. */
static int from_age(struct builder *b, int parameter, struct load_column *c)
{
    const char *edge = edge_of(b, c, true);
    struct tw_pg_rows rows;

    if (!edge || tw_pg_query(b->v->pg, b->v->a, "SELECT (now() - $1::timestamptz)::text",
                             1, &edge, &rows, NULL) < 0)
        return -ENODATA;
    return add_constant(b, parameter, tw_pg_cell(&rows, 0, 0));
}

static int from_prefix(struct builder *b, int parameter, struct load_column *c)
{
    const struct load_column *columns[] = {c};
    const struct tw_pg_rows *rows = sample(b->v, columns, 1);
    struct tw_load_variable *v;

    if (rows->rows == 0)
        return -ENODATA;
    v = add(b, parameter);
    v->kind = TW_VAR_PICK;
    for (int i = 0; i < rows->rows; i++) {
        const char *text = tw_pg_cell(rows, i, 0);
        size_t keep = (strlen(text) + 1) / 2;

        while (keep > 0 && ((unsigned char)text[keep] & 0xc0) == 0x80)
            keep--; /* not within a character of UTF-8 */
        TW_PUSH(b->v->a, &v->values, tw_arena_printf(b->v->a, "%.*s%%", (int)keep, text));
    }
    return 0;
}

/* ---- new rows ---- */

static void replace_parameter(struct builder *b, int parameter, const char *with)
{
    char *mark = tw_arena_printf(b->v->a, "$%d", parameter), *at = b->sql;
    size_t len = strlen(mark);
    tw_auto_buf out = {0};

    tw_buf_init(&out, (size_t)4 << 20);
    while (*at) {
        bool here = !strncmp(at, mark, len) && !(at[len] >= '0' && at[len] <= '9');

        if (here)
            tw_buf_puts(&out, with);
        else
            tw_buf_add(&out, at, 1);
        at += here ? len : 1;
    }
    b->sql = tw_arena_strdup(b->v->a, tw_buf_text(&out));
}

static double largest_of(const char *type)
{
    return !strcmp(type, "smallint")  ? 32767
           : !strcmp(type, "integer") ? 2147483647
                                      : 9e18;
}

/* A key that no row has: past the largest number, or a digest of a number. */
static int fresh_key(struct builder *b, int parameter, struct load_column *c)
{
    bool uuid = !strcmp(c->type, "uuid");
    double high;

    if (c->integer) {
        (void)load_column_dense(b->v->a, b->v->pg, c);
        high = isnan(c->high) || c->key_width > 1 ? 0 : c->high;
        return add_uniform(b, parameter, (int64_t)high + 1,
                           (int64_t)fmin(high + (double)FRESH_SPAN, largest_of(c->type)));
    }
    if (!uuid && c->category != 'S')
        return from_row(b, parameter, c);
    replace_parameter(b, parameter,
                      tw_arena_printf(b->v->a, "(md5($%d::bigint::text)::%s)", parameter,
                                      uuid ? "uuid" : c->type));
    return add_uniform(b, parameter, 1, INT64_MAX - 1);
}

static int inserted(struct builder *b, int parameter, struct load_column *c)
{
    bool last_of_key = c->key_position > 0 && c->key_position == c->key_width;

    if (!b->q->upsert && (c->unique || last_of_key))
        return fresh_key(b, parameter, c);
    return from_row(b, parameter, c);
}

/* ---- by type alone ---- */

static int by_type(struct builder *b, int parameter)
{
    static const struct {
        char category;
        const char *name; /* NULL: any of the category */
        const char *value;
    } rows[] = {
        {'B', NULL, "t"},     {'S', NULL, "a"},
        {'T', NULL, "1 day"}, {'D', "date", "today"},
        {'D', NULL, "now"},   {'U', "jsonb", "{}"},
        {'U', "json", "{}"},  {'U', "bytea", "\\x"},
        {'X', NULL, "a"},     {'U', "uuid", "00000000-0000-0000-0000-000000000000"},
        {'A', NULL, "{}"},    {'I', NULL, "127.0.0.1"},
    };
    const struct type *t = &b->types[parameter - 1];

    if (t->category == 'N')
        return add_uniform(b, parameter, 1, 10);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].category == t->category &&
            (!rows[i].name || !strcmp(rows[i].name, t->name)))
            return add_constant(b, parameter, rows[i].value);
    return tw_fail(b->err, -ENODATA, "no value is known for parameter $%d of type %s",
                   parameter, t->name);
}

/* A value of the column only where the parameter has a type of its kind: in
 * "at > now() - $1" it is an interval that stands beside a time. */
static bool fits(const struct type *t, const struct load_column *c)
{
    return t->category == c->category || t->category == 'A' || t->category == 'X' ||
           !strcmp(t->name, c->type);
}

static int from_use(struct builder *b, int parameter, const struct load_use *use,
                    struct load_column *c)
{
    switch (use->role) {
    case LOAD_ROLE_EQUAL:
        return from_row(b, parameter, c);
    case LOAD_ROLE_IN:
    case LOAD_ROLE_ASSIGN:
        return c->unique && use->role == LOAD_ROLE_ASSIGN ? from_row(b, parameter, c)
                                                          : from_column(b, parameter, c);
    case LOAD_ROLE_ANY:
        return from_arrays(b, parameter, c);
    case LOAD_ROLE_LOW:
    case LOAD_ROLE_HIGH:
        return from_range(b, parameter, c, use->role == LOAD_ROLE_HIGH);
    case LOAD_ROLE_GREATER:
        return bounded(b, use, LOAD_ROLE_LESS) ? from_range(b, parameter, c, false)
                                               : from_edge(b, parameter, c, true);
    case LOAD_ROLE_LESS:
        return bounded(b, use, LOAD_ROLE_GREATER) ? from_range(b, parameter, c, true)
                                                  : from_edge(b, parameter, c, false);
    case LOAD_ROLE_LIKE:
        return from_prefix(b, parameter, c);
    case LOAD_ROLE_INSERT:
        return inserted(b, parameter, c);
    default:
        return -ENODATA;
    }
}

static int fill_parameter(struct builder *b, int parameter)
{
    const struct load_use *use = use_of(b, parameter);
    const struct type *t = &b->types[parameter - 1];
    struct load_column *c = use ? resolve(b, use) : NULL;
    int64_t rows = (int64_t)fmax(1, round(b->s->rows_per_call));
    int r = -ENODATA;

    if (use && use->role == LOAD_ROLE_LIMIT)
        return add_uniform(b, parameter, rows, rows);
    if (use && use->role == LOAD_ROLE_OFFSET)
        return add_uniform(b, parameter, 0, 0);
    if (use && (use->role == LOAD_ROLE_ADD || use->role == LOAD_ROLE_AGE) &&
        t->category == 'N')
        return add_uniform(b, parameter, -10, 10);
    if (c && use->role == LOAD_ROLE_AGE && t->category == 'T' && c->category == 'D')
        r = from_age(b, parameter, c);
    else if (c && fits(t, c))
        r = from_use(b, parameter, use, c);
    return r == -ENODATA ? by_type(b, parameter) : r;
}

static int read_types(struct builder *b, const unsigned *oids)
{
    struct tw_pg_rows rows;
    tw_auto_buf sql = {0};
    int r;

    b->types = tw_arena_alloc(b->v->a, (size_t)(b->count + 1) * sizeof *b->types);
    if (b->count == 0)
        return 0;
    tw_buf_init(&sql, (size_t)1 << 20);
    tw_buf_puts(&sql, "SELECT format_type(t.oid, NULL), t.typcategory FROM (VALUES ");
    for (int i = 0; i < b->count; i++)
        tw_buf_printf(&sql, "%s(%d, %u::oid)", i ? ", " : "", i, oids[i]);
    tw_buf_puts(&sql, ") p(n, o) JOIN pg_type t ON t.oid = p.o ORDER BY p.n");
    r = tw_pg_query(b->v->pg, b->v->a, tw_buf_text(&sql), 0, NULL, &rows, b->err);
    if (r < 0)
        return r;
    if (rows.rows != b->count)
        return tw_fail(b->err, -ENODATA,
                       "a parameter has a type that is not in the catalogue");
    for (int i = 0; i < b->count; i++)
        b->types[i] = (struct type){.name = tw_pg_cell(&rows, i, 0),
                                    .category = tw_pg_cell(&rows, i, 1)[0]};
    return 0;
}

int load_values_fill(struct load_values *v, const struct load_query *q, const char *sql,
                     const struct tw_statement *s, struct tw_load_item *item,
                     struct tw_err *err)
{
    struct builder b = {.v = v,
                        .q = q,
                        .s = s,
                        .item = item,
                        .sql = tw_arena_strdup(v->a, sql),
                        .err = err};
    struct tw_load_statement *statement;
    unsigned *oids = NULL;
    const char *name;
    int r = load_prepare(v->a, v->pg, sql, &name, &oids, &b.count, err);

    if (r < 0)
        return r;
    load_unprepare(v->pg, name);
    r = read_types(&b, oids);
    for (int p = 1; r >= 0 && p <= b.count; p++)
        r = fill_parameter(&b, p);
    if (r < 0)
        return r;
    statement = load_statement_add(v->a, item, b.sql);
    for (int p = 0; p < b.count; p++)
        TW_PUSH(v->a, &statement->variables, p);
    return 0;
}
