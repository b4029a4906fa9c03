/* A target that serves in a container: it is entered by its own network, asked and copied as its kind
 * does, and its twins are made of its image. */
#include "run_internal.h"

#include "tw/docker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int choose_backend(struct run *r, struct tw_err *err)
{
    const char *asked = r->options->backend;

    r->inside.backend = asked ? tw_sandbox_backend_find(asked, NULL) : "docker";
    return r->inside.backend ? 0 : tw_fail(err, -EINVAL, "there is no backend '%s'", asked);
}

int run_enter(struct run *r, struct tw_err *err)
{
    struct run_inside *in = &r->inside;
    tw_auto_free char *path = NULL;
    int rc;

    if (geteuid() != 0)
        return tw_fail(err, -EPERM, "target '%s' serves in a container: simulating changes to it needs root",
                       r->target.name);
    rc = choose_backend(r, err);
    if (rc == 0)
        rc = tw_env_enter(r->arena, &r->target, &in->way, err);
    if (rc < 0)
        return rc;
    path = tw_strf("/proc/%d/ns/net", in->way.pid);
    in->netns = open(path, O_RDONLY | O_CLOEXEC);
    if (in->netns < 0)
        return tw_fail_errno(err, errno, "the network of container '%s'", in->way.container->name);
    in->is = true;
    in->declared = r->target;
    r->target = in->way.target;
    in->container = (struct tw_sandbox_container){.engine = in->way.engine, .like = in->way.container};
    return 0;
}

void run_inside_done(struct run *r)
{
    if (r->inside.is)
        tw_close_p(&r->inside.netns);
}

int run_at_target(struct run *r, int (*fn)(void *arg), void *arg, struct tw_err *err)
{
    return r->inside.is ? tw_priv_netns_run(r->priv, r->inside.netns, fn, arg, err) : fn(arg);
}

void run_twin_made_of(const struct run *r, struct tw_twin_spec *spec)
{
    if (!r->inside.is || !tw_streq(r->inside.backend, "docker"))
        return;
    spec->backend = r->inside.backend;
    spec->container = &r->inside.container;
}
