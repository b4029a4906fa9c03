#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>

const char *const tw_sim_shape_names[TW_SIM_SHAPE_COUNT] = {
    [TW_SIM_CONSTANT] = "constant", [TW_SIM_EXPONENTIAL] = "exponential",
    [TW_SIM_ERLANG] = "erlang",     [TW_SIM_HYPER] = "hyperexponential",
    [TW_SIM_SAMPLE] = "sample",
};

static double draw_constant(const struct tw_sim_law *law, struct tw_rng *rng)
{
    (void)rng;
    return law->mean_s;
}

static double draw_exponential(const struct tw_sim_law *law, struct tw_rng *rng)
{
    return tw_rng_exp(rng, law->mean_s);
}

static double draw_erlang(const struct tw_sim_law *law, struct tw_rng *rng)
{
    int k = (int)fmax(1, round(1 / law->cv2));
    double sum = 0;

    for (int i = 0; i < k; i++)
        sum += tw_rng_exp(rng, law->mean_s / k);
    return sum;
}

/* Balanced means: p / rate1 = (1 - p) / rate2, p from cv2 (Kleinrock 1975, §4.7). */
static double draw_hyper(const struct tw_sim_law *law, struct tw_rng *rng)
{
    double p = 0.5 * (1 + sqrt((law->cv2 - 1) / (law->cv2 + 1)));
    double mean =
        tw_rng_uniform(rng) < p ? law->mean_s / (2 * p) : law->mean_s / (2 - 2 * p);

    assert(law->cv2 >= 1);
    return tw_rng_exp(rng, mean);
}

static double draw_sample(const struct tw_sim_law *law, struct tw_rng *rng)
{
    double sum = 0;
    uint64_t i = tw_rng_below(rng, (uint64_t)law->sample_count);

    for (int k = 0; k < law->sample_count; k++)
        sum += (double)law->sample[k];
    return (double)law->sample[i] * law->mean_s * law->sample_count / sum;
}

static double (*const draws[TW_SIM_SHAPE_COUNT])(const struct tw_sim_law *,
                                                 struct tw_rng *) = {
    [TW_SIM_CONSTANT] = draw_constant, [TW_SIM_EXPONENTIAL] = draw_exponential,
    [TW_SIM_ERLANG] = draw_erlang,     [TW_SIM_HYPER] = draw_hyper,
    [TW_SIM_SAMPLE] = draw_sample,
};

double tw_sim_draw(const struct tw_sim_law *law, struct tw_rng *rng)
{
    assert(law->shape >= 0 && law->shape < TW_SIM_SHAPE_COUNT);
    return draws[law->shape](law, rng);
}

void sim_exp_table_make(struct sim_exp_table *t)
{
    for (int i = 0; i < SIM_EXP_CELLS; i++)
        t->at[i] = (float)-log1p(-(double)i / SIM_EXP_CELLS);
    t->at[SIM_EXP_CELLS] = t->at[SIM_EXP_CELLS - 1]; /* never read: see queue.c */
}
