/* What the example in docs/state.md uses of ST's header, over plain memory. */
#ifndef STM32G4XX_H
#define STM32G4XX_H

#include <stdint.h>

typedef struct {
    volatile uint32_t ACR, KEYR, SR, CR, ECCR;
} FLASH_TypeDef;

extern FLASH_TypeDef flash_registers;
extern uint32_t flash_pages[8 * 2048 / 4];

#define FLASH (&flash_registers)
#define FLASH_BASE ((uintptr_t)flash_pages - 56u * 2048u)
#define FLASH_ACR_DCEN (1u << 10)
#define FLASH_ACR_DCRST (1u << 12)
#define FLASH_SR_EOP (1u << 0)
#define FLASH_SR_PROGERR (1u << 3)
#define FLASH_SR_WRPERR (1u << 4)
#define FLASH_SR_PGAERR (1u << 5)
#define FLASH_SR_SIZERR (1u << 6)
#define FLASH_SR_PGSERR (1u << 7)
#define FLASH_SR_BSY (1u << 16)
#define FLASH_CR_PG (1u << 0)
#define FLASH_CR_PER (1u << 1)
#define FLASH_CR_PNB_Pos 3u
#define FLASH_CR_PNB (0x7Fu << FLASH_CR_PNB_Pos)
#define FLASH_CR_STRT (1u << 16)
#define FLASH_CR_LOCK (1u << 31)
#define FLASH_ECCR_ECCD (1u << 31)
#define __ISB() ((void)0)

#endif
