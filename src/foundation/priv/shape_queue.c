/* The process that holds packets: the kernel hands it the head of each, it says when the packet may go
 * on. It is a copy of the supervisor that allocates nothing, stands in the namespace of the link, has
 * no privilege but the one over that network, and dies with its parent; then the rule lets everything
 * pass.
 *
 * Order   is kept unless reordering is asked for: jitter of a queue, not of many paths
 * Rate    a packet goes when the one before it has been sent; what would wait longer than
 *         BACKLOG_NS is dropped, as a router does
 * Source  linux/netfilter/nfnetlink_queue.h; departure times: Crovella and Krishnamurthy (2006), 6.2 */
#include "shape_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX    65536
#define SOCKET_ROOM (32 << 20)
#define BACKLOG_NS  (100 * TW_MSEC_NS)
#define BACKLOG_MIN (16 * 1514 * 8) /* bits that always find room */
#define READY_NS    (10 * TW_SEC_NS)

struct packet {
    int64_t due_ns, came_ns, asked_ns;
    uint64_t order; /* ties keep the order of arrival */
    uint32_t id;
    uint16_t way;
};
struct verdict {
    struct nlmsghdr head;
    struct nfgenmsg body;
    struct nlattr attribute;
    struct nfqnl_msg_verdict_hdr verdict;
};
struct line { /* one direction */
    int64_t free_ns; /* the sender is free again */
    int64_t last_ns; /* nothing overtakes this */
};
struct holder {
    struct shape_board *board;
    int sock;
    unsigned short first;
    uint64_t random, order;
    struct line lines[TW_SHAPE_WAYS];
    struct packet heap[HELD_MAX];
    int held;
    char in[1 << 17] __attribute__((aligned(8)));
    struct verdict out[64];
    int out_count;
};

/* What the child is given; its own copy. */
struct plan {
    struct shape_board *board;
    int netns;
    unsigned short first;
};

static int64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * TW_SEC_NS + t.tv_nsec;
}

/* xorshift64*: Vigna (2016) */
static uint32_t draw(struct holder *h)
{
    h->random ^= h->random >> 12;
    h->random ^= h->random << 25;
    h->random ^= h->random >> 27;
    return (uint32_t)((h->random * UINT64_C(2685821657736338717)) >> 32);
}

/* ---- packets by the time they are due ---- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void push(struct holder *h, struct packet p)
{
    int i = h->held++;

    for (; i > 0 && before(&p, &h->heap[(i - 1) / 2]); i = (i - 1) / 2)
        h->heap[i] = h->heap[(i - 1) / 2];
    h->heap[i] = p;
}

static struct packet pop(struct holder *h)
{
    struct packet top = h->heap[0], last = h->heap[--h->held];
    int i = 0;

    for (;;) {
        int child = 2 * i + 1;

        if (child + 1 < h->held && before(&h->heap[child + 1], &h->heap[child]))
            child++;
        if (child >= h->held || !before(&h->heap[child], &last))
            break;
        h->heap[i] = h->heap[child];
        i = child;
    }
    h->heap[i] = last;
    return top;
}

/* ---- verdicts ---- */

static void flush(struct holder *h)
{
    if (h->out_count)
        (void)!send(h->sock, h->out, sizeof h->out[0] * (size_t)h->out_count, 0);
    h->out_count = 0;
}

static void decide(struct holder *h, int way, uint32_t id, uint32_t verdict)
{
    h->out[h->out_count++] = (struct verdict){
        .head = {.nlmsg_len = sizeof(struct verdict),
                 .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT,
                 .nlmsg_flags = NLM_F_REQUEST},
        .body = {.nfgen_family = AF_UNSPEC,
                 .version = NFNETLINK_V0,
                 .res_id = htons((uint16_t)(h->first + way))},
        .attribute = {sizeof(struct nlattr) + sizeof(struct nfqnl_msg_verdict_hdr),
                      NFQA_VERDICT_HDR},
        .verdict = {htonl(verdict), htonl(id)}};
    if (h->out_count == (int)TW_COUNT_OF(h->out))
        flush(h);
}

