/* Shaping of a link: what is asked of a direction is given to the mechanisms that this kernel has, a row
 * for each, and all of them are set and taken away by threads that stand in the link's namespace. */
#include "shape_internal.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RATE_LEAST 8e3 /* bits per second: below it nothing ever arrives */
#define DELAY_MOST 60

struct direction {
    struct tw_shape_values values;
    unsigned tools;
    const char *how; /* borrowed: a constant */
};
struct tw_shape {
    struct tw_priv *priv;
    int netns;
    char *link, *peer; /* owned */
    int port;
    bool port_here;
    unsigned number;
    int mtu_before; /* 0: as it was */
    enum tw_shape_route route;
    struct direction ways[TW_SHAPE_WAYS];
    struct shape_holder holder; /* no board: none needed yet */
};

/* ---- what this kernel has ---- */

static struct shape_host host;
static pthread_once_t host_once = PTHREAD_ONCE_INIT;

static int try_all(void *arg)
{
    (void)arg;
    host.rules = shape_rules_try(false, false, false) == 0;
    host.random = shape_rules_try(true, false, false) == 0;
    host.queue_nft = shape_rules_try(false, true, true) == 0;
    host.queue_xt = shape_rules_try(false, true, false) == 0;
    host.netem = shape_disc_try("netem") == 0;
    host.bucket = shape_disc_try("tbf") == 0;
    host.mirror = shape_disc_try_mirror() == 0;
    return 0;
}

static void look(void)
{
    (void)priv_in_new_netns(try_all, NULL);
}

const struct shape_host *shape_host(void)
{
    (void)pthread_once(&host_once, look);
    return &host;
}

/* ---- who does what ---- */

static const char *wrong_value(const struct tw_shape_values *v)
{
    if (!(v->delay_s >= 0 && v->delay_s <= DELAY_MOST))
        return "a delay is between 0 and 60 s";
    if (!(v->jitter_s >= 0 && v->jitter_s <= v->delay_s))
        return "jitter is between 0 and the delay";
    if (!(v->loss >= 0 && v->loss <= 1) || !(v->reorder >= 0 && v->reorder <= 1))
        return "loss and reordering are shares between 0 and 1";
    return v->rate_bps != 0 && !(v->rate_bps >= RATE_LEAST && v->rate_bps <= 1e11)
               ? "a bandwidth is between 8 kbit/s and 100 Gbit/s"
               : NULL;
}

int shape_plan(const struct shape_host *h, const struct tw_shape_values *v,
               enum tw_shape_way way, bool only_some, unsigned *ret_tools, struct tw_err *err)
{
    bool queue = h->queue_nft || h->queue_xt;
    bool disc = !only_some && (way == TW_SHAPE_OUT || h->mirror);
    bool delayed = v->delay_s > 0 || v->reorder > 0;
    unsigned tools = 0;

    if (v->cut)
        tools = h->rules ? SHAPE_DROP : 0;
    else {
        if (delayed)
            tools |= disc && h->netem ? SHAPE_NETEM : queue ? SHAPE_QUEUE : 0;
        if (delayed && !tools)
            return tw_fail(err, -EOPNOTSUPP,
                           "this kernel cannot delay packets: it has neither netem nor a queue for "
                           "programs (modprobe sch_netem, or modprobe nft_queue)");
        if (v->rate_bps > 0)
            tools |= disc && h->bucket ? SHAPE_BUCKET : queue ? SHAPE_QUEUE : 0;
        if (v->rate_bps > 0 && !(tools & (SHAPE_BUCKET | SHAPE_QUEUE)))
            return tw_fail(err, -EOPNOTSUPP,
                           "this kernel cannot bound a bandwidth here: it has neither a token bucket "
                           "nor a queue for programs (modprobe sch_tbf, or modprobe nft_queue)");
        if (v->longest > 0 && !queue)
            return tw_fail(err, -EOPNOTSUPP,
                           "this kernel cannot drop packets by their length on the wire: it has no queue for "
                           "programs (modprobe nft_queue)");
        if (v->longest > 0)
            tools |= SHAPE_QUEUE;
        if (v->loss > 0 && !(tools & SHAPE_QUEUE))
            tools |= h->random ? SHAPE_LOSS : queue ? SHAPE_QUEUE : 0;
    }
    if ((v->cut || v->loss > 0) && !(tools & (SHAPE_DROP | SHAPE_LOSS | SHAPE_QUEUE)))
        return tw_fail(err, -EOPNOTSUPP,
                       "this kernel cannot drop packets by rule: it has no nf_tables (modprobe "
                       "nf_tables)");
    *ret_tools = tools;
    return 0;
}

