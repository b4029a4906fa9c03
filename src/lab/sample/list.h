/* Every metric source, one per line, in the order in which they are read: what asks the
 * service comes before what counts its CPU. */
#define TW_SAMPLE_LIST(X)                                                                \
    X(postgresql)                                                                        \
    X(cgroup)
