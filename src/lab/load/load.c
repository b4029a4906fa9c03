/* A load as its caller sees it: a generator started, told slot by slot, listened to. */
#include "load_internal.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIRE_FD 3
#define OPEN_NS (30 * TW_SEC_NS)
#define SILENCE_NS                                                                       \
    (15 * TW_SEC_NS) /* over what was ordered: cancelling, reopening, noise */
#define LEAVE_NS (2 * TW_SEC_NS)

struct tw_load {
    int wire;
    pid_t pid;              /* plain child; 0: in a box */
    struct tw_sandbox *box; /* borrowed */
    int handle;
    size_t items;
    double *means; /* items x TW_ARM_COUNT */
    int opened[TW_ARM_COUNT];
    double open_s;
    struct tw_arena *arena; /* of failures not yet fetched */
    struct tw_load_failures failures;
    struct tw_buf payload;
};

/* ---- starting ---- */

/* Between fork and exec only what is safe there; the caller has no threads that hold
 * locks. */
static void __attribute__((noreturn)) become_generator(int wire, const char *program)
{
    char name[] = "twin", verb[] = "_generator";
    char *argv[] = {name, verb, NULL};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (wire == WIRE_FD)
        (void)fcntl(wire, F_SETFD, 0);
    else if (dup2(wire, WIRE_FD) < 0)
        _exit(126);
    (void)close_range(WIRE_FD + 1, ~0U, 0);
    if (program) {
        (void)execv(program, argv);
        _exit(127);
    }
    _exit(tw_load_generator_main(2, argv));
}

static int start_child(struct tw_load *load, int wire, const char *program,
                       struct tw_err *err)
{
    load->pid = fork();
    if (load->pid < 0) {
        load->pid = 0;
        return tw_fail_errno(err, errno, "starting the load generator");
    }
    if (load->pid == 0)
        become_generator(wire, program);
    return 0;
}

static int start_in_box(struct tw_load *load, int wire, const char *program,
                        struct tw_err *err)
{
    const char *argv[] = {program, "_generator", NULL};
    struct tw_process_spec spec = {.argv = argv,
                                   .stdin_fd = -1,
                                   .stdout_fd = -1,
                                   .stderr_fd = -1,
                                   .fds = &wire,
                                   .fd_count = 1};
    int r = tw_sandbox_start(load->box, &spec, &load->handle, err);

    if (r < 0)
        load->box = NULL;
    return r < 0 ? tw_wrap(err, r, "starting the load generator") : 0;
}

/* A database name goes into the connection string in quotes. */
static char *with_database(struct tw_arena *a, const char *conninfo, const char *database)
{
    tw_auto_buf b = {0};

    if (!conninfo || !database)
        return tw_arena_strdup(a, conninfo);
    tw_buf_init(&b, 65536);
    tw_buf_printf(&b, "%s dbname='", conninfo);
    for (; *database; database++) {
        if (*database == '\'' || *database == '\\')
            tw_buf_add(&b, "\\", 1);
        tw_buf_add(&b, database, 1);
    }
    tw_buf_puts(&b, "' fallback_application_name=twin");
    return tw_arena_strdup(a, tw_buf_text(&b));
}

static int say_hello(struct tw_load *load, const struct tw_load_spec *spec,
                     struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_buf b = {0};
    int r;

    tw_buf_init(&b, LOAD_MSG_MAX);
    load_put_text(&b, spec->mix->driver ? spec->mix->driver : "postgresql");
    load_put_int(&b, spec->connections);
    load_put_text(&b, spec->cpuset);
    for (size_t i = 0; i < TW_ARM_COUNT; i++)
        load_put_text(&b, with_database(a, spec->conninfo[i], spec->mix->database));
    load_put_mix(&b, spec->mix);
    r = load_message_send(load->wire, LOAD_MSG_HELLO, &b, tw_now_ns() + OPEN_NS);
    return r < 0 ? tw_fail(err, r, "telling the load generator what to send: %s",
                           strerror(-r))
                 : 0;
}

/* ---- listening ---- */

