/* Private kernels of the edgesnn C runtime, called by generated code: one node of step.onnx is one call.
 *
 * Shapes: C inputs, O outputs, K classes, H x W pixels (P = H*W); one stream, so the batch dimension is gone.
 * The formulas and value ranges are those of the `edgesnn` ONNX functions; the exporter has proven that no sum
 * overflows. `x` is uint8_t or int8_t, told by `format`. Buffers do not overlap unless a comment allows it.
 */
#ifndef ESNN_KERNELS_H
#define ESNN_KERNELS_H

#include "esnn.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "edgesnn: snapshots are little-endian; a big-endian target is not supported"
#endif

#if defined(__GNUC__)
#define ESNN_NOINLINE __attribute__((noinline))
#define ESNN_INLINE inline __attribute__((always_inline)) /* for a function of constants, a copy for each */
#else
#define ESNN_NOINLINE
#define ESNN_INLINE inline
#endif

/* Before a short or hot loop. Left alone, compilers for small cores unroll it until the registers run out and spill;
 * one turn at a time is the fastest there. */
#if defined(__GNUC__)
#define ESNN_ONE_TURN _Pragma("GCC unroll 1")
#else
#define ESNN_ONE_TURN
#endif

/* Which variant of the kernels is compiled; this is the one place that decides. Every variant gives the integers of the
 * portable one. ESNN_PORTABLE asks for the portable one.
 *   ESNN_DSP  Cortex-M with the DSP extension (M4, M7, M33, M55): esnn_*_dsp.c
 *   ESNN_MVE  the same with Helium (M55): esnn_*_mve.c, where there is one, in place of esnn_*_dsp.c
 *   ESNN_NEON AArch64: esnn_*_neon.c
 *   ESNN_X86  x86-64: esnn_*_avx2.c, esnn_*_avx512.c and the portable one, of which esnn_x86.c chooses at run time
 */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && !defined(ESNN_PORTABLE)
#define ESNN_DSP 1
#else
#define ESNN_DSP 0
#endif
#if ESNN_DSP && defined(__ARM_FEATURE_MVE)
#define ESNN_MVE 1
#else
#define ESNN_MVE 0
#endif

#if defined(__aarch64__) && defined(__ARM_NEON) && !defined(ESNN_PORTABLE)
#define ESNN_NEON 1
#else
#define ESNN_NEON 0
#endif
#if defined(__x86_64__) && defined(__GNUC__) && !defined(ESNN_PORTABLE)
#define ESNN_X86 1
#else
#define ESNN_X86 0
#endif

/* Keeps a compiler from computing a pointer from another one at each use, where it should have a register. */
#if defined(__GNUC__)
#define ESNN_OWN_REGISTER(pointer) __asm__("" : "+r"(pointer))
#else
#define ESNN_OWN_REGISTER(pointer) ((void)(pointer))
#endif

/* Keeps a compiler from loading what comes later before it, for which it would need more registers. */
#if defined(__GNUC__)
#define ESNN_IN_ORDER() __asm__ volatile("" : : : "memory")
#else
#define ESNN_IN_ORDER() ((void)0)
#endif

typedef enum { ESNN_U8, ESNN_S8, ESNN_S32 } esnn_format; /* a synapse takes no ESNN_S32 */

/* A square convolution or pooling window over [channels, height, width]; the output is [O, out_height, out_width]. */
typedef struct {
    uint32_t channels, height, width;
    uint32_t out_channels, out_height, out_width;
    uint32_t kernel_height, kernel_width;
    uint32_t stride_height, stride_width;
    uint32_t padding_top, padding_left; /* zeros around the input */
} esnn_window;

/* The same in groups, the outputs of each of which see its channels alone, with windows of places apart. */
typedef struct {
    esnn_window window;
    uint32_t dilation_height, dilation_width;
    uint32_t groups;
} esnn_grouped_window;

/* Scratch of the synapses, in int16_t: the inputs of one output, widened and padded with zeros. */
#define ESNN_PATCH(fan_in) (((fan_in) + 15u) / 16u * 16u)

/* A binary-weight linear layer of so many outputs uses tables, as filling them pays; they take a scratch of so many
 * int16_t, which is there from ESNN_TABLE_LEAST outputs on. */
#define ESNN_TABLE_LEAST 24u
#define ESNN_TABLE_OUTPUTS (ESNN_DSP ? 96u : ESNN_TABLE_LEAST)
#define ESNN_TABLE_SCRATCH 1024u

