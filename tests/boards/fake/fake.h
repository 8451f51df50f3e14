#ifndef FAKE_H
#define FAKE_H

#include "esnn.h"

#define FAKE_ARENA_BYTES 64
#define FAKE_SNAPSHOT_BYTES 12
#define FAKE_INPUT_BYTES 5
#define FAKE_CLASSES 3

extern const esnn_model fake_model;

#endif
