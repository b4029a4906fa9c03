/* Simulations in worker processes: the most urgent first, so many at once and within so much memory,
 * each with a time-out. One thread asks the helper for them, reads what they tell and takes leave of them;
 * a worker dies with the helper's connection. */
#include "queue_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PARALLEL  10
#define DEFAULT_TIMEOUT_S 1800.0
#define GRACE_NS          (30 * TW_SEC_NS) /* from TERM to KILL: tearing down takes its time */
#define LINE_MAX_BYTES    ((size_t)64 << 20)
#define MAX_PARALLEL      256
#define TRY_AGAIN_NS      (500 * TW_MSEC_NS)
#define MOST_LOST         2 /* then it is the simulation that costs us the helper */
#define MOST_ASIDE        4
#define MOST              (MAX_PARALLEL + 256) /* with those aside */
#define MEASURED_AT_ONCE  1
#define MEASURED_DONE                                                                    \
    0.9 /* from here on nothing is measured (see stage_share in run.c) */

/* Preparing takes a core, and so does measuring. More at once than there are cores only makes the first
 * of them late: the turns of measuring, which nobody shares, would stand idle until all are ready. */
static bool is_heavy(const struct tw_job *job)
{
    return !job->aside;
}

/* Under lock. */
static void weigh(struct tw_queue *q, struct entry *e, bool heavy)
{
    q->heavy += (int)heavy - (int)e->heavy;
    e->heavy = heavy;
}

/* Under lock: it runs from now on (1), or no more (-1). */
static void count(struct tw_queue *q, struct entry *e, int by)
{
    weigh(q, e, by > 0 && is_heavy(&e->job) && !queue_is_warm(e));
    if (queue_is_warm(e)) {
        q->memory_bytes += by * e->job.memory_bytes;
    } else if (e->job.aside) {
        q->aside += e->job.endless ? 0 : by;
    } else {
        q->counts.running += by;
        q->memory_bytes += by * e->job.memory_bytes;
    }
}

void queue_uncount(struct tw_queue *q, struct entry *e)
{
    count(q, e, -1);
}

void queue_entry_free(struct entry *e)
{
    tw_close_p(&e->out);
    tw_buf_done(&e->line);
    json_decref(e->body);
    tw_arena_free(e->arena);
    free(e);
}

struct entry *queue_entry_new(const struct tw_job *job)
{
    struct entry *e = tw_alloc(sizeof(*e));

    e->arena = tw_arena_new();
    e->out = -1;
    tw_buf_init(&e->line, LINE_MAX_BYTES);
    e->job = (struct tw_job){.id = tw_arena_strdup(e->arena, job->id),
                             .verb = tw_arena_strdup(e->arena, job->verb),
                             .priority = job->priority,
                             .aside = job->aside,
                             .endless = job->endless,
                             .plain = job->plain,
                             .simulation = tw_arena_strdup(e->arena, job->simulation),
                             .environment = tw_arena_strdup(e->arena, job->environment),
                             .target = tw_arena_strdup(e->arena, job->target),
                             .type = tw_arena_strdup(e->arena, job->type),
                             .memory_bytes = job->memory_bytes};
    return e;
}

/* ---- starting a worker ---- */

static char *make_input(const struct tw_job *job)
{
    json_auto_t *json =
        json_pack("{s:s, s:s}", "verb", job->verb, "simulation", job->simulation);

    return tw_json_dump(json, JSON_COMPACT);
}

int queue_input(const struct tw_job *job)
{
    tw_auto_free char *input = make_input(job);

    return tw_helper_input(input, strlen(input));
}

int queue_start_worker(struct tw_queue *q, struct entry *e, struct tw_err *err)
{
    tw_auto_close int in = queue_input(&e->job);
    tw_auto_close int reading = -1, writing = -1;
    int out[2], r;

    if (in < 0 || pipe2(out, O_CLOEXEC) < 0)
        return tw_fail_errno(err, in < 0 ? -in : errno, "a worker's input and output");
    reading = out[0];
    writing = out[1];
    (void)fcntl(reading, F_SETFL, O_NONBLOCK);
    e->number = ++q->numbers ? q->numbers : ++q->numbers;
    r = tw_helper_work(q->helper,
                       &(struct tw_helper_job){.number = e->number,
                                               .verb = e->job.verb,
                                               .id = e->job.id,
                                               .input = in,
                                               .output = writing},
                       err);
    if (r < 0)
        return r;
    e->out = tw_take_fd(&reading);
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
    queue_entry_free(e);
}

