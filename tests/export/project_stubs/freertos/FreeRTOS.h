/* What the example uses of ESP-IDF, for a check of its syntax and types. */
#pragma once
#include <stdint.h>
typedef uint32_t TickType_t;
#define pdMS_TO_TICKS(ms) ((TickType_t)(ms))
void app_main(void);
