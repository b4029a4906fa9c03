/* Shared by the files of a scaling change: who runs, what was measured, what follows. */
#ifndef RUN_SCALE_H
#define RUN_SCALE_H

#include "run_internal.h"

#define SCALE_INSTANCES 64 /* that really run, of one arm */
#define SCALE_STATIONS  (RUN_PEERS + 1)
#define SCALE_EACH      8  /* clients of a closed loop for each instance, of capacities told */
#define SCALE_SLOTS     16 /* closed ones of one experiment */

/* Closed loops that tell CPU per request: with one instance, with few, and with the limit moved from
 * the instances to what they share. */
enum scale_experiment { SCALE_ONE, SCALE_FEW, SCALE_LIFTED, SCALE_SHARED, SCALE_EXPERIMENTS };

struct scale_instance {
    struct run_member member;
    struct tw_snapshot snapshot; /* at its own port */
};
struct scale_seen {
    int slots;
    double rate_per_s[SCALE_SLOTS];
    double cpu_s[SCALE_STATIONS][SCALE_SLOTS];   /* of a slot */
    double demand_s[SCALE_STATIONS][SCALE_SLOTS]; /* of a request */
    double seconds[SCALE_SLOTS];
    double idle[SCALE_SLOTS];        /* cores of an arm that nobody used meanwhile; NaN unknown */
};
struct run_scale {
    const struct tw_scaling *change; /* borrowed: of the plan */
    int asked[TW_ARM_COUNT], running[TW_ARM_COUNT];
    double cores[TW_ARM_COUNT];      /* asked of each instance; NaN: not known */
    double given[TW_ARM_COUNT];      /* limit that they run with */
    int64_t memory[TW_ARM_COUNT];    /* likewise; 0: none */
    bool smaller[TW_ARM_COUNT];      /* this host cannot give what is asked */
    double room;                     /* cores that an arm may use here */
    struct run_peer *balancer;       /* NULL: none */
    const char *alone_because;       /* no further instances run; NULL: they do */
    int ports[SCALE_INSTANCES];      /* of the instances; [0] is the target's own */
    struct scale_instance more[TW_ARM_COUNT][SCALE_INSTANCES];
    int more_count[TW_ARM_COUNT];
    struct scale_seen seen[SCALE_EXPERIMENTS];
    int shared;                      /* the station that SCALE_SHARED made the limit; -1 */
    int clients;
    bool own;                        /* measured here, not by a trial of pairs */
    struct tw_size_station stations[TW_ARM_COUNT][SCALE_STATIONS];
    size_t station_count;
    struct tw_size_model model[TW_ARM_COUNT];
    bool has_model;
    double effective[TW_ARM_COUNT];  /* what is asked for carries so many times what ran */
    const char *connections_of;      /* behind it: whose connections may run out; NULL */
    double connections_free;         /* for the instances' pools; NaN */
    double connections_most;
    int64_t oom_kills[TW_ARM_COUNT];
};

int scale_limit(struct run *r, enum tw_arm arm, double cores, struct tw_err *err);
/* One further slot of room: fills slot and, for a closed one, what it tells of demands. */
int scale_measure(struct run *r, struct tw_err *err);
void scale_model(struct run *r);
double scale_capacity(const struct run_scale *s, enum tw_arm arm, int instances);
/* Of the closed loop that capacities are told for; of many instances fewer for each keep them busy. */
static inline int scale_clients(int instances)
{
    int most = instances > 64 ? 2 * instances : 128;

    return SCALE_EACH * instances < most ? SCALE_EACH * instances : most;
}
double scale_rate(const struct run_scale *s); /* as the candidate served it; NaN: not for long enough */
double scale_capacity_now(const struct run *r, enum tw_arm arm);
double scale_cores_of_peer(const struct run *r, const struct run_peer *p);

#endif