/* The most telling first. */
const char *shape_tools_text(const struct shape_host *h, unsigned tools)
{
    static const struct {
        unsigned tools;
        const char *text;
    } rows[] = {
        {SHAPE_DROP, "a rule of nf_tables"},
        {SHAPE_QUEUE | SHAPE_BUCKET, "held by twin through NFQUEUE, token bucket"},
        {SHAPE_NETEM | SHAPE_BUCKET, "netem, token bucket"},
        {SHAPE_QUEUE, "held by twin through NFQUEUE"},
        {SHAPE_NETEM, "netem"},
        {SHAPE_BUCKET, "token bucket"},
        {SHAPE_LOSS, "a rule of nf_tables with random numbers"},
    };

    if ((tools & SHAPE_QUEUE) && h->queue_nft)
        return tools & SHAPE_BUCKET ? "held by twin through nft queue, token bucket"
                                    : "held by twin through nft queue";
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if ((tools & rows[i].tools) == rows[i].tools)
            return rows[i].text;
    return "";
}

/* A discipline takes all packets of a link: what is for some of them is done by rules. */
static bool is_for_some(const struct tw_shape *s)
{
    return s->peer || s->port;
}

/* ---- in the namespace ---- */

struct errand {
    struct tw_shape *s;
    enum tw_shape_way way;
    int mtu, result;
    enum tw_shape_route route;
};

static void rules_of(const struct tw_shape *s, struct shape_rule rules[TW_SHAPE_WAYS])
{
    for (int way = 0; way < TW_SHAPE_WAYS; way++)
        rules[way] = (struct shape_rule){
            s->ways[way].tools & (SHAPE_DROP | SHAPE_LOSS | SHAPE_QUEUE),
            s->ways[way].values.loss, (unsigned short)(2 * s->number + (unsigned)way)};
}

static int set_inside(void *arg)
{
    const struct errand *e = arg;
    struct tw_shape *s = e->s;
    const struct direction *d = &s->ways[e->way];
    struct shape_rule rules[TW_SHAPE_WAYS];
    struct shape_match match = {s->link, s->peer, s->port, s->port_here};
    int r = 0;

    rules_of(s, rules);
    if (!is_for_some(s))
        r = shape_disc_set(s->number, s->link, e->way, d->tools, &d->values);
    if (r < 0)
        return r;
    return rules[TW_SHAPE_OUT].tools || rules[TW_SHAPE_IN].tools
               ? shape_rules_set(s->number, &match, rules,
                                 shape_host()->queue_nft)
               : shape_rules_delete(s->number);
}

static int mtu_inside(void *arg)
{
    struct errand *e = arg;
    int before = 0, r = shape_link_mtu(e->s->link, e->mtu, &before);

    if (r == 0 && !e->s->mtu_before)
        e->s->mtu_before = before;
    return r;
}

static int route_inside(void *arg)
{
    const struct errand *e = arg;
    const struct shape_match match = {e->s->link, e->s->peer, e->s->port, e->s->port_here};

    return e->route ? shape_route_set(e->s->number, &match, e->route) : shape_route_delete(e->s->number);
}

static int clear_inside(void *arg)
{
    const struct errand *e = arg;
    int r = shape_rules_delete(e->s->number);

    for (int way = 0; way < TW_SHAPE_WAYS && !e->s->peer; way++) {
        int one = shape_disc_clear(e->s->number, e->s->link, (enum tw_shape_way)way);

        r = r == 0 ? one : r;
    }
    return r;
}

/* ---- the verbs ---- */

int tw_priv_shape_open(struct tw_priv *p, const struct tw_shape_spec *spec,
                       struct tw_shape **ret, struct tw_err *err)
{
    struct tw_shape *s;

    if (!tw_priv_is_root(p))
        return tw_fail(err, -EPERM, "shaping a link needs root: run it with sudo");
    if (spec->netns < 0)
        return tw_fail(err, -EINVAL, "there is no link to shape: it has no network of its own");
    s = tw_alloc(sizeof *s);
    s->priv = p;
    s->netns = spec->netns;
    s->link = tw_strf("%s", spec->link);
    s->peer = spec->peer ? tw_strf("%s", spec->peer) : NULL;
    s->port = spec->port;
    s->port_here = spec->port_here;
    s->holder.pidfd = -1;
    (void)pthread_mutex_lock(&p->net_lock);
    s->number = ++p->shapes % 16384;
    (void)pthread_mutex_unlock(&p->net_lock);
    for (int way = 0; way < TW_SHAPE_WAYS; way++)
        s->ways[way].how = "";
    *ret = s;
    return 0;
}

static void tell_holder(struct tw_shape *s, enum tw_shape_way way)
{
    const struct tw_shape_values *v = &s->ways[way].values;
    bool queue = s->ways[way].tools & SHAPE_QUEUE,
         rate = queue && !(s->ways[way].tools & SHAPE_BUCKET);
    struct shape_asked *asked = &s->holder.board->asked[way];

    atomic_store(&asked->delay_ns, queue ? (int64_t)(v->delay_s * 1e9) : 0);
    atomic_store(&asked->jitter_ns, queue ? (int64_t)(v->jitter_s * 1e9) : 0);
    atomic_store(&asked->rate_bps, rate ? (int64_t)v->rate_bps : 0);
    atomic_store(&asked->longest, queue ? v->longest : 0);
    atomic_store(&asked->loss, queue ? (uint32_t)(v->loss * (double)UINT32_MAX) : 0);
    atomic_store(&asked->reorder, queue ? (uint32_t)(v->reorder * (double)UINT32_MAX) : 0);
}

