/*
 * Reads and writes a file of a mount at its descriptor's position: cases for served.h. Under
 * `fauxdax run` those of bytes that are there already are served in the process. What is checked is
 * that position, which threads and children have in common.
 */
#include "served.h"

#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { kCalls = 100, kLargest = 20000 };

/* Values that a compiler would refuse. */
static void* volatile nowhere = (void*)8;

static off_t Position(int fd) { return lseek(fd, 0, SEEK_CUR); }

static long Calls(void) { return KernelCalls("syscr: ") + KernelCalls("syscw: "); }
/* Of those that Calls() itself makes. */
enum { kOwnCalls = 2 };

static int CaseServed(void) {
  const int fd = OpenWarm("served", 1, O_RDWR);
  uint64_t words[2] = {7, 8};
  struct iovec parts[2] = {{&words[0], 8}, {&words[1], 8}};
  EXPECT(fd >= 0 && fsync(fd) == 0 && lseek(fd, kPage, SEEK_SET) == kPage);
  long before = Calls();
  for (int i = 0; i < kCalls / 2; i++) EXPECT(write(fd, words, 8) == 8);
  for (int i = 0; i < kCalls / 2; i++) EXPECT(writev(fd, parts, 2) == 16);
  long by_kernel = Calls() - before - kOwnCalls;
  EXPECT(Position(fd) == kPage + kCalls / 2 * 24);
  if (by_kernel != (is_served ? 0 : kCalls)) return Wrong("the kernel served %ld writes", by_kernel);
  EXPECT(fsync(fd) == 0 && lseek(fd, kPage, SEEK_SET) == kPage && pread(fd, words, 8, 0) == 8);
  before = Calls();
  for (int i = 0; i < kCalls / 2; i++) EXPECT(read(fd, words, 8) == 8 && words[0] == 7);
  for (int i = 0; i < kCalls / 2; i++) {
    EXPECT(readv(fd, parts, 2) == 16 && words[0] == 7 && words[1] == 8);
  }
  by_kernel = Calls() - before - kOwnCalls;
  EXPECT(Position(fd) == kPage + kCalls / 2 * 24);
  if (by_kernel != (is_served ? 0 : kCalls)) return Wrong("the kernel served %ld reads", by_kernel);
  return 0;
}

/* Random calls of one thread on two descriptors with one position: all is as with an array. */
static int CaseSame(void) {
  static unsigned char model[4 * kBytes], seen[4 * kBytes], bytes[kLargest];
  const int fd = Open("same", O_RDWR | O_CREAT | O_TRUNC);
  const int twin = dup(fd);
  unsigned seed = 3;
  EXPECT(fd >= 0 && twin >= 0 && pwrite(fd, model, kBytes, 0) == kBytes && Warm(fd) == 0);
  size_t size = kBytes;
  size_t position = 0;
  for (int round = 0; round < 8000; round++) {
    const int one = rand_r(&seed) % 2 ? fd : twin;
    const size_t most = rand_r(&seed) % 8 ? kPage : kLargest;
    const size_t length = (size_t)rand_r(&seed) % most;
    const size_t left = size > position ? size - position : 0;
    const struct iovec parts[2] = {{bytes, length / 2}, {bytes + length / 2, length - length / 2}};
    const int is_vector = rand_r(&seed) % 4 == 0;
    if (position > 2 * kBytes || rand_r(&seed) % 16 == 0) {
      position = (size_t)rand_r(&seed) % (kBytes + 2 * kPage);
      EXPECT(lseek(one, (off_t)position, SEEK_SET) == (off_t)position);
    } else if (rand_r(&seed) % 64 == 0) {
      const size_t shorter = 1 + (size_t)rand_r(&seed) % kBytes;
      EXPECT(ftruncate(one, (off_t)shorter) == 0);
      if (rand_r(&seed) % 2) EXPECT(ftruncate(one, kBytes) == 0);
      memset(model + shorter, 0, sizeof(model) - shorter);
      size = (size_t)lseek(one, 0, SEEK_END);
      EXPECT(lseek(one, (off_t)position, SEEK_SET) == (off_t)position);
    } else if (rand_r(&seed) % 2) {
      const ssize_t want = (ssize_t)(left < length ? left : length);
      const ssize_t got = is_vector ? readv(one, parts, 2) : read(one, bytes, length);
      if (got != want) return Wrong("round %d: %zd bytes for %zd", round, got, want);
      EXPECT(!memcmp(bytes, model + position, (size_t)got));
      position += (size_t)got;
    } else {
      memset(bytes, rand_r(&seed), length);
      EXPECT((is_vector ? writev(one, parts, 2) : write(one, bytes, length)) == (ssize_t)length);
      memcpy(model + position, bytes, length);
      position += length;
      if (length > 0 && position > size) size = position;
    }
    EXPECT(Position(fd) == (off_t)position);
  }
  EXPECT(KernelRead(fd, seen, size, 0) == (ssize_t)size && !memcmp(seen, model, size));
  return 0;
}

