#include "tw/base.h"

#include <stdio.h>
#include <string.h>

static void fill(struct tw_err *err, int code, const char *fmt, va_list args)
{
    err->code = code;
    err->pointer[0] = '\0';
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
}

int tw_fail(struct tw_err *err, int code, const char *fmt, ...)
{
    va_list args;

    if (err) {
        va_start(args, fmt);
        fill(err, code, fmt, args);
        va_end(args);
    }
    return code;
}

int tw_fail_at(struct tw_err *err, int code, const char *pointer, const char *fmt, ...)
{
    va_list args;

    if (err) {
        va_start(args, fmt);
        fill(err, code, fmt, args);
        va_end(args);
        (void)snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    }
    return code;
}

int tw_fail_errno(struct tw_err *err, int errnum, const char *fmt, ...)
{
    va_list args;
    size_t used;

    if (err) {
        va_start(args, fmt);
        fill(err, -errnum, fmt, args);
        va_end(args);
        used = strlen(err->text);
        (void)snprintf(err->text + used, sizeof err->text - used, ": %s",
                       strerror(errnum));
    }
    return -errnum;
}

int tw_wrap(struct tw_err *err, int code, const char *fmt, ...)
{
    char context[512], text[sizeof err->text];
    va_list args;

    if (!err)
        return code;
    va_start(args, fmt);
    (void)vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    (void)snprintf(text, sizeof text, "%s", err->text);
    (void)snprintf(err->text, sizeof err->text, "%s: %.*s", context,
                   (int)(sizeof text - sizeof context - 3), text);
    err->code = code;
    return code;
}
