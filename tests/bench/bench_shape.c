/* The strength that was asked of a link against the strength that packets met: round trips and loss of
 * datagrams, bytes of a stream once the bucket is empty. Two sandboxes, one link shaped.
 * Passes within 10 % or 0.3 ms. */
#include "tw/num.h"
#include "tw/sandbox.h"

#include <arpa/inet.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UID     23456
#define SHAPED  "10.213.0.2"
#define OTHER   "10.213.0.10"
#define PORT    9777
#define TRIPS   400
#define PACKETS 20000
#define RATE_S  5.0
#define EMPTY_S 0.5

struct place {
    struct tw_priv *priv;
    struct tw_sandbox *box[2]; /* the shaped one, the other */
    int datagram[2], stream[2];
};
struct opening {
    const char *address;
    int type, fd;
};

static int open_in(void *arg)
{
    struct opening *o = arg;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int one = 1, room = 8 << 20;

    (void)inet_pton(AF_INET, o->address, &at.sin_addr);
    o->fd = socket(AF_INET, o->type | SOCK_CLOEXEC, 0);
    (void)setsockopt(o->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    (void)setsockopt(o->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (o->type == SOCK_STREAM && tw_streq(o->address, SHAPED))
        return 0;
    if (o->fd < 0 || bind(o->fd, (struct sockaddr *)&at, sizeof at) < 0)
        return -errno;
    return o->type == SOCK_STREAM && listen(o->fd, 4) < 0 ? -errno : 0;
}

static int open_at(struct place *p, int which, int type, struct tw_err *err)
{
    struct opening o = {.address = which ? OTHER : SHAPED, .type = type};
    int r = tw_priv_netns_run(p->priv, tw_sandbox_netns(p->box[which]), open_in, &o, err);

    return r < 0 ? r : o.fd;
}

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};

    (void)inet_pton(AF_INET, text, &at.sin_addr);
    return at;
}

