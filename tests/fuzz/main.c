/* fuzz [--cases N] [--seed S] [--reader R] [--from N]: see fuzz.h. Exit 0: nothing was found. */
#include "fuzz.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOW_NS   TW_SEC_NS
#define HANG_S    30
#define KEPT_PATH "fuzz-found"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

static struct {
    const struct fuzz_reader *reader;
    uint64_t seed, number;
    struct tw_buf data;
    int found;
} now;

/* The case that is being read, so that it can be done again. Also called while dying. */
static void tell(const char *what)
{
    FILE *f = fopen(KEPT_PATH, "w");

    if (f) {
        if (now.data.len)
            (void)fwrite(now.data.data, 1, now.data.len, f);
        (void)fclose(f);
    }
    (void)fprintf(
        stderr,
        "fuzz: %s: --reader %s --seed %llu --from %llu --cases 1 (%zu bytes, kept "
        "in " KEPT_PATH ")\n",
        what, now.reader ? now.reader->name : "?", (unsigned long long)now.seed,
        (unsigned long long)now.number, now.data.len);
}

static void dying(void)
{
    tell("a finding of the sanitizer");
}

static void hangs(int sig)
{
    (void)sig;
    tell("it hangs");
    _exit(1);
}

static void crashed(int sig)
{
    tell("a crash");
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static void one_case(const struct fuzz_reader *r, uint64_t seed, uint64_t number)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_rng rng;
    int64_t begun;

    now.number = number;
    tw_rng_seed(&rng, seed, number);
    fuzz_mutate(r, &rng, &now.data);
    (void)alarm(HANG_S);
    begun = tw_now_ns();
    r->read(a, tw_buf_text(&now.data), now.data.len);
    (void)alarm(0);
    if (tw_now_ns() - begun > SLOW_NS) {
        /* a busy machine is slow too: the same case a second time tells */
        begun = tw_now_ns();
        r->read(a, tw_buf_text(&now.data), now.data.len);
        if (tw_now_ns() - begun > SLOW_NS) {
            tell("slower than a second");
            now.found++;
        }
    }
}

#ifdef __SANITIZE_ADDRESS__
/* libfyaml 0.7 loses a token's text now and then where a text is broken; nothing of ours holds it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}
#endif

static int leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __lsan_do_recoverable_leak_check();
#else
    return 0;
#endif
}

static void all_cases(const struct fuzz_reader *r, uint64_t seed, uint64_t from,
                      uint64_t n)
{
    int64_t begun = tw_now_ns();

    now.reader = r;
    now.seed = seed;
    if (r->open && r->open()) {
        (void)printf("%-12s cannot be opened here\n", r->name);
        now.found++;
        return;
    }
    for (uint64_t i = from; i < from + n; i++)
        one_case(r, seed, i);
    if (r->close)
        r->close();
    if (leaks()) {
        tell("a leak in one of the cases up to this");
        now.found++;
    }
    (void)printf("%-12s %9llu cases %8.1f s\n", r->name, (unsigned long long)n,
                 tw_seconds(tw_now_ns() - begun));
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"cases", 1, 0, 'c'},
                                          {"seed", 1, 0, 's'},
                                          {"reader", 1, 0, 'r'},
                                          {"from", 1, 0, 'f'},
                                          {0}};
    uint64_t cases = 20000, seed = 1, from = 0;
    const char *only = NULL;
    uint64_t shares = 0;

    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == '?')
            return 2;
        if (c == 'r')
            only = optarg;
        else
            *(c == 'c' ? &cases : c == 's' ? &seed : &from) = strtoull(optarg, NULL, 10);
    }
    (void)signal(SIGALRM, hangs);
    (void)signal(SIGABRT, crashed);
    (void)signal(SIGPIPE, SIG_IGN);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(dying);
#else
    (void)signal(SIGSEGV, crashed);
    (void)dying;
#endif
    tw_log_level_set(TW_LOG_ERROR);
    tw_buf_init(&now.data, (size_t)1 << 17);
    (void)printf("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < fuzz_reader_count; i++)
        shares += (uint64_t)fuzz_readers[i].share;
    for (size_t i = 0; i < fuzz_reader_count; i++) {
        const struct fuzz_reader *r = &fuzz_readers[i];

        if (!only)
            all_cases(r, seed, from, cases * (uint64_t)r->share / shares);
        else if (tw_streq(only, r->name))
            all_cases(r, seed, from, cases);
        (void)fflush(stdout);
    }
    tw_buf_done(&now.data);
    return now.found > 0;
}
