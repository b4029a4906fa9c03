/* Plans before any load: EXPLAIN of every statement with values drawn for it, the same
 * values on every twin. */
#include "load_internal.h"

#include "tw/redact.h"

#include <jansson.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_DEPTH_MAX 100
#define SEED           UINT64_C(20150226) /* the same draws on both arms */

struct printer {
    struct tw_arena *a;
    struct tw_buf *shape, *full;
    struct tw_load_plan *plan;
};

/* ---- preparing ---- */

int load_prepare(struct tw_arena *a, struct tw_pg *pg, const char *sql,
                 const char **ret_name, unsigned **ret_types, int *ret_count,
                 struct tw_err *err)
{
    const char *name = "twin_look", *text;
    PGresult *res = PQprepare(tw_pg_raw(pg), name, sql, 0, NULL);
    int n;

    if (PQresultStatus(res) == PGRES_COMMAND_OK && ret_types) {
        PQclear(res);
        res = PQdescribePrepared(tw_pg_raw(pg), name);
    }
    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        bool gone = PQstatus(tw_pg_raw(pg)) == CONNECTION_BAD;

        text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        (void)tw_fail(err, gone ? -ECONNRESET : -EPROTO, "%s",
                      text ? text : "the connection is gone");
        PQclear(res);
        load_unprepare(pg, name);
        return gone ? -ECONNRESET : -EPROTO;
    }
    if (ret_types) {
        n = PQnparams(res);
        *ret_types = tw_arena_alloc(a, (size_t)(n + 1) * sizeof **ret_types);
        for (int i = 0; i < n; i++)
            (*ret_types)[i] = PQparamtype(res, i);
        *ret_count = n;
    }
    PQclear(res);
    *ret_name = name;
    return 0;
}

void load_unprepare(struct tw_pg *pg, const char *name)
{
    tw_auto_free char *sql = tw_strf("DEALLOCATE %s", name);

    PQclear(PQexec(tw_pg_raw(pg), sql)); /* it may not be there: no matter */
}

char *load_explain_text(struct tw_arena *a, const char *options, const char *name,
                        const char *const *parameters, int count)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, (size_t)64 << 20);
    tw_buf_printf(&b, "EXPLAIN (%s) EXECUTE %s", options, name);
    for (int i = 0; i < count; i++)
        tw_buf_printf(&b, "%s%s", i ? ", " : "(",
                      parameters[i] ? tw_pg_quote_literal(a, parameters[i]) : "NULL");
    tw_buf_puts(&b, count ? ")" : "");
    return tw_arena_strdup(a, tw_buf_text(&b));
}

bool load_explainable(const char *sql)
{
    static const char *const words[] = {"select", "insert", "update", "delete",
                                        "merge",  "values", "with",   "table"};
    char word[16];

    load_first_word(sql, word, sizeof word);
    return tw_name_index(word, words, TW_COUNT_OF(words)) >= 0;
}

/* ---- reading a plan ---- */

static const char *field(const json_t *node, const char *key)
{
    return json_string_value(json_object_get(node, key));
}

/* "Parallel Index Scan using i on t a" */
static void print_node(struct tw_buf *b, const json_t *node)
{
    const char *type = field(node, "Node Type"), *relation = field(node, "Relation Name");
    const char *index = field(node, "Index Name"), *alias = field(node, "Alias");
    const char *join = field(node, "Join Type"), *strategy = field(node, "Strategy");

    if (json_is_true(json_object_get(node, "Parallel Aware")))
        tw_buf_puts(b, "Parallel ");
    if (strategy && tw_streq(type, "Aggregate") && !tw_streq(strategy, "Plain"))
        tw_buf_printf(b, "%s ", strategy);
    if (tw_streq(type, "ModifyTable"))
        type = field(node, "Operation");
    tw_buf_puts(b, type ? type : "?");
    if (tw_streq(field(node, "Scan Direction"), "Backward"))
        tw_buf_puts(b, " Backward");
    if (join && !tw_streq(join, "Inner"))
        tw_buf_printf(b, " (%s)", join);
    if (index)
        tw_buf_printf(b, " using %s", index);
    if (relation)
        tw_buf_printf(b, " on %s", relation);
    if (relation && alias && !tw_streq(alias, relation))
        tw_buf_printf(b, " %s", alias);
}

static void print_conditions(struct printer *p, const json_t *node, int depth)
{
    static const char *const keys[] = {"Index Cond",      "Recheck Cond", "Hash Cond",
                                       "Merge Cond",      "Join Filter",  "Filter",
                                       "One-Time Filter", "TID Cond"};

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        if (field(node, keys[i]))
            tw_buf_printf(p->full, "%*s%s: %s\n", 2 * depth + 6, "", keys[i],
                          tw_redact_literals(p->a, field(node, keys[i])));
}

static bool tells_most(const char *type)
{
    return strstr(type, "Scan") || strstr(type, "Join") || tw_streq(type, "Nested Loop");
}

