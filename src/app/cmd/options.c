/* Every option of every command, one row each: parser and help come from here. */
#include "cmd_internal.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { FLAG, TEXT, MANY, REAL, WHOLE };
struct option_row {
    const char *name;
    char letter;
    enum kind kind;
    size_t offset;
    const char *argument, *help;
};

#define AT(field) offsetof(struct cmd_args, field)
static const struct option_row rows[] = {
    {"target", 't', TEXT, AT(target), "T", "the target; twin env list shows them"},
    {"env", 'e', TEXT, AT(environment), "E",
     "its environment, where the name is not enough"},
    {"set", 's', MANY, AT(sets), "NAME=VALUE",
     "a setting to change, or 'ALTER SYSTEM SET …'; again for more; LOW..HIGH sweeps"},
    {"file", 'f', MANY, AT(files), "F|PATH=F",
     "a configuration fragment, applied as the last include; or PATH replaced by F"},
    {"sql", 0, MANY, AT(sql), "STATEMENT",
     "SQL to run: DDL, an index, a migration; again for more"},
    {"sql-file", 0, MANY, AT(sql_files), "FILE", "a migration script, run in its order"},
    {"image", 0, TEXT, AT(image), "I",
     "another image for a container, or ':TAG' of today's; --set command=…, env.NAME=… "
     "beside it"},
    {"smoke", 0, TEXT, AT(smoke), "FILE",
     "checks that the new version has to pass, as JSON: a list, or \"smoke\": [...]"},
    {"no-rollback", 0, FLAG, AT(no_rollback), NULL,
     "of a deployment: do not try to take it back"},
    {"database", 0, TEXT, AT(database), "D", "of the SQL; else the largest one"},
    {"slo", 0, MANY, AT(slos), "METRIC=LIMIT",
     "of a scaling: what has to hold, p99=50ms, errors=0.1%; again for more"},
    {"measured-instances", 0, WHOLE, AT(measured_instances), "N",
     "of a scaling: real instances to run at most, 2 by default"},
    {"hours", 0, REAL, AT(hours), "N", "the horizon in hours, 24 by default, up to 720"},
    {"scenario", 0, TEXT, AT(scenario), "S",
     "steady, diurnal, peak_traffic, flash_crowd, or recorded by the daemon"},
    {"profile", 0, TEXT, AT(profile), "FILE", "the load as CSV: hour,rate_per_s"},
    {"rate", 0, REAL, AT(rate), "N", "peak of the load in requests per second"},
    {"client", 0, MANY, AT(clients), "WORDS",
     "who connects, as 'user=app dbname=shop sslmode=require source=10.0.3.7'; again for "
     "more"},
    {"connections", 0, WHOLE, AT(connections), "N",
     "connections of the load; else as many as the target has at its peak"},
    {"mix", 0, MANY, AT(mixes), "M",
     "select-only, tpcb, simple-update or a pgbench script, FILE@WEIGHT; else the "
     "target's own"},
    {"fault", 0, MANY, AT(faults), "F",
     "something bad to both arms, as 'latency=20ms@2s+3s' or 'loss=1%,process_kill@1s'; "
     "again for the next"},
    {"risk-level", 0, TEXT, AT(risk_level), "L",
     "low, medium, high or critical; else by tier"},
    {"engine", 0, TEXT, AT(engine), "E",
     "map (default), or full: every request on its own"},
    {"seed", 0, WHOLE, AT(seed), "N",
     "of all random numbers; drawn and recorded when missing"},
    {"budget", 0, REAL, AT(budget), "S", "seconds of measuring at most; else by policy"},
    {"policy", 0, TEXT, AT(policy), "FILE",
     "policy to decide by; else the built-in default"},
    {"backend", 0, TEXT, AT(backend), "B",
     "native (this host's programs) or docker (the target's image, for containers)"},
    {"data", 0, TEXT, AT(data), "MODE",
     "likeness, clone or empty: what may be taken of the data"},
    {"refresh-data", 0, FLAG, AT(refresh_data), NULL,
     "take the data anew, however fresh it is"},
    {"scan", 0, FLAG, AT(scan), NULL,
     "of a change of rules: also what listens and who reaches it"},
    {"dry-run", 'n', FLAG, AT(dry_run), NULL, "check and plan, run nothing"},
    {"keep", 0, FLAG, AT(keep), NULL,
     "let the twins stand until Ctrl-C, for a look inside"},
    {"output", 'o', TEXT, AT(format), "FORMAT",
     "text, json, markdown, html, junit or sarif"},
    {"out", 0, TEXT, AT(out), "FILE",
     "write the report there instead of to standard output"},
    {"color", 0, TEXT, AT(color), "WHEN", "auto (default), always or never"},
    {"quiet", 'q', FLAG, AT(quiet), NULL, "no progress on standard error"},
    {"limit", 0, WHOLE, AT(limit), "N", "how many, 20 by default"},
    {"type", 0, TEXT, AT(type), "T",
     "kind of service: postgresql, nginx, redis …; of a run, the type of the change"},
    {"tier", 0, TEXT, AT(tier), "T", "dev (default), staging or production"},
    {"data-dir", 'D', TEXT, AT(data_dir), "DIR", "the cluster's data directory"},
    {"dsn", 0, TEXT, AT(dsn), "S", "connection string, as psql takes it"},
    {"config", 0, TEXT, AT(config), "FILE",
     "the service's main configuration file; of the daemon: twin.yaml"},
    {"project", 0, TEXT, AT(project), "P", "Compose project"},
    {"container", 0, TEXT, AT(container), "C", "container, by name or id"},
    {"memory", 0, TEXT, AT(memory), "SIZE",
     "memory of the target's host, if it is not this one"},
    {"cpus", 0, REAL, AT(cpus), "N", "cores of the target's host, if it is not this one"},
    {"listen", 0, TEXT, AT(listen), "ADDR:PORT",
     "where the daemon listens, 127.0.0.1:8090"},
    {"server", 0, TEXT, AT(server), "URL",
     "ask a daemon, http://127.0.0.1:8090; else TWIN_SERVER, else this program itself"},
    {"token-file", 0, TEXT, AT(token_file), "FILE", "its token; else TWIN_TOKEN"},
    {"person", 0, TEXT, AT(person), "NAME", "whose token it is"},
    {"roles", 0, TEXT, AT(roles), "R,R", "viewer, operator, approver, admin"},
    {"environments", 0, TEXT, AT(environments), "E,E", "only for these; all if missing"},
    {"types", 0, TEXT, AT(types), "T,T",
     "only for changes of these types; all if missing"},
    {"automaton", 0, FLAG, AT(automaton), NULL, "of a program: never approves"},
    {"days", 0, REAL, AT(days), "N", "until it expires, 90 by default"},
    {"metric", 0, TEXT, AT(metric), "M", "one metric; else all"},
    {"step", 0, REAL, AT(step), "S", "seconds that a point is the mean of; else an hour"},
    {"note", 0, TEXT, AT(note), "TEXT", "a remark kept with it"},
    {"comment", 0, TEXT, AT(comment), "TEXT", "why"},
    {"plan", 0, TEXT, AT(plan), "SHA256", "decide only on exactly this plan"},
    {"applied", 0, FLAG, AT(applied), NULL, "the change was made"},
    {"not-applied", 0, FLAG, AT(not_applied), NULL, "the change was not made"},
    {"async", 0, FLAG, AT(async), NULL, "do not wait for the end"},
    {"state-dir", 0, TEXT, AT(state_dir), "DIR",
     "where the twin keeps its state; else TWIN_STATE_DIR, /var/lib/twin for root"},
    {"help", 'h', FLAG, AT(help), NULL, "this text"},
};

