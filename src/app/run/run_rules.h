/* Shared by the stages of a change of rules. */
#ifndef RUN_RULES_H
#define RUN_RULES_H

#include "run_internal.h"

#include "tw/filter.h"

struct rules_files {
    TW_ARRAY(struct tw_file) list;
};
struct rules_side {
    struct tw_filter_box *box; /* owned */
    struct tw_filter_text text;
    const struct tw_flow_rules *rules; /* NULL: not known */
    int result;                        /* of loading it */
    struct tw_err err;
};
struct rules {
    struct rules_side side[TW_ARM_COUNT];
    bool known; /* both are loaded and modelled */
    TW_ARRAY(struct tw_flow_change) changes;
    bool more; /* than are listed */
    TW_ARRAY(const char *) commands; /* that make the change */
    pthread_t useless_thread; /* looks for rules that decide nothing, beside the rest */
    bool useless_running;
    struct tw_arena *useless_arena;
    struct tw_flow_rule_findings useless[TW_ARM_COUNT];
    bool useless_known[TW_ARM_COUNT];
    struct rules_scan *scan; /* NULL: not asked for */
    struct tw_filter_probes probes;
    int sent, wrong; /* real packets; those that fared otherwise than the model says */
};
/* Lost flows that somebody uses today: listening sockets, tracked connections. */
void run_rules_in_use(struct run *r);
/* What listens, what it says and which TLS it speaks, asked beside the rest; and who reaches it. */
void run_rules_scan_begin(struct run *r);
int run_rules_scan(struct run *r, struct tw_flow_space *s, struct tw_err *err);
void run_rules_scan_done(struct run *r);
bool rules_is_loopback(const char *address);
/* Commands that make the change and undo it. */
void run_rules_apply(struct run *r);
#endif
