/* How often statements of each class of evidence held, as the accuracy runs counted them.
 * Rows with n = 0 have not been counted yet: the cautious default stands in and the
 * report says "calibrated": false. Written by scripts/accuracy; see
 * docs/internals/trial.md. */
#ifndef IMPACT_COVERAGE_H
#define IMPACT_COVERAGE_H

#include <stdint.h>

/* X(class, statements counted, statements that held) */
#define IMPACT_COVERAGE(X)                                                               \
    X(IMPACT_REFUSED, 0, 0)                                                              \
    X(IMPACT_PLAN_TURNED, 0, 0)                                                          \
    X(IMPACT_ARITHMETIC, 0, 0)                                                           \
    X(IMPACT_ACCESS, 0, 0)                                                               \
    X(IMPACT_EXACT, 0, 0)                                                                \
    X(IMPACT_MODELLED, 0, 0)                                                             \
    X(IMPACT_DECIDED, 0, 0)                                                              \
    X(IMPACT_INCONCLUSIVE, 0, 0)                                                         \
    X(IMPACT_UNMEASURED, 0, 0)

#endif
