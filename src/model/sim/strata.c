#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the law of the work found ----
 * V is a geometric number (ratio rho) of residual services, density (1 - F(x)) / E S. On
 * a grid of step h each residual is split between its two neighbours, which keeps the
 * mean, and the sum is Panjer's: v(n) = rho / (1 - rho f(0)) * sum f(j) v(n-j). What the
 * grid puts at n h lies between (n - 1/2) h and (n + 1/2) h. */

#define GRID 800
/* The grid ends where about two in a thousand of the busy arrivals find more. */
#define TAIL 6.5

/* Shares of those that find the server busy, up to which each stratum reaches. The first
 * stratum is those that find it idle, the last the rest. */
static const double work_ranks[] = {.25, .5, .7, .82, .9, .95, .975, .99, .996};
/* Shares of all, by their own service. */
static const double service_ranks[] = {.5, .8, .9, .95, .98, .99, .996};
#define WORK_STRATA    (TW_COUNT_OF(work_ranks) + 2)
#define SERVICE_STRATA (TW_COUNT_OF(service_ranks) + 1)
#define CELLS          (WORK_STRATA * SERVICE_STRATA)
_Static_assert(CELLS <= 256, "a mark is one byte");

struct tw_sim_strata {
    double step;               /* in mean services of the fast server */
    double cdf[GRID];          /* up to (i + 1/2) step */
    uint8_t work_of[GRID + 1]; /* stratum by place on the grid; the last is beyond it */
    double work_share[WORK_STRATA];
    double service_share[SERVICE_STRATA];
    uint8_t *service_of; /* stratum by place in the sample */
};

/* Share of the residual service up to x: E min(S, x) / E S. at walks up the ascending
 * sample. */
struct residual {
    const float *sample;
    int count, at;
    double mean, below; /* sum of the sample before at */
};

static double residual_upto(struct residual *r, double x)
{
    while (r->at < r->count && (double)r->sample[r->at] <= x)
        r->below += (double)r->sample[r->at++];
    return (r->below + x * (r->count - r->at)) / (r->count * r->mean);
}

/* Mass at 0, h, 2h …: split between neighbours, the share up to n h is the mean of the
 * distribution function over [n h, (n+1) h], here by Simpson. Returns how many there are.
 */
static int residual_fill(struct residual *r, double h, double *f)
{
    double from = 0, before = 0;

    for (int n = 0; n < GRID; n++) {
        double middle = residual_upto(r, (n + 0.5) * h),
               to = residual_upto(r, (n + 1) * h);
        double upto = (from + 4 * middle + to) / 6;

        f[n] = upto - before;
        before = upto;
        from = to;
        if (from >= 1 - 1e-12) {
            f[n] += 1 - upto;
            return n + 1;
        }
    }
    return GRID;
}

/* Every v(n), once known, is spread to those after it: sums that do not wait for one
 * another. */
static void work_fill(struct tw_sim_strata *s, const double *f, int residuals,
                      double load)
{
    double factor = load / (1 - load * f[0]), sum = 0, v[GRID] = {0};

    v[0] = (1 - load) / (1 - load * f[0]);
    for (int n = 0; n < GRID; n++) {
        double spread = v[n] * factor;
        int upto = residuals < GRID - n ? residuals : GRID - n;

        for (int j = 1; j < upto; j++)
            v[n + j] += f[j] * spread;
        s->cdf[n] = sum += v[n];
    }
}

static void strata_cut(struct tw_sim_strata *s)
{
    double idle = s->cdf[0], before = 0;
    size_t stratum = 0;

    for (int n = 0; n <= GRID; n++) {
        double upto = stratum == 0 ? idle
                      : stratum - 1 < TW_COUNT_OF(work_ranks)
                          ? idle + (1 - idle) * work_ranks[stratum - 1]
                          : INFINITY;

        s->work_of[n] = (uint8_t)stratum;
        if (n < GRID && s->cdf[n] >= upto) {
            s->work_share[stratum++] = s->cdf[n] - before;
            before = s->cdf[n];
        }
    }
    s->work_share[stratum] = 1 - before;
}

static void services_cut(struct tw_sim_strata *s, int count)
{
    size_t stratum = 0;

    s->service_of = tw_realloc_array(NULL, (size_t)count, 1);
    for (int i = 0; i < count; i++) {
        while (stratum < TW_COUNT_OF(service_ranks) &&
               i >= service_ranks[stratum] * count)
            stratum++;
        s->service_of[i] = (uint8_t)stratum;
        s->service_share[stratum] += 1.0 / count;
    }
}

