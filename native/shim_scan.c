// Programs that flush by themselves: clwb, clflushopt and clflush in what is loaded, but for the
// libraries whose entry points shim_pmem.c has. A recording would not see them, and what is not
// seen to be flushed counts as lost: so such a program is refused, unless it was said that its own
// flushes are to be ignored. Code that is made while a program runs is not looked at.
//
// The same for a libpmem that nothing loaded is linked with: who loads it by dlopen() reaches it by
// dlsym(), past shim_pmem.c.
//
// A pattern of bytes is no instruction yet. The function around it, which the tables for unwinding
// name, is walked through from its start: what does not lie where an instruction has its opcode is
// none. Where an object has no such tables, a pattern counts; beside all functions of one that has
// them, where constants lie, only the longer patterns do, of clwb and clflushopt.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "shim.h"
#include "shim_decode.h"
#include "shim_syscall.h"

#define EXIT_ENVIRONMENT 3

// Of .eh_frame_hdr: offsets of functions and of their tables, ascending, from its own start.
struct unwind_entry {
  int32_t function;
  int32_t table;
};

struct object {
  const char* name;
  const uint8_t* code;
  size_t code_bytes;
  const uint8_t* unwind_header;  // NULL: none that can be read here
  const struct unwind_entry* entries;
  size_t entry_count;
};

struct scan {
  bool is_first;
  const char* pmem;  // the name of a libpmem or libpmem2 that is loaded; NULL: none
  bool is_linked;    // with one of them, something is
};

// How often objects had been added when they were last looked at.
static _Atomic unsigned long long scanned_adds;

static bool IsPrefix(uint8_t byte) {
  return byte == 0x66 || byte == 0x67 || byte == 0x2e || byte == 0x36 || byte == 0x3e ||
         byte == 0x26 || byte == 0x64 || byte == 0x65 || byte == 0xf0 || byte == 0xf2 ||
         byte == 0xf3 || (byte & 0xf0) == 0x40;
}

// The name of the instruction whose opcode 0F AE may lie at `at`; NULL when it flushes nothing.
static const char* NameAt(const uint8_t* code, const uint8_t* at) {
  const int mod = at[2] >> 6;
  const int operation = (at[2] >> 3) & 7;
  if (mod == 3 || operation < 6) return NULL;
  bool has_operand_prefix = false;
  for (const uint8_t* before = at; before > code && at - before < 4 && IsPrefix(before[-1]);
       before--) {
    if (before[-1] == 0x66) has_operand_prefix = true;
  }
  if (operation == 6) return has_operand_prefix ? "clwb" : NULL;
  return has_operand_prefix ? "clflushopt" : "clflush";
}

