/*
 * A queue of messages in the file `queue`: a count at its start, and from 4096 on messages of 256
 * bytes. Prints the number of each message that is queued.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGES = 4, FIRST_OFFSET = 4096, MESSAGE_BYTES = 256 };

static int file;

static void store(const void *bytes, size_t count, off_t offset) {
  if (pwrite(file, bytes, count, offset) == (ssize_t)count) return;
  perror("queue");
  exit(2);
}

static void sync_file(void) {
  if (fdatasync(file) == 0) return;
  perror("queue");
  exit(2);
}

static void push(uint64_t number) {
  char message[MESSAGE_BYTES] = {0};
  snprintf(message, sizeof message, "message %d", (int)number);
  store(&number, sizeof number, 0);
  store(message, sizeof message, FIRST_OFFSET + (off_t)(number - 1) * MESSAGE_BYTES);
  sync_file();
}

int main(void) {
  file = open("queue", O_RDWR);
  for (uint64_t number = 1; number <= MESSAGES; number++) {
    push(number);
    printf("%d\n", (int)number);
    fflush(stdout);
  }
  return 0;
}
