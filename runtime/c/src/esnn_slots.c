/* Which slot is the newest intact one, and which is next. */
#include "esnn_slots.h"

#include "esnn_kernels.h"

#define SLOT_MAGIC 0x4E4E5345u /* "ESNN" */
#define CHUNK_BYTES 64u

typedef enum { SLOT_EMPTY, SLOT_UNREADABLE, SLOT_OTHER_MODEL, SLOT_INTACT } slot_content;

/* What a look at every slot found. */
typedef struct {
    int status; /* ESNN_OK: `newest` and `header` hold; else why nothing can be loaded */
    uint32_t newest;
    esnn_slot_header header;
    uint32_t unreadable;       /* slots that could not be read */
    uint32_t first_unreadable; /* the lowest group with such a slot, and */
    uint32_t last_unreadable;  /* the highest */
} slot_search;

static uint32_t header_crc(const esnn_slot_header *header) {
    return esnn_crc32(0, header, offsetof(esnn_slot_header, header_crc));
}

static esnn_slot_header make_header(const esnn_net *net, uint32_t sequence) {
    const esnn_model *model = net->model;
    esnn_slot_header header = {
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

uint32_t esnn_slots_offset(const esnn_slots *slots, uint32_t slot) {
    return slot / slots->group_slots * slots->group_bytes + slot % slots->group_slots * slots->slot_bytes;
}

static slot_content check_payload(const esnn_slots *slots, uint32_t offset, const esnn_slot_header *header) {
    uint8_t chunk[CHUNK_BYTES];
    uint32_t crc = 0;
    for (uint32_t done = 0; done < header->payload_bytes;) {
        const uint32_t rest = header->payload_bytes - done;
        const uint32_t n = rest < CHUNK_BYTES ? rest : CHUNK_BYTES;
        if (slots->read(slots->ctx, offset + (uint32_t)sizeof *header + done, chunk, n) != 0) {
            return SLOT_UNREADABLE;
        }
        crc = esnn_crc32(crc, chunk, n);
        done += n;
    }
    return crc == header->payload_crc ? SLOT_INTACT : SLOT_EMPTY;
}

/* What a header says; a state of this model is only intact if its payload is, too. */
static slot_content check_header(const esnn_model *model, const esnn_slots *slots, uint32_t offset,
                                 esnn_slot_header *header) {
    if (slots->read(slots->ctx, offset, header, sizeof *header) != 0) {
        return SLOT_UNREADABLE;
    }
    if (header->magic != SLOT_MAGIC || header->header_crc != header_crc(header)) {
        return SLOT_EMPTY;
    }
    if (header->abi != ESNN_ABI || header->model[0] != (uint32_t)model->id ||
        header->model[1] != (uint32_t)(model->id >> 32) || header->payload_bytes != model->snapshot_bytes) {
        return SLOT_OTHER_MODEL;
    }
    return SLOT_INTACT;
}

/* Whether `left` was saved after `right`: sequences wrap at 2^32 (serial number arithmetic, RFC 1982). */
static int newer(uint32_t left, uint32_t right) {
    return left != right && left - right < 0x80000000u;
}

static void note_unreadable(slot_search *search, uint32_t group) {
    if (search->unreadable++ == 0) {
        search->last_unreadable = group;
    }
    search->first_unreadable = group;
}

/* From the last slot to the first: the ring is filled upwards, so only two payloads are read as a rule, the last slot's
 * and the newest one's. */
static slot_search find_newest(const esnn_net *net, const esnn_slots *slots) {
    slot_search search = {.status = ESNN_E_NO_STATE};
    int other_model = 0;

    for (uint32_t slot = slots->groups * slots->group_slots; slot-- > 0;) {
        const uint32_t offset = esnn_slots_offset(slots, slot);
        esnn_slot_header header;
        slot_content content = check_header(net->model, slots, offset, &header);
        if (content == SLOT_INTACT) {
            if (search.status == ESNN_OK && newer(search.header.sequence, header.sequence)) {
                continue;
            }
            content = check_payload(slots, offset, &header);
        }
        if (content == SLOT_INTACT) {
            search.status = ESNN_OK;
            search.newest = slot;
            search.header = header;
        } else if (content == SLOT_UNREADABLE) {
            note_unreadable(&search, slot / slots->group_slots);
        } else if (content == SLOT_OTHER_MODEL) {
            other_model = 1;
        }
    }
    if (search.status != ESNN_OK && other_model) {
        search.status = ESNN_E_OTHER_MODEL;
    }
    if (search.status != ESNN_OK && search.unreadable > 0) {
        search.status = ESNN_E_STORAGE_READ;
    }
    return search;
}

int esnn_slots_next(const esnn_net *net, const esnn_slots *slots, uint32_t *slot, esnn_slot_header *header) {
    const slot_search search = find_newest(net, slots);
    *slot = 0;
    if (search.status == ESNN_OK) {
        *slot = (search.newest + 1) % (slots->groups * slots->group_slots);
    } else if (search.unreadable > 0) {
        if (search.first_unreadable != search.last_unreadable) {
            return ESNN_E_STORAGE_READ; /* more than one cut explains: any of them may hold a newer state */
        }
        *slot = search.first_unreadable * slots->group_slots;
    }
    /* A slot that cannot be read now may be read again one day, and must not be the newest then. */
    *header = make_header(net, search.status == ESNN_OK ? search.header.sequence + 1 + search.unreadable : 1);
    return ESNN_OK;
}

int esnn_slots_verify(const esnn_slots *slots, uint32_t slot, const esnn_slot_header *written) {
    const uint32_t offset = esnn_slots_offset(slots, slot);
    esnn_slot_header header;
    if (slots->read(slots->ctx, offset, &header, sizeof header) != 0 || header.header_crc != header_crc(written) ||
        header.header_crc != header_crc(&header) || check_payload(slots, offset, written) != SLOT_INTACT) {
        return ESNN_E_STORAGE_WRITE;
    }
    return ESNN_OK;
}

int esnn_slots_load(esnn_net *net, const esnn_slots *slots) {
    const slot_search search = find_newest(net, slots);
    if (search.status != ESNN_OK) {
        return search.status;
    }
    const esnn_slot_header *header = &search.header;
    const uint32_t offset = esnn_slots_offset(slots, search.newest) + (uint32_t)sizeof *header;
    if (slots->read(slots->ctx, offset, net->arena, header->payload_bytes) != 0 ||
        esnn_crc32(0, net->arena, header->payload_bytes) != header->payload_crc) {
        const int status = esnn_init(net, net->model, net->arena, net->model->arena_bytes);
        return status == ESNN_OK ? ESNN_E_STORAGE_READ : status;
    }
    return ESNN_OK;
}
