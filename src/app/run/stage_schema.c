/* Stage: SQL on the live service. The candidate gets the statements under the target's own mix; a
 * third twin gets them beside transactions that stay open; a fresh one each safer form. */
#include "run_internal.h"

#include <math.h>
#include <string.h>

/* A statement may take as long as this; what takes longer is cancelled and said to. */
#define STATEMENT_S 900.0
/* Waiting beside open transactions, in all, and the least and most for one statement. */
#define PATIENCE_S       1.2
#define PATIENCE_LEAST_S 0.1
#define PATIENCE_MOST_S  0.35
/* Safer forms are tried, those of the worst statements first, as long as this lasts, or half as long
 * again as the statements themselves took. */
#define SAFER_S     2.5
#define SAFER_TIMES 1.5
#define BATCHES_S   1.0

static bool is_schema(const struct run *r)
{
    const struct tw_change_type *type = tw_change_type_find(r->v.sim->plan.type, NULL);

    return type && type->live;
}

bool run_is_live(const struct run *r)
{
    const struct tw_plan *plan = &r->v.sim->plan;

    for (size_t i = 0; i < plan->steps.count; i++)
        if (plan->steps.items[i].kind == TW_STEP_SQL)
            return true;
    return is_schema(r) || run_is_path(r);
}

/* ---- the script, and where it runs ---- */

static int script_of(struct run *r, struct tw_pg_script *ret, struct tw_err *err)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    int rc = 0;

    *ret = (struct tw_pg_script){0};
    for (size_t i = 0; i < plan->steps.count && rc == 0; i++) {
        struct tw_pg_script one;
        const char *line = strrchr(plan->steps.items[i].origin, ' ');

        rc = tw_pg_split(r->v.sim->arena, plan->steps.items[i].value, &one, err);
        for (size_t k = 0; k < one.list.count && rc == 0; k++) {
            int64_t number = 0;

            if (line && tw_parse_int64(line + 1, &number, NULL) == 0)
                one.list.items[k].line = (int)number;
            TW_PUSH(r->v.sim->arena, &ret->list, one.list.items[k]);
        }
    }
    return rc;
}

/* A client's place of its own beside one twin. */
struct beside {
    struct tw_sandbox *box;
    struct tw_load *load;
};

static void close_beside(struct beside *b)
{
    tw_load_close(b->load);
    tw_sandbox_close(b->box);
    *b = (struct beside){0};
}

static int open_beside(struct run *r, enum run_role role, struct beside *ret,
                       struct tw_err *err)
{
    struct tw_twin *twin = r->members[role].twin;
    struct tw_sandbox_spec box = {.id = r->id,
                                  .name = "beside",
                                  .uid = r->uid ? r->uid : RUN_NOBODY,
                                  .gid = r->gid ? r->gid : RUN_NOBODY,
                                  .user_name = "twin",
                                  .hostname = "client",
                                  .cpuset = r->generator_cpus,
                                  .cpu_weight = 262144,
                                  .tmp_bytes = 16 << 20,
                                  .shm_bytes = 64 << 20,
                                  .seccomp = true};
    struct tw_sandbox_mount mounts[] = {{tw_twin_runtime_dir(twin), "/tw/baseline", true},
                                        {run_own_program(r), RUN_CLIENT_PROGRAM, false}};
    struct tw_load_spec load = {.mix = &r->mix,
                                .connections = run_connections(r),
                                .program = RUN_CLIENT_PROGRAM,
                                .cpuset = r->generator_cpus};
    int rc;

    *ret = (struct beside){0};
    if (!r->has_mix)
        return 0;
    for (size_t i = 0; i < TW_COUNT_OF(mounts); i++)
        TW_PUSH(r->arena, &box.mounts, mounts[i]);
    rc = tw_sandbox_open(r->priv, &box, &ret->box, err);
    load.box = ret->box;
    load.conninfo[TW_BASELINE] = tw_arena_printf(
        r->arena, "%s dbname='%s'", tw_twin_conninfo_at(twin, r->arena, "/tw/baseline"),
        r->mix.database);
    if (rc == 0)
        rc = tw_load_open(&load, &ret->load, err);
    if (rc < 0)
        close_beside(ret);
    return rc < 0 ? tw_wrap(err, rc, "the load beside the statements") : 0;
}

