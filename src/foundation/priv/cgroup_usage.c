/* Counters of a group: descriptors stay open, a sample is a pread per file (about 1 µs
 * each). */
#include "cgroup_internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum field {
    CPU,
    THROTTLED,
    MEMORY,
    PEAK,
    ANON,
    CACHE,
    SHMEM,
    READ,
    WRITTEN,
    CPU_PRESSURE,
    CPU_STARVED,
    IO_PRESSURE,
    MEMORY_PRESSURE,
    OOM_KILLS,
    PIDS,
    FIELD_COUNT
};

enum shape {
    SINGLE,   /* one number */
    KEYED,    /* "key number" a line */
    PRESSURE, /* the line "some", its total= */
    STARVED,  /* the line "full", its total=; from 5.13 on */
    BLKIO,    /* "maj:min Read n" and "maj:min Write n" lines */
    IO_STAT   /* "maj:min rbytes=n wbytes=n …" lines */
};

struct source {
    const char *controller, *file; /* controller "": the v2 group beside v1 */
    enum shape shape;
    struct {
        const char *key;
        enum field field;
        double scale;
    } keys[4];
};

static const struct source v1_sources[] = {
    {"cpuacct", "cpuacct.usage", SINGLE, {{"", CPU, 1e-9}}},
    {"cpu", "cpu.stat", KEYED, {{"throttled_time", THROTTLED, 1e-9}}},
    {"memory", "memory.usage_in_bytes", SINGLE, {{"", MEMORY, 1}}},
    {"memory", "memory.max_usage_in_bytes", SINGLE, {{"", PEAK, 1}}},
    {"memory",
     "memory.stat",
     KEYED,
     {{"rss", ANON, 1}, {"cache", CACHE, 1}, {"shmem", SHMEM, 1}}},
    {"memory", "memory.oom_control", KEYED, {{"oom_kill", OOM_KILLS, 1}}},
    {"blkio",
     "blkio.throttle.io_service_bytes",
     BLKIO,
     {{"", READ, 1}, {"", WRITTEN, 1}}},
    {"pids", "pids.current", SINGLE, {{"", PIDS, 1}}},
    {"", "cpu.pressure", PRESSURE, {{"", CPU_PRESSURE, 1e-6}}},
    {"", "io.pressure", PRESSURE, {{"", IO_PRESSURE, 1e-6}}},
    {"", "memory.pressure", PRESSURE, {{"", MEMORY_PRESSURE, 1e-6}}},
    {"", "cpu.pressure", STARVED, {{"", CPU_STARVED, 1e-6}}},
};
static const struct source v2_sources[] = {
    {"",
     "cpu.stat",
     KEYED,
     {{"usage_usec", CPU, 1e-6}, {"throttled_usec", THROTTLED, 1e-6}}},
    {"", "memory.current", SINGLE, {{"", MEMORY, 1}}},
    {"", "memory.peak", SINGLE, {{"", PEAK, 1}}}, /* from 5.19 on */
    {"",
     "memory.stat",
     KEYED,
     {{"anon", ANON, 1}, {"file", CACHE, 1}, {"shmem", SHMEM, 1}}},
    {"", "memory.events", KEYED, {{"oom_kill", OOM_KILLS, 1}}},
    {"", "io.stat", IO_STAT, {{"", READ, 1}, {"", WRITTEN, 1}}},
    {"", "pids.current", SINGLE, {{"", PIDS, 1}}},
    {"", "cpu.pressure", PRESSURE, {{"", CPU_PRESSURE, 1e-6}}},
    {"", "io.pressure", PRESSURE, {{"", IO_PRESSURE, 1e-6}}},
    {"", "memory.pressure", PRESSURE, {{"", MEMORY_PRESSURE, 1e-6}}},
    {"", "cpu.pressure", STARVED, {{"", CPU_STARVED, 1e-6}}},
};
_Static_assert(TW_COUNT_OF(v1_sources) <= CGROUP_SOURCES, "a descriptor per source");
_Static_assert(TW_COUNT_OF(v2_sources) <= CGROUP_SOURCES, "a descriptor per source");

void cgroup_counters_init(struct tw_priv_cgroup *g)
{
    for (size_t i = 0; i < CGROUP_SOURCES; i++)
        g->counters[i] = -2;
}

