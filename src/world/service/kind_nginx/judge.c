/* nginx's own words made into findings: at a start, at a reload, while it serves. Rows choose a name
 * and a remedy; what it dies of is a finding in any case. */
#include "kind_nginx_internal.h"

#include <ctype.h>
#include <string.h>

#define START(text, code, remedy)                                                        \
    {                                                                                    \
        text, "start." code, TW_CRITICAL, TW_BLOCK, NULL, remedy                         \
    }

/* What ends a start; order counts: the more special first. */
static const struct host_words fatal[] = {
    START("host not found in", "host",
          "make the name resolve where nginx runs, or use its address; nginx looks names "
          "up once, "
          "at its start"),
    START("unknown directive", "unknown_setting",
          "check the spelling, or load its module"),
    START("unknown log format", "value", "define it with log_format first"),
    START("key values mismatch", "tls", "put certificate and key of one pair there"),
    START("ee key too small", "tls",
          "use a certificate with an RSA key of 2048 bits, or EC"),
    START("ca md too weak", "tls", "use a certificate that is signed with SHA-256"),
    START("cannot load certificate", "tls",
          "put certificate and key there before the change"),
    START("SSL_CTX_", "tls", "correct certificate, key or protocol as OpenSSL says"),
    START("SSL_load_client_CA_file", "tls", "put the file of authorities there first"),
    START("no \"ssl_certificate\" is defined", "tls",
          "name a certificate for that server"),
    START("BIO_new_file", "tls", "put the file there before the change"),
    START("bind() to", "listen",
          "use an address that this host has, and a port that is free"),
    START("socket() ", "listen", "use an address family that this host has"),
    START("getpwnam(", "user", "make the user first"),
    START("getgrnam(", "user", "make the group first"),
    START("dlopen()", "library", "install the module for this very version of nginx"),
    START("is not binary compatible", "library",
          "install the module for this very version"),
    START("Too many open files", "files", "raise LimitNOFILE of the unit"),
    START("No space left", "disk", "free or add space"),
    START("(13: Permission denied)", "permission", "let nginx's user read or write it"),
    START("open()*failed (2:", "file", "put the file there before the change"),
    START("mkdir()*failed", "file", "make the directory above it first"),
    START("no such file", "file", "put the file there before the change"),
    START("zero size shared memory zone", "value", "define the zone that is used"),
    START("could not build", "value", "raise the hash size that it names"),
    START("invalid number of arguments", "syntax", "correct the line"),
    START("directive is not allowed here", "syntax",
          "move it to a block that may have it"),
    START("directive is duplicate", "syntax", "keep one of the two lines"),
    START("is not terminated by", "syntax", "end the line before with ';'"),
    START("unexpected", "syntax", "correct the line, or the one before it"),
    START("unknown", "value",
          "check the spelling: a variable, zone or parameter is not known"),
    START("invalid", "value", "use a value that nginx takes"),
    START("must be", "value", "use a value that nginx takes"),
    START("no \"events\" section", "syntax",
          "give the whole file, with its events block"),
};

#define FOUND(text, code, severity, verdict, title, remedy)                              \
    {                                                                                    \
        text, code, severity, verdict, title, remedy                                     \
    }

/* What it says when it starts and goes on. */
static const struct host_words warned[] = {
    FOUND("worker_connections exceed open file resource limit", "limit.files", TW_HIGH,
          TW_REVIEW, "a worker may not open as many files as it is to have connections",
          "raise worker_rlimit_nofile (or LimitNOFILE of the unit) above twice the "
          "worker_connections"),
    FOUND("conflicting server name", "change.overridden", TW_MEDIUM, TW_REVIEW,
          "a server is ignored: another one has the same name on the same address",
          "rename one of the two, or remove it"),
    FOUND("setrlimit(", "limit.files", TW_HIGH, TW_REVIEW,
          "the limit of open files cannot be set",
          "start nginx as root, or raise LimitNOFILE of the unit"),
    FOUND("low address bits of", "start.warning", TW_MEDIUM, TW_PROCEED,
          "nginx starts with a warning", "write the network without host bits"),
    FOUND("[warn]", "start.warning", TW_MEDIUM, TW_PROCEED, "nginx starts with a warning",
          "read what it says before going on"),
    FOUND("[alert]", "start.warning", TW_HIGH, TW_PROCEED, "nginx starts with an alert",
          "read what it says before going on"),
};

