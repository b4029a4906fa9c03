/* Values of settings as the server reads them: types, units, ranges, lists. The metadata
 * comes from the server (pg_settings, --describe-config); only units and lists, which
 * --describe-config leaves out, are known here. Source: PostgreSQL, guc.c parse_int(),
 * parse_real(), parse_bool(). */
#include "kind_pg_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- units ---- */

struct unit {
    const char *name;
    enum { BYTES, TIME } of;
    double factor; /* in bytes, or in seconds */
};
static const struct unit units[] = {
    {"B", BYTES, 1},       {"kB", BYTES, 1024},   {"MB", BYTES, 1048576},
    {"GB", BYTES, 0x1p30}, {"TB", BYTES, 0x1p40}, {"us", TIME, 1e-6},
    {"ms", TIME, 1e-3},    {"s", TIME, 1},        {"min", TIME, 60},
    {"h", TIME, 3600},     {"d", TIME, 86400},
};
static const char *const unit_hints[] = {
    [BYTES] = "\"B\", \"kB\", \"MB\", \"GB\", and \"TB\"",
    [TIME] = "\"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"",
};

/* Base units by name, for a server that cannot be asked. */
static const struct {
    const char *unit;
    const char *names;
} known_units[] = {
    {"s", " archive_timeout authentication_timeout autovacuum_naptime checkpoint_timeout "
          "checkpoint_warning post_auth_delay pre_auth_delay tcp_keepalives_idle "
          "tcp_keepalives_interval wal_receiver_status_interval wal_summary_keep_time "},
    {"B", " log_parameter_max_length_on_error log_parameter_max_length "
          "track_activity_query_size wal_decode_buffer_size wal_segment_size "},
    {"ms",
     " autovacuum_vacuum_cost_delay bgwriter_delay client_connection_check_interval "
     "deadlock_timeout idle_in_transaction_session_timeout idle_session_timeout "
     "idle_replication_slot_timeout lock_timeout log_autovacuum_min_duration "
     "log_min_duration_sample log_min_duration_statement log_startup_progress_interval "
     "max_standby_archive_delay max_standby_streaming_delay recovery_min_apply_delay "
     "statement_timeout tcp_user_timeout transaction_timeout vacuum_cost_delay "
     "wal_receiver_timeout wal_retrieve_retry_interval wal_sender_timeout "
     "wal_writer_delay "},
    {"min", " log_rotation_age old_snapshot_threshold "},
    {"MB", " max_slot_wal_keep_size max_wal_size min_dynamic_shared_memory min_wal_size "
           "shared_memory_size wal_keep_size "},
    {"8kB",
     " backend_flush_after bgwriter_flush_after checkpoint_flush_after "
     "effective_cache_size min_parallel_index_scan_size min_parallel_table_scan_size "
     "segment_size shared_buffers temp_buffers wal_buffers wal_writer_flush_after "
     "vacuum_buffer_usage_limit "},
    {"kB",
     " autovacuum_work_mem gin_pending_list_limit huge_page_size log_rotation_size "
     "log_temp_files logical_decoding_work_mem maintenance_work_mem max_stack_depth "
     "temp_file_limit wal_skip_threshold work_mem "},
};

static bool among(const char *names, const char *name)
{
    tw_auto_free char *padded = tw_strf(" %s ", name);

    return strcasestr(names, padded) != NULL;
}

const char *kind_pg_unit_of(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(known_units); i++)
        if (among(known_units[i].names, name))
            return known_units[i].unit;
    return NULL;
}

/* GUC_LIST_QUOTE: each element is quoted on its own; GUC_LIST_INPUT: a list, quoted as a
 * whole. */
bool kind_pg_is_list(const char *name, bool *ret_quoted)
{
    *ret_quoted =
        among(" local_preload_libraries search_path session_preload_libraries "
              "shared_preload_libraries temp_tablespaces unix_socket_directories ",
              name);
    return *ret_quoted || among(" datestyle listen_addresses log_destination "
                                "synchronous_standby_names wal_consistency_checking "
                                "debug_io_direct restrict_nonsystem_relation_kind ",
                                name);
}

static const struct unit *find_unit(const char *name, size_t n)
{
    for (size_t i = 0; i < TW_COUNT_OF(units); i++)
        if (strlen(units[i].name) == n && strncmp(units[i].name, name, n) == 0)
            return &units[i];
    return NULL;
}

/* "8kB" -> 8192 bytes, "ms" -> 0.001 s; NULL when the setting has no unit. */
static const struct unit *base_unit(const struct tw_setting *s, double *ret_factor)
{
    const char *text = s->unit;
    double times;
    char *end;
    const struct unit *u;

    if (!text || !*text)
        return NULL;
    times = strtod(text, &end);
    if (end == text)
        times = 1;
    u = find_unit(end, strlen(end));
    if (u)
        *ret_factor = times * u->factor;
    return u;
}

/* ---- numbers ---- */

static double parse_number(const char *text, char **end)
{
    double value = strtod(text, end);
    char *whole_end;
    long long whole =
        strtoll(text, &whole_end, 0); /* 0x10 and 010 as the server reads them */

    return whole_end == *end && *end != text ? (double)whole : value;
}

