#include "tw/num.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Log-linear: 1,024 equal buckets in every octave from 2^10 ns (1 us) to 2^37 ns (137 s).
 * A bucket is at most 1/1024 of its value wide, and quantiles interpolate within it. */
#define FIRST_BIT       10
#define LAST_BIT        37
#define PER_OCTAVE_BITS 10
#define PER_OCTAVE      (1 << PER_OCTAVE_BITS)
#define BUCKETS         ((LAST_BIT - FIRST_BIT) * PER_OCTAVE)
#define MIN_NS          (INT64_C(1) << FIRST_BIT)
#define MAX_NS          ((INT64_C(1) << LAST_BIT) - 1)

struct tw_hist {
    int64_t total;
    double sum_ns;          /* of the values as given, before clamping to the buckets */
    int64_t min_ns, max_ns; /* as given; meaningless while total is 0 */
    int first, last;        /* buckets in use: everything outside is 0 */
    int64_t count[BUCKETS];
};

struct tw_hist *tw_hist_new(void)
{
    struct tw_hist *h = tw_alloc(sizeof *h);

    h->first = BUCKETS;
    h->last = -1;
    return h;
}

void tw_hist_free(struct tw_hist *h)
{
    free(h);
}

void tw_hist_clear(struct tw_hist *h)
{
    if (h->last >= h->first)
        memset(h->count + h->first, 0,
               (size_t)(h->last - h->first + 1) * sizeof h->count[0]);
    h->total = 0;
    h->sum_ns = 0;
    h->first = BUCKETS;
    h->last = -1;
}

static inline int bucket_of(int64_t ns)
{
    uint64_t v = (uint64_t)(ns < MIN_NS ? MIN_NS : ns > MAX_NS ? MAX_NS : ns);
    int shift = 63 - __builtin_clzll(v) - PER_OCTAVE_BITS;

    /* v >> shift is in [1024, 2048): the leading one counts for the first octave. */
    return (shift << PER_OCTAVE_BITS) + (int)(v >> shift) - PER_OCTAVE;
}

static inline double bucket_start_ns(int b)
{
    int64_t in_octave = (b & (PER_OCTAVE - 1)) + PER_OCTAVE;

    return (double)(in_octave << (b >> PER_OCTAVE_BITS));
}

static inline double bucket_width_ns(int b)
{
    return (double)(INT64_C(1) << (b >> PER_OCTAVE_BITS));
}

static inline void note_range(struct tw_hist *h, int b)
{
    if (b < h->first)
        h->first = b;
    if (b > h->last)
        h->last = b;
}

static inline void note_extremes(struct tw_hist *h, int64_t min_ns, int64_t max_ns)
{
    if (h->total == 0 || min_ns < h->min_ns)
        h->min_ns = min_ns;
    if (h->total == 0 || max_ns > h->max_ns)
        h->max_ns = max_ns;
}

void tw_hist_record_n(struct tw_hist *h, int64_t ns, int64_t n)
{
    int b = bucket_of(ns);

    assert(n >= 0);
    if (n == 0)
        return;
    note_extremes(h, ns, ns);
    note_range(h, b);
    h->count[b] += n;
    h->total += n;
    h->sum_ns += (double)ns * (double)n;
}

void tw_hist_record(struct tw_hist *h, int64_t ns)
{
    tw_hist_record_n(h, ns, 1);
}

/* The top ten bits of a double's mantissa are the bucket within the octave, its exponent
 * is the octave: the same bucket as bucket_of() of the whole nanoseconds, since buckets
 * start at whole ones. */
static inline int bucket_of_double(double ns)
{
    uint64_t bits;

    ns = ns > (double)MIN_NS ? ns : (double)MIN_NS;
    ns = ns < (double)MAX_NS ? ns : (double)MAX_NS;
    memcpy(&bits, &ns, sizeof bits);
    return (int)(bits >> (52 - PER_OCTAVE_BITS)) -
           ((1023 + FIRST_BIT) << PER_OCTAVE_BITS);
}

static int64_t whole_ns(double ns)
{
    return ns >= 0x1p62 ? INT64_C(1) << 62 : ns > 0 ? (int64_t)ns : 0;
}

/* The engine's inner loop: bookkeeping that can wait is done once per batch. */
void tw_hist_record_batch(struct tw_hist *h, const double *seconds, size_t n)
{
    double min = INFINITY, max = 0, sum = 0;

    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        double ns = seconds[i] * 1e9;

        sum += ns;
        min = ns < min ? ns : min;
        max = ns > max ? ns : max;
        h->count[bucket_of_double(ns)]++;
    }
    assert(!isnan(sum)); /* NaN anywhere shows here */
    note_extremes(h, whole_ns(min), whole_ns(max));
    note_range(h, bucket_of_double(min));
    note_range(h, bucket_of_double(max));
    h->total += (int64_t)n;
    h->sum_ns += sum;
}

void tw_hist_merge(struct tw_hist *into, const struct tw_hist *from)
{
    if (from->total == 0)
        return;
    note_extremes(into, from->min_ns, from->max_ns);
    note_range(into, from->first);
    note_range(into, from->last);
    for (int b = from->first; b <= from->last; b++)
        into->count[b] += from->count[b];
    into->total += from->total;
    into->sum_ns += from->sum_ns;
}

int64_t tw_hist_count(const struct tw_hist *h)
{
    return h->total;
}

/* Where rank (a count, may be fractional) falls in bucket b, under which before counts
 * lie. */
static double value_in_bucket(const struct tw_hist *h, int b, double before, double rank)
{
    double share = (rank - before) / (double)h->count[b];
    double ns = bucket_start_ns(b) + bucket_width_ns(b) * share;

    return fmin(fmax(ns, (double)h->min_ns), (double)h->max_ns) * 1e-9;
}

