// The daemon's side of the table of published files (wire_files.h). The JavaScript thread owns it;
// who writes into a slot holds the gate of its file.
#ifndef FAUXDAX_PUBLISHED_FILES_H_
#define FAUXDAX_PUBLISHED_FILES_H_

#include <cstdint>
#include <memory>

#include "persist.h"
#include "wire_files.h"

namespace fauxdax {

class PublishedFiles {
 public:
  // Errors: those of memfd_create(2), ftruncate(2), mmap(2).
  static int Make(std::unique_ptr<PublishedFiles>* out);
  ~PublishedFiles();
  PublishedFiles(const PublishedFiles&) = delete;
  PublishedFiles& operator=(const PublishedFiles&) = delete;

  // A free slot for the inode, or nullptr when its set is full. It is the inode's once that is
  // written into it, and free again when 0 is.
  wire_file* FreeSlot(uint64_t ino);
  const wire_files& table() const { return *table_; }
  // How many pages are poisoned, for Region::MirrorPoison().
  uint64_t* poisoned_pages() { return &table_->poisoned_pages; }
  // How processes are to flush what they sync by themselves.
  void ShowFlushInstruction(FlushInstruction instruction);
  // The table; whoever gets it can map it for reading only.
  int fd() const { return fd_; }

 private:
  PublishedFiles(int fd, wire_files* table) : fd_(fd), table_(table) {}

  const int fd_;
  wire_files* const table_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_PUBLISHED_FILES_H_