static int CaseErrors(void) {
  const int fd = OpenWarm("errors", 2, O_RDWR);
  EXPECT(fd >= 0 && fsync(fd) == 0 && Warm(fd) == 0);
  uint64_t word = 1;
  EXPECT(lseek(fd, kPage, SEEK_SET) == kPage);
  EXPECT(read(fd, nowhere, kPage) == -1 && errno == EFAULT && Position(fd) == kPage);
  EXPECT(write(fd, nowhere, kPage) == -1 && errno == EFAULT && Position(fd) == kPage);
  EXPECT(read(fd, nowhere, 0) == 0 && write(fd, nowhere, 0) == 0 && Position(fd) == kPage);
  /* Of a buffer that is there in part, the kernel may use that. */
  char* const pages = PagesWithout(1);
  const ssize_t got = read(fd, pages, 2 * kPage);
  EXPECT(Position(fd) == kPage + (got > 0 ? got : 0) && lseek(fd, kPage, SEEK_SET) == kPage);
  const ssize_t put = write(fd, pages, 2 * kPage);
  EXPECT(Position(fd) == kPage + (put > 0 ? put : 0));
  EXPECT(WritePages(fd, 2, 0, 4) == 0);
  /* The end of the file, and beyond. */
  EXPECT(lseek(fd, -4, SEEK_END) == kBytes - 4);
  EXPECT(read(fd, &word, 8) == 4 && read(fd, &word, 8) == 0 && Position(fd) == kBytes);
  EXPECT(lseek(fd, kPage, SEEK_CUR) == kBytes + kPage);
  EXPECT(read(fd, &word, 8) == 0 && Position(fd) == kBytes + kPage);
  EXPECT(read(Open("errors", O_WRONLY), &word, 8) == -1 && errno == EBADF);
  EXPECT(write(Open("errors", O_RDONLY), &word, 8) == -1 && errno == EBADF);
  EXPECT(read(Open("errors", O_PATH), &word, 8) == -1 && errno == EBADF);
  EXPECT(read(-1, &word, 8) == -1 && errno == EBADF);
  /* A write goes behind the end. */
  const int end = Open("errors", O_RDWR | O_APPEND);
  EXPECT(write(end, &word, 8) == 8 && Position(end) == kBytes + 8 && lseek(end, 0, SEEK_SET) == 0);
  EXPECT(write(end, &word, 8) == 8 && Position(end) == kBytes + 16);
  EXPECT(pread(fd, &word, 8, 0) == 8 && word == Stamp(2, 0));
  /* A number of another file's. */
  int ends[2];
  EXPECT(pipe(ends) == 0 && dup2(ends[0], fd) == fd);
  EXPECT(write(ends[1], "pipe", 4) == 4 && read(fd, &word, 8) == 4 && !memcmp(&word, "pipe", 4));
  EXPECT(write(fd, &word, 8) == -1 && errno == EBADF);
  return 0;
}

