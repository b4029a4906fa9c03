#include "tw/redact.h"

#include <criterion/criterion.h>
#include <string.h>

Test(redact_text, secrets_are_found_by_what_stands_before_them)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"host=db password=hunter2 user=x", "host=db password=[redacted] user=x"},
        {"primary_conninfo = 'host=a password=geheim'",
         "primary_conninfo = 'host=a password=[redacted]'"},
        {"password = 'it''s secret' # c", "password = '[redacted]' # c"},
        {"{\"api_key\": \"abc\", \"n\": 1}", "{\"api_key\": \"[redacted]\", \"n\": 1}"},
        {"PGPASSWORD=abc psql", "PGPASSWORD=[redacted] psql"},
        {"postgresql://app:s3cr%74@db/x?sslmode=require",
         "postgresql://app:[redacted]@db/x?sslmode=require"},
        {"GET /x?token=abcd&y=1", "GET /x?token=[redacted]&y=1"},
        {"CREATE ROLE a PASSWORD 'x y' LOGIN",
         "CREATE ROLE a PASSWORD '[redacted]' LOGIN"},
        {"Authorization: Bearer abcdefgh12345", "Authorization: Bearer [redacted]"},
        {"AKIAIOSFODNN7EXAMPLE is it", "[redacted] is it"},
        {"role md5d8578edf8458ce06fbc5bb76a58c5ca4", "role [redacted]"},
        {"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
         "-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----\n"},
        {"x Zb8kQ2mV7rT1yU4wE9pLsD3fGhJ6aXcN0 y", "x [redacted] y"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();

        cr_expect_str_eq(tw_redact_text(NULL, a, rows[i].in), rows[i].out);
    }
}

Test(redact_text, harmless_text_stays_as_it_is)
{
    static const char *const rows[] = {
        "FATAL:  password authentication failed for user \"app\"",
        "password_encryption = scram-sha-256",
        "ssl_key_file = '/etc/ssl/private/server.key'",
        "authentication_timeout = 60s",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main",
        "invalid value for parameter \"checkpoint_timeout\": \"5mins\"",
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        "http://localhost:8090/api/v1/simulation/run",
        "shared_preload_libraries = 'pg_stat_statements,auto_explain'",
        "log_line_prefix = '%m [%p] %q%u@%d '",
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();

        cr_expect_str_eq(tw_redact_text(NULL, a, rows[i]), rows[i]);
    }
}

Test(redact_text, a_learned_secret_is_found_wherever_it_stands)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto(tw_redact) *r = tw_redact_new();

    tw_redact_learn(r, "correct horse");
    tw_redact_learn(r, "abc"); /* too short to be told from a word */
    cr_expect_str_eq(tw_redact_text(r, a, "xcorrect horsex abc"), "x[redacted]x abc");
}

Test(redact_text, redacting_twice_changes_nothing_more)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *once = tw_redact_text(NULL, a, "password=x&token='y z' https://a:b@c/");

    cr_expect_str_eq(once,
                     "password=[redacted]&token='[redacted]' https://a:[redacted]@c/");
    cr_expect_str_eq(tw_redact_text(NULL, a, once), once);
}

Test(redact_text, json_is_redacted_in_place_by_its_keys)
{
    json_t *json = json_pack("{s:{s:s, s:[s, s]}, s:i}", "change", "db_password", "abc",
                             "list", "host=a password=b", "plain", "token_count", 5);
    char *text;

    tw_redact_json(NULL, json);
    text = json_dumps(json, JSON_COMPACT);
    cr_expect_str_eq(text,
                     "{\"change\":{\"db_password\":\"[redacted]\",\"list\":[\"host=a "
                     "password=[redacted]\",\"plain\"]},\"token_count\":5}");
    free(text);
    json_decref(json);
}
