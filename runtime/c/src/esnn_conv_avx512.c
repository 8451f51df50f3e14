/* Convolutions for AVX-512 with VNNI: VPDPBUSD multiplies four inputs by four weights of sixteen outputs and adds up.
 */
#include "esnn_memory.h"
#include "esnn_tile_x86.h"

#if ESNN_X86
#include <immintrin.h>

/* lane l of by[q] = output 4l + q of four pixels. */
static ESNN_INLINE ESNN_AVX512 void transpose4(__m512i sum[][2], uint32_t half, __m512i by[4]) {
    const __m512i low01 = _mm512_unpacklo_epi32(sum[0][half], sum[1][half]);
    const __m512i high01 = _mm512_unpackhi_epi32(sum[0][half], sum[1][half]);
    const __m512i low23 = _mm512_unpacklo_epi32(sum[2][half], sum[3][half]);
    const __m512i high23 = _mm512_unpackhi_epi32(sum[2][half], sum[3][half]);
    by[0] = _mm512_unpacklo_epi64(low01, low23);
    by[1] = _mm512_unpackhi_epi64(low01, low23);
    by[2] = _mm512_unpacklo_epi64(high01, high23);
    by[3] = _mm512_unpackhi_epi64(high01, high23);
}

/* Four pixels of 16 outputs. */
static ESNN_INLINE ESNN_AVX512 void put4(__m512i sum[][2], uint32_t half, int32_t *to, size_t stride) {
    __m512i by[4];
    transpose4(sum, half, by);
    _Pragma("GCC unroll 4") for (uint32_t q = 0; q < 4; q++) {
        int32_t *at = to + (16 * half + q) * stride;
        _mm_storeu_si128((void *)at, _mm512_castsi512_si128(by[q]));
        _mm_storeu_si128((void *)(at + 4 * stride), _mm512_extracti32x4_epi32(by[q], 1));
        _mm_storeu_si128((void *)(at + 8 * stride), _mm512_extracti32x4_epi32(by[q], 2));
        _mm_storeu_si128((void *)(at + 12 * stride), _mm512_extracti32x4_epi32(by[q], 3));
    }
}

/* `n` is 8, or 6: then the other two pixels are not written. */
static ESNN_INLINE ESNN_AVX512 void put_pixels(int32_t *to, __m256i sums, const uint32_t n) {
    if (n == 8) {
        _mm256_storeu_si256((void *)to, sums);
    } else {
        _mm_storeu_si128((void *)to, _mm256_castsi256_si128(sums));
        _mm_storel_epi64((void *)(to + 4), _mm256_extracti128_si256(sums, 1));
    }
}

/* Six or eight pixels of 16 outputs. */
static ESNN_INLINE ESNN_AVX512 void put8(__m512i sum[][2], uint32_t half, int32_t *to, size_t stride,
                                         const uint32_t n) {
    const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13),
                  odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    __m512i left[4], right[4];
    transpose4(sum, half, left);
    transpose4(sum + 4, half, right);
    _Pragma("GCC unroll 4") for (uint32_t q = 0; q < 4; q++) {
        int32_t *at = to + (16 * half + q) * stride;
        const __m512i outer = _mm512_permutex2var_epi64(left[q], even, right[q]); /* lanes 0 and 2 */
        const __m512i inner = _mm512_permutex2var_epi64(left[q], odd, right[q]);
        put_pixels(at, _mm512_castsi512_si256(outer), n);
        put_pixels(at + 4 * stride, _mm512_castsi512_si256(inner), n);
        put_pixels(at + 8 * stride, _mm512_extracti64x4_epi64(outer, 1), n);
        put_pixels(at + 12 * stride, _mm512_extracti64x4_epi64(inner, 1), n);
    }
}

enum { SHARE = 32 };                    /* from one spike in so many on, this is faster than adding up rows */
enum { OUTPUTS = 32, ROW_BYTES = 160 }; /* at most 1152 weights of a row are unpacked, and eight bytes read at a time */

/* As _mm512_dpbusd_epi32, in place: left to choose, gcc copies each sum to another register and back. */
static ESNN_INLINE ESNN_AVX512 void add_products(__m512i *sum, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(w));
}

/* `pixels` is a constant where this is inlined, so that all sums are in registers. Four words a turn, as the end of a
 * short loop is guessed right. */
