/* The table of routes as OpenAPI 3.1 and as Markdown. */
#include "api_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- schemas ---- */

static bool is_basic(const char *type)
{
    static const char *const basic[] = {"string", "number", "integer", "boolean",
                                        "object"};

    return tw_name_index(type, basic, TW_COUNT_OF(basic)) >= 0;
}

static json_t *plain_type(const char *type)
{
    tw_auto_free char *ref = NULL;

    if (is_basic(type))
        return json_pack("{s:s}", "type", type);
    ref = tw_strf("#/components/schemas/%s", type);
    return json_pack("{s:s}", "$ref", ref);
}

/* "string", "string?" (or null), "[string]", "Issue". */
static json_t *type_of(const char *text)
{
    size_t n = strlen(text);
    bool list = text[0] == '[', nullable = text[n - 1] == '?';
    tw_auto_free char *type = strndup(text + list, n - (list ? 2 : 0) - nullable);

    if (list)
        return json_pack("{s:[s,s], s:o}", "type", "array", "null", "items",
                         plain_type(type));
    if (nullable && is_basic(type))
        return json_pack("{s:[s,s]}", "type", type, "null");
    if (nullable)
        return json_pack("{s:[o,{s:s}]}", "anyOf", plain_type(type), "type", "null");
    return plain_type(type);
}

static json_t *schemas(void)
{
    json_t *all = json_object();

    for (size_t i = 0; i < api_property_count; i++) {
        const struct api_property *p = &api_properties[i];
        json_t *schema = json_object_get(all, p->schema), *type = type_of(p->type);

        if (!schema) {
            schema = json_pack("{s:s, s:{}}", "type", "object", "properties");
            (void)json_object_set_new(all, p->schema, schema);
        }
        if (*p->text)
            (void)json_object_set_new(type, "description", json_string(p->text));
        (void)json_object_set_new(json_object_get(schema, "properties"), p->name, type);
    }
    return all;
}

/* ---- operations ---- */

static bool takes(const struct api_route *r, const char *param)
{
    tw_auto_free char *padded = tw_strf(" %s ", param);

    return r->params && strstr(r->params, padded);
}

static json_t *parameters(const struct api_route *r)
{
    json_t *list = json_array();

    if (strchr(r->path, '{'))
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name",
                                                    "id", "in", "path", "required", 1,
                                                    "schema", "type", "string"));
    for (size_t i = 0; i < api_param_count; i++)
        if (takes(r, api_params[i].name))
            (void)json_array_append_new(
                list, json_pack("{s:s, s:s, s:{s:s}, s:s}", "name", api_params[i].name,
                                "in", api_params[i].in, "schema", "type",
                                api_params[i].type, "description", api_params[i].text));
    if (r->flags & API_KEY)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:{s:s}, s:s}", "name", "Idempotency-Key", "in",
                            "header", "schema", "type", "string", "description",
                            "repeats with the same key get the first answer"));
    return list;
}

static json_t *content(const char *media_type, const char *schema)
{
    return json_pack("{s:{s:o}}", media_type, "schema", type_of(schema));
}

static json_t *responses(const struct api_route *r)
{
    tw_auto_free char *status = tw_strf("%d", r->status);
    json_t *good = json_pack("{s:s}", "description", r->summary);
    json_t *all = json_object();

    if (r->gives && !(r->flags & API_SOCKET))
        (void)json_object_set_new(good, "content", content("application/json", r->gives));
    (void)json_object_set_new(all, status, good);
    (void)json_object_set_new(all, "default",
                              json_pack("{s:s, s:o}", "description", "a problem",
                                        "content",
                                        content("application/problem+json", "Problem")));
    return all;
}

static json_t *operation(const struct api_route *r)
{
    json_t *op =
        json_pack("{s:s, s:s, s:o, s:o}", "operationId", r->name, "summary", r->summary,
                  "parameters", parameters(r), "responses", responses(r));

    if (r->more)
        (void)json_object_set_new(op, "description", json_string(r->more));
    if (r->takes)
        (void)json_object_set_new(op, "requestBody",
                                  json_pack("{s:b, s:o}", "required",
                                            !(r->flags & API_OPTIONAL), "content",
                                            content("application/json", r->takes)));
    if (r->flags & API_OPEN)
        (void)json_object_set_new(op, "security", json_array());
    else
        (void)json_object_set_new(op, "x-permission",
                                  json_string(tw_permission_names[r->permission]));
    return op;
}

