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

enum { kChildOperations = 10 };

static __thread bool is_child;

static void DoFork(int file);

static const struct operation {
  const char* name;
  void (*run)(int file);
  int weight;
  bool needs_maps;
} kOperations[] = {
    {"load", DoLoad, 400, true},         {"store", DoStore, 400, true},
    {"wild load", DoLoadWild, 60, true}, {"read", DoRead, 60, false},
    {"write", DoWrite, 60, false},      {"copy", DoCopy, 40, true},
    {"punch", DoPunchHole, 40, false},   {"zero", DoZeroRange, 20, false},
    {"allocate", DoAllocate, 5, false},  {"truncate", DoTruncate, 4, false},
    {"extend", DoExtend, 10, false},     {"collapse", DoCollapse, 2, true},
    {"insert", DoInsert, 2, true},       {"fsync", DoFsync, 20, false},
    {"msync", DoMsync, 40, true},        {"mmap", DoMap, 20, true},
    {"munmap", DoUnmap, 15, true},       {"mremap", DoRemap, 10, true},
    {"mprotect", DoProtect, 10, true},   {"madvise", DoAdvise, 5, true},
    {"fork", DoFork, 4, true},
};
enum { kOperationCount = sizeof kOperations / sizeof kOperations[0] };

static void Step(bool maps) {
  int all = 0, at = 0;
  for (int i = 0; i < kOperationCount; i++)
    if (maps || !kOperations[i].needs_maps) all += kOperations[i].weight;
  int pick = (int)Random((uint64_t)all);
  for (;; at++) {
    if (!maps && kOperations[at].needs_maps) continue;
    if (pick < kOperations[at].weight) break;
    pick -= kOperations[at].weight;
  }
  if (is_child && kOperations[at].run == DoFork) return;
  shadow->workers[worker].doing = 1 + at;
  kOperations[at].run((int)Random(kFiles));
  shadow->workers[worker].operations++;
  shadow->counts[at]++;
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
