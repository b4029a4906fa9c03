#include "world/service/service_internal.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char top[32];

static void set_up(void)
{
    strcpy(top, "/tmp/twin-unit-XXXXXX");
    cr_assert(mkdtemp(top));
}

static void tear_down(void)
{
    (void)tw_remove_tree(top, NULL);
}
TestSuite(service_certificate, .init = set_up, .fini = tear_down);

static EVP_PKEY *write_key(const char *name)
{
    tw_auto_free char *path = tw_strf("%s/%s", top, name);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "we");

    cr_assert(key && f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    (void)fclose(f);
    return key;
}

/* Valid from a day ago for so many days from now. */
static void write_certificate(const char *name, EVP_PKEY *key, int days)
{
    tw_auto_free char *path = tw_strf("%s/%s", top, name);
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
                                                "DNS:shop.example,IP:10.0.0.1");
    FILE *f = fopen(path, "we");

    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -864000);
    X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400L);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)"shop.example", -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    X509_add_ext(cert, names, -1);
    cr_assert(X509_sign(cert, key, EVP_sha256()) > 0 && f && PEM_write_X509(f, cert));
    (void)fclose(f);
    X509_EXTENSION_free(names);
    X509_free(cert);
}

static struct tw_certificate read_one(struct tw_arena *a, const char *key)
{
    struct tw_certificate c;

    service_certificate_read(a, top, "/cert.pem", key, "server shop", &c);
    return c;
}

Test(service_certificate, names_dates_and_key_are_read)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    EVP_PKEY *key = write_key("key.pem");
    struct tw_certificate c;

    write_certificate("cert.pem", key, 30);
    c = read_one(a, "/key.pem");
    cr_expect_null(c.problem, "%s", c.problem);
    cr_expect_str_eq(c.subject, "CN=shop.example");
    cr_expect_str_eq(c.names, "shop.example,10.0.0.1");
    cr_expect_str_eq(c.key_type, "EC");
    cr_expect_eq(c.bits, 256);
    cr_expect(llabs(c.not_after_wall_ns - tw_wall_ns() - 30 * 86400 * TW_SEC_NS) <
              60 * TW_SEC_NS);
    EVP_PKEY_free(key);
}

Test(service_certificate,
     the_key_of_another_a_missing_file_and_no_certificate_are_problems)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_free char *path = tw_strf("%s/cert.pem", top);
    EVP_PKEY *key = write_key("key.pem"), *other = write_key("other.pem");

    write_certificate("cert.pem", key, 30);
    cr_expect(strstr(read_one(a, "/other.pem").problem, "another certificate"));
    cr_expect(strstr(read_one(a, "/gone.pem").problem, "No such file"));
    cr_assert(tw_write_file(path, "x", 1, 0600, NULL) == 0);
    cr_expect(strstr(read_one(a, NULL).problem, "no certificate"));
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

Test(service_certificate, one_that_is_past_is_told_unless_it_was_so_before)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    EVP_PKEY *key = write_key("key.pem");
    struct tw_certificates now = {0};
    struct tw_snapshot before = {0};
    struct tw_issues issues = {0};

    write_certificate("cert.pem", key, -1);
    TW_PUSH(a, &now.list, read_one(a, "/key.pem"));
    service_certificates_judge(a, &now, &before, &issues);
    cr_assert_eq(issues.list.count, 1U);
    cr_expect_str_eq(issues.list.items[0].code, "certificate.expired");
    TW_PUSH(a, &before.certificates, now.list.items[0]);
    service_certificates_judge(a, &now, &before, &issues);
    cr_expect_eq(issues.list.count, 1U);
    EVP_PKEY_free(key);
}
