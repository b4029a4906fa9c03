/* Shared by the files of room version. */
#ifndef VERSION_INTERNAL_H
#define VERSION_INTERNAL_H

#include "tw/version.h"

/* A time as texts write it: seconds since 1970 and its form, "yyyy-mm-ddThh:mmZ". */
bool version_time(const char *text, double *ret_s, struct tw_buf *form);
/* A text with what usually changes masked: digits, identifiers. */
void version_shape(const char *text, struct tw_buf *shape);

#endif
