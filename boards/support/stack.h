/* How deep the stack has been: it is filled with a pattern at the start, and what no longer holds the pattern was used.
 */
#ifndef STACK_H
#define STACK_H

#include <stddef.h>
#include <stdint.h>

/* Fills the stack from its lowest word up to what is in use now; `top` is where it starts, growing down. */
void stack_paint(uint32_t *bottom, const uint32_t *top);

size_t stack_used_bytes(void);

#endif
