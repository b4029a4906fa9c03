/* The header screen: whatever two readers of the same bytes could understand differently (where a
 * message ends, what its host or path is) is refused. Rules are rows; the classes are those of request
 * smuggling (RFC 9112 §11.2) and of path confusion. */
#include "http_internal.h"

#include <string.h>
#include <strings.h>

#define MAX_HEADERS 64
#define MAX_VALUE   8192
#define MAX_TARGET  4096

static bool refuse(struct http_request *r, int status, const char *code, const char *text)
{
    r->refused_status = status;
    r->refused_code = code;
    r->refused_text = text;
    return false;
}

static bool is_token(const char *s, size_t n)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool word =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!word && (c == '\0' || !strchr(extra, c)))
            return false;
    }
    return n > 0;
}

static bool is_plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 && s[i] != '\t')
            return false;
        else if (s[i] == 0x7f)
            return false;
    return true;
}

static bool is_digits(const char *s)
{
    size_t n = strspn(s, "0123456789");

    return n > 0 && n <= 18 && s[n] == '\0';
}

static bool is_chunked(const char *s)
{
    return strcasecmp(s, "chunked") == 0;
}

/* A host and a port, nothing that a name server or a log would read otherwise. */
static bool is_host(const char *s)
{
    return *s &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                       "-._:[]")] == '\0';
}

static bool is_continue(const char *s)
{
    return strcasecmp(s, "100-continue") == 0;
}

/* Headers that say where a message ends or whom it is for: at most once, and of exactly one form. */
enum watched { HOST, LENGTH, CODING, EXPECT, WATCHED_COUNT };
static const struct {
    const char *name;
    bool (*good)(const char *value);
    int status;
    const char *code, *text;
} watched[WATCHED_COUNT] = {
    [HOST] = {"Host", is_host, 400, "bad_host",
              "the header 'Host' is no host name with an optional port"},
    [LENGTH] = {"Content-Length", is_digits, 400, "bad_length",
                "the header 'Content-Length' is no plain number"},
    [CODING] = {"Transfer-Encoding", is_chunked, 501, "bad_coding",
                "the only transfer coding known here is 'chunked'"},
    [EXPECT] = {"Expect", is_continue, 417, "bad_expectation",
                "the only expectation known here is '100-continue'"},
};

struct seen {
    struct http_request *r;
    size_t count;
    int times[WATCHED_COUNT];
    bool ok;
};

static bool look(struct seen *s, const char *name, size_t name_len, const char *value,
                 size_t value_len)
{
    struct http_request *r = s->r;

    if (++s->count > MAX_HEADERS)
        return refuse(r, 431, "too_many_headers", "a request has at most 64 headers");
    if (value_len > MAX_VALUE)
        return refuse(r, 431, "header_too_long", "a header has at most 8192 bytes");
    if (!is_token(name, name_len) || memchr(name, '_', name_len))
        return refuse(r, 400, "bad_header_name",
                      "the name of a header has characters that are not allowed there");
    if (!is_plain(value, value_len))
        return refuse(r, 400, "bad_header_value",
                      "the value of a header has control characters");
    for (int i = 0; i < WATCHED_COUNT; i++) {
        if (strcasecmp(name, watched[i].name) != 0)
            continue;
        if (++s->times[i] > 1)
            return refuse(r, 400, "repeated_header",
                          "a header that may be given once was given again: 'Host', "
                          "'Content-Length', 'Transfer-Encoding' or 'Expect'");
        if (!watched[i].good(value))
            return refuse(r, watched[i].status, watched[i].code, watched[i].text);
    }
    return true;
}

static enum MHD_Result each(void *arg, enum MHD_ValueKind kind, const char *name,
                            size_t name_len, const char *value, size_t value_len)
{
    struct seen *s = arg;

    (void)kind;
    s->ok = look(s, name, name_len, value ? value : "", value_len);
    return s->ok ? MHD_YES : MHD_NO;
}

static bool has_body(const struct http_request *r, const struct seen *s)
{
    const char *length = tw_http_header(&r->pub, watched[LENGTH].name);

    return s->times[CODING] || (length && strspn(length, "0") != strlen(length));
}

static bool body_allowed(const char *method)
{
    static const char *const names[] = {"POST", "PUT", "PATCH", "DELETE"};

    return tw_name_index(method, names, TW_COUNT_OF(names)) >= 0;
}

