/* Private mappings: pages of the program's own, kept and dropped; fork. */
#include "shim_program.h"

#include <linux/falloc.h>
#include <spawn.h>

static void EndFile(size_t page) {
  const int fd = OpenFile(O_RDWR);
  Must(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)(page * PAGE), PAGE) == 0, "the end moves");
  close(fd);
}

static void ResetFile(void) {
  const int fd = OpenFile(O_RDWR);
  Must(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, PAGE) == 0, "all faults again");
  close(fd);
}

static void Punch(size_t page) {
  char* at = Map(1, RW, MAP_SHARED, page);
  Must(madvise(at, PAGE, MADV_REMOVE) == 0, "punch");
  munmap(at, PAGE);
}

static void ShowHuge(size_t page, size_t pages) {
  const int fd = OpenFile(O_RDWR);
  const off_t offset = (off_t)(page * PAGE);
  Must(fallocate(fd, FALLOC_FL_INSERT_RANGE, offset, (off_t)(pages * PAGE)) == 0, "one entry");
  close(fd);
}

static void Remapped(void) {
  char* own = Map(8, RW, MAP_PRIVATE, 0);
  own[0] = 'P';
  own[5 * PAGE] = 'Q';
  Equal(own[PAGE], 's', "a private mapping to be moved");
  char* target = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* moved = mremap(own, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
  Ok(moved == target && moved[0] == 'P' && moved[5 * PAGE] == 'Q' && moved[PAGE] == 's',
     "moved, its own pages go with it");
  char* kept = mremap(moved, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  Ok(kept != MAP_FAILED && kept[0] == 'P' && moved[0] == 's',
     "MREMAP_DONTUNMAP leaves the file's pages behind");
  errno = 0;
  Ok(mremap(kept, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL,
     "a duplicate is EINVAL");
}

void PrivateCases(void) {
  char* shared = Map(8, RW, MAP_SHARED, 0);
  char* own = Map(8, RW, MAP_PRIVATE, 0);
  for (size_t i = 0; i < 8; i++) shared[i * PAGE] = 's';
  Equal(own[0], 's', "a private mapping shows the file");
  shared[0] = 't';
  Equal(own[0], 't', "and later stores to it");
  own[0] = 'P';
  Ok(shared[0] == 't' && own[0] == 'P' && own[1] == shared[1], "a store makes the page its own");
  shared[0] = 'u';
  Equal(own[0], 'P', "later stores to the file are not seen there");
  shared[PAGE] = 'v';
  Equal(own[PAGE], 'v', "but in other pages");
  shared[0] = 's';
  shared[PAGE] = 's';
  ResetFile();
  Ok(own[0] == 'P' && own[PAGE] == 's' && shared[0] == 's', "own pages stay when all faults again");
  own[1] = 'R';
  Ok(own[0] == 'P' && own[1] == 'R', "and can be stored to");
  Punch(2);
  own[3 * PAGE] = 'Q';
  Punch(3);
  Ok(own[2 * PAGE] == 0 && own[3 * PAGE] == 'Q' && shared[3 * PAGE] == 0,
     "a punched page is a hole, one's own stays");
  Punch(5);
  Equal(own[5 * PAGE], 0, "a hole that was only loaded");
  shared[5 * PAGE] = 's';
  Equal(own[5 * PAGE], 's', "is the file's when somebody stores to it");
  own[2 * PAGE] = 'H';
  Ok(own[2 * PAGE] == 'H' && shared[2 * PAGE] == 0, "a store to a hole stays one's own");
  Ok(mprotect(own, 8 * PAGE, PROT_NONE) == 0, "PROT_NONE");
  ResetFile();
  Ok(mprotect(own, 8 * PAGE, RW) == 0 && own[0] == 'P' && own[2 * PAGE] == 'H' &&
         own[4 * PAGE] == 's',
     "own pages stay while nothing may be read");
  Ok(madvise(own, 2 * PAGE, MADV_DONTNEED) == 0 && own[0] == 's' && own[2 * PAGE] == 'H',
     "MADV_DONTNEED drops own pages");
  own[0] = 'P';
  own[6 * PAGE] = 'Z';
  EndFile(4);
  Ok(Load(own + 6 * PAGE) == SIGBUS && Load(shared + 5 * PAGE) == SIGBUS && own[0] == 'P' &&
         own[2 * PAGE] == 'H',
     "past the end everything is SIGBUS, also own pages");
  Load(shared + 5 * PAGE + 7);
  Ok(fault_address == shared + 5 * PAGE + 7, "with the address itself");
  ResetFile();
  Ok(own[6 * PAGE] == 's' && shared[6 * PAGE] == 's' && own[0] == 'P', "it is there again");
  ShowHuge(6, 2);
  Ok(own[6 * PAGE] == 's' && own[7 * PAGE] == 's', "an entry of 2 MiB where no page is its own");
  own[6 * PAGE] = 'K';
  ShowHuge(5, 3);
  Ok(own[6 * PAGE] == 'K' && own[5 * PAGE] == 's' && own[7 * PAGE] == 's',
     "an entry of 2 MiB does not cover a page of its own");
  Remapped();
}

static int InChild(bool good) {
  fflush(stdout);
  _exit(good ? 0 : 1);
}

void ForkCases(void) {
  char* shared = Map(8, RW, MAP_SHARED, 0);
  char* own = Map(8, RW, MAP_PRIVATE, 0);
  char* gone = Map(3, RW, MAP_SHARED, 0);
  for (size_t i = 0; i < 8; i++) shared[i * PAGE] = 's';
  own[0] = 'P';
  own[5 * PAGE] = 'Q';
  Must(madvise(gone + PAGE, PAGE, MADV_DONTFORK) == 0, "MADV_DONTFORK");
  Must(mprotect(shared + PAGE, PAGE, PROT_READ) == 0, "mprotect");
  int pid = fork();
  if (pid == 0) {
    bool good = shared[0] == 's' && own[0] == 'P' && own[PAGE] == 's' && own[5 * PAGE] == 'Q';
    shared[2 * PAGE] = 'c';
    shared[7] = 'd';
    own[0] = 'C';
    own[6 * PAGE] = 'D';
    good = good && own[0] == 'C' && own[5 * PAGE] == 'Q' && own[6 * PAGE] == 'D';
    good = good && Store(shared + PAGE, 'x') == SIGSEGV;
    good = good && Load(gone + PAGE) == SIGSEGV && Load(gone + 2 * PAGE) == 0;
    good = good && msync(shared, 8 * PAGE, MS_SYNC) == 0;
    shared[3 * PAGE] = 'e';
    InChild(good);
  }
  Equal(ChildStatus(pid), 0, "a child has the mappings, and its own pages");
  Ok(shared[2 * PAGE] == 'c' && shared[7] == 'd' && shared[3 * PAGE] == 'e',
     "its stores are the file's");
  Ok(own[0] == 'P' && own[6 * PAGE] == 's', "its own pages are not the parent's");
  Equal(gone[PAGE], 's', "the parent keeps what was not to be inherited");
  own[0] = 'p';
  pid = fork();
  if (pid == 0) {
    const int grandchild = fork();
    if (grandchild == 0) {
      shared[4 * PAGE] = 'g';
      InChild(shared[0] == 's' && own[0] == 'p' && own[5 * PAGE] == 'Q' && gone[0] == 's');
    }
    InChild(ChildStatus(grandchild) == 0 && shared[4 * PAGE] == 'g');
  }
  Equal(ChildStatus(pid), 0, "a child of a child");
  pid = fork();
  if (pid == 0) {
    const int fd = OpenFile(O_RDWR);
    char* more = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    InChild(more != MAP_FAILED && more[0] == 's' && munmap(shared, 8 * PAGE) == 0);
  }
  Equal(ChildStatus(pid), 0, "a child maps and unmaps");
  Equal(shared[0], 's', "which is nothing to the parent");
  pid = vfork();
  if (pid == 0) _exit(shared[0] == 's' ? 7 : 1);
  Equal(ChildStatus(pid), 7, "vfork");
  char* arguments[] = {"true", NULL};
  extern char** environ;
  Must(posix_spawnp(&pid, "true", NULL, NULL, arguments, environ) == 0, "posix_spawn");
  Equal(ChildStatus(pid), 0, "posix_spawn");
  for (size_t page = 0; page < 2; page++) {
    volatile char* const at = page == 0 ? shared : own;
    pid = (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) syscall(SYS_exit_group, at[0]);
    Equal(ChildStatus(pid), 128 + SIGSEGV, "what nobody serves is not there");
  }
  const int file = OpenFile(O_RDWR);
  pid = (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) {
    alarm(5);
    const bool is_refused = mmap(NULL, PAGE, RW, MAP_SHARED, file, 0) == MAP_FAILED;
    syscall(SYS_exit_group, is_refused && errno == EIO ? 0 : 1);
  }
  Equal(ChildStatus(pid), 0, "nor may it map, and it does not wait for ever");
  pid = fork();
  if (pid == 0) execlp("true", "true", NULL);
  Equal(ChildStatus(pid), 0, "exec");
  Equal(WEXITSTATUS(system("exit 9")), 9, "system");
  pid = fork();
  if (pid == 0) {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    bool good = msync(shared, PAGE, MS_SYNC) == 0;
    shared[6 * PAGE] = 'k';
    InChild(good && own[7 * PAGE] == 's');
  }
  Equal(ChildStatus(pid), 0, "a program that closes every descriptor");
  Equal(shared[6 * PAGE], 'k', "and stores");
}
