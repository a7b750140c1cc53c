/*
 * A log of samples in the mapped file `samples`, one each 1024 bytes; prints the number of each sample
 * that is stored.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SAMPLES = 7, SAMPLE_BYTES = 1024, PAGE_BYTES = 4096, FILE_BYTES = 4 * PAGE_BYTES };

static char *log_bytes;

static void fail(const char *what) {
  perror(what);
  exit(2);
}

static void append(int index) {
  char *sample = log_bytes + index * SAMPLE_BYTES;
  snprintf(sample, SAMPLE_BYTES, "sample %d", index + 1);
  char *page = log_bytes + index * SAMPLE_BYTES / PAGE_BYTES * PAGE_BYTES;
  if (msync(page, sample + SAMPLE_BYTES - page, MS_SYNC) != 0) fail("msync");
}

int main(void) {
  int file = open("samples", O_RDWR);
  if (file < 0) fail("samples");
  log_bytes = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (log_bytes == MAP_FAILED) fail("samples");
  for (int index = 0; index < SAMPLES; index++) {
    append(index);
    printf("%d\n", index + 1);
    fflush(stdout);
  }
  return 0;
}
