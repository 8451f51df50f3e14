/* Synapses with weights of 2 and 4 bits for the Arm DSP extension: SMLAD adds two products of 16-bit halves at once.
 *
 * A word holds fields w + 2^(bits-1) of half as many outputs as in esnn_packed.c: of one input in its low half, of the
 * next input in its high half. A mask leaves both fields of an output. The words of a block of outputs lie beside each
 * other, one for each two inputs; the generated C holds them in this order, too.
 */
#include "esnn_dsp.h"

#if ESNN_DSP && !ESNN_MVE
#include "esnn_grouped.h"
#include "esnn_patch.h"

enum { PAIRS = 4 }; /* of inputs, a turn of the loops */

static inline int32_t smlad(uint32_t x, uint32_t y, int32_t sum) {
    return __smlad((int16x2_t)x, (int16x2_t)y, sum);
}

/* The loops are assembly because compilers take three more instructions a turn. `by` shifts a field down. */
#define FIELD(word, by) "and %[t], %[mask], %[" word "], " by "\n\t"
#define ADD(sum, value) "smlad %[" sum "], %[t], %[" value "], %[" sum "]\n\t"

#define FOUR_FIELDS(word, v, by0, by1, by2, by3)                                                                       \
    FIELD(word, by0)                                                                                                   \
    ADD("s0", v) FIELD(word, by1) ADD("s1", v) FIELD(word, by2) ADD("s2", v) FIELD(word, by3) ADD("s3", v)
#define TWO_PAIRS(by0, by1, by2, by3)                                                                                  \
    "ldrd %[word], %[word1], [%[w]], #8\n\t"                                                                           \
    "ldrd %[v], %[v1], [%[x]], #8\n\t" FOUR_FIELDS("word", "v", by0, by1, by2, by3)                                    \
        FOUR_FIELDS("word1", "v1", by0, by1, by2, by3)

/* sum[k] += the inputs [x, end) times field k of the words w, for four outputs; whole turns, one at least. */
#define DOT4(name, by0, by1, by2, by3)                                                                                 \
    static ESNN_NOINLINE void name(const uint32_t *x, const uint32_t *end, const uint32_t *w, uint32_t mask,           \
                                   int32_t sum[4]) {                                                                   \
        int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];                                                    \
        uint32_t word, word1, v, v1, t;                                                                                \
        __asm__ volatile("1:\n\t" TWO_PAIRS(by0, by1, by2, by3)                                                        \
                             TWO_PAIRS(by0, by1, by2, by3) "ldr %[t], %[end]\n\tcmp %[x], %[t]\n\t"                    \
                                                           "bne 1b"                                                    \
                         : [s0] "+&r"(s0), [s1] "+&r"(s1), [s2] "+&r"(s2), [s3] "+&r"(s3), [x] "+&r"(x), [w] "+&r"(w), \
                           [word] "=&r"(word), [word1] "=&r"(word1), [v] "=&r"(v), [v1] "=&r"(v1), [t] "=&r"(t)        \
                         : [end] "m"(end), [mask] "r"(mask)                                                            \
                         : "cc", "memory");                                                                            \
        sum[0] = s0;                                                                                                   \
        sum[1] = s1;                                                                                                   \
        sum[2] = s2;                                                                                                   \
        sum[3] = s3;                                                                                                   \
    }

DOT4(dot4_of_4_bits, "lsl #0", "lsr #4", "lsr #8", "lsr #12")
DOT4(dot4_of_2_low_bits, "lsl #0", "lsr #2", "lsr #4", "lsr #6")
DOT4(dot4_of_2_high_bits, "lsr #8", "lsr #10", "lsr #12", "lsr #14")

#define PAIR_OF_BOTH(by0, by1)                                                                                         \
    "ldr %[word], [%[w]], #4\n\t"                                                                                      \
    "ldr %[v], [%[x]], #4\n\t"                                                                                         \
    "ldr %[u], [%[y]], #4\n\t" FIELD("word", by0) ADD("s0", "v") ADD("s1", "u") FIELD("word", by1) ADD("s2", "v")      \
        ADD("s3", "u")

