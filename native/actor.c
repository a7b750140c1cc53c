// An actor of `fauxdax race --live`: one process of a scenario, under `fauxdax run`. It lives for
// many rounds. In each it opens and maps the round's files, then runs the scripts of its threads,
// which all begin at one moment of the monotonic clock that the caller names; afterwards it looks
// at the files as they are and lets go of them. tools/live/actor.ts is the caller; a mistake of its
// ends the actor.
//
// Requests are lines on descriptor 0, words with spaces between. A call is carried out at once by
// the main thread and answered by one line; `op` only notes a call for `go`. Answers begin with
// `=`, what a call of a script came to with `r`. Each is one write, so that those of a child of
// fork, which has the same descriptor, stay whole. Numbers are decimal; pages count 4 KiB, words 8
// bytes, times ns.
//
//   create FILE PATH        open FILE PATH        close FILE        unlink PATH
//   map MAP FILE PAGE PAGES shared|private|sync    unmap MAP
//   load MAP PAGE WORD      store MAP PAGE WORD VALUE      persist MAP PAGE WORD
//   scan MAP PAGE           the distinct words of a page, by loads
//   read FILE PAGE WORD     write FILE PAGE WORD VALUE     scanfile FILE PAGE
//   fill FILE PAGE PAGES VALUE      allocate|punch|zero|collapse|insert FILE PAGE PAGES
//   truncate FILE PAGES     msync MAP PAGE PAGES
//   fsync FILE              answers the file's mtime before, in us; times FILE: only that
//   commit                  the fsync of a directory
//   fork THREAD             a child runs the script of that thread, and ends
//   op THREAD AT_NS CALL...      go START_NS    to which `= done` is the answer
//
// A call that fails answers the name of its errno; an access that meets SIGBUS answers SIGBUS.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096L
#define HUGE_BYTES (2L << 20)
#define WORD_BYTES 8L
#define WORDS_PER_PAGE (PAGE_BYTES / WORD_BYTES)

enum {
  kNameBytesMax = 64,
  kNamedMax = 32,  // files, and mappings
  kThreadsMax = 16,
  kCallsMax = 64,  // in a script
  kWordsMax = 8,   // in a line
  kLineBytesMax = 1024,
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

struct Call {
  char line[kLineBytesMax];  // words, each ended by a zero byte
  const char* words[kWordsMax];
  int word_count;
  int64_t at_ns;  // not before, from the start
};

struct Script {
  struct Call calls[kCallsMax];
  int call_count;
  int number;  // the caller's of the thread
  bool is_forked;
};

static struct File files[kNamedMax];
static struct Map maps[kNamedMax];
static struct Script scripts[kThreadsMax];
static int64_t start_ns;
static _Thread_local sigjmp_buf bus_error;

static void Stop(const char* why, const char* what) {
  fprintf(stderr, "actor: %s: %s\n", why, what);
  _exit(2);
}

static int64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void SleepUntil(int64_t ns) {
  const struct timespec until = {.tv_sec = ns / 1000000000L, .tv_nsec = ns % 1000000000L};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
  }
}

static void Say(const char* format, ...) __attribute__((format(printf, 1, 2)));

static void Say(const char* format, ...) {
  char line[kLineBytesMax];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  if (length >= (int)sizeof(line)) Stop("a line is too long", line);
  // The caller is gone: so are we.
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(0);
}

