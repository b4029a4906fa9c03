/* Loaded into the processes of a twin by LD_PRELOAD: a wall clock that is somewhere else, a disk without
 * space, names that are not found, flushes that wait for no disk, each while the page of the twin says so. Without a page it passes
 * everything on. Nothing here may allocate or wait: it stands in the middle of somebody else's program. */
#include "tw/twin_page.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static struct tw_twin_page *page;

/* As the library behind us has it; found once, by whoever comes first. */
#define NEXT(name)                                                                       \
    static __typeof__(name) *next;                                                       \
    if (!next)                                                                           \
        *(void **)(void *)&next = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void find_page(void)
{
    const char *path = getenv("TWIN_FAULT_PAGE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (at == MAP_FAILED)
        return;
    page = at;
    atomic_fetch_add(&page->loaded, 1);
}

/* ---- the wall clock ---- */

static int64_t shift(void)
{
    return page ? atomic_load_explicit(&page->clock_ns, memory_order_relaxed) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int64_t by = shift(), ns;
    int r;

    NEXT(clock_gettime);
    r = next ? next(clock, ret) : (int)syscall(SYS_clock_gettime, clock, ret);
    if (r != 0 || by == 0 ||
        (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_TAI))
        return r;
    ns = (int64_t)ret->tv_sec * 1000000000 + ret->tv_nsec + by;
    ret->tv_sec = ns / 1000000000;
    ret->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec t;

    if (zone)
        *(struct timezone *)zone = (struct timezone){0, 0};
    if (clock_gettime(CLOCK_REALTIME, &t) != 0)
        return -1;
    ret->tv_sec = t.tv_sec;
    ret->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec t = {0, 0};

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (ret)
        *ret = t.tv_sec;
    return t.tv_sec;
}

/* ---- a disk without space: what stands can be written again, nothing grows ---- */

static bool is_full(int fd, off_t at, size_t len)
{
    struct stat st;

    if (!page || !atomic_load_explicit(&page->disk_full, memory_order_relaxed) ||
        fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (at < 0)
        at = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
    if (at + (off_t)len <= st.st_size)
        return false;
    atomic_fetch_add(&page->writes_refused, 1);
    errno = ENOSPC;
    return true;
}

static size_t length_of(const struct iovec *parts, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++)
        len += parts[i].iov_len;
    return len;
}

/* ---- flushes: what they would ask of a disk is counted ---- */

#define BLOCK 8192

static uint32_t unflushed[1024]; /* bytes by descriptor, of this process; a few too many or few are no harm */

static ssize_t note_written(int fd, ssize_t n)
{
    if (n > 0 && page && fd >= 0 && (size_t)fd < sizeof unflushed / sizeof *unflushed)
        unflushed[fd] += (uint32_t)n;
    return n;
}

/* True: it is done. */
static bool is_flushed(int fd)
{
    uint32_t bytes = 0;

    if (!page)
        return false;
    if (fd >= 0 && (size_t)fd < sizeof unflushed / sizeof *unflushed) {
        bytes = unflushed[fd];
        unflushed[fd] = 0;
    }
    atomic_fetch_add_explicit(&page->flushes, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&page->flushed_blocks, (bytes + BLOCK - 1) / BLOCK,
                              memory_order_relaxed);
    return atomic_load_explicit(&page->flushes_free, memory_order_relaxed);
}

int fsync(int fd)
{
    NEXT(fsync);
    return is_flushed(fd) ? 0 : next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    return is_flushed(fd) ? 0 : next(fd);
}

/* Only a hint that something be written soon. */
int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags)
{
    NEXT(sync_file_range);
    if (page && atomic_load_explicit(&page->flushes_free, memory_order_relaxed))
        return 0;
    return next(fd, at, len, flags);
}

/* ---- writes ---- */

ssize_t write(int fd, const void *data, size_t len)
{
    NEXT(write);
    return is_full(fd, -1, len) ? -1 : note_written(fd, next(fd, data, len));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    NEXT(writev);
    return is_full(fd, -1, length_of(parts, count)) ? -1
                                                    : note_written(fd, next(fd, parts, count));
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    NEXT(pwrite);
    return is_full(fd, at, len) ? -1 : note_written(fd, next(fd, data, len, at));
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    NEXT(pwrite64);
    return is_full(fd, at, len) ? -1 : note_written(fd, next(fd, data, len, at));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    NEXT(pwritev);
    return is_full(fd, at, length_of(parts, count)) ? -1
                                                    : note_written(fd, next(fd, parts, count, at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
    NEXT(pwritev64);
    return is_full(fd, at, length_of(parts, count)) ? -1
                                                    : note_written(fd, next(fd, parts, count, at));
}

int posix_fallocate(int fd, off_t at, off_t len)
{
    NEXT(posix_fallocate);
    return is_full(fd, at, (size_t)len) ? ENOSPC : next(fd, at, len);
}

int posix_fallocate64(int fd, off_t at, off_t len)
{
    NEXT(posix_fallocate64);
    return is_full(fd, at, (size_t)len) ? ENOSPC : next(fd, at, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    NEXT(fallocate);
    return mode == 0 && is_full(fd, at, (size_t)len) ? -1 : next(fd, mode, at, len);
}

/* ---- names ---- */

static bool is_mute(void)
{
    if (!page || !atomic_load_explicit(&page->dns_failure, memory_order_relaxed))
        return false;
    atomic_fetch_add(&page->names_refused, 1);
    return true;
}

/* Late, or with somebody else's address: what is looked up instead of the name. */
static const char *told_instead(const char *name)
{
    int64_t late = page ? atomic_load_explicit(&page->dns_late_ns, memory_order_relaxed) : 0;
    struct timespec wait = {late / 1000000000, late % 1000000000};

    if (late > 0)
        (void)nanosleep(&wait, NULL);
    if (late > 0 || (page && page->dns_address[0]))
        atomic_fetch_add(&page->names_changed, 1);
    return page && page->dns_address[0] ? page->dns_address : name;
}

/* Numbers need nobody's answer. */
static bool is_number(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    NEXT(getaddrinfo);
    if (!name || is_number(name) || (hints && hints->ai_flags & AI_NUMERICHOST))
        return next(name, service, hints, ret);
    return is_mute() ? EAI_AGAIN : next(told_instead(name), service, hints, ret);
}

struct hostent *gethostbyname(const char *name)
{
    NEXT(gethostbyname);
    if (is_number(name))
        return next(name);
    if (is_mute()) {
        h_errno = TRY_AGAIN;
        return NULL;
    }
    return next(told_instead(name));
}
