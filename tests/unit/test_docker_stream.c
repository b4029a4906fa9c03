/* Streams cut at every place, and archives in memory. */
#include "docker/docker_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static const char frames[] = "\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\4err!\1\0\0\0\0\0\0\0"
                             "\1\0\0\0\0\0\0\1\n";

Test(docker_stream, the_outputs_are_told_apart_wherever_a_piece_ends)
{
    size_t len = sizeof(frames) - 1;

    for (size_t cut = 0; cut <= len; cut++) {
        tw_auto_buf out = {0}, errors = {0};
        struct docker_demux x;

        tw_buf_init(&out, 100);
        tw_buf_init(&errors, 100);
        docker_demux_init(&x, false, &out, &errors);
        cr_assert(docker_demux_take(&x, frames, cut));
        cr_assert(docker_demux_take(&x, frames + cut, len - cut));
        cr_expect(docker_demux_end(&x, NULL) == 0);
        cr_expect_str_eq(tw_buf_text(&out), "out\n", "cut at %zu", cut);
        cr_expect_str_eq(tw_buf_text(&errors), "err!", "cut at %zu", cut);
    }
}

Test(docker_stream, an_end_in_the_middle_and_an_unknown_frame_are_told)
{
    tw_auto_buf out = {0};
    struct docker_demux x;

    tw_buf_init(&out, 100);
    docker_demux_init(&x, false, &out, &out);
    cr_assert(docker_demux_take(&x, frames, 10));
    cr_expect(docker_demux_end(&x, NULL) == -EPROTO);
    docker_demux_init(&x, false, &out, &out);
    cr_expect(!docker_demux_take(&x, "HTTP/1.1 400", 12));
    cr_expect(docker_demux_end(&x, NULL) == -EPROTO);
}

static bool count(void *arg, const json_t *object)
{
    return ++*(int *)arg < 3 && json_is_object(object);
}

Test(docker_stream, objects_in_a_row_are_found_wherever_a_piece_ends)
{
    static const char text[] = "{\"a\":\"}\\\"{\"}\n{\"b\":[{\"c\":1}]}\r\n";
    size_t len = sizeof(text) - 1;

    for (size_t cut = 0; cut <= len; cut++) {
        struct docker_objects o;
        int n = 0;

        docker_objects_init(&o, count, &n);
        cr_assert(docker_objects_take(&o, text, cut));
        cr_assert(docker_objects_take(&o, text + cut, len - cut));
        cr_expect(n == 2 && !o.broken && o.depth == 0, "cut at %zu", cut);
        docker_objects_done(&o);
    }
}

Test(docker_stream, what_is_no_object_ends_the_stream)
{
    static const char *const texts[] = {"null", "x{}", "{\"a\":1}]", "{\"a\":}"};

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++) {
        struct docker_objects o;
        int n = 0;

        docker_objects_init(&o, count, &n);
        cr_expect(!docker_objects_take(&o, texts[i], strlen(texts[i])), "%s", texts[i]);
        cr_expect(o.broken, "%s", texts[i]);
        docker_objects_done(&o);
    }
}

Test(docker_stream, files_come_out_of_an_archive_as_they_went_in)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_buf tar = {0};
    struct tw_docker_entry in[] = {
        {.path = "etc/shop", .mode = 0750, .uid = 100, .gid = 101},
        {.path = "etc/shop/a.conf",
         .data = "key = value\n",
         .len = 12,
         .mode = 0640,
         .uid = 999},
        {.path = "etc/shop/empty", .data = "", .mode = 0600},
        {.path = "etc/shop/link", .link_to = "a.conf", .mode = 0777}};
    struct tw_docker_entries entries = {{in, TW_COUNT_OF(in)}}, out = {0};
    struct tw_err err = {0};

    tw_buf_init(&tar, 1 << 20);
    cr_assert(docker_tar_write(&entries, &tar, &err) == 0, "%s", err.text);
    cr_assert(docker_tar_read(a, tar.data, tar.len, &out, &err) == 0, "%s", err.text);
    cr_assert(out.list.count == TW_COUNT_OF(in));
    cr_expect(!out.list.items[0].data && out.list.items[0].mode == 0750);
    cr_expect(out.list.items[1].uid == 999 && out.list.items[1].len == 12);
    cr_expect_str_eq(out.list.items[1].data, "key = value\n");
    cr_expect(out.list.items[2].data && out.list.items[2].len == 0);
    cr_expect_str_eq(out.list.items[3].link_to, "a.conf");
    /* Cut anywhere within what the files need: an error, or fewer files, and no more than there were. */
    for (size_t cut = 0; cut < tar.len; cut += 97) {
        struct tw_docker_entries part = {0};

        if (docker_tar_read(a, tar.data, cut, &part, NULL) == 0)
            cr_expect(part.list.count <= out.list.count);
    }
}

Test(docker_stream, paths_that_climb_are_refused)
{
    static const char *const paths[] = {"/etc/passwd", "../x", "a/../../x", "",
                                        "a//b",        ".."};

    for (size_t i = 0; i < TW_COUNT_OF(paths); i++) {
        struct tw_docker_entry e = {.path = paths[i], .data = "", .mode = 0600};
        struct tw_docker_entries entries = {{&e, 1}};
        tw_auto_buf tar = {0};

        tw_buf_init(&tar, 1 << 20);
        cr_expect(docker_tar_write(&entries, &tar, NULL) == -EINVAL, "'%s'", paths[i]);
    }
}
