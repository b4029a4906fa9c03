/* What a normalised statement does with its parameters: read from libpg_query's parse
 * tree. */
#include "load_internal.h"

#include <jansson.h>
#include <pg_query.h>
#include <string.h>

#define DEPTH_MAX 200

struct reader {
    struct tw_arena *a;
    struct load_query *q;
    int depth;
};
struct column_ref {
    const char *qualifier, *name;
};

static void walk(struct reader *r, const json_t *node);

/* ---- small readers of the tree ---- */

static const char *text_of(const json_t *node)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(node, "String"), "sval"));

    return text ? text
                : json_string_value(
                      json_object_get(json_object_get(node, "String"), "str"));
}

static const char *last_name(const json_t *names)
{
    size_t n = json_array_size(names);

    return n ? text_of(json_array_get(names, n - 1)) : NULL;
}

/* Nodes through which a value passes more or less as it is, and the key of what is
 * inside. */
static const struct wrapper {
    const char *node, *inside;
} wrappers[] = {{"TypeCast", "arg"},  {"CollateClause", "arg"},
                {"FuncCall", "args"}, {"A_ArrayExpr", "elements"},
                {"RowExpr", "args"},  {"List", "items"}};

static const json_t *unwrap(const json_t *node)
{
    for (size_t i = 0; i < TW_COUNT_OF(wrappers); i++) {
        const json_t *found = json_object_get(node, wrappers[i].node);

        if (found)
            return json_object_get(found, wrappers[i].inside);
    }
    return NULL;
}

static int parameter_of(const json_t *node)
{
    const json_t *ref = json_object_get(node, "ParamRef");
    const json_t *inside;

    if (ref)
        return (int)json_integer_value(json_object_get(ref, "number"));
    inside = json_object_get(json_object_get(node, "TypeCast"), "arg");
    return inside ? parameter_of(inside) : 0;
}

/* The first column inside, through casts and functions. */
static bool find_column(struct reader *r, const json_t *node, struct column_ref *ret,
                        int depth)
{
    const json_t *fields = json_object_get(json_object_get(node, "ColumnRef"), "fields");
    const json_t *inside;
    size_t n = json_array_size(fields);

    if (n > 0) {
        ret->name = tw_arena_strdup(r->a, text_of(json_array_get(fields, n - 1)));
        ret->qualifier =
            n > 1 ? tw_arena_strdup(r->a, text_of(json_array_get(fields, n - 2))) : NULL;
        return ret->name != NULL;
    }
    if (depth > DEPTH_MAX)
        return false;
    if (json_is_array(node)) {
        for (size_t i = 0; i < json_array_size(node); i++)
            if (find_column(r, json_array_get(node, i), ret, depth + 1))
                return true;
        return false;
    }
    inside = unwrap(node);
    return inside && find_column(r, inside, ret, depth + 1);
}

/* ---- notes ---- */

/* The first thing said of a parameter counts: the walk comes from outside. */
static void note(struct reader *r, int parameter, enum load_role role,
                 const struct column_ref *column, int position)
{
    for (size_t i = 0; i < r->q->uses.count; i++)
        if (r->q->uses.items[i].parameter == parameter)
            return;
    if (parameter > 0)
        TW_PUSH(r->a, &r->q->uses,
                (struct load_use){.parameter = parameter,
                                  .role = role,
                                  .qualifier = column ? column->qualifier : NULL,
                                  .column = column ? column->name : NULL,
                                  .position = position});
}

static void note_inside(struct reader *r, const json_t *node, enum load_role role,
                        const struct column_ref *column, int depth);

/* A comparison with a sum: the left of it is what the column is compared with, the right
 * an amount. "column > now() - $1" bounds an age. */
