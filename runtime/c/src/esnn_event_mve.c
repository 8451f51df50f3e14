/* Adding up rows of weights for Helium, and the lists of what fired.
 *
 * A row holds a byte for each output, all outputs beside each other: w + 128 for even outputs, w for odd ones. Half a
 * word, taken as a signed number h, is 256 times the weight of an odd output and the byte of the even one before it.
 * VADD adds up h modulo 2^16; VQDMLAH with 128 adds up h >> 8, which is the odd weight: sixteen outputs take three
 * instructions a row. What is left of the first sum without 256 times the second is the sum of the even bytes. Up to
 * ESNN_MOST_ROWS rows no sum of weights leaves 16 bits.
 */
#include "esnn_event.h"
#include "esnn_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

/* Rows of weights to add up, and where sums go; the offsets are those in the assembly below. */
typedef struct {
    const uint8_t *w;         /* 0 */
    uint32_t row_bytes;       /* 4 */
    uint32_t outputs;         /* 8, one at least */
    uint32_t stride;          /* 12: bytes from sum to sum */
    uint32_t every_fourth[4]; /* 16: 0, 4, 8 and 12 strides */
} row_sums;

/* a[o] = the rows list[0..n) of output o added up, n <= ESNN_MOST_ROWS. */
void esnn_mve_rows(const uint16_t *list, uint32_t n, int32_t *a, const row_sums *sums);

/* Registers: n r1, the outputs to come in w r2 and in a r9, row bytes r3, how many outputs r8, stride r10, sums r11;
 * where the list is read r0, entries r4, rows r5 r6, a factor r7; sums of h q0 to q2, of h >> 8 q3 to q5, a vector of a
 * row in q6 or q7. The first sums start at -128*n, which takes the bias off. */
#define START                                                                                                          \
    "lsl r4, r1, #7\n\t"                                                                                               \
    "rsbs r4, r4, #0\n\t"                                                                                              \
    "movs r7, #128\n\t"
#define NO_SUM(all, odd) "vdup.16 " all ", r4\n\tvmov.i32 " odd ", #0\n\t"
#define LOAD(to, row, at) "vldrw.u32 " to ", [" row ", #" at "]\n\t"
#define ADD(all, odd, from) "vadd.i16 " all ", " all ", " from "\n\tvqdmlah.s16 " odd ", " from ", r7\n\t"
#define ROW_48(row)                                                                                                    \
    LOAD("q6", row, "0")                                                                                               \
    LOAD("q7", row, "16") ADD("q0", "q3", "q6") LOAD("q6", row, "32") ADD("q1", "q4", "q7") ADD("q2", "q5", "q6")
#define ROW_32(row) LOAD("q6", row, "0") LOAD("q7", row, "16") ADD("q0", "q3", "q6") ADD("q1", "q4", "q7")
#define ROW_16(row) "vpst\n\tvldrwt.u32 q6, [" row "]\n\t" ADD("q0", "q3", "q6")
#define TWO_ROWS(row)                                                                                                  \
    "ldr r4, [r0], #4\n\t"                                                                                             \
    "smlabb r5, r4, r3, r2\n\t"                                                                                        \
    "smlatb r6, r4, r3, r2\n\t" row("r5") row("r6")
/* Four rows a turn, then what is left. */
#define ADD_ROWS(row)                                                                                                  \
    "lsr r4, r1, #2\n\t"                                                                                               \
    "wls lr, r4, 2f\n"                                                                                                 \
    "1:\n\t" TWO_ROWS(row) TWO_ROWS(row) "le lr, 1b\n"                                                                 \
                                         "2:\n\t"                                                                      \
                                         "and r4, r1, #3\n\t"                                                          \
                                         "wls lr, r4, 4f\n"                                                            \
                                         "3:\n\t"                                                                      \
                                         "ldrh r5, [r0], #2\n\t"                                                       \
                                         "mla r5, r5, r3, r2\n\t" row("r5") "le lr, 3b\n"                              \
                                                                            "4:\n\t"                                   \
                                                                            "sub r0, r0, r1, lsl #1\n\t"
/* Outputs 0 to 3 to r9, r4, r5 and r6, and every fourth one after them by the offsets in q7; 16 outputs on is r12. */
#define PLACES                                                                                                         \
    "vldrw.u32 q7, [r11, #16]\n\t"                                                                                     \
    "mvn r7, #255\n\t"                                                                                                 \
    "lsl r12, r10, #4\n\t"                                                                                             \
    "add r4, r9, r10\n\t"                                                                                              \
    "add r5, r4, r10\n\t"                                                                                              \
    "add r6, r5, r10\n\t"
