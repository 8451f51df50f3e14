/* A package in the shape of a generated one whose "step" calls one kernel: the frame is a request, y the results. */
#include "kernel_server.h"

#include "esnn_kernels.h"

enum {
    LINEAR,
    BINARY_LINEAR,
    CONV2D,
    BINARY_CONV2D,
    EVENT_LINEAR,
    EVENT_CONV2D,
    PACKED_LINEAR,
    PACKED_CONV2D,
    EVENT_PACKED_LINEAR,
    EVENT_PACKED_CONV2D,
    RESCALE,
    EMPF,
    PARALLEL_EMPF,
    LIF,
    LEAKY_INTEGRATE,
    TRACE
};

typedef struct {
    uint32_t kernel, format;
    uint32_t skip_x, skip_w; /* unused bytes before x and w, to try every alignment */
    int32_t number[4];
    esnn_window g;
    uint8_t x[4096 + 16];
    uint8_t w[6112];
} request;

_Static_assert(sizeof(request) == KERNEL_SERVER_INPUT_BYTES, "the frame is one request");

static void synapse(const request *r, int16_t *patch, int32_t *a) {
    const esnn_format format = r->format != 0 ? ESNN_S8 : ESNN_U8;
    const uint8_t *x = r->x + r->skip_x, *w = r->w + r->skip_w;
    switch (r->kernel) {
    case LINEAR:
        esnn_linear(x, format, (const int8_t *)w, patch, a, r->g.channels, r->g.out_channels);
        break;
    case BINARY_LINEAR:
        esnn_binary_linear(x, format, w, patch, a, r->g.channels, r->g.out_channels);
        break;
    case CONV2D:
        esnn_conv2d(x, format, (const int8_t *)w, patch, a, &r->g);
        break;
    case BINARY_CONV2D:
        esnn_binary_conv2d(x, format, w, patch, a, &r->g);
        break;
    case EVENT_LINEAR:
        esnn_event_linear(r->x, (const uint32_t *)(const void *)r->w, (uint16_t *)patch, a, r->g.channels,
                          r->g.out_channels);
        break;
    default:
        esnn_event_conv2d(r->x, (const uint32_t *)(const void *)r->w, (uint16_t *)patch, a, &r->g);
        break;
    }
}

/* With weights of number[0] bits, in words; number[1..3] are the dilations and groups of a convolution. */
static void packed_synapse(const request *r, int16_t *patch, int32_t *a) {
    const esnn_format format = r->format != 0 ? ESNN_S8 : ESNN_U8;
    const int32_t *p = r->number;
    const esnn_grouped_window grouped = {r->g, (uint32_t)p[1], (uint32_t)p[2], (uint32_t)p[3]};
    const uint32_t *w = (const uint32_t *)(const void *)r->w, bits = (uint32_t)p[0];
    switch (r->kernel) {
    case PACKED_LINEAR:
        esnn_packed_linear(r->x + r->skip_x, format, w, bits, patch, a, r->g.channels, r->g.out_channels);
        break;
    case PACKED_CONV2D:
        esnn_packed_conv2d(r->x + r->skip_x, format, w, bits, patch, a, &grouped);
        break;
    case EVENT_PACKED_LINEAR:
        esnn_event_packed_linear(r->x, w, bits, (uint16_t *)patch, a, r->g.channels, r->g.out_channels);
        break;
    default:
        esnn_event_packed_conv2d(r->x, w, bits, (uint16_t *)patch, a, &r->g);
        break;
    }
}

/* x holds currents or sums, w membranes or constants; y gets what is updated, then spikes. */
static void elementwise(const request *r, int32_t *v, uint8_t *s, int32_t *y) {
    const int32_t *current = (const int32_t *)(const void *)r->x, *given = (const int32_t *)(const void *)r->w;
    const int32_t *p = r->number;
    const uint32_t n = r->g.channels;
    for (uint32_t i = 0; i < n; i++) {
        v[i] = given[i];
    }
    switch (r->kernel) {
    case RESCALE:
        esnn_rescale(current, given, given + r->g.out_channels, v, r->g.out_channels, n / r->g.out_channels,
                     (uint32_t)p[0], (uint32_t)p[1]);
        break;
    case EMPF:
        esnn_empf(v, current, s, n, p[0], p[1], (uint32_t)p[2], (uint32_t)p[3]);
        break;
    case PARALLEL_EMPF:
        esnn_parallel_empf(current, s, n, p[1], (uint32_t)p[2], (uint32_t)p[3]);
        break;
    case LIF:
        esnn_lif(v, current, s, n, p[0], p[1]);
        break;
    case LEAKY_INTEGRATE:
        esnn_leaky_integrate(v, current, n, p[0]);
        break;
    default:
        esnn_trace(v, r->x, n, p[0], p[1], p[2]);
        break;
    }
    for (uint32_t i = 0; i < n; i++) {
        y[i] = v[i];
        y[n + i] = s[i];
    }
}

static void step(uint8_t *arena, const void *x, int32_t *y) {
    const request *r = x;
    for (uint32_t i = 4; i < KERNEL_SERVER_ARENA_BYTES; i++) {
        arena[i] = 0xa5; /* scratch holds garbage before a call */
    }
    for (uint32_t i = 0; i < KERNEL_SERVER_CLASSES; i++) {
        y[i] = 0;
    }
    if (r->kernel <= EVENT_CONV2D) {
        synapse(r, (int16_t *)(void *)(arena + 4), y);
    } else if (r->kernel <= EVENT_PACKED_CONV2D) {
        packed_synapse(r, (int16_t *)(void *)(arena + 4), y);
    } else {
        elementwise(r, (int32_t *)(void *)(arena + 4), arena + 4 + 4096, y);
    }
}

static const esnn_tensor tensors[] = {
    {0, 4, ESNN_STATE, NULL},
};

const esnn_model kernel_server_model = {
    .name = "kernel_server",
    .id = 1,
    .abi = ESNN_ABI,
    .arena_bytes = KERNEL_SERVER_ARENA_BYTES,
    .snapshot_bytes = KERNEL_SERVER_SNAPSHOT_BYTES,
    .input_bytes = KERNEL_SERVER_INPUT_BYTES,
    .classes = KERNEL_SERVER_CLASSES,
    .tensor_count = 1,
    .tensors = tensors,
    .step = step,
    .learn = NULL,
};
