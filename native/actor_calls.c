// What an actor does to files and mappings: one function for each call, by name. actor.c says what
// each is asked with, and answers.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor.h"

#define PAGE_BYTES 4096L
#define HUGE_BYTES (2L << 20)
#define WORD_BYTES 8L
#define WORDS_PER_PAGE (PAGE_BYTES / WORD_BYTES)

enum {
  kNameBytesMax = 64,
  kNamedMax = 32,     // files, and mappings
  kDistinctMax = 16,  // words that a scan tells; a page of a scenario has few
};

struct File {
  char name[kNameBytesMax];
  int fd;
};

struct Map {
  char name[kNameBytesMax];
  char* address;
  size_t length;
};

static struct File files[kNamedMax];
static struct Map maps[kNamedMax];
static _Thread_local sigjmp_buf bus_error;

static void OnBusError(int signal) {
  (void)signal;
  siglongjmp(bus_error, 1);
}

void CallsBegin(void) {
  const struct sigaction action = {.sa_handler = OnBusError, .sa_flags = SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
}

static struct File* FileOf(const char* name) {
  for (int at = 0; at < kNamedMax; at++) {
    if (strcmp(files[at].name, name) == 0) return &files[at];
  }
  Stop("no file", name);
  return NULL;
}

static struct Map* MapOf(const char* name) {
  for (int at = 0; at < kNamedMax; at++) {
    if (strcmp(maps[at].name, name) == 0) return &maps[at];
  }
  Stop("no mapping", name);
  return NULL;
}

static void SetName(char* target, const char* name) {
  if (strlen(name) >= kNameBytesMax) Stop("a name is too long", name);
  strcpy(target, name);
}

static void SetError(struct Result* result) {
  const char* name = strerrorname_np(errno);
  snprintf(result->text, sizeof(result->text), "%s", name == NULL ? "ERROR" : name);
}

void SetStatus(struct Result* result, long long status) {
  if (status < 0)
    SetError(result);
  else
    strcpy(result->text, "ok");
}

static void OpenFile(const struct Call* call, int flags, struct Result* result) {
  struct File* file = FileOf("");
  file->fd = open(call->words[2], O_RDWR | O_CLOEXEC | flags, 0644);
  if (file->fd >= 0) SetName(file->name, call->words[1]);
  SetStatus(result, file->fd);
}

static void CloseFile(const struct Call* call, struct Result* result) {
  struct File* file = FileOf(call->words[1]);
  SetStatus(result, close(file->fd));
  file->name[0] = '\0';
}

// At an address that lies in its 2 MiB as the pages lie in those of the file, which entries of 2
// MiB need; the kernel sees to it for files that can have them.
static void MapFile(const struct Call* call, struct Result* result) {
  struct Map* map = MapOf("");
  const long offset = Number(call, 3) * PAGE_BYTES;
  const size_t length = (size_t)Number(call, 4) * PAGE_BYTES;
  const char* kind = call->words[5];
  int flags = MAP_SHARED;
  if (strcmp(kind, "private") == 0) flags = MAP_PRIVATE;
  if (strcmp(kind, "sync") == 0) flags = MAP_SHARED_VALIDATE | MAP_SYNC;
  const size_t reserved = length + 2 * HUGE_BYTES;
  char* space = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return SetError(result);
  const uintptr_t first = ((uintptr_t)space + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1);
  char* wanted = (char*)first + offset % HUGE_BYTES;
  munmap(space, reserved);
  map->address = mmap(wanted, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE,
                      FileOf(call->words[2])->fd, offset);
  if (map->address == MAP_FAILED) return SetError(result);
  map->length = length;
  SetName(map->name, call->words[1]);
  strcpy(result->text, "ok");
}

static void UnmapFile(const struct Call* call, struct Result* result) {
  struct Map* map = MapOf(call->words[1]);
  SetStatus(result, munmap(map->address, map->length));
  map->name[0] = '\0';
}

static volatile uint64_t* WordAt(const struct Call* call) {
  const struct Map* map = MapOf(call->words[1]);
  return (volatile uint64_t*)(map->address + Number(call, 2) * PAGE_BYTES +
                              Number(call, 3) * WORD_BYTES);
}

// Adds a word to those that were seen, and says whether there is room.
static int AddDistinct(uint64_t* seen, int count, uint64_t word) {
  for (int at = 0; at < count; at++) {
    if (seen[at] == word) return count;
  }
  if (count < kDistinctMax) seen[count++] = word;
  return count;
}

static void SetDistinct(struct Result* result, const volatile uint64_t* words) {
  uint64_t seen[kDistinctMax];
  int count = 0;
  for (int at = 0; at < WORDS_PER_PAGE; at++) count = AddDistinct(seen, count, words[at]);
  size_t used = (size_t)snprintf(result->text, sizeof(result->text), "ok");
  for (int at = 0; at < count; at++) {
    used += (size_t)snprintf(result->text + used, sizeof(result->text) - used, " %llu",
                             (unsigned long long)seen[at]);
  }
}

static void SetValue(struct Result* result, uint64_t value) {
  snprintf(result->text, sizeof(result->text), "ok %llu", (unsigned long long)value);
}

// By libpmem, which is preloaded after the shim: a crashable mount is told of its flushes.
static void Persist(const void* word) {
  void (*persist)(const void*, size_t);
  *(void**)&persist = dlsym(RTLD_DEFAULT, "pmem_persist");
  if (persist == NULL) Stop("the shim is not preloaded", dlerror());
  persist(word, WORD_BYTES);
}

// Loads and stores, which may meet SIGBUS.
static void Access(const struct Call* call, struct Result* result) {
  const char* name = call->words[0];
  if (sigsetjmp(bus_error, 1) != 0) {
    strcpy(result->text, "SIGBUS");
    return;
  }
  if (strcmp(name, "load") == 0) {
    SetValue(result, *WordAt(call));
  } else if (strcmp(name, "store") == 0) {
    *WordAt(call) = (uint64_t)Number(call, 4);
    // Others see it before the clock says that it is made.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    strcpy(result->text, "ok");
  } else if (strcmp(name, "persist") == 0) {
    Persist((const void*)WordAt(call));
    strcpy(result->text, "ok");
  } else {
    const struct Map* map = MapOf(call->words[1]);
    SetDistinct(result, (volatile uint64_t*)(map->address + Number(call, 2) * PAGE_BYTES));
  }
}

static void ReadWord(const struct Call* call, struct Result* result) {
  uint64_t value = 0;
  const off_t offset = Number(call, 2) * PAGE_BYTES + Number(call, 3) * WORD_BYTES;
  const ssize_t count = pread(FileOf(call->words[1])->fd, &value, sizeof(value), offset);
  if (count < 0)
    SetError(result);
  else if (count < (ssize_t)sizeof(value))
    strcpy(result->text, "end");
  else
    SetValue(result, value);
}

static void WriteWord(const struct Call* call, struct Result* result) {
  const uint64_t value = (uint64_t)Number(call, 4);
  const off_t offset = Number(call, 2) * PAGE_BYTES + Number(call, 3) * WORD_BYTES;
  SetStatus(result, pwrite(FileOf(call->words[1])->fd, &value, sizeof(value), offset));
}

static bool SetTime(struct Result* result, int fd) {
  struct stat attributes;
  if (fstat(fd, &attributes) != 0) {
    SetError(result);
    return false;
  }
  const struct timespec* mtime = &attributes.st_mtim;
  SetValue(result, (uint64_t)mtime->tv_sec * 1000000 + (uint64_t)mtime->tv_nsec / 1000);
  return true;
}

static void Times(const struct Call* call, struct Result* result) {
  SetTime(result, FileOf(call->words[1])->fd);
}

static void SyncFile(const struct Call* call, struct Result* result) {
  const int fd = FileOf(call->words[1])->fd;
  if (SetTime(result, fd) && fsync(fd) != 0) SetError(result);
}

static void ScanFile(const struct Call* call, struct Result* result) {
  uint64_t words[WORDS_PER_PAGE] = {0};
  const int fd = FileOf(call->words[1])->fd;
  const ssize_t count = pread(fd, words, sizeof(words), Number(call, 2) * PAGE_BYTES);
  if (count < 0)
    SetError(result);
  else if (count < (ssize_t)sizeof(words))
    strcpy(result->text, "end");
  else
    SetDistinct(result, words);
}

static void Fill(const struct Call* call, struct Result* result) {
  const size_t length = (size_t)Number(call, 3) * PAGE_BYTES;
  uint64_t* words = malloc(length);
  if (words == NULL) Stop("no memory", "fill");
  for (size_t at = 0; at < length / WORD_BYTES; at++) words[at] = (uint64_t)Number(call, 4);
  const int fd = FileOf(call->words[1])->fd;
  const ssize_t count = pwrite(fd, words, length, Number(call, 2) * PAGE_BYTES);
  free(words);
  SetStatus(result, count);
}

static void ChangeMap(const struct Call* call, int mode, struct Result* result) {
  const off_t offset = Number(call, 2) * PAGE_BYTES;
  const off_t length = Number(call, 3) * PAGE_BYTES;
  SetStatus(result, fallocate(FileOf(call->words[1])->fd, mode, offset, length));
}

static void SyncMap(const struct Call* call, struct Result* result) {
  const struct Map* map = MapOf(call->words[1]);
  char* address = map->address + Number(call, 2) * PAGE_BYTES;
  SetStatus(result, msync(address, (size_t)Number(call, 3) * PAGE_BYTES, MS_SYNC));
}

static void Commit(const struct Call* call, struct Result* result) {
  (void)call;
  const int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  SetStatus(result, fd < 0 ? -1 : fsync(fd));
  close(fd);
}

void Run(const struct Call* call, struct Result* result) {
  const char* name = call->words[0];
  static const struct {
    const char* name;
    int mode;
  } changes[] = {
      {"allocate", 0},
      {"punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
      {"zero", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE},
      {"collapse", FALLOC_FL_COLLAPSE_RANGE},
      {"insert", FALLOC_FL_INSERT_RANGE},
  };
  static const struct {
    const char* name;
    void (*run)(const struct Call*, struct Result*);
  } calls[] = {
      {"load", Access},     {"store", Access},    {"persist", Access},    {"scan", Access},
      {"read", ReadWord},   {"write", WriteWord}, {"scanfile", ScanFile}, {"fill", Fill},
      {"close", CloseFile}, {"map", MapFile},     {"unmap", UnmapFile},   {"msync", SyncMap},
      {"fork", Fork},       {"commit", Commit},   {"fsync", SyncFile},    {"times", Times},
  };
  for (size_t at = 0; at < sizeof(calls) / sizeof(calls[0]); at++) {
    if (strcmp(calls[at].name, name) == 0) return calls[at].run(call, result);
  }
  for (size_t at = 0; at < sizeof(changes) / sizeof(changes[0]); at++) {
    if (strcmp(changes[at].name, name) == 0) return ChangeMap(call, changes[at].mode, result);
  }
  if (strcmp(name, "create") == 0) {
    OpenFile(call, O_CREAT | O_EXCL, result);
  } else if (strcmp(name, "open") == 0) {
    OpenFile(call, 0, result);
  } else if (strcmp(name, "unlink") == 0) {
    SetStatus(result, unlink(call->words[1]));
  } else if (strcmp(name, "truncate") == 0) {
    SetStatus(result, ftruncate(FileOf(call->words[1])->fd, Number(call, 2) * PAGE_BYTES));
  } else {
    Stop("no call", name);
  }
}
