/* Containers: one function per call. */
#include "docker_internal.h"

#include <stdlib.h>
#include <string.h>

static int of_container(struct tw_docker *d, const char *id, const char *part,
                        json_type type, json_t **ret, struct tw_err *err)
{
    tw_auto_free char *escaped = docker_escape(id);

    return docker_ask_for(
        d,
        (struct docker_ask){.method = "GET",
                            .path = tw_strf("/containers/%s/%s", escaped, part),
                            .what = "container",
                            .subject = id},
        type, ret, err);
}

int tw_docker_containers(struct tw_docker *d, bool stopped, const char *label,
                         json_t **ret, struct tw_err *err)
{
    tw_auto_free char *filter = docker_filter("label", label);

    return docker_ask_for(
        d,
        (struct docker_ask){
            .method = "GET",
            .path = tw_strf("/containers/json?all=%d&filters=%s", stopped, filter),
            .what = "list of containers"},
        JSON_ARRAY, ret, err);
}

int tw_docker_container_inspect(struct tw_docker *d, const char *id, json_t **ret,
                                struct tw_err *err)
{
    return of_container(d, id, "json", JSON_OBJECT, ret, err);
}

/* Of an answer to a creation. */
static int take_id(json_t *json, const char *what, char **ret_id, struct tw_err *err)
{
    const char *id = json_string_value(json_object_get(json, "Id"));

    if (!id || !*id)
        return tw_fail(err, -EPROTO, "%s: the Docker Engine answered without an id",
                       what);
    *ret_id = tw_strf("%s", id);
    return 0;
}

int tw_docker_container_create(struct tw_docker *d, const char *name, const json_t *body,
                               char **ret_id, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = docker_ask_for(
        d,
        (struct docker_ask){.method = "POST",
                            .path = docker_path("/containers/create?name=%s", name),
                            .what = "creating container",
                            .subject = name,
                            .body = body},
        JSON_OBJECT, &json, err);

    return r < 0 ? r : take_id(json, "creating container", ret_id, err);
}

int tw_docker_container_start(struct tw_docker *d, const char *id, struct tw_err *err)
{
    return docker_ask(d,
                      (struct docker_ask){.method = "POST",
                                          .path = docker_path("/containers/%s/start", id),
                                          .what = "starting container",
                                          .subject = id},
                      NULL, err);
}

int tw_docker_container_stop(struct tw_docker *d, const char *id, int grace_s,
                             struct tw_err *err)
{
    return docker_ask(
        d,
        (struct docker_ask){.method = "POST",
                            .path = docker_path("/containers/%s/stop?t=%d", id, grace_s),
                            .what = "stopping container",
                            .subject = id,
                            .timeout_s = d->timeout_s + grace_s},
        NULL, err);
}

int tw_docker_container_kill(struct tw_docker *d, const char *id, const char *signal,
                             struct tw_err *err)
{
    return docker_ask(
        d,
        (struct docker_ask){.method = "POST",
                            .path =
                                docker_path("/containers/%s/kill?signal=%s", id, signal),
                            .what = "killing container",
                            .subject = id},
        NULL, err);
}

int tw_docker_container_wait(struct tw_docker *d, const char *id, double timeout_s,
                             int *ret_status, struct tw_err *err)
{
    json_auto_t *json = NULL;
    const json_t *status;
    int r =
        docker_ask_for(d,
                       (struct docker_ask){.method = "POST",
                                           .path = docker_path("/containers/%s/wait", id),
                                           .what = "waiting for container",
                                           .subject = id,
                                           .timeout_s = timeout_s},
                       JSON_OBJECT, &json, err);

    if (r < 0)
        return r;
    status = json_object_get(json, "StatusCode");
    if (!json_is_integer(status))
        return tw_fail(err, -EPROTO,
                       "waiting for container '%s': no status in the answer", id);
    *ret_status = (int)json_integer_value(status);
    return 0;
}

int tw_docker_container_remove(struct tw_docker *d, const char *id, struct tw_err *err)
{
    return docker_ask(
        d,
        (struct docker_ask){.method = "DELETE",
                            .path = docker_path("/containers/%s?force=1&v=1", id),
                            .what = "removing container",
                            .subject = id,
                            .gone_is_fine = true},
        NULL, err);
}

/* Has it a terminal? Its stream then comes without frames. */
static int has_terminal(struct tw_docker *d, const char *id, bool *ret,
                        struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = tw_docker_container_inspect(d, id, &json, err);

    if (r == 0)
        *ret = json_is_true(json_object_get(json_object_get(json, "Config"), "Tty"));
    return r;
}

int tw_docker_container_logs(struct tw_docker *d, const char *id, int tail,
                             struct tw_buf *out, struct tw_buf *errors,
                             struct tw_err *err)
{
    tw_auto_free char *lines = tail < 0 ? tw_strf("all") : tw_strf("%d", tail);
    struct docker_demux x;
    bool raw = false;
    int r = has_terminal(d, id, &raw, err);

    if (r < 0)
        return r;
    docker_demux_init(&x, raw, out, errors ? errors : out);
    r = docker_ask(d,
                   (struct docker_ask){
                       .method = "GET",
                       .path = docker_path(
                           "/containers/%s/logs?stdout=1&stderr=1&tail=%s", id, lines),
                       .what = "log of container",
                       .subject = id,
                       .take_part = docker_demux_take,
                       .arg = &x},
                   NULL, err);
    return r < 0 ? r : docker_demux_end(&x, err);
}