bool http_screen(struct http_request *r, const char *method, const char *version)
{
    struct seen s = {.r = r, .ok = true};
    bool one = strcmp(version, "HTTP/1.1") == 0;
    int64_t length = 0;

    if (!one && strcmp(version, "HTTP/1.0") != 0)
        return refuse(r, 505, "bad_version",
                      "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (!is_token(method, strlen(method)))
        return refuse(r, 400, "bad_method", "the method is no token");
    (void)MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, each, &s);
    if (!s.ok)
        return false;
    if (one && !s.times[HOST])
        return refuse(r, 400, "bad_host",
                      "a request of HTTP/1.1 needs the header 'Host'");
    if (s.times[CODING] && (s.times[LENGTH] || !one))
        return refuse(r, 400, "bad_coding",
                      "'Transfer-Encoding' stands with 'Content-Length' or in HTTP/1.0");
    if (has_body(r, &s) && !body_allowed(method))
        return refuse(r, 400, "unexpected_body", "a request of this method has no body");
    if (s.times[LENGTH])
        (void)tw_parse_int64(tw_http_header(&r->pub, watched[LENGTH].name), &length,
                             NULL);
    if (length > (int64_t)r->server->max_body)
        return refuse(r, 413, "body_too_large",
                      "the body is larger than this server takes");
    return http_read_target(r);
}

/* ---- the target ---- */

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | (c >= 'A' && c <= 'F' ? 0x20 : 0)) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Decodes text[0..n) into the arena; NULL where an escape is broken or gives a byte that must not come
 * in disguise. plus: '+' is a blank, as in queries. */
static const char *decode(struct tw_arena *a, const char *text, size_t n, bool plus)
{
    char *out = tw_arena_alloc(a, n + 1), *to = out;

    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)text[i];

        if (c == '%') {
            int high = i + 2 < n ? hex(text[i + 1]) : -1;
            int low = i + 2 < n ? hex(text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return NULL;
            c = high * 16 + low;
            i += 2;
            if (c < 0x20 || c == 0x7f || (!plus && (c == '/' || c == '\\' || c == '%')))
                return NULL;
        } else if (plus && c == '+') {
            c = ' ';
        }
        *to++ = (char)c;
    }
    return out;
}

static bool good_segments(const char *path)
{
    for (const char *at = path; *at == '/';) {
        const char *end;

        at++;
        end = strchrnul(at, '/');
        if (end == at && (*end || at != path + 1))
            return false;
        if ((end - at == 1 && at[0] == '.') ||
            (end - at == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        at = end;
    }
    return true;
}

static bool read_query(struct http_request *r, const char *text)
{
    struct tw_http_request *q = &r->pub;

    while (*text) {
        const char *end = strchrnul(text, '&');
        const char *equals = memchr(text, '=', (size_t)(end - text));
        struct tw_http_pair pair = {
            decode(q->arena, text, (size_t)((equals ? equals : end) - text), true),
            equals ? decode(q->arena, equals + 1, (size_t)(end - equals - 1), true) : ""};

        if (!pair.name || !pair.value)
            return refuse(r, 400, "bad_query", "the query has a broken escape");
        if (tw_http_query(q, pair.name))
            return refuse(r, 400, "repeated_parameter",
                          "a parameter of the query is given twice");
        if (q->query_count == TW_HTTP_MAX_QUERY)
            return refuse(r, 400, "bad_query", "the query has more than 16 parameters");
        q->query[q->query_count++] = pair;
        text = *end ? end + 1 : end;
    }
    return true;
}

bool http_read_target(struct http_request *r)
{
    const char *target = r->pub.target;
    const char *mark = strchrnul(target, '?');
    const char *path;

    if (strlen(target) > MAX_TARGET)
        return refuse(r, 414, "target_too_long", "the target has at most 4096 bytes");
    for (const char *p = target; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || *p == '#')
            return refuse(r, 400, "bad_target",
                          "the target has characters to be escaped");
    path = *target == '/' ? decode(r->pub.arena, target, (size_t)(mark - target), false)
                          : NULL;
    if (!path || !good_segments(path))
        return refuse(
            r, 400, "bad_target",
            "the path has to begin with '/', without empty, '.' or '..' segments, "
            "broken escapes or escaped slashes");
    r->pub.path = path;
    return *mark ? read_query(r, mark + 1) : true;
}
