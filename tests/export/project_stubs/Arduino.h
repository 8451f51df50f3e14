// What the example sketch uses of Arduino, for a check of its syntax and types.
#pragma once
struct Port {
    void begin(unsigned long baud);
    void println(const char *text);
};
extern Port Serial;
void delay(unsigned long ms);
