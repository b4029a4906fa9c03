/* A finished simulation in every output format, one file each; listed by name.
 *
 * Errors  -EINVAL unknown format (nearest named)
 * Owns    the text is appended to the caller's buffer */
#ifndef TW_REPORT_H
#define TW_REPORT_H

#include "tw/spec.h"

struct tw_report_style {
    bool colour;  /* ANSI */
    bool unicode; /* sparklines and marks; else ASCII */
    int columns;  /* width; 0: 100 */
};
struct tw_report_format {
    const char *name, *summary, *media_type;
    int (*write)(const struct tw_simulation *s, const struct tw_report_style *style,
                 struct tw_buf *out, struct tw_err *err);
};
extern const struct tw_report_format *const tw_report_formats[];
extern const size_t tw_report_format_count;
const struct tw_report_format *tw_report_format_find(const char *name, struct tw_err *err);
#endif
