// Jobs that map files: accesses to a warm mapping, faults, fsync of what is mapped, and peers of
// these that need no filesystem. They map the file `mapped`, written by `prepare-map`.
//
// An operation of the access jobs is a chunk of 512 eight-byte accesses, one of the fault jobs a
// page.

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jobs.h"

enum { kPage = 4096, kHuge = 2 << 20, kChunkWords = 512, kWriteBytes = 1 << 20, kWarmPasses = 4 };

static void Check(const char* call, long result) {
  if (result < 0) FAIL("%s: %s", call, strerror(errno));
}

static int OpenMapped(void) {
  int file = open("mapped", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  Check("open mapped", file);
  return file;
}

void JobPrepareMap(const struct settings* settings) {
  int file = OpenMapped();
  char* bytes = malloc(kWriteBytes);
  memset(bytes, 'm', kWriteBytes);
  // Allocated at once, so that 2 MiB of it are consecutive.
  Check("fallocate", fallocate(file, 0, 0, (off_t)settings->size_bytes));
  struct measure measure = MeasureNew(settings->size_bytes / kWriteBytes);
  uint64_t begin_ns = NowNs(), start_ns = begin_ns;
  for (uint64_t at = 0; at < settings->size_bytes; at += kWriteBytes) {
    Check("pwrite", pwrite(file, bytes, kWriteBytes, (off_t)at));
    start_ns = MeasureAdd(&measure, start_ns);
  }
  Check("fsync", fsync(file));
  MeasurePrint(settings->job, &measure, 1, NowNs() - begin_ns, kWriteBytes);
  free(bytes);
  close(file);
}

/**
 * Maps the file from `offset` on; `shift_bytes` past 2 MiB alignment: then nothing larger than 4 KiB
 * is mapped.
 */
static char* MapFileFrom(int file, uint64_t offset, uint64_t size_bytes, uint64_t shift_bytes) {
  char* room = mmap(NULL, size_bytes + 2 * kHuge, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) FAIL("mmap: %s", strerror(errno));
  uint64_t aligned = ((uint64_t)room + kHuge - 1) & ~(uint64_t)(kHuge - 1);
  char* map = mmap((void*)(aligned + shift_bytes), size_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_FIXED, file, (off_t)offset);
  if (map == MAP_FAILED) FAIL("mmap: %s", strerror(errno));
  return map;
}

static char* MapFile(int file, uint64_t size_bytes, uint64_t shift_bytes) {
  return MapFileFrom(file, 0, size_bytes, shift_bytes);
}

static uint64_t NextRandom(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

// --- accesses to a warm mapping ---

static void Access(const struct settings* settings, bool stores, bool random) {
  uint64_t words = settings->size_bytes / 8, at = 0, sum = 0, state = 88172645463325252u;
  int file = settings->region == NULL ? OpenMapped() : open(settings->region, O_RDWR | O_CLOEXEC);
  Check("open what is mapped", file);
  volatile uint64_t* map =
      (uint64_t*)MapFileFrom(file, settings->region_offset, settings->size_bytes, 0);
  for (uint64_t i = 0; i < words; i += kPage / 8) {
    if (stores)
      map[i] = i;
    else
      sum += map[i];
  }
  struct measure measure = MeasureNew(settings->count);
  uint64_t begin_ns = NowNs(), start_ns = begin_ns;
  for (uint64_t chunk = 0; chunk < settings->count; chunk++) {
    for (int i = 0; i < kChunkWords; i++) {
      uint64_t index = random ? NextRandom(&state) % words : at + (uint64_t)i;
      if (stores)
        map[index] = index;
      else
        sum += map[index];
    }
    at = at + 2 * kChunkWords > words ? 0 : at + kChunkWords;
    start_ns = MeasureAdd(&measure, start_ns);
  }
  MeasurePrint(settings->job, &measure, 1, start_ns - begin_ns, kChunkWords * 8);
  if (sum == 1) FAIL("what was loaded is used here");
}

void JobLoadSequential(const struct settings* settings) { Access(settings, false, false); }
void JobLoadRandom(const struct settings* settings) { Access(settings, false, true); }
void JobStoreSequential(const struct settings* settings) { Access(settings, true, false); }
void JobStoreRandom(const struct settings* settings) { Access(settings, true, true); }

// --- faults ---

/**
 * Stores once to each page, as often as it takes. Not measured: `protect`, and first passes, of which
 * pages are where they stay after a few.
 */
static void StoreFaults(const struct settings* settings, volatile char* map,
                        void (*protect)(volatile char* map, uint64_t size_bytes)) {
  struct measure measure = MeasureNew(settings->count);
  uint64_t elapsed_ns = 0, done = 0;
  for (int pass = 0; pass < kWarmPasses; pass++) {
    for (uint64_t at = 0; at < settings->size_bytes; at += kPage) map[at] = (char)pass;
    protect(map, settings->size_bytes);
  }
  while (done < settings->count) {
    protect(map, settings->size_bytes);
    uint64_t begin_ns = NowNs(), start_ns = begin_ns;
    for (uint64_t at = 0; at < settings->size_bytes && done < settings->count; at += kPage) {
      map[at] = (char)at;
      start_ns = MeasureAdd(&measure, start_ns);
      done++;
    }
    elapsed_ns += start_ns - begin_ns;
  }
  MeasurePrint(settings->job, &measure, 1, elapsed_ns, kPage);
}

static void ProtectByFsync(volatile char* map, uint64_t size_bytes) {
  Check("msync", msync((void*)map, size_bytes, MS_SYNC));
}

void JobStoreFaults(const struct settings* settings) {
  StoreFaults(settings, MapFile(OpenMapped(), settings->size_bytes, kPage), ProtectByFsync);
}
void JobStoreFaultsHuge(const struct settings* settings) {
  StoreFaults(settings, MapFile(OpenMapped(), settings->size_bytes, 0), ProtectByFsync);
}

// The peer: a thread that answers each write-protect fault of its process, and keeps no books.
static int userfault;

static void WriteProtect(const volatile char* at, uint64_t length, bool on) {
  struct uffdio_writeprotect change = {{(uint64_t)at, length},
                                       on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
  Check("UFFDIO_WRITEPROTECT", ioctl(userfault, UFFDIO_WRITEPROTECT, &change));
}
static void ProtectByHand(volatile char* map, uint64_t size_bytes) {
  WriteProtect(map, size_bytes, true);
}

static void* Answer(void* unused) {
  struct uffd_msg message;
  while (read(userfault, &message, sizeof message) == sizeof message) {
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    uint64_t page = message.arg.pagefault.address & ~(uint64_t)(kPage - 1);
    WriteProtect((char*)page, kPage, false);
  }
  return unused;
}

void JobStoreFaultsBare(const struct settings* settings) {
  userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  Check("userfaultfd", userfault);
  struct uffdio_api api = {
      .api = UFFD_API,
      .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
  Check("UFFDIO_API", ioctl(userfault, UFFDIO_API, &api));
  char* map = MapFile(OpenMapped(), settings->size_bytes, kPage);
  struct uffdio_register range = {.range = {(uint64_t)map, settings->size_bytes},
                                  .mode = UFFDIO_REGISTER_MODE_WP};
  Check("UFFDIO_REGISTER", ioctl(userfault, UFFDIO_REGISTER, &range));
  for (uint64_t at = 0; at < settings->size_bytes; at += kPage) map[at] = 'm';
  pthread_t thread;
  if (pthread_create(&thread, NULL, Answer, NULL) != 0) FAIL("no thread");
  StoreFaults(settings, map, ProtectByHand);
}

/** Loads once from each page of fresh mappings of nothing but zeroes. */
static void LoadZeroes(const struct settings* settings, int flags, int file) {
  struct measure measure = MeasureNew(settings->count);
  uint64_t elapsed_ns = 0, done = 0;
  while (done < settings->count) {
    volatile char* map = mmap(NULL, settings->size_bytes, PROT_READ, flags, file, 0);
    if (map == MAP_FAILED) FAIL("mmap: %s", strerror(errno));
    uint64_t begin_ns = NowNs(), start_ns = begin_ns;
    for (uint64_t at = 0; at < settings->size_bytes && done < settings->count; at += kPage) {
      if (map[at] != 0) FAIL("a hole holds %d", map[at]);
      start_ns = MeasureAdd(&measure, start_ns);
      done++;
    }
    elapsed_ns += start_ns - begin_ns;
    munmap((void*)map, settings->size_bytes);
  }
  MeasurePrint(settings->job, &measure, 1, elapsed_ns, kPage);
}

void JobLoadHoles(const struct settings* settings) {
  int file = open("hole", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  Check("open hole", file);
  Check("ftruncate", ftruncate(file, (off_t)settings->size_bytes));
  LoadZeroes(settings, MAP_SHARED, file);
}
void JobLoadAnonymous(const struct settings* settings) {
  LoadZeroes(settings, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

// --- fsync ---

void JobSyncMapped(const struct settings* settings) {
  int file = OpenMapped();
  uint64_t pages = settings->size_bytes / kPage, elapsed_ns = 0, state = 88172645463325252u;
  volatile char* map = MapFile(file, settings->size_bytes, kPage);
  for (uint64_t page = 0; page < pages; page++) map[page * kPage] = 's';
  Check("fsync", fsync(file));
  struct measure measure = MeasureNew(settings->count);
  for (uint64_t i = 0; i < settings->count; i++) {
    map[NextRandom(&state) % pages * kPage] = (char)i;
    uint64_t start_ns = NowNs();
    Check("fsync", fsync(file));
    elapsed_ns += MeasureAdd(&measure, start_ns) - start_ns;
  }
  MeasurePrint(settings->job, &measure, 1, elapsed_ns, 0);
}
