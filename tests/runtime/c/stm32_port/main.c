/* Saves and loads through the example's port; returns 0 if what was saved is loaded and the registers are left tidy. */
#include <string.h>

#include "esnn_port.h"
#include "stm32g4xx.h"

enum { STATE_BYTES = 900 };

extern const esnn_flash state_flash;
void NMI_Handler(void);

FLASH_TypeDef flash_registers = {.ACR = FLASH_ACR_DCEN, .CR = FLASH_CR_LOCK};
uint32_t flash_pages[8 * 2048 / 4];

int main(void) {
    static const esnn_model model = {
        .name = "port", .id = 1, .abi = ESNN_ABI, .arena_bytes = STATE_BYTES, .snapshot_bytes = STATE_BYTES};
    static uint32_t arena[STATE_BYTES / 4];
    esnn_net net;
    memset(flash_pages, 0xFF, sizeof flash_pages);
    if (esnn_init(&net, &model, arena, sizeof arena) != ESNN_OK ||
        esnn_flash_load(&net, &state_flash) != ESNN_E_NO_STATE ||
        esnn_flash_saves_per_erase(&model, &state_flash) != 16) {
        return 1;
    }
    for (uint8_t i = 1; i <= 16; i++) { /* once round the ring: nothing need be erased */
        memset(arena, i, sizeof arena);
        if (esnn_flash_save(&net, &state_flash) != ESNN_OK) {
            return 2;
        }
        memset(arena, 0, sizeof arena);
        if (esnn_flash_load(&net, &state_flash) != ESNN_OK || arena[7] != i * 0x01010101u) {
            return 3;
        }
    }
    NMI_Handler(); /* not of the flash: changes nothing */
    return flash_registers.CR == (FLASH_CR_LOCK | FLASH_CR_STRT) && flash_registers.ACR == FLASH_ACR_DCEN ? 0 : 4;
}
