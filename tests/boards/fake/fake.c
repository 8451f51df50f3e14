/* A hand-written package in the shape of a generated one, for tests of the harness and the emulator.
 *
 * State {steps, sum of inputs}, learner {last label}; y = {steps, sum, label}. The first input byte may ask for trouble.
 */
#include "fake.h"

enum { HANG = 250, FAULT = 251, DEEP = 252 };

static volatile int32_t sink;

__attribute__((noinline)) static void fake_layer_0_sum(int32_t *state, const uint8_t *x) {
    for (int i = 0; i < FAKE_INPUT_BYTES; i++) {
        state[1] += x[i];
    }
}

__attribute__((noinline)) static void spin(int32_t turns) {
    for (int32_t i = 0; i < turns; i++) {
        sink = i;
    }
}

__attribute__((noinline)) static void fake_layer_1_spin(const uint8_t *x) {
    spin(x[1]);
}

__attribute__((noinline)) static int32_t recurse(int32_t depth) {
    volatile int32_t frame[32];
    frame[depth & 31] = depth;
    return depth > 0 ? recurse(depth - 1) + frame[depth & 31] : frame[0];
}

static void step(uint8_t *arena, const void *x, int32_t *y) {
    const uint8_t *bytes = x;
    int32_t *state = (int32_t *)(void *)arena;
    if (bytes[0] == HANG) {
        for (;;) {
            sink = 0;
        }
    } else if (bytes[0] == FAULT) {
        *(volatile int32_t *)0xF0000000U = 1;
    } else if (bytes[0] == DEEP) {
        sink = recurse(bytes[1]);
    }
    state[0] += 1;
    fake_layer_0_sum(state, bytes);
    fake_layer_1_spin(bytes);
    for (int i = 0; i < FAKE_CLASSES; i++) {
        y[i] = state[i];
    }
}

static void learn(uint8_t *arena, int32_t label) {
    ((int32_t *)(void *)arena)[2] = label;
    spin(100);
}

static const esnn_tensor tensors[] = {
    {0, 8, ESNN_STATE, NULL},
    {8, 4, ESNN_LEARNER, NULL},
};

const esnn_model fake_model = {
    .name = "fake",
    .id = 0x0123456789abcdefu,
    .abi = ESNN_ABI,
    .arena_bytes = FAKE_ARENA_BYTES,
    .snapshot_bytes = FAKE_SNAPSHOT_BYTES,
    .input_bytes = FAKE_INPUT_BYTES,
    .classes = FAKE_CLASSES,
    .tensor_count = 2,
    .tensors = tensors,
    .step = step,
    .learn = learn,
};
