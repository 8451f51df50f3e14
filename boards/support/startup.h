/* What the start-up code of every bare core does once the core itself is ready. */
#ifndef STARTUP_H
#define STARTUP_H

/* Initializes the memory that firmware.ld.in lays out, runs `main` and exits with its status. */
_Noreturn void startup_run(void);

/* Ends the program after a fault exception; needs a stack. */
_Noreturn void startup_fault(void);

#endif