/* ---- one packet ---- */

/* When it leaves a sender of that rate; -1: too many wait before it. */
static int64_t leaves(struct line *line, int64_t rate_bps, int64_t now, int64_t bits)
{
    int64_t room = BACKLOG_NS;

    if (rate_bps <= 0)
        return now;
    if (BACKLOG_MIN * TW_SEC_NS / rate_bps > room)
        room = BACKLOG_MIN * TW_SEC_NS / rate_bps;
    if (line->free_ns < now)
        line->free_ns = now;
    if (line->free_ns - now > room)
        return -1;
    line->free_ns += bits * TW_SEC_NS / rate_bps;
    return line->free_ns;
}

static int64_t delay_of(struct holder *h, struct shape_asked *asked)
{
    int64_t delay = atomic_load(&asked->delay_ns),
            jitter = atomic_load(&asked->jitter_ns);

    if (jitter > 0)
        delay += (int64_t)((double)draw(h) / (double)UINT32_MAX * 2 * (double)jitter) -
                 jitter;
    return delay > 0 ? delay : 0;
}

static bool happens(struct holder *h, uint32_t share)
{
    return share > 0 && draw(h) < share;
}

static void take(struct holder *h, int way, uint32_t id, uint32_t len)
{
    struct shape_asked *asked = &h->board->asked[way];
    struct shape_done *done = &h->board->done[way];
    struct line *line = &h->lines[way];
    struct packet p = {.came_ns = now_ns(), .order = h->order++, .id = id,
                       .way = (uint16_t)way};
    int64_t longest = atomic_load(&asked->longest);
    bool overtakes;

    atomic_fetch_add(&done->packets, 1);
    atomic_fetch_add(&done->bytes, len);
    if (len > atomic_load(&done->longest))
        atomic_store(&done->longest, len);
    if (longest > 0 && len > longest) {
        atomic_fetch_add(&done->too_long, 1);
        decide(h, way, id, NF_DROP);
        return;
    }
    if (happens(h, atomic_load(&asked->loss))) {
        atomic_fetch_add(&done->lost, 1);
        decide(h, way, id, NF_DROP);
        return;
    }
    p.due_ns = leaves(line, atomic_load(&asked->rate_bps), p.came_ns, 8 * (int64_t)len);
    if (p.due_ns < 0 || h->held == HELD_MAX) {
        atomic_fetch_add(&done->full, 1);
        decide(h, way, id, NF_DROP);
        return;
    }
    overtakes = happens(h, atomic_load(&asked->reorder));
    if (!overtakes) {
        p.due_ns += delay_of(h, asked);
        if (p.due_ns < line->last_ns)
            p.due_ns = line->last_ns;
        line->last_ns = p.due_ns;
    }
    p.asked_ns = p.due_ns - p.came_ns;
    push(h, p);
}

static void release(struct holder *h)
{
    int64_t now = now_ns();

    while (h->held > 0 && h->heap[0].due_ns <= now) {
        struct packet p = pop(h);
        struct shape_done *done = &h->board->done[p.way];
        int64_t held = now - p.came_ns, late = held - p.asked_ns;

        decide(h, p.way, p.id, NF_ACCEPT);
        atomic_fetch_add(&done->released, 1);
        atomic_fetch_add(&done->held_ns, held);
        atomic_fetch_add(&done->late_ns, late);
        if (late > atomic_load(&done->latest_ns))
            atomic_store(&done->latest_ns, late);
    }
    flush(h);
    atomic_store(&h->board->held, h->held);
}

/* ---- messages of the kernel ---- */

