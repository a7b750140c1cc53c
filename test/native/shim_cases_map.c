/* mmap: what is mapped, where, and what the kernel would refuse. */
#include "shim_program.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

// Pages of addresses that the process has.
static long AddressPages(void) {
  long pages = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  Must(file != NULL && fscanf(file, "%ld", &pages) == 1, "statm");
  fclose(file);
  return pages;
}

void MapCases(void) {
  char* a = Map(8, RW, MAP_SHARED, 0);
  char* b = Map(8, RW, MAP_SHARED, 0);
  Equal(a[5], 0, "a hole reads as zeroes");
  Equal(b[5], 0, "in another mapping too");
  a[5] = 'x';
  Equal(b[5], 'x', "a store is seen through the other mapping, which showed a hole");
  b[7] = 'b';  // a page that it has read: the test looks whether this store was told
  Equal(a[7], 'b', "a store to a page that was read");
  b[PAGE] = 'y';
  Equal(a[PAGE], 'y', "and the other way round");
  char byte = 0;
  int fd = OpenFile(O_RDWR | O_DIRECT);
  Must(pread(fd, &byte, 1, 5) == 1, "pread");
  Equal(byte, 'x', "pread sees it");
  Must(pwrite(fd, "z", 1, 6) == 1, "pwrite");
  Equal(a[6], 'z', "a load sees what pwrite wrote");

  char* sync = mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
  Ok(sync != MAP_FAILED && sync[5] == 'x', "MAP_SHARED_VALIDATE with MAP_SYNC");
  sync = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_SYNC, fd, 0);
  Ok(sync != MAP_FAILED && sync[5] == 'x', "MAP_SHARED with MAP_SYNC");
  char* wide = mmap64(NULL, PAGE, RW, MAP_SHARED, fd, 0);
  Ok(wide != MAP_FAILED && wide[5] == 'x', "mmap64");
  char* odd = mmap(NULL, PAGE + 1, RW, MAP_SHARED, fd, PAGE);
  Ok(odd != MAP_FAILED && odd[0] == 'y' && Load(odd + 2 * PAGE - 1) == 0,
     "a length that is no multiple of pages");
  char* filled = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_POPULATE, fd, 0);
  Ok(filled != MAP_FAILED && filled[5] == 'x', "MAP_POPULATE");
  char* large = mmap(NULL, 1024 * PAGE, RW, MAP_SHARED, fd, 0);
  Equal((long)((uintptr_t)large % HUGE_PAGE), 0, "a long mapping is congruent to its offset");
  large[1023 * PAGE] = 'l';
  Equal(large[5], 'x', "a long mapping shows the file");
  char* later = mmap(NULL, 600 * PAGE, RW, MAP_SHARED, fd, 100 * PAGE);
  Equal((long)((uintptr_t)later % HUGE_PAGE), 100 * PAGE, "also one that begins later");

  const long size = AddressPages();
  for (int i = 0; i < 4; i++) Must(munmap(Map(1024, RW, MAP_SHARED, 1), 1024 * PAGE) == 0, "munmap");
  Ok(AddressPages() < size + 512, "one that is gone leaves no addresses taken");

  char* hint = (char*)(uintptr_t)0x500000000000;
  Ok(mmap(hint, PAGE, RW, MAP_SHARED, fd, 0) == hint && hint[5] == 'x', "a free hint is taken");
  char* moved = mmap(hint, PAGE, RW, MAP_SHARED, fd, 0);
  Ok(moved != MAP_FAILED && moved != hint && moved[5] == 'x', "one in use is not");
  errno = 0;
  void* none = mmap(hint, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
  Ok(none == MAP_FAILED && errno == EEXIST, "MAP_FIXED_NOREPLACE over something is EEXIST");
  Ok(mmap(hint + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, PAGE) == hint + PAGE &&
         hint[PAGE] == 'y',
     "MAP_FIXED_NOREPLACE over nothing");
  Ok(mmap(hint, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE) == hint && hint[0] == 'y',
     "MAP_FIXED over a mapping of the mount");
  Ok(mmap(hint, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == hint && hint[0] == 0,
     "memory over a mapping of the mount");
  hint[0] = 'm';
  Ok(mmap(hint, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == hint && hint[5] == 'x',
     "a mapping of the mount over memory");
  const int other = open(other_path, O_RDWR);
  Ok(mmap(hint, PAGE, RW, MAP_SHARED | MAP_FIXED, other, 0) == hint && hint[0] == 'o' &&
         hint[PAGE] == 'y',
     "a file elsewhere over a mapping of the mount");
  errno = 0;
  none = mmap(hint + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, other, 1);
  Ok(none == MAP_FAILED && errno == EINVAL && hint[PAGE] == 'y',
     "a refused MAP_FIXED leaves what was there");

  char* closed = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED, fd, 0);
  Equal(Load(closed), SIGSEGV, "PROT_NONE");
  Must(mprotect(closed, PAGE, PROT_READ) == 0, "mprotect");
  Equal(closed[5], 'x', "made readable, it shows the file");
  const char code[] = "\xb8\x2a\x00\x00\x00\xc3";  // mov eax, 42; ret
  memcpy(a + 2 * PAGE, code, sizeof(code));
  char* run = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 2 * PAGE);
  Ok(run != MAP_FAILED && ((int (*)(void))(uintptr_t)run)() == 42, "PROT_EXEC");
  close(fd);
  Equal(a[5], 'x', "the descriptor may be closed");
  char maps[65536] = "";
  const int list = open("/proc/self/maps", O_RDONLY);
  for (size_t at = 0; at < sizeof(maps) - 1;) {
    const ssize_t count = read(list, maps + at, sizeof(maps) - 1 - at);
    if (count <= 0) break;
    at += (size_t)count;
  }
  Ok(strstr(maps, file_path) != NULL, "the path shows in /proc/self/maps");
}

