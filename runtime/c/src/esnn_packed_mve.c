/* Synapses with weights of 2 and 4 bits for Helium: VMLADAVA adds up the products of a vector of inputs and a vector of
 * fields.
 *
 * Weights are stored as w + 2^(bits-1), so that they multiply uint8_t inputs as unsigned and int8_t inputs as signed
 * bytes; what was added is taken off at the end. A row of an output is a byte after the other: in 16 of them, field k
 * of byte l is that of input 16k + l, 32 inputs of 4 bits or 64 of 2 bits; of what is left of a row there are as many
 * bytes as inputs, 16 at most. Fields without an input are 0. The generated C holds the weights in this order, too.
 */
#include "esnn_grouped.h"
#include "esnn_quad_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

enum { ROWS = 4, LANES = 16 };

/* Bytes of a row. */
static uint32_t row_bytes_of(uint32_t inputs, uint32_t bits) {
    const uint32_t block = 8 * LANES / bits, rest = inputs % block;
    return inputs / block * LANES + (rest < LANES ? rest : LANES);
}

/* Four outputs at a time for one patch; the offsets are those in the assembly below. */
typedef struct {
    const uint8_t *x; /* 0 */
    const uint8_t *w; /* 4 */
    int32_t *a;       /* 8 */
    uint32_t quads;   /* 12: of outputs, one at least */
    uint32_t stride;  /* 16: bytes from row to row */
    uint32_t blocks;  /* 20: whole ones of a row */
    uint32_t rest;    /* 24: inputs beyond them */
    int32_t excess;   /* 28: to be taken off */
} dense_job;

/* a[0..4*quads) = W . x - excess; w, a and quads of the job are used up. Sums r0 r2 r4 r8, rows r3 r5 r7 r6, inputs r1,
 * a r10, job r11. */
void esnn_mve_packed_dense4_u8(dense_job *job);
void esnn_mve_packed_dense4_s8(dense_job *job);
void esnn_mve_packed_dense2_u8(dense_job *job);
void esnn_mve_packed_dense2_s8(dense_job *job);

/* Fields times inputs for one row: of a whole block of 4 bits, of 2 bits, and one field a byte of what is left. */
#define ROW4(type, sum, row)                                                                                           \
    "vldrb.u8 q4, [" row "], #16\n\t"                                                                                  \
    "vand q5, q4, q7\n\t"                                                                                              \
    "vmladava." type " " sum ", q0, q5\n\t"                                                                            \
    "vshr.u8 q4, q4, #4\n\t"                                                                                           \
    "vmladava." type " " sum ", q1, q4\n\t"
#define ROW2(type, sum, row)                                                                                           \
    "vldrb.u8 q4, [" row "], #16\n\t"                                                                                  \
    "vand q5, q4, q7\n\t"                                                                                              \
    "vmladava." type " " sum ", q0, q5\n\t"                                                                            \
    "vshr.u8 q6, q4, #2\n\t"                                                                                           \
    "vand q6, q6, q7\n\t"                                                                                              \
    "vmladava." type " " sum ", q1, q6\n\t"                                                                            \
    "vshr.u8 q5, q4, #4\n\t"                                                                                           \
    "vand q5, q5, q7\n\t"                                                                                              \
    "vmladava." type " " sum ", q2, q5\n\t"                                                                            \
    "vshr.u8 q4, q4, #6\n\t"                                                                                           \
    "vmladava." type " " sum ", q3, q4\n\t"
#define REST(type, bits, sum, fields)                                                                                  \
    "vand q5, " fields ", q7\n\t"                                                                                      \
    "vmladava." type " " sum ", q0, q5\n\t"                                                                            \
    "vshr.u8 " fields ", " fields ", #" bits "\n\t"
#define LOAD2 "vldrb.u8 q0, [r1], #16\n\tvldrb.u8 q1, [r1], #16\n\t"
#define LOAD4 LOAD2 "vldrb.u8 q2, [r1], #16\n\tvldrb.u8 q3, [r1], #16\n\t"
#define DENSE4(type) LOAD2 ROW4(type, "r0", "r3") ROW4(type, "r2", "r5") ROW4(type, "r4", "r7") ROW4(type, "r8", "r6")
#define DENSE2(type) LOAD4 ROW2(type, "r0", "r3") ROW2(type, "r2", "r5") ROW2(type, "r4", "r7") ROW2(type, "r8", "r6")