static const char *database_of(const struct run *r)
{
    return r->v.sim->plan.database ? r->v.sim->plan.database : run_main_database(r);
}

static struct tw_schema_spec spec_of(struct run *r, enum run_role role,
                                     const struct tw_pg_script *script,
                                     const struct beside *b)
{
    const struct tw_plan *plan = &r->v.sim->plan;

    return (struct tw_schema_spec){.twin = r->members[role].twin,
                                   .database = database_of(r),
                                   .script = script,
                                   .mix = &r->mix,
                                   .load = b->load,
                                   .arm = TW_BASELINE,
                                   .rate_per_s = r->v.schema.rate_per_s,
                                   .target_rate_per_s = !isnan(plan->rate_per_s)
                                                            ? plan->rate_per_s
                                                            : r->snapshot.rate_per_s,
                                   .statement_s = STATEMENT_S,
                                   .cancel = r->options->cancel};
}

/* ---- on the candidate ---- */

/* What only a change of the schema makes fail; what the mix's own data does is no news. */
static bool is_of_schema(const char *sqlstate)
{
    static const char *const states[] = {"0A", "25006", "40P01", "42", "55"};

    for (size_t i = 0; i < TW_COUNT_OF(states); i++)
        if (tw_starts_with(sqlstate, states[i]))
            return true;
    return false;
}

static void tell_failures(struct run *r, struct tw_load *load)
{
    struct tw_arena *a = r->v.sim->arena;
    struct tw_load_failures f = {0};

    if (!load || tw_load_failures(load, a, &f, NULL) < 0)
        return;
    for (size_t i = 0; i < f.list.count; i++) {
        const struct tw_load_failure *one = &f.list.items[i];

        if (is_of_schema(one->code))
            tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "schema.request_errors",
                         "requests of the load fail while the statements run",
                         tw_arena_printf(a, "%lld requests: %s (SQLSTATE %s)",
                                         (long long)one->count, one->text, one->code),
                         "clients that prepare their statements have to prepare them "
                         "again; others have to repeat the request");
    }
}

static int on_candidate(struct run *r, const struct tw_pg_script *script,
                        struct tw_schema_ran *ran, struct tw_err *err)
{
    struct tw_schema *out = &r->v.schema;
    struct tw_schema_spec spec;
    struct beside b;
    int rc = open_beside(r, RUN_CANDIDATE, &b, err);

    if (rc < 0)
        return rc;
    spec = spec_of(r, RUN_CANDIDATE, script, &b);
    if (b.load)
        rc = tw_schema_rate(&spec, &out->rate_per_s, err);
    spec.rate_per_s = out->rate_per_s;
    out->rate_assumed = isnan(spec.target_rate_per_s);
    if (out->rate_assumed)
        spec.target_rate_per_s = out->rate_per_s;
    out->target_rate_per_s = spec.target_rate_per_s;
    if (rc == 0)
        rc = tw_schema_run(r->v.sim->arena, &spec, ran, err);
    if (rc == 0)
        tell_failures(r, b.load);
    close_beside(&b);
    return rc;
}

static void keep_ran(struct run *r, const struct tw_schema_ran *ran)
{
    struct tw_schema *out = &r->v.schema;
    struct tw_arena *a = r->v.sim->arena;

    out->database = database_of(r);
    for (size_t i = 0; i < ran->statements.count; i++)
        TW_PUSH(a, &out->statements, ran->statements.items[i]);
    for (size_t i = 0; i < ran->invalid.count; i++)
        TW_PUSH(a, &out->invalid, ran->invalid.items[i]);
    for (size_t i = 0; i < ran->unanalysed.count; i++)
        TW_PUSH(a, &out->unanalysed, ran->unanalysed.items[i]);
    for (size_t i = 0; i < ran->created.count; i++)
        TW_PUSH(a, &out->unused, ran->created.items[i]); /* until a plan shows it */
    r->v.schema_lasting = ran->lasting;
}