static char *death_of(struct tw_queue *q, const struct entry *e)
{
    int status = e->end.status;

    if (e->lost >= MOST_LOST)
        return tw_strf(
            "the privileged helper ended %d times while it ran; the helper's log says "
            "why",
            e->lost);
    if (e->end.code < 0)
        return tw_strf("no worker process could be started: %s", e->end.text);
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

static void put_back(struct tw_queue *q, struct entry *e);

static void bury(struct tw_queue *q, struct entry *e)
{
    tw_auto_free char *why = NULL;

    if (queue_is_warm(e)) {
        queue_warm_ended(q, e);
        return;
    }
    /* It was gone before it took the job: nothing was begun. */
    if (e->handed && !e->heard && !e->cancel && !e->told_ns) {
        e->cold = true;
        put_back(q, e);
        return;
    }
    if (tw_streq(json_string_value(json_object_get(e->body, "status")), "success"))
        queue_warm_note(q, &e->job);

    if (!e->body)
        why = death_of(q, e);
    (void)pthread_mutex_lock(&q->lock);
    count(q, e, -1);
    (void)pthread_mutex_unlock(&q->lock);
    if (e->told_ns && !e->timed_out && !e->cancelled && !has_answer(e) &&
        tw_streq(e->job.verb, "run"))
        queue_entry_free(e); /* the daemon ends: the next start takes it up */
    else
        finish(q, e, why);
}

/* ---- what a worker tells ---- */

static void read_event(struct tw_queue *q, struct entry *e, const char *line, size_t len)
{
    json_auto_t *event = json_loadb(line, len, 0, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));

    if (queue_is_warm(e)) { /* of no simulation yet */
        e->heard |= tw_streq(name, "ready");
        return;
    }
    e->heard |= tw_streq(name, "taken") || tw_streq(name, "result");
    if (e->handed && !e->heard)
        return; /* of what was made ready */
    if (tw_streq(name, "result")) {
        json_decref(e->body);
        e->body = json_incref(json_object_get(event, "body"));
        e->refused = json_is_true(json_object_get(event, "refused"));
    } else if (name && q->o.event && !tw_streq(name, "taken")) {
        if (tw_streq(name, "progress") &&
            json_number_value(json_object_get(event, "done")) >= MEASURED_DONE) {
            (void)pthread_mutex_lock(&q->lock);
            weigh(q, e, false);
            (void)pthread_mutex_unlock(&q->lock);
        }
        q->o.event(q->o.arg, &e->job, event);
    }
}

/* All that is there; at its end the pipe is closed. */
static void read_events(struct tw_queue *q, struct entry *e)
{
    char part[65536];
    ssize_t n;

    if (e->out < 0)
        return;
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
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        tw_close_p(&e->out);
}

/* ---- the helper ---- */

