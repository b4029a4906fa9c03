/* A Redis client: authenticates, sends its commands, and writes something if it may. */
#include "client_internal.h"

#include <stdlib.h>
#include <string.h>

#define PROBE "twin:probe"

struct reading {
    struct client_try *t;
    struct client_stream *s;
    struct tw_buf in;
    size_t at;
};

/* One line without its end, NUL-terminated, in the buffer until the next call; NULL: closed or late. */
static char *next_line(struct reading *r)
{
    char part[4096];

    for (;;) {
        char *from = r->in.data ? r->in.data + r->at : NULL;
        char *end = from ? strstr(from, "\r\n") : NULL;
        ssize_t n;

        if (end) {
            *end = '\0';
            r->at = (size_t)(end - r->in.data) + 2;
            return from;
        }
        n = client_stream_read(r->t, r->s, part, sizeof part);
        if (n <= 0 || r->in.overflow)
            return NULL;
        tw_buf_add(&r->in, part, (size_t)n);
    }
}

static bool skip_bytes(struct reading *r, size_t n)
{
    char part[4096];

    while (r->in.len - r->at < n) {
        ssize_t got = client_stream_read(r->t, r->s, part, sizeof part);

        if (got <= 0 || r->in.overflow)
            return false;
        tw_buf_add(&r->in, part, (size_t)got);
    }
    r->at += n;
    return true;
}

/* The first line of an answer, the rest read and dropped. */
static const char *next_answer(struct reading *r)
{
    const char *line = next_line(r), *first;
    long n;

    if (!line)
        return NULL;
    first = tw_arena_strdup(r->t->arena, line);
    n = atol(first + 1);
    if (*first == '$' && n >= 0 && !skip_bytes(r, (size_t)n + 2))
        return NULL;
    for (long i = 0; *first == '*' && i < n; i++)
        if (!next_answer(r))
            return NULL;
    return first;
}

/* "SET key 'a value'" as the words of a request. */
static void put_command(struct tw_buf *b, const char *text)
{
    tw_auto_buf words = {0};
    int count = 0;

    tw_buf_init(&words, 1 << 20);
    for (const char *s = text; *(s += strspn(s, " "));) {
        char quote = *s == '\'' || *s == '"' ? *s : ' ';
        size_t n;

        s += quote != ' ';
        n = strcspn(s, quote == ' ' ? " " : quote == '"' ? "\"" : "'");
        tw_buf_printf(&words, "$%zu\r\n", n);
        tw_buf_add(&words, s, n);
        tw_buf_puts(&words, "\r\n");
        s += n + (quote != ' ' && s[n]);
        count++;
    }
    tw_buf_printf(b, "*%d\r\n%s", count, tw_buf_text(&words));
}

/* What it says: false where there is no answer at all. */
static bool command(struct reading *r, const char *text, const char **ret_first)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 2 << 20);
    put_command(&b, text);
    *ret_first =
        client_stream_write(r->t, r->s, b.data, b.len) < 0 ? NULL : next_answer(r);
    return *ret_first != NULL;
}

static bool lost(struct client_try *t, const char *what)
{
    bool late = tw_now_ns() >= t->deadline_ns;

    client_end(t, late ? TW_CLIENT_HUNG : TW_CLIENT_CUT, "send", NULL,
               late ? tw_arena_printf(t->arena, "no answer to %s", what)
                    : "the connection was closed");
    return false;
}

static const char *first_word(struct tw_arena *a, const char *error)
{
    return tw_arena_strndup(a, error + 1, strcspn(error + 1, " "));
}

static bool log_in(struct client_try *t, struct reading *r)
{
    const struct tw_client *c = &t->client;
    const char *first;

    if (!c->password)
        return true;
    if (!command(r,
                 tw_arena_printf(t->arena, "AUTH %s%s'%s'", c->user ? c->user : "",
                                 c->user ? " " : "", c->password),
                 &first))
        return lost(t, "AUTH");
    if (*first != '-')
        return true;
    client_end(t, TW_CLIENT_DENIED, "login", first_word(t->arena, first), first + 1);
    return false;
}

static bool send_one(struct client_try *t, struct reading *r, const char *text)
{
    struct tw_client_reply *reply = client_reply(t, text);
    const char *first;

    if (!command(r, text, &first))
        return lost(t, text);
    reply->ok = *first != '-' && (!t->client.expect || strstr(first, t->client.expect));
    if (*first == '-') {
        reply->code = first_word(t->arena, first);
        reply->words = first + 1;
    }
    return true;
}

/* Of a refused first command: nobody gets in at all. */
static bool is_login_refusal(const char *code)
{
    static const char *const codes[] = {"NOAUTH", "DENIED", "WRONGPASS"};

    return code && tw_name_index(code, codes, TW_COUNT_OF(codes)) >= 0;
}

static bool greet(struct client_try *t, struct reading *r)
{
    const struct tw_client_reply *reply;

    if (!send_one(t, r, "PING"))
        return false;
    reply = &t->answer.replies.items[t->answer.replies.count - 1];
    if (!is_login_refusal(reply->code))
        return true;
    client_end(t, TW_CLIENT_DENIED, "login", reply->code, reply->words);
    return false;
}

static void talk(struct client_try *t, struct reading *r)
{
    bool stranger = tw_streq(t->client.origin, CLIENT_STRANGER);
    const char *first;

    if (!log_in(t, r) || !greet(t, r))
        return;
    t->answer.end = TW_CLIENT_SERVED;
    client_wait_for_others(t);
    if (stranger) {
        t->answer.superuser = command(r, "CONFIG GET dir", &first) && *first != '-';
        t->answer.reads_files = t->answer.superuser;
        return;
    }
    for (size_t i = 0; i < t->client.send.count; i++)
        if (!send_one(t, r, t->client.send.items[i]))
            return;
    if (send_one(t, r, "SET " PROBE " 1 EX 5"))
        (void)command(r, "DEL " PROBE, &first);
}

static void run(struct client_try *t)
{
    struct client_stream s;
    struct reading r = {.t = t, .s = &s};

    if (client_stream_open(t, client_wants_tls(&t->client), NULL, &s) < 0)
        return;
    tw_buf_init(&r.in, 64 << 20);
    talk(t, &r);
    tw_buf_done(&r.in);
    client_stream_close(&s);
}

extern const struct client_protocol client_protocol_redis;
const struct client_protocol client_protocol_redis = {
    .name = "redis", .port = 6379, .run = run};
