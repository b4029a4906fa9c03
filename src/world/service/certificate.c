/* Certificates and keys in PEM files, read with OpenSSL's libcrypto. */
#include "service_internal.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PEM_MAX ((size_t)1 << 20)

static const char *name_text(struct tw_arena *a, const X509_NAME *name)
{
    BIO *out = BIO_new(BIO_s_mem());
    const char *text = NULL;
    char *data;
    long n;

    if (out && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0 &&
        (n = BIO_get_mem_data(out, &data)) >= 0)
        text = tw_arena_strndup(a, data, (size_t)n);
    BIO_free(out);
    return text;
}

static const char *one_name(struct tw_arena *a, const GENERAL_NAME *name)
{
    char text[INET6_ADDRSTRLEN];
    const ASN1_STRING *value;

    if (name->type == GEN_DNS) {
        value = name->d.dNSName;
        return tw_arena_strndup(a, (const char *)ASN1_STRING_get0_data(value),
                                (size_t)ASN1_STRING_length(value));
    }
    if (name->type != GEN_IPADD)
        return NULL;
    value = name->d.iPAddress;
    return inet_ntop(ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6,
                     ASN1_STRING_get0_data(value), text, sizeof text)
               ? tw_arena_strdup(a, text)
               : NULL;
}

static const char *other_names(struct tw_arena *a, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const char *text = NULL;

    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const char *one = one_name(a, sk_GENERAL_NAME_value(names, i));

        if (one)
            text = text ? tw_arena_printf(a, "%s,%s", text, one) : one;
    }
    GENERAL_NAMES_free(names);
    return text;
}

static int64_t wall_of(const ASN1_TIME *time)
{
    struct tm tm = {0};

    return time && ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) * TW_SEC_NS : 0;
}

static const char *key_type(const EVP_PKEY *key)
{
    static const struct {
        int id;
        const char *name;
    } types[] = {{EVP_PKEY_RSA, "RSA"},     {EVP_PKEY_RSA_PSS, "RSA"},
                 {EVP_PKEY_EC, "EC"},       {EVP_PKEY_ED25519, "ED25519"},
                 {EVP_PKEY_ED448, "ED448"}, {EVP_PKEY_DSA, "DSA"}};

    for (size_t i = 0; i < TW_COUNT_OF(types); i++)
        if (EVP_PKEY_get_base_id(key) == types[i].id)
            return types[i].name;
    return "other";
}

static void take_certificate(struct tw_arena *a, X509 *cert, struct tw_certificate *c)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);

    c->subject = name_text(a, X509_get_subject_name(cert));
    c->issuer = name_text(a, X509_get_issuer_name(cert));
    c->names = other_names(a, cert);
    c->not_before_wall_ns = wall_of(X509_get0_notBefore(cert));
    c->not_after_wall_ns = wall_of(X509_get0_notAfter(cert));
    if (key) {
        c->key_type = key_type(key);
        c->bits = EVP_PKEY_get_bits(key);
    }
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

/* A key with a passphrase cannot be compared here, and is no problem of the file. */
static const char *compare_key(struct tw_arena *a, X509 *cert, const char *text,
                               const char *path)
{
    BIO *in = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL);
    const char *problem = NULL;

    if (!key && !strstr(text, "PRIVATE KEY"))
        problem = tw_arena_printf(a, "'%s' holds no private key", path);
    else if (key && X509_check_private_key(cert, key) != 1)
        problem =
            tw_arena_printf(a, "the key in '%s' is that of another certificate", path);
    EVP_PKEY_free(key);
    BIO_free(in);
    ERR_clear_error();
    return problem;
}

static const char *read_pem(struct tw_arena *a, const char *root, const char *path,
                            char **ret_text)
{
    struct tw_err why = {0};

    if (service_read_in(root, path, PEM_MAX, ret_text, &why) < 0)
        return tw_arena_printf(a, "'%s' cannot be read: %s", path, strerror(-why.code));
    return NULL;
}

void service_certificate_read(struct tw_arena *a, const char *root, const char *path,
                              const char *key_path, const char *used_by,
                              struct tw_certificate *ret)
{
    struct tw_certificate c = {.path = path, .key_path = key_path, .used_by = used_by};
    tw_auto_free char *text = NULL;
    tw_auto_free char *key_text = NULL;
    BIO *in;
    X509 *cert;

    c.problem = read_pem(a, root, path, &text);
    if (!c.problem && key_path)
        c.problem = read_pem(a, root, key_path, &key_text);
    if (text) {
        in = BIO_new_mem_buf(text, -1);
        cert = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
        if (!cert)
            c.problem = tw_arena_printf(a, "'%s' holds no certificate in PEM form", path);
        else
            take_certificate(a, cert, &c);
        if (cert && !c.problem && key_text)
            c.problem = compare_key(a, cert, key_text, key_path);
        X509_free(cert);
        BIO_free(in);
        ERR_clear_error();
    }
    *ret = c;
}

/* ---- judged ---- */

static const struct tw_certificate *known(const struct tw_snapshot *s,
                                          const struct tw_certificate *c)
{
    for (size_t i = 0; i < s->certificates.count; i++) {
        const struct tw_certificate *old = &s->certificates.items[i];

        if (tw_streq(old->path, c->path) &&
            old->not_after_wall_ns == c->not_after_wall_ns &&
            tw_streq(old->subject, c->subject) && tw_streq(old->used_by, c->used_by))
            return old;
    }
    return NULL;
}

static void judge_time(struct tw_arena *a, const struct tw_certificate *c,
                       struct tw_issues *issues)
{
    int64_t now = tw_wall_ns();
    bool past = c->not_after_wall_ns && c->not_after_wall_ns < now;

    if (!past && c->not_before_wall_ns <= now)
        return;
    tw_issue_add(
        a, issues, TW_CRITICAL, TW_BLOCK,
        past ? "certificate.expired" : "certificate.not_yet",
        past ? "clients are shown a certificate that has expired"
             : "clients are shown a certificate that is not valid yet",
        tw_arena_printf(a, "%s (%s), used by %s: valid from %s to %s; it is %s now",
                        c->path, c->subject ? c->subject : "no subject", c->used_by,
                        tw_iso_time(a, c->not_before_wall_ns),
                        tw_iso_time(a, c->not_after_wall_ns), tw_iso_time(a, now)),
        "put a certificate there that is valid now; the service itself starts with "
        "any");
}

void service_certificates_judge(struct tw_arena *a, const struct tw_certificates *now,
                                const struct tw_snapshot *before,
                                struct tw_issues *issues)
{
    for (size_t i = 0; i < now->list.count; i++)
        if (!now->list.items[i].problem && now->list.items[i].not_after_wall_ns &&
            !known(before, &now->list.items[i]))
            judge_time(a, &now->list.items[i], issues);
}
