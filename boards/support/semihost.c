#include "semihost.h"

enum operation {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
};

static const uintptr_t STOPPED_APPLICATION_EXIT = 0x20026;

/* r0 = operation, r1 = argument or address of the argument block; the answer comes in r0. */
static intptr_t call(enum operation operation, const void *argument) {
    register intptr_t r0 __asm__("r0") = (intptr_t)operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static size_t length(const char *text) {
    size_t n = 0;
    while (text[n] != 0) {
        n++;
    }
    return n;
}

int32_t semihost_open(const char *path, enum semihost_mode mode) {
    const uintptr_t block[] = {(uintptr_t)path, (uintptr_t)mode, length(path)};
    return (int32_t)call(SYS_OPEN, block);
}

/* SYS_READ and SYS_WRITE answer with the number of bytes NOT transferred. */
static size_t transfer(enum operation operation, int32_t file, uintptr_t memory, size_t bytes) {
    const uintptr_t block[] = {(uintptr_t)file, memory, bytes};
    const size_t left = (size_t)call(operation, block);
    return left <= bytes ? bytes - left : 0;
}

size_t semihost_read(int32_t file, void *to, size_t bytes) {
    return transfer(SYS_READ, file, (uintptr_t)to, bytes);
}

size_t semihost_write(int32_t file, const void *from, size_t bytes) {
    return transfer(SYS_WRITE, file, (uintptr_t)from, bytes);
}

int32_t semihost_close(int32_t file) {
    const uintptr_t block[] = {(uintptr_t)file};
    return (int32_t)call(SYS_CLOSE, block);
}

int32_t semihost_command_line(char *to, size_t bytes) {
    const uintptr_t block[] = {(uintptr_t)to, bytes};
    return (int32_t)call(SYS_GET_CMDLINE, block);
}

void semihost_print(const char *text) {
    (void)call(SYS_WRITE0, text);
}

_Noreturn void semihost_exit(int32_t status) {
    const uintptr_t block[] = {STOPPED_APPLICATION_EXIT, (uintptr_t)status};
    for (;;) {
        (void)call(SYS_EXIT_EXTENDED, block);
    }
}
