/* YAML as a flat list of pointers and values. Events only: no document is ever built, so that
 * nothing a file says is resolved, merged or expanded. */
#include "tw/io.h"
#include "tw/spec.h"

#include <libfyaml.h>
#include <string.h>

#define MAX_BYTES   ((size_t)1 << 20)
#define MAX_DEPTH   64
#define MAX_ENTRIES 10000 /* keys of one mapping are compared with each other */
#define MAX_EMPTY   100   /* libfyaml's time grows with their square */

/* A container being read. key: the entry that waits for its value, of a mapping. */
struct level {
    size_t entry; /* index in the list */
    bool mapping;
    const char *key; /* NULL: a key comes next */
    TW_ARRAY(const char *) keys;
};
struct reader {
    struct tw_arena *a;
    struct tw_yaml *yaml;
    const char *origin;
    struct tw_err *err;
    struct level levels[MAX_DEPTH];
    int depth;
    int documents;
};

static int fail_at(const struct reader *rd, const struct fy_mark *mark, const char *text)
{
    return tw_fail(rd->err, -EINVAL, "%s, line %d, column %d: %s", rd->origin,
                   mark ? mark->line + 1 : 0, mark ? mark->column + 1 : 0, text);
}

/* Adds an entry where the reader stands. */
static int add(struct reader *rd, const char *value, const struct fy_mark *mark,
               bool quoted)
{
    struct level *at = rd->depth ? &rd->levels[rd->depth - 1] : NULL;
    struct tw_yaml_entry entry = {.pointer = "",
                                  .value = value,
                                  .line = mark ? mark->line + 1 : 0,
                                  .column = mark ? mark->column + 1 : 0,
                                  .quoted = quoted};

    if (rd->yaml->list.count >= MAX_ENTRIES)
        return fail_at(rd, mark, "more than 10000 entries");
    if (at) {
        struct tw_yaml_entry *parent = &rd->yaml->list.items[at->entry];

        entry.pointer = tw_json_pointer(
            rd->a, parent->pointer,
            at->mapping ? at->key : tw_arena_printf(rd->a, "%d", parent->children));
        parent->children++;
        at->key = NULL;
    }
    TW_PUSH(rd->a, &rd->yaml->list, entry);
    return 0;
}

static int take_key(struct reader *rd, struct level *at, const char *key,
                    const struct fy_mark *mark, bool quoted)
{
    if (!quoted && tw_streq(key, "<<"))
        return fail_at(rd, mark, "merge keys are not read; write the values out");
    if (tw_name_index(key, at->keys.items, at->keys.count) >= 0)
        return fail_at(rd, mark,
                       tw_arena_printf(rd->a, "the key '%s' stands here twice", key));
    TW_PUSH(rd->a, &at->keys, key);
    at->key = key;
    return 0;
}

static int on_scalar(struct reader *rd, struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    struct fy_token *token = fy_event_get_token(event);
    struct level *at = rd->depth ? &rd->levels[rd->depth - 1] : NULL;
    size_t len = 0;
    const char *raw = token ? fy_token_get_text(token, &len) : NULL, *text;
    bool quoted = token && fy_token_scalar_style(token) != FYSS_PLAIN;

    if (raw && memchr(raw, '\0', len))
        return fail_at(rd, mark, "a NUL character");
    text = raw ? tw_arena_strndup(rd->a, raw, len) : "";
    if (at && at->mapping && !at->key)
        return take_key(rd, at, text, mark, quoted);
    return add(rd, text, mark, quoted);
}

static int on_container(struct reader *rd, struct fy_event *event, bool mapping)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    struct level *at = rd->depth ? &rd->levels[rd->depth - 1] : NULL;
    int r;

    if (at && at->mapping && !at->key)
        return fail_at(rd, mark, "a key is a text, not a mapping or a list");
    if (rd->depth == MAX_DEPTH)
        return fail_at(rd, mark, "nested deeper than 64 levels");
    r = add(rd, NULL, mark, false);
    if (r < 0)
        return r;
    rd->levels[rd->depth++] =
        (struct level){.entry = rd->yaml->list.count - 1, .mapping = mapping};
    return 0;
}

