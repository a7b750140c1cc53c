// Scans itself as the shim does in a recording, without a mount. Built once for each thing to find:
// FLUSH is the instruction. Prints `passed` when nothing was found. Arguments: `ignore`, or libraries,
// which are loaded and gone again before.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "shim.h"

struct shim_settings shim_settings;

bool ShimIsRecorded(void) { return true; }

void ShimSay(const char* const words[], size_t count) {
  for (size_t i = 0; i < count; i++) fputs(words[i], stderr);
  fputc('\n', stderr);
}

#ifdef FLUSH
__attribute__((noinline)) void FlushLine(char* line) {
  __asm__ volatile(FLUSH ::"r"(line) : "r12", "memory");
}
#endif

// The bytes of clflush, clflushopt and clwb where no instruction begins.
__attribute__((noinline)) unsigned long Numbers(unsigned long seed) {
  unsigned long result;
  __asm__ volatile("movabs $0x667fae0f387fae0f, %0" : "=r"(result));
  __asm__ volatile("lea 0x37ae0f66(%0), %0" : "+r"(seed));
  __asm__ volatile("add $0x3fae0f, %0" : "+r"(seed));
  return result + seed;
}

int main(int argc, char** argv) {
  char line[64] = {0};
#ifdef FLUSH
  FlushLine(line);
#endif
  if (Numbers((unsigned long)argc) == 0) puts(line);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "ignore") == 0) {
      shim_settings.flags = WIRE_RUN_OWN_FLUSHES;
    } else if (dlclose(dlopen(argv[i], RTLD_NOW)) != 0) {
      return 1;
    }
  }
  ScanObjects();
  ScanObjects();
  puts("passed");
  return 0;
}
