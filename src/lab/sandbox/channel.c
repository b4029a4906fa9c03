/* The supervisor's side of an init: requests, handles, ends. */
#include "init_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPLY_NS (15 * TW_SEC_NS)
#define DEATH_CHECK_NS                                                                   \
    (20 * TW_MSEC_NS) /* a waiter looks this often whether init is alive */

/* ---- making ---- */

void channel_init(struct channel *c, const char *name)
{
    c->name = tw_strf("%s", name);
    c->control = c->events = c->poll_fd = c->pidfd = c->board_fd = -1;
}

void channel_done(struct channel *c)
{
    tw_close_p(&c->control);
    tw_close_p(&c->events);
    tw_close_p(&c->poll_fd);
    tw_close_p(&c->pidfd);
    tw_close_p(&c->board_fd);
    if (c->board)
        (void)munmap(c->board, sizeof *c->board);
    free(c->name);
}

int channel_make(struct channel *c, bool shared, struct tw_err *err)
{
    /* one count per end that nobody has collected yet */
    c->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (c->events >= 0 && c->events < 3) {
        int low = c->events;

        c->events = fcntl(low, F_DUPFD_CLOEXEC, 3);
        (void)close(low);
    }
    if (shared) {
        c->board_fd = memfd_create("twin-board", MFD_CLOEXEC);
        if (c->board_fd < 0 || ftruncate(c->board_fd, sizeof *c->board) < 0)
            return tw_fail_errno(err, errno, "making the board of the sandbox");
    }
    c->board = mmap(NULL, sizeof *c->board, PROT_READ | PROT_WRITE,
                    MAP_SHARED | (shared ? 0 : MAP_ANONYMOUS), c->board_fd, 0);
    if (c->board == MAP_FAILED)
        c->board = NULL;
    if (c->events < 0 || !c->board)
        return tw_fail_errno(err, errno, "making the channels to the sandbox");
    return 0;
}

int channel_watch(struct channel *c, struct tw_err *err)
{
    struct epoll_event event = {.events = EPOLLIN};

    c->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->poll_fd < 0 || epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, c->events, &event) < 0 ||
        epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, c->pidfd, &event) < 0)
        return tw_fail_errno(err, errno, "watching the sandbox");
    return 0;
}

/* That it ends with its supervisor is what removes it; the record is for the rare rest.
 */