/* A binary-weight convolution uses tables where that pays: filling them by outputs times places of a window, a group of
 * eight channels by how many there are, rearranging weights by pixels. They take a scratch of ESNN_TABLE_ENTRIES words
 * and kh*kw*O bytes for each group, four at most; it is there from the smaller of these numbers on
 * (export/c_ops.py). With DSP instructions the alternative is faster. */
#define ESNN_TABLE_CONV_CHANNELS (ESNN_DSP ? 25u : 6u)
#define ESNN_TABLE_CONV_USES (ESNN_DSP ? 288u : 32u) /* times the strides */
#define ESNN_TABLE_CONV_PIXELS (ESNN_DSP ? 128u : 16u)

/* Of a row of windows four at a time: how many columns of the padded input they reach over. */
#define ESNN_BAND_WIDTH(out_width, stride, kernel_width)                                                               \
    (((out_width) + 3u) / 4u * 4u * (stride) - (stride) + (kernel_width))

/* Synapses: exact sums a = W x. `patch` is 4-byte aligned scratch:
 *   esnn_linear         ESNN_PATCH(fan-in) elements
 *   esnn_binary_linear  the same, and at least ESNN_TABLE_SCRATCH from ESNN_TABLE_LEAST outputs on
 *   esnn_conv2d         2*ESNN_PATCH(fan-in)
 *   esnn_binary_conv2d  128 elements for each 32 inputs of the fan-in begun, and (C*kh + 1)*ESNN_BAND_WIDTH bytes: some
 *                       cores gather four pixels from rows of the padded input; at least that of tables */
void esnn_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                 uint32_t outputs);
void esnn_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs);
void esnn_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, const esnn_window *g);
void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g);

/* The same in groups and with dilations; C is the number of channels of a group. w has a row for each output. */
void esnn_grouped_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a,
                         const esnn_grouped_window *g);
void esnn_grouped_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                                const esnn_grouped_window *g);

/* The same with weights of 2 or 4 bits, stored as in esnn_packed.c, with ESNN_MVE as in esnn_packed_mve.c, else with
 * ESNN_DSP as in esnn_packed_dsp.c. `patch` is as for int8 weights; for each group the weights begin anew. */
void esnn_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs);
void esnn_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        const esnn_grouped_window *g);

/* Elements of the record of a row of input pixels, in an event-driven convolution. */
#define ESNN_EVENT_RECORD(channels, width) ((width) * (channels) + ((width) + 1u) * (((channels) + 31u) / 32u))

/* The same for int8 weights on binary spikes x (0 or 1), event-driven: work grows with the spikes that were fired. w is
 * stored for adding, as in esnn_event.h, with C inputs a row, or kh*kw*C in the order [kh, kw, C]; that is 2^15 at
 * most. x is 4-byte aligned, as is `scratch`: C elements; in a convolution kh*kw*C + kh*ESNN_EVENT_RECORD(C, W). */
void esnn_event_linear(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, uint32_t inputs,
                       uint32_t outputs);
void esnn_event_conv2d(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, const esnn_window *g);
/* The same with weights of 2 or 4 bits, stored as in esnn_packed.c with inputs in the order [kh, kw, C], with ESNN_MVE
 * as in esnn_event_packed_mve.c. */
void esnn_event_packed_linear(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                              uint32_t inputs, uint32_t outputs);
void esnn_event_packed_conv2d(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                              const esnn_window *g);

/* y[c,i,j] = max of the window of x, u8 or s8, of which a pixel is inside the image. */
void esnn_maxpool2d(const void *x, esnn_format format, void *y, const esnn_window *g);
/* a[c,i,j] = sum of the window of x, of any format. */
void esnn_sum_pool2d(const void *x, esnn_format format, int32_t *a, const esnn_window *g);
/* y[c,i,j] = clamp((sum*multiplier + 2^(shift-1)) >> shift, 0, 255); 0 <= shift <= 52. */
void esnn_average_pool2d(const uint8_t *x, uint8_t *y, const esnn_window *g, int32_t multiplier, uint32_t shift);
/* y[c,i,j] = x[c,rows[i],columns[j]]; x [C,H,W], of bytes. */
void esnn_upsample2d(const void *x, void *y, uint32_t channels, uint32_t height, uint32_t width, const uint16_t *rows,
                     const uint16_t *columns, uint32_t out_height, uint32_t out_width);

