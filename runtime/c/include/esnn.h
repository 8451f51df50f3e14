/* edgesnn C runtime: a spiking network that infers and learns in integers, in constant memory.
 *
 * Memory contract
 *   - No heap, no globals that change, no recursion, no variable-length arrays, no stdio, no floating point, no libm.
 *     memcpy, memset and memcmp are the only library functions used.
 *   - The caller owns one arena of <MODEL>_ARENA_BYTES bytes, aligned to 4, best declared as an array of uint32_t. It
 *     starts with the persistent tensors (states, learned parameters), `snapshot_bytes` of them; scratch follows.
 *   - Weights and factory parameters are const and stay in flash.
 *   - Time and stack of every call are bounded by the model alone, not by the length of the stream.
 *
 * Example, for a generated model `watch`
 *     #include "watch.h"
 *     static uint32_t arena[WATCH_ARENA_BYTES / 4];
 *     static esnn_net net;
 *     int32_t y[WATCH_CLASSES];
 *     if (esnn_init(&net, &watch_model, arena, sizeof arena) != ESNN_OK) { ... }
 *     for (;;) {
 *         int status = esnn_step(&net, read_frame(), y);      // WATCH_INPUT_BYTES bytes in, int32 logits out
 *         if (status == ESNN_OK && user_gave_label()) status = esnn_learn(&net, user_label());
 *         if (status != ESNN_OK) report(esnn_strerror(status));
 *     }
 *
 * Threads and interrupts
 *   - The runtime keeps nothing outside the net and its arena. Different nets may run at the same time in different
 *     threads or interrupts; calls on one net must not overlap.
 *   - A call may be preempted at any point. None waits, unless the read or write of an esnn_storage does.
 *
 * Integers are two's complement and little-endian; a big-endian target is refused when compiling.
 */
#ifndef ESNN_H
#define ESNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Generated code refuses to compile against another number. */
#define ESNN_ABI 1

#if defined(__GNUC__)
#define ESNN_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ESNN_MUST_CHECK
#endif

/* Every status and its text: 0 is success, errors are negative. */
#define ESNN_STATUS_LIST(X)                                                                                            \
    X(ESNN_OK, 0, "ok")                                                                                                \
    X(ESNN_E_ARGUMENT, -1, "a required pointer is NULL")                                                               \
    X(ESNN_E_ABI, -2, "the model was generated for another version of the runtime")                                    \
    X(ESNN_E_ARENA_SIZE, -3, "the arena is smaller than the arena_bytes of the model")                                 \
    X(ESNN_E_ARENA_ALIGNMENT, -4, "the arena is not aligned to 4 bytes")                                               \
    X(ESNN_E_LABEL, -5, "the label is not a class of the model")                                                       \
    X(ESNN_E_NO_LEARNING, -6, "the model was exported without learning")                                               \
    X(ESNN_E_SLOT_SIZE, -7, "a storage slot is smaller than 32 bytes plus the snapshot_bytes of the model")            \
    X(ESNN_E_STORAGE_READ, -8, "reading the storage failed")                                                           \
    X(ESNN_E_STORAGE_WRITE, -9, "writing the storage failed")                                                          \
    X(ESNN_E_NO_STATE, -10, "the storage holds no intact state")                                                       \
    X(ESNN_E_OTHER_MODEL, -11, "the storage holds the state of another model")                                         \
    X(ESNN_E_FLASH_GEOMETRY, -12, "the flash takes fewer than two slots, or its write_bytes or block_bytes are wrong")

enum esnn_status {
#define ESNN_STATUS_ENUM(name, value, text) name = (value),
    ESNN_STATUS_LIST(ESNN_STATUS_ENUM)
#undef ESNN_STATUS_ENUM
};

enum esnn_tensor_kind {
    ESNN_STATE = 0,  /* membranes, traces, logits: zero after esnn_init and esnn_reset */
    ESNN_PARAM = 1,  /* learned parameters: factory value after esnn_init, kept by esnn_reset */
    ESNN_LEARNER = 2 /* counters of the learner: zero after esnn_init, kept by esnn_reset */
};

/* One persistent tensor in the arena. */
typedef struct {
    uint32_t offset;     /* bytes from the start of the arena, a multiple of 4 */
    uint32_t bytes;      /* without the padding to 4 */
    uint32_t kind;       /* enum esnn_tensor_kind */
    const void *factory; /* `bytes` bytes for ESNN_PARAM, NULL for the others */
} esnn_tensor;

/* A generated model: constant, in flash. Fields may be read by the application. */
typedef struct esnn_model {
    const char *name;
    uint64_t id;             /* first 64 bits of the source hash: state files of other models are refused */
    uint32_t abi;            /* ESNN_ABI when generated */
    uint32_t arena_bytes;    /* RAM of the model */
    uint32_t snapshot_bytes; /* snapshot: the first snapshot_bytes of the arena */
    uint32_t input_bytes;    /* one frame */
    uint32_t classes;        /* K: length of y */
    uint32_t tensor_count;
    const esnn_tensor *tensors; /* [tensor_count], in snapshot order */
    void (*step)(uint8_t *arena, const void *x, int32_t *y);
    void (*learn)(uint8_t *arena, int32_t label); /* NULL: the model does not learn */
} esnn_model;

/* A model with its arena. Two nets may share a model. */
typedef struct {
    const esnn_model *model;
    uint8_t *arena;
} esnn_net;

/* Non-volatile memory that takes single bytes (EEPROM, FRAM, a file), as two slots back to back: bytes [0, slot_bytes)
 * and [slot_bytes, 2*slot_bytes). read and write move n bytes at `offset` and return 0, or anything else on failure.
 * write must have reached the memory when it returns. esnn_save writes a slot's payload first (ascending, from byte 32
 * of the slot) and its 32-byte header last, and never touches the other slot. For flash, see esnn_port.h. */
typedef struct {
    void *ctx;
    uint32_t slot_bytes;
    int (*read)(void *ctx, uint32_t offset, void *dst, uint32_t n);
    int (*write)(void *ctx, uint32_t offset, const void *src, uint32_t n);
} esnn_storage;

/* Bind a model to an arena and set the factory state. */
ESNN_MUST_CHECK int esnn_init(esnn_net *net, const esnn_model *model, void *arena, size_t arena_bytes);

/* One time step: x is one frame of input_bytes, y receives `classes` logits; the decision is the largest, the first
 * one on a tie. */
ESNN_MUST_CHECK int esnn_step(esnn_net *net, const void *x, int32_t *y);

/* Learn that the most recent step belongs to class `label`, 0 <= label < classes. */
ESNN_MUST_CHECK int esnn_learn(esnn_net *net, int32_t label);

/* Forget the stream: states go to zero, learned parameters stay. */
ESNN_MUST_CHECK int esnn_reset(esnn_net *net);

/* Write all persistent tensors into the older slot. A power cut at any byte leaves the newer one usable. */
ESNN_MUST_CHECK int esnn_save(const esnn_net *net, const esnn_storage *storage);

/* Read the newest intact slot. On an error the net is unchanged; only if a slot that was intact a moment ago cannot be
 * read again, the net is left in its factory state. */
ESNN_MUST_CHECK int esnn_load(esnn_net *net, const esnn_storage *storage);

/* ESNN_ABI of the runtime that is linked. */
uint32_t esnn_version(void);

/* One line for a status code; never NULL. */
const char *esnn_strerror(int status);

#ifdef __cplusplus
}
#endif

#endif
