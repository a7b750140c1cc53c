// What mappings show. All of it with the table lock held and in threads of ours, whose descriptors
// it uses. New memory that stores must not get through to is made ready at another address, the
// stage, and moved into place at once by mremap: registration and write protection go with it.
//
// Of private mappings the pages that the process made its own by a store stay, unless told
// otherwise: stores are frozen by write protection (the daemon does not answer them while a command
// is under way), the process's pages are copied to the stage, and all of it is replaced. Huge page
// by huge page, so that what must be remembered is bounded.
#define _GNU_SOURCE
#include <errno.h>

#include "shim_memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// Something to be shown at [start, start + length) of a part.
struct showing {
  const struct shim_part* part;
  uint32_t kind;  // WIRE_*
  uint32_t flags;
  uint64_t start;
  uint64_t length;
  uint64_t region_offset;
  bool is_shared;
  struct shim_met* met;  // of a command
};

static int ShowTrap(const struct showing* show) {
  const long stage = MemoryTrapStage(show->start, show->length, show->part->prot);
  if (IsError(stage)) return (int)-stage;
  return MemoryMove((uint64_t)stage, show->length, show->start, 0);
}

// By entries of 2 MiB where the kernel has its huge page of zeroes; where not, one page is there
// when the others are asked for.
static int ShowHugeZeroes(const struct showing* show) {
  const long result = MemoryStage(show->start, show->length, show->part->prot, kAnonymous, -1, 0);
  if (IsError(result)) return (int)-result;
  const uint64_t stage = (uint64_t)result;
  SysMadvise(stage, show->length, MADV_HUGEPAGE);
  int error = (int)-SysMadvise(stage, PAGE, MADV_POPULATE_READ);
  if (error == 0) error = MemoryRegister(stage, show->length, kTrapModes);
  if (error == 0) error = MemoryZero(stage + PAGE, show->length - PAGE);
  if (error == EEXIST) error = 0;
  if (error == 0) error = MemoryProtect(stage, show->length);
  return MemoryMove(stage, show->length, show->start, error);
}

static int ShowZero(const struct showing* show) {
  const bool is_huge = show->length == HUGE_PAGE && show->start % HUGE_PAGE == 0;
  if (is_huge && show->is_shared && ShowHugeZeroes(show) == 0) return 0;
  const long stage = MemoryTrapStage(show->start, show->length, show->part->prot);
  if (IsError(stage)) return (int)-stage;
  int error = MemoryZero((uint64_t)stage, show->length);
  if (error == 0 && show->is_shared) error = MemoryProtect((uint64_t)stage, show->length);
  return MemoryMove((uint64_t)stage, show->length, show->start, error);
}

// Of memory that is not registered yet, which the kernel maps many pages at a time, as storable as
// they may be.
static void Populate(const struct showing* show, uint64_t start) {
  const bool is_worth_it = (show->flags & WIRE_COLLAPSE) != 0;
  if (is_worth_it && SysMadvise(start, show->length, MADV_COLLAPSE) != 0) show->met->small = true;
  if ((show->flags & WIRE_POPULATE) == 0) return;
  const bool is_readable = (show->part->prot & PROT_READ) != 0;
  SysMadvise(start, show->length, is_readable ? MADV_POPULATE_READ : MADV_POPULATE_WRITE);
}

static int ShowStorable(const struct showing* show, int sharing) {
  const long result = SysMmap(show->start, show->length, show->part->prot, sharing | MAP_FIXED,
                              shim_helper.region, show->region_offset);
  if (IsError(result)) return (int)-result;
  ForkHide(show->start, show->length);
  // Before a sync can protect any of it: this thread must not fault, the daemon waits for it.
  if (show->is_shared) Populate(show, show->start);
  return MemoryRegister(show->start, show->length, UFFDIO_REGISTER_MODE_WP);
}

static int ShowProtected(const struct showing* show) {
  const long stage = MemoryStage(show->start, show->length, show->part->prot, MAP_SHARED,
                                 shim_helper.region, show->region_offset);
  if (IsError(stage)) return (int)-stage;
  Populate(show, (uint64_t)stage);
  int error = MemoryRegister((uint64_t)stage, show->length, UFFDIO_REGISTER_MODE_WP);
  if (error == 0) error = MemoryProtect((uint64_t)stage, show->length);
  return MemoryMove((uint64_t)stage, show->length, show->start, error);
}

int ShowBus(const struct shim_part* part, uint64_t start, uint64_t length, long empty) {
  const long result = SysMmap(start, length, part->prot, MAP_SHARED | MAP_FIXED, empty, 0);
  if (IsError(result)) return (int)-result;
  // Only so that a range with such pages can be write-protected as a whole.
  MemoryRegister(start, length, UFFDIO_REGISTER_MODE_WP);
  return 0;
}

// Without regard to pages of the process's own.
static int ShowWhole(const struct showing* show) {
  switch (show->kind) {
    case WIRE_TRAP:
      return ShowTrap(show);
    case WIRE_ZERO:
      return ShowZero(show);
    case WIRE_REGION:
      if (!show->is_shared) return ShowStorable(show, MAP_PRIVATE | MAP_NORESERVE);
      return (show->flags & WIRE_STORABLE) ? ShowStorable(show, MAP_SHARED) : ShowProtected(show);
    case WIRE_BUS:
      return ShowBus(show->part, show->start, show->length, shim_helper.empty);
    default:
      return EPROTO;
  }
}

