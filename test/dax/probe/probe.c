// Probes what mappings of files do in a directory and compares it with what xfs on a DAX device
// does.
//
//   probe [--crash-command CMD] [--only GROUP] DIRECTORY
//
// Prints `behaviour | expected | seen | ok` lines, then counts. Exit status 0: all as expected; 1:
// not; 2: usage. CMD cuts the power of the mount and brings it back; without it the crash group is
// left out. The directory is left as empty as it was.
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kProbeSecondsMax = 30, kTextMax = 512, kTexts = 4 };

const char* crash_command;
const char* directory;

static const struct group {
  const char* name;
  const struct probe* probes;
} kGroups[] = {
    {"mapping", kMappingProbes}, {"space", kSpaceProbes}, {"change", kChangeProbes},
    {"life", kLifeProbes},       {"sync", kSyncProbes},   {"crash", kCrashProbes},
};

// In shared memory, so that rows of the probes' processes count.
static struct counts {
  int right, wrong, not_here;
} * counts;

// --- rows ---

static bool Matches(const char* expected, const char* seen) {
  size_t length = strlen(seen);
  for (const char* at = expected;;) {
    const char* end = strstr(at, " or ");
    size_t one = end == NULL ? strlen(at) : (size_t)(end - at);
    if (one == length && memcmp(at, seen, length) == 0) return true;
    if (end == NULL) return false;
    at = end + 4;
  }
}

void Row(const char* behaviour, const char* expected, const char* format, ...) {
  char seen[kTextMax];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(seen, sizeof seen, format, arguments);
  va_end(arguments);
  bool right = Matches(expected, seen);
  (*(right ? &counts->right : &counts->wrong))++;
  printf("%-72s | %-24s | %-24s | %s\n", behaviour, expected, seen, right ? "yes" : "NO");
  fflush(stdout);
}

void NotHere(const char* behaviour, const char* reason) {
  counts->not_here++;
  printf("%-72s | %-24s | %s\n", behaviour, "not here", reason);
  fflush(stdout);
}

void Fail(const char* format, ...) {
  char text[kTextMax];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  Row("(a step of the probe)", "works", "%s: %s", text, strerror(errno));
  exit(0);
}

const char* Result(long result) { return result < 0 ? strerrorname_np(errno) : "OK"; }

static char* Text(void) {
  static char texts[kTexts][kTextMax];
  static int turn;
  return texts[turn++ % kTexts];
}

// --- files ---

int Open(const char* path, int flags) {
  int file = open(path, flags | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) Fail("open %s", path);
  return file;
}

int NewHole(const char* path, off_t size) {
  int file = Open(path, O_RDWR | O_TRUNC);
  if (ftruncate(file, size) < 0) Fail("ftruncate %s", path);
  return file;
}

int NewWritten(const char* path, off_t size, int byte) {
  int file = Open(path, O_RDWR | O_TRUNC);
  char* bytes = malloc((size_t)size);
  memset(bytes, byte, (size_t)size);
  if (pwrite(file, bytes, (size_t)size, 0) != size || fsync(file) < 0) Fail("write %s", path);
  free(bytes);
  return file;
}

char* Map(int file, size_t length, int protection, int flags) {
  char* map = mmap(NULL, length, protection, flags, file, 0);
  if (map == MAP_FAILED) Fail("mmap of %zu bytes, flags %x", length, flags);
  return map;
}

char* MapShared(int file, size_t length) {
  return Map(file, length, PROT_READ | PROT_WRITE, MAP_SHARED);
}

// The map ioctl of SPEC.md.
struct extent_map {
  uint64_t start;
  uint32_t count, has_more;
  uint64_t size, reserved;
  struct {
    uint64_t file_page, region_page, page_count, state;
  } extents[127];
};

const char* Extents(int file) {
  struct extent_map map = {0};
  if (ioctl(file, _IOWR('D', 1, char[4096]), &map) < 0) return "unknown";
  if (map.count == 0) return "none";
  char* text = Text();
  int at = 0;
  for (uint32_t i = 0; i < map.count && at < kTextMax - 64; i++) {
    uint64_t from = map.extents[i].file_page, to = from + map.extents[i].page_count;
    // What continues in the file is one, wherever it lies.
    while (i + 1 < map.count && map.extents[i + 1].file_page == to &&
           map.extents[i + 1].state == map.extents[i].state)
      to += map.extents[++i].page_count;
    at += sprintf(text + at, "%s[%llu,%llu)%c", at == 0 ? "" : " ", (unsigned long long)from,
                  (unsigned long long)to, map.extents[i].state == 1 ? 'W' : 'U');
  }
  return text;
}

