/* Simulations in worker processes: the most urgent first, so many at once, each with a time-out. One
 * thread starts them, reads what they tell and buries them; a worker dies with that thread. */
#include "run_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PARALLEL  10
#define DEFAULT_TIMEOUT_S 1800.0
#define GRACE_NS          (30 * TW_SEC_NS) /* from TERM to KILL: tearing down takes its time */
#define LINE_MAX_BYTES    ((size_t)64 << 20)
#define MAX_PARALLEL      256

struct entry {
    struct entry *next;
    struct tw_arena *arena; /* owned: of the job's texts */
    struct tw_job job;
    uint64_t order;
    bool cancel; /* asked for, under lock */
    /* while it runs */
    pid_t pid;
    int out;
    struct tw_buf line;
    int64_t begun_ns, told_ns; /* told: TERM was sent */
    bool timed_out, cancelled;
    json_t *body; /* owned */
    bool refused;
};

struct tw_queue {
    struct tw_queue_options o;
    char *program, *state_dir, *policy_path;
    pthread_t thread;
    bool running;
    int wake;
    pthread_mutex_t lock; /* of all below */
    struct entry *waiting, *active;
    uint64_t orders;
    struct tw_queue_counts counts;
    bool closing;
};

static void entry_free(struct entry *e)
{
    tw_close_p(&e->out);
    tw_buf_done(&e->line);
    json_decref(e->body);
    tw_arena_free(e->arena);
    free(e);
}

/* ---- starting a worker ---- */

static char *make_input(const struct tw_queue *q, const struct tw_job *job)
{
    json_auto_t *json =
        json_pack("{s:s, s:s, s:s, s:s?}", "verb", job->verb, "simulation",
                  job->simulation, "state_dir", q->state_dir, "policy", q->policy_path);

    return tw_json_dump(json, JSON_COMPACT);
}

