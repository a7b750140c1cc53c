/* munmap, mprotect, madvise, msync and mremap of shared mappings. */
#include "shim_program.h"

static char* Filled(size_t pages) {
  char* bytes = Map(pages, RW, MAP_SHARED, 0);
  for (size_t i = 0; i < pages; i++) bytes[i * PAGE] = (char)('a' + i % 26);
  return bytes;
}

static void Advice(void) {
  char* a = Filled(8);
  Ok(madvise(a, 8 * PAGE, MADV_DONTNEED) == 0 && a[PAGE] == 'b', "MADV_DONTNEED loses nothing");
  Ok(madvise(a, 8 * PAGE, MADV_WILLNEED) == 0, "MADV_WILLNEED");
  Ok(madvise(a, 8 * PAGE, 22) == 0, "MADV_POPULATE_READ");
  char* fresh = Map(4, RW, MAP_SHARED, 500);
  Ok(madvise(fresh, 4 * PAGE, 23) == 0 && fresh[0] == 0, "MADV_POPULATE_WRITE");
  Ok(madvise(a + PAGE, PAGE, MADV_REMOVE) == 0 && a[PAGE] == 0 && a[2 * PAGE] == 'c',
     "MADV_REMOVE punches");
  static const struct {
    int advice;
    const char* name;
  } kRefused[] = {
      {MADV_FREE, "MADV_FREE"}, {MADV_WIPEONFORK, "MADV_WIPEONFORK"}, {25, "MADV_COLLAPSE"}};
  for (size_t i = 0; i < 3; i++) {
    errno = 0;
    Ok(madvise(a, PAGE, kRefused[i].advice) == -1 && errno == EINVAL, kRefused[i].name);
  }
  char* protected = Map(1, PROT_READ, MAP_SHARED, 3);
  Ok(protected[0] == 'd' && madvise(protected, PAGE, MADV_REMOVE) == 0 && a[3 * PAGE] == 0,
     "MADV_REMOVE goes by what the descriptor may");
  const int reader = OpenFile(O_RDONLY);
  char* reads = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
  Must(reads != MAP_FAILED && close(reader) == 0, "mmap");
  errno = 0;
  Ok(madvise(reads, PAGE, MADV_REMOVE) == -1 && errno == EACCES, "MADV_REMOVE without writing");
  Ok(madvise(a, 8 * PAGE, MADV_HUGEPAGE) == 0, "harmless advice");
  Must(munmap(a + 4 * PAGE, PAGE) == 0, "munmap");
  errno = 0;
  Ok(madvise(a, 8 * PAGE, MADV_DONTNEED) == -1 && errno == ENOMEM, "with a gap, ENOMEM");
}

static void Sync(void) {
  char* a = Filled(8);
  Ok(msync(a, 8 * PAGE, MS_SYNC) == 0, "MS_SYNC");
  a[PAGE] = 'S';
  Ok(a[PAGE] == 'S' && msync(a + PAGE, 1, MS_SYNC | MS_INVALIDATE) == 0, "a store after it");
  Ok(msync(a, 8 * PAGE, MS_ASYNC) == 0, "MS_ASYNC");
  errno = 0;
  Ok(msync(a + 1, PAGE, MS_SYNC) == -1 && errno == EINVAL, "within a page is EINVAL");
  errno = 0;
  Ok(msync(a, PAGE, MS_SYNC | MS_ASYNC) == -1 && errno == EINVAL, "both ways is EINVAL");
  errno = 0;
  Ok(msync(a, PAGE, 8) == -1 && errno == EINVAL, "an unknown flag is EINVAL");
  Must(munmap(a + 4 * PAGE, PAGE) == 0, "munmap");
  errno = 0;
  Ok(msync(a, 8 * PAGE, MS_SYNC) == -1 && errno == ENOMEM, "with a gap, ENOMEM");
  const int other = open(other_path, O_RDWR);
  Must(mmap(a + 4 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, other, 0) == a + 4 * PAGE, "mmap");
  Ok(msync(a, 8 * PAGE, MS_SYNC) == 0, "with a file elsewhere in between");
}

