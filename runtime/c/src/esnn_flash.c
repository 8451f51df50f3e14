/* esnn_flash_save and esnn_flash_load: a ring of slots on erase blocks.
 *
 * A group is the smallest number of whole blocks that takes a slot; it holds as many slots as fit. A save goes into the
 * slot after the newest. The first slot of a group is always erased before it is written, whatever it looks like: an
 * erase that was cut may look done. A later one is used if it is blank and takes the state, and passed over if a save
 * that was cut has touched it. With two groups or more, the group of the newest slot is never erased.
 *
 * The write units that hold the header are programmed last. A unit may hold the start of the payload, too; it is intact
 * only when its checksum is, so that changes nothing. */
#include "esnn_port.h"

#include "esnn_memory.h"
#include "esnn_slots.h"

#define PAGE_BYTES 256u
#define ERASED 0xFFu

static uint32_t round_up(uint32_t n, uint32_t unit) {
    return (n + unit - 1) / unit * unit;
}

static int lay_out(const esnn_model *model, const esnn_flash *flash, esnn_slots *slots) {
    if (model == NULL || flash == NULL || flash->read == NULL || flash->program == NULL || flash->erase == NULL) {
        return ESNN_E_ARGUMENT;
    }
    const uint32_t unit = flash->write_bytes, block = flash->block_bytes;
    if (unit == 0 || unit > PAGE_BYTES || (unit & (unit - 1)) != 0 || block == 0 || block % unit != 0 ||
        flash->blocks > UINT32_MAX / block) {
        return ESNN_E_FLASH_GEOMETRY;
    }
    const uint32_t slot_bytes = round_up((uint32_t)sizeof(esnn_slot_header) + model->snapshot_bytes, unit);
    const uint32_t group_blocks = (slot_bytes - 1) / block + 1;
    const uint32_t groups = flash->blocks / group_blocks;
    if (groups < 2) {
        return ESNN_E_FLASH_GEOMETRY;
    }
    *slots = (esnn_slots){
        .ctx = flash->ctx,
        .read = flash->read,
        .slot_bytes = slot_bytes,
        .group_bytes = group_blocks * block,
        .group_slots = group_blocks * block / slot_bytes,
        .groups = groups,
    };
    return ESNN_OK;
}

uint32_t esnn_flash_saves_per_erase(const esnn_model *model, const esnn_flash *flash) {
    esnn_slots slots;
    return lay_out(model, flash, &slots) == ESNN_OK ? slots.groups * slots.group_slots : 0;
}

static int is_blank(const esnn_slots *slots, uint32_t slot) {
    uint8_t chunk[64];
    const uint32_t start = esnn_slots_offset(slots, slot), end = start + slots->slot_bytes;
    for (uint32_t at = start; at < end;) {
        const uint32_t n = end - at < sizeof chunk ? end - at : (uint32_t)sizeof chunk;
        if (slots->read(slots->ctx, at, chunk, n) != 0) {
            return 0;
        }
        for (uint32_t i = 0; i < n; i++) {
            if (chunk[i] != ERASED) {
                return 0;
            }
        }
        at += n;
    }
    return 1;
}

static uint32_t next_slot(const esnn_slots *slots, uint32_t slot) {
    return (slot + 1) % (slots->groups * slots->group_slots);
}

/* Makes a slot ready to be programmed: `slot`, or the next after it that is blank or begins a group. */
static int prepare(const esnn_flash *flash, const esnn_slots *slots, uint32_t *slot) {
    while (*slot % slots->group_slots != 0 && !is_blank(slots, *slot)) {
        *slot = next_slot(slots, *slot);
    }
    if (*slot % slots->group_slots != 0) {
        return ESNN_OK;
    }
    const uint32_t group_blocks = slots->group_bytes / flash->block_bytes;
    const uint32_t first = *slot / slots->group_slots * group_blocks;
    for (uint32_t i = 0; i < group_blocks; i++) {
        if (flash->erase(flash->ctx, first + i) != 0) {
            return ESNN_E_STORAGE_WRITE;
        }
    }
    return ESNN_OK;
}

/* Bytes [from, from + n) of a slot: header, payload, and what fills the last write unit. */
static void compose(uint8_t *to, const esnn_net *net, const esnn_slot_header *header, uint32_t from, uint32_t n) {
    const uint32_t head = (uint32_t)sizeof *header, end = head + header->payload_bytes;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = from + i;
        to[i] = at < head ? ((const uint8_t *)header)[at] : at < end ? net->arena[at - head] : ERASED;
    }
}

/* Programs bytes [from, to) of the slot at `start`, page by page. */
static int program(const esnn_flash *flash, uint32_t start, const esnn_net *net, const esnn_slot_header *header,
                   uint32_t from, uint32_t to) {
    uint32_t page[PAGE_BYTES / 4];
    while (from < to) {
        const uint32_t room = PAGE_BYTES - (start + from) % PAGE_BYTES;
        const uint32_t n = to - from < room ? to - from : room;
        compose((uint8_t *)page, net, header, from, n);
        if (flash->program(flash->ctx, start + from, page, n) != 0) {
            return ESNN_E_STORAGE_WRITE;
        }
        from += n;
    }
    return ESNN_OK;
}

static int write_slot(const esnn_net *net, const esnn_flash *flash, const esnn_slots *slots, uint32_t slot,
                      const esnn_slot_header *header) {
    const uint32_t start = esnn_slots_offset(slots, slot);
    const uint32_t lead = round_up((uint32_t)sizeof *header, flash->write_bytes);
    int status = program(flash, start, net, header, lead, slots->slot_bytes);
    if (status == ESNN_OK) {
        status = program(flash, start, net, header, 0, lead);
    }
    return status == ESNN_OK ? esnn_slots_verify(slots, slot, header) : status;
}

int esnn_flash_save(const esnn_net *net, const esnn_flash *flash) {
    esnn_slots slots;
    esnn_slot_header header;
    uint32_t slot;
    int status = net == NULL ? ESNN_E_ARGUMENT : lay_out(net->model, flash, &slots);
    if (status == ESNN_OK) {
        status = esnn_slots_next(net, &slots, &slot, &header);
    }
    if (status != ESNN_OK) {
        return status;
    }

    for (;;) {
        status = prepare(flash, &slots, &slot);
        if (status == ESNN_OK) {
            status = write_slot(net, flash, &slots, slot, &header);
        }
        if (status == ESNN_OK || slot % slots.group_slots == 0) {
            return status;
        }
        slot = next_slot(&slots, slot); /* a unit that a cut left looking blank may refuse to be programmed */
    }
}

int esnn_flash_load(esnn_net *net, const esnn_flash *flash) {
    esnn_slots slots;
    const int status = net == NULL ? ESNN_E_ARGUMENT : lay_out(net->model, flash, &slots);
    return status == ESNN_OK ? esnn_slots_load(net, &slots) : status;
}
