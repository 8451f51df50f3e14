/* Adding up rows of weights for the spikes that were fired: what the event-driven synapses share.
 *
 * Weights are stored for adding, a row for each input; in C as generated, both ways. Helium takes rows of all outputs,
 * see esnn_event_mve.c. Other cores take outputs in blocks of 16 (wide, four words a row), what is left in blocks of 4
 * (narrow, one word a row). A block holds a row for each input; a row holds a byte w + 128 for each of its outputs, and
 * zeros where there are no more. A word adds up as two: `even` holds the sums of bytes 0 and 2 in its halves, `odd`
 * those of bytes 1 and 3, without a carry between them for up to ESNN_MOST_ROWS rows.
 */
#ifndef ESNN_EVENT_H
#define ESNN_EVENT_H

#include "esnn_patch.h"

enum { ESNN_WIDE = 16, ESNN_MOST_ROWS = 256, ESNN_WEIGHT_BIAS = 128 };

/* a[o*stride] = bias + the rows list[0..n) of a wide block added up, for its outputs; 0 < n <= ESNN_MOST_ROWS. Not for
 * Helium. */
void esnn_event_wide(const uint16_t *list, uint32_t n, const uint32_t *block, int32_t *a, uint32_t stride,
                     int32_t bias);

/* list = the inputs that fired, of n; returns how many. x holds 0 and 1, 4-byte aligned; the list has room for n. */
uint32_t esnn_event_list(const uint8_t *x, uint32_t n, uint16_t *list);

/* Rows of weights stored for adding, and where sums go: a[o*stride] for output o. */
typedef struct {
    const uint32_t *w;
    uint32_t inputs, outputs, stride;
} esnn_event_rows;

/* a = the rows list[0..n) added up, for all outputs. Not for Helium. */
void esnn_event_sum(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows);
/* The same for weights of 2 and 4 bits, stored as in esnn_packed.c, for Helium as in esnn_event_packed_mve.c. */
void esnn_event_packed_sum(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows, uint32_t bits);

/* The input rows under a row of output pixels. */
typedef struct {
    const esnn_window *g;
    const uint16_t *records; /* kernel_height of them, used in turn */
    uint32_t slot;           /* of the first row */
    esnn_span kernel_rows;   /* those inside the image */
} esnn_event_band;

#if ESNN_MVE /* elsewhere they are in esnn_event_conv.c, where compilers make them one with the loop over rows */
/* Records what fired in a row of pixels, whose first one in channel 0 is at x; how is up to the core. */
void esnn_event_record_row(const uint8_t *x, uint16_t *record, const esnn_window *g);

/* A row of output pixels, a; `list` holds kh*kw*C elements. */
void esnn_event_output_row(const esnn_event_band *band, const uint32_t *w, uint16_t *list, int32_t *a);
void esnn_event_packed_output_row(const esnn_event_band *band, const uint32_t *w, uint32_t bits, uint16_t *list,
                                  int32_t *a);
#endif

#endif
