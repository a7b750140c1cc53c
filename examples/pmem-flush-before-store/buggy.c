// Two versions of a balance in persistent memory, and which one is valid. Prints each balance that is
// saved.
#include <libpmem.h>
#include <stdint.h>
#include <stdio.h>

struct account {
  uint64_t valid;  // 0 or 1
  char rest[56];
  struct {
    uint64_t balance;
    uint64_t inverse;
    char rest[48];
  } versions[2];
};

int main(void) {
  size_t bytes;
  int is_pmem;
  struct account* account =
      pmem_map_file("account", 4096, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
  if (account == NULL || !is_pmem) return 1;
  account->versions[0].inverse = ~account->versions[0].balance;
  pmem_persist(&account->versions[0], sizeof(account->versions[0]));
  for (uint64_t balance = 100; balance <= 300; balance += 100) {
    const uint64_t next = 1 - account->valid;
    pmem_flush(&account->versions[next], sizeof(account->versions[next]));
    account->versions[next].balance = balance;
    account->versions[next].inverse = ~balance;
    pmem_drain();
    account->valid = next;
    pmem_persist(&account->valid, sizeof(account->valid));
    printf("%lu\n", (unsigned long)balance);
  }
  return 0;
}
