/* Busy time of all cores but the last, which is the load generator's: what the twin did not use of it
 * somebody else did. One core is the twin's and everybody's. Source: proc(5), /proc/stat. */
#include "sample_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "cpu3 user nice system idle iowait irq softirq steal …": all but idle and iowait. */
static double busy_ticks(const char *line)
{
    unsigned long long v[8] = {0};
    char *at = strchr(line, ' ');

    for (size_t i = 0; i < TW_COUNT_OF(v) && at; i++)
        v[i] = strtoull(at, &at, 10);
    return (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]);
}

static int read_host(struct tw_sampler *s, struct tw_counters *c, struct tw_err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char text[8192];
    ssize_t n = s->stat_fd < 0 ? -1 : pread(s->stat_fd, text, sizeof(text) - 1, 0);
    double ticks = 0;

    (void)err;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    for (char *line = strchr(text, '\n'); line && tw_starts_with(line + 1, "cpu");
         line = strchr(line + 1, '\n')) {
        long core = strtol(line + 4, NULL, 10);

        if (cores < 2 || core < cores - 1)
            ticks += busy_ticks(line + 1);
    }
    c->foreign_busy_s = ticks / (double)sysconf(_SC_CLK_TCK);
    return 0;
}

extern const struct sample_source source_host;
const struct sample_source source_host = {.name = "host", .read = read_host};
