/* Synapses with int8 weights for Helium: VMLADAVA adds up the products of a vector of inputs and a vector of weights.
 *
 * It takes two signed or two unsigned vectors. Dense layers widen uint8_t inputs to 16 bits; convolutions, whose
 * vectors serve all outputs, take x - 128 instead:  sum of w*x = sum of w*(x - 128) + 128 * sum of w.
 */
#include "esnn_quad_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

enum { ROWS = 4 };

/* a[0..4*quads) = W . x for rows of `inputs` weights, `stride` bytes apart. Sums r0 r2 r4 r8, rows r3 r5 r7 r6, which
 * widening loads want low, inputs r1, stride r9, a r10, the length of a row r11, quads r12. */
void esnn_mve_dense_u8(const uint8_t *x, const int8_t *w, int32_t *a, uint32_t quads, uint32_t stride, uint32_t inputs);
void esnn_mve_dense_s8(const uint8_t *x, const int8_t *w, int32_t *a, uint32_t quads, uint32_t stride, uint32_t inputs);

/* clang-format off */
#define DENSE(name, loop, load_x, load_w, dot, step) \
    ESNN_MVE_FUNCTION(name, \
        "push {r0, r1, r4-r11, lr}\n\t" \
        "vpush {d8-d9}\n\t" \
        "ldrd r9, r11, [sp, #60]\n\t" /* past 11 words and 2 double words */ \
        "mov r10, r2\n\t" \
        "mov r12, r3\n\t" \
        "1:\n\t" \
        "ldrd r1, r3, [sp, #16]\n\t" \
        "movs r0, #0\n\t" \
        "movs r2, #0\n\t" \
        "movs r4, #0\n\t" \
        "mov r8, #0\n\t" \
        "add r5, r3, r9\n\t" \
        "add r7, r5, r9\n\t" \
        "add r6, r7, r9\n\t" \
        "add lr, r6, r9\n\t" \
        "str lr, [sp, #20]\n\t" /* of the next four rows */ \
        loop " lr, r11\n\t" \
        "2:\n\t" \
        load_x " q0, [r1], #" step "\n\t" \
        load_w " q1, [r3], #" step "\n\t" \
        load_w " q2, [r5], #" step "\n\t" \
        load_w " q3, [r7], #" step "\n\t" \
        load_w " q4, [r6], #" step "\n\t" \
        dot " r0, q0, q1\n\t" \
        dot " r2, q0, q2\n\t" \
        dot " r4, q0, q3\n\t" \
        dot " r8, q0, q4\n\t" \
        "letp lr, 2b\n\t" \
        "stmia r10!, {r0, r2, r4, r8}\n\t" \
        "subs r12, #1\n\t" \
        "bne 1b\n\t" \
        "vpop {d8-d9}\n\t" \
        "pop {r0, r1, r4-r11, pc}")

DENSE("esnn_mve_dense_u8", "dlstp.16", "vldrb.u16", "vldrb.s16", "vmladava.s16", "8");
DENSE("esnn_mve_dense_s8", "dlstp.8", "vldrb.u8", "vldrb.u8", "vmladava.s8", "16");
/* clang-format on */

void esnn_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                 uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    void (*const dense)(const uint8_t *, const int8_t *, int32_t *, uint32_t, uint32_t, uint32_t) =
        format == ESNN_U8 ? esnn_mve_dense_u8 : esnn_mve_dense_s8;
    const uint32_t quads = outputs / ROWS;
    (void)patch;
    if (quads > 0) {
        dense(x, w, a, quads, inputs, inputs);
    }
    for (uint32_t o = quads * ROWS; o < outputs; o++) {
        int32_t same[ROWS]; /* one row taken four times */
        dense(x, w + o * inputs, same, 1, 0, inputs);
        a[o] = same[0];
    }
}

/* The offsets are those in the assembly below. */
typedef struct {
    const uint32_t *x; /* 0 */
    const int8_t *w;   /* 4 */
    int32_t *a;        /* 8 */
    uint32_t stride;   /* 12: bytes from output to output in a */
    uint32_t inputs;   /* 16 */
    uint32_t outputs;  /* 20, one at least */
    int32_t zero;      /* 24: what was subtracted from the inputs */
    uint32_t kept;     /* 28: pixels */
} quad_job;

