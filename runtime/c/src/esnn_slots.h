/* Slots in non-volatile memory: their bytes, and which one is the newest. Private; esnn_storage.c and esnn_flash.c say
 * where the slots lie and how they are written. */
#ifndef ESNN_SLOTS_H
#define ESNN_SLOTS_H

#include "esnn.h"

/* A slot is this header and then the payload. */
typedef struct {
    uint32_t magic;
    uint32_t abi;
    uint32_t model[2]; /* id, low word first */
    uint32_t sequence;
    uint32_t payload_bytes;
    uint32_t payload_crc;
    uint32_t header_crc; /* of the 28 bytes before */
} esnn_slot_header;

_Static_assert(sizeof(esnn_slot_header) == 32, "the header of a slot is 32 bytes");

/* Slots in groups: what is erased together. Slots are numbered through the groups and used like a ring. */
typedef struct {
    void *ctx;
    int (*read)(void *ctx, uint32_t offset, void *dst, uint32_t n);
    uint32_t slot_bytes;  /* from one slot of a group to the next */
    uint32_t group_bytes; /* from one group to the next */
    uint32_t group_slots; /* slots of a group */
    uint32_t groups;      /* at least 2, so that the newest slot is never erased */
} esnn_slots;

/* Where slot `slot` begins, in bytes. */
uint32_t esnn_slots_offset(const esnn_slots *slots, uint32_t slot);

/* Where the next save belongs, and its header. ESNN_E_STORAGE_READ: there is no intact slot, and more cannot be read
 * than the one group that a save which was cut may have left so. */
int esnn_slots_next(const esnn_net *net, const esnn_slots *slots, uint32_t *slot, esnn_slot_header *header);

/* Whether slot `slot` reads back as written, this header and its payload: ESNN_OK, or ESNN_E_STORAGE_WRITE. */
int esnn_slots_verify(const esnn_slots *slots, uint32_t slot, const esnn_slot_header *written);

/* Read the newest intact slot into the net. */
int esnn_slots_load(esnn_net *net, const esnn_slots *slots);

#endif
