/* Every kind of service, one per line. */
#define TW_SERVICE_LIST(X) \
    X(postgresql)          \
    X(redis)               \
    X(nginx)               \
    X(haproxy)             \
    X(pgbouncer)           \
    X(firewall)            \
    X(generic)