int tw_priv_shape_set(struct tw_shape *s, enum tw_shape_way way,
                      const struct tw_shape_values *v, struct tw_err *err)
{
    const char *wrong = wrong_value(v);
    struct direction before = s->ways[way];
    struct errand e = {.s = s, .way = way};
    unsigned tools = 0;
    int r;

    if (wrong)
        return tw_fail(err, -EINVAL, "%s", wrong);
    r = shape_plan(shape_host(), v, way, is_for_some(s), &tools, err);
    if (r == 0 && (tools & SHAPE_QUEUE) && !s->holder.board)
        r = shape_holder_open(s->priv, s->netns, (unsigned short)(2 * s->number),
                              &s->holder, err);
    if (r < 0)
        return r;
    s->ways[way] = (struct direction){*v, tools, shape_tools_text(shape_host(), tools)};
    if (s->holder.board)
        tell_holder(s, way);
    r = tw_priv_netns_run(s->priv, s->netns, set_inside, &e, err);
    if (r < 0) {
        s->ways[way] = before;
        if (s->holder.board)
            tell_holder(s, way);
        return tw_fail_errno(err, -r, "shaping '%s'", s->link);
    }
    tw_step("priv.shape.set");
    return 0;
}

int tw_priv_shape_mtu(struct tw_shape *s, int mtu, struct tw_err *err)
{
    struct errand e = {.s = s, .mtu = mtu ? mtu : s->mtu_before};
    int r = mtu || s->mtu_before
                ? tw_priv_netns_run(s->priv, s->netns, mtu_inside, &e, err)
                : 0;

    if (r == 0 && !mtu)
        s->mtu_before = 0;
    return r < 0 ? tw_fail_errno(err, -r, "setting the MTU of '%s' to %d", s->link, e.mtu)
                 : 0;
}

int tw_priv_shape_route(struct tw_shape *s, enum tw_shape_route route, struct tw_err *err)
{
    struct errand e = {.s = s, .route = route};
    int r = s->route == route ? 0 : tw_priv_netns_run(s->priv, s->netns, route_inside, &e, err);

    if (r < 0)
        return tw_fail_errno(err, -r, "routing what leaves by '%s'", s->link);
    s->route = route;
    return 0;
}

const char *tw_priv_shape_how(const struct tw_shape *s, enum tw_shape_way way)
{
    return s->ways[way].how;
}

void tw_priv_shape_seen(const struct tw_shape *s, enum tw_shape_way way,
                        struct tw_shape_seen *ret)
{
    const struct shape_done *done;
    double n;

    *ret = (struct tw_shape_seen){-1, -1, -1, -1, -1, -1, NAN, NAN, NAN};
    if (!s->holder.board)
        return;
    done = &s->holder.board->done[way];
    n = (double)atomic_load(&done->released);
    *ret = (struct tw_shape_seen){
        .packets = atomic_load(&done->packets),
        .bytes = atomic_load(&done->bytes),
        .lost = atomic_load(&done->lost),
        .full = atomic_load(&done->full),
        .too_long = atomic_load(&done->too_long),
        .longest = atomic_load(&done->longest),
        .held_s = n > 0 ? 1e-9 * (double)atomic_load(&done->held_ns) / n : NAN,
        .late_s = n > 0 ? 1e-9 * (double)atomic_load(&done->late_ns) / n : NAN,
        .latest_s = 1e-9 * (double)atomic_load(&done->latest_ns)};
}

struct count {
    const char *link;
    int rules, discs, routes;
};

static int count_inside(void *arg)
{
    struct count *c = arg;

    c->rules = shape_rules_count();
    c->discs = shape_disc_count(c->link);
    c->routes = shape_route_count();
    return c->rules < 0 ? c->rules : 0;
}

int tw_priv_shape_left(struct tw_priv *p, int netns, const char *link, struct tw_err *err)
{
    struct count c = {.link = link};
    int r = tw_priv_netns_run(p, netns, count_inside, &c, err);

    return r < 0 ? r : c.rules + c.discs + c.routes;
}

static double longest_delay(const struct tw_shape *s)
{
    double longest = 0;

    for (int way = 0; way < TW_SHAPE_WAYS; way++)
        longest = fmax(longest, s->ways[way].values.delay_s + s->ways[way].values.jitter_s);
    return longest;
}

/* Rules first: then nothing new is held, and what is held can run out. */
int tw_priv_shape_close(struct tw_shape *s, struct tw_err *err)
{
    struct errand e = {.s = s};
    int r;

    if (!s)
        return 0;
    r = tw_priv_netns_run(s->priv, s->netns, clear_inside, &e, err);
    if (r < 0)
        r = tw_fail_errno(err, -r, "taking the shape of '%s' away", s->link);
    (void)tw_priv_shape_mtu(s, 0, NULL);
    (void)tw_priv_shape_route(s, TW_SHAPE_ROUTE_KEPT, NULL);
    shape_holder_close(s->priv, &s->holder, longest_delay(s) + 0.2);
    tw_step("priv.shape.closed");
    free(s->link);
    free(s->peer);
    free(s);
    return r;
}