/* What it says while it serves. */
static const struct host_words serving[] = {
    FOUND("worker_connections are not enough", "limit.connections", TW_CRITICAL, TW_BLOCK,
          "connections are dropped: worker_connections are not enough",
          "raise worker_connections; a proxied request takes two"),
    FOUND("Too many open files", "limit.files", TW_CRITICAL, TW_BLOCK,
          "requests fail: a worker may open no more files",
          "raise worker_rlimit_nofile (or LimitNOFILE of the unit)"),
    FOUND("upstream sent too big header", "limit.reply_header", TW_CRITICAL, TW_BLOCK,
          "replies fail with 502: their header is larger than the buffer",
          "raise proxy_buffer_size (fastcgi_buffer_size) above the largest header"),
    FOUND("rewrite or internal redirection cycle", "redirect.cycle", TW_CRITICAL,
          TW_BLOCK, "requests end in a circle of internal redirections, with 500",
          "end the rewrite with 'last' or 'break', or let the last of try_files exist"),
    FOUND("No space left on device", "disk.full", TW_CRITICAL, TW_BLOCK,
          "requests fail: no space is left for what nginx writes", "free or add space"),
    FOUND("limiting requests", "limit.rate", TW_HIGH, TW_REVIEW,
          "requests are refused by a rate limit",
          "raise rate, or allow a burst of that size"),
    FOUND("limiting connections", "limit.rate", TW_HIGH, TW_REVIEW,
          "connections are refused by limit_conn",
          "raise the limit above what one client has"),
    FOUND(
        "upstream timed out", "upstream.timeout", TW_CRITICAL, TW_BLOCK,
        "requests fail with 504: what stands behind does not answer within the time-out",
        "raise proxy_read_timeout (proxy_connect_timeout) above the slowest answer"),
    FOUND("no live upstreams", "upstream.refused", TW_CRITICAL, TW_BLOCK,
          "requests fail with 502: no server of the upstream is left",
          "look at the addresses of the upstream and at max_fails"),
    FOUND("connect() failed", "upstream.refused", TW_HIGH, TW_REVIEW,
          "a server behind does not take connections", "correct its address and port"),
    FOUND("connect() to*failed", "upstream.refused", TW_HIGH, TW_REVIEW,
          "a server behind does not take connections", "correct its address and port"),
    FOUND("could not be resolved", "upstream.resolve", TW_HIGH, TW_REVIEW,
          "the name of a server behind does not resolve",
          "correct the name or the resolver"),
    FOUND("no resolver defined", "upstream.resolve", TW_CRITICAL, TW_BLOCK,
          "requests fail with 502: a name is to be looked up and no resolver is set",
          "add a resolver, or name the server in an upstream block"),
    FOUND("upstream prematurely closed", "upstream.closed", TW_HIGH, TW_REVIEW,
          "a server behind closes connections before it has answered",
          "let its keep-alive time be longer than that of nginx"),
    FOUND("upstream sent invalid header", "upstream.protocol", TW_CRITICAL, TW_BLOCK,
          "what stands behind does not speak the protocol that nginx expects",
          "correct the scheme of the pass directive"),
    FOUND("upstream sent no valid", "upstream.protocol", TW_CRITICAL, TW_BLOCK,
          "what stands behind does not speak the protocol that nginx expects",
          "correct the scheme of the pass directive"),
    FOUND("while SSL handshaking to upstream", "upstream.tls", TW_CRITICAL, TW_BLOCK,
          "the TLS handshake with a server behind fails",
          "correct protocols, name and authorities (proxy_ssl_*)"),
    FOUND("client intended to send too large body", "limit.body", TW_CRITICAL, TW_BLOCK,
          "uploads fail with 413", "raise client_max_body_size above the largest body"),
    FOUND("client sent too long", "limit.header", TW_CRITICAL, TW_BLOCK,
          "requests fail with 400: their header is larger than the buffers",
          "raise large_client_header_buffers above the largest cookie"),
    FOUND("client sent too large request", "limit.header", TW_CRITICAL, TW_BLOCK,
          "requests fail with 400: their header is larger than the buffers",
          "raise large_client_header_buffers above the largest cookie"),
    FOUND("exited on signal", "crash.under_load", TW_CRITICAL, TW_BLOCK,
          "worker processes die", "see the signal; leave out the module that was added"),
    FOUND("could not allocate*zone", "limit.zone", TW_HIGH, TW_REVIEW,
          "a shared memory zone is full", "make the zone larger"),
    FOUND("failed: no memory", "limit.zone", TW_HIGH, TW_REVIEW,
          "a shared memory zone is full", "make the zone larger"),
    FOUND("(13: Permission denied)", "file.permission", TW_HIGH, TW_REVIEW,
          "requests fail: nginx may not read or write a file", "let its user do so"),
    FOUND("SSL_do_handshake() failed", "tls.handshake", TW_HIGH, TW_REVIEW,
          "TLS handshakes fail", "allow the protocols and ciphers that clients have"),
    FOUND("directory index of*is forbidden", "file.index", TW_MEDIUM, TW_REVIEW,
          "requests for a directory are refused", "name an index file that exists"),
};

