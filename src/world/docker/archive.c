/* Files in and out of a container, as an uncompressed tar (libarchive): an Engine unpacks compressed ones
 * with programs of the container as root of the host (CVE-2026-41567). */
#include "docker_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_TAR ((size_t)256 << 20)

static la_ssize_t on_write(struct archive *tar, void *arg, const void *data, size_t len)
{
    struct tw_buf *out = arg;

    tw_buf_add(out, data, len);
    if (!out->overflow)
        return (la_ssize_t)len;
    archive_set_error(tar, EFBIG, "more than %zu bytes", out->max);
    return -1;
}

/* A path that cannot leave the directory it is put into. */
static bool stays_inside(const char *path)
{
    if (!*path || *path == '/')
        return false;
    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 0 || (n == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        path += n;
        path += *path == '/';
    }
    return true;
}

static int write_entry(struct archive *tar, const struct tw_docker_entry *e,
                       struct tw_err *err)
{
    struct archive_entry *head;
    bool fine;

    if (!stays_inside(e->path))
        return tw_fail(err, -EINVAL, "file '%s': a path below the directory was expected",
                       e->path);
    head = archive_entry_new();
    archive_entry_set_pathname(head, e->path);
    archive_entry_set_filetype(head, e->link_to ? S_IFLNK : e->data ? S_IFREG : S_IFDIR);
    archive_entry_set_perm(head, e->mode & 07777);
    archive_entry_set_uid(head, e->uid);
    archive_entry_set_gid(head, e->gid);
    archive_entry_set_mtime(head, tw_wall_ns() / TW_SEC_NS, 0);
    archive_entry_set_size(head, e->data && !e->link_to ? (la_int64_t)e->len : 0);
    if (e->link_to)
        archive_entry_set_symlink(head, e->link_to);
    fine = archive_write_header(tar, head) == ARCHIVE_OK;
    if (fine && e->data && !e->link_to && e->len)
        fine = archive_write_data(tar, e->data, e->len) == (la_ssize_t)e->len;
    archive_entry_free(head);
    return fine ? 0
                : tw_fail(err, -EIO, "file '%s' into an archive: %s", e->path,
                          archive_error_string(tar));
}

int docker_tar_write(const struct tw_docker_entries *entries, struct tw_buf *out,
                     struct tw_err *err)
{
    struct archive *tar = archive_write_new();
    int r = 0;

    (void)archive_write_set_format_pax_restricted(tar);
    (void)archive_write_add_filter_none(tar);
    (void)archive_write_set_bytes_in_last_block(tar, 1);
    if (archive_write_open(tar, out, NULL, on_write, NULL) != ARCHIVE_OK)
        r = tw_fail(err, -EIO, "an archive cannot be begun: %s",
                    archive_error_string(tar));
    for (size_t i = 0; i < entries->list.count && r == 0; i++)
        r = write_entry(tar, &entries->list.items[i], err);
    if (archive_write_close(tar) != ARCHIVE_OK && r == 0)
        r = tw_fail(err, -EIO, "an archive cannot be ended: %s",
                    archive_error_string(tar));
    (void)archive_write_free(tar);
    return r;
}

static int read_data(struct tw_arena *a, struct archive *tar,
                     const struct archive_entry *head, size_t whole,
                     struct tw_docker_entry *ret, struct tw_err *err)
{
    la_int64_t size = archive_entry_size((struct archive_entry *)(uintptr_t)head);
    char *data;

    /* A sparse file may claim more than was sent. */
    if (size < 0 || (size_t)size > whole)
        return tw_fail(err, -EFBIG, "file '%s' of an archive claims %lld bytes",
                       ret->path, (long long)size);
    data = tw_arena_alloc(a, (size_t)size + 1);
    if (archive_read_data(tar, data, (size_t)size) != (la_ssize_t)size)
        return tw_fail(err, -EPROTO, "file '%s' of an archive is cut: %s", ret->path,
                       archive_error_string(tar) ? archive_error_string(tar)
                                                 : "too short");
    ret->data = data;
    ret->len = (size_t)size;
    return 0;
}

