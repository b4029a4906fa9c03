/* What the files of decide share. */
#ifndef DECIDE_INTERNAL_H
#define DECIDE_INTERNAL_H

#include "tw/decide.h"

/* policies/default.yaml as it was when the program was built. */
const char *decide_builtin_policy(void);

#endif
