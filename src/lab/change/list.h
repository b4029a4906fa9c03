/* Every change type, one per line. */
#define TW_CHANGE_LIST(X)                                                                \
    X(config_change)                                                                     \
    X(scaling)                                                                           \
    X(schema_change)                                                                     \
    X(security)                                                                          \
    X(deployment)                                                                       \
    X(network)
