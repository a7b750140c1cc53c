// Data jobs: reads and writes, O_DIRECT but for those called buffered or at the position, of the
// file `data`, in place, one request an operation.
//
// Every 8-byte word of the file holds its own offset, so each block read can be checked by its
// first and last word; a filesystem that answers quickly with the wrong bytes ends the client. Each
// thread has its own descriptor, its own block-aligned buffer and its own random sequence; all
// start at one barrier and the clock runs from there until the last has finished.

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "jobs.h"

enum { kThreadsMax = 64, kPrepareBytes = 1 << 20, kAlignmentBytes = 4096 };

// kAtPosition is in order too, by read(2) and write(2), and like kBuffered without O_DIRECT.
enum places { kInOrder, kAtRandom, kBuffered, kAtPosition };

struct worker {
  pthread_t thread;
  pthread_barrier_t* barrier;
  const struct settings* settings;
  struct measure measure;
  uint64_t random_state;
  uint64_t end_ns;
  int index;
  bool writes;
  enum places places;
};

static void FillPattern(char* buffer, uint64_t offset, uint64_t length_bytes) {
  uint64_t* words = (uint64_t*)buffer;
  for (uint64_t i = 0; i < length_bytes / 8; i++) words[i] = offset + i * 8;
}

static void CheckPattern(const char* buffer, uint64_t offset, uint64_t length_bytes) {
  const uint64_t* words = (const uint64_t*)buffer;
  uint64_t last = length_bytes / 8 - 1;
  if (words[0] != offset || words[last] != offset + last * 8) {
    FAIL("data at %llu holds %llu", (unsigned long long)offset, (unsigned long long)words[0]);
  }
}

static char* BufferNew(uint64_t length_bytes) {
  void* buffer = NULL;
  if (posix_memalign(&buffer, kAlignmentBytes, length_bytes) != 0) FAIL("no memory for a buffer");
  memset(buffer, 0, length_bytes);
  return buffer;
}

static int OpenData(int flags) {
  int descriptor = open("data", flags | O_CLOEXEC, 0644);
  if (descriptor < 0) FAIL("open data: %s", strerror(errno));
  return descriptor;
}

static uint64_t NextRandom(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static ssize_t Transfer(const struct worker* worker, int descriptor, char* buffer, off_t offset) {
  const size_t length = worker->settings->block_bytes;
  if (worker->places != kAtPosition) {
    return worker->writes ? pwrite(descriptor, buffer, length, offset)
                          : pread(descriptor, buffer, length, offset);
  }
  if (offset == 0 && lseek(descriptor, 0, SEEK_SET) != 0) return -1;
  return worker->writes ? write(descriptor, buffer, length) : read(descriptor, buffer, length);
}

static void* Work(void* argument) {
  struct worker* worker = argument;
  const struct settings* settings = worker->settings;
  uint64_t block_bytes = settings->block_bytes;
  uint64_t block_count = settings->size_bytes / block_bytes;
  // Sequential workers begin at equal distances, so that together they read the file once.
  uint64_t block = block_count / (uint64_t)settings->threads * (uint64_t)worker->index;
  const enum places places = worker->places;
  const bool is_random = places == kAtRandom || places == kBuffered;
  const bool is_direct = places == kAtRandom || places == kInOrder;
  int descriptor = OpenData(is_direct ? O_RDWR | O_DIRECT : O_RDWR);
  char* buffer = BufferNew(block_bytes);
  pthread_barrier_wait(worker->barrier);
  uint64_t start_ns = NowNs();
  for (uint64_t i = 0; i < settings->count; i++) {
    if (is_random) block = NextRandom(&worker->random_state) % block_count;
    uint64_t offset = block * block_bytes;
    if (worker->writes) FillPattern(buffer, offset, block_bytes);
    ssize_t done_bytes = Transfer(worker, descriptor, buffer, (off_t)offset);
    if (done_bytes != (ssize_t)block_bytes) {
      FAIL("%s at %llu: %zd, %s", settings->job, (unsigned long long)offset, done_bytes,
           strerror(errno));
    }
    if (!worker->writes) CheckPattern(buffer, offset, block_bytes);
    start_ns = MeasureAdd(&worker->measure, start_ns);
    block = block + 1 == block_count ? 0 : block + 1;
  }
  worker->end_ns = NowNs();
  free(buffer);
  close(descriptor);
  return NULL;
}

static void RunWorkers(const struct settings* settings, bool writes, enum places places) {
  if (settings->threads > kThreadsMax) FAIL("at most %d threads", kThreadsMax);
  if (settings->size_bytes < settings->block_bytes) FAIL("the file is smaller than a block");
  struct worker workers[kThreadsMax];
  struct measure measures[kThreadsMax];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, (unsigned)settings->threads + 1);
  for (int i = 0; i < settings->threads; i++) {
    workers[i] = (struct worker){.barrier = &barrier,
                                 .settings = settings,
                                 .measure = MeasureNew(settings->count),
                                 .random_state = 0x9e3779b97f4a7c15u * ((uint64_t)i + 1),
                                 .index = i,
                                 .writes = writes,
                                 .places = places};
    if (pthread_create(&workers[i].thread, NULL, Work, &workers[i]) != 0) FAIL("no thread");
  }
  pthread_barrier_wait(&barrier);
  uint64_t start_ns = NowNs();
  uint64_t end_ns = start_ns;
  for (int i = 0; i < settings->threads; i++) {
    pthread_join(workers[i].thread, NULL);
    measures[i] = workers[i].measure;
    if (workers[i].end_ns > end_ns) end_ns = workers[i].end_ns;
  }
  MeasurePrint(settings->job, measures, settings->threads, end_ns - start_ns,
               settings->block_bytes);
}

void JobPrepare(const struct settings* settings) {
  int descriptor = OpenData(O_RDWR | O_CREAT | O_DIRECT);
  char* buffer = BufferNew(kPrepareBytes);
  uint64_t count = settings->size_bytes / kPrepareBytes;
  struct measure measure = MeasureNew(count);
  uint64_t begin_ns = NowNs();
  for (uint64_t i = 0; i < count; i++) {
    uint64_t start_ns = NowNs();
    uint64_t offset = i * kPrepareBytes;
    FillPattern(buffer, offset, kPrepareBytes);
    if (pwrite(descriptor, buffer, kPrepareBytes, (off_t)offset) != kPrepareBytes) {
      FAIL("prepare at %llu: %s", (unsigned long long)offset, strerror(errno));
    }
    MeasureAdd(&measure, start_ns);
  }
  if (fsync(descriptor) < 0) FAIL("fsync data: %s", strerror(errno));
  MeasurePrint(settings->job, &measure, 1, NowNs() - begin_ns, kPrepareBytes);
  free(buffer);
  close(descriptor);
}

void JobReadRandom(const struct settings* settings) { RunWorkers(settings, false, kAtRandom); }

void JobWriteRandom(const struct settings* settings) { RunWorkers(settings, true, kAtRandom); }

void JobReadSequential(const struct settings* settings) { RunWorkers(settings, false, kInOrder); }

void JobWriteSequential(const struct settings* settings) { RunWorkers(settings, true, kInOrder); }

void JobBufferedRead(const struct settings* settings) { RunWorkers(settings, false, kBuffered); }

void JobBufferedWrite(const struct settings* settings) { RunWorkers(settings, true, kBuffered); }

void JobPositionRead(const struct settings* settings) { RunWorkers(settings, false, kAtPosition); }

void JobPositionWrite(const struct settings* settings) { RunWorkers(settings, true, kAtPosition); }