/* What a value may be, where not every one will do. */
struct limit_row {
    const char *option;
    const char *const *words; /* the only ones; NULL: it is a number, … */
    size_t word_count;
    double most; /* … more than 0, up to this */
};

static const char *const levels[] = {"low", "medium", "high", "critical"};
static const char *const engines[] = {"map", "full"};
static const char *const backends[] = {"native", "docker"};
static const char *const colours[] = {"auto", "always", "never"};
static const struct limit_row limits[] = {
    {"risk-level", levels, TW_COUNT_OF(levels), 0},
    {"engine", engines, TW_COUNT_OF(engines), 0},
    {"backend", backends, TW_COUNT_OF(backends), 0},
    {"color", colours, TW_COUNT_OF(colours), 0},
    {"data", tw_data_mode_names, TW_DATA_COUNT, 0},
    {"tier", tw_tier_names, TW_TIER_COUNT, 0},
    {"rate", NULL, 0, INFINITY},
    {"budget", NULL, 0, 3600},
    {"connections", NULL, 0, 100000},
    {"measured-instances", NULL, 0, 64},
    {"limit", NULL, 0, 100000},
    {"cpus", NULL, 0, 1e6},
    {"days", NULL, 0, 36500},
};

static const struct limit_row *limit_of(const struct option_row *row)
{
    for (size_t i = 0; i < TW_COUNT_OF(limits); i++)
        if (tw_streq(limits[i].option, row->name))
            return &limits[i];
    return NULL;
}

static bool takes(const struct cmd *cmd, const char *name)
{
    tw_auto_free char *padded = tw_strf(" %s ", name);
    static const char always[] = " state-dir help ";

    return strstr(cmd->options, padded) || strstr(always, padded);
}

static int set_number(const struct option_row *row, const char *text, void *field,
                      struct tw_err *err)
{
    const struct limit_row *limit = limit_of(row);
    tw_auto_free char *name = tw_strf("--%s", row->name), *most = NULL;
    struct tw_err why;
    double value;
    int r = row->kind == REAL ? tw_parse_double(text, field, &why)
                              : tw_parse_int64(text, field, &why);

    if (r < 0)
        return tw_fail_at(err, -EINVAL, name, "%s: %s", name, why.text);
    value = row->kind == REAL ? *(double *)field : (double)*(int64_t *)field;
    if (!limit || (value > 0 && value <= limit->most))
        return 0;
    most = isinf(limit->most) ? tw_strf("%s", "") : tw_strf(", up to %.15g", limit->most);
    return tw_fail_at(err, -EINVAL, name, "%s %s: expected more than 0%s", name, text,
                      most);
}

