// Kills processes inside mappings: each victim maps files, stores, loads, syncs, moves, unmaps,
// forks as fast as it can, alone or with threads, until SIGKILL ends it at a random moment. Beside
// them an innocent process works on pages of the same file and on a file of its own, and checks
// every word.
//
//   killed [--seed N] [--count N] DIRECTORY
//
// What the victims were doing when they died is printed, so that no moment is left out. Exit status
// 0: all were killed and the innocent found nothing wrong; 1: not; 2: usage. What the daemon keeps
// of them is for run.sh to see.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kPage = 4096,
  kPages = 1024,       // of the file that all share
  kInnocentPages = 8,  // its first pages are the innocent's
  kAliveUsMax = 60000,
  kStalledSeconds = 30,
};

enum action {
  kStarting,
  kLoad,
  kStore,
  kPrivate,
  kSync,
  kMap,
  kUnmap,
  kMove,
  kFork,
  kPunch,
  kRead
};
enum { kActions = kRead + 1 };
static const char* const kNames[kActions] = {"start", "load",  "store",  "private",
                                             "msync", "mmap",  "munmap", "mremap",
                                             "fork",  "punch", "read"};

// Shared by all, through a memory file: victims are programs of their own.
static struct shared {
  _Atomic uint32_t doing;  // of the victim's first thread
  _Atomic uint64_t innocent_turns;
  _Atomic bool innocent_failed;
  _Atomic bool ends;
} * shared;

static __thread uint64_t random_state;
static const char* directory;

