#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>

/* Erlang B by its recursion, then C = B / (1 - rho (1 - B)) (Kleinrock 1975, eq. 3.40).
 */
double tw_sim_erlang_c(int servers, double load)
{
    double b = 1, rho = load / servers;

    assert(servers > 0);
    if (!(load >= 0) || rho >= 1)
        return NAN;
    for (int k = 1; k <= servers; k++)
        b = load * b / (k + load * b);
    return b / (1 - rho * (1 - b));
}

double tw_sim_mean_mmc(int servers, double rate_per_s, double service_s)
{
    double load = rate_per_s * service_s;

    return service_s + tw_sim_erlang_c(servers, load) * service_s / (servers - load);
}

/* Kleinrock 1975, eq. 5.63. */
double tw_sim_mean_mg1(double rate_per_s, double service_s, double cv2)
{
    double rho = rate_per_s * service_s;

    if (!(rho >= 0 && rho < 1))
        return NAN;
    return service_s + rho * service_s * (1 + cv2) / (2 * (1 - rho));
}
