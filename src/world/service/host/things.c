/* What a start needs beside the configuration: files and directories that settings name. */
#include "host.h"

#include <string.h>
#include <strings.h>

struct finding {
    struct tw_arena *a;
    const struct host_outside *rows;
    size_t n;
    struct host_things *things;
};

static void add(const struct finding *f, const char *setting, const char *value)
{
    struct host_things *things = f->things;

    for (size_t i = 0; i < f->n; i++) {
        if (!setting || strcasecmp(f->rows[i].setting, setting) != 0 || !value ||
            *value != '/')
            continue;
        value = host_path(f->a, value);
        if (f->rows[i].what == HOST_FILE)
            TW_PUSH(f->a, &things->files, value);
        else
            TW_PUSH(f->a, &things->dirs,
                    f->rows[i].what == HOST_PARENT ? host_parent(f->a, value) : value);
    }
}

/* "name value", "name = value", the value in quotes or not. */
static void add_lines(const struct finding *f, const char *text)
{
    char *rest = tw_arena_strdup(f->a, text);

    for (char *line; rest && (line = strsep(&rest, "\n"));) {
        char *name = strsep(&line, " \t=");

        if (line)
            add(f, name, line + strspn(line, " \t=\""));
    }
}

void host_things_find(struct tw_arena *a, const struct host_outside *rows, size_t n,
                      const struct tw_snapshot *s, const struct tw_plan *plan,
                      struct host_things *ret)
{
    struct finding f = {a, rows, n, ret};

    *ret = (struct host_things){0};
    for (size_t i = 0; i < s->settings.count; i++)
        add(&f, s->settings.items[i].name, s->settings.items[i].value);
    for (size_t i = 0; plan && i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];

        if (step->kind == TW_STEP_SETTING)
            add(&f, step->name, step->value);
        else
            add_lines(&f, step->value);
    }
}

int host_things_copy(const struct host_things *things, const struct tw_snapshot *s,
                     const char *root, unsigned uid, unsigned gid, struct tw_err *err)
{
    int r = 0;

    for (size_t i = 0; i < things->dirs.count && r == 0; i++)
        r = host_make_dir(root, things->dirs.items[i], s, uid, gid, err);
    for (size_t i = 0; i < s->files.count && r == 0; i++)
        r = host_copy_file(root, s->files.items[i].path, uid, gid, err);
    for (size_t i = 0; i < things->files.count && r == 0; i++)
        r = host_copy_file(root, things->files.items[i], uid, gid, err);
    return r;
}

void host_things_layout(struct tw_arena *a, const struct host_things *things,
                        const struct tw_snapshot *s, const char *root,
                        struct tw_layout *l)
{
    for (size_t i = 0; i < s->files.count; i++)
        if (!strstr(s->files.items[i].path, "/systemd/"))
            host_layout_add(a, l, root, s->files.items[i].path);
    for (size_t i = 0; i < things->files.count; i++)
        host_layout_add(a, l, root, things->files.items[i]);
    for (size_t i = 0; i < things->dirs.count; i++)
        host_layout_add(a, l, root, things->dirs.items[i]);
}
