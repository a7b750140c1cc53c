// fork. A child begins with the address space of its parent but without its userfaultfd and its
// threads. Before fork returns in it, alone, it attaches by itself and tells the daemon of every
// mapping anew, over fresh memory; pages of its own in private mappings it keeps. The parent
// waits until then: its mappings, and with them what the child still shows, stay.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "shim.h"

static uint64_t signals_before;
static int ends[2] = {-1, -1};  // the child closes the second, or dies

static void Prepare(void) {
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  Lock(&shim_table_lock);
  signals_before = signals;
  ends[0] = -1;
  ends[1] = -1;
  if (TableCount() > 0) Sys3(SYS_pipe2, (long)ends, O_CLOEXEC, 0);
}

static void InParent(void) {
  Unlock(&shim_table_lock);
  if (ends[1] >= 0) {
    char byte;
    SysClose(ends[1]);
    while (Sys3(SYS_read, ends[0], (long)&byte, 1) == -EINTR) continue;
    SysClose(ends[0]);
  }
  const uint64_t signals = signals_before;
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
}

static void DropUnforked(void) {
  for (size_t i = 0; i < TableCount();) {
    const struct shim_part part = *TablePart(i);
    if (part.dont_fork) {
      SysMunmap(part.start, part.end - part.start);
      TableRemove(part.start, part.end);
    } else {
      i++;
    }
  }
}

// Nothing is shown of [start, end), which lies in one part, but pages of the process's own.
static int Clear(const struct shim_part* part, uint64_t start, uint64_t end) {
  if (!AnchorAt(part->anchor)->is_shared && part->is_shown) {
    struct shim_job job = {.run = KeepOwnJob, .from = start, .length = end - start};
    return JobDo(&job);
  }
  const long result = SysMmap(start, end - start, part->prot,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return IsError(result) ? (int)-result : 0;
}

static void BusAll(uint64_t start, uint64_t end) {
  const long empty = Sys3(SYS_memfd_create, (long)"fauxdax", 1 /* MFD_CLOEXEC */, 0);
  if (empty < 0) {
    SysMprotect(start, end - start, PROT_NONE);
    return;
  }
  SysMmap(start, end - start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty, 0);
  SysClose(empty);
}

// Parts from `index` on that are one mapping: told anew as one. Returns the index after them.
static size_t TellAgain(size_t index, int error) {
  struct shim_part whole = *TablePart(index);
  const uint64_t number = whole.number;
  size_t after = index;
  uint64_t offset = whole.offset;
  for (; after < TableCount(); after++) {
    struct shim_part* part = TablePart(after);
    const bool goes_on = part->number == number && part->offset == offset &&
                         part->start == TablePart(index)->start + (offset - whole.offset);
    if (!goes_on) break;
    if (error == 0) error = Clear(part, part->start, part->end);
    offset += part->end - part->start;
    whole.end = part->end;
    if (AnchorAt(part->anchor)->is_shared) part->is_shown = false;
  }
  if (error == 0) error = MapTellAgain(&whole);
  if (error != 0) BusAll(whole.start, whole.end);
  return after;
}

static void InChild(void) {
  shim_table_lock = (struct shim_lock){0};
  shim_change_lock = (struct shim_lock){1};
  const uint32_t state = atomic_load(&shim_helper.state);
  if (state == kHelperReady) {
    atomic_store(&shim_helper.state, kHelperNone);
    ThreadsForget();
    if (TableReserve(2) == 0) DropUnforked();
    const int error = TableCount() > 0 ? HelperStart() : 0;
    for (size_t i = 0; i < TableCount();) i = TellAgain(i, error);
    AnchorsDrop();
  }
  if (ends[1] >= 0) {
    SysClose(ends[0]);
    SysClose(ends[1]);
  }
  const uint64_t signals = signals_before;
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
}

void ForkPrepare(void) { pthread_atfork(Prepare, InParent, InChild); }
