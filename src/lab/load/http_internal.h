/* What both versions of HTTP share: the notation of requests, what is an answer. */
#ifndef LOAD_HTTP_INTERNAL_H
#define LOAD_HTTP_INTERNAL_H

#include "load_internal.h"

struct http_header {
    const char *name; /* lower case */
    struct load_template value;
};
struct http_request {
    const char *method;
    struct load_template path, body;
    const char *host; /* NULL: none named */
    TW_ARRAY(struct http_header) headers; /* without host and content-length */
    int expect;
    size_t parameters;
    bool head;       /* the answer has no body */
    bool has_body;
    bool idempotent; /* may be sent again where a connection was closed under it */
};
/* "METHOD /path", header lines, an empty line, the body. -EINVAL. */
int http_request_read(struct tw_arena *a, const struct tw_load_statement *s,
                      struct http_request *ret, struct tw_err *err);
static inline bool http_expected(int expect, int status)
{
    return expect > 0 ? status == expect : status < 400;
}
/* The first words of a body, without tags. */
#define HTTP_WORDS 160
struct http_words {
    char text[HTTP_WORDS];
    size_t len;
    bool tag, blank;
};
void http_words_add(struct http_words *w, const char *data, size_t len);
/* "503", "Service Unavailable: no server is available to handle this request". */
void http_fault(struct load_fault *f, int status, const char *reason,
                const struct http_words *w);
const char *http_reason(int status);

#endif
