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
                      " target, environment, risk_score, summary, body)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                      " ON CONFLICT (id) DO UPDATE SET status = ?3, decision = ?4,"
                      " type = ?5, target = ?6, environment = ?7, risk_score = ?8,"
                      " summary = ?9, body = ?10",
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

/* ---- lists ---- */

int tw_store_list(struct tw_store *s, struct tw_arena *a, const char *target, int limit,
                  struct tw_store_rows *ret, struct tw_err *err)
{
    struct tw_store_rows rows = {0};
    store_auto_stmt *q = NULL;
    int r =
        store_prepare(s,
                      "SELECT id, status, decision, type, target, summary, risk_score,"
                      " created_ns FROM simulation WHERE ?1 IS NULL OR target = ?1"
                      " ORDER BY created_ns DESC, id DESC LIMIT ?2",
                      &q, err);

    if (r < 0)
        return r;
    store_bind_text(q, 1, target);
    (void)sqlite3_bind_int(q, 2, limit > 0 ? limit : -1);
    while ((r = sqlite3_step(q)) == SQLITE_ROW) {
        bool scored = sqlite3_column_type(q, 6) != SQLITE_NULL;

        TW_PUSH(a, &rows.list,
                (struct tw_store_row){.id = store_text(a, q, 0),
                                      .status = store_text(a, q, 1),
                                      .decision = store_text(a, q, 2),
                                      .type = store_text(a, q, 3),
                                      .target = store_text(a, q, 4),
                                      .summary = store_text(a, q, 5),
                                      .risk_score =
                                          scored ? sqlite3_column_double(q, 6) : NAN,
                                      .created_wall_ns = sqlite3_column_int64(q, 7)});
    }
    if (r != SQLITE_DONE)
        return store_fail(s, err, "listing simulations");
    *ret = rows;
    return 0;
}