static void note_sum(struct reader *r, const json_t *sum, enum load_role role,
                     const struct column_ref *column, int depth)
{
    const char *sign = last_name(json_object_get(sum, "name"));
    bool minus = tw_streq(sign, "-");

    if (!minus && !tw_streq(sign, "+"))
        return;
    note_inside(r, json_object_get(sum, "lexpr"), role, column, depth + 1);
    note_inside(r, json_object_get(sum, "rexpr"),
                minus && role == LOAD_ROLE_GREATER ? LOAD_ROLE_AGE : LOAD_ROLE_ADD,
                column, depth + 1);
}

/* All parameters inside, through casts, functions, lists. */
static void note_inside(struct reader *r, const json_t *node, enum load_role role,
                        const struct column_ref *column, int depth)
{
    int parameter = parameter_of(node);
    const json_t *inside, *sum = json_object_get(node, "A_Expr");

    if (parameter > 0 || depth > DEPTH_MAX) {
        note(r, parameter, role, column, -1);
        return;
    }
    if (sum) {
        note_sum(r, sum, role, column, depth);
        return;
    }
    if (json_is_array(node)) {
        for (size_t i = 0; i < json_array_size(node); i++)
            note_inside(r, json_array_get(node, i), role, column, depth + 1);
        return;
    }
    inside = unwrap(node);
    if (inside)
        note_inside(r, inside, role, column, depth + 1);
}

/* ---- operators ---- */

static const struct comparison {
    const char *sign;
    enum load_role role, mirrored;
} comparisons[] = {
    {"=", LOAD_ROLE_EQUAL, LOAD_ROLE_EQUAL},  {"<>", LOAD_ROLE_EQUAL, LOAD_ROLE_EQUAL},
    {"<", LOAD_ROLE_LESS, LOAD_ROLE_GREATER}, {"<=", LOAD_ROLE_LESS, LOAD_ROLE_GREATER},
    {">", LOAD_ROLE_GREATER, LOAD_ROLE_LESS}, {">=", LOAD_ROLE_GREATER, LOAD_ROLE_LESS},
    {"+", LOAD_ROLE_ADD, LOAD_ROLE_ADD},      {"-", LOAD_ROLE_ADD, LOAD_ROLE_ADD},
    {"*", LOAD_ROLE_SCALE, LOAD_ROLE_SCALE},  {"/", LOAD_ROLE_SCALE, LOAD_ROLE_SCALE},
    {"%", LOAD_ROLE_SCALE, LOAD_ROLE_SCALE},
};
static const struct expression_kind {
    const char *name;
    enum load_role role;
} expression_kinds[] = {
    {"AEXPR_IN", LOAD_ROLE_IN},          {"AEXPR_OP_ANY", LOAD_ROLE_ANY},
    {"AEXPR_OP_ALL", LOAD_ROLE_ANY},     {"AEXPR_LIKE", LOAD_ROLE_LIKE},
    {"AEXPR_ILIKE", LOAD_ROLE_LIKE},     {"AEXPR_SIMILAR", LOAD_ROLE_LIKE},
    {"AEXPR_DISTINCT", LOAD_ROLE_EQUAL}, {"AEXPR_NOT_DISTINCT", LOAD_ROLE_EQUAL},
    {"AEXPR_NULLIF", LOAD_ROLE_EQUAL},
};

static void compare_sides(struct reader *r, const json_t *left, const json_t *right,
                          enum load_role role, enum load_role mirrored)
{
    struct column_ref column;

    if (find_column(r, left, &column, 0))
        note_inside(r, right, role, &column, 0);
    if (find_column(r, right, &column, 0))
        note_inside(r, left, mirrored, &column, 0);
}

/* (a, b) = ($1, $2) */
static bool compare_rows(struct reader *r, const json_t *left, const json_t *right)
{
    const json_t *x = json_object_get(json_object_get(left, "RowExpr"), "args");
    const json_t *y = json_object_get(json_object_get(right, "RowExpr"), "args");

    if (json_array_size(x) == 0 || json_array_size(x) != json_array_size(y))
        return false;
    for (size_t i = 0; i < json_array_size(x); i++)
        compare_sides(r, json_array_get(x, i), json_array_get(y, i), LOAD_ROLE_EQUAL,
                      LOAD_ROLE_EQUAL);
    return true;
}

