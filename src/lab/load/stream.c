/* A stream of bytes to an endpoint, encrypted or not. Nothing blocks. */
#include "load_internal.h"
#include "stream_internal.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

char load_scratch[LOAD_SCRATCH];

/* ---- failures ---- */

void load_fault_set(struct load_fault *f, const char *code, const char *text)
{
    size_t n = strcspn(text, "\r\n");

    *f = (struct load_fault){0};
    memcpy(f->code, code, strnlen(code, sizeof f->code - 1));
    memcpy(f->text, text, n < sizeof f->text ? n : sizeof f->text - 1);
}

void load_fault_errno(struct load_fault *f, int errnum, const char *doing)
{
    const char *name = strerrorname_np(errnum);
    tw_auto_free char *text = tw_strf("%s: %s", doing, strerror(errnum));

    load_fault_set(f, name ? name : "errno", text);
}

static int fail_errno(struct load_stream *s, int errnum, const char *doing)
{
    load_fault_errno(s->fault, errnum, doing);
    return -errnum;
}

/* What OpenSSL says last is the reason; the queue is emptied. */
static int fail_tls(struct load_stream *s, const char *doing, int ssl_error)
{
    int saved = errno;
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    long verified = SSL_get_verify_result(s->tls);
    tw_auto_free char *text = NULL;

    if (ssl_error == SSL_ERROR_SYSCALL && !code) {
        ERR_clear_error();
        return fail_errno(s, saved ? saved : ECONNRESET, doing);
    }
    if (verified != X509_V_OK && (SSL_get_verify_mode(s->tls) & SSL_VERIFY_PEER))
        reason = X509_verify_cert_error_string(verified);
    text = tw_strf("%s: %s", doing, reason ? reason : "closed by the server");
    load_fault_set(s->fault, "tls", text);
    ERR_clear_error();
    return -EPROTO;
}

/* ---- opening ---- */

static int set_up_socket(struct load_stream *s)
{
    const struct load_endpoint *e = s->endpoint;
    int on = 1;

    if (e->to->u.any.sa_family == AF_UNIX)
        return 0;
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (e->device && setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, e->device,
                                (socklen_t)strlen(e->device)) != 0)
        return fail_errno(s, errno, "choosing the network device");
    if (!e->from)
        return 0;
    /* The port is chosen when it connects: then one port serves several destinations. */
    (void)setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(s->fd, &e->from->u.any, e->from->len) != 0)
        return fail_errno(s, errno, "binding the source address");
    return 0;
}

static int start_tls(struct load_stream *s)
{
    const struct load_endpoint *e = s->endpoint;
    const char *name = e->server_name ? e->server_name : e->host;

    s->tls = SSL_new(e->context);
    if (!s->tls || !SSL_set_fd(s->tls, s->fd))
        return fail_errno(s, ENOMEM, "TLS");
    if (name)
        (void)SSL_set_tlsext_host_name(s->tls, name);
    if (name && e->verify)
        (void)SSL_set1_host(s->tls, name);
    if (e->resume && e->session)
        (void)SSL_set_session(s->tls, e->session);
    SSL_set_connect_state(s->tls);
    s->step = LOAD_STREAM_SHAKING;
    return 0;
}

int load_stream_open(struct load_stream *s, const struct load_endpoint *e,
                     struct load_fault *fault)
{
    int r;

