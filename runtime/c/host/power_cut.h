/* The inner loops of the power-cut bench: saves into an emulated flash that are cut, and what a load finds afterwards.
 */
#ifndef POWER_CUT_H
#define POWER_CUT_H

#include "nor.h"

typedef struct {
    uint64_t cuts;       /* saves that were cut */
    uint64_t torn;       /* a load gave what was never saved */
    uint64_t lost_older; /* a load gave neither the older nor the newer state */
    uint64_t stuck;      /* after a cut, a whole save failed or was not the newest */
    uint64_t flips;      /* images with flipped bits that were loaded */
    uint64_t undetected; /* of these, loads that gave what was never saved */
} power_cut_counts;

typedef struct {
    nor *flash;
    const esnn_model *model;
    uint8_t *arena;          /* [arena_bytes] of the model */
    const uint8_t *payloads; /* [count][snapshot_bytes], no two the same and none the factory's */
    uint32_t count;
    uint8_t *backup; /* memory and units of the flash */
    uint32_t random; /* seed */
    power_cut_counts counts;
} power_cut;

/* Save payload after payload; each save is first cut at every one of its operations, `patterns` times. Begins with a
 * flash that holds no state. */
void power_cut_every(power_cut *bench, uint32_t patterns);

/* `saves` saves of any payload, most of them cut anywhere, each going on from what the last one left. */
void power_cut_walk(power_cut *bench, uint32_t saves);

/* `images` loads, each with one to eight flipped bits anywhere in the flash, which holds some of the payloads. */
void power_cut_flip(power_cut *bench, uint32_t images);

/* One save of a payload with the power that the flash has, and one load into the arena; statuses of esnn.h. */
int power_cut_save(power_cut *bench, const uint8_t *payload);
int power_cut_load(power_cut *bench);

#endif
