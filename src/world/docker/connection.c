/* Where the Engine is, which version it speaks, and one way to ask it. */
#include "docker_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where ---- */

static const char *given(const char *option, const char *variable)
{
    const char *value = option ? option : getenv(variable);

    return value && *value ? value : NULL;
}

static int find_certificates(struct docker_place *p, const char *dir, struct tw_err *err)
{
    const struct {
        const char *name;
        char **path;
    } rows[] = {{"ca.pem", &p->ca}, {"cert.pem", &p->cert}, {"key.pem", &p->key}};

    if (!dir)
        return tw_fail(
            err, -EINVAL,
            "DOCKER_TLS_VERIFY is set: say where ca.pem, cert.pem and key.pem are "
            "with DOCKER_CERT_PATH");
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        *rows[i].path = tw_strf("%s/%s", dir, rows[i].name);
        if (access(*rows[i].path, R_OK) != 0)
            return tw_fail_errno(err, errno, "certificates for the Docker Engine: '%s'",
                                 *rows[i].path);
    }
    return 0;
}

static int find_tcp(struct docker_place *p, const char *rest, bool tls,
                    struct tw_err *err)
{
    const char *colon = strrchr(rest, ':');
    bool port =
        colon && colon[1] && strspn(colon + 1, "0123456789/") == strlen(colon + 1);

    if (!*rest || *rest == ':' || strpbrk(rest, "@?#"))
        return tw_fail(err, -EINVAL, "DOCKER_HOST '%s': expected tcp://HOST:PORT",
                       p->host);
    p->url = tw_strf("%s://%.*s%s", tls ? "https" : "http",
                     (int)(strlen(rest) - (tw_ends_with(rest, "/") ? 1 : 0)), rest,
                     port  ? ""
                     : tls ? ":2376"
                           : ":2375");
    return 0;
}

int docker_place_find(const struct tw_docker_options *options, struct docker_place *ret,
                      struct tw_err *err)
{
    static const char usual[] = "unix:///var/run/docker.sock";
    static const struct {
        const char *prefix;
        bool tls;
    } schemes[] = {{"tcp://", false}, {"http://", false}, {"https://", true}};
    const char *host = given(options ? options->host : NULL, "DOCKER_HOST");
    const char *certs = given(options ? options->cert_path : NULL, "DOCKER_CERT_PATH");
    bool tls = given(NULL, "DOCKER_TLS_VERIFY") || (options && options->cert_path);

    *ret = (struct docker_place){.host = tw_strf("%s", host ? host : usual)};
    host = ret->host;
    if (tw_starts_with(host, "unix://")) {
        ret->socket = tw_strf("%s", host + strlen("unix://"));
        ret->url = tw_strf("http://engine");
        return *ret->socket == '/'
                   ? 0
                   : tw_fail(err, -EINVAL,
                             "DOCKER_HOST '%s': expected an absolute path, as %s", host,
                             usual);
    }
    for (size_t i = 0; i < TW_COUNT_OF(schemes); i++) {
        int r;

        if (!tw_starts_with(host, schemes[i].prefix))
            continue;
        tls = tls || schemes[i].tls;
        r = tls ? find_certificates(ret, certs, err) : 0;
        return r < 0 ? r : find_tcp(ret, host + strlen(schemes[i].prefix), tls, err);
    }
    return tw_fail(
        err, -EINVAL, "DOCKER_HOST '%s': expected unix:///PATH or tcp://HOST:PORT%s",
        host,
        tw_starts_with(host, "ssh://")
            ? "; forward the socket: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST"
            : "");
}

void docker_place_done(struct docker_place *p)
{
    free(p->host);
    free(p->url);
    free(p->socket);
    free(p->ca);
    free(p->cert);
    free(p->key);
}

/* ---- what it says ---- */

int docker_status(int status)
{
    static const struct {
        int status, errnum;
    } rows[] = {{304, 0},      {400, EINVAL},     {401, EACCES},
                {403, EACCES}, {404, ENOENT},     {406, EINVAL},
                {409, EBUSY},  {501, EOPNOTSUPP}, {503, EBUSY}};

    if (status >= 200 && status < 300)
        return 0;
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].status == status)
            return -rows[i].errnum;
    return status >= 400 && status < 600 ? -EIO : -EPROTO;
}

/* {"message": "…"}, or the first words of whatever it is. */
static int refused(const struct docker_ask *ask, int status, const struct tw_buf *body,
                   struct tw_err *err)
{
    json_auto_t *json = NULL;
    const char *text = NULL;

    if (body->len && tw_json_parse(body->data, body->len, &json, NULL) == 0)
        text = json_string_value(json_object_get(json, "message"));
    if (!text || !*text)
        text = body->len ? tw_buf_text(body) : "no reason given";
    return tw_fail(err, docker_status(status),
                   "%s%s%s%s: the Docker Engine says (%d): %.*s", ask->what,
                   ask->subject ? " '" : "", ask->subject ? ask->subject : "",
                   ask->subject ? "'" : "", status, (int)strcspn(text, "\r\n"), text);
}

