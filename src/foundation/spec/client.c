/* Clients: who connects and how, one shape for requests and snapshots. */
#include "spec_internal.h"

#define TEXT(member)                                                                     \
    {                                                                                    \
        .key = #member, .kind = SPEC_TEXT, SPEC_AT(tw_client, member)                    \
    }
#define BYTES(member)                                                                    \
    {                                                                                    \
        .key = #member, .kind = SPEC_BYTES, .flags = SPEC_ZERO_UNKNOWN,                  \
        SPEC_AT(tw_client, member)                                                       \
    }
#define COUNT(member)                                                                    \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT, .flags = SPEC_ZERO_UNKNOWN,                    \
        SPEC_AT(tw_client, member)                                                       \
    }

static const struct spec_field client_fields[] = {
    TEXT(name),
    TEXT(protocol),
    TEXT(source),
    TEXT(address),
    COUNT(port),
    TEXT(user),
    TEXT(password),
    TEXT(database),
    TEXT(sslmode),
    TEXT(tls_min),
    TEXT(tls_max),
    TEXT(ciphers),
    TEXT(server_name),
    TEXT(ca_file),
    TEXT(method),
    TEXT(path),
    TEXT(host),
    COUNT(http_version),
    BYTES(header_bytes),
    BYTES(body_bytes),
    BYTES(reply_header_bytes),
    BYTES(reply_bytes),
    {.key = "send", .kind = SPEC_TEXTS, SPEC_AT(tw_client, send)},
    TEXT(expect),
    TEXT(options),
    {.key = "prepared", .kind = SPEC_BOOL, SPEC_AT(tw_client, prepared)},
    {.key = "think_s",
     .kind = SPEC_REAL,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_client, think_s)},
    COUNT(count),
    TEXT(origin),
};
const struct spec_shape spec_client = SPEC_SHAPE(tw_client, client_fields);
