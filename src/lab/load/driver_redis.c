/* Redis: the commands of a request in one pipeline (RESP 2); the first error among the answers
 * is the failure. A connection begins with AUTH and SELECT where the endpoint says so, and a
 * PING: only then is it known that the server takes it. */
#include "load_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LINE_MAX_BYTES ((size_t)1 << 20)

struct command {
    TW_ARRAY(struct load_template) words;
    const char *bytes; /* where nothing in it varies */
    size_t len;
};
struct target {
    struct load_endpoint endpoint; /* first: stream_conn.c */
    struct command *commands;      /* by number of the statement */
    const char *greeting;
    size_t greeting_len;
    int greeting_answers;
};
struct session {
    struct load_stream stream; /* first: stream_conn.c */
    struct tw_buf line, request;
    const char **parameters;
    int awaited;       /* answers still to come */
    int64_t elements;  /* of the answer being read */
    int64_t bulk_left; /* bytes to skip, with the line end */
    bool greeting, failed;
};

/* ---- commands made ready ---- */

/* A word: "…" with escapes, '…' as it is, or up to the next blank. */
static const char *read_word(struct tw_arena *a, const char **at, size_t *ret_len)
{
    const char *from = *at, *end;
    char quote = *from == '"' || *from == '\'' ? *from : '\0';

    if (!quote) {
        *ret_len = strcspn(from, " \t");
        *at = from + *ret_len;
        return from;
    }
    for (end = ++from; *end && *end != quote;)
        end += *end == '\\' && quote == '"' && end[1] ? 2 : 1;
    *at = end + (*end == quote);
    *ret_len = (size_t)(end - from);
    return quote == '"' ? load_unescape(a, from, *ret_len, ret_len) : from;
}

static void put_head(struct tw_buf *b, char type, size_t n)
{
    tw_buf_printf(b, "%c%zu\r\n", type, n);
}

static void put_word(struct tw_buf *b, const char *word)
{
    put_head(b, '$', strlen(word));
    tw_buf_printf(b, "%s\r\n", word);
}

static void render(const struct command *c, const char *const *parameters,
                   struct tw_buf *to)
{
    put_head(to, '*', c->words.count);
    for (size_t i = 0; i < c->words.count; i++) {
        const struct load_template *word = &c->words.items[i];

        put_head(to, '$', load_template_length(word, parameters));
        load_template_render(word, parameters, to);
        tw_buf_add(to, "\r\n", 2);
    }
}

static int ready_command(struct tw_arena *a, const struct tw_load_statement *s,
                         struct command *ret, struct tw_err *err)
{
    const char *at = s->sql ? s->sql : "";
    bool varies = false;
    tw_auto_buf b = {0};

    for (at += strspn(at, " \t"); *at; at += strspn(at, " \t")) {
        struct load_template word;
        size_t len;
        const char *text = read_word(a, &at, &len);

        load_template_compile(a, text, len, s->variables.count, &word);
        varies |= word.parameters;
        TW_PUSH(a, &ret->words, word);
    }
    if (ret->words.count == 0)
        return tw_fail(err, -EINVAL, "a command for Redis is empty");
    if (varies)
        return 0;
    tw_buf_init(&b, LOAD_STREAM_OUT_MAX);
    render(ret, NULL, &b);
    ret->len = b.len;
    ret->bytes = load_bytes_copy(a, tw_buf_text(&b), b.len);
    return 0;
}

static void ready_greeting(struct tw_arena *a, struct target *t)
{
    const struct load_endpoint *e = &t->endpoint;
    tw_auto_buf b = {0};

    tw_buf_init(&b, 65536);
    if (e->password) {
        put_head(&b, '*', e->user ? 3 : 2);
        put_word(&b, "AUTH");
        if (e->user)
            put_word(&b, e->user);
        put_word(&b, e->password);
        t->greeting_answers++;
    }
    if (e->db > 0) {
        tw_auto_free char *db = tw_strf("%ld", (long)e->db);

        put_head(&b, '*', 2);
        put_word(&b, "SELECT");
        put_word(&b, db);
        t->greeting_answers++;
    }
    put_head(&b, '*', 1);
    put_word(&b, "PING");
    t->greeting_answers++;
    t->greeting_len = b.len;
    t->greeting = load_bytes_copy(a, tw_buf_text(&b), b.len);
}

