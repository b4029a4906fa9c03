/* Faults that only the process itself can have: a page of memory that a small library inside it reads. */
#include "fault_internal.h"

#include <stdatomic.h>

/* Built for itself: it is loaded into programs that are not ours. */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "fault_preload_begin:\n"
        ".incbin \"build/twin-faults.so\"\n"
        "fault_preload_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern const char fault_preload_begin[] __attribute__((visibility("hidden")));
extern const char fault_preload_end[] __attribute__((visibility("hidden")));

void tw_fault_preload(const void **ret_bytes, size_t *ret_len)
{
    *ret_bytes = fault_preload_begin;
    *ret_len = (size_t)(fault_preload_end - fault_preload_begin);
}

int fault_page(struct tw_fault_run *f, struct tw_twin_page **ret, struct tw_err *err)
{
    struct tw_twin_page *page = tw_twin_page(f->place.twin);

    if (!page)
        return tw_fail(err, -EOPNOTSUPP, "the twin was opened without the library for it");
    if (atomic_load(&page->loaded) == 0)
        return tw_fail(err, -EOPNOTSUPP,
                       "the service does not load it: its program is linked statically, or "
                       "drops LD_PRELOAD");
    f->how = "a library of ours in its processes";
    *ret = page;
    return 0;
}

static _Atomic bool *flag_of(struct tw_twin_page *page, size_t flag)
{
    return (_Atomic bool *)(void *)((char *)page + flag);
}

int fault_page_switch(struct tw_fault_run *f, size_t flag, bool on, struct tw_err *err)
{
    struct tw_twin_page *page = NULL;
    int r = fault_page(f, &page, err);

    if (r == 0)
        atomic_store(flag_of(page, flag), on);
    return r;
}

int fault_page_is_off(struct tw_fault_run *f, size_t flag, struct tw_err *err)
{
    struct tw_twin_page *page = tw_twin_page(f->place.twin);

    return page && !atomic_load(flag_of(page, flag)) ? 0 : tw_fail(err, -EBUSY, "it still stands");
}
