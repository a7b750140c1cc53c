// Truncate, punch, zero, collapse, insert under live mappings, and the end of file.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

/** A file of 8 pages 'A'...'H', mapped and each page loaded, every second one stored to. */
static char* MapLetters(int* file) {
  *file = NewHole("f", 8 * kPage);
  char page[kPage];
  for (int i = 0; i < 8; i++) {
    memset(page, 'A' + i, kPage);
    if (pwrite(*file, page, kPage, i * kPage) != kPage) Fail("pwrite");
  }
  char* map = MapShared(*file, 8 * kPage);
  for (int i = 0; i < 8; i++) {
    volatile char* byte = map + i * kPage;
    char old = *byte;
    if (i % 2 == 1) *byte = old;
  }
  return map;
}

/** First byte of each page: letters, `.` for 0, `!` where a load is SIGBUS. */
static const char* Pages(char* map, int count) {
  static char text[64];
  for (int i = 0; i < count; i++) {
    if (strcmp(Touch(map + i * kPage, false, 0), "SIGBUS BUS_ADRERR") == 0)
      text[i] = '!';
    else
      text[i] = map[i * kPage] == 0 ? '.' : map[i * kPage];
  }
  text[count] = 0;
  return text;
}

static void Fallocate(int file, int mode, off_t offset, off_t length) {
  if (fallocate(file, mode, offset, length) < 0) Fail("fallocate mode %x", mode);
}

static void Punch(void) {
  int file;
  char* map = MapLetters(&file);
  Fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kPage, 2 * kPage);
  Row("punch under a mapping", "AB..EFGH", "%s", Pages(map, 8));
  Row("extents", "[0,2)W [4,8)W", "%s", Extents(file));
  map[3 * kPage] = 'x';
  Row("store after it", "AB.xEFGH", "%s", Pages(map, 8));
  Row("extents", "[0,2)W [3,8)W", "%s", Extents(file));
  Fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * kPage + 10, 100);
  Row("punch inside a page", "F*10 0*100 F*3986", "%s", Runs(map + 5 * kPage, kPage));
  Fallocate(file, FALLOC_FL_ZERO_RANGE, 6 * kPage, kPage);
  Row("FALLOC_FL_ZERO_RANGE under a mapping", "AB.xEF.H", "%s", Pages(map, 8));
  Fallocate(file, FALLOC_FL_ZERO_RANGE, 7 * kPage + 50, 50);
  Row("FALLOC_FL_ZERO_RANGE inside a page", "H*50 0*50 H*3996", "%s", Runs(map + 7 * kPage, kPage));
  map[6 * kPage + 1] = 'y';
  Row("store after it", "0*1 y*1 0*4094", "%s", Runs(map + 6 * kPage, kPage));
}

static void Truncate(void) {
  int file;
  char* map = MapLetters(&file);
  if (ftruncate(file, 4 * kPage + 100) < 0) Fail("ftruncate");
  Row("truncate under a mapping", "ABCDE!!!", "%s", Pages(map, 8));
  Row("tail of its last page", "E*100 0*3996", "%s", Runs(map + 4 * kPage, kPage));
  Row("load beyond end of file: signal, code, address", "SIGBUS BUS_ADRERR", "%s",
      Touch(map + 5 * kPage + 123, false, 0));
  Row("store beyond end of file: signal, code, address", "SIGBUS BUS_ADRERR", "%s",
      Touch(map + 7 * kPage + 4001, true, 'x'));
  char byte = 0;
  int pipes[2];
  if (pipe(pipes) < 0) Fail("pipe");
  Row("write(2) of a page beyond end of file", "EFAULT", "%s",
      Result(write(pipes[1], map + 5 * kPage, 1)));
  if (write(pipes[1], &byte, 1) != 1) Fail("write");
  Row("read(2) into a page beyond end of file", "EFAULT", "%s",
      Result(read(pipes[0], map + 6 * kPage, 1)));
  if (ftruncate(file, 8 * kPage) < 0) Fail("ftruncate");
  Row("extended again", "ABCDE...", "%s", Pages(map, 8));
  Row("extents", "[0,5)W", "%s", Extents(file));
  map[6 * kPage] = 'x';
  Row("store to what came back", "ABCDE.x.", "%s", Pages(map, 8));
  if (ftruncate(file, 0) < 0) Fail("ftruncate");
  Row("truncate to nothing", "!!!!!!!!", "%s", Pages(map, 8));
  if (pwrite(file, "again", 5, 0) != 5) Fail("pwrite");
  Row("a write brings the first page back", "a!!!!!!!", "%s", Pages(map, 8));
}

