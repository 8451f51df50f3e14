#ifndef KERNEL_SERVER_H
#define KERNEL_SERVER_H

#include "esnn.h"

#define KERNEL_SERVER_ARENA_BYTES 16384
#define KERNEL_SERVER_SNAPSHOT_BYTES 4
#define KERNEL_SERVER_INPUT_BYTES 10304
#define KERNEL_SERVER_CLASSES 1024

extern const esnn_model kernel_server_model;

#endif
