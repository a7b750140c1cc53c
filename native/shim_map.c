// mmap. A regular file of the mount gets anonymous memory of which the daemon is told (WIRE_MAP);
// everything else is the kernel's. Errors as mmap(2) has them for a file on a DAX filesystem.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "shim_memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

// What MAP_SHARED_VALIDATE knows, of a DAX file.
enum {
  kKnownFlags = MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS | MAP_DENYWRITE |
                MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_HUGETLB | MAP_LOCKED | MAP_NONBLOCK |
                MAP_NORESERVE | MAP_POPULATE | MAP_STACK | MAP_SYNC | MAP_32BIT |
                (int)(0x3fU << MAP_HUGE_SHIFT),
};

// The arguments of mmap.
struct wanted {
  uint64_t address;
  uint64_t length;
  int prot;
  int flags;
  int fd;
  uint64_t offset;
};

static long KernelMap(const struct wanted* wanted) {
  return SysMmap(wanted->address, wanted->length, wanted->prot, wanted->flags, wanted->fd,
                 wanted->offset);
}

static bool Replaces(const struct wanted* wanted) {
  return (wanted->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
}

long MapReserve(uint64_t hint, uint64_t length, uint64_t offset, int prot, int extra) {
  if (hint != 0) {
    const long result = SysMmap(hint, length, prot, kAnonymous | extra, -1, 0);
    if (IsError(result) || (uint64_t)result == hint) return result;
    SysMunmap((uint64_t)result, length);
  }
  if (length < HUGE_PAGE) return SysMmap(0, length, prot, kAnonymous | extra, -1, 0);
  if (length + HUGE_PAGE < length) return -ENOMEM;
  const long result = SysMmap(0, length + HUGE_PAGE, prot, kAnonymous | extra, -1, 0);
  // With few addresses left (RLIMIT_AS), anywhere is better than nowhere.
  if (IsError(result)) return SysMmap(0, length, prot, kAnonymous | extra, -1, 0);
  const uint64_t low = (uint64_t)result;
  const uint64_t start = low + ((offset - low) & (HUGE_PAGE - 1) & ~(PAGE - 1));
  if (start > low) SysMunmap(low, start - low);
  if (low + HUGE_PAGE > start) SysMunmap(start + length, low + HUGE_PAGE - start);
  return (long)start;
}

bool MapVacate(uint64_t start, uint64_t length) {
  TableVacant(start, start + length);
  const long result = SysMmap(start, length, PROT_NONE, kAnonymous | MAP_FIXED, -1, 0);
  if (IsError(result)) TableVacant(0, 0);
  return !IsError(result);
}

void MapLeave(uint64_t start, uint64_t length) {
  SysMunmap(start, length);
  TableVacant(0, 0);
}

void MapUntell(uint64_t start, uint64_t end) {
  struct shim_job job = {.request = {.call = WIRE_UNMAP}};
  job.request.arguments[0] = start;
  job.request.arguments[1] = end - start;
  ShimCall(&job);
}

int MapAsk(struct shim_telling* telling, long channel) {
  const struct shim_part* part = telling->part;
  const struct shim_anchor* anchor = AnchorAt(part->anchor);
  struct shim_job* job = &telling->job;
  job->request.call = WIRE_MAP;
  if (anchor->is_shared) job->request.flags |= WIRE_MAP_SHARED;
  if (anchor->is_sync) job->request.flags |= WIRE_MAP_SYNC;
  if (!anchor->is_shared && part->is_shown) job->request.flags |= WIRE_MAP_OWN;
  job->request.arguments[0] = part->start;
  job->request.arguments[1] = part->end - part->start;
  job->request.arguments[2] = anchor->ino;
  job->request.arguments[3] = part->offset;

  ForkHide(part->start, part->end - part->start);
  TablePending();
  int error = ChannelAsk(channel, job);

  Lock(&shim_table_lock);
  if (error == 0 && atomic_load(&shim_helper.state) == kHelperGone) error = EIO;
  telling->number = error == 0 ? job->reply.values[0] : 0;
  for (size_t i = TableFind(part->start); i < TableCount(); i++) {
    if (TablePart(i)->start >= part->end) break;
    TablePart(i)->number = telling->number;
  }
  Unlock(&shim_table_lock);
  return error;
}

static int AskJob(struct shim_job* job, long channel) {
  return MapAsk((struct shim_telling*)job, channel);
}

static int Ask(struct shim_telling* telling) {
  telling->number = 0;
  telling->job.request.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
  return JobDo(&telling->job);
}

void MapServe(uint64_t number) { TableNumbered(number); }

int MapTellAgain(const struct shim_part* part) {
  struct shim_telling telling = {.job = {.run = AskJob}, .part = part};
  const int error = Ask(&telling);
  MapServe(telling.number);
  return error;
}

int MapBegin(struct shim_telling* telling) {
  const struct shim_part* part = telling->part;
  Lock(&shim_table_lock);
  int error = TableReserve(1);
  if (error == 0) TableInsert(part);
  Unlock(&shim_table_lock);
  if (error != 0) return error;
  error = Ask(telling);
  if (telling->number != 0) return error;
  Lock(&shim_table_lock);
  TableRemove(part->start, part->end);  // its limits are limits of parts: takes no room
  Unlock(&shim_table_lock);
  return error;
}

int MapTell(const struct shim_part* part) {
  struct shim_telling telling = {.job = {.run = AskJob}, .part = part};
  const int error = MapBegin(&telling);
  MapServe(telling.number);
  return error;
}

struct taking {
  struct shim_job job;
  uint64_t start;
  uint64_t length;
  int prot;
  bool had_ours;
};

static int TakeJob(struct shim_job* job, long channel) {
  (void)channel;
  struct taking* taking = (struct taking*)job;
  Lock(&shim_table_lock);
  int error = TableReserve(2);
  const long stage =
      error == 0 ? MemoryTrapStage(taking->start, taking->length, taking->prot) : -error;
  error =
      IsError(stage) ? (int)-stage : MemoryMove((uint64_t)stage, taking->length, taking->start, 0);
  if (error == 0) taking->had_ours = TableRemove(taking->start, taking->start + taking->length);
  Unlock(&shim_table_lock);
  return error;
}

long MapTake(uint64_t start, uint64_t length, int prot) {
  struct taking taking = {{.run = TakeJob}, start, length, prot, false};
  long result = (long)start;
  if (JobDo(&taking.job) != 0) {
    // For want of room for both, or an address that cannot be: as the kernel has it.
    Lock(&shim_table_lock);
    result = -TableReserve(2);
    if (result == 0) result = SysMmap(start, length, prot, kAnonymous | MAP_FIXED, -1, 0);
    if (!IsError(result)) taking.had_ours = TableRemove(start, start + length);
    Unlock(&shim_table_lock);
  }
  if (taking.had_ours) MapUntell(start, start + length);
  return result;
}

// Takes the addresses; what of ours was there goes. The kernel's result.
static long TakeAddresses(const struct wanted* wanted) {
  const int extra = wanted->flags & MAP_32BIT;
  const int fixed = wanted->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
  if (fixed == 0) {
    return MapReserve(wanted->address & ~(PAGE - 1), wanted->length, wanted->offset, wanted->prot,
                      extra);
  }
  if (Replaces(wanted)) return MapTake(wanted->address, wanted->length, wanted->prot);
  return SysMmap(wanted->address, wanted->length, wanted->prot, kAnonymous | fixed, -1, 0);
}

// The file is not DAX: a mapping as without the shim, at the address that is taken already.
static long MapIndirect(struct wanted* wanted, uint64_t address) {
  if (shim_settings.flags & WIRE_RUN_VERBOSE) {
    char link[32] = "/proc/self/fd/";
    char digits[12];
    size_t count = 0;
    for (int rest = wanted->fd; rest > 0 || count == 0; rest /= 10) {
      digits[count++] = (char)('0' + rest % 10);
    }
    for (size_t at = 14; count > 0; at++) link[at] = digits[--count];
    char path[512] = "";
    Sys4(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, sizeof(path) - 1);
    const char* const words[] = {"fauxdax: ", path,
                                 ": not mapped directly: the file is open without DAX"};
    ShimSay(words, 3);
  }
  const bool is_validated = (wanted->flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
  if (is_validated && (wanted->flags & MAP_SYNC)) {
    SysMunmap(address, wanted->length);
    return -EOPNOTSUPP;
  }
  wanted->address = address;
  wanted->flags = (wanted->flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED;
  const long result = KernelMap(wanted);
  if (IsError(result)) SysMunmap(address, wanted->length);
  return result;
}

// With the change lock held.
static long MapDirect(struct wanted* wanted, struct shim_anchor* anchor) {
  const int error = HelperStart();
  if (error != 0) return -error;
  // Also asks the filesystem whether it may be mapped, and executed.
  const long kept =
      SysMmap(0, PAGE, wanted->prot & PROT_EXEC, MAP_PRIVATE, wanted->fd, wanted->offset);
  if (IsError(kept)) return kept;
  if (wanted->prot & PROT_EXEC) SysMprotect((uint64_t)kept, PAGE, PROT_NONE);
  anchor->address = (uint64_t)kept;
  Lock(&shim_table_lock);
  const int index = AnchorAdd(anchor);
  Unlock(&shim_table_lock);
  if (index < 0) {
    SysMunmap((uint64_t)kept, PAGE);
    return -ENOMEM;
  }
  const long address = TakeAddresses(wanted);
  if (IsError(address)) return address;
  struct shim_part part = {.start = (uint64_t)address, .offset = wanted->offset};
  part.end = part.start + wanted->length;
  part.anchor = (uint32_t)index;
  part.prot = wanted->prot;
  const int refused = MapTell(&part);
  if (refused == 0) return address;
  if (refused == EOPNOTSUPP) return MapIndirect(wanted, part.start);
  SysMunmap(part.start, wanted->length);
  return -refused;
}

// What mmap(2) checks; fills `anchor` but for the address. A negative errno.
static int Check(struct wanted* wanted, struct shim_anchor* anchor) {
  const int type = wanted->flags & MAP_TYPE;
  if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE && type != MAP_PRIVATE) return -EINVAL;
  if (wanted->offset % PAGE != 0 || wanted->length == 0) return -EINVAL;
  if (wanted->flags & (MAP_HUGETLB | MAP_GROWSDOWN)) return -EINVAL;
  if (wanted->length > UINT64_MAX / 2 || wanted->offset > INT64_MAX - PageUp(wanted->length)) {
    return wanted->length > UINT64_MAX / 2 ? -ENOMEM : -EOVERFLOW;
  }
  wanted->length = PageUp(wanted->length);
  const int fixed = wanted->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
  if (fixed && wanted->address % PAGE != 0) return -EINVAL;
  if (fixed && wanted->address + wanted->length < wanted->address) return -ENOMEM;
  if (type == MAP_SHARED_VALIDATE && (wanted->flags & ~kKnownFlags)) return -EOPNOTSUPP;
  const long mode = Sys3(SYS_fcntl, wanted->fd, F_GETFL, 0);
  if (mode < 0 || (mode & O_PATH)) return -EBADF;
  anchor->is_shared = type != MAP_PRIVATE;
  anchor->is_sync = (wanted->flags & MAP_SYNC) != 0;
  anchor->may_write = !anchor->is_shared || (mode & O_ACCMODE) == O_RDWR;
  if ((mode & O_ACCMODE) == O_WRONLY) return -EACCES;
  if ((wanted->prot & PROT_WRITE) && !anchor->may_write) return -EACCES;
  wanted->prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
  return 0;
}

static long MapOurs(struct wanted* wanted, uint64_t ino) {
  struct shim_anchor anchor = {.ino = ino};
  const int error = Check(wanted, &anchor);
  if (error != 0) return error;
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  const long result = MapDirect(wanted, &anchor);
  AnchorsDrop();
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
  if (!IsError(result) && (wanted->flags & (MAP_POPULATE | MAP_LOCKED))) {
    SysMadvise((uint64_t)result, wanted->length, MADV_POPULATE_READ);
  }
  return result;
}

// A mapping of the kernel's, elsewhere, that is to go to the wanted address; 0 when it is made
// there at once: memory, and what would begin in a gap of the very place.
static long MakeStage(const struct wanted* wanted, uint64_t length) {
  if (wanted->flags & MAP_ANONYMOUS) return 0;
  struct wanted elsewhere = *wanted;
  elsewhere.address = 0;
  elsewhere.flags &= ~MAP_FIXED;
  const long stage = KernelMap(&elsewhere);
  if (IsError(stage)) return stage;
  const uint64_t start = (uint64_t)stage;
  const bool is_apart = start + length <= wanted->address || wanted->address + length <= start;
  if (is_apart) return stage;
  SysMunmap(start, length);
  return 0;
}

// Something else over mappings of ours. Made elsewhere and moved into place, so that it happens at
// once or not at all, and no filesystem is waited for while the helper may not obey.
static long MapOver(struct wanted* wanted) {
  const uint64_t length = PageUp(wanted->length);
  const uint64_t end = wanted->address + length;
  const uint64_t signals = BlockSignals();
  Lock(&shim_change_lock);
  const long stage = MakeStage(wanted, length);
  long result = stage;
  bool had_ours = false;
  if (!IsError(stage)) {
    Lock(&shim_table_lock);
    result = -TableReserve(2);
    if (result == 0) {
      result = stage == 0 ? KernelMap(wanted)
                          : SysMremap((uint64_t)stage, length, length,
                                      MREMAP_MAYMOVE | MREMAP_FIXED, wanted->address);
    }
    if (!IsError(result)) had_ours = TableRemove(wanted->address, end);
    Unlock(&shim_table_lock);
    if (IsError(result) && stage != 0) SysMunmap((uint64_t)stage, length);
  }
  if (had_ours) MapUntell(wanted->address, end);
  AnchorsDrop();
  Unlock(&shim_change_lock);
  RestoreSignals(signals);
  return result;
}

static long Map(struct wanted* wanted) {
  uint64_t ino;
  if ((wanted->flags & MAP_ANONYMOUS) == 0 && ShimIsOurs(wanted->fd, &ino)) {
    const long result = MapOurs(wanted, ino);
    ScanObjects();
    return result;
  }
  const uint64_t end = wanted->address + PageUp(wanted->length);
  if (Replaces(wanted) && TableMayTouch(wanted->address, end) && wanted->address % PAGE == 0) {
    return MapOver(wanted);
  }
  return KernelMap(wanted);
}

long CallMmap(uint64_t address, uint64_t length, int prot, int flags, int fd, uint64_t offset) {
  struct wanted wanted = {address, length, prot, flags, fd, offset};
  return Map(&wanted);
}

SHIM_PUBLIC void* mmap(void* address, size_t length, int prot, int flags, int fd, off_t offset) {
  return (void*)ShimResult(CallMmap((uint64_t)address, length, prot, flags, fd, (uint64_t)offset));
}

SHIM_PUBLIC void* mmap64(void* address, size_t length, int prot, int flags, int fd,
                         off64_t offset) {
  return mmap(address, length, prot, flags, fd, offset);
}