static void on_between(struct reader *r, const json_t *left, const json_t *right)
{
    const json_t *items = json_object_get(json_object_get(right, "List"), "items");
    struct column_ref column;

    if (!find_column(r, left, &column, 0))
        return;
    note_inside(r, json_array_get(items, 0), LOAD_ROLE_LOW, &column, 0);
    note_inside(r, json_array_get(items, 1), LOAD_ROLE_HIGH, &column, 0);
}

static void on_operator(struct reader *r, const char *sign, const json_t *left,
                        const json_t *right)
{
    for (size_t i = 0; sign && i < TW_COUNT_OF(comparisons); i++) {
        const struct comparison *c = &comparisons[i];

        if (strcmp(c->sign, sign) != 0 || compare_rows(r, left, right))
            continue;
        compare_sides(r, left, right, c->role, c->mirrored);
    }
}

static void on_expression(struct reader *r, const json_t *node)
{
    const char *kind = json_string_value(json_object_get(node, "kind"));
    const char *sign = last_name(json_object_get(node, "name"));
    const json_t *left = json_object_get(node, "lexpr"),
                 *right = json_object_get(node, "rexpr");

    if (!kind)
        return;
    if (!strcmp(kind, "AEXPR_OP"))
        on_operator(r, sign, left, right);
    else if (strstr(kind, "BETWEEN"))
        on_between(r, left, right);
    for (size_t i = 0; i < TW_COUNT_OF(expression_kinds); i++)
        if (!strcmp(expression_kinds[i].name, kind))
            compare_sides(r, left, right, expression_kinds[i].role,
                          expression_kinds[i].role);
}

/* ---- statements ---- */

static void on_relation(struct reader *r, const json_t *node)
{
    const char *name = json_string_value(json_object_get(node, "relname"));

    if (name)
        TW_PUSH(r->a, &r->q->relations,
                (struct load_relation){
                    .schema = tw_arena_strdup(
                        r->a, json_string_value(json_object_get(node, "schemaname"))),
                    .name = tw_arena_strdup(r->a, name),
                    .alias = tw_arena_strdup(
                        r->a, json_string_value(json_object_get(
                                  json_object_get(node, "alias"), "aliasname")))});
}

static void on_values(struct reader *r, const json_t *row, const json_t *columns)
{
    const json_t *items = json_object_get(json_object_get(row, "List"), "items");

    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *target = json_object_get(json_array_get(columns, i), "ResTarget");
        struct column_ref column = {
            .name = tw_arena_strdup(r->a,
                                    json_string_value(json_object_get(target, "name")))};
        int parameter = parameter_of(json_array_get(items, i));

        if (parameter > 0)
            note(r, parameter, LOAD_ROLE_INSERT, column.name ? &column : NULL, (int)i);
    }
}

static void on_insert(struct reader *r, const json_t *node)
{
    const json_t *select =
        json_object_get(json_object_get(node, "selectStmt"), "SelectStmt");
    const json_t *rows = json_object_get(select, "valuesLists");

    r->q->writes = true;
    r->q->upsert |= json_object_get(node, "onConflictClause") != NULL;
    on_relation(r, json_object_get(node, "relation"));
    for (size_t i = 0; i < json_array_size(rows); i++)
        on_values(r, json_array_get(rows, i), json_object_get(node, "cols"));
}

static void on_change(struct reader *r, const json_t *node)
{
    r->q->writes = true;
    on_relation(r, json_object_get(node, "relation"));
}

static void on_target(struct reader *r, const json_t *node)
{
    int parameter = parameter_of(json_object_get(node, "val"));
    struct column_ref column = {
        .name = tw_arena_strdup(r->a, json_string_value(json_object_get(node, "name")))};

    if (parameter > 0 && column.name)
        note(r, parameter, LOAD_ROLE_ASSIGN, &column, -1);
}

