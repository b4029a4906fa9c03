/* What the files of the queue share. */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include "run_internal.h"

#include "tw/helper.h"

#define QUEUE_WARM 4 /* targets whose twins may stand ready at once */

/* A target that was simulated not long ago. */
struct queue_recent {
    char *environment, *target; /* owned; target NULL: free place */
    int64_t memory_bytes, last_ns;
    bool hopeless; /* its twins could not be made ready; until the next simulation of it */
};

struct entry {
    struct entry *next;
    struct tw_arena *arena; /* owned: of the job's texts */
    struct tw_job job;
    uint64_t order;
    bool cancel; /* asked for, under lock */
    /* while it runs */
    uint32_t number; /* the helper's name for it */
    int out;
    struct tw_buf line;
    int64_t begun_ns, told_ns; /* told: it was asked to stop */
    bool ended;                /* its process; end says how */
    struct tw_helper_end end;
    bool heavy; /* it prepares or measures, and does not only reckon any more */
    int lost;   /* so often the helper went away beneath it */
    bool timed_out, cancelled;
    bool handed;    /* to a worker that stood ready */
    bool heard;     /* it told that it took its job; a warm one, that it is ready */
    bool cold;      /* no twins that stand ready are wanted for it */
    bool let_go;    /* of warm ones: it is not needed any more */
    json_t *body; /* owned */
    bool refused;
};

struct tw_queue {
    struct tw_queue_options o;
    struct tw_helper *helper; /* owned; NULL: gone */
    int64_t tried_ns;         /* to go back to it */
    uint32_t numbers;
    pthread_t thread;
    bool running;
    int wake;
    pthread_mutex_t lock; /* of all below */
    struct entry *waiting, *active;
    struct queue_recent recent[QUEUE_WARM];
    int64_t warmed; /* so many began with twins that stood ready */
    uint64_t orders;
    struct tw_queue_counts counts;
    int64_t memory_bytes; /* of all that run */
    int aside;            /* that run beside those counted */
    int heavy;            /* so many of them are */
    bool closing;
};

void queue_uncount(struct tw_queue *q, struct entry *e); /* under lock: it runs no more */
int queue_start_worker(struct tw_queue *q, struct entry *e, struct tw_err *err);
int queue_input(const struct tw_job *job); /* sealed memory, owned; or a negative errno */
struct entry *queue_entry_new(const struct tw_job *job);
void queue_entry_free(struct entry *e);
void queue_unlink(struct tw_queue *q, struct entry *e); /* from those that run */

/* ---- queue_warm.c: twins that stand ready for the targets of late. All on the queue's thread ---- */
bool queue_is_warm(const struct entry *e); /* no simulation: it waits for one */
/* A simulation of that target ended well. */
void queue_warm_note(struct tw_queue *q, const struct tw_job *job);
/* Gives e to a worker that waits with the twins of its target. false: there is none. */
bool queue_warm_hand(struct tw_queue *q, struct entry *e);
void queue_warm_tick(struct tw_queue *q);  /* starts and lets go */
void queue_warm_cool(struct tw_queue *q);  /* lets one go: its memory is needed */
void queue_warm_ended(struct tw_queue *q, struct entry *e); /* taken */
int queue_warm_count(struct tw_queue *q);  /* under lock */
int64_t queue_warm_bytes(const struct tw_queue *q, const struct tw_job *job); /* of its target's, counted already */
void queue_warm_done(struct tw_queue *q);

#endif
