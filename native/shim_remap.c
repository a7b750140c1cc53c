// mremap. The kernel could not move our mappings as one, since they show many things; so a moved or
// grown part is a new mapping over new memory, where everything faults again, but for pages of the
// process's own in a private one (shim_own.c).
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "shim.h"

struct remapping {
  uint64_t old_start;
  uint64_t old_length;
  uint64_t length;
  int flags;
  uint64_t target;        // with MREMAP_FIXED
  struct shim_part part;  // all of the old range has this protection and this file
};

// Whether the old range is one area as the kernel sees it: consecutive pages of one file, mapped
// alike. `part` becomes one that starts at the old range.
static bool IsOneArea(struct remapping* remap) {
  const uint64_t end = remap->old_start + (remap->old_length == 0 ? PAGE : remap->old_length);
  size_t index = TableFind(remap->old_start);
  if (index == TableCount() || TablePart(index)->start > remap->old_start) return false;
  remap->part = *TablePart(index);
  remap->part.offset += remap->old_start - remap->part.start;
  remap->part.start = remap->old_start;
  while (TablePart(index)->end < end) {
    const struct shim_part* before = TablePart(index++);
    if (index == TableCount()) return false;
    const struct shim_part* part = TablePart(index);
    if (part->start != before->end || part->anchor != before->anchor ||
        part->prot != before->prot ||
        part->offset != before->offset + (before->end - before->start)) {
      return false;
    }
    remap->part.is_shown = remap->part.is_shown || part->is_shown;
  }
  return true;
}

// Tells the daemon of new memory that shows the file from the old range on, `skip` bytes later.
static int TellNew(const struct remapping* remap, uint64_t start, uint64_t length, uint64_t skip) {
  struct shim_part part = remap->part;
  part.start = start;
  part.end = start + length;
  part.offset += skip;
  part.number = 0;
  return MapTell(&part);
}

static long GrowInPlace(struct remapping* remap) {
  const uint64_t old_end = remap->old_start + remap->old_length;
  const uint64_t more = remap->length - remap->old_length;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  const long result = SysMmap(old_end, more, remap->part.prot, flags, -1, 0);
  if (IsError(result)) return -ENOMEM;
  if ((uint64_t)result != old_end) {
    SysMunmap((uint64_t)result, more);
    return -ENOMEM;
  }
  const int error = TellNew(remap, old_end, more, remap->old_length);
  if (error == 0) return (long)remap->old_start;
  SysMunmap(old_end, more);
  return -error;
}

// New memory where the mapping is to go; what of ours was there goes.
static long NewMemory(const struct remapping* remap) {
  const int prot = remap->part.prot;
  if (remap->flags & MREMAP_FIXED) return MapTake(remap->target, remap->length, prot);
  return MapReserve(0, remap->length, remap->part.offset, prot, 0);
}

static long MoveShared(struct remapping* remap) {
  const long memory = NewMemory(remap);
  if (IsError(memory)) return memory;
  const int error = TellNew(remap, (uint64_t)memory, remap->length, 0);
  if (error != 0) {
    SysMunmap((uint64_t)memory, remap->length);
    return -error;
  }
  const bool stays = remap->old_length == 0 || (remap->flags & MREMAP_DONTUNMAP);
  if (!stays) ChangeUnmap(remap->old_start, remap->old_start + remap->old_length);
  return memory;
}

// Stores to private mappings wait no more.
static void HoldNone(void) {
  struct shim_job job = {.request = {.call = WIRE_HOLD}};
  ShimCall(&job);
}

static long MovePrivate(struct remapping* remap) {
  const long memory = NewMemory(remap);
  if (IsError(memory)) return memory;
  struct shim_part part = remap->part;
  part.start = (uint64_t)memory;
  part.end = part.start + remap->length;
  part.number = 0;
  part.is_shown = true;
  struct shim_move move = {.telling = {.job = {.run = OwnMoveJob}, .part = &part}};
  move.old_start = remap->old_start;
  move.old_length = remap->old_length;
  move.start = part.start;
  move.length = remap->length;
  move.prot = part.prot;
  move.keeps_old = (remap->flags & MREMAP_DONTUNMAP) != 0;
  const int error = MapBegin(&move.telling);
  const bool is_told = move.telling.number != 0;
  MapServe(move.telling.number);
  if (error == 0 && !move.keeps_old) {
    MapUntell(move.old_start, move.old_start + move.old_length);
    if (move.is_vacant) MapLeave(move.old_start, move.old_length);
  }
  if (is_told) HoldNone();
  if (error == 0) return memory;
  if (is_told) {
    ChangeUnmap(part.start, part.end);
  } else {
    SysMunmap(part.start, remap->length);
  }
  return -error;
}

