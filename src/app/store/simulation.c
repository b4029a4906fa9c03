/* Simulations: the body as it is answered, and beside it what lists are made of. */
#include "store_internal.h"
#include "tw/redact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMED 200 /* ids looked at for the nearest one */

static int step_done(const struct tw_store *s, sqlite3_stmt *q, const char *what,
                     struct tw_err *err)
{
    return sqlite3_step(q) == SQLITE_DONE ? 0 : store_fail(s, err, what);
}

static void bind_real(sqlite3_stmt *q, int index, double value)
{
    if (isnan(value))
        (void)sqlite3_bind_null(q, index);
    else
        (void)sqlite3_bind_double(q, index, value);
}

/* Redacted once more on the way in: the last line before the disk. */
static char *body_of(const struct tw_simulation *sim)
{
    json_t *json = tw_simulation_to_json(sim);
    char *text;

    tw_redact_json(NULL, json);
    text = tw_json_dump(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

int tw_store_put(struct tw_store *s, const struct tw_simulation *sim, struct tw_err *err)
{
    bool decided = sim->has_impact && sim->status == TW_SUCCESS;
    const char *environment =
        sim->target.environment ? sim->target.environment : sim->request.environment;
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_free char *body = body_of(sim);
    store_auto_stmt *q = NULL;
    int r =
        store_prepare(s,
                      "INSERT INTO simulation (id, created_ns, status, decision, type,"
                      " target, environment, risk_score, summary, body, updated_ns)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                      " ON CONFLICT (id) DO UPDATE SET status = ?3, decision = ?4,"
                      " type = ?5, target = ?6, environment = ?7, risk_score = ?8,"
                      " summary = ?9, body = ?10, updated_ns = ?11",
                      &q, err);

    if (r < 0)
        return r;
    store_bind_text(q, 1, sim->id);
    (void)sqlite3_bind_int64(q, 2, sim->created_wall_ns);
    store_bind_text(q, 3, tw_status_names[sim->status]);
    store_bind_text(q, 4, decided ? tw_verdict_names[sim->decision.verdict] : NULL);
    store_bind_text(q, 5, sim->request.type);
    store_bind_text(q, 6, sim->request.target);
    store_bind_text(q, 7, environment);
    bind_real(q, 8, sim->has_impact ? sim->impact.risk_score : NAN);
    store_bind_text(q, 9, tw_redact_text(NULL, a, tw_request_summary(a, &sim->request)));
    store_bind_text(q, 10, body);
    (void)sqlite3_bind_int64(q, 11, tw_wall_ns());
    return step_done(s, q, "storing a simulation", err);
}

/* ---- by id ---- */

struct ids {
    TW_ARRAY(const char *) list;
};

/* Ids that begin with prefix ("" for all), newest first, at most limit. The range of an
 * index, so that no character of the prefix means anything to SQL. */
static int ids_with(struct tw_store *s, struct tw_arena *a, const char *prefix, int limit,
                    struct ids *ret, struct tw_err *err)
{
    tw_auto_free char *after =
        tw_strf("%s~", prefix); /* '~' follows every character of an id */
    store_auto_stmt *q = NULL;
    int r = store_prepare(s,
                          "SELECT id FROM simulation WHERE id >= ?1 AND id < ?2"
                          " ORDER BY created_ns DESC, id DESC LIMIT ?3",
                          &q, err);

    if (r < 0)
        return r;
    store_bind_text(q, 1, prefix);
    store_bind_text(q, 2, after);
    (void)sqlite3_bind_int(q, 3, limit);
    while ((r = sqlite3_step(q)) == SQLITE_ROW)
        TW_PUSH(a, &ret->list, store_text(a, q, 0));
    return r == SQLITE_DONE ? 0 : store_fail(s, err, "looking for a simulation");
}

static int fail_not_found(struct tw_store *s, struct tw_arena *a, const char *id,
                          struct tw_err *err)
{
    struct ids all = {0};
    const char *near;
    int r = ids_with(s, a, "", MAX_NAMED, &all, err);

    if (r < 0)
        return r;
    if (all.list.count == 0)
        return tw_fail(err, -ENOENT, "there is no simulation '%s'; none has been run yet",
                       id);
    near = tw_nearest(id, all.list.items, all.list.count);
    return tw_fail(err, -ENOENT, "there is no simulation '%s'; the %s one is '%s'", id,
                   near ? "nearest" : "newest", near ? near : all.list.items[0]);
}

/* The whole id that a unique prefix stands for. */
static int find_id(struct tw_store *s, struct tw_arena *a, const char *id,
                   const char **ret_id, struct tw_err *err)
{
    struct ids found = {0};
    int r = *id ? ids_with(s, a, id, 3, &found, err) : 0;

    if (r < 0)
        return r;
    if (found.list.count == 0)
        return fail_not_found(s, a, id, err);
    if (found.list.count > 1)
        return tw_fail(err, -EINVAL,
                       "'%s' is the beginning of several simulations, '%s', '%s'; "
                       "give more of it",
                       id, found.list.items[0], found.list.items[1]);
    *ret_id = found.list.items[0];
    return 0;
}

int tw_store_get(struct tw_store *s, struct tw_arena *a, const char *id,
                 const char **ret_json, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    const char *whole = NULL;
    int r = find_id(s, a, id, &whole, err);

    if (r < 0)
        return r;
    r = store_prepare(s, "SELECT body FROM simulation WHERE id = ?1", &q, err);
    if (r < 0)
        return r;
    store_bind_text(q, 1, whole);
    switch (sqlite3_step(q)) {
    case SQLITE_ROW:
        *ret_json = store_text(a, q, 0);
        return 0;
    case SQLITE_DONE: /* removed in between */
        return fail_not_found(s, a, id, err);
    default:
        return store_fail(s, err, "reading a simulation");
    }
}

int tw_store_remove(struct tw_store *s, const char *id, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    store_auto_stmt *q = NULL;
    const char *whole = NULL;
    int r = find_id(s, a, id, &whole, err);

    if (r == 0)
        r = store_prepare(s, "DELETE FROM simulation WHERE id = ?1", &q, err);
    if (r < 0)
        return r;
    store_bind_text(q, 1, whole);
    return step_done(s, q, "removing a simulation", err);
}

/* ---- by the whole id, for the daemon ---- */

#define SIMULATION_COLUMNS                                                               \
    "id, status, decision, environment, target, type, requester, body, created_ns,"      \
    " updated_ns, priority, attempts"

static struct tw_store_simulation read_simulation(struct tw_arena *a, sqlite3_stmt *q)
{
    return (struct tw_store_simulation){.id = store_text(a, q, 0),
                                        .status = store_text(a, q, 1),
                                        .decision = store_text(a, q, 2),
                                        .environment = store_text(a, q, 3),
                                        .target = store_text(a, q, 4),
                                        .type = store_text(a, q, 5),
                                        .requester = store_text(a, q, 6),
                                        .body = store_text(a, q, 7),
                                        .created_wall_ns = sqlite3_column_int64(q, 8),
                                        .updated_wall_ns = sqlite3_column_int64(q, 9),
                                        .priority = sqlite3_column_int(q, 10),
                                        .attempts = sqlite3_column_int(q, 11)};
}

int tw_store_find(struct tw_store *s, struct tw_arena *a, const char *id,
                  struct tw_store_simulation *ret, struct tw_err *err)
{
    int r = 0;

    if (!s->find)
        r = store_prepare(s,
                          "SELECT " SIMULATION_COLUMNS " FROM simulation WHERE id = ?1",
                          &s->find, err);
    if (r < 0)
        return r;
    store_bind_text(s->find, 1, id);
    r = store_next(s, s->find, "reading a simulation", err);
    if (r == 1)
        *ret = read_simulation(a, s->find);
    (void)sqlite3_reset(s->find);
    return r == 0 ? fail_not_found(s, a, id, err) : r < 0 ? r : 0;
}

int tw_store_own(struct tw_store *s, const char *id, const char *requester, int priority,
                 struct tw_err *err)
{
    return store_run(s, err, "storing a simulation",
                     "UPDATE simulation SET requester = ?2, priority = ?3 WHERE id = ?1",
                     "tti", id, requester, (int64_t)priority);
}

int tw_store_attempt(struct tw_store *s, const char *id, struct tw_err *err)
{
    return store_run(s, err, "storing a simulation",
                     "UPDATE simulation SET attempts = attempts + 1 WHERE id = ?1", "t",
                     id);
}

static int read_simulations(struct tw_store *s, struct tw_arena *a, sqlite3_stmt *q,
                            struct tw_store_simulations *ret, struct tw_err *err)
{
    struct tw_store_simulations all = {0};
    int r;

    while ((r = store_next(s, q, "reading simulations", err)) == 1)
        TW_PUSH(a, &all.list, read_simulation(a, q));
    if (r == 0)
        *ret = all;
    return r;
}

int tw_store_unfinished(struct tw_store *s, struct tw_arena *a,
                        struct tw_store_simulations *ret, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT " SIMULATION_COLUMNS " FROM simulation"
                        " WHERE status IN ('queued', 'running')"
                        " ORDER BY priority DESC, created_ns",
                        "");

    return r < 0 ? r : read_simulations(s, a, q, ret, err);
}

int tw_store_answers(struct tw_store *s, struct tw_arena *a, const char *environment,
                     const char *target, int limit, struct tw_store_simulations *ret,
                     struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT id, status, decision, environment, target, type, requester, '',"
                        " created_ns, updated_ns, priority, attempts FROM simulation WHERE target = ?1"
                        " AND (?2 IS NULL OR environment = ?2) AND status = 'success'"
                        " ORDER BY created_ns DESC LIMIT ?3",
                        "tti", target, environment, (int64_t)limit);

    return r < 0 ? r : read_simulations(s, a, q, ret, err);
}