/* sum[2*k + p] += the inputs of patch p times field k of the words w, for two of each. */
#define DOT2X2(name, by0, by1)                                                                                         \
    static ESNN_NOINLINE void name(const uint32_t *x, const uint32_t *y, const uint32_t *end, const uint32_t *w,       \
                                   uint32_t mask, int32_t sum[4]) {                                                    \
        int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];                                                    \
        uint32_t word, u, v, t;                                                                                        \
        __asm__ volatile("1:\n\t" PAIR_OF_BOTH(by0, by1) PAIR_OF_BOTH(by0, by1) PAIR_OF_BOTH(by0, by1)                 \
                             PAIR_OF_BOTH(by0, by1) "ldr %[t], %[end]\n\t"                                             \
                                                    "cmp %[x], %[t]\n\t"                                               \
                                                    "bne 1b"                                                           \
                         : [s0] "+&r"(s0), [s1] "+&r"(s1), [s2] "+&r"(s2), [s3] "+&r"(s3), [x] "+&r"(x), [y] "+&r"(y), \
                           [w] "+&r"(w), [word] "=&r"(word), [u] "=&r"(u), [v] "=&r"(v), [t] "=&r"(t)                  \
                         : [end] "m"(end), [mask] "r"(mask)                                                            \
                         : "cc", "memory");                                                                            \
        sum[0] = s0;                                                                                                   \
        sum[1] = s1;                                                                                                   \
        sum[2] = s2;                                                                                                   \
        sum[3] = s3;                                                                                                   \
    }

DOT2X2(dot2x2_at_0_of_4_bits, "lsl #0", "lsr #4")
DOT2X2(dot2x2_at_8_of_4_bits, "lsr #8", "lsr #12")
DOT2X2(dot2x2_at_0_of_2_bits, "lsl #0", "lsr #2")
DOT2X2(dot2x2_at_4_of_2_bits, "lsr #4", "lsr #6")
DOT2X2(dot2x2_at_8_of_2_bits, "lsr #8", "lsr #10")
DOT2X2(dot2x2_at_12_of_2_bits, "lsr #12", "lsr #14")

/* The constants of one group: what follows is for all its outputs. */
typedef struct {
    const uint32_t *w;
    uint32_t bits, pairs, outputs, stride;
} packed_rows;

/* The words of output o, and from which bit on they hold its fields. */
typedef struct {
    const uint32_t *w;
    uint32_t shift, mask;
} fields;

static fields fields_of(const packed_rows *rows, uint32_t o) {
    const uint32_t log = rows->bits == 4 ? 2 : 3, in_block = o & ((1u << log) - 1u);
    const fields at = {rows->w + (o >> log) * rows->pairs, in_block * rows->bits,
                       rows->bits == 4 ? 0x000f000fu : 0x00030003u};
    return at;
}

/* The product of two inputs with the fields of output o + k. */
static int32_t add_pair(uint32_t x, uint32_t word, const fields *f, uint32_t k, uint32_t bits, int32_t sum) {
    return smlad(word >> (f->shift + k * bits) & f->mask, x, sum);
}

/* sum[k] = W[o + k] . patch, for four outputs. */
static void dot4(const uint32_t *x, const packed_rows *rows, uint32_t o, int32_t sum[4]) {
    const fields f = fields_of(rows, o);
    const uint32_t whole = rows->pairs / PAIRS * PAIRS;
    for (uint32_t k = 0; k < 4; k++) {
        sum[k] = 0;
        for (uint32_t i = whole; i < rows->pairs; i++) {
            sum[k] = add_pair(x[i], f.w[i], &f, k, rows->bits, sum[k]);
        }
    }
    if (whole == 0) {
        return;
    }
    if (rows->bits == 4) {
        dot4_of_4_bits(x, x + whole, f.w, f.mask, sum);
    } else if (f.shift == 0) {
        dot4_of_2_low_bits(x, x + whole, f.w, f.mask, sum);
    } else {
        dot4_of_2_high_bits(x, x + whole, f.w, f.mask, sum);
    }
}

