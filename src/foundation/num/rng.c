#include "tw/num.h"

#include <assert.h>
#include <math.h>

/* wyrand (W. Yi, wyhash v4): a Weyl sequence whose product is folded. */
#define WEYL UINT64_C(0xa0761d6478bd642f)
#define FOLD UINT64_C(0xe7037ed1a0b428db)

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* All streams walk one cycle of length 2^64; hashing seed and stream puts their starts at
 * random places on it, so that neighbours in (seed, stream) do not overlap in practice.
 */
void tw_rng_seed(struct tw_rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t a = fold(seed ^ FOLD, seed + WEYL);
    uint64_t b = fold(stream ^ WEYL, ~stream + FOLD);

    rng->state =
        fold(a ^ UINT64_C(0x8ebc6af09c88c6e3), b ^ UINT64_C(0x589965cc75374cc3)) ^
        (a + b);
}

uint64_t tw_rng_u64(struct tw_rng *rng)
{
    rng->state += WEYL;
    return fold(rng->state, rng->state ^ FOLD);
}

void tw_rng_fill(struct tw_rng *rng, uint64_t *ret, size_t n)
{
    uint64_t state = rng->state;

    for (size_t i = 0; i < n; i++) {
        state += WEYL;
        ret[i] = fold(state, state ^ FOLD);
    }
    rng->state = state;
}

/* 52 bits, not 53: with 53 the largest plus a half would round up to 1. */
double tw_rng_uniform(struct tw_rng *rng)
{
    return ((double)(tw_rng_u64(rng) >> 12) + 0.5) * 0x1p-52;
}

/* Multiply and shift (D. Lemire 2019), without the rejection: the bias is n / 2^64. */
uint64_t tw_rng_below(struct tw_rng *rng, uint64_t n)
{
    assert(n > 0);
    return (uint64_t)(((unsigned __int128)tw_rng_u64(rng) * n) >> 64);
}

double tw_rng_exp(struct tw_rng *rng, double mean)
{
    return -mean * log(tw_rng_uniform(rng));
}

double tw_rng_normal(struct tw_rng *rng)
{
    return tw_normal_quantile(tw_rng_uniform(rng));
}

size_t tw_poisson_starts(struct tw_rng *rng, double rate_per_s, int64_t length_ns,
                         int64_t *starts_ns, size_t room)
{
    double at = 0, mean_ns, end = (double)length_ns;
    size_t n = 0;

    if (!(rate_per_s > 0) || length_ns <= 0)
        return 0;
    mean_ns = 1e9 / rate_per_s;
    while (n < room) {
        at += tw_rng_exp(rng, mean_ns);
        if (at >= end)
            break;
        starts_ns[n++] = (int64_t)at;
    }
    return n;
}
