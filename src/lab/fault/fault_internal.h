/* What the files of faults share. */
#ifndef FAULT_INTERNAL_H
#define FAULT_INTERNAL_H

#include "tw/fault.h"

#include "list.h"

struct tw_fault_run {
    const struct tw_fault_kind *kind;
    struct tw_fault fault;       /* texts borrowed */
    double strength;
    struct tw_fault_place place;
    const char *how;             /* (set) by begin */
    struct tw_shape *shape;      /* owned */
    struct tw_pg **sessions;     /* owned */
    int *sockets;                /* owned */
    int open, asked, refused;
    char words[256];
};

/* fault_link.c: a link shaped in the directions that were asked for. */
int fault_shape_begin(struct tw_fault_run *f, const struct tw_shape_values v[TW_SHAPE_WAYS],
                      struct tw_err *err);
int fault_shape_end(struct tw_fault_run *f, struct tw_err *err);
int fault_shape_check(struct tw_fault_run *f, struct tw_err *err);
bool fault_is_on(const struct tw_fault_run *f, enum tw_shape_way way);
/* The same in both directions. */
int fault_shape_both(struct tw_fault_run *f, const struct tw_shape_values *v,
                     struct tw_err *err);

/* fault_page.c: the page of a twin that was opened with the library. */
int fault_page(struct tw_fault_run *f, struct tw_twin_page **ret, struct tw_err *err);
/* flag: offset of a switch of the page. */
int fault_page_switch(struct tw_fault_run *f, size_t flag, bool on, struct tw_err *err);
int fault_page_is_off(struct tw_fault_run *f, size_t flag, struct tw_err *err);

#define FAULT_DECLARE(name) extern const struct tw_fault_kind fault_kind_##name;
TW_FAULT_LIST(FAULT_DECLARE)
#undef FAULT_DECLARE
#endif