/* ---- does the load still work? ---- */

static void check_mix(struct run *r)
{
    struct tw_arena *a = r->v.sim->arena;
    struct tw_load_plans plans;
    struct tw_pg *pg = NULL;
    struct tw_err why = {0};
    int rc;

    if (!r->has_mix)
        return;
    rc = tw_twin_connect(r->members[RUN_CANDIDATE].twin, r->mix.database, &pg, &why);
    if (rc == 0)
        rc = tw_load_explain(a, &r->mix, pg, &plans, &why);
    tw_pg_close(pg);
    if (rc == 0)
        return;
    tw_issue_add(a, &r->v.issues, TW_CRITICAL, TW_BLOCK, "schema.breaks",
                 "a statement of the load no longer works", why.text,
                 "change the clients first, in a way that works with both: a view or a "
                 "second column for the time between");
    r->v.not_measured = "a statement of the load no longer works";
}

/* ---- what cannot be taken back ---- */

static bool has_subtype(const json_t *stmt, const char *subtype)
{
    size_t i;
    json_t *cmd;

    json_array_foreach (json_object_get(stmt, "cmds"), i, cmd)
        if (tw_streq(json_string_value(json_object_get(
                         json_object_get(cmd, "AlterTableCmd"), "subtype")),
                     subtype))
            return true;
    return false;
}

static bool drops_data(const char *node, const json_t *stmt)
{
    static const char *const kinds[] = {"OBJECT_TABLE", "OBJECT_SCHEMA",
                                        "OBJECT_SEQUENCE"};
    const char *kind = json_string_value(json_object_get(stmt, "removeType"));

    if (tw_streq(node, "DropStmt"))
        return tw_name_index(kind, kinds, TW_COUNT_OF(kinds)) >= 0;
    if (tw_streq(node, "AlterTableStmt"))
        return has_subtype(stmt, "AT_DropColumn");
    if (tw_streq(node, "DeleteStmt"))
        return !json_object_get(stmt, "whereClause");
    return tw_streq(node, "TruncateStmt") || tw_streq(node, "DropdbStmt");
}

static void tell_losses(struct run *r, const struct tw_pg_script *script)
{
    for (size_t i = 0; i < script->list.count; i++) {
        const struct tw_pg_statement *s = &script->list.items[i];
        json_auto_t *tree = tw_pg_tree(s->text);

        if (!r->v.schema.statements.items[i].error &&
            drops_data(s->node, json_object_get(tree, s->node)))
            tw_issue_add(r->v.sim->arena, &r->v.issues, TW_MEDIUM, TW_REVIEW,
                         "schema.data_loss",
                         "it throws away data that no undo brings back", s->text,
                         "rename it first and drop it when nobody has missed it; take a "
                         "backup of it before");
    }
}

/* ---- beside open transactions ---- */

static int beside_open(struct run *r, const struct tw_pg_script *script,
                       struct tw_err *err)
{
    double each = PATIENCE_S / (2 * (double)script->list.count);
    struct tw_schema_spec spec;
    struct beside b;
    int rc = open_beside(r, RUN_JUDGE, &b, err);

    if (rc < 0)
        return rc;
    spec = spec_of(r, RUN_JUDGE, script, &b);
    rc = tw_schema_beside(r->v.sim->arena, &spec, r->v.schema.statements.items,
                          fmin(PATIENCE_MOST_S, fmax(PATIENCE_LEAST_S, each)), err);
    close_beside(&b);
    return rc;
}

/* ---- safer forms ---- */

/* How long a statement shuts out reads or writes, or makes one wait for rows. */
static double stopped_s(const struct tw_ddl *d)
{
    if (tw_lock_mode_find(d->mode) >= TW_LOCK_SHARE)
        return d->waited_s + d->held_s;
    if (tw_streq(d->blocks, "writes of the rows it touches"))
        return d->held_s;
    return d->queued > 0 ? d->longest_wait_s : 0;
}

