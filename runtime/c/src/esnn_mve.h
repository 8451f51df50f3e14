/* Functions in assembly for Helium: compilers spill in these loops, and VADDVA wants more even registers than inline
 * assembly can ask for. Each keeps to the procedure call standard (AAPCS32) and is in a section of its own. */
#ifndef ESNN_MVE_H
#define ESNN_MVE_H

#include "esnn_kernels.h"

#if ESNN_MVE

#define ESNN_MVE_FUNCTION(name, body)                                                                                  \
    __asm__(".syntax unified\n\t"                                                                                      \
            ".pushsection .text." name ",\"ax\",%progbits\n\t"                                                         \
            ".balign 4\n\t"                                                                                            \
            ".global " name "\n\t"                                                                                     \
            ".type " name ",%function\n\t"                                                                             \
            ".thumb_func\n" name ":\n\t" body "\n\t.size " name ", . - " name "\n\t"                                   \
            ".popsection")

#endif
#endif
