/* The formats, by name. */
#include "report_internal.h"

#include <string.h>

#define ROW(name_, summary_, media_)                                                     \
    static const struct tw_report_format format_##name_ = {                              \
        .name = #name_,                                                                  \
        .summary = (summary_),                                                           \
        .media_type = (media_),                                                          \
        .write = report_write_##name_,                                                   \
    };
REPORT_LIST(ROW)
#undef ROW

#define POINTER(name_, summary_, media_) &format_##name_,
const struct tw_report_format *const tw_report_formats[] = {REPORT_LIST(POINTER)};
#undef POINTER
const size_t tw_report_format_count = TW_COUNT_OF(tw_report_formats);

#define NAME(name_, summary_, media_) #name_,
static const char *const names[] = {REPORT_LIST(NAME)};
#undef NAME

const struct tw_report_format *tw_report_format_find(const char *name, struct tw_err *err)
{
    int i = tw_name_index(name, names, TW_COUNT_OF(names));
    const char *near;

    if (i >= 0)
        return tw_report_formats[i];
    near = tw_nearest(name, names, TW_COUNT_OF(names));
    if (near)
        (void)tw_fail(err, -EINVAL, "unknown format '%s'; did you mean '%s'?", name,
                      near);
    else
        (void)tw_fail(
            err, -EINVAL,
            "unknown format '%s'; expected text, json, markdown, html, junit or sarif",
            name);
    return NULL;
}
