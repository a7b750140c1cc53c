// See shim_memory.h.
#define _GNU_SOURCE
#include "shim_memory.h"

#include <errno.h>
#include <sys/ioctl.h>

#ifndef PAGEMAP_SCAN
enum page_category {
  PAGE_IS_FILE = 1 << 2,
  PAGE_IS_PRESENT = 1 << 3,
  PAGE_IS_SWAPPED = 1 << 4,
  PAGE_IS_PFNZERO = 1 << 5,
};
struct page_region {
  uint64_t start, end, categories;
};
struct pm_scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

bool PagesHave(const struct page_set* set, uint64_t page) {
  return (set->words[page / 64] >> (page % 64)) & 1;
}

// The run of pages from `page` on that are all in the set, or all not; its end.
uint64_t PagesRunEnd(const struct page_set* set, uint64_t page, uint64_t count) {
  const bool is_in = PagesHave(set, page);
  while (page < count && PagesHave(set, page) == is_in) page++;
  return page;
}

bool PagesAreNone(const struct page_set* set) {
  uint64_t any = 0;
  for (size_t i = 0; i < kChunkPages / 64; i++) any |= set->words[i];
  return any == 0;
}

int MemoryRegister(uint64_t start, uint64_t length, int modes) {
  struct uffdio_register range = {.range = {start, length}, .mode = (uint64_t)modes};
  return (int)-SysIoctl(shim_helper.uffd, UFFDIO_REGISTER, &range);
}

int MemoryProtect(uint64_t start, uint64_t length) {
  struct uffdio_writeprotect range = {{start, length}, UFFDIO_WRITEPROTECT_MODE_WP};
  long result;
  do {
    result = SysIoctl(shim_helper.uffd, UFFDIO_WRITEPROTECT, &range);
  } while (result == -EAGAIN);
  return (int)-result;
}

int MemoryZero(uint64_t start, uint64_t length) {
  while (length > 0) {
    struct uffdio_zeropage zero = {{start, length}, UFFDIO_ZEROPAGE_MODE_DONTWAKE, 0};
    const long result = SysIoctl(shim_helper.uffd, UFFDIO_ZEROPAGE, &zero);
    if (result == 0) return 0;
    if (result != -EAGAIN) return (int)-result;
    if (zero.zeropage <= 0) continue;
    start += (uint64_t)zero.zeropage;
    length -= (uint64_t)zero.zeropage;
  }
  return 0;
}

void ShowWake(uint64_t address, uint64_t length) {
  struct uffdio_range range = {address, length};
  SysIoctl(shim_helper.uffd, UFFDIO_WAKE, &range);
}

// Memory at an address that huge pages can be moved from; a negative errno.
long MemoryStage(uint64_t target, uint64_t length, int prot, int flags, long fd, uint64_t offset) {
  long reserved = 0;
  if (length >= HUGE_PAGE) {
    reserved = MapReserve(0, length, target, PROT_NONE, 0);
    if (IsError(reserved)) return reserved;
    flags |= MAP_FIXED;
  }
  const long stage = SysMmap((uint64_t)reserved, length, prot, flags, fd, offset);
  if (!IsError(stage)) {
    ForkHide((uint64_t)stage, length);
  } else if (reserved != 0) {
    SysMunmap((uint64_t)reserved, length);
  }
  return stage;
}

// Puts the stage into place, or gives it up after an error.
int MemoryMove(uint64_t stage, uint64_t length, uint64_t target, int error) {
  if (error == 0) {
    const long result = SysMremap(stage, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    if (!IsError(result)) return 0;
    error = (int)-result;
  }
  SysMunmap(stage, length);
  return error;
}

long MemoryTrapStage(uint64_t target, uint64_t length, int prot) {
  const long stage = MemoryStage(target, length, prot, kAnonymous, -1, 0);
  if (IsError(stage)) return stage;
  const int error = MemoryRegister((uint64_t)stage, length, kTrapModes);
  if (error == 0) return stage;
  SysMunmap((uint64_t)stage, length);
  return -error;
}

// Adds the pages of a chunk that are anonymous and no zero page: the process's own. What write
// protection marks in page tables where there is no page looks like a page in swap, so those are
// counted only before.
static int AddOwn(uint64_t start, uint64_t length, bool with_swapped, struct page_set* own) {
  static struct page_region runs[kChunkPages];
  struct pm_scan_arg scan = {.size = sizeof(scan), .start = start, .end = start + length};
  scan.vec = (uint64_t)runs;
  scan.vec_len = kChunkPages;
  scan.category_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO;
  scan.category_inverted = scan.category_mask;
  scan.category_anyof_mask = PAGE_IS_PRESENT | (with_swapped ? PAGE_IS_SWAPPED : 0);
  scan.return_mask = PAGE_IS_PRESENT;
  const long count = SysIoctl(shim_helper.pagemap, PAGEMAP_SCAN, &scan);
  if (count < 0) return (int)-count;
  for (long i = 0; i < count; i++) {
    for (uint64_t at = runs[i].start; at < runs[i].end; at += PAGE) {
      const uint64_t page = (at - start) / PAGE;
      own->words[page / 64] |= UINT64_C(1) << (page % 64);
    }
  }
  return 0;
}

// Through /proc/self/mem, which minds no protection of the source.
int OwnCopy(uint64_t from, uint64_t to, uint64_t length, const struct page_set* own) {
  const uint64_t count = length / PAGE;
  for (uint64_t page = 0, end; page < count; page = end) {
    end = PagesRunEnd(own, page, count);
    if (!PagesHave(own, page)) continue;
    const uint64_t bytes = (end - page) * PAGE;
    const long result = Sys4(SYS_pread64, shim_helper.memory, (long)(to + page * PAGE), (long)bytes,
                             (long)(from + page * PAGE));
    if (result != (long)bytes) return EIO;
  }
  return 0;
}

int OwnFreeze(uint64_t start, uint64_t length, struct page_set* own) {
  *own = (struct page_set){0};
  const int error = AddOwn(start, length, true, own);
  if (error != 0) return error;
  MemoryProtect(start, length);  // after fork nothing is registered, and nobody stores
  return AddOwn(start, length, false, own);
}
