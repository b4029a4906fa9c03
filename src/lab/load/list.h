/* Every workload driver, one per line. */
#define TW_LOAD_LIST(X)                                                                  \
    X(postgresql)                                                                        \
    X(http)                                                                              \
    X(http2)                                                                             \
    X(redis)                                                                             \
    X(tcp)
