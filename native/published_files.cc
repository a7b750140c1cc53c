#include "published_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace fauxdax {

int PublishedFiles::Make(std::unique_ptr<PublishedFiles>* out) {
  const int fd = memfd_create("fauxdax-files", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return errno;
  int error = ftruncate(fd, sizeof(wire_files)) == 0 ? 0 : errno;
  void* table = MAP_FAILED;
  if (error == 0) {
    table = mmap(nullptr, sizeof(wire_files), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table == MAP_FAILED) error = errno;
  }
  // From here on no new mapping, and no write(2), changes it.
  const int seals = F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  if (error == 0 && fcntl(fd, F_ADD_SEALS, seals) != 0) error = errno;
  if (error == 0) {
    out->reset(new PublishedFiles(fd, static_cast<wire_files*>(table)));
    return 0;
  }
  if (table != MAP_FAILED) munmap(table, sizeof(wire_files));
  close(fd);
  return error;
}

PublishedFiles::~PublishedFiles() {
  munmap(table_, sizeof(wire_files));
  close(fd_);
}

void PublishedFiles::ShowFlushInstruction(FlushInstruction instruction) {
  uint64_t shown = WIRE_CLFLUSH;
  if (instruction == FlushInstruction::kClwb) shown = WIRE_CLWB;
  if (instruction == FlushInstruction::kClflushopt) shown = WIRE_CLFLUSHOPT;
  __atomic_store_n(&table_->flush_instruction, shown, __ATOMIC_RELAXED);
}

wire_file* PublishedFiles::FreeSlot(uint64_t ino) {
  for (wire_file& file : table_->files[WireFileSet(ino)]) {
    if (__atomic_load_n(&file.ino, __ATOMIC_RELAXED) == 0) return &file;
  }
  return nullptr;
}

}  // namespace fauxdax
