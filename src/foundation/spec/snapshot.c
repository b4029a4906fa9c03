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

#define LIST(member, of)                                                                 \
    {                                                                                    \
        .key = #member, .kind = SPEC_LIST, SPEC_AT(tw_snapshot, member), .shape = &of    \
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

static const struct spec_field endpoint_fields[] = {
    TEXT(tw_endpoint, protocol),
    TEXT(tw_endpoint, address),
    INT(tw_endpoint, port),
    TEXT(tw_endpoint, name),
};
static const struct spec_shape endpoint_shape = SPEC_SHAPE(tw_endpoint, endpoint_fields);

static const struct spec_field neighbour_fields[] = {
    TEXT(tw_neighbour, protocol), TEXT(tw_neighbour, name),
    TEXT(tw_neighbour, address),  INT(tw_neighbour, port),
    TEXT(tw_neighbour, resolved), BOOL(tw_neighbour, reachable),
};
static const struct spec_shape neighbour_shape =
    SPEC_SHAPE(tw_neighbour, neighbour_fields);

static const struct spec_field sample_fields[] = {
    TEXT(tw_sample_request, method),
    TEXT(tw_sample_request, path),
    TEXT(tw_sample_request, host),
    {.key = "status",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_sample_request, status)},
    INT64(tw_sample_request, count),
    REAL(tw_sample_request, bytes),
    REAL(tw_sample_request, request_bytes),
    REAL(tw_sample_request, mean_s),
    REAL(tw_sample_request, upstream_s),
    REAL(tw_sample_request, upstream_bytes),
};
static const struct spec_shape sample_shape =
    SPEC_SHAPE(tw_sample_request, sample_fields);

static const struct spec_field certificate_fields[] = {
    TEXT(tw_certificate, path),
    TEXT(tw_certificate, key_path),
    TEXT(tw_certificate, used_by),
    TEXT(tw_certificate, subject),
    TEXT(tw_certificate, issuer),
    TEXT(tw_certificate, names),
    {.key = "not_before", .kind = SPEC_TIME, SPEC_AT(tw_certificate, not_before_wall_ns)},
    {.key = "not_after", .kind = SPEC_TIME, SPEC_AT(tw_certificate, not_after_wall_ns)},
    {.key = "bits",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_certificate, bits)},
    TEXT(tw_certificate, key_type),
    TEXT(tw_certificate, problem),
};
static const struct spec_shape certificate_shape =
    SPEC_SHAPE(tw_certificate, certificate_fields);

static const struct spec_field role_fields[] = {
    TEXT(tw_role, name),
    BOOL(tw_role, login),
    BOOL(tw_role, superuser),
    INT(tw_role, connection_limit),
    {.key = "connections_used",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_role, connections_used)},
    {.key = "valid_until", .kind = SPEC_TIME, SPEC_AT(tw_role, valid_until_wall_ns)},
};
static const struct spec_shape role_shape = SPEC_SHAPE(tw_role, role_fields);

static const struct spec_field counter_fields[] = {
    TEXT(tw_counter, kind),   TEXT(tw_counter, name),   REAL(tw_counter, used),
    REAL(tw_counter, limit),  REAL(tw_counter, per_s),  REAL(tw_counter, per_request),
    TEXT(tw_counter, cycles), TEXT(tw_counter, source),
};
static const struct spec_shape counter_shape = SPEC_SHAPE(tw_counter, counter_fields);

static const struct spec_field named_fields[] = {
    TEXT(tw_named, name),
    TEXT(tw_named, value),
};
static const struct spec_shape named_shape = SPEC_SHAPE(tw_named, named_fields);

static const struct spec_field mount_fields[] = {
    TEXT(tw_mount, type),        TEXT(tw_mount, name),     TEXT(tw_mount, source),
    TEXT(tw_mount, destination), BOOL(tw_mount, writable),
};
static const struct spec_shape mount_shape = SPEC_SHAPE(tw_mount, mount_fields);

static const struct spec_field attachment_fields[] = {
    TEXT(tw_attachment, network),
    TEXT(tw_attachment, address),
    {.key = "aliases", .kind = SPEC_TEXTS, SPEC_AT(tw_attachment, aliases)},
};
static const struct spec_shape attachment_shape =
    SPEC_SHAPE(tw_attachment, attachment_fields);

