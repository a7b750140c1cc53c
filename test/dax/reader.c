/*
 * Reads files of a mount by pread and preadv: cases for served.h. Under `fauxdax run` most of these
 * reads are served in the process.
 */
#include "served.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

enum { kReads = 100 };

static int kept = -1; /* a descriptor of "f" */
/* Values that a compiler would refuse. */
static void* volatile nowhere = (void*)8;
static void* volatile nothing = NULL;
static volatile int below_zero = -1;

static long KernelReads(void) { return KernelCalls("syscr: "); }

static int Unlink(const char* name) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  return unlink(path);
}

/* Whether `kReads` reads went where they belong. */
static int CheckServed(int fd, int served) {
  const long before = KernelReads();
  for (int i = 0; i < kReads; i++) EXPECT(pread(fd, buffer, kPage, i * kPage / 2) == kPage);
  const long by_kernel = KernelReads() - before - 1;
  if (by_kernel != (served ? 0 : kReads)) return Wrong("the kernel served %ld reads", by_kernel);
  return 0;
}

static int CaseServed(void) {
  const int fd = OpenWarm("f", 1, O_RDWR);
  EXPECT(fd >= 0);
  kept = fd;
  return CheckServed(fd, is_served);
}

/* What pread says and leaves is what the kernel says and leaves. */
static int SameRead(int fd, size_t length, off_t offset) {
  static unsigned char other[2 * kBytes];
  memset(buffer, 0xee, sizeof(buffer));
  memset(other, 0xee, sizeof(other));
  errno = 0;
  const ssize_t here = pread(fd, buffer, length, offset);
  const int here_errno = errno;
  errno = 0;
  const ssize_t there = KernelRead(fd, other, length, offset);
  const int is_same = here == there && here_errno == errno && !memcmp(buffer, other, sizeof(other));
  if (!is_same)
    return Wrong("pread %zu at %lld: %zd, not %zd", length, (long long)offset, here, there);
  return 0;
}

static int CaseSame(void) {
  const int fd = OpenWarm("same", 2, O_RDWR);
  EXPECT(fd >= 0);
  /* Holes, an unwritten page, and an end inside of a page. */
  EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * kPage, 2 * kPage) == 0);
  EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * kPage, kPage) == 0);
  EXPECT(fallocate(fd, FALLOC_FL_KEEP_SIZE, 20 * kPage, kPage) == 0);
  EXPECT(ftruncate(fd, 40 * kPage + 123) == 0);
  EXPECT(Warm(fd) == 0);
  static const size_t lengths[] = {0, 1, 7, 511, kPage, kPage + 1, 3 * kPage, kBytes};
  const long before = KernelReads();
  long reads = 0;
  for (off_t offset = 0; offset < 42 * kPage; offset += 1021) {
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
      if (SameRead(fd, lengths[i], offset) != 0) return 1;
      reads += lengths[i] == 0 ? 2 : 1;
    }
  }
  const long by_kernel = KernelReads() - before - 1;
  EXPECT(by_kernel == (is_served ? reads : by_kernel));
  if (SameRead(fd, 10, -1) != 0 || SameRead(fd, 10, INT64_MAX - 3) != 0) return 1;
  return SameRead(-1, 10, 0) || SameRead(fd, kPage, (off_t)1 << 40);
}

