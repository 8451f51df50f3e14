/* Linear synapses with weights of 2 and 4 bits for AVX-512 with VNNI, stored as in esnn_packed.c.
 *
 * A shuffle brings the same byte of the words of four inputs beside each other; a mask leaves a field of each, which
 * are the weights of four inputs for one output, plus 2^(bits-1). VPDPBUSD multiplies them by these inputs. What was
 * added to the weights is taken off at the end.
 */
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { INPUTS = 16, OUTPUTS = 16, SUMS = 4 }; /* of a turn */

/* The mask of n inputs, of INPUTS at most. */
static __mmask16 first(uint32_t n) {
    return (__mmask16)(n < INPUTS ? (1u << n) - 1 : 0xffffu);
}

/* sum + four inputs times their weights; fields are below 128, so that either factor may be the unsigned one. */
static ESNN_INLINE ESNN_AVX512 __m512i add(__m512i sum, __m512i x, __m512i fields, int is_signed) {
    return is_signed ? _mm512_dpbusd_epi32(sum, fields, x) : _mm512_dpbusd_epi32(sum, x, fields);
}

/* The sums of a word of each 128 bits. */
static ESNN_INLINE ESNN_AVX512 __m128i reduce(__m512i v) {
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* to[0..16) = sums by output, of field k of byte b in word b of sum[k]; of 4 bits there are two blocks, with two sums
 * each. */
static ESNN_INLINE ESNN_AVX512 void order(const __m512i sum[SUMS], uint32_t bits, __m128i to[4]) {
    const __m128i s0 = reduce(sum[0]), s1 = reduce(sum[1]), s2 = reduce(sum[2]), s3 = reduce(sum[3]);
    const __m128i low01 = _mm_unpacklo_epi32(s0, s1), high01 = _mm_unpackhi_epi32(s0, s1);
    const __m128i low23 = _mm_unpacklo_epi32(s2, s3), high23 = _mm_unpackhi_epi32(s2, s3);
    to[0] = bits == 4 ? low01 : _mm_unpacklo_epi64(low01, low23);
    to[1] = bits == 4 ? high01 : _mm_unpackhi_epi64(low01, low23);
    to[2] = bits == 4 ? low23 : _mm_unpacklo_epi64(high01, high23);
    to[3] = bits == 4 ? high23 : _mm_unpackhi_epi64(high01, high23);
}

/* The sums of sixteen outputs, whose words start at w; `next` are those of the last eight of 4 bits. `bits` and
 * `is_signed` are constants where this is inlined. */
static ESNN_INLINE ESNN_AVX512 void sum16(const uint8_t *x, uint32_t inputs, const uint32_t *w, const uint32_t *next,
                                          uint32_t bits, int is_signed, __m128i to[4]) {
    const __m512i by_byte = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i four_times = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i mask = _mm512_set1_epi8(bits == 4 ? 15 : 3);
    __m512i sum[SUMS] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                         _mm512_setzero_si512()};
    for (uint32_t i = 0; i < inputs; i += INPUTS) {
        const __mmask16 here = first(inputs - i);
        const __m512i loaded = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(here, x + i));
        const __m512i values = _mm512_permutexvar_epi32(four_times, loaded);
        const __m512i words = _mm512_shuffle_epi8(_mm512_maskz_loadu_epi32(here, w + i), by_byte);
        if (bits == 4) {
            const __m512i others = _mm512_shuffle_epi8(_mm512_maskz_loadu_epi32(here, next + i), by_byte);
            sum[0] = add(sum[0], values, _mm512_and_si512(words, mask), is_signed);
            sum[1] = add(sum[1], values, _mm512_and_si512(_mm512_srli_epi16(words, 4), mask), is_signed);
            sum[2] = add(sum[2], values, _mm512_and_si512(others, mask), is_signed);
            sum[3] = add(sum[3], values, _mm512_and_si512(_mm512_srli_epi16(others, 4), mask), is_signed);
        } else {
            sum[0] = add(sum[0], values, _mm512_and_si512(words, mask), is_signed);
            sum[1] = add(sum[1], values, _mm512_and_si512(_mm512_srli_epi16(words, 2), mask), is_signed);
            sum[2] = add(sum[2], values, _mm512_and_si512(_mm512_srli_epi16(words, 4), mask), is_signed);
            sum[3] = add(sum[3], values, _mm512_and_si512(_mm512_srli_epi16(words, 6), mask), is_signed);
        }
    }
    order(sum, bits, to);
}

static ESNN_INLINE ESNN_AVX512 void linear(const uint8_t *x, const uint32_t *w, int32_t *a, uint32_t inputs,
                                           uint32_t outputs, uint32_t bits, int is_signed) {
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i all = _mm512_setzero_si512();
    for (uint32_t i = 0; i < inputs; i += INPUTS) {
        all = add(all, _mm512_castsi128_si512(_mm_maskz_loadu_epi8(first(inputs - i), x + i)), ones, is_signed);
    }
    const __m128i excess = _mm_set1_epi32(_mm512_reduce_add_epi32(all) * (1 << (bits - 1)));
    for (uint32_t o = 0; o < outputs; o += OUTPUTS, w += (size_t)OUTPUTS * bits / 32 * inputs) {
        const uint32_t *next = bits == 4 && outputs - o > OUTPUTS / 2 ? w + inputs : w; /* there may be no other */
        const __mmask16 kept = first(outputs - o);
        __m128i sum[4];
        sum16(x, inputs, w, next, bits, is_signed, sum);
        for (uint32_t k = 0; k < 4; k++) {
            _mm_mask_storeu_epi32(a + o + 4 * k, (__mmask8)(kept >> 4 * k), _mm_sub_epi32(sum[k], excess));
        }
    }
}

ESNN_AVX512 void esnn_avx512_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits,
                                           int16_t *patch, int32_t *a, uint32_t inputs, uint32_t outputs) {
    (void)patch;
    if (bits == 4 && format == ESNN_U8) {
        linear(x, w, a, inputs, outputs, 4, 0);
    } else if (bits == 4) {
        linear(x, w, a, inputs, outputs, 4, 1);
    } else if (format == ESNN_U8) {
        linear(x, w, a, inputs, outputs, 2, 0);
    } else {
        linear(x, w, a, inputs, outputs, 2, 1);
    }
}

#endif
