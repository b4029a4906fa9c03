/* no file can grow: there is no space left on its disk. */
#include "fault_internal.h"

#include <stdatomic.h>

static int set(struct tw_fault_run *f, bool on, struct tw_err *err)
{
    struct tw_twin_page *page = NULL;
    int r = fault_page(f, &page, err);

    if (r == 0)
        atomic_store(&page->disk_full, on);
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

    return page && !atomic_load(&page->disk_full) ? 0 : tw_fail(err, -EBUSY, "it still stands");
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
