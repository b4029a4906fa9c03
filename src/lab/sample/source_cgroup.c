/* The twin's cgroup, and how busy the cores it may use are with anything. */
#include "sample_internal.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STAT_MAX ((size_t)1 << 20)

struct state {
    struct tw_sandbox *box; /* borrowed */
    int stat_fd;
    char *cores; /* owned; NULL: all */
    char *text;  /* owned, STAT_MAX */
};

/* The cores that a process may use: of the service, found through our socket to it. */
static char *cores_of(pid_t pid)
{
    static const char key[] = "Cpus_allowed_list:";
    tw_auto_free char *path = tw_strf("/proc/%d/status", (int)pid), *text = NULL;
    char *at;

    if (tw_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
        return NULL;
    at = strstr(text, key);
    if (!at)
        return NULL;
    at += sizeof key - 1;
    at += strspn(at, " \t");
    return strndup(at, strcspn(at, "\n"));
}

static char *cores_of_twin(struct tw_twin *twin)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    struct tw_pg *pg;
    char *cores = NULL;

    if (tw_twin_connect(twin, NULL, &pg, NULL) < 0)
        return NULL;
    if (getsockopt(PQsocket(tw_pg_raw(pg)), SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
        peer.pid > 0)
        cores = cores_of(peer.pid);
    tw_pg_close(pg);
    return cores;
}

static void cgroup_open(struct tw_twin *twin, void **ret_state)
{
    struct state *s;

    if (!tw_twin_sandbox(twin))
        return;
    s = tw_alloc(sizeof *s);
    s->box = tw_twin_sandbox(twin);
    s->stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    s->cores = cores_of_twin(twin);
    s->text = tw_alloc(STAT_MAX);
    *ret_state = s;
}

static bool listed(const char *cores, long core)
{
    char *end;

    for (const char *at = cores; at && *at;) {
        long low = strtol(at, &end, 10), high = low;

        if (end == at)
            return false;
        if (*end == '-')
            high = strtol(end + 1, &end, 10);
        if (core >= low && core <= high)
            return true;
        at = *end == ',' ? end + 1 : "";
    }
    return cores == NULL;
}

double sample_busy_s(const char *text, const char *cores)
{
    double busy = 0, tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    bool found = false;

    for (const char *line = text; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        /* cpuN user nice system idle iowait irq softirq steal guest guest_nice; guest is
         * in user already. */
        long core;
        long long t[8];

        if (sscanf(line, "cpu%ld %lld %lld %lld %lld %lld %lld %lld %lld", &core, &t[0],
                   &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) != 9 ||
            !tw_starts_with(line, "cpu") || line[3] == ' ' || !listed(cores, core))
            continue;
        busy += tick * (double)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]);
        found = true;
    }
    return found ? busy : NAN;
}

static void cgroup_read(void *state, struct tw_counters *ret)
{
    struct state *s = state;
    ssize_t n = s->stat_fd >= 0 ? pread(s->stat_fd, s->text, STAT_MAX - 1, 0) : -1;

    (void)tw_sandbox_usage(s->box, &ret->usage, NULL);
    if (n > 0) {
        s->text[n] = '\0';
        ret->foreign_busy_s = sample_busy_s(s->text, s->cores);
    }
}

static void cgroup_close(void *state)
{
    struct state *s = state;

    tw_close_p(&s->stat_fd);
    free(s->cores);
    free(s->text);
    free(s);
}

const struct sample_source sample_source_cgroup = {
    .name = "cgroup",
    .open = cgroup_open,
    .read = cgroup_read,
    .close = cgroup_close,
};
