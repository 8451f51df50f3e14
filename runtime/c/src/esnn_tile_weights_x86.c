/* Weights of a tile as int8_t, in the order in which its inputs lie beside each other. They are unpacked at every call,
 * for some microseconds, so that a package is the same for every processor. */
#include "esnn_memory.h"
#include "esnn_tile_x86.h"

#if ESNN_X86
#include <emmintrin.h>

enum { SLACK = 64 };

static void put(uint8_t *to, int32_t word) {
    memcpy(to, &word, 4);
}

/* n bits to +1 or -1, up to seven more. */
static void unpack_bits(const uint8_t *bits, uint32_t n, int8_t *to) {
    for (uint32_t i = 0; i < n; i += 8, bits++) {
        const uint64_t picked = *bits * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
        const uint64_t set = (picked + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
        const uint64_t signs = ~(set * 0xfe);
        memcpy(to + i, &signs, 8);
    }
}

/* The weights row [channels, area] of one output, to words `step` bytes apart: those of kernel column j and four
 * channels c are word j*channels/4 + c/4 of a kernel row. Reads 16 bytes beyond the row. */
static void interleave_row(const int8_t *row, const esnn_window *g, uint32_t channels, uint8_t *to, size_t step) {
    const uint32_t area = g->kernel_height * g->kernel_width, words = esnn_tile_words(g, channels);
    for (uint32_t c = 0; c < channels; c += 4, row += 4 * area) {
        uint32_t i = 0, j = 0;
        for (uint32_t at = 0; at < area; at += 16) {
            const __m128i w0 = _mm_loadu_si128((const void *)(row + at));
            const __m128i w1 = _mm_loadu_si128((const void *)(row + area + at));
            const __m128i w2 = _mm_loadu_si128((const void *)(row + 2 * area + at));
            const __m128i w3 = _mm_loadu_si128((const void *)(row + 3 * area + at));
            const __m128i low01 = _mm_unpacklo_epi8(w0, w1), low23 = _mm_unpacklo_epi8(w2, w3);
            const __m128i high01 = _mm_unpackhi_epi8(w0, w1), high23 = _mm_unpackhi_epi8(w2, w3);
            int32_t word[16];
            _mm_storeu_si128((void *)word, _mm_unpacklo_epi16(low01, low23));
            _mm_storeu_si128((void *)(word + 4), _mm_unpackhi_epi16(low01, low23));
            _mm_storeu_si128((void *)(word + 8), _mm_unpacklo_epi16(high01, high23));
            _mm_storeu_si128((void *)(word + 12), _mm_unpackhi_epi16(high01, high23));
            for (uint32_t k = 0; k < 16 && at + k < area; k++) {
                put(to + (i * words + (j * channels + c) / 4) * step, word[k]);
                if (++j == g->kernel_width) {
                    j = 0;
                    i++;
                }
            }
        }
    }
}

/* The same for any number of channels, byte by byte; what is left of the last word of a kernel row stays. */
static void scatter_row(const int8_t *row, const esnn_window *g, uint32_t channels, uint8_t *to, size_t step) {
    const uint32_t words = esnn_tile_words(g, channels);
    for (uint32_t c = 0; c < channels; c++) {
        for (uint32_t i = 0; i < g->kernel_height; i++) {
            for (uint32_t j = 0; j < g->kernel_width; j++) {
                const uint32_t at = j * channels + c;
                to[(i * words + at / 4) * step + at % 4] = (uint8_t)*row++;
            }
        }
    }
}

/* W rows of bits or of int8_t. */
static void unpack_rows(const esnn_tile_weights *from, const esnn_window *g, const esnn_tile_part *part,
                        uint32_t outputs, int8_t *to) {
    const uint32_t area = g->kernel_height * g->kernel_width, n = part->channels * area, skip = part->first * area;
    const size_t fan_in = (size_t)g->channels * area, row_bytes = (fan_in * from->bits + 7) / 8;
    const uint8_t *w = (const uint8_t *)from->w + part->output * row_bytes + (size_t)skip * from->bits / 8;
    for (uint32_t o = 0; o < part->kept; o++, w += row_bytes) {
        int8_t row[ESNN_TILE_WEIGHT_BYTES / ESNN_TILE_LEAST_OUTPUTS + SLACK];
        if (from->bits == 1) {
            unpack_bits(w, n, row);
        } else {
            memcpy(row, w, n);
        }
        if (part->channels % 4 == 0) {
            interleave_row(row, g, part->channels, (uint8_t *)to + 4 * o, 4 * (size_t)outputs);
        } else {
            scatter_row(row, g, part->channels, (uint8_t *)to + 4 * o, 4 * (size_t)outputs);
        }
    }
}

static ESNN_INLINE void store4(int8_t *to, __m128i fields, __m128i excess) {
    _mm_storeu_si128((void *)to, _mm_sub_epi8(fields, excess));
}

/* Words of fields of four inputs, one each, to the weights of a block of outputs: 8 of 4 bits, 16 of 2 bits. */
static ESNN_INLINE void put_fields(const __m128i word[4], uint32_t bits, int8_t *to) {
    const __m128i first = _mm_unpacklo_epi8(word[0], word[1]), second = _mm_unpacklo_epi8(word[2], word[3]);
    const __m128i all = _mm_unpacklo_epi16(first, second); /* in word b of a vector, byte b of all four */
    const __m128i mask = _mm_set1_epi8(bits == 4 ? 15 : 3), excess = _mm_set1_epi8(bits == 4 ? 8 : 2);
    if (bits == 4) {
        const __m128i even = _mm_and_si128(all, mask), odd = _mm_and_si128(_mm_srli_epi16(all, 4), mask);
        store4(to, _mm_unpacklo_epi32(even, odd), excess);
        store4(to + 16, _mm_unpackhi_epi32(even, odd), excess);
    } else {
        const __m128i by0 = _mm_and_si128(all, mask), by1 = _mm_and_si128(_mm_srli_epi16(all, 2), mask);
        const __m128i by2 = _mm_and_si128(_mm_srli_epi16(all, 4), mask);
        const __m128i by3 = _mm_and_si128(_mm_srli_epi16(all, 6), mask);
        const __m128i low01 = _mm_unpacklo_epi32(by0, by1), low23 = _mm_unpacklo_epi32(by2, by3);
        const __m128i high01 = _mm_unpackhi_epi32(by0, by1), high23 = _mm_unpackhi_epi32(by2, by3);
        store4(to, _mm_unpacklo_epi64(low01, low23), excess);
        store4(to + 16, _mm_unpackhi_epi64(low01, low23), excess);
        store4(to + 32, _mm_unpacklo_epi64(high01, high23), excess);
        store4(to + 48, _mm_unpackhi_epi64(high01, high23), excess);
    }
}

/* Bytes w + 128 of four inputs, 16 each, to the weights of a wide block of outputs. */
static ESNN_INLINE void put_bytes(const __m128i input[4], int8_t *to) {
    const __m128i low01 = _mm_unpacklo_epi8(input[0], input[1]), low23 = _mm_unpacklo_epi8(input[2], input[3]);
    const __m128i high01 = _mm_unpackhi_epi8(input[0], input[1]), high23 = _mm_unpackhi_epi8(input[2], input[3]);
    const __m128i excess = _mm_set1_epi8(-128);
    store4(to, _mm_unpacklo_epi16(low01, low23), excess);
    store4(to + 16, _mm_unpackhi_epi16(low01, low23), excess);
    store4(to + 32, _mm_unpacklo_epi16(high01, high23), excess);
    store4(to + 48, _mm_unpackhi_epi16(high01, high23), excess);
}

/* Of 4 bytes, those of a narrow block. */
static ESNN_INLINE void put_few_bytes(const __m128i input[4], int8_t *to) {
    const __m128i low01 = _mm_unpacklo_epi8(input[0], input[1]), low23 = _mm_unpacklo_epi8(input[2], input[3]);
    store4(to, _mm_unpacklo_epi16(low01, low23), _mm_set1_epi8(-128));
}

/* How a block of outputs is stored: `words` words for each input, from channel to channel and from place to place of
 * the kernel so many inputs apart. */
typedef struct {
    uint32_t bits, words, channel_step, place_step;
} stored;

/* One block of outputs, whose words start at w, to words `step` bytes apart; what is left of the last word of a kernel
 * row becomes 0. `s` is a constant where this is inlined, but for its steps. */
static ESNN_INLINE void unpack_block(const uint32_t *w, stored s, const esnn_window *g, uint32_t channels, int8_t *to,
                                     size_t step) {
    static const uint32_t zeros[] = {[2] = 0xaaaaaaaa, [4] = 0x88888888, [8] = 0x80808080};
    const uint32_t columns = g->kernel_width, words = esnn_tile_words(g, channels);
    for (uint32_t i = 0; i < g->kernel_height; i++) {
        uint32_t c = 0, j = 0;
        for (uint32_t n = 0; n < words; n++, to += step) {
            __m128i input[4];
            for (uint32_t k = 0; k < 4; k++) {
                const size_t at = c * s.channel_step + (size_t)(i * columns + j) * s.place_step;
                if (j >= columns) {
                    input[k] = _mm_set1_epi32((int32_t)zeros[s.bits]);
                } else if (s.words == 4) {
                    input[k] = _mm_loadu_si128((const void *)(w + 4 * at));
                } else {
                    input[k] = _mm_cvtsi32_si128((int32_t)w[at]);
                }
                if (++c == channels) {
                    c = 0;
                    j++;
                }
            }
            if (s.bits < 8) {
                put_fields(input, s.bits, to);
            } else if (s.words == 4) {
                put_bytes(input, to);
            } else {
                put_few_bytes(input, to);
            }
        }
    }
}

/* W words, blocks of outputs. */
static void unpack_words(const esnn_tile_weights *from, const esnn_window *g, const esnn_tile_part *part,
                         uint32_t outputs, int8_t *to) {
    const uint32_t area = g->kernel_height * g->kernel_width, fan_in = g->channels * area;
    const uint32_t channel_step = from->events ? 1 : area, place_step = from->events ? g->channels : 1;
    const size_t first = (size_t)part->first * channel_step, step = 4 * (size_t)outputs;
    const uint32_t wide = g->out_channels / 16 * 16;
    const uint32_t *w = from->w;
    for (uint32_t o = 0, n; o < part->kept; o += n) {
        const uint32_t at = part->output + o;
        int8_t *const block = to + 4 * o;
        if (from->bits == 4) {
            const stored s = {4, 1, channel_step, place_step};
            n = 8;
            unpack_block(w + (size_t)at / 8 * fan_in + first, s, g, part->channels, block, step);
        } else if (from->bits == 2) {
            const stored s = {2, 1, channel_step, place_step};
            n = 16;
            unpack_block(w + (size_t)at / 16 * fan_in + first, s, g, part->channels, block, step);
        } else if (at < wide) {
            const stored s = {8, 4, channel_step, place_step};
            n = 16;
            unpack_block(w + (size_t)at / 4 * fan_in + 4 * first, s, g, part->channels, block, step);
        } else {
            const stored s = {8, 1, channel_step, place_step};
            n = 4;
            unpack_block(w + (size_t)at / 4 * fan_in + first, s, g, part->channels, block, step);
        }
    }
}

void esnn_tile_unpack(const esnn_tile_weights *from, const esnn_window *g, const esnn_tile_part *part,
                      const esnn_tile_kernel *kernel, int8_t *to) {
    const uint32_t area = g->kernel_height * g->kernel_width, channels = part->channels;
    if (from->bits == 1 && kernel->unpack != NULL && channels % 4 == 0 && area <= ESNN_TILE_AREA) {
        const size_t row_bytes = ((size_t)g->channels * area + 7) / 8;
        const uint8_t *bits = (const uint8_t *)from->w + part->output * row_bytes + (size_t)part->first * area / 8;
        const esnn_tile_bits rows = {bits, row_bytes, part->kept, channels, area, g->kernel_width};
        kernel->unpack(&rows, to);
        return;
    }
    if (channels % 4 != 0 || part->kept < kernel->outputs) {
        memset(to, 0, 4 * (size_t)kernel->outputs * g->kernel_height * esnn_tile_words(g, channels));
    }
    if (from->bits == 2 || from->bits == 4 || from->events) {
        unpack_words(from, g, part, kernel->outputs, to);
    } else {
        unpack_rows(from, g, part, kernel->outputs, to);
    }
}

#endif
