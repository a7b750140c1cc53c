/*
 * A ledger of 128 balances, one record of 1024 bytes in the file `ledger`. Each transfer changes two
 * balances, saves the record and prints `transfer N`. The file has two slots for the record, and a
 * word at its start that says which one counts. `fixed init` makes the file.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ACCOUNTS = 128, START = 100, TRANSFERS = 4, SLOT_BYTES = 4096 };

static int64_t ledger[ACCOUNTS];
static uint64_t slot;
static int file;

static void store(const void *bytes, size_t count, off_t offset) {
  if (pwrite(file, bytes, count, offset) == (ssize_t)count) return;
  perror("ledger");
  exit(2);
}

static void sync_file(void) {
  if (fdatasync(file) == 0) return;
  perror("ledger");
  exit(2);
}

static void save(void) {
  slot = 1 - slot;
  store(ledger, sizeof ledger, (off_t)(slot + 1) * SLOT_BYTES);
  sync_file();
  store(&slot, sizeof slot, 0);
  sync_file();
}

int main(int argc, char **argv) {
  file = open("ledger", O_RDWR | O_CREAT, 0644);
  if (argc > 1 && strcmp(argv[1], "init") == 0) {
    for (int i = 0; i < ACCOUNTS; i++) ledger[i] = START;
    store(&slot, sizeof slot, 0);
    store(ledger, sizeof ledger, SLOT_BYTES);
    store(ledger, sizeof ledger, 2 * SLOT_BYTES);
    sync_file();
    return 0;
  }
  pread(file, &slot, sizeof slot, 0);
  pread(file, ledger, sizeof ledger, (off_t)(slot + 1) * SLOT_BYTES);
  for (int i = 0; i < TRANSFERS; i++) {
    ledger[i] -= 10;
    ledger[ACCOUNTS - 1 - i] += 10;
    save();
    printf("transfer %d\n", i + 1);
    fflush(stdout);
  }
  return 0;
}
