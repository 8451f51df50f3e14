/* Gathering and rearranging the windows of four neighbouring pixels for Helium. */
#include "esnn_quad_mve.h"

#if ESNN_MVE

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

VECTORS_OF("esnn_quad_vectors_u8", "u8");
VECTORS_OF("esnn_quad_vectors_s8", "s8");

/* The image row of kernel row i, and how far it is from channel to channel; outside the image zeros, which stay. */
typedef struct {
    const uint8_t *at;
    uint32_t step;
} image_row;

static image_row find_row(const esnn_quad *q, uint32_t i) {
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
static uint32_t gather_word(const esnn_quad *q, const uint8_t *channel, uint32_t i, uint32_t j) {
    const esnn_window *g = q->g;
    const uint32_t row = q->row * g->stride_height + i - g->padding_top;
    uint32_t word = 0;
    for (uint32_t p = 0; p < ESNN_QUAD_PIXELS && row < g->height; p++) {
        const uint32_t column = (q->column + p) * g->stride_width + j - g->padding_left;
        word |= column < g->width ? (uint32_t)channel[row * g->width + column] << 8 * p : 0;
    }
    return word;
}

void esnn_quad_gather(const esnn_quad *q, uint32_t *words) {
    const esnn_window *g = q->g;
    const uint32_t n = g->channels * g->kernel_height * g->kernel_width;
    const uint32_t left = g->padding_left > q->column ? g->padding_left - q->column : 0;
    const uint32_t end = q->column + ESNN_QUAD_PIXELS + 2, width = g->width + g->padding_left;
    const uint32_t right = end > width ? end - width : 0;
    if (g->kernel_height == 3 && g->kernel_width == 3 && g->stride_width == 1 && g->width >= ESNN_QUAD_PIXELS &&
        left <= 1 && right <= 1) {
        static void (*const by_border[2][2])(const image_row[3], uint32_t *, uint32_t) = {
            {esnn_mve_gather_inside, esnn_mve_gather_right}, {esnn_mve_gather_left, esnn_mve_gather_both}};
        const image_row rows[3] = {find_row(q, 0), find_row(q, 1), find_row(q, 2)};
        by_border[left][right](rows, words, g->channels);
    } else {
        const uint8_t *channel = q->x;
        uint32_t *to = words;
        for (uint32_t c = 0; c < g->channels; c++, channel += g->height * g->width) {
            for (uint32_t k = 0; k < g->kernel_height * g->kernel_width; k++) {
                *to++ = gather_word(q, channel, k / g->kernel_width, k % g->kernel_width);
            }
        }
    }
    for (uint32_t i = n; i < ESNN_PATCH(n); i++) {
        words[i] = 0;
    }
}

#endif