int channel_record(struct tw_priv *priv, pid_t pid, int64_t *ret_token,
                   struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("/proc/%d/stat", (int)pid), *stat = NULL,
                      *value = NULL;
    int64_t started = -1;
    char *field;

    if (tw_read_file(AT_FDCWD, path, 4096, &stat, NULL, NULL) < 0)
        return tw_fail(err, -ECHILD, "the init of the sandbox died at once");
    field = strrchr(stat, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (field)
        (void)sscanf(field, " %" SCNd64, &started);
    value = tw_strf("%d %" PRId64, (int)pid, started);
    return tw_priv_intend(priv, TW_INTENT_PROCESS, value, ret_token, err);
}

/* When init has given up, what it says is the cause, and what we met is the consequence.
 */
static int prefer_its_word(const struct channel *c, int r, struct tw_err *err)
{
    return c->board->err.code < 0
               ? tw_fail(err, c->board->err.code, "%s", c->board->err.text)
               : r;
}

int channel_await(struct channel *c, int32_t *ret_result, struct tw_err *err)
{
    struct pollfd fd = {c->control, POLLIN, 0};
    struct init_reply reply;
    int64_t deadline = tw_now_ns() + REPLY_NS;
    ssize_t got;
    int r;

    do
        r = poll(&fd, 1, (int)((deadline - tw_now_ns()) / TW_MSEC_NS) + 1);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return tw_fail(err, -ETIMEDOUT, "sandbox '%s' did not answer within %d s",
                       c->name, (int)(REPLY_NS / TW_SEC_NS));
    got = recv(c->control, &reply, sizeof reply, MSG_DONTWAIT);
    if (got != (ssize_t)sizeof reply)
        return prefer_its_word(
            c, tw_fail(err, -ECHILD, "the init of sandbox '%s' died", c->name), err);
    *ret_result = reply.result;
    return 0;
}

int channel_go(struct channel *c, struct tw_err *err)
{
    struct init_request go = {.op = INIT_GO, .size = sizeof go};

    return send(c->control, &go, sizeof go, MSG_NOSIGNAL) < 0 && errno != EPIPE
               ? tw_fail_errno(err, errno, "telling the sandbox to go on")
               : 0;
}

/* ---- requests ---- */

static struct init_slot *find_slot(struct channel *c, int handle, uint32_t *ret_index,
                                   struct tw_err *err)
{
    uint32_t index = (uint32_t)handle % INIT_SLOTS;

    if (handle < 0 || !c->used[index] ||
        c->generation[index] != (uint32_t)handle / INIT_SLOTS) {
        (void)tw_fail(err, -ESRCH, "sandbox '%s' has no process %d", c->name, handle);
        return NULL;
    }
    *ret_index = index;
    return &c->board->slots[index];
}

int channel_check_awake(const struct channel *c, struct tw_err *err)
{
    return c->frozen
               ? tw_fail(err, -EBUSY, "sandbox '%s' is frozen: thaw it first", c->name)
               : 0;
}

static int ask(struct channel *c, struct init_request *q, const char *strings,
               size_t size, const int *fds, size_t fd_count, struct tw_err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * (INIT_FDS_MAX + 3))];
    } control = {0};
    struct iovec parts[] = {{q, sizeof *q}, {(void *)(uintptr_t)strings, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size ? 2 : 1};
    int32_t result = 0;
    int r;

    q->size = (uint32_t)(sizeof *q + size);
    if (fd_count > 0) {
        struct cmsghdr *head;

        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    if (sendmsg(c->control, &message, MSG_NOSIGNAL) < 0)
        return errno == EPIPE || errno == ECONNRESET
                   ? tw_fail(err, -ECHILD, "the init of sandbox '%s' died", c->name)
                   : tw_fail_errno(err, errno, "asking sandbox '%s'", c->name);
    r = channel_await(c, &result, err);
    return r < 0 ? r : result;
}

static uint32_t add_strings(struct tw_buf *b, const char *const *list)
{
    uint32_t count = 0;

    for (; list && list[count]; count++)
        tw_buf_add(b, list[count], strlen(list[count]) + 1);
    return count;
}

static int take_slot(struct channel *c, uint32_t *ret_index, struct tw_err *err)
{
    for (uint32_t i = 0; i < INIT_SLOTS; i++) {
        if (!c->used[i]) {
            c->used[i] = true;
            c->generation[i] = (c->generation[i] + 1) % (INT32_MAX / INIT_SLOTS);
            atomic_store(&c->board->slots[i].state, INIT_FREE);
            *ret_index = i;
            return 0;
        }
    }
    return tw_fail(err, -EAGAIN, "sandbox '%s' has %d processes already", c->name,
                   INIT_SLOTS);
}

/* A request with all that a process needs. */
struct parcel {
    struct init_request q;
    int fds[INIT_FDS_MAX + 3];
    size_t fd_count;
    struct tw_buf strings; /* owned */
};

static int pack(struct parcel *p, const struct tw_process_spec *spec, struct tw_err *err)
{
    const int stdio[3] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
    const char *cwd = spec->cwd ? spec->cwd : "/";

    tw_buf_init(&p->strings, INIT_REQUEST_MAX - sizeof p->q);
    if (spec->fd_count < 0 || spec->fd_count > INIT_FDS_MAX)
        return tw_fail(err, -EINVAL, "%d descriptors for one process: at most %d",
                       spec->fd_count, INIT_FDS_MAX);
    for (int i = 0; i < 3; i++) {
        p->q.has_stdio[i] = stdio[i] >= 0;
        if (p->q.has_stdio[i])
            p->fds[p->fd_count++] = stdio[i];
    }
    for (int i = 0; i < spec->fd_count; i++)
        p->fds[p->fd_count++] = spec->fds[i];
    p->q.fd_count = (uint32_t)spec->fd_count;
    p->q.nofile = spec->nofile;
    p->q.nofile_hard = spec->nofile_hard;
    p->q.argc = add_strings(&p->strings, spec->argv);
    p->q.envc = add_strings(&p->strings, spec->env);
    tw_buf_add(&p->strings, cwd, strlen(cwd) + 1);
    if (p->strings.overflow || p->q.argc + p->q.envc + 3 > INIT_ARGS_MAX)
        return tw_fail(err, -E2BIG, "the arguments of '%s' are too long", spec->argv[0]);
    return 0;
}

static int send_parcel(struct channel *c, struct parcel *p, struct tw_err *err)
{
    return ask(c, &p->q, p->strings.data, p->strings.len, p->fds, p->fd_count, err);
}

static int cannot_start(const struct channel *c, const char *program, int r,
                        struct tw_err *err)
{
    if (r == -ECHILD || r == -ETIMEDOUT)
        return r;
    return tw_fail_errno(err, -r, "starting '%s' in sandbox '%s'", program, c->name);
}

int channel_start(struct channel *c, const struct tw_process_spec *spec, int *ret_handle,
                  struct tw_err *err)
{
    struct parcel p = {.q = {.op = INIT_START}};
    int r = channel_check_awake(c, err);

    if (r < 0)
        return r;
    r = pack(&p, spec, err);
    if (r == 0)
        r = take_slot(c, &p.q.slot, err);
    if (r == 0) {
        r = send_parcel(c, &p, err);
        if (r < 0) {
            c->used[p.q.slot] = false;
            r = cannot_start(c, spec->argv[0], r, err);
        }
    }
    tw_buf_done(&p.strings);
    if (r < 0)
        return r;
    tw_step("sandbox.process.started");
    *ret_handle = (int)(c->generation[p.q.slot] * INIT_SLOTS + p.q.slot);
    return 0;
}

/* Its end of the socket closes when it becomes the program: the end of the talk is the answer. */
int channel_boot(struct channel *c, const struct tw_process_spec *spec,
                 struct tw_err *err)
{
    struct parcel p = {.q = {.op = INIT_BOOT}};
    struct tw_err unused;
    int r = channel_check_awake(c, err);

    if (r < 0)
        return r;
    r = pack(&p, spec, err);
    if (r == 0) {
        r = send_parcel(c, &p, &unused);
        if (r == -ECHILD)
            r = 0;
        else if (r < 0)
            r = cannot_start(c, spec->argv[0], r, err);
    }
    tw_buf_done(&p.strings);
    return r;
}

int channel_signal(struct channel *c, int handle, int signal, struct tw_err *err)
{
    struct init_request q = {.op = INIT_SIGNAL, .signal = signal};
    int r = channel_check_awake(c, err);

    if (r < 0)
        return r;
    if (!find_slot(c, handle, &q.slot, err))
        return -ESRCH;
    r = ask(c, &q, NULL, 0, NULL, 0, err);
    if (r == -ESRCH || r == -EPERM || r == -EINVAL)
        return tw_fail_errno(err, -r, "sending signal %d in sandbox '%s'", signal,
                             c->name);
    return r;
}

static bool init_is_dead(const struct channel *c)
{
    struct pollfd fd = {c->pidfd, POLLIN, 0};

    return poll(&fd, 1, 0) > 0;
}

int channel_wait(struct channel *c, int handle, int64_t deadline_ns, int *ret_status,
                 struct tw_err *err)
{
    struct init_slot *slot;
    uint32_t index;
    uint64_t one;

    slot = find_slot(c, handle, &index, err);
    if (!slot)
        return -ESRCH;
    while (atomic_load(&slot->state) != INIT_ENDED) {
        int64_t left = deadline_ns - tw_now_ns();
        int64_t slice = left < DEATH_CHECK_NS ? left : DEATH_CHECK_NS;
        struct timespec t = {.tv_nsec = slice > 0 ? slice : 0};

        if (init_is_dead(c) && atomic_load(&slot->state) != INIT_ENDED)
            return tw_fail(err, -ECHILD, "the init of sandbox '%s' died", c->name);
        if (left <= 0)
            return tw_fail(err, -ETIMEDOUT, "a process in sandbox '%s' is still running",
                           c->name);
        (void)syscall(SYS_futex, &slot->state, FUTEX_WAIT, INIT_RUNNING, &t, NULL, 0);
    }
    (void)!read(c->events, &one, sizeof one);
    *ret_status = slot->status;
    c->used[index] = false;
    return 0;
}
