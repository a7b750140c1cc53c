// The entry points of libpmem and libpmem2 that make stores durable. Debian's libpmemobj,
// libpmemblk, libpmemlog and libpmempool have no flush instruction of their own: they reach it by
// these.
//
// Where the mount is not recorded, each is the library's own. Where it is, the barrier is told when
// the library has done its work: lines that were flushed, and a drain, which is a fence of the
// calling thread. Nothing has to be said about msync, which these libraries call by its name, as
// pmem2_deep_flush does.
//
// A program that asks dlsym for a function of the library itself passes by. Where nothing is linked
// with the library, shim_scan.c refuses it; else its flushes are not seen, and count as never made.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "shim.h"
#include "shim_syscall.h"

// As libpmem.h and libpmem2.h have them, which agree.
#define NO_DRAIN (1U << 0)
#define NO_FLUSH (1U << 5)
#define PAGE_GRANULARITY 2

struct pmem2_map;

// The library's own function: after us in the order of lookup, or of a library that a dlopen() of
// the program loaded for itself alone.
static void* Find(const char* library, const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found != NULL) return found;
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  found = handle == NULL ? NULL : dlsym(handle, name);
  if (found != NULL) return found;
  const char* const words[] = {"fauxdax: ", library, " has no ", name};
  ShimSay(words, sizeof(words) / sizeof(words[0]));
  Sys3(SYS_exit_group, 127, 0, 0);
  __builtin_unreachable();
}

// `name##Own()` is the library's function.
#define OWN(library, result, name, parameters)                        \
  typedef result(*name##Type) parameters;                             \
  static name##Type name##Own(void) {                                 \
    static _Atomic(void*) known;                                      \
    void* found = atomic_load_explicit(&known, memory_order_acquire); \
    if (found == NULL) {                                              \
      found = Find(library, #name);                                   \
      atomic_store_explicit(&known, found, memory_order_release);     \
    }                                                                 \
    return (name##Type)(uintptr_t)found;                              \
  }

#define PMEM "libpmem.so.1"
#define PMEM2 "libpmem2.so.1"

OWN(PMEM, void, pmem_flush, (const void*, size_t))
OWN(PMEM, void, pmem_deep_flush, (const void*, size_t))
OWN(PMEM, void, pmem_drain, (void))
OWN(PMEM, int, pmem_deep_drain, (const void*, size_t))

SHIM_PUBLIC void pmem_flush(const void* address, size_t length) {
  pmem_flushOwn()(address, length);
  if (length > 0) shim_barrier(address, length, 0);
}

SHIM_PUBLIC void pmem_deep_flush(const void* address, size_t length) {
  pmem_deep_flushOwn()(address, length);
  if (length > 0) shim_barrier(address, length, 0);
}

// In its two steps: the library's own would call both by their names, and so us.
SHIM_PUBLIC void pmem_persist(const void* address, size_t length) {
  pmem_flushOwn()(address, length);
  pmem_drainOwn()();
  shim_barrier(address, length, WIRE_FLUSH_DRAIN);
}

SHIM_PUBLIC void pmem_drain(void) {
  pmem_drainOwn()();
  shim_barrier(NULL, 0, WIRE_FLUSH_DRAIN);
}

SHIM_PUBLIC int pmem_deep_drain(const void* address, size_t length) {
  const int result = pmem_deep_drainOwn()(address, length);
  shim_barrier(NULL, 0, WIRE_FLUSH_DRAIN);
  return result;
}

SHIM_PUBLIC int pmem_deep_persist(const void* address, size_t length) {
  pmem_deep_flush(address, length);
  return pmem_deep_drain(address, length);
}

// Before a copy: what was stored until then is a value of its own, also of lines that it changes.
static void BeforeCopy(void) { shim_barrier(NULL, 0, 0); }

// What a copy with these flags has made durable when it returns.
static void Copied(const void* target, size_t length, unsigned flags) {
  if ((flags & NO_FLUSH) != 0) return;
  shim_barrier(target, length, (flags & NO_DRAIN) != 0 ? 0 : WIRE_FLUSH_DRAIN);
}

// The three functions of a kind. The library's own would drain by the name of pmem_drain, and so
// us, before the flush is told.
#define COPY(name, third)                                                           \
  OWN(PMEM, void*, name, (void*, third, size_t, unsigned))                          \
  SHIM_PUBLIC void* name(void* target, third what, size_t length, unsigned flags) { \
    BeforeCopy();                                                                   \
    name##Own()(target, what, length, flags | NO_DRAIN);                            \
    if ((flags & (NO_DRAIN | NO_FLUSH)) == 0) pmem_drainOwn()();                    \
    Copied(target, length, flags);                                                  \
    return target;                                                                  \
  }                                                                                 \
  SHIM_PUBLIC void* name##_persist(void* target, third what, size_t length) {       \
    return name(target, what, length, 0);                                           \
  }                                                                                 \
  SHIM_PUBLIC void* name##_nodrain(void* target, third what, size_t length) {       \
    return name(target, what, length, NO_DRAIN);                                    \
  }

COPY(pmem_memmove, const void*)
COPY(pmem_memcpy, const void*)
COPY(pmem_memset, int)

// libpmem2 gives pointers to functions that fit the mapping. A mapping of a recorded mount gets
// ours, which need no flush instruction: what is durable there is what the recording says. Where
// the granularity is a page, the library's own msync does all of it.

// A flush instruction has its page shown, as a load has. What another mapping or process, or a
// write, stored there is flushed too.
static void Touch(const void* address, size_t length) {
  const uint64_t end = (uint64_t)address + length;
  for (uint64_t at = (uint64_t)address; at < end; at = (at | (PAGE - 1)) + 1) {
    (void)*(const volatile uint8_t*)at;
  }
}

static void Flush2(const void* address, size_t length) {
  Touch(address, length);
  if (length > 0) shim_barrier(address, length, 0);
}

static void Drain2(void) { shim_barrier(NULL, 0, WIRE_FLUSH_DRAIN); }

static void Persist2(const void* address, size_t length) {
  Touch(address, length);
  shim_barrier(address, length, WIRE_FLUSH_DRAIN);
}

static void* Memmove2(void* target, const void* source, size_t length, unsigned flags) {
  BeforeCopy();
  memmove(target, source, length);
  Copied(target, length, flags);
  return target;
}

static void* Memset2(void* target, int byte, size_t length, unsigned flags) {
  BeforeCopy();
  memset(target, byte, length);
  Copied(target, length, flags);
  return target;
}

OWN(PMEM2, int, pmem2_map_get_store_granularity, (struct pmem2_map*))

static bool IsRecordedMap(struct pmem2_map* map) {
  return ShimIsRecorded() && pmem2_map_get_store_granularityOwn()(map) != PAGE_GRANULARITY;
}

#define GETTER(name, ours)                                    \
  OWN(PMEM2, void*, name, (struct pmem2_map*))                \
  SHIM_PUBLIC void* name(struct pmem2_map* map) {             \
    void* own = name##Own()(map);                             \
    return IsRecordedMap(map) ? (void*)(uintptr_t)ours : own; \
  }

GETTER(pmem2_get_persist_fn, Persist2)
GETTER(pmem2_get_flush_fn, Flush2)
GETTER(pmem2_get_drain_fn, Drain2)
GETTER(pmem2_get_memmove_fn, Memmove2)
GETTER(pmem2_get_memcpy_fn, Memmove2)
GETTER(pmem2_get_memset_fn, Memset2)