static int redis_aim(struct tw_arena *a, const struct load_program *p,
                     const char *endpoint, void **ret_target, struct tw_err *err)
{
    struct target *t = tw_arena_alloc(a, sizeof *t);
    int r = load_endpoint_parse(a, endpoint, &t->endpoint, err);

    if (r >= 0)
        r = load_endpoint_ready(a, &t->endpoint, err);
    if (r < 0)
        return r;
    ready_greeting(a, t);
    t->commands = tw_arena_alloc(a, (p->statement_count + 1) * sizeof *t->commands);
    for (size_t i = 0; i < p->mix->items.count && r >= 0; i++) {
        const struct tw_load_item *item = &p->mix->items.items[i];

        for (size_t n = 0; n < item->statements.count && r >= 0; n++)
            r = ready_command(a, &item->statements.items[n],
                              &t->commands[p->items[i].statements[n].number], err);
    }
    *ret_target = t;
    return r;
}

/* ---- answers ---- */

/* "OOM command not allowed when used memory > 'maxmemory'." What is quoted may be a value of
 * ours and is hidden. */
static void note_error(struct load_conn *c, const char *line, size_t len)
{
    char code[sizeof c->fault.code] = "", text[sizeof c->fault.text];
    size_t word = 0, n = 0;
    struct session *s = c->own;
    bool hidden = false;

    if (s->failed)
        return;
    s->failed = true;
    while (word < len && line[word] != ' ')
        word++;
    memcpy(code, line, word < sizeof code ? word : sizeof code - 1);
    for (size_t i = word + (word < len); i < len && n + 1 < sizeof text; i++) {
        if (line[i] == '\'')
            hidden = !hidden;
        if (!hidden || line[i] == '\'')
            text[n++] = line[i];
    }
    text[n] = '\0';
    load_fault_set(&c->fault, code, text);
}

static int64_t number_of(const char *line, size_t len)
{
    int64_t n = 0;
    bool minus = len > 0 && *line == '-';

    for (size_t i = minus; i < len && n < INT64_MAX / 20; i++) {
        if (line[i] < '0' || line[i] > '9')
            return INT64_MIN;
        n = n * 10 + (line[i] - '0');
    }
    return minus ? -n : n;
}

/* A line without its end: a whole element, or the head of one. */
static bool take_line(struct load_conn *c, const char *line, size_t len)
{
    struct session *s = c->own;
    int64_t n;

    if (len == 0)
        return false;
    s->elements--;
    switch (*line) {
    case '-':
        note_error(c, line + 1, len - 1);
        return true;
    case '+':
    case ':':
        return true;
    case '$':
    case '*':
        n = number_of(line + 1, len - 1);
        if (n < -1)
            return false;
        if (*line == '$' && n >= 0)
            s->bulk_left = n + 2;
        else if (n > 0)
            s->elements += n;
        return true;
    default:
        return false;
    }
}

/* Bytes taken of one element, -1: not Redis. */
static ssize_t take_some(struct load_conn *c, const char *data, size_t len)
{
    struct session *s = c->own;
    const char *end;
    size_t n;

    if (s->bulk_left > 0) {
        n = (int64_t)len < s->bulk_left ? len : (size_t)s->bulk_left;
        s->bulk_left -= (int64_t)n;
        return (ssize_t)n;
    }
    end = memchr(data, '\n', len);
    n = end ? (size_t)(end + 1 - data) : len;
    if (s->line.len == 0 && end)
        return n >= 2 && take_line(c, data, n - 2) ? (ssize_t)n : -1;
    tw_buf_add(&s->line, data, n);
    if (s->line.overflow)
        return -1;
    if (!end)
        return (ssize_t)n;
    if (s->line.len < 2 || !take_line(c, s->line.data, s->line.len - 2))
        return -1;
    tw_buf_clear(&s->line);
    return (ssize_t)n;
}

