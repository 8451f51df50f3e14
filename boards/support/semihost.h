/* Semihosting: the firmware asks the debugger, here the emulator, to open, read and write files of the host.
 *
 * Source: Arm, "Semihosting for AArch32 and AArch64" (https://github.com/ARM-software/abi-aa, semihosting).
 * No interrupt may call these; each call stops the core until the host has answered.
 */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stddef.h>
#include <stdint.h>

enum semihost_mode { SEMIHOST_READ = 1, SEMIHOST_WRITE = 5 }; /* "rb" and "wb" */

/* A file handle, or -1. */
int32_t semihost_open(const char *path, enum semihost_mode mode);
/* How many of `bytes` were read, at least one; 0 at the end of the file or on an error. */
size_t semihost_read(int32_t file, void *to, size_t bytes);
/* How many of `bytes` were written; fewer only on an error. */
size_t semihost_write(int32_t file, const void *from, size_t bytes);
int32_t semihost_close(int32_t file);
/* The command line, zero-terminated, in `to`; 0, or -1 if it does not fit. */
int32_t semihost_command_line(char *to, size_t bytes);
/* One zero-terminated text on the emulator's standard error. */
void semihost_print(const char *text);
_Noreturn void semihost_exit(int32_t status);

#endif
