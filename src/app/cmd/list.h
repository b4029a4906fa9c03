/* Every subcommand, one per line, in the order of the help. */
#define TW_CMD_LIST(X)                                                                   \
    X(run)                                                                               \
    X(show)                                                                              \
    X(list)                                                                              \
    X(rm)                                                                                \
    X(env)                                                                               \
    X(predict)                                                                           \
    X(cancel)                                                                            \
    X(outcome)                                                                           \
    X(approve)                                                                           \
    X(reject)                                                                            \
    X(audit)                                                                             \
    X(token)                                                                             \
    X(policy)                                                                            \
    X(serve)                                                                             \
    X(sandboxd)                                                                          \
    X(doctor)                                                                            \
    X(reap)                                                                              \
    X(version)                                                                           \
    X(generator)                                                                         \
    X(standin)                                                                           \
    X(client)                                                                            \
    X(worker)                                                                            \
    X(helper)                                                                            \
    X(routes)
