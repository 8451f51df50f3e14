/* What a firmware engineer writes once for the flash of a chip, and the two calls that then keep what was learned.
 *
 * The flash is a partition of `blocks` erase blocks, offsets counted from its start. esnn_flash_save writes the state
 * into slots that follow one another through the partition like a ring and erases a block only when the ring enters it,
 * never the one that holds the newest state; docs/state.md has the bytes, the wear and a port for an STM32.
 *
 * Memory: no heap, no buffer but one page of 256 bytes on the stack. Time: a save reads every slot's header and the
 * payload of a few, erases at most one slot's blocks and programs one slot.
 *
 * Threads and interrupts: read, program and erase are called from the thread that saves or loads and may wait; the net
 * must not be stepped meanwhile. Two partitions never share a block.
 */
#ifndef ESNN_PORT_H
#define ESNN_PORT_H

#include "esnn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All three functions return 0, or anything else on failure, and what they were asked for is done when they return.
 *   read     copies n bytes; fails where the chip reports an error it cannot correct (a torn write under ECC).
 *   program  changes bits from 1 to 0. offset and n are multiples of write_bytes, src is aligned to 4, and the range
 *            lies within one aligned page of 256 bytes. No unit is programmed twice between two erases.
 *   erase    sets every byte of one block to 0xFF. */
typedef struct {
    void *ctx;
    uint32_t block_bytes; /* what one erase clears, a multiple of write_bytes */
    uint32_t blocks;      /* in the partition */
    uint32_t write_bytes; /* the unit of program: a power of two, 1 to 256 */
    int (*read)(void *ctx, uint32_t offset, void *dst, uint32_t n);
    int (*program)(void *ctx, uint32_t offset, const void *src, uint32_t n);
    int (*erase)(void *ctx, uint32_t block);
} esnn_flash;

/* How often this model can be saved while each block is erased once, if no save is cut: with a chip that endures E
 * erases, E times this number of saves. It is also the number of slots. 0: the geometry does not fit the model. */
uint32_t esnn_flash_saves_per_erase(const esnn_model *model, const esnn_flash *flash);

/* Write all persistent tensors into the next slot and read them back. A power cut at any moment, or an error, leaves
 * the newest state before it usable. */
ESNN_MUST_CHECK int esnn_flash_save(const esnn_net *net, const esnn_flash *flash);

/* Read the newest intact slot; errors as in esnn_load. */
ESNN_MUST_CHECK int esnn_flash_load(esnn_net *net, const esnn_flash *flash);

#ifdef __cplusplus
}
#endif

#endif
