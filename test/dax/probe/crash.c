// What survives a power cut. A case prepares files and makes them durable, does something in a
// child that then ends, has the power cut, and looks. What is asked is metadata: sizes, extents,
// names; which stores survive is the persistence model's business, and `--keep none` keeps those
// that were flushed and fenced.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "probe.h"

static void Must(const char* what, long result) {
  if (result < 0) Fail("%s", what);
}

/** Everything so far is durable. */
static void SyncAll(void) {
  int file = Open("sync", O_RDWR);
  Must("fsync", pwrite(file, "s", 1, 0));
  Must("fsync", fsync(file));
  Must("close", close(file));
  int here = open(".", O_RDONLY | O_CLOEXEC);
  Must("fsync", fsync(here));
  close(here);
}

static int Act(void* argument) {
  ((void (*)(void))(uintptr_t)argument)();
  return 0;
}

/** Runs `act` in a process that ends, then cuts the power. */
static void ThenCrash(void (*act)(void)) {
  SyncAll();
  if (InChild(Act, (void*)(uintptr_t)act) != 0) Fail("the process before the crash");
  // A shell that stands in the mount would hold it.
  char command[1024];
  snprintf(command, sizeof command, "cd / && %s >/dev/null 2>&1; echo $?", crash_command);
  const char* status = Shell("%s", command);
  if (strcmp(status, "0") != 0) Fail("%s: status %s", crash_command, status);
  char path[1024];
  snprintf(path, sizeof path, "%s/probe", directory);
  Must("chdir", chdir(path));
}

static const char* ExtentsOf(const char* path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return strerrorname_np(errno);
  const char* text = Extents(file);
  close(file);
  return text;
}

static long long SizeOf(const char* path) {
  struct stat status;
  return stat(path, &status) < 0 ? -errno : (long long)status.st_size;
}

static const char* Exists(const char* path) { return access(path, F_OK) == 0 ? "there" : "gone"; }

static volatile char* SharedOf(const char* path, size_t length, int flags) {
  return Map(Open(path, O_RDWR), length, PROT_READ | PROT_WRITE, flags);
}
static volatile char* Synced(const char* path) {
  return SharedOf(path, 8 * kPage, MAP_SHARED_VALIDATE | MAP_SYNC);
}
static volatile char* Plain(const char* path) { return SharedOf(path, 8 * kPage, MAP_SHARED); }

static void MakeUnwritten(const char* path) {
  int file = Open(path, O_RDWR);
  Must("fallocate", fallocate(file, 0, 0, 8 * kPage));
  Must("fsync", fsync(file));
  close(file);
}
static void MakeHole(const char* path) {
  int file = NewHole(path, 8 * kPage);
  Must("fsync", fsync(file));
  close(file);
}

// --- nothing synced ---

static void ActUnsynced(void) {
  Plain("store-hole")[3 * kPage] = 'x';
  Plain("store-unwritten")[3 * kPage] = 'x';
  Plain("store-written")[3 * kPage] = 'x';
  Must("pwrite", pwrite(Open("write-hole", O_RDWR), "x", 1, 3 * kPage));
  Must("pwrite", pwrite(Open("write-unwritten", O_RDWR), "x", 1, 3 * kPage));
  Must("pwrite", pwrite(Open("write-extends", O_RDWR), "x", 1, 9 * kPage));
  Must("ftruncate", ftruncate(Open("grow", O_RDWR), 9 * kPage));
  Open("created", O_RDWR);
  Must("rename", rename("rename-from", "rename-to"));
  Must("unlink", unlink("unlinked"));
  Must("link", link("linked", "linked-2"));
  Must("mkdir", mkdir("directory", 0755));
  Must("chmod", chmod("mode", 0600));
  Must("setxattr", setxattr("attribute", "user.x", "1", 1, 0));
  Must("fallocate", fallocate(Open("fallocated", O_RDWR), 0, 8 * kPage, kPage));
  Must("collapse", fallocate(Open("collapsed", O_RDWR), FALLOC_FL_COLLAPSE_RANGE, 0, kPage));
  Must("insert", fallocate(Open("inserted", O_RDWR), FALLOC_FL_INSERT_RANGE, 0, kPage));
  Must("ftruncate", ftruncate(Open("cut-inside", O_RDWR), kPage + 100));
  int punched = Open("punched", O_RDWR);
  Must("punch", fallocate(punched, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPage, kPage));
  int zeroed = Open("zeroed", O_RDWR);
  Must("zero", fallocate(zeroed, FALLOC_FL_ZERO_RANGE, kPage, kPage));
  int rewritten = Open("rewritten", O_RDWR | O_TRUNC);
  Must("pwrite", pwrite(rewritten, "new", 3, 0));
  volatile char* async = Plain("msync-async");
  async[3 * kPage] = 'x';
  Must("msync", msync((void*)async, 8 * kPage, MS_ASYNC));
  int ranged = Open("sync-range", O_RDWR);
  Must("pwrite", pwrite(ranged, "x", 1, 3 * kPage));
  Must("sync_file_range", sync_file_range(ranged, 0, 0, SYNC_FILE_RANGE_WRITE));
}