static void read_packet(struct holder *h, const struct nlmsghdr *m)
{
    const struct nfgenmsg *body = NLMSG_DATA(m);
    const char *at = (const char *)body + NLMSG_ALIGN(sizeof *body),
               *end = (const char *)m + m->nlmsg_len;
    int way = ntohs(body->res_id) - h->first;
    uint32_t id = 0, payload = 0, whole = 0;

    if (way < 0 || way >= TW_SHAPE_WAYS)
        return;
    while (at + SHAPE_HEAD <= end) {
        const struct nlattr *a = (const struct nlattr *)(const void *)at;
        const void *data = at + SHAPE_HEAD;
        uint32_t value;

        if (a->nla_len < SHAPE_HEAD)
            break;
        if (a->nla_len >= SHAPE_HEAD + sizeof value)
            memcpy(&value, data, sizeof value);
        else
            value = 0;
        switch (a->nla_type & NLA_TYPE_MASK) {
        case NFQA_PACKET_HDR: /* begins with the id */
            id = ntohl(value);
            break;
        case NFQA_CAP_LEN:
            whole = ntohl(value);
            break;
        case NFQA_PAYLOAD:
            payload = (uint32_t)(a->nla_len - SHAPE_HEAD);
            break;
        default:
            break;
        }
        at += SHAPE_ALIGN(a->nla_len);
    }
    take(h, way, id, whole ? whole : payload);
}

static void read_all(struct holder *h)
{
    for (int turn = 0; turn < 64; turn++) {
        ssize_t got = recv(h->sock, h->in, sizeof h->in, MSG_DONTWAIT);

        if (got <= 0)
            return;
        for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)h->in;
             NLMSG_OK(m, (size_t)got); m = NLMSG_NEXT(m, got))
            if (m->nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
                read_packet(h, m);
    }
}

/* ---- becoming it ---- */

struct configuration {
    struct nlmsghdr head;
    struct nfgenmsg body;
    char attributes[64];
};

static void attribute(struct configuration *c, unsigned short type, const void *data,
                      size_t len)
{
    struct nlattr *a = (struct nlattr *)(void *)((char *)c + c->head.nlmsg_len);

    a->nla_type = type;
    a->nla_len = (unsigned short)(SHAPE_HEAD + len);
    memcpy((char *)a + SHAPE_HEAD, data, len);
    c->head.nlmsg_len += (unsigned)SHAPE_ALIGN(a->nla_len);
}

static int bind_queue(int sock, unsigned short queue)
{
    const struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
    /* one byte of each: then the kernel says how long it was */
    const struct nfqnl_msg_config_params params = {htonl(1), NFQNL_COPY_PACKET};
    const uint32_t most = htonl(HELD_MAX);
    struct configuration c = {
        .head = {.nlmsg_len = NLMSG_SPACE(sizeof c.body),
                 .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .body = {.version = NFNETLINK_V0, .res_id = htons(queue)}};
    char answer[1024] __attribute__((aligned(8)));
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;

    attribute(&c, NFQA_CFG_CMD, &command, sizeof command);
    attribute(&c, NFQA_CFG_PARAMS, &params, sizeof params);
    attribute(&c, NFQA_CFG_QUEUE_MAXLEN, &most, sizeof most);
    if (send(sock, &c, c.head.nlmsg_len, 0) < 0)
        return -errno;
    if (recv(sock, answer, sizeof answer, 0) < (ssize_t)NLMSG_LENGTH(sizeof(int)) ||
        h->nlmsg_type != NLMSG_ERROR)
        return -EIO;
    return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static int open_queues(struct holder *h)
{
    int room = SOCKET_ROOM, one = 1, r = 0;

    h->sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (h->sock < 0)
        return -errno;
    (void)setsockopt(h->sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    (void)setsockopt(h->sock, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one);
    for (int way = 0; way < TW_SHAPE_WAYS && r == 0; way++)
        r = bind_queue(h->sock, (unsigned short)(h->first + way));
    return r;
}

/* Of all that the supervisor may, one thing is needed: to speak for this network. */
static int give_up(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = 1u << CAP_NET_ADMIN, .permitted = 1u << CAP_NET_ADMIN}, {0}};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, data) < 0)
        return -errno;
    return 0;
}