/* current = ((a*M[o] + 2^(shift-1)) >> shift) + b[o]; a and current are [O, P] and may be the same buffer. It takes
 * fewer instructions with lift = 33 - shift, if that is positive and all a*2^lift fit int32; else lift is 0. */
void esnn_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current, uint32_t outputs,
                  uint32_t pixels, uint32_t shift, uint32_t lift);

/* y = clamp(((a*M[o] + 2^(shift-1)) >> shift) + b[o]) to so many bits, u8 or s8; a and y are [O, P]. */
void esnn_requantize(const int32_t *a, const int32_t *multiplier, const int32_t *bias, void *y, uint32_t outputs,
                     uint32_t pixels, uint32_t shift, uint32_t bits, esnn_format format);
/* y = x, u8 or s8, and y = a + b, where y may be a or b; n elements. */
void esnn_widen(const void *x, esnn_format format, int32_t *y, uint32_t n);
void esnn_add(const int32_t *a, const int32_t *b, int32_t *y, uint32_t n);

/* The constants of a channel attention of C channels and P pixels. */
typedef struct {
    const int32_t *kernel; /* [kernel_size], over channels */
    const int32_t *table;  /* [256], scores in Q15 */
    uint32_t channels, pixels, kernel_size;
    int32_t mean; /* factor of sums over pixels, with `mean_shift` */
    uint32_t mean_shift, shift;
} esnn_attention;

/* y = (current*score[c] + 2^14) >> 15, the score from the means of `context` [C, P]; y may be current or context, and
 * these may be one buffer. `means` is scratch of C elements. */
void esnn_channel_attention(const int32_t *current, const int32_t *context, int32_t *means, int32_t *y,
                            const esnn_attention *k);

/* Ring buffer past [depth, C]: x goes to slot *position, which moves on; out [taps, C] = the slots `dilation` apart up
 * to that of x, the oldest first; depth > (taps-1)*dilation. */
void esnn_delay(void *past, const void *x, int32_t *position, void *out, uint32_t depth, uint32_t channels,
                uint32_t taps, uint32_t dilation);

/* Neurons: v, of 24 bits, is updated in place; spikes s; n elements; |theta| < 2^30. */
void esnn_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta, uint32_t k,
               uint32_t bits);
/* The same with a leak of -2^18 to 2^18. */
void esnn_empf_gain(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta, uint32_t k,
                    uint32_t bits);
void esnn_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k, uint32_t bits);
void esnn_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta);
void esnn_lif_drop(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta,
                   int32_t drop); /* |drop| < 2^30 */
void esnn_lif_clear(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta);

/* Leaky readout, in place: acc' = sat24(((leak*acc + 2^14) >> 15) + current). */
void esnn_leaky_integrate(int32_t *acc, const int32_t *current, uint32_t n, int32_t leak);

/* Running mean of spikes, in place: trace' = clamp(((leak*trace + 2^14) >> 15) + s*gain, 0, limit). */
void esnn_trace(int32_t *trace, const uint8_t *s, uint32_t n, int32_t leak, int32_t gain, int32_t limit);

/* The constants of one readout that learns. */
typedef struct {
    const int32_t *multiplier; /* [K], of the readout's Rescale */
    uint32_t classes, inputs;
    uint32_t shift; /* of the readout's Rescale */
    uint32_t weight_shift, bias_shift, seed;
} esnn_readout;

/* One step of softmax regression on the trace, with stochastic rounding: weight [K,C], bias [K] and count [1] are
 * updated in place. `scratch` holds K elements. */
void esnn_learn_readout(int8_t *weight, int32_t *bias, const int32_t *trace, int32_t label, int32_t *count,
                        int32_t *scratch, const esnn_readout *r);

/* Learning in every layer: docs/learning-layers.md. g, s32, is the gradient of the loss in a unit of the exporter's
 * choice. */

/* e [K] = softmax - onehot, Q15, of the logits of the trace; weight_shift, bias_shift and seed are not used. */
void esnn_readout_error(const int8_t *weight, const int32_t *bias, const int32_t *trace, int32_t label, int32_t *e,
                        const esnn_readout *r);
/* back (C,) = W^T g, W (O,C), g (O,); the sum of all |w*g| of one input stays below 2^30. */
void esnn_backward_linear(const int32_t *g, const int8_t *w, int32_t *back, uint32_t outputs, uint32_t inputs);
void esnn_backward_binary_linear(const int32_t *g, const uint8_t *w, int32_t *back, uint32_t outputs, uint32_t inputs);
/* The same through the windows `of` the image back [C,H,W], in groups: g [O,P], W [O,C/groups*kh*kw]. Places are beside
 * each other, or `dilated`. */