static void Unsynced(void) {
  MakeHole("store-hole"), MakeHole("write-hole"), MakeHole("grow");
  MakeHole("msync-async"), MakeHole("sync-range");
  MakeUnwritten("store-unwritten"), MakeUnwritten("write-unwritten");
  static const char* const kWritten[] = {
      "store-written", "write-extends", "rename-from", "unlinked",  "linked",
      "mode",          "attribute",     "fallocated",  "collapsed", "inserted",
      "cut-inside",    "punched",       "zeroed",      "rewritten",
  };
  for (size_t i = 0; i < sizeof kWritten / sizeof kWritten[0]; i++)
    close(NewWritten(kWritten[i], 8 * kPage, 'a'));
  ThenCrash(ActUnsynced);

  Row("store to a hole, no sync", "none", "%s", ExtentsOf("store-hole"));
  Row("store to an unwritten extent, no sync", "[0,8)U", "%s", ExtentsOf("store-unwritten"));
  Row("write to a hole, no sync", "none", "%s", ExtentsOf("write-hole"));
  Row("write to an unwritten extent, no sync", "[0,8)U", "%s", ExtentsOf("write-unwritten"));
  Row("store over a written extent: old or new", "a*32768 or a*12288 x*1 a*20479", "%s",
      FileRuns("store-written"));
  Row("write that extends", "32768 [0,8)W", "%lld %s", SizeOf("write-extends"),
      ExtentsOf("write-extends"));
  Row("ftruncate that extends", "32768", "%lld", SizeOf("grow"));
  Row("create", "gone", "%s", Exists("created"));
  Row("rename", "there gone", "%s %s", Exists("rename-from"), Exists("rename-to"));
  Row("unlink", "there", "%s", Exists("unlinked"));
  Row("link", "gone", "%s", Exists("linked-2"));
  Row("mkdir", "gone", "%s", Exists("directory"));
  struct stat status;
  Must("stat", stat("mode", &status));
  Row("chmod", "644", "%o", status.st_mode & 07777);
  char value[8];
  Row("setxattr", "ENODATA", "%s", Result(getxattr("attribute", "user.x", value, 8)));
  Row("fallocate", "32768 [0,8)W", "%lld %s", SizeOf("fallocated"), ExtentsOf("fallocated"));
  Row("collapse", "32768 [0,8)W", "%lld %s", SizeOf("collapsed"), ExtentsOf("collapsed"));
  Row("insert", "32768 [0,8)W", "%lld %s", SizeOf("inserted"), ExtentsOf("inserted"));
  Row("ftruncate inside a page: old size, the tail zeroed already", "a*4196 0*3996 a*24576", "%s",
      FileRuns("cut-inside"));
  Row("punch of a whole page: old bytes", "a*32768", "%s", FileRuns("punched"));
  Row("zero of a whole page: old bytes", "a*32768", "%s", FileRuns("zeroed"));
  Row("O_TRUNC and a write: old bytes", "a*32768", "%s", FileRuns("rewritten"));
  Row("store, msync MS_ASYNC", "none", "%s", ExtentsOf("msync-async"));
  Row("write, sync_file_range", "none", "%s", ExtentsOf("sync-range"));
  NotHere("store or write over written extents, data survives in place",
          "which lines survive is the persistence model's: --keep none loses what was not fenced");
  NotHere("syncfs makes allocations durable", "the kernel does not pass it on to FUSE");
}

// --- MAP_SYNC ---

static void ActSyncHole(void) { Synced("hole")[3 * kPage] = 'x'; }
static void SyncHole(void) {
  MakeHole("hole");
  ThenCrash(ActSyncHole);
  Row("MAP_SYNC store to a hole: extents", "[3,4)W", "%s", ExtentsOf("hole"));
  Row("its page has the store or zeroes", "0*32768 or 0*12288 x*1 0*20479", "%s", FileRuns("hole"));
}