#define EVEN_SUMS(all, odd) "vmla.s16 " all ", " odd ", r7\n\t"
#define PUT(all, odd)                                                                                                  \
    EVEN_SUMS(all, odd)                                                                                                \
    "vmovlb.s16 q6, " all "\n\tvstrw.32 q6, [r9, q7]\n\t"                                                              \
    "vmovlb.s16 q6, " odd "\n\tvstrw.32 q6, [r4, q7]\n\t"                                                              \
    "vmovlt.s16 q6, " all "\n\tvstrw.32 q6, [r5, q7]\n\t"                                                              \
    "vmovlt.s16 q6, " odd "\n\tvstrw.32 q6, [r6, q7]\n\t"
#define PUT_NEXT(all, odd) "vadd.i32 q7, q7, r12\n\t" PUT(all, odd)
/* One output in four, of those that r8 counts from the first of them on. */
#define PUT_SOME(widen, sums, to)                                                                                      \
    "add r7, r8, #3\n\t"                                                                                               \
    "lsr r7, r7, #2\n\t"                                                                                               \
    "vctp.32 r7\n\t" widen ".s16 q6, " sums "\n\t"                                                                     \
    "vpst\n\t"                                                                                                         \
    "vstrwt.32 q6, [" to ", q7]\n\t"                                                                                   \
    "subs r8, #1\n\t"

/* clang-format off */
ESNN_MVE_FUNCTION("esnn_mve_rows",
    "push {r4-r11, lr}\n\t"
    "vpush {d8-d15}\n\t"
    "mov r9, r2\n\t"
    "mov r11, r3\n\t"
    "ldm r11, {r2, r3, r8, r10}\n\t"
    "cmp r8, #48\n\t"
    "blo 6f\n"
    "5:\n\t"
    START NO_SUM("q0", "q3") NO_SUM("q1", "q4") NO_SUM("q2", "q5")
    ADD_ROWS(ROW_48)
    PLACES PUT("q0", "q3") PUT_NEXT("q1", "q4") PUT_NEXT("q2", "q5")
    "adds r2, #48\n\t"
    "add r9, r9, r12, lsl #1\n\t"
    "add r9, r9, r12\n\t"
    "subs r8, #48\n\t"
    "beq 9f\n\t"
    "cmp r8, #48\n\t"
    "bhs 5b\n"
    "6:\n\t"
    "cmp r8, #32\n\t"
    "blo 7f\n\t"
    START NO_SUM("q0", "q3") NO_SUM("q1", "q4")
    ADD_ROWS(ROW_32)
    PLACES PUT("q0", "q3") PUT_NEXT("q1", "q4")
    "adds r2, #32\n\t"
    "add r9, r9, r12, lsl #1\n\t"
    "subs r8, #32\n\t"
    "beq 9f\n"
    "7:\n\t"
    START NO_SUM("q0", "q3")
    "add r5, r8, #3\n\t"
    "lsr r5, r5, #2\n\t" /* words of a row; 4 and more fill a vector */
    "vctp.32 r5\n\t"
    ADD_ROWS(ROW_16)
    PLACES
    "adds r2, #16\n\t"
    "cmp r8, #16\n\t"
    "bhi 8f\n\t"
    EVEN_SUMS("q0", "q3")
    PUT_SOME("vmovlb", "q0", "r9") PUT_SOME("vmovlb", "q3", "r4") PUT_SOME("vmovlt", "q0", "r5")
    PUT_SOME("vmovlt", "q3", "r6")
    "b 9f\n"
    "8:\n\t"
    PUT("q0", "q3")
    "add r9, r9, r12\n\t"
    "subs r8, #16\n\t"
    "b 7b\n"
    "9:\n\t"
    "vpop {d8-d15}\n\t"
    "pop {r4-r11, pc}");
/* clang-format on */

static row_sums sums_of(const uint32_t *w, uint32_t outputs, uint32_t stride) {
    const uint32_t bytes = 4 * stride;
    const row_sums sums = {
        (const uint8_t *)w, (outputs + 3) / 4 * 4, outputs, bytes, {0, 4 * bytes, 8 * bytes, 12 * bytes}};
    return sums;
}