static int CaseLimit(void) {
  const int fd = OpenWarm("limit", 3, O_RDWR);
  const struct rlimit some = {2 * kPage, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
  EXPECT(fd >= 0 && lseek(fd, 2 * kPage - 4, SEEK_SET) >= 0);
  signal(SIGXFSZ, SIG_IGN);
  EXPECT(setrlimit(RLIMIT_FSIZE, &some) == 0);
  const ssize_t first = write(fd, buffer, 8);
  const ssize_t second = write(fd, buffer, 8);
  const int error = errno;
  EXPECT(setrlimit(RLIMIT_FSIZE, &none) == 0);
  EXPECT(first == 4 && second == -1 && error == EFBIG && Position(fd) == 2 * kPage);
  return 0;
}

/* ---- a position that many have ---- */

enum { kRecord = 64, kRecordWords = kRecord / 8, kThreads = 3, kChildren = 2 };
enum { kRecords = kBytes / kRecord };

static unsigned char* counts; /* of each record, in memory that children share */

static int MakeCounts(void) {
  const int flags = MAP_SHARED | MAP_ANONYMOUS;
  counts = mmap(NULL, kRecords, PROT_READ | PROT_WRITE, flags, -1, 0);
  return counts == MAP_FAILED ? -1 : 0;
}

static _Atomic int is_over;

/* What it does sends calls that are under way to the kernel; nobody uses the first page. */
static void* Change(void* argument) {
  const int fd = *(int*)argument;
  const int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  static const char nothing[kPage];
  while (!is_over) {
    if (fallocate(fd, kPunch, 0, kPage) != 0) break;
    if (pwrite(fd, nothing, kPage, 0) != kPage) break;
    usleep(200);
  }
  return NULL;
}

/* Reads records up to the end, and counts which. */
static void* ReadRecords(void* argument) {
  const int fd = *(int*)argument;
  uint64_t words[kRecordWords];
  for (;;) {
    const ssize_t bytes = read(fd, words, kRecord);
    if (bytes != kRecord || words[0] >= kRecords) return (void*)(intptr_t)(bytes != 0);
    for (int i = 1; i < kRecordWords; i++) {
      if (words[i] != words[0]) return (void*)1;
    }
    __atomic_fetch_add(&counts[words[0]], 1, __ATOMIC_RELAXED);
  }
}

/* Threads of this process and of children, all with the same position. 0 when all ended well. */
static int Everybody(int fd, void* (*work)(void*)) {
  pid_t children[kChildren];
  for (int i = 0; i < kChildren; i++) {
    children[i] = fork();
    if (children[i] != 0) continue;
    /* Read by itself, it attaches. */
    _exit(Warm(fd) == 0 && work(&fd) == NULL ? 0 : 1);
  }
  pthread_t threads[kThreads];
  void* answer;
  int error = 0;
  for (int i = 0; i < kThreads; i++) {
    if (pthread_create(&threads[i], NULL, work, &fd) != 0) return -1;
  }
  for (int i = 0; i < kThreads; i++) {
    if (pthread_join(threads[i], &answer) != 0 || answer != NULL) error = 1;
  }
  for (int i = 0; i < kChildren; i++) {
    int status;
    if (waitpid(children[i], &status, 0) != children[i] || status != 0) error = 2;
  }
  return error;
}

/* The file is a page for Change() and its records; -1 or a descriptor. */
static int OpenRecords(const char* name) {
  const int fd = Open(name, O_RDWR | O_CREAT | O_TRUNC);
  for (uint64_t i = 0; i < kRecords; i++) {
    for (int k = 0; k < kRecordWords; k++) ((uint64_t*)buffer)[i * kRecordWords + k] = i;
  }
  if (pwrite(fd, buffer, kPage, 0) != kPage) return -1;
  if (pwrite(fd, buffer, kBytes, kPage) != kBytes || Warm(fd) != 0) return -1;
  return MakeCounts() == 0 ? fd : -1;
}

static int CaseReaders(void) {
  int fd = OpenRecords("readers");
  EXPECT(fd >= 0);
  pthread_t changer;
  for (int round = 0; round < 4; round++) {
    memset(counts, 0, kRecords);
    is_over = 0;
    EXPECT(lseek(fd, kPage, SEEK_SET) == kPage && pthread_create(&changer, NULL, Change, &fd) == 0);
    const long before = KernelCalls("syscr: ");
    const int error = Everybody(fd, ReadRecords);
    const long by_kernel = KernelCalls("syscr: ") - before;
    is_over = 1;
    pthread_join(changer, NULL);
    if (error > 1) return Wrong("a child read what is no record");
    for (int i = 0; i < kRecords; i++) {
      if (counts[i] != 1) return Wrong("record %d was read %d times", i, counts[i]);
    }
    EXPECT(!is_served || by_kernel < kRecords);
  }
  return 0;
}

static _Atomic uint64_t* next_record; /* shared with children */

/* Writes records with numbers that nobody else has, until they are at an end. */
static void* WriteRecords(void* argument) {
  const int fd = *(int*)argument;
  for (;;) {
    const uint64_t number = (*next_record)++;
    if (number >= kRecords) return NULL;
    uint64_t words[kRecordWords];
    for (int i = 0; i < kRecordWords; i++) words[i] = number;
    if (write(fd, words, kRecord) != kRecord) return (void*)1;
  }
}

/* Counts the records of the file; the first that is torn, or -1. */
static int CountRecords(int fd) {
  memset(counts, 0, kRecords);
  if (KernelRead(fd, buffer, kBytes, kPage) != kBytes) return 0;
  for (int i = 0; i < kRecords; i++) {
    const uint64_t* const words = (uint64_t*)buffer + i * kRecordWords;
    for (int k = 1; k < kRecordWords; k++) {
      if (words[k] != words[0]) return i;
    }
    if (words[0] < kRecords) counts[words[0]]++;
  }
  return -1;
}

static int CaseWriters(void) {
  int fd = OpenRecords("writers");
  next_record = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT(fd >= 0 && next_record != MAP_FAILED);
  pthread_t changer;
  for (int round = 0; round < 4; round++) {
    memset(buffer, 0xff, kBytes);
    EXPECT(pwrite(fd, buffer, kBytes, kPage) == kBytes && lseek(fd, kPage, SEEK_SET) == kPage);
    is_over = 0;
    *next_record = 0;
    EXPECT(pthread_create(&changer, NULL, Change, &fd) == 0);
    const long before = KernelCalls("syscw: ");
    const int error = Everybody(fd, WriteRecords);
    const long by_kernel = KernelCalls("syscw: ") - before;
    is_over = 1;
    pthread_join(changer, NULL);
    EXPECT(error == 0 && Position(fd) == kPage + kBytes);
    EXPECT(CountRecords(fd) == -1);
    for (int i = 0; i < kRecords; i++) {
      if (counts[i] != 1) return Wrong("record %d is there %d times", i, counts[i]);
    }
    EXPECT(!is_served || by_kernel < kRecords);
  }
  return 0;
}

static int handled;

static void WriteInHandler(int signal) {
  (void)signal;
  WriteRecords(&handled);
}

/* A handler that writes in the middle of a write takes the place behind it. */
static int CaseHandler(void) {
  handled = OpenRecords("handler");
  next_record = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT(handled >= 0 && next_record != MAP_FAILED);
  struct sigaction action = {.sa_handler = WriteInHandler};
  EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
  for (int round = 0; round < 10; round++) {
    memset(buffer, 0xff, kBytes);
    EXPECT(pwrite(handled, buffer, kBytes, kPage) == kBytes && lseek(handled, kPage, SEEK_SET) == kPage);
    *next_record = 0;
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, WriteRecords, &handled) == 0);
    while (*next_record < kRecords / 2) sched_yield();
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    EXPECT(Position(handled) == kPage + kBytes && CountRecords(handled) == -1);
    for (int i = 0; i < kRecords; i++) {
      if (counts[i] != 1) return Wrong("record %d is there %d times", i, counts[i]);
    }
  }
  return 0;
}

