/*
 * Counts visits in the mapped file `visits`, a counter a page of the site, and prints `PAGE COUNT`
 * for each visit that is counted.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGES = 3, VISITS = 6, FILE_BYTES = 4096 };

static void fail(const char *what) {
  perror(what);
  exit(2);
}

int main(void) {
  int file = open("visits", O_RDWR);
  if (file < 0) fail("visits");
  uint64_t *count = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (count == MAP_FAILED) fail("visits");
  for (int visit = 0; visit < VISITS; visit++) {
    int page = visit % PAGES;
    count[page]++;
    printf("%d %d\n", page, (int)count[page]);
    fflush(stdout);
  }
  return 0;
}