static int unreachable(const struct tw_docker *d, const struct docker_ask *ask, int r,
                       struct tw_err *err)
{
    const char *socket = d->at.socket;
    struct stat st;

    if (r == -ECONNREFUSED && socket && stat(socket, &st) < 0)
        return tw_fail(err, r,
                       "no Docker Engine at '%s': there is no such socket; is the Engine "
                       "installed and running, or should DOCKER_HOST name another?",
                       socket);
    if (r == -ECONNREFUSED && socket && access(socket, W_OK) < 0)
        return tw_fail(
            err, -EACCES,
            "the socket of the Docker Engine '%s' is not for this user: members of "
            "its group and root may use it (who may, is root in effect)",
            socket);
    if (r == -ECONNREFUSED)
        return tw_fail(err, r, "no Docker Engine answers at '%s': is it running?",
                       d->at.host);
    if (r == -EINVAL) /* not HTTP at all */
        r = -EPROTO;
    return tw_wrap(err, r, "%s%s%s%s, asked of the Docker Engine at '%s'", ask->what,
                   ask->subject ? " '" : "", ask->subject ? ask->subject : "",
                   ask->subject ? "'" : "", d->at.host);
}

/* ---- asking ---- */

int docker_ask_raw(struct tw_docker *d, struct docker_ask ask, struct tw_buf *out,
                   struct tw_err *err)
{
    tw_auto_free char *path = ask.path;
    tw_auto_free char *url = ask.plain ? tw_strf("%s%s", d->at.url, path)
                                       : tw_strf("%s/v%s%s", d->at.url, d->api, path);
    tw_auto_free char *body = ask.body ? json_dumps(ask.body, JSON_COMPACT) : NULL;
    struct tw_http_pair headers[] = {
        {"Content-Type", ask.media_type ? ask.media_type : "application/json"}};
    /* A stream may end in the middle: it has a connection of its own. */
    struct tw_fetch fetch = {
        .method = ask.method,
        .url = url,
        .headers = headers,
        .header_count = body || ask.send_part ? 1 : 0,
        .body = body                           ? body
                : tw_streq(ask.method, "POST") ? ""
                                               : NULL,
        .body_len = body ? strlen(body) : ask.send_len,
        .unix_socket = d->at.socket,
        .ca_file = d->at.ca,
        .cert_file = d->at.cert,
        .key_file = d->at.key,
        .link = ask.take_part ? NULL : d->link,
        .timeout_s = ask.timeout_s > 0 ? ask.timeout_s : d->timeout_s,
        .max_answer = ask.max_answer ? ask.max_answer : DOCKER_MAX_ANSWER,
        .send_part = ask.send_part,
        .take_part = ask.take_part,
        .arg = ask.arg};
    struct tw_fetched got = {0};
    int r = tw_fetch(&fetch, &got, err);

    if (r < 0)
        return unreachable(d, &ask, r, err);
    *out = got.body;
    if (got.status == 404 && ask.gone_is_fine)
        return 0;
    if (got.status == 409 && ask.gone_is_fine &&
        strstr(tw_buf_text(out), "already in progress"))
        return 0;
    return docker_status(got.status) == 0 ? 0 : refused(&ask, got.status, out, err);
}

int docker_ask(struct tw_docker *d, struct docker_ask ask, json_t **ret,
               struct tw_err *err)
{
    tw_auto_buf body = {0};
    int r = docker_ask_raw(d, ask, &body, err);

    if (r < 0 || !ret)
        return r;
    r = tw_json_parse(tw_buf_text(&body), body.len, ret, err);
    return r < 0 ? tw_wrap(err, -EPROTO,
                           "%s: what the Docker Engine answered is not JSON", ask.what)
                 : 0;
}

int docker_ask_for(struct tw_docker *d, struct docker_ask ask, json_type type,
                   json_t **ret, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = docker_ask(d, ask, &json, err);

    if (r < 0)
        return r;
    /* A list without elements is null to some versions. */
    if (type == JSON_ARRAY && json_is_null(json)) {
        *ret = json_array();
        return 0;
    }
    if (json_typeof(json) != type)
        return tw_fail(err, -EPROTO,
                       "%s: the Docker Engine answered something else than %s", ask.what,
                       type == JSON_ARRAY ? "a list" : "an object");
    *ret = tw_take_ptr(&json);
    return 0;
}

char *docker_escape(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-_.~";
    struct tw_buf b;

    tw_buf_init(&b, strlen(text) * 3 + 1);
    for (const char *c = text; *c; c++)
        if (strchr(plain, *c))
            tw_buf_add(&b, c, 1);
        else
            tw_buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*c);
    return tw_buf_take(&b);
}

