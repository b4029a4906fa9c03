/* Queueing disciplines of a link: a token bucket, netem where the kernel has it, and for what comes in
 * a mirror device in front of them, since a discipline only ever holds what leaves. */
#include "shape_internal.h"

#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <math.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/netem.h>
#include <netlink/route/qdisc/tbf.h>
#include <netlink/route/tc.h>
#include <string.h>

#define MIRROR       "twifb"
#define NETEM_HANDLE TC_HANDLE(0x213, 0)
#define TBF_HANDLE   TC_HANDLE(0x214, 0)
#define INGRESS      0xffff0000u
#define BURST_S      0.004
#define BURST_MIN    4096
#define QUEUE_S      0.1
#define QUEUE_MIN    (32 * 1514)
#define HELD_MAX     65536

/* The library's own codes, as far as they mean something else than "it did not work". */
static int as_errno(int r)
{
    return r >= 0 ? 0 : r == -NLE_EXIST ? -EEXIST : r == -NLE_PERM ? -EPERM : -EOPNOTSUPP;
}

static struct rtnl_qdisc *new_disc(int index, uint32_t parent, uint32_t handle,
                                   const char *kind)
{
    struct rtnl_qdisc *q = rtnl_qdisc_alloc();

    if (!q)
        return NULL;
    rtnl_tc_set_ifindex(TC_CAST(q), index);
    rtnl_tc_set_parent(TC_CAST(q), parent);
    rtnl_tc_set_handle(TC_CAST(q), handle);
    if (rtnl_tc_set_kind(TC_CAST(q), kind) == 0)
        return q;
    rtnl_qdisc_put(q);
    return NULL;
}

static int add_disc(struct nl_sock *sock, struct rtnl_qdisc *q)
{
    int r = q ? as_errno(rtnl_qdisc_add(sock, q, NLM_F_CREATE | NLM_F_REPLACE)) : -ENOMEM;

    if (q)
        rtnl_qdisc_put(q);
    return r;
}

static int add_bucket(struct nl_sock *sock, int index, uint32_t parent, double rate_bps)
{
    struct rtnl_qdisc *q = new_disc(index, parent, TBF_HANDLE, "tbf");
    double bytes = rate_bps / 8;
    int rate = (int)fmin(bytes, 2147483647.0);

    if (q) {
        rtnl_qdisc_tbf_set_rate(q, rate, (int)fmax(BURST_MIN, bytes * BURST_S), 0);
        rtnl_qdisc_tbf_set_limit(q, (int)fmin(fmax(QUEUE_MIN, bytes * QUEUE_S), 1 << 30));
    }
    return add_disc(sock, q);
}

/* Probabilities are shares of 2^32 - 1, times are microseconds. */
static int add_netem(struct nl_sock *sock, int index, const struct tw_shape_values *v)
{
    struct rtnl_qdisc *q = new_disc(index, TC_H_ROOT, NETEM_HANDLE, "netem");

    if (q) {
        rtnl_netem_set_limit(q, HELD_MAX);
        rtnl_netem_set_delay(q, (int)(v->delay_s * 1e6));
        if (v->jitter_s > 0)
            rtnl_netem_set_jitter(q, (int)(v->jitter_s * 1e6));
        if (v->reorder > 0) {
            rtnl_netem_set_gap(q, 1);
            rtnl_netem_set_reorder_probability(
                q, (int)(uint32_t)(v->reorder * (double)UINT32_MAX));
        }
    }
    return add_disc(sock, q);
}

static int add_tools(struct nl_sock *sock, int index, unsigned tools,
                     const struct tw_shape_values *v)
{
    int r = tools & SHAPE_NETEM ? add_netem(sock, index, v) : 0;

    if (r == 0 && (tools & SHAPE_BUCKET))
        r = add_bucket(sock, index,
                       tools & SHAPE_NETEM ? TC_HANDLE(0x213, 1) : TC_H_ROOT, v->rate_bps);
    return r;
}

/* ---- the mirror of what comes in ---- */

