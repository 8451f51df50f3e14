/* Two slots in non-volatile memory: esnn_save and esnn_load.
 *
 * A slot is a 32-byte header and the payload. The payload is written first and the header last, into the slot that does
 * not hold the newest intact state; so until the last byte of the header is there, the other slot is the newest. */
#include "esnn_memory.h"

#include "esnn_kernels.h"

#define SLOT_MAGIC 0x4E4E5345u /* "ESNN" */
#define SLOTS 2u
#define CHUNK_BYTES 64u

typedef struct {
    uint32_t magic;
    uint32_t abi;
    uint32_t model[2]; /* id, low word first */
    uint32_t sequence;
    uint32_t payload_bytes;
    uint32_t payload_crc;
    uint32_t header_crc; /* of the 28 bytes before */
} slot_header;

_Static_assert(sizeof(slot_header) == 32, "the header of a slot is 32 bytes");

typedef enum { SLOT_EMPTY, SLOT_OTHER_MODEL, SLOT_INTACT } slot_content;

static uint32_t header_crc(const slot_header *header) {
    return esnn_crc32(0, header, offsetof(slot_header, header_crc));
}

static slot_header make_header(const esnn_net *net, uint32_t sequence) {
    const esnn_model *model = net->model;
    slot_header header = {
        .magic = SLOT_MAGIC,
        .abi = ESNN_ABI,
        .model = {(uint32_t)model->id, (uint32_t)(model->id >> 32)},
        .sequence = sequence,
        .payload_bytes = model->snapshot_bytes,
        .payload_crc = esnn_crc32(0, net->arena, model->snapshot_bytes),
    };
    header.header_crc = header_crc(&header);
    return header;
}

static int payload_intact(const esnn_storage *storage, uint32_t offset, const slot_header *header, int *intact) {
    uint8_t chunk[CHUNK_BYTES];
    uint32_t crc = 0;
    for (uint32_t done = 0; done < header->payload_bytes;) {
        const uint32_t rest = header->payload_bytes - done;
        const uint32_t n = rest < CHUNK_BYTES ? rest : CHUNK_BYTES;
        if (storage->read(storage->ctx, offset + (uint32_t)sizeof *header + done, chunk, n) != 0) {
            return ESNN_E_STORAGE_READ;
        }
        crc = esnn_crc32(crc, chunk, n);
        done += n;
    }
    *intact = crc == header->payload_crc;
    return ESNN_OK;
}

static int examine(const esnn_net *net, const esnn_storage *storage, uint32_t slot, slot_header *header,
                   slot_content *content) {
    const esnn_model *model = net->model;
    const uint32_t offset = slot * storage->slot_bytes;
    int intact = 0;

    *content = SLOT_EMPTY;
    if (storage->read(storage->ctx, offset, header, sizeof *header) != 0) {
        return ESNN_E_STORAGE_READ;
    }
    if (header->magic != SLOT_MAGIC || header->header_crc != header_crc(header)) {
        return ESNN_OK;
    }
    if (header->abi != ESNN_ABI || header->model[0] != (uint32_t)model->id ||
        header->model[1] != (uint32_t)(model->id >> 32) || header->payload_bytes != model->snapshot_bytes) {
        *content = SLOT_OTHER_MODEL;
        return ESNN_OK;
    }
    const int status = payload_intact(storage, offset, header, &intact);
    *content = intact ? SLOT_INTACT : SLOT_EMPTY;
    return status;
}

/* Whether `left` was saved after `right`: sequences wrap at 2^32 (serial number arithmetic, RFC 1982). */
static int newer(uint32_t left, uint32_t right) {
    return left != right && left - right < 0x80000000u;
}

/* The newest intact slot and its header; ESNN_E_NO_STATE or ESNN_E_OTHER_MODEL if there is none. */
static int find_newest(const esnn_net *net, const esnn_storage *storage, uint32_t *newest, slot_header *header) {
    int found = ESNN_E_NO_STATE;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        slot_header candidate;
        slot_content content;
        const int status = examine(net, storage, slot, &candidate, &content);
        if (status != ESNN_OK) {
            return status;
        }
        if (content == SLOT_INTACT && (found != ESNN_OK || newer(candidate.sequence, header->sequence))) {
            found = ESNN_OK;
            *newest = slot;
            *header = candidate;
        } else if (content == SLOT_OTHER_MODEL && found == ESNN_E_NO_STATE) {
            found = ESNN_E_OTHER_MODEL;
        }
    }
    return found;
}

static int check(const esnn_net *net, const esnn_storage *storage) {
    if (net == NULL || storage == NULL || storage->read == NULL || storage->write == NULL) {
        return ESNN_E_ARGUMENT;
    }
    if (storage->slot_bytes < sizeof(slot_header) + net->model->snapshot_bytes) {
        return ESNN_E_SLOT_SIZE;
    }
    return ESNN_OK;
}

int esnn_save(const esnn_net *net, const esnn_storage *storage) {
    int status = check(net, storage);
    if (status != ESNN_OK) {
        return status;
    }

    slot_header newest;
    uint32_t slot = 0, sequence = 0;
    status = find_newest(net, storage, &slot, &newest);
    if (status == ESNN_E_STORAGE_READ) {
        return status;
    }
    if (status == ESNN_OK) {
        slot = (slot + 1) % SLOTS;
        sequence = newest.sequence;
    }

    const uint32_t offset = slot * storage->slot_bytes;
    const slot_header header = make_header(net, sequence + 1);
    if (storage->write(storage->ctx, offset + (uint32_t)sizeof header, net->arena, header.payload_bytes) != 0 ||
        storage->write(storage->ctx, offset, &header, sizeof header) != 0) {
        return ESNN_E_STORAGE_WRITE;
    }
    return ESNN_OK;
}

int esnn_load(esnn_net *net, const esnn_storage *storage) {
    int status = check(net, storage);
    if (status != ESNN_OK) {
        return status;
    }

    slot_header header;
    uint32_t slot = 0;
    status = find_newest(net, storage, &slot, &header);
    if (status != ESNN_OK) {
        return status;
    }

    const uint32_t offset = slot * storage->slot_bytes + (uint32_t)sizeof header;
    if (storage->read(storage->ctx, offset, net->arena, header.payload_bytes) != 0 ||
        esnn_crc32(0, net->arena, header.payload_bytes) != header.payload_crc) {
        status = esnn_init(net, net->model, net->arena, net->model->arena_bytes);
        return status == ESNN_OK ? ESNN_E_STORAGE_READ : status;
    }
    return ESNN_OK;
}
