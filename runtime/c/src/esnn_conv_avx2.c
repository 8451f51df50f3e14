/* Convolutions for AVX2, but those with int8 weights on other inputs than spikes: VPMADDUBSW multiplies inputs by
 * weights and adds pairs to 16 bits. */
#include "esnn_memory.h"
#include "esnn_tile_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { PIXELS = 4, SHARE = 16 }; /* from one spike in so many on, this is faster than adding up rows */

/* The 16-bit sums of `words` words of a kernel row, two a sum, are added to 32-bit ones. */
static ESNN_INLINE ESNN_AVX2 void add_words(const uint8_t *x, size_t pixel_bytes, const int8_t *w, uint32_t words,
                                            __m256i total[PIXELS][2]) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[PIXELS][2];
    _Pragma("GCC unroll 4") for (uint32_t p = 0; p < PIXELS; p++) {
        sum[p][0] = sum[p][1] = _mm256_setzero_si256();
    }
    for (uint32_t i = 0; i < words; i++, x += 4, w += 64) {
        const __m256i w0 = _mm256_loadu_si256((const void *)w), w1 = _mm256_loadu_si256((const void *)(w + 32));
        _Pragma("GCC unroll 4") for (uint32_t p = 0; p < PIXELS; p++) {
            int32_t word;
            memcpy(&word, x + p * pixel_bytes, 4);
            const __m256i inputs = _mm256_set1_epi32(word);
            sum[p][0] = _mm256_add_epi16(sum[p][0], _mm256_maddubs_epi16(inputs, w0));
            sum[p][1] = _mm256_add_epi16(sum[p][1], _mm256_maddubs_epi16(inputs, w1));
        }
    }
    _Pragma("GCC unroll 4") for (uint32_t p = 0; p < PIXELS; p++) {
        total[p][0] = _mm256_add_epi32(total[p][0], _mm256_madd_epi16(sum[p][0], ones));
        total[p][1] = _mm256_add_epi32(total[p][1], _mm256_madd_epi16(sum[p][1], ones));
    }
}

static ESNN_INLINE ESNN_AVX2 void transpose4(__m256i sum[PIXELS][2], uint32_t half, int32_t *to, size_t stride) {
    const __m256i low01 = _mm256_unpacklo_epi32(sum[0][half], sum[1][half]);
    const __m256i high01 = _mm256_unpackhi_epi32(sum[0][half], sum[1][half]);
    const __m256i low23 = _mm256_unpacklo_epi32(sum[2][half], sum[3][half]);
    const __m256i high23 = _mm256_unpackhi_epi32(sum[2][half], sum[3][half]);
    /* lane l of by[q] holds output 4l + q of four pixels */
    const __m256i by[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                           _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
    for (uint32_t q = 0; q < 4; q++) {
        int32_t *at = to + (8 * half + q) * stride;
        _mm_storeu_si128((void *)at, _mm256_castsi256_si128(by[q]));
        _mm_storeu_si128((void *)(at + 4 * stride), _mm256_extracti128_si256(by[q], 1));
    }
}

static ESNN_AVX2 void sum4(const esnn_tile_job *job, const uint8_t *x, int32_t *to) {
    __m256i total[PIXELS][2];
    const int8_t *w = job->w;
    for (uint32_t p = 0; p < PIXELS; p++) {
        total[p][0] = total[p][1] = _mm256_setzero_si256();
    }
    for (uint32_t row = 0; row < job->rows; row++, x += job->row_bytes) {
        for (uint32_t i = 0; i < job->words; i += job->most) {
            const uint32_t rest = job->words - i, n = rest < job->most ? rest : job->most;
            add_words(x + 4 * (size_t)i, job->pixel_bytes, w, n, total);
            w += 64 * (size_t)n;
        }
    }
    transpose4(total, 0, to, job->stride);
    transpose4(total, 1, to, job->stride);
}

/* Of 6 pixels, the third and the fourth are computed twice. */
static void sum(const esnn_tile_job *job, uint32_t pixels) {
    sum4(job, job->x, job->sum);
    if (pixels > PIXELS) {
        const uint32_t p = pixels - PIXELS;
        sum4(job, job->x + p * job->pixel_bytes, job->sum + p);
    }
}

static const esnn_tile_kernel kernel = {16, sum, NULL};

void esnn_avx2_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                             const esnn_window *g) {
    const esnn_tile_weights weights = {w, 1, 0};
    if (!esnn_tile_conv2d(x, format, &weights, a, g, &kernel)) {
        esnn_portable_binary_conv2d(x, format, w, patch, a, g);
    }
}

void esnn_avx2_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                             int32_t *a, const esnn_grouped_window *g) {
    const esnn_tile_weights weights = {w, bits, 0};
    if (!esnn_tile_packed_conv2d(x, format, &weights, a, g, &kernel)) {
        esnn_portable_packed_conv2d(x, format, w, bits, patch, a, g);
    }
}

void esnn_avx2_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, const esnn_window *g) {
    const esnn_tile_weights weights = {w, 8, 1};
    if (!esnn_tile_event_conv2d(x, &weights, a, g, &kernel, SHARE)) {
        esnn_portable_event_conv2d(x, w, scratch, a, g);
    }
}

void esnn_avx2_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                                   const esnn_window *g) {
    const esnn_tile_weights weights = {w, bits, 1};
    if (!esnn_tile_event_conv2d(x, &weights, a, g, &kernel, SHARE)) {
        esnn_portable_event_packed_conv2d(x, w, bits, scratch, a, g);
    }
}

#endif
