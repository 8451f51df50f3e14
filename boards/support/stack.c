#include "stack.h"

static const uint32_t PAINT = 0xDEADBEEF;

static const uint32_t *stack_bottom, *stack_top;

void stack_paint(uint32_t *bottom, const uint32_t *top) {
    /* Volatile, so that the loop becomes no call and nothing below the frame is in use while it is painted. */
    for (volatile uint32_t *p = bottom; p < (uint32_t *)__builtin_frame_address(0) - 16; p++) {
        *p = PAINT;
    }
    stack_bottom = bottom;
    stack_top = top;
}

size_t stack_used_bytes(void) {
    const uint32_t *p = stack_bottom;
    while (p < stack_top && *p == PAINT) {
        p++;
    }
    return (size_t)(stack_top - p) * sizeof *p;
}
