/* Snapshots: everything sync stored, and the few lines of it that a simulation carries. */
#include "spec_internal.h"

#define TEXT(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_TEXT, SPEC_AT(type, member)                         \
    }
#define INT(type, member)                                                                \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT, SPEC_AT(type, member)                          \
    }
#define INT64(type, member)                                                              \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT64, SPEC_AT(type, member)                        \
    }
#define REAL(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_REAL, SPEC_AT(type, member)                         \
    }
#define BOOL(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_BOOL, SPEC_AT(type, member)                         \
    }

static const struct spec_field setting_fields[] = {
    TEXT(tw_setting, name),
    TEXT(tw_setting, value),
    TEXT(tw_setting, unit),
    TEXT(tw_setting, type),
    TEXT(tw_setting, context),
    TEXT(tw_setting, source),
    TEXT(tw_setting, file),
    {.key = "line",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_setting, line)},
    TEXT(tw_setting, boot_value),
    TEXT(tw_setting, min),
    TEXT(tw_setting, max),
    TEXT(tw_setting, enum_values),
    BOOL(tw_setting, list),
    BOOL(tw_setting, pending_restart),
};
static const struct spec_shape setting_shape = SPEC_SHAPE(tw_setting, setting_fields);

static const struct spec_field file_fields[] = {
    TEXT(tw_file, path),
    TEXT(tw_file, text),
    {.key = "mode", .kind = SPEC_UINT, SPEC_AT(tw_file, mode)},
};
static const struct spec_shape file_shape = SPEC_SHAPE(tw_file, file_fields);

static const struct spec_field hba_fields[] = {
    INT(tw_hba_rule, line),       TEXT(tw_hba_rule, file),  TEXT(tw_hba_rule, type),
    TEXT(tw_hba_rule, databases), TEXT(tw_hba_rule, users), TEXT(tw_hba_rule, address),
    TEXT(tw_hba_rule, method),    TEXT(tw_hba_rule, error),
};
static const struct spec_shape hba_shape = SPEC_SHAPE(tw_hba_rule, hba_fields);

static const struct spec_field table_fields[] = {
    TEXT(tw_table, database),     TEXT(tw_table, schema),
    TEXT(tw_table, name),         INT64(tw_table, bytes),
    INT64(tw_table, index_bytes), INT64(tw_table, rows),
    INT64(tw_table, seq_scans),   INT64(tw_table, seq_rows),
    INT64(tw_table, idx_scans),   INT64(tw_table, inserts),
    INT64(tw_table, updates),     INT64(tw_table, hot_updates),
    INT64(tw_table, deletes),     INT64(tw_table, dead_rows),
};
static const struct spec_shape table_shape = SPEC_SHAPE(tw_table, table_fields);

static const struct spec_field statement_fields[] = {
    TEXT(tw_statement, database),
    TEXT(tw_statement, user),
    TEXT(tw_statement, text),
    INT64(tw_statement, query_id),
    INT64(tw_statement, calls),
    REAL(tw_statement, total_ms),
    REAL(tw_statement, mean_ms),
    REAL(tw_statement, rows_per_call),
    REAL(tw_statement, blocks_per_call),
};
static const struct spec_shape statement_shape =
    SPEC_SHAPE(tw_statement, statement_fields);

static const struct spec_field cost_fields[] = {
    {.key = "statements", .kind = SPEC_INT, SPEC_AT(tw_snapshot, cost.statements)},
    {.key = "bytes", .kind = SPEC_INT64, SPEC_AT(tw_snapshot, cost.bytes)},
    {.key = "seconds", .kind = SPEC_REAL, SPEC_AT(tw_snapshot, cost.seconds)},
};
static const struct spec_shape cost_shape = SPEC_SHAPE(tw_snapshot, cost_fields);