/* The rows beyond those that sums of 16 bits take are added to what these gave. */
static ESNN_NOINLINE void add_more(const uint16_t *list, uint32_t n, int32_t *a, const row_sums *all) {
    enum { SOME = 48 };
    for (uint32_t at = 0; at < n; at += ESNN_MOST_ROWS) {
        const uint32_t left = n - at, rows = left < ESNN_MOST_ROWS ? left : ESNN_MOST_ROWS;
        for (uint32_t done = 0; done < all->outputs; done += SOME) {
            const uint32_t outputs = all->outputs - done;
            int32_t more[SOME];
            const row_sums sums = {all->w + done, all->row_bytes, outputs < SOME ? outputs : SOME, 4, {0, 16, 32, 48}};
            esnn_mve_rows(list + at, rows, more, &sums);
            ESNN_ONE_TURN
            for (uint32_t o = 0; o < sums.outputs; o++) {
                a[(done + o) * (all->stride / 4)] += more[o];
            }
        }
    }
}

static ESNN_NOINLINE void sum_many(const uint16_t *list, uint32_t n, int32_t *a, const row_sums *sums) {
    esnn_mve_rows(list, ESNN_MOST_ROWS, a, sums);
    add_more(list + ESNN_MOST_ROWS, n - ESNN_MOST_ROWS, a, sums);
}

static inline void sum_list(const uint16_t *list, uint32_t n, int32_t *a, const row_sums *sums) {
    if (n <= ESNN_MOST_ROWS) {
        esnn_mve_rows(list, n, a, sums);
    } else {
        sum_many(list, n, a, sums);
    }
}

/* Lists are made from words: bit i of a word is input or channel i. The order of a list does not matter, and the top
 * bit is the first to be found. Entry r3 is that of bit 31, the word r4; r5 and r12 are changed, r6 holds the top bit.
 */
#define LIST_BITS                                                                                                      \
    "2:\n\t"                                                                                                           \
    "clz r5, r4\n\t"                                                                                                   \
    "lsr r12, r6, r5\n\t"                                                                                              \
    "bics r4, r4, r12\n\t"                                                                                             \
    "sub r5, r3, r5\n\t"                                                                                               \
    "strh r5, [r2], #2\n\t"                                                                                            \
    "bne 2b\n"                                                                                                         \
    "3:\n\t"

/* Lists which of 32*blocks inputs fired; returns where the list ends. */
uint16_t *esnn_mve_list_inputs(const uint8_t *x, uint32_t blocks, uint16_t *to);
/* Lists which bits are set in each of n words, one at least, of which the first one's bit 0 is `entry`; the next one's
 * is `step` on. starts[i] = how far the list of word i is from `list`. */
uint16_t *esnn_mve_list_words(const uint32_t *words, uint32_t n, uint16_t *to, uint32_t entry, uint32_t step,
                              uint16_t *starts, const uint16_t *list);

/* clang-format off */
ESNN_MVE_FUNCTION("esnn_mve_list_inputs",
    "push {r4-r6, lr}\n\t"
    "movs r3, #31\n\t"
    "mov r6, #0x80000000\n\t"
    "wls lr, r1, 4f\n"
    "1:\n\t"
    "vldrb.u8 q0, [r0], #16\n\t"
    "vldrb.u8 q1, [r0], #16\n\t"
    "vcmp.i8 ne, q0, zr\n\t"
    "vmrs r4, p0\n\t"
    "vcmp.i8 ne, q1, zr\n\t"
    "vmrs r5, p0\n\t"
    "orrs r4, r4, r5, lsl #16\n\t"
    "beq 3f\n"
    LIST_BITS
    "adds r3, #32\n\t"
    "le lr, 1b\n"
    "4:\n\t"
    "mov r0, r2\n\t"
    "pop {r4-r6, pc}");
ESNN_MVE_FUNCTION("esnn_mve_list_words",
    "push {r4-r9, lr}\n\t"
    "ldrd r7, r8, [sp, #28]\n\t"
    "ldr r9, [sp, #36]\n\t"
    "adds r3, #31\n\t"
    "mov r6, #0x80000000\n\t"
    "dls lr, r1\n"
    "1:\n\t"
    "sub r5, r2, r9\n\t"
    "lsrs r5, r5, #1\n\t"
    "strh r5, [r8], #2\n\t"
    "ldr r4, [r0], #4\n\t"
    "cbz r4, 3f\n"
    LIST_BITS
    "add r3, r7\n\t"
    "le lr, 1b\n\t"
    "mov r0, r2\n\t"
    "pop {r4-r9, pc}");
