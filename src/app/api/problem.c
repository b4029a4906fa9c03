/* One table: errno to HTTP status; and the body that every error has (RFC 9457). */
#include "api_internal.h"

static const struct {
    int code;
    struct api_status status;
} rows[] = {
    {-EINVAL, {422, "invalid", "the request is not valid"}},
    {-ERANGE, {422, "out_of_range", "a value is out of range"}},
    {-ENOTUNIQ, {422, "ambiguous", "the name fits more than one"}},
    {-EBADF, {400, "malformed", "the request cannot be read"}},
    {-ENOENT, {404, "not_found", "there is no such thing"}},
    {-EACCES, {403, "forbidden", "this is not allowed"}},
    {-EPERM, {403, "forbidden", "this is not allowed"}},
    {-EEXIST, {409, "exists", "it is there already"}},
    {-EALREADY, {409, "already_decided", "this was done before"}},
    {-ESTALE, {409, "stale", "this is out of date"}},
    {-EBADMSG, {409, "audit_broken", "the audit chain does not hold"}},
    {-EFBIG, {413, "body_too_large", "the body is too large"}},
    {-EBUSY, {503, "busy", "too much is going on"}},
    {-ESHUTDOWN, {503, "closing", "the daemon is ending"}},
    {-ENOSPC, {507, "no_room", "there is no room left on the disk"}},
    {-EROFS, {507, "read_only", "the store can only be read"}},
    {-ETIMEDOUT, {504, "timeout", "it took too long"}},
    {-ENODATA, {404, "not_known", "nothing is known about this yet"}},
};

struct api_status api_status_of(int code)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].code == code)
            return rows[i].status;
    return (struct api_status){500, "internal", "something went wrong here"};
}

const char *api_title_of(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {{400, "the request cannot be read"},
                  {401, "a token is needed"},
                  {404, "there is no such thing"},
                  {405, "the method is not for this address"},
                  {408, "the request came too slowly"},
                  {413, "the body is too large"},
                  {414, "the address is too long"},
                  {415, "the body has to be JSON"},
                  {417, "the expectation cannot be met"},
                  {421, "this host name is not served here"},
                  {426, "this address speaks WebSocket"},
                  {429, "too many wrong tokens"},
                  {431, "the headers are too large"},
                  {501, "this is not known here"},
                  {505, "this version of HTTP is not spoken here"}};

    for (size_t i = 0; i < TW_COUNT_OF(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].status.status == status)
            return rows[i].status.title;
    return "something went wrong here";
}

json_t *api_problem(int status, const char *code, const char *text, const char *pointer,
                    const char *request_id)
{
    json_t *json = json_pack("{s:s, s:s, s:i, s:s, s:o, s:o, s:s?}", "type",
                             "about:blank", "title", api_title_of(status), "status",
                             status, "code", code, "detail", tw_json_text(text), "error",
                             tw_json_text(text), "request_id", request_id);

    if (pointer && *pointer)
        (void)json_object_set_new(json, "pointer", tw_json_text(pointer));
    return json;
}
