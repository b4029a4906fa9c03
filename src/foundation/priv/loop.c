/* Loop devices. An image gets one device at most, however many processes mount it: XFS
 * refuses a second one with the same UUID, and two page caches over one file would tear
 * it. The device clears itself when its last user goes (LO_FLAGS_AUTOCLEAR), also when
 * that user is killed. */
#include "priv_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool backs(int device, const struct stat *image)
{
    struct loop_info64 info;

    return ioctl(device, LOOP_GET_STATUS64, &info) == 0 &&
           info.lo_inode == image->st_ino &&
           info.lo_device == makedev(major(image->st_dev), minor(image->st_dev));
}

/* Opening holds the device, so it is looked at again after the open. */
static int join_existing(const struct stat *image, char ret_path[32])
{
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    int found = -1;

    while (dir && found < 0 && (entry = readdir(dir))) {
        tw_auto_close int fd = -1;
        int number;

        if (sscanf(entry->d_name, "loop%d", &number) != 1)
            continue;
        (void)snprintf(ret_path, 32, "/dev/loop%d", number);
        fd = open(ret_path, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && backs(fd, image))
            found = tw_take_fd(&fd);
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

/* Buffered, not direct: measured, the first read of 700 MB takes a quarter of the time.
 */
static int configure(int control, int image, char ret_path[32], struct tw_err *err)
{
    struct loop_config config = {.fd = (unsigned)image,
                                 .info.lo_flags = LO_FLAGS_AUTOCLEAR};

    /* another process may take the number between the question and the answer's use */
    for (int tries = 0; tries < 64; tries++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        tw_auto_close int fd = -1;

        if (number < 0)
            return tw_fail_errno(err, errno, "asking for a free loop device");
        (void)snprintf(ret_path, 32, "/dev/loop%d", number);
        fd = open(ret_path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return tw_fail_errno(err, errno, "opening '%s'", ret_path);
        if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
            return tw_take_fd(&fd);
        if (errno != EBUSY)
            return tw_fail_errno(err, errno, "attaching the image to '%s'", ret_path);
    }
    return tw_fail(err, -EBUSY, "no loop device could be had: all are taken at once");
}

int priv_loop_open(const char *image, int *ret_fd, char ret_path[32], struct tw_err *err)
{
    tw_auto_free char *lock_path = tw_strf("%s.lock", image);
    tw_auto_close int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    tw_auto_close int file = open(image, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    tw_auto_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    struct stat st;
    int fd;

    if (file < 0 || fstat(file, &st) < 0)
        return tw_fail_errno(err, errno, "opening '%s'", image);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return tw_fail_errno(err, errno, "locking '%s'", lock_path);
    if (control < 0)
        return tw_fail_errno(err, errno, "opening '/dev/loop-control'");
    fd = join_existing(&st, ret_path);
    if (fd < 0) {
        fd = configure(control, file, ret_path, err);
        if (fd < 0)
            return fd;
        tw_step("priv.loop.attached");
    }
    *ret_fd = fd;
    return 0;
}

/* The name of a device in /dev is that of its queue in /sys. */
static int set_queue(const char *device, const char *name, const char *value)
{
    tw_auto_free char *path =
        tw_strf("/sys/block/%s/queue/%s", device + sizeof "/dev/" - 1, name);
    tw_auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/* What is given back to the host's file system meanwhile would stop all else on the image until that has
 * freed it. */
static void set_discard(const char *device, bool discard)
{
    tw_auto_free char *path =
        tw_strf("/sys/block/%s/queue/discard_max_hw_bytes", device + sizeof "/dev/" - 1);
    tw_auto_free char *most = NULL;

    if (tw_read_file(AT_FDCWD, path, 64, &most, NULL, NULL) == 0)
        (void)set_queue(device, "discard_max_bytes", discard ? most : "0");
}

static int find_device(const char *image, int *ret_fd, char ret_path[32], struct tw_err *err)
{
    struct stat st;

    if (stat(image, &st) < 0)
        return tw_fail_errno(err, errno, "looking at '%s'", image);
    *ret_fd = join_existing(&st, ret_path);
    return *ret_fd < 0 ? tw_fail(err, -ENODEV, "no loop device has '%s'", image) : 0;
}

int priv_loop_disk(const char *image, enum tw_disk disk, struct tw_err *err)
{
    static const struct {
        unsigned long direct;
        const char *cache;
    } rows[TW_DISK_COUNT] = {
        [TW_DISK_SHARED] = {0, "write back"},
        [TW_DISK_OWN] = {1, "write through"},
        [TW_DISK_MEMORY] = {0, "write through"},
    };
    char device[32];
    tw_auto_close int fd = -1;
    int r = find_device(image, &fd, device, err);

    if (r < 0)
        return r;
    r = set_queue(device, "write_cache", rows[disk].cache);
    if (r < 0)
        return tw_fail_errno(err, -r, "the write cache of '%s'", device);
    if (ioctl(fd, LOOP_SET_DIRECT_IO, rows[disk].direct) < 0) {
        r = -errno;
        (void)set_queue(device, "write_cache", rows[TW_DISK_SHARED].cache);
        return tw_fail_errno(err, -r, "how '%s' is written", device);
    }
    set_discard(device, disk == TW_DISK_SHARED);
    return 0;
}

double priv_loop_writes(const char *image)
{
    char device[32];
    tw_auto_close int fd = -1;
    tw_auto_free char *path = NULL, *text = NULL;
    long long writes;

    if (find_device(image, &fd, device, NULL) < 0)
        return NAN;
    path = tw_strf("/sys/block/%s/stat", device + sizeof "/dev/" - 1);
    if (tw_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0 ||
        sscanf(text, "%*s %*s %*s %*s %lld", &writes) != 1)
        return NAN;
    return (double)writes;
}
