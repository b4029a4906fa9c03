/* Who connects to a PostgreSQL cluster, as its statistics and its access rules tell. */
#include "client_internal.h"

void client_cases_postgresql(struct tw_arena *a, const struct tw_snapshot *s,
                             const struct tw_plan *plan, struct tw_clients *to)
{
    (void)a, (void)s, (void)plan, (void)to;
}