struct tw_sim_strata *tw_sim_strata_new(const float *sample, int sample_count,
                                        double load)
{
    struct tw_sim_strata *s = tw_alloc(sizeof *s);
    tw_auto_free double *f = tw_realloc_array(NULL, GRID, sizeof *f);
    double mean = 0, squares = 0;
    struct residual r;

    assert(sample_count > 0 && load > 0 && load < 1);
    for (int i = 0; i < sample_count; i++) {
        assert(i == 0 || sample[i] >= sample[i - 1]);
        mean += (double)sample[i] / sample_count;
        squares += (double)sample[i] * (double)sample[i] / sample_count;
    }
    s->step = TAIL * squares / (2 * mean * mean) / (1 - load) / GRID;
    r = (struct residual){.sample = sample, .count = sample_count, .mean = mean};
    work_fill(s, f, residual_fill(&r, s->step * mean, f), load);
    strata_cut(s);
    services_cut(s, sample_count);
    return s;
}

void tw_sim_strata_free(struct tw_sim_strata *s)
{
    if (!s)
        return;
    free(s->service_of);
    free(s);
}

double tw_sim_strata_cdf(const struct tw_sim_strata *s, double x)
{
    double at = x / s->step - 0.5;
    int n;

    if (!(at >= 0))
        return s->cdf[0];
    if (at >= GRID - 1)
        return s->cdf[GRID - 1];
    n = (int)at;
    return s->cdf[n] + (at - n) * (s->cdf[n + 1] - s->cdf[n]);
}

/* ---- marking what arrives, keeping what comes out ---- */

struct sim_marking {
    const struct tw_sim_strata *strata;
    double found_s, at_s; /* work at the fast server, just after the last arrival */
    size_t count, room;
    float *latency_s;
    uint8_t *mark;
    int64_t cell[CELLS];
};

void sim_marking_mark(struct sim_marking *m, struct tw_sim_queue *q, size_t n)
{
    const struct tw_sim_strata *s = m->strata;
    double per_step = q->spec.servers / (q->service_s * s->step);
    double found_s = m->found_s, at_s = m->at_s, speed = 1.0 / q->spec.servers;

    for (size_t i = 0; i < n; i++) {
        double place;

        found_s -= q->arrival_s[i] - at_s;
        found_s = found_s > 0 ? found_s : 0;
        at_s = q->arrival_s[i];
        place = found_s * per_step + 0.5;
        place = place < GRID ? place : GRID;
        q->mark[i] = (uint8_t)(s->work_of[(int)place] * SERVICE_STRATA +
                               s->service_of[sim_queue_index(q, q->draw[i])]);
        found_s += q->need_s[i] * speed;
    }
    m->found_s = found_s;
    m->at_s = at_s;
}

void sim_marking_keep(struct sim_marking *m, const double *latency_s, const uint8_t *mark,
                      size_t n)
{
    if (m->count + n > m->room) {
        m->room = 2 * m->room + n;
        m->latency_s = tw_realloc_array(m->latency_s, m->room, sizeof *m->latency_s);
        m->mark = tw_realloc_array(m->mark, m->room, 1);
    }
    for (size_t i = 0; i < n; i++) {
        m->latency_s[m->count + i] = (float)latency_s[i];
        m->cell[mark[i]]++;
    }
    memcpy(m->mark + m->count, mark, n);
    m->count += n;
}

/* A cell nobody fell into gives its share to the one below it of the same service. */
static void weights_fill(const struct sim_marking *m, double weight[CELLS])
{
    const struct tw_sim_strata *s = m->strata;

    for (size_t b = 0; b < SERVICE_STRATA; b++) {
        double pending = 0;

        for (size_t a = WORK_STRATA; a-- > 0;) {
            size_t c = a * SERVICE_STRATA + b;
            double share = s->work_share[a] * s->service_share[b] + pending;

            pending = m->cell[c] ? 0 : share;
            weight[c] = m->cell[c] ? share * (double)m->count / (double)m->cell[c] : 0;
        }
    }
}

static void kept_record(const struct sim_marking *m, struct tw_hist *latency)
{
    int64_t whole[CELLS];
    double weight[CELLS];

    weights_fill(m, weight);
    for (size_t c = 0; c < CELLS; c++)
        whole[c] = llround(weight[c] * TW_SIM_WEIGHT);
    for (size_t i = 0; i < m->count; i++)
        tw_hist_record_n(latency, (int64_t)((double)m->latency_s[i] * 1e9),
                         whole[m->mark[i]]);
}

/* The fast server starts empty too, so a first twentieth is not kept. */
void tw_sim_queue_stratified(struct tw_sim_queue *q, const struct tw_sim_strata *s,
                             double seconds, struct tw_hist *latency,
                             struct tw_sim_tally *tally)
{
    struct sim_marking m = {.strata = s, .at_s = q->now_s};

    assert(q->spec.sample);
    q->marking = &m;
    tw_sim_queue_advance(q, seconds / 20, NULL, NULL);
    m.count = 0;
    memset(m.cell, 0, sizeof m.cell);
    m.room = m.room ? m.room : 1;
    tw_sim_queue_advance(q, seconds, NULL, tally);
    q->marking = NULL;
    kept_record(&m, latency);
    free(m.latency_s);
    free(m.mark);
}
