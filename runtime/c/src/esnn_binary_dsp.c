/* Linear synapses with 1-bit weights for the Arm DSP extension.
 *
 * A word of weights holds 32 bits, bit j of byte l for input 8l + j. The inputs of such a block are kept as eight
 * words: the word of bit j holds input 8l + j in byte l, and the words run from bit 7 to bit 0. Doubling every byte of
 * the weights (UADD8) carries one bit out of each; the carries choose (SEL) which bytes of a word are added up
 * (USADA8).
 *
 * Bytes are unsigned: b = x + z, with z = 0 for uint8_t and z = 128 for int8_t, and z stands for no input and for a
 * byte that was not chosen. With n inputs after filling the last block, S the sum of what was chosen or z instead, and
 * B that of all b:  sum of w*x = 2*(S - n*z) - (B - n*z) = 2S - (B + n*z).
 */
#include "esnn_dsp.h"
#include "esnn_table.h"

#if ESNN_DSP && !ESNN_MVE

/* x (32,) -> a block of b; returns their sum. */
static ESNN_NOINLINE uint32_t interleave(const uint8_t *x, uint32_t z, uint32_t *block) {
    uint32_t sum = 0;
    ESNN_ONE_TURN
    for (uint32_t *half = block + 4; half >= block; half -= 4, x += 4) {
        uint32_t word[4];
        esnn_transpose4(esnn_load4(x), esnn_load4(x + 8), esnn_load4(x + 16), esnn_load4(x + 24), word);
        for (uint32_t j = 0; j < 4; j++) {
            half[3 - j] = word[j] ^ z;
            sum = __usada8(word[j] ^ z, 0, sum);
        }
    }
    return sum;
}

/* x (n,) -> blocks of b; returns B + n*z, n filled up. */
static uint32_t make_blocks(const uint8_t *x, uint32_t z, uint32_t *blocks, uint32_t n) {
    uint32_t sum = (n + 31) / 32 * 32 * (z & 0xffu);
    ESNN_ONE_TURN
    for (; n >= 32; n -= 32, x += 32, blocks += 8) {
        sum += interleave(x, z, blocks);
    }
    if (n > 0) {
        uint8_t last[32];
        ESNN_ONE_TURN
        for (uint32_t i = 0; i < 32; i++) {
            last[i] = i < n ? x[i] : 0;
        }
        sum += interleave(last, z, blocks);
    }
    return sum;
}

/* a[o] = 2*S of the whole words of each row - all; two outputs at a time, an odd last one is its own neighbour. */
static ESNN_NOINLINE void whole_words(const uint32_t *x, const uint32_t *end, const uint8_t *w, uint32_t row_bytes,
                                      uint32_t z, uint32_t all, int32_t *a, uint32_t outputs) {
    ESNN_ONE_TURN
    for (; outputs > 1; outputs -= 2, w += 2 * row_bytes) {
        const esnn_sums sum = esnn_dsp_choose(x, end, w, row_bytes, z);
        *a++ = (int32_t)(2 * sum.row0 - all);
        *a++ = (int32_t)(2 * sum.row1 - all);
    }
    if (outputs > 0) {
        *a = (int32_t)(2 * esnn_dsp_choose(x, end, w, 0, z).row0 - all);
    }
}

/* a[o] += 2*S of the bytes of each row that fill no word; w is where they start in the first. */
static void rest_of_rows(const uint32_t *block, const uint8_t *w, uint32_t bytes, uint32_t row_bytes, uint32_t z,
                         int32_t *a, uint32_t outputs) {
    for (; outputs > 0; outputs--, w += row_bytes, a++) {
        const uint32_t word = esnn_load_tail(w, bytes);
        *a += (int32_t)(2 * esnn_dsp_choose(block, block + 8, (const uint8_t *)&word, 0, z).row0);
    }
}

void esnn_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,ceil(C/8)) bits @ x (C,) -> a (O,) */
    if (outputs >= ESNN_TABLE_OUTPUTS) {
        esnn_table_linear(x, format, w, (uint32_t *)(void *)patch, a, inputs, outputs);
        return;
    }
    const uint32_t row_bytes = (inputs + 7) / 8, rest = row_bytes % 4;
    const uint32_t z = format == ESNN_U8 ? 0 : 0x80808080u;
    uint32_t *blocks = (uint32_t *)(void *)patch;
    const uint32_t *end = blocks + row_bytes / 4 * 8;
    const uint32_t all = make_blocks(x, z, blocks, inputs);

    if (end != blocks) {
        whole_words(blocks, end, w, row_bytes, z, all, a, outputs);
    } else {
        for (uint32_t o = 0; o < outputs; o++) {
            a[o] = -(int32_t)all;
        }
    }
    if (rest != 0) {
        rest_of_rows(end, w + row_bytes - rest, rest, row_bytes, z, a, outputs);
    }
}

#endif
