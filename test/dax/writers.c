/*
 * Several that write a file of a mount: processes, of which some are killed or stopped, handlers of
 * signals, and threads while the map changes. Cases for served.h, as those of writer.c.
 */
#include "writer.h"

#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

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

static const struct served_case cases[] = {
    {"fork", CaseFork},       {"turns", CaseTurns},     {"killed", CaseKilled},
    {"stopped", CaseStopped}, {"handler", CaseHandler}, {"torture", CaseTorture},
    {"kept", CaseKept},
};

int main(int count, char** words) {
  return Answer(count, words, cases, sizeof(cases) / sizeof(*cases));
}
