/* Shared by the files of room change. */
#ifndef CHANGE_INTERNAL_H
#define CHANGE_INTERNAL_H

#include "tw/change.h"

/* ---- access.c: who comes in to a service, and how it is encrypted (type security) ---- */

int change_access_validate(struct tw_arena *a, const struct tw_snapshot *s,
                           const struct tw_request *r, struct tw_issues *issues,
                           struct tw_err *err);
int change_access_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                       struct tw_plan *ret, struct tw_err *err);

/* ---- hba.c: lines of pg_hba.conf as rules, the first that fits decides ---- */

/* The keys of one action: NULL where not given. */
struct change_hba_action {
    const char *pointer; /* of its object, for errors */
    const char *action;  /* add_rule remove_rule replace_rule move_rule */
    const char *rule, *with, *before, *position, *line;
    const char *type, *database, *user, *source, *method, *options;
};
/* The text with the action done; ret_told says in a line what was done and where. */
int change_hba_edit(struct tw_arena *a, const char *text, const struct change_hba_action *action,
                    const char **ret_text, const char **ret_told, struct tw_err *err);

#endif
