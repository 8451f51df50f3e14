/* Spatial backward through poolings: the error of each window to the largest of its pixels, or to all of them; and
 * through enlarged images, where each pixel gets the errors of all places it went to. */
#include "esnn_memory.h"
#include "esnn_window.h"

static const esnn_gaps none = {1, 1};

/* The number of the first of the largest pixels of a window, row by row, in a channel; `flip` makes bytes unsigned. */
static uint32_t largest(const uint8_t *x, uint32_t flip, const esnn_view *view, const esnn_window *of) {
    uint32_t at = view->at, best = at;
    for (uint32_t i = view->rows.first; i < view->rows.last; i++, at += of->width) {
        for (uint32_t j = at; j < at + view->columns.last - view->columns.first; j++) {
            best = (x[j] ^ flip) > (x[best] ^ flip) ? j : best;
        }
    }
    return best;
}

void esnn_backward_maxpool2d(const int32_t *g, const void *x, esnn_format format, int32_t *back,
                             const esnn_window *of) {
    const uint32_t area = of->height * of->width, flip = format == ESNN_U8 ? 0 : 0x80;
    const uint8_t *pixels = x;
    memset(back, 0, sizeof *back * of->channels * area);
    for (uint32_t c = 0; c < of->channels; c++, pixels += area, back += area) {
        for (uint32_t row = 0; row < of->out_height; row++) {
            for (uint32_t column = 0; column < of->out_width; column++) {
                const esnn_view view = esnn_view_of(of, none, row, column);
                back[largest(pixels, flip, &view, of)] += *g++;
            }
        }
    }
}

static void add_to_all(int32_t *back, int32_t error, const esnn_view *view, const esnn_window *of) {
    int32_t *row = back + view->at;
    for (uint32_t i = view->rows.first; i < view->rows.last; i++, row += of->width) {
        for (uint32_t j = 0; j < view->columns.last - view->columns.first; j++) {
            row[j] += error;
        }
    }
}

void esnn_backward_sum_pool2d(const int32_t *g, int32_t *back, const esnn_window *of) {
    const uint32_t area = of->height * of->width;
    memset(back, 0, sizeof *back * of->channels * area);
    for (uint32_t c = 0; c < of->channels; c++, back += area) {
        for (uint32_t row = 0; row < of->out_height; row++) {
            for (uint32_t column = 0; column < of->out_width; column++) {
                const esnn_view view = esnn_view_of(of, none, row, column);
                add_to_all(back, *g++, &view, of);
            }
        }
    }
}

void esnn_backward_upsample2d(const int32_t *g, int32_t *back, uint32_t channels, uint32_t height, uint32_t width,
                              const uint16_t *rows, const uint16_t *columns, uint32_t out_height, uint32_t out_width) {
    memset(back, 0, sizeof *back * channels * height * width);
    for (uint32_t c = 0; c < channels; c++, back += height * width) {
        for (uint32_t i = 0; i < out_height; i++) {
            for (uint32_t j = 0; j < out_width; j++) {
                back[rows[i] * width + columns[j]] += *g++;
            }
        }
    }
}
