// Flags of mmap(2), and who sees whose stores.
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probe.h"

enum { kUnknownFlag = 0x800000, kTearBytes = 65536, kTearTurns = 2000 };

static const char* MapResult(int file, int flags) {
  void* map = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, flags, file, 0);
  if (map == MAP_FAILED) return strerrorname_np(errno);
  const char* touched = Touch(map, true, 'x');
  munmap(map, 4 * kPage);
  return touched;
}

static void Flags(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  Row("mmap MAP_SHARED_VALIDATE|MAP_SYNC", "OK", "%s",
      MapResult(file, MAP_SHARED_VALIDATE | MAP_SYNC));
  Row("mmap MAP_SHARED|MAP_SYNC", "OK", "%s", MapResult(file, MAP_SHARED | MAP_SYNC));
  Row("mmap MAP_PRIVATE|MAP_SYNC", "OK", "%s", MapResult(file, MAP_PRIVATE | MAP_SYNC));
  Row("mmap MAP_SHARED_VALIDATE, unknown flag", "EOPNOTSUPP", "%s",
      MapResult(file, MAP_SHARED_VALIDATE | kUnknownFlag));
  Row("mmap MAP_SHARED, unknown flag", "OK", "%s", MapResult(file, MAP_SHARED | kUnknownFlag));
  Row("mmap of no bytes", "EINVAL", "%s",
      Result((long)mmap(NULL, 0, PROT_READ, MAP_SHARED, file, 0)));
  Row("mmap at an offset within a page", "EINVAL", "%s",
      Result((long)mmap(NULL, kPage, PROT_READ, MAP_SHARED, file, 100)));
  int reader = Open("f", O_RDONLY);
  Row("mmap shared, writable, of a descriptor open for reading", "EACCES", "%s",
      MapResult(reader, MAP_SHARED));
  Row("mmap private, writable, of a descriptor open for reading", "OK", "%s",
      MapResult(reader, MAP_PRIVATE));
  int writer = Open("f", O_WRONLY);
  Row("mmap of a descriptor open for writing", "EACCES", "%s", MapResult(writer, MAP_SHARED));
}

static int ChildReads(void* file) {
  char byte = 0;
  return pread(*(int*)file, &byte, 1, 5000) == 1 ? byte : 0;
}
static int ChildWrites(void* file) { return pwrite(*(int*)file, "w", 1, 5000) == 1 ? 0 : 1; }
static int ChildLoads(void* path) { return MapShared(Open(path, O_RDWR), 2 * kPage)[5000]; }
static int ChildStores(void* path) {
  MapShared(Open(path, O_RDWR), 2 * kPage)[5000] = 's';
  return 0;
}

static char ReadAt(int file, off_t offset) {
  char byte = 0;
  if (pread(file, &byte, 1, offset) != 1) Fail("pread");
  return byte;
}

static void Coherence(void) {
  int file = NewWritten("f", 2 * kPage, 'a');
  int other = Open("f", O_RDWR);
  volatile char* map = MapShared(file, 2 * kPage);
  volatile char* second = MapShared(other, 2 * kPage);
  if (map[5000] != 'a' || second[5000] != 'a') Fail("load");
  map[5000] = 'b';
  Row("store, then pread", "b", "%c", ReadAt(file, 5000));
  map[5000] = 'c';
  Row("store, then pread of another descriptor", "c", "%c", ReadAt(other, 5000));
  map[5000] = 'd';
  Row("store, then load through another mapping", "d", "%c", second[5000]);
  second[5000] = 'e';
  Row("store through another mapping, then load", "e", "%c", map[5000]);
  map[5000] = 'f';
  Row("store, then pread in another process", "f", "%c", InChild(ChildReads, &file));
  map[5000] = 'g';
  Row("store, then load through a mapping of another process", "g", "%c", InChild(ChildLoads, "f"));
  if (pwrite(other, "h", 1, 5000) != 1) Fail("pwrite");
  Row("pwrite, then load", "h", "%c", map[5000]);
  if (InChild(ChildWrites, &file) != 0) Fail("pwrite in a child");
  Row("pwrite in another process, then load", "w", "%c", map[5000]);
  if (InChild(ChildStores, "f") != 0) Fail("store in a child");
  Row("store of another process, then load", "s", "%c", map[5000]);
  map[5000] = 'i';
  Row("store, then read by a process without the shim", "i", "%s",
      Shell("dd if=f bs=1 skip=5000 count=1 status=none"));
  Shell("printf j | dd of=f bs=1 seek=5000 conv=notrunc status=none");
  Row("write by a process without the shim, then load", "j", "%c", map[5000]);
  map[5000] = 'k';
  Row("and a store after it, then read there", "k", "%s",
      Shell("dd if=f bs=1 skip=5000 count=1 status=none"));
}

