// munmap, mprotect and madvise, over ranges that may mix mappings of ours and others. What is not
// ours is passed on as it is.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "shim.h"

static bool HasOurs(uint64_t start, uint64_t end) {
  const size_t first = TableFind(start);
  return first < TableCount() && TablePart(first)->start < end;
}

long ChangeUnmap(uint64_t start, uint64_t end) {
  Lock(&shim_table_lock);
  long result = -TableReserve(2);
  const bool is_held = result == 0 && HasOurs(start, end) && MapVacate(start, end - start);
  if (result == 0 && !is_held) result = SysMunmap(start, end - start);
  const bool had_ours = result == 0 && TableRemove(start, end);
  Unlock(&shim_table_lock);
  if (had_ours) MapUntell(start, end);
  if (is_held) MapLeave(start, end - start);
  AnchorsDrop();
  return result;
}

long CallMunmap(uint64_t start, uint64_t length) {
  const uint64_t end = start + PageUp(length);
  if (!TableMayTouch(start, end) || start % PAGE != 0 || end <= start) {
    return SysMunmap(start, length);
  }
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  const long result = ChangeUnmap(start, end);
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
  return result;
}

SHIM_PUBLIC int munmap(void* address, size_t length) {
  return (int)ShimResult(CallMunmap((uint64_t)address, length));
}

// Whether the part may get this protection: EACCES as mprotect(2).
static bool MayProtect(size_t first, uint64_t end, int prot) {
  if ((prot & PROT_WRITE) == 0) return true;
  for (size_t i = first; i < TableCount() && TablePart(i)->start < end; i++) {
    if (!AnchorAt(TablePart(i)->anchor)->may_write) return false;
  }
  return true;
}

static long ByKernel(uint64_t start, uint64_t length, int prot, int key) {
  if (key == -1) return SysMprotect(start, length, prot);
  return Sys4(SYS_pkey_mprotect, (long)start, (long)length, prot, key);
}

// Ours have the default key, and no other: what is shown anew would be without it.
long CallMprotect(uint64_t start, uint64_t length, int prot, int key) {
  const uint64_t end = start + PageUp(length);
  if (!TableMayTouch(start, end) || start % PAGE != 0 || end <= start) {
    return ByKernel(start, length, prot, key);
  }
  const uint64_t signals = BlockSignals();
  Lock(&shim_table_lock);
  long result = -TableReserve(2);
  if (result == 0 && key > 0 && HasOurs(start, end)) result = -EINVAL;
  if (result == 0 && !MayProtect(TableFind(start), end, prot)) result = -EACCES;
  if (result == 0) result = ByKernel(start, length, prot, key);
  if (result == 0) {
    for (size_t i = TableCut(start, end); i < TableCount(); i++) {
      if (TablePart(i)->start >= end) break;
      TablePart(i)->prot = prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
    }
  }
  Unlock(&shim_table_lock);
  RestoreSignals(signals);
  return result;
}

SHIM_PUBLIC int mprotect(void* address, size_t length, int prot) {
  return (int)ShimResult(CallMprotect((uint64_t)address, length, prot, -1));
}

SHIM_PUBLIC int pkey_mprotect(void* address, size_t length, int prot, int key) {
  return (int)ShimResult(CallMprotect((uint64_t)address, length, prot, key));
}

void PieceAt(uint64_t start, uint64_t end, struct shim_piece* piece) {
  const uint64_t signals = BlockSignals();
  Lock(&shim_table_lock);
  *piece = (struct shim_piece){.start = start, .end = end};
  const size_t index = TableFind(start);
  if (index < TableCount()) {
    const struct shim_part* part = TablePart(index);
    piece->is_ours = part->start <= start;
    const uint64_t limit = piece->is_ours ? part->end : part->start;
    if (limit < end) piece->end = limit;
    piece->part = *part;
    piece->anchor = *AnchorAt(part->anchor);
  }
  Unlock(&shim_table_lock);
  RestoreSignals(signals);
}

static long Punch(const struct shim_piece* piece) {
  const bool is_writable = piece->anchor.is_shared && piece->anchor.may_write;
  if (!is_writable) return -EACCES;
  struct shim_job job = {.request = {.call = WIRE_FALLOCATE}};
  job.request.arguments[0] = piece->anchor.ino;
  job.request.arguments[1] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  job.request.arguments[2] = piece->part.offset + (piece->start - piece->part.start);
  job.request.arguments[3] = piece->end - piece->start;
  return -ShimCall(&job);
}

// A private mapping forgets its own pages; a shared one has nothing that is not in the file.
static long Drop(const struct shim_piece* piece) {
  if (piece->anchor.is_shared) return 0;
  const uint64_t signals = BlockSignals();
  Lock(&shim_table_lock);
  const long result = SysMadvise(piece->start, piece->end - piece->start, MADV_DONTNEED);
  Unlock(&shim_table_lock);
  RestoreSignals(signals);
  return result;
}

static long SetDontFork(uint64_t start, uint64_t end, bool dont_fork) {
  const uint64_t signals = BlockSignals();
  Lock(&shim_table_lock);
  const long result = -TableReserve(2);
  for (size_t i = result == 0 ? TableCut(start, end) : TableCount(); i < TableCount(); i++) {
    if (TablePart(i)->start >= end) break;
    TablePart(i)->dont_fork = dont_fork;
  }
  Unlock(&shim_table_lock);
  RestoreSignals(signals);
  return result;
}

static long AdvisePiece(const struct shim_piece* piece, int advice) {
  switch (advice) {
    case MADV_DONTNEED:
    case 24:  // MADV_DONTNEED_LOCKED
      return Drop(piece);
    case MADV_REMOVE:
      return Punch(piece);
    case MADV_DONTFORK:
    case MADV_DOFORK:
      return SetDontFork(piece->start, piece->end, advice == MADV_DONTFORK);
    case 22:  // MADV_POPULATE_READ
    case 23:  // MADV_POPULATE_WRITE
      return SysMadvise(piece->start, piece->end - piece->start, advice);
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
      return 0;
    default:  // FREE, WIPEONFORK, COLLAPSE, HWPOISON, guards and what is not known
      return -EINVAL;
  }
}

// Goes on after ENOMEM, which says that something in between is not mapped, as madvise(2) does.
long CallMadvise(uint64_t start, uint64_t length, int advice) {
  const uint64_t end = start + PageUp(length);
  if (!TableMayTouch(start, end) || start % PAGE != 0 || end <= start) {
    return SysMadvise(start, length, advice);
  }
  long result = 0;
  struct shim_piece piece;
  for (uint64_t at = start; at < end; at = piece.end) {
    PieceAt(at, end, &piece);
    const long error = piece.is_ours ? AdvisePiece(&piece, advice)
                                     : SysMadvise(piece.start, piece.end - piece.start, advice);
    if (error != 0) result = error;
    if (error != 0 && error != -ENOMEM) return error;
  }
  return result;
}

SHIM_PUBLIC int madvise(void* address, size_t length, int advice) {
  return (int)ShimResult(CallMadvise((uint64_t)address, length, advice));
}
