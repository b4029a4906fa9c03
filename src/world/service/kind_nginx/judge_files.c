/* Found without a request: arithmetic of connections and files, doors that open, lines that come to
 * nothing. The same is looked for in what stands at the target, and what was so before is no news. */
#include "kind_nginx_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct judging {
    struct tw_arena *a;
    const struct tw_access *x;
    const struct nginx_conf *now, *before;
    const struct tw_plan *plan;
    struct tw_issues *issues;
};

static double number_of(const struct nginx_conf *c, int parent, const char *name,
                        double missing)
{
    const struct nginx_directive *d = nginx_child(c, parent, name);
    const char *text = nginx_arg(d, 0);
    char *end;
    double value = text ? strtod(text, &end) : missing;

    return text && (end == text || *end) ? missing : value;
}

/* ---- connections and files ---- */

struct room {
    double workers, connections, files, clients;
};

static struct room room_of(const struct judging *j, const struct nginx_conf *c)
{
    const struct nginx_directive *events = nginx_child(c, -1, "events");
    double cpus = j->x->snapshot->cpus > 0 ? j->x->snapshot->cpus : 1;
    bool automatic =
        tw_streq(nginx_arg(nginx_child(c, -1, "worker_processes"), 0), "auto");
    int64_t inherited = j->x->snapshot->nofile;
    struct room r;

    r.workers = automatic ? cpus : number_of(c, -1, "worker_processes", 1);
    r.connections =
        events ? number_of(c, (int)(events - c->list.items), "worker_connections", 512)
               : 512;
    r.files = number_of(c, -1, "worker_rlimit_nofile",
                        inherited > 0 ? (double)inherited : INFINITY);
    r.clients = r.workers * fmin(r.connections, r.files);
    return r;
}

static bool proxies(const struct nginx_conf *c)
{
    for (size_t i = 0; i < c->list.count; i++)
        if (tw_ends_with(c->list.items[i].name, "_pass"))
            return true;
    return false;
}

/* A connection is a file, and so is each page that is sent: long before the last connection there is
 * none left. */
static void tell_files(const struct judging *j, const struct room *now)
{
    tw_issue_add(
        j->a, j->issues, TW_HIGH, TW_REVIEW, "limit.files",
        "a worker may not open as many files as it is to have connections",
        tw_arena_printf(j->a,
                        "%.0f connections, %.0f files for each worker; a proxied or "
                        "a static request takes two",
                        now->connections, now->files),
        "raise worker_rlimit_nofile above twice the worker_connections");
}

static void judge_room(const struct judging *j)
{
    struct room now = room_of(j, j->now), before = room_of(j, j->before);
    const struct tw_snapshot *s = j->x->snapshot;
    double peak = fmax(s->peak_connections, s->connections_used);
    double each = proxies(j->now) ? 2 : 1;

    if (j->plan->connections > peak)
        peak = j->plan->connections;
    if (now.clients >= before.clients)
        return;
    if (now.files < now.connections && before.files >= before.connections)
        tell_files(j, &now);
    if (peak <= 0 || now.clients >= each * peak)
        return;
    tw_issue_add(
        j->a, j->issues, TW_CRITICAL, TW_BLOCK,
        now.files < now.connections ? "limit.files" : "limit.connections",
        "nginx has room for fewer connections than it has clients",
        tw_arena_printf(j->a,
                        "%.0f workers with %.0f connections%s each; %.0f clients at "
                        "once take %.0f connections%s; it was room for %.0f",
                        now.workers, now.connections,
                        isfinite(now.files)
                            ? tw_arena_printf(j->a, " and %.0f files", now.files)
                            : "",
                        peak, each * peak,
                        each > 1 ? ", each its own and one behind" : "", before.clients),
        "raise worker_connections, and worker_rlimit_nofile with it");
}

/* ---- doors ---- */

/* Who is kept out of a place: rules hold for what lies below until it has rules of its own. */
struct guard {
    bool denies, asks_password;
};

