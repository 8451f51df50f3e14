/* Convolutions on x86-64 as products of small matrices that stay in the cache.
 *
 * A tile is a rectangle of output pixels. The inputs under it are copied to [rows, columns, channels], padded, so that
 * what a pixel sees of one kernel row is contiguous: `words` words of four inputs. The weights of some outputs are
 * unpacked to int8_t in the same order: four weights of each of these outputs, word after word. Inputs are uint8_t;
 * int8_t inputs are taken as x + 128, and 128 * sum of w is taken off.
 */
#ifndef ESNN_TILE_X86_H
#define ESNN_TILE_X86_H

#include "esnn_x86.h"

#if ESNN_X86

#include <stddef.h>

enum { ESNN_TILE_PIXELS = 8 };

/* The sums of 4, 6 or 8 pixels beside each other, for the outputs of one block of weights. */
typedef struct {
    const uint8_t *x;   /* where the window of the first pixel starts */
    size_t pixel_bytes; /* from pixel to pixel */
    size_t row_bytes;   /* from kernel row to kernel row */
    uint32_t rows, words;
    const int8_t *w; /* [rows, words, outputs, 4] */
    uint32_t most;   /* words whose sums of two products each fit 16 bits */
    int32_t *sum;    /* [outputs, stride] */
    size_t stride;
} esnn_tile_job;

/* 1-bit weights of neighbouring channels for some outputs, and how they are unpacked. */
typedef struct {
    const uint8_t *bits;        /* rows [channels, area], the first of output 0 */
    size_t row_bytes;           /* from output to output */
    uint32_t outputs, channels; /* channels are a multiple of 4 */
    uint32_t area, kernel_width;
} esnn_tile_bits;

/* How it is done: for how many outputs at a time. `unpack` fills w of a job for kernels of an area of at most
 * ESNN_TILE_AREA; it may be absent. */
typedef struct {
    uint32_t outputs; /* a multiple of 16, ESNN_TILE_OUTPUTS at most */
    void (*sum)(const esnn_tile_job *job, uint32_t pixels);
    void (*unpack)(const esnn_tile_bits *from, int8_t *w);
} esnn_tile_kernel;

/* Four channels of so many weights fit 64 bits from any bit of a byte on. */
enum { ESNN_TILE_AREA = 14 };

/* The most outputs of a kernel. */
enum { ESNN_TILE_OUTPUTS = 32 };

/* Weights (O,C*kh*kw) as they are stored: rows of 1 bit or of 8, or words of 2 or 4 bits as in esnn_packed.c. Those of
 * 2, 4 or 8 bits for `events`, inputs of 0 and 1, are in the order [kh, kw, C], of 8 bits as in esnn_event.h. */
typedef struct {
    const void *w;
    uint32_t bits;
    int events;
} esnn_tile_weights;

/* The weights of the channels from `first` on for the outputs from `output` on, of which there are `kept`: w of a job,
 * of ESNN_TILE_WEIGHT_BYTES at most. Sums of outputs that are not kept mean nothing. */
typedef struct {
    uint32_t first, channels, output, kept;
} esnn_tile_part;

enum { ESNN_TILE_WEIGHT_BYTES = 36864, ESNN_TILE_LEAST_OUTPUTS = 16 };

void esnn_tile_unpack(const esnn_tile_weights *from, const esnn_window *g, const esnn_tile_part *part,
                      const esnn_tile_kernel *kernel, int8_t *to);

/* Words of four inputs that a pixel sees of a kernel row. */
static inline uint32_t esnn_tile_words(const esnn_window *g, uint32_t channels) {
    return (g->kernel_width * channels + 3) / 4;
}

/* a = W . windows. Takes about 110 KB of stack. 0 if not even a part of a window fits, and nothing is done then; 1
 * otherwise. */
int esnn_tile_conv2d(const uint8_t *x, esnn_format format, const esnn_tile_weights *w, int32_t *a, const esnn_window *g,
                     const esnn_tile_kernel *kernel);

/* The same in groups, whose weights begin anew; W of 2 or 4 bits. 0 also for windows with gaps. */
int esnn_tile_packed_conv2d(const uint8_t *x, esnn_format format, const esnn_tile_weights *w, int32_t *a,
                            const esnn_grouped_window *g, const esnn_tile_kernel *kernel);

/* The same for events. 0 also where it pays to add up the rows of the inputs that fired: with blocks of outputs that
 * are full, if these are less than one in `share`. */
int esnn_tile_event_conv2d(const uint8_t *x, const esnn_tile_weights *w, int32_t *a, const esnn_window *g,
                           const esnn_tile_kernel *kernel, uint32_t share);

#endif
#endif
