/* Tiles of a convolution: which part is done at a time, and its inputs in the order that suits vectors. */
#include "esnn_tile_x86.h"
#include "esnn_grouped.h"
#include "esnn_memory.h"

#if ESNN_X86
#include <emmintrin.h>

enum { INPUT_BYTES = 61440, SLACK = 64, CHANNEL_STEP = 8 };

/* A tile: output pixels from (top, left) on, and the channels it adds up. */
typedef struct {
    uint32_t top, left, rows, columns;
    uint32_t first, channels;
} tile;

static size_t span(uint32_t outputs, uint32_t stride, uint32_t kernel) {
    return (size_t)(outputs - 1) * stride + kernel;
}

static size_t input_bytes(const esnn_window *g, const tile *t) {
    return span(t->rows, g->stride_height, g->kernel_height) * span(t->columns, g->stride_width, g->kernel_width) *
           t->channels;
}

static int weights_fit(const esnn_window *g, uint32_t channels, uint32_t outputs) {
    return (size_t)g->kernel_height * esnn_tile_words(g, channels) * 4 * outputs <= ESNN_TILE_WEIGHT_BYTES;
}

/* The next smaller multiple of `step` near half of n > step. */
static uint32_t halved(uint32_t n, uint32_t step) {
    return (n / 2 + step - 1) / step * step;
}

/* The largest tile that fits: all channels if they do, then wide rows, then many of them. 0 if none fits. */
static int plan(const esnn_window *g, uint32_t outputs, tile *t) {
    *t = (tile){0, 0, 1, 4, 0, g->channels};
    while (!weights_fit(g, t->channels, outputs) || input_bytes(g, t) > INPUT_BYTES) {
        if (t->channels <= CHANNEL_STEP) {
            return 0;
        }
        t->channels = halved(t->channels + 1, CHANNEL_STEP);
    }
    t->columns = (g->out_width + 3) / 4 * 4;
    while (input_bytes(g, t) > INPUT_BYTES) {
        t->columns = t->columns > ESNN_TILE_PIXELS ? halved(t->columns, ESNN_TILE_PIXELS) : 4;
    }
    while (t->rows < g->out_height) {
        t->rows++;
        if (input_bytes(g, t) > INPUT_BYTES) {
            t->rows--;
            break;
        }
    }
    return 1;
}

static void put(uint8_t *to, int32_t word) {
    memcpy(to, &word, 4);
}

/* Four words to addresses `step` bytes apart. */
static void put4(uint8_t *to, size_t step, __m128i words) {
    put(to, _mm_cvtsi128_si32(words));
    put(to + step, _mm_cvtsi128_si32(_mm_shuffle_epi32(words, 1)));
    put(to + 2 * step, _mm_cvtsi128_si32(_mm_shuffle_epi32(words, 2)));
    put(to + 3 * step, _mm_cvtsi128_si32(_mm_shuffle_epi32(words, 3)));
}

static __m128i load8(const uint8_t *x) {
    return _mm_loadl_epi64((const void *)x);
}

/* Eight pixels of four channels, `area` bytes apart, to [8, 4], with `step` bytes from pixel to pixel. */
static inline void interleave4x8(const uint8_t *x, size_t area, __m128i flips, uint8_t *to, size_t step) {
    const __m128i low = _mm_xor_si128(_mm_unpacklo_epi8(load8(x), load8(x + area)), flips);
    const __m128i high = _mm_xor_si128(_mm_unpacklo_epi8(load8(x + 2 * area), load8(x + 3 * area)), flips);
    put4(to, step, _mm_unpacklo_epi16(low, high));
    put4(to + 4 * step, step, _mm_unpackhi_epi16(low, high));
}

/* Two pixels of eight channels. */
static void put2(uint8_t *to, size_t step, __m128i pixels) {
    _mm_storel_epi64((void *)to, pixels);
    _mm_storeh_pd((void *)(to + step), _mm_castsi128_pd(pixels));
}