static void Must(const char* what, long result) {
  if (result >= 0) return;
  fprintf(stderr, "killed: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t Random(uint64_t bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (random_state >> 11) % bound;
}

static int OpenIn(const char* name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  Must(path, file);
  return file;
}

static char* MapAll(int file, int flags) {
  char* map = mmap(NULL, (size_t)kPages * kPage, PROT_READ | PROT_WRITE, flags, file, 0);
  if (map == MAP_FAILED && errno == EOPNOTSUPP && (flags & MAP_SYNC) != 0)
    return MapAll(file, MAP_SHARED);  // a plain directory
  if (map == MAP_FAILED) Must("mmap", -1);
  return map;
}

// --- the victim ---

struct victim {
  int file;
  char* map;  // all threads' own
  uint64_t seed;
  bool reports;
};

static off_t SomePage(void) {
  return (off_t)(kInnocentPages + Random(kPages - kInnocentPages)) * kPage;
}

static void Act(struct victim* victim, enum action action) {
  volatile char* map = victim->map;
  char byte;
  switch (action) {
    case kLoad:
      (void)map[SomePage()];
      break;
    case kStore:
      map[SomePage()] = (char)Random(256);
      break;
    case kPrivate: {
      volatile char* own = MapAll(victim->file, MAP_PRIVATE);
      for (int i = 0; i < 4; i++) own[SomePage()] = 'p';
      munmap((void*)own, (size_t)kPages * kPage);
      break;
    }
    case kSync:
      msync((void*)map, (size_t)kPages * kPage, MS_SYNC);
      break;
    case kMap: {
      volatile char* more = MapAll(victim->file, MAP_SHARED_VALIDATE | MAP_SYNC);
      more[SomePage()] = 'm';
      munmap((void*)more, (size_t)kPages * kPage);
      break;
    }
    case kUnmap: {
      char* more = MapAll(victim->file, MAP_SHARED);
      for (int i = 0; i < 4; i++) (void)((volatile char*)more)[SomePage()];
      off_t middle = SomePage();
      munmap(more, (size_t)middle);
      munmap(more + middle, (size_t)kPages * kPage - (size_t)middle);
      break;
    }
    case kMove: {
      size_t length = (size_t)kPages * kPage;
      char* more = MapAll(victim->file, MAP_SHARED);
      ((volatile char*)more)[SomePage()] = 'r';
      char* moved = mremap(more, length, length / 2, MREMAP_MAYMOVE);
      moved = mremap(moved, length / 2, length * 2, MREMAP_MAYMOVE);
      if (moved != MAP_FAILED) munmap(moved, length * 2);
      break;
    }
    case kFork: {
      pid_t child = fork();
      if (child == 0) {
        for (int i = 0; i < 3; i++) map[SomePage()] = 'f';
        _exit(0);
      }
      if (child > 0) waitpid(child, NULL, 0);
      break;
    }
    case kPunch:
      fallocate(victim->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SomePage(), kPage);
      break;
    default:
      (void)!pread(victim->file, &byte, 1, SomePage());
  }
}

static void* Victim(void* argument) {
  struct victim* victim = argument;
  random_state = victim->seed;
  for (;;) {
    // Loads and stores are short: as many more of them.
    enum action action = Random(2) == 0 ? kLoad + Random(2) : kLoad + Random(kActions - kLoad);
    // It lasts many times as long as the others.
    if (action == kFork && Random(16) != 0) continue;
    if (victim->reports) shared->doing = action;
    Act(victim, action);
  }
  return NULL;
}

static int BeVictim(uint64_t seed) {
  random_state = seed;
  int threads = (int)Random(3);
  int file = OpenIn("shared");
  struct victim victims[4];
  for (int i = 0; i <= threads; i++)
    victims[i] = (struct victim){file, MapAll(file, MAP_SHARED), seed + (uint64_t)i * 77, i == 0};
  for (int i = 1; i <= threads; i++) {
    pthread_t thread;
    Must("thread", -pthread_create(&thread, NULL, Victim, &victims[i]));
  }
  Victim(&victims[0]);
  return 0;
}

// --- the innocent ---

static void Innocent(void) {
  random_state = 99;
  int file = OpenIn("shared"), own_file = OpenIn("innocent");
  Must("ftruncate", ftruncate(own_file, (off_t)kPages * kPage));
  volatile uint64_t* maps[2] = {(uint64_t*)MapAll(file, MAP_SHARED),
                                (uint64_t*)MapAll(own_file, MAP_SHARED)};
  uint64_t limits[2] = {kInnocentPages * kPage / 8, (uint64_t)kPages * kPage / 8};
  int files[2] = {file, own_file};
  uint64_t* expected[2] = {calloc(limits[0], 8), calloc(limits[1], 8)};
  for (uint64_t turn = 1; !shared->ends; turn++) {
    int which = (int)Random(2);
    uint64_t word = Random(limits[which]), read = 0;
    if (Random(3) == 0) {
      expected[which][word] = turn << 8 | (uint64_t)which;
      maps[which][word] = expected[which][word];
    }
    Must("pread", pread(files[which], &read, 8, (off_t)word * 8));
    if (maps[which][word] != expected[which][word] || read != expected[which][word]) {
      fprintf(stderr,
              "killed: the innocent's word %llu of file %d: stored %llx, loads %llx, reads %llx\n",
              (unsigned long long)word, which, (unsigned long long)expected[which][word],
              (unsigned long long)maps[which][word], (unsigned long long)read);
      shared->innocent_failed = true;
      exit(1);
    }
    if (Random(200) == 0) Must("fsync", fsync(files[which]));
    shared->innocent_turns = turn;
  }
  exit(0);
}

// --- the killer ---

static pid_t StartVictim(int descriptor, uint64_t seed) {
  pid_t child = fork();
  Must("fork", child);
  if (child > 0) {
    setpgid(child, child);
    return child;
  }
  setpgid(0, 0);
  char words[2][24];
  snprintf(words[0], sizeof words[0], "%d", descriptor);
  snprintf(words[1], sizeof words[1], "%llu", (unsigned long long)seed);
  // Half of them are programs of their own, the others copies of this one.
  if (seed % 2 == 0)
    execl("/proc/self/exe", "killed", "--victim", words[0], words[1], directory, NULL);
  _exit(BeVictim(seed));
}

static bool InnocentStalled(void) {
  static uint64_t last;
  static time_t moved;
  if (moved == 0 || shared->innocent_turns != last) {
    last = shared->innocent_turns;
    moved = time(NULL);
  }
  return time(NULL) - moved > kStalledSeconds;
}

static int Kill(int descriptor, uint64_t seed, long count) {
  pid_t innocent = fork();
  Must("fork", innocent);
  if (innocent == 0) Innocent();
  random_state = seed * 0x9e3779b97f4a7c15u | 1;
  long moments[kActions] = {0}, early = 0, done = 0;
  for (; done < count && early == 0 && !shared->innocent_failed && !InnocentStalled(); done++) {
    shared->doing = kStarting;
    pid_t victim = StartVictim(descriptor, Random(UINT32_MAX) + 1);
    usleep((useconds_t)Random(kAliveUsMax));
    moments[shared->doing]++;
    // The first alone now and then, so that its children live on for a moment.
    if (Random(4) == 0) kill(victim, SIGKILL);
    kill(-victim, SIGKILL);
    int status = 0;
    Must("waitpid", waitpid(victim, &status, 0));
    if (!WIFSIGNALED(status)) {
      fprintf(stderr, "killed: a victim ended by itself: %x\n", (unsigned)status);
      early++;
    }
  }
  bool stalled = InnocentStalled();
  shared->ends = true;
  if (stalled) kill(innocent, SIGKILL);
  int status = 0;
  Must("waitpid", waitpid(innocent, &status, 0));
  printf("killed: seed %llu: %ld processes killed; in", (unsigned long long)seed, done);
  for (int i = 0; i < kActions; i++)
    printf(" %s %ld%s", kNames[i], moments[i], i + 1 < kActions ? "," : "");
  printf("; the innocent checked %llu words%s\n", (unsigned long long)shared->innocent_turns,
         stalled       ? " and STALLED"
         : status != 0 ? " and FAILED"
                       : "");
  return early == 0 && status == 0 && done == count && !stalled ? 0 : 1;
}

static void Share(int descriptor) {
  shared = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (shared == MAP_FAILED) Must("mmap", -1);
}

int main(int count, char** words) {
  if (count == 5 && strcmp(words[1], "--victim") == 0) {
    directory = words[4];
    Share(atoi(words[2]));
    return BeVictim(strtoull(words[3], NULL, 10));
  }
  long victims = 1000;
  uint64_t seed = (uint64_t)time(NULL) % 1000000;
  int at = 1;
  for (; at + 1 < count && words[at][0] == '-'; at += 2) {
    if (strcmp(words[at], "--seed") == 0)
      seed = strtoull(words[at + 1], NULL, 10);
    else if (strcmp(words[at], "--count") == 0)
      victims = atol(words[at + 1]);
    else
      break;
  }
  if (at + 1 != count) {
    fprintf(stderr, "usage: killed [--seed N] [--count N] DIRECTORY\n");
    return 2;
  }
  directory = words[at];
  int descriptor = memfd_create("killed", 0);
  Must("ftruncate", ftruncate(descriptor, kPage));
  Share(descriptor);
  int file = OpenIn("shared");
  Must("ftruncate", ftruncate(file, (off_t)kPages * kPage));
  close(file);
  printf("killed: seed %llu\n", (unsigned long long)seed);
  fflush(stdout);
  return Kill(descriptor, seed, victims);
}
