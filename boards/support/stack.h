/* How deep the stack has been: it is filled with a pattern at reset, and what no longer holds the pattern was used. */
#ifndef STACK_H
#define STACK_H

#include <stddef.h>

size_t stack_used_bytes(void);

#endif
