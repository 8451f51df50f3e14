/* Saves that are cut everywhere, for sizes and geometries at the edges, under the sanitizers. Returns 0 if nothing was
 * torn or lost; every array is exactly as large as it must be, so that one byte too far is found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "power_cut.h"

enum { COUNT = 4 };

static int run(uint32_t block_bytes, uint32_t write_bytes, uint32_t ecc, uint32_t snapshot_bytes) {
    const uint32_t slot_bytes = (32 + snapshot_bytes + write_bytes - 1) / write_bytes * write_bytes;
    const uint32_t blocks = 2 * ((slot_bytes - 1) / block_bytes + 1), size = block_bytes * blocks;
    const esnn_model model = {
        .name = "edge", .id = 7, .abi = ESNN_ABI, .arena_bytes = snapshot_bytes, .snapshot_bytes = snapshot_bytes};
    nor flash = {.memory = malloc(size),
                 .units = malloc(size / write_bytes),
                 .erases = calloc(blocks, sizeof *flash.erases),
                 .block_bytes = block_bytes,
                 .blocks = blocks,
                 .write_bytes = write_bytes,
                 .ecc = ecc};
    uint8_t *const payloads = malloc(COUNT * snapshot_bytes), *const arena = malloc(snapshot_bytes);
    uint8_t *const backup = malloc(size + size / write_bytes);
    power_cut bench = {.flash = &flash,
                       .model = &model,
                       .arena = arena,
                       .payloads = payloads,
                       .count = COUNT,
                       .backup = backup,
                       .random = 1};
    for (uint32_t i = 0; i < COUNT * snapshot_bytes; i++) {
        payloads[i] = (uint8_t)nor_random(&bench.random);
    }
    nor_blank(&flash);
    power_cut_every(&bench, 2);
    power_cut_walk(&bench, 100);
    power_cut_flip(&bench, 50);
    const power_cut_counts counts = bench.counts;
    const int bad = counts.cuts == 0 || counts.torn != 0 || counts.lost_older != 0 || counts.stuck != 0 ||
                    counts.undetected != 0 || flash.violations != 0;
    if (bad) {
        printf("block %u, unit %u, ecc %u, state %u\n", (unsigned)block_bytes, (unsigned)write_bytes, (unsigned)ecc,
               (unsigned)snapshot_bytes);
    }
    free(flash.memory), free(flash.units), free(flash.erases), free(payloads), free(arena), free(backup);
    return bad;
}

int main(void) {
    static const uint32_t sizes[] = {4, 28, 32, 220, 224, 228, 480}, units[] = {1, 8, 32, 64, 256};
    int bad = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            bad |= run(units[k], units[k], k % 2, sizes[i]); /* the smallest blocks there can be */
            bad |= run(units[k] * (1 + 300 / units[k]), units[k], 1 - k % 2, sizes[i]);
        }
    }
    return bad;
}