static void PrivatePages(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  volatile char* shared = MapShared(file, 4 * kPage);
  volatile char* own = Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  if (own[0] != 'a') Fail("load");
  shared[0] = 'b';
  Row("private page that was only loaded sees a later shared store", "b", "%c", own[0]);
  own[1] = 'x';
  shared[0] = 'c';
  Row("private page that was stored to does not", "b", "%c", own[0]);
  shared[kPage] = 'd';
  Row("the page beside it still does", "d", "%c", own[kPage]);
  Row("a private store is not in the file", "c a", "%c %c", ReadAt(file, 0), ReadAt(file, 1));
  own[2 * kPage] = 'y';
  Row("a private store to a page not loaded before: the rest of it is the file's", "y a", "%c %c",
      own[2 * kPage], own[2 * kPage + 1]);
  int hole = NewHole("h", 4 * kPage);
  volatile char* own_hole = Map(hole, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own_hole[kPage] = 'z';
  Row("a private store to a hole: extents", "none", "%s", Extents(hole));
  Row("a private store to a hole is not in the file", "0", "%d", ReadAt(hole, kPage));
  Row("and is in the mapping", "z 0", "%c %d", own_hole[kPage], own_hole[kPage + 1]);
  if (pwrite(hole, "q", 1, 0) != 1) Fail("pwrite");
  Row("private hole page, untouched, sees a later write", "q", "%c", own_hole[0]);
}

static void SameFile(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  char* map = MapShared(file, 4 * kPage);
  Row("pread into an unfaulted mapped page of the same file", "100", "%zd",
      pread(file, map + kPage, 100, 0));
  Row("pwrite from an unfaulted mapped page of the same file", "100", "%zd",
      pwrite(file, map + 2 * kPage, 100, 200));
  Row("pread into the very page it reads", "4096", "%zd", pread(file, map, kPage, 0));
  int hole = NewHole("h", 4 * kPage);
  char* sparse = MapShared(hole, 4 * kPage);
  Row("pread into a mapped hole of the same file", "100", "%zd", pread(hole, sparse, 100, kPage));
  Row("pwrite from a mapped hole of the same file", "100", "%zd",
      pwrite(hole, sparse + 2 * kPage, 100, 3 * kPage));
  Row("pwrite of a mapped hole onto itself", "4096", "%zd",
      pwrite(hole, sparse + kPage, kPage, kPage));
  struct iovec parts[2] = {{map, 10}, {sparse + 2 * kPage, 10}};
  Row("readv into mappings of two files", "20", "%zd", preadv(file, parts, 2, 0));
  int pipes[2];
  if (pipe(pipes) < 0) Fail("pipe");
  map[3 * kPage] = 'p';
  Row("write(2) of a mapping to a pipe", "4096", "%zd", write(pipes[1], map + 3 * kPage, kPage));
  Row("read(2) from a pipe into an unfaulted hole", "4096", "%zd",
      read(pipes[0], sparse + 3 * kPage, kPage));
  Row("what came through", "p a", "%c %c", sparse[3 * kPage], sparse[3 * kPage + 1]);
}

static void Direct(void) {
  int file = open("f", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
  if (file < 0) Fail("open O_DIRECT");
  static char bytes[4 * kPage];
  memset(bytes, 'a', sizeof bytes);
  Row("O_DIRECT pwrite of any alignment", "5000", "%zd", pwrite(file, bytes + 3, 5000, 77));
  Row("O_DIRECT pread of any alignment", "123", "%zd", pread(file, bytes + 1, 123, 5));
  volatile char* map = MapShared(file, kPage);
  map[77] = 'z';
  if (pread(file, bytes, 1, 77) != 1) Fail("pread");
  Row("store, then O_DIRECT pread", "z", "%c", bytes[0]);
}

static void Splice(void) {
  int file = NewWritten("f", 2 * kPage, 'a');
  volatile char* map = MapShared(file, 2 * kPage);
  int pipes[2];
  if (pipe(pipes) < 0) Fail("pipe");
  if (splice(file, NULL, pipes[1], NULL, kPage, 0) != kPage) Fail("splice");
  map[0] = 'b';
  if (pwrite(file, "c", 1, 1) != 1) Fail("pwrite");
  char bytes[2];
  if (read(pipes[0], bytes, 2) != 2) Fail("read");
  Row("splice to a pipe, then a store and a write: the pipe holds", "aa", "%c%c", bytes[0],
      bytes[1]);
}

static atomic_bool tear_ends;
static void* TearWriter(void* argument) {
  int file = *(int*)argument;
  char* bytes = malloc(kTearBytes);
  for (int turn = 0; !tear_ends; turn++) {
    memset(bytes, 'a' + turn % 26, kTearBytes);
    if (pwrite(file, bytes, kTearBytes, 0) != kTearBytes) break;
  }
  free(bytes);
  return NULL;
}

static void Tear(void) {
  int file = NewWritten("f", kTearBytes, 'a');
  volatile char* map = MapShared(file, kTearBytes);
  if (map[0] != 'a') Fail("load");
  pthread_t writer;
  if (pthread_create(&writer, NULL, TearWriter, &file) != 0) Fail("thread");
  static char bytes[kTearBytes];
  int torn = 0;
  for (int turn = 0; turn < kTearTurns; turn++) {
    if (pread(file, bytes, kTearBytes, 0) != kTearBytes) Fail("pread");
    if (memcmp(bytes, bytes + 1, kTearBytes - 1) != 0) torn++;
  }
  tear_ends = true;
  pthread_join(writer, NULL);
  Row("64 KiB preads that saw half of a 64 KiB pwrite, of 2000", "0", "%d", torn);
}

// Memory that the kernel or another is to serve or to keep.
static void Kept(void) {
  int file = NewWritten("f", kPage, 'a');
  volatile char* map = MapShared(file, kPage);
  if (map[0] != 'a') Fail("load");
  // EINVAL on a real one; here it has the daemon's userfaultfd already, EBUSY.
  long faults = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  struct uffdio_api api = {.api = UFFD_API};
  if (faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0) {
    struct uffdio_register wanted = {{(uintptr_t)map, kPage}, UFFDIO_REGISTER_MODE_MISSING, 0};
    Row("userfaultfd register on a mapping", "refused", "%s",
        ioctl(faults, UFFDIO_REGISTER, &wanted) == 0 ? "taken" : "refused");
  } else {
    NotHere("userfaultfd register on a mapping", strerror(errno));
  }
  struct io_uring_params parameters = {0};
  long ring = syscall(SYS_io_uring_setup, 2, &parameters);
  if (ring < 0) {
    NotHere("io_uring fixed buffer", strerror(errno));
    return;
  }
  struct iovec buffer = {(void*)map, kPage};
  long kept = syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1);
  Row("io_uring fixed buffer", "EOPNOTSUPP", "%s", kept == 0 ? "OK" : strerrorname_np(errno));
}

// What jemalloc, LuaJIT and others call instead of libc's function of the name.
static void BySyscall(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  volatile char* map = (char*)syscall(SYS_mmap, NULL, 4L * kPage, PROT_READ | PROT_WRITE,
                                      MAP_SHARED, file, 0L);
  Row("syscall(SYS_mmap)", "OK", "%s", map == MAP_FAILED ? strerrorname_np(errno) : "OK");
  if (map == MAP_FAILED) return;
  map[0] = 's';
  char byte = 0;
  if (pread(file, &byte, 1, 0) != 1) Fail("pread");
  Row("a store through it, read", "s", "%c", byte);
  Row("syscall(SYS_madvise, MADV_REMOVE) of a page", "OK", "%s",
      Result(syscall(SYS_madvise, map + kPage, (long)kPage, MADV_REMOVE)));
  Row("extents", "[0,1)W [2,4)W", "%s", Extents(file));
  char* moved = (char*)syscall(SYS_mremap, map, 4L * kPage, 8L * kPage, MREMAP_MAYMOVE);
  Row("syscall(SYS_mremap), moved: a load", "a", "%c", moved == MAP_FAILED ? '!' : moved[2 * kPage]);
  if (moved == MAP_FAILED || ftruncate(file, 5 * kPage) < 0) Fail("grown");
  moved[4 * kPage] = 'g';
  Row("a store to what was added, read", "g", "%s", Shell("tail -c 4096 f | head -c 1"));
  Row("syscall(SYS_fallocate, FALLOC_FL_COLLAPSE_RANGE)", "OK", "%s",
      Result(syscall(SYS_fallocate, file, FALLOC_FL_COLLAPSE_RANGE, 0L, (long)kPage)));
  Row("extents", "[1,4)W", "%s", Extents(file));
  moved[3 * kPage] = 'm';
  if (syscall(SYS_munmap, moved, 8L * kPage) < 0) Fail("munmap");
  // Memory of the program's that comes to lie there is its own.
  volatile char* other =
      mmap(moved, 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (other != moved) Fail("mmap where it was");
  other[3 * kPage] = 'o';
  if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5 * kPage) < 0) Fail("punch");
  Row("syscall(SYS_munmap), other memory there, punch of the file", "o", "%c", other[3 * kPage]);
}

