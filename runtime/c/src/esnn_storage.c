/* esnn_save and esnn_load: two slots in memory that is written byte by byte.
 *
 * The payload is written first and the header last, into the slot that does not hold the newest intact state; so until
 * the last byte of the header is there, the other slot is the newest. */
#include "esnn_slots.h"

static int two_slots(const esnn_net *net, const esnn_storage *storage, esnn_slots *slots) {
    if (net == NULL || storage == NULL || storage->read == NULL || storage->write == NULL) {
        return ESNN_E_ARGUMENT;
    }
    if (storage->slot_bytes < sizeof(esnn_slot_header) + net->model->snapshot_bytes) {
        return ESNN_E_SLOT_SIZE;
    }
    *slots = (esnn_slots){
        .ctx = storage->ctx,
        .read = storage->read,
        .slot_bytes = storage->slot_bytes,
        .group_bytes = storage->slot_bytes,
        .group_slots = 1,
        .groups = 2,
    };
    return ESNN_OK;
}

int esnn_save(const esnn_net *net, const esnn_storage *storage) {
    esnn_slots slots;
    esnn_slot_header header;
    uint32_t slot;
    int status = two_slots(net, storage, &slots);
    if (status == ESNN_OK) {
        status = esnn_slots_next(net, &slots, &slot, &header);
    }
    if (status != ESNN_OK) {
        return status;
    }

    const uint32_t offset = esnn_slots_offset(&slots, slot);
    if (storage->write(storage->ctx, offset + (uint32_t)sizeof header, net->arena, header.payload_bytes) != 0 ||
        storage->write(storage->ctx, offset, &header, sizeof header) != 0) {
        return ESNN_E_STORAGE_WRITE;
    }
    return ESNN_OK;
}

int esnn_load(esnn_net *net, const esnn_storage *storage) {
    esnn_slots slots;
    const int status = two_slots(net, storage, &slots);
    return status == ESNN_OK ? esnn_slots_load(net, &slots) : status;
}
