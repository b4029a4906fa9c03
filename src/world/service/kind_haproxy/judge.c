/* HAProxy's own words made into findings: at a start, at a reload, while it serves. */
#include "kind_haproxy_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define START(text, code, remedy)                                                        \
    {                                                                                    \
        text, "start." code, TW_CRITICAL, TW_BLOCK, NULL, remedy                         \
    }

static const struct host_words fatal[] = {
    START("could not resolve address", "host",
          "make the name resolve where haproxy runs, or add 'init-addr last,libc,none' "
          "to the "
          "server"),
    START("unknown keyword", "unknown_setting", "check the spelling"),
    START("unknown parameter", "unknown_setting", "check the spelling"),
    START("unable to find required", "reference",
          "define the section that is named, or correct "
          "its name"),
    START("no such ACL", "reference", "define the acl first"),
    START("Missing LF on last line", "syntax", "end the last line with a line feed"),
    START("inconsistencies between private key and certificate", "tls",
          "put certificate and key of one pair there"),
    START("key too small", "tls", "use an RSA key of 2048 bits, or EC"),
    START("ca md too weak", "tls", "use a certificate that is signed with SHA-256"),
    START("SSL", "tls", "put certificate and key there before the change"),
    START("certificate", "tls", "put certificate and key there before the change"),
    START("cannot bind", "listen",
          "use an address that this host has, and a port that is free"),
    START("cannot listen", "listen",
          "use an address that this host has, and a port that is free"),
    START("cannot find user id", "user", "make the user first"),
    START("cannot find group id", "user", "make the group first"),
    START("annot chroot", "permission", "make the directory, and start haproxy as root"),
    START("FD limit", "files", "raise LimitNOFILE of the unit, or lower maxconn"),
    START("raise 'ulimit-n'", "files", "raise LimitNOFILE of the unit, or lower maxconn"),
    START("llocate", "memory", "ask for less, or for a larger host"),
    START("out of memory", "memory", "ask for less, or for a larger host"),
    START("No such file", "file", "put the file there before the change"),
    START("unable to load", "file", "put the file there before the change"),
    START("open", "file", "put the file there before the change"),
    START("ermission denied", "permission", "let haproxy's user read it"),
    START("out of range", "value", "use a value within the range"),
    START("supports", "unknown_setting", "use one of the words that it names"),
    START("expects", "value", "use a value that haproxy takes"),
    START("invalid", "value", "use a value that haproxy takes"),
    START("unexpected", "value", "use a value that haproxy takes"),
    START("missing", "syntax", "complete the line"),
    START("parsing [", "syntax", "correct the line"),
};

#define FOUND(text, code, severity, verdict, title, remedy)                              \
    {                                                                                    \
        text, code, severity, verdict, title, remedy                                     \
    }

static const struct host_words warned[] = {
    FOUND("FD limit", "limit.files", TW_HIGH, TW_REVIEW,
          "haproxy may open fewer files than its maxconn needs",
          "raise LimitNOFILE of the unit, or lower maxconn"),
    FOUND("missing timeouts for", "timeout.missing", TW_MEDIUM, TW_REVIEW,
          "a proxy without time-outs keeps dead connections for ever",
          "set timeout client, server and connect"),
    FOUND("will be ignored", "change.overridden", TW_MEDIUM, TW_REVIEW,
          "a line of the configuration is ignored",
          "remove it, or set the mode that it needs"),
    FOUND("never be matched", "change.overridden", TW_MEDIUM, TW_REVIEW,
          "a rule has no effect: one before it always matches",
          "put the special one first"),
    FOUND("deprecated", "start.warning", TW_LOW, TW_PROCEED,
          "haproxy starts with a warning", "use the word that replaced it"),
    FOUND("[WARNING] config", "start.warning", TW_MEDIUM, TW_PROCEED,
          "haproxy starts with a warning", "read what it says before going on"),
};

