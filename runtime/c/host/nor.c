#include "nor.h"

#include <string.h>

enum { PAGE_BYTES = 256 };

uint32_t nor_random(uint32_t *state) {
    uint32_t x = *state != 0 ? *state : 1;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static uint32_t size(const nor *flash) {
    return flash->block_bytes * flash->blocks;
}

void nor_blank(nor *flash) {
    memset(flash->memory, 0xFF, size(flash));
    memset(flash->units, NOR_BLANK, size(flash) / flash->write_bytes);
    memset(flash->erases, 0, flash->blocks * sizeof *flash->erases);
}

/* A mask of the bits that an operation reached before the cut: none, all, those of a prefix, or any. */
static void reached(nor *flash, uint8_t *mask, uint32_t n) {
    const uint32_t kind = nor_random(&flash->noise) % 8;
    const uint32_t prefix = nor_random(&flash->noise) % (n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t any = (uint8_t)nor_random(&flash->noise), more = (uint8_t)nor_random(&flash->noise);
        const uint8_t masks[8] = {0x00, 0xFF, i < prefix ? 0xFF : 0x00, i < prefix ? 0x00 : 0xFF,
                                  any,  any,  (uint8_t)(any & more),    (uint8_t)(any | more)};
        mask[i] = masks[kind];
    }
}

typedef enum { DONE, CUT, OFF } supply;

static supply take_power(nor *flash) {
    if (flash->off != 0) {
        return OFF;
    }
    flash->operations++;
    if (flash->power == 0) {
        flash->off = 1;
        return CUT;
    }
    if (flash->power > 0) {
        flash->power--;
    }
    return DONE;
}

/* What a cut leaves of a unit. Without ECC that is told by its bits alone. */
static uint8_t torn(nor *flash) {
    if (flash->ecc == 0) {
        return NOR_BLANK;
    }
    return nor_random(&flash->noise) % 2 == 0 ? NOR_UNREADABLE : NOR_UNWRITABLE;
}

static int read_bytes(void *ctx, uint32_t offset, void *dst, uint32_t n) {
    nor *flash = ctx;
    if (n > size(flash) || offset > size(flash) - n) {
        flash->violations++;
        return -1;
    }
    for (uint32_t at = offset; n > 0 && at / flash->write_bytes <= (offset + n - 1) / flash->write_bytes;
         at += flash->write_bytes) {
        if (flash->units[at / flash->write_bytes] == NOR_UNREADABLE) {
            return -1;
        }
    }
    memcpy(dst, flash->memory + offset, n);
    return 0;
}

static int program_unit(nor *flash, uint32_t offset, const uint8_t *src) {
    uint8_t *const cells = flash->memory + offset, *const unit = &flash->units[offset / flash->write_bytes];
    uint8_t mask[PAGE_BYTES];
    if (*unit == NOR_PROGRAMMED) {
        flash->violations++;
        return -1;
    }
    for (uint32_t i = 0; i < flash->write_bytes; i++) {
        if ((src[i] & ~cells[i]) != 0) {
            flash->violations++;
            return -1;
        }
    }
    if (*unit != NOR_BLANK) {
        return *unit == NOR_WORN ? 0 : -1;
    }
    const supply power = take_power(flash);
    if (power == OFF) {
        return -1;
    }
    if (power == CUT) {
        reached(flash, mask, flash->write_bytes);
    } else {
        memset(mask, 0xFF, flash->write_bytes);
    }
    for (uint32_t i = 0; i < flash->write_bytes; i++) {
        cells[i] &= (uint8_t)(src[i] | ~mask[i]);
    }
    *unit = power == CUT ? torn(flash) : NOR_PROGRAMMED;
    return power == CUT ? -1 : 0;
}

static int program(void *ctx, uint32_t offset, const void *src, uint32_t n) {
    nor *flash = ctx;
    if (n == 0 || n > size(flash) || offset > size(flash) - n || offset % flash->write_bytes != 0 ||
        n % flash->write_bytes != 0 || offset / PAGE_BYTES != (offset + n - 1) / PAGE_BYTES ||
        (uintptr_t)src % 4 != 0) {
        flash->violations++;
        return -1;
    }
    for (uint32_t done = 0; done < n; done += flash->write_bytes) {
        if (program_unit(flash, offset + done, (const uint8_t *)src + done) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A cut erase leaves cells erased, as they were, or anything in between, and nothing tells which. */
static void tear_erase(nor *flash, uint32_t block) {
    uint8_t *const cells = flash->memory + block * flash->block_bytes;
    const uint32_t units = flash->block_bytes / flash->write_bytes;
    const int garbage = nor_random(&flash->noise) % 4 == 0;
    for (uint32_t at = 0; at < flash->block_bytes;) {
        uint8_t mask[PAGE_BYTES];
        const uint32_t rest = flash->block_bytes - at, n = rest < PAGE_BYTES ? rest : PAGE_BYTES;
        reached(flash, mask, n);
        for (uint32_t i = 0; i < n; i++) {
            cells[at + i] = garbage ? (uint8_t)nor_random(&flash->noise) : (uint8_t)(cells[at + i] | mask[i]);
        }
        at += n;
    }
    for (uint32_t unit = 0; unit < units; unit++) {
        uint8_t *const state = &flash->units[block * units + unit];
        *state = *state == NOR_UNREADABLE || *state == NOR_WORN ? *state : torn(flash); /* half an erase heals none */
    }
}

static int erase(void *ctx, uint32_t block) {
    nor *flash = ctx;
    if (block >= flash->blocks) {
        flash->violations++;
        return -1;
    }
    const uint32_t units = flash->block_bytes / flash->write_bytes;
    switch (take_power(flash)) {
    case OFF:
        return -1;
    case CUT:
        flash->erases[block]++;
        tear_erase(flash, block);
        return -1;
    default:
        flash->erases[block]++;
        memset(flash->memory + block * flash->block_bytes, 0xFF, flash->block_bytes);
        for (uint32_t unit = block * units; unit < (block + 1) * units; unit++) {
            flash->units[unit] = flash->units[unit] == NOR_WORN ? NOR_WORN : NOR_BLANK;
        }
        return 0;
    }
}

esnn_flash nor_port(nor *flash) {
    return (esnn_flash){
        .ctx = flash,
        .block_bytes = flash->block_bytes,
        .blocks = flash->blocks,
        .write_bytes = flash->write_bytes,
        .read = read_bytes,
        .program = program,
        .erase = erase,
    };
}
