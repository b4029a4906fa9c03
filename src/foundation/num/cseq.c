#include "tw/num.h"

#include <assert.h>
#include <math.h>

/* The boundary is tightest where v = n sd^2 is about rho (2 log(1/alpha) + log(1 + 2
 * log(1/alpha))) (Howard et al. 2021, prop. 3). It holds for any rho fixed beforehand; we
 * want it tightest at 20 observations whose standard deviation is an eighth of the clip,
 * as slot pairs show (0.05-0.2 at clip 1). A smaller rho would decide on three lucky
 * pairs, a larger one would not decide at all. */
#define TUNED_N        20.0
#define TUNED_SD_SHARE 0.125

void tw_cseq_init(struct tw_cseq *c, double alpha, double clip)
{
    double twice = -2 * log(alpha), sd = clip * TUNED_SD_SHARE;

    assert(alpha > 0 && alpha < 1 && clip > 0);
    *c = (struct tw_cseq){.alpha = alpha,
                          .clip = clip,
                          .rho = TUNED_N * sd * sd / (twice + log(1 + twice))};
}

/* Welford's update. */
void tw_cseq_add(struct tw_cseq *c, double x)
{
    double off;

    assert(!isnan(x));
    x = fmin(fmax(x, -c->clip), c->clip);
    c->n++;
    off = x - c->mean;
    c->mean += off / (double)c->n;
    c->v += off * (x - c->mean);
}

double tw_cseq_radius(const struct tw_cseq *c)
{
    double n = (double)c->n, total = c->v + c->rho;

    if (c->n < 2)
        return INFINITY;
    return sqrt(total / (n * n) * log(total / (c->rho * c->alpha * c->alpha)));
}
