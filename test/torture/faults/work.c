#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shadow.h"

enum { kSlots = 3, kOwnMax = 16, kLinesMax = 256, kChildOperations = 10, kPagesMax = 1 << 14 };

/** A line that a private mapping made its own. */
struct own_line {
  uint64_t line, stamp, drops;
};

/** A mapping that one thread has for itself. */
struct slot {
  char* at;  // NULL when there is none
  int file;
  uint64_t first_page, pages;
  bool is_private;
  bool is_read_only;
  uint8_t is_own[kPagesMax / 8];  // pages of a private mapping that were stored to
  struct own_line own[kOwnMax];
  int own_count;
};

static int descriptors[kFiles];
static char* bases[kFiles];  // of the process: all pages, shared, never unmapped

static __thread uint64_t random_state;
static __thread struct slot slots[kSlots];
static __thread sigjmp_buf bus_return;
static __thread volatile sig_atomic_t bus_expected;
static __thread bool is_child;

static uint64_t Random(uint64_t bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (random_state >> 11) % bound;
}

static uint64_t RandomLine(void) {
  // Half of everything meets in a few pages.
  uint64_t all = shadow->file_lines;
  return Random(2) == 0 ? Random(all) : Random(8 * kPageLines) + (Random(2) == 0 ? all / 2 : 0);
}

static uint64_t SizeOf(int file) { return shadow->files[file].size_lines; }
static off_t Offset(uint64_t line) { return (off_t)(line * kLine); }

// --- accesses ---

static void OnBus(int signal, siginfo_t* info, void* context) {
  (void)context;
  if (signal == SIGBUS && bus_expected != 0) siglongjmp(bus_return, 1);
  Failed(0, 0, "signal %d, code %d at %p", signal, info->si_code, info->si_addr);
}

/** Loads or stores a line's words; false when that was SIGBUS. */
static bool Access(volatile uint64_t* at, uint64_t* words, bool stores) {
  bus_expected = 1;
  if (sigsetjmp(bus_return, 1) != 0) {
    bus_expected = 0;
    return false;
  }
  for (int i = 0; i < kWords; i++) {
    if (stores)
      at[i] = words[i];
    else
      words[i] = at[i];
  }
  bus_expected = 0;
  return true;
}

/** Whether SIGBUS, or its absence, is right; the line's lock is held. */
static void CheckBus(int file, uint64_t line, bool was_bus, const char* how) {
  if (LineOf(file, line)->sizing > 0) return;
  uint64_t pages = (SizeOf(file) + kPageLines - 1) / kPageLines;
  bool is_beyond = line / kPageLines >= pages;
  if (was_bus == is_beyond) return;
  Failed(file, line, was_bus ? "%s is SIGBUS" : "%s beyond end of file is not SIGBUS", how);
}

static void LoadShared(int file, uint64_t line, char* at, const char* how) {
  uint64_t words[kWords];
  LineLock(file, line);
  bool done = Access((uint64_t*)at, words, false);
  CheckBus(file, line, !done, how);
  if (done && (line < SizeOf(file) || LineOf(file, line)->sizing > 0)) {
    // Behind end of file, what stores left in the last page: only that it is ours.
    if (LineOf(file, line)->sizing > 0)
      LineCheckWild(file, line, words, how);
    else
      LineCheck(file, line, words, how);
  }
  LineUnlock(file, line);
}

static void StoreShared(int file, uint64_t line, char* at, const char* how) {
  uint64_t words[kWords], stamp = NewStamp();
  LineWords(words, file, stamp);
  LineLock(file, line);
  bool done = Access((uint64_t*)at, words, true);
  CheckBus(file, line, !done, how);
  bool counts = line < SizeOf(file) || LineOf(file, line)->sizing > 0;
  if (done && counts) LineStored(file, line, stamp);
  LineUnlock(file, line);
}

