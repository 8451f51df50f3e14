/* The windows of four neighbouring pixels of an output row, gathered for Helium. */
#ifndef ESNN_QUAD_MVE_H
#define ESNN_QUAD_MVE_H

#include "esnn_mve.h"

#if ESNN_MVE

enum { ESNN_QUAD_PIXELS = 4 };

/* The window of the first pixel may start outside the image. */
typedef struct {
    const uint8_t *x;
    const esnn_window *g;
    uint32_t row, column;
} esnn_quad;

/* Pixels of an output row that a quad keeps, and where the quad at `column` starts so that it fits: the last quad of a
 * row may compute some pixels once more. */
static inline uint32_t esnn_quad_kept(const esnn_window *g) {
    return g->out_width < ESNN_QUAD_PIXELS ? g->out_width : ESNN_QUAD_PIXELS;
}

static inline uint32_t esnn_quad_start(const esnn_window *g, uint32_t column) {
    const uint32_t last = g->out_width - esnn_quad_kept(g);
    return column < last ? column : last;
}

/* The inputs [C, kh, kw] as words, byte q for pixel q, zero outside the image, followed by zeros up to a multiple
 * of 16.
 */
void esnn_quad_gather(const esnn_quad *q, uint32_t *words);

/* Words -> vectors of sixteen inputs of one pixel, those of the four pixels side by side, in place. The first `blocks`
 * times 128 inputs become eight such groups each, input 8l + j in lane l, from j = 7 down to 0; then come `sixteens`
 * groups in the order of the inputs. all[q] = the sum of the inputs of pixel q, as uint8_t or int8_t. */
void esnn_quad_vectors_u8(uint32_t *words, uint32_t blocks, uint32_t sixteens, int32_t all[ESNN_QUAD_PIXELS]);
void esnn_quad_vectors_s8(uint32_t *words, uint32_t blocks, uint32_t sixteens, int32_t all[ESNN_QUAD_PIXELS]);

#endif
#endif
