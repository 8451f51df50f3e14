/* Which pixels of an image are under a window. */
#ifndef ESNN_WINDOW_H
#define ESNN_WINDOW_H

#include "esnn_patch.h"

/* From a place of a window to the next, in pixels: 1 but in dilated convolutions. */
typedef struct {
    uint32_t rows, columns;
} esnn_gaps;

/* The rows and columns of a window that are inside the image, and where the first of their pixels is in channel 0. */
typedef struct {
    esnn_span rows, columns;
    uint32_t at;
} esnn_view;

/* As esnn_inside, of `kernel` places that are `gap` pixels apart. */
static ESNN_INLINE esnn_span esnn_places_inside(uint32_t start, uint32_t kernel, uint32_t gap, uint32_t padding,
                                                uint32_t size) {
    const esnn_span pixels = esnn_inside(start, (kernel - 1) * gap + 1, padding, size);
    const esnn_span places = {(pixels.first + gap - 1) / gap, (pixels.last + gap - 1) / gap};
    return places;
}

static ESNN_INLINE esnn_view esnn_view_of(const esnn_window *g, esnn_gaps gaps, uint32_t row, uint32_t column) {
    const uint32_t top = row * g->stride_height, left = column * g->stride_width;
    esnn_view view = {esnn_places_inside(top, g->kernel_height, gaps.rows, g->padding_top, g->height),
                      esnn_places_inside(left, g->kernel_width, gaps.columns, g->padding_left, g->width), 0};
    view.at = (top + view.rows.first * gaps.rows - g->padding_top) * g->width + left +
              view.columns.first * gaps.columns - g->padding_left;
    return view;
}

#endif