static int read_entry(struct tw_arena *a, struct archive *tar, struct archive_entry *head,
                      size_t whole, struct tw_docker_entries *ret, struct tw_err *err)
{
    const char *path = archive_entry_pathname(head);
    const char *link = archive_entry_symlink(head);
    struct tw_docker_entry e = {.mode = (unsigned)archive_entry_perm(head),
                                .uid = (unsigned)archive_entry_uid(head),
                                .gid = (unsigned)archive_entry_gid(head),
                                .link_to = tw_arena_strdup(a, link)};
    mode_t type = archive_entry_filetype(head);
    int r = 0;

    if (!path || !stays_inside(path))
        return tw_fail(err, -EPROTO,
                       "an archive of the Docker Engine names the path '%s'",
                       path ? path : "");
    e.path = tw_arena_strdup(a, path);
    if (archive_entry_hardlink(head) ||
        (type != S_IFREG && type != S_IFDIR && type != S_IFLNK))
        return 0;
    if (type == S_IFREG)
        r = read_data(a, tar, head, whole, &e, err);
    if (r == 0)
        TW_PUSH(a, &ret->list, e);
    return r;
}

int docker_tar_read(struct tw_arena *a, const char *data, size_t len,
                    struct tw_docker_entries *ret, struct tw_err *err)
{
    struct archive *tar = archive_read_new();
    struct archive_entry *head;
    int r = 0, code = ARCHIVE_OK;

    (void)archive_read_support_format_tar(tar);
    if (archive_read_open_memory(tar, data, len) != ARCHIVE_OK)
        r = tw_fail(err, -EPROTO, "an archive of the Docker Engine: %s",
                    archive_error_string(tar));
    while (r == 0 && (code = archive_read_next_header(tar, &head)) == ARCHIVE_OK)
        r = read_entry(a, tar, head, len, ret, err);
    if (r == 0 && code != ARCHIVE_EOF)
        r = tw_fail(err, -EPROTO, "an archive of the Docker Engine: %s",
                    archive_error_string(tar));
    (void)archive_read_free(tar);
    return r;
}

/* ---- the two calls ---- */

struct sending {
    const char *data;
    size_t left;
};

static size_t send_tar(void *arg, char *to, size_t room)
{
    struct sending *s = arg;
    size_t n = s->left < room ? s->left : room;

    memcpy(to, s->data, n);
    s->data += n;
    s->left -= n;
    return n;
}

static int must_be_new(struct tw_docker *d, const char *id, struct tw_err *err)
{
    json_auto_t *json = NULL;
    const char *status;
    int r = tw_docker_container_inspect(d, id, &json, err);

    if (r < 0)
        return r;
    status = json_string_value(json_object_get(json_object_get(json, "State"), "Status"));
    return tw_streq(status, "created")
               ? 0
               : tw_fail(err, -EBUSY,
                         "files into container '%s': it is '%s'; only one that was "
                         "created and "
                         "never started takes files",
                         id, status ? status : "in an unknown state");
}

int tw_docker_archive_put(struct tw_docker *d, const char *id, const char *dir,
                          const struct tw_docker_entries *entries, struct tw_err *err)
{
    tw_auto_buf tar = {0};
    struct sending s;
    int r;

    tw_buf_init(&tar, MAX_TAR);
    r = docker_tar_write(entries, &tar, err);
    if (r == 0)
        r = must_be_new(d, id, err);
    if (r < 0)
        return r;
    s = (struct sending){.data = tar.data, .left = tar.len};
    return docker_ask(
        d,
        (struct docker_ask){.method = "PUT",
                            .path = docker_path("/containers/%s/archive?path=%s"
                                                "&noOverwriteDirNonDir=1&copyUIDGID=0",
                                                id, dir),
                            .what = "files into container",
                            .subject = id,
                            .media_type = "application/x-tar",
                            .send_part = send_tar,
                            .send_len = tar.len,
                            .arg = &s},
        NULL, err);
}

int tw_docker_archive_get(struct tw_docker *d, struct tw_arena *a, const char *id,
                          const char *path, size_t max, struct tw_docker_entries *ret,
                          struct tw_err *err)
{
    tw_auto_buf tar = {0};
    struct tw_docker_entries entries = {0};
    int r = docker_ask_raw(
        d,
        (struct docker_ask){.method = "GET",
                            .path =
                                docker_path("/containers/%s/archive?path=%s", id, path),
                            .what = "files of container",
                            .subject = id,
                            .max_answer = max},
        &tar, err);

    if (r == 0)
        r = docker_tar_read(a, tar.data ? tar.data : "", tar.len, &entries, err);
    if (r == 0)
        *ret = entries;
    return r;
}
