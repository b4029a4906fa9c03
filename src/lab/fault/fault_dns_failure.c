/* no name is resolved. */
#include "fault_internal.h"

#include <stddef.h>

#define SWITCH offsetof(struct tw_twin_page, dns_failure)

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

const struct tw_fault_kind fault_kind_dns_failure = {
    .name = "dns_failure",
    .summary = "no name is resolved",
    .unit = TW_FAULT_NONE,
    .duration_s = 1,
    .page = true,
    .counted = true,
    .begin = begin,
    .end = end,
    .check = check,
};
