/* Synapses with int8 weights for AVX2: VPMADDWD multiplies widened inputs and weights and adds up pairs. */
#include "esnn_patch.h"
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { LANES = 16, ROWS = 4 };

/* a[0..4) = four rows of weights, `stride` apart, times the patch. */
static ESNN_AVX2 __m128i dot4(const int16_t *patch, const int8_t *w, size_t stride, uint32_t fan_in) {
    const uint32_t whole = fan_in / LANES * LANES;
    __m256i sum[ROWS];
    int32_t rest[ROWS] = {0};
    _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
        sum[r] = _mm256_setzero_si256();
    }
    for (uint32_t i = 0; i < whole; i += LANES) {
        const __m256i x = _mm256_loadu_si256((const void *)(patch + i));
        _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
            const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + r * stride + i)));
            sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(x, weights));
        }
    }
    for (uint32_t i = whole; i < fan_in; i++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            rest[r] += patch[i] * w[r * stride + i];
        }
    }
    const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
    const __m128i vectors = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    return _mm_add_epi32(vectors, _mm_loadu_si128((const void *)rest));
}

/* a[o*stride] = W[o] . patch for all o. */
static ESNN_AVX2 void dot(const int16_t *patch, const int8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                          size_t stride) {
    int32_t sum[ROWS];
    for (; outputs >= ROWS; outputs -= ROWS, w += (size_t)ROWS * fan_in) {
        _mm_storeu_si128((void *)sum, dot4(patch, w, fan_in, fan_in));
        for (uint32_t r = 0; r < ROWS; r++, a += stride) {
            *a = sum[r];
        }
    }
    for (; outputs > 0; outputs--, w += fan_in, a += stride) {
        *a = _mm_cvtsi128_si32(dot4(patch, w, 0, fan_in)); /* four times the same */
    }
}

void esnn_avx2_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                      uint32_t outputs) {
    esnn_patch_row(x, format, patch, inputs);
    dot(patch, w, a, inputs, outputs, 1);
}

void esnn_avx2_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                      const esnn_window *g) {
    const uint32_t pixels = g->out_height * g->out_width, fan_in = g->channels * g->kernel_height * g->kernel_width;
    for (uint32_t p = 0; p < pixels; p++) {
        esnn_patch_window(x, format, patch, g, p / g->out_width, p % g->out_width);
        dot(patch, w, a + p, fan_in, g->out_channels, pixels);
    }
}

#endif
