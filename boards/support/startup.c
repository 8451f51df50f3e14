/* The symbols come from firmware.ld.in. The stack is the first thing in RAM and grows down, so that an overflow leaves
 * RAM and faults instead of writing over variables.
 */
#include "startup.h"

#include <stdint.h>

#include "host.h"
#include "stack.h"

int main(void);

enum { EXIT_FAULT = 70 };

extern uint32_t _stack_bottom[], _stack_top[];
extern uint32_t _data_start[], _data_end[], _bss_start[], _bss_end[];
extern const uint32_t _data_load[];

_Noreturn void startup_run(void) {
    /* Volatile, so that no loop becomes a call. */
    const uint32_t *from = _data_load;
    for (volatile uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *p = _bss_start; p < _bss_end; p++) {
        *p = 0;
    }
    stack_paint(_stack_bottom, _stack_top);
    host_exit(main());
}

_Noreturn void startup_fault(void) {
    host_print("fault: the core took a fault exception; a stack overflow or a wild pointer\n");
    host_exit(EXIT_FAULT);
}