static void LoadPrivate(struct slot* slot, uint64_t line, char* at) {
  uint64_t page = line / kPageLines - slot->first_page, words[kWords];
  bool is_own = (slot->is_own[page / 8] >> page % 8 & 1) != 0;
  if (!is_own) {
    LoadShared(slot->file, line, at, "load of a private mapping");
    return;
  }
  if (!Access((uint64_t*)at, words, false)) return;
  uint64_t drops = shadow->files[slot->file].drops;
  LineCheckWild(slot->file, line, words, "load of an own page");
  for (int i = 0; i < slot->own_count; i++) {
    const struct own_line* own = &slot->own[i];
    if (own->line != line || own->drops != drops) continue;
    uint64_t expected[kWords];
    LineWords(expected, slot->file, own->stamp);
    if (memcmp(words, expected, kLine) != 0)
      Failed(slot->file, line, "an own page lost its private store %llu",
             (unsigned long long)own->stamp);
  }
}

static void StorePrivate(struct slot* slot, uint64_t line, char* at) {
  uint64_t page = line / kPageLines - slot->first_page, words[kWords], stamp = NewStamp();
  LineWords(words, slot->file, stamp);
  uint64_t drops = shadow->files[slot->file].drops;
  slot->is_own[page / 8] |= (uint8_t)(1 << page % 8);
  int index = 0;
  while (index < slot->own_count && slot->own[index].line != line) index++;
  if (index == kOwnMax) index = (int)Random(kOwnMax);
  if (index == slot->own_count) slot->own_count++;
  bool done = Access((uint64_t*)at, words, true);
  // Odd: a change of the size is under way, which may drop the page now or in a moment.
  bool is_sure = done && drops % 2 == 0 && drops == shadow->files[slot->file].drops;
  slot->own[index] = (struct own_line){line, stamp, is_sure ? drops : UINT64_MAX};
}

static struct slot* AnySlot(void) {
  struct slot* slot = &slots[Random(kSlots)];
  return slot->at == NULL ? NULL : slot;
}

static uint64_t LineIn(const struct slot* slot) {
  return slot->first_page * kPageLines + Random(slot->pages * kPageLines);
}
static char* At(const struct slot* slot, uint64_t line) {
  return slot->at + Offset(line - slot->first_page * kPageLines);
}

static void DoLoad(int file) {
  uint64_t line = RandomLine();
  struct slot* slot = AnySlot();
  if (slot != NULL && Random(2) == 0) {
    line = LineIn(slot);
    Note(slot->is_private ? "load private" : "load", slot->file, line, 1);
    if (slot->is_private)
      LoadPrivate(slot, line, At(slot, line));
    else
      LoadShared(slot->file, line, At(slot, line), "load");
    return;
  }
  Note("load", file, line, 1);
  LoadShared(file, line, bases[file] + Offset(line), "load");
}

static void DoStore(int file) {
  uint64_t line = RandomLine();
  struct slot* slot = AnySlot();
  if (slot != NULL && Random(2) == 0 && !slot->is_read_only) {
    line = LineIn(slot);
    Note(slot->is_private ? "store private" : "store", slot->file, line, 1);
    if (slot->is_private)
      StorePrivate(slot, line, At(slot, line));
    else
      StoreShared(slot->file, line, At(slot, line), "store");
    return;
  }
  Note("store", file, line, 1);
  StoreShared(file, line, bases[file] + Offset(line), "store");
}

static void DoLoadWild(int file) {
  uint64_t words[kWords];
  for (int turn = 0; turn < 8; turn++) {
    uint64_t line = RandomLine();
    if (Access((uint64_t*)(bases[file] + Offset(line)), words, false))
      LineCheckWild(file, line, words, "load without lock");
  }
}

// --- read and write ---

static void LockLines(int file, uint64_t from, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) LineLock(file, from + i);
}
static void UnlockLines(int file, uint64_t from, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) LineUnlock(file, from + i);
}
static bool IsSizing(int file, uint64_t from, uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    if (LineOf(file, from + i)->sizing > 0) return true;
  return false;
}
static uint64_t SomeLines(uint64_t from) {
  uint64_t count = Random(8) == 0 ? kLinesMax : 1 + Random(2 * kPageLines);
  return from + count > shadow->file_lines ? shadow->file_lines - from : count;
}