/* The same of eight channels, to [8, 8]. */
static inline void interleave8x8(const uint8_t *x, size_t area, __m128i flips, uint8_t *to, size_t step) {
    __m128i pairs[4];
    for (size_t c = 0; c < 4; c++) {
        pairs[c] = _mm_xor_si128(_mm_unpacklo_epi8(load8(x + 2 * c * area), load8(x + (2 * c + 1) * area)), flips);
    }
    const __m128i low01 = _mm_unpacklo_epi16(pairs[0], pairs[1]), low23 = _mm_unpacklo_epi16(pairs[2], pairs[3]);
    const __m128i high01 = _mm_unpackhi_epi16(pairs[0], pairs[1]), high23 = _mm_unpackhi_epi16(pairs[2], pairs[3]);
    put2(to, step, _mm_unpacklo_epi32(low01, low23));
    put2(to + 2 * step, step, _mm_unpackhi_epi32(low01, low23));
    put2(to + 4 * step, step, _mm_unpacklo_epi32(high01, high23));
    put2(to + 6 * step, step, _mm_unpackhi_epi32(high01, high23));
}

/* The same for n pixels of 4 or 8 channels, a constant where this is inlined; where n is no multiple of eight, some are
 * written twice. */
static ESNN_INLINE void interleave_channels(const uint8_t *x, size_t area, uint8_t flip, uint8_t *to, size_t step,
                                            uint32_t channels, uint32_t n) {
    const __m128i flips = _mm_set1_epi8((char)flip);
    void (*const interleave)(const uint8_t *, size_t, __m128i, uint8_t *, size_t) =
        channels == 8 ? interleave8x8 : interleave4x8;
    if (n < 8) {
        for (uint32_t i = 0; i < n; i++, x++, to += step) {
            for (uint32_t c = 0; c < channels; c++) {
                to[c] = x[c * area] ^ flip;
            }
        }
        return;
    }
    for (uint32_t i = 0; i + 8 < n; i += 8) {
        interleave(x + i, area, flips, to + i * step, step);
    }
    interleave(x + n - 8, area, flips, to + (n - 8) * step, step);
}

/* One row of the inputs under a tile, y counted from the top of the image: it may be outside. */
static void copy_row(const uint8_t *x, uint8_t flip, const esnn_window *g, const tile *t, uint32_t y, size_t columns,
                     uint8_t *to) {
    const size_t area = (size_t)g->height * g->width, left = (size_t)t->left * g->stride_width, pad = g->padding_left;
    const size_t before = pad > left ? pad - left : 0, end = pad + g->width > left ? pad + g->width - left : 0;
    const size_t first = before < columns ? before : columns, last = end < columns ? end : columns;
    if (y >= g->height || first >= last) {
        memset(to, flip, columns * t->channels);
        return;
    }
    memset(to, flip, first * t->channels);
    memset(to + last * t->channels, flip, (columns - last) * t->channels);
    x += t->first * area + (size_t)y * g->width + left + first - pad;
    to += first * t->channels;
    const uint32_t n = (uint32_t)(last - first), eights = t->channels / 8 * 8, quads = t->channels / 4 * 4;
    for (uint32_t c = 0; c < eights; c += 8) {
        interleave_channels(x + c * area, area, flip, to + c, t->channels, 8, n);
    }
    if (eights < quads) {
        interleave_channels(x + eights * area, area, flip, to + eights, t->channels, 4, n);
    }
    for (uint32_t c = quads; c < t->channels; c++) {
        for (uint32_t i = 0; i < n; i++) {
            to[(size_t)i * t->channels + c] = x[c * area + i] ^ flip;
        }
    }
}

