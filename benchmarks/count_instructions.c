/* A plugin of QEMU's user mode: counts the guest's instructions and writes their sum to $INSTRUCTION_COUNT_FILE.
 *
 * Declared here is the little that it needs of qemu-plugin.h (QEMU's documentation, "TCG Plugins"), so that
 * Debian's qemu-user suffices.
 *     cc -shared -fPIC -O2 -o count_instructions.so count_instructions.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t plugin_id;
struct block;
enum { ADD = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct block *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
static uint64_t instructions;

static void translated(plugin_id id, struct block *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &instructions, qemu_plugin_tb_n_insns(block));
}

static void ended(plugin_id id, void *data) {
  (void)id, (void)data;
  const char *path = getenv("INSTRUCTION_COUNT_FILE");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (file) {
    fprintf(file, "%llu\n", (unsigned long long)instructions);
    fclose(file);
  }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
