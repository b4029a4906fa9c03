/* Services for the live tests of the load's drivers: started in a directory of their own, ended
 * and removed whatever the test does. */
#ifndef TESTS_LOAD_SERVICE_H
#define TESTS_LOAD_SERVICE_H

#include "tw/load.h"

#include <math.h>
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct service {
    char dir[64];
    int alive; /* closed when the test ends, however it ends */
    pid_t keeper;
};

/* A port that nobody listens on now. */
static inline int service_port(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0 && bind(fd, (void *)&to, sizeof to) == 0);
    cr_assert(getsockname(fd, (void *)&to, &len) == 0);
    (void)close(fd);
    return ntohs(to.sin_port);
}

static inline void service_write(const struct service *s, const char *name,
                                 const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", s->dir, name);
    struct tw_err err = {0};

    cr_assert(tw_write_file(path, text, strlen(text), 0644, &err) == 0, "%s", err.text);
}

static inline void service_dir(struct service *s)
{
    *s = (struct service){.dir = "/tmp/twin-service-XXXXXX"};
    cr_assert(mkdtemp(s->dir) != NULL);
    cr_assert(chmod(s->dir, 0755) == 0);
}

/* The keeper is the service's parent: it ends it and removes the directory when the test is
 * gone. The command runs in the directory. */
static inline void service_start(struct service *s, const char *command)
{
    int ends[2];
    char byte;

    cr_assert(pipe2(ends, O_CLOEXEC) == 0);
    s->keeper = fork();
    cr_assert(s->keeper >= 0);
    if (s->keeper == 0) {
        tw_auto_free char *line = tw_strf("cd %s; exec %s >out 2>&1", s->dir, command);
        pid_t service;

        (void)setsid();
        (void)close(ends[1]);
        service = fork();
        if (service == 0) {
            (void)execl("/bin/sh", "sh", "-c", line, NULL);
            _exit(127);
        }
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        (void)kill(service, SIGTERM);
        for (int i = 0; i < 500 && waitpid(service, NULL, WNOHANG) == 0; i++)
            tw_sleep_ns(10 * TW_MSEC_NS);
        (void)kill(service, SIGKILL);
        (void)tw_remove_tree(s->dir, NULL);
        _exit(0);
    }
    (void)close(ends[0]);
    s->alive = ends[1];
}

static inline void service_stop(struct service *s)
{
    if (s->keeper <= 0)
        return;
    (void)close(s->alive);
    while (waitpid(s->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    s->keeper = 0;
}

static inline bool service_listens(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = connect(fd, (void *)&to, sizeof to) == 0;

    (void)close(fd);
    return there;
}

static inline void service_wait(const struct service *s, int port)
{
    int64_t deadline = tw_now_ns() + 20 * TW_SEC_NS;

    while (!service_listens(port)) {
        cr_assert(tw_now_ns() < deadline, "the service of %s does not listen", s->dir);
        tw_sleep_ns(10 * TW_MSEC_NS);
    }
}

static inline struct tw_slot service_slot(struct tw_load *load, struct tw_load_order order)
{
    struct tw_err err = {0};
    struct tw_slot slot;

    order.settle_s = order.settle_s > 0 ? order.settle_s : 5;
    cr_assert(tw_load_slot(load, &order, &slot, &err) == 0, "%s", err.text);
    return slot;
}

static inline void service_slot_free(struct tw_slot *slot)
{
    tw_hist_free(slot->latency);
    free((void *)slot->starts_ns);
}

/* One slot that sent something, closed loop; what failed, and the load closed. */
static inline struct tw_slot service_try(const struct tw_load_spec *spec, int64_t length_ns,
                                         struct tw_arena *a, struct tw_load **load,
                                         struct tw_load_failures *failures)
{
    struct tw_load_order order = {.rate_per_s = NAN, .length_ns = length_ns, .seed = 1};
    struct tw_err err = {0};
    struct tw_slot slot;

    cr_assert(tw_load_open(spec, load, &err) == 0, "%s", err.text);
    do { /* a machine busy elsewhere may let the whole slot pass */
        slot = service_slot(*load, order);
        if (slot.sent == 0)
            service_slot_free(&slot);
    } while (slot.sent == 0);
    cr_assert(tw_load_failures(*load, a, failures, NULL) == 0);
    tw_load_close(*load);
    *load = NULL;
    return slot;
}

/* The failure with this code, or NULL. */
static inline const struct tw_load_failure *
service_failure(const struct tw_load_failures *f, const char *code)
{
    for (size_t i = 0; i < f->list.count; i++)
        if (!strcmp(f->list.items[i].code, code))
            return &f->list.items[i];
    return NULL;
}
#endif
