/* Over which servers it spreads requests, and the same with others: a section that names the port of
 * somebody has all its servers replaced by as many of that one's kind. */
#include "kind_haproxy_internal.h"

#include <string.h>

struct server {
    const char *indent, *name, *host, *rest;
    int port;
};

static const char *word_end(const char *s)
{
    return s + strcspn(s, " \t\r\n");
}

static const char *word_begin(const char *s)
{
    return s + strspn(s, " \t");
}

/* "    server s1 127.0.0.1:8080 check" */
static bool read_server(struct tw_arena *a, const char *line, struct server *ret)
{
    const char *word = word_begin(line), *name, *where, *colon;

    if (strncmp(word, "server", 6) != 0 || !strchr(" \t", word[6]) || !word[6])
        return false;
    name = word_begin(word + 6);
    where = word_begin(word_end(name));
    *ret = (struct server){
        .indent = tw_arena_strndup(a, line, (size_t)(word - line)),
        .name = tw_arena_strndup(a, name, (size_t)(word_end(name) - name)),
        .rest = tw_arena_strdup(a, word_end(where))};
    colon = memrchr(where, ':', (size_t)(word_end(where) - where));
    if (!colon)
        return false;
    ret->host = tw_arena_strndup(a, where, (size_t)(colon - where));
    ret->port = atoi(colon + 1);
    return ret->port > 0;
}

static bool begins_section(const char *line)
{
    static const char *const words[] = {"global",    "defaults", "frontend", "backend", "listen",
                                        "resolvers", "peers",    "userlist", "program", "cache",
                                        "mailers",   "ring",     "log-forward"};
    const char *word = word_begin(line);
    size_t n = (size_t)(word_end(word) - word);

    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        if (strlen(words[i]) == n && strncmp(word, words[i], n) == 0)
            return true;
    return false;
}

static void put_servers(struct tw_buf *b, const struct server *s, const int *ports, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tw_buf_printf(b, "%sserver %s", s->indent, s->name);
        if (i)
            tw_buf_printf(b, "-%zu", i + 1);
        tw_buf_printf(b, " %s:%d%s\n", s->host, ports[i], s->rest);
    }
}

/* One section, lines [from, to): how many servers, and whether one of them has the port. */
static int servers_of(struct tw_arena *a, char **lines, size_t from, size_t to, int port,
                      struct server *ret_like)
{
    struct server s;
    bool leads = false;
    int count = 0;

    for (size_t i = from; i < to; i++) {
        if (!read_server(a, lines[i], &s))
            continue;
        count++;
        if (!leads && s.port == port) {
            *ret_like = s;
            leads = true;
        }
    }
    return leads ? count : 0;
}

const char *haproxy_spread_text(struct tw_arena *a, const char *text, int port, const int *ports,
                                size_t n, int *ret_today)
{
    char *rest = tw_arena_strdup(a, text), *line;
    TW_ARRAY(char *) lines = {0};
    struct tw_buf b;
    const char *out;

    *ret_today = 0;
    while ((line = strsep(&rest, "\n")))
        TW_PUSH(a, &lines, line);
    tw_buf_init(&b, (size_t)16 << 20);
    for (size_t from = 0, to; from < lines.count; from = to) {
        struct server like = {0}, s;
        bool put = false;
        int count;

        for (to = from + 1; to < lines.count && !begins_section(lines.items[to]);)
            to++;
        count = servers_of(a, lines.items, from, to, port, &like);
        *ret_today = count > *ret_today ? count : *ret_today;
        for (size_t i = from; i < to; i++) {
            if (count && n && read_server(a, lines.items[i], &s)) {
                if (!put)
                    put_servers(&b, &like, ports, n);
                put = true;
            } else {
                tw_buf_printf(&b, "%s%s", lines.items[i], i + 1 < lines.count ? "\n" : "");
            }
        }
    }
    out = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return out;
}

bool haproxy_spread(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *x,
                    int port, const int *ports, size_t n, int *ret_today, const char **ret_path,
                    const char **ret_text)
{
    return service_spread(a, s, x, haproxy_spread_text, port, ports, n, ret_today, ret_path, ret_text);
}
