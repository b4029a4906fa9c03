/* Names and addresses of neighbours, looked up at the target, with an end in sight. */
#include "service_internal.h"

#include "tw/io.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOKUP_NS  (2 * TW_SEC_NS)
#define CONNECT_MS 250

bool service_is_address(const char *text)
{
    struct in6_addr any;

    return text &&
           (inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1);
}

bool service_is_own_address(const char *address)
{
    struct ifaddrs *list = NULL;
    char text[INET6_ADDRSTRLEN];
    bool own = false;

    if (getifaddrs(&list) < 0)
        return false;
    for (const struct ifaddrs *i = list; i && !own; i = i->ifa_next) {
        socklen_t size = !i->ifa_addr                        ? 0
                         : i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                         : i->ifa_addr->sa_family == AF_INET6
                             ? sizeof(struct sockaddr_in6)
                             : 0;

        own = size &&
              getnameinfo(i->ifa_addr, size, text, sizeof text, NULL, 0,
                          NI_NUMERICHOST) == 0 &&
              tw_streq(text, address);
    }
    freeifaddrs(list);
    return own;
}

void service_endpoints_keep_own(struct service_needs *n, size_t from)
{
    size_t kept = from;

    for (size_t i = from; i < n->endpoints.count; i++) {
        const char *address = n->endpoints.items[i].address;

        if (!service_is_address(address) || host_is_wildcard(address) ||
            service_is_own_address(address))
            n->endpoints.items[kept++] = n->endpoints.items[i];
    }
    n->endpoints.count = kept;
}

static const char *list_addresses(struct tw_arena *a, const struct addrinfo *list)
{
    const char *text = NULL;
    char one[INET6_ADDRSTRLEN];

    for (const struct addrinfo *i = list; i; i = i->ai_next) {
        if (getnameinfo(i->ai_addr, i->ai_addrlen, one, sizeof one, NULL, 0,
                        NI_NUMERICHOST))
            continue;
        if (!text)
            text = tw_arena_strdup(a, one);
        else if (!strstr(text, one))
            text = tw_arena_printf(a, "%s,%s", text, one);
    }
    return text;
}

/* One look, by a thread of its own: it stands where the one that asks does (in a container, say), which
 * those that getaddrinfo_a() keeps need not. */
struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    char *name;
    struct addrinfo *found;
    int state;
    bool done, left; /* left: nobody waits any more */
};

static void lookup_free(struct lookup *l)
{
    if (l->found)
        freeaddrinfo(l->found);
    (void)pthread_cond_destroy(&l->ended);
    (void)pthread_mutex_destroy(&l->lock);
    free(l->name);
    free(l);
}

static void *lookup_main(void *arg)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct lookup *l = arg;
    struct addrinfo *found = NULL;
    int state = getaddrinfo(l->name, NULL, &hints, &found);
    bool left;

    (void)pthread_mutex_lock(&l->lock);
    l->found = state == 0 ? found : NULL;
    l->state = state;
    l->done = true;
    left = l->left;
    (void)pthread_cond_signal(&l->ended);
    (void)pthread_mutex_unlock(&l->lock);
    if (left)
        lookup_free(l);
    return NULL;
}

static struct lookup *lookup_begin(const char *name)
{
    struct lookup *l = tw_alloc(sizeof *l);
    pthread_condattr_t clock;
    pthread_t thread;

    l->name = strdup(name);
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&l->ended, &clock);
    (void)pthread_condattr_destroy(&clock);
    if (pthread_create(&thread, NULL, lookup_main, l) == 0) {
        (void)pthread_detach(thread);
        return l;
    }
    lookup_free(l);
    return NULL;
}

static bool lookup_wait(struct lookup *l, int64_t until_ns)
{
    struct timespec until = {until_ns / TW_SEC_NS, until_ns % TW_SEC_NS};
    int r = 0;

    (void)pthread_mutex_lock(&l->lock);
    while (!l->done && r == 0)
        r = pthread_cond_timedwait(&l->ended, &l->lock, &until);
    l->left = !l->done;
    (void)pthread_mutex_unlock(&l->lock);
    return !l->left;
}

