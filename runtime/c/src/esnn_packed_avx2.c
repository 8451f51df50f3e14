/* Linear synapses with weights of 2 and 4 bits for AVX2, stored as in esnn_packed.c.
 *
 * As in esnn_packed_avx512.c, eight inputs at a time: VPMADDUBSW multiplies and adds up pairs of products in 16 bits,
 * which have room for CHUNK turns.
 */
#include "esnn_memory.h"
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { INPUTS = 8, OUTPUTS = 16, SUMS = 4 }; /* of a turn */
#define CHUNK(bits) ((bits) == 4 ? 4u : 20u) /* 4*2*255*15 and 20*2*255*3 are below 2^15 */

/* Eight inputs, each word of four repeated in its 128 bits. */
static ESNN_INLINE ESNN_AVX2 __m256i load_inputs(const uint8_t *x) {
    const __m256i four_times = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_loadl_epi64((const void *)x)), four_times);
}

/* The words of eight inputs, with the same byte of those of four beside each other. */
static ESNN_INLINE ESNN_AVX2 __m256i load_words(const uint32_t *w) {
    const __m128i by_byte = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)w), _mm256_broadcastsi128_si256(by_byte));
}

/* sum + the products of inputs and fields in pairs; fields are below 128, so that either may be the unsigned one. */
static ESNN_INLINE ESNN_AVX2 __m256i add(__m256i sum, __m256i x, __m256i fields, int is_signed) {
    return _mm256_add_epi16(sum, is_signed ? _mm256_maddubs_epi16(fields, x) : _mm256_maddubs_epi16(x, fields));
}

/* A turn: of 4 bits the words are those of two blocks. */
static ESNN_INLINE ESNN_AVX2 void add8(__m256i sum[SUMS], const uint8_t *x, const uint32_t *w, const uint32_t *next,
                                       uint32_t bits, int is_signed) {
    const __m256i mask = _mm256_set1_epi8(bits == 4 ? 15 : 3), values = load_inputs(x), words = load_words(w);
    if (bits == 4) {
        const __m256i others = load_words(next);
        sum[0] = add(sum[0], values, _mm256_and_si256(words, mask), is_signed);
        sum[1] = add(sum[1], values, _mm256_and_si256(_mm256_srli_epi16(words, 4), mask), is_signed);
        sum[2] = add(sum[2], values, _mm256_and_si256(others, mask), is_signed);
        sum[3] = add(sum[3], values, _mm256_and_si256(_mm256_srli_epi16(others, 4), mask), is_signed);
    } else {
        sum[0] = add(sum[0], values, _mm256_and_si256(words, mask), is_signed);
        sum[1] = add(sum[1], values, _mm256_and_si256(_mm256_srli_epi16(words, 2), mask), is_signed);
        sum[2] = add(sum[2], values, _mm256_and_si256(_mm256_srli_epi16(words, 4), mask), is_signed);
        sum[3] = add(sum[3], values, _mm256_and_si256(_mm256_srli_epi16(words, 6), mask), is_signed);
    }
}

/* total + the sums in pairs, which begin anew. */
static ESNN_INLINE ESNN_AVX2 void move_sums(__m256i total[SUMS], __m256i sum[SUMS]) {
    _Pragma("GCC unroll 4") for (uint32_t k = 0; k < SUMS; k++) {
        total[k] = _mm256_add_epi32(total[k], _mm256_madd_epi16(sum[k], _mm256_set1_epi16(1)));
        sum[k] = _mm256_setzero_si256();
    }
}

/* to[0..16) = sums by output, of field k of byte b in words b of total[k]; of 4 bits there are two blocks, with two
 * sums each. */
static ESNN_INLINE ESNN_AVX2 void put_sums(const __m256i total[SUMS], uint32_t bits, __m128i excess, int32_t *to) {
    __m128i s[SUMS];
    _Pragma("GCC unroll 4") for (uint32_t k = 0; k < SUMS; k++) {
        s[k] = _mm_add_epi32(_mm256_castsi256_si128(total[k]), _mm256_extracti128_si256(total[k], 1));
        s[k] = _mm_sub_epi32(s[k], excess);
    }
    const __m128i low01 = _mm_unpacklo_epi32(s[0], s[1]), high01 = _mm_unpackhi_epi32(s[0], s[1]);
    const __m128i low23 = _mm_unpacklo_epi32(s[2], s[3]), high23 = _mm_unpackhi_epi32(s[2], s[3]);
    const __m128i of4[4] = {low01, high01, low23, high23};
    const __m128i of2[4] = {_mm_unpacklo_epi64(low01, low23), _mm_unpackhi_epi64(low01, low23),
                            _mm_unpacklo_epi64(high01, high23), _mm_unpackhi_epi64(high01, high23)};
    _Pragma("GCC unroll 4") for (uint32_t k = 0; k < 4; k++) {
        _mm_storeu_si128((void *)(to + 4 * k), bits == 4 ? of4[k] : of2[k]);
    }
}

/* The sums of sixteen outputs, whose words start at w; `next` are those of the last eight of 4 bits. `bits` and
 * `is_signed` are constants where this is inlined. */
static ESNN_INLINE ESNN_AVX2 void sum16(const uint8_t *x, uint32_t inputs, const uint32_t *w, const uint32_t *next,
                                        uint32_t bits, int is_signed, __m128i excess, int32_t *to) {
    const uint32_t whole = inputs / INPUTS * INPUTS, rest = inputs - whole;
    uint8_t last[INPUTS] = {0};
    uint32_t words[INPUTS] = {0}, others[INPUTS] = {0};
    __m256i total[SUMS], sum[SUMS];
    _Pragma("GCC unroll 4") for (uint32_t k = 0; k < SUMS; k++) {
        total[k] = sum[k] = _mm256_setzero_si256();
    }
    for (uint32_t i = 0; i < whole;) {
        const uint32_t turns = (whole - i) / INPUTS, n = turns < CHUNK(bits) ? turns : CHUNK(bits);
        for (const uint32_t end = i + n * INPUTS; i < end; i += INPUTS) {
            add8(sum, x + i, w + i, next + i, bits, is_signed);
        }
        move_sums(total, sum);
    }
    if (rest > 0) {
        memcpy(last, x + whole, rest);
        memcpy(words, w + whole, 4 * (size_t)rest);
        memcpy(others, next + whole, 4 * (size_t)rest);
        add8(sum, last, words, others, bits, is_signed);
        move_sums(total, sum);
    }
    put_sums(total, bits, excess, to);
}

static ESNN_INLINE ESNN_AVX2 void linear(const uint8_t *x, const uint32_t *w, int32_t *a, uint32_t inputs,
                                         uint32_t outputs, uint32_t bits, int is_signed) {
    int32_t total = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        total += is_signed ? (int8_t)x[i] : x[i];
    }
    const __m128i excess = _mm_set1_epi32(total * (1 << (bits - 1)));
    for (uint32_t o = 0; o < outputs; o += OUTPUTS, w += (size_t)OUTPUTS * bits / 32 * inputs) {
        const uint32_t left = outputs - o;
        const uint32_t *next = bits == 4 && left > OUTPUTS / 2 ? w + inputs : w; /* there may be no other */
        if (left >= OUTPUTS) {
            sum16(x, inputs, w, next, bits, is_signed, excess, a + o);
        } else {
            int32_t all[OUTPUTS];
            sum16(x, inputs, w, next, bits, is_signed, excess, all);
            memcpy(a + o, all, 4 * (size_t)left);
        }
    }
}

ESNN_AVX2 void esnn_avx2_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits,
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