static int CaseVectors(void) {
  const int fd = OpenWarm("vectors", 3, O_RDWR);
  EXPECT(fd >= 0);
  unsigned char a[100], b[5000], c[7], same[5107];
  const struct iovec parts[] = {{a, sizeof(a)}, {b, 0}, {b, sizeof(b)}, {c, sizeof(c)}};
  EXPECT(preadv(fd, parts, 4, 4000) == sizeof(same));
  EXPECT(KernelRead(fd, same, sizeof(same), 4000) == sizeof(same));
  EXPECT(!memcmp(a, same, 100) && !memcmp(b, same + 100, 5000) && !memcmp(c, same + 5100, 7));
  EXPECT(preadv(fd, parts, 4, kBytes - 150) == 150);
  EXPECT(preadv(fd, parts, below_zero, 0) == -1 && errno == EINVAL);
  EXPECT(preadv(fd, nowhere, 2, 0) == -1 && errno == EFAULT);
  const struct iovec bad[] = {{a, sizeof(a)}, {nowhere, 100}};
  const ssize_t there = syscall(SYS_preadv, fd, bad, 2, 0L, 0L);
  EXPECT(preadv(fd, bad, 2, 0) == there);
  /* Together they are eight bytes, for who adds them up without looking. */
  const struct iovec huge[] = {{a, SIZE_MAX}, {b, 9}};
  EXPECT(preadv(fd, huge, 2, 0) == -1 && errno == EINVAL);
  struct iovec many[100];
  for (size_t i = 0; i < 100; i++) many[i] = (struct iovec){b + 8 * i, 8};
  EXPECT(preadv(fd, many, 100, 0) == 800 && KernelRead(fd, same, 800, 0) == 800);
  EXPECT(!memcmp(b, same, 800));
  return 0;
}

static int CaseErrors(void) {
  const int fd = OpenWarm("errors", 4, O_RDWR);
  EXPECT(fd >= 0);
  const int write_only = Open("errors", O_WRONLY);
  const int path = Open("errors", O_PATH);
  EXPECT(pread(write_only, buffer, 8, 0) == -1 && errno == EBADF);
  EXPECT(pread(path, buffer, 8, 0) == -1 && errno == EBADF);
  EXPECT(pread(fd, nowhere, kPage, 0) == -1 && errno == EFAULT);
  EXPECT(pread(fd, nowhere, 0, 0) == 0);
  /* No buffer at all, which some calls of the kernel take for one that is not wanted. */
  EXPECT(pread(fd, nothing, 8, 0) == -1 && errno == EFAULT);
  char* pages = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(mprotect(pages + kPage, kPage, PROT_READ) == 0);
  const ssize_t there = KernelRead(fd, pages + 100, kPage, 0);
  const int there_errno = errno;
  EXPECT(pread(fd, pages + 100, kPage, 0) == there && (there >= 0 || errno == there_errno));
  for (int missing = -1; missing < 3; missing++) {
    char* some = PagesWithout(missing);
    for (int at = 0; at < kStartCount * kLengthCount; at++) {
      char* to = some + kStarts[at % kStartCount];
      const size_t length = kLengths[at / kStartCount];
      errno = 0;
      const ssize_t kernel = KernelRead(fd, to, length, 5);
      const int kernel_errno = errno;
      errno = 0;
      const ssize_t here = pread(fd, to, length, 5);
      if (here != kernel || errno != kernel_errno)
        return Wrong("without page %d, %zu at %zu: %zd, not %zd", missing, length,
                     kStarts[at % kStartCount], here, kernel);
    }
  }
  close(path);
  EXPECT(dup2(write_only, fd) == fd);
  EXPECT(pread(fd, buffer, 8, 0) == -1 && errno == EBADF);
  return 0;
}

static int CaseDescriptors(void) {
  const int fd = OpenWarm("one", 5, O_RDWR);
  const int two = OpenWarm("two", 6, O_RDWR);
  EXPECT(fd >= 0 && two >= 0);
  uint64_t word;
  EXPECT(pread(fd, &word, 8, 3 * kPage) == 8 && word == Stamp(5, 3));
  EXPECT(dup2(two, fd) == fd);
  EXPECT(pread(fd, &word, 8, 3 * kPage) == 8 && word == Stamp(6, 3));
  const int other = memfd_create("other", 0);
  EXPECT(write(other, "0123456789", 10) == 10 && dup2(other, fd) == fd);
  EXPECT(pread(fd, &word, 8, 1) == 8 && !memcmp(&word, "12345678", 8));
  EXPECT(syscall(SYS_dup3, two, fd, 0) == fd);
  EXPECT(pread(fd, &word, 8, 2 * kPage) == 8 && word == Stamp(6, 2));
  int ends[2];
  EXPECT(pipe(ends) == 0 && dup2(ends[0], fd) == fd);
  EXPECT(pread(fd, &word, 8, 0) == -1 && errno == ESPIPE);
  EXPECT(syscall(SYS_close, fd) == 0);
  EXPECT(pread(fd, &word, 8, 0) == -1 && errno == EBADF);
  /* Numbers of files that are gone are used again. */
  for (uint64_t i = 0; i < 40; i++) {
    const int again = Open("again", O_RDWR | O_CREAT);
    EXPECT(again >= 0 && WritePages(again, 100 + i, 0, 4) == 0);
    for (int k = 0; k < 4; k++) {
      EXPECT(pread(again, &word, 8, 2 * kPage) == 8 && word == Stamp(100 + i, 2));
    }
    EXPECT(Unlink("again") == 0);
    EXPECT(pread(again, &word, 8, 3 * kPage) == 8 && word == Stamp(100 + i, 3));
    close(again);
  }
  return 0;
}