/* clang-format on */

/* Lists which inputs fired; returns how many. */
static uint32_t list_all(const uint8_t *x, uint32_t inputs, uint16_t *list) {
    const uint32_t listed = inputs / 32 * 32;
    uint16_t *to = esnn_mve_list_inputs(x, inputs / 32, list);
    for (uint32_t i = listed; i < inputs; i++) {
        *to = (uint16_t)i;
        to += x[i];
    }
    return (uint32_t)(to - list);
}

void esnn_event_linear(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, uint32_t inputs,
                       uint32_t outputs) {
    const row_sums sums = sums_of(w, outputs, 1);
    sum_list(scratch, list_all(x, inputs, scratch), a, &sums);
}

void esnn_event_packed_linear(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                              uint32_t inputs, uint32_t outputs) {
    const esnn_event_rows rows = {w, inputs, outputs, 1};
    esnn_event_packed_sum(scratch, list_all(x, inputs, scratch), a, &rows, bits);
}

/* Records of a row of pixels: for each 32 channels W + 1 places, where the list of each pixel starts, then the lists
 * one after another. An entry is pixel*C + channel modulo 2^16. The windows of a row of the kernel are then one list.
 */
enum { CHANNELS = 32, PIXELS = 16, WORDS = 4 };

/* A word for each of 16 pixels: bit c is channel c of up to 32, which are `area` apart. */
static void fired_of_pixels(const uint8_t *x, uint32_t channels, uint32_t area, mve_pred16_t some, uint32_t *fired) {
    uint8x16x4_t bits;
    for (uint32_t byte = 0; byte < WORDS; byte++) {
        const uint32_t n = channels < 8 ? channels : 8;
        uint8x16_t sum = vdupq_n_u8(0);
        const uint8_t *channel = x + n * area;
        ESNN_ONE_TURN
        for (uint32_t c = 0; c < n; c++) {
            channel -= area;
            sum = vsliq_n_u8(vld1q_z_u8(channel, some), sum, 1);
        }
        bits.val[byte] = sum;
        x += n * area;
        channels -= n;
    }
    vst4q_u8((uint8_t *)fired, bits);
}

void esnn_event_record_row(const uint8_t *x, uint16_t *record, const esnn_window *g) {
    const uint32_t area = g->height * g->width;
    for (uint32_t first = 0; first < g->channels; first += CHANNELS) {
        const uint32_t left = g->channels - first, channels = left < CHANNELS ? left : CHANNELS;
        uint16_t *const list = record + g->width + 1, *to = list;
        uint32_t entry = first;
        for (uint32_t at = 0; at < g->width; at += PIXELS) {
            const uint32_t pixels = g->width - at < PIXELS ? g->width - at : PIXELS;
            uint32_t fired[PIXELS];
            fired_of_pixels(x + at, channels, area, vctp8q(pixels), fired);
            to = esnn_mve_list_words(fired, pixels, to, entry, g->channels, record + at, list);
            entry += pixels * g->channels;
        }
        record[g->width] = (uint16_t)(to - list);
        record = list + channels * g->width;
        x += channels * area;
    }
}

/* The lists of some kernel rows in one group of channels; the offsets are those in the assembly below. */
typedef struct {
    const uint16_t *record; /* 0: of the first of these rows */
    const uint16_t *end;    /* past the last record, and */
    uint32_t all_bytes;     /* how far that is from the first one */
    uint32_t record_bytes;  /* 12 */
    uint32_t rows;          /* 16, one at least */
    uint32_t step;          /* 20: from kernel row to kernel row, in rows of weights */
    uint32_t start_bytes;   /* 24: of the places before the lists */
} window_lists;

/* Joins the lists of pixels first..first + pixels with `on` added, and a step more for each kernel row; returns where
 * the list ends. */
uint16_t *esnn_mve_join(const window_lists *lists, uint32_t first, uint32_t pixels, uint16_t *to, uint32_t on);