static void OnBusError(int signal) {
  (void)signal;
  siglongjmp(bus_error, 1);
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

static long long Number(const struct Call* call, int word) {
  if (word >= call->word_count) Stop("too few words after", call->words[0]);
  return strtoll(call->words[word], NULL, 10);
}

// What a call came to, as text.
struct Result {
  char text[kLineBytesMax / 2];
};

static void SetError(struct Result* result) {
  const char* name = strerrorname_np(errno);
  snprintf(result->text, sizeof(result->text), "%s", name == NULL ? "ERROR" : name);
}

static void SetStatus(struct Result* result, long long status) {
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

static void RunScript(const struct Script* script);

static void Fork(const struct Call* call, struct Result* result) {
  const int number = (int)Number(call, 1);
  if (number >= kThreadsMax) Stop("no such thread", call->words[1]);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    // Whoever waits for our results waits for the parent.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    RunScript(&scripts[number]);
    _exit(0);
  }
  SetStatus(result, child);
}

static void Run(const struct Call* call, struct Result* result) {
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

static void RunScript(const struct Script* script) {
  for (int at = 0; at < script->call_count; at++) {
    const struct Call* call = &script->calls[at];
    SleepUntil(start_ns + call->at_ns);
    struct Result result;
    const int64_t begin_ns = NowNs();
    Run(call, &result);
    const int64_t end_ns = NowNs();
    Say("r %d %d %lld %lld %s\n", script->number, at, (long long)begin_ns, (long long)end_ns,
        result.text);
  }
}

static void* RunThread(void* script) {
  RunScript(script);
  return NULL;
}

// Threads whose script a fork runs have none here.
static void Go(const struct Call* call) {
  start_ns = Number(call, 1);
  pthread_t threads[kThreadsMax];
  bool is_started[kThreadsMax] = {false};
  for (int at = 0; at < kThreadsMax; at++) {
    if (scripts[at].call_count == 0 || scripts[at].is_forked) continue;
    if (pthread_create(&threads[at], NULL, RunThread, &scripts[at]) != 0) Stop("no thread", "go");
    is_started[at] = true;
  }
  for (int at = 0; at < kThreadsMax; at++) {
    if (is_started[at]) pthread_join(threads[at], NULL);
  }
  while (wait(NULL) > 0 || errno == EINTR) {
  }
  memset(scripts, 0, sizeof(scripts));
  Say("= done\n");
}

// @return false for a line without words
static bool Split(struct Call* call, const char* text) {
  *call = (struct Call){.word_count = 0};
  if (strlen(text) >= kLineBytesMax) Stop("a line is too long", text);
  strcpy(call->line, text);
  char* rest = NULL;
  for (char* word = strtok_r(call->line, " \n", &rest); word != NULL;
       word = strtok_r(NULL, " \n", &rest)) {
    if (call->word_count == kWordsMax) Stop("too many words", text);
    call->words[call->word_count++] = word;
  }
  return call->word_count > 0;
}

// op THREAD AT_NS CALL...
static void Note(const char* text) {
  int number = 0;
  long long at_ns = 0;
  int used = 0;
  if (sscanf(text, "op %d %lld %n", &number, &at_ns, &used) != 2) Stop("not understood", text);
  if (number < 0 || number >= kThreadsMax) Stop("no such thread", text);
  struct Script* script = &scripts[number];
  if (script->call_count == kCallsMax) Stop("a script is too long", text);
  struct Call* call = &script->calls[script->call_count++];
  if (!Split(call, text + used)) Stop("not understood", text);
  call->at_ns = at_ns;
  script->number = number;
  if (strcmp(call->words[0], "fork") == 0) {
    const long long child = Number(call, 1);
    if (child >= 0 && child < kThreadsMax) scripts[child].is_forked = true;
  }
}

int main(int argc, char** argv) {
  if (argc != 2 || chdir(argv[1]) != 0) Stop("usage", "actor DIR");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const struct sigaction action = {.sa_handler = OnBusError, .sa_flags = SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  static char line[kLineBytesMax];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    if (strncmp(line, "op ", 3) == 0) {
      Note(line);
      continue;
    }
    struct Call call;
    if (!Split(&call, line)) continue;
    if (strcmp(call.words[0], "go") == 0) {
      Go(&call);
      continue;
    }
    struct Result result;
    Run(&call, &result);
    Say("= %s\n", result.text);
  }
  return 0;
}
