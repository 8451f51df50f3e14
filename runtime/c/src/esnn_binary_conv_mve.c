/* Convolutions with 1-bit weights for Helium: four neighbouring pixels of a row at a time, two outputs at a time.
 *
 * As in esnn_binary_mve.c, weight bits become predicates and VADDVA adds up the inputs S whose weight is +1; with B the
 * sum of all inputs,  sum of w*x = 2S - B. Here a predicate serves four pixels.
 *
 * The inputs of the four pixels are first gathered as words, one an input, byte q for pixel q. They are then rearranged
 * in place into vectors of sixteen inputs of one pixel, those of the four pixels side by side: every whole block of 128
 * inputs becomes eight such groups, from bit 7 down to bit 0 of the weights, input 8l + j in lane l, for `vpt.s8 lt`;
 * what is left keeps the order of the inputs, and its predicates are written to P0.
 */
#include "esnn_mve.h"

#if ESNN_MVE

enum { PIXELS = 4, BLOCK = 128 };

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
void esnn_mve_pairs_u8(quad_job *job, const int32_t all[PIXELS]);
void esnn_mve_pairs_s8(quad_job *job, const int32_t all[PIXELS]);

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

/* Words of 16 inputs, all[q] += their sums by pixel, and vectors by pixel. */
#define BY_PIXEL(type)                                                                                                 \
    "vld40.8 {q0, q1, q2, q3}, [r0]\n\t"                                                                               \
    "vld41.8 {q0, q1, q2, q3}, [r0]\n\t"                                                                               \
    "vld42.8 {q0, q1, q2, q3}, [r0]\n\t"                                                                               \
    "vld43.8 {q0, q1, q2, q3}, [r0]\n\t"                                                                               \
    "vaddva." type " r4, q0\n\t"                                                                                       \
    "vaddva." type " r6, q1\n\t"                                                                                       \
    "vaddva." type " r8, q2\n\t"                                                                                       \
    "vaddva." type " r10, q3\n\t"                                                                                      \
    "vstmia r0!, {d0-d7}\n\t"
/* Words 8l + j of a block, whose copy is where q4 points. */
#define BIT_OF_BLOCK(type, j)                                                                                          \
    "vldrw.u32 q0, [q4, #4*" #j "]\n\t"                                                                                \
    "vldrw.u32 q1, [q4, #4*" #j " + 128]\n\t"                                                                          \
    "vldrw.u32 q2, [q4, #4*" #j " + 256]\n\t"                                                                          \
    "vldrw.u32 q3, [q4, #4*" #j " + 384]\n\t"                                                                          \
    "vstmia r0, {d0-d7}\n\t" BY_PIXEL(type)
#define COPY "vldmia r0!, {d0-d7}\n\tvstmia r12!, {d0-d7}\n\t"

/* Words -> vectors, in place: whole blocks, then sixteen inputs at a time; all (4,) = B by pixel. */
void esnn_mve_vectors_u8(uint32_t *words, uint32_t blocks, uint32_t halves, int32_t *all);
void esnn_mve_vectors_s8(uint32_t *words, uint32_t blocks, uint32_t halves, int32_t *all);

