// Mappings that come and go, loads and stores through them, and what syncs them.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access.h"
#include "files.h"
#include "operations.h"
#include "random.h"

enum { kSlots = 3, kOwnMax = 16, kPagesMax = 1 << 14, kCommits = 40 };

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

static __thread struct slot slots[kSlots];

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

void DoLoad(int file) {
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

void DoStore(int file) {
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

void DoLoadWild(int file) {
  uint64_t words[kWords];
  for (int turn = 0; turn < 8; turn++) {
    uint64_t line = RandomLine();
    if (Access((uint64_t*)(bases[file] + Offset(line)), words, false))
      LineCheckWild(file, line, words, "load without lock");
  }
}

void DoFsync(int file) {
  Note("fsync", file, 0, shadow->file_lines);
  int done = Random(2) == 0 ? fsync(descriptors[file]) : fdatasync(descriptors[file]);
  if (done < 0) Failed(file, 0, "fsync: %s", strerror(errno));
}

void DoMsync(int file) {
  uint64_t line = RandomLine();
  line -= line % kPageLines;
  uint64_t count = (1 + Random(64)) * kPageLines;
  if (line + count > shadow->file_lines) count = shadow->file_lines - line;
  Note("msync", file, line, count);
  if (msync(bases[file] + Offset(line), (size_t)Offset(count), MS_SYNC) < 0)
    Failed(file, line, "msync: %s", strerror(errno));
}

void DoCommits(int file) {
  uint64_t lines[3];
  for (int i = 0; i < 3; i++) lines[i] = RandomLine();
  Note("commits", file, lines[0], 1);
  for (int turn = 0; turn < kCommits && !shadow->ends; turn++) {
    for (int i = 0; i < 3; i++) {
      StoreShared(file, lines[i], bases[file] + Offset(lines[i]), "store to be committed");
    }
    if (msync(bases[file], (size_t)Offset(shadow->file_lines), MS_SYNC) < 0)
      Failed(file, lines[0], "msync: %s", strerror(errno));
  }
}

static void Unmap(struct slot* slot) {
  if (munmap(slot->at, slot->pages * kPage) < 0) Failed(slot->file, 0, "munmap");
  slot->at = NULL;
}

void DoMap(int file) {
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
void DoUnmap(int file) {
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

void DoRemap(int file) {
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

void DoProtect(int file) {
  (void)file;
  struct slot* slot = AnySlot();
  if (slot == NULL) return;
  Note("mprotect", slot->file, slot->first_page * kPageLines, slot->pages * kPageLines);
  slot->is_read_only = !slot->is_read_only;
  int protection = slot->is_read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  if (mprotect(slot->at, slot->pages * kPage, protection) < 0)
    Failed(slot->file, 0, "mprotect: %s", strerror(errno));
}

void DoAdvise(int file) {
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
