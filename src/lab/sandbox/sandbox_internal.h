/* What the files of sandbox share. */
#ifndef SANDBOX_INTERNAL_H
#define SANDBOX_INTERNAL_H

#include "list.h"
#include "tw/sandbox.h"

/* A sandbox begins with its backend; what follows is the backend's own. */
struct tw_sandbox {
    const struct sandbox_backend *backend;
};
struct sandbox_backend {
    const char *name, *summary;
    int (*open)(struct tw_priv *priv, const struct tw_sandbox_spec *spec,
                struct tw_sandbox **ret_box, struct tw_err *err);
    void (*close)(struct tw_sandbox *box);
    int (*start)(struct tw_sandbox *box, const struct tw_process_spec *spec,
                 int *ret_handle, struct tw_err *err);
    int (*signal)(struct tw_sandbox *box, int handle, int signal, struct tw_err *err);
    int (*wait)(struct tw_sandbox *box, int handle, int64_t deadline_ns, int *ret_status,
                struct tw_err *err);
    /* NULL: not here */
    int (*boot)(struct tw_sandbox *box, int stdout_fd, int stderr_fd, int *ret_handle,
                struct tw_err *err);
    int (*reap)(const char *state_dir, int *ret_removed, struct tw_err *err);
    int (*event_fd)(const struct tw_sandbox *box);
    int (*freeze)(struct tw_sandbox *box, bool frozen, struct tw_err *err);
    void (*usage)(struct tw_sandbox *box, struct tw_usage *ret_usage);
    int (*limit)(struct tw_sandbox *box, int64_t memory_bytes, double cpus,
                 struct tw_err *err);
    int (*pin)(struct tw_sandbox *box, const char *cpuset, struct tw_err *err);
    int (*io)(struct tw_sandbox *box, const char *path, int64_t bytes_per_s,
              struct tw_err *err); /* NULL: not here */
    int (*netns)(const struct tw_sandbox *box);
    size_t (*missing)(const struct tw_sandbox *box, const char *const **ret_texts);
};
/* /etc/hosts inside: itself, the names it binds to, its neighbours. */
const char *sandbox_hosts_text(struct tw_arena *a, const struct tw_sandbox_spec *spec, bool link);
#define SANDBOX_RESOLV_CONF "options timeout:1 attempts:1\n"
/* The addresses of each link and those of lo, as the spec wants them. */
struct sandbox_net {
    struct tw_link links[TW_SANDBOX_LINKS];
    size_t link_count;
    const char *const *lo;
    size_t lo_count;
};
void sandbox_plan_net(struct tw_arena *a, const struct tw_sandbox_spec *spec, bool linked,
                      struct sandbox_net *ret);
#define SANDBOX_DECLARE(name) extern const struct sandbox_backend sandbox_backend_##name;
TW_SANDBOX_BACKEND_LIST(SANDBOX_DECLARE)
#undef SANDBOX_DECLARE
#endif