static const struct host_words serving[] = {
    FOUND("reached process FD limit", "limit.files", TW_CRITICAL, TW_BLOCK,
          "connections are refused: haproxy may open no more files",
          "raise LimitNOFILE of the unit, or lower maxconn"),
    FOUND("reached system FD limit", "limit.files", TW_CRITICAL, TW_BLOCK,
          "connections are refused: the host has no more files", "raise fs.file-max"),
    FOUND("reached system memory limit", "limit.memory", TW_CRITICAL, TW_BLOCK,
          "connections are refused: no memory is left",
          "lower maxconn, or give it more memory"),
    FOUND("has no server available", "upstream.none", TW_CRITICAL, TW_BLOCK,
          "requests fail with 503: a backend has no server left",
          "see the health checks and the addresses of its servers"),
    FOUND("is DOWN, reason", "upstream.down", TW_HIGH, TW_REVIEW,
          "a server is taken for dead by its health check",
          "see what the check asks, and what the server answers"),
    FOUND("(Segmentation fault)", "crash.under_load", TW_CRITICAL, TW_BLOCK,
          "workers die", "leave out what was added"),
    FOUND("(Aborted)", "crash.under_load", TW_CRITICAL, TW_BLOCK, "workers die",
          "leave out what was added"),
    FOUND("(Killed)", "crash.under_load", TW_CRITICAL, TW_BLOCK, "workers are killed",
          "give it more memory, or lower maxconn"),
    /* of its own log, where that goes to stdout or stderr: how sessions ended */
    FOUND("[ended] sQ", "queue.timeout", TW_CRITICAL, TW_BLOCK,
          "requests fail with 503: they wait in a queue longer than timeout queue",
          "raise maxconn of the servers, or timeout queue"),
    FOUND("[ended] sH", "upstream.timeout", TW_CRITICAL, TW_BLOCK,
          "requests fail with 504: servers do not answer within timeout server",
          "raise timeout server above the slowest answer"),
    FOUND("[ended] SC", "upstream.refused", TW_CRITICAL, TW_BLOCK,
          "requests fail with 503: servers do not take connections",
          "correct address and port of the server"),
    FOUND("[ended] sC", "upstream.refused", TW_CRITICAL, TW_BLOCK,
          "requests fail with 503: connections to servers time out",
          "correct address and port of the server, see timeout connect"),
    FOUND("[ended] PR", "request.denied", TW_HIGH, TW_REVIEW,
          "requests are refused by haproxy itself",
          "see its rules, and that what clients speak is what 'mode' expects"),
    FOUND("[ended] PH", "upstream.protocol", TW_CRITICAL, TW_BLOCK,
          "answers of servers are no valid HTTP",
          "use 'mode tcp' in front of what is no HTTP"),
    FOUND("[ended] cR", "client.timeout", TW_HIGH, TW_REVIEW,
          "clients are cut off before their request is complete",
          "raise timeout http-request or timeout client"),
};

/* ---- its lines ---- */

/* "1/0/0/1/2 200 150 - - ---- 1/1/0/0/0 0/0 \"GET …\"": the four flags, when they tell of an end that
 * was no good. */
static const char *ended(struct tw_arena *a, const char *line)
{
    for (const char *s = strchr(line, ' '); s; s = strchr(s + 1, ' ')) {
        if (strcspn(s + 1, " ") != 4 || strspn(s + 1, "-CSPLRIDUKcst") == 0 ||
            !strchr("CSPRIcs", s[1]) || !strchr("RQCHDLT", s[2]))
            continue;
        return tw_arena_printf(a, "[ended] %.4s", s + 1);
    }
    return NULL;
}

/* "[ALERT]    (123) : config : text": the process goes, so that two runs say the same. */
static const char *clean(struct tw_arena *a, const char *line)
{
    static const char *const levels[] = {"[ALERT]", "[WARNING]"};
    const char *text;

    for (size_t i = 0; i < TW_COUNT_OF(levels); i++) {
        if (!tw_starts_with(line, levels[i]))
            continue;
        text = line + strlen(levels[i]);
        text += strspn(text, " ");
        if (*text == '(' && strstr(text, ") : "))
            text = strstr(text, ") : ") + strlen(") : ");
        return tw_arena_printf(a, "%s %s", levels[i], text);
    }
    return host_words_find(line, serving, TW_COUNT_OF(serving)) ? tw_arena_strdup(a, line)
                                                                : ended(a, line);
}

