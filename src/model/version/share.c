/* Shares of which so many were seen: exact, as an error in fifty shows only a few times. */
#include "tw/version.h"

#include <math.h>

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

/* Of k + l marked among n + m, how likely are l or more of them among the m (Fisher 1922). */
double tw_share_chance(int64_t k, int64_t n, int64_t l, int64_t m)
{
    double marked = (double)(k + l), all = (double)(n + m), sum = 0;
    int64_t most = k + l < m ? k + l : m;

    if (n <= 0 || m <= 0)
        return 1;
    for (int64_t i = l; i <= most; i++) {
        double others = marked - (double)i;

        if (others > (double)n)
            continue;
        sum += exp(log_choose((double)m, (double)i) + log_choose((double)n, others) -
                   log_choose(all, marked));
    }
    return fmin(1, sum);
}

/* Probability of k or fewer of n at this share. */
static double at_most(int64_t k, int64_t n, double share)
{
    double sum = 0;

    if (share <= 0)
        return 1;
    if (share >= 1)
        return k >= n;
    for (int64_t i = 0; i <= k; i++)
        sum += exp(log_choose((double)n, (double)i) + (double)i * log(share) +
                   (double)(n - i) * log1p(-share));
    return fmin(1, sum);
}

/* The share at which k or fewer are as likely as p; falls with the share. */
static double solve(int64_t k, int64_t n, double p)
{
    double low = 0, high = 1;

    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (at_most(k, n, middle) > p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* Clopper, Pearson 1934. */
void tw_share_bounds(int64_t k, int64_t n, double level, double *ret_low,
                     double *ret_high)
{
    double tail = (1 - level) / 2;

    *ret_low = n <= 0 || k <= 0 ? 0 : solve(k - 1, n, 1 - tail);
    *ret_high = n <= 0 || k >= n ? 1 : solve(k, n, tail);
}

int64_t tw_share_requests(double share, double probability)
{
    return (int64_t)ceil(log1p(-probability) / log1p(-share));
}