static void DoRead(int file) {
  uint64_t words[kLinesMax * kWords];
  uint64_t from = RandomLine(), count = SomeLines(from);
  Note("pread", file, from, count);
  LockLines(file, from, count);
  bool is_sizing = IsSizing(file, from, count);
  ssize_t length = pread(descriptors[file], words, count * kLine, Offset(from));
  if (length < 0) Failed(file, from, "pread: %s", strerror(errno));
  uint64_t size = SizeOf(file), present = size <= from ? 0 : size - from;
  if (present > count) present = count;
  if (!is_sizing && (uint64_t)length != present * kLine)
    Failed(file, from, "pread of %llu lines returns %zd bytes", (unsigned long long)count, length);
  for (uint64_t i = 0; i < (uint64_t)length / kLine; i++) {
    if (is_sizing)
      LineCheckWild(file, from + i, words + i * kWords, "pread");
    else
      LineCheck(file, from + i, words + i * kWords, "pread");
  }
  UnlockLines(file, from, count);
}

static void WriteLines(int file, uint64_t from, uint64_t count) {
  uint64_t words[kLinesMax * kWords], stamps[kLinesMax];
  for (uint64_t i = 0; i < count; i++) {
    stamps[i] = NewStamp();
    LineWords(words + i * kWords, file, stamps[i]);
  }
  ssize_t length = pwrite(descriptors[file], words, count * kLine, Offset(from));
  if (length != (ssize_t)(count * kLine))
    Failed(file, from, "pwrite returns %zd: %s", length, strerror(errno));
  for (uint64_t i = 0; i < count; i++) LineStored(file, from + i, stamps[i]);
}

static void DoWrite(int file) {
  uint64_t from = RandomLine(), count = SomeLines(from);
  Note("pwrite", file, from, count);
  LockLines(file, from, count);
  // Only where that does not change the size.
  if (!IsSizing(file, from, count) && from + count <= SizeOf(file)) WriteLines(file, from, count);
  UnlockLines(file, from, count);
}

/** A line from one place to another: the kernel loads from, or stores to, the mapping. */
static void DoCopy(int file) {
  uint64_t from = RandomLine(), to = RandomLine();
  if (from == to) return;
  bool by_write = Random(2) == 0;
  Note(by_write ? "pwrite of map" : "pread into map", file, from < to ? from : to, 1);
  LineLock(file, from < to ? from : to);
  LineLock(file, from < to ? to : from);
  struct line* source = LineOf(file, from);
  struct line* target = LineOf(file, to);
  if (source->flux + target->flux == 0 && from < SizeOf(file) && to < SizeOf(file)) {
    char* base = bases[file];
    ssize_t length = by_write ? pwrite(descriptors[file], base + Offset(from), kLine, Offset(to))
                              : pread(descriptors[file], base + Offset(to), kLine, Offset(from));
    if (length != kLine)
      Failed(file, to, "copy of a line returns %zd: %s", length, strerror(errno));
    target->stamp = source->stamp;
    target->mask = source->mask;
    target->is_loose = source->is_loose;
    // Two loose lines would be settled apart, and are the same.
    if (source->is_loose) {
      LineCheck(file, from, (uint64_t*)(base + Offset(from)), "load");
      LineCheck(file, to, (uint64_t*)(base + Offset(to)), "load");
    }
  }
  LineUnlock(file, from);
  LineUnlock(file, to);
}

// --- changes of extents ---

