/* `main` of the emulated boards: serves one model to the host over two files, as fixed in docs/architecture.md
 * ("The harness protocol"). The command line is: program, requests file, replies file.
 *
 * Compiled with MODEL_HEADER ("watch.h"), MODEL (watch_model), MODEL_CONSTANT(x) (WATCH_##x).
 */
#include <stdint.h>

#include MODEL_HEADER
#include "esnn.h"
#include "host.h"
#include "stack.h"

enum {
    ARENA_BYTES = MODEL_CONSTANT(ARENA_BYTES),
    INPUT_BYTES = MODEL_CONSTANT(INPUT_BYTES),
    CLASSES = MODEL_CONSTANT(CLASSES),
};

enum exit_status { EXIT_QUIT = 0, EXIT_USAGE = 64, EXIT_PROTOCOL = 76 };

static _Alignas(8) uint8_t arena[ARENA_BYTES];
static _Alignas(8) uint8_t input[INPUT_BYTES];
static esnn_net net;
static int32_t requests, replies;

static void receive(void *to, size_t bytes) {
    uint8_t *at = to;
    while (bytes > 0) {
        const size_t got = host_read(requests, at, bytes);
        if (got == 0) { /* the host is gone */
            host_exit(EXIT_QUIT);
        }
        at += got;
        bytes -= got;
    }
}

static void send(const void *from, size_t bytes) {
    if (host_write(replies, from, bytes) != bytes) {
        host_print("harness: the host closed the replies\n");
        host_exit(EXIT_PROTOCOL);
    }
}

/* Sends the status, and `bytes` of body after a status of 0; says first on standard error what the status means. */
static void reply(int status, const void *body, size_t bytes) {
    const int32_t word = status;
    if (status != ESNN_OK) {
        host_print(esnn_strerror(status));
        host_print("\n");
    }
    send(&word, sizeof word);
    if (status == ESNN_OK && bytes > 0) {
        send(body, bytes);
    }
}

static void serve_step(void) {
    int32_t y[CLASSES];
    receive(input, sizeof input);
    const int status = esnn_step(&net, input, y);
    reply(status, y, sizeof y);
}

static void serve_learn(void) {
    int32_t label;
    receive(&label, sizeof label);
    reply(esnn_learn(&net, label), NULL, 0);
}

static void serve_info(void) {
    const uint32_t numbers[] = {
        esnn_version(), ARENA_BYTES, INPUT_BYTES, CLASSES, MODEL.snapshot_bytes, (uint32_t)stack_used_bytes(),
        (uint32_t)MODEL.id, (uint32_t)(MODEL.id >> 32),
    };
    reply(ESNN_OK, numbers, sizeof numbers);
}

/* The arena starts with the persistent tensors in snapshot layout. */
static void serve(uint8_t operation) {
    switch (operation) {
    case 'S':
        serve_step();
        break;
    case 'L':
        serve_learn();
        break;
    case 'R':
        reply(esnn_reset(&net), NULL, 0);
        break;
    case 'G':
        reply(ESNN_OK, arena, MODEL.snapshot_bytes);
        break;
    case 'P':
        receive(arena, MODEL.snapshot_bytes);
        reply(ESNN_OK, NULL, 0);
        break;
    case 'I':
        serve_info();
        break;
    case 'Q':
        host_exit(EXIT_QUIT);
    default:
        host_print("harness: unknown request\n");
        host_exit(EXIT_PROTOCOL);
    }
}

/* Ends `text` at its next blank and returns what follows it. */
static char *cut(char *text) {
    while (*text != 0 && *text != ' ') {
        text++;
    }
    if (*text == ' ') {
        *text++ = 0;
    }
    return text;
}

int main(void) {
    static char line[512];
    if (host_command_line(line, sizeof line) != 0) {
        host_print("harness: the command line is too long\n");
        return EXIT_USAGE;
    }
    char *const requests_path = cut(line);
    char *const replies_path = cut(requests_path);
    (void)cut(replies_path);
    requests = host_open(requests_path, HOST_READ);
    replies = host_open(replies_path, HOST_WRITE);
    if (requests < 0 || replies < 0) {
        host_print("harness: cannot open the files named on the command line\n");
        return EXIT_USAGE;
    }
    const int status = esnn_init(&net, &MODEL, arena, sizeof arena);
    if (status != ESNN_OK) {
        host_print(esnn_strerror(status));
        host_print("\n");
        return EXIT_PROTOCOL;
    }
    for (;;) {
        uint8_t operation;
        receive(&operation, sizeof operation);
        serve(operation);
    }
}
