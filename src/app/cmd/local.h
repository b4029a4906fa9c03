/* The state of this machine, for the commands that do what a daemon else does. */
#ifndef CMD_LOCAL_H
#define CMD_LOCAL_H

#include "remote.h"

#include "tw/gate.h"

struct cmd_local {
    struct tw_store *store;
    struct tw_audit *audit;
    struct tw_actor actor;
};
/* cmd_local_close() also after a failure. */
int cmd_local_open(struct cmd_args *args, struct cmd_local *l, struct tw_err *err);
void cmd_local_close(struct cmd_local *l);

/* What is done and its entry in the audit chain, both or neither: fn does it and says to what
 * (ret_object, in the arena) and with which detail (ret_detail, taken; may stay NULL). */
typedef int cmd_local_fn(struct cmd_args *args, struct cmd_local *l, const char **ret_object,
                         json_t **ret_detail, struct tw_err *err);
int cmd_local_change(struct cmd_args *args, const char *action, cmd_local_fn *fn,
                     struct tw_err *err);

#endif
