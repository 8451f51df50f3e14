/* Linear synapses for AVX-512 with VNNI. 1-bit weights are read as masks: 64 of them choose the inputs that VPDPBUSD
 * adds up. With S the sum of the chosen inputs and B that of all:  sum of w*x = 2S - B. */
#include "esnn_memory.h"
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { LANES = 64, ROWS = 4 };

/* n inputs, 1 to 64 of them, with zeros after them. */
static ESNN_INLINE ESNN_AVX512 __m512i load(const uint8_t *x, uint32_t n) {
    return n < LANES ? _mm512_maskz_loadu_epi8(((__mmask64)1 << n) - 1, x) : _mm512_loadu_si512(x);
}

/* sum + the inputs, uint8_t or int8_t. */
static ESNN_INLINE ESNN_AVX512 __m512i add_inputs(__m512i sum, __m512i x, int is_signed) {
    const __m512i ones = _mm512_set1_epi8(1);
    return is_signed ? _mm512_dpbusd_epi32(sum, ones, x) : _mm512_dpbusd_epi32(sum, x, ones);
}

/* The sums of the elements of four vectors. */
static ESNN_INLINE ESNN_AVX512 __m128i reduce4(const __m512i v[ROWS]) {
    __m128i part[ROWS];
    _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
        const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v[r]), _mm512_extracti64x4_epi64(v[r], 1));
        part[r] = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    }
    return _mm_hadd_epi32(_mm_hadd_epi32(part[0], part[1]), _mm_hadd_epi32(part[2], part[3]));
}

/* Four rows; `row_bytes` is 0 for four times the same. */
static ESNN_INLINE ESNN_AVX512 __m128i binary4(const uint8_t *x, const uint8_t *w, size_t row_bytes, uint32_t inputs,
                                               int is_signed) {
    __m512i sum[ROWS] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                         _mm512_setzero_si512()};
    __mmask64 bits[ROWS];
    uint32_t i = 0;
    for (; i + LANES <= inputs; i += LANES) {
        const __m512i vector = _mm512_loadu_si512(x + i);
        _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
            memcpy(&bits[r], w + r * row_bytes + i / 8, 8);
            sum[r] = add_inputs(sum[r], _mm512_maskz_mov_epi8(bits[r], vector), is_signed);
        }
    }
    if (i < inputs) {
        const __m512i vector = load(x + i, inputs - i);
        _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
            bits[r] = 0;
            memcpy(&bits[r], w + r * row_bytes + i / 8, (inputs - i + 7) / 8);
            sum[r] = add_inputs(sum[r], _mm512_maskz_mov_epi8(bits[r], vector), is_signed);
        }
    }
    return reduce4(sum);
}

static ESNN_INLINE ESNN_AVX512 void binary_linear(const uint8_t *x, const uint8_t *w, int32_t *a, uint32_t inputs,
                                                  uint32_t outputs, int is_signed) {
    const size_t row_bytes = (inputs + 7) / 8;
    __m512i all = _mm512_setzero_si512();
    for (uint32_t i = 0; i < inputs; i += LANES) {
        all = add_inputs(all, load(x + i, inputs - i), is_signed);
    }
    const __m128i b = _mm_set1_epi32(_mm512_reduce_add_epi32(all));
    uint32_t o = 0;
    for (; o + ROWS <= outputs; o += ROWS, w += ROWS * row_bytes) {
        const __m128i s = binary4(x, w, row_bytes, inputs, is_signed);
        _mm_storeu_si128((void *)(a + o), _mm_sub_epi32(_mm_add_epi32(s, s), b));
    }
    for (; o < outputs; o++, w += row_bytes) {
        const __m128i s = binary4(x, w, 0, inputs, is_signed);
        a[o] = _mm_cvtsi128_si32(_mm_sub_epi32(_mm_add_epi32(s, s), b));
    }
}

ESNN_AVX512 void esnn_avx512_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch,
                                           int32_t *a, uint32_t inputs, uint32_t outputs) {
    (void)patch;
    if (format == ESNN_U8) {
        binary_linear(x, w, a, inputs, outputs, 0);
    } else {
        binary_linear(x, w, a, inputs, outputs, 1);
    }
}

/* Four rows of int8_t weights. int8_t inputs are taken as x + 128, and 128 * sum of w is taken off. */
static ESNN_INLINE ESNN_AVX512 __m128i int4(const uint8_t *x, const int8_t *w, size_t stride, uint32_t inputs,
                                            int is_signed) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512i sum[ROWS], too_much[ROWS];
    _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
        sum[r] = too_much[r] = _mm512_setzero_si512();
    }
    for (uint32_t i = 0; i < inputs; i += LANES) {
        __m512i vector = load(x + i, inputs - i);
        vector = is_signed ? _mm512_xor_si512(vector, flip) : vector;
        _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
            const __m512i weights = load((const uint8_t *)w + r * stride + i, inputs - i);
            sum[r] = _mm512_dpbusd_epi32(sum[r], vector, weights);
            too_much[r] = is_signed ? _mm512_dpbusd_epi32(too_much[r], flip, weights) : too_much[r];
        }
    }
    return is_signed ? _mm_sub_epi32(reduce4(sum), reduce4(too_much)) : reduce4(sum);
}

static ESNN_INLINE ESNN_AVX512 void linear(const uint8_t *x, const int8_t *w, int32_t *a, uint32_t inputs,
                                           uint32_t outputs, int is_signed) {
    uint32_t o = 0;
    for (; o + ROWS <= outputs; o += ROWS, w += (size_t)ROWS * inputs) {
        _mm_storeu_si128((void *)(a + o), int4(x, w, inputs, inputs, is_signed));
    }
    for (; o < outputs; o++, w += inputs) {
        a[o] = _mm_cvtsi128_si32(int4(x, w, 0, inputs, is_signed));
    }
}

ESNN_AVX512 void esnn_avx512_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                                    uint32_t inputs, uint32_t outputs) {
    (void)patch;
    if (format == ESNN_U8) {
        linear(x, w, a, inputs, outputs, 0);
    } else {
        linear(x, w, a, inputs, outputs, 1);
    }
}

#endif
