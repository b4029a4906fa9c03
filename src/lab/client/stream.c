/* Bytes to and from a service, with TLS or without, none of it longer than the try's deadline. */
#include "client_internal.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

bool client_wants_tls(const struct tw_client *c)
{
    if (tw_streq(c->protocol, "tls"))
        return true;
    return c->sslmode && !tw_streq(c->sslmode, "disable") &&
           !tw_streq(c->sslmode, "prefer") && !tw_streq(c->sslmode, "allow");
}

bool client_verifies(const struct tw_client *c)
{
    return c->ca_file || (c->sslmode && tw_starts_with(c->sslmode, "verify"));
}

const char *client_tls_name(struct tw_arena *a, const char *version)
{
    if (!version || strncasecmp(version, "tls", 3) == 0)
        return version;
    return tw_arena_printf(a, "TLSv%s", tw_streq(version, "1.0") ? "1" : version);
}

static int version_number(const char *version)
{
    static const struct {
        const char *name;
        int number;
    } versions[] = {{"1", TLS1_VERSION},
                    {"1.0", TLS1_VERSION},
                    {"1.1", TLS1_1_VERSION},
                    {"1.2", TLS1_2_VERSION},
                    {"1.3", TLS1_3_VERSION}};

    if (version && strncasecmp(version, "tlsv", 4) == 0)
        version += 4;
    for (size_t i = 0; i < TW_COUNT_OF(versions); i++)
        if (tw_streq(versions[i].name, version))
            return versions[i].number;
    return 0;
}

/* ---- what a certificate says ---- */

static const char *name_text(struct tw_arena *a, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long n;
    const char *text;

    (void)X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
    n = BIO_get_mem_data(bio, &data);
    text = tw_arena_strndup(a, data, (size_t)n);
    (void)BIO_free(bio);
    return text;
}

static int64_t wall_of(const ASN1_TIME *time)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) * TW_SEC_NS : 0;
}

static void add_name(struct tw_buf *b, const GENERAL_NAME *name)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

    if (type == GEN_DNS)
        tw_buf_printf(b, "%s%.*s", b->len ? "," : "", ASN1_STRING_length(value),
                      (const char *)ASN1_STRING_get0_data(value));
}

static const char *alternative_names(struct tw_arena *a, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    tw_auto_buf b = {0};

    tw_buf_init(&b, 16384);
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++)
        add_name(&b, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    return b.len ? tw_arena_strdup(a, tw_buf_text(&b)) : NULL;
}

void client_note_tls(struct client_try *t, void *ssl)
{
    X509 *cert = SSL_get1_peer_certificate(ssl);
    struct tw_client_answer *w = &t->answer;

    w->tls_version = tw_arena_strdup(t->arena, SSL_get_version(ssl));
    w->cipher = tw_arena_strdup(t->arena, SSL_get_cipher_name(ssl));
    if (!cert)
        return;
    w->subject = name_text(t->arena, X509_get_subject_name(cert));
    w->issuer = name_text(t->arena, X509_get_issuer_name(cert));
    w->names = alternative_names(t->arena, cert);
    w->not_before_wall_ns = wall_of(X509_get0_notBefore(cert));
    w->not_after_wall_ns = wall_of(X509_get0_notAfter(cert));
    X509_free(cert);
}

/* ---- the handshake ---- */

/* -EAGAIN: the other side has to move first, which it did; anything else ends it. */
static int wait_for(struct client_try *t, struct client_stream *s, int result)
{
    int why = SSL_get_error(s->ssl, result);
    short events = why == SSL_ERROR_WANT_READ    ? POLLIN
                   : why == SSL_ERROR_WANT_WRITE ? POLLOUT
                                                 : 0;

    if (!events)
        return why == SSL_ERROR_ZERO_RETURN ? 0 : -ECONNRESET;
    return client_poll(s->fd, events, t->deadline_ns) ? -EAGAIN : -ETIMEDOUT;
}

static const char *why_no_handshake(struct client_try *t, SSL *ssl)
{
    long verdict = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    if (verdict != X509_V_OK && client_verifies(&t->client))
        return tw_arena_printf(t->arena, "certificate verify failed: %s",
                               X509_verify_cert_error_string(verdict));
    return reason ? reason : "the connection was closed during the handshake";
}

