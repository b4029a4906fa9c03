/* Images: listed, looked at, brought in from a file. */
#include "docker_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BRING_IN_TIMEOUT_S 600.0

int tw_docker_images(struct tw_docker *d, const char *reference, json_t **ret,
                     struct tw_err *err)
{
    tw_auto_free char *filter = docker_filter("reference", reference);

    return docker_ask_for(
        d,
        (struct docker_ask){.method = "GET",
                            .path = tw_strf("/images/json?filters=%s", filter),
                            .what = "list of images"},
        JSON_ARRAY, ret, err);
}

int tw_docker_image_inspect(struct tw_docker *d, const char *image, json_t **ret,
                            struct tw_err *err)
{
    return docker_ask_for(
        d,
        (struct docker_ask){.method = "GET",
                            .path = docker_path("/images/%s/json", image),
                            .what = "image",
                            .subject = image},
        JSON_OBJECT, ret, err);
}

int tw_docker_image_remove(struct tw_docker *d, const char *image, struct tw_err *err)
{
    return docker_ask(
        d,
        (struct docker_ask){.method = "DELETE",
                            .path = docker_path("/images/%s?force=1", image),
                            .what = "removing image",
                            .subject = image,
                            .gone_is_fine = true},
        NULL, err);
}

/* A file on its way in; what the Engine says of it comes as objects, and an error among them although
 * the status was 200. */
struct bringing {
    int fd;
    struct docker_objects said;
    struct tw_buf error;
};

static size_t read_part(void *arg, char *to, size_t room)
{
    struct bringing *b = arg;
    ssize_t n;

    do
        n = read(b->fd, to, room);
    while (n < 0 && errno == EINTR);
    return (size_t)n; /* -1 gives up */
}

static bool on_said(void *arg, const json_t *object)
{
    struct bringing *b = arg;
    const char *error = json_string_value(json_object_get(object, "error"));

    if (error && !b->error.len)
        tw_buf_puts(&b->error, error);
    return true;
}

static bool take_said(void *arg, const char *data, size_t len)
{
    struct bringing *b = arg;

    /* To its end, whatever it is: the connection is closed after it. */
    (void)docker_objects_take(&b->said, data, len);
    return true;
}

static int bring_in(struct tw_docker *d, const char *file, char *path, struct tw_err *err)
{
    tw_auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    tw_auto_free char *owned = path;
    struct bringing b = {.fd = fd};
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return tw_fail_errno(err, errno, "image from '%s'", file);
    tw_buf_init(&b.error, 4096);
    docker_objects_init(&b.said, on_said, &b);
    r = docker_ask(
        d,
        (struct docker_ask){.method = "POST",
                            .path = tw_strf("%s", owned),
                            .what = "image from",
                            .subject = file,
                            .media_type = "application/x-tar",
                            .send_part = read_part,
                            .send_len = S_ISREG(st.st_mode) ? (size_t)st.st_size : 0,
                            .take_part = take_said,
                            .arg = &b,
                            .timeout_s = BRING_IN_TIMEOUT_S},
        NULL, err);
    if (r == 0 && b.error.len)
        r = tw_fail(err, -EINVAL, "image from '%s': the Docker Engine says: %s", file,
                    tw_buf_text(&b.error));
    docker_objects_done(&b.said);
    tw_buf_done(&b.error);
    return r;
}

int tw_docker_image_import(struct tw_docker *d, const char *file, const char *tag,
                           const char *const *changes, struct tw_err *err)
{
    const char *colon = strrchr(tag, ':');
    tw_auto_free char *repo =
        tw_strf("%.*s", (int)(colon ? colon - tag : (long)strlen(tag)), tag);
    tw_auto_free char *start = docker_path("/images/create?fromSrc=-&repo=%s&tag=%s",
                                           repo, colon ? colon + 1 : "latest");
    struct tw_buf path;

    tw_buf_init(&path, 1 << 16);
    tw_buf_puts(&path, start);
    for (size_t i = 0; changes && changes[i]; i++) {
        tw_auto_free char *change = docker_escape(changes[i]);

        tw_buf_printf(&path, "&changes=%s", change);
    }
    return bring_in(d, file, tw_buf_take(&path), err);
}

int tw_docker_image_load(struct tw_docker *d, const char *file, struct tw_err *err)
{
    return bring_in(d, file, docker_path("/images/load?quiet=1"), err);
}
