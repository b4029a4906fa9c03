/* Shared by the files of room filter. */
#ifndef FILTER_INTERNAL_H
#define FILTER_INTERNAL_H

#include "tw/filter.h"

#define FILTER_LINKS 48
#define FILTER_OTHER "twother" /* an interface that no rule names */

struct tw_filter_box {
    struct tw_priv *priv; /* borrowed */
    int host, prober;     /* namespaces */
    struct tw_arena *arena;
    TW_ARRAY(const char *) links;
    struct tw_filter_text loaded;
    uint32_t next;     /* number of the next packet */
};
struct filter_names {
    TW_ARRAY(const char *) list;
};
/* The interfaces that a rule-set text names. */
void filter_names_of(struct tw_arena *a, const char *text, struct filter_names *ret);
bool filter_name_is_fine(const char *name);
/* A program in the box's host; out (owned, may be NULL) gets what it printed. */
int filter_run(struct tw_filter_box *b, const char *const *argv, const char *input, const char *dir,
               char **out, struct tw_err *err);
/* Links for these names, unless they stand already. */
int filter_links(struct tw_filter_box *b, const struct filter_names *names, struct tw_err *err);
#endif