/* Input stands in memory: nobody waits for a worker to read it. */
static int open_input(const char *text)
{
    size_t len = strlen(text), at = 0;
    int fd = memfd_create("job", MFD_CLOEXEC);

    while (fd >= 0 && at < len) {
        ssize_t n = write(fd, text + at, len - at);

        if (n < 0 && errno != EINTR) {
            (void)close(fd);
            return -1;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

/* In the child: only async-signal-safe calls. */
static void become(const struct tw_queue *q, int in, int out, pid_t parent)
{
    static const int back[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD};
    char *argv[] = {q->program, (char[]){"_worker"}, NULL};
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < TW_COUNT_OF(back); i++)
        (void)signal(back[i], SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
        setpgid(0, 0) < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
        _exit(127);
    (void)execv(q->program, argv);
    _exit(127);
}

static int start_worker(struct tw_queue *q, struct entry *e)
{
    tw_auto_free char *input = make_input(q, &e->job);
    tw_auto_close int in = open_input(input);
    int out[2] = {-1, -1};
    pid_t parent = getpid(), pid;

    if (in < 0 || pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0)
        become(q, in, out[1], parent);
    (void)close(out[1]);
    if (pid < 0) {
        int errnum = errno;

        (void)close(out[0]);
        return -errnum;
    }
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    e->pid = pid;
    e->out = out[0];
    e->begun_ns = tw_now_ns();
    return 0;
}

/* ---- the end of one ---- */

static void finish(struct tw_queue *q, struct entry *e, const char *why)
{
    struct tw_job_end end = {.job = &e->job,
                             .body = e->body,
                             .refused = e->refused,
                             .cancelled = e->cancelled,
                             .timed_out = e->timed_out,
                             .why = why,
                             .seconds =
                                 e->begun_ns ? tw_seconds(tw_now_ns() - e->begun_ns) : 0};

    q->o.ended(q->o.arg, &end);
    entry_free(e);
}

static char *death_of(struct tw_queue *q, const struct entry *e, int status)
{
    if (e->timed_out)
        return tw_strf("it was stopped after %.0f minutes (simulation.timeout_minutes)",
                       q->o.timeout_s / 60);
    if (e->cancelled)
        return tw_strf("it was cancelled");
    if (WIFSIGNALED(status))
        return tw_strf(
            "its worker process was ended by signal %d (%s); what it had made is "
            "removed; run it again",
            WTERMSIG(status), strsignal(WTERMSIG(status)));
    return tw_strf(
        "its worker process ended with exit code %d and no answer; the daemon's log "
        "has what it said",
        WEXITSTATUS(status));
}

static bool has_answer(const struct entry *e)
{
    const char *status = json_string_value(json_object_get(e->body, "status"));

    return e->body && !tw_streq(status, "cancelled");
}

static void bury(struct tw_queue *q, struct entry *e)
{
    tw_auto_free char *why = NULL;
    int status = 0;

    while (waitpid(e->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!e->body)
        why = death_of(q, e, status);
    (void)pthread_mutex_lock(&q->lock);
    q->counts.running--;
    (void)pthread_mutex_unlock(&q->lock);
    if (e->told_ns && !e->timed_out && !e->cancelled && !has_answer(e) &&
        tw_streq(e->job.verb, "run"))
        entry_free(e); /* the daemon ends: the next start takes it up */
    else
        finish(q, e, why);
}

/* ---- what a worker tells ---- */

static void read_event(struct tw_queue *q, struct entry *e, const char *line, size_t len)
{
    json_auto_t *event = json_loadb(line, len, 0, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));

    if (tw_streq(name, "result")) {
        json_decref(e->body);
        e->body = json_incref(json_object_get(event, "body"));
        e->refused = json_is_true(json_object_get(event, "refused"));
    } else if (name && q->o.event) {
        q->o.event(q->o.arg, &e->job, event);
    }
}

/* false: the worker has closed its end. */
static bool read_events(struct tw_queue *q, struct entry *e)
{
    char part[65536];
    ssize_t n;

    while ((n = read(e->out, part, sizeof(part))) > 0) {
        const char *from = part, *end = part + n, *newline;

        while ((newline = memchr(from, '\n', (size_t)(end - from)))) {
            tw_buf_add(&e->line, from, (size_t)(newline - from));
            read_event(q, e, tw_buf_text(&e->line), e->line.len);
            tw_buf_clear(&e->line);
            from = newline + 1;
        }
        tw_buf_add(&e->line, from, (size_t)(end - from));
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- the thread ---- */

static struct entry *most_urgent(struct tw_queue *q)
{
    struct entry **best = NULL, *e;

    for (struct entry **at = &q->waiting; *at; at = &(*at)->next)
        if (!best || (*at)->job.priority > (*best)->job.priority ||
            ((*at)->job.priority == (*best)->job.priority &&
             (*at)->order < (*best)->order))
            best = at;
    if (!best)
        return NULL;
    e = *best;
    *best = e->next;
    q->counts.waiting--;
    return e;
}

static struct entry *next_to_start(struct tw_queue *q)
{
    struct entry *e = NULL;

    (void)pthread_mutex_lock(&q->lock);
    if (!q->closing && q->counts.running < q->o.max_parallel)
        e = most_urgent(q);
    if (e)
        q->counts.running++;
    (void)pthread_mutex_unlock(&q->lock);
    return e;
}

static void start_some(struct tw_queue *q)
{
    struct entry *e;

    while ((e = next_to_start(q))) {
        int r = start_worker(q, e);

        if (r == 0) {
            (void)pthread_mutex_lock(&q->lock);
            e->next = q->active;
            q->active = e;
            (void)pthread_mutex_unlock(&q->lock);
            if (q->o.started)
                q->o.started(q->o.arg, &e->job);
        } else {
            tw_auto_free char *why =
                tw_strf("no worker process could be started: %s", strerror(-r));

            (void)pthread_mutex_lock(&q->lock);
            q->counts.running--;
            (void)pthread_mutex_unlock(&q->lock);
            finish(q, e, why);
        }
    }
}

/* Cancelled before they began. */
static void drop_cancelled(struct tw_queue *q)
{
    struct entry *gone = NULL;

    (void)pthread_mutex_lock(&q->lock);
    for (struct entry **at = &q->waiting, *e; (e = *at);) {
        if (!e->cancel) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        e->next = gone;
        gone = e;
        e->cancelled = true;
        q->counts.waiting--;
    }
    (void)pthread_mutex_unlock(&q->lock);
    for (struct entry *e = gone, *next; e; e = next) {
        next = e->next;
        finish(q, e, "it was cancelled before it began");
    }
}

static void look_after(struct tw_queue *q, struct entry *e, int64_t now, bool closing)
{
    bool late = tw_seconds(now - e->begun_ns) > q->o.timeout_s;
    bool cancel;

    (void)pthread_mutex_lock(&q->lock);
    cancel = e->cancel;
    (void)pthread_mutex_unlock(&q->lock);
    if (!e->told_ns && (late || cancel || closing)) {
        e->timed_out = late && !cancel;
        e->cancelled = cancel;
        e->told_ns = now;
        (void)kill(e->pid, SIGTERM);
    }
    if (e->told_ns && now - e->told_ns > GRACE_NS)
        (void)kill(e->pid, SIGKILL);
}

static void unlink_active(struct tw_queue *q, struct entry *e)
{
    (void)pthread_mutex_lock(&q->lock);
    for (struct entry **at = &q->active; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    (void)pthread_mutex_unlock(&q->lock);
}

static bool is_closing(struct tw_queue *q)
{
    bool closing;

    (void)pthread_mutex_lock(&q->lock);
    closing = q->closing;
    (void)pthread_mutex_unlock(&q->lock);
    return closing;
}

/* One round: waits for something to happen, at most a little. */
static void watch(struct tw_queue *q, bool closing)
{
    struct pollfd fds[MAX_PARALLEL + 1] = {{.fd = q->wake, .events = POLLIN}};
    struct entry *entries[MAX_PARALLEL];
    nfds_t n = 0;
    uint64_t count;

    /* Only this thread changes the list, so it may be walked without the lock. */
    for (struct entry *e = q->active; e && n < MAX_PARALLEL; e = e->next) {
        entries[n++] = e;
        fds[n] = (struct pollfd){.fd = e->out, .events = POLLIN};
    }
    (void)poll(fds, n + 1, n ? 250 : 1000);
    (void)!read(q->wake, &count, sizeof(count));
    for (nfds_t i = 0; i < n; i++) {
        look_after(q, entries[i], tw_now_ns(), closing);
        if (fds[i + 1].revents && !read_events(q, entries[i])) {
            unlink_active(q, entries[i]);
            bury(q, entries[i]);
        }
    }
}

static void *queue_main(void *arg)
{
    struct tw_queue *q = arg;
    bool closing = false;

    while (!closing || q->active) {
        closing = is_closing(q);
        drop_cancelled(q);
        if (!closing)
            start_some(q);
        if (!closing || q->active)
            watch(q, closing);
    }
    return NULL;
}

static void wake(struct tw_queue *q)
{
    static const uint64_t one = 1;

    (void)!write(q->wake, &one, sizeof(one));
}

/* ---- the door ---- */

void tw_queue_add(struct tw_queue *q, const struct tw_job *job)
{
    struct entry *e = tw_alloc(sizeof(*e));

    e->arena = tw_arena_new();
    e->out = -1;
    tw_buf_init(&e->line, LINE_MAX_BYTES);
    e->job = (struct tw_job){.id = tw_arena_strdup(e->arena, job->id),
                             .verb = tw_arena_strdup(e->arena, job->verb),
                             .priority = job->priority,
                             .simulation = tw_arena_strdup(e->arena, job->simulation),
                             .environment = tw_arena_strdup(e->arena, job->environment),
                             .target = tw_arena_strdup(e->arena, job->target),
                             .type = tw_arena_strdup(e->arena, job->type)};
    (void)pthread_mutex_lock(&q->lock);
    e->order = q->orders++;
    e->next = q->waiting;
    q->waiting = e;
    q->counts.waiting++;
    (void)pthread_mutex_unlock(&q->lock);
    wake(q);
}

static bool mark(struct entry *list, const char *id)
{
    for (struct entry *e = list; e; e = e->next)
        if (tw_streq(e->job.id, id)) {
            e->cancel = true;
            return true;
        }
    return false;
}

bool tw_queue_cancel(struct tw_queue *q, const char *id)
{
    bool here;

    (void)pthread_mutex_lock(&q->lock);
    here = mark(q->waiting, id) || mark(q->active, id);
    (void)pthread_mutex_unlock(&q->lock);
    wake(q);
    return here;
}

struct tw_queue_counts tw_queue_counts(struct tw_queue *q)
{
    struct tw_queue_counts counts;

    (void)pthread_mutex_lock(&q->lock);
    counts = q->counts;
    (void)pthread_mutex_unlock(&q->lock);
    return counts;
}

static char *own_program(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    return n > 0 ? strndup(path, (size_t)n) : strdup("/usr/bin/twin");
}

int tw_queue_open(const struct tw_queue_options *options, struct tw_queue **ret,
                  struct tw_err *err)
{
    struct tw_queue *q = tw_alloc(sizeof *q);
    int r = 0;

    q->o = *options;
    q->o.max_parallel = q->o.max_parallel ? q->o.max_parallel : DEFAULT_PARALLEL;
    q->o.timeout_s = q->o.timeout_s > 0 ? q->o.timeout_s : DEFAULT_TIMEOUT_S;
    if (q->o.max_parallel > MAX_PARALLEL)
        q->o.max_parallel = MAX_PARALLEL;
    q->program = options->program ? strdup(options->program) : own_program();
    q->state_dir = strdup(options->state_dir);
    q->policy_path = options->policy_path ? strdup(options->policy_path) : NULL;
    (void)pthread_mutex_init(&q->lock, NULL);
    q->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->wake < 0)
        r = tw_fail_errno(err, errno, "starting the queue");
    if (r == 0 && (r = -pthread_create(&q->thread, NULL, queue_main, q)) < 0)
        (void)tw_fail_errno(err, -r, "starting the queue");
    q->running = r == 0;
    if (r < 0) {
        tw_queue_close(q);
        return r;
    }
    *ret = q;
    return 0;
}

void tw_queue_close(struct tw_queue *q)
{
    if (!q)
        return;
    if (q->running) {
        (void)pthread_mutex_lock(&q->lock);
        q->closing = true;
        (void)pthread_mutex_unlock(&q->lock);
        wake(q);
        (void)pthread_join(q->thread, NULL);
    }
    for (struct entry *e = q->waiting, *next; e; e = next) {
        next = e->next;
        if (tw_streq(e->job.verb, "run"))
            entry_free(e);
        else
            finish(q, e, "the daemon ended before it began");
    }
    tw_close_p(&q->wake);
    (void)pthread_mutex_destroy(&q->lock);
    free(q->program);
    free(q->state_dir);
    free(q->policy_path);
    free(q);
}