static void DoPunch(int file, int mode, const char* what) {
  uint64_t from = RandomLine(), count = 1 + Random(8);
  if (Random(2) == 0) {  // whole pages, now and then 2 MiB
    from -= from % kPageLines;
    count = (Random(16) == 0 ? 512 : 1 + Random(8)) * kPageLines;
  }
  if (from + count > shadow->file_lines) count = shadow->file_lines - from;
  pthread_rwlock_rdlock(&shadow->files[file].places);
  Note(what, file, from, count);
  FluxBegin(file, from, from + count, false);
  if (fallocate(descriptors[file], mode | FALLOC_FL_KEEP_SIZE, Offset(from), Offset(count)) < 0 &&
      errno != EOPNOTSUPP)
    Failed(file, from, "%s: %s", what, strerror(errno));
  else if (errno == EOPNOTSUPP && mode == FALLOC_FL_ZERO_RANGE)
    fallocate(descriptors[file], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, Offset(from),
              Offset(count));
  errno = 0;
  FluxEnd(file, from, from + count, false, false);
  pthread_rwlock_unlock(&shadow->files[file].places);
}

static void DoPunchHole(int file) { DoPunch(file, FALLOC_FL_PUNCH_HOLE, "punch"); }
static void DoZeroRange(int file) { DoPunch(file, FALLOC_FL_ZERO_RANGE, "zero range"); }

static void DoAllocate(int file) {
  uint64_t from = RandomLine();
  Note("allocate", file, from, 4 * kPageLines);
  if (fallocate(descriptors[file], FALLOC_FL_KEEP_SIZE, Offset(from), 4 * kPage) < 0)
    Failed(file, from, "fallocate: %s", strerror(errno));
}

static void DoTruncate(int file) {
  struct file* state = &shadow->files[file];
  pthread_mutex_lock(&state->sizing);
  uint64_t old = state->size_lines;
  uint64_t size = Random(4) == 0 ? Random(old + 1) : old - Random(old < 512 ? old + 1 : 512);
  uint64_t end = shadow->file_lines;
  Note("truncate", file, size, old - size);
  FluxBegin(file, size, end, true);
  state->drops++;
  if (ftruncate(descriptors[file], Offset(size)) < 0)
    Failed(file, size, "ftruncate: %s", strerror(errno));
  state->size_lines = size;
  state->drops++;
  FluxEnd(file, size, end, true, true);
  pthread_mutex_unlock(&state->sizing);
}

static void DoExtend(int file) {
  struct file* state = &shadow->files[file];
  pthread_mutex_lock(&state->sizing);
  uint64_t old = state->size_lines, end = shadow->file_lines;
  bool by_write = Random(2) == 0;
  if (old < end) {
    uint64_t size = Random(2) == 0 ? end : old + 1 + Random(end - old);
    uint64_t written = by_write ? 1 + Random(size - old < 64 ? size - old : 64) : 0;
    uint64_t from = size - written;
    Note(by_write ? "write extends" : "extend", file, old, size - old);
    FluxBegin(file, old, from, true);
    FluxBegin(file, size, end, true);
    LockLines(file, from, written);
    if (by_write)
      WriteLines(file, from, written);
    else if (ftruncate(descriptors[file], Offset(size)) < 0)
      Failed(file, size, "ftruncate: %s", strerror(errno));
    state->size_lines = size;
    UnlockLines(file, from, written);
    FluxEnd(file, old, from, true, false);
    // Not reached by the new size: what was stored there meanwhile does not count.
    FluxEnd(file, size, end, true, true);
  }
  pthread_mutex_unlock(&state->sizing);
}

