/* Which kernels this processor runs. */
#include "esnn_x86.h"

#if ESNN_X86

enum { ESNN_LEVEL_PORTABLE, ESNN_LEVEL_AVX2, ESNN_LEVEL_AVX512 };

/* A look at words that the C library filled at start-up. */
static int level(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
        return ESNN_LEVEL_AVX512;
    }
    return __builtin_cpu_supports("avx2") ? ESNN_LEVEL_AVX2 : ESNN_LEVEL_PORTABLE;
}

#define CHOOSE(kernel, ...)                                                                                            \
    switch (level()) {                                                                                                 \
    case ESNN_LEVEL_AVX512:                                                                                            \
        esnn_avx512_##kernel(__VA_ARGS__);                                                                             \
        break;                                                                                                         \
    case ESNN_LEVEL_AVX2:                                                                                              \
        esnn_avx2_##kernel(__VA_ARGS__);                                                                               \
        break;                                                                                                         \
    default:                                                                                                           \
        esnn_portable_##kernel(__VA_ARGS__);                                                                           \
        break;                                                                                                         \
    }

void esnn_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                 uint32_t outputs) {
    CHOOSE(linear, x, format, w, patch, a, inputs, outputs)
}

void esnn_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    CHOOSE(binary_linear, x, format, w, patch, a, inputs, outputs)
}

void esnn_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, const esnn_window *g) {
    CHOOSE(conv2d, x, format, w, patch, a, g)
}

void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    CHOOSE(binary_conv2d, x, format, w, patch, a, g)
}

void esnn_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    CHOOSE(packed_linear, x, format, w, bits, patch, a, inputs, outputs)
}

void esnn_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        const esnn_grouped_window *g) {
    CHOOSE(packed_conv2d, x, format, w, bits, patch, a, g)
}

void esnn_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, const esnn_window *g) {
    CHOOSE(event_conv2d, x, w, scratch, a, g)
}

void esnn_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                              const esnn_window *g) {
    CHOOSE(event_packed_conv2d, x, w, bits, scratch, a, g)
}

void esnn_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current, uint32_t outputs,
                  uint32_t pixels, uint32_t shift, uint32_t lift) {
    CHOOSE(rescale, a, multiplier, bias, current, outputs, pixels, shift, lift)
}

void esnn_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta, uint32_t k,
               uint32_t bits) {
    CHOOSE(empf, v, current, s, n, lam, theta, k, bits)
}

void esnn_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k, uint32_t bits) {
    CHOOSE(parallel_empf, current, s, n, theta, k, bits)
}

void esnn_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta) {
    CHOOSE(lif, v, current, s, n, lam, theta)
}

#endif
