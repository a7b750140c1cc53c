// A private mapping is moved (mremap). Its pages are copied to memory that is made ready elsewhere,
// while the daemon holds stores to them (WIRE_HOLD), so that none is lost. Then the old range goes,
// and the new one shows what was copied; an access to that waits until it does: the helper obeys
// nothing for it before (MapServe). So for other threads, too, it is all here first, and then all
// there.
//
// In a thread of ours.
#define _GNU_SOURCE
#include <signal.h>

#include "shim_memory.h"

static int CopyAll(const struct shim_move* move, uint64_t stage) {
  int error = 0;
  for (uint64_t done = 0; error == 0 && done < move->old_length; done += HUGE_PAGE) {
    const uint64_t left = move->old_length - done;
    const uint64_t length = left < HUGE_PAGE ? left : HUGE_PAGE;
    struct page_set own;
    error = OwnFreeze(move->old_start + done, length, &own);
    if (error == 0) error = OwnCopy(move->old_start + done, stage + done, length, &own);
  }
  return error;
}

// Nothing is seen of the old range any more.
static int TakeOld(struct shim_move* move) {
  if (!move->keeps_old) {
    move->is_vacant = MapVacate(move->old_start, move->old_length);
    return move->is_vacant ? 0 : (int)-SysMunmap(move->old_start, move->old_length);
  }
  const long stage = MemoryTrapStage(move->old_start, move->old_length, move->prot);
  if (IsError(stage)) return (int)-stage;
  return MemoryMove((uint64_t)stage, move->old_length, move->old_start, 0);
}

static long Place(uint64_t stage, uint64_t length, uint64_t target) {
  const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
  const long result = SysMremap(stage, length, length, flags, target);
  if (!IsError(result)) return result;
  ShowDropSpare();  // it may be for want of areas
  return SysMremap(stage, length, length, flags, target);
}

// After an error: what was copied is the old range again.
static void PutBack(const struct shim_move* move, uint64_t stage) {
  if (move->length > move->old_length) {
    SysMunmap(stage + move->old_length, move->length - move->old_length);
  }
  const long result = Place(stage, move->old_length, move->old_start);
  // What the program stored would be lost untold.
  if (IsError(result)) Sys3(SYS_kill, Sys3(SYS_getpid, 0, 0, 0), SIGKILL, 0);
}

static int Move(struct shim_move* move) {
  int error = TableReserve(2);
  if (error != 0) return error;
  const long memory =
      MemoryStage(move->start, move->length, PROT_READ | PROT_WRITE, kAnonymous, -1, 0);
  if (IsError(memory)) return (int)-memory;
  const uint64_t stage = (uint64_t)memory;
  error = CopyAll(move, stage);
  if (error == 0) error = MemoryRegister(stage, move->length, kTrapModes);
  if (error == 0) error = (int)-SysMprotect(stage, move->length, move->prot);
  if (error == 0) error = TakeOld(move);
  if (error != 0) {
    SysMunmap(stage, move->length);
    return error;
  }
  const long placed = Place(stage, move->length, move->start);
  if (IsError(placed)) {
    PutBack(move, stage);
    if (move->is_vacant) TableVacant(0, 0);
    move->is_vacant = false;
    return (int)-placed;
  }
  if (!move->keeps_old) TableRemove(move->old_start, move->old_start + move->old_length);
  for (size_t i = TableFind(move->start); i < TableCount(); i++) {
    struct shim_part* part = TablePart(i);
    if (part->start >= move->start + move->length) break;
    part->prot = move->prot;
  }
  return 0;
}

static int Hold(const struct shim_move* move, long channel) {
  struct shim_job job = {.request = {.call = WIRE_HOLD, .tid = move->telling.job.request.tid}};
  job.request.arguments[0] = move->old_start;
  job.request.arguments[1] = move->old_length;
  return ChannelAsk(channel, &job);
}

int OwnMoveJob(struct shim_job* job, long channel) {
  struct shim_move* move = (struct shim_move*)job;
  int error = MapAsk(&move->telling, channel);
  if (error == 0) error = Hold(move, channel);
  if (error != 0) return error;
  Lock(&shim_table_lock);
  error = Move(move);
  Unlock(&shim_table_lock);
  return error;
}