/* clang-format off */
ESNN_MVE_FUNCTION("esnn_mve_join",
    "push {r4-r11, lr}\n\t"
    "ldr r8, [sp, #36]\n\t"
    "ldm r0, {r4-r7, r9-r11}\n\t"
    "add r4, r4, r1, lsl #1\n\t" /* to the place of the first pixel */
    "add r5, r5, r1, lsl #1\n\t"
    "sub r11, r11, r1, lsl #1\n\t"
    "lsls r2, r2, #1\n"
    "1:\n\t"
    "ldrh r0, [r4]\n\t"
    "ldrh r12, [r4, r2]\n\t"
    "mov r1, r3\n\t"
    "subs r12, r12, r0\n\t"
    "add r0, r11, r0, lsl #1\n\t"
    "add r0, r4\n\t"
    "add r3, r3, r12, lsl #1\n\t"
    "wlstp.16 lr, r12, 3f\n"
    "2:\n\t"
    "vldrh.u16 q0, [r0], #16\n\t"
    "vadd.i16 q0, q0, r8\n\t"
    "vstrh.16 q0, [r1], #16\n\t"
    "letp lr, 2b\n"
    "3:\n\t"
    "add r8, r10\n\t"
    "add r4, r7\n\t"
    "cmp r4, r5\n\t"
    "it eq\n\t"
    "subeq r4, r4, r6\n\t"
    "subs r9, #1\n\t"
    "bne 1b\n\t"
    "mov r0, r3\n\t"
    "pop {r4-r11, pc}");
/* clang-format on */

/* The same for all groups of channels; what the groups before take of a record is left out. */
static ESNN_NOINLINE uint16_t *join_groups(const window_lists *lists, uint32_t first, uint32_t pixels, uint16_t *to,
                                           uint32_t on, const esnn_window *g) {
    window_lists group = *lists;
    for (uint32_t channel = 0; channel < g->channels; channel += CHANNELS) {
        to = esnn_mve_join(&group, first, pixels, to, on);
        group.record += g->width + 1 + CHANNELS * g->width;
        group.end += g->width + 1 + CHANNELS * g->width;
    }
    return to;
}

/* The list of one window, whose first column may be outside the image and then wraps around; returns where it ends. */
static ESNN_NOINLINE uint16_t *list_window(const window_lists *lists, uint32_t column, uint16_t *to, uint32_t on,
                                           const esnn_window *g) {
    const esnn_span beside = esnn_inside(column + g->padding_left, g->kernel_width, g->padding_left, g->width);
    if (lists->rows == 0 || beside.first == beside.last) {
        return to;
    }
    return join_groups(lists, column + beside.first, beside.last - beside.first, to, on, g);
}

/* As in esnn_event_conv.c. */
static ESNN_INLINE void output_row(const esnn_event_band *band, const uint32_t *w, uint32_t bits, int packed,
                                   uint16_t *list, int32_t *a) {
    const esnn_window *g = band->g;
    const uint32_t kernel = g->kernel_width, stride = g->stride_width, step = stride * g->channels;
    const uint32_t record = ESNN_EVENT_RECORD(g->channels, g->width), all = g->kernel_height * record;
    const uint32_t pixels = g->out_height * g->out_width;
    const row_sums sums = sums_of(w, g->out_channels, pixels);
    const esnn_event_rows rows = {w, g->kernel_height * kernel * g->channels, g->out_channels, pixels};
    const window_lists lists = {band->records + band->slot * record,
                                band->records + all,
                                2 * all,
                                2 * record,
                                band->kernel_rows.last - band->kernel_rows.first,
                                kernel * g->channels,
                                2 * (g->width + 1)};
    /* Windows of one group of channels that start before this column are whole. */
    const uint32_t whole = g->channels <= CHANNELS && g->width >= kernel && lists.rows > 0 ? g->width - kernel + 1 : 0;
    uint32_t on = (band->kernel_rows.first * kernel + g->padding_left) * g->channels, column = 0 - g->padding_left;
    ESNN_ONE_TURN
    for (const int32_t *end = a + g->out_width; a != end; a++, on -= step, column += stride) {
        const uint16_t *to =
            column < whole ? esnn_mve_join(&lists, column, kernel, list, on) : list_window(&lists, column, list, on, g);
        if (packed) {
            esnn_event_packed_sum(list, (uint32_t)(to - list), a, &rows, bits);
        } else {
            sum_list(list, (uint32_t)(to - list), a, &sums);
        }
    }
}

void esnn_event_output_row(const esnn_event_band *band, const uint32_t *w, uint16_t *list, int32_t *a) {
    output_row(band, w, 8, 0, list, a);
}

void esnn_event_packed_output_row(const esnn_event_band *band, const uint32_t *w, uint32_t bits, uint16_t *list,
                                  int32_t *a) {
    output_row(band, w, bits, 1, list, a);
}

#endif
