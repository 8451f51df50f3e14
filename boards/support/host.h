/* The computer that drives the harness: its files, its command line, its standard error.
 *
 * semihost.c reaches it from a bare core through the emulator, linux.c with system calls.
 */
#ifndef HOST_H
#define HOST_H

#include <stddef.h>
#include <stdint.h>

enum host_mode { HOST_READ, HOST_WRITE };

/* A file handle, or a negative number. */
int32_t host_open(const char *path, enum host_mode mode);
/* How many of `bytes` were read, at least one; 0 at the end of the file or on an error. */
size_t host_read(int32_t file, void *to, size_t bytes);
/* How many of `bytes` were written; fewer only on an error. */
size_t host_write(int32_t file, const void *from, size_t bytes);
/* The command line, its words parted by blanks, zero-terminated, in `to`; 0, or -1 if it does not fit. */
int32_t host_command_line(char *to, size_t bytes);
/* One zero-terminated text on standard error. */
void host_print(const char *text);
_Noreturn void host_exit(int32_t status);

#endif
