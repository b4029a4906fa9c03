/* What the program says: reports, problems, exit codes. */
#include "cmd_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REPORT_MAX ((size_t)256 << 20)

static const struct {
    int code;
    int exit;
    const char *name;
} codes[] = {
    {-EINVAL, CMD_BAD_INPUT, "invalid"},      {-ENOENT, CMD_BAD_INPUT, "not_found"},
    {-EEXIST, CMD_BAD_INPUT, "exists"},       {-ENOTUNIQ, CMD_BAD_INPUT, "ambiguous"},
    {-ERANGE, CMD_BAD_INPUT, "out_of_range"}, {-EACCES, CMD_NO_ANSWER, "no_permission"},
    {-EPERM, CMD_NO_ANSWER, "no_permission"}, {-ENOSPC, CMD_NO_ANSWER, "no_room"},
    {-ESTALE, CMD_NO_ANSWER, "inconsistent"}, {-ETIMEDOUT, CMD_NO_ANSWER, "timeout"},
    {-ENOSYS, CMD_NO_ANSWER, "kernel"},       {-ECANCELED, CMD_NO_ANSWER, "cancelled"},
};

int cmd_exit_code(int code)
{
    for (size_t i = 0; i < TW_COUNT_OF(codes); i++)
        if (codes[i].code == code)
            return codes[i].exit;
    return CMD_NO_ANSWER;
}

static const char *code_name(int code)
{
    for (size_t i = 0; i < TW_COUNT_OF(codes); i++)
        if (codes[i].code == code)
            return codes[i].name;
    return "failed";
}

bool cmd_is_json(const struct cmd_args *args)
{
    return tw_streq(args->format, "json");
}

int cmd_tell_error(const struct cmd_args *args, int code, const struct tw_err *err)
{
    int exit_code = cmd_exit_code(code);
    const char *text = err->text[0] ? err->text : strerror(-code);
    json_auto_t *problem = NULL;
    struct tw_err unused;

    fprintf(stderr, "twin: %s\n", text);
    if (!cmd_is_json(args))
        return exit_code;
    problem = json_pack("{s:s, s:s, s:s, s:s, s:s?}", "type", "about:blank", "code",
                        code_name(code), "title",
                        exit_code == CMD_BAD_INPUT ? "bad input" : "no answer", "error",
                        text, "pointer", err->pointer[0] ? err->pointer : NULL);
    (void)cmd_write_json(args, problem, &unused);
    return exit_code;
}

/* ---- where it goes ---- */

static int write_text(const struct cmd_args *args, const char *text, size_t len,
                      struct tw_err *err)
{
    if (args->out)
        return tw_write_file(args->out, text, len, 0644, err);
    if (fwrite(text, 1, len, stdout) != len || fflush(stdout) != 0)
        return tw_fail_errno(err, errno, "writing to standard output");
    return 0;
}

int cmd_write_json(const struct cmd_args *args, json_t *json, struct tw_err *err)
{
    tw_auto_free char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    tw_auto_free char *line = tw_strf("%s\n", text);

    return write_text(args, line, strlen(line), err);
}

static bool is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

/* NO_COLOR and CLICOLOR_FORCE as everywhere; a flag is stronger than both. */
struct tw_report_style cmd_style(const struct cmd_args *args)
{
    bool tty = !args->out && isatty(STDOUT_FILENO);
    const char *force = getenv("CLICOLOR_FORCE");
    struct tw_report_style style = {.unicode = is_utf8() || args->out, .colour = tty};
    struct winsize w;

    if (getenv("NO_COLOR"))
        style.colour = false;
    else if (force && *force && *force != '0')
        style.colour = true;
    if (args->color && !tw_streq(args->color, "auto"))
        style.colour = tw_streq(args->color, "always");
    if (tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 60)
        style.columns = w.ws_col > 120 ? 120 : w.ws_col;
    return style;
}

/* Several variants of one target: JSON as an array, everything else one after the other.
 */
static int write_array(const struct cmd_args *args, struct tw_simulation *const *sims,
                       size_t n, struct tw_err *err)
{
    json_auto_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list, tw_simulation_to_json(sims[i]));
    return cmd_write_json(args, list, err);
}

int cmd_write_reports(const struct cmd_args *args, struct tw_simulation *const *sims,
                      size_t n, struct tw_err *err)
{
    const struct tw_report_format *format =
        tw_report_format_find(args->format ? args->format : "text", err);
    struct tw_report_style style = cmd_style(args);
    tw_auto_buf out = {0};
    int r = 0;

    if (!format)
        return -EINVAL;
    if (n > 1 && cmd_is_json(args))
        return write_array(args, sims, n, err);
    tw_buf_init(&out, REPORT_MAX);
    for (size_t i = 0; i < n && r == 0; i++)
        r = format->write(sims[i], &style, &out, err);
    return r < 0 ? r : write_text(args, tw_buf_text(&out), out.len, err);
}
