/* What the files of backend "docker" share. */
#ifndef BOX_INTERNAL_H
#define BOX_INTERNAL_H

#include "init_internal.h"
#include "tw/docker.h"

#include <jansson.h>

#define BOX_DIR    "/.twin" /* inside: our init and the socket to its supervisor, read-only */
#define BOX_INIT   BOX_DIR "/init"
#define BOX_SOCKET BOX_DIR "/s"
#define BOX_ASIDE  BOX_DIR "/t" /* the socket of an init beside an entrypoint */

/* Labels of all that is made: how it is found again. */
#define BOX_LABEL_ID    "digital-twin.id"
#define BOX_LABEL_STATE "digital-twin.state"
#define BOX_LABEL_NAME  "digital-twin.name"

struct box_words {
    TW_ARRAY(const char *) list;
};
/* What a request to create is made of. */
struct box_plan {
    const struct tw_sandbox_spec *spec;
    const json_t *image, *old_image; /* inspected: what runs, and that of like (NULL: the same or gone) */
    const char *init_dir;      /* as the Engine knows it; stands on BOX_DIR */
    const char *network;       /* "none", "container:ID" */
    const char *cgroup_parent; /* NULL: the Engine's */
    const char *profile;       /* of seccomp; NULL: none */
    const char *id, *state_dir;
};
/* The body of POST /containers/create, from a list of what may be in it. Adds to left_out, in words, what
 * like has and the twin has not. New reference. */
json_t *box_create_body(struct tw_arena *a, const struct box_plan *p, struct box_words *left_out);
/* What the entrypoint of the container is, by spec, like and image; NULL-terminated. */
struct box_words box_entrypoint(struct tw_arena *a, const struct box_plan *p);

/* A path of ours as the Engine has to be told it: another one where we are in a container ourselves. */
const char *box_engine_path(struct tw_arena *a, struct tw_docker *engine, const char *path);

/* The program that is the init; borrowed. */
const char *box_init_image(size_t *ret_len);
#endif