static bool calls_aggregate(const json_t *targets)
{
    static const char *const names[] = {"count", "sum", "avg", "min", "max"};

    for (size_t i = 0; i < json_array_size(targets); i++) {
        const json_t *val = json_object_get(
            json_object_get(json_array_get(targets, i), "ResTarget"), "val");
        const char *name =
            last_name(json_object_get(json_object_get(val, "FuncCall"), "funcname"));

        if (name && tw_name_index(name, names, TW_COUNT_OF(names)) >= 0)
            return true;
    }
    return false;
}

static void on_select(struct reader *r, const json_t *node)
{
    const json_t *limit = json_object_get(node, "limitCount");

    note_inside(r, limit, LOAD_ROLE_LIMIT, NULL, 0);
    note_inside(r, json_object_get(node, "limitOffset"), LOAD_ROLE_OFFSET, NULL, 0);
    r->q->limited |= limit != NULL;
    r->q->into |= json_object_get(node, "intoClause") != NULL;
    r->q->aggregates |= json_object_get(node, "groupClause") != NULL ||
                        calls_aggregate(json_object_get(node, "targetList"));
    r->q->writes |= json_object_get(node, "lockingClause") != NULL;
}

static void on_function(struct reader *r, const json_t *node)
{
    const char *name = last_name(json_object_get(node, "funcname"));

    if (name)
        TW_PUSH(r->a, &r->q->functions, tw_arena_strdup(r->a, name));
}

static const struct {
    const char *node;
    void (*run)(struct reader *r, const json_t *node);
} handlers[] = {
    {"A_Expr", on_expression}, {"RangeVar", on_relation}, {"InsertStmt", on_insert},
    {"UpdateStmt", on_change}, {"DeleteStmt", on_change}, {"MergeStmt", on_change},
    {"SelectStmt", on_select}, {"ResTarget", on_target},  {"FuncCall", on_function},
};

static void walk(struct reader *r, const json_t *node)
{
    const char *key;
    const json_t *value;
    size_t i;

    if (++r->depth < DEPTH_MAX) {
        if (json_is_array(node))
            json_array_foreach (node, i, value)
                walk(r, value);
        if (json_is_object(node)) {
            for (void *it = json_object_iter((json_t *)node); it;
                 it = json_object_iter_next((json_t *)node, it)) {
                key = json_object_iter_key(it);
                value = json_object_iter_value(it);
                for (i = 0; i < TW_COUNT_OF(handlers); i++)
                    if (!strcmp(handlers[i].node, key))
                        handlers[i].run(r, value);
                walk(r, value);
            }
        }
    }
    r->depth--;
}

static int read_tree(struct tw_arena *a, const char *tree, struct load_query *ret,
                     struct tw_err *err)
{
    json_auto_t *json = json_loads(tree, 0, NULL);
    const json_t *list = json_object_get(json, "stmts");
    json_t *statement = json_object_get(json_array_get(list, 0), "stmt");
    struct reader r = {.a = a, .q = ret};

    if (json_array_size(list) != 1 || json_object_size(statement) != 1)
        return tw_fail(err, -EINVAL, "not one statement");
    ret->kind = tw_arena_strdup(a, json_object_iter_key(json_object_iter(statement)));
    walk(&r, statement);
    return 0;
}

int load_query_read(struct tw_arena *a, const char *sql, struct load_query *ret,
                    struct tw_err *err)
{
    PgQueryParseResult parsed = pg_query_parse(sql);
    int r;

    *ret = (struct load_query){0};
    if (parsed.error)
        r = tw_fail(err, -EINVAL, "%s", parsed.error->message);
    else
        r = read_tree(a, parsed.parse_tree, ret, err);
    pg_query_free_parse_result(parsed);
    return r;
}
