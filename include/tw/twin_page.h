/* The page that a twin and the library in its processes share. It stands alone, as the library knows
 * nothing else of this program. */
#ifndef TW_TWIN_PAGE_H
#define TW_TWIN_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tw_twin_page {
    _Atomic int64_t clock_ns; /* (set) by us: added to the wall clock */
    _Atomic bool disk_full, dns_failure;
    _Atomic int64_t dns_late_ns; /* that answers come later by */
    char dns_address[64];        /* that all names have; "": their own; written before the service starts */
    _Atomic int64_t loaded;   /* (set) by the library: processes that have loaded it */
    _Atomic int64_t writes_refused, names_refused, names_changed;
    _Atomic bool flushes_free; /* (set) by us: a flush waits for nothing, and is counted */
    _Atomic int64_t flushes;   /* (set) by the library: fsync() and its kin */
    _Atomic int64_t flushed_blocks; /* of 8 kB, written by the same process before them */
};
#endif
