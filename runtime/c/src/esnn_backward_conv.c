/* Spatial backward through convolutions: the error of each window scatters to the pixels that it saw. */
#include "esnn_grouped.h"
#include "esnn_memory.h"
#include "esnn_window.h"

/* Row i of the weights of a channel, from the first column that is inside, to the pixels from `to` on. */
static ESNN_INLINE void add_row(int32_t *to, const int8_t *w, int32_t error, uint32_t n, uint32_t gap) {
    ESNN_ONE_TURN
    for (const int8_t *end = w + n; w != end; w++, to += gap) {
        *to += error * *w;
    }
}

static ESNN_INLINE void add_bits(int32_t *to, const uint8_t *w, uint32_t bit, int32_t error, uint32_t n, uint32_t gap) {
    ESNN_ONE_TURN
    for (const uint32_t end = bit + n; bit != end; bit++, to += gap) {
        *to += w[bit / 8] >> bit % 8 & 1 ? error : -error;
    }
}

/* The weights of an output, int8_t, or bits if `binary`, times the error of one of its windows. */
static ESNN_INLINE void add_window(int32_t *back, const uint8_t *w, int binary, int32_t error, const esnn_view *view,
                                   const esnn_window *of, esnn_gaps gaps) {
    const uint32_t n = view->columns.last - view->columns.first;
    int32_t *channel = back + view->at;
    for (uint32_t c = 0; c < of->channels; c++, channel += of->height * of->width) {
        int32_t *to = channel;
        for (uint32_t i = view->rows.first; i < view->rows.last; i++, to += of->width * gaps.rows) {
            const uint32_t weight = (c * of->kernel_height + i) * of->kernel_width + view->columns.first;
            if (binary) {
                add_bits(to, w, weight, error, n, gaps.columns);
            } else {
                add_row(to, (const int8_t *)w + weight, error, n, gaps.columns);
            }
        }
    }
}

/* One output of a group: g [P], a row of weights. */
static ESNN_INLINE void add_windows(int32_t *back, const uint8_t *w, int binary, const int32_t *g,
                                    const esnn_window *of, esnn_gaps gaps) {
    for (uint32_t row = 0; row < of->out_height; row++) {
        for (uint32_t column = 0; column < of->out_width; column++) {
            const int32_t error = *g++;
            if (error != 0) {
                const esnn_view view = esnn_view_of(of, gaps, row, column);
                add_window(back, w, binary, error, &view, of, gaps);
            }
        }
    }
}

static ESNN_INLINE void backward(const int32_t *g, const uint8_t *w, int binary, int32_t *back,
                                 const esnn_grouped_window *of, esnn_gaps gaps) {
    const esnn_window one = esnn_one_group(of);
    const uint32_t area = one.channels * one.height * one.width, windows = one.out_height * one.out_width;
    const uint32_t fan_in = one.channels * one.kernel_height * one.kernel_width;
    memset(back, 0, sizeof *back * area * of->groups);
    for (uint32_t n = 0; n < of->groups; n++, back += area) {
        for (uint32_t o = 0; o < one.out_channels; o++, g += windows, w += binary ? (fan_in + 7) / 8 : fan_in) {
            add_windows(back, w, binary, g, &one, gaps);
        }
    }
}

void esnn_backward_conv2d(const int32_t *g, const int8_t *w, int32_t *back, const esnn_grouped_window *of) {
    const esnn_gaps none = {1, 1};
    backward(g, (const uint8_t *)w, 0, back, of, none);
}

void esnn_backward_binary_conv2d(const int32_t *g, const uint8_t *w, int32_t *back, const esnn_grouped_window *of) {
    const esnn_gaps none = {1, 1};
    backward(g, w, 1, back, of, none);
}

void esnn_backward_dilated_conv2d(const int32_t *g, const int8_t *w, int32_t *back, const esnn_grouped_window *of) {
    const esnn_gaps gaps = {of->dilation_height, of->dilation_width};
    backward(g, (const uint8_t *)w, 0, back, of, gaps);
}

void esnn_backward_dilated_binary_conv2d(const int32_t *g, const uint8_t *w, int32_t *back,
                                         const esnn_grouped_window *of) {
    const esnn_gaps gaps = {of->dilation_height, of->dilation_width};
    backward(g, w, 1, back, of, gaps);
}
