/* Its wall clock is put to another time: past an expiry, over the end of a day, month or year. What is
 * measured by its monotonic clock goes on. */
#include "fault_internal.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define BEFORE_S 0.3 /* so long before an end it begins, and crosses it */
#define BEHIND_S 1   /* so long behind an expiry */

enum moment { DAY_END, MONTH_END, YEAR_END, CERTIFICATE, PASSWORD };

/* The end of the day, month or year that now is in, as UTC has it. */
static int64_t end_of(enum moment m, int64_t now_s)
{
    time_t now = (time_t)now_s;
    struct tm t;

    (void)gmtime_r(&now, &t);
    t.tm_hour = t.tm_min = t.tm_sec = 0;
    t.tm_mday = m == DAY_END ? t.tm_mday + 1 : 1;
    t.tm_mon = m == MONTH_END ? t.tm_mon + 1 : m == YEAR_END ? 0 : t.tm_mon;
    t.tm_year += m == YEAR_END;
    return (int64_t)timegm(&t);
}

static int64_t sooner(int64_t a, int64_t b, int64_t now)
{
    return b > now && (a == 0 || b < a) ? b : a;
}

/* The first that expires from now on; 0: none does. */
static int64_t expiry_of(enum moment m, const struct tw_snapshot *s, int64_t now_ns)
{
    int64_t first = 0;

    for (size_t i = 0; s && m == CERTIFICATE && i < s->certificates.count; i++)
        first = sooner(first, s->certificates.items[i].not_after_wall_ns, now_ns);
    for (size_t i = 0; s && m == PASSWORD && i < s->roles.count; i++)
        first = sooner(first, s->roles.items[i].valid_until_wall_ns, now_ns);
    return first;
}

static int shift_of(const struct tw_fault_run *f, int64_t *ret_ns, struct tw_err *err)
{
    int64_t now = tw_wall_ns(), at;
    enum moment m;

    if (f->strength < TW_FAULT_MOMENT) {
        *ret_ns = (int64_t)(f->strength * 1e9);
        return 0;
    }
    m = (enum moment)(f->strength - TW_FAULT_MOMENT);
    if (m <= YEAR_END) {
        *ret_ns = end_of(m, now / TW_SEC_NS) * TW_SEC_NS - now - (int64_t)(BEFORE_S * 1e9);
        return 0;
    }
    at = expiry_of(m, f->place.snapshot, now);
    if (at == 0)
        return tw_fail(err, -ENOTSUP, "no %s of the target expires", tw_fault_moments[m]);
    *ret_ns = at - now + BEHIND_S * TW_SEC_NS;
    return 0;
}

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    struct tw_twin_page *page = NULL;
    int64_t shift = 0;
    int r = fault_page(f, &page, err);

    if (r == 0)
        r = shift_of(f, &shift, err);
    if (r == 0)
        atomic_store(&page->clock_ns, shift);
    return r;
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    struct tw_twin_page *page = tw_twin_page(f->place.twin);

    (void)err;
    if (page)
        atomic_store(&page->clock_ns, 0);
    return 0;
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    struct tw_twin_page *page = tw_twin_page(f->place.twin);

    return !page || atomic_load(&page->clock_ns) == 0
               ? 0
               : tw_fail(err, -EBUSY, "the clock is still shifted");
}

const struct tw_fault_kind fault_kind_clock_shift = {
    .name = "clock_shift",
    .summary = "its wall clock goes so far ahead, or to a moment",
    .unit = TW_FAULT_CLOCK,
    .low = -100.0 * 365 * 86400,
    .high = 100.0 * 365 * 86400,
    .standard = "1d",
    .duration_s = 1,
    .page = true,
    .begin = begin,
    .end = end,
    .check = check,
};