static void ActSyncUnwritten(void) { Synced("unwritten")[3 * kPage] = 'x'; }
static void SyncUnwritten(void) {
  MakeUnwritten("unwritten");
  ThenCrash(ActSyncUnwritten);
  Row("MAP_SYNC store to an unwritten extent", "[0,3)U [3,4)W [4,8)U", "%s",
      ExtentsOf("unwritten"));
}

static void ActSyncNew(void) {
  int file = Open("new", O_RDWR);
  Must("ftruncate", ftruncate(file, 8 * kPage));
  Synced("new")[0] = 'x';
}
static void SyncNew(void) {
  ThenCrash(ActSyncNew);
  Row("create, ftruncate, MAP_SYNC store: size and extents", "32768 [0,1)W", "%lld %s",
      SizeOf("new"), ExtentsOf("new"));
}

static void ActSyncStores(void) {
  Plain("hole")[3 * kPage] = 'x';
  Synced("hole")[3 * kPage + 1] = 'y';
}
static void SyncStores(void) {
  MakeHole("hole");
  ThenCrash(ActSyncStores);
  Row("plain store allocates, a MAP_SYNC mapping stores to the page", "[3,4)W", "%s",
      ExtentsOf("hole"));
}

static void ActSyncLoads(void) {
  Plain("hole")[3 * kPage] = 'x';
  if (Synced("hole")[3 * kPage] != 'x') exit(1);
}
static void SyncLoads(void) {
  MakeHole("hole");
  ThenCrash(ActSyncLoads);
  Row("plain store allocates, a MAP_SYNC mapping only loads the page", "none", "%s",
      ExtentsOf("hole"));
}

static void ActSyncUndone(void) {
  Synced("truncated")[3 * kPage] = 'x';
  Synced("punched")[3 * kPage] = 'x';
  Must("truncate", truncate("truncated", 0));
  int file = Open("punched", O_RDWR);
  Must("punch", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * kPage, kPage));
}
static void SyncUndone(void) {
  MakeHole("truncated"), MakeHole("punched");
  ThenCrash(ActSyncUndone);
  Row("MAP_SYNC store, then truncate: undone", "32768 [3,4)W", "%lld %s", SizeOf("truncated"),
      ExtentsOf("truncated"));
  Row("MAP_SYNC store, then punch: undone", "[3,4)W", "%s", ExtentsOf("punched"));
}

static void ActSyncClean(void) {
  Open("created", O_RDWR);
  Synced("written")[0] = 'x';
}
static void SyncClean(void) {
  close(NewWritten("written", 8 * kPage, 'a'));
  ThenCrash(ActSyncClean);
  Row("MAP_SYNC store over written extents of a clean inode commits nothing: create", "gone", "%s",
      Exists("created"));
}

// --- syncs ---

static void Allocate(const char* path) {
  volatile char* map = Plain(path);
  map[kPage] = 'x';
  map[6 * kPage] = 'x';
}
static void ActFsync(void) {
  Allocate("hole");
  Must("fsync", fsync(Open("hole", O_RDWR)));
}
static void ActFdatasync(void) {
  Allocate("hole");
  Must("fdatasync", fdatasync(Open("hole", O_RDWR)));
}
static void ActDsync(void) {
  Allocate("hole");
  Must("pwrite", pwrite(Open("hole", O_RDWR | O_DSYNC), "y", 1, 0));
}
static void ActMsync(void) {
  volatile char* map = Plain("hole");
  map[kPage] = 'x';
  map[6 * kPage] = 'x';
  Must("msync", msync((void*)(map + kPage), kPage, MS_SYNC));
}
static void ActUnrelated(void) {
  Allocate("hole");
  int file = Open("unrelated", O_RDWR);
  Must("pwrite", pwrite(file, "u", 1, 0));
  Must("fsync", fsync(file));
}

static void Fsync(void) {
  MakeHole("hole");
  ThenCrash(ActFsync);
  Row("stores, fsync", "[1,2)W [6,7)W", "%s", ExtentsOf("hole"));
  Row("what was stored", "0*4096 x*1 0*20479 x*1 0*8191", "%s", FileRuns("hole"));
}
static void Fdatasync(void) {
  MakeHole("hole");
  ThenCrash(ActFdatasync);
  Row("stores, fdatasync", "[1,2)W [6,7)W", "%s", ExtentsOf("hole"));
  Row("what was stored", "0*4096 x*1 0*20479 x*1 0*8191", "%s", FileRuns("hole"));
}
static void Dsync(void) {
  MakeHole("hole");
  ThenCrash(ActDsync);
  Row("stores, a write with O_DSYNC", "[0,2)W [6,7)W", "%s", ExtentsOf("hole"));
}
static void Msync(void) {
  MakeHole("hole");
  ThenCrash(ActMsync);
  Row("stores to two pages, msync of one: extents", "[1,2)W [6,7)W", "%s", ExtentsOf("hole"));
  Row("the page of the msync has its store, the other has it or zeroes",
      "0*4096 x*1 0*28671 or 0*4096 x*1 0*20479 x*1 0*8191", "%s", FileRuns("hole"));
}
static void Unrelated(void) {
  MakeHole("hole");
  ThenCrash(ActUnrelated);
  Row("stores, fsync of an unrelated file", "[1,2)W [6,7)W", "%s", ExtentsOf("hole"));
}

