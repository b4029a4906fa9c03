/* What happens at the Engine, as it happens. */
#include "docker_internal.h"

#define FOREVER_S 3600.0

int tw_docker_events(struct tw_docker *d, const char *since, const char *until,
                     const char *label, double timeout_s, tw_docker_event_fn *on_event,
                     void *arg, struct tw_err *err)
{
    tw_auto_free char *filter = docker_filter("label", label);
    tw_auto_free char *from = docker_escape(since ? since : "");
    tw_auto_free char *to = docker_escape(until ? until : "");
    struct docker_objects o;
    struct tw_err why = {0};
    int r;

    docker_objects_init(&o, on_event, arg);
    r = docker_ask(
        d,
        (struct docker_ask){.method = "GET",
                            .path = tw_strf("/events?filters=%s%s%s%s%s", filter,
                                            since ? "&since=" : "", from,
                                            until ? "&until=" : "", to),
                            .what = "events",
                            .take_part = docker_objects_take,
                            .arg = &o,
                            .timeout_s = timeout_s > 0 ? timeout_s : FOREVER_S},
        NULL, &why);
    if (r == -ETIMEDOUT && !until)
        r = 0; /* nothing more in this time */
    else if (r < 0)
        r = tw_fail(err, r, "%s", why.text);
    else if ((o.broken || (o.depth && !o.ended)))
        r = tw_fail(err, -EPROTO, "events: what the Docker Engine sent is not JSON");
    docker_objects_done(&o);
    return r;
}
