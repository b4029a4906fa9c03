/* Shared by the files of a deployment's stage: today's container twice, and once as it would be. */
#ifndef RUN_DEPLOYMENT_H
#define RUN_DEPLOYMENT_H

#include "run_internal.h"

#include "tw/deploy.h"
#include "tw/docker.h"

#define DEPLOYMENT_START_S       20.0
#define DEPLOYMENT_NEIGHBOURS    6
#define DEPLOYMENT_NETWORKS      2
#define DEPLOYMENT_ADDRESS_FIRST 2  /* of the target; .3 for the second of its network */
#define DEPLOYMENT_ADDRESS_NEXT  20 /* of who is beside it */

/* What is behind it, one instance in each network. */
struct neighbour {
    struct tw_docker_container of;
    const char *address;
    struct tw_instance_spec spec[DEPLOYMENT_NETWORKS];
    struct tw_instance *instance[DEPLOYMENT_NETWORKS];
};
struct deployment {
    struct run *r;
    struct tw_arena *a;
    struct tw_docker *engine;
    struct tw_docker_container like, changed; /* today's; with the changes in it */
    struct tw_sandbox_container made[TW_SIDE_COUNT + 1], beside[DEPLOYMENT_NEIGHBOURS];
    struct neighbour neighbours[DEPLOYMENT_NEIGHBOURS];
    size_t neighbour_count;
    json_t *image; /* of the new version, as the Engine describes it */
    const char *image_name, *dir;
    int64_t dir_token;
    bool copied, emptied;
    TW_ARRAY(struct tw_clone *) clones; /* of volumes, owned */
    struct tw_smokes smoke;
    struct tw_deployed seen;
};

/* ---- what is changed (deployment_change.c) ---- */
/* The value that the plan gives a name ("image"); NULL: none. */
const char *deployment_change(const struct deployment *d, const char *name);
/* to and its words live in d->a. */
int deployment_inspect(struct deployment *d, const char *id, struct tw_docker_container *to,
                       struct tw_err *err);
/* The image of the new version; it has to be on the Engine. */
int deployment_find_image(struct deployment *d, struct tw_err *err);
/* "Config" of it, borrowed; NULL: not found yet. */
const json_t *deployment_image(const struct deployment *d);
/* d->changed becomes d->like with the changes of the plan in it. */
void deployment_apply(struct deployment *d);

/* ---- where it stands: data, addresses, names (deployment_places.c) ---- */
/* Of the twin network, by its last number. */
const char *deployment_address(struct tw_arena *a, int last);
/* Clones of its volumes, or empty ones where no data may be taken. */
int deployment_add_volumes(struct deployment *d, const struct tw_docker_container *of,
                           const char *place, const struct tw_instance_spec *rests,
                           struct tw_instance_spec *to, struct tw_err *err);
/* "SIGTERM", "TERM", "15"; 0: not given, or not known. */
int deployment_signal(const char *text);
/* One instance: its container, network, name, health and limits as today's. */
void deployment_fill_spec(struct deployment *d, const struct tw_docker_container *c,
                          const struct tw_sandbox_container *made, const char *name, int network,
                          const char *at, struct tw_instance_spec *ret);

/* ---- who is behind it (deployment_neighbours.c) ---- */
int deployment_find_neighbours(struct deployment *d, struct tw_err *err);
int deployment_fill_neighbours(struct deployment *d, struct tw_err *err);
/* Callbacks of struct tw_deploy_spec; arg is the deployment. */
int deployment_start_neighbours(void *arg, struct tw_err *err);
void deployment_cut(void *arg, bool away);

#endif