static bool has_own_access(const struct nginx_conf *c, int block)
{
    return nginx_child(c, block, "allow") || nginx_child(c, block, "deny");
}

static struct guard guard_of(const struct nginx_conf *c, int block)
{
    const struct nginx_directive *password = nginx_effective(c, block, "auth_basic");
    struct guard g = {.asks_password = password && !nginx_has_arg(password, "off")};
    int at = block;

    while (at >= 0 && !has_own_access(c, at))
        at = c->list.items[at].parent;
    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];

        if (d->parent != at || (!nginx_is(d, "deny") && !nginx_is(d, "allow")))
            continue;
        if (nginx_has_arg(d, "all")) { /* the first that matches everybody decides */
            g.denies = nginx_is(d, "deny");
            break;
        }
    }
    return g;
}

static int same_block(const struct judging *j, const char *context, const char *name)
{
    for (size_t i = 0; i < j->before->list.count; i++)
        if (j->before->list.items[i].block && nginx_is(&j->before->list.items[i], name) &&
            tw_streq(nginx_context(j->a, j->before, (int)i), context))
            return (int)i;
    return -1;
}

static void judge_guard(const struct judging *j, int block, const char *context)
{
    const struct nginx_directive *d = &j->now->list.items[block];
    int old = same_block(j, context, d->name);
    struct guard now = guard_of(j->now, block), before;

    if (old < 0)
        return;
    before = guard_of(j->before, old);
    if ((!before.denies || now.denies) && (!before.asks_password || now.asks_password))
        return;
    tw_issue_add(
        j->a, j->issues, TW_CRITICAL, TW_BLOCK, "exposure.access",
        "a place that was closed is open to everybody",
        tw_arena_printf(j->a, "%s (%s line %d): %s stood before, and is gone", context,
                        d->file, d->line,
                        before.denies && !now.denies ? "'deny all'" : "'auth_basic'"),
        "keep the rule, or say why it may go");
}

/* "location /x { alias /y/; }": /x../z is /y/../z. */
static bool escapes(const struct nginx_conf *c, int location)
{
    const struct nginx_directive *d = &c->list.items[location];
    const struct nginx_directive *alias = nginx_child(c, location, "alias");
    const char *prefix = d->args.count ? d->args.items[d->args.count - 1] : "";
    bool is_prefix = d->args.count == 1 || nginx_has_arg(d, "^~");

    return alias && is_prefix && nginx_arg(alias, 0) && *prefix == '/' &&
           !tw_ends_with(prefix, "/") && tw_ends_with(nginx_arg(alias, 0), "/");
}

static bool lists(const struct nginx_conf *c, int block)
{
    const struct nginx_directive *d = nginx_child(c, block, "autoindex");

    return d && nginx_has_arg(d, "on");
}

static void judge_place(const struct judging *j, int block)
{
    const struct nginx_directive *d = &j->now->list.items[block];
    const char *context = nginx_context(j->a, j->now, block);
    int old = same_block(j, context, d->name);

    judge_guard(j, block, context);
    if (nginx_is(d, "location") && escapes(j->now, block) &&
        (old < 0 || !escapes(j->before, old)))
        tw_issue_add(
            j->a, j->issues, TW_CRITICAL, TW_BLOCK, "exposure.traversal",
            "files beside the directory of an alias can be read by anybody",
            tw_arena_printf(j->a,
                            "%s line %d: location '%s' has no slash at its end and alias "
                            "'%s' has one, so that '%s../' leads out of it",
                            d->file, d->line, d->args.items[d->args.count - 1],
                            nginx_arg(nginx_child(j->now, block, "alias"), 0),
                            d->args.items[d->args.count - 1]),
            "write the location with a slash at its end");
    if (lists(j->now, block) && (old < 0 || !lists(j->before, old)))
        tw_issue_add(j->a, j->issues, TW_MEDIUM, TW_REVIEW, "exposure.listing",
                     "directories are listed to anybody",
                     tw_arena_printf(j->a, "autoindex on in %s (%s line %d)", context,
                                     d->file,
                                     nginx_child(j->now, block, "autoindex")->line),
                     "list only what is meant to be found");
}