void esnn_backward_conv2d(const int32_t *g, const int8_t *w, int32_t *back, const esnn_grouped_window *of);
void esnn_backward_binary_conv2d(const int32_t *g, const uint8_t *w, int32_t *back, const esnn_grouped_window *of);
void esnn_backward_dilated_conv2d(const int32_t *g, const int8_t *w, int32_t *back, const esnn_grouped_window *of);
void esnn_backward_dilated_binary_conv2d(const int32_t *g, const uint8_t *w, int32_t *back,
                                         const esnn_grouped_window *of);
/* g [C,P] to the first of the largest pixels of each window of x [C,H,W], u8 or s8. */
void esnn_backward_maxpool2d(const int32_t *g, const void *x, esnn_format format, int32_t *back, const esnn_window *of);
/* g [C,P] to all pixels of each window of the image back [C,H,W]; their sum at a pixel stays below 2^31. */
void esnn_backward_sum_pool2d(const int32_t *g, int32_t *back, const esnn_window *of);
/* g [C,H',W'] of an image whose place (i, j) got pixel (rows[i], columns[j]) -> back [C,H,W]; their sums stay below
 * 2^31. */
void esnn_backward_upsample2d(const int32_t *g, int32_t *back, uint32_t channels, uint32_t height, uint32_t width,
                              const uint16_t *rows, const uint16_t *columns, uint32_t out_height, uint32_t out_width);
/* to = g where low < y < high, u8 or s8, else 0; may be the same buffer. */
void esnn_clamp_gradient(const int32_t *g, const void *y, esnn_format format, int32_t *to, uint32_t n, int32_t low,
                         int32_t high);
/* Gradient g of attended currents [C,P] -> of the context, through the score; that of the currents is the attention of
 * g. `scratch` holds 2C elements; the sums of g*current over a channel stay below 2^53. */
void esnn_attention_gradient(const int32_t *g, const int32_t *current, const int32_t *context, int32_t *scratch,
                             int32_t *to, const esnn_attention *k, uint32_t sum_shift, uint32_t out_shift);
/* Gradient of n spikes -> of their membranes, which may be the same buffer; v is the membrane after the step. */
void esnn_empf_gradient(const int32_t *g, const int32_t *v, int32_t *to, uint32_t n, int32_t theta, uint32_t k);
/* The same for neurons without a membrane, by their current. */
void esnn_parallel_empf_gradient(const int32_t *g, const int32_t *current, int32_t *to, uint32_t n, int32_t theta,
                                 uint32_t k, uint32_t bits);
void esnn_lif_gradient(const int32_t *g, const int32_t *v, const uint8_t *s, int32_t *to, uint32_t n, int32_t theta,
                       int32_t width, uint32_t shift);
void esnn_lif_drop_gradient(const int32_t *g, const int32_t *v, const uint8_t *s, int32_t *to, uint32_t n,
                            int32_t theta, int32_t drop, int32_t width, uint32_t shift);
/* Of neurons that start again at 0, by the membrane before the step and the current. */
void esnn_lif_clear_gradient(const int32_t *g, const int32_t *v, const int32_t *current, int32_t *to, uint32_t n,
                             int32_t lam, int32_t theta, int32_t width, uint32_t shift);

/* An input that is not 0, and the random number of its column. */
typedef struct {
    uint32_t random;
    uint16_t index;
    int16_t value;
} esnn_active;

/* The constants of descent on one matrix of weights; limit*max|x| + 2^shift <= 2^31. */
typedef struct {
    uint32_t inputs, outputs; /* inputs < 2^16 */
    int32_t limit;            /* steps keep to it */
    uint32_t shift, seed;
} esnn_descent;

/* w -= (step[o]*x[i] + r) >> shift, rounded at random, within +-127; `scratch` holds C elements. 1-bit weights are the
 * signs of their latents. */
void esnn_learn_linear(int8_t *weight, const void *x, esnn_format format, const int32_t *step, int32_t count,
                       esnn_active *scratch, const esnn_descent *d);
void esnn_learn_binary_linear(uint8_t *weight, int8_t *latent, const void *x, esnn_format format, const int32_t *step,
                              int32_t count, esnn_active *scratch, const esnn_descent *d);
