/* Semihosting: the core asks the debugger, here the emulator, to open, read and write files of the host.
 *
 * Sources: Arm, "Semihosting for AArch32 and AArch64" (https://github.com/ARM-software/abi-aa, semihosting), and
 * "RISC-V Semihosting" (https://github.com/riscv-non-isa/riscv-semihosting), which takes over its operations.
 * No interrupt may call these; each call stops the core until the host has answered.
 */
#include "host.h"

enum operation {
    SYS_OPEN = 0x01,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
};

enum open_mode { OPEN_RB = 1, OPEN_WB = 5 };

static const uintptr_t STOPPED_APPLICATION_EXIT = 0x20026;

/* The operation, and an argument or the address of the argument block, go in the first two argument registers; the
 * answer comes in the first. */
#if defined(__riscv)
static intptr_t call(enum operation operation, const void *argument) {
    register intptr_t a0 __asm__("a0") = (intptr_t)operation;
    register const void *a1 __asm__("a1") = argument;
    /* Three uncompressed instructions, which shall not cross a page. */
    __asm__ volatile(".balign 16\n\t"
                     ".option push\n\t"
                     ".option norvc\n\t"
                     "slli zero, zero, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai zero, zero, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}
#else
static intptr_t call(enum operation operation, const void *argument) {
    register intptr_t r0 __asm__("r0") = (intptr_t)operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
#endif

static size_t length(const char *text) {
    size_t n = 0;
    while (text[n] != 0) {
        n++;
    }
    return n;
}

int32_t host_open(const char *path, enum host_mode mode) {
    const uintptr_t block[] = {(uintptr_t)path, mode == HOST_READ ? OPEN_RB : OPEN_WB, length(path)};
    return (int32_t)call(SYS_OPEN, block);
}

/* SYS_READ and SYS_WRITE answer with the number of bytes NOT transferred. */
static size_t transfer(enum operation operation, int32_t file, uintptr_t memory, size_t bytes) {
    const uintptr_t block[] = {(uintptr_t)file, memory, bytes};
    const size_t left = (size_t)call(operation, block);
    return left <= bytes ? bytes - left : 0;
}

size_t host_read(int32_t file, void *to, size_t bytes) {
    return transfer(SYS_READ, file, (uintptr_t)to, bytes);
}

size_t host_write(int32_t file, const void *from, size_t bytes) {
    return transfer(SYS_WRITE, file, (uintptr_t)from, bytes);
}

int32_t host_command_line(char *to, size_t bytes) {
    const uintptr_t block[] = {(uintptr_t)to, bytes};
    return (int32_t)call(SYS_GET_CMDLINE, block);
}

void host_print(const char *text) {
    (void)call(SYS_WRITE0, text);
}

_Noreturn void host_exit(int32_t status) {
    const uintptr_t block[] = {STOPPED_APPLICATION_EXIT, (uintptr_t)status};
    for (;;) {
        (void)call(SYS_EXIT_EXTENDED, block);
    }
}