void ChangeCases(void) {
  char* a = Filled(8);
  Ok(munmap(a + 2 * PAGE, 2 * PAGE) == 0, "munmap in the middle");
  Equal(Load(a + 2 * PAGE), SIGSEGV, "what was unmapped is not there");
  Ok(a[PAGE] == 'b' && a[4 * PAGE] == 'e', "the rest is");
  char* memory = mmap(a + 2 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  memory[0] = 'm';
  Ok(munmap(a, 8 * PAGE) == 0 && Load(a) == SIGSEGV && Load(a + 2 * PAGE) == SIGSEGV &&
         Load(a + 7 * PAGE) == SIGSEGV,
     "munmap over mappings, memory and a gap");
  a = Filled(8);
  Must(mmap(a + 2 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == a + 2 * PAGE,
       "mmap");
  const int fd = OpenFile(O_RDWR);
  Ok(mmap(a, 8 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 8 * PAGE) == a && a[0] == 0 &&
         a[2 * PAGE] == 0,
     "MAP_FIXED over mappings and memory");
  a = Filled(8);
  Ok(mprotect(a + PAGE, 2 * PAGE, PROT_READ) == 0 && Store(a + PAGE, 'X') == SIGSEGV &&
         Store(a + 3 * PAGE, 'd') == 0 && a[PAGE] == 'b',
     "mprotect in the middle");
  Ok(fault_address == a + PAGE, "the program's handler gets the address");
  Ok(mprotect(a, 8 * PAGE, RW) == 0 && Store(a + PAGE, 'B') == 0 && a[PAGE] == 'B',
     "made writable again");
  char* holes = Map(4, PROT_READ, MAP_SHARED, 200);
  Ok(holes[0] == 0 && Store(holes, 1) == SIGSEGV && mprotect(holes, PAGE, RW) == 0 &&
         Store(holes, 'h') == 0 && Map(1, PROT_READ, MAP_SHARED, 200)[0] == 'h',
     "a hole that was read is told of its first store");
  Ok(munmap(a, 0) == -1 && errno == EINVAL, "munmap of nothing is EINVAL");
  Ok(munmap(a + 1, PAGE) == -1 && errno == EINVAL, "munmap within a page is EINVAL");
  Ok(mlock(a, 8 * PAGE) == 0 && a[PAGE] == 'B' && munlock(a, 8 * PAGE) == 0, "mlock");
  if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0) {
    Equal(Map(1, RW, MAP_SHARED, 1)[0], 'B', "a mapping after mlockall shows the file");
    Must(munlockall() == 0, "munlockall");
  }
  Advice();
  Sync();
}

void RemapCases(void) {
  char* a = Filled(4);
  Ok(mremap(a, 4 * PAGE, 4 * PAGE, 0) == a, "to the same length");
  Ok(mremap(a, 4 * PAGE, 2 * PAGE, 0) == a && Load(a + 2 * PAGE) == SIGSEGV && a[PAGE] == 'b',
     "shorter");
  char* longer = mremap(a, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
  Ok(longer != MAP_FAILED && longer[0] == 'a' && longer[3 * PAGE] == 'd', "longer");
  longer[3 * PAGE] = 'D';
  Equal(Map(4, PROT_READ, MAP_SHARED, 0)[3 * PAGE], 'D', "a store to what was added is the file's");
  char* wall = mmap(longer + 4 * PAGE, PAGE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  (void)wall;
  errno = 0;
  Ok(mremap(longer, 4 * PAGE, 8 * PAGE, 0) == MAP_FAILED && errno == ENOMEM && longer[0] == 'a',
     "longer with no room, not to be moved, is ENOMEM");
  char* moved = mremap(longer, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
  Ok(moved != MAP_FAILED && moved != longer && moved[0] == 'a' && moved[3 * PAGE] == 'D' &&
         moved[7 * PAGE] == 0 && Load(longer) == SIGSEGV,
     "longer, and moved");
  char* target = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Ok(mremap(moved, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target &&
         target[3 * PAGE] == 'D' && Load(moved) == SIGSEGV,
     "to a fixed address");
  char* twin = mremap(target, 0, 8 * PAGE, MREMAP_MAYMOVE);
  Ok(twin != MAP_FAILED && twin != target && twin[3 * PAGE] == 'D' && target[3 * PAGE] == 'D',
     "a duplicate");
  twin[0] = 'T';
  Equal(target[0], 'T', "which is coherent");
  char* kept = mremap(target, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  Ok(kept != MAP_FAILED && kept[0] == 'T' && target[0] == 'T', "MREMAP_DONTUNMAP");
  char* part = mremap(kept + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, kept);
  Ok(part == kept && kept[PAGE] == 'D' && Load(kept + 2 * PAGE) == SIGSEGV, "a part, over another");
  char* memory = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memory[0] = 'm';
  Ok(mremap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, kept) == kept && kept[0] == 'm' &&
         kept[PAGE] == 'D',
     "memory over a mapping of the mount");
  Must(munmap(kept, PAGE) == 0, "munmap");
  const int fd = OpenFile(O_RDWR);
  Ok(mmap(kept, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == kept && kept[0] == 'T',
     "and a mapping of the mount there again");
  char* apart = Filled(4);
  Ok(mremap(apart + 3 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, apart + PAGE) ==
             apart + PAGE &&
         apart[PAGE] == 'd',
     "a page over another of the same mapping");
  errno = 0;
  Ok(mremap(apart, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, longer) == MAP_FAILED &&
         errno == EFAULT && apart[PAGE] == 'd',
     "which are two areas now: EFAULT");
  Must(mprotect(twin, PAGE, PROT_READ) == 0, "mprotect");
  errno = 0;
  Ok(mremap(twin, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == MAP_FAILED &&
         errno == EFAULT,
     "several areas at once are EFAULT");
  errno = 0;
  Ok(mremap(twin + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL, "within a page is EINVAL");
  char* mixed = Filled(4);
  Must(mprotect(mixed + 2 * PAGE, PAGE, PROT_READ) == 0, "mprotect");
  Ok(mremap(mixed, 4 * PAGE, PAGE, 0) == mixed && mixed[0] == 'a' && Load(mixed + PAGE) == SIGSEGV,
     "shorter, whatever the protection of what goes");
}