/** Collapse and insert: lines change their place, so nobody else accesses them meanwhile. */
static void Shift(int file, bool inserts) {
  struct file* state = &shadow->files[file];
  pthread_mutex_lock(&state->sizing);
  pthread_rwlock_wrlock(&state->places);
  uint64_t end = shadow->file_lines, size = state->size_lines;
  uint64_t pages = size / kPageLines;
  uint64_t count = (Random(8) == 0 ? 512 : 1 + Random(4)) * kPageLines;
  uint64_t from = pages == 0 ? 0 : Random(pages) * kPageLines;
  bool fits = inserts ? from < size && size + count <= end : from + count < size;
  if (fits) {
    Note(inserts ? "insert" : "collapse", file, from, end - from);
    LockLines(file, from, end - from);
    state->drops++;
    int mode = inserts ? FALLOC_FL_INSERT_RANGE : FALLOC_FL_COLLAPSE_RANGE;
    int done = fallocate(descriptors[file], mode, Offset(from), Offset(count));
    if (done < 0 && errno != EOPNOTSUPP)
      Failed(file, from, "%s: %s", inserts ? "insert" : "collapse", strerror(errno));
    if (done == 0) {
      struct line kZero = {0};
      for (uint64_t i = 0; i < end - from; i++) {
        uint64_t line = inserts ? end - 1 - i : from + i;
        uint64_t source = inserts ? line - count : line + count;
        bool has_source = inserts ? line >= from + count && source < size : source < size;
        struct line* target = LineOf(file, line);
        const struct line* old = has_source ? LineOf(file, source) : &kZero;
        target->stamp = old->stamp;
        target->mask = old->mask;
        target->is_loose = old->is_loose;
      }
      state->size_lines = inserts ? size + count : size - count;
    }
    state->drops++;
    UnlockLines(file, from, end - from);
  }
  pthread_rwlock_unlock(&state->places);
  pthread_mutex_unlock(&state->sizing);
}

static void DoCollapse(int file) { Shift(file, false); }
static void DoInsert(int file) { Shift(file, true); }

// --- syncs and mappings ---

static void DoFsync(int file) {
  Note("fsync", file, 0, shadow->file_lines);
  int done = Random(2) == 0 ? fsync(descriptors[file]) : fdatasync(descriptors[file]);
  if (done < 0) Failed(file, 0, "fsync: %s", strerror(errno));
}

static void DoMsync(int file) {
  uint64_t line = RandomLine();
  line -= line % kPageLines;
  uint64_t count = (1 + Random(64)) * kPageLines;
  if (line + count > shadow->file_lines) count = shadow->file_lines - line;
  Note("msync", file, line, count);
  if (msync(bases[file] + Offset(line), (size_t)Offset(count), MS_SYNC) < 0)
    Failed(file, line, "msync: %s", strerror(errno));
}

static void Unmap(struct slot* slot) {
  if (munmap(slot->at, slot->pages * kPage) < 0) Failed(slot->file, 0, "munmap");
  slot->at = NULL;
}

static void DoMap(int file) {
  struct slot* slot = &slots[Random(kSlots)];
  if (slot->at != NULL) Unmap(slot);
  uint64_t all = shadow->file_lines / kPageLines;
  memset(slot, 0, sizeof *slot);
  slot->file = file;
  slot->first_page = Random(3) == 0 ? 0 : Random(all);
  slot->pages = Random(3) == 0 ? all - slot->first_page : 1 + Random(all - slot->first_page);
  slot->is_private = Random(3) == 0;
  int flags = slot->is_private ? MAP_PRIVATE : MAP_SHARED;
  if (Random(8) == 0) {
    flags |= MAP_POPULATE;
    // Of a private mapping that makes every page its own.
    if (slot->is_private) memset(slot->is_own, 0xff, sizeof slot->is_own);
  }
  Note("mmap", file, slot->first_page * kPageLines, slot->pages * kPageLines);
  char* at = mmap(NULL, slot->pages * kPage, PROT_READ | PROT_WRITE, flags, descriptors[file],
                  (off_t)(slot->first_page * kPage));
  if (at == MAP_FAILED) Failed(file, 0, "mmap: %s", strerror(errno));
  slot->at = at;
}

/** Unmaps all, or pages at an end, or in the middle, of which the first part stays known. */
static void DoUnmap(int file) {
  (void)file;
  struct slot* slot = AnySlot();
  if (slot == NULL) return;
  Note("munmap", slot->file, slot->first_page * kPageLines, slot->pages * kPageLines);
  uint64_t keep = Random(slot->pages);
  if (keep == 0 || slot->is_private) {
    Unmap(slot);
  } else if (Random(2) == 0) {
    if (munmap(slot->at + keep * kPage, (slot->pages - keep) * kPage) < 0)
      Failed(slot->file, 0, "munmap");
    slot->pages = keep;
  } else {
    if (munmap(slot->at, keep * kPage) < 0) Failed(slot->file, 0, "munmap");
    slot->at += keep * kPage;
    slot->first_page += keep;
    slot->pages -= keep;
  }
}

