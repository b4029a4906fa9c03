#include "trial_internal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVERY_MS 15

/* Looks at the wait events of one arm until told to stop. Nothing else touches the
 * sampler or the arena meanwhile: the trial waits for its slot. */
static void *watch_main(void *arg)
{
    struct trial_watch *w = arg;
    struct pollfd stop = {.fd = w->stop_fd, .events = POLLIN};

    while (poll(&stop, 1, EVERY_MS) == 0)
        if (tw_sampler_waits(w->sampler, w->arena, w->waits, NULL) < 0)
            break;
    return NULL;
}

void trial_watch_start(struct trial_watch *w, struct tw_sampler *sampler,
                       struct tw_arena *arena, struct tw_waits *waits)
{
    *w = (struct trial_watch){.sampler = sampler, .arena = arena, .waits = waits};
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    w->running = w->stop_fd >= 0 && pthread_create(&w->thread, NULL, watch_main, w) == 0;
}

void trial_watch_stop(struct trial_watch *w)
{
    if (w->running) {
        (void)eventfd_write(w->stop_fd, 1);
        pthread_join(w->thread, NULL);
    }
    tw_close_p(&w->stop_fd);
    w->running = false;
}