// Where the function that holds `at` begins; NULL when no table says.
static const uint8_t* FunctionAt(const struct object* object, const uint8_t* at) {
  const int64_t offset = at - object->unwind_header;
  size_t low = 0;
  size_t high = object->entry_count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (object->entries[middle].function <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return NULL;
  const struct unwind_entry* entry = &object->entries[low - 1];
  // Length, offset of the common part, where the function begins, and how long it is.
  uint32_t function_bytes;
  memcpy(&function_bytes, object->unwind_header + entry->table + 12, sizeof(function_bytes));
  const uint8_t* start = object->unwind_header + entry->function;
  return start >= object->code && at < start + function_bytes ? start : NULL;
}

// Whether an instruction has its opcode there, as far as can be said.
static bool IsOpcode(const struct object* object, const uint8_t* at, bool is_long) {
  if (object->unwind_header == NULL) return true;
  const uint8_t* instruction = FunctionAt(object, at);
  if (instruction == NULL) return is_long;
  for (;;) {
    const size_t available = (size_t)(object->code + object->code_bytes - instruction);
    const size_t length = DecodeLength(instruction, available);
    if (length == 0) return true;
    if (instruction + length > at) break;
    instruction += length;
  }
  while (instruction < at && IsPrefix(*instruction)) instruction++;
  return instruction == at;
}

static void Refuse(const struct object* object, const uint8_t* at, const char* instruction) {
  char place[256];
  Dl_info info;
  if (dladdr(at, &info) != 0 && info.dli_sname != NULL) {
    snprintf(place, sizeof(place), "%s+0x%lx", info.dli_sname,
             (unsigned long)(at - (const uint8_t*)info.dli_saddr));
  } else {
    snprintf(place, sizeof(place), "0x%lx", (unsigned long)at);
  }
  const bool is_program = object->name[0] == 0;
  const char* const words[] = {
      "fauxdax: ",
      program_invocation_name,
      is_program ? "" : ": ",
      object->name,
      ": flushes by itself (",
      instruction,
      " at ",
      place,
      "), which a recording does not see: use libpmem, or --own-flushes=ignore, and what it "
      "flushes counts as never flushed",
  };
  ShimSay(words, sizeof(words) / sizeof(words[0]));
  Sys3(SYS_exit_group, EXIT_ENVIRONMENT, 0, 0);
}

static void ScanCode(const struct object* object) {
  const uint8_t* const end = object->code + object->code_bytes;
  for (const uint8_t* at = object->code; at + 3 <= end; at++) {
    at = memchr(at, 0x0f, (size_t)(end - at));
    if (at == NULL || at + 3 > end) return;
    if (at[1] != 0xae) continue;
    const char* instruction = NameAt(object->code, at);
    if (instruction == NULL) continue;
    const bool is_long = strcmp(instruction, "clflush") != 0;
    if (IsOpcode(object, at, is_long)) Refuse(object, at, instruction);
  }
}

// Those whose flushes are seen, or flush nothing of the program's: OpenSSL measures the bus.
static bool IsKnown(const char* name) {
  static const char* const kNames[] = {"libpmem.so.",   "libpmem2.so.",        "libc.so.",
                                       "libcrypto.so.", "ld-linux-x86-64.so.", "linux-vdso.so."};
  const char* slash = strrchr(name, '/');
  const char* base = slash == NULL ? name : slash + 1;
  for (size_t i = 0; i < sizeof(kNames) / sizeof(kNames[0]); i++) {
    if (strncmp(base, kNames[i], strlen(kNames[i])) == 0) return true;
  }
  return false;
}

// What GNU's linker writes: version 1, a count of four bytes, a table of offsets of four bytes.
static void ReadUnwindHeader(struct object* object, const uint8_t* header) {
  static const uint8_t kForm[4] = {1, 0x1b, 0x03, 0x3b};
  if (memcmp(header, kForm, sizeof(kForm)) != 0) return;
  uint32_t count;
  memcpy(&count, header + 8, sizeof(count));
  object->unwind_header = header;
  object->entries = (const struct unwind_entry*)(header + 12);
  object->entry_count = count;
}

static bool IsPmem(const char* name) {
  const char* slash = strrchr(name, '/');
  const char* base = slash == NULL ? name : slash + 1;
  return strncmp(base, "libpmem.so.", 11) == 0 || strncmp(base, "libpmem2.so.", 12) == 0;
}

// Whether the object is linked with libpmem or libpmem2.
static bool NeedsPmem(const struct dl_phdr_info* info) {
  const ElfW(Dyn)* dynamic = NULL;
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    dynamic = (const ElfW(Dyn)*)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
  }
  const char* names = NULL;
  for (const ElfW(Dyn)* at = dynamic; at != NULL && at->d_tag != DT_NULL; at++) {
    if (at->d_tag == DT_STRTAB) names = (const char*)at->d_un.d_ptr;
  }
  for (const ElfW(Dyn)* at = dynamic; names != NULL && at->d_tag != DT_NULL; at++) {
    if (at->d_tag == DT_NEEDED && IsPmem(names + at->d_un.d_val)) return true;
  }
  return false;
}

static void RefuseUnlinked(const char* library) {
  const char* const words[] = {
      "fauxdax: ",
      program_invocation_name,
      ": ",
      library,
      " is loaded by dlopen, and what dlsym finds there flushes unseen by a recording: link the "
      "program with it, or --own-flushes=ignore, and what it flushes counts as never flushed",
  };
  ShimSay(words, sizeof(words) / sizeof(words[0]));
  Sys3(SYS_exit_group, EXIT_ENVIRONMENT, 0, 0);
}

// Where this library begins, by the linker's name.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static int ScanObject(struct dl_phdr_info* info, size_t size, void* argument) {
  (void)size;
  struct scan* scan = argument;
  if (scan->is_first) {
    scan->is_first = false;
    if (atomic_exchange(&scanned_adds, info->dlpi_adds) == info->dlpi_adds) return 1;
  }
  if (IsPmem(info->dlpi_name)) scan->pmem = info->dlpi_name;
  // The shim itself flushes only where nothing is recorded.
  if (info->dlpi_addr == (uint64_t)__ehdr_start || IsKnown(info->dlpi_name)) return 0;
  if (NeedsPmem(info)) scan->is_linked = true;
  struct object object = {.name = info->dlpi_name};
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)* segment = &info->dlpi_phdr[i];
    const uint8_t* start = (const uint8_t*)(info->dlpi_addr + segment->p_vaddr);
    if (segment->p_type == PT_GNU_EH_FRAME) ReadUnwindHeader(&object, start);
  }
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)* segment = &info->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || (segment->p_flags & (PF_X | PF_R)) != (PF_X | PF_R)) continue;
    object.code = (const uint8_t*)(info->dlpi_addr + segment->p_vaddr);
    object.code_bytes = segment->p_filesz;
    ScanCode(&object);
  }
  return 0;
}

void ScanObjects(void) {
  if (!ShimIsRecorded() || (shim_settings.flags & WIRE_RUN_OWN_FLUSHES) != 0) return;
  struct scan scan = {.is_first = true};
  dl_iterate_phdr(ScanObject, &scan);
  if (scan.pmem != NULL && !scan.is_linked) RefuseUnlinked(scan.pmem);
}

// What was loaded and is gone again before the next barrier.
SHIM_PUBLIC int dlclose(void* handle) {
  static __typeof__(&dlclose) own;
  if (own == NULL) own = (__typeof__(&dlclose))(uintptr_t)dlsym(RTLD_NEXT, "dlclose");
  ScanObjects();
  return own(handle);
}

// What was loaded after the last barrier.
__attribute__((destructor)) static void ScanLast(void) { ScanObjects(); }