int tw_store_outcome_put(struct tw_store *s, const char *id, const char *by,
                         const char *body, struct tw_err *err)
{
    return store_run(s, err, "storing an outcome",
                     "INSERT OR REPLACE INTO outcome (simulation, at_ns, person, body)"
                     " VALUES (?1, ?2, ?3, ?4)",
                     "titt", id, tw_wall_ns(), by, body);
}

int tw_store_outcome_get(struct tw_store *s, struct tw_arena *a, const char *id,
                         const char **ret_body, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q, "SELECT body FROM outcome WHERE simulation = ?1", "t",
                        id);

    if (r == 0)
        r = store_next(s, q, "reading an outcome", err);
    if (r >= 0)
        *ret_body = r ? store_text(a, q, 0) : NULL;
    return r < 0 ? r : 0;
}

int tw_store_counts(struct tw_store *s, int64_t ret_counts[TW_STATUS_COUNT],
                    struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT status, count(*) FROM simulation GROUP BY status", "");

    memset(ret_counts, 0, TW_STATUS_COUNT * sizeof(*ret_counts));
    while (r >= 0 && (r = store_next(s, q, "counting simulations", err)) == 1) {
        int i = tw_name_index((const char *)sqlite3_column_text(q, 0), tw_status_names,
                              TW_STATUS_COUNT);

        if (i >= 0)
            ret_counts[i] = sqlite3_column_int64(q, 1);
    }
    return r;
}

