/* Every protocol that a client may speak, one per line. */
#define CLIENT_PROTOCOL_LIST(X)                                                          \
    X(postgresql)                                                                        \
    X(tls)                                                                               \
    X(http)                                                                              \
    X(redis)                                                                             \
    X(tcp)