static int CaseCoherent(void) {
  const int fd = OpenWarm("coherent", 7, O_RDWR);
  EXPECT(fd >= 0);
  uint64_t* words = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT(words != MAP_FAILED);
  uint64_t word;
  for (uint64_t i = 0; i < 200; i++) {
    const off_t offset = (off_t)(i % kPages) * kPage + 64;
    words[offset / 8] = i;
    EXPECT(pread(fd, &word, 8, offset) == 8 && word == i);
    word = i + 1000;
    EXPECT(pwrite(fd, &word, 8, offset + 8) == 8);
    EXPECT(pread(fd, &word, 8, offset + 8) == 8 && word == i + 1000);
    EXPECT(words[offset / 8 + 1] == i + 1000);
  }
  /* Into a mapping of the mount itself, which is not there yet. */
  const int two = OpenWarm("target", 8, O_RDWR);
  char* target = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, two, 0);
  EXPECT(target != MAP_FAILED && Warm(fd) == 0);
  EXPECT(pread(fd, target, kBytes, 0) == kBytes && !memcmp(target, words, kBytes));
  munmap(words, kBytes);
  munmap(target, kBytes);
  return 0;
}

static int CaseTimes(void) {
  const int fd = OpenWarm("times", 9, O_RDWR);
  EXPECT(fd >= 0);
  struct stat before, after;
  EXPECT(fstat(fd, &before) == 0);
  usleep(2000);
  EXPECT(WritePages(fd, 9, 0, 1) == 0 && fstat(fd, &before) == 0);
  usleep(2000);
  EXPECT(pread(fd, buffer, kPage, 0) == kPage && fstat(fd, &after) == 0);
  const int is_later = after.st_atim.tv_sec > before.st_mtim.tv_sec ||
                       (after.st_atim.tv_sec == before.st_mtim.tv_sec &&
                        after.st_atim.tv_nsec > before.st_mtim.tv_nsec);
  EXPECT(is_later);
  /* relatime: once a day all the same. */
  const time_t now = time(NULL);
  const struct timespec old[2] = {{now - 2 * 86400, 0}, {now - 3 * 86400, 0}};
  EXPECT(futimens(fd, old) == 0);
  EXPECT(pread(fd, buffer, kPage, 0) == kPage && fstat(fd, &after) == 0);
  EXPECT(after.st_atim.tv_sec >= now);
  return 0;
}

static void* ReadForEver(void* argument) {
  char byte;
  while (pread(*(int*)argument, &byte, 1, 0) == 1) continue;
  return NULL;
}

/* The only place where a thread that reads here can end. */
static int CaseCancel(void) {
  int fd = OpenWarm("cancel", 15, O_RDWR);
  EXPECT(fd >= 0);
  pthread_t thread;
  void* result;
  EXPECT(pthread_create(&thread, NULL, ReadForEver, &fd) == 0);
  usleep(10000);
  EXPECT(pthread_cancel(thread) == 0);
  struct timespec late;
  clock_gettime(CLOCK_REALTIME, &late);
  late.tv_sec += 20;
  EXPECT(pthread_timedjoin_np(thread, &result, &late) == 0 && result == PTHREAD_CANCELED);
  return 0;
}

