/* memcpy and memset. A freestanding compiler has no <string.h> but calls them itself, so every start-up code has them.
 */
#ifndef ESNN_MEMORY_H
#define ESNN_MEMORY_H

#if __STDC_HOSTED__
#include <string.h>
#else
#include <stddef.h>
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int byte, size_t n);
#endif

#endif
