/* How fast sets of packets are, and how right: differences of 10, 1,000 and 10,000 rules against
 * the same with one changed, the memory they need, and the model against the kernel over random
 * rule sets and real packets (root; in network namespaces of its own).
 *
 *   bench_flow [rule sets [seed]]     1600 by default, 64 packets each */
#include "../live/flow_kernel.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static double now_ms(void)
{
    return (double)tw_now_ns() / 1e6;
}

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static double memory_mib(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

enum shape { HOSTS, MIXED, CHAINS, SHAPE_COUNT };
static const char *const shape_names[SHAPE_COUNT] = {"one host and port each", "prefixes, ranges, both families",
                                                     "in 100 chains"};

static void one_rule(struct tw_buf *b, const char *chain, int i, int verdict, enum shape shape)
{
    uint32_t x = (uint32_t)i * 2654435761U;

    tw_buf_printf(b, ", {\"rule\": {\"family\": \"inet\", \"table\": \"t\", \"chain\": \"%s\", \"handle\": %d, \"expr\": [", chain, i + 10);
    if (shape == MIXED && i % 3 == 0)
        tw_buf_printf(b,
                      "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"ip6\", \"field\": "
                      "\"saddr\"}}, \"right\": {\"prefix\": {\"addr\": \"2001:db8:%x::\", \"len\": 48}}}}, ",
                      x >> 16);
    else if (shape == MIXED)
        tw_buf_printf(b,
                      "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"ip\", \"field\": "
                      "\"saddr\"}}, \"right\": {\"prefix\": {\"addr\": \"%u.%u.%u.0\", \"len\": 24}}}}, ",
                      10 + (x >> 30), x >> 24 & 63, x >> 16 & 255);
    else
        tw_buf_printf(b,
                      "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"ip\", \"field\": "
                      "\"saddr\"}}, \"right\": \"10.%u.%u.%u\"}}, ",
                      i >> 16 & 255, i >> 8 & 255, i & 255);
    if (shape == MIXED && i % 2)
        tw_buf_printf(b,
                      "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"udp\", \"field\": "
                      "\"dport\"}}, \"right\": {\"range\": [%u, %u]}}}, ",
                      x % 50000, x % 50000 + 100);
    else
        tw_buf_printf(b,
                      "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"tcp\", \"field\": "
                      "\"dport\"}}, \"right\": %u}}, ",
                      x % 1000 + 1);
    tw_buf_printf(b, "{\"%s\": null}]}}", verdict ? "accept" : "drop");
}

static char *rule_set(int n, int changed, enum shape shape)
{
    struct tw_buf b;

    tw_buf_init(&b, 256 << 20);
    tw_buf_puts(&b, "{\"nftables\": [{\"table\": {\"family\": \"inet\", \"name\": \"t\"}}, {\"chain\": {\"family\": "
                    "\"inet\", \"table\": \"t\", \"name\": \"in\", \"type\": \"filter\", \"hook\": \"input\", "
                    "\"prio\": 0, \"policy\": \"drop\"}}");
    for (int c = 0; shape == CHAINS && c < 100; c++)
        tw_buf_printf(&b, ", {\"chain\": {\"family\": \"inet\", \"table\": \"t\", \"name\": \"c%d\"}}, {\"rule\": "
                          "{\"family\": \"inet\", \"table\": \"t\", \"chain\": \"in\", \"handle\": %d, \"expr\": [{\"jump\": "
                          "{\"target\": \"c%d\"}}]}}",
                      c, 100000 + c, c);
    for (int i = 0; i < n; i++) {
        tw_auto_free char *chain = shape == CHAINS ? tw_strf("c%d", i * 100 / n) : strdup("in");

        one_rule(&b, chain, i, (i % 3 != 0) != (i == changed), shape);
    }
    tw_buf_puts(&b, "]}");
    return tw_buf_take(&b);
}

static int compare_double(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return a < b ? -1 : a > b;
}

/* In a process of its own, for its memory. */
static bool difference(int n, enum shape shape)
{
    tw_auto_free char *x = rule_set(n, -1, shape), *y = rule_set(n, n / 2, shape);
    tw_auto(tw_arena) *a = tw_arena_new();
    const struct tw_flow_rules *r[2];
    struct tw_err err = {0};
    double begin = now_ms(), read_ms, times[7], full_ms;
    struct tw_flow_difference d = {0};
    struct tw_flow_rule_findings useless;
    size_t bytes = 0;

    if (tw_flow_read_nft(a, x, strlen(x), &r[0], &err) < 0 || tw_flow_read_nft(a, y, strlen(y), &r[1], &err) < 0) {
        printf("%s\n", err.text);
        return false;
    }
    read_ms = (now_ms() - begin) / 2;
    for (int i = 0; i < 7; i++) {
        tw_auto(tw_flow_space) *s = NULL;

        begin = now_ms();
        s = tw_flow_space_new(r, 2, 0);
        if (tw_flow_compare(s, a, r[0], r[1], TW_FLOW_TO_HOST, 0, &d, &err) < 0)
            printf("%s\n", err.text);
        times[i] = now_ms() - begin;
        bytes = tw_flow_space_bytes(s);
    }
    qsort(times, 7, sizeof *times, compare_double);
    printf("  %6d rules, %-32s read %7.1f ms; difference median %6.2f min %6.2f max %6.2f ms, diagrams %.1f MiB, "
           "%zu flows\n",
           n, shape_names[shape], read_ms, times[3], times[0], times[6], (double)bytes / 1048576, d.list.count);
    tw_auto(tw_flow_space) *s = tw_flow_space_new(r, 1, 0);

    begin = cpu_ms();
    if (tw_flow_useless(s, a, r[0], &useless, &err) < 0)
        printf("         %s\n", err.text);
    full_ms = cpu_ms() - begin;
    printf("         all packets through all rules, which decide nothing: %.0f ms of CPU, diagrams %.1f MiB, %zu found; "
           "memory of the process %.0f MiB\n",
           full_ms, (double)tw_flow_space_bytes(s) / 1048576, useless.list.count, memory_mib());
    return n < 10000 || times[3] <= 100;
}

static bool in_child(int n, enum shape shape)
{
    int status = 1;
    pid_t pid;

    (void)fflush(stdout);
    pid = fork();
    if (pid == 0) {
        bool good = difference(n, shape);

        (void)fflush(stdout);
        _exit(!good);
    }
    (void)waitpid(pid, &status, 0);
    return status == 0;
}

static bool against_kernel(uint64_t seed, unsigned sets)
{
    struct kernel k;
    struct kernel_count c = {0};
    struct tw_err err = {0};
    double begin = now_ms();

    if (kernel_open(&k) < 0) {
        printf("  not done: %s\n", *k.failure ? k.failure : "no network namespace may be made");
        return false;
    }
    for (unsigned i = 0; i < sets; i++) {
        struct gen g;

        gen_begin(&g, seed, i, i % 4 > 1, i % 4 == 3);
        if (g.xtables)
            gen_xt(&g);
        else
            gen_nft(&g);
        if (kernel_pairs(&k, &g, KERNEL_BATCH, &c, &err) < 0)
            printf("  rule set %u: %s\n", i, err.text);
        tw_buf_done(&g.out);
    }
    printf("  seed %llu: %llu rule sets, %llu rules, %llu pairs, %llu arrived, %llu mismatches, may %.2f %%, %.1f s\n",
           (unsigned long long)seed, (unsigned long long)c.sets, (unsigned long long)c.rules,
           (unsigned long long)c.pairs, (unsigned long long)c.accepted, (unsigned long long)c.mismatches,
           100.0 * (double)c.may / (double)(c.pairs ? c.pairs : 1), (now_ms() - begin) / 1000);
    for (int i = 0; i < GEN_CONSTRUCT_COUNT; i++)
        printf("    %-26s in %6llu rule sets%s", gen_names[i], (unsigned long long)c.with[i], i % 2 ? "\n" : "");
    printf("\n%s", c.first_mismatch ? c.first_mismatch : "");
    return c.mismatches == 0 && c.sets == sets;
}

int main(int argc, char **argv)
{
    unsigned sets = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 1600;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)tw_wall_ns();
    static const int sizes[] = {10, 1000, 10000};
    bool good = true, only_kernel = getenv("BENCH_FLOW_KERNEL") != NULL;

    printf("one rule of N changed (bar at 10,000: 100 ms, 200 MiB)\n");
    for (size_t i = 0; i < TW_COUNT_OF(sizes) && !only_kernel; i++)
        for (int shape = 0; shape < SHAPE_COUNT; shape++)
            good &= in_child(sizes[i], (enum shape)shape);
    printf("model against kernel, %s packets each\n", "64");
    good &= against_kernel(seed, sets);
    return !good;
}
