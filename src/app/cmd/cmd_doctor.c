#include "cmd_internal.h"

#include "tw/priv.h"
#include "tw/service.h"

#include <stdio.h>
#include <string.h>

/* The programs of each kind of service: a twin runs the same program as its target. None is
 * needed by itself, but one kind of service has to be there. */
static void add_services(struct tw_arena *a, struct tw_capabilities *caps)
{
    bool any = false;

    for (size_t i = 0; i < tw_service_kind_count; i++) {
        const struct tw_service_kind *kind = tw_service_kinds[i];

        for (const struct tw_service_program *p = kind->programs; p && p->name; p++) {
            const char *found = tw_service_program_find(a, p);
            struct tw_capability c = {.name = p->name, .available = found != NULL};

            any |= found != NULL;
            c.detail =
                found ? found : tw_arena_printf(a, "for targets of type %s", kind->name);
            c.fix = found ? NULL : tw_arena_printf(a, "apt-get install %s", p->package);
            TW_PUSH(a, &caps->list, c);
        }
    }
    if (!any)
        TW_PUSH(a, &caps->list,
                ((struct tw_capability){.name = "services",
                                        .needed = true,
                                        .detail = "no program of any kind of service",
                                        .fix = "apt-get install postgresql-15"}));
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

    printf("%s%s %-8s%s %-16s %s\n", style->colour ? kinds[k].colour : "",
           style->unicode ? kinds[k].mark : kinds[k].plain, kinds[k].word,
           style->colour ? "\033[0m" : "", c->name, c->detail ? c->detail : "");
    if (!c->available && c->fix)
        printf("%28smend it with: %s\n", "", c->fix);
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_report_style style = cmd_style(args);
    struct tw_capabilities caps = {0};
    int missing = 0;
    int r = tw_priv_probe(args->arena, args->state_dir, &caps, err);

    if (r < 0)
        return r;
    add_services(args->arena, &caps);
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
