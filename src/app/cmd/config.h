/* twin.yaml (docs/DEPLOYMENT_GUIDE.md): keys are rows; flags over TWIN_* over files over defaults. */
#ifndef CMD_CONFIG_H
#define CMD_CONFIG_H

#include "tw/api.h"
#include "tw/env.h"

struct cmd_config {
    struct tw_api_options api;
    struct tw_env_list environments;
    double confidence_threshold, failure_sensitivity,
        acceleration_factor; /* checked and shown; the policy and the engines have their own */
    double max_memory_gb, cpu_cores;
    const char *user;          /* the daemon's account; NULL: "twin" */
    const char *helper_socket; /* of a helper that runs by itself; NULL: where it stands by default */
    const char *origin; /* the file that was read, or NULL */
};
/* path NULL: $XDG_CONFIG_HOME/twin/twin.yaml, then /etc/twin/twin.yaml, then the defaults alone. */
int cmd_config_load(struct tw_arena *a, const char *path, struct cmd_config *ret,
                    struct tw_err *err);
/* From text, for tests; origin stands in errors. */
int cmd_config_read(struct tw_arena *a, const char *text, const char *origin,
                    struct cmd_config *ret, struct tw_err *err);
#endif