/* ---- listens ---- */

static void judge_listens(const struct judging *j)
{
    struct service_needs now = {0}, before = {0};

    nginx_endpoints(j->a, j->now, &now);
    nginx_endpoints(j->a, j->before, &before);
    service_listens_judge(j->a, &now, &before, j->issues);
}

/* ---- a rule that IPv6 walks past ---- */

static bool denies_only_v4(const struct nginx_conf *c, int block)
{
    bool four = false;

    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];

        if (d->parent != block || !nginx_is(d, "deny") || !nginx_arg(d, 0))
            continue;
        if (nginx_has_arg(d, "all") || strchr(nginx_arg(d, 0), ':'))
            return false;
        four = true;
    }
    return four;
}

static bool listens_on_six(const struct nginx_conf *c, int server)
{
    for (size_t i = 0; i < c->list.count; i++)
        if (c->list.items[i].parent == server && nginx_is(&c->list.items[i], "listen") &&
            tw_starts_with(nginx_arg(&c->list.items[i], 0), "["))
            return true;
    return false;
}

static bool walked_past(const struct nginx_conf *c, int block)
{
    int server = nginx_around(c, block, "server");

    return server >= 0 && denies_only_v4(c, block) && listens_on_six(c, server);
}

static void judge_v4(const struct judging *j, int block)
{
    const struct nginx_directive *d = &j->now->list.items[block];
    const char *context = nginx_context(j->a, j->now, block);
    int old = same_block(j, context, d->name);

    if (!walked_past(j->now, block) || (old >= 0 && walked_past(j->before, old)))
        return;
    tw_issue_add(j->a, j->issues, TW_MEDIUM, TW_REVIEW, "exposure.v4_only",
                 "addresses are denied for IPv4 only, and the server listens on IPv6 too",
                 tw_arena_printf(j->a, "%s (%s line %d)", context, d->file, d->line),
                 "deny the IPv6 addresses too, or allow what may enter and deny all");
}

/* ---- TLS ---- */

static void judge_protocols(const struct judging *j)
{
    static const char *const old[] = {"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"};

    for (size_t i = 0; i < j->now->list.count; i++) {
        const struct nginx_directive *d = &j->now->list.items[i];
        const char *context = nginx_context(j->a, j->now, d->parent);
        const struct nginx_directive *was = NULL;

        if (!nginx_is(d, "ssl_protocols"))
            continue;
        for (size_t k = 0; k < j->before->list.count && !was; k++)
            if (nginx_is(&j->before->list.items[k], "ssl_protocols") &&
                tw_streq(nginx_context(j->a, j->before, j->before->list.items[k].parent),
                         context))
                was = &j->before->list.items[k];
        for (size_t k = 0; k < TW_COUNT_OF(old); k++) {
            if (!nginx_has_arg(d, old[k]) || (was && nginx_has_arg(was, old[k])))
                continue;
            tw_issue_add(j->a, j->issues, TW_MEDIUM, TW_REVIEW, "tls.deprecated",
                         "a protocol is allowed that is broken or deprecated",
                         tw_arena_printf(j->a, "%s in %s (%s line %d)", old[k], context,
                                         d->file, d->line),
                         "allow TLSv1.2 and TLSv1.3");
            break;
        }
    }
}

/* ---- time-outs against what was seen ---- */

static double seconds_of(const char *text)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"", 1}};
    char *end;
    double value = strtod(text, &end);

    for (size_t i = 0; i < TW_COUNT_OF(units); i++)
        if (tw_streq(end, units[i].unit))
            return value * units[i].seconds;
    return NAN;
}

