/* Every fault, one per line, in the order in which help shows them. */
#define TW_FAULT_LIST(X)                                                                 \
    X(latency)                                                                           \
    X(jitter)                                                                            \
    X(loss)                                                                              \
    X(bandwidth)                                                                         \
    X(partition)                                                                         \
    X(dns_failure)                                                                       \
    X(cpu_pressure)                                                                      \
    X(memory_pressure)                                                                   \
    X(io_throttle)                                                                       \
    X(disk_full)                                                                         \
    X(process_kill)                                                                      \
    X(process_pause)                                                                     \
    X(connection_exhaustion)                                                             \
    X(clock_shift)                                                                       \
    X(overload)
