/* A simulation that has ended: of this machine's history, or of a daemon's. */
#ifndef CMD_RECALL_H
#define CMD_RECALL_H

#include "remote.h"

/* owned: tw_simulation_free */
int cmd_recall(struct cmd_args *args, const char *id, struct tw_simulation **ret,
               struct tw_err *err);

#endif
