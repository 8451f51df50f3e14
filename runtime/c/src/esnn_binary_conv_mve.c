/* Convolutions with 1-bit weights for Helium: four neighbouring pixels of a row at a time, two outputs at a time.
 *
 * As in esnn_binary_mve.c, weight bits become predicates and VADDVA adds up the inputs S whose weight is +1; with B the
 * sum of all inputs,  sum of w*x = 2S - B. Here a predicate serves four pixels.
 *
 * The first whole blocks of 128 inputs are rearranged for `vpt.s8 lt`; what is left keeps the order of the inputs, and
 * its predicates are written to P0.
 */
#include "esnn_quad_mve.h"

#if ESNN_MVE

/* The offsets are those in the assembly of PAIRS_OF. */
typedef struct {
    const uint32_t *x;  /* 0 */
    const uint8_t *w;   /* 4: of the next two outputs */
    int32_t *a;         /* 8 */
    uint32_t stride;    /* 12: bytes from output to output in a */
    uint32_t row_bytes; /* 16: from output to output in w */
    uint32_t blocks;    /* 20: whole ones of a row */
    uint32_t halves;    /* 24: what is left of a row, in 16 inputs ... */
    uint32_t odd;       /* 28: ... and 8 inputs */
    uint32_t pairs;     /* 32: of outputs */
    uint32_t kept;      /* 36: pixels */
} quad_job;

/* Sums r0 r2 r4 r6 of the first output, r8 r10 r12 lr of the second: VADDVA wants even registers. */
#define FOUR0(type)                                                                                                    \
    "vaddvat." type " r0, q0\n\tvaddvat." type " r2, q1\n\tvaddvat." type " r4, q2\n\tvaddvat." type " r6, q3\n\t"
#define FOUR1(type)                                                                                                    \
    "vaddvat." type " r8, q0\n\tvaddvat." type " r10, q1\n\tvaddvat." type " r12, q2\n\tvaddvat." type " lr, q3\n\t"
#define LAST_BIT(type)                                                                                                 \
    "vldmia r1!, {d0-d7}\n\t"                                                                                          \
    "vptttt.s8 lt, q4, zr\n\t" FOUR0(type) "vptttt.s8 lt, q5, zr\n\t" FOUR1(type)
#define BIT(type) LAST_BIT(type) "vshl.i8 q4, q4, #1\n\tvshl.i8 q5, q5, #1\n\t"
#define REST(type, load)                                                                                               \
    "vldmia r1!, {d0-d7}\n\t" load(r3) "vmsr p0, r9\n\tvpstttt\n\t" FOUR0(type)                                        \
        load(r5) "vmsr p0, r9\n\tvpstttt\n\t" FOUR1(type)
#define HALF(row) "ldrh r9, [" #row "], #2\n\t"
#define BYTE(row) "ldrb r9, [" #row "], #1\n\t"

/* a = 2S - B of one quad for all pairs of outputs. Inputs r1, rows r3 and r5, counts r7, job r11, B q6, zeros q7.
 * Reading a row leaves its pointer at the next row. */
void esnn_mve_pairs_u8(quad_job *job, const int32_t all[ESNN_QUAD_PIXELS]);
void esnn_mve_pairs_s8(quad_job *job, const int32_t all[ESNN_QUAD_PIXELS]);