static int mirror_index(unsigned number)
{
    tw_auto_free char *name = tw_strf(MIRROR "%u", number);

    return (int)if_nametoindex(name);
}

static int make_mirror(struct nl_sock *sock, unsigned number)
{
    tw_auto_free char *name = tw_strf(MIRROR "%u", number);
    struct rtnl_link *link = rtnl_link_alloc();
    int r = -ENOMEM;

    if (link) {
        rtnl_link_set_name(link, name);
        (void)rtnl_link_set_type(link, "ifb");
        rtnl_link_set_flags(link, IFF_UP);
        r = as_errno(rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL));
        rtnl_link_put(link);
    }
    return r == -EEXIST ? 0 : r;
}

static int redirect(struct nl_sock *sock, int from, int to)
{
    struct rtnl_cls *cls = rtnl_cls_alloc();
    struct rtnl_act *act = rtnl_act_alloc();
    int r = cls && act ? 0 : -NLE_NOMEM;

    if (r == 0) {
        rtnl_tc_set_ifindex(TC_CAST(cls), from);
        rtnl_tc_set_parent(TC_CAST(cls), INGRESS);
        rtnl_cls_set_prio(cls, 1);
        rtnl_cls_set_protocol(cls, ETH_P_ALL);
        r = rtnl_tc_set_kind(TC_CAST(cls), "u32");
    }
    if (r == 0)
        r = rtnl_tc_set_kind(TC_CAST(act), "mirred");
    if (r == 0) {
        (void)rtnl_mirred_set_action(act, TCA_EGRESS_REDIR);
        (void)rtnl_mirred_set_policy(act, TC_ACT_STOLEN);
        (void)rtnl_mirred_set_ifindex(act, (uint32_t)to);
        (void)rtnl_u32_add_key_uint32(cls, 0, 0, 0, 0);
        (void)rtnl_u32_set_cls_terminal(cls);
        r = rtnl_u32_add_action(cls, act);
    }
    if (r == 0)
        r = rtnl_cls_add(sock, cls, NLM_F_CREATE);
    rtnl_act_put(act);
    rtnl_cls_put(cls);
    return as_errno(r);
}

static int set_incoming(struct nl_sock *sock, unsigned number, int index, unsigned tools,
                        const struct tw_shape_values *v)
{
    bool there = mirror_index(number) > 0;
    int r = make_mirror(sock, number), mirror = mirror_index(number);

    if (r == 0 && mirror <= 0)
        r = -EOPNOTSUPP;
    if (r == 0)
        r = add_tools(sock, mirror, tools, v);
    if (r == 0 && !there)
        r = add_disc(sock, new_disc(index, TC_H_INGRESS, INGRESS, "ingress"));
    if (r == 0 && !there)
        r = redirect(sock, index, mirror);
    return r;
}

/* ---- for the rest of the room ---- */

static int delete_disc(struct nl_sock *sock, int index, uint32_t parent, const char *kind)
{
    struct rtnl_qdisc *q = new_disc(index, parent, 0, kind);
    int r = q ? rtnl_qdisc_delete(sock, q) : -NLE_NOMEM;

    if (q)
        rtnl_qdisc_put(q);
    return r < 0 && r != -NLE_OBJ_NOTFOUND && r != -NLE_INVAL ? as_errno(r) : 0;
}

static int clear_outgoing(struct nl_sock *sock, int index)
{
    int r = delete_disc(sock, index, TC_H_ROOT, "netem");

    return r == 0 ? delete_disc(sock, index, TC_H_ROOT, "tbf") : r;
}

static int clear_incoming(struct nl_sock *sock, unsigned number, int index)
{
    tw_auto_free char *name = tw_strf(MIRROR "%u", number);
    struct rtnl_link *link;
    int r;

    if (mirror_index(number) <= 0)
        return 0;
    r = delete_disc(sock, index, TC_H_INGRESS, "ingress");
    link = rtnl_link_alloc();
    if (!link)
        return -ENOMEM;
    rtnl_link_set_name(link, name);
    rtnl_link_set_ifindex(link, mirror_index(number));
    if (r == 0)
        r = as_errno(rtnl_link_delete(sock, link));
    rtnl_link_put(link);
    return r;
}

