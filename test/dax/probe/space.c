// Holes and unwritten extents under loads and stores: what is allocated, zeroed, converted, when.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "probe.h"

static long long Blocks(int file) {
  struct stat status;
  if (fstat(file, &status) < 0) Fail("fstat");
  return (long long)status.st_blocks;
}

static void Holes(void) {
  int file = NewHole("f", 16 * kPage);
  volatile char* map = MapShared(file, 16 * kPage);
  int sum = 0;
  for (int page = 0; page < 16; page++) sum += map[page * kPage];
  Row("load of a hole: bytes, extents, blocks", "0, none, 0", "%d, %s, %lld", sum, Extents(file),
      Blocks(file));
  map[3 * kPage + 100] = 'a';
  Row("store to a hole: extents right after", "[3,4)W", "%s", Extents(file));
  Row("the rest of that page", "0*100 a*1 0*3995", "%s", Runs((char*)map + 3 * kPage, kPage));
  Row("what read(2) finds there", "0*12388 a*1 0*53147", "%s", FileRuns("f"));
  volatile char* second = MapShared(file, 16 * kPage);
  if (second[5 * kPage] != 0) Fail("load");
  map[5 * kPage] = 'b';
  Row("store to a hole that another mapping has loaded: it loads", "b", "%c", second[5 * kPage]);
  Row("extents", "[3,4)W [5,6)W", "%s", Extents(file));
}