    s->endpoint = e;
    s->fault = fault;
    s->sent = 0;
    s->tls_wants_write = false;
    if (s->out.max == 0)
        tw_buf_init(&s->out, LOAD_STREAM_OUT_MAX);
    tw_buf_clear(&s->out);
    s->fd = socket(e->to->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return fail_errno(s, errno, "making a socket");
    s->step = LOAD_STREAM_CONNECTING;
    r = set_up_socket(s);
    if (r >= 0 && connect(s->fd, &e->to->u.any, e->to->len) != 0 && errno != EINPROGRESS)
        r = fail_errno(s, errno, "connecting");
    if (r < 0) {
        load_stream_close(s, false);
        return r;
    }
    return 0;
}

static int finish_connecting(struct load_stream *s)
{
    int why = 0;
    socklen_t len = sizeof why;
    struct load_address peer = {.len = sizeof peer.u};

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
        why = errno;
    if (why != 0)
        return fail_errno(s, why, "connecting");
    if (getpeername(s->fd, &peer.u.any, &peer.len) != 0)
        return 0; /* not yet */
    if (s->endpoint->tls)
        return start_tls(s);
    s->step = LOAD_STREAM_OPEN;
    return 0;
}

static int shake_hands(struct load_stream *s)
{
    int r, why;

    ERR_clear_error();
    errno = 0;
    r = SSL_do_handshake(s->tls);
    if (r == 1) {
        s->step = LOAD_STREAM_OPEN;
        s->tls_wants_write = false;
        return 0;
    }
    why = SSL_get_error(s->tls, r);
    s->tls_wants_write = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return 0;
    return fail_tls(s, "TLS handshake", why);
}

int load_stream_advance(struct load_stream *s)
{
    int r = 0;

    if (s->step == LOAD_STREAM_CONNECTING)
        r = finish_connecting(s);
    if (r >= 0 && s->step == LOAD_STREAM_SHAKING)
        r = shake_hands(s);
    if (r < 0)
        return r;
    return s->step == LOAD_STREAM_OPEN;
}

/* ---- bytes ---- */

/* How many were taken, 0: none now. */
static ssize_t put(struct load_stream *s, const char *data, size_t len)
{
    ssize_t n;
    int why;

    if (!s->tls) {
        n = send(s->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return fail_errno(s, errno, "sending");
        return n < 0 ? 0 : n;
    }
    ERR_clear_error();
    errno = 0;
    n = SSL_write(s->tls, data, len > INT32_MAX ? INT32_MAX : (int)len);
    if (n > 0)
        return n;
    why = SSL_get_error(s->tls, (int)n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return 0;
    return fail_tls(s, "sending", why);
}

int load_stream_flush(struct load_stream *s)
{
    while (s->sent < s->out.len) {
        ssize_t n = put(s, s->out.data + s->sent, s->out.len - s->sent);

        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        s->sent += (size_t)n;
    }
    tw_buf_clear(&s->out);
    s->sent = 0;
    return 1;
}

int load_stream_write(struct load_stream *s, const void *data, size_t len)
{
    ssize_t n = 0;

    if (s->out.len == 0 && s->step == LOAD_STREAM_OPEN) {
        n = put(s, data, len);
        if (n < 0)
            return (int)n;
    }
    if ((size_t)n < len)
        tw_buf_add(&s->out, (const char *)data + n, len - (size_t)n);
    return s->out.overflow ? fail_errno(s, EMSGSIZE, "sending") : 0;
}

ssize_t load_stream_read(struct load_stream *s, void *to, size_t room)
{
    ssize_t n;
    int why;

    if (!s->tls) {
        n = recv(s->fd, to, room, 0);
        if (n >= 0)
            return n;
        return errno == EAGAIN || errno == EINTR ? -EAGAIN
                                                 : fail_errno(s, errno, "receiving");
    }
    ERR_clear_error();
    errno = 0;
    n = SSL_read(s->tls, to, room > INT32_MAX ? INT32_MAX : (int)room);
    if (n > 0)
        return n;
    why = SSL_get_error(s->tls, (int)n);
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    return fail_tls(s, "receiving", why);
}

bool load_stream_speaks(const struct load_stream *s, const char *protocol)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    SSL_get0_alpn_selected(s->tls, &name, &len);
    return len == strlen(protocol) && !memcmp(name, protocol, len);
}

unsigned load_stream_events(const struct load_stream *s)
{
    if (s->step == LOAD_STREAM_CONNECTING || s->out.len > 0 || s->tls_wants_write)
        return EPOLLIN | EPOLLOUT;
    return EPOLLIN;
}

void load_stream_close(struct load_stream *s, bool reset)
{
    const struct linger at_once = {.l_onoff = 1};

    if (s->tls)
        SSL_free(s->tls);
    s->tls = NULL;
    if (s->step != LOAD_STREAM_CLOSED) {
        if (reset)
            (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        (void)close(s->fd);
    }
    s->fd = -1;
    s->step = LOAD_STREAM_CLOSED;
    s->sent = 0;
    tw_buf_clear(&s->out);
}
