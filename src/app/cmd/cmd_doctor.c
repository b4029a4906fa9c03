#include "cmd_internal.h"

#include "tw/priv.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

/* The server binaries of this host: a twin runs the same major version as its target. */
static void add_postgresql(struct tw_arena *a, struct tw_capabilities *caps)
{
    struct tw_capability c = {
        .name = "postgresql",
        .needed = true,
        .detail = "no PostgreSQL server binaries under /usr/lib/postgresql",
        .fix = "apt-get install postgresql-15 (the target's major version)"};
    tw_auto_buf found = {0};
    glob_t g;

    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &g) == 0) {
        tw_buf_init(&found, 4096);
        for (size_t i = 0; i < g.gl_pathc; i++)
            tw_buf_printf(
                &found, "%s%.*s", i ? ", " : "versions ",
                (int)strcspn(g.gl_pathv[i] + strlen("/usr/lib/postgresql/"), "/"),
                g.gl_pathv[i] + strlen("/usr/lib/postgresql/"));
        c.available = true;
        c.detail = tw_arena_strdup(a, tw_buf_text(&found));
        c.fix = NULL;
        globfree(&g);
    }
    TW_PUSH(a, &caps->list, c);
}

static int print_json(struct cmd_args *args, const struct tw_capabilities *caps,
                      struct tw_err *err)
{
    json_auto_t *list = json_array();

    for (size_t i = 0; i < caps->list.count; i++) {
        const struct tw_capability *c = &caps->list.items[i];

        (void)json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:s?, s:s?}", "name",
                                                    c->name, "available", c->available,
                                                    "needed", c->needed, "detail",
                                                    c->detail, "fix", c->fix));
    }
    return cmd_write_json(args, list, err);
}

static void print_row(const struct tw_capability *c, const struct tw_report_style *style)
{
    static const struct {
        const char *mark, *plain, *word, *colour;
    } kinds[] = {{"✓", "+", "ok", "\033[32m"},
                 {"!", "!", "missing", "\033[33m"},
                 {"✗", "x", "NEEDED", "\033[31m"}};
    int k = c->available ? 0 : c->needed ? 2 : 1;

    printf("%s%s %-8s%s %-14s %s\n", style->colour ? kinds[k].colour : "",
           style->unicode ? kinds[k].mark : kinds[k].plain, kinds[k].word,
           style->colour ? "\033[0m" : "", c->name, c->detail ? c->detail : "");
    if (!c->available && c->fix)
        printf("%27smend it with: %s\n", "", c->fix);
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_report_style style = cmd_style(args);
    struct tw_capabilities caps = {0};
    int missing = 0;
    int r = tw_priv_probe(args->arena, args->state_dir, &caps, err);

    if (r < 0)
        return r;
    add_postgresql(args->arena, &caps);
    for (size_t i = 0; i < caps.list.count; i++)
        missing += caps.list.items[i].needed && !caps.list.items[i].available;
    if (cmd_is_json(args)) {
        r = print_json(args, &caps, err);
        return r < 0 ? r : missing ? CMD_NO_ANSWER : 0;
    }
    for (size_t i = 0; i < caps.list.count; i++)
        print_row(&caps.list.items[i], &style);
    printf("\n%s\n",
           missing ? "something that is needed is missing" : "everything needed is here");
    return missing ? CMD_NO_ANSWER : 0;
}

extern const struct cmd cmd_doctor;
const struct cmd cmd_doctor = {
    .name = "doctor",
    .usage = "doctor",
    .summary = "what works on this host, what does not, and what mends it",
    .options = " output out color ",
    .run = run,
};