static int listen_for(struct tw_load *load, enum load_message wanted, int64_t deadline_ns,
                      struct load_reader *ret, struct tw_err *err)
{
    enum load_message type = 0;
    int r = load_message_receive(load->wire, &type, &load->payload, deadline_ns);

    if (r == -EPIPE)
        return tw_fail(err, r, "the load generator died");
    if (r == -ETIMEDOUT)
        return tw_fail(err, r, "the load generator has gone silent");
    if (r < 0 || type != wanted || load->payload.overflow)
        return tw_fail(err, r < 0 ? r : -EBADMSG,
                       "the load generator gave an answer that makes no sense");
    *ret = (struct load_reader){.at = load->payload.data,
                                .end = load->payload.data + load->payload.len};
    return 0;
}

void load_keep_failures(struct tw_load *load, struct load_reader *r)
{
    int64_t n = load_get_int(r);

    for (int64_t i = 0; i < n && !r->bad; i++) {
        enum tw_arm arm = (enum tw_arm)load_get_int(r);
        const char *state = load_get_text(r, load->arena),
                   *text = load_get_text(r, load->arena);
        int64_t count = load_get_int(r);
        bool known = false;

        for (size_t k = 0; k < load->failures.list.count && !known && !r->bad; k++) {
            struct tw_load_failure *f = &load->failures.list.items[k];

            known = f->arm == arm && tw_streq(f->code, state) && tw_streq(f->text, text);
            f->count += known ? count : 0;
        }
        if (!known && !r->bad)
            TW_PUSH(load->arena, &load->failures.list,
                    (struct tw_load_failure){
                        .arm = arm, .code = state, .text = text, .count = count});
    }
}

static int hear_ready(struct tw_load *load, struct tw_err *err)
{
    struct load_reader r;
    const char *text;
    int code = listen_for(load, LOAD_MSG_READY, tw_now_ns() + OPEN_NS, &r, err);

    if (code < 0)
        return code;
    code = (int)load_get_int(&r);
    text = load_get_text(&r, load->arena);
    for (size_t i = 0; i < TW_ARM_COUNT; i++)
        load->opened[i] = (int)load_get_int(&r);
    load->open_s = load_get_real(&r);
    load_keep_failures(load, &r);
    return code < 0 ? tw_fail(err, code, "%s", text ? text : "the load generator failed")
                    : 0;
}

static void tw_load_free(struct tw_load *load)
{
    tw_load_close(load);
}
TW_AUTO_DEFINE(tw_load)

int tw_load_open(const struct tw_load_spec *spec, struct tw_load **ret,
                 struct tw_err *err)
{
    tw_auto(tw_load) *load = tw_alloc(sizeof *load);
    tw_auto_close int theirs = -1;
    int ends[2], r;

    load->wire = -1;
    load->arena = tw_arena_new();
    load->items = spec->mix->items.count;
    load->means = tw_alloc((load->items * TW_ARM_COUNT + 1) * sizeof *load->means);
    load->box = spec->box;
    tw_buf_init(&load->payload, LOAD_MSG_MAX);
    for (size_t i = 0; i < load->items * TW_ARM_COUNT; i++)
        load->means[i] = NAN;

    if (spec->connections < 1 || load->items == 0)
        return tw_fail(err, -EINVAL, "a load needs a connection and something to send");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return tw_fail_errno(err, errno, "making the wire to the load generator");
    load->wire = ends[0];
    theirs = ends[1];
    r = spec->box ? start_in_box(load, theirs, spec->program, err)
                  : start_child(load, theirs, spec->program, err);
    if (r < 0)
        return r;
    tw_close_p(&theirs); /* so that its death is heard */
    theirs = -1;
    tw_step("load.generator.started");
    r = say_hello(load, spec, err);
    if (r >= 0)
        r = hear_ready(load, err);
    if (r < 0)
        return r;
    tw_step("load.connected");
    *ret = tw_take_ptr(&load);
    return 0;
}

