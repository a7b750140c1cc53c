/* A client of the mounts under test that stores through a shared mapping.
 *
 *   mmap_client PATH PAGES COMMAND
 *
 * Maps PAGES pages of PATH and dirties each with its first byte 'm'; prints "dirty". Then
 *   wait   reads one line, prints the first byte of each page, and ends without msync
 *   sync   msyncs, prints "synced"
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void require(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

int main(int argc, char** argv) {
  require(argc == 4, "usage: mmap_client PATH PAGES COMMAND");
  const size_t page_count = strtoul(argv[2], NULL, 10);
  const int fd = open(argv[1], O_RDWR);
  require(fd >= 0, "open");
  char* bytes = mmap(NULL, page_count * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  require(bytes != MAP_FAILED, "mmap");
  for (size_t page = 0; page < page_count; page++) bytes[page * 4096] = 'm';
  puts("dirty");
  fflush(stdout);
  if (strcmp(argv[3], "sync") == 0) {
    require(msync(bytes, page_count * 4096, MS_SYNC) == 0, "msync");
    puts("synced");
    return 0;
  }
  char line[16];
  require(fgets(line, sizeof(line), stdin) != NULL, "stdin");
  for (size_t page = 0; page < page_count; page++) putchar(bytes[page * 4096]);
  putchar('\n');
  fflush(stdout);
  return 0;
}
