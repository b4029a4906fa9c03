/* Plain clients: bytes over TCP, and a TLS handshake alone. */
#include "client_internal.h"

#include <string.h>

#define REPLY_NS                                                                         \
    (300 * TW_MSEC_NS) /* a service that says nothing by then waits for more */

/* Sends one text and takes what comes back in one piece. */
static bool say(struct client_try *t, struct client_stream *s, const char *text)
{
    struct tw_client_reply *reply = client_reply(t, text);
    int64_t whole = t->deadline_ns, soon = tw_now_ns() + REPLY_NS;
    char back[4096];
    ssize_t n;

    if (client_stream_write(t, s, text, strlen(text)) < 0) {
        client_end(t, TW_CLIENT_CUT, "send", NULL, "the connection was closed");
        return false;
    }
    if (!t->client.expect && soon < whole)
        t->deadline_ns = soon;
    n = client_stream_read(t, s, back, sizeof back - 1);
    t->deadline_ns = whole;
    if (n == -ETIMEDOUT && t->client.expect) {
        client_end(t, TW_CLIENT_HUNG, "send", NULL, "no answer");
        return false;
    }
    reply->ok = n > 0 || n == -ETIMEDOUT;
    reply->bytes = n > 0 ? (double)n : 0;
    if (n <= 0 && !reply->ok) {
        client_end(t, TW_CLIENT_CUT, "send", NULL, "the connection was closed");
        return false;
    }
    back[n > 0 ? n : 0] = '\0';
    if (t->client.expect && !strstr(back, t->client.expect)) {
        reply->ok = false;
        reply->words = tw_arena_strndup(t->arena, back, strcspn(back, "\r\n"));
    }
    return true;
}

static void talk(struct client_try *t, struct client_stream *s)
{
    t->answer.end = TW_CLIENT_SERVED;
    client_wait_for_others(t);
    for (size_t i = 0; i < t->client.send.count; i++)
        if (!say(t, s, t->client.send.items[i]))
            return;
}

static void run_tcp(struct client_try *t)
{
    struct client_stream s;

    if (client_stream_open(t, client_wants_tls(&t->client), NULL, &s) < 0)
        return;
    talk(t, &s);
    client_stream_close(&s);
}

extern const struct client_protocol client_protocol_tcp, client_protocol_tls;
const struct client_protocol client_protocol_tcp = {
    .name = "tcp", .port = 0, .run = run_tcp};
const struct client_protocol client_protocol_tls = {
    .name = "tls", .port = 443, .run = run_tcp};