static char* MapHuge(int file, size_t length) {
  char* map = MapShared(file, length);
  // DAX mappings are aligned for huge entries where they are long enough; elsewhere ask for it.
  if (((uintptr_t)map & (kHuge - 1)) == 0) return map;
  munmap(map, length);
  char* room = mmap(NULL, length + kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* aligned = (char*)(((uintptr_t)room + kHuge - 1) & ~((uintptr_t)kHuge - 1));
  map = mmap(aligned, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  if (map == MAP_FAILED) Fail("mmap of 2 MiB pages");
  return map;
}

static void HugeHoles(void) {
  int file = NewHole("f", 2 * kHuge);
  char* plain = MapShared(file, 2 * kHuge);
  Row("a mapping of 4 MiB is aligned to 2 MiB", "yes", "%s",
      ((uintptr_t)plain & (kHuge - 1)) == 0 ? "yes" : "no");
  munmap(plain, 2 * kHuge);
  volatile char* map = MapHuge(file, 2 * kHuge);
  for (int page = 1; page < 512; page++)
    if (map[page * kPage] != 0) Fail("load of a hole");
  Row("511 loads of a hole: extents", "none", "%s", Extents(file));
  map[100 * kPage] = 'a';
  Row("store to a 2 MiB hole that mapping and end of file cover: extents", "[0,512)W", "%s",
      Extents(file));
  int wrong = 0;
  for (int at = 0; at < kHuge; at++) wrong += map[at] != (at == 100 * kPage ? 'a' : 0);
  Row("other bytes than zeroes and the store in it", "0", "%d", wrong);
  map[kHuge + 5] = 'b';
  Row("store to the next 2 MiB", "[0,1024)W", "%s", Extents(file));

  int shorter = NewHole("g", kHuge - kPage);
  map = MapHuge(shorter, kHuge);
  map[7 * kPage] = 'a';
  Row("the same where end of file does not cover it", "[7,8)W", "%s", Extents(shorter));
  int partly = NewHole("h", kHuge);
  if (pwrite(partly, "a", 1, 9 * kPage) != 1) Fail("pwrite");
  map = MapHuge(partly, kHuge);
  map[7 * kPage] = 'a';
  Row("the same where a page of it was written", "[7,8)W [9,10)W", "%s", Extents(partly));
  int narrow = NewHole("i", kHuge);
  map = MapShared(narrow, kHuge - kPage);
  map[7 * kPage] = 'a';
  Row("the same where the mapping does not cover it", "[7,8)W", "%s", Extents(narrow));
}

struct other {
  const char* path;
  off_t offset;
};
static int OtherWrites(void* argument) {
  struct other* other = argument;
  return pwrite(Open(other->path, O_RDWR), "w", 1, other->offset) == 1 ? 0 : 1;
}
static int OtherStores(void* argument) {
  struct other* other = argument;
  MapShared(Open(other->path, O_RDWR), (size_t)(other->offset + kPage))[other->offset] = 's';
  return 0;
}

static void ZeroPages(void) {
  int file = NewHole("f", 16 * kPage);
  volatile char* map = MapShared(file, 16 * kPage);
  if (map[0] + map[4 * kPage] != 0) Fail("load");
  struct other other = {"f", 0};
  if (InChild(OtherWrites, &other) != 0) Fail("child");
  Row("another process writes a hole that was loaded, 4 KiB: loads", "w", "%c", map[0]);
  other.offset = 4 * kPage;
  if (InChild(OtherStores, &other) != 0) Fail("child");
  Row("another process stores to it: loads", "s", "%c", map[4 * kPage]);
  int big = NewHole("g", 2 * kHuge);
  map = MapHuge(big, 2 * kHuge);
  if (map[0] + map[kHuge] + map[200 * kPage] != 0) Fail("load");
  other = (struct other){"g", 200 * kPage};
  if (InChild(OtherWrites, &other) != 0) Fail("child");
  Row("another process writes a hole that was loaded, 2 MiB: loads", "w", "%c", map[200 * kPage]);
  other.offset = kHuge + 300 * kPage;
  if (map[other.offset] != 0) Fail("load");
  if (InChild(OtherStores, &other) != 0) Fail("child");
  Row("another process stores to it: loads", "s", "%c", map[other.offset]);
}

static void Unwritten(void) {
  int file = Open("f", O_RDWR);
  if (fallocate(file, 0, 0, 16 * kPage) < 0) Fail("fallocate");
  volatile char* map = MapShared(file, 16 * kPage);
  Row("load of an unwritten page", "0", "%d", map[3 * kPage]);
  Row("extents after it", "[0,16)U", "%s", Extents(file));
  NotHere("SEEK_DATA finds an unwritten page that was loaded",
          "a load shows the whole extent at once, so which page it was is not known: ENXIO");
  map[3 * kPage + 1] = 'a';
  Row("store to an unwritten page: extents", "[0,3)U [3,4)W [4,16)U", "%s", Extents(file));
  Row("the rest of that page", "0*1 a*1 0*4094", "%s", Runs((char*)map + 3 * kPage, kPage));
  Row("its neighbours", "0 0", "%d %d", map[2 * kPage], map[4 * kPage]);

  int big = Open("g", O_RDWR);
  if (fallocate(big, 0, 0, kHuge) < 0) Fail("fallocate");
  map = MapHuge(big, kHuge);
  map[100 * kPage] = 'b';
  Row("store to an unwritten 2 MiB extent in a huge mapping", "[0,512)W", "%s", Extents(big));
  int wrong = 0;
  for (int at = 0; at < kHuge; at++) wrong += map[at] != (at == 100 * kPage ? 'b' : 0);
  Row("other bytes than zeroes and the store in it", "0", "%d", wrong);
}

static void StalePages(void) {
  // Pages with old bytes become free and come back.
  for (int turn = 0; turn < 3; turn++) {
    close(NewWritten("old", 4 * kHuge, 'S'));
    unlink("old");
  }
  int file = NewHole("f", 4 * kHuge);
  volatile char* map = MapShared(file, 4 * kHuge);
  int stale = 0;
  for (int page = 0; page < 2048; page += 3) map[page * kPage + 9] = 'n';
  for (int at = 0; at < 4 * kHuge; at++) stale += map[at] != 0 && map[at] != 'n';
  Row("bytes of deleted files seen around stores to holes", "0", "%d", stale);
}

static void Full(void) {
  int file = NewHole("f", 4 * kPage);
  int ballast = Open("ballast", O_RDWR);
  struct statfs numbers;
  if (statfs(".", &numbers) < 0) Fail("statfs");
  if ((long long)numbers.f_blocks * numbers.f_bsize > (4LL << 30)) {
    NotHere("store to a hole with no space left: SIGBUS", "more than 4 GiB to fill");
    return;
  }
  volatile char* map = MapShared(file, 4 * kPage);
  off_t end = 0;
  for (off_t step = 64 << 20; step >= kPage;) {
    if (fallocate(ballast, 0, end, step) == 0)
      end += step;
    else
      step /= 2;
  }
  Row("load of a hole with no space left", "OK", "%s", Touch(map + kPage, false, 0));
  Row("store to a hole with no space left", "SIGBUS BUS_ADRERR", "%s", Touch(map, true, 'a'));
  Row("store to the hole that was loaded", "SIGBUS BUS_ADRERR", "%s",
      Touch(map + kPage, true, 'a'));
  Row("extents", "none", "%s", Extents(file));
  if (ftruncate(ballast, 0) < 0 || fsync(ballast) < 0) Fail("ftruncate");
  // The refusal may be remembered for a moment.
  usleep(200000);
  Row("store once there is space again", "OK", "%s", Touch(map, true, 'a'));
  Row("store to the page that was loaded", "OK", "%s", Touch(map + kPage, true, 'b'));
  Row("what read(2) finds", "a*1 0*4095 b*1 0*12287", "%s", FileRuns("f"));
}

const struct probe kSpaceProbes[] = {
    {"holes", Holes},
    {"2 MiB holes", HugeHoles},
    {"zero pages", ZeroPages},
    {"unwritten", Unwritten},
    {"stale pages", StalePages},
    {"no space", Full},
    {0},
};
