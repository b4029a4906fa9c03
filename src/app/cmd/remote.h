/* A daemon asked by the command line. */
#ifndef CMD_REMOTE_H
#define CMD_REMOTE_H

#include "cmd_internal.h"

/* --server or TWIN_SERVER; NULL: none. */
const char *cmd_server(const struct cmd_args *args);
/* As cmd_server, but none is an error that says what the command needs it for. */
int cmd_need_server(const struct cmd_args *args, const char *what, struct tw_err *err);
/* body is taken; NULL: none. *ret_json is new. A problem becomes err, with its pointer. */
int cmd_ask(const struct cmd_args *args, const char *method, const char *path, json_t *body,
            json_t **ret_json, struct tw_err *err);
#endif
