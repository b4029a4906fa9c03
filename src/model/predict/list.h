/* Every predictor, one per line.
 *
 * Engines make the latency of the horizon: model_<name>.c. Laws tell what runs out, and
 * when: law_<name>.c, in the order in which they are reported. */
#define TW_PREDICT_ENGINE_LIST(X)                                                        \
    X(map)                                                                               \
    X(full)

#define TW_PREDICT_LAW_LIST(X)                                                           \
    X(memory)                                                                            \
    X(connections)                                                                       \
    X(overload)                                                                          \
    X(timeout)                                                                           \
    X(disk)                                                                              \
    X(sequence)                                                                          \
    X(xid)                                                                               \
    X(files)                                                                             \
    X(expiry)                                                                            \
    X(bloat)
