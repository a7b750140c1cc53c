// mremap, mprotect, madvise, mlock, fork, exec, unlink, rename, close: a mapping's life.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

enum { kMadvCollapse = 25 };

static char ReadAt(int file, off_t offset) {
  char byte = 0;
  if (pread(file, &byte, 1, offset) != 1) Fail("pread");
  return byte;
}

/** Whether stores and writes at `offset` of the file and at `address` are the same. */
static const char* Coherent(int file, volatile char* address, off_t offset) {
  *address = 'p';
  if (ReadAt(file, offset) != 'p') return "store not read";
  if (pwrite(file, "q", 1, offset) != 1) return "no write";
  return *address == 'q' ? "coherent" : "write not loaded";
}

static void Remap(void) {
  int file = NewWritten("f", 8 * kPage, 'a');
  char* map = MapShared(file, 4 * kPage);
  map[0] = 'b';
  char* grown = mremap(map, 4 * kPage, 8 * kPage, MREMAP_MAYMOVE);
  Row("mremap grows", "OK", "%s", grown == MAP_FAILED ? strerrorname_np(errno) : "OK");
  if (grown == MAP_FAILED) return;
  Row("its old part", "coherent", "%s", Coherent(file, grown, 0));
  Row("its new part", "coherent", "%s", Coherent(file, grown + 6 * kPage, 6 * kPage));
  char* room = mmap(NULL, 8 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* moved = mremap(grown, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  Row("mremap moves", "OK", "%s", moved == room ? "OK" : strerrorname_np(errno));
  if (moved == MAP_FAILED) return;
  Row("where it is now", "coherent", "%s", Coherent(file, moved + 3 * kPage, 3 * kPage));
  Row("where it was", "SIGSEGV other code", "%s", Touch(grown, false, 0));
  char* twin = mremap(moved, 0, 8 * kPage, MREMAP_MAYMOVE);
  Row("mremap of no bytes makes a twin", "OK", "%s",
      twin == MAP_FAILED ? strerrorname_np(errno) : "OK");
  if (twin != MAP_FAILED) {
    Row("the twin", "coherent", "%s", Coherent(file, twin + 2 * kPage, 2 * kPage));
    Row("the first", "coherent", "%s", Coherent(file, moved + 2 * kPage, 2 * kPage));
    munmap(twin, 8 * kPage);
  }
  char* left = mremap(moved, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
  Row("mremap MREMAP_DONTUNMAP", "OK", "%s", left == MAP_FAILED ? strerrorname_np(errno) : "OK");
  if (left != MAP_FAILED) {
    Row("the new place", "coherent", "%s", Coherent(file, left + kPage, kPage));
    Row("the old place", "coherent", "%s", Coherent(file, moved + 5 * kPage, 5 * kPage));
    moved = left;
  }
  char* shrunk = mremap(moved, 8 * kPage, 2 * kPage, 0);
  Row("mremap shrinks", "OK", "%s", shrunk == moved ? "OK" : strerrorname_np(errno));
  Row("what is left", "coherent", "%s", Coherent(file, shrunk + kPage, kPage));
  Row("what is gone", "SIGSEGV other code", "%s", Touch(moved + 3 * kPage, false, 0));
}

static void Parts(void) {
  int file = NewWritten("f", 8 * kPage, 'a');
  char* map = MapShared(file, 8 * kPage);
  map[4 * kPage] = 'b';
  if (munmap(map + 2 * kPage, 2 * kPage) < 0) Fail("munmap");
  Row("a hole unmapped in the middle", "SIGSEGV other code", "%s",
      Touch(map + 2 * kPage, false, 0));
  Row("before it", "coherent", "%s", Coherent(file, map + kPage, kPage));
  Row("behind it", "coherent", "%s", Coherent(file, map + 4 * kPage, 4 * kPage));
  char* fixed = mmap(map + 5 * kPage, kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (fixed == MAP_FAILED) Fail("mmap");
  *fixed = 'z';
  Row("anonymous memory mapped over a part: the file", "a", "%c", ReadAt(file, 5 * kPage));
  Row("beside it", "coherent", "%s", Coherent(file, map + 6 * kPage, 6 * kPage));
  void* taken = mmap(map, kPage, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0);
  Row("MAP_FIXED_NOREPLACE over a mapping", "EEXIST", "%s",
      taken == MAP_FAILED ? strerrorname_np(errno) : "OK");
  char* other = mmap(map, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 7 * kPage);
  Row("MAP_FIXED of another offset over a part", "coherent", "%s",
      Coherent(file, other, 7 * kPage));
  Row("and the part beside it", "coherent", "%s", Coherent(file, map + kPage, kPage));
}

static void Protect(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  char* map = MapShared(file, 4 * kPage);
  map[0] = 'b';
  if (mprotect(map, 4 * kPage, PROT_READ) < 0) Fail("mprotect");
  Row("store after mprotect PROT_READ", "SIGSEGV other code", "%s", Touch(map, true, 'c'));
  Row("store to a page never touched", "SIGSEGV other code", "%s", Touch(map + kPage, true, 'c'));
  Row("load", "b", "%c", map[0]);
  if (mprotect(map, 4 * kPage, PROT_NONE) < 0) Fail("mprotect");
  Row("load after mprotect PROT_NONE", "SIGSEGV other code", "%s", Touch(map, false, 0));
  if (mprotect(map, 4 * kPage, PROT_READ | PROT_WRITE) < 0) Fail("mprotect");
  Row("after mprotect PROT_READ|PROT_WRITE", "coherent", "%s", Coherent(file, map, 0));
  int reader = Open("f", O_RDONLY);
  char* fixed = Map(reader, 4 * kPage, PROT_READ, MAP_SHARED);
  Row("mprotect PROT_WRITE of a shared mapping of a descriptor open for reading", "EACCES", "%s",
      Result(mprotect(fixed, kPage, PROT_READ | PROT_WRITE)));
}

static void Advice(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  char* map = MapShared(file, 4 * kPage);
  Row("madvise MADV_FREE", "EINVAL", "%s", Result(madvise(map, kPage, MADV_FREE)));
  Row("madvise MADV_WIPEONFORK", "EINVAL", "%s", Result(madvise(map, kPage, MADV_WIPEONFORK)));
  Row("madvise MADV_COLLAPSE", "EINVAL", "%s", Result(madvise(map, 4 * kPage, kMadvCollapse)));
  map[0] = 'b';
  Row("madvise MADV_DONTNEED", "OK", "%s", Result(madvise(map, 4 * kPage, MADV_DONTNEED)));
  Row("what was stored before it", "b", "%c", map[0]);
  Row("a mapping after it", "coherent", "%s", Coherent(file, map + kPage, kPage));
  char* own = Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[0] = 'x';
  if (madvise(own, kPage, MADV_DONTNEED) < 0) Fail("madvise");
  Row("MADV_DONTNEED of a private page that was stored to", "b", "%c", own[0]);
  Row("madvise MADV_WILLNEED", "OK", "%s", Result(madvise(map, kPage, MADV_WILLNEED)));
  unsigned char there[16] = {0};
  int untouched = NewWritten("g", 16 * kPage, 'a');
  char* cold = MapShared(untouched, 16 * kPage);
  int count = 0;
  if (mincore(cold, 16 * kPage, there) < 0) Fail("mincore");
  for (int i = 0; i < 16; i++) count += there[i] & 1;
  Row("mincore of an untouched mapping, of 16", "0", "%d", count);
  Row("mlock", "OK", "%s", Result(mlock(map, 4 * kPage)));
  Row("msync MS_INVALIDATE of what is locked", "OK", "%s",
      Result(msync(map, 4 * kPage, MS_SYNC | MS_INVALIDATE)));
  Row("a locked mapping", "coherent", "%s", Coherent(file, map + 2 * kPage, 2 * kPage));
  Row("munlock", "OK", "%s", Result(munlock(map, 4 * kPage)));
  Row("msync of memory that is not mapped", "ENOMEM", "%s",
      Result(msync((void*)(uintptr_t)kPage, kPage, MS_SYNC)));
  Row("msync with both MS_SYNC and MS_ASYNC", "EINVAL", "%s",
      Result(msync(map, kPage, MS_SYNC | MS_ASYNC)));
  char* ready = Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE);
  Row("MAP_POPULATE", "coherent", "%s", Coherent(file, ready + kPage, kPage));
}

struct family {
  int file;
  volatile char* map;
  volatile char* own;
};
static int InFamily(void* argument) {
  struct family* family = argument;
  if (strcmp(Coherent(family->file, family->map + kPage, kPage), "coherent") != 0) return 1;
  if (family->own[0] != 'x') return 2;
  family->own[0] = 'c';
  family->map[2 * kPage] = 'k';
  return 0;
}

static int Grandchild(void* argument) { return InChild(InFamily, argument); }

static void Fork(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  struct family family = {file, MapShared(file, 4 * kPage),
                          Map(file, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE)};
  family.own[0] = 'x';
  family.map[3 * kPage] = 'p';
  Row("a child has the mappings, the shared one coherent, the private one's own pages", "0", "%d",
      InChild(InFamily, &family));
  Row("the child's shared store", "k", "%c", family.map[2 * kPage]);
  Row("its private store is its own", "x", "%c", family.own[0]);
  Row("the parent's mapping after it ended", "coherent", "%s", Coherent(file, family.map, 0));
  Row("a grandchild", "0", "%d", InChild(Grandchild, &family));
  int status = 0;
  pid_t child = vfork();
  if (child == 0) _exit(7);
  waitpid(child, &status, 0);
  Row("vfork beside a mapping", "7", "%d", WEXITSTATUS(status));
  Row("the mapping after it", "coherent", "%s", Coherent(file, family.map, 0));
  const char* said = Shell("echo said");
  Row("posix_spawn of a program", "said", "%s", said);
}

static void Names(void) {
  int file = NewWritten("f", 4 * kPage, 'a');
  char* map = MapShared(file, 4 * kPage);
  int second = Open("f", O_RDWR);
  close(file);
  Row("after close of its descriptor", "coherent", "%s", Coherent(second, map, 0));
  if (rename("f", "g") < 0) Fail("rename");
  Row("after rename", "coherent", "%s", Coherent(second, map, 0));
  map[kPage] = 'r';
  Row("store, then read under the new name", "r", "%s",
      Shell("dd if=g bs=1 skip=4096 count=1 status=none"));
  if (unlink("g") < 0) Fail("unlink");
  Row("after unlink", "coherent", "%s", Coherent(second, map, 0));
  close(second);
  map[2 * kPage] = 'u';
  Row("after unlink and close: store, then load", "u", "%c", map[2 * kPage]);
  Row("a page never touched", "a", "%c", map[3 * kPage]);
  Row("msync", "OK", "%s", Result(msync(map, 4 * kPage, MS_SYNC)));
  Row("munmap", "OK", "%s", Result(munmap(map, 4 * kPage)));
  char line[512];
  int named = NewWritten("n", kPage, 'a');
  char* other = MapShared(named, kPage);
  other[0] = 'b';
  bool shown = false;
  FILE* maps = fopen("/proc/self/maps", "re");
  while (fgets(line, sizeof line, maps) != NULL) shown |= strstr(line, "/probe/n\n") != NULL;
  fclose(maps);
  Row("the path is in /proc/self/maps", "yes", "%s", shown ? "yes" : "no");
}

static const char* Execute(const char* path) {
  // The status of a program that cannot be executed tells the errno.
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, (char*)NULL);
    _exit(errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "OK";
  if (WIFEXITED(status)) return strerrorname_np(WEXITSTATUS(status));
  return "killed";
}

static void Exec(void) {
  Shell("cp /bin/true program");
  Row("exec of a program on the filesystem", "OK", "%s", Execute("./program"));
  int file = Open("program", O_RDWR);
  Row("exec while it is open for writing", "ETXTBSY", "%s", Execute("./program"));
  char* map = MapShared(file, kPage);
  char first = map[0];
  close(file);
  Row("exec while it is mapped shared and writable, descriptor closed", "ETXTBSY", "%s",
      Execute("./program"));
  Row("the mapping beside it", "yes", "%s", first == 0x7f && map[1] == 'E' ? "yes" : "no");
  munmap(map, kPage);
  Row("exec after munmap", "OK", "%s", Execute("./program"));
}

static sigjmp_buf back;
static volatile sig_atomic_t bus_count;
static void* bus_address;
static void OnBus(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  bus_count++;
  bus_address = info->si_addr;
  siglongjmp(back, 1);
}

static void Handlers(void) {
  int file = NewWritten("f", kPage, 'a');
  volatile char* map = MapShared(file, 2 * kPage);
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_sigaction = OnBus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGBUS, &action, NULL);
  if (sigsetjmp(back, 1) == 0) map[kPage + 17] = 'x';
  Row("a program's own SIGBUS handler, on its own stack", "1 yes", "%d %s", bus_count,
      bus_address == map + kPage + 17 ? "yes" : "no");
  struct sigaction now;
  sigaction(SIGBUS, NULL, &now);
  Row("sigaction tells the program's own handler", "yes", "%s",
      now.sa_sigaction == OnBus ? "yes" : "no");
  sigset_t all, old;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &old);
  volatile char* other = MapShared(file, kPage);
  Row("with all signals blocked", "coherent", "%s", Coherent(file, other, 0));
  sigprocmask(SIG_SETMASK, &old, NULL);
}

const struct probe kLifeProbes[] = {
    {"mremap", Remap},
    {"parts", Parts},
    {"mprotect", Protect},
    {"advice", Advice},
    {"fork", Fork},
    {"names", Names},
    {"exec", Exec},
    {"signal handlers", Handlers},
    {0},
};