static ESNN_INLINE ESNN_AVX512 void sum_pixels(const esnn_tile_job *job, const uint32_t pixels) {
    __m512i sum[ESNN_TILE_PIXELS][2];
    const int8_t *w = job->w;
    _Pragma("GCC unroll 8") for (uint32_t p = 0; p < pixels; p++) {
        sum[p][0] = sum[p][1] = _mm512_setzero_si512();
    }
    for (uint32_t row = 0; row < job->rows; row++) {
        const uint8_t *x = job->x + row * job->row_bytes;
        _Pragma("GCC unroll 4") for (uint32_t i = 0; i < job->words; i++, x += 4, w += 128) {
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
    if (pixels == 4) {
        put4(sum, 0, job->sum, job->stride);
        put4(sum, 1, job->sum, job->stride);
        return;
    }
    if (pixels == 6) {
        sum[6][0] = sum[6][1] = sum[7][0] = sum[7][1] = _mm512_setzero_si512();
    }
    put8(sum, 0, job->sum, job->stride, pixels);
    put8(sum, 1, job->sum, job->stride, pixels);
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

/* 64 bits of the rows of weights of eight outputs. */
static ESNN_INLINE ESNN_AVX512 __m512i load_strings(uint8_t rows[][ROW_BYTES], uint32_t byte) {
    __m128i two[4];
    _Pragma("GCC unroll 4") for (uint32_t i = 0; i < 4; i++) {
        const void *even = rows[2 * i] + byte, *odd = rows[2 * i + 1] + byte;
        two[i] = _mm_unpacklo_epi64(_mm_loadl_epi64(even), _mm_loadl_epi64(odd));
    }
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(two[0]), two[1], 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(two[2]), two[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Where in the 64 bits of an output the weights of four channels are, for two kernel positions: of eight bytes, the
 * byte and the bit that each is from. Channel q at position i is bit q*area + i. */
typedef struct {
    __m512i byte, bit;
} place;

static ESNN_AVX512 void find_places(place *to, uint32_t area) {
    for (uint32_t at = 0; at < area; at += 2, to++) {
        uint64_t byte = 0, bit = 0;
        for (uint32_t n = 0; n < 8; n++) {
            const uint32_t from = n % 4 * area + at + n / 4;
            byte |= (uint64_t)(from / 8) << 8 * n;
            bit |= (uint64_t)1 << (8 * n + from % 8);
        }
        to->byte = _mm512_add_epi64(_mm512_set1_epi64((int64_t)byte), /* a shuffle counts from every 16th byte */
                                    _mm512_maskz_set1_epi64(0xaa, 0x0808080808080808));
        to->bit = _mm512_set1_epi64((int64_t)bit);
    }
}

/* +1 where the bit of a place is set, else -1: eight outputs of two positions of four channels. */
static ESNN_INLINE ESNN_AVX512 __m512i signs(__m512i strings, const place *of) {
    const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(strings, of->byte), of->bit);
    return _mm512_mask_blend_epi8(set, _mm512_set1_epi8(-1), _mm512_set1_epi8(1));
}

/* 16 outputs of one position each, from those of two: the even words of both, or the odd ones. */
static ESNN_INLINE ESNN_AVX512 void put_position(int8_t *to, const __m512i words[4], __m512i which) {
    _mm512_store_si512(to, _mm512_permutex2var_epi32(words[0], which, words[1]));
    _mm512_store_si512(to + 64, _mm512_permutex2var_epi32(words[2], which, words[3]));
}

/* Four channels of 32 outputs; `step` is from position to position. */
static ESNN_INLINE ESNN_AVX512 void put_channels(const __m512i strings[4], const place *places, uint32_t area,
                                                 int8_t *to, size_t step) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for (uint32_t at = 0; at < area; at += 2, places++, to += 2 * step) {
        const __m512i words[4] = {signs(strings[0], places), signs(strings[1], places), signs(strings[2], places),
                                  signs(strings[3], places)};
        put_position(to, words, even);
        if (at + 1 < area) {
            put_position(to + step, words, odd);
        }
    }
}

static ESNN_AVX512 void unpack(const esnn_tile_bits *from, int8_t *w) {
    const uint32_t bytes = (from->channels * from->area + 7) / 8;
    uint8_t rows[OUTPUTS][ROW_BYTES];
    place places[ESNN_TILE_AREA / 2];
    for (uint32_t o = 0; o < OUTPUTS; o++) {
        if (o < from->outputs) {
            memcpy(rows[o], from->bits + o * from->row_bytes, bytes);
        } else {
            memset(rows[o], 0, bytes);
        }
    }
    find_places(places, from->area);
    for (uint32_t c = 0; c < from->channels; c += 4, w += 128) {
        const uint32_t bit = c * from->area;
        const __m128i by = _mm_cvtsi32_si128((int)(bit % 8));
        __m512i strings[4];
        _Pragma("GCC unroll 4") for (uint32_t i = 0; i < 4; i++) {
            strings[i] = _mm512_srl_epi64(load_strings(rows + 8 * i, bit / 8), by);
        }
        put_channels(strings, places, from->area, w, (size_t)32 * from->channels);
    }
}

static const esnn_tile_kernel kernel = {OUTPUTS, sum, unpack};

void esnn_avx512_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    const esnn_tile_weights weights = {w, 8, 0};
    if (!esnn_tile_conv2d(x, format, &weights, a, g, &kernel)) {
        esnn_avx2_conv2d(x, format, w, patch, a, g);
    }
}

void esnn_avx512_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                               const esnn_window *g) {
    const esnn_tile_weights weights = {w, 1, 0};
    if (!esnn_tile_conv2d(x, format, &weights, a, g, &kernel)) {
        esnn_portable_binary_conv2d(x, format, w, patch, a, g);
    }
}

void esnn_avx512_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                               int32_t *a, const esnn_grouped_window *g) {
    const esnn_tile_weights weights = {w, bits, 0};
    if (!esnn_tile_packed_conv2d(x, format, &weights, a, g, &kernel)) {
        esnn_portable_packed_conv2d(x, format, w, bits, patch, a, g);
    }
}

void esnn_avx512_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a,
                              const esnn_window *g) {
    const esnn_tile_weights weights = {w, 8, 1};
    if (!esnn_tile_event_conv2d(x, &weights, a, g, &kernel, SHARE)) {
        esnn_portable_event_conv2d(x, w, scratch, a, g);
    }
}

void esnn_avx512_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                                     const esnn_window *g) {
    const esnn_tile_weights weights = {w, bits, 1};
    if (!esnn_tile_event_conv2d(x, &weights, a, g, &kernel, SHARE)) {
        esnn_portable_event_packed_conv2d(x, w, bits, scratch, a, g);
    }
}

#endif