static void copy_inputs(const uint8_t *x, uint8_t flip, const esnn_window *g, const tile *t, uint8_t *to) {
    const size_t rows = span(t->rows, g->stride_height, g->kernel_height);
    const size_t columns = span(t->columns, g->stride_width, g->kernel_width);
    const uint32_t top = t->top * g->stride_height - g->padding_top; /* wraps around above the image */
    for (size_t row = 0; row < rows; row++, to += columns * t->channels) {
        copy_row(x, flip, g, t, top + (uint32_t)row, columns, to);
    }
    memset(to, 0, SLACK); /* the last word of a kernel row may end there */
}

typedef struct {
    const esnn_window *g;
    const tile *t;
    const esnn_tile_kernel *kernel;
    const uint8_t *inputs;
    const int8_t *weights;
    const int32_t *too_much; /* by output; NULL for none */
} block;

/* n pixels beside each other, of which the kernel computes 4, 6 or 8, to a [outputs, pixels]. */
static void sum_pixels(const block *b, esnn_tile_job *job, uint32_t n, uint32_t outputs, int32_t *a, size_t pixels) {
    int32_t sum[ESNN_TILE_OUTPUTS * ESNN_TILE_PIXELS];
    const uint32_t computed = n > 6 ? 8 : n > 4 ? 6 : 4;
    const int as_they_are = b->too_much == NULL && b->t->first == 0 && outputs == b->kernel->outputs && n == computed;
    job->sum = as_they_are ? a : sum;
    job->stride = as_they_are ? pixels : ESNN_TILE_PIXELS;
    b->kernel->sum(job, computed);
    if (as_they_are) {
        return;
    }
    for (uint32_t o = 0; o < outputs; o++, a += pixels) {
        const int32_t *from = sum + o * ESNN_TILE_PIXELS, less = b->too_much == NULL ? 0 : b->too_much[o];
        for (uint32_t p = 0; p < n; p++) {
            a[p] = from[p] - less + (b->t->first == 0 ? 0 : a[p]);
        }
    }
}

/* What all jobs of a block share. */
static esnn_tile_job job_of(const block *b, const esnn_tile_weights *w) {
    const uint32_t weight = 1u << (w->bits - 1), input = w->events ? 1 : 255; /* the largest */
    const esnn_window *g = b->g;
    const size_t columns = span(b->t->columns, g->stride_width, g->kernel_width);
    const esnn_tile_job job = {.pixel_bytes = (size_t)g->stride_width * b->t->channels,
                               .row_bytes = columns * b->t->channels,
                               .rows = g->kernel_height,
                               .words = esnn_tile_words(g, b->t->channels),
                               .w = b->weights,
                               .most = 32767 / (2 * weight * input)};
    return job;
}

/* All pixels of a tile for `outputs` outputs, whose first one's pixels start at a. */
static void sum_block(const block *b, esnn_tile_job job, uint32_t outputs, int32_t *a) {
    const esnn_window *g = b->g;
    const tile *t = b->t;
    for (uint32_t row = 0; row < t->rows && t->top + row < g->out_height; row++) {
        for (uint32_t at = 0; at < t->columns && t->left + at < g->out_width; at += ESNN_TILE_PIXELS) {
            const uint32_t left = g->out_width - t->left - at, here = t->columns - at, n = left < here ? left : here;
            int32_t *to = a + (size_t)(t->top + row) * g->out_width + t->left + at;
            job.x = b->inputs + row * g->stride_height * job.row_bytes + at * job.pixel_bytes;
            sum_pixels(b, &job, n < ESNN_TILE_PIXELS ? n : ESNN_TILE_PIXELS, outputs, to,
                       (size_t)g->out_height * g->out_width);
        }
    }
}

