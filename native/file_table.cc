#include "file_table.h"

#include <utility>

#include "check.h"

namespace fauxdax {

void FileTable::Add(uint64_t ino, uint64_t size_bytes) {
  CHECK(ino != 0, "inode 0 is no file");
  Remove(ino);
  auto file = std::make_unique<FileMap>(ino, size_bytes);
  std::unique_lock lock(mutex_);
  if ((count_ + 1) * 2 > slots_.size()) {
    std::vector<std::unique_ptr<FileMap>> old(slots_.size() * 2);
    old.swap(slots_);
    for (auto& slot : old) {
      if (slot) Insert(std::move(slot));
    }
  }
  Insert(std::move(file));
  count_++;
}

void FileTable::Remove(uint64_t ino) {
  if (Find(ino) == nullptr) return;
  std::unique_lock lock(mutex_);
  size_t hole = Home(ino);
  while (slots_[hole]->ino() != ino) hole = Next(hole);
  slots_[hole].reset();
  count_--;
  // Close the gap: a later file of the same run moves into the hole unless that lies before its
  // home.
  for (size_t i = Next(hole); slots_[i]; i = Next(i)) {
    const size_t mask = slots_.size() - 1;
    const size_t from_home = (i - Home(slots_[i]->ino())) & mask;
    if (from_home >= ((i - hole) & mask)) {
      slots_[hole] = std::move(slots_[i]);
      hole = i;
    }
  }
}

void FileTable::Insert(std::unique_ptr<FileMap> file) {
  size_t i = Home(file->ino());
  while (slots_[i]) i = Next(i);
  slots_[i] = std::move(file);
}

void FileTable::NoteTouched(uint64_t ino) {
  std::lock_guard lock(touched_mutex_);
  touched_.push_back(ino);
}

std::vector<TouchedFile> FileTable::TakeTouched(uint64_t ino) {
  std::vector<uint64_t> inos;
  if (ino != 0) {
    inos.push_back(ino);
  } else {
    std::lock_guard lock(touched_mutex_);
    inos.swap(touched_);
  }
  std::vector<TouchedFile> taken;
  for (uint64_t each : inos) {
    FileMap* file = Find(each);
    if (file == nullptr) continue;
    TouchedFile touched{each, kTimeNone, kTimeNone};
    // One file's times are taken in passing; it stays on the list of all until that is taken.
    // Cleared before the times are read: a touch in between is listed again, never lost.
    if (ino == 0) file->ClearTouched();
    file->TakeTimes(&touched.atime, &touched.mtime);
    if (touched.atime != kTimeNone || touched.mtime != kTimeNone) taken.push_back(touched);
  }
  return taken;
}

}  // namespace fauxdax