int shape_disc_clear(unsigned number, const char *link, enum tw_shape_way way)
{
    struct nl_sock *sock = NULL;
    int index = (int)if_nametoindex(link), r = priv_route_socket(&sock);

    if (r == 0 && index > 0)
        r = way == TW_SHAPE_OUT ? clear_outgoing(sock, index)
                                : clear_incoming(sock, number, index);
    nl_socket_free(sock);
    return r;
}

int shape_disc_set(unsigned number, const char *link, enum tw_shape_way way,
                   unsigned tools, const struct tw_shape_values *v)
{
    struct nl_sock *sock = NULL;
    int index = (int)if_nametoindex(link);
    int r = index > 0 ? shape_disc_clear(number, link, way) : -ENODEV;

    if (r < 0 || !(tools & (SHAPE_NETEM | SHAPE_BUCKET)))
        return r;
    r = priv_route_socket(&sock);
    if (r == 0)
        r = way == TW_SHAPE_OUT ? add_tools(sock, index, tools, v)
                                : set_incoming(sock, number, index, tools, v);
    nl_socket_free(sock);
    return r;
}

static void count_one(struct nl_object *object, void *arg)
{
    static const char *const kinds[] = {"netem", "tbf", "ingress"};
    const char *kind = rtnl_tc_get_kind((struct rtnl_tc *)object);

    *(int *)arg += kind && tw_name_index(kind, kinds, TW_COUNT_OF(kinds)) >= 0;
}

int shape_disc_count(const char *link)
{
    struct if_nameindex *names = if_nameindex();
    struct nl_sock *sock = NULL;
    struct nl_cache *cache = NULL;
    int count = 0, index = (int)if_nametoindex(link);

    for (size_t i = 0; names && names[i].if_index; i++)
        count += tw_starts_with(names[i].if_name, MIRROR);
    if_freenameindex(names);
    if (priv_route_socket(&sock) == 0 && rtnl_qdisc_alloc_cache(sock, &cache) == 0) {
        struct rtnl_qdisc *filter = rtnl_qdisc_alloc();

        rtnl_tc_set_ifindex(TC_CAST(filter), index);
        nl_cache_foreach_filter(cache, OBJ_CAST(filter), count_one, &count);
        rtnl_qdisc_put(filter);
        nl_cache_free(cache);
    }
    nl_socket_free(sock);
    return count;
}

int shape_disc_try(const char *kind)
{
    const struct tw_shape_values v = {.delay_s = 0.001, .rate_bps = 1e6};
    unsigned tools = tw_streq(kind, "netem") ? SHAPE_NETEM : SHAPE_BUCKET;

    return shape_disc_set(0, "lo", TW_SHAPE_OUT, tools, &v);
}

int shape_disc_try_mirror(void)
{
    const struct tw_shape_values v = {.rate_bps = 1e6};

    return shape_disc_set(0, "lo", TW_SHAPE_IN, SHAPE_BUCKET, &v);
}

int shape_link_mtu(const char *name, int mtu, int *ret_before)
{
    struct nl_sock *sock = NULL;
    struct rtnl_link *link = NULL, *wanted = rtnl_link_alloc();
    int r = priv_route_socket(&sock);

    if (r == 0)
        r = rtnl_link_get_kernel(sock, 0, name, &link) < 0 ? -ENODEV : 0;
    if (r == 0)
        *ret_before = (int)rtnl_link_get_mtu(link);
    if (r == 0 && mtu > 0) {
        rtnl_link_set_mtu(wanted, (unsigned)mtu);
        r = rtnl_link_change(sock, link, wanted, 0) < 0 ? -ERANGE : 0;
    }
    rtnl_link_put(link);
    rtnl_link_put(wanted);
    nl_socket_free(sock);
    return r;
}
