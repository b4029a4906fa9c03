/* Every workload driver, one per line. */
#define TW_LOAD_LIST(X)                                                                  \
    X(postgresql)                                                                        \
    X(http)                                                                              \
    X(redis)                                                                             \
    X(tcp)
