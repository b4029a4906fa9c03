/* What the twins of a simulation may take together, before one is started: its arms and the clone that is
 * judged beside them. From the newest snapshot and the change; a bound from above where the target has one. */
#include "run_internal.h"

#include <string.h>

#define BASE_BYTES                                                                       \
    ((double)(256 << 20)) /* a service that has touched little, and its load */
#define TWINS 3           /* baseline, candidate, judge */

/* Settings that a service takes memory by; a bare number counts so many bytes. */
static const struct sized_row {
    const char *type, *setting;
    double unit;
} rows[] = {
    {"postgresql", "shared_buffers", 8192},
    {"postgresql", "wal_buffers", 8192},
    {"redis", "maxmemory", 1},
};

/* Of a service that tells no sizes. */
#define SESSION_BYTES ((double)(10 << 20))

static double bytes_of(const struct sized_row *row, const char *value)
{
    double number;
    int64_t bytes;

    if (!value)
        return 0;
    if (tw_parse_double(value, &number, NULL) == 0)
        return number > 0 ? number * row->unit : 0;
    return tw_parse_bytes(value, &bytes, NULL) == 0 && bytes > 0 ? (double)bytes : 0;
}

static const char *setting_of(const json_t *snapshot, const char *name)
{
    const json_t *one;
    size_t i;

    json_array_foreach (json_object_get(snapshot, "settings"), i, one)
        if (tw_streq(json_string_value(json_object_get(one, "name")), name))
            return json_string_value(json_object_get(one, "value"));
    return NULL;
}

/* change NULL: as it is today. */
static double twin_bytes(const json_t *snapshot, const json_t *change)
{
    const char *type = json_string_value(json_object_get(snapshot, "type"));
    double sessions = json_number_value(json_object_get(snapshot, "peak_connections"));
    double most = json_number_value(json_object_get(snapshot, "memory_bytes"));
    double sum = BASE_BYTES + (sessions > 0 ? sessions * SESSION_BYTES : 0);

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *changed = json_string_value(json_object_get(change, rows[i].setting));

        if (tw_streq(rows[i].type, type))
            sum += bytes_of(&rows[i],
                            changed ? changed : setting_of(snapshot, rows[i].setting));
    }
    return most > 0 && sum > most ? most : sum;
}

int64_t tw_run_memory(const json_t *snapshot, const json_t *simulation)
{
    const json_t *change =
        json_object_get(json_object_get(simulation, "request"), "change");

    return (int64_t)(twin_bytes(snapshot, NULL) +
                     (TWINS - 1) * twin_bytes(snapshot, change));
}