static void ActMsyncWritten(void) {
  volatile char* map = Plain("written");
  map[kPage] = 'x';
  map[6 * kPage] = 'x';
  Must("msync", msync((void*)(map + kPage), kPage, MS_SYNC));
}
static void MsyncWritten(void) {
  close(NewWritten("written", 8 * kPage, 'a'));
  ThenCrash(ActMsyncWritten);
  Row("stores to two written pages, msync of one: that one is flushed, the other not",
      "a*4096 x*1 a*28671", "%s", FileRuns("written"));
}

static void ActHugeFlush(void) {
  volatile char* map = SharedOf("huge", kHuge, MAP_SHARED);
  map[0] = 'x';
  map[400 * kPage] = 'x';
  Must("msync", msync((void*)map, kPage, MS_SYNC));
}
static void HugeFlush(void) {
  int file = NewHole("huge", kHuge);
  Must("fsync", fsync(file));
  ThenCrash(ActHugeFlush);
  Row("two stores to a 2 MiB page, msync of 4 KiB: all of it is flushed", "x x", "%s %s",
      Shell("dd if=huge bs=1 count=1 status=none"),
      Shell("dd if=huge bs=1 skip=1638400 count=1 status=none"));
}

// --- names ---

static void ActCreate(void) {
  Must("mkdir", mkdir("one", 0755));
  Must("mkdir", mkdir("one/two", 0755));
  int file = Open("one/two/file", O_RDWR);
  Must("pwrite", pwrite(file, "x", 1, 0));
  Must("fsync", fsync(file));
}
static void Create(void) {
  ThenCrash(ActCreate);
  Row("two new directories, create, fsync of the file only", "x*1", "%s", FileRuns("one/two/file"));
}

static void ActReplace(void) {
  int file = Open("f.tmp", O_RDWR);
  Must("pwrite", pwrite(file, "new", 3, 0));
  Must("fsync", fsync(file));
  Must("rename", rename("f.tmp", "f"));
}
static void Replace(void) {
  close(NewWritten("f", 3, 'a'));
  ThenCrash(ActReplace);
  Row("write f.tmp, fsync it, rename it over f: f, f.tmp", "a*3 there", "%s %s", FileRuns("f"),
      Exists("f.tmp"));
}

static void ActReplaceDirectory(void) {
  int file = Open("f.tmp", O_RDWR);
  Must("pwrite", pwrite(file, "bbb", 3, 0));
  Must("rename", rename("f.tmp", "f"));
  Must("fsync", fsync(open(".", O_RDONLY | O_CLOEXEC)));
}
static void ReplaceDirectory(void) {
  close(NewWritten("f", 3, 'a'));
  ThenCrash(ActReplaceDirectory);
  Row("write f.tmp, rename it over f, fsync the directory: f, f.tmp", "b*3 gone", "%s %s",
      FileRuns("f"), Exists("f.tmp"));
}

const struct probe kCrashProbes[] = {
    {"nothing synced", Unsynced},
    {"MAP_SYNC, hole", SyncHole},
    {"MAP_SYNC, unwritten", SyncUnwritten},
    {"MAP_SYNC, new file", SyncNew},
    {"MAP_SYNC stores", SyncStores},
    {"MAP_SYNC loads", SyncLoads},
    {"MAP_SYNC undone", SyncUndone},
    {"MAP_SYNC, clean inode", SyncClean},
    {"fsync", Fsync},
    {"fdatasync", Fdatasync},
    {"O_DSYNC", Dsync},
    {"msync", Msync},
    {"unrelated fsync", Unrelated},
    {"msync of one page", MsyncWritten},
    {"msync in 2 MiB", HugeFlush},
    {"create", Create},
    {"replace", Replace},
    {"replace, directory", ReplaceDirectory},
    {0},
};