static void ProtectBySyscall(void) {
  NewWritten("f", kPage, 'a');
  char* map = Map(Open("f", O_RDONLY), kPage, PROT_READ, MAP_SHARED);
  const int writable = PROT_READ | PROT_WRITE;
  Row("syscall(SYS_mprotect), writable, open for reading", "EACCES", "%s",
      Result(syscall(SYS_mprotect, map, (long)kPage, writable)));
  Row("syscall(SYS_pkey_mprotect), the same", "EACCES", "%s",
      Result(syscall(SYS_pkey_mprotect, map, (long)kPage, writable, -1)));
  Row("pkey_mprotect, the same", "EACCES", "%s", Result(pkey_mprotect(map, kPage, writable, -1)));
  Row("pkey_mprotect, readable", "OK", "%s", Result(pkey_mprotect(map, kPage, PROT_READ, -1)));
  Row("a load", "OK", "%s", Touch(map, false, 0));
}

static void NotAsked(void) {
  NotHere("pwritev2 RWF_NOWAIT: OK or EAGAIN",
          "FUSE files are not opened for it: EOPNOTSUPP before the filesystem is asked");
  NotHere("fault-around on written pages: 64 faults for 64 loads",
          "a fault costs a message here, so the extent around the page is shown at once");
  NotHere("RSS of a mapping: 0", "region pages are tmpfs's, which the kernel counts");
  NotHere("ext4 options refused with dax; mkfs geometry", "not this filesystem's options");
}

const struct probe kMappingProbes[] = {
    {"flags of mmap", Flags},
    {"coherence", Coherence},
    {"private pages", PrivatePages},
    {"reads and writes from and to mappings", SameFile},
    {"O_DIRECT", Direct},
    {"splice", Splice},
    {"tearing", Tear},
    {"memory that is kept", Kept},
    {"calls by syscall()", BySyscall},
    {"mprotect by syscall()", ProtectBySyscall},
    {"what is not asked", NotAsked},
    {0},
};
