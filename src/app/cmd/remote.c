#include "remote.h"

#include "tw/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)64 << 20)
#define PATIENCE_S 86400.0 /* a simulation answers when it has ended */

const char *cmd_server(const struct cmd_args *args)
{
    const char *own = getenv("TWIN_SERVER");

    return args->server ? args->server : own && *own ? own : NULL;
}

int cmd_need_server(const struct cmd_args *args, const char *what, struct tw_err *err)
{
    return cmd_server(args)
               ? 0
               : tw_fail(err, -EINVAL,
                         "%s asks a daemon: give --server http://127.0.0.1:8090 or "
                         "set TWIN_SERVER",
                         what);
}

static int read_token(const struct cmd_args *args, char **ret, struct tw_err *err)
{
    const char *own = getenv("TWIN_TOKEN");
    tw_auto_free char *text = NULL;
    int r;

    *ret = NULL;
    if (!args->token_file) {
        if (own && *own)
            *ret = tw_strf("Bearer %s", own);
        return 0;
    }
    r = tw_read_file(AT_FDCWD, args->token_file, 4096, &text, NULL, err);
    if (r == 0)
        *ret = tw_strf("Bearer %.*s", (int)strcspn(text, "\r\n"), text);
    return r;
}

/* HTTP status to what the program exits with: what the user can mend is bad input. */
static int code_of(int status)
{
    static const struct {
        int status, code;
    } rows[] = {{401, -EACCES}, {403, -EACCES}, {404, -ENOENT}, {409, -EEXIST},
                {422, -EINVAL}, {400, -EINVAL}, {429, -EACCES}, {507, -ENOSPC}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].status == status)
            return rows[i].code;
    return -EIO;
}

static int problem(int status, const json_t *json, struct tw_err *err)
{
    const char *text = json_string_value(json_object_get(json, "error"));
    const char *pointer = json_string_value(json_object_get(json, "pointer"));

    return tw_fail_at(err, code_of(status), pointer ? pointer : "", "%s",
                      text ? text : "the daemon gave no reason");
}

int cmd_ask(const struct cmd_args *args, const char *method, const char *path,
            json_t *body, json_t **ret_json, struct tw_err *err)
{
    const char *server = cmd_server(args);
    bool http = tw_starts_with(server, "http://") || tw_starts_with(server, "https://");
    size_t n = strlen(server);
    tw_auto_free char *url =
        tw_strf("%.*s%s", (int)(n && server[n - 1] == '/' ? n - 1 : n), server, path);
    tw_auto_free char *text = body ? tw_json_dump(body, JSON_COMPACT) : NULL;
    tw_auto_free char *token = NULL;
    struct tw_http_pair headers[3] = {{"Accept", "application/json"}};
    struct tw_fetch f = {.method = method,
                         .url = url,
                         .headers = headers,
                         .header_count = 1,
                         .body = text,
                         .body_len = text ? strlen(text) : 0,
                         .ca_file = getenv("TWIN_CA_FILE"),
                         .timeout_s = PATIENCE_S,
                         .max_answer = ANSWER_MAX};
    struct tw_fetched got = {0};
    json_t *json = NULL;
    int r = http ? read_token(args, &token, err)
                 : tw_fail(err, -EINVAL, "--server '%s': expected http://… or https://…",
                           server);

    json_decref(body);
    if (text)
        headers[f.header_count++] =
            (struct tw_http_pair){"Content-Type", "application/json"};
    if (token)
        headers[f.header_count++] = (struct tw_http_pair){"Authorization", token};
    if (r == 0)
        r = tw_fetch(&f, &got, err);
    if (r == -ECONNREFUSED)
        return tw_fail(
            err, r, "nobody listens at '%s'; a daemon is started by: twin serve", server);
    if (r < 0)
        return r;
    json = json_loadb(tw_buf_text(&got.body), got.body.len, JSON_DECODE_ANY, NULL);
    tw_buf_done(&got.body);
    if (got.status < 200 || got.status > 299)
        r = problem(got.status, json, err);
    else if (!json)
        r = tw_fail(err, -EPROTO, "'%s' gave an answer that is no JSON; is it a twin?",
                    url);
    if (r < 0)
        json_decref(json);
    else
        *ret_json = json;
    return r;
}
