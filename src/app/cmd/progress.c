/* The live line on stderr, and the signals that end a run. */
#include "cmd_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

volatile bool cmd_cancelled;
volatile sig_atomic_t cmd_signal;

static void on_signal(int number)
{
    cmd_signal = number;
    cmd_cancelled = true;
}

void cmd_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    /* The second one ends the program at once; what it leaves the next start removes. */
    struct sigaction once = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    for (size_t i = 0; i < TW_COUNT_OF(numbers); i++)
        (void)sigaction(numbers[i], &once, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static bool live;
static int64_t last_ns;

static void show(void *arg, const struct tw_run_event *e)
{
    int64_t now = tw_now_ns();

    (void)arg;
    if (now - last_ns < 80 * TW_MSEC_NS)
        return;
    last_ns = now;
    fprintf(stderr, "\r\033[K%3.0f%%  %-9s %5.1f s", 100 * e->done, e->stage,
            e->elapsed_s);
    if (!isnan(e->p50_ms[TW_BASELINE]) && !isnan(e->p50_ms[TW_CANDIDATE]))
        fprintf(stderr, "  p50 %.2f -> %.2f ms  p95 %.2f -> %.2f ms  %d pairs",
                e->p50_ms[TW_BASELINE], e->p50_ms[TW_CANDIDATE], e->p95_ms[TW_BASELINE],
                e->p95_ms[TW_CANDIDATE], e->pairs);
}

void cmd_progress_begin(const struct cmd_args *args, struct tw_run_options *options)
{
    live = !args->quiet && isatty(STDERR_FILENO);
    if (live)
        options->event = show;
}

void cmd_progress_end(void)
{
    if (live)
        fputs("\r\033[K", stderr);
    live = false;
}