/* clang-format off */
#define VECTORS_OF(name, type) \
    ESNN_MVE_FUNCTION(name, \
        "push {r4-r11, lr}\n\t" \
        "vpush {d8-d9}\n\t" \
        "sub sp, #512\n\t" \
        "movs r4, #0\n\t" \
        "movs r6, #0\n\t" \
        "mov r8, #0\n\t" \
        "mov r10, #0\n\t" \
        "vidup.u32 q4, r4, #8\n\t" /* 0, 8, 16, 24: r4 becomes 32 */ \
        "movs r4, #0\n\t" \
        "mov r12, sp\n\t" \
        "vshl.i32 q4, q4, #2\n\t" \
        "vadd.i32 q4, q4, r12\n\t" \
        "cmp r1, #0\n\t" \
        "beq 2f\n\t" \
        "1:\n\t" \
        "mov r12, sp\n\t" \
        COPY COPY COPY COPY COPY COPY COPY COPY \
        "sub r0, #512\n\t" \
        BIT_OF_BLOCK(type, 7) BIT_OF_BLOCK(type, 6) BIT_OF_BLOCK(type, 5) BIT_OF_BLOCK(type, 4) \
        BIT_OF_BLOCK(type, 3) BIT_OF_BLOCK(type, 2) BIT_OF_BLOCK(type, 1) BIT_OF_BLOCK(type, 0) \
        "subs r1, #1\n\t" \
        "bne 1b\n\t" \
        "2:\n\t" \
        "cbz r2, 4f\n\t" \
        "3:\n\t" \
        BY_PIXEL(type) \
        "subs r2, #1\n\t" \
        "bne 3b\n\t" \
        "4:\n\t" \
        "strd r4, r6, [r3]\n\t" \
        "strd r8, r10, [r3, #8]\n\t" \
        "add sp, #512\n\t" \
        "vpop {d8-d9}\n\t" \
        "pop {r4-r11, pc}")
/* clang-format on */

VECTORS_OF("esnn_mve_vectors_u8", "u8");
VECTORS_OF("esnn_mve_vectors_s8", "s8");

/* Four neighbouring pixels of an output row: the window of the first, which may start outside the image. */
typedef struct {
    const uint8_t *x;
    const esnn_window *g;
    uint32_t row, column;
} quad;

/* The image row of kernel row i, and how far it is from channel to channel; outside the image zeros, which stay. */
typedef struct {
    const uint8_t *at;
    uint32_t step;
} image_row;

static image_row find_row(const quad *q, uint32_t i) {
    static const uint8_t zeros[8];
    const esnn_window *g = q->g;
    const uint32_t row = q->row * g->stride_height + i - g->padding_top; /* wraps around above the image */
    const uint32_t middle = q->column + 1 - g->padding_left;
    const image_row inside = {q->x + row * g->width + middle, g->height * g->width}, outside = {zeros + 2, 0};
    return row < g->height ? inside : outside;
}

/* Three words of one row of a 3x3 kernel, whose middle column `at` points to; it goes on to the next channel. */
#define INSIDE_LEFT(at) "ldr r7, [" at ", #-1]\n\t"
#define INSIDE_RIGHT(at) "ldr r9, [" at ", #1]\n\t"
#define BORDER_LEFT(at) "ldr r7, [" at "]\n\tlsl r7, r7, #8\n\t" /* the first column is outside the image */
#define BORDER_RIGHT(at) "ldr r9, [" at "]\n\tlsr r9, r9, #8\n\t"
#define THREE_WORDS(at, step, left, right)                                                                             \
    left(at) "ldr r8, [" at "]\n\t" right(at) "add " at ", " at ", " step "\n\tstmia r6!, {r7, r8, r9}\n\t"

/* The words of a 3x3 kernel at a stride of 1 for all channels, one at least. */
void esnn_mve_gather_inside(const image_row rows[3], uint32_t *to, uint32_t channels);
void esnn_mve_gather_left(const image_row rows[3], uint32_t *to, uint32_t channels);
void esnn_mve_gather_right(const image_row rows[3], uint32_t *to, uint32_t channels);
void esnn_mve_gather_both(const image_row rows[3], uint32_t *to, uint32_t channels);

/* clang-format off */
#define GATHER(name, left, right) \
    ESNN_MVE_FUNCTION(name, \
        "push {r4-r9, lr}\n\t" \
        "mov r6, r1\n\t" \
        "dls lr, r2\n\t" \
        "ldm r0, {r0-r5}\n\t" \
        "1:\n\t" THREE_WORDS("r0", "r1", left, right) THREE_WORDS("r2", "r3", left, right) \
        THREE_WORDS("r4", "r5", left, right) "le lr, 1b\n\t" \
        "pop {r4-r9, pc}")
/* clang-format on */

GATHER("esnn_mve_gather_inside", INSIDE_LEFT, INSIDE_RIGHT);
GATHER("esnn_mve_gather_left", BORDER_LEFT, INSIDE_RIGHT);
GATHER("esnn_mve_gather_right", INSIDE_LEFT, BORDER_RIGHT);
GATHER("esnn_mve_gather_both", BORDER_LEFT, BORDER_RIGHT);

