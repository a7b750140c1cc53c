// What the fault server tells JavaScript: FaultServerEvent of lib/addon/fault_server.ts, whose
// comments say what each is. Addresses, offsets and lengths are bytes; a field that its type does
// not have is 0.
#ifndef FAUXDAX_FAULT_EVENT_H_
#define FAUXDAX_FAULT_EVENT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace fauxdax {

struct FaultPart {
  uint64_t mapping;
  uint64_t file_page;
  uint64_t page_count;
};

struct FaultEvent {
  enum class Type {
    kAttached,
    kGone,
    kMap,
    kUnmapped,
    kSync,
    kFallocate,
    kFault,
    kDone,
    kProtected
  };

  Type type;
  uint64_t client = 0;
  uint64_t call = 0;
  uint32_t pid = 0;
  uint32_t tid = 0;
  uint64_t address = 0;
  uint64_t length_bytes = 0;
  uint64_t ino = 0;
  uint64_t offset = 0;
  uint64_t flags = 0;                 // of kMap; kFallocate's mode
  FaultPart part = {};                // kUnmapped; kFault's mapping and page
  uint64_t number = 0;                // kDone, kProtected
  int error = 0;                      // kDone
  uint32_t collisions = 0;            // kDone
  bool is_write = false;              // kFault
  bool is_protected = false;          // kFault
  std::string reason = {};            // kGone
  std::vector<FaultPart> parts = {};  // kSync
};

}  // namespace fauxdax

#endif  // FAUXDAX_FAULT_EVENT_H_
