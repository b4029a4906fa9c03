#include "tw/redact.h"

#include <criterion/criterion.h>

#define DOTS "\xe2\x80\xa6"

Test(redact_literals, values_go_and_statements_stay)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"SELECT * FROM t WHERE name = 'O''Hara' AND id=42",
         "SELECT * FROM t WHERE name = '" DOTS "' AND id=?"},
        {"WHERE a BETWEEN 1 AND 20 LIMIT 5", "WHERE a BETWEEN ? AND ? LIMIT ?"},
        {"id IN (1, 2,3)", "id IN (?, ?,?)"},
        {"INSERT INTO t2 VALUES (7, 'x')", "INSERT INTO t2 VALUES (?, '" DOTS "')"},
        {"x = $1 AND y > -1.5e3", "x = $1 AND y > -?"},
        {"DO $$ BEGIN 1; END $$", "DO $$" DOTS "$$"},
        {"Index Scan using t_pkey on t  (cost=0.43..8.45 rows=1 width=97)",
         "Index Scan using t_pkey on t  (cost=0.43..8.45 rows=1 width=97)"},
        {"Filter: (aid = 123)", "Filter: (aid = ?)"},
        {"DETAIL:  Key (email)=(a@b.example) already exists.",
         "DETAIL:  Key (email)=(" DOTS ") already exists."},
        {"invalid value for parameter \"work_mem\": \"5mins\"",
         "invalid value for parameter \"work_mem\": \"5mins\""},
        {"line 12 doesn't parse", "line 12 doesn't parse"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();

        cr_expect_str_eq(tw_redact_literals(a, rows[i].in), rows[i].out);
    }
}
