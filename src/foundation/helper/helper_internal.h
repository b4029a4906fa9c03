/* What the files of helper share: the messages, and what is checked of them. */
#ifndef HELPER_INTERNAL_H
#define HELPER_INTERNAL_H

#include "tw/helper.h"

#define HELPER_MAGIC     0x31687774u /* "twh1": another number is another protocol */
#define HELPER_JOB_MAX   ((int64_t)16 << 20)
#define HELPER_MOST      256

enum helper_verb {
    HELPER_PING,
    HELPER_WORK,
    HELPER_STOP,
    HELPER_KILL,
    HELPER_HAND,
    HELPER_VERB_COUNT
};

/* One packet each way; every byte has one meaning. */
struct helper_request {
    uint32_t magic, verb, number, zero;
    char what[16], id[32]; /* filled up with NUL */
};
enum helper_answer_kind { HELPER_PONG, HELPER_ENDED, HELPER_REFUSED };
struct helper_answer {
    uint32_t magic, kind, number;
    int32_t value; /* status of waitpid(), or a negative errno */
    char text[184];
};

/* check.c: pure. fds: how many descriptors came with it. */
int helper_check(const void *packet, size_t len, size_t fds, const char *const *verbs,
                 struct helper_request *ret, struct tw_err *err);
/* Sealed memory of a sensible size; and a pipe to write to. */
int helper_check_input(int input, struct tw_err *err);
int helper_check_output(int output, struct tw_err *err);

/* wire.c */
int helper_send(int fd, const void *packet, size_t len, const int *fds, size_t count);
/* -EAGAIN: nothing now; 0: the other end is closed; else the length. fds: owned by the caller. */
ssize_t helper_receive(int fd, void *packet, size_t size, int fds[2], size_t *ret_count,
                       bool wait);

/* worker.c: those that run. */
struct tw_priv;
struct helper_workers {
    const struct tw_helper_options *o;
    char *program;
    struct tw_priv *priv; /* NULL: no groups here */
    struct helper_worker {
        uint32_t number;
        pid_t pid;        /* 0: free */
        int connection;
        int hand;         /* where it is given a further job; -1: it takes none */
        struct tw_priv_cgroup *group;
    } list[HELPER_MOST];
    int count;
};
int helper_worker_start(struct helper_workers *w, int connection,
                        const struct helper_request *rq, int input, int output,
                        struct tw_err *err);
/* A further job for one that waits for it; nobody is there to take it: nothing happens. */
int helper_worker_hand(struct helper_workers *w, int connection, uint32_t number, int input,
                       struct tw_err *err);
/* NULL: none of that number on that connection. */
struct helper_worker *helper_worker_find(struct helper_workers *w, int connection, uint32_t number);
struct helper_worker *helper_worker_of(struct helper_workers *w, pid_t pid);
void helper_worker_bury(struct helper_workers *w, struct helper_worker *one);
void helper_workers_kill(struct helper_workers *w, int connection); /* -1: all */
#endif