/* What came before it in the script, but for transactions: some forms cannot stand in one. */
static size_t prefixed(struct run *r, const struct tw_pg_script *script,
                       const struct tw_schema_form *form, struct tw_pg_script *ret)
{
    struct tw_arena *a = r->v.sim->arena;
    size_t before;

    *ret = (struct tw_pg_script){0};
    for (int i = 0; i < form->of; i++)
        if (!tw_streq(script->list.items[i].node, "TransactionStmt"))
            TW_PUSH(a, &ret->list, script->list.items[i]);
    before = ret->list.count;
    for (size_t i = 0; i < form->script.list.count; i++)
        TW_PUSH(a, &ret->list, form->script.list.items[i]);
    return before;
}

static void keep_safer(struct run *r, const struct tw_schema_form *form,
                       const struct tw_schema_ran *ran, size_t from)
{
    struct tw_arena *a = r->v.sim->arena;
    const struct tw_ddl *given = &r->v.schema.statements.items[form->of];
    struct tw_ddl_safer safer = {.of = form->of,
                                 .what = form->what,
                                 .note = form->note,
                                 .stopped_before_s = stopped_s(given)};

    /* One that gives up early is for the time beside an open transaction. */
    for (size_t i = 0; form->retry && i < given->beside.count; i++)
        safer.stopped_before_s =
            fmax(safer.stopped_before_s, given->beside.items[i].waited_s);
    for (size_t i = from; i < ran->statements.count; i++) {
        TW_PUSH(a, &safer.steps, ran->statements.items[i]);
        safer.stopped_s = fmax(safer.stopped_s, stopped_s(&ran->statements.items[i]));
    }
    TW_PUSH(a, &r->v.schema.safer, safer);
}

static int try_safer(struct run *r, const struct tw_pg_script *script,
                     const struct tw_schema_form *form, struct tw_err *err)
{
    const struct tw_ddl *given = &r->v.schema.statements.items[form->of];
    struct tw_schema_ran ran;
    struct tw_schema_spec spec;
    struct tw_pg_script whole;
    struct beside b;
    size_t from = prefixed(r, script, form, &whole);
    int rc = run_renew(r, RUN_JUDGE, err);

    if (rc == 0)
        rc = open_beside(r, RUN_JUDGE, &b, err);
    if (rc < 0)
        return rc;
    spec = spec_of(r, RUN_JUDGE, &whole, &b);
    spec.target_rate_per_s = r->v.schema.target_rate_per_s;
    spec.retry = form->retry;
    spec.batches_s = BATCHES_S;
    if (form->retry && given->beside.count)
        spec.open_on = given->beside.items[0].relation;
    rc = tw_schema_run(r->v.sim->arena, &spec, &ran, err);
    close_beside(&b);
    if (rc == 0)
        keep_safer(r, form, &ran, from);
    return rc;
}

static int forms_of(struct run *r, const struct tw_pg_script *script,
                    struct tw_schema_forms *ret, struct tw_err *err)
{
    struct tw_pg *pg = NULL;
    int rc = tw_twin_connect(r->members[RUN_BASELINE].twin, database_of(r), &pg, err);

    if (rc == 0)
        rc = tw_schema_safer(r->v.sim->arena, script, r->v.schema.statements.items, pg,
                             ret, err);
    tw_pg_close(pg);
    return rc;
}

static const struct tw_schema_form *
worst_left(const struct run *r, const struct tw_schema_forms *forms, const bool *done)
{
    const struct tw_schema_form *worst = NULL;
    double most = -1;

    for (size_t i = 0; i < forms->list.count; i++) {
        double s = stopped_s(&r->v.schema.statements.items[forms->list.items[i].of]);

        if (!done[i] && s > most) {
            most = s;
            worst = &forms->list.items[i];
        }
    }
    return worst;
}

