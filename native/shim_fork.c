// fork. A child begins with the address space of its parent, but without shared mappings, and
// without its userfaultfd and its threads. Before fork returns in it, alone, it attaches by itself
// and tells the daemon of every mapping anew, over fresh memory; pages of its own in private
// mappings it keeps. The parent waits until then: its mappings, and with them what the child still
// shows, stay. A child that is made past these handlers has none of it: there an access is SIGSEGV.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "shim.h"

void ForkHide(uint64_t start, uint64_t length) { SysMadvise(start, length, MADV_DONTFORK); }

// Private mappings, which may have pages of the process's own, are for children of fork.
static void AdvisePrivate(int advice) {
  for (size_t i = 0; i < TableCount(); i++) {
    const struct shim_part* part = TablePart(i);
    if (AnchorAt(part->anchor)->is_shared || part->dont_fork) continue;
    SysMadvise(part->start, part->end - part->start, advice);
  }
}

static uint64_t signals_before;
// Sockets: the parent's offer is in the second, which the child closes, or dies.
static int ends[2] = {-1, -1};

static void Prepare(void) {
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  ends[0] = -1;
  ends[1] = -1;
  if (TableCount() > 0) {
    Sys4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)ends);
    if (ends[0] >= 0) OfferMake(ends[0]);
  }
  Lock(&shim_table_lock);
  AdvisePrivate(MADV_DOFORK);
  signals_before = signals;
}

static void InParent(void) {
  AdvisePrivate(MADV_DONTFORK);
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

// The addresses of shared mappings, which are empty here, before anything else takes them.
static int ReserveShared(void) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  int error = 0;
  for (size_t i = 0; i < TableCount(); i++) {
    const struct shim_part* part = TablePart(i);
    if (!AnchorAt(part->anchor)->is_shared || part->dont_fork) continue;
    const long result = SysMmap(part->start, part->end - part->start, part->prot, flags, -1, 0);
    if (IsError(result)) error = (int)-result;
  }
  return error;
}

static void DropUnforked(void) {
  for (size_t i = 0; i < TableCount();) {
    const struct shim_part part = *TablePart(i);
    if (part.dont_fork) {
      TableRemove(part.start, part.end);
    } else {
      i++;
    }
  }
}

// Nothing is shown of a part but pages of the process's own.
static int Clear(const struct shim_part* part) {
  if (AnchorAt(part->anchor)->is_shared || !part->is_shown) return 0;
  struct shim_job job = {.run = KeepOwnJob, .from = part->start, .length = part->end - part->start};
  return JobDo(&job);
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
    if (error == 0) error = Clear(part);
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
  ThreadsPrepare();
  FilesForget();
  BellsForget();
  const uint32_t state = atomic_load(&shim_helper.state);
  if (state == kHelperReady) {
    atomic_store(&shim_helper.state, kHelperNone);
    ThreadsForget();
    int error = ReserveShared();
    if (TableReserve(2) == 0) DropUnforked();
    shim_helper.is_child = TableCount() > 0;
    shim_helper.offer = ends[1];
    if (error == 0 && TableCount() > 0) error = HelperStart();
    shim_helper.is_child = false;
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
