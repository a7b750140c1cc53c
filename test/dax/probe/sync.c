// msync and fsync: which pages are clean after it. Seen by times: the first store to a clean page
// sets mtime and ctime, one to a dirty page does not.
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

// Times of files have the granularity of the kernel's tick.
enum { kTickUs = 20000 };

static int file;

static long long Modified(void) {
  struct stat status;
  if (fstat(file, &status) < 0) Fail("fstat");
  return status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec;
}

/** Whether a store of a byte sets the time. */
static const char* Sets(volatile char* address) {
  long long before = Modified();
  usleep(kTickUs);
  *address = *address == 'x' ? 'y' : 'x';
  return Modified() > before ? "sets" : "does not";
}

static void Times(void) {
  file = NewWritten("f", 8 * kPage, 'a');
  char* map = MapShared(file, 8 * kPage);
  long long before = Modified();
  usleep(kTickUs);
  if (map[0] != 'a') Fail("load");
  Row("mtime: a load", "does not", "%s", Modified() > before ? "sets" : "does not");
  Row("mtime: the first store to a page", "sets", "%s", Sets(map));
  Row("mtime: the second", "does not", "%s", Sets(map + 100));
  Row("mtime: the first store to another page", "sets", "%s", Sets(map + kPage));
  if (fsync(file) < 0) Fail("fsync");
  Row("mtime: a store after fsync", "sets", "%s", Sets(map));
  Row("mtime: one more", "does not", "%s", Sets(map));
  if (msync(map, kPage, MS_SYNC) < 0) Fail("msync");
  Row("a store to a page after msync of it", "sets", "%s", Sets(map));
  Row("a store to another page, clean since the fsync", "sets", "%s", Sets(map + kPage));
  if (msync(map, kPage, MS_SYNC) < 0) Fail("msync");
  Row("that page is dirty: a store after msync of the first one only", "does not", "%s",
      Sets(map + kPage));
  if (msync(map, 8 * kPage, MS_ASYNC) < 0) Fail("msync");
  Row("a store to a dirty page after msync MS_ASYNC", "does not", "%s", Sets(map + kPage));
  if (fdatasync(file) < 0) Fail("fdatasync");
  Row("a store after fdatasync", "sets", "%s", Sets(map + kPage));
  char* second = MapShared(file, 8 * kPage);
  Row("a dirty page, first store through another mapping", "sets or does not", "%s",
      Sets(second + kPage));
  if (fsync(file) < 0) Fail("fsync");
  Row("fsync protects in every mapping: the one", "sets", "%s", Sets(map + kPage));
  if (fsync(file) < 0) Fail("fsync");
  Row("fsync protects in every mapping: the other", "sets", "%s", Sets(second + kPage));
  int synced = Open("f", O_RDWR | O_SYNC);
  if (pwrite(synced, "z", 1, kPage + 9) != 1) Fail("pwrite");
  Row("a store to a page that an O_SYNC write wrote", "sets", "%s", Sets(map + kPage));
}

static void Huge(void) {
  file = NewHole("f", 2 * kHuge);
  char* map = MapShared(file, 2 * kHuge);
  map[0] = 'a';
  if (strcmp(Extents(file), "[0,512)W") != 0) Fail("no 2 MiB page: %s", Extents(file));
  Row("2 MiB page: mtime at a store to another 4 KiB of it", "does not", "%s",
      Sets(map + 100 * kPage));
  if (msync(map + 7 * kPage, kPage, MS_SYNC) < 0) Fail("msync");
  Row("after msync of one 4 KiB of it, a store anywhere in it", "sets", "%s",
      Sets(map + 300 * kPage));
  map[kHuge] = 'a';
  if (fsync(file) < 0) Fail("fsync");
  Row("after fsync", "sets", "%s", Sets(map + kHuge + 5));
}

static int stop;
static void* Storer(void* argument) {
  volatile uint64_t* word = argument;
  for (uint64_t value = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); value++) *word = value;
  return NULL;
}

static void WhileStoring(void) {
  file = NewWritten("f", kPage, 0);
  char* map = MapShared(file, kPage);
  pthread_t thread;
  if (pthread_create(&thread, NULL, Storer, map) != 0) Fail("thread");
  int lost = 0;
  for (int turn = 0; turn < 200; turn++) {
    uint64_t before, after;
    if (pread(file, &before, 8, 0) != 8 || fsync(file) < 0 || pread(file, &after, 8, 0) != 8)
      Fail("pread or fsync");
    lost += after < before;
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  pthread_join(thread, NULL);
  uint64_t last;
  if (pread(file, &last, 8, 0) != 8) Fail("pread");
  Row("200 fsyncs while a thread stores: stores lost", "0", "%d", lost);
  Row("what read finds at the end is the last store", "yes", "%s",
      last == *(uint64_t*)map ? "yes" : "no");
}

const struct probe kSyncProbes[] = {
    {"times and protection", Times},
    {"2 MiB pages", Huge},
    {"fsync while storing", WhileStoring},
    {0},
};
