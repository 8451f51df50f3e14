#include "power_cut.h"

#include <string.h>

enum { GARBAGE = 0xA5 };

static uint32_t memory_bytes(const nor *flash) {
    return flash->block_bytes * flash->blocks;
}

static void back_up(const power_cut *bench) {
    const nor *flash = bench->flash;
    memcpy(bench->backup, flash->memory, memory_bytes(flash));
    memcpy(bench->backup + memory_bytes(flash), flash->units, memory_bytes(flash) / flash->write_bytes);
}

static void restore(const power_cut *bench) {
    nor *flash = bench->flash;
    memcpy(flash->memory, bench->backup, memory_bytes(flash));
    memcpy(flash->units, bench->backup + memory_bytes(flash), memory_bytes(flash) / flash->write_bytes);
}

static void set_power(power_cut *bench, int64_t operations) {
    bench->flash->off = 0;
    bench->flash->power = operations;
    bench->flash->noise = nor_random(&bench->random);
}

int power_cut_save(power_cut *bench, const uint8_t *payload) {
    const esnn_flash port = nor_port(bench->flash);
    esnn_net net;
    const int status = esnn_init(&net, bench->model, bench->arena, bench->model->arena_bytes);
    if (status != ESNN_OK) {
        return status;
    }
    memcpy(bench->arena, payload, bench->model->snapshot_bytes);
    return esnn_flash_save(&net, &port);
}

int power_cut_load(power_cut *bench) {
    const esnn_flash port = nor_port(bench->flash);
    esnn_net net;
    memset(bench->arena, GARBAGE, bench->model->arena_bytes);
    const int status = esnn_init(&net, bench->model, bench->arena, bench->model->arena_bytes);
    return status == ESNN_OK ? esnn_flash_load(&net, &port) : status;
}

static int holds(const power_cut *bench, const uint8_t *payload) {
    return memcmp(bench->arena, payload, bench->model->snapshot_bytes) == 0;
}

static int known(const power_cut *bench) {
    for (uint32_t i = 0; i < bench->count; i++) {
        if (holds(bench, bench->payloads + i * bench->model->snapshot_bytes)) {
            return 1;
        }
    }
    return 0;
}

/* Loads after a cut; returns which of the two states is there now. `older` is NULL before the first save, and then no
 * state at all is as good. */
static const uint8_t *judge(power_cut *bench, const uint8_t *older, const uint8_t *newer) {
    set_power(bench, -1);
    const int status = power_cut_load(bench);
    bench->counts.cuts++;
    if (status == ESNN_OK && holds(bench, newer)) {
        return newer;
    }
    if (status == ESNN_OK && older != NULL && holds(bench, older)) {
        return older;
    }
    if (status == ESNN_OK || known(bench)) {
        bench->counts.torn += !known(bench);
        bench->counts.lost_older++;
    } else if (older != NULL || (status != ESNN_E_NO_STATE && status != ESNN_E_STORAGE_READ)) {
        bench->counts.lost_older++;
    }
    return older;
}

static void must_save(power_cut *bench, const uint8_t *payload) {
    set_power(bench, -1);
    if (power_cut_save(bench, payload) != ESNN_OK || power_cut_load(bench) != ESNN_OK || !holds(bench, payload)) {
        bench->counts.stuck++;
    }
}

void power_cut_every(power_cut *bench, uint32_t patterns) {
    const uint8_t *older = NULL;
    for (uint32_t i = 0; i < bench->count; i++) {
        const uint8_t *newer = bench->payloads + i * bench->model->snapshot_bytes;
        back_up(bench);
        uint64_t operations = bench->flash->operations;
        must_save(bench, newer);
        operations = bench->flash->operations - operations;
        for (uint64_t cut = 0; cut < operations; cut++) {
            for (uint32_t pattern = 0; pattern < patterns; pattern++) {
                restore(bench);
                set_power(bench, (int64_t)cut);
                (void)power_cut_save(bench, newer); /* whether it failed is told by what is there */
                judge(bench, older, newer);
                must_save(bench, newer);
            }
        }
        restore(bench);
        must_save(bench, newer);
        older = newer;
    }
}

void power_cut_walk(power_cut *bench, uint32_t saves) {
    const uint8_t *older = bench->payloads;
    uint64_t operations = bench->flash->operations;
    must_save(bench, older);
    operations = bench->flash->operations - operations;
    for (uint32_t i = 0; i < saves; i++) {
        const uint8_t *newer =
            bench->payloads + nor_random(&bench->random) % bench->count * bench->model->snapshot_bytes;
        set_power(bench, (int64_t)(nor_random(&bench->random) % (operations + operations / 4 + 1)));
        if (power_cut_save(bench, newer) == ESNN_OK) {
            older = newer;
            continue;
        }
        older = judge(bench, older, newer);
        if (i % 16 == 0) {
            must_save(bench, newer);
            older = newer;
        }
    }
}

void power_cut_flip(power_cut *bench, uint32_t images) {
    enum { MOST = 8 };
    set_power(bench, -1);
    for (uint32_t i = 0; i < images; i++) {
        uint32_t bits[MOST];
        const uint32_t count = 1 + nor_random(&bench->random) % MOST;
        for (uint32_t k = 0; k < count; k++) {
            bits[k] = nor_random(&bench->random) % (8 * memory_bytes(bench->flash));
            bench->flash->memory[bits[k] / 8] ^= (uint8_t)(1u << bits[k] % 8);
        }
        bench->counts.undetected += power_cut_load(bench) == ESNN_OK && !known(bench);
        bench->counts.flips++;
        for (uint32_t k = 0; k < count; k++) {
            bench->flash->memory[bits[k] / 8] ^= (uint8_t)(1u << bits[k] % 8);
        }
    }
}
