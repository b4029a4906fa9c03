#include "remote.h"

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_request request;
    json_auto_t *json = NULL;
    int r = cmd_need_server(args, "twin predict", err);

    if (r == 0)
        r = cmd_request(args, &request, err);
    if (r == 0)
        r = cmd_ask(args, "POST", "/api/v1/predict/impact", tw_request_to_json(&request),
                    &json, err);
    return r < 0 ? r : cmd_write_json(args, json, err);
}

extern const struct cmd cmd_predict;
const struct cmd cmd_predict = {
    .name = "predict",
    .most_words = 1,
    .usage = "predict [change.json|-] [--target T --set NAME=VALUE …] --server URL",
    .summary = "the impact from what a daemon knows already, without a sandbox",
    .options =
        " target env type set file hours scenario rate risk-level server token-file "
        "output out ",
    .run = run,
};
