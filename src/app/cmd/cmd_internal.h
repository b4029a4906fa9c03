/* Shared by the files of the program `twin`: commands and options are rows. */
#ifndef CMD_INTERNAL_H
#define CMD_INTERNAL_H

#include "tw/base.h"
#include "tw/report.h"
#include "tw/run.h"
#include "tw/spec.h"

#include <signal.h>

#define CMD_VERSION "0.1.0"

enum cmd_exit {
    CMD_PROCEED = 0,
    CMD_NO_ANSWER = 1,
    CMD_BAD_INPUT = 2,
    CMD_BLOCK = 3,
    CMD_REVIEW = 4,
};

/* Everything that any command takes; a command reads what its options list names. */
struct cmd_args {
    struct tw_arena *arena; /* owned by main */
    const char *state_dir, *format, *out, *color;
    const char *target, *environment, *scenario, *profile, *risk_level, *engine, *policy,
        *backend, *data;
    double hours, rate, budget;
    int64_t seed, limit, connections, measured_instances;
    bool dry_run, keep, refresh_data, scan, quiet, help;
    TW_ARRAY(const char *) clients, faults, sets, files, mixes, sql, sql_files, slos;
    const char *image, *smoke;
    bool no_rollback;
    const char *database;
    const char *type, *tier, *data_dir, *dsn, *file, *config, *project, *container,
        *memory;
    double cpus;
    const char *listen, *server, *token_file, *person, *roles, *environments, *types, *note,
        *comment, *plan;
    const char *metric;
    double days, step;
    bool automaton, applied, not_applied, async;
    TW_ARRAY(const char *) rest; /* what is not an option */
};

struct cmd {
    const char *name, *usage, *summary, *examples;
    const char
        *options;     /* names of the rows of options.c that it takes, between blanks */
    size_t most_words; /* that are no options; more are a mistake */
    bool hidden, raw; /* raw: arguments are its own */
    int (*run)(struct cmd_args *args,
               struct tw_err *err); /* exit code, or negative errno */
    int (*run_raw)(int argc, char **argv);
};
extern const struct cmd *const cmd_table[];
extern const size_t cmd_count;

/* argv[0] is the command's name. */
int cmd_parse(const struct cmd *cmd, int argc, char **argv, struct cmd_args *ret,
              struct tw_err *err);
void cmd_print_options(const struct cmd *cmd);
/* -EINVAL with what, unless there is a word at this place among those that are no options. */
int cmd_need_word(const struct cmd_args *args, size_t at, const char *what, struct tw_err *err);
/* -EINVAL with all that were expected, and the nearest. word NULL: nothing was said. */
int cmd_check_word(const char *option, const char *word, const char *const *names, size_t n,
                   struct tw_err *err);
/* The change that the command line asks for: a body, options, or both. */
int cmd_request(struct cmd_args *args, struct tw_request *q, struct tw_err *err);

/* One table: errno to exit code. */
int cmd_exit_code(int code);
/* To stderr, and where the output is JSON as a problem object to stdout too; returns exit
 * code. */
int cmd_tell_error(const struct cmd_args *args, int code, const struct tw_err *err);
/* In the chosen format, to --out or stdout. */
int cmd_write_reports(const struct cmd_args *args, struct tw_simulation *const *sims,
                      size_t n, struct tw_err *err);
int cmd_write_json(const struct cmd_args *args, json_t *json, struct tw_err *err);
bool cmd_is_json(const struct cmd_args *args);
struct tw_report_style cmd_style(const struct cmd_args *args);

/* Ctrl-C and TERM: cancel at the next slot, tear down, exit 130 or 143. */
extern volatile bool cmd_cancelled;
extern volatile sig_atomic_t cmd_signal;
void cmd_catch_signals(void);

/* The live line on stderr. */
void cmd_progress_begin(const struct cmd_args *args, struct tw_run_options *options);
void cmd_progress_end(void);

#endif
