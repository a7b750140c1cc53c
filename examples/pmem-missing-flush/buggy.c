// A log in persistent memory: a count at its start, then entries of one line each. Prints the number
// of each entry that is saved.
#include <libpmem.h>
#include <stdint.h>
#include <stdio.h>

#define LOG_BYTES 65536
#define ENTRY_BYTES 64

int main(void) {
  size_t bytes;
  int is_pmem;
  char* log = pmem_map_file("entries", LOG_BYTES, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
  if (log == NULL || !is_pmem) return 1;
  uint64_t* count = (uint64_t*)log;
  for (unsigned number = 1; number <= 3; number++) {
    char* entry = log + number * ENTRY_BYTES;
    snprintf(entry, ENTRY_BYTES, "entry %u", number);
    *count = number;
    pmem_persist(count, sizeof(*count));
    printf("%u\n", number);
  }
  return 0;
}
