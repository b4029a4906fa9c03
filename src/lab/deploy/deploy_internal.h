/* Shared by the files of room deploy. */
#ifndef DEPLOY_INTERNAL_H
#define DEPLOY_INTERNAL_H

#include "tw/deploy.h"

#include <pthread.h>

struct deploy_times {
    TW_ARRAY(double) of[TW_SIDE_COUNT]; /* rounds in which all sides answered, in their order */
    TW_ARRAY(double) all[TW_SIDE_COUNT]; /* each request, infinite where it failed */
    int64_t failed[TW_SIDE_COUNT];
};
struct deploy_samples {
    TW_ARRAY(double) requests, bytes;
};
struct deploy {
    struct tw_arena *a;
    const struct tw_deploy_spec *spec;
    struct tw_deployed *ret;
    struct tw_issues *issues;
    struct tw_instance *side[TW_SIDE_COUNT], *back;
    const char *no_start; /* why the new version could not even be begun; NULL */
    struct tw_asks asks;
    struct tw_answers *answers, *back_answers;
    struct tw_differences differences;
    /* -- while they are asked -- */
    pthread_mutex_t lock;
    int64_t until_ns, lap_ns;
    struct deploy_times *times; /* by ask */
    struct deploy_times total;
    size_t weighed_from;        /* rounds before it do not count for the times */
    struct deploy_samples memory[TW_SIDE_COUNT];
    int64_t asked[TW_SIDE_COUNT], sessions, broken[TW_SIDE_COUNT];
    int64_t log_from[TW_SIDE_COUNT];
    struct tw_stopped stopped[TW_SIDE_COUNT];
    struct tw_leak leak[TW_SIDE_COUNT];
    int healthy[TW_SIDE_COUNT];       /* after the load; -1: no check */
    bool cut_seen[TW_SIDE_COUNT], cut_tried; /* its health tells that what is behind it is away */
};

/* The same requests to all three in turn, and what they cost; again until it is certain or time is up. */
void deploy_ask(struct deploy *d);
/* What was seen, as findings. */
void deploy_judge(struct deploy *d);
/* The old version on what the new one left behind. */
void deploy_judge_back(struct deploy *d, const char *no_start, const char *no_smoke,
                       const struct tw_differences *differences);
const char *deploy_endpoint(const struct deploy *d, int request); /* "GET /item" */
/* Memory of the rounds' threads: they have arenas of their own. */

#endif