static void Refused(int fd, size_t length, int prot, int flags, off_t offset, int wanted,
                    const char* name) {
  errno = 0;
  void* got = mmap(NULL, length, prot, flags, fd, offset);
  Equal(got == MAP_FAILED ? errno : 0, wanted, name);
}

void ErrorCases(void) {
  const int both = OpenFile(O_RDWR);
  const int reads = OpenFile(O_RDONLY);
  const int writes = OpenFile(O_WRONLY);
  const int path = OpenFile(O_PATH);
  const int folder = open(".", O_RDONLY);
  Refused(both, PAGE, RW, MAP_SHARED, 1, EINVAL, "an offset within a page");
  Refused(both, 0, RW, MAP_SHARED, 0, EINVAL, "no length");
  Refused(both, PAGE, RW, 0, 0, EINVAL, "neither shared nor private");
  Refused(both, PAGE, RW, MAP_SHARED_VALIDATE | 0x400000, 0, EOPNOTSUPP, "an unknown flag");
  Refused(both, PAGE, RW, MAP_SHARED | 0x400000, 0, 0, "an unknown flag of MAP_SHARED");
  Refused(both, (size_t)-PAGE, RW, MAP_SHARED, 0, ENOMEM, "more than there are addresses");
  Refused(both, (size_t)1 << 50, RW, MAP_SHARED, 0, ENOMEM, "more than a process may have");
  Refused(both, PAGE, RW, MAP_SHARED, INT64_MAX & ~(long)(PAGE - 1), EOVERFLOW, "past all files");
  Refused(reads, PAGE, RW, MAP_SHARED, 0, EACCES, "writable by a descriptor for reading");
  Refused(reads, PAGE, PROT_READ, MAP_SHARED, 0, 0, "readable by one for reading");
  Refused(reads, PAGE, RW, MAP_PRIVATE, 0, 0, "private and writable by one for reading");
  Refused(writes, PAGE, PROT_WRITE, MAP_SHARED, 0, EACCES, "by one for writing");
  Refused(path, PAGE, PROT_READ, MAP_SHARED, 0, EBADF, "by an O_PATH descriptor");
  Refused(-1, PAGE, PROT_READ, MAP_SHARED, 0, EBADF, "by none");
  Refused(folder, PAGE, PROT_READ, MAP_SHARED, 0, ENODEV, "a directory");
  int ends[2];
  Must(pipe(ends) == 0, "pipe");
  Refused(ends[0], PAGE, PROT_READ, MAP_SHARED, 0, ENODEV, "a pipe");
  char* shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reads, 0);
  errno = 0;
  Ok(mprotect(shared, PAGE, RW) == -1 && errno == EACCES, "made writable, by one for reading");
  char* own = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, reads, 0);
  Ok(mprotect(own, PAGE, RW) == 0 && Store(own, 'p') == 0 && own[0] == 'p',
     "the same of a private mapping");
  errno = 0;
  Ok(mmap((void*)1, PAGE, RW, MAP_SHARED | MAP_FIXED, both, 0) == MAP_FAILED && errno == EINVAL,
     "MAP_FIXED within a page");
}
