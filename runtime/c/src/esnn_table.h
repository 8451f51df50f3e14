/* Linear synapses with 1-bit weights by tables of sums. */
#ifndef ESNN_TABLE_H
#define ESNN_TABLE_H

#include "esnn_kernels.h"

/* W (O,ceil(C/8)) bits @ x (C,) -> a (O,); `tables` is scratch of ESNN_TABLE_SCRATCH*2 bytes. Filling a
 * table takes as long as about 60 look-ups. */
void esnn_table_linear(const uint8_t *x, esnn_format format, const uint8_t *w, uint32_t *tables, int32_t *a,
                       uint32_t inputs, uint32_t outputs);

#endif
