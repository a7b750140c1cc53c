// Memory of this process, as threads of ours change it (shim_show.c, shim_own.c): registered with
// the userfaultfd, write-protected, made ready elsewhere and moved into place. All with the table
// lock held. Errors are positive errnos.
#ifndef FAUXDAX_SHIM_MEMORY_H_
#define FAUXDAX_SHIM_MEMORY_H_

#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include "shim.h"

enum {
  kChunkPages = 512,
  kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
  kTrapModes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
};

// Pages of a chunk, one bit each.
struct page_set {
  uint64_t words[kChunkPages / 64];
};

bool PagesHave(const struct page_set* set, uint64_t page);
bool PagesAreNone(const struct page_set* set);
// The run of pages from `page` on that are all in the set, or all not; its end.
uint64_t PagesRunEnd(const struct page_set* set, uint64_t page, uint64_t count);

// `modes`: UFFDIO_REGISTER_MODE_*.
int MemoryRegister(uint64_t start, uint64_t length, int modes);
int MemoryProtect(uint64_t start, uint64_t length);
int MemoryZero(uint64_t start, uint64_t length);

// Memory elsewhere, for `target`, from where huge pages can be moved there; a negative errno.
long MemoryStage(uint64_t target, uint64_t length, int prot, int flags, long fd, uint64_t offset);
// Puts the stage into place, or gives it up after an error.
int MemoryMove(uint64_t stage, uint64_t length, uint64_t target, int error);
// A stage where every access is told; a negative errno.
long MemoryTrapStage(uint64_t target, uint64_t length, int prot);

// Which pages of a chunk at most are the process's own: a store to a private mapping made them so.
// From here on no other becomes so, since stores are held (WIRE_HOLD, or the daemon's command).
int OwnFreeze(uint64_t start, uint64_t length, struct page_set* own);
// Copies them to the same places from `to` on, whatever the protection of where they are.
int OwnCopy(uint64_t from, uint64_t to, uint64_t length, const struct page_set* own);

#endif  // FAUXDAX_SHIM_MEMORY_H_