static void DoRemap(int file) {
  (void)file;
  struct slot* slot = AnySlot();
  if (slot == NULL) return;
  Note("mremap", slot->file, slot->first_page * kPageLines, slot->pages * kPageLines);
  uint64_t all = shadow->file_lines / kPageLines, pages = slot->pages;
  if (Random(2) == 0) pages = 1 + Random(all - slot->first_page);
  char* room = NULL;
  int flags = MREMAP_MAYMOVE;
  if (Random(2) == 0) {
    room = mmap(NULL, pages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    flags |= MREMAP_FIXED;
  }
  char* at = mremap(slot->at, slot->pages * kPage, pages * kPage, flags, room);
  if (at == MAP_FAILED) Failed(slot->file, 0, "mremap: %s", strerror(errno));
  if (pages < slot->pages) {  // own pages behind the new end are gone
    int kept = 0;
    for (int i = 0; i < slot->own_count; i++)
      if (slot->own[i].line < (slot->first_page + pages) * kPageLines)
        slot->own[kept++] = slot->own[i];
    slot->own_count = kept;
    for (uint64_t page = pages; page < slot->pages; page++)
      slot->is_own[page / 8] &= (uint8_t) ~(1 << page % 8);
  }
  slot->at = at;
  slot->pages = pages;
}

static void DoProtect(int file) {
  (void)file;
  struct slot* slot = AnySlot();
  if (slot == NULL) return;
  Note("mprotect", slot->file, slot->first_page * kPageLines, slot->pages * kPageLines);
  slot->is_read_only = !slot->is_read_only;
  int protection = slot->is_read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  if (mprotect(slot->at, slot->pages * kPage, protection) < 0)
    Failed(slot->file, 0, "mprotect: %s", strerror(errno));
}

static void DoAdvise(int file) {
  (void)file;
  struct slot* slot = AnySlot();
  if (slot == NULL) return;
  Note("MADV_DONTNEED", slot->file, slot->first_page * kPageLines, slot->pages * kPageLines);
  if (madvise(slot->at, slot->pages * kPage, MADV_DONTNEED) < 0)
    Failed(slot->file, 0, "madvise: %s", strerror(errno));
  if (slot->is_private) {
    slot->own_count = 0;
    memset(slot->is_own, 0, sizeof slot->is_own);
  }
}

static void DoFork(int file);

static const struct operation {
  const char* name;
  void (*run)(int file);
  int weight;
  bool needs_maps;
} kOperations[] = {
    {"load", DoLoad, 400, true},         {"store", DoStore, 400, true},
    {"wild load", DoLoadWild, 60, true}, {"pread", DoRead, 60, false},
    {"pwrite", DoWrite, 60, false},      {"copy", DoCopy, 40, true},
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
    random_state = seed | 1;
    for (int i = 0; i < kChildOperations && !shadow->ends; i++) Step(true);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) < 0 || status != 0)
    Failed(file, 0, "a forked child ended with %x", (unsigned)status);
}

// --- life ---

void WorkOpen(const char* directory, bool maps) {
  struct sigaction action = {.sa_sigaction = OnBus, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  for (int file = 0; file < kFiles; file++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/tortured-%d", directory, file);
    descriptors[file] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptors[file] < 0) Failed(file, 0, "open %s: %s", path, strerror(errno));
    if (!maps) continue;
    bases[file] = mmap(NULL, (size_t)Offset(shadow->file_lines), PROT_READ | PROT_WRITE, MAP_SHARED,
                       descriptors[file], 0);
    if (bases[file] == MAP_FAILED) Failed(file, 0, "mmap: %s", strerror(errno));
  }
}

void Work(int number, bool maps) {
  random_state = (shadow->seed + 1) * 0x9e3779b97f4a7c15u ^ ((uint64_t)number + 1) << 32;
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
