/* no name is resolved. */
#include "fault_internal.h"

#include <stdatomic.h>

static int set(struct tw_fault_run *f, bool on, struct tw_err *err)
{
    struct tw_twin_page *page = NULL;
    int r = fault_page(f, &page, err);

    if (r == 0)
        atomic_store(&page->dns_failure, on);
    return r;
}

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    return set(f, true, err);
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    return set(f, false, err);
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    struct tw_twin_page *page = tw_twin_page(f->place.twin);

    return page && !atomic_load(&page->dns_failure) ? 0 : tw_fail(err, -EBUSY, "it still stands");
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