int cmd_check_word(const char *option, const char *word, const char *const *names,
                   size_t n, struct tw_err *err)
{
    tw_auto_buf all = {0};
    const char *near;

    if (!word || tw_name_index(word, names, n) >= 0)
        return 0;
    near = tw_nearest(word, names, n);
    tw_buf_init(&all, 4096);
    for (size_t i = 0; i < n; i++)
        tw_buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
    return tw_fail_at(err, -EINVAL, option, "%s '%s': expected one of %s%s%s%s", option,
                      word, tw_buf_text(&all), near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

static int set_text(const struct option_row *row, const char *text, const char **field,
                    struct tw_err *err)
{
    const struct limit_row *limit = limit_of(row);
    tw_auto_free char *name = tw_strf("--%s", row->name);

    *field = text;
    return limit ? cmd_check_word(name, text, limit->words, limit->word_count, err) : 0;
}

static int take(const struct option_row *row, const char *text, struct cmd_args *args,
                struct tw_err *err)
{
    void *field = (char *)args + row->offset;

    switch (row->kind) {
    case FLAG:
        *(bool *)field = true;
        return 0;
    case TEXT:
        return set_text(row, text, field, err);
    case MANY: {
        __typeof__(args->sets) *list = field;

        TW_PUSH(args->arena, list, text);
        return 0;
    }
    default:
        return set_number(row, text, field, err);
    }
}

static int unknown_option(const struct cmd *cmd, const char *word, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(rows)];
    tw_auto_free char *plain = NULL;
    const char *near;
    size_t n = 0;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (takes(cmd, rows[i].name))
            names[n++] = rows[i].name;
    plain = tw_strf("%.*s", (int)strcspn(word + 2, "="), word + 2);
    near = tw_starts_with(word, "--") ? tw_nearest(plain, names, n) : NULL;
    return tw_fail(err, -EINVAL, "unknown option '%s' of twin %s%s%s%s", word, cmd->name,
                   near ? "; did you mean --" : "", near ? near : "",
                   near ? "?" : "; twin help shows what there is");
}

/* getopt's own tables, made from the rows that this command takes. */
struct tables {
    struct option longs[TW_COUNT_OF(rows) + 1];
    char shorts[2 * TW_COUNT_OF(rows) + 3];
};

static void make_tables(const struct cmd *cmd, struct tables *t)
{
    size_t n = 0, s = 0;

    t->shorts[s++] = ':';
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        if (!takes(cmd, rows[i].name))
            continue;
        t->longs[n++] = (struct option){
            rows[i].name, rows[i].kind == FLAG ? no_argument : required_argument, NULL,
            (int)i + 256};
        if (!rows[i].letter)
            continue;
        t->shorts[s++] = rows[i].letter;
        if (rows[i].kind != FLAG)
            t->shorts[s++] = ':';
    }
    t->shorts[s] = '\0';
    t->longs[n] = (struct option){0};
}

static const struct option_row *row_of(int c)
{
    if (c >= 256)
        return &rows[c - 256];
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].letter == c)
            return &rows[i];
    return NULL;
}

int cmd_parse(const struct cmd *cmd, int argc, char **argv, struct cmd_args *ret,
              struct tw_err *err)
{
    struct tables t;
    int c;
    int r = 0;

    ret->hours = ret->rate = ret->budget = ret->days = ret->step = NAN;
    make_tables(cmd, &t);
    opterr = 0;
    optind = 1;
    while (r == 0 && (c = getopt_long(argc, argv, t.shorts, t.longs, NULL)) != -1) {
        if (c == '?')
            return unknown_option(cmd, argv[optind - 1], err);
        if (c == ':')
            return tw_fail(err, -EINVAL, "option '%s' needs a value", argv[optind - 1]);
        r = take(row_of(c), optarg, ret, err);
    }
    for (int i = optind; i < argc; i++)
        TW_PUSH(ret->arena, &ret->rest, argv[i]);
    if (r == 0 && !ret->help && ret->rest.count > cmd->most_words)
        return tw_fail(err, -EINVAL, "twin %s: '%s' is one word too many; as in: twin %s",
                       cmd->name, ret->rest.items[cmd->most_words], cmd->usage);
    return r;
}

int cmd_need_word(const struct cmd_args *args, size_t at, const char *what,
                  struct tw_err *err)
{
    return args->rest.count > at ? 0 : tw_fail(err, -EINVAL, "%s", what);
}

void cmd_print_options(const struct cmd *cmd)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const struct option_row *row = &rows[i];
        tw_auto_free char *left = NULL;

        if (!takes(cmd, row->name))
            continue;
        left = tw_strf("--%s%s%s", row->name, row->argument ? " " : "",
                       row->argument ? row->argument : "");
        if (row->letter)
            printf("  -%c, %-22s %s\n", row->letter, left, row->help);
        else
            printf("      %-22s %s\n", left, row->help);
    }
}
