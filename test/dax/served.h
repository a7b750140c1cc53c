/*
 * What reader.c and writer.c have in common: programs that answer each case of a line on stdin in
 * one line, "ok" or what was wrong, and ask by system calls of their own what the kernel would say.
 *
 *   PROGRAM DIR served|kernel     whether calls are to be served in the process
 */
#ifndef FAUXDAX_TEST_SERVED_H_
#define FAUXDAX_TEST_SERVED_H_

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kPage = 4096, kPages = 64, kBytes = kPages * kPage, kWarmReads = 64 };

static const char* dir;
static int is_served;
static char wrong[256];
static unsigned char buffer[2 * kBytes];

/* Three pages, of which one is missing: -1 for none. */
static inline char* PagesWithout(int missing) {
  char* pages = mmap(NULL, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(pages, 0x33, 3 * kPage);
  if (missing >= 0) munmap(pages + missing * kPage, kPage);
  return pages;
}

/* Where buffers begin in those, and how long they are. */
static const size_t kStarts[] = {0, 100, kPage - 8, kPage - 7, kPage - 1, kPage, 2 * kPage - 3};
static const size_t kLengths[] = {1, 7, 8, 9, kPage - 8, kPage, kPage + 4};
enum { kStartCount = sizeof(kStarts) / sizeof(*kStarts) };
enum { kLengthCount = sizeof(kLengths) / sizeof(*kLengths) };

static int Wrong(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(wrong, sizeof(wrong), format, arguments);
  va_end(arguments);
  return 1;
}

#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) return Wrong("%d: %s, errno %d", __LINE__, #condition, errno); \
  } while (0)

static ssize_t KernelRead(int fd, void* to, size_t length, off_t offset) {
  return syscall(SYS_pread64, fd, to, length, offset);
}

/* Calls of this process that the kernel has served: "syscr: ", with this one, or "syscw: ". */
static long KernelCalls(const char* what) {
  char text[512] = "";
  const int fd = open("/proc/self/io", O_RDONLY);
  const ssize_t bytes = syscall(SYS_read, fd, text, sizeof(text) - 1);
  close(fd);
  const char* found = bytes > 0 ? strstr(text, what) : NULL;
  return found == NULL ? -1 : atol(found + strlen(what));
}

static int Open(const char* name, int flags) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  return open(path, flags, 0600);
}

/* Each word of a page says which file and page it is of. */
static uint64_t Stamp(uint64_t file, uint64_t page) { return file << 32 | page << 1 | 1; }

static int WritePages(int fd, uint64_t file, uint64_t page, uint64_t count) {
  uint64_t words[kPage / 8];
  for (uint64_t i = page; i < page + count; i++) {
    for (size_t word = 0; word < kPage / 8; word++) words[word] = Stamp(file, i);
    if (pwrite(fd, words, kPage, (off_t)i * kPage) != kPage) return -1;
  }
  return 0;
}

/* A file that is read here by now, when it can be. */
static int Warm(int fd) {
  for (int i = 0; i < kWarmReads; i++) {
    if (pread(fd, buffer, 64, 0) < 0) return -1;
  }
  return 0;
}

static int OpenWarm(const char* name, uint64_t file, int flags) {
  const int fd = Open(name, flags | O_CREAT | O_TRUNC);
  if (fd < 0 || WritePages(fd, file, 0, kPages) != 0 || Warm(fd) != 0) return -1;
  return fd;
}

struct served_case {
  const char* name;
  int (*run)(void);
};

static int Answer(int count, char** words, const struct served_case* cases, size_t case_count) {
  if (count != 3) return 2;
  dir = words[1];
  is_served = strcmp(words[2], "served") == 0;
  char line[64];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    const char* answer = "no such case";
    for (size_t i = 0; i < case_count; i++) {
      if (strcmp(cases[i].name, line) != 0) continue;
      answer = cases[i].run() == 0 ? "ok" : wrong;
    }
    puts(answer);
    fflush(stdout);
  }
  return 0;
}

#endif