#define PART(member, of)                                                                 \
    {                                                                                    \
        .key = #member, .kind = SPEC_LIST, SPEC_AT(tw_container, member), .shape = &of   \
    }
#define BOUND(member)                                                                    \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT64, .flags = SPEC_ZERO_UNKNOWN,                  \
        SPEC_AT(tw_container, member)                                                    \
    }
static const struct spec_field definition_fields[] = {
    TEXT(tw_container, image),
    TEXT(tw_container, image_id),
    TEXT(tw_container, digest),
    TEXT(tw_container, command),
    TEXT(tw_container, user),
    TEXT(tw_container, cwd),
    TEXT(tw_container, restart),
    TEXT(tw_container, stop_signal),
    TEXT(tw_container, health_check),
    TEXT(tw_container, network_mode),
    REAL(tw_container, stop_grace_s),
    REAL(tw_container, cpus),
    BOUND(memory_bytes),
    BOUND(pids),
    BOUND(shm_bytes),
    BOOL(tw_container, read_only),
    PART(environment, named_shape),
    PART(labels, named_shape),
    PART(mounts, mount_shape),
    {.key = "ports", .kind = SPEC_TEXTS, SPEC_AT(tw_container, ports)},
    {.key = "not_cloned", .kind = SPEC_TEXTS, SPEC_AT(tw_container, not_cloned)},
};
static const struct spec_shape definition_shape =
    SPEC_SHAPE(tw_container, definition_fields);

static const struct spec_field state_fields[] = {
    TEXT(tw_container, id),
    TEXT(tw_container, status),
    TEXT(tw_container, health),
    TEXT(tw_container, started_at),
    {.key = "restarts",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_container, restarts)},
    {.key = "exit_status",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_container, exit_status)},
    BOOL(tw_container, oom_killed),
    REAL(tw_container, cpu_s),
    REAL(tw_container, throttled_s),
    REAL(tw_container, memory_used_bytes),
    REAL(tw_container, processes),
    REAL(tw_container, received_bytes),
    REAL(tw_container, sent_bytes),
    REAL(tw_container, read_bytes),
    REAL(tw_container, written_bytes),
    PART(networks, attachment_shape),
};
static const struct spec_shape state_shape = SPEC_SHAPE(tw_container, state_fields);

/* What is defined apart from what passes: drift is a matter of the former. */
static const struct spec_field container_fields[] = {
    TEXT(tw_container, name),
    TEXT(tw_container, service),
    {.key = "definition", .kind = SPEC_OBJECT, .offset = 0, .shape = &definition_shape},
    {.key = "state", .kind = SPEC_OBJECT, .offset = 0, .shape = &state_shape},
};
static const struct spec_shape container_shape =
    SPEC_SHAPE(tw_container, container_fields);

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
    {.key = "peak_connections",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_snapshot, peak_connections)},
    {.key = "nofile",
     .kind = SPEC_INT64,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_snapshot, nofile)},
    REAL(tw_snapshot, stop_timeout_s),
    {.key = "stop_signal",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_snapshot, stop_signal)},
    TEXT(tw_snapshot, unit),
    TEXT(tw_snapshot, program),
    LIST(endpoints, endpoint_shape),
    LIST(neighbours, neighbour_shape),
    LIST(requests, sample_shape),
    LIST(clients, spec_client),
    LIST(certificates, certificate_shape),
    LIST(roles, role_shape),
    LIST(counters, counter_shape),
    LIST(containers, container_shape),
    {.key = "trees", .kind = SPEC_TEXTS, SPEC_AT(tw_snapshot, trees)},
};
static const struct spec_shape snapshot_shape = SPEC_SHAPE(tw_snapshot, snapshot_fields);

json_t *tw_snapshot_to_json(const struct tw_snapshot *s)
{
    return spec_write(&snapshot_shape, s, false);
}

void tw_snapshot_init(struct tw_snapshot *s)
{
    *s = (struct tw_snapshot){0};
    spec_blank(&snapshot_shape, s);
}

void tw_snapshot_from_json(struct tw_arena *a, const json_t *json,
                           struct tw_snapshot *ret)
{
    tw_snapshot_init(ret);
    spec_read(&snapshot_shape, a, json, ret);
}
