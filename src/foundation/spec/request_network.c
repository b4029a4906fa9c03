/* The path of a network change: its keys, each a row, in the units that people write. */
#include "spec_internal.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- values ---- */

struct unit {
    const char *name;
    double factor;
};
static const struct unit times[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"m", 60}, {"h", 3600}};
static const struct unit shares[] = {{"%", 1e-2}};
static const struct unit rates[] = {
    {"bit", 1},        {"kbit", 1e3},   {"mbit", 1e6},   {"gbit", 1e9},  {"bit/s", 1},    {"kbit/s", 1e3},
    {"mbit/s", 1e6},   {"gbit/s", 1e9}, {"bps", 1},      {"kbps", 1e3},  {"mbps", 1e6},   {"gbps", 1e9}};

/* ret: the number, times its unit; false: it is none, or has none of the units. A zero needs no unit. */
static bool with_unit(const char *text, const struct unit *units, size_t n, double *ret)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || !isfinite(value) || value < 0)
        return false;
    end += strspn(end, " ");
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(end, units[i].name) == 0) {
            *ret = value * units[i].factor;
            return true;
        }
    *ret = 0;
    return !*end && value == 0;
}

static bool take_time(const char *text, void *to)
{
    return with_unit(text, times, TW_COUNT_OF(times), to) && *(double *)to <= 3600 * 24;
}

static bool take_latency(const char *text, void *to)
{
    return with_unit(text, times, TW_COUNT_OF(times), to) && *(double *)to <= 60;
}

/* "1 %", or a share below 1: what "1" would mean nobody knows. */
static bool take_share(const char *text, void *to)
{
    double *ret = to;
    char *end;

    if (with_unit(text, shares, TW_COUNT_OF(shares), ret))
        return *ret <= 1;
    *ret = strtod(text, &end);
    return end != text && !*end && *ret >= 0 && *ret < 1;
}

static bool take_rate(const char *text, void *to)
{
    return with_unit(text, rates, TW_COUNT_OF(rates), to) && *(double *)to >= 8e3 && *(double *)to <= 1e11;
}

static bool take_mtu(const char *text, void *to)
{
    int64_t n;

    if (tw_parse_int64(text, &n, NULL) < 0 || n < 68 || n > 65535)
        return false;
    *(int *)to = (int)n;
    return true;
}

static bool take_switch(const char *text, void *to)
{
    static const char *const words[] = {"off", "false", "no", "on", "true", "yes"};
    int at = tw_name_index(text, words, TW_COUNT_OF(words));

    *(bool *)to = at >= 3;
    return at >= 0;
}

static bool take_route(const char *text, void *to)
{
    static const char *const words[TW_ROUTE_COUNT] = {"", "none", "dead-gateway", "one-way"};
    int at = tw_name_index(text, words, TW_COUNT_OF(words));

    *(enum tw_network_route *)to = at > 0 ? (enum tw_network_route)at : TW_ROUTE_KEPT;
    return at > 0;
}

/* "none", a time, or an address: what names fare like. */
static bool take_names(const char *text, void *to)
{
    struct tw_network_request *n = to;
    unsigned char bytes[16];

    if (tw_streq(text, "none"))
        n->names = TW_NAMES_NONE;
    else if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, bytes) == 1)
        n->names = TW_NAMES_WRONG;
    else if (take_latency(text, &n->names_late_s) && n->names_late_s > 0)
        n->names = TW_NAMES_LATE;
    n->names_address = n->names == TW_NAMES_WRONG ? text : NULL;
    return n->names != TW_NAMES_KEPT;
}

/* ---- keys ---- */

#define AT(member) offsetof(struct tw_network_request, member)
static const struct row {
    const char *key;
    bool (*take)(const char *text, void *to); /* NULL: a name */
    size_t offset;
    const char *expected;
} rows[] = {
    {"from", NULL, AT(from), "a target"},
    {"to", NULL, AT(to), "a target, an address and port, or 'clients'"},
    {"latency", take_latency, AT(latency_s), "a time up to 60 s that each round trip gets longer by, say 20ms"},
    {"jitter", take_latency, AT(jitter_s), "a time, say 2ms"},
    {"loss", take_share, AT(loss), "a share of the packets, say 1%"},
    {"bandwidth", take_rate, AT(bandwidth_bps), "bits per second from 8kbit to 100gbit, say 50mbit"},
    {"mtu", take_mtu, AT(mtu), "bytes, 68 to 65535"},
    {"idle_timeout", take_time, AT(idle_timeout_s), "a time, say 5min"},
    {"partition", take_switch, AT(partition), "true or false"},
    {"mtu_blackhole", take_mtu, AT(mtu_blackhole), "bytes, 68 to 65535: longer packets vanish untold"},
    {"route", take_route, AT(route), "none, dead-gateway or one-way"},
    {"dns", take_names, 0, "none, a time that answers come later by, or the address they tell"},
};
#undef AT