/* a = W . x of one quad for all outputs. Sums r0 r2 r4 r6 by pixel and r8 of the weights, inputs r1, row r3, a r5, job
 * r11, what is left of it r7 r9 r10 r12. */
void esnn_mve_quad_int8(const quad_job *job);

/* clang-format off */
ESNN_MVE_FUNCTION("esnn_mve_quad_int8",
    "push {r4-r11, lr}\n\t"
    "vpush {d8-d9}\n\t"
    "mov r11, r0\n\t"
    "ldrd r3, r5, [r11, #4]\n\t"
    "ldrd r10, r7, [r11, #16]\n\t"
    "ldrd r9, r12, [r11, #24]\n\t"
    "1:\n\t"
    "ldr r1, [r11]\n\t"
    "movs r0, #0\n\t"
    "movs r2, #0\n\t"
    "movs r4, #0\n\t"
    "movs r6, #0\n\t"
    "mov r8, #0\n\t"
    "dlstp.8 lr, r10\n\t"
    "2:\n\t"
    "vldrb.u8 q4, [r3], #16\n\t"
    "vldmia r1!, {d0-d7}\n\t"
    "vmladava.s8 r0, q0, q4\n\t"
    "vmladava.s8 r2, q1, q4\n\t"
    "vmladava.s8 r4, q2, q4\n\t"
    "vmladava.s8 r6, q3, q4\n\t"
    "vaddva.s8 r8, q4\n\t"
    "letp lr, 2b\n\t"
    "vmov q0[2], q0[0], r0, r4\n\t"
    "vmov q0[3], q0[1], r2, r6\n\t"
    "mul r8, r8, r9\n\t"
    "vadd.i32 q0, q0, r8\n\t"
    "vctp.32 r12\n\t"
    "vpst\n\t"
    "vstrwt.32 q0, [r5]\n\t"
    "ldr r0, [r11, #12]\n\t"
    "add r5, r0\n\t"
    "add r0, r10, #15\n\t" /* back from where the loop leaves a row to its end */
    "bic r0, r0, #15\n\t"
    "subs r0, r0, r10\n\t"
    "subs r3, r3, r0\n\t"
    "subs r7, #1\n\t"
    "bne 1b\n\t"
    "vpop {d8-d9}\n\t"
    "pop {r4-r11, pc}");
/* clang-format on */

/* x - 128 for n vectors of uint8_t. */
static void make_signed(uint8_t *x, uint32_t n) {
    ESNN_ONE_TURN
    for (; n > 0; n--, x += 16) {
        vst1q_u8(x, veorq_u8(vld1q_u8(x), vdupq_n_u8(0x80)));
    }
}

void esnn_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, const esnn_window *g) {
    /* W (O,C*kh*kw) @ patch (C*kh*kw,) -> a (O,P) */
    const uint32_t n = g->channels * g->kernel_height * g->kernel_width, vectors = (n + 15) / 16;
    uint32_t *words = (uint32_t *)(void *)patch;

    for (uint32_t row = 0; row < g->out_height; row++, a += g->out_width) {
        for (uint32_t column = 0; column < g->out_width; column += ESNN_QUAD_PIXELS) {
            const esnn_quad at = {x, g, row, esnn_quad_start(g, column)};
            int32_t all[ESNN_QUAD_PIXELS];
            esnn_quad_gather(&at, words);
            esnn_quad_vectors_u8(words, 0, vectors, all);
            if (format == ESNN_U8) {
                make_signed((uint8_t *)words, vectors * ESNN_QUAD_PIXELS);
            }
            const quad_job job = {words,
                                  w,
                                  a + at.column,
                                  4 * g->out_height * g->out_width,
                                  n,
                                  g->out_channels,
                                  format == ESNN_U8 ? 128 : 0,
                                  esnn_quad_kept(g)};
            esnn_mve_quad_int8(&job);
        }
    }
}

#endif
