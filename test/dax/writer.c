/*
 * Writes files of a mount by pwrite and pwritev: cases for served.h. Under `fauxdax run` writes of
 * bytes that are there already are served in the process.
 */
#include "served.h"

#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

enum { kWrites = 100, kQueued = 128, kLargest = 16384 };

/* Values that a compiler would refuse. */
static void* volatile nowhere = (void*)8;
static volatile int below_zero = -1;

/* Where the next write of 8 bytes at `offset` goes; -1 when it fails. Nothing is queued before. */
static int KernelServes(int fd, off_t offset) {
  const uint64_t word = 7;
  if (fsync(fd) != 0) return -1;
  const long before = KernelCalls("syscw: ");
  if (pwrite(fd, &word, 8, offset) != 8) return -1;
  return (int)(KernelCalls("syscw: ") - before);
}

/* Whether the process serves that by itself, once the daemon is done with the call before. */
static int IsServed(int fd, off_t offset) {
  for (int i = 0; i < (is_served ? 100 : 1); i++) {
    if (KernelServes(fd, offset) == 0) return 1;
    usleep(1000);
  }
  return 0;
}

/* The first file is served before any other is looked at. */
static int OpenServed(const char* name, uint64_t file, int flags) {
  const int fd = OpenWarm(name, file, flags);
  return fd >= 0 && IsServed(fd, 0) == is_served && WritePages(fd, file, 0, 1) == 0 ? fd : -1;
}

static int CaseServed(void) {
  const int fd = OpenWarm("f", 1, O_RDWR);
  EXPECT(fd >= 0 && fsync(fd) == 0);
  const long before = KernelCalls("syscw: ");
  for (int i = 0; i < kWrites; i++) EXPECT(pwrite(fd, buffer, kPage, i * kPage / 2) == kPage);
  const long by_kernel = KernelCalls("syscw: ") - before;
  if (by_kernel != (is_served ? 0 : kWrites)) return Wrong("the kernel served %ld", by_kernel);
  return 0;
}

/* A full queue is emptied by the one write that goes through the kernel. */
static int CaseFull(void) {
  const int fd = OpenServed("full", 2, O_RDWR);
  EXPECT(fd >= 0 && fsync(fd) == 0);
  const long before = KernelCalls("syscw: ");
  for (int i = 0; i < 10 * (kQueued + 1); i++) {
    const uint64_t word = (uint64_t)i;
    EXPECT(pwrite(fd, &word, 8, 8 * (i % 512)) == 8);
  }
  if (is_served) EXPECT(KernelCalls("syscw: ") - before == 10);
  uint64_t words[512];
  EXPECT(KernelRead(fd, words, sizeof(words), 0) == sizeof(words));
  for (int i = 10 * (kQueued + 1) - 512; i < 10 * (kQueued + 1); i++) {
    EXPECT(words[i % 512] == (uint64_t)i);
  }
  return 0;
}