/* "elsewhere" is a file of another filesystem with the number of one that is read here. */
static int CaseElsewhere(void) {
  const int fd = Open("elsewhere", O_RDWR);
  const int here = Open("here", O_RDWR);
  struct stat one, other;
  EXPECT(fd >= 0 && here >= 0 && fstat(fd, &one) == 0 && fstat(here, &other) == 0);
  EXPECT(one.st_ino == other.st_ino && one.st_dev != other.st_dev);
  for (int i = 0; i < kWarmReads; i++) {
    char there[4] = "", text[4] = "";
    EXPECT(pread(here, text, 3, 0) == 3 && !strcmp(text, "our"));
    EXPECT(pread(fd, there, 3, 0) == 3 && !strcmp(there, "not"));
  }
  EXPECT(pwrite(fd, "its", 3, 0) == 3);
  EXPECT(pread(here, buffer, 3, 0) == 3 && !memcmp(buffer, "our", 3));
  return 0;
}

static int CaseFork(void) {
  const int fd = OpenWarm("fork", 10, O_RDWR);
  EXPECT(fd >= 0);
  /* A child without the handlers of fork shares nothing that is kept up. */
  const pid_t raw = (pid_t)syscall(SYS_fork);
  if (raw == 0) {
    uint64_t word = 0;
    const int is_right = pread(fd, &word, 8, kPage) == 8 && word == Stamp(10, 1);
    _exit(is_right && CheckServed(fd, 0) == 0 ? 0 : 1);
  }
  int status;
  EXPECT(waitpid(raw, &status, 0) == raw && status == 0);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const int error = Warm(fd) != 0 || CheckServed(fd, is_served) != 0;
    if (write(ends[1], wrong, sizeof(wrong)) < 0) _exit(2);
    _exit(error);
  }
  EXPECT(child > 0);
  if (CheckServed(fd, is_served) != 0) return 1;
  char text[sizeof(wrong)] = "";
  EXPECT(read(ends[0], text, sizeof(text)) > 0);
  EXPECT(waitpid(child, &status, 0) == child);
  if (status != 0) return Wrong("in the child: %s", text);
  return 0;
}

/* A child of vfork has the memory of its parent, and is gone when that goes on. */
static int InVforkParent(int fd) {
  alarm(10);
  const pid_t pid = vfork();
  if (pid == 0) _exit(Warm(fd) == 0 ? 0 : 1);
  int status;
  EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
  const uint64_t* const word = mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, kPage);
  EXPECT(word != MAP_FAILED && *word == Stamp(16, 1));
  return Warm(fd) != 0 || CheckServed(fd, is_served);
}

static int CaseVfork(void) {
  const int fd = OpenWarm("vfork", 16, O_RDWR);
  EXPECT(fd >= 0);
  const pid_t child = fork();
  if (child == 0) _exit(InVforkParent(fd));
  int status;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  return 0;
}

static volatile sig_atomic_t forks;
static volatile sig_atomic_t failures;
static volatile sig_atomic_t is_child;
static pid_t last_child;

