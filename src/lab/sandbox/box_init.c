/* The static init of containers, carried inside the program: nothing has to be installed beside it. */
#include "box_internal.h"

__asm__(".section .rodata\n"
        ".balign 16\n"
        "box_init_begin:\n"
        ".incbin \"build/twin-init\"\n"
        "box_init_end:\n"
        ".balign 16\n"
        ".previous\n");
extern const char box_init_begin[], box_init_end[];

const char *box_init_image(size_t *ret_len)
{
    *ret_len = (size_t)(box_init_end - box_init_begin);
    return box_init_begin;
}
