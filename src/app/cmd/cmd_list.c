#include "remote.h"

#include "tw/store.h"

#include <math.h>
#include <stdio.h>

static int print_json(struct cmd_args *args, const struct tw_store_rows *rows,
                      struct tw_err *err)
{
    json_auto_t *list = json_array();

    for (size_t i = 0; i < rows->list.count; i++) {
        const struct tw_store_row *r = &rows->list.items[i];

        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s?, s:o, s:s}", "id", r->id,
                            "status", r->status, "decision", r->decision, "type", r->type,
                            "target", r->target, "summary", r->summary, "risk_score",
                            tw_json_real(r->risk_score), "created_at",
                            tw_iso_time(args->arena, r->created_wall_ns)));
    }
    return cmd_write_json(args, list, err);
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_store *store;
    struct tw_store_rows rows;
    json_auto_t *json = NULL;
    int r;

    if (cmd_server(args)) {
        r = cmd_ask(args, "GET",
                    tw_arena_printf(args->arena, "/api/v1/simulation?limit=%d%s%s",
                                    args->limit ? (int)args->limit : 20,
                                    args->target ? "&target=" : "",
                                    args->target ? args->target : ""),
                    NULL, &json, err);
        return r < 0 ? r : cmd_write_json(args, json_object_get(json, "items"), err);
    }
    r = tw_store_open(args->state_dir, &store, err);
    if (r < 0)
        return r;
    r = tw_store_list(store, args->arena, args->target,
                      args->limit ? (int)args->limit : 20, &rows, err);
    tw_store_close(store);
    if (r < 0 || cmd_is_json(args))
        return r < 0 ? r : print_json(args, &rows, err);
    if (!rows.list.count) {
        puts("no simulations yet; twin run --target T --set NAME=VALUE");
        return 0;
    }
    printf("%-12s %-20s %-9s %4s  %-16s %s\n", "ID", "WHEN", "DECISION", "RISK", "TARGET",
           "CHANGE");
    for (size_t i = 0; i < rows.list.count; i++) {
        const struct tw_store_row *row = &rows.list.items[i];

        /* The first twelve characters are unique for runs a second apart; show takes a
         * prefix. */
        tw_auto_free char *risk =
            isnan(row->risk_score) ? tw_strf("-") : tw_strf("%.0f", row->risk_score);

        printf("%-12.12s %-20s %-9s %4s  %-16s %s\n", row->id,
               tw_iso_time(args->arena, row->created_wall_ns),
               row->decision ? row->decision : row->status, risk, row->target,
               row->summary ? row->summary : "");
    }
    return 0;
}

extern const struct cmd cmd_list;
const struct cmd cmd_list = {
    .name = "list",
    .usage = "list [--target T] [--limit N]",
    .summary = "past simulations, newest first",
    .options = " target limit output out server token-file ",
    .run = run,
};
