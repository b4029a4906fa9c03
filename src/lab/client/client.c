/* A session as its caller sees it: the process started, told what to try, listened to. */
#include "client_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SILENCE_NS (20 * TW_SEC_NS) /* over the deadline of the tries: a busy machine */
#define LEAVE_NS   (2 * TW_SEC_NS)
#define CA_MAX     ((size_t)1 << 20)

/* One process: of the network, of the inside of one arm, or a plain child for everything. */
enum place { NETWORK, INSIDE_BASELINE, INSIDE_CANDIDATE, PLACE_COUNT };
struct part {
    bool open;
    int wire;
    pid_t pid;              /* plain child; 0: in a box */
    struct tw_sandbox *box; /* borrowed */
    int handle;
    struct tw_client_way way[TW_ARM_COUNT];
};
struct tw_client_session {
    struct tw_arena *arena;
    bool plain;
    struct part parts[PLACE_COUNT];
};

static void __attribute__((noreturn)) become_client(int wire, const char *program)
{
    char name[] = "twin", verb[] = "_client";
    char *argv[] = {name, verb, NULL};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (wire == CLIENT_WIRE_FD)
        (void)fcntl(wire, F_SETFD, 0);
    else if (dup2(wire, CLIENT_WIRE_FD) < 0)
        _exit(126);
    (void)close_range(CLIENT_WIRE_FD + 1, ~0U, 0);
    if (program) {
        (void)execv(program, argv);
        _exit(127);
    }
    _exit(tw_client_main(2, argv));
}

static int start_child(struct part *p, int wire, const char *program, struct tw_err *err)
{
    p->pid = fork();
    if (p->pid == 0)
        become_client(wire, program);
    if (p->pid > 0)
        return 0;
    p->pid = 0;
    return tw_fail_errno(err, errno, "starting the clients");
}

/* The program comes as a descriptor: no sandbox need show it at a path. */
static int start_in_box(struct part *p, struct tw_sandbox *box, int wire,
                        const char *program, struct tw_err *err)
{
    tw_auto_close int file = open(program, O_RDONLY | O_CLOEXEC);
    const char *argv[] = {"/proc/self/fd/4", "_client", NULL};
    const int fds[] = {wire, file};
    struct tw_process_spec spec = {.argv = argv,
                                   .stdin_fd = -1,
                                   .stdout_fd = -1,
                                   .stderr_fd = -1,
                                   .fds = fds,
                                   .fd_count = TW_COUNT_OF(fds)};
    int r = file < 0 ? tw_fail_errno(err, errno, "'%s'", program)
                     : tw_sandbox_start(box, &spec, &p->handle, err);

    if (r < 0)
        return tw_wrap(err, r, "starting the clients");
    p->box = box;
    return 0;
}

static struct tw_client_way own_way(struct tw_arena *a, const struct tw_client_way *w)
{
    return (struct tw_client_way){.address = tw_arena_strdup(a, w->address),
                                  .port = w->port,
                                  .device = tw_arena_strdup(a, w->device),
                                  .socket_dir = tw_arena_strdup(a, w->socket_dir)};
}

static int open_part(struct tw_client_session *s, enum place place,
                     struct tw_sandbox *box, const char *program,
                     const struct tw_client_way way[TW_ARM_COUNT], struct tw_err *err)
{
    struct part *p = &s->parts[place];
    int ends[2], r;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        p->way[arm] = own_way(s->arena, &way[arm]);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return tw_fail_errno(err, errno, "making the wire to the clients");
    p->open = true;
    p->wire = ends[0];
    r = box ? start_in_box(p, box, ends[1], program, err)
            : start_child(p, ends[1], program, err);
    (void)close(ends[1]); /* so that its death is heard */
    return r;
}

int tw_client_open(const struct tw_client_session_spec *spec,
                   struct tw_client_session **ret, struct tw_err *err)
{
    struct tw_client_session *s = tw_alloc(sizeof *s);
    int r = 0;

    s->arena = tw_arena_new();
    s->plain = spec->plain;
    for (int i = 0; i < PLACE_COUNT; i++)
        s->parts[i].wire = -1;
    if (spec->plain || spec->box)
        r = open_part(s, NETWORK, spec->box, spec->program, spec->way, err);
    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++)
        if (spec->inside[arm])
            r = open_part(s, arm == TW_BASELINE ? INSIDE_BASELINE : INSIDE_CANDIDATE,
                          spec->inside[arm], spec->program, spec->inside_way, err);
    if (r < 0) {
        tw_client_close(s);
        return r;
    }
    tw_step("client.process.started");
    *ret = s;
    return 0;
}

