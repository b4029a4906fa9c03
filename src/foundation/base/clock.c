/* Clock, log and named steps: the three things every room tells the outside by. */
#include "tw/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * TW_SEC_NS + t.tv_nsec;
}

int64_t tw_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t tw_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

double tw_seconds(int64_t ns)
{
    return (double)ns * 1e-9;
}

void tw_sleep_ns(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / TW_SEC_NS, .tv_nsec = ns % TW_SEC_NS};

    while (ns > 0 && nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

char *tw_iso_time(struct tw_arena *a, int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / TW_SEC_NS);
    struct tm tm;
    char text[32];

    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return tw_arena_strdup(a, text);
}

static enum tw_log_level log_level = TW_LOG_WARNING;
static const char *const level_names[] = {"error", "warning", "info", "debug"};

void tw_log_level_set(enum tw_log_level level)
{
    log_level = level;
}

void tw_log(enum tw_log_level level, const char *fmt, ...)
{
    static bool asked;
    tw_auto_free char *text = NULL;
    va_list args;
    int named;

    if (!asked) {
        const char *wish = getenv("TWIN_LOG");

        asked = true;
        named = wish ? tw_name_index(wish, level_names, TW_COUNT_OF(level_names)) : -1;
        if (named >= 0)
            log_level = (enum tw_log_level)named;
    }
    if (level > log_level)
        return;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        text = NULL;
    va_end(args);
    (void)fprintf(stderr, "twin: %s: %s\n", level_names[level], text ? text : fmt);
}

/* Steps: a handful of observers, in the process's own memory. */
static struct {
    tw_step_fn *fn;
    void *arg;
} observers[8];
static size_t observer_count;

/* TWIN_KILL_AT=step or step:N */
static void kill_if_asked(const char *step)
{
    static int passed;
    const char *wish = getenv("TWIN_KILL_AT");
    size_t len = strlen(step);

    if (!wish || strncmp(wish, step, len) != 0 || (wish[len] && wish[len] != ':'))
        return;
    passed++;
    if (passed >= (wish[len] ? atoi(wish + len + 1) : 1))
        (void)kill(getpid(), SIGKILL);
}

void tw_step(const char *step)
{
    int64_t now = tw_now_ns();

    for (size_t i = 0; i < observer_count; i++)
        observers[i].fn(observers[i].arg, step, now);
    kill_if_asked(step);
}

void tw_step_observe(tw_step_fn *fn, void *arg)
{
    if (observer_count < TW_COUNT_OF(observers)) {
        observers[observer_count].fn = fn;
        observers[observer_count++].arg = arg;
    }
}

void tw_step_forget(tw_step_fn *fn, void *arg)
{
    for (size_t i = 0; i < observer_count; i++) {
        if (observers[i].fn == fn && observers[i].arg == arg) {
            observers[i] = observers[--observer_count];
            return;
        }
    }
}
