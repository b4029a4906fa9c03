/* Requests in their notation, and what is told of answers that are failures. */
#include "http_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *lower(struct tw_arena *a, const char *text, size_t len)
{
    char *name = tw_arena_strndup(a, text, len);

    for (char *at = name; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return name;
}

static bool one_of(const char *word, const char *const *names, size_t n)
{
    return tw_name_index(word, names, n) >= 0;
}

static int read_first_line(struct tw_arena *a, const char *line, size_t len,
                           struct http_request *ret, struct tw_err *err)
{
    static const char *const idempotent[] = {"GET",    "HEAD",    "PUT",
                                             "DELETE", "OPTIONS", "TRACE"};
    const char *blank = memchr(line, ' ', len), *path = blank ? blank + 1 : NULL;

    if (!path || path == line + 1 || path >= line + len || (*path != '/' && *path != '*'))
        return tw_fail(
            err, -EINVAL,
            "a request begins with its method and path (\"GET /\"), found '%s'",
            tw_arena_strndup(a, line, len));
    ret->method = tw_arena_strndup(a, line, (size_t)(blank - line));
    load_template_compile(a, path, (size_t)(line + len - path), ret->parameters,
                          &ret->path);
    ret->head = !strcmp(ret->method, "HEAD");
    ret->idempotent = one_of(ret->method, idempotent, TW_COUNT_OF(idempotent));
    return 0;
}

static int read_header(struct tw_arena *a, const char *line, size_t len,
                       struct http_request *ret, struct tw_err *err)
{
    static const char *const ours[] = {"content-length", "transfer-encoding",
                                       "connection"};
    const char *colon = memchr(line, ':', len), *value = colon ? colon + 1 : NULL;
    struct http_header h = {0};

    if (!colon || colon == line)
        return tw_fail(err, -EINVAL, "a header line is \"Name: value\", found '%s'",
                       tw_arena_strndup(a, line, len));
    while (value < line + len && *value == ' ')
        value++;
    h.name = lower(a, line, (size_t)(colon - line));
    if (!strcmp(h.name, "host")) {
        ret->host = tw_arena_strndup(a, value, (size_t)(line + len - value));
        return 0;
    }
    if (one_of(h.name, ours, TW_COUNT_OF(ours)))
        return 0; /* made from the body and the endpoint */
    load_template_compile(a, value, (size_t)(line + len - value), ret->parameters,
                          &h.value);
    TW_PUSH(a, &ret->headers, h);
    return 0;
}

int http_request_read(struct tw_arena *a, const struct tw_load_statement *s,
                      struct http_request *ret, struct tw_err *err)
{
    struct http_request request = {.expect = s->expect, .parameters = s->variables.count};
    const char *at = s->sql ? s->sql : "";
    int r = 0;

    for (bool first = true;; first = false) {
        size_t len = strcspn(at, "\n"), text = len;

        text -= len > 0 && at[len - 1] == '\r';
        if (!first && text == 0)
            break;
        r = first ? read_first_line(a, at, text, &request, err)
                  : read_header(a, at, text, &request, err);
        if (r < 0)
            return r;
        at += len;
        if (!*at)
            break;
        at++;
    }
    if (*at == '\n')
        at++;
    request.has_body = *at != '\0';
    load_template_compile(a, at, strlen(at), request.parameters, &request.body);
    *ret = request;
    return 0;
}

void http_words_add(struct http_words *w, const char *data, size_t len)
{
    for (size_t i = 0; i < len && w->len + 2 < sizeof w->text; i++) {
        unsigned char c = (unsigned char)data[i];

        if (c == '<' || c == '>') {
            w->tag = c == '<';
            w->blank = true;
        } else if (w->tag) {
            continue;
        } else if (c <= ' ') {
            w->blank = true;
        } else {
            if (w->blank && w->len > 0)
                w->text[w->len++] = ' ';
            w->blank = false;
            w->text[w->len++] = (char)c;
        }
    }
}

/* RFC 9110, section 15. */
const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {444, "Connection Closed Without Response"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return status < 400 ? "OK" : "";
}

void http_fault(struct load_fault *f, int status, const char *reason,
                const struct http_words *w)
{
    tw_auto_free char *code = tw_strf("%d", status), *text = NULL;
    const char *why = reason && *reason ? reason : http_reason(status);

    text = tw_strf("%s%s%.*s", why, *why && w->len ? ": " : "", (int)w->len, w->text);
    load_fault_set(f, code, text);
}