static bool take(struct load_conn *c, const char *data, size_t len)
{
    struct session *s = c->own;

    if (c->reply && !s->greeting)
        tw_buf_add(c->reply, data, len);
    while (len > 0 && s->awaited > 0) {
        ssize_t n;

        if (s->elements == 0 && s->bulk_left == 0)
            s->elements = 1;
        n = take_some(c, data, len);
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
        s->awaited -= s->elements == 0 && s->bulk_left == 0;
    }
    return len == 0; /* nobody asked for more */
}

/* ---- connections ---- */

static int connect_again(struct load_conn *c)
{
    const struct target *t = c->target;
    struct session *s = c->own;

    s->elements = s->bulk_left = 0;
    tw_buf_clear(&s->line);
    s->greeting = true;
    s->failed = false;
    s->awaited = t->greeting_answers;
    return load_conn_connect(c);
}

static void redis_close(struct load_conn *c)
{
    struct session *s = c->own;

    if (s) {
        tw_buf_done(&s->line);
        tw_buf_done(&s->request);
        free(s->parameters);
    }
    load_conn_end(c, false);
}

static void redis_open(struct load_conn *c, const struct load_program *p)
{
    struct session *s = tw_alloc(sizeof *s);

    c->own = s;
    s->stream.fd = -1;
    s->parameters = tw_alloc((p->max_parameters + 1) * sizeof *s->parameters);
    tw_buf_init(&s->line, LINE_MAX_BYTES);
    tw_buf_init(&s->request, LOAD_STREAM_OUT_MAX);
    c->state = LOAD_OPENING;
    if (connect_again(c) < 0)
        (void)load_conn_lost(c);
}

/* ---- requests ---- */

static void put_statement(struct load_conn *c, const struct load_program *p, size_t n)
{
    const struct target *t = c->target;
    const struct tw_load_statement *from =
        &p->mix->items.items[c->item].statements.items[n];
    const struct command *command = &t->commands[p->items[c->item].statements[n].number];
    struct session *s = c->own;

    if (command->bytes) {
        tw_buf_add(&s->request, command->bytes, command->len);
        return;
    }
    (void)load_draw_parameters(from, &c->draw, s->parameters);
    render(command, s->parameters, &s->request);
}

/* Up to the next pause. */
static enum load_event send_batch(struct load_conn *c, const struct load_program *p)
{
    const struct load_statement *st = p->items[c->item].statements;
    size_t count = p->mix->items.items[c->item].statements.count, first = c->statement;
    struct session *s = c->own;

    c->state = LOAD_BUSY;
    if (s->stream.step == LOAD_STREAM_CLOSED && connect_again(c) < 0)
        return load_conn_lost(c);
    if (s->greeting)
        return LOAD_NOTHING; /* it is sent when the connection is there */
    s->failed = false;
    s->awaited = 0;
    tw_buf_clear(&s->request);
    for (; c->statement < count &&
           (c->statement == first || st[c->statement].think_ns == 0);
         c->statement++) {
        put_statement(c, p, c->statement);
        s->awaited++;
    }
    if (load_stream_write(&s->stream, s->request.data, s->request.len) < 0)
        return load_conn_lost(c);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event pause_or_send(struct load_conn *c, const struct load_program *p,
                                     int64_t now_ns)
{
    int64_t think = p->items[c->item].statements[c->statement].think_ns;

    if (think == 0)
        return send_batch(c, p);
    return load_conn_pause(c, now_ns + think);
}

static enum load_event redis_send(struct load_conn *c, const struct load_program *p,
                                  int64_t now_ns)
{
    c->statement = 0;
    return pause_or_send(c, p, now_ns);
}

static enum load_event redis_resume(struct load_conn *c, const struct load_program *p,
                                    int64_t now_ns)
{
    (void)now_ns;
    return send_batch(c, p);
}

static enum load_event finish(struct load_conn *c, const struct load_program *p,
                              int64_t now_ns)
{
    const struct target *t = c->target;
    struct session *s = c->own;

    if (!s->failed && c->statement < p->mix->items.items[c->item].statements.count)
        return pause_or_send(c, p, now_ns);
    if (t->endpoint.keepalive == 0)
        load_stream_close(&s->stream, true);
    c->state = LOAD_IDLE;
    load_conn_show(c);
    return s->failed ? LOAD_REFUSED : LOAD_ANSWERED;
}

/* All answers to the greeting are here. A user who may not PING may still do its work. */
static enum load_event greeted(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;

    s->greeting = false;
    if (s->failed && strcmp(c->fault.code, "NOPERM") != 0)
        return load_conn_lost(c);
    if (c->state == LOAD_BUSY)
        return send_batch(c, p);
    c->state = LOAD_IDLE;
    load_conn_show(c);
    return LOAD_OPENED;
}

static enum load_event hear_farewell(struct load_conn *c, ssize_t n)
{
    struct session *s = c->own;

