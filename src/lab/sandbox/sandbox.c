/* The door: checks what is asked for and hands it to the backend. */
#include "sandbox_internal.h"

#include <signal.h>
#include <string.h>

#define NAME_MAX_LEN 32

#define ROW(name) &sandbox_backend_##name,
static const struct sandbox_backend *const backends[] = {TW_SANDBOX_BACKEND_LIST(ROW)};

static const struct sandbox_backend *find_backend(const char *name, const char **nearest)
{
    const char *names[TW_COUNT_OF(backends)];

    for (size_t i = 0; i < TW_COUNT_OF(backends); i++) {
        names[i] = backends[i]->name;
        if (tw_streq(names[i], name))
            return backends[i];
    }
    if (nearest)
        *nearest = tw_nearest(name, names, TW_COUNT_OF(names));
    return NULL;
}

const char *tw_sandbox_backend_find(const char *name, const char **nearest)
{
    const struct sandbox_backend *b = find_backend(name, nearest);

    return b ? b->name : NULL;
}

static bool is_name(const char *s)
{
    size_t len = s ? strlen(s) : 0;

    return len > 0 && len <= NAME_MAX_LEN &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool is_inner_path(const char *path)
{
    return path && path[0] == '/' && path[1] && !strstr(path, "/..");
}

static int check_links(const struct tw_sandbox_spec *spec, struct tw_err *err)
{
    if (spec->beside && spec->links.count)
        return tw_fail(err, -EINVAL,
                       "sandbox '%s' shares a network and asks for links of its own",
                       spec->name);
    if (spec->beside && tw_sandbox_netns(spec->beside) < 0)
        return tw_fail(err, -ENOTSUP, "sandbox '%s' finds no network to share",
                       spec->name);
    if (spec->links.count > TW_SANDBOX_LINKS)
        return tw_fail(err, -EINVAL, "sandbox '%s' asks for %zu links; %d at most",
                       spec->name, spec->links.count, TW_SANDBOX_LINKS);
    for (size_t i = 0; i < spec->links.count; i++) {
        const struct tw_sandbox_link *link = &spec->links.items[i];

        if (link->network < 0 || link->network >= TW_NETWORKS)
            return tw_fail(err, -EINVAL, "there is no network %d of twins",
                           link->network);
        if (!link->address || !tw_priv_net_contains(link->address))
            return tw_fail(err, -EINVAL,
                           "'%s' is no address of the twin network 10.213.0.0/24",
                           link->address ? link->address : "");
    }
    return 0;
}

static int check(const struct tw_sandbox_spec *spec, struct tw_err *err)
{
    if (!is_name(spec->name))
        return tw_fail(
            err, -EINVAL,
            "'%s' is no name of a sandbox: expected 1 to %d characters of [a-z0-9-]",
            spec->name ? spec->name : "", NAME_MAX_LEN);
    /* in a container numbers are those of the target, and a service that begins as root is 0 there */
    if ((spec->uid == 0 || spec->gid == 0) &&
        !(spec->container && (spec->as_root || spec->container->own_user)))
        return tw_fail(err, -EINVAL, "sandbox '%s' may not run as root", spec->name);
    if (spec->memory_bytes < 0 || spec->cpus < 0 || spec->shm_bytes < 0 ||
        spec->tmp_bytes < 0)
        return tw_fail(err, -EINVAL, "sandbox '%s' has a negative limit", spec->name);
    for (size_t i = 0; i < spec->mounts.count; i++) {
        const struct tw_sandbox_mount *m = &spec->mounts.items[i];

        if (!is_inner_path(m->to) || !m->from || m->from[0] != '/')
            return tw_fail(err, -EINVAL,
                           "mount '%s' on '%s': expected absolute paths below '/'",
                           m->from ? m->from : "", m->to ? m->to : "");
    }
    return check_links(spec, err);
}

int tw_sandbox_open(struct tw_priv *priv, const struct tw_sandbox_spec *spec,
                    struct tw_sandbox **ret_box, struct tw_err *err)
{
    const char *name = spec->backend ? spec->backend : backends[0]->name;
    const struct sandbox_backend *backend = find_backend(name, NULL);
    int r = check(spec, err);

    if (r == 0 && !backend)
        r = tw_fail(err, -EINVAL, "there is no backend '%s' of sandboxes", name);
    if (r == 0)
        r = backend->open(priv, spec, ret_box, err);
    return r < 0 ? tw_wrap(err, r, "opening sandbox '%s'", spec->name ? spec->name : "")
                 : 0;
}

void tw_sandbox_close(struct tw_sandbox *box)
{
    if (box)
        box->backend->close(box);
}

const char *tw_sandbox_backend(const struct tw_sandbox *box)
{
    return box->backend->name;
}

int tw_sandbox_reap(const char *state_dir, int *ret_removed, struct tw_err *err)
{
    int first = 0;

    for (size_t i = 0; i < TW_COUNT_OF(backends); i++) {
        int r = backends[i]->reap
                    ? backends[i]->reap(state_dir, ret_removed, first ? NULL : err)
                    : 0;

        if (first == 0)
            first = r;
    }
    return first;
}

int tw_sandbox_boot(struct tw_sandbox *box, int stdout_fd, int stderr_fd, int *ret_handle,
                    struct tw_err *err)
{
    if (!box->backend->boot)
        return tw_fail(err, -ENOTSUP, "a sandbox of backend '%s' has no entrypoint of its own",
                       box->backend->name);
    return box->backend->boot(box, stdout_fd, stderr_fd, ret_handle, err);
}

int tw_sandbox_start(struct tw_sandbox *box, const struct tw_process_spec *spec,
                     int *ret_handle, struct tw_err *err)
{
    /* an image has a PATH of its own, by which its init looks */
    if (!spec->argv || !spec->argv[0] || (spec->argv[0][0] != '/' && !box->backend->boot))
        return tw_fail(err, -EINVAL, "'%s' is no absolute path of a program",
                       spec->argv && spec->argv[0] ? spec->argv[0] : "");
    return box->backend->start(box, spec, ret_handle, err);
}

int tw_sandbox_signal(struct tw_sandbox *box, int handle, int signal, struct tw_err *err)
{
    if (signal < 0 || signal >= NSIG)
        return tw_fail(err, -EINVAL, "%d is no signal", signal);
    return box->backend->signal(box, handle, signal, err);
}

int tw_sandbox_wait(struct tw_sandbox *box, int handle, int64_t deadline_ns,
                    int *ret_status, struct tw_err *err)
{
    return box->backend->wait(box, handle, deadline_ns, ret_status, err);
}

int tw_sandbox_event_fd(const struct tw_sandbox *box)
{
    return box->backend->event_fd(box);
}

int tw_sandbox_freeze(struct tw_sandbox *box, bool frozen, struct tw_err *err)
{
    return box->backend->freeze(box, frozen, err);
}

int tw_sandbox_usage(struct tw_sandbox *box, struct tw_usage *ret_usage,
                     struct tw_err *err)
{
    (void)err;
    box->backend->usage(box, ret_usage);
    return 0;
}

int tw_sandbox_limit(struct tw_sandbox *box, int64_t memory_bytes, double cpus,
                     struct tw_err *err)
{
    if (memory_bytes < 0 || cpus < 0)
        return tw_fail(err, -EINVAL, "a limit cannot be negative");
    return box->backend->limit(box, memory_bytes, cpus, err);
}

int tw_sandbox_io(struct tw_sandbox *box, const char *path, int64_t bytes_per_s,
                  struct tw_err *err)
{
    if (!box->backend->io)
        return tw_fail(err, -ENOTSUP, "a sandbox of backend '%s' has no limits of devices",
                       box->backend->name);
    return box->backend->io(box, path, bytes_per_s, err);
}

int tw_sandbox_pin(struct tw_sandbox *box, const char *cpuset, struct tw_err *err)
{
    return box->backend->pin(box, cpuset, err);
}

int tw_sandbox_netns(const struct tw_sandbox *box)
{
    return box->backend->netns(box);
}

size_t tw_sandbox_missing(const struct tw_sandbox *box, const char *const **ret_texts)
{
    return box->backend->missing(box, ret_texts);
}