static int on_event(struct reader *rd, struct fy_event *event)
{
    switch (event->type) {
    case FYET_SCALAR:
        return on_scalar(rd, event);
    case FYET_MAPPING_START:
        return on_container(rd, event, true);
    case FYET_SEQUENCE_START:
        return on_container(rd, event, false);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        rd->depth--;
        return 0;
    case FYET_ALIAS:
        return fail_at(rd, fy_event_start_mark(event),
                       "aliases are not read; write the value out");
    case FYET_DOCUMENT_START:
        return rd->documents++ ? fail_at(rd, fy_event_start_mark(event),
                                         "a second document; one is expected")
                               : 0;
    default:
        return 0;
    }
}

static int stream_error(const struct reader *rd, struct fy_diag *diag)
{
    void *at = NULL;
    const struct fy_diag_error *error = fy_diag_errors_iterate(diag, &at);

    if (!error)
        return tw_fail(rd->err, -EINVAL, "%s is not YAML", rd->origin);
    return tw_fail(rd->err, -EINVAL, "%s, line %d, column %d: %s", rd->origin,
                   error->line, error->column, error->msg);
}

static int read_events(struct reader *rd, struct fy_parser *parser, struct fy_diag *diag)
{
    struct fy_event *event;
    int r = 0;

    while (r == 0 && (event = fy_parser_parse(parser))) {
        r = on_event(rd, event);
        fy_parser_event_free(parser, event);
    }
    return r == 0 && fy_parser_get_stream_error(parser) ? stream_error(rd, diag) : r;
}

/* libfyaml reads some broken sequences for ever (in a directive, say). */
static int check_encoding(const char *text, const char *origin, struct tw_err *err)
{
    int line = 1;

    for (size_t n; *text; text += n) {
        n = tw_utf8_sequence(text);
        if (!n)
            return tw_fail(err, -EINVAL, "%s, line %d: a byte that is not UTF-8 (0x%02x)",
                           origin, line, (unsigned)(unsigned char)*text);
        line += *text == '\n';
    }
    return 0;
}

static int check_lines(const char *text, const char *origin, struct tw_err *err)
{
    int line = 1, empty = 0;

    for (; *text; line++) {
        size_t n = strcspn(text, "\n");

        empty = strspn(text, " \t\r") >= n ? empty + 1 : 0;
        if (empty > MAX_EMPTY)
            return tw_fail(err, -EINVAL, "%s, line %d: more than %d empty lines in a row",
                           origin, line, MAX_EMPTY);
        text += n + (text[n] == '\n');
    }
    return 0;
}

int tw_yaml_read(struct tw_arena *a, const char *text, const char *origin,
                 struct tw_yaml *ret, struct tw_err *err)
{
    struct tw_yaml yaml = {0};
    struct reader *rd = tw_arena_alloc(a, sizeof *rd);
    struct fy_parse_cfg config = {.flags = FYPCF_QUIET};
    struct fy_diag_cfg quiet;
    struct fy_parser *parser;
    struct fy_diag *diag;
    int r;

    *rd = (struct reader){.a = a, .yaml = &yaml, .origin = origin, .err = err};
    if (strlen(text) > MAX_BYTES)
        return tw_fail(err, -EFBIG, "%s is larger than %zu bytes", origin, MAX_BYTES);
    r = check_encoding(text, origin, err);
    if (r == 0)
        r = check_lines(text, origin, err);
    if (r < 0)
        return r;
    fy_diag_cfg_default(&quiet);
    quiet.fp = NULL;
    config.diag = diag = fy_diag_create(&quiet);
    fy_diag_set_collect_errors(diag, true);
    parser = fy_parser_create(&config);
    r = !parser || fy_parser_set_string(parser, text, strlen(text)) < 0
            ? tw_fail(err, -ENOMEM, "reading %s: no memory", origin)
            : read_events(rd, parser, diag);
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    if (r == 0)
        *ret = yaml;
    return r;
}