static void print_plan(struct printer *p, const json_t *node, int depth)
{
    const json_t *children = json_object_get(node, "Plans");
    const char *type = field(node, "Node Type");
    size_t from = p->shape->len;

    if (!type || depth > PLAN_DEPTH_MAX)
        return;
    print_node(p->shape, node);
    if (!p->plan->line && tells_most(type))
        p->plan->line = tw_arena_strdup(p->a, tw_buf_text(p->shape) + from);
    p->plan->parallel |= json_object_get(node, "Workers Planned") != NULL;
    tw_buf_printf(p->full, "%*s%s%s  (cost=%.2f..%.2f rows=%.0f)\n", 2 * depth, "",
                  depth ? "->  " : "", tw_buf_text(p->shape) + from,
                  json_number_value(json_object_get(node, "Startup Cost")),
                  json_number_value(json_object_get(node, "Total Cost")),
                  json_number_value(json_object_get(node, "Plan Rows")));
    print_conditions(p, node, depth);
    if (json_array_size(children) == 0)
        return;
    tw_buf_puts(p->shape, " [");
    for (size_t i = 0; i < json_array_size(children); i++) {
        tw_buf_puts(p->shape, i ? ", " : "");
        print_plan(p, json_array_get(children, i), depth + 1);
    }
    tw_buf_puts(p->shape, "]");
}

static int read_plan(struct tw_arena *a, const char *text, struct tw_load_plan *ret,
                     struct tw_err *err)
{
    json_auto_t *json = json_loads(text, 0, NULL);
    const json_t *top = json_array_get(json, 0), *plan = json_object_get(top, "Plan");
    tw_auto_buf shape = {0}, full = {0};
    struct printer p = {.a = a, .shape = &shape, .full = &full, .plan = ret};

    tw_buf_init(&shape, (size_t)1 << 20);
    tw_buf_init(&full, (size_t)4 << 20);
    if (!plan)
        return tw_fail(err, -EPROTO, "EXPLAIN gave no plan");
    print_plan(&p, plan, 0);
    ret->cost = json_number_value(json_object_get(plan, "Total Cost"));
    ret->rows = json_number_value(json_object_get(plan, "Plan Rows"));
    ret->jit = json_object_get(top, "JIT") != NULL;
    ret->shape = tw_arena_strdup(a, tw_buf_text(&shape));
    if (ret->jit)
        tw_buf_puts(&full, "JIT: yes\n");
    ret->full = tw_arena_strdup(a, tw_buf_text(&full));
    if (!ret->line)
        ret->line = tw_arena_strdup(a, field(plan, "Node Type"));
    return 0;
}

/* ---- every statement ---- */

static int explain_statement(struct tw_arena *a, const struct tw_load_statement *s,
                             const struct load_draw *draw, const char **parameters,
                             struct tw_pg *pg, struct tw_load_plan *ret,
                             struct tw_err *err)
{
    int count = load_draw_parameters(s, draw, parameters);
    struct tw_pg_rows rows;
    const char *name;
    int r = load_prepare(a, pg, s->sql, &name, NULL, NULL, err);

    if (r < 0)
        return r;
    r = tw_pg_query(pg, a, load_explain_text(a, "FORMAT JSON", name, parameters, count),
                    0, NULL, &rows, err);
    if (r >= 0)
        r = rows.rows == 1 ? read_plan(a, tw_pg_cell(&rows, 0, 0), ret, err)
                           : tw_fail(err, -EPROTO, "EXPLAIN gave no plan");
    load_unprepare(pg, name);
    return r;
}

static int explain_item(struct tw_arena *a, const struct load_program *p, size_t item,
                        struct load_draw *draw, const char **parameters, struct tw_pg *pg,
                        struct tw_load_plans *ret, struct tw_err *err)
{
    const struct tw_load_item *from = &p->mix->items.items[item];
    struct tw_rng rng;
    int r;

    tw_rng_seed(&rng, SEED, item);
    (void)load_draw_item(p, item, &rng, draw);
    for (size_t i = 0; i < from->statements.count; i++) {
        struct tw_load_plan plan = {.item = item, .statement = i};

        if (!load_explainable(from->statements.items[i].sql))
            continue;
        r = explain_statement(a, &from->statements.items[i], draw, parameters, pg, &plan,
                              err);
        if (r < 0)
            return tw_wrap(err, r, "the plan of '%s'", from->name);
        TW_PUSH(a, &ret->list, plan);
    }
    return 0;
}

int tw_load_explain(struct tw_arena *a, const struct tw_load_mix *mix, struct tw_pg *pg,
                    struct tw_load_plans *ret, struct tw_err *err)
{
    struct tw_load_plans plans = {0};
    struct load_program *p;
    struct load_draw draw;
    struct tw_pg *there;
    const char **parameters;
    int r = load_program_new(a, mix, &p, err);

    if (r < 0)
        return r;
    load_draw_init(a, p, &draw);
    parameters = tw_arena_alloc(a, (p->max_parameters + 1) * sizeof *parameters);
    r = load_database_open(pg, mix->database, &there, err);
    if (r < 0)
        return r;
    r = tw_pg_exec(there, "SET plan_cache_mode = force_custom_plan", err);
    for (size_t i = 0; r >= 0 && i < mix->items.count; i++)
        r = explain_item(a, p, i, &draw, parameters, there, &plans, err);
    if (there == pg)
        (void)tw_pg_exec(pg, "RESET plan_cache_mode", NULL);
    load_database_close(pg, there);
    if (r >= 0)
        *ret = plans;
    return r;
}
