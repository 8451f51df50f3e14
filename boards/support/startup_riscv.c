/* Reset of a RISC-V core in machine mode: stack, trap vector, and memory protection of the code. */
#include <stdint.h>

#include "startup.h"

_Noreturn void Reset_Handler(void);

/* Code and stack are neighbours, and what lies below the stack is memory, too: write access to it is locked away, so
 * that a stack overflow traps. pmpaddr0 holds a naturally aligned power of two as address/4 | bytes/8 - 1; pmpcfg0 is
 * locked 0x80, NAPOT 0x18, execute 0x04, read 0x01 (RISC-V Privileged Architecture, Physical Memory Protection). */
__attribute__((naked, section(".vectors"), used)) _Noreturn void Reset_Handler(void) {
    __asm__ volatile("la sp, _stack_top\n\t"
                     "la t0, Fault_Handler\n\t"
                     "csrw mtvec, t0\n\t"
                     "la t0, _flash_pmpaddr\n\t"
                     "csrw pmpaddr0, t0\n\t"
                     "li t0, 0x9d\n\t"
                     "csrw pmpcfg0, t0\n\t"
                     "tail startup_run");
}

/* The fault may be the stack's own, so start on a fresh one. The trap vector is 4-byte aligned. */
__attribute__((naked, aligned(4), used)) _Noreturn static void Fault_Handler(void) {
    __asm__ volatile("la sp, _stack_top\n\t"
                     "tail startup_fault");
}