/* Health checks go at their own pace: what they say belongs to the serving, not to the start. */
static bool is_of_check(const char *said)
{
    static const char *const words[] = {"Server ", "has no server available",
                                        "Health check"};

    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        if (strstr(said, words[i]) && !strstr(said, "config"))
            return true;
    return false;
}

static bool is_summary(const char *said)
{
    static const char *const words[] = {"Error(s) found in configuration",
                                        "Fatal errors found",
                                        "Loading failure",
                                        "Exiting Master",
                                        "All workers exited",
                                        "Current worker",
                                        "Former worker",
                                        "exited with code",
                                        "Reexecuting Master"};

    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        if (strstr(said, words[i]))
            return true;
    return false;
}

/* Of the lines, the first that a row knows: a general word of a later line hides no special one. */
static const struct host_words *row_of(struct tw_arena *a, const char *words)
{
    const struct host_words *best = NULL;
    char *rest = tw_arena_strdup(a, words);

    for (char *line; !best && (line = strsep(&rest, "\n"));)
        best = host_words_find(line, fatal, TW_COUNT_OF(fatal));
    return best;
}

/* Of the configuration: what its checks say comes when it comes. */
static const char *start_clean(struct tw_arena *a, const char *line)
{
    const char *said = clean(a, line);

    return said && !is_of_check(said) && !is_summary(said) ? said : NULL;
}

void haproxy_judge_start(struct tw_arena *a, const struct tw_access *access, size_t from,
                         const struct tw_plan *plan, bool started, int wait_status,
                         struct tw_issues *issues)
{
    const char *words =
        host_complaints(a, host_log_from(access, from), start_clean, "[ALERT]");
    const struct host_words *row = row_of(a, words);

    (void)plan;
    if (started)
        host_words_judge(a, access->log, from, start_clean, warned, TW_COUNT_OF(warned),
                         issues);
    else if (*words && access->oom_kills <= 0)
        tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK, row ? row->code : "start.failed",
                     "the service does not start with this change", words,
                     row ? row->remedy : "correct what haproxy names");
    else
        host_judge_dead(a, access, from, clean, fatal, TW_COUNT_OF(fatal), wait_status,
                        issues);
}

bool haproxy_reload_ended(const struct tw_access *access, size_t from)
{
    const char *log = host_log_from(access, from);

    return strstr(log, "Loading success") || strstr(log, "Loading failure");
}

/* The master that could not load keeps the old worker: systemd's reload, which asks "haproxy -c"
 * first, refuses it before that. */
void haproxy_judge_reload(struct tw_arena *a, const struct tw_access *access, size_t from,
                          const struct tw_plan *plan, struct tw_issues *issues)
{
    const char *log = host_log_from(access, from);
    const char *words = host_complaints(a, log, start_clean, "[ALERT]");
    const struct host_words *row = row_of(a, words);

    (void)plan;
    if (!*words && !strstr(log, "Loading failure"))
        return;
    tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "reload.rejected",
                 "a reload does not take this change: the old worker goes on",
                 *words ? words : "Loading failure!",
                 row ? row->remedy : "correct what haproxy names");
}

void haproxy_judge_log(struct tw_arena *a, const struct tw_access *access, size_t from,
                       struct tw_issues *issues)
{
    tw_auto_free char *socket = tw_strf("%s/stats.sock", access->entrance);
    tw_auto_free char *csv = NULL;
    struct haproxy_stats stats;

    host_words_judge(a, access->log, from, clean, serving, TW_COUNT_OF(serving), issues);
    if (haproxy_ask(socket, "show stat", 4 << 20, &csv, NULL) < 0)
        return;
    haproxy_read_stats(a, csv, &stats);
    haproxy_judge_stats(a, &stats, issues);
}