/* clang-format off */
#define PAIRS_OF(name, type) \
    ESNN_MVE_FUNCTION(name, \
        "push {r4-r11, lr}\n\t" \
        "vpush {d8-d15}\n\t" \
        "mov r11, r0\n\t" \
        "vldrw.u32 q6, [r1]\n\t" \
        "vmov.i32 q7, #0\n\t" \
        "ldr r5, [r11, #4]\n\t" \
        "1:\n\t" \
        "ldr r1, [r11]\n\t" \
        "mov r3, r5\n\t" \
        "ldrd r9, r7, [r11, #16]\n\t" \
        "add r5, r3, r9\n\t" \
        "vmov r0, r2, q7[2], q7[0]\n\t" \
        "vmov r4, r6, q7[2], q7[0]\n\t" \
        "vmov r8, r10, q7[2], q7[0]\n\t" \
        "vmov r12, lr, q7[2], q7[0]\n\t" \
        "cmp r7, #0\n\t" \
        "beq 3f\n\t" \
        "2:\n\t" \
        "vldrb.u8 q4, [r3], #16\n\t" \
        "vldrb.u8 q5, [r5], #16\n\t" \
        BIT(type) BIT(type) BIT(type) BIT(type) BIT(type) BIT(type) BIT(type) LAST_BIT(type) \
        "subs r7, #1\n\t" \
        "bne 2b\n\t" \
        "3:\n\t" \
        "ldr r7, [r11, #24]\n\t" \
        "cbz r7, 5f\n\t" \
        "4:\n\t" \
        REST(type, HALF) \
        "subs r7, #1\n\t" \
        "bne 4b\n\t" \
        "5:\n\t" \
        "ldr r7, [r11, #28]\n\t" \
        "cbz r7, 6f\n\t" \
        REST(type, BYTE) \
        "6:\n\t" \
        "vmov q0[2], q0[0], r0, r4\n\t" \
        "vmov q0[3], q0[1], r2, r6\n\t" \
        "vmov q1[2], q1[0], r8, r12\n\t" \
        "vmov q1[3], q1[1], r10, lr\n\t" \
        "vadd.i32 q0, q0, q0\n\t" \
        "vadd.i32 q1, q1, q1\n\t" \
        "vsub.i32 q0, q0, q6\n\t" \
        "vsub.i32 q1, q1, q6\n\t" \
        "ldrd r9, r7, [r11, #8]\n\t" \
        "ldrd r0, r1, [r11, #32]\n\t" \
        "add r2, r9, r7\n\t" \
        "vctp.32 r1\n\t" \
        "vpstt\n\t" \
        "vstrwt.32 q0, [r9]\n\t" \
        "vstrwt.32 q1, [r2]\n\t" \
        "add r2, r7\n\t" \
        "str r2, [r11, #8]\n\t" \
        "subs r0, #1\n\t" \
        "str r0, [r11, #32]\n\t" \
        "bne 1b\n\t" \
        "vpop {d8-d15}\n\t" \
        "pop {r4-r11, pc}")
/* clang-format on */

PAIRS_OF("esnn_mve_pairs_u8", "u8");
PAIRS_OF("esnn_mve_pairs_s8", "s8");

void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    /* W (O,ceil(C*kh*kw/8)) bits @ patch (C*kh*kw,) -> a (O,P) */
    void (*const vectors)(uint32_t *, uint32_t, uint32_t, int32_t *) =
        format == ESNN_U8 ? esnn_quad_vectors_u8 : esnn_quad_vectors_s8;
    void (*const pairs)(quad_job *, const int32_t *) = format == ESNN_U8 ? esnn_mve_pairs_u8 : esnn_mve_pairs_s8;
    const uint32_t row_bytes = (g->channels * g->kernel_height * g->kernel_width + 7) / 8, blocks = row_bytes / 16;
    const uint32_t rest = row_bytes % 16, pixels = g->out_height * g->out_width, last = g->out_channels - 1;
    uint32_t *words = (uint32_t *)(void *)patch;

    for (uint32_t row = 0; row < g->out_height; row++, a += g->out_width) {
        for (uint32_t column = 0; column < g->out_width; column += ESNN_QUAD_PIXELS) {
            const esnn_quad at = {x, g, row, esnn_quad_start(g, column)};
            int32_t all[ESNN_QUAD_PIXELS], *to = a + at.column;
            esnn_quad_gather(&at, words);
            vectors(words, blocks, (rest + 1) / 2, all);
            quad_job job = {words,  w,        to,       4 * pixels,          row_bytes,
                            blocks, rest / 2, rest % 2, g->out_channels / 2, esnn_quad_kept(g)};
            if (job.pairs > 0) {
                pairs(&job, all);
            }
            if (last % 2 == 0) { /* an odd last output, as both of a pair */
                job.w = w + last * row_bytes;
                job.a = to + last * pixels;
                job.stride = job.row_bytes = 0;
                job.pairs = 1;
                pairs(&job, all);
            }
        }
    }
}

#endif
