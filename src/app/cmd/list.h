/* Every subcommand, one per line, in the order of the help. */
#define TW_CMD_LIST(X)                                                                   \
    X(run)                                                                               \
    X(show)                                                                              \
    X(list)                                                                              \
    X(rm)                                                                                \
    X(env)                                                                               \
    X(serve)                                                                             \
    X(doctor)                                                                            \
    X(reap)                                                                              \
    X(version)                                                                           \
    X(generator)                                                                         \
    X(standin)                                                                           \
    X(client)                                                                            \
    X(worker)                                                                            \
    X(routes)
