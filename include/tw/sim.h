/* Queues in simulated time. Knows stations and jobs, nothing of twins. Three parts:
 * closed forms, a general engine (events, stations, routes, pools of tokens), and one
 * fast queue that does the same for the one shape a calibrated service has, in about a
 * tenth (FCFS) to a third (sharing) of the time.
 *
 * Units   seconds of simulated time, requests per second; loads are offered work in servers
 * Shapes  a replication is a function of (model, seed, stream): same numbers, same answer, bit for bit
 * Errors  misuse is an assert; what has no stationary answer is NaN
 * Owns    histograms given to a function are the caller's; those of a network live as long as it does
 * Source  Lindley 1952; Kiefer & Wolfowitz 1955; Kleinrock 1975, eq. 3.40, 5.63; virtual time of
 *         processor sharing: Parekh & Gallager 1993; insensitivity: Kelly 1979, ch. 3 */
#ifndef TW_SIM_H
#define TW_SIM_H

#include "tw/num.h"

/* ---- closed forms ---- */

/* Erlang C: the probability that an arrival of M/M/c waits; load = rate * service <
 * servers. */
double tw_sim_erlang_c(int servers, double load);
/* Mean seconds in M/M/c, and in M/G/c processor sharing, which does not see the shape. */
double tw_sim_mean_mmc(int servers, double rate_per_s, double service_s);
/* Pollaczek-Khinchine: mean seconds in M/G/1 FCFS; cv2 = variance / mean^2 of the
 * service. */
double tw_sim_mean_mg1(double rate_per_s, double service_s, double cv2);

/* A closed loop of jobs over stations that each job visits: its throughput, exactly (product form). */
struct tw_sim_closed_station {
    double demand_s; /* seconds of one server that a job needs here, all its visits together */
    int servers;     /* 0: nobody waits (a delay) */
};
double tw_sim_closed_throughput(const struct tw_sim_closed_station *stations, size_t count,
                                int jobs);

/* ---- laws of service ---- */

enum tw_sim_shape {
    TW_SIM_CONSTANT,
    TW_SIM_EXPONENTIAL,
    TW_SIM_ERLANG, /* cv2 = 1/k, rounded to the nearest whole k */
    TW_SIM_HYPER,  /* two exponentials with balanced means, cv2 >= 1 */
    TW_SIM_SAMPLE, /* one of sample, scaled to the mean */
    TW_SIM_SHAPE_COUNT
};
extern const char *const tw_sim_shape_names[TW_SIM_SHAPE_COUNT];
struct tw_sim_law {
    enum tw_sim_shape shape;
    double mean_s, cv2;  /* cv2 is looked at by erlang and hyper only */
    const float *sample; /* borrowed */
    int sample_count;
};
double tw_sim_draw(const struct tw_sim_law *law, struct tw_rng *rng);

/* ---- general engine: events ---- */

struct tw_sim;
struct tw_sim *tw_sim_new(uint64_t seed, uint64_t stream); /* owned: tw_sim_free */
void tw_sim_free(struct tw_sim *s);
TW_AUTO_DEFINE(tw_sim)
double tw_sim_now(const struct tw_sim *s);
/* Ties break by priority (smaller first), then by insertion. */
typedef void tw_sim_event_fn(struct tw_sim *s, void *arg, int64_t number);
void tw_sim_at(struct tw_sim *s, double time_s, int priority, tw_sim_event_fn *fn,
               void *arg, int64_t number);
/* Runs every event up to and including time_s; the clock then stands at time_s. */
void tw_sim_until(struct tw_sim *s, double time_s);

/* ---- general engine: stations, routes, pools ---- */

enum tw_sim_discipline {
    TW_SIM_FCFS,
    TW_SIM_PS,    /* each of k jobs gets min(1, servers / k) */
    TW_SIM_DELAY, /* nobody waits */
    TW_SIM_DISCIPLINE_COUNT
};
extern const char *const tw_sim_discipline_names[TW_SIM_DISCIPLINE_COUNT];
struct tw_sim_station {
    enum tw_sim_discipline discipline;
    int servers;
    struct tw_sim_law service;
};
int tw_sim_station_add(struct tw_sim *s,
                       const struct tw_sim_station *station); /* its number */
/* After `from` a job goes to `to` with this probability; what is left of 1 leaves the
 * network. */
void tw_sim_route(struct tw_sim *s, int from, int to, double probability);
/* Tokens held from entry to exit; a job that waited longer than timeout_s (NaN: for ever)
 * gives up. */