/* It has little to do, and to do it on time: before everybody else where that is allowed. */
static void hurry(void)
{
    const struct sched_param param = {.sched_priority = 2};

    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t last;

    /* where those who are measured are not: the last core is the load's, which has time to spare */
    if (cores > 1 && cores <= CPU_SETSIZE) {
        CPU_ZERO(&last);
        CPU_SET((size_t)cores - 1, &last);
        (void)sched_setaffinity(0, sizeof last, &last);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (sched_setscheduler(0, SCHED_RR, &param) < 0)
        (void)setpriority(PRIO_PROCESS, 0, -20);
}

static void hold(struct holder *h)
{
    struct pollfd fd = {h->sock, POLLIN, 0};

    for (;;) {
        struct timespec wait = {0};
        int64_t left = h->held ? h->heap[0].due_ns - now_ns() : 0;

        if (left < 0)
            left = 0;
        wait.tv_sec = left / TW_SEC_NS;
        wait.tv_nsec = left % TW_SEC_NS;
        (void)ppoll(&fd, 1, h->held ? &wait : NULL, NULL);
        if (fd.revents)
            read_all(h);
        release(h);
    }
}

static int holder_main(void *arg)
{
    const struct plan *plan = arg;
    struct holder *h;
    int netns = plan->netns, r = 0;

    if (setns(netns, CLONE_NEWNET) < 0)
        r = -errno;
    (void)close_range(0, ~0u, 0);
    h = mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r == 0 && h == MAP_FAILED)
        r = -ENOMEM;
    if (r == 0) {
        h->board = plan->board;
        h->first = plan->first;
        h->random = (uint64_t)now_ns() | 1;
        r = open_queues(h);
    }
    hurry();
    if (r == 0)
        r = give_up();
    atomic_store(&plan->board->ready, r == 0 ? 1 : r);
    if (r == 0)
        hold(h);
    return 1;
}

/* ---- the supervisor's side ---- */

static int await_ready(struct shape_board *board, struct tw_err *err)
{
    int64_t deadline = tw_now_ns() + READY_NS;
    int ready;

    while ((ready = atomic_load(&board->ready)) == 0 && tw_now_ns() < deadline)
        tw_sleep_ns(TW_MSEC_NS / 5);
    return ready == 1 ? 0
           : ready == 0
               ? tw_fail(err, -ETIMEDOUT, "the process that holds packets does not begin")
               : tw_fail_errno(err, -ready, "opening the queues of packets");
}

int shape_holder_open(struct tw_priv *p, int netns, unsigned short first,
                      struct shape_holder *ret, struct tw_err *err)
{
    struct plan plan = {.netns = netns, .first = first};
    struct tw_spawn spawn = {.cgroup_fd = -1, .main = holder_main, .arg = &plan};
    tw_auto_free char *record = NULL;
    struct shape_holder h = {.pidfd = -1};
    pid_t pid = 0;
    int r;

    h.board = mmap(NULL, sizeof *h.board, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (h.board == MAP_FAILED)
        return tw_fail_errno(err, errno, "making the board of a shaped link");
    plan.board = h.board;
    r = tw_priv_spawn(p, &spawn, &pid, &h.pidfd, err);
    if (r == 0) {
        record = tw_strf("%d %lld", (int)pid, (long long)priv_start_time(pid));
        r = tw_priv_intend(p, TW_INTENT_PROCESS, record, &h.token, err);
    }
    if (r == 0)
        r = await_ready(h.board, err);
    if (r < 0) {
        shape_holder_close(p, &h, 0);
        return r;
    }
    *ret = h;
    return 0;
}

void shape_holder_close(struct tw_priv *p, struct shape_holder *h, double wait_s)
{
    int64_t deadline = tw_now_ns() + (int64_t)(wait_s * (double)TW_SEC_NS);

    if (!h->board)
        return;
    while (h->pidfd >= 0 && atomic_load(&h->board->held) > 0 && tw_now_ns() < deadline)
        tw_sleep_ns(TW_MSEC_NS);
    if (h->pidfd >= 0)
        tw_priv_kill(p, h->pidfd);
    tw_priv_settled(p, h->token);
    (void)munmap(h->board, sizeof *h->board);
    *h = (struct shape_holder){.pidfd = -1};
}
