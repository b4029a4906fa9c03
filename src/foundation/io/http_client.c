/* HTTP as a client, by libcurl: one request, one answer, no redirects, and a say in where it goes. */
#include "tw/io.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_TIMEOUT_S 30.0
#define DEFAULT_ANSWER    ((size_t)1 << 20)

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

struct tw_link {
    CURL *curl;
};

struct fetching {
    const struct tw_fetch *f;
    struct tw_buf *body;
    CURL *curl;
    bool refused, enough;
};

static void init_once(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct fetching *g = arg;
    long status = 0;

    if (g->f->take_part) {
        (void)curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status < 400) {
            g->enough = !g->f->take_part(g->f->arg, data, size * n);
            return g->enough ? 0 : size * n;
        }
    }
    tw_buf_add(g->body, data, size * n);
    return g->body->overflow ? 0 : size * n;
}

static size_t on_send(char *to, size_t size, size_t n, void *arg)
{
    struct fetching *g = arg;
    size_t len = g->f->send_part(g->f->arg, to, size * n);

    return len == (size_t)-1 ? CURL_READFUNC_ABORT : len;
}

/* The address that will really be connected to: names have been resolved by now. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
    struct fetching *g = arg;
    unsigned char address[16] = {0};
    int port = 0;

    (void)purpose;
    if (at->family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)&at->addr;

        memcpy(address, mapped, sizeof(mapped));
        memcpy(address + 12, &in->sin_addr, 4);
        port = ntohs(in->sin_port);
    } else if (at->family == AF_INET6) {
        const struct sockaddr_in6 *in =
            (const struct sockaddr_in6 *)(const void *)&at->addr;

        memcpy(address, &in->sin6_addr, 16);
        port = ntohs(in->sin6_port);
    }
    if (g->f->may_connect && !g->f->may_connect(g->f->arg, address, port)) {
        g->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
}

static int failed(const struct fetching *g, CURLcode code, const char *words,
                  struct tw_err *err)
{
    static const struct {
        CURLcode code;
        int errnum;
    } rows[] = {{CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH},
                {CURLE_COULDNT_CONNECT, ECONNREFUSED},
                {CURLE_OPERATION_TIMEDOUT, ETIMEDOUT},
                {CURLE_URL_MALFORMAT, EINVAL},
                {CURLE_UNSUPPORTED_PROTOCOL, EINVAL},
                {CURLE_PEER_FAILED_VERIFICATION, EPROTO},
                {CURLE_ABORTED_BY_CALLBACK, ECANCELED},
                {CURLE_WRITE_ERROR, EFBIG}};
    int errnum = EPROTO;

    if (g->refused)
        return tw_fail(err, -EACCES, "'%s' leads to an address that is not allowed",
                       g->f->url);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].code == code)
            errnum = rows[i].errnum;
    return tw_fail(err, -errnum, "'%s': %s", g->f->url,
                   *words ? words : curl_easy_strerror(code));
}

static struct curl_slist *make_headers(const struct tw_fetch *f)
{
    /* An empty Expect: no waiting for "100 Continue". */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    for (size_t i = 0; i < f->header_count; i++) {
        tw_auto_free char *line =
            tw_strf("%s: %s", f->headers[i].name, f->headers[i].value);

        list = curl_slist_append(list, line);
    }
    return list;
}

static void set_up(CURL *c, struct fetching *g, struct curl_slist *headers, char *words)
{
    const struct tw_fetch *f = g->f;

    (void)curl_easy_setopt(c, CURLOPT_URL, f->url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, f->method);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, words);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, g);
    (void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    (void)curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, g);
    (void)curl_easy_setopt(
        c, CURLOPT_TIMEOUT_MS,
        (long)(1000 * (f->timeout_s > 0 ? f->timeout_s : DEFAULT_TIMEOUT_S)));
    if (f->unix_socket)
        (void)curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, f->unix_socket);
    if (f->ca_file)
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, f->ca_file);
    if (f->cert_file)
        (void)curl_easy_setopt(c, CURLOPT_SSLCERT, f->cert_file);
    if (f->key_file)
        (void)curl_easy_setopt(c, CURLOPT_SSLKEY, f->key_file);
    if (f->send_part) {
        /* What was sent cannot be sent again: never on a connection that may be dead. */
        (void)curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
        (void)curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
        (void)curl_easy_setopt(c, CURLOPT_READDATA, g);
        (void)curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE,
                               f->body_len ? (curl_off_t)f->body_len : -1);
    } else if (f->body) {
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body_len);
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->body);
    }
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

struct tw_link *tw_link_new(void)
{
    struct tw_link *l = tw_alloc(sizeof(*l));

    (void)pthread_once(&once, init_once);
    l->curl = curl_easy_init();
    if (l->curl)
        return l;
    free(l);
    return NULL;
}

void tw_link_free(struct tw_link *l)
{
    if (!l)
        return;
    curl_easy_cleanup(l->curl);
    free(l);
}

int tw_fetch(const struct tw_fetch *f, struct tw_fetched *ret, struct tw_err *err)
{
    tw_auto(tw_link) *own = f->link ? NULL : tw_link_new();
    const struct tw_link *link = f->link ? f->link : own;
    struct fetching g = {.f = f, .body = &ret->body};
    struct curl_slist *headers;
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode code;

    tw_buf_init(&ret->body, f->max_answer ? f->max_answer : DEFAULT_ANSWER);
    if (!link)
        return tw_fail(err, -ENOMEM, "libcurl could not be started");
    g.curl = link->curl;
    curl_easy_reset(g.curl); /* keeps the connection */
    headers = make_headers(f);
    set_up(g.curl, &g, headers, words);
    code = curl_easy_perform(g.curl);
    (void)curl_easy_getinfo(g.curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_setopt(g.curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    ret->status = (int)status;
    if (code == CURLE_OK || g.enough)
        return 0;
    tw_buf_done(&ret->body);
    return failed(&g, code, words, err);
}

/* ---- networks ---- */

int tw_net_parse(const char *text, unsigned char ret_address[16], int *ret_bits,
                 struct tw_err *err)
{
    const char *slash = strchrnul(text, '/');
    tw_auto_free char *host = strndup(text, (size_t)(slash - text));
    bool four = strchr(host, ':') == NULL;
    int64_t bits = four ? 32 : 128;

    memcpy(ret_address, mapped, sizeof(mapped));
    if (inet_pton(four ? AF_INET : AF_INET6, host, ret_address + (four ? 12 : 0)) != 1 ||
        (*slash && (tw_parse_int64(slash + 1, &bits, NULL) < 0 || bits < 0 ||
                    bits > (four ? 32 : 128))))
        return tw_fail(err, -EINVAL,
                       "'%s': expected an address or a network as 10.0.0.0/8", text);
    *ret_bits = (int)bits + (four ? 96 : 0);
    return 0;
}

bool tw_net_contains(const unsigned char net[16], int bits,
                     const unsigned char address[16])
{
    int whole = bits / 8, rest = bits % 8;

    if (memcmp(net, address, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((net[whole] ^ address[whole]) & (0xff00 >> rest) & 0xff) == 0;
}