/* Once, at some time soon. */
static void AlarmSoon(void) {
  static unsigned seed = 1;
  const struct itimerval soon = {{0, 0}, {0, 100 + rand_r(&seed) % 2000}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

/* In the child the call that was interrupted goes on. */
static void ForkInHandler(int number) {
  (void)number;
  const int saved = errno;
  int status;
  if (is_child) return;
  if (last_child > 0 && waitpid(last_child, &status, 0) == last_child && status != 0) failures++;
  last_child = fork();
  if (last_child == 0) is_child = 1;
  forks++;
  if (!is_child) AlarmSoon();
  errno = saved;
}

static int ForkInside(int fd, uint64_t file, int writes) {
  enum { kForks = 60, kPiece = 8 * kPage };
  forks = failures = 0;
  last_child = 0;
  struct sigaction action = {.sa_handler = ForkInHandler, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  AlarmSoon();
  int is_right = 1;
  while (is_right && forks < kForks && !is_child) {
    memset(buffer, 0xee, kPiece);
    ssize_t bytes = pread(fd, buffer, kPiece, 0);
    for (size_t page = 0; page < kPiece / kPage; page++) {
      uint64_t word;
      memcpy(&word, buffer + page * kPage, 8);
      if (word != Stamp(file, page)) is_right = 0;
    }
    if (bytes != kPiece) is_right = 0;
    /* The same bytes again. */
    if (writes) bytes = pwrite(fd, buffer, 2 * kPage, 0);
    if (writes && bytes != 2 * kPage) is_right = 0;
  }
  const struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &never, NULL);
  if (is_child) _exit(is_right && pread(fd, buffer, kPage, 0) == kPage ? 0 : 1);
  signal(SIGALRM, SIG_DFL);
  int status = 0;
  waitpid(last_child, &status, 0);
  if (status != 0) failures++;
  EXPECT(is_right && forks >= kForks);
  if (failures > 0) return Wrong("%d of %d children", (int)failures, (int)forks);
  return 0;
}

static int CaseForkInside(void) {
  const int written = OpenWarm("written inside", 13, O_RDWR);
  EXPECT(written >= 0);
  if (ForkInside(written, 13, 1) != 0) return 1;
  /* Who has a mapping is attached at once in the child, too. */
  const int fd = OpenWarm("read inside", 14, O_RDWR);
  EXPECT(fd >= 0);
  void* const mapped = mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 0);
  EXPECT(mapped != MAP_FAILED);
  const int result = ForkInside(fd, 14, 0);
  munmap(mapped, kPage);
  return result;
}

/* ---- others change the file meanwhile ---- */

static _Atomic int is_over;
static _Atomic long good_reads;

struct torture {
  int a;
  int b;
  unsigned seed;
  char wrong[200];
};

/* What is read are zeroes and stamps of this very file and page; nothing follows what was read. */
static void* TortureReader(void* argument) {
  struct torture* const torture = argument;
  static const uint64_t kDirt = 0x7777777777777777;
  uint64_t words[4 * kPage / 8];
  while (!is_over) {
    const uint64_t page = (uint64_t)rand_r(&torture->seed) % kPages;
    const size_t pages = 1 + (size_t)rand_r(&torture->seed) % 4;
    for (size_t i = 0; i < pages * kPage / 8; i++) words[i] = kDirt;
    const ssize_t bytes = pread(torture->a, words, pages * kPage, (off_t)page * kPage);
    if (bytes < 0 || bytes % 8 != 0) {
      snprintf(torture->wrong, sizeof(torture->wrong), "pread: %zd, errno %d", bytes, errno);
      break;
    }
    for (size_t i = 0; i < pages * kPage / 8; i++) {
      const uint64_t stamp = Stamp(11, page + i * 8 / kPage);
      const int is_read = i < (size_t)bytes / 8;
      const int is_right = words[i] == 0 || words[i] == (is_read ? stamp : kDirt);
      if (is_right) continue;
      snprintf(torture->wrong, sizeof(torture->wrong), "word %zu of %zd bytes from page %llu: %llx",
               i, bytes, (unsigned long long)page, (unsigned long long)words[i]);
      return NULL;
    }
    good_reads++;
  }
  return NULL;
}

/* What one file loses the other takes, at once. */
static int TortureWriter(struct torture* torture, int rounds) {
  const int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  for (int round = 0; round < rounds; round++) {
    const uint64_t page = (uint64_t)rand_r(&torture->seed) % kPages;
    const uint64_t count = 1 + (uint64_t)rand_r(&torture->seed) % (kPages - page);
    switch (rand_r(&torture->seed) % 4) {
      case 0:
        EXPECT(ftruncate(torture->a, (off_t)page * kPage) == 0);
        break;
      case 1:
        EXPECT(fallocate(torture->a, kPunch, (off_t)page * kPage, (off_t)count * kPage) == 0);
        break;
      default:
        EXPECT(WritePages(torture->a, 11, page, count) == 0);
        usleep((unsigned)rand_r(&torture->seed) % 300);
        continue;
    }
    /* Pages are free again after a commit. */
    EXPECT(fsync(torture->a) == 0);
    EXPECT(ftruncate(torture->b, 0) == 0 && WritePages(torture->b, 12, 0, kPages) == 0);
  }
  return 0;
}

static int CaseTorture(void) {
  enum { kReaders = 2, kRounds = 400 };
  struct torture writer = {
      .a = OpenWarm("a", 11, O_RDWR), .b = OpenWarm("b", 12, O_RDWR), .seed = 5};
  EXPECT(writer.a >= 0 && writer.b >= 0);
  struct torture readers[kReaders];
  pthread_t threads[kReaders];
  is_over = 0;
  for (int i = 0; i < kReaders; i++) {
    readers[i] = (struct torture){.a = writer.a, .seed = (unsigned)i + 1};
    EXPECT(pthread_create(&threads[i], NULL, TortureReader, &readers[i]) == 0);
  }
  const long before = KernelReads();
  const int error = TortureWriter(&writer, kRounds);
  is_over = 1;
  for (int i = 0; i < kReaders; i++) pthread_join(threads[i], NULL);
  const long by_kernel = KernelReads() - before - 1;
  for (int i = 0; i < kReaders; i++) {
    if (readers[i].wrong[0] != 0) return Wrong("%s", readers[i].wrong);
  }
  EXPECT(error == 0 && good_reads > 0);
  EXPECT(!is_served || by_kernel < good_reads);
  return 0;
}

/* A write by another process is seen whole or not at all, and never taken back. */
static int CaseWhole(void) {
  const int fd = OpenWarm("whole", 13, O_RDWR);
  EXPECT(fd >= 0);
  enum { kWrites = 3000, kWords = 2 * kPage / 8 };
  const pid_t child = fork();
  if (child == 0) {
    static uint64_t words[kWords];
    for (uint64_t i = 1; i <= kWrites; i++) {
      for (size_t k = 0; k < kWords; k++) words[k] = i;
      if (pwrite(fd, words, sizeof(words), 0) != sizeof(words)) _exit(1);
    }
    _exit(0);
  }
  EXPECT(child > 0);
  uint64_t words[kWords] = {0};
  uint64_t last = 0;
  while (last < kWrites) {
    EXPECT(pread(fd, words, sizeof(words), 0) == sizeof(words));
    if (words[0] == Stamp(13, 0)) continue;
    for (size_t i = 0; i < kWords; i++) {
      if (words[i] != words[0])
        return Wrong("word %zu of write %lld is of %lld", i, (long long)words[0],
                     (long long)words[i]);
    }
    EXPECT(words[0] >= last);
    last = words[0];
  }
  int status;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  return 0;
}

/* The test poisons a page of "f" between these two. */
static int CasePoisoned(void) {
  const int fd = Open("f", O_RDWR);
  EXPECT(fd >= 0);
  EXPECT(pread(fd, buffer, kPage, 0) == kPage);
  EXPECT(pread(fd, buffer, kPage, 3 * kPage) == -1 && errno == EIO);
  return CheckServed(OpenWarm("healthy", 14, O_RDWR), 0);
}

/* The daemon was killed: that is heard of in a moment, by a thread that need not be asked. */
static int CaseDead(void) {
  uint64_t word;
  for (int i = 0; i < 5000; i++) {
    if (pread(kept, &word, 8, 0) == -1) {
      EXPECT(errno == ENOTCONN || errno == ECONNABORTED);
      return 0;
    }
    usleep(2000);
  }
  return Wrong("the file is still read");
}

static int CaseHealed(void) {
  const int fd = Open("f", O_RDWR);
  EXPECT(fd >= 0 && Warm(fd) == 0);
  EXPECT(WritePages(fd, 1, 3, 1) == 0 && Warm(fd) == 0);
  return CheckServed(fd, is_served);
}

static const struct served_case cases[] = {
    {"served", CaseServed},     {"same", CaseSame},           {"vectors", CaseVectors},
    {"errors", CaseErrors},     {"coherent", CaseCoherent},   {"descriptors", CaseDescriptors},
    {"inside", CaseForkInside}, {"vfork", CaseVfork},         {"times", CaseTimes},
    {"fork", CaseFork},         {"torture", CaseTorture},     {"whole", CaseWhole},
    {"poisoned", CasePoisoned}, {"healed", CaseHealed},       {"dead", CaseDead},
    {"cancel", CaseCancel},     {"elsewhere", CaseElsewhere},
};

int main(int count, char** words) {
  return Answer(count, words, cases, sizeof(cases) / sizeof(*cases));
}
