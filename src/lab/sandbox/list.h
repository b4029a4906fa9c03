/* Every backend, one per line; the first is the default. */
#define TW_SANDBOX_BACKEND_LIST(X)                                                       \
    X(native)                                                                            \
    X(docker)
