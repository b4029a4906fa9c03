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

struct fetching {
    const struct tw_fetch *f;
    struct tw_buf *body;
    bool refused;
};

static void init_once(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct fetching *g = arg;

    tw_buf_add(g->body, data, size * n);
    return g->body->overflow ? 0 : size * n;
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
    if (f->body) {
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body_len);
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->body);
    }
}

int tw_fetch(const struct tw_fetch *f, struct tw_fetched *ret, struct tw_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct fetching g = {.f = f, .body = &ret->body};
    struct curl_slist *headers;
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode code;
    CURL *c;

    (void)pthread_once(&once, init_once);
    tw_buf_init(&ret->body, f->max_answer ? f->max_answer : DEFAULT_ANSWER);
    c = curl_easy_init();
    if (!c)
        return tw_fail(err, -ENOMEM, "libcurl could not be started");
    headers = make_headers(f);
    set_up(c, &g, headers, words);
    code = curl_easy_perform(c);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    ret->status = (int)status;
    if (code == CURLE_OK)
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
