/* no file can grow: there is no space left on its disk. */
#include "fault_internal.h"

#include <stddef.h>

#define SWITCH offsetof(struct tw_twin_page, disk_full)

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    return fault_page_switch(f, SWITCH, true, err);
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    return fault_page_switch(f, SWITCH, false, err);
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    return fault_page_is_off(f, SWITCH, err);
}

const struct tw_fault_kind fault_kind_disk_full = {
    .name = "disk_full",
    .summary = "no file can grow: there is no space left on its disk",
    .unit = TW_FAULT_NONE,
    .duration_s = 1,
    .page = true,
    .counted = true,
    .begin = begin,
    .end = end,
    .check = check,
};