static void judge_timeouts(const struct judging *j)
{
    static const char *const names[] = {"proxy_read_timeout", "fastcgi_read_timeout",
                                        "uwsgi_read_timeout", "grpc_read_timeout"};
    const struct tw_snapshot *s = j->x->snapshot;
    const struct tw_sample_request *slow = NULL;

    for (size_t i = 0; i < s->requests.count; i++)
        if (s->requests.items[i].upstream_s > (slow ? slow->upstream_s : 0))
            slow = &s->requests.items[i];
    for (size_t i = 0; i < j->now->list.count && slow; i++) {
        const struct nginx_directive *d = &j->now->list.items[i];
        const char *value = nginx_arg(d, 0);
        const struct tw_setting *was;

        if (tw_name_index(d->name, names, TW_COUNT_OF(names)) < 0 || !value ||
            !(seconds_of(value) < slow->upstream_s))
            continue;
        was = tw_snapshot_setting(
            s, d->parent < 0
                   ? d->name
                   : tw_arena_printf(j->a, "%s.%s",
                                     nginx_context(j->a, j->now, d->parent), d->name));
        if (was && tw_streq(was->value, value))
            continue;
        tw_issue_add(j->a, j->issues, TW_HIGH, TW_REVIEW, "upstream.timeout",
                     "a time-out is shorter than answers take today",
                     tw_arena_printf(j->a,
                                     "%s %s (%s line %d); %s %s takes %.3f s on average "
                                     "in the access log",
                                     d->name, value, d->file, d->line, slow->method,
                                     slow->path, slow->upstream_s),
                     "allow the slowest answer its time");
    }
}

/* ---- a setting that deeper lines override ---- */

static void judge_override(const struct judging *j, const struct tw_plan_step *step)
{
    const char *dot = strrchr(step->name, '.');
    const char *name = dot ? dot + 1 : step->name;
    struct nginx_spot spot;
    const char *where = "";

    if (nginx_find_spot(j->a, j->now, j->x->snapshot->program, step->name, &spot, NULL) <
            0 ||
        spot.directive < 0)
        return;
    for (size_t i = 0; i < j->now->list.count; i++) {
        const struct nginx_directive *d = &j->now->list.items[i];
        int above = d->parent;

        while (above >= 0 && above != spot.block)
            above = j->now->list.items[above].parent;
        if (above == spot.block && d->parent != spot.block && nginx_is(d, name))
            where = tw_arena_printf(j->a, "%s%s%s line %d", where, *where ? ", " : "",
                                    d->file, d->line);
    }
    if (*where)
        tw_issue_add(
            j->a, j->issues, TW_LOW, TW_PROCEED, "change.partial",
            tw_arena_printf(j->a, "%s does not hold everywhere: deeper lines set it anew",
                            name),
            where, "change those lines too, if they are meant");
}

/* ---- room for what is kept in files on its way ---- */

/* Of the nearest directory that is there, at the target. */
static double room_at(const char *path)
{
    tw_auto_free char *at = strdup(path);
    struct statvfs fs;
    char *slash;

    while (statvfs(at, &fs) < 0) {
        slash = strrchr(at, '/');
        if (!slash || slash == at)
            return NAN;
        *slash = '\0';
    }
    return (double)fs.f_bavail * (double)fs.f_frsize;
}

static double largest_body(const struct judging *j)
{
    const struct tw_snapshot *s = j->x->snapshot;
    double most = 0;

    for (size_t i = 0; i < j->plan->clients.count; i++)
        most = fmax(most, (double)j->plan->clients.items[i].body_bytes);
    for (size_t i = 0; i < s->requests.count; i++)
        most = fmax(most, s->requests.items[i].request_bytes); /* NaN: the other one */
    return most;
}

