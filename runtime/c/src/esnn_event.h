/* Adding up rows of weights for the spikes that were fired: what the event-driven synapses share.
 *
 * Weights are stored for adding. Outputs are in blocks of 16 (wide, four words a row), what is left in blocks of 4
 * (narrow, one word a row). A block holds a row for each input; a row holds a byte w + 128 for each of its outputs, and
 * zeros where there are no more. A word adds up as two: `even` holds the sums of bytes 0 and 2 in its halves, `odd`
 * those of bytes 1 and 3, without a carry between them for up to ESNN_MOST_ROWS rows.
 */
#ifndef ESNN_EVENT_H
#define ESNN_EVENT_H

#include "esnn_kernels.h"

enum { ESNN_WIDE = 16, ESNN_MOST_ROWS = 256, ESNN_WEIGHT_BIAS = 128 };

/* a[o*stride] = bias + the rows list[0..n) of a wide block added up, for its outputs; 0 < n <= ESNN_MOST_ROWS. */
void esnn_event_wide(const uint16_t *list, uint32_t n, const uint32_t *block, int32_t *a, uint32_t stride,
                     int32_t bias);

/* The inputs x[0..n) that fired; returns how many. `list` holds n. */
uint32_t esnn_event_list_inputs(const uint8_t *x, uint32_t n, uint16_t *list);

/* The rows of weights for the channels that fired at `pixels` pixels, whose records are as in esnn_event_conv2d; `row`
 * is that of channel 0 of the first. Returns where the list ends. */
uint16_t *esnn_event_list_rows(const uint16_t *record, uint32_t pixels, uint32_t row, uint32_t channels, uint16_t *to);

#endif