/* Random writes and changes of one thread: the file is what a plain array is. */
static int CaseSame(void) {
  static unsigned char model[2 * kBytes], seen[2 * kBytes];
  const int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int fd = Open("same", O_RDWR | O_CREAT | O_TRUNC);
  unsigned seed = 3;
  EXPECT(fd >= 0 && pwrite(fd, model, kBytes, 0) == kBytes && Warm(fd) == 0);
  size_t size = kBytes;
  for (int round = 0; round < 6000; round++) {
    const size_t from = (size_t)rand_r(&seed) % size;
    const size_t left = size - from < kLargest ? size - from : kLargest;
    const size_t length = 1 + (size_t)rand_r(&seed) % left;
    const size_t page = from / kPage * kPage;
    unsigned char bytes[kLargest];
    memset(bytes, rand_r(&seed), length);
    switch (rand_r(&seed) % 40) {
      case 0:
        EXPECT(fallocate(fd, kPunch, (off_t)from, (off_t)length) == 0);
        memset(model + from, 0, length);
        break;
      case 1:
        EXPECT(ftruncate(fd, (off_t)from + 1) == 0 && ftruncate(fd, kBytes) == 0);
        memset(model + from + 1, 0, kBytes - from - 1);
        break;
      case 2:
        if (!is_served || size - page < 2 * kPage) break;
        EXPECT(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)page, kPage) == 0);
        memmove(model + page, model + page + kPage, kBytes - page - kPage);
        memset(model + kBytes - kPage, 0, kPage);
        EXPECT(ftruncate(fd, kBytes) == 0);
        break;
      case 3:
        EXPECT(KernelRead(fd, seen, kBytes, 0) == kBytes && !memcmp(seen, model, kBytes));
        break;
      case 4: {
        const struct iovec parts[] = {{bytes, length / 2},
                                      {bytes + length / 2, length - length / 2}};
        EXPECT(pwritev(fd, parts, 2, (off_t)from) == (ssize_t)length);
        memcpy(model + from, bytes, length);
        break;
      }
      case 5:
        EXPECT(pread(fd, seen, length, (off_t)from) == (ssize_t)length);
        EXPECT(!memcmp(seen, model + from, length));
        break;
      case 6:
        EXPECT(pwrite(fd, model, kBytes, 0) == kBytes);
        break;
      case 7: {
        unsigned char* map = mmap(NULL, kBytes, PROT_READ, MAP_SHARED, fd, 0);
        if (!is_served) break;
        EXPECT(map != MAP_FAILED && !memcmp(map, model, kBytes) && munmap(map, kBytes) == 0);
        break;
      }
      default:
        EXPECT(pwrite(fd, bytes, length, (off_t)from) == (ssize_t)length);
        memcpy(model + from, bytes, length);
    }
  }
  EXPECT(KernelRead(fd, seen, kBytes, 0) == kBytes && !memcmp(seen, model, kBytes));
  return 0;
}

static int CaseErrors(void) {
  const int fd = OpenServed("errors", 4, O_RDWR);
  EXPECT(fd >= 0);
  const uint64_t word = 1;
  EXPECT(pwrite(Open("errors", O_RDONLY), &word, 8, 0) == -1 && errno == EBADF);
  EXPECT(pwrite(Open("errors", O_PATH), &word, 8, 0) == -1 && errno == EBADF);
  EXPECT(pwrite(-1, &word, 8, 0) == -1 && errno == EBADF);
  EXPECT(pwrite(fd, nowhere, kPage, 0) == -1 && errno == EFAULT);
  EXPECT(pwrite(fd, nowhere, 0, 0) == 0);
  EXPECT(pwrite(fd, &word, 8, -1) == -1 && errno == EINVAL);
  EXPECT(pwritev(fd, nowhere, 2, 0) == -1 && errno == EFAULT);
  const struct iovec parts[] = {{(void*)&word, 8}, {nowhere, 8}};
  EXPECT(pwritev(fd, parts, below_zero, 0) == -1 && errno == EINVAL);
  const struct iovec huge[] = {{(void*)&word, SIZE_MAX}, {(void*)&word, 9}};
  EXPECT(pwritev(fd, huge, 2, 0) == -1 && errno == EINVAL);
  struct iovec many[100];
  for (size_t i = 0; i < 100; i++) many[i] = (struct iovec){(void*)&word, 8};
  EXPECT(pwritev(fd, many, 100, 0) == 800);
  /* Half of the buffer is there: as much of it as the kernel would have written, or none. */
  char* pages = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(pages, 0x55, kPage);
  EXPECT(munmap(pages + kPage, kPage) == 0);
  char before[kPage], after[kPage];
  EXPECT(KernelRead(fd, before, kPage, 0) == kPage);
  const ssize_t there = syscall(SYS_pwrite64, fd, pages + kPage - 100, 200, 0L);
  const int there_errno = errno;
  EXPECT(KernelRead(fd, after, kPage, 0) == kPage &&
         syscall(SYS_pwrite64, fd, before, kPage, 0L) == kPage);
  EXPECT(pwrite(fd, pages + kPage - 100, 200, 0) == there && (there >= 0 || errno == there_errno));
  EXPECT(KernelRead(fd, before, kPage, 0) == kPage && !memcmp(before, after, kPage));
  for (int missing = -1; missing < 3; missing++) {
    char* some = PagesWithout(missing);
    for (int at = 0; at < kStartCount * kLengthCount; at++) {
      const char* from = some + kStarts[at % kStartCount];
      const size_t length = kLengths[at / kStartCount];
      errno = 0;
      const ssize_t kernel = syscall(SYS_pwrite64, fd, from, length, 5L);
      const int kernel_errno = errno;
      errno = 0;
      const ssize_t here = pwrite(fd, from, length, 5);
      if (here != kernel || errno != kernel_errno)
        return Wrong("without page %d, %zu at %zu: %zd, not %zd", missing, length,
                     kStarts[at % kStartCount], here, kernel);
    }
  }
  return 0;
}

