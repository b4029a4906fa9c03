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

struct tw_client_session {
    int wire;
    pid_t pid;              /* plain child; 0: in a box */
    struct tw_sandbox *box; /* borrowed */
    int handle;
    struct tw_arena *arena;
    struct tw_client_way way[TW_ARM_COUNT];
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

static int start_child(struct tw_client_session *s, int wire, const char *program,
                       struct tw_err *err)
{
    s->pid = fork();
    if (s->pid == 0)
        become_client(wire, program);
    if (s->pid > 0)
        return 0;
    s->pid = 0;
    return tw_fail_errno(err, errno, "starting the clients");
}

static int start_in_box(struct tw_client_session *s, struct tw_sandbox *box, int wire,
                        const char *program, struct tw_err *err)
{
    const char *argv[] = {program, "_client", NULL};
    struct tw_process_spec spec = {.argv = argv,
                                   .stdin_fd = -1,
                                   .stdout_fd = -1,
                                   .stderr_fd = -1,
                                   .fds = &wire,
                                   .fd_count = 1};
    int r = tw_sandbox_start(box, &spec, &s->handle, err);

    if (r < 0)
        return tw_wrap(err, r, "starting the clients");
    s->box = box;
    return 0;
}

static struct tw_client_way own_way(struct tw_arena *a, const struct tw_client_way *w)
{
    return (struct tw_client_way){.address = tw_arena_strdup(a, w->address),
                                  .port = w->port,
                                  .device = tw_arena_strdup(a, w->device),
                                  .socket_dir = tw_arena_strdup(a, w->socket_dir)};
}

int tw_client_open(const struct tw_client_session_spec *spec, struct tw_client_session **ret,
                   struct tw_err *err)
{
    struct tw_client_session *s = tw_alloc(sizeof *s);
    int ends[2], r;

    s->wire = -1;
    s->arena = tw_arena_new();
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        s->way[arm] = own_way(s->arena, &spec->way[arm]);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        r = tw_fail_errno(err, errno, "making the wire to the clients");
        tw_client_close(s);
        return r;
    }
    s->wire = ends[0];
    r = spec->box ? start_in_box(s, spec->box, ends[1], spec->program, err)
                  : start_child(s, ends[1], spec->program, err);
    (void)close(ends[1]); /* so that its death is heard */
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

void tw_client_close(struct tw_client_session *s)
{
    int status;

    if (!s)
        return;
    tw_close_p(&s->wire);
    if (s->pid > 0)
        end_child(s->pid);
    if (s->box && tw_sandbox_wait(s->box, s->handle, tw_now_ns() + LEAVE_NS, &status, NULL) < 0)
        (void)tw_sandbox_signal(s->box, s->handle, SIGKILL, NULL);
    tw_arena_free(s->arena);
    free(s);
}

/* The clients' sandbox does not see files of this host: the text goes over the wire. */
static int read_ca(struct tw_arena *a, const struct tw_clients *cases, struct client_order *o,
                   struct tw_err *err)
{
    for (size_t i = 0; i < cases->list.count; i++) {
        const char *path = cases->list.items[i].ca_file;
        tw_auto_free char *text = NULL;
        int r = path ? tw_read_file(AT_FDCWD, path, CA_MAX, &text, NULL, err) : 0;

        if (r < 0)
            return tw_wrap(err, r, "ca_file of client '%s'",
                           tw_client_name(a, &cases->list.items[i]));
        TW_PUSH(a, &o->ca, tw_arena_strdup(a, text));
    }
    return 0;
}

static int take_answers(struct tw_arena *a, const struct tw_buf *text, size_t n,
                        struct tw_client_answers ret[TW_ARM_COUNT], struct tw_err *err)
{
    json_auto_t *json = json_loadb(tw_buf_text(text), text->len, 0, NULL);

    if (json_array_size(json) != n * TW_ARM_COUNT)
        return tw_fail(err, -EBADMSG, "the clients gave an answer that makes no sense");
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        ret[arm] = (struct tw_client_answers){0};
        for (size_t i = 0; i < n; i++) {
            struct tw_client_answer answer;

            client_answer_read(a, json_array_get(json, i * TW_ARM_COUNT + (size_t)arm),
                               &answer);
            TW_PUSH(a, &ret[arm].list, answer);
        }
    }
    return 0;
}

int tw_client_try(struct tw_client_session *s, struct tw_arena *a,
                  const struct tw_clients *cases, double deadline_s, bool whole,
                  struct tw_client_answers ret[TW_ARM_COUNT], struct tw_err *err)
{
    struct client_order o = {.cases = *cases, .deadline_s = deadline_s, .whole = whole};
    int64_t deadline = tw_now_ns() + (int64_t)(deadline_s * 1e9) + SILENCE_NS;
    tw_auto_free char *order = NULL;
    tw_auto_buf answer = {0};
    int r = read_ca(a, cases, &o, err);

    if (r < 0)
        return r;
    memcpy(o.way, s->way, sizeof o.way);
    order = client_order_write(&o);
    tw_buf_init(&answer, CLIENT_WIRE_MAX);
    r = client_send(s->wire, order, deadline);
    if (r == 0)
        r = client_receive(s->wire, &answer, deadline);
    if (r < 0)
        return tw_fail(err, r, "the clients %s",
                       r == -EPIPE       ? "died"
                       : r == -ETIMEDOUT ? "have gone silent"
                                         : "gave an answer that makes no sense");
    return take_answers(a, &answer, cases->list.count, ret, err);
}
