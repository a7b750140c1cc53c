#include "work.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access.h"
#include "files.h"
#include "operations.h"
#include "random.h"
#include "shadow.h"

enum { kChildOperations = 10, kCalmOperations = 200 };

static __thread bool is_child;

static void DoFork(int file);
static void DoCalm(int file);

static const struct operation {
  const char* name;
  void (*run)(int file);
  int weight;
  bool needs_maps;
  int calm_weight;
} kOperations[] = {
    {"load", DoLoad, 400, true, 10},
    {"store", DoStore, 400, true, 2},
    {"wild load", DoLoadWild, 60, true, 5},
    {"read", DoRead, 60, false, 5},
    {"write", DoWrite, 60, false, 0},
    {"copy", DoCopy, 40, true, 0},
    {"punch", DoPunchHole, 40, false, 0},
    {"zero", DoZeroRange, 20, false, 0},
    {"allocate", DoAllocate, 5, false, 0},
    {"truncate", DoTruncate, 4, false, 0},
    {"extend", DoExtend, 10, false, 0},
    {"collapse", DoCollapse, 2, true, 0},
    {"insert", DoInsert, 2, true, 0},
    {"fsync", DoFsync, 20, false, 0},
    {"msync", DoMsync, 40, true, 5},
    {"mmap", DoMap, 20, true, 0},
    {"munmap", DoUnmap, 15, true, 0},
    {"mremap", DoRemap, 10, true, 0},
    {"mprotect", DoProtect, 10, true, 0},
    {"madvise", DoAdvise, 5, true, 0},
    {"fork", DoFork, 4, true, 0},
    {"commits", DoCommits, 4, true, 30},
    {"calm", DoCalm, 1, true, 0},
};
enum { kOperationCount = sizeof kOperations / sizeof kOperations[0] };

static int WeightOf(const struct operation* operation, bool maps, bool is_calm) {
  if (!maps && operation->needs_maps) return 0;
  return is_calm ? operation->calm_weight : operation->weight;
}

static void Step(bool maps) {
  bool is_calm = shadow->calm > 0 && atomic_fetch_sub(&shadow->calm, 1) > 0;
  int all = 0, at = 0;
  for (int i = 0; i < kOperationCount; i++) all += WeightOf(&kOperations[i], maps, is_calm);
  int pick = (int)Random((uint64_t)all);
  for (;; at++) {
    int weight = WeightOf(&kOperations[at], maps, is_calm);
    if (pick < weight) break;
    pick -= weight;
  }
  if (is_child && kOperations[at].run == DoFork) return;
  shadow->workers[worker].doing = 1 + at;
  kOperations[at].run((int)Random(kFiles));
  shadow->workers[worker].operations++;
  shadow->counts[at]++;
}

/** Nobody changes extents or sizes for a while: what is synced again and again comes to rest. */
static void DoCalm(int file) {
  Note("calm", file, 0, 0);
  shadow->calm = kCalmOperations;
}

/** The child does some operations in its copy of the mappings, while this thread waits. */
static void DoFork(int file) {
  Note("fork", file, 0, 0);
  uint64_t seed = Random(UINT64_MAX);
  pid_t child = fork();
  if (child < 0) Failed(file, 0, "fork: %s", strerror(errno));
  if (child == 0) {
    is_child = true;
    SeedRandom(seed | 1);
    for (int i = 0; i < kChildOperations && !shadow->ends; i++) Step(true);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) < 0 || status != 0)
    Failed(file, 0, "a forked child ended with %x", (unsigned)status);
}

void WorkOpen(const char* directory, bool maps) {
  AccessBegin();
  FilesOpen(directory, maps);
}

void Work(int number, bool maps) {
  SeedRandom((shadow->seed + 1) * 0x9e3779b97f4a7c15u ^ ((uint64_t)number + 1) << 32);
  for (int i = 0; i < 8; i++) Random(2);
  while (!shadow->ends) Step(maps);
  shadow->workers[number].doing = -1;
}

void CheckAll(bool maps) {
  for (int file = 0; file < kFiles; file++) {
    uint64_t size = SizeOf(file), words[kWords];
    for (uint64_t line = 0; line < size; line++) {
      if (pread(descriptors[file], words, kLine, Offset(line)) != kLine)
        Failed(file, line, "pread at the end: %s", strerror(errno));
      LineCheck(file, line, words, "pread at the end");
      if (maps) LoadShared(file, line, bases[file] + Offset(line), "load at the end");
    }
  }
}

void Plant(const char* kind) {
  uint64_t words[kWords];
  for (int turn = 0; turn < 10000 && !shadow->ends; turn++) {
    uint64_t line = (uint64_t)(turn % (8 * kPageLines));
    LineLock(0, line);
    const struct line* state = LineOf(0, line);
    if (state->flux == 0 && state->mask == 0xff && !state->is_loose && line < SizeOf(0)) {
      LineWords(words, 0, state->stamp);
      if (strcmp(kind, "flip") == 0) words[3] ^= 1 << 7;
      if (strcmp(kind, "lost") == 0) memset(words, 0, sizeof words);
      if (strcmp(kind, "stale") == 0) LineWords(words, 0, state->stamp - 1);
      if (strcmp(kind, "foreign") == 0) LineWords(words, 1, state->stamp);
      if (pwrite(descriptors[0], words, kLine, Offset(line)) != kLine) Failed(0, line, "plant");
    }
    LineUnlock(0, line);
    usleep(1000);
  }
}

void ShowDoing(FILE* out) {
  for (int i = 0; i < kWorkersMax && shadow->workers[i].doing != 0; i++) {
    int doing = shadow->workers[i].doing;
    fprintf(out, " %d %s,", i, doing < 0 ? "ended" : kOperations[doing - 1].name);
  }
  fputc('\n', out);
}

void ShowCounts(FILE* out) {
  for (int i = 0; i < kOperationCount; i++)
    fprintf(out, "%s%s %llu", i == 0 ? "" : ", ", kOperations[i].name,
            (unsigned long long)shadow->counts[i]);
  fputc('\n', out);
}
