/* Counts executed instructions, exactly: counts[region][function].
 *
 * Arguments: map=FILE and out=FILE. A line of the map is "START END REGION" (hex, hex, decimal), a function of the
 * program; lines ascend and do not overlap; the function's number is its line. A function with a REGION >= 0 makes that
 * region the current one whenever it runs; one with -1 counts to the region that is current, its caller's. So work is
 * told apart by layer and by kernel. What runs outside the map is not counted. At exit a line of `out` is
 * "REGION FUNCTION COUNT", for counts above 0.
 *
 * The few declarations of QEMU's plugin interface used here are the same in version 1 (up to QEMU 8.2) and in 2 and up
 * (QEMU 9.0 on, which refuse 1).
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translate_cb)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*execute_cb)(unsigned vcpu, void *user);
typedef void (*exit_cb)(uint64_t id, void *user);
enum { CB_NO_REGS = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translate_cb cb);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, execute_cb cb, int flags, void *user);
void qemu_plugin_register_atexit_cb(uint64_t id, exit_cb cb, void *user);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

void qemu_plugin_read_register(void) __attribute__((weak)); /* came with version 2; only asked whether it is there */

int qemu_plugin_version = 1;

__attribute__((constructor)) static void choose_version(void) {
    if (qemu_plugin_read_register != NULL) {
        qemu_plugin_version = 2;
    }
}

enum { FUNCTIONS = 4096, REGIONS = 1024 };

typedef struct {
    uint64_t start, end;
    int region;
    uint64_t *counts; /* [REGIONS] */
} function;

static function functions[FUNCTIONS];
static size_t function_count;
static int current;
static FILE *out;

static void on_execute(unsigned vcpu, void *user) {
    const function *f = user;
    (void)vcpu;
    if (f->region >= 0) {
        current = f->region;
    }
    f->counts[current]++;
}

static void on_translate(uint64_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        for (size_t f = 0; f < function_count; f++) {
            if (address >= functions[f].start && address < functions[f].end) {
                qemu_plugin_register_vcpu_insn_exec_cb(insn, on_execute, CB_NO_REGS, &functions[f]);
            }
        }
    }
}

static void on_exit_write(uint64_t id, void *user) {
    (void)id;
    (void)user;
    for (int region = 0; region < REGIONS; region++) {
        for (size_t f = 0; f < function_count; f++) {
            if (functions[f].counts[region] > 0) {
                fprintf(out, "%d %zu %" PRIu64 "\n", region, f, functions[f].counts[region]);
            }
        }
    }
    fclose(out);
}

static int read_map(const char *path) {
    FILE *map = fopen(path, "r");
    function f;
    if (map == NULL) {
        return -1;
    }
    while (fscanf(map, "%" SCNx64 " %" SCNx64 " %d", &f.start, &f.end, &f.region) == 3) {
        if (function_count == FUNCTIONS || f.region >= REGIONS) {
            fclose(map);
            return -1;
        }
        f.counts = calloc(REGIONS, sizeof *f.counts);
        if (f.counts == NULL) {
            fclose(map);
            return -1;
        }
        functions[function_count++] = f;
    }
    fclose(map);
    return 0;
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "map=", 4) == 0 && read_map(argv[i] + 4) != 0) {
            fprintf(stderr, "count: cannot read the map, or it is too large\n");
            return -1;
        }
        if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(argv[i] + 4, "w");
        }
    }
    if (function_count == 0 || out == NULL) {
        fprintf(stderr, "count: expected map=FILE and out=FILE that can be opened\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
    return 0;
}