/* What changes more than bytes, or has to be durable, is the kernel's. */
static int CaseRefused(void) {
  const int fd = OpenServed("refused", 5, O_RDWR);
  EXPECT(fd >= 0);
  const uint64_t word = 9;
  EXPECT(KernelServes(Open("refused", O_WRONLY | O_DSYNC), 0) == 1);
  EXPECT(KernelServes(Open("refused", O_WRONLY | O_SYNC), 0) == 1);
  EXPECT(IsServed(Open("refused", O_WRONLY | O_DIRECT), 0) == is_served);
  EXPECT(IsServed(Open("refused", O_WRONLY), 0) == is_served);
  struct stat status;
  const int appends = Open("refused", O_WRONLY | O_APPEND);
  EXPECT(pwrite(appends, &word, 8, 0) == 8);
  EXPECT(fstat(fd, &status) == 0 && status.st_size == kBytes + 8);
  EXPECT(fcntl(fd, F_SETFL, O_APPEND) == 0 && pwrite(fd, &word, 8, 0) == 8);
  EXPECT(fstat(fd, &status) == 0 && status.st_size == kBytes + 16);
  EXPECT(fcntl(fd, F_SETFL, 0) == 0);
  EXPECT(pwrite(fd, &word, 8, kBytes + 12) == 8);
  EXPECT(fstat(fd, &status) == 0 && status.st_size == kBytes + 20);
  EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * kPage, kPage) == 0);
  EXPECT(KernelServes(fd, 8 * kPage) == 1 && IsServed(fd, 8 * kPage) == is_served);
  EXPECT(fallocate(fd, FALLOC_FL_ZERO_RANGE, 9 * kPage, kPage) == 0);
  EXPECT(KernelServes(fd, 9 * kPage - 4) == 1);
  static char large[kLargest + 1];
  const long before = KernelCalls("syscw: ");
  EXPECT(pwrite(fd, large, sizeof(large), 0) == sizeof(large));
  EXPECT(KernelCalls("syscw: ") - before == 1);
  EXPECT(fsetxattr(fd, "security.capability", "\1\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0) ==
         0);
  EXPECT(KernelServes(fd, 0) == 1);
  EXPECT(fgetxattr(fd, "security.capability", large, sizeof(large)) == -1 && errno == ENODATA);
  EXPECT(IsServed(fd, 0) == is_served);
  EXPECT(fchmod(fd, 04755) == 0 && KernelServes(fd, 0) == 1);
  EXPECT(fchmod(fd, 0600) == 0 && IsServed(fd, 0) == is_served);
  if (is_served) {
    char* map = mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 0);
    EXPECT(map != MAP_FAILED && KernelServes(fd, 0) == 1 && map[0] == 7);
    EXPECT(munmap(map, kPage) == 0);
    EXPECT(IsServed(fd, 0));
    /* Nor does a process matter any more that has mapped it and ended. */
    int status;
    const pid_t child = fork();
    if (child == 0) _exit(mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    for (int i = 0; i < 2000 && KernelServes(fd, 0) != 0; i++) usleep(5000);
    EXPECT(KernelServes(fd, 0) == 0);
  }
  return 0;
}

static volatile sig_atomic_t signals_seen;
static void Count(int number) {
  (void)number;
  signals_seen++;
}