/* It leaves when its wire is closed; one that does not is killed. */
static void end_child(pid_t pid)
{
    int64_t deadline = tw_now_ns() + LEAVE_NS;
    pid_t r;

    while ((r = waitpid(pid, NULL, WNOHANG)) == 0 && tw_now_ns() < deadline)
        tw_sleep_ns(TW_MSEC_NS / 2);
    if (r == 0) {
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
}

void tw_load_close(struct tw_load *load)
{
    int status;

    if (!load)
        return;
    tw_close_p(&load->wire);
    if (load->pid > 0)
        end_child(load->pid);
    if (load->box && tw_sandbox_wait(load->box, load->handle, tw_now_ns() + LEAVE_NS,
                                     &status, NULL) < 0)
        (void)tw_sandbox_signal(load->box, load->handle, SIGKILL, NULL);
    tw_buf_done(&load->payload);
    tw_arena_free(load->arena);
    free(load->means);
    free(load);
}

/* ---- slots ---- */

static int give_order(struct tw_load *load, const struct tw_load_order *order,
                      struct tw_err *err)
{
    tw_auto_buf b = {0};
    int r;

    tw_buf_init(&b, 4096);
    load_put_int(&b, order->arm);
    load_put_real(&b, order->rate_per_s);
    load_put_int(&b, order->clients);
    load_put_int(&b, order->length_ns);
    load_put_int(&b, (int64_t)order->seed);
    load_put_int(&b, order->keep_starts);
    load_put_real(&b, order->settle_s);
    r = load_message_send(load->wire, LOAD_MSG_ORDER, &b, tw_now_ns() + SILENCE_NS);
    if (r < 0)
        return tw_fail(err, r, "the load generator %s",
                       r == -EPIPE ? "died" : "takes no orders");
    return 0;
}

static void fill_quantiles(struct tw_slot *slot)
{
    slot->p50_s = tw_hist_quantile(slot->latency, 0.5);
    slot->p95_s = tw_hist_quantile(slot->latency, 0.95);
    slot->p99_s = tw_hist_quantile(slot->latency, 0.99);
    slot->mean_s = tw_hist_mean(slot->latency);
    slot->max_s = tw_hist_max(slot->latency);
}

static void keep_means(struct tw_load *load, struct load_reader *r)
{
    size_t seconds_len, counts_len;

    for (size_t arm = 0; arm < TW_ARM_COUNT; arm++) {
        const char *seconds = load_get_bytes(r, &seconds_len);
        const char *counts = load_get_bytes(r, &counts_len);

        if (r->bad || seconds_len != load->items * sizeof(double) ||
            counts_len != load->items * sizeof(int64_t))
            continue;
        for (size_t i = 0; i < load->items; i++) {
            double sum;
            int64_t n;

            memcpy(&sum, seconds + i * sizeof sum, sizeof sum);
            memcpy(&n, counts + i * sizeof n, sizeof n);
            load->means[i * TW_ARM_COUNT + arm] = n > 0 ? sum / (double)n : NAN;
        }
    }
}

static void keep_starts(struct load_reader *r, struct tw_slot *slot)
{
    size_t len;
    const void *starts = load_get_bytes(r, &len);
    int64_t *copy;

    if (len == 0)
        return;
    copy = tw_alloc(len);
    memcpy(copy, starts, len);
    slot->starts_ns = copy;
    slot->start_count = len / sizeof *copy;
}

static void unknown_slot(const struct tw_load_order *order, struct tw_slot *slot)
{
    *slot = (struct tw_slot){
        .arm = order->arm,
        .pair = -1,
        .level = NAN,
        .clients = order->clients,
        .offered_per_s = order->rate_per_s,
        .cpu_s = NAN,
        .throttled_s = NAN,
        .starved_s = NAN,
        .wal_bytes = NAN,
        .read_bytes = NAN,
        .write_bytes = NAN,
        .temp_bytes = NAN,
        .memory_bytes = NAN,
        .anon_bytes = NAN,
        .foreign_cpu_s = NAN,
        .seed = order->seed,
    };
}

/* Gives an order and reads the head of its answer; ret_reader stands behind it. */
static int carry_out(struct tw_load *load, const struct tw_load_order *order,
                     struct load_result *ret, struct load_reader *ret_reader,
                     struct tw_err *err)
{
    int64_t patience = order->length_ns + (int64_t)(fmax(order->settle_s, 0) * 1e9);
    int code = give_order(load, order, err);

    if (code >= 0)
        code = listen_for(load, LOAD_MSG_RESULT, tw_now_ns() + patience + SILENCE_NS,
                          ret_reader, err);
    if (code < 0)
        return code;
    code = (int)load_get_int(ret_reader);
    if (code < 0)
        return tw_fail(err, code,
                       "the load generator refused a slot of %.3f s at %.0f/s: %s",
                       tw_seconds(order->length_ns), order->rate_per_s, strerror(-code));
    if ((size_t)(ret_reader->end - ret_reader->at) < sizeof *ret)
        return tw_fail(err, -EBADMSG, "the load generator gave half an answer");
    memcpy(ret, ret_reader->at, sizeof *ret);
    ret_reader->at += sizeof *ret;
    return 0;
}

int tw_load_slot(struct tw_load *load, const struct tw_load_order *order,
                 struct tw_slot *ret, struct tw_err *err)
{
    struct load_result result;
    struct load_reader r;
    const void *flat;
    size_t len;
    int code;

    if (order->length_ns <= 0)
        return tw_fail(err, -EINVAL, "a slot needs a length");
    code = carry_out(load, order, &result, &r, err);
    if (code < 0)
        return code;
    unknown_slot(order, ret);
    ret->start_ns = result.start_ns;
    ret->length_ns = result.length_ns;
    ret->sent = result.sent;
    ret->done = result.done;
    ret->errors = result.errors;
    ret->late = result.late;
    ret->lag99_s = result.lag99_s;
    ret->generator_cpu_s = result.cpu_s;
    ret->latency = tw_hist_new();
    flat = load_get_bytes(&r, &len);
    if (len)
        (void)tw_hist_decode(ret->latency, flat, len);
    fill_quantiles(ret);
    keep_starts(&r, ret);
    keep_means(load, &r);
    load_keep_failures(load, &r);
    return 0;
}

int tw_load_flush(struct tw_load *load, enum tw_arm arm, int *ret_transactions,
                  struct tw_err *err)
{
    const struct tw_load_order order = {.arm = arm, .rate_per_s = NAN};
    struct load_result result;
    struct load_reader r;
    int code = carry_out(load, &order, &result, &r, err);

    if (code < 0)
        return code;
    if (ret_transactions)
        *ret_transactions = (int)result.sent;
    return 0;
}

int load_ask(struct tw_load *load, enum load_message type, const struct tw_buf *payload,
             int64_t deadline_ns, struct load_reader *ret, struct tw_err *err)
{
    int r = load_message_send(load->wire, type, payload, deadline_ns);

    if (r < 0)
        return tw_fail(err, r, "the load generator %s",
                       r == -EPIPE ? "died" : "takes no orders");
    return listen_for(load, LOAD_MSG_RESULT, deadline_ns, ret, err);
}

int load_opened(const struct tw_load *load, enum tw_arm arm, double *ret_seconds)
{
    *ret_seconds = load->open_s;
    return load->opened[arm];
}

static int more_frequent(const void *x, const void *y)
{
    const struct tw_load_failure *a = x, *b = y;

    return (a->count < b->count) - (a->count > b->count);
}

int tw_load_failures(struct tw_load *load, struct tw_arena *a,
                     struct tw_load_failures *ret, struct tw_err *err)
{
    (void)err;
    *ret = (struct tw_load_failures){0};
    for (size_t i = 0; i < load->failures.list.count; i++) {
        struct tw_load_failure f = load->failures.list.items[i];

        f.code = tw_arena_strdup(a, f.code);
        f.text = tw_arena_strdup(a, f.text);
        TW_PUSH(a, &ret->list, f);
    }
    if (ret->list.count)
        qsort(ret->list.items, ret->list.count, sizeof *ret->list.items, more_frequent);
    load->failures = (struct tw_load_failures){0};
    tw_arena_free(load->arena);
    load->arena = tw_arena_new();
    return 0;
}

const double *tw_load_item_means(struct tw_load *load)
{
    return load->means;
}