static sigjmp_buf before_write;
static volatile sig_atomic_t may_jump;

static void JumpInHandler(int number) {
  (void)number;
  if (may_jump) siglongjmp(before_write, 1);
}

/* Writes that a handler leaves for good: each has moved the position and is there, or neither. */
static int CaseJump(void) {
  enum { kWrites = 30000, kPerFile = kBytes / 64, kMicrosecondsMax = 60 };
  static int fd;
  static volatile uint64_t number;
  fd = OpenWarm("jump", 1, O_RDWR);
  struct sigaction action = {.sa_handler = JumpInHandler};
  EXPECT(fd >= 0 && sigaction(SIGALRM, &action, NULL) == 0);
  static unsigned seed = 9;
  for (number = 1; number <= kWrites; number++) {
    const off_t start = (off_t)(number % kPerFile) * 64;
    uint64_t words[8];
    for (int i = 0; i < 8; i++) words[i] = number << 32;
    EXPECT(lseek(fd, start, SEEK_SET) == start);
    if (sigsetjmp(before_write, 1) == 0) {
      const suseconds_t after = 1 + (suseconds_t)(rand_r(&seed) % kMicrosecondsMax);
      const struct itimerval timer = {.it_value = {0, after}};
      may_jump = 1;
      setitimer(ITIMER_REAL, &timer, NULL);
      write(fd, words, sizeof(words));
      may_jump = 0;
      continue;
    }
    may_jump = 0;
    const off_t end = Position(fd);
    EXPECT(pread(fd, words, sizeof(words), start) == sizeof(words));
    const int is_there = words[0] == number << 32;
    if (end != start + (is_there ? 64 : 0)) {
      return Wrong("write %lu of %d: %s, position moved by %ld", (unsigned long)number, kWrites,
                   is_there ? "there" : "not there", (long)(end - start));
    }
  }
  /* What is still to come interrupts nobody else. */
  const struct itimerval never = {0};
  EXPECT(setitimer(ITIMER_REAL, &never, NULL) == 0);
  return 0;
}