/* ---- its lines ---- */

static bool is_quiet(const char *level)
{
    static const char *const quiet[] = {"[notice]", "[info]", "[debug]"};

    for (size_t i = 0; i < TW_COUNT_OF(quiet); i++)
        if (tw_starts_with(level, quiet[i]))
            return true;
    return false;
}

/* "2026/01/31 12:00:00 [error] 7#7: *12 text, client: 10.0.0.1, server: …": time, process, number of
 * the connection and the client go, so that two runs say the same and nobody is named. */
static const char *clean(struct tw_arena *a, const char *line)
{
    const char *level = strchr(line, '[');
    const char *text, *end;
    size_t n;

    if (!level || !(end = strchr(level, ']')))
        return NULL;
    if (level != line && !tw_starts_with(line, "nginx: ") &&
        !isdigit((unsigned char)*line))
        return NULL;
    n = (size_t)(end - level) + 1;
    text = end + 1 + strspn(end + 1, " ");
    if (isdigit((unsigned char)*text) && strchr(text, '#') && strstr(text, ": ") &&
        strchr(text, '#') < strstr(text, ": "))
        text = strstr(text, ": ") + 2;
    if (*text == '*')
        text += strcspn(text, " ") + 1;
    /* what matters of the quiet ones has a row */
    if (is_quiet(level) && !host_words_find(text, serving, TW_COUNT_OF(serving)))
        return NULL;
    end = strstr(text, ", client: ");
    return tw_arena_printf(a, "%.*s %.*s", (int)n, level,
                           end ? (int)(end - text) : (int)strlen(text), text);
}

/* "… in /etc/nginx/conf.d/x.conf:3" names the file as the user does, where it is ours. */
static void name_files(struct tw_arena *a, const struct tw_plan *plan, size_t from,
                       struct tw_issues *issues)
{
    for (size_t i = from; i < issues->list.count; i++)
        issues->list.items[i].evidence =
            service_users_words(a, plan, issues->list.items[i].evidence);
}

void nginx_judge_start(struct tw_arena *a, const struct tw_access *access, size_t from,
                       const struct tw_plan *plan, bool started, int wait_status,
                       struct tw_issues *issues)
{
    size_t before = issues->list.count;
    const char *log = host_log_from(access, from);
    const char *words = host_complaints(a, log, clean, "[emerg]");

    if (started) {
        host_words_judge(a, access->log, from, clean, warned, TW_COUNT_OF(warned),
                         issues);
    } else if (*words && access->oom_kills <= 0) {
        const struct host_words *row = host_words_find(words, fatal, TW_COUNT_OF(fatal));

        tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK, row ? row->code : "start.failed",
                     "the service does not start with this change", words,
                     row ? row->remedy : "correct what nginx names");
    } else if (wait_status == 0 && access->oom_kills <= 0 && !*log) {
        tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "start.forks",
                     "nginx goes into the background, where its supervisor loses it",
                     "it ended at once, with exit status 0 and without a word",
                     "remove 'daemon on', which a supervisor sets itself");
    } else {
        host_judge_dead(a, access, from, clean, fatal, TW_COUNT_OF(fatal), wait_status,
                        issues);
    }
    name_files(a, plan, before, issues);
}

/* What it could not take is an emergency; what it took begins new workers. */
bool nginx_reload_ended(const struct tw_access *access, size_t from)
{
    const char *log = strstr(host_log_from(access, from), "reconfiguring");

    return log && (strstr(log, "[emerg]") || strstr(log, "start worker process "));
}

void nginx_judge_reload(struct tw_arena *a, const struct tw_access *access, size_t from,
                        const struct tw_plan *plan, struct tw_issues *issues)
{
    const char *words = host_complaints(a, host_log_from(access, from), clean, "[emerg]");
    const struct host_words *row = host_words_find(words, fatal, TW_COUNT_OF(fatal));
    size_t before = issues->list.count;

    if (!*words)
        return;
    tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "reload.rejected",
                 "a reload does not take this change: the old workers go on", words,
                 row ? row->remedy : "correct what nginx names");
    name_files(a, plan, before, issues);
}

void nginx_judge_log(struct tw_arena *a, const struct tw_access *access, size_t from,
                     struct tw_issues *issues)
{
    host_words_judge(a, access->log, from, clean, serving, TW_COUNT_OF(serving), issues);
}