/* "16m", "1k"; 0 is without a bound, and so is what we cannot read. */
static double size_of(const char *text)
{
    char *end;
    double n = text ? strtod(text, &end) : 1 << 20;

    if (!text)
        return n;
    n *= *end == 'k' || *end == 'K'   ? 1024.0
         : *end == 'm' || *end == 'M' ? 1048576.0
         : *end == 'g' || *end == 'G' ? 1073741824.0
                                      : 1;
    return n > 0 ? n : INFINITY;
}

static double most_allowed(const struct nginx_conf *c)
{
    double most = 0;

    for (size_t i = 0; i < c->list.count; i++)
        if (nginx_is(&c->list.items[i], "client_max_body_size"))
            most = fmax(most, size_of(nginx_arg(&c->list.items[i], 0)));
    return most > 0 ? most : size_of(NULL);
}

static const struct nginx_directive *body_path(const struct nginx_conf *c)
{
    for (size_t i = 0; i < c->list.count; i++)
        if (nginx_is(&c->list.items[i], "client_body_temp_path"))
            return &c->list.items[i];
    return NULL;
}

/* A body that is larger than its buffer is written where client_body_temp_path says before it goes on:
 * where that has become another place, or bodies may be larger, the place has to have room. */
static void judge_body_room(const struct judging *j)
{
    const struct nginx_directive *d = body_path(j->now), *was = body_path(j->before);
    const char *path = nginx_arg(d, 0);
    double allowed = most_allowed(j->now), seen = largest_body(j);
    double room = path && *path == '/' ? room_at(path) : NAN;
    bool too_large = seen <= allowed && seen > room;

    if ((tw_streq(path, nginx_arg(was, 0)) && allowed <= most_allowed(j->before)) ||
        !(allowed > room))
        return;
    tw_issue_add(j->a, j->issues, too_large ? TW_CRITICAL : TW_HIGH,
                 too_large ? TW_BLOCK : TW_REVIEW, "disk.body_room",
                 too_large ? "bodies as large as today's have no room where they are written"
                           : "bodies that are allowed have no room where they are written",
                 tw_arena_printf(j->a,
                                 "client_body_temp_path %s (%s line %d) has %.0f bytes free; "
                                 "a body may be %.0f, the largest known is %.0f",
                                 path, d->file, d->line, room, allowed, seen),
                 "a place with room for the largest body times those that come at once, or a "
                 "smaller client_max_body_size");
}

/* ---- includes and keys that are not there ---- */

static void judge_certificates(const struct judging *j)
{
    struct tw_certificates now = {0};

    nginx_certificates(j->a, j->x->root, j->now, j->x->snapshot, &now);
    service_certificates_judge(j->a, &now, j->x->snapshot, j->issues);
}

void nginx_judge_files(struct tw_arena *a, const struct tw_access *access,
                       const struct tw_plan *plan, struct tw_issues *issues)
{
    struct nginx_conf now, before;
    struct judging j = {a, access, &now, &before, plan, issues};

    nginx_conf_read(a, access->root, access->snapshot->config_file, &now);
    nginx_conf_read(a, "", access->snapshot->config_file, &before);
    if (!before.files.count) /* the target is elsewhere: nothing to compare with */
        return;
    judge_room(&j);
    judge_listens(&j);
    judge_protocols(&j);
    judge_certificates(&j);
    judge_timeouts(&j);
    judge_body_room(&j);
    for (size_t i = 0; i < now.list.count; i++)
        if (now.list.items[i].block && (nginx_is(&now.list.items[i], "location") ||
                                        nginx_is(&now.list.items[i], "server"))) {
            judge_place(&j, (int)i);
            nginx_judge_inherited(a, &before,
                                  same_block(&j, nginx_context(a, &now, (int)i), now.list.items[i].name),
                                  &now, (int)i, issues);
            judge_v4(&j, (int)i);
        }
    for (size_t i = 0; i < plan->steps.count; i++)
        if (plan->steps.items[i].kind == TW_STEP_SETTING &&
            !host_unit_is_setting(plan->steps.items[i].name))
            judge_override(&j, &plan->steps.items[i]);
}