/* clang-format off */
#define DENSE(name, block, type, bits, mask) \
    ESNN_MVE_FUNCTION(name, \
        "push {r4-r11, lr}\n\t" \
        "vpush {d8-d15}\n\t" \
        "mov r11, r0\n\t" \
        "ldr r10, [r11, #8]\n\t" \
        "vmov.i8 q7, #" mask "\n\t" \
        "1:\n\t" \
        "ldrd r1, r3, [r11]\n\t" \
        "ldrd r9, r12, [r11, #16]\n\t" \
        "movs r0, #0\n\t" \
        "movs r2, #0\n\t" \
        "movs r4, #0\n\t" \
        "mov r8, #0\n\t" \
        "add r5, r3, r9\n\t" \
        "add r7, r5, r9\n\t" \
        "add r6, r7, r9\n\t" \
        "add r9, r6\n\t" \
        "str r9, [r11, #4]\n\t" /* of the next four rows */ \
        "wls lr, r12, 3f\n" \
        "2:\n\t" \
        block(type) \
        "le lr, 2b\n" \
        "3:\n\t" \
        "ldr r12, [r11, #24]\n\t" \
        "cmp r12, #0\n\t" \
        "beq 5f\n\t" \
        "vctp.8 r12\n\t" \
        "vpstttt\n\t" \
        "vldrbt.u8 q1, [r3]\n\t" \
        "vldrbt.u8 q2, [r5]\n\t" \
        "vldrbt.u8 q3, [r7]\n\t" \
        "vldrbt.u8 q4, [r6]\n" \
        "4:\n\t" \
        "vctp.8 r12\n\t" \
        "vpst\n\t" \
        "vldrbt.u8 q0, [r1], #16\n\t" \
        REST(type, bits, "r0", "q1") REST(type, bits, "r2", "q2") \
        REST(type, bits, "r4", "q3") REST(type, bits, "r8", "q4") \
        "subs r12, #16\n\t" \
        "bhi 4b\n" \
        "5:\n\t" \
        "ldr r7, [r11, #12]\n\t" \
        "ldr r9, [r11, #28]\n\t" \
        "vmov q0[2], q0[0], r0, r4\n\t" \
        "vmov q0[3], q0[1], r2, r8\n\t" \
        "vsub.i32 q0, q0, r9\n\t" \
        "vstrw.32 q0, [r10], #16\n\t" \
        "subs r7, #1\n\t" \
        "str r7, [r11, #12]\n\t" \
        "bne 1b\n\t" \
        "vpop {d8-d15}\n\t" \
        "pop {r4-r11, pc}")
/* clang-format on */

DENSE("esnn_mve_packed_dense4_u8", DENSE4, "u8", "4", "15");
DENSE("esnn_mve_packed_dense4_s8", DENSE4, "s8", "4", "15");
DENSE("esnn_mve_packed_dense2_u8", DENSE2, "u8", "2", "3");
DENSE("esnn_mve_packed_dense2_s8", DENSE2, "s8", "2", "3");

static int32_t sum_inputs(const uint8_t *x, esnn_format format, uint32_t n) {
    int32_t sum = 0;
    for (; n > 0; x += LANES, n -= n < LANES ? n : LANES) {
        const uint8x16_t v = vldrbq_z_u8(x, vctp8q(n));
        sum = format == ESNN_U8 ? (int32_t)vaddvaq_u8((uint32_t)sum, v) : vaddvaq_s8(sum, vreinterpretq_s8_u8(v));
    }
    return sum;
}

/* a[o*stride] = W[o] . x for all o. */
static void dots(const uint8_t *x, esnn_format format, const uint8_t *w, uint32_t bits, int32_t *a, uint32_t inputs,
                 uint32_t outputs, uint32_t stride) {
    void (*const dense4)(dense_job *) = format == ESNN_U8 ? esnn_mve_packed_dense4_u8 : esnn_mve_packed_dense4_s8;
    void (*const dense2)(dense_job *) = format == ESNN_U8 ? esnn_mve_packed_dense2_u8 : esnn_mve_packed_dense2_s8;
    void (*const dense)(dense_job *) = bits == 4 ? dense4 : dense2;
    const uint32_t row_bytes = row_bytes_of(inputs, bits), block = 8 * LANES / bits;
    const uint32_t quads = stride == 1 ? outputs / ROWS : 0;
    const int32_t excess = sum_inputs(x, format, inputs) * (1 << (bits - 1));
    dense_job job = {x, w, a, quads, row_bytes, inputs / block, inputs % block, excess};
    if (quads > 0) {
        dense(&job);
    }
    job.stride = 0; /* one row taken four times */
    for (uint32_t o = quads * ROWS; o < outputs; o++) {
        int32_t same[ROWS];
        job.w = w + o * row_bytes;
        job.a = same;
        job.quads = 1;
        dense(&job);
        a[o * stride] = same[0];
    }
}

