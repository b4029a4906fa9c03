#include "local.h"

int cmd_local_open(struct cmd_args *args, struct cmd_local *l, struct tw_err *err)
{
    int r = tw_store_open(args->state_dir, &l->store, err);

    l->actor = tw_gate_local_actor(args->arena);
    return r < 0 ? r : tw_audit_open(args->state_dir, NULL, &l->audit, err);
}

void cmd_local_close(struct cmd_local *l)
{
    tw_audit_close(l->audit);
    tw_store_close(l->store);
}

int cmd_local_change(struct cmd_args *args, const char *action, cmd_local_fn *fn,
                     struct tw_err *err)
{
    struct cmd_local l = {0};
    const char *object = "";
    json_auto_t *detail = NULL;
    tw_auto_free char *text = NULL;
    int r = cmd_local_open(args, &l, err);

    if (r == 0)
        r = tw_store_begin(l.store, err);
    if (r == 0) {
        r = fn(args, &l, &object, &detail, err);
        text = detail ? tw_json_dump(detail, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        if (r == 0)
            r = tw_audit_add(l.audit, l.store, &l.actor,
                             &(struct tw_audit_entry){action, object, "ok", text}, err);
        if (r == 0)
            r = tw_store_commit(l.store, err);
        else
            tw_store_rollback(l.store);
    }
    if (r == 0)
        r = tw_audit_mark(l.audit, err);
    cmd_local_close(&l);
    return r;
}
