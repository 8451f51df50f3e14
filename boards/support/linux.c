/* A process of Linux on AArch64 or Arm without a C library, so that nothing but the model and its runtime is in it. */
#include "host.h"
#include "stack.h"

int main(void);
_Noreturn void linux_run(uintptr_t *arguments);

enum { STANDARD_ERROR = 2, READ_ONLY = 0, WRITE_ONLY = 1, CURRENT_FOLDER = -100, PAINTED_BYTES = 65536 };

#if defined(__aarch64__)
enum { SYS_OPENAT = 56, SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT_GROUP = 94 };

static intptr_t call(intptr_t number, intptr_t a, intptr_t b, intptr_t c, intptr_t d) {
    register intptr_t x8 __asm__("x8") = number;
    register intptr_t x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory", "cc");
    return x0;
}

#define ENTRY "mov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tb linux_run"
#elif defined(__arm__)
enum { SYS_OPENAT = 322, SYS_READ = 3, SYS_WRITE = 4, SYS_EXIT_GROUP = 248 };

static intptr_t call(intptr_t number, intptr_t a, intptr_t b, intptr_t c, intptr_t d) {
    register intptr_t r7 __asm__("r7") = number;
    register intptr_t r0 __asm__("r0") = a, r1 __asm__("r1") = b, r2 __asm__("r2") = c, r3 __asm__("r3") = d;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory", "cc");
    return r0;
}

#define ENTRY "mov fp, #0\n\tmov lr, #0\n\tmov r0, sp\n\tb linux_run"
#else
#error "linux.c: expected AArch64 or Arm"
#endif

static const char *const *argv;
static size_t argc;

/* The kernel leaves argc, then argv, on the stack. */
__attribute__((naked, used)) _Noreturn void Reset_Handler(void) {
    __asm__ volatile(ENTRY);
}

_Noreturn void linux_run(uintptr_t *arguments) {
    argc = arguments[0];
    argv = (const char *const *)(arguments + 1);
    uint32_t *const top = (uint32_t *)(void *)arguments;
    stack_paint(top - PAINTED_BYTES / sizeof *top, top);
    host_exit(main());
}

int32_t host_open(const char *path, enum host_mode mode) {
    const intptr_t flags = mode == HOST_READ ? READ_ONLY : WRITE_ONLY;
    return (int32_t)call(SYS_OPENAT, CURRENT_FOLDER, (intptr_t)path, flags, 0);
}

size_t host_read(int32_t file, void *to, size_t bytes) {
    const intptr_t got = call(SYS_READ, file, (intptr_t)to, (intptr_t)bytes, 0);
    return got > 0 ? (size_t)got : 0;
}

size_t host_write(int32_t file, const void *from, size_t bytes) {
    const char *at = from;
    size_t left = bytes;
    while (left > 0) {
        const intptr_t done = call(SYS_WRITE, file, (intptr_t)at, (intptr_t)left, 0);
        if (done <= 0) {
            break;
        }
        at += done;
        left -= (size_t)done;
    }
    return bytes - left;
}

int32_t host_command_line(char *to, size_t bytes) {
    size_t n = 0;
    for (size_t i = 0; i < argc; i++) {
        for (const char *c = argv[i]; *c != 0 && n < bytes; c++) {
            to[n++] = *c;
        }
        if (n == bytes) {
            return -1;
        }
        to[n++] = i + 1 < argc ? ' ' : 0;
    }
    return 0;
}

void host_print(const char *text) {
    size_t n = 0;
    while (text[n] != 0) {
        n++;
    }
    (void)host_write(STANDARD_ERROR, text, n);
}

_Noreturn void host_exit(int32_t status) {
    for (;;) {
        (void)call(SYS_EXIT_GROUP, status, 0, 0, 0);
    }
}