/* The same for a convolution over x [C,H,W], u8 or s8, in groups, with step [O,P], of which the steps of all windows
 * are added up. A row of weights has C/groups*kh*kw inputs; `scratch` holds three times as many elements. Places are
 * beside each other, or `dilated`. */
void esnn_learn_conv2d(int8_t *weight, const void *x, esnn_format format, const int32_t *step, int32_t count,
                       uint32_t *scratch, const esnn_descent *d, const esnn_grouped_window *g);
void esnn_learn_binary_conv2d(uint8_t *weight, int8_t *latent, const void *x, esnn_format format, const int32_t *step,
                              int32_t count, uint32_t *scratch, const esnn_descent *d, const esnn_grouped_window *g);
void esnn_learn_dilated_conv2d(int8_t *weight, const void *x, esnn_format format, const int32_t *step, int32_t count,
                               uint32_t *scratch, const esnn_descent *d, const esnn_grouped_window *g);
void esnn_learn_dilated_binary_conv2d(uint8_t *weight, int8_t *latent, const void *x, esnn_format format,
                                      const int32_t *step, int32_t count, uint32_t *scratch, const esnn_descent *d,
                                      const esnn_grouped_window *g);
/* The threshold [1] of a layer of n neurons, by the sum of their gradients, kept to `limit`; or one a channel [C], of n
 * neurons each. */
void esnn_learn_threshold(int32_t *theta, const int32_t *g, uint32_t n, int64_t limit, int32_t multiplier,
                          int32_t count, uint32_t shift, uint32_t seed);
void esnn_learn_thresholds(int32_t *theta, uint32_t channels, const int32_t *g, uint32_t n, int64_t limit,
                           int32_t multiplier, int32_t count, uint32_t shift, uint32_t seed);
/* The bias [K] of the readout; ends the learning step by counting it. */
void esnn_learn_bias(int32_t *bias, const int32_t *e, uint32_t classes, int32_t *count, uint32_t shift, uint32_t seed);

/* The constants of class means that learn: K classes, Q means a class, group g is of class g / Q. */
typedef struct {
    const int8_t *factory_weight; /* [K*Q, C] */
    const int32_t *factory_bias;  /* [K*Q] */
    const int16_t *factory_mean;  /* [K*Q, C] */
    const int16_t *metric;        /* [C, C], symmetric */
    uint32_t classes, means, inputs;
    int32_t multiplier; /* of a score, with `shift`, to 2^-10 nat */
    uint32_t shift, metric_shift;
    int32_t bias_limit;     /* biases keep to it, so that scores fit int32 */
    uint32_t settle, check; /* steps of one label before the first is learned, and before the first is checked */
    uint32_t prior, most;   /* labels that a factory mean counts for; labels of a mean before its past is halved */
} esnn_means;

/* What the guard counts, each [1] and updated in place. */
typedef struct {
    int32_t *last, *run, *seen, *factory_errors, *learned_errors;
} esnn_guard;

/* y [K]: the best score of each class, by the learned means (weight [K*Q, C], bias [K*Q]) if `use`, else the factory's.
 */
void esnn_guarded_means(const int32_t *trace, const int8_t *weight, const int32_t *bias, int32_t use, int32_t *y,
                        const esnn_means *m);
/* Compare both models on a label, before it is learned. */
void esnn_guard_check(const int32_t *trace, const int8_t *weight, const int32_t *bias, int32_t label,
                      const esnn_guard *guard, const esnn_means *m);
/* Add the trace to the nearest mean of its class: sum [K*Q, C], count [K*Q]. `scratch` holds C elements, 4-byte
 * aligned. */
void esnn_learn_means(int8_t *weight, int32_t *bias, int32_t *sum, int32_t *count, const int32_t *trace, int32_t label,
                      int32_t run, int16_t *scratch, const esnn_means *m);
/* 1 where the learned means have earned to be used, else 0. */
int32_t esnn_guard_decide(const int32_t *count, int32_t seen, int32_t factory_errors, int32_t learned_errors,
                          uint32_t classes, uint32_t means);

/* lowbias32, and the random number of index i in learning step `count`. */
uint32_t esnn_mix(uint32_t x);
uint32_t esnn_random_key(uint32_t seed, uint32_t count);
uint32_t esnn_random(uint32_t key, uint32_t i);

/* CRC-32 as in zlib; start with crc = 0, go on with the result. */
uint32_t esnn_crc32(uint32_t crc, const void *data, size_t n);

#endif
