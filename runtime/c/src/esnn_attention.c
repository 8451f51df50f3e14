/* Channel attention: the mean of each channel, a convolution over channels, a sigmoid by table, a product; and the way
 * back through the score. */
#include "esnn_arith.h"
#include "esnn_kernels.h"

enum { ENTRY_BITS = 8, PLACES = 1 << 16 };

/* The table at `place`, linear between entries: table[i] + (rest*(table[i+1] - table[i]) + half) >> ENTRY_BITS. */
static int32_t look_up(const int32_t *table, uint32_t place) {
    const uint32_t entry = place >> ENTRY_BITS, last = (PLACES >> ENTRY_BITS) - 1;
    const int32_t rest = (int32_t)(place & ((1u << ENTRY_BITS) - 1)), low = table[entry];
    const int32_t rise = table[entry < last ? entry + 1 : last] - low;
    return low + esnn_asr32(rest * rise + (1 << (ENTRY_BITS - 1)), ENTRY_BITS);
}

static int32_t score(const int32_t *means, uint32_t channel, const esnn_attention *k) {
    int64_t u = 0;
    for (uint32_t j = 0; j < k->kernel_size; j++) {
        const uint32_t at = channel + j - k->kernel_size / 2; /* wraps around below channel 0 */
        u += at < k->channels ? (int64_t)k->kernel[j] * means[at] : 0;
    }
    const int64_t z = esnn_asr64(u + ((int64_t)1 << (k->shift - 1)), k->shift);
    return look_up(k->table, (uint32_t)(esnn_clamp64(z, -PLACES / 2, PLACES / 2 - 1) + PLACES / 2));
}

static void channel_means(const int32_t *context, int32_t *means, const esnn_attention *k) {
    for (uint32_t c = 0; c < k->channels; c++) {
        int64_t sum = 0;
        ESNN_ONE_TURN
        for (uint32_t p = 0; p < k->pixels; p++) {
            sum += *context++;
        }
        means[c] = (int32_t)esnn_asr64(sum * k->mean + ((int64_t)1 << (k->mean_shift - 1)), k->mean_shift);
    }
}

void esnn_channel_attention(const int32_t *current, const int32_t *context, int32_t *means, int32_t *y,
                            const esnn_attention *k) {
    channel_means(context, means, k);
    for (uint32_t c = 0; c < k->channels; c++) {
        const int32_t of_channel = score(means, c, k);
        ESNN_ONE_TURN
        for (uint32_t p = 0; p < k->pixels; p++) {
            *y++ = (int32_t)esnn_scale(*current++, of_channel, 15);
        }
    }
}

/* The error of a channel's score argument: of the sum of g*current, times the slope of the sigmoid. */
static int32_t argument_error(const int32_t *g, const int32_t *current, int32_t of_channel, uint32_t pixels,
                              uint32_t sum_shift) {
    const int32_t slope = (of_channel * ((1 << 15) - of_channel)) >> 15;
    int64_t sum = (int64_t)1 << (sum_shift - 1);
    ESNN_ONE_TURN
    for (uint32_t p = 0; p < pixels; p++) {
        sum += (int64_t)g[p] * current[p];
    }
    return (int32_t)esnn_asr64(esnn_asr64(sum, sum_shift) * slope + (1 << 12), 13);
}

void esnn_attention_gradient(const int32_t *g, const int32_t *current, const int32_t *context, int32_t *scratch,
                             int32_t *to, const esnn_attention *k, uint32_t sum_shift, uint32_t out_shift) {
    int32_t *errors = scratch + k->channels;
    channel_means(context, scratch, k);
    for (uint32_t c = 0; c < k->channels; c++, g += k->pixels, current += k->pixels) {
        errors[c] = argument_error(g, current, score(scratch, c, k), k->pixels, sum_shift);
    }
    for (uint32_t c = 0; c < k->channels; c++) {
        int64_t u = (int64_t)1 << (out_shift - 1);
        for (uint32_t j = 0; j < k->kernel_size; j++) {
            const uint32_t at = c + k->kernel_size / 2 - j; /* wraps around below channel 0 */
            u += at < k->channels ? (int64_t)k->kernel[j] * errors[at] : 0;
        }
        for (uint32_t p = 0; p < k->pixels; p++) {
            *to++ = (int32_t)esnn_asr64(u, out_shift);
        }
    }
}