/* 128 times the sums of the weights of a block: what inputs of 128 give. */
static void sum_weights(const block *b, esnn_tile_job job, int32_t *sums) {
    uint8_t inputs[ESNN_TILE_WEIGHT_BYTES / ESNN_TILE_LEAST_OUTPUTS];
    int32_t sum[ESNN_TILE_OUTPUTS * ESNN_TILE_PIXELS];
    memset(inputs, 128, 4 * (size_t)job.words);
    job.x = inputs;
    job.pixel_bytes = job.row_bytes = 0;
    job.sum = sum;
    job.stride = ESNN_TILE_PIXELS;
    b->kernel->sum(&job, 4);
    for (uint32_t o = 0; o < b->kernel->outputs; o++) {
        sums[o] = sum[o * ESNN_TILE_PIXELS];
    }
}

int esnn_tile_conv2d(const uint8_t *x, esnn_format format, const esnn_tile_weights *w, int32_t *a, const esnn_window *g,
                     const esnn_tile_kernel *kernel) {
    _Alignas(64) uint8_t inputs[INPUT_BYTES + SLACK];
    _Alignas(64) int8_t weights[ESNN_TILE_WEIGHT_BYTES];
    int32_t too_much[ESNN_TILE_OUTPUTS];
    const uint8_t flip = format == ESNN_U8 ? 0 : 0x80;
    const size_t pixels = (size_t)g->out_height * g->out_width;
    tile t;
    if (!plan(g, kernel->outputs, &t)) {
        return 0;
    }
    const block b = {g, &t, kernel, inputs, weights, format == ESNN_U8 ? NULL : too_much};
    const uint32_t channels = t.channels;
    for (t.first = 0; t.first < g->channels; t.first += channels) {
        t.channels = g->channels - t.first < channels ? g->channels - t.first : channels;
        for (t.top = 0; t.top < g->out_height; t.top += t.rows) {
            for (t.left = 0; t.left < g->out_width; t.left += t.columns) {
                copy_inputs(x, flip, g, &t, inputs);
                for (uint32_t o = 0; o < g->out_channels; o += kernel->outputs) {
                    const uint32_t rest = g->out_channels - o, n = rest < kernel->outputs ? rest : kernel->outputs;
                    const esnn_tile_part part = {t.first, t.channels, o, n};
                    const esnn_tile_job job = job_of(&b, w);
                    esnn_tile_unpack(w, g, &part, kernel, weights);
                    if (format == ESNN_S8) {
                        sum_weights(&b, job, too_much);
                    }
                    sum_block(&b, job, n, a + o * pixels);
                }
            }
        }
    }
    return 1;
}

int esnn_tile_packed_conv2d(const uint8_t *x, esnn_format format, const esnn_tile_weights *w, int32_t *a,
                            const esnn_grouped_window *g, const esnn_tile_kernel *kernel) {
    const esnn_window one = esnn_one_group(g);
    const uint32_t fan_in = one.channels * one.kernel_height * one.kernel_width, fields = 32 / w->bits;
    esnn_tile_weights of_group = *w;
    if (g->dilation_height != 1 || g->dilation_width != 1) {
        return 0;
    }
    for (uint32_t n = 0; n < g->groups; n++) {
        if (!esnn_tile_conv2d(x, format, &of_group, a, &one, kernel)) {
            return 0; /* as for the first group */
        }
        x += one.channels * one.height * one.width;
        of_group.w = (const uint32_t *)of_group.w + (size_t)((one.out_channels + fields - 1) / fields) * fan_in;
        a += one.out_channels * one.out_height * one.out_width;
    }
    return 1;
}

int esnn_tile_event_conv2d(const uint8_t *x, const esnn_tile_weights *w, int32_t *a, const esnn_window *g,
                           const esnn_tile_kernel *kernel, uint32_t share) {
    const uint32_t inputs = g->channels * g->height * g->width, outputs = g->out_channels;
    const uint32_t computed = (outputs + kernel->outputs - 1) / kernel->outputs * kernel->outputs;
    uint32_t fired = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        fired += x[i];
    }
    return (uint64_t)fired * outputs * share >= (uint64_t)inputs * computed &&
           esnn_tile_conv2d(x, ESNN_U8, w, a, g, kernel);
}

#endif
