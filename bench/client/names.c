// Metadata jobs: attributes, and names made and removed.
//
// All names lie in the working directory, which is the root of the mount, so that a peer with one
// flat directory can serve them. JobPopulate alone makes directories.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "jobs.h"

enum { kFilesInDirectory = 1000, kNameBytesMax = 64, kSettleMs = 200, kBlockBytesMax = 1 << 20 };

static char block[kBlockBytesMax];

static void NameOf(char name[kNameBytesMax], const char* prefix, uint64_t number) {
  snprintf(name, kNameBytesMax, "%s%llu", prefix, (unsigned long long)number);
}

static int CreateFile(const char* name) {
  int descriptor = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (descriptor < 0) FAIL("create %s: %s", name, strerror(errno));
  return descriptor;
}

static void CloseFile(int descriptor) {
  if (close(descriptor) < 0) FAIL("close: %s", strerror(errno));
}

static void UnlinkFile(const char* name) {
  if (unlink(name) < 0) FAIL("unlink %s: %s", name, strerror(errno));
}

static void WriteFile(const char* name, uint64_t length_bytes) {
  int descriptor = CreateFile(name);
  if (length_bytes > kBlockBytesMax) FAIL("a small file has at most %d bytes", kBlockBytesMax);
  if (write(descriptor, block, length_bytes) != (ssize_t)length_bytes) {
    FAIL("write %s: %s", name, strerror(errno));
  }
  CloseFile(descriptor);
}

void JobGetAttributes(const struct settings* settings) {
  int descriptor = open("attributes", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (descriptor < 0) FAIL("open attributes: %s", strerror(errno));
  struct measure measure = MeasureNew(settings->count);
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (uint64_t i = 0; i < settings->count; i++) {
    struct statx attributes;
    int flags = AT_EMPTY_PATH | AT_STATX_FORCE_SYNC;
    if (statx(descriptor, "", flags, STATX_BASIC_STATS, &attributes) < 0) {
      FAIL("statx: %s", strerror(errno));
    }
    if (!S_ISREG(attributes.stx_mode)) FAIL("statx tells of something else");
    start_ns = MeasureAdd(&measure, start_ns);
  }
  MeasurePrint(settings->job, &measure, 1, start_ns - begin_ns, 0);
  CloseFile(descriptor);
}

void JobPairs(const struct settings* settings) {
  struct measure measure = MeasureNew(settings->count);
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (uint64_t i = 0; i < settings->count; i++) {
    char name[kNameBytesMax];
    NameOf(name, "pair", i);
    CloseFile(CreateFile(name));
    UnlinkFile(name);
    start_ns = MeasureAdd(&measure, start_ns);
  }
  MeasurePrint(settings->job, &measure, 1, start_ns - begin_ns, 0);
}

void JobSmallFiles(const struct settings* settings) {
  struct measure measure = MeasureNew(settings->count);
  char name[kNameBytesMax];
  memset(block, 0x5a, sizeof block);
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (uint64_t i = 0; i < settings->count; i++) {
    NameOf(name, "small", i);
    WriteFile(name, settings->block_bytes);
    start_ns = MeasureAdd(&measure, start_ns);
  }
  for (uint64_t i = 0; i < settings->count; i++) {
    NameOf(name, "small", i);
    UnlinkFile(name);
  }
  // Latencies are of create and write; the rate counts the removal too.
  MeasurePrint(settings->job, &measure, 1, NowNs() - begin_ns, settings->block_bytes);
}

void JobMakeFiles(const struct settings* settings) {
  struct measure measure = MeasureNew(settings->count);
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (uint64_t i = 0; i < settings->count; i++) {
    char name[kNameBytesMax];
    NameOf(name, "file", i);
    CloseFile(CreateFile(name));
    start_ns = MeasureAdd(&measure, start_ns);
  }
  MeasurePrint(settings->job, &measure, 1, start_ns - begin_ns, 0);
}

/**
 * Drops what the kernel caches of this mount alone: a remount shrinks its dentries, and with them
 * go the inodes, whatever timeouts the filesystem asked for. Mounts and daemons stay as they are.
 * The pause lets the FORGETs that follow be read before the clock starts.
 */
static void DropCaches(void) {
  char directory[4096];
  struct statvfs numbers;
  if (getcwd(directory, sizeof directory) == NULL) FAIL("getcwd: %s", strerror(errno));
  if (statvfs(directory, &numbers) < 0) FAIL("statvfs: %s", strerror(errno));
  unsigned long flags = MS_REMOUNT | (numbers.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV |
                                                        ST_NOEXEC | ST_NOATIME | ST_NODIRATIME));
  if (mount("none", directory, NULL, flags, NULL) < 0) FAIL("remount: %s", strerror(errno));
  usleep(kSettleMs * 1000);
}

void JobStatFiles(const struct settings* settings) {
  struct measure measure = MeasureNew(settings->count);
  DropCaches();
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (uint64_t i = 0; i < settings->count; i++) {
    char name[kNameBytesMax];
    struct stat attributes;
    NameOf(name, "file", i);
    if (stat(name, &attributes) < 0) FAIL("stat %s: %s", name, strerror(errno));
    start_ns = MeasureAdd(&measure, start_ns);
  }
  MeasurePrint(settings->job, &measure, 1, start_ns - begin_ns, 0);
}

void JobPopulate(const struct settings* settings) {
  struct measure measure = MeasureNew(settings->count);
  memset(block, 0x5a, sizeof block);
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (uint64_t i = 0; i < settings->count; i++) {
    char name[kNameBytesMax];
    unsigned long long directory = i / kFilesInDirectory;
    snprintf(name, sizeof name, "directory%llu", directory);
    if (i % kFilesInDirectory == 0 && mkdir(name, 0755) < 0) {
      FAIL("mkdir %s: %s", name, strerror(errno));
    }
    snprintf(name, sizeof name, "directory%llu/file%llu", directory, (unsigned long long)i);
    WriteFile(name, settings->block_bytes);
    start_ns = MeasureAdd(&measure, start_ns);
  }
  int descriptor = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 || fsync(descriptor) < 0) FAIL("fsync: %s", strerror(errno));
  MeasurePrint(settings->job, &measure, 1, NowNs() - begin_ns, settings->block_bytes);
  CloseFile(descriptor);
}