void tw_hist_quantiles(const struct tw_hist *h, const double *q, size_t n, double *ret)
{
    int b = h->first; /* always a bucket with counts; so is h->last */
    int64_t before = 0;

    for (size_t i = 0; i < n; i++) {
        double rank = q[i] * (double)h->total;
        int64_t whole = (int64_t)ceil(rank); /* counts below rank are those below this */

        assert(q[i] >= 0 && q[i] <= 1 && (i == 0 || q[i] >= q[i - 1]));
        if (h->total == 0) {
            ret[i] = NAN;
            continue;
        }
        while (b < h->last && before + h->count[b] < whole)
            before += h->count[b++];
        ret[i] = value_in_bucket(h, b, (double)before, rank);
    }
}

double tw_hist_quantile(const struct tw_hist *h, double q)
{
    double value;

    tw_hist_quantiles(h, &q, 1, &value);
    return value;
}

double tw_hist_mean(const struct tw_hist *h)
{
    return h->total ? h->sum_ns / (double)h->total * 1e-9 : NAN;
}

double tw_hist_min(const struct tw_hist *h)
{
    return h->total ? (double)h->min_ns * 1e-9 : NAN;
}

double tw_hist_max(const struct tw_hist *h)
{
    return h->total ? (double)h->max_ns * 1e-9 : NAN;
}

double tw_hist_share_over(const struct tw_hist *h, double seconds)
{
    double ns = seconds * 1e9, over = 0, inside;
    int b;

    if (h->total == 0)
        return NAN;
    if (ns >= (double)h->max_ns)
        return 0;
    if (ns < (double)h->min_ns)
        return 1;
    b = bucket_of((int64_t)ns);
    for (int i = h->last; i > b; i--)
        over += (double)h->count[i];
    inside = 1 - (ns - bucket_start_ns(b)) / bucket_width_ns(b);
    over += (double)h->count[b] * fmin(fmax(inside, 0), 1);
    return over / (double)h->total;
}

size_t tw_hist_each(const struct tw_hist *h, tw_hist_each_fn *fn, void *arg)
{
    size_t used = 0;

    for (int b = h->first; b <= h->last; b++) {
        if (h->count[b] == 0)
            continue;
        fn(arg, (bucket_start_ns(b) + bucket_width_ns(b) / 2) * 1e-9, h->count[b]);
        used++;
    }
    return used;
}

/* ---- the flat form ---- */

struct flat_head {
    uint32_t magic, pairs;
    int64_t total, min_ns, max_ns;
    double sum_ns;
};
struct flat_pair { /* 12 bytes, no padding */
    uint32_t bucket, count_low, count_high;
};
#define FLAT_MAGIC UINT32_C(0x31484c54) /* "TLH1" */

static uint32_t used_buckets(const struct tw_hist *h)
{
    uint32_t used = 0;

    for (int b = h->first; b <= h->last; b++)
        used += h->count[b] != 0;
    return used;
}

size_t tw_hist_encode(const struct tw_hist *h, void *to, size_t room)
{
    struct flat_head head = {.magic = FLAT_MAGIC, .pairs = used_buckets(h)};
    size_t need = sizeof head + head.pairs * sizeof(struct flat_pair);
    char *at = to;

    if (need > room)
        return 0;
    if (h->total) {
        head.total = h->total;
        head.min_ns = h->min_ns;
        head.max_ns = h->max_ns;
        head.sum_ns = h->sum_ns;
    }
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    for (int b = h->first; b <= h->last; b++) {
        uint64_t count = (uint64_t)h->count[b];
        struct flat_pair pair = {(uint32_t)b, (uint32_t)count, (uint32_t)(count >> 32)};

        if (count == 0)
            continue;
        memcpy(at, &pair, sizeof pair);
        at += sizeof pair;
    }
    return need;
}

static struct flat_pair flat_pair_at(const char *pairs, uint32_t i, int64_t *ret_count)
{
    struct flat_pair pair;

    memcpy(&pair, pairs + i * sizeof pair, sizeof pair);
    *ret_count = (int64_t)((uint64_t)pair.count_high << 32 | pair.count_low);
    return pair;
}

/* The pairs have to be in range, positive and add up to the total. */
static bool flat_valid(const struct flat_head *head, const char *pairs)
{
    int64_t sum = 0, count;

    for (uint32_t i = 0; i < head->pairs; i++) {
        struct flat_pair pair = flat_pair_at(pairs, i, &count);

        if (pair.bucket >= BUCKETS || count <= 0 ||
            __builtin_add_overflow(sum, count, &sum))
            return false;
    }
    return sum == head->total && isfinite(head->sum_ns) && head->min_ns <= head->max_ns;
}

int tw_hist_decode(struct tw_hist *h, const void *from, size_t len)
{
    const char *pairs = (const char *)from + sizeof(struct flat_head);
    struct flat_head head;

    if (len < sizeof head)
        return -EINVAL;
    memcpy(&head, from, sizeof head);
    if (head.magic != FLAT_MAGIC || head.pairs > BUCKETS ||
        len != sizeof head + head.pairs * sizeof(struct flat_pair) ||
        !flat_valid(&head, pairs))
        return -EINVAL;
    if (head.total == 0)
        return 0;

    note_extremes(h, head.min_ns, head.max_ns);
    for (uint32_t i = 0; i < head.pairs; i++) {
        int64_t count;
        struct flat_pair pair = flat_pair_at(pairs, i, &count);

        note_range(h, (int)pair.bucket);
        h->count[pair.bucket] += count;
    }
    h->total += head.total;
    h->sum_ns += head.sum_ns;
    return 0;
}