/* A name server that does not answer keeps getaddrinfo for half a minute: a look that cannot be called
 * back is left behind with its memory, and ends by itself. */
const char *service_resolve(struct tw_arena *a, const char *name, bool *ret_slow)
{
    struct lookup *l = lookup_begin(name);
    const char *text;

    *ret_slow = l && !lookup_wait(l, tw_now_ns() + LOOKUP_NS);
    if (!l || *ret_slow)
        return NULL;
    *ret_slow = l->state == EAI_AGAIN;
    text = list_addresses(a, l->found);
    lookup_free(l);
    return text;
}

bool service_reachable(const char *address, int port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port)};
    bool is4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    const struct sockaddr *to =
        is4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    tw_auto_close int fd = -1;
    struct pollfd p;
    int problem = 0;
    socklen_t size = sizeof problem;

    if (!is4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
        return false;
    fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (connect(fd, to, is4 ? sizeof v4 : sizeof v6) == 0)
        return true;
    p = (struct pollfd){fd, POLLOUT, 0};
    return errno == EINPROGRESS && poll(&p, 1, CONNECT_MS) == 1 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0;
}

void service_split_port(struct tw_arena *a, const char *text, const char **ret_host,
                        int *ret_port)
{
    const char *close = *text == '[' ? strchr(text, ']') : NULL;
    const char *colon = strrchr(close ? close : text, ':');

    *ret_port = 0;
    if (!close && colon && strchr(text, ':') != colon) { /* a bare IPv6 address */
        *ret_host = tw_arena_strdup(a, text);
        return;
    }
    if (colon)
        *ret_port = atoi(colon + 1);
    if (close)
        *ret_host = tw_arena_strndup(a, text + 1, (size_t)(close - text - 1));
    else
        *ret_host = colon ? tw_arena_strndup(a, text, (size_t)(colon - text))
                          : tw_arena_strdup(a, text);
}

static const struct tw_neighbour *asked_before(const struct service_needs *n,
                                               size_t until)
{
    for (size_t i = 0; i < until; i++)
        if (tw_streq(n->neighbours.items[i].address, n->neighbours.items[until].address))
            return &n->neighbours.items[i];
    return NULL;
}

void service_neighbours_look(struct tw_arena *a, struct service_needs *n, bool probe)
{
    for (size_t i = 0; i < n->neighbours.count; i++) {
        struct tw_neighbour *b = &n->neighbours.items[i];
        const struct tw_neighbour *before = asked_before(n, i);
        bool slow;

        if (!b->address || *b->address == '/' || b->resolved)
            continue;
        b->resolved = before ? before->resolved
                      : service_is_address(b->address)
                          ? b->address
                          : service_resolve(a, b->address, &slow);
        if (probe && b->resolved && b->port)
            b->reachable = service_reachable(
                tw_arena_strndup(a, b->resolved, strcspn(b->resolved, ",")), b->port);
    }
}

/* ---- a program asked ---- */

int service_ask_program(struct tw_arena *a, const char *const *argv, int64_t within_ns,
                        const char **ret_text, int *ret_status, struct tw_err *err)
{
    static const char *const env[] = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                      NULL};
    struct tw_child child = {.argv = argv,
                             .env = env,
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .cwd = "/",
                             .deadline_ns = tw_now_ns() + within_ns};
    struct tw_child_result res = {0};
    int r = tw_child_run(&child, &res, err);

    if (r < 0)
        return r;
    *ret_text = tw_arena_printf(a, "%s%s", tw_buf_text(&res.out), tw_buf_text(&res.err));
    if (ret_status)
        *ret_status = res.status;
    tw_child_result_done(&res);
    return 0;
}

const char *service_users_words(struct tw_arena *a, const struct tw_plan *plan,
                                const char *text)
{
    for (size_t i = 0; plan && i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        const char *at = step->path && step->origin ? strstr(text, step->path) : NULL;

        if (at && step->kind == TW_STEP_FRAGMENT)
            text = tw_arena_printf(a, "%.*s%s%s", (int)(at - text), text, step->origin,
                                   at + strlen(step->path));
    }
    return text;
}