/* cost has its fields at their offsets from the snapshot, hence offset 0 */
#define SUMMARY                                                                          \
    {.key = "sha256", .kind = SPEC_CHARS, .size = 65, SPEC_AT(tw_snapshot, sha256)},     \
        {.key = "taken_at", .kind = SPEC_TIME, SPEC_AT(tw_snapshot, taken_wall_ns)},     \
        TEXT(tw_snapshot, target), TEXT(tw_snapshot, environment),                       \
        TEXT(tw_snapshot, type), TEXT(tw_snapshot, version),                             \
        {.key = "version_num",                                                           \
         .kind = SPEC_INT,                                                               \
         .flags = SPEC_ZERO_UNKNOWN,                                                     \
         SPEC_AT(tw_snapshot, version_num)},                                             \
        TEXT(tw_snapshot, how), TEXT(tw_snapshot, system_identifier),                    \
        TEXT(tw_snapshot, data_dir),                                                     \
        {.key = "data_bytes",                                                            \
         .kind = SPEC_INT64,                                                             \
         .flags = SPEC_ZERO_UNKNOWN,                                                     \
         SPEC_AT(tw_snapshot, data_bytes)},                                              \
        {.key = "memory_bytes",                                                          \
         .kind = SPEC_INT64,                                                             \
         .flags = SPEC_ZERO_UNKNOWN,                                                     \
         SPEC_AT(tw_snapshot, memory_bytes)},                                            \
        {.key = "cpus",                                                                  \
         .kind = SPEC_REAL,                                                              \
         .flags = SPEC_ZERO_UNKNOWN,                                                     \
         SPEC_AT(tw_snapshot, cpus)},                                                    \
        REAL(tw_snapshot, rate_per_s), REAL(tw_snapshot, commit_share),                  \
        {.key = "connections_used",                                                      \
         .kind = SPEC_INT,                                                               \
         .flags = SPEC_MINUS_UNKNOWN,                                                    \
         SPEC_AT(tw_snapshot, connections_used)},                                        \
        REAL(tw_snapshot, max_slot_lag_bytes),                                           \
    {                                                                                    \
        .key = "cost", .kind = SPEC_OBJECT, .offset = 0, .shape = &cost_shape            \
    }

static const struct spec_field summary_fields[] = {SUMMARY};
const struct spec_shape spec_snapshot_summary = SPEC_SHAPE(tw_snapshot, summary_fields);

static const struct spec_field snapshot_fields[] = {
    SUMMARY,
    INT64(tw_snapshot, catalog_version),
    TEXT(tw_snapshot, config_file),
    TEXT(tw_snapshot, hba_file),
    TEXT(tw_snapshot, ident_file),
    {.key = "owner_uid", .kind = SPEC_UINT, SPEC_AT(tw_snapshot, owner_uid)},
    {.key = "owner_gid", .kind = SPEC_UINT, SPEC_AT(tw_snapshot, owner_gid)},
    TEXT(tw_snapshot, owner_name),
    INT(tw_snapshot, port),
    TEXT(tw_snapshot, socket_dir),
    {.key = "settings",
     .kind = SPEC_LIST,
     SPEC_AT(tw_snapshot, settings),
     .shape = &setting_shape},
    {.key = "files",
     .kind = SPEC_LIST,
     SPEC_AT(tw_snapshot, files),
     .shape = &file_shape},
    {.key = "hba", .kind = SPEC_LIST, SPEC_AT(tw_snapshot, hba), .shape = &hba_shape},
    {.key = "extensions", .kind = SPEC_TEXTS, SPEC_AT(tw_snapshot, extensions)},
    {.key = "databases", .kind = SPEC_TEXTS, SPEC_AT(tw_snapshot, databases)},
    {.key = "tablespaces", .kind = SPEC_TEXTS, SPEC_AT(tw_snapshot, tablespaces)},
    {.key = "tables",
     .kind = SPEC_LIST,
     SPEC_AT(tw_snapshot, tables),
     .shape = &table_shape},
    {.key = "statements",
     .kind = SPEC_LIST,
     SPEC_AT(tw_snapshot, statements),
     .shape = &statement_shape},
};
static const struct spec_shape snapshot_shape = SPEC_SHAPE(tw_snapshot, snapshot_fields);

json_t *tw_snapshot_to_json(const struct tw_snapshot *s)
{
    return spec_write(&snapshot_shape, s, false);
}

void tw_snapshot_from_json(struct tw_arena *a, const json_t *json,
                           struct tw_snapshot *ret)
{
    *ret = (struct tw_snapshot){0};
    spec_blank(&snapshot_shape, ret);
    spec_read(&snapshot_shape, a, json, ret);
}
