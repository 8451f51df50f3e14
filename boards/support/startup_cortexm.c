/* Reset of an Armv6-M, Armv7-M or Armv8-M core: vector table and floating point. */
#include <stdint.h>

#include "startup.h"

_Noreturn void Reset_Handler(void);
_Noreturn void Fault_Handler(void);

extern uint32_t _stack_top[];

typedef void (*handler)(void);

/* Initial stack pointer, then exceptions 1 to 15; no interrupt is enabled, so the table ends there. */
static const struct {
    uint32_t *stack;
    handler exception[15];
} vectors __attribute__((section(".vectors"), used)) = {
    _stack_top,
    {Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
     Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
     Fault_Handler},
};

_Noreturn void Reset_Handler(void) {
#ifdef __ARM_FP
    /* CPACR: full access to coprocessors 10 and 11, the floating-point and vector unit; off at reset (Armv7-M ARM,
     * B3.2.20). Nothing may use its registers before, so the rest is not inlined. */
    *(volatile uint32_t *)0xE000ED88U |= 0xFU << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    startup_run();
}

/* The fault may be the stack's own, so start on a fresh one. */
__attribute__((naked)) void Fault_Handler(void) {
    __asm__ volatile("ldr r0, =_stack_top\n\tmov sp, r0\n\tldr r0, =startup_fault\n\tbx r0");
}
