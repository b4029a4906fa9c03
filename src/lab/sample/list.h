/* Every source of counters, one per line, in the order in which they are read. */
#define TW_SAMPLE_LIST(X) \
    X(cgroup)             \
    X(host)               \
    X(postgresql)
