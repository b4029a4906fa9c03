/* The row "postgresql". */
#include "kind_pg_internal.h"

extern const struct tw_service_kind kind_postgresql;
const struct tw_service_kind kind_postgresql = {
    .name = "postgresql",
    .summary = "a PostgreSQL cluster, versions 12 to 18",
    .snapshot = kind_pg_snapshot,
    .validate = kind_pg_validate,
    .plan = kind_pg_plan,
    .seed_key = kind_pg_seed_key,
    .seed_fill = kind_pg_seed_fill,
    .refresh = kind_pg_refresh,
    .settle = kind_pg_settle,
    .complete = kind_pg_complete,
    .limits = kind_pg_limits,
    .requests = kind_pg_requests,
    .conninfo = kind_pg_conninfo,
    .layout = kind_pg_layout,
    .launch = kind_pg_launch,
    .ready = kind_pg_ready,
    .apply = kind_pg_apply,
    .judge_start = kind_pg_judge_start,
    .judge_reload = kind_pg_judge_reload,
    .judge_files = kind_pg_judge_files,
};
