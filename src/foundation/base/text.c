#include "tw/base.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

char *tw_strf(const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    int n;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    return n < 0 ? tw_alloc(1) : text;
}

bool tw_streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool tw_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool tw_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && strcmp(s + n - m, suffix) == 0;
}

/* Levenshtein distance without case, two rows; words over 127 characters are never near. */
static size_t distance(const char *a, const char *b)
{
    size_t row[128], n = strlen(a), m = strlen(b);

    if (n > 127 || m > 127)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
            size_t shorter = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

            diagonal = row[j];
            row[j] = change < shorter ? change : shorter;
        }
    }
    return row[m];
}

const char *tw_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 1;

    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, names[i]);

        if (d < least || (!best && d == least)) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

int tw_name_index(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] && tw_streq(name, names[i]))
            return (int)i;
    return -1;
}

void tw_sha256_hex(const void *data, size_t len, char ret_hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    if (EVP_Digest(data, len, digest, &n, EVP_sha256(), NULL) != 1)
        abort(); /* SHA-256 is always there */
    for (unsigned int i = 0; i < 32; i++)
        (void)snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}

void tw_id_make(char ret_id[TW_ID_LEN + 1])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    unsigned char random[TW_ID_LEN - 10];
    uint64_t ms = (uint64_t)(tw_wall_ns() / TW_MSEC_NS);

    for (int i = 9; i >= 0; i--, ms /= 36)
        ret_id[i] = digits[ms % 36];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        abort();
    for (size_t i = 0; i < sizeof random; i++)
        ret_id[10 + i] = digits[random[i] % 36];
    ret_id[TW_ID_LEN] = '\0';
}

bool tw_id_valid(const char *id)
{
    return strlen(id) == TW_ID_LEN &&
           strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") == TW_ID_LEN;
}
