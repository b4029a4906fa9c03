#include "tw/redact.h"

#include <criterion/criterion.h>

Test(redact_key, names_of_secrets_are_known)
{
    static const char *const rows[] = {
        "password",        "DB_PASS",           "PGPASSWORD",  "apiKey",
        "access_token",    "client-secret",     "private_key", "ssl_passphrase_command",
        "SECRET_KEY_BASE", "requirepass_token", "auth",        "masterauth.password",
        "smtp_pwd"};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        cr_expect(tw_redact_is_secret_key(rows[i]), "%s", rows[i]);
}

Test(redact_key, names_beside_them_are_not)
{
    static const char *const rows[] = {"password_encryption",
                                       "ssl_key_file",
                                       "token_count",
                                       "authentication_timeout",
                                       "primary_key",
                                       "passcheck.level",
                                       "krb_server_keyfile",
                                       "max_connections",
                                       "author",
                                       "compass",
                                       "secret_name",
                                       "pass_through",
                                       "keyboard",
                                       "monkey",
                                       "tokenizer",
                                       "ssl_ca_file",
                                       ""};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        cr_expect(!tw_redact_is_secret_key(rows[i]), "%s", rows[i]);
}