int tw_sim_pool_add(struct tw_sim *s, int tokens, double timeout_s);
struct tw_sim_source {
    double rate_per_s; /* Poisson */
    int station;       /* where its jobs begin */
    int pool;          /* -1: none */
};
int tw_sim_source_add(struct tw_sim *s, const struct tw_sim_source *source);
/* Puts count jobs into a station that belong to no source: closed networks. */
void tw_sim_jobs_put(struct tw_sim *s, int station, int count);
/* Forgets what was counted so far (the warm-up), not the jobs. */
void tw_sim_forget(struct tw_sim *s);
struct tw_sim_station_stats {
    int64_t arrivals, done;
    double busy, jobs;             /* time averages: busy servers, jobs present */
    const struct tw_hist *sojourn; /* borrowed */
};
struct tw_sim_source_stats {
    int64_t arrivals, done, errors;
    const struct tw_hist *latency; /* of those done, from arrival; borrowed */
};
struct tw_sim_station_stats tw_sim_station_stats(const struct tw_sim *s, int station);
struct tw_sim_source_stats tw_sim_source_stats(const struct tw_sim *s, int source);

/* ---- replications ---- */

/* fn fills values from (index, seed); the estimates are means with their 90 % interval
 * (normal). */
typedef void tw_sim_replica_fn(void *arg, int index, uint64_t seed, double *ret_values);
void tw_sim_replicate(tw_sim_replica_fn *fn, void *arg, uint64_t seed, int replicas,
                      int values, struct tw_estimate *ret);

/* ---- the fast queue ----
 * Poisson arrivals take a token of the pool, are served by `servers` in turn or sharing,
 * wait the constant delay, give the token back. FCFS, one server: Lindley's recursion;
 * several: Kiefer-Wolfowitz; sharing: virtual time. A request that waited for its token
 * longer than timeout_s is an error; its latency is the timeout, so that a histogram adds
 * up to every request. */
struct tw_sim_queue_spec {
    int servers;
    int pool;     /* 0: no bound */
    bool sharing; /* PS, else FCFS */
    double delay_s;
    double timeout_s; /* NaN: none */
    const float
        *sample; /* shape of the service, any scale; borrowed; NULL: exponential */
    int sample_count;
    uint64_t seed, stream;
};
struct tw_sim_tally {
    int64_t arrivals, done,
        errors;     /* arrivals: begun; done: recorded, errors among them */
    int64_t queued; /* had to wait for a token */
    double work_s;  /* service requirement of what arrived */
};
struct tw_sim_queue;
struct tw_sim_queue *tw_sim_queue_new(const struct tw_sim_queue_spec *spec);
void tw_sim_queue_free(struct tw_sim_queue *q);
TW_AUTO_DEFINE(tw_sim_queue)
/* From now on; the queue starts empty at time 0 and goes on from one call to the next. */
void tw_sim_queue_load(struct tw_sim_queue *q, double rate_per_s, double service_s);
/* The next `seconds`. FCFS records a request in the call in which it arrives, sharing in
 * the one in which it is served. latency and tally may be NULL; both are added to. */
void tw_sim_queue_advance(struct tw_sim_queue *q, double seconds, struct tw_hist *latency,
                          struct tw_sim_tally *tally);
/* Serves what is left, no further arrivals. */
void tw_sim_queue_drain(struct tw_sim_queue *q, struct tw_hist *latency,
                        struct tw_sim_tally *tally);
/* The given arrivals (ascending, seconds from the start of an empty queue), served to the
 * end. */
void tw_sim_queue_replay(struct tw_sim_queue *q, const double *starts_s, size_t n,
                         struct tw_hist *latency, struct tw_sim_tally *tally);
/* As advance, but of n requests those that met much work count less and those that met
 * little count more (or the other way), so that the shares are what they are in the long
 * run: how much work an arrival would find at one server of `servers` times the speed is
 * known exactly from the sample and the load (Pollaczek-Khinchine, by the recursion of
 * Panjer 1981), and so is the law of its own service. What that takes off the variance of
 * p99 depends: docs/internals/sim.md has a table, from half (sharing, middle loads) to 99
 * % (FCFS, 0.9). The sample has to be ascending. latency gets n * TW_SIM_WEIGHT counts,
 * about. */
#define TW_SIM_WEIGHT 4096
struct tw_sim_strata;
struct tw_sim_strata *tw_sim_strata_new(const float *sample, int sample_count,
                                        double load);
void tw_sim_strata_free(struct tw_sim_strata *s);
TW_AUTO_DEFINE(tw_sim_strata)
/* P(work found <= x), x in mean services of the fast server; exact but for the step of
 * the grid. */
double tw_sim_strata_cdf(const struct tw_sim_strata *s, double x);
void tw_sim_queue_stratified(struct tw_sim_queue *q, const struct tw_sim_strata *s,
                             double seconds, struct tw_hist *latency,
                             struct tw_sim_tally *tally);
/* Requests not yet served (FCFS: work left / service). Setting it is for coming back from
 * a fluid stretch: they are taken to have arrived evenly at the present rate. */
double tw_sim_queue_backlog(const struct tw_sim_queue *q);
void tw_sim_queue_backlog_set(struct tw_sim_queue *q, double requests);
#define TW_SIM_BACKLOG_MAX ((double)(1 << 20)) /* more is not kept request by request */

#endif