void queue_unlink(struct tw_queue *q, struct entry *e)
{
    (void)pthread_mutex_lock(&q->lock);
    for (struct entry **at = &q->active; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    (void)pthread_mutex_unlock(&q->lock);
}

/* Its workers died with it. What they had answered holds; the others begin again. */
static void helper_gone(struct tw_queue *q)
{
    tw_helper_free(q->helper);
    q->helper = NULL;
    tw_log(TW_LOG_ERROR, "the privileged helper is gone%s",
           q->o.reconnect ? "; its simulations begin again when it is back" : "");
    for (struct entry *e; (e = q->active);) {
        read_events(q, e);
        queue_unlink(q, e);
        if (!queue_is_warm(e) && !e->body && !e->ended && !e->cancel &&
            ++e->lost < MOST_LOST && !e->told_ns)
            put_back(q, e);
        else
            bury(q, e);
    }
    if (!q->o.reconnect && q->o.lost)
        q->o.lost(q->o.arg);
}

static void seek_helper(struct tw_queue *q)
{
    struct tw_err why = {0};

    if (q->helper || !q->o.reconnect || tw_now_ns() - q->tried_ns < TRY_AGAIN_NS)
        return;
    q->tried_ns = tw_now_ns();
    if (tw_helper_connect(q->o.reconnect, &q->helper, &why) == 0)
        tw_log(TW_LOG_INFO, "the privileged helper is back");
}

static void hear_helper(struct tw_queue *q)
{
    struct tw_helper_end end;
    int r = 0;

    while (q->helper && (r = tw_helper_next(q->helper, &end)) > 0)
        for (struct entry *e = q->active; e; e = e->next)
            if (e->number == end.number) {
                e->ended = true;
                e->end = end;
            }
    if (r < 0)
        helper_gone(q);
}

/* ---- the thread ---- */

static struct entry **most_urgent(struct tw_queue *q, bool aside)
{
    struct entry **best = NULL;

    for (struct entry **at = &q->waiting; *at; at = &(*at)->next)
        if (aside && !((*at)->job.endless || ((*at)->job.aside && q->aside < MOST_ASIDE)))
            continue;
        else if (!best || (*at)->job.priority > (*best)->job.priority ||
                 ((*at)->job.priority == (*best)->job.priority &&
                  (*at)->order < (*best)->order))
            best = at;
    return best;
}

/* The most urgent one waits for its memory rather than be overtaken by small ones for ever. What is
 * larger than all there is runs alone. */
static bool fits_memory(const struct tw_queue *q, const struct entry *e)
{
    return !q->o.memory_bytes || !e->job.memory_bytes || !q->counts.running ||
           q->memory_bytes - queue_warm_bytes(q, &e->job) + e->job.memory_bytes <=
               q->o.memory_bytes;
}

static bool fits(const struct tw_queue *q, const struct entry *e)
{
    return (!is_heavy(&e->job) || q->heavy < q->o.cores + MEASURED_AT_ONCE) &&
           fits_memory(q, e);
}

static struct entry *next_to_start(struct tw_queue *q)
{
    struct entry *e = NULL, **at;

    (void)pthread_mutex_lock(&q->lock);
    at = q->closing ? NULL : most_urgent(q, true);
    if (!at && !q->closing && q->counts.running < q->o.max_parallel)
        at = most_urgent(q, false);
    if (at && !(*at)->job.aside && !fits_memory(q, *at))
        queue_warm_cool(q);
    if (at && ((*at)->job.aside || fits(q, *at))) {
        e = *at;
        *at = e->next;
        q->counts.waiting--;
        count(q, e, 1);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return e;
}

/* Before any other of its urgency: it was first. */
static void put_back(struct tw_queue *q, struct entry *e)
{
    tw_close_p(&e->out);
    tw_buf_clear(&e->line);
    e->begun_ns = e->told_ns = 0;
    e->ended = e->handed = e->heard = false;
    (void)pthread_mutex_lock(&q->lock);
    e->next = q->waiting;
    q->waiting = e;
    q->counts.waiting++;
    count(q, e, -1);
    (void)pthread_mutex_unlock(&q->lock);
}

static void start_some(struct tw_queue *q)
{
    struct tw_err why = {0};
    struct entry *e;

    while (q->helper && (e = next_to_start(q))) {
        int r = queue_warm_hand(q, e) ? 0 : queue_start_worker(q, e, &why);

        if (r == 0) {
            (void)pthread_mutex_lock(&q->lock);
            e->next = q->active;
            q->active = e;
            (void)pthread_mutex_unlock(&q->lock);
            if (q->o.started)
                q->o.started(q->o.arg, &e->job);
        } else if (r == -ECONNRESET) {
            put_back(q, e);
            helper_gone(q);
        } else {
            e->end.code = r;
            memcpy(e->end.text, why.text, sizeof(e->end.text) - 1);
            bury(q, e);
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
    bool late = !e->job.endless && !queue_is_warm(e) && tw_seconds(now - e->begun_ns) > q->o.timeout_s;
    bool cancel;

    (void)pthread_mutex_lock(&q->lock);
    cancel = e->cancel || e->let_go;
    (void)pthread_mutex_unlock(&q->lock);
    if (!e->told_ns && (late || cancel || closing)) {
        e->timed_out = late && !cancel;
        e->cancelled = cancel;
        e->told_ns = now;
        (void)tw_helper_stop(q->helper, e->number, false, NULL);
    }
    if (e->told_ns && now - e->told_ns > GRACE_NS)
        (void)tw_helper_stop(q->helper, e->number, true, NULL);
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
    struct pollfd fds[MOST + 2] = {
        {.fd = q->wake, .events = POLLIN},
        {.fd = q->helper ? tw_helper_fd(q->helper) : -1, .events = POLLIN}};
    nfds_t n = 2;
    uint64_t count;

    /* Only this thread changes the list, so it may be walked without the lock. */
    for (struct entry *e = q->active; e && n < TW_COUNT_OF(fds); e = e->next)
        fds[n++] = (struct pollfd){.fd = e->out, .events = POLLIN};
    (void)poll(fds, n, q->active || !q->helper ? 250 : 1000);
    (void)!read(q->wake, &count, sizeof(count));
    hear_helper(q);
    for (struct entry *e = q->active, *next; e && q->helper; e = next) {
        next = e->next;
        look_after(q, e, tw_now_ns(), closing);
        read_events(q, e);
        if (e->ended) {
            queue_unlink(q, e);
            bury(q, e);
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
        seek_helper(q);
        if (!closing) {
            start_some(q);
            queue_warm_tick(q);
        }
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
    struct entry *e = queue_entry_new(job);

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
    counts.warm = queue_warm_count(q);
    counts.warmed = q->warmed;
    (void)pthread_mutex_unlock(&q->lock);
    return counts;
}

static int usable_cores(int most)
{
    long have = sysconf(_SC_NPROCESSORS_ONLN);

    have = have > 0 ? have : 1;
    return most > 0 && most < have ? most : (int)have;
}

int tw_queue_open(const struct tw_queue_options *options, struct tw_queue **ret,
                  struct tw_err *err)
{
    struct tw_queue *q = tw_alloc(sizeof *q);
    int r = 0;

    q->o = *options;
    q->o.max_parallel = q->o.max_parallel ? q->o.max_parallel : DEFAULT_PARALLEL;
    q->o.timeout_s = q->o.timeout_s > 0 ? q->o.timeout_s : DEFAULT_TIMEOUT_S;
    q->o.cores = usable_cores(options->cores);
    if (q->o.max_parallel > MAX_PARALLEL)
        q->o.max_parallel = MAX_PARALLEL;
    q->helper = options->helper;
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
            queue_entry_free(e);
        else
            finish(q, e, "the daemon ended before it began");
    }
    queue_warm_done(q);
    tw_close_p(&q->wake);
    (void)pthread_mutex_destroy(&q->lock);
    tw_helper_free(q->helper);
    free(q);
}
