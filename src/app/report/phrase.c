/* Numbers and texts as people read them. */
#include "report_internal.h"
#include "tw/redact.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#define MINUS "\xe2\x88\x92"

const char *const report_tone_names[] = {"plain", "good", "warn", "bad", "muted"};

/* C0 and C1 controls (escape sequences), and what turns the direction of text around. */
static size_t unwanted(const unsigned char *s)
{
    if (*s == '\n')
        return 0;
    if (*s < 0x20 || *s == 0x7f)
        return 1;
    if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f)
        return 2;
    if (s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae)
        return 3;
    if (s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9)
        return 3;
    return 0;
}

const char *report_clean(struct tw_arena *a, const char *text)
{
    const char *redacted = tw_redact_text(NULL, a, text);
    struct tw_buf b;
    char *clean;
    size_t n;

    if (!redacted)
        return "";
    tw_buf_init(&b, strlen(redacted) + 1);
    for (const char *p = redacted; *p; p += n ? n : 1) {
        n = unwanted((const unsigned char *)p);
        tw_buf_add(&b, n ? " " : p, 1);
    }
    while (b.len > 0 && isspace((unsigned char)b.data[b.len - 1]))
        b.data[--b.len] = '\0';
    clean = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return clean + strspn(clean, " \n");
}

static const char *signed_percent(struct tw_arena *a, double share)
{
    double percent = share * 100;
    const char *sign = percent < 0 ? MINUS : "+";

    if (fabs(percent) < 0.05)
        return "0";
    return tw_arena_printf(a, fabs(percent) < 9.95 ? "%s%.1f" : "%s%.0f", sign,
                           fabs(percent));
}

static const char *times(struct tw_arena *a, double ratio)
{
    return ratio < 9.95 ? tw_arena_printf(a, "%.1f", ratio) : tw_show_count(a, ratio);
}

/* From here on a factor is easier to grasp than a percentage. */
static bool is_factor(double ratio)
{
    return ratio >= 2 || ratio <= 0.5;
}

const char *report_change(struct tw_arena *a, double ratio)
{
    if (isnan(ratio))
        return "unknown";
    if (!isfinite(ratio) || ratio > 1e6)
        return "without bound";
    if (ratio <= 1e-6)
        return "to nothing";
    if (!is_factor(ratio))
        return tw_arena_printf(a, "%s %%", signed_percent(a, ratio - 1));
    return ratio >= 2 ? tw_arena_printf(a, "%s times", times(a, ratio))
                      : tw_arena_printf(a, "1/%s", times(a, 1 / ratio));
}

const char *report_interval(struct tw_arena *a, double low, double high)
{
    bool no_low = isnan(low) || low <= 1e-6, no_high = isnan(high) || !(high <= 1e6);

    if (isnan(low) && isnan(high))
        return "";
    if (no_low && no_high)
        return "unbounded";
    if (isnan(high) || !isfinite(high) || high > 1e6)
        return tw_arena_printf(a, "at least %s", report_change(a, low));
    if (isnan(low) || low <= 1e-6)
        return tw_arena_printf(a, "at most %s", report_change(a, high));
    if (low > 0.5 && high < 2 &&
        tw_streq(signed_percent(a, low - 1), signed_percent(a, high - 1)))
        return "";
    if (low > 0.5 && high < 2)
        return tw_arena_printf(a, "%s to %s %%", signed_percent(a, low - 1),
                               signed_percent(a, high - 1));
    if (low >= 2)
        return tw_arena_printf(a, "%s to %s times", times(a, low), times(a, high));
    if (high <= 0.5)
        return tw_arena_printf(a, "1/%s to 1/%s", times(a, 1 / low), times(a, 1 / high));
    return tw_arena_printf(a, "%s to %s", report_change(a, low), report_change(a, high));
}

/* Three digits, and separators where there are more before the point. */
static const char *number(struct tw_arena *a, double value)
{
    if (fabs(value) >= 1000)
        return tw_show_count(a, value);
    return tw_arena_printf(a, fabs(value) >= 100 ? "%.0f" : "%.3g", value);
}

const char *report_value(struct tw_arena *a, double value, const char *unit)
{
    if (isnan(value))
        return "unknown";
    if (!isfinite(value))
        return "unbounded";
    if (tw_streq(unit, "ms"))
        return tw_show_seconds(a, value / 1000);
    if (tw_streq(unit, "s"))
        return tw_show_seconds(a, value);
    if (tw_streq(unit, "bytes"))
        return tw_show_bytes(a, value);
    if (tw_streq(unit, "share"))
        return tw_arena_printf(a, "%s %%", number(a, value * 100));
    if (tw_streq(unit, "per s"))
        return tw_arena_printf(a, "%s /s", number(a, value));
    if (unit && tw_starts_with(unit, "bytes per "))
        return tw_arena_printf(a, "%s/%s", tw_show_bytes(a, value), unit + 10);
    return unit && *unit ? tw_arena_printf(a, "%s %s", number(a, value), unit)
                         : number(a, value);
}

const char *report_when(struct tw_arena *a, double at_h, double low_h, double high_h)
{
    const char *at = tw_show_seconds(a, at_h * 3600);

    if (isnan(at_h))
        return "within the horizon";
    if (at_h <= 0)
        return "at once";
    if (isnan(low_h) || isnan(high_h) || !isfinite(high_h))
        return tw_arena_printf(a, "after %s", at);
    return tw_arena_printf(a, "after %s (%s to %s)", at, tw_show_seconds(a, low_h * 3600),
                           tw_show_seconds(a, high_h * 3600));
}

void report_fact(struct tw_arena *a, struct report_facts *facts, const char *label,
                 const char *text)
{
    if (text && *text)
        TW_PUSH(a, &facts->list, (struct report_fact){label, text});
}

void report_xml(struct tw_buf *b, const char *text)
{
    static const char *const entities[128] = {['&'] = "&amp;",
                                              ['<'] = "&lt;",
                                              ['>'] = "&gt;",
                                              ['"'] = "&quot;",
                                              ['\''] = "&#39;"};

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 128 && entities[c])
            tw_buf_puts(b, entities[c]);
        else if (c >= 0x20 || c == '\n' || c == '\t')
            tw_buf_add(b, text, 1);
    }
}