void esnn_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    (void)patch;
    dots(x, format, (const uint8_t *)w, bits, a, inputs, outputs, 1);
}

/* Four pixels at a time; the offsets are those in the assembly below. */
typedef struct {
    const uint32_t *x;                /* 0 */
    const uint8_t *w;                 /* 4 */
    int32_t *a;                       /* 8 */
    uint32_t stride;                  /* 12: bytes from output to output in a */
    uint32_t blocks;                  /* 16: whole ones of a row */
    uint32_t rest;                    /* 20: inputs beyond them */
    uint32_t outputs;                 /* 24, one at least */
    uint32_t kept;                    /* 28: pixels */
    int32_t excess[ESNN_QUAD_PIXELS]; /* 32 */
} quad_job;

/* a = W . x - excess of one quad for all outputs. Sums r0 r2 r4 r6 by pixel, inputs r1, row r3, a r5, job r11, what is
 * left of it r7 to r10. */
void esnn_mve_packed_quad4_u8(const quad_job *job);
void esnn_mve_packed_quad4_s8(const quad_job *job);
void esnn_mve_packed_quad2_u8(const quad_job *job);
void esnn_mve_packed_quad2_s8(const quad_job *job);

#define FOUR_PIXELS(type, fields)                                                                                      \
    "vldmia r1!, {d0-d7}\n\t"                                                                                          \
    "vmladava." type " r0, q0, " fields "\n\t"                                                                         \
    "vmladava." type " r2, q1, " fields "\n\t"                                                                         \
    "vmladava." type " r4, q2, " fields "\n\t"                                                                         \
    "vmladava." type " r6, q3, " fields "\n\t"
#define QUAD4(type) "vand q5, q4, q6\n\t" FOUR_PIXELS(type, "q5") "vshr.u8 q4, q4, #4\n\t" FOUR_PIXELS(type, "q4")
#define MIDDLE2(type, by) "vshr.u8 q5, q4, #" by "\n\tvand q5, q5, q6\n\t" FOUR_PIXELS(type, "q5")
#define QUAD2(type)                                                                                                    \
    "vand q5, q4, q6\n\t" FOUR_PIXELS(type, "q5") MIDDLE2(type, "2")                                                   \
        MIDDLE2(type, "4") "vshr.u8 q4, q4, #6\n\t" FOUR_PIXELS(type, "q4")

/* clang-format off */
#define QUAD(name, block, type, bits, mask) \
    ESNN_MVE_FUNCTION(name, \
        "push {r4-r11, lr}\n\t" \
        "vpush {d8-d15}\n\t" \
        "mov r11, r0\n\t" \
        "ldrd r3, r5, [r11, #4]\n\t" \
        "ldrd r10, r8, [r11, #16]\n\t" \
        "ldrd r7, r9, [r11, #24]\n\t" \
        "vldrw.u32 q7, [r11, #32]\n\t" \
        "vmov.i8 q6, #" mask "\n\t" \
        "1:\n\t" \
        "ldr r1, [r11]\n\t" \
        "movs r0, #0\n\t" \
        "movs r2, #0\n\t" \
        "movs r4, #0\n\t" \
        "movs r6, #0\n\t" \
        "wls lr, r10, 3f\n" \
        "2:\n\t" \
        "vldrb.u8 q4, [r3], #16\n\t" \
        block(type) \
        "le lr, 2b\n" \
        "3:\n\t" \
        "movs r12, r8\n\t" \
        "beq 5f\n\t" \
        "vctp.8 r8\n\t" \
        "vpst\n\t" \
        "vldrbt.u8 q4, [r3]\n\t" \
        "cmp r8, #16\n\t" \
        "ite lo\n\t" \
        "addlo r3, r8\n\t" \
        "addhs r3, #16\n" \
        "4:\n\t" \
        "vand q5, q4, q6\n\t" \
        FOUR_PIXELS(type, "q5") \
        "vshr.u8 q4, q4, #" bits "\n\t" \
        "subs r12, #16\n\t" \
        "bhi 4b\n" \
        "5:\n\t" \
        "vmov q0[2], q0[0], r0, r4\n\t" \
        "vmov q0[3], q0[1], r2, r6\n\t" \
        "vsub.i32 q0, q0, q7\n\t" \
        "vctp.32 r9\n\t" \
        "vpst\n\t" \
        "vstrwt.32 q0, [r5]\n\t" \
        "ldr r0, [r11, #12]\n\t" \
        "add r5, r0\n\t" \
        "subs r7, #1\n\t" \
        "bne 1b\n\t" \
        "vpop {d8-d15}\n\t" \
        "pop {r4-r11, pc}")