int kind_pg_read_number(const struct tw_setting *s, const char *value, double *ret,
                        struct tw_err *err)
{
    double factor = 1;
    const struct unit *base = base_unit(s, &factor);
    const struct unit *given;
    char *end;
    double number = parse_number(value, &end);
    size_t n;

    if (end == value || isnan(number))
        return tw_fail(
            err, -EINVAL, "invalid value for parameter \"%s\": \"%s\"; expected a %s",
            s->name, value, tw_streq(s->type, "real") ? "number" : "whole number");
    while (isspace((unsigned char)*end))
        end++;
    n = strcspn(end, " \t");
    if (*end) {
        given = find_unit(end, n);
        if (!base)
            return tw_fail(err, -EINVAL,
                           "invalid value for parameter \"%s\": \"%s\"; it has no unit, "
                           "expected a plain number",
                           s->name, value);
        if (!given || given->of != base->of || end[n + strspn(end + n, " \t")])
            return tw_fail(
                err, -EINVAL,
                "invalid value for parameter \"%s\": \"%s\"; valid units for this "
                "parameter are %s",
                s->name, value, unit_hints[base->of]);
        number = number * given->factor / factor;
    }
    if (tw_streq(s->type, "integer"))
        number = nearbyint(number);
    if (ret)
        *ret = number;
    return 0;
}

double kind_pg_bytes(const struct tw_setting *s, const char *value)
{
    double factor, number;
    const struct unit *base = s ? base_unit(s, &factor) : NULL;

    if (!base || base->of != BYTES || !value ||
        kind_pg_read_number(s, value, &number, NULL) < 0)
        return NAN;
    return number * factor;
}

static int check_number(const struct tw_setting *s, const char *value, struct tw_err *err)
{
    double number;
    int r = kind_pg_read_number(s, value, &number, err);
    const char *unit = s->unit ? s->unit : "";

    if (r < 0)
        return r;
    if ((s->min && *s->min && number < strtod(s->min, NULL)) ||
        (s->max && *s->max && number > strtod(s->max, NULL)))
        return tw_fail(
            err, -EINVAL,
            "%.15g%s%s is outside the valid range for parameter \"%s\" (%s .. %s%s%s)",
            number, *unit ? " " : "", unit, s->name, s->min ? s->min : "",
            s->max ? s->max : "", *unit ? " " : "", unit);
    return 0;
}

/* ---- booleans and enums ---- */

int kind_pg_read_bool(const char *value, bool *ret)
{
    static const struct {
        const char *word;
        size_t least; /* letters that make it unique */
        bool value;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true},
                 {"no", 1, false},  {"on", 2, true},     {"off", 2, false},
                 {"1", 1, true},    {"0", 1, false}};
    size_t n = strlen(value);

    for (size_t i = 0; i < TW_COUNT_OF(words); i++) {
        if (n < words[i].least || n > strlen(words[i].word) ||
            strncasecmp(value, words[i].word, n) != 0)
            continue;
        *ret = words[i].value;
        return 0;
    }
    return -EINVAL;
}

static int check_bool(const struct tw_setting *s, const char *value, struct tw_err *err)
{
    bool unused;

    if (kind_pg_read_bool(value, &unused) == 0)
        return 0;
    return tw_fail(err, -EINVAL,
                   "parameter \"%s\" requires a Boolean value (on, off), not \"%s\"",
                   s->name, value);
}

/* The words in front of their documentation: '{a,b,"c d"}' or 'a,b'. */
static int check_enum(const struct tw_setting *s, const char *value, struct tw_err *err)
{
    bool logical;
    size_t n;

    if (!s->enum_values || !*s->enum_values)
        return 0; /* a server at rest does not tell them: it will judge the value itself
                   */
    for (const char *p = s->enum_values; *p; p += n) {
        const char *word;

        p += strspn(p, "{}\", ");
        n = strcspn(p, "{}\",");
        word = p;
        if (n && strlen(value) == n && strncasecmp(word, value, n) == 0)
            return 0;
    }
    /* Enums that grew out of booleans take true, yes, 1 as well; these are hidden from
     * the list. */
    if (kind_pg_read_bool(value, &logical) == 0 && strlen(value) > 0 &&
        strstr(s->enum_values, "off"))
        return 0;
    return tw_fail(err, -EINVAL,
                   "invalid value for parameter \"%s\": \"%s\"; available values: %s",
                   s->name, value, s->enum_values);
}

static const struct {
    const char *type;
    int (*check)(const struct tw_setting *s, const char *value, struct tw_err *err);
} checks[] = {{"integer", check_number},
              {"real", check_number},
              {"bool", check_bool},
              {"enum", check_enum}};

int kind_pg_check_value(const struct tw_setting *s, const char *value, struct tw_err *err)
{
    for (size_t i = 0; i < TW_COUNT_OF(checks); i++)
        if (tw_streq(checks[i].type, s->type))
            return checks[i].check(s, value, err);
    return 0;
}
