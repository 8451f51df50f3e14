/* Event-driven convolutions: for each output pixel, the rows of the inputs that fired are listed once; the list serves
 * all outputs.
 */
#define ESNN_NAMED_PORTABLE
#include "esnn_arith.h"
#include "esnn_event.h"
#include "esnn_x86.h"

#if ESNN_MVE /* how Helium records and lists: esnn_event_mve.c */
static ESNN_INLINE void output_row(const esnn_event_band *band, const uint32_t *w, uint32_t bits, int packed,
                                   uint16_t *list, int32_t *a) {
    if (packed) {
        esnn_event_packed_output_row(band, w, bits, list, a);
    } else {
        esnn_event_output_row(band, w, list, a);
    }
}
#else

/* The record of a row of pixels, [W, 1 + C]: for each pixel how many channels fired, and which ones. */

static inline void fired(uint16_t *record, uint32_t channel) {
    record[++record[0]] = (uint16_t)channel;
}

/* A channel of a row of pixels, to their records. */
static ESNN_NOINLINE void record_channel(const uint8_t *x, uint32_t width, uint16_t *to, uint32_t stride, uint32_t c) {
    const uint8_t *end = x + width;
    if (width % 4 == 0) { /* then all rows are aligned */
        ESNN_ONE_TURN
        for (; x != end; x += 4, to += 4 * stride) {
            const uint32_t spikes = esnn_load_aligned(x);
            uint16_t *record = to;
            ESNN_ONE_TURN
            for (uint32_t left = spikes; left != 0; left >>= 8, record += stride) {
                if (left & 1) {
                    fired(record, c);
                }
            }
        }
        return;
    }
    ESNN_ONE_TURN
    for (; x != end; x++, to += stride) {
        if (*x != 0) {
            fired(to, c);
        }
    }
}

static void esnn_event_record_row(const uint8_t *x, uint16_t *record, const esnn_window *g) {
    const uint32_t stride = 1 + g->channels, area = g->height * g->width;
    ESNN_ONE_TURN
    for (uint32_t column = 0; column < g->width; column++) {
        record[column * stride] = 0;
    }
    ESNN_ONE_TURN
    for (uint32_t c = 0; c < g->channels; c++, x += area) {
        record_channel(x, g->width, record, stride, c);
    }
}

/* The rows of weights for the channels that fired at `pixels` pixels; `row` is that of channel 0 of the first. Returns
 * where the list ends. */
static uint16_t *list_rows(const uint16_t *record, uint32_t pixels, uint32_t row, uint32_t channels, uint16_t *to) {
    ESNN_ONE_TURN
    for (; pixels > 0; pixels--, row += channels, record += 1 + channels) {
        const uint16_t *channel = record;
        ESNN_ONE_TURN
        for (uint32_t n = *channel; n > 0; n--) {
            *to++ = (uint16_t)(row + *++channel);
        }
    }
    return to;
}

/* A row of output pixels, a; `list` holds kh*kw*C elements. Weights are stored as in esnn_event.h; with `packed`, a
 * constant where this is inlined, as in esnn_packed.c with so many bits. */
static ESNN_INLINE void output_row(const esnn_event_band *band, const uint32_t *w, uint32_t bits, int packed,
                                   uint16_t *list, int32_t *a) {
    const esnn_window *g = band->g;
    const uint32_t kernel = g->kernel_width, channels = g->channels, record = ESNN_EVENT_RECORD(channels, g->width);
    const esnn_event_rows rows = {w, g->kernel_height * kernel * channels, g->out_channels,
                                  g->out_height * g->out_width};
    const esnn_span above = band->kernel_rows;
    for (uint32_t column = 0; column < g->out_width; column++, a++) {
        const uint32_t left = column * g->stride_width;
        const esnn_span beside = esnn_inside(left, kernel, g->padding_left, g->width);
        const uint16_t *at = band->records + (left + beside.first - g->padding_left) * (1 + channels);
        uint32_t slot = band->slot;
        uint16_t *to = list;
        for (uint32_t i = above.first; i < above.last; i++) {
            to = list_rows(at + slot * record, beside.last - beside.first, (i * kernel + beside.first) * channels,
                           channels, to);
            slot = slot + 1 < g->kernel_height ? slot + 1 : 0;
        }
        if (packed) {
            esnn_event_packed_sum(list, (uint32_t)(to - list), a, &rows, bits);
        } else {
            esnn_event_sum(list, (uint32_t)(to - list), a, &rows);
        }
    }
}
#endif

/* Row y of the input is recorded in slot y % kernel_height. */
static ESNN_INLINE void conv(const uint8_t *x, const uint32_t *w, uint32_t bits, int packed, uint16_t *scratch,
                             int32_t *a, const esnn_window *g) {
    const uint32_t record = ESNN_EVENT_RECORD(g->channels, g->width);
    uint16_t *records = scratch + g->kernel_height * g->kernel_width * g->channels;
    uint32_t next = 0; /* input row to record */
    for (uint32_t row = 0; row < g->out_height; row++, a += g->out_width) {
        const esnn_span above = esnn_inside(row * g->stride_height, g->kernel_height, g->padding_top, g->height);
        const uint32_t top = row * g->stride_height - g->padding_top; /* may wrap around; top + above.first does not */
        const esnn_event_band band = {g, records, (top + above.first) % g->kernel_height, above};
        next = above.first < above.last && next < top + above.first ? top + above.first : next;
        for (; above.first < above.last && next < top + above.last; next++) {
            esnn_event_record_row(x + next * g->width, records + next % g->kernel_height * record, g);
        }
        output_row(&band, w, bits, packed, scratch, a);
    }
}

void esnn_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, const esnn_window *g) {
    conv(x, w, 8, 0, scratch, a, g);
}

void esnn_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                              const esnn_window *g) {
    conv(x, w, bits, 1, scratch, a, g);
}