/* One word: kernel row i and column j of four windows in one channel, 0 outside the image. */
static uint32_t gather_word(const quad *q, const uint8_t *channel, uint32_t i, uint32_t j) {
    const esnn_window *g = q->g;
    const uint32_t row = q->row * g->stride_height + i - g->padding_top;
    uint32_t word = 0;
    for (uint32_t p = 0; p < PIXELS && row < g->height; p++) {
        const uint32_t column = (q->column + p) * g->stride_width + j - g->padding_left;
        word |= column < g->width ? (uint32_t)channel[row * g->width + column] << 8 * p : 0;
    }
    return word;
}

static void gather(const quad *q, uint32_t *to) {
    const esnn_window *g = q->g;
    const uint32_t left = g->padding_left > q->column ? g->padding_left - q->column : 0;
    const uint32_t end = q->column + PIXELS + 2, width = g->width + g->padding_left;
    const uint32_t right = end > width ? end - width : 0;
    if (g->kernel_height == 3 && g->kernel_width == 3 && g->stride_width == 1 && g->width >= PIXELS && left <= 1 &&
        right <= 1) {
        static void (*const by_border[2][2])(const image_row[3], uint32_t *, uint32_t) = {
            {esnn_mve_gather_inside, esnn_mve_gather_right}, {esnn_mve_gather_left, esnn_mve_gather_both}};
        const image_row rows[3] = {find_row(q, 0), find_row(q, 1), find_row(q, 2)};
        by_border[left][right](rows, to, g->channels);
    } else {
        const uint8_t *channel = q->x;
        for (uint32_t c = 0; c < g->channels; c++, channel += g->height * g->width) {
            for (uint32_t k = 0; k < g->kernel_height * g->kernel_width; k++) {
                *to++ = gather_word(q, channel, k / g->kernel_width, k % g->kernel_width);
            }
        }
    }
}

void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    /* W (O,ceil(C*kh*kw/8)) bits @ patch (C*kh*kw,) -> a (O,P) */
    void (*const vectors)(uint32_t *, uint32_t, uint32_t, int32_t *) =
        format == ESNN_U8 ? esnn_mve_vectors_u8 : esnn_mve_vectors_s8;
    void (*const pairs)(quad_job *, const int32_t *) = format == ESNN_U8 ? esnn_mve_pairs_u8 : esnn_mve_pairs_s8;
    const uint32_t n = g->channels * g->kernel_height * g->kernel_width, row_bytes = (n + 7) / 8;
    const uint32_t blocks = row_bytes / 16, rest = row_bytes % 16, stride = 4 * g->out_height * g->out_width;
    const uint32_t kept = g->out_width < PIXELS ? g->out_width : PIXELS;
    uint32_t *words = (uint32_t *)(void *)patch;

    for (uint32_t row = 0; row < g->out_height; row++, a += g->out_width) {
        /* The last quad of a row starts where it fits, and may compute some pixels once more. */
        for (uint32_t column = 0; column < g->out_width; column += PIXELS) {
            const quad at = {x, g, row, column + kept > g->out_width ? g->out_width - kept : column};
            int32_t all[PIXELS];
            gather(&at, words);
            for (uint32_t i = n; i < ESNN_PATCH(n); i++) {
                words[i] = 0;
            }
            vectors(words, blocks, (rest + 1) / 2, all);
            quad_job job = {words,    w,        a + at.column,       stride, row_bytes, blocks,
                            rest / 2, rest % 2, g->out_channels / 2, kept};
            if (job.pairs > 0) {
                pairs(&job, all);
            }
            if (g->out_channels % 2 != 0) { /* the last one as both of a pair */
                const uint32_t last = g->out_channels - 1;
                job = (quad_job){
                    words, w + last * row_bytes, a + at.column + last * stride / 4, 0, 0, blocks, rest / 2, rest % 2, 1,
                    kept};
                pairs(&job, all);
            }
        }
    }
}

#endif