/* Only %s and %d are known: every text is escaped, whoever forgets it. */
char *docker_path(const char *fmt, ...)
{
    struct tw_buf b;
    va_list args;

    tw_buf_init(&b, 1 << 20);
    va_start(args, fmt);
    for (const char *c = fmt; *c; c++) {
        if (*c != '%') {
            tw_buf_add(&b, c, 1);
        } else if (*++c == 'd') {
            tw_buf_printf(&b, "%d", va_arg(args, int));
        } else {
            tw_auto_free char *escaped = docker_escape(va_arg(args, const char *));

            tw_buf_puts(&b, escaped);
        }
    }
    va_end(args);
    return tw_buf_take(&b);
}

char *docker_filter(const char *name, const char *value)
{
    json_auto_t *json = json_object();
    tw_auto_free char *text = NULL;

    if (value)
        (void)json_object_set_new(json, name, json_pack("[o]", tw_json_text(value)));
    text = json_dumps(json, JSON_COMPACT);
    return docker_escape(text);
}

/* ---- versions ---- */

static int minor_of(const char *version)
{
    int64_t minor = -1;

    if (!version || !tw_starts_with(version, "1.") ||
        tw_parse_int64(version + 2, &minor, NULL) < 0 || minor < 0 || minor > 10000)
        return -1;
    return (int)minor;
}

int docker_negotiate(const char *newest, const char *oldest, int *ret_minor,
                     struct tw_err *err)
{
    int high = minor_of(newest), low = oldest && *oldest ? minor_of(oldest) : 0;

    if (high < 0 || low < 0)
        return tw_fail(err, -EPROTO,
                       "the Docker Engine names API version '%s': expected 1.x",
                       high < 0 ? (newest ? newest : "") : oldest);
    if (high < DOCKER_OLDEST)
        return tw_fail(err, -EPROTONOSUPPORT,
                       "the Docker Engine is too old: it speaks API 1.%d, 1.%d is needed "
                       "(Engine 19.03)",
                       high, DOCKER_OLDEST);
    if (low > DOCKER_NEWEST)
        return tw_fail(err, -EPROTONOSUPPORT,
                       "the Docker Engine is too new: it speaks API 1.%d and later, this "
                       "program up to 1.%d",
                       low, DOCKER_NEWEST);
    *ret_minor = high < DOCKER_NEWEST ? high : DOCKER_NEWEST;
    return 0;
}

static int settle(struct tw_docker *d, struct tw_err *err)
{
    json_auto_t *json = NULL;
    const char *engine;
    int minor = 0;
    int r = docker_ask_for(d,
                           (struct docker_ask){.method = "GET",
                                               .path = docker_path("/version"),
                                               .what = "version",
                                               .plain = true},
                           JSON_OBJECT, &json, err);

    if (r == 0)
        r = docker_negotiate(json_string_value(json_object_get(json, "ApiVersion")),
                             json_string_value(json_object_get(json, "MinAPIVersion")),
                             &minor, err);
    if (r < 0)
        return r;
    engine = json_string_value(json_object_get(json, "Version"));
    d->api = tw_strf("1.%d", minor);
    d->engine = tw_strf("%s", engine ? engine : "unknown");
    return 0;
}

int tw_docker_open(const struct tw_docker_options *options, struct tw_docker **ret,
                   struct tw_err *err)
{
    tw_auto(tw_docker) *d = tw_alloc(sizeof(*d));
    int r = docker_place_find(options, &d->at, err);

    if (r < 0)
        return r;
    d->timeout_s =
        options && options->timeout_s > 0 ? options->timeout_s : DOCKER_TIMEOUT_S;
    d->link = tw_link_new();
    if (!d->link)
        return tw_fail(err, -ENOMEM, "libcurl could not be started");
    r = settle(d, err);
    if (r < 0)
        return r;
    *ret = tw_take_ptr(&d);
    return 0;
}

void tw_docker_free(struct tw_docker *d)
{
    if (!d)
        return;
    docker_place_done(&d->at);
    tw_link_free(d->link);
    free(d->api);
    free(d->engine);
    free(d);
}

const char *tw_docker_api(const struct tw_docker *d)
{
    return d->api;
}

const char *tw_docker_engine(const struct tw_docker *d)
{
    return d->engine;
}

const char *tw_docker_host(const struct tw_docker *d)
{
    return d->at.host;
}

int tw_docker_ping(struct tw_docker *d, struct tw_err *err)
{
    return docker_ask(d,
                      (struct docker_ask){.method = "GET",
                                          .path = docker_path("/_ping"),
                                          .what = "ping",
                                          .plain = true},
                      NULL, err);
}

int tw_docker_version(struct tw_docker *d, json_t **ret, struct tw_err *err)
{
    return docker_ask_for(d,
                          (struct docker_ask){.method = "GET",
                                              .path = docker_path("/version"),
                                              .what = "version"},
                          JSON_OBJECT, ret, err);
}

int tw_docker_info(struct tw_docker *d, json_t **ret, struct tw_err *err)
{
    return docker_ask_for(d,
                          (struct docker_ask){.method = "GET",
                                              .path = docker_path("/info"),
                                              .what = "info"},
                          JSON_OBJECT, ret, err);
}

void tw_docker_set_timeout(struct tw_docker *d, double timeout_s)
{
    d->timeout_s = timeout_s;
}
