/* Does the mix do here what it does at the source? And: how long does each item take,
 * where a load would finish nothing. */
#include "load_internal.h"

#include <jansson.h>
#include <libpq-fe.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED          UINT64_C(86028121)
#define RUNS          8
#define ITEM_BUDGET_S 0.25 /* runs of one item at most, once two are done */
#define TIMEOUT_MS    2000
#define WITHIN        1.25 /* the bar: 25 % */
#define ROWS_SLACK    0.5  /* what rounding, one more index level and a few dead rows do */
#define BLOCKS_SLACK  4.0

struct figures {
    double rows, blocks, ms; /* per call, mean (ms: median) */
};
struct checker {
    struct tw_arena *a;
    const struct load_program *p;
    struct tw_pg *pg;
    struct load_draw draw;
    const char **parameters;
    struct tw_err *err;
};

/* ---- one run under EXPLAIN ANALYZE ---- */

static double number(const json_t *node, const char *key)
{
    return json_number_value(json_object_get(node, key));
}

/* What the statement returned or, without RETURNING, changed. */
static double rows_of(const json_t *plan)
{
    const json_t *child = json_array_get(json_object_get(plan, "Plans"), 0);
    bool modifies =
        tw_streq(json_string_value(json_object_get(plan, "Node Type")), "ModifyTable");
    const json_t *from =
        modifies && number(plan, "Actual Rows") == 0 && child ? child : plan;

    return number(from, "Actual Rows") * number(from, "Actual Loops");
}

static int read_figures(const char *text, struct figures *ret)
{
    json_auto_t *json = json_loads(text, 0, NULL);
    const json_t *top = json_array_get(json, 0), *plan = json_object_get(top, "Plan");

    if (!plan)
        return -EPROTO;
    ret->rows = rows_of(plan);
    ret->blocks = number(plan, "Shared Hit Blocks") + number(plan, "Shared Read Blocks");
    ret->ms = number(top, "Execution Time");
    return 0;
}

static int run_once(struct checker *c, const struct tw_load_statement *s,
                    const char *name, struct figures *ret, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    int count = load_draw_parameters(s, &c->draw, c->parameters);
    const char *sql = load_explain_text(a, "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON",
                                        name, c->parameters, count);
    struct tw_pg_rows rows;
    int r = tw_pg_exec(c->pg, "BEGIN", err);

    if (r >= 0)
        r = tw_pg_query(c->pg, a, sql, 0, NULL, &rows, err);
    if (r >= 0)
        r = rows.rows == 1 ? read_figures(tw_pg_cell(&rows, 0, 0), ret) : -EPROTO;
    (void)tw_pg_exec(c->pg, "ROLLBACK", NULL);
    return r;
}

static int run_item(struct checker *c, size_t item, struct figures *ret,
                    struct tw_err *err)
{
    const struct tw_load_statement *s = &c->p->mix->items.items[item].statements.items[0];
    int64_t begun = tw_now_ns();
    double ms[RUNS], rows = 0, blocks = 0;
    struct figures once = {0};
    struct tw_rng rng;
    const char *name;
    int n = 0, r = load_prepare(c->a, c->pg, s->sql, &name, NULL, NULL, err);

    tw_rng_seed(&rng, SEED, item);
    while (r >= 0 && n < RUNS &&
           (n < 2 || tw_seconds(tw_now_ns() - begun) < ITEM_BUDGET_S)) {
        (void)load_draw_item(c->p, item, &rng, &c->draw);
        r = run_once(c, s, name, &once, err);
        ms[n++] = once.ms;
        rows += once.rows;
        blocks += once.blocks;
    }
    load_unprepare(c->pg, name);
    if (r < 0)
        return r;
    *ret = (struct figures){rows / n, blocks / n, tw_median(ms, (size_t)n)};
    return 0;
}

/* ---- comparing ---- */

static bool agrees(double here, double source, double slack)
{
    if (isnan(here) || isnan(source) || fabs(here - source) <= slack)
        return true;
    return here <= source * WITHIN && source <= here * WITHIN;
}

/* How near two figures are: 1 the same, 0 nothing in common. */
static double nearness(double here, double source)
{
    return here > 0 && source > 0 ? fmin(here / source, source / here) : 0;
}

/* part: of the statement's time that is reproduced all the same. What is sent with the same rows and
 * fewer blocks, because the clone has no dead rows to step over, is not as good as missing. */
static void lose(struct checker *c, struct tw_load_mix *mix, size_t item, double part,
                 const char *why)
{
    double share = mix->items.items[item].source_share;

    if (!isnan(share) && !isnan(mix->coverage))
        mix->coverage = fmax(0, mix->coverage - share * (1 - part));
    TW_PUSH(c->a, &mix->missing,
            tw_arena_printf(c->a, "%.1f %% of total time: %s (%s)", 100 * share,
                            mix->items.items[item].name, why));
}

