/* The default policy, part of the program. */
#include "decide_internal.h"

/* The assembler reads the file: no generated source, and it stands in the tree only once. */
__asm__(".pushsection .rodata\n"
        "decide_policy_text:\n"
        ".incbin \"policies/default.yaml\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char decide_policy_text[] __attribute__((visibility("hidden")));

const char *decide_builtin_policy(void)
{
    return decide_policy_text;
}
