/* Shared by the files of room pg. */
#ifndef PG_INTERNAL_H
#define PG_INTERNAL_H

#include "tw/pg.h"

#include <libpq-fe.h>

struct tw_pg {
    PGconn *conn;
    char sqlstate[6];
    int statements;
    int64_t bytes;
};

#endif
