// Changes of what backs the files, and of their size, under everybody's mappings.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "operations.h"
#include "random.h"

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

void DoPunchHole(int file) { DoPunch(file, FALLOC_FL_PUNCH_HOLE, "punch"); }
void DoZeroRange(int file) { DoPunch(file, FALLOC_FL_ZERO_RANGE, "zero range"); }

void DoAllocate(int file) {
  uint64_t from = RandomLine();
  Note("allocate", file, from, 4 * kPageLines);
  if (fallocate(descriptors[file], FALLOC_FL_KEEP_SIZE, Offset(from), 4 * kPage) < 0)
    Failed(file, from, "fallocate: %s", strerror(errno));
}

void DoTruncate(int file) {
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

void DoExtend(int file) {
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

void DoCollapse(int file) { Shift(file, false); }
void DoInsert(int file) { Shift(file, true); }
