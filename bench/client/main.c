// The benchmark's client: one job on one mounted directory, one line of JSON on standard output.
//
//   client JOB DIRECTORY [--count N] [--threads N] [--block BYTES] [--size-mib N]
//          [--region FILE --offset BYTES]
//
// It refuses to measure anything that is not a mount: one that failed leaves an ordinary directory
// behind, and that is very fast.

#include <string.h>
#include <unistd.h>

#include "jobs.h"

struct job {
  const char* name;
  void (*run)(const struct settings*);
};

static const struct job jobs[] = {
    {"prepare", JobPrepare},
    {"read-random", JobReadRandom},
    {"write-random", JobWriteRandom},
    {"read-sequential", JobReadSequential},
    {"write-sequential", JobWriteSequential},
    {"buffered-read", JobBufferedRead},
    {"buffered-write", JobBufferedWrite},
    {"position-read", JobPositionRead},
    {"position-write", JobPositionWrite},
    {"prepare-map", JobPrepareMap},
    {"load-sequential", JobLoadSequential},
    {"load-random", JobLoadRandom},
    {"store-sequential", JobStoreSequential},
    {"store-random", JobStoreRandom},
    {"store-faults", JobStoreFaults},
    {"store-faults-huge", JobStoreFaultsHuge},
    {"store-faults-bare", JobStoreFaultsBare},
    {"load-holes", JobLoadHoles},
    {"load-anonymous", JobLoadAnonymous},
    {"sync-mapped", JobSyncMapped},
    {"getattr", JobGetAttributes},
    {"pairs", JobPairs},
    {"small-files", JobSmallFiles},
    {"make-files", JobMakeFiles},
    {"stat-files", JobStatFiles},
    {"populate", JobPopulate},
};

static void Usage(void) {
  fprintf(stderr,
          "usage: client JOB DIRECTORY [--count N] [--threads N] [--block BYTES] "
          "[--size-mib N] [--region FILE --offset BYTES]\njobs:");
  for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) fprintf(stderr, " %s", jobs[i].name);
  fputc('\n', stderr);
  exit(2);
}

static struct settings ReadSettings(int count, char** words) {
  if (count < 3 || count % 2 == 0) Usage();
  struct settings settings = {
      .job = words[1], .count = 1000, .size_bytes = 64 << 20, .block_bytes = 4096, .threads = 1};
  for (int i = 3; i < count; i += 2) {
    char* end;
    if (strcmp(words[i], "--region") == 0) {
      settings.region = words[i + 1];
      continue;
    }
    unsigned long long value = strtoull(words[i + 1], &end, 10);
    if (*end != 0 || value == 0) Usage();
    if (strcmp(words[i], "--count") == 0) {
      settings.count = value;
    } else if (strcmp(words[i], "--threads") == 0) {
      settings.threads = (int)value;
    } else if (strcmp(words[i], "--block") == 0 && value % 8 == 0) {
      settings.block_bytes = value;
    } else if (strcmp(words[i], "--size-mib") == 0) {
      settings.size_bytes = (uint64_t)value << 20;
    } else if (strcmp(words[i], "--offset") == 0) {
      settings.region_offset = value;
    } else {
      Usage();
    }
  }
  return settings;
}

int main(int count, char** words) {
  struct settings settings = ReadSettings(count, words);
  EnterMount(words[2]);
  for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
    if (strcmp(jobs[i].name, settings.job) == 0) {
      jobs[i].run(&settings);
      return 0;
    }
  }
  Usage();
}