    if (n > 0 && load_scratch[0] == '-')
        note_error(c, load_scratch + 1, strcspn(load_scratch + 1, "\r\n"));
    else if (n >= 0)
        load_fault_set(&c->fault, "closed",
                       n > 0 ? "an answer to nothing"
                             : "closed by the server while idle");
    if (c->strict || n > 0)
        return load_conn_lost(c);
    load_stream_close(&s->stream, false);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event ended(struct load_conn *c)
{
    struct session *s = c->own;

    if (!s->failed) /* else it has said why */
        load_fault_set(&c->fault, "closed",
                       s->greeting ? "closed by the server while connecting"
                                   : "closed by the server without an answer");
    return load_conn_lost(c);
}

static enum load_event listen_for_answers(struct load_conn *c,
                                          const struct load_program *p, int64_t now_ns)
{
    struct session *s = c->own;

    for (;;) {
        ssize_t n = load_stream_read(&s->stream, load_scratch, LOAD_SCRATCH - 1);

        if (n == -EAGAIN)
            break;
        if (n >= 0)
            load_scratch[n] = '\0';
        if (c->state == LOAD_IDLE || c->state == LOAD_THINKING)
            return hear_farewell(c, n);
        if (n < 0)
            return load_conn_lost(c);
        if (n == 0)
            return ended(c);
        if (!take(c, load_scratch, (size_t)n)) {
            load_fault_set(&c->fault, "protocol", "the answer is not that of Redis");
            return load_conn_lost(c);
        }
        if (s->awaited == 0)
            return s->greeting ? greeted(c, p) : finish(c, p, now_ns);
        if (!s->stream.tls && (size_t)n < LOAD_SCRATCH - 1)
            break;
    }
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event go_on_connecting(struct load_conn *c)
{
    const struct target *t = c->target;
    struct session *s = c->own;
    int r = load_stream_advance(&s->stream);

    if (r > 0)
        r = load_stream_write(&s->stream, t->greeting, t->greeting_len);
    if (r < 0)
        return load_conn_lost(c);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event redis_ready(struct load_conn *c, const struct load_program *p,
                                   int64_t now_ns)
{
    struct session *s = c->own;

    if (s->stream.step == LOAD_STREAM_CLOSED)
        return LOAD_NOTHING;
    if (s->stream.step != LOAD_STREAM_OPEN)
        return go_on_connecting(c);
    if (s->stream.out.len > 0 && load_stream_flush(&s->stream) < 0)
        tw_buf_clear(&s->stream.out); /* why may stand in what it said last */
    return listen_for_answers(c, p, now_ns);
}

const struct load_driver load_driver_redis = {
    .name = "redis",
    .aim = redis_aim,
    .open = redis_open,
    .send = redis_send,
    .ready = redis_ready,
    .resume = redis_resume,
    .abandon = load_conn_abandon,
    .close = redis_close,
};