/* clang-format on */

QUAD("esnn_mve_packed_quad4_u8", QUAD4, "u8", "4", "15");
QUAD("esnn_mve_packed_quad4_s8", QUAD4, "s8", "4", "15");
QUAD("esnn_mve_packed_quad2_u8", QUAD2, "u8", "2", "3");
QUAD("esnn_mve_packed_quad2_s8", QUAD2, "s8", "2", "3");

/* The convolution of a group whose windows have no gaps, four pixels at a time. */
static void conv_quads(const uint8_t *x, esnn_format format, const uint8_t *w, uint32_t bits, uint32_t *words,
                       int32_t *a, const esnn_window *g) {
    void (*const vectors)(uint32_t *, uint32_t, uint32_t, int32_t *) =
        format == ESNN_U8 ? esnn_quad_vectors_u8 : esnn_quad_vectors_s8;
    void (*const quad4)(const quad_job *) = format == ESNN_U8 ? esnn_mve_packed_quad4_u8 : esnn_mve_packed_quad4_s8;
    void (*const quad2)(const quad_job *) = format == ESNN_U8 ? esnn_mve_packed_quad2_u8 : esnn_mve_packed_quad2_s8;
    const uint32_t n = g->channels * g->kernel_height * g->kernel_width, block = 8 * LANES / bits;
    for (uint32_t row = 0; row < g->out_height; row++, a += g->out_width) {
        for (uint32_t column = 0; column < g->out_width; column += ESNN_QUAD_PIXELS) {
            const esnn_quad at = {x, g, row, esnn_quad_start(g, column)};
            quad_job job = {words,     w,         a + at.column,   4 * g->out_height * g->out_width,
                            n / block, n % block, g->out_channels, esnn_quad_kept(g),
                            {0}};
            esnn_quad_gather(&at, words);
            vectors(words, 0, (n + LANES - 1) / LANES, job.excess);
            ESNN_ONE_TURN
            for (uint32_t q = 0; q < ESNN_QUAD_PIXELS; q++) {
                job.excess[q] *= 1 << (bits - 1);
            }
            (bits == 4 ? quad4 : quad2)(&job);
        }
    }
}

/* The low bytes of n elements, in place. */
static void narrow(int16_t *patch, uint32_t n) {
    uint8_t *to = (uint8_t *)patch;
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = (uint8_t)patch[i];
    }
}

void esnn_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        const esnn_grouped_window *g) {
    /* W (O,C/groups*kh*kw) @ windows of x (C,H,W) -> a (O,P) */
    const esnn_window one = esnn_one_group(g);
    const uint32_t pixels = one.out_height * one.out_width;
    const uint32_t fan_in = one.channels * one.kernel_height * one.kernel_width;
    const uint32_t gaps = g->dilation_height != 1 || g->dilation_width != 1 ? pixels : 0;
    const uint8_t *from = x, *rows = (const uint8_t *)w;
    for (uint32_t n = 0; n < g->groups; n++) {
        if (gaps == 0) {
            conv_quads(from, format, rows, bits, (uint32_t *)(void *)patch, a, &one);
        }
        for (uint32_t p = 0; p < gaps; p++) {
            esnn_patch_group(from, format, patch, g, p / one.out_width, p % one.out_width);
            narrow(patch, fan_in);
            dots((const uint8_t *)patch, format, rows, bits, a + p, fan_in, one.out_channels, pixels);
        }
        from += one.channels * one.height * one.width;
        rows += one.out_channels * row_bytes_of(fan_in, bits);
        a += one.out_channels * pixels;
    }
}

#endif
