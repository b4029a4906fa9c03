/* Shared by the stages of a change of the path between services. */
#ifndef RUN_PATH_H
#define RUN_PATH_H

#include "run_internal.h"

struct run_path {
    struct tw_network_request asked;
    const struct tw_snapshot *caller, *callee; /* borrowed; NULL: clients, somebody who is no target */
    const char *from, *to;    /* for sentences */
    const char *link, *peer;  /* as the candidate's network has them; peer NULL: everybody */
    int port;
    bool port_here, clients;
    struct tw_shape *shape[TW_ARM_COUNT]; /* owned; the baseline's adds nothing but what shaping costs */
    bool in_both;             /* what shaping costs is in the baseline too */
    bool names_told;          /* what was looked up was told */
    const char *how;
};
bool path_is_cut(const struct tw_network_request *n); /* nothing comes through, one way or the other */
/* Names: with the load over, what was looked up meanwhile, and how a start fares without them. */
void path_judge_names(struct run *r, struct run_path *p);
void path_judge_names_met(struct run *r);
/* These values hold on the path from now on. */
int path_shape(struct run_path *p, const struct tw_network_request *n, struct tw_err *err);
/* Pairs of slots at about this rate, with the load open: effects that the trial could not tell. */
void path_measure(struct run *r, double rate_per_s);
/* Time-outs of both ends against the new round trip, connections at rest against what forgets them. */
void path_judge_timeouts(struct run *r, struct run_path *p);
#endif