const char* Runs(const char* bytes, size_t length) {
  char* text = Text();
  int at = 0;
  text[0] = 0;
  for (size_t i = 0; i < length;) {
    size_t run = 1;
    while (i + run < length && bytes[i + run] == bytes[i]) run++;
    if (at > 80) {
      strcpy(text + at, " ...");
      break;
    }
    unsigned char byte = (unsigned char)bytes[i];
    const char* separator = at == 0 ? "" : " ";
    if (byte == 0)
      at += sprintf(text + at, "%s0*%zu", separator, run);
    else if (byte > 32 && byte < 127)
      at += sprintf(text + at, "%s%c*%zu", separator, byte, run);
    else
      at += sprintf(text + at, "%s%02x*%zu", separator, byte, run);
    i += run;
  }
  return text;
}

const char* FileRuns(const char* path) {
  static char bytes[1 << 20];
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return strerrorname_np(errno);
  ssize_t length = read(file, bytes, sizeof bytes);
  const char* text = length < 0 ? strerrorname_np(errno) : Runs(bytes, (size_t)length);
  close(file);
  return text;
}

// --- accesses ---

static sigjmp_buf touch_return;
static siginfo_t touch_signal;
static void OnSignal(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  touch_signal = *info;
  siglongjmp(touch_return, 1);
}

const char* Touch(volatile char* address, bool stores, int byte) {
  struct sigaction action = {.sa_sigaction = OnSignal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  struct sigaction old_bus, old_segv;
  sigaction(SIGBUS, &action, &old_bus);
  sigaction(SIGSEGV, &action, &old_segv);
  char* text = Text();
  if (sigsetjmp(touch_return, 1) == 0) {
    if (stores)
      *address = (char)byte;
    else
      (void)*address;
    strcpy(text, "OK");
  } else {
    const char* name = touch_signal.si_signo == SIGBUS ? "SIGBUS" : "SIGSEGV";
    const char* code = touch_signal.si_signo == SIGBUS && touch_signal.si_code == BUS_ADRERR
                           ? "BUS_ADRERR"
                           : "other code";
    bool same = touch_signal.si_addr == (void*)address;
    sprintf(text, "%s %s%s", name, code, same ? "" : " other address");
  }
  sigaction(SIGBUS, &old_bus, NULL);
  sigaction(SIGSEGV, &old_segv, NULL);
  return text;
}

// --- processes ---

int InChild(int (*work)(void*), void* argument) {
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) Fail("fork");
  if (child == 0) _exit(work(argument));
  int status = 0;
  if (waitpid(child, &status, 0) < 0) Fail("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

const char* Shell(const char* format, ...) {
  char command[2 * kTextMax] = "unset LD_PRELOAD; ";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(command + strlen(command), sizeof command - 64, format, arguments);
  va_end(arguments);
  FILE* pipe = popen(command, "re");
  if (pipe == NULL) Fail("popen");
  char* text = Text();
  text[0] = 0;
  if (fgets(text, kTextMax, pipe) != NULL) text[strcspn(text, "\n")] = 0;
  char rest[kTextMax];
  while (fgets(rest, sizeof rest, pipe) != NULL) continue;
  pclose(pipe);
  return text;
}

static void RunProbe(const struct probe* probe) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(kProbeSecondsMax);
    probe->run();
    exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) Fail("fork");
  if (status == 0) return;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    Row(probe->name, "ends", "hangs");
  else
    Row(probe->name, "ends", "status %x", (unsigned)status);
}

static int Usage(void) {
  fprintf(stderr, "usage: probe [--crash-command CMD] [--only GROUP] DIRECTORY\n");
  return 2;
}

int main(int count, char** words) {
  const char* only = NULL;
  int at = 1;
  for (; at + 1 < count && words[at][0] == '-'; at += 2) {
    if (strcmp(words[at], "--crash-command") == 0)
      crash_command = words[at + 1];
    else if (strcmp(words[at], "--only") == 0)
      only = words[at + 1];
    else
      return Usage();
  }
  if (at + 1 != count || chdir(words[at]) < 0) return Usage();
  directory = getcwd(NULL, 0);
  counts = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  printf("%-72s | %-24s | %-24s | %s\n", "behaviour", "expected", "seen", "ok");
  for (size_t i = 0; i < sizeof kGroups / sizeof kGroups[0]; i++) {
    if (only != NULL && strcmp(only, kGroups[i].name) != 0) continue;
    if (kGroups[i].probes == kCrashProbes && crash_command == NULL) continue;
    for (const struct probe* probe = kGroups[i].probes; probe->run != NULL; probe++) {
      if (mkdir("probe", 0755) < 0 || chdir("probe") < 0) Fail("mkdir probe");
      RunProbe(probe);
      if (chdir("..") < 0) Fail("chdir");
      Shell("rm -rf '%s/probe'", directory);
    }
  }
  printf("%d as expected, %d not, %d not here\n", counts->right, counts->wrong, counts->not_here);
  return counts->wrong == 0 ? 0 : 1;
}