/* ---- lists ---- */

int tw_store_page(struct tw_store *s, struct tw_arena *a, const struct tw_store_filter *f,
                  struct tw_store_rows *ret, struct tw_err *err)
{
    struct tw_store_rows rows = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(
        s, err, &q,
        "SELECT id, status, decision, type, target, summary, risk_score, created_ns,"
        " environment FROM simulation WHERE (?1 IS NULL OR target = ?1)"
        " AND (?2 IS NULL OR environment = ?2) AND (?3 IS NULL OR status = ?3)"
        " AND (?4 IS NULL OR decision = ?4) AND (?5 IS NULL OR type = ?5)"
        " AND (?6 = 0 OR (created_ns, id) < (?6, ?7))"
        " ORDER BY created_ns DESC, id DESC LIMIT ?8",
        "tttttiti", f->target, f->environment, f->status, f->decision, f->type,
        f->before_wall_ns, f->before_id ? f->before_id : "",
        (int64_t)(f->limit > 0 ? f->limit : -1));

    if (r < 0)
        return r;
    while ((r = store_next(s, q, "listing simulations", err)) == 1)
        TW_PUSH(a, &rows.list,
                (struct tw_store_row){.id = store_text(a, q, 0),
                                      .status = store_text(a, q, 1),
                                      .decision = store_text(a, q, 2),
                                      .type = store_text(a, q, 3),
                                      .target = store_text(a, q, 4),
                                      .summary = store_text(a, q, 5),
                                      .risk_score = store_real(q, 6),
                                      .created_wall_ns = sqlite3_column_int64(q, 7),
                                      .environment = store_text(a, q, 8)});
    if (r == 0)
        *ret = rows;
    return r;
}

int tw_store_list(struct tw_store *s, struct tw_arena *a, const char *target, int limit,
                  struct tw_store_rows *ret, struct tw_err *err)
{
    struct tw_store_filter f = {.target = target, .limit = limit};

    return tw_store_page(s, a, &f, ret, err);
}
