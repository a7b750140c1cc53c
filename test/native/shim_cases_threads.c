/* Threads, and accesses that the kernel makes for the program. */
#include "shim_program.h"

#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { kThreads = 4, kRounds = 60 };
static char* common;
static atomic_int failures;

static void* Storing(void* argument) {
  const size_t number = (size_t)argument;
  for (int round = 0; round < kRounds; round++) {
    char* own = Map(16, RW, MAP_SHARED, 64 * (number + 1));
    for (size_t i = 0; i < 16; i++) own[i * PAGE + number] = (char)(round + 1);
    for (size_t i = 0; i < 16; i++) {
      common[(64 * (number + 1) + i) * PAGE + 100]++;
      if (own[i * PAGE + number] != (char)(round + 1)) failures++;
      if (common[(64 * (number + 1) + i) * PAGE + number] != (char)(round + 1)) failures++;
    }
    if (msync(own, 16 * PAGE, MS_SYNC) != 0) failures++;
    if (munmap(own, 16 * PAGE) != 0) failures++;
  }
  return NULL;
}

// Every page is stored to by all, while others punch and sync it: no store is lost.
static void* Counting(void* argument) {
  const size_t number = (size_t)argument;
  volatile char* at = common + 600 * PAGE + number * 64;
  for (int round = 0; round < 100; round++) {
    for (size_t page = 0; page < 8; page++) at[page * PAGE]++;
    if (round % 5 == 0 && msync(common + 600 * PAGE, 8 * PAGE, MS_SYNC) != 0) failures++;
  }
  return NULL;
}

// Stores to a private mapping while what it shows is taken away under it.
static void* Owning(void* argument) {
  const size_t number = (size_t)argument;
  char* own = Map(8, RW, MAP_PRIVATE, 700);
  for (int round = 0; round < 50; round++) {
    for (size_t page = 0; page < 8; page++) {
      volatile char* at = own + page * PAGE + number;
      if (*at != (char)(page < number ? round : 0)) failures++;
      if (page < number) *at = (char)(round + 1);
    }
    if (number == 0) common[(700 + round % 8) * PAGE + 1000]++;
    if (madvise(common + (700 + round % 8) * PAGE, PAGE, MADV_REMOVE) != 0) failures++;
  }
  return NULL;
}

static void* Forking(void* argument) {
  const size_t number = (size_t)argument;
  volatile char* at = common + 800 * PAGE + number * 64;
  for (int round = 0; round < 20; round++) {
    for (size_t page = 0; page < 8; page++) at[page * PAGE]++;
    if (number > 0) continue;
    const int pid = fork();
    if (pid == 0) {
      for (size_t page = 0; page < 8; page++) at[page * PAGE + 32]++;
      _exit(0);
    }
    if (ChildStatus(pid) != 0) failures++;
  }
  return NULL;
}

// Pages here and there, each shown by itself, in a process that has nearly all areas it may.
static void ManyAreas(void) {
  const size_t pages = 140000;
  char* memory = mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Must(memory != MAP_FAILED, "mmap");
  size_t page = 0;
  while (page < pages && mprotect(memory + page * PAGE, PAGE, PROT_READ) == 0) page += 2;
  Ok(page < pages, "a process with all the areas it may have");
  Must(munmap(memory + (page - 40) * PAGE, 40 * PAGE) == 0, "munmap");
  char* at = Map(1024, RW, MAP_SHARED, 0);
  bool good = true;
  for (size_t i = 0; i < 300; i += 2) good = good && Store(at + i * PAGE, (char)(i + 1)) == 0;
  for (size_t i = 0; i < 300; i += 2) good = good && at[i * PAGE] == (char)(i + 1);
  Ok(good, "stores go on");
  munmap(at, 1024 * PAGE);
  munmap(memory, pages * PAGE);
}

static void* Nothing(void* argument) { return argument; }

