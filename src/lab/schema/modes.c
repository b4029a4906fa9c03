/* Lock modes, and which requests of a mix they stop. */
#include "schema_internal.h"

#include <math.h>
#include <string.h>

const char *const tw_lock_mode_names[TW_LOCK_MODE_COUNT] = {
    [TW_LOCK_NONE] = "none",
    [TW_LOCK_ACCESS_SHARE] = "ACCESS SHARE",
    [TW_LOCK_ROW_SHARE] = "ROW SHARE",
    [TW_LOCK_ROW_EXCLUSIVE] = "ROW EXCLUSIVE",
    [TW_LOCK_SHARE_UPDATE_EXCLUSIVE] = "SHARE UPDATE EXCLUSIVE",
    [TW_LOCK_SHARE] = "SHARE",
    [TW_LOCK_SHARE_ROW_EXCLUSIVE] = "SHARE ROW EXCLUSIVE",
    [TW_LOCK_EXCLUSIVE] = "EXCLUSIVE",
    [TW_LOCK_ACCESS_EXCLUSIVE] = "ACCESS EXCLUSIVE",
};

/* As pg_locks writes them. */
static const char *const short_names[TW_LOCK_MODE_COUNT] = {
    [TW_LOCK_NONE] = "",
    [TW_LOCK_ACCESS_SHARE] = "AccessShareLock",
    [TW_LOCK_ROW_SHARE] = "RowShareLock",
    [TW_LOCK_ROW_EXCLUSIVE] = "RowExclusiveLock",
    [TW_LOCK_SHARE_UPDATE_EXCLUSIVE] = "ShareUpdateExclusiveLock",
    [TW_LOCK_SHARE] = "ShareLock",
    [TW_LOCK_SHARE_ROW_EXCLUSIVE] = "ShareRowExclusiveLock",
    [TW_LOCK_EXCLUSIVE] = "ExclusiveLock",
    [TW_LOCK_ACCESS_EXCLUSIVE] = "AccessExclusiveLock",
};

enum tw_lock_mode tw_lock_mode_find(const char *name)
{
    int mode = tw_name_index(name, short_names, TW_LOCK_MODE_COUNT);

    if (mode < 0)
        mode = tw_name_index(name, tw_lock_mode_names, TW_LOCK_MODE_COUNT);
    return mode < 0 ? TW_LOCK_NONE : (enum tw_lock_mode)mode;
}

const char *tw_lock_mode_blocks(enum tw_lock_mode mode)
{
    return mode >= TW_LOCK_ACCESS_EXCLUSIVE         ? "reads and writes"
           : mode >= TW_LOCK_EXCLUSIVE              ? "writes and SELECT FOR UPDATE"
           : mode >= TW_LOCK_SHARE                  ? "writes"
           : mode >= TW_LOCK_SHARE_UPDATE_EXCLUSIVE ? "other schema changes and VACUUM"
                                                    : "nothing";
}

/* ---- the mix ---- */

static void touch_statement(struct tw_arena *a, const char *sql, double share,
                            struct schema_touches *item)
{
    struct tw_pg_relations found;

    tw_pg_relations(a, sql, &found);
    for (size_t i = 0; i < found.list.count; i++) {
        const struct tw_pg_relation *f = &found.list.items[i];
        struct schema_touch *known = NULL;

        for (size_t k = 0; k < item->list.count && !known; k++)
            if (tw_streq(item->list.items[k].name, f->name) &&
                tw_streq(item->list.items[k].schema, f->schema))
                known = &item->list.items[k];
        if (known)
            known->writes |= f->writes;
        else
            TW_PUSH(a, &item->list,
                    (struct schema_touch){f->schema, f->name, share, f->writes});
    }
}

void schema_touches_of(struct tw_arena *a, const struct tw_load_mix *mix,
                       struct schema_touches *ret)
{
    double all = 0;

    *ret = (struct schema_touches){0};
    for (size_t i = 0; i < mix->items.count; i++)
        all += mix->items.items[i].weight;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct tw_load_item *item = &mix->items.items[i];
        struct schema_touches one = {0};

        for (size_t k = 0; k < item->statements.count; k++)
            touch_statement(a, item->statements.items[k].sql, item->weight / all, &one);
        for (size_t k = 0; k < one.list.count; k++)
            TW_PUSH(a, &ret->list, one.list.items[k]);
    }
}

/* What names no schema is found by its name alone. */
static bool is_of(const struct schema_touch *t, const struct schema_relation *table)
{
    return tw_streq(t->name, table->bare) &&
           (!t->schema || tw_streq(t->schema, table->schema));
}

double schema_share_stopped(const struct schema_touches *t,
                            const struct schema_relation *table, enum tw_lock_mode mode,
                            double rows)
{
    double share = 0;

    for (size_t i = 0; i < t->list.count; i++) {
        const struct schema_touch *one = &t->list.items[i];

        if (!is_of(one, table))
            continue;
        if (mode >= TW_LOCK_ACCESS_EXCLUSIVE || (one->writes && mode >= TW_LOCK_SHARE))
            share += one->share;
        else if (one->writes && mode == TW_LOCK_ROW_EXCLUSIVE && rows > 0)
            share += one->share * rows / 2; /* rows are locked one after the other */
    }
    return fmin(share, 1);
}

bool schema_is_written(const struct schema_touches *t,
                       const struct schema_relation *table)
{
    for (size_t i = 0; i < t->list.count; i++)
        if (t->list.items[i].writes && is_of(&t->list.items[i], table))
            return true;
    return false;
}
