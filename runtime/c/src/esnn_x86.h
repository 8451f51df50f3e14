/* The kernels for vectors of x86-64, chosen at run time: esnn_x86.c. Each is compiled for its own instructions,
 * whatever the rest is compiled for.
 *
 *   portable  any x86-64
 *   avx2      AVX2
 *   avx512    AVX-512 F, BW, VL and VNNI
 */
#ifndef ESNN_X86_H
#define ESNN_X86_H

#include "esnn_kernels.h"

#if ESNN_X86

/* In the files of the portable kernels: the names that they have on x86-64. */
#ifdef ESNN_NAMED_PORTABLE
#define esnn_linear esnn_portable_linear
#define esnn_binary_linear esnn_portable_binary_linear
#define esnn_conv2d esnn_portable_conv2d
#define esnn_binary_conv2d esnn_portable_binary_conv2d
#define esnn_packed_linear esnn_portable_packed_linear
#define esnn_packed_conv2d esnn_portable_packed_conv2d
#define esnn_event_conv2d esnn_portable_event_conv2d
#define esnn_event_packed_conv2d esnn_portable_event_packed_conv2d
#define esnn_rescale esnn_portable_rescale
#define esnn_empf esnn_portable_empf
#define esnn_parallel_empf esnn_portable_parallel_empf
#define esnn_lif esnn_portable_lif
#endif

#define ESNN_AVX2 __attribute__((target("avx2")))
#define ESNN_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

void esnn_portable_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                          uint32_t inputs, uint32_t outputs);
void esnn_portable_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                                 uint32_t inputs, uint32_t outputs);
void esnn_portable_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                          const esnn_window *g);
void esnn_portable_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                                 const esnn_window *g);
void esnn_portable_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                                 int32_t *a, uint32_t inputs, uint32_t outputs);
void esnn_portable_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                                 int32_t *a, const esnn_grouped_window *g);
void esnn_portable_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a,
                                const esnn_window *g);
void esnn_portable_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch,
                                       int32_t *a, const esnn_window *g);
void esnn_portable_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current,
                           uint32_t outputs, uint32_t pixels, uint32_t shift, uint32_t lift);
void esnn_portable_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta,
                        uint32_t k, uint32_t bits);
void esnn_portable_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k,
                                 uint32_t bits);
void esnn_portable_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta);

void esnn_avx2_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                      uint32_t outputs);
void esnn_avx2_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                             uint32_t inputs, uint32_t outputs);
void esnn_avx2_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                      const esnn_window *g);
void esnn_avx2_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                             const esnn_window *g);
void esnn_avx2_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                             int32_t *a, uint32_t inputs, uint32_t outputs);
void esnn_avx2_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                             int32_t *a, const esnn_grouped_window *g);
void esnn_avx2_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, const esnn_window *g);
void esnn_avx2_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                                   const esnn_window *g);
void esnn_avx2_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current,
                       uint32_t outputs, uint32_t pixels, uint32_t shift, uint32_t lift);
void esnn_avx2_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta, uint32_t k,
                    uint32_t bits);
void esnn_avx2_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k, uint32_t bits);
void esnn_avx2_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta);

void esnn_avx512_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                        uint32_t outputs);
void esnn_avx512_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                               uint32_t inputs, uint32_t outputs);
void esnn_avx512_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g);
void esnn_avx512_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                               const esnn_window *g);
void esnn_avx512_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                               int32_t *a, uint32_t inputs, uint32_t outputs);
void esnn_avx512_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch,
                               int32_t *a, const esnn_grouped_window *g);
void esnn_avx512_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, const esnn_window *g);
void esnn_avx512_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                                     const esnn_window *g);
void esnn_avx512_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current,
                         uint32_t outputs, uint32_t pixels, uint32_t shift, uint32_t lift);
void esnn_avx512_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta,
                      uint32_t k, uint32_t bits);
void esnn_avx512_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k,
                               uint32_t bits);
void esnn_avx512_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta);

#endif
#endif