static void end_child(pid_t pid)
{
    int64_t deadline = tw_now_ns() + LEAVE_NS;
    pid_t r;

    while ((r = waitpid(pid, NULL, WNOHANG)) == 0 && tw_now_ns() < deadline)
        tw_sleep_ns(TW_MSEC_NS / 2);
    if (r != 0)
        return;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void close_part(struct part *p)
{
    int status;

    tw_close_p(&p->wire);
    if (p->pid > 0)
        end_child(p->pid);
    if (p->box &&
        tw_sandbox_wait(p->box, p->handle, tw_now_ns() + LEAVE_NS, &status, NULL) < 0)
        (void)tw_sandbox_signal(p->box, p->handle, SIGKILL, NULL);
}

void tw_client_close(struct tw_client_session *s)
{
    if (!s)
        return;
    for (int i = 0; i < PLACE_COUNT; i++)
        close_part(&s->parts[i]);
    tw_arena_free(s->arena);
    free(s);
}

/* ---- trying ---- */

bool tw_client_is_inside(const struct tw_client *c)
{
    const char *source = c->source ? c->source : "";

    return (c->address && *c->address == '/') || tw_starts_with(source, "127.") ||
           tw_streq(source, "::1");
}

/* The clients' sandbox does not see files of this host: the text goes over the wire. */
static int read_ca(struct tw_arena *a, const struct tw_client *c, struct client_order *o,
                   struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    int r = c->ca_file ? tw_read_file(AT_FDCWD, c->ca_file, CA_MAX, &text, NULL, err) : 0;

    if (r < 0)
        return tw_wrap(err, r, "ca_file of client '%s'", tw_client_name(a, c));
    TW_PUSH(a, &o->ca, tw_arena_strdup(a, text));
    return 0;
}

/* The cases of one place, in their order; ret_index says which they are. */
struct share {
    struct client_order order;
    TW_ARRAY(size_t) index;
};

static bool belongs(const struct tw_client_session *s, int place,
                    const struct tw_client *c)
{
    return s->plain ? place == NETWORK : tw_client_is_inside(c) == (place != NETWORK);
}

static int make_share(const struct tw_client_session *s, struct tw_arena *a, int place,
                      const struct tw_clients *cases, struct share *share,
                      struct tw_err *err)
{
    memcpy(share->order.way, s->parts[place].way, sizeof share->order.way);
    share->order.arms[TW_BASELINE] = place != INSIDE_CANDIDATE;
    share->order.arms[TW_CANDIDATE] = place != INSIDE_BASELINE;
    for (size_t i = 0; i < cases->list.count; i++) {
        int r;

        if (!belongs(s, place, &cases->list.items[i]))
            continue;
        TW_PUSH(a, &share->order.cases.list, cases->list.items[i]);
        TW_PUSH(a, &share->index, i);
        r = read_ca(a, &cases->list.items[i], &share->order, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_answers(struct tw_arena *a, const struct tw_buf *text,
                        const struct share *share,
                        struct tw_client_answers ret[TW_ARM_COUNT], struct tw_err *err)
{
    json_auto_t *json = json_loadb(tw_buf_text(text), text->len, 0, NULL);
    size_t n = share->index.count;

    if (json_array_size(json) != n * TW_ARM_COUNT)
        return tw_fail(err, -EBADMSG, "the clients gave an answer that makes no sense");
    for (size_t i = 0; i < n; i++)
        for (size_t arm = 0; arm < TW_ARM_COUNT; arm++)
            if (share->order.arms[arm])
                client_answer_read(a, json_array_get(json, i * TW_ARM_COUNT + arm),
                                   &ret[arm].list.items[share->index.items[i]]);
    return 0;
}

static int fail_wire(int r, struct tw_err *err)
{
    return tw_fail(err, r, "the clients %s",
                   r == -EPIPE       ? "died"
                   : r == -ETIMEDOUT ? "have gone silent"
                                     : "gave an answer that makes no sense");
}

/* Until a place answers: nobody was there to try it. */
static void blank(struct tw_arena *a, size_t n,
                  struct tw_client_answers ret[TW_ARM_COUNT])
{
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        ret[arm] = (struct tw_client_answers){0};
        for (size_t i = 0; i < n; i++)
            TW_PUSH(a, &ret[arm].list,
                    (struct tw_client_answer){.end = TW_CLIENT_UNTRIED,
                                              .words = "nobody of ours stands there"});
    }
}

int tw_client_try(struct tw_client_session *s, struct tw_arena *a,
                  const struct tw_clients *cases, double deadline_s, bool whole,
                  struct tw_client_answers ret[TW_ARM_COUNT], struct tw_err *err)
{
    int64_t deadline = tw_now_ns() + (int64_t)(deadline_s * 1e9) + SILENCE_NS;
    struct share shares[PLACE_COUNT] = {0};
    int r = 0;

    blank(a, cases->list.count, ret);
    for (int i = 0; i < PLACE_COUNT && r == 0;
         i++) { /* all are told before one is heard */
        tw_auto_free char *order = NULL;

        if (!s->parts[i].open)
            continue;
        shares[i].order.deadline_s = deadline_s;
        shares[i].order.whole = whole;
        r = make_share(s, a, i, cases, &shares[i], err);
        if (r < 0)
            return r;
        if (shares[i].index.count == 0)
            continue;
        order = client_order_write(&shares[i].order);
        r = client_send(s->parts[i].wire, order, deadline);
        if (r < 0)
            return fail_wire(r, err);
    }
    for (int i = 0; i < PLACE_COUNT && r == 0; i++) {
        tw_auto_buf answer = {0};

        if (!s->parts[i].open || shares[i].index.count == 0)
            continue;
        tw_buf_init(&answer, CLIENT_WIRE_MAX);
        r = client_receive(s->parts[i].wire, &answer, deadline);
        if (r < 0)
            return fail_wire(r, err);
        r = take_answers(a, &answer, &shares[i], ret, err);
    }
    return r;
}
