/* Over which servers an upstream spreads requests, and the same with others. */
#include "kind_nginx_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct server {
    const char *host, *rest; /* rest: weight and the like */
    int port;
};

static bool is_word_at(const char *text, const char *at, const char *word)
{
    size_t n = strlen(word);

    return strncmp(at, word, n) == 0 && isspace((unsigned char)at[n]) &&
           (at == text || isspace((unsigned char)at[-1]) || strchr(";{}", at[-1]));
}

/* The next "upstream NAME {" that is no comment: its brace; ret_end: the one that closes it. */
static const char *next_upstream(const char *text, const char *from, const char **ret_end)
{
    for (const char *c = from; *c; c++) {
        if (*c == '#') {
            c += strcspn(c, "\n");
            if (!*c)
                return NULL;
        } else if (is_word_at(text, c, "upstream")) {
            const char *open = strchr(c, '{');
            const char *close = open ? strchr(open, '}') : NULL;

            *ret_end = close;
            return close ? open + 1 : NULL;
        }
    }
    return NULL;
}

/* "server 127.0.0.1:8080 weight=2" without its semicolon. */
static bool read_server(struct tw_arena *a, const char *from, const char *to, struct server *ret)
{
    const char *word = from + strspn(from, " \t\r\n"), *where, *end, *colon;

    if (word >= to || !is_word_at(word, word, "server"))
        return false;
    where = word + 6 + strspn(word + 6, " \t\r\n");
    end = where + strcspn(where, " \t\r\n;");
    colon = memrchr(where, ':', (size_t)(end - where));
    ret->host = tw_arena_strndup(a, where, (size_t)((colon ? colon : end) - where));
    ret->port = colon ? atoi(colon + 1) : 80;
    ret->rest = tw_arena_strndup(a, end, (size_t)(to - end));
    return !tw_starts_with(ret->host, "unix");
}

static int servers_of(struct tw_arena *a, const char *from, const char *to, int port,
                      struct server *ret_like)
{
    struct server s;
    bool leads = false;
    int count = 0;

    for (const char *end; from < to && (end = memchr(from, ';', (size_t)(to - from)));
         from = end + 1) {
        if (!read_server(a, from, end, &s))
            continue;
        count++;
        if (!leads && s.port == port) {
            *ret_like = s;
            leads = true;
        }
    }
    return leads ? count : 0;
}

/* The block's statements, servers replaced where the first of them stood. */
static void put_block(struct tw_arena *a, struct tw_buf *b, const char *from, const char *to,
                      const struct server *like, const int *ports, size_t n)
{
    struct server s;
    bool put = false;

    for (const char *end; from < to && (end = memchr(from, ';', (size_t)(to - from)));
         from = end + 1) {
        if (!read_server(a, from, end, &s)) {
            tw_buf_add(b, from, (size_t)(end + 1 - from));
            continue;
        }
        for (size_t i = 0; i < n && !put; i++)
            tw_buf_printf(b, "\n    server %s:%d%s;", like->host, ports[i], like->rest);
        put = true;
    }
    tw_buf_add(b, from, (size_t)(to - from));
}

const char *nginx_spread_text(struct tw_arena *a, const char *text, int port, const int *ports,
                              size_t n, int *ret_today)
{
    const char *done = text, *open, *close, *out;
    struct tw_buf b;

    *ret_today = 0;
    tw_buf_init(&b, (size_t)16 << 20);
    while ((open = next_upstream(text, done, &close))) {
        struct server like = {0};
        int count = servers_of(a, open, close, port, &like);

        *ret_today = count > *ret_today ? count : *ret_today;
        tw_buf_add(&b, done, (size_t)(open - done));
        if (count && n)
            put_block(a, &b, open, close, &like, ports, n);
        else
            tw_buf_add(&b, open, (size_t)(close - open));
        done = close;
    }
    tw_buf_puts(&b, done);
    out = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return out;
}

bool nginx_spread(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *x,
                  int port, const int *ports, size_t n, int *ret_today, const char **ret_path,
                  const char **ret_text)
{
    return service_spread(a, s, x, nginx_spread_text, port, ports, n, ret_today, ret_path, ret_text);
}