void cgroup_counters_close(struct tw_priv_cgroup *g)
{
    for (size_t i = 0; i < CGROUP_SOURCES; i++)
        tw_close_p(&g->counters[i]);
}

/* The number after "key " at the start of a line; NaN when there is none. */
static double keyed(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return strtod(line + len + 1, NULL);
    }
    return NAN;
}

static double pressure(const char *text, const char *line)
{
    const char *some = strstr(text, line),
               *total = some ? strstr(some, "total=") : NULL;

    return total ? strtod(total + strlen("total="), NULL) : NAN;
}

/* A pool on a loop device is charged twice, for the loop and for the disk below it. The
 * loop is what the service asked of its own storage, so where loops have counted, only
 * they count. */
static void devices(const char *text, enum shape shape, double *ret_read,
                    double *ret_written)
{
    static const char *const marks[2][2] = {{" Read ", " Write "},
                                            {" rbytes=", " wbytes="}};
    double sums[2][2] = {{0, 0}, {0, 0}}; /* [loop?][write?] */
    bool loops;

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t len = strcspn(line, "\n");
        int loop = strncmp(line, "7:", 2) == 0;

        for (int write = 0; write < 2; write++) {
            const char *mark = marks[shape == IO_STAT][write];
            const char *at = memmem(line, len, mark, strlen(mark));

            if (at)
                sums[loop][write] += strtod(at + strlen(mark), NULL);
        }
        if (len == 0)
            break;
    }
    loops = sums[1][0] + sums[1][1] > 0;
    *ret_read = sums[loops][0];
    *ret_written = sums[loops][1];
}

static void read_source(const struct source *s, const char *text, double *values)
{
    switch (s->shape) {
    case SINGLE:
        values[s->keys[0].field] = strtod(text, NULL) * s->keys[0].scale;
        break;
    case KEYED:
        for (size_t i = 0; i < TW_COUNT_OF(s->keys) && s->keys[i].key; i++)
            values[s->keys[i].field] = keyed(text, s->keys[i].key) * s->keys[i].scale;
        break;
    case PRESSURE:
        values[s->keys[0].field] = pressure(text, "some ") * s->keys[0].scale;
        break;
    case STARVED:
        values[s->keys[0].field] = pressure(text, "full ") * s->keys[0].scale;
        break;
    case BLKIO:
    case IO_STAT:
        devices(text, s->shape, &values[READ], &values[WRITTEN]);
        break;
    }
}

static int64_t count_or_unknown(double value)
{
    return isnan(value) ? -1 : (int64_t)value;
}

void tw_priv_cgroup_usage(struct tw_priv_cgroup *g, struct tw_usage *ret)
{
    const struct source *sources = g->v2 ? v2_sources : v1_sources;
    size_t count = g->v2 ? TW_COUNT_OF(v2_sources) : TW_COUNT_OF(v1_sources);
    double v[FIELD_COUNT];
    char text[8192];

    for (size_t i = 0; i < FIELD_COUNT; i++)
        v[i] = NAN;
    for (size_t i = 0; i < count; i++) {
        ssize_t n = -1;

        if (g->counters[i] == -2) {
            int dir = sources[i].controller[0] ? cgroup_dir_of(g, sources[i].controller)
                                               : g->unified;

            g->counters[i] =
                dir >= 0 ? openat(dir, sources[i].file, O_RDONLY | O_CLOEXEC) : -1;
        }
        if (g->counters[i] >= 0)
            n = pread(g->counters[i], text, sizeof text - 1, 0);
        if (n < 0)
            continue;
        text[n] = '\0';
        read_source(&sources[i], text, v);
    }
    *ret = (struct tw_usage){.cpu_s = v[CPU],
                             .throttled_s = v[THROTTLED],
                             .memory_bytes = v[MEMORY],
                             .memory_peak_bytes = v[PEAK],
                             .anon_bytes = v[ANON],
                             .file_bytes = v[CACHE],
                             .shmem_bytes = v[SHMEM],
                             .read_bytes = v[READ],
                             .write_bytes = v[WRITTEN],
                             .cpu_pressure_s = v[CPU_PRESSURE],
                             .cpu_starved_s = v[CPU_STARVED],
                             .io_pressure_s = v[IO_PRESSURE],
                             .memory_pressure_s = v[MEMORY_PRESSURE],
                             .oom_kills = count_or_unknown(v[OOM_KILLS]),
                             .pids = count_or_unknown(v[PIDS])};
}