static int check_item(struct checker *c, struct tw_load_mix *mix, size_t item,
                      size_t *slower)
{
    const struct tw_load_item *i = &mix->items.items[item];
    struct figures here;
    struct tw_err why = {0};
    int r;

    if (i->statements.count != 1 || isnan(i->source_rows) ||
        !load_explainable(i->statements.items[0].sql))
        return 0;
    r = run_item(c, item, &here, &why);
    if (r == -ECONNRESET)
        return tw_fail(c->err, r, "checking the mix: %s", why.text);
    if (r < 0)
        lose(c, mix, item, 0, tw_arena_printf(c->a, "fails here: %s", why.text));
    else if (!agrees(here.rows, i->source_rows, ROWS_SLACK))
        lose(c, mix, item, nearness(here.rows, i->source_rows),
             tw_arena_printf(
                 c->a, "sent, but gives %.4g rows a call here and %.4g at the source",
                 here.rows, i->source_rows));
    else if (!agrees(here.blocks, i->source_blocks, BLOCKS_SLACK))
        lose(c, mix, item, nearness(here.blocks, i->source_blocks),
             tw_arena_printf(
                 c->a, "sent, but reads %.4g blocks a call here and %.4g at the source",
                 here.blocks, i->source_blocks));
    else if (!agrees(here.ms, i->source_mean_ms, 0))
        ++*slower;
    return 0;
}

static int start(struct checker *c, const struct tw_load_mix *mix, struct tw_pg *pg,
                 double timeout_s)
{
    struct load_program *p;
    tw_auto_free char *set = NULL;
    int r = load_program_new(c->a, mix, &p, c->err);

    if (r < 0)
        return r;
    c->p = p;
    load_draw_init(c->a, p, &c->draw);
    c->parameters = tw_arena_alloc(c->a, (p->max_parameters + 1) * sizeof *c->parameters);
    r = load_database_open(pg, mix->database, &c->pg, c->err);
    if (r < 0)
        return r;
    set = tw_strf("SET statement_timeout = %.0f", ceil(1000 * timeout_s));
    r = tw_pg_exec(c->pg, set, c->err);
    if (r < 0)
        load_database_close(pg, c->pg);
    return r;
}

static void end(struct checker *c, struct tw_pg *pg)
{
    if (c->pg == pg)
        (void)tw_pg_exec(pg, "RESET statement_timeout", NULL);
    load_database_close(pg, c->pg);
}

int tw_load_mix_check(struct tw_arena *a, struct tw_load_mix *mix, struct tw_pg *pg,
                      struct tw_err *err)
{
    struct checker c = {.a = a, .err = err};
    size_t slower = 0, known = 0;
    int r;

    for (size_t i = 0; i < mix->items.count; i++)
        known += isnan(mix->items.items[i].source_rows) ? 0 : 1;
    if (known == 0)
        return 0; /* nothing to compare with */
    r = start(&c, mix, pg, TIMEOUT_MS / 1000.0);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < mix->items.count; i++)
        r = check_item(&c, mix, i, &slower);
    end(&c, pg);
    if (r < 0)
        return r;
    mix->description =
        tw_arena_printf(a, "%zu statements of %s, %.0f %% of total time reproduced",
                        mix->items.count, mix->source, floor(100 * mix->coverage));
    if (slower > 0)
        mix->description = tw_arena_printf(
            a,
            "%s; %zu with the same rows and blocks but another time than at the source",
            mix->description, slower);
    return 0;
}

/* ---- trying ---- */

/* The whole item once, as it is. -EPROTO: a statement failed. */
static int try_once(struct checker *c, size_t item, double *ret_seconds)
{
    const struct tw_load_item *from = &c->p->mix->items.items[item];
    int64_t begun = tw_now_ns();
    bool failed = false;

    for (size_t i = 0; i < from->statements.count && !failed; i++) {
        const struct tw_load_statement *s = &from->statements.items[i];
        int count = load_draw_parameters(s, &c->draw, c->parameters);
        ExecStatusType status;
        PGresult *res;

        if (s->sql[0] == '\0')
            continue;
        res = PQexecParams(tw_pg_raw(c->pg), s->sql, count, NULL, c->parameters, NULL,
                           NULL, 0);
        status = PQresultStatus(res);
        failed = status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK;
        PQclear(res);
    }
    *ret_seconds = tw_seconds(tw_now_ns() - begun);
    if (PQtransactionStatus(tw_pg_raw(c->pg)) != PQTRANS_IDLE)
        PQclear(PQexec(tw_pg_raw(c->pg), "ROLLBACK"));
    if (PQstatus(tw_pg_raw(c->pg)) == CONNECTION_BAD)
        return -ECONNRESET;
    return failed ? -EPROTO : 0;
}

static int try_item(struct checker *c, size_t item, int times, double *ret)
{
    double sum = 0, seconds;
    struct tw_rng rng;
    int r = 0;

    tw_rng_seed(&rng, SEED, item);
    for (int i = 0; i < times && r >= 0; i++) {
        (void)load_draw_item(c->p, item, &rng, &c->draw);
        r = try_once(c, item, &seconds);
        sum += seconds;
    }
    *ret = r < 0 || times < 1 ? NAN : sum / times;
    return r == -ECONNRESET ? r : 0;
}

int tw_load_try(struct tw_arena *a, const struct tw_load_mix *mix, struct tw_pg *pg,
                int times, double statement_timeout_s, double **ret_seconds,
                struct tw_err *err)
{
    double *seconds = tw_arena_alloc(a, (mix->items.count + 1) * sizeof *seconds);
    struct checker c = {.a = a, .err = err};
    int r = start(&c, mix, pg, statement_timeout_s);

    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < mix->items.count; i++)
        r = try_item(&c, i, times, &seconds[i]);
    end(&c, pg);
    if (r < 0)
        return tw_fail(err, r, "the twin went away while its statements were tried");
    *ret_seconds = seconds;
    return 0;
}
