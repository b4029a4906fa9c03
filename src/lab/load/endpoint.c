/* Where an arm is reached: "address=10.213.0.2 port=8080 device=eth0 tls=1 …". */
#include "load_internal.h"
#include "stream_internal.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

enum type { TEXT, NUMBER, SWITCH };
static const struct key {
    const char *name;
    enum type type;
    size_t offset;
    int64_t low, high;
} keys[] = {
#define KEY(name, type, field, low, high)                                                \
    {                                                                                    \
        name, type, offsetof(struct load_endpoint, field), low, high                     \
    }
    KEY("address", TEXT, address, 0, 0),
    KEY("port", NUMBER, port, 1, 65535),
    KEY("device", TEXT, device, 0, 0),
    KEY("source", TEXT, source, 0, 0),
    KEY("host", TEXT, host, 0, 0),
    KEY("tls", SWITCH, tls, 0, 1),
    KEY("server_name", TEXT, server_name, 0, 0),
    KEY("verify", SWITCH, verify, 0, 1),
    KEY("ca_file", TEXT, ca_file, 0, 0),
    KEY("tls_min", TEXT, tls_min, 0, 0),
    KEY("tls_max", TEXT, tls_max, 0, 0),
    KEY("ciphers", TEXT, ciphers, 0, 0),
    KEY("resume", SWITCH, resume, 0, 1),
    KEY("keepalive", NUMBER, keepalive, 0, 1),
    KEY("streams", NUMBER, streams, 1, 1000),
    KEY("user", TEXT, user, 0, 0),
    KEY("password", TEXT, password, 0, 0),
    KEY("db", NUMBER, db, 0, 1000000),
#undef KEY
};

static int unknown_key(const char *name, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(keys)], *near;

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        names[i] = keys[i].name;
    near = tw_nearest(name, names, TW_COUNT_OF(keys));
    return tw_fail(err, -EINVAL, "an endpoint has no '%s'%s%s%s", name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
}

static int set_key(struct load_endpoint *e, const char *name, char *value,
                   struct tw_err *err)
{
    const struct key *k = NULL;
    int64_t number = 0;
    void *field;

    for (size_t i = 0; i < TW_COUNT_OF(keys) && !k; i++)
        if (!strcmp(keys[i].name, name))
            k = &keys[i];
    if (!k)
        return unknown_key(name, err);
    field = (char *)e + k->offset;
    if (k->type == TEXT) {
        *(const char **)field = value;
        return 0;
    }
    if (tw_parse_int64(value, &number, NULL) < 0 || number < k->low || number > k->high)
        return tw_fail(err, -EINVAL,
                       "'%s' of an endpoint is '%s', expected a number in %ld..%ld", name,
                       value, (long)k->low, (long)k->high);
    if (k->type == SWITCH)
        *(bool *)field = number != 0;
    else
        *(int64_t *)field = number;
    return 0;
}

/* A value up to the next blank, or in quotes, in place. */
static char *read_value(char **at)
{
    char *value, *to;
    bool quoted = **at == '\'';

    *at += quoted;
    value = to = *at;
    while (**at && (quoted ? **at != '\'' : **at != ' ')) {
        *at += **at == '\\' && (*at)[1];
        *to++ = *(*at)++;
    }
    *at += **at != '\0';
    *to = '\0';
    return value;
}

int load_endpoint_parse(struct tw_arena *a, const char *text, struct load_endpoint *ret,
                        struct tw_err *err)
{
    struct load_endpoint e = {.keepalive = -1, .resume = true, .streams = 16};
    char *at = tw_arena_strdup(a, text ? text : "");

    for (;;) {
        char *name, *equals;
        int r;

        at += strspn(at, " ");
        if (!*at)
            break;
        name = at;
        equals = strpbrk(at, "= ");
        if (!equals || *equals != '=')
            return tw_fail(err, -EINVAL, "an endpoint consists of name=value, found '%s'",
                           name);
        *equals = '\0';
        at = equals + 1;
        r = set_key(&e, name, read_value(&at), err);
        if (r < 0)
            return r;
    }
    if (!e.address)
        return tw_fail(err, -EINVAL, "an endpoint needs an address");
    if (e.port == 0 && e.address[0] != '/')
        return tw_fail(err, -EINVAL, "the endpoint '%s' needs a port", e.address);
    *ret = e;
    return 0;
}

