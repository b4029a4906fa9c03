/* Reads the large files of the arms' clones into the page cache while their services
 * boot. A clone shares blocks with its seed, not cached pages: without this the first
 * seconds of load would measure how fast this host reads, not the service. Both arms
 * alike; charged to neither. */
#include "run_internal.h"

#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
/* Between two looks at the stop flag. */
#define CHUNK      ((off_t)8 << 20)
#define LEAST_FILE ((off_t)256 << 10)
/* Of the memory a twin may have: more than this would not stay in its cache in real life
 * either. */
#define MEMORY_SHARE 0.4
#define MOST_BYTES   ((int64_t)4 << 30)
/* How long the load waits for it at most. A disk that gives little has the services wait for it in every
 * slot, each time as long as others let it: seconds of reading are fewer than those that measuring takes
 * then, to end undecided (8 s; 1 GB read from a cold page cache on a disk of 75 MB/s to 760 MB/s). */
#define WAIT_NS (6 * TW_SEC_NS)

static int open_for_clone(const char *path)
{
    /* Opened for writing as the server does: the overlay then has its own file (a
     * reflink), whose pages are the ones that the server will read. */
    return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOATIME);
}

static void read_file(struct run_warm *w, const char *path, off_t size)
{
    tw_auto_close int fd = open_for_clone(path);
    void *map;

    if (fd < 0)
        return;
    map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return;
    for (off_t at = 0; at < size && !w->stop; at += CHUNK) {
        size_t n = (size_t)(size - at < CHUNK ? size - at : CHUNK);

        if (madvise((char *)map + at, n, MADV_POPULATE_READ) < 0)
            break; /* before Linux 5.14: the trial's own warming does it */
        w->bytes += (int64_t)n;
    }
    (void)munmap(map, (size_t)size);
}

static void read_tree(struct run_warm *w)
{
    tw_auto_free char *base = tw_strf("%s/base", w->path);
    char *paths[] = {base, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

    if (!fts)
        return;
    for (FTSENT *e; !w->stop && (e = fts_read(fts));)
        if (e->fts_info == FTS_F && e->fts_statp->st_size >= LEAST_FILE)
            read_file(w, e->fts_accpath, e->fts_statp->st_size);
    (void)fts_close(fts);
}

static void *warm_main(void *arg)
{
    struct run_warm *w = arg;

    if (w->kind->season)
        (void)w->kind->season(w->snapshot, w->root, &w->stop, NULL);
    if (w->read)
        read_tree(w);
    w->done = true;
    return NULL;
}

static void begin(struct run *r, enum run_role role, bool read)
{
    struct run_warm *w = &r->warm[role];

    if (w->running || w->done)
        return;
    *w = (struct run_warm){.kind = r->kind,
                           .snapshot = &r->snapshot,
                           .root = tw_clone_root(r->members[role].clone),
                           .read = read};
    w->path = tw_arena_printf(r->arena, "%s%s", w->root, r->snapshot.data_dir);
    w->running = pthread_create(&w->thread, NULL, warm_main, w) == 0;
}

void run_warm_begin(struct run *r)
{
    int64_t data = r->snapshot.data_bytes;
    bool read =
        data <= MOST_BYTES && (double)data <= MEMORY_SHARE * (double)r->memory_bytes;

    if (!r->snapshot.data_dir || (!read && !r->kind->season))
        return;
    begin(r, RUN_BASELINE, read);
    begin(r, RUN_CANDIDATE, read);
}

void run_warm_end(struct run *r, bool wait)
{
    int64_t deadline = tw_now_ns() + (wait ? WAIT_NS : 0);

    for (int role = RUN_BASELINE; role <= RUN_CANDIDATE; role++) {
        struct run_warm *w = &r->warm[role];

        if (!w->running)
            continue;
        while (!w->done && tw_now_ns() < deadline &&
               !(r->options->cancel && *r->options->cancel))
            tw_sleep_ns(2 * TW_MSEC_NS);
        w->cut_short = !w->done && w->read && wait;
        w->stop = true;
        (void)pthread_join(w->thread, NULL);
        w->running = false;
    }
}

static bool is_filled(const struct run *r)
{
    for (int role = RUN_BASELINE; role <= RUN_CANDIDATE; role++)
        if (r->warm[role].running && !r->warm[role].done)
            return false;
    return true;
}

void run_warm_finish(struct run *r, const struct tw_run_next *next)
{
    while (!is_filled(r) && !next->hurry(next->arg))
        tw_sleep_ns(10 * TW_MSEC_NS);
    run_warm_end(r, !is_filled(r));
}