int tw_docker_container_stats(struct tw_docker *d, const char *id, json_t **ret,
                              struct tw_err *err)
{
    /* one-shot came with 1.41; an older Engine waits for a second sample. */
    return of_container(d, id, "stats?stream=false&one-shot=true", JSON_OBJECT, ret, err);
}

int tw_docker_container_top(struct tw_docker *d, const char *id, json_t **ret,
                            struct tw_err *err)
{
    return of_container(d, id, "top", JSON_OBJECT, ret, err);
}

int tw_docker_container_changes(struct tw_docker *d, const char *id, json_t **ret,
                                struct tw_err *err)
{
    return of_container(d, id, "changes", JSON_ARRAY, ret, err);
}

/* ---- commands inside ---- */

static json_t *texts(const char *const *list)
{
    json_t *json = json_array();

    for (size_t i = 0; list && list[i]; i++)
        (void)json_array_append_new(json, tw_json_text(list[i]));
    return json;
}

static int exec_create(struct tw_docker *d, const char *id,
                       const struct tw_docker_exec *e, bool attach, char **ret_exec,
                       struct tw_err *err)
{
    json_auto_t *json = NULL;
    json_auto_t *body = json_pack("{s:b, s:b, s:o}", "AttachStdout", attach,
                                  "AttachStderr", attach, "Cmd", texts(e->argv));
    int r;

    if (e->env)
        (void)json_object_set_new(body, "Env", texts(e->env));
    if (e->user)
        (void)json_object_set_new(body, "User", tw_json_text(e->user));
    if (e->cwd)
        (void)json_object_set_new(body, "WorkingDir", tw_json_text(e->cwd));
    r = docker_ask_for(d,
                       (struct docker_ask){.method = "POST",
                                           .path = docker_path("/containers/%s/exec", id),
                                           .what = "command in container",
                                           .subject = id,
                                           .body = body},
                       JSON_OBJECT, &json, err);
    return r < 0 ? r : take_id(json, "command in container", ret_exec, err);
}

static int exec_start(struct tw_docker *d, const char *id, const char *exec,
                      double timeout_s, struct docker_demux *x, struct tw_err *err)
{
    json_auto_t *body = json_pack("{s:b, s:b}", "Detach", 0, "Tty", 0);
    int r = docker_ask(d,
                       (struct docker_ask){.method = "POST",
                                           .path = docker_path("/exec/%s/start", exec),
                                           .what = "command in container",
                                           .subject = id,
                                           .body = body,
                                           .take_part = docker_demux_take,
                                           .arg = x,
                                           .timeout_s = timeout_s},
                       NULL, err);

    return r < 0 ? r : docker_demux_end(x, err);
}

/* Its output may end a moment before the Engine has noted how it went. */
static int exec_status(struct tw_docker *d, const char *id, const char *exec,
                       int *ret_status, struct tw_err *err)
{
    int64_t deadline = tw_now_ns() + (int64_t)(d->timeout_s * 1e9);

    for (;;) {
        json_auto_t *json = NULL;
        const json_t *status;
        int r =
            docker_ask_for(d,
                           (struct docker_ask){.method = "GET",
                                               .path = docker_path("/exec/%s/json", exec),
                                               .what = "command in container",
                                               .subject = id},
                           JSON_OBJECT, &json, err);

        if (r < 0)
            return r;
        status = json_object_get(json, "ExitCode");
        if (json_is_integer(status) && !json_is_true(json_object_get(json, "Running"))) {
            *ret_status = (int)json_integer_value(status);
            return 0;
        }
        if (tw_now_ns() > deadline)
            return tw_fail(err, -ETIMEDOUT,
                           "command in container '%s': its output ended, it did not", id);
        tw_sleep_ns(5 * TW_MSEC_NS);
    }
}

int tw_docker_exec(struct tw_docker *d, const char *id, const struct tw_docker_exec *exec,
                   struct tw_buf *out, struct tw_buf *errors, int *ret_status,
                   struct tw_err *err)
{
    tw_auto_free char *name = NULL;
    struct docker_demux x;
    int r = exec_create(d, id, exec, true, &name, err);

    docker_demux_init(&x, false, out, errors ? errors : out);
    if (r == 0)
        r = exec_start(d, id, name, exec->timeout_s, &x, err);
    return r < 0 ? r : exec_status(d, id, name, ret_status, err);
}

int tw_docker_exec_detached(struct tw_docker *d, const char *id,
                            const struct tw_docker_exec *exec, struct tw_err *err)
{
    tw_auto_free char *name = NULL;
    json_auto_t *body = json_pack("{s:b, s:b}", "Detach", 1, "Tty", 0);
    int r = exec_create(d, id, exec, false, &name, err);

    return r < 0 ? r
                 : docker_ask(d,
                              (struct docker_ask){
                                  .method = "POST",
                                  .path = docker_path("/exec/%s/start", name),
                                  .what = "command in container",
                                  .subject = id,
                                  .body = body},
                              NULL, err);
}
