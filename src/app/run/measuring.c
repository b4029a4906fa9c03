/* The turn of measuring: a lock on the directory that stands for this host's cores, so that simulations of
 * different users and state directories do not measure each other, given back by the kernel when its holder
 * dies. Where it cannot be opened (a container without it), a file of the state directory stands in. Waiters
 * are served in the order in which they came, which only a blocking call gives; so it is a thread that
 * blocks, and the run looks whether it was cancelled. */
#include "run_internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define LOOK_NS (5 * TW_MSEC_NS)
/* Anybody may lock what anybody may read: a holder that never ends keeps nobody from measuring. */
#define PATIENCE_NS (300 * TW_SEC_NS)
#define CORES "/sys/devices/system/cpu"

enum { WAITING, TAKEN, FAILED, ABANDONED };
struct turn {
    int fd, state, errnum; /* state: atomic */
};

/* Whoever comes second of the two frees it. */
static void turn_free(struct turn *t)
{
    tw_close_p(&t->fd);
    free(t);
}

static void *wait_main(void *arg)
{
    struct turn *t = arg;
    int was = WAITING, now = TAKEN;

    while (flock(t->fd, LOCK_EX) < 0)
        if (errno != EINTR) {
            t->errnum = errno;
            now = FAILED;
            break;
        }
    if (!__atomic_compare_exchange_n(&t->state, &was, now, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        turn_free(t); /* nobody waits for it any more */
    return NULL;
}

static bool abandon(struct turn *t)
{
    int was = WAITING;

    return __atomic_compare_exchange_n(&t->state, &was, ABANDONED, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static int wait_turn(struct run *r, struct turn *t, struct tw_err *err)
{
    int64_t enough = tw_now_ns() + PATIENCE_NS;
    int was;

    while (__atomic_load_n(&t->state, __ATOMIC_ACQUIRE) == WAITING) {
        if (r->options->cancel && *r->options->cancel && abandon(t))
            return tw_fail(err, -ECANCELED,
                           "cancelled while another simulation measures");
        if (tw_now_ns() > enough && abandon(t))
            return 0;
        tw_sleep_ns(LOOK_NS);
    }
    if (t->state == TAKEN)
        r->measuring = tw_take_fd(&t->fd);
    was = t->errnum;
    turn_free(t);
    return was ? tw_fail_errno(err, was, "the turn of measuring") : 0;
}

static int open_turn(struct run *r, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/measuring.lock", r->state_dir);
    int fd = open(CORES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? tw_fail_errno(err, errno, "'%s'", path) : fd;
}

int run_measuring_begin(struct run *r, struct tw_err *err)
{
    struct turn *t;
    pthread_t thread;
    int fd, rc;

    if (r->measuring > 0)
        return 0;
    fd = open_turn(r, err);
    if (fd < 0)
        return fd;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        r->measuring = fd;
        return 0;
    }
    t = tw_alloc(sizeof *t);
    t->fd = fd;
    rc = pthread_create(&thread, NULL, wait_main, t);
    if (rc != 0) {
        turn_free(t);
        return tw_fail_errno(err, rc, "waiting for the turn of measuring");
    }
    (void)pthread_detach(thread);
    return wait_turn(r, t, err);
}

/* Both arms or none: their flushes have to cost the same. */
static bool are_preloaded(const struct run *r)
{
    for (int role = RUN_BASELINE; role <= RUN_CANDIDATE; role++) {
        struct tw_twin_page *page =
            r->members[role].twin ? tw_twin_page(r->members[role].twin) : NULL;

        if (!page || atomic_load(&page->loaded) == 0)
            return false;
    }
    return true;
}

/* A flush of the clones' device is two turns of a kernel thread that has no more right to a core than any
 * process of the host; the library inside asks for none. */
static void set_flushes(struct run *r, bool free)
{
    r->flushes_free = free && are_preloaded(r);
    for (int role = RUN_BASELINE; role <= RUN_CANDIDATE; role++) {
        struct tw_twin_page *page =
            r->members[role].twin ? tw_twin_page(r->members[role].twin) : NULL;

        if (page)
            atomic_store(&page->flushes_free, r->flushes_free);
    }
}

/* A host that cannot do it has a higher noise floor, and shows it. */
bool run_measuring_disk(struct run *r, enum tw_disk disk)
{
    if (r->measuring <= 0 || !r->pool || tw_pool_disk(r->pool, disk, NULL) < 0)
        return false;
    set_flushes(r, disk == TW_DISK_MEMORY);
    r->disk = disk;
    return true;
}

double run_measuring_writes(const struct run *r)
{
    double writes = 0;

    if (r->disk != TW_DISK_MEMORY)
        return NAN;
    if (!r->flushes_free)
        return tw_pool_writes(r->pool);
    for (int role = RUN_BASELINE; role <= RUN_CANDIDATE; role++) {
        struct tw_twin_page *page = tw_twin_page(r->members[role].twin);

        writes += (double)atomic_load(&page->flushes) + (double)atomic_load(&page->flushed_blocks);
    }
    return writes;
}

void run_measuring_end(struct run *r)
{
    if (r->disk == TW_DISK_MEMORY && r->kind->holds_data)
        r->v.without_disk = true;
    if (r->disk != TW_DISK_SHARED)
        (void)run_measuring_disk(r, TW_DISK_SHARED);
    if (r->measuring > 0)
        (void)close(r->measuring);
    r->measuring = 0;
}
