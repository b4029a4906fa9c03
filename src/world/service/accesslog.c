/* Access logs as they stand at the target: which requests, how often, how large, how long. No
 * address, no user, no value of a query leaves them. */
#include "service_internal.h"

#include <fcntl.h>
#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KINDS_MAX 200
#define COMBINED                                                                         \
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "   \
    "\"$http_referer\" \"$http_user_agent\""

struct line {
    const char *request, *status, *bytes, *request_bytes, *seconds, *upstream, *host;
    const char *method, *path, *request_ms, *upstream_ms;
};
static const struct {
    const char *variable;
    size_t offset;
} variables[] = {
    {"request", offsetof(struct line, request)},
    {"status", offsetof(struct line, status)},
    {"body_bytes_sent", offsetof(struct line, bytes)},
    {"bytes_sent", offsetof(struct line, bytes)},
    {"request_length", offsetof(struct line, request_bytes)},
    {"request_time", offsetof(struct line, seconds)},
    {"upstream_response_time", offsetof(struct line, upstream)},
    {"request_ms", offsetof(struct line, request_ms)},
    {"upstream_ms", offsetof(struct line, upstream_ms)},
    {"host", offsetof(struct line, host)},
    {"http_host", offsetof(struct line, host)},
    {"server_name", offsetof(struct line, host)},
    {"request_method", offsetof(struct line, method)},
    {"uri", offsetof(struct line, path)},
    {"request_uri", offsetof(struct line, path)},
};

static size_t name_length(const char *s)
{
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

static void keep(struct line *l, const char *name, size_t n, const char *value)
{
    for (size_t i = 0; i < TW_COUNT_OF(variables); i++) {
        const char **to = (const char **)(void *)((char *)l + variables[i].offset);

        if (strlen(variables[i].variable) == n &&
            strncmp(variables[i].variable, name, n) == 0 && !*to)
            *to = value;
    }
}

/* Walks format and text side by side: a variable's value ends where the format's next literal
 * begins. */
static bool split_line(char *text, const char *format, struct line *ret)
{
    *ret = (struct line){0};
    while (*format) {
        size_t n, literal;
        const char *name;
        char *end;

        if (*format != '$') {
            if (*text++ != *format++)
                return false;
            continue;
        }
        format++;
        if (*format == '{')
            format++;
        name = format;
        n = name_length(format);
        format += n;
        if (*format == '}')
            format++;
        literal = strcspn(format, "$");
        end = literal ? memmem(text, strlen(text), format, literal) : text + strlen(text);
        if (!end)
            return false;
        keep(ret, name, n, text);
        if (literal) {
            *end = '\0';
            end += literal;
            format += literal;
        }
        text = end;
    }
    return true;
}

/* "/orders/1234/items?user=7": parts that are numbers or long hex stand for one kind. */
static const char *kind_of_path(struct tw_arena *a, const char *path)
{
    char *text = tw_arena_strndup(a, path, strcspn(path, "?#; "));

    return tw_redact_text(NULL, a, text);
}

static double number_of(const char *text)
{
    char *end;
    double value = text ? strtod(text, &end) : NAN;

    return text && end != text ? value : NAN;
}

/* HAProxy writes -1 for what did not come to pass. */
static double time_of(const char *seconds, const char *ms)
{
    double value = ms ? number_of(ms) / 1000 : number_of(seconds);

    return value >= 0 ? value : NAN;
}

struct kinds {
    struct tw_arena *a;
    struct tw_snapshot *s;
    int64_t others;
};

static double mean_with(double mean, int64_t count, double value)
{
    return isnan(value)  ? mean
           : isnan(mean) ? value
                         : mean + (value - mean) / (double)(count + 1);
}

static void count_request(struct kinds *k, const struct line *l, const char *host)
{
    char *request = l->request ? tw_arena_strdup(k->a, l->request) : NULL;
    const char *method = l->method, *path = l->path;
    struct tw_sample_request *found = NULL;
    int status = l->status ? atoi(l->status) : 0;

    if (request && strchr(request, ' ')) {
        method = strsep(&request, " ");
        path = strsep(&request, " ");
    }
    if (!method || !path || *path != '/' || strlen(method) > 10)
        return;
    path = kind_of_path(k->a, path);
    if (l->host && !tw_streq(l->host, "-"))
        host = l->host;
    for (size_t i = 0; i < k->s->requests.count && !found; i++) {
        struct tw_sample_request *one = &k->s->requests.items[i];

        if (one->status == status && tw_streq(one->path, path) &&
            tw_streq(one->method, method) && tw_streq(one->host, host))
            found = one;
    }
    if (!found && k->s->requests.count >= KINDS_MAX) {
        k->others++;
        return;
    }
    if (!found) {
        TW_PUSH(k->a, &k->s->requests,
                (struct tw_sample_request){.method = tw_arena_strdup(k->a, method),
                                           .path = path,
                                           .host = tw_arena_strdup(k->a, host),
                                           .status = status,
                                           .bytes = NAN,
                                           .request_bytes = NAN,
                                           .mean_s = NAN,
                                           .upstream_s = NAN,
                                           .upstream_bytes = NAN});
        found = &k->s->requests.items[k->s->requests.count - 1];
    }
    found->bytes = mean_with(found->bytes, found->count, number_of(l->bytes));
    found->request_bytes =
        mean_with(found->request_bytes, found->count, number_of(l->request_bytes));
    found->mean_s =
        mean_with(found->mean_s, found->count, time_of(l->seconds, l->request_ms));
    found->upstream_s =
        mean_with(found->upstream_s, found->count, time_of(l->upstream, l->upstream_ms));
    found->count++;
}

static char *read_tail(const char *path, size_t max, size_t *ret_len)
{
    tw_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    size_t size;
    char *text;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return NULL;
    size = (size_t)st.st_size < max ? (size_t)st.st_size : max;
    text = tw_alloc(size + 1);
    n = pread(fd, text, size, st.st_size - (off_t)size);
    *ret_len = n > 0 ? (size_t)n : 0;
    text[*ret_len] = '\0';
    return text;
}

static int by_count(const void *x, const void *y)
{
    const struct tw_sample_request *a = x, *b = y;

    return a->count < b->count ? 1 : a->count > b->count ? -1 : strcmp(a->path, b->path);
}

void service_access_log_count(struct tw_arena *a, const struct service_access_log *logs,
                              size_t n, size_t max, struct tw_snapshot *s)
{
    struct kinds k = {.a = a, .s = s};

    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        tw_auto_free char *text = read_tail(logs[i].path, max, &len);
        char *rest = text;
        struct line l;
        bool whole = len < max;

        for (char *line; rest && (line = strsep(&rest, "\n"));) {
            if (whole && split_line(line, logs[i].format ? logs[i].format : COMBINED, &l))
                count_request(&k, &l, logs[i].host);
            whole = true; /* the first of a tail may be half a line */
        }
        s->cost.bytes += (int64_t)len;
    }
    if (s->requests.count)
        qsort(s->requests.items, s->requests.count, sizeof *s->requests.items, by_count);
}