// Makes the stage for a chunk with pages of the process's own among `show`.
static int MixStage(const struct showing* show, uint64_t stage, const struct page_set* own) {
  int error = OwnCopy(show->start, stage, show->length, own);
  if (error != 0) return error;
  const bool is_region = show->kind == WIRE_REGION;
  error = MemoryRegister(stage, show->length, is_region ? UFFDIO_REGISTER_MODE_WP : kTrapModes);
  const uint64_t count = show->length / PAGE;
  for (uint64_t page = 0, end; show->kind == WIRE_ZERO && error == 0 && page < count; page = end) {
    end = PagesRunEnd(own, page, count);
    if (!PagesHave(own, page)) error = MemoryZero(stage + page * PAGE, (end - page) * PAGE);
  }
  if (error == 0) error = (int)-SysMprotect(stage, show->length, show->part->prot);
  return error;
}

// Shows `show` but for the pages in `own`, which the process keeps.
static int ShowAround(const struct showing* show, const struct page_set* own) {
  if (show->kind == WIRE_BUS) {  // no file of no bytes can hold a page: it stays where it is
    const uint64_t count = show->length / PAGE;
    int error = 0;
    for (uint64_t page = 0, end; error == 0 && page < count; page = end) {
      end = PagesRunEnd(own, page, count);
      if (PagesHave(own, page)) continue;
      error =
          ShowBus(show->part, show->start + page * PAGE, (end - page) * PAGE, shim_helper.empty);
    }
    return error;
  }
  const bool is_region = show->kind == WIRE_REGION;
  const long stage =
      MemoryStage(show->start, show->length, PROT_READ | PROT_WRITE,
                  is_region ? MAP_PRIVATE | MAP_NORESERVE : kAnonymous,
                  is_region ? shim_helper.region : -1, is_region ? show->region_offset : 0);
  if (IsError(stage)) return (int)-stage;
  const int error = MixStage(show, (uint64_t)stage, own);
  return MemoryMove((uint64_t)stage, show->length, show->start, error);
}

static int ShowKeeping(const struct showing* show) {
  struct page_set own;
  const int error = OwnFreeze(show->start, show->length, &own);
  if (error != 0) return error;
  if (PagesAreNone(&own)) return ShowWhole(show);
  if (show->flags & WIRE_HUGE) show->met->own = true;
  return ShowAround(show, &own);
}

static int ShowChunks(const struct showing* whole) {
  struct showing chunk = *whole;
  const uint64_t end = whole->start + whole->length;
  while (chunk.start < end) {
    const uint64_t next = (chunk.start & ~(HUGE_PAGE - 1)) + HUGE_PAGE;
    chunk.length = (next < end ? next : end) - chunk.start;
    const int error = ShowKeeping(&chunk);
    if (error != 0) return error;
    chunk.region_offset += chunk.length;
    chunk.start += chunk.length;
  }
  return 0;
}

// Areas that are held only to be given back when the process has too many: each separate piece that
// is shown is one (sysctl vm.max_map_count).
static uint64_t spare_areas;

enum { kSparePages = 16 };

void ShowHoldSpare(void) {
  if (spare_areas != 0) return;
  const long result = SysMmap(0, kSparePages * PAGE, PROT_NONE, kAnonymous, -1, 0);
  if (IsError(result)) return;
  spare_areas = (uint64_t)result;
  for (uint64_t page = 0; page < kSparePages; page += 2) {
    SysMprotect(spare_areas + page * PAGE, PAGE, PROT_READ);
  }
}

void ShowDropSpare(void) {
  if (spare_areas != 0) SysMunmap(spare_areas, kSparePages * PAGE);
  spare_areas = 0;
}

// Too many areas: all of the part faults again, which makes one of them. The kernel may drop page
// tables at any time, so the daemon does not mind.
static int ShowAgain(const struct showing* show) {
  const struct shim_part* part = show->part;
  ShowDropSpare();
  const struct showing trap = {.part = part,
                               .kind = WIRE_TRAP,
                               .start = part->start,
                               .length = part->end - part->start,
                               .is_shared = true};
  const int error = ShowTrap(&trap);
  return error != 0 ? error : ShowWhole(show);
}

static int ShowPart(struct shim_part* part, const struct wire_command* command,
                    struct shim_met* met) {
  const uint64_t end = command->address + command->length;
  struct showing show = {.part = part, .kind = command->kind, .flags = command->flags};
  show.met = met;
  show.start = part->start > command->address ? part->start : command->address;
  show.length = (part->end < end ? part->end : end) - show.start;
  show.region_offset = command->region_offset + (show.start - command->address);
  show.is_shared = AnchorAt(part->anchor)->is_shared;
  const bool was_shown = part->is_shown;
  if (show.kind != WIRE_TRAP) part->is_shown = true;
  if (show.kind == WIRE_TRAP && !was_shown) return 0;
  const bool may_own = !show.is_shared && was_shown && (show.flags & WIRE_DROP_OWN) == 0;
  if (may_own) return ShowChunks(&show);
  const int error = ShowWhole(&show);
  if (error != ENOMEM || !show.is_shared) return error;
  const int again_error = ShowAgain(&show);
  ShowHoldSpare();
  return again_error;
}

int ShowCommand(const struct wire_command* command, struct shim_met* met) {
  const uint64_t end = command->address + command->length;
  int error = 0;
  *met = (struct shim_met){0};
  for (size_t i = TableFind(command->address); i < TableCount(); i++) {
    struct shim_part* part = TablePart(i);
    if (part->start >= end) break;
    if (part->number != command->mapping) continue;
    const int part_error = ShowPart(part, command, met);
    if (error == 0) error = part_error;
  }
  return error;
}

int KeepOwnJob(struct shim_job* job, long channel) {
  (void)channel;
  Lock(&shim_table_lock);
  const struct shim_part* part = TablePart(TableFind(job->from));
  const struct showing show = {
      .part = part, .kind = WIRE_TRAP, .start = job->from, .length = job->length};
  const int error = ShowChunks(&show);
  Unlock(&shim_table_lock);
  return error;
}