/* One way, of a datagram alone on the link: NaN lost. */
static double one_way(struct place *p, int from, double wait_s)
{
    struct sockaddr_in to = address_of(from ? SHAPED : OTHER);
    struct pollfd fd = {p->datagram[!from], POLLIN, 0};
    int64_t begun = tw_now_ns();
    char byte[100] = {0};

    (void)sendto(p->datagram[from], byte, sizeof byte, 0, (struct sockaddr *)&to, sizeof to);
    if (poll(&fd, 1, (int)(wait_s * 1000)) != 1)
        return NAN;
    (void)!recv(p->datagram[!from], byte, sizeof byte, 0);
    return tw_seconds(tw_now_ns() - begun);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct trips {
    double median, deviation, p99;
};
static struct trips trips_of(struct place *p, int from)
{
    static double s[TRIPS];
    double sum = 0, squares = 0;
    int n = 0;

    for (int i = 0; i < TRIPS; i++) {
        double one = one_way(p, from, 2);

        if (isnan(one))
            continue;
        s[n++] = one;
        sum += one;
        squares += one * one;
    }
    qsort(s, (size_t)n, sizeof s[0], ascending);
    sum /= n;
    return (struct trips){s[n / 2], sqrt(squares / n - sum * sum), s[n * 99 / 100]};
}

static double share_lost(struct place *p, int from)
{
    struct sockaddr_in to = address_of(from ? SHAPED : OTHER);
    char byte[32] = {0};
    int came = 0;

    for (int i = 0; i < PACKETS; i++) {
        (void)sendto(p->datagram[from], byte, sizeof byte, 0, (struct sockaddr *)&to,
                     sizeof to);
        while (recv(p->datagram[!from], byte, sizeof byte, MSG_DONTWAIT) > 0)
            came++;
    }
    for (;;) {
        struct pollfd fd = {p->datagram[!from], POLLIN, 0};

        if (poll(&fd, 1, 300) != 1)
            return 1 - (double)came / PACKETS;
        while (recv(p->datagram[!from], byte, sizeof byte, MSG_DONTWAIT) > 0)
            came++;
    }
}

/* Bits of TCP's own payload, with the headers that each segment carries counted as bits too. */
static double rate_of(struct place *p, int from, double seconds)
{
    static char data[1 << 16];
    int64_t begun = 0, end = tw_now_ns() + (int64_t)((EMPTY_S + seconds) * 1e9), now;
    double bytes = 0;

    while ((now = tw_now_ns()) < end) {
        struct pollfd fds[2] = {{p->stream[from], POLLOUT, 0},
                                {p->stream[!from], POLLIN, 0}};

        (void)poll(fds, 2, 100);
        if (fds[0].revents & POLLOUT)
            (void)!send(p->stream[from], data, sizeof data, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (fds[1].revents & POLLIN) {
            ssize_t got = recv(p->stream[!from], data, sizeof data, MSG_DONTWAIT);

            if (begun && got > 0)
                bytes += (double)got;
        }
        if (!begun && now > end - (int64_t)(seconds * 1e9))
            begun = now;
    }
    return bytes * 8 * 1514 / 1448 / tw_seconds(now - begun);
}

static int connect_stream(struct place *p, struct tw_err *err)
{
    struct sockaddr_in to = address_of(OTHER);
    int listener = open_at(p, 1, SOCK_STREAM, err), fd = open_at(p, 0, SOCK_STREAM, err);

    if (listener < 0 || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        return -EIO;
    p->stream[0] = fd;
    p->stream[1] = accept(listener, NULL, NULL);
    (void)close(listener);
    return 0;
}

static int open_place(struct place *p, const char *state, struct tw_err *err)
{
    static const char *const names[] = {"shaped", "other"}, *const at[] = {SHAPED, OTHER};
    static char id[TW_ID_LEN + 1];
    int r;

    tw_id_make(id);
    r = tw_priv_open(state, id, &p->priv, err);
    for (int i = 0; i < 2 && r == 0; i++) {
        struct tw_sandbox_link link = {.address = at[i]};
        struct tw_sandbox_spec spec = {.id = id, .name = names[i], .uid = UID, .gid = UID,
                                       .shm_bytes = 1 << 20, .tmp_bytes = 1 << 20,
                                       .links = {&link, 1}, .seccomp = true};

        r = tw_sandbox_open(p->priv, &spec, &p->box[i], err);
    }
    for (int i = 0; i < 2 && r == 0; i++) {
        p->datagram[i] = open_at(p, i, SOCK_DGRAM, err);
        r = p->datagram[i] < 0 ? p->datagram[i] : 0;
    }
    return r == 0 ? connect_stream(p, err) : r;
}

enum figure { TRIP, JITTER, LOSS, RATE, CUT };
static const struct row {
    const char *name;
    enum figure figure;
    enum tw_shape_way way;
    struct tw_shape_values v;
} rows[] = {
    {"latency 1 ms", TRIP, TW_SHAPE_OUT, {.delay_s = 0.001}},
    {"latency 5 ms", TRIP, TW_SHAPE_IN, {.delay_s = 0.005}},
    {"latency 20 ms", TRIP, TW_SHAPE_OUT, {.delay_s = 0.020}},
    {"jitter 10 ± 5 ms", JITTER, TW_SHAPE_OUT, {.delay_s = 0.010, .jitter_s = 0.005}},
    {"loss 1 %", LOSS, TW_SHAPE_OUT, {.loss = 0.01}},
    {"loss 10 %", LOSS, TW_SHAPE_IN, {.loss = 0.1}},
    {"loss 10 %, 2 ms", LOSS, TW_SHAPE_OUT, {.loss = 0.1, .delay_s = 0.002}},
    {"bandwidth 10 Mbit", RATE, TW_SHAPE_OUT, {.rate_bps = 10e6}},
    {"bandwidth 50 Mbit", RATE, TW_SHAPE_IN, {.rate_bps = 50e6}},
    {"bandwidth 20 Mbit, 5 ms", RATE, TW_SHAPE_OUT, {.rate_bps = 20e6, .delay_s = 0.005}},
    {"partition", CUT, TW_SHAPE_IN, {.cut = true}},
};

static bool report(const struct row *r, const char *how, double asked, double got,
                   const char *unit, double slack, double p99)
{
    bool fine = fabs(got - asked) <= fmax(0.1 * asked, slack);

    printf("%-26s %-4s %10.4g %10.4g %-6s %6.1f %%  %s%s", r->name,
           r->way == TW_SHAPE_OUT ? "out" : "in", asked, got, unit,
           asked > 0 ? 100 * (got - asked) / asked : 0, fine ? "ok   " : "WRONG", how);
    if (!isnan(p99))
        printf(", p99 %.3g ms", p99);
    printf("\n");
    return fine;
}

static bool measure(struct place *p, const struct row *r, const char *how)
{
    int from = r->way == TW_SHAPE_OUT ? 0 : 1;
    struct trips t = {NAN, NAN, NAN};

    switch (r->figure) {
    case TRIP:
        t = trips_of(p, from);
        return report(r, how, 1e3 * r->v.delay_s, 1e3 * t.median, "ms", 0.3, 1e3 * t.p99);
    case JITTER: /* the deviation of a uniform law: half its width / √3 */
        t = trips_of(p, from);
        return report(r, how, 1e3 * r->v.jitter_s / sqrt(3), 1e3 * t.deviation, "ms", 0.3,
                      1e3 * t.p99);
    case LOSS:
        return report(r, how, r->v.loss, share_lost(p, from), "", 0, NAN);
    case RATE:
        return report(r, how, r->v.rate_bps / 1e6, rate_of(p, from, RATE_S) / 1e6,
                      "Mbit/s", 0, NAN);
    case CUT:
        return report(r, how, 1, isnan(one_way(p, from, 0.2)), "", 0, NAN);
    }
    return false;
}

static bool one_row(struct place *p, const struct row *r, struct tw_err *err)
{
    int netns = tw_sandbox_netns(p->box[0]);
    struct tw_shape_spec spec = {.netns = netns, .link = "eth0"};
    struct tw_shape *s = NULL;
    int64_t begun = tw_now_ns(), set;
    bool fine;

    if (tw_priv_shape_open(p->priv, &spec, &s, err) < 0 ||
        tw_priv_shape_set(s, r->way, &r->v, err) < 0) {
        printf("%-26s WRONG %s\n", r->name, err->text);
        (void)tw_priv_shape_close(s, NULL);
        return false;
    }
    set = tw_now_ns();
    fine = measure(p, r, tw_priv_shape_how(s, r->way));
    if (tw_priv_shape_close(s, err) < 0 ||
        tw_priv_shape_left(p->priv, netns, "eth0", err) != 0 || !(one_way(p, 0, 1) < 0.1)) {
        printf("%-26s WRONG it does not end: %s\n", r->name, err->text);
        fine = false;
    }
    (void)set;
    tw_log(TW_LOG_DEBUG, "set in %.2f ms", 1e3 * tw_seconds(set - begun));
    return fine;
}

int main(int argc, char **argv)
{
    char state[] = "/var/tmp/twin-shape-XXXXXX";
    struct place p = {.datagram = {-1, -1}, .stream = {-1, -1}};
    struct tw_err err = {0};
    int wrong = 0, r;

    if (geteuid() != 0 || !mkdtemp(state)) {
        printf("shaping of links: needs root\n");
        return 0;
    }
    r = open_place(&p, state, &err);
    if (r < 0)
        printf("WRONG %s\n", err.text);
    for (size_t i = 0; i < TW_COUNT_OF(rows) && r == 0; i++)
        if (argc < 2 || strstr(rows[i].name, argv[1]))
            wrong += !one_row(&p, &rows[i], &err);
    for (int i = 0; i < 2; i++)
        tw_sandbox_close(p.box[i]);
    tw_priv_close(p.priv);
    (void)tw_remove_tree(state, NULL);
    return r < 0 || wrong ? 1 : 0;
}
