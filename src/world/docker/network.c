/* Networks and volumes. */
#include "docker_internal.h"

int tw_docker_networks(struct tw_docker *d, const char *label, json_t **ret,
                       struct tw_err *err)
{
    tw_auto_free char *filter = docker_filter("label", label);

    return docker_ask_for(
        d,
        (struct docker_ask){.method = "GET",
                            .path = tw_strf("/networks?filters=%s", filter),
                            .what = "list of networks"},
        JSON_ARRAY, ret, err);
}

int tw_docker_network_inspect(struct tw_docker *d, const char *id, json_t **ret,
                              struct tw_err *err)
{
    return docker_ask_for(d,
                          (struct docker_ask){.method = "GET",
                                              .path = docker_path("/networks/%s", id),
                                              .what = "network",
                                              .subject = id},
                          JSON_OBJECT, ret, err);
}

int tw_docker_network_create(struct tw_docker *d, const json_t *body, char **ret_id,
                             struct tw_err *err)
{
    json_auto_t *json = NULL;
    const char *id;
    int r = docker_ask_for(
        d,
        (struct docker_ask){.method = "POST",
                            .path = docker_path("/networks/create"),
                            .what = "creating network",
                            .subject = json_string_value(json_object_get(body, "Name")),
                            .body = body},
        JSON_OBJECT, &json, err);

    if (r < 0)
        return r;
    id = json_string_value(json_object_get(json, "Id"));
    if (!id)
        return tw_fail(err, -EPROTO,
                       "creating network: the Docker Engine answered without an id");
    *ret_id = tw_strf("%s", id);
    return 0;
}

int tw_docker_network_connect(struct tw_docker *d, const char *id, const json_t *body,
                              struct tw_err *err)
{
    return docker_ask(d,
                      (struct docker_ask){.method = "POST",
                                          .path = docker_path("/networks/%s/connect", id),
                                          .what = "connecting to network",
                                          .subject = id,
                                          .body = body},
                      NULL, err);
}

int tw_docker_network_remove(struct tw_docker *d, const char *id, struct tw_err *err)
{
    return docker_ask(d,
                      (struct docker_ask){.method = "DELETE",
                                          .path = docker_path("/networks/%s", id),
                                          .what = "removing network",
                                          .subject = id,
                                          .gone_is_fine = true},
                      NULL, err);
}

int tw_docker_volumes(struct tw_docker *d, const char *label, json_t **ret,
                      struct tw_err *err)
{
    tw_auto_free char *filter = docker_filter("label", label);
    json_auto_t *json = NULL;
    json_t *list;
    int r =
        docker_ask_for(d,
                       (struct docker_ask){.method = "GET",
                                           .path = tw_strf("/volumes?filters=%s", filter),
                                           .what = "list of volumes"},
                       JSON_OBJECT, &json, err);

    if (r < 0)
        return r;
    list = json_object_get(json, "Volumes");
    *ret = json_is_array(list) ? json_incref(list) : json_array();
    return 0;
}

int tw_docker_volume_inspect(struct tw_docker *d, const char *name, json_t **ret,
                             struct tw_err *err)
{
    return docker_ask_for(d,
                          (struct docker_ask){.method = "GET",
                                              .path = docker_path("/volumes/%s", name),
                                              .what = "volume",
                                              .subject = name},
                          JSON_OBJECT, ret, err);
}

int tw_docker_volume_create(struct tw_docker *d, const json_t *body, struct tw_err *err)
{
    return docker_ask(
        d,
        (struct docker_ask){.method = "POST",
                            .path = docker_path("/volumes/create"),
                            .what = "creating volume",
                            .subject = json_string_value(json_object_get(body, "Name")),
                            .body = body},
        NULL, err);
}

int tw_docker_volume_remove(struct tw_docker *d, const char *name, struct tw_err *err)
{
    return docker_ask(
        d,
        (struct docker_ask){.method = "DELETE",
                            .path = docker_path("/volumes/%s?force=1", name),
                            .what = "removing volume",
                            .subject = name,
                            .gone_is_fine = true},
        NULL, err);
}
