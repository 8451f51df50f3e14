/* An emulated NOR flash whose power can be cut in the middle of any operation. For the host: tests and benches.
 *
 * It is stricter than a chip: a program that would turn a 0 into a 1, programs a unit twice between two erases, is not
 * aligned, or leaves its page of 256 bytes is a violation; it is counted and refused. */
#ifndef NOR_H
#define NOR_H

#include "esnn_port.h"

/* The caller owns the arrays. */
typedef struct {
    uint8_t *memory;  /* [blocks * block_bytes] */
    uint8_t *units;   /* [blocks * block_bytes / write_bytes]: enum nor_unit */
    uint32_t *erases; /* [blocks]: wear */
    uint32_t block_bytes, blocks, write_bytes;
    uint32_t ecc;        /* until its block is erased, a unit torn by a cut cannot be read, or not be programmed */
    uint32_t noise;      /* state of the generator of torn patterns; any number */
    uint32_t off;        /* the power is gone: nothing can be programmed or erased */
    int64_t power;       /* operations (one write unit, one erase) that are whole before one is cut; negative: all */
    uint64_t operations; /* since the start, cut ones too */
    uint64_t violations;
} nor;

/* NOR_WORN takes a program without an error and does not change; an erase does not heal it. */
enum nor_unit { NOR_BLANK = 0, NOR_PROGRAMMED = 1, NOR_UNREADABLE = 2, NOR_UNWRITABLE = 3, NOR_WORN = 4 };

/* Every byte 0xFF, nothing worn. */
void nor_blank(nor *flash);

/* The port of this flash. */
esnn_flash nor_port(nor *flash);

/* The next number of a generator (xorshift32) whose state is not zero. */
uint32_t nor_random(uint32_t *state);

#endif