/* ---- making ready ---- */

static int find_address(struct tw_arena *a, const char *name, int64_t port,
                        struct load_address **ret, struct tw_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct load_address *to = tw_arena_alloc(a, sizeof *to);
    tw_auto_free char *service = tw_strf("%d", (int)port);
    struct addrinfo *found = NULL;
    int r;

    *ret = to;
    if (name[0] == '/' || name[0] == '@') {
        to->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) +
                              (name[0] == '/'));
        if (strlen(name) >= sizeof to->u.local.sun_path)
            return tw_fail(err, -ENAMETOOLONG, "the path of a socket is too long: '%s'",
                           name);
        to->u.local.sun_family = AF_UNIX;
        memcpy(to->u.local.sun_path, name, strlen(name));
        if (name[0] == '@')
            to->u.local.sun_path[0] = '\0';
        return 0;
    }
    r = getaddrinfo(name, service, &hints, &found);
    if (r != 0)
        return tw_fail(err, -EHOSTUNREACH, "no address for '%s': %s", name,
                       gai_strerror(r));
    memcpy(&to->u, found->ai_addr, found->ai_addrlen);
    to->len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int tls_version(const char *name)
{
    static const struct {
        const char *name;
        int version;
    } versions[] = {{"TLSv1", TLS1_VERSION},     {"TLSv1.0", TLS1_VERSION},
                    {"TLSv1.1", TLS1_1_VERSION}, {"TLSv1.2", TLS1_2_VERSION},
                    {"TLSv1.3", TLS1_3_VERSION}, {"1.2", TLS1_2_VERSION},
                    {"1.3", TLS1_3_VERSION}};

    for (size_t i = 0; name && i < TW_COUNT_OF(versions); i++)
        if (!strcmp(name, versions[i].name))
            return versions[i].version;
    return 0;
}

static int endpoint_index = -1;

/* The last session is kept for the next handshake, as clients do. */
static int keep_session(SSL *tls, SSL_SESSION *session)
{
    struct load_endpoint *e = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(tls), endpoint_index);

    SSL_SESSION_free(e->session);
    e->session = session;
    return 1;
}

static int make_context(struct load_endpoint *e, struct tw_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (endpoint_index < 0)
        endpoint_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    e->context = context;
    if (!context)
        return tw_fail(err, -ENOMEM, "no TLS context");
    (void)SSL_CTX_set_ex_data(context, endpoint_index, e);
    (void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    /* Servers that close without a TLS farewell are common, and no failure. */
    (void)SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT |
                                                      SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    if (e->tls_min && !SSL_CTX_set_min_proto_version(context, tls_version(e->tls_min)))
        return tw_fail(err, -EINVAL, "no TLS version '%s'", e->tls_min);
    if (e->tls_max && !SSL_CTX_set_max_proto_version(context, tls_version(e->tls_max)))
        return tw_fail(err, -EINVAL, "no TLS version '%s'", e->tls_max);
    if (e->ciphers && !SSL_CTX_set_cipher_list(context, e->ciphers))
        return tw_fail(err, -EINVAL, "no TLS cipher in '%s'", e->ciphers);
    if (e->verify)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (e->ca_file && !SSL_CTX_load_verify_locations(context, e->ca_file, NULL))
        return tw_fail(err, -EINVAL, "no certificates in '%s'", e->ca_file);
    if (e->alpn && SSL_CTX_set_alpn_protos(context, (const unsigned char *)e->alpn,
                                           (unsigned)strlen(e->alpn)) != 0)
        return tw_fail(err, -EINVAL, "no protocol to offer by TLS");
    return 0;
}

int load_endpoint_ready(struct tw_arena *a, struct load_endpoint *e, struct tw_err *err)
{
    int r = find_address(a, e->address, e->port, &e->to, err);

    if (r >= 0 && e->source)
        r = find_address(a, e->source, 0, &e->from, err);
    if (r >= 0 && e->tls)
        r = make_context(e, err);
    return r;
}
