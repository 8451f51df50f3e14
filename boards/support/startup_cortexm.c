/* Reset of an Armv7-M or Armv8-M core: vector table, memory, floating point; then `main`.
 *
 * The symbols come from firmware.ld.in. The stack is the first thing in RAM and grows down, so that an overflow leaves
 * RAM and faults instead of writing over variables.
 */
#include <stdint.h>

#include "semihost.h"
#include "stack.h"

int main(void);
_Noreturn void Reset_Handler(void);
_Noreturn void Fault_Handler(void);

extern uint32_t _stack_bottom[], _stack_top[];
extern uint32_t _data_start[], _data_end[], _bss_start[], _bss_end[];
extern const uint32_t _data_load[];

static const uint32_t PAINT = 0xDEADBEEF;

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
    /* CPACR: full access to coprocessors 10 and 11, the floating-point unit; off at reset (Armv7-M ARM, B3.2.20). */
    *(volatile uint32_t *)0xE000ED88U |= 0xFU << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    /* Volatile, so that no loop becomes a call and nothing below the frame is in use while it is painted. */
    for (volatile uint32_t *p = _stack_bottom; p < (uint32_t *)__builtin_frame_address(0) - 16; p++) {
        *p = PAINT;
    }
    const uint32_t *from = _data_load;
    for (volatile uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *p = _bss_start; p < _bss_end; p++) {
        *p = 0;
    }
    semihost_exit(main());
}

static void report_fault(void) {
    semihost_print("fault: the core took a fault exception; a stack overflow or a wild pointer\n");
    semihost_exit(70);
}

/* The fault may be the stack's own, so start on a fresh one. */
__attribute__((naked)) void Fault_Handler(void) {
    __asm__ volatile("ldr r0, =_stack_top\n\tmov sp, r0\n\tb %c0" : : "i"(report_fault));
}

size_t stack_used_bytes(void) {
    const uint32_t *p = _stack_bottom;
    while (p < _stack_top && *p == PAINT) {
        p++;
    }
    return (size_t)(_stack_top - p) * sizeof *p;
}