int tw_network_request_take(struct tw_arena *a, const char *key, const char *value, const char *pointer,
                            struct tw_network_request *ret, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(rows)], *near;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        void *to = (char *)ret + rows[i].offset;

        names[i] = rows[i].key;
        if (!tw_streq(rows[i].key, key))
            continue;
        if (!value || !*value || (rows[i].take && !rows[i].take(value, to)))
            return tw_fail_at(err, -EINVAL, pointer, "%s '%s': expected %s", key, value ? value : "null",
                              rows[i].expected);
        if (!rows[i].take)
            *(const char **)to = tw_arena_strdup(a, value);
        if (ret->names_address == value)
            ret->names_address = tw_arena_strdup(a, value);
        return 0;
    }
    near = tw_nearest(key, names, TW_COUNT_OF(names));
    return tw_fail_at(err, -EINVAL, pointer,
                      "a path has no '%s'%s%s%s (expected from, to, latency, jitter, loss, bandwidth, mtu, "
                      "idle_timeout, partition, mtu_blackhole, route or dns)",
                      key, near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
}

bool tw_network_request_is_linked(const struct tw_network_request *n)
{
    return n->latency_s > 0 || n->loss > 0 || n->bandwidth_bps > 0 || n->mtu || n->partition ||
           n->idle_timeout_s > 0 || n->mtu_blackhole || n->route;
}

int tw_network_request_check(const struct tw_network_request *n, struct tw_err *err)
{
    if (!tw_network_request_is_linked(n) && !n->names)
        return tw_fail_at(err, -EINVAL, "/change",
                          "nothing changes on the path; expected latency, loss, bandwidth, mtu, idle_timeout, "
                          "partition, mtu_blackhole, route or dns");
    if (n->mtu_blackhole && n->mtu_blackhole >= (n->mtu ? n->mtu : TW_ETHERNET_MTU))
        return tw_fail_at(err, -EINVAL, "/change/mtu_blackhole",
                          "no packet is longer than the %d bytes that the ends send: a black hole is below them",
                          n->mtu ? n->mtu : TW_ETHERNET_MTU);
    if (n->jitter_s > n->latency_s)
        return tw_fail_at(err, -EINVAL, "/change/jitter",
                          "jitter is at most the latency: a packet does not arrive before it was sent");
    return 0;
}

const char *tw_network_request_text(struct tw_arena *a, const struct tw_network_request *n)
{
    tw_auto_buf b = {0};

    static const char *const routes[TW_ROUTE_COUNT] = {"", ", no route", ", a gateway that does not answer",
                                                       ", answers find no way back"};

    tw_buf_init(&b, 1000);
    tw_buf_puts(&b, routes[n->route]);
    if (n->mtu_blackhole)
        tw_buf_printf(&b, ", packets above %d bytes vanish", n->mtu_blackhole);
    if (n->names == TW_NAMES_LATE)
        tw_buf_printf(&b, ", names resolve %s later", tw_show_seconds(a, n->names_late_s));
    else if (n->names)
        tw_buf_printf(&b, ", names resolve %s%s", n->names == TW_NAMES_WRONG ? "to " : "no more",
                      n->names_address ? n->names_address : "");
    if (n->partition)
        tw_buf_puts(&b, ", nothing passes");
    if (n->latency_s > 0)
        tw_buf_printf(&b, ", round trips %s longer", tw_show_seconds(a, n->latency_s));
    if (n->jitter_s > 0)
        tw_buf_printf(&b, " (± %s)", tw_show_seconds(a, n->jitter_s));
    if (n->loss > 0)
        tw_buf_printf(&b, ", %.3g %% of the packets lost each way", 100 * n->loss);
    if (n->bandwidth_bps > 0)
        tw_buf_printf(&b, ", %.3g Mbit/s each way", 1e-6 * n->bandwidth_bps);
    if (n->mtu)
        tw_buf_printf(&b, ", packets of %d bytes at most", n->mtu);
    if (n->idle_timeout_s > 0)
        tw_buf_printf(&b, ", connections at rest forgotten after %s", tw_show_seconds(a, n->idle_timeout_s));
    return tw_arena_strdup(a, tw_buf_text(&b) + (b.len ? 2 : 0));
}
