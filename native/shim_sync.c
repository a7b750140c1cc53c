// msync, over ranges that may mix mappings of ours and others. What is not ours is passed on as it
// is.
//
// Who syncs again and again need not ask the daemon for each: while all that there is to flush are
// pages that are known (struct wire_kept), the process flushes them by itself, out of a mapping of
// the region, whoever stored to them. The daemon shows a list no more before a store to any other
// page goes through or anything has to be committed; so a list that is there both before and after
// the fence had all that was stored before this msync.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "shim_files.h"

// The runs that lie in the range; false when there is no list, it is being changed, or the slot is
// another file's by now.
static bool TakeKept(const struct shim_file* file, uint64_t file_page, uint64_t end_page,
                     struct wire_kept* taken) {
  const struct wire_kept* kept = &file->slot->kept;
  taken->number = __atomic_load_n(&kept->number, __ATOMIC_ACQUIRE);
  taken->run_count = 0;
  const uint64_t count = FilesLoad(&kept->run_count);
  if (taken->number == 0 || count > WIRE_FILE_KEPT_MAX) return false;
  if (FilesLoad(&file->slot->ino) != file->ino) return false;
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t run_page = FilesLoad(&kept->runs[i].file_page);
    const uint64_t run_end = run_page + FilesLoad(&kept->runs[i].page_count);
    const uint64_t start = run_page > file_page ? run_page : file_page;
    const uint64_t end = run_end < end_page ? run_end : end_page;
    if (start >= end) continue;
    const uint64_t region_page = FilesLoad(&kept->runs[i].region_page) + (start - run_page);
    const uint64_t pages = shim_files.region_bytes / PAGE;
    if (region_page > pages || end - start > pages - region_page) return false;
    taken->runs[taken->run_count++] = (struct wire_extent){start, region_page, end - start};
  }
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return FilesLoad(&kept->number) == taken->number;
}

static bool FlushKept(const struct shim_piece* piece) {
  struct shim_file file = {.ino = piece->anchor.ino};
  if (!FilesFind(&file) || FilesHasQueued(&file)) return false;
  const uint64_t offset = piece->part.offset + (piece->start - piece->part.start);
  const uint64_t end = offset + (piece->end - piece->start);
  const struct wire_kept* kept = &file.slot->kept;
  struct wire_kept taken;
  if (!TakeKept(&file, offset / PAGE, end / PAGE, &taken)) return false;
  const uint64_t how = FilesLoad(&shim_files.table->flush_instruction);
  for (uint64_t i = 0; i < taken.run_count; i++) {
    const struct wire_extent* run = &taken.runs[i];
    FlushLines(how, shim_files.region + run->region_page * PAGE, run->page_count * PAGE);
  }
  FlushFence();
  return __atomic_load_n(&kept->number, __ATOMIC_ACQUIRE) == taken.number && FilesAreServed();
}

// False when the daemon has to do it.
static bool SyncHere(const struct shim_piece* piece) {
  if (!FilesEnterToSync()) return false;
  const bool is_done = FlushKept(piece);
  FilesLeave();
  return is_done;
}

static long SyncOurs(uint64_t start, uint64_t end) {
  struct shim_job job = {.request = {.call = WIRE_SYNC}};
  job.request.arguments[0] = start;
  job.request.arguments[1] = end - start;
  int error;
  return BellCall(&job.request, &error) ? -error : -ShimCall(&job);
}

// Neighbouring pieces of ours are one call. An error stops, but for ENOMEM.
long CallMsync(uint64_t start, uint64_t length, int flags) {
  const uint64_t end = start + PageUp(length);
  if (!TableMayTouch(start, end)) return Sys3(SYS_msync, (long)start, (long)length, flags);
  const bool is_known = (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) == 0;
  const bool is_both = (flags & MS_ASYNC) && (flags & MS_SYNC);
  if (start % PAGE != 0 || !is_known || is_both) return -EINVAL;
  if (end < start) return -ENOMEM;
  long result = 0;
  uint64_t ours = start;  // from here to `at` lie pieces that are to be synced
  struct shim_piece piece = {.end = start};
  for (uint64_t at = start; at < end; at = piece.end) {
    PieceAt(at, end, &piece);
    const bool is_synced = piece.is_ours && piece.anchor.is_shared && (flags & MS_SYNC);
    long error = 0;
    if (!is_synced && at > ours) error = SyncOurs(ours, at);
    if (error == 0 && !piece.is_ours) {
      error = Sys3(SYS_msync, (long)piece.start, (long)(piece.end - piece.start), flags);
    }
    if (error != 0) result = error;
    if (error != 0 && error != -ENOMEM) return error;
    if (!is_synced) ours = piece.end;
  }
  if (piece.start == ours && SyncHere(&piece)) return result;
  const long error = end > ours ? SyncOurs(ours, end) : 0;
  return error != 0 ? error : result;
}

SHIM_PUBLIC int msync(void* address, size_t length, int flags) {
  return (int)ShimResult(CallMsync((uint64_t)address, length, flags));
}
