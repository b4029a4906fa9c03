#include "local.h"

#include <stdio.h>

static int audit_export(struct cmd_args *args, const struct cmd_local *l,
                        struct tw_err *err)
{
    struct tw_store_audits page = {0};
    int64_t after = 0;
    int r = 0;

    do {
        tw_auto(tw_arena) *a = tw_arena_new();

        r = tw_store_audit_list(l->store, a, after, 0, 1000, &page, err);
        for (size_t i = 0; r == 0 && i < page.list.count; i++) {
            json_auto_t *json = tw_audit_to_json(a, &page.list.items[i]);
            tw_auto_free char *line = tw_json_dump(json, JSON_COMPACT);

            if (puts(line) < 0)
                r = tw_fail_errno(err, errno, "writing to standard output");
            after = page.list.items[i].seq;
        }
    } while (r == 0 && page.list.count);
    (void)args;
    return r;
}

static int audit_verify(struct cmd_args *args, const struct cmd_local *l,
                        struct tw_err *err)
{
    struct tw_audit_state state;
    int r = tw_audit_verify(l->audit, l->store, args->arena, &state, err);

    if (r == 0)
        printf("the chain holds: %lld entries%s%s\n", (long long)state.entries,
               state.what ? "; but " : "", state.what ? state.what : "");
    return r;
}

static int audit_list(struct cmd_args *args, const struct cmd_local *l,
                      struct tw_err *err)
{
    struct tw_store_audits page = {0};
    int r = tw_store_audit_list(l->store, args->arena, 0, INT64_MAX,
                                args->limit ? (int)args->limit : 20, &page, err);

    for (size_t i = 0; r == 0 && i < page.list.count; i++) {
        const struct tw_store_audit *e = &page.list.items[i];

        printf("%-6lld %s %-12s %-18s %-8s %s\n", (long long)e->seq,
               tw_iso_time(args->arena, e->at_wall_ns), e->actor, e->action, e->result,
               e->object);
    }
    if (r == 0 && !page.list.count)
        puts("nothing was audited yet");
    return r;
}

static int run_audit(struct cmd_args *args, struct tw_err *err)
{
    static const struct {
        const char *name, *path;
        int (*run)(struct cmd_args *args, const struct cmd_local *l, struct tw_err *err);
    } verbs[] = {{"list", "/api/v1/audit", audit_list},
                 {"verify", "/api/v1/audit/verify", audit_verify},
                 {"export", NULL, audit_export}};
    const char *verb = args->rest.count ? args->rest.items[0] : "list";
    struct cmd_local l = {0};
    int r = -EINVAL;

    for (size_t i = 0; i < TW_COUNT_OF(verbs); i++) {
        json_auto_t *json = NULL;

        if (!tw_streq(verbs[i].name, verb))
            continue;
        if (cmd_server(args) && verbs[i].path) {
            r = cmd_ask(args, "GET", verbs[i].path, NULL, &json, err);
            return r < 0 ? r : cmd_write_json(args, json, err);
        }
        r = cmd_local_open(args, &l, err);
        if (r == 0)
            r = verbs[i].run(args, &l, err);
        cmd_local_close(&l);
        return r;
    }
    return tw_fail(err, r, "twin audit '%s': expected list, verify or export", verb);
}

extern const struct cmd cmd_audit;
const struct cmd cmd_audit = {
    .name = "audit",
    .most_words = 1,
    .usage = "audit list|verify|export [--limit N]",
    .summary = "what was done, by whom; does the chain hold; all of it as lines of JSON",
    .options = " limit server token-file output out ",
    .run = run_audit,
};