static void Shift(void) {
  int file;
  char* map = MapLetters(&file);
  int done = fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 2 * kPage, 2 * kPage);
  Row("FALLOC_FL_COLLAPSE_RANGE", "OK", "%s", Result(done));
  Row("collapse under a mapping", "ABEFGH!!", "%s", Pages(map, 8));
  map[2 * kPage] = 'x';
  Row("store after it, as read(2) finds it", "A*4096 B*4096 x*1 E*4095 F*4096 G*4096 H*4096", "%s",
      FileRuns("f"));
  done = fallocate(file, FALLOC_FL_INSERT_RANGE, kPage, 2 * kPage);
  Row("FALLOC_FL_INSERT_RANGE", "OK", "%s", Result(done));
  Row("insert under a mapping", "A..BxFGH", "%s", Pages(map, 8));
  Row("extents", "[0,1)W [3,8)W", "%s", Extents(file));
  map[2 * kPage] = 'y';
  Row("store to what was inserted", "A.yBxFGH", "%s", Pages(map, 8));
  done = fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 100, kPage);
  Row("collapse within pages", "EINVAL", "%s", Result(done));
  done = fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 4 * kPage, 4 * kPage);
  Row("collapse up to end of file", "EINVAL", "%s", Result(done));
  done = fallocate(file, FALLOC_FL_COLLAPSE_RANGE, kPage, 0);
  Row("collapse of nothing", "EINVAL", "%s", Result(done));
  done = fallocate(Open("f", O_RDONLY), FALLOC_FL_COLLAPSE_RANGE, 0, kPage);
  Row("by a descriptor for reading", "EBADF", "%s", Result(done));
  Row("the mapping", "A.yBxFGH", "%s", Pages(map, 8));
}

static void KeepSize(void) {
  int file = NewWritten("f", kPage, 'a');
  Fallocate(file, FALLOC_FL_KEEP_SIZE, kPage, 3 * kPage);
  char* map = MapShared(file, 4 * kPage);
  Row("pages allocated with KEEP_SIZE beyond end of file", "a!!!", "%s", Pages(map, 4));
  if (ftruncate(file, 4 * kPage) < 0) Fail("ftruncate");
  Row("extended over them", "a...", "%s", Pages(map, 4));
  Row("extents", "[0,1)W [1,4)U", "%s", Extents(file));
  map[2 * kPage] = 'x';
  Row("store", "a.x.", "%s", Pages(map, 4));
}

static const char* Extend(int how) {
  static char name[2];
  name[0] = (char)('a' + how);
  int file = NewWritten(name, 100, 'a');
  char* map = MapShared(file, kPage);
  memset(map + 50, 'b', kPage - 50);
  int done = -1;
  if (how == 0) done = ftruncate(file, 2 * kPage);
  if (how == 1) done = pwrite(file, "c", 1, 2 * kPage - 1) == 1 ? 0 : -1;
  if (how == 2) done = fallocate(file, 0, 0, 2 * kPage);
  if (done < 0) Fail("extend");
  static char bytes[kPage];
  if (pread(file, bytes, kPage, 0) != kPage) Fail("pread");
  if (memcmp(bytes, map, kPage) != 0) return "read and mapping differ";
  return Runs(bytes, kPage);
}

static void Tail(void) {
  int file = NewWritten("f", 100, 'a');
  char* map = MapShared(file, kPage);
  Row("behind end of file, in its page", "a*100 0*3996", "%s", Runs(map, kPage));
  Row("store there", "OK", "%s", Touch(map + 200, true, 'b'));
  Row("is kept", "b", "%c", map[200]);
  if (fsync(file) < 0) Fail("fsync");
  Row("after fsync", "b", "%c", map[200]);
  Row("and is not in the file", "a*100", "%s", FileRuns("f"));
  const char* clean = "a*50 b*50 0*3996";
  Row("what was stored there, after ftruncate extends", clean, "%s", Extend(0));
  Row("what was stored there, after a write extends", clean, "%s", Extend(1));
  Row("what was stored there, after fallocate extends", clean, "%s", Extend(2));
}

