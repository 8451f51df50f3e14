/* What the example uses of Zephyr, for a check of its syntax and types. */
#pragma once
#include <stdint.h>
int32_t k_msleep(int32_t ms);
