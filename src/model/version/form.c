/* The form of a text without its content: times, identifiers, digits masked. */
#include "version_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKEN_LEAST 16 /* letters and digits mixed, as long as this: an identifier */
#define HEX_LEAST   8

/* ---- times ---- */

static bool digits(const char *s, size_t n, int *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)s[i]))
            return false;
        *ret = *ret * 10 + (s[i] - '0');
    }
    return true;
}

/* "Z", "+02:00", "-0530"; nothing is UTC. Adds its form. */
static const char *zone(const char *s, int *ret_s, struct tw_buf *form)
{
    int h, m;
    bool colon;

    *ret_s = 0;
    if (*s == 'Z' || *s == 'z') {
        tw_buf_puts(form, "Z");
        return s + 1;
    }
    if ((*s != '+' && *s != '-') || !digits(s + 1, 2, &h))
        return s;
    colon = s[3] == ':';
    if (!digits(s + 3 + colon, 2, &m))
        return s;
    *ret_s = (*s == '-' ? -1 : 1) * (h * 3600 + m * 60);
    tw_buf_printf(form, "%.*s", colon ? 6 : 5, s); /* another zone is another form */
    return s + 5 + colon;
}

/* ISO 8601, with blank or T. */
static bool iso_time(const char *s, double *ret_s, struct tw_buf *form)
{
    struct tm tm = {0};
    int seconds = 0, offset;
    char *end;
    double fraction = 0;

    if (strlen(s) < 16 || !digits(s, 4, &tm.tm_year) || s[4] != '-' ||
        !digits(s + 5, 2, &tm.tm_mon) || s[7] != '-' || !digits(s + 8, 2, &tm.tm_mday) ||
        (s[10] != 'T' && s[10] != ' ') || !digits(s + 11, 2, &tm.tm_hour) ||
        s[13] != ':' || !digits(s + 14, 2, &tm.tm_min))
        return false;
    tw_buf_printf(form, "yyyy-mm-dd%chh:mm", s[10]);
    s += 16;
    if (*s == ':' && digits(s + 1, 2, &seconds)) {
        tw_buf_puts(form, ":ss");
        s += 3;
        if (*s == '.' && isdigit((unsigned char)s[1])) {
            fraction = strtod(s, &end);
            tw_buf_puts(form, ".f"); /* trailing zeros come and go */
            s = end;
        }
    }
    s = zone(s, &offset, form);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    tm.tm_sec = seconds;
    *ret_s = (double)timegm(&tm) + fraction - offset;
    return *s == '\0';
}

static bool http_time(const char *s, double *ret_s, struct tw_buf *form)
{
    struct tm tm = {0};
    const char *end = strptime(s, "%a, %d %b %Y %H:%M:%S GMT", &tm);

    if (!end || *end)
        return false;
    tw_buf_puts(form, "http date");
    *ret_s = (double)timegm(&tm);
    return true;
}

/* Seconds or milliseconds since 1970, from 2001 to 2069. */
static bool epoch_time(const char *s, double *ret_s, struct tw_buf *form)
{
    char *end;
    double value = strtod(s, &end);
    bool milli = value >= 1e12;

    if (*end || end == s || strlen(s) < 10)
        return false;
    value = milli ? value / 1000 : value;
    if (value < 1e9 || value > 3.13e9)
        return false;
    tw_buf_puts(form, milli ? "epoch ms" : "epoch");
    *ret_s = value;
    return true;
}

bool version_time(const char *text, double *ret_s, struct tw_buf *form)
{
    tw_buf_clear(form);
    if (iso_time(text, ret_s, form))
        return true;
    tw_buf_clear(form);
    return http_time(text, ret_s, form) || epoch_time(text, ret_s, form);
}

/* ---- shapes ---- */

struct word {
    size_t len, digits, hex, letters;
};

static struct word word_at(const char *s)
{
    struct word w = {0};

    for (; isalnum((unsigned char)s[w.len]) || s[w.len] == '_'; w.len++) {
        w.digits += isdigit((unsigned char)s[w.len]) != 0;
        w.hex += isxdigit((unsigned char)s[w.len]) != 0;
        w.letters += isalpha((unsigned char)s[w.len]) != 0;
    }
    return w;
}

void version_shape(const char *text, struct tw_buf *shape)
{
    tw_buf_clear(shape);
    while (*text) {
        struct word w = word_at(text);

        if (!w.len) {
            tw_buf_add(shape, text, 1);
            text++;
            continue;
        }
        if (w.digits == w.len)
            tw_buf_puts(shape, "#");
        else if ((w.hex == w.len && w.len >= HEX_LEAST && w.digits) ||
                 (w.len >= TOKEN_LEAST && w.digits && w.letters))
            tw_buf_puts(shape, "~");
        else
            for (size_t i = 0; i < w.len; i++) {
                bool digit = isdigit((unsigned char)text[i]);

                if (!digit)
                    tw_buf_add(shape, text + i, 1);
                else if (i == 0 || !isdigit((unsigned char)text[i - 1]))
                    tw_buf_puts(shape, "#");
            }
        text += w.len;
    }
}