/* Writers that are killed leave whole records, and nobody else's are lost. */
static int CaseKilled(void) {
  int fd = OpenRecords("killed");
  next_record = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT(fd >= 0 && next_record != MAP_FAILED);
  unsigned seed = 5;
  for (int round = 0; round < 10; round++) {
    memset(buffer, 0xff, kBytes);
    EXPECT(pwrite(fd, buffer, kBytes, kPage) == kBytes && lseek(fd, kPage, SEEK_SET) == kPage);
    *next_record = 0;
    const pid_t child = fork();
    if (child == 0) _exit(Warm(fd) == 0 && WriteRecords(&fd) == NULL ? 0 : 1);
    EXPECT(child > 0);
    while (*next_record == 0) sched_yield();
    usleep((unsigned)rand_r(&seed) % 3000);
    kill(child, SIGKILL);
    EXPECT(WriteRecords(&fd) == NULL && waitpid(child, NULL, 0) == child);
    EXPECT(CountRecords(fd) == -1);
    int missing = 0;
    for (int i = 0; i < kRecords; i++) {
      if (counts[i] > 1) return Wrong("record %d is there %d times", i, counts[i]);
      missing += counts[i] == 0;
    }
    if (missing > 1) return Wrong("%d records are missing, and one writer was killed", missing);
  }
  return 0;
}

/* From here on this process may only read, write and end. */
static int EnterSandbox(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int CaseSandbox(void) {
  const int fd = OpenWarm("sandbox", 9, O_RDWR);
  EXPECT(fd >= 0 && fsync(fd) == 0 && lseek(fd, kPage, SEEK_SET) == kPage);
  const pid_t child = fork();
  if (child == 0) {
    uint64_t word = 0;
    if (Warm(fd) != 0 || EnterSandbox() != 0) _exit(2);
    const int is_right = read(fd, &word, 8) == 8 && word == Stamp(9, 1) && write(fd, &word, 8) == 8;
    _exit(is_right ? 0 : 1);
  }
  int status;
  EXPECT(waitpid(child, &status, 0) == child);
  if (status != 0) return Wrong("the child ended with status %#x", status);
  EXPECT(Position(fd) == kPage + 16);
  return 0;
}

static const struct served_case cases[] = {
    {"served", CaseServed},   {"same", CaseSame},       {"errors", CaseErrors},
    {"limit", CaseLimit},     {"readers", CaseReaders}, {"writers", CaseWriters},
    {"handler", CaseHandler}, {"jump", CaseJump},       {"killed", CaseKilled},
    {"sandbox", CaseSandbox},
};

int main(int count, char** words) {
  return Answer(count, words, cases, sizeof(cases) / sizeof(*cases));
}