static void PrivateChange(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  char* own = Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[0] = 'x';
  own[2 * kPage] = 'y';
  if (own[kPage] != 'a') Fail("load");
  Fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * kPage);
  Row("punch keeps a private mapping's own page, not what it only loaded", "x.ya", "%s",
      Pages(own, 4));
  if (ftruncate(file, 2 * kPage) < 0) Fail("ftruncate");
  Row("truncate drops it", "x.!!", "%s", Pages(own, 4));
  if (ftruncate(file, 4 * kPage) < 0) Fail("ftruncate");
  Row("extended again", "x...", "%s", Pages(own, 4));
}

static void PrivateShift(void) {
  int file;
  MapLetters(&file);
  char* own = Map(file, 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[kPage] = 'x';
  own[5 * kPage] = 'y';
  own[7 * kPage] = 'z';
  Row("a private mapping with pages of its own", "AxCDEyGz", "%s", Pages(own, 8));
  Fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 2 * kPage, 2 * kPage);
  Row("collapse keeps those before the new end, and drops those behind it", "AxEFGy!!", "%s",
      Pages(own, 8));
  Row("load of one that was dropped: signal, code, address", "SIGBUS BUS_ADRERR", "%s",
      Touch(own + 7 * kPage + 123, false, 0));
  Fallocate(file, FALLOC_FL_INSERT_RANGE, 0, 2 * kPage);
  Row("insert keeps them all", ".xABEyGH", "%s", Pages(own, 8));
  Fallocate(file, FALLOC_FL_ZERO_RANGE, 4 * kPage, 3 * kPage);
  Row("so does zero", ".xAB.y.H", "%s", Pages(own, 8));
}

// Nothing else of the mapping is loaded: the filesystem has seen no fault of it.
static const char* OwnAfterTruncate(int file, char* own) {
  if (own[2 * kPage] != 'y' || ftruncate(file, 2 * kPage) < 0) return "not its own";
  return Touch(own + 2 * kPage, false, 0);
}

static int TruncateInChild(void* own) {
  return strcmp(OwnAfterTruncate(Open("f", O_RDWR), own), "SIGBUS BUS_ADRERR") == 0 ? 0 : 1;
}

static void PrivateElsewhere(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  char* own = Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[2 * kPage] = 'y';
  char* room = mmap(NULL, 4 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  own = mremap(own, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  Row("truncate drops it also where it was moved", "SIGBUS BUS_ADRERR", "%s",
      OwnAfterTruncate(file, own));
  Row("and the rest of the mapping is there", "aa!!", "%s", Pages(own, 4));
  file = NewWritten("f", 4 * kPage, 'a');
  own = Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[2 * kPage] = 'y';
  Row("and in a child of fork", "0", "%d", InChild(TruncateInChild, own));
}

static void ShownInParts(void) {
  int file;
  char* map = MapLetters(&file);
  munmap(map, 8 * kPage);
  map = MapShared(file, 8 * kPage);
  if (mprotect(map + 3 * kPage, 2 * kPage, PROT_READ) < 0) Fail("mprotect");
  Row("a mapping of which a part may not be stored to", "ABCDEFGH", "%s", Pages(map, 8));
}

static void Remove(void) {
  int file;
  char* map = MapLetters(&file);
  Row("madvise MADV_REMOVE", "OK", "%s", Result(madvise(map + kPage, kPage, MADV_REMOVE)));
  Row("punches", "A.CDEFGH", "%s", Pages(map, 8));
  Row("extents", "[0,1)W [2,8)W", "%s", Extents(file));
}

const struct probe kChangeProbes[] = {
    {"punch and zero", Punch},       {"truncate", Truncate},
    {"collapse and insert", Shift},  {"KEEP_SIZE", KeepSize},
    {"tail of the last page", Tail}, {"private mappings", PrivateChange},
    {"private mappings, shifted", PrivateShift},
    {"private mappings elsewhere", PrivateElsewhere},
    {"parts of a mapping", ShownInParts},
    {"MADV_REMOVE", Remove},         {0},
};
