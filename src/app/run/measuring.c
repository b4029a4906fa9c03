/* The lock of measuring: a file of the state directory, released by the kernel when its
 * holder dies. */
#include "run_internal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define LOOK_NS (20 * TW_MSEC_NS)

int run_measuring_begin(struct run *r, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/measuring.lock", r->state_dir);
    tw_auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tw_fail_errno(err, errno, "locking '%s'", path);
        if (r->options->cancel && *r->options->cancel)
            return tw_fail(err, -ECANCELED,
                           "cancelled while another simulation measures");
        tw_sleep_ns(LOOK_NS);
    }
    r->measuring = tw_take_fd(&fd);
    return 0;
}

void run_measuring_end(struct run *r)
{
    if (r->measuring > 0)
        (void)close(r->measuring);
    r->measuring = 0;
}