static long MoveAway(struct remapping* remap) {
  return AnchorAt(remap->part.anchor)->is_shared ? MoveShared(remap) : MovePrivate(remap);
}

// With the change lock held, and the old range, or the target, touching parts of ours.
static long RemapOurs(struct remapping* remap) {
  Lock(&shim_table_lock);
  const size_t index = TableFind(remap->old_start);
  const bool is_ours = index < TableCount() && TablePart(index)->start <= remap->old_start;
  Unlock(&shim_table_lock);
  if (!is_ours) {  // the kernel's; it may land on ours
    const bool is_fixed = (remap->flags & MREMAP_FIXED) != 0;
    bool had_ours = false;
    Lock(&shim_table_lock);
    long result = -TableReserve(2);
    if (result == 0) {
      result = SysMremap(remap->old_start, remap->old_length, remap->length, remap->flags,
                         remap->target);
    }
    if (!IsError(result) && is_fixed) {
      had_ours = TableRemove(remap->target, remap->target + remap->length);
    }
    Unlock(&shim_table_lock);
    if (had_ours) MapUntell(remap->target, remap->target + remap->length);
    AnchorsDrop();
    return result;
  }
  const bool may_move = (remap->flags & MREMAP_MAYMOVE) != 0;
  const bool must_move = (remap->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
  if (remap->length < remap->old_length) {  // what goes may be of several areas
    const uint64_t old_end = remap->old_start + remap->old_length;
    const long result = ChangeUnmap(remap->old_start + remap->length, old_end);
    if (result != 0 || !must_move) return result != 0 ? result : (long)remap->old_start;
    remap->old_length = remap->length;
  }
  Lock(&shim_table_lock);
  const bool is_one = IsOneArea(remap);
  Unlock(&shim_table_lock);
  if (!is_one) return -EFAULT;
  if (remap->old_length == 0) {
    if (!AnchorAt(remap->part.anchor)->is_shared) return -EINVAL;
    return may_move ? MoveAway(remap) : -ENOMEM;
  }
  if (must_move) return MoveAway(remap);
  if (remap->length == remap->old_length) return (long)remap->old_start;
  const long grown = GrowInPlace(remap);
  return grown == -ENOMEM && may_move ? MoveAway(remap) : grown;
}

// As mremap(2) checks them.
static bool IsSound(const struct remapping* remap) {
  const int known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  const int flags = remap->flags;
  if ((flags & ~known) != 0 || remap->old_start % PAGE != 0 || remap->length == 0) return false;
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && (flags & MREMAP_MAYMOVE) == 0) return false;
  if ((flags & MREMAP_DONTUNMAP) && remap->old_length != remap->length) return false;
  if ((flags & MREMAP_FIXED) == 0) return true;
  const bool is_apart = remap->target + remap->length <= remap->old_start ||
                        remap->old_start + remap->old_length <= remap->target;
  return remap->target % PAGE == 0 && remap->target + remap->length > remap->target && is_apart;
}

long CallMremap(uint64_t start, uint64_t old_length, uint64_t length, int flags, uint64_t target) {
  struct remapping remap = {start, PageUp(old_length), PageUp(length), flags, target, {0}};
  const bool is_fixed = (flags & MREMAP_FIXED) != 0;
  const bool may_touch = TableMayTouch(start, start + (old_length == 0 ? 1 : remap.old_length)) ||
                         (is_fixed && TableMayTouch(target, target + remap.length));
  if (!may_touch) return SysMremap(start, old_length, length, flags, target);
  if (!IsSound(&remap)) return -EINVAL;
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  const long result = RemapOurs(&remap);
  AnchorsDrop();
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
  return result;
}

SHIM_PUBLIC void* mremap(void* address, size_t old_length, size_t length, int flags, ...) {
  uint64_t target = 0;
  if (flags & MREMAP_FIXED) {
    __builtin_va_list rest;
    __builtin_va_start(rest, flags);
    target = (uint64_t) __builtin_va_arg(rest, void*);
    __builtin_va_end(rest);
  }
  return (void*)ShimResult(CallMremap((uint64_t)address, old_length, length, flags, target));
}