json_t *tw_api_openapi(void)
{
    json_t *paths = json_object();

    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *r = &api_routes[i];
        json_t *path = json_object_get(paths, r->path);
        tw_auto_free char *method = strdup(r->method);

        for (char *p = method; *p; p++)
            *p = (char)(*p | 0x20);
        if (!path) {
            path = json_object();
            (void)json_object_set_new(paths, r->path, path);
        }
        (void)json_object_set_new(path, method, operation(r));
    }
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o, s:{s:{s:s, s:s}}}, s:[{s:[]}]}", "openapi",
        "3.1.0", "info", "title", "Digital Twin", "version", API_VERSION, "description",
        "What will this change do to production?", "paths", paths, "components",
        "schemas", schemas(), "securitySchemes", "bearer", "type", "http", "scheme",
        "bearer", "security", "bearer");
}

/* ---- the page ---- */

static void add_roles(struct tw_buf *out, const struct api_route *r)
{
    const char *comma = "";

    if (r->flags & API_OPEN) {
        tw_buf_puts(out, "everybody");
        return;
    }
    for (int role = 0; role < TW_GATE_ROLE_COUNT; role++)
        if (tw_gate_role_allows((enum tw_gate_role)role, r->permission)) {
            tw_buf_printf(out, "%s%s", comma, tw_gate_role_names[role]);
            comma = ", ";
        }
}

static void add_route(struct tw_buf *out, const struct api_route *r)
{
    tw_buf_printf(out, "### %s `%s`\n%s. For: ", r->flags & API_SOCKET ? "WS" : r->method,
                  r->path, r->summary);
    add_roles(out, r);
    tw_buf_printf(out, ". Success: %d", r->status);
    if (r->takes)
        tw_buf_printf(out, ". Takes [%s](#%s)", r->takes, r->takes);
    if (r->gives)
        tw_buf_printf(out, ". Gives [%s](#%s)", r->gives, r->gives);
    tw_buf_puts(out, ".");
    if (r->more)
        tw_buf_printf(out, " %s", r->more);
    if (r->flags & API_KEY)
        tw_buf_puts(out, " Takes an `Idempotency-Key`.");
    tw_buf_puts(out, "\n");
    for (size_t i = 0; i < api_param_count; i++)
        if (takes(r, api_params[i].name))
            tw_buf_printf(out, "- `%s`: %s\n", api_params[i].name, api_params[i].text);
    tw_buf_puts(out, "\n");
}

static void add_schemas(struct tw_buf *out)
{
    const char *last = NULL;

    for (size_t i = 0; i < api_property_count; i++) {
        const struct api_property *p = &api_properties[i];

        if (!tw_streq(p->schema, last))
            tw_buf_printf(out, "%s### %s\n| field | type | |\n| --- | --- | --- |\n",
                          last ? "\n" : "", p->schema);
        last = p->schema;
        tw_buf_printf(out, "| `%s` | %s | %s |\n", p->name, p->type, p->text);
    }
}

void tw_api_markdown(struct tw_buf *out)
{
    tw_buf_puts(
        out,
        "# HTTP API\n"
        "Made from the table of routes: `twin _routes > docs/API_DOCUMENTATION.md`. The "
        "same as OpenAPI 3.1: `GET /openapi.json`.\n\n"
        "Bodies are JSON. Errors are `application/problem+json` with a `code`, the JSON "
        "Pointer of the offending field and `error`, one sentence; every body whose "
        "simulation is no success has `error` too. A token goes into `Authorization: "
        "Bearer twn_…` (a browser's WebSocket: the subprotocols `twin.v1` and "
        "`bearer.<token>`). Without a token plain HTTP from this host has the role "
        "`operator`, unless `server.anonymous` says otherwise. How to use it: "
        "[INTEGRATION_GUIDE](INTEGRATION_GUIDE.md).\n\n"
        "| status | when |\n| --- | --- |\n"
        "| 400 | the request or its JSON cannot be read |\n"
        "| 401, 403 | a token is needed or wrong; the role is missing (named) |\n"
        "| 404, 405 | unknown address or thing; wrong method (`Allow`) |\n"
        "| 409 | decided before, expired, bound to another plan |\n"
        "| 413, 415 | over 1 MiB; no JSON |\n"
        "| 422 | read, but not valid: `pointer` says where |\n"
        "| 429 | too many wrong tokens from this address |\n"
        "| 503, 507 | ending or too busy (`Retry-After`); no room on the disk, reading "
        "still "
        "works |\n\n"
        "## Routes\n");
    for (size_t i = 0; i < api_route_count; i++)
        add_route(out, &api_routes[i]);
    tw_buf_puts(out, "## Bodies\n`?`: or null; `[…]`: a list.\n\n");
    add_schemas(out);
}