/* sum[2*k + p] = W[o + k] . patch p, for two of each. */
static void dot2x2(const uint32_t *x, const uint32_t *y, const packed_rows *rows, uint32_t o, int32_t sum[4]) {
    const fields f = fields_of(rows, o);
    const uint32_t whole = rows->pairs / PAIRS * PAIRS, *end = x + whole;
    for (uint32_t k = 0; k < 2; k++) {
        sum[2 * k] = 0;
        sum[2 * k + 1] = 0;
        for (uint32_t i = whole; i < rows->pairs; i++) {
            sum[2 * k] = add_pair(x[i], f.w[i], &f, k, rows->bits, sum[2 * k]);
            sum[2 * k + 1] = add_pair(y[i], f.w[i], &f, k, rows->bits, sum[2 * k + 1]);
        }
    }
    if (whole == 0) {
        return;
    }
    switch (f.shift) {
    case 4:
        dot2x2_at_4_of_2_bits(x, y, end, f.w, f.mask, sum);
        break;
    case 12:
        dot2x2_at_12_of_2_bits(x, y, end, f.w, f.mask, sum);
        break;
    case 8:
        if (rows->bits == 4) {
            dot2x2_at_8_of_4_bits(x, y, end, f.w, f.mask, sum);
        } else {
            dot2x2_at_8_of_2_bits(x, y, end, f.w, f.mask, sum);
        }
        break;
    default:
        if (rows->bits == 4) {
            dot2x2_at_0_of_4_bits(x, y, end, f.w, f.mask, sum);
        } else {
            dot2x2_at_0_of_2_bits(x, y, end, f.w, f.mask, sum);
        }
        break;
    }
}

/* What was added to the weights, times the inputs of a patch. */
static int32_t excess(const uint32_t *x, const packed_rows *rows) {
    int32_t sum = 0;
    ESNN_ONE_TURN
    for (const uint32_t *end = x + rows->pairs; x != end; x++) {
        sum = smlad(*x, 0x00010001u, sum);
    }
    return sum * (1 << (rows->bits - 1));
}

/* a[o*stride] = W[o] . patch for all o. */
static void dots(const int16_t *patch, const packed_rows *rows, int32_t *a) {
    const uint32_t *x = (const uint32_t *)(const void *)patch;
    const int32_t more = excess(x, rows);
    for (uint32_t o = 0; o < rows->outputs; o += 4) {
        const uint32_t left = rows->outputs - o;
        int32_t sum[4];
        dot4(x, rows, o, sum);
        for (uint32_t k = 0; k < (left < 4 ? left : 4); k++, a += rows->stride) {
            *a = sum[k] - more;
        }
    }
}

/* The same for two patches, into a[o*stride] and a[o*stride + 1]. */
static void dots_of_pair(const int16_t *patch0, const int16_t *patch1, const packed_rows *rows, int32_t *a) {
    const uint32_t *x = (const uint32_t *)(const void *)patch0, *y = (const uint32_t *)(const void *)patch1;
    const int32_t more0 = excess(x, rows), more1 = excess(y, rows);
    for (uint32_t o = 0; o < rows->outputs; o += 2, a += 2 * rows->stride) {
        int32_t sum[4];
        dot2x2(x, y, rows, o, sum);
        a[0] = sum[0] - more0;
        a[1] = sum[1] - more1;
        if (o + 1 < rows->outputs) {
            a[rows->stride] = sum[2] - more0;
            a[rows->stride + 1] = sum[3] - more1;
        }
    }
}

void esnn_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    const packed_rows rows = {w, bits, (inputs + 1) / 2, outputs, 1};
    esnn_patch_row(x, format, patch, inputs);
    dots(patch, &rows, a);
}

void esnn_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        const esnn_grouped_window *g) {
    /* W (O,C/groups*kh*kw) @ windows of x (C,H,W) -> a (O,P), two pixels at a time */
    const esnn_window one = esnn_one_group(g);
    const uint32_t pixels = one.out_height * one.out_width,
                   fan_in = one.channels * one.kernel_height * one.kernel_width;
    const uint32_t blocks = (one.out_channels + 32 / bits - 1) / (32 / bits);
    int16_t *second = patch + ESNN_PATCH(fan_in);
    packed_rows rows = {w, bits, (fan_in + 1) / 2, one.out_channels, pixels};
    const uint8_t *from = x;
    for (uint32_t n = 0; n < g->groups; n++) {
        for (uint32_t p = 0; p < pixels; p += 2) {
            esnn_patch_group(from, format, patch, g, p / one.out_width, p % one.out_width);
            if (p + 1 < pixels) {
                esnn_patch_group(from, format, second, g, (p + 1) / one.out_width, (p + 1) % one.out_width);
                dots_of_pair(patch, second, &rows, a + p);
            } else {
                dots(patch, &rows, a + p);
            }
        }
        from += one.channels * one.height * one.width;
        rows.w += 2 * blocks * rows.pairs;
        a += one.out_channels * pixels;
    }
}

#endif
