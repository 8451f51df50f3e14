/* Convolutions for AVX-512 with VNNI: VPDPBUSD multiplies four inputs by four weights of sixteen outputs and adds up.
 */
#include "esnn_memory.h"
#include "esnn_tile_x86.h"

#if ESNN_X86
#include <immintrin.h>

#define ESNN_AVX512_PDEP __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,bmi2")))

static ESNN_INLINE ESNN_AVX512 void transpose4(__m512i sum[][2], uint32_t half, int32_t *to, size_t stride) {
    const __m512i low01 = _mm512_unpacklo_epi32(sum[0][half], sum[1][half]);
    const __m512i high01 = _mm512_unpackhi_epi32(sum[0][half], sum[1][half]);
    const __m512i low23 = _mm512_unpacklo_epi32(sum[2][half], sum[3][half]);
    const __m512i high23 = _mm512_unpackhi_epi32(sum[2][half], sum[3][half]);
    /* lane l of by[q] holds output 4l + q of four pixels */
    const __m512i by[4] = {_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
                           _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)};
    for (uint32_t q = 0; q < 4; q++) {
        int32_t *at = to + (16 * half + q) * stride;
        _mm_storeu_si128((void *)at, _mm512_castsi512_si128(by[q]));
        _mm_storeu_si128((void *)(at + 4 * stride), _mm512_extracti32x4_epi32(by[q], 1));
        _mm_storeu_si128((void *)(at + 8 * stride), _mm512_extracti32x4_epi32(by[q], 2));
        _mm_storeu_si128((void *)(at + 12 * stride), _mm512_extracti32x4_epi32(by[q], 3));
    }
}

enum { OUTPUTS = 32, ROW_BYTES = 160 }; /* at most 1152 weights of a row are unpacked, and eight bytes read at a time */

/* As _mm512_dpbusd_epi32, in place: left to choose, gcc copies each sum to another register and back. */
static ESNN_INLINE ESNN_AVX512 void add_products(__m512i *sum, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(w));
}

/* `pixels` is a constant where this is inlined, so that all sums are in registers. */
static ESNN_INLINE ESNN_AVX512 void sum_pixels(const esnn_tile_job *job, const uint32_t pixels) {
    __m512i sum[ESNN_TILE_PIXELS][2];
    const int8_t *w = job->w;
    _Pragma("GCC unroll 8") for (uint32_t p = 0; p < pixels; p++) {
        sum[p][0] = sum[p][1] = _mm512_setzero_si512();
    }
    for (uint32_t row = 0; row < job->rows; row++) {
        const uint8_t *x = job->x + row * job->row_bytes;
        for (uint32_t i = 0; i < job->words; i++, x += 4, w += 128) {
            const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
            _Pragma("GCC unroll 8") for (uint32_t p = 0; p < pixels; p++) {
                int32_t word;
                memcpy(&word, x + p * job->pixel_bytes, 4);
                const __m512i inputs = _mm512_set1_epi32(word);
                add_products(&sum[p][0], inputs, w0);
                add_products(&sum[p][1], inputs, w1);
            }
        }
    }
    transpose4(sum, 0, job->sum, job->stride);
    transpose4(sum, 1, job->sum, job->stride);
    if (pixels > 4) {
        if (pixels == 6) {
            sum[6][0] = sum[6][1] = sum[7][0] = sum[7][1] = _mm512_setzero_si512();
        }
        transpose4(sum + 4, 0, job->sum + 4, job->stride);
        transpose4(sum + 4, 1, job->sum + 4, job->stride);
    }
}

static ESNN_AVX512 void sum(const esnn_tile_job *job, uint32_t pixels) {
    if (pixels == 8) {
        sum_pixels(job, 8);
    } else if (pixels == 6) {
        sum_pixels(job, 6);
    } else {
        sum_pixels(job, 4);
    }
}

/* The weights of four channels of one output as nibbles, one a kernel position: bits q*area + i to 4i + q. */
static ESNN_INLINE ESNN_AVX512_PDEP uint64_t nibbles(const uint8_t *row, uint32_t bit, uint32_t area) {
    uint64_t word, all = 0;
    memcpy(&word, row + bit / 8, 8);
    word >>= bit % 8;
    _Pragma("GCC unroll 4") for (uint32_t q = 0; q < 4; q++, word >>= area) {
        all |= _pdep_u64(word, (UINT64_C(0x1111111111111111) >> (64 - 4 * area)) << q);
    }
    return all;
}

/* A nibble of 32 outputs becomes 32 words of +1 and -1; of outputs that do not exist, zeros. */
static ESNN_INLINE ESNN_AVX512 void put_words(const uint32_t *strings, uint32_t shift, uint32_t outputs, int8_t *to) {
    const __m512i first = _mm512_set_epi32(12, 8, 4, 0, 12, 8, 4, 0, 12, 8, 4, 0, 12, 8, 4, 0);
    const __m512i repeat = _mm512_mullo_epi32(first, _mm512_set1_epi32(0x01010101));
    const __m512i bit = _mm512_set1_epi32(0x08040201), plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
    _Pragma("GCC unroll 2") for (uint32_t half = 0; half < 2; half++) {
        const uint32_t kept = outputs > 16 * half ? outputs - 16 * half : 0;
        const __mmask16 there = (__mmask16)(kept < 16 ? (1u << kept) - 1 : 0xffffu);
        const __m512i string = _mm512_srl_epi32(_mm512_loadu_si512(strings + 16 * half), _mm_cvtsi32_si128((int)shift));
        const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(string, repeat), bit);
        const __m512i signs = _mm512_mask_blend_epi8(set, minus, plus);
        _mm512_store_si512(to + 64 * half, _mm512_maskz_mov_epi32(there, signs));
    }
}

static ESNN_AVX512_PDEP void unpack(const esnn_tile_bits *from, int8_t *w) {
    const uint32_t words = from->kernel_width * from->channels / 4, bytes = (from->channels * from->area + 7) / 8;
    uint32_t low[OUTPUTS] = {0}, high[OUTPUTS] = {0};
    uint8_t rows[OUTPUTS][ROW_BYTES];
    for (uint32_t o = 0; o < from->outputs; o++) {
        memcpy(rows[o], from->bits + o * from->row_bytes, bytes);
    }
    for (uint32_t c = 0; c < from->channels; c += 4) {
        for (uint32_t o = 0; o < from->outputs; o++) {
            const uint64_t string = nibbles(rows[o], c * from->area, from->area);
            low[o] = (uint32_t)string;
            high[o] = (uint32_t)(string >> 32);
        }
        uint32_t at = 0;
        for (uint32_t row = 0; at < from->area; row += words) {
            for (uint32_t j = 0; j < from->kernel_width; j++, at++) {
                put_words(at < 8 ? low : high, at % 8 * 4, from->outputs,
                          w + (size_t)128 * (row + (j * from->channels + c) / 4));
            }
        }
    }
}

static const esnn_tile_kernel kernel = {OUTPUTS, sum, unpack};

void esnn_avx512_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    if (!esnn_tile_conv2d(x, format, w, 0, a, g, &kernel)) {
        esnn_avx2_conv2d(x, format, w, patch, a, g);
    }
}

void esnn_avx512_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                               const esnn_window *g) {
    if (!esnn_tile_conv2d(x, format, w, 1, a, g, &kernel)) {
        esnn_portable_binary_conv2d(x, format, w, patch, a, g);
    }
}

#endif