static int CaseLimit(void) {
  const int fd = OpenServed("limit", 6, O_RDWR);
  EXPECT(fd >= 0);
  struct rlimit before;
  const uint64_t word = 1;
  signal(SIGXFSZ, Count);
  EXPECT(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const struct rlimit small = {kPage, before.rlim_max};
  EXPECT(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const int is_refused = pwrite(fd, &word, 8, 2 * kPage) == -1 && errno == EFBIG;
  EXPECT(setrlimit(RLIMIT_FSIZE, &before) == 0);
  EXPECT(is_refused && signals_seen == 1);
  return 0;
}

static int64_t Ns(struct timespec time) { return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec; }

static int CaseTimes(void) {
  const int fd = OpenServed("times", 7, O_RDWR);
  EXPECT(fd >= 0);
  struct timespec start, end;
  struct stat status;
  for (int i = 0; i < 20; i++) {
    EXPECT(fsync(fd) == 0);
    usleep(1000);
    clock_gettime(CLOCK_REALTIME_COARSE, &start);
    EXPECT(WritePages(fd, 7, 3, 1) == 0);
    clock_gettime(CLOCK_REALTIME, &end);
    usleep(20000);
    EXPECT(fstat(fd, &status) == 0);
    EXPECT(Ns(status.st_mtim) >= Ns(start) && Ns(status.st_ctim) == Ns(status.st_mtim));
    /* Of the write, not of when somebody looked. */
    if (is_served) EXPECT(Ns(status.st_mtim) <= Ns(end));
  }
  /* What was set after the write stays. */
  const struct timespec old[2] = {{1000, 0}, {2000, 0}};
  EXPECT(WritePages(fd, 7, 3, 1) == 0 && futimens(fd, old) == 0);
  EXPECT(fstat(fd, &status) == 0 && status.st_mtim.tv_sec == 2000);
  EXPECT(fsync(fd) == 0 && fstat(fd, &status) == 0 && status.st_mtim.tv_sec == 2000);
  return 0;
}

static int CaseFork(void) {
  const int fd = OpenServed("fork", 8, O_RDWR);
  EXPECT(fd >= 0);
  /* A child without the handlers of fork has no queue. */
  EXPECT(WritePages(fd, 8, 1, 1) == 0);
  const pid_t raw = (pid_t)syscall(SYS_fork);
  if (raw == 0) _exit(KernelServes(fd, kPage) == 1 ? 0 : 1);
  int status;
  EXPECT(waitpid(raw, &status, 0) == raw && status == 0);
  uint64_t word;
  EXPECT(pread(fd, &word, 8, kPage) == 8 && word == 7);
  const pid_t child = fork();
  if (child == 0) {
    const uint64_t last = 4711;
    const int error = Warm(fd) != 0 || IsServed(fd, 0) != is_served;
    /* What was written last is there when the process is not any more. */
    _exit(error || pwrite(fd, &last, 8, 2 * kPage) != 8);
  }
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  EXPECT(pread(fd, &word, 8, 2 * kPage) == 8 && word == 4711);
  return IsServed(fd, 0) == is_served ? 0 : Wrong("after fork");
}

/* Two processes answer each other through one word of the file: nothing is ever taken back. */
static int CaseTurns(void) {
  enum { kTurns = 3000 };
  const int fd = OpenServed("turns", 9, O_RDWR);
  uint64_t word = 0;
  EXPECT(fd >= 0 && pwrite(fd, &word, 8, 0) == 8);
  const pid_t child = fork();
  const uint64_t mine = child == 0;
  if (child == 0 && Warm(fd) != 0) _exit(2);
  for (uint64_t turn = 0; turn < kTurns; turn++) {
    if (turn % 2 == mine) {
      word = turn + 1;
      if (pwrite(fd, &word, 8, 0) != 8) _exit(3);
      continue;
    }
    do {
      if (pread(fd, &word, 8, 0) != 8) _exit(4);
      if (word < turn) _exit(5);
    } while (word == turn);
    if (word < turn + 1) _exit(6);
  }
  if (child == 0) _exit(0);
  int status;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  return 0;
}

/* What the kernel reads through its cache, it keeps there: each write is seen all the same. */
static int CaseSpliced(void) {
  const int fd = OpenServed("spliced", 18, O_RDWR);
  const int copy = memfd_create("copy", MFD_CLOEXEC);
  int ends[2];
  EXPECT(fd >= 0 && copy >= 0 && pipe(ends) == 0);
  for (uint64_t i = 1; i <= 50; i++) {
    uint64_t words[kPage / 8];
    loff_t from = 0;
    EXPECT(pwrite(fd, &i, 8, 0) == 8);
    EXPECT(splice(fd, &from, ends[1], NULL, kPage, 0) == kPage);
    EXPECT(read(ends[0], words, kPage) == kPage && words[0] == i);
    off_t at = 0;
    const uint64_t sent = i + 1000;
    EXPECT(pwrite(fd, &sent, 8, 0) == 8);
    EXPECT(lseek(copy, 0, SEEK_SET) == 0 && sendfile(copy, fd, &at, kPage) == kPage);
    EXPECT(KernelRead(copy, words, 8, 0) == 8 && words[0] == sent);
  }
  /* Until the last close. */
  EXPECT(KernelServes(fd, 0) == 1 && close(fd) == 0);
  const int again = Open("spliced", O_RDWR);
  EXPECT(again >= 0 && Warm(again) == 0 && pwrite(again, buffer, 8, 0) == 8);
  EXPECT(IsServed(again, 0) == is_served);
  return 0;
}

/* A private mapping of a process without the shim shows pages of the kernel's cache. */
static int CaseCached(void) {
  const int fd = OpenServed("cached", 19, O_RDWR);
  int asks[2], answers[2];
  EXPECT(fd >= 0 && pipe(asks) == 0 && pipe(answers) == 0);
  const pid_t child = (pid_t)syscall(SYS_fork);
  if (child == 0) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/cached", dir);
    const long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    const long map = syscall(SYS_mmap, 0L, kPage, PROT_READ, MAP_PRIVATE, file, 0L);
    uint64_t word;
    if (map == -1) _exit(1);
    while (read(asks[0], &word, 8) == 8 && word != 0) {
      word = *(volatile uint64_t*)map;
      if (write(answers[1], &word, 8) != 8) _exit(1);
    }
    _exit(0);
  }
  uint64_t seen = 0, i = 1;
  for (; i <= 50; i++) {
    if (pwrite(fd, &i, 8, 0) != 8 || write(asks[1], &i, 8) != 8) break;
    if (read(answers[0], &seen, 8) != 8 || seen != i) break;
  }
  const uint64_t over = 0;
  int status;
  EXPECT(write(asks[1], &over, 8) == 8 && waitpid(child, &status, 0) == child && status == 0);
  return i > 50 ? 0 : Wrong("write %llu, seen %llu", (unsigned long long)i, (unsigned long long)seen);
}

/* A killed writer: what had returned is there, and nothing is half. */
static int CaseKilled(void) {
  enum { kWords = 3 * kPage / 8, kRounds = 40 };
  const int fd = OpenServed("killed", 10, O_RDWR);
  EXPECT(fd >= 0);
  volatile uint64_t* returned =
      mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int round = 0; round < kRounds; round++) {
    *returned = 0;
    const pid_t child = fork();
    if (child == 0) {
      static uint64_t words[kWords];
      if (Warm(fd) != 0) _exit(1);
      for (uint64_t i = 1;; i++) {
        for (size_t k = 0; k < kWords; k++) words[k] = i;
        if (pwrite(fd, words, sizeof(words), 100) != sizeof(words)) _exit(1);
        *returned = i;
      }
    }
    while (*returned < 50) usleep(100);
    usleep((useconds_t)(rand() % 3000));
    int status;
    EXPECT(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    EXPECT(WIFSIGNALED(status));
    uint64_t words[kWords];
    EXPECT(pread(fd, words, sizeof(words), 100) == sizeof(words));
    EXPECT(words[0] == *returned || words[0] == *returned + 1);
    for (size_t k = 0; k < kWords; k++) EXPECT(words[k] == words[0]);
  }
  EXPECT(IsServed(fd, 0) == is_served);
  return 0;
}

/* A writer that is stopped anywhere keeps nobody waiting, and its bytes go to no other file. */
static int CaseStopped(void) {
  const int fd = OpenServed("stopped", 11, O_RDWR);
  const int other = OpenWarm("taker", 12, O_RDWR);
  EXPECT(fd >= 0 && other >= 0);
  const pid_t child = fork();
  if (child == 0) {
    unsigned seed = 1;
    if (Warm(fd) != 0) _exit(1);
    for (;;) {
      const uint64_t page = (uint64_t)rand_r(&seed) % kPages;
      struct stat status;
      if (WritePages(fd, 11, page, 1) != 0 || fstat(fd, &status) != 0) _exit(1);
    }
  }
  for (int round = 0; round < 100; round++) {
    int status;
    usleep((useconds_t)(rand() % 2000));
    EXPECT(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
    EXPECT(WIFSTOPPED(status));
    EXPECT(ftruncate(fd, 0) == 0 && fsync(fd) == 0);
    /* Takes the pages that are free now. */
    EXPECT(ftruncate(other, 0) == 0 && WritePages(other, 12, 0, kPages) == 0);
    EXPECT(kill(child, SIGCONT) == 0);
    usleep(500);
    for (uint64_t page = 0; page < kPages; page++) {
      uint64_t words[kPage / 8];
      EXPECT(KernelRead(other, words, kPage, (off_t)page * kPage) == kPage);
      for (size_t i = 0; i < kPage / 8; i++) EXPECT(words[i] == Stamp(12, page));
    }
    EXPECT(WritePages(fd, 11, 0, kPages) == 0);
  }
  int status;
  EXPECT(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? 0 : Wrong("the writer ended with %d", status);
}

static int handler_fd;
static _Atomic uint64_t handled;
static void WriteInHandler(int number) {
  (void)number;
  const uint64_t word = handled + 1;
  if (pwrite(handler_fd, &word, 8, 10 * kPage) == 8) handled = word;
}

/* A handler writes in the middle of a write. */
static int CaseHandler(void) {
  const int fd = OpenServed("handler", 13, O_RDWR);
  EXPECT(fd >= 0);
  handler_fd = fd;
  signal(SIGALRM, WriteInHandler);
  const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
  EXPECT(setitimer(ITIMER_REAL, &often, NULL) == 0);
  uint64_t last = 0;
  for (uint64_t i = 0; i < 200000 && handled < 500; i++) {
    last = i;
    EXPECT(pwrite(fd, &last, 8, 5 * kPage) == 8);
  }
  EXPECT(setitimer(ITIMER_REAL, &never, NULL) == 0);
  uint64_t word;
  EXPECT(handled > 0 && pread(fd, &word, 8, 10 * kPage) == 8 && word == handled);
  EXPECT(pread(fd, &word, 8, 5 * kPage) == 8 && word == last);
  return 0;
}

/* ---- the map changes meanwhile ---- */

static _Atomic int is_over;

struct writer {
  int fd;
  unsigned seed;
  char wrong[100];
};

static void* Writer(void* argument) {
  struct writer* writer = argument;
  while (!is_over) {
    const uint64_t page = (uint64_t)rand_r(&writer->seed) % kPages;
    if (WritePages(writer->fd, 14, page, 1) == 0) continue;
    snprintf(writer->wrong, sizeof(writer->wrong), "pwrite: errno %d", errno);
    break;
  }
  return NULL;
}

/* Writers against a truncation, a punch, and a file that takes the pages. */
static int CaseTorture(void) {
  enum { kWriters = 2, kRounds = 400 };
  const int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int a = OpenServed("a", 14, O_RDWR);
  const int b = OpenWarm("b", 15, O_RDWR);
  EXPECT(a >= 0 && b >= 0);
  struct writer writers[kWriters];
  pthread_t threads[kWriters];
  is_over = 0;
  for (int i = 0; i < kWriters; i++) {
    writers[i] = (struct writer){.fd = a, .seed = (unsigned)i + 1};
    EXPECT(pthread_create(&threads[i], NULL, Writer, &writers[i]) == 0);
  }
  unsigned seed = 7;
  uint64_t words[kPage / 8];
  for (int round = 0; round < kRounds; round++) {
    const uint64_t page = (uint64_t)rand_r(&seed) % kPages;
    if (round % 2 == 0)
      EXPECT(ftruncate(a, (off_t)page * kPage) == 0);
    else
      EXPECT(fallocate(a, kPunch, (off_t)page * kPage, 4 * kPage) == 0);
    EXPECT(fsync(a) == 0 && ftruncate(b, 0) == 0 && WritePages(b, 15, 0, kPages) == 0);
    const uint64_t looked = (uint64_t)rand_r(&seed) % kPages;
    EXPECT(KernelRead(b, words, kPage, (off_t)looked * kPage) == kPage);
    for (size_t i = 0; i < kPage / 8; i++) EXPECT(words[i] == Stamp(15, looked));
    const ssize_t bytes = pread(a, words, kPage, (off_t)looked * kPage);
    EXPECT(bytes == 0 || bytes == kPage);
    /* One write is seen whole. */
    for (ssize_t i = 0; i < bytes / 8; i++) {
      EXPECT(words[i] == words[0] && (words[0] == 0 || words[0] == Stamp(14, looked)));
    }
  }
  is_over = 1;
  for (int i = 0; i < kWriters; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < kWriters; i++) {
    if (writers[i].wrong[0] != 0) return Wrong("%s", writers[i].wrong);
  }
  return 0;
}

/* A write that has returned is there, whatever became of the map elsewhere meanwhile. */
static void* Keeper(void* argument) {
  struct writer* writer = argument;
  for (uint64_t i = 1; !is_over; i++) {
    const off_t offset = (off_t)(writer->seed * kPage + i % 500 * 8);
    uint64_t word = i, seen = 0;
    const ssize_t written = pwrite(writer->fd, &word, 8, offset);
    if (written == 8 && KernelRead(writer->fd, &seen, 8, offset) == 8 && seen == i) continue;
    snprintf(writer->wrong, sizeof(writer->wrong), "write %llu returned %zd: %llu",
             (unsigned long long)i, written, (unsigned long long)seen);
    break;
  }
  return NULL;
}

static int CaseKept(void) {
  enum { kKeepers = 2, kRounds = 3000 };
  const int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int fd = OpenServed("kept", 17, O_RDWR);
  EXPECT(fd >= 0);
  struct writer keepers[kKeepers];
  pthread_t threads[kKeepers];
  is_over = 0;
  for (int i = 0; i < kKeepers; i++) {
    keepers[i] = (struct writer){.fd = fd, .seed = (unsigned)i};
    EXPECT(pthread_create(&threads[i], NULL, Keeper, &keepers[i]) == 0);
  }
  for (int round = 0; round < kRounds; round++) {
    const off_t offset = (kPages / 2 + round % 8) * kPage;
    EXPECT(fallocate(fd, kPunch, offset, kPage) == 0 && WritePages(fd, 17, kPages / 2, 1) == 0);
  }
  is_over = 1;
  for (int i = 0; i < kKeepers; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < kKeepers; i++) {
    if (keepers[i].wrong[0] != 0) return Wrong("%s", keepers[i].wrong);
  }
  return 0;
}

/* The test looks at these from outside. */
static int CaseOutside(void) {
  const int fd = OpenServed("outside", 16, O_RDWR);
  EXPECT(fd >= 0 && IsServed(fd, 3 * kPage) == is_served);
  return 0;
}

static int CaseSynced(void) {
  const int fd = OpenServed("outside", 16, O_RDWR);
  EXPECT(fd >= 0 && IsServed(fd, 3 * kPage) == is_served && fsync(fd) == 0);
  return 0;
}

static const struct served_case cases[] = {
    {"served", CaseServed},   {"full", CaseFull},       {"same", CaseSame},
    {"errors", CaseErrors},   {"refused", CaseRefused}, {"limit", CaseLimit},
    {"times", CaseTimes},     {"fork", CaseFork},       {"turns", CaseTurns},
    {"killed", CaseKilled},   {"stopped", CaseStopped}, {"handler", CaseHandler},
    {"torture", CaseTorture}, {"kept", CaseKept},       {"outside", CaseOutside},
    {"synced", CaseSynced},   {"spliced", CaseSpliced}, {"cached", CaseCached},
};

int main(int count, char** words) {
  return Answer(count, words, cases, sizeof(cases) / sizeof(*cases));
}