static int try_forms(struct run *r, const struct tw_pg_script *script, double took_s,
                     struct tw_err *err)
{
    struct tw_schema_forms forms;
    const struct tw_schema_form *form;
    int64_t begun = tw_now_ns();
    bool *done;
    int rc = forms_of(r, script, &forms, err);

    if (rc < 0)
        return rc;
    done = tw_arena_alloc(r->arena, forms.list.count + 1);
    while (rc == 0 && (form = worst_left(r, &forms, done))) {
        done[form - forms.list.items] = true;
        rc = try_safer(r, script, form, err);
        if (tw_seconds(tw_now_ns() - begun) > fmax(SAFER_S, SAFER_TIMES * took_s))
            break;
    }
    return rc;
}

/* The one line for those who read only one. */
static void sum_up(struct run *r)
{
    struct tw_schema *s = &r->v.schema;
    const struct tw_ddl_safer *best = NULL;
    struct tw_arena *a = r->v.sim->arena;
    double most = 0;

    for (size_t i = 0; i < s->safer.count; i++) {
        const struct tw_ddl_safer *one = &s->safer.items[i];
        double gain = one->stopped_before_s - one->stopped_s;

        if (one->steps.count && !one->steps.items[one->steps.count - 1].error &&
            gain > most) {
            most = gain;
            best = one;
        }
    }
    if (best)
        r->v.safer =
            tw_arena_printf(a, "%s: its tables are shut for %s at most, %s as given",
                            best->what, tw_show_seconds(a, best->stopped_s),
                            tw_show_seconds(a, best->stopped_before_s));
}

/* ---- the stage ---- */

int run_schema(struct run *r, struct tw_err *err)
{
    struct tw_pg_script script;
    struct tw_schema_ran ran;
    int64_t begun = tw_now_ns();
    int rc;

    if (!is_schema(r) || !r->members[RUN_CANDIDATE].started.ready)
        return 0;
    r->v.schema.rate_per_s = r->v.schema.target_rate_per_s = NAN;
    run_warm_end(r, true);
    rc = script_of(r, &script, err);
    if (rc == 0)
        rc = run_measuring_begin(r, err);
    if (rc == 0)
        rc = on_candidate(r, &script, &ran, err);
    if (rc < 0)
        return rc;
    keep_ran(r, &ran);
    tell_losses(r, &script);
    check_mix(r);
    run_stage_time(r, "statements", tw_seconds(tw_now_ns() - begun));
    rc = beside_open(r, &script, err);
    if (rc == 0)
        rc = try_forms(r, &script, tw_seconds(tw_now_ns() - begun), err);
    run_measuring_end(r);
    sum_up(r);
    return rc;
}

/* ---- with the plans known ---- */

static bool is_used(const struct run *r, const char *index)
{
    const struct tw_load_plans *p = &r->v.plans[TW_CANDIDATE];
    const char *dot = strchr(index, '.');
    tw_auto_free char *words = tw_strf("using %s", dot ? dot + 1 : index);

    for (size_t i = 0; i < p->list.count; i++) {
        const char *found = strstr(p->list.items[i].shape, words);
        char next = found ? found[strlen(words)] : 'x';

        if (found && (next == '\0' || strchr(" ,[]", next)))
            return true;
    }
    return false;
}

static void sort_indexes(struct run *r)
{
    struct tw_schema *s = &r->v.schema;
    size_t kept = 0;

    for (size_t i = 0; i < s->unused.count; i++) {
        if (is_used(r, s->unused.items[i]))
            TW_PUSH(r->v.sim->arena, &s->used, s->unused.items[i]);
        else
            s->unused.items[kept++] = s->unused.items[i];
    }
    s->unused.count = kept;
}

void run_schema_plans(struct run *r)
{
    if (!is_schema(r))
        return;
    sort_indexes(r);
    if (!r->v.not_measured && !r->v.schema_lasting)
        r->v.not_measured =
            "the statements were run under load, and no trigger is new that "
            "only more load would show";
}