static void All(void* (*run)(void*)) {
  pthread_t threads[kThreads];
  for (size_t i = 0; i < kThreads; i++) {
    Must(pthread_create(&threads[i], NULL, run, (void*)i) == 0, "pthread_create");
  }
  for (size_t i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
}

void ThreadCases(void) {
  common = Map(1024, RW, MAP_SHARED, 0);
  All(Storing);
  Equal(failures, 0, "threads that map, store, sync and unmap");
  bool good = true;
  for (size_t number = 0; number < kThreads; number++) {
    for (size_t i = 0; i < 16; i++) {
      good = good && common[(64 * (number + 1) + i) * PAGE + 100] == kRounds;
    }
  }
  Ok(good, "no store of theirs is lost");
  failures = 0;
  All(Counting);
  good = failures == 0;
  for (size_t number = 0; number < kThreads; number++) {
    for (size_t page = 0; page < 8; page++) {
      good = good && common[(600 + page) * PAGE + number * 64] == 100;
    }
  }
  Ok(good, "nor of threads that share pages and sync");
  failures = 0;
  All(Owning);
  Equal(failures, 0, "no store to a private page is lost");
  All(Forking);
  good = failures == 0;
  for (size_t page = 0; page < 8; page++) {
    good = good && common[(800 + page) * PAGE + 32] == 20;
    for (size_t number = 0; number < kThreads; number++) {
      good = good && common[(800 + page) * PAGE + number * 64] == 20;
    }
  }
  Ok(good, "nor of threads while another forks, nor of its children");
  ManyAreas();
  const uid_t uid = geteuid();
  Equal(seteuid(uid), 0, "seteuid goes to every thread");
  const int pid = fork();
  if (pid == 0) {
    All(Nothing);
    common[0]++;
    pthread_exit(NULL);
  }
  Equal(ChildStatus(pid), 0, "the last thread of the program ends it");
}

// Registered buffers: of a mapping refused, others not.
static void Pinned(char* mapped) {
  struct io_uring_params parameters = {0};
  const int ring = (int)syscall(SYS_io_uring_setup, 2, &parameters);
  if (ring < 0 && (errno == ENOSYS || errno == EPERM)) return;  // not allowed here
  Must(ring >= 0, "io_uring_setup");
  static char own[PAGE];
  struct iovec buffers[2] = {{own, sizeof(own)}, {mapped + 100, 10}};
  errno = 0;
  Ok(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffers, 2) == -1 &&
         errno == EOPNOTSUPP,
     "io_uring keeps no buffer in a mapping");
  Equal(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffers, 1), 0, "but others");
  close(ring);
}

void KernelCases(void) {
  char* a = Map(16, RW, MAP_SHARED, 0);
  const int other = open(other_path, O_RDWR);
  Equal(pread(other, a + 10, PAGE, 0), PAGE, "read(2) into a hole");
  Ok(a[10] == 'o' && a[PAGE + 9] == 'o' && a[PAGE + 10] == 0, "which is the file's then");
  memset(a + 4 * PAGE, 'w', PAGE);
  Equal(pwrite(other, a + 4 * PAGE, PAGE, PAGE), PAGE, "write(2) from a mapping");
  char back[8];
  Must(pread(other, back, sizeof(back), PAGE) == sizeof(back), "pread");
  Equal(back[3], 'w', "gives its bytes");
  int ends[2];
  Must(pipe(ends) == 0, "pipe");
  Equal(write(ends[1], a + 8 * PAGE, PAGE), PAGE, "a hole into a pipe");
  Equal(read(ends[0], a + 9 * PAGE, PAGE), PAGE, "out of a pipe into a hole");
  struct stat status;
  Ok(stat(file_path, (struct stat*)(a + 11 * PAGE)) == 0, "a struct of a system call");
  Ok(stat(file_path, &status) == 0 && ((struct stat*)(a + 11 * PAGE))->st_ino == status.st_ino,
     "has what it wrote");
  const int fd = OpenFile(O_RDWR | O_DIRECT);
  Equal(pread(fd, a + 12 * PAGE, PAGE, 4 * PAGE), PAGE, "the file read into its own mapping");
  Equal(a[12 * PAGE + 5], 'w', "another page of it");
  Equal(pwrite(fd, a + 4 * PAGE, PAGE, 13 * PAGE), PAGE, "the file written from its own mapping");
  Equal(Map(16, PROT_READ, MAP_SHARED, 0)[12 * PAGE + 9], 'w', "seen by a new mapping");
  struct iovec pieces[2] = {{a + 5 * PAGE, 8}, {a + 6 * PAGE, 8}};
  Equal(preadv(other, pieces, 2, 0), 16, "preadv into two holes");
  Ok(a[5 * PAGE] == 'o' && a[6 * PAGE + 7] == 'o', "both have it");
  Pinned(a);
}
