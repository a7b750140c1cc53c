/*
 * Writes files of a mount by pwrite and pwritev: cases for served.h. Under `fauxdax run` writes of
 * bytes that are there already are served in the process.
 */
#include "writer.h"

#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

enum { kWrites = 100, kQueued = 128, kLargest = 16384 };

/* Values that a compiler would refuse. */
static void* volatile nowhere = (void*)8;
static volatile int below_zero = -1;

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

/* mmap(2), past the shim. */
static const void* MapByKernel(int fd) {
  register long result __asm__("rax") = SYS_mmap;
  register long flags __asm__("r10") = MAP_PRIVATE;
  register long file __asm__("r8") = fd;
  register long offset __asm__("r9") = 0;
  __asm__ volatile("syscall"
                   : "+r"(result)
                   : "D"(0L), "S"((long)kPage), "d"((long)PROT_READ), "r"(flags), "r"(file), "r"(offset)
                   : "rcx", "r11", "memory");
  return result < 0 && result > -4096 ? MAP_FAILED : (const void*)result;
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
    const volatile uint64_t* map = MapByKernel((int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY));
    uint64_t word;
    if (map == MAP_FAILED) _exit(1);
    while (read(asks[0], &word, 8) == 8 && word != 0) {
      word = *map;
      if (write(answers[1], &word, 8) != 8) _exit(1);
    }
    _exit(0);
  }
  /* Or its end would not be heard. */
  close(answers[1]);
  uint64_t seen = 0, i = 1;
  for (; i <= 50; i++) {
    if (pwrite(fd, &i, 8, 0) != 8 || write(asks[1], &i, 8) != 8) break;
    if (read(answers[0], &seen, 8) != 8 || seen != i) break;
  }
  const uint64_t over = 0;
  int status;
  EXPECT(write(asks[1], &over, 8) == 8 && waitpid(child, &status, 0) == child && status == 0);
  return i > 50 ? 0
                : Wrong("write %llu, seen %llu", (unsigned long long)i, (unsigned long long)seen);
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
    {"times", CaseTimes},     {"outside", CaseOutside}, {"synced", CaseSynced},
    {"spliced", CaseSpliced}, {"cached", CaseCached},
};

int main(int count, char** words) {
  return Answer(count, words, cases, sizeof(cases) / sizeof(*cases));
}