static bool prepare(struct client_try *t, SSL_CTX *context, SSL *ssl, const char *alpn)
{
    const struct tw_client *c = &t->client;
    const char *name = c->server_name ? c->server_name : c->host;
    bool ok = true;

    ok &= SSL_set_min_proto_version(ssl, version_number(c->tls_min)) == 1;
    ok &= SSL_set_max_proto_version(ssl, version_number(c->tls_max)) == 1;
    if (c->ciphers)
        ok &= SSL_set_cipher_list(ssl, c->ciphers) == 1 ||
              SSL_set_ciphersuites(ssl, c->ciphers) == 1;
    if (name)
        ok &= SSL_set_tlsext_host_name(ssl, name) == 1;
    if (t->ca_path)
        ok &= SSL_CTX_load_verify_locations(context, t->ca_path, NULL) == 1;
    if (client_verifies(c))
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (name && client_verifies(c) && !tw_streq(c->sslmode, "verify-ca"))
        ok &= SSL_set1_host(ssl, name) == 1;
    if (alpn) {
        tw_auto_free char *wire = tw_strf("%c%s", (int)strlen(alpn), alpn);

        ok &= SSL_set_alpn_protos(ssl, (const unsigned char *)wire,
                                  (unsigned)strlen(wire)) == 0;
    }
    return ok;
}

static int shake_hands(struct client_try *t, struct client_stream *s, const char *alpn)
{
    const unsigned char *chosen = NULL;
    unsigned chosen_len = 0;
    int r = -EINVAL, result;

    s->context = SSL_CTX_new(TLS_client_method());
    if (s->context)
        SSL_CTX_set_security_level(s->context,
                                   0); /* what the service takes is the question */
    s->ssl = s->context ? SSL_new(s->context) : NULL;
    if (!s->ssl || !prepare(t, s->context, s->ssl, alpn) ||
        SSL_set_fd(s->ssl, s->fd) != 1) {
        client_end(
            t, TW_CLIENT_UNTRIED, "tls", NULL,
            "its TLS settings cannot be had here: versions, ciphers or the CA file");
        return r;
    }
    do {
        ERR_clear_error();
        result = SSL_connect(s->ssl);
        r = result == 1 ? 0 : wait_for(t, s, result);
    } while (r == -EAGAIN);
    if (r == 0 && result != 1)
        r = -ECONNRESET;
    client_note_tls(t, s->ssl);
    if (r == -ETIMEDOUT)
        client_end(t, TW_CLIENT_HUNG, "tls", NULL, "no answer to the handshake");
    else if (r < 0)
        client_end(t, TW_CLIENT_NO_TLS, "tls", NULL, why_no_handshake(t, s->ssl));
    if (r < 0)
        return r;
    SSL_get0_alpn_selected(s->ssl, &chosen, &chosen_len);
    if (alpn && chosen_len == 0) {
        client_end(t, TW_CLIENT_NO_TLS, "tls", NULL,
                   tw_arena_printf(t->arena, "the service does not offer '%s'", alpn));
        return -EPROTO;
    }
    return 0;
}

int client_stream_open(struct client_try *t, bool tls, const char *alpn,
                       struct client_stream *ret)
{
    struct client_stream s = {.fd = -1};
    int r = client_dial(t, &s.fd);

    if (r == 0 && tls)
        r = shake_hands(t, &s, alpn);
    if (r < 0)
        client_stream_close(&s);
    else
        *ret = s;
    return r;
}

void client_stream_close(struct client_stream *s)
{
    if (s->ssl) {
        (void)SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
    }
    SSL_CTX_free(s->context);
    tw_close_p(&s->fd);
    *s = (struct client_stream){.fd = -1};
}

/* ---- bytes ---- */

static ssize_t put(struct client_try *t, struct client_stream *s, const void *data,
                   size_t len)
{
    ssize_t n;

    if (s->ssl) {
        int part = len > 1 << 14 ? 1 << 14 : (int)len;
        int result = SSL_write(s->ssl, data, part);

        return result > 0 ? result : wait_for(t, s, result);
    }
    n = send(s->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    if (errno != EAGAIN)
        return -errno;
    return client_poll(s->fd, POLLOUT, t->deadline_ns) ? -EAGAIN : -ETIMEDOUT;
}

int client_stream_write(struct client_try *t, struct client_stream *s, const void *data,
                        size_t len)
{
    size_t sent = 0;

    while (sent < len) {
        ssize_t n = put(t, s, (const char *)data + sent, len - sent);

        if (n == 0)
            return -ECONNRESET;
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        sent += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static ssize_t get(struct client_try *t, struct client_stream *s, void *to, size_t room)
{
    ssize_t n;

    if (s->ssl) {
        int result = SSL_read(s->ssl, to, room > 1 << 20 ? 1 << 20 : (int)room);

        return result > 0 ? result : wait_for(t, s, result);
    }
    n = recv(s->fd, to, room, 0);
    if (n >= 0)
        return n;
    if (errno != EAGAIN)
        return -errno;
    return client_poll(s->fd, POLLIN, t->deadline_ns) ? -EAGAIN : -ETIMEDOUT;
}

ssize_t client_stream_read(struct client_try *t, struct client_stream *s, void *to,
                           size_t room)
{
    ssize_t n;

    do
        n = get(t, s, to, room);
    while (n == -EAGAIN);
    return n;
}
